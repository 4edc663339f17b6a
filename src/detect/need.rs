//! What every event that meets a condition must have, as far as it can be told from single fields.
//!
//! A condition becomes a list of demands that all must hold, each a list of anchors of which one must: a test
//! of one field. It only ever over-approximates: what cannot be said this way is left out.

use std::borrow::Cow;

use crate::event::{CONTAINERS, FieldPath, Keys};
use crate::sigma::{Condition, Expression, Globs, Test, Words};

/// Demands that every event meets which meets the condition.
#[derive(Debug, Clone, Default)]
pub(super) struct Need(pub(super) Vec<Demand>);

/// Anchors of which one must hold; at least one.
#[derive(Debug, Clone)]
pub(super) struct Demand(pub(super) Vec<Anchor>);

/// Something that can be looked for in a record's bytes.
#[derive(Debug, Clone)]
pub(super) enum Anchor {
    /// A value of the field holds for the leaf. With `Reach::Exact` that may also be the absence of any.
    Field { path: FieldPath, reach: Reach, leaf: Leaf },
    /// One of these texts, in lower case, stands somewhere in the record.
    Anywhere(Vec<String>),
}

/// How exactly the values of a field must be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Reach {
    /// It suffices that the value is among those that stand behind the field's last key.
    Loose,
    /// It must be known which value the field has, or that it has none.
    Exact,
}

/// A test, or its opposite.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub(super) test: Test,
    pub(super) negated: bool,
}

/// Demands of a detection that are kept: few make a difference.
const MOST_DEMANDS: usize = 6;

/// Fields of which every record has one of few values.
const BROAD: [&str; 8] = [
    "awsRegion",
    "eventCategory",
    "eventType",
    "eventVersion",
    "managementEvent",
    "readOnly",
    "recipientAccountId",
    "userIdentity.type",
];

/// How well an anchor narrows, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sharpness {
    EventName,
    /// How the event's name begins, where few names begin so.
    EventNames,
    Words,
    Pattern,
    EventSource,
    Test,
    /// Words of a field that has few values.
    Broad,
    Absence,
    Anywhere,
}

impl Need {
    pub(super) fn of(condition: &Condition) -> Self {
        let mut need = Need::of_expression(&condition.root, false, &condition.selections);
        need.0.sort_by_key(Demand::rank);
        need.0.truncate(MOST_DEMANDS);
        need
    }

    /// Of an expression, or with `negated` of its opposite.
    fn of_expression(expression: &Expression, negated: bool, selections: &[(String, Expression)]) -> Self {
        let each = |parts: &[Expression]| -> Vec<Need> {
            parts.iter().map(|part| Need::of_expression(part, negated, selections)).collect()
        };
        match (expression, negated) {
            (Expression::All(parts), false)
            | (Expression::Any(parts) | Expression::AtLeast(1, parts), true) => {
                each(parts).into_iter().fold(Need::default(), Need::and)
            }
            // With more wanted than one, still at least one holds.
            (Expression::Any(parts) | Expression::AtLeast(1.., parts), false)
            | (Expression::All(parts), true) => each(parts).into_iter().reduce(Need::or).unwrap_or_default(),
            (Expression::Not(inner), _) => Need::of_expression(inner, !negated, selections),
            (Expression::Selection(index), _) => {
                selections.get(*index).map_or_else(Need::default, |(_, selection)| {
                    Need::of_expression(selection, negated, selections)
                })
            }
            // Scalars only, whose text stands in the record as it is.
            (Expression::Keyword(globs), false) => match one_each(globs, |text| fragment(text, MIN_TEXT)) {
                Some(texts) => Need(vec![Demand(vec![Anchor::Anywhere(texts)])]),
                None => Need::default(),
            },
            (Expression::Field(path, test), _) => Need::of_test(path, test, negated),
            (
                Expression::AtLeast(..)
                | Expression::Elements(..)
                | Expression::Keyword(_)
                | Expression::Succeeded,
                _,
            ) => Need::default(),
        }
    }

