//! A correlation over a stream of events, in a form that can be put into other words.

use std::fmt::Write;

use crate::second_opinion::json::Json;

/// A correlation and the events that it sees.
#[derive(Debug, Clone)]
pub struct Question {
    pub correlation: Correlation,
    /// By time.
    pub events: Vec<Event>,
    /// Which hits are told: a number of an event and one of a member.
    pub hits: Vec<(usize, usize)>,
    /// What of the answer is told.
    pub reading: Reading,
}

/// How the answer of the other engine is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reading {
    /// What is said between hits of one moment and one group does not count.
    pub by_moment: bool,
    /// Each window is asked about by itself, for its median.
    pub by_median: bool,
    /// What is measured counts in so many units: a power of ten; negative where it was mirrored.
    pub unit: i32,
    /// How long periods are, in seconds.
    pub period: i64,
}

/// A correlation over the rules [`RULES`].
#[derive(Debug, Clone, Default)]
pub struct Correlation {
    pub kind: &'static str,
    /// Numbers of rules.
    pub members: Vec<usize>,
    pub group_by: Vec<&'static str>,
    /// For the alias `who`: the field of each member.
    pub aliases: Option<Vec<&'static str>>,
    /// In seconds.
    pub timespan: i64,
    pub field: Option<&'static str>,
    pub percentile: Option<usize>,
    /// Operators and thresholds in tenths.
    pub thresholds: Vec<(&'static str, i64)>,
    /// Over members by name, in the place of thresholds.
    pub condition: Option<String>,
}

/// An event: its id, its time in seconds since the epoch, and its fields.
#[derive(Debug, Clone)]
pub struct Event {
    pub id: usize,
    pub time: i64,
    pub fields: Vec<(&'static str, Json)>,
}

/// The values of `n` that each rule hits.
pub const RULES: [&[&str]; 3] = [&["x", "xy", "all"], &["y", "xy", "all"], &["z", "all"]];

impl Question {
    pub fn new(correlation: Correlation, events: Vec<Event>) -> Self {
        let members = 0..correlation.members.len();
        let pairs = (0..events.len()).flat_map(|event| members.clone().map(move |member| (event, member)));
        let hits = pairs.filter(|(event, member)| events[*event].is_hit_of(correlation.members[*member]));
        let hits = hits.collect();
        let reading = Reading { unit: 1, period: correlation.timespan.max(3600), ..Reading::default() };
        Self { correlation, events, hits, reading }
    }

    /// The values of a hit's group; one is missing where it has no text.
    pub fn group(&self, (event, member): (usize, usize)) -> Vec<Option<String>> {
        let fields = self.correlation.group_by.iter().map(|field| self.correlation.field(field, member));
        fields.map(|field| self.events[event].get(field).and_then(text)).collect()
    }

    /// What is measured of a hit.
    pub fn value(&self, (event, _): (usize, usize)) -> Option<String> {
        self.events[event].get(self.correlation.field?).and_then(text)
    }

    pub fn time(&self, (event, _): (usize, usize)) -> i64 {
        self.events[event].time
    }
}

impl Correlation {
    /// The field of the group in the events of a member.
    fn field<'c>(&'c self, name: &'c str, member: usize) -> &'c str {
        match &self.aliases {
            Some(fields) if name == "who" => fields[member],
            _ => name,
        }
    }

    pub fn is_of_numbers(&self) -> bool {
        ["value_sum", "value_avg", "value_percentile", "value_median"].contains(&self.kind)
    }

    /// Its documents, the rules first.
    pub fn documents(&self) -> Vec<String> {
        let rule = |(number, values): (usize, &&[&str])| {
            format!(
                "title: r{number}\nid: r{number}\nname: r{number}\nlogsource: {{product: aws, service: cloudtrail}}\n\
                 detection: {{s: {{n: [{}]}}, condition: s}}\n",
                values.iter().map(|value| format!("'{value}'")).collect::<Vec<_>>().join(", ")
            )
        };
        RULES.iter().enumerate().map(rule).chain([self.document()]).collect()
    }

    fn document(&self) -> String {
        let names: Vec<String> = self.members.iter().map(|member| format!("r{member}")).collect();
        let mut text = format!(
            "title: c\nid: c\nname: c\ncorrelation:\n  type: {}\n  rules: [{}]\n  timespan: {}s\n",
            self.kind,
            names.join(", "),
            self.timespan
        );
        if !self.group_by.is_empty() {
            let _ = writeln!(text, "  group-by: [{}]", self.group_by.join(", "));
        }
        if let Some(fields) = &self.aliases {
            let fields = names.iter().zip(fields).map(|(name, field)| format!("{name}: {field}"));
            let _ = writeln!(text, "  aliases: {{who: {{{}}}}}", fields.collect::<Vec<_>>().join(", "));
        }
        let thresholds = self.thresholds.iter().map(|(operator, tenths)| match tenths % 10 {
            0 => format!("{operator}: {}", tenths / 10),
            _ => format!("{operator}: {}{}.{}", sign(*tenths), tenths.abs() / 10, tenths.abs() % 10),
        });
        let field = self.field.map(|field| format!("field: {field}"));
        let percentile = self.percentile.map(|percentile| format!("percentile: {percentile}"));
        let parts: Vec<String> = field.into_iter().chain(percentile).chain(thresholds).collect();
        match &self.condition {
            Some(condition) => text + &format!("  condition: {condition}\n"),
            None if parts.is_empty() => text,
            None => text + &format!("  condition: {{{}}}\n", parts.join(", ")),
        }
    }
}

fn sign(number: i64) -> &'static str {
    if number < 0 { "-" } else { "" }
}

impl Event {
    fn is_hit_of(&self, rule: usize) -> bool {
        matches!(self.get("n"), Some(Json::Text(name)) if RULES[rule].contains(&name.as_str()))
    }

    pub fn get(&self, field: &str) -> Option<&Json> {
        self.fields.iter().find(|(name, _)| *name == field).map(|(_, value)| value)
    }

    pub fn record(&self) -> String {
        let time = jiff::Timestamp::from_second(self.time).expect("times are near").to_string();
        let head = [("eventID", Json::Text(self.id.to_string())), ("eventTime", Json::Text(time))];
        let members = head.into_iter().chain(self.fields.iter().cloned());
        Json::Object(members.map(|(name, value)| (name.to_owned(), value)).collect()).text()
    }
}

/// The text of a value as we read it: of a list or object its JSON.
pub fn text(value: &Json) -> Option<String> {
    match value {
        Json::Null => None,
        Json::Text(text) => Some(text.clone()),
        value => Some(value.text()),
    }
}
