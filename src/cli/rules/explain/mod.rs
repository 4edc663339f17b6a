//! `trailhound rules explain`

mod many;
mod told;

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use super::{Exit, ExplainArgs, complain, complain_of, open, plain, print};
use crate::detect::Detections;
use crate::event::Parser;
use crate::fetch::Body;
use crate::review::explanation;
use crate::review::records::{self, RecordsError};
use crate::rulebook::{Pack, Rulebook};
use crate::sigma::{Rule, Tuning};
use told::told;

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
    #[error(
        "no record of the object raises the alert `{0}`, and neither do all of them together; is its rule among the detections? An alert about events of several objects names in `events` the rule that each of them hit: explain that rule on that event"
    )]
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
    #[error("the rules are broken")]
    Broken,
}

fn answer(args: &ExplainArgs) -> Result<String, Problem> {
    let file = Path::new(&args.rule);
    if file.is_file() {
        let book = open(&[file.to_owned()], args.values.as_deref());
        if complain_of(&book) {
            return Err(Problem::Broken);
        }
        return explain_file(&book.rules, args);
    }
    // A broken rule elsewhere does not keep this one from being explained.
    let book = Rulebook::tuned(&args.detections, Pack::Runs, args.values.as_deref(), &Tuning::off_too());
    complain_of(&book);
    let detections = Detections::new(book.rules);
    match detections.rule(&args.rule) {
        Some(rule) => explain_rules(&[rule], &detections, &Records::chosen(args)?, args),
        None if is_alert_id(&args.rule) => explain_alert(&detections, args),
        None => Err(Problem::NoRule(args.rule.clone())),
    }
}

fn is_alert_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Explains every rule of a file; those that a correlation of the file sees, with it.
fn explain_file(rules: &[Rule], args: &ExplainArgs) -> Result<String, Problem> {
    let ids: Vec<String> = rules.iter().map(|rule| rule.id.clone()).collect();
    let correlates = rules.iter().any(|rule| rule.condition().is_none());
    // Members may stand elsewhere.
    let elsewhere = correlates.then(|| {
        Rulebook::tuned(&args.detections, Pack::Runs, args.values.as_deref(), &Tuning::off_too()).rules
    });
    let others = elsewhere.into_iter().flatten().filter(|rule| !ids.contains(&rule.id));
    let detections = Detections::new(rules.iter().cloned().chain(others).collect());
    let outer = rules.iter().filter(|rule| !is_member(rule, rules));
    let outer: Vec<&Rule> = outer.filter_map(|rule| detections.rule(&rule.id)).collect();
    explain_rules(&outer, &detections, &Records::chosen(args)?, args)
}

/// Whether one of the rules is a correlation that sees this one, also through others.
fn is_member(rule: &Rule, rules: &[Rule]) -> bool {
    let sees = |outer: &Rule| explanation::members(outer, rules).iter().any(|member| member.id == rule.id);
    rules.iter().any(sees)
}

/// Explains rules over single events on one record, and correlations on all that are chosen.
fn explain_rules(
    rules: &[&Rule],
    detections: &Detections,
    records: &Records,
    args: &ExplainArgs,
) -> Result<String, Problem> {
    let mut text = String::new();
    for rule in rules {
        text.push_str(&match rule.condition() {
            Some(condition) => {
                let index = records.only()?;
                told(rule, condition, records.of(index), args.json)?
            }
            None => many::correlation(rule, detections, records, args.json)?,
        });
    }
    Ok(text)
}

/// Finds the record of an object that raises an alert, or all that do together, and explains its rule.
fn explain_alert(detections: &Detections, args: &ExplainArgs) -> Result<String, Problem> {
    let records = Records::all(Path::new(&args.event))?;
    let id = args.rule.to_ascii_lowercase();
    let mut parser = Parser::default();
    for index in records.indices() {
        let record = records.of(index);
        let found =
            parser.parse(record.bytes, |event| explanation::alerting(detections.rules(), &event, &id));
        if let Ok(Some(rule)) = found
            && let Some(condition) = rule.condition()
        {
            return told(rule, condition, record, args.json);
        }
    }
    many::alert(&id, detections, &records, args.json)?.ok_or_else(|| Problem::NoAlert(args.rule.clone()))
}

/// The records of a file, and which of them was asked for.
struct Records {
    path: String,
    list: Vec<Vec<u8>>,
    /// None asks for all.
    wanted: Option<usize>,
}

/// One of the records.
#[derive(Clone, Copy)]
struct Record<'r> {
    path: &'r str,
    index: usize,
    bytes: &'r [u8],
}

impl Records {
    fn all(path: &Path) -> Result<Self, Problem> {
        let list = if path == Path::new("-") {
            records::of_body(Body::Stream(Box::new(io::stdin())))
        } else {
            records::of_file(path)
        };
        let path = path.display().to_string();
        match list {
            Ok(list) => Ok(Self { path, list, wanted: None }),
            Err(error) => Err(Problem::Event { event: path, error }),
        }
    }

    fn chosen(args: &ExplainArgs) -> Result<Self, Problem> {
        let (path, wanted) = split(&args.event);
        let records = Self::all(&path)?;
        let last = records.list.len() - 1;
        match wanted {
            Some(index) if index > last => Err(Problem::NoRecord { event: records.path, index, last }),
            wanted => Ok(Self { wanted, ..records }),
        }
    }

    fn of(&self, index: usize) -> Record<'_> {
        Record { path: &self.path, index, bytes: &self.list[index] }
    }

    /// The index of the only one.
    fn only(&self) -> Result<usize, Problem> {
        let (event, count) = (&self.path, self.list.len());
        match self.wanted {
            Some(index) => Ok(index),
            None if count == 1 => Ok(0),
            None => Err(Problem::Several { event: event.clone(), count }),
        }
    }

    /// The indices of all that are asked for.
    fn indices(&self) -> std::ops::Range<usize> {
        self.wanted.map_or(0..self.list.len(), |index| index..index + 1)
    }
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
