//! One group of a correlation or grouping: its rows, the texts about some of them, the periods it has fired in.

use std::ops::Range;
use std::sync::Arc;

use jiff::SignedDuration;

use super::ask::{Ask, WindowAsk};
use super::bytes::{Malformed, Reader, put_number};
use super::evidence::Values;
use super::finding::{Finding, FindingKind, LISTED, Listed};
use super::idle::{Touched, idle_rows};
use super::journal::{Hash, Key, moment, moment_bytes};
use super::moment::{Ingested, Moment};
use super::output::Output;
use super::progress::Times;
use super::row::Row;
use super::schedule::DueTimes;
use super::sweep::{Fire, Sweep, after};

/// Groups with fewer rows are counted anew each time: a counter would be larger than they are.
const WORTH_A_COUNTER: usize = 32;
/// Into how many parts the time is divided after which rows are forgotten: a part later than they could be, they are.
const FORGET_PARTS: u32 = 24;
/// Bytes that a group takes up without rows and values, places in maps and the allocator's share included.
const GROUP_BYTES: usize = 320;

#[derive(Debug)]
pub(super) struct Group {
    pub(super) values: Values,
    /// Sorted, none twice.
    pub(super) rows: Vec<Row>,
    /// When something is to be done; kept by the owner.
    pub(super) due: DueTimes,
    excerpts: Vec<Excerpt>,
    periods: Vec<Period>,
    sweep: Option<Box<Sweep>>,
    /// The time of the first open row; the end of time if there is none.
    first_open: Moment,
    /// When the last new row came.
    touched: Ingested,
    /// The next time at which it is worth while to look for rows that can be forgotten.
    forgets: Ingested,
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
    /// The count that was reported last, and its revision.
    told: u64,
    revision: u32,
    /// When the last row came that counts.
    touched: Ingested,
    settled: bool,
    dirty: bool,
}

/// What a group belongs to.
#[derive(Clone, Copy)]
pub(super) struct Owner<'o> {
    pub(super) ask: &'o Ask,
    pub(super) window: &'o WindowAsk,
    pub(super) hash: Hash,
    /// The watermark, by which windows and periods are over.
    pub(super) watermark: Moment,
    pub(super) clock: Times,
}

