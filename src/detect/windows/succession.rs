//! What goes on when one set of rules takes the place of another: the state of detections that stay the same, and
//! evidence that the rules before have made.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::ask::What;
use super::evidence::{Evidence, Fact};
use super::feed::Feeds;
use super::journal::Change;
use super::{Engine, Journaling, Store};
use crate::sigma::Rule;

/// Counts the forms of rows: those of another form are not understood.
const FORM: u8 = 1;

/// The ids of the detections that are the same in two sets of rules.
pub type Kept<'r> = HashSet<&'r str>;

impl Engine {
    /// Goes on with the feeds of other rules. What is kept for a detection stays if it and all its members are among
    /// the kept ones; all else begins anew. Answers with what is to be stored.
    pub fn succeed(&mut self, feeds: Arc<Feeds>, kept: &Kept<'_>) -> Vec<Change> {
        let before = std::mem::replace(&mut self.feeds, feeds);
        let fresh: Vec<Store> = self.feeds.asks.iter().map(Store::of).collect();
        let mut olds: Vec<Option<Store>> =
            std::mem::replace(&mut self.stores, fresh).into_iter().map(Some).collect();
        for number in 0..self.stores.len() {
            let old = self.feeds.same_in(&before, number, kept).and_then(|old| olds[old].take());
            if let Some(store) = old {
                self.stores[number] = store;
            }
        }
        let mut changes = Vec::new();
        for (ask, old) in before.asks.iter().zip(olds) {
            let Some(store) = old else { continue };
            self.excerpt_bytes -= store.excerpt_bytes();
            if self.journal == Journaling::On {
                let detection = Arc::clone(&ask.detection);
                changes.push(Change::Remove { detection, prefix: Box::default() });
            }
        }
        changes
    }
}

impl Store {
    fn excerpt_bytes(&self) -> usize {
        match self {
            Store::Windows(windows) => windows.excerpt_bytes(),
            Store::Seen(_) => 0,
        }
    }
}

impl Feeds {
    /// Evidence of a rule's hit that other feeds have made, as these would have made it; none if nothing here is fed by
    /// it. What the other feeds did not ask of the event cannot be told any more: such facts are spent.
    #[must_use]
    pub fn adopt(&self, evidence: Evidence, from: &Feeds, kept: &Kept<'_>) -> Option<Evidence> {
        let rule = self.number(from.id(evidence.rule)?)?;
        let olds = from.of(evidence.rule);
        let facts = self.of(rule).iter().map(|feed| {
            let old = self.same_in(from, feed.ask, kept)?;
            let place = olds.iter().position(|other| other.ask == old && other.member == feed.member)?;
            evidence.facts.get(place).cloned()
        });
        let facts: Box<[Fact]> = facts.map(|fact| fact.unwrap_or(Fact::Spent)).collect();
        let adopted = Evidence { rule, facts, ..evidence };
        (!adopted.is_spent()).then_some(adopted)
    }

    /// What each detection means, by its id: a hash over it and over all that feed it. Rows that were stored under
    /// another hash belong to something else. `rules` are those that the feeds were made from.
    #[must_use]
    pub fn meanings(&self, rules: &[Rule]) -> Vec<(String, [u8; 32])> {
        let hashes: HashMap<&str, &str> =
            rules.iter().map(|rule| (rule.id.as_str(), rule.hash.as_str())).collect();
        let mut meanings: HashMap<&str, [u8; 32]> = HashMap::new();
        for ask in &self.asks {
            let hash_of = |id: &str| hashes.get(id).copied().unwrap_or_default();
            let mut hash = Sha256::new_with_prefix([FORM]).chain_update(hash_of(&ask.detection));
            if let What::Window(window) = &ask.what {
                for member in &window.members {
                    hash.update(member.as_bytes());
                    // Inner correlations come before those that see them.
                    match meanings.get(&**member) {
                        Some(inner) => hash.update(inner),
                        None => hash.update(hash_of(member)),
                    }
                }
            }
            meanings.insert(&ask.detection, hash.finalize().into());
        }
        meanings.into_iter().map(|(id, meaning)| (id.to_owned(), meaning)).collect()
    }

    /// The number of the ask that is the same among other feeds: of a detection that was kept, with members that were.
    fn same_in(&self, others: &Feeds, ask: usize, kept: &Kept<'_>) -> Option<usize> {
        let mine = &self.asks[ask];
        if !kept.contains(&*mine.detection) {
            return None;
        }
        let number = others.asks.iter().position(|other| other.detection == mine.detection)?;
        match (&mine.what, &others.asks[number].what) {
            (What::Window(window), What::Window(other)) => {
                let same = window.members == other.members
                    && window.members.iter().all(|member| self.is_same(others, member, ask, kept));
                same.then_some(number)
            }
            (What::Seen(_), What::Seen(_)) => Some(number),
            _ => None,
        }
    }

    /// Whether the hits of a member of an ask mean the same: of a rule that was kept, or of a correlation, which stands
    /// before the ask, with the same members.
    fn is_same(&self, others: &Feeds, member: &str, ask: usize, kept: &Kept<'_>) -> bool {
        let inner = self.asks[..ask].iter().position(|inner| inner.correlates && *inner.detection == *member);
        inner.map_or_else(|| kept.contains(member), |inner| self.same_in(others, inner, kept).is_some())
    }
}
