//! The sender of one sink: takes alerts in order and tries until the sink has them or refuses them.
//!
//! A failure pauses the whole sink, and then a single alert probes it. An alert that fails while others pass
//! waits for its own turn, so that one which the receiver chokes on holds up nobody.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{Attempt, Backoff, Sink, SinkError, SinkSettings};
use crate::alert::{Alert, AlertId};
use crate::clock::Clock;
use crate::metrics::Metrics;

/// Alerts that wait for a sink that is not required; beyond them alerts are dropped.
const OPTIONAL_QUEUE: usize = 10_000;
/// Failures in a row after which a sink counts as down.
const DOWN_AFTER: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(500);
const MOST_WAIT: Duration = Duration::from_mins(1);
const WRONG_FIRST_WAIT: Duration = Duration::from_secs(30);
const WRONG_MOST_WAIT: Duration = Duration::from_mins(5);

/// What became of an alert at a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// The alert.
    pub id: AlertId,
    /// The position of the sink in the configuration.
    pub sink: usize,
    /// Whether the sink took it; otherwise it refused it.
    pub taken: bool,
}

/// Whether a sink takes alerts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It does, as far as is known.
    Up,
    /// It has not for several attempts.
    Down,
}

/// The way to a sender.
#[derive(Debug)]
pub struct SenderHandle {
    /// The sink's settings.
    pub settings: SinkSettings,
    inbox: mpsc::UnboundedSender<Arc<Alert>>,
    waiting: Arc<AtomicUsize>,
    health: watch::Receiver<Health>,
}

impl SenderHandle {
    /// Hands over an alert. Those for a required sink are bounded by what is in flight; of those for another
    /// sink, the ones beyond its bound are dropped: then the answer is false.
    #[must_use]
    pub fn send(&self, alert: &Arc<Alert>) -> bool {
        if !self.settings.required && self.waiting.load(Ordering::Relaxed) >= OPTIONAL_QUEUE {
            return false;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.inbox.send(Arc::clone(alert)).is_ok()
    }

    /// How many alerts the sink has still to take, now and later.
    #[must_use]
    pub fn waiting(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.waiting)
    }

    /// Whether the sink takes alerts, now and later.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }
}

/// The sender of one sink.
#[derive(Debug)]
pub struct Sender {
    number: usize,
    sink: Arc<Sink>,
    name: String,
    inbox: mpsc::UnboundedReceiver<Arc<Alert>>,
    waiting: Arc<AtomicUsize>,
    health: watch::Sender<Health>,
    reports: mpsc::UnboundedSender<Report>,
    /// Cancelled when nobody reads standard output any more.
    reader_gone: CancellationToken,
    metrics: Metrics,
    clock: Clock,
    queue: VecDeque<Job>,
    under_way: JoinSet<(Job, Attempt)>,
    pause: Option<Instant>,
    backoff: Backoff,
    wrong: Backoff,
}

/// An alert on its way.
#[derive(Debug)]
struct Job {
    alert: Arc<Alert>,
    due: Instant,
    backoff: Backoff,
}

impl Sender {
    /// Opens a sink.
    ///
    /// # Errors
    /// The sink cannot be set up.
    pub fn open(
        number: usize,
        settings: SinkSettings,
        reports: mpsc::UnboundedSender<Report>,
        reader_gone: CancellationToken,
        metrics: Metrics,
        clock: Clock,
    ) -> Result<(SenderHandle, Sender), SinkError> {
        let sink = Arc::new(Sink::open(&settings)?);
        metrics.sink_up(&settings.name, true);
        let (inbox, receiver) = mpsc::unbounded_channel();
        let (health, health_receiver) = watch::channel(Health::Up);
        let waiting = Arc::new(AtomicUsize::new(0));
        let sender = Sender {
            number,
            sink,
            name: settings.name.clone(),
            inbox: receiver,
            waiting: Arc::clone(&waiting),
            health,
            reports,
            reader_gone,
            metrics,
            clock,
            queue: VecDeque::new(),
            under_way: JoinSet::new(),
            pause: None,
            backoff: Backoff::new(FIRST_WAIT, MOST_WAIT),
            wrong: Backoff::new(WRONG_FIRST_WAIT, WRONG_MOST_WAIT),
        };
        Ok((SenderHandle { settings, inbox, waiting, health: health_receiver }, sender))
    }

