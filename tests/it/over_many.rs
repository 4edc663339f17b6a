//! Detections over more than one event, in a replay of the binary.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{create_user, gzip, ids, log, run};

const RULES: &str = "title: Sign-in refused
id: refused
name: refused
logsource: {product: aws, service: cloudtrail}
detection: {s: {eventName: ConsoleLogin, responseElements.ConsoleLogin: Failure}, condition: s}
---
title: Passwords are being tried
id: brute-force
level: high
correlation:
  type: event_count
  rules: [refused]
  group-by: [sourceIPAddress]
  timespan: 10m
  condition: {gte: 3}
trailhound: {summary: 'Somebody at {sourceIPAddress} tries passwords'}
---
title: Storm
id: storm
logsource: {product: aws, service: cloudtrail}
detection: {s: {eventName: CreateUser}, condition: s}
trailhound: {group: {by: [actor.arn], period: 1h}}
---
title: Region used for the first time
id: new-region
logsource: {product: aws, service: cloudtrail}
detection: {s: {eventName|exists: true}, condition: s}
trailhound: {first_seen: {of: awsRegion, by: [recipientAccountId], learn: 1d, forget: 30d}}
";

fn at(record: &str, time: &str) -> String {
    record.replace("2026-03-01T10:00:00Z", time)
}

fn sign_in(id: &str, address: &str, time: &str) -> String {
    let refused = create_user(id)
        .replace("CreateUser", "ConsoleLogin")
        .replace("\"responseElements\":null", "\"responseElements\":{\"ConsoleLogin\":\"Failure\"}")
        .replace("198.51.100.7", address);
    at(&refused, time)
}

/// What happens, in objects.
fn objects() -> [Vec<String>; 3] {
    let storm = (0..30).map(|second| {
        at(&create_user(&format!("storm-{second}")), &format!("2026-03-01T10:00:{second:02}Z"))
    });
    let elsewhere = |id: &str, time: &str| at(&create_user(id), time).replace("us-east-1", "eu-west-1");
    [
        storm.collect(),
        vec![
            sign_in("a", "198.51.100.1", "2026-03-01T11:59:00Z"),
            sign_in("b", "198.51.100.1", "2026-03-01T12:08:00Z"),
            sign_in("other", "198.51.100.2", "2026-03-01T12:03:00Z"),
            elsewhere("learned", "2026-03-02T09:00:00Z").replace("eu-west-1", "eu-west-2"),
        ],
        vec![
            sign_in("c", "198.51.100.1", "2026-03-01T12:08:59Z"),
            elsewhere("first", "2026-03-02T12:00:00Z"),
            elsewhere("second", "2026-03-02T12:00:01Z"),
            elsewhere("again", "2026-03-03T12:00:00Z").replace("eu-west-1", "eu-west-2"),
        ],
    ]
}

fn replay(folder: &Path, more: &[&str]) -> (Vec<Value>, String) {
    replay_by(RULES, folder, more)
}

fn replay_by(text: &str, folder: &Path, more: &[&str]) -> (Vec<Value>, String) {
    let rules = folder.join("rules.yml");
    fs::write(&rules, text).unwrap();
    let logs = folder.join("logs");
    let args = ["replay", logs.to_str().unwrap(), "--no-default-detections", "--detections"];
    let run = run(args.iter().copied().chain([rules.to_str().unwrap()]).chain(more.iter().copied()));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    (run.alerts(), run.stdout)
}

fn archive(objects: &[Vec<String>]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("logs")).unwrap();
    for (number, records) in objects.iter().enumerate() {
        let path = folder.path().join(format!("logs/{number}.json.gz"));
        fs::write(path, gzip(&log(records))).unwrap();
    }
    folder
}

fn of<'a>(alerts: &'a [Value], rule: &str) -> Vec<&'a Value> {
    alerts.iter().filter(|alert| alert["rule"]["id"] == rule).collect()
}

#[test]
fn alerts_over_many_events_come_last_in_the_order_of_time() {
    let folder = archive(&objects());
    let (alerts, _) = replay(folder.path(), &[]);
    let alone = of(&alerts, "refused").len();
    assert_eq!(alone, 0, "members of the same file are muted");
    let told: Vec<_> = alerts.iter().map(|alert| (&alert["rule"]["id"], &alert["time"])).collect();
    let expected = [
        (&json!("storm"), &json!("2026-03-01T10:00:00Z")),
        (&json!("brute-force"), &json!("2026-03-01T12:08:59Z")),
        (&json!("storm"), &json!("2026-03-02T09:00:00Z")),
        (&json!("new-region"), &json!("2026-03-02T12:00:00Z")),
        (&json!("storm"), &json!("2026-03-02T12:00:00Z")),
        (&json!("storm"), &json!("2026-03-03T12:00:00Z")),
    ];
    assert_eq!(told, expected);
}