impl Group {
    pub(super) fn new(values: Values) -> Self {
        Self {
            values,
            rows: Vec::new(),
            due: DueTimes::NEVER,
            excerpts: Vec::new(),
            periods: Vec::new(),
            sweep: None,
            first_open: Moment::END,
            touched: Ingested::LONG_AGO,
            forgets: Ingested::LONG_AGO,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.rows.is_empty() && self.periods.is_empty()
    }

    /// The time of the first row whose window is open; the end of time if there is none.
    pub(super) fn first_open(&self) -> Moment {
        self.first_open
    }

    /// Bytes that it takes up, without texts about events, about.
    pub(super) fn bytes(&self) -> usize {
        let rows = self.rows.len() * size_of::<Row>() + self.periods.len() * size_of::<Period>();
        GROUP_BYTES + self.values.as_bytes().len() + rows
    }

    /// Returns true if the row is there already. One that comes again after its window was idle has come for that window: what
    /// comes with it must find it there.
    pub(super) fn meets_again(&mut self, row: &Row, owner: Owner<'_>, output: &mut Output) -> bool {
        let Ok(at) = self.rows.binary_search(row) else { return false };
        let now = owner.clock.now;
        let row = &mut self.rows[at];
        if row.ingested < now && owner.clock.settles(row.ingested) <= now {
            row.ingested = now;
            owner.write(row, output);
            let row = *row;
            self.touched = self.touched.max(now);
            let counting = self.periods.iter_mut().filter(|period| period.counts(&row, owner));
            counting.for_each(|period| period.touched = now);
        }
        true
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
        self.touched = self.touched.max(owner.clock.now);
        for row in news {
            if self.sweep.as_mut().is_some_and(|sweep| !sweep.insert(row)) {
                self.sweep = None;
            }
            let from =
                self.periods.partition_point(|period| period.start <= row.time.minus(owner.ask.period));
            let near = self.periods[from..]
                .iter_mut()
                .take_while(|period| period.start < row.time.plus(owner.window.span));
            for period in near.filter(|period| period.counts(row, owner)) {
                (period.count, period.touched) = (period.count + 1, owner.clock.now);
                (period.settled, period.dirty) = (false, true);
            }
        }
    }

    /// Opens the windows that sorted rows have come into.
    pub(super) fn reopen(&mut self, rows: &[Row], owner: Owner<'_>, output: &mut Output) {
        let Some(first) = rows.first() else { return };
        self.first_open = self.first_open.min(first.time);
        let mut reached = 0;
        for row in rows {
            let from = self.rows.partition_point(|other| other.time < row.time).max(reached);
            let until = self.rows.partition_point(|other| other.time < row.time.plus(owner.window.span));
            for row in self.rows[from..until.max(from)].iter_mut().filter(|row| !row.is_open) {
                row.is_open = true;
                owner.write(row, output);
            }
            reached = until;
        }
    }

    /// Puts a text about a row in.
    pub(super) fn keep(&mut self, row: Row, text: Arc<str>) {
        let at = self.excerpts.partition_point(|excerpt| excerpt.row < row);
        self.excerpts.insert(at, Excerpt { row, text });
    }

    /// Drops the texts about more rows of a period than an alert lists, where rows have come: the oldest, but not the only one
    /// of a member.
    pub(super) fn trim(&mut self, rows: &[Row], owner: Owner<'_>, output: &mut Output) {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return };
        let begin = first.time.period(owner.ask.period);
        let mut at = self.excerpts.partition_point(|excerpt| excerpt.row.time < begin);
        while let Some(first) = self.excerpts.get(at).filter(|excerpt| excerpt.row.time <= last.time) {
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
            let place = self.periods.binary_search_by_key(&start, |period| period.start);
            if !place.is_ok_and(|place| self.periods[place].first <= from.max(start)) {
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
                (period.first, period.count) = (fire.time, period.count + more);
                (period.touched, period.settled, period.dirty) = (self.touched, false, true);
            }
            None => {
                let count = self.window(begin, start.plus(owner.ask.period).previous()).len() as u64;
                let (first, told, touched) = (fire.time, fire.count, self.touched);
                let period =
                    Period { start, first, count, told, revision: 1, touched, settled: false, dirty: true };
                self.periods.insert(at, period);
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
            delay: if owner.is_monotone() { SignedDuration::ZERO } else { owner.settling() },
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

    /// Settles what the watermark has passed and nothing came into for long enough, and forgets what was idle for longer.
    /// Answers with when the first of the open windows behind the watermark may be settled.
    pub(super) fn settle(&mut self, owner: Owner<'_>, output: &mut Output) -> Ingested {
        self.not_before_its_time(owner.clock.now);
        let waiting = self.settle_windows(owner, output);
        for at in 0..self.periods.len() {
            let Period { start, settled, touched, .. } = self.periods[at];
            let end = start.plus(owner.ask.period);
            if end <= owner.watermark && !settled && owner.clock.is_settled(touched) {
                self.last_word(at, end, owner, output);
            }
        }
        self.periods.retain(|period| {
            let is_over = period.settled && owner.clock.is_forgotten(period.touched);
            if is_over {
                output.journal.remove(&owner.ask.detection, Key::Period(owner.hash, period.start));
            }
            !is_over
        });
        self.forget(owner, output);
        self.note(owner, output);
        waiting
    }

    /// A clock that was set back makes nothing wait until it is there again.
    fn not_before_its_time(&mut self, now: Ingested) {
        if self.touched > now && now > Ingested::LONG_AGO {
            self.touched = now;
            self.rows.iter_mut().for_each(|row| row.ingested = row.ingested.min(now));
            self.periods.iter_mut().for_each(|period| period.touched = period.touched.min(now));
        }
    }

    fn settle_windows(&mut self, owner: Owner<'_>, output: &mut Output) -> Ingested {
        let from = self.rows.partition_point(|row| row.time < self.first_open);
        let until = self.rows.partition_point(|row| row.time < owner.watermark);
        let mut waiting = Ingested::NEVER;
        let mut touched = Touched::new(&self.rows, owner.window.span, self.first_open);
        let mut ready: Vec<Range<usize>> = Vec::new();
        let mut at = from;
        while at < until {
            let time = self.rows[at].time;
            let end = at + self.rows[at..].partition_point(|row| row.time == time);
            if self.rows[at..end].iter().any(|row| row.is_open) {
                let due = owner.clock.settles(touched.at(time));
                if due > owner.clock.caught_up {
                    waiting = waiting.min(due);
                } else if let Some(last) = ready.last_mut().filter(|last| last.end == at) {
                    last.end = end;
                } else {
                    ready.push(at..end);
                }
            }
            at = end;
        }
        for run in ready {
            let (first, last) = (self.rows[run.start].time, self.rows[run.end - 1].time);
            for row in &mut self.rows[run] {
                row.is_open = false;
                owner.write(row, output);
            }
            self.examine(first, last.next(), owner, output);
        }
        let open = self.rows[from..].iter().find(|row| row.is_open);
        self.first_open = open.map_or(Moment::END, |row| row.time);
        waiting
    }

    fn last_word(&mut self, at: usize, end: Moment, owner: Owner<'_>, output: &mut Output) {
        let Period { first, count, told, revision, .. } = self.periods[at];
        if count != told {
            let fire = Fire { time: first, count, measured: None };
            let counted = self.window(first.minus(owner.window.span), end.previous());
            let listed = self.listed(counted, owner);
            let delay = end.time().duration_since(first.time()) + owner.settling();
            let revision = revision + 1;
            output.findings.push(Finding { revision, listed, delay, ..self.finding(&fire, owner) });
            self.periods[at].revision = revision;
        }
        let period = &mut self.periods[at];
        (period.told, period.settled, period.dirty) = (count, true, true);
    }

    /// Drops the rows all windows of which are behind the watermark and have been idle for long enough, and so have the
    /// periods that count them.
    fn forget(&mut self, owner: Owner<'_>, output: &mut Output) {
        let clock = owner.clock;
        let passed = after(&self.rows, owner.watermark.minus(owner.window.span));
        let is_time = clock.caught_up >= self.forgets || clock.is_forgotten(self.touched);
        if passed == 0 || !is_time {
            return;
        }
        self.forgets = clock.caught_up.plus(clock.idle.forget / FORGET_PARTS);
        let reach = owner.window.span.plus(owner.ask.period);
        let is_idle = idle_rows(&self.rows, passed, reach, |touched| clock.is_forgotten(touched));
        let first = is_idle.iter().take_while(|idle| **idle).count();
        if is_idle[first..].contains(&true) {
            self.sweep = None;
        } else if first == 0 {
            return;
        } else if let Some(sweep) = &mut self.sweep {
            sweep.forget(&self.rows[..first], self.rows[first - 1].time);
        }
        for at in (0..self.excerpts.len()).rev() {
            let place = self.rows[..passed].binary_search(&self.excerpts[at].row);
            if place.is_ok_and(|place| is_idle[place]) {
                self.drop_excerpt(at, owner, output);
            }
        }
        let mut idle = is_idle.into_iter();
        self.rows.retain(|row| {
            let is_idle = idle.next().unwrap_or(false);
            if is_idle {
                output.journal.remove(&owner.ask.detection, Key::Row(owner.hash, *row));
            }
            !is_idle
        });
    }

    /// Writes down the periods that have changed.
    pub(super) fn note(&mut self, owner: Owner<'_>, output: &mut Output) {
        for period in self.periods.iter_mut().filter(|period| period.dirty) {
            period.dirty = false;
            let key = Key::Period(owner.hash, period.start);
            output.journal.write(&owner.ask.detection, key, || period.bytes());
        }
    }

    /// Returns the times at which something is to be done, after rows have come.
    pub(super) fn due_after_news(&self, owner: Owner<'_>) -> DueTimes {
        let is_behind = self.first_open < owner.watermark;
        let waiting = if is_behind { owner.clock.settles(owner.clock.now) } else { Ingested::NEVER };
        self.due(waiting, owner)
    }

    /// Returns the times at which something is to be done; `waiting` is when the first of the open windows behind the watermark
    /// may be settled.
    pub(super) fn due(&self, waiting: Ingested, owner: Owner<'_>) -> DueTimes {
        let Owner { watermark, clock, .. } = owner;
        let mut due = DueTimes { settle: waiting, ..DueTimes::NEVER };
        if self.first_open != Moment::END {
            let ahead = &self.rows[self.rows.partition_point(|row| row.time < watermark)..];
            due.event = ahead.iter().find(|row| row.is_open).map_or(Moment::END, |row| row.time);
        }
        for period in self.periods.iter().filter(|period| !period.settled) {
            let end = period.start.plus(owner.ask.period).previous();
            if end < watermark {
                due.settle = due.settle.min(clock.settles(period.touched));
            } else {
                due.event = due.event.min(end);
            }
        }
        let over = |row: &Row| row.time.plus(owner.window.span).previous();
        let ends = self.periods.last().map(|period| period.start.plus(owner.ask.period).previous());
        let rest = self.rows.last().map(over).max(ends).unwrap_or(Moment::DAWN);
        let forgotten = clock.forgets(self.touched);
        if rest >= watermark {
            due.event = due.event.min(rest);
            let is_partly_over = self.rows.first().is_some_and(|row| over(row) < watermark);
            if is_partly_over && forgotten > clock.caught_up {
                due.settle = due.settle.min(forgotten);
            }
        } else if due == DueTimes::NEVER {
            due.forget = forgotten;
        }
        due
    }

    pub(super) fn restore_row(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// All rows and periods were put back.
    pub(super) fn restored(&mut self, owner: Owner<'_>) {
        self.rows.sort_unstable();
        let latest = |rows: &[Row]| rows.iter().map(|row| row.ingested).max().unwrap_or_default();
        self.touched = latest(&self.rows);
        for at in 0..self.periods.len() {
            let Period { start, first, .. } = self.periods[at];
            let end = start.plus(owner.ask.period).previous();
            self.periods[at].touched = latest(&self.rows[self.window(first.minus(owner.window.span), end)]);
        }
        for row in &mut self.rows {
            // Rows of an earlier form say only that they are there.
            let is_old = row.ingested == Ingested::LONG_AGO && row.time >= owner.watermark;
            row.is_open = !owner.is_monotone() && (row.is_open || is_old);
        }
        let open = self.rows.iter().find(|row| row.is_open);
        self.first_open = open.map_or(Moment::END, |row| row.time);
    }

    pub(super) fn restore_period(&mut self, start: Moment, bytes: &[u8]) -> Result<(), Malformed> {
        let period = Period::read(start, bytes)?;
        let at = self.periods.partition_point(|period| period.start < start);
        self.periods.insert(at, period);
        Ok(())
    }
}

impl Owner<'_> {
    /// Writes a row down as it is now.
    pub(super) fn write(&self, row: &Row, output: &mut Output) {
        output.journal.write(&self.ask.detection, Key::Row(self.hash, *row), || row.bytes());
    }

    /// Returns true if more evidence can never end what holds; then firing points are looked at once.
    pub(super) fn is_monotone(&self) -> bool {
        self.window.measure.is_monotone()
    }

    /// Returns the time from a window's end until it is settled, if nothing is late.
    fn settling(&self) -> SignedDuration {
        self.clock.settling()
    }
}

impl Period {
    fn counts(&self, row: &Row, owner: Owner<'_>) -> bool {
        row.time > self.first.minus(owner.window.span) && row.time < self.start.plus(owner.ask.period)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = moment_bytes(self.first);
        [self.count, self.told, self.settled.into(), self.revision.into()]
            .into_iter()
            .for_each(|number| put_number(number, &mut bytes));
        bytes
    }

    fn read(start: Moment, bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        let (first, count, told) = (moment(&mut reader)?, reader.number()?, reader.number()?);
        let settled = reader.number()? == 1;
        // Rows without a revision had the second one when their period was settled.
        let revision = if reader.0.is_empty() { 1 + u64::from(settled) } else { reader.number()? };
        let revision = u32::try_from(revision).map_err(|_| Malformed)?;
        let touched = Ingested::LONG_AGO;
        Ok(Self { start, first, count, told, revision, touched, settled, dirty: false })
    }
}
