//! Field paths: how a detection names a place in the record.

use std::ops::Range;

use super::value::{Kind, Value};

/// A dotted path such as `requestParameters.userName`.
///
/// At each object the longest literal key is tried first, so that a key which itself contains dots can be
/// named. A path goes on through every element of a list.
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

    /// Whether the path has one segment, and so names a top-level field.
    #[must_use]
    pub fn is_top(&self) -> bool {
        self.segments.len() == 1
    }

    /// Whether `test` holds for any value at this path. Lists on the way are walked; a list at the end is
    /// handed over as it is. Stops at the first that holds.
    pub fn any<'e>(&self, root: Value<'e>, test: &mut dyn FnMut(Value<'e>) -> bool) -> bool {
        self.any_from(0, root, test)
    }

    fn any_from<'e>(&self, from: usize, value: Value<'e>, test: &mut dyn FnMut(Value<'e>) -> bool) -> bool {
        let end = self.segments.len();
        if from == end {
            return test(value);
        }
        match value.kind() {
            Kind::Array(mut elements) => elements.any(|element| self.any_from(from, element, test)),
            Kind::Object(_) => {
                let step = (from + 1..=end).rev().find_map(|to| {
                    let key = &self.text[self.segments[from].start..self.segments[to - 1].end];
                    value.get(key).map(|value| (to, value))
                });
                step.is_some_and(|(to, value)| self.any_from(to, value, test))
            }
            _ => false,
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
                FieldPath::new(path).any(event.root(), &mut |value| {
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
