//! A correlation and the rules that it names: aliases, conditions by name, values of inner correlations.

use super::correlation::{Correlation, CorrelationKind, Member};
use super::document::{Body, Fault, Unit};
use super::draft::{Alias, CorrelationError, Draft};
use super::occurrence::{self, Unresolved};
use super::shape::Shape;
use crate::event::FieldPath;

/// A correlation and its members, all of which run.
pub(super) struct Crew<'u> {
    pub(super) draft: &'u Draft,
    pub(super) members: Vec<&'u Unit>,
}

impl Crew<'_> {
    /// The correlation with its members and their fields, or everything that is wrong with it.
    pub(super) fn correlation(&self) -> Result<Correlation, Vec<Fault>> {
        let mut faults = Vec::new();
        for (at, reference) in self.draft.members.iter().enumerate() {
            if self.members[..at].iter().any(|other| std::ptr::eq(*other, self.members[at])) {
                let error = CorrelationError::MemberTwice(reference.text.clone()).into();
                faults.push(Fault { line: reference.line, error });
            }
        }
        self.check_aliases(&mut faults);
        let members: Vec<Member> = (0..self.members.len()).map(|at| self.member(at, &mut faults)).collect();
        let kind = self.kind(&mut faults);
        match kind {
            Some(kind) if faults.is_empty() => Ok(Correlation {
                kind,
                members,
                group_by: self.draft.group_by.iter().map(|field| field.as_str().into()).collect(),
                timespan: self.draft.timespan,
                generate: self.draft.generate,
            }),
            _ => Err(faults),
        }
    }

    /// The member of a name: as the correlation calls it, or by another of its names.
    fn find(&self, name: &str) -> Option<usize> {
        let called = self.draft.members.iter().position(|member| member.text == name);
        called.or_else(|| self.members.iter().position(|unit| unit.names.has(name)))
    }

    fn check_aliases(&self, faults: &mut Vec<Fault>) {
        let named = self.draft.aliases.iter().flat_map(|alias| &alias.fields);
        for (reference, _) in named.filter(|(reference, _)| self.find(&reference.text).is_none()) {
            let error = CorrelationError::NotAMember(reference.text.clone()).into();
            faults.push(Fault { line: reference.line, error });
        }
    }

    fn member(&self, at: usize, faults: &mut Vec<Fault>) -> Member {
        let unit = self.members[at];
        let group_by: Vec<&str> =
            self.draft.group_by.iter().map(|field| self.field(at, field, faults)).collect();
        let rule = match &unit.body {
            Body::Rule(rule) => rule,
            Body::Correlation(rule, inner) => {
                let values = group_by.iter().copied().chain(self.counted());
                for field in values.filter(|field| !inner.group_by.iter().any(|own| own == field)) {
                    let member = self.draft.members[at].text.clone();
                    let error = CorrelationError::NoInnerValue { member, field: field.to_owned() };
                    faults.push(Fault { line: self.draft.members[at].line, error: error.into() });
                }
                rule
            }
            Body::Filter(_) | Body::Absent(_) => unreachable!("members run"),
        };
        Member { rule: rule.id.clone(), group_by: group_by.into_iter().map(FieldPath::new).collect() }
    }

    /// The field of a group in the events of a member.
    fn field<'d>(&'d self, at: usize, field: &'d str, faults: &mut Vec<Fault>) -> &'d str {
        let Some(alias) = self.draft.aliases.iter().find(|alias| alias.name == field) else { return field };
        let Alias { line, name, fields } = alias;
        match fields.iter().find(|(member, _)| self.find(&member.text) == Some(at)) {
            Some((_, field)) => field,
            None => {
                let member = self.draft.members[at].text.clone();
                let error = CorrelationError::AliasWithout { alias: name.clone(), member };
                faults.push(Fault { line: *line, error: error.into() });
                field
            }
        }
    }

    /// The fields whose values are counted.
    fn counted(&self) -> impl Iterator<Item = &str> {
        let fields = match &self.draft.shape {
            Shape::Known(CorrelationKind::ValueCount(fields, _)) => fields.as_slice(),
            Shape::Known(
                CorrelationKind::ValueSum(field, _)
                | CorrelationKind::ValueAverage(field, _)
                | CorrelationKind::ValuePercentile(field, ..),
            ) => std::slice::from_ref(field),
            _ => &[],
        };
        fields.iter().map(FieldPath::as_str)
    }

    fn kind(&self, faults: &mut Vec<Fault>) -> Option<CorrelationKind> {
        let (condition, line) = match &self.draft.shape {
            Shape::Known(kind) => return Some(kind.clone()),
            Shape::Named(condition, line) => (condition, *line),
        };
        let find = |name: &str| self.find(name);
        let mut refuse = |error: CorrelationError| faults.push(Fault { line, error: error.into() });
        match occurrence::resolve(condition, &self.draft.members, &find) {
            Ok(occurrence) => {
                let members = self.draft.members.iter().enumerate();
                for (_, idle) in members.filter(|(at, _)| !occurrence.names(*at)) {
                    refuse(CorrelationError::Idle(idle.text.clone()));
                }
                Some(CorrelationKind::Temporal(occurrence))
            }
            Err(error) => {
                refuse(match error {
                    Unresolved::Stranger(name) => CorrelationError::NotAMember(name),
                    Unresolved::TooManyCombinations => CorrelationError::TooManyCombinations,
                });
                None
            }
        }
    }
}
