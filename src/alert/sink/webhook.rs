//! Webhooks: one POST per alert, signed after Standard Webhooks if there is a secret.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Client, Identity, Proxy, Response, StatusCode, redirect};
use sha2::Sha256;
use url::Url;

use super::{Attempt, Secret, SecretError, SinkError, chain, egress};
use crate::alert::Alert;

/// How long a receiver may ask us to wait: one hour.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);
/// Bytes of a response that are read to keep its connection.
const MAX_RESPONSE: usize = 64 << 10;

/// A webhook as it was configured.
#[derive(Clone)]
pub struct WebhookSettings {
    /// Where to; checked by [`Egress`](super::Egress).
    pub url: Url,
    /// The form of the body.
    pub format: Format,
    /// Time for one attempt.
    pub timeout: Duration,
    /// With each of them the body is signed.
    pub secrets: Vec<Secret>,
    /// Sent as `Authorization`: `Bearer` or, to Splunk, `Splunk`.
    pub token: Option<Secret>,
    /// A larger body is shortened, bytes.
    pub max_bytes: usize,
    /// The certificates to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// The client's certificate and key.
    pub client: Option<(PathBuf, PathBuf)>,
    /// A proxy; none is taken from the environment.
    pub proxy: Option<Url>,
}

impl fmt::Debug for WebhookSettings {
    /// Without the URL, whose path is a secret at some receivers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookSettings").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}

impl WebhookSettings {
    /// The keys that sign, as they stand now.
    fn keys(&self) -> Result<Vec<Vec<u8>>, SecretError> {
        self.secrets.iter().map(Secret::signing_key).collect()
    }

    /// The `Authorization` header, as it stands now.
    fn authorization(&self) -> Result<Option<HeaderValue>, SecretError> {
        let scheme = match self.format {
            Format::Trailhound => "Bearer",
            Format::SplunkHec => "Splunk",
        };
        self.token.as_ref().map(|token| token.authorization(scheme)).transpose()
    }
}

/// The form of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The alert document.
    Trailhound,
    /// The alert document in the envelope of Splunk's HTTP event collector.
    SplunkHec,
}

impl Format {
    /// Its name in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Trailhound => "trailhound",
            Format::SplunkHec => "splunk-hec",
        }
    }
}

/// An open webhook.
#[derive(Debug)]
pub(super) struct Webhook {
    client: Client,
    settings: WebhookSettings,
}

impl Webhook {
    pub(super) fn new(settings: &WebhookSettings) -> Result<Self, SinkError> {
        settings.keys()?;
        settings.authorization()?;
        let mut client = Client::builder()
            .user_agent(concat!("trailhound/", env!("CARGO_PKG_VERSION")))
            .timeout(settings.timeout)
            .connect_timeout(settings.timeout.min(Duration::from_secs(10)))
            .redirect(redirect::Policy::none())
            .dns_resolver(egress::resolver())
            .no_proxy();
        if let Some(path) = &settings.ca {
            let certificates = Certificate::from_pem_bundle(&read(path)?);
            client = client.tls_certs_only(certificates.map_err(|source| certificate(path, source))?);
        }
        if let Some((cert, key)) = &settings.client {
            let pem = [read(cert)?, b"\n".to_vec(), read(key)?].concat();
            client = client.identity(Identity::from_pem(&pem).map_err(|source| certificate(cert, source))?);
        }
        if let Some(proxy) = &settings.proxy {
            client = client.proxy(Proxy::all(proxy.clone()).map_err(SinkError::Client)?);
        }
        Ok(Self { client: client.build().map_err(SinkError::Client)?, settings: settings.clone() })
    }

