//! Whether more may be received: the bounds on what is in flight, and the state of everything behind.
//!
//! Announcers ask for a permit before they receive. There is none while the bytes in flight are at their
//! bound. While a required sink is down or the outbox is full, or while every object of a source fails for a reason
//! that lies with the set-up, a permit is now and then for a single message, a probe: good messages do not drift into
//! the dead-letter queue, and a sink that only dislikes one alert is offered another. Each of these is an
//! [`IntakeState`] with a name and a reason of its own, which log, metrics and `/readyz` share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::alert::{Backoff, Health};
use crate::announce::Delivery;
use crate::fetch::Room;
use crate::metrics::Metrics;

/// Systemic failures in a row after which probing begins.
const FAILURES: u32 = 5;
/// The wait between probes, first and at most.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const MOST_WAIT: Duration = Duration::from_mins(2);
/// The time for which the bound on bytes must be reached to be worth a warning; for moments any busy program reaches it.
const LASTING: Duration = Duration::from_secs(10);
/// How often sinks and the outbox are looked at while one of them takes nothing.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The gate in front of all lines; a cheap copy of the same gate.
#[derive(Debug, Clone)]
pub struct Intake(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most_bytes: usize,
    downstream: Downstream,
    metrics: Metrics,
    held: Mutex<Held>,
    changed: Notify,
}

#[derive(Debug)]
struct Held {
    bytes: usize,
    /// Those among them that somebody waited for.
    reserved: usize,
    sources: BTreeMap<String, SourceState>,
}

/// What is known of a source of announcements.
#[derive(Debug)]
struct SourceState {
    /// Whether it can receive.
    able: bool,
    /// How much it may receive, and why, when it last asked; and since when that is.
    state: IntakeState,
    since: Instant,
    /// Whether this state was logged so that everybody sees it.
    is_logged: bool,
    /// Systemic failures in a row.
    failures: u32,
    probe_at: Instant,
    backoff: Backoff,
}

/// Everything behind the lines that has to take what they bring.
#[derive(Debug, Default)]
pub struct Downstream {
    /// The health of each required sink, where alerts go to the sinks before they are final.
    pub sinks: Vec<watch::Receiver<Health>>,
    /// Whether the outbox is full, where there is one.
    pub outbox_full: Option<watch::Receiver<bool>>,
}

/// A state of the intake of a source: how much it may receive, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum IntakeState {
    /// As much as there is.
    Open,
    /// Nothing: the bytes in flight are at their bound.
    BytesInFlight,
    /// Probes: a required sink is down.
    SinkDown,
    /// Probes: the outbox is full.
    OutboxFull,
    /// Probes: every object fails for a reason that may lie with the set-up.
    NothingReadable,
}

impl IntakeState {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Open, Self::BytesInFlight, Self::SinkDown, Self::OutboxFull, Self::NothingReadable];

    /// A short name, from a closed set, for metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::BytesInFlight => "bytes-in-flight",
            Self::SinkDown => "sink-down",
            Self::OutboxFull => "outbox-full",
            Self::NothingReadable => "nothing-readable",
        }
    }

    /// The reason in words, and what it leads to.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Open => "receiving as usual",
            Self::BytesInFlight => "the bound on bytes in flight is reached; nothing is received",
            Self::SinkDown => "a required sink is down; only single messages are received",
            Self::OutboxFull => "the outbox is full; only single messages are received",
            Self::NothingReadable => "nothing can be read; only single messages are received",
        }
    }

    /// Returns true if single messages are received, one after the other.
    fn is_probing(self) -> bool {
        matches!(self, Self::SinkDown | Self::OutboxFull | Self::NothingReadable)
    }
}

/// The gate in front of one source; a cheap copy of the same one.
#[derive(Debug, Clone)]
pub struct Source {
    intake: Intake,
    name: Arc<str>,
}

