//! The receiver of a queue: polls whenever there is room, and hands out what came.

use std::time::Duration;

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::describe;
use super::receipts::{Hands, Held, seconds};
use super::sqs::Queue;
use crate::alert::Backoff;
use crate::announce::{self, Delivery, Disposition, Receipt, Token};
use crate::intake::{Permit, Source};

/// Time for a receive beyond its wait, once nothing else is to be received.
const LAST_ANSWER: Duration = Duration::from_secs(2);
/// Time for a receive that is still open when the rest is given back.
const LAST_RECEIVE: Duration = Duration::from_secs(2);
/// The wait of a receive while messages are in flight: a receive that is open when the process is killed
/// goes on at the queue and takes what is released.
pub(super) const BUSY_WAIT: Duration = Duration::from_secs(1);
/// The visibility timeout of a receive; the first heartbeat extends it to the configured one. A message that is handed to a
/// receive which outlives the process is visible again after this, and most messages are settled before that heartbeat.
pub(super) const FIRST_VISIBILITY: Duration = Duration::from_secs(4);
/// Messages of one receive, and entries of one batch.
const BATCH: usize = 10;
/// Receives at once while messages keep coming.
const MOST_RECEIVERS: usize = 8;
/// Failed receives in a row after which the daemon is not ready any more.
const UNABLE_AFTER: u32 = 3;
/// Messages in flight at once; SQS allows some 120,000 for a queue.
const MOST_IN_FLIGHT: usize = 1_000;

/// Polls whenever there is room.
pub(super) struct Receiver {
    queue: Queue,
    source: Source,
    deliveries: mpsc::Sender<Delivery>,
    hold: mpsc::UnboundedSender<Held>,
    settle: mpsc::UnboundedSender<(Token, Disposition)>,
    in_flight: watch::Receiver<usize>,
    next_token: Token,
}

impl Receiver {
    pub(super) fn new(
        queue: Queue,
        source: Source,
        deliveries: mpsc::Sender<Delivery>,
        receipts: Hands,
    ) -> Self {
        let Hands { hold, settle, in_flight, next_token } = receipts;
        Self { queue, source, deliveries, hold, settle, in_flight, next_token }
    }

    pub(super) async fn run(mut self, stop: CancellationToken, abandon: CancellationToken) {
        info!(queue = self.queue.url, "receiving");
        let wait = self.queue.wait;
        let mut polls = JoinSet::new();
        let mut receivers = 1;
        let mut idle = true;
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        let mut resume_at = Instant::now();
        while !stop.is_cancelled() {
            tokio::select! {
                permit = self.room(resume_at), if polls.len() < receivers => {
                    let most = match permit {
                        Permit::Open => BATCH,
                        Permit::Probe => {
                            receivers = 1;
                            1
                        }
                    };
                    // Nothing else is open then, and nothing in flight, so that no long receive outlives a crash
                    // that leaves messages in flight.
                    let wait = if idle && *self.in_flight.borrow() == 0 { wait } else { BUSY_WAIT };
                    polls.spawn(self.receive(most, wait));
                }
                Some(received) = polls.join_next() => match received {
                    Ok(Ok(messages)) => {
                        backoff.succeeded();
                        self.source.able(true);
                        idle = messages.is_empty() && polls.is_empty();
                        receivers = match messages.len() {
                            0 => 1,
                            BATCH => (receivers * 2).min(MOST_RECEIVERS),
                            _ => receivers,
                        };
                        self.hand_out(messages).await;
                    }
                    Ok(Err(cause)) => {
                        resume_at = Instant::now() + backoff.failed();
                        if backoff.failures() >= UNABLE_AFTER {
                            self.source.able(false);
                        }
                        warn!(queue = self.queue.url, cause, "messages cannot be received");
                    }
                    Err(panic) => error!(queue = self.queue.url, error = %panic, "a receive has failed"),
                },
                () = stop.cancelled() => {}
            }
        }
        // What a poll has received by now is hidden from others, and an open one takes what is given back: each
        // is seen to its end. One that goes on longer than it may will bring nothing.
        let all_ended = async {
            while let Some(received) = polls.join_next().await {
                if let Ok(Ok(messages)) = received {
                    self.give_back(messages);
                }
            }
        };
        let no_more_time = async {
            abandon.cancelled().await;
            tokio::time::sleep(LAST_RECEIVE).await;
        };
        tokio::select! {
            () = all_ended => {}
            () = tokio::time::sleep(wait + LAST_ANSWER) => {}
            () = no_more_time => {}
        }
    }