    pub(super) async fn post(&self, alert: &Alert, now: Timestamp) -> Attempt {
        let body = self.body(alert);
        let headers = match self.headers(alert, &body, now) {
            Ok(headers) => headers,
            Err(error) => return Attempt::SetUpWrongly { reason: chain(&error) },
        };
        let request = self.client.post(self.settings.url.clone()).headers(headers).body(body);
        match request.send().await {
            Ok(response) => judge(response, now).await,
            // The URL may hold a secret, so that it is left out.
            Err(error) => Attempt::Later { reason: chain(&error.without_url()), after: None },
        }
    }

    fn body(&self, alert: &Alert) -> String {
        let fits = alert.document.len() <= self.settings.max_bytes;
        let document = if fits { alert.document.as_str() } else { &alert.shortened() };
        match self.settings.format {
            Format::Trailhound => document.to_owned(),
            Format::SplunkHec => {
                let time = alert.time.map_or_else(String::new, |time| {
                    let millis = time.as_millisecond();
                    format!("\"time\":{}.{:03},", millis.div_euclid(1000), millis.rem_euclid(1000))
                });
                format!(
                    "{{{time}\"source\":\"trailhound\",\"sourcetype\":\"trailhound:alert\",\"event\":{document}}}"
                )
            }
        }
    }

    fn headers(&self, alert: &Alert, body: &str, now: Timestamp) -> Result<HeaderMap, SecretError> {
        let id = alert.delivery_id();
        let time = now.as_second().to_string();
        let mut headers = HeaderMap::new();
        let value =
            |text: &str| HeaderValue::from_str(text).expect("hexadecimal digits, decimal digits or base64");
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("idempotency-key", value(&id));
        headers.insert("webhook-id", value(&id));
        headers.insert("webhook-timestamp", value(&time));
        let keys = self.settings.keys()?;
        let signatures: Vec<String> = keys.iter().map(|key| signature(key, &id, &time, body)).collect();
        if !signatures.is_empty() {
            headers.insert("webhook-signature", value(&signatures.join(" ")));
        }
        if let Some(token) = self.settings.authorization()? {
            headers.insert(AUTHORIZATION, token);
        }
        Ok(headers)
    }
}

/// `v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`.
fn signature(key: &[u8], id: &str, time: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in [id, ".", time, ".", body] {
        mac.update(part.as_bytes());
    }
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

async fn judge(mut response: Response, now: Timestamp) -> Attempt {
    let status = response.status();
    let after = retry_after(response.headers(), now);
    let mut read = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        read += chunk.len();
        if read > MAX_RESPONSE {
            break;
        }
    }
    let reason = format!("the receiver answered {status}");
    match status {
        status if status.is_success() => Attempt::Taken,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            Attempt::Later { reason, after }
        }
        status if status.is_server_error() => Attempt::Later { reason, after },
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE => {
            Attempt::SetUpWrongly { reason }
        }
        status if status.is_redirection() => Attempt::SetUpWrongly { reason },
        _ => Attempt::Refused { reason },
    }
}

/// `Retry-After` in seconds or as a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let until = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
            Duration::try_from(until.duration_since(now)).unwrap_or_default()
        }
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

fn read(path: &Path) -> Result<Vec<u8>, SinkError> {
    std::fs::read(path).map_err(|source| SinkError::File { path: path.to_owned(), source })
}

fn certificate(path: &Path, source: reqwest::Error) -> SinkError {
    SinkError::Certificate { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_follow_the_specification() {
        // The example of the specification of Standard Webhooks.
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = r#"{"test": 2432232314}"#;
        let found = signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body);
        assert_eq!(found, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn retry_after_in_both_forms() {
        let now: Timestamp = "2026-03-01T10:00:00Z".parse().unwrap();
        let cases = [
            ("7", Some(7)),
            ("Sun, 01 Mar 2026 10:00:30 GMT", Some(30)),
            ("Sun, 01 Mar 2026 09:00:00 GMT", Some(0)),
            ("99999999", Some(3600)),
            ("soon", None),
            ("-1", None),
        ];
        for (text, expected) in cases {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]);
            assert_eq!(retry_after(&headers, now), expected.map(Duration::from_secs), "{text}");
        }
    }
}
