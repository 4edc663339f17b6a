//! Many keys at once: every key of the record is told by the letters before its closing quote.

use fearless_simd::{Simd, prelude::*, u8x64};

use super::closes::Closes;
use super::finder::Window;
use super::{BITS, Key, Place};
use crate::event::extent::BLOCK;

/// All keys by the letters that close them.
#[derive(Debug, Clone)]
pub(super) struct Many {
    /// A bit for each hash of a tail that some key has.
    tails: [u64; TAILS / BITS],
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
/// A block with what a tail may have before it.
const REACH: usize = TAIL + BLOCK;
/// Keys that nearly every block has at most.
const AT_ONCE: usize = 3;

impl Many {
    pub(super) fn new(keys: &[Key]) -> Self {
        let mut many = Self { tails: [0; TAILS / BITS], by_tail: vec![Vec::new(); TAILS], short: Vec::new() };
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
                let bit = bit(*tail);
                self.tails[bit / BITS] |= 1 << (bit % BITS);
                self.by_tail[bit].push((quoted.into(), number));
            }
            None => self.short.push((quoted.into(), number)),
        }
    }

    /// Adds the places of all keys that stand directly before a colon, and fills in where keys end; whether some may
    /// stand apart from their colons.
    #[expect(clippy::inline_always, reason = "otherwise it is compiled for the oldest machines")]
    #[inline(always)]
    pub(super) fn find<S: Simd>(
        &self,
        simd: S,
        keys: &[Key],
        window: Window<'_>,
        places: &mut Vec<Place>,
        closes: &mut Closes,
    ) -> bool {
        let (Window { bytes, end }, record) = (window, window.record());
        // A quote is looked at together with the byte behind it.
        let last = end.saturating_sub(1);
        let quotes = bytes.as_chunks::<BLOCK>().0;
        let behinds = bytes.get(1..).unwrap_or_default().as_chunks::<BLOCK>().0;
        let blocks = behinds.len().min(last.div_ceil(BLOCK));
        let (quotes, behinds) = (&quotes[..blocks], &behinds[..blocks]);
        let mut first = [0; REACH];
        quotes.first().into_iter().for_each(|block| first[TAIL..].copy_from_slice(block));
        let (mut spaced, mut from) = (false, 0);
        // What fills no block may be as long as one.
        let closes = closes.blocks(blocks + 1);
        for ((quotes, behinds), closes) in
            quotes.chunks(BITS).zip(behinds.chunks(BITS)).zip(closes.chunks_mut(BITS))
        {
            let (mut hits, mut hit) = ([0; BITS], 0);
            let blocks = quotes.iter().zip(behinds).zip(&mut hits).zip(&mut *closes).enumerate();
            for (block, (((quotes, behinds), hits), close)) in blocks {
                let quotes = u8x64::from_slice(simd, quotes).simd_eq(b'"');
                let behinds = u8x64::from_slice(simd, behinds);
                spaced |= (quotes & behinds.simd_le(b' ')).any_true();
                *close = (quotes & behinds.simd_eq(b':')).to_bitmask();
                *hits = self.may_close(*close, reaching_back(bytes, from + block * BLOCK).unwrap_or(&first));
                hit |= u64::from(*hits != 0) << block;
            }
            while hit != 0 {
                let block = hit.trailing_zeros() as usize;
                hit &= hit - 1;
                self.note(keys, record, (from + block * BLOCK, hits[block]), places);
            }
            from += BITS * BLOCK;
        }
        for close in blocks * BLOCK..last {
            if bytes[close] == b'"' {
                spaced |= bytes[close + 1] <= b' ';
                if bytes[close + 1] == b':' {
                    closes[blocks] |= 1 << (close % BLOCK);
                    self.note_one(keys, record, close, places);
                }
            }
        }
        spaced
    }

    /// Those of the quotes, a bit each, that may close some key.
    ///
    /// How many a block has is not to be guessed: as many as most have at most are looked at in any case.
    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn may_close(&self, mut quotes: u64, text: &[u8; REACH]) -> u64 {
        if !self.short.is_empty() {
            return quotes;
        }
        let mut may = 0;
        loop {
            for _ in 0..AT_ONCE {
                let lowest = quotes & quotes.wrapping_neg();
                let tail =
                    text[quotes.trailing_zeros() as usize..].first_chunk().copied().unwrap_or_default();
                let bit = bit(tail);
                let is_known = self.tails[bit / BITS] >> (bit % BITS) & 1;
                may |= lowest & is_known.wrapping_neg();
                quotes ^= lowest;
            }
            if quotes == 0 {
                return may;
            }
        }
    }

    /// Adds the keys that some quotes of a block close, a bit each.
    #[inline(never)]
    fn note(&self, keys: &[Key], record: &[u8], (from, mut quotes): (usize, u64), places: &mut Vec<Place>) {
        while quotes != 0 {
            let close = from + quotes.trailing_zeros() as usize;
            quotes &= quotes - 1;
            // There may be more of the block behind the record.
            if close + 1 < record.len() {
                self.note_one(keys, record, close, places);
            }
        }
    }

    /// Adds the key that the quote at this index closes, if it is one of these.
    fn note_one(&self, keys: &[Key], record: &[u8], close: usize, places: &mut Vec<Place>) {
        let names = match record[..close].last_chunk() {
            Some(tail) => &*self.by_tail[bit(*tail)],
            None => &[],
        };
        let end = close + 1;
        for (quoted, number) in names.iter().chain(&self.short) {
            if ends_with(&record[..end], quoted) {
                places.extend(keys[*number].place_between(*number, end - quoted.len(), end, record));
                // No other name ends so and begins with a quote.
                return;
            }
        }
    }
}

/// The block that begins at this index, with the bytes before it; none at the beginning.
#[expect(clippy::inline_always, reason = "as above")]
#[inline(always)]
fn reaching_back(bytes: &[u8], from: usize) -> Option<&[u8; REACH]> {
    bytes.get(from.checked_sub(TAIL)?..)?.first_chunk()
}

/// Where a tail is noted.
#[expect(clippy::inline_always, reason = "as above")]
#[inline(always)]
fn bit(tail: Tail) -> usize {
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
