//! One document of a file: where words stand in it, and what the specification asks of it.

use std::collections::HashSet;

use rsigma_parser::{LintConfig, Severity, lint_yaml_str_with_config};

use super::scene::Doubt;
use super::{Finding, Weight};
use crate::sigma::Place;

/// A rule or filter as it stands in a file.
pub(super) struct Document<'d> {
    place: &'d Place,
    id: &'d str,
    /// The text of the whole file.
    text: &'d str,
}

impl<'d> Document<'d> {
    /// The document that begins at this place of the file's text.
    pub(super) fn new(place: &'d Place, id: &'d str, text: &'d str) -> Self {
        Self { place, id, text }
    }

    /// What the specification asks of a document, beside what compiling asks.
    pub(super) fn specification(&self) -> Vec<Finding> {
        let text: String = self.lines().map(|(_, line)| format!("{line}\n")).collect();
        let config = LintConfig {
            tag_namespaces: vec!["cis".to_owned()],
            disabled_rules: HashSet::from([
                // Here null in a list says what it seems to say: absent, or null.
                "null_in_value_list".to_owned(),
                // Its selections may be called anything.
                "missing_filter_selection".to_owned(),
                // Those that are deprecated do not run.
                "filter_has_status".to_owned(),
            ]),
            ..LintConfig::default()
        };
        let warnings = lint_yaml_str_with_config(&text, &config).into_iter();
        let grave =
            warnings.filter(|warning| matches!(warning.severity, Severity::Error | Severity::Warning));
        grave
            .map(|warning| {
                let line = self.place.line + warning.span.map_or(0, |span| span.start_line as usize);
                self.at(line, &warning.rule.to_string(), warning.message)
            })
            .collect()
    }

    /// A finding at the line that has the word, or at the first one.
    pub(super) fn finding(&self, word: &str, lint: &str, message: String) -> Finding {
        self.at(self.line_of(word).unwrap_or(self.place.line), lint, message)
    }

    /// What is doubted, at its word.
    pub(super) fn doubtful(&self, Doubt { word, lint, message }: Doubt) -> Finding {
        self.finding(&word, lint, message)
    }

    /// Whether the word stands in the document.
    pub(super) fn has(&self, word: &str) -> bool {
        self.line_of(word).is_some()
    }

    fn at(&self, line: usize, lint: &str, message: String) -> Finding {
        let place = Place { file: self.place.file.clone(), line };
        let (rule, lint) = (self.id.to_owned(), lint.to_owned());
        Finding { weight: Weight::Warning, place, rule, lint, message }
    }

    /// The lines from the first key on, with their numbers.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let first = self.place.line;
        let lines = (1..).zip(self.text.lines()).skip(first - 1);
        lines.take_while(move |(line, text)| *line == first || !text.starts_with("---"))
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
