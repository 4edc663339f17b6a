//! What stands under the attribute `trailhound`, which other tools ignore.

use jiff::SignedDuration;

use super::correlation::{FirstSeen, Grouping, Seen};
use super::document::{DocumentError, Fault};
use super::duration;
use super::rule::{Attempts, Extension};
use super::template::{Template, TemplateError};
use super::yaml::{Data, Node};
use crate::event::FieldPath;

/// Fields that make a group or a key.
const MOST_FIELDS: usize = 16;
/// Periods are at least this long: an alert belongs to one.
const SHORTEST_PERIOD: SignedDuration = SignedDuration::from_hours(1);
const LONGEST_PERIOD: SignedDuration = SignedDuration::from_hours(400 * 24);

/// What can be wrong with a key under `trailhound:`.
#[derive(Debug, thiserror::Error)]
pub enum ExtensionProblem {
    /// A key that does not exist.
    #[error("unknown key")]
    Unknown,
    /// A key that must be there is not.
    #[error("missing")]
    Missing,
    /// A key that this kind of document does not take.
    #[error("only rules over single events take it")]
    NotHere,
    /// `group` and `first_seen`.
    #[error("a rule takes either `group` or `first_seen`")]
    Both,
    /// A value of another kind.
    #[error("expected {0}")]
    Expected(&'static str),
    /// A length of time out of its bounds.
    #[error("from {0}, not `{1}`")]
    Bounds(&'static str, String),
    /// `learn` beyond `forget`.
    #[error("not longer than `forget`")]
    Learn,
    /// Too many fields.
    #[error("at most {MOST_FIELDS} fields")]
    TooManyFields,
    /// A template that cannot be read.
    #[error("{0}")]
    Template(#[source] TemplateError),
}

/// Which kind of document the extension belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Rule,
    Correlation,
    Filter,
}

/// Reads the extension of a document; every key that is wrong is told.
pub(super) fn read(document: &Node, owner: Owner, faults: &mut Vec<Fault>) -> Extension {
    let mut extension = Extension::default();
    let Some(node) = document.get("trailhound") else { return extension };
    let mut reader = Reader { faults };
    if !matches!(node.data, Data::Map(_)) {
        reader.refuse(node.line, "", ExtensionProblem::Expected("a map"));
    }
    for (key, value) in node.entries() {
        let name = key.text.as_str();
        let result = match (owner, name) {
            (Owner::Filter, "attempts" | "summary" | "response" | "group" | "first_seen")
            | (Owner::Correlation, "attempts" | "first_seen") => Err(ExtensionProblem::NotHere),
            (_, "group") => {
                extension.group = reader.group(value);
                Ok(())
            }
            (_, "first_seen") => {
                extension.first_seen = reader.first_seen(value);
                Ok(())
            }
            _ => set(&mut extension, name, value.text()),
        };
        result.unwrap_or_else(|problem| reader.refuse(key.line, name, problem));
    }
    if extension.group.is_some() && extension.first_seen.is_some() {
        reader.refuse(node.line, "", ExtensionProblem::Both);
    }
    extension
}

/// Sets a key that takes one text.
fn set(extension: &mut Extension, key: &str, text: Option<&str>) -> Result<(), ExtensionProblem> {
    let expected = |what| Err(ExtensionProblem::Expected(what));
    match (key, text) {
        ("enabled", Some("true")) => extension.enabled = true,
        ("enabled", Some("false")) => extension.enabled = false,
        ("enabled", _) => return expected("`true` or `false`"),
        ("attempts", Some("success")) => extension.attempts = Attempts::Success,
        ("attempts", Some("any")) => extension.attempts = Attempts::Any,
        ("attempts", _) => return expected("`success` or `any`"),
        ("summary", Some(text)) => {
            extension.summary = Some(Template::read(text).map_err(ExtensionProblem::Template)?);
        }
        ("response", Some(text)) if !text.trim().is_empty() => {
            extension.response = Some(text.trim().to_owned());
        }
        ("summary" | "response", _) => return expected("a sentence"),
        _ => return Err(ExtensionProblem::Unknown),
    }
    Ok(())
}

struct Reader<'f> {
    faults: &'f mut Vec<Fault>,
}

impl Reader<'_> {
    fn refuse(&mut self, line: usize, key: &str, problem: ExtensionProblem) {
        let key = if key.is_empty() { "trailhound".to_owned() } else { format!("trailhound.{key}") };
        let error = DocumentError::Extension { key, problem };
        self.faults.push(Fault { line, error });
    }

