//! From an announcement to an alert, through a real queue and a real bucket.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use walkdir::WalkDir;

use crate::support::ministack::{Trail, ministack};
use crate::support::{self, Daemon, create_user, gzip, ids, log, trail, trail_ids, user_rule, wait};

pub const KEY: &str = "AWSLogs/111122223333/CloudTrail/us-east-1/2026/03/01/111122223333_CloudTrail_us-east-1_20260301T1005Z_abcdefghij012345.json.gz";

/// Every file of the quick start's archive: its key and its bytes.
fn archive() -> Vec<(String, Vec<u8>)> {
    let files = WalkDir::new(trail()).sort_by_file_name().into_iter().map(|entry| entry.unwrap().into_path());
    files
        .filter(|path| path.is_file())
        .map(|path| {
            let key = path.strip_prefix(trail()).unwrap().to_str().unwrap().to_owned();
            (key, fs::read(path).unwrap())
        })
        .collect()
}

/// Waits until standard output holds these ids; then no other and none twice may be there.
fn raises(daemon: &Daemon, expected: &BTreeSet<String>) {
    support::eventually("the alerts", || (ids(&daemon.alerts()).len() >= expected.len()).then_some(()));
    let alerts = daemon.alerts();
    assert_eq!(ids(&alerts), *expected);
    assert_eq!(alerts.len(), expected.len(), "an alert came twice");
}

/// A daemon with a state, so that every detection of the pack runs, and where the state is.
fn with_state(trail: &Trail) -> (Daemon, tempfile::TempDir) {
    let state = tempfile::tempdir().unwrap();
    (trail.daemon(&["--state", state.path().to_str().unwrap()]), state)
}

/// Puts the archive into the bucket under a prefix and waits for what a replay of it raises.
async fn check(trail: &Trail, prefix: &str) -> Daemon {
    let (mut daemon, _state) = with_state(trail);
    for (key, bytes) in archive() {
        trail.put(&format!("{prefix}{key}"), bytes).await;
    }
    raises(&daemon, &trail_ids());
    trail.drained().await;
    assert_eq!(daemon.stop().code(), Some(143), "{}", daemon.stderr());
    assert_eq!(trail.counts(&trail.dead_letters).await, (0, 0), "{}", daemon.stderr());
    daemon
}

#[test]
fn s3_to_sqs() {
    wait(async {
        let trail = ministack().await.trail().await;
        trail.notify_queue().await;
        // Keys with characters that are encoded in notifications.
        let daemon = check(&trail, "a b+c=d é/").await;
        let alert = &daemon.alerts()[0];
        assert_eq!(alert["origin"]["kind"], "s3");
        assert_eq!(alert["origin"]["bucket"], trail.name);
        assert!(alert["origin"]["key"].as_str().unwrap().starts_with("a b+c=d é/AWSLogs/"));
        for time in ["announced_at", "received_at"] {
            assert!(alert["origin"][time].is_string(), "{time}");
        }
        assert!(alert["detected_at"].is_string());
    });
}

#[test]
fn s3_to_sns_to_sqs_wrapped() {
    wait(async {
        let trail = ministack().await.trail().await;
        trail.notify_topic(false).await;
        check(&trail, "").await;
    });
}

#[test]
fn s3_to_sns_to_sqs_raw() {
    wait(async {
        let trail = ministack().await.trail().await;
        trail.notify_topic(true).await;
        check(&trail, "").await;
    });
}

#[test]
fn s3_to_event_bridge_to_sqs() {
    wait(async {
        let trail = ministack().await.trail().await;
        trail.notify_event_bridge().await;
        check(&trail, "plus+and%20percent/").await;
    });
}

#[test]
fn cloudtrails_own_notifications() {
    wait(async {
        let trail = ministack().await.trail().await;
        trail.topic(false).await;
        trail.publish("CloudTrail validation message.").await;
        let files = archive();
        for (key, bytes) in files.clone() {
            trail.put(&format!("own+prefix/{key}"), bytes).await;
        }
        for keys in files.chunks(3) {
            let keys: Vec<String> = keys.iter().map(|(key, _)| format!("own+prefix/{key}")).collect();
            trail.publish(&json!({"s3Bucket": trail.name, "s3ObjectKey": keys}).to_string()).await;
        }
        let (mut daemon, _state) = with_state(&trail);
        raises(&daemon, &trail_ids());
        trail.drained().await;
        daemon.stop();
    });
}

