//! The commit: what makes the effects of an object final, and answers when they are.
//!
//! Effects are alerts, evidence for the detections over more than one event, and that an object is done. One owner takes
//! them: it alone knows which ids were raised, and has the [`Windows`], whose findings it raises as if the commit had
//! brought them.
//!
//! With a state folder the owner is a [`Committer`]: effects are final once they are on the disk, and from there the
//! alerts go to the sinks, each at its own pace, however often the program ends meanwhile. Without one it is a
//! [`Keeper`], and the commit *is* the delivery: an object's effects are final once every required sink took its
//! alerts. An alert id belongs to the message that raised it until it is delivered; a second message with the same id
//! waits for the same outcome. Delivered ids are remembered in memory, so that a redelivered message raises nothing
//! again. Windows are in memory, too.

mod committer;
mod disk;
mod handles;
mod keeper;
mod outbox;
mod seeding;
mod windows;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tracing::warn;

use crate::alert::Alert;
use crate::detect::Evidence;
use crate::worker::Inspection;

pub use committer::{Committer, Opened, open};
pub use disk::{Dead, DeadKind, DeadObject, DoneObject, Graveyard, ObjectId, OpenError, WAIT, Wanted};
pub use handles::{HandleFile, Handles, ReceiptHandle, SourceHandles};
pub use keeper::Keeper;
pub use seeding::Seeding;
pub use windows::{WindowLimits, Windows};

use disk::Objects;

/// The way to the state.
#[derive(Debug, Clone)]
pub struct State {
    inbox: mpsc::UnboundedSender<Request>,
    /// Objects that are done; none where nothing outlives the program.
    objects: Option<Arc<Mutex<Objects>>>,
}

/// What follows from an object, or from a part of it.
#[derive(Debug, Default)]
pub struct Effects {
    /// Its alerts.
    pub alerts: Vec<Alert>,
    /// What it feeds to detections over more than one event.
    pub gathered: Option<Gathered>,
    /// What becomes of the object itself, with its last part.
    pub end: Option<End>,
}

/// What becomes of an object.
#[derive(Debug)]
pub enum End {
    /// All of it is told: it need never be looked at again.
    Done(DoneObject),
    /// It is given up.
    Dead(DeadObject),
}

/// Evidence, and the detections that made it.
#[derive(Debug)]
pub struct Gathered {
    /// In any order.
    pub evidence: Vec<Evidence>,
    /// Who understands it.
    pub by: Arc<Inspection>,
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Its effects will outlive whatever happens now; without a state folder: every required sink has every alert.
    Final,
    /// A receiver refused an alert; the others are delivered. Only without a state folder.
    Refused,
    /// The program is ending.
    Abandoned,
}

/// What is asked of the owner of the state, in the order in which it is to be done.
#[derive(Debug)]
enum Request {
    Commit { effects: Effects, answer: oneshot::Sender<Settled> },
    Succeed(Arc<Inspection>),
}

impl From<Vec<Alert>> for Effects {
    fn from(alerts: Vec<Alert>) -> Self {
        Self { alerts, ..Self::default() }
    }
}

impl From<End> for Effects {
    fn from(end: End) -> Self {
        Self { end: Some(end), ..Self::default() }
    }
}

impl Effects {
    fn is_nothing(&self) -> bool {
        let no_evidence = self.gathered.as_ref().is_none_or(|gathered| gathered.evidence.is_empty());
        self.alerts.is_empty() && no_evidence && self.end.is_none()
    }
}

impl State {
    /// Commits the effects of an object, at once; the answer comes when they are final.
    pub fn commit<E: Into<Effects>>(&self, effects: E) -> impl Future<Output = Settled> + Send + use<E> {
        let mut effects = effects.into();
        if self.objects.is_none() {
            effects.end = None;
        }
        let (answer, settled) = oneshot::channel();
        if effects.is_nothing() {
            let _ = answer.send(Settled::Final);
        } else {
            // Without an owner the answer's other end is dropped, which reads as abandoned.
            let _ = self.inbox.send(Request::Commit { effects, answer });
        }
        async move { settled.await.unwrap_or(Settled::Abandoned) }
    }

    /// Whether an object is done, so that nothing more can come of it.
    pub async fn has(&self, object: ObjectId) -> bool {
        let Some(objects) = self.objects.clone() else { return false };
        let look = move || objects.lock().unwrap_or_else(PoisonError::into_inner).has(object);
        match spawn_blocking(look).await {
            Ok(Ok(known)) => known,
            // Then it is examined once more, and its alerts have the ids of before.
            Ok(Err(error)) => {
                warn!(%error, "the state does not tell whether an object is done");
                false
            }
            Err(_) => false,
        }
    }

    /// Lets other detections take the place of those that run, before any object meets them. What is kept for
    /// detections that stay the same goes on.
    pub fn succeed(&self, inspection: Arc<Inspection>) {
        // Without an owner nothing is kept.
        let _ = self.inbox.send(Request::Succeed(inspection));
    }
}

#[cfg(test)]
mod tests;
