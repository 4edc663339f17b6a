//! From inflated bytes to records, in one pass and without parsing them.
//!
//! Accepted are `{"Records":[…]}`, a bare list, NDJSON and documents one after the other, pretty-printed or
//! not, mixed as they come. The bytes arrive in windows: what a window holds only in part is asked for again
//! with more behind it. One bad record never takes the others with it; in line-oriented input that goes
//! for a line that is cut off, too.

use memchr::memmem;

use super::extent::Extent;
use super::{Broken, Item, Unreadable};
use crate::event::Undecodable;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The splitter's place in the input, between two windows.
#[derive(Debug)]
pub(super) struct Splitter {
    place: Place,
    /// A value that is being passed over.
    skip: Option<Skip>,
    /// One document stands on each line: a broken line has shown it.
    lines: bool,
    max_record: usize,
    /// A document was entered.
    documents: bool,
    /// Something between documents was no document.
    junk: bool,
    broken: Option<Broken>,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    /// Between documents.
    Documents,
    /// In an object that has `Records`, before a key.
    Container,
    /// In a list of records.
    List { in_container: bool },
}

#[derive(Debug)]
enum Skip {
    Composite(Extent),
    String { opened: bool, escaped: bool },
    Scalar { started: bool },
    Line,
}

impl Splitter {
    pub(super) fn new(max_record: usize) -> Self {
        Self {
            place: Place::Documents,
            skip: None,
            lines: false,
            max_record,
            documents: false,
            junk: false,
            broken: None,
        }
    }

