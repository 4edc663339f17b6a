//! Where alerts go: standard output, files, webhooks; one sender for each, independent of the others.

mod backoff;
mod egress;
mod file;
mod secret;
mod sender;
mod webhook;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::sigma::Level;

pub use backoff::Backoff;
pub use egress::{Egress, EgressError};
pub use secret::{Secret, SecretError, SecretOrigin};
pub use sender::{Backlog, Health, Outcome, Report, Sender, SenderHandle, UNNOTED};
pub use webhook::{Format, WebhookSettings};

use super::Alert;
use file::File;
use webhook::Webhook;

/// Sinks that can be configured: more than anyone needs.
pub const MOST_SINKS: usize = 64;

/// A sink as it was configured.
#[derive(Debug, Clone)]
pub struct SinkSettings {
    /// Its name in logs and metrics.
    pub name: String,
    /// Alerts below this level are not sent to it.
    pub min_level: Level,
    /// Alerts that come later than this beyond CloudTrail's usual delivery are not sent to it.
    pub max_late: Option<Duration>,
    /// Whether alerts count as delivered only once this sink took them. Otherwise it never holds anything
    /// back, and alerts that it cannot take in time are dropped and counted.
    pub required: bool,
    /// Whether it also gets the final counts of windows, as later revisions of their alerts.
    pub updates: bool,
    /// Where it leads.
    pub target: SinkTarget,
}

impl SinkSettings {
    /// Returns true for alerts that are sent to it; all others count as suppressed.
    #[must_use]
    pub fn wants(&self, alert: &Alert) -> bool {
        let late = alert.late_by.and_then(|seconds| u64::try_from(seconds).ok());
        let is_too_late = self.max_late.zip(late).is_some_and(|(most, late)| late > most.as_secs());
        alert.level >= self.min_level && (alert.revision == 1 || self.updates) && !is_too_late
    }
}

/// Where a sink leads.
#[derive(Debug, Clone)]
pub enum SinkTarget {
    /// Standard output, one alert a line.
    Stdout,
    /// A file that is appended to, one alert a line. Opened for each alert, so that it may be moved away.
    File(PathBuf),
    /// A webhook.
    Webhook(Box<WebhookSettings>),
}

/// A sink that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// A file of certificates or keys that cannot be read.
    #[error("{path}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of certificates or keys that holds something else.
    #[error("{path}: not a usable certificate or key", path = .path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        source: reqwest::Error,
    },
    /// The HTTP client.
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
    /// A secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// An open sink.
#[derive(Debug)]
enum Sink {
    Stdout,
    File(File),
    Webhook(Box<Webhook>),
}

/// What became of one attempt to deliver an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Attempt {
    /// The sink has it.
    Taken,
    /// Later it may work: after this time at the earliest, if the receiver said so.
    Later { reason: String, after: Option<Duration> },
    /// The sink is set up wrongly; nothing will work until someone repairs it.
    SetUpWrongly { reason: String },
    /// The receiver does not want this alert.
    Refused { reason: String },
    /// Nobody reads standard output any more.
    ReaderGone,
}

impl Sink {
    fn open(settings: &SinkSettings) -> Result<Self, SinkError> {
        Ok(match &settings.target {
            SinkTarget::Stdout => Sink::Stdout,
            SinkTarget::File(path) => Sink::File(File::new(path.clone())),
            SinkTarget::Webhook(webhook) => Sink::Webhook(Box::new(Webhook::new(webhook)?)),
        })
    }

    /// How many alerts may be on their way at once. Lines keep their order.
    fn window(&self) -> usize {
        match self {
            Sink::Stdout | Sink::File(_) => 1,
            Sink::Webhook(_) => 8,
        }
    }

    async fn deliver(&self, alert: &Alert, now: jiff::Timestamp) -> Attempt {
        match self {
            Sink::Stdout => file::write_line_to_stdout(alert).await,
            Sink::File(file) => file.write_line(alert).await,
            Sink::Webhook(webhook) => webhook.post(alert, now).await,
        }
    }
}

/// An error with its causes, of which the innermost tells most.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
