//! What goes when there is too much: at the bound and not before it, and counted.

use super::*;

/// An engine over these rules with these bounds, and what comes of these calls, each a step of its own.
fn stepped(rules: &[Rule], bounds: Bounds, calls: &[Call]) -> (Engine, Stored, Vec<Finding>) {
    let feeds = Arc::new(Feeds::new(rules));
    let evidence = evidence_of(rules, calls, &feeds);
    let mut engine = Engine::new(feeds, LIVE, Journaling::On);
    engine.bounds = bounds;
    let (mut stored, mut findings) = (Stored::default(), Vec::new());
    for evidence in evidence {
        let step = engine.step([evidence], StreamProgress::in_order(Timestamp::MIN));
        stored.apply(step.changes);
        findings.extend(step.findings);
    }
    (engine, stored, findings)
}

fn users(findings: &[Finding]) -> Vec<&str> {
    findings.iter().filter_map(|finding| finding.values.iter().next()).collect()
}

fn evicted(engine: &Engine) -> [u64; 5] {
    engine.tally().evictions().map(|(_, count)| count)
}

fn bytes_in(engine: &Engine) -> usize {
    let windows = engine.stores.iter().map(|store| match store {
        Store::Windows(windows) => windows.bytes(),
        Store::Seen(_) => 0,
    });
    windows.sum()
}

fn bytes_of(rules: &[Rule], calls: &[Call]) -> usize {
    bytes_in(&stepped(rules, Bounds::default(), calls).0)
}

fn many() -> [Rule; 2] {
    [rule("a"), correlation("z", CorrelationKind::EventCount(at_least(2)), &["a"], &["user"], 3600)]
}

#[test]
fn groups_that_are_due_first_go() {
    let calls: Vec<Call> = [(0, 1), (10, 2), (20, 3), (21, 1), (22, 3)]
        .map(|(minutes, user)| call(minutes, 0, Some(user)))
        .into();
    let (bytes_of, most) = (bytes_of(&many(), &calls[..1]), usize::MAX);
    let cases: [(usize, &[&str], [u64; 5]); 3] = [
        (most, &["u1", "u3"], [0; 5]),
        (bytes_of * 3 - 1, &["u3"], [2, 2, 0, 0, 0]),
        (bytes_of, &[], [4, 4, 0, 0, 0]),
    ];
    for (bytes, told, counts) in cases {
        let bounds = Bounds { bytes, ..Bounds::default() };
        let (engine, stored, findings) = stepped(&many(), bounds, &calls);
        assert_eq!((users(&findings), evicted(&engine)), (told.to_vec(), counts), "{bytes}");
        // What is gone is gone from the durable state, too.
        let restored = Engine::restored(Arc::clone(&engine.feeds), LIVE, stored.rows());
        assert_eq!(restored.size(), engine.size(), "{bytes}");
        assert_eq!(bytes_in(&restored), bytes_in(&engine), "{bytes}");
        assert!(bytes_in(&engine) <= bytes, "{bytes}");
        assert_eq!(restored.excerpt_bytes, engine.excerpt_bytes, "{bytes}");
    }
}

#[test]
fn events_are_listed_without_a_text_for_which_there_is_no_room() {
    let calls = [call(0, 0, Some(1)), call(1, 0, Some(1))];
    let lengths = [0, 1].map(|number: usize| calls[number].record(number).len());
    let both: usize = lengths.iter().sum();
    for (excerpt_bytes, has, counted) in
        [(both, [true, true], 0), (both - 1, [true, false], 1), (0, [false, false], 2)]
    {
        let bounds = Bounds { excerpt_bytes, ..Bounds::default() };
        let (engine, _, findings) = stepped(&many(), bounds, &calls);
        let listed: Vec<bool> = findings[0].listed.iter().map(|listed| listed.excerpt.is_some()).collect();
        assert_eq!((listed, evicted(&engine)), (has.to_vec(), [0, 0, 0, 0, counted]), "{excerpt_bytes}");
        assert!(engine.excerpt_bytes <= excerpt_bytes);
    }
}

#[test]
fn the_latest_first_sights_go() {
    let mut first = rule("a");
    first.extension.first_seen = Some(FirstSeen {
        of: Seen::Value(FieldPath::new("region")),
        by: paths(&["user"]),
        learn: SignedDuration::from_mins(30),
        forget: SignedDuration::from_hours(1),
    });
    let rules = [first];
    let calls = [call(0, 0, Some(1)), call(61, 0, Some(2)), call(121, 0, Some(3))];
    let cases: [(usize, usize, &[&str], u64, u64); 4] =
        [(3, 3, &["u2", "u3"], 0, 0), (2, 3, &["u2"], 1, 0), (1, 3, &[], 2, 0), (3, 2, &["u2"], 0, 1)];
    for (held, seen, told, dropped, unseen) in cases {
        let bounds = Bounds { seen, held, ..Bounds::default() };
        let (mut engine, stored, findings) = stepped(&rules, bounds, &calls);
        assert!(findings.is_empty(), "told before the watermark: {findings:?}");
        assert_eq!(evicted(&engine), [0, 0, dropped, 0, 0], "{held} {seen}");
        assert_eq!(engine.tally().seen_without_room, unseen, "{held} {seen}");
        assert!(engine.size().2 <= seen);
        let mut restored = Engine::restored(Arc::clone(&engine.feeds), LIVE, stored.rows());
        for engine in [&mut engine, &mut restored] {
            let last = engine.step([], much_later()).findings;
            assert_eq!(users(&last), told, "{held} {seen}");
        }
    }
}

#[test]
fn what_is_only_remembered_goes_before_what_is_still_to_come() {
    let few = Threshold(vec![(Operator::Less, Number::Int(2))]);
    let rules = [rule("a"), correlation("z", CorrelationKind::EventCount(few), &["a"], &["user"], 3600)];
    // Settled and remembered; behind the watermark, and idle for a moment; ahead of the watermark.
    let calls = [call(0, 0, Some(1)), call(1, 0, Some(2)), call(600, 0, Some(3))];
    let feeds = Arc::new(Feeds::new(&rules));
    let evidence = evidence_of(&rules, &calls, &feeds);
    let one = bytes_of(&rules, &calls[..1]);
    let cases = [(3, vec!["u1", "u2", "u3"], 1), (2, vec!["u2", "u3"], 1), (1, vec!["u3"], 600)];
    for (room, expected, first_open) in cases {
        let mut engine = Engine::new(Arc::clone(&feeds), LIVE, Journaling::Off);
        let mut step = |number: Option<usize>, hours: i64| {
            let now = Timestamp::from_second(1_000_000 + hours * 3_600).unwrap();
            let watermark = Timestamp::from_second(300 * 60).unwrap();
            let evidence = number.map(|number| evidence[number].clone());
            engine.bounds.bytes = if number == Some(2) { one * room + one / 2 } else { usize::MAX };
            engine.step(evidence, StreamProgress { watermark, now, caught_up: now });
        };
        step(Some(0), 0);
        step(None, 2);
        step(Some(1), 2);
        step(Some(2), 2);
        let Store::Windows(windows) = &engine.stores[0] else { panic!("it has windows") };
        assert_eq!(windows.users(), expected, "room for {room}");
        let first_open = Timestamp::from_second(first_open * 60).unwrap();
        assert_eq!(windows.settled_until().time(), first_open, "room for {room}");
    }
}
