//! A queue as a source of announcements: the receiver, and the receipts of everything received.
//!
//! From the moment of its receive every message has a heartbeat at half of its visibility time, until it is
//! settled or the 12 hours are over after which SQS takes no more. Deletes and changes go out in batches of
//! ten, and what fails of a batch is looked at.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::ProvideErrorMetadata;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message,
    MessageSystemAttributeName, QueueAttributeName,
};
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};
use url::Url;

use super::{Aws, describe};
use crate::alert::Backoff;
use crate::announce::{self, Delivery, Disposition, Receipt, Token};
use crate::clock::Clock;
use crate::config::QueueConfig;
use crate::intake::{Announcer, Permit, Source};
use crate::metrics::{InFlight, Metrics};

/// How long a receive waits for messages, in seconds; also the longest that an idle receiver takes to stop.
const WAIT_SECONDS: u16 = 5;
/// Messages of one receive, and entries of one batch.
const BATCH: usize = 10;
/// Receives at once while messages keep coming.
const MOST_RECEIVERS: usize = 8;
/// Failed receives in a row after which the daemon is not ready any more.
const UNABLE_AFTER: u32 = 3;
/// Messages in flight at once; SQS allows some 120,000 for a queue.
const MOST_IN_FLIGHT: usize = 1_000;
/// How long after a receive SQS takes a last change of visibility.
const HANDLE_LIFE: Duration = Duration::from_hours(12);
/// How long before that end a message is given back.
const MARGIN: Duration = Duration::from_mins(1);
/// How long deletes and changes are gathered.
const GATHER: Duration = Duration::from_millis(100);
/// Tries of a delete or a change.
const MOST_TRIES: u32 = 5;
/// The age of the oldest message is told at least this often.
const PUBLISH_EVERY: Duration = Duration::from_secs(10);
/// Time for the last releases at a shutdown.
const LAST_CALLS: Duration = Duration::from_secs(5);
/// A dead-letter queue that takes messages earlier hides what a few more tries would repair.
const LOW_RECEIVE_COUNT: u64 = 5;

/// A queue and what reads it.
#[derive(Debug)]
pub struct Queue {
    client: Client,
    url: String,
    visibility: Duration,
    metrics: Metrics,
    clock: Clock,
}

/// Why a queue cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the queue {url}: {cause}")]
pub struct QueueError {
    url: String,
    cause: String,
}

impl Queue {
    /// A client for a queue, in the region of its URL unless another one is set.
    pub async fn open(aws: &Aws, config: &QueueConfig, metrics: Metrics, clock: Clock) -> Self {
        let region = Self::region(config);
        let client = Client::new(&aws.config(region.as_deref(), config.role.as_ref()).await);
        Self { client, url: config.url.clone(), visibility: config.visibility, metrics, clock }
    }

    /// The region of a queue, as configured or as its URL tells: `sqs.REGION.amazonaws.com`, or the older
    /// `REGION.queue.amazonaws.com`.
    #[must_use]
    pub fn region(config: &QueueConfig) -> Option<String> {
        let from_url = || {
            let url = Url::parse(&config.url).ok()?;
            let labels: Vec<&str> = url.host_str()?.split('.').collect();
            match labels[..] {
                ["sqs" | "sqs-fips", region, "amazonaws", ..] | [region, "queue", "amazonaws", ..] => {
                    Some(region.to_owned())
                }
                _ => None,
            }
        };
        config.region.clone().or_else(from_url)
    }

    /// Warns of a queue from which messages vanish or come back too rarely.
    ///
    /// # Errors
    /// The queue does not exist, or must not be looked at.
    pub async fn inspect(&self) -> Result<(), QueueError> {
        let attributes = self
            .client
            .get_queue_attributes()
            .queue_url(&self.url)
            .attribute_names(QueueAttributeName::RedrivePolicy)
            .send()
            .await
            .map_err(|error| QueueError { url: self.url.clone(), cause: describe(&error) })?;
        let policy = attributes.attributes().and_then(|all| all.get(&QueueAttributeName::RedrivePolicy));
        let queue = &self.url;
        let Some(policy) = policy else {
            warn!(
                queue,
                "the queue has no dead-letter queue; messages that cannot be handled come back until they expire"
            );
            return Ok(());
        };
        let policy: serde_json::Value = serde_json::from_str(policy).unwrap_or_default();
        let count =
            policy["maxReceiveCount"].as_u64().or_else(|| policy["maxReceiveCount"].as_str()?.parse().ok());
        if let Some(count) = count.filter(|count| *count < LOW_RECEIVE_COUNT) {
            warn!(
                queue,
                max_receive_count = count,
                "the dead-letter queue takes messages after few receives"
            );
        }
        Ok(())
    }
}