/// A source of announcements.
pub trait Announcer: Send + 'static {
    /// Hands out deliveries, as many as its gate permits, until it is stopped and all are settled. What is
    /// not settled when `abandon` is cancelled is given back.
    fn run(
        self,
        source: Source,
        deliveries: mpsc::Sender<Delivery>,
        stop: CancellationToken,
        abandon: CancellationToken,
    ) -> impl Future<Output = ()> + Send;
}

/// How much may be received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// As much as an announcer likes.
    Open,
    /// One message.
    Probe,
}

/// Bytes that are in flight until this is dropped.
#[derive(Debug)]
pub struct Reservation {
    intake: Intake,
    bytes: usize,
    kind: Kind,
}

/// How bytes came to be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// They were waited for.
    Reserved,
    /// They were there already.
    Held,
}

impl Intake {
    /// A gate with this bound on bytes, in front of lines that lead there.
    #[must_use]
    pub fn new(most_bytes: usize, downstream: Downstream, metrics: Metrics) -> Self {
        let held = Mutex::new(Held { bytes: 0, reserved: 0, sources: BTreeMap::new() });
        Self(Arc::new(Inner { most_bytes, downstream, metrics, held, changed: Notify::new() }))
    }

    /// The gate of the source of this name, which has yet to tell that it can receive.
    #[must_use]
    pub fn source(&self, name: &str) -> Source {
        let state = SourceState {
            able: false,
            state: IntakeState::Open,
            since: Instant::now(),
            is_logged: false,
            failures: 0,
            probe_at: Instant::now(),
            backoff: Backoff::new(FIRST_WAIT, MOST_WAIT),
        };
        let mut held = self.held();
        held.sources.insert(name.to_owned(), state);
        self.publish_held(&held);
        drop(held);
        Source { intake: self.clone(), name: name.into() }
    }

    /// Waits until the bytes fit. Something larger than the bound passes once nothing else is reserved.
    pub async fn reserve(&self, bytes: usize) -> Reservation {
        let mut reservation = Reservation { intake: self.clone(), bytes: 0, kind: Kind::Reserved };
        reservation.exchange(bytes).await;
        reservation
    }

    /// Takes the bytes at once, even beyond the bound: they are there already.
    #[must_use]
    pub fn hold(&self, bytes: usize) -> Reservation {
        let mut reservation = Reservation { intake: self.clone(), bytes: 0, kind: Kind::Held };
        reservation.resize(bytes);
        reservation
    }

    /// Whether every source can receive.
    #[must_use]
    pub fn is_able(&self) -> bool {
        let held = self.held();
        !held.sources.is_empty() && held.sources.values().all(|source| source.able)
    }

    /// Returns the states of all sources, each once: those of this moment, though a source may not ask for a while.
    #[must_use]
    pub fn states(&self) -> BTreeSet<IntakeState> {
        let held = self.held();
        held.sources.values().map(|source| self.state_after(source.failures, held.bytes)).collect()
    }

    /// Sets the metrics of this moment.
    pub fn publish(&self) {
        self.publish_held(&self.held());
    }

    /// The state of a source after so many systemic failures in a row. Of several reasons the first cause counts: what
    /// nobody takes stays in flight.
    fn state_after(&self, failures: u32, bytes: usize) -> IntakeState {
        let Downstream { sinks, outbox_full } = &self.0.downstream;
        match () {
            () if sinks.iter().any(|sink| *sink.borrow() == Health::Down) => IntakeState::SinkDown,
            () if outbox_full.as_ref().is_some_and(|full| *full.borrow()) => IntakeState::OutboxFull,
            () if failures >= FAILURES => IntakeState::NothingReadable,
            () if bytes >= self.0.most_bytes => IntakeState::BytesInFlight,
            () => IntakeState::Open,
        }
    }

