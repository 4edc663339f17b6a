//! What looks wrong with a detection that compiles: fields that CloudTrail never has, calls that no service has, a
//! condition that must be tried on every record, and what the Sigma specification asks of a document. And what is worth
//! knowing: which members of a correlation alert by themselves, too.
//!
//! A comment `# rsigma-disable NAME` in a file switches a lint off for it, `# rsigma-disable-next-line NAME` for one
//! line; without a name all of them.

use std::collections::{HashMap, HashSet};

use rsigma_parser::{
    InlineSuppressions, LintConfig, Severity, lint_yaml_str_with_config, parse_inline_suppressions,
};

use super::calls::{Calls, Doubt};
use super::fields;
use crate::detect::{Narrowing, narrowing};
use crate::sigma::{Condition, Expression, Logic, Place, Rule, RuleFile, Test, Words};

/// Something that looks wrong, or is worth knowing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which of both.
    pub weight: Weight,
    /// Where.
    pub place: Place,
    /// The id of the rule.
    pub rule: String,
    /// The name of the lint.
    pub lint: String,
    /// What, in words.
    pub message: String,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// It looks wrong.
    Warning,
    /// It may be meant.
    Note,
}

/// Everything that looks wrong with these rules, by file and line; `files` are those that they stand in, and `aside`
/// other rules that they may name.
#[must_use]
pub fn lint(rules: &[Rule], aside: &[Rule], files: &[RuleFile]) -> Vec<Finding> {
    let known: HashMap<&str, &Rule> =
        aside.iter().chain(rules).map(|rule| (rule.id.as_str(), rule)).collect();
    let mut findings: Vec<Finding> = Vec::new();
    for file in files {
        let here: Vec<&Rule> = rules.iter().filter(|rule| rule.place.file == file.name).collect();
        if !here.is_empty() {
            findings.extend(lint_file(&here, &known, file));
        }
    }
    findings
}

fn lint_file(here: &[&Rule], known: &HashMap<&str, &Rule>, file: &RuleFile) -> Vec<Finding> {
    let suppressions = parse_inline_suppressions(&file.text);
    let mut findings: Vec<Finding> = Vec::new();
    for rule in here {
        let document = Document { rule, text: &file.text };
        findings.extend(document.findings());
        findings.extend(document.members(known));
        findings.extend(document.specification());
    }
    findings.retain(|finding| !is_suppressed(&suppressions, finding));
    findings.sort_by(|one, other| (one.place.line, &one.lint).cmp(&(other.place.line, &other.lint)));
    findings.dedup();
    findings
}

fn is_suppressed(suppressions: &InlineSuppressions, finding: &Finding) -> bool {
    let line = u32::try_from(finding.place.line.saturating_sub(1)).unwrap_or(u32::MAX);
    suppressions.disable_all
        || suppressions.file_disabled.contains(&finding.lint)
        || suppressions
            .line_disabled
            .get(&line)
            .is_some_and(|names| names.as_ref().is_none_or(|names| names.contains(&finding.lint)))
}

/// A rule and the file in which it stands.
struct Document<'d> {
    rule: &'d Rule,
    text: &'d str,
}

