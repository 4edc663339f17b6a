//! One group of a correlation or grouping: its rows, the texts about some of them, the periods it has fired in.

use std::ops::Range;
use std::sync::Arc;

use super::ask::{Ask, WindowAsk};
use super::bytes::{Malformed, Reader, put_number};
use super::evidence::Values;
use super::finding::{Finding, FindingKind, LISTED, Listed};
use super::journal::{Hash, Key, moment, moment_bytes};
use super::moment::Moment;
use super::output::Output;
use super::row::Row;
use super::sweep::{Fire, Sweep, after};

/// Groups with fewer rows are counted anew each time: a counter would be larger than they are.
const WORTH_A_COUNTER: usize = 32;

#[derive(Debug)]
pub(super) struct Group {
    pub(super) values: Values,
    /// Sorted, none twice.
    pub(super) rows: Vec<Row>,
    /// When the watermark must have passed for something to be done; kept by the owner.
    pub(super) due: Moment,
    excerpts: Vec<Excerpt>,
    periods: Vec<Period>,
    sweep: Option<Box<Sweep>>,
}

#[derive(Debug)]
struct Excerpt {
    row: Row,
    text: Arc<str>,
}

/// A period in which a firing point was seen.
#[derive(Debug)]
struct Period {
    start: Moment,
    /// The earliest firing point seen.
    first: Moment,
    /// Rows since the beginning of that firing point's window.
    count: u64,
    /// The count that was told last.
    told: u64,
    settled: bool,
    dirty: bool,
}

/// What a group belongs to.
#[derive(Clone, Copy)]
pub(super) struct Owner<'o> {
    pub(super) ask: &'o Ask,
    pub(super) window: &'o WindowAsk,
    pub(super) hash: Hash,
    pub(super) watermark: Moment,
}

impl Group {
    pub(super) fn new(values: Values) -> Self {
        let (excerpts, periods) = (Vec::new(), Vec::new());
        Self { values, rows: Vec::new(), due: Moment(i64::MAX), excerpts, periods, sweep: None }
    }

    pub(super) fn is_done(&self) -> bool {
        self.rows.is_empty() && self.periods.is_empty()
    }

    pub(super) fn has(&self, row: &Row) -> bool {
        self.rows.binary_search(row).is_ok()
    }

    /// Puts in sorted rows that are not there yet, none twice.
    pub(super) fn insert(&mut self, news: &[Row], owner: Owner<'_>) {
        let Some(first) = news.first() else { return };
        let at = self.rows.partition_point(|row| row < first);
        if self.rows.is_empty() {
            // Most groups never have a second row.
            self.rows.reserve_exact(news.len());
        }
        self.rows.extend_from_slice(news);
        self.rows[at..].sort();
        for row in news {
            if self.sweep.as_mut().is_some_and(|sweep| !sweep.insert(row)) {
                self.sweep = None;
            }
            let counting = self.periods.iter_mut().filter(|period| period.counts(row, owner));
            counting.for_each(|period| (period.count, period.dirty) = (period.count + 1, true));
        }
    }

    /// Puts a text about a row in.
    pub(super) fn keep(&mut self, row: Row, text: Arc<str>) {
        let at = self.excerpts.partition_point(|excerpt| excerpt.row < row);
        self.excerpts.insert(at, Excerpt { row, text });
    }

    /// Drops the texts about more rows of a period than an alert lists: the oldest, but not the only one of a member.
    pub(super) fn trim(&mut self, owner: Owner<'_>, output: &mut Output) {
        let mut at = 0;
        while let Some(first) = self.excerpts.get(at) {
            let end = first.row.time.period(owner.ask.period).plus(owner.ask.period);
            let period = &self.excerpts[at..];
            let period = &period[..period.partition_point(|excerpt| excerpt.row.time < end)];
            if period.len() <= LISTED {
                at += period.len();
                continue;
            }
            let has_later = |place: usize| {
                let of = |excerpt: &Excerpt| excerpt.row.member;
                period[place + 1..].iter().any(|later| of(later) == of(&period[place]))
            };
            let place = (0..period.len()).find(|place| has_later(*place)).unwrap_or(0);
            self.drop_excerpt(at + place, owner, output);
        }
    }

    fn drop_excerpt(&mut self, at: usize, owner: Owner<'_>, output: &mut Output) {
        let excerpt = self.excerpts.remove(at);
        output.excerpt_bytes -= excerpt.text.len();
        output.journal.remove(&owner.ask.detection, Key::Excerpt(owner.hash, excerpt.row));
    }

