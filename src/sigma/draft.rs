//! A correlation as its document says it: its members are names until all documents are known.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use rsigma_parser::{ConditionExpr, ConditionOperator, CorrelationType};

use super::correlation::{CorrelationKind, Threshold};
use super::document::{DocumentError, Fault};
use super::duration;
use super::expression::{Number, Operator};
use super::occurrence;
use super::yaml::{Data, Key, Node};
use crate::event::FieldPath;

/// Members of a correlation.
pub(super) const MOST_MEMBERS: usize = 64;
/// Fields that make a group.
const MOST_GROUPS: usize = 16;
const SHORTEST: SignedDuration = SignedDuration::from_secs(1);
const LONGEST: SignedDuration = SignedDuration::from_hours(32 * 24);
/// The keys of a correlation; `timeframe` is an old name of `timespan`.
const KEYS: [&str; 10] = [
    "type",
    "rules",
    "group-by",
    "timespan",
    "timeframe",
    "condition",
    "aliases",
    "generate",
    "window",
    "gap",
];

/// A correlation whose members are not known yet.
pub(super) struct Draft {
    /// The line of its `correlation`.
    pub(super) line: usize,
    pub(super) shape: Shape,
    pub(super) members: Vec<Reference>,
    pub(super) group_by: Vec<String>,
    pub(super) aliases: Vec<Alias>,
    pub(super) timespan: SignedDuration,
    pub(super) generate: bool,
}

/// What it asks for.
pub(super) enum Shape {
    /// Nothing that depends on the names of its members.
    Known(CorrelationKind),
    /// A condition over members by name, and the line where it stands.
    Named(ConditionExpr, usize),
}

/// A rule by its id, name or title.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) line: usize,
    pub(super) text: String,
}

/// A name for fields that are called otherwise in the events of each member.
pub(super) struct Alias {
    pub(super) line: usize,
    pub(super) name: String,
    /// The member and its field.
    pub(super) fields: Vec<(Reference, String)>,
}

