//! `run`: builds the line, waits, drains.

use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::admin::Admin;
use crate::alert::{OriginKind, Report, Sender, SenderHandle, SinkSettings};
use crate::aws::{Aws, Buckets, Queue};
use crate::clock::Clock;
use crate::config::Config;
use crate::detect::windows::Idle;
use crate::fetch::ObjectStore;
use crate::folder::FolderStore;
use crate::horizon::Horizon;
use crate::intake::{Announcer, Downstream, Intake};
use crate::ledger;
use crate::metrics::Metrics;
use crate::pipeline::{Crew, Line, Shared};
use crate::reload::{self, Reload};
use crate::replay::Source;
use crate::retry::Retry;
use crate::rulebook::Rulebook;
use crate::seed;
use crate::sigma::{Logic, Rule};
use crate::state::{self, Committer, HandleFile, Handles, Keeper, State, Wanted, WindowLimits, Windows};
use crate::watch::Watch;
use crate::worker::{Current, Inspection};

/// Time for what remains after messages were given back.
const LAST_STEPS: Duration = Duration::from_secs(7);

/// Time for sinks that are not required, once everything else is delivered.
const OPTIONAL_GRACE: Duration = Duration::from_secs(3);

/// Why the daemon ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// SIGINT.
    Interrupted,
    /// SIGTERM.
    Terminated,
    /// Nobody reads standard output any more.
    ReaderGone,
    /// One of the loops that never end has ended.
    Failed,
}

