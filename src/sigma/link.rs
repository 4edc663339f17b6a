//! All documents at once: duplicates, the members of correlations, the targets of filters.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use sha2::{Digest, Sha256};

use super::correlation::Correlation;
use super::crew::Crew;
use super::document::{Absence, Body, DocumentError, Fault, Unit};
use super::draft::{CorrelationError, Draft, MOST_LEVELS, Reference};
use super::filter::{Filter, FilterError, Sketch, Targets};
use super::part::Part;
use super::reference::{Directory, ReferenceError};
use super::rule::{Logic, Place, Rule};
use super::{Compiled, Problem, RuleError, Skipped};
use crate::event::hex;

/// Resolves what documents say of each other.
pub(super) fn link(part: Part) -> Compiled {
    let Part { mut units, feeds, mut problems, mut skipped } = part;
    settle_duplicates(&mut units, &mut skipped, &mut problems);
    let directory = Directory::new(&units);
    let mut linker =
        Linker { units: &units, directory: &directory, levels: HashMap::new(), problems, skipped };
    let correlations = linker.correlations();
    let narrowed = linker.narrowed();
    let (mut muted, mut spared) = (HashSet::new(), HashSet::new());
    for feed in &feeds {
        let members = feed.members.iter().filter_map(|member| directory.find_in(&member.text, &feed.file));
        if feed.generate { spared.extend(members) } else { muted.extend(members) }
    }
    let Linker { problems, skipped, .. } = linker;
    let filters = filters(&units, &narrowed);
    let rules = rules(units, correlations, &narrowed, &(&muted - &spared));
    Compiled { rules, filters, problems, skipped }
}

/// The filters, each with the rules that it narrows, in the order of their documents.
fn filters(units: &[Unit], narrowed: &BTreeMap<usize, Vec<usize>>) -> Vec<Filter> {
    let filter = |(at, unit): (usize, &Unit)| match &unit.body {
        Body::Filter(sketch) => Some((at, sketch.filter.clone())),
        _ => None,
    };
    let mut filters: BTreeMap<usize, Filter> = units.iter().enumerate().filter_map(filter).collect();
    for (target, own) in narrowed {
        let Body::Rule(rule) = &units[*target].body else { continue };
        for at in own {
            filters.entry(*at).and_modify(|filter| filter.narrows.push(rule.id.clone()));
        }
    }
    filters.into_values().collect()
}

/// Identical documents load once; different ones with one id are a problem.
fn settle_duplicates(units: &mut Vec<Unit>, skipped: &mut Skipped, problems: &mut Vec<Problem>) {
    let mut seen: HashMap<String, (String, Place)> = HashMap::new();
    units.retain(|unit| {
        let id = match &unit.body {
            Body::Rule(rule) | Body::Correlation(rule, _) => rule.id.clone(),
            Body::Filter(sketch) => sketch.filter.id.clone(),
            Body::Absent(_) => return true,
        };
        match seen.get(&id) {
            None => {
                seen.insert(id, (unit.hash.clone(), unit.place.clone()));
                return true;
            }
            Some(_) if unit.aside => {}
            Some((hash, _)) if *hash == unit.hash => skipped.repeated += 1,
            Some((_, other)) => {
                problems.push(RuleError::Duplicate { id, other: other.clone() }.at(unit.place.clone()));
            }
        }
        false
    });
}

/// The rules that run, in the order of their documents.
fn rules(
    units: Vec<Unit>,
    mut correlations: HashMap<usize, Correlation>,
    narrowed: &BTreeMap<usize, Vec<usize>>,
    muted: &HashSet<usize>,
) -> Vec<Rule> {
    let mut filters: HashMap<usize, (String, Filter)> = HashMap::new();
    let mut rules: Vec<(usize, Rule)> = Vec::new();
    for (at, unit) in units.into_iter().enumerate().filter(|(_, unit)| !unit.aside) {
        match unit.body {
            Body::Rule(rule) => rules.push((at, *rule)),
            Body::Correlation(rule, _) => {
                if let Some(correlation) = correlations.remove(&at) {
                    rules.push((at, Rule { logic: Logic::Correlation(correlation), ..*rule }));
                }
            }
            Body::Filter(sketch) => _ = filters.insert(at, (unit.hash, sketch.filter)),
            Body::Absent(_) => {}
        }
    }
    for (at, rule) in &mut rules {
        rule.muted = muted.contains(at);
        let mut own: Vec<_> =
            narrowed.get(at).into_iter().flatten().filter_map(|filter| filters.get(filter)).collect();
        own.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (hash, filter) in own {
            if let Logic::Event(condition) = &mut rule.logic {
                filter.narrow(condition);
                rule.hash = hex(&Sha256::digest(format!("{}{hash}", rule.hash)));
            }
        }
    }
    let mut regexes = HashMap::new();
    for (_, rule) in &mut rules {
        if let Logic::Event(condition) = &mut rule.logic {
            condition.share_regexes(&mut regexes);
        }
    }
    rules.into_iter().map(|(_, rule)| rule).collect()
}

