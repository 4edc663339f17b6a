//! The detections over more than one event while the daemon runs: evidence in, alerts out.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tracing::warn;

use super::Gathered;
use crate::alert::Alert;
use crate::detect::windows::{self, Engine, Fact, Finding, Idle, Journaling, Kept, StoredRow, Tally};
use crate::detect::{Change, Detections, Evidence};
use crate::event::Parser;
use crate::horizon::Horizon;
use crate::metrics::Metrics;
use crate::worker::Inspection;

/// The least time between two warnings that windows were dropped.
const WARN_EVERY: Duration = Duration::from_mins(1);

/// The engine, and the detections that it runs.
#[derive(Debug)]
pub struct Windows {
    engine: Engine,
    inspection: Arc<Inspection>,
    horizon: Horizon,
    /// What was counted so far.
    counted: Tally,
    /// What is to be stored, and was not taken yet.
    changes: Vec<windows::Change>,
    parser: Parser,
    metrics: Metrics,
    /// The time of the last warning that something was dropped before its time.
    warned: Option<Instant>,
}

/// Limits of windows, in time and in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowLimits {
    /// The times that a window must be idle before it is settled, and before it is forgotten.
    pub idle: Idle,
    /// Bytes of all windows; above it the longest idle are dropped.
    pub bytes: usize,
}

impl Windows {
    /// The windows of these detections, which have seen nothing.
    #[must_use]
    pub fn new(
        inspection: Arc<Inspection>,
        limits: WindowLimits,
        horizon: Horizon,
        metrics: Metrics,
    ) -> Self {
        let engine = Engine::new(Arc::clone(inspection.detections.feeds()), limits.idle, Journaling::Off);
        Self::with(engine.within(limits.bytes), inspection, horizon, metrics)
    }

    /// The windows of these detections, as they were stored.
    #[must_use]
    pub fn restored(
        inspection: Arc<Inspection>,
        rows: Vec<StoredRow>,
        limits: WindowLimits,
        horizon: Horizon,
        metrics: Metrics,
    ) -> Self {
        let engine = Engine::restored(Arc::clone(inspection.detections.feeds()), limits.idle, rows);
        Self::with(engine.within(limits.bytes), inspection, horizon, metrics)
    }

    fn with(engine: Engine, inspection: Arc<Inspection>, horizon: Horizon, metrics: Metrics) -> Self {
        let (counted, changes, parser) = (Tally::default(), Vec::new(), Parser::default());
        let mut windows =
            Self { engine, inspection, horizon, counted, changes, parser, metrics, warned: None };
        windows.count();
        windows
    }

    /// What is to be stored since this was last asked, in order.
    pub(super) fn changes(&mut self) -> Vec<windows::Change> {
        std::mem::take(&mut self.changes)
    }

    /// What each detection means.
    pub(super) fn meanings(&self) -> Vec<(String, [u8; 32])> {
        meanings(&self.inspection)
    }

    /// Takes evidence of what was seen before; only first sights learn from it, and nothing is told.
    pub fn learn(&mut self, gathered: Gathered, watermark: Timestamp) {
        let evidence = self.understood(gathered);
        let changes = self.engine.learn(evidence, watermark);
        self.changes.extend(changes);
        self.count();
    }

    /// Takes the evidence of a commit; answers with the alerts that follow, with final counts if somebody wants
    /// `updates`.
    pub(super) fn take(&mut self, gathered: Gathered, now: Timestamp, updates: bool) -> Vec<Alert> {
        let evidence = self.understood(gathered);
        evidence
            .iter()
            .map(|evidence| evidence.time)
            .max()
            .into_iter()
            .for_each(|time| self.horizon.reaches(time));
        self.step(evidence, now, updates)
    }

    /// Alerts about what time alone has settled.
    pub(super) fn look(&mut self, now: Timestamp, updates: bool) -> Vec<Alert> {
        self.step(Vec::new(), now, updates)
    }

