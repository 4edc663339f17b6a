//! The evaluator that shows its work: the tree of a condition, with what each part came to and why.
//!
//! Nothing is left out early, so that every leaf has its value. Leaves are evaluated by the plain evaluator; how
//! parts make a whole is written out once more here, and a test holds both to the same verdicts.

use super::evaluate::{Scope, Verdict, expression};
use crate::event::{Event, FieldPath, Value};
use crate::sigma::{Condition, Expression, Globs, Share, Test};

/// A part of a condition on an event.
#[derive(Debug)]
pub struct Trace<'c> {
    /// What it came to.
    pub verdict: Verdict,
    /// What it is.
    pub step: Step<'c>,
}

/// What a part of a condition is.
#[derive(Debug)]
pub enum Step<'c> {
    /// All of them hold.
    All(Vec<Trace<'c>>),
    /// One of them holds.
    Any(Vec<Trace<'c>>),
    /// At least this many hold.
    AtLeast(usize, Vec<Trace<'c>>),
    /// It does not hold.
    Not(Box<Trace<'c>>),
    /// The selection of this name.
    Selection(&'c str, Box<Trace<'c>>),
    /// A test of a field.
    Field {
        /// Where it looks.
        path: &'c FieldPath,
        /// What it asks.
        test: &'c Test,
        /// What it found.
        found: Found,
    },
    /// So many elements of the list at a path meet a condition.
    Elements {
        /// Where the list is.
        path: &'c FieldPath,
        /// How many must.
        share: Share,
        /// What the condition came to on each, in their order.
        elements: Elements<'c>,
    },
    /// The condition on the element of this number; 0 is the first.
    Element(usize, Box<Trace<'c>>),
    /// A text anywhere in the event.
    Keyword(&'c Globs),
    /// Whether the call worked.
    Succeeded,
}

/// What stands at a field path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It cannot be told.
    Unknown(Lack),
    /// These values, as the caller wants them shown; none if the field is absent.
    Values(Vec<String>),
}

/// What stands in a list.
#[derive(Debug)]
pub enum Elements<'c> {
    /// It cannot be told.
    Unknown(Lack),
    /// These, as the condition came out on them.
    Judged(Vec<Trace<'c>>),
}

/// Why it cannot be told what stands at a field path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// `CloudTrail` left it out.
    Omitted,
    /// It may stand in a document that is beyond the bounds of what is read.
    Unread,
}

/// Evaluates a condition on an event; `show` says how a value is written.
pub fn trace<'c>(
    condition: &'c Condition,
    event: &Event<'_>,
    show: &mut dyn FnMut(&FieldPath, Value<'_>) -> String,
) -> Trace<'c> {
    Tracer { condition, scope: Scope { event, element: None }, show }.trace(&condition.root)
}

struct Tracer<'c, 'e, 's> {
    condition: &'c Condition,
    scope: Scope<'s, 'e>,
    show: &'s mut dyn FnMut(&FieldPath, Value<'_>) -> String,
}

impl<'c> Tracer<'c, '_, '_> {
    fn trace(&mut self, part: &'c Expression) -> Trace<'c> {
        let (verdict, step) = match part {
            Expression::All(parts) => {
                let parts = self.each(parts);
                (verdicts(&parts).min().unwrap_or(Verdict::Yes), Step::All(parts))
            }
            Expression::Any(parts) => {
                let parts = self.each(parts);
                (verdicts(&parts).max().unwrap_or(Verdict::No), Step::Any(parts))
            }
            Expression::AtLeast(wanted, parts) => {
                let parts = self.each(parts);
                (nth_highest(*wanted, &parts), Step::AtLeast(*wanted, parts))
            }
            Expression::Not(inner) => {
                let inner = self.trace(inner);
                (opposite(inner.verdict), Step::Not(Box::new(inner)))
            }
            Expression::Selection(index) => {
                let (name, selection) = &self.condition.selections[*index];
                let inner = self.trace(selection);
                (inner.verdict, Step::Selection(name, Box::new(inner)))
            }
            Expression::Field(path, test) => {
                (self.leaf(part), Step::Field { path, test, found: self.find(path) })
            }
            Expression::Elements(path, share, body) => {
                let elements = self.elements(path, body);
                (share_of(*share, &elements), Step::Elements { path, share: *share, elements })
            }
            Expression::Keyword(globs) => (self.leaf(part), Step::Keyword(globs)),
            Expression::Succeeded => (self.leaf(part), Step::Succeeded),
        };
        Trace { verdict, step }
    }

    fn each(&mut self, parts: &'c [Expression]) -> Vec<Trace<'c>> {
        parts.iter().map(|part| self.trace(part)).collect()
    }

    fn leaf(&self, part: &Expression) -> Verdict {
        expression(part, self.condition, self.scope)
    }

    fn find(&mut self, path: &FieldPath) -> Found {
        if let Some(lack) = self.lack(path) {
            return Found::Unknown(lack);
        }
        let Self { scope, show, .. } = self;
        let mut values = Vec::new();
        scope.any(path, &mut |value| {
            values.push(show(path, value));
            false
        });
        Found::Values(values)
    }

    fn elements(&mut self, path: &FieldPath, body: &'c Condition) -> Elements<'c> {
        if let Some(lack) = self.lack(path) {
            return Elements::Unknown(lack);
        }
        let Self { scope, show, .. } = self;
        let mut judged = Vec::new();
        scope.each_element(path, &mut |scope| {
            let inner = Tracer { condition: body, scope, show: &mut **show }.trace(&body.root);
            judged.push(Trace { verdict: inner.verdict, step: Step::Element(judged.len(), Box::new(inner)) });
        });
        Elements::Judged(judged)
    }

    fn lack(&self, path: &FieldPath) -> Option<Lack> {
        let omitted = || path.is_derived() || self.scope.event.omitted().contains(path.head());
        self.scope.is_unknown(path).then(|| if omitted() { Lack::Omitted } else { Lack::Unread })
    }
}

fn verdicts<'t>(parts: &'t [Trace<'_>]) -> impl Iterator<Item = Verdict> + use<'t> {
    parts.iter().map(|part| part.verdict)
}

/// Of so many parts that must hold, the one that holds least.
fn nth_highest(wanted: usize, parts: &[Trace<'_>]) -> Verdict {
    let mut ordered: Vec<Verdict> = verdicts(parts).collect();
    ordered.sort_unstable_by(|one, other| other.cmp(one));
    match wanted.checked_sub(1) {
        None => Verdict::Yes,
        Some(last) => ordered.get(last).copied().unwrap_or(Verdict::No),
    }
}

fn share_of(share: Share, elements: &Elements<'_>) -> Verdict {
    let Elements::Judged(elements) = elements else { return Verdict::Unknown };
    let (one, all) = (verdicts(elements).max().unwrap_or(Verdict::No), verdicts(elements).min());
    match share {
        Share::Any => one,
        Share::None => opposite(one),
        Share::All => all.unwrap_or(Verdict::No),
        Share::AllOrEmpty => all.unwrap_or(Verdict::Yes),
    }
}

fn opposite(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::No => Verdict::Yes,
        Verdict::Unknown => Verdict::Unknown,
        Verdict::Yes => Verdict::No,
    }
}
