//! The sender of one sink: takes alerts in order and tries until the sink has them or refuses them.
//!
//! A failure pauses the whole sink, and then a single alert probes it: one that has not failed yet, if there is
//! any. An alert that goes on failing while others pass is the one to blame; it holds up nobody, and in the end
//! it counts as refused.

use std::cmp;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{Attempt, Backoff, Sink, SinkError, SinkSettings};
use crate::alert::{Alert, AlertId};
use crate::clock::Clock;
use crate::metrics::Metrics;

/// Deliveries to one sink that are under way, or have ended and are not noted yet: as many may be repeated after a crash.
pub const UNNOTED: usize = 64;
/// How long more deliveries are begun when the program ends.
const LAST_STARTS: Duration = Duration::from_secs(3);
/// Alerts that wait for a sink that is not required, and their bytes; beyond them alerts are dropped.
const OPTIONAL_QUEUE: usize = 10_000;
const OPTIONAL_BYTES: usize = 64 << 20;
/// Failures in a row after which a sink counts as down.
const DOWN_AFTER: u32 = 3;
/// A pause, or a delivery without an end, of this length is the same as being down.
const LONG: Duration = Duration::from_mins(1);
/// Times that an alert fails while others pass, and how long that goes on, after which it counts as refused.
const MOST_ALONE: u32 = 10;
const LONG_ALONE: Duration = Duration::from_mins(30);
const FIRST_WAIT: Duration = Duration::from_millis(500);
const MOST_WAIT: Duration = Duration::from_mins(1);
const ALONE_MOST_WAIT: Duration = Duration::from_mins(5);
const WRONG_FIRST_WAIT: Duration = Duration::from_secs(30);
const WRONG_MOST_WAIT: Duration = Duration::from_mins(5);

/// What became of an alert at a sink.
#[derive(Debug)]
pub struct Report {
    /// The alert.
    pub id: AlertId,
    /// Its revision.
    pub revision: u32,
    /// The position of the sink in the configuration.
    pub sink: usize,
    /// What the sink did.
    pub outcome: Outcome,
    /// Until this is dropped the delivery counts as not yet noted.
    pub turn: OwnedSemaphorePermit,
}

/// What a sink did with an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It has it.
    Taken,
    /// It does not want it, and why.
    Refused(String),
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
    backlog: Arc<Backlog>,
    health: watch::Receiver<Health>,
    finish: CancellationToken,
}

/// What a sink has still to take.
#[derive(Debug, Default)]
pub struct Backlog {
    alerts: AtomicUsize,
    bytes: AtomicUsize,
    dropped: AtomicUsize,
}

impl Backlog {
    /// How many alerts.
    #[must_use]
    pub fn alerts(&self) -> usize {
        self.alerts.load(Ordering::Relaxed)
    }

    /// How many bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How many alerts were never handed over, because it was full.
    #[must_use]
    pub fn dropped(&self) -> usize {
        self.dropped.load(Ordering::Relaxed)
    }

    fn is_full(&self) -> bool {
        self.alerts() >= OPTIONAL_QUEUE || self.bytes() >= OPTIONAL_BYTES
    }

    fn add(&self, alert: &Alert) {
        self.alerts.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(alert.document.len(), Ordering::Relaxed);
    }

    fn remove(&self, alert: &Alert) {
        self.alerts.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(alert.document.len(), Ordering::Relaxed);
    }
}

