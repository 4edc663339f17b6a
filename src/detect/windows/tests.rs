//! The engine against the oracle, in every order of arrival; what is kept; how evidence is told from events.

mod bounds;
mod late;
mod succession;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::sample::Index;

use super::oracle::{Id, OracleHit, findings};
use super::*;
use crate::detect::{Hit, Status};
use crate::event::{Event, FieldPath, Parser};
use crate::sigma::{
    Correlation, CorrelationKind, FirstSeen, Grouping, Logic, Member, Number, Occurrence, Operator, Rule,
    RuleFile, Seen, Threshold, compile,
};

const LIVE: Idle = Idle { settle: Duration::from_hours(1), forget: Duration::from_hours(24) };

/// Settles what the watermark has passed, and knows what comes again.
const KEEPING: Idle = Idle { settle: Duration::ZERO, forget: Duration::from_hours(24) };

/// When everything is settled.
fn much_later() -> StreamProgress {
    StreamProgress { watermark: Timestamp::MAX, now: Timestamp::MAX, caught_up: Timestamp::MAX }
}

fn rule(id: &str) -> Rule {
    let text = format!(
        "title: {id}\nid: {id}\nlogsource: {{product: aws, service: cloudtrail}}\n\
         detection: {{s: {{eventName: {id}}}, condition: s}}\n"
    );
    let file = RuleFile { name: "x".into(), text, named: false };
    compile(&[file]).rules.remove(0)
}

fn paths(names: &[&str]) -> Vec<FieldPath> {
    names.iter().map(|name| FieldPath::new(name)).collect()
}

fn correlation(id: &str, kind: CorrelationKind, members: &[&str], by: &[&str], seconds: i64) -> Rule {
    let members =
        members.iter().map(|member| Member { rule: (*member).to_owned(), group_by: paths(by) }).collect();
    let group_by = by.iter().map(|name| (*name).into()).collect();
    let timespan = SignedDuration::from_secs(seconds);
    let logic = Logic::Correlation(Correlation { kind, members, group_by, timespan, generate: false });
    Rule { logic, ..rule(id) }
}

fn at_least(count: i128) -> Threshold {
    Threshold(vec![(Operator::GreaterOrEqual, Number::Int(count))])
}

/// An event that hits one rule.
#[derive(Clone, PartialEq, Eq)]
struct Call {
    minutes: i64,
    rule: usize,
    user: Option<u8>,
    region: Option<u8>,
    tenths: Option<i32>,
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { minutes, rule, user, region, tenths } = self;
        write!(f, "{} at {minutes}: {user:?} {region:?} {tenths:?}", RULES[*rule])
    }
}

const RULES: [&str; 3] = ["a", "b", "c"];

impl Call {
    fn time(&self) -> Timestamp {
        Timestamp::from_second(self.minutes * 60).unwrap()
    }

