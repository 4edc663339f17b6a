//! What was seen for which key, period by period, and what is seen for the first time.
//!
//! A period has a map from 16 bytes of SHA-256 over key and value to the earliest time. Two pairs with the same hash
//! would count as one, so that the second is never told; among a million pairs that happens with a probability of
//! 10^-27, and nothing is ever told wrongly.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::SignedDuration;

use super::ask::{Ask, SeenAsk};
use super::bytes::{Malformed, Reader};
use super::finding::{Finding, FindingKind, Listed};
use super::journal::{Hash, Held, Key, ingested, moment, moment_bytes, times_bytes};
use super::moment::{Ingested, Moment};
use super::output::{Arrival, Output};
use super::progress::Times;

/// The precision of the stored time at which something was last seen in a period: not every sight is worth a stored row.
const TOUCHED_SECONDS: u32 = 300;
/// At the next opportunity.
const LOOK: (Moment, Ingested) = (Moment::DAWN, Ingested::LONG_AGO);

/// The first sights of one detection.
#[derive(Debug)]
pub(super) struct FirstSights {
    /// The time of the detection's earliest event with a value, and when it last became an earlier one.
    origin: Option<(Moment, Ingested)>,
    periods: BTreeMap<Moment, SeenPeriod>,
    /// Those that wait until they are settled.
    held: BTreeMap<(Moment, Hash), Held>,
    /// The times at which one of those may be settled, by either of them, or before that.
    due: (Moment, Ingested),
    /// The number of values that are remembered, once for each period.
    len: usize,
}

/// The values of a period.
#[derive(Debug, Default)]
struct SeenPeriod {
    /// The earliest time of each key with a value.
    seen: HashMap<Hash, Moment, foldhash::fast::RandomState>,
    /// When something was last seen, or a little later.
    touched: Ingested,
}

/// A detection and the times of a step.
#[derive(Clone, Copy)]
pub(super) struct Turn<'t> {
    pub(super) ask: &'t Ask,
    pub(super) seen: &'t SeenAsk,
    pub(super) clock: Times,
}

/// Where and when something is seen.
#[derive(Clone, Copy)]
struct Sight {
    period: Moment,
    hash: Hash,
}

impl Default for FirstSights {
    fn default() -> Self {
        let due = (Moment::END, Ingested::NEVER);
        Self { origin: None, periods: BTreeMap::new(), held: BTreeMap::new(), due, len: 0 }
    }
}

impl FirstSights {
    /// Takes what has arrived, and reports what is settled.
    pub(super) fn step(&mut self, arrivals: Vec<Arrival>, turn: Turn<'_>, output: &mut Output) {
        self.not_before_its_time(turn.clock.now);
        for arrival in arrivals {
            self.take(arrival, turn, output);
        }
        self.settle(turn, output);
        self.forget(turn, output);
    }

    /// A clock that was set back makes nothing wait until it is there again.
    fn not_before_its_time(&mut self, now: Ingested) {
        if let Some((_, since)) =
            self.origin.as_mut().filter(|(_, since)| *since > now && now > Ingested::LONG_AGO)
        {
            *since = now;
            self.held.values_mut().for_each(|held| held.touched = held.touched.min(now));
            self.due = LOOK;
        }
    }

    fn take(&mut self, arrival: Arrival, turn: Turn<'_>, output: &mut Output) {
        let time = arrival.row.time;
        let sight = Sight { period: time.period(turn.ask.period), hash: arrival.group };
        self.begin(time, turn, output);
        let has_room = self.make_room(turn, output);
        if !has_room && !self.periods.contains_key(&sight.period) {
            output.tally.seen_without_room += 1;
            return;
        }
        let period = self.periods.entry(sight.period).or_default();
        if turn.clock.now > period.touched {
            period.touched = turn.clock.now.rounded_up(TOUCHED_SECONDS);
            let touched = period.touched;
            let bytes = || touched.bytes().to_vec();
            output.journal.write(&turn.ask.detection, Key::SeenAt(sight.period), bytes);
        }
        match period.seen.get_mut(&sight.hash) {
            Some(earliest) if time >= *earliest => output.tally.duplicate += 1,
            Some(earliest) => {
                *earliest = time;
                note(sight, time, turn, output);
                self.replace_held(sight, arrival, turn, output);
            }
            None if !has_room => output.tally.seen_without_room += 1,
            None => {
                period.seen.insert(sight.hash, time);
                self.len += 1;
                note(sight, time, turn, output);
                self.judge(sight, arrival, turn, output);
            }
        }
    }

