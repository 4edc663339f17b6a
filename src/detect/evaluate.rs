//! The plain evaluator: a compiled condition on an event, in three-valued logic.
//!
//! CloudTrail leaves out the parameters of oversized requests. What cannot be known is not false: a leaf
//! below an omitted container is *unknown*, and so is a keyword that was not found while something is
//! missing, and what may stand in a document beyond the bounds. And, or and not follow Kleene.

use std::collections::HashSet;
use std::net::IpAddr;

use aho_corasick::AhoCorasick;
use jiff::tz::TimeZone;

use crate::event::{Event, FieldPath, Kind, Value};
use crate::sigma::{Case, Condition, Expression, Globs, Number, Relation, Share, Test, TimePart};

/// The truth of an expression; ordered so that *and* is the minimum and *or* the maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It does not hold.
    No,
    /// It cannot be told.
    Unknown,
    /// It holds.
    Yes,
}

/// Evaluates a condition on an event.
#[must_use]
pub fn evaluate(condition: &Condition, event: &Event<'_>) -> Verdict {
    expression(&condition.root, condition, Scope { event, element: None })
}

/// Where the paths of a condition begin: at the event, or at an element of one of its lists.
#[derive(Clone, Copy)]
pub(super) struct Scope<'s, 'e> {
    pub(super) event: &'s Event<'e>,
    pub(super) element: Option<Value<'e>>,
}

impl<'e> Scope<'_, 'e> {
    pub(super) fn any(&self, path: &FieldPath, test: &mut dyn FnMut(Value<'e>) -> bool) -> bool {
        match self.element {
            None => self.event.any(path, test),
            Some(element) if path.is_itself() => test(element),
            Some(element) => path.any_below(element, test),
        }
    }

    /// An element that was found is known.
    pub(super) fn is_unknown(&self, path: &FieldPath) -> bool {
        self.element.is_none() && self.event.is_unknown(path)
    }

    /// The same event, seen from each element of the lists at a path.
    pub(super) fn each_element(self, path: &FieldPath, visit: &mut dyn FnMut(Self)) {
        let mut visit = |element| visit(Self { element: Some(element), ..self });
        self.any(path, &mut |value| {
            match value.kind() {
                Kind::Null => {}
                Kind::Array(list) => list.for_each(&mut visit),
                _ => visit(value),
            }
            false
        });
    }
}

pub(super) fn expression(expression: &Expression, condition: &Condition, scope: Scope<'_, '_>) -> Verdict {
    let part = |part: &Expression| self::expression(part, condition, scope);
    match expression {
        Expression::All(parts) => extreme(parts.iter().map(part), Verdict::No).unwrap_or(Verdict::Yes),
        Expression::Any(parts) => extreme(parts.iter().map(part), Verdict::Yes).unwrap_or(Verdict::No),
        Expression::AtLeast(wanted, parts) => at_least(*wanted, parts.iter().map(part)),
        Expression::Not(inner) => part(inner).opposite(),
        Expression::Selection(index) => part(&condition.selections[*index].1),
        Expression::Field(path, test) => field(path, test, scope),
        Expression::Elements(path, share, body) => share_of(path, *share, body, scope),
        Expression::Keyword(globs) => match keyword(globs, scope.element.unwrap_or(scope.event.root())) {
            false if scope.element.is_none() && !scope.event.omitted().is_empty() => Verdict::Unknown,
            found => Verdict::from(found),
        },
        Expression::Succeeded => Verdict::from(scope.event.outcome().is_success()),
    }
}

