//! A CloudTrail record as detections see it: a lazy, borrowed view.
//!
//! Most records are decided by the values of a few [`Keys`] and never parsed. The rest is parsed once, on
//! buffers that the caller keeps, into an [`Event`] that borrows from the record. Field names are those of
//! the CloudTrail record reference; nothing here knows which of them a detection asks for. What is worked out
//! of a record, its actor, its target and the documents within its strings, is so when the first path asks.
//!
//! Parsing is forgiving where dropping the record would hide it: a record that the fast parser refuses
//! (lone surrogates, numbers beyond 64 bits, bytes that are not UTF-8) is read by the slow one, repaired if
//! need be. The slow parser alone is the oracle that the fast one must equal.

mod actor;
mod beside;
mod document;
mod extent;
mod fields;
mod keys;
mod outcome;
mod parse;
mod path;
mod target;
mod time;
mod tokens;
mod value;

use std::borrow::Cow;

use sha2::{Digest, Sha256};

pub use actor::{Actor, ActorKind};
use beside::Beside;
pub use extent::Extent;
use fields::Fields;
pub use keys::{Ends, Escaped, Keys, Others, Place, Raw, Record, Sightings};
pub use outcome::Outcome;
pub use parse::{MAX_DEPTH, Parser, Undecodable};
pub use path::FieldPath;
pub use target::Target;
pub use time::EventTimes;
use tokens::compact;
pub use tokens::{Token, Tokens};
pub use value::{Kind, Number, Scalar, Value};

/// The top-level fields whose content CloudTrail leaves out when it is too large.
pub const CONTAINERS: [&str; 4] =
    ["requestParameters", "responseElements", "additionalEventData", "serviceEventDetails"];

/// Why an addendum was written that corrects an earlier event.
const CORRECTION: &str = "UPDATED_DATA";

/// One parsed record.
///
/// It borrows from the record and from the [`Parser`] that made it.
#[derive(Debug, Clone, Copy)]
pub struct Event<'e> {
    record: &'e [u8],
    raw: &'e str,
    root: Value<'e>,
    repaired: bool,
    omitted: Omitted,
    beside: &'e Beside,
}

/// Which of the [`CONTAINERS`] CloudTrail omitted, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Omitted(u8);

/// What identifies an event: ids are unique only together with account and region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventKey<'e> {
    /// `recipientAccountId`, or empty.
    pub account: Cow<'e, str>,
    /// `awsRegion`, or empty.
    pub region: Cow<'e, str>,
    /// `eventID`, or 64 hexadecimal digits of the SHA-256 of the compact record.
    pub id: Cow<'e, str>,
}

impl<'e> Event<'e> {
    fn new(record: &'e [u8], raw: &'e str, root: Value<'e>, repaired: bool, beside: &'e Beside) -> Self {
        Self { record, raw, root, repaired, omitted: Omitted::of(root, &beside.fields), beside }
    }

    /// The record's own text, repaired if need be; valid JSON, one object.
    #[must_use]
    pub fn raw(&self) -> &'e str {
        self.raw
    }

    /// The whole record as a value; always an object.
    #[must_use]
    pub fn root(&self) -> Value<'e> {
        self.root
    }

    /// Whether bytes had to be replaced to read the record (invalid UTF-8 or lone surrogates).
    #[must_use]
    pub fn repaired(&self) -> bool {
        self.repaired
    }

    /// Which containers were left out for their size.
    #[must_use]
    pub fn omitted(&self) -> Omitted {
        self.omitted
    }

    /// Whether `test` holds for any value at the path, which may be a derived field or lead through documents
    /// in strings. Lists on the way are walked; a list at the end is handed over as it is. Stops at the first
    /// that holds.
    pub fn any(&self, path: &FieldPath, test: &mut dyn FnMut(Value<'e>) -> bool) -> bool {
        let Beside { fields, documents, .. } = self.beside;
        if path.is_derived() {
            return path.any(self.beside.derived(self, path), None, documents, test);
        }
        path.any(self.root, Some(fields), documents, test)
    }

    /// Whether nothing can be told of the values at the path: CloudTrail left them out, or they may stand in a
    /// document that is beyond the bounds of what is read.
    #[must_use]
    pub fn is_unknown(&self, path: &FieldPath) -> bool {
        if !path.may_be_unknown() {
            return false;
        }
        match path.as_str() {
            "actor.mfa" => Actor::may_lack_mfa(self.omitted),
            name if Target::FIELDS.contains(&name) => Target::is_unknown(self),
            _ => self.omitted.contains(path.head()) || self.is_unread(path),
        }
    }

    fn is_unread(&self, path: &FieldPath) -> bool {
        let unread = path.is_unread(self.root, &self.beside.fields, &self.beside.documents);
        if unread {
            let container = CONTAINERS.iter().position(|name| *name == path.head());
            container.into_iter().for_each(|container| self.beside.documents.note_unread(container));
        }
        unread
    }

    /// The containers of which something was found to be unknown: those left out, and those with a document
    /// that a path led through and that stayed unread.
    #[must_use]
    pub fn unknown(&self) -> Omitted {
        Omitted(self.omitted.0 | self.beside.documents.unread())
    }

    /// The value below nested object keys, or `None` where one is absent.
    #[must_use]
    pub fn at(&self, keys: &[&str]) -> Option<Value<'e>> {
        let (first, rest) = keys.split_first()?;
        rest.iter().try_fold(self.beside.fields.get(self.root, first)?, |value, key| value.get(key))
    }

    /// The text of the scalar below nested object keys; `None` for null, objects, lists and absent ones.
    #[must_use]
    pub fn text(&self, keys: &[&str]) -> Option<Cow<'e, str>> {
        self.at(keys)?.scalar_text()
    }

    /// `eventTime`, if it is an RFC 3339 time.
    #[must_use]
    pub fn time(&self) -> Option<jiff::Timestamp> {
        self.text(&["eventTime"])?.parse().ok()
    }

    /// What identifies this event.
    #[must_use]
    pub fn key(&self) -> EventKey<'e> {
        let part = |name| self.text(&[name]).unwrap_or_default();
        let id = match part("eventID") {
            id if id.is_empty() => hex(&Sha256::digest(compact(self.record))).into(),
            id => id,
        };
        EventKey { account: part("recipientAccountId"), region: part("awsRegion"), id }
    }

    /// What identifies the earlier event whose data this one corrects, if it is an addendum that does. Other
    /// addenda are events that come late.
    #[must_use]
    pub fn corrects(&self) -> Option<EventKey<'e>> {
        let addendum = |key| self.text(&["addendum", key]).filter(|text| !text.is_empty());
        let id = addendum("originalEventID")
            .filter(|_| addendum("reason").is_some_and(|why| why == CORRECTION))?;
        Some(EventKey { id, ..self.key() })
    }

    /// Whether the call worked, and its error code.
    #[must_use]
    pub fn outcome(&self) -> Outcome<'e> {
        Outcome::of(self)
    }
}