    pub(super) fn excerpt_bytes(&self) -> usize {
        self.excerpts.iter().map(|excerpt| excerpt.text.len()).sum()
    }

    /// Looks at the firing points from `from` on and before `until`.
    pub(super) fn examine(&mut self, from: Moment, until: Moment, owner: Owner<'_>, output: &mut Output) {
        if owner.window.links.is_empty() && self.has_fired_throughout(from, until, owner) {
            return;
        }
        let (mut sweep, aside) = match self.sweep.take() {
            Some(sweep) if sweep.high <= from => (sweep, None),
            other => (Box::new(Sweep::new(owner.window, from.minus(owner.window.span))), other),
        };
        let fires = sweep.run(owner.window, &self.rows, from, until);
        let furthest = aside.into_iter().chain([sweep]).max_by_key(|sweep| sweep.high);
        self.sweep = furthest.filter(|_| self.rows.len() >= WORTH_A_COUNTER);
        for fire in fires {
            self.fire(&fire, owner, output);
        }
    }

    /// Whether nothing new can be seen there: every period has been told already.
    fn has_fired_throughout(&self, from: Moment, until: Moment, owner: Owner<'_>) -> bool {
        let Some(last) = self.rows.last() else { return true };
        let (mut start, end) = (from.period(owner.ask.period), until.previous().min(last.time));
        while start <= end {
            if !self.periods.iter().any(|period| period.start == start && period.first <= from.max(start)) {
                return false;
            }
            start = start.plus(owner.ask.period);
        }
        true
    }

    fn fire(&mut self, fire: &Fire, owner: Owner<'_>, output: &mut Output) {
        if !owner.window.links.is_empty() {
            let excerpt = |row: &Row| self.excerpt(row);
            self.rows[self.window(fire.time.previous(), fire.time)]
                .iter()
                .for_each(|row| output.fired(owner.hash, &self.values, row, excerpt(row)));
        }
        if !owner.window.alerts {
            return;
        }
        let start = fire.time.period(owner.ask.period);
        let begin = fire.time.minus(owner.window.span);
        let at = self.periods.partition_point(|period| period.start < start);
        match self.periods.get(at).filter(|period| period.start == start).map(|period| period.first) {
            Some(first) if first <= fire.time => {}
            Some(first) => {
                let more = self.window(begin, first.minus(owner.window.span)).len() as u64;
                let period = &mut self.periods[at];
                (period.first, period.count, period.dirty) = (fire.time, period.count + more, true);
            }
            None => {
                let count = self.window(begin, start.plus(owner.ask.period).previous()).len() as u64;
                let (first, told) = (fire.time, fire.count);
                self.periods.insert(at, Period { start, first, count, told, settled: false, dirty: true });
                output.findings.push(self.finding(fire, owner));
            }
        }
    }

    /// The rows later than `begin` and not later than `end`.
    fn window(&self, begin: Moment, end: Moment) -> Range<usize> {
        let end = after(&self.rows, end);
        after(&self.rows, begin).min(end)..end
    }

    fn finding(&self, fire: &Fire, owner: Owner<'_>) -> Finding {
        let begin = fire.time.minus(owner.window.span);
        let start = fire.time.period(owner.ask.period);
        Finding {
            detection: Arc::clone(&owner.ask.detection),
            kind: FindingKind::Window,
            revision: 1,
            names: owner.ask.names.clone(),
            values: self.values.clone(),
            period: start.time(),
            period_end: start.plus(owner.ask.period).time(),
            start: if owner.ask.correlates { begin.time() } else { start.time() },
            time: fire.time.time(),
            count: fire.count,
            measured: fire.measured,
            listed: self.listed(self.window(begin, fire.time), owner),
            late: fire.time < owner.watermark && !owner.is_settled_late(),
        }
    }

    /// The newest hits of a window, and of each member at least one.
    fn listed(&self, window: Range<usize>, owner: Owner<'_>) -> Vec<Listed> {
        let mut missing = owner.window.members.len();
        let mut has = vec![false; missing];
        let mut listed = Vec::new();
        for row in self.rows[window].iter().rev() {
            let is_first = !std::mem::replace(&mut has[usize::from(row.member)], true);
            missing -= usize::from(is_first);
            if is_first || listed.len() + missing < LISTED {
                listed.push(Listed {
                    time: row.time.time(),
                    event: row.event,
                    rule: Arc::clone(&owner.window.members[usize::from(row.member)]),
                    excerpt: self.excerpt(row),
                });
            }
            if missing == 0 && listed.len() >= LISTED {
                break;
            }
        }
        listed.reverse();
        listed
    }

