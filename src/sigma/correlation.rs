//! Detections over more than one event: correlations, groups of hits, values seen for the first time.

use jiff::SignedDuration;

use super::expression::{Number, Operator};
use crate::event::FieldPath;

/// A correlation over the hits of other rules, its members resolved.
#[derive(Debug, Clone)]
pub struct Correlation {
    /// What its window is asked for.
    pub kind: CorrelationKind,
    /// The rules whose hits it sees.
    pub members: Vec<Member>,
    /// The names of the fields that make a group, as the rule writes them; none for one group of all events.
    pub group_by: Vec<Box<str>>,
    /// The length of the window, which is open at its beginning and closed at its end.
    pub timespan: SignedDuration,
    /// Whether members that stand in the same file alert by themselves, too.
    pub generate: bool,
}

/// A rule whose hits a correlation sees.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its id; another correlation may be a member.
    pub rule: String,
    /// Where its events have the group's values: aliases are resolved. As many as the correlation's `group_by`.
    pub group_by: Vec<FieldPath>,
}

/// What a correlation asks of the hits in its window.
#[derive(Debug, Clone)]
pub enum CorrelationKind {
    /// How many there are.
    EventCount(Threshold),
    /// How many different values the fields have, taken together.
    ValueCount(Vec<FieldPath>, Threshold),
    /// The sum of the numbers of a field.
    ValueSum(FieldPath, Threshold),
    /// The mean of the numbers of a field.
    ValueAverage(FieldPath, Threshold),
    /// The percentile of the numbers of a field, from 0 to 100.
    ValuePercentile(FieldPath, u8, Threshold),
    /// Which members occur, in any order.
    Temporal(Occurrence),
    /// Whether all members occur in their order; equal times count as either order.
    TemporalOrdered,
}

/// Comparisons of which all must hold; at least one.
#[derive(Debug, Clone)]
pub struct Threshold(pub Vec<(Operator, Number)>);

/// An expression over the members of a correlation that occur in a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Occurrence {
    /// The member of this index occurs.
    Member(usize),
    /// All of them hold.
    All(Vec<Occurrence>),
    /// One of them holds.
    Any(Vec<Occurrence>),
    /// It does not hold.
    Not(Box<Occurrence>),
}

/// The hits of a rule that are told as one alert: `group:` under `trailhound:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grouping {
    /// The fields that make a group; an absent one counts as an empty text.
    pub by: Vec<FieldPath>,
    /// The length of the span of time in which hits are counted into one alert.
    pub period: SignedDuration,
}

/// The first time that a value appears for a key: `first_seen:` under `trailhound:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstSeen {
    /// Whose values.
    pub of: Seen,
    /// The fields that make the key; an absent one counts as an empty text.
    pub by: Vec<FieldPath>,
    /// Nothing is told of events earlier than this after the detection's first one.
    pub learn: SignedDuration,
    /// The length of the periods: a value is new in a period if it was not seen in the one before.
    pub forget: SignedDuration,
}

/// What a [`FirstSeen`] looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The text of a field.
    Value(FieldPath),
    /// The network of the address in a field: /24 of IPv4, /48 of IPv6; what is no address counts as it stands.
    Network(FieldPath),
}
