//! A correlation as its document says it: its members are names until all documents are known.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use rsigma_parser::CorrelationType;

use super::document::{DocumentError, Fault};
use super::duration;
use super::occurrence;
use super::shape::Shape;
use super::yaml::{Data, Key, Line, Node};

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

/// Reads a correlation; what is wrong gathers on the way.
pub(super) struct Reader<'f> {
    faults: &'f mut Vec<Fault>,
}

impl Reader<'_> {
    pub(super) fn refuse(&mut self, line: usize, error: impl Into<DocumentError>) {
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

    pub(super) fn fields(&mut self, node: &Node) -> Option<Vec<String>> {
        let named = |fields: &Vec<_>| fields.iter().all(|line: &Line<'_>| !line.text.is_empty());
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

    pub(super) fn members(&mut self, node: &Node) -> Option<Vec<Reference>> {
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
}
