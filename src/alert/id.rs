//! Alert ids: they follow from the evidence alone.

use std::fmt;

use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::event::{EventKey, hex};

/// The id of an alert: 32 hexadecimal digits. Live, redelivered and replayed, the same evidence has the
/// same id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertId([u8; 16]);

impl AlertId {
    /// The id of a hit on one event: SHA-256 over the list `trailhound-1`, kind, detection id, account, region,
    /// event id, each with its length in bytes before it (8 bytes, big-endian); of that the first 16 bytes.
    #[must_use]
    pub fn of_event(kind: &str, detection: &str, event: &EventKey<'_>) -> Self {
        Self::of(&["trailhound-1", kind, detection, &event.account, &event.region, &event.id])
    }

    /// The id of what more than one event stands behind: SHA-256 as for one event, over the list `trailhound-1` and
    /// these parts. See [`Finding::id_parts`](crate::detect::windows::Finding::id_parts).
    #[must_use]
    pub fn of_parts(parts: &[String]) -> Self {
        let parts: Vec<&str> =
            std::iter::once("trailhound-1").chain(parts.iter().map(String::as_str)).collect();
        Self::of(&parts)
    }

    /// The id of these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> [u8; 16] {
        self.0
    }

    fn of(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(*hash.finalize().first_chunk().expect("SHA-256 has 32 bytes"))
    }
}

impl fmt::Display for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for AlertId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key<'e>(account: &'e str, region: &'e str, id: &'e str) -> EventKey<'e> {
        EventKey { account: account.into(), region: region.into(), id: id.into() }
    }

    #[test]
    fn ids_never_change() {
        let id = AlertId::of_event("match", "rule", &key("111122223333", "us-east-1", "e"));
        // Computed with another implementation of SHA-256; receivers rely on it.
        assert_eq!(id.to_string(), "2dd2ca3bf7f0462c88b194468e8917bc");
    }

    #[test]
    fn every_part_counts_and_none_runs_into_the_next() {
        let ids = [
            AlertId::of_event("match", "rule", &key("a", "b", "c")),
            AlertId::of_event("undecided", "rule", &key("a", "b", "c")),
            AlertId::of_event("match", "rules", &key("a", "b", "c")),
            AlertId::of_event("match", "rule", &key("ab", "", "c")),
            AlertId::of_event("match", "rule", &key("", "ab", "c")),
            AlertId::of_event("match", "rule", &key("a", "bc", "")),
        ];
        for (i, id) in ids.iter().enumerate() {
            assert!(!ids[..i].contains(id));
        }
    }
}
