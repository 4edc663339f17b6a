//! The receipt handles of messages in flight, kept so that the next start can make those messages visible at once.
//!
//! A message that was received when the process is killed stays hidden until its visibility timeout, and its alerts
//! with it; its handle is all that is needed to end that earlier. So handles are appended to a small file as messages
//! come and go. The file is a hint: nobody waits for it, it is never synced, and whatever is wrong with it costs time
//! and never a message. It is read and written under the lock of the state folder, so that the handles found there are
//! those of a process that has ended.
//!
//! A line that begins with `+` names a message that was received, one with `-` a message that is settled:
//!
//! ```text
//! trailhound in flight 1
//! + 17 1 https://sqs.us-east-1.amazonaws.com/111122223333/trail AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a
//! - 17 https://sqs.us-east-1.amazonaws.com/111122223333/trail
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tracing::{error, info, warn};

use super::disk::Place;
use crate::announce::Token;

/// The first line; another one belongs to another program or another version of this one.
const HEADER: &str = "trailhound in flight 1";
/// Handles that are kept at most; messages beyond them come back by themselves.
const MOST_HANDLES: usize = 4_000;
/// The longest source and the longest handle that are kept. Handles of SQS have up to 1,024 characters.
const MOST_CHARACTERS: usize = 2_048;
/// Bytes appended after which the file is written anew with what is still in flight.
const REWRITE_AFTER: u64 = 4 << 20;
/// A larger file is none of ours: it holds no more than the handles and what was appended to them.
const MOST_BYTES: u64 = 32 << 20;
/// Bytes that are appended at once, about.
const AT_ONCE: usize = 64 << 10;
/// Numbers of messages are below this, so that many can follow.
const MOST_TOKEN: Token = Token::MAX / 2;
/// The pause in writing after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// A message that the process before this one had in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptHandle {
    /// The number that the message had.
    pub token: Token,
    /// The handle, in visible ASCII characters.
    pub text: String,
    /// The number of receives of the message by then.
    pub receives: u32,
}

/// The receipt handles of all sources.
#[derive(Debug)]
pub struct Handles {
    left: BTreeMap<Key, HeldHandle>,
    changes: mpsc::UnboundedSender<HandleChange>,
}

/// The receipt handles of one source: those that were left, and the way to keep those to come. A copy keeps them in the
/// same place.
#[derive(Debug, Clone)]
pub struct SourceHandles {
    source: Arc<str>,
    left: Vec<ReceiptHandle>,
    changes: mpsc::UnboundedSender<HandleChange>,
}

/// A source and the number of a message there.
type Key = (Arc<str>, Token);

/// The handle of a message in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HeldHandle {
    text: String,
    receives: u32,
}

#[derive(Debug)]
enum HandleChange {
    Received(Key, HeldHandle),
    Settled(Key),
}

impl Handles {
    /// Reads what was left for these sources, and begins a file for what is to come.
    pub(super) fn open(place: Arc<Place>, sources: &[String]) -> (Self, HandleFile) {
        let path = place.in_flight();
        let mut left = left(&path);
        left.retain(|(source, _), _| sources.iter().any(|known| **known == **source));
        // Bounded by the messages in flight, as those who send wait for nobody.
        let (changes, inbox) = mpsc::unbounded_channel();
        let file = HandleFile { path, _place: place, held: left.clone(), inbox, out: Out::default() };
        (Self { left, changes }, file)
    }

    /// The handles of one source.
    #[must_use]
    pub fn of(&self, source: &str) -> SourceHandles {
        let mine = self.left.iter().filter(|((of, _), _)| **of == *source);
        let left = mine.map(|((_, token), HeldHandle { text, receives })| ReceiptHandle {
            token: *token,
            text: text.clone(),
            receives: *receives,
        });
        SourceHandles { source: source.into(), left: left.collect(), changes: self.changes.clone() }
    }
}

impl SourceHandles {
    /// The handles that were left, in the order in which their messages were received.
    #[must_use]
    pub fn left(&self) -> &[ReceiptHandle] {
        &self.left
    }

    /// The first number for a message that no other one had.
    #[must_use]
    pub fn next_token(&self) -> Token {
        self.left.last().map_or(0, |last| last.token + 1)
    }

    /// A message was received.
    pub fn received(&self, token: Token, handle: &str, receives: u32) {
        let held = HeldHandle { text: handle.to_owned(), receives };
        // Without a file nothing is kept.
        let _ = self.changes.send(HandleChange::Received((Arc::clone(&self.source), token), held));
    }

