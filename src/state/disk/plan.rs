//! What one commit writes, all of it or nothing.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{OptionalExtension, Transaction, params};

use super::{DeadObject, Disk, DoneObject, Meanings, dead};
use crate::alert::{Alert, Outcome, Report};
use crate::detect::windows::{Change, StoredRow};

/// How long objects and alert ids are remembered: SQS keeps a message for 14 days, CloudTrail retries a broken bucket
/// for 30.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(32 * 24);
/// Alert ids that are remembered at most.
const MOST_IDS: i64 = 4_000_000;
/// Rows that are forgotten at once.
const AT_ONCE: i64 = 5_000;

/// What one commit writes.
#[derive(Debug, Default)]
pub(in crate::state) struct Plan {
    /// Objects that are done.
    pub(in crate::state) objects: Vec<DoneObject>,
    /// Alerts, of which some may have been raised before.
    pub(in crate::state) alerts: Vec<Alert>,
    /// Changes of windows and first sights, in order.
    pub(in crate::state) changes: Vec<Change>,
    /// What detections mean from now on, if that has changed.
    pub(in crate::state) meanings: Option<Meanings>,
    /// Whether any object is dead, of which a done one may be one.
    pub(in crate::state) has_dead: bool,
    /// Objects that are given up.
    pub(in crate::state) dead: Vec<DeadObject>,
    /// What became of alerts at sinks.
    pub(in crate::state) reports: Vec<Report>,
}

/// What a commit found while it wrote.
#[derive(Debug, Default)]
pub(in crate::state) struct Written {
    /// For each alert whether it was raised for the first time.
    pub(in crate::state) raised: Vec<bool>,
    /// For each report the size of the alert and the time of its event; none for one that nobody waited for.
    pub(in crate::state) settled: Vec<Option<(usize, Option<Timestamp>)>>,
}

impl Disk {
    /// Writes a plan. `sinks` are those that are to take an alert, and `names` what the sinks of reports are called.
    pub(in crate::state) fn write<'s>(
        &mut self,
        plan: &Plan,
        now: Timestamp,
        names: &[&'s str],
        sinks: impl Fn(&Alert) -> Vec<&'s str>,
    ) -> rusqlite::Result<Written> {
        let (at, age) = (now.as_second(), self.age(now)?);
        let transaction = self.connection.transaction()?;
        for object in &plan.objects {
            let mut insert =
                transaction.prepare_cached("INSERT INTO object VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
            insert.execute(params![&object.id.0[..], age])?;
            if plan.has_dead {
                dead::exhume(&transaction, &object.bucket, &object.key, object.version.as_deref())?;
            }
        }
        let raise = |alert| raise(&transaction, alert, age, &sinks);
        let raised = plan.alerts.iter().map(raise).collect::<Result<_, _>>()?;
        for change in &plan.changes {
            apply(&transaction, change)?;
        }
        if let Some(meanings) = &plan.meanings {
            write_meanings(&transaction, meanings)?;
        }
        for object in &plan.dead {
            dead::bury(&transaction, object, at)?;
        }
        let settle = |report: &Report| settle(&transaction, report, names[report.sink], at);
        let settled = plan.reports.iter().map(settle).collect::<Result<_, _>>()?;
        transaction.commit()?;
        Ok(Written { raised, settled })
    }

    /// The time by which objects and ids grow old, in seconds. It goes on from where it was when something was last
    /// remembered, and only while the program runs: a clock that is wrong makes nothing be forgotten.
    fn age(&mut self, now: Timestamp) -> rusqlite::Result<i64> {
        let (begun, since) = match self.begun {
            Some(begun) => begun,
            None => {
                let newest = "SELECT max(at) FROM (SELECT max(at) AS at FROM object UNION ALL SELECT max(at) FROM raised)";
                let newest: Option<i64> = self.connection.query_row(newest, [], |row| row.get(0))?;
                *self.begun.insert((newest.unwrap_or(now.as_second()), Instant::now()))
            }
        };
        Ok(begun.saturating_add_unsigned(since.elapsed().as_secs()))
    }

    /// Forgets objects and alert ids that are too old, and ids beyond the bound; answers how many of the latter.
    pub(in crate::state) fn forget(&mut self, now: Timestamp) -> rusqlite::Result<usize> {
        let before = self.age(now)? - REMEMBERED.as_secs();
        let transaction = self.connection.transaction()?;
        for table in ["object", "raised"] {
            let key = if table == "object" { "id" } else { "id, revision" };
            transaction.execute(
                &format!(
                    "DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE at < ?1 ORDER BY at LIMIT ?2)"
                ),
                [before, AT_ONCE],
            )?;
        }
        let count: i64 = transaction.query_row("SELECT count(*) FROM raised", [], |row| row.get(0))?;
        let forgotten = transaction.execute(
            "DELETE FROM raised WHERE (id, revision) IN (SELECT id, revision FROM raised ORDER BY at LIMIT ?1)",
            [(count - MOST_IDS).clamp(0, AT_ONCE)],
        )?;
        transaction.commit()?;
        Ok(forgotten)
    }
}

/// Raises an alert, if that did not happen before, and queues it for those that are to take it.
fn raise<'s>(
    transaction: &Transaction<'_>,
    alert: &Alert,
    at: i64,
    sinks: impl Fn(&Alert) -> Vec<&'s str>,
) -> rusqlite::Result<bool> {
    let id = alert.id.bytes();
    let mut insert =
        transaction.prepare_cached("INSERT INTO raised VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?;
    if insert.execute(params![&id[..], alert.revision, at])? == 0 {
        return Ok(false);
    }
    let sinks = sinks(alert);
    if sinks.is_empty() {
        return Ok(true);
    }
    let Alert { revision, status, level, rule, document, .. } = alert;
    let time = alert.time.map(Timestamp::as_microsecond);
    let mut insert = transaction.prepare_cached(
        "INSERT INTO alert (id, revision, status, level, rule, time, document) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    insert.execute(params![&id[..], revision, status.as_str(), level.as_str(), &**rule, time, document])?;
    let number = transaction.last_insert_rowid();
    let mut insert = transaction.prepare_cached("INSERT INTO pending VALUES (?1, ?2, ?3)")?;
    for sink in sinks {
        insert.execute(params![sink, number, document.len()])?;
    }
    Ok(true)
}

/// Notes that a sink has taken or refused an alert.
fn settle(
    transaction: &Transaction<'_>,
    report: &Report,
    sink: &str,
    at: i64,
) -> rusqlite::Result<Option<(usize, Option<Timestamp>)>> {
    let mut query = transaction.prepare_cached(
        "SELECT number, size, time FROM alert JOIN pending ON pending.alert = number
         WHERE id = ?1 AND revision = ?2 AND sink = ?3",
    )?;
    let found = query.query_row(params![&report.id.bytes()[..], report.revision, sink], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, usize>(1)?, row.get::<_, Option<i64>>(2)?))
    });
    let Some((number, size, time)) = found.optional()? else { return Ok(None) };
    let mut delete = transaction.prepare_cached("DELETE FROM pending WHERE sink = ?1 AND alert = ?2")?;
    delete.execute(params![sink, number])?;
    match &report.outcome {
        Outcome::Taken => tidy(transaction, number)?,
        Outcome::Refused(reason) => {
            let mut insert = transaction
                .prepare_cached("INSERT INTO dead (at, reason, sink, alert) VALUES (?1, ?2, ?3, ?4)")?;
            insert.execute(params![at, reason, sink, number])?;
        }
    }
    Ok(Some((size, time.and_then(|time| Timestamp::from_microsecond(time).ok()))))
}

