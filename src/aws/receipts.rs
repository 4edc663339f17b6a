//! The receipts of a queue: they hold everything that was received and is not settled.
//!
//! From the moment of its receive every message has a heartbeat at half of its visibility time, until it is
//! settled or the 12 hours are over after which SQS takes no more. Deletes and changes go out in batches of
//! ten, what fails of a batch is looked at, and a message counts as settled once SQS has confirmed it.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::ProvideErrorMetadata;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
};
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::describe;
use super::receiver::FIRST_VISIBILITY;
use super::sqs::Queue;
use crate::announce::{Disposition, Token};
use crate::metrics::InFlight;
use crate::state::SourceHandles;

/// Entries of one batch.
pub(super) const BATCH: usize = 10;
/// How long after a receive SQS takes a last change of visibility.
const HANDLE_LIFE: Duration = Duration::from_hours(12);
/// How long before that end a message is given back.
const MARGIN: Duration = Duration::from_mins(1);
/// How long deletes and changes are gathered.
const GATHER: Duration = Duration::from_millis(100);
/// The least time for a change to be answered.
const SHORTEST_CHANGE: Duration = Duration::from_secs(5);
/// Time for the first heartbeat to be answered, and a quarter of it before the next try.
const FIRST_BEAT: Duration = Duration::from_secs(1);
/// Tries of a delete or a change.
const MOST_TRIES: u32 = 8;
/// The age of the oldest message is told at least this often.
const PUBLISH_EVERY: Duration = Duration::from_secs(10);
/// Time for the last receives at a shutdown.
const LAST_HOLDS: Duration = Duration::from_secs(3);
/// Time for the last releases at a shutdown.
const LAST_CALLS: Duration = Duration::from_secs(3);

/// The way to the receipts: what is received is held there until it is settled there.
#[derive(Debug)]
pub(super) struct Hands {
    pub(super) hold: mpsc::UnboundedSender<Held>,
    pub(super) settle: mpsc::UnboundedSender<(Token, Disposition)>,
    /// Messages that are held.
    pub(super) in_flight: watch::Receiver<usize>,
    /// The number of the first message.
    pub(super) next_token: Token,
}

/// A message that was received and is not settled.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) token: Token,
    pub(super) handle: String,
    pub(super) received: Instant,
    /// When it is time for the next heartbeat.
    pub(super) beat: Instant,
    /// The number of its receives, this one included.
    pub(super) receives: u32,
    pub(super) sent_at: Option<Timestamp>,
}

/// What is due for a held message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Nothing,
    /// Hide it for this much longer.
    Extend(Duration),
    /// Its 12 hours are over: give it back while that can still be done.
    GiveBack,
}

impl Held {
    fn due(&self, now: Instant, visibility: Duration) -> Due {
        if now < self.beat {
            return Due::Nothing;
        }
        let left = (self.received + HANDLE_LIFE).saturating_duration_since(now);
        match left.checked_sub(MARGIN) {
            None | Some(Duration::ZERO) => Due::GiveBack,
            Some(left) => Due::Extend(visibility.min(left)),
        }
    }
}

/// A delete or a change that is to go out.
#[derive(Debug, Clone)]
pub(super) struct Call {
    kind: CallKind,
    token: Token,
    handle: String,
    /// What becomes of the message by this; nothing by a heartbeat.
    outcome: Option<&'static str>,
    tries: u32,
    due: Instant,
    /// The time-out of the call.
    within: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CallKind {
    Delete,
    /// Visibility after a settlement, in seconds.
    Change(i32),
    /// Visibility of a message that is still held, in seconds.
    Beat(i32),
}

impl Call {
    /// Makes a message visible at once.
    pub(super) fn release(token: Token, handle: String) -> Self {
        let (due, within) = (Instant::now(), SHORTEST_CHANGE);
        Self { kind: CallKind::Change(0), token, handle, outcome: None, tries: 0, due, within }
    }
}

/// The time-out of a change of visibility.
fn answered_within(visibility: Duration) -> Duration {
    (visibility / 4).max(SHORTEST_CHANGE)
}

/// The calls of a batch, and those of them that failed.
type Called = (Vec<Call>, Result<Vec<BatchResultErrorEntry>, String>);

/// Holds everything received: heartbeats, deletes, releases.
pub(super) struct Receipts {
    queue: Queue,
    holds: mpsc::UnboundedReceiver<Held>,
    settlements: mpsc::UnboundedReceiver<(Token, Disposition)>,
    held: HashMap<Token, Held>,
    waiting: Vec<Call>,
    calls: JoinSet<Called>,
    /// Messages whose end SQS has yet to confirm.
    settling: usize,
    in_flight: watch::Sender<usize>,
    /// Where what is held is kept for the next start.
    handles: Option<SourceHandles>,
    /// Cancelled when there is no more time: then all that is held is given back.
    abandon: CancellationToken,
}

impl Receipts {
    /// The receipts of a queue, and the hands into which they are given.
    pub(super) fn new(
        queue: Queue,
        handles: Option<SourceHandles>,
        abandon: CancellationToken,
    ) -> (Self, Hands) {
        let (held, in_flight) = watch::channel(0);
        // Both are bounded by the messages in flight.
        let (hold, holds) = mpsc::unbounded_channel();
        let (settle, settled) = mpsc::unbounded_channel();
        let next_token = handles.as_ref().map_or(0, SourceHandles::next_token);
        let receipts = Self {
            queue,
            holds,
            settlements: settled,
            held: HashMap::new(),
            waiting: Vec::new(),
            calls: JoinSet::new(),
            settling: 0,
            in_flight: held,
            handles,
            abandon,
        };
        (receipts, Hands { hold, settle, in_flight, next_token })
    }

