//! The two times of the windows, neither of which ever overflows: event time in whole microseconds, and ingestion time
//! in whole seconds.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// A point in event time: microseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Moment(pub(super) i64);

/// A length of event time: microseconds, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span(i64);

impl Moment {
    /// Before every event.
    pub(super) const DAWN: Moment = Moment(i64::MIN);
    /// After every event.
    pub(super) const END: Moment = Moment(i64::MAX);

    pub(super) fn of(time: Timestamp) -> Self {
        Self(time.as_microsecond())
    }

    /// As a time; what no time can be is the first or the last one.
    pub(super) fn time(self) -> Timestamp {
        let limit = if self.0 < 0 { Timestamp::MIN } else { Timestamp::MAX };
        Timestamp::from_microsecond(self.0).unwrap_or(limit)
    }

    pub(super) fn plus(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    pub(super) fn minus(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }

    /// The moment before this one.
    pub(super) fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// The moment after this one.
    pub(super) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The beginning of the period of this length that the moment lies in; periods are aligned to the epoch.
    pub(super) fn period(self, length: Span) -> Self {
        Self(self.0.saturating_sub(self.0.rem_euclid(length.0)))
    }
}

impl Span {
    pub(super) const INSTANT: Span = Span(1);
    pub(super) const HOUR: Span = Span(3_600_000_000);

    pub(super) fn plus(self, other: Span) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is no length is the shortest one, what is too long the longest.
    pub(super) fn of(length: SignedDuration) -> Self {
        let limit = if length.is_negative() { 1 } else { i64::MAX };
        Self(i64::try_from(length.as_micros()).unwrap_or(limit).max(1))
    }
}

/// A point in ingestion time: seconds since the epoch, until the year 2106.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) struct Ingested(u32);

impl Ingested {
    /// Before everything that is ingested.
    pub(super) const LONG_AGO: Ingested = Ingested(0);
    /// After everything that is ingested.
    pub(super) const NEVER: Ingested = Ingested(u32::MAX);

    pub(super) fn of(time: Timestamp) -> Self {
        let limit = if time.as_second() < 0 { 0 } else { u32::MAX - 1 };
        Self(u32::try_from(time.as_second()).unwrap_or(limit).min(u32::MAX - 1))
    }

    pub(super) fn plus(self, length: Duration) -> Self {
        // A part of a second counts as a whole one, so that nothing is due before its time.
        let seconds = length.as_secs().saturating_add(u64::from(length.subsec_nanos() > 0));
        Self(self.0.saturating_add(u32::try_from(seconds).unwrap_or(u32::MAX)))
    }

    /// The end of the interval of this length that the point lies in.
    pub(super) fn rounded_up(self, seconds: u32) -> Self {
        Self(self.0.div_ceil(seconds).saturating_mul(seconds))
    }

    /// How long ago the other one was; nothing if it is to come.
    pub(super) fn since(self, other: Self) -> SignedDuration {
        SignedDuration::from_secs(self.0.saturating_sub(other.0).into())
    }

    pub(super) fn bytes(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }

    pub(super) fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(u32::from_be_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ingestion_time_is_never_early() {
        let at = |second| Ingested::of(Timestamp::from_second(second).unwrap());
        assert_eq!((at(-1), at(0)), (Ingested::LONG_AGO, Ingested::LONG_AGO));
        assert!(at(253_402_207_200) < Ingested::NEVER);
        assert_eq!(at(100).plus(Duration::from_millis(1)), at(101));
        assert_eq!(at(100).plus(Duration::MAX), Ingested::NEVER);
        assert_eq!([100, 101, 200].map(|second| at(second).rounded_up(100)), [at(100), at(200), at(200)]);
        assert_eq!(Ingested::from_bytes(at(77).bytes()), at(77));
    }

    #[test]
    fn periods_are_aligned_to_the_epoch() {
        let cases = [(0, 0), (1, 0), (9, 0), (10, 10), (-1, -10), (-10, -10), (-11, -20)];
        for (moment, expected) in cases {
            assert_eq!(Moment(moment).period(Span(10)), Moment(expected), "{moment}");
        }
    }

    #[test]
    fn nothing_overflows() {
        assert_eq!(Moment::DAWN.minus(Span::HOUR), Moment::DAWN);
        assert_eq!(Moment::DAWN.period(Span::HOUR), Moment::DAWN);
        assert_eq!(Moment(i64::MAX).plus(Span::HOUR).time(), Timestamp::MAX);
        assert_eq!(Span::of(SignedDuration::MAX), Span(i64::MAX));
        assert_eq!(Span::of(SignedDuration::MIN), Span::INSTANT);
    }
}
