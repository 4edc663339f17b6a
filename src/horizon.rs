//! The progress of the stream: the watermark of the detections over more than one event, and the time up to which everything
//! that was announced has been ingested.
//!
//! It lies by the *lateness* behind the latest event that was seen, and behind the oldest message that is being dealt with or came
//! lately: while a queue works off a backlog, more of that time is still to come. Files say nothing of their time; while
//! any of them is under way the watermark stays where it is, so that an archive may be read in any order. It never goes
//! back, whatever a clock does. The same messages and files hold back the time up to which ingestion has caught up.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::detect::windows::StreamProgress;

/// How long a message counts after it was received: one with others of its time behind it.
const LATELY: Duration = Duration::from_mins(10);
/// How long something without a time counts after it was settled: the next one may be about to come.
const NEXT: Duration = Duration::from_secs(5);
/// Messages that are received within this time are remembered as one.
const TOGETHER: Duration = Duration::from_secs(1);

/// The watermark and all that holds it back; a cheap copy of the same one.
#[derive(Debug, Clone)]
pub struct Horizon(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    lateness: SignedDuration,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    /// The time of the latest event that was seen.
    latest: Option<Timestamp>,
    /// When the messages in flight were sent, and how many of each time there are.
    in_flight: BTreeMap<Timestamp, usize>,
    /// The oldest of the messages received together, by when; at most one for each second of [`LATELY`].
    lately: VecDeque<(Instant, Timestamp)>,
    /// How many in flight have no time, and until when the last of them counts.
    timeless: usize,
    timeless_until: Option<Instant>,
    watermark: Timestamp,
    caught_up: Timestamp,
    /// The time by which a first message would have come; before that nothing is known of a backlog.
    begins: Instant,
}

/// Holds the watermark back until it is dropped, and a while longer.
#[derive(Debug)]
pub struct Hold {
    horizon: Horizon,
    sent_at: Option<Timestamp>,
}

impl Horizon {
    /// A watermark that lies this far behind, and before all times as long as nothing was seen.
    #[must_use]
    pub fn new(lateness: Duration) -> Self {
        let known = Known {
            latest: None,
            in_flight: BTreeMap::new(),
            lately: VecDeque::new(),
            timeless: 0,
            timeless_until: None,
            watermark: Timestamp::MIN,
            caught_up: Timestamp::MIN,
            begins: Instant::now() + NEXT,
        };
        let lateness = SignedDuration::try_from(lateness).unwrap_or(SignedDuration::MAX);
        Self(Arc::new(Inner { lateness, known: Mutex::new(known) }))
    }

    /// A message of this time was received.
    #[must_use]
    pub fn hold(&self, sent_at: Option<Timestamp>) -> Hold {
        let mut known = self.known();
        match sent_at {
            None => known.timeless += 1,
            Some(time) => {
                *known.in_flight.entry(time).or_default() += 1;
                known.received(time);
            }
        }
        Hold { horizon: self.clone(), sent_at }
    }

    /// An event of this time was seen.
    pub fn reaches(&self, time: Timestamp) {
        let mut known = self.known();
        known.latest = known.latest.max(Some(time));
    }

