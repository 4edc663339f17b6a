//! Which detections a record can match at all, told from its bytes.
//!
//! For each detection the index derives what every match must have: one of some event names, one of some
//! event sources, or one of some texts anywhere in the record. It only ever over-approximates: where the
//! bytes may hide something, every detection that they could concern stays a candidate.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use aho_corasick::AhoCorasick;

use crate::event::{Anchor, Glance};
use crate::sigma::{Condition, Expression, Globs, Test};

/// The number of a detection.
pub(super) type Number = u32;

/// An index over the conditions of detections.
#[derive(Debug)]
pub(super) struct Index {
    all: Vec<Number>,
    by_name: HashMap<Box<[u8]>, Vec<Entry>>,
    by_source: HashMap<Box<[u8]>, Vec<Number>>,
    texts: Option<Texts>,
    always: Vec<Number>,
}

/// A detection in the list of an event name, with the event sources that it may be limited to.
#[derive(Debug)]
struct Entry {
    number: Number,
    sources: Option<BTreeSet<Box<[u8]>>>,
}

/// Texts of which a detection needs one, searched in one pass.
#[derive(Debug)]
struct Texts {
    search: AhoCorasick,
    /// By pattern of the search.
    numbers: Vec<Vec<Number>>,
}

/// The shortest text worth searching for.
const MIN_TEXT: usize = 4;

impl Index {
    pub(super) fn new<'c>(conditions: impl Iterator<Item = &'c Condition>) -> Self {
        let mut index = Self {
            all: Vec::new(),
            by_name: HashMap::new(),
            by_source: HashMap::new(),
            texts: None,
            always: Vec::new(),
        };
        let mut texts: HashMap<String, Vec<Number>> = HashMap::new();
        for (number, condition) in (0..).zip(conditions) {
            index.all.push(number);
            match Need::of(condition) {
                Need { names: Some(names), sources, .. } => {
                    for name in names {
                        let entry = Entry { number, sources: sources.clone() };
                        index.by_name.entry(name).or_default().push(entry);
                    }
                }
                Need { sources: Some(sources), .. } => {
                    for source in sources {
                        index.by_source.entry(source).or_default().push(number);
                    }
                }
                Need { texts: Some(needed), .. } => {
                    for text in needed {
                        texts.entry(text).or_default().push(number);
                    }
                }
                Need { .. } => index.always.push(number),
            }
        }
        index.texts = (!texts.is_empty()).then(|| Texts::new(texts));
        index
    }

    /// Fills in the detections that this record may match, in ascending order.
    pub(super) fn candidates(&self, record: &[u8], scratch: &mut Vec<u8>, candidates: &mut Vec<Number>) {
        candidates.clear();
        let glance = Glance::of(record);
        // An ordinary record has both fields. One that has not, or may have them hidden, is looked at in full.
        let (Anchor::Text(name), Anchor::Text(source)) = (glance.name, glance.source) else {
            return candidates.extend(&self.all);
        };
        candidates.extend(&self.always);
        if let Some(texts) = &self.texts {
            texts.candidates(record, glance.opaque, candidates);
        }
        let by_name = self.by_name.get(lower(name, scratch));
        let source = lower(source, scratch);
        candidates.extend(self.by_source.get(source).into_iter().flatten());
        let fits = |entry: &&Entry| entry.sources.as_ref().is_none_or(|sources| sources.contains(source));
        candidates.extend(by_name.into_iter().flatten().filter(fits).map(|entry| entry.number));
        candidates.sort_unstable();
        candidates.dedup();
    }

    /// How the index narrows a detection, for people who write rules.
    pub(super) fn narrowing(condition: &Condition) -> Narrowing {
        match Need::of(condition) {
            Need { names: Some(_), .. } => Narrowing::EventName,
            Need { sources: Some(_), .. } => Narrowing::EventSource,
            Need { texts: Some(_), .. } => Narrowing::Text,
            Need { .. } => Narrowing::None,
        }
    }
}

/// By what the index excludes records for a detection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Narrowing {
    /// By the event's name.
    EventName,
    /// By the event's source.
    EventSource,
    /// By a text that must be in the record.
    Text,
    /// By nothing: the detection looks at every record.
    None,
}

impl Texts {
    fn new(texts: HashMap<String, Vec<Number>>) -> Self {
        let mut texts: Vec<_> = texts.into_iter().collect();
        texts.sort();
        let search =
            AhoCorasick::builder().ascii_case_insensitive(true).build(texts.iter().map(|(text, _)| text));
        Self {
            search: search.expect("rules are too small to exhaust the automaton's numbers"),
            numbers: texts.into_iter().map(|(_, numbers)| numbers).collect(),
        }
    }

    fn candidates(&self, record: &[u8], opaque: bool, candidates: &mut Vec<Number>) {
        if opaque {
            return candidates.extend(self.numbers.iter().flatten());
        }
        let before = candidates.len();
        for found in self.search.find_overlapping_iter(record) {
            for number in &self.numbers[found.pattern().as_usize()] {
                if !candidates[before..].contains(number) {
                    candidates.push(*number);
                }
            }
        }
    }
}

