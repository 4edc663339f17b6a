//! Keyed rows: what of an engine must survive a restart, as changes from step to step.
//!
//! A key is opaque bytes below the id of its detection. Removals name the beginning of keys, so that a group or a
//! period goes in one stroke. Changes are applied in their order.

use std::sync::Arc;

use jiff::Timestamp;

use super::bytes::{Malformed, Reader, put_number, put_run};
use super::evidence::{EventHash, Values, sortable, unsortable};
use super::moment::{Ingested, Moment};
use super::row::Row;

/// One change of what is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The row is there now, in place of one with the same detection and key.
    Write(StoredRow),
    /// All rows of the detection whose keys begin like this are gone.
    Remove {
        /// The id of the detection; empty for what belongs to none.
        detection: Arc<str>,
        /// The beginning of their keys.
        prefix: Box<[u8]>,
    },
}

/// One keyed row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRow {
    /// The id of the detection; empty for what belongs to none.
    pub detection: Arc<str>,
    /// Unique below the detection; at most 64 bytes.
    pub key: Box<[u8]>,
    /// What stands there.
    pub value: Box<[u8]>,
}

/// 16 bytes that stand for a group, or for a key with a value.
pub(super) type Hash = [u8; 16];

/// What a key names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// All that a group has.
    Group(Hash),
    /// The group's values.
    GroupValues(Hash),
    /// A row, with what is not part of its identity.
    Row(Hash, Row),
    /// The text about a row.
    Excerpt(Hash, Row),
    /// A period in which the group has fired.
    Period(Hash, Moment),
    /// All that was seen in a period.
    SeenIn(Moment),
    /// When it was first seen in a period.
    Seen(Moment, Hash),
    /// When something was last seen in a period.
    SeenAt(Moment),
    /// A sight that is not told yet.
    Held(Moment, Hash),
    /// When the detection first had an event.
    Origin,
    /// The watermark.
    Watermark,
}

/// A sight that waits, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) values: Values,
    pub(super) event: EventHash,
    pub(super) excerpt: Option<Arc<str>>,
    /// When something about it last came late; long ago if nothing did.
    pub(super) touched: Ingested,
}

/// The changes of one step, if anyone wants to know them.
#[derive(Debug)]
pub(super) struct Journal {
    pub(super) wanted: bool,
    pub(super) changes: Vec<Change>,
}

impl Journal {
    pub(super) fn write(&mut self, detection: &Arc<str>, key: Key, value: impl FnOnce() -> Vec<u8>) {
        if self.wanted {
            let row = StoredRow {
                detection: Arc::clone(detection),
                key: key.bytes().into(),
                value: value().into(),
            };
            self.changes.push(Change::Write(row));
        }
    }

    pub(super) fn remove(&mut self, detection: &Arc<str>, key: Key) {
        if self.wanted {
            let (detection, prefix) = (Arc::clone(detection), key.bytes().into());
            self.changes.push(Change::Remove { detection, prefix });
        }
    }
}

impl Key {
    fn bytes(self) -> Vec<u8> {
        match self {
            Key::Group(group) => [&b"g"[..], &group].concat(),
            Key::GroupValues(group) => [&b"g"[..], &group, b"v"].concat(),
            Key::Row(group, row) => [&b"g"[..], &group, b"r", &row_bytes(&row)].concat(),
            Key::Excerpt(group, row) => [&b"g"[..], &group, b"e", &row_bytes(&row)].concat(),
            Key::Period(group, start) => [&b"g"[..], &group, b"p", &sortable(start.0)].concat(),
            Key::SeenIn(period) => [&b"s"[..], &sortable(period.0)].concat(),
            Key::Seen(period, hash) => [&b"s"[..], &sortable(period.0), &hash].concat(),
            Key::SeenAt(period) => [&b"t"[..], &sortable(period.0)].concat(),
            Key::Held(period, hash) => [&b"h"[..], &sortable(period.0), &hash].concat(),
            Key::Origin => b"o".to_vec(),
            Key::Watermark => b"w".to_vec(),
        }
    }

    /// The member that a row is of.
    pub(super) fn member(&self) -> Option<usize> {
        match self {
            Key::Row(_, row) | Key::Excerpt(_, row) => Some(row.member.into()),
            _ => None,
        }
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        let key = match reader.byte()? {
            b'g' => Self::read_in_group(reader.array()?, &mut reader)?,
            b's' => Key::Seen(moment(&mut reader)?, reader.array()?),
            b't' => Key::SeenAt(moment(&mut reader)?),
            b'h' => Key::Held(moment(&mut reader)?, reader.array()?),
            b'o' => Key::Origin,
            b'w' => Key::Watermark,
            _ => return Err(Malformed),
        };
        if reader.0.is_empty() { Ok(key) } else { Err(Malformed) }
    }

    fn read_in_group(group: Hash, reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match reader.byte()? {
            b'v' => Ok(Key::GroupValues(group)),
            b'r' => Ok(Key::Row(group, read_row(reader)?)),
            b'e' => Ok(Key::Excerpt(group, read_row(reader)?)),
            b'p' => Ok(Key::Period(group, moment(reader)?)),
            _ => Err(Malformed),
        }
    }
}

fn row_bytes(row: &Row) -> Vec<u8> {
    let member = row.member.to_be_bytes();
    [&sortable(row.time.0)[..], &row.event.0, &member, &row.value.to_be_bytes()].concat()
}

fn read_row(reader: &mut Reader<'_>) -> Result<Row, Malformed> {
    Ok(Row {
        time: moment(reader)?,
        event: EventHash(reader.array()?),
        member: u16::from_be_bytes(reader.array()?),
        value: u64::from_be_bytes(reader.array()?),
        ingested: Ingested::LONG_AGO,
        is_open: false,
    })
}

/// A point in event time, which is one that an event can have.
pub(super) fn moment(reader: &mut Reader<'_>) -> Result<Moment, Malformed> {
    let micros = unsortable(reader.array()?);
    Timestamp::from_microsecond(micros).map(Moment::of).map_err(|_| Malformed)
}

/// A point in ingestion time; rows of an earlier form have none.
pub(super) fn ingested(reader: &mut Reader<'_>) -> Result<Ingested, Malformed> {
    if reader.0.is_empty() {
        return Ok(Ingested::LONG_AGO);
    }
    Ok(Ingested::from_bytes(reader.array()?))
}

/// A point in event time, and one in ingestion time.
pub(super) fn times_bytes(moment: Moment, ingested: Ingested) -> Vec<u8> {
    [&sortable(moment.0)[..], &ingested.bytes()].concat()
}

pub(super) fn moment_bytes(moment: Moment) -> Vec<u8> {
    sortable(moment.0).to_vec()
}

impl Held {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.event.0.to_vec();
        put_run(self.values.as_bytes(), &mut bytes);
        put_number(self.excerpt.is_some().into(), &mut bytes);
        if let Some(excerpt) = &self.excerpt {
            put_run(excerpt.as_bytes(), &mut bytes);
        }
        bytes.extend(self.touched.bytes());
        bytes
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        let event = EventHash(reader.array()?);
        let values = Values::read(reader.run()?)?;
        let excerpt = match reader.byte()? {
            0 => None,
            _ => Some(reader.text()?.into()),
        };
        Ok(Self { values, event, excerpt, touched: ingested(&mut reader)? })
    }
}
