//! Log files in the file system: which of them count, in which order, and their bytes.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::Advice;
use tokio::task::spawn_blocking;
use walkdir::{DirEntry, WalkDir};

use crate::announce::ObjectRef;
use crate::fetch::{Body, FetchError, Fetched, ObjectStore, Refusal, Room, WHOLE_LIMIT};

/// Endings of log files' names.
const ENDINGS: [&str; 4] = [".json", ".json.gz", ".ndjson", ".ndjson.gz"];

/// What a walk through a folder found.
#[derive(Debug, Default)]
pub struct Walk {
    /// Log files, by the byte order of their paths.
    pub files: Vec<PathBuf>,
    /// Other files, which are passed over.
    pub others: u64,
    /// What could not be looked into.
    pub faults: Vec<(PathBuf, io::Error)>,
}

/// Walks a folder. Links are followed, but to each folder once, or a few links back and forth would make a walk without
/// end; names that start with a dot or end in `.tmp` are nobody's business.
#[must_use]
pub fn walk(folder: &Path) -> Walk {
    let mut walk = Walk::default();
    let mut linked = HashSet::new();
    let mut is_new = |entry: &DirEntry| {
        let is_link = entry.path_is_symlink() && entry.file_type().is_dir();
        !is_link || entry.path().canonicalize().is_ok_and(|target| linked.insert(target))
    };
    let entries = WalkDir::new(folder).follow_links(true).min_depth(1).sort_by_file_name().into_iter();
    for entry in entries.filter_entry(|entry| !is_ignored(entry) && is_new(entry)) {
        match entry {
            Ok(entry) if entry.file_type().is_dir() => {}
            Ok(entry) if is_log_name(entry.file_name()) && !entry.file_type().is_file() => {
                walk.faults.push((entry.into_path(), not_a_file()));
            }
            Ok(entry) if is_log_name(entry.file_name()) => walk.files.push(entry.into_path()),
            Ok(_) => walk.others += 1,
            Err(error) => {
                let path = error.path().unwrap_or(folder).to_owned();
                walk.faults.push((path, error.into()));
            }
        }
    }
    walk.files
        .sort_by(|one, other| one.as_os_str().as_encoded_bytes().cmp(other.as_os_str().as_encoded_bytes()));
    walk
}

fn is_ignored(entry: &DirEntry) -> bool {
    let name = entry.file_name().as_encoded_bytes();
    name.starts_with(b".") || name.ends_with(b".tmp")
}

/// Whether a file of this name is taken for a log.
#[must_use]
pub fn is_log_name(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes().to_ascii_lowercase();
    ENDINGS.iter().any(|ending| name.ends_with(ending.as_bytes()))
}

/// Objects in the file system; a key is a path.
#[derive(Debug, Clone, Copy)]
pub struct FolderStore;

impl ObjectStore for FolderStore {
    async fn fetch(&self, object: &ObjectRef, _: &mut impl Room) -> Result<Fetched, FetchError> {
        // The announcement has the size.
        let path = PathBuf::from(&object.key);
        let opened = spawn_blocking(move || open(&path))
            .await
            .map_err(|error| FetchError::Unavailable(error.into()))?;
        opened.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => FetchError::Missing(error.into()),
            io::ErrorKind::PermissionDenied => FetchError::Denied(error.into()),
            _ => FetchError::Unavailable(error.into()),
        })
    }

    fn admits(&self, _: &ObjectRef) -> Result<(), Refusal> {
        Ok(())
    }
}

/// Opens a file: its bytes, or a reader if it is large.
///
/// # Errors
/// The file cannot be read, or is none.
pub fn open(path: &Path) -> io::Result<Fetched> {
    Opened::new(path)?.read(Vec::new())
}

/// A file whose content is on its way into memory.
#[derive(Debug)]
pub struct Opened {
    file: File,
    size: u64,
    content: String,
}

impl Opened {
    /// Opens a file and asks the system to read it ahead.
    ///
    /// # Errors
    /// The file cannot be opened, or is none.
    pub fn new(path: &Path) -> io::Result<Self> {
        // Whatever else it is may wait for ever to be opened, and would take a look for the end of its reader.
        if !std::fs::metadata(path)?.is_file() {
            return Err(not_a_file());
        }
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let (size, changed) = (metadata.len(), (metadata.ctime(), metadata.ctime_nsec()));
        let content = format!("{size}-{}-{}-{}", metadata.ino(), changed.0, changed.1);
        // Where the system cannot, it is read when it is needed.
        let _ = rustix::fs::fadvise(&file, 0, None, Advice::WillNeed);
        Ok(Self { file, size, content })
    }

    /// Reads the file; what is held in memory is held in this buffer, whatever it had before.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(self, mut buffer: Vec<u8>) -> io::Result<Fetched> {
        let Self { mut file, size, content } = self;
        let body = if size <= WHOLE_LIMIT {
            let expected = usize::try_from(size).expect("less than the limit fits into memory");
            // One byte more, so that a file which grows meanwhile is noticed.
            buffer.resize(expected + 1, 0);
            let length = read_full(&mut file, &mut buffer)?;
            buffer.truncate(length);
            if length > expected {
                (&mut file).take(WHOLE_LIMIT + 1 - length as u64).read_to_end(&mut buffer)?;
            }
            if buffer.len() as u64 <= WHOLE_LIMIT {
                Body::Whole(buffer)
            } else {
                Body::Stream(Box::new(io::Cursor::new(buffer).chain(file)))
            }
        } else {
            Body::Stream(Box::new(file))
        };
        Ok(Fetched { body, version: None, content: Some(content) })
    }
}

/// Fills a buffer as far as the file goes; returns how far that is.
fn read_full(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

fn not_a_file() -> io::Error {
    io::Error::other("not a regular file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_finds_log_files_in_byte_order() {
        let folder = tempfile::tempdir().unwrap();
        let names = [
            "b.json",
            "a/z.json.gz",
            "a.ndjson",
            "A.NDJSON.GZ",
            ".hidden.json",
            "x.json.tmp",
            "notes.txt",
            ".git/c.json",
        ];
        for name in names {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "{}").unwrap();
        }
        let walk = walk(folder.path());
        let found: Vec<_> = walk
            .files
            .iter()
            .map(|path| path.strip_prefix(folder.path()).unwrap().to_str().unwrap())
            .collect();
        assert_eq!(found, ["A.NDJSON.GZ", "a.ndjson", "a/z.json.gz", "b.json"]);
        assert_eq!((walk.others, walk.faults.len()), (1, 0));
    }

    #[test]
    fn a_loop_of_links_is_told() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(folder.path(), folder.path().join("loop")).unwrap();
        assert_eq!(walk(folder.path()).faults.len(), 1);
    }

    #[test]
    fn links_between_folders_are_followed_once_each() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        for name in names {
            std::fs::create_dir(folder.path().join(name)).unwrap();
            std::fs::write(folder.path().join(name).join("x.json"), "{}").unwrap();
        }
        for (name, other) in names.iter().flat_map(|name| names.map(|other| (*name, other))) {
            let link = folder.path().join(name).join(format!("to-{other}"));
            std::os::unix::fs::symlink(Path::new("..").join(other), link).unwrap();
        }
        let walk = walk(folder.path());
        assert!(walk.files.len() <= 2 * names.len(), "{:?}", walk.files);
    }
}