impl SenderHandle {
    /// Hands over an alert. Those for a required sink are bounded by what is in flight; of those for another
    /// sink, the ones beyond its bound are dropped: then the answer is false.
    #[must_use]
    pub fn send(&self, alert: &Arc<Alert>) -> bool {
        if !self.settings.required && self.backlog.is_full() {
            self.backlog.dropped.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        self.backlog.add(alert);
        self.inbox.send(Arc::clone(alert)).is_ok()
    }

    /// What the sink has still to take, now and later.
    #[must_use]
    pub fn backlog(&self) -> Arc<Backlog> {
        Arc::clone(&self.backlog)
    }

    /// Has the sender end although alerts are left: it goes on for a few seconds while the sink takes them, and then
    /// only waits for what it has begun. What is left must be kept by whoever handed it over.
    pub fn finish(&self) {
        self.finish.cancel();
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
    settings: SinkSettings,
    inbox: mpsc::UnboundedReceiver<Arc<Alert>>,
    backlog: Arc<Backlog>,
    health: watch::Sender<Health>,
    reports: mpsc::UnboundedSender<Report>,
    /// Cancelled when nobody reads standard output any more.
    reader_gone: CancellationToken,
    metrics: Metrics,
    clock: Clock,
    /// Alerts that were not tried yet.
    fresh: VecDeque<Job>,
    /// Alerts that have failed.
    failed: BinaryHeap<Job>,
    under_way: JoinSet<Attempt>,
    jobs: HashMap<Id, Job>,
    turns: Arc<Semaphore>,
    /// Cancelled when no more is to be begun than can be ended soon.
    finish: CancellationToken,
    /// Set once it is: until then deliveries are begun, as long as they succeed.
    last_starts: Option<Instant>,
    /// When the sink last began or ended something; from then on it is silent.
    stirred: Instant,
    /// Until then the sink is left alone, unless something passes.
    pause: Option<Instant>,
    /// Until then the receiver itself asked to be left alone.
    not_before: Option<Instant>,
    backoff: Backoff,
    wrong: Backoff,
    /// Alerts taken so far.
    taken: u64,
}

/// An alert on its way; the one that is due first is the greatest.
#[derive(Debug)]
struct Job {
    alert: Arc<Alert>,
    due: Instant,
    /// The waits while it fails alone.
    backoff: Backoff,
    /// How many the sink had taken at the last failure.
    failed_at: Option<u64>,
    /// When it failed for the first time.
    failed_since: Option<Instant>,
    /// Failures between which the sink took others.
    alone: u32,
    /// There while it is under way.
    turn: Option<OwnedSemaphorePermit>,
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
        let (backlog, finish) = (Arc::new(Backlog::default()), CancellationToken::new());
        let sender = Sender {
            number,
            sink,
            settings: settings.clone(),
            inbox: receiver,
            backlog: Arc::clone(&backlog),
            health,
            reports,
            reader_gone,
            metrics,
            clock,
            fresh: VecDeque::new(),
            failed: BinaryHeap::new(),
            under_way: JoinSet::new(),
            jobs: HashMap::new(),
            turns: Arc::new(Semaphore::new(UNNOTED)),
            finish: finish.clone(),
            last_starts: None,
            stirred: Instant::now(),
            pause: None,
            not_before: None,
            backoff: Backoff::new(FIRST_WAIT, MOST_WAIT),
            wrong: Backoff::new(WRONG_FIRST_WAIT, WRONG_MOST_WAIT),
            taken: 0,
        };
        Ok((SenderHandle { settings, inbox, backlog, health: health_receiver, finish }, sender))
    }

    /// Runs until its handle is gone and everything is delivered, until it has finished, or until it is cancelled.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut open = true;
        while (open || self.backlog.alerts() > 0) && !self.has_finished() {
            self.start_due();
            let wake = self.next_wake();
            let is_full = self.turns.available_permits() == 0;
            tokio::select! {
                () = self.finish.cancelled(), if self.last_starts.is_none() => {
                    self.last_starts = Some(Instant::now() + LAST_STARTS);
                }
                // A delivery was noted: there is room for one more.
                _ = Arc::clone(&self.turns).acquire_owned(), if is_full => {}
                alert = self.inbox.recv(), if open => match alert {
                    Some(alert) => self.fresh.push_back(Job::new(alert)),
                    None => open = false,
                },
                Some(done) = self.under_way.join_next_with_id() => self.done(done),
                () = tokio::time::sleep_until(wake) => self.look_for_silence(),
                () = cancel.cancelled() => return self.give_up(),
            }
        }
    }

    /// Whether deliveries may still be begun.
    fn begins(&self) -> bool {
        self.last_starts.is_none_or(|until| Instant::now() < until && self.backoff.failures() == 0)
    }

    /// Whether nothing is under way any more, and nothing more is to be begun.
    fn has_finished(&self) -> bool {
        let is_done = self.backlog.alerts() == 0 || !self.begins();
        self.last_starts.is_some() && self.under_way.is_empty() && is_done
    }

