//! Where some keys stand in a record, told from its bytes without parsing it.
//!
//! Few records can meet any detection, and the values of a few fields tell which. This finds every place
//! where one of some keys stands, at any depth, 64 bytes at a time: few keys one by one, each by the two rarest
//! bytes of its name, or of the only value that matters behind it; many keys by the quote and colon behind each
//! key of the record, and the letters before them. What is found may be too much (a key of a nested object); a key
//! is missed only if it is written with an escape, and that is told.

mod beginnings;
mod closes;
mod finder;
mod many;
#[cfg(test)]
mod tests;
mod value;

use memchr::memmem;

use super::extent::Extent;
use super::path::FieldPath;
use super::tokens::is_space;
use beginnings::Beginnings;
use closes::Closes;
pub use closes::Ends;
use closes::Letters;
use many::Many;
use value::Value;

/// Some keys, to be found in many records.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    all: Vec<Key>,
    /// With more than a few keys, every key of the record is looked up.
    many: Option<Box<Many>>,
}

#[derive(Debug, Clone)]
struct Key {
    name: Box<[u8]>,
    /// The name, and the quote that closes it.
    closed: Box<[u8]>,
    search: memmem::Finder<'static>,
    /// The last bytes of `closed`, up to eight, as a number, and the bits of it that count.
    tail: u64,
    tail_bits: u64,
    /// What else may stand before the name, within the quotes.
    prefixes: Vec<Box<[u8]>>,
    /// Where the two rarest bytes of `closed` stand in it, the first of them first.
    rarest: [usize; 2],
    /// How the values begin that are of interest, if not all are.
    beginnings: Option<Box<Beginnings>>,
    /// The only value of interest, which is searched for instead.
    value: Option<Value>,
    /// What becomes of places with other values.
    others: Others,
}

/// What becomes of places whose value is of no interest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// It counts that the key stands there.
    Noted,
    /// They are passed over.
    Dropped,
}

/// The most keys that are searched for one by one; each costs about a quarter of what looking up every key does.
const FEW: usize = 3;
const BITS: usize = u64::BITS as usize;

/// A place where a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The number of the key.
    pub key: usize,
    /// The index of the quote that opens it, and the one behind the quote that closes it.
    start: usize,
    end: usize,
    /// Whether more stands before the key, with a dot between them.
    pub is_prefixed: bool,
    /// Whether its value may be of interest; where it is not, a key stands here.
    pub is_promising: bool,
}

/// What was seen of some keys in one record.
#[derive(Debug, Clone, Default)]
pub struct Sightings {
    places: Vec<Place>,
    escaped: bool,
    /// Where all keys of the record end, if that was found out on the way.
    closes: Closes,
}

/// Alike if the same was seen, however it was found out.
impl PartialEq for Sightings {
    fn eq(&self, other: &Self) -> bool {
        (&self.places, self.escaped) == (&other.places, other.escaped)
    }
}

/// The bytes of a record, and what was seen of some keys in it.
#[derive(Debug, Clone, Copy)]
pub struct Record<'r> {
    /// From `{` to the `}` that closes it; not yet known to be valid JSON.
    pub bytes: &'r [u8],
    /// Where the keys stand.
    pub seen: &'r Sightings,
}

/// A record in which a key may be written with an escape, and so stay unseen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Escaped;

