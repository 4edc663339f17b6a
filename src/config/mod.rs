//! File, environment and flags to a checked [`Config`].
//!
//! Everything that is wrong is reported at once, each with its place. Unknown keys are errors, and so are
//! durations and sizes without a unit. This is the only module that reads the environment; secrets are taken
//! up here and shown nowhere.

mod flags;
mod queue;
mod reader;
mod show;
mod sink;
mod tuning;
mod value;
mod variables;

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use flags::Flags;
pub use queue::{BucketConfig, QueueConfig, RoleConfig};
pub use value::{Place, Problem};

use crate::alert::{Egress, MOST_SINKS, SinkSettings, Undecided};
use crate::decode;
use crate::sigma::Tuning;
use reader::Reader;
use value::{Data, Value};
use variables::{PREFIX, Variables};

/// The largest file, in bytes: 1 MiB.
const MAX_FILE: u64 = 1 << 20;

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
    /// The time that a window is kept after the last event that came into it.
    pub idle: Duration,
    /// Whether a restart may forget what was seen.
    pub forget: bool,
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
    /// Bytes of windows in memory.
    pub windows: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight: 256 << 20,
            inflated: 512 << 20,
            record: 4 << 20,
            outbox: 1 << 30,
            windows: 512 << 20,
        }
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
        let text = file.map(|path| (path, read_file(path)));
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

    /// Reads the text of a file, if there is one, the variables and the flags.
    ///
    /// # Errors
    /// Lists everything that is wrong.
    pub fn read(
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
        let egress = Egress { allow_http: sink::hosts(reader) };
        let defaults = Limits::default();
        let limits = reader.table("limits", |reader| {
            Some(Limits {
                in_flight: reader.bytes("in_flight").unwrap_or(defaults.in_flight),
                inflated: reader.bytes("inflated").unwrap_or(defaults.inflated),
                record: reader.bytes("record").unwrap_or(defaults.record),
                outbox: reader.bytes("outbox").unwrap_or(defaults.outbox),
                windows: reader.bytes("windows").unwrap_or(defaults.windows),
            })
        });
        let undecided = reader.table("undecided", |reader| {
            let deliver = reader.flag("deliver").unwrap_or(true);
            Some(Undecided { level: reader.parsed("level", "a level"), deliver })
        });
        let mut sinks: Vec<SinkSettings> = Vec::new();
        sinks.extend(reader.tables("webhook", |reader| sink::webhook(reader, &egress, variables)));
        sinks.extend(reader.tables("file", sink::file_sink));
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
            queues: reader.tables("queue", queue::queue),
            watch: reader.strings("watch").into_iter().map(PathBuf::from).collect(),
            allow_http: egress.allow_http,
            sinks,
            undecided: undecided.unwrap_or_default(),
            limits: limits.unwrap_or(defaults),
            custom_endpoint: false,
        }
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
}

const DEFAULT_LATENESS: Duration = Duration::from_hours(1);
const DEFAULT_IDLE: Duration = Duration::from_hours(24);

fn windows(reader: &mut Reader<'_>) -> WindowConfig {
    let place = reader.place_of("lateness");
    let lateness = reader.duration("lateness").unwrap_or(DEFAULT_LATENESS);
    if lateness < Duration::from_mins(1) || lateness > Duration::from_hours(24) {
        reader.refuse::<()>("lateness", place, "must lie between 1m and 24h");
    }
    let place = reader.place_of("window_idle");
    let idle = reader.duration("window_idle").unwrap_or(DEFAULT_IDLE.max(lateness));
    if idle < lateness || idle > Duration::from_hours(32 * 24) {
        reader.refuse::<()>("window_idle", place, "must lie between `lateness` and 32d");
    }
    WindowConfig { lateness, idle, forget: reader.flag("forget_windows").unwrap_or(false) }
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

/// The text of the file.
fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
