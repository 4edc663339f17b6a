//! AWS: the only folder that names its crates.
//!
//! Settings and credentials come from the SDK's own chain, endpoints included. All calls share one HTTP
//! client and have explicit time-outs; the SDK itself sets none but for connecting.

mod receipts;
mod receiver;
mod s3;
mod sqs;

use std::time::Duration;

use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

pub use s3::Buckets;
pub use sqs::{Queue, QueueError};

use crate::config::RoleConfig;

/// The name of our sessions in other people's CloudTrail.
const SESSION: &str = "trailhound";

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
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(5))
            // Longer than a long poll of SQS.
            .read_timeout(Duration::from_secs(30))
            .operation_attempt_timeout(Duration::from_secs(40))
            .operation_timeout(Duration::from_mins(2))
            .build();
        let base = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .timeout_config(timeouts)
            .load()
            .await;
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

/// An error of the SDK with its causes, of which the innermost tells most.
fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    let mut texts: Vec<String> =
        std::iter::once(error.to_string()).chain(causes.map(ToString::to_string)).collect();
    texts.dedup();
    texts.join(": ")
}
