//! Two sets of detections over the same records: which alerts they do not have in common.
//!
//! The alerts of both come in the same order, by record and detection, so that one pass over both finds those
//! that belong together: of one detection, on one event.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io;
use std::mem::replace;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use super::spool::{Row, Rows};
use crate::alert::Alert;
use crate::detect::{Change, Detections};
use crate::worker::Inspection;

/// One thing for each of two sets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Sides<T> {
    /// Of the set that is there.
    pub old: T,
    /// Of the set that may take its place.
    pub new: T,
}

/// Two sets of detections, to be compared.
#[derive(Debug)]
pub struct Pair {
    /// The sets.
    pub sets: Sides<Inspection>,
    /// A set without detections, with which objects are only split.
    pub(super) splitting: Inspection,
}

impl Pair {
    /// Two sets that read as much of an object.
    #[must_use]
    pub fn new(old: Inspection, new: Inspection) -> Self {
        let (tool, limits) = (new.tool.clone(), new.limits);
        let splitting = Inspection { detections: Detections::new(Vec::new()), tool, limits };
        Self { sets: Sides { old, new }, splitting }
    }
}

/// What two sets tell differently.
#[derive(Debug)]
pub enum Difference {
    /// An alert that only the new set raises.
    Gained(Alert),
    /// One that only the old set raises.
    Lost(Alert),
    /// One that both raise, but not with the same document.
    Changed {
        /// The alert of each.
        alerts: Sides<Alert>,
        /// The keys of the document that differ, `rule.title`.
        keys: Vec<String>,
    },
}

impl Difference {
    /// The difference between the alerts of one detection on one event, if there is any. That the sets are known by
    /// different names is none.
    fn between(alerts: Sides<Option<Alert>>) -> Option<Self> {
        match alerts {
            Sides { old: None, new: None } => None,
            Sides { old: None, new: Some(new) } => Some(Self::Gained(new)),
            Sides { old: Some(old), new: None } => Some(Self::Lost(old)),
            Sides { old: Some(old), new: Some(new) } => {
                let keys = differing_keys(&old.document, &new.document);
                (!keys.is_empty()).then_some(Self::Changed { alerts: Sides { old, new }, keys })
            }
        }
    }

    /// `gained`, `lost` or `changed`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Gained(_) => "gained",
            Self::Lost(_) => "lost",
            Self::Changed { .. } => "changed",
        }
    }

    /// The keys of the document that differ, in byte order; none unless both sets raise the alert.
    #[must_use]
    pub fn keys(&self) -> &[String] {
        if let Self::Changed { keys, .. } = self { keys } else { &[] }
    }

    /// The alert of each set, where it raises one.
    #[must_use]
    pub fn alerts(&self) -> Sides<Option<&Alert>> {
        match self {
            Self::Gained(new) => Sides { old: None, new: Some(new) },
            Self::Lost(old) => Sides { old: Some(old), new: None },
            Self::Changed { alerts: Sides { old, new }, .. } => Sides { old: Some(old), new: Some(new) },
        }
    }

    /// The alert, as the new set tells it if it does.
    #[must_use]
    pub fn alert(&self) -> &Alert {
        match self {
            Self::Gained(alert)
            | Self::Lost(alert)
            | Self::Changed { alerts: Sides { new: alert, .. }, .. } => alert,
        }
    }
}

/// The keys of two alert documents whose values differ, `tool` aside; those of the rule one by one.
fn differing_keys(old: &str, new: &str) -> Vec<String> {
    if let (Some(old), Some(new)) = (without_tool(old), without_tool(new))
        && old == new
    {
        return Vec::new();
    }
    let [mut old, mut new] =
        [old, new].map(|document| serde_json::from_str::<Map<String, Value>>(document).unwrap_or_default());
    [&mut old, &mut new].into_iter().for_each(|document| _ = document.remove("tool"));
    let rules = [&mut old, &mut new].map(|document| match document.remove("rule") {
        Some(Value::Object(rule)) => rule,
        _ => Map::new(),
    });
    let mut keys = differing(&old, &new, "");
    keys.extend(differing(&rules[0], &rules[1], "rule."));
    keys.sort();
    keys
}

fn differing(old: &Map<String, Value>, new: &Map<String, Value>, prefix: &str) -> Vec<String> {
    let only_new = new.keys().filter(|key| !old.contains_key(*key));
    let keys = old.keys().filter(|key| old.get(*key) != new.get(*key)).chain(only_new);
    keys.map(|key| format!("{prefix}{key}")).collect()
}

