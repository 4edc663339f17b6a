//! The tables of the database, and how one of an older version is brought up to date.
//!
//! `PRAGMA user_version` counts the steps that were taken. Before any of them the file is copied to
//! `state.db.version-N`, so that the program of before finds something that it can open.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags};
use tracing::info;

use super::OpenError;

/// Marks the file as one of this program: "trhd".
const APPLICATION: i32 = 0x7472_6864;

/// Each takes the database from the version of its position to the next one.
const STEPS: [&str; 1] = ["
    -- Objects whose effects are committed: a hash of bucket, key and version, and when that was.
    CREATE TABLE object (id BLOB PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID, STRICT;
    CREATE INDEX object_at ON object (at);

    -- Alerts that were raised: each id and revision once.
    CREATE TABLE raised (id BLOB, revision INTEGER, at INTEGER NOT NULL, PRIMARY KEY (id, revision)) WITHOUT ROWID, STRICT;
    CREATE INDEX raised_at ON raised (at);

    -- Alerts that somebody has still to take, in the order in which they were raised.
    CREATE TABLE alert (
        number INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL, revision INTEGER NOT NULL, status TEXT NOT NULL,
        level TEXT NOT NULL, rule TEXT NOT NULL, time INTEGER, document TEXT NOT NULL) STRICT;
    CREATE INDEX alert_id ON alert (id, revision);
    CREATE TABLE pending (
        sink TEXT, alert INTEGER, size INTEGER NOT NULL, PRIMARY KEY (sink, alert)) WITHOUT ROWID, STRICT;
    CREATE INDEX pending_alert ON pending (alert);

    -- What could not be handled: an alert that a sink refused, or an object. `wanted` are those to be tried again.
    CREATE TABLE dead (
        number INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, reason TEXT NOT NULL, wanted INTEGER NOT NULL DEFAULT 0,
        sink TEXT, alert INTEGER, source TEXT, bucket TEXT, key TEXT, version TEXT) STRICT;
    CREATE INDEX dead_alert ON dead (alert) WHERE alert IS NOT NULL;
    CREATE UNIQUE INDEX dead_object ON dead (bucket, key, ifnull(version, '')) WHERE key IS NOT NULL;

    -- Detections over more than one event: what each of them meant when its rows were written, and the rows.
    CREATE TABLE detection (id TEXT PRIMARY KEY, meaning BLOB NOT NULL) WITHOUT ROWID, STRICT;
    CREATE TABLE window_row (
        detection TEXT, key BLOB, value BLOB NOT NULL, PRIMARY KEY (detection, key)) WITHOUT ROWID, STRICT;
"];

/// Opens the database of a locked folder, makes it if it is not there, and brings it up to date.
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    let connection = connect(path, true)?;
    migrate(connection, path, &STEPS)
}

/// Opens the database beside a daemon that may be using it; it must be there and up to date.
pub(super) fn join(path: &Path) -> Result<Connection, OpenError> {
    let connection = connect(path, false)?;
    match version(&connection, path)? {
        found if found == STEPS.len() => Ok(connection),
        found if found > STEPS.len() => Err(newer(path, found, STEPS.len())),
        found => Err(OpenError::Older { database: path.to_owned(), found, known: STEPS.len() }),
    }
}

fn connect(path: &Path, make: bool) -> Result<Connection, OpenError> {
    let fail = |source| failed(path, source);
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if make {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let connection = Connection::open_with_flags(path, flags).map_err(fail)?;
    connection.busy_timeout(std::time::Duration::from_secs(10)).map_err(fail)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(fail)?;
    // A commit is on the disk before anybody is told of it.
    connection.pragma_update(None, "synchronous", "FULL").map_err(fail)?;
    connection.pragma_update(None, "temp_store", "MEMORY").map_err(fail)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn version(connection: &Connection, path: &Path) -> Result<usize, OpenError> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let (application, version) = pragma("application_id")
        .and_then(|id| Ok((id, pragma("user_version")?)))
        .map_err(|e| failed(path, e))?;
    let version = usize::try_from(version).unwrap_or(usize::MAX);
    let of_others = application != APPLICATION && (application != 0 || version != 0);
    if of_others { Err(OpenError::Foreign { database: path.to_owned() }) } else { Ok(version) }
}

fn migrate(mut connection: Connection, path: &Path, steps: &[&str]) -> Result<Connection, OpenError> {
    let found = version(&connection, path)?;
    if found > steps.len() {
        return Err(newer(path, found, steps.len()));
    }
    check(&connection, path)?;
    if found == steps.len() {
        return Ok(connection);
    }
    if found > 0 {
        back_up(&connection, path, found)?;
    }
    let fail = |source| failed(path, source);
    let transaction = connection.transaction().map_err(fail)?;
    for step in &steps[found..] {
        transaction.execute_batch(step).map_err(fail)?;
    }
    let reached = i32::try_from(steps.len()).expect("there are few steps");
    transaction.pragma_update(None, "application_id", APPLICATION).map_err(fail)?;
    transaction.pragma_update(None, "user_version", reached).map_err(fail)?;
    transaction.commit().map_err(fail)?;
    Ok(connection)
}

/// Copies the database before it is changed; a copy of that version which is there already stays.
fn back_up(connection: &Connection, path: &Path, version: usize) -> Result<(), OpenError> {
    let backup = backup(path, version);
    if !backup.exists() {
        let name = backup.to_string_lossy().into_owned();
        // Under another name first: a copy that was cut short must never pass for a whole one.
        let partial = format!("{name}.partial");
        let _ = std::fs::remove_file(&partial);
        connection.execute("VACUUM INTO ?1", [&partial]).map_err(|source| failed(path, source))?;
        let moved = std::fs::rename(&partial, &backup);
        moved.map_err(|source| OpenError::Folder { folder: path.to_owned(), source })?;
    }
    info!(backup = %backup.display(), version, "the state is brought up to date; it was copied before");
    Ok(())
}

/// Where the copy of a version is kept.
fn backup(path: &Path, version: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".version-{version}"));
    name.into()
}