struct Linker<'u> {
    units: &'u [Unit],
    directory: &'u Directory<'u>,
    /// How many correlations stand in each other below and with each that is settled.
    levels: HashMap<usize, usize>,
    problems: Vec<Problem>,
    skipped: Skipped,
}

/// A correlation whose members have been found.
struct Found<'u> {
    draft: &'u Draft,
    members: Vec<usize>,
    /// How many of them are correlations that are not settled yet.
    waits_for: usize,
}

impl<'u> Linker<'u> {
    fn refuse(&mut self, at: usize, line: usize, error: impl Into<RuleError>) {
        let file = self.units[at].place.file.clone();
        self.problems.push(error.into().at(Place { file, line }));
    }

    /// Every correlation that runs, by the position of its unit: inner ones are settled before outer ones.
    fn correlations(&mut self) -> HashMap<usize, Correlation> {
        let mut absences: HashMap<usize, Absence> = HashMap::new();
        let mut open: BTreeMap<usize, Found<'u>> = BTreeMap::new();
        for (at, unit) in self.units.iter().enumerate() {
            match &unit.body {
                Body::Absent(absence) => _ = absences.insert(at, *absence),
                Body::Correlation(_, draft) => match self.found(at, draft) {
                    Some(found) => _ = open.insert(at, found),
                    None => _ = absences.insert(at, Absence::Broken),
                },
                Body::Rule(_) | Body::Filter(_) => {}
            }
        }
        let mut outer: HashMap<usize, Vec<usize>> = HashMap::new();
        for (at, found) in &mut open {
            for member in &found.members {
                let is_open = matches!(self.units[*member].body, Body::Correlation(..));
                if is_open && !absences.contains_key(member) {
                    found.waits_for += 1;
                    outer.entry(*member).or_default().push(*at);
                }
            }
        }
        let mut ready: VecDeque<usize> =
            open.iter().filter(|(_, found)| found.waits_for == 0).map(|(at, _)| *at).collect();
        let mut settled = HashMap::new();
        while let Some(at) = ready.pop_front() {
            let Some(found) = open.remove(&at) else { continue };
            match self.settle(at, &found, &absences) {
                Ok(correlation) => _ = settled.insert(at, correlation),
                Err(absence) => _ = absences.insert(at, absence),
            }
            for waiting in outer.remove(&at).unwrap_or_default() {
                if let Some(found) = open.get_mut(&waiting) {
                    found.waits_for -= 1;
                    if found.waits_for == 0 {
                        ready.push_back(waiting);
                    }
                }
            }
        }
        self.refuse_cycles(&open);
        settled
    }

    /// What is left waits for itself, or for something that does.
    fn refuse_cycles(&mut self, open: &BTreeMap<usize, Found<'u>>) {
        let mut seen = HashSet::new();
        let mut circular = HashSet::new();
        for start in open.keys() {
            let mut path = Vec::new();
            let mut at = *start;
            while seen.insert(at) {
                path.push(at);
                let next = open[&at].members.iter().find(|member| open.contains_key(member));
                at = *next.expect("what is open waits for something open");
            }
            let Some(begin) = path.iter().position(|known| *known == at) else { continue };
            let cycle = &path[begin..];
            circular.extend(cycle.iter().copied());
            for (turn, at) in cycle.iter().enumerate() {
                let around = cycle[turn..].iter().chain(&cycle[..=turn]);
                let titles: Vec<&str> = around.map(|at| self.units[*at].names.title.as_str()).collect();
                let error = ReferenceError::Cycle(titles.join(" → "));
                self.refuse(*at, open[at].draft.line, error);
            }
        }
        for (at, found) in open.iter().filter(|(at, _)| !circular.contains(at)) {
            for (reference, member) in found.draft.members.iter().zip(&found.members) {
                if open.contains_key(member) {
                    self.refuse_absent(*at, reference, *member, Absence::Broken);
                }
            }
        }
    }

