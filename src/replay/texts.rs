//! The texts about events that an alert may list. Few of them ever are: until then they wait, in memory, and in a file
//! if they are many; evidence has only the place of its text.

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::str::FromStr;

/// Bytes of texts that are written at once.
const WRITTEN_AT_ONCE: usize = 64 << 10;

/// Where a text is: that of the evidence goes by this form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) worker: usize,
    pub(super) span: Span,
}

/// A text among those of a worker, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) at: u64,
    pub(super) length: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { worker, span: Span { at, length } } = self;
        write!(f, "{worker} {at} {length}")
    }
}

impl FromStr for Place {
    type Err = io::Error;

    fn from_str(place: &str) -> io::Result<Self> {
        let mut parts = place.split(' ');
        let mut number = || parts.next()?.parse::<u64>().ok();
        let mut read = || {
            let (worker, at, length) = (number()?, number()?, number()?);
            Some(Self { worker: worker.try_into().ok()?, span: Span { at, length: length.try_into().ok()? } })
        };
        read().ok_or(io::ErrorKind::InvalidData.into())
    }
}

/// Texts about events, one behind the other: in memory, and in a file without a name from the first one on for which
/// there was no room.
#[derive(Debug)]
pub(super) struct Texts {
    early: Vec<u8>,
    /// Bytes that there is room for in memory.
    room: usize,
    late: Option<BufWriter<File>>,
    length: u64,
}

impl Texts {
    pub(super) fn new(room: usize) -> Self {
        Self { early: Vec::new(), room, late: None, length: 0 }
    }

    /// Adds the text that `write` appends.
    pub(super) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> io::Result<Span> {
        let (at, before) = (self.length, self.early.len());
        write(&mut self.early);
        let length = self.early.len() - before;
        self.length += length as u64;
        if self.late.is_some() || self.early.len() > self.room {
            let late = match &mut self.late {
                Some(late) => late,
                none => none.insert(BufWriter::with_capacity(WRITTEN_AT_ONCE, tempfile::tempfile()?)),
            };
            late.write_all(&self.early[before..])?;
            self.early.truncate(before);
        }
        Ok(Span { at, length })
    }

    pub(super) fn written(self) -> io::Result<Written> {
        let late = self.late.map(|late| late.into_inner().map_err(io::IntoInnerError::into_error));
        Ok(Written { early: self.early, late: late.transpose()? })
    }
}

/// Texts that are read again.
pub(super) struct Written {
    early: Vec<u8>,
    late: Option<File>,
}

impl Written {
    pub(super) fn read(&self, Span { at, length }: Span) -> io::Result<String> {
        let mut text = vec![0; length];
        match (at.checked_sub(self.early.len() as u64), &self.late) {
            (Some(at), Some(late)) => late.read_exact_at(&mut text, at)?,
            _ => {
                let early = usize::try_from(at).ok().and_then(|at| self.early.get(at..)?.get(..length));
                text.copy_from_slice(early.ok_or(io::ErrorKind::UnexpectedEof)?);
            }
        }
        String::from_utf8(text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_again_from_wherever_they_are() {
        let mut texts = Texts::new(10 << 20);
        let text = |number: usize| format!("{number} {}", "é".repeat(number % 7 * 100_000));
        let push = |number: usize| {
            let span = texts.push(|all| all.extend_from_slice(text(number).as_bytes())).unwrap();
            let place = Place { worker: number, span };
            assert_eq!(place.to_string().parse::<Place>().unwrap(), place);
            span
        };
        let spans: Vec<Span> = (0..80).map(push).collect();
        assert!(texts.late.is_some() && !texts.early.is_empty());
        let written = texts.written().unwrap();
        for number in (0..80).rev() {
            assert_eq!(written.read(spans[number]).unwrap(), text(number));
        }
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in ["", "1", "1 2", "1 2 x", "-1 2 3"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }
}
