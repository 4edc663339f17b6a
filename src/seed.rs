//! What first-seen detections know before anything is received: they learn it from archived logs.
//!
//! The archives go through the same workers as everything else, with these detections alone; nothing of what they hold
//! is told. Without all of it the detections would take old for new, so that what cannot be read is an error.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tracing::{info, warn};

use crate::detect::{Detections, Evidence};
use crate::replay::{self, Source};
use crate::state::{Gathered, OpenError, Seeding, Windows};
use crate::worker::Inspection;

/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// How far behind the archives live events may lie, and still be awaited.
const AWAITED: SignedDuration = SignedDuration::from_hours(24);
/// The reason of remarks about objects of which only some records cannot be read.
const SINGLE_RECORDS: &str = "records";

/// Archives from which nothing can be learnt.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// Something cannot be read.
    #[error("{count} object(s) to learn from cannot be read, such as {object}: {detail}")]
    Unreadable {
        /// How many.
        count: usize,
        /// The first of them.
        object: String,
        /// Why.
        detail: String,
    },
    /// There is nothing there.
    #[error("there is nothing to learn from: the sources of --seed hold no record")]
    Nothing,
    /// The evidence could not be kept.
    #[error("what is to be learnt cannot be sorted")]
    Sorting(#[source] io::Error),
    /// The state could not be written.
    #[error("what was learnt cannot be kept")]
    State(#[source] OpenError),
}

/// Has a state go on from archives that were just replayed, until `stop` is set. Computes for as long as that takes.
///
/// # Errors
/// Something cannot be read, or kept.
pub fn teach(
    sources: &[Source],
    inspection: &Arc<Inspection>,
    jobs: usize,
    seeding: &mut Seeding,
    stop: &Arc<AtomicBool>,
) -> Result<(), SeedError> {
    let mut written = Ok(());
    let mut take = |evidence: Vec<Evidence>| {
        if written.is_ok() {
            written = seeding.seen(Gathered { evidence, by: Arc::clone(inspection) });
        }
    };
    let mut progress = |_: &replay::Summary, _: usize| {};
    let (_, taken) = replay::gather(sources, inspection, jobs, stop, &mut progress, &mut take);
    taken.map_err(SeedError::Sorting)?;
    written.map_err(SeedError::State)
}

/// Has the windows of an inspection learn from archives, until `stop` is set. Computes for as long as that takes.
///
/// # Errors
/// Something cannot be read, or there is nothing to learn from.
pub fn learn(
    sources: &[Source],
    inspection: &Inspection,
    windows: &mut Windows,
    stop: &Arc<AtomicBool>,
) -> Result<(), SeedError> {
    let Some(set) = first_seen(inspection) else {
        warn!("there is no first-seen detection that could learn");
        return Ok(());
    };
    info!(detections = set.detections.rules().len(), "learning from archives");
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let mut told = Instant::now();
    let mut progress = move |summary: &replay::Summary, total: usize| {
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            info!(objects = summary.objects, of = total, records = summary.records, "learning from archives");
        }
    };
    let mut take = |evidence: Vec<Evidence>| {
        let last = evidence.last().map_or(Timestamp::MIN, |evidence| evidence.time);
        let watermark = last.checked_sub(AWAITED).unwrap_or(Timestamp::MIN);
        windows.learn(Gathered { evidence, by: Arc::clone(&set) }, watermark);
    };
    let (summary, taken) = replay::gather(sources, &set, jobs, stop, &mut progress, &mut take);
    taken.map_err(SeedError::Sorting)?;
    if summary.interrupted { Ok(()) } else { judge(&summary) }
}

fn judge(summary: &replay::Summary) -> Result<(), SeedError> {
    let (some, whole): (Vec<_>, Vec<_>) =
        summary.unreadable.iter().partition(|remark| remark.reason == SINGLE_RECORDS);
    for remark in some {
        warn!(object = remark.object, detail = remark.detail, "not everything could be learnt");
    }
    if let Some(first) = whole.first() {
        let (object, detail) = (first.object.clone(), first.detail.clone());
        return Err(SeedError::Unreadable { count: whole.len(), object, detail });
    }
    if summary.records == 0 {
        return Err(SeedError::Nothing);
    }
    info!(objects = summary.objects, records = summary.records, "learnt from archives");
    Ok(())
}

/// The first-seen detections alone, if there are any.
fn first_seen(inspection: &Inspection) -> Option<Arc<Inspection>> {
    let Inspection { detections, tool, limits } = inspection;
    let learners = detections.rules().iter().filter(|rule| rule.extension.first_seen.is_some());
    let rules: Vec<_> = learners.cloned().collect();
    let inspection =
        || Inspection { detections: Detections::new(rules.clone()), tool: tool.clone(), limits: *limits };
    (!rules.is_empty()).then(|| Arc::new(inspection()))
}
