//! What was announced: every shape in which word of new log objects arrives.
//!
//! Shapes are told apart by what they are, never by configuration: S3 notifications, SNS around them or raw,
//! CloudTrail's own notifications, EventBridge events about objects, and CloudTrail events inline. A source
//! of announcements hands out [`Delivery`]s; whoever takes one settles its [`Receipt`] with a
//! [`Disposition`].

mod key;
mod shape;

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;

pub use key::Class;
pub use shape::{Unrecognised, read};

/// An object in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectRef {
    /// The bucket; empty for files.
    pub bucket: String,
    /// The key, or the path of a file.
    pub key: String,
    /// The version that was announced.
    pub version: Option<String>,
    /// Bytes as stored, as far as announced.
    pub size: Option<u64>,
}

/// One thing that an announcement speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// An object was created.
    Object {
        /// Which.
        object: ObjectRef,
        /// When, as the announcement says.
        announced_at: Option<Timestamp>,
    },
    /// A CloudTrail event itself.
    Event {
        /// The bytes of the record.
        record: Vec<u8>,
        /// When, as the announcement says.
        announced_at: Option<Timestamp>,
    },
    /// Nothing to do.
    Nothing(Quiet),
    /// A part that cannot be understood beside others that can.
    Unrecognised(String),
}

/// Announcements that ask for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quiet {
    /// `s3:TestEvent`, sent when notifications are set up.
    TestEvent,
    /// `CloudTrail validation message.`, sent when a topic is set for a trail.
    Validation,
    /// Something else happened to an object than its creation.
    OtherObjectEvent,
    /// An event of another service than CloudTrail.
    OtherEvent,
}

impl Quiet {
    /// A short name, from a closed set, for metrics.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Quiet::TestEvent => "test-event",
            Quiet::Validation => "validation",
            Quiet::OtherObjectEvent => "other-object-event",
            Quiet::OtherEvent => "other-event",
        }
    }
}

/// A message with word of something, and the means to settle it.
#[derive(Debug)]
pub struct Delivery {
    /// What it speaks of.
    pub announcement: Result<Vec<Item>, Unrecognised>,
    /// Bytes that it holds in memory.
    pub size: usize,
    /// How often it was handed out by now, this time included.
    pub receives: u32,
    /// When it was sent.
    pub sent_at: Option<Timestamp>,
    /// When it was received.
    pub received_at: Timestamp,
    /// To be settled when all is done.
    pub receipt: Receipt,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// All is done: it is deleted.
    Ack,
    /// It is tried again after this time.
    Retry(Duration),
    /// It is left alone: after its visibility time-out it is handed out again, until the dead-letter queue
    /// takes it.
    Leave,
    /// It is given back at once, for another consumer.
    Release,
}

impl Disposition {
    /// A short name, from a closed set, for metrics.
    #[must_use]
    pub fn outcome(self) -> &'static str {
        match self {
            Disposition::Ack => "acknowledged",
            Disposition::Retry(_) => "retried",
            Disposition::Leave => "left",
            Disposition::Release => "released",
        }
    }
}

/// The number of a message with whoever holds its receipts.
pub type Token = u64;

/// The duty to settle a message. Dropped without being settled, it lets the message be tried again.
#[derive(Debug)]
pub struct Receipt {
    token: Token,
    owner: mpsc::UnboundedSender<(Token, Disposition)>,
    settled: bool,
}

impl Receipt {
    /// A receipt that settles with this owner. Its channel is bounded by the number of messages in flight.
    #[must_use]
    pub fn new(token: Token, owner: mpsc::UnboundedSender<(Token, Disposition)>) -> Self {
        Self { token, owner, settled: false }
    }

    /// Settles the message.
    pub fn settle(mut self, disposition: Disposition) {
        self.send(disposition);
    }

    fn send(&mut self, disposition: Disposition) {
        self.settled = true;
        // An owner that is gone has settled all its messages by going.
        let _ = self.owner.send((self.token, disposition));
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if !self.settled {
            self.send(Disposition::Retry(Duration::from_secs(30)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_receipt_lets_its_message_be_tried_again() {
        let (owner, mut settled) = mpsc::unbounded_channel();
        drop(Receipt::new(7, owner.clone()));
        Receipt::new(8, owner).settle(Disposition::Ack);
        assert!(matches!(settled.try_recv(), Ok((7, Disposition::Retry(_)))));
        assert_eq!(settled.try_recv(), Ok((8, Disposition::Ack)));
        assert!(settled.try_recv().is_err());
    }
}