    fn group(&mut self, node: &Node) -> Option<Grouping> {
        self.map(node, "group", &["by", "period"])?;
        let by = self.fields(node, "group.by");
        let period = self.period(node, "group.period");
        Some(Grouping { by: by?, period: period? })
    }

    fn first_seen(&mut self, node: &Node) -> Option<FirstSeen> {
        self.map(node, "first_seen", &["of", "by", "learn", "forget"])?;
        let of = self.seen(node);
        let by = self.fields(node, "first_seen.by");
        let forget = self.period(node, "first_seen.forget");
        let learn = self.duration(node, "first_seen.learn").map(|(_, learn)| learn);
        let (of, by, learn, forget) = (of?, by?, learn?, forget?);
        if learn > forget {
            self.refuse(node.line, "first_seen.learn", ExtensionProblem::Learn);
        }
        Some(FirstSeen { of, by, learn, forget })
    }

    /// A map that has all of these keys, and no other.
    fn map(&mut self, node: &Node, name: &str, keys: &[&str]) -> Option<()> {
        if !matches!(node.data, Data::Map(_)) {
            self.refuse(node.line, name, ExtensionProblem::Expected("a map"));
            return None;
        }
        for (key, _) in node.entries() {
            if !keys.contains(&key.text.as_str()) {
                self.refuse(key.line, &format!("{name}.{}", key.text), ExtensionProblem::Unknown);
            }
        }
        let missing: Vec<_> = keys.iter().filter(|key| node.get(key).is_none()).collect();
        for key in &missing {
            self.refuse(node.line, &format!("{name}.{key}"), ExtensionProblem::Missing);
        }
        missing.is_empty().then_some(())
    }

    fn fields(&mut self, node: &Node, name: &str) -> Option<Vec<FieldPath>> {
        let node = node.get(last(name))?;
        let fields = node
            .texts()
            .filter(|fields| !fields.is_empty() && fields.iter().all(|field| !field.text.trim().is_empty()));
        let Some(fields) = fields else {
            self.refuse(node.line, name, ExtensionProblem::Expected("a field or a list of fields"));
            return None;
        };
        if fields.len() > MOST_FIELDS {
            self.refuse(node.line, name, ExtensionProblem::TooManyFields);
        }
        Some(fields.iter().map(|field| FieldPath::new(field.text)).collect())
    }

    fn seen(&mut self, node: &Node) -> Option<Seen> {
        let node = node.get("of")?;
        let text = node.text().unwrap_or_default().trim();
        let network = text.strip_prefix("network(").and_then(|rest| rest.strip_suffix(')'));
        let field = network.unwrap_or(text).trim();
        if field.is_empty() || field.contains(['(', ')']) {
            let expected = ExtensionProblem::Expected("a field, or `network(FIELD)`");
            self.refuse(node.line, "first_seen.of", expected);
            return None;
        }
        let path = FieldPath::new(field);
        Some(if network.is_some() { Seen::Network(path) } else { Seen::Value(path) })
    }

    fn period(&mut self, node: &Node, name: &str) -> Option<SignedDuration> {
        let (line, period) = self.duration(node, name)?;
        if !(SHORTEST_PERIOD..=LONGEST_PERIOD).contains(&period) {
            let text = node.get(last(name)).and_then(Node::text).unwrap_or_default().to_owned();
            self.refuse(line, name, ExtensionProblem::Bounds("1h to 400d", text));
            return None;
        }
        Some(period)
    }

    fn duration(&mut self, node: &Node, name: &str) -> Option<(usize, SignedDuration)> {
        let node = node.get(last(name))?;
        let Some(duration) = node.text().and_then(duration::read) else {
            let expected = ExtensionProblem::Expected("a number and a unit, such as `90m`, `12h` or `7d`");
            self.refuse(node.line, name, expected);
            return None;
        };
        Some((node.line, duration))
    }
}

fn last(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}
