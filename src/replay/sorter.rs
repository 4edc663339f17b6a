//! Sorts rows that may be more than fit into memory: runs in files without names, merged in the end.

use std::io::{self, BufReader, BufWriter, Read, Seek, Write};

use tempfile::SpooledTempFile;

/// Rows by their keys, which are compared byte for byte; equal keys stay in the order in which they came.
#[derive(Debug)]
pub(super) struct Sorter {
    rows: Rows,
    /// Bytes that rows may take up in memory before they become a run.
    room: usize,
    runs: Vec<BufReader<SpooledTempFile>>,
}

/// A key and what goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row<'r> {
    pub(super) key: &'r [u8],
    pub(super) value: &'r [u8],
}

/// Rows in one piece of memory.
#[derive(Debug, Default)]
pub(super) struct Rows {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

/// Where a row stands: its key, and behind it the value.
#[derive(Debug, Clone, Copy)]
struct Span {
    /// The first bytes of the key, as a number that sorts like them.
    first: u64,
    at: usize,
    key: usize,
    value: usize,
}

impl Rows {
    pub(super) fn push(&mut self, Row { key, value }: Row<'_>) {
        let mut first = [0; 8];
        first.iter_mut().zip(key).for_each(|(first, byte)| *first = *byte);
        let (first, at) = (u64::from_be_bytes(first), self.bytes.len());
        self.spans.push(Span { first, at, key: key.len(), value: value.len() });
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Bytes that they take up in memory.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() + self.spans.len() * size_of::<Span>()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        self.spans.iter().map(|span| span.row(&self.bytes))
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
    }

    fn sort(&mut self) {
        let key = |span: &Span| span.row(&self.bytes).key;
        self.spans.sort_by(|one, other| one.first.cmp(&other.first).then_with(|| key(one).cmp(key(other))));
    }
}

impl Span {
    fn row(self, bytes: &[u8]) -> Row<'_> {
        let (key, value) = bytes[self.at..][..self.key + self.value].split_at(self.key);
        Row { key, value }
    }
}

impl Sorter {
    pub(super) fn new(room: usize) -> Self {
        Self { rows: Rows::default(), room, runs: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.runs.is_empty()
    }

    /// Bytes of all rows, about.
    pub(super) fn size(&self) -> usize {
        self.runs.len() * self.room + self.rows.size()
    }

    pub(super) fn push(&mut self, row: Row<'_>) -> io::Result<()> {
        self.rows.push(row);
        if self.rows.size() < self.room { Ok(()) } else { self.end_run() }
    }

    /// The rows of all of them, from the least key on.
    pub(super) fn sorted_together(sorters: Vec<Self>) -> io::Result<Sorted> {
        let mut sources = Vec::new();
        for Self { mut rows, runs, .. } in sorters {
            rows.sort();
            for file in runs {
                let mut run = Run { file, key: Vec::new(), value: Vec::new(), is_over: false };
                run.advance()?;
                sources.push(Source::File(run));
            }
            sources.push(Source::Memory(rows, 0));
        }
        Ok(Sorted { sources, handed_out: None })
    }

    fn end_run(&mut self) -> io::Result<()> {
        self.rows.sort();
        let mut run = BufWriter::new(SpooledTempFile::new(0));
        for Row { key, value } in self.rows.iter() {
            for part in [key, value] {
                run.write_all(&(part.len() as u64).to_le_bytes())?;
                run.write_all(part)?;
            }
        }
        self.rows.clear();
        let mut run = run.into_inner().map_err(io::IntoInnerError::into_error)?;
        run.rewind()?;
        self.runs.push(BufReader::new(run));
        Ok(())
    }
}

/// Rows that are taken out in order.
#[derive(Debug)]
pub(super) struct Sorted {
    /// Of each sorter the older runs first.
    sources: Vec<Source>,
    /// The source whose row was handed out last.
    handed_out: Option<usize>,
}

#[derive(Debug)]
enum Source {
    File(Run),
    /// Sorted, from the row of this number on.
    Memory(Rows, usize),
}

/// A run, and the row in it that comes next.
#[derive(Debug)]
struct Run {
    file: BufReader<SpooledTempFile>,
    key: Vec<u8>,
    value: Vec<u8>,
    is_over: bool,
}

impl Sorted {
    /// The next row; none after the last.
    pub(super) fn next(&mut self) -> io::Result<Option<Row<'_>>> {
        if let Some(source) = self.handed_out.take() {
            self.sources[source].advance()?;
        }
        let heads = self.sources.iter().enumerate();
        let least = heads.filter_map(|(source, rows)| Some((rows.head()?.key, source))).min();
        self.handed_out = least.map(|(_, source)| source);
        Ok(self.handed_out.and_then(|source| self.sources[source].head()))
    }
}

impl Source {
    fn head(&self) -> Option<Row<'_>> {
        match self {
            Source::File(run) => (!run.is_over).then_some(Row { key: &run.key, value: &run.value }),
            Source::Memory(rows, next) => rows.spans.get(*next).map(|span| span.row(&rows.bytes)),
        }
    }

    fn advance(&mut self) -> io::Result<()> {
        match self {
            Source::File(run) => run.advance(),
            Source::Memory(_, next) => {
                *next += 1;
                Ok(())
            }
        }
    }
}

impl Run {
    fn advance(&mut self) -> io::Result<()> {
        let Self { file, key, value, is_over } = self;
        *is_over = !read_part(file, key)?;
        if !*is_over && !read_part(file, value)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

/// Reads a part of a row behind its length; whether there was one.
fn read_part(run: &mut impl Read, part: &mut Vec<u8>) -> io::Result<bool> {
    let mut length = [0; 8];
    match run.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        Err(error) => return Err(error),
    }
    part.clear();
    run.take(u64::from_le_bytes(length)).read_to_end(part)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_merged_and_equal_keys_keep_their_order() {
        let row = |number: usize| {
            let key = (number.wrapping_mul(7_919) % 97).to_be_bytes();
            // Keys of all lengths, one the beginning of another.
            let key = [&key[7 - number % 2..], &[0; 9][..number % 10]].concat();
            (key, [&number.to_be_bytes()[..], &[b'x'; 900]].concat())
        };
        let mut expected: Vec<_> = (0..100_000).map(row).collect();
        let mut sorters = vec![Sorter::new(8 << 20), Sorter::new(8 << 20), Sorter::new(8 << 20)];
        assert!(sorters[2].is_empty());
        let (early, late) = expected.split_at(70_000);
        for (sorter, rows) in [early, late].into_iter().enumerate() {
            rows.iter().for_each(|(key, value)| sorters[sorter].push(Row { key, value }).unwrap());
            assert!(sorters[sorter].runs.len() > 1 && !sorters[sorter].rows.is_empty());
        }
        expected.sort_by(|one, other| one.0.cmp(&other.0));
        let mut sorted = Sorter::sorted_together(sorters).unwrap();
        for (key, value) in &expected {
            assert_eq!(sorted.next().unwrap(), Some(Row { key, value }));
        }
        assert_eq!(sorted.next().unwrap(), None);
        assert_eq!(sorted.next().unwrap(), None);
    }
}
