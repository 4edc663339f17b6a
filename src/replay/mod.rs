//! `replay`: the line over archived logs, on every core, with the same output every time.
//!
//! Objects are taken in a fixed order by as many workers as there are cores. Their alerts are told in that
//! order, whoever finishes first: what is early waits, at most 32 objects for each worker ahead of the first
//! unfinished one, in memory or in a file. Two sets of detections can be replayed at once; then their differences
//! are told.

mod comparison;
mod desk;
mod evidence;
mod examine;
mod patient;
mod sorter;
mod spool;
mod summary;
mod texts;
mod turns;
mod window;

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use comparison::{Comparison, Counts, Difference, Pair, SetFacts, Sides};
pub use summary::{Remark, Summary};
pub use window::{UnknownTime, Window, from, to};

use crate::alert::Alert;
use crate::announce::Class;
use crate::decode::Limits;
use crate::detect::Evidence;
use crate::fetch::{Body, Fetched};
use crate::folder;
use crate::sigma::Rule;
use crate::worker::{Examined, Inspection};
use comparison::Span;
use desk::Desk;
use evidence::Pile;
use examine::{Bench, Piles};
use patient::Patient;
use spool::Spool;
use turns::{Running, Turns};

/// Objects that a worker may be ahead of the first unfinished one: as many as are done meanwhile if that one is
/// large and they are not. Where two sets are compared, which hold twice as much for each, it is half of that.
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

/// The detections of a replay.
#[derive(Debug)]
pub enum Sets {
    /// One set, whose alerts are told.
    One(Arc<Inspection>),
    /// Two sets, of which the differences are told.
    Two(Box<Pair>),
}

impl Sets {
    /// All detections; a detection of both sets comes twice.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        let (one, other) = match self {
            Sets::One(set) => (&**set, None),
            Sets::Two(pair) => (&pair.sets.new, Some(&pair.sets.old)),
        };
        [one].into_iter().chain(other).flat_map(|set| set.detections.rules())
    }

    /// How many sets see each record.
    fn number(&self) -> usize {
        match self {
            Sets::One(_) => 1,
            Sets::Two(_) => 2,
        }
    }

    /// Where so many workers put evidence.
    fn piles(&self, workers: usize) -> Piles {
        let (old, new) = match self {
            Sets::One(set) => (&**set, &**set),
            Sets::Two(pair) => (&pair.sets.old, &pair.sets.new),
        };
        Piles { old: Pile::new(old, workers), new: Pile::new(new, workers) }
    }

    fn limits(&self) -> Limits {
        match self {
            Sets::One(set) => set.limits,
            Sets::Two(pair) => pair.sets.new.limits,
        }
    }
}

/// Whoever hears of a replay.
pub trait Audience: Send {
    /// An alert, in order.
    ///
    /// # Errors
    /// It could not be told; the replay ends.
    fn alert(&mut self, alert: &Alert) -> io::Result<()>;

    /// A difference between two sets, in the order of the records; instead of alerts.
    ///
    /// # Errors
    /// It could not be told; the replay ends.
    fn difference(&mut self, difference: &Difference) -> io::Result<()>;

    /// Now and then: what was found so far, and how many objects there are.
    fn progress(&mut self, summary: &Summary, total: usize);
}

/// Replays sources. With what was found comes whether everything could be told.
pub fn replay(
    sources: &[Source],
    sets: &Sets,
    window: &Window,
    jobs: usize,
    stop: &Arc<AtomicBool>,
    audience: &mut dyn Audience,
) -> (Summary, io::Result<()>) {
    let started = Instant::now();
    let (mut desk, piles) = pass(sources, sets, window, jobs, stop, audience);
    desk.conclude(sets, piles);
    let (mut summary, told) = desk.finish();
    summary.interrupted = stop.load(Ordering::Relaxed) || told.is_err();
    summary.elapsed_s = started.elapsed().as_secs_f64();
    (summary, told)
}

