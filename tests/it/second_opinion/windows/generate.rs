//! Streams in which correlations are often just about to fire.

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::question::{Correlation, Event, Question};
use crate::second_opinion::json::Json;

const KINDS: [&str; 8] = [
    "event_count",
    "value_count",
    "temporal",
    "temporal_ordered",
    "value_sum",
    "value_avg",
    "value_percentile",
    "value_median",
];
/// Steps of seconds from one event to the next, around the lengths of windows.
const STEPS: [i64; 13] = [0, 0, 0, 1, 1, 2, 3, 5, 5, 5, 10, 60, 3600];
const NAMES: [&str; 7] = ["x", "x", "y", "z", "xy", "all", "none"];
const TEXTS: [&str; 11] = [
    r#""p""#,
    r#""p""#,
    r#""p""#,
    r#""p""#,
    r#""p""#,
    r#""q""#,
    r#""P""#,
    r#""""#,
    r#"["p","q"]"#,
    "[null,\"q\"]",
    "null",
];
const NUMBERS: [&str; 14] =
    ["0", "1", "1", "2", "3", "-1", "0.1", "0.2", "0.7", "1.5", r#""2""#, r#"" 2 ""#, r#""p""#, "null"];
const CONDITIONS: [&str; 6] = [
    "r0 and r1 and r2",
    "r0 or r1 or r2",
    "r0 and (r1 or r2)",
    "r0 and r1 and not r2",
    "not (r0 and r1) and r2",
    "not r0 and not r1 and not r2",
];

pub fn question() -> impl Strategy<Value = Question> {
    (correlation(), vec(event(), 1..28)).prop_map(|(correlation, parts)| {
        // Shortly before an hour begins.
        let mut time = 1_700_002_800 - 20;
        let mut events: Vec<Event> = Vec::new();
        for (step, mut event, repeated) in parts {
            time += step;
            let known = repeated.filter(|_| !events.is_empty());
            if let Some(index) = known {
                let other = &events[index.index(events.len())];
                // The same event has the same time: it lies at its place in the order.
                let at = events.partition_point(|event| event.time <= other.time);
                events.insert(at, other.clone());
                continue;
            }
            (event.id, event.time) = (events.len(), time);
            events.push(event);
        }
        Question::new(correlation, events)
    })
}

fn event() -> impl Strategy<Value = (i64, Event, Option<Index>)> {
    let value = || select(&TEXTS[..]).prop_map(Json::read_value);
    let number = select(&NUMBERS[..]).prop_map(Json::read_value);
    let name = select(&NAMES[..]).prop_map(|name| Json::Text(name.to_owned()));
    let fields = (name, weighted(0.95, value()), weighted(0.95, value()), weighted(0.9, number));
    (select(&STEPS[..]), fields, weighted(0.1, any::<Index>())).prop_map(|(step, (n, u, w, v), repeated)| {
        let fields = [("n", Some(n)), ("u", u), ("w", w), ("v", v)];
        let fields = fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        (step, Event { id: 0, time: 0, fields }, repeated)
    })
}

fn correlation() -> impl Strategy<Value = Correlation> {
    let members = select(vec![vec![0], vec![0, 1], vec![1, 0], vec![0, 1, 2], vec![2, 1, 0]]);
    let group = select(vec![vec![], vec!["u"], vec!["who"], vec!["u", "w"], vec!["who", "w"]]);
    let aliases = vec(select(vec!["u", "w"]), 3);
    let timespan = select(vec![5, 5, 10, 10, 60, 3600, 7200]);
    let numbers =
        (select(vec![-15i64, -10, 0, 5, 7, 10, 20, 30]), 0i64..6, select(vec![1usize, 25, 50, 75, 90, 100]));
    let operators = (select(vec!["gte", "gte", "gt", "lt", "lte", "eq", "neq"]), weighted(0.2, 0i64..3));
    let how = (select(&KINDS[..]), select(&CONDITIONS[..]), 0..3);
    (how, members, group, aliases, timespan, numbers, operators).prop_map(
        |(
            (kind, condition, way),
            members,
            group_by,
            mut aliases,
            timespan,
            (tenths, count, percentile),
            operators,
        )| {
            aliases.truncate(members.len());
            let aliases = group_by.contains(&"who").then_some(aliases);
            let correlation =
                Correlation { kind, members, group_by, aliases, timespan, ..Correlation::default() };
            let thresholds = |least: i64| {
                let (operator, more) = operators;
                // The other engine knows no numbers below zero, and what is mirrored has all of them there.
                let limit = if least < 0 { 0 } else { i64::MAX };
                let most = more.map(|more| ("lte", limit.min(least + more * 10)));
                let most = most.filter(|_| operator.starts_with('g'));
                [(operator, least)].into_iter().chain(most).collect()
            };
            match kind {
                "event_count" => Correlation { thresholds: thresholds(count * 10), ..correlation },
                "value_count" => {
                    Correlation { thresholds: thresholds(count * 10), field: Some("w"), ..correlation }
                }
                "temporal" if way == 0 => Correlation {
                    condition: Some(condition.to_owned()),
                    members: vec![0, 1, 2],
                    aliases: correlation.aliases.as_ref().map(|_| vec!["u", "w", "u"]),
                    ..correlation
                },
                "temporal" | "temporal_ordered" => correlation,
                _ => Correlation {
                    thresholds: thresholds(tenths),
                    field: Some("v"),
                    percentile: (kind == "value_percentile").then_some(percentile),
                    ..correlation
                },
            }
        },
    )
}
