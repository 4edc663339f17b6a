//! File, environment and flags to a checked [`Config`].
//!
//! Everything that is wrong is reported at once, each with its place. Unknown keys are errors, and so are
//! durations and sizes without a unit. This is the only module that reads the environment; secrets are taken
//! up here and shown nowhere.

mod reader;
mod show;
mod tuning;
mod value;

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

pub use value::{Place, Problem};

use crate::alert::{
    Egress, Format, MOST_SINKS, Secret, SinkSettings, SinkTarget, Undecided, WebhookSettings,
};
use crate::decode;
use crate::sigma::{Level, Tuning};
use reader::Reader;
use value::{Data, Value};

/// The prefix of environment variables that set configuration values.
const PREFIX: &str = "TRAILHOUND_";
/// A body beyond this is shortened unless the configuration says otherwise: 1 MiB.
const MAX_BODY: usize = 1 << 20;

/// The effective configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Rule files and folders of the user.
    pub detections: Vec<PathBuf>,
    /// Whether the embedded pack runs.
    pub default_detections: bool,
    /// Whether broken rules are left out instead of ending the program.
    pub keep_going: bool,
    /// When detections are read again.
    pub reload: ReloadOn,
    /// What the placeholders in rules stand for.
    pub values: Option<PathBuf>,
    /// Which detections run and at which level, where it is not as their rules say.
    pub tuning: Tuning,
    /// Where metrics and health are served.
    pub listen: Option<SocketAddr>,
    /// Where state is kept.
    pub state: Option<PathBuf>,
    /// Detections over more than one event.
    pub windows: WindowConfig,
    /// Log lines.
    pub log: Logs,
    /// How long what is in flight may take to end at a shutdown.
    pub grace: Duration,
    /// Queues.
    pub queues: Vec<QueueConfig>,
    /// Watched folders.
    pub watch: Vec<PathBuf>,
    /// Hosts that webhooks may reach over plain HTTP, beside loopback.
    pub allow_http: BTreeSet<String>,
    /// Sinks, in the order of the file.
    pub sinks: Vec<SinkSettings>,
    /// How alerts are told that could not be decided.
    pub undecided: Undecided,
    /// Bounds.
    pub limits: Limits,
    /// Whether the environment names an endpoint for AWS, which is then somebody else's.
    pub custom_endpoint: bool,
}

/// How log lines look and which of them are written.
#[derive(Debug, Clone)]
pub struct Logs {
    /// Their form.
    pub format: LogFormat,
    /// Their filter, as `RUST_LOG` has it.
    pub filter: Option<String>,
    /// Whether they may have colours on a terminal; not with `NO_COLOR`.
    pub colours: bool,
}

/// How detections over more than one event run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowConfig {
    /// How late events may come after the latest ones.
    pub lateness: Duration,
    /// Whether a restart may forget what was seen.
    pub forget: bool,
}

/// A queue and the buckets that it may announce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueConfig {
    /// The URL of the queue.
    pub url: String,
    /// Its region; by default the one in its URL.
    pub region: Option<String>,
    /// The role to assume for the queue.
    pub role: Option<RoleConfig>,
    /// How long a message stays hidden after each heartbeat.
    pub visibility: Duration,
    /// The buckets that it may announce.
    pub buckets: Vec<BucketConfig>,
}

/// A bucket that may be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketConfig {
    /// Its name.
    pub name: String,
    /// The account that must own it.
    pub owner: Option<String>,
    /// Key prefixes that may be read; all if there are none.
    pub prefixes: Vec<String>,
    /// Its region; by default that of the queue.
    pub region: Option<String>,
    /// The role to assume for it.
    pub role: Option<RoleConfig>,
}

/// A role to assume.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoleConfig {
    /// Its ARN.
    pub arn: String,
    /// The external id that its trust policy asks for.
    pub external_id: Option<String>,
}

/// Bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of objects and alerts in flight.
    pub in_flight: usize,
    /// Inflated bytes of an object.
    pub inflated: usize,
    /// Bytes of a record.
    pub record: usize,
    /// Bytes of alerts that may wait for a sink in the state folder.
    pub outbox: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { in_flight: 256 << 20, inflated: 512 << 20, record: 4 << 20, outbox: 1 << 30 }
    }
}

