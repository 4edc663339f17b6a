//! The time of an event, told from the bytes of its record.

use jiff::Timestamp;

use super::{Keys, Raw, Sightings};

/// Tells the time of an event from the bytes of its record.
#[derive(Debug)]
pub struct EventTimes {
    keys: Keys,
    seen: Sightings,
}

impl Default for EventTimes {
    fn default() -> Self {
        let mut keys = Keys::default();
        keys.name("eventTime");
        Self { keys, seen: Sightings::default() }
    }
}

impl EventTimes {
    /// The time; none where only parsing could tell.
    pub fn of(&mut self, record: &[u8]) -> Option<Timestamp> {
        self.keys.find(record, &mut self.seen);
        let [place] = self.seen.places().ok()? else { return None };
        match place.value(record) {
            Raw::Text(text) => str::from_utf8(text).ok()?.parse().ok(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_records() {
        let cases = [
            (r#"{"eventTime":"2026-03-01T10:00:00Z","a":1}"#, Some("2026-03-01T10:00:00Z")),
            (r#"{"a":{"eventName":"x"},"eventTime" : "2026-03-01T10:00:00Z"}"#, Some("2026-03-01T10:00:00Z")),
            (r#"{"eventTime":"yesterday"}"#, None),
            (r#"{"eventTime":1709287200}"#, None),
            (r#"{"eventTime":"2026-03-01T10:00:00Z","a":{"eventTime":"2020-03-01T10:00:00Z"}}"#, None),
            (r#"{"a":1}"#, None),
        ];
        let mut times = EventTimes::default();
        for (record, expected) in cases {
            let found = times.of(record.as_bytes()).map(|time| time.to_string());
            assert_eq!(found.as_deref(), expected, "{record}");
        }
    }
}