    /// A message is settled, or comes back by itself.
    pub fn settled(&self, token: Token) {
        let _ = self.changes.send(HandleChange::Settled((Arc::clone(&self.source), token)));
    }
}

/// The owner of the file.
#[derive(Debug)]
pub struct HandleFile {
    path: PathBuf,
    /// Whoever writes the file has the folder.
    _place: Arc<Place>,
    held: BTreeMap<Key, HeldHandle>,
    inbox: mpsc::UnboundedReceiver<HandleChange>,
    out: Out,
}

/// Where lines are appended.
#[derive(Debug, Default)]
struct Out {
    /// None before the first line, and after a failure.
    file: Option<File>,
    appended: u64,
    /// When the last failure was, until something can be written again.
    failed: Option<Instant>,
}

impl HandleFile {
    /// Keeps what changes until all sources have ended.
    pub async fn run(self) {
        if let Err(panic) = spawn_blocking(move || self.work()).await {
            error!(error = %panic, "receipt handles are not kept any more");
        }
    }

    fn work(mut self) {
        let mut lines = String::new();
        while let Some(change) = self.inbox.blocking_recv() {
            self.apply(change, &mut lines);
            while lines.len() < AT_ONCE
                && let Ok(change) = self.inbox.try_recv()
            {
                self.apply(change, &mut lines);
            }
            self.write(&lines);
            lines.clear();
        }
        if self.held.is_empty() {
            // Where it is not, or cannot be removed, the next start finds nothing new in it.
            let _ = std::fs::remove_file(&self.path);
        }
    }

    /// Notes a change, with its line.
    fn apply(&mut self, change: HandleChange, lines: &mut String) {
        match change {
            HandleChange::Received(key, held) => {
                if is_word(&key.0) && is_word(&held.text) && self.held.len() < MOST_HANDLES {
                    lines.push_str(&received_line(&key, &held));
                    self.held.insert(key, held);
                }
            }
            HandleChange::Settled(key) => {
                if self.held.remove(&key).is_some() {
                    let (source, token) = key;
                    let _ = writeln!(lines, "- {token} {source}");
                }
            }
        }
    }

    fn write(&mut self, lines: &str) {
        if lines.is_empty() || self.out.failed.is_some_and(|last| last.elapsed() < RETRY_AFTER) {
            return;
        }
        let written = match &mut self.out.file {
            Some(file) if self.out.appended < REWRITE_AFTER => file.write_all(lines.as_bytes()),
            _ => self.rewrite(),
        };
        match written {
            Ok(()) => {
                self.out.appended += lines.len() as u64;
                if self.out.failed.take().is_some() {
                    info!("receipt handles are kept again");
                }
            }
            Err(error) => {
                self.out.file = None;
                if self.out.failed.replace(Instant::now()).is_none() {
                    let path = self.path.display();
                    warn!(%path, %error, "receipt handles cannot be kept: after a crash messages come back later");
                }
            }
        }
    }

    /// Puts a file with what is in flight now in the place of the one before.
    fn rewrite(&mut self) -> io::Result<()> {
        let mut text = format!("{HEADER}\n");
        text.extend(self.held.iter().map(|(key, held)| received_line(key, held)));
        let aside = self.path.with_extension("new");
        match std::fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = File::options().create_new(true).append(true).mode(0o600).open(&aside)?;
        file.write_all(text.as_bytes())?;
        std::fs::rename(&aside, &self.path)?;
        self.out = Out { file: Some(file), appended: 0, failed: self.out.failed };
        Ok(())
    }
}

fn received_line((source, token): &Key, HeldHandle { text, receives }: &HeldHandle) -> String {
    format!("+ {token} {receives} {source} {text}\n")
}

/// Returns true for a text that can stand in a line.
fn is_word(text: &str) -> bool {
    (1..=MOST_CHARACTERS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The messages that a file names as in flight; whatever cannot be read there is left out.
fn left(path: &Path) -> BTreeMap<Key, HeldHandle> {
    match read(path) {
        Ok(None) => BTreeMap::new(),
        Ok(Some(bytes)) => {
            let Parsed { held, strange } = parse(&bytes);
            if strange > 0 {
                warn!(path = %path.display(), lines = strange, "receipt handles of the last run are damaged, and left out");
            }
            held
        }
        Err(error) => {
            warn!(path = %path.display(), %error, "receipt handles of the last run cannot be read");
            BTreeMap::new()
        }
    }
}

/// The bytes of a file, if there is one.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let found = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        found => found?,
    };
    // Opening anything else may take for ever.
    if !found.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large"));
    }
    Ok(Some(bytes))
}

