//! Evidence of any age, as it comes to a daemon: what comes together comes to the same as in a replay.
//!
//! A replay sorts all evidence. Live, the watermark follows the latest event, so that most evidence here is behind it when
//! it comes; ingestion time moves by seconds within a *burst* and by days between two. The order of arrival has a say
//! in three cases only, which the tests leave out by name:
//!
//! - a window whose evidence comes in parts, each after the window was forgotten ([`Idle::forget`]), is seen in parts;
//! - what is older than the earliest event of a first-seen detection, once that was certain, counts as learnt;
//! - a value that comes on time is judged at once, by what was seen until then.

use super::*;

/// An engine that is fed as the daemon feeds it.
struct Live {
    feeds: Arc<Feeds>,
    evidence: Vec<Evidence>,
    engine: Engine,
    stored: Stored,
    told: BTreeMap<Id, u64>,
    latest: Timestamp,
    now: Timestamp,
}

/// Minutes from the epoch to the first year, and in a year.
const FIRST_YEAR: i64 = 49 * YEAR;
const YEAR: i64 = 365 * 24 * 60;
/// After all events.
const TODAY: i64 = FIRST_YEAR + 8 * YEAR;

fn at(minutes: i64) -> Timestamp {
    Timestamp::from_second(minutes * 60).unwrap()
}

impl Live {
    fn new(rules: &[Rule], calls: &[Call]) -> Self {
        let feeds = Arc::new(Feeds::new(rules));
        Self {
            evidence: evidence_of(rules, calls, &feeds),
            engine: Engine::new(Arc::clone(&feeds), LIVE, Journaling::On),
            feeds,
            stored: Stored::default(),
            told: BTreeMap::new(),
            latest: Timestamp::MIN,
            now: at(TODAY),
        }
    }

    fn step(&mut self, numbers: &[usize], watermark: Timestamp) {
        let evidence = numbers.iter().map(|number| self.evidence[*number].clone());
        let progress = StreamProgress { watermark, now: self.now, caught_up: self.now };
        let step = self.engine.step(evidence, progress);
        // What was forgotten and comes again is told again, under the same id.
        let first = |finding: &Finding| finding.revision == 1 && self.told.contains_key(&id(finding));
        let again: Vec<Id> = step.findings.iter().filter(|finding| first(finding)).map(id).collect();
        again.iter().for_each(|id| _ = self.told.remove(id));
        note(&step, &mut self.told);
        self.stored.apply(step.changes);
    }

    /// The calls of these numbers come, in steps, a second after each other.
    fn burst(&mut self, arrival: &Arrival) {
        let mut rest = &arrival.order[..];
        for (size, restore) in arrival.steps.iter().cycle() {
            let (chunk, after) = rest.split_at((*size).min(rest.len()));
            if chunk.is_empty() {
                return;
            }
            rest = after;
            self.now += SignedDuration::from_secs(1);
            let times = chunk.iter().map(|number| self.evidence[*number].time);
            self.latest = times.fold(self.latest, Timestamp::max);
            self.step(chunk, self.watermark());
            if *restore {
                self.engine = Engine::restored(Arc::clone(&self.feeds), LIVE, self.stored.rows());
                assert_eq!(self.engine.tally().rows_not_restored, 0);
            }
        }
    }

    fn watermark(&self) -> Timestamp {
        let reached = self.latest.min(self.now).checked_sub(LIVE.settle);
        reached.unwrap_or(Timestamp::MIN)
    }

    /// So many hours go by in which nothing comes.
    fn wait(&mut self, hours: i64) {
        for _ in 0..hours {
            self.now += SignedDuration::from_mins(60);
            self.step(&[], self.watermark());
        }
    }