    /// Starts deliveries that are due, as many as the window allows; one at a time while the sink fails.
    fn start_due(&mut self) {
        let now = Instant::now();
        if !self.begins() || self.resting_until().is_some_and(|until| until > now) {
            return;
        }
        let window = if self.backoff.failures() > 0 { 1 } else { self.sink.window() };
        while self.under_way.len() < window {
            let Ok(turn) = Arc::clone(&self.turns).try_acquire_owned() else { return };
            let Some(mut job) = self.next_job(now) else { return };
            job.turn = Some(turn);
            if self.under_way.is_empty() {
                self.stirred = now;
            }
            let (sink, alert, time) = (Arc::clone(&self.sink), Arc::clone(&job.alert), self.clock.now());
            let task = self.under_way.spawn(async move { sink.deliver(&alert, time).await });
            self.jobs.insert(task.id(), job);
        }
    }

    /// While the sink works, what waits longest goes first; while it fails, what is not known to fail.
    fn next_job(&mut self, now: Instant) -> Option<Job> {
        let due = self.failed.peek().is_some_and(|job| job.due <= now);
        match self.fresh.is_empty() || due && self.backoff.failures() == 0 {
            true if due => self.failed.pop(),
            true => None,
            false => self.fresh.pop_front(),
        }
    }

    fn resting_until(&self) -> Option<Instant> {
        self.pause.max(self.not_before)
    }

    /// When something may start that cannot start now, or silence is to be noticed.
    fn next_wake(&self) -> Instant {
        let now = Instant::now();
        let next = if self.fresh.is_empty() { self.failed.peek().map(|job| job.due) } else { Some(now) };
        let start = next.map(|due| self.resting_until().map_or(due, |until| until.max(due)));
        let later = start.into_iter().chain(self.last_starts).filter(|start| *start > now).min();
        later.unwrap_or(now + LONG).min(now + LONG / 6)
    }

    /// A delivery that does not come to an end is noticed by the health at least.
    fn look_for_silence(&mut self) {
        if !self.under_way.is_empty() && self.stirred.elapsed() >= LONG {
            self.down("the sink neither takes nor refuses what it was given");
        }
    }

    fn done(&mut self, done: Result<(Id, Attempt), JoinError>) {
        self.stirred = Instant::now();
        let (id, attempt) = match done {
            Ok((id, attempt)) => (id, attempt),
            Err(panic) => (panic.id(), Attempt::Later { reason: panic.to_string(), after: None }),
        };
        if let Some(job) = self.jobs.remove(&id) {
            self.settle(job, attempt);
        }
    }

    fn settle(&mut self, job: Job, attempt: Attempt) {
        let name = self.settings.name.clone();
        let name = name.as_str();
        match attempt {
            Attempt::Taken => {
                self.metrics.delivery(name, "taken");
                self.taken += 1;
                self.recovered();
                self.settled(job, Outcome::Taken);
            }
            Attempt::Refused { reason } => {
                self.metrics.delivery(name, "refused");
                error!(sink = name, alert = %job.alert.id, reason, "alert refused by the receiver");
                self.recovered();
                self.settled(job, Outcome::Refused(reason));
            }
            Attempt::Later { reason, after } => {
                self.metrics.delivery(name, "retried");
                if let Some(after) = after {
                    self.not_before = self.not_before.max(Some(Instant::now() + after));
                }
                self.failed(job, &reason, after.unwrap_or_default(), false);
            }
            Attempt::SetUpWrongly { reason } => {
                self.metrics.delivery(name, "set-up-wrongly");
                self.failed(job, &reason, Duration::ZERO, true);
            }
            Attempt::ReaderGone => {
                self.reader_gone.cancel();
                self.fresh.push_front(Job { turn: None, ..job });
                self.pause = Some(Instant::now() + MOST_WAIT);
            }
        }
    }

