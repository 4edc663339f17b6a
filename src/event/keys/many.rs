//! Many keys at once: every key of the record is told by the letters before its closing quote.

use fearless_simd::{Simd, prelude::*, u8x64};

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
type Tail = [u8; 4];

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

    /// Adds the places of all keys that stand directly before a colon; whether some may stand apart from theirs.
    #[expect(clippy::inline_always, reason = "otherwise it is compiled for the oldest machines")]
    #[inline(always)]
    pub(super) fn find<S: Simd>(
        &self,
        simd: S,
        keys: &[Key],
        window: Window<'_>,
        places: &mut Vec<Place>,
    ) -> bool {
        let (Window { bytes, end }, record) = (window, window.record());
        // A quote is looked at together with the byte behind it.
        let closes = end.saturating_sub(1);
        let quotes = bytes.as_chunks::<BLOCK>().0;
        let behinds = bytes.get(1..).unwrap_or_default().as_chunks::<BLOCK>().0;
        let blocks = behinds.len().min(closes.div_ceil(BLOCK));
        let mut spaced = false;
        for (block, (quotes, behinds)) in quotes.iter().zip(&behinds[..blocks]).enumerate() {
            let quotes = u8x64::from_slice(simd, quotes).simd_eq(b'"');
            let behinds = u8x64::from_slice(simd, behinds);
            spaced |= (quotes & behinds.simd_le(b' ')).any_true();
            let mut closing = (quotes & behinds.simd_eq(b':')).to_bitmask();
            while closing != 0 {
                let close = block * BLOCK + closing.trailing_zeros() as usize;
                closing &= closing - 1;
                if close < closes && self.may_close(record, close) {
                    self.note(keys, record, close, places);
                }
            }
        }
        for close in blocks * BLOCK..closes {
            if bytes[close] == b'"' {
                spaced |= bytes[close + 1] <= b' ';
                if bytes[close + 1] == b':' {
                    self.note(keys, record, close, places);
                }
            }
        }
        spaced
    }

    /// Whether the quote at this index may close some key.
    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn may_close(&self, record: &[u8], close: usize) -> bool {
        let Some(tail) = record[..close].last_chunk() else { return true };
        let bit = bit(*tail);
        self.tails[bit / BITS] & 1 << (bit % BITS) != 0 || !self.short.is_empty()
    }

    /// Adds the key that the quote at this index closes, if it is one of these.
    fn note(&self, keys: &[Key], record: &[u8], close: usize, places: &mut Vec<Place>) {
        let names = match record[..close].last_chunk() {
            Some(tail) => &*self.by_tail[bit(*tail)],
            None => &[],
        };
        let end = close + 1;
        for (quoted, number) in names.iter().chain(&self.short) {
            if record[..end].ends_with(quoted) {
                places.extend(keys[*number].place_between(*number, end - quoted.len(), end, record));
                // No other name ends so and begins with a quote.
                return;
            }
        }
    }
}

/// Where a tail is noted.
#[expect(clippy::inline_always, reason = "as above")]
#[inline(always)]
fn bit(tail: Tail) -> usize {
    (u32::from_le_bytes(tail).wrapping_mul(0x9E37_79B1) >> (u32::BITS - TAILS.trailing_zeros())) as usize
}
