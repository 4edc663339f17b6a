//! All groups of one correlation or grouping, and when something is to be done about them.

use std::collections::{BTreeSet, HashMap};

use super::ask::{Ask, WindowAsk};
use super::bytes::Malformed;
use super::evidence::Values;
use super::group::{Group, Owner};
use super::journal::{Hash, Key};
use super::moment::{Moment, Span};
use super::output::{Arrival, Output};
use super::row::Row;

/// The windows of one detection.
#[derive(Debug, Default)]
pub(super) struct Windows {
    groups: HashMap<Hash, Box<Group>, foldhash::fast::RandomState>,
    /// Every group, by a moment not after the one when it is due.
    agenda: BTreeSet<(Moment, Hash)>,
    rows: usize,
}

/// How long things are kept behind the watermark.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keep {
    pub(super) rows: Span,
    pub(super) periods: Span,
}

/// A detection and the watermarks before and after a step.
#[derive(Clone, Copy)]
pub(super) struct Turn<'t> {
    pub(super) ask: &'t Ask,
    pub(super) window: &'t WindowAsk,
    pub(super) before: Moment,
    pub(super) after: Moment,
}

impl Turn<'_> {
    fn owner(&self, hash: Hash, watermark: Moment) -> Owner<'_> {
        Owner { ask: self.ask, window: self.window, hash, watermark }
    }

    fn is_monotone(&self) -> bool {
        self.window.measure.is_monotone()
    }

    /// Rows before this are too late, and no firing point before it is looked at.
    fn horizon(&self, watermark: Moment) -> Moment {
        if self.is_monotone() { watermark.minus(Span::DAY) } else { watermark }
    }

    fn keep(&self) -> Keep {
        let periods = if self.is_monotone() { Span::DAY } else { Span::INSTANT };
        Keep { rows: self.window.span.plus(periods), periods }
    }
}

impl Windows {
    /// Takes what has arrived, and settles what the watermark has passed.
    pub(super) fn step(&mut self, mut arrivals: Vec<Arrival>, turn: Turn<'_>, output: &mut Output) {
        arrivals.sort_by_key(|arrival| (arrival.group, arrival.row));
        arrivals
            .chunk_by_mut(|one, other| one.group == other.group)
            .for_each(|arrivals| self.take(arrivals, turn, output));
        if turn.after > turn.before {
            self.settle(turn, output);
        }
    }

    /// Takes the arrivals of one group.
    fn take(&mut self, arrivals: &mut [Arrival], turn: Turn<'_>, output: &mut Output) {
        let hash = arrivals[0].group;
        let owner = turn.owner(hash, turn.before);
        let known = self.groups.remove(&hash);
        let is_known = known.is_some();
        let mut group = known.unwrap_or_else(|| Box::new(Group::new(Values::default())));
        let news = sift(&group, arrivals, turn.horizon(turn.before), output);
        if !news.is_empty() {
            if !is_known {
                group.values = std::mem::take(&mut arrivals[0].values);
                let values = || group.values.as_bytes().to_vec();
                output.journal.write(&turn.ask.detection, Key::GroupValues(hash), values);
            }
            group.insert(&news, owner);
            self.rows += news.len();
            keep_excerpts(&mut group, &news, arrivals, owner, output);
            for row in &news {
                output.journal.write(&turn.ask.detection, Key::Row(hash, *row), Vec::new);
            }
            if turn.is_monotone() {
                examine_around(&mut group, &news, owner, output);
            }
            group.trim(owner, output);
            group.note(owner, output);
            self.schedule(hash, &mut group, turn, turn.before);
        }
        if is_known || !news.is_empty() {
            self.groups.insert(hash, group);
        }
    }

    /// Notes when the group is due, if that is earlier than noted.
    fn schedule(&mut self, hash: Hash, group: &mut Group, turn: Turn<'_>, watermark: Moment) {
        let first = group.rows.partition_point(|row| row.time < watermark);
        let unsettled = group.rows.get(first).filter(|_| !turn.is_monotone()).map(|row| row.time);
        let due = group.next_due(unsettled, turn.keep(), turn.ask);
        if due < group.due {
            self.agenda.remove(&(group.due, hash));
            self.agenda.insert((due, hash));
            group.due = due;
        }
    }

    fn settle(&mut self, turn: Turn<'_>, output: &mut Output) {
        while let Some(&(due, hash)) = self.agenda.first().filter(|(due, _)| *due < turn.after) {
            self.agenda.remove(&(due, hash));
            let Some(mut group) = self.groups.remove(&hash) else { continue };
            group.due = Moment(i64::MAX);
            self.settle_group(hash, &mut group, turn, output);
            if group.is_done() {
                output.journal.remove(&turn.ask.detection, Key::Group(hash));
            } else {
                self.schedule(hash, &mut group, turn, turn.after);
                self.groups.insert(hash, group);
            }
        }
    }

