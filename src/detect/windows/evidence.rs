//! Evidence: what is kept of one hit for the detections over more than one event.
//!
//! Workers make it, far from the engine, millions of times in a replay; so it is small, has a byte form, and
//! owns nothing of the event but the texts that were asked for.

use std::cell::OnceCell;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::bytes::{Malformed, Reader, put_number, put_run};
use crate::event::{Event, EventKey, hex};

/// One hit of one rule on one event, reduced to what it feeds.
///
/// It is understood by an engine with the [`Feeds`](super::Feeds) that made it, and by no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The time of the event, in whole microseconds.
    pub time: Timestamp,
    /// The event.
    pub event: EventHash,
    /// The number of the rule among the feeds.
    pub rule: u32,
    /// What each of the rule's feeds gets, in their order.
    pub facts: Box<[Fact]>,
    /// Text about the event for the alerts that list it, if the caller has filled it in; opaque here.
    pub excerpt: Option<Arc<str>>,
}

/// What one feed gets of a hit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// It takes part.
    Part {
        /// The group's values; of a first-seen detection the key's and behind them the value itself.
        group: Values,
        /// What is counted: eight bytes of a hash, the bits of a float, or zero where nothing is asked for.
        value: u64,
    },
    /// The event lacks a field by which the correlation groups.
    NoGroup,
    /// The event lacks what is counted, or it is no number where one is asked for.
    NoValue,
    /// It tells nothing that evidence before it has not told; see [`Sieve`](super::Sieve).
    Spent,
}

/// What identifies an event here: the first 16 bytes of SHA-256 over its account, region and id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventHash(pub [u8; 16]);

/// When an event was and which it is, worked out when the first of the hits on it feeds something.
#[derive(Debug, Default)]
pub struct Identity(OnceCell<Option<(Timestamp, EventHash)>>);

/// Bytes that the texts of a group have at most, as a rule.
const USUAL: usize = 96;

/// A list of texts in one piece of memory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Values(Box<[u8]>);

impl EventHash {
    /// The hash of an event's key.
    #[must_use]
    pub fn of(key: &EventKey<'_>) -> Self {
        Self(hash_of([&key.account, &key.region, &key.id]))
    }
}

impl Identity {
    /// The time in whole microseconds and the hash; nothing if the event has no time.
    pub(super) fn of(&self, event: &Event<'_>) -> Option<(Timestamp, EventHash)> {
        *self.0.get_or_init(|| {
            let time = Timestamp::from_microsecond(event.time()?.as_microsecond()).ok()?;
            Some((time, EventHash::of(&event.key())))
        })
    }
}

impl fmt::Debug for EventHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl Values {
    /// These texts.
    #[must_use]
    pub fn of<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Self {
        let mut bytes = Vec::with_capacity(USUAL);
        texts.into_iter().for_each(|text| put_run(text.as_ref().as_bytes(), &mut bytes));
        Self(bytes.into())
    }

    /// The texts, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let mut reader = Reader(&self.0);
        std::iter::from_fn(move || reader.text().ok())
    }

    /// The first 16 bytes of SHA-256 over them, each with its length before it.
    pub(super) fn hash(&self) -> [u8; 16] {
        first_half(Sha256::digest(&self.0).into())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        while !reader.0.is_empty() {
            reader.text()?;
        }
        Ok(Self(bytes.into()))
    }
}

/// The [hash](Values::hash) of these texts.
pub(super) fn hash_of<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> [u8; 16] {
    let (mut digest, mut length) = (Sha256::new(), Vec::new());
    for text in texts {
        let text = text.as_ref();
        length.clear();
        put_number(text.len() as u64, &mut length);
        digest.update(&length);
        digest.update(text);
    }
    first_half(digest.finalize().into())
}