    /// What was told in the end. Nothing is left over.
    fn end(mut self) -> BTreeMap<Id, u64> {
        // Each correlation that sees another one is settled after it.
        for _ in 0..4 {
            self.now += SignedDuration::from_hours(30);
            self.step(&[], Timestamp::MAX);
        }
        let left = self.stored.0.keys().filter(|(_, key)| matches!(key[0], b'g' | b'h')).count();
        assert_eq!((self.engine.size().0, left, self.engine.excerpt_bytes), (0, 0, 0));
        let bytes = self.engine.stores.iter().map(|store| match store {
            Store::Windows(windows) => windows.bytes(),
            Store::Seen(_) => 0,
        });
        assert_eq!(bytes.sum::<usize>(), 0);
        self.told
    }
}

/// Calls in the few hours of each of several years, in this order of years.
fn calls_of_years(years: i64, most: usize) -> impl Strategy<Value = Vec<Call>> {
    let placed = (calls(most), proptest::collection::vec(0..years, most));
    placed.prop_map(move |(mut calls, years)| {
        for (call, year) in calls.iter_mut().zip(years) {
            call.minutes += FIRST_YEAR + year * YEAR;
        }
        calls
    })
}

fn of_years(years: i64, most: usize) -> impl Strategy<Value = (Vec<Call>, Arrival)> {
    calls_of_years(years, most).prop_flat_map(|calls| {
        let count = calls.len();
        (Just(calls), arrival(count))
    })
}

fn year(call: &Call) -> i64 {
    (call.minutes - FIRST_YEAR) / YEAR
}

/// The part of an arrival that is about these calls.
fn part(arrival: &Arrival, wanted: impl Fn(usize) -> bool) -> Arrival {
    let order = arrival.order.iter().copied().filter(|number| wanted(*number)).collect();
    Arrival { order, steps: arrival.steps.clone() }
}

/// Ids whose counts differ, with what was told and what was expected.
fn differences(
    told: &BTreeMap<Id, u64>,
    expected: &BTreeMap<Id, u64>,
) -> Vec<(Id, Option<u64>, Option<u64>)> {
    let all: BTreeSet<&Id> = told.keys().chain(expected.keys()).collect();
    let counts = all.into_iter().map(|id| (id.clone(), told.get(id).copied(), expected.get(id).copied()));
    counts.filter(|(_, told, expected)| told != expected).collect()
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn an_archive_in_any_order_is_the_oracle(
        (calls, arrival) in of_years(3, 60),
        kind in kind(),
        outer in threshold(),
        minutes in minutes(),
    ) {
        let rules = rules(kind, outer, minutes);
        let mut live = Live::new(&rules, &calls);
        live.burst(&arrival);
        prop_assert_eq!(differences(&live.end(), &expected(&rules, &calls)), []);
    }

    #[test]
    fn archives_that_come_days_apart_are_the_oracle(
        (calls, arrival) in of_years(4, 80),
        order in Just(vec![0, 1, 2, 3]).prop_shuffle(),
        kind in kind(),
        outer in threshold(),
        minutes in minutes(),
    ) {
        let rules = rules(kind, outer, minutes);
        let mut live = Live::new(&rules, &calls);
        // The first one has the earliest events; see the second case above.
        let first = calls.iter().filter(|call| call.rule == 1 && call.region.is_some()).map(year).min();
        let others = order.into_iter().filter(|year| Some(*year) != first);
        for number in first.into_iter().chain(others) {
            live.burst(&part(&arrival, |call| year(&calls[call]) == number));
            live.wait(72);
        }
        let expected = expected(&rules, &calls);
        let differences = differences(&live.end(), &expected);
        // The third case above.
        let is_early = |difference: &(Id, _, Option<u64>)| difference.0.0 == "first-seen" && difference.2.is_none();
        prop_assert!(differences.iter().all(is_early), "{differences:?}");
    }

    #[test]
    fn repeats_and_stragglers_raise_what_no_evidence_can_undo(
        (calls, arrival) in of_years(2, 60),
        late in proptest::collection::vec(0_usize..3, 60),
        kind in kind().prop_filter("monotone", |kind| ask::Measure::of(kind).is_monotone()),
        minutes in minutes(),
        hours in proptest::sample::select(vec![1, 7, 72]),
    ) {
        let rules = rules(kind, at_least(1), minutes);
        let mut live = Live::new(&rules, &calls);
        let mut together = Vec::new();
        for burst in 0..3 {
            // In the last one, all that came before is announced again.
            let comes = |call: usize| late[call] == burst || burst == 2;
            live.burst(&part(&arrival, comes));
            live.wait(hours);
            let calls: Vec<Call> =
                calls.iter().enumerate().filter(|(call, _)| comes(*call)).map(|(_, call)| call.clone()).collect();
            together.push(calls);
        }
        let windows = |found: BTreeMap<Id, u64>| {
            found.into_keys().filter(|id| id.0 == "window").collect::<BTreeSet<Id>>()
        };
        let (told, all) = (windows(live.end()), windows(expected(&rules, &calls)));
        prop_assert_eq!(&told, &all, "all came together in the end");
    }
}

