//! The committer: takes what has come meanwhile, writes it in one transaction, answers, and lets the sinks have it.
//!
//! While one transaction is being written, the next one gathers, and a little longer: the busier the program, the more
//! objects share a commit. What could not be written is written again until it can be; meanwhile nobody is answered, so that nothing is
//! acknowledged and the intake fills up.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Interval, MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::disk::{Disk, Objects, OpenError, Plan, Wanted, Written, failed};
use super::handles::{HandleFile, Handles};
use super::outbox::Outbox;
use super::windows::meanings;
use super::{Effects, End, Request, Settled, State, WindowLimits, Windows};
use crate::alert::{Outcome, Report, SenderHandle};
use crate::clock::Clock;
use crate::horizon::Horizon;
use crate::metrics::Metrics;
use crate::worker::Inspection;

/// Requests that share a commit at most.
const AT_ONCE: usize = 1_000;
/// Bytes of alerts and evidence beyond which a commit takes no more requests.
const AT_ONCE_BYTES: usize = 16 << 20;
/// How long requests are gathered while the program is busy: with each commit go so many more.
const GATHER: Duration = Duration::from_millis(5);
/// How soon after a commit the next one must begin for the program to be busy.
const BUSY: Duration = Duration::from_millis(20);
/// How often is looked for what time alone has settled, and for what others have written.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often old objects and ids are forgotten.
const FORGET_EVERY: Duration = Duration::from_mins(10);
/// Waits between tries to write what could not be written.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const MOST_WAIT: Duration = Duration::from_secs(10);
/// Time for senders to tell what they have begun, once there is no more time.
const LAST_REPORTS: Duration = Duration::from_secs(3);

/// A state that was opened, and runs nothing yet.
#[derive(Debug)]
pub struct Opened {
    disk: Disk,
    objects: Objects,
    /// As they were stored.
    windows: Windows,
}

/// Opens the state in a folder, as whoever had it before has left it, for these detections; `wait` is how long another
/// daemon that has it is waited for. Computes for as long as that takes.
///
/// # Errors
/// The folder or its database cannot be used; see [`OpenError`].
pub fn open(
    folder: &Path,
    wait: Duration,
    inspection: Arc<Inspection>,
    limits: WindowLimits,
    horizon: Horizon,
    metrics: Metrics,
) -> Result<Opened, OpenError> {
    let mut disk = Disk::open(folder, wait)?;
    let restored = disk.windows(&meanings(&inspection));
    let (rows, dropped) = restored.map_err(|source| failed(disk.path(), source))?;
    if dropped > 0 {
        warn!(rows = dropped, "what was kept for detections that have changed, or are no more, is forgotten");
    }
    info!(folder = %folder.display(), rows = rows.len(), "state opened");
    let objects = disk.objects()?;
    Ok(Opened { disk, objects, windows: Windows::restored(inspection, rows, limits, horizon, metrics) })
}

/// The owner of a durable state.
#[derive(Debug)]
pub struct Committer {
    inbox: mpsc::UnboundedReceiver<Request>,
    reports: mpsc::UnboundedReceiver<Report>,
    disk: Disk,
    windows: Windows,
    outbox: Outbox,
    wanted: watch::Sender<Arc<[Wanted]>>,
    /// Whether others have written since the outbox was last counted.
    overtaken: bool,
    /// Whether there may be others among the dead than were last seen.
    buried: bool,
    /// Whether an object may be dead.
    has_dead: bool,
    /// When the last request was committed.
    committed: Option<Instant>,
    /// When the state last forgot.
    forgot: Option<Instant>,
    metrics: Metrics,
    clock: Clock,
}

/// What has come since the last commit.
#[derive(Debug, Default)]
struct Batch {
    requests: Vec<Request>,
    reports: Vec<Report>,
}

/// What there is to do next.
enum Next {
    Commit(Batch),
    /// Nobody commits any more, and the senders have ended.
    End,
    /// There is no more time.
    Cancelled,
}

impl Opened {
    /// The receipt handles of messages that the last process on this folder had in flight, as far as they belong to
    /// these sources, and the owner of the file that keeps those to come.
    #[must_use]
    pub fn handles(&self, sources: &[String]) -> (Handles, HandleFile) {
        Handles::open(self.disk.place(), sources)
    }

