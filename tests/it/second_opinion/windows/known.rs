//! The known differences over streams: each puts the question into words by which the other engine means what we do.

use std::collections::BTreeSet;

use super::question::{Correlation, Event, Question, text};
use crate::second_opinion::json::Json;

/// A known difference.
pub struct Known {
    /// As the table in the docs of the folder calls it.
    pub name: &'static str,
    /// Puts the question into other words where it is of this class.
    pub reword: fn(&mut Question),
    /// A question at which it is needed.
    pub example: fn() -> Question,
}

macro_rules! known {
    ($($name:literal, $reword:path, $example:expr;)*) => {
        &[$(Known { name: $name, reword: $reword, example: || $example },)*]
    };
}

/// All of them, in the order in which they are applied.
pub const KNOWN: &[Known] = known![
    "all of them", all_of_them, all_occur(&[(1, 0, "{}")]);
    "an event twice", events_twice, counted("gte", 2, &[(1, 0, "{}"), (1, 0, "{}")]);
    "text of group and value", text_of_values,
        grouped(&[(1, 0, r#"{"u":1.50}"#), (2, 3, r#"{"u":1.50}"#)]);
    "no group", no_group, grouped(&[(1, 0, "{}"), (2, 3, "{}")]);
    "nothing to count", no_value, summed("value_sum", "lt", 10, &[(1, 0, "{}")]);
    "tenths", tenths, summed("value_sum", "gte", 10, &[(1, 0, r#"{"v":0.2}"#), (2, 1, r#"{"v":0.7}"#),
        (3, 2, r#"{"v":0.1}"#)]);
    "below zero", below_zero, summed("value_sum", "gt", -20, &[(1, 0, r#"{"v":0}"#)]);
    "nearest rank", nearest_rank, summed("value_median", "lt", 20, &[(1, 0, r#"{"v":1}"#), (2, 0, r#"{"v":4}"#)]);
    "the beginning of a window", beginning, counted("gte", 3, &[(1, 0, "{}"), (2, 5, "{}"), (3, 10, "{}")]);
    "one moment", moment, counted("eq", 1, &[(1, 0, "{}"), (2, 0, "{}")]);
];

/// The question in words of the other engine, but for the known difference of this number.
pub fn reworded(question: &Question, without: Option<usize>) -> Question {
    let mut question = question.clone();
    let known = KNOWN.iter().enumerate().filter(|(number, _)| Some(*number) != without);
    known.for_each(|(_, known)| (known.reword)(&mut question));
    question
}

fn all_of_them(question: &mut Question) {
    let Correlation { kind, members, thresholds, condition, .. } = &mut question.correlation;
    if *kind == "temporal" && condition.is_none() {
        *thresholds = vec![("gte", 10 * i64::try_from(members.len()).expect("there are few"))];
    }
}

fn events_twice(question: &mut Question) {
    let mut told = BTreeSet::new();
    let Question { events, hits, .. } = question;
    hits.retain(|(event, member)| told.insert((events[*event].id, *member)));
}

fn text_of_values(question: &mut Question) {
    let of_numbers = question.correlation.is_of_numbers().then_some(question.correlation.field).flatten();
    for (name, value) in question.events.iter_mut().flat_map(|event| &mut event.fields) {
        *value = match text(value) {
            Some(text) if of_numbers == Some(*name) => Json::Text(text.trim().to_owned()),
            Some(text) => Json::Text(text),
            None => Json::Null,
        };
    }
}

fn no_group(question: &mut Question) {
    let asked = question.clone();
    question.hits.retain(|hit| asked.group(*hit).iter().all(Option::is_some));
}

fn no_value(question: &mut Question) {
    let asked = question.clone();
    let is_number = |text: String| text.trim().parse::<f64>().is_ok_and(f64::is_finite);
    question.hits.retain(|hit| match asked.correlation.field {
        None => true,
        Some(_) if asked.correlation.is_of_numbers() => asked.value(*hit).is_some_and(is_number),
        Some(_) => asked.value(*hit).is_some(),
    });
}

/// Changes what is added up, and the thresholds, which are tenths already.
fn change(question: &mut Question, unit: i32) {
    let Some(field) = question.correlation.field else { return };
    for (name, value) in question.events.iter_mut().flat_map(|event| &mut event.fields) {
        if let Some(number) = text(value).filter(|_| *name == field).and_then(|text| text.parse::<f64>().ok())
        {
            *value = Json::Number(format!("{:.0}", number * f64::from(unit)));
        }
    }
    question.correlation.thresholds.iter_mut().for_each(|(_, tenths)| *tenths *= i64::from(unit));
    question.reading.unit *= unit;
}

fn tenths(question: &mut Question) {
    if question.correlation.is_of_numbers() {
        change(question, 10);
    }
}

fn below_zero(question: &mut Question) {
    let Correlation { thresholds, .. } = &question.correlation;
    if thresholds.iter().any(|(_, tenths)| *tenths < 0) {
        change(question, -1);
        for (operator, _) in &mut question.correlation.thresholds {
            *operator = match *operator {
                "lt" => "gt",
                "lte" => "gte",
                "gt" => "lt",
                "gte" => "lte",
                same => same,
            };
        }
    }
}

fn nearest_rank(question: &mut Question) {
    question.reading.by_median = ["value_percentile", "value_median"].contains(&question.correlation.kind);
}

fn beginning(question: &mut Question) {
    // Times are whole seconds. Windows that are asked about one by one are ours already.
    question.correlation.timespan -= i64::from(!question.reading.by_median);
}

fn moment(question: &mut Question) {
    question.reading.by_moment = true;
}

fn events(events: &[(usize, i64, &str)]) -> Vec<Event> {
    let event = |(id, time, fields): &(usize, i64, &str)| {
        let Json::Object(fields) = Json::read(fields) else { unreachable!("fields are an object") };
        let fields = fields.into_iter().map(|(name, value)| (if name == "u" { "u" } else { "v" }, value));
        Event { id: *id, time: *time, fields: fields.chain([("n", Json::Text("x".to_owned()))]).collect() }
    };
    events.iter().map(event).collect()
}

fn counted(operator: &'static str, count: i64, stream: &[(usize, i64, &str)]) -> Question {
    let thresholds = vec![(operator, count * 10)];
    let correlation = Correlation {
        kind: "event_count",
        members: vec![0],
        timespan: 10,
        thresholds,
        ..Correlation::default()
    };
    Question::new(correlation, events(stream))
}

fn all_occur(stream: &[(usize, i64, &str)]) -> Question {
    let Question { correlation, events, .. } = counted("gte", 2, stream);
    let thresholds = Vec::new();
    Question::new(Correlation { kind: "temporal", members: vec![0, 1], thresholds, ..correlation }, events)
}

fn grouped(stream: &[(usize, i64, &str)]) -> Question {
    let Question { correlation, events, .. } = counted("gte", 2, stream);
    Question::new(Correlation { group_by: vec!["u"], ..correlation }, events)
}

fn summed(
    kind: &'static str,
    operator: &'static str,
    tenths: i64,
    stream: &[(usize, i64, &str)],
) -> Question {
    let Question { correlation, events, .. } = counted(operator, 0, stream);
    let thresholds = vec![(operator, tenths)];
    Question::new(Correlation { kind, field: Some("v"), thresholds, ..correlation }, events)
}
