//! The commit: what makes the effects of an object final, and answers when they are.
//!
//! Without a state folder the commit *is* the delivery: an object's effects are final once every required
//! sink took its alerts. An alert id belongs to the message that raised it until it is delivered; a second
//! message with the same id waits for the same outcome. Delivered ids are remembered in memory, so that a
//! redelivered message raises nothing again.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::alert::{Alert, AlertId, Report, SenderHandle};
use crate::clock::Clock;
use crate::metrics::Metrics;

/// Ids that are remembered at most; beyond them the oldest is forgotten.
const MOST_IDS: usize = 1_000_000;
/// How long ids are remembered: SQS keeps a message for 14 days, CloudTrail retries a broken bucket for 30.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(32 * 24);

/// The way to the state.
#[derive(Debug, Clone)]
pub struct State {
    inbox: mpsc::UnboundedSender<Commit>,
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Every alert is with every required sink.
    Delivered,
    /// A receiver refused an alert; the others are delivered.
    Refused,
    /// The program is ending.
    Abandoned,
}

#[derive(Debug)]
struct Commit {
    alerts: Vec<Alert>,
    answer: oneshot::Sender<Settled>,
}

impl State {
    /// Commits the alerts of an object, at once; the answer comes when they are final.
    pub fn commit(&self, alerts: Vec<Alert>) -> impl Future<Output = Settled> + Send + use<> {
        let (answer, settled) = oneshot::channel();
        let nothing = alerts.is_empty();
        // Without a keeper the answer's other end is dropped, which reads as abandoned.
        let _ = if nothing { answer.send(Settled::Delivered) } else { self.hand_over(alerts, answer) };
        async move { settled.await.unwrap_or(Settled::Abandoned) }
    }

    fn hand_over(&self, alerts: Vec<Alert>, answer: oneshot::Sender<Settled>) -> Result<(), Settled> {
        self.inbox.send(Commit { alerts, answer }).map_err(|_| Settled::Abandoned)
    }
}

