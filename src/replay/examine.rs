//! One object of a replay: what is asked for of its alerts, and how many of its records are.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::comparison::{Pair, Sides, Span};
use super::evidence::{Gathering, Pile};
use super::spool::Spool;
use super::window::Glimpse;
use super::{Found, Outcome, Sets, Window};
use crate::alert::{Alert, Origin, OriginKind};
use crate::decode::Limits;
use crate::detect::{Evidence, Hit};
use crate::event::{Event, EventTimes};
use crate::fetch::Body;
use crate::worker::{Examined, Inspection, Listener, Tally, Worker};

/// What a worker uses for one object after the other.
pub(super) struct Bench<'r> {
    sets: &'r Sets,
    worker: Worker,
    /// Those that evaluate the records, where two sets are compared.
    sides: Sides<Worker>,
    glimpse: Glimpse<'r>,
    times: EventTimes,
    piles: &'r Piles,
    /// The number of the worker, by which it has a part of the piles to itself.
    number: usize,
}

/// Where the evidence of all objects goes, for each set.
pub(super) type Piles = Sides<Pile>;

impl<'r> Bench<'r> {
    pub(super) fn new(
        number: usize,
        sets: &'r Sets,
        window: &'r Window,
        limits: Limits,
        piles: &'r Piles,
    ) -> Self {
        Self {
            sets,
            piles,
            number,
            worker: Worker::new(limits),
            sides: Sides { old: Worker::new(limits), new: Worker::new(limits) },
            glimpse: Glimpse::new(window),
            times: EventTimes::default(),
        }
    }

    /// Examines an object, from a path or from standard input.
    pub(super) fn examine(&mut self, task: usize, body: &mut Body, path: Option<&Path>) -> Outcome {
        let name = path.map_or_else(|| "-".to_owned(), |path| path.to_string_lossy().into_owned());
        let origin = Origin {
            kind: if path.is_some() { OriginKind::File } else { OriginKind::Stdin },
            bucket: None,
            key: path.is_some().then_some(name.as_str()),
            version: None,
            index: 0,
            announced_at: None,
            received_at: None,
        };
        let (examined, within, found) = match self.sets {
            Sets::One(inspection) => self.by_one(task, inspection, body, &origin),
            Sets::Two(pair) => self.by_two(task, pair, body, &origin),
        };
        Outcome::Read { name, examined: Box::new(examined), within, found }
    }

    fn by_one(&mut self, task: usize, set: &Inspection, body: &mut Body, origin: &Origin<'_>) -> Examination {
        let alerts = self.spooling(task).new;
        let mut teller = Teller { glimpse: &mut self.glimpse, within: 0, alerts };
        let examined = self.worker.examine(set, body, origin, None, &mut teller);
        let Teller { within, alerts, .. } = teller;
        (examined, within, alerts.finish().map(Found::Alerts))
    }

    /// The object is split once, and each of its records goes to both sets.
    fn by_two(&mut self, task: usize, pair: &Pair, body: &mut Body, origin: &Origin<'_>) -> Examination {
        let alerts = self.spooling(task);
        let mut teller = PairTeller {
            pair,
            workers: &mut self.sides,
            glimpse: &mut self.glimpse,
            times: &mut self.times,
            within: 0,
            span: Span::default(),
            tally: Tally::default(),
            alerts,
        };
        let mut examined = self.worker.examine(&pair.splitting, body, origin, None, &mut teller);
        let PairTeller { within, span, tally, alerts, .. } = teller;
        for (reason, count) in tally.undecodable {
            *examined.tally.undecodable.entry(reason).or_default() += count;
        }
        examined.tally.repaired += tally.repaired;
        let spools = alerts.old.finish().and_then(|old| Ok(Sides { old, new: alerts.new.finish()? }));
        (examined, within, spools.map(|spools| Found::Pairs(spools, span)))
    }

    fn spooling(&self, task: usize) -> Sides<Spooling<'r>> {
        let (window, piles) = (self.glimpse.window(), self.piles);
        let spooling = |pile| Spooling::new(window, Gathering::new(pile, self.number, task));
        Sides { old: spooling(&piles.old), new: spooling(&piles.new) }
    }
}

