//! From a record's bytes to its nodes, the fast way and the slow way.
//!
//! simd-json reads nearly every record. Where its result would lose the text of a number, or where it
//! refuses, `serde_json` decides on the raw text; there lone surrogates and bytes that are not UTF-8 become
//! U+FFFD. Both ways give the same nodes.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use simd_json::StaticNode;
use simd_json::tape;

use super::Event;
use super::beside::Beside;
use super::fields::Fields;
use super::tokens::{Token, Tokens};
use super::value::{Kind, Members, Node, Value};

/// Objects and lists within each other beyond which a record is refused.
pub const MAX_DEPTH: usize = 128;

/// Keys of an object up to which each is compared with each.
const MANY_KEYS: usize = 32;
/// Numbers by which keys are told apart at first.
const KEY_BITS: usize = 1 << 11;

/// Why a record could not be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum Undecodable {
    /// An element of `Records` is not a JSON object.
    #[error("not a JSON object")]
    NotAnObject,
    /// The record is larger than the limit.
    #[error("larger than the record limit")]
    TooLarge,
    /// Objects and lists are nested too deeply.
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// The record is not JSON.
    #[error("not JSON: {0}")]
    Malformed(#[source] serde_json::Error),
}

impl Undecodable {
    /// A short name, from a closed set, for metrics and summaries.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Undecodable::NotAnObject => "not-an-object",
            Undecodable::TooLarge => "too-large",
            Undecodable::TooDeep => "too-deep",
            Undecodable::Malformed(_) => "malformed",
        }
    }
}

/// Parses records one after the other on the same buffers.
#[derive(Default)]
pub struct Parser {
    fast: Fast,
    repaired: String,
    nodes: Vec<Node<'static>>,
}

impl fmt::Debug for Parser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parser").finish_non_exhaustive()
    }
}

impl Parser {
    /// Parses a record and hands the event to `look`.
    ///
    /// # Errors
    /// The record is not a JSON object, is nested too deeply, or is not JSON.
    pub fn parse<R>(&mut self, record: &[u8], look: impl FnOnce(Event<'_>) -> R) -> Result<R, Undecodable> {
        if let Ok(raw) = std::str::from_utf8(record) {
            let mut nodes = recycle(std::mem::take(&mut self.nodes));
            if self.fast.parse(record, &mut nodes) && matches!(nodes[0], Node::Object { .. }) {
                keep_the_last(&mut nodes);
                let root = Value::first(&nodes);
                let beside = Beside::new(Fields::of(root));
                let result = look(Event::new(record, raw, root, false, &beside));
                self.nodes = recycle(nodes);
                return Ok(result);
            }
            self.nodes = recycle(nodes);
        }
        self.parse_slowly(record, look)
    }

    /// Parses a record the slow way only: what [`Parser::parse`] must equal.
    ///
    /// # Errors
    /// As [`Parser::parse`].
    pub fn parse_slowly<R>(
        &mut self,
        record: &[u8],
        look: impl FnOnce(Event<'_>) -> R,
    ) -> Result<R, Undecodable> {
        let text = String::from_utf8_lossy(record);
        let mut repaired = matches!(text, Cow::Owned(_));
        let mut nodes = recycle(std::mem::take(&mut self.nodes));
        let outcome = match read(&text, &mut nodes) {
            Err(Undecodable::Malformed(error)) => {
                nodes.clear();
                self.repaired = replace_lone_surrogates(&text).ok_or(Undecodable::Malformed(error))?;
                repaired = true;
                read(&self.repaired, &mut nodes).map(|()| self.repaired.as_str())
            }
            outcome => outcome.map(|()| &*text),
        };
        let result = outcome.map(|raw| {
            keep_the_last(&mut nodes);
            let root = Value::first(&nodes);
            let beside = Beside::new(Fields::of(root));
            look(Event::new(record, raw, root, repaired, &beside))
        });
        self.nodes = recycle(nodes);
        result
    }
}

/// Of duplicate keys of an object keeps the last one. Hardly any record has some.
fn keep_the_last(nodes: &mut Vec<Node<'_>>) {
    let has_repeats = |at: usize| match Value::first(&nodes[at..]).kind() {
        Kind::Object(members) => repeats(members),
        _ => false,
    };
    if (0..nodes.len()).any(has_repeats) {
        let mut kept = Vec::with_capacity(nodes.len());
        copy_the_last(nodes, &mut kept);
        *nodes = kept;
    }
}

fn repeats(members: Members<'_>) -> bool {
    // Most objects are done when no two of their keys have the same bit.
    let mut bits = [0_u64; KEY_BITS / 64];
    let mut is_new = |key: &str| {
        let bit = key_bit(key);
        let known = bits[bit / 64] >> (bit % 64) & 1;
        bits[bit / 64] |= 1 << (bit % 64);
        known == 0
    };
    if members.clone().all(|(key, _)| is_new(key)) {
        return false;
    }
    let few = members.clone().take(MANY_KEYS + 1).count() <= MANY_KEYS;
    if few {
        let mut seen = [""; MANY_KEYS];
        return members.enumerate().any(|(i, (key, _))| {
            seen[i] = key;
            seen[..i].contains(&key)
        });
    }
    let mut seen = HashSet::new();
    members.into_iter().any(|(key, _)| !seen.insert(key))
}

/// A number of a key by its length and two of its letters; the fields of a record have different ones.
fn key_bit(key: &str) -> usize {
    let letter = |back: usize| key.len().checked_sub(back).map_or(0, |at| usize::from(key.as_bytes()[at]));
    (key.len() * 64 + letter(1) * 8 + letter(3)) % KEY_BITS
}

/// Copies the value that these nodes are, without the members that later ones of their key replace.
fn copy_the_last<'e>(nodes: &[Node<'e>], kept: &mut Vec<Node<'e>>) {
    let start = kept.len();
    kept.push(nodes[0].clone());
    match nodes[0] {
        Node::Array { .. } => {
            let mut at = 1;
            while at < nodes.len() {
                let end = at + nodes[at].span();
                copy_the_last(&nodes[at..end], kept);
                at = end;
            }
            kept[start] = Node::Array { count: kept.len() - start - 1 };
        }
        Node::Object { .. } => {
            let (mut at, mut members, mut last) = (1, Vec::new(), HashMap::new());
            while at < nodes.len() {
                let (value, key) = (at + 1, &nodes[at]);
                let end = value + nodes[value].span();
                if let Node::String(key) = key {
                    last.insert(&**key, at);
                }
                members.push((at, value, end));
                at = end;
            }
            for (at, value, end) in members {
                if matches!(&nodes[at], Node::String(key) if last.get(&**key) == Some(&at)) {
                    kept.push(nodes[at].clone());
                    copy_the_last(&nodes[value..end], kept);
                }
            }
            kept[start] = Node::Object { count: kept.len() - start - 1 };
        }
        _ => {}
    }
}

