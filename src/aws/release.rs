//! The release of what the process before this one had in flight: its messages are made visible at once.
//!
//! Only time is saved by it, so that it is tried once and for a bounded time. A message that was deleted meanwhile, or
//! whose visibility timeout has passed, is no longer ours to release; that is as usual as the opposite.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, info};

use super::receipts::{BATCH, Call, change_batch};
use super::receiver::BUSY_WAIT;
use super::sqs::{LOW_RECEIVE_COUNT, Queue};
use crate::state::SourceHandles;

/// Time for the release.
const MOST_TIME: Duration = Duration::from_secs(15);
/// Batches that are under way at once.
const AT_ONCE: usize = 4;

/// Makes the messages visible whose handles were left, but for those that were received often: where one of them is
/// the reason that the program dies again and again, none may reach the dead-letter queue within seconds.
pub(super) async fn release(queue: Queue, handles: Option<SourceHandles>) {
    let Some(handles) = handles.filter(|handles| !handles.left().is_empty()) else { return };
    let (fresh, worn): (Vec<_>, Vec<_>) =
        handles.left().iter().partition(|left| u64::from(left.receives) < LOW_RECEIVE_COUNT);
    let calls: Vec<Call> = fresh.iter().map(|left| Call::release(left.token, left.text.clone())).collect();
    // By then no receive of that process is open any more, which would take them.
    sleep(BUSY_WAIT).await;
    let mut released = 0;
    let all = async {
        let mut batches = JoinSet::new();
        for calls in calls.chunks(BATCH) {
            if batches.len() >= AT_ONCE {
                released += batches.join_next().await.and_then(Result::ok).unwrap_or_default();
            }
            batches.spawn(release_batch(queue.clone(), calls.to_vec()));
        }
        while let Some(done) = batches.join_next().await {
            released += done.unwrap_or_default();
        }
    };
    let in_time = timeout(MOST_TIME, all).await.is_ok();
    for left in handles.left() {
        handles.settled(left.token);
    }
    info!(
        queue = queue.url,
        messages = released,
        others = handles.left().len() - released,
        often_received = worn.len(),
        in_time,
        "messages that were in flight when the last process ended are visible again"
    );
}

/// Makes the messages of a batch visible; answers with how many of them could be.
async fn release_batch(queue: Queue, calls: Vec<Call>) -> usize {
    match change_batch(&queue.client, queue.url.clone(), &calls).await {
        Ok(failed) => calls.len() - failed.len().min(calls.len()),
        Err(cause) => {
            debug!(queue = queue.url, cause, "a batch was not released");
            0
        }
    }
}
