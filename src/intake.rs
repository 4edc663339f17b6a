//! Whether more may be received: the bounds on what is in flight, and the state of everything behind.
//!
//! Announcers ask for a permit before they receive. There is none while the bytes in flight are at their
//! bound. While a required sink is down, or while every object of a source fails for a reason that lies with
//! the set-up, a permit is now and then for a single message, a probe: good messages do not drift into the
//! dead-letter queue, and a sink that only dislikes one alert is offered another.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::alert::{Backoff, Health};
use crate::announce::Delivery;
use crate::fetch::Room;
use crate::metrics::Metrics;

/// Systemic failures in a row after which probing begins.
const FAILURES: u32 = 5;
/// The wait between probes, first and at most.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const MOST_WAIT: Duration = Duration::from_mins(2);
/// How often the health of sinks is looked at while one is down.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The gate in front of all lines; a cheap copy of the same gate.
#[derive(Debug, Clone)]
pub struct Intake(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most_bytes: usize,
    sinks: Vec<watch::Receiver<Health>>,
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
    /// Why it only probes, if it does.
    probing: Option<Probing>,
    /// Systemic failures in a row.
    failures: u32,
    probe_at: Instant,
    backoff: Backoff,
}

/// Why nothing but probes is received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probing {
    SinkDown,
    NothingReadable,
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
    /// A gate with this bound on bytes; `sinks` are the required ones.
    #[must_use]
    pub fn new(most_bytes: usize, sinks: Vec<watch::Receiver<Health>>, metrics: Metrics) -> Self {
        let held = Mutex::new(Held { bytes: 0, reserved: 0, sources: BTreeMap::new() });
        Self(Arc::new(Inner { most_bytes, sinks, metrics, held, changed: Notify::new() }))
    }

    /// The gate of the source of this name, which has yet to tell that it can receive.
    #[must_use]
    pub fn source(&self, name: &str) -> Source {
        let state = SourceState {
            able: false,
            probing: None,
            failures: 0,
            probe_at: Instant::now(),
            backoff: Backoff::new(FIRST_WAIT, MOST_WAIT),
        };
        self.held().sources.insert(name.to_owned(), state);
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

    fn is_sink_down(&self) -> bool {
        self.0.sinks.iter().any(|sink| *sink.borrow() == Health::Down)
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
        let sink_down = self.intake.is_sink_down();
        let mut held = self.intake.held();
        let full = held.bytes >= self.intake.0.most_bytes;
        let state = self.state(&mut held);
        let probing = match () {
            () if sink_down => Some(Probing::SinkDown),
            () if state.failures >= FAILURES => Some(Probing::NothingReadable),
            () => None,
        };
        if state.probing != probing {
            state.probing = probing;
            match probing {
                Some(Probing::SinkDown) => {
                    state.probe_at = now + state.backoff.failed();
                    warn!(source = &*self.name, "a required sink is down; only single messages are received");
                }
                Some(Probing::NothingReadable) => {
                    state.probe_at = now + state.backoff.failed();
                    warn!(source = &*self.name, "nothing can be read; only single messages are received");
                }
                None => {
                    state.backoff.succeeded();
                    info!(source = &*self.name, "receiving as usual again");
                }
            }
            let stopped = held.sources.values().any(|source| source.probing.is_some());
            self.intake.0.metrics.intake_stopped(stopped);
        }
        let state = self.state(&mut held);
        match probing {
            _ if full => Err(None),
            None => Ok(Permit::Open),
            Some(_) if state.probe_at <= now => {
                state.probe_at = now + state.backoff.failed();
                Ok(Permit::Probe)
            }
            Some(Probing::SinkDown) => Err(Some(state.probe_at.min(now + LOOK_EVERY))),
            Some(Probing::NothingReadable) => Err(Some(state.probe_at)),
        }
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
        Intake::new(most_bytes, Vec::new(), Metrics::default()).source("s")
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

    #[tokio::test(start_paused = true)]
    async fn a_required_sink_that_is_down_leaves_probes() {
        let (sender, health) = watch::channel(Health::Down);
        let metrics = Metrics::default();
        let source = Intake::new(100, vec![health], metrics.clone()).source("s");
        assert_eq!(source.permit().await, Permit::Probe);
        assert!(metrics.render().contains("trailhound_intake_stopped 1"));
        sender.send_replace(Health::Up);
        assert_eq!(source.permit().await, Permit::Open);
        assert!(metrics.render().contains("trailhound_intake_stopped 0"));
    }

    #[test]
    fn a_source_is_able_once_it_says_so() {
        let source = source(100);
        assert!(!source.intake.is_able());
        source.able(true);
        assert!(source.intake.is_able());
    }
}
