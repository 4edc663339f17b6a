//! The byte form of evidence and rows: numbers of variable length, texts with their length before them.

/// Bytes that are not what was once written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stored evidence is cut short or has another form")]
pub struct Malformed;

/// Appends a number in groups of seven bits, the lowest first.
pub(super) fn put_number(mut number: u64, bytes: &mut Vec<u8>) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

/// Appends a run of bytes with its length before it.
pub(super) fn put_run(run: &[u8], bytes: &mut Vec<u8>) {
    put_number(run.len() as u64, bytes);
    bytes.extend_from_slice(run);
}

/// What is left to read.
#[derive(Debug, Clone)]
pub(super) struct Reader<'b>(pub(super) &'b [u8]);

impl<'b> Reader<'b> {
    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*head)
    }

    pub(super) fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Malformed)
    }

    pub(super) fn length(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.number()?).map_err(|_| Malformed)
    }

    pub(super) fn run(&mut self) -> Result<&'b [u8], Malformed> {
        let length = self.length()?;
        let (run, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(run)
    }

    pub(super) fn text(&mut self) -> Result<&'b str, Malformed> {
        std::str::from_utf8(self.run()?).map_err(|_| Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            put_number(number, &mut bytes);
            put_run("é".as_bytes(), &mut bytes);
            let mut reader = Reader(&bytes);
            assert_eq!(reader.number(), Ok(number));
            assert_eq!(reader.text(), Ok("é"));
            assert_eq!(reader.byte(), Err(Malformed));
        }
    }

    #[test]
    fn what_was_never_written_is_refused() {
        assert_eq!(Reader(&[0x80; 10]).number(), Err(Malformed));
        assert_eq!(Reader(&[5, b'a']).run(), Err(Malformed));
        assert_eq!(Reader(&[1, 0xff]).text(), Err(Malformed));
        assert_eq!(Reader(&[0xff; 11]).run(), Err(Malformed));
    }
}
