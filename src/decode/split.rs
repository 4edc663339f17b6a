//! From inflated bytes to records, in one pass and without parsing them. On the way, the keys that detections ask
//! for are found.
//!
//! Accepted are `{"Records":[…]}`, a bare list, NDJSON and documents one after the other, pretty-printed or
//! not, mixed as they come. The bytes arrive in windows: what a window holds only in part is asked for again
//! with more behind it. One bad record never takes the others with it; in input of one document a line that
//! goes for a line that is cut off, too, wherever the cut lies.

use memchr::memmem;

use super::{Broken, Item, Unreadable};
use crate::event::{Extent, Keys, MAX_DEPTH, Record, Sightings, Undecodable};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The splitter's place in the input, between two windows.
#[derive(Debug)]
pub(super) struct Splitter<'k> {
    /// What is open, from the outside in; between documents nothing is.
    open: Vec<Open>,
    /// A value that is being passed over.
    skip: Option<Skip>,
    /// One document stands on each line: a broken line has shown it.
    lines: bool,
    max_record: usize,
    /// What is looked for in each record, and what was seen in the last one.
    keys: &'k Keys,
    seen: &'k mut Sightings,
    /// A document was entered.
    documents: bool,
    /// Something between documents was no document.
    junk: bool,
    broken: Option<Broken>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    /// An object that has `Records`; a key comes next.
    Container,
    /// A list of records; an element comes next.
    List,
}

#[derive(Debug)]
enum Skip {
    Composite(Extent),
    String { opened: bool, escaped: bool },
    Scalar { started: bool },
    Line,
}

