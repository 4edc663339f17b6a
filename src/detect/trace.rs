//! The evaluator that shows its work: the tree of a condition, with what each part came to and why.
//!
//! Nothing is left out early, so that every leaf has its value. Leaves are evaluated by the plain evaluator; how
//! parts make a whole is written out once more here, and a test holds both to the same verdicts.

use super::evaluate::{Verdict, expression};
use crate::event::{Event, FieldPath, Value};
use crate::sigma::{Condition, Expression, Globs, Test};

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
    /// A text anywhere in the event.
    Keyword(&'c Globs),
    /// Whether the call worked.
    Succeeded,
}

/// What stands at a field path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// `CloudTrail` left it out.
    Omitted,
    /// These values, as the caller wants them shown; none if the field is absent.
    Values(Vec<String>),
}

/// Evaluates a condition on an event; `show` says how a value is written.
pub fn trace<'c>(
    condition: &'c Condition,
    event: &Event<'_>,
    show: &mut dyn FnMut(&FieldPath, Value<'_>) -> String,
) -> Trace<'c> {
    Tracer { condition, event, show }.trace(&condition.root)
}

struct Tracer<'c, 'e, 's> {
    condition: &'c Condition,
    event: &'s Event<'e>,
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
            Expression::Keyword(globs) => (self.leaf(part), Step::Keyword(globs)),
            Expression::Succeeded => (self.leaf(part), Step::Succeeded),
        };
        Trace { verdict, step }
    }

    fn each(&mut self, parts: &'c [Expression]) -> Vec<Trace<'c>> {
        parts.iter().map(|part| self.trace(part)).collect()
    }

    fn leaf(&self, part: &Expression) -> Verdict {
        expression(part, self.condition, self.event)
    }

    fn find(&mut self, path: &FieldPath) -> Found {
        if self.event.omitted().contains(path.head()) {
            return Found::Omitted;
        }
        let mut values = Vec::new();
        path.any(self.event.root(), &mut |value| {
            values.push((self.show)(path, value));
            false
        });
        Found::Values(values)
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

fn opposite(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::No => Verdict::Yes,
        Verdict::Unknown => Verdict::Unknown,
        Verdict::Yes => Verdict::No,
    }
}
