//! A watched folder as a source of announcements: no queue, no AWS.
//!
//! The folder is scanned every second. A file is announced once its size and time agree in two scans, or at
//! once if it appears complete: its time lies before the scan that did not see it yet. A file that changes is
//! announced again and read whole again; the ids of its alerts suppress repeats. One that ends too early is
//! tried again until it was unchanged for a minute.

use std::collections::{BTreeSet, HashMap};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use crate::announce::{Delivery, Disposition, Item, ObjectRef, Receipt, Token};
use crate::clock::Clock;
use crate::folder::{self, Walk};
use crate::intake::{Announcer, Source};
use crate::metrics::{InFlight, Metrics};
use crate::ration::{Ration, warn_some};

const SCAN_EVERY: Duration = Duration::from_secs(1);
/// How long a file that ends too early must be unchanged before it counts as damaged.
const UNCHANGED: Duration = Duration::from_mins(1);
/// Files that are in flight at once.
const MOST_IN_FLIGHT: usize = 256;
/// The number of receives after which the line gives up.
const LAST_RECEIVE: u32 = u32::MAX;

/// A folder that is watched.
#[derive(Debug)]
pub struct Watch {
    folder: PathBuf,
    files: HashMap<PathBuf, Known>,
    /// What can be announced since the last scan, by the byte order of paths.
    ready: BTreeSet<PathBuf>,
    /// What is announced and not settled, and since when.
    in_flight: HashMap<Token, (PathBuf, Instant)>,
    /// What could not be looked into at the last scan.
    faults: BTreeSet<PathBuf>,
    next_token: Token,
    /// When the scan before the last one began; none before the first.
    scanned_at: Option<SystemTime>,
    warnings: Ration,
    metrics: Metrics,
    clock: Clock,
}

/// What is known of a file.
#[derive(Debug)]
struct Known {
    stamp: Stamp,
    unchanged_since: Instant,
    state: FileState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileState {
    /// Seen once as it stands.
    New,
    /// To be announced as soon as there is room.
    Ready,
    /// Announced; `changed` since then.
    InFlight { changed: bool },
    /// To be announced again at this time.
    Again { at: Instant },
    /// Dealt with, as it stands.
    Done,
}

/// By what a change is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    size: u64,
    modified: Option<SystemTime>,
    /// Its number in the file system, and when that was last changed: another file may look the same.
    inode: (u64, i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        let inode = (metadata.ino(), metadata.ctime(), metadata.ctime_nsec());
        Self { size: metadata.len(), modified: metadata.modified().ok(), inode }
    }
}

impl Watch {
    /// Watches a folder from now on.
    #[must_use]
    pub fn new(folder: PathBuf, metrics: Metrics, clock: Clock) -> Self {
        Self {
            folder,
            files: HashMap::new(),
            ready: BTreeSet::new(),
            in_flight: HashMap::new(),
            faults: BTreeSet::new(),
            next_token: 0,
            scanned_at: None,
            warnings: Ration::default(),
            metrics,
            clock,
        }
    }

    /// Looks at every file; whether the folder could be read.
    async fn scan(&mut self) -> bool {
        let folder = self.folder.clone();
        let began = SystemTime::now();
        let Ok(found) = spawn_blocking(move || look_through(&folder)).await else { return false };
        let Some(Found { stamps, faults }) = found else {
            warn_some!(self.warnings, "folder", folder = %self.folder.display(), "the watched folder cannot be read");
            return false;
        };
        self.tell_faults(faults);
        // Before the first scan everything that is a scan older than now counts as complete.
        let complete_before = self.scanned_at.unwrap_or(began - SCAN_EVERY);
        let now = Instant::now();
        self.files.retain(|path, known| {
            stamps.contains_key(path) || matches!(known.state, FileState::InFlight { .. })
        });
        for (path, stamp) in stamps {
            match self.files.get_mut(&path) {
                None => {
                    let complete = stamp.modified.is_some_and(|modified| modified < complete_before);
                    let state = if complete { FileState::Ready } else { FileState::New };
                    self.files.insert(path, Known { stamp, unchanged_since: now, state });
                }
                Some(known) if known.stamp != stamp => {
                    known.stamp = stamp;
                    known.unchanged_since = now;
                    known.state = match known.state {
                        FileState::InFlight { .. } => FileState::InFlight { changed: true },
                        _ => FileState::New,
                    };
                }
                Some(known) => match known.state {
                    FileState::New => known.state = FileState::Ready,
                    FileState::Again { at } if at <= now => known.state = FileState::Ready,
                    _ => {}
                },
            }
        }
        let ready = self.files.iter().filter(|(_, known)| known.state == FileState::Ready);
        self.ready = ready.map(|(path, _)| path.clone()).collect();
        self.scanned_at = Some(began);
        true
    }

