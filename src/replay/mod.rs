//! `replay`: the line over archived logs, on every core, with the same output every time.
//!
//! Objects are taken in a fixed order by as many workers as there are cores. Their alerts are told in that
//! order, whoever finishes first: what is early waits, at most 32 objects for each worker ahead of the first
//! unfinished one, in memory or in a file.

mod patient;
mod spool;
mod window;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use serde::Serialize;

pub use window::{UnknownTime, Window, from, to};

use crate::alert::{Alert, AlertId, Origin, OriginKind};
use crate::announce::Class;
use crate::decode::Limits;
use crate::detect::{Hit, Status};
use crate::fetch::{Body, Fetched};
use crate::folder;
use crate::sigma::Level;
use crate::worker::{Examined, Inspection, Listener, Worker};
use patient::Patient;
use spool::Spool;
use window::Glimpse;

/// Objects that a worker may be ahead of the first unfinished one: as many as are done meanwhile if that one is
/// large and they are not.
const AHEAD: usize = 32;
/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// One of the sources of a replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file, or a folder that is walked.
    Path(PathBuf),
    /// Standard input.
    Stdin,
}

/// Something to be read.
#[derive(Debug)]
enum Task {
    File(PathBuf),
    Stdin,
    /// It cannot even be opened.
    Fault(String, io::Error),
    /// It is none of ours.
    Skip(Class),
}

/// What a replay found.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    /// What was asked for, in words.
    pub window: String,
    /// Objects that were read, to their end or not.
    pub objects: u64,
    /// Records, undecodable ones included.
    pub records: u64,
    /// Records that could not be evaluated, by reason.
    pub undecodable: BTreeMap<&'static str, u64>,
    /// Bytes as stored.
    pub bytes_compressed: u64,
    /// Bytes inflated.
    pub bytes: u64,
    /// Alerts, undecided ones included; each id once.
    pub alerts: u64,
    /// Undecided ones among them.
    pub undecided: u64,
    /// Undecided alerts beside them that were not told, as the configuration asks; each id once.
    pub withheld: u64,
    /// Alerts by level.
    pub levels: BTreeMap<&'static str, u64>,
    /// Alerts by the id of their detection.
    pub rules: BTreeMap<String, u64>,
    /// Alerts that were not told again: their id was told before.
    pub repeats: u64,
    /// Files that were passed over, by class.
    pub skipped: BTreeMap<&'static str, u64>,
    /// What could not be read, or not to its end.
    pub unreadable: Vec<Remark>,
    /// What ordinary objects never have.
    pub anomalies: Vec<Remark>,
    /// Whether a signal ended the replay early.
    pub interrupted: bool,
    /// Alerts that a required sink did not take, where alerts were to be delivered.
    pub undelivered: u64,
    /// Seconds.
    pub elapsed_s: f64,
    /// The gravest level of an alert.
    #[serde(skip)]
    pub gravest: Option<Level>,
    /// Records that may lie within what was asked for.
    #[serde(skip)]
    pub within: u64,
}

/// A remark on an object.
#[derive(Debug, Serialize)]
pub struct Remark {
    /// Its key or path.
    pub object: String,
    /// A short name, from a closed set.
    pub reason: &'static str,
    /// In words.
    pub detail: String,
}

impl Summary {
    /// Whether everything that was asked for was read, and there was something to read.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let nothing = self.objects == 0 || self.records == 0 || self.within == 0;
        self.unreadable.is_empty() && self.undecodable.is_empty() && !nothing
    }
}

/// Whoever hears of a replay.
pub trait Audience: Send {
    /// An alert, in order.
    ///
    /// # Errors
    /// It could not be told; the replay ends.
    fn alert(&mut self, alert: &Alert) -> io::Result<()>;

    /// Now and then: what was found so far, and how many objects there are.
    fn progress(&mut self, summary: &Summary, total: usize);
}

