//! Where a JSON value ends, 64 bytes at a time, without parsing it.
//!
//! For each block the quotes that are not escaped are found; the running parity of quotes tells which bytes
//! lie inside strings; the brackets outside of strings move the depth. A block that cannot bring the depth
//! to zero is passed with three population counts. What the loop carries stays in registers: nothing in it is
//! called by reference.

use fearless_simd::{Level, Simd, dispatch, prelude::*, u8x64};

use super::MAX_DEPTH;

/// Finds the end of an object or list that may be handed over in pieces.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "none depends on another")]
pub struct Extent {
    depth: u64,
    /// All bits if the next byte lies inside a string, else none.
    in_string: u64,
    /// The next byte is escaped by a backslash before it.
    escaped: bool,
    too_deep: bool,
    backslash: bool,
    control: bool,
}

/// One bit for each of 64 bytes, the first byte lowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Masks {
    quote: u64,
    backslash: u64,
    open: u64,
    close: u64,
}

pub(super) const BLOCK: usize = 64;

/// Whoever sees the blocks that an extent passes, in order.
pub(super) trait Watch<S: Simd> {
    /// A block, and the quotes in it, escaped ones included.
    fn block(&mut self, simd: S, block: u8x64<S>, quotes: u64);
}

/// Nobody does.
impl<S: Simd> Watch<S> for () {
    fn block(&mut self, _simd: S, _block: u8x64<S>, _quotes: u64) {}
}

impl Extent {
    /// Scans on; returns the index after the byte that closes the value. The first byte ever seen opens it.
    pub fn scan(&mut self, bytes: &[u8]) -> Option<usize> {
        dispatch!(Level::new(), simd => self.scan_with(simd, bytes, &mut ()))
    }

    /// Whether objects and lists were nested deeper than a record may be.
    #[must_use]
    pub fn is_too_deep(&self) -> bool {
        self.too_deep
    }

    /// Whether there were control characters, such as line breaks, in what was scanned, up to 63 bytes behind the
    /// end included.
    #[must_use]
    pub fn has_control(&self) -> bool {
        self.control
    }

    /// Whether there were backslashes in what was scanned, up to 63 bytes behind the end included.
    pub(super) fn has_backslash(&self) -> bool {
        self.backslash
    }

    /// Whether what follows stands directly in the outermost object or list.
    pub(super) fn is_at_top(&self) -> bool {
        self.depth == 1 && self.in_string == 0
    }

    /// Compiled for each width of vectors, which needs everything in the loop to be inlined.
    #[expect(clippy::inline_always, reason = "otherwise it is compiled for the oldest machines")]
    #[inline(always)]
    pub(super) fn scan_with<S: Simd>(
        &mut self,
        simd: S,
        bytes: &[u8],
        watch: &mut impl Watch<S>,
    ) -> Option<usize> {
        let (blocks, rest) = bytes.as_chunks::<BLOCK>();
        let mut extent = *self;
        // The least byte of each column: control characters are told from it once, not block by block.
        let mut least = u8x64::splat(simd, u8::MAX);
        let mut end = None;
        let mut ahead = blocks.iter();
        while let Some(block) = ahead.next() {
            let block = u8x64::from_slice(simd, block);
            least = least.min(block);
            let masks = Masks::of(simd, block);
            watch.block(simd, block, masks.quote);
            if let Some(last) = extent.block(simd, masks) {
                end = Some((blocks.len() - ahead.len() - 1) * BLOCK + last);
                break;
            }
        }
        extent.control |= least.simd_lt(b' ').any_true();
        *self = extent;
        if end.is_some() {
            return end;
        }
        let end = rest.iter().position(|byte| self.byte(*byte))?;
        Some(blocks.len() * BLOCK + end + 1)
    }

    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn block<S: Simd>(&mut self, simd: S, mut masks: Masks) -> Option<usize> {
        if masks.backslash | u64::from(self.escaped) != 0 {
            self.backslash = true;
            self.escaped = masks.unescape(self.escaped);
        }
        let inside = parity_up_to(simd, masks.quote) ^ self.in_string;
        self.in_string = (inside.cast_signed() >> (BLOCK - 1)).cast_unsigned();
        let (open, close) = (masks.open & !inside, masks.close & !inside);
        let count = |bits: u64| u64::from(bits.count_ones());
        let (opens, closes) = (count(open), count(close));
        // What is open before the first bracket that closes can be closed without coming to the end.
        let opens_first = count(open & close.wrapping_sub(1) & !close);
        if self.depth + opens_first > closes && self.depth + opens <= MAX_DEPTH as u64 {
            self.depth = self.depth + opens - closes;
            return None;
        }
        let walk = walk(self.depth, open, close);
        self.depth = walk.depth;
        self.too_deep |= walk.too_deep;
        walk.end
    }

    fn open(&mut self) {
        self.depth += 1;
        self.too_deep |= self.depth > MAX_DEPTH as u64;
    }

