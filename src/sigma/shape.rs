//! What a correlation asks of the hits in its window: its type and its condition.

use rsigma_parser::{ConditionExpr, ConditionOperator, CorrelationType};

use super::correlation::{CorrelationKind, Threshold};
use super::document::DocumentError;
use super::draft::{Alias, CorrelationError, Reader, Reference};
use super::expression::{Number, Operator};
use super::occurrence;
use super::yaml::{Data, Key, Node};
use crate::event::FieldPath;

/// What it asks for.
pub(super) enum Shape {
    /// Nothing that depends on the names of its members.
    Known(CorrelationKind),
    /// A condition over members by name, and the line where it stands.
    Named(ConditionExpr, usize),
}

impl Reader<'_> {
    /// Reads the condition; the members are listed, or named by it.
    pub(super) fn shape(
        &mut self,
        node: &Node,
        kind: CorrelationType,
        aliases: &[Alias],
    ) -> Option<(Shape, Vec<Reference>)> {
        let condition = node.get("condition").filter(|node| node.data != Data::Null);
        let temporal = matches!(kind, CorrelationType::Temporal | CorrelationType::TemporalOrdered);
        match condition.map(|node| (node, &node.data)) {
            Some((condition, Data::Scalar(text))) => {
                if !temporal {
                    self.refuse(condition.line, CorrelationError::TextCondition(kind.as_str()));
                    return None;
                }
                self.named(node, kind, condition.line, text)
            }
            Some((condition, Data::Map(_))) => {
                let members = self.members(node)?;
                let known = if temporal {
                    self.counted_members(condition, kind, members.len())
                } else {
                    self.counted(condition, kind, aliases)
                };
                Some((Shape::Known(known?), members))
            }
            None if temporal => {
                let members = self.members(node)?;
                let known = match kind {
                    CorrelationType::TemporalOrdered => CorrelationKind::TemporalOrdered,
                    _ => CorrelationKind::Temporal(occurrence::all(members.len())),
                };
                Some((Shape::Known(known), members))
            }
            None => {
                self.refuse(node.line, CorrelationError::NoCondition(kind.as_str()));
                None
            }
            Some((condition, _)) => {
                self.refuse(condition.line, DocumentError::Expected("a map such as `gte: 10`"));
                None
            }
        }
    }

    /// A condition over members by name; without `rules` they are those that it names.
    fn named(
        &mut self,
        node: &Node,
        kind: CorrelationType,
        line: usize,
        text: &str,
    ) -> Option<(Shape, Vec<Reference>)> {
        let condition = match rsigma_parser::parse_condition(text) {
            Ok(condition) => condition,
            Err(error) => {
                self.refuse(line, DocumentError::Condition(error));
                return None;
            }
        };
        let members = match node.get("rules") {
            Some(_) => self.members(node)?,
            None => occurrence::names(&condition, line),
        };
        if members.is_empty() {
            self.refuse(line, CorrelationError::NoMember);
            return None;
        }
        if kind == CorrelationType::TemporalOrdered {
            if !occurrence::is_conjunction(&condition, members.len()) {
                self.refuse(line, CorrelationError::OrderedCondition);
                return None;
            }
            return Some((Shape::Known(CorrelationKind::TemporalOrdered), members));
        }
        Some((Shape::Named(condition, line), members))
    }

    /// How many of the members occur, as comparisons of their number.
    fn counted_members(
        &mut self,
        condition: &Node,
        kind: CorrelationType,
        members: usize,
    ) -> Option<CorrelationKind> {
        for key in ["field", "percentile"] {
            self.meaningless(condition, key, kind);
        }
        let threshold = self.threshold(condition, kind)?;
        if kind == CorrelationType::TemporalOrdered {
            let all = i128::try_from(members).unwrap_or(i128::MAX);
            if !matches!(threshold.0[..], [(Operator::GreaterOrEqual | Operator::Equal, Number::Int(count))] if count == all)
            {
                self.refuse(condition.line, CorrelationError::OrderedCondition);
                return None;
            }
            return Some(CorrelationKind::TemporalOrdered);
        }
        let occurrence = occurrence::counted(&threshold, members);
        if occurrence.is_none() {
            self.refuse(condition.line, CorrelationError::TooManyCombinations);
        }
        occurrence.map(CorrelationKind::Temporal)
    }

    fn counted(
        &mut self,
        condition: &Node,
        kind: CorrelationType,
        aliases: &[Alias],
    ) -> Option<CorrelationKind> {
        let fields = self.counted_fields(condition, kind, aliases);
        let percentile = self.percentile(condition, kind);
        let threshold = self.threshold(condition, kind)?;
        let mut fields = fields?;
        Some(match kind {
            CorrelationType::EventCount => CorrelationKind::EventCount(threshold),
            CorrelationType::ValueCount => CorrelationKind::ValueCount(fields, threshold),
            CorrelationType::ValueSum => CorrelationKind::ValueSum(fields.pop()?, threshold),
            CorrelationType::ValueAvg => CorrelationKind::ValueAverage(fields.pop()?, threshold),
            _ => CorrelationKind::ValuePercentile(fields.pop()?, percentile?, threshold),
        })
    }

    fn counted_fields(
        &mut self,
        condition: &Node,
        kind: CorrelationType,
        aliases: &[Alias],
    ) -> Option<Vec<FieldPath>> {
        if kind == CorrelationType::EventCount {
            self.meaningless(condition, "field", kind);
            return Some(Vec::new());
        }
        let Some(node) = condition.get("field") else {
            self.refuse(condition.line, CorrelationError::NoField(kind.as_str()));
            return None;
        };
        let fields = self.fields(node)?;
        if fields.is_empty() {
            self.refuse(node.line, CorrelationError::NoField(kind.as_str()));
        }
        if fields.len() > 1 && kind != CorrelationType::ValueCount {
            self.refuse(node.line, CorrelationError::Fields(kind.as_str()));
        }
        if let Some(alias) = fields.iter().find(|field| aliases.iter().any(|alias| alias.name == **field)) {
            self.refuse(node.line, CorrelationError::AliasAsField(alias.clone()));
        }
        Some(fields.iter().map(|field| FieldPath::new(field)).collect())
    }

    /// The median is the fiftieth, and so is what a percentile without a number means.
    fn percentile(&mut self, condition: &Node, kind: CorrelationType) -> Option<u8> {
        if kind != CorrelationType::ValuePercentile {
            self.meaningless(condition, "percentile", kind);
            return Some(50);
        }
        let Some(node) = condition.get("percentile") else { return Some(50) };
        let text = node.text().unwrap_or_default();
        let percentile = text.parse().ok().filter(|percentile| *percentile <= 100);
        if percentile.is_none() {
            self.refuse(node.line, CorrelationError::Percentile(text.to_owned()));
        }
        percentile
    }

    fn meaningless(&mut self, condition: &Node, key: &'static str, kind: CorrelationType) {
        if let Some(node) = condition.get(key) {
            self.refuse(node.line, CorrelationError::Meaningless { key, kind: kind.as_str() });
        }
    }

    fn threshold(&mut self, condition: &Node, kind: CorrelationType) -> Option<Threshold> {
        let counts = !matches!(
            kind,
            CorrelationType::ValueSum
                | CorrelationType::ValueAvg
                | CorrelationType::ValuePercentile
                | CorrelationType::ValueMedian
        );
        let mut comparisons = Vec::new();
        let mut sound = true;
        for (Key { line, text: key }, node) in condition.entries() {
            if matches!(key.as_str(), "field" | "percentile") {
                continue;
            }
            let Ok(operator) = key.parse::<ConditionOperator>() else {
                self.refuse(*line, CorrelationError::UnknownOperator(key.clone()));
                sound = false;
                continue;
            };
            let text = node.text().unwrap_or_default();
            let wanted = if counts { "a whole number" } else { "a number" };
            match number(text, counts) {
                Some(number) => comparisons.push((compared(operator), number)),
                None => {
                    let (operator, value) = (key.clone(), text.to_owned());
                    self.refuse(node.line, CorrelationError::NotANumber { operator, wanted, value });
                    sound = false;
                }
            }
        }
        if sound && comparisons.is_empty() {
            self.refuse(condition.line, CorrelationError::NoCondition(kind.as_str()));
            return None;
        }
        sound.then_some(Threshold(comparisons))
    }
}

fn number(text: &str, counts: bool) -> Option<Number> {
    Number::read(text).filter(|number| match number {
        Number::Int(number) => !counts || *number >= 0,
        Number::Float(number) => !counts && number.is_finite(),
    })
}

fn compared(operator: ConditionOperator) -> Operator {
    match operator {
        ConditionOperator::Lt => Operator::Less,
        ConditionOperator::Lte => Operator::LessOrEqual,
        ConditionOperator::Gt => Operator::Greater,
        ConditionOperator::Gte => Operator::GreaterOrEqual,
        ConditionOperator::Eq => Operator::Equal,
        ConditionOperator::Neq => Operator::NotEqual,
    }
}