    fn settle_group(&mut self, hash: Hash, group: &mut Group, turn: Turn<'_>, output: &mut Output) {
        let owner = turn.owner(hash, turn.after);
        if !turn.is_monotone() {
            group.examine(turn.before, turn.after, owner, output);
        }
        let rows = group.rows.len();
        let horizon = turn.horizon(turn.after);
        group.settle(horizon.minus(turn.window.span), horizon, owner, output);
        self.rows -= rows - group.rows.len();
        group.note(owner, output);
    }

    pub(super) fn groups(&self) -> usize {
        self.groups.len()
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn excerpt_bytes(&self) -> usize {
        self.groups.values().map(|group| group.excerpt_bytes()).sum()
    }

    /// When the group that is due first is due.
    pub(super) fn first_due(&self) -> Option<Moment> {
        self.agenda.first().map(|(due, _)| *due)
    }

    /// Drops the group that is due first.
    pub(super) fn evict(&mut self, ask: &Ask, output: &mut Output) {
        let Some((_, hash)) = self.agenda.pop_first() else { return };
        let Some(group) = self.groups.remove(&hash) else { return };
        output.tally.evicted_groups += 1;
        output.tally.evicted_rows += group.rows.len() as u64;
        output.excerpt_bytes -= group.excerpt_bytes();
        output.journal.remove(&ask.detection, Key::Group(hash));
        self.rows -= group.rows.len();
    }

    /// Puts a stored row back; [`Windows::restored`] follows once all are in.
    pub(super) fn restore(&mut self, key: Key, value: &[u8], output: &mut Output) -> Result<(), Malformed> {
        match key {
            Key::GroupValues(group) => self.restoring(group).values = Values::read(value)?,
            Key::Row(group, row) => {
                self.restoring(group).restore_row(row);
                self.rows += 1;
            }
            Key::Excerpt(group, row) => {
                let text = std::str::from_utf8(value).map_err(|_| Malformed)?;
                output.excerpt_bytes += text.len();
                self.restoring(group).keep(row, text.into());
            }
            Key::Period(group, start) => self.restoring(group).restore_period(start, value)?,
            _ => return Err(Malformed),
        }
        Ok(())
    }

    fn restoring(&mut self, group: Hash) -> &mut Group {
        self.groups.entry(group).or_insert_with(|| Box::new(Group::new(Values::default())))
    }

    pub(super) fn restored(&mut self, turn: Turn<'_>) {
        let mut hashes: Vec<Hash> = self.groups.keys().copied().collect();
        hashes.sort_unstable();
        for hash in hashes {
            let Some(mut group) = self.groups.remove(&hash) else { continue };
            group.rows.sort_unstable();
            self.schedule(hash, &mut group, turn, turn.after);
            self.groups.insert(hash, group);
        }
    }
}

/// The rows that are new, sorted; the others are counted.
fn sift(group: &Group, arrivals: &[Arrival], horizon: Moment, output: &mut Output) -> Vec<Row> {
    let mut news: Vec<Row> = Vec::new();
    for Arrival { row, .. } in arrivals {
        if news.last() == Some(row) || group.has(row) {
            output.tally.duplicate += 1;
        } else if row.time < horizon {
            output.tally.too_late += 1;
        } else {
            news.push(*row);
        }
    }
    news
}

/// Keeps the texts about new rows while there is room for them.
fn keep_excerpts(
    group: &mut Group,
    news: &[Row],
    arrivals: &mut [Arrival],
    owner: Owner<'_>,
    output: &mut Output,
) {
    let mut news = news.iter().peekable();
    for arrival in arrivals {
        if news.next_if_eq(&&arrival.row).is_none() {
            continue;
        }
        let Some(text) = arrival.excerpt.take() else { continue };
        if output.excerpt_bytes + text.len() > output.bounds.excerpt_bytes {
            output.tally.excerpts_without_room += 1;
            continue;
        }
        output.excerpt_bytes += text.len();
        let key = Key::Excerpt(owner.hash, arrival.row);
        output.journal.write(&owner.ask.detection, key, || text.as_bytes().to_vec());
        group.keep(arrival.row, text);
    }
}

/// Looks at every firing point whose window has one of the rows.
fn examine_around(group: &mut Group, news: &[Row], owner: Owner<'_>, output: &mut Output) {
    let span = owner.window.span;
    let joined = news.chunk_by(|one, other| other.time <= one.time.plus(span));
    for run in joined {
        let (first, last) = (run[0].time, run[run.len() - 1].time);
        group.examine(first, last.plus(span), owner, output);
    }
}
