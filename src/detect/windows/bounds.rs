//! How much an engine keeps, and what goes when that is not enough.

/// How much there may be; [`Tally::evictions`](super::Tally::evictions) counts what was dropped for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Groups in all windows; above it those that are due first are dropped.
    pub(super) groups: usize,
    /// Rows in all windows, 40 bytes each; above it groups that are due first are dropped.
    pub(super) rows: usize,
    /// Bytes of text about events; above it further events are listed without.
    pub(super) excerpt_bytes: usize,
    /// Values that a first-seen detection remembers, once for each period; what is above it is never told, for what
    /// is forgotten would be told again.
    pub(super) seen: usize,
    /// First sights that a detection holds back for the watermark; above it the latest are dropped.
    pub(super) held: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { groups: 1_000_000, rows: 4_000_000, excerpt_bytes: 128 << 20, seen: 4_000_000, held: 100_000 }
    }
}
