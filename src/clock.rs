//! Wall time, handed in once by whoever composes the program.

use std::fmt;
use std::sync::Arc;

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};

/// Tells the time of day.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The system's clock, in whole milliseconds: more digits than that puzzle some receivers of alerts.
    #[must_use]
    pub fn system() -> Self {
        let millisecond = TimestampRound::new().smallest(Unit::Millisecond).mode(RoundMode::Trunc);
        // Rounding fails only at the end of the calendar.
        Self::from_fn(move || {
            let now = Timestamp::now();
            now.round(millisecond).unwrap_or(now)
        })
    }

    /// A clock that tells what this function tells.
    pub fn from_fn(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