/// simd-json and its buffers.
struct Fast {
    input: Vec<u8>,
    buffers: simd_json::Buffers,
    tape: simd_json::Tape<'static>,
}

impl Default for Fast {
    fn default() -> Self {
        Self {
            input: Vec::new(),
            // One level less than ours, so that the slow way alone decides at the limit.
            buffers: simd_json::Buffers::with_max_depth(4096, MAX_DEPTH - 1),
            tape: simd_json::Tape::null(),
        }
    }
}

impl Fast {
    /// Fills the nodes and says whether they hold all that the record says.
    fn parse<'e>(&'e mut self, record: &[u8], nodes: &mut Vec<Node<'e>>) -> bool {
        self.input.clear();
        self.input.extend_from_slice(record);
        let mut tape = std::mem::replace(&mut self.tape, simd_json::Tape(Vec::new())).reset();
        let read = simd_json::fill_tape(&mut self.input, &mut self.buffers, &mut tape).is_ok();
        let complete =
            read && tape.0.iter().all(|node| convert(*node, record).map(|node| nodes.push(node)).is_some());
        self.tape = tape.reset();
        complete && !nodes.is_empty()
    }
}

/// The node, or `None` if the number's text is lost.
fn convert<'e>(node: tape::Node<'e>, record: &[u8]) -> Option<Node<'e>> {
    Some(match node {
        tape::Node::String(text) => Node::String(text.into()),
        tape::Node::Object { count, .. } => Node::Object { count },
        tape::Node::Array { count, .. } => Node::Array { count },
        tape::Node::Static(StaticNode::Null) => Node::Null,
        tape::Node::Static(StaticNode::Bool(value)) => Node::Bool(value),
        tape::Node::Static(StaticNode::I64(0) | StaticNode::U64(0)) if has_negative_zero(record) => {
            return None;
        }
        tape::Node::Static(StaticNode::I64(value)) => Node::Int(value.into()),
        tape::Node::Static(StaticNode::U64(value)) => Node::Int(value.into()),
        tape::Node::Static(StaticNode::F64(_)) => return None,
    })
}