impl Announcer for Queue {
    async fn run(
        self,
        source: Source,
        deliveries: mpsc::Sender<Delivery>,
        stop: CancellationToken,
        abandon: CancellationToken,
    ) {
        if let Some(Err(error)) = stop.run_until_cancelled(self.inspect()).await {
            // The receiver goes on trying, and tells as long as it fails.
            error!(%error, "the queue cannot be looked at");
        }
        let (held, in_flight) = watch::channel(0);
        // Both are bounded by the messages in flight.
        let (hold, holds) = mpsc::unbounded_channel();
        let (settle, settled) = mpsc::unbounded_channel();
        let receipts = Receipts {
            client: self.client.clone(),
            url: self.url.clone(),
            visibility: self.visibility,
            metrics: self.metrics.clone(),
            clock: self.clock.clone(),
            held: HashMap::new(),
            waiting: Vec::new(),
            calls: JoinSet::new(),
            settling: 0,
            in_flight: held,
            abandon: abandon.clone(),
        };
        let receiver = Receiver {
            client: self.client,
            url: self.url,
            visibility: self.visibility,
            metrics: self.metrics,
            clock: self.clock,
            source,
            deliveries,
            hold,
            settle,
            in_flight,
            next_token: 0,
        };
        tokio::join!(receiver.run(stop, abandon), receipts.run(holds, settled));
    }
}

/// Polls whenever there is room.
struct Receiver {
    client: Client,
    url: String,
    visibility: Duration,
    metrics: Metrics,
    clock: Clock,
    source: Source,
    deliveries: mpsc::Sender<Delivery>,
    hold: mpsc::UnboundedSender<Held>,
    settle: mpsc::UnboundedSender<(Token, Disposition)>,
    in_flight: watch::Receiver<usize>,
    next_token: Token,
}

impl Receiver {
    async fn run(mut self, stop: CancellationToken, abandon: CancellationToken) {
        info!(queue = self.url, "receiving");
        let mut polls = JoinSet::new();
        let mut receivers = 1;
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        while !stop.is_cancelled() {
            tokio::select! {
                permit = self.room(), if polls.len() < receivers => {
                    let most = match permit {
                        Permit::Open => BATCH,
                        Permit::Probe => {
                            receivers = 1;
                            1
                        }
                    };
                    polls.spawn(self.receive(most));
                }
                Some(received) = polls.join_next() => match received {
                    Ok(Ok(messages)) => {
                        backoff.succeeded();
                        self.source.able(true);
                        receivers = match messages.len() {
                            0 => 1,
                            BATCH => (receivers * 2).min(MOST_RECEIVERS),
                            _ => receivers,
                        };
                        self.hand_out(messages).await;
                    }
                    Ok(Err(cause)) => {
                        let wait = backoff.failed();
                        if backoff.failures() >= UNABLE_AFTER {
                            self.source.able(false);
                        }
                        warn!(queue = self.url, cause, "messages cannot be received");
                        tokio::select! {
                            () = tokio::time::sleep(wait) => {}
                            () = stop.cancelled() => {}
                        }
                    }
                    Err(panic) => error!(queue = self.url, error = %panic, "a receive has failed"),
                },
                () = stop.cancelled() => {}
            }
        }
        // What a poll has received by now is hidden from others, so that each is seen to its end; one that goes
        // on longer than it may will bring nothing.
        let last_poll = tokio::time::sleep(Duration::from_secs(u64::from(WAIT_SECONDS) + 2));
        let mut last_poll = std::pin::pin!(last_poll);
        loop {
            tokio::select! {
                received = polls.join_next() => match received {
                    Some(Ok(Ok(messages))) => self.give_back(messages),
                    Some(_) => {}
                    None => return,
                },
                () = &mut last_poll => return,
                () = abandon.cancelled() => return,
            }
        }
    }

    /// Waits until a batch fits and the intake permits.
    async fn room(&self) -> Permit {
        let mut in_flight = self.in_flight.clone();
        // Without receipts there is nothing to wait for; the run ends with them.
        let _ = in_flight.wait_for(|held| *held + BATCH <= MOST_IN_FLIGHT).await;
        self.source.permit().await
    }