    /// The owner of this state, who lets these sinks have the alerts; `reports` is where their senders report, and
    /// `most_bytes` how much may wait for a sink that is required.
    ///
    /// # Errors
    /// The database does not answer.
    pub fn owner(
        self,
        sinks: Vec<SenderHandle>,
        reports: mpsc::UnboundedReceiver<Report>,
        most_bytes: u64,
        metrics: Metrics,
        clock: Clock,
    ) -> Result<(State, Committer), OpenError> {
        let Self { mut disk, objects, windows } = self;
        let outbox = Outbox::new(sinks, most_bytes, metrics.clone());
        let orphans = disk.orphans(&outbox.names(), clock.now());
        for (sink, alerts) in orphans.map_err(|source| failed(disk.path(), source))? {
            warn!(
                sink,
                alerts, "alerts for a sink that there is no more are dead: see `trailhound dead list`"
            );
        }
        // What waits here is bounded by what is in flight.
        let (sender, inbox) = mpsc::unbounded_channel();
        let (wanted, _) = watch::channel(Arc::default());
        let committer = Committer {
            inbox,
            reports,
            disk,
            windows,
            outbox,
            wanted,
            overtaken: true,
            buried: true,
            has_dead: true,
            committed: None,
            forgot: None,
            metrics,
            clock,
        };
        Ok((State { inbox: sender, objects: Some(Arc::new(Mutex::new(objects))) }, committer))
    }
}

impl Committer {
    /// Returns a watch that is true while so much waits for a required sink that hardly anything may be received.
    #[must_use]
    pub fn outbox_full(&self) -> watch::Receiver<bool> {
        self.outbox.full()
    }

    /// Dead objects that somebody wants to be tried again, now and later.
    #[must_use]
    pub fn wanted(&self) -> watch::Receiver<Arc<[Wanted]>> {
        self.wanted.subscribe()
    }

    /// The windows, to be taught from archives before anything runs.
    pub fn windows(&mut self) -> &mut Windows {
        &mut self.windows
    }

    /// Runs until nobody commits any more and the senders have ended, or until it is cancelled. What sinks have not
    /// taken by then waits for the next start.
    pub async fn run(self, cancel: CancellationToken) {
        if let Err(panic) = spawn_blocking(move || self.work(&cancel)).await {
            error!(error = %panic, "the state has failed");
        }
    }

    fn work(mut self, cancel: &CancellationToken) {
        let runtime = Handle::current();
        let mut looks = {
            let _within = runtime.enter();
            looks()
        };
        let mut open = true;
        let mut next = Next::Commit(Batch::default());
        while let Next::Commit(batch) = next {
            if !self.commit(batch, cancel, &runtime) {
                return;
            }
            self.tend();
            next = runtime.block_on(self.next(&mut open, &mut looks, cancel));
        }
        if let Next::Cancelled = next {
            let reports = runtime.block_on(self.last_reports());
            self.commit(Batch { requests: Vec::new(), reports }, cancel, &runtime);
        }
    }

    /// Waits until there is something to do.
    async fn next(&mut self, open: &mut bool, looks: &mut Interval, cancel: &CancellationToken) -> Next {
        let mut batch = Batch::default();
        tokio::select! {
            () = cancel.cancelled() => return Next::Cancelled,
            request = self.inbox.recv(), if *open => match request {
                Some(request) => batch.requests.push(request),
                None => {
                    *open = false;
                    self.outbox.finish();
                }
            },
            report = self.reports.recv() => match report {
                Some(report) => batch.reports.push(report),
                None if *open => return Next::Cancelled,
                None => return Next::End,
            },
            _ = looks.tick() => {}
        }
        if !batch.requests.is_empty() && self.committed.is_some_and(|last| last.elapsed() < BUSY) {
            tokio::time::sleep(GATHER).await;
        }
        let mut bytes: usize = batch.requests.iter().map(Request::weight).sum();
        while batch.requests.len() < AT_ONCE && bytes < AT_ONCE_BYTES {
            let Ok(request) = self.inbox.try_recv() else { break };
            bytes += request.weight();
            batch.requests.push(request);
        }
        while let Ok(report) = self.reports.try_recv() {
            batch.reports.push(report);
        }
        Next::Commit(batch)
    }

    /// What senders still tell when there is no more time.
    async fn last_reports(&mut self) -> Vec<Report> {
        let mut last = Vec::new();
        let told = async {
            while let Some(report) = self.reports.recv().await {
                last.push(report);
            }
        };
        let _ = timeout(LAST_REPORTS, told).await;
        last
    }

    /// Makes the effects of a batch final, and answers those who wait for them; whether that was done.
    fn commit(&mut self, batch: Batch, cancel: &CancellationToken, runtime: &Handle) -> bool {
        let has_requests = !batch.requests.is_empty();
        let (plan, answers) = self.plan(batch);
        let mut wait = FIRST_WAIT;
        let mut failed = false;
        let written = loop {
            let error = match self.write(&plan) {
                Ok(written) => break written,
                Err(error) => error,
            };
            failed = true;
            self.metrics.state_failed();
            error!(%error, wait_ms = wait.as_millis(), "the state cannot be written; nothing is acknowledged meanwhile");
            if runtime.block_on(timeout(wait, cancel.cancelled())).is_ok() {
                return false;
            }
            wait = (wait * 2).min(MOST_WAIT);
        };
        if failed {
            info!("the state can be written again");
        }
        self.tell(plan, &written);
        for answer in answers {
            // Whoever asked may have given up.
            let _ = answer.send(Settled::Final);
        }
        if has_requests {
            self.committed = Some(Instant::now());
        }
        true
    }

