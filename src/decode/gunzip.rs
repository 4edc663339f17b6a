//! Gzip as a stream: slower than whole objects, exact about what is wrong.
//!
//! Every member is read. What comes before a fault is handed out before the fault is told.

use std::io::{self, Read};

use flate2::{Decompress, FlushDecompress, Status};

use super::{Anomaly, Unreadable};

/// The first two bytes of every gzip member.
const MAGIC: [u8; 2] = [0x1f, 0x8b];
const INPUT: usize = 64 * 1024;

/// Whether these bytes open a gzip member.
pub(super) fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// Inflates member after member from a reader.
pub(super) struct Gunzip<R> {
    source: R,
    input: Vec<u8>,
    /// The part of `input` not yet used starts here.
    used: usize,
    member: Decompress,
    members: u64,
    trailing: u64,
    ended: bool,
    /// Bytes taken from the source.
    pub(super) consumed: u64,
}

impl<R: Read> Gunzip<R> {
    pub(super) fn new(source: R) -> Self {
        Self {
            source,
            input: Vec::with_capacity(INPUT),
            used: 0,
            member: new_member(),
            members: 1,
            trailing: 0,
            ended: false,
            consumed: 0,
        }
    }

    /// Inflates into the buffer; 0 means that the input has ended. A fault is told at the call after the one
    /// that gave the last good bytes.
    pub(super) fn fill(&mut self, output: &mut [u8]) -> Result<usize, Unreadable> {
        loop {
            if self.ended {
                return Ok(0);
            }
            let more = self.refill().map_err(Unreadable::Io)?;
            let input = &self.input[self.used..];
            let (before_in, before_out) = (self.member.total_in(), self.member.total_out());
            let flush = if more { FlushDecompress::None } else { FlushDecompress::Finish };
            let result = self.member.decompress(input, output, flush);
            self.used += delta(self.member.total_in(), before_in);
            let produced = delta(self.member.total_out(), before_out);
            match result {
                Ok(Status::StreamEnd) => self.next_member().map_err(Unreadable::Io)?,
                Err(_) if produced > 0 => {}
                Err(error) => return Err(Unreadable::Corrupt(error)),
                Ok(_) if produced == 0 && !more => return Err(Unreadable::Truncated),
                Ok(_) => {}
            }
            if produced > 0 {
                return Ok(produced);
            }
        }
    }

    /// What was unusual, once the input has ended.
    pub(super) fn anomalies(&self) -> Vec<Anomaly> {
        anomalies(self.members, self.trailing)
    }

    /// Keeps the input filled; whether there is any.
    fn refill(&mut self) -> io::Result<bool> {
        if self.used < self.input.len() {
            return Ok(true);
        }
        self.used = 0;
        self.input.clear();
        (&mut self.source).take(INPUT as u64).read_to_end(&mut self.input)?;
        self.consumed += self.input.len() as u64;
        Ok(!self.input.is_empty())
    }

    /// Behind a member stands another one, the end, or something else.
    fn next_member(&mut self) -> io::Result<()> {
        if self.input.len() - self.used < MAGIC.len() {
            self.input.drain(..self.used);
            self.used = 0;
            let before = self.input.len();
            (&mut self.source).take(INPUT as u64).read_to_end(&mut self.input)?;
            self.consumed += (self.input.len() - before) as u64;
        }
        if is_gzip(&self.input[self.used..]) {
            self.member = new_member();
            self.members += 1;
            return Ok(());
        }
        self.ended = true;
        self.trailing = (self.input.len() - self.used) as u64;
        let rest = io::copy(&mut self.source, &mut io::sink())?;
        self.trailing += rest;
        self.consumed += rest;
        Ok(())
    }
}

/// The anomalies of an input with this many members and bytes behind the last.
pub(super) fn anomalies(members: u64, trailing: u64) -> Vec<Anomaly> {
    let extra = (members > 1).then_some(Anomaly::ExtraMembers(members - 1));
    let trailing = (trailing > 0).then_some(Anomaly::TrailingBytes(trailing));
    extra.into_iter().chain(trailing).collect()
}

fn new_member() -> Decompress {
    Decompress::new_gzip(15)
}

fn delta(after: u64, before: u64) -> usize {
    usize::try_from(after - before).expect("no more than the buffers hold")
}