#[test]
fn a_notification_wrapped_twice() {
    wait(async {
        let trail = ministack().await.trail().await;
        trail.topic(false).await;
        let files = archive();
        for (key, bytes) in files.clone() {
            trail.put(&key, bytes).await;
        }
        let records: Vec<Value> = files.iter().map(|(key, _)| s3_record(&trail.name, key)).collect();
        let inner = json!({"Records": records}).to_string();
        let outer =
            json!({"Type": "Notification", "TopicArn": "arn:aws:sns:us-east-1:1:t", "Message": inner});
        trail.publish(&outer.to_string()).await;
        let (mut daemon, _state) = with_state(&trail);
        raises(&daemon, &trail_ids());
        trail.drained().await;
        daemon.stop();
    });
}

#[test]
fn events_inline_through_event_bridge() {
    wait(async {
        let trail = ministack().await.trail().await;
        trail.rule(&json!({"source": ["aws.iam", "aws.signin", "test.iam"]})).await;
        let replayed = support::run(["replay".as_ref(), support::trail().as_os_str()]).alerts();
        let (mut daemon, _state) = with_state(&trail);
        let kinds = [
            "AWS API Call via CloudTrail",
            "AWS Console Sign In via CloudTrail",
            "AWS Console Signin via CloudTrail",
            "AWS Service Event via CloudTrail",
        ];
        let many = replayed.iter().filter_map(|alert| alert["events"].as_array());
        let listed = many.flatten().map(|listed| &listed["event"]);
        let events =
            replayed.iter().map(|alert| &alert["event"]).chain(listed).filter(|event| event.is_object());
        let events: BTreeSet<String> = events.map(Value::to_string).collect();
        for (event, kind) in events.iter().zip(kinds.iter().cycle()) {
            trail.put_event("test.iam", kind, event).await;
        }
        let expected = ids(&replayed);
        raises(&daemon, &expected);
        assert_eq!(daemon.alerts()[0]["origin"]["kind"], "sqs-inline");
        trail.drained().await;
        daemon.stop();
    });
}

pub fn s3_record(bucket: &str, key: &str) -> Value {
    json!({"eventVersion": "2.5", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
        "eventTime": "2026-03-01T10:05:07.123Z", "s3": {"bucket": {"name": bucket}, "object": {"key": key}}})
}

/// The arguments that leave one detection, of users created.
fn only_users(rules: &tempfile::TempDir) -> [&str; 3] {
    ["--no-default-detections", "--detections", rules.path().to_str().unwrap()]
}

#[test]
fn a_message_seen_twice_raises_nothing_twice() {
    wait(async {
        let (trail, rules) = (ministack().await.trail().await, user_rule());
        trail.put(KEY, gzip(&log(&[create_user("1"), create_user("2")]))).await;
        let body = json!({"Records": [s3_record(&trail.name, KEY)]}).to_string();
        let mut daemon = trail.daemon(&only_users(&rules));
        for _ in 0..3 {
            trail.send(&body).await;
        }
        trail.drained().await;
        trail.send(&body).await;
        trail.drained().await;
        daemon.stop();
        assert_eq!(daemon.alerts().len(), 2);
    });
}

#[test]
fn several_records_of_one_message_are_all_read() {
    wait(async {
        let (trail, rules) = (ministack().await.trail().await, user_rule());
        let keys: Vec<String> = (0..5).map(|i| KEY.replace("012345", &format!("01234{i}"))).collect();
        for (i, key) in keys.iter().enumerate() {
            trail.put(key, log(&[create_user(&i.to_string())])).await;
        }
        let records: Vec<Value> = keys.iter().map(|key| s3_record(&trail.name, key)).collect();
        trail.send(&json!({"Records": records}).to_string()).await;
        let mut daemon = trail.daemon(&only_users(&rules));
        trail.drained().await;
        daemon.stop();
        assert_eq!(ids(&daemon.alerts()).len(), 5);
    });
}

