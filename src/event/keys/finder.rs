//! Finds keys in the bytes of a record, or in the first record of a window together with its end.

use fearless_simd::{Level, Simd, dispatch, mask8x64, prelude::*, u8x64};
use memchr::memmem;

use super::many::Many;
use super::value::CASE;
use super::{BITS, Ends, Key, Keys, Place, Record, Sightings, skip_space};
use crate::event::extent::{BLOCK, Extent};

impl Keys {
    /// Fills in where the keys stand in a record.
    pub fn find(&self, record: &[u8], seen: &mut Sightings) {
        self.find_plain(record, seen);
        seen.escaped = has_unicode_escape(record);
    }

    /// As [`Keys::find`], in a record that is known to have no escapes in its keys.
    pub fn find_plain(&self, record: &[u8], seen: &mut Sightings) {
        dispatch!(Level::new(), simd => self.find_with(simd, self.many.as_deref(), Window::whole(record), seen));
        seen.escaped = false;
    }

    /// As [`Keys::find_plain`], in a record in which other keys were looked for before. If these were many, it is known
    /// where all keys end; `ends` has it for whoever looks for others yet.
    pub fn find_again(&self, record: Record<'_>, ends: &mut Ends, seen: &mut Sightings) {
        let Record { bytes, seen: before } = record;
        if !ends.are_known_by(&before.closes, bytes) {
            return self.find_plain(bytes, seen);
        }
        let Sightings { places, escaped, closes } = seen;
        places.clear();
        closes.forget();
        *escaped = false;
        for (number, key) in self.all.iter().enumerate() {
            ends.each_with(key.last_letters(), |end| places.extend(key.place_before(number, end, bytes)));
        }
    }

    /// As [`Extent::scan`] for an object or list that begins here, together with [`Keys::find`] in what is found.
    pub fn find_in_first(&self, extent: &mut Extent, bytes: &[u8], seen: &mut Sightings) -> Option<usize> {
        dispatch!(Level::new(), simd => self.find_in_first_with(simd, extent, bytes, seen))
    }

    /// Compiled for each width of vectors, which needs everything in the loops to be inlined.
    #[expect(clippy::inline_always, reason = "otherwise it is compiled for the oldest machines")]
    #[inline(always)]
    pub(super) fn find_in_first_with<S: Simd>(
        &self,
        simd: S,
        extent: &mut Extent,
        bytes: &[u8],
        seen: &mut Sightings,
    ) -> Option<usize> {
        let (many, closes) = (self.many.as_deref(), &mut seen.closes);
        let end = match many {
            Some(_) => {
                closes.begin(bytes.len());
                simd.vectorize(|| extent.scan_with(simd, bytes, closes))
            }
            None => simd.vectorize(|| extent.scan_with(simd, bytes, &mut ())),
        };
        let window = Window { bytes, end: end.unwrap_or(bytes.len()) };
        self.find_behind(simd, many, window, seen);
        seen.escaped = extent.has_backslash() && has_unicode_escape(window.record());
        end
    }

    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    pub(super) fn find_with<S: Simd>(
        &self,
        simd: S,
        many: Option<&Many>,
        window: Window<'_>,
        seen: &mut Sightings,
    ) {
        if many.is_some() {
            simd.vectorize(|| seen.closes.see(simd, window.record()));
        }
        self.find_behind(simd, many, window, seen);
    }

    /// Where keys are many, it was seen where all of the record end.
    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn find_behind<S: Simd>(&self, simd: S, many: Option<&Many>, window: Window<'_>, seen: &mut Sightings) {
        let Sightings { places, closes, .. } = seen;
        places.clear();
        match many {
            Some(many) if closes.end(window.record()) => {
                simd.vectorize(|| many.find(&self.all, window, closes, places));
            }
            // Keys may stand apart from their colons, or are few.
            _ => {
                closes.forget();
                for (number, key) in self.all.iter().enumerate() {
                    simd.vectorize(|| key.find(simd, number, window, places));
                }
            }
        }
    }
}

/// A record, and what stands behind it: blocks may reach beyond its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window<'w> {
    pub(super) bytes: &'w [u8],
    pub(super) end: usize,
}

