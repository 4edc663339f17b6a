//! Some rule files, compiled as far as each can be by itself.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{Scope, ScopedJoinHandle};

use super::document::{self, Absence, Body, Names, Unit};
use super::draft::{self, Reference};
use super::link;
use super::tuning::Tuning;
use super::values::Values;
use super::yaml::{self, Node, YamlError};
use super::{Compiled, Place, PreparedFile, Problem, RuleError, RuleFile, Skipped};

/// Compiled rule files whose references to other rules are still names.
#[derive(Default)]
pub struct Part {
    pub(super) units: Vec<Unit>,
    pub(super) feeds: Vec<Feed>,
    pub(super) problems: Vec<Problem>,
    pub(super) skipped: Skipped,
}

/// What a correlation says of its members, whether it runs or not.
pub(super) struct Feed {
    pub(super) file: Arc<str>,
    /// Whether they alert by themselves.
    pub(super) generate: bool,
    pub(super) members: Vec<Reference>,
}

/// Nodes of a file, what its documents repeat included.
const MOST_NODES: usize = 1_000_000;
/// Files that a thread takes at once.
const SHARE: usize = 16;

impl Part {
    /// Compiles files, each of one or more documents; all cores share the work.
    #[must_use]
    pub fn compile(files: &[RuleFile], values: &Values) -> Self {
        Self::shared(files, |part, file| {
            let documents = yaml::documents(&file.text).into_iter();
            let documents = documents.map(|document| (document.line, document.read()));
            part.file(&file.name, file.named, documents, values);
        })
    }

    /// As [`Part::compile`], of files that were read when the program was built.
    #[must_use]
    pub fn compile_prepared(files: &[PreparedFile], values: &Values) -> Self {
        Self::shared(files, |part, file| {
            let documents = yaml::prepared(file.documents).into_iter();
            part.file(&file.name, false, documents.map(|(line, node)| (line, Ok(node))), values);
        })
    }

