//! One object in, its alerts out: decode, detect, alert, on buffers that are used again.
//!
//! A worker computes and waits for nothing; the daemon and the replay run it off their async threads. Nothing
//! here knows whether the object is live or replayed.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::alert::{Alert, Origin, Tool};
use crate::decode::{Decoded, Decoder, Item, Limits, Source};
use crate::detect::{Detections, Hit, Scratch, Seen};
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
}

impl Worker {
    /// A worker with empty buffers.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { decoder: Decoder::new(limits), scratch: Scratch::default() }
    }

    /// Evaluates every record of an object. Alerts come in the order of records, then of detections; those
    /// of hits that `admits` turns down are not made.
    pub fn examine(
        &mut self,
        inspection: &Inspection,
        body: &mut Body,
        origin: &Origin<'_>,
        detected_at: Option<Timestamp>,
        admits: &dyn Fn(&Hit<'_>) -> bool,
        on_alert: &mut dyn FnMut(Alert),
    ) -> Examined {
        let Self { decoder, scratch } = self;
        let mut tally = Tally::default();
        let mut origin = origin.clone();
        let mut visit = |item: Item<'_>| {
            origin.index = tally.records;
            tally.records += 1;
            let outcome = match item {
                Item::Undecodable(error) => Err(error),
                Item::Record(record) => inspection.detections.detect(record, scratch, &mut |hit| {
                    if admits(&hit) {
                        on_alert(Alert::of(&hit, &origin, detected_at, &inspection.tool));
                    }
                }),
            };
            match outcome {
                Ok(Seen::Plain) => {}
                Ok(Seen::Repaired) => tally.repaired += 1,
                Err(error) => *tally.undecodable.entry(error.reason()).or_default() += 1,
            }
        };
        let source = match body {
            Body::Whole(bytes) => Source::Whole(bytes),
            Body::Stream(reader) => Source::Stream(reader),
        };
        let decoded = decoder.decode(source, &mut visit);
        Examined { decoded, tally }
    }

    /// Evaluates one record that came by itself.
    pub fn examine_record(
        &mut self,
        inspection: &Inspection,
        record: &[u8],
        origin: &Origin<'_>,
        detected_at: Option<Timestamp>,
        on_alert: &mut dyn FnMut(Alert),
    ) -> Tally {
        let mut tally = Tally { records: 1, ..Tally::default() };
        let seen = inspection.detections.detect(record, &mut self.scratch, &mut |hit| {
            on_alert(Alert::of(&hit, origin, detected_at, &inspection.tool));
        });
        match seen {
            Ok(Seen::Plain) => {}
            Ok(Seen::Repaired) => tally.repaired = 1,
            Err(error) => _ = tally.undecodable.insert(error.reason(), 1),
        }
        tally
    }
}
