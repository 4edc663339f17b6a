//! What was said of values lately.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use crate::event::Raw;

/// Remembers something of each of the values that came last; a value replaces an older one.
#[derive(Debug)]
pub(super) struct Memo<T> {
    /// None before the first value, then as many as there are slots.
    slots: Vec<Slot<T>>,
}

#[derive(Debug, Default)]
struct Slot<T> {
    /// Whether the text is a literal; none for an empty slot.
    literal: Option<bool>,
    text: Vec<u8>,
    content: T,
}

/// Values beyond this length are not remembered: user agents are shorter, and documents of policies are not.
const LONGEST: usize = 384;
/// A few hundred principals are at work at a time.
const SLOTS: usize = 1 << 9;

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Self { slots: Vec::new() }
    }
}

impl<T: Default> Memo<T> {
    /// What is remembered of a value, to be filled in if it is new; nothing can be of one that is too long, or that
    /// only parsing can tell.
    pub(super) fn of(&mut self, value: Raw<'_>) -> Option<Remembered<'_, T>> {
        let (slot, is_new) = self.slot(value)?;
        let content = self.content(slot);
        Some(if is_new { Remembered::New(content) } else { Remembered::Known(content) })
    }

    /// As [`Memo::of`], of any bytes.
    pub(super) fn of_bytes(&mut self, bytes: &[u8]) -> Option<Remembered<'_, T>> {
        self.of(Raw::Text(bytes))
    }

    /// In which slot a value is remembered until another one takes it, and whether it is new there.
    pub(super) fn slot(&mut self, value: Raw<'_>) -> Option<(usize, bool)> {
        let (text, literal) = match value {
            Raw::Text(text) => (text, false),
            Raw::Literal(text) => (text, true),
            Raw::Other(_) => return None,
        };
        if text.len() > LONGEST {
            return None;
        }
        if self.slots.is_empty() {
            self.slots.resize_with(SLOTS, Slot::default);
        }
        #[expect(clippy::cast_possible_truncation, reason = "only the lower bits are asked for")]
        let number = FixedState::default().hash_one(text) as usize % SLOTS;
        let slot = &mut self.slots[number];
        let is_known = slot.literal == Some(literal) && slot.text == text;
        if !is_known {
            slot.literal = Some(literal);
            slot.text.clear();
            slot.text.extend_from_slice(text);
        }
        Some((number, !is_known))
    }

    /// What is remembered in a slot.
    pub(super) fn content(&mut self, slot: usize) -> &mut T {
        &mut self.slots[slot].content
    }
}

/// What is remembered of a value.
#[derive(Debug)]
pub(super) enum Remembered<'m, T> {
    Known(&'m mut T),
    /// Nothing yet; what was known of another value stands in its place.
    New(&'m mut T),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_told_from_all_others() {
        let mut memo: Memo<String> = Memo::default();
        let texts: Vec<String> = (0..2 * SLOTS).map(|number| number.to_string()).collect();
        let plain = texts.iter().map(|text| Raw::Text(text.as_bytes()));
        let both = texts.iter().flat_map(|text| [Raw::Text(text.as_bytes()), Raw::Literal(text.as_bytes())]);
        for value in plain.clone().chain(both).chain(plain) {
            let expected = format!("{value:?}");
            match memo.of(value).unwrap() {
                Remembered::Known(content) => assert_eq!(*content, expected),
                Remembered::New(content) => *content = expected.clone(),
            }
            assert!(matches!(memo.of(value), Some(Remembered::Known(content)) if *content == expected));
        }
    }

    #[test]
    fn long_and_unclear_values_are_not_remembered() {
        let mut memo: Memo<()> = Memo::default();
        assert!(memo.of(Raw::Text(&[b'a'; LONGEST])).is_some());
        assert!(memo.of(Raw::Text(&[b'a'; LONGEST + 1])).is_none());
        assert!(memo.of(Raw::Other(b"[1]")).is_none());
    }
}
