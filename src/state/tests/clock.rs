//! A clock that is set back and forth while the state is at work.

use std::sync::atomic::{AtomicI64, Ordering};

use super::*;

/// Days by which the clock is wrong, one after the other.
const JUMPS: [i64; 6] = [0, 400, -400, 40, -1, 0];

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_makes_nothing_come_twice_or_not_at_all() {
    let (folder, by, metrics) = (tempfile::tempdir().unwrap(), inspection("other"), Metrics::default());
    let days = Arc::new(AtomicI64::new(0));
    let wrong = Arc::clone(&days);
    let right: Timestamp = "2026-03-01T10:00:00Z".parse().unwrap();
    let clock =
        Clock::from_fn(move || right + SignedDuration::from_hours(24 * wrong.load(Ordering::Relaxed)));
    let (reports, receiver) = mpsc::unbounded_channel();
    let settings = SinkSettings {
        name: "a".into(),
        min_level: Level::Low,
        required: true,
        updates: false,
        target: SinkTarget::File(folder.path().join("a")),
    };
    let cancel = CancellationToken::new();
    let (handle, sender) =
        Sender::open(0, settings, reports, cancel.clone(), metrics.clone(), clock.clone()).unwrap();
    tokio::spawn(sender.run(cancel.clone()));
    let horizon = Horizon::new(Duration::from_hours(1));
    let opened = open(&folder.path().join("state"), Duration::ZERO, by, horizon, metrics.clone()).unwrap();
    let (state, committer) = opened.owner(vec![handle], receiver, 1 << 30, metrics, clock).unwrap();
    let committer = tokio::spawn(committer.run(cancel));
    for (number, jump) in (1..).zip(JUMPS) {
        days.store(jump, Ordering::Relaxed);
        for _ in 0..2 {
            let alerts = vec![alert(0, Level::High), alert(number, Level::High)];
            assert_eq!(state.commit(alerts).await, Settled::Final);
        }
    }
    drop(state);
    committer.await.unwrap();
    let lines = std::fs::read_to_string(folder.path().join("a")).unwrap();
    let expected: String = (0..=JUMPS.len()).map(|number| format!("{{\"n\":{number}}}\n")).collect();
    assert_eq!(lines, expected);
}