impl Limits {
    /// The bounds of decoding.
    #[must_use]
    pub fn decode(&self) -> decode::Limits {
        decode::Limits { inflated: self.inflated as u64, record: self.record }
    }
}

/// When a running daemon reads its detections again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReloadOn {
    /// On SIGHUP.
    #[default]
    Signal,
    /// On SIGHUP, and when a rule file has changed.
    Change,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

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

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// In the order of the file, never empty.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads the file, if there is one, the environment and the flags.
    ///
    /// # Errors
    /// Lists everything that is wrong.
    pub fn load(file: Option<&Path>, flags: Flags) -> Result<Self, ConfigError> {
        let text = file.map(|path| (path, std::fs::read_to_string(path)));
        let text = match text {
            None => None,
            Some((path, Ok(text))) => Some((path, text)),
            Some((path, Err(error))) => {
                let place = Place::Line(path.into(), 1);
                let message = format!("the file cannot be read: {error}");
                return Err(ConfigError { problems: vec![Problem { place, message }] });
            }
        };
        let text = text.as_ref().map(|(path, text)| (*path, text.as_str()));
        let text_of = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let variables = std::env::vars_os().map(|(name, value)| (text_of(name), text_of(value)));
        Self::read(text, variables, flags)
    }

    fn read(
        file: Option<(&Path, &str)>,
        variables: impl Iterator<Item = (String, String)>,
        flags: Flags,
    ) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let mut table = file.map(|(path, text)| value::parse(path, text, &mut problems)).unwrap_or_default();
        let variables = Variables(variables.collect());
        for (name, text) in variables.settings() {
            let keys: Vec<String> =
                name[PREFIX.len()..].to_ascii_lowercase().split("__").map(str::to_owned).collect();
            let set = Value { place: Place::Variable(name.clone()), data: Data::Text(text.clone()) };
            value::set(&mut table, &keys, set, &mut problems);
        }
        let mut reader = Reader::new(table, &mut problems);
        let mut config = Self::from_table(&mut reader, &variables);
        reader.finish();
        config.apply(flags, &mut problems);
        config.check(&mut problems);
        config.log.filter = variables.value("RUST_LOG").map(str::to_owned);
        config.log.colours = variables.value("NO_COLOR").is_none_or(str::is_empty);
        let endpoints = ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"];
        config.custom_endpoint = endpoints.iter().any(|name| variables.value(name).is_some());
        problems.sort_by_key(|problem| match problem.place {
            Place::Line(_, line) => line,
            _ => usize::MAX,
        });
        if problems.is_empty() { Ok(config) } else { Err(ConfigError { problems }) }
    }

    fn from_table(reader: &mut Reader<'_>, variables: &Variables) -> Self {
        let egress = Egress { allow_http: hosts(reader) };
        let defaults = Limits::default();
        let limits = reader.table("limits", |reader| {
            Some(Limits {
                in_flight: reader.bytes("in_flight").unwrap_or(defaults.in_flight),
                inflated: reader.bytes("inflated").unwrap_or(defaults.inflated),
                record: reader.bytes("record").unwrap_or(defaults.record),
                outbox: reader.bytes("outbox").unwrap_or(defaults.outbox),
            })
        });
        let undecided = reader.table("undecided", |reader| {
            let deliver = reader.flag("deliver").unwrap_or(true);
            Some(Undecided { level: reader.parsed("level", "a level"), deliver })
        });
        let mut sinks: Vec<SinkSettings> = Vec::new();
        sinks.extend(reader.tables("webhook", |reader| webhook(reader, &egress, variables)));
        sinks.extend(reader.tables("file", file_sink));
        Self {
            detections: reader.strings("detections").into_iter().map(PathBuf::from).collect(),
            default_detections: reader.flag("default_detections").unwrap_or(true),
            keep_going: reader.flag("keep_going").unwrap_or(false),
            reload: reload(reader),
            values: reader.string("values").map(PathBuf::from),
            tuning: tuning::tuning(reader),
            listen: reader.parsed("listen", "an address such as \"127.0.0.1:9187\""),
            state: reader.string("state").map(PathBuf::from),
            windows: windows(reader),
            log: log(reader),
            grace: reader.duration("grace").unwrap_or(Duration::from_secs(20)),
            queues: reader.tables("queue", queue),
            watch: reader.strings("watch").into_iter().map(PathBuf::from).collect(),
            allow_http: egress.allow_http,
            sinks,
            undecided: undecided.unwrap_or_default(),
            limits: limits.unwrap_or(defaults),
            custom_endpoint: false,
        }
    }

    /// Lays the command line over the file.
    fn apply(&mut self, flags: Flags, problems: &mut Vec<Problem>) {
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

    /// What only the whole can tell.
    fn check(&self, problems: &mut Vec<Problem>) {
        let mut refuse = |message: String| problems.push(Problem { place: Place::Missing, message });
        let mut names = BTreeSet::new();
        for sink in &self.sinks {
            if !names.insert(&sink.name) {
                refuse(format!("two sinks are called `{}`; give each a `name` of its own", sink.name));
            }
        }
        let mut urls = BTreeSet::new();
        for queue in &self.queues {
            if !urls.insert(&queue.url) {
                refuse(format!("the queue {} is given twice", queue.url));
            }
        }
        let mut folders = BTreeSet::new();
        for folder in &self.watch {
            if !folders.insert(folder) {
                refuse(format!("the folder {} is watched twice", folder.display()));
            }
        }
        if self.sinks.len() > MOST_SINKS {
            refuse(format!("there are more than {MOST_SINKS} sinks"));
        }
        if self.limits.record > self.limits.inflated {
            refuse("`limits.record` is larger than `limits.inflated`".to_owned());
        }
    }

    /// The sinks; standard output where none is configured.
    #[must_use]
    pub fn sinks_or_stdout(&self) -> Vec<SinkSettings> {
        if !self.sinks.is_empty() {
            return self.sinks.clone();
        }
        vec![SinkSettings {
            name: "stdout".to_owned(),
            min_level: Level::Informational,
            required: true,
            updates: false,
            target: SinkTarget::Stdout,
        }]
    }
}