fn newer(path: &Path, found: usize, known: usize) -> OpenError {
    let copies = (1..=known).rev().map(|version| backup(path, version));
    let backup = copies.into_iter().find(|backup| backup.exists());
    OpenError::Newer { database: path.to_owned(), found, known, backup }
}

/// Looks for damage, before anything is built on it.
fn check(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let verdict: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|source| failed(path, source))?;
    let damaged = |detail| OpenError::Damaged { database: path.to_owned(), detail };
    if verdict == "ok" { Ok(()) } else { Err(damaged(verdict)) }
}

/// Tells damage from everything else that may be wrong with a database.
pub(in crate::state) fn failed(path: &Path, source: rusqlite::Error) -> OpenError {
    let database = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            OpenError::Damaged { database, detail: source.to_string() }
        }
        _ => OpenError::Database { database, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "CREATE TABLE a (x INTEGER) STRICT; INSERT INTO a VALUES (1)";
    const SECOND: &str = "ALTER TABLE a ADD COLUMN y INTEGER NOT NULL DEFAULT 7";

    fn to(path: &Path, steps: &[&str]) -> Result<Connection, OpenError> {
        migrate(connect(path, true)?, path, steps)
    }

    fn file() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        (folder, path)
    }

    #[test]
    fn a_database_is_copied_before_it_is_brought_up_to_date() {
        let (_folder, path) = file();
        drop(to(&path, &[FIRST]).unwrap());
        let sum = |connection: &Connection, of: &str| {
            connection.query_row(&format!("SELECT sum({of}) FROM a"), [], |row| row.get::<_, i64>(0))
        };
        let connection = to(&path, &[FIRST, SECOND]).unwrap();
        assert_eq!(sum(&connection, "x + y"), Ok(8));
        drop(connection);
        let Err(OpenError::Newer { backup: Some(backup), found: 2, known: 1, .. }) = to(&path, &[FIRST])
        else {
            panic!("a newer database is refused")
        };
        let before = to(&backup, &[FIRST]).unwrap();
        assert_eq!(sum(&before, "x"), Ok(1));
        assert!(sum(&before, "y").is_err());
    }

    #[test]
    fn a_step_that_fails_changes_nothing() {
        let (_folder, path) = file();
        drop(to(&path, &[FIRST]).unwrap());
        assert!(to(&path, &[FIRST, SECOND, "no sql"]).is_err());
        let connection = to(&path, &[FIRST]).unwrap();
        assert!(connection.prepare("SELECT y FROM a").is_err());
    }

    #[test]
    fn whatever_else_lies_there_is_told() {
        let (_folder, path) = file();
        std::fs::write(&path, "this is a text of some length, and no database at all").unwrap();
        assert!(matches!(open(&path), Err(OpenError::Damaged { .. })));
        std::fs::remove_file(&path).unwrap();
        Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 3").unwrap();
        assert!(matches!(open(&path), Err(OpenError::Foreign { .. })));
    }

    #[test]
    fn damage_within_is_found() {
        let (_folder, path) = file();
        let connection = open(&path).unwrap();
        let mut insert = connection.prepare("INSERT INTO object VALUES (randomblob(16), ?1)").unwrap();
        (0..5_000).for_each(|at| _ = insert.execute([at]).unwrap());
        drop(insert);
        connection.close().unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle..middle + 20_000].fill(0x5a);
        std::fs::write(&path, bytes).unwrap();
        let error = open(&path).unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    }

    #[test]
    fn others_join_a_database_that_is_there() {
        let (_folder, path) = file();
        assert!(join(&path).is_err());
        let first = open(&path).unwrap();
        join(&path).unwrap();
        first.pragma_update(None, "user_version", 0).unwrap();
        assert!(matches!(join(&path), Err(OpenError::Older { .. })));
    }
}
