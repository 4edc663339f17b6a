//! A detection as the rest of the program knows it: checked metadata and a compiled condition.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::correlation::{Correlation, FirstSeen, Grouping};
use super::expression::Condition;
use super::template::Template;

/// A compiled detection.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The `id`, or `title:<title>` for a detection without one.
    pub id: String,
    /// The title.
    pub title: String,
    /// The level; a detection without one is of medium level.
    pub level: Level,
    /// The status, if there is one.
    pub status: Option<String>,
    /// ATT&CK tags and others.
    pub tags: Vec<String>,
    /// What happened and why it matters.
    pub description: Option<String>,
    /// Where to read on.
    pub references: Vec<String>,
    /// Harmless explanations.
    pub falsepositives: Vec<String>,
    /// What stands under `trailhound:`.
    pub extension: Extension,
    /// SHA-256 of its document in a form without comments and layout, in hexadecimal digits.
    pub hash: String,
    /// Where it stands.
    pub place: Place,
    /// The Sigma `name`, by which correlations may call it.
    pub name: Option<String>,
    /// Whether its hits only feed correlations.
    pub muted: bool,
    /// What it matches.
    pub logic: Logic,
}

/// What a detection matches.
#[derive(Debug, Clone)]
pub enum Logic {
    /// Single events.
    Event(Condition),
    /// The hits of other rules.
    Correlation(Correlation),
}

impl Rule {
    /// The condition on single events; none of a correlation.
    #[must_use]
    pub fn condition(&self) -> Option<&Condition> {
        match &self.logic {
            Logic::Event(condition) => Some(condition),
            Logic::Correlation(_) => None,
        }
    }
}

/// What a detection says under the attribute `trailhound`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// Whether it runs, unless it runs to be tested.
    pub enabled: bool,
    /// The sentence of its alerts.
    pub summary: Option<Template>,
    /// What to do next.
    pub response: Option<String>,
    /// Whether failed calls are hits, too.
    pub attempts: Attempts,
    /// Which hits are told as one alert.
    pub group: Option<Grouping>,
    /// Hits are told only where a value appears for the first time.
    pub first_seen: Option<FirstSeen>,
}

impl Default for Extension {
    fn default() -> Self {
        Self {
            enabled: true,
            summary: None,
            response: None,
            attempts: Attempts::Any,
            group: None,
            first_seen: None,
        }
    }
}

/// Which calls can be hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempts {
    /// Those that worked.
    Success,
    /// Those that failed, too; what plain Sigma says.
    Any,
}

/// A file and a line in it; 1 is the first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The path as the user gave it, or the path within the embedded pack.
    pub file: Arc<str>,
    /// The line.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// How grave a hit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Context for other alerts.
    Informational,
    /// Worth a look when there is time.
    Low,
    /// Worth a look.
    Medium,
    /// To be looked at soon.
    High,
    /// To be looked at now.
    Critical,
}

impl Level {
    /// All levels, the lowest first.
    pub const ALL: [Level; 5] =
        [Level::Informational, Level::Low, Level::Medium, Level::High, Level::Critical];

    /// Its name in rules, alerts and configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Informational => "informational",
            Level::Low => "low",
            Level::Medium => "medium",
            Level::High => "high",
            Level::Critical => "critical",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that names no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no level; levels are informational, low, medium, high and critical")]
pub struct UnknownLevel(String);

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        Level::ALL
            .into_iter()
            .find(|level| level.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownLevel(text.to_owned()))
    }
}
