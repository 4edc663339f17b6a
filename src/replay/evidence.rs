//! Detections over more than one event in a replay: their evidence is sorted by event time after the pass, and an
//! engine takes it from the first event to the last. Lateness plays no part.
//!
//! What no detection joins goes its own way: in parts that share nothing, each with an engine of its own, so that the end
//! of a replay has work for several cores.

use std::collections::HashMap;
use std::io;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ScopedJoinHandle;

use jiff::Timestamp;

use super::comparison::InOrder;
use super::lock;
use super::sorter::{Row, Rows, Sorted, Sorter};
use super::spool;
use super::texts::{Place, Span, Texts, Written};
use crate::alert::{self, Alert, Origin};
use crate::detect::windows::{Engine, FindingKind, Idle, Journaling, Step, StreamProgress, Tally, Values};
use crate::detect::{Evidence, Finding};
use crate::event::{Event, Parser};
use crate::worker::Inspection;

/// The first bytes of evidence, which sort like it: time, event and rule.
const ORDER: usize = 28;
/// Bytes of evidence of one object that are gathered before they are handed over.
const AT_ONCE: usize = 256 << 10;
/// Bytes of texts, of evidence, and of alerts that are held in memory. Evidence of half a gigabyte of ordinary logs fits
/// in about: more of it takes up no more.
const TEXTS_IN_MEMORY: usize = 32 << 20;
const ROWS_IN_MEMORY: usize = 8 << 20;
const ALERTS_IN_MEMORY: usize = 16 << 20;
/// Parts of the evidence that share no detection, at most.
const PARTS: usize = 8;
/// Rows of evidence in a step of an engine.
const STEP: usize = 4_096;
/// Findings that wait for a later revision.
const MOST_OPEN: usize = 4_096;

/// The evidence of all objects.
#[derive(Debug)]
pub(super) struct Pile {
    gathered: Mutex<Gathered>,
    /// The part to which evidence goes, by the number of its rule.
    parts: Vec<usize>,
    /// By worker, so that none waits for another.
    texts: Vec<Mutex<Texts>>,
}

#[derive(Debug)]
struct Gathered {
    /// By part.
    sorters: Vec<Sorter>,
    /// Hits that are none because their events have no time.
    untimed: u64,
}

impl Pile {
    /// For evidence that so many workers make with a set.
    pub(super) fn new(set: &Inspection, workers: usize) -> Self {
        let parts = set.detections.feeds().parts(PARTS);
        let sorters = (0..PARTS).map(|_| Sorter::new(ROWS_IN_MEMORY / PARTS)).collect();
        let texts = (0..workers).map(|_| Mutex::new(Texts::new(TEXTS_IN_MEMORY / workers))).collect();
        Self { gathered: Mutex::new(Gathered { sorters, untimed: 0 }), parts, texts }
    }

    fn into_parts(self) -> (Gathered, Vec<Texts>) {
        let texts =
            self.texts.into_iter().map(|texts| texts.into_inner().unwrap_or_else(PoisonError::into_inner));
        (self.gathered.into_inner().unwrap_or_else(PoisonError::into_inner), texts.collect())
    }
}

/// Gathers the evidence of one object.
#[derive(Debug)]
pub(super) struct Gathering<'p> {
    pile: &'p Pile,
    /// The number of the worker.
    worker: usize,
    /// The number of the object's task, by which equal evidence of several objects has an order.
    task: usize,
    /// By part, to be handed over.
    rows: Vec<Rows>,
    /// Bytes of evidence in them.
    bytes: usize,
    /// A row that is being made.
    key: Vec<u8>,
    value: Vec<u8>,
    untimed: u64,
    /// The last event with a text, by its number in the object, and where that is.
    last: Option<(u64, Arc<str>)>,
    handed_over: io::Result<()>,
}

impl<'p> Gathering<'p> {
    pub(super) fn new(pile: &'p Pile, worker: usize, task: usize) -> Self {
        Self {
            pile,
            worker,
            task,
            rows: (0..PARTS).map(|_| Rows::default()).collect(),
            bytes: 0,
            key: Vec::new(),
            value: Vec::new(),
            untimed: 0,
            last: None,
            handed_over: Ok(()),
        }
    }

    pub(super) fn untimed(&mut self) {
        self.untimed += 1;
    }