#[test]
fn a_group_that_was_forgotten_has_the_id_of_before() {
    let mut grouped = rule("a");
    grouped.extension.group = Some(Grouping { by: paths(&["user"]), period: SignedDuration::from_hours(1) });
    let calls = [call(FIRST_YEAR, 0, Some(1)), call(FIRST_YEAR + 1, 0, Some(1)), call(TODAY, 0, Some(1))];
    let mut live = Live::new(&[grouped], &calls);
    let one = |number| Arrival { order: vec![number], steps: vec![(1, true)] };
    let mut ids = Vec::new();
    for number in [2, 0, 1] {
        live.burst(&one(number));
        ids.extend(std::mem::take(&mut live.told).into_keys());
        live.wait(48);
    }
    assert_eq!((ids.len(), ids[1] == ids[2]), (3, true), "{ids:?}");
}

/// What is found when so much comes, each at so many hours from now on, while the watermark lies an hour before now; with and
/// without a restart after each step.
fn found(rules: &[Rule], calls: &[Call], comes: &[(i64, &[usize])]) -> Vec<(i64, Finding)> {
    let feeds = Arc::new(Feeds::new(rules));
    let evidence = evidence_of(rules, calls, &feeds);
    let run = |is_restarted: bool| {
        let mut engine = Engine::new(Arc::clone(&feeds), LIVE, Journaling::On);
        let (mut stored, mut found) = (Stored::default(), Vec::new());
        for (hours, numbers) in comes {
            let now = at(TODAY) + SignedDuration::from_hours(*hours);
            let evidence = numbers.iter().map(|number| evidence[*number].clone());
            let progress = StreamProgress { watermark: at(TODAY - 60), now, caught_up: now };
            let step = engine.step(evidence, progress);
            found.extend(step.findings.into_iter().map(|finding| (*hours, finding)));
            stored.apply(step.changes);
            if is_restarted {
                engine = Engine::restored(Arc::clone(&feeds), LIVE, stored.rows());
            }
        }
        found
    };
    let found = run(false);
    assert_eq!(run(true), found, "a restart changes what is found");
    found
}

#[test]
fn what_comes_while_a_window_is_kept_is_counted_in_a_later_revision() {
    let mut grouped = rule("a");
    grouped.extension.group = Some(Grouping { by: paths(&["user"]), period: SignedDuration::from_hours(1) });
    let calls: Vec<Call> = (0..3).map(|minute| call(FIRST_YEAR + minute, 0, Some(1))).collect();
    let found = found(&[grouped], &calls, &[(0, &[0]), (1, &[1]), (3, &[]), (5, &[2]), (7, &[])]);
    let told: Vec<_> = found.iter().map(|(hours, it)| (*hours, it.revision, it.count, it.delay)).collect();
    let hours = SignedDuration::from_hours;
    assert_eq!(told, [(0, 1, 1, hours(0)), (3, 2, 2, hours(2)), (7, 3, 3, hours(2))]);
}