    /// Runs until nothing can be received any more and all is settled, or until it has to give back the rest.
    pub(super) async fn run(mut self) {
        let mut receiving = true;
        while receiving || !self.held.is_empty() || !self.waiting.is_empty() || !self.calls.is_empty() {
            self.start_due();
            self.publish();
            let wake = self.next_wake();
            tokio::select! {
                // Held before settled: a message is never settled before it is known.
                biased;
                held = self.holds.recv(), if receiving => match held {
                    Some(held) => self.hold(held),
                    None => receiving = false,
                },
                Some((token, disposition)) = self.settlements.recv() => self.settle(token, disposition),
                Some(done) = self.calls.join_next() => self.called(done),
                () = tokio::time::sleep_until(wake) => {}
                () = self.abandon.cancelled() => break,
            }
        }
        self.publish();
        // A receive that is open would take what is given back, so that the receiver ends first.
        let last_holds = async {
            while let Some(held) = self.holds.recv().await {
                self.hold(held);
            }
        };
        if tokio::time::timeout(LAST_HOLDS, last_holds).await.is_err() {
            warn!(queue = self.queue.url, "the receiver does not end");
        }
        while let Ok((token, disposition)) = self.settlements.try_recv() {
            // Now a receipt that was let go means that there was no time.
            let disposition =
                if disposition == Disposition::Ack { disposition } else { Disposition::Release };
            self.settle(token, disposition);
        }
        let rest: Vec<Token> = self.held.keys().copied().collect();
        if !rest.is_empty() {
            info!(queue = self.queue.url, messages = rest.len(), "messages are given back");
        }
        for token in rest {
            self.settle(token, Disposition::Release);
        }
        let last_calls = async {
            while !self.waiting.is_empty() || !self.calls.is_empty() {
                self.waiting.iter_mut().for_each(|call| call.due = Instant::now());
                self.start_due();
                if let Some(done) = self.calls.join_next().await {
                    self.called(done);
                }
            }
        };
        if tokio::time::timeout(LAST_CALLS, last_calls).await.is_err() {
            warn!(
                queue = self.queue.url,
                "not every message could be given back; they come back by themselves"
            );
        }
        self.publish();
        self.in_flight.send_replace(0);
    }

    fn hold(&mut self, held: Held) {
        if let Some(handles) = &self.handles {
            handles.received(held.token, &held.handle, held.receives);
        }
        self.held.insert(held.token, held);
    }

    /// The handle of a message is of no use to the next start any more.
    fn forget(&self, token: Token) {
        if let Some(handles) = &self.handles {
            handles.settled(token);
        }
    }

    fn settle(&mut self, token: Token, disposition: Disposition) {
        let Some(held) = self.held.remove(&token) else { return };
        let disposition = match disposition {
            // Now a receipt that was let go only means that there was no time.
            Disposition::Retry(_) if self.abandon.is_cancelled() => Disposition::Release,
            disposition => disposition,
        };
        let outcome = disposition.outcome();
        let kind = match disposition {
            Disposition::Ack => CallKind::Delete,
            Disposition::Retry(after) => CallKind::Change(seconds(after)),
            Disposition::Release => CallKind::Change(0),
            Disposition::Leave => {
                self.forget(token);
                return self.queue.metrics.message(outcome);
            }
        };
        self.settling += 1;
        let due = Instant::now() + GATHER;
        let within = answered_within(self.queue.visibility);
        let outcome = Some(outcome);
        self.waiting.push(Call { kind, token, handle: held.handle, outcome, tries: 0, due, within });
    }

