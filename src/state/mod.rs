//! The commit: what makes the effects of an object final, and answers when they are.
//!
//! Effects are alerts, and evidence for the detections over more than one event. One [`Keeper`] takes them: it alone
//! knows which ids were raised, and owns the [`Windows`], whose findings it raises as if the commit had brought them.
//!
//! Without a state folder the commit *is* the delivery: an object's effects are final once every required
//! sink took its alerts. An alert id belongs to the message that raised it until it is delivered; a second
//! message with the same id waits for the same outcome. Delivered ids are remembered in memory, so that a
//! redelivered message raises nothing again. Windows are in memory, too.

mod keeper;
mod windows;

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::alert::Alert;
use crate::detect::Evidence;
use crate::worker::Inspection;

pub use keeper::Keeper;
pub use windows::Windows;

/// The way to the state.
#[derive(Debug, Clone)]
pub struct State {
    inbox: mpsc::UnboundedSender<Request>,
}

/// What follows from an object, or from a part of it.
#[derive(Debug, Default)]
pub struct Effects {
    /// Its alerts.
    pub alerts: Vec<Alert>,
    /// What it feeds to detections over more than one event.
    pub gathered: Option<Gathered>,
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
    /// Every alert is with every required sink.
    Delivered,
    /// A receiver refused an alert; the others are delivered.
    Refused,
    /// The program is ending.
    Abandoned,
}

/// What is asked of the keeper, in the order in which it is to be done.
#[derive(Debug)]
enum Request {
    Commit { effects: Effects, answer: oneshot::Sender<Settled> },
    Succeed(Arc<Inspection>),
}

impl From<Vec<Alert>> for Effects {
    fn from(alerts: Vec<Alert>) -> Self {
        Self { alerts, gathered: None }
    }
}

impl Effects {
    fn is_nothing(&self) -> bool {
        self.alerts.is_empty() && self.gathered.as_ref().is_none_or(|gathered| gathered.evidence.is_empty())
    }
}

impl State {
    /// Commits the effects of an object, at once; the answer comes when they are final.
    pub fn commit<E: Into<Effects>>(&self, effects: E) -> impl Future<Output = Settled> + Send + use<E> {
        let effects = effects.into();
        let (answer, settled) = oneshot::channel();
        if effects.is_nothing() {
            let _ = answer.send(Settled::Delivered);
        } else {
            // Without a keeper the answer's other end is dropped, which reads as abandoned.
            let _ = self.inbox.send(Request::Commit { effects, answer });
        }
        async move { settled.await.unwrap_or(Settled::Abandoned) }
    }

    /// Lets other detections take the place of those that run, before any object meets them. What is kept for
    /// detections that stay the same goes on.
    pub fn succeed(&self, inspection: Arc<Inspection>) {
        // Without a keeper nothing is kept.
        let _ = self.inbox.send(Request::Succeed(inspection));
    }
}

#[cfg(test)]
mod tests;
