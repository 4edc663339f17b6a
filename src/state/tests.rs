//! What the keeper delivers, to whom and how often; what windows add to it. What a committer keeps: `durable`. What its clock does to it: `clock`.

mod clock;
mod durable;

use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::alert::{
    AlertId, Health, Origin, OriginKind, Sender, SenderHandle, SinkSettings, SinkTarget, Tool, Undecided,
};
use crate::clock::Clock;
use crate::decode::Limits;
use crate::detect::windows::Idle;
use crate::detect::{Detections, Status};
use crate::horizon::Horizon;
use crate::metrics::Metrics;
use crate::sigma::{Level, RuleFile, compile};
use crate::worker::{Listener, Worker};

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
        late_by: None,
        document: format!("{{\"n\":{number}}}"),
    }
}

/// Seconds by which alerts for the sink `spared` are late at most.
const MOST_LATE: i64 = 3_600;
/// Windows are settled as soon as the watermark has passed them.
const LIMITS: WindowLimits = WindowLimits { idle: Idle::SORTED, bytes: 1 << 30 };

/// A keeper over file sinks in a folder; `broken` names a file that cannot be written, `updated` gets updates.
struct Fixture {
    folder: tempfile::TempDir,
    state: State,
    metrics: Metrics,
    horizon: Horizon,
    keeper: tokio::task::JoinHandle<()>,
    health: Vec<tokio::sync::watch::Receiver<Health>>,
}

impl Fixture {
    fn new(sinks: &[(&str, Level, bool)]) -> Self {
        Self::build(sinks, |keeper, _, _| keeper)
    }

    fn with_windows(sinks: &[(&str, Level, bool)], by: &Arc<Inspection>) -> Self {
        Self::build(sinks, |keeper, horizon, metrics| {
            keeper.with_windows(Windows::new(Arc::clone(by), LIMITS, horizon.clone(), metrics.clone()))
        })
    }