    /// One byte, for the rest that fills no block; whether it closes the value.
    fn byte(&mut self, byte: u8) -> bool {
        self.control |= byte < b' ';
        self.backslash |= byte == b'\\';
        if std::mem::take(&mut self.escaped) {
            return false;
        }
        match byte {
            // Outside of strings a backslash is an error; it is read alike here and in a block.
            b'\\' => self.escaped = true,
            b'"' => self.in_string = !self.in_string,
            b'{' | b'[' if self.in_string == 0 => self.open(),
            b'}' | b']' if self.in_string == 0 => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }
}

/// Brackets of a block, one by one.
struct Walk {
    depth: u64,
    too_deep: bool,
    /// The index after the bracket that closes the value.
    end: Option<usize>,
}

/// Brackets one by one, in a block where the value may end or be too deep.
fn walk(mut depth: u64, open: u64, close: u64) -> Walk {
    let mut too_deep = false;
    let mut brackets = open | close;
    while brackets != 0 {
        let lowest = brackets & brackets.wrapping_neg();
        if close & lowest != 0 {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                return Walk { depth, too_deep, end: Some(lowest.trailing_zeros() as usize + 1) };
            }
        } else {
            depth += 1;
            too_deep |= depth > MAX_DEPTH as u64;
        }
        brackets ^= lowest;
    }
    Walk { depth, too_deep, end: None }
}

/// The bytes that a backslash before them escapes, and whether the first byte behind them is, too.
fn escapes(mut backslashes: u64, first_escaped: bool) -> (u64, bool) {
    let mut escaped = u64::from(first_escaped);
    backslashes &= !escaped;
    while backslashes != 0 {
        let at = backslashes.trailing_zeros();
        if at == 63 {
            return (escaped, true);
        }
        escaped |= 2 << at;
        backslashes &= !(3 << at);
    }
    (escaped, false)
}

/// Each bit becomes the parity of itself and all lower bits: from an opening quote up to, but without, its
/// closing one.
#[expect(clippy::inline_always, reason = "as above")]
#[inline(always)]
fn parity_up_to<S: Simd>(simd: S, bits: u64) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if let Some(avx512) = simd.level().as_avx512() {
        return carryless::parity_up_to(avx512, bits);
    }
    let _ = simd;
    parity_by_shifts(bits)
}

fn parity_by_shifts(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

/// The parity of all lower bits is their product with all ones where nothing is carried; machines with the widest
/// vectors have an instruction for that.
#[cfg(target_arch = "x86_64")]
mod carryless {
    use std::arch::x86_64::{_mm_clmulepi64_si128, _mm_cvtsi64_si128, _mm_cvtsi128_si64, _mm_set1_epi8};

    fearless_simd::kernel!(
        #[inline]
        pub(super) fn parity_up_to(avx512: Avx512, bits: u64) -> u64 {
            let product = _mm_clmulepi64_si128::<0>(_mm_cvtsi64_si128(bits.cast_signed()), _mm_set1_epi8(-1));
            _mm_cvtsi128_si64(product).cast_unsigned()
        }
    );
}

impl Masks {
    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn of<S: Simd>(simd: S, bytes: u8x64<S>) -> Self {
        // `{` and `[`, `}` and `]` differ in the bit 0x20 alone.
        let folded = bytes | u8x64::splat(simd, 0x20);
        Self {
            quote: bytes.simd_eq(b'"').to_bitmask(),
            backslash: bytes.simd_eq(b'\\').to_bitmask(),
            open: folded.simd_eq(b'{').to_bitmask(),
            close: folded.simd_eq(b'}').to_bitmask(),
        }
    }

    /// Takes out what a backslash before it escapes; whether the first byte behind is escaped, too.
    fn unescape(&mut self, first_escaped: bool) -> bool {
        let (escaped, next_escaped) = escapes(self.backslash, first_escaped);
        self.quote &= !escaped;
        self.open &= !escaped;
        self.close &= !escaped;
        next_escaped
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

/// Every width of vectors that this machine has.
#[cfg(test)]
pub(super) fn levels() -> Vec<Level> {
    let levels = vec![Level::new(), Level::baseline()];
    #[cfg(target_arch = "x86_64")]
    let levels = {
        let widest = Level::new();
        let narrower = [
            widest.as_avx2().map(Level::Avx2),
            widest.as_sse4_2().map(Level::Sse4_2),
            widest.as_sse2().map(Level::Sse2),
        ];
        levels.into_iter().chain(narrower.into_iter().flatten()).collect()
    };
    levels
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
        for level in levels() {
            for seed in 0..20_000 {
                let text = noise(seed, 10 + seed % 400);
                let mut extent = Extent::default();
                let end = dispatch!(level, simd => extent.scan_with(simd, &text, &mut ()));
                assert_eq!(end, slow_end(&text), "{level:?} {}", String::from_utf8_lossy(&text));
            }
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
        for level in levels() {
            for seed in 0..2_000 {
                let text = noise(seed, 64);
                let block = text.first_chunk::<BLOCK>().unwrap();
                let fast = dispatch!(level, simd => Masks::of(simd, u8x64::from_slice(simd, block)));
                assert_eq!(fast, Masks::one_by_one(block), "{level:?}");
            }
        }
    }

    #[test]
    fn line_breaks_are_noticed() {
        for (text, expected) in [("{\"a\":1}", false), ("{\"a\":\n1}", true)] {
            for pad in ["", &"x".repeat(100)] {
                let mut extent = Extent::default();
                extent.scan(text.replace('a', pad).as_bytes());
                assert_eq!(extent.has_control(), expected, "{text} with {pad}");
            }
        }
    }
}
