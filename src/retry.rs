//! Dead objects that somebody wants to be tried again, as announcements of the source that they came from.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::announce::{Delivery, Disposition, Item, ObjectRef, Receipt, Token};
use crate::clock::Clock;
use crate::intake::{Announcer, Source};
use crate::state::{DeadObject, Wanted};

/// The dead objects of one source that are wanted.
#[derive(Debug)]
pub struct Retry {
    wanted: watch::Receiver<Arc<[Wanted]>>,
    /// What was announced, by the number among the dead, until it is not wanted any more.
    announced: BTreeMap<i64, Stage>,
    clock: Clock,
}

/// How far an object has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    UnderWay,
    /// To be announced again at this time.
    Again(Instant),
    /// Dealt with; the state has yet to say so.
    Over,
}

impl Retry {
    /// What of this list belongs to the source that it is announced for.
    #[must_use]
    pub fn new(wanted: watch::Receiver<Arc<[Wanted]>>, clock: Clock) -> Self {
        Self { wanted, announced: BTreeMap::new(), clock }
    }

    /// What is to be announced now, and when to look again.
    fn due(&mut self, source: &str) -> (Vec<Wanted>, Option<Instant>) {
        let wanted = Arc::clone(&self.wanted.borrow_and_update());
        let mine = wanted.iter().filter(|wanted| wanted.object.source == source);
        self.announced.retain(|number, _| mine.clone().any(|wanted| wanted.number == *number));
        let now = Instant::now();
        let is_due = |wanted: &&Wanted| match self.announced.get(&wanted.number) {
            None => true,
            Some(Stage::Again(at)) => *at <= now,
            Some(_) => false,
        };
        let due: Vec<Wanted> = mine.filter(is_due).cloned().collect();
        let later = self.announced.values().filter_map(|stage| match stage {
            Stage::Again(at) if *at > now => Some(*at),
            _ => None,
        });
        let next = later.min();
        self.announced.extend(due.iter().map(|wanted| (wanted.number, Stage::UnderWay)));
        (due, next)
    }

    fn settle(&mut self, number: i64, disposition: Disposition) {
        let stage = match disposition {
            Disposition::Retry(after) => Stage::Again(Instant::now() + after),
            Disposition::Ack | Disposition::Leave | Disposition::Release => Stage::Over,
        };
        self.announced.entry(number).and_modify(|before| *before = stage);
    }

    fn delivery(&self, wanted: Wanted, settle: &mpsc::UnboundedSender<(Token, Disposition)>) -> Delivery {
        let DeadObject { bucket, key, version, .. } = wanted.object;
        info!(bucket, key, "a dead object is tried again");
        let object = ObjectRef { bucket, key, version, size: None };
        let token = Token::try_from(wanted.number).expect("rows are counted from one");
        Delivery {
            announcement: Ok(vec![Item::Object { object, announced_at: None }]),
            size: 0,
            // It was received often enough: if it still cannot be read, it is dead again.
            receives: u32::MAX,
            sent_at: None,
            received_at: self.clock.now(),
            receipt: Receipt::new(token, settle.clone()),
        }
    }

    fn is_idle(&self) -> bool {
        !self.announced.values().any(|stage| *stage == Stage::UnderWay)
    }
}

impl Announcer for Retry {
    async fn run(
        mut self,
        source: Source,
        deliveries: mpsc::Sender<Delivery>,
        stop: CancellationToken,
        abandon: CancellationToken,
    ) {
        // Bounded by what is under way.
        let (settle, mut settled) = mpsc::unbounded_channel();
        let mut ended = false;
        while !stop.is_cancelled() || !self.is_idle() {
            let (due, next) = if stop.is_cancelled() { (Vec::new(), None) } else { self.due(source.name()) };
            for wanted in due {
                if deliveries.send(self.delivery(wanted, &settle)).await.is_err() {
                    return;
                }
            }
            let later = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some((token, disposition)) = settled.recv() => {
                    self.settle(i64::try_from(token).unwrap_or_default(), disposition);
                }
                changed = self.wanted.changed(), if !ended => ended = changed.is_err(),
                () = later => {}
                () = stop.cancelled(), if !stop.is_cancelled() => {}
                () = abandon.cancelled() => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn wanted(number: i64, source: &str) -> Wanted {
        let object = DeadObject {
            source: source.into(),
            bucket: "b".into(),
            key: number.to_string(),
            version: None,
            reason: "missing".into(),
        };
        Wanted { number, object }
    }

    fn numbers(retry: &mut Retry) -> Vec<i64> {
        retry.due("q").0.iter().map(|wanted| wanted.number).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn each_wish_is_announced_once() {
        let (list, receiver) =
            watch::channel(Arc::from([wanted(1, "q"), wanted(2, "other"), wanted(3, "q")]));
        let mut retry = Retry::new(receiver, Clock::system());
        assert_eq!(numbers(&mut retry), [1, 3], "those of the source");
        assert!(numbers(&mut retry).is_empty(), "they are under way");
        retry.settle(1, Disposition::Retry(Duration::from_mins(1)));
        retry.settle(3, Disposition::Leave);
        assert!(retry.is_idle());
        assert!(numbers(&mut retry).is_empty());
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(numbers(&mut retry), [1], "its time has come");
        retry.settle(1, Disposition::Ack);
        list.send_replace(Arc::from([wanted(4, "q")]));
        assert_eq!(numbers(&mut retry), [4]);
        assert_eq!(retry.announced.len(), 1, "what is not wanted any more is forgotten");
    }
}