    /// The detection's first event may be an earlier one, until it is certain.
    fn begin(&mut self, time: Moment, turn: Turn<'_>, output: &mut Output) {
        let is_later = self.origin.is_some_and(|(origin, _)| origin <= time);
        if is_later || self.has_begun(turn.clock.before, turn) {
            return;
        }
        self.origin = Some((time, turn.clock.now));
        self.due = LOOK;
        let bytes = || times_bytes(time, turn.clock.now);
        output.journal.write(&turn.ask.detection, Key::Origin, bytes);
    }

    /// Returns true once the detection's first event is certain: the watermark has passed it, and none came before it for as long as
    /// windows are left alone before they are settled.
    fn has_begun(&self, watermark: Moment, turn: Turn<'_>) -> bool {
        self.origin.is_some_and(|(origin, since)| origin <= watermark && turn.clock.is_settled(since))
    }

    fn learnt(&self, turn: Turn<'_>) -> Moment {
        self.origin.map_or(Moment::END, |(origin, _)| origin.plus(turn.seen.learn))
    }

    /// Makes room for one more value, for which old periods go; returns false if there is none.
    fn make_room(&mut self, turn: Turn<'_>, output: &mut Output) -> bool {
        let current = turn.clock.before.period(turn.ask.period).minus(turn.ask.period);
        while self.len() >= output.bounds.seen {
            let Some(oldest) = self.periods.first_entry().filter(|entry| *entry.key() < current) else {
                return false;
            };
            let (start, period) = oldest.remove_entry();
            output.tally.evicted_seen += period.seen.len() as u64;
            self.len -= period.seen.len();
            self.drop_period(start, turn, output);
        }
        true
    }

    /// A value that was not yet seen in its period: tells it, holds it, or lets it go.
    fn judge(&mut self, sight: Sight, arrival: Arrival, turn: Turn<'_>, output: &mut Output) {
        let time = arrival.row.time;
        let (learnt, has_begun) = (self.learnt(turn), self.has_begun(turn.clock.before, turn));
        if has_begun && time < learnt || self.was_seen_before(sight, turn) {
            return;
        }
        let Arrival { values, row, excerpt, .. } = arrival;
        // What comes late may come with what makes it old.
        let touched = if time < turn.clock.before { turn.clock.now } else { Ingested::LONG_AGO };
        let held = Held { values, event: row.event, excerpt, touched };
        let is_known = turn.clock.before >= learnt.max(sight.period);
        if has_begun && is_known && turn.clock.is_settled(touched) {
            output.findings.push(finding(sight, time, held, turn, SignedDuration::ZERO));
            return;
        }
        let key = Key::Held(sight.period, sight.hash);
        output.journal.write(&turn.ask.detection, key, || held.bytes());
        self.held.insert((sight.period, sight.hash), held);
        let watermark = learnt.max(sight.period);
        if turn.clock.before < watermark {
            self.due.0 = self.due.0.min(watermark);
        } else {
            let settles = self.origin.map_or(touched, |(_, since)| since.max(touched));
            self.due.1 = self.due.1.min(turn.clock.settles(settles));
        }
        if self.held.len() > output.bounds.held {
            self.evict(turn, output);
        }
    }

    fn evict(&mut self, turn: Turn<'_>, output: &mut Output) {
        let Some(((period, hash), _)) = self.held.pop_last() else { return };
        output.tally.evicted_held += 1;
        output.journal.remove(&turn.ask.detection, Key::Held(period, hash));
    }

    /// What waits is never told.
    pub(super) fn let_go(&mut self, ask: &Ask, output: &mut Output) {
        for (period, hash) in std::mem::take(&mut self.held).into_keys() {
            output.journal.remove(&ask.detection, Key::Held(period, hash));
        }
    }

    /// What waits is told of its earliest event.
    fn replace_held(&mut self, sight: Sight, arrival: Arrival, turn: Turn<'_>, output: &mut Output) {
        if let Some(held) = self.held.get_mut(&(sight.period, sight.hash)) {
            (held.event, held.excerpt) = (arrival.row.event, arrival.excerpt);
            held.touched = turn.clock.now;
            let key = Key::Held(sight.period, sight.hash);
            output.journal.write(&turn.ask.detection, key, || held.bytes());
        }
    }

    fn was_seen_before(&self, sight: Sight, turn: Turn<'_>) -> bool {
        let before = self.periods.get(&sight.period.minus(turn.ask.period));
        before.is_some_and(|period| period.seen.contains_key(&sight.hash))
    }