/// Whether so many elements of the list at the path meet a condition.
fn share_of(path: &FieldPath, share: Share, body: &Condition, scope: Scope<'_, '_>) -> Verdict {
    if scope.is_unknown(path) {
        return Verdict::Unknown;
    }
    let mut verdicts = Vec::new();
    scope.each_element(path, &mut |scope| verdicts.push(expression(&body.root, body, scope)));
    let verdicts = verdicts.into_iter();
    match share {
        Share::Any => extreme(verdicts, Verdict::Yes).unwrap_or(Verdict::No),
        Share::None => extreme(verdicts, Verdict::Yes).unwrap_or(Verdict::No).opposite(),
        Share::All => extreme(verdicts, Verdict::No).unwrap_or(Verdict::No),
        Share::AllOrEmpty => extreme(verdicts, Verdict::No).unwrap_or(Verdict::Yes),
    }
}

impl Verdict {
    fn opposite(self) -> Self {
        match self {
            Verdict::No => Verdict::Yes,
            Verdict::Unknown => Verdict::Unknown,
            Verdict::Yes => Verdict::No,
        }
    }
}

impl From<bool> for Verdict {
    fn from(holds: bool) -> Self {
        if holds { Verdict::Yes } else { Verdict::No }
    }
}

/// The verdict nearest to `limit`, which ends the search.
fn extreme(verdicts: impl Iterator<Item = Verdict>, limit: Verdict) -> Option<Verdict> {
    let mut nearest = None;
    for verdict in verdicts {
        if verdict == limit {
            return Some(limit);
        }
        nearest = Some(match nearest {
            Some(Verdict::Unknown) => Verdict::Unknown,
            _ => verdict,
        });
    }
    nearest
}

fn at_least(wanted: usize, verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    let (mut yes, mut unknown) = (0, 0);
    for verdict in verdicts {
        yes += usize::from(verdict == Verdict::Yes);
        unknown += usize::from(verdict == Verdict::Unknown);
    }
    match () {
        () if yes >= wanted => Verdict::Yes,
        () if yes + unknown >= wanted => Verdict::Unknown,
        () => Verdict::No,
    }
}

fn field(path: &FieldPath, test: &Test, scope: Scope<'_, '_>) -> Verdict {
    let reference_unknown = matches!(test, Test::Reference(other, ..) if scope.event.is_unknown(other));
    if reference_unknown || scope.is_unknown(path) {
        return Verdict::Unknown;
    }
    let holds = match test {
        Test::Reference(other, relation, case) => {
            let others = Others::gather(other, scope.event, *relation, *case);
            scope.any(path, &mut |value| scalars(value, &mut |text| others.relate(text)))
        }
        test => holds(test, &|test| scope.any(path, test)),
    };
    Verdict::from(holds)
}