/// What became of the object, how many records were asked for, and what was found.
type Examination = (Examined, u64, io::Result<Found>);

/// Spools what is asked for of the alerts of one set.
struct Spooling<'w> {
    window: &'w Window,
    record: u64,
    spool: Spool,
    spooled: io::Result<()>,
    evidence: Gathering<'w>,
}

impl<'w> Spooling<'w> {
    fn new(window: &'w Window, evidence: Gathering<'w>) -> Self {
        Self { window, record: 0, spool: Spool::default(), spooled: Ok(()), evidence }
    }

    fn finish(self) -> io::Result<Spool> {
        self.evidence.finish()?;
        self.spooled.map(|()| self.spool)
    }
}

impl Listener for Spooling<'_> {
    fn record(&mut self, _record: &[u8], origin: &Origin<'_>) {
        self.record = origin.index;
    }

    fn wants(&mut self, hit: &Hit<'_>) -> bool {
        self.window.admits(hit.event)
    }

    fn alert(&mut self, alert: Alert) {
        if self.spooled.is_ok() {
            self.spooled = self.spool.push(self.record, alert);
        }
    }

    fn excerpt(&mut self, event: &Event<'_>, origin: &Origin<'_>) -> Arc<str> {
        self.evidence.excerpt(event, origin)
    }

    fn evidence(&mut self, evidence: Evidence) {
        self.evidence.push(self.record, &evidence);
    }

    fn untimed(&mut self) {
        self.evidence.untimed();
    }
}

/// Also counts how many records are asked for.
struct Teller<'t, 'w> {
    glimpse: &'t mut Glimpse<'w>,
    within: u64,
    alerts: Spooling<'w>,
}

impl Listener for Teller<'_, '_> {
    fn record(&mut self, record: &[u8], origin: &Origin<'_>) {
        self.within += u64::from(self.glimpse.may_admit(record));
        self.alerts.record(record, origin);
    }

    fn wants(&mut self, hit: &Hit<'_>) -> bool {
        self.alerts.wants(hit)
    }

    fn alert(&mut self, alert: Alert) {
        self.alerts.alert(alert);
    }

    fn excerpt(&mut self, event: &Event<'_>, origin: &Origin<'_>) -> Arc<str> {
        self.alerts.excerpt(event, origin)
    }

    fn evidence(&mut self, evidence: Evidence) {
        self.alerts.evidence(evidence);
    }

    fn untimed(&mut self) {
        self.alerts.untimed();
    }
}

/// Has every record evaluated by two sets.
struct PairTeller<'t, 'w> {
    pair: &'t Pair,
    workers: &'t mut Sides<Worker>,
    glimpse: &'t mut Glimpse<'w>,
    times: &'t mut EventTimes,
    within: u64,
    span: Span,
    /// Of records that one of the sets could not read, or not as they stand.
    tally: Tally,
    alerts: Sides<Spooling<'w>>,
}

impl Listener for PairTeller<'_, '_> {
    fn record(&mut self, record: &[u8], origin: &Origin<'_>) {
        if self.glimpse.may_admit(record) {
            self.within += 1;
            self.times.of(record).into_iter().for_each(|time| self.span.include(time));
        }
        let Sides { old, new } = &self.pair.sets;
        let old = self.workers.old.examine_record(old, record, origin, None, &mut self.alerts.old);
        let new = self.workers.new.examine_record(new, record, origin, None, &mut self.alerts.new);
        // A set parses only what it may match: one of them may not have noticed.
        let noticed = if new.undecodable.is_empty() { old.undecodable } else { new.undecodable };
        for (reason, count) in noticed {
            *self.tally.undecodable.entry(reason).or_default() += count;
        }
        self.tally.repaired += old.repaired.max(new.repaired);
    }

    fn alert(&mut self, _alert: Alert) {
        // The set that splits the object has no detections.
    }

    fn evidence(&mut self, _evidence: Evidence) {
        // As above.
    }
}
