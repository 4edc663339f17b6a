//! A clock that is set back and forth while the state is at work.

use std::sync::atomic::{AtomicI64, Ordering};

use super::*;

/// Days by which the clock is wrong, one after the other.
const JUMPS: [i64; 6] = [0, 400, -400, 40, -1, 0];

/// Days by which it is wrong from the start, in one run after the other.
const STARTS: [i64; 5] = [400, 400, -400, 800, 0];

/// A state in a folder, with one sink, by a clock that is wrong by some days.
fn run(folder: &Path, days: &Arc<AtomicI64>) -> (State, tokio::task::JoinHandle<()>) {
    let (metrics, wrong) = (Metrics::default(), Arc::clone(days));
    let right: Timestamp = "2026-03-01T10:00:00Z".parse().unwrap();
    let clock =
        Clock::from_fn(move || right + SignedDuration::from_hours(24 * wrong.load(Ordering::Relaxed)));
    let (reports, receiver) = mpsc::unbounded_channel();
    let settings = SinkSettings {
        name: "a".into(),
        min_level: Level::Low,
        max_late: None,
        required: true,
        updates: false,
        target: SinkTarget::File(folder.join("a")),
    };
    let cancel = CancellationToken::new();
    let (handle, sender) =
        Sender::open(0, settings, reports, cancel.clone(), metrics.clone(), clock.clone()).unwrap();
    tokio::spawn(sender.run(cancel.clone()));
    let horizon = Horizon::new(Duration::from_hours(1));
    let state = folder.join("state");
    let opened = open(&state, Duration::ZERO, inspection("other"), LIMITS, horizon, metrics.clone()).unwrap();
    let (state, committer) = opened.owner(vec![handle], receiver, 1 << 30, metrics, clock).unwrap();
    (state, tokio::spawn(committer.run(cancel)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_makes_nothing_come_twice_or_not_at_all() {
    let (folder, days) = (tempfile::tempdir().unwrap(), Arc::new(AtomicI64::new(0)));
    let mut numbers = 1..;
    let mut steps = |state: State, jumps: Vec<i64>, days: Arc<AtomicI64>| {
        let steps: Vec<_> = jumps.into_iter().zip(&mut numbers).collect();
        async move {
            for (jump, number) in steps {
                days.store(jump, Ordering::Relaxed);
                for _ in 0..2 {
                    let alerts = (0..=number).map(|number| alert(number, Level::High)).collect::<Vec<_>>();
                    assert_eq!(state.commit(alerts).await, Settled::Final);
                }
            }
        }
    };
    let (state, committer) = run(folder.path(), &days);
    steps(state, JUMPS.to_vec(), Arc::clone(&days)).await;
    committer.await.unwrap();
    for start in STARTS {
        days.store(start, Ordering::Relaxed);
        let (state, committer) = run(folder.path(), &days);
        steps(state, vec![start; 2], Arc::clone(&days)).await;
        committer.await.unwrap();
    }
    let lines = std::fs::read_to_string(folder.path().join("a")).unwrap();
    let expected: String =
        (0..=JUMPS.len() + 2 * STARTS.len()).map(|number| format!("{{\"n\":{number}}}\n")).collect();
    assert_eq!(lines, expected);
}