/// Replays sources. With what was found comes whether all alerts could be told.
pub fn replay(
    sources: &[Source],
    inspection: &Inspection,
    window: &Window,
    jobs: usize,
    stop: &Arc<AtomicBool>,
    audience: &mut dyn Audience,
) -> (Summary, io::Result<()>) {
    let started = Instant::now();
    let tasks = tasks(sources);
    let jobs = jobs.max(1);
    let turns = Turns::new(tasks.len(), jobs * AHEAD);
    let summary = Summary { window: window.to_string(), ..Summary::default() };
    let desk = Mutex::new(Desk::new(summary, audience));
    let running = Running::new(jobs);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                let _running = running.one(&turns);
                work(&tasks, &turns, inspection, window, stop, &desk);
            });
        }
        while running.wait(PROGRESS_EVERY) {
            lock(&desk).progress(tasks.len());
        }
    });
    let Desk { mut summary, told, .. } = desk.into_inner().unwrap_or_else(PoisonError::into_inner);
    summary.interrupted = stop.load(Ordering::Relaxed) || told.is_err();
    summary.elapsed_s = started.elapsed().as_secs_f64();
    (summary, told)
}

/// Everything that the sources hold, in the order in which it is told.
fn tasks(sources: &[Source]) -> Vec<Task> {
    let mut tasks = Vec::new();
    for source in sources {
        match source {
            Source::Stdin => tasks.push(Task::Stdin),
            Source::Path(path) if path.is_dir() => {
                let folder::Walk { files, others, faults } = folder::walk(path);
                tasks.extend(files.into_iter().map(file));
                tasks.extend((0..others).map(|_| Task::Skip(Class::Foreign)));
                tasks.extend(
                    faults.into_iter().map(|(path, error)| Task::Fault(path.display().to_string(), error)),
                );
            }
            Source::Path(path) => tasks.push(file(path.clone())),
        }
    }
    tasks
}

/// In a folder of logs there is no foreign file; the siblings of logs are passed over.
fn file(path: PathBuf) -> Task {
    match Class::of(&path.to_string_lossy()) {
        class @ (Class::Digest | Class::Insight | Class::Aggregated | Class::OtherLog) => Task::Skip(class),
        Class::Log | Class::NetworkActivity | Class::Folder | Class::Foreign => Task::File(path),
    }
}

/// Whose turn it is: the next task to take, and how many have been told.
#[derive(Debug)]
struct Turns {
    tasks: usize,
    ahead: usize,
    state: Mutex<TurnState>,
    told: Condvar,
}

#[derive(Debug, Default)]
struct TurnState {
    next: usize,
    told: usize,
    waiting: usize,
    ended: bool,
}

impl Turns {
    fn new(tasks: usize, ahead: usize) -> Self {
        Self { tasks, ahead, state: Mutex::default(), told: Condvar::new() }
    }

    /// The next task, once it is not too far ahead; none when there are no more.
    fn take(&self) -> Option<usize> {
        let mut state = lock(&self.state);
        while !state.ended && state.next >= state.told + self.ahead {
            state.waiting += 1;
            state = self.told.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
        self.next(&mut state)
    }

    /// The next task, if it is not too far ahead.
    fn try_take(&self) -> Option<usize> {
        let mut state = lock(&self.state);
        if state.next >= state.told + self.ahead { None } else { self.next(&mut state) }
    }

    fn next(&self, state: &mut TurnState) -> Option<usize> {
        if state.ended || state.next >= self.tasks {
            return None;
        }
        state.next += 1;
        Some(state.next - 1)
    }

    /// So many tasks were told.
    fn tell(&self, told: usize) {
        let mut state = lock(&self.state);
        state.told = state.told.max(told);
        if state.waiting > 0 {
            self.told.notify_all();
        }
    }

    fn end(&self) {
        lock(&self.state).ended = true;
        self.told.notify_all();
    }
}

/// How many workers are at work, for the thread that waits for them.
#[derive(Debug)]
struct Running {
    workers: AtomicUsize,
    waiter: Thread,
}

/// One of the workers; it ends when this is dropped.
#[derive(Debug)]
struct One<'r> {
    running: &'r Running,
    turns: &'r Turns,
}

impl Running {
    fn new(workers: usize) -> Self {
        Self { workers: AtomicUsize::new(workers), waiter: std::thread::current() }
    }

    fn one<'r>(&'r self, turns: &'r Turns) -> One<'r> {
        One { running: self, turns }
    }

    /// Waits for their end, or so long; whether some are still at work.
    fn wait(&self, most: Duration) -> bool {
        if self.workers.load(Ordering::Acquire) > 0 {
            std::thread::park_timeout(most);
        }
        self.workers.load(Ordering::Acquire) > 0
    }
}

