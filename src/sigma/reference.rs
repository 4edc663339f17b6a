//! What a document means that names a rule: its id, its name or its title.

use std::collections::HashMap;

use super::document::{Absence, Body, Unit};
use super::rule::Place;

/// Finds rules by what documents call them.
pub(super) struct Directory<'u> {
    units: &'u [Unit],
    /// By id, by name, by title.
    by: [HashMap<&'u str, Vec<usize>>; 3],
}

/// What is wrong with a reference to a rule.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// No rule is called so.
    #[error("there is no rule whose id, name or title is `{0}`")]
    Unknown(String),
    /// Two rules are called so.
    #[error("`{name}` may be the rule at {one} or the one at {other}; name it by its id")]
    Ambiguous {
        /// The name.
        name: String,
        /// One of them.
        one: Place,
        /// Another.
        other: Place,
    },
    /// The rule does not run.
    #[error("the rule `{name}` at {place} {}", .absence.said())]
    Absent {
        /// The name.
        name: String,
        /// Where it stands.
        place: Place,
        /// Why it does not run.
        absence: Absence,
    },
    /// Correlations that need each other.
    #[error("the correlation depends on itself: {0}")]
    Cycle(String),
}

impl Absence {
    fn said(self) -> &'static str {
        match self {
            Absence::OtherSource => "is for another log source",
            Absence::Retired => "is deprecated or unsupported; its file must be named for it to run",
            Absence::Disabled => "is disabled",
            Absence::Broken => "is broken",
        }
    }
}

impl<'u> Directory<'u> {
    pub(super) fn new(units: &'u [Unit]) -> Self {
        let mut by = [HashMap::new(), HashMap::new(), HashMap::new()];
        for (at, unit) in units.iter().enumerate() {
            if matches!(unit.body, Body::Filter(_)) {
                continue;
            }
            let names = [unit.names.id.as_deref(), unit.names.name.as_deref(), Some(&*unit.names.title)];
            for (map, name) in by.iter_mut().zip(names) {
                if let Some(name) = name {
                    map.entry(name).or_insert_with(Vec::new).push(at);
                }
            }
        }
        Self { units, by }
    }

    /// The rule of this name: one that runs before one that does not, one of the same file before one of another
    /// before one that was put aside, an id before a name before a title.
    pub(super) fn find(&self, name: &str, file: &str) -> Result<usize, ReferenceError> {
        let runs = |at: &usize| !matches!(self.units[*at].body, Body::Absent(_));
        let own = |at: &usize| &*self.units[*at].place.file == file;
        self.choose(name, |at| runs(at) && own(at))
            .or_else(|| self.choose(name, |at| runs(at) && !self.units[*at].aside))
            .or_else(|| self.choose(name, runs))
            .or_else(|| self.first(name, own))
            .or_else(|| self.first(name, |_| true))
            .unwrap_or_else(|| Err(ReferenceError::Unknown(name.to_owned())))
    }

    /// The rule of this name that runs and stands in this file, if it is clear which one.
    pub(super) fn find_in(&self, name: &str, file: &str) -> Option<usize> {
        self.find(name, file).ok().filter(|at| {
            let unit = &self.units[*at];
            &*unit.place.file == file && !matches!(unit.body, Body::Absent(_))
        })
    }

    fn choose(&self, name: &str, suits: impl Fn(&usize) -> bool) -> Option<Result<usize, ReferenceError>> {
        let found = self.by.iter().find_map(|map| {
            let mut found = map.get(name)?.iter().filter(|at| suits(at));
            Some((*found.next()?, found.next()))
        })?;
        Some(match found {
            (only, None) => Ok(only),
            (one, Some(other)) => Err(ReferenceError::Ambiguous {
                name: name.to_owned(),
                one: self.units[one].place.clone(),
                other: self.units[*other].place.clone(),
            }),
        })
    }

    /// The first of those that do not run: which one, makes no difference.
    fn first(&self, name: &str, suits: impl Fn(&usize) -> bool) -> Option<Result<usize, ReferenceError>> {
        self.by.iter().find_map(|map| map.get(name)?.iter().find(|at| suits(at)).map(|at| Ok(*at)))
    }
}