/// An alert document, up to the facts on the tool and from there on.
fn without_tool(document: &str) -> Option<(&str, &str)> {
    // Inside of strings quotes are escaped, and what has objects of its own comes later.
    let (before, tool) = document.split_once(",\"tool\":{")?;
    Some((before, tool.split_once('}')?.1))
}

/// Alerts of a set, in an order that another set shares.
pub(super) trait InOrder {
    /// What the order follows, and what alerts that belong together have in common.
    type Key: Ord;

    /// The next one; none after the last.
    fn next(&mut self) -> io::Result<Option<(Self::Key, Alert)>>;
}

/// By record and detection.
impl InOrder for Rows {
    type Key = (u64, Arc<str>);

    fn next(&mut self) -> io::Result<Option<(Self::Key, Alert)>> {
        let row = Rows::next(self)?;
        Ok(row.map(|Row { record, alert }| ((record, Arc::clone(&alert.rule)), alert)))
    }
}

/// The alerts of both sets, those together that belong together.
#[derive(Debug)]
pub(super) struct SideBySide<A: InOrder> {
    alerts: Sides<A>,
    next: Sides<Option<(A::Key, Alert)>>,
}

impl<A: InOrder> SideBySide<A> {
    pub(super) fn new(mut alerts: Sides<A>) -> io::Result<Self> {
        let next = Sides { old: alerts.old.next()?, new: alerts.new.next()? };
        Ok(Self { alerts, next })
    }

    /// The next ones, of one set or of both; none after the last.
    pub(super) fn next(&mut self) -> io::Result<Option<Sides<Option<Alert>>>> {
        let Self { alerts, next } = self;
        let order = match (&next.old, &next.new) {
            (None, None) => return Ok(None),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((old, _)), Some((new, _))) => old.cmp(new),
        };
        let old = if order.is_le() { replace(&mut next.old, alerts.old.next()?) } else { None };
        let new = if order.is_ge() { replace(&mut next.new, alerts.new.next()?) } else { None };
        Ok(Some(Sides { old: old.map(|(_, alert)| alert), new: new.map(|(_, alert)| alert) }))
    }
}

/// How two sets compare over all that was read.
#[derive(Debug, Default, Serialize)]
pub struct Comparison {
    /// The sets.
    pub sets: Sides<SetFacts>,
    /// Detections that are the same in both.
    pub kept: usize,
    /// Detections with one id and another content.
    pub redefined: usize,
    /// Detections of the old set alone.
    pub removed: usize,
    /// Detections of the new set alone.
    pub added: usize,
    /// The times of the first and the last event that was asked for.
    #[serde(flatten)]
    pub(super) span: Span,
    /// The days from the first event to the last; less than one day counts as one.
    pub days: f64,
    /// All detections.
    pub total: Counts,
    /// By the id of the detection, where one of the sets raised an alert.
    pub rules: BTreeMap<String, Counts>,
}

/// A set that was compared.
#[derive(Debug, Default, Serialize)]
pub struct SetFacts {
    /// What it is known by in alerts.
    pub pack: String,
    /// How many detections run.
    pub detections: usize,
}

/// How many alerts there are, and how many differ; each id once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Counts {
    /// Alerts of each set.
    pub alerts: Sides<u64>,
    /// The same by day.
    pub per_day: Sides<f64>,
    /// Alerts that only the new set raises.
    pub gained: u64,
    /// Alerts that only the old set raises.
    pub lost: u64,
    /// Alerts that both raise, with different documents.
    pub changed: u64,
}

impl Comparison {
    pub(super) fn new(pair: &Pair) -> Self {
        let Sides { old, new } = &pair.sets;
        let facts = |set: &Inspection| SetFacts {
            pack: set.tool.pack.clone(),
            detections: set.detections.rules().len(),
        };
        let Change { kept, changed, removed, added } = Change::between(&old.detections, &new.detections);
        Self {
            sets: Sides { old: facts(old), new: facts(new) },
            kept: kept.len(),
            redefined: changed.len(),
            removed: removed.len(),
            added: added.len(),
            ..Self::default()
        }
    }

    /// Whether the sets told anything differently.
    #[must_use]
    pub fn differs(&self) -> bool {
        self.total.gained + self.total.lost + self.total.changed > 0
    }