impl Drop for One<'_> {
    fn drop(&mut self) {
        // Nobody is to wait for the task of a worker that has failed.
        if std::thread::panicking() {
            self.turns.end();
        }
        self.running.workers.fetch_sub(1, Ordering::Release);
        self.running.waiter.unpark();
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What became of a task.
enum Outcome {
    Read { name: String, examined: Box<Examined>, within: u64, spool: Spool, spooled: io::Result<()> },
    Fault(String, io::Error),
    Skip(Class),
}

/// One worker: takes tasks until there are none. While it examines an object, the next one is on its way from
/// the disk.
fn work(
    tasks: &[Task],
    turns: &Turns,
    inspection: &Inspection,
    window: &Window,
    stop: &Arc<AtomicBool>,
    desk: &Mutex<Desk<'_>>,
) {
    let mut worker = Worker::new(inspection.limits);
    let mut glimpse = Glimpse::new(window);
    let (mut opened, mut buffer) = (None, Vec::new());
    loop {
        // A worker that holds a task does not wait for others.
        let Some((number, task)) =
            opened.take().or_else(|| turns.take().map(|turn| Opened::turn(tasks, turn)))
        else {
            return;
        };
        if stop.load(Ordering::Relaxed) {
            return;
        }
        opened = turns.try_take().map(|turn| Opened::turn(tasks, turn));
        let outcome = match task {
            Opened::Skip(class) => Outcome::Skip(class),
            Opened::Fault(name, error) => Outcome::Fault(name, error),
            Opened::Stdin => {
                let body = Body::Stream(Box::new(Patient::stdin(stop)));
                // Whoever pipes something in has chosen how much it is.
                let mut worker = Worker::new(Limits { inflated: u64::MAX, ..inspection.limits });
                examine(&mut worker, inspection, &mut glimpse, body, None).0
            }
            Opened::Pipe(path) => {
                let body = Body::Stream(Box::new(Patient::pipe(path, stop)));
                examine(&mut worker, inspection, &mut glimpse, body, Some(path)).0
            }
            Opened::File(path, file) => match file.read(std::mem::take(&mut buffer)) {
                Ok(Fetched { body, .. }) => {
                    let (outcome, body) = examine(&mut worker, inspection, &mut glimpse, body, Some(path));
                    if let Body::Whole(bytes) = body {
                        buffer = bytes;
                    }
                    outcome
                }
                Err(error) => Outcome::Fault(path.display().to_string(), error),
            },
        };
        match lock(desk).take(number, outcome) {
            Some(told) => turns.tell(told),
            None => return turns.end(),
        }
    }
}

/// A task that was taken, with its file open.
enum Opened<'t> {
    File(&'t Path, folder::Opened),
    /// Opened when it is read, which may wait for its writer.
    Pipe(&'t Path),
    Stdin,
    Fault(String, io::Error),
    Skip(Class),
}

impl<'t> Opened<'t> {
    fn turn(tasks: &'t [Task], number: usize) -> (usize, Self) {
        (number, Self::of(&tasks[number]))
    }

    fn of(task: &'t Task) -> Self {
        match task {
            Task::Skip(class) => Opened::Skip(*class),
            Task::Fault(name, error) => {
                Opened::Fault(name.clone(), io::Error::new(error.kind(), error.to_string()))
            }
            Task::Stdin => Opened::Stdin,
            Task::File(path) => match folder::Opened::new(path) {
                Ok(file) => Opened::File(path, file),
                Err(_) if is_pipe(path) => Opened::Pipe(path),
                Err(error) => Opened::Fault(path.display().to_string(), error),
            },
        }
    }
}

fn is_pipe(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo())
}

/// Examines an object; its body comes back, for its buffer to be used again.
fn examine(
    worker: &mut Worker,
    inspection: &Inspection,
    glimpse: &mut Glimpse<'_>,
    mut body: Body,
    path: Option<&Path>,
) -> (Outcome, Body) {
    let name = path.map_or_else(|| "-".to_owned(), |path| path.to_string_lossy().into_owned());
    let origin = Origin {
        kind: if path.is_some() { OriginKind::File } else { OriginKind::Stdin },
        bucket: None,
        key: path.is_some().then_some(name.as_str()),
        version: None,
        index: 0,
        announced_at: None,
        received_at: None,
        stored_at: None,
    };
    let mut teller = Teller { glimpse, within: 0, spool: Spool::new(), spooled: Ok(()) };
    let examined = Box::new(worker.examine(inspection, &mut body, &origin, None, &mut teller));
    let Teller { within, spool, spooled, .. } = teller;
    (Outcome::Read { name, examined, within, spool, spooled }, body)
}

/// Spools what is asked for, and counts how many records were.
struct Teller<'t, 'w> {
    glimpse: &'t mut Glimpse<'w>,
    within: u64,
    spool: Spool,
    spooled: io::Result<()>,
}

impl Listener for Teller<'_, '_> {
    fn record(&mut self, record: &[u8]) {
        self.within += u64::from(self.glimpse.may_admit(record));
    }

    fn wants(&mut self, hit: &Hit<'_>) -> bool {
        self.glimpse.window().admits(hit.event)
    }

    fn alert(&mut self, alert: Alert) {
        if self.spooled.is_ok() {
            self.spooled = self.spool.push(&alert);
        }
    }
}

/// Puts outcomes back into order and tells them.
struct Desk<'a> {
    summary: Summary,
    /// Outcomes whose turn has not come.
    early: BTreeMap<usize, Outcome>,
    next: usize,
    ids: HashSet<AlertId>,
    told: io::Result<()>,
    audience: &'a mut dyn Audience,
}

