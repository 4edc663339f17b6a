//! `replay`: the line over archived logs, on every core, with the same output every time.
//!
//! Objects are taken in a fixed order by as many workers as there are cores. Their alerts are told in that
//! order, whoever finishes first: what is early waits, at most 4 objects for each worker ahead of the first
//! unfinished one, in memory or in a file.

mod patient;
mod spool;
mod window;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
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

/// Objects that a worker may be ahead of the first unfinished one.
const AHEAD: usize = 4;

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

/// Replays sources. `tell` is handed each alert, in order; `progress` is called now and then. With what was found
/// comes whether all alerts could be told; the first that could not ends the replay.
pub fn replay(
    sources: &[Source],
    inspection: &Inspection,
    window: &Window,
    jobs: usize,
    stop: &Arc<AtomicBool>,
    tell: &mut dyn FnMut(&Alert) -> io::Result<()>,
    progress: &mut dyn FnMut(&Summary, usize),
) -> (Summary, io::Result<()>) {
    let started = Instant::now();
    let tasks = tasks(sources);
    let mut summary = Summary { window: window.to_string(), ..Summary::default() };
    let turns = Turns::default();
    let (sender, finished) = sync_channel(jobs.max(1) * AHEAD);
    let told = std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let (sender, turns, tasks) = (sender.clone(), &turns, &tasks);
            scope.spawn(move || work(tasks, turns, jobs.max(1) * AHEAD, inspection, window, stop, &sender));
        }
        drop(sender);
        let told =
            collect(&finished, &turns, &mut summary, tell, &mut |summary| progress(summary, tasks.len()));
        turns.end();
        // Workers that wait to hand over see that nobody takes it.
        drop(finished);
        told
    });
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
#[derive(Debug, Default)]
struct Turns {
    state: Mutex<TurnState>,
    told: Condvar,
}

#[derive(Debug, Default)]
struct TurnState {
    next: usize,
    told: usize,
    ended: bool,
}

impl Turns {
    /// The next task, once it is not too far ahead; none when there are no more.
    fn take(&self, tasks: usize, ahead: usize) -> Option<usize> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.ended && state.next >= state.told + ahead {
            state = self.told.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.ended || state.next >= tasks {
            return None;
        }
        state.next += 1;
        Some(state.next - 1)
    }

    fn tell(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).told += 1;
        self.told.notify_all();
    }

    fn end(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.told.notify_all();
    }
}

/// What became of a task.
struct Finished {
    number: usize,
    outcome: Outcome,
}

enum Outcome {
    Read { name: String, examined: Box<Examined>, within: u64, spool: Spool, spooled: io::Result<()> },
    Fault(String, io::Error),
    Skip(Class),
}

/// One worker: takes tasks until there are none.
fn work(
    tasks: &[Task],
    turns: &Turns,
    ahead: usize,
    inspection: &Inspection,
    window: &Window,
    stop: &Arc<AtomicBool>,
    finished: &SyncSender<Finished>,
) {
    let mut worker = Worker::new(inspection.limits);
    let glimpse = Glimpse::new(window);
    while let Some(number) = turns.take(tasks.len(), ahead) {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let outcome = match &tasks[number] {
            Task::Skip(class) => Outcome::Skip(*class),
            Task::Fault(name, error) => {
                Outcome::Fault(name.clone(), io::Error::new(error.kind(), error.to_string()))
            }
            Task::Stdin => {
                let body = Body::Stream(Box::new(Patient::stdin(stop)));
                // Whoever pipes something in has chosen how much it is.
                let mut worker = Worker::new(Limits { inflated: u64::MAX, ..inspection.limits });
                examine(&mut worker, inspection, window, &glimpse, body, None)
            }
            Task::File(path) => match open(path, stop) {
                Ok(body) => examine(&mut worker, inspection, window, &glimpse, body, Some(path)),
                Err(error) => Outcome::Fault(path.display().to_string(), error),
            },
        };
        if finished.send(Finished { number, outcome }).is_err() {
            return;
        }
    }
}

/// Opens what was named: a file, or a pipe, which is read as patiently as standard input.
fn open(path: &Path, stop: &Arc<AtomicBool>) -> io::Result<Body> {
    if std::fs::metadata(path)?.file_type().is_fifo() {
        return Ok(Body::Stream(Box::new(Patient::pipe(path, stop))));
    }
    folder::open(path).map(|Fetched { body, .. }| body)
}

fn examine(
    worker: &mut Worker,
    inspection: &Inspection,
    window: &Window,
    glimpse: &Glimpse<'_>,
    mut body: Body,
    path: Option<&Path>,
) -> Outcome {
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
    let mut teller = Teller { window, glimpse, within: 0, spool: Spool::new(), spooled: Ok(()) };
    let examined = Box::new(worker.examine(inspection, &mut body, &origin, None, &mut teller));
    let Teller { within, spool, spooled, .. } = teller;
    Outcome::Read { name, examined, within, spool, spooled }
}

/// Spools what is asked for, and counts how many records were.
struct Teller<'t> {
    window: &'t Window,
    glimpse: &'t Glimpse<'t>,
    within: u64,
    spool: Spool,
    spooled: io::Result<()>,
}

impl Listener for Teller<'_> {
    fn record(&mut self, record: &[u8]) {
        self.within += u64::from(self.glimpse.may_admit(record));
    }

    fn wants(&mut self, hit: &Hit<'_>) -> bool {
        self.window.admits(hit.event)
    }

    fn alert(&mut self, alert: Alert) {
        if self.spooled.is_ok() {
            self.spooled = self.spool.push(&alert);
        }
    }
}

/// Puts outcomes back into order and tells them.
fn collect(
    finished: &Receiver<Finished>,
    turns: &Turns,
    summary: &mut Summary,
    tell: &mut dyn FnMut(&Alert) -> io::Result<()>,
    progress: &mut dyn FnMut(&Summary),
) -> io::Result<()> {
    let mut early = BTreeMap::new();
    let mut told: HashSet<AlertId> = HashSet::new();
    let mut next = 0;
    loop {
        match finished.recv_timeout(Duration::from_millis(200)) {
            Ok(Finished { number, outcome }) => _ = early.insert(number, outcome),
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
        }
        while let Some(outcome) = early.remove(&next) {
            next += 1;
            turns.tell();
            summary.add(outcome, &mut told, tell)?;
        }
        progress(summary);
    }
}

impl Summary {
    fn add(
        &mut self,
        outcome: Outcome,
        told: &mut HashSet<AlertId>,
        tell: &mut dyn FnMut(&Alert) -> io::Result<()>,
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
            if !told.insert(alert.id) {
                self.repeats += 1;
                return Ok(());
            }
            self.alerts += 1;
            self.undecided += u64::from(alert.status == Status::Undecided);
            *self.levels.entry(alert.level.as_str()).or_default() += 1;
            *self.rules.entry(alert.rule.to_string()).or_default() += 1;
            self.gravest = self.gravest.max(Some(alert.level));
            tell(&alert)
        })
    }
}
