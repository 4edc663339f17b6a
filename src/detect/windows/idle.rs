//! Idle windows of a group, by when each row was ingested.

use std::collections::VecDeque;

use super::moment::{Ingested, Moment, Span};
use super::row::Row;

/// A sliding maximum: the latest ingestion of the rows in the window that ends at a time. Times are asked for in their order;
/// the rows that may still be the latest are kept in a queue, the latest ingested first.
#[derive(Debug)]
pub(super) struct Touched<'r> {
    rows: &'r [Row],
    span: Span,
    entered: usize,
    latest: VecDeque<usize>,
}

impl<'r> Touched<'r> {
    /// For times from this one on.
    pub(super) fn new(rows: &'r [Row], span: Span, from: Moment) -> Self {
        let begin = from.minus(span);
        let entered = rows.partition_point(|row| row.time <= begin);
        Self { rows, span, entered, latest: VecDeque::new() }
    }

    pub(super) fn at(&mut self, time: Moment) -> Ingested {
        let Self { rows, span, entered, latest } = self;
        while let Some(row) = rows.get(*entered).filter(|row| row.time <= time) {
            while latest.back().is_some_and(|last| rows[*last].ingested <= row.ingested) {
                latest.pop_back();
            }
            latest.push_back(*entered);
            *entered += 1;
        }
        let begin = time.minus(*span);
        while latest.front().is_some_and(|first| rows[*first].time <= begin) {
            latest.pop_front();
        }
        latest.front().map_or(Ingested::LONG_AGO, |first| rows[*first].ingested)
    }
}

/// Returns for each of the first rows if it is idle with all rows that it shares a window with.
pub(super) fn idle_rows(
    rows: &[Row],
    first: usize,
    span: Span,
    is_idle: impl Fn(Ingested) -> bool,
) -> Vec<bool> {
    let mut idle = vec![true; first];
    // Rows before this one are decided.
    let mut decided = 0;
    let mut begin = 0;
    for row in rows {
        while begin < first && rows[begin].time <= row.time.minus(span) {
            begin += 1;
        }
        if begin == first {
            break;
        }
        if is_idle(row.ingested) {
            continue;
        }
        let from = begin.max(decided);
        let end = rows[..first].partition_point(|other| other.time < row.time.plus(span)).max(from);
        idle[from..end].fill(false);
        decided = end;
    }
    idle
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::detect::windows::evidence::EventHash;

    fn at(second: i64) -> Ingested {
        Ingested::of(Timestamp::from_second(second).unwrap())
    }

    fn rows(times: &[(i64, i64)]) -> Vec<Row> {
        let row = |(time, ingested): &(i64, i64)| Row {
            time: Moment(*time),
            event: EventHash([0; 16]),
            value: 0,
            ingested: at(*ingested),
            member: 0,
            is_open: false,
        };
        let mut rows: Vec<Row> = times.iter().map(row).collect();
        rows.sort_by_key(|row| row.time);
        rows
    }

    proptest! {
        #[test]
        fn both_are_the_obvious_ones(
            times in proptest::collection::vec((0_i64..60, 0_i64..20), 0..40),
            micros in 1_i64..20,
            from in 0_i64..60,
            first in any::<prop::sample::Index>(),
            limit in 0_i64..20,
        ) {
            let rows = rows(&times);
            let span = Span::of(jiff::SignedDuration::from_micros(micros));
            let mut touched = Touched::new(&rows, span, Moment(from));
            for row in rows.iter().filter(|row| row.time >= Moment(from)) {
                let within = |other: &&Row| other.time > row.time.minus(span) && other.time <= row.time;
                let obvious = rows.iter().filter(within).map(|row| row.ingested).max();
                prop_assert_eq!(Some(touched.at(row.time)), obvious);
            }
            let first = first.index(rows.len() + 1);
            let is_idle = |ingested| ingested <= at(limit);
            let obvious: Vec<bool> = rows[..first].iter().map(|row| {
                let shares = |other: &&Row| other.time > row.time.minus(span) && other.time < row.time.plus(span);
                rows.iter().filter(shares).all(|other| is_idle(other.ingested))
            }).collect();
            prop_assert_eq!(idle_rows(&rows, first, span, is_idle), obvious);
        }
    }
}
