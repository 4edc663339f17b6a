//! Detections over more than one event while the daemon runs: what they tell, when, and what they remember.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::ministack::ministack;
use crate::support::wall_clock::WallClock;
use crate::support::{self, Daemon, alerts, eventually, gzip, ids, log, wait};

/// Failed sign-ins, five within ten minutes by one user or fewer than two in an hour; refused calls, once an hour; a
/// region for the first time; and something that is told by itself.
const RULES: &str = "
title: Sign-in failed
id: failed
name: failed
logsource: {product: aws, service: cloudtrail}
detection: {s: {eventName: ConsoleLogin, responseElements.ConsoleLogin: Failure}, condition: s}
---
title: Brute force
id: brute-force
correlation:
  type: event_count
  rules: [failed]
  group-by: [userIdentity.userName]
  timespan: 10m
  condition: {gte: 5}
---
title: Lonely failure
id: lonely
correlation:
  type: event_count
  rules: [failed]
  group-by: [userIdentity.userName]
  timespan: 1h
  condition: {lt: 2}
---
title: Refused
id: refused
logsource: {product: aws, service: cloudtrail}
detection: {s: {errorCode: AccessDenied}, condition: s}
trailhound: {group: {by: [userIdentity.userName], period: 1h}}
---
title: New region
id: region
logsource: {product: aws, service: cloudtrail}
detection: {s: {eventName: RunInstances}, condition: s}
trailhound: {first_seen: {of: awsRegion, by: [userIdentity.userName], learn: 1h, forget: 30d}}
---
title: Key deleted
id: key
logsource: {product: aws, service: cloudtrail}
detection: {s: {eventName: DeleteKey}, condition: s}
";

/// A record at a time of the day, with more keys.
fn record(time: &str, user: &str, more: &str) -> String {
    format!(
        r#"{{"eventTime":"2026-03-01T{time}:00Z","eventID":"{user}-{time}-{}","recipientAccountId":"111122223333","userIdentity":{{"type":"IAMUser","userName":"{user}"}},{more}}}"#,
        more.len()
    )
}

