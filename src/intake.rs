//! Whether more may be received: the bounds on what is in flight, and the state of everything behind.
//!
//! Announcers ask for a permit before they receive. There is none while the bytes in flight are at their
//! bound or a required sink is down; while every object fails for a reason that lies with the set-up, a
//! permit is for a single message, a probe, so that good messages do not drift into the dead-letter queue.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::alert::{Backoff, Health};
use crate::announce::Delivery;
use crate::metrics::Metrics;

/// Systemic failures in a row after which probing begins.
const FAILURES: u32 = 5;

/// The gate in front of the line; a cheap copy of the same gate.
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
    /// Sources that were heard of, and whether they can receive.
    sources: BTreeMap<String, bool>,
    bytes: usize,
    failures: u32,
    probe_at: Instant,
    backoff: Backoff,
}

/// A source of announcements.
pub trait Announcer: Send + 'static {
    /// Hands out deliveries, as many as the intake permits, until it is stopped and all are settled. What is
    /// not settled when `abandon` is cancelled is given back.
    fn run(
        self,
        intake: Intake,
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
}

impl Intake {
    /// A gate with this bound on bytes; `sinks` are the required ones.
    #[must_use]
    pub fn new(most_bytes: usize, sinks: Vec<watch::Receiver<Health>>, metrics: Metrics) -> Self {
        let backoff = Backoff::new(Duration::from_secs(5), Duration::from_mins(2));
        let held =
            Held { sources: BTreeMap::new(), bytes: 0, failures: 0, probe_at: Instant::now(), backoff };
        Self(Arc::new(Inner { most_bytes, sinks, metrics, held: Mutex::new(held), changed: Notify::new() }))
    }

    /// Waits until something may be received.
    pub async fn permit(&self) -> Permit {
        loop {
            self.sinks_up().await;
            let changed = self.0.changed.notified();
            let wait = {
                let held = self.held();
                match () {
                    () if held.bytes >= self.0.most_bytes => None,
                    () if held.failures < FAILURES => return Permit::Open,
                    () if held.probe_at <= Instant::now() => return Permit::Probe,
                    () => Some(held.probe_at),
                }
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

    /// Waits until the bytes fit. Something larger than the bound passes alone.
    pub async fn reserve(&self, bytes: usize) -> Reservation {
        loop {
            let changed = self.0.changed.notified();
            {
                let mut held = self.held();
                if held.bytes == 0 || held.bytes.saturating_add(bytes) <= self.0.most_bytes {
                    held.bytes += bytes;
                    self.0.metrics.in_flight_bytes(held.bytes);
                    return Reservation { intake: self.clone(), bytes };
                }
            }
            changed.await;
        }
    }

    /// A source tells whether it can receive; one that has not told anything cannot.
    pub fn source(&self, name: &str, able: bool) {
        self.held().sources.insert(name.to_owned(), able);
    }

    /// Whether every source can receive.
    #[must_use]
    pub fn is_able(&self) -> bool {
        self.held().sources.values().all(|able| *able)
    }

    /// An object could be fetched: the set-up works.
    pub fn works(&self) {
        let mut held = self.held();
        if held.failures >= FAILURES {
            info!("objects can be read again");
        }
        held.failures = 0;
        held.backoff.succeeded();
        drop(held);
        self.0.changed.notify_waiters();
    }

    /// An object failed for a reason that may lie with the set-up.
    pub fn fails(&self) {
        let mut held = self.held();
        held.failures = held.failures.saturating_add(1);
        if held.failures >= FAILURES {
            let wait = held.backoff.failed();
            held.probe_at = Instant::now() + wait;
            if held.failures == FAILURES {
                warn!("nothing can be read; single messages probe until something can");
            }
        }
    }

    async fn sinks_up(&self) {
        for sink in &self.0.sinks {
            let mut sink = sink.clone();
            if *sink.borrow() == Health::Down {
                self.0.metrics.intake_stopped(true);
                warn!("a required sink is down; nothing is received");
            }
            // A sender that is gone ends the program, not the wait.
            let _ = sink.wait_for(|health| *health == Health::Up).await;
        }
        self.0.metrics.intake_stopped(false);
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn exchange(&self, before: usize, after: usize) {
        let mut held = self.held();
        held.bytes = held.bytes - before + after;
        self.0.metrics.in_flight_bytes(held.bytes);
        drop(held);
        self.0.changed.notify_waiters();
    }
}

impl Reservation {
    /// Changes how much is held, at once, even beyond the bound: the bytes are there already.
    pub fn resize(&mut self, bytes: usize) {
        self.intake.exchange(self.bytes, bytes);
        self.bytes = bytes;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.intake.exchange(self.bytes, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intake(most_bytes: usize) -> Intake {
        Intake::new(most_bytes, Vec::new(), Metrics::default())
    }

    #[tokio::test]
    async fn bytes_are_bounded_and_given_back() {
        let intake = intake(100);
        let mut first = intake.reserve(60).await;
        let waiting = tokio::spawn({
            let intake = intake.clone();
            async move { intake.reserve(60).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        first.resize(40);
        let second = waiting.await.unwrap();
        let blocked = tokio::spawn({
            let intake = intake.clone();
            async move { intake.permit().await }
        });
        tokio::task::yield_now().await;
        assert!(!blocked.is_finished(), "the bound is reached");
        drop((first, second));
        assert_eq!(blocked.await.unwrap(), Permit::Open);
        assert_eq!(intake.held().bytes, 0);
    }

    #[tokio::test]
    async fn what_is_larger_than_the_bound_passes_alone() {
        let intake = intake(100);
        let large = intake.reserve(1_000).await;
        drop(large);
        assert_eq!(intake.held().bytes, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn systemic_failures_are_probed() {
        let intake = intake(100);
        for _ in 0..FAILURES {
            assert_eq!(intake.permit().await, Permit::Open);
            intake.fails();
        }
        let before = Instant::now();
        assert_eq!(intake.permit().await, Permit::Probe);
        assert!(before.elapsed() >= Duration::from_millis(500));
        intake.works();
        assert_eq!(intake.permit().await, Permit::Open);
    }

    #[tokio::test]
    async fn a_required_sink_that_is_down_stops_the_intake() {
        let (sender, health) = watch::channel(Health::Down);
        let intake = Intake::new(100, vec![health], Metrics::default());
        let waiting = tokio::spawn(async move { intake.permit().await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        sender.send_replace(Health::Up);
        assert_eq!(waiting.await.unwrap(), Permit::Open);
    }
}
