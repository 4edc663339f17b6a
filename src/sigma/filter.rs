//! Filters: selections of one document that narrow the conditions of rules in others.
//!
//! A filter's condition must hold beside that of the rule, so most filters begin with `not`. Its selections
//! have a name space of their own.

use super::detection;
use super::document::{Body, DocumentError, Fault, Names, Read};
use super::draft::{self, Reference};
use super::expression::{Condition, Expression};
use super::extension::{self, Owner};
use super::rule::Place;
use super::values::Values;
use super::yaml::{Data, Node};

/// A filter that runs. Its selections stand behind those of each rule that it narrows.
#[derive(Debug, Clone)]
pub struct Filter {
    /// The `id`, or `filter:<title>` for a filter without one.
    pub id: String,
    /// The title.
    pub title: String,
    /// Where it stands.
    pub place: Place,
    /// What must hold beside the condition of a rule.
    pub condition: Condition,
    /// The ids of the rules that it narrows, also of those that others may only name.
    pub narrows: Vec<String>,
}

/// A filter whose targets are not known yet.
pub(super) struct Sketch {
    pub(super) targets: Targets,
    pub(super) enabled: bool,
    pub(super) filter: Filter,
}

/// Which rules a filter narrows.
pub(super) enum Targets {
    /// All of its log source.
    Any,
    /// Those of these names.
    Named(Vec<Reference>),
}

/// What can be wrong with a filter.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// Nothing is narrowed.
    #[error("the filter names no rule: list rules under `rules`, or write `rules: any`")]
    NoTarget,
    /// More than one condition.
    #[error("a filter has one condition")]
    Conditions,
    /// No selection.
    #[error("the filter has no selection")]
    NoSelection,
    /// A target of another log source.
    #[error("the log source of the filter does not fit the rule `{0}`")]
    LogSource(String),
    /// A correlation as target.
    #[error("`{0}` is a correlation; filter its members")]
    Correlation(String),
}

/// Reads a filter document.
pub(super) fn read(
    document: &Node,
    names: &Names,
    place: &Place,
    values: &Values,
    faults: &mut Vec<Fault>,
) -> Read {
    let extension = extension::read(document, Owner::Filter, faults);
    if document.get("logsource").is_none_or(|node| node.data == Data::Null) {
        faults.push(Fault { line: document.line, error: DocumentError::Missing("logsource") });
    }
    let node = document.get("filter")?;
    let targets = targets(node, faults);
    if let Some(list) = node.get("condition").filter(|node| matches!(node.data, Data::List(_))) {
        faults.push(Fault { line: list.line, error: FilterError::Conditions.into() });
    }
    let mut reader = detection::Reader { values, arrays: false, faults };
    let read = reader.detection(node, "rules")?;
    if read.condition.selections.is_empty() {
        faults.push(Fault { line: node.line, error: FilterError::NoSelection.into() });
    }
    let title = names.title.clone();
    let filter = Filter {
        id: names.id.clone().unwrap_or_else(|| format!("filter:{title}")),
        title,
        place: place.clone(),
        condition: read.condition,
        narrows: Vec::new(),
    };
    let sketch = Sketch { targets: targets?, enabled: extension.enabled, filter };
    Some((Body::Filter(sketch), read.placeholders))
}

fn targets(node: &Node, faults: &mut Vec<Fault>) -> Option<Targets> {
    let Some(rules) = node.get("rules") else {
        faults.push(Fault { line: node.line, error: FilterError::NoTarget.into() });
        return None;
    };
    match rules.text() {
        Some(text) if ["any", "all"].into_iter().any(|word| text.eq_ignore_ascii_case(word)) => {
            Some(Targets::Any)
        }
        _ => {
            let references = draft::references(rules).filter(|references| !references.is_empty());
            if references.is_none() {
                faults.push(Fault { line: rules.line, error: FilterError::NoTarget.into() });
            }
            references.map(Targets::Named)
        }
    }
}

impl Filter {
    /// Adds the filter's condition to that of a rule.
    pub(super) fn narrow(&self, condition: &mut Condition) {
        let first = condition.selections.len();
        let own = self.condition.selections.iter();
        condition
            .selections
            .extend(own.map(|(name, expression)| (format!("{} / {name}", self.title), expression.clone())));
        let root = std::mem::replace(&mut condition.root, Expression::All(Vec::new()));
        condition.root = Expression::All(vec![root, shifted(&self.condition.root, first)]);
    }
}

/// The condition over selections that stand further back; the selections themselves refer to none.
fn shifted(root: &Expression, by: usize) -> Expression {
    let each = |parts: &[Expression]| parts.iter().map(|part| shifted(part, by)).collect();
    match root {
        Expression::All(parts) => Expression::All(each(parts)),
        Expression::Any(parts) => Expression::Any(each(parts)),
        Expression::AtLeast(count, parts) => Expression::AtLeast(*count, each(parts)),
        Expression::Not(part) => Expression::Not(Box::new(shifted(part, by))),
        Expression::Selection(index) => Expression::Selection(index + by),
        // Elements have a condition, and selections, of their own.
        leaf @ (Expression::Field(..)
        | Expression::Elements(..)
        | Expression::Keyword(_)
        | Expression::Succeeded) => leaf.clone(),
    }
}
