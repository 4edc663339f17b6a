//! All groups of one correlation or grouping, and when something is to be done about them.

use std::collections::{BTreeSet, HashMap};

use super::ask::{Ask, WindowAsk};
use super::bytes::Malformed;
use super::evidence::Values;
use super::group::{Group, Owner};
use super::journal::{Hash, Key};
use super::moment::{Ingested, Moment};
use super::output::{Arrival, Output};
use super::progress::Times;
use super::row::Row;
use super::schedule::{DueTimes, Schedule};

/// The windows of one detection.
#[derive(Debug, Default)]
pub(super) struct Windows {
    groups: HashMap<Hash, Box<Group>, foldhash::fast::RandomState>,
    schedule: Schedule,
    /// The first open window of each group that has one: those who see the firing points wait for it.
    open: BTreeSet<(Moment, Hash)>,
    rows: usize,
    /// Bytes of all groups with their rows, about.
    bytes: usize,
}

/// A detection and the times of a step.
#[derive(Clone, Copy)]
pub(super) struct Turn<'t> {
    pub(super) ask: &'t Ask,
    pub(super) window: &'t WindowAsk,
    pub(super) clock: Times,
    /// The watermark, held back to the first open window of the correlations whose firing points are seen here.
    pub(super) watermark: Moment,
}

impl Turn<'_> {
    fn owner(&self, hash: Hash, watermark: Moment) -> Owner<'_> {
        let Turn { ask, window, clock, .. } = *self;
        Owner { ask, window, hash, watermark, clock }
    }

    fn is_monotone(&self) -> bool {
        self.window.measure.is_monotone()
    }
}

impl Windows {
    /// Takes what has arrived, and settles what the watermark has passed and nothing came into for long enough.
    pub(super) fn step(&mut self, mut arrivals: Vec<Arrival>, turn: Turn<'_>, output: &mut Output) {
        arrivals.sort_by_key(|arrival| (arrival.group, arrival.row));
        arrivals
            .chunk_by_mut(|one, other| one.group == other.group)
            .for_each(|arrivals| self.take(arrivals, turn, output));
        self.settle(turn, output);
    }

    /// Takes the arrivals of one group.
    fn take(&mut self, arrivals: &mut [Arrival], turn: Turn<'_>, output: &mut Output) {
        let hash = arrivals[0].group;
        let owner = turn.owner(hash, turn.clock.before);
        let known = self.groups.remove(&hash);
        let (is_known, bytes) = (known.is_some(), known.as_ref().map_or(0, |group| group.bytes()));
        let mut group = known.unwrap_or_else(|| Box::new(Group::new(Values::default())));
        let news = sift(&mut group, arrivals, owner, output);
        // Who sees the firing points may have forgotten what comes again here.
        let is_seen = !turn.window.links.is_empty();
        let affected =
            if is_seen { arrivals.iter().map(|arrival| arrival.row).collect() } else { news.clone() };
        if !affected.is_empty() {
            if !is_known {
                group.values = std::mem::take(&mut arrivals[0].values);
                let values = || group.values.as_bytes().to_vec();
                output.journal.write(&turn.ask.detection, Key::GroupValues(hash), values);
            }
            let first_open = group.first_open();
            group.insert(&news, owner);
            self.rows += news.len();
            keep_excerpts(&mut group, &news, arrivals, owner, output);
            for row in &news {
                owner.write(row, output);
            }
            if turn.is_monotone() {
                examine_around(&mut group, &affected, owner, output);
            } else {
                group.reopen(&affected, owner, output);
            }
            group.trim(&affected, owner, output);
            group.note(owner, output);
            self.bytes = self.bytes + group.bytes() - bytes;
            let due = group.due_after_news(owner);
            self.schedule.bring_forward(hash, &mut group.due, due);
            self.note_open(hash, first_open, group.first_open());
        }
        if is_known || !news.is_empty() {
            self.groups.insert(hash, group);
        }
    }

    fn note_open(&mut self, hash: Hash, before: Moment, after: Moment) {
        if before != after {
            self.open.remove(&(before, hash));
            if after != Moment::END {
                self.open.insert((after, hash));
            }
        }
    }