const DEFAULT_LATENESS: Duration = Duration::from_hours(1);

fn windows(reader: &mut Reader<'_>) -> WindowConfig {
    let place = reader.place_of("lateness");
    let lateness = reader.duration("lateness").unwrap_or(DEFAULT_LATENESS);
    if lateness < Duration::from_mins(1) || lateness > Duration::from_hours(24) {
        reader.refuse::<()>("lateness", place, "must lie between 1m and 24h");
    }
    WindowConfig { lateness, forget: reader.flag("forget_windows").unwrap_or(false) }
}

const DEFAULT_VISIBILITY: Duration = Duration::from_mins(5);

fn queue(reader: &mut Reader<'_>) -> Option<QueueConfig> {
    let url = reader.required("url", |reader| {
        reader.text("url", "a queue URL", |text| queue_url(text).map(|()| text.to_owned()))
    });
    let place = reader.place_of("visibility");
    let visibility = reader.duration("visibility").unwrap_or(DEFAULT_VISIBILITY);
    if visibility < Duration::from_secs(2) || visibility > Duration::from_hours(12) {
        reader.refuse::<()>("visibility", place, "must lie between 2s and 12h");
    }
    let buckets = reader.required("buckets", |reader| Some(reader.tables("buckets", bucket)));
    if buckets.as_ref().is_some_and(Vec::is_empty) {
        let place = reader.place().clone();
        reader.refuse::<()>("buckets", place, "names the buckets that the queue may announce; there is none");
    }
    let (region, role) = (reader.string("region"), role(reader));
    Some(QueueConfig { url: url?, region, role, visibility, buckets: buckets? })
}

