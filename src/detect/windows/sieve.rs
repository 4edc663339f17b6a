//! Holds back, in a worker, what cannot matter for first sights.
//!
//! Of each key with a value only the earliest event in a period counts. A replay of years would otherwise spool a
//! row for each hit.

use std::collections::HashMap;

use super::ask::What;
use super::evidence::{Evidence, Fact};
use super::feed::Feeds;
use super::journal::Hash;
use super::moment::Moment;

/// How many earliest times a sieve remembers; then it begins anew and lets more through, which harms nothing.
const REMEMBERED: usize = 1 << 18;

/// The earliest evidence that a worker has let through.
#[derive(Debug, Default)]
pub struct Sieve {
    earliest: HashMap<(usize, Moment, Hash), Moment, foldhash::fast::RandomState>,
}

impl Sieve {
    /// Marks the facts that cannot matter any more as [`Fact::Spent`]; whether any fact is left.
    pub fn lets_through(&mut self, feeds: &Feeds, evidence: &mut Evidence) -> bool {
        if self.earliest.len() >= REMEMBERED {
            self.earliest.clear();
        }
        let time = Moment::of(evidence.time);
        for (feed, fact) in feeds.of(evidence.rule).iter().zip(&mut evidence.facts) {
            let ask = &feeds.asks[feed.ask];
            let Fact::Part { group, .. } = &*fact else { continue };
            if matches!(ask.what, What::Window(_)) {
                continue;
            }
            let key = (feed.ask, time.period(ask.period), group.hash());
            let earliest = self.earliest.entry(key).or_insert(Moment(i64::MAX));
            if time >= *earliest {
                *fact = Fact::Spent;
            }
            *earliest = time.min(*earliest);
        }
        !evidence.is_spent()
    }
}
