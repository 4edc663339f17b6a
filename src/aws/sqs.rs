//! A queue as a source of announcements: its settings, and the two loops that read it.

use std::ops::RangeInclusive;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};
use url::Url;

use super::receipts::Receipts;
use super::receiver::Receiver;
use super::release::release;
use super::{Aws, describe};
use crate::announce::Delivery;
use crate::clock::Clock;
use crate::config::QueueConfig;
use crate::intake::{Announcer, Source};
use crate::metrics::Metrics;
use crate::state::SourceHandles;

/// A dead-letter queue that takes messages earlier hides what a few more tries would repair.
pub(super) const LOW_RECEIVE_COUNT: u64 = 5;

/// How long a receive waits for messages, at least and at most, in seconds.
const WAIT: RangeInclusive<u64> = 1..=5;

/// A queue and what reads it.
#[derive(Debug, Clone)]
pub struct Queue {
    pub(super) client: Client,
    pub(super) url: String,
    pub(super) visibility: Duration,
    /// How long a receive waits for messages.
    pub(super) wait: Duration,
    pub(super) metrics: Metrics,
    pub(super) clock: Clock,
    /// The receipt handles that outlive the process.
    handles: Option<SourceHandles>,
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
        let wait = Duration::from_secs(*WAIT.end());
        Self {
            client,
            url: config.url.clone(),
            visibility: config.visibility,
            wait,
            metrics,
            clock,
            handles: None,
        }
    }

    /// The same queue, read with receives that end before so much time to drain does: what is given back while
    /// a receive is open goes to that one, and to nobody.
    #[must_use]
    pub fn draining_within(self, grace: Duration) -> Self {
        let wait = Duration::from_secs((grace.as_secs() / 2).clamp(*WAIT.start(), *WAIT.end()));
        Self { wait, ..self }
    }

    /// The same queue, whose messages in flight are kept with these handles: those of the process before this one
    /// are made visible at once.
    #[must_use]
    pub fn keeping(self, handles: Option<SourceHandles>) -> Self {
        Self { handles, ..self }
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
        mut self,
        source: Source,
        deliveries: mpsc::Sender<Delivery>,
        stop: CancellationToken,
        abandon: CancellationToken,
    ) {
        let handles = self.handles.take();
        let released = stop.run_until_cancelled(release(self.clone(), handles.clone()));
        let (receipts, hands) = Receipts::new(self.clone(), handles, abandon.clone());
        let receiver = Receiver::new(self.clone(), source, deliveries, hands);
        let received = async {
            if let Some(Err(error)) = stop.run_until_cancelled(self.inspect()).await {
                // The receiver goes on trying, and warns as long as it fails.
                error!(%error, "the queue cannot be looked at");
            }
            receiver.run(stop.clone(), abandon).await;
        };
        tokio::join!(released, received, receipts.run());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
