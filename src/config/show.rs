//! The effective configuration as TOML, without secrets.

use std::time::Duration;

use toml::{Table, Value};

use super::{BucketConfig, Config, LogFormat, QueueConfig, ReloadOn, RoleConfig};
use crate::alert::{Secret, SecretOrigin, SinkSettings, SinkTarget, WebhookSettings};
use crate::sigma::{Adjustment, Level};

impl Config {
    /// The configuration as TOML. Of secrets it says where they come from, of webhook URLs only the host:
    /// their paths are secrets, too, at some receivers.
    #[must_use]
    pub fn show(&self) -> String {
        let mut table = Table::new();
        let mut put = |key: &str, value: Value| _ = table.insert(key.to_owned(), value);
        put("detections", list(self.detections.iter().map(|path| path.display().to_string())));
        put("default_detections", self.default_detections.into());
        put("keep_going", self.keep_going.into());
        put("reload", if self.reload == ReloadOn::Change { "change" } else { "signal" }.into());
        if let Some(values) = &self.values {
            put("values", values.display().to_string().into());
        }
        put("tuning", Value::Array(self.tuning.adjustments.iter().map(show_adjustment).collect()));
        if let Some(address) = self.listen {
            put("listen", address.to_string().into());
        }
        if let Some(state) = &self.state {
            put("state", state.display().to_string().into());
        }
        put("lateness", duration(self.windows.lateness));
        put("window_idle", duration(self.windows.idle));
        put("forget_windows", self.windows.forget.into());
        put("log", if self.log.format == LogFormat::Json { "json" } else { "text" }.into());
        put("grace", duration(self.grace));
        put("watch", list(self.watch.iter().map(|path| path.display().to_string())));
        put("allow_http", list(self.allow_http.iter().cloned()));
        put("queue", Value::Array(self.queues.iter().map(|queue| Value::Table(show_queue(queue))).collect()));
        for (key, wanted) in [("webhook", true), ("file", false)] {
            let is_webhook = |sink: &&SinkSettings| matches!(sink.target, SinkTarget::Webhook(_)) == wanted;
            let sinks = self.sinks.iter().filter(is_webhook).map(|sink| Value::Table(show_sink(sink)));
            put(key, Value::Array(sinks.collect()));
        }
        let mut undecided = Table::new();
        optional(&mut undecided, "level", self.undecided.level.map(Level::as_str));
        undecided.insert("deliver".into(), self.undecided.deliver.into());
        put("undecided", undecided.into());
        let mut limits = Table::new();
        limits.insert("in_flight".into(), bytes(self.limits.in_flight));
        limits.insert("inflated".into(), bytes(self.limits.inflated));
        limits.insert("record".into(), bytes(self.limits.record));
        limits.insert("outbox".into(), bytes(self.limits.outbox));
        limits.insert("windows".into(), bytes(self.limits.windows));
        put("limits", limits.into());
        table.retain(|_, value| !value.as_array().is_some_and(Vec::is_empty));
        table.to_string()
    }
}

fn show_adjustment(adjustment: &Adjustment) -> Value {
    let mut table = Table::new();
    table.insert("detections".into(), list(adjustment.detections.iter().map(ToString::to_string)));
    if let Some(enabled) = adjustment.enabled {
        table.insert("enabled".into(), enabled.into());
    }
    optional(&mut table, "level", adjustment.level.map(Level::as_str));
    Value::Table(table)
}

fn show_queue(queue: &QueueConfig) -> Table {
    let mut table = Table::new();
    table.insert("url".into(), queue.url.clone().into());
    optional(&mut table, "region", queue.region.as_deref());
    show_role(&mut table, queue.role.as_ref());
    table.insert("visibility".into(), duration(queue.visibility));
    let buckets = queue.buckets.iter().map(|bucket| Value::Table(show_bucket(bucket)));
    table.insert("buckets".into(), Value::Array(buckets.collect()));
    table
}

fn show_bucket(bucket: &BucketConfig) -> Table {
    let mut table = Table::new();
    table.insert("name".into(), bucket.name.clone().into());
    optional(&mut table, "owner", bucket.owner.as_deref());
    if !bucket.prefixes.is_empty() {
        table.insert("prefixes".into(), list(bucket.prefixes.iter().cloned()));
    }
    optional(&mut table, "region", bucket.region.as_deref());
    show_role(&mut table, bucket.role.as_ref());
    table
}

fn show_role(table: &mut Table, role: Option<&RoleConfig>) {
    optional(table, "role", role.map(|role| role.arn.as_str()));
    // An external id is no secret by AWS's reckoning, but it is treated as one by many.
    optional(table, "external_id", role.and_then(|role| role.external_id.as_ref()).map(|_| "(set)"));
}

fn show_sink(sink: &SinkSettings) -> Table {
    let mut table = Table::new();
    table.insert("name".into(), sink.name.clone().into());
    table.insert("min_level".into(), sink.min_level.as_str().into());
    if let Some(late) = sink.max_late {
        table.insert("max_late".into(), duration(late));
    }
    table.insert("required".into(), sink.required.into());
    table.insert("updates".into(), sink.updates.into());
    match &sink.target {
        SinkTarget::Stdout => {}
        SinkTarget::File(path) => _ = table.insert("path".into(), path.display().to_string().into()),
        SinkTarget::Webhook(webhook) => show_webhook(&mut table, webhook),
    }
    table
}

fn show_webhook(table: &mut Table, webhook: &WebhookSettings) {
    table.insert("url".into(), host_only(&webhook.url).into());
    table.insert("format".into(), webhook.format.as_str().into());
    table.insert("timeout".into(), duration(webhook.timeout));
    table.insert("max_bytes".into(), bytes(webhook.max_bytes));
    if !webhook.secrets.is_empty() {
        table.insert("secrets".into(), Value::Array(webhook.secrets.iter().map(show_secret).collect()));
    }
    if let Some(token) = &webhook.token {
        table.insert("token".into(), show_secret(token));
    }
    let paths = [
        ("ca", webhook.ca.as_ref()),
        ("client_cert", webhook.client.as_ref().map(|(cert, _)| cert)),
        ("client_key", webhook.client.as_ref().map(|(_, key)| key)),
    ];
    for (key, path) in paths {
        optional(table, key, path.map(|path| path.display().to_string()).as_deref());
    }
    optional(table, "proxy", webhook.proxy.as_ref().map(host_only).as_deref());
}

/// Where a secret comes from.
fn show_secret(secret: &Secret) -> Value {
    let (key, value) = match secret.origin() {
        SecretOrigin::Variable(name) => ("env", name.to_owned()),
        SecretOrigin::File(path) => ("file", path.display().to_string()),
    };
    Value::Table(Table::from_iter([(key.to_owned(), Value::String(value))]))
}

fn host_only(url: &url::Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}/…", url.scheme(), url.host_str().unwrap_or_default())
}

fn optional(table: &mut Table, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        table.insert(key.to_owned(), value.into());
    }
}

fn list(texts: impl Iterator<Item = String>) -> Value {
    Value::Array(texts.map(Value::String).collect())
}

fn duration(duration: Duration) -> Value {
    let millis = duration.as_millis();
    if millis.is_multiple_of(1000) { format!("{}s", millis / 1000) } else { format!("{millis}ms") }.into()
}

fn bytes(bytes: usize) -> Value {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = units.into_iter().find(|(_, bits)| bytes != 0 && bytes.is_multiple_of(1 << bits));
    unit.map_or_else(|| format!("{bytes}B"), |(unit, bits)| format!("{}{unit}", bytes >> bits)).into()
}