    /// Waits until this time, until a batch fits, and until the intake permits.
    async fn room(&self, resume_at: Instant) -> Permit {
        tokio::time::sleep_until(resume_at).await;
        let mut in_flight = self.in_flight.clone();
        // Without receipts there is nothing to wait for; the run ends with them.
        let _ = in_flight.wait_for(|held| *held + BATCH <= MOST_IN_FLIGHT).await;
        self.source.permit().await
    }

    fn receive(
        &self,
        most: usize,
        wait: Duration,
    ) -> impl Future<Output = Result<Vec<Message>, String>> + Send + use<> {
        let request = self
            .queue
            .client
            .receive_message()
            .queue_url(&self.queue.url)
            .max_number_of_messages(i32::try_from(most).unwrap_or(1))
            .wait_time_seconds(seconds(wait))
            .visibility_timeout(seconds(self.first_visibility()))
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp);
        async move {
            let output = request.send().await.map_err(|error| describe(&error))?;
            Ok(output.messages.unwrap_or_default())
        }
    }

    async fn hand_out(&mut self, messages: Vec<Message>) {
        // Every message has its heartbeat before the first one is worked on.
        let held: Vec<(Token, Message)> =
            messages.into_iter().filter_map(|message| Some((self.hold(&message)?, message))).collect();
        for (token, message) in held {
            let body = message.body().unwrap_or_default();
            let delivery = Delivery {
                announcement: announce::read(body),
                size: body.len(),
                receives: receives(&message),
                sent_at: sent_at(&message),
                received_at: self.queue.clock.now(),
                receipt: Receipt::new(token, self.settle.clone()),
            };
            // A line that is gone lets its receipts go, which gives the message back.
            let _ = self.deliveries.send(delivery).await;
        }
    }

    /// Starts the heartbeat of a message.
    fn hold(&mut self, message: &Message) -> Option<Token> {
        let handle = message.receipt_handle()?.to_owned();
        let token = self.next_token;
        self.next_token += 1;
        self.queue.metrics.message("received");
        let now = Instant::now();
        let held = Held {
            token,
            handle,
            received: now,
            // Time for two tries, should the first one hang.
            beat: now + self.first_visibility() * 3 / 8,
            receives: receives(message),
            sent_at: sent_at(message),
        };
        self.hold.send(held).ok().map(|()| token)
    }

    fn first_visibility(&self) -> Duration {
        self.queue.visibility.min(FIRST_VISIBILITY)
    }

    fn give_back(&mut self, messages: Vec<Message>) {
        for message in messages {
            if let Some(token) = self.hold(&message) {
                let _ = self.settle.send((token, Disposition::Release));
            }
        }
    }
}

/// Returns the number of receives of a message, this one included.
fn receives(message: &Message) -> u32 {
    let count = attribute(message, &MessageSystemAttributeName::ApproximateReceiveCount);
    count.and_then(|count| u32::try_from(count).ok()).unwrap_or(1)
}

fn sent_at(message: &Message) -> Option<Timestamp> {
    let millis = attribute(message, &MessageSystemAttributeName::SentTimestamp)?;
    Timestamp::from_millisecond(millis).ok()
}

fn attribute(message: &Message, name: &MessageSystemAttributeName) -> Option<i64> {
    message.attributes()?.get(name)?.parse().ok()
}