    /// Goes on with other detections.
    pub(super) fn succeed(&mut self, inspection: &Arc<Inspection>) {
        let before = std::mem::replace(&mut self.inspection, Arc::clone(inspection));
        let change = Change::between(&before.detections, &self.inspection.detections);
        let changes = self.engine.succeed(Arc::clone(self.inspection.detections.feeds()), &kept(&change));
        self.changes.extend(changes);
        self.count();
    }

    fn step(&mut self, evidence: Vec<Evidence>, now: Timestamp, updates: bool) -> Vec<Alert> {
        let progress = self.horizon.progress(now);
        let mut step = self.engine.step(evidence, progress);
        self.changes.append(&mut step.changes);
        self.count();
        let told = step.findings.iter().filter(|finding| finding.revision == 1 || updates);
        let Self { inspection, parser, .. } = self;
        told.filter_map(|finding| alert(finding, inspection, now, parser)).collect()
    }

    /// The evidence as the engine understands it. Objects may still be under way with detections from before.
    fn understood(&self, Gathered { evidence, by }: Gathered) -> Vec<Evidence> {
        if Arc::ptr_eq(&by, &self.inspection) {
            return evidence;
        }
        let (old, new): (&Detections, &Detections) = (&by.detections, &self.inspection.detections);
        let change = Change::between(old, new);
        let kept = kept(&change);
        let before = weight(&evidence);
        let adopt = |evidence| new.feeds().adopt(evidence, old.feeds(), &kept);
        let evidence: Vec<Evidence> = evidence.into_iter().filter_map(adopt).collect();
        self.metrics.evidence("outdated", before.saturating_sub(weight(&evidence)));
        evidence
    }

    fn count(&mut self) {
        let now = *self.engine.tally();
        let before = std::mem::replace(&mut self.counted, now);
        for ((outcome, count), (_, counted)) in now.outcomes().into_iter().zip(before.outcomes()) {
            self.metrics.evidence(outcome, count - counted);
        }
        for ((store, count), (_, counted)) in now.evictions().into_iter().zip(before.evictions()) {
            self.metrics.evicted(store, count - counted);
        }
        self.warn_of_evictions(before);
        let (groups, rows, seen) = self.engine.size();
        self.metrics.windows(groups, rows, seen);
    }

    /// Warns, at most once a minute, that memory was short.
    fn warn_of_evictions(&mut self, before: Tally) {
        if self.warned.is_some_and(|last| last.elapsed() < WARN_EVERY) {
            return;
        }
        let Tally { evicted_groups: groups, evicted_rows: rows, .. } = self.counted;
        if groups > before.evicted_groups {
            self.warned = Some(Instant::now());
            warn!(
                groups,
                rows,
                "windows were dropped before their time, because all together take up more than `limits.windows` \
                 allows; alerts over more than one event may be missing"
            );
        }
        let seen = |tally: &Tally| tally.evicted_held + tally.evicted_seen + tally.seen_without_room;
        if seen(&self.counted) > seen(&before) {
            self.warned = Some(Instant::now());
            let Tally { evicted_held: waiting, evicted_seen: values, seen_without_room: unseen, .. } =
                self.counted;
            warn!(waiting, values, unseen, "a detection for first sights has seen more values than are kept");
        }
    }
}

/// What each detection over more than one event means, in an inspection.
pub(super) fn meanings(inspection: &Inspection) -> Vec<(String, [u8; 32])> {
    inspection.detections.feeds().meanings(inspection.detections.rules())
}

fn kept<'r>(change: &Change<'r>) -> Kept<'r> {
    change.kept.iter().map(|rule| rule.id.as_str()).collect()
}

/// How many facts tell something.
fn weight(evidence: &[Evidence]) -> u64 {
    evidence
        .iter()
        .map(|evidence| evidence.facts.iter().filter(|fact| **fact != Fact::Spent).count() as u64)
        .sum()
}

fn alert(finding: &Finding, inspection: &Inspection, now: Timestamp, parser: &mut Parser) -> Option<Alert> {
    let Inspection { detections, tool, .. } = inspection;
    let rule = detections.rule(&finding.detection)?;
    Some(Alert::of_finding(finding, rule, Some(now), tool, parser))
}
