//! What each sink has still to take: on the disk as much as there may be, with its sender only a little of it.

use tokio::sync::watch;
use tracing::{info, warn};

use super::disk::{Backlog, Disk, Queued};
use crate::alert::{Alert, SenderHandle};
use crate::metrics::Metrics;

/// Alerts that a sender has at hand before it gets more, and their bytes.
const AT_HAND: usize = 256;
const AT_HAND_BYTES: usize = 16 << 20;
/// Alerts that wait for a sink that is not required, and their bytes; beyond them alerts are dropped.
const OPTIONAL: Backlog = Backlog { alerts: 10_000, bytes: 64 << 20 };

/// The alerts on their way, by sink.
#[derive(Debug)]
pub(super) struct Outbox {
    lanes: Vec<Lane>,
    /// Bytes beyond which hardly anything is received.
    most_bytes: u64,
    /// Whether that much waits for a sink that is required.
    full: watch::Sender<bool>,
    metrics: Metrics,
}

/// The way to one sink.
#[derive(Debug)]
struct Lane {
    handle: SenderHandle,
    /// What it has still to take, on the disk and at hand.
    backlog: Backlog,
    /// The last that its sender was given.
    given: i64,
    /// Whether it takes no more for now; does not change within a commit.
    full: bool,
}

impl Outbox {
    /// An outbox for these sinks, in which nothing waits.
    pub(super) fn new(sinks: Vec<SenderHandle>, most_bytes: u64, metrics: Metrics) -> Self {
        let lane = |handle| Lane { handle, backlog: Backlog::default(), given: 0, full: false };
        let (full, _) = watch::channel(false);
        Self { lanes: sinks.into_iter().map(lane).collect(), most_bytes, full, metrics }
    }

    /// Whether there is no room for more.
    pub(super) fn full(&self) -> watch::Receiver<bool> {
        self.full.subscribe()
    }

    /// The names of the sinks, by their position.
    pub(super) fn names(&self) -> Vec<&str> {
        self.lanes.iter().map(|lane| lane.handle.settings.name.as_str()).collect()
    }

    /// Whether some sink wants the final counts of windows.
    pub(super) fn wants_updates(&self) -> bool {
        self.lanes.iter().any(|lane| lane.handle.settings.updates)
    }

    /// The sinks that are to take an alert.
    pub(super) fn sinks(&self, alert: &Alert) -> Vec<&str> {
        let lanes = self.lanes.iter().filter(|lane| lane.wants(alert) && !lane.full);
        lanes.map(|lane| lane.handle.settings.name.as_str()).collect()
    }

    /// An alert was written for the sinks that are to take it.
    pub(super) fn raised(&mut self, alert: &Alert) {
        for lane in &mut self.lanes {
            let name = &lane.handle.settings.name;
            self.metrics.sink_alert(name, "raised");
            if !lane.wants(alert) {
                self.metrics.sink_alert(name, "suppressed");
            } else if lane.full {
                self.metrics.sink_alert(name, "dropped");
                self.metrics.delivery(name, "dropped");
            } else {
                lane.backlog.alerts += 1;
                lane.backlog.bytes += alert.document.len() as u64;
            }
        }
    }

    /// A sink has taken or refused an alert of this size.
    pub(super) fn settled(&mut self, sink: usize, size: usize, taken: bool) {
        let Lane { handle, backlog, .. } = &mut self.lanes[sink];
        backlog.alerts = backlog.alerts.saturating_sub(1);
        backlog.bytes = backlog.bytes.saturating_sub(size as u64);
        self.metrics.sink_alert(&handle.settings.name, if taken { "delivered" } else { "dead" });
    }

    /// Looks at what the disk has for each sink, which somebody else may have added to.
    pub(super) fn recount(&mut self, disk: &Disk) -> rusqlite::Result<()> {
        let backlogs = disk.backlogs()?;
        for lane in &mut self.lanes {
            let name = &lane.handle.settings.name;
            let found = backlogs.iter().find(|(sink, _)| sink == name).map(|(_, backlog)| *backlog);
            let found = found.unwrap_or_default();
            let added = found.alerts.saturating_sub(lane.backlog.alerts);
            self.metrics.sink_alerts(name, "restored", added);
            lane.backlog = found;
        }
        Ok(())
    }

    /// Gives every sender that has little at hand some more, and says whether there is room.
    pub(super) fn feed(&mut self, disk: &Disk) -> rusqlite::Result<()> {
        for lane in &mut self.lanes {
            lane.feed(disk)?;
            lane.full = lane.is_full();
            let waiting = i64::try_from(lane.backlog.alerts).unwrap_or(i64::MAX);
            self.metrics.outbox(&lane.handle.settings.name, waiting);
        }
        self.report_full();
        Ok(())
    }

    /// Has every sender end what it has begun, and begin nothing that may take long.
    pub(super) fn finish(&self) {
        self.lanes.iter().for_each(|lane| lane.handle.finish());
    }

    fn report_full(&self) {
        let required = self.lanes.iter().filter(|lane| lane.handle.settings.required);
        let Some(most) = required.max_by_key(|lane| lane.backlog.bytes) else { return };
        let (bytes, sink) = (most.backlog.bytes, most.handle.settings.name.as_str());
        let before = *self.full.borrow();
        // A little room is not worth a change.
        let (full, roomy) = (bytes >= self.most_bytes, bytes <= self.most_bytes / 10 * 9);
        if full && !before {
            warn!(
                sink,
                bytes,
                alerts = most.backlog.alerts,
                "the outbox is full, as this sink has so much still to take"
            );
            self.full.send_replace(true);
        } else if roomy && before {
            info!("the outbox has room again");
            self.full.send_replace(false);
        }
    }
}

impl Lane {
    fn wants(&self, alert: &Alert) -> bool {
        !alert.is_withheld && self.handle.settings.wants(alert)
    }

    fn is_full(&self) -> bool {
        let Backlog { alerts, bytes } = self.backlog;
        !self.handle.settings.required && (alerts >= OPTIONAL.alerts || bytes >= OPTIONAL.bytes)
    }

    fn feed(&mut self, disk: &Disk) -> rusqlite::Result<()> {
        let at_hand = self.handle.backlog();
        while at_hand.alerts() < AT_HAND && at_hand.bytes() < AT_HAND_BYTES {
            if self.backlog.alerts <= at_hand.alerts() as u64 {
                return Ok(());
            }
            let page = disk.queued(&self.handle.settings.name, self.given)?;
            if page.is_empty() {
                return Ok(());
            }
            for Queued { number, alert } in page {
                self.given = number;
                // What a sink that is not required has no room for stays on the disk.
                let _ = self.handle.send(&alert.into());
            }
        }
        Ok(())
    }
}