/// The only one who knows which ids were raised.
#[derive(Debug)]
pub struct Keeper {
    inbox: mpsc::UnboundedReceiver<Commit>,
    reports: mpsc::UnboundedReceiver<Report>,
    sinks: Vec<SenderHandle>,
    ids: HashMap<AlertId, Entry>,
    /// Ids that are settled, the oldest first.
    order: VecDeque<(AlertId, Timestamp)>,
    commits: HashMap<u64, Open>,
    next_commit: u64,
    metrics: Metrics,
    clock: Clock,
}

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
        let keeper = Keeper {
            inbox,
            reports,
            sinks,
            ids: HashMap::new(),
            order: VecDeque::new(),
            commits: HashMap::new(),
            next_commit: 0,
            metrics,
            clock,
        };
        (State { inbox: sender }, keeper)
    }

    /// Runs until nobody commits any more and every commit is settled, or until it is cancelled.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut open = true;
        while open || !self.commits.is_empty() {
            tokio::select! {
                commit = self.inbox.recv(), if open => match commit {
                    Some(commit) => self.commit(commit),
                    None => open = false,
                },
                Some(report) = self.reports.recv() => self.reported(report),
                () = cancel.cancelled() => return,
            }
        }
    }

    fn commit(&mut self, Commit { alerts, answer }: Commit) {
        let number = self.next_commit;
        self.next_commit += 1;
        let outstanding = alerts.into_iter().filter(|alert| self.raise(alert, number)).count();
        if outstanding == 0 {
            // Whoever asked may have given up.
            let _ = answer.send(Settled::Delivered);
        } else {
            self.commits.insert(number, Open { outstanding, refused: false, answer });
        }
    }

    /// Raises an alert for a commit; whether the commit has to wait for it.
    fn raise(&mut self, alert: &Alert, commit: u64) -> bool {
        let taken = match self.ids.get_mut(&alert.id) {
            Some(Entry::Delivered) => {
                self.metrics.repeat(&alert.rule);
                return false;
            }
            Some(Entry::Pending { waiting, .. }) => {
                self.metrics.repeat(&alert.rule);
                waiting.push(commit);
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
            self.settle(alert.id, Entry::Delivered);
            return false;
        }
        let entry = Entry::Pending {
            missing,
            taken: taken.unwrap_or_default(),
            refused: false,
            waiting: vec![commit],
            time: alert.time,
        };
        self.ids.insert(alert.id, entry);
        true
    }

    /// Hands an alert to every sink that wants it and has it not; answers with the required ones. Sinks that
    /// are not required are asked once only.
    fn send(&self, alert: &Alert, taken: Option<SinkSet>) -> SinkSet {
        let shared = Arc::new(alert.clone());
        let mut missing = SinkSet::default();
        for (number, sink) in self.sinks.iter().enumerate() {
            let settings = &sink.settings;
            let asked = taken.is_some_and(|taken| !settings.required || taken.contains(number));
            if alert.level < settings.min_level || asked {
                continue;
            }
            if settings.required {
                missing.insert(number);
            }
            if !sink.send(&shared) {
                self.metrics.delivery(&settings.name, "dropped");
            }
        }
        missing
    }

    fn reported(&mut self, report: Report) {
        let Some(Entry::Pending { missing, taken, refused, .. }) = self.ids.get_mut(&report.id) else {
            return;
        };
        if !missing.contains(report.sink) {
            return;
        }
        missing.remove(report.sink);
        if report.taken {
            taken.insert(report.sink);
        } else {
            *refused = true;
        }
        if *missing != SinkSet::default() {
            return;
        }
        let Some(Entry::Pending { taken, refused, waiting, time, .. }) = self.ids.remove(&report.id) else {
            return;
        };
        if refused {
            self.settle(report.id, Entry::Refused { taken });
        } else {
            self.settle(report.id, Entry::Delivered);
            if let Some(time) = time {
                self.metrics.event_to_alert(self.clock.now().duration_since(time).as_secs_f64());
            }
        }
        for commit in waiting {
            self.answer(commit, refused);
        }
    }

    fn answer(&mut self, commit: u64, refused: bool) {
        let Some(open) = self.commits.get_mut(&commit) else { return };
        open.outstanding -= 1;
        open.refused |= refused;
        if open.outstanding > 0 {
            return;
        }
        if let Some(open) = self.commits.remove(&commit) {
            let settled = if open.refused { Settled::Refused } else { Settled::Delivered };
            let _ = open.answer.send(settled);
        }
    }

    fn settle(&mut self, id: AlertId, entry: Entry) {
        let now = self.clock.now();
        if self.ids.insert(id, entry).is_none() {
            self.order.push_back((id, now));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{Health, Sender, SinkSettings, SinkTarget};
    use crate::detect::Status;
    use crate::sigma::Level;

    fn alert(number: u64, level: Level) -> Alert {
        let event =
            crate::event::EventKey { account: "".into(), region: "".into(), id: number.to_string().into() };
        Alert {
            id: AlertId::of_event("match", "rule", &event),
            revision: 1,
            status: Status::Match,
            level,
            is_withheld: false,
            rule: "rule".into(),
            time: None,
            document: format!("{{\"n\":{number}}}"),
        }
    }

    /// A keeper over file sinks in a folder; `broken` names a file that cannot be written.
    struct Fixture {
        folder: tempfile::TempDir,
        state: State,
        metrics: Metrics,
        health: Vec<tokio::sync::watch::Receiver<Health>>,
    }

    impl Fixture {
        fn new(sinks: &[(&str, Level, bool)]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let (metrics, clock) = (Metrics::default(), Clock::system());
            let (reports, receiver) = mpsc::unbounded_channel();
            let mut handles = Vec::new();
            for (number, (name, min_level, required)) in sinks.iter().enumerate() {
                let settings = SinkSettings {
                    name: (*name).to_owned(),
                    min_level: *min_level,
                    required: *required,
                    target: SinkTarget::File(folder.path().join(name)),
                };
                let gone = CancellationToken::new();
                let (handle, sender) =
                    Sender::open(number, settings, reports.clone(), gone, metrics.clone(), clock.clone())
                        .unwrap();
                tokio::spawn(sender.run(CancellationToken::new()));
                handles.push(handle);
            }
            let health = handles.iter().map(SenderHandle::health).collect();
            let (state, keeper) = Keeper::new(handles, receiver, metrics.clone(), clock);
            tokio::spawn(keeper.run(CancellationToken::new()));
            Self { folder, state, metrics, health }
        }

        fn lines(&self, sink: &str) -> Vec<String> {
            let text = std::fs::read_to_string(self.folder.path().join(sink)).unwrap_or_default();
            text.lines().map(str::to_owned).collect()
        }
    }

    #[tokio::test]
    async fn an_id_is_delivered_once() {
        let fixture = Fixture::new(&[("a", Level::Low, true)]);
        for _ in 0..3 {
            let alerts = vec![alert(1, Level::High), alert(1, Level::High), alert(2, Level::High)];
            assert_eq!(fixture.state.commit(alerts).await, Settled::Delivered);
        }
        assert_eq!(fixture.lines("a"), [r#"{"n":1}"#, r#"{"n":2}"#]);
        let text = fixture.metrics.render();
        assert!(text.contains("trailhound_alerts_total{rule=\"rule\",status=\"match\"} 2"), "{text}");
        assert!(text.contains("trailhound_alert_repeats_total{rule=\"rule\"} 7"), "{text}");
    }

    #[tokio::test]
    async fn levels_choose_sinks() {
        let fixture = Fixture::new(&[("low", Level::Low, true), ("high", Level::High, true)]);
        let alerts = vec![alert(1, Level::Informational), alert(2, Level::Medium), alert(3, Level::Critical)];
        assert_eq!(fixture.state.commit(alerts).await, Settled::Delivered);
        assert_eq!(fixture.lines("low"), [r#"{"n":2}"#, r#"{"n":3}"#]);
        assert_eq!(fixture.lines("high"), [r#"{"n":3}"#]);
    }

    #[tokio::test]
    async fn what_is_withheld_is_counted_once_and_goes_nowhere() {
        let fixture = Fixture::new(&[("a", Level::Low, true)]);
        for _ in 0..2 {
            let withheld = Alert { is_withheld: true, ..alert(1, Level::High) };
            assert_eq!(fixture.state.commit(vec![withheld]).await, Settled::Delivered);
        }
        assert!(fixture.lines("a").is_empty());
        let text = fixture.metrics.render();
        assert!(text.contains("trailhound_alerts_total{rule=\"rule\",status=\"withheld\"} 1"), "{text}");
    }

    #[tokio::test]
    async fn a_sink_that_is_down_holds_its_commit_and_nothing_else() {
        let fixture = Fixture::new(&[
            ("x/down", Level::Low, true),
            ("optional/down", Level::Low, false),
            ("up", Level::Low, true),
        ]);
        let state = fixture.state.clone();
        let waiting = tokio::spawn(async move { state.commit(vec![alert(1, Level::High)]).await });
        let second = fixture.state.clone();
        let repeated = tokio::spawn(async move { second.commit(vec![alert(1, Level::High)]).await });
        let mut health = fixture.health[0].clone();
        health.wait_for(|health| *health == Health::Down).await.unwrap();
        assert_eq!(fixture.lines("up"), [r#"{"n":1}"#]);
        assert!(!waiting.is_finished() && !repeated.is_finished());

        std::fs::create_dir(fixture.folder.path().join("x")).unwrap();
        assert_eq!(waiting.await.unwrap(), Settled::Delivered);
        assert_eq!(repeated.await.unwrap(), Settled::Delivered);
        assert_eq!(fixture.lines("x/down"), [r#"{"n":1}"#]);
        assert_eq!(fixture.lines("up"), [r#"{"n":1}"#]);
    }
}
