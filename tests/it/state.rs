//! What a state folder keeps, as its users meet it: restarts, dead letters, the ledger, folders that cannot be used.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::queue::KEY;
use crate::support::ministack::ministack;
use crate::support::receiver::{Receiver, answer};
use crate::support::{
    self, Daemon, create_user, eventually, free_port, get, gzip, ids, log, path_in, run, user_rule, wait,
};

/// The arguments that leave one detection, with a webhook and a state.
fn args<'a>(rules: &'a str, webhook: &'a str, state: &'a str) -> Vec<&'a str> {
    vec!["--no-default-detections", "--detections", rules, "--webhook", webhook, "--state", state]
}

fn dead(command: &[&str], state: &str) -> support::Run {
    run([&["dead"], command, &["--state", state]].concat())
}

fn dead_list(state: &str) -> Vec<Value> {
    let listed = dead(&["list", "--json"], state);
    assert_eq!(listed.code, Some(0), "{}", listed.stderr);
    serde_json::from_str::<Value>(&listed.stdout).unwrap().as_array().unwrap().clone()
}

#[test]
fn a_watched_folder_is_not_read_twice() {
    let (rules, logs, folder) = (user_rule(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (rules, state) = (rules.path().to_str().unwrap(), path_in(&folder, "state"));
    let watch = logs.path().to_str().unwrap();
    let args = ["--watch", watch, "--no-default-detections", "--detections", rules, "--state", &state];
    fs::write(logs.path().join("a.json"), log(&[create_user("1"), create_user("2")])).unwrap();
    let mut daemon = Daemon::start(&args, &[]);
    eventually("the alerts", || (daemon.alerts().len() == 2).then_some(()));
    assert_eq!(daemon.stop().code(), Some(143), "{}", daemon.stderr());

    fs::write(logs.path().join("b.json"), log(&[create_user("2"), create_user("3")])).unwrap();
    let port = free_port().to_string();
    let listen = format!("127.0.0.1:{port}");
    let mut daemon = Daemon::start(&[&args[..], &["--listen", &listen]].concat(), &[]);
    eventually("the new alert", || (daemon.alerts().len() == 1).then_some(()));
    let ledger = eventually("a ledger with the object that was done", || {
        let ledger: Value = serde_json::from_str(&get(&listen, "/ledger")).ok()?;
        let objects =
            ledger["accounts"].as_array()?.iter().find(|account| account["account"] == "objects")?.clone();
        let done = objects["out"].as_array()?.contains(&serde_json::json!(["skipped", 1]));
        (done && ledger["balanced"] == true).then_some(objects)
    });
    assert_eq!(ledger["in"], serde_json::json!([["begun", 2]]));
    daemon.stop();
    assert!(daemon.stderr().contains("the ledger balances"), "{}", daemon.stderr());
}

#[test]
fn a_message_is_acknowledged_although_a_sink_is_down_and_its_alert_comes_later() {
    wait(async {
        let (trail, rules, folder) =
            (ministack().await.trail().await, user_rule(), tempfile::tempdir().unwrap());
        let (rules, state) = (rules.path().to_str().unwrap(), path_in(&folder, "state"));
        let port = free_port();
        let webhook = format!("http://127.0.0.1:{port}/hook");
        trail.notify_queue().await;
        trail.put(KEY, gzip(&log(&[create_user("1")]))).await;
        let mut daemon = trail.daemon(&args(rules, &webhook, &state));
        trail.drained().await;
        assert_eq!(daemon.stop().code(), Some(143), "{}", daemon.stderr());

        let receiver = Receiver::start_on(port, vec![]).await;
        let mut daemon = trail.daemon(&args(rules, &webhook, &state));
        let received = receiver.received(1).await;
        assert_eq!(received[0].alert()["event"]["eventID"], "1");
        daemon.stop();
        assert_eq!(receiver.requests().len(), 1);
    });
}

#[test]
fn refused_alerts_are_dead_until_somebody_wants_them() {
    wait(async {
        let (trail, rules, folder) =
            (ministack().await.trail().await, user_rule(), tempfile::tempdir().unwrap());
        let (rules, state) = (rules.path().to_str().unwrap(), path_in(&folder, "state"));
        let receiver = Receiver::start(vec![answer(400), answer(422), answer(413)]).await;
        let webhook = receiver.url();
        trail.notify_queue().await;
        let records = ["1", "2", "3", "4"].map(create_user);
        trail.put(KEY, gzip(&log(&records))).await;
        let mut daemon = trail.daemon(&args(rules, &webhook, &state));
        receiver.received(4).await;
        trail.drained().await;
        let refused = eventually("three dead", || Some(dead_list(&state)).filter(|dead| dead.len() == 3));
        assert_eq!(refused[0]["kind"], "alert");
        assert!(refused.iter().any(|dead| dead["reason"].as_str().unwrap().contains("400")), "{refused:?}");
        let listed = dead(&["list"], &state);
        assert!(listed.stdout.contains("high") && listed.stdout.ends_with("3 dead\n"), "{listed:?}");

        // Beside the running daemon, and while none runs.
        let number = |at: usize| refused[at]["number"].to_string();
        assert_eq!(dead(&["retry", &number(0)], &state).code, Some(0));
        let received = receiver.received(5).await;
        assert_eq!(received[4].alert()["id"], refused[0]["id"]);
        daemon.stop();
        assert_eq!(dead(&["drop", &number(1)], &state).code, Some(0));
        assert_eq!(dead(&["retry", "--all"], &state).code, Some(0));
        let missing = dead(&["drop", "99"], &state);
        assert!(missing.code == Some(3) && missing.stderr.contains("99"), "{missing:?}");
        let mut daemon = trail.daemon(&args(rules, &webhook, &state));
        let received = receiver.received(6).await;
        assert_eq!(received[5].alert()["id"], refused[2]["id"]);
        daemon.stop();
        assert!(dead_list(&state).is_empty());
    });
}

#[test]
fn objects_that_cannot_be_read_are_dead_until_they_can() {
    wait(async {
        let trail = ministack().await.trail_with(1, 20).await;
        let (rules, folder) = (user_rule(), tempfile::tempdir().unwrap());
        let (rules, state) = (rules.path().to_str().unwrap(), path_in(&folder, "state"));
        let receiver = Receiver::start(vec![]).await;
        let webhook = receiver.url();
        trail.notify_queue().await;
        let whole = gzip(&log(&[create_user("1"), create_user("2")]));
        // Received often enough before, so that the daemon gives it up at once.
        trail.put(KEY, whole[..whole.len() - 20].to_vec()).await;
        trail.receive(5).await;
        let mut daemon = trail.daemon(&args(rules, &webhook, &state));
        daemon.says("started");
        let dead_object = eventually("a dead object", || dead_list(&state).pop());
        assert_eq!((&dead_object["kind"], &dead_object["key"]), (&"object".into(), &KEY.into()));
        let readable = receiver.requests().len();

        let client = &trail.stack.s3;
        let body = aws_sdk_s3::primitives::ByteStream::from(whole);
        trail.forget_notifications().await;
        client.put_object().bucket(&trail.name).key(KEY).body(body).send().await.unwrap();
        assert_eq!(dead(&["retry", "--all"], &state).code, Some(0));
        eventually("nothing dead", || dead_list(&state).is_empty().then_some(()));
        let received = receiver.received(2).await;
        let events: BTreeSet<String> =
            received.iter().map(|request| request.alert()["event"]["eventID"].to_string()).collect();
        assert_eq!(events.len(), 2, "{readable} were told before");
        daemon.stop();
    });
}

#[test]
fn folders_that_cannot_be_used_are_told() {
    let (rules, logs, folder) = (user_rule(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (rules, watch) = (rules.path().to_str().unwrap(), logs.path().to_str().unwrap());
    let start = |state: &str| {
        run(["run", "--watch", watch, "--no-default-detections", "--detections", rules, "--state", state])
    };
    fs::create_dir(folder.path().join("damaged")).unwrap();
    fs::write(folder.path().join("damaged/state.db"), "no database at all, but a text that is long enough")
        .unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    for (name, expected) in [("damaged", "is damaged"), ("file", "cannot be used")] {
        let ended = start(&path_in(&folder, name));
        assert!(ended.code == Some(2) && ended.stderr.contains(expected), "{ended:?}");
    }
    let state = path_in(&folder, "good");
    let mut daemon = Daemon::start(
        &["--watch", watch, "--no-default-detections", "--detections", rules, "--state", &state],
        &[],
    );
    daemon.says("started");
    assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
    let nothing = dead(&["list"], &path_in(&folder, "nowhere"));
    assert!(nothing.code == Some(2) && nothing.stderr.contains("there is no state"), "{nothing:?}");

    // A second daemon waits for the end of the first one.
    let mut second = Daemon::start(
        &["--watch", watch, "--no-default-detections", "--detections", rules, "--state", &state],
        &[],
    );
    second.says("another process uses the state");
    daemon.stop();
    second.says("started");
    fs::write(logs.path().join("a.json"), log(&[create_user("1")])).unwrap();
    eventually("the alert", || (ids(&second.alerts()).len() == 1).then_some(()));
    second.stop();
}

#[test]
fn a_replay_teaches_the_state_of_a_daemon() {
    const RULES: &str = "
title: Sign-in failed
id: failed
logsource: {product: aws, service: cloudtrail}
detection: {s: {eventName: ConsoleLogin}, condition: s}
---
title: Brute force
id: brute-force
correlation: {type: event_count, rules: [failed], group-by: [userIdentity.userName], timespan: 10m, condition: {gte: 5}, generate: true}
";
    let sign_in = |minute: u32| {
        format!(
            r#"{{"eventTime":"2026-03-01T10:0{minute}:00Z","eventID":"{minute}","eventName":"ConsoleLogin","userIdentity":{{"userName":"ann"}}}}"#
        )
    };
    let (archive, logs, folder) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(folder.path().join("rules.yml"), RULES).unwrap();
    fs::write(archive.path().join("a.json"), log(&(0..4).map(sign_in).collect::<Vec<_>>())).unwrap();
    let (rules, state) = (path_in(&folder, "rules.yml"), path_in(&folder, "state"));
    let (archive, watch) = (archive.path().to_str().unwrap(), logs.path().to_str().unwrap());
    let only = ["--no-default-detections", "--detections", &rules, "--state", &state];
    let replayed = run([&["replay", archive], &only[..]].concat());
    assert_eq!((replayed.code, replayed.alerts().len()), (Some(0), 4), "{}", replayed.stderr);
    for more in [&["--from", "2026-03-01"], &["--account", "111122223333"]] {
        assert_eq!(run([&["replay", archive], &only[..], more].concat()).code, Some(2));
    }
    assert_eq!(run([&["replay", "-"], &only[..]].concat()).code, Some(2));

    // What the replay told is known, and the fifth sign-in completes the four.
    fs::write(logs.path().join("b.json"), log(&(0..5).map(sign_in).collect::<Vec<_>>())).unwrap();
    let mut daemon = Daemon::start(&[&["--watch", watch], &only[..]].concat(), &[]);
    let alerts = eventually("two alerts", || Some(daemon.alerts()).filter(|alerts| alerts.len() >= 2));
    daemon.stop();
    let mut told: Vec<_> = alerts.iter().map(|alert| alert["rule"]["id"].as_str().unwrap()).collect();
    told.sort_unstable();
    assert_eq!(told, ["brute-force", "failed"]);
    let count = alerts.iter().find(|alert| alert["rule"]["id"] == "brute-force").unwrap()["count"].clone();
    assert_eq!(count, 5);
}