/// Whether the record may hold the number `-0`, which an integer cannot tell from `0`.
fn has_negative_zero(record: &[u8]) -> bool {
    memchr::memmem::find_iter(record, b"-0").any(|at| {
        let before = at.checked_sub(1).map(|i| record[i]);
        let after = record.get(at + 2);
        before.is_none_or(|byte| b":[, \t\r\n".contains(&byte))
            && after.is_none_or(|byte| b"]}, \t\r\n".contains(byte))
    })
}

/// Reads an object into nodes by way of `serde_json`.
fn read<'e>(text: &'e str, nodes: &mut Vec<Node<'e>>) -> Result<(), Undecodable> {
    read_one_of(&['{'], text, MAX_DEPTH, nodes)
}

/// Reads a value that begins with one of these marks.
fn read_one_of<'e>(
    marks: &[char],
    text: &'e str,
    deepest: usize,
    nodes: &mut Vec<Node<'e>>,
) -> Result<(), Undecodable> {
    if depth(text) > deepest {
        return Err(Undecodable::TooDeep);
    }
    let raw: &RawValue = serde_json::from_str(text).map_err(Undecodable::Malformed)?;
    if !raw.get().starts_with(marks) {
        return Err(Undecodable::NotAnObject);
    }
    push(raw, nodes).map_err(Undecodable::Malformed)
}

/// Reads a text that is an object or a list into nodes that borrow nothing from it.
pub(super) fn read_document(text: &str, deepest: usize) -> Result<Box<[Node<'static>]>, Undecodable> {
    let read = |text: &str| {
        let mut nodes = Vec::new();
        read_one_of(&['{', '['], text, deepest, &mut nodes)?;
        keep_the_last(&mut nodes);
        Ok(nodes.into_iter().map(Node::into_owned).collect())
    };
    read(text).or_else(|error| match replace_lone_surrogates(text) {
        Some(repaired) => read(&repaired),
        None => Err(error),
    })
}

fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for token in Tokens::new(text) {
        match token {
            Token::Mark('{' | '[') => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            Token::Mark('}' | ']') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Pushes one value. Each level of nesting scans its text again, which the depth limit bounds.
fn push<'e>(raw: &'e RawValue, nodes: &mut Vec<Node<'e>>) -> Result<(), serde_json::Error> {
    let text = raw.get();
    let start = nodes.len();
    match text.as_bytes()[0] {
        b'{' => {
            nodes.push(Node::Object { count: 0 });
            let Pairs(pairs) = serde_json::from_str(text)?;
            for (Text(key), value) in pairs {
                nodes.push(Node::String(key));
                push(value, nodes)?;
            }
            nodes[start] = Node::Object { count: nodes.len() - start - 1 };
        }
        b'[' => {
            nodes.push(Node::Array { count: 0 });
            let elements: Vec<&RawValue> = serde_json::from_str(text)?;
            for element in elements {
                push(element, nodes)?;
            }
            nodes[start] = Node::Array { count: nodes.len() - start - 1 };
        }
        b'"' => {
            let Text(text) = serde_json::from_str(text)?;
            nodes.push(Node::String(text));
        }
        b't' => nodes.push(Node::Bool(true)),
        b'f' => nodes.push(Node::Bool(false)),
        b'n' => nodes.push(Node::Null),
        _ => nodes.push(number(text)),
    }
    Ok(())
}

fn number(text: &str) -> Node<'_> {
    // Only an integer that prints as it was written may be kept as one.
    match text.parse::<i128>().ok().filter(|value| value.to_string() == text) {
        Some(value) => Node::Int(value),
        None => Node::Number(text.into()),
    }
}

/// The keys and values of an object, duplicates included.
struct Pairs<'e>(Vec<(Text<'e>, &'e RawValue)>);

/// A string, borrowed where it has no escape.
struct Text<'e>(Cow<'e, str>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;
        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor)
    }
}

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(text.into()))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(text.to_owned().into()))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// The text with each `\uXXXX` that is half of a surrogate pair replaced by `\ufffd`, or `None` if there is
/// no such half. The length stays.
fn replace_lone_surrogates(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let unit = |at: usize| {
        let digits = text.get(at + 2..at + 6)?;
        (bytes[at..].starts_with(b"\\u")).then(|| u32::from_str_radix(digits, 16).ok())?
    };
    let mut repaired: Option<Vec<u8>> = None;
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', &bytes[at.min(bytes.len())..]) {
        at += found;
        at += match unit(at) {
            Some(0xD800..=0xDBFF) if matches!(unit(at + 6), Some(0xDC00..=0xDFFF)) => 12,
            Some(0xD800..=0xDFFF) => {
                repaired.get_or_insert_with(|| bytes.to_vec())[at + 2..at + 6].copy_from_slice(b"fffd");
                6
            }
            _ => 2,
        };
    }
    repaired.and_then(|bytes| String::from_utf8(bytes).ok())
}