/// What was found in a file.
#[derive(Debug, Default)]
struct Parsed {
    held: BTreeMap<Key, HeldHandle>,
    /// Lines that are none of ours.
    strange: usize,
}

fn parse(bytes: &[u8]) -> Parsed {
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    // Behind the last end of a line is nothing, or a line that was cut off by the end of the process.
    lines.pop();
    let mut parsed = Parsed::default();
    match lines.split_first() {
        Some((first, rest)) if *first == HEADER.as_bytes() => {
            for line in rest {
                if parsed.take(line).is_none() {
                    parsed.strange += 1;
                }
            }
        }
        Some(_) => parsed.strange = lines.len(),
        None => {}
    }
    parsed
}

impl Parsed {
    /// Follows a line, if it is one.
    fn take(&mut self, line: &[u8]) -> Option<()> {
        let words: Vec<&str> = std::str::from_utf8(line).ok()?.split(' ').collect();
        match words[..] {
            ["+", token, receives, source, handle] if is_word(source) && is_word(handle) => {
                let key = (source.into(), token.parse().ok().filter(|token| *token < MOST_TOKEN)?);
                let held = HeldHandle { text: handle.to_owned(), receives: receives.parse().ok()? };
                if self.held.len() < MOST_HANDLES {
                    self.held.insert(key, held);
                }
                Some(())
            }
            ["-", token, source] => {
                self.held.remove(&(source.into(), token.parse().ok()?));
                Some(())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: &str = "https://sqs.us-east-1.amazonaws.com/111122223333/trail";

    /// A folder with this as its file of messages in flight, and the tokens that are left of [`QUEUE`].
    fn left_of(bytes: &[u8]) -> (tempfile::TempDir, Vec<Token>) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("in-flight"), bytes).unwrap();
        let left = open(folder.path()).0.of(QUEUE).left.iter().map(|left| left.token).collect();
        (folder, left)
    }

    fn open(folder: &Path) -> (Handles, HandleFile) {
        let place = Place::take(folder, Duration::ZERO).unwrap();
        Handles::open(Arc::new(place), &[QUEUE.to_owned()])
    }

    fn written(folder: &Path) -> String {
        std::fs::read_to_string(folder.join("in-flight")).unwrap_or_default()
    }

    /// Lines behind the header.
    fn file(lines: &str) -> Vec<u8> {
        format!("{HEADER}\n{lines}").into_bytes()
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        let good = format!("+ 1 1 {QUEUE} one\n+ 2 3 {QUEUE} two\n");
        let with = |line: &str| file(&format!("{good}{line}"));
        let nul = [&file(&good)[..], &[0; 4_000]].concat();
        let long = "h".repeat(MOST_CHARACTERS + 1);
        let cases: Vec<(&str, Vec<u8>, &[Token])> = vec![
            ("whole", file(&good), &[1, 2]),
            ("settled", with(&format!("- 1 {QUEUE}\n")), &[2]),
            ("settled by another source", with("- 1 other\n"), &[1, 2]),
            ("cut in the last line", with(&format!("+ 3 1 {QUEUE} thr")), &[1, 2]),
            ("cut in a settlement", with(&format!("- 1 {}", &QUEUE[..9])), &[1, 2]),
            ("followed by nothing but zeros", nul, &[1, 2]),
            ("a queue that is not configured", with("+ 3 1 https://other/1/q three\n"), &[1, 2]),
            ("a line of binary", [&file(&good)[..], b"+ \xff\xfe\n"].concat(), &[1, 2]),
            ("a word too many", with(&format!("+ 3 1 {QUEUE} three four\n")), &[1, 2]),
            ("a control character", with(&format!("+ 3 1 {QUEUE} th\u{1b}ree\n")), &[1, 2]),
            ("no number", with(&format!("+ x 1 {QUEUE} three\n+ 3 x {QUEUE} three\n")), &[1, 2]),
            ("a number after which none is free", with(&format!("+ {} 1 {QUEUE} x\n", Token::MAX)), &[1, 2]),
            ("a handle that is too long", with(&format!("+ 3 1 {QUEUE} {long}\n")), &[1, 2]),
            ("another header", format!("trailhound in flight 2\n{good}").into_bytes(), &[]),
            ("no header", good.clone().into_bytes(), &[]),
            ("garbage", (0..=255).cycle().take(100_000).collect(), &[]),
            ("nothing", Vec::new(), &[]),
        ];
        for (name, bytes, expected) in cases {
            assert_eq!(left_of(&bytes).1, expected, "{name}");
        }
    }

    #[test]
    fn a_file_is_bounded_in_bytes_and_in_handles() {
        let many: String = (0..MOST_HANDLES + 10).map(|n| format!("+ {n} 1 {QUEUE} h{n}\n")).collect();
        assert_eq!(left_of(&file(&many)).1.len(), MOST_HANDLES);
        let (folder, _) = left_of(&file(&format!("+ 1 1 {QUEUE} one\n")));
        let path = folder.path().join("in-flight");
        // Only its end is beyond the bound; it takes up no room.
        File::options().write(true).open(&path).unwrap().set_len(MOST_BYTES + 1).unwrap();
        assert!(open(folder.path()).0.of(QUEUE).left.is_empty());
    }

    #[test]
    fn what_is_no_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in-flight");
        let fifo = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(fifo.success());
        // To open it would take for ever.
        assert!(open(folder.path()).0.of(QUEUE).left.is_empty());
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let (handles, file) = open(folder.path());
        let queue = handles.of(QUEUE);
        queue.received(1, "one", 1);
        drop((handles, queue));
        file.work();
        assert!(path.is_dir(), "nothing could be kept, and nothing else went wrong");
    }

