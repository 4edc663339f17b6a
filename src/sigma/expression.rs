//! Compiled detections: what the matcher evaluates.

use std::collections::HashMap;

use ipnet::IpNet;

use super::pattern::{Case, Globs, Words};
use super::regex::LateRegex;
use crate::event::FieldPath;

/// The compiled condition of a detection.
#[derive(Debug, Clone)]
pub struct Condition {
    /// What [`Expression::Selection`] refers to, by name.
    pub selections: Vec<(String, Expression)>,
    /// The condition itself.
    pub root: Expression,
}

impl Condition {
    /// An expression that refers to no selection.
    pub(super) fn of(root: Expression) -> Self {
        Self { selections: Vec::new(), root }
    }

    /// Takes what is known in place of its own regular expressions that are written alike: it is compiled once.
    pub(super) fn share_regexes(&mut self, known: &mut HashMap<Vec<String>, LateRegex>) {
        self.selections.iter_mut().for_each(|(_, selection)| selection.share_regexes(known));
        self.root.share_regexes(known);
    }
}

/// A logical expression over an event.
#[derive(Debug, Clone)]
pub enum Expression {
    /// All of them hold; true if there are none.
    All(Vec<Expression>),
    /// One of them holds; false if there are none.
    Any(Vec<Expression>),
    /// At least this many hold.
    AtLeast(usize, Vec<Expression>),
    /// It does not hold.
    Not(Box<Expression>),
    /// The selection of this index holds.
    Selection(usize),
    /// A test of a field.
    Field(FieldPath, Test),
    /// So many elements of the list at a path meet a condition, whose paths begin at the element; `.` is the
    /// element itself, and a reference names a field of the event.
    Elements(FieldPath, Share, Box<Condition>),
    /// A string or number anywhere in the event fits.
    Keyword(Globs),
    /// The call did not fail.
    Succeeded,
}

impl Expression {
    fn share_regexes(&mut self, known: &mut HashMap<Vec<String>, LateRegex>) {
        match self {
            Expression::All(parts) | Expression::Any(parts) | Expression::AtLeast(_, parts) => {
                parts.iter_mut().for_each(|part| part.share_regexes(known));
            }
            Expression::Not(part) => part.share_regexes(known),
            Expression::Elements(_, _, condition) => condition.share_regexes(known),
            Expression::Field(_, Test::Regex(regex)) => match known.get(regex.written()) {
                Some(same) => *regex = same.clone(),
                None => _ = known.insert(regex.written().to_vec(), regex.clone()),
            },
            Expression::Field(..)
            | Expression::Selection(_)
            | Expression::Keyword(_)
            | Expression::Succeeded => {}
        }
    }
}

/// How many elements of a list. A value that is no list is its own only element; null and what is absent have
/// none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// One of them: `[any]`.
    Any,
    /// All of them, and there are some: `[all]`.
    All,
    /// All of them, if there are some: `[all_or_empty]`.
    AllOrEmpty,
    /// None of them: `[none]`.
    None,
}

/// A test of the values at a field path. A list meets it if one of its elements does.
#[derive(Debug, Clone)]
pub enum Test {
    /// A scalar is one of these texts.
    Equals(Words),
    /// A text fits; objects and lists are compared as compact JSON text.
    Like(Globs),
    /// A regular expression matches somewhere in a text; objects and lists as compact JSON text.
    Regex(LateRegex),
    /// A text is an address in this network.
    Cidr(IpNet),
    /// The field is absent or null.
    Null,
    /// The field is there and not null, or the opposite.
    Exists(bool),
    /// A number, or a text that is one, compares so.
    Compare(Operator, Number),
    /// A part of a point in time, in UTC, compares so.
    Time(TimePart, Operator, Number),
    /// A text stands in this relation to the text of another field.
    Reference(FieldPath, Relation, Case),
}

/// How a value relates to the one of the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// Equal.
    Equal,
    /// Anything else.
    NotEqual,
    /// Less than.
    Less,
    /// Less than or equal to.
    LessOrEqual,
    /// Greater than.
    Greater,
    /// Greater than or equal to.
    GreaterOrEqual,
}

/// How a text relates to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// It equals the other.
    Equals,
    /// It contains the other.
    Contains,
    /// It starts with the other.
    StartsWith,
    /// It ends with the other.
    EndsWith,
}

/// A part of a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimePart {
    /// 0 to 59.
    Minute,
    /// 0 to 23.
    Hour,
    /// Day of the month, 1 to 31.
    Day,
    /// ISO 8601 week, 1 to 53.
    Week,
    /// 1 to 12.
    Month,
    /// The year.
    Year,
}

/// A number as rules and events write it; integers are compared exactly.
#[derive(Debug, Clone, Copy)]
pub enum Number {
    /// An integer.
    Int(i128),
    /// Any other number.
    Float(f64),
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Number::Int(value) => value.fmt(f),
            Number::Float(value) => value.fmt(f),
        }
    }
}

impl Number {
    /// Reads a decimal number; one beyond a float is infinite.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let numeric = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
        if !numeric {
            return None;
        }
        let int = text.parse().ok().map(Number::Int);
        int.or_else(|| text.parse().ok().map(Number::Float))
    }

    /// The nearest float.
    #[expect(clippy::cast_precision_loss, reason = "integers are compared with integers exactly, elsewhere")]
    #[must_use]
    pub fn to_float(self) -> f64 {
        match self {
            Number::Int(value) => value as f64,
            Number::Float(value) => value,
        }
    }
}

impl Operator {
    /// Whether `left` stands in this relation to `right`.
    #[must_use]
    pub fn holds(self, left: Number, right: Number) -> bool {
        let order = match (left, right) {
            (Number::Int(left), Number::Int(right)) => Some(left.cmp(&right)),
            _ => left.to_float().partial_cmp(&right.to_float()),
        };
        order.is_some_and(|order| match self {
            Operator::Equal => order.is_eq(),
            Operator::NotEqual => order.is_ne(),
            Operator::Less => order.is_lt(),
            Operator::LessOrEqual => order.is_le(),
            Operator::Greater => order.is_gt(),
            Operator::GreaterOrEqual => order.is_ge(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare() {
        let holds =
            |left, operator: Operator, right| Some(operator.holds(Number::read(left)?, Number::read(right)?));
        assert_eq!(holds("14", Operator::Less, "14"), Some(false));
        assert_eq!(holds("13.5", Operator::Less, "14"), Some(true));
        assert_eq!(holds("1e2", Operator::Equal, "100"), Some(true));
        assert_eq!(holds("9007199254740993", Operator::Greater, "9007199254740992"), Some(true));
        assert_eq!(holds("1E400", Operator::Greater, "5"), Some(true));
        assert_eq!(holds("-1E400", Operator::Less, "0"), Some(true));
        for text in ["", "x", "inf", "NaN", "0x10", "1,5", "e", "."] {
            assert!(Number::read(text).is_none(), "{text}");
        }
    }
}
