//! One set of rules after another: what stays the same goes on as if nothing had happened.

use std::collections::HashSet;

use super::*;

/// These rules, beside one that sorts before all others and feeds something.
fn with_another(rules: &[Rule]) -> Vec<Rule> {
    let mut another = rule("0");
    another.extension.group = Some(Grouping { by: paths(&["user"]), period: SignedDuration::from_hours(1) });
    rules.iter().cloned().chain([another]).collect()
}

/// The findings where a swap comes after some of the calls, and the evidence of some later ones was still made before it.
fn swapped(
    (before, after): (&[Rule], &[Rule]),
    calls: &[Call],
    (swap, stale): (usize, usize),
) -> BTreeMap<Id, u64> {
    let (old, new) = (Arc::new(Feeds::new(before)), Arc::new(Feeds::new(after)));
    let is_in = |rule: &&Rule| before.iter().any(|other| other.id == rule.id);
    let kept: HashSet<&str> = after.iter().filter(is_in).map(|rule| rule.id.as_str()).collect();
    let mut engine = Engine::new(Arc::clone(&old), Idle::SORTED, Journaling::On);
    let mut told = BTreeMap::new();
    let mut stored = Stored::default();
    for (number, call) in calls.iter().enumerate() {
        if number == swap {
            stored.apply(engine.succeed(Arc::clone(&new), &kept));
        }
        let (rules, feeds) = if number < swap + stale { (before, &old) } else { (after, &new) };
        let evidence = Some(call.evidence(number, rules, feeds));
        let is_stale = (swap..swap + stale).contains(&number);
        let evidence = if is_stale { evidence.and_then(|it| new.adopt(it, &old, &kept)) } else { evidence };
        let step = engine.step(evidence, StreamProgress::in_order(Timestamp::MIN));
        note(&step, &mut told);
        stored.apply(step.changes);
    }
    let end = engine.step([], StreamProgress::in_order(Timestamp::MAX));
    note(&end, &mut told);
    stored.apply(end.changes);
    assert_eq!((engine.size().0, engine.excerpt_bytes), (0, 0));
    assert!(stored.0.keys().all(|(_, key)| key[0] != b'g'), "rows that nobody owns");
    told
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn what_stays_the_same_goes_on(
        calls in calls(40),
        kind in kind(),
        minutes in minutes(),
        swap in any::<Index>(),
        stale in 0_usize..5,
    ) {
        let rules = rules(kind, at_least(2), minutes);
        let more = with_another(&rules);
        let expected = expected(&rules, &calls);
        let at = (swap.index(calls.len()), stale);
        prop_assert_eq!(&swapped((&rules, &more), &calls, at), &expected);
        prop_assert_eq!(&swapped((&more, &rules), &calls, at), &expected);
    }
}

#[test]
fn what_changed_begins_anew() {
    let count = |members: &[&str], id: &str| {
        correlation(id, CorrelationKind::EventCount(at_least(2)), members, &["user"], 600)
    };
    let rules: Vec<Rule> =
        RULES.map(rule).into_iter().chain([count(&["a"], "y"), count(&["y"], "z")]).collect();
    let cases: [(&[&str], &[&str]); 4] = [
        (&["a", "b", "c", "y", "z"], &["y", "z"]),
        (&["a", "b", "y"], &["y"]),
        (&["a", "z"], &[]),
        (&["y", "z"], &[]),
    ];
    let calls = [call(0, 0, Some(1)), call(1, 0, Some(1)), call(2, 0, Some(1))];
    for (kept, expected) in cases {
        let feeds = || Arc::new(Feeds::new(&rules));
        let (old, new) = (feeds(), feeds());
        let kept: Kept<'_> = kept.iter().copied().collect();
        let mut engine = Engine::new(Arc::clone(&old), Idle::SORTED, Journaling::Off);
        engine.step(
            calls[..2].iter().enumerate().map(|(n, call)| call.evidence(n, &rules, &old)),
            StreamProgress::in_order(Timestamp::MIN),
        );
        engine.succeed(Arc::clone(&new), &kept);
        let adopted = new.adopt(calls[2].evidence(2, &rules, &old), &old, &kept);
        assert_eq!(adopted.is_some(), expected.contains(&"y"), "{kept:?}");
        let going_on = engine.feeds.asks.iter().zip(&engine.stores).filter(|(_, store)| match store {
            Store::Windows(windows) => windows.groups() > 0,
            Store::Seen(_) => false,
        });
        let going_on: Vec<&str> = going_on.map(|(ask, _)| &*ask.detection).collect();
        assert_eq!(going_on, expected, "{kept:?}");
    }
}

