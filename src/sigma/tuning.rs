//! What a user sets beside the rules, without touching them: which detections run, and at which level.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use super::document::{Absence, Body, Unit};
use super::part::{Feed, Part};
use super::rule::{Level, Place, Rule};
use super::{Problem, RuleError};
use crate::event::hex;

/// Letters in which a misspelt id or tag may differ from a known one.
const MOST_ODD: usize = 2;

/// Adjustments in the order in which they were written: where two speak of one detection, the later one holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tuning {
    /// What is adjusted.
    pub adjustments: Vec<Adjustment>,
    /// Whether detections that are off are compiled and run all the same, as their tests need it.
    pub off_too: bool,
}

/// What is set for some detections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adjustment {
    /// Where it was written.
    pub place: Place,
    /// Which detections.
    pub detections: Vec<Selector>,
    /// Whether they run.
    pub enabled: Option<bool>,
    /// Their level.
    pub level: Option<Level>,
}

/// Which detections are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// All of them: `*`.
    Every,
    /// Those with a tag: `tag:NAME`.
    Tag(String),
    /// Those with a tag that begins so: `tag:NAME*`.
    TagPrefix(String),
    /// The one with this id.
    Id(String),
}

impl FromStr for Selector {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match (text, text.strip_prefix("tag:")) {
            ("*", _) => Selector::Every,
            (_, Some(tag)) => match tag.strip_suffix('*') {
                Some(prefix) => Selector::TagPrefix(prefix.to_ascii_lowercase()),
                None => Selector::Tag(tag.to_ascii_lowercase()),
            },
            (id, None) => Selector::Id(id.to_owned()),
        })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Selector::Every => f.write_str("*"),
            Selector::Tag(tag) => write!(f, "tag:{tag}"),
            Selector::TagPrefix(prefix) => write!(f, "tag:{prefix}*"),
            Selector::Id(id) => f.write_str(id),
        }
    }
}

impl Selector {
    fn selects(&self, rule: &Rule) -> bool {
        let tagged =
            |suits: &dyn Fn(&str) -> bool| rule.tags.iter().any(|tag| suits(&tag.to_ascii_lowercase()));
        match self {
            Selector::Every => true,
            Selector::Tag(tag) => tagged(&|known| known == tag),
            Selector::TagPrefix(prefix) => tagged(&|known| known.starts_with(prefix)),
            Selector::Id(id) => rule.id.eq_ignore_ascii_case(id),
        }
    }

    /// What it was probably meant to select, of these rules.
    fn meant(&self, units: &[Unit]) -> Option<String> {
        let rules = || units.iter().filter_map(Unit::rule);
        let tags = || rules().flat_map(|rule| rule.tags.iter().map(String::as_str));
        match self {
            Selector::Every => None,
            Selector::Id(id) => nearest(id, rules().map(|rule| rule.id.as_str())).map(str::to_owned),
            Selector::Tag(tag) => nearest(tag, tags()).map(|tag| format!("tag:{tag}")),
            Selector::TagPrefix(prefix) => {
                let beginnings = tags().filter_map(|tag| tag.get(..prefix.len()));
                nearest(prefix, beginnings).map(|prefix| format!("tag:{prefix}*"))
            }
        }
    }
}

impl Tuning {
    /// Everything runs, whether it is on or off.
    #[must_use]
    pub fn off_too() -> Self {
        Self { off_too: true, ..Self::default() }
    }

    /// Adjusts the rules of a part, and takes those out of it that do not run.
    pub(super) fn apply(&self, part: &mut Part) {
        let Part { units, feeds, problems, .. } = part;
        let off = |unit: &Unit| unit.rule().is_some_and(|rule| !rule.extension.enabled);
        let were_off: Vec<usize> = (0..units.len()).filter(|at| off(&units[*at])).collect();
        for adjustment in &self.adjustments {
            for selector in &adjustment.detections {
                if !adjustment.apply(selector, units, feeds) {
                    let error = RuleError::SelectsNothing {
                        selector: selector.to_string(),
                        meant: selector.meant(units),
                    };
                    problems.push(Problem { place: adjustment.place.clone(), error });
                }
            }
        }
        let switched: Vec<usize> = were_off.into_iter().filter(|at| !off(&units[*at])).collect();
        with_members(units, switched);
        let skipped = &mut part.skipped;
        units.retain_mut(|unit| {
            let is_filter = matches!(unit.body, Body::Filter(_));
            if matches!(unit.body, Body::Absent(_)) || unit.is_enabled() || (self.off_too && !is_filter) {
                return true;
            }
            skipped.disabled += usize::from(!unit.aside);
            unit.body = Body::Absent(Absence::Disabled);
            // What names rules never means a filter.
            !is_filter
        });
    }
}

impl Adjustment {
    /// Adjusts what is selected; whether something is. Members that serve a correlation of their own file go with it,
    /// unless they are meant by their ids.
    fn apply(&self, selector: &Selector, units: &mut [Unit], feeds: &[Feed]) -> bool {
        let mut found = false;
        for unit in units {
            let serves = feeds.iter().any(|feed| {
                !feed.generate
                    && feed.file == unit.place.file
                    && feed.members.iter().any(|member| unit.names.has(&member.text))
            });
            let Some(rule) = unit.rule_mut() else { continue };
            if !selector.selects(rule) || serves && !matches!(selector, Selector::Id(_)) {
                continue;
            }
            found = true;
            rule.extension.enabled = self.enabled.unwrap_or(rule.extension.enabled);
            if let Some(level) = self.level.filter(|level| *level != rule.level) {
                rule.level = level;
                rule.hash = hex(&Sha256::digest(format!("{} level {level}", rule.hash)));
            }
        }
        found
    }
}

/// Correlations that were switched on need their members: those in their own file go on with them.
fn with_members(units: &mut [Unit], mut switched: Vec<usize>) {
    while let Some(at) = switched.pop() {
        let Body::Correlation(_, draft) = &units[at].body else { continue };
        let members: Vec<String> = draft.members.iter().map(|member| member.text.clone()).collect();
        let file = units[at].place.file.clone();
        for (position, unit) in units.iter_mut().enumerate() {
            let is_member = unit.place.file == file && members.iter().any(|name| unit.names.has(name));
            if let Some(rule) = unit.rule_mut().filter(|rule| is_member && !rule.extension.enabled) {
                rule.extension.enabled = true;
                switched.push(position);
            }
        }
    }
}

/// The end of the message about a selector that selects nothing.
pub(super) fn suggested(meant: Option<&str>) -> String {
    meant.map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default()
}

/// The one that differs in one place only, and there by a few letters.
fn nearest<'k>(text: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let near = known.map(|known| (odd(text.as_bytes(), known.as_bytes()), known));
    near.filter(|(odd, _)| *odd <= MOST_ODD).min().map(|(_, known)| known)
}

/// How many letters stand between what both begin with and what both end with.
fn odd(one: &[u8], other: &[u8]) -> usize {
    let same = |(one, other): &(&u8, &u8)| one.eq_ignore_ascii_case(other);
    let front = one.iter().zip(other).take_while(same).count();
    let back = one[front..].iter().rev().zip(other[front..].iter().rev()).take_while(same).count();
    one.len().max(other.len()) - front - back
}
