//! Objects from S3 and from whatever speaks like it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::Builder;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::{GetObjectError, GetObjectOutput};
use aws_sdk_s3::primitives::ByteStream;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::{ATTEMPT, Aws, OPERATION, describe};
use crate::announce::ObjectRef;
use crate::config::QueueConfig;
use crate::fetch::{Body, FetchError, Fetched, ObjectStore, Refusal, Room, WHOLE_LIMIT};

/// How long the next bytes of an object may take.
const STALL: Duration = Duration::from_secs(30);
/// The least time for an answer to a GET, however short the visibility.
const SHORTEST_ANSWER: Duration = Duration::from_secs(10);
/// Times that a download is begun again after it broke off.
const DOWNLOADS: u32 = 3;

/// The buckets that a queue may announce.
#[derive(Debug, Clone)]
pub struct Buckets {
    buckets: HashMap<String, Bucket>,
    /// Stored bytes of an object beyond which the rest is not fetched: it could not be inflated, either.
    most_bytes: u64,
}

#[derive(Debug, Clone)]
struct Bucket {
    client: Client,
    owner: Option<String>,
    prefixes: Vec<String>,
}

impl Buckets {
    /// Clients for the buckets of a queue, each with its region and role.
    pub async fn open(aws: &Aws, queue: &QueueConfig, region: Option<&str>, most_bytes: u64) -> Self {
        let mut buckets = HashMap::new();
        for bucket in &queue.buckets {
            let region = bucket.region.as_deref().or(region);
            let config = aws.config(region, bucket.role.as_ref()).await;
            let settings = Builder::from(&config)
                .force_path_style(aws.custom_endpoint)
                .timeout_config(answer_within(queue.visibility, config.timeout_config()));
            let client = Client::from_conf(settings.build());
            let (owner, prefixes) = (bucket.owner.clone(), bucket.prefixes.clone());
            buckets.insert(bucket.name.clone(), Bucket { client, owner, prefixes });
        }
        Self { buckets, most_bytes }
    }

    async fn download(
        &self,
        bucket: &Bucket,
        object: &ObjectRef,
        room: &mut impl Room,
    ) -> Result<Fetched, FetchError> {
        let output = bucket
            .client
            .get_object()
            .bucket(&object.bucket)
            .key(&object.key)
            .set_version_id(object.version.clone())
            .set_expected_bucket_owner(bucket.owner.clone())
            .send()
            .await
            .map_err(|error| classify(&error))?;
        let GetObjectOutput { body, content_length, version_id, e_tag, .. } = output;
        let size = content_length.and_then(|length| u64::try_from(length).ok()).unwrap_or_default();
        // Beyond that it is not held in memory.
        room.make(usize::try_from(size.min(WHOLE_LIMIT)).unwrap_or_default()).await;
        let body = self.body(body, size).await.map_err(|error| FetchError::Unavailable(error.into()))?;
        let version = version_id.filter(|version| version != "null").or_else(|| object.version.clone());
        Ok(Fetched { body, version, content: e_tag })
    }

    /// Takes in the bytes: into memory, or into a file that has no name if they are many.
    async fn body(&self, mut stream: ByteStream, size: u64) -> io::Result<Body> {
        let mut held = Vec::with_capacity(usize::try_from(size.min(WHOLE_LIMIT)).unwrap_or_default());
        let mut spool: Option<File> = None;
        let mut taken = 0;
        while taken <= self.most_bytes {
            let next = timeout(STALL, stream.next()).await;
            let Some(chunk) =
                next.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the download stalled"))?
            else {
                break;
            };
            let chunk = chunk.map_err(|error| io::Error::other(describe(&error)))?;
            taken += chunk.len() as u64;
            held.extend_from_slice(&chunk);
            if held.len() as u64 > WHOLE_LIMIT {
                let bytes = std::mem::take(&mut held);
                let file = spool.take();
                spool = Some(spawn_blocking(move || append(file, &bytes)).await??);
            }
        }
        match spool {
            None => Ok(Body::Whole(held)),
            Some(file) => {
                let mut file = spawn_blocking(move || append(Some(file), &held)).await??;
                file.rewind()?;
                Ok(Body::Stream(Box::new(file)))
            }
        }
    }
}

