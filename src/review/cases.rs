//! Detections against their cases: hits, on which one of a file's detections must fire, and near misses, on which
//! none may.
//!
//! Cases stand in folders that mirror the rule folder: those of `iam/user-created.yml` are
//! `iam/user-created/hit-NAME.json` and `miss-NAME.json`, each one record, a list of them, or a log file. A case is one
//! stream of events: a detection over more than one of them sees them all, and nothing else.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::explanation::{brief, event_members, explain, objections, word};
use super::records::{self, RecordsError};
use super::stream::Stream;
use crate::detect::Detections;
use crate::event::Parser;
use crate::folder;
use crate::sigma::{Logic, Rule};

/// Records of a case of which a failure tells why.
const MOST_TOLD: usize = 3;

/// The detections of one file, and what became of their cases.
#[derive(Debug)]
pub struct Suite {
    /// The file as the user would write it.
    pub file: String,
    /// Its cases, by name.
    pub cases: Vec<Case>,
}

/// A case, or the lack of one.
#[derive(Debug)]
pub struct Case {
    /// Its name, `hit-NAME` or `miss-NAME`.
    pub name: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a case.
#[derive(Debug)]
pub enum Outcome {
    /// As it should be.
    Passed,
    /// Another outcome than the expected one.
    Failed(Failure),
    /// The case cannot be read.
    Broken(RecordsError),
    /// The file's name says neither hit nor miss.
    Nameless,
}

/// Why a case failed.
#[derive(Debug)]
pub struct Failure {
    /// What was expected, and what happened instead.
    pub message: String,
    /// What the conditions came to, line by line.
    pub details: Vec<String>,
}

/// What became of all cases.
#[derive(Debug, Default)]
pub struct Report {
    /// By file, in the order of the rules.
    pub suites: Vec<Suite>,
    /// Folders with cases that belong to no detection that runs.
    pub orphans: Vec<PathBuf>,
    /// What could not be looked into.
    pub faults: Vec<(PathBuf, io::Error)>,
}

impl Report {
    /// How many cases came to this.
    #[must_use]
    pub fn count(&self, is: fn(&Outcome) -> bool) -> usize {
        self.suites.iter().flat_map(|suite| &suite.cases).filter(|case| is(&case.outcome)).count()
    }
}

/// Whether one is a hit or a near miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Hit,
    Miss,
}

impl Kind {
    fn of(name: &str) -> Option<Self> {
        match name {
            name if name.starts_with("hit-") => Some(Kind::Hit),
            name if name.starts_with("miss-") => Some(Kind::Miss),
            _ => None,
        }
    }
}

/// Runs detections against the cases below `fixtures`; `paths` are the rule folders and files that the user named.
#[must_use]
pub fn run(rules: &[Rule], paths: &[PathBuf], fixtures: &Path) -> Report {
    let walk = folder::walk(fixtures);
    let mut folders: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    for file in walk.files {
        let folder = file.parent().and_then(|folder| folder.strip_prefix(fixtures).ok());
        folders.entry(folder.unwrap_or(Path::new("")).to_owned()).or_default().push(file);
    }
    let detections = Detections::new(rules.to_vec());
    let mut report = Report { faults: walk.faults, ..Report::default() };
    for (file, rules) in by_file(rules) {
        let slug = slug(file, paths, &|slug| folders.contains_key(slug));
        let cases = folders.remove(&slug).unwrap_or_default();
        report.suites.push(Suite { file: file.to_owned(), cases: judge_all(&cases, &rules, &detections) });
    }
    // A named file is not all there is.
    if paths.iter().all(|path| path.is_dir()) {
        report.orphans = folders.into_keys().collect();
    }
    report
}

fn by_file(rules: &[Rule]) -> Vec<(&str, Vec<&Rule>)> {
    let mut files: Vec<(&str, Vec<&Rule>)> = Vec::new();
    for rule in rules {
        match files.iter_mut().find(|(file, _)| *file == &*rule.place.file) {
            Some((_, rules)) => rules.push(rule),
            None => files.push((&rule.place.file, vec![rule])),
        }
    }
    files
}

/// The folder of a rule file's cases, as it stands below the fixtures. What comes before the rule folder does not
/// count; of a file that was named itself that is unknown, so there the longest end that exists is taken.
fn slug(file: &str, paths: &[PathBuf], exists: &dyn Fn(&Path) -> bool) -> PathBuf {
    let path = Path::new(file).with_extension("");
    if let Some(below) = paths.iter().find_map(|base| path.strip_prefix(base).ok()) {
        return below.to_owned();
    }
    let parts: Vec<_> = path.components().collect();
    let mut ends = (0..parts.len()).map(|from| parts[from..].iter().collect::<PathBuf>());
    let slug = ends.find(|end| exists(end));
    slug.unwrap_or_else(|| path.file_name().map(PathBuf::from).unwrap_or_default())
}