    /// Tells what can have been seen before in nothing that still comes, and lets go of what was.
    fn settle(&mut self, turn: Turn<'_>, output: &mut Output) {
        let clock = turn.clock;
        if clock.watermark < self.due.0 && clock.caught_up < self.due.1 {
            return;
        }
        let (learnt, has_begun) = (self.learnt(turn), self.has_begun(clock.watermark, turn));
        let (origin, since) = self.origin.unwrap_or((Moment::END, Ingested::NEVER));
        let certain = clock.settles(since);
        self.due = match () {
            () if has_begun || self.held.is_empty() => (Moment::END, Ingested::NEVER),
            () if clock.caught_up < certain => (Moment::END, certain),
            () => (origin, Ingested::NEVER),
        };
        let held = std::mem::take(&mut self.held);
        for ((period, hash), held) in held {
            let sight = Sight { period, hash };
            let time = self.periods.get(&period).and_then(|period| period.seen.get(&hash)).copied();
            let is_over = time.is_none_or(|time| has_begun && time < learnt);
            let (watermark, settles) = (learnt.max(period), clock.settles(held.touched).max(certain));
            if !is_over && clock.watermark < watermark {
                self.due.0 = self.due.0.min(watermark);
                self.held.insert((period, hash), held);
                continue;
            }
            if !is_over && clock.caught_up < settles {
                self.due.1 = self.due.1.min(settles);
                self.held.insert((period, hash), held);
                continue;
            }
            output.journal.remove(&turn.ask.detection, Key::Held(period, hash));
            let time = time.filter(|time| *time >= learnt && !self.was_seen_before(sight, turn));
            output.findings.extend(time.map(|time| finding(sight, time, held, turn, clock.settling())));
        }
    }

    /// Drops the periods that nothing on time can fall into, nor ask for, and that were left alone for long enough. Live, one
    /// more is kept by which what comes late after a period has ended is judged.
    fn forget(&mut self, turn: Turn<'_>, output: &mut Output) {
        let length = turn.ask.period;
        let keep = turn.clock.watermark.period(length).minus(length);
        // What is learnt has no time of ingestion, and is sorted.
        let is_sorted = turn.clock.idle.forget.is_zero() || turn.clock.now == Ingested::LONG_AGO;
        let keep = if is_sorted { keep } else { keep.minus(length) };
        let old = self.periods.range(..keep);
        let idle = old.filter(|(_, period)| is_sorted || turn.clock.is_forgotten(period.touched));
        let idle: Vec<Moment> = idle.map(|(start, _)| *start).collect();
        for start in idle {
            let period = self.periods.remove(&start).unwrap_or_default();
            self.len -= period.seen.len();
            self.drop_period(start, turn, output);
        }
    }

    /// A period is gone, and what waits in it.
    fn drop_period(&mut self, start: Moment, turn: Turn<'_>, output: &mut Output) {
        let end = start.plus(turn.ask.period);
        let held: Vec<_> = self.held.range((start, [0; 16])..(end, [0; 16])).map(|(key, _)| *key).collect();
        for (period, hash) in held {
            self.held.remove(&(period, hash));
            output.tally.evicted_held += 1;
            output.journal.remove(&turn.ask.detection, Key::Held(period, hash));
        }
        output.journal.remove(&turn.ask.detection, Key::SeenIn(start));
        output.journal.remove(&turn.ask.detection, Key::SeenAt(start));
    }

    /// How many values are remembered, once for each period.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Puts a stored row back.
    pub(super) fn restore(&mut self, key: Key, value: &[u8]) -> Result<(), Malformed> {
        let mut reader = Reader(value);
        match key {
            Key::Origin => self.origin = Some((moment(&mut reader)?, ingested(&mut reader)?)),
            Key::Seen(period, hash) => {
                let time = moment(&mut reader)?;
                let before = self.periods.entry(period).or_default().seen.insert(hash, time);
                self.len += usize::from(before.is_none());
            }
            Key::SeenAt(period) => {
                self.periods.entry(period).or_default().touched = ingested(&mut reader)?;
            }
            Key::Held(period, hash) => {
                self.held.insert((period, hash), Held::read(value)?);
                self.due = LOOK;
            }
            _ => return Err(Malformed),
        }
        Ok(())
    }
}

/// Writes down when a value was first seen.
fn note(sight: Sight, time: Moment, turn: Turn<'_>, output: &mut Output) {
    let key = Key::Seen(sight.period, sight.hash);
    output.journal.write(&turn.ask.detection, key, || moment_bytes(time));
}

fn finding(sight: Sight, time: Moment, held: Held, turn: Turn<'_>, delay: SignedDuration) -> Finding {
    Finding {
        detection: Arc::clone(&turn.ask.detection),
        kind: FindingKind::FirstSeen,
        revision: 1,
        names: turn.ask.names.clone(),
        values: held.values,
        period: sight.period.time(),
        period_end: sight.period.plus(turn.ask.period).time(),
        start: sight.period.time(),
        time: time.time(),
        count: 1,
        measured: None,
        listed: vec![Listed {
            time: time.time(),
            event: held.event,
            rule: Arc::clone(&turn.ask.detection),
            excerpt: held.excerpt,
        }],
        delay,
    }
}
