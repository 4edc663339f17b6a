//! One rule on one record, in words and as JSON.

use serde_json::{Value, json};

use super::{Problem, Record, plain};
use crate::event::{Event, Parser};
use crate::review::explanation::{self, word};
use crate::review::records::RecordsError;
use crate::sigma::{Condition, Rule};

/// Why the rule matches the record or not.
pub(super) fn told(
    rule: &Rule,
    condition: &Condition,
    record: Record<'_>,
    json: bool,
) -> Result<String, Problem> {
    if json {
        as_json(rule, condition, record).map(|json| format!("{json:#}\n"))
    } else {
        as_text(rule, condition, record)
    }
}

/// As text for a terminal.
pub(super) fn as_text(rule: &Rule, condition: &Condition, record: Record<'_>) -> Result<String, Problem> {
    look(record, |event| {
        let trace = explanation::explain(condition, &event);
        let text = |key| event.text(&[key]).unwrap_or_default();
        let head = format!(
            "{}\n{} of {} at {} ({}#{})\n{}\n\n",
            title(rule),
            text("eventName"),
            text("eventSource"),
            text("eventTime"),
            record.path,
            record.index,
            word(trace.verdict),
        );
        lines(&format!("{head}{}", explanation::tree(&trace)))
    })
}

/// As one JSON value.
pub(super) fn as_json(rule: &Rule, condition: &Condition, record: Record<'_>) -> Result<Value, Problem> {
    look(record, |event| {
        let trace = explanation::explain(condition, &event);
        let text = |key| event.text(&[key]).unwrap_or_default().into_owned();
        let place = format!("{}#{}", record.path, record.index);
        json!({
            "rule": rule_json(rule),
            "event": { "place": place, "id": text("eventID"), "name": text("eventName"), "time": text("eventTime") },
            "verdict": word(trace.verdict), "condition": explanation::json(&trace),
        })
    })
}

/// What a rule is called.
pub(super) fn title(rule: &Rule) -> String {
    format!("{} ({}, {})", rule.title, rule.level, rule.place)
}

/// The same as JSON.
pub(super) fn rule_json(rule: &Rule) -> Value {
    json!({ "id": rule.id, "title": rule.title, "level": rule.level.as_str(), "place": rule.place.to_string() })
}

/// Lines without anything that a terminal would obey.
pub(super) fn lines(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", plain(line))).collect()
}

/// Parses a record and looks at it.
pub(super) fn look<T>(record: Record<'_>, look: impl FnOnce(Event<'_>) -> T) -> Result<T, Problem> {
    let undecodable = |error| Problem::Event {
        event: record.path.to_owned(),
        error: RecordsError::Undecodable { index: record.index, error },
    };
    Parser::default().parse(record.bytes, look).map_err(undecodable)
}
