//! Many keys by their names.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::{BITS, Key};

/// All keys by their names.
#[derive(Debug, Clone)]
pub(super) struct Many {
    by_name: HashMap<Box<[u8]>, usize, FixedState>,
    /// A bit for each hash of a length, a first and a last letter that some key has.
    seen: [u64; SEEN / BITS],
}

const SEEN: usize = 1 << 14;

impl Many {
    pub(super) fn new(keys: &[Key]) -> Self {
        let mut many = Self { by_name: HashMap::default(), seen: [0; SEEN / BITS] };
        for (number, key) in keys.iter().enumerate() {
            many.add(&key.name, number);
            key.prefixes.iter().for_each(|prefix| many.add(&[prefix, &*key.name].concat(), number));
        }
        many
    }

    pub(super) fn add(&mut self, name: &[u8], number: usize) {
        let bit = Self::bit(name);
        self.seen[bit / BITS] |= 1 << (bit % BITS);
        self.by_name.insert(name.into(), number);
    }

    /// Where a name is noted as seen; it is not empty.
    #[expect(clippy::inline_always, reason = "as of all that stands in the loop")]
    #[inline(always)]
    fn bit(name: &[u8]) -> usize {
        let (first, last) = (usize::from(name[0]), usize::from(name[name.len() - 1]));
        ((first + (last << 5)) * 37 + name.len() * 131) % SEEN
    }

    /// The number of the key of this name.
    #[expect(clippy::inline_always, reason = "as of all that stands in the loop")]
    #[inline(always)]
    pub(super) fn key(&self, name: &[u8]) -> Option<usize> {
        if name.is_empty() {
            return None;
        }
        let bit = Self::bit(name);
        let may_be = self.seen[bit / BITS] & 1 << (bit % BITS) != 0;
        if may_be { self.by_name.get(name).copied() } else { None }
    }
}
