//! What survives a restart: one `SQLite` database in a folder of its own.
//!
//! Everything that follows from a commit is written in one transaction, and is on the disk before anybody is told.
//! Only the daemon that holds the folder's lock writes windows and alerts; `trailhound dead` works beside it, in
//! transactions of its own.

mod dead;
mod place;
mod plan;
mod schema;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use sha2::{Digest, Sha256};

use crate::alert::{Alert, AlertId};
use crate::detect::Status;
use crate::detect::windows::StoredRow;

pub use dead::{Dead, DeadKind, DeadObject, Graveyard, Wanted};
pub(super) use place::Place;
pub use place::WAIT;
use place::database;
pub(super) use plan::{Plan, Written};
pub(super) use schema::failed;

/// Alerts of one sink that are read at once, and their bytes.
const PAGE: usize = 256;
const PAGE_BYTES: usize = 8 << 20;

/// Why a state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder, or a file in it.
    #[error("the state folder {folder} cannot be used{why}", folder = .folder.display(), why = hint(.source))]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The locks of `SQLite` do not hold there.
    #[error(
        "the state folder {folder} lies on a network file system ({kind}), where two daemons could write at once: give a \
         folder on a disk of this machine", folder = .folder.display()
    )]
    Network {
        /// The folder.
        folder: PathBuf,
        /// The kind of file system.
        kind: String,
    },
    /// Another process has it.
    #[error(
        "the state folder {folder} is in use by another process; its end was waited for {waited:?}",
        folder = .folder.display()
    )]
    Locked {
        /// The folder.
        folder: PathBuf,
        /// How long it was waited for.
        waited: Duration,
    },
    /// A database of a later program.
    #[error(
        "{database} is of version {found}, and this program knows versions up to {known}: run the newer program again, or put {copy} in its place",
        database = .database.display(), copy = copy(.backup.as_deref())
    )]
    Newer {
        /// The database.
        database: PathBuf,
        /// Its version.
        found: usize,
        /// The version of this program.
        known: usize,
        /// The latest copy that this program can open.
        backup: Option<PathBuf>,
    },
    /// A database of an earlier program, and nobody who may bring it up to date.
    #[error(
        "{database} is of version {found}, and this program works on version {known}: start `trailhound run` once, which \
         brings it up to date", database = .database.display()
    )]
    Older {
        /// The database.
        database: PathBuf,
        /// Its version.
        found: usize,
        /// The version of this program.
        known: usize,
    },
    /// A database of another program.
    #[error("{database} is a database of another program", database = .database.display())]
    Foreign {
        /// The database.
        database: PathBuf,
    },
    /// A damaged database.
    #[error(
        "{database} is damaged ({detail}): put a copy in its place, or move it and its -wal and -shm files away to begin \
         anew. Then open windows and first sights are lost, and what is announced again alerts again, with the same ids",
        database = .database.display()
    )]
    Damaged {
        /// The database.
        database: PathBuf,
        /// What `SQLite` says.
        detail: String,
    },
    /// Everything else.
    #[error("{database} cannot be used", database = .database.display())]
    Database {
        /// The database.
        database: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

fn hint(source: &io::Error) -> &'static str {
    if place::is_read_only(source) { ": it must be writable for the user that runs trailhound" } else { "" }
}

fn copy(backup: Option<&Path>) -> String {
    backup.map_or_else(|| "a copy of an earlier version".to_owned(), |path| path.display().to_string())
}

/// An object whose effects are committed: a hash of what tells it from all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ObjectId([u8; 16]);

impl ObjectId {
    /// The object of a bucket and a key, of this version; where there are no versions, of this content.
    #[must_use]
    pub fn of(bucket: &str, key: &str, version: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [bucket, key, version] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(*hash.finalize().first_chunk().expect("SHA-256 has 32 bytes"))
    }
}