impl Omitted {
    fn of(root: Value<'_>, fields: &Fields) -> Self {
        let is_omitted = |name: &str| fields.get(root, name).is_some_and(is_omitted);
        let bits = CONTAINERS.iter().enumerate().filter(|(_, name)| is_omitted(name));
        Self(bits.fold(0, |bits, (i, _)| bits | 1 << i))
    }

    /// Whether nothing was left out.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the top-level field of this name was left out.
    #[must_use]
    pub fn contains(self, name: &str) -> bool {
        self.names().any(|omitted| omitted == name)
    }

    /// The names of what was left out.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        CONTAINERS.into_iter().enumerate().filter(move |(i, _)| self.0 & 1 << i != 0).map(|(_, name)| name)
    }
}

/// The form that CloudTrail writes in place of content over its limit, for example
/// `{"reason":"requestParameters too large","omitted":"true","originalSize":"149893"}`.
fn is_omitted(container: Value<'_>) -> bool {
    let text = |key| container.get(key).and_then(Value::scalar_text);
    text("omitted").is_some_and(|omitted| omitted == "true")
        || text("reason").is_some_and(|reason| reason.ends_with("too large"))
}

/// Lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_event<R>(record: &str, look: impl FnOnce(Event<'_>) -> R) -> R {
        Parser::default().parse(record.as_bytes(), look).unwrap()
    }

    #[test]
    fn omitted_containers_are_recognised() {
        let cases = [
            (r#"{"requestParameters":{"reason":"requestParameters too large","omitted":"true"}}"#, true),
            (r#"{"requestParameters":{"omitted":true}}"#, true),
            (r#"{"requestParameters":{"reason":"x too large"}}"#, true),
            (r#"{"requestParameters":{"omitted":"false"}}"#, false),
            (r#"{"requestParameters":"HIDDEN_DUE_TO_SECURITY_REASONS"}"#, false),
            (r#"{"requestParameters":null}"#, false),
            (r#"{"somethingElse":{"omitted":true}}"#, false),
        ];
        for (record, expected) in cases {
            assert_eq!(with_event(record, |event| !event.omitted().is_empty()), expected, "{record}");
        }
    }

    #[test]
    fn key_falls_back_to_the_hash_of_the_compact_record() {
        let spaced = with_event(r#"{ "awsRegion" : "eu-west-1" }"#, |event| event.key().id.into_owned());
        let dense = with_event(r#"{"awsRegion":"eu-west-1"}"#, |event| event.key().id.into_owned());
        assert_eq!(spaced, dense);
        assert_eq!(dense.len(), 64);
    }

    #[test]
    fn what_is_repaired_alike_is_not_the_same() {
        let ids = [&b"{\"a\":\"\xff\"}"[..], b"{\"a\":\"\xfe\"}", br#"{"a":"\ud800"}"#, br#"{"a":"\udfff"}"#]
            .map(|record| Parser::default().parse(record, |event| event.key().id.into_owned()).unwrap());
        assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
    }

    #[test]
    fn key_takes_the_last_of_duplicate_keys() {
        let id = with_event(r#"{"eventID":"a","eventID":"b"}"#, |event| event.key().id.into_owned());
        assert_eq!(id, "b");
    }
}