/// Runs until a signal, and drains. First-seen detections learn from the `seeds` before; `reload` says when the
/// detections are read again.
///
/// # Errors
/// Something could not be set up.
pub async fn run(
    config: &Config,
    rulebook: Rulebook,
    seeds: &[Source],
    reload: Reload,
) -> anyhow::Result<Ending> {
    let (metrics, clock) = (Metrics::default(), Clock::system());
    let (stop, abandon, reader_gone) =
        (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
    let mut signals = Signals::new().context("signals cannot be caught")?;
    let detections = rulebook.rules.len();
    metrics.rules("running", detections);
    metrics.rules("broken", rulebook.faults.len());

    let (reports, reported) = mpsc::unbounded_channel();
    // Sinks that are not required are given up a little earlier.
    let give_up = abandon.child_token();
    let (mut deliveries, mut optional) = (JoinSet::new(), JoinSet::new());
    let sinks = open_sinks(&config.sinks_or_stdout(), &reports, &reader_gone, &metrics, &clock)?;
    let handles = spawn_senders(sinks, (&mut deliveries, &abandon), (&mut optional, &give_up));
    let current = Arc::new(Current::new(reload::inspection(config, rulebook)));
    let horizon = Horizon::new(config.windows.lateness);
    tell_windows(config, current.inspection().detections.rules());
    let parts =
        Parts { handles, reports: reported, horizon: horizon.clone(), metrics: &metrics, clock: &clock };
    let opening = open_state(config, current.inspection(), parts);
    let OpenState { state, owner, downstream, handles } = tokio::select! {
        opened = opening => opened?,
        ending = signals.next() => return Ok(ending),
    };
    drop(reports);
    let intake = Intake::new(config.limits.in_flight, downstream, metrics.clone());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let shared = Arc::new(Shared {
        current: Arc::clone(&current),
        crew: Crew::new(cores, config.limits.decode()),
        state: state.clone(),
        horizon,
        intake: intake.clone(),
        metrics: metrics.clone(),
        clock: clock.clone(),
    });

    let mut others = JoinSet::new();
    if let Some(listener) = listen(config.listen).await? {
        let admin = Admin { metrics: metrics.clone(), intake, stop: stop.clone() };
        others.spawn(admin.serve(listener, abandon.clone()));
    }
    others.spawn(ledger::audit(metrics.clone(), stop.clone()));
    let owner = match seeded(seeds, &current, owner, &mut signals).await? {
        ControlFlow::Continue(owner) => owner,
        ControlFlow::Break(ending) => return Ok(ending),
    };
    let wanted = owner.wanted();
    deliveries.spawn(owner.run(abandon.clone()));
    let handles = handles.map(|(handles, file)| {
        others.spawn(file.run());
        handles
    });
    let mut sources = spawn_sources(config, &shared, wanted, handles, &stop, &abandon).await?;
    others.spawn(reload.run(current, state, metrics.clone(), stop.clone()));
    drop(shared);
    info!(version = env!("CARGO_PKG_VERSION"), detections, "started");

    let ending = tokio::select! {
        ending = signals.next() => ending,
        () = reader_gone.cancelled() => Ending::ReaderGone,
        Some(_) = sources.join_next() => {
            error!("a source of announcements has ended");
            Ending::Failed
        }
        Some(_) = deliveries.join_next() => {
            error!("the state or the sender of a sink has ended");
            Ending::Failed
        }
    };
    info!(?ending, grace_s = config.grace.as_secs(), "stopping");
    stop.cancel();
    let drained = async {
        ended(&mut [&mut sources, &mut deliveries]).await;
        if timeout(OPTIONAL_GRACE, ended(&mut [&mut optional])).await.is_err() {
            give_up.cancel();
        }
    };
    tokio::select! {
        drained = timeout(config.grace, drained) => if drained.is_err() {
            warn!("the time to drain is over; what is in flight is given back");
        },
        () = reader_gone.cancelled() => {}
        second = signals.next() => {
            warn!("ending at once");
            return Ok(second);
        }
    }
    abandon.cancel();
    let mut all = [&mut sources, &mut deliveries, &mut optional, &mut others];
    tokio::select! {
        ended = timeout(LAST_STEPS, ended(&mut all)) => if ended.is_err() {
            warn!("not everything ended in time");
        },
        second = signals.next() => {
            warn!("ending at once");
            return Ok(second);
        }
    }
    ledger::close(&metrics);
    info!("stopped");
    Ok(if reader_gone.is_cancelled() { Ending::ReaderGone } else { ending })
}

/// Waits for the end of all these tasks.
async fn ended(tasks: &mut [&mut JoinSet<()>]) {
    for tasks in tasks {
        while tasks.join_next().await.is_some() {}
    }
}

/// Who owns the state.
#[derive(Debug)]
enum Owner {
    InMemory(Box<Keeper>),
    OnDisk(Box<Committer>),
}

impl Owner {
    async fn run(self, cancel: CancellationToken) {
        match self {
            Owner::InMemory(keeper) => {
                // Settling many windows at once takes its time, which the async threads do not have.
                let runtime = Handle::current();
                let kept = spawn_blocking(move || runtime.block_on(keeper.run(cancel)));
                if let Err(panic) = kept.await {
                    error!(error = %panic, "the state has failed");
                }
            }
            Owner::OnDisk(committer) => committer.run(cancel).await,
        }
    }

    fn windows(&mut self) -> Option<&mut Windows> {
        match self {
            Owner::InMemory(keeper) => keeper.windows(),
            Owner::OnDisk(committer) => Some(committer.windows()),
        }
    }

    /// Dead objects that are to be tried again, if there is a place where they are kept.
    fn wanted(&self) -> Option<watch::Receiver<Arc<[Wanted]>>> {
        match self {
            Owner::InMemory(_) => None,
            Owner::OnDisk(committer) => Some(committer.wanted()),
        }
    }
}

/// What the owner of the state is made from, beside the configuration.
struct Parts<'p> {
    handles: Vec<SenderHandle>,
    reports: mpsc::UnboundedReceiver<Report>,
    horizon: Horizon,
    metrics: &'p Metrics,
    clock: &'p Clock,
}

/// The state, and what comes with it.
struct OpenState {
    state: State,
    owner: Owner,
    /// The outbox, or every required sink: they must take alerts for anything to be received.
    downstream: Downstream,
    /// The receipt handles of messages in flight, if there is a place where they are kept.
    handles: Option<(Handles, HandleFile)>,
}