#[test]
fn what_is_not_a_log_is_acknowledged_and_counted() {
    wait(async {
        let (trail, rules, port) = (ministack().await.trail().await, user_rule(), support::free_port());
        trail.notify_queue().await;
        let listen = format!("127.0.0.1:{port}");
        let mut daemon = trail.daemon(&[&only_users(&rules)[..], &["--listen", &listen]].concat());
        for folder in ["CloudTrail-Digest", "CloudTrail-Insight", "CloudTrail-Aggregated", "vpcflowlogs"] {
            trail.put(&KEY.replace("/CloudTrail/", &format!("/{folder}/")), log(&[create_user("1")])).await;
        }
        trail.put("reports/q3.json", log(&[create_user("1")])).await;
        trail.put("AWSLogs/111122223333/CloudTrail/", Vec::new()).await;
        trail
            .put(&KEY.replace("/CloudTrail/", "/CloudTrail-NetworkActivity/"), log(&[create_user("2")]))
            .await;
        support::eventually("the alert", || (daemon.alerts().len() == 1).then_some(()));
        trail.drained().await;
        let metrics = reqwest::get(format!("http://{listen}/metrics")).await.unwrap().text().await.unwrap();
        for class in ["digest", "insight", "aggregated", "other-log", "foreign", "folder", "test-event"] {
            let line = format!("trailhound_objects_total{{outcome=\"skipped\",reason=\"{class}\"}} 1");
            assert!(metrics.contains(&line), "{line} in {metrics}");
        }
        assert!(
            metrics.contains("trailhound_objects_total{outcome=\"detected\",reason=\"network-activity\"} 1")
        );
        let ready = reqwest::get(format!("http://{listen}/readyz")).await.unwrap();
        assert_eq!(ready.status(), 200);
        assert_eq!(reqwest::get(format!("http://{listen}/healthz")).await.unwrap().status(), 200);
        daemon.stop();
        assert_eq!(daemon.alerts().len(), 1);
    });
}

/// A configuration with a short visibility, so that what is left alone comes back soon.
const SHORT: &str = r#"
[[queue]]
url = "{queue}"
buckets = [{ name = "{bucket}" }]
visibility = "2s"
"#;

#[test]
fn poison_ends_in_the_dead_letter_queue_and_stops_nobody() {
    wait(async {
        let (trail, rules) = (ministack().await.trail_with(2, 2).await, user_rule());
        for poison in ["not json", "{}", r#"{"Records":[{"eventSource":"aws:sqs"}]}"#] {
            trail.send(poison).await;
        }
        let (mut daemon, _config) = trail.daemon_with(SHORT, &only_users(&rules));
        trail.put(KEY, log(&[create_user("1")])).await;
        trail.send(&json!({"Records": [s3_record(&trail.name, KEY)]}).to_string()).await;
        support::eventually("the alert", || (daemon.alerts().len() == 1).then_some(()));
        trail.dead(3).await;
        daemon.stop();
        assert!(daemon.stderr().contains("message not understood"), "{}", daemon.stderr());
    });
}

#[test]
fn a_foreign_bucket_is_refused() {
    wait(async {
        let (trail, other, rules) =
            (ministack().await.trail_with(2, 2).await, ministack().await.trail().await, user_rule());
        other.put(KEY, log(&[create_user("1")])).await;
        trail.send(&json!({"Records": [s3_record(&other.name, KEY)]}).to_string()).await;
        let (mut daemon, _config) = trail.daemon_with(SHORT, &only_users(&rules));
        trail.dead(1).await;
        daemon.stop();
        assert!(daemon.alerts().is_empty());
        assert!(daemon.stderr().contains("not one of those that may be read"), "{}", daemon.stderr());
    });
}