    fn build(
        sinks: &[(&str, Level, bool)],
        windows: impl FnOnce(Keeper, &Horizon, &Metrics) -> Keeper,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (metrics, clock) = (Metrics::default(), Clock::system());
        let (reports, receiver) = mpsc::unbounded_channel();
        let mut handles = Vec::new();
        for (number, (name, min_level, required)) in sinks.iter().enumerate() {
            let settings = SinkSettings {
                name: (*name).to_owned(),
                min_level: *min_level,
                max_late: (*name == "spared").then_some(Duration::from_secs(MOST_LATE.cast_unsigned())),
                required: *required,
                updates: *name == "updated",
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
        let horizon = Horizon::new(Duration::from_hours(1));
        let keeper = tokio::spawn(windows(keeper, &horizon, &metrics).run(CancellationToken::new()));
        Self { folder, state, metrics, horizon, keeper, health }
    }

    fn lines(&self, sink: &str) -> Vec<String> {
        lines(self.folder.path(), sink)
    }

    async fn until(&self, sink: &str, lines: usize) {
        until(self.folder.path(), sink, lines).await;
    }
}

/// What a file sink in this folder has taken.
fn lines(folder: &Path, sink: &str) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join(sink)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Waits until a file sink has so many lines.
async fn until(folder: &Path, sink: &str, count: usize) {
    for _ in 0..1_000 {
        if lines(folder, sink).len() >= count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{sink}: {:?}", lines(folder, sink));
}

#[tokio::test]
async fn an_id_is_delivered_once() {
    let fixture = Fixture::new(&[("a", Level::Low, true)]);
    for _ in 0..3 {
        let alerts = vec![alert(1, Level::High), alert(1, Level::High), alert(2, Level::High)];
        assert_eq!(fixture.state.commit(alerts).await, Settled::Final);
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
    assert_eq!(fixture.state.commit(alerts).await, Settled::Final);
    assert_eq!(fixture.lines("low"), [r#"{"n":2}"#, r#"{"n":3}"#]);
    assert_eq!(fixture.lines("high"), [r#"{"n":3}"#]);
}

#[tokio::test]
async fn a_sink_is_spared_what_comes_too_late() {
    let fixture = Fixture::new(&[("all", Level::Low, true), ("spared", Level::Low, true)]);
    let late = |number, late_by| Alert { late_by, ..alert(number, Level::High) };
    let alerts = vec![late(1, None), late(2, Some(MOST_LATE)), late(3, Some(MOST_LATE + 1))];
    assert_eq!(fixture.state.commit(alerts).await, Settled::Final);
    assert_eq!(fixture.lines("all").len(), 3);
    assert_eq!(fixture.lines("spared"), [r#"{"n":1}"#, r#"{"n":2}"#]);
    let text = fixture.metrics.render();
    let suppressed = r#"trailhound_sink_alerts_total{outcome="suppressed",sink="spared"} 1"#;
    assert!(text.contains(suppressed), "{text}");
}

#[tokio::test]
async fn what_is_withheld_is_counted_once_and_goes_nowhere() {
    let fixture = Fixture::new(&[("a", Level::Low, true)]);
    for _ in 0..2 {
        let withheld = Alert { is_withheld: true, ..alert(1, Level::High) };
        assert_eq!(fixture.state.commit(vec![withheld]).await, Settled::Final);
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
    assert_eq!(waiting.await.unwrap(), Settled::Final);
    assert_eq!(repeated.await.unwrap(), Settled::Final);
    assert_eq!(fixture.lines("x/down"), [r#"{"n":1}"#]);
    assert_eq!(fixture.lines("up"), [r#"{"n":1}"#]);
}

/// Denied calls: five within ten minutes by one user; each once an hour by account; a region for the first time.
const RULES: &str = "
title: Denied
id: denied
name: denied
level: low
logsource: {product: aws, service: cloudtrail}
detection: {s: {errorCode: AccessDenied}, condition: s}
trailhound: {group: {by: [recipientAccountId], period: 1h}}
---
title: Many denied
id: many
level: high
correlation:
  type: event_count
  rules: [denied]
  group-by: [userIdentity.userName]
  timespan: 10m
  condition: {gte: 5}
  generate: true
---
title: New region
id: region
logsource: {product: aws, service: cloudtrail}
detection: {s: {eventSource: ec2.amazonaws.com}, condition: s}
trailhound: {first_seen: {of: awsRegion, by: [userIdentity.userName], learn: 1h, forget: 30d}}
";

const START: &str = "2026-03-01T10:00:00Z";

fn time(minutes: i64) -> Timestamp {
    START.parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minutes)
}

fn denied(minutes: i64, user: &str) -> String {
    let time = time(minutes);
    format!(
        r#"{{"eventTime":"{time}","eventID":"{user}-{minutes}","errorCode":"AccessDenied","recipientAccountId":"1","userIdentity":{{"userName":"{user}"}}}}"#
    )
}

fn used(minutes: i64, region: &str) -> String {
    let time = time(minutes);
    format!(
        r#"{{"eventTime":"{time}","eventID":"{region}-{minutes}","eventSource":"ec2.amazonaws.com","awsRegion":"{region}","userIdentity":{{"userName":"ann"}}}}"#
    )
}

/// These rules and another one with this title.
fn inspection(title: &str) -> Arc<Inspection> {
    let other = format!(
        "\n---\ntitle: {title}\nlogsource: {{product: aws, service: cloudtrail}}\ndetection: {{s: {{eventName: {title}}}, condition: s}}\n"
    );
    inspection_of(&(RULES.to_owned() + &other))
}

fn inspection_of(rules: &str) -> Arc<Inspection> {
    let compiled = compile(&[RuleFile { name: "x".into(), text: rules.to_owned(), named: false }]);
    assert!(compiled.problems.is_empty(), "{:?}", compiled.problems);
    let tool = Tool { version: "1", pack: rules.len().to_string(), undecided: Undecided::default() };
    let limits = Limits { inflated: 1 << 20, record: 1 << 20 };
    Arc::new(Inspection { detections: Detections::new(compiled.rules), tool, limits })
}

/// What a worker finds.
#[derive(Default)]
struct Found(Vec<Alert>, Vec<Evidence>);

impl Listener for Found {
    fn alert(&mut self, alert: Alert) {
        self.0.push(alert);
    }

    fn evidence(&mut self, evidence: Evidence) {
        self.1.push(evidence);
    }
}

fn effects(by: &Arc<Inspection>, records: &[String]) -> Effects {
    let origin = Origin {
        kind: OriginKind::Stdin,
        bucket: None,
        key: None,
        version: None,
        index: 0,
        announced_at: None,
        received_at: None,
    };
    let mut found = Found::default();
    let mut worker = Worker::new(by.limits);
    for record in records {
        worker.examine_record(by, record.as_bytes(), &origin, None, &mut found);
    }
    let Found(alerts, evidence) = found;
    Effects { alerts, gathered: Some(Gathered { evidence, by: Arc::clone(by) }), end: None }
}

/// What was told: rule, revision and count, sorted.
fn told(lines: &[String]) -> Vec<(String, u64, u64)> {
    let told = |line: &String| {
        let alert: Value = serde_json::from_str(line).unwrap();
        let number = |key: &str| alert[key].as_u64().unwrap_or_default();
        (alert["rule"]["id"].as_str().unwrap().to_owned(), number("revision"), number("count"))
    };
    let mut told: Vec<_> = lines.iter().map(told).collect();
    told.sort();
    told
}

fn expected(told: &[(&str, u64, u64)]) -> Vec<(String, u64, u64)> {
    told.iter().map(|(rule, revision, count)| ((*rule).to_owned(), *revision, *count)).collect()
}

const SINKS: [(&str, Level, bool); 2] =
    [("plain", Level::Informational, true), ("updated", Level::Informational, true)];

#[tokio::test(start_paused = true)]
async fn windows_tell_at_once_and_have_a_last_word() {
    let by = inspection("other");
    let fixture = Fixture::with_windows(&SINKS, &by);
    let storm: Vec<String> = (0..5).map(|minute| denied(minute, "ann")).collect();
    for _ in 0..2 {
        let settled = fixture.state.commit(effects(&by, &storm)).await;
        assert_eq!(settled, Settled::Final, "with the evidence alone it waits for what follows");
    }
    let first = expected(&[("denied", 1, 1), ("many", 1, 5)]);
    assert_eq!(told(&fixture.lines("plain")), first);
    assert_eq!(told(&fixture.lines("updated")), first);

    let more: Vec<String> = (5..9).map(|minute| denied(minute, "ann")).collect();
    assert_eq!(fixture.state.commit(effects(&by, &more)).await, Settled::Final);
    assert_eq!(told(&fixture.lines("updated")), first, "nothing is settled");

    // Later evidence of something else; what it settles is told when time is looked at.
    let hold = fixture.horizon.hold(None);
    assert_eq!(fixture.state.commit(effects(&by, &[denied(200, "bob")])).await, Settled::Final);
    assert_eq!(fixture.lines("updated").len(), 3, "an archive is still being read");
    drop(hold);
    let settled =
        expected(&[("denied", 1, 1), ("denied", 1, 1), ("denied", 2, 9), ("many", 1, 5), ("many", 2, 9)]);
    fixture.until("updated", settled.len()).await;
    assert_eq!(told(&fixture.lines("updated")), settled);
    assert_eq!(fixture.lines("plain").len(), 3, "it has not asked for updates");
    let text = fixture.metrics.render();
    for line in [
        r#"trailhound_alerts_total{rule="many",status="match"} 1"#,
        r#"trailhound_alerts_total{rule="many",status="updated"} 1"#,
        r#"trailhound_evidence_total{outcome="taken"} 20"#,
        r#"trailhound_evidence_total{outcome="duplicate"} 10"#,
        r#"trailhound_evicted_total{store="window-groups"} 0"#,
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn first_sights_are_told_once_they_are_certain() {
    let by = inspection("other");
    let fixture = Fixture::with_windows(&SINKS, &by);
    let seen = [used(0, "here"), used(50, "early"), used(100, "there")];
    assert_eq!(fixture.state.commit(effects(&by, &seen)).await, Settled::Final);
    assert!(fixture.lines("plain").is_empty(), "earlier events may come");
    fixture.horizon.reaches(time(300));
    fixture.until("plain", 1).await;
    let lines = fixture.lines("plain");
    assert_eq!(told(&lines), expected(&[("region", 1, 1)]));
    assert!(lines[0].contains("there"), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_learnt_before_is_not_told() {
    let by = inspection("other");
    let fixture = Fixture::build(&SINKS, |keeper, horizon, metrics| {
        let mut windows = Windows::new(Arc::clone(&by), LIMITS, horizon.clone(), metrics.clone());
        let seed = effects(&by, &[used(-9_000, "here"), used(-8_000, "there"), denied(-8_000, "ann")]);
        windows.learn(seed.gathered.unwrap(), time(-8_000 - 24 * 60));
        keeper.with_windows(windows)
    });
    let seen = [used(0, "here"), used(100, "there"), used(101, "elsewhere")];
    assert_eq!(fixture.state.commit(effects(&by, &seen)).await, Settled::Final);
    fixture.until("plain", 1).await;
    let lines = fixture.lines("plain");
    assert_eq!(told(&lines), expected(&[("region", 1, 1)]));
    assert!(lines[0].contains("elsewhere"), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn windows_outlive_a_change_of_other_rules() {
    let (old, new) = (inspection("one"), inspection("two"));
    let fixture = Fixture::with_windows(&SINKS, &old);
    let before = effects(&old, &[denied(0, "ann"), denied(1, "ann")]);
    let under_way = effects(&old, &[denied(2, "ann")]);
    let after = effects(&new, &[denied(3, "ann"), denied(4, "ann")]);
    assert_eq!(fixture.state.commit(before).await, Settled::Final);
    fixture.state.succeed(Arc::clone(&new));
    assert_eq!(fixture.state.commit(under_way).await, Settled::Final);
    assert_eq!(fixture.state.commit(after).await, Settled::Final);
    assert_eq!(told(&fixture.lines("plain")), expected(&[("denied", 1, 1), ("many", 1, 5)]));
}

#[tokio::test(start_paused = true)]
async fn an_end_settles_nothing() {
    let by = inspection("other");
    let mut fixture = Fixture::with_windows(&SINKS, &by);
    let storm: Vec<String> = (0..9).map(|minute| denied(minute, "ann")).collect();
    for record in storm {
        assert_eq!(fixture.state.commit(effects(&by, &[record])).await, Settled::Final);
    }
    let Fixture { state, keeper, .. } = &mut fixture;
    drop(std::mem::replace(state, State { inbox: mpsc::unbounded_channel().0, objects: None }));
    keeper.await.unwrap();
    assert_eq!(told(&fixture.lines("updated")), expected(&[("denied", 1, 1), ("many", 1, 5)]));
}
