//! The progress of the stream in event time and in ingestion time, and what follows from it for windows.
//!
//! The *watermark* is a point in event time: no earlier event is expected, though one may still come. *Ingestion time* is
//! the wall clock. A window whose end the watermark has passed is settled once it has been idle for a while, which is to
//! say that no evidence came into it; after a longer while it is forgotten. So evidence of any age finds its window, and
//! what arrives together is judged together, however old it is. While a backlog is being worked off, nothing that came
//! during it counts as idle.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::moment::{Ingested, Moment};

/// The most by which ingestion is behind while no backlog is being worked off.
const MOST_BEHIND: SignedDuration = SignedDuration::from_mins(10);

/// The progress of the stream in both times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamProgress {
    /// No event before this time is expected any more.
    pub watermark: Timestamp,
    /// When the evidence at hand was ingested.
    pub now: Timestamp,
    /// All that was announced before this has been ingested; not after `now`.
    pub caught_up: Timestamp,
}

/// The times that a window must have been idle, in ingestion time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idle {
    /// Before that is settled which further evidence could undo.
    pub settle: Duration,
    /// Before the window is forgotten; not less than `settle`.
    pub forget: Duration,
}

/// The times of a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// The watermark before the step, by which evidence is late.
    pub(super) before: Moment,
    /// The watermark after the step, up to which windows are settled.
    pub(super) watermark: Moment,
    /// When the evidence of the step is ingested.
    pub(super) now: Ingested,
    /// By when something must have been due for it to be done.
    pub(super) caught_up: Ingested,
    pub(super) idle: Idle,
}

impl StreamProgress {
    /// Everything has been seen that comes before this time, and evidence comes in the order of time.
    #[must_use]
    pub fn in_order(watermark: Timestamp) -> Self {
        Self { watermark, now: Timestamp::UNIX_EPOCH, caught_up: Timestamp::UNIX_EPOCH }
    }
}

impl Idle {
    /// For evidence that is sorted: nothing can come into a window that the watermark has passed.
    pub const SORTED: Self = Self { settle: Duration::ZERO, forget: Duration::ZERO };

    /// For evidence that comes when it comes.
    #[must_use]
    pub fn live(settle: Duration, forget: Duration) -> Self {
        Self { settle, forget: forget.max(settle) }
    }
}

impl Times {
    /// Returns when something that was last touched then can be settled.
    pub(super) fn settles(&self, touched: Ingested) -> Ingested {
        touched.plus(self.idle.settle)
    }

    pub(super) fn is_settled(&self, touched: Ingested) -> bool {
        self.settles(touched) <= self.caught_up
    }

    /// Returns the time from an event until what depends on it is settled, if nothing is late: it must be idle, and ingestion
    /// must have caught up.
    pub(super) fn settling(&self) -> SignedDuration {
        let settle = SignedDuration::try_from(self.idle.settle).unwrap_or(SignedDuration::MAX);
        settle.saturating_add(self.now.since(self.caught_up).min(MOST_BEHIND))
    }

    /// Returns when something that was last touched then can be forgotten.
    pub(super) fn forgets(&self, touched: Ingested) -> Ingested {
        touched.plus(self.idle.forget)
    }

    pub(super) fn is_forgotten(&self, touched: Ingested) -> bool {
        self.forgets(touched) <= self.caught_up
    }
}
