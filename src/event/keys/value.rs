//! A value that is searched for instead of its key: where a key is common and the value is rare, fewer places are
//! looked at.

use super::{Place, rarest_places};

/// How some text begins, whatever its case, with the quote before it.
#[derive(Debug, Clone)]
pub(super) struct Value {
    /// In lower case.
    quoted: Box<[u8]>,
    /// Where its two rarest bytes stand, the first of them first.
    pub(super) rarest: [usize; 2],
}

/// The bit that tells the cases of letters apart.
pub(super) const CASE: u8 = 0x20;
/// The shortest text that is rare enough.
const SHORTEST: usize = 4;
/// What JSON writes without quotes, and is compared as text.
const LITERALS: [&[u8]; 3] = [b"true", b"false", b"null"];

impl Value {
    /// Of this text in lower case; none if a record may write it otherwise, escapes `\u` aside.
    pub(super) fn new(text: &[u8]) -> Option<Self> {
        // The sign of the unit kelvin becomes a `k` in lower case; no other character becomes a letter of ASCII.
        let is_sound = |byte: &u8| byte.is_ascii_lowercase() && *byte != b'k';
        let is_literal = LITERALS.iter().any(|literal| literal.starts_with(text));
        if text.len() < SHORTEST || !text.iter().all(is_sound) || is_literal {
            return None;
        }
        let quoted = [b"\"", text].concat();
        // Of letters without their case, two alike in a row are rarest.
        let twin = text.windows(2).position(|pair| pair[0] == pair[1]).map(|place| [place + 1, place + 2]);
        let rarest = twin.unwrap_or_else(|| rarest_places(text).map(|place| place + 1));
        Some(Self { rarest, quoted: quoted.into() })
    }

    /// The two rarest bytes.
    pub(super) fn rarest_bytes(&self) -> [u8; 2] {
        self.rarest.map(|place| self.quoted[place])
    }

    /// Its place for the key of this number, if it begins here.
    pub(super) fn place(&self, number: usize, begin: usize, record: &[u8]) -> Option<Place> {
        let text = record.get(begin..)?.get(..self.quoted.len())?;
        let is_it = text.eq_ignore_ascii_case(&self.quoted);
        // The key of such a place ends where its value begins.
        is_it.then_some(Place {
            key: number,
            start: begin,
            end: begin,
            is_prefixed: false,
            is_promising: true,
        })
    }
}
