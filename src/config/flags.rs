//! What the command line sets, and how it is laid over the file.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::queue::{BucketConfig, DEFAULT_VISIBILITY, QueueConfig, queue_url};
use super::value::{Place, Problem};
use super::{Config, LogFormat};
use crate::alert::{Egress, SinkSettings, SinkTarget, WebhookSettings};
use crate::sigma::Level;

/// What the command line sets; lists are added to those of the file.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--queue-url`
    pub queue_urls: Vec<String>,
    /// `--bucket`: the allow-list of the queues of the command line.
    pub buckets: Vec<String>,
    /// `--watch`
    pub watch: Vec<PathBuf>,
    /// `--webhook`
    pub webhooks: Vec<String>,
    /// `--detections`
    pub detections: Vec<PathBuf>,
    /// `--no-default-detections`
    pub no_default_detections: bool,
    /// `--keep-going`
    pub keep_going: bool,
    /// `--values`
    pub values: Option<PathBuf>,
    /// `--listen`
    pub listen: Option<SocketAddr>,
    /// `--state`
    pub state: Option<PathBuf>,
    /// `--log`
    pub log: Option<LogFormat>,
}

impl Config {
    /// Lays the command line over the file.
    pub(super) fn apply(&mut self, flags: Flags, problems: &mut Vec<Problem>) {
        let mut refuse = |flag, message: String| problems.push(Problem { place: Place::Flag(flag), message });
        if flags.queue_urls.is_empty() && !flags.buckets.is_empty() {
            refuse(
                "--bucket",
                "is the allow-list of queues given by --queue-url, and there is none".to_owned(),
            );
        }
        if !flags.queue_urls.is_empty() && flags.buckets.is_empty() {
            refuse("--queue-url", "needs --bucket: the buckets that the queue may announce".to_owned());
        }
        for url in flags.queue_urls {
            if let Err(why) = queue_url(&url) {
                refuse("--queue-url", why);
            }
            let buckets = flags.buckets.iter().map(|name| BucketConfig {
                name: name.clone(),
                owner: None,
                prefixes: Vec::new(),
                region: None,
                role: None,
            });
            self.queues.push(QueueConfig {
                url,
                region: None,
                role: None,
                visibility: DEFAULT_VISIBILITY,
                buckets: buckets.collect(),
            });
        }
        for (number, url) in flags.webhooks.iter().enumerate() {
            match Egress::default().check(url) {
                Ok(url) => self.sinks.push(SinkSettings {
                    name: format!("webhook-{}", number + 1),
                    min_level: Level::Informational,
                    max_late: None,
                    required: true,
                    updates: false,
                    target: SinkTarget::Webhook(Box::new(WebhookSettings::to(url))),
                }),
                Err(error) => refuse("--webhook", error.to_string()),
            }
        }
        self.watch.extend(flags.watch);
        self.detections.extend(flags.detections);
        self.default_detections &= !flags.no_default_detections;
        self.keep_going |= flags.keep_going;
        self.values = flags.values.or(self.values.take());
        self.listen = flags.listen.or(self.listen);
        self.state = flags.state.or(self.state.take());
        self.log.format = flags.log.unwrap_or(self.log.format);
    }
}