fn judge_all(files: &[PathBuf], rules: &[&Rule], detections: &Detections) -> Vec<Case> {
    let mut cases: Vec<Case> = files.iter().map(|file| judge(file, rules, detections)).collect();
    for (kind, prefix, words) in [(Kind::Hit, "hit", "hit"), (Kind::Miss, "miss", "near miss")] {
        if !cases.iter().any(|case| Kind::of(&case.name) == Some(kind)) {
            let message = format!("there is no {words}: nothing shows that the detection works");
            let outcome = Outcome::Failed(Failure { message, details: Vec::new() });
            cases.push(Case { name: format!("{prefix}-*"), outcome });
        }
    }
    cases
}

fn judge(file: &Path, rules: &[&Rule], detections: &Detections) -> Case {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let name = name.split('.').next().unwrap_or_default().to_owned();
    let outcome = match Kind::of(&name) {
        None => Outcome::Nameless,
        Some(kind) => outcome(kind, file, rules, detections).unwrap_or_else(Outcome::Broken),
    };
    Case { name, outcome }
}

fn outcome(
    kind: Kind,
    file: &Path,
    rules: &[&Rule],
    detections: &Detections,
) -> Result<Outcome, RecordsError> {
    let records = records::of_file(file)?;
    let stream = Stream::of(detections, &records)?;
    let ours: Vec<&Rule> = rules.iter().copied().filter(|rule| stream.fired.contains(&rule.id)).collect();
    let message = match kind {
        Kind::Hit if ours.is_empty() => "expected an alert, but none was raised".to_owned(),
        Kind::Miss if !ours.is_empty() => {
            let titles: Vec<&str> = ours.iter().map(|rule| rule.title.as_str()).collect();
            format!("expected no alert, but one was raised: {}", titles.join(", "))
        }
        Kind::Hit | Kind::Miss => return Ok(Outcome::Passed),
    };
    let told = if kind == Kind::Hit { rules } else { &ours };
    let mut details: Vec<String> = told.iter().flat_map(|rule| counts(rule, &stream, detections)).collect();
    if kind == Kind::Hit && stream.untimed > 0 {
        details.push(format!("{} hit(s) without an eventTime, which take no part", stream.untimed));
    }
    details.extend(self::details(kind, told, &records));
    Ok(Outcome::Failed(Failure { message, details }))
}

/// How many hits a detection over more than one event saw.
fn counts(rule: &Rule, stream: &Stream, detections: &Detections) -> Vec<String> {
    let hits = |rule: &Rule| stream.hits.get(&rule.id).copied().unwrap_or_default();
    match &rule.logic {
        Logic::Correlation(_) => event_members(rule, detections.rules())
            .into_iter()
            .map(|member| format!("{}: {} hit(s) of {}", rule.title, hits(member), member.title))
            .collect(),
        Logic::Event(_) if rule.extension.first_seen.is_some() => {
            vec![format!("{}: {} hit(s); nothing is told while learning", rule.title, hits(rule))]
        }
        Logic::Event(_) => Vec::new(),
    }
}

/// For the first records what decided: the leaves that stand against a hit, the selections behind an alert.
fn details(kind: Kind, rules: &[&Rule], records: &[Vec<u8>]) -> Vec<String> {
    let mut details = Vec::new();
    let mut parser = Parser::default();
    for (index, record) in records.iter().enumerate().take(MOST_TOLD) {
        for rule in rules {
            let Some(condition) = rule.condition() else { continue };
            // A record that cannot be read was told of before.
            let _ = parser.parse(record, |event| {
                let trace = explain(condition, &event);
                details.push(format!("record {index}, {}: {}", rule.title, word(trace.verdict)));
                match kind {
                    Kind::Hit => details.extend(objections(&trace).iter().map(|line| format!("  {line}"))),
                    Kind::Miss => details.push(format!("  {}", brief(&trace))),
                }
            });
        }
    }
    if records.len() > MOST_TOLD {
        details.push(format!("and {} more record(s)", records.len() - MOST_TOLD));
    }
    details
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_cases_mirror_those_of_rules() {
        let known = ["iam/user", "user", "x"];
        let exists = |slug: &Path| known.iter().any(|known| Path::new(known) == slug);
        let cases = [
            ("rules/iam/user.yml", vec!["rules"], "iam/user"),
            ("rules/iam/other.yml", vec!["rules"], "iam/other"),
            ("rules/user.yml", vec!["rules"], "user"),
            ("/a/rules/iam/user.yml", vec!["/a/rules/iam/user.yml"], "iam/user"),
            ("pack/iam/user.yml", vec![], "iam/user"),
            ("some/where/else.yml", vec!["some/where/else.yml"], "else"),
        ];
        for (file, paths, expected) in cases {
            let paths: Vec<PathBuf> = paths.into_iter().map(PathBuf::from).collect();
            assert_eq!(slug(file, &paths, &exists), Path::new(expected), "{file}");
        }
    }
}