#[test]
fn a_late_first_sight_waits_for_what_makes_it_old() {
    let mut first = rule("b");
    first.extension.first_seen = Some(FirstSeen {
        of: Seen::Value(FieldPath::new("region")),
        by: paths(&["user"]),
        learn: SignedDuration::from_hours(1),
        forget: SignedDuration::from_hours(1),
    });
    let rules = [rule("a"), first];
    // The first one of the detection; and one value in two periods, the later one of which comes before the other.
    let calls = [
        call(FIRST_YEAR - 10_000, 1, Some(1)),
        call(FIRST_YEAR + 90, 1, Some(2)),
        call(FIRST_YEAR + 30, 1, Some(2)),
    ];
    let found = found(&rules, &calls, &[(0, &[0]), (2, &[1]), (2, &[2]), (4, &[])]);
    let told: Vec<_> = found.iter().map(|(hours, it)| (*hours, it.time, it.delay)).collect();
    assert_eq!(told, [(4, calls[2].time(), SignedDuration::from_hours(1))]);
}

#[test]
fn a_window_is_settled_when_it_was_left_alone() {
    let few = Threshold(vec![(Operator::Less, Number::Int(3))]);
    let rules = [rule("a"), correlation("z", CorrelationKind::EventCount(few), &["a"], &[], 3600)];
    let calls: Vec<Call> = (0..3).map(|minute| call(FIRST_YEAR, 0, Some(minute))).collect();
    let feeds = Arc::new(Feeds::new(&rules));
    let evidence = evidence_of(&rules, &calls, &feeds);
    // Minutes at which one more comes, up to when ingestion has caught up then, and when it is told.
    let cases: [(&[i64], &[i64], Option<i64>); 4] = [
        (&[0], &[0, 59, 60], Some(60)),
        (&[0, 30], &[0, 60, 89, 90], Some(90)),
        (&[0, 30, 59], &[0, 60, 200], None),
        // A backlog is being worked off: the last one of it comes hours later.
        (&[0, 120, 240], &[0, 1, 2, 400], None),
    ];
    for (comes, caught_up, expected) in cases {
        let mut engine = Engine::new(Arc::clone(&feeds), LIVE, Journaling::Off);
        let mut told = None;
        let mut minutes: Vec<(i64, i64)> = comes.iter().map(|minute| (*minute, 0)).collect();
        minutes.extend(caught_up.iter().map(|minute| (*minute, 1)));
        minutes.sort_unstable();
        let (mut number, mut caught) = (0, 0);
        for (minute, what) in minutes {
            let came = (what == 0).then(|| evidence[number].clone());
            number += usize::from(what == 0);
            caught = if what == 1 { minute } else { caught };
            let (now, caught_up) = (at(TODAY + minute), at(TODAY + caught));
            let step = engine.step(came, StreamProgress { watermark: at(TODAY - 60), now, caught_up });
            if !step.findings.is_empty() {
                assert_eq!(told.replace(minute), None);
            }
        }
        assert_eq!(told, expected, "{comes:?}");
    }
}

#[test]
fn what_comes_again_keeps_its_window() {
    let two = CorrelationKind::EventCount(at_least(2));
    let rules = [rule("a"), correlation("z", two, &["a"], &[], 3600)];
    let calls = [call(FIRST_YEAR, 0, Some(1)), call(FIRST_YEAR + 1, 0, Some(2))];
    let found = found(&rules, &calls, &[(0, &[0]), (23, &[0]), (40, &[1])]);
    let told: Vec<_> = found.iter().map(|(hours, it)| (*hours, it.count)).collect();
    assert_eq!(told, [(40, 2)]);
}

#[test]
fn a_straggler_opens_the_windows_that_it_comes_into() {
    let three = Threshold(vec![(Operator::Equal, Number::Int(3))]);
    let rules = [rule("a"), correlation("z", CorrelationKind::EventCount(three), &["a"], &[], 3600)];
    let calls = [0, 20, 10].map(|minute| call(FIRST_YEAR + minute, 0, Some(0)));
    let found = found(&rules, &calls, &[(0, &[0, 1]), (2, &[]), (3, &[2]), (5, &[])]);
    // The window that ends with the second one has three only with the straggler.
    let told: Vec<_> = found.iter().map(|(hours, it)| (*hours, it.time, it.delay)).collect();
    assert_eq!(told, [(5, calls[1].time(), SignedDuration::from_hours(1))]);
}
