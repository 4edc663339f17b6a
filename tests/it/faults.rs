//! Faults between the daemon and AWS: throttling, slowness and cut connections. Whatever happens on the way, every alert
//! arrives once, no message is left, and the log tells what went wrong.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::microburst::Microburst;
use crate::support::scene::Scene;
use crate::support::wait;

const OBJECTS: u32 = 24;
/// A message that is tried again stays hidden for half a minute.
const WITHIN: Duration = Duration::from_secs(110);

/// Rules of faults, the operations that they must have met, and what the log says of them.
fn check(rules: Value, met: &[&str], told: &[&str]) {
    wait(async {
        let scene = Scene::new(vec![]).await;
        let proxy = Microburst::start(&scene.trail.stack.endpoint).await;
        scene.put(0..OBJECTS).await;
        proxy.rules(rules).await;
        let mut daemon = scene.daemon_through(&proxy.endpoint);
        scene.settles(OBJECTS as usize, WITHIN).await;
        for operation in met {
            assert!(proxy.fired(operation).await > 0, "{operation}");
        }
        assert_eq!(daemon.stop().code(), Some(143));
        let log = daemon.stderr();
        for text in [told, &["the ledger balances"]].concat() {
            assert!(log.contains(text), "`{text}` in {log}");
        }
        assert!(!log.contains("panicked"), "{log}");
    });
}

#[test]
fn throttled() {
    let rules = json!([
        {"service": "s3", "operation": "GetObject", "error": {"code": "SlowDown"}, "times": 30},
        {"service": "sqs", "operation": "ReceiveMessage", "error": {"code": "RequestThrottled"}, "times": 7},
        {"service": "sqs", "operation": "DeleteMessageBatch", "error": {"code": "RequestThrottled"}, "times": 7},
    ]);
    let met = ["GetObject", "ReceiveMessage", "DeleteMessageBatch"];
    check(rules, &met, &["messages cannot be received", "RequestThrottled", "a batch was not taken"]);
}

#[test]
fn throttled_beyond_all_tries() {
    let rules = json!([
        {"service": "s3", "operation": "GetObject", "error": {"code": "SlowDown"}, "times": 150},
    ]);
    check(rules, &["GetObject"], &["object not fetched", "SlowDown"]);
}

#[test]
fn slow() {
    // Beyond the two seconds for which messages stay hidden, so that heartbeats are needed and are late themselves.
    let rules = json!([
        {"service": "s3", "operation": "GetObject", "latency": {"dist": "uniform", "min": 500, "max": 4000}},
        {"service": "sqs", "latency": {"dist": "uniform", "min": 50, "max": 400}},
    ]);
    check(rules, &["GetObject", "ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"], &[]);
}

#[test]
fn cut_connections() {
    let rules = json!([
        {"service": "s3", "operation": "GetObject", "reset": true, "times": 6},
        {"service": "s3", "operation": "GetObject", "response": {"abort_frac": 0.5}, "times": 8},
        {"service": "s3", "operation": "GetObject", "response": {"truncate_frac": 0.5}, "times": 4},
        {"service": "sqs", "operation": "ReceiveMessage", "reset": true, "times": 4},
        // Done, and nobody is told.
        {"service": "sqs", "operation": "ReceiveMessage", "response": {"abort_frac": 0.3}, "times": 4},
        {"service": "sqs", "operation": "DeleteMessageBatch", "response": {"abort_frac": 0.3}, "times": 4},
    ]);
    check(rules, &["GetObject", "ReceiveMessage", "DeleteMessageBatch"], &["messages cannot be received"]);
}

#[test]
fn damaged_on_the_way() {
    let rules = json!([
        {"service": "s3", "operation": "GetObject", "response": {"corrupt_bytes": 8}, "times": 12},
    ]);
    // The checksum that came with it tells.
    check(rules, &["GetObject"], &[]);
}
