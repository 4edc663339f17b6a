//! Selections and their condition, compiled: the `detection` of a rule, the `filter` of a filter.
//!
//! rsigma-parser reads keys, values and conditions one by one, so that everything that is wrong has its line.

use std::collections::BTreeSet;

use rsigma_parser::{
    ConditionExpr, FieldSpec, Modifier, Quantifier, SelectorPattern, SigmaParserError, SigmaValue,
};

use super::aggregation;
use super::document::{DocumentError, Fault};
use super::expression::{Condition, Expression, Share};
use super::item::{self, ItemError};
use super::pattern::{Case, selects};
use super::values::Values;
use super::yaml::{Data, Key, Node};
use crate::event::FieldPath;

/// What stands under `detection` or `filter`.
pub(super) struct Detection {
    pub(super) condition: Condition,
    /// The placeholders in it.
    pub(super) placeholders: BTreeSet<String>,
}

/// Reads selections; what is wrong gathers on the way.
pub(super) struct Reader<'r> {
    pub(super) values: &'r Values,
    /// Whether brackets in field names mean array matching, as from Sigma 3 on.
    pub(super) arrays: bool,
    pub(super) faults: &'r mut Vec<Fault>,
}

impl Reader<'_> {
    /// Reads selections and condition; `other` is a key beside them that is no selection.
    pub(super) fn detection(&mut self, node: &Node, other: &str) -> Option<Detection> {
        let before = self.faults.len();
        if !matches!(node.data, Data::Map(_)) {
            self.refuse(node.line, DocumentError::Expected("a map of selections and a condition"));
            return None;
        }
        let mut placeholders = BTreeSet::new();
        let mut selections = Vec::new();
        for (key, node) in node.entries() {
            if key.text != "condition" && key.text != other {
                let expression = self.selection(&key.text, node, &mut placeholders);
                selections.push((key.text.clone(), expression));
            }
        }
        selections.sort_by(|(one, _), (other, _)| one.cmp(other));
        let conditions = match node.get("condition") {
            Some(condition) => self.conditions(condition),
            None => {
                self.refuse(node.line, DocumentError::Missing("condition"));
                Vec::new()
            }
        };
        let names: Vec<&str> = selections.iter().map(|(name, _)| name.as_str()).collect();
        for (line, condition) in &conditions {
            missing(condition, &names, &mut |name| self.refuse(*line, DocumentError::NoSelection(name)));
        }
        if self.faults.len() > before {
            return None;
        }
        let mut roots: Vec<_> =
            conditions.iter().map(|(_, condition)| resolve(condition, &selections)).collect();
        let root = if roots.len() == 1 { roots.remove(0) } else { Expression::Any(roots) };
        Some(Detection { condition: Condition { selections, root }, placeholders })
    }

    fn refuse(&mut self, line: usize, error: DocumentError) {
        self.faults.push(Fault { line, error });
    }

    fn conditions(&mut self, node: &Node) -> Vec<(usize, ConditionExpr)> {
        let Some(texts) = node.texts() else {
            self.refuse(node.line, DocumentError::Expected("a condition, or a list of them"));
            return Vec::new();
        };
        if texts.is_empty() {
            self.refuse(node.line, DocumentError::Missing("condition"));
        }
        let mut conditions = Vec::new();
        for line in texts {
            match rsigma_parser::parse_condition(line.text) {
                Ok(condition) => conditions.push((line.number, condition)),
                Err(_) if line.text.contains('|') => {
                    let successor = aggregation::successor(line.text);
                    self.refuse(line.number, DocumentError::Aggregation(successor));
                }
                Err(error) => self.refuse(line.number, DocumentError::Condition(error)),
            }
        }
        conditions
    }

    /// Of what cannot be read nothing is used: any expression does.
    fn selection(&mut self, name: &str, node: &Node, placeholders: &mut BTreeSet<String>) -> Expression {
        match &node.data {
            Data::Null | Data::Scalar(_) => self.keywords(node.line, std::slice::from_ref(node)),
            Data::List(list) if !list.is_empty() && list.iter().all(Node::is_flat) => {
                self.keywords(node.line, list)
            }
            Data::List(list) if !list.is_empty() => {
                Expression::Any(list.iter().map(|node| self.selection(name, node, placeholders)).collect())
            }
            Data::Map(entries) if !entries.is_empty() => Expression::All(
                entries.iter().filter_map(|(key, value)| self.item(key, value, placeholders)).collect(),
            ),
            Data::List(_) | Data::Map(_) => {
                self.refuse(node.line, DocumentError::EmptySelection(name.to_owned()));
                Expression::Any(Vec::new())
            }
        }
    }

    fn keywords(&mut self, line: usize, nodes: &[Node]) -> Expression {
        let values: Vec<SigmaValue> = nodes.iter().map(|node| value(node.text(), false)).collect();
        item::keywords(&values, Case::Ignored).unwrap_or_else(|source| {
            self.refuse(line, DocumentError::Item { key: "keywords".to_owned(), source });
            Expression::Any(Vec::new())
        })
    }

    fn item(&mut self, key: &Key, node: &Node, placeholders: &mut BTreeSet<String>) -> Option<Expression> {
        let itself = key.text.split('|').next() == Some(".");
        let field = match rsigma_parser::parse_field_spec(&key.text) {
            // The parser has no name for the element itself.
            Ok(field) if itself => FieldSpec { name: Some(".".to_owned()), ..field },
            Ok(field) => field,
            Err(error) => {
                self.refuse(key.line, DocumentError::Key(error));
                return None;
            }
        };
        if self.arrays && field.name.as_ref().is_some_and(|name| has_bracket(name)) {
            return self.elements(key, node, placeholders);
        }
        let values = match &node.data {
            Data::List(list) => list.as_slice(),
            _ => std::slice::from_ref(node),
        };
        if !values.iter().all(Node::is_flat) {
            self.refuse(node.line, DocumentError::NestedValue);
            return None;
        }
        let compiled = values
            .iter()
            .map(|node| self.alternatives(&field, node, placeholders))
            .collect::<Result<Vec<_>, _>>()
            .and_then(|values| item::compile(&field, &values));
        compiled
            .map_err(|source| {
                let key_name = field.name.clone().unwrap_or_default();
                self.refuse(key.line, DocumentError::Item { key: key_name, source });
            })
            .ok()
    }

    /// What the elements of a list are asked for, behind a key such as `a.b[any]`, `a[all].b|contains` or
    /// `a[none]|re`.
    fn elements(
        &mut self,
        key: &Key,
        node: &Node,
        placeholders: &mut BTreeSet<String>,
    ) -> Option<Expression> {
        let Some((path, share, rest)) = quantified(&key.text) else {
            self.refuse(key.line, DocumentError::ArrayMatching);
            return None;
        };
        let has_condition = node.get("condition").is_some();
        let condition = match (rest.strip_prefix('.'), &node.data) {
            (Some(rest), _) => {
                let rest = Key { text: rest.to_owned(), ..key.clone() };
                Condition::of(self.item(&rest, node, placeholders)?)
            }
            (None, Data::Map(_)) if rest.is_empty() && has_condition => {
                let body = self.detection(node, "condition")?;
                placeholders.extend(body.placeholders);
                body.condition
            }
            (None, Data::Map(_)) if rest.is_empty() => {
                Condition::of(self.selection(&key.text, node, placeholders))
            }
            (None, data) if matches!(data, Data::Map(_)) || !(rest.is_empty() || rest.starts_with('|')) => {
                self.refuse(key.line, DocumentError::ArrayMatching);
                return None;
            }
            (None, _) => {
                let itself = Key { text: format!(".{rest}"), ..key.clone() };
                Condition::of(self.item(&itself, node, placeholders)?)
            }
        };
        Some(Expression::Elements(path, share, Box::new(condition)))
    }

    /// What a value stands for: itself, unless it has placeholders.
    fn alternatives(
        &self,
        field: &FieldSpec,
        node: &Node,
        placeholders: &mut BTreeSet<String>,
    ) -> Result<Vec<SigmaValue>, ItemError> {
        let raw = field.has_modifier(Modifier::Re);
        match node.text() {
            Some(text) if field.has_modifier(Modifier::Expand) => {
                let texts = self.values.expand(text, placeholders)?;
                Ok(texts.iter().map(|text| value(Some(text), raw)).collect())
            }
            text => Ok(vec![value(text, raw)]),
        }
    }
}