/// An empty list on the same allocation, free to borrow from something else.
fn recycle<'b>(mut nodes: Vec<Node<'_>>) -> Vec<Node<'b>> {
    nodes.clear();
    nodes.into_iter().map(|_| unreachable!("the list was cleared")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(record: &[u8]) -> (Result<String, &'static str>, Result<String, &'static str>) {
        let mut parser = Parser::default();
        let fast = parser.parse(record, |event| format!("{:?}", event.root())).map_err(|e| e.reason());
        let slow = parser.parse_slowly(record, |event| format!("{:?}", event.root())).map_err(|e| e.reason());
        (fast, slow)
    }

    #[test]
    fn fast_equals_slow() {
        let deep =
            |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels)).into_bytes();
        let mut cases: Vec<Vec<u8>> = [
            r#"{"a":1,"b":-1,"c":0,"d":-0,"e":1.50,"f":1e3,"g":18446744073709551615,"h":-9223372036854775808}"#,
            r#"{"a":123456789012345678901234567890}"#,
            r#"{"a":[1,[2,{"b":null}],{}],"c":{"d":[]},"e":true}"#,
            r#"{"a":"\u0043reate \"x\" \\ \/ \ud83d\ude00","a":"twice"}"#,
            r#"{"a":"\ud83d","b":"\ude00x","c":"\\ud83d"}"#,
            r#"{"$serde_json::private::Number":"1","$serde_json::private::RawValue":"2","x":"\ud800"}"#,
            r#"{"a":1,"b":[{"c":1,"d":2,"c":3}],"a":{"x":1,"x":{"y":1,"y":2}}}"#,
            r#"{"a":1"#,
            r#"{"a":01}"#,
            r#"{"a":}"#,
            r#"{"a":1}x"#,
            "{\"a\":\"line\nbreak\"}",
            "[1]",
            "1",
            "",
        ]
        .iter()
        .map(|text| text.as_bytes().to_vec())
        .collect();
        cases.push(b"{\"a\":\"\xff\xfe\"}".to_vec());
        cases.push(b"{\"a\":\"x\x00y\"}".to_vec());
        cases.extend([126, 127, 128, 129, 100_000].map(deep));
        for case in cases {
            let (fast, slow) = both(&case);
            assert_eq!(fast, slow, "{:.100}", String::from_utf8_lossy(&case));
        }
    }

    #[test]
    fn of_duplicate_keys_the_last_is_kept() {
        let json = |record: &str| {
            Parser::default().parse(record.as_bytes(), |event| event.root().to_json()).unwrap()
        };
        let record = r#"{"a":1,"b":[{"c":1,"d":2,"c":3}],"a":{"x":1,"x":[{"y":1,"y":2}]}}"#;
        assert_eq!(json(record), r#"{"b":[{"d":2,"c":3}],"a":{"x":[{"y":2}]}}"#);
        let many: Vec<String> = (0..1_000).map(|i| format!(r#""k{}":{i}"#, i % 500)).collect();
        assert!(json(&format!("{{{}}}", many.join(","))).starts_with(r#"{"k0":500,"k1":501,"#));
    }

    #[test]
    fn depth_is_limited() {
        let deep = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
        assert!(both(deep(MAX_DEPTH).as_bytes()).0.is_ok());
        assert_eq!(both(deep(MAX_DEPTH + 1).as_bytes()).0, Err("too-deep"));
    }

    #[test]
    fn what_json_cannot_say_is_replaced() {
        let mut parser = Parser::default();
        let cases: [(&[u8], &str); 3] = [
            (br#"{"a":"x\ud83dy"}"#, "x\u{fffd}y"),
            (b"{\"a\":\"x\xffy\"}", "x\u{fffd}y"),
            (br#"{"a":"\\ud83d \ud83d"}"#, "\\ud83d \u{fffd}"),
        ];
        for (record, expected) in cases {
            let (text, repaired) = parser
                .parse(record, |event| (event.text(&["a"]).unwrap().into_owned(), event.repaired()))
                .unwrap();
            assert_eq!(text, expected);
            assert!(repaired);
        }
    }

    #[test]
    fn number_text_is_kept() {
        let mut parser = Parser::default();
        for number in
            ["0", "-0", "1.50", "1e3", "1E+3", "123456789012345678901234567890", "-7", "18446744073709551615"]
        {
            let record = format!(r#"{{"a":{number}}}"#);
            let text =
                parser.parse(record.as_bytes(), |event| event.text(&["a"]).unwrap().into_owned()).unwrap();
            assert_eq!(text, number);
        }
    }
}