    /// Has all cores take files until none is left; the parts come in the order of the files.
    fn shared<F: Sync>(files: &[F], take: impl Fn(&mut Part, &F) + Sync) -> Self {
        let shares: Vec<&[F]> = files.chunks(SHARE).collect();
        let cores = std::thread::available_parallelism().map_or(1, usize::from).min(shares.len());
        let next = AtomicUsize::new(0);
        let work = || {
            let mut parts = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(share) = shares.get(number) else { return parts };
                let mut part = Part::default();
                share.iter().for_each(|file| take(&mut part, file));
                parts.push((number, part));
            }
        };
        let mut parts: Vec<(usize, Part)> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..cores).map(|_| spawn(scope, work)).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("compiling does not panic")).collect()
        });
        parts.sort_by_key(|(number, _)| *number);
        parts.into_iter().map(|(_, part)| part).fold(Part::default(), Part::followed_by)
    }

    /// Joins parts, one after the other, as if their files had been compiled together; one that was put
    /// [aside](Part::aside) comes last.
    #[must_use]
    pub fn join(parts: impl IntoIterator<Item = Part>) -> Compiled {
        Self::join_tuned(parts, &Tuning::default())
    }

    /// As [`Part::join`], with what the user has set for all of their rules.
    #[must_use]
    pub fn join_tuned(parts: impl IntoIterator<Item = Part>, tuning: &Tuning) -> Compiled {
        let mut part = parts.into_iter().fold(Part::default(), Part::followed_by);
        tuning.apply(&mut part);
        link::link(part)
    }

    /// The same rules as others may name them: they do not run, and one of theirs with the same id comes first.
    #[must_use]
    pub fn aside(self) -> Self {
        let mut units = self.units;
        units.retain(|unit| !matches!(unit.body, Body::Filter(_)));
        units.iter_mut().for_each(|unit| unit.aside = true);
        Self { units, ..Self::default() }
    }

    /// Whether there is nothing in it about CloudTrail that is meant to run.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let runs = |unit: &Unit| !matches!(unit.body, Body::Absent(_));
        !self.units.iter().any(runs) && self.problems.is_empty()
    }

    fn followed_by(mut self, other: Part) -> Self {
        self.units.extend(other.units);
        self.feeds.extend(other.feeds);
        self.problems.extend(other.problems);
        self.skipped = self.skipped.plus(other.skipped);
        self
    }

    /// Carries out the actions of a file's documents, which come with their first lines.
    fn file(
        &mut self,
        name: &Arc<str>,
        named: bool,
        documents: impl Iterator<Item = (usize, Result<Node, YamlError>)>,
        values: &Values,
    ) {
        let mut global: Option<Node> = None;
        let mut previous: Option<Node> = None;
        let mut nodes = 0;
        for (line, read) in documents {
            let place = |line| Place { file: name.clone(), line };
            let mut node = match read {
                Ok(node) => node,
                Err(error) => {
                    self.problems.push(RuleError::Yaml(error.message).at(place(error.line)));
                    // What stands before it is not what a repetition means.
                    previous = None;
                    continue;
                }
            };
            let action = node.take("action");
            match action.as_ref().map(|action| action.text().unwrap_or_default()) {
                None => {}
                Some("global") => {
                    // They add up until a reset.
                    global = Some(over(global, node));
                    continue;
                }
                Some("reset") => {
                    global = None;
                    continue;
                }
                Some("repeat") => match previous.take() {
                    Some(repeated) => node = over(Some(repeated), node),
                    None => {
                        self.problems.push(RuleError::NothingToRepeat.at(place(line)));
                        continue;
                    }
                },
                Some(_) => {
                    self.problems.push(RuleError::Action.at(place(line)));
                    continue;
                }
            }
            let node = over(global.clone(), node);
            nodes += node.size();
            if nodes > MOST_NODES {
                let message = "too many values; what documents repeat is multiplying".to_owned();
                self.problems.push(RuleError::Yaml(message).at(place(line)));
                return;
            }
            self.document(name, named, &node, place(node.line), values);
            previous = Some(node);
        }
    }

    fn document(&mut self, name: &Arc<str>, named: bool, node: &Node, place: Place, values: &Values) {
        if let Some((generate, members)) = draft::members(node) {
            self.feeds.push(Feed { file: name.clone(), generate, members });
        }
        if !document::is_for_cloudtrail(node) {
            self.skipped.other_source += 1;
            return self.absent(node, place, Absence::OtherSource);
        }
        let status = node.get("status").and_then(Node::text);
        if matches!(status, Some("deprecated" | "unsupported")) && !named {
            self.skipped.retired += 1;
            return self.absent(node, place, Absence::Retired);
        }
        match document::compile(node, place.clone(), values) {
            Ok(unit) => self.units.push(unit),
            Err(faults) => {
                self.problems.extend(faults.into_iter().map(|fault| {
                    let line = fault.line;
                    RuleError::from(fault.error).at(Place { file: name.clone(), line })
                }));
                self.absent(node, place, Absence::Broken);
            }
        }
    }

    /// Remembers a rule that does not run, for those that name it.
    fn absent(&mut self, node: &Node, place: Place, absence: Absence) {
        if node.get("filter").is_none() {
            self.units.push(Unit::absent(Names::of(node), place, absence));
        }
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part")
            .field("units", &self.units.len())
            .field("problems", &self.problems)
            .field("skipped", &self.skipped)
            .finish_non_exhaustive()
    }
}

/// The second document laid over the first.
fn over(first: Option<Node>, second: Node) -> Node {
    match first {
        Some(mut first) => {
            first.merge(second);
            first
        }
        None => second,
    }
}

/// A thread with as much room for deep conditions as the first thread has.
fn spawn<'s, T: Send + 's>(
    scope: &'s Scope<'s, '_>,
    work: impl FnOnce() -> T + Send + 's,
) -> ScopedJoinHandle<'s, T> {
    let thread = std::thread::Builder::new().stack_size(8 << 20).spawn_scoped(scope, work);
    thread.expect("the system has room for a thread for each core")
}
