//! A row: one hit in a window.

use super::evidence::EventHash;
use super::moment::Moment;

/// One hit in the windows of one group. Rows are a set: what is equal is one.
///
/// An event has one time and one value; they are part of the row's identity so that the set does not depend on the
/// order of arrival even if two events that differ should share a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    pub(super) time: Moment,
    pub(super) event: EventHash,
    pub(super) member: u16,
    pub(super) value: u64,
}