fn lower<'s>(text: &[u8], scratch: &'s mut Vec<u8>) -> &'s [u8] {
    scratch.clear();
    scratch.extend(text.iter().map(u8::to_ascii_lowercase));
    scratch
}

/// What every event that meets a condition must have; `None` where nothing is known. Names, sources and
/// texts are in lower case.
#[derive(Debug, Clone, Default)]
struct Need {
    names: Option<BTreeSet<Box<[u8]>>>,
    sources: Option<BTreeSet<Box<[u8]>>>,
    /// One of these stands in the record's bytes.
    texts: Option<BTreeSet<String>>,
}

impl Need {
    fn of(condition: &Condition) -> Self {
        let selections: Vec<Need> =
            condition.selections.iter().map(|(_, expression)| Need::of_expression(expression, &[])).collect();
        Need::of_expression(&condition.root, &selections)
    }

    fn of_expression(expression: &Expression, selections: &[Need]) -> Self {
        let each = |parts: &[Expression]| -> Vec<Need> {
            parts.iter().map(|part| Need::of_expression(part, selections)).collect()
        };
        match expression {
            Expression::All(parts) => each(parts).into_iter().fold(Need::default(), Need::and),
            // With more wanted than one, still at least one holds.
            Expression::Any(parts) | Expression::AtLeast(1.., parts) => {
                each(parts).into_iter().reduce(Need::or).unwrap_or_default()
            }
            Expression::AtLeast(0, _) | Expression::Not(_) | Expression::Succeeded => Need::default(),
            Expression::Selection(index) => selections.get(*index).cloned().unwrap_or_default(),
            // Scalars only, whose text stands in the record as it is.
            Expression::Keyword(globs) => Need { texts: one_each(globs, fragment), ..Need::default() },
            Expression::Field(path, test) => Need::of_test(path.as_str(), test),
        }
    }

    fn of_test(path: &str, test: &Test) -> Self {
        match (path, test) {
            ("eventName", Test::Equals(words)) => Need { names: Some(bytes(words)), ..Need::default() },
            ("eventSource", Test::Equals(words)) => Need { sources: Some(bytes(words)), ..Need::default() },
            (_, Test::Equals(words)) => {
                let texts: Option<BTreeSet<String>> = words.folded().map(|word| fragment(&word)).collect();
                Need { texts, ..Need::default() }
            }
            (_, Test::Like(globs)) => Need { texts: one_each(globs, compact_fragment), ..Need::default() },
            _ => Need::default(),
        }
    }

    /// Both must hold: the sharper of two demands is kept, of texts the one with fewer.
    fn and(self, other: Need) -> Need {
        let both = |one: Option<BTreeSet<Box<[u8]>>>, other: Option<BTreeSet<Box<[u8]>>>| match (one, other) {
            (Some(one), Some(other)) => Some(one.intersection(&other).cloned().collect()),
            (one, other) => one.or(other),
        };
        let sharper =
            |texts: &BTreeSet<String>| (texts.len(), std::cmp::Reverse(texts.iter().map(String::len).min()));
        Need {
            names: both(self.names, other.names),
            sources: both(self.sources, other.sources),
            texts: match (self.texts, other.texts) {
                (Some(one), Some(other)) if sharper(&other) < sharper(&one) => Some(other),
                (Some(one), Some(_)) => Some(one),
                (one, other) => one.or(other),
            },
        }
    }

    /// One of them must hold.
    fn or(self, other: Need) -> Need {
        fn either<T: Ord>(one: Option<BTreeSet<T>>, other: Option<BTreeSet<T>>) -> Option<BTreeSet<T>> {
            let mut one = one?;
            one.append(&mut other?);
            Some(one)
        }
        Need {
            names: either(self.names, other.names),
            sources: either(self.sources, other.sources),
            texts: either(self.texts, other.texts),
        }
    }
}

fn bytes(words: &crate::sigma::Words) -> BTreeSet<Box<[u8]>> {
    words.folded().map(|word| word.as_bytes().into()).collect()
}

/// The longest fragment of each pattern; nothing if one of them has none.
fn one_each(globs: &Globs, fragment: fn(&str) -> Option<String>) -> Option<BTreeSet<String>> {
    let longest = |literals: &mut dyn Iterator<Item = Cow<'_, str>>| {
        literals.filter_map(|text| fragment(&text)).max_by_key(String::len)
    };
    globs.literals().map(|mut literals| longest(&mut literals)).collect()
}

/// The longest part of a text that JSON can only write in one way, escapes `\u` aside.
fn fragment(text: &str) -> Option<String> {
    long_enough(text.split(|c| !is_plain(c)))
}

/// As [`fragment`], of a text that may be compact JSON, where the record may have white space behind marks: a
/// comma may be a mark, and a colon behind a quote.
fn compact_fragment(text: &str) -> Option<String> {
    let parts = text.split(|c| c == ',' || !is_plain(c));
    long_enough(parts.map(|part| part.trim_start_matches(':')))
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || " _-.:@*+=,;()".contains(c)
}

fn long_enough<'t>(parts: impl Iterator<Item = &'t str>) -> Option<String> {
    let longest = parts.max_by_key(|part| part.len())?;
    (longest.len() >= MIN_TEXT).then(|| longest.to_owned())
}
