//! Configuration values that know where they were set.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A line of the file; 1 is the first.
    Line(Arc<Path>, usize),
    /// An environment variable.
    Variable(String),
    /// A flag of the command line.
    Flag(&'static str),
    /// Nowhere: it is missing.
    Missing,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line(path, line) => write!(f, "{}:{line}", path.display()),
            Place::Variable(name) => write!(f, "environment variable {name}"),
            Place::Flag(name) => f.write_str(name),
            Place::Missing => f.write_str("configuration"),
        }
    }
}

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub(super) place: Place,
    pub(super) data: Data,
}

#[derive(Debug, Clone)]
pub(super) enum Data {
    Text(String),
    Bool(bool),
    /// A number or a time: no setting takes one bare, they all have units.
    Number,
    List(Vec<Value>),
    Table(Table),
}

/// Keys in the order in which they were written.
pub(super) type Table = Vec<(String, Value)>;

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// Reads the text of a configuration file; whatever of it is TOML is returned beside what is not.
pub(super) fn parse(path: &Path, text: &str, problems: &mut Vec<Problem>) -> Table {
    let path: Arc<Path> = path.into();
    let ends: Vec<usize> = memchr::memchr_iter(b'\n', text.as_bytes()).collect();
    let line = |at: usize| ends.partition_point(|end| *end < at) + 1;
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        let message = error.message().to_owned();
        problems.push(Problem { place: Place::Line(path.clone(), line(at)), message });
    }
    convert_table(table.into_inner(), &|at| Place::Line(path.clone(), line(at)))
}

fn convert_table(table: DeTable<'_>, place: &dyn Fn(usize) -> Place) -> Table {
    let mut entries: Vec<_> = table.into_iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
        .into_iter()
        .map(|(key, value)| {
            let at = key.span().start;
            (key.into_inner().into_owned(), convert(value.into_inner(), at, place))
        })
        .collect()
}

fn convert(value: DeValue<'_>, at: usize, place: &dyn Fn(usize) -> Place) -> Value {
    let data = match value {
        DeValue::String(text) => Data::Text(text.into_owned()),
        DeValue::Boolean(value) => Data::Bool(value),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Datetime(_) => Data::Number,
        DeValue::Array(list) => Data::List(
            list.into_iter()
                .map(|value| {
                    let at = value.span().start;
                    convert(value.into_inner(), at, place)
                })
                .collect(),
        ),
        DeValue::Table(table) => Data::Table(convert_table(table, place)),
    };
    Value { place: place(at), data }
}

/// Keys on the way to a setting: more than any has.
const MOST_KEYS: usize = 8;

/// Sets a scalar at a path of keys; tables on the way are made.
pub(super) fn set(table: &mut Table, keys: &[String], value: Value, problems: &mut Vec<Problem>) {
    let [first, rest @ ..] = keys else { return };
    if rest.len() >= MOST_KEYS {
        let message = format!("no setting lies below more than {MOST_KEYS} keys");
        return problems.push(Problem { place: value.place, message });
    }
    let at = table.iter().position(|(key, _)| key == first);
    if rest.is_empty() {
        match at {
            Some(at) => table[at].1 = value,
            None => table.push((first.clone(), value)),
        }
        return;
    }
    let at = at.unwrap_or_else(|| {
        table.push((first.clone(), Value { place: value.place.clone(), data: Data::Table(Vec::new()) }));
        table.len() - 1
    });
    match &mut table[at].1.data {
        Data::Table(inner) => set(inner, rest, value, problems),
        _ => problems.push(Problem {
            place: value.place,
            message: format!("`{first}` is no table; variables set single values only"),
        }),
    }
}