    /// Up to when all windows are settled for those that wait for them.
    pub(super) fn settled_until(&self) -> Moment {
        self.open.first().map_or(Moment::END, |(first, _)| *first)
    }

    fn settle(&mut self, turn: Turn<'_>, output: &mut Output) {
        // Nothing of what is noted below is due at once.
        while let Some(hash) = self.schedule.due(turn.watermark, turn.clock.caught_up) {
            let Some(mut group) = self.groups.remove(&hash) else {
                debug_assert!(false, "a group is noted that there is not");
                return;
            };
            self.schedule.remove(hash, &group.due);
            let (rows, bytes, first_open) = (group.rows.len(), group.bytes(), group.first_open());
            let owner = turn.owner(hash, turn.watermark);
            let waiting = group.settle(owner, output);
            self.rows -= rows - group.rows.len();
            self.note_open(hash, first_open, group.first_open());
            if group.is_done() {
                self.bytes -= bytes;
                // Stored texts may have no row.
                output.excerpt_bytes -= group.excerpt_bytes();
                output.journal.remove(&turn.ask.detection, Key::Group(hash));
            } else {
                self.bytes = self.bytes + group.bytes() - bytes;
                let due = group.due(waiting, owner);
                self.schedule.add(hash, &mut group.due, due);
                self.groups.insert(hash, group);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn users(&self) -> Vec<String> {
        let mut users: Vec<String> =
            self.groups.values().flat_map(|group| group.values.iter().map(str::to_owned)).collect();
        users.sort_unstable();
        users
    }

    pub(super) fn groups(&self) -> usize {
        self.groups.len()
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes that they take up, without texts about events, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn excerpt_bytes(&self) -> usize {
        self.groups.values().map(|group| group.excerpt_bytes()).sum()
    }

    /// An order among those of several detections by which groups are dropped, if there is one.
    pub(super) fn eviction_candidate(&self) -> Option<impl Ord + use<>> {
        self.schedule.eviction_candidate().map(|(order, _)| order)
    }

    /// Drops the group that can be spared most easily.
    pub(super) fn evict(&mut self, ask: &Ask, output: &mut Output) {
        let Some((_, hash)) = self.schedule.eviction_candidate() else { return };
        let Some(group) = self.groups.remove(&hash) else { return };
        self.schedule.remove(hash, &group.due);
        self.open.remove(&(group.first_open(), hash));
        output.tally.evicted_groups += 1;
        output.tally.evicted_rows += group.rows.len() as u64;
        output.excerpt_bytes -= group.excerpt_bytes();
        output.journal.remove(&ask.detection, Key::Group(hash));
        self.rows -= group.rows.len();
        self.bytes -= group.bytes();
    }

    /// Puts a stored row back; [`Windows::restored`] follows once all are in.
    pub(super) fn restore(&mut self, key: Key, value: &[u8], output: &mut Output) -> Result<(), Malformed> {
        match key {
            Key::GroupValues(group) => self.restoring(group).values = Values::read(value)?,
            Key::Row(group, row) => {
                self.restoring(group).restore_row(row.with(value)?);
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
            let owner = turn.owner(hash, turn.watermark);
            group.restored(owner);
            self.bytes += group.bytes();
            // Looked at in the next step, which notes it anew.
            let at_once = DueTimes { settle: Ingested::LONG_AGO, ..DueTimes::NEVER };
            self.schedule.add(hash, &mut group.due, at_once);
            self.note_open(hash, Moment::END, group.first_open());
            self.groups.insert(hash, group);
        }
    }
}

/// The rows that are new, sorted; the others are counted, and keep their windows.
fn sift(group: &mut Group, arrivals: &[Arrival], owner: Owner<'_>, output: &mut Output) -> Vec<Row> {
    let mut news: Vec<Row> = Vec::new();
    for Arrival { row, .. } in arrivals {
        if news.last() == Some(row) || group.meets_again(row, owner, output) {
            output.tally.duplicate += 1;
        } else {
            news.push(Row { ingested: owner.clock.now, is_open: !owner.is_monotone(), ..*row });
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