    /// Counts what became of the message of a call that settles it.
    fn settled(&mut self, call: &Call, outcome: Option<&'static str>) {
        if let Some(outcome) = outcome.filter(|_| call.outcome.is_some()) {
            self.settling -= 1;
            self.forget(call.token);
            self.queue.metrics.message(outcome);
        }
    }

    /// Sends what is due: heartbeats, and deletes and changes that were gathered long enough or fill a batch.
    fn start_due(&mut self) {
        let now = Instant::now();
        let visibility = self.queue.visibility;
        let mut give_back = Vec::new();
        for held in self.held.values_mut() {
            match held.due(now, visibility) {
                Due::Nothing => {}
                Due::GiveBack => give_back.push(held.token),
                Due::Extend(extension) => {
                    held.beat = now + extension / 2;
                    let is_first = now < held.received + FIRST_VISIBILITY;
                    let kind = CallKind::Beat(seconds(extension));
                    self.waiting.push(Call {
                        kind,
                        token: held.token,
                        handle: held.handle.clone(),
                        outcome: None,
                        tries: 0,
                        due: now,
                        within: if is_first { FIRST_BEAT } else { answered_within(visibility) },
                    });
                }
            }
        }
        for token in give_back {
            warn!(queue = self.queue.url, "a message is given back after 12 hours");
            self.settle(token, Disposition::Release);
        }
        for delete in [true, false] {
            let fits = |call: &Call| (call.kind == CallKind::Delete) == delete;
            let ready = self.waiting.iter().filter(|call| fits(call) && (call.due <= now || call.tries == 0));
            if ready.clone().count() < BATCH && !ready.clone().any(|call| call.due <= now) {
                continue;
            }
            // With what is due goes what only waits for company, but not what failed and has to wait.
            let goes = |call: &mut Call| fits(call) && (call.due <= now || call.tries == 0);
            let batch: Vec<Call> = self.waiting.extract_if(.., goes).collect();
            for calls in batch.chunks(BATCH) {
                self.call(calls.to_vec(), delete);
            }
        }
    }

    fn call(&mut self, calls: Vec<Call>, delete: bool) {
        let (client, url) = (self.queue.client.clone(), self.queue.url.clone());
        // A heartbeat that hangs leaves time for another one before the message is visible again.
        let most = calls.iter().map(|call| call.within).min().unwrap_or(SHORTEST_CHANGE);
        self.calls.spawn(async move {
            let result = if delete {
                delete_batch(&client, url, &calls).await
            } else {
                let changed = tokio::time::timeout(most, change_batch(&client, url, &calls)).await;
                changed.unwrap_or_else(|_| Err(format!("no answer within {most:?}")))
            };
            (calls, result)
        });
    }

    /// Looks at what became of a batch: what failed for now is tried again, what can never work is let go.
    fn called(&mut self, done: Result<Called, JoinError>) {
        let (calls, result) = match done {
            Ok(done) => done,
            Err(panic) => return error!(queue = self.queue.url, error = %panic, "a batch has failed"),
        };
        match result {
            Err(cause) => {
                warn!(queue = self.queue.url, cause, messages = calls.len(), "a batch was not taken");
                calls.into_iter().for_each(|call| self.try_again(call));
            }
            Ok(failed) => {
                let mut failures: HashMap<usize, String> = failed
                    .into_iter()
                    .filter_map(|entry| Some((entry.id.parse().ok()?, entry.code)))
                    .collect();
                for (at, call) in calls.into_iter().enumerate() {
                    match failures.remove(&at) {
                        None => self.settled(&call, call.outcome),
                        Some(code) => self.call_failed(call, &code),
                    }
                }
            }
        }
    }

    fn call_failed(&mut self, call: Call, code: &str) {
        let gone = ["ReceiptHandleIsInvalid", "InvalidParameterValue", "MessageNotInflight"];
        if !gone.iter().any(|gone| code.contains(gone)) {
            return self.try_again(call);
        }
        debug!(queue = self.queue.url, code, "a receipt is not valid any more");
        // It was taken from us, or it is deleted already; it is heard of again if it is not.
        self.settled(&call, Some("lost"));
        if self.held.remove(&call.token).is_some() {
            self.forget(call.token);
            self.queue.metrics.message("lost");
        }
    }

