//! Records taken as one stream: which detections raise an alert over them, those over more than one event included.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::records::RecordsError;
use crate::detect::windows::{Engine, Identity, Idle, Journaling, NoEvidence, StreamProgress};
use crate::detect::{Detections, Evidence, Finding, Hit, Scratch, Status};

/// What a set of detections says of a list of records.
#[derive(Debug, Default)]
pub struct Stream {
    /// The ids of the detections that raise an alert. One that only feeds others raises none.
    pub fired: BTreeSet<String>,
    /// How many records are certain hits of each detection, by its id.
    pub hits: BTreeMap<String, u64>,
    /// What detections over more than one event found, by time.
    pub findings: Vec<Finding>,
    /// Hits that take no part in those because their events have no time.
    pub untimed: u64,
}

impl Stream {
    /// Evaluates the records in any order; time is that of the events.
    ///
    /// # Errors
    /// A record cannot be read.
    pub fn of(detections: &Detections, records: &[Vec<u8>]) -> Result<Self, RecordsError> {
        let mut stream = Self::default();
        let mut evidence = Vec::new();
        let mut scratch = Scratch::default();
        for (index, record) in records.iter().enumerate() {
            let mut on_hit = |hit: Hit<'_>| evidence.extend(stream.hit(detections, &hit));
            detections
                .detect_plainly(record, &mut scratch, &mut on_hit)
                .map_err(|error| RecordsError::Undecodable { index, error })?;
        }
        stream.tell(detections, evidence);
        Ok(stream)
    }

    fn hit(&mut self, detections: &Detections, hit: &Hit<'_>) -> Option<Evidence> {
        if hit.status == Status::Match {
            *self.hits.entry(hit.rule.id.clone()).or_default() += 1;
        }
        if hit.is_told_alone() {
            self.fired.insert(hit.rule.id.clone());
        }
        let evidence = detections.feeds().evidence(hit, &Identity::default());
        if let Err(NoEvidence::Untimed) = evidence {
            self.untimed += 1;
            self.fired.extend(hit.is_grouped().then(|| hit.rule.id.clone()));
        }
        evidence.ok().flatten()
    }

    /// As a replay does: sorted by event time, and no event is awaited after the last one.
    fn tell(&mut self, detections: &Detections, mut evidence: Vec<Evidence>) {
        evidence.sort_by_key(|evidence| (evidence.time, evidence.event, evidence.rule));
        let Some(last) = evidence.last().map(|evidence| evidence.time) else { return };
        let mut engine = Engine::new(Arc::clone(detections.feeds()), Idle::SORTED, Journaling::Off);
        self.findings = engine.step(evidence, StreamProgress::in_order(last)).findings;
        self.findings.extend(engine.step([], StreamProgress::in_order(Timestamp::MAX)).findings);
        self.fired.extend(self.findings.iter().map(|finding| finding.detection.to_string()));
    }
}