impl<'k> Splitter<'k> {
    pub(super) fn new(max_record: usize, keys: &'k Keys, seen: &'k mut Sightings) -> Self {
        Self {
            open: Vec::new(),
            skip: None,
            lines: false,
            max_record,
            keys,
            seen,
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
        let open = self.skip.is_some_and(|skip| !skip.may_end_here()) || !self.open.is_empty();
        match self.broken.or(open.then_some(Broken::Truncated)) {
            Some(broken) => Some(Unreadable::Json(broken)),
            None if self.documents => None,
            None if self.junk => Some(Unreadable::Json(Broken::NotJson)),
            None => Some(Unreadable::Empty),
        }
    }

    /// One step at a byte that is no separator; `None` asks for more of the input.
    fn step(&mut self, rest: &[u8], last: bool, visit: &mut dyn FnMut(Item<'_>)) -> Option<usize> {
        let place = self.open.last().copied();
        self.documents |= place.is_none() && matches!(rest[0], b'{' | b'[');
        match (place, rest[0]) {
            (Some(Open::List) | None, b'{') => self.object(rest, last, visit),
            (Some(Open::Container), b'}') | (Some(Open::List), b']') => {
                self.open.pop();
                Some(1)
            }
            (Some(Open::Container), b'"') => self.member(rest),
            (Some(Open::Container), _) => Some(self.leave_container()),
            (Some(Open::List), other) => {
                visit(Item::Undecodable(Undecodable::NotAnObject));
                self.skip = Some(Skip::value(other));
                Some(0)
            }
            (None, b'[') => {
                self.open.push(Open::List);
                Some(1)
            }
            (None, _) if rest.starts_with(BYTE_ORDER_MARK) => Some(BYTE_ORDER_MARK.len()),
            (None, _) if BYTE_ORDER_MARK.starts_with(rest) && !last => None,
            (None, _) => {
                self.junk = true;
                visit(Item::Undecodable(Undecodable::NotAnObject));
                self.skip = Some(Skip::Line);
                Some(0)
            }
        }
    }

    /// A key of a container and its value, which is passed over unless it is `Records`.
    fn member(&mut self, rest: &[u8]) -> Option<usize> {
        match member(&rest[..rest.len().min(self.max_record)]) {
            Member::Whole { key, value_at } if is_records(key) => Some(self.enter_list(rest, value_at)),
            Member::Whole { value_at, .. } => {
                self.skip = Some(Skip::value(rest[value_at]));
                Some(value_at)
            }
            Member::Cut if rest.len() <= self.max_record => None,
            Member::Cut | Member::Malformed => Some(self.leave_container()),
        }
    }

    /// Something stands in a container where no JSON may stand: the next line is the next thing that may be
    /// one.
    fn leave_container(&mut self) -> usize {
        self.fail(Broken::Malformed);
        self.open.clear();
        self.lines = true;
        self.skip = Some(Skip::Line);
        0
    }

    /// An object between documents or in a list: a container of records, or a record itself.
    fn object(&mut self, rest: &[u8], last: bool, visit: &mut dyn FnMut(Item<'_>)) -> Option<usize> {
        let limit = rest.len().min(self.max_record);
        if let Some(value_at) = records_value(&rest[..limit], Depth::FirstKey)
            && let Some(taken) = self.enter_container(rest, value_at)
        {
            return Some(taken);
        }
        if self.lines {
            return self.line(rest, visit);
        }
        let mut extent = Extent::default();
        let end = self.keys.find_in_first(&mut extent, &rest[..limit], self.seen);
        if end.is_none() && !last && rest.len() <= self.max_record {
            return None;
        }
        let seen = &rest[..end.unwrap_or(limit)];
        if extent.has_control()
            && let Some(next) = next_line_with_object(seen)
            && (end.is_none() || !is_json(seen))
        {
            return Some(self.resume_at_line(next, visit));
        }
        if self.open.is_empty()
            && let Some(value_at) = records_value(seen, Depth::AnyKey)
            && let Some(taken) = self.enter_container(rest, value_at)
        {
            return Some(taken);
        }
        match end {
            Some(end) => {
                visit(self.item(seen, &extent));
                Some(end)
            }
            None if rest.len() <= self.max_record => None,
            None => {
                visit(Item::Undecodable(Undecodable::TooLarge));
                Some(self.pass_too_large())
            }
        }
    }

    /// An object in input where each document stands on a line of its own.
    fn line(&mut self, rest: &[u8], visit: &mut dyn FnMut(Item<'_>)) -> Option<usize> {
        let limit = rest.len().min(self.max_record);
        let (end, extent) = scan_line(&rest[..limit]);
        if let LineEnd::Closed(end) = end {
            let object = &rest[..end];
            if self.open.is_empty()
                && let Some(value_at) = records_value(object, Depth::AnyKey)
                && let Some(taken) = self.enter_container(rest, value_at)
            {
                return Some(taken);
            }
            self.keys.find(object, self.seen);
            visit(self.item(object, &extent));
            return Some(end);
        }
        match end {
            // Cut off, or there is more of it to come.
            LineEnd::Open if rest.len() <= self.max_record => return None,
            LineEnd::Open => visit(Item::Undecodable(Undecodable::TooLarge)),
            _ => visit(Item::Undecodable(not_closed())),
        }
        self.open.clear();
        self.skip = Some(Skip::Line);
        Some(0)
    }

    /// Enters an object that has `Records`; not if it is an element of a list and they are no list, which a
    /// record may have.
    fn enter_container(&mut self, rest: &[u8], value_at: usize) -> Option<usize> {
        let nested = !self.open.is_empty();
        if nested && (rest[value_at] != b'[' || self.open.len() > MAX_DEPTH) {
            return None;
        }
        self.open.push(Open::Container);
        Some(self.enter_list(rest, value_at))
    }

    /// Goes on at the value of `Records`.
    fn enter_list(&mut self, rest: &[u8], value_at: usize) -> usize {
        if rest[value_at] == b'[' {
            self.open.push(Open::List);
            return value_at + 1;
        }
        self.fail(Broken::RecordsNotAList);
        self.skip = Some(Skip::value(rest[value_at]));
        value_at
    }

    /// Passes an object that is too large for a record; between documents key by key, should `Records` come
    /// after all.
    fn pass_too_large(&mut self) -> usize {
        if self.open.is_empty() {
            self.open.push(Open::Container);
            return 1;
        }
        self.skip = Some(Skip::value(b'{'));
        0
    }

    /// Gives up the object at hand, with all that is open around it, and goes on where the next line opens an
    /// object.
    fn resume_at_line(&mut self, next: usize, visit: &mut dyn FnMut(Item<'_>)) -> usize {
        visit(Item::Undecodable(not_closed()));
        self.open.clear();
        self.lines = true;
        next
    }

    fn fail(&mut self, broken: Broken) {
        self.broken.get_or_insert(broken);
    }

    /// A whole object as an item, unless it is nested too deeply.
    fn item<'r>(&'r self, object: &'r [u8], extent: &Extent) -> Item<'r> {
        if extent.is_too_deep() {
            return Item::Undecodable(Undecodable::TooDeep);
        }
        Item::Record(Record { bytes: object, seen: self.seen })
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

/// How an object ends that may not go beyond its line.
enum LineEnd {
    /// It is closed; the index behind it.
    Closed(usize),
    /// The line ends before it.
    Broken,
    /// Neither within these bytes.
    Open,
}

/// Looks for the end of an object and of its line piece by piece: neither a long line of short objects nor an
/// object that is never closed is read further than the first of both.
fn scan_line(bytes: &[u8]) -> (LineEnd, Extent) {
    const PIECE: usize = 1 << 10;
    let mut extent = Extent::default();
    for (number, piece) in bytes.chunks(PIECE).enumerate() {
        let newline = memchr::memchr(b'\n', piece);
        if let Some(end) = extent.scan(&piece[..newline.unwrap_or(piece.len())]) {
            return (LineEnd::Closed(number * PIECE + end), extent);
        }
        if newline.is_some() {
            return (LineEnd::Broken, extent);
        }
    }
    (LineEnd::Open, extent)
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
    if depth == Depth::FirstKey && matches!(object, [_, b'"', first, ..] if !b"R\\".contains(first)) {
        return None;
    }
    let mut at = 1;
    loop {
        at += separators(&object[at..]);
        let Member::Whole { key, value_at } = member(&object[at..]) else { return None };
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

/// What stands where a key should.
enum Member<'b> {
    /// The key, in its quotes, and where its value starts.
    Whole { key: &'b [u8], value_at: usize },
    /// The bytes end before the value.
    Cut,
    /// No key, or no colon behind it.
    Malformed,
}

fn member(bytes: &[u8]) -> Member<'_> {
    match bytes.first() {
        None => return Member::Cut,
        Some(b'"') => {}
        Some(_) => return Member::Malformed,
    }
    let Some(key_end) = Skip::value(b'"').scan(bytes) else { return Member::Cut };
    let colon = key_end + separators(&bytes[key_end..]);
    match bytes.get(colon) {
        None => return Member::Cut,
        Some(b':') => {}
        Some(_) => return Member::Malformed,
    }
    let value_at = colon + 1 + separators(&bytes[colon + 1..]);
    if value_at == bytes.len() { Member::Cut } else { Member::Whole { key: &bytes[..key_end], value_at } }
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

/// Where the first line starts that opens an object, behind these bytes' own first line. A raw line break stands
/// in no string, and printers that break lines put nothing behind a brace.
fn next_line_with_object(bytes: &[u8]) -> Option<usize> {
    let first = memchr::memchr(b'\n', bytes)?;
    memmem::find(&bytes[first..], b"\n{\"").map(|at| first + at + 1)
}

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
}

fn not_closed() -> Undecodable {
    Undecodable::Malformed(serde::de::Error::custom("the line ends inside the record"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splits in windows of the given size, the way a stream arrives: items, then what was broken.
    fn split(input: &[u8], step: usize, max_record: usize) -> (Vec<String>, Option<&'static str>) {
        let (mut keys, mut seen) = (Keys::default(), Sightings::default());
        ["a", "b", "Records"].iter().for_each(|name| _ = keys.name(name));
        let mut splitter = Splitter::new(max_record, &keys, &mut seen);
        let mut items = Vec::new();
        let mut visit = |item: Item<'_>| {
            items.push(match item {
                Item::Record(record) => {
                    let mut apart = Sightings::default();
                    keys.find(record.bytes, &mut apart);
                    assert_eq!(*record.seen, apart, "{}", String::from_utf8_lossy(record.bytes));
                    String::from_utf8_lossy(record.bytes).into_owned()
                }
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

    type Case<'c> = (&'c str, &'c [&'c str], Option<&'c str>);

    fn check(cases: &[Case<'_>]) {
        for (input, items, broken) in cases {
            for step in [1, 2, 3, 7, 64, 10_000] {
                let found = split(input.as_bytes(), step, 60);
                assert_eq!(found.0, *items, "{input} in steps of {step}");
                assert_eq!(found.1, *broken, "{input} in steps of {step}");
            }
        }
    }

    #[test]
    fn every_shape_in_every_window() {
        check(&[
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
                r#"[{"Records":[{"a":1}]},{"Records":[{"b":2}]},{"Records":7},{"c":3}]"#,
                &[r#"{"a":1}"#, r#"{"b":2}"#, r#"{"Records":7}"#, r#"{"c":3}"#],
                None,
            ),
            (
                r#"{"Records":[],"0123456789012345678901234567890123456789012345678901234567890":1}"#,
                &[],
                Some("malformed-json"),
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
        ]);
    }

    #[test]
    fn a_line_that_is_cut_off_takes_no_other_with_it() {
        check(&[
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
            (
                "{\"a\":1\n{\"Records\":[{\"b\":2}]}\n{\"v\":1,\"Records\":[{\"c\":3}]}\n",
                &["!malformed", r#"{"b":2}"#, r#"{"c":3}"#],
                None,
            ),
            (
                "{\"Records\":[{\"a\":\"cut\n{\"Records\":[{\"b\":2}]}\n{\"Records\":[{\"c\":3}]}\n",
                &["!malformed", r#"{"b":2}"#, r#"{"c":3}"#],
                None,
            ),
            (
                "{\"Records\":[{\"a\":1},\n{\"Records\":[{\"b\":2}]}\n{\"Records\":[{\"c\":3}]}\n",
                &[r#"{"a":1}"#, r#"{"b":2}"#, r#"{"c":3}"#],
                Some("truncated-json"),
            ),
            (
                "{\"Records\":[{\"a\":1}],\"b\" \n{\"Records\":[{\"c\":3}]}\n",
                &[r#"{"a":1}"#, r#"{"c":3}"#],
                Some("malformed-json"),
            ),
            (
                "{\"Records\":[{\"a\":1}] x\n{\"Records\":[{\"c\":3}]}\n",
                &[r#"{"a":1}"#, r#"{"c":3}"#],
                Some("malformed-json"),
            ),
        ]);
    }

    #[test]
    fn long_lines_of_short_objects_cost_no_more_than_their_length() {
        let line = format!("{{\"Records\":[{}{{}}]}}\n", "{},".repeat(1_000_000));
        let (items, broken) = split(format!("{{\"a\":\"cut\n{line}").as_bytes(), usize::MAX, 4 << 20);
        assert_eq!((items.len(), broken), (1_000_002, None));
        let large = format!("{{\"a\":\"cut\n{{\"b\":\"{}\"}}\n", "x".repeat(5_000));
        assert_eq!(split(large.as_bytes(), 64, 10_000).0.len(), 2);
    }

    #[test]
    fn any_input_ends_and_windows_do_not_matter() {
        const PIECES: [&str; 16] = [
            "{",
            "}",
            "[",
            "]",
            "\"",
            "\\",
            ":",
            ",",
            "1",
            " ",
            "\n",
            "\n{\"",
            "{\"Records\":[",
            "]}",
            "{\"a\":1}",
            "{\"v\":2,\"Records\":",
        ];
        let mut state = 7_u64;
        for round in 0..40_000_usize {
            let mut input = Vec::new();
            for _ in 0..round % 40 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                input.extend_from_slice(PIECES[(state >> 33) as usize % PIECES.len()].as_bytes());
            }
            for max_record in [10, 30, 1000] {
                let whole = split(&input, 1000, max_record);
                for step in [1, 5] {
                    let found = split(&input, step, max_record);
                    assert_eq!(found, whole, "{} in steps of {step}", String::from_utf8_lossy(&input));
                }
            }
        }
    }
}
