//! The slow, obvious evaluator: everything anew from the set of all events, with none of the engine's parts.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::FieldPath;
use crate::sigma::{
    Correlation, CorrelationKind, FirstSeen, Grouping, Logic, Number, Occurrence, Rule, Seen, Threshold,
};

const BILLION: i128 = 1_000_000_000;

/// A hit as the oracle sees it; times and lengths are in microseconds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct OracleHit {
    pub(super) time: i64,
    pub(super) event: String,
    pub(super) fields: BTreeMap<String, String>,
}

/// Kind, detection, values, beginning of the period.
pub(super) type Id = (String, String, Vec<String>, i64);

/// A row: time, event, member, value.
type Row = (i64, String, usize, Vec<String>);

/// All findings with their final counts.
pub(super) fn findings(rules: &[Rule], hits: &BTreeMap<String, BTreeSet<OracleHit>>) -> BTreeMap<Id, u64> {
    let mut found = BTreeMap::new();
    let none = BTreeSet::new();
    for rule in rules.iter().filter(|rule| !rule.muted) {
        let own = hits.get(&rule.id).unwrap_or(&none);
        match (&rule.logic, &rule.extension.first_seen, &rule.extension.group) {
            (Logic::Correlation(correlation), ..) => {
                let length = span(correlation.timespan).max(3_600_000_000);
                let length =
                    rule.extension.group.as_ref().map_or(length, |group| length.max(span(group.period)));
                for (group, rows) in groups(rules, hits, correlation) {
                    let firing = firing(correlation, &rows);
                    tell(&rule.id, &group, &rows, &firing, (span(correlation.timespan), length), &mut found);
                }
            }
            (_, Some(seen), _) => first_seen(&rule.id, seen, own, &mut found),
            (_, None, Some(grouping)) => grouped(&rule.id, grouping, own, &mut found),
            _ => {}
        }
    }
    found
}

fn span(length: jiff::SignedDuration) -> i64 {
    i64::try_from(length.as_micros()).unwrap()
}

fn period(time: i64, length: i64) -> i64 {
    time.div_euclid(length) * length
}

fn grouped(rule: &str, grouping: &Grouping, hits: &BTreeSet<OracleHit>, found: &mut BTreeMap<Id, u64>) {
    for hit in hits {
        let group = grouping.by.iter().map(|path| field(hit, path).unwrap_or_default()).collect();
        let start = period(hit.time, span(grouping.period));
        *found.entry(("window".into(), rule.into(), group, start)).or_default() += 1;
    }
}

fn first_seen(rule: &str, seen: &FirstSeen, hits: &BTreeSet<OracleHit>, found: &mut BTreeMap<Id, u64>) {
    let Seen::Value(of) = &seen.of else { unreachable!("not made here") };
    let forget = span(seen.forget);
    let mut sights: BTreeMap<(Vec<String>, i64), Vec<i64>> = BTreeMap::new();
    for hit in hits {
        let Some(value) = field(hit, of) else { continue };
        let key = seen.by.iter().map(|path| field(hit, path).unwrap_or_default());
        let values = key.chain([value]).collect();
        sights.entry((values, period(hit.time, forget))).or_default().push(hit.time);
    }
    let Some(origin) = sights.values().flatten().min() else { return };
    let learnt = origin + span(seen.learn);
    for ((values, start), times) in &sights {
        let after = times.iter().any(|time| *time >= learnt);
        let before = times.iter().any(|time| *time < learnt);
        if after && !before && !sights.contains_key(&(values.clone(), start - forget)) {
            found.insert(("first-seen".into(), rule.into(), values.clone(), *start), 1);
        }
    }
}

fn field(hit: &OracleHit, path: &FieldPath) -> Option<String> {
    hit.fields.get(path.as_str()).cloned()
}

/// The hits of a rule; those of a correlation are its firing points.
fn hits_of(rules: &[Rule], hits: &BTreeMap<String, BTreeSet<OracleHit>>, id: &str) -> BTreeSet<OracleHit> {
    let Some(rule) = rules.iter().find(|rule| rule.id == id) else { return BTreeSet::new() };
    let Logic::Correlation(correlation) = &rule.logic else {
        return hits.get(id).cloned().unwrap_or_default();
    };
    let mut points = BTreeSet::new();
    for (group, rows) in groups(rules, hits, correlation) {
        let firing = firing(correlation, &rows);
        let names = correlation.group_by.iter().map(ToString::to_string);
        let fields: BTreeMap<_, _> = names.zip(group.clone()).collect();
        for row in rows.iter().filter(|row| firing.contains(&row.0)) {
            let event = format!("{}|{group:?}", row.1);
            points.insert(OracleHit { time: row.0, event, fields: fields.clone() });
        }
    }
    points
}