/// An object whose effects are complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoneObject {
    /// What it is known by.
    pub id: ObjectId,
    /// The bucket; empty for files.
    pub bucket: String,
    /// The key, or the path of a file.
    pub key: String,
    /// The version that was announced.
    pub version: Option<String>,
}

/// The database, for the one who writes it.
#[derive(Debug)]
pub(super) struct Disk {
    connection: Connection,
    path: PathBuf,
    place: Arc<Place>,
    /// Changes when another connection has written.
    seen: Option<i64>,
    /// The age of the state when something was first written, and since when that is.
    begun: Option<(i64, Instant)>,
}

/// An alert that a sink has still to take.
#[derive(Debug)]
pub(super) struct Queued {
    /// Its place in the order in which alerts were raised.
    pub(super) number: i64,
    pub(super) alert: Alert,
}

/// What a sink has still to take, as it is stored.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Backlog {
    pub(super) alerts: u64,
    pub(super) bytes: u64,
}

impl Disk {
    /// Takes a folder, waits at most this long for another daemon, and opens its database.
    ///
    /// # Errors
    /// It cannot be used; see [`OpenError`].
    pub(super) fn open(folder: &Path, wait: Duration) -> Result<Self, OpenError> {
        let place = Arc::new(Place::take(folder, wait)?);
        let path = place.database();
        let connection = schema::open(&path)?;
        Ok(Self { connection, path, place, seen: None, begun: None })
    }