    fn receive(&self, most: usize) -> impl Future<Output = Result<Vec<Message>, String>> + Send + use<> {
        let request = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(i32::try_from(most).unwrap_or(1))
            .wait_time_seconds(WAIT_SECONDS.into())
            .visibility_timeout(seconds(self.visibility))
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
            let attribute = |name| message.attributes()?.get(&name)?.parse::<i64>().ok();
            let body = message.body().unwrap_or_default();
            let delivery = Delivery {
                announcement: announce::read(body),
                size: body.len(),
                receives: attribute(MessageSystemAttributeName::ApproximateReceiveCount)
                    .and_then(|count| u32::try_from(count).ok())
                    .unwrap_or(1),
                sent_at: attribute(MessageSystemAttributeName::SentTimestamp)
                    .and_then(|millis| Timestamp::from_millisecond(millis).ok()),
                received_at: self.clock.now(),
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
        let sent_at = message
            .attributes()
            .and_then(|all| all.get(&MessageSystemAttributeName::SentTimestamp))
            .and_then(|millis| Timestamp::from_millisecond(millis.parse().ok()?).ok());
        self.metrics.message("received");
        let now = Instant::now();
        let held = Held { token, handle, received: now, beat: now + self.visibility / 2, sent_at };
        self.hold.send(held).ok().map(|()| token)
    }

    fn give_back(&mut self, messages: Vec<Message>) {
        for message in messages {
            if let Some(token) = self.hold(&message) {
                let _ = self.settle.send((token, Disposition::Release));
            }
        }
    }
}

/// A message that was received and is not settled.
#[derive(Debug)]
struct Held {
    token: Token,
    handle: String,
    received: Instant,
    /// When it is time for the next heartbeat.
    beat: Instant,
    sent_at: Option<Timestamp>,
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
struct Call {
    kind: CallKind,
    token: Token,
    handle: String,
    /// What becomes of the message by this; nothing by a heartbeat.
    outcome: Option<&'static str>,
    tries: u32,
    due: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CallKind {
    Delete,
    /// Visibility after a settlement, in seconds.
    Change(i32),
    /// Visibility of a message that is still held, in seconds.
    Beat(i32),
}

/// The calls of a batch, and those of them that failed.
type Called = (Vec<Call>, Result<Vec<BatchResultErrorEntry>, String>);

/// Holds everything received: heartbeats, deletes, releases.
struct Receipts {
    client: Client,
    url: String,
    visibility: Duration,
    metrics: Metrics,
    clock: Clock,
    held: HashMap<Token, Held>,
    waiting: Vec<Call>,
    calls: JoinSet<Called>,
    /// Messages whose end SQS has yet to confirm.
    settling: usize,
    in_flight: watch::Sender<usize>,
    /// Cancelled when there is no more time: then all that is held is given back.
    abandon: CancellationToken,
}

impl Receipts {
    /// Runs until nothing can be received any more and all is settled, or until it has to give back the rest.
    async fn run(
        mut self,
        mut holds: mpsc::UnboundedReceiver<Held>,
        mut settled: mpsc::UnboundedReceiver<(Token, Disposition)>,
    ) {
        let mut receiving = true;
        while receiving || !self.held.is_empty() || !self.waiting.is_empty() || !self.calls.is_empty() {
            self.start_due();
            self.publish();
            let wake = self.next_wake();
            tokio::select! {
                // Held before settled: a message is never settled before it is known.
                biased;
                held = holds.recv(), if receiving => match held {
                    Some(held) => _ = self.held.insert(held.token, held),
                    None => receiving = false,
                },
                Some((token, disposition)) = settled.recv() => self.settle(token, disposition),
                Some(done) = self.calls.join_next() => self.called(done),
                () = tokio::time::sleep_until(wake) => {}
                () = self.abandon.cancelled() => break,
            }
        }
        self.publish();
        while let Ok(held) = holds.try_recv() {
            self.held.insert(held.token, held);
        }
        while let Ok((token, disposition)) = settled.try_recv() {
            // Now a receipt that was let go means that there was no time.
            let disposition =
                if disposition == Disposition::Ack { disposition } else { Disposition::Release };
            self.settle(token, disposition);
        }
        let rest: Vec<Token> = self.held.keys().copied().collect();
        if !rest.is_empty() {
            info!(queue = self.url, messages = rest.len(), "messages are given back");
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
            warn!(queue = self.url, "not every message could be given back; they come back by themselves");
        }
        self.in_flight.send_replace(0);
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
            Disposition::Leave => return self.metrics.message(outcome),
        };
        self.settling += 1;
        let due = Instant::now() + GATHER;
        self.waiting.push(Call { kind, token, handle: held.handle, outcome: Some(outcome), tries: 0, due });
    }

    /// Counts what became of the message of a call that settles it.
    fn settled(&mut self, call: &Call, outcome: Option<&'static str>) {
        if let Some(outcome) = outcome.filter(|_| call.outcome.is_some()) {
            self.settling -= 1;
            self.metrics.message(outcome);
        }
    }