#[test]
fn a_key_outside_of_the_prefixes_is_refused() {
    wait(async {
        let (trail, rules) = (ministack().await.trail_with(2, 2).await, user_rule());
        trail.put(KEY, log(&[create_user("1")])).await;
        trail.put(&format!("in/{KEY}"), log(&[create_user("2")])).await;
        for key in [KEY.to_owned(), format!("in/{KEY}")] {
            trail.send(&json!({"Records": [s3_record(&trail.name, &key)]}).to_string()).await;
        }
        let config = SHORT.replace("\"{bucket}\"", "\"{bucket}\", prefixes = [\"in/AWSLogs/\"]");
        let (mut daemon, _config) = trail.daemon_with(&config, &only_users(&rules));
        trail.dead(1).await;
        daemon.stop();
        assert_eq!(daemon.alerts().len(), 1);
    });
}

#[test]
fn a_missing_object_is_retried() {
    wait(async {
        let (trail, rules) = (ministack().await.trail().await, user_rule());
        trail.send(&json!({"Records": [s3_record(&trail.name, KEY)]}).to_string()).await;
        let mut daemon = trail.daemon(&only_users(&rules));
        daemon.says("the object does not exist");
        // It stays hidden until its next try, and is neither deleted nor dead.
        assert_eq!(trail.counts(&trail.queue).await, (0, 1));
        daemon.stop();
        assert_eq!(trail.counts(&trail.dead_letters).await, (0, 0));
    });
}

#[test]
fn an_unreadable_object_gives_its_prefix_and_is_not_acknowledged() {
    wait(async {
        let (trail, rules) = (ministack().await.trail().await, user_rule());
        let whole = gzip(&log(&(0..500).map(|i| create_user(&i.to_string())).collect::<Vec<_>>()));
        trail.put(KEY, whole[..whole.len() / 2].to_vec()).await;
        trail.send(&json!({"Records": [s3_record(&trail.name, KEY)]}).to_string()).await;
        let mut daemon = trail.daemon(&only_users(&rules));
        daemon.says("object not readable to its end");
        support::eventually("alerts of the prefix", || (daemon.alerts().len() > 50).then_some(()));
        assert_eq!(trail.counts(&trail.queue).await, (0, 1));
        daemon.stop();
    });
}