    /// Another connection to the same database, for looking up objects while commits are under way.
    pub(super) fn objects(&self) -> Result<Objects, OpenError> {
        Ok(Objects(schema::join(&self.path)?))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder, which stays locked as long as anybody has it.
    pub(super) fn place(&self) -> Arc<Place> {
        Arc::clone(&self.place)
    }

    /// What each sink has still to take, by the names of sinks.
    pub(super) fn backlogs(&self) -> rusqlite::Result<Vec<(String, Backlog)>> {
        let mut query =
            self.connection.prepare_cached("SELECT sink, count(*), sum(size) FROM pending GROUP BY sink")?;
        let backlogs = query
            .query_map([], |row| Ok((row.get(0)?, Backlog { alerts: row.get(1)?, bytes: row.get(2)? })))?;
        backlogs.collect()
    }

    /// The next alerts that a sink has still to take, behind this number, in order; a page of them.
    pub(super) fn queued(&self, sink: &str, behind: i64) -> rusqlite::Result<Vec<Queued>> {
        let mut query = self.connection.prepare_cached(
            "SELECT number, id, revision, status, level, rule, time, document FROM pending JOIN alert ON number = alert
             WHERE sink = ?1 AND alert > ?2 ORDER BY alert",
        )?;
        let mut rows = query.query(params![sink, behind])?;
        let (mut page, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let queued = Queued { number: row.get(0)?, alert: alert(row)? };
            bytes += queued.alert.document.len();
            page.push(queued);
            if page.len() >= PAGE || bytes >= PAGE_BYTES {
                break;
            }
        }
        Ok(page)
    }

    /// The rows of detections over more than one event that still mean what they meant when the rows were written;
    /// those of others are removed.
    pub(super) fn windows(&mut self, meanings: &Meanings) -> rusqlite::Result<(Vec<StoredRow>, usize)> {
        let transaction = self.connection.transaction()?;
        let mut dropped = 0;
        for (detection, meaning) in stored_meanings(&transaction)? {
            if meanings.iter().any(|(id, now)| *id == detection && now[..] == meaning[..]) {
                continue;
            }
            dropped += transaction.execute("DELETE FROM window_row WHERE detection = ?1", [&detection])?;
        }
        plan::write_meanings(&transaction, meanings)?;
        let mut query = transaction.prepare("SELECT detection, key, value FROM window_row")?;
        let rows = query.query_map([], |row| {
            let (detection, key, value): (String, Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(StoredRow { detection: detection.into(), key: key.into(), value: value.into() })
        })?;
        let rows = rows.collect::<Result<_, _>>()?;
        drop(query);
        transaction.commit()?;
        Ok((rows, dropped))
    }

    /// Whether another connection has written since this was last asked; at first it has.
    pub(super) fn has_changed(&mut self) -> rusqlite::Result<bool> {
        let now = self.connection.pragma_query_value(None, "data_version", |row| row.get(0))?;
        Ok(self.seen.replace(now) != Some(now))
    }

    /// Objects that are to be tried again.
    pub(super) fn wanted(&self) -> rusqlite::Result<Vec<Wanted>> {
        dead::wanted(&self.connection)
    }

    /// How many dead alerts and objects there are.
    pub(super) fn dead(&self) -> rusqlite::Result<(u64, u64)> {
        self.connection
            .query_row("SELECT count(alert), count(key) FROM dead", [], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// Alerts for sinks that there are no more become dead; answers how many, by the names of these sinks.
    pub(super) fn orphans(
        &mut self,
        sinks: &[&str],
        now: Timestamp,
    ) -> rusqlite::Result<Vec<(String, usize)>> {
        let transaction = self.connection.transaction()?;
        let mut query = transaction.prepare("SELECT DISTINCT sink FROM pending")?;
        let known = query.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
        drop(query);
        let mut orphans = Vec::new();
        for sink in known.into_iter().filter(|sink| !sinks.contains(&sink.as_str())) {
            let count = transaction.execute(
                "INSERT INTO dead (at, reason, sink, alert)
                 SELECT ?2, 'there is no sink of this name any more', sink, alert FROM pending WHERE sink = ?1",
                params![sink, now.as_second()],
            )?;
            transaction.execute("DELETE FROM pending WHERE sink = ?1", [&sink])?;
            orphans.push((sink, count));
        }
        transaction.commit()?;
        Ok(orphans)
    }
}

/// What detections over more than one event mean, by their ids: rows that were written under another meaning are
/// worth nothing.
pub(super) type Meanings = Vec<(String, [u8; 32])>;

fn stored_meanings(connection: &Connection) -> rusqlite::Result<Vec<(String, Vec<u8>)>> {
    let mut query = connection.prepare(
        "SELECT DISTINCT window_row.detection, ifnull(meaning, x'') FROM window_row LEFT JOIN detection ON id = detection
         WHERE window_row.detection <> ''",
    )?;
    let meanings = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    meanings.collect()
}

/// Looks up objects, from wherever that is needed.
#[derive(Debug)]
pub(super) struct Objects(Connection);

impl Objects {
    /// Whether the effects of an object are committed.
    pub(super) fn has(&self, object: ObjectId) -> rusqlite::Result<bool> {
        let mut query = self.0.prepare_cached("SELECT 1 FROM object WHERE id = ?1")?;
        Ok(query.query_row([&object.0[..]], |_| Ok(())).optional()?.is_some())
    }
}

/// An alert, from the columns behind its number.
fn alert(row: &Row<'_>) -> rusqlite::Result<Alert> {
    let odd = |column| rusqlite::Error::InvalidColumnType(column, String::new(), rusqlite::types::Type::Text);
    let (status, level): (String, String) = (row.get(3)?, row.get(4)?);
    let statuses = [Status::Match, Status::Undecided];
    let time: Option<i64> = row.get(6)?;
    Ok(Alert {
        id: AlertId::from_bytes(row.get(1)?),
        revision: row.get(2)?,
        status: statuses.into_iter().find(|known| known.as_str() == status).ok_or_else(|| odd(3))?,
        level: level.parse().map_err(|_| odd(4))?,
        is_withheld: false,
        rule: row.get::<_, String>(5)?.into(),
        time: time.and_then(|time| Timestamp::from_microsecond(time).ok()),
        // Only who is to have it depends on this, and that is decided.
        late_by: None,
        document: row.get(7)?,
    })
}
