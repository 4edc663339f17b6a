//! Which rule feeds which detection over more than one event, and what such a feed keeps of a hit.
//!
//! Made once from the rules. Workers ask it for [`Evidence`]; an [`Engine`](super::Engine) made from the same
//! feeds understands it.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::ask::{Ask, Counted, Link, What};
use super::evidence::{Evidence, Fact, Identity, Values, hash_of};
use crate::detect::{Hit, Status};
use crate::event::{Event, FieldPath};
use crate::sigma::{Correlation, CorrelationKind, Logic, Number, Rule, Seen};

/// The feeds of a set of rules.
#[derive(Debug, Default)]
pub struct Feeds {
    numbers: HashMap<String, u32, foldhash::fast::RandomState>,
    rules: Vec<Vec<Feed>>,
    /// Each before those that see its firing points.
    pub(super) asks: Vec<Ask>,
}

/// One way from a rule's hits to a detection.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) ask: usize,
    pub(super) member: u16,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// Into a window; a hit without one of the group's fields takes no part.
    Correlation(Vec<FieldPath>, Counted<FieldPath>),
    /// Into a group; an absent field is an empty text.
    Grouping(Vec<FieldPath>),
    /// Into what was seen for a key.
    Seen(Vec<FieldPath>, Seen),
}

/// Why a hit cannot be evidence although its rule feeds detections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoEvidence {
    /// It is not certain.
    Undecided,
    /// The event has no time.
    Untimed,
}

/// Whether a rule's hits are told one by one: no correlation, grouping or first sight stands between.
#[must_use]
pub fn is_told_alone(rule: &Rule) -> bool {
    let Rule { muted, extension, logic, .. } = rule;
    let single = matches!(logic, Logic::Event(_));
    single && !muted && extension.group.is_none() && extension.first_seen.is_none()
}

/// Returns true for a rule whose hits are alerted on in groups.
#[must_use]
pub fn is_grouped(rule: &Rule) -> bool {
    let Rule { muted, extension, logic, .. } = rule;
    matches!(logic, Logic::Event(_)) && !muted && extension.group.is_some() && extension.first_seen.is_none()
}

impl Feeds {
    /// The feeds of these rules. Correlations whose members are not among the rules never see them; of a circle of
    /// correlations, one sees nothing of the next. A rule with both a grouping and `first_seen` has only the latter.
    #[must_use]
    pub fn new(rules: &[Rule]) -> Self {
        let mut rules: Vec<&Rule> = rules.iter().collect();
        rules.sort_by(|one, other| one.id.cmp(&other.id));
        let mut feeds = Self::default();
        for rule in &rules {
            feeds.add_own(rule);
        }
        for (rule, correlation) in inner_first(&rules) {
            feeds.add_correlation(rule, correlation);
        }
        feeds
    }