    fn refuse_absent(&mut self, at: usize, reference: &Reference, member: usize, absence: Absence) {
        let place = self.units[member].place.clone();
        let error = ReferenceError::Absent { name: reference.text.clone(), place, absence };
        self.refuse(at, reference.line, error);
    }

    /// Finds the members of a correlation; none if one of them cannot be found.
    fn found(&mut self, at: usize, draft: &'u Draft) -> Option<Found<'u>> {
        let file = &self.units[at].place.file;
        let mut members = Vec::new();
        for reference in &draft.members {
            match self.directory.find(&reference.text, file) {
                Ok(member) => members.push(member),
                Err(error) => self.refuse(at, reference.line, error),
            }
        }
        (members.len() == draft.members.len()).then_some(Found { draft, members, waits_for: 0 })
    }

    /// Makes a correlation whose members are settled.
    fn settle(
        &mut self,
        at: usize,
        found: &Found<'u>,
        absences: &HashMap<usize, Absence>,
    ) -> Result<Correlation, Absence> {
        let absent: Vec<Option<Absence>> =
            found.members.iter().map(|member| absences.get(member).copied()).collect();
        if absent.iter().all(|absence| *absence == Some(Absence::OtherSource)) {
            self.skipped.other_source += 1;
            return Err(Absence::OtherSource);
        }
        if absent.iter().any(Option::is_some) {
            for ((reference, member), absence) in found.draft.members.iter().zip(&found.members).zip(absent) {
                if let Some(absence) = absence {
                    self.refuse_absent(at, reference, *member, absence);
                }
            }
            return Err(Absence::Broken);
        }
        let inner = found.members.iter().filter_map(|member| self.levels.get(member)).max();
        let level = inner.map_or(1, |inner| inner + 1);
        if level > MOST_LEVELS {
            self.refuse(at, found.draft.line, DocumentError::from(CorrelationError::TooDeep));
            return Err(Absence::Broken);
        }
        self.levels.insert(at, level);
        let members = found.members.iter().map(|member| &self.units[*member]).collect();
        Crew { draft: found.draft, members }.correlation().map_err(|faults| {
            for Fault { line, error } in faults {
                self.refuse(at, line, error);
            }
            Absence::Broken
        })
    }

    /// The filters of each rule, both by the positions of their units.
    fn narrowed(&mut self) -> BTreeMap<usize, Vec<usize>> {
        let mut narrowed: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (at, unit) in self.units.iter().enumerate() {
            if let Body::Filter(sketch) = &unit.body {
                for target in self.targets(at, sketch) {
                    narrowed.entry(target).or_default().push(at);
                }
            }
        }
        narrowed
    }

    /// The rules that a filter narrows; none if one of its targets is wrong.
    fn targets(&mut self, at: usize, filter: &Sketch) -> BTreeSet<usize> {
        let units = self.units;
        let fits = |target: &usize| units[at].source.contains(&units[*target].source);
        let Targets::Named(references) = &filter.targets else {
            let is_rule = |target: &usize| matches!(units[*target].body, Body::Rule(_));
            return (0..units.len()).filter(is_rule).filter(fits).collect();
        };
        let mut targets = BTreeSet::new();
        let mut sound = true;
        for reference in references {
            let name = || reference.text.clone();
            let error: RuleError = match self.directory.find(&reference.text, &units[at].place.file) {
                Err(error) => error.into(),
                Ok(target) => match &units[target].body {
                    Body::Correlation(..) => DocumentError::from(FilterError::Correlation(name())).into(),
                    Body::Rule(_) if fits(&target) => {
                        targets.insert(target);
                        continue;
                    }
                    Body::Rule(_) | Body::Absent(Absence::OtherSource) => {
                        DocumentError::from(FilterError::LogSource(name())).into()
                    }
                    // There is nothing to narrow, or it has been told.
                    Body::Absent(_) | Body::Filter(_) => continue,
                },
            };
            sound = false;
            self.refuse(at, reference.line, error);
        }
        if sound { targets } else { BTreeSet::new() }
    }
}
