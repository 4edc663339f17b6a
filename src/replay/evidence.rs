//! Detections over more than one event in a replay: their evidence is sorted by event time after the pass, and one
//! engine takes it from the first event to the last. Lateness plays no part.
//!
//! Few events are ever listed by an alert. Their texts wait in memory, and in a file if they are many; evidence has only
//! the place of its text.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, mpsc};

use jiff::Timestamp;

use super::comparison::InOrder;
use super::lock;
use super::sorter::{Row, Sorted, Sorter};
use super::spool;
use crate::alert::{self, Alert, Origin};
use crate::detect::windows::{Engine, FindingKind, Journaling, Step, Tally, Values};
use crate::detect::{Evidence, Finding};
use crate::event::{Event, Parser};
use crate::worker::Inspection;

/// The first bytes of evidence, which sort like it: time, event and rule.
const ORDER: usize = 28;
/// Bytes of evidence of one object that are gathered before they are handed over.
const AT_ONCE: usize = 256 << 10;
/// Bytes that evidence has at most, as a rule.
const USUAL: usize = 192;
/// Bytes of texts that are held in memory.
const IN_MEMORY: u64 = 32 << 20;
/// Bytes of texts that are written at once.
const WRITTEN_AT_ONCE: usize = 64 << 10;
/// Rows of evidence in a step of the engine, and steps that it may be ahead of the alerts.
const STEP: usize = 4_096;
const AHEAD: usize = 2;
/// Findings that wait for a later revision.
const MOST_OPEN: usize = 4_096;

/// The evidence of all objects.
#[derive(Debug, Default)]
pub(super) struct Pile {
    rows: Sorter,
    texts: Texts,
    /// Hits that are none because their events have no time.
    untimed: u64,
}

/// Gathers the evidence of one object.
#[derive(Debug)]
pub(super) struct Gathering<'p> {
    pile: &'p Mutex<Pile>,
    /// The number of the object's task, by which equal evidence of several objects has an order.
    task: usize,
    rows: Vec<Row>,
    bytes: usize,
    untimed: u64,
    /// The last event with a text, by its number in the object, and where that is.
    last: Option<(u64, Box<str>)>,
    handed_over: io::Result<()>,
}

impl<'p> Gathering<'p> {
    pub(super) fn new(pile: &'p Mutex<Pile>, task: usize) -> Self {
        Self { pile, task, rows: Vec::new(), bytes: 0, untimed: 0, last: None, handed_over: Ok(()) }
    }

    pub(super) fn untimed(&mut self) {
        self.untimed += 1;
    }

    /// Where the text about an event can be found; an event that feeds several detections has but one.
    pub(super) fn excerpt(&mut self, event: &Event<'_>, origin: &Origin<'_>) -> Box<str> {
        if let Some((_, place)) = self.last.as_ref().filter(|(index, _)| *index == origin.index) {
            return place.clone();
        }
        let text = alert::bare_excerpt(event, origin);
        let place = lock(self.pile).texts.push(&text).unwrap_or_else(|error| {
            self.handed_over = Err(error);
            Box::default()
        });
        self.last = Some((origin.index, place.clone()));
        place
    }

    pub(super) fn push(&mut self, record: u64, evidence: &Evidence) {
        let mut value = Vec::with_capacity(USUAL);
        evidence.write(&mut value);
        let key = [&value[..ORDER], &(self.task as u64).to_be_bytes(), &record.to_be_bytes()].concat();
        self.bytes += value.len();
        self.rows.push(Row { key, value });
        if self.bytes >= AT_ONCE {
            self.hand_over();
        }
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.hand_over();
        self.handed_over
    }

    fn hand_over(&mut self) {
        self.bytes = 0;
        if self.rows.is_empty() && self.untimed == 0 || self.handed_over.is_err() {
            return;
        }
        let mut pile = lock(self.pile);
        pile.untimed += std::mem::take(&mut self.untimed);
        self.handed_over = self.rows.drain(..).try_for_each(|row| pile.rows.push(row));
    }
}

/// What all evidence of a replay comes to.
pub(super) struct Told {
    alerts: Sorted,
    next: Option<Row>,
    /// What became of the evidence.
    pub(super) tally: Tally,
    /// Hits that were none because their events have no time.
    pub(super) untimed: u64,
}

