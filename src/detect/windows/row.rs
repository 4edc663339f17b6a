//! A row: one hit in a window.

use std::cmp::Ordering;

use super::bytes::{Malformed, Reader};
use super::evidence::EventHash;
use super::moment::{Ingested, Moment};

/// One hit in the windows of one group. Rows are a set: of those with the same [identity](Row::identity) there is one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) time: Moment,
    pub(super) event: EventHash,
    pub(super) value: u64,
    /// The time of its ingestion.
    pub(super) ingested: Ingested,
    pub(super) member: u16,
    /// Set while the window that ends with it is not settled; never where more evidence can undo nothing.
    pub(super) is_open: bool,
}

impl Row {
    pub(super) fn new(time: Moment, event: EventHash, member: u16) -> Self {
        Self { time, event, value: 0, ingested: Ingested::LONG_AGO, member, is_open: false }
    }

    /// All that is not part of its identity.
    pub(super) fn bytes(&self) -> Vec<u8> {
        [&self.ingested.bytes()[..], &[self.is_open.into()]].concat()
    }

    /// Returns the row with what is not part of its identity; rows of an earlier form have nothing of that.
    pub(super) fn with(self, bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.is_empty() {
            return Ok(self);
        }
        let mut reader = Reader(bytes);
        Ok(Self { ingested: Ingested::from_bytes(reader.array()?), is_open: reader.byte()? == 1, ..self })
    }

    /// An event has one time and one value; they are part of the identity so that the set does not depend on the order
    /// of arrival even if two events that differ should share a key.
    fn identity(&self) -> (Moment, EventHash, u16, u64) {
        (self.time, self.event, self.member, self.value)
    }
}

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for Row {}

impl PartialOrd for Row {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Row {
    fn cmp(&self, other: &Self) -> Ordering {
        self.identity().cmp(&other.identity())
    }
}