    /// Where the text about an event can be found; an event that feeds several detections has but one.
    pub(super) fn excerpt(&mut self, event: &Event<'_>, origin: &Origin<'_>) -> Arc<str> {
        if let Some((_, place)) = self.last.as_ref().filter(|(index, _)| *index == origin.index) {
            return Arc::clone(place);
        }
        let write = |text: &mut Vec<u8>| alert::write_bare_excerpt(event, origin, text);
        let span = lock(&self.pile.texts[self.worker]).push(write).unwrap_or_else(|error| {
            self.handed_over = Err(error);
            Span { at: 0, length: 0 }
        });
        let place: Arc<str> = Place { worker: self.worker, span }.to_string().into();
        self.last = Some((origin.index, Arc::clone(&place)));
        place
    }

    pub(super) fn push(&mut self, record: u64, evidence: &Evidence) {
        let Self { task, key, value, .. } = self;
        value.clear();
        evidence.write(value);
        key.clear();
        [&value[..ORDER], &(*task as u64).to_be_bytes(), &record.to_be_bytes()]
            .into_iter()
            .for_each(|part| key.extend_from_slice(part));
        self.rows[self.pile.parts[evidence.rule as usize]].push(Row { key, value });
        self.bytes += value.len();
        if self.bytes >= AT_ONCE {
            self.hand_over();
        }
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.hand_over();
        self.handed_over
    }

    fn hand_over(&mut self) {
        if self.bytes == 0 && self.untimed == 0 || self.handed_over.is_err() {
            return;
        }
        self.bytes = 0;
        let mut gathered = lock(&self.pile.gathered);
        gathered.untimed += std::mem::take(&mut self.untimed);
        for (rows, sorter) in self.rows.iter_mut().zip(&mut gathered.sorters) {
            self.handed_over = rows.iter().try_for_each(|row| sorter.push(row));
            if self.handed_over.is_err() {
                return;
            }
            rows.clear();
        }
    }
}

/// What all evidence of a replay comes to.
pub(super) struct Told {
    alerts: Sorted,
    /// The next alert by its key, which ends with the revision.
    next: Option<(Vec<u8>, Alert)>,
    /// What became of the evidence.
    pub(super) tally: Tally,
    /// Hits that were none because their events have no time.
    pub(super) untimed: u64,
}

/// Has engines of a set take all evidence, and makes alerts of what they find.
pub(super) fn tell(pile: Pile, set: &Inspection) -> io::Result<Told> {
    let (Gathered { sorters, untimed }, texts) = pile.into_parts();
    let texts = texts.into_iter().map(Texts::written).collect::<io::Result<Vec<_>>>()?;
    let mut parts: Vec<_> = sorters.into_iter().filter(|rows| !rows.is_empty()).collect();
    // The largest is taken first, so that none is left over for one thread at the end.
    parts.sort_by_key(Sorter::size);
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(parts.len());
    let parts = Mutex::new(parts);
    let next = || lock(&parts).pop();
    let work = || -> io::Result<Vec<_>> {
        std::iter::from_fn(next).map(|rows| tell_part(rows, set, &texts)).collect()
    };
    let done: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let joined =
            |thread: ScopedJoinHandle<'_, _>| thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        threads.into_iter().map(joined).collect::<io::Result<_>>()
    })?;
    let (alerts, tallies): (Vec<Sorter>, Vec<Tally>) = done.into_iter().flatten().unzip();
    let tally = tallies.into_iter().fold(Tally::default(), Tally::and);
    let mut alerts = Sorter::sorted_together(alerts)?;
    let next = next_alert(&mut alerts)?;
    Ok(Told { alerts, next, tally, untimed })
}

/// The alerts of one part of the evidence, and what became of it.
fn tell_part(rows: Sorter, set: &Inspection, texts: &[Written]) -> io::Result<(Sorter, Tally)> {
    let mut teller = Teller::new(set, texts);
    let mut engine = Engine::new(set.detections.feeds().clone(), Idle::SORTED, Journaling::Off);
    let mut evidence = Sorter::sorted_together(vec![rows])?;
    loop {
        let step = next_step(&mut evidence)?;
        let is_end = step.is_empty();
        let last = step.last().map_or(Timestamp::MAX, |evidence| evidence.time);
        teller.all(engine.step(step, StreamProgress::in_order(last)), last)?;
        if is_end {
            return Ok((teller.alerts, *engine.tally()));
        }
    }
}

