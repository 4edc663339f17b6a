//! Sorts rows that may be more than fit into memory: runs in files without names, merged in the end.

use std::io::{self, BufReader, BufWriter, Read, Seek, Write};

use tempfile::SpooledTempFile;

/// Rows by their keys, which are compared byte for byte; equal keys stay in the order in which they came.
#[derive(Debug)]
pub(super) struct Sorter {
    rows: Vec<Row>,
    bytes: usize,
    /// Bytes of rows that are held in memory before they become a run.
    room: usize,
    runs: Vec<BufReader<SpooledTempFile>>,
}

/// A key and what goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
}

impl Sorter {
    pub(super) fn new(room: usize) -> Self {
        Self { rows: Vec::new(), bytes: 0, room, runs: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.runs.is_empty()
    }

    pub(super) fn push(&mut self, row: Row) -> io::Result<()> {
        self.bytes += row.key.len() + row.value.len();
        self.rows.push(row);
        if self.bytes < self.room { Ok(()) } else { self.end_run() }
    }

    /// The rows of all of them, from the least key on.
    pub(super) fn sorted_together(sorters: Vec<Self>) -> io::Result<Sorted> {
        let mut sources = Vec::new();
        for Self { mut rows, runs, .. } in sorters {
            rows.sort_by(|one, other| one.key.cmp(&other.key));
            sources.extend(runs.into_iter().map(Source::File));
            sources.push(Source::Memory(rows.into_iter()));
        }
        let heads = sources.iter_mut().map(Source::next).collect::<io::Result<_>>()?;
        Ok(Sorted { sources, heads })
    }

    fn end_run(&mut self) -> io::Result<()> {
        self.rows.sort_by(|one, other| one.key.cmp(&other.key));
        let mut run = BufWriter::new(SpooledTempFile::new(0));
        for Row { key, value } in self.rows.drain(..) {
            for part in [key, value] {
                run.write_all(&(part.len() as u64).to_le_bytes())?;
                run.write_all(&part)?;
            }
        }
        let mut run = run.into_inner().map_err(io::IntoInnerError::into_error)?;
        run.rewind()?;
        self.runs.push(BufReader::new(run));
        self.bytes = 0;
        Ok(())
    }
}

/// Rows that are taken out in order.
#[derive(Debug)]
pub(super) struct Sorted {
    /// Of each sorter the older runs first.
    sources: Vec<Source>,
    /// The next row of each.
    heads: Vec<Option<Row>>,
}

#[derive(Debug)]
enum Source {
    File(BufReader<SpooledTempFile>),
    Memory(std::vec::IntoIter<Row>),
}

impl Sorted {
    /// The next row; none after the last.
    pub(super) fn next(&mut self) -> io::Result<Option<Row>> {
        let heads = self.heads.iter().enumerate();
        let least = heads.filter_map(|(source, row)| Some((&row.as_ref()?.key, source))).min();
        let Some((_, source)) = least else { return Ok(None) };
        let next = self.sources[source].next()?;
        Ok(std::mem::replace(&mut self.heads[source], next))
    }
}

impl Source {
    fn next(&mut self) -> io::Result<Option<Row>> {
        match self {
            Source::Memory(rows) => Ok(rows.next()),
            Source::File(run) => {
                let Some(key) = part(run)? else { return Ok(None) };
                let value = part(run)?.ok_or(io::ErrorKind::UnexpectedEof)?;
                Ok(Some(Row { key, value }))
            }
        }
    }
}

/// A part of a row behind its length; none at the end.
fn part(run: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 8];
    match run.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut bytes = Vec::new();
    run.take(u64::from_le_bytes(length)).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_merged_and_equal_keys_keep_their_order() {
        let row = |number: usize| Row {
            key: (number.wrapping_mul(7_919) % 97).to_be_bytes().to_vec(),
            value: [&number.to_be_bytes()[..], &[b'x'; 900]].concat(),
        };
        let mut expected: Vec<Row> = (0..100_000).map(row).collect();
        let mut sorters = vec![Sorter::new(8 << 20), Sorter::new(8 << 20), Sorter::new(8 << 20)];
        assert!(sorters[2].is_empty());
        let (early, late) = expected.split_at(70_000);
        early.iter().for_each(|row| sorters[0].push(row.clone()).unwrap());
        late.iter().for_each(|row| sorters[1].push(row.clone()).unwrap());
        assert!(sorters[..2].iter().all(|sorter| sorter.runs.len() > 1 && !sorter.rows.is_empty()));
        expected.sort_by(|one, other| one.key.cmp(&other.key));
        let mut sorted = Sorter::sorted_together(sorters).unwrap();
        for expected in expected {
            assert_eq!(sorted.next().unwrap().as_ref(), Some(&expected));
        }
        assert_eq!(sorted.next().unwrap(), None);
    }
}