    /// Runs until its handle is gone and everything is delivered, or until it is cancelled.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut open = true;
        while open || !self.queue.is_empty() || !self.under_way.is_empty() {
            self.start_due();
            let next = self.next_start();
            tokio::select! {
                alert = self.inbox.recv(), if open => match alert {
                    Some(alert) => self.queue.push_back(Job::new(alert)),
                    None => open = false,
                },
                Some(done) = self.under_way.join_next() => match done {
                    Ok((job, attempt)) => self.settle(job, attempt),
                    Err(panic) => error!(sink = self.name, error = %panic, "a delivery failed beyond repair"),
                },
                () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
                () = cancel.cancelled() => return,
            }
        }
    }

    /// Starts deliveries that are due, as many as the window allows; one at a time while the sink fails.
    fn start_due(&mut self) {
        let now = Instant::now();
        if self.pause.is_some_and(|until| until > now) {
            return;
        }
        let window = if self.backoff.failures() > 0 { 1 } else { self.sink.window() };
        while self.under_way.len() < window {
            let Some(at) = self.queue.iter().position(|job| job.due <= now) else { return };
            let Some(job) = self.queue.remove(at) else { return };
            let (sink, time) = (Arc::clone(&self.sink), self.clock.now());
            self.under_way.spawn(async move {
                let attempt = sink.deliver(&job.alert, time).await;
                (job, attempt)
            });
        }
    }

    /// When something may start that cannot start now.
    fn next_start(&self) -> Option<Instant> {
        let earliest = self.queue.iter().map(|job| job.due).min()?;
        let at = self.pause.map_or(earliest, |until| until.max(earliest));
        (at > Instant::now()).then_some(at)
    }

    fn settle(&mut self, mut job: Job, attempt: Attempt) {
        let name = self.name.clone();
        let name = name.as_str();
        match attempt {
            Attempt::Taken => {
                self.metrics.delivery(name, "taken");
                self.recovered();
                self.finish(&job, true);
            }
            Attempt::Refused { reason } => {
                self.metrics.delivery(name, "refused");
                error!(sink = name, alert = %job.alert.id, reason, "alert refused by the receiver");
                self.recovered();
                self.finish(&job, false);
            }
            Attempt::Later { reason, after } => {
                self.metrics.delivery(name, "retried");
                let wait = self.backoff.failed().max(after.unwrap_or_default());
                warn!(sink = name, reason, wait_ms = millis(wait), "delivery failed, to be tried again");
                job.due = Instant::now() + job.backoff.failed().max(after.unwrap_or_default());
                self.failed(job, wait);
            }
            Attempt::SetUpWrongly { reason } => {
                self.metrics.delivery(name, "set-up-wrongly");
                let wait = self.wrong.failed();
                error!(
                    sink = name,
                    reason,
                    wait_ms = millis(wait),
                    "the sink is set up wrongly; nothing is dropped"
                );
                // No need to wait for more failures: this one will not pass by itself.
                while self.backoff.failures() < DOWN_AFTER {
                    self.backoff.failed();
                }
                self.failed(job, wait);
            }
            Attempt::ReaderGone => {
                self.reader_gone.cancel();
                self.queue.push_front(job);
                self.pause = Some(Instant::now() + MOST_WAIT);
            }
        }
    }

    fn failed(&mut self, job: Job, wait: Duration) {
        self.queue.push_front(job);
        self.pause = Some(Instant::now() + wait);
        if self.backoff.failures() >= DOWN_AFTER && self.health.send_replace(Health::Down) == Health::Up {
            self.metrics.sink_up(&self.name, false);
            warn!(sink = self.name, "the sink is down");
        }
    }

    fn recovered(&mut self) {
        self.backoff.succeeded();
        self.wrong.succeeded();
        self.pause = None;
        if self.health.send_replace(Health::Up) == Health::Down {
            self.metrics.sink_up(&self.name, true);
            info!(sink = self.name, "the sink is up again");
        }
    }

    fn finish(&self, job: &Job, taken: bool) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        // Without anyone to report to, the program is ending.
        let _ = self.reports.send(Report { id: job.alert.id, sink: self.number, taken });
    }
}

impl Job {
    fn new(alert: Arc<Alert>) -> Self {
        Self { alert, due: Instant::now(), backoff: Backoff::new(FIRST_WAIT, MOST_WAIT) }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