    fn fields(&self) -> BTreeMap<String, String> {
        let tenths = self.tenths.map(|tenths| {
            let sign = if tenths < 0 { "-" } else { "" };
            format!("{sign}{}.{}", tenths.abs() / 10, tenths.abs() % 10)
        });
        [
            ("user", self.user.map(|user| format!("u{user}"))),
            ("region", self.region.map(|region| format!("r{region}"))),
            ("n", tenths),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
    }

    fn record(&self, number: usize) -> String {
        let mut record =
            serde_json::json!({"eventTime": self.time().to_string(), "eventID": format!("e{number}")});
        for (name, value) in self.fields() {
            record[name] = value.into();
        }
        record.to_string()
    }

    fn evidence(&self, number: usize, rules: &[Rule], feeds: &Feeds) -> Evidence {
        let rule = rules.iter().find(|rule| rule.id == RULES[self.rule]).unwrap();
        let record = self.record(number);
        let mut evidence = Parser::default()
            .parse(record.as_bytes(), |event| {
                feeds
                    .evidence(&Hit { rule, status: Status::Match, event: &event }, &Identity::default())
                    .unwrap()
                    .unwrap()
            })
            .unwrap();
        evidence.excerpt = Some(record.into());
        evidence
    }
}

/// How evidence comes: which calls, in which order and how often, and where steps end.
#[derive(Debug, Clone)]
struct Arrival {
    order: Vec<usize>,
    /// The number of calls in a step, and whether the engine is restored after it; in turn.
    steps: Vec<(usize, bool)>,
}

/// The findings with the counts told last, in each order of arrival; with every watermark that can be right.
fn run(rules: &[Rule], calls: &[Call], arrival: &Arrival, idle: Idle) -> BTreeMap<Id, u64> {
    let feeds = Arc::new(Feeds::new(rules));
    let evidence = evidence_of(rules, calls, &feeds);
    let mut engine = Engine::new(Arc::clone(&feeds), idle, Journaling::On);
    let mut stored = Stored::default();
    let mut told = BTreeMap::new();
    let mut rest = &arrival.order[..];
    let mut steps = arrival.steps.iter().cycle();
    let mut came: BTreeSet<usize> = BTreeSet::new();
    while !rest.is_empty() {
        let (size, restore) = steps.next().unwrap();
        let (chunk, after) = rest.split_at((*size).min(rest.len()));
        rest = after;
        came.extend(chunk);
        let awaited = rest.iter().filter(|number| !came.contains(number)).map(|number| calls[*number].time());
        let watermark = awaited.min().unwrap_or(Timestamp::from_second(10 * 3600).unwrap());
        let evidence = chunk.iter().map(|number| evidence[*number].clone());
        let now = Timestamp::from_second(1).unwrap();
        let step = engine.step(evidence, StreamProgress { watermark, now, caught_up: now });
        note(&step, &mut told);
        stored.apply(step.changes);
        if *restore {
            engine = Engine::restored(Arc::clone(&feeds), idle, stored.rows());
            assert_eq!(engine.tally().rows_not_restored, 0);
        }
    }
    let end = engine.step([], much_later());
    note(&end, &mut told);
    stored.apply(end.changes);
    let windows_left = stored.0.keys().filter(|(_, key)| key[0] == b'g').count();
    assert_eq!((engine.size().0, windows_left, engine.excerpt_bytes), (0, 0, 0));
    told
}

fn evidence_of(rules: &[Rule], calls: &[Call], feeds: &Feeds) -> Vec<Evidence> {
    calls.iter().enumerate().map(|(number, call)| call.evidence(number, rules, feeds)).collect()
}

fn id(finding: &Finding) -> Id {
    let values = finding.values.iter().map(str::to_owned).collect();
    (finding.kind.as_str().into(), finding.detection.to_string(), values, finding.period.as_microsecond())
}

fn note(step: &Step, told: &mut BTreeMap<Id, u64>) {
    for finding in &step.findings {
        let before = told.insert(id(finding), finding.count);
        assert_eq!(
            before.is_some(),
            finding.revision > 1,
            "told twice, or a last word on nothing: {finding:?}"
        );
        assert!(finding.listed.len() <= LISTED);
        assert!(finding.revision > 1 || !finding.listed.is_empty());
        if finding.kind == FindingKind::FirstSeen {
            let excerpt = finding.listed[0].excerpt.as_deref().unwrap();
            assert!(excerpt.contains(&finding.time.to_string()), "not the event that was first: {finding:?}");
        }
    }
}

/// What a durable state would hold.
#[derive(Debug, Default)]
struct Stored(BTreeMap<(Arc<str>, Box<[u8]>), StoredRow>);

impl Stored {
    fn apply(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Write(row) => drop(self.0.insert((Arc::clone(&row.detection), row.key.clone()), row)),
                Change::Remove { detection, prefix } => {
                    self.0.retain(|(other, key), _| *other != detection || !key.starts_with(&prefix));
                }
            }
        }
    }

    /// In another order than they were written in.
    fn rows(&self) -> Vec<StoredRow> {
        self.0.values().rev().cloned().collect()
    }
}