fn bucket(reader: &mut Reader<'_>) -> Option<BucketConfig> {
    let name = reader.required("name", |reader| reader.string("name"));
    let owner = reader.text("owner", "an account id of 12 digits", |text| {
        let valid = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
        if valid { Ok(text.to_owned()) } else { Err(String::new()) }
    });
    let (prefixes, region, role) = (reader.strings("prefixes"), reader.string("region"), role(reader));
    Some(BucketConfig { name: name?, owner, prefixes, region, role })
}

fn role(reader: &mut Reader<'_>) -> Option<RoleConfig> {
    let place = reader.place_of("external_id");
    let arn = reader.text("role", "the ARN of a role", |text| {
        let valid = text.starts_with("arn:") && text.contains(":role/");
        if valid { Ok(text.to_owned()) } else { Err(String::new()) }
    });
    let external_id = reader.string("external_id");
    if arn.is_none() && external_id.is_some() {
        return reader.refuse("external_id", place, "goes with `role`");
    }
    Some(RoleConfig { arn: arn?, external_id })
}

fn queue_url(text: &str) -> Result<(), String> {
    let url = Url::parse(text).map_err(|error| format!("not a queue URL: {error}"))?;
    let named = url
        .path_segments()
        .is_some_and(|segments| segments.filter(|segment| !segment.is_empty()).count() >= 2);
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a queue URL holds no credentials".to_owned());
    }
    if !matches!(url.scheme(), "http" | "https") || !named {
        return Err("a queue URL ends in an account id and a queue name".to_owned());
    }
    Ok(())
}

fn webhook(reader: &mut Reader<'_>, egress: &Egress, variables: &Variables) -> Option<SinkSettings> {
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
    let proxy = reader.parsed("proxy", "a URL");
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

fn file_sink(reader: &mut Reader<'_>) -> Option<SinkSettings> {
    let common = common(reader);
    let path = reader.required("path", |reader| reader.string("path"));
    let path = path?;
    Some(common.sink(&path, SinkTarget::File(PathBuf::from(&path))))
}

fn log(reader: &mut Reader<'_>) -> Logs {
    let format = reader.text("log", "\"text\" or \"json\"", |text| match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(String::new()),
    });
    Logs { format: format.unwrap_or_default(), filter: None, colours: true }
}

fn reload(reader: &mut Reader<'_>) -> ReloadOn {
    let reload = reader.text("reload", "\"signal\" or \"change\"", |text| match text {
        "signal" => Ok(ReloadOn::Signal),
        "change" => Ok(ReloadOn::Change),
        _ => Err(String::new()),
    });
    reload.unwrap_or_default()
}

/// Names of hosts, as URLs have them.
fn hosts(reader: &mut Reader<'_>) -> BTreeSet<String> {
    let place = reader.place_of("allow_http");
    let hosts: BTreeSet<String> =
        reader.strings("allow_http").iter().map(|host| host.to_ascii_lowercase()).collect();
    if let Some(odd) = hosts.iter().find(|host| host.contains(['/', ' '])) {
        reader.refuse::<()>("allow_http", place, &format!("expected names of hosts, not `{odd}`"));
    }
    hosts
}

/// What all sinks have.
struct Common {
    name: Option<String>,
    min_level: Level,
    required: bool,
    updates: bool,
}

fn common(reader: &mut Reader<'_>) -> Common {
    Common {
        name: reader.string("name"),
        min_level: reader.parsed("min_level", "a level").unwrap_or(Level::Informational),
        required: reader.flag("required").unwrap_or(true),
        updates: reader.flag("updates").unwrap_or(false),
    }
}

impl Common {
    /// The settings of a sink; without a name it is called after where it leads.
    fn sink(self, fallback: &str, target: SinkTarget) -> SinkSettings {
        let name = self.name.clone().unwrap_or_else(|| fallback.to_owned());
        let Self { min_level, required, updates, .. } = self;
        SinkSettings { name, min_level, required, updates, target }
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
    fn to(url: Url) -> Self {
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

/// The environment, read once.
struct Variables(Vec<(String, String)>);

impl Variables {
    fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Variables that set configuration values, in the order of their names.
    fn settings(&self) -> Vec<&(String, String)> {
        let mut settings: Vec<_> = self.0.iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
        settings.sort();
        settings
    }
}

#[cfg(test)]
mod tests;