/// Removes an alert that nobody has to take any more.
pub(super) fn tidy(transaction: &Transaction<'_>, number: i64) -> rusqlite::Result<()> {
    let mut delete = transaction.prepare_cached(
        "DELETE FROM alert WHERE number = ?1 AND NOT EXISTS (SELECT 1 FROM pending WHERE alert = ?1)
         AND NOT EXISTS (SELECT 1 FROM dead WHERE alert = ?1)",
    )?;
    delete.execute([number])?;
    Ok(())
}

fn apply(transaction: &Transaction<'_>, change: &Change) -> rusqlite::Result<()> {
    match change {
        Change::Write(StoredRow { detection, key, value }) => {
            let mut insert =
                transaction.prepare_cached("INSERT OR REPLACE INTO window_row VALUES (?1, ?2, ?3)")?;
            insert.execute(params![&**detection, &key[..], &value[..]])?;
        }
        Change::Remove { detection, prefix } => {
            let mut delete = transaction.prepare_cached(
                "DELETE FROM window_row WHERE detection = ?1 AND key >= ?2 AND (?3 IS NULL OR key < ?3)",
            )?;
            delete.execute(params![&**detection, &prefix[..], behind(prefix)])?;
        }
    }
    Ok(())
}

/// The first key behind all that begin like this; none if there can be none.
fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut behind = prefix[..=last].to_vec();
    behind[last] += 1;
    Some(behind)
}

pub(super) fn write_meanings(transaction: &Transaction<'_>, meanings: &Meanings) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM detection", [])?;
    let mut insert = transaction.prepare_cached("INSERT INTO detection VALUES (?1, ?2)")?;
    for (id, meaning) in meanings {
        insert.execute(params![id, &meaning[..]])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_a_prefix_lies_nothing_that_begins_with_it() {
        let cases: [(&[u8], Option<&[u8]>); 5] = [
            (b"", None),
            (b"a", Some(b"b")),
            (b"a\xff", Some(b"b")),
            (b"\xff\xff", None),
            (b"a\xffb", Some(b"a\xffc")),
        ];
        for (prefix, expected) in cases {
            assert_eq!(behind(prefix).as_deref(), expected, "{prefix:?}");
        }
    }

    #[test]
    fn what_begins_alike_is_removed_together() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = Disk::open(folder.path(), std::time::Duration::ZERO).unwrap();
        let write = |detection: &str, key: &[u8]| {
            Change::Write(StoredRow { detection: detection.into(), key: key.into(), value: (*b"v").into() })
        };
        let keys: [&[u8]; 6] = [b"g1", b"g1r\xff", b"g1v", b"g\xff", b"g\xff\xffr", b"h"];
        let rows = ["one", "other"].into_iter().flat_map(|detection| keys.map(|key| write(detection, key)));
        let remove = |prefix: &[u8]| Change::Remove { detection: "one".into(), prefix: prefix.into() };
        let changes = rows.chain([remove(b"g1"), remove(b"g\xff"), remove(b"nothing")]).collect();
        let meanings: Meanings = ["one", "other"].map(|id| (id.to_owned(), [7; 32])).into();
        let plan = Plan { changes, meanings: Some(meanings.clone()), ..Plan::default() };
        disk.write(&plan, Timestamp::UNIX_EPOCH, &[], |_| Vec::new()).unwrap();
        let (rows, dropped) = disk.windows(&meanings).unwrap();
        let left: Vec<_> = rows.iter().map(|row| (&*row.detection, &*row.key)).collect();
        let expected: Vec<_> = [("one", keys[5])].into_iter().chain(keys.map(|key| ("other", key))).collect();
        assert_eq!((left, dropped), (expected, 0));
    }
}
