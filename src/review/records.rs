//! The records of a single object: a log file, a case of a detection, standard input.

use std::path::Path;

use crate::decode::{Decoder, Item, Limits, Source, Unreadable};
use crate::detect::Detections;
use crate::event::Undecodable;
use crate::fetch::Body;
use crate::folder;

/// How much of an object is read: 512 MiB inflated, 4 MiB of a record.
const LIMITS: Limits = Limits { inflated: 512 << 20, record: 4 << 20 };

/// Why the records of an object cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// The file cannot be opened.
    #[error("{0}")]
    Open(#[source] std::io::Error),
    /// The object cannot be read to its end.
    #[error("{0}")]
    Unreadable(#[source] Unreadable),
    /// One of its elements is no record.
    #[error("record {index}: {error}")]
    Undecodable {
        /// Its position; 0 is the first.
        index: usize,
        /// Why.
        #[source]
        error: Undecodable,
    },
    /// There is none.
    #[error("holds no record")]
    None,
}

/// The records of a file: one record, a list, a log file; compressed or not.
///
/// # Errors
/// It cannot be read to its end, or something in it is no record.
pub fn of_file(path: &Path) -> Result<Vec<Vec<u8>>, RecordsError> {
    of_body(folder::open(path).map_err(RecordsError::Open)?.body)
}

/// As [`of_file`], of an object's bytes.
///
/// # Errors
/// As there.
pub fn of_body(mut body: Body) -> Result<Vec<Vec<u8>>, RecordsError> {
    let mut records = Vec::new();
    let mut fault = None;
    let mut visit = |item: Item<'_>| match item {
        Item::Record(record) => records.push(record.bytes.to_vec()),
        Item::Undecodable(error) if fault.is_none() => fault = Some((records.len(), error)),
        Item::Undecodable(_) => {}
    };
    let source = match &mut body {
        Body::Whole(bytes) => Source::Whole(bytes),
        Body::Stream(reader) => Source::Stream(reader),
    };
    let decoded = Decoder::new(LIMITS).decode(source, Detections::new(Vec::new()).keys(), &mut visit);
    match (decoded.unreadable, fault) {
        (Some(unreadable), _) => Err(RecordsError::Unreadable(unreadable)),
        (None, Some((index, error))) => Err(RecordsError::Undecodable { index, error }),
        (None, None) if records.is_empty() => Err(RecordsError::None),
        (None, None) => Ok(records),
    }
}