    /// Tells of what cannot be looked into, once as long as it stays so.
    fn tell_faults(&mut self, faults: Vec<(PathBuf, io::Error)>) {
        for (path, error) in &faults {
            if !self.faults.contains(path) {
                self.metrics.object("failed", "io");
                error!(path = %path.display(), %error, "what lies in a watched folder cannot be read");
            }
        }
        self.faults = faults.into_iter().map(|(path, _)| path).collect();
    }

    /// Announces the first file that is ready.
    fn announce(&mut self, settled: &mpsc::UnboundedSender<(Token, Disposition)>) -> Option<Delivery> {
        let path = self.ready.pop_first()?;
        let known = self.files.get_mut(&path)?;
        known.state = FileState::InFlight { changed: false };
        let final_try = known.unchanged_since.elapsed() >= UNCHANGED;
        let token = self.next_token;
        self.next_token += 1;
        let object = ObjectRef {
            bucket: String::new(),
            key: path.to_string_lossy().into_owned(),
            version: None,
            size: Some(known.stamp.size),
        };
        self.in_flight.insert(token, (path, Instant::now()));
        self.metrics.message("received");
        Some(Delivery {
            announcement: Ok(vec![Item::Object { object, announced_at: None }]),
            size: 0,
            receives: if final_try { LAST_RECEIVE } else { 1 },
            sent_at: None,
            received_at: self.clock.now(),
            receipt: Receipt::new(token, settled.clone()),
        })
    }

    fn settle(&mut self, token: Token, disposition: Disposition) {
        let Some((path, _)) = self.in_flight.remove(&token) else { return };
        self.metrics.message(disposition.outcome());
        let Some(known) = self.files.get_mut(&path) else { return };
        let changed = known.state == FileState::InFlight { changed: true };
        debug!(path = %path.display(), outcome = disposition.outcome(), changed, "file settled");
        known.state = match disposition {
            _ if changed => FileState::New,
            Disposition::Ack | Disposition::Leave => FileState::Done,
            Disposition::Retry(after) => {
                // The last try comes as soon as the minute is over.
                let (now, last) = (Instant::now(), known.unchanged_since + UNCHANGED);
                let due = if last > now { last.min(now + after) } else { now + after };
                FileState::Again { at: due }
            }
            Disposition::Release => FileState::New,
        };
    }
}

impl Announcer for Watch {
    async fn run(
        mut self,
        source: Source,
        deliveries: mpsc::Sender<Delivery>,
        stop: CancellationToken,
        abandon: CancellationToken,
    ) {
        let name = self.folder.display().to_string();
        info!(folder = name, "watching a folder");
        // Bounded by the files in flight.
        let (settle, mut settled) = mpsc::unbounded_channel();
        let mut scans = tokio::time::interval(SCAN_EVERY);
        scans.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let oldest = self.in_flight.values().map(|(_, announced)| announced.elapsed()).max();
            let in_flight = InFlight { messages: self.in_flight.len(), oldest: oldest.unwrap_or_default() };
            self.metrics.in_flight(&name, in_flight);
            let stopping = stop.is_cancelled();
            if stopping && self.in_flight.is_empty() {
                return;
            }
            let more = !stopping && !self.ready.is_empty() && self.in_flight.len() < MOST_IN_FLIGHT;
            let room = async {
                source.permit().await;
                deliveries.reserve().await
            };
            tokio::select! {
                Some((token, disposition)) = settled.recv() => self.settle(token, disposition),
                room = room, if more => match (room, self.announce(&settle)) {
                    (Ok(room), Some(delivery)) => room.send(delivery),
                    (Ok(_), None) => {}
                    (Err(_), _) => return,
                },
                _ = scans.tick(), if !stopping => {
                    let able = self.scan().await;
                    source.able(able);
                }
                () = stop.cancelled(), if !stopping => {}
                () = abandon.cancelled() => return,
            }
        }
    }
}

/// What a scan found.
struct Found {
    /// Every log file below the folder.
    stamps: HashMap<PathBuf, Stamp>,
    faults: Vec<(PathBuf, io::Error)>,
}

