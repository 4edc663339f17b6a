//! Sigma documents to compiled detections, at start-up only.
//!
//! Any rule of SigmaHQ for CloudTrail compiles unchanged. Our extensions stand under the attribute
//! `trailhound`, which other tools ignore. Everything that is wrong is reported in one go, each with its file
//! and line; how a compiled detection is evaluated is [`detect`](crate::detect)'s business, where files come
//! from the [`rulebook`](crate::rulebook)'s.

mod aggregation;
mod correlation;
mod crew;
mod detection;
mod document;
mod draft;
mod duration;
mod expression;
mod extension;
mod filter;
mod item;
mod link;
mod occurrence;
mod part;
mod pattern;
mod reference;
mod regex;
mod rule;
mod shape;
mod template;
mod tuning;
mod values;
mod wording;
mod yaml;

use std::collections::HashSet;
use std::fmt;
use std::str::Utf8Error;
use std::sync::Arc;

pub use correlation::{
    Correlation, CorrelationKind, FirstSeen, Grouping, Member, Occurrence, Seen, Threshold,
};
pub use document::{Absence, DocumentError};
pub use draft::CorrelationError;
pub use expression::{Condition, Expression, Number, Operator, Relation, Share, Test, TimePart};
pub use extension::ExtensionProblem;
pub use filter::{Filter, FilterError};
pub use item::{ItemError, modifier_name};
pub use part::Part;
pub use pattern::{Case, GlobPart, Globs, Words};
pub use reference::ReferenceError;
pub use regex::LateRegex;
pub use rule::{Attempts, Extension, Level, Logic, Place, Rule, UnknownLevel};
pub use template::{Piece, Template, TemplateError};
pub use tuning::{Adjustment, Selector, Tuning};
pub use values::{PlaceholderError, Values};
pub use yaml::MAX_FILE;

/// A rule file as it was read.
#[derive(Debug, Clone)]
pub struct RuleFile {
    /// The path as the user would write it.
    pub name: Arc<str>,
    /// Its text.
    pub text: String,
    /// Whether the user named this very file: then its deprecated rules run, too.
    pub named: bool,
}

impl RuleFile {
    /// A file of these bytes.
    ///
    /// # Errors
    /// They are no text in UTF-8; the line is that of the first byte that is none.
    pub fn read(name: &str, bytes: Vec<u8>, named: bool) -> Result<Self, Problem> {
        let name: Arc<str> = name.into();
        String::from_utf8(bytes).map(|text| Self { name: name.clone(), text, named }).map_err(|error| {
            let sound = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + memchr::memchr_iter(b'\n', sound).count();
            RuleError::Encoding(error.utf8_error()).at(Place { file: name.clone(), line })
        })
    }
}

/// A rule file that was read when the program was built.
#[derive(Debug, Clone)]
pub struct PreparedFile {
    /// Its path, as problems name it.
    pub name: Arc<str>,
    /// Its documents, as the YAML reader has written them.
    pub documents: &'static [u8],
}

/// Something wrong with a rule.
#[derive(Debug)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What.
    pub error: RuleError,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.error)
    }
}

/// What can be wrong with a rule.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// The file is no text in UTF-8.
    #[error("not a text in UTF-8")]
    Encoding(#[source] Utf8Error),
    /// The file is no YAML, or more YAML than a rule needs.
    #[error("{0}")]
    Yaml(String),
    /// The document is no rule that can be compiled.
    #[error("{0}")]
    Document(#[from] DocumentError),
    /// It names another document that is not what it needs.
    #[error("{0}")]
    Reference(#[from] ReferenceError),
    /// `action` is not one of the three.
    #[error("`action` is `global`, `reset` or `repeat`")]
    Action,
    /// `action: repeat` without something to repeat.
    #[error("`action: repeat` has no rule before it")]
    NothingToRepeat,
    /// Two detections are called the same.
    #[error("the id `{id}` also stands in {other}, with another content")]
    Duplicate {
        /// The id.
        id: String,
        /// The other place.
        other: Place,
    },
    /// The user adjusts detections that do not exist.
    #[error("there is no detection `{selector}`{}", tuning::suggested(.meant.as_deref()))]
    SelectsNothing {
        /// What was to be selected.
        selector: String,
        /// What probably was meant.
        meant: Option<String>,
    },
    /// A file of values says something else.
    #[error("expected a map from names to lists of texts")]
    Values,
}

/// The outcome of compiling rule files.
#[derive(Debug, Default)]
pub struct Compiled {
    /// Detections that run, in the order of their files.
    pub rules: Vec<Rule>,
    /// Filters that run, in the same order.
    pub filters: Vec<Filter>,
    /// What was wrong, in the same order.
    pub problems: Vec<Problem>,
    /// Rules that do not run, and why.
    pub skipped: Skipped,
}

impl Compiled {
    /// Leaves out what only feeds correlations that do not run: its hits would be found for nobody.
    #[must_use]
    pub fn without_idle(mut self) -> Self {
        loop {
            let before = self.rules.len();
            let correlations = self.rules.iter().filter_map(|rule| match &rule.logic {
                Logic::Correlation(correlation) => Some(correlation),
                Logic::Event(_) => None,
            });
            let members = correlations.flat_map(|correlation| &correlation.members);
            let fed: HashSet<String> = members.map(|member| member.rule.clone()).collect();
            self.rules.retain(|rule| !rule.muted || fed.contains(&rule.id));
            // What is left out may have been fed by others.
            if self.rules.len() == before {
                return self;
            }
        }
    }
}

/// Numbers of rules that do not run although nothing is wrong with them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Skipped {
    /// They are for another log source.
    pub other_source: usize,
    /// Their status is `deprecated` or `unsupported`.
    pub retired: usize,
    /// They are off: by `enabled: false`, or by what the user has set.
    pub disabled: usize,
    /// They stand in another file, too.
    pub repeated: usize,
}

impl Skipped {
    fn plus(self, other: Skipped) -> Self {
        Self {
            other_source: self.other_source + other.other_source,
            retired: self.retired + other.retired,
            disabled: self.disabled + other.disabled,
            repeated: self.repeated + other.repeated,
        }
    }
}

/// Compiles files that stand by themselves, each of one or more documents; placeholders stand for nothing.
#[must_use]
pub fn compile(files: &[RuleFile]) -> Compiled {
    Part::join([Part::compile(files, &Values::default())])
}

impl RuleError {
    fn at(self, place: Place) -> Problem {
        Problem { place, error: self }
    }
}

#[cfg(test)]
mod tests;
