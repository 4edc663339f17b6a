//! The two engines, asked about a stream.

use std::collections::BTreeMap;

use rsigma_eval::event::JsonEvent;
use rsigma_eval::{CorrelationConfig, CorrelationEngine, EvaluationResult};
use trailhound::detect::Detections;
use trailhound::review::stream::Stream;
use trailhound::sigma::{RuleFile, compile};

use super::question::{Correlation, Event, Question};
use crate::second_opinion::json::Json;

/// What was found, by the group's values and the beginning of the period.
pub type Answer = BTreeMap<(Vec<String>, i64), Found>;

/// What was found for a group in a period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The time of the first firing point.
    time: i64,
    /// What was measured at it, in thousandths.
    measured: Option<i64>,
    /// How many hits the last revision counts.
    count: u64,
}

/// What we say.
///
/// # Panics
/// We refuse the correlation.
pub fn ours(question: &Question) -> Answer {
    let text = question.correlation.documents().join("---\n");
    let compiled = compile(&[RuleFile { name: "rules.yml".into(), text: text.clone(), named: true }]);
    assert!(compiled.problems.is_empty(), "{text}{:#?}", compiled.problems);
    let records: Vec<Vec<u8>> = question.events.iter().map(|event| event.record().into_bytes()).collect();
    let stream = Stream::of(&Detections::new(compiled.rules), &records).expect("every record can be read");
    let mut answer = Answer::new();
    for finding in stream.findings {
        let values = finding.values.iter().map(str::to_owned).collect();
        let (time, measured) = (finding.time.as_second(), finding.measured.map(thousandths));
        let found = Found { time, measured, count: finding.count };
        let told = answer.entry((values, finding.period.as_second())).or_insert(found);
        told.count = finding.count;
    }
    answer
}

/// What they say: the firing point is the first one of a period.
pub fn theirs(question: &Question) -> Answer {
    let points = if question.reading.by_median { medians(question) } else { firing_points(question) };
    let length = question.reading.period;
    let mut answer = Answer::new();
    // By time within a group.
    for ((values, time), (group, value)) in points {
        let value = value / f64::from(question.reading.unit);
        let measured = question.correlation.measures().then(|| thousandths(value));
        let start = time - time.rem_euclid(length);
        let count = || count(question, &values, time, start + length);
        answer.entry((group, start)).or_insert_with(|| Found { time, measured, count: count() });
    }
    answer
}

/// How many hits a group has from the beginning of the window at this time to the end of a period: what they count
/// where there is only one window, which has room for all of them.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts are small")]
fn count(question: &Question, group: &[Option<String>], time: i64, end: i64) -> u64 {
    let begin = time - question.correlation.timespan + i64::from(question.reading.by_median);
    let kind = "event_count";
    let thresholds = vec![("gte", 10)];
    let (field, percentile, condition) = (None, None, None);
    let asked = question.correlation.clone();
    let asked =
        Correlation { kind, thresholds, field, percentile, condition, timespan: end - begin, ..asked };
    let mut engine = engine(&asked);
    let is_counted = |hit: &&(usize, usize)| {
        (begin..end).contains(&question.time(**hit)) && question.group(**hit) == group
    };
    let counted = question.hits.iter().filter(is_counted);
    let points = counted.map(|hit| told(&mut engine, &question.events[hit.0], asked.members[hit.1]));
    points.last().flatten().map_or(0, |(_, count)| count as u64)
}

/// By our values of the group and the time: their values of the group, and what was measured.
type Points = BTreeMap<(Vec<Option<String>>, i64), Point>;
type Point = (Vec<String>, f64);

fn firing_points(question: &Question) -> Points {
    let mut engine = engine(&question.correlation);
    let mut points = Points::new();
    for &hit in &question.hits {
        let at = (question.group(hit), question.time(hit));
        let rule = question.correlation.members[hit.1];
        match told(&mut engine, &question.events[hit.0], rule) {
            Some(point) => {
                points.insert(at, point);
            }
            None if question.reading.by_moment => {
                points.remove(&at);
            }
            None => {}
        }
    }
    points
}

/// The number of the nearest rank is the median of the window's numbers between as many others as it takes, each
/// less or greater than all of them.
fn medians(question: &Question) -> Points {
    let correlation = &question.correlation;
    let field = correlation.field.expect("numbers have a field");
    let asked = Correlation { kind: "value_median", percentile: None, ..correlation.clone() };
    let mut points = Points::new();
    for &last in &question.hits {
        let (group, end) = (question.group(last), question.time(last));
        let in_window = |hit: &&(usize, usize)| {
            let time = question.time(**hit);
            time <= end && time > end - correlation.timespan && question.group(**hit) == group
        };
        let window: Vec<_> = question.hits.iter().filter(in_window).collect();
        let rank = (window.len() * correlation.percentile.unwrap_or(50)).div_ceil(100).max(1);
        let rank = if question.reading.unit < 0 { window.len() + 1 - rank } else { rank };
        let padding = |number: &str, count: usize| {
            let fields = question.events[last.0].fields.iter().cloned();
            let fields = fields.filter(|(name, _)| *name != field);
            let fields = fields.chain([(field, Json::Number(number.to_owned()))]).collect();
            vec![(Event { fields, ..question.events[last.0].clone() }, last.1); count]
        };
        let mut events: Vec<(Event, usize)> = padding("-1000000", window.len() - rank);
        events.extend(padding("1000000", rank - 1));
        let of_window = window.iter().map(|hit| (question.events[hit.0].clone(), hit.1));
        events.extend(of_window.map(|(event, member)| (Event { time: end, ..event }, member)));
        let mut engine = engine(&asked);
        let point =
            events.iter().fold(None, |_, (event, member)| told(&mut engine, event, asked.members[*member]));
        if let Some(point) = point {
            points.insert((group, end), point);
        }
    }
    points
}

fn engine(correlation: &Correlation) -> CorrelationEngine {
    let mut engine = CorrelationEngine::new(CorrelationConfig::default());
    let text = correlation.documents().join("---\n");
    let collection = rsigma_parser::parse_sigma_yaml(&text).expect("documents are YAML");
    assert!(collection.errors.is_empty(), "{text}{:#?}", collection.errors);
    engine.add_collection(&collection).expect("the other engine takes it");
    engine
}

/// What is told when the correlation sees this hit, and fires.
fn told(engine: &mut CorrelationEngine, event: &Event, rule: usize) -> Option<Point> {
    let record: serde_json::Value = serde_json::from_str(&event.record()).expect("records are JSON");
    let record = JsonEvent::borrow(&record);
    let hits = engine.evaluate(&record).into_iter();
    let hits = hits.filter(|hit| hit.header.rule_title == format!("r{rule}")).collect();
    let results = engine.process_with_detections(&record, hits, event.time);
    let results = results.iter().filter_map(EvaluationResult::as_correlation);
    let values = |group: &[(String, String)]| group.iter().map(|(_, value)| value.clone()).collect();
    results.map(|found| (values(&found.group_key), found.aggregated_value)).next_back()
}

#[expect(clippy::cast_possible_truncation, reason = "what is measured is small")]
fn thousandths(measured: f64) -> i64 {
    (measured * 1000.0).round() as i64
}

impl Correlation {
    fn measures(&self) -> bool {
        !self.kind.starts_with("temporal")
    }
}