    /// A delivery has failed: because of the sink, unless it took others since this alert failed before.
    fn failed(&mut self, mut job: Job, reason: &str, after: Duration, wrong: bool) {
        let name = self.settings.name.as_str();
        let alone = job.failed_at.is_some_and(|taken| taken < self.taken);
        job.failed_at = Some(self.taken);
        let since = *job.failed_since.get_or_insert_with(Instant::now);
        if alone {
            job.alone += 1;
            if job.alone >= MOST_ALONE && since.elapsed() >= LONG_ALONE {
                self.metrics.delivery(name, "refused");
                error!(sink = name, alert = %job.alert.id, reason, "alert given up: it fails while others pass");
                return self.settled(job, Outcome::Refused(format!("fails while others pass: {reason}")));
            }
            let wait = job.backoff.failed().max(after);
            warn!(sink = name, alert = %job.alert.id, reason, wait_ms = millis(wait), "this alert alone fails");
            (job.due, job.turn) = (Instant::now() + wait, None);
            return self.failed.push(job);
        }
        let wait = if wrong { self.wrong.failed() } else { self.backoff.failed().max(after) };
        if wrong {
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
        } else {
            warn!(sink = name, reason, wait_ms = millis(wait), "delivery failed, to be tried again");
        }
        (job.due, job.turn) = (Instant::now() + wait, None);
        self.pause = Some(job.due);
        self.failed.push(job);
        if self.backoff.failures() >= DOWN_AFTER || wait >= LONG {
            self.down("the sink is down");
        }
    }

    fn down(&mut self, why: &str) {
        if self.health.send_replace(Health::Down) == Health::Up {
            self.metrics.sink_up(&self.settings.name, false);
            warn!(sink = self.settings.name, why, "no alerts get through");
        }
    }

    fn recovered(&mut self) {
        self.backoff.succeeded();
        self.wrong.succeeded();
        self.pause = None;
        if self.health.send_replace(Health::Up) == Health::Down {
            self.metrics.sink_up(&self.settings.name, true);
            info!(sink = self.settings.name, "the sink is up again");
        }
    }

    fn settled(&self, job: Job, outcome: Outcome) {
        self.backlog.remove(&job.alert);
        let Some(turn) = job.turn else { return };
        let Alert { id, revision, .. } = *job.alert;
        // Without anyone to report to, the program is ending.
        let _ = self.reports.send(Report { id, revision, sink: self.number, outcome, turn });
    }

    /// There is no more time. What a required sink did not take is with messages that are given back; what is left of
    /// one that was to finish is kept.
    fn give_up(&self) {
        let left = self.backlog.alerts();
        let is_kept = self.settings.required || self.last_starts.is_some();
        if left > 0 && !is_kept {
            warn!(sink = self.settings.name, alerts = left, "alerts are dropped: the sink is not required");
            (0..left).for_each(|_| self.metrics.delivery(&self.settings.name, "dropped"));
        }
    }
}

impl Job {
    fn new(alert: Arc<Alert>) -> Self {
        let backoff = Backoff::new(FIRST_WAIT, ALONE_MOST_WAIT);
        Self {
            alert,
            due: Instant::now(),
            backoff,
            failed_at: None,
            failed_since: None,
            alone: 0,
            turn: None,
        }
    }
}

impl Ord for Job {
    fn cmp(&self, other: &Self) -> cmp::Ordering {
        other.due.cmp(&self.due)
    }
}