#[test]
fn an_alert_says_what_lies_behind_it() {
    let folder = archive(&objects());
    let (alerts, _) = replay(folder.path(), &[]);
    let storm = of(&alerts, "storm")[0];
    assert_eq!((&storm["count"], storm["events"].as_array().unwrap().len()), (&json!(30), 20));
    assert_eq!(storm["revision"], 1);
    assert_eq!(storm["target"]["name"], "bob");
    let brute = of(&alerts, "brute-force")[0];
    assert_eq!(
        brute["summary"],
        "Somebody at 198.51.100.1 tries passwords — failed (3 events since 2026-03-01T11:58:59Z)"
    );
    assert_eq!(
        brute["window"],
        json!({
            "start": "2026-03-01T11:58:59Z", "end": "2026-03-01T12:08:59Z",
            "group": {"sourceIPAddress": "198.51.100.1"}, "period": "2026-03-01T12:00:00Z",
        })
    );
    let events: Vec<_> =
        brute["events"].as_array().unwrap().iter().map(|event| &event["event"]["eventID"]).collect();
    assert_eq!(events, ["a", "b", "c"]);
    assert!(brute["events"][0]["origin"]["key"].as_str().unwrap().ends_with("1.json.gz"));
    assert!(brute["origin"]["key"].as_str().unwrap().ends_with("2.json.gz"));
    let region = of(&alerts, "new-region");
    assert_eq!(region.len(), 1);
    let window = &region[0]["window"];
    assert_eq!(
        (&window["group"]["recipientAccountId"], &window["value"]),
        (&json!("111122223333"), &json!("eu-west-1"))
    );
}

#[test]
fn order_and_repetition_change_nothing() {
    let (alerts, _) = replay(archive(&objects()).path(), &[]);
    let expected = ids(&alerts);
    let mut mixed = objects().concat();
    mixed.reverse();
    let mixed: Vec<Vec<String>> =
        mixed.chunks(5).flat_map(|records| [records.to_vec(), records.to_vec()]).collect();
    let folder = archive(&mixed);
    let (again, text) = replay(folder.path(), &[]);
    assert_eq!(ids(&again), expected);
    assert_eq!(again.len(), expected.len());
    for jobs in ["1", "2", "7"] {
        assert_eq!(replay(folder.path(), &["--jobs", jobs]).1, text, "{jobs} jobs");
    }
}

#[test]
fn of_simultaneous_events_one_speaks_in_any_order() {
    let elsewhere = |id: &str| at(&create_user(id), "2026-03-03T12:00:00Z").replace("us-east-1", "eu-west-1");
    let [one, other] = ["one", "other"].map(elsewhere);
    let told = |events: [&String; 2]| {
        let (alerts, _) =
            replay(archive(&[vec![create_user("first")], events.map(Clone::clone).into()]).path(), &[]);
        let region = of(&alerts, "new-region");
        assert_eq!(region.len(), 1, "{alerts:?}");
        region[0]["events"][0]["event"]["eventID"].clone()
    };
    assert_eq!(told([&one, &other]), told([&other, &one]));
}

#[test]
fn what_takes_no_part_is_counted() {
    let untimed = create_user("x").replace("\"eventTime\":\"2026-03-01T10:00:00Z\",", "");
    let groupless = sign_in("y", "", "2026-03-01T10:00:00Z").replace("\"sourceIPAddress\":\"\",", "");
    let folder = archive(&[vec![untimed, groupless]]);
    let summary = folder.path().join("summary.json");
    let (alerts, _) = replay(folder.path(), &["--summary", summary.to_str().unwrap()]);
    // A hit without a time belongs to no period, and so to no group: it has an alert of its own.
    let told: Vec<_> = alerts.iter().map(|alert| (&alert["rule"]["id"], &alert["time"])).collect();
    assert_eq!(told, [(&json!("storm"), &Value::Null)]);
    let summary: Value = serde_json::from_slice(&fs::read(summary).unwrap()).unwrap();
    assert_eq!(summary["left_out"], json!({"untimed": 2, "no-group": 1}));
}

#[test]
fn two_sets_are_compared_in_windows_too() {
    let folder = archive(&objects());
    let (old, new) = (folder.path().join("old.yml"), folder.path().join("new.yml"));
    fs::write(&old, RULES).unwrap();
    fs::write(&new, RULES.replace("{gte: 3}", "{gte: 4}").replace("learn: 1d", "learn: 2d")).unwrap();
    let logs = folder.path().join("logs");
    let args = [logs.as_path(), Path::new("--diff"), &old, &new];
    let run = run(["replay".as_ref()].into_iter().chain(args.map(Path::as_os_str)));
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let found: Vec<_> = run
        .alerts()
        .iter()
        .map(|difference| (difference["difference"].clone(), difference["rule"].clone()))
        .collect();
    assert_eq!(
        found,
        [(json!("lost"), json!("brute-force")), (json!("lost"), json!("new-region"))],
        "{}",
        run.stdout
    );
}

#[test]
fn each_of_many_detections_is_told() {
    const DETECTIONS: usize = 20;
    let rule = |number: usize| {
        format!(
            "title: Call {number}\nid: call-{number}\nlogsource: {{product: aws, service: cloudtrail}}\n\
             detection: {{s: {{eventName: Call{number}}}, condition: s}}\n\
             trailhound: {{group: {{by: [actor.arn], period: 1h}}}}\n"
        )
    };
    let call =
        |number: usize| create_user(&format!("id-{number}")).replace("CreateUser", &format!("Call{number}"));
    let rules: Vec<String> = (0..DETECTIONS).map(rule).collect();
    let folder = archive(&[(0..DETECTIONS).map(call).collect()]);
    let (alerts, _) = replay_by(&rules.join("---\n"), folder.path(), &[]);
    for number in 0..DETECTIONS {
        assert_eq!(of(&alerts, &format!("call-{number}")).len(), 1, "call-{number}");
    }
    assert_eq!(alerts.len(), DETECTIONS);
}