/// Opens the state.
async fn open_state(
    config: &Config,
    inspection: Arc<Inspection>,
    parts: Parts<'_>,
) -> anyhow::Result<OpenState> {
    let Parts { handles, reports, horizon, metrics, clock } = parts;
    let (metrics, clock, limits) = (metrics.clone(), clock.clone(), window_limits(config));
    let Some(folder) = config.state.clone() else {
        let required = handles.iter().filter(|handle| handle.settings.required);
        let sinks = required.map(SenderHandle::health).collect();
        let windows = Windows::new(inspection, limits, horizon, metrics.clone());
        let (state, keeper) = Keeper::new(handles, reports, metrics, clock);
        let owner = Owner::InMemory(Box::new(keeper.with_windows(windows)));
        let downstream = Downstream { sinks, ..Downstream::default() };
        return Ok(OpenState { state, owner, downstream, handles: None });
    };
    let counts = metrics.clone();
    let sources: Vec<String> = config.queues.iter().map(|queue| queue.url.clone()).collect();
    let open = move || {
        let opened = state::open(&folder, state::WAIT, inspection, limits, horizon, counts)?;
        let handles = opened.handles(&sources);
        Ok::<_, state::OpenError>((opened, handles))
    };
    let (opened, receipt_handles) = spawn_blocking(open).await.context("opening the state has failed")??;
    let most_bytes = config.limits.outbox as u64;
    let (state, committer) = opened.owner(handles, reports, most_bytes, metrics, clock)?;
    let downstream = Downstream { outbox_full: Some(committer.outbox_full()), ..Downstream::default() };
    Ok(OpenState {
        state,
        owner: Owner::OnDisk(Box::new(committer)),
        downstream,
        handles: Some(receipt_handles),
    })
}

/// Returns the configured limits of windows.
#[must_use]
pub fn window_limits(config: &Config) -> WindowLimits {
    let idle = Idle::live(config.windows.lateness, config.windows.idle);
    WindowLimits { idle, bytes: config.limits.windows }
}

/// Says what a restart forgets.
fn tell_windows(config: &Config, rules: &[Rule]) {
    if config.state.is_some() {
        return;
    }
    let first_seen = rules.iter().filter(|rule| rule.extension.first_seen.is_some()).count();
    let correlations = rules.iter().filter(|rule| matches!(rule.logic, Logic::Correlation(_))).count();
    let groupings = rules.iter().filter(|rule| rule.extension.group.is_some()).count();
    if correlations + first_seen > 0 {
        if config.queues.is_empty() {
            info!(correlations, first_seen, "windows and first sights are in memory; a restart forgets them");
        } else {
            warn!(
                correlations,
                first_seen,
                "windows and first sights are in memory; a restart forgets them: keep them with --state DIR"
            );
        }
    }
    if groupings > 0 {
        info!(
            groupings,
            "the counts of groups are in memory; after a restart they start anew, with the same ids"
        );
    }
}

/// An owner whose windows have learnt from archives, unless a signal came before that was done.
async fn seeded(
    seeds: &[Source],
    current: &Current,
    mut owner: Owner,
    signals: &mut Signals,
) -> anyhow::Result<ControlFlow<Ending, Owner>> {
    if seeds.is_empty() {
        return Ok(ControlFlow::Continue(owner));
    }
    let (seeds, inspection, stop) = (seeds.to_vec(), current.inspection(), Arc::new(AtomicBool::new(false)));
    let stopped = Arc::clone(&stop);
    let mut learning = spawn_blocking(move || {
        let learnt = owner.windows().map(|windows| seed::learn(&seeds, &inspection, windows, &stopped));
        learnt.unwrap_or(Ok(())).map(|()| owner)
    });
    tokio::select! {
        learnt = &mut learning => {
            let owner = learnt.context("learning from archives has failed")??;
            Ok(ControlFlow::Continue(owner))
        }
        ending = signals.next() => {
            stop.store(true, Ordering::Relaxed);
            // What was learnt so far is of no use, nor is what was wrong with it.
            let _ = learning.await;
            Ok(ControlFlow::Break(ending))
        }
    }
}

async fn listen(address: Option<SocketAddr>) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = address else { return Ok(None) };
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    info!(address = %listener.local_addr()?, "listening");
    Ok(Some(listener))
}

