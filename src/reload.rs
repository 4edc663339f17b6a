//! Detections that are read again while the daemon runs: on SIGHUP and, if asked, when a rule file changes.
//!
//! A new set is read, compiled and checked aside, off the async threads, and then takes the place of the running
//! one between two objects. Where anything is wrong with it, the running one stays. What is read are the files
//! and folders that the daemon was started with; the configuration is not read again.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::alert::Tool;
use crate::config::{Config, ReloadOn};
use crate::detect::{Change, Detections};
use crate::metrics::Metrics;
use crate::rulebook::{self, Fault, Pack, Rulebook};
use crate::sigma::{Logic, Rule};
use crate::state::State;
use crate::worker::{Current, Inspection};

/// How often rule files are looked at for changes.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What workers need to know to run these detections.
#[must_use]
pub fn inspection(config: &Config, rulebook: Rulebook) -> Inspection {
    let tool =
        Tool { version: env!("CARGO_PKG_VERSION"), pack: rulebook.identity(), undecided: config.undecided };
    Inspection { detections: Detections::new(rulebook.rules), tool, limits: config.limits.decode() }
}

/// Compiles what the configuration names.
#[must_use]
pub fn rulebook(config: &Config) -> Rulebook {
    let pack = if config.default_detections { Pack::Runs } else { Pack::Absent };
    Rulebook::tuned(&config.detections, pack, config.values.as_deref(), &config.tuning)
}

/// Whether a restart would forget what was seen, and nobody has accepted that: a watched folder is read again, a queue
/// is not.
fn forgets(config: &Config) -> bool {
    !config.queues.is_empty() && config.state.is_none() && !config.windows.forget
}

/// Groupings are not: after a restart their alerts have the same ids, and count anew.
fn is_forgetful(rule: &Rule) -> bool {
    matches!(rule.logic, Logic::Correlation(_)) || rule.extension.first_seen.is_some()
}

/// Detections that would forget at a restart what they have seen, although nobody has accepted that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{count} detection(s) over more than one event, such as `{one}`, would forget at a restart what they have seen; \
     keep it with --state DIR, or accept it with `forget_windows = true`"
)]
pub struct WouldForget {
    count: usize,
    one: String,
}

/// Whether these detections of the user may run without a durable state. Those of the embedded pack run all the same, and
/// the start says what a restart forgets.
///
/// # Errors
/// Some of them would miss what happened before a restart.
pub fn may_forget(config: &Config, rules: &[Rule]) -> Result<(), WouldForget> {
    let forgetful = rules.iter().filter(|rule| is_forgetful(rule) && !rulebook::is_embedded(rule));
    match forgetful.clone().next() {
        Some(one) if forgets(config) => Err(WouldForget { count: forgetful.count(), one: one.title.clone() }),
        _ => Ok(()),
    }
}

/// Whatever asks for a reload, from before the detections are read for the first time.
#[derive(Debug)]
pub struct Reload {
    config: Arc<Config>,
    hangups: Signal,
    /// None where only signals count.
    files: Option<Files>,
}

impl Reload {
    /// Catches SIGHUP from now on, and notes what the rule files hold. Must be called within the runtime, and
    /// before the detections are read: then no change and no signal is missed.
    ///
    /// # Errors
    /// The signal cannot be caught.
    pub fn new(config: &Config) -> io::Result<Self> {
        let hangups = signal(SignalKind::hangup())?;
        let files = (config.reload == ReloadOn::Change).then(|| Files::new(files(config)));
        Ok(Self { config: Arc::new(config.clone()), hangups, files })
    }

    /// Reloads whenever it is asked to, until it is stopped. Signals that come during a reload are one.
    pub async fn run(
        mut self,
        current: Arc<Current>,
        state: State,
        metrics: Metrics,
        stop: CancellationToken,
    ) {
        let serve = async {
            loop {
                tokio::select! {
                    Some(()) = self.hangups.recv() => {}
                    () = change(self.files.as_mut()) => {}
                }
                metrics.reload(self.reload(&current, &state, &metrics).await);
            }
        };
        stop.run_until_cancelled(serve).await;
    }

