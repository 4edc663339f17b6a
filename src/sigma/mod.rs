//! Sigma documents to compiled detections, at start-up only.
//!
//! Any rule of SigmaHQ for CloudTrail compiles unchanged. Our extensions stand under the attribute
//! `trailhound`, which other tools ignore. Everything that is wrong is reported in one go, each with its file
//! and line; how a compiled detection is evaluated is [`detect`](crate::detect)'s business, where files come
//! from the [`rulebook`](crate::rulebook)'s.

mod correlation;
mod document;
mod expression;
mod item;
mod pattern;
mod rule;
mod template;
mod wording;
mod yaml;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::thread::{Scope, ScopedJoinHandle};

pub use correlation::{
    Correlation, CorrelationKind, FirstSeen, Grouping, Member, Occurrence, Seen, Threshold,
};
pub use document::{DocumentError, ExtensionProblem};
pub use expression::{Condition, Expression, Number, Operator, Relation, Test, TimePart};
pub use item::ItemError;
pub use pattern::{Case, GlobPart, Globs, Words};
pub use rule::{Attempts, Extension, Level, Logic, Place, Rule, UnknownLevel};
pub use template::{Piece, Template, TemplateError};
pub use yaml::MAX_FILE;

use yaml::Node;

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
    /// The file is no YAML, or more YAML than a rule needs.
    #[error("{0}")]
    Yaml(String),
    /// The document is no rule that can be compiled.
    #[error("{0}")]
    Document(#[from] DocumentError),
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
}

/// The outcome of compiling rule files.
#[derive(Debug, Default)]
pub struct Compiled {
    /// Detections that run, in the order of their files.
    pub rules: Vec<Rule>,
    /// What was wrong, in the same order.
    pub problems: Vec<Problem>,
    /// Rules that do not run, and why.
    pub skipped: Skipped,
}

/// Numbers of rules that do not run although nothing is wrong with them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Skipped {
    /// They are for another log source.
    pub other_source: usize,
    /// Their status is `deprecated` or `unsupported`.
    pub retired: usize,
    /// `enabled: false`.
    pub disabled: usize,
    /// They stand in another file, too.
    pub repeated: usize,
}

/// Compiles files, each of one or more documents.
#[must_use]
pub fn compile(files: &[RuleFile]) -> Compiled {
    let mut compiled = compile_apart(files);
    compiled.settle_duplicates();
    compiled
}

/// Compiles files that will be [joined](Compiled::join) with others; all cores share the work.
#[must_use]
pub fn compile_apart(files: &[RuleFile]) -> Compiled {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = files.len().div_ceil(cores).max(SHARE);
    std::thread::scope(|scope| {
        let shares: Vec<_> = files.chunks(share).map(|files| spawn(scope, || Compiled::of(files))).collect();
        let compiled = shares.into_iter().map(|share| share.join().expect("compiling does not panic"));
        compiled.fold(Compiled::default(), Compiled::followed_by)
    })
}

/// A thread with as much room for deep conditions as the first thread has.
fn spawn<'s, T: Send + 's>(
    scope: &'s Scope<'s, '_>,
    work: impl FnOnce() -> T + Send + 's,
) -> ScopedJoinHandle<'s, T> {
    let thread = std::thread::Builder::new().stack_size(8 << 20).spawn_scoped(scope, work);
    thread.expect("the system has room for a thread for each core")
}

/// Files that are worth a thread.
const SHARE: usize = 16;

impl Compiled {
    fn of(files: &[RuleFile]) -> Self {
        let mut compiled = Compiled::default();
        files.iter().for_each(|file| compiled.file(file));
        compiled
    }

    fn file(&mut self, file: &RuleFile) {
        let mut global: Option<Node> = None;
        let mut previous: Option<Node> = None;
        for document in yaml::documents(&file.text) {
            let place = |line| Place { file: file.name.clone(), line };
            let mut node = match document.read() {
                Ok(node) => node,
                Err(error) => {
                    let error = RuleError::Yaml(error.message).at(place(error.line));
                    self.problems.push(error);
                    // What stands before it is not what a repetition means.
                    previous = None;
                    continue;
                }
            };
            let action = node.take("action");
            match action.as_ref().map(|action| action.text().unwrap_or_default()) {
                None => {}
                Some("global") => {
                    global = Some(node);
                    continue;
                }
                Some("reset") => {
                    global = None;
                    continue;
                }
                Some("repeat") => match previous.clone() {
                    Some(mut repeated) => {
                        repeated.merge(node);
                        node = repeated;
                    }
                    None => {
                        self.problems.push(RuleError::NothingToRepeat.at(place(document.line)));
                        continue;
                    }
                },
                Some(_) => {
                    self.problems.push(RuleError::Action.at(place(document.line)));
                    continue;
                }
            }
            if let Some(mut global) = global.clone() {
                global.merge(node);
                node = global;
            }
            self.document(file, &node, place(node.line));
            previous = Some(node);
        }
    }

    fn document(&mut self, file: &RuleFile, node: &Node, place: Place) {
        if !document::is_for_cloudtrail(node) {
            self.skipped.other_source += 1;
            return;
        }
        let status = node.get("status").and_then(Node::text);
        if matches!(status, Some("deprecated" | "unsupported")) && !file.named {
            self.skipped.retired += 1;
            return;
        }
        match document::compile(node, place) {
            Ok(rule) if rule.extension.enabled => self.rules.push(rule),
            Ok(_) => self.skipped.disabled += 1,
            Err(faults) => self.problems.extend(faults.into_iter().map(|fault| {
                RuleError::from(fault.error).at(Place { file: file.name.clone(), line: fault.line })
            })),
        }
    }

    /// One after the other, as if their files had been compiled together.
    #[must_use]
    pub fn join(parts: impl IntoIterator<Item = Compiled>) -> Compiled {
        let mut compiled = parts.into_iter().fold(Compiled::default(), Compiled::followed_by);
        compiled.settle_duplicates();
        compiled
    }

    fn followed_by(mut self, other: Compiled) -> Compiled {
        self.rules.extend(other.rules);
        self.problems.extend(other.problems);
        self.skipped.other_source += other.skipped.other_source;
        self.skipped.retired += other.skipped.retired;
        self.skipped.disabled += other.skipped.disabled;
        self.skipped.repeated += other.skipped.repeated;
        self
    }

    /// Identical rules load once; different ones with one id are a problem.
    fn settle_duplicates(&mut self) {
        let mut seen: HashMap<String, (String, Place)> = HashMap::new();
        let (skipped, problems) = (&mut self.skipped, &mut self.problems);
        self.rules.retain(|rule| match seen.get(&rule.id) {
            None => {
                seen.insert(rule.id.clone(), (rule.hash.clone(), rule.place.clone()));
                true
            }
            Some((hash, _)) if *hash == rule.hash => {
                skipped.repeated += 1;
                false
            }
            Some((_, other)) => {
                let error = RuleError::Duplicate { id: rule.id.clone(), other: other.clone() };
                problems.push(error.at(rule.place.clone()));
                false
            }
        });
    }
}

impl RuleError {
    fn at(self, place: Place) -> Problem {
        Problem { place, error: self }
    }
}

#[cfg(test)]
mod tests;
