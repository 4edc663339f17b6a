//! One object in, its alerts out: decode, detect, alert, on buffers that are used again.
//!
//! A worker computes and waits for nothing; the daemon and the replay run it off their async threads. Nothing
//! here knows whether the object is live or replayed.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;

use crate::alert::{self, Alert, Origin, Tool};
use crate::decode::{Decoded, Decoder, Item, Limits, Source};
use crate::detect::windows::{Identity, NoEvidence};
use crate::detect::{Detections, Evidence, Hit, Scratch, Seen, Sieve};
use crate::event::{Event, Undecodable};
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

/// The inspection that objects meet from now on. Another one can take its place at any time; an object is examined
/// by the one that it met, from its first record to its last.
#[derive(Debug)]
pub struct Current(RwLock<Arc<Inspection>>);

impl Current {
    /// Begins with this one.
    #[must_use]
    pub fn new(inspection: Inspection) -> Self {
        Self(RwLock::new(Arc::new(inspection)))
    }

    /// The one that an object meets now, to be held until the object is done.
    #[must_use]
    pub fn inspection(&self) -> Arc<Inspection> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another one in its place, and answers with the one before.
    pub fn replace(&self, inspection: Arc<Inspection>) -> Arc<Inspection> {
        std::mem::replace(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner), inspection)
    }
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
    /// Those that were evaluated.
    pub evaluated: u64,
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

    fn count(&mut self, seen: Result<Seen, Undecodable>) {
        self.evaluated += u64::from(seen.is_ok());
        match seen {
            Ok(Seen::Plain) => {}
            Ok(Seen::Repaired) => self.repaired += 1,
            Err(error) => *self.undecodable.entry(error.reason()).or_default() += 1,
        }
    }
}

