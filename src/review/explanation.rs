//! Why a detection matches an event or not: the tree of its condition, with the value found at each leaf.

use std::cmp::Reverse;

use serde_json::{Value, json};

use crate::alert::{AlertId, masked_value};
use crate::detect::{Elements, Found, Lack, Status, Step, Trace, Verdict, trace};
use crate::event::{Event, FieldPath};
use crate::sigma::{Condition, Logic, Rule, Share};

/// Characters of a value that are shown.
const MAX_VALUE: usize = 160;
/// Values of one field that are shown.
const MOST_VALUES: usize = 6;
/// Elements of one list that are shown in lines.
const MOST_ELEMENTS: usize = 6;

/// Evaluates a condition on an event and keeps what was found, secrets masked and long values cut.
#[must_use]
pub fn explain<'c>(condition: &'c Condition, event: &Event<'_>) -> Trace<'c> {
    trace(condition, event, &mut |path: &FieldPath, value| shorten(&masked_value(path.as_str(), value)))
}

/// The detection of which the event raises the alert of this id, now or with another form of its rule.
#[must_use]
pub fn alerting<'r>(rules: &'r [Rule], event: &Event<'_>, id: &str) -> Option<&'r Rule> {
    let key = event.key();
    let raises = |rule: &&Rule| {
        [Status::Match, Status::Undecided]
            .iter()
            .any(|status| AlertId::of_event(status.as_str(), &rule.id, &key).to_string() == id)
    };
    rules.iter().find(raises)
}

/// The rules whose hits a correlation sees, also through others, each once and in its order; none of another detection,
/// and none that is not among `rules`.
#[must_use]
pub fn members<'r>(rule: &Rule, rules: &'r [Rule]) -> Vec<&'r Rule> {
    fn collect<'r>(rule: &Rule, rules: &'r [Rule], found: &mut Vec<&'r Rule>) {
        let Logic::Correlation(correlation) = &rule.logic else { return };
        for member in &correlation.members {
            let member = rules.iter().find(|rule| rule.id == member.rule);
            if let Some(member) = member.filter(|member| !found.iter().any(|known| known.id == member.id)) {
                found.push(member);
                collect(member, rules, found);
            }
        }
    }
    let mut found = Vec::new();
    collect(rule, rules, &mut found);
    found
}

/// As [`members`], those over single events.
#[must_use]
pub fn event_members<'r>(rule: &Rule, rules: &'r [Rule]) -> Vec<&'r Rule> {
    let mut members = members(rule, rules);
    members.retain(|member| member.condition().is_some());
    members
}

/// What a verdict is called.
#[must_use]
pub fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Yes => "match",
        Verdict::Unknown => "undecided",
        Verdict::No => "no match",
    }
}

fn mark(verdict: Verdict) -> char {
    match verdict {
        Verdict::Yes => '✓',
        Verdict::Unknown => '?',
        Verdict::No => '✗',
    }
}

/// The tree in lines, each part indented below its whole.
#[must_use]
pub fn tree(trace: &Trace<'_>) -> String {
    let mut text = String::new();
    write_tree(trace, 0, &mut text);
    text
}

fn write_tree(trace: &Trace<'_>, depth: usize, text: &mut String) {
    // A list of one says no more than the one.
    if let Step::All(parts) | Step::Any(parts) = &trace.step
        && let [only] = &parts[..]
    {
        return write_tree(only, depth, text);
    }
    text.push_str(&format!("{}{} {}\n", "  ".repeat(depth), mark(trace.verdict), label(&trace.step)));
    if let Step::Elements { share, elements: Elements::Judged(elements), .. } = &trace.step {
        return write_elements(*share, elements, depth + 1, text);
    }
    parts(&trace.step).for_each(|part| write_tree(part, depth + 1, text));
}