#[test]
fn what_was_learnt_is_not_told_and_is_known() {
    let mut rules: Vec<Rule> = RULES.map(rule).into();
    let hours = SignedDuration::from_hours;
    rules[0].extension.first_seen = Some(FirstSeen {
        of: Seen::Value(FieldPath::new("region")),
        by: paths(&["user"]),
        learn: hours(1),
        forget: hours(48),
    });
    rules.push(correlation("z", CorrelationKind::EventCount(at_least(1)), &["a"], &["user"], 600));
    let feeds = Arc::new(Feeds::new(&rules));
    let at = |minutes, region| Call { region: Some(region), ..call(minutes, 0, Some(1)) };
    let calls = [at(0, 1), at(600, 2), at(700, 2), at(701, 3)];
    let evidence = evidence_of(&rules, &calls, &feeds);
    let mut engine = Engine::new(feeds, Idle::SORTED, Journaling::On);
    let mut stored = Stored::default();
    stored.apply(engine.learn(evidence[..2].to_vec(), Timestamp::MIN));
    assert_eq!(engine.size(), (0, 0, 2));
    let step = engine.step(evidence[2..].to_vec(), StreamProgress::in_order(Timestamp::MAX));
    let told: Vec<Id> = step.findings.iter().map(id).filter(|id| id.0 == "first-seen").collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].2, ["u1", "r3"]);
    stored.apply(step.changes);
    assert!(stored.0.keys().all(|(_, key)| key[0] != b'h'), "what was let go is still stored");
}

#[test]
fn what_members_mean_is_part_of_what_a_correlation_means() {
    let rules = rules(CorrelationKind::EventCount(at_least(2)), at_least(1), 10);
    let meanings = |rules: &[Rule]| BTreeMap::from_iter(Feeds::new(rules).meanings(rules));
    let before = meanings(&rules);
    // Each rule, and all that its hits come to.
    let cases: [(&str, &[&str]); 5] = [
        ("a", &["a", "x", "y", "z"]),
        ("b", &["b", "x", "y", "z"]),
        ("c", &["x", "y", "z"]),
        ("z", &["x", "y", "z"]),
        ("x", &["x"]),
    ];
    for (changed, expected) in cases {
        let mut rules = rules.clone();
        let rule = rules.iter_mut().find(|rule| rule.id == changed).unwrap();
        rule.hash.push('0');
        let after = meanings(&rules);
        let others: Vec<&str> =
            before.keys().filter(|id| before[*id] != after[*id]).map(String::as_str).collect();
        assert_eq!(others, expected, "{changed}");
    }
}

#[test]
fn an_outer_correlation_may_come_and_go_around_an_open_window() {
    let few = || Threshold(vec![(Operator::Less, Number::Int(3))]);
    let inner = || correlation("y", CorrelationKind::EventCount(few()), &["a"], &["user"], 600);
    let outer = || correlation("z", CorrelationKind::EventCount(few()), &["y"], &["user"], 3600);
    let (without, with) = (vec![rule("a"), inner()], vec![rule("a"), inner(), outer()]);
    let calls = [call(0, 0, Some(1)), call(600, 0, Some(1))];
    let kept: HashSet<&str> = ["a", "y"].into();
    // Which rules run when the first event comes, when it is settled, and when the second one is.
    let cases = [[&with, &without, &with], [&without, &with, &with], [&with, &with, &with]];
    for rules in cases {
        let feeds = rules.map(|rules| Arc::new(Feeds::new(rules)));
        let mut engine = Engine::new(Arc::clone(&feeds[0]), Idle::SORTED, Journaling::Off);
        let mut told = BTreeSet::new();
        for (number, minutes) in [(0, 0), (1, 300), (1, 2_000)].into_iter().enumerate() {
            let (comes, watermark) = minutes;
            if number > 0 {
                engine.succeed(Arc::clone(&feeds[number]), &kept);
            }
            let evidence = (number < 2).then(|| calls[comes].evidence(comes, rules[number], &feeds[number]));
            let watermark = Timestamp::from_second(watermark * 60).unwrap();
            let step = engine.step(evidence, StreamProgress::in_order(watermark));
            told.extend(step.findings.iter().map(|finding| (finding.detection.to_string(), finding.time)));
        }
        let second = calls[1].time();
        assert!(told.contains(&("z".to_owned(), second)), "the outer one waits for ever: {told:?}");
    }
}
