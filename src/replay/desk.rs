//! Puts outcomes back into order and tells them.

use std::collections::{BTreeMap, HashSet};
use std::io;

use super::comparison::{InOrder, SideBySide, Sides};
use super::evidence;
use super::examine::Piles;
use super::{Audience, Found, Outcome, Sets, Summary};
use crate::alert::{Alert, AlertId};

/// The one place where outcomes come together.
pub(super) struct Desk<'a> {
    summary: Summary,
    /// Outcomes whose turn has not come.
    early: BTreeMap<usize, Outcome>,
    next: usize,
    /// The ids that were told, and those that the old one of two sets raised.
    ids: HashSet<AlertId>,
    old: HashSet<AlertId>,
    told: io::Result<()>,
    audience: &'a mut dyn Audience,
}

impl<'a> Desk<'a> {
    pub(super) fn new(summary: Summary, audience: &'a mut dyn Audience) -> Self {
        let (ids, old) = (HashSet::new(), HashSet::new());
        Self { summary, early: BTreeMap::new(), next: 0, ids, old, told: Ok(()), audience }
    }

    /// Takes the outcome of a task and tells everything whose turn it is; returns how many tasks were told, or
    /// nothing once something could not be.
    pub(super) fn take(&mut self, number: usize, outcome: Outcome) -> Option<usize> {
        self.early.insert(number, outcome);
        while let Some(outcome) = self.early.remove(&self.next).filter(|_| self.told.is_ok()) {
            self.next += 1;
            self.told = self.tell(outcome);
        }
        self.told.is_ok().then_some(self.next)
    }

    pub(super) fn progress(&mut self, total: usize) {
        self.audience.progress(&self.summary, total);
    }

    /// What was found, and whether everything could be told.
    pub(super) fn finish(mut self) -> (Summary, io::Result<()>) {
        if let Some(diff) = &mut self.summary.diff {
            diff.finish();
        }
        (self.summary, self.told)
    }

    /// Tells what follows from the events of all objects together.
    pub(super) fn conclude(&mut self, sets: &Sets, piles: Piles) {
        if self.told.is_ok() {
            self.told = self.over_many(sets, piles);
        }
    }

    fn over_many(&mut self, sets: &Sets, piles: Piles) -> io::Result<()> {
        let Sides { old, new } = piles;
        match sets {
            Sets::One(set) => {
                let mut told = evidence::tell(new, set)?;
                self.summary.weigh(&told);
                while let Some((_, alert)) = told.next()? {
                    self.alert(&alert)?;
                }
                Ok(())
            }
            Sets::Two(pair) => {
                let (old, new) = (evidence::tell(old, &pair.sets.old)?, evidence::tell(new, &pair.sets.new)?);
                self.summary.weigh(&new);
                self.side_by_side(Sides { old, new })
            }
        }
    }

    fn side_by_side(&mut self, alerts: Sides<impl InOrder>) -> io::Result<()> {
        let mut pairs = SideBySide::new(alerts)?;
        while let Some(alerts) = pairs.next()? {
            self.pair(alerts)?;
        }
        Ok(())
    }

    fn tell(&mut self, outcome: Outcome) -> io::Result<()> {
        match self.summary.add(outcome)? {
            None => Ok(()),
            Some(Found::Alerts(spool)) => {
                let mut rows = spool.rows()?;
                while let Some(row) = rows.next()? {
                    self.alert(&row.alert)?;
                }
                Ok(())
            }
            Some(Found::Pairs(spools, span)) => {
                self.summary.diff.iter_mut().for_each(|diff| diff.span.join(span));
                let Sides { old, new } = spools;
                self.side_by_side(Sides { old: old.rows()?, new: new.rows()? })
            }
        }
    }

    fn alert(&mut self, alert: &Alert) -> io::Result<()> {
        if self.is_first(alert) { self.audience.alert(alert) } else { Ok(()) }
    }

    /// Compares the alerts of one detection on one event; on an event that comes again, where it comes first.
    fn pair(&mut self, alerts: Sides<Option<Alert>>) -> io::Result<()> {
        let first = Sides {
            old: alerts.old.as_ref().is_some_and(|alert| !alert.is_withheld && self.old.insert(alert.id)),
            new: alerts.new.as_ref().is_some_and(|alert| self.is_first(alert)),
        };
        if !first.old && !first.new {
            return Ok(());
        }
        let told = |alert: Option<Alert>| alert.filter(|alert| !alert.is_withheld);
        let alerts = Sides { old: told(alerts.old), new: told(alerts.new) };
        let difference = self.summary.diff.as_mut().and_then(|diff| diff.compare(alerts, first));
        difference.map_or(Ok(()), |difference| self.audience.difference(&difference))
    }

    /// Whether an alert is to be told, for the first time; counts it.
    fn is_first(&mut self, alert: &Alert) -> bool {
        if !self.ids.insert(alert.id) {
            self.summary.repeats += 1;
            return false;
        }
        if alert.is_withheld {
            self.summary.withheld += 1;
            return false;
        }
        self.summary.count(alert);
        true
    }
}
