//! Compiled detections × event → hits.
//!
//! The index tells from a record's bytes which detections it can match; for nearly every record that is none,
//! and it is never parsed. What remains is parsed once and evaluated by the plain evaluator. That evaluator
//! over the slow parser, with every detection and without the index, is the oracle that the fast way must
//! equal. No clock, no I/O, no runtime.

mod change;
mod evaluate;
mod further;
mod index;
mod memo;
mod need;
mod table;
mod trace;
pub mod windows;

use std::sync::Arc;

pub use change::Change;
pub use evaluate::{Verdict, evaluate};
pub use index::Narrowing;
pub use trace::{Elements, Found, Lack, Step, Trace, trace};
pub use windows::{Evidence, Feeds, Finding, Sieve};

use crate::event::{Event, Keys, Parser, Record, Sightings, Undecodable};
use crate::sigma::Rule;
use index::Index;
use windows::{is_grouped, is_told_alone};

/// A set of compiled detections, ready to run.
#[derive(Debug)]
pub struct Detections {
    rules: Vec<Rule>,
    /// Positions among them of those that look at single events, by their number in the index.
    single: Vec<usize>,
    index: Index,
    /// What hits feed of the detections over more than one event.
    feeds: Arc<Feeds>,
}

/// A detection that an event meets, or that it may meet.
#[derive(Debug, Clone, Copy)]
pub struct Hit<'h> {
    /// The detection.
    pub rule: &'h Rule,
    /// Whether it is certain.
    pub status: Status,
    /// The event.
    pub event: &'h Event<'h>,
}

/// Whether a hit is certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// The event meets the detection.
    Match,
    /// It cannot be told, because CloudTrail left out what the detection asks for.
    Undecided,
}

impl Status {
    /// Its name in alerts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Match => "match",
            Status::Undecided => "undecided",
        }
    }
}

/// Buffers of one worker, used for one record after the other.
#[derive(Debug, Default)]
pub struct Scratch {
    parser: Parser,
    candidates: Vec<index::Number>,
    index: index::Buffers,
    seen: Sightings,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It was evaluated as it stands.
    Plain,
    /// Bytes had to be replaced to read it.
    Repaired,
}

impl Detections {
    /// Makes a set of detections; hits come in the order of their ids.
    #[must_use]
    pub fn new(mut rules: Vec<Rule>) -> Self {
        rules.sort_by(|one, other| one.id.cmp(&other.id));
        let (single, conditions): (Vec<_>, Vec<_>) = rules
            .iter()
            .enumerate()
            .filter_map(|(position, rule)| Some((position, rule.condition()?)))
            .unzip();
        let index = Index::new(conditions.into_iter());
        let feeds = Arc::new(Feeds::new(&rules));
        Self { rules, single, index, feeds }
    }

    /// What hits feed of the detections over more than one event.
    #[must_use]
    pub fn feeds(&self) -> &Arc<Feeds> {
        &self.feeds
    }

    /// The detection of this id.
    #[must_use]
    pub fn rule(&self, id: &str) -> Option<&Rule> {
        let position = self.rules.binary_search_by(|rule| rule.id.as_str().cmp(id)).ok()?;
        Some(&self.rules[position])
    }

    /// The detections, in the order of their ids.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The keys by which most records are passed over.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        self.index.keys()
    }

    /// Evaluates a record in which [`Detections::keys`] were looked for; calls `on_hit` for each detection that it
    /// meets or may meet.
    ///
    /// # Errors
    /// The record cannot be read. A record that no detection can match is not parsed, and so not found out.
    pub fn detect(
        &self,
        record: Record<'_>,
        scratch: &mut Scratch,
        on_hit: &mut dyn FnMut(Hit<'_>),
    ) -> Result<Seen, Undecodable> {
        let Scratch { parser, candidates, index, .. } = scratch;
        self.index.candidates(record, index, candidates);
        if candidates.is_empty() {
            return Ok(Seen::Plain);
        }
        parser.parse(record.bytes, |event| {
            for &number in &*candidates {
                self.evaluate(number, &event, on_hit);
            }
            Seen::of(&event)
        })
    }

    /// As [`Detections::detect`], for a record that came by itself.
    ///
    /// # Errors
    /// The record cannot be read.
    pub fn detect_alone(
        &self,
        record: &[u8],
        scratch: &mut Scratch,
        on_hit: &mut dyn FnMut(Hit<'_>),
    ) -> Result<Seen, Undecodable> {
        let mut seen = std::mem::take(&mut scratch.seen);
        self.keys().find(record, &mut seen);
        let result = self.detect(Record { bytes: record, seen: &seen }, scratch, on_hit);
        scratch.seen = seen;
        result
    }

    /// The oracle: every record is parsed the slow way and every detection is evaluated.
    ///
    /// # Errors
    /// The record cannot be read.
    pub fn detect_plainly(
        &self,
        record: &[u8],
        scratch: &mut Scratch,
        on_hit: &mut dyn FnMut(Hit<'_>),
    ) -> Result<Seen, Undecodable> {
        scratch.parser.parse_slowly(record, |event| {
            for number in (0..).take(self.single.len()) {
                self.evaluate(number, &event, on_hit);
            }
            Seen::of(&event)
        })
    }

    fn evaluate(&self, number: index::Number, event: &Event<'_>, on_hit: &mut dyn FnMut(Hit<'_>)) {
        let rule = &self.rules[self.single[number as usize]];
        let verdict = rule.condition().map_or(Verdict::No, |condition| evaluate(condition, event));
        let status = match verdict {
            Verdict::No => return,
            Verdict::Unknown => Status::Undecided,
            Verdict::Yes => Status::Match,
        };
        on_hit(Hit { rule, status, event });
    }
}

impl Hit<'_> {
    /// Whether it is told by itself. What only feeds others is not; nor is, unless it is uncertain and so feeds nothing,
    /// what is told together with others, or once for each value.
    #[must_use]
    pub fn is_told_alone(&self) -> bool {
        is_told_alone(self.rule) || self.status == Status::Undecided && !self.rule.muted
    }

    /// Returns true if it is certain, and its detection raises one alert for all hits of a group.
    #[must_use]
    pub fn is_grouped(&self) -> bool {
        self.status == Status::Match && is_grouped(self.rule)
    }
}

impl Seen {
    fn of(event: &Event<'_>) -> Self {
        if event.repaired() { Seen::Repaired } else { Seen::Plain }
    }
}

/// By what the index excludes records for a detection; none of a correlation, which looks at no record itself.
#[must_use]
pub fn narrowing(rule: &Rule) -> Option<Narrowing> {
    rule.condition().map(Index::narrowing)
}

#[cfg(test)]
mod tests;
