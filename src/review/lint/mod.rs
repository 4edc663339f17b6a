//! What looks wrong with a detection or filter that compiles: fields that CloudTrail never has, calls that no service
//! has and members that no call has, a condition that must be tried on every record, a filter that changes nothing,
//! and what the Sigma specification asks of a document. And what is worth knowing: which members of a correlation
//! alert by themselves, too.
//!
//! A comment `# rsigma-disable NAME` in a file switches a lint off for it, `# rsigma-disable-next-line NAME` for one
//! line; without a name all of them.

mod document;
mod filter;
mod scene;

use std::collections::HashMap;

use rsigma_parser::{InlineSuppressions, parse_inline_suppressions};

use crate::detect::{Narrowing, narrowing};
use crate::sigma::{Filter, Logic, Place, Rule, RuleFile};
use document::Document;
use scene::Scene;

/// Something that looks wrong, or is worth knowing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which of both.
    pub weight: Weight,
    /// Where.
    pub place: Place,
    /// The id of the rule or filter.
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

/// What is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'s> {
    /// The rules.
    pub rules: &'s [Rule],
    /// Every filter that narrows them, wherever it stands.
    pub filters: &'s [Filter],
    /// Other rules that both may name.
    pub aside: &'s [Rule],
    /// The files that rules and filters stand in.
    pub files: &'s [RuleFile],
}

/// Everything that looks wrong, by file and line.
#[must_use]
pub fn lint(subject: Subject<'_>) -> Vec<Finding> {
    let known = subject.aside.iter().chain(subject.rules).map(|rule| (rule.id.as_str(), rule)).collect();
    let linter = Linter { subject, known };
    subject.files.iter().flat_map(|file| linter.file(file)).collect()
}

struct Linter<'s> {
    subject: Subject<'s>,
    /// By id.
    known: HashMap<&'s str, &'s Rule>,
}

impl Linter<'_> {
    fn file(&self, file: &RuleFile) -> Vec<Finding> {
        let suppressions = parse_inline_suppressions(&file.text);
        let mut findings: Vec<Finding> = Vec::new();
        for rule in self.subject.rules.iter().filter(|rule| rule.place.file == file.name) {
            let document = Document::new(&rule.place, &rule.id, &file.text);
            findings.extend(self.rule(rule, &document));
            findings.extend(self.members(rule, &document));
            findings.extend(document.specification());
        }
        for filter in self.subject.filters.iter().filter(|filter| filter.place.file == file.name) {
            let document = Document::new(&filter.place, &filter.id, &file.text);
            findings.extend(filter::findings(filter, &self.known, &document));
            findings.extend(document.specification());
        }
        findings.retain(|finding| !is_suppressed(&suppressions, finding));
        let order = |finding: &Finding| (finding.place.line, finding.lint.clone(), finding.message.clone());
        findings.sort_by_cached_key(order);
        findings.dedup();
        findings
    }

    fn rule(&self, rule: &Rule, document: &Document<'_>) -> Vec<Finding> {
        let mut findings = Vec::new();
        if rule.id.starts_with("title:") {
            let message = "has no id; alerts are known by its title";
            findings.push(document.finding("", "missing_id", message.to_owned()));
        }
        let Some(condition) = rule.condition() else { return findings };
        if narrowing(rule) == Some(Narrowing::None) {
            let message = "looks at every record: nothing in its condition narrows it down, so that each is parsed for it";
            findings.push(document.finding("", "looks_at_everything", message.to_owned()));
        }
        // What filters have added is looked at where they stand.
        let filters = self.subject.filters.iter().filter(|filter| filter.narrows.contains(&rule.id));
        let added: usize = filters.map(|filter| filter.condition.selections.len()).sum();
        let own = condition.selections.len().saturating_sub(added);
        let mut scene = Scene::new(&condition.selections[..own]);
        scene.look_at_all(&condition.root);
        findings.extend(scene.doubts.into_iter().map(|doubt| document.doubtful(doubt)));
        findings
    }

    /// Which members of a correlation go on alerting by themselves although it does not say `generate`.
    fn members(&self, rule: &Rule, document: &Document<'_>) -> Vec<Finding> {
        let Logic::Correlation(correlation) = &rule.logic else { return Vec::new() };
        let members = correlation.members.iter().filter_map(|member| self.known.get(member.rule.as_str()));
        let note = |member: &&Rule| {
            let why = if member.place.file == rule.place.file {
                "another correlation says `generate: true`"
            } else {
                "it stands in another file; `generate: true` says that this is meant"
            };
            let message =
                format!("its member `{}` ({}) also alerts by itself: {why}", member.title, member.place);
            let names = [Some(member.id.as_str()), member.name.as_deref()];
            let written = names.into_iter().flatten().find(|name| document.has(name));
            let finding = document.finding(written.unwrap_or("rules"), "member_alerts", message);
            Finding { weight: Weight::Note, ..finding }
        };
        members.filter(|member| !correlation.generate && !member.muted).map(note).collect()
    }
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

#[cfg(test)]
mod tests;
