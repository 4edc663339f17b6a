//! Counters that slide: rows enter and leave a window, and what is measured in it is known at any time.
//!
//! Sums are exact, and so do not depend on the order of addition: numbers count in billionths, between ±2^63.

use std::collections::{BTreeMap, HashMap};

use super::ask::Measure;
use super::moment::{Moment, Span};
use super::row::Row;
use crate::sigma::{Number, Occurrence, Threshold};

const BILLION: i128 = 1_000_000_000;

/// What is measured in one window.
#[derive(Debug)]
pub(super) struct Counter {
    rows: u64,
    gauge: Gauge,
}

#[derive(Debug)]
enum Gauge {
    Rows,
    Distinct(HashMap<u64, u32, foldhash::fast::RandomState>),
    Sum(i128),
    Ranks(Ranks),
    Members(Vec<u32>),
    Ordered(Chain),
}

/// The sorted numbers of a window, cut behind the one that is asked for.
#[derive(Debug)]
struct Ranks {
    percent: u64,
    low: BTreeMap<i128, u64>,
    /// How many numbers `low` holds, repeated ones counted.
    low_count: u64,
    high: BTreeMap<i128, u64>,
    high_count: u64,
}

/// For each number of members from the first on: the latest beginning of a chain of hits of these members in their
/// order. It needs no row to leave: a chain holds as long as its beginning is in the window.
#[derive(Debug)]
struct Chain {
    begins: Vec<Moment>,
    last: Vec<Moment>,
}

/// A measured value that meets the condition; none where there is no number to tell.
pub(super) type Measured = Option<f64>;

impl Counter {
    pub(super) fn new(measure: &Measure, members: usize) -> Self {
        let gauge = match measure {
            Measure::Rows(_) => Gauge::Rows,
            Measure::Distinct(_) => Gauge::Distinct(HashMap::default()),
            Measure::Sum(_) | Measure::Average(_) => Gauge::Sum(0),
            Measure::Percentile(percent, _) => Gauge::Ranks(Ranks::new(*percent)),
            Measure::Members(_) => Gauge::Members(vec![0; members]),
            Measure::Ordered => Gauge::Ordered(Chain::new(members)),
        };
        Self { rows: 0, gauge }
    }

    /// How many rows there are.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether rows may enter in any order, not only in that of time.
    pub(super) fn takes_any_order(&self) -> bool {
        !matches!(self.gauge, Gauge::Ordered(_))
    }

    pub(super) fn enter(&mut self, row: &Row) {
        self.rows += 1;
        match &mut self.gauge {
            Gauge::Rows => {}
            Gauge::Distinct(counts) => *counts.entry(row.value).or_default() += 1,
            Gauge::Sum(sum) => *sum += billionths(f64::from_bits(row.value)),
            Gauge::Ranks(ranks) => ranks.enter(billionths(f64::from_bits(row.value))),
            Gauge::Members(counts) => counts[usize::from(row.member)] += 1,
            Gauge::Ordered(chain) => chain.enter(row),
        }
    }

    /// A row that has entered leaves.
    pub(super) fn leave(&mut self, row: &Row) {
        self.rows -= 1;
        match &mut self.gauge {
            Gauge::Rows | Gauge::Ordered(_) => {}
            Gauge::Distinct(counts) => {
                let count = counts.entry(row.value).or_default();
                *count -= 1;
                if *count == 0 {
                    counts.remove(&row.value);
                }
            }
            Gauge::Sum(sum) => *sum -= billionths(f64::from_bits(row.value)),
            Gauge::Ranks(ranks) => ranks.leave(billionths(f64::from_bits(row.value))),
            Gauge::Members(counts) => counts[usize::from(row.member)] -= 1,
        }
    }

