//! How much an engine keeps, and what goes when that is not enough.

/// How much there may be; [`Tally::evictions`](super::Tally::evictions) counts what was dropped for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Bytes of all windows: groups, their values and their rows, about; above it groups are dropped, first those that are
    /// only remembered.
    pub(super) bytes: usize,
    /// Bytes of text about events; above it further events are listed without.
    pub(super) excerpt_bytes: usize,
    /// Values that a first-seen detection remembers, once for each period. Above it old periods go; what is above it all the
    /// same is never reported, for what is forgotten would be reported again.
    pub(super) seen: usize,
    /// First sights that a detection holds back until they are settled; above it the latest are dropped.
    pub(super) held: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { bytes: 512 << 20, excerpt_bytes: 128 << 20, seen: 4_000_000, held: 100_000 }
    }
}