/// The values of a field, of which some may meet a test.
type Values<'v> = &'v dyn Fn(&mut dyn FnMut(Value<'_>) -> bool) -> bool;

/// Whether a field whose only value is this one, if it has any, meets a test; one that names another field
/// may do so.
pub(super) fn holds_alone(test: &Test, value: Option<Value<'_>>) -> bool {
    holds(test, &|test| value.is_some_and(test))
}

fn holds(test: &Test, any: Values<'_>) -> bool {
    match test {
        Test::Equals(words) => any(&mut |value| scalars(value, &mut |text| words.contains(text))),
        Test::Like(globs) => any(&mut |value| texts(value, &mut |text| globs.matches(text))),
        Test::Regex(regex) => any(&mut |value| texts(value, &mut |text| regex.is_match(text))),
        Test::Cidr(network) => any(&mut |value| {
            scalars(value, &mut |text| text.parse().is_ok_and(|address: IpAddr| network.contains(&address)))
        }),
        Test::Null => is_null(any),
        Test::Exists(wanted) => any(&mut |value| !value.is_null()) == *wanted,
        Test::Compare(operator, number) => any(&mut |value| {
            scalars(value, &mut |text| Number::read(text).is_some_and(|value| operator.holds(value, *number)))
        }),
        Test::Time(part, operator, number) => any(&mut |value| {
            scalars(value, &mut |text| {
                time_part(*part, text).is_some_and(|value| operator.holds(value, *number))
            })
        }),
        Test::Reference(..) => true,
    }
}

/// Absent everywhere, or null somewhere.
fn is_null(any: Values<'_>) -> bool {
    let mut present = false;
    let null = any(&mut |value| {
        present = true;
        elements(value, &mut |value| value.is_null())
    });
    null || !present
}

/// Whether the test holds for the value, or for an element of the list that it is, at any depth.
fn elements(value: Value<'_>, test: &mut dyn FnMut(Value<'_>) -> bool) -> bool {
    match value.kind() {
        Kind::Array(mut list) => list.any(|value| elements(value, test)),
        _ => test(value),
    }
}

/// Whether the test holds for the text of a scalar, or of one in a list.
fn scalars(value: Value<'_>, test: &mut dyn FnMut(&str) -> bool) -> bool {
    elements(value, &mut |value| value.scalar_text().is_some_and(|text| test(&text)))
}

/// Whether the test holds for a text: that of a scalar, the compact JSON of an object or list, or the text of
/// what stands in the list at any depth. Lists within the list have no text of their own, so that depth costs
/// nothing.
fn texts(value: Value<'_>, test: &mut dyn FnMut(&str) -> bool) -> bool {
    let in_list = elements(value, &mut |value| match value.kind() {
        Kind::Object(_) => test(&value.to_json()),
        _ => value.scalar_text().is_some_and(|text| test(&text)),
    });
    in_list || matches!(value.kind(), Kind::Array(_)) && test(&value.to_json())
}

/// Whether any string or number of the value fits; keys and booleans are not looked at.
fn keyword(globs: &Globs, value: Value<'_>) -> bool {
    match value.kind() {
        Kind::Null | Kind::Bool(_) => false,
        Kind::Number(number) => globs.matches(&number.text()),
        Kind::String(text) => globs.matches(text),
        Kind::Array(mut list) => list.any(|value| keyword(globs, value)),
        Kind::Object(mut members) => members.any(|(_, value)| keyword(globs, value)),
    }
}

/// The texts of the other field of a reference, ready to be compared with many.
enum Others {
    Equal(Case, HashSet<String>),
    Part(Case, Relation, AhoCorasick),
}

impl Others {
    fn gather(path: &FieldPath, event: &Event<'_>, relation: Relation, case: Case) -> Self {
        let mut texts = HashSet::new();
        event.any(path, &mut |value| {
            scalars(value, &mut |text| {
                texts.insert(case.apply(text).into_owned());
                false
            })
        });
        match relation {
            Relation::Equals => Others::Equal(case, texts),
            relation => {
                let search = AhoCorasick::new(texts)
                    .expect("a record is too small to exhaust the automaton's numbers");
                Others::Part(case, relation, search)
            }
        }
    }

    fn relate(&self, text: &str) -> bool {
        match self {
            Others::Equal(case, others) => others.contains(&*case.apply(text)),
            Others::Part(case, relation, search) => {
                let text = case.apply(text);
                let mut found = search.find_overlapping_iter(text.as_bytes());
                match relation {
                    Relation::StartsWith => found.any(|part| part.start() == 0),
                    Relation::EndsWith => found.any(|part| part.end() == text.len()),
                    Relation::Contains | Relation::Equals => found.next().is_some(),
                }
            }
        }
    }
}

fn time_part(part: TimePart, text: &str) -> Option<Number> {
    let time = text.parse::<jiff::Timestamp>().ok()?.to_zoned(TimeZone::UTC).datetime();
    let value = match part {
        TimePart::Minute => i128::from(time.minute()),
        TimePart::Hour => i128::from(time.hour()),
        TimePart::Day => i128::from(time.day()),
        TimePart::Week => i128::from(time.date().iso_week_date().week()),
        TimePart::Month => i128::from(time.month()),
        TimePart::Year => i128::from(time.year()),
    };
    Some(Number::Int(value))
}