    /// Returns the progress of the stream.
    #[must_use]
    pub fn progress(&self, now: Timestamp) -> StreamProgress {
        let mut known = self.known();
        if let Some(announced) = known.announced(now) {
            if Instant::now() >= known.begins {
                known.caught_up = announced;
            }
            if let Some(latest) = known.latest {
                // What no time can be is before all times.
                let reached = announced.min(latest).checked_sub(self.0.lateness);
                known.watermark = known.watermark.max(reached.unwrap_or(Timestamp::MIN));
            }
        }
        StreamProgress { watermark: known.watermark, now, caught_up: known.caught_up.min(now) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn received(&mut self, sent_at: Timestamp) {
        let now = Instant::now();
        match self.lately.back_mut() {
            Some((at, oldest)) if now.duration_since(*at) < TOGETHER => *oldest = sent_at.min(*oldest),
            _ => self.lately.push_back((now, sent_at)),
        }
        self.forget(now);
    }

    fn forget(&mut self, now: Instant) {
        while self.lately.front().is_some_and(|(at, _)| now.duration_since(*at) >= LATELY) {
            self.lately.pop_front();
        }
    }

    /// Returns the time of the oldest message that may still have others of its time behind it, or else the present time; none
    /// where something has no time.
    fn announced(&mut self, now: Timestamp) -> Option<Timestamp> {
        let instant = Instant::now();
        self.forget(instant);
        if self.timeless > 0 || self.timeless_until.is_some_and(|until| until > instant) {
            return None;
        }
        let lately = self.lately.iter().map(|(_, sent_at)| *sent_at);
        let oldest = lately.chain(self.in_flight.keys().next().copied()).min();
        Some(oldest.unwrap_or(now).min(now))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut known = self.horizon.known();
        let Some(sent_at) = self.sent_at else {
            known.timeless -= 1;
            known.timeless_until = Some(Instant::now() + NEXT);
            return;
        };
        if let Some(count) = known.in_flight.get_mut(&sent_at) {
            *count -= 1;
            if *count == 0 {
                known.in_flight.remove(&sent_at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(minutes * 60).unwrap()
    }

    fn watermark(horizon: &Horizon, now: Timestamp) -> Timestamp {
        horizon.progress(now).watermark
    }

    fn horizon() -> Horizon {
        Horizon::new(Duration::from_hours(1))
    }

    #[tokio::test(start_paused = true)]
    async fn it_lies_behind_the_latest_event_and_the_clock() {
        let horizon = horizon();
        assert_eq!(watermark(&horizon, at(1000)), Timestamp::MIN, "nothing was seen");
        let cases = [
            (500, 1000, 440),
            (400, 1000, 440),
            (700, 600, 540),
            // The clock is set back, and forth.
            (700, 100, 540),
            (700, 701, 640),
            (i64::from(i32::MAX), 800, 740),
        ];
        for (event, now, expected) in cases {
            horizon.reaches(at(event));
            assert_eq!(watermark(&horizon, at(now)), at(expected), "{event} {now}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_backlog_holds_it_back() {
        let horizon = horizon();
        horizon.reaches(at(1000));
        let (old, older) = (horizon.hold(Some(at(400))), horizon.hold(Some(at(300))));
        assert_eq!(watermark(&horizon, at(1000)), at(240));
        drop(older);
        assert_eq!(watermark(&horizon, at(1000)), at(240), "it came lately");
        tokio::time::advance(LATELY).await;
        assert_eq!(watermark(&horizon, at(1010)), at(340), "the other one is in flight");
        drop(old);
        assert_eq!(watermark(&horizon, at(1010)), at(940));
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_no_time_holds_it_where_it_is() {
        let horizon = horizon();
        horizon.reaches(at(200));
        assert_eq!(watermark(&horizon, at(1000)), at(140));
        let (one, other) = (horizon.hold(None), horizon.hold(None));
        horizon.reaches(at(800));
        drop(one);
        tokio::time::advance(NEXT).await;
        assert_eq!(watermark(&horizon, at(1000)), at(140), "one is in flight");
        drop(other);
        assert_eq!(watermark(&horizon, at(1000)), at(140), "the next may be about to come");
        tokio::time::advance(NEXT).await;
        assert_eq!(watermark(&horizon, at(1000)), at(740));
    }

    #[tokio::test(start_paused = true)]
    async fn ingestion_has_caught_up_once_the_backlog_is_over() {
        let horizon = horizon();
        let caught_up = |minutes| horizon.progress(at(minutes)).caught_up;
        assert_eq!(caught_up(100), Timestamp::MIN, "the first message may be about to come");
        let file = horizon.hold(None);
        assert_eq!(caught_up(110), Timestamp::MIN, "a file is under way, and none was before it");
        drop(file);
        tokio::time::advance(NEXT).await;
        assert_eq!(caught_up(120), at(120));
        let old = horizon.hold(Some(at(90)));
        assert_eq!(caught_up(130), at(90), "there may be more of that time");
        let younger = horizon.hold(Some(at(125)));
        drop(old);
        tokio::time::advance(LATELY).await;
        assert_eq!(caught_up(140), at(125), "the other one is in flight");
        drop(younger);
        assert_eq!(caught_up(150), at(150));
        assert_eq!(caught_up(145), at(145), "a clock that is set back");
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_lately_takes_little_room() {
        let horizon = horizon();
        for second in 0..2_000 {
            for _ in 0..3 {
                drop(horizon.hold(Some(at(second))));
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let known = horizon.known();
        assert!(known.lately.len() <= 600, "{}", known.lately.len());
        assert!(known.in_flight.is_empty());
    }
}