    /// Shows how many sources are in each state.
    fn publish_held(&self, held: &Held) {
        let states = held.sources.values().map(|source| self.state_after(source.failures, held.bytes));
        let states: Vec<IntakeState> = states.collect();
        for state in IntakeState::ALL {
            let sources = states.iter().filter(|other| **other == state).count();
            self.0.metrics.intake(state.name(), sources);
        }
        self.0.metrics.intake_stopped(states.iter().any(|state| state.is_probing()));
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, kind: Kind, before: usize, after: usize) {
        let mut held = self.held();
        held.bytes = held.bytes - before + after;
        if kind == Kind::Reserved {
            held.reserved = held.reserved - before + after;
        }
        self.0.metrics.in_flight_bytes(held.bytes);
        drop(held);
        self.0.changed.notify_waiters();
    }
}

impl Source {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits until something may be received. A permit to probe is given once for each wait.
    pub async fn permit(&self) -> Permit {
        loop {
            let changed = self.intake.0.changed.notified();
            let wait = match self.permit_now() {
                Ok(permit) => return permit,
                Err(wait) => wait,
            };
            match wait {
                None => changed.await,
                Some(until) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(until) => {}
                },
            }
        }
    }

    /// A permit, or when to ask again; without a time, once something has changed.
    fn permit_now(&self) -> Result<Permit, Option<Instant>> {
        let now = Instant::now();
        let mut held = self.intake.held();
        let bytes = held.bytes;
        let source = self.state(&mut held);
        let state = self.intake.state_after(source.failures, bytes);
        if source.state != state {
            self.enter(source, state, now);
            self.intake.publish_held(&held);
        }
        let source = self.state(&mut held);
        match state {
            IntakeState::Open => Ok(Permit::Open),
            IntakeState::BytesInFlight => Err(self.lasting(source, now)),
            _ if bytes >= self.intake.0.most_bytes => Err(Some(now + LOOK_EVERY)),
            _ if source.probe_at <= now => {
                source.probe_at = now + source.backoff.failed();
                Ok(Permit::Probe)
            }
            IntakeState::NothingReadable => Err(Some(source.probe_at)),
            IntakeState::SinkDown | IntakeState::OutboxFull => {
                Err(Some(source.probe_at.min(now + LOOK_EVERY)))
            }
        }
    }

    /// Goes over to another state. The waits between probes go on growing from one reason to the next.
    fn enter(&self, source: &mut SourceState, state: IntakeState, now: Instant) {
        let (name, was_logged) = (&*self.name, source.is_logged);
        if state.is_probing() && !source.state.is_probing() {
            source.probe_at = now + source.backoff.failed();
        } else if !state.is_probing() {
            source.backoff.succeeded();
        }
        (source.state, source.since, source.is_logged) = (state, now, state.is_probing());
        if state.is_probing() {
            warn!(source = name, state = state.name(), "{}", state.reason());
        } else if was_logged && state == IntakeState::Open {
            info!(source = name, "receiving as usual again");
        } else {
            // Every busy program comes and goes there.
            debug!(source = name, state = state.name(), "{}", state.reason());
        }
    }

    /// Returns when to look again at a bound that is reached: once, to say that it lasts.
    fn lasting(&self, source: &mut SourceState, now: Instant) -> Option<Instant> {
        let lasts_from = source.since + LASTING;
        if now >= lasts_from && !std::mem::replace(&mut source.is_logged, true) {
            warn!(source = &*self.name, state = source.state.name(), "{}", source.state.reason());
        }
        (now < lasts_from).then_some(lasts_from)
    }

    /// Whether it can receive.
    pub fn able(&self, able: bool) {
        self.state(&mut self.intake.held()).able = able;
    }

    /// An object could be fetched: the set-up works.
    pub fn works(&self) {
        self.state(&mut self.intake.held()).failures = 0;
        self.intake.0.changed.notify_waiters();
    }

    /// An object failed for a reason that may lie with the set-up.
    pub fn fails(&self) {
        let mut held = self.intake.held();
        let state = self.state(&mut held);
        state.failures = state.failures.saturating_add(1);
    }

    fn state<'h>(&self, held: &'h mut Held) -> &'h mut SourceState {
        held.sources.get_mut(&*self.name).expect("the source was registered when this was made")
    }
}

