//! One YAML document to one unit: a rule, a correlation or a filter, with a line for everything that is wrong.

use std::collections::BTreeSet;

use rsigma_parser::SigmaParserError;
use sha2::{Digest, Sha256};

use super::correlation::{Correlation, CorrelationKind, Occurrence};
use super::detection;
use super::draft::{self, CorrelationError, Draft};
use super::expression::{Condition, Expression};
use super::extension::{self, ExtensionProblem, Owner};
use super::filter::{self, FilterError};
use super::item::ItemError;
use super::rule::{Attempts, Extension, Level, Logic, Place, Rule};
use super::values::Values;
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
    /// A value of another kind.
    #[error("expected {0}")]
    Expected(&'static str),
    /// A key of another kind than a text.
    #[error("`{0}` takes one text")]
    NotAText(&'static str),
    /// A condition that is none.
    #[error("the condition is not valid: {}", detection::said(.0))]
    Condition(#[source] SigmaParserError),
    /// The old form of aggregation, and what to write instead.
    #[error("aggregation in a condition (`|`) is not part of Sigma any more; write {0}")]
    Aggregation(String),
    /// A condition names something that is not there.
    #[error("the condition names `{0}`, but there is no such selection")]
    NoSelection(String),
    /// A key of a selection that cannot be read.
    #[error("{}", detection::said(.0))]
    Key(#[source] SigmaParserError),
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
    #[error(
        "of array matching (`sigma-version: 3`), only `[any]`, `[all]`, `[all_or_empty]` and `[none]` are supported, and no modifier between them and a map"
    )]
    ArrayMatching,
    /// A level that is none.
    #[error("{0}")]
    Level(#[source] super::rule::UnknownLevel),
    /// What stands under `correlation:`.
    #[error("{0}")]
    Correlation(#[from] CorrelationError),
    /// What stands under `filter:`.
    #[error("{0}")]
    Filter(#[from] FilterError),
    /// What stands under `trailhound:`.
    #[error("`{key}`: {problem}")]
    Extension {
        /// The key, from `trailhound` on.
        key: String,
        /// What is wrong.
        problem: ExtensionProblem,
    },
}

/// A document that says something, compiled as far as it can be by itself.
pub(super) struct Unit {
    pub(super) names: Names,
    pub(super) place: Place,
    /// SHA-256 of the document in a form without comments and layout, in hexadecimal digits.
    pub(super) hash: String,
    pub(super) source: LogSource,
    /// Whether it is there to be named only: it does not run.
    pub(super) aside: bool,
    pub(super) body: Body,
}

pub(super) enum Body {
    Rule(Box<Rule>),
    /// A correlation; the logic of its rule is made when its members are known.
    Correlation(Box<Rule>, Draft),
    Filter(filter::Sketch),
    /// A rule or correlation that does not run.
    Absent(Absence),
}

/// Why a rule does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// It is for another log source.
    OtherSource,
    /// Its status is `deprecated` or `unsupported`.
    Retired,
    /// It is off.
    Disabled,
    /// Something is wrong with it.
    Broken,
}

/// What other documents may call a rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) title: String,
}

/// What a document says about its log source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LogSource([Option<String>; 3]);

impl Names {
    pub(super) fn of(document: &Node) -> Self {
        let text = |key| document.get(key).and_then(Node::text).map(str::to_owned);
        Self { id: text("id"), name: text("name"), title: text("title").unwrap_or_default() }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.id.as_deref() == Some(name) || self.name.as_deref() == Some(name) || self.title == name
    }

    /// The `id`, or `title:<title>`.
    fn identity(&self) -> String {
        self.id.clone().unwrap_or_else(|| format!("title:{}", self.title))
    }
}

impl LogSource {
    fn of(document: &Node) -> Self {
        let source = document.get("logsource");
        Self(["product", "service", "category"].map(|key| {
            let text = source.and_then(|source| source.get(key)).and_then(Node::text);
            text.map(str::to_ascii_lowercase)
        }))
    }

    /// Whether everything that this one says holds for the other.
    pub(super) fn contains(&self, other: &LogSource) -> bool {
        self.0.iter().zip(&other.0).all(|(own, other)| own.is_none() || own == other)
    }
}

impl Unit {
    /// A rule that does not run.
    pub(super) fn absent(names: Names, place: Place, absence: Absence) -> Self {
        let (hash, source) = (String::new(), LogSource::default());
        Self { names, place, hash, source, aside: false, body: Body::Absent(absence) }
    }

    /// The rule or correlation, unless it does not run.
    pub(super) fn rule(&self) -> Option<&Rule> {
        match &self.body {
            Body::Rule(rule) | Body::Correlation(rule, _) => Some(rule),
            Body::Filter(_) | Body::Absent(_) => None,
        }
    }

    /// As [`Unit::rule`].
    pub(super) fn rule_mut(&mut self) -> Option<&mut Rule> {
        match &mut self.body {
            Body::Rule(rule) | Body::Correlation(rule, _) => Some(rule),
            Body::Filter(_) | Body::Absent(_) => None,
        }
    }

    /// Whether it is meant to run.
    pub(super) fn is_enabled(&self) -> bool {
        match &self.body {
            Body::Rule(rule) | Body::Correlation(rule, _) => rule.extension.enabled,
            Body::Filter(filter) => filter.enabled,
            Body::Absent(_) => false,
        }
    }
}

/// Whether the document is about CloudTrail; a rule for another log source is none of ours.
pub(super) fn is_for_cloudtrail(document: &Node) -> bool {
    let LogSource([product, service, category]) = LogSource::of(document);
    let anything = product.is_some() || service.is_some() || category.is_some();
    !anything || product.as_deref() == Some("aws") && service.is_none_or(|service| service == "cloudtrail")
}

/// Compiles a document.
pub(super) fn compile(document: &Node, place: Place, values: &Values) -> Result<Unit, Vec<Fault>> {
    let mut faults = Vec::new();
    let unit = read(document, place, values, &mut faults);
    unit.filter(|_| faults.is_empty()).ok_or(faults)
}

fn read(document: &Node, place: Place, values: &Values, faults: &mut Vec<Fault>) -> Option<Unit> {
    let line = document.line;
    if !matches!(document.data, Data::Map(_)) {
        faults.push(Fault { line, error: DocumentError::NotAMap });
        return None;
    }
    check_head(document, faults);
    let has = |key| document.get(key).is_some();
    let names = Names::of(document);
    let (body, placeholders) = match (has("correlation"), has("filter")) {
        (true, true) => {
            faults.push(Fault { line, error: DocumentError::Expected("either a correlation or a filter") });
            return None;
        }
        (true, false) => correlation(document, &names, &place, faults)?,
        (false, true) => filter::read(document, &names, &place, values, faults)?,
        (false, false) => rule(document, &names, &place, values, faults)?,
    };
    let hash = hash(document, values, &placeholders);
    let source = LogSource::of(document);
    let mut unit = Unit { names, place, hash, source, aside: false, body };
    if let Body::Rule(rule) | Body::Correlation(rule, _) = &mut unit.body {
        rule.hash.clone_from(&unit.hash);
    }
    Some(unit)
}

/// Checks what every kind of document has.
fn check_head(document: &Node, faults: &mut Vec<Fault>) {
    let mut refuse = |line, error| faults.push(Fault { line, error });
    match document.get("title").map(|node| &node.data) {
        None | Some(Data::Null) => refuse(document.line, DocumentError::Missing("title")),
        Some(Data::Scalar(title)) if title.trim().is_empty() => {
            refuse(document.line, DocumentError::Missing("title"));
        }
        Some(_) => {}
    }
    for key in ["title", "id", "name", "status", "level"] {
        if let Some(node) = document.get(key).filter(|node| !node.is_flat()) {
            refuse(node.line, DocumentError::NotAText(key));
        }
    }
    if let Some(source) = document.get("logsource") {
        let flat = |key: &str| source.get(key).is_none_or(Node::is_flat);
        let plain =
            matches!(source.data, Data::Map(_)) && ["product", "service", "category"].into_iter().all(flat);
        if !plain {
            refuse(source.line, DocumentError::Expected("a map of product, service and category"));
        }
    }
}

/// What a document became, and the placeholders in it.
pub(super) type Read = Option<(Body, BTreeSet<String>)>;

fn rule(document: &Node, names: &Names, place: &Place, values: &Values, faults: &mut Vec<Fault>) -> Read {
    let extension = extension::read(document, Owner::Rule, faults);
    for key in ["logsource", "detection"] {
        if document.get(key).is_none_or(|node| node.data == Data::Null) {
            faults.push(Fault { line: document.line, error: DocumentError::Missing(key) });
        }
    }
    let level = level(document, faults);
    let node = document.get("detection").filter(|node| node.data != Data::Null)?;
    let arrays = arrays_matched(document);
    let read = detection::Reader { values, arrays, faults }.detection(node, "timeframe")?;
    let Condition { selections, root } = read.condition;
    let root = match extension.attempts {
        Attempts::Any => root,
        Attempts::Success => Expression::All(vec![root, Expression::Succeeded]),
    };
    let logic = Logic::Event(Condition { selections, root });
    let rule = described(document, names, place, level, extension, logic);
    Some((Body::Rule(Box::new(rule)), read.placeholders))
}

fn correlation(document: &Node, names: &Names, place: &Place, faults: &mut Vec<Fault>) -> Read {
    let extension = extension::read(document, Owner::Correlation, faults);
    let level = level(document, faults);
    let draft = draft::read(document, faults)?;
    // Until its members are known.
    let logic = Logic::Correlation(Correlation {
        kind: CorrelationKind::Temporal(Occurrence::Any(Vec::new())),
        members: Vec::new(),
        group_by: Vec::new(),
        timespan: draft.timespan,
        generate: draft.generate,
    });
    let rule = described(document, names, place, level, extension, logic);
    Some((Body::Correlation(Box::new(rule), draft), BTreeSet::new()))
}

/// A rule with everything that its document says beside its logic.
fn described(
    document: &Node,
    names: &Names,
    place: &Place,
    level: Level,
    extension: Extension,
    logic: Logic,
) -> Rule {
    let text = |key| document.get(key).and_then(Node::text);
    let list = |key| texts(document.get(key));
    let references = if document.get("references").is_some() { "references" } else { "reference" };
    Rule {
        id: names.identity(),
        title: names.title.clone(),
        level,
        status: text("status").map(|status| if status == "testing" { "test" } else { status }.to_owned()),
        tags: list("tags"),
        description: text("description").map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()),
        references: list(references),
        falsepositives: list("falsepositives"),
        extension,
        hash: String::new(),
        place: place.clone(),
        name: names.name.clone(),
        muted: false,
        logic,
    }
}

/// The texts of a list, or one text; what is neither says nothing that an alert depends on.
fn texts(node: Option<&Node>) -> Vec<String> {
    let of = |node: &Node| node.text().filter(|text| !text.trim().is_empty()).map(str::to_owned);
    match node.map(|node| (node, &node.data)) {
        Some((_, Data::List(list))) => list.iter().filter_map(of).collect(),
        Some((node, _)) => of(node).into_iter().collect(),
        None => Vec::new(),
    }
}

fn level(document: &Node, faults: &mut Vec<Fault>) -> Level {
    let Some((line, text)) = document.get("level").and_then(|node| Some((node.line, node.text()?))) else {
        return Level::Medium;
    };
    let text = match text.to_ascii_lowercase().as_str() {
        "info" | "informative" => "informational",
        _ => text,
    };
    text.parse().unwrap_or_else(|error| {
        faults.push(Fault { line, error: DocumentError::Level(error) });
        Level::Medium
    })
}

/// Whether brackets in field names have a meaning: from the third version of the specification on.
fn arrays_matched(document: &Node) -> bool {
    let version = document.get("sigma-version").and_then(Node::text).unwrap_or_default();
    let major = version.trim_start_matches('v').split('.').next().unwrap_or_default();
    major.parse().is_ok_and(|major| rsigma_parser::array_matching_enabled(Some(major)))
}

/// Covers the document, and what its placeholders stand for.
fn hash(document: &Node, values: &Values, placeholders: &BTreeSet<String>) -> String {
    let mut digest = Sha256::new();
    digest.update(document.to_flow());
    if !placeholders.is_empty() {
        digest.update(values.excerpt(placeholders).to_flow());
    }
    hex(&digest.finalize())
}