/// The value behind a key, as it stands in the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raw<'r> {
    /// A string of ASCII without escapes: its text.
    Text(&'r [u8]),
    /// A number, `true`, `false` or `null`, in ASCII.
    Literal(&'r [u8]),
    /// Anything else, from its first byte on to the end of the record.
    Other(&'r [u8]),
}

impl Keys {
    /// Adds the last key of a path; returns its number, which it may share with other paths. It must be one that
    /// can be found.
    pub fn add(&mut self, path: &FieldPath) -> usize {
        let mut names = path.last_keys();
        let last = names.next().expect("every path has a segment");
        let number = self.name(last);
        for longer in names {
            let prefix = &longer.as_bytes()[..longer.len() - last.len()];
            let key = &mut self.all[number];
            if !key.prefixes.iter().any(|known| **known == *prefix) {
                key.prefixes.push(prefix.into());
                self.many.iter_mut().for_each(|many| many.add(longer.as_bytes(), number));
            }
        }
        number
    }

    /// Adds a key by its name; returns its number. It must be one that can be found.
    pub fn name(&mut self, name: &str) -> usize {
        let known = self.all.iter().position(|key| *key.name == *name.as_bytes());
        known.unwrap_or_else(|| {
            let number = self.all.len();
            self.all.push(Key::new(name));
            match &mut self.many {
                Some(many) => many.add(name.as_bytes(), number),
                None if number < FEW => {}
                None => self.many = Some(Box::new(Many::new(&self.all))),
            }
            number
        })
    }

    /// Only texts that begin with one of these, which are in lower case, are of interest behind a key, whatever their
    /// case. If there is but one, and the keys are few, its place may be any at which a text begins so, whatever the
    /// key.
    pub fn limit_values(&mut self, key: usize, words: &[&[u8]], others: Others) {
        let are_few = self.many.is_none();
        let key = &mut self.all[key];
        key.beginnings = Beginnings::new(words.iter().copied()).map(Box::new);
        key.value = match words {
            [word, more @ ..]
                if are_few && others == Others::Dropped && more.iter().all(|more| more == word) =>
            {
                Value::new(word)
            }
            _ => None,
        };
        key.others = others;
    }

    /// Whether JSON can write the last key of a path, alone or with others, in only one way, escapes `\u` aside.
    #[must_use]
    pub fn can_find(path: &FieldPath) -> bool {
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"\\/".contains(&byte);
        path.as_str().bytes().all(plain) && path.last_keys().next().is_some_and(|last| !last.is_empty())
    }
}

impl Sightings {
    /// Where the keys stand.
    ///
    /// # Errors
    /// They may stand elsewhere, too.
    pub fn places(&self) -> Result<&[Place], Escaped> {
        if self.escaped { Err(Escaped) } else { Ok(&self.places) }
    }
}

impl Key {
    fn new(name: &str) -> Self {
        let name: Box<[u8]> = name.as_bytes().into();
        let closed: Box<[u8]> = [&*name, b"\""].concat().into();
        let rarest = rarest_places(&closed);
        let counting = closed.len().min(8);
        let mut tail = [0; 8];
        tail[8 - counting..].copy_from_slice(&closed[closed.len() - counting..]);
        Self {
            rarest,
            search: memmem::Finder::new(&closed).into_owned(),
            tail: u64::from_le_bytes(tail),
            tail_bits: u64::MAX << (8 * (8 - counting)),
            prefixes: Vec::new(),
            beginnings: None,
            value: None,
            others: Others::Noted,
            closed,
            name,
        }
    }

    /// The place of this key, if it stands in the record where its name may begin. What fails most often is asked
    /// first.
    #[inline]
    fn place(&self, number: usize, begin: usize, record: &[u8]) -> Option<Place> {
        let end = begin + self.closed.len();
        if !self.may_end_at(end, record) {
            return None;
        }
        let is_promising = self.may_interest(record.get(end..)?);
        if !is_promising && self.others == Others::Dropped || record[begin..end] != *self.closed {
            return None;
        }
        let start = self.opening_quote(&record[..begin])?;
        let is_prefixed = begin - start > 1;
        Some(Place { key: number, start, end, is_prefixed, is_promising })
    }

    /// The last letters of the name.
    fn last_letters(&self) -> Letters {
        Letters::of(&self.name)
    }

    /// The place of this key, if it ends with the quote before this index.
    fn place_before(&self, number: usize, end: usize, record: &[u8]) -> Option<Place> {
        self.place(number, end.checked_sub(self.closed.len())?, record)
    }

    /// The place of this key, known to stand between these quotes.
    fn place_between(&self, number: usize, start: usize, end: usize, record: &[u8]) -> Option<Place> {
        let is_promising = self.may_interest(&record[end..]);
        let is_prefixed = end - start != self.closed.len() + 1;
        let place = Place { key: number, start, end, is_prefixed, is_promising };
        (is_promising || self.others == Others::Noted).then_some(place)
    }

    /// Whether the last bytes before this index are right.
    #[inline]
    fn may_end_at(&self, end: usize, record: &[u8]) -> bool {
        let last = end.checked_sub(8).and_then(|from| record.get(from..)?.first_chunk());
        last.is_none_or(|last| u64::from_le_bytes(*last) & self.tail_bits == self.tail)
    }

    /// Whether the value may be of interest that stands first in what follows a key.
    #[inline]
    fn may_interest(&self, rest: &[u8]) -> bool {
        self.beginnings.as_ref().is_none_or(|known| known.may_hold(rest))
    }

    /// The index of the quote that opens the key, if what stands before its name fits.
    fn opening_quote(&self, before: &[u8]) -> Option<usize> {
        if let Some(outside) = before.strip_suffix(b"\"") {
            return Some(outside.len());
        }
        let outside = |prefix: &[u8]| before.strip_suffix(prefix)?.strip_suffix(b"\"").map(<[u8]>::len);
        self.prefixes.iter().find_map(|prefix| outside(prefix))
    }
}

/// Where the two rarest bytes of a text stand in it, the first of them first.
fn rarest_places(text: &[u8]) -> [usize; 2] {
    let mut places: Vec<usize> = (0..text.len()).collect();
    places.sort_by_key(|place| commonness(text[*place]));
    let mut rarest = [places[0], places[1]];
    rarest.sort_unstable();
    rarest
}

/// How common a byte is in CloudTrail's JSON, roughly.
fn commonness(byte: u8) -> u8 {
    match byte {
        b'A'..=b'Z' => 0,
        b'j' | b'k' | b'q' | b'v' | b'w' | b'x' | b'z' | b'_' => 1,
        b'b' | b'f' | b'g' | b'h' | b'p' | b'y' => 2,
        b'0'..=b'9' | b'-' | b':' | b'.' => 4,
        b'a' | b'e' | b'i' | b'o' | b'r' | b's' | b't' | b'n' => 5,
        _ => 3,
    }
}

impl Place {
    /// The value in the record in which it was found.
    #[must_use]
    pub fn value<'r>(&self, record: &'r [u8]) -> Raw<'r> {
        let rest = skip_space(&record[self.end..]);
        let rest = skip_space(rest.strip_prefix(b":").unwrap_or(rest));
        Raw::text(rest).or_else(|| Raw::literal(rest)).unwrap_or(Raw::Other(rest))
    }

    /// Whether it stands directly in the record, not in an object or text within.
    #[must_use]
    pub fn is_at_top(&self, record: &[u8]) -> bool {
        let mut before = Extent::default();
        before.scan(&record[..self.start]).is_none() && before.is_at_top()
    }
}