impl Reservation {
    /// Changes how much is held, at once, even beyond the bound: the bytes are there already.
    pub fn resize(&mut self, bytes: usize) {
        self.intake.change(self.kind, self.bytes, bytes);
        self.bytes = bytes;
    }

    /// Gives back what is held and waits until the new bytes fit. Nothing is held meanwhile, so that those who
    /// wait never wait for each other.
    pub async fn exchange(&mut self, bytes: usize) {
        self.resize(0);
        loop {
            let changed = self.intake.0.changed.notified();
            {
                let mut held = self.intake.held();
                if held.reserved == 0 || held.bytes.saturating_add(bytes) <= self.intake.0.most_bytes {
                    held.bytes += bytes;
                    held.reserved += bytes;
                    self.bytes = bytes;
                    self.intake.0.metrics.in_flight_bytes(held.bytes);
                    return;
                }
            }
            changed.await;
        }
    }
}

impl Room for Reservation {
    async fn make(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.exchange(bytes).await;
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.intake.change(self.kind, self.bytes, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(most_bytes: usize) -> Source {
        Intake::new(most_bytes, Downstream::default(), Metrics::default()).source("s")
    }

    #[tokio::test]
    async fn bytes_are_bounded_and_given_back() {
        let source = source(100);
        let intake = source.intake.clone();
        let mut first = intake.reserve(60).await;
        let waiting = tokio::spawn({
            let intake = intake.clone();
            async move { intake.reserve(60).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        first.resize(40);
        let second = waiting.await.unwrap();
        let blocked = tokio::spawn(async move { source.permit().await });
        tokio::task::yield_now().await;
        assert!(!blocked.is_finished(), "the bound is reached");
        drop((first, second));
        assert_eq!(blocked.await.unwrap(), Permit::Open);
        assert_eq!(intake.held().bytes, 0);
    }

    #[tokio::test]
    async fn those_who_want_more_do_not_wait_for_each_other() {
        let intake = source(100).intake;
        let mut exchanges = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let mut small = intake.reserve(5).await;
            exchanges.spawn(async move { small.exchange(90).await });
        }
        exchanges.join_all().await;
        assert_eq!(intake.held().bytes, 0);
    }

    #[tokio::test]
    async fn what_is_larger_than_the_bound_passes_alone() {
        let intake = source(100).intake;
        let message = intake.hold(10);
        let large = tokio::time::timeout(Duration::from_secs(5), intake.reserve(1_000)).await;
        drop((large.expect("nothing else is reserved"), message));
        assert_eq!(intake.held().bytes, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn systemic_failures_are_probed_one_by_one() {
        let source = source(100);
        let other = source.intake.source("other");
        for _ in 0..FAILURES {
            assert_eq!(source.permit().await, Permit::Open);
            source.fails();
        }
        for _ in 0..3 {
            let before = Instant::now();
            assert_eq!(source.permit().await, Permit::Probe);
            assert!(before.elapsed() >= FIRST_WAIT / 10, "each probe has its wait");
        }
        assert_eq!(other.permit().await, Permit::Open, "the failures of one source are its own");
        source.works();
        assert_eq!(source.permit().await, Permit::Open);
    }

    /// The metric of each state that some source is in.
    fn shown(metrics: &Metrics) -> Vec<String> {
        let text = metrics.render();
        let states = text.lines().filter_map(|line| line.strip_prefix("trailhound_intake{state=\""));
        let current = states.filter(|line| !line.ends_with(" 0")).map(|line| line.replace("\"}", ""));
        let stopped =
            text.lines().filter(|line| *line == "trailhound_intake_stopped 1").map(|_| "stopped".to_owned());
        current.chain(stopped).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn each_reason_has_a_state_of_its_own() {
        let (sink, health) = watch::channel(Health::Up);
        let (outbox, full) = watch::channel(false);
        let metrics = Metrics::default();
        let downstream = Downstream { sinks: vec![health], outbox_full: Some(full) };
        let intake = Intake::new(100, downstream, metrics.clone());
        let source = intake.source("s");
        let state = || intake.states().into_iter().collect::<Vec<_>>();
        assert_eq!((state(), shown(&metrics)), (vec![IntakeState::Open], vec!["open 1".to_owned()]));

        outbox.send_replace(true);
        intake.publish();
        assert_eq!(
            (state(), shown(&metrics)),
            (vec![IntakeState::OutboxFull], vec!["outbox-full 1".into(), "stopped".into()]),
            "before anybody asks"
        );
        assert_eq!(source.permit().await, Permit::Probe);
        assert_eq!(
            (state(), shown(&metrics)),
            (vec![IntakeState::OutboxFull], vec!["outbox-full 1".into(), "stopped".into()])
        );
        // With a sink before the state there is no outbox; if there were, the sink would be why it is full.
        sink.send_replace(Health::Down);
        assert_eq!(source.permit().await, Permit::Probe);
        assert_eq!(
            (state(), shown(&metrics)),
            (vec![IntakeState::SinkDown], vec!["sink-down 1".into(), "stopped".into()])
        );
        sink.send_replace(Health::Up);
        outbox.send_replace(false);
        assert_eq!(source.permit().await, Permit::Open);
        assert_eq!((state(), shown(&metrics)), (vec![IntakeState::Open], vec!["open 1".to_owned()]));

        (0..FAILURES).for_each(|_| source.fails());
        assert_eq!(source.permit().await, Permit::Probe);
        assert_eq!(
            (state(), shown(&metrics)),
            (vec![IntakeState::NothingReadable], vec!["nothing-readable 1".into(), "stopped".into()])
        );
        source.works();

        let bytes = intake.hold(100);
        assert!(tokio::time::timeout(LASTING * 3, source.permit()).await.is_err(), "not even a probe");
        assert_eq!(
            (state(), shown(&metrics)),
            (vec![IntakeState::BytesInFlight], vec!["bytes-in-flight 1".to_owned()])
        );
        drop(bytes);
        assert_eq!(source.permit().await, Permit::Open);
        assert_eq!(shown(&metrics), ["open 1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_states_of_sources_add_up() {
        let metrics = Metrics::default();
        let intake = Intake::new(100, Downstream::default(), metrics.clone());
        let (bad, _good) = (intake.source("bad"), intake.source("good"));
        (0..FAILURES).for_each(|_| bad.fails());
        assert_eq!(bad.permit().await, Permit::Probe);
        assert_eq!(shown(&metrics), ["nothing-readable 1", "open 1", "stopped"]);
        assert_eq!(intake.states().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_probed_while_the_bytes_are_at_their_bound() {
        let (outbox, full) = watch::channel(true);
        let downstream = Downstream { outbox_full: Some(full), ..Downstream::default() };
        let intake = Intake::new(100, downstream, Metrics::default());
        let source = intake.source("s");
        let bytes = intake.hold(100);
        assert!(tokio::time::timeout(MOST_WAIT * 2, source.permit()).await.is_err());
        assert!(intake.states().contains(&IntakeState::OutboxFull), "the first cause is named");
        drop(bytes);
        assert_eq!(source.permit().await, Permit::Probe);
        outbox.send_replace(false);
        assert_eq!(source.permit().await, Permit::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn a_bound_that_is_reached_for_a_moment_is_not_warned_of() {
        let source = source(100);
        let _bytes = source.intake.hold(100);
        let is_logged = || source.state(&mut source.intake.held()).is_logged;
        assert!(tokio::time::timeout(LASTING / 2, source.permit()).await.is_err());
        assert!(!is_logged());
        assert!(tokio::time::timeout(LASTING, source.permit()).await.is_err());
        assert!(is_logged());
    }

    #[test]
    fn a_source_is_able_once_it_says_so() {
        let source = source(100);
        assert!(!source.intake.is_able());
        source.able(true);
        assert!(source.intake.is_able());
    }
}
