//! A sweep moves the end of a window through the rows of a group, in the order of time.

use super::ask::WindowAsk;
use super::counter::{Counter, Measured};
use super::moment::Moment;
use super::row::Row;

/// A window on its way: the rows later than `low` and not later than `high` have entered its counter.
#[derive(Debug)]
pub(super) struct Sweep {
    pub(super) high: Moment,
    low: Moment,
    counter: Counter,
}

/// A time at which the window meets the condition.
#[derive(Debug)]
pub(super) struct Fire {
    pub(super) time: Moment,
    /// How many rows the window has.
    pub(super) count: u64,
    pub(super) measured: Measured,
}

impl Sweep {
    /// A window that ends here and has no row.
    pub(super) fn new(ask: &WindowAsk, at: Moment) -> Self {
        Self { high: at, low: at, counter: Counter::new(&ask.measure, ask.members.len()) }
    }

    /// Tells every time of a row from `from` on and before `until` at which the window meets the condition. `from`
    /// is not before the window's end.
    pub(super) fn run(&mut self, ask: &WindowAsk, rows: &[Row], from: Moment, until: Moment) -> Vec<Fire> {
        let mut left = after(rows, self.low);
        let mut entered = after(rows, self.high);
        let next = rows.partition_point(|row| row.time < from);
        let times = rows[next..].chunk_by(|one, other| one.time == other.time).map(|rows| rows[0].time);
        let mut fires = Vec::new();
        for time in times.take_while(|time| *time < until) {
            let begin = time.minus(ask.span);
            if begin >= self.high {
                *self = Self::new(ask, begin);
                left = after(rows, begin);
                entered = left;
            }
            while let Some(row) = rows.get(entered).filter(|row| row.time <= time) {
                self.counter.enter(row);
                entered += 1;
            }
            while let Some(row) = rows[left..entered].first().filter(|row| row.time <= begin) {
                self.counter.leave(row);
                left += 1;
            }
            (self.low, self.high) = (self.low.max(begin), time);
            if let Some(measured) = self.counter.holds(&ask.measure, time, ask.span) {
                fires.push(Fire { time, count: self.counter.rows(), measured });
            }
        }
        fires
    }

    /// A row was put in; whether the sweep can go on. It cannot where the order of time counts.
    pub(super) fn insert(&mut self, row: &Row) -> bool {
        if row.time <= self.low || row.time > self.high {
            return true;
        }
        self.counter.enter(row);
        self.counter.takes_any_order() || row.time == self.high
    }

    /// These first rows are about to go, all up to `to`.
    pub(super) fn forget(&mut self, rows: &[Row], to: Moment) {
        rows.iter()
            .filter(|row| row.time > self.low && row.time <= self.high)
            .for_each(|row| self.counter.leave(row));
        self.low = self.low.max(to);
        self.high = self.high.max(to);
    }
}

/// The position of the first row later than this.
pub(super) fn after(rows: &[Row], time: Moment) -> usize {
    rows.partition_point(|row| row.time <= time)
}