    /// Counts the alerts of one detection on one event, and answers with their difference. `first` says which of
    /// them their set raises for the first time.
    pub(super) fn compare(&mut self, alerts: Sides<Option<Alert>>, first: Sides<bool>) -> Option<Difference> {
        let rule = alerts.new.as_ref().or(alerts.old.as_ref())?.rule.to_string();
        let difference = Difference::between(alerts);
        for counts in [&mut self.total, self.rules.entry(rule).or_default()] {
            counts.count(first, difference.as_ref());
        }
        difference
    }

    /// Works out what is told by day.
    pub(super) fn finish(&mut self) {
        self.days = self.span.days();
        for counts in self.rules.values_mut().chain([&mut self.total]) {
            let Sides { old, new } = counts.alerts;
            counts.per_day = Sides { old: per_day(old, self.days), new: per_day(new, self.days) };
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with three decimals")]
fn per_day(alerts: u64, days: f64) -> f64 {
    rounded(alerts as f64 / days)
}

impl Counts {
    fn count(&mut self, first: Sides<bool>, difference: Option<&Difference>) {
        self.alerts.old += u64::from(first.old);
        self.alerts.new += u64::from(first.new);
        match difference {
            None => {}
            Some(Difference::Gained(_)) => self.gained += 1,
            Some(Difference::Lost(_)) => self.lost += 1,
            Some(Difference::Changed { .. }) => self.changed += 1,
        }
    }
}

fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

/// From the first event to the last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Span {
    first: Option<Timestamp>,
    last: Option<Timestamp>,
}

impl Span {
    pub(super) fn include(&mut self, time: Timestamp) {
        self.join(Span { first: Some(time), last: Some(time) });
    }

    pub(super) fn join(&mut self, other: Span) {
        self.first = [self.first, other.first].into_iter().flatten().min();
        self.last = self.last.max(other.last);
    }

    /// At least one: what an hour raises says little about a day.
    fn days(self) -> f64 {
        let seconds =
            self.first.zip(self.last).map_or(0.0, |(first, last)| last.duration_since(first).as_secs_f64());
        rounded((seconds / 86400.0).max(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_differ_by_their_keys() {
        let document = |level: &str, title: &str, pack: &str, rest: &str| {
            format!(
                r#"{{"id":"1","level":"{level}","rule":{{"title":"{title}","hash":"h"}},"tool":{{"version":"1","pack":"{pack}"}},"account":null{rest}}}"#
            )
        };
        let odd = r#"\",\"tool\":{\"x\":1}"#;
        let event = r#","event":{"a":1,"tool":{"pack":"x"}}"#;
        let cases = [
            (document("low", "t", "p", ""), document("low", "t", "p", ""), ""),
            (document("low", "t", "p", ""), document("low", "t", "q", ""), ""),
            (document("low", odd, "p", event), document("low", odd, "q", event), ""),
            (document("low", "t", "p", event), document("low", "t", "p", &event.replace('x', "y")), "event"),
            (document("low", "t", "p", ""), document("high", "u", "q", ""), "level rule.title"),
            (document("low", odd, "p", ""), document("low", "t", "q", ""), "rule.title"),
            (document("low", "t", "p", event), document("low", "t", "p", ""), "event"),
            (document("low", "t", "p", ""), document("low", "t", "p", r#","undecided":["a"]"#), "undecided"),
        ];
        for (old, new, expected) in cases {
            assert_eq!(differing_keys(&old, &new).join(" "), expected, "{old}\n{new}");
            assert_eq!(differing_keys(&new, &old).join(" "), expected, "{new}\n{old}");
        }
    }

    #[test]
    fn a_span_has_at_least_a_day() {
        let cases: [(&[&str], f64); 4] = [
            (&[], 1.0),
            (&["2026-03-01T00:00:00Z"], 1.0),
            (&["2026-03-01T23:00:00Z", "2026-03-01T01:00:00Z"], 1.0),
            (&["2026-03-02T00:00:00Z", "2026-03-04T12:00:00Z", "2026-03-01T00:00:00Z"], 3.5),
        ];
        for (times, expected) in cases {
            let mut span = Span::default();
            times.iter().for_each(|time| span.include(time.parse().unwrap()));
            span.join(Span::default());
            assert!((span.days() - expected).abs() < f64::EPSILON, "{times:?}");
        }
    }
}