fn groups(
    rules: &[Rule],
    hits: &BTreeMap<String, BTreeSet<OracleHit>>,
    correlation: &Correlation,
) -> BTreeMap<Vec<String>, BTreeSet<Row>> {
    let mut groups: BTreeMap<_, BTreeSet<Row>> = BTreeMap::new();
    for (index, member) in correlation.members.iter().enumerate() {
        for hit in hits_of(rules, hits, &member.rule) {
            let group: Option<Vec<_>> = member.group_by.iter().map(|path| field(&hit, path)).collect();
            let value: Option<Vec<_>> = match &correlation.kind {
                CorrelationKind::ValueCount(paths, _) => paths.iter().map(|path| field(&hit, path)).collect(),
                CorrelationKind::ValueSum(path, _)
                | CorrelationKind::ValueAverage(path, _)
                | CorrelationKind::ValuePercentile(path, ..) => {
                    field(&hit, path).filter(|text| billionths(text).is_some()).map(|text| vec![text])
                }
                _ => Some(Vec::new()),
            };
            if let (Some(group), Some(value)) = (group, value) {
                groups.entry(group).or_default().insert((hit.time, hit.event.clone(), index, value));
            }
        }
    }
    groups
}

/// The times at which the window meets the condition.
fn firing(correlation: &Correlation, rows: &BTreeSet<Row>) -> BTreeSet<i64> {
    let times: BTreeSet<i64> = rows.iter().map(|row| row.0).collect();
    let window = |end: i64| {
        let begin = end - span(correlation.timespan);
        rows.iter().filter(move |row| row.0 > begin && row.0 <= end).collect::<Vec<_>>()
    };
    times.into_iter().filter(|time| holds(correlation, &window(*time))).collect()
}

fn holds(correlation: &Correlation, window: &[&Row]) -> bool {
    let mut numbers: Vec<i128> = window.iter().filter_map(|row| billionths(row.3.first()?)).collect();
    numbers.sort_unstable();
    let sum: i128 = numbers.iter().sum();
    let count = i128::try_from(window.len()).unwrap();
    match &correlation.kind {
        CorrelationKind::EventCount(threshold) => meets(threshold, count * BILLION, 1),
        CorrelationKind::ValueCount(_, threshold) => {
            let values: BTreeSet<_> = window.iter().map(|row| &row.3).collect();
            meets(threshold, i128::try_from(values.len()).unwrap() * BILLION, 1)
        }
        CorrelationKind::ValueSum(_, threshold) => meets(threshold, sum, 1),
        CorrelationKind::ValueAverage(_, threshold) => meets(threshold, sum, count),
        CorrelationKind::ValuePercentile(_, percent, threshold) => {
            let rank = (numbers.len() * usize::from(*percent)).div_ceil(100).max(1);
            meets(threshold, numbers[rank - 1], 1)
        }
        CorrelationKind::Temporal(occurrence) => occurs(occurrence, window),
        CorrelationKind::TemporalOrdered => ordered(correlation.members.len(), i64::MIN, 0, window),
    }
}

fn meets(threshold: &Threshold, value: i128, divisor: i128) -> bool {
    threshold.0.iter().all(|(operator, limit)| {
        let Number::Int(limit) = limit else { unreachable!("not made here") };
        operator.holds(Number::Int(value), Number::Int(limit * BILLION * divisor))
    })
}

fn occurs(occurrence: &Occurrence, window: &[&Row]) -> bool {
    match occurrence {
        Occurrence::Member(member) => window.iter().any(|row| row.2 == *member),
        Occurrence::All(parts) => parts.iter().all(|part| occurs(part, window)),
        Occurrence::Any(parts) => parts.iter().any(|part| occurs(part, window)),
        Occurrence::Not(part) => !occurs(part, window),
    }
}

/// Whether there are rows of the members from `member` on, none before `since` and in their order.
fn ordered(members: usize, since: i64, member: usize, window: &[&Row]) -> bool {
    member == members
        || window
            .iter()
            .any(|row| row.2 == member && row.0 >= since && ordered(members, row.0, member + 1, window))
}

/// A decimal number of at most nine decimals, in billionths.
fn billionths(text: &str) -> Option<i128> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let whole: i128 = whole.parse().ok()?;
    let decimals: i128 = format!("{decimals:0<9}").parse().ok()?;
    Some(sign * (whole * BILLION + decimals))
}

fn tell(
    rule: &str,
    group: &[String],
    rows: &BTreeSet<Row>,
    firing: &BTreeSet<i64>,
    (span, length): (i64, i64),
    found: &mut BTreeMap<Id, u64>,
) {
    // Later firing points do not change what the first one of a period has made.
    for time in firing.iter().rev() {
        let start = period(*time, length);
        let count = rows.iter().filter(|row| row.0 > time - span && row.0 < start + length).count();
        found.insert(("window".into(), rule.into(), group.to_vec(), start), count as u64);
    }
}
