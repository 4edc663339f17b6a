//! What a replay found, added up in the order in which it is told.

use std::collections::BTreeMap;
use std::io;

use serde::Serialize;

use super::comparison::Comparison;
use super::evidence::Told;
use super::{Found, Outcome};
use crate::alert::Alert;
use crate::detect::Status;
use crate::sigma::Level;
use crate::worker::Examined;

/// What a replay found.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    /// What was asked for, in words.
    pub window: String,
    /// Objects that were read, to their end or not.
    pub objects: u64,
    /// Records, undecodable ones included.
    pub records: u64,
    /// Records that could not be evaluated, by reason.
    pub undecodable: BTreeMap<&'static str, u64>,
    /// Bytes as stored.
    pub bytes_compressed: u64,
    /// Bytes inflated.
    pub bytes: u64,
    /// Alerts, undecided ones included; each id once.
    pub alerts: u64,
    /// Undecided ones among them.
    pub undecided: u64,
    /// Undecided alerts beside them that were not told, as the configuration asks; each id once.
    pub withheld: u64,
    /// Alerts by level.
    pub levels: BTreeMap<&'static str, u64>,
    /// Alerts by the id of their detection.
    pub rules: BTreeMap<String, u64>,
    /// Alerts that were not told again: their id was told before.
    pub repeats: u64,
    /// What took no part in detections over more than one event, or was dropped there, by cause.
    pub left_out: BTreeMap<&'static str, u64>,
    /// Files that were passed over, by class.
    pub skipped: BTreeMap<&'static str, u64>,
    /// What could not be read, or not to its end.
    pub unreadable: Vec<Remark>,
    /// What ordinary objects never have.
    pub anomalies: Vec<Remark>,
    /// Whether a signal ended the replay early.
    pub interrupted: bool,
    /// Alerts that a required sink did not take, where alerts were to be delivered.
    pub undelivered: u64,
    /// How two sets compare; the alerts above are those of the new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff: Option<Comparison>,
    /// Seconds.
    pub elapsed_s: f64,
    /// The gravest level of an alert.
    #[serde(skip)]
    pub gravest: Option<Level>,
    /// Records that may lie within what was asked for.
    #[serde(skip)]
    pub within: u64,
}

/// A remark on an object.
#[derive(Debug, Serialize)]
pub struct Remark {
    /// Its key or path.
    pub object: String,
    /// A short name, from a closed set.
    pub reason: &'static str,
    /// In words.
    pub detail: String,
}

impl Summary {
    /// Whether everything that was asked for was read, and there was something to read.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let nothing = self.objects == 0 || self.records == 0 || self.within == 0;
        self.unreadable.is_empty() && self.undecodable.is_empty() && !nothing
    }

    /// Takes over what became of evidence.
    pub(super) fn weigh(&mut self, told: &Told) {
        let causes = told.tally.causes().into_iter().chain([("untimed", told.untimed)]);
        self.left_out = causes.filter(|(_, count)| *count > 0).collect();
    }

    /// Adds what became of a task; what was found in an object is still to be told.
    pub(super) fn add(&mut self, outcome: Outcome) -> io::Result<Option<Found>> {
        let (name, examined, found) = match outcome {
            Outcome::Skip(class) => {
                *self.skipped.entry(class.reason()).or_default() += 1;
                return Ok(None);
            }
            Outcome::Fault(object, error) => {
                self.unreadable.push(Remark { object, reason: "io", detail: error.to_string() });
                return Ok(None);
            }
            Outcome::Read { name, examined, within, found } => {
                self.within += within;
                (name, examined, found?)
            }
        };
        self.add_object(&name, &examined);
        Ok(Some(found))
    }

    fn add_object(&mut self, name: &str, examined: &Examined) {
        let Examined { decoded, tally } = examined;
        self.objects += 1;
        self.records += tally.records;
        self.bytes_compressed += decoded.compressed;
        self.bytes += decoded.inflated;
        for (reason, count) in &tally.undecodable {
            *self.undecodable.entry(reason).or_default() += count;
        }
        let remark = |reason, detail| Remark { object: name.to_owned(), reason, detail };
        if tally.undecodable() > 0 {
            let detail = format!("{} record(s) that cannot be read", tally.undecodable());
            self.unreadable.push(remark("records", detail));
        }
        if let Some(error) = &decoded.unreadable {
            self.unreadable.push(remark(error.reason(), error.to_string()));
        }
        self.anomalies
            .extend(decoded.anomalies.iter().map(|anomaly| remark(anomaly.reason(), anomaly.to_string())));
        if tally.repaired > 0 {
            let detail = format!("{} record(s) in which bytes were replaced", tally.repaired);
            self.anomalies.push(remark("repaired-records", detail));
        }
    }

    /// Counts an alert whose id was not told before.
    pub(super) fn count(&mut self, alert: &Alert) {
        self.alerts += 1;
        self.undecided += u64::from(alert.status == Status::Undecided);
        *self.levels.entry(alert.level.as_str()).or_default() += 1;
        *self.rules.entry(alert.rule.to_string()).or_default() += 1;
        self.gravest = self.gravest.max(Some(alert.level));
    }
}