    /// Whether no rule feeds anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.asks.is_empty()
    }

    /// What is to be kept of a hit, one of those on this event; nothing if its rule feeds no detection.
    ///
    /// # Errors
    /// The hit is not certain or its event has no time, and so it takes no part.
    pub fn evidence(&self, hit: &Hit<'_>, event: &Identity) -> Result<Option<Evidence>, NoEvidence> {
        let Some(&rule) = self.numbers.get(&hit.rule.id) else { return Ok(None) };
        if hit.status == Status::Undecided {
            return Err(NoEvidence::Undecided);
        }
        let (time, event) = event.of(hit.event).ok_or(NoEvidence::Untimed)?;
        let feeds = &self.rules[rule as usize];
        Ok(Some(Evidence {
            time,
            event,
            rule,
            facts: feeds.iter().map(|feed| feed.way.fact(hit.event)).collect(),
            excerpt: None,
        }))
    }

    /// The number of a rule that feeds something.
    pub(super) fn number(&self, rule: &str) -> Option<u32> {
        self.numbers.get(rule).copied()
    }

    /// The id of the rule of this number.
    pub(super) fn id(&self, number: u32) -> Option<&str> {
        self.numbers.iter().find(|(_, other)| **other == number).map(|(id, _)| id.as_str())
    }

    /// The feeds of the rule of this number.
    pub(super) fn of(&self, rule: u32) -> &[Feed] {
        self.rules.get(rule as usize).map_or(&[], Vec::as_slice)
    }

    /// A part for each rule that feeds something, by its number: rules in different ones, of which there are so many at
    /// most, feed no detection together, not even through others.
    #[must_use]
    pub fn parts(&self, most: usize) -> Vec<usize> {
        let mut heads: Vec<usize> = (0..self.asks.len()).collect();
        let links = self.asks.iter().enumerate().filter_map(|(number, ask)| match &ask.what {
            What::Window(window) => Some(window.links.iter().map(move |link| (number, link.ask))),
            What::Seen(_) => None,
        });
        links.flatten().for_each(|(one, other)| join(&mut heads, one, other));
        for feeds in &self.rules {
            feeds.windows(2).for_each(|pair| join(&mut heads, pair[0].ask, pair[1].ask));
        }
        let mut parts = HashMap::new();
        let mut part = |head| {
            let next = parts.len();
            *parts.entry(head).or_insert(next) % most
        };
        self.rules.iter().map(|feeds| feeds.first().map_or(0, |feed| part(head(&heads, feed.ask)))).collect()
    }

    fn add_own(&mut self, rule: &Rule) {
        if rule.muted || !matches!(rule.logic, Logic::Event(_)) {
            return;
        }
        let (ask, way) = match (&rule.extension.first_seen, &rule.extension.group) {
            (Some(seen), _) => (Ask::of_first_seen(rule, seen), Way::Seen(seen.by.clone(), seen.of.clone())),
            (None, Some(group)) => (Ask::of_grouping(rule, group), Way::Grouping(group.by.clone())),
            (None, None) => return,
        };
        self.add(&rule.id, Feed { ask: self.asks.len(), member: 0, way });
        self.asks.push(ask);
    }

    fn add_correlation(&mut self, rule: &Rule, correlation: &Correlation) {
        let number = self.asks.len();
        for (index, member) in correlation.members.iter().enumerate() {
            let Ok(index) = u16::try_from(index) else { break };
            let counted = Counted::of(&correlation.kind);
            if let Some(inner) = self.correlation(&member.rule) {
                let position =
                    |path: &FieldPath| inner.names.iter().position(|name| **name == *path.as_str());
                let group = member.group_by.iter().map(position).collect();
                let link = Link { ask: number, member: index, group, counted: counted.map(position) };
                if let What::Window(inner) = &mut inner.what {
                    inner.links.push(link);
                }
            } else {
                let way = Way::Correlation(member.group_by.clone(), counted);
                self.add(&member.rule, Feed { ask: number, member: index, way });
            }
        }
        self.asks.push(Ask::of_correlation(rule, correlation));
    }

    fn correlation(&mut self, id: &str) -> Option<&mut Ask> {
        self.asks.iter_mut().find(|ask| ask.correlates && *ask.detection == *id)
    }

    fn add(&mut self, rule: &str, feed: Feed) {
        let next = u32::try_from(self.rules.len()).expect("there are fewer rules than numbers");
        let number = *self.numbers.entry(rule.to_owned()).or_insert(next);
        if number == next {
            self.rules.push(Vec::new());
        }
        self.rules[number as usize].push(feed);
    }
}

/// The one by which all are known that were joined with this one.
fn head(heads: &[usize], mut one: usize) -> usize {
    while heads[one] != one {
        one = heads[one];
    }
    one
}

fn join(heads: &mut [usize], one: usize, other: usize) {
    let (one, other) = (head(heads, one), head(heads, other));
    heads[one.max(other)] = one.min(other);
}

/// The correlations, each after those that are its members.
fn inner_first<'r>(rules: &[&'r Rule]) -> Vec<(&'r Rule, &'r Correlation)> {
    fn visit<'r>(
        id: &str,
        all: &HashMap<&str, (&'r Rule, &'r Correlation)>,
        visited: &mut HashSet<String>,
        order: &mut Vec<(&'r Rule, &'r Correlation)>,
    ) {
        let Some(&(rule, correlation)) = all.get(id) else { return };
        if visited.insert(id.to_owned()) {
            correlation.members.iter().for_each(|member| visit(&member.rule, all, visited, order));
            order.push((rule, correlation));
        }
    }
    let all: HashMap<&str, (&Rule, &Correlation)> = rules
        .iter()
        .filter_map(|rule| match &rule.logic {
            Logic::Correlation(correlation) => Some((rule.id.as_str(), (*rule, correlation))),
            Logic::Event(_) => None,
        })
        .collect();
    let (mut visited, mut order) = (HashSet::new(), Vec::new());
    rules.iter().for_each(|rule| visit(&rule.id, &all, &mut visited, &mut order));
    order
}

