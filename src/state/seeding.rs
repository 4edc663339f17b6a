//! A state that is taught by a replay: what the replay has told is known, and what it has seen goes on.

use std::path::Path;
use std::sync::Arc;

use super::disk::{Disk, OpenError, Plan, failed};
use super::windows::meanings;
use super::{Gathered, WAIT, WindowLimits, Windows};
use crate::alert::Alert;
use crate::clock::Clock;
use crate::detect::windows::Idle;
use crate::horizon::Horizon;
use crate::metrics::Metrics;
use crate::worker::Inspection;

/// Alerts whose ids are written at once.
const AT_ONCE: usize = 10_000;

/// A state folder that learns, and runs nothing.
#[derive(Debug)]
pub struct Seeding {
    disk: Disk,
    windows: Windows,
    alerts: Vec<Alert>,
    clock: Clock,
}

impl Seeding {
    /// Opens the state in a folder for these detections.
    ///
    /// # Errors
    /// The folder or its database cannot be used; see [`OpenError`].
    pub fn open(
        folder: &Path,
        inspection: Arc<Inspection>,
        limits: WindowLimits,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let mut disk = Disk::open(folder, WAIT)?;
        let restored = disk.windows(&meanings(&inspection));
        let (rows, _) = restored.map_err(|source| failed(disk.path(), source))?;
        // What an archive has is sorted, and most of it is older than any window that goes on.
        let sorted = WindowLimits { idle: Idle::SORTED, ..limits };
        let windows =
            Windows::restored(inspection, rows, sorted, Horizon::new(limits.idle.settle), Metrics::default());
        Ok(Self { disk, windows, alerts: Vec::new(), clock })
    }

    /// An alert was told: its id is not raised again.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn told(&mut self, alert: &Alert) -> Result<(), OpenError> {
        self.alerts.push(Alert { document: String::new(), ..alert.clone() });
        if self.alerts.len() < AT_ONCE { Ok(()) } else { self.write() }
    }

    /// Evidence of what was seen, in the order of time: windows and first sights go on from it. Texts about its events
    /// are not kept.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn seen(&mut self, mut gathered: Gathered) -> Result<(), OpenError> {
        gathered.evidence.iter_mut().for_each(|evidence| evidence.excerpt = None);
        let found = self.windows.take(gathered, self.clock.now(), false);
        self.alerts.extend(found);
        self.write()
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(mut self) -> Result<(), OpenError> {
        self.write()
    }

    fn write(&mut self) -> Result<(), OpenError> {
        let (alerts, changes) = (std::mem::take(&mut self.alerts), self.windows.changes());
        let plan = Plan { alerts, changes, ..Plan::default() };
        let written = self.disk.write(&plan, self.clock.now(), &[], |_| Vec::new());
        written.map(drop).map_err(|source| failed(self.disk.path(), source))
    }
}