    /// Sends what is due: heartbeats, and deletes and changes that were gathered long enough or fill a batch.
    fn start_due(&mut self) {
        let now = Instant::now();
        let visibility = self.visibility;
        let mut give_back = Vec::new();
        for held in self.held.values_mut() {
            match held.due(now, visibility) {
                Due::Nothing => {}
                Due::GiveBack => give_back.push(held.token),
                Due::Extend(extension) => {
                    held.beat = now + extension / 2;
                    let kind = CallKind::Beat(seconds(extension));
                    self.waiting.push(Call {
                        kind,
                        token: held.token,
                        handle: held.handle.clone(),
                        outcome: None,
                        tries: 0,
                        due: now,
                    });
                }
            }
        }
        for token in give_back {
            warn!(queue = self.url, "a message is given back after 12 hours");
            self.settle(token, Disposition::Release);
        }
        for delete in [true, false] {
            let fits = |call: &Call| (call.kind == CallKind::Delete) == delete;
            let ready = self.waiting.iter().filter(|call| fits(call));
            if ready.clone().count() < BATCH && !ready.clone().any(|call| call.due <= now) {
                continue;
            }
            let batch: Vec<Call> = self.waiting.extract_if(.., |call| fits(call)).collect();
            for calls in batch.chunks(BATCH) {
                self.call(calls.to_vec(), delete);
            }
        }
    }

    fn call(&mut self, calls: Vec<Call>, delete: bool) {
        let (client, url) = (self.client.clone(), self.url.clone());
        self.calls.spawn(async move {
            let result = if delete {
                delete_batch(&client, url, &calls).await
            } else {
                change_batch(&client, url, &calls).await
            };
            (calls, result)
        });
    }

    /// Looks at what became of a batch: what failed for now is tried again, what can never work is let go.
    fn called(&mut self, done: Result<Called, JoinError>) {
        let (calls, result) = match done {
            Ok(done) => done,
            Err(panic) => return error!(queue = self.url, error = %panic, "a batch has failed"),
        };
        match result {
            Err(cause) => {
                warn!(queue = self.url, cause, messages = calls.len(), "a batch was not taken");
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
        debug!(queue = self.url, code, "a receipt is not valid any more");
        // It was taken from us, or it is deleted already; it is heard of again if it is not.
        self.settled(&call, Some("lost"));
        if self.held.remove(&call.token).is_some() {
            self.metrics.message("lost");
        }
    }

    fn try_again(&mut self, mut call: Call) {
        call.tries += 1;
        if matches!(call.kind, CallKind::Beat(_)) {
            if let Some(held) = self.held.get_mut(&call.token) {
                held.beat = Instant::now() + (self.visibility / 16).min(Duration::from_secs(5));
            }
        } else if call.tries < MOST_TRIES {
            call.due = Instant::now() + Duration::from_millis(200 << call.tries);
            self.waiting.push(call);
        } else {
            error!(queue = self.url, "a message could not be settled; it comes back");
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
        let age = oldest.and_then(|oldest| self.clock.now().duration_since(oldest).try_into().ok());
        let in_flight =
            InFlight { messages: self.held.len() + self.settling, oldest: age.unwrap_or_default() };
        self.metrics.in_flight(&self.url, in_flight);
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

async fn change_batch(
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
fn seconds(duration: Duration) -> i32 {
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
        let held = |beat| Held { token: 0, handle: String::new(), received, beat, sent_at: None };
        let after = |duration: Duration| held(received + visibility / 2).due(received + duration, visibility);
        assert_eq!(after(Duration::from_secs(149)), Due::Nothing);
        assert_eq!(after(Duration::from_secs(150)), Due::Extend(visibility));
        let before_the_end = |minutes| HANDLE_LIFE.saturating_sub(Duration::from_mins(minutes));
        assert_eq!(after(before_the_end(3)), Due::Extend(Duration::from_mins(2)));
        assert_eq!(after(before_the_end(1)), Due::GiveBack);
        assert_eq!(after(HANDLE_LIFE + visibility), Due::GiveBack);
    }

    #[test]
    fn regions() {
        let config = |url: &str| QueueConfig {
            url: url.to_owned(),
            region: None,
            role: None,
            visibility: Duration::from_mins(5),
            buckets: Vec::new(),
        };
        let cases = [
            ("https://sqs.eu-central-1.amazonaws.com/1/q", Some("eu-central-1")),
            ("https://sqs.cn-north-1.amazonaws.com.cn/1/q", Some("cn-north-1")),
            ("https://eu-west-1.queue.amazonaws.com/1/q", Some("eu-west-1")),
            ("http://127.0.0.1:4566/1/q", None),
        ];
        for (url, expected) in cases {
            assert_eq!(Queue::region(&config(url)).as_deref(), expected, "{url}");
        }
        let set = QueueConfig { region: Some("x".into()), ..config("http://127.0.0.1:4566/1/q") };
        assert_eq!(Queue::region(&set).as_deref(), Some("x"));
    }

    #[test]
    fn seconds_are_rounded_up_and_bounded() {
        assert_eq!(seconds(Duration::from_millis(1500)), 2);
        assert_eq!(seconds(Duration::from_hours(24)), 43_200);
    }
}