/// Looks through a folder; nothing if it cannot be read.
fn look_through(folder: &Path) -> Option<Found> {
    std::fs::read_dir(folder).ok()?;
    let Walk { files, mut faults, .. } = folder::walk(folder);
    let mut stamps = HashMap::new();
    for path in files {
        match std::fs::metadata(&path) {
            // It is named by a text from here on.
            _ if path.to_str().is_none() => faults.push((path, io::Error::other("the name is not UTF-8"))),
            Ok(metadata) => _ = stamps.insert(path, Stamp::of(&metadata)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => faults.push((path, error)),
        }
    }
    Some(Found { stamps, faults })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        folder: tempfile::TempDir,
        watch: Watch,
        settle: mpsc::UnboundedSender<(Token, Disposition)>,
    }

    impl Fixture {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let watch = Watch::new(folder.path().to_owned(), Metrics::default(), Clock::system());
            Self { folder, watch, settle: mpsc::unbounded_channel().0 }
        }

        fn write(&self, name: &str, text: &str, age: Duration) {
            let path = self.folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            let file = std::fs::File::options().write(true).open(path).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        }

        /// Scans and takes what is announced: names, and whether it is the last try.
        async fn scan(&mut self) -> Vec<(String, bool)> {
            self.watch.scan().await;
            let mut found = Vec::new();
            while let Some(Delivery { announcement, receives, receipt, .. }) =
                self.watch.announce(&self.settle)
            {
                let Some(Item::Object { object, .. }) = announcement.unwrap().pop() else {
                    panic!("an object")
                };
                let name = Path::new(&object.key).file_name().unwrap().to_str().unwrap().to_owned();
                found.push((name, receives == LAST_RECEIVE));
                // Settled by hand below.
                std::mem::forget(receipt);
            }
            found
        }

        fn settle(&mut self, disposition: Disposition) {
            let token = *self.watch.in_flight.keys().next().unwrap();
            self.watch.settle(token, disposition);
        }
    }

    const OLD: Duration = Duration::from_secs(100);
    const NOW: Duration = Duration::ZERO;

    fn names(found: &[(String, bool)]) -> Vec<&str> {
        found.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[tokio::test]
    async fn what_lies_there_is_taken_at_once_and_once() {
        let mut fixture = Fixture::new();
        fixture.write("b.json", "{}", OLD);
        fixture.write("a.json", "{}", OLD);
        fixture.write("c.json.tmp", "{}", OLD);
        assert_eq!(names(&fixture.scan().await), ["a.json", "b.json"]);
        fixture.settle(Disposition::Ack);
        fixture.settle(Disposition::Leave);
        assert!(fixture.scan().await.is_empty());
    }

    #[tokio::test]
    async fn a_file_that_grows_waits_for_two_equal_scans() {
        let mut fixture = Fixture::new();
        fixture.scan().await;
        fixture.write("a.json", "{", NOW);
        assert!(fixture.scan().await.is_empty());
        fixture.write("a.json", "{}", NOW);
        assert!(fixture.scan().await.is_empty());
        assert_eq!(names(&fixture.scan().await), ["a.json"]);
    }

    #[tokio::test]
    async fn a_file_that_is_renamed_in_is_taken_at_once() {
        let mut fixture = Fixture::new();
        fixture.scan().await;
        fixture.write("a.tmp", "{}", OLD);
        fixture.scan().await;
        std::fs::rename(fixture.folder.path().join("a.tmp"), fixture.folder.path().join("a.json")).unwrap();
        assert_eq!(names(&fixture.scan().await), ["a.json"]);
    }

    #[tokio::test]
    async fn a_change_is_announced_again_even_in_flight() {
        let mut fixture = Fixture::new();
        fixture.write("a.json", "{}", OLD);
        assert_eq!(fixture.scan().await.len(), 1);
        fixture.write("a.json", "{} {}", OLD);
        assert!(fixture.scan().await.is_empty());
        fixture.settle(Disposition::Ack);
        assert_eq!(fixture.scan().await.len(), 1);
        fixture.settle(Disposition::Ack);
        fixture.write("a.json", "{} {} {}", OLD);
        assert!(fixture.scan().await.is_empty());
        assert_eq!(fixture.scan().await.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unfinished_file_is_tried_until_it_was_unchanged_for_a_minute() {
        let mut fixture = Fixture::new();
        fixture.write("a.json.gz", "x", OLD);
        let mut tries = Vec::new();
        for _ in 0..70 {
            for (_, last) in fixture.scan().await {
                tries.push(last);
                fixture.settle(if last {
                    Disposition::Leave
                } else {
                    Disposition::Retry(Duration::from_secs(15))
                });
            }
            tokio::time::advance(SCAN_EVERY).await;
        }
        assert_eq!(tries, [false, false, false, false, true]);
    }
}
