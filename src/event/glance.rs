//! What can be said of a record without parsing it.
//!
//! Two top-level fields decide nearly every record: the name of the call and its service. A glance finds
//! them by searching for the key. It may only err towards parsing: anything unusual is [`Anchor::Odd`].

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::tokens::is_space;

/// The anchor fields of a record as they stand in its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glance<'r> {
    /// `eventName`.
    pub name: Anchor<'r>,
    /// `eventSource`.
    pub source: Anchor<'r>,
    /// Whether the bytes may hide text: an escape `\u`, bytes beyond ASCII, or a container that may have
    /// been omitted. Then the absence of a literal proves nothing.
    pub opaque: bool,
}

/// What a glance says of one top-level field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor<'r> {
    /// The record has no such top-level field.
    Absent,
    /// If the record has such a top-level field, this is its value: ASCII, without escapes.
    Text(&'r [u8]),
    /// Only parsing can tell.
    Odd,
}

/// Finds a top-level field by its name; made once and used for many records.
#[derive(Debug)]
pub struct Field(Finder<'static>);

impl Field {
    /// Looks for the field of this name, which must be ASCII.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(Finder::new(&format!("\"{name}\"")).into_owned())
    }

    /// What the bytes of a record say of the field.
    #[must_use]
    pub fn of<'r>(&self, record: &'r [u8]) -> Anchor<'r> {
        if hides_text(record) { Anchor::Odd } else { self.in_plain(record) }
    }

    /// As [`Field::of`], in a record that hides no text.
    fn in_plain<'r>(&self, record: &'r [u8]) -> Anchor<'r> {
        let mut found = self.0.find_iter(record);
        let Some(at) = found.next() else { return Anchor::Absent };
        if found.next().is_some() {
            return Anchor::Odd;
        }
        match value_after(&record[at + self.0.needle().len()..]) {
            Some(text) => Anchor::Text(text),
            None => Anchor::Odd,
        }
    }
}

/// What glances search for.
struct Finders {
    name: Field,
    source: Field,
    escape: Finder<'static>,
    omitted: Finder<'static>,
    too_large: Finder<'static>,
}

static FINDERS: LazyLock<Finders> = LazyLock::new(|| Finders {
    name: Field::new("eventName"),
    source: Field::new("eventSource"),
    escape: Finder::new(b"\\u"),
    omitted: Finder::new(b"omitted"),
    too_large: Finder::new(b"too large"),
});

impl<'r> Glance<'r> {
    /// Looks at the bytes of one record.
    #[must_use]
    pub fn of(record: &'r [u8]) -> Self {
        if hides_text(record) {
            return Self { name: Anchor::Odd, source: Anchor::Odd, opaque: true };
        }
        let finders = &*FINDERS;
        Self {
            name: finders.name.in_plain(record),
            source: finders.source.in_plain(record),
            opaque: finders.omitted.find(record).is_some() || finders.too_large.find(record).is_some(),
        }
    }
}

/// Whether a key or a text may stand behind escapes, or is compared by case rules beyond ASCII.
fn hides_text(record: &[u8]) -> bool {
    !record.is_ascii() || FINDERS.escape.find(record).is_some()
}

/// The plain string after a key's closing quote: white space, a colon, white space, the string.
fn value_after(rest: &[u8]) -> Option<&[u8]> {
    let rest = skip_space(rest).strip_prefix(b":")?;
    let text = skip_space(rest).strip_prefix(b"\"")?;
    let end = memchr::memchr2(b'"', b'\\', text)?;
    (text[end] == b'"').then(|| &text[..end])
}

fn skip_space(bytes: &[u8]) -> &[u8] {
    let spaces = bytes.iter().take_while(|byte| is_space(**byte)).count();
    &bytes[spaces..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors() {
        let cases: [(&[u8], Anchor<'_>); 11] = [
            (br#"{"eventName":"CreateUser"}"#, Anchor::Text(b"CreateUser")),
            (b"{\"eventName\" :\n\t\"CreateUser\"}", Anchor::Text(b"CreateUser")),
            (br#"{"eventSource":"iam"}"#, Anchor::Absent),
            (br#"{"eventName":"A","eventName":"B"}"#, Anchor::Odd),
            (br#"{"eventName":"A","requestParameters":{"eventName":"B"}}"#, Anchor::Odd),
            (br#"{"eventNam\u0065":"A","requestParameters":{"eventName":"B"}}"#, Anchor::Odd),
            (br#"{"eventName":"\u0043reateUser"}"#, Anchor::Odd),
            (br#"{"eventName":"a\"b"}"#, Anchor::Odd),
            (br#"{"eventName":7}"#, Anchor::Odd),
            (br#"{"x":"eventName"}"#, Anchor::Odd),
            (br#"{"x":"{\"eventName\":\"A\"}"}"#, Anchor::Absent),
        ];
        for (record, expected) in cases {
            assert_eq!(Glance::of(record).name, expected, "{}", String::from_utf8_lossy(record));
        }
        assert_eq!(Glance::of("{\"eventName\":\"\u{212a}\"}".as_bytes()).name, Anchor::Odd);
    }

    #[test]
    fn omitted_containers_are_opaque() {
        assert!(Glance::of(br#"{"requestParameters":{"omitted":true}}"#).opaque);
        assert!(!Glance::of(br#"{"requestParameters":{"a":true}}"#).opaque);
    }
}
