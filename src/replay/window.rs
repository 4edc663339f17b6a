//! What is asked of a replay: a span of time, accounts, regions.

use std::fmt;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::event::{Event, Keys, Raw, Sightings};

/// Which events may raise alerts. The span is half-open, on `eventTime`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Window {
    /// The first moment.
    pub from: Option<Timestamp>,
    /// The first moment behind it.
    pub to: Option<Timestamp>,
    /// Values of `recipientAccountId`; all if there are none.
    pub accounts: Vec<String>,
    /// Values of `awsRegion`; all if there are none.
    pub regions: Vec<String>,
}

/// A time that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither a day such as 2026-03-01 nor a time with its zone such as 2026-03-01T10:00:00Z")]
pub struct UnknownTime(String);

/// The beginning of a span: a day means its first moment, in UTC.
///
/// # Errors
/// The text is no time.
pub fn from(text: &str) -> Result<Timestamp, UnknownTime> {
    day(text).and_then(midnight).or_else(|| text.parse().ok()).ok_or_else(|| UnknownTime(text.to_owned()))
}

/// The end of a span: a day belongs to it, up to its last moment.
///
/// # Errors
/// The text is no time.
pub fn to(text: &str) -> Result<Timestamp, UnknownTime> {
    let next = |day: Date| midnight(day.checked_add(1.day()).ok()?);
    day(text).and_then(next).or_else(|| text.parse().ok()).ok_or_else(|| UnknownTime(text.to_owned()))
}

fn day(text: &str) -> Option<Date> {
    // A time without a zone would also be read as a day.
    (text.len() == "2026-03-01".len()).then(|| text.parse().ok())?
}

fn midnight(day: Date) -> Option<Timestamp> {
    day.to_zoned(TimeZone::UTC).ok().map(|time| time.timestamp())
}

impl Window {
    /// Whether a span of time is asked for.
    #[must_use]
    pub fn has_span(&self) -> bool {
        self.from.is_some() || self.to.is_some()
    }

    /// Whether a time lies in the span; what is no time does.
    #[must_use]
    pub fn spans(&self, time: &str) -> bool {
        let Ok(time) = time.parse::<Timestamp>() else { return true };
        self.from.is_none_or(|from| time >= from) && self.to.is_none_or(|to| time < to)
    }

    fn meets(&self, asked: Asked, text: &str) -> bool {
        match asked {
            Asked::Time => self.spans(text),
            Asked::Account => self.accounts.iter().any(|account| account == text),
            Asked::Region => self.regions.iter().any(|region| region == text),
        }
    }

    /// Whether an event lies within. What the event does not say does not exclude it.
    #[must_use]
    pub fn admits(&self, event: &Event<'_>) -> bool {
        let one_of = |wanted: &[String], field| {
            let value = if wanted.is_empty() { None } else { event.text(&[field]) };
            value.is_none_or(|value| wanted.iter().any(|wanted| *wanted == value))
        };
        let time = if self.has_span() { event.text(&["eventTime"]) } else { None };
        time.is_none_or(|time| self.spans(&time))
            && one_of(&self.accounts, "recipientAccountId")
            && one_of(&self.regions, "awsRegion")
    }
}

/// Tells from a record's bytes whether it may lie within.
#[derive(Debug)]
pub(super) struct Glimpse<'w> {
    window: &'w Window,
    keys: Keys,
    asks: Vec<Asked>,
    seen: Sightings,
}

/// What a window asks of a record.
#[derive(Debug, Clone, Copy)]
enum Asked {
    Time,
    Account,
    Region,
}

impl<'w> Glimpse<'w> {
    pub(super) fn new(window: &'w Window) -> Self {
        let asks = [
            window.has_span().then_some((Asked::Time, "eventTime")),
            (!window.accounts.is_empty()).then_some((Asked::Account, "recipientAccountId")),
            (!window.regions.is_empty()).then_some((Asked::Region, "awsRegion")),
        ];
        let (asks, names): (Vec<_>, Vec<_>) = asks.into_iter().flatten().unzip();
        let mut keys = Keys::default();
        names.into_iter().for_each(|name| _ = keys.name(name));
        Self { window, keys, asks, seen: Sightings::default() }
    }

    /// What is asked of the replay.
    pub(super) fn window(&self) -> &'w Window {
        self.window
    }

    /// As [`Window::admits`]; what only parsing can tell counts as within.
    pub(super) fn may_admit(&mut self, record: &[u8]) -> bool {
        if self.asks.is_empty() {
            return true;
        }
        self.keys.find(record, &mut self.seen);
        let Ok(places) = self.seen.places() else { return true };
        self.asks.iter().enumerate().all(|(key, asked)| {
            let mut values = places.iter().filter(|place| place.key == key);
            match (values.next().map(|place| place.value(record)), values.next()) {
                (Some(Raw::Text(text)), None) => {
                    str::from_utf8(text).map_or(true, |text| self.window.meets(*asked, text))
                }
                _ => true,
            }
        })
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.from, self.to) {
            (None, None) => f.write_str("all times")?,
            (Some(from), None) => write!(f, "from {from} on")?,
            (None, Some(to)) => write!(f, "before {to}")?,
            (Some(from), Some(to)) => write!(f, "from {from} to before {to}")?,
        }
        for (name, values) in [("account", &self.accounts), ("region", &self.regions)] {
            if !values.is_empty() {
                write!(f, ", {name} {}", values.join(" or "))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Parser;

    #[test]
    fn times() {
        let cases = [
            ("2026-03-01", Some("2026-03-01T00:00:00Z"), Some("2026-03-02T00:00:00Z")),
            ("2026-03-01T10:00:00Z", Some("2026-03-01T10:00:00Z"), Some("2026-03-01T10:00:00Z")),
            ("2026-03-01T10:00:00+02:00", Some("2026-03-01T08:00:00Z"), Some("2026-03-01T08:00:00Z")),
            ("2026-03-01T10:00:00", None, None),
            ("2026-02-30", None, None),
            ("yesterday", None, None),
            ("1709287200", None, None),
        ];
        for (text, first, last) in cases {
            let show = |time: Result<Timestamp, UnknownTime>| time.ok().map(|time| time.to_string());
            assert_eq!(show(from(text)).as_deref(), first, "{text}");
            assert_eq!(show(to(text)).as_deref(), last, "{text}");
        }
    }

    #[test]
    fn events_within() {
        let window = Window {
            from: Some(from("2026-03-01").unwrap()),
            to: Some(to("2026-03-01").unwrap()),
            accounts: vec!["1".into(), "2".into()],
            regions: vec![],
        };
        let cases = [
            (r#"{"eventTime":"2026-03-01T00:00:00Z","recipientAccountId":"1"}"#, true),
            (r#"{"eventTime":"2026-03-01T23:59:59Z","recipientAccountId":"2"}"#, true),
            (r#"{"eventTime":"2026-03-02T00:00:00Z","recipientAccountId":"1"}"#, false),
            (r#"{"eventTime":"2026-02-28T23:59:59Z","recipientAccountId":"1"}"#, false),
            (r#"{"eventTime":"2026-03-01T00:00:00Z","recipientAccountId":"3"}"#, false),
            (r#"{"eventTime":"odd"}"#, true),
        ];
        for (record, expected) in cases {
            let admitted = Parser::default().parse(record.as_bytes(), |event| window.admits(&event)).unwrap();
            assert_eq!(admitted, expected, "{record}");
        }
        assert_eq!(
            window.to_string(),
            "from 2026-03-01T00:00:00Z to before 2026-03-02T00:00:00Z, account 1 or 2"
        );
    }
}
