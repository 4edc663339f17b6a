//! What is about more than one event: what came of the events together, and each member on each of them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Value, json};

use super::told::{as_json, as_text, lines, look, rule_json, title};
use super::{Problem, Record, Records};
use crate::alert::{Alert, AlertId};
use crate::detect::windows::EventHash;
use crate::detect::{Detections, Finding, Verdict};
use crate::review::explanation::{self, event_members};
use crate::review::stream::Stream;
use crate::sigma::{Condition, Rule};

/// Records with a rule each that are explained; those that match come first, the others are counted.
const MOST_EXPLAINED: usize = 20;
/// Alerts that are listed; the others are counted.
const MOST_ALERTS: usize = 20;

/// A rule on a record, and how it came out.
struct Part<'p> {
    rule: &'p Rule,
    condition: &'p Condition,
    record: Record<'p>,
    verdict: Verdict,
}

/// What a detection is about: the rules whose hits it sees, the findings, the records.
struct Whole<'w> {
    rule: &'w Rule,
    /// Of each alert the last revision.
    alerts: Vec<(AlertId, &'w Finding)>,
    /// Each with the number of its hits.
    members: Vec<(&'w Rule, u64)>,
    events: usize,
    parts: Vec<Part<'w>>,
    /// How many more parts there would be.
    more: usize,
}

/// Explains a correlation over the chosen records.
pub(super) fn correlation(
    rule: &Rule,
    detections: &Detections,
    records: &Records,
    json: bool,
) -> Result<String, Problem> {
    let stream = stream(detections, records)?;
    let findings = stream.findings.iter().filter(|finding| *finding.detection == *rule.id).collect();
    let members = event_members(rule, detections.rules());
    Ok(Whole::of(rule, findings, &members, (&stream, records), &|_| true)?.told(records, json))
}

/// Explains the alert of this id, if the records raise it together: those that it lists.
pub(super) fn alert(
    id: &str,
    detections: &Detections,
    records: &Records,
    json: bool,
) -> Result<Option<String>, Problem> {
    let stream = stream(detections, records)?;
    let is_told = |finding: &&Finding| Alert::id_of_finding(finding).to_string() == id;
    let findings: Vec<&Finding> = stream.findings.iter().filter(is_told).collect();
    let Some(rule) = findings.first().and_then(|finding| detections.rule(&finding.detection)) else {
        return Ok(None);
    };
    let members =
        if rule.condition().is_some() { vec![rule] } else { event_members(rule, detections.rules()) };
    let listed: HashSet<EventHash> =
        findings.iter().flat_map(|finding| &finding.listed).map(|listed| listed.event).collect();
    let hash = |record: Record<'_>| look(record, |event| EventHash::of(&event.key())).ok();
    let is_listed = |record: Record<'_>| hash(record).is_some_and(|hash| listed.contains(&hash));
    // Of correlations of correlations firings are listed, not events.
    let any = records.indices().any(|index| is_listed(records.of(index)));
    let wanted = |record: Record<'_>| !any || is_listed(record);
    Ok(Some(Whole::of(rule, findings, &members, (&stream, records), &wanted)?.told(records, json)))
}

fn stream(detections: &Detections, records: &Records) -> Result<Stream, Problem> {
    let error = |error| Problem::Event { event: records.path.clone(), error };
    Stream::of(detections, &records.list[records.indices()]).map_err(error)
}

impl<'w> Whole<'w> {
    fn of(
        rule: &'w Rule,
        findings: Vec<&'w Finding>,
        members: &[&'w Rule],
        (stream, records): (&Stream, &'w Records),
        wanted: &dyn Fn(Record<'_>) -> bool,
    ) -> Result<Self, Problem> {
        let mut parts = Vec::new();
        for record in records.indices().map(|index| records.of(index)).filter(|record| wanted(*record)) {
            for rule in members {
                let Some(condition) = rule.condition() else { continue };
                let verdict = look(record, |event| explanation::explain(condition, &event).verdict)?;
                parts.push(Part { rule, condition, record, verdict });
            }
        }
        parts.sort_by_key(|part| Reverse(part.verdict));
        let more = parts.len().saturating_sub(MOST_EXPLAINED);
        parts.truncate(MOST_EXPLAINED);
        parts.sort_by_key(|part| part.record.index);
        let hits = |member: &&'w Rule| (*member, stream.hits.get(&member.id).copied().unwrap_or_default());
        let members = members.iter().map(hits).collect();
        Ok(Self { rule, alerts: alerts(findings), members, events: records.indices().len(), parts, more })
    }

    fn told(&self, records: &Records, json: bool) -> String {
        if json {
            return format!("{:#}\n", self.as_json());
        }
        // All of them have been read before.
        let parts = self.parts.iter().filter_map(|part| as_text(part.rule, part.condition, part.record).ok());
        let mut text = lines(&self.head());
        parts.for_each(|part| text.push_str(&format!("\n{part}")));
        if self.more > 0 {
            let (more, path) = (self.more, &records.path);
            let choose = format!("and {more} more; choose a record with {path}#INDEX, from 0");
            text.push_str(&format!("\n{}", lines(&choose)));
        }
        text
    }

    /// What came of all records.
    fn head(&self) -> String {
        let mut text =
            format!("{}\n{} event(s), {} alert(s)\n", title(self.rule), self.events, self.alerts.len());
        for (id, finding) in self.alerts.iter().take(MOST_ALERTS) {
            let group: String = group(finding).map(|(name, value)| format!(", {name} {value}")).collect();
            text.push_str(&format!("  {id} at {}: {} hit(s){group}\n", finding.time, finding.count));
        }
        if let Some(more @ 1..) = self.alerts.len().checked_sub(MOST_ALERTS) {
            text.push_str(&format!("  and {more} more\n"));
        }
        for (member, hits) in &self.members {
            text.push_str(&format!("  {hits} hit(s) of {}\n", member.title));
        }
        text
    }

    fn as_json(&self) -> Value {
        let alert = |(id, finding): &(AlertId, &Finding)| {
            json!({
                "id": id.to_string(), "time": finding.time.to_string(), "count": finding.count,
                "group": group(finding).collect::<BTreeMap<_, _>>(),
            })
        };
        let member = |(rule, hits): &(&Rule, u64)| json!({ "rule": rule_json(rule), "hits": hits });
        let parts = self.parts.iter().filter_map(|part| as_json(part.rule, part.condition, part.record).ok());
        json!({
            "rule": rule_json(self.rule), "events": self.events,
            "alerts": self.alerts.iter().map(alert).collect::<Vec<_>>(),
            "members": self.members.iter().map(member).collect::<Vec<_>>(),
            "explained": parts.collect::<Vec<_>>(), "more": self.more,
        })
    }
}

/// Each alert once, in the order of their last revisions.
fn alerts(findings: Vec<&Finding>) -> Vec<(AlertId, &Finding)> {
    let known = findings.into_iter().map(|finding| (Alert::id_of_finding(finding), finding));
    let known: Vec<(AlertId, &Finding)> = known.collect();
    let last: HashMap<AlertId, usize> = known.iter().enumerate().map(|(at, (id, _))| (*id, at)).collect();
    known.into_iter().enumerate().filter(|(at, (id, _))| last[id] == *at).map(|(_, alert)| alert).collect()
}

/// The names and values of a finding's group.
fn group(finding: &Finding) -> impl Iterator<Item = (&str, &str)> {
    finding.names.iter().map(|name| &**name).zip(finding.values.iter())
}