impl<'a> Desk<'a> {
    fn new(summary: Summary, audience: &'a mut dyn Audience) -> Self {
        Self { summary, early: BTreeMap::new(), next: 0, ids: HashSet::new(), told: Ok(()), audience }
    }

    /// Takes the outcome of a task and tells everything whose turn it is; returns how many tasks were told, or
    /// nothing once something could not be.
    fn take(&mut self, number: usize, outcome: Outcome) -> Option<usize> {
        self.early.insert(number, outcome);
        while let Some(outcome) = self.early.remove(&self.next).filter(|_| self.told.is_ok()) {
            self.next += 1;
            self.told = self.summary.add(outcome, &mut self.ids, &mut *self.audience);
        }
        self.told.is_ok().then_some(self.next)
    }

    fn progress(&mut self, total: usize) {
        self.audience.progress(&self.summary, total);
    }
}

impl Summary {
    fn add(
        &mut self,
        outcome: Outcome,
        ids: &mut HashSet<AlertId>,
        audience: &mut dyn Audience,
    ) -> io::Result<()> {
        let (name, examined, spool) = match outcome {
            Outcome::Skip(class) => {
                *self.skipped.entry(class.reason()).or_default() += 1;
                return Ok(());
            }
            Outcome::Fault(object, error) => {
                self.unreadable.push(Remark { object, reason: "io", detail: error.to_string() });
                return Ok(());
            }
            Outcome::Read { name, examined, within, spool, spooled } => {
                spooled?;
                self.within += within;
                (name, examined, spool)
            }
        };
        let Examined { decoded, tally } = *examined;
        self.objects += 1;
        self.records += tally.records;
        self.bytes_compressed += decoded.compressed;
        self.bytes += decoded.inflated;
        for (reason, count) in &tally.undecodable {
            *self.undecodable.entry(reason).or_default() += count;
        }
        let remark = |reason, detail| Remark { object: name.clone(), reason, detail };
        if tally.undecodable() > 0 {
            let detail = format!("{} record(s) that cannot be read", tally.undecodable());
            self.unreadable.push(remark("records", detail));
        }
        if let Some(error) = &decoded.unreadable {
            self.unreadable.push(remark(error.reason(), error.to_string()));
        }
        self.anomalies
            .extend(decoded.anomalies.iter().map(|anomaly| remark(anomaly.reason(), anomaly.to_string())));
        if tally.repaired > 0 {
            let detail = format!("{} record(s) in which bytes were replaced", tally.repaired);
            self.anomalies.push(remark("repaired-records", detail));
        }
        spool.drain(|alert| {
            if !ids.insert(alert.id) {
                self.repeats += 1;
                return Ok(());
            }
            if alert.is_withheld {
                self.withheld += 1;
                return Ok(());
            }
            self.alerts += 1;
            self.undecided += u64::from(alert.status == Status::Undecided);
            *self.levels.entry(alert.level.as_str()).or_default() += 1;
            *self.rules.entry(alert.rule.to_string()).or_default() += 1;
            self.gravest = self.gravest.max(Some(alert.level));
            audience.alert(&alert)
        })
    }
}
