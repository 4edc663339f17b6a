//! The two engines, asked alike.

use rsigma_eval::CompiledRule;
use rsigma_eval::event::JsonEvent;
use trailhound::detect::{Detections, Scratch, Status};
use trailhound::sigma::{RuleFile, compile};

/// What an engine says of a rule on a record; ordered so that *and* is the minimum and *or* the maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// The rule is not taken.
    Refused,
    No,
    /// It cannot be told.
    Undecided,
    Yes,
}

impl Answer {
    pub fn not(self) -> Self {
        match self {
            Answer::Refused => Answer::Refused,
            Answer::No => Answer::Yes,
            Answer::Undecided => Answer::Undecided,
            Answer::Yes => Answer::No,
        }
    }

    pub fn all(answers: &[Answer]) -> Self {
        answers.iter().min().copied().unwrap_or(Answer::Yes)
    }

    /// A rule is refused as a whole.
    pub fn any(answers: &[Answer]) -> Self {
        match answers.iter().min() {
            Some(Answer::Refused) => Answer::Refused,
            _ => answers.iter().max().copied().unwrap_or(Answer::No),
        }
    }
}

/// What we say: by rule, then by record.
pub fn ours(rules: &[String], records: &[String]) -> Vec<Vec<Answer>> {
    let files: Vec<RuleFile> = rules
        .iter()
        .enumerate()
        .map(|(i, text)| RuleFile {
            name: i.to_string().into(),
            text: format!("id: '{i}'\n{text}"),
            named: true,
        })
        .collect();
    let compiled = compile(&files);
    let number = |id: &str| id.parse::<usize>().expect("ids are numbers");
    let mut answers = vec![vec![Answer::Refused; records.len()]; rules.len()];
    compiled.rules.iter().for_each(|rule| answers[number(&rule.id)].fill(Answer::No));
    let detections = Detections::new(compiled.rules);
    let mut scratch = Scratch::default();
    for (i, record) in records.iter().enumerate() {
        let read = detections.detect_alone(record.as_bytes(), &mut scratch, &mut |hit| {
            answers[number(&hit.rule.id)][i] = match hit.status {
                Status::Match => Answer::Yes,
                Status::Undecided => Answer::Undecided,
            };
        });
        read.expect("every record can be read");
    }
    answers
}

/// What they say, by their plainest way: no index, no prefilter.
pub fn theirs(rules: &[String], records: &[String]) -> Vec<Vec<Answer>> {
    let records: Vec<serde_json::Value> =
        records.iter().map(|record| serde_json::from_str(record).expect("records are JSON")).collect();
    let answer =
        |rule: &CompiledRule, record| match rsigma_eval::evaluate_rule(rule, &JsonEvent::borrow(record)) {
            Some(_) => Answer::Yes,
            None => Answer::No,
        };
    let answers = rules.iter().map(|rule| match compiled_by_them(rule) {
        Some(rule) => records.iter().map(|record| answer(&rule, record)).collect(),
        None => vec![Answer::Refused; records.len()],
    });
    answers.collect()
}

fn compiled_by_them(rule: &str) -> Option<CompiledRule> {
    let rule = rsigma_parser::parse_sigma_yaml(rule).ok()?.rules.pop()?;
    rsigma_eval::compile_rule(&rule).ok()
}