    fn of_test(path: &FieldPath, test: &Test, negated: bool) -> Self {
        let (reach, leaf) = match (test, negated) {
            (Test::Reference(..), true) => return Need::default(),
            // Without the other field nothing can be told of this one.
            (Test::Reference(other, ..), _) if other.may_be_unknown() => return Need::default(),
            (Test::Reference(..), false) | (Test::Null | Test::Exists(false), true) => {
                (Reach::Loose, Leaf { test: Test::Exists(true), negated: false })
            }
            (Test::Null | Test::Exists(false), false) | (_, true) => {
                (Reach::Exact, Leaf { test: test.clone(), negated })
            }
            (_, false) => (Reach::Loose, Leaf { test: test.clone(), negated }),
        };
        // In a document keys are escaped or encoded, and of a derived field the record has no key.
        let Some(path) = path.in_record().filter(|path| Keys::can_find(path)) else { return Need::default() };
        if reach == Reach::Exact && !path.is_top() {
            return Need::default();
        }
        Need(vec![Demand(vec![Anchor::Field { path: path.into_owned(), reach, leaf }])])
    }

    /// Both must hold.
    fn and(mut self, other: Need) -> Need {
        self.0.extend(other.0);
        self
    }

    /// One of them must hold: of each field that both ask for, one of what either asks; where there is no such
    /// field, one of the sharpest demands.
    fn or(mut self, mut other: Need) -> Need {
        let mut either = Vec::new();
        let (mut left, mut rest) = (Vec::new(), std::mem::take(&mut self.0));
        for mut demand in rest.drain(..) {
            let same = demand
                .field()
                .and_then(|field| other.0.iter().position(|other| other.field() == Some(field)));
            match same {
                Some(at) => {
                    demand.0.append(&mut other.0.swap_remove(at).0);
                    either.push(demand);
                }
                None => left.push(demand),
            }
        }
        if either.is_empty() {
            let sharpest = |demands: Vec<Demand>| demands.into_iter().min_by_key(Demand::rank);
            if let (Some(mut one), Some(other)) = (sharpest(left), sharpest(other.0)) {
                one.0.extend(other.0);
                either.push(one);
            }
        }
        Need(either)
    }
}

impl Demand {
    /// The only field that it looks at, and how.
    pub(super) fn field(&self) -> Option<(&FieldPath, Reach)> {
        let mut fields = self.0.iter().map(|anchor| match anchor {
            Anchor::Field { path, reach, .. } => Some((path, *reach)),
            Anchor::Anywhere(_) => None,
        });
        let first = fields.next()??;
        fields.all(|field| field == Some(first)).then_some(first)
    }

    /// The whole texts that its anchors ask for, in lower case.
    pub(super) fn words(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let words = self.0.iter().filter_map(|anchor| match &anchor.leaf()?.test {
            Test::Equals(words) => Some(words),
            _ => None,
        });
        words.flat_map(Words::folded)
    }

    /// How well it narrows: as its worst anchor; of two alike the one with fewer.
    fn rank(&self) -> (Sharpness, usize) {
        (self.sharpness(), self.0.len())
    }

    pub(super) fn sharpness(&self) -> Sharpness {
        self.0.iter().map(Anchor::sharpness).max().unwrap_or(Sharpness::Anywhere)
    }
}

impl Anchor {
    fn sharpness(&self) -> Sharpness {
        match self {
            Anchor::Field { reach: Reach::Exact, .. } => Sharpness::Absence,
            Anchor::Field { path, leaf, .. } => match (path.as_str(), &leaf.test) {
                ("eventName", Test::Equals(_)) => Sharpness::EventName,
                ("eventName", Test::Like(globs)) if begin_seldom(globs) => Sharpness::EventNames,
                ("eventSource", Test::Equals(_)) => Sharpness::EventSource,
                (path, Test::Equals(words)) if BROAD.contains(&path) && !is_root(words) => Sharpness::Broad,
                (_, Test::Equals(_)) => Sharpness::Words,
                (_, Test::Like(_)) => Sharpness::Pattern,
                _ => Sharpness::Test,
            },
            Anchor::Anywhere(_) => Sharpness::Anywhere,
        }
    }