/// What can be wrong with a correlation.
#[derive(Debug, thiserror::Error)]
pub enum CorrelationError {
    /// A key that does not exist.
    #[error("a correlation has no key `{0}`")]
    UnknownKey(String),
    /// A type that does not exist.
    #[error(
        "`{0}` is no type of correlation; types are event_count, value_count, value_sum, value_avg, value_percentile, value_median, temporal and temporal_ordered"
    )]
    UnknownType(String),
    /// No length of time.
    #[error(
        "`{0}` is no timespan: write a number and a unit, such as `90s`, `15m`, `12h`, `7d`, `2w` or `1M`"
    )]
    Timespan(String),
    /// A length of time out of its bounds.
    #[error("a timespan is from 1 second to 32 days, not `{0}`")]
    TimespanBounds(String),
    /// The new and the old name.
    #[error("`timeframe` is the old name of `timespan`; give one of them")]
    TwoTimespans,
    /// Windows of another kind.
    #[error("only sliding windows are supported, not `{0}`")]
    Window(String),
    /// What belongs to windows of another kind.
    #[error("`gap` belongs to session windows, which are not supported")]
    Gap,
    /// No members.
    #[error("the correlation has no members: name rules under `rules`")]
    NoMember,
    /// Too many members.
    #[error("a correlation has at most {MOST_MEMBERS} members, not {0}")]
    TooManyMembers(usize),
    /// A member twice.
    #[error("the member `{0}` stands here twice")]
    MemberTwice(String),
    /// Too many fields.
    #[error("`group-by` takes at most {MOST_GROUPS} fields, not {0}")]
    TooManyGroups(usize),
    /// A field twice.
    #[error("`group-by` names `{0}` twice")]
    GroupTwice(String),
    /// No condition.
    #[error("`{0}` needs a condition such as `gte: 10`")]
    NoCondition(&'static str),
    /// A condition that does not suit the type.
    #[error("`{0}` takes no condition over members")]
    TextCondition(&'static str),
    /// A condition on an order.
    #[error("`temporal_ordered` asks for all of its members: leave the condition out")]
    OrderedCondition,
    /// A key in a condition.
    #[error("`{0}` is no operator; operators are lt, lte, gt, gte, eq and neq")]
    UnknownOperator(String),
    /// What is compared is no number.
    #[error("`{operator}` needs {wanted}, not `{value}`")]
    NotANumber {
        /// The operator.
        operator: String,
        /// The kind of number.
        wanted: &'static str,
        /// What stands there.
        value: String,
    },
    /// Nothing to take values from.
    #[error("`{0}` needs the `field` whose values it takes, in its condition")]
    NoField(&'static str),
    /// More than one field.
    #[error("`{0}` takes the values of one field")]
    Fields(&'static str),
    /// A key that has no meaning for the type.
    #[error("`{key}` has no meaning for `{kind}`")]
    Meaningless {
        /// The key.
        key: &'static str,
        /// The type.
        kind: &'static str,
    },
    /// A bad percentile.
    #[error("`percentile` is a whole number from 0 to 100, not `{0}`")]
    Percentile(String),
    /// An alias where it is not resolved.
    #[error("the alias `{0}` can only stand in `group-by`")]
    AliasAsField(String),
    /// An alias without a field for a member.
    #[error("the alias `{alias}` has no field for the member `{member}`")]
    AliasWithout {
        /// The alias.
        alias: String,
        /// The member.
        member: String,
    },
    /// A name that no member has.
    #[error("`{0}` is not among the members")]
    NotAMember(String),
    /// A member that the condition does not look at.
    #[error("the condition does not name the member `{0}`")]
    Idle(String),
    /// More combinations of members than can be written out.
    #[error("so many combinations of members cannot be told apart; split the correlation")]
    TooManyCombinations,
    /// An inner correlation that does not have a field.
    #[error(
        "the member `{member}` is a correlation that does not group by `{field}`, so it has no such value"
    )]
    NoInnerValue {
        /// The member.
        member: String,
        /// The field.
        field: String,
    },
}

/// The references of a list of names, or of one; none of anything else.
pub(super) fn references(node: &Node) -> Option<Vec<Reference>> {
    let texts = node.texts()?;
    Some(texts.iter().map(|line| Reference { line: line.number, text: line.text.to_owned() }).collect())
}

/// Whether its members alert by themselves, and the members, of any correlation that can be read so far.
pub(super) fn members(document: &Node) -> Option<(bool, Vec<Reference>)> {
    let node = document.get("correlation")?;
    let generate = [document, node].into_iter().find_map(|node| node.get("generate"));
    let generate = generate.and_then(Node::text) == Some("true");
    let listed = node.get("rules").and_then(references);
    let named = || {
        let condition = node.get("condition")?;
        let parsed = rsigma_parser::parse_condition(condition.text()?).ok()?;
        Some(occurrence::names(&parsed, condition.line))
    };
    Some((generate, listed.or_else(named).unwrap_or_default()))
}

/// Reads what stands under `correlation`.
pub(super) fn read(document: &Node, faults: &mut Vec<Fault>) -> Option<Draft> {
    let node = document.get("correlation")?;
    let mut reader = Reader { faults };
    if !matches!(node.data, Data::Map(_)) {
        reader.refuse(node.line, DocumentError::Expected("a map of what is correlated"));
        return None;
    }
    for (Key { line, text }, _) in node.entries() {
        if !KEYS.contains(&text.as_str()) {
            reader.refuse(*line, CorrelationError::UnknownKey(text.clone()));
        }
    }
    let kind = reader.kind(node);
    let timespan = reader.timespan(node);
    reader.window(document, node);
    let generate = reader.generate(document, node);
    let group_by = reader.group_by(node);
    let aliases = reader.aliases(node);
    let (shape, members) = reader.shape(node, kind?, &aliases)?;
    Some(Draft { line: node.line, shape, members, group_by, aliases, timespan: timespan?, generate })
}

struct Reader<'f> {
    faults: &'f mut Vec<Fault>,
}

