//! Detections over more than one event, on event time: correlations, groups of hits, first sights.
//!
//! **Evidence → which detections it feeds → into the sets → which firing points are new → findings.** Workers turn
//! hits into [`Evidence`] by the [`Feeds`] of the rules; one [`Engine`] takes it, step by step, and tells
//! [`Finding`]s, of which the alert stage makes alerts. No clock, no I/O: all it knows of time are events and the
//! progress that it is handed.
//!
//! - A window is a set of hits, (t − timespan, t]; an event at whose time t it meets the condition is a *firing point*. A finding
//!   is (detection, group, period), raised at the first firing point seen in that period, so that the set of findings
//!   depends on the set of events alone. Revision 2 has the final count once the period is settled, a later one what late
//!   evidence has added.
//! - The *watermark* says that no earlier event is expected. What more evidence could never undo fires at once, however old
//!   the evidence is. All else is looked at when the watermark has passed it and its window has been idle for a while; what
//!   comes into it after that opens it again. See [`StreamProgress`] and [`Idle`].
//! - Percentiles are of the nearest rank. Sums are exact to a billionth. A hit without a group's field or without
//!   what is counted takes part in no window.
//! - A correlation sees a firing point of another one as a hit at that time, with the values by which the inner one
//!   groups. It sees every hit of a rule, also those that grouping or `first_seen` do not tell.
//! - A grouping is a window of an instant in which one hit is enough.
//! - Everything kept is a keyed row; each step tells the [`Change`]s, and [`Engine::restored`] begins where they end.
//!
//! Live, one step takes the evidence of one commit. A replay hands over sorted evidence in steps of any size, with the
//! time of the last one as watermark, and at last [`Timestamp::MAX`]; then it sorts what it was told, because what
//! waits for the watermark comes later than what does not.
//!
//! Evaluating everything anew from the sorted set is the oracle that the engine must equal.

mod ask;
mod bounds;
mod bytes;
mod counter;
mod evidence;
mod feed;
mod finding;
mod group;
mod idle;
mod journal;
mod moment;
mod output;
mod progress;
mod row;
mod schedule;
mod seen;
mod sieve;
mod store;
mod succession;
mod sweep;

use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

pub use bytes::Malformed;
pub use evidence::{EventHash, Evidence, Fact, Identity, Values};
pub use feed::{Feeds, NoEvidence, is_grouped, is_told_alone};
pub use finding::{Finding, FindingKind, LISTED, Listed};
pub use journal::{Change, StoredRow};
pub use output::Tally;
pub use progress::{Idle, StreamProgress};
pub use sieve::Sieve;
pub use succession::Kept;

use ask::{Ask, Link, What};
use bounds::Bounds;
use bytes::Reader;
use journal::Key;
use moment::{Ingested, Moment};
use output::{Arrival, Fired, Output};
use progress::Times;
use row::Row;
use seen::FirstSights;
use store::Windows;

/// The state of all detections over more than one event.
#[derive(Debug)]
pub struct Engine {
    feeds: Arc<Feeds>,
    /// As many as the feeds have asks.
    stores: Vec<Store>,
    watermark: Moment,
    idle: Idle,
    tally: Tally,
    excerpt_bytes: usize,
    bounds: Bounds,
    journal: Journaling,
}

/// Whether the steps of an engine tell what is to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Journaling {
    /// They do not; nothing outlives the engine.
    Off,
    /// They do.
    On,
}

/// What came of a step.
#[derive(Debug, Default)]
pub struct Step {
    /// By time, detection, values, period and revision.
    pub findings: Vec<Finding>,
    /// What is to be stored, in the order in which it is to be applied.
    pub changes: Vec<Change>,
}

#[derive(Debug)]
enum Store {
    Windows(Windows),
    Seen(FirstSights),
}

impl Engine {
    /// An engine that has seen nothing.
    #[must_use]
    pub fn new(feeds: Arc<Feeds>, idle: Idle, journal: Journaling) -> Self {
        let stores = feeds.asks.iter().map(Store::of).collect();
        Self {
            feeds,
            stores,
            watermark: Moment::DAWN,
            idle,
            tally: Tally::default(),
            excerpt_bytes: 0,
            bounds: Bounds::default(),
            journal,
        }
    }

    /// Keeps windows within so many bytes.
    #[must_use]
    pub fn within(mut self, bytes: usize) -> Self {
        self.bounds.bytes = bytes;
        self
    }