fn expected(rules: &[Rule], calls: &[Call]) -> BTreeMap<Id, u64> {
    let mut hits: BTreeMap<String, BTreeSet<OracleHit>> = BTreeMap::new();
    for (number, call) in calls.iter().enumerate() {
        let time = call.time().as_microsecond();
        let hit = OracleHit { time, event: format!("e{number}"), fields: call.fields() };
        hits.entry(RULES[call.rule].to_owned()).or_default().insert(hit);
    }
    findings(rules, &hits)
}

fn sorted(calls: &[Call]) -> Arrival {
    let mut order: Vec<usize> = (0..calls.len()).collect();
    order.sort_by_key(|number| calls[*number].minutes);
    Arrival { order, steps: vec![(1, false)] }
}

fn calls(most: usize) -> impl Strategy<Value = Vec<Call>> {
    let field = || proptest::option::weighted(0.9, 0_u8..3);
    let call = (0_i64..40, 0..RULES.len(), field(), field(), proptest::option::weighted(0.9, -30..60));
    let call = call.prop_map(|(slot, rule, user, region, tenths)| Call {
        minutes: slot * 11,
        rule,
        user,
        region,
        tenths,
    });
    proptest::collection::vec(call, 1..most)
}

/// Some order of so many calls, in which some come twice.
fn arrival(calls: usize) -> impl Strategy<Value = Arrival> {
    let order = Just((0..calls).collect::<Vec<_>>()).prop_shuffle();
    let again = proptest::collection::vec((any::<Index>(), any::<Index>()), 0..6);
    let steps = proptest::collection::vec((1_usize..12, proptest::bool::weighted(0.3)), 1..6);
    (order, again, steps).prop_map(|(mut order, again, steps)| {
        for (which, place) in again {
            let number = order[which.index(order.len())];
            order.insert(place.index(order.len() + 1), number);
        }
        Arrival { order, steps }
    })
}

fn threshold() -> impl Strategy<Value = Threshold> {
    let operators = [
        Operator::Equal,
        Operator::NotEqual,
        Operator::Less,
        Operator::LessOrEqual,
        Operator::Greater,
        Operator::GreaterOrEqual,
    ];
    let part = (proptest::sample::select(operators.to_vec()), 0_i128..5);
    let part = part.prop_map(|(operator, limit)| (operator, Number::Int(limit)));
    proptest::collection::vec(part, 1..3).prop_map(Threshold)
}

fn occurrence() -> impl Strategy<Value = Occurrence> {
    let leaf = (0_usize..3).prop_map(Occurrence::Member);
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..3).prop_map(Occurrence::All),
            proptest::collection::vec(inner.clone(), 1..3).prop_map(Occurrence::Any),
            inner.prop_map(|part| Occurrence::Not(Box::new(part))),
        ]
    })
}

fn kind() -> impl Strategy<Value = CorrelationKind> {
    let n = || FieldPath::new("n");
    prop_oneof![
        threshold().prop_map(CorrelationKind::EventCount),
        (1_i128..5).prop_map(|count| CorrelationKind::EventCount(at_least(count))),
        threshold().prop_map(|limit| CorrelationKind::ValueCount(paths(&["region"]), limit)),
        (1_i128..4).prop_map(|count| CorrelationKind::ValueCount(paths(&["region", "n"]), at_least(count))),
        threshold().prop_map(move |limit| CorrelationKind::ValueSum(n(), limit)),
        threshold().prop_map(move |limit| CorrelationKind::ValueAverage(n(), limit)),
        (0_u8..=100, threshold()).prop_map(move |(percent, limit)| CorrelationKind::ValuePercentile(
            n(),
            percent,
            limit
        )),
        occurrence().prop_map(CorrelationKind::Temporal),
        Just(CorrelationKind::TemporalOrdered),
    ]
}