impl ObjectStore for Buckets {
    async fn fetch(&self, object: &ObjectRef, room: &mut impl Room) -> Result<Fetched, FetchError> {
        let Some(bucket) = self.buckets.get(&object.bucket) else {
            return Err(FetchError::Denied(Refusal::Bucket.into()));
        };
        let mut tries = 0;
        loop {
            tries += 1;
            match self.download(bucket, object, room).await {
                Err(FetchError::Unavailable(error)) if tries < DOWNLOADS => {
                    tracing::debug!(key = object.key, %error, "a download broke off");
                }
                outcome => return outcome,
            }
        }
    }

    fn admits(&self, object: &ObjectRef) -> Result<(), Refusal> {
        let bucket = self.buckets.get(&object.bucket).ok_or(Refusal::Bucket)?;
        let inside = |prefix: &String| object.key.starts_with(prefix.as_str());
        let allowed = bucket.prefixes.is_empty() || bucket.prefixes.iter().any(inside);
        if allowed { Ok(()) } else { Err(Refusal::Prefix) }
    }
}

/// Time-outs of a GET until its bytes begin to come: no longer in all than its message stays hidden after a heartbeat,
/// so that a store which does not answer is given up before others could have the message.
fn answer_within(visibility: Duration, others: Option<&TimeoutConfig>) -> TimeoutConfig {
    let most = visibility.clamp(SHORTEST_ANSWER, OPERATION);
    let others = others.map_or_else(TimeoutConfig::builder, TimeoutConfig::to_builder);
    others.operation_timeout(most).operation_attempt_timeout(most.min(ATTEMPT)).build()
}

/// Writes to the end of a spool, which is made if there is none.
fn append(spool: Option<File>, bytes: &[u8]) -> io::Result<File> {
    let mut spool = match spool {
        Some(spool) => spool,
        None => tempfile::tempfile()?,
    };
    spool.write_all(bytes)?;
    Ok(spool)
}

/// Tells errors apart by what the line does about them.
fn classify(error: &SdkError<GetObjectError>) -> FetchError {
    let status = error.raw_response().map(|response| response.status().as_u16());
    let code = error.code().unwrap_or_default().to_owned();
    let region = error.raw_response().and_then(|response| response.headers().get("x-amz-bucket-region"));
    let mut text = describe(error);
    if let (Some(301 | 400), Some(region)) = (status, region) {
        text = format!("{text}; the bucket is in {region}, which can be set as its `region`");
    }
    let is_kms = code.starts_with("KMS.") || text.to_ascii_lowercase().contains("kms:");
    let cause = text.into();
    match (status, code.as_str()) {
        (_, "InvalidObjectState") => FetchError::Archived(cause),
        (
            _,
            "NoSuchKey" | "NoSuchVersion" | "NoSuchBucket" | "InvalidArgument" | "InvalidURI"
            | "KeyTooLongError",
        )
        | (Some(404 | 405), _) => FetchError::Missing(cause),
        (Some(400 | 403), _) if is_kms => FetchError::Kms(cause),
        (Some(301 | 400 | 401 | 403), code)
            if !matches!(code, "RequestTimeout" | "ThrottlingException" | "SlowDown") =>
        {
            FetchError::Denied(cause)
        }
        _ => FetchError::Unavailable(cause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_takes_no_longer_than_the_visibility() {
        let seconds = |visibility| {
            let others = TimeoutConfig::builder().read_timeout(STALL).build();
            let timeouts = answer_within(Duration::from_secs(visibility), Some(&others));
            assert_eq!(timeouts.read_timeout(), Some(STALL), "the others stay");
            [timeouts.operation_timeout(), timeouts.operation_attempt_timeout()]
                .map(|most| most.unwrap().as_secs())
        };
        let cases = [(2, [10, 10]), (30, [30, 30]), (60, [60, 40]), (300, [120, 40])];
        for (visibility, expected) in cases {
            assert_eq!(seconds(visibility), expected, "{visibility} s");
        }
    }
}
