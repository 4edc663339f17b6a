//! A long life with faults: memory and descriptors stay what they are, the ledger balances, and nothing is missing.
//!
//! Not part of every `cargo test`; `tests/README.md` has the command.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::queue::{KEY, s3_record};
use crate::support::ministack::{Trail, ministack};
use crate::support::receiver::{Receiver, answer};
use crate::support::{self, create_user, free_port, get, gzip, log, path_in, user_rule, wait};

/// How long it lasts without `TRAILHOUND_SOAK_MINUTES`.
const MINUTES: u64 = 30;
/// How often something is announced, and how often is looked at the process.
const PAUSE: Duration = Duration::from_millis(250);
const LOOK_EVERY: u64 = 40;

/// What a process takes up.
#[derive(Debug, Clone, Copy)]
struct Footprint {
    kib: u64,
    descriptors: usize,
}

fn footprint(process: u32) -> Footprint {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib = line.trim().trim_end_matches(" kB").parse().unwrap();
    Footprint { kib, descriptors: fs::read_dir(format!("/proc/{process}/fd")).unwrap().count() }
}

/// One turn: mostly a good object; now and then one that is cut short, missing, foreign, announced twice, or no
/// announcement at all. Answers with how many alerts come of it.
async fn turn(trail: &Trail, number: u64) -> usize {
    let key = KEY.replace("abcdefghij012345", &format!("{number:016}"));
    let records = [create_user(&format!("{number}-a")), create_user(&format!("{number}-b"))];
    let whole = gzip(&log(&records));
    match number % 20 {
        3 => trail.put(&key, whole[..whole.len() - 9].to_vec()).await,
        7 => trail.send(&json!({"Records": [s3_record(&trail.name, &key)]}).to_string()).await,
        11 => trail.send(&json!({"Records": [s3_record("foreign", &key)]}).to_string()).await,
        15 => trail.send("no announcement").await,
        17 => {
            trail.put(&key, whole).await;
            trail.send(&json!({"Records": [s3_record(&trail.name, &key)]}).to_string()).await;
            return 2;
        }
        _ => {
            trail.put(&key, whole).await;
            return 2;
        }
    }
    // What can be read of an object that is cut short is told, too: both of its records.
    if number % 20 == 3 { 2 } else { 0 }
}

#[test]
#[ignore = "takes half an hour"]
fn a_long_life_with_faults() {
    let minutes = std::env::var("TRAILHOUND_SOAK_MINUTES").ok().and_then(|text| text.parse().ok());
    let life = Duration::from_secs(60 * minutes.unwrap_or(MINUTES));
    wait(async {
        let (trail, rules) = (ministack().await.trail_with(2, 4).await, user_rule());
        let (rules, folder) = (rules.path().to_str().unwrap(), tempfile::tempdir().unwrap());
        let receiver = Receiver::start(vec![]).await;
        receiver.moody(30, answer(503), Duration::from_millis(20));
        let (webhook, state) = (receiver.url(), path_in(&folder, "state"));
        let listen = format!("127.0.0.1:{}", free_port());
        trail.notify_queue().await;
        let mut daemon = trail.daemon(&[
            "--no-default-detections",
            "--detections",
            rules,
            "--webhook",
            &webhook,
            "--state",
            &state,
            "--listen",
            &listen,
        ]);
        let (started, mut number, mut expected) = (Instant::now(), 0, 0);
        let mut footprints = Vec::new();
        while started.elapsed() < life {
            expected += turn(&trail, number).await;
            number += 1;
            if number.is_multiple_of(LOOK_EVERY) {
                footprints.push(footprint(daemon.id()));
            }
            tokio::time::sleep(PAUSE).await;
        }
        receiver.moody(0, answer(503), Duration::ZERO);
        let taken = || {
            let requests = receiver.requests().into_iter().filter(|request| request.status == 200);
            support::ids(&requests.map(|request| request.alert()).collect::<Vec<_>>()).len()
        };
        let waited = Instant::now();
        while taken() < expected && waited.elapsed() < Duration::from_mins(3) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert_eq!(taken(), expected, "alerts");
        let ledger: Value = serde_json::from_str(&get(&listen, "/ledger")).unwrap();
        assert_eq!(ledger["balanced"], true, "{ledger}");
        daemon.stop();
        assert!(daemon.stderr().contains("the ledger balances"), "{}", daemon.stderr());

        let third = footprints.len() / 3;
        let most = |part: &[Footprint]| part.iter().map(|print| print.kib).max().unwrap_or_default();
        let (before, after) = (most(&footprints[third..2 * third]), most(&footprints[2 * third..]));
        let descriptors =
            |part: &[Footprint]| part.iter().map(|print| print.descriptors).max().unwrap_or_default();
        let (held, holds) =
            (descriptors(&footprints[third..2 * third]), descriptors(&footprints[2 * third..]));
        eprintln!(
            "{number} announcements in {:?}: {expected} alerts; most memory {before} then {after} KiB, most descriptors {held} then {holds}",
            started.elapsed()
        );
        assert!(after <= before + before / 10 + 2_048, "memory grows: {footprints:?}");
        assert!(holds <= held + 4, "descriptors grow: {footprints:?}");
    });
}
