//! Sinks: webhooks, files, and standard output where there is neither.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

use super::Config;
use super::reader::Reader;
use super::variables::Variables;
use crate::alert::{Egress, Format, Secret, SinkSettings, SinkTarget, WebhookSettings};
use crate::sigma::Level;

/// A body beyond this is shortened unless the configuration says otherwise: 1 MiB.
const MAX_BODY: usize = 1 << 20;

impl Config {
    /// The sinks; standard output where none is configured.
    #[must_use]
    pub fn sinks_or_stdout(&self) -> Vec<SinkSettings> {
        if !self.sinks.is_empty() {
            return self.sinks.clone();
        }
        vec![SinkSettings {
            name: "stdout".to_owned(),
            min_level: Level::Informational,
            max_late: None,
            required: true,
            updates: false,
            target: SinkTarget::Stdout,
        }]
    }
}

/// Names of hosts, as URLs have them.
pub(super) fn hosts(reader: &mut Reader<'_>) -> BTreeSet<String> {
    let place = reader.place_of("allow_http");
    let hosts: BTreeSet<String> =
        reader.strings("allow_http").iter().map(|host| host.to_ascii_lowercase()).collect();
    if let Some(odd) = hosts.iter().find(|host| host.contains(['/', ' '])) {
        reader.refuse::<()>("allow_http", place, &format!("expected names of hosts, not `{odd}`"));
    }
    hosts
}

pub(super) fn webhook(
    reader: &mut Reader<'_>,
    egress: &Egress,
    variables: &Variables,
) -> Option<SinkSettings> {
    let common = common(reader);
    let url = reader.required("url", |reader| {
        reader.text("url", "a URL", |text| egress.check(text).map_err(|error| error.to_string()))
    });
    let format = reader.text("format", "\"trailhound\" or \"splunk-hec\"", |text| match text {
        "trailhound" => Ok(Format::Trailhound),
        "splunk-hec" => Ok(Format::SplunkHec),
        _ => Err(String::new()),
    });
    let place = reader.place_of("timeout");
    let timeout = reader.duration("timeout");
    if timeout.is_some_and(|timeout| timeout.is_zero()) {
        reader.refuse::<()>("timeout", place, "must be more than nothing");
    }
    let secrets = reader.tables("secrets", |reader| secret(reader, variables));
    let token = reader.table("token", |reader| secret(reader, variables));
    let max_bytes = reader.bytes("max_bytes");
    let ca = reader.string("ca").map(PathBuf::from);
    let place = reader.place().clone();
    let client = match (reader.string("client_cert"), reader.string("client_key")) {
        (Some(cert), Some(key)) => Some((cert.into(), key.into())),
        (None, None) => None,
        _ => reader.refuse("client_cert", place, "goes together with `client_key`"),
    };
    let proxy =
        reader.text("proxy", "a URL", |text| Egress::check_proxy(text).map_err(|error| error.to_string()));
    let defaults = WebhookSettings::to(url?);
    let host = defaults.url.host_str().unwrap_or_default().to_owned();
    let settings = WebhookSettings {
        format: format.unwrap_or(defaults.format),
        timeout: timeout.unwrap_or(defaults.timeout),
        secrets,
        token,
        max_bytes: max_bytes.unwrap_or(defaults.max_bytes),
        ca,
        client,
        proxy,
        ..defaults
    };
    Some(common.sink(&host, SinkTarget::Webhook(Box::new(settings))))
}

pub(super) fn file_sink(reader: &mut Reader<'_>) -> Option<SinkSettings> {
    let common = common(reader);
    let path = reader.required("path", |reader| reader.string("path"));
    let path = path?;
    Some(common.sink(&path, SinkTarget::File(PathBuf::from(&path))))
}

/// What all sinks have.
struct Common {
    name: Option<String>,
    min_level: Level,
    max_late: Option<Duration>,
    required: bool,
    updates: bool,
}

fn common(reader: &mut Reader<'_>) -> Common {
    Common {
        name: reader.string("name"),
        min_level: reader.parsed("min_level", "a level").unwrap_or(Level::Informational),
        max_late: reader.duration("max_late"),
        required: reader.flag("required").unwrap_or(true),
        updates: reader.flag("updates").unwrap_or(false),
    }
}

impl Common {
    /// The settings of a sink; without a name it is called after where it leads.
    fn sink(self, fallback: &str, target: SinkTarget) -> SinkSettings {
        let name = self.name.clone().unwrap_or_else(|| fallback.to_owned());
        let Self { min_level, max_late, required, updates, .. } = self;
        SinkSettings { name, min_level, max_late, required, updates, target }
    }
}

fn secret(reader: &mut Reader<'_>, variables: &Variables) -> Option<Secret> {
    let place = reader.place().clone();
    let (variable, path) = (reader.string("env"), reader.string("file"));
    match (variable, path) {
        (Some(name), None) => match variables.value(&name) {
            // Not the name: it may be the secret itself, in the wrong place.
            None => reader.refuse("env", place, "there is no environment variable of this name"),
            Some(value) => match Secret::variable(&name, value) {
                Ok(secret) => Some(secret),
                Err(error) => reader.refuse("env", place, &error.to_string()),
            },
        },
        (None, Some(path)) => Some(Secret::file(Path::new(&path))),
        _ => reader.refuse("env", place, "a secret comes from either `env` or `file`"),
    }
}

impl WebhookSettings {
    /// A webhook with every default.
    pub(super) fn to(url: Url) -> Self {
        Self {
            url,
            format: Format::Trailhound,
            timeout: Duration::from_secs(15),
            secrets: Vec::new(),
            token: None,
            max_bytes: MAX_BODY,
            ca: None,
            client: None,
            proxy: None,
        }
    }
}