/// All that may stand between hits and findings, about one correlation.
fn rules(kind: CorrelationKind, outer: Threshold, minutes: i64) -> Vec<Rule> {
    let mut rules: Vec<Rule> = RULES.map(rule).into();
    let hours = SignedDuration::from_hours;
    rules[0].extension.group = Some(Grouping { by: paths(&["user"]), period: hours(2) });
    rules[1].extension.first_seen = Some(FirstSeen {
        of: Seen::Value(FieldPath::new("region")),
        by: paths(&["user"]),
        learn: SignedDuration::from_mins(minutes),
        forget: hours(1),
    });
    let seconds = minutes * 60;
    // Ids that sort the other way round than they depend on each other.
    rules.push(correlation("z", kind, &RULES, &["user"], seconds));
    rules.push(correlation("y", CorrelationKind::EventCount(outer), &["z", "a"], &["user"], seconds * 2));
    let users = CorrelationKind::ValueCount(paths(&["user"]), at_least(2));
    rules.push(correlation("x", users, &["y"], &[], 3600));
    rules
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, max_shrink_iters: 3000, failure_persistence: None, ..ProptestConfig::default() }
}

fn calls_and_arrival(most: usize) -> impl Strategy<Value = (Vec<Call>, Arrival)> {
    calls(most).prop_flat_map(|calls| {
        let count = calls.len();
        (Just(calls), arrival(count))
    })
}

fn minutes() -> impl Strategy<Value = i64> {
    proptest::sample::select(vec![11, 30, 90])
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn any_order_of_arrival_is_the_oracle(
        (calls, arrival) in calls_and_arrival(40),
        kind in kind(),
        outer in threshold(),
        minutes in minutes(),
    ) {
        let rules = rules(kind, outer, minutes);
        let expected = expected(&rules, &calls);
        prop_assert_eq!(&run(&rules, &calls, &arrival, KEEPING), &expected);
        prop_assert_eq!(&run(&rules, &calls, &sorted(&calls), Idle::SORTED), &expected);
    }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn counters_that_slide_are_the_oracle(
        (calls, arrival) in calls_and_arrival(160),
        kind in kind(),
        minutes in minutes(),
    ) {
        let mut rules: Vec<Rule> = RULES.map(rule).into();
        rules.push(correlation("z", kind, &RULES, &[], minutes * 60));
        let expected = expected(&rules, &calls);
        prop_assert_eq!(&run(&rules, &calls, &arrival, KEEPING), &expected);
        prop_assert_eq!(&run(&rules, &calls, &sorted(&calls), Idle::SORTED), &expected);
    }

    #[test]
    fn chains_in_order_are_the_oracle((calls, arrival) in calls_and_arrival(160), slots in 2_i64..4) {
        let members = ["a", "b", "a", "c", "b"];
        let mut rules: Vec<Rule> = RULES.map(rule).into();
        rules.push(correlation("z", CorrelationKind::TemporalOrdered, &members, &[], slots * 660));
        let expected = expected(&rules, &calls);
        prop_assert_eq!(&run(&rules, &calls, &arrival, KEEPING), &expected);
        prop_assert_eq!(&run(&rules, &calls, &sorted(&calls), Idle::SORTED), &expected);
    }

    #[test]
    fn late_evidence_fires_what_more_evidence_cannot_undo(
        (calls, arrival) in calls_and_arrival(60),
        kind in kind().prop_filter("monotone", |kind| ask::Measure::of(kind).is_monotone()),
        minutes in minutes(),
    ) {
        let rules = rules(kind, at_least(2), minutes);
        let feeds = Arc::new(Feeds::new(&rules));
        let evidence = evidence_of(&rules, &calls, &feeds);
        let mut engine = Engine::new(feeds, LIVE, Journaling::Off);
        let mut told = BTreeSet::new();
        for number in &arrival.order {
            // A watermark that runs ahead of what is still to come.
            let step = engine.step([evidence[*number].clone()], StreamProgress::in_order(calls[*number].time()));
            let first = step.findings.iter().filter(|finding| finding.revision == 1);
            told.extend(first.filter(|finding| finding.kind == FindingKind::Window).map(id));
        }
        let expected = expected(&rules, &calls);
        let windows: BTreeSet<Id> = expected.into_keys().filter(|id| id.0 == "window").collect();
        prop_assert_eq!(told, windows);
    }

    #[test]
    fn what_a_sieve_holds_back_matters_not(calls in calls(60), minutes in minutes()) {
        let rules = rules(CorrelationKind::EventCount(at_least(2)), at_least(1), minutes);
        let feeds = Arc::new(Feeds::new(&rules));
        let mut sieves = [Sieve::default(), Sieve::default()];
        let mut evidence = evidence_of(&rules, &calls, &feeds);
        for (number, evidence) in evidence.iter_mut().enumerate() {
            sieves[number % 2].lets_through(&feeds, evidence);
        }
        evidence.sort_by(Evidence::order);
        let mut engine = Engine::new(feeds, Idle::SORTED, Journaling::Off);
        let mut told = BTreeMap::new();
        note(&engine.step(evidence, StreamProgress::in_order(Timestamp::MAX)), &mut told);
        prop_assert_eq!(told, expected(&rules, &calls));
    }
}

