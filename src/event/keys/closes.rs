//! Where the keys of a record end, whatever they are.

use super::BITS;

/// The quotes that have a colon directly behind them, a bit for each byte.
#[derive(Debug, Clone, Default)]
pub(super) struct Closes {
    /// By block.
    blocks: Vec<u64>,
    /// Whether they are those of the record at hand, and all of its keys end so.
    are_known: bool,
}

impl Closes {
    /// Nothing is known of the record at hand.
    pub(super) fn forget(&mut self) {
        self.are_known = false;
    }

    /// All blocks of the record at hand are as they were filled in.
    pub(super) fn know(&mut self) {
        self.are_known = true;
    }

    /// The blocks of a record with so many, to be filled in. There may be more of the last one behind the record.
    pub(super) fn blocks(&mut self, count: usize) -> &mut [u64] {
        self.are_known = false;
        self.blocks.clear();
        self.blocks.resize(count, 0);
        &mut self.blocks
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

    /// Whether all ends are known of the record at hand, which has these closing quotes.
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
        let length = closes.blocks.iter().map(|bits| count(*bits)).sum::<usize>();
        // No name has the letters of what fills the last group.
        self.letters.resize((length + USUAL).next_multiple_of(AT_ONCE), 0);
        self.behind.resize(self.letters.len(), 0);
        let mut filled = 0;
        for (block, bits) in closes.blocks.iter().enumerate() {
            let (mut rest, mut at) = (*bits, filled);
            loop {
                let (letters, behind) = (&mut self.letters[at..][..USUAL], &mut self.behind[at..][..USUAL]);
                for (letters, behind) in letters.iter_mut().zip(behind) {
                    let close = block * BITS + rest.trailing_zeros() as usize;
                    rest &= rest.wrapping_sub(1);
                    *letters = record.get(..close).map_or(0, Letters::before);
                    *behind = close as u32 + 1;
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
