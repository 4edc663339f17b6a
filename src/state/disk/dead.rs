//! What could not be handled: alerts that a sink refused, objects that could not be read; listed, tried again, dropped.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, Row, Transaction, TransactionBehavior, params};

use super::plan::tidy;
use super::{OpenError, database, schema};
use crate::event::hex;

/// An object that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadObject {
    /// The source that announced it: a queue's URL, or a watched folder.
    pub source: String,
    /// The bucket; empty for files.
    pub bucket: String,
    /// The key, or the path of a file.
    pub key: String,
    /// The version that was announced.
    pub version: Option<String>,
    /// Why.
    pub reason: String,
}

/// A dead object that somebody wants to be tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What it is called by; another one once it was tried in vain.
    pub number: i64,
    /// What it is.
    pub object: DeadObject,
}

/// Something dead, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    /// What it is called by.
    pub number: i64,
    /// Since when.
    pub at: Option<Timestamp>,
    /// Why.
    pub reason: String,
    /// Whether it is to be tried again as soon as a daemon runs.
    pub is_wanted: bool,
    /// What it is.
    pub kind: DeadKind,
}

/// What is dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeadKind {
    /// An alert that a sink refused.
    Alert {
        /// Its id.
        id: String,
        /// The id of its detection.
        rule: String,
        /// Its level.
        level: String,
        /// The name of the sink.
        sink: String,
    },
    /// An object that could not be read.
    Object(DeadObject),
}

/// The dead of a state folder, for the command line; a daemon may be at work beside it.
#[derive(Debug)]
pub struct Graveyard(Connection);

impl Graveyard {
    /// Opens the state in a folder, which must be there.
    ///
    /// # Errors
    /// It cannot be used; see [`OpenError`].
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        schema::join(&database(folder)).map(Self)
    }

    /// Everything that is dead, the oldest first.
    ///
    /// # Errors
    /// The database does not answer.
    pub fn list(&self) -> rusqlite::Result<Vec<Dead>> {
        let mut query = self.0.prepare(
            "SELECT dead.number, at, reason, wanted, sink, source, bucket, key, version, id, rule, level
             FROM dead LEFT JOIN alert ON alert.number = dead.alert ORDER BY dead.number",
        )?;
        let dead = query.query_map([], dead)?;
        dead.collect()
    }

    /// Has these tried again, in one transaction: alerts are queued for their sinks once more, objects are marked for
    /// the daemon. Answers with those that there are not.
    ///
    /// # Errors
    /// The database does not answer; nothing was changed.
    pub fn retry(&mut self, numbers: &[i64]) -> rusqlite::Result<Vec<i64>> {
        self.each(numbers, |transaction, number, alert| match alert {
            None => transaction.execute("UPDATE dead SET wanted = 1 WHERE number = ?1", [number]).map(drop),
            Some(alert) => revive(transaction, number, alert),
        })
    }

    /// Drops these for good, in one transaction. Answers with those that there are not.
    ///
    /// # Errors
    /// The database does not answer; nothing was changed.
    pub fn drop(&mut self, numbers: &[i64]) -> rusqlite::Result<Vec<i64>> {
        self.each(numbers, |transaction, number, alert| {
            transaction.execute("DELETE FROM dead WHERE number = ?1", [number])?;
            alert.map_or(Ok(()), |alert| tidy(transaction, alert))
        })
    }

    fn each(
        &mut self,
        numbers: &[i64],
        act: impl Fn(&Transaction<'_>, i64, Option<i64>) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<Vec<i64>> {
        let transaction = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut missing = Vec::new();
        for &number in numbers {
            let found = transaction.query_row("SELECT alert FROM dead WHERE number = ?1", [number], |row| {
                row.get::<_, Option<i64>>(0)
            });
            match found {
                Ok(alert) => act(&transaction, number, alert)?,
                Err(rusqlite::Error::QueryReturnedNoRows) => missing.push(number),
                Err(error) => return Err(error),
            }
        }
        transaction.commit()?;
        Ok(missing)
    }
}

/// Queues an alert for its sink once more. It gets a number of its own, behind all others: a sink never looks back.
fn revive(transaction: &Transaction<'_>, number: i64, alert: i64) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO alert (id, revision, status, level, rule, time, document)
         SELECT id, revision, status, level, rule, time, document FROM alert WHERE number = ?1",
        [alert],
    )?;
    let copy = transaction.last_insert_rowid();
    transaction.execute(
        "INSERT INTO pending SELECT sink, ?2, (SELECT length(CAST(document AS BLOB)) FROM alert WHERE number = ?2)
         FROM dead WHERE number = ?1",
        [number, copy],
    )?;
    transaction.execute("DELETE FROM dead WHERE number = ?1", [number])?;
    tidy(transaction, alert)
}

/// Notes an object that is given up; one that is dead already is so for its latest reason.
pub(super) fn bury(transaction: &Transaction<'_>, object: &DeadObject, at: i64) -> rusqlite::Result<()> {
    exhume(transaction, &object.bucket, &object.key, object.version.as_deref())?;
    let DeadObject { source, bucket, key, version, reason } = object;
    let mut insert = transaction.prepare_cached(
        "INSERT INTO dead (at, reason, source, bucket, key, version) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    insert.execute(params![at, reason, source, bucket, key, version])?;
    Ok(())
}

/// An object is not dead any more.
pub(super) fn exhume(
    transaction: &Transaction<'_>,
    bucket: &str,
    key: &str,
    version: Option<&str>,
) -> rusqlite::Result<()> {
    let mut delete = transaction.prepare_cached(
        "DELETE FROM dead WHERE bucket = ?1 AND key = ?2 AND ifnull(version, '') = ifnull(?3, '')",
    )?;
    delete.execute(params![bucket, key, version])?;
    Ok(())
}

/// Objects that are to be tried again.
pub(super) fn wanted(connection: &Connection) -> rusqlite::Result<Vec<Wanted>> {
    let mut query = connection.prepare_cached(
        "SELECT number, source, bucket, key, version, reason FROM dead WHERE wanted = 1 AND key IS NOT NULL ORDER BY number",
    )?;
    let wanted = query.query_map([], |row| {
        let object = DeadObject {
            source: row.get(1)?,
            bucket: row.get(2)?,
            key: row.get(3)?,
            version: row.get(4)?,
            reason: row.get(5)?,
        };
        Ok(Wanted { number: row.get(0)?, object })
    })?;
    wanted.collect()
}

fn dead(row: &Row<'_>) -> rusqlite::Result<Dead> {
    let reason: String = row.get(2)?;
    let kind = match row.get::<_, Option<Vec<u8>>>(9)? {
        Some(id) => {
            DeadKind::Alert { id: hex(&id), rule: row.get(10)?, level: row.get(11)?, sink: row.get(4)? }
        }
        None => DeadKind::Object(DeadObject {
            source: row.get(5)?,
            bucket: row.get(6)?,
            key: row.get(7)?,
            version: row.get(8)?,
            reason: reason.clone(),
        }),
    };
    let at = Timestamp::from_second(row.get(1)?).ok();
    Ok(Dead { number: row.get(0)?, at, reason, is_wanted: row.get(3)?, kind })
}