fn call(minutes: i64, rule: usize, user: Option<u8>) -> Call {
    Call { minutes, rule, user, region: Some(1), tenths: Some(10) }
}

#[test]
fn a_listing_has_the_newest_hits_and_one_of_each_member() {
    let ordered = correlation("z", CorrelationKind::TemporalOrdered, &["a", "b", "c"], &["user"], 7200);
    let rules: Vec<Rule> = RULES.map(rule).into_iter().chain([ordered]).collect();
    let mut calls = vec![call(0, 0, Some(1))];
    calls.extend((1..60).map(|minute| call(minute, 1, Some(1))));
    calls.push(call(60, 2, Some(1)));
    let feeds = Arc::new(Feeds::new(&rules));
    let evidence = evidence_of(&rules, &calls, &feeds);
    let step = Engine::new(feeds, Idle::SORTED, Journaling::Off)
        .step(evidence, StreamProgress::in_order(Timestamp::MIN));
    let [finding] = &step.findings[..] else { panic!("one finding: {:?}", step.findings) };
    assert_eq!((finding.count, finding.listed.len()), (61, LISTED));
    assert_eq!((&*finding.listed[0].rule, &*finding.listed[1].rule), ("a", "b"));
    assert_eq!(finding.listed[1].time, calls[42].time());
    assert!(finding.listed.iter().all(|listed| listed.excerpt.is_some()));
    assert_eq!(finding.id_parts(), ["window", "z", "u1", "1970-01-01T00:00:00Z"]);
    assert!(finding.delay.is_zero());
}

#[test]
fn last_words_on_several_periods_have_their_texts() {
    let rules = [rule("a"), correlation("z", CorrelationKind::EventCount(at_least(2)), &["a"], &[], 600)];
    let calls: Vec<Call> = (0..240).map(|minute| call(minute, 0, None)).collect();
    let feeds = Arc::new(Feeds::new(&rules));
    let evidence = evidence_of(&rules, &calls, &feeds);
    let step = Engine::new(feeds, Idle::SORTED, Journaling::Off)
        .step(evidence, StreamProgress::in_order(Timestamp::MAX));
    let last: Vec<_> = step.findings.iter().filter(|finding| finding.revision == 2).collect();
    assert_eq!(last.len(), 4, "one for each hour");
    for finding in last {
        assert_eq!(finding.listed.len(), LISTED);
        assert!(finding.listed.iter().all(|listed| listed.excerpt.is_some()), "{finding:?}");
    }
}