/// Hands over all evidence, in steps.
pub(super) fn each(pile: Pile, take: &mut dyn FnMut(Vec<Evidence>)) -> io::Result<()> {
    let mut evidence = Sorter::sorted_together(pile.into_parts().0.sorters)?;
    loop {
        match next_step(&mut evidence)? {
            step if step.is_empty() => return Ok(()),
            step => take(step),
        }
    }
}

fn next_step(sorted: &mut Sorted) -> io::Result<Vec<Evidence>> {
    let mut step = Vec::new();
    while step.len() < STEP
        && let Some(row) = sorted.next()?
    {
        let read = Evidence::read(&mut &*row.value);
        step.push(read.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?);
    }
    Ok(step)
}

/// Turns findings into alerts.
struct Teller<'s> {
    set: &'s Inspection,
    parser: Parser,
    /// By worker.
    texts: &'s [Written],
    /// The last findings about periods that are not over, as far as there is room: of several revisions the last is
    /// told, as the only one.
    open: HashMap<(Arc<str>, Values, Timestamp), Finding>,
    alerts: Sorter,
}

impl<'s> Teller<'s> {
    fn new(set: &'s Inspection, texts: &'s [Written]) -> Self {
        Self {
            set,
            parser: Parser::default(),
            texts,
            open: HashMap::new(),
            alerts: Sorter::new(ALERTS_IN_MEMORY / PARTS),
        }
    }

    fn all(&mut self, step: Step, time: Timestamp) -> io::Result<()> {
        for finding in step.findings {
            match finding.kind {
                FindingKind::Window => {
                    let key = (finding.detection.clone(), finding.values.clone(), finding.period);
                    self.open.insert(key, finding);
                }
                FindingKind::FirstSeen => self.one(finding)?,
            }
        }
        // Beyond the bound each revision becomes an alert; the last of them is told once they are sorted.
        let is_full = self.open.len() > MOST_OPEN;
        let over = self.open.extract_if(|_, finding| is_full || finding.period_end <= time);
        let over: Vec<Finding> = over.map(|(_, finding)| finding).collect();
        over.into_iter().try_for_each(|finding| self.one(finding))
    }

    fn one(&mut self, mut finding: Finding) -> io::Result<()> {
        let Inspection { detections, tool, .. } = self.set;
        let Some(rule) = detections.rule(&finding.detection) else { return Ok(()) };
        for listed in &mut finding.listed {
            if let Some(place) = listed.excerpt.take() {
                let Place { worker, span } = place.parse()?;
                let texts = self.texts.get(worker).ok_or(io::ErrorKind::InvalidData)?;
                listed.excerpt = Some(Arc::from(alert::masked_excerpt(&texts.read(span)?)));
            }
        }
        let revision = std::mem::replace(&mut finding.revision, 1);
        let alert = Alert::of_finding(&finding, rule, None, tool, &mut self.parser);
        self.alerts.push(Row { key: &key(&alert, revision), value: &spool::write(0, &alert) })
    }
}

/// The order in which alerts about more than one event are told: by time, detection and id.
fn key(alert: &Alert, revision: u32) -> Vec<u8> {
    let micros = alert.time.map_or(i64::MIN, Timestamp::as_microsecond);
    let time = (micros.cast_unsigned() ^ 1 << 63).to_be_bytes();
    [&time[..], alert.rule.as_bytes(), &[0], &alert.id.bytes(), &revision.to_be_bytes()].concat()
}

/// By time, detection and id.
impl InOrder for Told {
    type Key = Vec<u8>;

    fn next(&mut self) -> io::Result<Option<(Vec<u8>, Alert)>> {
        loop {
            let Some((mut key, alert)) = self.next.take() else { return Ok(None) };
            self.next = next_alert(&mut self.alerts)?;
            key.truncate(key.len() - size_of::<u32>());
            if self.next.as_ref().is_none_or(|(next, _)| !next.starts_with(&key)) {
                return Ok(Some((key, alert)));
            }
        }
    }
}

fn next_alert(alerts: &mut Sorted) -> io::Result<Option<(Vec<u8>, Alert)>> {
    let Some(Row { key, mut value }) = alerts.next()? else { return Ok(None) };
    Ok(Some((key.to_vec(), spool::read(&mut value)?.alert)))
}
