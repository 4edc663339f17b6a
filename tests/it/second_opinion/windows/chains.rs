//! Correlations of correlations, in both engines.
//!
//! Both hand each firing on as a hit at its time, with the values by which the inner correlation groups. The streams here
//! are those over which the engines differ in nothing but the beginning of windows: no two events of one time, none twice,
//! every field there, each event a hit of one rule.
//!
//! A correlation over others and rules may see some of them at once and others when the watermark has passed: its last
//! revision has the first firing point, and what the first one counts is compared where there is one member.

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{TestCaseError, TestError, TestRunner};
use rsigma_eval::event::JsonEvent;
use rsigma_eval::{CorrelationConfig, CorrelationEngine};
use trailhound::detect::Detections;
use trailhound::review::stream::Stream;
use trailhound::sigma::{RuleFile, compile};

use crate::second_opinion::{config, println_tally};

/// One correlation over others, and over rules.
#[derive(Debug, Clone)]
struct Link {
    kind: &'static str,
    /// Names of rules, `a`, `b` and `c`, or of correlations, `c0`, `c1`…
    members: Vec<&'static str>,
    group_by: Vec<&'static str>,
    /// In seconds.
    timespan: i64,
    operator: &'static str,
    limit: usize,
}

/// An event that hits the rule of this name.
#[derive(Debug, Clone)]
struct Event {
    time: i64,
    rule: &'static str,
    user: &'static str,
    region: &'static str,
    number: u8,
}

/// Findings of the outermost correlation: by group and beginning of the period, the first firing point and, of an
/// `event_count` over one member, how many hits there were.
type Answer = BTreeMap<(Vec<String>, i64), (i64, Option<u64>)>;

impl Link {
    fn count(&self, count: u64) -> Option<u64> {
        (self.kind == "event_count" && self.members.len() == 1).then_some(count)
    }

    fn document(&self, number: usize, timespan: i64) -> String {
        let Self { kind, members, group_by, operator, limit, .. } = self;
        let condition = match *kind {
            "temporal_ordered" => String::new(),
            "temporal" => format!("  condition: {{gte: {}}}\n", members.len()),
            "value_count" => format!("  condition: {{field: w, {operator}: {limit}}}\n"),
            "value_sum" => format!("  condition: {{field: v, {operator}: {limit}}}\n"),
            _ => format!("  condition: {{{operator}: {limit}}}\n"),
        };
        format!(
            "title: c{number}\nid: c{number}\nname: c{number}\ncorrelation:\n  type: {kind}\n  rules: [{}]\n  \
             group-by: [{}]\n  timespan: {timespan}s\n{condition}",
            members.join(", "),
            group_by.join(", ")
        )
    }
}

/// All documents; windows are shorter by so many seconds.
fn documents(links: &[Link], shorter: i64) -> String {
    let rule = |name: &&str| {
        format!(
            "title: {name}\nid: {name}\nname: {name}\nlogsource: {{product: aws, service: cloudtrail}}\n\
             detection: {{s: {{n: {name}}}, condition: s}}\n"
        )
    };
    let links = links.iter().enumerate().map(|(number, link)| link.document(number, link.timespan - shorter));
    ["a", "b", "c"].iter().map(rule).chain(links).collect::<Vec<_>>().join("---\n")
}

impl Event {
    fn record(&self) -> String {
        let Self { time, rule, user, region, number } = self;
        let at = jiff::Timestamp::from_second(*time).expect("times are near");
        serde_json::json!({
            "eventID": time.to_string(), "eventTime": at.to_string(), "n": rule, "u": user, "w": region, "v": number,
        })
        .to_string()
    }
}

