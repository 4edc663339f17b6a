//! Event time as the windows reckon with it: whole microseconds, which never overflow.

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

    /// The beginning of the period of this length that the moment lies in; periods are aligned to the epoch.
    pub(super) fn period(self, length: Span) -> Self {
        Self(self.0.saturating_sub(self.0.rem_euclid(length.0)))
    }
}

impl Span {
    pub(super) const INSTANT: Span = Span(1);
    pub(super) const HOUR: Span = Span(3_600_000_000);
    pub(super) const DAY: Span = Span(24 * 3_600_000_000);

    pub(super) fn plus(self, other: Span) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is no length is the shortest one, what is too long the longest.
    pub(super) fn of(length: SignedDuration) -> Self {
        let limit = if length.is_negative() { 1 } else { i64::MAX };
        Self(i64::try_from(length.as_micros()).unwrap_or(limit).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_aligned_to_the_epoch() {
        let cases = [(0, 0), (1, 0), (9, 0), (10, 10), (-1, -10), (-10, -10), (-11, -20)];
        for (moment, expected) in cases {
            assert_eq!(Moment(moment).period(Span(10)), Moment(expected), "{moment}");
        }
    }

    #[test]
    fn nothing_overflows() {
        assert_eq!(Moment::DAWN.minus(Span::DAY), Moment::DAWN);
        assert_eq!(Moment::DAWN.period(Span::HOUR), Moment::DAWN);
        assert_eq!(Moment(i64::MAX).plus(Span::DAY).time(), Timestamp::MAX);
        assert_eq!(Span::of(SignedDuration::MAX), Span(i64::MAX));
        assert_eq!(Span::of(SignedDuration::MIN), Span::INSTANT);
    }
}
