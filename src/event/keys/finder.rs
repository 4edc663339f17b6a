//! Finds keys block by block, in a record or in the pass that also finds the record's end.

use fearless_simd::{Level, Simd, dispatch, prelude::*, u8x64};
use memchr::memmem;

use super::many::Many;
use super::{BITS, Keys, Place, Sightings, skip_space};
use crate::event::extent::{BLOCK, Extent, Masks};

impl Keys {
    /// Fills in where the keys stand in a record.
    pub fn find(&self, record: &[u8], seen: &mut Sightings) {
        dispatch!(Level::new(), simd => self.find_with(simd, self.many.as_deref(), record, seen));
    }

    /// As [`Extent::scan`] for an object or list that begins here, together with [`Keys::find`] in what is found.
    pub fn find_in_first(&self, extent: &mut Extent, bytes: &[u8], seen: &mut Sightings) -> Option<usize> {
        dispatch!(Level::new(), simd => self.find_in_first_with(simd, extent, bytes, seen))
    }

    /// Compiled for each width of vectors, which needs everything in the loop to be inlined.
    #[expect(clippy::inline_always, reason = "otherwise it is compiled for the oldest machines")]
    #[inline(always)]
    pub(super) fn find_with<S: Simd>(
        &self,
        simd: S,
        many: Option<&Many>,
        record: &[u8],
        seen: &mut Sightings,
    ) {
        let mut finder = Finder::new(self, many, record, seen);
        let (blocks, rest) = record.as_chunks::<BLOCK>();
        for (number, block) in blocks.iter().chain([&padded(rest)]).enumerate() {
            let bytes = u8x64::from_slice(simd, block);
            let (quotes, backslashes) = (bytes.simd_eq(b'"').to_bitmask(), bytes.simd_eq(b'\\').to_bitmask());
            finder.block(bytes, quotes, backslashes, number);
        }
        finder.finish(record.len());
    }

    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    pub(super) fn find_in_first_with<S: Simd>(
        &self,
        simd: S,
        extent: &mut Extent,
        bytes: &[u8],
        seen: &mut Sightings,
    ) -> Option<usize> {
        let mut finder = Finder::new(self, self.many.as_deref(), bytes, seen);
        let (blocks, rest) = bytes.as_chunks::<BLOCK>();
        for (number, block) in blocks.iter().enumerate() {
            let block = u8x64::from_slice(simd, block);
            let masks = Masks::of(simd, block);
            finder.block(block, masks.quote, masks.backslash, number);
            if let Some(end) = extent.block(&masks) {
                let end = number * BLOCK + end;
                finder.finish(end);
                return Some(end);
            }
        }
        let last = u8x64::from_slice(simd, &padded(rest));
        let masks = Masks::of(simd, last);
        finder.block(last, masks.quote, masks.backslash, blocks.len());
        let end = extent.block(&masks).map(|end| blocks.len() * BLOCK + end);
        finder.finish(end.unwrap_or(bytes.len()));
        end
    }
}

/// The last bytes as a block; what fills it up means nothing in JSON, not even white space.
fn padded(rest: &[u8]) -> [u8; BLOCK] {
    let mut last = [b'.'; BLOCK];
    last[..rest.len()].copy_from_slice(rest);
    last
}

/// Finds keys block by block.
struct Finder<'f> {
    keys: &'f Keys,
    many: Option<&'f Many>,
    record: &'f [u8],
    seen: &'f mut Sightings,
    quotes_before: u64,
    dots_before: u64,
    backslashes: u64,
    /// The last quote in the blocks before, and in those before the last of them.
    quote_before: Option<usize>,
    quote_earlier: Option<usize>,
    spaced: bool,
}