/// The elements that decide come first, and those behind the bound are counted.
fn write_elements(share: Share, elements: &[Trace<'_>], depth: usize, text: &mut String) {
    let mut ordered: Vec<&Trace<'_>> = elements.iter().collect();
    match share {
        Share::Any | Share::None => ordered.sort_by_key(|element| Reverse(element.verdict)),
        Share::All | Share::AllOrEmpty => ordered.sort_by_key(|element| element.verdict),
    }
    ordered.iter().take(MOST_ELEMENTS).for_each(|element| write_tree(element, depth, text));
    if let Some(more @ 1..) = elements.len().checked_sub(MOST_ELEMENTS) {
        text.push_str(&format!("{}and {more} more\n", "  ".repeat(depth)));
    }
}

/// One line: each selection, or else each leaf, with what it came to.
#[must_use]
pub fn brief(trace: &Trace<'_>) -> String {
    fn collect(trace: &Trace<'_>, words: &mut Vec<String>) {
        if matches!(trace.step, Step::Selection(..)) || is_leaf(&trace.step) {
            words.push(format!("{} {}", mark(trace.verdict), label(&trace.step)));
        } else {
            parts(&trace.step).for_each(|part| collect(part, words));
        }
    }
    let mut words = Vec::new();
    collect(trace, &mut words);
    words.join(", ")
}

/// The leaves that decide against a match, in lines.
#[must_use]
pub fn objections(trace: &Trace<'_>) -> Vec<String> {
    fn collect(trace: &Trace<'_>, wanted: Verdict, lines: &mut Vec<String>) {
        if trace.verdict == wanted {
            return;
        }
        match &trace.step {
            Step::Not(inner) => {
                collect(inner, if wanted == Verdict::Yes { Verdict::No } else { Verdict::Yes }, lines);
            }
            step if is_leaf(step) => lines.push(format!("{} {}", mark(trace.verdict), label(step))),
            step => parts(step).for_each(|part| collect(part, wanted, lines)),
        }
    }
    let mut lines = Vec::new();
    collect(trace, Verdict::Yes, &mut lines);
    lines
}

/// Whether it says enough in one line.
fn is_leaf(step: &Step<'_>) -> bool {
    matches!(step, Step::Elements { .. }) || parts(step).next().is_none()
}

fn parts<'t, 'c>(step: &'t Step<'c>) -> impl Iterator<Item = &'t Trace<'c>> {
    let (many, one): (&[Trace<'c>], _) = match step {
        Step::All(parts) | Step::Any(parts) | Step::AtLeast(_, parts) => (parts, None),
        Step::Not(inner) | Step::Selection(_, inner) | Step::Element(_, inner) => (&[], Some(&**inner)),
        Step::Elements { elements: Elements::Judged(elements), .. } => (elements, None),
        Step::Elements { .. } | Step::Field { .. } | Step::Keyword(_) | Step::Succeeded => (&[], None),
    };
    many.iter().chain(one)
}

fn label(step: &Step<'_>) -> String {
    match step {
        Step::All(_) => "all of".to_owned(),
        Step::Any(_) => "one of".to_owned(),
        Step::AtLeast(count, _) => format!("at least {count} of"),
        Step::Not(_) => "not".to_owned(),
        Step::Selection(name, _) => (*name).to_owned(),
        Step::Field { path, test, found } => format!("{} {test}: {}", path.as_str(), shown(found)),
        Step::Elements { path, share, elements } => {
            format!("{share} {} fits: {}", path.as_str(), counted(elements))
        }
        Step::Element(index, _) => format!("element {index}"),
        Step::Keyword(globs) => format!("some text fits {globs}"),
        Step::Succeeded => "the call worked".to_owned(),
    }
}

fn shown(found: &Found) -> String {
    match found {
        Found::Unknown(lack) => lacking(*lack).to_owned(),
        Found::Values(values) if values.is_empty() => "absent".to_owned(),
        Found::Values(values) if values.len() > MOST_VALUES => {
            format!("{} and {} more", values[..MOST_VALUES].join(", "), values.len() - MOST_VALUES)
        }
        Found::Values(values) => values.join(", "),
    }
}

fn counted(elements: &Elements<'_>) -> String {
    match elements {
        Elements::Unknown(lack) => lacking(*lack).to_owned(),
        Elements::Judged(elements) => {
            let fitting = elements.iter().filter(|element| element.verdict == Verdict::Yes).count();
            format!("{fitting} of {} do", elements.len())
        }
    }
}

fn lacking(lack: Lack) -> &'static str {
    match lack {
        Lack::Omitted => "omitted by CloudTrail",
        Lack::Unread => "in a document that is too large to be read",
    }
}

/// The tree as JSON: `verdict`, `is`, and `parts` or what a leaf looked at.
#[must_use]
pub fn json(trace: &Trace<'_>) -> Value {
    let mut node = json!({ "verdict": word(trace.verdict), "is": kind(&trace.step) });
    match &trace.step {
        Step::AtLeast(count, _) => node["count"] = (*count).into(),
        Step::Selection(name, _) => node["name"] = (*name).into(),
        Step::Field { path, test, found } => {
            node["field"] = path.as_str().into();
            node["test"] = test.to_string().into();
            match found {
                Found::Unknown(lack) => node[missing(*lack)] = true.into(),
                Found::Values(values) => node["values"] = values.clone().into(),
            }
        }
        Step::Elements { path, share, elements } => {
            node["field"] = path.as_str().into();
            node["share"] = share.to_string().into();
            if let Elements::Unknown(lack) = elements {
                node[missing(*lack)] = true.into();
            }
        }
        Step::Element(index, _) => node["index"] = (*index).into(),
        Step::Keyword(globs) => node["test"] = format!("fits {globs}").into(),
        Step::All(_) | Step::Any(_) | Step::Not(_) | Step::Succeeded => {}
    }
    let parts: Vec<Value> = parts(&trace.step).map(json).collect();
    if !parts.is_empty() {
        node["parts"] = parts.into();
    }
    node
}

fn missing(lack: Lack) -> &'static str {
    match lack {
        Lack::Omitted => "omitted",
        Lack::Unread => "unread",
    }
}

fn kind(step: &Step<'_>) -> &'static str {
    match step {
        Step::All(_) => "all",
        Step::Any(_) => "any",
        Step::AtLeast(..) => "at-least",
        Step::Not(_) => "not",
        Step::Selection(..) => "selection",
        Step::Field { .. } => "field",
        Step::Elements { .. } => "elements",
        Step::Element(..) => "element",
        Step::Keyword(_) => "keyword",
        Step::Succeeded => "succeeded",
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_VALUE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