impl Way {
    fn fact(&self, event: &Event<'_>) -> Fact {
        let or_empty = |path| text_at(event, path).unwrap_or_default();
        match self {
            Way::Correlation(group, counted) => fact(group, counted, |path| text_at(event, path)),
            Way::Grouping(by) => Fact::Part { group: Values::of(by.iter().map(or_empty)), value: 0 },
            Way::Seen(by, seen) => match seen_at(event, seen) {
                Some(value) => {
                    let group = Values::of(by.iter().map(or_empty).chain([value]));
                    Fact::Part { group, value: 0 }
                }
                None => Fact::NoValue,
            },
        }
    }
}

/// What a correlation gets of a hit whose texts `look` finds.
pub(super) fn fact<'t, P>(
    group: &[P],
    counted: &Counted<P>,
    look: impl Fn(&P) -> Option<Cow<'t, str>>,
) -> Fact {
    let Some(group) = group.iter().map(&look).collect::<Option<Vec<_>>>() else { return Fact::NoGroup };
    let value = match counted {
        Counted::Hit => Some(0),
        Counted::Values(places) => places.iter().map(&look).collect::<Option<Vec<_>>>().map(|texts| {
            let hash = hash_of(texts);
            u64::from_be_bytes(*hash.first_chunk().expect("a hash has 16 bytes"))
        }),
        Counted::Number(place) => look(place).and_then(|text| Number::read(&text)).map(|number| {
            // Zero has two signs, but only one value.
            (number.to_float() + 0.0).to_bits()
        }),
    };
    match value {
        Some(value) => Fact::Part { group: Values::of(group), value },
        None => Fact::NoValue,
    }
}

impl Counted<FieldPath> {
    fn of(kind: &CorrelationKind) -> Self {
        match kind {
            CorrelationKind::EventCount(_)
            | CorrelationKind::Temporal(_)
            | CorrelationKind::TemporalOrdered => Counted::Hit,
            CorrelationKind::ValueCount(paths, _) => Counted::Values(paths.clone()),
            CorrelationKind::ValueSum(path, _)
            | CorrelationKind::ValueAverage(path, _)
            | CorrelationKind::ValuePercentile(path, ..) => Counted::Number(path.clone()),
        }
    }

    fn map<P>(&self, place: impl Fn(&FieldPath) -> P) -> Counted<P> {
        match self {
            Counted::Hit => Counted::Hit,
            Counted::Values(paths) => Counted::Values(paths.iter().map(place).collect()),
            Counted::Number(path) => Counted::Number(place(path)),
        }
    }
}

/// The text of the first value at a path that is not null; of an object or list its compact JSON.
fn text_at<'e>(event: &Event<'e>, path: &FieldPath) -> Option<Cow<'e, str>> {
    let mut found = None;
    event.any(path, &mut |value| {
        if !value.is_null() {
            found = Some(value.scalar_text().unwrap_or_else(|| value.to_json().into()));
        }
        found.is_some()
    });
    found
}

fn seen_at<'e>(event: &Event<'e>, seen: &Seen) -> Option<Cow<'e, str>> {
    match seen {
        Seen::Value(path) => text_at(event, path),
        Seen::Network(path) => text_at(event, path).map(network),
    }
}

/// The /24 or /48 that an address lies in; any other text as it stands.
fn network(text: Cow<'_, str>) -> Cow<'_, str> {
    let Ok(address) = text.parse::<IpAddr>() else { return text };
    let address = address.to_canonical();
    let length = if address.is_ipv4() { 24 } else { 48 };
    IpNet::new(address, length).map_or(text, |network| network.trunc().to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_widened_to_their_network() {
        let cases = [
            ("198.51.100.7", "198.51.100.0/24"),
            ("2001:db8:1:2::3", "2001:db8:1::/48"),
            ("::ffff:198.51.100.7", "198.51.100.0/24"),
            ("225.178.039.250", "225.178.039.250"),
            ("cloudtrail.amazonaws.com", "cloudtrail.amazonaws.com"),
        ];
        for (text, expected) in cases {
            assert_eq!(network(text.into()), expected);
        }
    }
}
