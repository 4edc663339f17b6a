//! The schedule of the groups of a detection: when something is to be done about them, and which of them can be evicted.

use std::collections::BTreeSet;

use super::journal::Hash;
use super::moment::{Ingested, Moment};

/// The times at which a group is due. It may be looked at in vain before something can be done; then it is noted anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DueTimes {
    /// The watermark must have passed this.
    pub(super) event: Moment,
    /// The watermark has passed something, which is settled then.
    pub(super) settle: Ingested,
    /// All is settled; the group is forgotten then.
    pub(super) forget: Ingested,
}

impl DueTimes {
    pub(super) const NEVER: DueTimes =
        DueTimes { event: Moment::END, settle: Ingested::NEVER, forget: Ingested::NEVER };

    fn or(self, other: DueTimes) -> DueTimes {
        DueTimes {
            event: self.event.min(other.event),
            settle: self.settle.min(other.settle),
            forget: self.forget.min(other.forget),
        }
    }
}

/// All groups, by when they are due.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    event: BTreeSet<(Moment, Hash)>,
    settle: BTreeSet<(Ingested, Hash)>,
    forget: BTreeSet<(Ingested, Hash)>,
}

impl Schedule {
    /// Notes that the group, noted as `noted`, may be due sooner.
    pub(super) fn bring_forward(&mut self, hash: Hash, noted: &mut DueTimes, due: DueTimes) {
        let due = noted.or(due);
        self.note(hash, noted, due);
    }

    /// Notes when a group is due that was not noted.
    pub(super) fn add(&mut self, hash: Hash, noted: &mut DueTimes, due: DueTimes) {
        *noted = DueTimes::NEVER;
        self.note(hash, noted, due);
    }

    fn note(&mut self, hash: Hash, noted: &mut DueTimes, due: DueTimes) {
        replace(&mut self.event, hash, (noted.event, due.event), Moment::END);
        replace(&mut self.settle, hash, (noted.settle, due.settle), Ingested::NEVER);
        replace(&mut self.forget, hash, (noted.forget, due.forget), Ingested::NEVER);
        *noted = due;
    }

    /// A group that is due, if there is one.
    pub(super) fn due(&self, watermark: Moment, caught_up: Ingested) -> Option<Hash> {
        let event = self.event.first().filter(|(due, _)| *due < watermark).map(|(_, hash)| *hash);
        let waits = |schedule: &BTreeSet<(Ingested, Hash)>| {
            schedule.first().filter(|(due, _)| *due <= caught_up).map(|(_, hash)| *hash)
        };
        event.or_else(|| waits(&self.settle)).or_else(|| waits(&self.forget))
    }

    /// A group is gone, or is about to be noted anew.
    pub(super) fn remove(&mut self, hash: Hash, noted: &DueTimes) {
        self.event.remove(&(noted.event, hash));
        self.settle.remove(&(noted.settle, hash));
        self.forget.remove(&(noted.forget, hash));
    }

    /// The group that can be spared most easily, and an order among those of several schedules: one that is only
    /// remembered, the longest idle first; then one that waits to be settled; then the one whose time is over first.
    pub(super) fn eviction_candidate(&self) -> Option<((Ingested, Ingested, Moment), Hash)> {
        let never = (Ingested::NEVER, Ingested::NEVER, Moment::END);
        if let Some((due, hash)) = self.forget.first() {
            return Some(((*due, never.1, never.2), *hash));
        }
        if let Some((due, hash)) = self.settle.first() {
            return Some(((never.0, *due, never.2), *hash));
        }
        self.event.first().map(|(due, hash)| ((never.0, never.1, *due), *hash))
    }
}

fn replace<T: Copy + Ord>(schedule: &mut BTreeSet<(T, Hash)>, hash: Hash, (old, new): (T, T), never: T) {
    if old != new {
        schedule.remove(&(old, hash));
        if new != never {
            schedule.insert((new, hash));
        }
    }
}