/// Has the engine of a set take all evidence. While it takes more, alerts are made of what it has found.
pub(super) fn tell(pile: Pile, set: &Inspection) -> io::Result<Told> {
    let Pile { rows, texts, untimed } = pile;
    let mut teller = Teller::new(set, texts.written()?);
    let tally = std::thread::scope(|scope| {
        let (steps, taken) = mpsc::sync_channel(AHEAD);
        let engine = scope.spawn(move || find(rows, set, &steps));
        taken.into_iter().try_for_each(|(step, time)| teller.all(step, time))?;
        engine.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    let mut alerts = teller.alerts.sorted()?;
    Ok(Told { next: alerts.next()?, alerts, tally, untimed })
}

/// Hands over what the engine finds, in steps, each with the time up to which it has seen all; less than all if
/// nobody takes it.
fn find(rows: Sorter, set: &Inspection, steps: &mpsc::SyncSender<(Step, Timestamp)>) -> io::Result<Tally> {
    let mut engine = Engine::new(set.detections.feeds().clone(), Journaling::Off);
    let mut evidence = rows.sorted()?;
    loop {
        let step = next_step(&mut evidence)?;
        let last = step.last().map_or(Timestamp::MAX, |evidence| evidence.time);
        let is_end = step.is_empty();
        if steps.send((engine.step(step, last), last)).is_err() || is_end {
            return Ok(*engine.tally());
        }
    }
}

/// Hands over all evidence, in steps.
pub(super) fn each(pile: Pile, take: &mut dyn FnMut(Vec<Evidence>)) -> io::Result<()> {
    let mut evidence = pile.rows.sorted()?;
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
        let read = Evidence::read(&mut row.value.as_slice());
        step.push(read.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?);
    }
    Ok(step)
}

/// Turns findings into alerts.
struct Teller<'s> {
    set: &'s Inspection,
    parser: Parser,
    texts: Written,
    /// The last findings about periods that are not over, as far as there is room: of several revisions the last is
    /// told, as the only one.
    open: HashMap<(Arc<str>, Values, Timestamp), Finding>,
    alerts: Sorter,
}

impl<'s> Teller<'s> {
    fn new(set: &'s Inspection, texts: Written) -> Self {
        Self { set, parser: Parser::default(), texts, open: HashMap::new(), alerts: Sorter::default() }
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
                listed.excerpt = Some(Arc::from(alert::masked_excerpt(&self.texts.read(&place)?)));
            }
        }
        let revision = std::mem::replace(&mut finding.revision, 1);
        let alert = Alert::of_finding(&finding, rule, None, tool, &mut self.parser);
        self.alerts.push(Row { key: key(&alert, revision), value: spool::write(0, &alert) })
    }
}

/// Texts about events, one behind the other: in memory, and in a file without a name those for which there was no
/// room.
#[derive(Debug, Default)]
struct Texts {
    early: Vec<u8>,
    late: Option<BufWriter<File>>,
    length: u64,
}

impl Texts {
    /// Adds a text; answers with its place.
    fn push(&mut self, text: &str) -> io::Result<Box<str>> {
        let place = format!("{} {}", self.length, text.len());
        self.length += text.len() as u64;
        if self.length <= IN_MEMORY {
            self.early.extend_from_slice(text.as_bytes());
            return Ok(place.into());
        }
        let late = match &mut self.late {
            Some(late) => late,
            none => none.insert(BufWriter::with_capacity(WRITTEN_AT_ONCE, tempfile::tempfile()?)),
        };
        late.write_all(text.as_bytes())?;
        Ok(place.into())
    }

    fn written(self) -> io::Result<Written> {
        let late = self.late.map(|late| late.into_inner().map_err(io::IntoInnerError::into_error));
        Ok(Written { early: self.early, late: late.transpose()? })
    }
}

/// Texts that are read again.
struct Written {
    early: Vec<u8>,
    late: Option<File>,
}

impl Written {
    fn read(&mut self, place: &str) -> io::Result<String> {
        let place =
            place.split_once(' ').and_then(|(at, length)| Some((at.parse().ok()?, length.parse().ok()?)));
        let (at, length): (u64, usize) = place.ok_or(io::ErrorKind::InvalidData)?;
        let mut text = vec![0; length];
        match (at.checked_sub(self.early.len() as u64), &mut self.late) {
            (Some(at), Some(late)) => {
                late.seek(SeekFrom::Start(at))?;
                late.read_exact(&mut text)?;
            }
            _ => {
                let early = usize::try_from(at).ok().and_then(|at| self.early.get(at..)?.get(..length));
                text.copy_from_slice(early.ok_or(io::ErrorKind::UnexpectedEof)?);
            }
        }
        String::from_utf8(text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
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
            let Some(Row { mut key, value }) = self.next.take() else { return Ok(None) };
            self.next = self.alerts.next()?;
            key.truncate(key.len() - size_of::<u32>());
            if self.next.as_ref().is_none_or(|next| !next.key.starts_with(&key)) {
                return Ok(Some((key, spool::read(&mut value.as_slice())?.alert)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_again_from_wherever_they_are() {
        let mut texts = Texts::default();
        let text = |number: usize| format!("{number} {}", "é".repeat(number % 7 * 100_000));
        let places: Vec<_> = (0..80).map(|number| texts.push(&text(number)).unwrap()).collect();
        assert!(texts.late.is_some() && !texts.early.is_empty());
        let mut written = texts.written().unwrap();
        for number in (0..80).rev() {
            assert_eq!(written.read(&places[number]).unwrap(), text(number));
        }
    }
}
