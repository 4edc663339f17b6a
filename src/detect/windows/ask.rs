//! What a detection over more than one event asks for, compiled: one [`Ask`] for each correlation, each
//! grouping and each first-seen detection.

use std::sync::Arc;

use super::moment::Span;
use crate::sigma::{
    Correlation, CorrelationKind, FirstSeen, Grouping, Occurrence, Operator, Rule, Threshold,
};

/// What one detection asks of evidence.
#[derive(Debug)]
pub(super) struct Ask {
    /// The id of the detection.
    pub(super) detection: Arc<str>,
    /// The names of the values of a group, or of the key.
    pub(super) names: Vec<Arc<str>>,
    /// The length of the periods.
    pub(super) period: Span,
    /// Whether it is that of a correlation.
    pub(super) correlates: bool,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Window(WindowAsk),
    Seen(SeenAsk),
}

/// What is asked of a window.
#[derive(Debug)]
pub(super) struct WindowAsk {
    pub(super) measure: Measure,
    /// The length of the window.
    pub(super) span: Span,
    /// The ids of the members.
    pub(super) members: Vec<Arc<str>>,
    /// Whether it alerts, or only feeds others.
    pub(super) alerts: bool,
    /// Which correlations see its firing points.
    pub(super) links: Vec<Link>,
}

/// A correlation that sees the firing points of another one.
#[derive(Debug)]
pub(super) struct Link {
    /// The number of the other's ask; greater than that of this one.
    pub(super) ask: usize,
    pub(super) member: u16,
    /// Where the values of the group stand among those of the firing group.
    pub(super) group: Vec<Option<usize>>,
    pub(super) counted: Counted<Option<usize>>,
}

/// What is asked of first sightings.
#[derive(Debug)]
pub(super) struct SeenAsk {
    pub(super) learn: Span,
}

/// What of a hit is counted, and where it stands.
#[derive(Debug)]
pub(super) enum Counted<P> {
    /// The hit itself.
    Hit,
    /// Different values of these, taken together.
    Values(Vec<P>),
    /// The number there.
    Number(P),
}

/// What is measured in a window, and the condition.
#[derive(Debug, Clone)]
pub(super) enum Measure {
    Rows(Threshold),
    Distinct(Threshold),
    Sum(Threshold),
    Average(Threshold),
    Percentile(u8, Threshold),
    Members(Occurrence),
    Ordered,
}

impl Measure {
    pub(super) fn of(kind: &CorrelationKind) -> Self {
        match kind.clone() {
            CorrelationKind::EventCount(threshold) => Measure::Rows(threshold),
            CorrelationKind::ValueCount(_, threshold) => Measure::Distinct(threshold),
            CorrelationKind::ValueSum(_, threshold) => Measure::Sum(threshold),
            CorrelationKind::ValueAverage(_, threshold) => Measure::Average(threshold),
            CorrelationKind::ValuePercentile(_, percent, threshold) => {
                Measure::Percentile(percent, threshold)
            }
            CorrelationKind::Temporal(occurrence) => Measure::Members(occurrence),
            CorrelationKind::TemporalOrdered => Measure::Ordered,
        }
    }

    /// Whether more evidence can never end what holds.
    pub(super) fn is_monotone(&self) -> bool {
        match self {
            Measure::Rows(threshold) | Measure::Distinct(threshold) => {
                let upward = |operator| matches!(operator, Operator::Greater | Operator::GreaterOrEqual);
                threshold.0.iter().all(|(operator, _)| upward(*operator))
            }
            Measure::Sum(_) | Measure::Average(_) | Measure::Percentile(..) => false,
            Measure::Members(occurrence) => !has_not(occurrence),
            Measure::Ordered => true,
        }
    }
}

fn has_not(occurrence: &Occurrence) -> bool {
    match occurrence {
        Occurrence::Member(_) => false,
        Occurrence::All(parts) | Occurrence::Any(parts) => parts.iter().any(has_not),
        Occurrence::Not(_) => true,
    }
}

impl Ask {
    /// How many rules' hits it sees.
    pub(super) fn members(&self) -> usize {
        match &self.what {
            What::Window(window) => window.members.len(),
            What::Seen(_) => 1,
        }
    }

    /// The correlations that see its firing points.
    pub(super) fn links(&self) -> &[Link] {
        match &self.what {
            What::Window(window) => &window.links,
            What::Seen(_) => &[],
        }
    }

    pub(super) fn of_correlation(rule: &Rule, correlation: &Correlation) -> Self {
        let span = Span::of(correlation.timespan);
        let grouping = rule.extension.group.as_ref().map_or(Span::HOUR, |group| Span::of(group.period));
        let window = WindowAsk {
            measure: Measure::of(&correlation.kind),
            span,
            members: correlation.members.iter().map(|member| member.rule.as_str().into()).collect(),
            alerts: !rule.muted,
            links: Vec::new(),
        };
        Self {
            detection: rule.id.as_str().into(),
            names: correlation.group_by.iter().map(|name| (&**name).into()).collect(),
            period: span.max(grouping).max(Span::HOUR),
            correlates: true,
            what: What::Window(window),
        }
    }

    /// A grouping is a window as short as can be, in which one hit is enough.
    pub(super) fn of_grouping(rule: &Rule, grouping: &Grouping) -> Self {
        let window = WindowAsk {
            measure: Measure::Rows(Threshold(Vec::new())),
            span: Span::INSTANT,
            members: vec![rule.id.as_str().into()],
            alerts: true,
            links: Vec::new(),
        };
        Self {
            detection: rule.id.as_str().into(),
            names: grouping.by.iter().map(|path| path.as_str().into()).collect(),
            period: Span::of(grouping.period),
            correlates: false,
            what: What::Window(window),
        }
    }

    pub(super) fn of_first_seen(rule: &Rule, first_seen: &FirstSeen) -> Self {
        Self {
            detection: rule.id.as_str().into(),
            names: first_seen.by.iter().map(|path| path.as_str().into()).collect(),
            period: Span::of(first_seen.forget),
            correlates: false,
            what: What::Seen(SeenAsk { learn: Span::of(first_seen.learn) }),
        }
    }
}