impl<'f> Finder<'f> {
    fn new(keys: &'f Keys, many: Option<&'f Many>, record: &'f [u8], seen: &'f mut Sightings) -> Self {
        seen.places.clear();
        Self {
            keys,
            many,
            record,
            seen,
            quotes_before: 0,
            dots_before: 0,
            backslashes: 0,
            quote_before: None,
            quote_earlier: None,
            spaced: false,
        }
    }

    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn block<S: Simd>(&mut self, bytes: u8x64<S>, quotes: u64, backslashes: u64, number: usize) {
        self.backslashes |= backslashes;
        match self.many {
            None => self.few(bytes, quotes, number),
            Some(many) => self.many(many, bytes, quotes, number),
        }
        self.quotes_before = quotes;
    }

    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn few<S: Simd>(&mut self, bytes: u8x64<S>, quotes: u64, number: usize) {
        let dots = if self.keys.dotted { bytes.simd_eq(b'.').to_bitmask() } else { 0 };
        for (index, key) in self.keys.all.iter().enumerate() {
            let (mut openings, mut openings_before) = (quotes, self.quotes_before);
            if !key.prefixes.is_empty() {
                openings |= dots;
                openings_before |= self.dots_before;
            }
            let opened = openings << key.length | openings_before >> (u64::BITS - key.length);
            // Where the letter would stand in the block before, it is not asked for.
            let letters = bytes.simd_eq(key.letter).to_bitmask() << key.letter_back;
            let closes = quotes & opened & (letters | ((1 << key.letter_back) - 1));
            if closes != 0 {
                key.check(index, closes, number * BLOCK, self.record, &mut self.seen.places);
            }
        }
        self.dots_before = dots;
    }

    /// Where every colon directly follows its key, each key of the record is the text between the quote before the
    /// colon and the one before that.
    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn many<S: Simd>(&mut self, many: &Many, bytes: u8x64<S>, quotes: u64, number: usize) {
        let behind_quotes = quotes << 1 | self.quotes_before >> (BITS - 1);
        self.spaced |= behind_quotes & bytes.simd_le(b' ').to_bitmask() != 0;
        let mut colons = behind_quotes & bytes.simd_eq(b':').to_bitmask();
        while colons != 0 {
            let colon = colons.trailing_zeros();
            colons &= colons - 1;
            let start = match colon.checked_sub(1) {
                Some(close) => (quotes & ((1 << close) - 1))
                    .checked_ilog2()
                    .map(|bit| number * BLOCK + bit as usize)
                    .or(self.quote_before),
                // The key is closed by the last byte of the block before.
                None => (self.quotes_before & (u64::MAX >> 1))
                    .checked_ilog2()
                    .map(|bit| (number - 1) * BLOCK + bit as usize)
                    .or(self.quote_earlier),
            };
            let close = number * BLOCK + colon as usize - 1;
            if let Some(start) = start
                && let name = &self.record[start + 1..close]
                && let Some(key) = many.key(name)
            {
                self.seen.places.push(Place {
                    key,
                    start,
                    end: close + 1,
                    is_prefixed: false,
                    is_promising: true,
                });
            }
        }
        self.quote_earlier = self.quote_before;
        self.quote_before =
            quotes.checked_ilog2().map(|bit| number * BLOCK + bit as usize).or(self.quote_before);
    }

    /// Ends where the record does.
    fn finish(self, end: usize) {
        let Self { keys, record, seen, backslashes, spaced, .. } = self;
        let record = &record[..end];
        if spaced {
            // Keys may stand apart from their colons.
            return dispatch!(Level::new(), simd => keys.find_with(simd, None, record, seen));
        }
        // What stands behind the record is none of its business.
        seen.places.retain_mut(|place| {
            let key = &keys.all[place.key];
            place.is_prefixed = place.end - place.start != key.name.len() + 2;
            place.is_promising = key.may_interest(record, place.end);
            place.end <= end && skip_space(&record[place.end..]).starts_with(b":")
        });
        seen.escaped = backslashes != 0 && memmem::find(record, b"\\u").is_some();
    }
}
