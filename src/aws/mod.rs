//! AWS: the only folder that names its crates.
//!
//! Settings and credentials come from the SDK's own chain, endpoints included. All calls share one HTTP
//! client and have explicit time-outs; the SDK itself sets none but for connecting.

mod receipts;
mod receiver;
mod release;
mod s3;
mod sqs;

use std::time::Duration;

use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

pub use s3::Buckets;
pub use sqs::{Queue, QueueError};

use crate::config::RoleConfig;

/// The name of our sessions in other people's CloudTrail.
const SESSION: &str = "trailhound";

/// The time-outs of one try of a call, and of the call with all its tries.
const ATTEMPT: Duration = Duration::from_secs(40);
const OPERATION: Duration = Duration::from_mins(2);

/// Where clients come from: the SDK's chain, loaded once.
#[derive(Debug, Clone)]
pub struct Aws {
    base: SdkConfig,
    /// Whether S3 is someone else's, whose buckets have no host names.
    custom_endpoint: bool,
}

impl Aws {
    /// Loads settings from the SDK's chain. `custom_endpoint` says that the environment names an endpoint.
    pub async fn load(custom_endpoint: bool) -> Self {
        let base = loader().load().await;
        let custom_endpoint = custom_endpoint || base.endpoint_url().is_some();
        Self { base, custom_endpoint }
    }

    /// The settings for a region and a role.
    async fn config(&self, region: Option<&str>, role: Option<&RoleConfig>) -> SdkConfig {
        let mut base = self.base.clone();
        if let Some(region) = region {
            base = base.into_builder().region(Region::new(region.to_owned())).build();
        }
        let Some(role) = role else { return base };
        let mut assumed = AssumeRoleProvider::builder(&role.arn).session_name(SESSION).configure(&base);
        if let Some(id) = &role.external_id {
            assumed = assumed.external_id(id);
        }
        let credentials = SharedCredentialsProvider::new(assumed.build().await);
        base.into_builder().credentials_provider(credentials).build()
    }
}

/// The SDK's chain with our client and our time-outs, which hold for every service, STS included.
fn loader() -> ConfigLoader {
    let http =
        aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(5))
        // Longer than a long poll of SQS.
        .read_timeout(Duration::from_secs(30))
        .operation_attempt_timeout(ATTEMPT)
        .operation_timeout(OPERATION)
        .build();
    aws_config::defaults(BehaviorVersion::latest()).http_client(http).timeout_config(timeouts)
}

/// An error of the SDK with its causes, of which the innermost tells most.
fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    let mut texts: Vec<String> =
        std::iter::once(error.to_string()).chain(causes.map(ToString::to_string)).collect();
    texts.dedup();
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::*;
    use crate::announce::ObjectRef;
    use crate::clock::Clock;
    use crate::config::{BucketConfig, QueueConfig};
    use crate::fetch::{FetchError, ObjectStore, Room};
    use crate::metrics::Metrics;

    /// Headers of an object whose content never comes.
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nfirst";

    struct NoRoom;

    impl Room for NoRoom {
        async fn make(&mut self, _: usize) {}
    }

    /// A server that takes every connection, says this, and then nothing more. Answers with its endpoint.
    async fn silent(first: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let mut taken = Vec::new();
            loop {
                let (mut connection, _) = listener.accept().await.unwrap();
                let mut request = [0; 4096];
                if !first.is_empty() && connection.read(&mut request).await.is_ok() {
                    connection.write_all(first).await.unwrap();
                }
                taken.push(connection);
            }
        });
        endpoint
    }

    async fn aws(endpoint: String) -> Aws {
        let credentials = aws_credential_types::Credentials::new("a", "s", None, None, "test");
        let loader = loader().endpoint_url(endpoint).region("us-east-1").credentials_provider(credentials);
        Aws { base: loader.load().await, custom_endpoint: true }
    }

    fn queue(role: Option<&str>) -> QueueConfig {
        let role = role.map(|arn| RoleConfig { arn: arn.into(), external_id: None });
        let bucket = BucketConfig {
            name: "b".into(),
            owner: None,
            prefixes: Vec::new(),
            region: None,
            role: role.clone(),
        };
        QueueConfig {
            url: "https://sqs.us-east-1.amazonaws.com/111122223333/q".into(),
            region: None,
            role,
            visibility: Duration::from_mins(5),
            buckets: vec![bucket],
        }
    }

    async fn fetch(first: &'static [u8], role: Option<&str>) -> String {
        let buckets = Buckets::open(&aws(silent(first).await).await, &queue(role), None, 1 << 20).await;
        let object = ObjectRef { bucket: "b".into(), key: "k".into(), version: None, size: None };
        match buckets.fetch(&object, &mut NoRoom).await {
            Err(FetchError::Unavailable(error)) => describe(&*error),
            other => panic!("{other:?}"),
        }
    }

    async fn inspect(role: Option<&str>) -> String {
        let config = queue(role);
        let aws = aws(silent(b"").await).await;
        let queue = Queue::open(&aws, &config, Metrics::default(), Clock::system()).await;
        queue.inspect().await.unwrap_err().to_string()
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_never_answers_is_given_up() {
        let role = Some("arn:aws:iam::111122223333:role/r");
        for name in ["sqs", "s3", "s3 within a body", "sqs after sts", "s3 after sts"] {
            let started = Instant::now();
            let error = match name {
                "sqs" => inspect(None).await,
                "s3" => fetch(b"", None).await,
                "s3 within a body" => fetch(HEAD, None).await,
                "sqs after sts" => inspect(role).await,
                _ => fetch(b"", role).await,
            };
            let told = error.to_lowercase();
            assert!(told.contains("time") || told.contains("stalled"), "{name}: {error}");
            assert!(started.elapsed() < Duration::from_mins(7), "{name}: {:?}", started.elapsed());
        }
    }
}
