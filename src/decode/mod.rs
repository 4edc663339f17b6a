//! From an object's bytes to its records.
//!
//! Magic bytes decide what is gzip, never a name or a header. An object of ordinary size is inflated whole
//! and split in one pass; a larger one, or one that libdeflate refuses, is read as a stream, which also finds
//! the readable prefix of a damaged object. Whatever can be read is handed out; what could not is said in
//! [`Decoded`].

mod gunzip;
mod inflate;
mod split;

use std::fmt;
use std::io::{self, Read};

use crate::event::{Keys, Record, Sightings, Undecodable};
use gunzip::{Gunzip, is_gzip};
use inflate::{Inflater, Refusal};
use split::Splitter;

/// The inflated size up to which an object is inflated as a whole: 32 MiB.
pub const WHOLE_LIMIT: usize = 32 << 20;
const CHUNK: usize = 256 << 10;

/// How much of an object is read at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Inflated bytes of a compressed object; one that is not compressed has no other size than its own.
    pub inflated: u64,
    /// Bytes of a record.
    pub record: usize,
}

/// The bytes of an object.
pub enum Source<'s> {
    /// All of them; what is not compressed is split where it lies.
    Whole(&'s [u8]),
    /// A reader that yields them, for objects too large to hold.
    Stream(&'s mut dyn Read),
}

/// One element of an object, in its order.
#[derive(Debug)]
pub enum Item<'r> {
    /// One record, and what was seen in it.
    Record(Record<'r>),
    /// Something that is no record.
    Undecodable(Undecodable),
}

/// What became of an object.
#[derive(Debug, Default)]
pub struct Decoded {
    /// Bytes as stored.
    pub compressed: u64,
    /// Bytes after inflating; equal to `compressed` where nothing was compressed.
    pub inflated: u64,
    /// What was unusual although everything was read.
    pub anomalies: Vec<Anomaly>,
    /// Why the object could not be read to its end, if so.
    pub unreadable: Option<Unreadable>,
}

/// Something that an ordinary log object never has. All of the object was evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anomaly {
    /// Gzip members behind the first: some readers never see them.
    ExtraMembers(u64),
    /// Bytes behind the last gzip member.
    TrailingBytes(u64),
}

impl Anomaly {
    /// A short name, from a closed set, for metrics and summaries.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Anomaly::ExtraMembers(_) => "extra-members",
            Anomaly::TrailingBytes(_) => "trailing-bytes",
        }
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Anomaly::ExtraMembers(count) => write!(f, "{count} gzip member(s) behind the first"),
            Anomaly::TrailingBytes(count) => write!(f, "{count} byte(s) behind the last gzip member"),
        }
    }
}

/// Why an object could not be read to its end. What came before was evaluated.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Not a single document.
    #[error("the object is empty")]
    Empty,
    /// The gzip stream stops in mid-air.
    #[error("the gzip data ends before its end")]
    Truncated,
    /// The gzip data is damaged or its check sum is wrong.
    #[error("the gzip data is corrupt{}", .0.message().map(|text| format!(": {text}")).unwrap_or_default())]
    Corrupt(#[source] flate2::DecompressError),
    /// More inflated bytes than the limit allows.
    #[error("the object inflates to more than {0} bytes, the limit `limits.inflated`")]
    OverLimit(u64),
    /// The JSON is damaged.
    #[error("{0}")]
    Json(#[source] Broken),
    /// The bytes could not be read.
    #[error("the object could not be read: {0}")]
    Io(#[source] io::Error),
}

/// What is wrong with the JSON of an object as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// It stops inside a document.
    #[error("the JSON ends inside a document")]
    Truncated,
    /// `Records` is something else than a list.
    #[error("`Records` is not a list")]
    RecordsNotAList,
    /// Something stands where no JSON may stand.
    #[error("the JSON is malformed beside `Records`")]
    Malformed,
    /// Nothing in it is JSON.
    #[error("the object holds no JSON document")]
    NotJson,
}

impl Unreadable {
    /// A short name, from a closed set, for metrics and summaries.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Unreadable::Empty => "empty",
            Unreadable::Truncated => "truncated",
            Unreadable::Corrupt(_) => "corrupt",
            Unreadable::OverLimit(_) => "over-limit",
            Unreadable::Json(Broken::Truncated) => "truncated-json",
            Unreadable::Json(Broken::RecordsNotAList) => "records-not-a-list",
            Unreadable::Json(Broken::Malformed) => "malformed-json",
            Unreadable::Json(Broken::NotJson) => "not-json",
            Unreadable::Io(_) => "io",
        }
    }

    /// Whether the object may only be unfinished: more bytes could make it whole.
    #[must_use]
    pub fn may_grow(&self) -> bool {
        matches!(self, Unreadable::Empty | Unreadable::Truncated | Unreadable::Json(Broken::Truncated))
    }
}