#[test]
fn a_late_hit_hides_no_chain() {
    let rules =
        [rule("a"), rule("b"), correlation("z", CorrelationKind::TemporalOrdered, &["a", "b"], &[], 30 * 60)];
    // Enough to have a counter, which the late hit meets when its period has fired already.
    let mut calls: Vec<Call> = (0..40).map(|minute| call(minute, 0, None)).collect();
    calls.extend([call(2, 1, None), call(20, 0, None), call(60, 1, None)]);
    let arrival = Arrival { order: (0..calls.len()).collect(), steps: vec![(1, false)] };
    let told = run(&rules, &calls, &arrival, KEEPING);
    assert_eq!(told, expected(&rules, &calls));
    assert_eq!(told.len(), 2);
}

#[test]
fn what_takes_no_part_is_counted() {
    let kind = || CorrelationKind::ValueSum(FieldPath::new("n"), at_least(1));
    let rules = [rule("a"), correlation("z", kind(), &["a"], &["user"], 600)];
    let feeds = Arc::new(Feeds::new(&rules));
    let calls = [call(0, 0, Some(1)), call(0, 0, None), Call { tenths: None, ..call(0, 0, Some(1)) }];
    let evidence = evidence_of(&rules, &calls, &feeds);
    let again = evidence[0].clone();
    let mut engine = Engine::new(feeds, LIVE, Journaling::Off);
    engine.step(evidence.into_iter().chain([again]), StreamProgress::in_order(Timestamp::MIN));
    let expected = Tally { facts: 4, duplicate: 1, no_group: 1, no_value: 1, ..Tally::default() };
    assert_eq!(*engine.tally(), expected);
}

#[test]
fn hits_that_are_no_evidence() {
    let rules =
        [rule("a"), correlation("z", CorrelationKind::EventCount(at_least(1)), &["a"], &[], 600), rule("b")];
    let feeds = Feeds::new(&rules);
    let of = |rule: &Rule, status, record: &str| {
        let look = |event: Event<'_>| {
            feeds
                .evidence(&Hit { rule, status, event: &event }, &Identity::default())
                .map(|found| found.is_some())
        };
        Parser::default().parse(record.as_bytes(), look).unwrap()
    };
    let timed = r#"{"eventTime":"2026-03-01T10:00:00Z"}"#;
    assert_eq!(of(&rules[0], Status::Match, timed), Ok(true));
    assert_eq!(of(&rules[0], Status::Undecided, timed), Err(NoEvidence::Undecided));
    assert_eq!(of(&rules[0], Status::Match, "{}"), Err(NoEvidence::Untimed));
    assert_eq!(of(&rules[2], Status::Undecided, "{}"), Ok(false));
    assert!(is_told_alone(&rules[0]) && !is_told_alone(&rules[1]));
}

#[test]
fn parts_share_no_detection() {
    let count = || CorrelationKind::EventCount(at_least(2));
    let mut rules: Vec<Rule> = ["a", "b", "c", "d", "e", "f", "g"].map(rule).into();
    rules.push(correlation("v", count(), &["a", "b"], &[], 60));
    rules.push(correlation("w", count(), &["b", "c"], &[], 60));
    rules.push(correlation("x", count(), &["d"], &[], 60));
    rules.push(correlation("y", CorrelationKind::TemporalOrdered, &["x", "e"], &[], 60));
    rules.push(correlation("z", count(), &["f"], &[], 60));
    let feeds = Feeds::new(&rules);
    let of = |rule: &str, most| feeds.parts(most)[feeds.number(rule).unwrap() as usize];
    // Through a rule that both see, and through a correlation that sees another one.
    for joined in [["a", "b", "c"], ["d", "e", "e"]] {
        assert_eq!(joined.map(|rule| of(rule, 8)), [of(joined[0], 8); 3], "{joined:?}");
    }
    assert_eq!(["a", "d", "f"].map(|rule| of(rule, 8)).into_iter().collect::<BTreeSet<_>>().len(), 3);
    assert_eq!(["a", "d", "f"].map(|rule| of(rule, 2)).into_iter().collect::<BTreeSet<_>>(), [0, 1].into());
    assert_eq!(feeds.number("g"), None);
}
