//! The keeper: which ids were raised, who has them, and which commits wait for whom.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{Effects, Request, Settled, State, Windows};
use crate::alert::{Alert, AlertId, Outcome, Report, SenderHandle};
use crate::clock::Clock;
use crate::metrics::Metrics;

/// Ids that are remembered at most; beyond them the oldest is forgotten.
const MOST_IDS: usize = 1_000_000;
/// How long ids are remembered: SQS keeps a message for 14 days, CloudTrail retries a broken bucket for 30.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(32 * 24);
/// How often is looked for windows that time alone has settled.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The only one who knows which ids were raised.
#[derive(Debug)]
pub struct Keeper {
    inbox: mpsc::UnboundedReceiver<Request>,
    reports: mpsc::UnboundedReceiver<Report>,
    sinks: Vec<SenderHandle>,
    ids: HashMap<Raised, Entry>,
    /// Ids that are settled, the oldest first.
    order: VecDeque<(Raised, Timestamp)>,
    commits: HashMap<u64, Open>,
    next_commit: u64,
    /// How many alerts each sink has still to take.
    outbox: Vec<i64>,
    /// None where nothing but alerts is committed.
    windows: Option<Windows>,
    metrics: Metrics,
    clock: Clock,
}

/// An alert and its revision: each is delivered once.
type Raised = (AlertId, u32);

/// What is known of an id.
#[derive(Debug)]
enum Entry {
    Pending {
        missing: SinkSet,
        taken: SinkSet,
        refused: bool,
        waiting: Vec<u64>,
        time: Option<Timestamp>,
    },
    Delivered,
    /// Some sink refused it; those that took it are not asked again.
    Refused {
        taken: SinkSet,
    },
}

/// A commit that waits for deliveries.
#[derive(Debug)]
struct Open {
    outstanding: usize,
    refused: bool,
    answer: oneshot::Sender<Settled>,
}

/// Positions of sinks, one bit each; there are at most [`MOST_SINKS`](crate::alert::MOST_SINKS).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct SinkSet(u64);

impl SinkSet {
    fn insert(&mut self, sink: usize) {
        self.0 |= 1 << sink;
    }

    fn remove(&mut self, sink: usize) {
        self.0 &= !(1 << sink);
    }

    fn contains(self, sink: usize) -> bool {
        self.0 & 1 << sink != 0
    }
}

impl Keeper {
    /// A keeper that delivers to these sinks, at most [`MOST_SINKS`](crate::alert::MOST_SINKS); `reports` is where their senders report.
    #[must_use]
    pub fn new(
        sinks: Vec<SenderHandle>,
        reports: mpsc::UnboundedReceiver<Report>,
        metrics: Metrics,
        clock: Clock,
    ) -> (State, Keeper) {
        // What waits here is bounded by what is in flight.
        let (sender, inbox) = mpsc::unbounded_channel();
        let outbox = vec![0; sinks.len()];
        let keeper = Keeper {
            inbox,
            reports,
            outbox,
            sinks,
            ids: HashMap::new(),
            order: VecDeque::new(),
            commits: HashMap::new(),
            next_commit: 0,
            windows: None,
            metrics,
            clock,
        };
        (State { inbox: sender, objects: None }, keeper)
    }

    /// Also takes evidence.
    #[must_use]
    pub fn with_windows(mut self, windows: Windows) -> Self {
        self.windows = Some(windows);
        self
    }

    /// The windows, to be taught from archives before anything runs.
    pub fn windows(&mut self) -> Option<&mut Windows> {
        self.windows.as_mut()
    }