fn failed(time: &str, user: &str) -> String {
    record(time, user, r#""eventName":"ConsoleLogin","responseElements":{"ConsoleLogin":"Failure"}"#)
}

fn refused(time: &str, user: &str) -> String {
    record(time, user, r#""eventName":"ListUsers","errorCode":"AccessDenied""#)
}

fn launched(time: &str, region: &str) -> String {
    record(time, "ann", &format!(r#""eventName":"RunInstances","awsRegion":"{region}""#))
}

fn deleted(time: &str) -> String {
    record(time, "ann", r#""eventName":"DeleteKey""#)
}

/// A daemon on a folder of logs, with these rules and a sink that wants updates.
struct Fixture {
    folder: tempfile::TempDir,
    daemon: Daemon,
    clock: WallClock,
}

impl Fixture {
    fn start(files: &[(&str, Vec<u8>)], args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        ["logs", "rules"].iter().for_each(|name| fs::create_dir(path(name)).unwrap());
        fs::write(path("rules/rules.yml"), RULES).unwrap();
        files.iter().for_each(|(name, bytes)| fs::write(path(name), bytes).unwrap());
        let config = format!(
            "lateness = \"30m\"\n[[file]]\npath = '{}'\n[[file]]\npath = '{}'\nupdates = true\n",
            path("plain"),
            path("updated")
        );
        fs::write(path("t.toml"), config).unwrap();
        let (logs, rules, config) = (path("logs"), path("rules"), path("t.toml"));
        let all = ["-c", &config, "--watch", &logs, "--no-default-detections", "--detections", &rules];
        let clock = WallClock::new();
        let variables = clock.variables();
        let variables = variables.each_ref().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut daemon = Daemon::start(&[&all, args].concat(), &variables);
        daemon.says("watching a folder");
        Self { folder, daemon, clock }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, records: &[String]) {
        fs::write(self.path("hidden"), gzip(&log(records))).unwrap();
        fs::rename(self.path("hidden"), self.path("logs").join(name)).unwrap();
    }

    fn alerts(&self, sink: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.path(sink)).unwrap_or_default();
        alerts(&text[..text.rfind('\n').map_or(0, |end| end + 1)])
    }

    /// Waits until a sink has these: rule, revision and count.
    fn tells(&self, sink: &str, expected: &[(&str, u64, u64)]) {
        let mut expected: Vec<_> = expected.iter().map(|(rule, r, n)| ((*rule).to_owned(), *r, *n)).collect();
        expected.sort();
        eventually(&format!("alerts in {sink}"), || {
            (self.alerts(sink).len() >= expected.len()).then_some(())
        });
        let number = |alert: &Value, key: &str| alert[key].as_u64().unwrap_or_default();
        let told = |alert: &Value| {
            let rule = alert["rule"]["id"].as_str().unwrap().to_owned();
            (rule, number(alert, "revision"), number(alert, "count"))
        };
        let mut found: Vec<_> = self.alerts(sink).iter().map(told).collect();
        found.sort();
        assert_eq!(found, expected);
    }

    fn replayed(&self) -> BTreeSet<String> {
        ids(&self.replayed_alerts())
    }

    fn replayed_alerts(&self) -> Vec<Value> {
        let (logs, rules) = (self.path("logs"), self.path("rules"));
        let args = ["replay", logs.to_str().unwrap(), "--no-default-detections", "--detections"];
        support::run([&args[..], &[rules.to_str().unwrap()]].concat()).alerts()
    }
}

#[test]
fn windows_over_several_files_are_told_at_once_and_counted_to_their_end() {
    let mut fixture = Fixture::start(&[], &[]);
    let storm: Vec<_> = (10..30).map(|minute| refused(&format!("10:{minute}"), "bob")).collect();
    let first: Vec<_> = ["10:00", "10:01", "10:02"].map(|time| failed(time, "ann")).into();
    fixture.write("a.json.gz", &[first, storm.clone()].concat());
    fixture.tells("plain", &[("refused", 1, 1)]);
    let second: Vec<_> = ["10:03", "10:04", "10:05"].map(|time| failed(time, "ann")).into();
    fixture.write("b.json.gz", &[second, storm[5..].to_vec()].concat());
    let at_once = [("refused", 1, 1), ("brute-force", 1, 5)];
    fixture.tells("plain", &at_once);
    let brute_force = &fixture.alerts("plain")[1];
    assert_eq!(brute_force["events"].as_array().unwrap().len(), 5);
    assert!(brute_force["detected_at"].is_string());

    fixture.write("c.json.gz", &[deleted("13:00")]);
    fixture.tells("plain", &[&at_once[..], &[("key", 1, 0)]].concat());
    fixture.clock.set_forward(1);
    let all = [("refused", 1, 1), ("brute-force", 1, 5), ("key", 1, 0), ("lonely", 1, 1)];
    fixture.tells("plain", &all);
    fixture.tells(
        "updated",
        &[&all[..], &[("refused", 2, 20), ("brute-force", 2, 6), ("lonely", 2, 6)]].concat(),
    );
    assert_eq!(ids(&fixture.alerts("updated")), fixture.replayed());
    fixture.daemon.stop();
    fixture.tells("plain", &all);
}

#[test]
fn time_goes_on_where_nothing_is_hit() {
    let mut fixture = Fixture::start(&[], &[]);
    let failures = ["10:00", "10:01", "10:02", "10:03", "10:04", "10:05"].map(|time| failed(time, "ann"));
    fixture.write("a.json.gz", &failures);
    fixture.tells("updated", &[("brute-force", 1, 5)]);
    fixture.write("b.json.gz", &[record("13:00", "ann", r#""eventName":"ListBuckets""#)]);
    fixture.clock.set_forward(1);
    let told = [("brute-force", 1, 5), ("brute-force", 2, 6), ("lonely", 1, 1), ("lonely", 2, 6)];
    fixture.tells("updated", &told);
    fixture.daemon.stop();
}

#[test]
fn an_archive_raises_what_a_replay_of_it_raises() {
    // In the order of their names, the files go back and forth in time.
    let hour = |number: u32| (number * 7) % 17;
    let file = |number: u32| {
        let time = |minute: u32| format!("{:02}:{minute:02}", hour(number));
        let user = ["ann", "bob", "eve"][number as usize % 3];
        let failures = (0..number % 7).map(|minute| failed(&time(minute * 2), user));
        let others = [refused(&time(31), user), launched(&time(32), ["here", "there"][number as usize % 2])];
        log(&failures.chain(others).collect::<Vec<_>>())
    };
    let mut files: Vec<(String, Vec<u8>)> =
        (0..34).map(|number| (format!("logs/{number:02}.json"), file(number))).collect();
    files.push(("logs/0-last.json".to_owned(), log(&[deleted("23:00")])));
    let files: Vec<_> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    let mut fixture = Fixture::start(&files, &[]);
    let expected = fixture.replayed();
    assert!(expected.len() > 30, "{expected:?}");
    let at_once = |alerts: &[Value]| {
        let waits = |alert: &&Value| ["lonely", "region"].iter().any(|rule| alert["rule"]["id"] == *rule);
        ids(&alerts.iter().filter(|alert| !waits(alert)).cloned().collect::<Vec<_>>())
    };
    let told = at_once(&fixture.replayed_alerts());
    eventually("what waits for nothing", || (at_once(&fixture.alerts("plain")) == told).then_some(()));
    fixture.clock.set_forward(1);
    eventually("the alerts of a replay", || (ids(&fixture.alerts("plain")) == expected).then_some(()));
    fixture.daemon.stop();
    assert_eq!(fixture.alerts("plain").len(), expected.len(), "an alert came twice");
}

#[test]
fn other_rules_come_and_go_around_a_window() {
    let mut fixture = Fixture::start(&[], &[]);
    let failures = ["10:00", "10:01", "10:02", "10:03", "10:04"].map(|time| failed(time, "ann"));
    fixture.write("a.json.gz", &[&failures[..3], &[deleted("10:00")]].concat());
    fixture.tells("plain", &[("key", 1, 0)]);
    let other = RULES.replace("DeleteKey", "DeleteAnotherKey").replace("id: key", "id: 0-key");
    fs::write(fixture.path("rules/rules.yml"), other).unwrap();
    fixture.daemon.signal("HUP");
    fixture.daemon.says("detections reloaded");
    fixture.write("b.json.gz", &failures[3..]);
    fixture.tells("plain", &[("key", 1, 0), ("brute-force", 1, 5)]);
    fixture.daemon.stop();
}

#[test]
fn first_sights_are_learnt_from_archives() {
    let archive = tempfile::tempdir().unwrap();
    let seed = archive.path().to_str().unwrap();
    fs::write(archive.path().join("a.json"), log(&[launched("01:00", "here"), launched("03:00", "there")]))
        .unwrap();
    let files = [("logs/a.json", log(&[launched("10:00", "there"), launched("10:01", "elsewhere")]))];
    let mut fixture = Fixture::start(&files, &["--seed", seed]);
    fixture.daemon.says("learnt from archives");
    fixture.tells("plain", &[("region", 1, 1)]);
    assert_eq!(fixture.alerts("plain")[0]["region"], "elsewhere");
    fixture.daemon.stop();

    let cases = [("nowhere", "nowhere"), ("empty", "hold no record"), ("broken.json.gz", "cannot be read")];
    fs::create_dir(archive.path().join("empty")).unwrap();
    fs::write(archive.path().join("broken.json.gz"), "no gzip").unwrap();
    for (source, message) in cases {
        let source = archive.path().join(source);
        let rules = fixture.path("rules");
        let args = ["run", "--no-default-detections", "--watch", seed, "--seed", source.to_str().unwrap()];
        let run = support::run([&args[..], &["--detections", rules.to_str().unwrap()]].concat());
        assert_eq!(run.code, Some(2), "{}", run.stderr);
        assert!(run.stderr.contains(message), "{}", run.stderr);
    }
}

#[test]
fn on_a_queue_forgetting_is_accepted_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("rules.yml"), RULES).unwrap();
    let url = "https://sqs.us-east-1.amazonaws.com/111122223333/trail";
    let args = ["run", "--queue-url", url, "--bucket", "b", "--no-default-detections", "--detections"];
    let run = support::run([&args[..], &[&path("rules.yml")]].concat());
    assert_eq!(run.code, Some(2));
    for part in ["3 detection(s)", "`Brute force`", "--state DIR", "forget_windows = true"] {
        assert!(run.stderr.contains(part), "{part}: {}", run.stderr);
    }
}

#[test]
fn windows_over_several_messages_are_told_at_once() {
    wait(async {
        let trail = ministack().await.trail().await;
        trail.notify_queue().await;
        let rules = tempfile::tempdir().unwrap();
        fs::write(rules.path().join("rules.yml"), RULES).unwrap();
        let rules = format!("forget_windows = true\ndetections = ['{}']\n", rules.path().display());
        let queue = ["--queue-url", &trail.queue, "--bucket", &trail.name];
        let (mut daemon, _folder) = trail.daemon_with(&rules, &queue);
        daemon.says("a restart forgets them");
        for (number, times) in [["10:00", "10:01"], ["10:02", "10:03"], ["10:04", "10:05"]].iter().enumerate()
        {
            let key = format!(
                "AWSLogs/111122223333/CloudTrail/us-east-1/2026/03/01/111122223333_CloudTrail_us-east-1_20260301T1005Z_{number}.json.gz"
            );
            trail.put(&key, gzip(&log(&times.map(|time| failed(time, "ann"))))).await;
        }
        let of_rule = |alert: &Value| alert["rule"]["id"] == "brute-force";
        eventually("the alert", || daemon.alerts().iter().any(of_rule).then_some(()));
        trail.drained().await;
        assert_eq!(daemon.stop().code(), Some(143), "{}", daemon.stderr());
        assert_eq!(daemon.alerts().iter().filter(|alert| of_rule(alert)).count(), 1);
    });
}

#[test]
fn what_comes_days_after_newer_events_raises_everything() {
    wait(async {
        let trail = ministack().await.trail().await;
        trail.notify_queue().await;
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        fs::write(path("rules.yml"), RULES).unwrap();
        let config = format!(
            "default_detections = false\ndetections = ['{}']\nstate = '{}'\n[[file]]\npath = '{}'\n\
             [[file]]\npath = '{}'\nmax_late = \"1d\"\n",
            path("rules.yml"),
            path("state"),
            path("all"),
            path("spared")
        );
        let queue = ["--queue-url", &trail.queue, "--bucket", &trail.name];
        let (mut daemon, _folder) = trail.daemon_with(&config, &queue);
        let put = async |name: &str, records: &[String]| {
            let key = format!("AWSLogs/111122223333/CloudTrail/us-east-1/2026/03/05/{name}.json.gz");
            trail.put(&key, gzip(&log(records))).await;
        };
        let told = |sink: &str| {
            let mut told: Vec<String> = alerts(&fs::read_to_string(path(sink)).unwrap_or_default())
                .iter()
                .map(|alert| alert["rule"]["id"].as_str().unwrap().to_owned())
                .collect();
            told.sort_unstable();
            told
        };
        let today = record("10:00", "eve", r#""eventName":"DeleteKey""#);
        put("newer", &[today.replace("2026-03-01T", "2026-03-05T")]).await;
        eventually("the newer event's alert", || (told("all") == ["key"]).then_some(()));
        let storm = ["10:00", "10:01", "10:02", "10:03", "10:04"].map(|time| failed(time, "ann"));
        put("older", &[&storm[..], &[refused("10:05", "bob"), deleted("10:06")]].concat()).await;
        eventually("the alerts of the older ones", || {
            (told("all") == ["brute-force", "key", "key", "refused"]).then_some(())
        });
        trail.drained().await;
        assert_eq!(daemon.stop().code(), Some(143), "{}", daemon.stderr());
        assert!(told("spared").is_empty(), "{:?}", told("spared"));
        assert!(daemon.stderr().contains("the ledger balances"), "{}", daemon.stderr());
    });
}

#[test]
fn windows_beyond_their_bound_are_warned_of_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("rules.yml"), RULES).unwrap();
    fs::create_dir(path("logs")).unwrap();
    for number in 0..5 {
        let users = (0..100).map(|user| refused("10:00", &format!("user-{number}-{user}")));
        fs::write(path(&format!("logs/{number}.json")), log(&users.collect::<Vec<_>>())).unwrap();
    }
    fs::write(path("t.toml"), "[limits]\nwindows = \"4KiB\"\n").unwrap();
    let (config, logs, rules) = (path("t.toml"), path("logs"), path("rules.yml"));
    let args = ["-c", &config, "--watch", &logs, "--no-default-detections", "--detections", &rules];
    let mut daemon = Daemon::start(&args, &[]);
    // What is dropped has been alerted on: one hit is enough for a group.
    eventually("the alert of each user", || (daemon.alerts().len() == 500).then_some(()));
    assert_eq!(daemon.stop().code(), Some(143), "{}", daemon.stderr());
    let warnings = daemon.stderr().matches("windows were dropped before their time").count();
    assert_eq!(warnings, 1, "{}", daemon.stderr());
}