    /// Reads the detections again; answers with what became of them.
    async fn reload(&mut self, current: &Current, state: &State, metrics: &Metrics) -> &'static str {
        let config = Arc::clone(&self.config);
        let read = match spawn_blocking(move || Reading::of(&config)).await {
            Ok(read) => read,
            Err(panic) => {
                error!(error = %panic, "detections cannot be reloaded; those from before go on running");
                return "refused";
            }
        };
        if let (Some(files), Some(fingerprint)) = (&mut self.files, read.fingerprint) {
            files.read = fingerprint;
        }
        read.take(current, state, metrics)
    }
}

/// Waits for a change of the files that are looked at.
async fn change(files: Option<&mut Files>) {
    match files {
        Some(files) => files.change().await,
        None => std::future::pending().await,
    }
}

/// What the detections of the user are read from.
fn files(config: &Config) -> Vec<PathBuf> {
    config.detections.iter().chain(&config.values).cloned().collect()
}

/// The rule files of the user, and what goes with them.
#[derive(Debug)]
struct Files {
    paths: Vec<PathBuf>,
    /// What they held when the detections were read.
    read: [u8; 32],
    /// What they held when they were last looked at.
    seen: [u8; 32],
}

impl Files {
    fn new(paths: Vec<PathBuf>) -> Self {
        let now = rulebook::fingerprint(&paths);
        Self { paths, read: now, seen: now }
    }

    /// Waits until they hold something else than what was read. What is still being written differs from one
    /// look to the next, and is left to a later one.
    async fn change(&mut self) {
        loop {
            sleep(LOOK_EVERY).await;
            let paths = self.paths.clone();
            let Ok(now) = spawn_blocking(move || rulebook::fingerprint(&paths)).await else { continue };
            let before = std::mem::replace(&mut self.seen, now);
            if now == before && now != self.read {
                return;
            }
        }
    }
}

/// Detections that were read again.
struct Reading {
    /// Of the files, if it counts, from before they were read: a change in between is noticed later.
    fingerprint: Option<[u8; 32]>,
    faults: Vec<Fault>,
    inspection: Inspection,
    /// Whether they may run as the daemon was set up.
    may_forget: Result<(), WouldForget>,
    keep_going: bool,
}

impl Reading {
    fn of(config: &Config) -> Self {
        let watched = config.reload == ReloadOn::Change;
        let fingerprint = watched.then(|| rulebook::fingerprint(&files(config)));
        let mut book = rulebook(config);
        let faults = std::mem::take(&mut book.faults);
        let may_forget = may_forget(config, &book.rules);
        let inspection = inspection(config, book);
        Self { fingerprint, faults, inspection, may_forget, keep_going: config.keep_going }
    }

    /// Lets them run, if they may; answers with what became of them.
    fn take(self, current: &Current, state: &State, metrics: &Metrics) -> &'static str {
        metrics.rules("broken", self.faults.len());
        let detections = self.inspection.detections.rules().len();
        if detections == 0 || !(self.faults.is_empty() || self.keep_going) {
            self.faults.iter().for_each(|fault| error!(%fault, "a broken rule"));
            let problems = self.faults.len();
            error!(detections, problems, "detections not reloaded; those from before go on running");
            return "refused";
        }
        if let Err(error) = self.may_forget {
            error!(%error, "detections not reloaded; those from before go on running");
            return "refused";
        }
        self.faults.iter().for_each(|fault| warn!(%fault, "a broken rule is left out"));
        if self.inspection.tool == current.inspection().tool {
            info!(detections, "detections reloaded: they are the same");
            return "unchanged";
        }
        let new = Arc::new(self.inspection);
        // First the state: nothing may reach it that was made by detections it has not heard of.
        state.succeed(Arc::clone(&new));
        let old = current.replace(Arc::clone(&new));
        metrics.rules("running", detections);
        swapped(&old, &new);
        "taken"
    }
}

/// Hears of every swap, after it. Objects that met the old set may still be under way with it. What belongs to a
/// detection that was kept goes on; what belongs to any other ends with the old set.
fn swapped(old: &Inspection, new: &Inspection) {
    let Change { kept, changed, removed, added } = Change::between(&old.detections, &new.detections);
    info!(
        pack = new.tool.pack,
        kept = kept.len(),
        changed = changed.len(),
        removed = removed.len(),
        added = added.len(),
        "detections reloaded"
    );
}
