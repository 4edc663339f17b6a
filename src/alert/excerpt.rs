//! What an alert keeps of an event: the record itself, masked, with its origin, as the end of its document has both.
//!
//! A worker writes it for the alert about one event, and of each event that a detection over many may list.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Origin, mask};
use crate::event::Event;

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
pub fn excerpt(event: &Event<'_>, origin: &Origin<'_>) -> Box<str> {
    joined(&mask::masked(event.raw()), origin).into()
}

/// The same with everything that the record holds, to be masked before it is kept for long or shown.
#[must_use]
pub fn bare_excerpt(event: &Event<'_>, origin: &Origin<'_>) -> String {
    joined(event.raw(), origin)
}

/// Masks what was written without.
#[must_use]
pub fn masked_excerpt(bare: &str) -> Box<str> {
    mask::masked(bare).into()
}

fn joined(event: &str, origin: &Origin<'_>) -> String {
    let origin = serde_json::to_string(origin).expect("texts and numbers can be written");
    [r#"{"event":"#, event, r#","origin":"#, &origin, "}"].concat()
}