    /// Runs until nobody commits any more and every commit is settled, or until it is cancelled. What windows still
    /// wait for is not told then: more evidence may come after a restart.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut open = true;
        let mut looks = self.windows.as_ref().map(|_| looks());
        while open || !self.commits.is_empty() {
            tokio::select! {
                request = self.inbox.recv(), if open => match request {
                    Some(Request::Commit { effects, answer }) => self.commit(effects, answer),
                    Some(Request::Succeed(inspection)) => {
                        self.windows.iter_mut().for_each(|windows| windows.succeed(&inspection));
                    }
                    None => open = false,
                },
                Some(report) = self.reports.recv() => self.reported(&report),
                () = look(&mut looks) => self.look(),
                () = cancel.cancelled() => return,
            }
        }
    }

    fn commit(&mut self, Effects { mut alerts, gathered, .. }: Effects, answer: oneshot::Sender<Settled>) {
        let now = self.clock.now();
        let updates = self.wants_updates();
        if let (Some(windows), Some(gathered)) = (&mut self.windows, gathered) {
            alerts.extend(windows.take(gathered, now, updates));
        }
        let number = self.next_commit;
        self.next_commit += 1;
        let outstanding = alerts.into_iter().filter(|alert| self.raise(alert, Some(number))).count();
        if outstanding == 0 {
            // Whoever asked may have given up.
            let _ = answer.send(Settled::Final);
        } else {
            self.commits.insert(number, Open { outstanding, refused: false, answer });
        }
    }

    /// Raises what time alone has settled; no message waits for it.
    fn look(&mut self) {
        let (now, updates) = (self.clock.now(), self.wants_updates());
        let alerts = self.windows.as_mut().map(|windows| windows.look(now, updates)).unwrap_or_default();
        for alert in alerts {
            self.raise(&alert, None);
        }
    }

    fn wants_updates(&self) -> bool {
        self.sinks.iter().any(|sink| sink.settings.updates)
    }

    /// Raises an alert, for a commit if there is one; whether that has to wait for it.
    fn raise(&mut self, alert: &Alert, commit: Option<u64>) -> bool {
        let raised = (alert.id, alert.revision);
        let taken = match self.ids.get_mut(&raised) {
            Some(Entry::Delivered) => {
                self.metrics.repeat(&alert.rule);
                return false;
            }
            Some(Entry::Pending { waiting, .. }) => {
                self.metrics.repeat(&alert.rule);
                waiting.extend(commit);
                return true;
            }
            Some(Entry::Refused { taken }) => Some(*taken),
            None => None,
        };
        if taken.is_none() {
            self.metrics.alert(&alert.rule, alert.counted_as());
        }
        let missing = if alert.is_withheld { SinkSet::default() } else { self.send(alert, taken) };
        if missing == SinkSet::default() {
            self.settle(raised, Entry::Delivered);
            return false;
        }
        let entry = Entry::Pending {
            missing,
            taken: taken.unwrap_or_default(),
            refused: false,
            waiting: commit.into_iter().collect(),
            // Later revisions come when their period is over.
            time: alert.time.filter(|_| alert.revision == 1),
        };
        self.ids.insert(raised, entry);
        true
    }

    /// Hands an alert to every sink that wants it and has it not; answers with the required ones. Sinks that
    /// are not required are asked once only.
    fn send(&mut self, alert: &Alert, taken: Option<SinkSet>) -> SinkSet {
        let shared = Arc::new(alert.clone());
        let mut missing = SinkSet::default();
        for (number, sink) in self.sinks.iter().enumerate() {
            let settings = &sink.settings;
            let asked = taken.is_some_and(|taken| !settings.required || taken.contains(number));
            let unwanted = !settings.wants(alert);
            if taken.is_none() {
                self.metrics.sink_alert(&settings.name, "raised");
                if unwanted {
                    self.metrics.sink_alert(&settings.name, "suppressed");
                }
            }
            if unwanted || asked {
                continue;
            }
            if taken.is_some() {
                self.metrics.sink_alert(&settings.name, "restored");
            }
            if settings.required {
                missing.insert(number);
            }
            if sink.send(&shared) {
                self.outbox[number] += 1;
                self.metrics.outbox(&settings.name, self.outbox[number]);
            } else {
                self.metrics.sink_alert(&settings.name, "dropped");
                self.metrics.delivery(&settings.name, "dropped");
            }
        }
        missing
    }

    fn reported(&mut self, report: &Report) {
        self.note(report);
        let raised = (report.id, report.revision);
        let Some(Entry::Pending { missing, taken, refused, .. }) = self.ids.get_mut(&raised) else {
            return;
        };
        if !missing.contains(report.sink) {
            return;
        }
        missing.remove(report.sink);
        if report.outcome == Outcome::Taken {
            taken.insert(report.sink);
        } else {
            *refused = true;
        }
        if *missing != SinkSet::default() {
            return;
        }
        let Some(Entry::Pending { taken, refused, waiting, time, .. }) = self.ids.remove(&raised) else {
            return;
        };
        if refused {
            self.settle(raised, Entry::Refused { taken });
        } else {
            self.settle(raised, Entry::Delivered);
            if let Some(time) = time {
                self.metrics.event_to_alert(self.clock.now().duration_since(time).as_secs_f64());
            }
        }
        for commit in waiting {
            self.answer(commit, refused);
        }
    }

    fn note(&mut self, report: &Report) {
        let (name, waiting) = (&self.sinks[report.sink].settings.name, &mut self.outbox[report.sink]);
        *waiting -= 1;
        self.metrics.outbox(name, *waiting);
        let outcome = if report.outcome == Outcome::Taken { "delivered" } else { "dead" };
        self.metrics.sink_alert(name, outcome);
    }

    fn answer(&mut self, commit: u64, refused: bool) {
        let Some(open) = self.commits.get_mut(&commit) else { return };
        open.outstanding -= 1;
        open.refused |= refused;
        if open.outstanding > 0 {
            return;
        }
        if let Some(open) = self.commits.remove(&commit) {
            let settled = if open.refused { Settled::Refused } else { Settled::Final };
            let _ = open.answer.send(settled);
        }
    }

    fn settle(&mut self, raised: Raised, entry: Entry) {
        let now = self.clock.now();
        if self.ids.insert(raised, entry).is_none() {
            self.order.push_back((raised, now));
        }
        while let Some((oldest, since)) = self.order.front().copied() {
            let old = now.duration_since(since) > REMEMBERED;
            if self.order.len() <= MOST_IDS && !old {
                break;
            }
            self.order.pop_front();
            // One that is being tried again is settled, and queued, once more.
            if !matches!(self.ids.get(&oldest), Some(Entry::Pending { .. })) {
                self.ids.remove(&oldest);
            }
            if !old {
                self.metrics.evicted("alert-ids", 1);
            }
        }
    }
}

fn looks() -> Interval {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks
}

/// Waits for the next look, if there is anything to look at.
async fn look(looks: &mut Option<Interval>) {
    match looks {
        Some(looks) => _ = looks.tick().await,
        None => std::future::pending().await,
    }
}
