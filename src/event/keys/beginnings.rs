//! How the values begin that are of interest behind a key.

use super::BITS;

/// A bit for each hash of the first four letters of some text, whatever their case.
#[derive(Debug, Clone)]
pub(super) struct Beginnings([u64; BEGINNINGS / BITS]);

const BEGINNINGS: usize = 1 << 12;

impl Beginnings {
    /// Of these words; none if one of them is too short, or does not begin with ASCII.
    pub(super) fn new<'w>(words: impl Iterator<Item = &'w [u8]>) -> Option<Self> {
        let mut known = Self([0; BEGINNINGS / BITS]);
        for word in words {
            let beginning = word.first_chunk().filter(|beginning| beginning.is_ascii())?;
            let bit = Self::bit(*beginning);
            known.0[bit / BITS] |= 1 << (bit % BITS);
        }
        Some(known)
    }

    /// Whether one of the words may stand behind a key, whatever its case.
    #[inline]
    pub(super) fn may_hold(&self, rest: &[u8]) -> bool {
        let Some([b':', b'"', beginning @ ..]) = rest.first_chunk::<6>() else { return true };
        let bit = Self::bit(*beginning);
        self.0[bit / BITS] & 1 << (bit % BITS) != 0 || may_hide_letters(*beginning)
    }

    fn bit(beginning: [u8; 4]) -> usize {
        // The bit that tells the cases of letters apart is set in all bytes.
        let folded = u32::from_le_bytes(beginning) | 0x2020_2020;
        (folded.wrapping_mul(0x9E37_79B1) >> (u32::BITS - BEGINNINGS.trailing_zeros())) as usize
    }
}

/// Whether there is a backslash among these bytes, or one beyond ASCII.
fn may_hide_letters(bytes: [u8; 4]) -> bool {
    const ONES: u32 = 0x0101_0101;
    let bytes = u32::from_le_bytes(bytes);
    // A byte that is none becomes 0, and only such a one borrows from its own highest bit.
    let no_backslash = bytes ^ (ONES * u32::from(b'\\'));
    (bytes | no_backslash.wrapping_sub(ONES) & !no_backslash) & (ONES << 7) != 0
}