    /// An engine that goes on where the one ended whose changes led to these rows; they may come in any order. Rows of
    /// detections that are not among the feeds are counted and left out.
    #[must_use]
    pub fn restored(feeds: Arc<Feeds>, idle: Idle, rows: impl IntoIterator<Item = StoredRow>) -> Self {
        let mut engine = Self::new(feeds, idle, Journaling::On);
        let mut output = Output::new(Journaling::Off, engine.bounds);
        for row in rows {
            if engine.restore(&row, &mut output).is_err() {
                engine.tally.rows_not_restored += 1;
            }
        }
        engine.excerpt_bytes = output.excerpt_bytes;
        let clock = engine.clock(StreamProgress::in_order(engine.watermark.time()));
        let mut watermarks = Watermarks::new(clock.watermark, &engine.feeds);
        for (number, (ask, store)) in engine.feeds.asks.iter().zip(&mut engine.stores).enumerate() {
            if let (Store::Windows(windows), What::Window(window)) = (store, &ask.what) {
                let watermark = watermarks.of(number);
                windows.restored(store::Turn { ask, window, clock, watermark });
                watermarks.hold_back(ask, windows.settled_until().min(watermark));
            }
        }
        engine
    }

    fn restore(&mut self, row: &StoredRow, output: &mut Output) -> Result<(), Malformed> {
        let key = Key::read(&row.key)?;
        if key == Key::Watermark {
            self.watermark = journal::moment(&mut Reader(&row.value))?;
            return Ok(());
        }
        let of_windows = !matches!(key, Key::Seen(..) | Key::SeenAt(_) | Key::Held(..) | Key::Origin);
        let is_meant =
            |ask: &Ask| ask.detection == row.detection && of_windows == matches!(ask.what, What::Window(_));
        let number = self.feeds.asks.iter().position(is_meant).ok_or(Malformed)?;
        match &mut self.stores[number] {
            Store::Windows(windows) => {
                // A rule may have fewer members than when the row was written.
                if key.member().is_some_and(|member| member >= self.feeds.asks[number].members()) {
                    return Err(Malformed);
                }
                windows.restore(key, &row.value, output)
            }
            Store::Seen(sights) => sights.restore(key, &row.value),
        }
    }

    /// Takes evidence, of any age, and how far the stream has come with it. The watermark never goes back. The evidence
    /// of a step may still come before it.
    pub fn step(&mut self, evidence: impl IntoIterator<Item = Evidence>, progress: StreamProgress) -> Step {
        let mut output = Output::new(self.journal, self.bounds);
        (output.tally, output.excerpt_bytes) = (self.tally, self.excerpt_bytes);
        let mut inbox: Vec<Vec<Arrival>> = self.feeds.asks.iter().map(|_| Vec::new()).collect();
        for evidence in evidence {
            self.hand_out(evidence, &mut inbox, &mut output);
        }
        let clock = self.clock(progress);
        let feeds = Arc::clone(&self.feeds);
        let mut watermarks = Watermarks::new(clock.watermark, &feeds);
        for (number, ask) in feeds.asks.iter().enumerate() {
            let arrivals = std::mem::take(&mut inbox[number]);
            let watermark = watermarks.of(number);
            let until = self.stores[number].step(arrivals, ask, clock, watermark, &mut output);
            chain(ask, &mut inbox, &mut output);
            watermarks.hold_back(ask, until);
        }
        self.evict(&mut output);
        self.advance(clock.watermark, &mut output);
        (self.tally, self.excerpt_bytes) = (output.tally, output.excerpt_bytes);
        output.findings.sort_by(|one, other| one.order().cmp(&other.order()));
        Step { findings: output.findings, changes: output.journal.changes }
    }

    /// Takes evidence of what was seen before anybody listened: first sights learn from it, and nothing is ever told of
    /// it. Windows take no part.
    pub fn learn(
        &mut self,
        evidence: impl IntoIterator<Item = Evidence>,
        watermark: Timestamp,
    ) -> Vec<Change> {
        let feeds = Arc::clone(&self.feeds);
        let learnt = evidence.into_iter().map(|mut evidence| {
            let feeds_of = feeds.of(evidence.rule).iter().zip(&mut evidence.facts);
            let windows = feeds_of.filter(|(feed, _)| matches!(feeds.asks[feed.ask].what, What::Window(_)));
            windows.for_each(|(_, fact)| *fact = Fact::Spent);
            evidence
        });
        // Learnt long ago: what is seen from now on need not wait for anything before it.
        let mut changes = self.step(learnt, StreamProgress::in_order(watermark)).changes;
        let mut output = Output::new(self.journal, self.bounds);
        for (ask, store) in feeds.asks.iter().zip(&mut self.stores) {
            if let Store::Seen(sights) = store {
                sights.let_go(ask, &mut output);
            }
        }
        changes.append(&mut output.journal.changes);
        changes
    }

    /// What became of everything so far.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// How many groups and rows there are in all windows, and how many values were seen.
    #[must_use]
    pub fn size(&self) -> (usize, usize, usize) {
        self.stores.iter().fold((0, 0, 0), |(groups, rows, seen), store| match store {
            Store::Windows(windows) => (groups + windows.groups(), rows + windows.rows(), seen),
            Store::Seen(sights) => (groups, rows, seen + sights.len()),
        })
    }