    /// What there is to write, and who waits for it.
    fn plan(&mut self, batch: Batch) -> (Plan, Vec<oneshot::Sender<Settled>>) {
        let (now, updates) = (self.clock.now(), self.outbox.wants_updates());
        let mut plan = Plan { reports: batch.reports, has_dead: self.has_dead, ..Plan::default() };
        let mut answers = Vec::new();
        for request in batch.requests {
            match request {
                Request::Commit { effects: Effects { alerts, gathered, end }, answer } => {
                    plan.alerts.extend(alerts);
                    plan.alerts.extend(
                        gathered.into_iter().flat_map(|gathered| self.windows.take(gathered, now, updates)),
                    );
                    match end {
                        Some(End::Done(object)) => plan.objects.push(object),
                        Some(End::Dead(object)) => plan.dead.push(object),
                        None => {}
                    }
                    answers.push(answer);
                }
                Request::Succeed(inspection) => {
                    self.windows.succeed(&inspection);
                    plan.meanings = Some(self.windows.meanings());
                }
            }
        }
        plan.alerts.extend(self.windows.look(now, updates));
        plan.changes = self.windows.changes();
        (plan, answers)
    }

    fn write(&mut self, plan: &Plan) -> rusqlite::Result<Written> {
        let Self { disk, outbox, clock, .. } = self;
        disk.write(plan, clock.now(), &outbox.names(), |alert| outbox.sinks(alert))
    }

    /// Counts what was written.
    fn tell(&mut self, plan: Plan, written: &Written) {
        self.buried |= !plan.dead.is_empty() || self.has_dead && !plan.objects.is_empty();
        for (alert, raised) in plan.alerts.iter().zip(&written.raised) {
            if *raised {
                self.metrics.alert(&alert.rule, alert.counted_as());
                self.outbox.raised(alert);
            } else {
                self.metrics.repeat(&alert.rule);
            }
        }
        for (report, settled) in plan.reports.into_iter().zip(&written.settled) {
            let Some((size, time)) = *settled else { continue };
            let taken = report.outcome == Outcome::Taken;
            self.buried |= !taken;
            self.outbox.settled(report.sink, size, taken);
            if let Some(time) = time.filter(|_| taken && report.revision == 1) {
                self.metrics.event_to_alert(self.clock.now().duration_since(time).as_secs_f64());
            }
        }
    }

    /// Everything that is not part of a commit; what fails is done after the next one.
    fn tend(&mut self) {
        if let Err(error) = self.try_tend() {
            self.metrics.state_failed();
            error!(%error, "the state does not answer");
        }
    }

    fn try_tend(&mut self) -> rusqlite::Result<()> {
        self.overtaken |= self.disk.has_changed()?;
        if self.overtaken {
            self.outbox.recount(&self.disk)?;
            (self.overtaken, self.buried) = (false, true);
        }
        if self.buried {
            self.look_at_the_dead()?;
            self.buried = false;
        }
        self.outbox.feed(&self.disk)?;
        self.forget()
    }

    fn look_at_the_dead(&mut self) -> rusqlite::Result<()> {
        let (alerts, objects) = self.disk.dead()?;
        self.metrics.dead(alerts, objects);
        let wanted: Arc<[Wanted]> = self.disk.wanted()?.into();
        self.wanted.send_if_modified(|before| {
            let is_new = *before != wanted;
            *before = wanted;
            is_new
        });
        self.has_dead = objects > 0;
        Ok(())
    }

    fn forget(&mut self) -> rusqlite::Result<()> {
        if self.forgot.is_some_and(|last| last.elapsed() < FORGET_EVERY) {
            return Ok(());
        }
        self.forgot = Some(Instant::now());
        let evicted = self.disk.forget(self.clock.now())?;
        self.metrics.evicted("alert-ids", evicted as u64);
        Ok(())
    }
}

impl Request {
    /// Bytes that it holds, about.
    fn weight(&self) -> usize {
        let Request::Commit { effects, .. } = self else { return 0 };
        let alerts: usize = effects.alerts.iter().map(|alert| alert.document.len()).sum();
        let evidence = effects.gathered.iter().flat_map(|gathered| &gathered.evidence);
        alerts + evidence.map(crate::detect::Evidence::weight).sum::<usize>()
    }
}

fn looks() -> Interval {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks
}
