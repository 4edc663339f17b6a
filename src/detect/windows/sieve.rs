//! Holds back, in a worker, what cannot matter for first sights.
//!
//! Of each key with a value only the earliest event in a period counts. A replay of years would otherwise spool a
//! row for each hit.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Weak};

use jiff::{SignedDuration, Timestamp};

use super::ask::What;
use super::evidence::{EventHash, Evidence, Fact, Values};
use super::feed::Feeds;
use super::journal::Hash;
use super::moment::Moment;
use crate::detect::memo::{Memo, Remembered};

/// How many earliest times a sieve remembers; then it begins anew and lets more through, which harms nothing.
const REMEMBERED: usize = 1 << 18;

/// The time after which it begins anew: less than any window is kept.
const RENEWED: SignedDuration = SignedDuration::from_secs(30);

/// The earliest evidence that a worker has let through.
#[derive(Debug, Default)]
pub struct Sieve {
    /// Of equal times the lower event counts, as in the engine.
    earliest: HashMap<(usize, Moment, Hash), (Moment, EventHash), foldhash::fast::RandomState>,
    /// The hashes of groups that came lately: the same few come again and again.
    hashes: Memo<Hash>,
    /// The feeds that all of it is about.
    feeds: Weak<Feeds>,
    /// Since when, where there is a clock.
    since: Option<Timestamp>,
}

impl Sieve {
    /// Begins anew now and then: an engine forgets what was not seen for a while, and must hear of it again.
    pub fn renew(&mut self, now: Option<Timestamp>) {
        let Some(now) = now else { return };
        let is_over = |since: Timestamp| now.duration_since(since).abs() >= RENEWED;
        if self.since.is_none_or(is_over) {
            self.since = Some(now);
            self.earliest.clear();
        }
    }

    /// Marks the facts that cannot matter any more as [`Fact::Spent`]; whether any fact is left.
    pub fn lets_through(&mut self, feeds: &Arc<Feeds>, evidence: &mut Evidence) -> bool {
        if !std::ptr::eq(self.feeds.as_ptr(), Arc::as_ptr(feeds)) {
            self.feeds = Arc::downgrade(feeds);
            self.earliest.clear();
        }
        if self.earliest.len() >= REMEMBERED {
            self.earliest.clear();
        }
        let Self { earliest, hashes, .. } = self;
        let time = Moment::of(evidence.time);
        let row = (time, evidence.event);
        for (feed, fact) in feeds.of(evidence.rule).iter().zip(&mut evidence.facts) {
            let ask = &feeds.asks[feed.ask];
            let Fact::Part { group, .. } = &*fact else { continue };
            if matches!(ask.what, What::Window(_)) {
                continue;
            }
            let key = (feed.ask, time.period(ask.period), hash_of(group, hashes));
            match earliest.entry(key) {
                Entry::Occupied(mut earliest) if row < *earliest.get() => _ = earliest.insert(row),
                Entry::Occupied(_) => *fact = Fact::Spent,
                Entry::Vacant(first) => _ = first.insert(row),
            }
        }
        !evidence.is_spent()
    }
}

fn hash_of(group: &Values, hashes: &mut Memo<Hash>) -> Hash {
    match hashes.of_bytes(group.as_bytes()) {
        Some(Remembered::Known(hash)) => *hash,
        Some(Remembered::New(hash)) => {
            *hash = group.hash();
            *hash
        }
        None => group.hash(),
    }
}
