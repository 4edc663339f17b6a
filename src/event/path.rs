//! Field paths: how a detection names a place in the record.

use std::ops::Range;

use super::CONTAINERS;
use super::document::{Documents, MOST_NESTED, Opened};
use super::fields::Fields;
use super::value::{Kind, Value};

/// A dotted path such as `requestParameters.userName`.
///
/// At each object the longest literal key is tried first, so that a key which itself contains dots can be
/// named. A path goes on through every element of a list, and through a document that stands in a string.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FieldPath {
    text: Box<str>,
    segments: Box<[Range<usize>]>,
}

impl FieldPath {
    /// Reads a dotted path; every text is one.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut start = 0;
        let segments = text.split('.').map(|segment| {
            let range = start..start + segment.len();
            start = range.end + 1;
            range
        });
        Self { segments: segments.collect(), text: text.into() }
    }

    /// The path as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first segment: the top-level field, unless a literal key has dots.
    #[must_use]
    pub fn head(&self) -> &str {
        &self.text[self.segments[0].clone()]
    }

    /// The keys of which one stands before every value at this path: the last segment, alone or behind others,
    /// since a key may have dots.
    pub fn last_keys(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().rev().map(|segment| &self.text[segment.start..])
    }

    /// Whether the path is `.`: an element of a list by itself.
    #[must_use]
    pub fn is_itself(&self) -> bool {
        &*self.text == "."
    }

    /// Whether the path has one segment, and so names a top-level field.
    #[must_use]
    pub fn is_top(&self) -> bool {
        self.segments.len() == 1
    }

    /// Whether `test` holds for any value at this path, from an object on, where it may be known where its fields
    /// stand. Lists on the way are walked; a list at the end is handed over as it is. Stops at the first that holds.
    pub(super) fn any<'e>(
        &self,
        root: Value<'e>,
        fields: Option<&Fields>,
        documents: &'e Documents,
        test: &mut dyn FnMut(Value<'e>) -> bool,
    ) -> bool {
        self.walk(fields, documents, test).any_from(0, root, 0)
    }

    /// As [`Event::any`](super::Event::any), for a path that begins at a value of the event.
    pub fn any_below<'e>(&self, value: Value<'e>, test: &mut dyn FnMut(Value<'e>) -> bool) -> bool {
        Walk { path: self, fields: None, documents: None, test, unread: false }.any_from(0, value, 0)
    }

    /// Whether the path leads through a document that stays unread.
    pub(super) fn is_unread(&self, root: Value<'_>, fields: &Fields, documents: &Documents) -> bool {
        if !self.may_leave_the_record() {
            return false;
        }
        let test = &mut |_: Value<'_>| false;
        let mut walk = self.walk(Some(fields), documents, test);
        walk.any_from(0, root, 0);
        walk.unread
    }

    fn walk<'w, 'e>(
        &'w self,
        fields: Option<&'w Fields>,
        documents: &'e Documents,
        test: &'w mut dyn FnMut(Value<'e>) -> bool,
    ) -> Walk<'w, 'e> {
        let documents = self.may_leave_the_record().then_some(documents);
        Walk { path: self, fields, documents, test, unread: false }
    }

    /// Whether the path may go on through a string of the record. Documents stand in parameters only, below a
    /// name of their own; so that every other path is known to stand in the record itself.
    pub(super) fn may_leave_the_record(&self) -> bool {
        self.segments.len() > PARAMETER && CONTAINERS.contains(&self.head())
    }
}

/// Segments up to a parameter, such as `requestParameters.policyDocument`.
const PARAMETER: usize = 2;

/// The way of a path through an event.
struct Walk<'w, 'e> {
    path: &'w FieldPath,
    /// Where the fields of the value stand at which it begins, if that is known.
    fields: Option<&'w Fields>,
    /// None if the path stays in the record.
    documents: Option<&'e Documents>,
    test: &'w mut dyn FnMut(Value<'e>) -> bool,
    /// A document on the way stayed unread.
    unread: bool,
}

impl<'e> Walk<'_, 'e> {
    /// Goes on from the segment of this number, `nested` documents deep.
    fn any_from(&mut self, from: usize, value: Value<'e>, nested: usize) -> bool {
        let (text, segments) = (&self.path.text, &self.path.segments);
        let end = segments.len();
        if from == end {
            return (self.test)(value);
        }
        match value.kind() {
            Kind::Array(mut elements) => elements.any(|element| self.any_from(from, element, nested)),
            Kind::Object(_) => {
                let get = |key| match self.fields {
                    Some(fields) if from == 0 => fields.get(value, key),
                    _ => value.get(key),
                };
                let step = (from + 1..=end).rev().find_map(|to| {
                    get(&text[segments[from].start..segments[to - 1].end]).map(|value| (to, value))
                });
                step.is_some_and(|(to, value)| self.any_from(to, value, nested))
            }
            Kind::String(text) if from >= PARAMETER => match self.open(text, nested) {
                Some(document) => self.any_from(from, document, nested + 1),
                None => false,
            },
            _ => false,
        }
    }

    fn open(&mut self, text: &str, nested: usize) -> Option<Value<'e>> {
        match self.documents?.open(text) {
            Opened::Document(document) if nested < MOST_NESTED => Some(document),
            Opened::Nothing => None,
            Opened::Document(_) | Opened::Unread => {
                self.unread = true;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Parser;
    use super::*;

    fn found(record: &str, path: &str) -> Vec<String> {
        Parser::default()
            .parse(record.as_bytes(), |event| {
                let mut found = Vec::new();
                event.any(&FieldPath::new(path), &mut |value| {
                    found.push(value.to_json());
                    false
                });
                found
            })
            .unwrap()
    }

    #[test]
    fn paths_resolve() {
        let cases: [(&str, &str, &[&str]); 9] = [
            (r#"{"a":{"b":1}}"#, "a.b", &["1"]),
            (r#"{"a":{"b":1}}"#, "a", &[r#"{"b":1}"#]),
            (r#"{"a":{"b":1}}"#, "a.c", &[]),
            (r#"{"a":1}"#, "a.b", &[]),
            (r#"{"a":[{"b":1},{"c":2},{"b":[3,4]}]}"#, "a.b", &["1", "[3,4]"]),
            (r#"{"a":[[{"b":1}]]}"#, "a.b", &["1"]),
            (r#"{"a.b":1,"a":{"b":2}}"#, "a.b", &["1"]),
            (r#"{"a":{"b.c":{"d":1},"b":{"c":{"d":2}}}}"#, "a.b.c.d", &["1"]),
            (r#"{"a":{"b":1,"b":2}}"#, "a.b", &["2"]),
        ];
        for (record, path, expected) in cases {
            assert_eq!(found(record, path), expected, "{path} in {record}");
        }
    }
}