impl<'w> Window<'w> {
    pub(super) fn whole(record: &'w [u8]) -> Self {
        Self { bytes: record, end: record.len() }
    }

    pub(super) fn record(self) -> &'w [u8] {
        &self.bytes[..self.end]
    }
}

impl Key {
    /// Adds the places of this key, or of its only value. Blocks are compared in two bytes at once; what is left at the
    /// end fills no block.
    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn find<S: Simd>(&self, simd: S, number: usize, window: Window<'_>, places: &mut Vec<Place>) {
        let ([first, second], bytes, case) = match &self.value {
            Some(value) => (value.rarest, value.rarest_bytes(), CASE),
            None => (self.rarest, self.rarest.map(|place| self.closed[place]), 0),
        };
        let pair = [u8x64::splat(simd, bytes[0]), u8x64::splat(simd, bytes[1])];
        let case = u8x64::splat(simd, case);
        // Names begin so far before the end of the record that their two bytes lie within it.
        let begins = window.end.saturating_sub(second);
        let firsts = window.bytes.get(first..).unwrap_or_default().as_chunks::<BLOCK>().0;
        let seconds = window.bytes.get(second..).unwrap_or_default().as_chunks::<BLOCK>().0;
        let blocks = seconds.len().min(begins.div_ceil(BLOCK));
        let (firsts, seconds) = (&firsts[..blocks], &seconds[..blocks]);
        // Which blocks have both is not to be guessed, so that no branch depends on it.
        for (group, (firsts, seconds)) in firsts.chunks(BITS).zip(seconds.chunks(BITS)).enumerate() {
            let mut hits = 0_u64;
            for (bit, (one, other)) in firsts.iter().zip(seconds).enumerate() {
                hits |= u64::from(both(simd, [one, other], pair, case).any_true()) << bit;
            }
            while hits != 0 {
                let bit = hits.trailing_zeros() as usize;
                hits &= hits - 1;
                let starts = both(simd, [&firsts[bit], &seconds[bit]], pair, case).to_bitmask();
                self.check(number, starts, (group * BITS + bit) * BLOCK, window.record(), places);
            }
        }
        let rest = blocks * BLOCK;
        if rest < begins {
            self.find_in_rest(number, rest, window.record(), places);
        }
    }

    /// As [`Key::find`], where names may begin from here on.
    #[cold]
    fn find_in_rest(&self, number: usize, from: usize, record: &[u8], places: &mut Vec<Place>) {
        if let Some(value) = &self.value {
            return places
                .extend((from..record.len()).filter_map(|begin| value.place(number, begin, record)));
        }
        for begin in self.search.find_iter(&record[from..]) {
            self.check(number, 1, from + begin, record, places);
        }
    }

    /// Adds those of the begins, a bit each, at which this key stands, or its only value.
    #[inline(never)]
    fn check(&self, number: usize, mut begins: u64, from: usize, record: &[u8], places: &mut Vec<Place>) {
        while begins != 0 {
            let begin = from + begins.trailing_zeros() as usize;
            begins &= begins - 1;
            if let Some(value) = &self.value {
                places.extend(value.place(number, begin, record));
            } else if let Some(place) = self.place(number, begin, record)
                && (record.get(place.end) == Some(&b':')
                    || skip_space(&record[place.end..]).starts_with(b":"))
            {
                places.push(place);
            }
        }
    }
}

/// Where the first of a pair of bytes stands in the one block and the second in the other, once these bits are set.
#[expect(clippy::inline_always, reason = "as above")]
#[inline(always)]
fn both<S: Simd>(
    simd: S,
    blocks: [&[u8; BLOCK]; 2],
    [first, second]: [u8x64<S>; 2],
    bits: u8x64<S>,
) -> mask8x64<S> {
    let (one, other) = (u8x64::from_slice(simd, blocks[0]), u8x64::from_slice(simd, blocks[1]));
    (one | bits).simd_eq(first) & (other | bits).simd_eq(second)
}

fn has_unicode_escape(record: &[u8]) -> bool {
    memmem::find(record, b"\\u").is_some()
}
