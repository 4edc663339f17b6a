//! Where the keys of a record end, whatever they are.

use fearless_simd::{Simd, prelude::*, u8x64};

use super::BITS;
use crate::event::extent::{BLOCK, Watch};

/// The colons of a record that stand directly behind a quote, a bit each.
#[derive(Debug, Clone, Default)]
pub(super) struct Closes {
    /// By block, as many as count.
    blocks: Vec<u64>,
    count: usize,
    /// Whether the last byte was a quote: the lowest bit, or none.
    quote: u64,
    /// Bits where a space or a line break stands directly behind a quote, of all blocks but the last and of the last.
    spaces: [u64; 2],
    /// Whether they are those of the record at hand, and all of its keys end so.
    are_known: bool,
}

impl Closes {
    /// Nothing is known of the record at hand.
    pub(super) fn forget(&mut self) {
        self.are_known = false;
    }

    /// A record begins that is no longer than this.
    #[inline]
    pub(super) fn begin(&mut self, length: usize) {
        // One more for what fills no block.
        if self.blocks.len() < length / BLOCK + 1 {
            self.blocks.resize(length / BLOCK + 1, 0);
        }
        (self.count, self.quote, self.spaces, self.are_known) = (0, 0, [0; 2], false);
    }

    /// Sees all whole blocks of a record.
    #[expect(clippy::inline_always, reason = "otherwise it is compiled for the oldest machines")]
    #[inline(always)]
    pub(super) fn see<S: Simd>(&mut self, simd: S, record: &[u8]) {
        self.begin(record.len());
        for block in record.as_chunks::<BLOCK>().0 {
            let block = u8x64::from_slice(simd, block);
            self.block(simd, block, block.simd_eq(b'"').to_bitmask());
        }
    }

    /// The record ends here, in the last block that was seen or behind it; whether all of its keys end at a colon that
    /// stands directly behind a quote.
    #[inline]
    pub(super) fn end(&mut self, record: &[u8]) -> bool {
        let seen = self.count * BLOCK;
        if let Some(over) = seen.checked_sub(record.len()).filter(|over| *over > 0) {
            let within = u64::MAX >> over;
            self.blocks[self.count - 1] &= within;
            self.spaces[1] &= within;
        }
        if let Some(rest) = record.get(seen..).filter(|rest| !rest.is_empty()) {
            let mut colons = 0;
            for (bit, byte) in rest.iter().enumerate() {
                colons |= (u64::from(*byte == b':') & self.quote) << bit;
                self.spaces[0] |= u64::from(*byte <= b' ') & self.quote;
                self.quote = u64::from(*byte == b'"');
            }
            self.blocks[self.count] = colons;
            self.count += 1;
        }
        self.are_known = self.spaces == [0; 2];
        self.are_known
    }

    /// The colons, a bit each, by block.
    pub(super) fn blocks(&self) -> &[u64] {
        &self.blocks[..self.count]
    }
}

impl<S: Simd> Watch<S> for Closes {
    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn block(&mut self, _simd: S, block: u8x64<S>, quotes: u64) {
        let behind = quotes << 1 | self.quote;
        self.quote = quotes >> (BITS - 1);
        self.blocks[self.count] = block.simd_eq(b':').to_bitmask() & behind;
        self.count += 1;
        let spaces = block.simd_le(b' ').to_bitmask() & behind;
        self.spaces = [self.spaces[0] | self.spaces[1], spaces];
    }
}

/// All keys of a record, by their ends.
#[derive(Debug, Default)]
pub struct Ends {
    /// Whether it was looked whether they are known, and whether they are.
    are_known: Option<bool>,
    /// The last letters of each.
    letters: Vec<u32>,
    /// The index behind the quote that closes it.
    behind: Vec<u32>,
}

/// The last letters of a name, up to four, as they stand before its closing quote.
#[derive(Debug, Clone, Copy)]
pub(super) struct Letters {
    letters: u32,
    /// The bits that count.
    bits: u32,
}

const LETTERS: usize = size_of::<u32>();
/// Keys that are looked at together.
const AT_ONCE: usize = 8;

impl Letters {
    /// Of a name, which has at least one letter.
    pub(super) fn of(name: &[u8]) -> Self {
        let missing = LETTERS.saturating_sub(name.len());
        Self { letters: Self::before(name), bits: u32::MAX << (8 * missing) }
    }

    /// Those that stand last in this text.
    #[inline]
    fn before(text: &[u8]) -> u32 {
        let last = text.last_chunk().copied().unwrap_or_else(|| {
            let mut letters = [0; LETTERS];
            letters[LETTERS - text.len()..].copy_from_slice(text);
            letters
        });
        u32::from_le_bytes(last)
    }
}

impl Ends {
    /// Another record is at hand.
    pub fn forget(&mut self) {
        self.are_known = None;
    }

    /// Whether all ends are known of the record at hand, which has these colons.
    pub(super) fn are_known_by(&mut self, closes: &Closes, record: &[u8]) -> bool {
        if let Some(are_known) = self.are_known {
            return are_known;
        }
        let are_known = closes.are_known && u32::try_from(record.len()).is_ok();
        self.are_known = Some(are_known);
        self.letters.clear();
        self.behind.clear();
        if are_known {
            self.fill(closes, record);
        }
        are_known
    }

    /// How many keys a block has is not to be guessed: a few are taken in any case, and those that there are count.
    #[expect(clippy::cast_possible_truncation, reason = "the record is no longer than that")]
    fn fill(&mut self, closes: &Closes, record: &[u8]) {
        const USUAL: usize = 3;
        let count = |bits: u64| bits.count_ones() as usize;
        let length = closes.blocks().iter().map(|bits| count(*bits)).sum::<usize>();
        // No name has the letters of what fills the last group.
        self.letters.resize((length + USUAL).next_multiple_of(AT_ONCE), 0);
        self.behind.resize(self.letters.len(), 0);
        let mut filled = 0;
        for (block, bits) in closes.blocks().iter().enumerate() {
            let (mut rest, mut at) = (*bits, filled);
            loop {
                let (letters, behind) = (&mut self.letters[at..][..USUAL], &mut self.behind[at..][..USUAL]);
                for (letters, behind) in letters.iter_mut().zip(behind) {
                    let colon = block * BLOCK + rest.trailing_zeros() as usize;
                    rest &= rest.wrapping_sub(1);
                    // None is before the first byte, which opens the record, or behind the last.
                    *letters = record.get(..colon.saturating_sub(1)).map_or(0, Letters::before);
                    *behind = colon as u32;
                }
                if rest == 0 {
                    break;
                }
                at += USUAL;
            }
            filled += count(*bits);
        }
        self.letters[filled..].fill(0);
    }

    /// Looks at the ends of those keys that have these last letters, and perhaps of a few others.
    pub(super) fn each_with(&self, Letters { letters, bits }: Letters, mut look: impl FnMut(usize)) {
        let is_alike = |other: u32| (other ^ letters) & bits == 0;
        let groups = self.letters.as_chunks::<AT_ONCE>().0.iter().zip(self.behind.as_chunks::<AT_ONCE>().0);
        for (group, ends) in groups {
            // Hardly any group has one, which is told without asking each.
            if group.iter().fold(false, |any, other| any | is_alike(*other)) {
                group
                    .iter()
                    .zip(ends)
                    .filter(|(other, _)| is_alike(**other))
                    .for_each(|(_, end)| look(*end as usize));
            }
        }
    }
}