impl Document<'_> {
    fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if self.rule.id.starts_with("title:") {
            findings.push(self.finding(
                "",
                "missing_id",
                "has no id; alerts are known by its title".to_owned(),
            ));
        }
        let Some(condition) = self.rule.condition() else { return findings };
        if narrowing(self.rule) == Some(Narrowing::None) {
            let message = "looks at every record: nothing in its condition narrows it down, so that each is parsed for it";
            findings.push(self.finding("", "looks_at_everything", message.to_owned()));
        }
        for path in paths(condition) {
            findings.extend(fields::doubt(path).map(|message| self.finding(path, "unknown_field", message)));
        }
        let mut scene = Scene { condition, found: Vec::new() };
        scene.walk(&condition.root, &[]);
        let found = scene.found.into_iter();
        findings.extend(found.map(|(word, lint, message)| self.finding(&word, lint, message)));
        findings
    }

    /// What the specification asks of a document, beside what compiling asks.
    fn specification(&self) -> Vec<Finding> {
        let text: String = self.lines().map(|(_, line)| format!("{line}\n")).collect();
        let config = LintConfig {
            tag_namespaces: vec!["cis".to_owned()],
            // Here null in a list says what it seems to say: absent, or null.
            disabled_rules: HashSet::from(["null_in_value_list".to_owned()]),
            ..LintConfig::default()
        };
        let warnings = lint_yaml_str_with_config(&text, &config).into_iter();
        let grave =
            warnings.filter(|warning| matches!(warning.severity, Severity::Error | Severity::Warning));
        grave
            .map(|warning| {
                let line = warning.span.map_or(0, |span| span.start_line as usize);
                let place = Place { file: self.rule.place.file.clone(), line: self.rule.place.line + line };
                let (rule, lint) = (self.rule.id.clone(), warning.rule.to_string());
                Finding { weight: Weight::Warning, place, rule, lint, message: warning.message }
            })
            .collect()
    }

    /// Which members of a correlation go on alerting by themselves although it does not say `generate`.
    fn members(&self, known: &HashMap<&str, &Rule>) -> Vec<Finding> {
        let Logic::Correlation(correlation) = &self.rule.logic else { return Vec::new() };
        let members = correlation.members.iter().filter_map(|member| known.get(member.rule.as_str()));
        let note = |member: &&Rule| {
            let why = if member.place.file == self.rule.place.file {
                "another correlation says `generate: true`"
            } else {
                "it stands in another file; `generate: true` says that this is meant"
            };
            let message =
                format!("its member `{}` ({}) also alerts by itself: {why}", member.title, member.place);
            let names = [Some(member.id.as_str()), member.name.as_deref()];
            let written = names.into_iter().flatten().find(|name| self.line_of(name).is_some());
            let finding = self.finding(written.unwrap_or("rules"), "member_alerts", message);
            Finding { weight: Weight::Note, ..finding }
        };
        members.filter(|member| !correlation.generate && !member.muted).map(note).collect()
    }

    /// The document's lines from its first key on, with their numbers.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let first = self.rule.place.line;
        let lines = (1..).zip(self.text.lines()).skip(first - 1);
        lines.take_while(move |(line, text)| *line == first || !text.starts_with("---"))
    }

    /// A finding at the line that has the word, or at the rule's first one.
    fn finding(&self, word: &str, lint: &str, message: String) -> Finding {
        let file = self.rule.place.file.clone();
        let line = self.line_of(word).unwrap_or(self.rule.place.line);
        let (place, rule, lint) = (Place { file, line }, self.rule.id.clone(), lint.to_owned());
        Finding { weight: Weight::Warning, place, rule, lint, message }
    }

    /// The first line that has the word, comments left out.
    fn line_of(&self, word: &str) -> Option<usize> {
        let has_word = |line: &str| {
            let line = line.split(" #").next().unwrap_or_default();
            !line.trim_start().starts_with('#')
                && line.split(|c: char| !(c.is_alphanumeric() || "._-".contains(c))).any(|part| part == word)
        };
        self.lines().find(|(_, text)| !word.is_empty() && has_word(text)).map(|(line, _)| line)
    }
}

/// The paths of all fields that a condition looks at, each once.
fn paths(condition: &Condition) -> Vec<&str> {
    fn collect<'c>(part: &'c Expression, found: &mut Vec<&'c str>) {
        match part {
            Expression::All(parts) | Expression::Any(parts) | Expression::AtLeast(_, parts) => {
                parts.iter().for_each(|part| collect(part, found));
            }
            Expression::Not(inner) => collect(inner, found),
            Expression::Field(path, test) => {
                found.push(path.as_str());
                if let Test::Reference(other, ..) = test {
                    found.push(other.as_str());
                }
            }
            // What is asked of an element is a path within it.
            Expression::Elements(path, ..) => found.push(path.as_str()),
            Expression::Selection(_) | Expression::Keyword(_) | Expression::Succeeded => {}
        }
    }
    let mut found = Vec::new();
    condition.selections.iter().for_each(|(_, selection)| collect(selection, &mut found));
    collect(&condition.root, &mut found);
    found.sort_unstable();
    found.dedup();
    found
}

/// A walk through what must hold together: names of events and the sources that they are asked for with.
struct Scene<'c> {
    condition: &'c Condition,
    /// Word, lint, message.
    found: Vec<(String, &'static str, String)>,
}