    /// Hands the items of a window to `visit`; returns how many bytes need not be shown again. With `last`
    /// nothing follows the window.
    pub(super) fn split(&mut self, window: &[u8], last: bool, visit: &mut dyn FnMut(Item<'_>)) -> usize {
        let mut at = 0;
        loop {
            if let Some(skip) = &mut self.skip {
                let Some(skipped) = skip.scan(&window[at..]) else { return window.len() };
                self.skip = None;
                at += skipped;
            }
            at += separators(&window[at..]);
            if at == window.len() {
                return at;
            }
            match self.step(&window[at..], last, visit) {
                Some(taken) => at += taken,
                None if last => {
                    self.fail(Broken::Truncated);
                    return window.len();
                }
                None => return at,
            }
        }
    }

    /// What was wrong with the input as a whole, once the last window was seen.
    pub(super) fn finish(self) -> Option<Unreadable> {
        let open =
            self.skip.is_some_and(|skip| !skip.may_end_here()) || !matches!(self.place, Place::Documents);
        match self.broken.or(open.then_some(Broken::Truncated)) {
            Some(broken) => Some(Unreadable::Json(broken)),
            None if self.documents => None,
            None if self.junk => Some(Unreadable::Json(Broken::NotJson)),
            None => Some(Unreadable::Empty),
        }
    }

    /// One step at a byte that is no separator; `None` asks for more of the input.
    fn step(&mut self, rest: &[u8], last: bool, visit: &mut dyn FnMut(Item<'_>)) -> Option<usize> {
        let between = matches!(self.place, Place::Documents);
        self.documents |= between && matches!(rest[0], b'{' | b'[');
        match (self.place, rest[0]) {
            (Place::Documents, b'{') => self.document(rest, last, visit),
            (Place::Documents, b'[') => {
                self.place = Place::List { in_container: false };
                Some(1)
            }
            (Place::Documents, _) if rest.starts_with(BYTE_ORDER_MARK) => Some(BYTE_ORDER_MARK.len()),
            (Place::Documents, _) if BYTE_ORDER_MARK.starts_with(rest) && !last => None,
            (Place::Documents, _) => {
                self.junk = true;
                visit(Item::Undecodable(Undecodable::NotAnObject));
                self.skip = Some(Skip::Line);
                Some(0)
            }
            (Place::Container, b'}') => {
                self.place = Place::Documents;
                Some(1)
            }
            (Place::Container, b'"') => {
                let (key, value_at) = member(rest)?;
                if is_records(key) {
                    return Some(self.enter_records(rest, value_at));
                }
                self.skip = Some(Skip::value(rest[value_at]));
                Some(value_at)
            }
            (Place::Container, _) => {
                self.fail(Broken::Malformed);
                Some(1)
            }
            (Place::List { in_container }, b']') => {
                self.place = if in_container { Place::Container } else { Place::Documents };
                Some(1)
            }
            (Place::List { .. }, b'{') => self.record(rest, visit),
            (Place::List { .. }, other) => {
                visit(Item::Undecodable(Undecodable::NotAnObject));
                self.skip = Some(Skip::value(other));
                Some(0)
            }
        }
    }

    /// An object between documents: a container of records, or a record itself.
    fn document(&mut self, rest: &[u8], last: bool, visit: &mut dyn FnMut(Item<'_>)) -> Option<usize> {
        if self.lines {
            return self.line(rest, last, visit);
        }
        if let Some(value_at) = records_value(rest, Depth::FirstKey) {
            return Some(self.enter_records(rest, value_at));
        }
        let limit = rest.len().min(self.max_record);
        let mut extent = Extent::default();
        match extent.scan(&rest[..limit]) {
            Some(end) => {
                if let Some(next) = broken_line(&rest[..end]) {
                    return Some(self.resume_at_line(next, visit));
                }
                if let Some(value_at) = records_value(&rest[..end], Depth::AnyKey) {
                    return Some(self.enter_records(rest, value_at));
                }
                visit(item(&rest[..end], &extent));
                Some(end)
            }
            None if !last && rest.len() <= self.max_record => None,
            None => {
                if let Some(value_at) = records_value(&rest[..limit], Depth::AnyKey) {
                    return Some(self.enter_records(rest, value_at));
                }
                if let Some(next) = next_line_with_object(&rest[..limit]) {
                    return Some(self.resume_at_line(next, visit));
                }
                if rest.len() <= self.max_record {
                    return None;
                }
                // Too large for a record; walked key by key, should `Records` come after all.
                visit(Item::Undecodable(Undecodable::TooLarge));
                self.place = Place::Container;
                Some(1)
            }
        }
    }

    /// A document in input where each stands on a line of its own.
    fn line(&mut self, rest: &[u8], last: bool, visit: &mut dyn FnMut(Item<'_>)) -> Option<usize> {
        let end = memchr::memchr(b'\n', rest);
        if end.is_none() && !last && rest.len() <= self.max_record {
            return None;
        }
        let line = &rest[..end.unwrap_or(rest.len())];
        let mut extent = Extent::default();
        match extent.scan(line) {
            Some(end) if end <= self.max_record => {
                visit(item(&line[..end], &extent));
                return Some(end);
            }
            Some(_) => visit(Item::Undecodable(Undecodable::TooLarge)),
            None if end.is_none() && last => return None,
            None => visit(Item::Undecodable(if line.len() > self.max_record {
                Undecodable::TooLarge
            } else {
                malformed(line)
            })),
        }
        self.skip = Some(Skip::Line);
        Some(0)
    }

    /// An object that is a record, as far as its limit allows.
    fn record(&mut self, rest: &[u8], visit: &mut dyn FnMut(Item<'_>)) -> Option<usize> {
        let limit = rest.len().min(self.max_record);
        let mut extent = Extent::default();
        if let Some(end) = extent.scan(&rest[..limit]) {
            visit(item(&rest[..end], &extent));
            return Some(end);
        }
        if rest.len() <= self.max_record {
            return None;
        }
        visit(Item::Undecodable(Undecodable::TooLarge));
        self.skip = Some(Skip::value(b'{'));
        Some(0)
    }

    /// Goes on at the value of `Records`.
    fn enter_records(&mut self, rest: &[u8], value_at: usize) -> usize {
        if rest[value_at] == b'[' {
            self.place = Place::List { in_container: true };
            return value_at + 1;
        }
        self.fail(Broken::RecordsNotAList);
        self.place = Place::Container;
        self.skip = Some(Skip::value(rest[value_at]));
        value_at
    }

    /// Gives up the document at hand and goes on where the next line opens an object.
    fn resume_at_line(&mut self, next: usize, visit: &mut dyn FnMut(Item<'_>)) -> usize {
        visit(Item::Undecodable(Undecodable::Malformed(not_closed())));
        self.lines = true;
        next
    }

    fn fail(&mut self, broken: Broken) {
        self.broken.get_or_insert(broken);
    }
}

impl Skip {
    /// Passes over the value that opens with this byte.
    fn value(first: u8) -> Self {
        match first {
            b'{' | b'[' => Skip::Composite(Extent::default()),
            b'"' => Skip::String { opened: false, escaped: false },
            _ => Skip::Scalar { started: false },
        }
    }

    /// The index after the value, or `None` if it goes on behind these bytes.
    fn scan(&mut self, bytes: &[u8]) -> Option<usize> {
        match self {
            Skip::Composite(extent) => extent.scan(bytes),
            Skip::Line => memchr::memchr(b'\n', bytes).map(|end| end + 1),
            Skip::Scalar { started } => {
                let from = usize::from(!std::mem::replace(started, true)).min(bytes.len());
                let end = bytes[from..].iter().position(|byte| b",]} \t\r\n".contains(byte))?;
                Some(from + end)
            }
            Skip::String { opened, escaped } => {
                let mut at = usize::from(!std::mem::replace(opened, true));
                at += usize::from(std::mem::take(escaped));
                loop {
                    at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
                    if bytes[at] == b'"' {
                        return Some(at + 1);
                    }
                    *escaped = at + 1 == bytes.len();
                    at += 2;
                }
            }
        }
    }

    /// Whether the end of the input may also be the end of this value.
    fn may_end_here(&self) -> bool {
        matches!(self, Skip::Line | Skip::Scalar { .. })
    }
}

/// A whole object as an item, unless it is nested too deeply.
fn item<'r>(object: &'r [u8], extent: &Extent) -> Item<'r> {
    if extent.is_too_deep() { Item::Undecodable(Undecodable::TooDeep) } else { Item::Record(object) }
}

/// Where to look for the key `Records`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    FirstKey,
    AnyKey,
}

/// Where the value of the key `Records` of this object starts; the object may be cut off.
fn records_value(object: &[u8], depth: Depth) -> Option<usize> {
    if depth == Depth::AnyKey && memmem::find(object, b"ecords").is_none() {
        return None;
    }
    let mut at = 1;
    loop {
        at += separators(&object[at..]);
        let (key, value_at) = member(&object[at..])?;
        at += value_at;
        if is_records(key) {
            return Some(at);
        }
        if depth == Depth::FirstKey {
            return None;
        }
        at += Skip::value(object[at]).scan(&object[at..])?;
    }
}

/// The key, in its quotes, at the start of these bytes, and where its value starts.
fn member(bytes: &[u8]) -> Option<(&[u8], usize)> {
    if *bytes.first()? != b'"' {
        return None;
    }
    let key_end = Skip::value(b'"').scan(bytes)?;
    let colon = key_end + separators(&bytes[key_end..]);
    if *bytes.get(colon)? != b':' {
        return None;
    }
    let value_at = colon + 1 + separators(&bytes[colon + 1..]);
    (value_at < bytes.len()).then(|| (&bytes[..key_end], value_at))
}

fn is_records(key: &[u8]) -> bool {
    key == b"\"Records\""
        || memchr::memchr(b'\\', key).is_some()
            && serde_json::from_slice::<String>(key).is_ok_and(|key| key == "Records")
}

/// How many bytes of white space and commas come first; the record separator of JSON text sequences, too.
fn separators(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| b" \t\r\n,\x1e".contains(byte)).count()
}

/// If this document swallowed the lines behind a broken one: where the next line starts.
fn broken_line(document: &[u8]) -> Option<usize> {
    let next = next_line_with_object(document)?;
    let valid = serde_json::from_slice::<serde::de::IgnoredAny>(document).is_ok();
    (!valid).then_some(next)
}

fn next_line_with_object(bytes: &[u8]) -> Option<usize> {
    memmem::find(bytes, b"\n{").map(|at| at + 1)
}

fn malformed(line: &[u8]) -> Undecodable {
    match serde_json::from_slice::<serde::de::IgnoredAny>(line) {
        Err(error) => Undecodable::Malformed(error),
        Ok(_) => Undecodable::NotAnObject,
    }
}

fn not_closed() -> serde_json::Error {
    serde::de::Error::custom("the line ends inside the record")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splits in windows of the given size, the way a stream arrives: items, then what was broken.
    fn split(input: &[u8], step: usize, max_record: usize) -> (Vec<String>, Option<&'static str>) {
        let mut splitter = Splitter::new(max_record);
        let mut items = Vec::new();
        let mut visit = |item: Item<'_>| {
            items.push(match item {
                Item::Record(record) => String::from_utf8_lossy(record).into_owned(),
                Item::Undecodable(why) => format!("!{}", why.reason()),
            });
        };
        let mut window = Vec::new();
        for piece in input.chunks(step) {
            window.extend_from_slice(piece);
            let taken = splitter.split(&window, false, &mut visit);
            window.drain(..taken);
        }
        splitter.split(&window, true, &mut visit);
        (items, splitter.finish().map(|unreadable| unreadable.reason()))
    }

    #[test]
    fn every_shape_in_every_window() {
        let cases: [(&str, &[&str], Option<&str>); 32] = [
            (r#"{"Records":[{"a":1},{"b":2}]}"#, &[r#"{"a":1}"#, r#"{"b":2}"#], None),
            (
                "\u{feff} {\n \"Records\" : [\n {\"a\":1} ,\n {\"b\":2}\n ]\n}\n",
                &[r#"{"a":1}"#, r#"{"b":2}"#],
                None,
            ),
            (r#"{"Records":[]}"#, &[], None),
            (r#"[{"a":1},{"b":2}]"#, &[r#"{"a":1}"#, r#"{"b":2}"#], None),
            ("{\"a\":1}\n{\"b\":2}\n", &[r#"{"a":1}"#, r#"{"b":2}"#], None),
            (r#"{"a":1}{"b":2}"#, &[r#"{"a":1}"#, r#"{"b":2}"#], None),
            (
                r#"{"Records":[{"a":1}]}{"Records":[{"b":2}]}[{"c":3}]{"d":4}"#,
                &[r#"{"a":1}"#, r#"{"b":2}"#, r#"{"c":3}"#, r#"{"d":4}"#],
                None,
            ),
            (r#"{"v":{"x":[1]},"w":"Records","Records":[{"a":1}],"y":"z"}"#, &[r#"{"a":1}"#], None),
            (r#"{"R\u0065cords":[{"a":1}]}"#, &[r#"{"a":1}"#], None),
            (r#"{"Records":[{"a":1}],"Records":[{"b":2}]}"#, &[r#"{"a":1}"#, r#"{"b":2}"#], None),
            (r#"{"x":{"Records":[1]}}"#, &[r#"{"x":{"Records":[1]}}"#], None),
            (
                "{\n \"a\": {\n  \"b\": 1\n }\n}\n{\n \"c\": 2\n}",
                &["{\n \"a\": {\n  \"b\": 1\n }\n}", "{\n \"c\": 2\n}"],
                None,
            ),
            (r#"{"Records":[{"a":"}]{\"["}]}"#, &[r#"{"a":"}]{\"["}"#], None),
            (
                r#"{"Records":[1,{"a":1},"x",null,[{"b":2}],{"c":3}]}"#,
                &[
                    "!not-an-object",
                    r#"{"a":1}"#,
                    "!not-an-object",
                    "!not-an-object",
                    "!not-an-object",
                    r#"{"c":3}"#,
                ],
                None,
            ),
            (r#"{"Records":{"a":1}}"#, &[], Some("records-not-a-list")),
            (r#"{"Records":null}"#, &[], Some("records-not-a-list")),
            (r#"{"Records":"x","Records":[{"a":1}]}"#, &[r#"{"a":1}"#], Some("records-not-a-list")),
            (r#"{"Records":[{"a":1},{"b":"#, &[r#"{"a":1}"#], Some("truncated-json")),
            (r#"{"Records":[{"a":1}"#, &[r#"{"a":1}"#], Some("truncated-json")),
            (r#"{"Records":[{"a":1}]"#, &[r#"{"a":1}"#], Some("truncated-json")),
            (r#"{"Records":[{"a":1}] nonsense}"#, &[r#"{"a":1}"#], Some("malformed-json")),
            (r#"{"Records":[{"a":1}]}garbage"#, &[r#"{"a":1}"#, "!not-an-object"], None),
            ("garbage\n{\"a\":1}\n", &["!not-an-object", r#"{"a":1}"#], None),
            (
                "{\"a\":1}\n{\"b\":\"cut\n{\"c\":3}\n{\"d\":4}\n",
                &[r#"{"a":1}"#, "!malformed", r#"{"c":3}"#, r#"{"d":4}"#],
                None,
            ),
            ("{\"a\":{\"b\":1}\n{\"c\":3}\n{\"d\":4}\n", &["!malformed", r#"{"c":3}"#, r#"{"d":4}"#], None),
            (
                "{\"a\":{\n{\"b\":{\n{\"c\":3}\n{\"d\":4}\n",
                &["!malformed", "!malformed", r#"{"c":3}"#, r#"{"d":4}"#],
                None,
            ),
            ("{\"a\":1}\n{\"b\":", &[r#"{"a":1}"#], Some("truncated-json")),
            (r#"{"Records""#, &[], Some("truncated-json")),
            ("{", &[], Some("truncated-json")),
            (
                r#"{"Records":[{"big":"0123456789012345678901234567890123456789012345678901234567890"},{"a":1}]}"#,
                &["!too-large", r#"{"a":1}"#],
                None,
            ),
            (
                "{\"big\":\"0123456789012345678901234567890123456789012345678901234567890\"}\n{\"a\":1}",
                &["!too-large", r#"{"a":1}"#],
                None,
            ),
            (
                r#"{"x":"0123456789012345678901234567890123456789012345678901234567890","Records":[{"a":1}]}"#,
                &["!too-large", r#"{"a":1}"#],
                None,
            ),
        ];
        for (input, items, broken) in cases {
            for step in [1, 2, 3, 7, 64, 10_000] {
                let found = split(input.as_bytes(), step, 60);
                assert_eq!(found.0, items, "{input} in steps of {step}");
                assert_eq!(found.1, broken, "{input} in steps of {step}");
            }
        }
    }

    #[test]
    fn any_bytes_end_and_windows_do_not_matter() {
        let mut state = 7_u64;
        for round in 0..20_000_usize {
            let input: Vec<u8> = (0..round % 60)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    b"{}[]\"\\:,1 \n{R"[(state >> 33) as usize % 13]
                })
                .collect();
            for max_record in [10, 1000] {
                let whole = split(&input, 1000, max_record);
                for step in [1, 5] {
                    let found = split(&input, step, max_record);
                    assert_eq!(found, whole, "{} in steps of {step}", String::from_utf8_lossy(&input));
                }
            }
        }
    }
}
