//! Documents within the event: strings that hold JSON, such as policies.
//!
//! A path that has segments left at such a string goes on through it. A text is read when the first path asks
//! for it, and once: what it holds is kept as long as the event is looked at. One that is beyond a bound
//! stays unread, and whatever stands in it is unknown.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};

use percent_encoding::percent_decode_str;

use super::parse::{self, Undecodable};
use super::value::{Node, Value};

/// Bytes of a text that is read. CloudTrail cuts whole events off at this size.
const MAX_TEXT: usize = 256 << 10;
/// Objects and lists within each other in a document.
const MAX_DEPTH: usize = 32;
/// Documents that are read of one event.
const MOST: usize = 32;
/// Documents within each other.
pub(super) const MOST_NESTED: usize = 3;

/// The documents of one event that were asked for.
#[derive(Debug, Default)]
pub(super) struct Documents {
    slots: OnceCell<Box<[OnceCell<Slot>; MOST]>>,
    /// A bit for each container of the event with a document that stayed unread.
    unread: Cell<u8>,
}

#[derive(Debug)]
struct Slot {
    /// Where the text stands; it is told from others by its place, not by its content.
    text: *const str,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Document(Box<[Node<'static>]>),
    Nothing,
    Unread,
}

/// What a string is that a path leads through.
#[derive(Debug, Clone, Copy)]
pub(super) enum Opened<'e> {
    /// An object or a list.
    Document(Value<'e>),
    /// No document.
    Nothing,
    /// Perhaps a document, but beyond a bound.
    Unread,
}

impl Documents {
    /// Opens a text of the event, or of one of these documents.
    pub(super) fn open(&self, text: &str) -> Opened<'_> {
        if !text.trim_start().starts_with(['{', '[', '%']) {
            return Opened::Nothing;
        }
        for slot in self.slots.get_or_init(Box::default).iter() {
            let slot = slot.get_or_init(|| Slot { text, content: Content::read(text) });
            if std::ptr::eq(slot.text, text) {
                return slot.content.opened();
            }
        }
        Opened::Unread
    }

    /// Notes that a document of the container of this number stayed unread.
    pub(super) fn note_unread(&self, container: usize) {
        self.unread.set(self.unread.get() | 1 << container);
    }

    /// A bit for each container of which that was noted.
    pub(super) fn unread(&self) -> u8 {
        self.unread.get()
    }
}

impl Content {
    fn read(text: &str) -> Self {
        if text.len() > MAX_TEXT {
            return Content::Unread;
        }
        let decoded = if text.trim_start().starts_with('%') {
            percent_decode_str(text).decode_utf8_lossy()
        } else {
            Cow::Borrowed(text)
        };
        match parse::read_document(&decoded, MAX_DEPTH) {
            Ok(nodes) => Content::Document(nodes),
            Err(Undecodable::TooDeep) => Content::Unread,
            Err(_) => Content::Nothing,
        }
    }

    fn opened(&self) -> Opened<'_> {
        match self {
            Content::Document(nodes) => Opened::Document(Value::first(nodes)),
            Content::Nothing => Opened::Nothing,
            Content::Unread => Opened::Unread,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{FieldPath, Parser};
    use super::*;

    fn quoted(text: &str) -> String {
        serde_json::to_string(text).unwrap()
    }

    fn encoded(text: &str) -> String {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    }

    /// What stands at the path, and whether something else may.
    fn found(record: &str, path: &str) -> (Vec<String>, bool) {
        let path = FieldPath::new(path);
        let look = |event: super::super::Event<'_>| {
            let mut found = Vec::new();
            event.any(&path, &mut |value| {
                found.push(value.to_json());
                false
            });
            (found, event.is_unknown(&path))
        };
        Parser::default().parse(record.as_bytes(), look).unwrap()
    }