fn ours(links: &[Link], events: &[Event]) -> Answer {
    let text = documents(links, 0);
    let compiled = compile(&[RuleFile { name: "rules.yml".into(), text: text.clone(), named: true }]);
    assert!(compiled.problems.is_empty(), "{text}{:#?}", compiled.problems);
    let records: Vec<Vec<u8>> = events.iter().map(|event| event.record().into_bytes()).collect();
    let stream = Stream::of(&Detections::new(compiled.rules), &records).expect("every record can be read");
    let outermost = links.len() - 1;
    let is_told = format!("c{outermost}");
    let mut answer = Answer::new();
    for finding in stream.findings.iter().filter(|finding| *finding.detection == *is_told) {
        let values = finding.values.iter().map(str::to_owned).collect();
        let found = (finding.time.as_second(), links[outermost].count(finding.count));
        let told = answer.entry((values, finding.period.as_second())).or_insert(found);
        told.0 = found.0;
    }
    answer
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts are small")]
fn theirs(links: &[Link], events: &[Event]) -> Answer {
    // To them the beginning of a window belongs to it; times are whole seconds.
    let collection = rsigma_parser::parse_sigma_yaml(&documents(links, 1)).expect("documents are YAML");
    assert!(collection.errors.is_empty(), "{:#?}", collection.errors);
    let mut engine = CorrelationEngine::new(CorrelationConfig::default());
    engine.add_collection(&collection).expect("the other engine takes it");
    let outermost = links.len() - 1;
    let length = links[outermost].timespan.max(3600);
    let mut answer = Answer::new();
    for event in events {
        let record = serde_json::from_str(&event.record()).expect("records are JSON");
        let results = engine.process_event_at(&JsonEvent::borrow(&record), event.time);
        let fired = results.iter().filter(|result| result.header.rule_title == format!("c{outermost}"));
        // Of several firings at one event, the last one has seen all of it.
        if let Some(fired) = fired.filter_map(|result| result.as_correlation()).next_back() {
            let values = fired.group_key.iter().map(|(_, value)| value.clone()).collect();
            let start = event.time - event.time.rem_euclid(length);
            answer
                .entry((values, start))
                .or_insert((event.time, links[outermost].count(fired.aggregated_value as u64)));
        }
    }
    answer
}

fn chain() -> impl Strategy<Value = Vec<Link>> {
    let spans = || select(vec![5, 10, 60, 3600, 7200]);
    let operators = || select(vec!["gte", "gte", "gte", "gt", "lt", "lte", "eq", "neq"]);
    let kinds = ["event_count", "value_count", "value_sum", "temporal", "temporal_ordered"];
    let members = select(vec![vec!["a"], vec!["a", "b"], vec!["b", "a"]]);
    let groups = select(vec![vec![], vec!["u"], vec!["u", "w"]]);
    let inner = (select(kinds.to_vec()), members, groups, spans(), operators(), 0_usize..4);
    let middle = select(vec![
        ("event_count", vec!["c0"]),
        ("event_count", vec!["c0", "c"]),
        ("temporal", vec!["c0", "c"]),
        ("temporal_ordered", vec!["c0", "c"]),
        ("temporal_ordered", vec!["c", "c0"]),
    ]);
    let middle = (middle, 0_usize..3, spans(), operators(), 0_usize..4);
    let outer = (select(vec![vec!["c1"], vec!["c1", "c0"]]), 0_usize..3, spans(), 1_usize..4);
    (inner, middle, weighted(0.5, outer)).prop_map(|(inner, middle, outer)| {
        let (kind, members, group_by, timespan, operator, limit) = inner;
        let mut links = vec![Link { kind, members, group_by, timespan, operator, limit }];
        let ((kind, members), shorter, timespan, operator, limit) = middle;
        let group_by = fewer(&links[0], shorter);
        links.push(Link { kind, members, group_by, timespan, operator, limit });
        if let Some((members, shorter, timespan, limit)) = outer {
            let group_by = fewer(&links[1], shorter);
            links.push(Link { kind: "event_count", members, group_by, timespan, operator: "gte", limit });
        }
        links
    })
}

/// The fields by which a correlation groups, but for the last ones.
fn fewer(inner: &Link, by: usize) -> Vec<&'static str> {
    inner.group_by[..inner.group_by.len().saturating_sub(by)].to_vec()
}

fn stream() -> impl Strategy<Value = Vec<Event>> {
    let steps = select(vec![1, 1, 1, 2, 3, 4, 5, 9, 10, 60, 3600]);
    let event = (
        steps,
        select(vec!["a", "a", "a", "b", "b", "c"]),
        select(vec!["p", "q"]),
        select(vec!["r", "s"]),
        0_u8..4,
    );
    vec(event, 1..32).prop_map(|parts| {
        // Shortly before an hour begins.
        let mut time = 1_700_002_800 - 20;
        let event = |(step, rule, user, region, number)| {
            time += step;
            Event { time, rule, user, region, number }
        };
        parts.into_iter().map(event).collect()
    })
}

#[test]
fn generated_chains_find_the_same() {
    let found: RefCell<BTreeMap<(usize, &str), usize>> = RefCell::default();
    let result = TestRunner::new(config(1000)).run(&(chain(), stream()), |(links, events)| {
        let (told, said) = (ours(&links, &events), theirs(&links, &events));
        if told != said {
            let records: String = events.iter().map(|event| event.record() + "\n").collect();
            let text = format!("{}\n{records}\nwe: {told:?}\nthey: {said:?}", documents(&links, 0));
            return Err(TestCaseError::fail(text));
        }
        *found.borrow_mut().entry((links.len(), links[1].kind)).or_default() += told.len();
        Ok(())
    });
    if let Err(TestError::Fail(reason, _) | TestError::Abort(reason)) = result {
        panic!("{}", reason.message());
    }
    let found = found.into_inner();
    println_tally(&found);
    assert!(found.len() == 6 && found.values().all(|findings| *findings > 20), "{found:?}");
}