/// Decodes objects one after the other on the same buffers.
pub struct Decoder {
    inflater: Inflater,
    inflated: Vec<u8>,
    window: Vec<u8>,
    seen: Sightings,
    limits: Limits,
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Whole(bytes) => write!(f, "Whole({} bytes)", bytes.len()),
            Source::Stream(_) => f.write_str("Stream"),
        }
    }
}

impl Decoder {
    /// A decoder with empty buffers.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let (inflated, window) = (Vec::new(), Vec::new());
        Self { inflater: Inflater::new(), inflated, window, seen: Sightings::default(), limits }
    }

    /// Hands each item of an object to `visit`, in order; on the way keys are looked for in each record.
    pub fn decode(&mut self, source: Source<'_>, keys: &Keys, visit: &mut dyn FnMut(Item<'_>)) -> Decoded {
        match source {
            Source::Whole(bytes) => self.whole(bytes, keys, visit),
            Source::Stream(reader) => self.stream(reader, keys, visit),
        }
    }

    fn whole(&mut self, bytes: &[u8], keys: &Keys, visit: &mut dyn FnMut(Item<'_>)) -> Decoded {
        if !is_gzip(bytes) {
            return Decoded { compressed: size(bytes), ..self.split_whole(bytes, Vec::new(), keys, visit) };
        }
        let Some(Inflated { length, anomalies }) = self.inflate(bytes) else {
            return self.stream(&mut &*bytes, keys, visit);
        };
        let inflated = std::mem::take(&mut self.inflated);
        let decoded = self.split_whole(&inflated[..length], anomalies, keys, visit);
        self.inflated = inflated;
        Decoded { compressed: size(bytes), ..decoded }
    }

    fn split_whole(
        &mut self,
        text: &[u8],
        anomalies: Vec<Anomaly>,
        keys: &Keys,
        visit: &mut dyn FnMut(Item<'_>),
    ) -> Decoded {
        let mut splitter = Splitter::new(self.limits.record, keys, &mut self.seen);
        splitter.split(text, true, visit);
        Decoded { compressed: 0, inflated: size(text), anomalies, unreadable: splitter.finish() }
    }

    /// Inflates all members, or says nothing: then the stream tells more.
    fn inflate(&mut self, bytes: &[u8]) -> Option<Inflated> {
        let limit = usize::try_from(self.limits.inflated).unwrap_or(usize::MAX).min(WHOLE_LIMIT);
        let (mut consumed, mut length, mut members) = (0, 0, 0);
        self.make_room(size_hint(bytes), limit)?;
        while is_gzip(&bytes[consumed..]) {
            match self.inflater.member(&bytes[consumed..], &mut self.inflated[length..]) {
                Ok(member) => {
                    consumed += member.consumed;
                    length += member.produced;
                    members += 1;
                }
                Err(Refusal::NoRoom) => self.make_room(self.inflated.len() * 2, limit)?,
                Err(Refusal::Invalid) => return None,
            }
        }
        Some(Inflated { length, anomalies: gunzip::anomalies(members, size(&bytes[consumed..])) })
    }

    /// Grows the buffer for inflated bytes; `None` if it cannot grow or the size is beyond the limit.
    fn make_room(&mut self, wanted: usize, limit: usize) -> Option<()> {
        if wanted > limit && self.inflated.len() >= limit || wanted > limit * 2 {
            return None;
        }
        let wanted = wanted.clamp(64 << 10, limit.max(64 << 10));
        if self.inflated.len() < wanted {
            self.inflated.resize(wanted, 0);
        }
        Some(())
    }

    fn stream(&mut self, reader: &mut dyn Read, keys: &Keys, visit: &mut dyn FnMut(Item<'_>)) -> Decoded {
        let mut head = [0; 2];
        let got = match read_full(reader, &mut head) {
            Ok(got) => got,
            Err(error) => return Decoded { unreadable: Some(Unreadable::Io(error)), ..Decoded::default() },
        };
        let source = (&head[..got]).chain(reader);
        let mut feed = if is_gzip(&head[..got]) {
            Feed::Gzip(Box::new(Gunzip::new(source)))
        } else {
            Feed::Plain(source, 0)
        };
        let most = if matches!(feed, Feed::Gzip(_)) { self.limits.inflated } else { u64::MAX };
        let mut splitter = Splitter::new(self.limits.record, keys, &mut self.seen);
        let window = &mut self.window;
        window.clear();
        let mut inflated = 0;
        let fault = loop {
            let held = window.len();
            window.resize(held + CHUNK, 0);
            let Filled { mut bytes, mut fault } = feed.fill(&mut window[held..]);
            let room = most - inflated;
            if bytes as u64 > room {
                bytes = usize::try_from(room).expect("less than fits into the window");
                fault = Some(Unreadable::OverLimit(self.limits.inflated));
            }
            window.truncate(held + bytes);
            inflated += bytes as u64;
            let last = fault.is_some() || bytes < CHUNK;
            let taken = splitter.split(window, last, visit);
            window.drain(..taken);
            if last {
                break fault;
            }
        };
        let unreadable = fault.or_else(|| splitter.finish());
        window.clear();
        window.shrink_to(4 * CHUNK);
        let (compressed, anomalies) = feed.finish();
        Decoded { compressed, inflated, anomalies, unreadable }
    }
}

/// An object in the buffer for inflated bytes.
struct Inflated {
    length: usize,
    anomalies: Vec<Anomaly>,
}

/// Where a stream's plain bytes come from.
enum Feed<R> {
    Plain(R, u64),
    Gzip(Box<Gunzip<R>>),
}

/// How much came, and what ended it, unless the buffer is full or the input at its end.
struct Filled {
    bytes: usize,
    fault: Option<Unreadable>,
}

impl<R: Read> Feed<R> {
    /// Fills a buffer as far as the input goes.
    fn fill(&mut self, buffer: &mut [u8]) -> Filled {
        let mut bytes = 0;
        while bytes < buffer.len() {
            match self.read(&mut buffer[bytes..]) {
                Ok(0) => break,
                Ok(more) => bytes += more,
                Err(fault) => return Filled { bytes, fault: Some(fault) },
            }
        }
        Filled { bytes, fault: None }
    }

    fn read(&mut self, output: &mut [u8]) -> Result<usize, Unreadable> {
        match self {
            Feed::Gzip(gunzip) => gunzip.fill(output),
            Feed::Plain(reader, consumed) => {
                let got = read_some(reader, output).map_err(Unreadable::Io)?;
                *consumed += got as u64;
                Ok(got)
            }
        }
    }

    fn finish(self) -> (u64, Vec<Anomaly>) {
        match self {
            Feed::Gzip(gunzip) => (gunzip.consumed, gunzip.anomalies()),
            Feed::Plain(_, consumed) => (consumed, Vec::new()),
        }
    }
}

/// Reads until the buffer is full or the input ends.
fn read_full(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match read_some(reader, &mut buffer[got..])? {
            0 => break,
            more => got += more,
        }
    }
    Ok(got)
}

fn read_some(reader: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// The inflated size as the last member gives it, modulo 4 GiB; anyone may have written it.
fn size_hint(bytes: &[u8]) -> usize {
    match bytes.last_chunk::<4>() {
        Some(size) => u32::from_le_bytes(*size) as usize,
        None => 0,
    }
}

fn size(bytes: &[u8]) -> u64 {
    bytes.len() as u64
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const LIMITS: Limits = Limits { inflated: 1 << 20, record: 64 << 10 };

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    struct Seen {
        records: Vec<String>,
        undecodable: usize,
        decoded: Decoded,
    }

    fn see(limits: Limits, source: Source<'_>) -> Seen {
        let (mut records, mut undecodable) = (Vec::new(), 0);
        let decoded = Decoder::new(limits).decode(source, &Keys::default(), &mut |item| match item {
            Item::Record(record) => records.push(String::from_utf8_lossy(record.bytes).into_owned()),
            Item::Undecodable(_) => undecodable += 1,
        });
        Seen { records, undecodable, decoded }
    }

    /// The whole way and the stream must agree; returns what both saw.
    fn both(bytes: &[u8]) -> Seen {
        let whole = see(LIMITS, Source::Whole(bytes));
        let stream = see(LIMITS, Source::Stream(&mut &*bytes));
        assert_eq!(whole.records, stream.records);
        assert_eq!(whole.undecodable, stream.undecodable);
        assert_eq!(whole.decoded.anomalies, stream.decoded.anomalies);
        assert_eq!(format!("{:?}", whole.decoded.unreadable), format!("{:?}", stream.decoded.unreadable));
        assert_eq!(whole.decoded.inflated, stream.decoded.inflated);
        assert_eq!(whole.decoded.compressed, stream.decoded.compressed);
        whole
    }

    fn log(records: std::ops::Range<usize>) -> Vec<u8> {
        let records: Vec<String> = records.map(|i| format!(r#"{{"eventName":"Call{i}"}}"#)).collect();
        format!(r#"{{"Records":[{}]}}"#, records.join(",")).into_bytes()
    }

    fn reason(seen: &Seen) -> Option<&'static str> {
        seen.decoded.unreadable.as_ref().map(Unreadable::reason)
    }

    #[test]
    fn plain_and_gzip_are_told_apart_by_their_bytes() {
        for bytes in [log(0..3), gzip(&log(0..3))] {
            let seen = both(&bytes);
            assert_eq!(seen.records.len(), 3);
            assert_eq!(reason(&seen), None);
            assert_eq!(seen.decoded.inflated, log(0..3).len() as u64);
            assert_eq!(seen.decoded.compressed, bytes.len() as u64);
        }
    }

    #[test]
    fn all_members_are_read() {
        let seen = both(&[gzip(&log(0..2)), gzip(&log(2..5)), gzip(b"")].concat());
        assert_eq!(seen.records.len(), 5);
        assert_eq!(seen.decoded.anomalies, [Anomaly::ExtraMembers(2)]);
        assert_eq!(reason(&seen), None);
    }

    #[test]
    fn a_document_may_span_members() {
        let text = log(0..4);
        let (head, tail) = text.split_at(20);
        assert_eq!(both(&[gzip(head), gzip(tail)].concat()).records.len(), 4);
    }

    #[test]
    fn trailing_bytes_are_told() {
        for trailing in ["x", "trailing bytes"] {
            let seen = both(&[&gzip(&log(0..2))[..], trailing.as_bytes()].concat());
            assert_eq!(seen.records.len(), 2);
            assert_eq!(seen.decoded.anomalies, [Anomaly::TrailingBytes(trailing.len() as u64)]);
            assert_eq!(reason(&seen), None);
        }
    }

    #[test]
    fn the_readable_prefix_of_damaged_gzip_is_read() {
        let text = log(0..2_000);
        let whole = gzip(&text);
        let half = both(&whole[..whole.len() / 2]);
        assert_eq!(reason(&half), Some("truncated"));
        assert!(half.records.len() > 500, "{}", half.records.len());

        let cut = both(&whole[..whole.len() - 1]);
        assert_eq!(reason(&cut), Some("truncated"));
        assert_eq!(cut.records.len(), 2_000);

        let mut wrong_sum = whole.clone();
        let at = wrong_sum.len() - 6;
        wrong_sum[at] ^= 1;
        let seen = both(&wrong_sum);
        assert_eq!(reason(&seen), Some("corrupt"));
        assert_eq!(seen.records.len(), 2_000);

        let mut damaged = whole.clone();
        let middle = damaged.len() / 2;
        damaged[middle..middle + 40].fill(0xff);
        let seen = both(&damaged);
        assert_eq!(reason(&seen), Some("corrupt"));
        assert!(seen.records.len() > 100, "{}", seen.records.len());
    }

    #[test]
    fn the_last_bytes_before_a_fault_are_read() {
        let cases: [(&str, usize); 2] = [
            (r#"{"version":1,"Records":[{"eventName":"A"},{"eventName":"B"}]}"#, 2),
            ("{\"a\":\"cut\n{\"eventName\":\"A\"}\n{\"eventName\":\"B\"}\n", 2),
        ];
        for (text, records) in cases {
            let whole = gzip(text.as_bytes());
            let seen = both(&whole[..whole.len() - 3]);
            assert_eq!((seen.records.len(), reason(&seen)), (records, Some("truncated")), "{text}");
        }
    }

    #[test]
    fn many_members_cost_no_more_than_one() {
        let head = gzip(br#"{"Records":[{"eventName":"A","x":""#);
        let member = gzip(b"x");
        let mut bytes = head;
        for _ in 0..300_000 {
            bytes.extend_from_slice(&member);
        }
        bytes.extend(gzip(b"\"}]}"));
        // Without the last byte it is read as a stream.
        let seen =
            see(Limits { inflated: 1 << 20, record: 1 << 20 }, Source::Whole(&bytes[..bytes.len() - 1]));
        assert_eq!((seen.records.len(), reason(&seen)), (1, Some("truncated")));
    }

    #[test]
    fn objects_without_records_are_told_apart() {
        let cases: [(&[u8], Option<&str>); 9] = [
            (b"", Some("empty")),
            (b" \n", Some("empty")),
            (b"\x1f\x8b", Some("truncated")),
            (b"\x1f\x8b\x08\x00", Some("truncated")),
            (b"<html>no</html>", Some("not-json")),
            (b"{\"Records\":7}", Some("records-not-a-list")),
            (b"{\"Records\":[", Some("truncated-json")),
            (b"{\"Records\":[]}", None),
            (b"[]", None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(reason(&both(bytes)), expected, "{}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(reason(&both(&gzip(b""))), Some("empty"));
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let mut text = log(0..2);
        text.resize(4 << 20, b' ');
        let seen = both(&gzip(&text));
        assert_eq!(reason(&seen), Some("over-limit"));
        assert_eq!(seen.records.len(), 2);
        assert_eq!(seen.decoded.inflated, LIMITS.inflated);
    }

    #[test]
    fn objects_beyond_the_whole_limit_are_streamed() {
        let limits = Limits { inflated: 64 << 20, record: 1 << 20 };
        let text = log(0..1_500_000);
        assert!(text.len() > WHOLE_LIMIT);
        assert_eq!(see(limits, Source::Whole(&gzip(&text))).records.len(), 1_500_000);
        assert_eq!(see(limits, Source::Whole(&text)).records.len(), 1_500_000);
    }

    #[test]
    fn a_reader_that_fails_is_told() {
        struct Failing(&'static [u8]);
        impl Read for Failing {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                match self.0.read(buffer)? {
                    0 => Err(io::Error::other("gone")),
                    got => Ok(got),
                }
            }
        }
        let seen = see(LIMITS, Source::Stream(&mut Failing(b"{\"a\":1}\n{\"b\":")));
        assert_eq!(reason(&seen), Some("io"));
    }
}