/// Opens every sink and its sender.
///
/// # Errors
/// Names each that cannot be set up.
pub fn open_sinks(
    settings: &[SinkSettings],
    reports: &mpsc::UnboundedSender<Report>,
    reader_gone: &CancellationToken,
    metrics: &Metrics,
    clock: &Clock,
) -> anyhow::Result<Vec<(SenderHandle, Sender)>> {
    let open = |(number, settings): (usize, &SinkSettings)| {
        Sender::open(
            number,
            settings.clone(),
            reports.clone(),
            reader_gone.clone(),
            metrics.clone(),
            clock.clone(),
        )
        .with_context(|| format!("the sink `{}` cannot be set up", settings.name))
    };
    let (mut sinks, mut faults) = (Vec::new(), Vec::new());
    for opened in settings.iter().enumerate().map(open) {
        match opened {
            Ok(sink) => sinks.push(sink),
            Err(error) => faults.push(format!("{error:#}")),
        }
    }
    anyhow::ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(sinks)
}

/// Tasks, and what cancels them.
type Tasks<'t> = (&'t mut JoinSet<()>, &'t CancellationToken);

/// Starts the senders of the sinks that are required, and of those that are not.
fn spawn_senders<'t>(
    sinks: Vec<(SenderHandle, Sender)>,
    mut required: Tasks<'t>,
    mut optional: Tasks<'t>,
) -> Vec<SenderHandle> {
    let spawn = |(handle, sender): (SenderHandle, Sender)| {
        let (tasks, cancel) = if handle.settings.required { &mut required } else { &mut optional };
        tasks.spawn(sender.run(cancel.clone()));
        handle
    };
    sinks.into_iter().map(spawn).collect()
}

/// One line for each queue and each watched folder, and another one for what is dead of each and wanted.
async fn spawn_sources(
    config: &Config,
    shared: &Arc<Shared>,
    wanted: Option<watch::Receiver<Arc<[Wanted]>>>,
    handles: Option<Handles>,
    stop: &CancellationToken,
    abandon: &CancellationToken,
) -> anyhow::Result<JoinSet<()>> {
    let (metrics, clock) = (&shared.metrics, &shared.clock);
    let mut lines = Lines { shared, wanted, stop, abandon, tasks: JoinSet::new() };
    if !config.queues.is_empty() {
        let aws = Aws::load(config.custom_endpoint).await;
        for queue in &config.queues {
            let region = Queue::region(queue);
            let buckets = Buckets::open(&aws, queue, region.as_deref(), config.limits.inflated as u64).await;
            let announcer = Queue::open(&aws, queue, metrics.clone(), clock.clone()).await;
            let handles = handles.as_ref().map(|handles| handles.of(&queue.url));
            let announcer = announcer.draining_within(config.grace).keeping(handles);
            lines.add(&queue.url, announcer, &buckets, OriginKind::S3);
        }
    }
    for folder in &config.watch {
        std::fs::read_dir(folder)
            .with_context(|| format!("the folder {} cannot be watched", folder.display()))?;
        let announcer = Watch::new(folder.clone(), metrics.clone(), clock.clone());
        lines.add(&folder.display().to_string(), announcer, &FolderStore, OriginKind::File);
    }
    Ok(lines.tasks)
}

/// The lines of all sources.
struct Lines<'l> {
    shared: &'l Arc<Shared>,
    wanted: Option<watch::Receiver<Arc<[Wanted]>>>,
    stop: &'l CancellationToken,
    abandon: &'l CancellationToken,
    tasks: JoinSet<()>,
}

impl Lines<'_> {
    fn add<S: ObjectStore + Clone>(
        &mut self,
        name: &str,
        announcer: impl Announcer,
        store: &S,
        kind: OriginKind,
    ) {
        let source = self.shared.intake.source(name);
        let line = |source| Line::new(Arc::clone(self.shared), source, store.clone(), kind);
        if let Some(wanted) = &self.wanted {
            let retry = Retry::new(wanted.clone(), self.shared.clock.clone());
            let line = line(source.clone());
            self.tasks.spawn(line.serve(retry, self.stop.clone(), self.abandon.clone()));
        }
        self.tasks.spawn(line(source).serve(announcer, self.stop.clone(), self.abandon.clone()));
    }
}

/// The signals that end the program.
#[derive(Debug)]
pub struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    /// Catches signals from now on.
    ///
    /// # Errors
    /// They cannot be caught.
    pub fn new() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Ending {
        tokio::select! {
            _ = self.interrupt.recv() => Ending::Interrupted,
            _ = self.terminate.recv() => Ending::Terminated,
        }
    }
}
