//! What the engine finds: the parts of an alert, for the alert stage to put together.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::evidence::{EventHash, Values};

/// How many events a finding lists at most.
pub const LISTED: usize = 20;

/// A detection over more than one event has fired.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The id of the detection.
    pub detection: Arc<str>,
    /// Of which kind.
    pub kind: FindingKind,
    /// 1 at first; more when a period was settled and the count has grown since, which is final unless more evidence comes.
    pub revision: u32,
    /// The names of the group's or the key's values.
    pub names: Vec<Arc<str>>,
    /// The values of the group; of a first sight those of the key and behind them the value.
    pub values: Values,
    /// The beginning of the period; part of the id.
    pub period: Timestamp,
    /// The end of the period.
    pub period_end: Timestamp,
    /// The beginning of the window, which does not belong to it; of a grouping and a first sight the period's.
    pub start: Timestamp,
    /// The time of the firing point, the end of the window.
    pub time: Timestamp,
    /// Hits in the window; in later revisions all those since the beginning of the period's first firing window.
    pub count: u64,
    /// What a threshold was compared with: a count, a sum, a mean, a percentile.
    pub measured: Option<f64>,
    /// The hits that are listed, the oldest first: the newest, at most [`LISTED`], and one of each member. The others
    /// are `count` less them. In later revisions those that are still kept, which may be none.
    pub listed: Vec<Listed>,
    /// The time from the firing point to the finding if no evidence is late: what can be undone is settled first.
    pub delay: SignedDuration,
}

/// Of which kind a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FindingKind {
    /// A correlation or a grouping.
    Window,
    /// A value seen for the first time.
    FirstSeen,
}

/// A hit behind a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// When.
    pub time: Timestamp,
    /// The event; for the firing point of another correlation a hash of that point and its group.
    pub event: EventHash,
    /// The id of the rule that was hit.
    pub rule: Arc<str>,
    /// The text that came with the evidence, if it was kept.
    pub excerpt: Option<Arc<str>>,
}

impl FindingKind {
    /// Its name in ids.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            FindingKind::Window => "window",
            FindingKind::FirstSeen => "first-seen",
        }
    }
}

impl Finding {
    /// What the alert's id is made of, in order: kind, detection, the values, the beginning of the period
    /// as an RFC 3339 time.
    pub fn id_parts(&self) -> Vec<String> {
        let head = [self.kind.as_str(), &self.detection].map(str::to_owned);
        let period = self.period.to_string();
        head.into_iter().chain(self.values.iter().map(str::to_owned)).chain([period]).collect()
    }

    /// The order in which a step's findings come.
    pub(super) fn order(&self) -> impl Ord + '_ {
        (self.time, &self.detection, &self.values, self.period, self.revision)
    }
}
