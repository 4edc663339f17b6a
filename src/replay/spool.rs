//! The alerts of one object, until it is their turn: in memory, or in a file without a name if they are many.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};

use jiff::Timestamp;

use crate::alert::{Alert, AlertId};
use crate::detect::Status;
use crate::sigma::Level;

/// Bytes of alerts of one object that are held in memory.
const IN_MEMORY: usize = 256 << 10;

/// An alert, and the position of its record in the object.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) record: u64,
    pub(super) alert: Alert,
}

/// Alerts in the order in which they were put in.
#[derive(Debug, Default)]
pub(super) struct Spool {
    early: Vec<Row>,
    bytes: usize,
    /// Those for which there was no room.
    late: Option<BufWriter<File>>,
    late_rows: u64,
}

impl Spool {
    pub(super) fn push(&mut self, record: u64, alert: Alert) -> io::Result<()> {
        self.bytes += alert.document.len();
        if self.bytes <= IN_MEMORY {
            self.early.push(Row { record, alert });
            return Ok(());
        }
        self.late_rows += 1;
        let late = match &mut self.late {
            Some(late) => late,
            none => none.insert(BufWriter::new(tempfile::tempfile()?)),
        };
        late.write_all(&write(record, &alert))
    }

    /// Takes the alerts out again, in order.
    pub(super) fn rows(self) -> io::Result<Rows> {
        let reader = match self.late {
            Some(late) => {
                let mut file = late.into_inner().map_err(io::IntoInnerError::into_error)?;
                file.rewind()?;
                Some(BufReader::new(file))
            }
            None => None,
        };
        Ok(Rows { early: self.early.into_iter(), reader, left: self.late_rows })
    }
}

/// Alerts that are taken out of a spool.
#[derive(Debug)]
pub(super) struct Rows {
    early: std::vec::IntoIter<Row>,
    reader: Option<BufReader<File>>,
    left: u64,
}

impl Rows {
    /// The next one; none after the last.
    pub(super) fn next(&mut self) -> io::Result<Option<Row>> {
        if let Some(row) = self.early.next() {
            return Ok(Some(row));
        }
        match &mut self.reader {
            Some(reader) if self.left > 0 => {
                self.left -= 1;
                read(reader).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// An alert in bytes.
pub(super) fn write(record: u64, alert: &Alert) -> Vec<u8> {
    let texts = [&*alert.rule, alert.document.as_str()];
    let mut bytes = Vec::with_capacity(64 + texts.iter().map(|text| text.len()).sum::<usize>());
    bytes.extend(record.to_le_bytes());
    bytes.extend(alert.id.bytes());
    bytes.push(u8::from(alert.status == Status::Undecided));
    bytes.extend([alert.level as u8, u8::from(alert.is_withheld)]);
    bytes.extend(alert.time.map_or(i64::MIN, Timestamp::as_microsecond).to_le_bytes());
    texts.iter().for_each(|text| bytes.extend((text.len() as u64).to_le_bytes()));
    texts.iter().for_each(|text| bytes.extend(text.as_bytes()));
    bytes
}

/// Reads what was written.
pub(super) fn read(reader: &mut impl Read) -> io::Result<Row> {
    let record = u64::from_le_bytes(array(reader)?);
    let id = AlertId::from_bytes(array(reader)?);
    let [undecided, level, withheld] = array(reader)?;
    let micros = i64::from_le_bytes(array(reader)?);
    let lengths = [array(reader)?, array(reader)?].map(u64::from_le_bytes);
    let rule = text(reader, lengths[0])?;
    let document = text(reader, lengths[1])?;
    let alert = Alert {
        id,
        revision: 1,
        status: if undecided == 0 { Status::Match } else { Status::Undecided },
        level: Level::ALL[usize::from(level)],
        is_withheld: withheld != 0,
        rule: rule.into(),
        time: Timestamp::from_microsecond(micros).ok().filter(|_| micros != i64::MIN),
        // A replay has no clock.
        late_by: None,
        document,
    };
    Ok(Row { record, alert })
}

fn array<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn text(reader: &mut impl Read, length: u64) -> io::Result<String> {
    let mut text = String::new();
    reader.take(length).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventKey;

    #[test]
    fn what_goes_in_comes_out() {
        let alert = |number: usize| Alert {
            id: AlertId::of_event(
                "match",
                "r",
                &EventKey { account: "".into(), region: "".into(), id: number.to_string().into() },
            ),
            revision: 1,
            status: if number.is_multiple_of(2) { Status::Match } else { Status::Undecided },
            level: Level::ALL[number % 5],
            is_withheld: number.is_multiple_of(7),
            rule: format!("rule-{number}").into(),
            time: (!number.is_multiple_of(3)).then(|| Timestamp::from_second(1_700_000_000).unwrap()),
            late_by: None,
            document: "é".repeat(number * 100),
        };
        let mut spool = Spool::default();
        let alerts: Vec<Alert> = (0..200).map(alert).collect();
        (0..).zip(&alerts).for_each(|(record, alert)| spool.push(record, alert.clone()).unwrap());
        assert!(!spool.early.is_empty() && spool.late_rows > 0);
        let mut rows = spool.rows().unwrap();
        for (record, alert) in (0..).zip(&alerts) {
            let row = rows.next().unwrap().unwrap();
            assert_eq!((row.record, format!("{:?}", row.alert)), (record, format!("{alert:?}")));
        }
        assert!(rows.next().unwrap().is_none());
    }
}
