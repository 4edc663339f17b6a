//! `trailhound rules explain`

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{Exit, ExplainArgs, complain, complain_of, open, plain, print};
use crate::event::{Event, Parser};
use crate::fetch::Body;
use crate::review::explanation::{self, word};
use crate::review::records::{self, RecordsError};
use crate::rulebook::{Pack, Rulebook};
use crate::sigma::Rule;

/// Explains why a rule matches an event or not.
pub(super) fn explain(args: &ExplainArgs) -> Exit {
    match answer(args) {
        Ok(text) => print(&text).err().unwrap_or(Exit::OK),
        Err(problem) => {
            complain(&plain(&problem.to_string()));
            Exit::USAGE
        }
    }
}

/// Why nothing can be explained.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("no rule has the id `{0}`, and no file is called so")]
    NoRule(String),
    #[error("no record of the object raises the alert `{0}`; is its rule among the detections?")]
    NoAlert(String),
    #[error("{event}: {error}")]
    Event {
        event: String,
        #[source]
        error: RecordsError,
    },
    #[error("{event}: holds {count} records; choose one with {event}#INDEX, from 0 to {last}", last = count - 1)]
    Several { event: String, count: usize },
    #[error("{event}: there is no record {index}; the last one is {last}")]
    NoRecord { event: String, index: usize, last: usize },
    #[error("`{0}` has no condition on single events")]
    NoCondition(String),
    #[error("the rules are broken")]
    Broken,
}

fn answer(args: &ExplainArgs) -> Result<String, Problem> {
    let file = Path::new(&args.rule);
    let rules = if file.is_file() {
        let book = open(&[file.to_owned()], args.values.as_deref());
        if complain_of(&book) {
            return Err(Problem::Broken);
        }
        return explain_event(&book.rules.iter().collect::<Vec<_>>(), args);
    } else {
        // A broken rule elsewhere does not keep this one from being explained.
        let book = Rulebook::open(&args.detections, Pack::Runs, args.values.as_deref());
        complain_of(&book);
        book.rules
    };
    match rules.iter().find(|rule| rule.id == args.rule) {
        Some(rule) => explain_event(&[rule], args),
        None if is_alert_id(&args.rule) => explain_alert(&rules, args),
        None => Err(Problem::NoRule(args.rule.clone())),
    }
}

fn is_alert_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Explains every rule of a list on the event.
fn explain_event(rules: &[&Rule], args: &ExplainArgs) -> Result<String, Problem> {
    let (path, wanted) = split(&args.event);
    let records = read(&path)?;
    let event = path.display().to_string();
    let index = match wanted {
        None if records.len() == 1 => 0,
        None => return Err(Problem::Several { event, count: records.len() }),
        Some(index) => index,
    };
    let last = records.len() - 1;
    let record = records.get(index).ok_or(Problem::NoRecord { event: event.clone(), index, last })?;
    let mut text = String::new();
    for rule in rules {
        text.push_str(&told(rule, record, &format!("{event}#{index}"), args.json)?);
    }
    Ok(text)
}

/// Finds the record of an object that raises an alert, and explains its rule.
fn explain_alert(rules: &[Rule], args: &ExplainArgs) -> Result<String, Problem> {
    let path = PathBuf::from(&args.event);
    let id = args.rule.to_ascii_lowercase();
    let mut parser = Parser::default();
    for (index, record) in read(&path)?.iter().enumerate() {
        let found = parser.parse(record, |event| explanation::alerting(rules, &event, &id));
        if let Ok(Some(rule)) = found {
            return told(rule, record, &format!("{}#{index}", path.display()), args.json);
        }
    }
    Err(Problem::NoAlert(args.rule.clone()))
}

/// A file and the index behind it, unless the file is called so.
fn split(event: &OsStr) -> (PathBuf, Option<usize>) {
    let whole = PathBuf::from(event);
    let parts = event.to_str().filter(|_| !whole.exists()).and_then(|text| text.rsplit_once('#'));
    match parts.and_then(|(path, index)| Some((path, index.parse().ok()?))) {
        Some((path, index)) => (path.into(), Some(index)),
        None => (whole, None),
    }
}

fn read(path: &Path) -> Result<Vec<Vec<u8>>, Problem> {
    let records = if path == Path::new("-") {
        records::of_body(Body::Stream(Box::new(io::stdin())))
    } else {
        records::of_file(path)
    };
    records.map_err(|error| Problem::Event { event: path.display().to_string(), error })
}

fn told(rule: &Rule, record: &[u8], place: &str, json: bool) -> Result<String, Problem> {
    let condition = rule.condition().ok_or_else(|| Problem::NoCondition(rule.id.clone()))?;
    let explain = |event: Event<'_>| {
        let trace = explanation::explain(condition, &event);
        let text = |key| event.text(&[key]).unwrap_or_default().into_owned();
        if json {
            let answer = json!({
                "rule": { "id": rule.id, "title": rule.title, "level": rule.level.as_str(), "place": rule.place.to_string() },
                "event": { "place": place, "id": text("eventID"), "name": text("eventName"), "time": text("eventTime") },
                "verdict": word(trace.verdict), "condition": explanation::json(&trace),
            });
            return format!("{answer:#}\n");
        }
        let head = format!(
            "{} ({}, {})\n{} of {} at {} ({place})\n{}\n\n",
            rule.title,
            rule.level,
            rule.place,
            text("eventName"),
            text("eventSource"),
            text("eventTime"),
            word(trace.verdict),
        );
        format!("{head}{}", explanation::tree(&trace))
            .lines()
            .map(|line| format!("{}\n", plain(line)))
            .collect()
    };
    let undecodable = |error| Problem::Event {
        event: place.to_owned(),
        error: RecordsError::Undecodable { index: 0, error },
    };
    Parser::default().parse(record, explain).map_err(undecodable)
}