fn first_half(hash: [u8; 32]) -> [u8; 16] {
    *hash.first_chunk().expect("SHA-256 has 32 bytes")
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Evidence {
    /// The order in which a replay hands evidence over: by time, event and rule.
    #[must_use]
    pub fn order(&self, other: &Self) -> Ordering {
        (self.time, self.event, self.rule).cmp(&(other.time, other.event, other.rule))
    }

    /// Whether no feed gets anything from it.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.facts.iter().all(|fact| *fact == Fact::Spent)
    }

    /// Bytes that it takes up in memory, about.
    #[must_use]
    pub fn weight(&self) -> usize {
        let fact = |fact: &Fact| match fact {
            Fact::Part { group, .. } => size_of::<Fact>() + group.0.len(),
            _ => size_of::<Fact>(),
        };
        let excerpt = self.excerpt.as_ref().map_or(0, |excerpt| excerpt.len());
        size_of::<Self>() + self.facts.iter().map(fact).sum::<usize>() + excerpt
    }

    /// Appends its byte form. The first 28 bytes sort like [`Evidence::order`].
    pub fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend(sortable(self.time.as_microsecond()));
        bytes.extend(self.event.0);
        bytes.extend(self.rule.to_be_bytes());
        put_number(self.facts.len() as u64, bytes);
        self.facts.iter().for_each(|fact| fact.write(bytes));
        bytes.push(u8::from(self.excerpt.is_some()));
        if let Some(excerpt) = &self.excerpt {
            put_run(excerpt.as_bytes(), bytes);
        }
    }

    /// Reads the byte form at the beginning of `bytes`, which then begin behind it.
    ///
    /// # Errors
    /// It was never written like this.
    pub fn read(bytes: &mut &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        let time = Timestamp::from_microsecond(unsortable(reader.array()?)).map_err(|_| Malformed)?;
        let event = EventHash(reader.array()?);
        let rule = u32::from_be_bytes(reader.array()?);
        let count = reader.length()?;
        let facts = (0..count).map(|_| Fact::read(&mut reader)).collect::<Result<_, _>>()?;
        let excerpt = match reader.byte()? {
            0 => None,
            _ => Some(reader.text()?.into()),
        };
        *bytes = reader.0;
        Ok(Self { time, event, rule, facts, excerpt })
    }
}

impl Fact {
    fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Fact::Part { group, value } => {
                bytes.push(0);
                put_run(group.as_bytes(), bytes);
                bytes.extend(value.to_be_bytes());
            }
            Fact::NoGroup => bytes.push(1),
            Fact::NoValue => bytes.push(2),
            Fact::Spent => bytes.push(3),
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match reader.byte()? {
            0 => {
                let group = Values::read(reader.run()?)?;
                Ok(Fact::Part { group, value: u64::from_be_bytes(reader.array()?) })
            }
            1 => Ok(Fact::NoGroup),
            2 => Ok(Fact::NoValue),
            3 => Ok(Fact::Spent),
            _ => Err(Malformed),
        }
    }
}

/// Bytes that sort like the numbers.
pub(super) fn sortable(number: i64) -> [u8; 8] {
    (number ^ i64::MIN).to_be_bytes()
}

pub(super) fn unsortable(bytes: [u8; 8]) -> i64 {
    i64::from_be_bytes(bytes) ^ i64::MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(time: i64, event: u8, rule: u32) -> Evidence {
        Evidence {
            time: Timestamp::from_microsecond(time).unwrap(),
            event: EventHash([event; 16]),
            rule,
            facts: [
                Fact::Part { group: Values::of(["", "a\0é"]), value: 7 },
                Fact::NoGroup,
                Fact::NoValue,
                Fact::Spent,
            ]
            .into(),
            excerpt: rule.is_multiple_of(2).then(|| "{\"a\":1}".into()),
        }
    }

    #[test]
    fn the_byte_form_is_read_back_and_sorts_alike() {
        let mut all = vec![evidence(-5, 1, 0), evidence(3, 2, 1), evidence(3, 2, 0), evidence(3, 0, 300)];
        all.sort_by(Evidence::order);
        let forms: Vec<Vec<u8>> = all
            .iter()
            .map(|evidence| {
                let mut bytes = Vec::new();
                evidence.write(&mut bytes);
                bytes
            })
            .collect();
        assert!(forms.is_sorted_by_key(|form| &form[..28]));
        let joined = forms.concat();
        let mut rest = &joined[..];
        for expected in &all {
            assert_eq!(Evidence::read(&mut rest).as_ref(), Ok(expected));
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn a_byte_form_that_was_cut_is_refused() {
        let mut bytes = Vec::new();
        evidence(1, 2, 4).write(&mut bytes);
        for length in 0..bytes.len() {
            assert_eq!(Evidence::read(&mut &bytes[..length]), Err(Malformed), "{length}");
        }
    }

    #[test]
    fn values_do_not_run_into_each_other() {
        assert_ne!(Values::of(["ab", ""]).hash(), Values::of(["a", "b"]).hash());
        let long = "x".repeat(300);
        assert_eq!(Values::of(["", &long, "b"]).hash(), hash_of(["", &long, "b"]));
        assert_eq!(Values::of(["a", "b"]).iter().collect::<Vec<_>>(), ["a", "b"]);
    }
}