    #[test]
    fn paths_go_on_through_documents() {
        let policy = r#"{"Statement":[{"Action":["a","b"]},{"Action":"*"}],"x.y":1,"x":{"y":2},"d":1,"d":2}"#;
        let nested = format!(r#"{{"outer":{}}}"#, quoted(&encoded(policy)));
        let texts = [
            (policy.to_owned(), "requestParameters.p.Statement.Action", vec![r#"["a","b"]"#, r#""*""#]),
            (encoded(policy), "requestParameters.p.Statement.Action", vec![r#"["a","b"]"#, r#""*""#]),
            (format!(" \n{policy}\n"), "requestParameters.p.d", vec!["2"]),
            (policy.to_owned(), "requestParameters.p.x.y", vec!["1"]),
            (format!("[{policy},{policy}]"), "requestParameters.p.d", vec!["2", "2"]),
            (nested, "requestParameters.p.outer.d", vec!["2"]),
            (r#"{"a":"\ud83dx"}"#.to_owned(), "requestParameters.p.a", vec!["\"\u{fffd}x\""]),
            (policy.to_owned(), "requestParameters.p.Statement.Effect", vec![]),
            ("no document".to_owned(), "requestParameters.p.d", vec![]),
            (r#"{"d":1"#.to_owned(), "requestParameters.p.d", vec![]),
            ("%7B%".to_owned(), "requestParameters.p.d", vec![]),
            (quoted(policy), "requestParameters.p.d", vec![]),
            ("12".to_owned(), "requestParameters.p.d", vec![]),
        ];
        for (text, path, expected) in texts {
            let record = format!(r#"{{"requestParameters":{{"p":{}}}}}"#, quoted(&text));
            let expected = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(found(&record, path), (expected, false), "{path} in {record}");
        }
    }

    #[test]
    fn a_path_that_ends_at_a_string_sees_the_string() {
        let record = r#"{"requestParameters":{"p":"{\"a\":1}","q":["{\"a\":1}","{\"a\":2}"]}}"#;
        assert_eq!(found(record, "requestParameters.p").0, [r#""{\"a\":1}""#]);
        assert_eq!(found(record, "requestParameters.q.a").0, ["1", "2"]);
    }

    #[test]
    fn only_below_containers_are_there_documents() {
        let document = r#""{\"a\":{\"b\":1}}""#;
        for (record, path) in [
            (format!(r#"{{"userIdentity":{{"p":{document}}}}}"#), "userIdentity.p.a.b"),
            (format!(r#"{{"requestParameters":{document}}}"#), "requestParameters.a.b"),
        ] {
            assert_eq!(found(&record, path), (vec![], false), "{record}");
        }
    }

    #[test]
    fn what_is_beyond_a_bound_is_unknown() {
        let record = |text: &str| format!(r#"{{"requestParameters":{{"p":{}}}}}"#, quoted(text));
        let deep = |levels: usize| format!(r#"{{"a":1,"x":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
        let long = |bytes: usize| format!(r#"{{"a":1,"x":"{}"}}"#, "x".repeat(bytes));
        let nested = |levels: usize| {
            (0..levels).fold(r#"{"a":1}"#.to_owned(), |inner, _| format!("[{}]", quoted(&inner)))
        };
        for (text, known) in [
            (deep(MAX_DEPTH - 1), true),
            (deep(MAX_DEPTH), false),
            (long(MAX_TEXT - 100), true),
            (long(MAX_TEXT), false),
            (nested(MOST_NESTED - 1), true),
            (nested(MOST_NESTED), false),
        ] {
            let (found, unknown) = found(&record(&text), "requestParameters.p.a");
            assert_eq!((found.len(), unknown), (usize::from(known), !known), "{text:.80}");
        }
        let many = vec![quoted(r#"{"a":1}"#); MOST + 1].join(",");
        let (found, unknown) =
            found(&format!(r#"{{"requestParameters":{{"p":[{many}]}}}}"#), "requestParameters.p.a");
        assert_eq!((found.len(), unknown), (MOST, true));
    }
}
