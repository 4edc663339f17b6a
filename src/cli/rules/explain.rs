//! `trailhound rules explain`

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{Exit, ExplainArgs, complain, complain_of, open, plain, print, say};
use crate::alert::Alert;
use crate::detect::Detections;
use crate::detect::windows::EventHash;
use crate::event::{Event, Parser};
use crate::fetch::Body;
use crate::review::explanation::{self, word};
use crate::review::records::{self, RecordsError};
use crate::review::stream::Stream;
use crate::rulebook::{Pack, Rulebook};
use crate::sigma::{Condition, Rule};

/// Explains why a rule matches an event or not.
pub(super) fn explain(args: &ExplainArgs) -> Exit {
    match answer(args) {
        Ok(text) => print(&text).err().unwrap_or(Exit::OK),
        Err(problem) => {
            complain(&plain(&problem.to_string()));
            problem.instead().iter().for_each(|command| say(&plain(&format!("  {command}"))));
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
        "no record of the object raises the alert `{0}` by itself; is its rule among the detections? An alert about more than one event names in `events` the rule that each of them hit: explain that rule on that event"
    )]
    NoAlert(String),
    #[error(
        "the alert `{id}` of `{title}` is about more than one event; what can be explained is why each is a hit:"
    )]
    AlertOfMany { id: String, title: String, instead: Vec<String> },
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
    #[error(
        "`{title}` is a correlation: it sees hits of other rules, no events; what can be explained are its members:"
    )]
    Correlation { title: String, instead: Vec<String> },
    #[error("the rules are broken")]
    Broken,
}

impl Problem {
    /// The commands that explain something related.
    fn instead(&self) -> &[String] {
        match self {
            Problem::AlertOfMany { instead, .. } | Problem::Correlation { instead, .. } => instead,
            _ => &[],
        }
    }
}

fn answer(args: &ExplainArgs) -> Result<String, Problem> {
    let file = Path::new(&args.rule);
    let rules = if file.is_file() {
        let book = open(&[file.to_owned()], args.values.as_deref());
        if complain_of(&book) {
            return Err(Problem::Broken);
        }
        return explain_file(&book.rules, args);
    } else {
        // A broken rule elsewhere does not keep this one from being explained.
        let book = Rulebook::open(&args.detections, Pack::Runs, args.values.as_deref());
        complain_of(&book);
        book.rules
    };
    match rules.iter().find(|rule| rule.id == args.rule) {
        Some(rule) => match rule.condition() {
            Some(condition) => explain_event(&[(rule, condition)], args),
            None => Err(correlation(rule, &rules, args)),
        },
        None if is_alert_id(&args.rule) => explain_alert(rules, args),
        None => Err(Problem::NoRule(args.rule.clone())),
    }
}

fn is_alert_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Explains every rule of a file on the event, as far as it sees events.
fn explain_file(rules: &[Rule], args: &ExplainArgs) -> Result<String, Problem> {
    let single: Vec<_> = rules.iter().filter_map(|rule| Some((rule, rule.condition()?))).collect();
    for rule in rules.iter().filter(|rule| rule.condition().is_none()) {
        if single.is_empty() {
            // Its members stand elsewhere.
            let book = Rulebook::open(&args.detections, Pack::Runs, args.values.as_deref());
            return Err(correlation(rule, &book.rules, args));
        }
        let title = &rule.title;
        say(&plain(&format!("note: `{title}` is a correlation: it sees hits of other rules, no events")));
    }
    explain_event(&single, args)
}

/// That a correlation cannot be explained, and what can.
fn correlation(rule: &Rule, rules: &[Rule], args: &ExplainArgs) -> Problem {
    let event = args.event.to_string_lossy();
    let members = explanation::event_members(rule, rules);
    let instead = members.iter().map(|member| command(member, &event, args)).collect();
    Problem::Correlation { title: rule.title.clone(), instead }
}

/// The command that explains a rule on an event, found where this one was.
fn command(rule: &Rule, event: &str, args: &ExplainArgs) -> String {
    let mut words = vec!["trailhound rules explain".to_owned(), quoted(&rule.id), quoted(event)];
    let detections = args.detections.iter().map(|path| ("--detections", path));
    for (flag, path) in detections.chain(args.values.iter().map(|path| ("--values", path))) {
        words.push(format!("{flag} {}", quoted(&path.to_string_lossy())));
    }
    format!("{}    # {}", words.join(" "), rule.title)
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./#:@%+=".contains(c);
    if word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// Explains every rule of a list on the event.
fn explain_event(rules: &[(&Rule, &Condition)], args: &ExplainArgs) -> Result<String, Problem> {
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
    for (rule, condition) in rules {
        text.push_str(&told(rule, condition, record, &format!("{event}#{index}"), args.json)?);
    }
    Ok(text)
}

/// Finds the record of an object that raises an alert, and explains its rule.
fn explain_alert(rules: Vec<Rule>, args: &ExplainArgs) -> Result<String, Problem> {
    let path = PathBuf::from(&args.event);
    let id = args.rule.to_ascii_lowercase();
    let records = read(&path)?;
    let mut parser = Parser::default();
    for (index, record) in records.iter().enumerate() {
        let found = parser.parse(record, |event| explanation::alerting(&rules, &event, &id));
        if let Ok(Some(rule)) = found
            && let Some(condition) = rule.condition()
        {
            return told(rule, condition, record, &format!("{}#{index}", path.display()), args.json);
        }
    }
    Err(about_many(&Detections::new(rules), &records, args)
        .unwrap_or_else(|| Problem::NoAlert(args.rule.clone())))
}

/// That the records raise an alert only together, and what can be explained of them.
fn about_many(detections: &Detections, records: &[Vec<u8>], args: &ExplainArgs) -> Option<Problem> {
    let id = args.rule.to_ascii_lowercase();
    let stream = Stream::of(detections, records).ok()?;
    let finding = stream.findings.iter().find(|finding| Alert::id_of_finding(finding).to_string() == id)?;
    let mut parser = Parser::default();
    let hashes: Vec<Option<EventHash>> =
        records.iter().map(|record| parser.parse(record, |event| EventHash::of(&event.key())).ok()).collect();
    let instead = finding.listed.iter().filter_map(|listed| {
        let index = hashes.iter().position(|hash| *hash == Some(listed.event))?;
        let event = format!("{}#{index}", args.event.to_string_lossy());
        Some(command(detections.rule(&listed.rule)?, &event, args))
    });
    let title = detections.rule(&finding.detection)?.title.clone();
    Some(Problem::AlertOfMany { id: args.rule.clone(), title, instead: instead.collect() })
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

fn told(
    rule: &Rule,
    condition: &Condition,
    record: &[u8],
    place: &str,
    json: bool,
) -> Result<String, Problem> {
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