    #[test]
    fn the_next_start_finds_what_was_not_settled() {
        let folder = tempfile::tempdir().unwrap();
        for start in 0..3 {
            let (handles, file) = open(folder.path());
            let queue = handles.of(QUEUE);
            let found: Vec<Token> = queue.left().iter().map(|left| left.token).collect();
            let first = queue.next_token();
            match start {
                0 => {
                    assert!(found.is_empty() && first == 0, "{found:?} {first}");
                    (0..5).for_each(|token| queue.received(token, &format!("h{token}"), 2));
                    [0, 3].iter().for_each(|token| queue.settled(*token));
                }
                // Dies once more, after it has released one of them and received another.
                1 => {
                    assert_eq!((&found[..], first), (&[1, 2, 4][..], 5));
                    assert_eq!(queue.left()[1], ReceiptHandle { token: 2, text: "h2".into(), receives: 2 });
                    queue.settled(2);
                    queue.received(first, "later", 1);
                }
                _ => {
                    assert_eq!((&found[..], first), (&[1, 4, 5][..], 6));
                    found.iter().for_each(|token| queue.settled(*token));
                }
            }
            drop((handles, queue));
            file.work();
        }
        assert!(!folder.path().join("in-flight").exists(), "nothing is in flight any more");
    }

    #[test]
    fn a_process_that_is_killed_has_written_what_it_received() {
        let folder = tempfile::tempdir().unwrap();
        let (handles, file) = open(folder.path());
        let queue = handles.of(QUEUE);
        let writer = std::thread::spawn(move || file.work());
        queue.received(7, "seven", 1);
        while !written(folder.path()).contains("+ 7 1") {
            std::thread::yield_now();
        }
        queue.settled(7);
        while !written(folder.path()).contains("- 7 ") {
            std::thread::yield_now();
        }
        drop((handles, queue));
        writer.join().unwrap();
    }

    #[test]
    fn what_cannot_stand_in_a_line_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (handles, file) = open(folder.path());
        let queue = handles.of(QUEUE);
        for (token, text) in
            ["two words", "", "line\nfeed", &"h".repeat(MOST_CHARACTERS + 1), "good"].iter().enumerate()
        {
            queue.received(token as Token, text, 1);
        }
        drop((handles, queue));
        file.work();
        assert_eq!(written(folder.path()), format!("{HEADER}\n+ 4 1 {QUEUE} good\n"));
    }

    #[test]
    fn the_file_does_not_grow_with_what_has_passed() {
        let folder = tempfile::tempdir().unwrap();
        let (handles, mut file) = open(folder.path());
        let queue = handles.of(QUEUE);
        let handle = "h".repeat(1_024);
        let mut most = 0;
        for token in 0..10_000 {
            queue.received(token, &handle, 1);
            if token > 3 {
                queue.settled(token - 3);
            }
            let mut lines = String::new();
            while let Ok(change) = file.inbox.try_recv() {
                file.apply(change, &mut lines);
            }
            file.write(&lines);
            most = most.max(std::fs::metadata(folder.path().join("in-flight")).unwrap().len());
        }
        assert!(most < REWRITE_AFTER + (64 << 10), "{most} bytes");
        drop((handles, queue));
        drop(file);
        assert_eq!(open(folder.path()).0.of(QUEUE).left.len(), 4, "the first and the last three");
    }

    #[test]
    fn one_process_writes_it_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let (handles, file) = open(folder.path());
        assert!(Place::take(folder.path(), Duration::ZERO).is_err());
        drop(handles);
        file.work();
        Place::take(folder.path(), Duration::ZERO).unwrap();
    }
}