    fn excerpt(&self, row: &Row) -> Option<Arc<str>> {
        let at = self.excerpts.binary_search_by(|excerpt| excerpt.row.cmp(row)).ok()?;
        Some(Arc::clone(&self.excerpts[at].text))
    }

    /// Has the last word on periods that end by the watermark, and forgets those that no firing point can fall
    /// into any more, and all rows up to `rows`.
    pub(super) fn settle(&mut self, rows: Moment, horizon: Moment, owner: Owner<'_>, output: &mut Output) {
        for at in 0..self.periods.len() {
            let end = self.periods[at].start.plus(owner.ask.period);
            if end <= owner.watermark && !self.periods[at].settled {
                self.last_word(at, end, owner, output);
            }
        }
        self.periods.retain(|period| {
            let keep = period.start.plus(owner.ask.period) > horizon;
            if !keep {
                output.journal.remove(&owner.ask.detection, Key::Period(owner.hash, period.start));
            }
            keep
        });
        self.forget(after(&self.rows, rows), rows, owner, output);
    }

    fn last_word(&mut self, at: usize, end: Moment, owner: Owner<'_>, output: &mut Output) {
        let Period { first, count, told, .. } = self.periods[at];
        if count != told {
            let fire = Fire { time: first, count, measured: None };
            let counted = self.window(first.minus(owner.window.span), end.previous());
            let listed = self.listed(counted, owner);
            output.findings.push(Finding { revision: 2, listed, ..self.finding(&fire, owner) });
        }
        let period = &mut self.periods[at];
        (period.told, period.settled, period.dirty) = (count, true, true);
    }

    /// Drops the first rows; `to` is not before the last of them and before the first that stays.
    pub(super) fn forget(&mut self, count: usize, to: Moment, owner: Owner<'_>, output: &mut Output) {
        if count == 0 {
            return;
        }
        if let Some(sweep) = &mut self.sweep {
            sweep.forget(&self.rows[..count], to);
        }
        let last = self.rows[count - 1];
        while self.excerpts.first().is_some_and(|excerpt| excerpt.row <= last) {
            self.drop_excerpt(0, owner, output);
        }
        for row in self.rows.drain(..count) {
            output.journal.remove(&owner.ask.detection, Key::Row(owner.hash, row));
        }
    }

    /// Writes down the periods that have changed.
    pub(super) fn note(&mut self, owner: Owner<'_>, output: &mut Output) {
        for period in self.periods.iter_mut().filter(|period| period.dirty) {
            period.dirty = false;
            let key = Key::Period(owner.hash, period.start);
            output.journal.write(&owner.ask.detection, key, || period.bytes());
        }
    }

    /// When the watermark must have passed for something to be done: `unsettled` is the first row that may still
    /// fire, `rows` and `periods` say how long both are kept.
    pub(super) fn next_due(&self, unsettled: Option<Moment>, keep: super::store::Keep, ask: &Ask) -> Moment {
        let end = |period: &Period| period.start.plus(ask.period).previous();
        let open = self.periods.iter().filter(|period| !period.settled).map(end).min();
        let rows = self.rows.last().map(|row| row.time.plus(keep.rows).previous());
        let periods = self.periods.last().map(|period| end(period).plus(keep.periods));
        let idle = rows.max(periods).unwrap_or(Moment::DAWN);
        [unsettled, open].into_iter().flatten().fold(idle, Moment::min)
    }

    pub(super) fn restore_row(&mut self, row: Row) {
        self.rows.push(row);
    }

    pub(super) fn restore_period(&mut self, start: Moment, bytes: &[u8]) -> Result<(), Malformed> {
        let period = Period::read(start, bytes)?;
        let at = self.periods.partition_point(|period| period.start < start);
        self.periods.insert(at, period);
        Ok(())
    }
}

impl Owner<'_> {
    /// Whether its firing points are looked at only behind the watermark.
    fn is_settled_late(&self) -> bool {
        !self.window.measure.is_monotone()
    }
}

impl Period {
    fn counts(&self, row: &Row, owner: Owner<'_>) -> bool {
        row.time > self.first.minus(owner.window.span) && row.time < self.start.plus(owner.ask.period)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = moment_bytes(self.first);
        [self.count, self.told, self.settled.into()]
            .into_iter()
            .for_each(|number| put_number(number, &mut bytes));
        bytes
    }

    fn read(start: Moment, bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        Ok(Self {
            start,
            first: moment(&mut reader)?,
            count: reader.number()?,
            told: reader.number()?,
            settled: reader.number()? == 1,
            dirty: false,
        })
    }
}
