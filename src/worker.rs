//! One object in, its alerts out: decode, detect, alert, on buffers that are used again.
//!
//! A worker computes and waits for nothing; the daemon and the replay run it off their async threads. Nothing
//! here knows whether the object is live or replayed.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::alert::{self, Alert, Origin, Tool};
use crate::decode::{Decoded, Decoder, Item, Limits, Source};
use crate::detect::windows::NoEvidence;
use crate::detect::{Detections, Evidence, Hit, Scratch, Seen, Sieve};
use crate::event::Undecodable;
use crate::fetch::Body;

/// What every worker needs to know.
#[derive(Debug)]
pub struct Inspection {
    /// The detections that run.
    pub detections: Detections,
    /// Who raises the alerts.
    pub tool: Tool,
    /// How much of an object is read.
    pub limits: Limits,
}

/// The buffers of one worker.
#[derive(Debug)]
pub struct Worker {
    decoder: Decoder,
    scratch: Scratch,
    sieve: Sieve,
}

/// What became of an object's content.
#[derive(Debug, Default)]
pub struct Examined {
    /// Of the object as a whole.
    pub decoded: Decoded,
    /// Of its records.
    pub tally: Tally,
}

/// What became of records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// All elements of the object, undecodable ones included.
    pub records: u64,
    /// Those that could not be evaluated, by reason.
    pub undecodable: BTreeMap<&'static str, u64>,
    /// Evaluated ones in which bytes had to be replaced.
    pub repaired: u64,
}

impl Tally {
    /// Records that could not be evaluated.
    #[must_use]
    pub fn undecodable(&self) -> u64 {
        self.undecodable.values().sum()
    }

    /// Records that were evaluated.
    #[must_use]
    pub fn evaluated(&self) -> u64 {
        self.records - self.undecodable()
    }

    fn count(&mut self, seen: Result<Seen, Undecodable>) {
        match seen {
            Ok(Seen::Plain) => {}
            Ok(Seen::Repaired) => self.repaired += 1,
            Err(error) => *self.undecodable.entry(error.reason()).or_default() += 1,
        }
    }
}

/// Whoever a worker tells what it finds.
pub trait Listener {
    /// A record is about to be evaluated.
    fn record(&mut self, _record: &[u8]) {}

    /// Whether a hit is worth an alert.
    fn wants(&mut self, _hit: &Hit<'_>) -> bool {
        true
    }

    /// An alert was raised.
    fn alert(&mut self, alert: Alert);

    /// A hit feeds detections over more than one event.
    fn evidence(&mut self, evidence: Evidence);

    /// A hit should have fed some, but its event has no time.
    fn untimed(&mut self) {}
}

impl Listener for Vec<Alert> {
    fn alert(&mut self, alert: Alert) {
        self.push(alert);
    }

    fn evidence(&mut self, _: Evidence) {}
}

impl Worker {
    /// A worker with empty buffers.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { decoder: Decoder::new(limits), scratch: Scratch::default(), sieve: Sieve::default() }
    }

    /// Evaluates every record of an object. Alerts come in the order of records, then of detections.
    pub fn examine(
        &mut self,
        inspection: &Inspection,
        body: &mut Body,
        origin: &Origin<'_>,
        detected_at: Option<Timestamp>,
        listener: &mut impl Listener,
    ) -> Examined {
        let Self { decoder, scratch, sieve } = self;
        let mut tally = Tally::default();
        let mut origin = origin.clone();
        let mut visit = |item: Item<'_>| {
            origin.index = tally.records;
            tally.records += 1;
            let seen = match item {
                Item::Undecodable(error) => Err(error),
                Item::Record(record) => {
                    listener.record(record.bytes);
                    let mut told = telling(inspection, &origin, detected_at, sieve, listener);
                    inspection.detections.detect(record, scratch, &mut told)
                }
            };
            tally.count(seen);
        };
        let source = match body {
            Body::Whole(bytes) => Source::Whole(bytes),
            Body::Stream(reader) => Source::Stream(reader),
        };
        let decoded = decoder.decode(source, inspection.detections.keys(), &mut visit);
        Examined { decoded, tally }
    }

    /// Evaluates one record that came by itself.
    pub fn examine_record(
        &mut self,
        inspection: &Inspection,
        record: &[u8],
        origin: &Origin<'_>,
        detected_at: Option<Timestamp>,
        listener: &mut impl Listener,
    ) -> Tally {
        let mut tally = Tally { records: 1, ..Tally::default() };
        listener.record(record);
        let Self { scratch, sieve, .. } = self;
        let mut told = telling(inspection, origin, detected_at, sieve, listener);
        tally.count(inspection.detections.detect_alone(record, scratch, &mut told));
        tally
    }
}

/// Turns hits into alerts, and into evidence for the detections over more than one event.
fn telling<'a>(
    inspection: &'a Inspection,
    origin: &'a Origin<'_>,
    detected_at: Option<Timestamp>,
    sieve: &'a mut Sieve,
    listener: &'a mut impl Listener,
) -> impl FnMut(Hit<'_>) + 'a {
    move |hit| {
        if !listener.wants(&hit) {
            return;
        }
        if hit.is_told_alone() {
            listener.alert(Alert::of(&hit, origin, detected_at, &inspection.tool));
        }
        let feeds = inspection.detections.feeds();
        match feeds.evidence(&hit) {
            Ok(None) | Err(NoEvidence::Undecided) => {}
            Err(NoEvidence::Untimed) => listener.untimed(),
            Ok(Some(mut evidence)) => {
                if sieve.lets_through(feeds, &mut evidence) {
                    evidence.excerpt = Some(alert::excerpt(hit.event, origin));
                    listener.evidence(evidence);
                }
            }
        }
    }
}