#[test]
fn the_announced_version_is_read() {
    wait(async {
        let (trail, rules) = (ministack().await.trail().await, user_rule());
        trail.keep_versions().await;
        trail.notify_queue().await;
        trail.put(KEY, log(&[create_user("1")])).await;
        trail.put(KEY, log(&[create_user("2")])).await;
        let mut daemon = trail.daemon(&only_users(&rules));
        support::eventually("both versions", || (daemon.alerts().len() == 2).then_some(()));
        trail.drained().await;
        daemon.stop();
        let versions: BTreeSet<String> = daemon
            .alerts()
            .iter()
            .map(|alert| alert["origin"]["version"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(versions.len(), 2);
    });
}

#[test]
fn queue_and_bucket_have_roles_of_their_own() {
    wait(async {
        let (trail, rules) = (ministack().await.trail().await, user_rule());
        let (sts, asked) = support::receiver::sts().await;
        trail.notify_queue().await;
        trail.put(KEY, log(&[create_user("1")])).await;
        let config = r#"
[[queue]]
url = "{queue}"
role = "arn:aws:iam::111122223333:role/queue"
buckets = [{ name = "{bucket}", role = "arn:aws:iam::444455556666:role/bucket", external_id = "x-1" }]
"#;
        let (mut daemon, _config) =
            trail.daemon_in(config, &only_users(&rules), &[("AWS_ENDPOINT_URL_STS", &sts)]);
        support::eventually("the alert", || (daemon.alerts().len() == 1).then_some(()));
        daemon.stop();
        let asked = asked.lock().unwrap();
        let request =
            |role: &str| asked.iter().find(|body| body.contains(role)).unwrap_or_else(|| panic!("{asked:?}"));
        assert!(request("role%2Fbucket").contains("ExternalId=x-1"), "{asked:?}");
        assert!(!request("role%2Fqueue").contains("ExternalId"), "{asked:?}");
    });
}

#[test]
fn an_object_slower_than_the_visibility_time_out_comes_once() {
    wait(async {
        let (trail, rules) = (ministack().await.trail().await, user_rule());
        // A receiver that takes its time holds the message longer than it would stay hidden.
        let receiver = support::receiver::Receiver::start(vec![
            support::receiver::answer(200).after(Duration::from_secs(6)),
        ])
        .await;
        trail.put(KEY, log(&[create_user("1")])).await;
        trail.send(&json!({"Records": [s3_record(&trail.name, KEY)]}).to_string()).await;
        let (mut daemon, _config) =
            trail.daemon_with(SHORT, &[&only_users(&rules)[..], &["--webhook", &receiver.url()]].concat());
        receiver.received(1).await;
        trail.drained().await;
        let text = daemon.stderr();
        daemon.stop();
        assert_eq!(receiver.requests().len(), 1);
        assert!(!text.contains("WARN"), "{text}");
    });
}

#[test]
fn a_signal_in_mid_object_finishes_it() {
    wait(async {
        let (trail, rules) = (ministack().await.trail().await, user_rule());
        let receiver = support::receiver::Receiver::start(vec![
            support::receiver::answer(200).after(Duration::from_secs(2)),
        ])
        .await;
        trail.put(KEY, log(&[create_user("1")])).await;
        trail.send(&json!({"Records": [s3_record(&trail.name, KEY)]}).to_string()).await;
        let mut daemon = trail.daemon(&[&only_users(&rules)[..], &["--webhook", &receiver.url()]].concat());
        receiver.received(1).await;
        assert_eq!(daemon.stop().code(), Some(143));
        assert_eq!(trail.counts(&trail.queue).await, (0, 0), "it was delivered, so it is acknowledged");
        assert_eq!(receiver.requests().len(), 1);
    });
}

#[test]
fn what_cannot_be_finished_in_time_is_given_back() {
    wait(async {
        let (trail, rules) = (ministack().await.trail().await, user_rule());
        let receiver = support::receiver::Receiver::start(vec![
            support::receiver::answer(200).after(Duration::from_secs(30)),
        ])
        .await;
        trail.put(KEY, log(&[create_user("1")])).await;
        trail.send(&json!({"Records": [s3_record(&trail.name, KEY)]}).to_string()).await;
        // The receive that is open when the time is over goes on for most of a second.
        let config = format!("grace = \"100ms\"\n{}", SHORT.replace("2s", "5m"));
        let (mut daemon, _config) =
            trail.daemon_with(&config, &[&only_users(&rules)[..], &["--webhook", &receiver.url()]].concat());
        receiver.received(1).await;
        daemon.signal("INT");
        assert_eq!(daemon.ended().code(), Some(130), "{}", daemon.stderr());
        // Not in five minutes but at once another daemon can have it; no receive was left open to take it.
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(trail.counts(&trail.queue).await, (1, 0), "{}", daemon.stderr());
    });
}

#[test]
fn many_small_objects_pass_through_together() {
    wait(async {
        let (trail, rules) = (ministack().await.trail().await, user_rule());
        trail.notify_queue().await;
        for i in 0..200 {
            trail.put(&KEY.replace("012345", &format!("{i:06}")), log(&[create_user(&i.to_string())])).await;
        }
        let mut daemon = trail.daemon(&only_users(&rules));
        support::eventually("all alerts", || (daemon.alerts().len() == 200).then_some(()));
        trail.drained().await;
        daemon.stop();
        assert_eq!(ids(&daemon.alerts()).len(), 200);
    });
}

#[test]
fn a_queue_without_dead_letters_is_warned_of() {
    wait(async {
        let stack = ministack().await;
        let trail = stack.trail_with(2, 2).await;
        let mut daemon = trail.daemon(&[]);
        daemon.says("takes messages after few receives");
        daemon.stop();
        let dead = trail.dead_letters.clone();
        let args = ["--queue-url", &dead, "--bucket", "x"];
        let mut daemon = Daemon::start(&args, &support::ministack::variables(&stack.endpoint));
        daemon.says("has no dead-letter queue");
        daemon.stop();
    });
}