    /// What it tests of a field.
    pub(super) fn leaf(&self) -> Option<&Leaf> {
        match self {
            Anchor::Field { leaf, .. } => Some(leaf),
            Anchor::Anywhere(_) => None,
        }
    }

    /// Whether CloudTrail may leave out what it looks for, so that nothing follows from not finding it.
    pub(super) fn may_be_omitted(&self) -> bool {
        match self {
            Anchor::Field { path, .. } => CONTAINERS.contains(&path.head()),
            Anchor::Anywhere(_) => true,
        }
    }
}

/// How the names begin of which every account has many events.
const FREQUENT: [&str; 10] = [
    "assume",
    "decrypt",
    "describe",
    "encrypt",
    "generatedatakey",
    "get",
    "head",
    "invoke",
    "list",
    "putobject",
];

/// Whether every account has many events of this name, in lower case.
pub(super) fn is_frequent(name: &str) -> bool {
    FREQUENT.iter().any(|beginning| name.starts_with(beginning))
}

/// Whether every pattern says how the name begins, and few events have such names.
fn begin_seldom(globs: &Globs) -> bool {
    let seldom = |text: &str| !is_frequent(text) && !FREQUENT.iter().any(|name| name.starts_with(text));
    globs.beginnings().is_some_and(|texts| texts.iter().all(|text| text.len() >= 4 && seldom(text)))
}

/// Whether the only word is the type of the root user, which is rare.
fn is_root(words: &Words) -> bool {
    words.folded().all(|word| word == "root")
}

/// The shortest text worth being searched for in whole records, and in the rest of one.
const MIN_TEXT: usize = 4;
const MIN_PART: usize = 2;

/// Of each pattern the longest text that stands in every value which fits it, in lower case; none if a pattern has
/// no such text.
pub(super) fn longest_parts(globs: &Globs) -> Option<Vec<String>> {
    one_each(globs, |text| Some(text.to_owned()))
}

/// As [`longest_parts`], but as the record writes a value that is a list, an object or a text with escapes.
pub(super) fn plain_parts(globs: &Globs) -> Option<Vec<String>> {
    one_each(globs, compact_fragment)
}

/// The longest fragment of each pattern; nothing if one of them has none.
fn one_each(globs: &Globs, fragment: fn(&str) -> Option<String>) -> Option<Vec<String>> {
    let longest = |literals: &mut dyn Iterator<Item = Cow<'_, str>>| {
        literals.filter_map(|text| fragment(&text)).max_by_key(String::len)
    };
    globs.literals().map(|mut literals| longest(&mut literals)).collect()
}

/// The longest part of a text that JSON can only write in one way, escapes `\u` aside.
fn fragment(text: &str, shortest: usize) -> Option<String> {
    long_enough(text.split(|c| !is_plain(c)), shortest)
}

/// As [`fragment`], of a text that may be compact JSON, where the record may have white space behind marks: a
/// comma may be a mark, and a colon behind a quote.
fn compact_fragment(text: &str) -> Option<String> {
    let parts = text.split(|c| c == ',' || !is_plain(c));
    long_enough(parts.map(|part| part.trim_start_matches(':')), MIN_PART)
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || " _-.:@*+=,;()".contains(c)
}

fn long_enough<'t>(parts: impl Iterator<Item = &'t str>, shortest: usize) -> Option<String> {
    let longest = parts.max_by_key(|part| part.len())?;
    (longest.len() >= shortest).then(|| longest.to_owned())
}
