//! Many keys at once: every key of the record is told by the letters before its closing quote.

use super::closes::Closes;
use super::finder::Window;
use super::{BITS, Key, Place};
use crate::event::extent::BLOCK;

/// All keys by the letters that close them.
#[derive(Debug, Clone)]
pub(super) struct Many {
    /// By the hash of a tail: 1 if some key has it, else 0.
    tails: [u8; TAILS],
    /// By the hash of their tails: names in their quotes, each with the number of its key.
    by_tail: Vec<Vec<(Box<[u8]>, usize)>>,
    /// Names too short to have a tail.
    short: Vec<(Box<[u8]>, usize)>,
}

const TAILS: usize = 1 << 12;
/// The letters by which a key is told, from the fourth before its closing quote on; the first may be its opening
/// quote.
type Tail = [u8; TAIL];
const TAIL: usize = 4;
/// A block, before it what may stand before a colon: a tail and the closing quote.
const REACH: usize = BEFORE + BLOCK;
const BEFORE: usize = TAIL + 1;
/// Keys that nearly every block has at most.
const AT_ONCE: usize = 3;

impl Many {
    pub(super) fn new(keys: &[Key]) -> Self {
        let mut many = Self { tails: [0; TAILS], by_tail: vec![Vec::new(); TAILS], short: Vec::new() };
        for (number, key) in keys.iter().enumerate() {
            many.add(&key.name, number);
            key.prefixes.iter().for_each(|prefix| many.add(&[prefix, &*key.name].concat(), number));
        }
        many
    }

    pub(super) fn add(&mut self, name: &[u8], number: usize) {
        let quoted = [b"\"", name, b"\""].concat();
        match quoted[..quoted.len() - 1].last_chunk() {
            Some(tail) => {
                let hash = hash(*tail);
                self.tails[hash] = 1;
                self.by_tail[hash].push((quoted.into(), number));
            }
            None => self.short.push((quoted.into(), number)),
        }
    }

    /// Adds the places of all keys that end before one of these colons.
    #[expect(clippy::inline_always, reason = "otherwise it is compiled for the oldest machines")]
    #[inline(always)]
    pub(super) fn find(&self, keys: &[Key], window: Window<'_>, closes: &Closes, places: &mut Vec<Place>) {
        let record = window.record();
        let mut first = [0; REACH];
        first.iter_mut().skip(BEFORE).zip(record).for_each(|(first, byte)| *first = *byte);
        for (group, blocks) in closes.blocks().chunks(BITS).enumerate() {
            let (mut hits, mut hit) = ([0; BITS], 0);
            for ((number, colons), hits) in blocks.iter().enumerate().zip(&mut hits) {
                let text = match (group * BITS + number) * BLOCK {
                    0 => Some(&first),
                    from => reaching_back(window.bytes, from),
                };
                // Where the input ends so soon, the names themselves are compared.
                *hits = text.map_or(*colons, |text| self.may_end(*colons, text));
                hit |= u64::from(*hits != 0) << number;
            }
            while hit != 0 {
                let number = hit.trailing_zeros() as usize;
                hit &= hit - 1;
                self.note(keys, record, ((group * BITS + number) * BLOCK, hits[number]), places);
            }
        }
    }

    /// Those of the colons, a bit each, before which some key may end.
    ///
    /// How many a block has is not to be guessed: as many as most have at most are looked at in any case.
    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn may_end(&self, colons: u64, text: &[u8; REACH]) -> u64 {
        if !self.short.is_empty() {
            return colons;
        }
        let (mut rest, mut may) = (colons, 0);
        loop {
            for _ in 0..AT_ONCE {
                // If none is left this is any place; what is said of it does not count.
                let at = rest.trailing_zeros() as usize % BITS;
                let tail = text[at..].first_chunk().copied().unwrap_or_default();
                may |= u64::from(self.tails[hash(tail)]) << at;
                rest &= rest.wrapping_sub(1);
            }
            if rest == 0 {
                return may & colons;
            }
        }
    }

    /// Adds the keys that end before some colons of a block, a bit each.
    #[inline(never)]
    fn note(&self, keys: &[Key], record: &[u8], (from, mut colons): (usize, u64), places: &mut Vec<Place>) {
        while colons != 0 {
            let colon = from + colons.trailing_zeros() as usize;
            colons &= colons - 1;
            self.note_one(keys, record, colon, places);
        }
    }

    /// Adds the key that ends before this index with a quote, if it is one of these.
    fn note_one(&self, keys: &[Key], record: &[u8], end: usize, places: &mut Vec<Place>) {
        let names = match record[..end - 1].last_chunk() {
            Some(tail) => &*self.by_tail[hash(*tail)],
            None => &[],
        };
        for (quoted, number) in names.iter().chain(&self.short) {
            if ends_with(&record[..end], quoted) {
                places.extend(keys[*number].place_between(*number, end - quoted.len(), end, record));
                // No other name ends so and begins with a quote.
                return;
            }
        }
    }
}

/// The block that begins at this index, with the bytes before it; none where there are not so many.
#[expect(clippy::inline_always, reason = "as above")]
#[inline(always)]
fn reaching_back(bytes: &[u8], from: usize) -> Option<&[u8; REACH]> {
    bytes.get(from.checked_sub(BEFORE)?..)?.first_chunk()
}

/// Where a tail is noted.
#[expect(clippy::inline_always, reason = "as above")]
#[inline(always)]
fn hash(tail: Tail) -> usize {
    (u32::from_le_bytes(tail).wrapping_mul(0x9E37_79B1) >> (u32::BITS - TAILS.trailing_zeros())) as usize
}

/// As [`slice::ends_with`], for names, which are short: nothing is called.
fn ends_with(text: &[u8], name: &[u8]) -> bool {
    let Some(start) = text.len().checked_sub(name.len()) else { return false };
    let (text, name) = (text[start..].as_chunks::<8>(), name.as_chunks::<8>());
    let word = |bytes: &[u8; 8]| u64::from_ne_bytes(*bytes);
    let words = text.0.iter().zip(name.0).fold(0, |differ, (one, other)| differ | word(one) ^ word(other));
    words == 0 && text.1.iter().zip(name.1).fold(0, |differ, (one, other)| differ | one ^ other) == 0
}