impl Reader<'_> {
    fn refuse(&mut self, line: usize, error: impl Into<DocumentError>) {
        self.faults.push(Fault { line, error: error.into() });
    }

    fn kind(&mut self, node: &Node) -> Option<CorrelationType> {
        let Some(kind) = node.get("type") else {
            self.refuse(node.line, DocumentError::Missing("type"));
            return None;
        };
        let text = kind.text().unwrap_or_default();
        let known = text.parse().ok();
        if known.is_none() {
            self.refuse(kind.line, CorrelationError::UnknownType(text.to_owned()));
        }
        known
    }

    fn timespan(&mut self, node: &Node) -> Option<SignedDuration> {
        let found = match (node.get("timespan"), node.get("timeframe")) {
            (Some(_), Some(old)) => {
                self.refuse(old.line, CorrelationError::TwoTimespans);
                return None;
            }
            (new, old) => new.or(old),
        };
        let Some(found) = found else {
            self.refuse(node.line, DocumentError::Missing("timespan"));
            return None;
        };
        let text = found.text().unwrap_or_default();
        let Some(timespan) = duration::read(text) else {
            self.refuse(found.line, CorrelationError::Timespan(text.to_owned()));
            return None;
        };
        if !(SHORTEST..=LONGEST).contains(&timespan) {
            self.refuse(found.line, CorrelationError::TimespanBounds(text.to_owned()));
        }
        Some(timespan)
    }

    /// The spelling with a prefix is that of another engine; passing over it would change the meaning.
    fn window(&mut self, document: &Node, node: &Node) {
        for window in [node.get("window"), document.get("rsigma.window")].into_iter().flatten() {
            let text = window.text().unwrap_or_default();
            if text != "sliding" {
                self.refuse(window.line, CorrelationError::Window(text.to_owned()));
            }
        }
        for gap in [node.get("gap"), document.get("rsigma.gap")].into_iter().flatten() {
            self.refuse(gap.line, CorrelationError::Gap);
        }
    }

    fn generate(&mut self, document: &Node, node: &Node) -> bool {
        let Some(generate) = [document, node].into_iter().find_map(|node| node.get("generate")) else {
            return false;
        };
        match generate.text() {
            Some("true") => true,
            Some("false") => false,
            _ => {
                self.refuse(generate.line, DocumentError::Expected("`true` or `false`"));
                false
            }
        }
    }

    fn group_by(&mut self, node: &Node) -> Vec<String> {
        let Some(node) = node.get("group-by").filter(|node| node.data != Data::Null) else {
            return Vec::new();
        };
        let Some(fields) = self.fields(node) else { return Vec::new() };
        if fields.len() > MOST_GROUPS {
            self.refuse(node.line, CorrelationError::TooManyGroups(fields.len()));
        }
        let mut seen = BTreeSet::new();
        for field in &fields {
            if !seen.insert(field) {
                self.refuse(node.line, CorrelationError::GroupTwice(field.clone()));
            }
        }
        fields
    }

    fn fields(&mut self, node: &Node) -> Option<Vec<String>> {
        let named = |fields: &Vec<_>| fields.iter().all(|line: &super::yaml::Line<'_>| !line.text.is_empty());
        match node.texts().filter(named) {
            Some(fields) => Some(fields.iter().map(|line| line.text.to_owned()).collect()),
            None => {
                self.refuse(node.line, DocumentError::Expected("a field or a list of fields"));
                None
            }
        }
    }

    fn aliases(&mut self, node: &Node) -> Vec<Alias> {
        let Some(node) = node.get("aliases").filter(|node| node.data != Data::Null) else {
            return Vec::new();
        };
        if !matches!(node.data, Data::Map(_)) {
            self.refuse(node.line, DocumentError::Expected("a map of aliases"));
        }
        node.entries().iter().map(|(name, fields)| self.alias(name, fields)).collect()
    }

    fn alias(&mut self, name: &Key, node: &Node) -> Alias {
        let mut fields = Vec::new();
        for (member, field) in node.entries() {
            match field.text() {
                Some(field) if !field.is_empty() => {
                    let member = Reference { line: member.line, text: member.text.clone() };
                    fields.push((member, field.to_owned()));
                }
                _ => self.refuse(member.line, DocumentError::Expected("the name of a field")),
            }
        }
        if node.entries().is_empty() {
            self.refuse(name.line, DocumentError::Expected("a map from members to fields"));
        }
        Alias { line: name.line, name: name.text.clone(), fields }
    }

    fn shape(
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

    fn members(&mut self, node: &Node) -> Option<Vec<Reference>> {
        let rules = node.get("rules");
        let line = rules.map_or(node.line, |rules| rules.line);
        let members = rules.and_then(references).filter(|members| !members.is_empty());
        let Some(members) = members else {
            self.refuse(line, CorrelationError::NoMember);
            return None;
        };
        if members.len() > MOST_MEMBERS {
            self.refuse(line, CorrelationError::TooManyMembers(members.len()));
            return None;
        }
        for (at, member) in members.iter().enumerate() {
            if members[..at].iter().any(|other| other.text == member.text) {
                self.refuse(member.line, CorrelationError::MemberTwice(member.text.clone()));
            }
        }
        Some(members)
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