impl<'r> Raw<'r> {
    fn text(rest: &'r [u8]) -> Option<Self> {
        let text = rest.strip_prefix(b"\"")?;
        let end = plain_length(text);
        (text.get(end) == Some(&b'"')).then(|| Raw::Text(&text[..end]))
    }

    fn literal(rest: &'r [u8]) -> Option<Self> {
        let end = rest.iter().position(|byte| !byte.is_ascii_alphanumeric() && !b"+-.".contains(byte))?;
        (end > 0).then_some(Raw::Literal(&rest[..end]))
    }
}

/// How many bytes there are before the first quote, backslash, or byte beyond ASCII. Most texts are so short that
/// eight bytes at a time are quicker than a call.
fn plain_length(text: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    // The highest bit of each byte that is zero, and perhaps of some behind the first.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word;
    let (words, rest) = text.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let [quotes, backslashes] = [b'"', b'\\'].map(|byte| zeros(word ^ (ONES * u64::from(byte))));
        let special = (quotes | backslashes | word) & (ONES << 7);
        if special != 0 {
            return at * 8 + special.trailing_zeros() as usize / 8;
        }
    }
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\') || !byte.is_ascii();
    words.len() * 8 + rest.iter().position(is_special).unwrap_or(rest.len())
}

fn skip_space(bytes: &[u8]) -> &[u8] {
    let spaces = bytes.iter().take_while(|byte| is_space(**byte)).count();
    &bytes[spaces..]
}