    /// What is measured at the end of the window, if it meets the condition.
    pub(super) fn holds(&self, measure: &Measure, end: Moment, span: Span) -> Option<Measured> {
        match (measure, &self.gauge) {
            (Measure::Rows(threshold), _) => count(self.rows, threshold),
            (Measure::Distinct(threshold), Gauge::Distinct(counts)) => count(counts.len() as u64, threshold),
            (Measure::Sum(threshold), Gauge::Sum(sum)) => amount(*sum, 1, threshold),
            (Measure::Average(threshold), Gauge::Sum(sum)) => amount(*sum, self.rows, threshold),
            (Measure::Percentile(_, threshold), Gauge::Ranks(ranks)) => amount(ranks.value()?, 1, threshold),
            (Measure::Members(occurrence), Gauge::Members(counts)) => {
                occurs(occurrence, counts).then_some(None)
            }
            (Measure::Ordered, Gauge::Ordered(chain)) => chain.holds(end, span).then_some(None),
            _ => None,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "told to people, compared exactly")]
fn count(count: u64, threshold: &Threshold) -> Option<Measured> {
    let number = Number::Int(count.into());
    threshold.0.iter().all(|(operator, limit)| operator.holds(number, *limit)).then_some(Some(count as f64))
}

/// Compares a sum of billionths, divided by a count, without dividing.
#[expect(clippy::cast_precision_loss, reason = "told to people, compared exactly")]
fn amount(sum: i128, count: u64, threshold: &Threshold) -> Option<Measured> {
    let limit = |number: Number| match number {
        Number::Int(whole) => whole.clamp(-(1 << 63), 1 << 63) * BILLION,
        Number::Float(float) => billionths(float),
    };
    let holds = threshold.0.iter().all(|(operator, number)| {
        operator.holds(Number::Int(sum), Number::Int(limit(*number) * i128::from(count)))
    });
    holds.then_some(Some(sum as f64 / count as f64 / BILLION as f64))
}

/// A number in billionths, rounded, and cut at ±2^63.
#[expect(clippy::cast_possible_truncation, reason = "cut to what fits before")]
fn billionths(number: f64) -> i128 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    let number = number.clamp(-LIMIT, LIMIT);
    number.trunc() as i128 * BILLION + (number.fract() * 1e9).round() as i128
}

fn occurs(occurrence: &Occurrence, counts: &[u32]) -> bool {
    match occurrence {
        Occurrence::Member(member) => counts.get(*member).is_some_and(|count| *count > 0),
        Occurrence::All(parts) => parts.iter().all(|part| occurs(part, counts)),
        Occurrence::Any(parts) => parts.iter().any(|part| occurs(part, counts)),
        Occurrence::Not(part) => !occurs(part, counts),
    }
}

impl Ranks {
    fn new(percent: u8) -> Self {
        let percent = percent.min(100).into();
        Self { percent, low: BTreeMap::new(), low_count: 0, high: BTreeMap::new(), high_count: 0 }
    }

    fn enter(&mut self, number: i128) {
        if self.low.last_key_value().is_some_and(|(greatest, _)| number < *greatest) {
            *self.low.entry(number).or_default() += 1;
            self.low_count += 1;
        } else {
            *self.high.entry(number).or_default() += 1;
            self.high_count += 1;
        }
        self.balance();
    }

    fn leave(&mut self, number: i128) {
        if take(&mut self.low, number) {
            self.low_count -= 1;
        } else {
            take(&mut self.high, number);
            self.high_count -= 1;
        }
        self.balance();
    }

    /// The number of the nearest rank.
    fn value(&self) -> Option<i128> {
        self.low.last_key_value().map(|(number, _)| *number)
    }

    /// Moves numbers until `low` ends with the nearest rank: of n sorted ones that at the position of
    /// n × percent / 100, rounded up, at least the first.
    fn balance(&mut self) {
        let total = self.low_count + self.high_count;
        let rank = (total * self.percent).div_ceil(100).max(1).min(total);
        while self.low_count < rank {
            let Some(number) = self.high.first_key_value().map(|(number, _)| *number) else { return };
            take(&mut self.high, number);
            *self.low.entry(number).or_default() += 1;
            (self.low_count, self.high_count) = (self.low_count + 1, self.high_count - 1);
        }
        while self.low_count > rank {
            let Some(number) = self.low.last_key_value().map(|(number, _)| *number) else { return };
            take(&mut self.low, number);
            *self.high.entry(number).or_default() += 1;
            (self.low_count, self.high_count) = (self.low_count - 1, self.high_count + 1);
        }
    }
}

/// Takes one of a number out; whether there was one.
fn take(numbers: &mut BTreeMap<i128, u64>, number: i128) -> bool {
    let Some(count) = numbers.get_mut(&number) else { return false };
    *count -= 1;
    if *count == 0 {
        numbers.remove(&number);
    }
    true
}

impl Chain {
    fn new(members: usize) -> Self {
        Self { begins: vec![Moment::DAWN; members], last: vec![Moment::DAWN; members] }
    }

    /// Rows come in the order of time. Equal times count as either order: what a row begins or goes on with, rows of
    /// later members at the same time go on with, too.
    fn enter(&mut self, row: &Row) {
        let first = usize::from(row.member);
        self.last[first] = row.time;
        for member in first..self.begins.len() {
            if self.last[member] != row.time {
                break;
            }
            self.begins[member] = match member {
                0 => row.time,
                later => self.begins[later].max(self.begins[later - 1]),
            };
        }
    }

    fn holds(&self, end: Moment, span: Span) -> bool {
        self.begins.last().is_some_and(|begin| *begin > end.minus(span))
    }
}