impl<'c> Scene<'c> {
    /// `around` are the sources that what stands around this part asks for.
    fn walk(&mut self, part: &'c Expression, around: &[&'c str]) {
        let (mut leaves, mut choices) = (Vec::new(), Vec::new());
        self.together(part, &mut leaves, &mut choices);
        let words = |field: &str| -> Vec<&'c str> {
            let words = leaves.iter().filter(|(path, _)| *path == field);
            words.flat_map(|(_, words)| words.written()).collect()
        };
        let (own, names) = (words("eventSource"), words("eventName"));
        own.iter().for_each(|source| self.source(source));
        let sources = if own.is_empty() { around } else { &own[..] };
        names.iter().for_each(|name| self.call(sources, name));
        choices.into_iter().for_each(|choice| self.walk(choice, sources));
    }

    /// The tests of whole texts that must all hold, and the parts of which only some must.
    fn together(
        &self,
        part: &'c Expression,
        leaves: &mut Vec<(&'c str, &'c Words)>,
        choices: &mut Vec<&'c Expression>,
    ) {
        match part {
            Expression::All(parts) => parts.iter().for_each(|part| self.together(part, leaves, choices)),
            Expression::Selection(index) => {
                self.together(&self.condition.selections[*index].1, leaves, choices);
            }
            Expression::Any(parts) | Expression::AtLeast(_, parts) => match &parts[..] {
                [only] => self.together(only, leaves, choices),
                parts => choices.extend(parts),
            },
            Expression::Field(path, Test::Equals(words)) => leaves.push((path.as_str(), words)),
            Expression::Not(_)
            | Expression::Field(..)
            | Expression::Elements(..)
            | Expression::Keyword(_)
            | Expression::Succeeded => {}
        }
    }

    fn source(&mut self, source: &str) {
        if let Some(meant) = Calls::known().meant(source) {
            let message = format!("no service is known as `{source}`; is `{meant}` meant?");
            self.found.push((source.to_owned(), "unknown_source", message));
        }
    }

    /// A doubt counts if all sources have one: with several, each name is one of some.
    fn call(&mut self, sources: &[&str], name: &str) {
        let calls = Calls::known();
        let doubts: Option<Vec<Doubt>> = sources.iter().map(|source| calls.doubt(source, name)).collect();
        let Some(doubt) = doubts.and_then(|doubts| doubts.into_iter().next()) else { return };
        let source = sources.join("`, `");
        let edition = &calls.edition;
        let message = match doubt {
            Doubt::Misspelt(near) => {
                format!("`{source}` has no call `{name}`; is `{near}` meant? ({edition})")
            }
            Doubt::Elsewhere(others) => {
                let others = others[..others.len().min(3)].join("`, `");
                format!("`{source}` has no call `{name}`, but `{others}` has ({edition})")
            }
        };
        self.found.push((name.to_owned(), "unknown_call", message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sigma::compile;

    const HEAD: &str = "title: T\nid: 00000000-0000-4000-8000-000000000001\nlevel: low\nlogsource: {product: aws, service: cloudtrail}\ndetection:\n";

    /// Line and name of each finding.
    fn found(text: &str) -> Vec<(usize, String)> {
        let file = RuleFile { name: "x".into(), text: text.to_owned(), named: false };
        let compiled = compile(std::slice::from_ref(&file));
        assert!(compiled.problems.is_empty(), "{:?}", compiled.problems);
        let findings = lint(&compiled.rules, &[], &[file]);
        findings.into_iter().map(|finding| (finding.place.line, finding.lint)).collect()
    }

    #[test]
    fn what_looks_wrong_is_told_with_its_line() {
        let cases: [(&str, &[(usize, &str)]); 12] = [
            ("  s: {eventSource: iam.amazonaws.com, eventName: CreateUser}\n  condition: s\n", &[]),
            ("  s:\n    eventName: A\n    eventname: B\n  condition: s\n", &[(8, "unknown_field")]),
            (
                "  s:\n    eventSource: iam.amazonaws.com\n    eventName:\n      - CreateUser\n      - CreateUsr\n  condition: s\n",
                &[(10, "unknown_call")],
            ),
            (
                "  s:\n    eventSource: iam.amazonaws.com\n  t:\n    eventName: StopLogging\n  condition: s and t\n",
                &[(9, "unknown_call")],
            ),
            (
                "  s:\n    eventSource: iam.amazonaws.com\n  t:\n    eventName: StopLogging\n  condition: s and not t\n",
                &[],
            ),
            (
                "  s:\n    eventSource: [iam.amazonaws.com, cloudtrail.amazonaws.com]\n    eventName: StopLogging\n  condition: s\n",
                &[],
            ),
            (
                "  s:\n    - eventSource: iam.amazonaws.com\n    - eventName: StopLogging\n  condition: s\n",
                &[],
            ),
            (
                "  s:\n    - eventSource: iam.amazonaws.com\n      eventName: StopLogging\n    - eventName: A\n  condition: s\n",
                &[(8, "unknown_call")],
            ),
            (
                "  s: {eventSource: iam.amazon.com, eventName: CreateUser}\n  condition: s\n",
                &[(6, "unknown_source")],
            ),
            ("  s: {requestParameters.x: null}\n  condition: s\n", &[(1, "looks_at_everything")]),
            (
                "  # rsigma-disable-next-line unknown_field\n  s: {eventName: A, eventname: B}\n  condition: s\n",
                &[],
            ),
            ("  # rsigma-disable unknown_field\n  s: {eventName: A, eventname: B}\n  condition: s\n", &[]),
        ];
        for (detection, expected) in cases {
            let expected: Vec<_> = expected.iter().map(|(line, lint)| (*line, (*lint).to_owned())).collect();
            assert_eq!(found(&format!("{HEAD}{detection}")), expected, "{detection}");
        }
    }

    #[test]
    fn the_specification_is_asked_of_each_document() {
        let good = format!("{HEAD}  s: {{eventName: A}}\n  condition: s\n");
        let bad = good.replace("0001", "0002").replace("level: low\n", "level: low\ndate: yesterday\n");
        let lines = good.lines().count();
        assert_eq!(found(&format!("{good}---\n{bad}")), [(lines + 5, "invalid_date".to_owned())]);
        let filter = "title: F\nlogsource: {product: aws, service: cloudtrail}\nfilter: {rules: any, s: {eventName: A}, condition: not s}\n";
        assert_eq!(found(&format!("{good}--- # what is ours\n{filter}")), []);
    }
}