/// What the parser says, in one line and in words that rules use.
pub(super) fn said(error: &SigmaParserError) -> String {
    let text = match error {
        SigmaParserError::UnknownModifier(name) => return format!("there is no modifier `{name}`"),
        SigmaParserError::Condition(text, _) => text,
        other => return other.to_string(),
    };
    // The grammar's errors draw a picture and tell what they expected in the last line; where brackets are
    // nested, each repeats the one inside of it.
    let Some((_, expected)) = text.rsplit_once("= ") else {
        return text.rsplit(": ").next().unwrap_or(text).to_owned();
    };
    let words = [
        ("quantifier", "`1 of`"),
        ("ident", "a name"),
        ("not_op", "`not`"),
        ("or_op", "`or`"),
        ("and_op", "`and`"),
        ("EOI", "the end"),
    ];
    let expected =
        words.iter().fold(expected.trim().to_owned(), |text, (token, word)| text.replace(token, word));
    match error.location() {
        Some(location) => format!("{expected} at character {}", location.col),
        None => expected,
    }
}

/// The value of a scalar, of which only the text counts; a raw one has no wildcards.
fn value(text: Option<&str>, raw: bool) -> SigmaValue {
    match text {
        None => SigmaValue::Null,
        Some(text) if raw => SigmaValue::from_raw_string(text),
        Some(text) => SigmaValue::String(rsigma_parser::SigmaString::new(text)),
    }
}

fn has_bracket(name: &str) -> bool {
    rsigma_parser::fieldpath::first_unescaped(name, b'[').is_some()
}

/// The path of a list, how many of its elements are meant, and what follows in the key.
fn quantified(key: &str) -> Option<(FieldPath, Share, &str)> {
    let bracket = rsigma_parser::fieldpath::first_unescaped(key, b'[')?;
    let (name, rest) = key[bracket + 1..].split_once(']')?;
    let share = match name {
        "any" => Share::Any,
        "all" => Share::All,
        "all_or_empty" => Share::AllOrEmpty,
        "none" => Share::None,
        _ => return None,
    };
    let path = rsigma_parser::fieldpath::unescape_brackets(&key[..bracket]);
    Some((FieldPath::new(&path), share, rest))
}

/// Tells what a condition names although there is no such selection.
fn missing(condition: &ConditionExpr, names: &[&str], tell: &mut dyn FnMut(String)) {
    match condition {
        ConditionExpr::And(parts) | ConditionExpr::Or(parts) => {
            parts.iter().for_each(|part| missing(part, names, tell));
        }
        ConditionExpr::Not(part) => missing(part, names, tell),
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