/// Reads sources for the evidence of one set alone, which `take` is handed in the order of time; alerts are told to
/// nobody. Now and then `progress` hears what was found so far, and how many objects there are. With what was found
/// comes whether everything could be kept and taken.
pub fn gather(
    sources: &[Source],
    set: &Arc<Inspection>,
    jobs: usize,
    stop: &Arc<AtomicBool>,
    progress: &mut (dyn FnMut(&Summary, usize) + Send),
    take: &mut dyn FnMut(Vec<Evidence>),
) -> (Summary, io::Result<()>) {
    let (sets, mut audience) = (Sets::One(Arc::clone(set)), Deaf(progress));
    let (desk, Piles { new, .. }) = pass(sources, &sets, &Window::default(), jobs, stop, &mut audience);
    let (mut summary, told) = desk.finish();
    summary.interrupted = stop.load(Ordering::Relaxed) || told.is_err();
    let taken = told.and_then(|()| if summary.interrupted { Ok(()) } else { evidence::each(new, take) });
    (summary, taken)
}

/// Hears of progress, and of nothing else.
struct Deaf<'p>(&'p mut (dyn FnMut(&Summary, usize) + Send));

impl Audience for Deaf<'_> {
    fn alert(&mut self, _alert: &Alert) -> io::Result<()> {
        Ok(())
    }

    fn difference(&mut self, _difference: &Difference) -> io::Result<()> {
        Ok(())
    }

    fn progress(&mut self, summary: &Summary, total: usize) {
        (self.0)(summary, total);
    }
}

/// Takes every object of the sources through the line; with the outcomes comes the evidence of them all.
fn pass<'a>(
    sources: &[Source],
    sets: &Sets,
    window: &Window,
    jobs: usize,
    stop: &Arc<AtomicBool>,
    audience: &'a mut dyn Audience,
) -> (Desk<'a>, Piles) {
    let tasks = tasks(sources);
    let jobs = jobs.max(1);
    let turns = Turns::new(tasks.len(), jobs * AHEAD / sets.number());
    let diff = match sets {
        Sets::One(_) => None,
        Sets::Two(pair) => Some(Comparison::new(pair)),
    };
    let summary = Summary { window: window.to_string(), diff, ..Summary::default() };
    let desk = Mutex::new(Desk::new(summary, audience));
    let running = Running::new(jobs);
    let piles = sets.piles(jobs);
    std::thread::scope(|scope| {
        let (tasks, turns, running, desk, piles) = (&tasks, &turns, &running, &desk, &piles);
        for number in 0..jobs {
            scope.spawn(move || {
                let _running = running.one(turns);
                let bench = |limits| Bench::new(number, sets, window, limits, piles);
                work(tasks, turns, bench, sets.limits(), stop, desk);
            });
        }
        while running.wait(PROGRESS_EVERY) {
            lock(desk).progress(tasks.len());
        }
    });
    (desk.into_inner().unwrap_or_else(PoisonError::into_inner), piles)
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

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What became of a task.
enum Outcome {
    Read { name: String, examined: Box<Examined>, within: u64, found: io::Result<Found> },
    Fault(String, io::Error),
    Skip(Class),
}

/// What was found in an object, still to be told.
enum Found {
    /// The alerts of one set.
    Alerts(Spool),
    /// Those of two sets, and the span of the events.
    Pairs(Sides<Spool>, Span),
}

/// One worker: takes tasks until there are none. While it examines an object, the next one is on its way from
/// the disk.
fn work<'r>(
    tasks: &[Task],
    turns: &Turns,
    bench_within: impl Fn(Limits) -> Bench<'r>,
    limits: Limits,
    stop: &Arc<AtomicBool>,
    desk: &Mutex<Desk<'_>>,
) {
    let mut bench = bench_within(limits);
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
                let mut body = Body::Stream(Box::new(Patient::stdin(stop)));
                // Whoever pipes something in has chosen how much it is.
                let limits = Limits { inflated: u64::MAX, ..limits };
                bench_within(limits).examine(number, &mut body, None)
            }
            Opened::Pipe(path) => {
                let mut body = Body::Stream(Box::new(Patient::pipe(path, stop)));
                bench.examine(number, &mut body, Some(path))
            }
            Opened::File(path, file) => match file.read(std::mem::take(&mut buffer)) {
                Ok(Fetched { mut body, .. }) => {
                    let outcome = bench.examine(number, &mut body, Some(path));
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
