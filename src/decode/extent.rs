//! Where a JSON value ends, 64 bytes at a time, without parsing it.
//!
//! For each block the quotes that are not escaped are found; the running parity of quotes tells which bytes
//! lie inside strings; the brackets outside of strings move the depth. A block that cannot bring the depth
//! to zero is passed with two population counts.

use wide::u8x64;

use crate::event::MAX_DEPTH;

/// Finds the end of an object or list that may be handed over in pieces.
#[derive(Debug, Clone, Default)]
pub(super) struct Extent {
    depth: u64,
    in_string: bool,
    /// The next byte is escaped by a backslash before it.
    escaped: bool,
    too_deep: bool,
}

/// One bit for each of 64 bytes, the first byte lowest.
struct Masks {
    quote: u64,
    backslash: u64,
    open: u64,
    close: u64,
}

const BLOCK: usize = 64;

impl Extent {
    /// Scans on; returns the index after the byte that closes the value. The first byte ever seen opens it.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut blocks = bytes.chunks_exact(BLOCK);
        let mut at = 0;
        for block in blocks.by_ref() {
            let block: &[u8; BLOCK] = block.try_into().expect("chunks_exact yields whole blocks");
            if let Some(end) = self.block(&Masks::of(block)) {
                return Some(at + end);
            }
            at += BLOCK;
        }
        blocks.remainder().iter().position(|byte| self.byte(*byte)).map(|found| at + found + 1)
    }

    /// Whether objects and lists were nested deeper than a record may be.
    pub(super) fn is_too_deep(&self) -> bool {
        self.too_deep
    }

    fn block(&mut self, masks: &Masks) -> Option<usize> {
        let escaped = self.escapes(masks.backslash);
        let inside = parity_up_to(masks.quote & !escaped) ^ if self.in_string { u64::MAX } else { 0 };
        self.in_string = inside >> (BLOCK - 1) != 0;
        let outside = !inside & !escaped;
        let (open, close) = (masks.open & outside, masks.close & outside);
        let (opens, closes) = (u64::from(open.count_ones()), u64::from(close.count_ones()));
        if self.depth > closes && self.depth + opens <= MAX_DEPTH as u64 {
            self.depth = self.depth + opens - closes;
            return None;
        }
        self.walk(open, close)
    }

    /// Brackets one by one, in a block where the value may end or be too deep.
    fn walk(&mut self, open: u64, close: u64) -> Option<usize> {
        let mut brackets = open | close;
        while brackets != 0 {
            let lowest = brackets & brackets.wrapping_neg();
            if close & lowest != 0 {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    return Some(lowest.trailing_zeros() as usize + 1);
                }
            } else {
                self.open();
            }
            brackets ^= lowest;
        }
        None
    }

    fn open(&mut self) {
        self.depth += 1;
        self.too_deep |= self.depth > MAX_DEPTH as u64;
    }

    /// The bytes that a backslash before them escapes.
    fn escapes(&mut self, mut backslashes: u64) -> u64 {
        let mut escaped = u64::from(std::mem::take(&mut self.escaped));
        backslashes &= !escaped;
        while backslashes != 0 {
            let at = backslashes.trailing_zeros();
            if at == 63 {
                self.escaped = true;
                break;
            }
            escaped |= 2 << at;
            backslashes &= !(3 << at);
        }
        escaped
    }

    /// One byte, for the rest that fills no block; whether it closes the value.
    fn byte(&mut self, byte: u8) -> bool {
        if std::mem::take(&mut self.escaped) {
            return false;
        }
        match byte {
            // Outside of strings a backslash is an error; it is read alike here and in a block.
            b'\\' => self.escaped = true,
            b'"' => self.in_string = !self.in_string,
            b'{' | b'[' if !self.in_string => self.open(),
            b'}' | b']' if !self.in_string => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }
}

/// Each bit becomes the parity of itself and all lower bits: from an opening quote up to, but without, its
/// closing one.
fn parity_up_to(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

impl Masks {
    fn of(block: &[u8; BLOCK]) -> Self {
        let bytes = u8x64::new(*block);
        // `{` and `[`, `}` and `]` differ in the bit 0x20 alone.
        let folded = bytes | u8x64::splat(0x20);
        let equal = |bytes: u8x64, byte: u8| bytes.simd_eq(u8x64::splat(byte)).to_bitmask();
        Self {
            quote: equal(bytes, b'"'),
            backslash: equal(bytes, b'\\'),
            open: equal(folded, b'{'),
            close: equal(folded, b'}'),
        }
    }

    /// What the way above must equal.
    #[cfg(test)]
    fn one_by_one(block: &[u8; BLOCK]) -> Self {
        let mask = |wanted: &dyn Fn(u8) -> bool| {
            block.iter().enumerate().fold(0, |mask, (i, byte)| mask | u64::from(wanted(*byte)) << i)
        };
        Self {
            quote: mask(&|byte| byte == b'"'),
            backslash: mask(&|byte| byte == b'\\'),
            open: mask(&|byte| byte == b'{' || byte == b'['),
            close: mask(&|byte| byte == b'}' || byte == b']'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The obvious way: one byte after the other.
    fn slow_end(bytes: &[u8]) -> Option<usize> {
        let mut extent = Extent::default();
        bytes.iter().position(|byte| extent.byte(*byte)).map(|at| at + 1)
    }

    /// Text over the bytes that matter, from a fixed seed.
    fn noise(seed: usize, length: usize) -> Vec<u8> {
        let mut state = (seed as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut text = vec![b'{'];
        text.extend((0..length).map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            b"{}[]\"\\\\ab,:\n{[ \xc3\xa9"[(state >> 33) as usize % 17]
        }));
        text
    }

    #[test]
    fn blocks_equal_bytes() {
        for seed in 0..20_000 {
            let text = noise(seed, 10 + seed % 400);
            assert_eq!(Extent::default().scan(&text), slow_end(&text), "{}", String::from_utf8_lossy(&text));
        }
    }

    #[test]
    fn depth_is_noticed_wherever_it_lies() {
        for before in 0..130 {
            for (levels, expected) in [(MAX_DEPTH, false), (MAX_DEPTH + 1, true), (1_000, true)] {
                let inner = "[".repeat(levels - 1) + &"]".repeat(levels - 1);
                let text = format!("{{\"{}\":{inner}}}", "x".repeat(before));
                let mut extent = Extent::default();
                assert_eq!(extent.scan(text.as_bytes()), Some(text.len()));
                assert_eq!(extent.is_too_deep(), expected, "{levels} levels behind {before} bytes");
            }
        }
    }

    #[test]
    fn pieces_equal_the_whole() {
        for seed in 0..2_000 {
            let text = noise(seed, 500);
            let (head, tail) = text.split_at(seed % text.len());
            let mut extent = Extent::default();
            let end = extent.scan(head).or_else(|| extent.scan(tail).map(|end| head.len() + end));
            assert_eq!(end, slow_end(&text), "{}", String::from_utf8_lossy(&text));
        }
    }

    #[test]
    fn masks_equal_one_by_one() {
        for seed in 0..2_000 {
            let text = noise(seed, 64);
            let block = text[..64].try_into().unwrap();
            let (fast, slow) = (Masks::of(block), Masks::one_by_one(block));
            assert_eq!(
                (fast.quote, fast.backslash, fast.open, fast.close),
                (slow.quote, slow.backslash, slow.open, slow.close)
            );
        }
    }
}