impl PartialOrd for Job {
    fn partial_cmp(&self, other: &Self) -> Option<cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Job {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for Job {}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::SinkTarget;
    use crate::detect::Status;
    use crate::event::EventKey;
    use crate::sigma::Level;

    fn alert(number: u32) -> Arc<Alert> {
        let event = EventKey { account: "".into(), region: "".into(), id: number.to_string().into() };
        Arc::new(Alert {
            id: AlertId::of_event("match", "rule", &event),
            revision: 1,
            status: Status::Match,
            level: Level::High,
            is_withheld: false,
            rule: "rule".into(),
            time: None,
            late_by: None,
            document: "{}".into(),
        })
    }

    /// A sender whose deliveries are settled by hand.
    struct Fixture {
        handle: SenderHandle,
        sender: Sender,
        reports: mpsc::UnboundedReceiver<Report>,
        metrics: Metrics,
    }

    impl Fixture {
        fn new() -> Self {
            let (sender, reports) = mpsc::unbounded_channel();
            let settings = SinkSettings {
                name: "s".into(),
                min_level: Level::Informational,
                max_late: None,
                required: true,
                updates: false,
                target: SinkTarget::Stdout,
            };
            let (metrics, clock) = (Metrics::default(), Clock::system());
            let gone = CancellationToken::new();
            let (handle, sender) = Sender::open(0, settings, sender, gone, metrics.clone(), clock).unwrap();
            Self { handle, sender, reports, metrics }
        }

        fn take_in(&mut self, number: u32) {
            let alert = alert(number);
            assert!(self.handle.send(&alert));
            self.sender.fresh.push_back(Job::new(alert));
        }

        fn next(&mut self) -> Option<Job> {
            let turn = Arc::clone(&self.sender.turns).try_acquire_owned().ok();
            self.sender.next_job(Instant::now()).map(|job| Job { turn, ..job })
        }

        fn health(&self) -> Health {
            *self.sender.health.borrow()
        }
    }

    fn later() -> Attempt {
        Attempt::Later { reason: "500".into(), after: None }
    }

    #[tokio::test(start_paused = true)]
    async fn an_alert_that_alone_fails_holds_up_nobody_and_is_given_up() {
        let mut fixture = Fixture::new();
        fixture.take_in(0);
        let poison = fixture.next().unwrap();
        let id = poison.alert.id;
        fixture.sender.settle(poison, Attempt::SetUpWrongly { reason: "403".into() });
        assert_eq!(fixture.health(), Health::Down);

        fixture.take_in(1);
        let probe = fixture.next().unwrap();
        assert_ne!(probe.alert.id, id, "the probe is another alert");
        fixture.sender.settle(probe, Attempt::Taken);
        assert_eq!(fixture.health(), Health::Up);

        for round in 0..MOST_ALONE {
            tokio::time::advance(ALONE_MOST_WAIT).await;
            let poison = fixture.next().unwrap();
            assert_eq!(poison.alert.id, id);
            fixture.sender.settle(poison, Attempt::SetUpWrongly { reason: "403".into() });
            assert_eq!(fixture.health(), Health::Up, "the sink is not to blame");
            fixture.take_in(round + 2);
            let other = fixture.next().unwrap();
            fixture.sender.settle(other, Attempt::Taken);
        }
        let reports: Vec<Report> = std::iter::from_fn(|| fixture.reports.try_recv().ok()).collect();
        let refused = reports.iter().filter(|report| report.outcome != Outcome::Taken);
        let given_up: Vec<_> = refused.map(|report| report.id).collect();
        assert_eq!(given_up, [id]);
        assert_eq!(fixture.sender.backlog.alerts(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn without_others_that_pass_nothing_is_given_up() {
        let mut fixture = Fixture::new();
        fixture.take_in(0);
        for _ in 0..MOST_ALONE * 3 {
            tokio::time::advance(ALONE_MOST_WAIT).await;
            let job = fixture.next().unwrap();
            fixture.sender.settle(job, later());
        }
        assert_eq!(fixture.health(), Health::Down);
        assert!(fixture.reports.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_receiver_that_asks_for_rest_gets_it() {
        let mut fixture = Fixture::new();
        for number in 0..2 {
            fixture.take_in(number);
        }
        let (one, other) = (fixture.next().unwrap(), fixture.next().unwrap());
        let hour = Duration::from_hours(1);
        fixture.sender.settle(one, Attempt::Later { reason: "429".into(), after: Some(hour) });
        assert_eq!(fixture.health(), Health::Down, "an hour is no hiccup");
        fixture.sender.settle(other, Attempt::Taken);
        fixture.take_in(2);
        fixture.sender.start_due();
        assert!(fixture.sender.under_way.is_empty(), "what passed meanwhile does not end the rest");
        tokio::time::advance(hour).await;
        fixture.sender.start_due();
        assert!(!fixture.sender.under_way.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_optional_sink_misses_is_counted() {
        let mut fixture = Fixture::new();
        fixture.sender.settings.required = false;
        fixture.take_in(0);
        fixture.take_in(1);
        fixture.handle.settings.required = false;
        fixture.handle.backlog.bytes.store(OPTIONAL_BYTES, Ordering::Relaxed);
        assert!(!fixture.handle.send(&alert(2)));
        assert_eq!((fixture.handle.backlog.alerts(), fixture.handle.backlog.dropped()), (2, 1));
        fixture.sender.give_up();
        let text = fixture.metrics.render();
        assert!(text.contains(r#"trailhound_deliveries_total{outcome="dropped",sink="s"} 2"#), "{text}");
    }
}
