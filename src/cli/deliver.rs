//! What `replay --deliver` adds: the alerts also go to the configured sinks.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::Exit;
use super::terminal::{complain, grouped, plain, say};
use crate::alert::{Alert, Backlog};
use crate::clock::Clock;
use crate::config::Config;
use crate::daemon;
use crate::metrics::Metrics;
use crate::state::{Keeper, Settled};

/// Alerts that are on their way to sinks at once.
const MOST_DELIVERIES: usize = 256;
/// How long sinks that are not required may go on once the others are done.
const OPTIONAL_GRACE: Duration = Duration::from_secs(5);
/// How often is said what a delivery waits for.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Sends alerts to the configured sinks, by the same way as the daemon.
pub(super) struct Deliverer {
    alerts: mpsc::Sender<Alert>,
    task: JoinHandle<u64>,
    cancel: CancellationToken,
    stop: CancellationToken,
    receivers: Vec<Receiver>,
    quiet: bool,
    runtime: Handle,
    /// Alerts that were not even handed over.
    left: u64,
}

/// A sink and what it has still to take.
struct Receiver {
    sink: String,
    required: bool,
    backlog: Arc<Backlog>,
}

impl Deliverer {
    /// Must be called within the runtime.
    pub(super) fn start(config: &Config, stop: &CancellationToken, quiet: bool) -> Result<Self, Exit> {
        let (metrics, clock, cancel) = (Metrics::default(), Clock::system(), CancellationToken::new());
        let (reports, reported) = mpsc::unbounded_channel();
        let sinks =
            daemon::open_sinks(&config.sinks, &reports, &cancel, &metrics, &clock).map_err(|error| {
                complain(&format!("{error:#}"));
                Exit::USAGE
            })?;
        let (mut required, mut optional) = (JoinSet::new(), JoinSet::new());
        let (mut handles, mut receivers) = (Vec::new(), Vec::new());
        for (handle, sender) in sinks {
            let settings = &handle.settings;
            let senders = if settings.required { &mut required } else { &mut optional };
            senders.spawn(sender.run(cancel.clone()));
            let (sink, required) = (settings.name.clone(), settings.required);
            receivers.push(Receiver { sink, required, backlog: handle.backlog() });
            handles.push(handle);
        }
        let (state, keeper) = Keeper::new(handles, reported, metrics, clock);
        required.spawn(keeper.run(cancel.clone()));
        let (alerts, mut receiver) = mpsc::channel::<Alert>(MOST_DELIVERIES);
        let task = tokio::spawn(async move {
            let mut commits = JoinSet::new();
            let mut undelivered = 0;
            let mut count = |settled| undelivered += u64::from(!matches!(settled, Ok(Settled::Final)));
            while let Some(alert) = receiver.recv().await {
                if commits.len() >= MOST_DELIVERIES
                    && let Some(settled) = commits.join_next().await
                {
                    count(settled);
                }
                commits.spawn(state.commit(vec![alert]));
            }
            while let Some(settled) = commits.join_next().await {
                count(settled);
            }
            drop(state);
            while required.join_next().await.is_some() {}
            let _ = tokio::time::timeout(OPTIONAL_GRACE, optional.join_all()).await;
            undelivered
        });
        let (stop, runtime) = (stop.clone(), Handle::current());
        Ok(Self { alerts, task, cancel, stop, receivers, quiet, runtime, left: 0 })
    }

    /// Hands an alert over, once there is room, unless the replay is stopped.
    pub(super) fn send(&mut self, alert: &Alert) {
        let sent = self.runtime.block_on(async {
            let mut send = pin!(self.alerts.send(alert.clone()));
            loop {
                tokio::select! {
                    sent = &mut send => return sent.is_ok(),
                    () = self.stop.cancelled() => return false,
                    () = tokio::time::sleep(TELL_EVERY) => tell_waiting(&self.receivers, self.quiet),
                }
            }
        });
        self.left += u64::from(!sent);
    }

    /// Waits until everything is delivered, or until a signal; answers with what is not.
    pub(super) async fn finish(self) -> u64 {
        let Self { alerts, mut task, cancel, stop, receivers, quiet, left, .. } = self;
        // The task ends once nobody can send any more.
        drop(alerts);
        let undelivered = loop {
            tokio::select! {
                undelivered = &mut task => break undelivered.unwrap_or(u64::MAX),
                () = stop.cancelled(), if !cancel.is_cancelled() => cancel.cancel(),
                () = tokio::time::sleep(TELL_EVERY) => tell_waiting(&receivers, quiet),
            }
        };
        for receiver in receivers.iter().filter(|receiver| !receiver.required) {
            let missed = (receiver.backlog.alerts() + receiver.backlog.dropped()) as u64;
            if missed > 0 {
                let sink = plain(&receiver.sink);
                complain(&format!(
                    "the sink `{sink}`, which is not required, missed {} alert(s)",
                    grouped(missed)
                ));
            }
        }
        undelivered.saturating_add(left)
    }
}

/// Says for which sinks a delivery waits.
fn tell_waiting(receivers: &[Receiver], quiet: bool) {
    for receiver in receivers.iter().filter(|_| !quiet) {
        let waiting = receiver.backlog.alerts() as u64;
        if waiting > 0 {
            say(&format!("waiting for the sink `{}`: {} alert(s)", plain(&receiver.sink), grouped(waiting)));
        }
    }
}
