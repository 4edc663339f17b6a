//! One YAML document to one compiled detection, with a line for everything that is wrong.
//!
//! rsigma-parser reads documents, conditions and modifiers. It knows no lines and stops at the first mistake,
//! so that keys and conditions are first checked one by one on the tree that does.

use rsigma_parser::{ConditionExpr, Detection, Quantifier, SelectorPattern, SigmaRule};
use sha2::{Digest, Sha256};

use super::expression::{Condition, Expression};
use super::item::{self, ItemError};
use super::pattern::{Case, selects};
use super::rule::{Attempts, Extension, Level, Logic, Place, Rule};
use super::template::{Template, TemplateError};
use super::yaml::{Data, Node};
use crate::event::hex;

/// Something wrong in a document, at a line of its file.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) error: DocumentError,
}

/// What can be wrong with a document.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is no map.
    #[error("a rule is a map of keys and values")]
    NotAMap,
    /// A key that must be there is not.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A correlation or a filter.
    #[error("{0} rules are not available in this version")]
    Unavailable(&'static str),
    /// A condition that is none.
    #[error("the condition is not valid: {0}")]
    Condition(#[source] rsigma_parser::SigmaParserError),
    /// The old form of aggregation.
    #[error("aggregation in a condition (`|`) is not part of Sigma any more; write a correlation")]
    Aggregation,
    /// A condition names something that is not there.
    #[error("the condition names `{0}`, but there is no such selection")]
    NoSelection(String),
    /// A key of a selection that cannot be read.
    #[error("{0}")]
    Key(#[source] rsigma_parser::SigmaParserError),
    /// A selection that says nothing.
    #[error("the selection `{0}` is empty")]
    EmptySelection(String),
    /// A value that is neither a scalar nor a list of scalars.
    #[error("a field takes a value or a list of values, not a map")]
    NestedValue,
    /// A field and its values.
    #[error("`{key}`: {source}")]
    Item {
        /// The field's name.
        key: String,
        /// What is wrong.
        source: ItemError,
    },
    /// The array matching of Sigma 3.
    #[error("array matching (`sigma-version: 3`) is not supported")]
    ArrayMatching,
    /// A level that is none.
    #[error("{0}")]
    Level(#[source] super::rule::UnknownLevel),
    /// What stands under `trailhound:`.
    #[error("`trailhound.{key}`: {problem}")]
    Extension {
        /// The key.
        key: String,
        /// What is wrong.
        problem: ExtensionProblem,
    },
    /// Anything else that the parser refuses.
    #[error("{0}")]
    Parser(String),
}

/// What can be wrong with a key under `trailhound:`.
#[derive(Debug, thiserror::Error)]
pub enum ExtensionProblem {
    /// A key that does not exist.
    #[error("unknown key")]
    Unknown,
    /// A key of a later version.
    #[error("not available in this version")]
    Unavailable,
    /// A value of another kind.
    #[error("expected {0}")]
    Expected(&'static str),
    /// A template that cannot be read.
    #[error("{0}")]
    Template(#[source] TemplateError),
}

/// Whether the document is a rule over CloudTrail; a rule for another log source is none of ours.
pub(super) fn is_for_cloudtrail(document: &Node) -> bool {
    let Some(source) = document.get("logsource") else { return true };
    let is = |key, wanted: &str| {
        source.get(key).and_then(Node::text).is_none_or(|text| text.eq_ignore_ascii_case(wanted))
    };
    let anything = ["product", "service", "category"].iter().any(|key| source.get(key).is_some());
    !anything || source.get("product").is_some() && is("product", "aws") && is("service", "cloudtrail")
}

/// Compiles a document.
pub(super) fn compile(document: &Node, place: Place) -> Result<Rule, Vec<Fault>> {
    let mut faults = Vec::new();
    check(document, &mut faults);
    let extension = extension(document, &mut faults);
    let level = level(document, &mut faults);
    if !faults.is_empty() {
        return Err(faults);
    }
    let rule = parse(document).map_err(|fault| vec![fault])?;
    let condition = compile_condition(&rule, document, extension.attempts)?;
    let list = |list: &[String]| list.iter().filter(|text| !text.trim().is_empty()).cloned().collect();
    Ok(Rule {
        id: rule.id.clone().unwrap_or_else(|| format!("title:{}", rule.title)),
        level,
        status: document.get("status").and_then(Node::text).map(str::to_owned),
        tags: list(&rule.tags),
        description: rule.description.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()),
        references: list(&rule.references),
        falsepositives: list(&rule.falsepositives),
        extension,
        hash: hex(&Sha256::digest(document.to_flow())),
        place,
        name: rule.name,
        muted: false,
        logic: Logic::Event(condition),
        title: rule.title,
    })
}

/// What can be checked line by line before the parser sees the document.
fn check(document: &Node, faults: &mut Vec<Fault>) {
    let line = document.line;
    if !matches!(document.data, Data::Map(_)) {
        faults.push(Fault { line, error: DocumentError::NotAMap });
        return;
    }
    for kind in ["correlation", "filter"] {
        if let Some(node) = document.get(kind) {
            faults.push(Fault { line: node.line, error: DocumentError::Unavailable(kind) });
            return;
        }
    }
    for key in ["title", "logsource", "detection"] {
        if document.get(key).is_none_or(|node| node.data == Data::Null) {
            faults.push(Fault { line, error: DocumentError::Missing(key) });
        }
    }
    let Some(detection) = document.get("detection") else { return };
    for (key, node) in detection.entries() {
        match key.text.as_str() {
            "condition" => check_conditions(node, faults),
            "timeframe" => {}
            _ => check_selection(&key.text, node, faults),
        }
    }
    if detection.get("condition").is_none() {
        faults.push(Fault { line: detection.line, error: DocumentError::Missing("condition") });
    }
}

fn check_conditions(node: &Node, faults: &mut Vec<Fault>) {
    let conditions = match &node.data {
        Data::List(list) if list.is_empty() => {
            faults.push(Fault { line: node.line, error: DocumentError::Missing("condition") });
            return;
        }
        Data::List(list) => list.iter().collect(),
        _ => vec![node],
    };
    for node in conditions {
        let text = node.text().unwrap_or_default();
        let error = match rsigma_parser::parse_condition(text) {
            Ok(_) => continue,
            Err(_) if text.contains('|') => DocumentError::Aggregation,
            Err(error) => DocumentError::Condition(error),
        };
        faults.push(Fault { line: node.line, error });
    }
}

/// Checks keys and the shape of values, through lists and maps.
fn check_selection(name: &str, node: &Node, faults: &mut Vec<Fault>) {
    match &node.data {
        Data::Null | Data::Scalar(_) => {}
        Data::List(list) => {
            if list.is_empty() {
                faults.push(Fault { line: node.line, error: DocumentError::EmptySelection(name.to_owned()) });
            }
            list.iter().for_each(|node| check_selection(name, node, faults));
        }
        Data::Map(entries) => {
            if entries.is_empty() {
                faults.push(Fault { line: node.line, error: DocumentError::EmptySelection(name.to_owned()) });
            }
            for (key, value) in entries {
                if let Err(error) = rsigma_parser::parse_field_spec(&key.text) {
                    faults.push(Fault { line: key.line, error: DocumentError::Key(error) });
                }
                let flat = |node: &Node| matches!(node.data, Data::Null | Data::Scalar(_));
                let plain = match &value.data {
                    Data::List(list) => list.iter().all(flat),
                    _ => flat(value),
                };
                if !plain {
                    faults.push(Fault { line: value.line, error: DocumentError::NestedValue });
                }
            }
        }
    }
}

fn parse(document: &Node) -> Result<SigmaRule, Fault> {
    let fault = |error: String| Fault { line: document.line, error: DocumentError::Parser(error) };
    let mut collection =
        rsigma_parser::parse_sigma_yaml(&document.to_flow()).map_err(|error| fault(error.to_string()))?;
    // With a rule, what the parser complains about is metadata that no alert depends on.
    collection.rules.pop().ok_or_else(|| fault(collection.errors.join("; ")))
}

fn level(document: &Node, faults: &mut Vec<Fault>) -> Level {
    let Some(node) = document.get("level") else { return Level::Medium };
    node.text().unwrap_or_default().parse().unwrap_or_else(|error| {
        faults.push(Fault { line: node.line, error: DocumentError::Level(error) });
        Level::Medium
    })
}

fn extension(document: &Node, faults: &mut Vec<Fault>) -> Extension {
    let mut extension = Extension::default();
    let Some(node) = document.get("trailhound") else { return extension };
    let mut refuse = |line, key: &str, problem| {
        faults.push(Fault { line, error: DocumentError::Extension { key: key.to_owned(), problem } });
    };
    if !matches!(node.data, Data::Map(_)) {
        refuse(node.line, "", ExtensionProblem::Expected("a map"));
    }
    for (key, value) in node.entries() {
        if let Err(problem) = set(&mut extension, &key.text, value.text()) {
            refuse(key.line, &key.text, problem);
        }
    }
    extension
}

/// Sets one key under `trailhound:`.
fn set(extension: &mut Extension, key: &str, text: Option<&str>) -> Result<(), ExtensionProblem> {
    let expected = |what| Err(ExtensionProblem::Expected(what));
    match (key, text) {
        ("enabled", Some("true")) => extension.enabled = true,
        ("enabled", Some("false")) => extension.enabled = false,
        ("enabled", _) => return expected("`true` or `false`"),
        ("attempts", Some("success")) => extension.attempts = Attempts::Success,
        ("attempts", Some("any")) => extension.attempts = Attempts::Any,
        ("attempts", _) => return expected("`success` or `any`"),
        ("summary", Some(text)) => {
            extension.summary = Some(Template::read(text).map_err(ExtensionProblem::Template)?);
        }
        ("response", Some(text)) if !text.trim().is_empty() => {
            extension.response = Some(text.trim().to_owned());
        }
        ("summary" | "response", _) => return expected("a sentence"),
        ("group" | "first_seen", _) => return Err(ExtensionProblem::Unavailable),
        _ => return Err(ExtensionProblem::Unknown),
    }
    Ok(())
}

fn compile_condition(rule: &SigmaRule, document: &Node, attempts: Attempts) -> Result<Condition, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut selections: Vec<(String, Expression)> = Vec::new();
    let mut named: Vec<_> = rule.detection.named.iter().collect();
    named.sort_by_key(|(name, _)| name.as_str());
    for (name, detection) in named {
        let node = document.get("detection").and_then(|detection| detection.get(name)).unwrap_or(document);
        match compile_selection(detection) {
            Ok(expression) => selections.push((name.clone(), expression)),
            Err(error) => faults.push(Fault { line: line_of(&error, node), error }),
        }
    }
    let names: Vec<&str> = rule.detection.named.keys().map(String::as_str).collect();
    for (name, line) in missing_selections(rule, document, &names) {
        faults.push(Fault { line, error: DocumentError::NoSelection(name) });
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let mut conditions: Vec<_> =
        rule.detection.conditions.iter().map(|condition| resolve(condition, &selections)).collect();
    let root = if conditions.len() == 1 { conditions.remove(0) } else { Expression::Any(conditions) };
    let root = match attempts {
        Attempts::Any => root,
        Attempts::Success => Expression::All(vec![root, Expression::Succeeded]),
    };
    Ok(Condition { selections, root })
}

fn compile_selection(detection: &Detection) -> Result<Expression, DocumentError> {
    let all = |parts: &[Detection]| parts.iter().map(compile_selection).collect::<Result<Vec<_>, _>>();
    Ok(match detection {
        Detection::AllOf(items) => Expression::All(
            items
                .iter()
                .map(|item| {
                    item::compile(item).map_err(|source| DocumentError::Item {
                        key: item.field.name.clone().unwrap_or_default(),
                        source,
                    })
                })
                .collect::<Result<_, _>>()?,
        ),
        Detection::AnyOf(parts) => Expression::Any(all(parts)?),
        Detection::And(parts) => Expression::All(all(parts)?),
        Detection::Keywords(values) => item::keywords(values, Case::Ignored)
            .map_err(|source| DocumentError::Item { key: "keywords".to_owned(), source })?,
        Detection::ArrayMatch { .. } | Detection::Conditional { .. } => {
            return Err(DocumentError::ArrayMatching);
        }
    })
}

/// The line of the key that an error speaks of, else that of the selection.
fn line_of(error: &DocumentError, selection: &Node) -> usize {
    fn find(node: &Node, wanted: &str) -> Option<usize> {
        match &node.data {
            Data::List(list) => list.iter().find_map(|node| find(node, wanted)),
            Data::Map(entries) => entries
                .iter()
                .find(|(key, _)| key.text.split('|').next() == Some(wanted))
                .map(|(key, _)| key.line),
            Data::Scalar(text) => (text == wanted).then_some(node.line),
            Data::Null => None,
        }
    }
    let found = match error {
        DocumentError::Item { key, .. } => find(selection, key),
        _ => None,
    };
    found.unwrap_or(selection.line)
}

/// What the conditions name although there is no such selection, with the lines of the conditions.
fn missing_selections(rule: &SigmaRule, document: &Node, names: &[&str]) -> Vec<(String, usize)> {
    let node = document.get("detection").and_then(|detection| detection.get("condition"));
    let lines: Vec<usize> = match node.map(|node| (&node.data, node.line)) {
        Some((Data::List(list), _)) => list.iter().map(|node| node.line).collect(),
        Some((_, line)) => vec![line],
        None => Vec::new(),
    };
    let mut missing = Vec::new();
    for (condition, line) in rule.detection.conditions.iter().zip(lines) {
        collect_missing(condition, names, &mut |name| missing.push((name, line)));
    }
    missing
}

fn collect_missing(condition: &ConditionExpr, names: &[&str], tell: &mut dyn FnMut(String)) {
    match condition {
        ConditionExpr::And(parts) | ConditionExpr::Or(parts) => {
            parts.iter().for_each(|part| collect_missing(part, names, tell));
        }
        ConditionExpr::Not(part) => collect_missing(part, names, tell),
        ConditionExpr::Identifier(name) if names.contains(&name.as_str()) => {}
        ConditionExpr::Identifier(name) => tell(name.clone()),
        ConditionExpr::Selector { pattern, .. } => {
            if !names.iter().any(|name| selects(pattern, name)) {
                tell(match pattern {
                    SelectorPattern::Them => "them".to_owned(),
                    SelectorPattern::Pattern(pattern) => pattern.clone(),
                });
            }
        }
    }
}

fn resolve(condition: &ConditionExpr, selections: &[(String, Expression)]) -> Expression {
    let all = |parts: &[ConditionExpr]| parts.iter().map(|part| resolve(part, selections)).collect();
    match condition {
        ConditionExpr::And(parts) => Expression::All(all(parts)),
        ConditionExpr::Or(parts) => Expression::Any(all(parts)),
        ConditionExpr::Not(part) => Expression::Not(Box::new(resolve(part, selections))),
        ConditionExpr::Identifier(name) => {
            let index = selections.iter().position(|(known, _)| known == name);
            Expression::Selection(index.expect("conditions were checked to name known selections"))
        }
        ConditionExpr::Selector { quantifier, pattern } => {
            let named = |(_, (name, _)): &(usize, &(String, Expression))| selects(pattern, name);
            let chosen: Vec<Expression> =
                selections.iter().enumerate().filter(named).map(|(i, _)| Expression::Selection(i)).collect();
            match quantifier {
                Quantifier::Any => Expression::Any(chosen),
                Quantifier::All => Expression::All(chosen),
                Quantifier::Count(count) => {
                    Expression::AtLeast(usize::try_from(*count).unwrap_or(usize::MAX), chosen)
                }
            }
        }
    }
}