    /// Gives each feed its fact.
    fn hand_out(&self, evidence: Evidence, inbox: &mut [Vec<Arrival>], output: &mut Output) {
        let Evidence { time, event, rule, facts, excerpt } = evidence;
        for (feed, fact) in self.feeds.of(rule).iter().zip(facts) {
            let row = Row::new(Moment::of(time), event, feed.member);
            hand_in(fact, row, excerpt.as_ref(), &mut inbox[feed.ask], output);
        }
    }

    fn clock(&self, progress: StreamProgress) -> Times {
        Times {
            before: self.watermark,
            watermark: Moment::of(progress.watermark).max(self.watermark),
            now: Ingested::of(progress.now),
            caught_up: Ingested::of(progress.caught_up),
            idle: self.idle,
        }
    }

    fn advance(&mut self, watermark: Moment, output: &mut Output) {
        if watermark > self.watermark {
            self.watermark = watermark;
            output.journal.write(&Arc::from(""), Key::Watermark, || journal::moment_bytes(watermark));
        }
    }

    /// Keeps windows within their bound.
    fn evict(&mut self, output: &mut Output) {
        let windows = |store: &Store| match store {
            Store::Windows(windows) => windows.bytes(),
            Store::Seen(_) => 0,
        };
        let mut bytes: usize = self.stores.iter().map(windows).sum();
        while bytes > self.bounds.bytes {
            let order = |store: &Store| match store {
                Store::Windows(windows) => windows.eviction_candidate(),
                Store::Seen(_) => None,
            };
            let orders = self.stores.iter().map(order).enumerate();
            let first = orders.filter_map(|(number, order)| Some((order?, number))).min();
            let Some((_, number)) = first else { return };
            if let Store::Windows(windows) = &mut self.stores[number] {
                let before = windows.bytes();
                windows.evict(&self.feeds.asks[number], output);
                bytes -= before - windows.bytes();
            }
        }
    }
}

impl Store {
    fn of(ask: &Ask) -> Self {
        match ask.what {
            What::Window(_) => Store::Windows(Windows::default()),
            What::Seen(_) => Store::Seen(FirstSights::default()),
        }
    }

    /// Answers with up to when all is settled.
    fn step(
        &mut self,
        arrivals: Vec<Arrival>,
        ask: &Ask,
        clock: Times,
        watermark: Moment,
        output: &mut Output,
    ) -> Moment {
        match (self, &ask.what) {
            (Store::Windows(windows), What::Window(window)) => {
                windows.step(arrivals, store::Turn { ask, window, clock, watermark }, output);
                watermark.min(windows.settled_until())
            }
            (Store::Seen(sights), What::Seen(seen)) => {
                sights.step(arrivals, seen::Turn { ask, seen, clock }, output);
                watermark
            }
            _ => unreachable!("stores are made from the asks"),
        }
    }
}

/// The watermark of each ask: what a correlation sees of another one is there only once that one is settled.
struct Watermarks(Vec<Moment>);

impl Watermarks {
    fn new(watermark: Moment, feeds: &Feeds) -> Self {
        Self(vec![watermark; feeds.asks.len()])
    }

    fn of(&self, ask: usize) -> Moment {
        self.0[ask]
    }

    /// Those that see the firing points of an ask get no further than it has.
    fn hold_back(&mut self, ask: &Ask, until: Moment) {
        for link in ask.links() {
            self.0[link.ask] = self.0[link.ask].min(until);
        }
    }
}

/// Puts a fact where it belongs, and counts it.
fn hand_in(fact: Fact, row: Row, excerpt: Option<&Arc<str>>, inbox: &mut Vec<Arrival>, output: &mut Output) {
    output.tally.facts += 1;
    match fact {
        Fact::Part { group: values, value } => {
            let row = Row { value, ..row };
            inbox.push(Arrival { group: values.hash(), values, row, excerpt: excerpt.cloned() });
        }
        Fact::NoGroup => output.tally.no_group += 1,
        Fact::NoValue => output.tally.no_value += 1,
        Fact::Spent => output.tally.spent += 1,
    }
}

/// Hands the firing points of a correlation to those that see them as hits.
fn chain(ask: &Ask, inbox: &mut [Vec<Arrival>], output: &mut Output) {
    let fired = std::mem::take(&mut output.fired);
    for point in &fired {
        let event = point.event();
        let values: Vec<&str> = point.values.iter().collect();
        for link in ask.links() {
            output.tally.chained += 1;
            let row = Row::new(point.row.time, event, link.member);
            let fact = link.fact(&values);
            hand_in(fact, row, point.excerpt.as_ref(), &mut inbox[link.ask], output);
        }
    }
}

impl Fired {
    /// The hash of the event and its group: an event may fire in two groups of one correlation.
    fn event(&self) -> EventHash {
        let hash = Sha256::new().chain_update(self.row.event.0).chain_update(self.group).finalize();
        EventHash(*hash.first_chunk().expect("SHA-256 has 32 bytes"))
    }
}

impl Link {
    fn fact(&self, values: &[&str]) -> Fact {
        let look = |place: &Option<usize>| place.map(|place| values[place].into());
        feed::fact(&self.group, &self.counted, look)
    }
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