/// Whoever a worker tells what it finds.
pub trait Listener {
    /// A record is about to be evaluated, and where it was found.
    fn record(&mut self, _record: &[u8], _origin: &Origin<'_>) {}

    /// Whether a hit is worth an alert.
    fn wants(&mut self, _hit: &Hit<'_>) -> bool {
        true
    }

    /// An alert was raised.
    fn alert(&mut self, alert: Alert);

    /// The text about an event that detections over more than one may list, or what the text can be had by.
    fn excerpt(&mut self, event: &Event<'_>, origin: &Origin<'_>) -> Arc<str> {
        alert::excerpt(event, origin)
    }

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
        sieve.renew(detected_at);
        let mut tally = Tally::default();
        let mut origin = origin.clone();
        let mut visit = |item: Item<'_>| {
            origin.index = tally.records;
            tally.records += 1;
            let seen = match item {
                Item::Undecodable(error) => Err(error),
                Item::Record(record) => {
                    listener.record(record.bytes, &origin);
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
        listener.record(record, origin);
        let Self { scratch, sieve, .. } = self;
        sieve.renew(detected_at);
        let mut told = telling(inspection, origin, detected_at, sieve, listener);
        tally.count(inspection.detections.detect_alone(record, scratch, &mut told));
        tally
    }
}

/// Turns the hits on one event into alerts, and into evidence for the detections over more than one event.
fn telling<'a>(
    inspection: &'a Inspection,
    origin: &'a Origin<'_>,
    detected_at: Option<Timestamp>,
    sieve: &'a mut Sieve,
    listener: &'a mut impl Listener,
) -> impl FnMut(Hit<'_>) + 'a {
    let identity = Identity::default();
    move |hit| {
        if !listener.wants(&hit) {
            return;
        }
        if hit.is_told_alone() {
            listener.alert(Alert::of(&hit, origin, detected_at, &inspection.tool));
        }
        let feeds = inspection.detections.feeds();
        match feeds.evidence(&hit, &identity) {
            Ok(None) | Err(NoEvidence::Undecided) => {}
            Err(NoEvidence::Untimed) => {
                listener.untimed();
                // No period is that of an event without a time.
                if hit.is_grouped() {
                    listener.alert(Alert::of(&hit, origin, detected_at, &inspection.tool));
                }
            }
            Ok(Some(mut evidence)) => {
                if sieve.lets_through(feeds, &mut evidence) {
                    evidence.excerpt = Some(listener.excerpt(hit.event, origin));
                    listener.evidence(evidence);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{OriginKind, Undecided};
    use crate::sigma::{RuleFile, compile};

    const ORIGIN: Origin<'_> = Origin {
        kind: OriginKind::Stdin,
        bucket: None,
        key: None,
        version: None,
        index: 0,
        announced_at: None,
        received_at: None,
    };
    const LIMITS: Limits = Limits { inflated: 1 << 20, record: 1 << 20 };

    /// Detections with these selections, in a set that is known by them.
    fn inspection(selections: &[&str]) -> Inspection {
        let text = |selection: &&str| {
            format!(
                "title: \"{selection}\"\nlogsource: {{product: aws, service: cloudtrail}}\ndetection: {{s: {{{selection}}}, condition: s}}\n"
            )
        };
        let text = selections.iter().map(text).collect::<Vec<_>>().join("---\n");
        let compiled = compile(&[RuleFile { name: "x".into(), text, named: false }]);
        assert!(compiled.problems.is_empty(), "{:?}", compiled.problems);
        let tool = Tool { version: "1", pack: selections.concat(), undecided: Undecided::default() };
        Inspection { detections: Detections::new(compiled.rules), tool, limits: LIMITS }
    }

    fn documents(worker: &mut Worker, inspection: &Inspection, object: &[u8]) -> Vec<String> {
        let mut alerts = Vec::new();
        worker.examine(inspection, &mut Body::Whole(object.to_vec()), &ORIGIN, None, &mut alerts);
        let alone = br#"{"eventName":"A","region":"r-1","user":"ann"}"#;
        worker.examine_record(inspection, alone, &ORIGIN, None, &mut alerts);
        alerts.into_iter().map(|alert| alert.document).collect()
    }

    #[test]
    fn a_worker_goes_from_one_set_to_another_and_back() {
        let sets = [
            inspection(&["eventName: A", "eventName: B", "region: r-2"]),
            inspection(&["eventName: B"]),
            inspection(&[
                "user|contains: nn",
                "region|startswith: r-",
                "'eventName': [A, C]",
                "'eventName|re': '^B'",
            ]),
            inspection(&["eventName: 'C'", "user: bob", "address: x", "agent: y", "source: z"]),
        ];
        let record = |number: usize| {
            let (name, user) = (["A", "B", "C"][number % 3], ["ann", "bob"][number % 2]);
            format!(
                r#"{{"eventName":"{name}","region":"r-{}","user":"{user}","eventID":"{number}"}}"#,
                number % 5
            )
        };
        let records: Vec<_> = (0..60).map(record).collect();
        let object = format!(r#"{{"Records":[{}]}}"#, records.join(","));
        let expected = sets.each_ref().map(|set| documents(&mut Worker::new(LIMITS), set, object.as_bytes()));
        assert!(expected.iter().all(|found| !found.is_empty()));
        let mut worker = Worker::new(LIMITS);
        for turn in [0, 1, 0, 2, 1, 3, 3, 2, 0, 3, 1, 2] {
            assert_eq!(documents(&mut worker, &sets[turn], object.as_bytes()), expected[turn], "set {turn}");
        }
    }

    #[test]
    fn what_was_taken_stays_when_another_takes_its_place() {
        let current = Current::new(inspection(&["eventName: A"]));
        let held = current.inspection();
        let before = current.replace(Arc::new(inspection(&["eventName: B"])));
        assert!(Arc::ptr_eq(&held, &before));
        assert_eq!(
            (held.tool.pack.as_str(), current.inspection().tool.pack.as_str()),
            ("eventName: A", "eventName: B")
        );
    }
}
