//! What an alert keeps of an event: the record itself, masked, with its origin, as the end of its document has both.
//!
//! A worker writes it for the alert about one event, and of each event that a detection over many may list.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Origin, mask};
use crate::event::Event;

/// Bytes that an origin takes up, as a rule, with the names around it.
const USUAL_ORIGIN: usize = 384;

/// An excerpt that is read again.
#[derive(Deserialize)]
pub(super) struct Excerpt<'e> {
    #[serde(borrow)]
    pub(super) event: &'e RawValue,
    #[serde(borrow)]
    pub(super) origin: &'e RawValue,
}

/// The excerpt of an event: `{"event":{…},"origin":{…}}`, secrets masked.
#[must_use]
pub fn excerpt(event: &Event<'_>, origin: &Origin<'_>) -> Arc<str> {
    let event = mask::masked(event.raw());
    let mut text = Vec::with_capacity(event.len() + USUAL_ORIGIN);
    write(&event, origin, &mut text);
    String::from_utf8(text).expect("JSON is UTF-8").into()
}

/// Appends the same with everything that the record holds, to be masked before it is kept for long or shown.
pub fn write_bare_excerpt(event: &Event<'_>, origin: &Origin<'_>, text: &mut Vec<u8>) {
    write(event.raw(), origin, text);
}

/// Masks what was written without.
#[must_use]
pub fn masked_excerpt(bare: &str) -> Box<str> {
    mask::masked(bare).into()
}

fn write(event: &str, origin: &Origin<'_>, text: &mut Vec<u8>) {
    text.extend_from_slice(br#"{"event":"#);
    text.extend_from_slice(event.as_bytes());
    text.extend_from_slice(br#","origin":"#);
    serde_json::to_writer(&mut *text, origin).expect("texts and numbers can be written");
    text.push(b'}');
}
