//! Random choices and random text: the same for the same seed on every machine, and cheap.

/// Upper-case letters and digits, as in the ids of IAM.
pub(super) const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// The letters of tokens.
pub(super) const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Lower-case digits of UUIDs and resource ids.
pub(super) const HEX: &[u8; 16] = b"0123456789abcdef";

/// A stream of random choices.
pub struct Dice(fastrand::Rng);

impl Dice {
    /// The stream of this number under this seed.
    pub fn new(seed: u64, number: u64) -> Self {
        // Close numbers would give streams that begin alike.
        let mixed = (seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Self(fastrand::Rng::with_seed(mixed ^ (mixed >> 31)))
    }

    /// A number below this bound.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u32::try_from(bound).expect("choices are few");
        self.0.u32(..bound) as usize
    }

    /// A number below this bound; small ones come more often.
    pub(super) fn skewed(&mut self, bound: usize) -> usize {
        let reach = self.below(bound) + 1;
        self.below(reach)
    }

    /// Whether something happens that does so this often in a million.
    pub fn chance(&mut self, per_million: u32) -> bool {
        self.0.u32(..1_000_000) < per_million
    }

    /// One of these.
    pub(super) fn one<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Letters of an alphabet whose size is a power of two.
    pub(super) fn letters<const N: usize>(&mut self, alphabet: &[u8; N], count: usize, out: &mut Vec<u8>) {
        let bits = N.trailing_zeros();
        let per_word = (u64::BITS / bits) as usize;
        let mut left = count;
        while left > 0 {
            let mut word = self.0.u64(..);
            let now = left.min(per_word);
            // A byte of the shifted word is enough to choose among 64.
            out.extend((0..now).map(|_| {
                let letter = alphabet[usize::from(word.to_le_bytes()[0]) % N];
                word >>= bits;
                letter
            }));
            left -= now;
        }
    }

    /// A UUID of version 4.
    pub(super) fn uuid(&mut self, out: &mut Vec<u8>) {
        for (place, count) in [8, 4, 4, 4, 12].into_iter().enumerate() {
            if place > 0 {
                out.push(b'-');
            }
            let start = out.len();
            self.letters(HEX, count, out);
            match place {
                2 => out[start] = b'4',
                3 => out[start] = b"89ab"[usize::from(out[start] & 3)],
                _ => {}
            }
        }
    }

    /// As [`Dice::letters`], as text of its own.
    pub(super) fn word<const N: usize>(&mut self, alphabet: &[u8; N], count: usize) -> String {
        let mut out = Vec::with_capacity(count);
        self.letters(alphabet, count, &mut out);
        String::from_utf8(out).expect("alphabets are ASCII")
    }
}