    fn try_again(&mut self, mut call: Call) {
        call.tries += 1;
        if matches!(call.kind, CallKind::Beat(_)) {
            if let Some(held) = self.held.get_mut(&call.token) {
                held.beat = Instant::now() + call.within / 4;
            }
        } else if call.tries < MOST_TRIES {
            call.due = Instant::now() + Duration::from_millis(200 << call.tries);
            self.waiting.push(call);
        } else {
            error!(queue = self.queue.url, "a message could not be settled; it comes back");
            self.settled(&call, Some("unsettled"));
        }
    }

    fn next_wake(&self) -> Instant {
        let beats = self.held.values().map(|held| held.beat);
        let calls = self.waiting.iter().map(|call| call.due);
        let soon = Instant::now() + PUBLISH_EVERY;
        beats.chain(calls).min().map_or(soon, |due| due.min(soon))
    }

    fn publish(&self) {
        self.in_flight.send_replace(self.held.len());
        let oldest = self.held.values().filter_map(|held| held.sent_at).min();
        let age = oldest.and_then(|oldest| self.queue.clock.now().duration_since(oldest).try_into().ok());
        let in_flight =
            InFlight { messages: self.held.len() + self.settling, oldest: age.unwrap_or_default() };
        self.queue.metrics.in_flight(&self.queue.url, in_flight);
    }
}

async fn delete_batch(
    client: &Client,
    url: String,
    calls: &[Call],
) -> Result<Vec<BatchResultErrorEntry>, String> {
    let entries = calls.iter().enumerate().map(|(at, call)| {
        DeleteMessageBatchRequestEntry::builder()
            .id(at.to_string())
            .receipt_handle(&call.handle)
            .build()
            .expect("id and handle are set")
    });
    let request = client.delete_message_batch().queue_url(url).set_entries(Some(entries.collect()));
    request.send().await.map(|output| output.failed).map_err(|error| describe(&error))
}

pub(super) async fn change_batch(
    client: &Client,
    url: String,
    calls: &[Call],
) -> Result<Vec<BatchResultErrorEntry>, String> {
    let entries = calls.iter().enumerate().map(|(at, call)| {
        let seconds = match call.kind {
            CallKind::Delete => 0,
            CallKind::Change(seconds) | CallKind::Beat(seconds) => seconds,
        };
        ChangeMessageVisibilityBatchRequestEntry::builder()
            .id(at.to_string())
            .receipt_handle(&call.handle)
            .visibility_timeout(seconds)
            .build()
            .expect("id and handle are set")
    });
    let request =
        client.change_message_visibility_batch().queue_url(url).set_entries(Some(entries.collect()));
    match request.send().await {
        Ok(output) => Ok(output.failed),
        // Some servers refuse the whole batch for one entry whose time is over.
        Err(error)
            if calls.len() == 1
                && error.code().is_some_and(|code| code.contains("InvalidParameterValue")) =>
        {
            let entry =
                BatchResultErrorEntry::builder().id("0").code("InvalidParameterValue").sender_fault(true);
            Ok(vec![entry.build().expect("all is set")])
        }
        Err(error) => Err(describe(&error)),
    }
}

/// Whole seconds, rounded up, within what SQS takes.
pub(super) fn seconds(duration: Duration) -> i32 {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i32::try_from(seconds.min(HANDLE_LIFE.as_secs())).expect("12 hours fit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heartbeats_end_before_the_handle_does() {
        let visibility = Duration::from_mins(5);
        let received = Instant::now();
        let held =
            |beat| Held { token: 0, handle: String::new(), received, beat, receives: 1, sent_at: None };
        let after = |duration: Duration| held(received + visibility / 2).due(received + duration, visibility);
        assert_eq!(after(Duration::from_secs(149)), Due::Nothing);
        assert_eq!(after(Duration::from_secs(150)), Due::Extend(visibility));
        let before_the_end = |minutes| HANDLE_LIFE.saturating_sub(Duration::from_mins(minutes));
        assert_eq!(after(before_the_end(3)), Due::Extend(Duration::from_mins(2)));
        assert_eq!(after(before_the_end(1)), Due::GiveBack);
        assert_eq!(after(HANDLE_LIFE + visibility), Due::GiveBack);
    }

    #[test]
    fn seconds_are_rounded_up_and_bounded() {
        assert_eq!(seconds(Duration::from_millis(1500)), 2);
        assert_eq!(seconds(Duration::from_hours(24)), 43_200);
    }
}
