//! What was seen for which key, period by period, and what is seen for the first time.
//!
//! A period has a map from 16 bytes of SHA-256 over key and value to the earliest time. Two pairs with the same hash
//! would count as one, so that the second is never told; among a million pairs that happens with a probability of
//! 10^-27, and nothing is ever told wrongly.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::ask::{Ask, SeenAsk};
use super::bytes::{Malformed, Reader};
use super::finding::{Finding, FindingKind, Listed};
use super::journal::{Hash, Held, Key, moment, moment_bytes};
use super::moment::Moment;
use super::output::{Arrival, Output};

/// The first sights of one detection.
#[derive(Debug, Default)]
pub(super) struct FirstSights {
    /// The time of the detection's earliest event with a value.
    origin: Option<Moment>,
    /// For each period the earliest time of each key with a value.
    periods: BTreeMap<Moment, HashMap<Hash, Moment, foldhash::fast::RandomState>>,
    /// Those that are told once the watermark has passed what could make them old.
    held: BTreeMap<(Moment, Hash), Held>,
}

/// A detection and the watermarks before and after a step.
#[derive(Clone, Copy)]
pub(super) struct Turn<'t> {
    pub(super) ask: &'t Ask,
    pub(super) seen: &'t SeenAsk,
    pub(super) before: Moment,
    pub(super) after: Moment,
}

/// Where and when something is seen.
#[derive(Clone, Copy)]
struct Sight {
    period: Moment,
    hash: Hash,
}

impl FirstSights {
    /// Takes what has arrived, and tells what the watermark has settled.
    pub(super) fn step(&mut self, arrivals: Vec<Arrival>, turn: Turn<'_>, output: &mut Output) {
        for arrival in arrivals {
            self.take(arrival, turn, output);
        }
        if turn.after > turn.before {
            self.settle(turn, output);
        }
    }

    fn take(&mut self, arrival: Arrival, turn: Turn<'_>, output: &mut Output) {
        let time = arrival.row.time;
        let sight = Sight { period: time.period(turn.ask.period), hash: arrival.group };
        let current = turn.before.period(turn.ask.period);
        if turn.before > Moment::DAWN && sight.period < current.minus(turn.ask.period) {
            output.tally.too_late += 1;
            return;
        }
        self.begin(time, turn, output);
        let full = self.len() >= output.bounds.seen;
        let seen = self.periods.entry(sight.period).or_default();
        match seen.get_mut(&sight.hash) {
            Some(earliest) if time >= *earliest => output.tally.duplicate += 1,
            Some(earliest) => {
                *earliest = time;
                note(sight, time, turn, output);
                self.replace_held(sight, arrival, turn, output);
            }
            None if full => output.tally.seen_without_room += 1,
            None => {
                seen.insert(sight.hash, time);
                note(sight, time, turn, output);
                if sight.period < current {
                    // What was seen in the period before that is gone.
                    output.tally.too_late += 1;
                } else {
                    self.judge(sight, arrival, turn, output);
                }
            }
        }
    }

    /// The detection's first event may be an earlier one, until the watermark has passed it.
    fn begin(&mut self, time: Moment, turn: Turn<'_>, output: &mut Output) {
        if self.origin.is_some_and(|origin| origin <= time || self.has_begun(turn.before)) {
            return;
        }
        self.origin = Some(time);
        output.journal.write(&turn.ask.detection, Key::Origin, || moment_bytes(time));
    }

    fn has_begun(&self, watermark: Moment) -> bool {
        self.origin.is_some_and(|origin| origin <= watermark)
    }

    fn learnt(&self, turn: Turn<'_>) -> Moment {
        self.origin.map_or(Moment(i64::MAX), |origin| origin.plus(turn.seen.learn))
    }

    /// A value that was not yet seen in its period: tells it, holds it, or lets it go.
    fn judge(&mut self, sight: Sight, arrival: Arrival, turn: Turn<'_>, output: &mut Output) {
        let time = arrival.row.time;
        let learnt = self.learnt(turn);
        let hopeless = self.has_begun(turn.before) && time < learnt;
        if hopeless || self.was_seen_before(sight, turn) {
            return;
        }
        let held = Held { values: arrival.values, event: arrival.row.event, excerpt: arrival.excerpt };
        if turn.before >= learnt.max(sight.period) {
            output.findings.push(finding(sight, time, held, turn));
            return;
        }
        let key = Key::Held(sight.period, sight.hash);
        output.journal.write(&turn.ask.detection, key, || held.bytes());
        self.held.insert((sight.period, sight.hash), held);
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
            let key = Key::Held(sight.period, sight.hash);
            output.journal.write(&turn.ask.detection, key, || held.bytes());
        }
    }

    fn was_seen_before(&self, sight: Sight, turn: Turn<'_>) -> bool {
        let before = self.periods.get(&sight.period.minus(turn.ask.period));
        before.is_some_and(|seen| seen.contains_key(&sight.hash))
    }

    fn settle(&mut self, turn: Turn<'_>, output: &mut Output) {
        let learnt = self.learnt(turn);
        if self.has_begun(turn.after) && !self.has_begun(turn.before) {
            self.drop_learnt(learnt, turn, output);
        }
        while turn.after >= learnt
            && let Some(entry) = self.held.first_entry().filter(|entry| entry.key().0 <= turn.after)
        {
            let ((period, hash), held) = entry.remove_entry();
            output.journal.remove(&turn.ask.detection, Key::Held(period, hash));
            let sight = Sight { period, hash };
            let time = self.periods.get(&period).and_then(|seen| seen.get(&hash)).copied();
            let time = time.filter(|time| *time >= learnt && !self.was_seen_before(sight, turn));
            output.findings.extend(time.map(|time| finding(sight, time, held, turn)));
        }
        self.forget(turn, output);
    }

    /// What was seen while learning waits in vain once the beginning is certain.
    fn drop_learnt(&mut self, learnt: Moment, turn: Turn<'_>, output: &mut Output) {
        let periods = &self.periods;
        self.held.retain(|(period, hash), _| {
            let time = periods.get(period).and_then(|seen| seen.get(hash));
            let waits = time.is_some_and(|time| *time >= learnt);
            if !waits {
                output.journal.remove(&turn.ask.detection, Key::Held(*period, *hash));
            }
            waits
        });
    }

    /// Drops the periods before the one before the watermark's.
    fn forget(&mut self, turn: Turn<'_>, output: &mut Output) {
        let keep = turn.after.period(turn.ask.period).minus(turn.ask.period);
        while let Some(entry) = self.periods.first_entry().filter(|entry| *entry.key() < keep) {
            output.journal.remove(&turn.ask.detection, Key::SeenIn(*entry.key()));
            entry.remove();
        }
    }

    /// How many values are remembered, once for each period.
    pub(super) fn len(&self) -> usize {
        self.periods.values().map(HashMap::len).sum()
    }

    /// Puts a stored row back.
    pub(super) fn restore(&mut self, key: Key, value: &[u8]) -> Result<(), Malformed> {
        match key {
            Key::Origin => self.origin = Some(moment(&mut Reader(value))?),
            Key::Seen(period, hash) => {
                let time = moment(&mut Reader(value))?;
                self.periods.entry(period).or_default().insert(hash, time);
            }
            Key::Held(period, hash) => {
                self.held.insert((period, hash), Held::read(value)?);
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

fn finding(sight: Sight, time: Moment, held: Held, turn: Turn<'_>) -> Finding {
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
        late: time < turn.before,
    }
}
