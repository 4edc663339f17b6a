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
    pub(super) fn may_hold(&self, rest: &[u8]) -> bool {
        let [b':', b'"', rest @ ..] = rest else { return true };
        for byte in rest.iter().take(4) {
            match byte {
                // The text is shorter than any of the words.
                b'"' => return false,
                b'\\' | 0x80.. => return true,
                _ => {}
            }
        }
        let Some(beginning) = rest.first_chunk() else { return true };
        let bit = Self::bit(*beginning);
        self.0[bit / BITS] & 1 << (bit % BITS) != 0
    }

    fn bit(beginning: [u8; 4]) -> usize {
        // The bit that tells the cases of letters apart is set in all bytes.
        let folded = u32::from_le_bytes(beginning) | 0x2020_2020;
        (folded.wrapping_mul(0x9E37_79B1) >> (u32::BITS - BEGINNINGS.trailing_zeros())) as usize
    }
}
