//! What comes out of a step while it is under way, and what is counted.

use std::sync::Arc;

use super::Journaling;
use super::bounds::Bounds;
use super::evidence::Values;
use super::finding::Finding;
use super::journal::{Hash, Journal};
use super::row::Row;

/// What became of evidence and of what was kept, by cause, since the engine was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Facts handed over; each also counts below unless it was new.
    pub facts: u64,
    /// Facts that were there already.
    pub duplicate: u64,
    /// Facts held back by a [`Sieve`](super::Sieve).
    pub spent: u64,
    /// Facts of events without a field by which the correlation groups.
    pub no_group: u64,
    /// Facts of events without what is counted, or with no number where one is asked for.
    pub no_value: u64,
    /// Facts about values seen for the first time for which there was no room; they are never told.
    pub seen_without_room: u64,
    /// Firing points that another correlation saw as hits; they are counted above like facts.
    pub chained: u64,
    /// Groups dropped before their time, because they took up too much memory.
    pub evicted_groups: u64,
    /// Rows dropped before their time, those of dropped groups included.
    pub evicted_rows: u64,
    /// First sights that were never told, because too many waited.
    pub evicted_held: u64,
    /// Values seen in periods that were forgotten before their time, because there were too many.
    pub evicted_seen: u64,
    /// Texts about events that were not kept for want of room; alerts list these events without them.
    pub excerpts_without_room: u64,
    /// Stored rows of detections that there are no more, or of another form.
    pub rows_not_restored: u64,
}

impl Tally {
    /// What became of the evidence of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            facts: self.facts + other.facts,
            duplicate: self.duplicate + other.duplicate,
            spent: self.spent + other.spent,
            no_group: self.no_group + other.no_group,
            no_value: self.no_value + other.no_value,
            seen_without_room: self.seen_without_room + other.seen_without_room,
            chained: self.chained + other.chained,
            evicted_groups: self.evicted_groups + other.evicted_groups,
            evicted_rows: self.evicted_rows + other.evicted_rows,
            evicted_held: self.evicted_held + other.evicted_held,
            evicted_seen: self.evicted_seen + other.evicted_seen,
            excerpts_without_room: self.excerpts_without_room + other.excerpts_without_room,
            rows_not_restored: self.rows_not_restored + other.rows_not_restored,
        }
    }

    /// What took no part or was dropped, by cause; each under a short name from a closed set.
    #[must_use]
    pub fn causes(&self) -> [(&'static str, u64); 9] {
        [
            ("no-group", self.no_group),
            ("no-value", self.no_value),
            ("seen-without-room", self.seen_without_room),
            ("evicted-groups", self.evicted_groups),
            ("evicted-rows", self.evicted_rows),
            ("evicted-held", self.evicted_held),
            ("evicted-seen", self.evicted_seen),
            ("excerpts-without-room", self.excerpts_without_room),
            ("rows-not-restored", self.rows_not_restored),
        ]
    }
}

impl Tally {
    /// What became of the facts, each under a short name from a closed set; together they are all facts.
    #[must_use]
    pub fn outcomes(&self) -> [(&'static str, u64); 6] {
        let others = [
            ("duplicate", self.duplicate),
            ("spent", self.spent),
            ("no-group", self.no_group),
            ("no-value", self.no_value),
            ("without-room", self.seen_without_room),
        ];
        let taken = self.facts - others.iter().map(|(_, count)| count).sum::<u64>();
        let [duplicate, spent, no_group, no_value, without_room] = others;
        [("taken", taken), duplicate, spent, no_group, no_value, without_room]
    }

    /// What was dropped before its time, by where it was kept.
    #[must_use]
    pub fn evictions(&self) -> [(&'static str, u64); 5] {
        [
            ("window-groups", self.evicted_groups),
            ("window-rows", self.evicted_rows),
            ("first-sights", self.evicted_held),
            ("seen-values", self.evicted_seen),
            ("excerpts", self.excerpts_without_room),
        ]
    }
}

#[derive(Debug)]
pub(super) struct Output {
    pub(super) findings: Vec<Finding>,
    pub(super) fired: Vec<Fired>,
    pub(super) journal: Journal,
    pub(super) tally: Tally,
    /// Bytes of all texts about events that are kept.
    pub(super) excerpt_bytes: usize,
    pub(super) bounds: Bounds,
}

/// A row at a firing point, for the correlations that see it as a hit.
#[derive(Debug)]
pub(super) struct Fired {
    pub(super) group: Hash,
    pub(super) values: Values,
    pub(super) row: Row,
    pub(super) excerpt: Option<Arc<str>>,
}

/// A fact on its way into a window.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) group: Hash,
    pub(super) values: Values,
    pub(super) row: Row,
    pub(super) excerpt: Option<Arc<str>>,
}

impl Output {
    pub(super) fn new(journal: Journaling, bounds: Bounds) -> Self {
        Self {
            findings: Vec::new(),
            fired: Vec::new(),
            journal: Journal { wanted: journal == Journaling::On, changes: Vec::new() },
            tally: Tally::default(),
            excerpt_bytes: 0,
            bounds,
        }
    }

    pub(super) fn fired(&mut self, group: Hash, values: &Values, row: &Row, excerpt: Option<Arc<str>>) {
        self.fired.push(Fired { group, values: values.clone(), row: *row, excerpt });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_up_field_by_field() {
        let tally = Tally {
            facts: 1,
            duplicate: 2,
            spent: 3,
            no_group: 4,
            no_value: 5,
            seen_without_room: 6,
            chained: 7,
            evicted_groups: 8,
            evicted_rows: 9,
            evicted_held: 10,
            evicted_seen: 11,
            excerpts_without_room: 12,
            rows_not_restored: 13,
        };
        assert_eq!((tally.and(Tally::default()), Tally::default().and(tally)), (tally, tally));
        assert_eq!(tally.and(tally).causes(), tally.causes().map(|(name, count)| (name, 2 * count)));
    }
}
