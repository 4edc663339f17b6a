//! The line: announce → fetch → decode → detect → alert → acknowledge.
//!
//! One message in, one [`Disposition`]. Bytes move on the async threads; one worker at a time carries an
//! object from its bytes to its alerts, off those threads. A worker hands over its alerts and takes the next
//! object, while the message waits for the commit: a slow sink never parks a worker.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::alert::{Alert, AlertId, Origin, OriginKind};
use crate::announce::{Class, Delivery, Disposition, Item, ObjectRef};
use crate::clock::Clock;
use crate::detect::{Evidence, Hit};
use crate::event::EventTimes;
use crate::fetch::{FetchError, Fetched, ObjectStore, retry_after};
use crate::horizon::{Hold, Horizon};
use crate::intake::{Announcer, Intake, Reservation, Source};
use crate::metrics::Metrics;
use crate::ration::{Ration, warn_some};
use crate::state::{DeadObject, DoneObject, Effects, End, Gathered, ObjectId, Settled, State};
use crate::worker::{Current, Examined, Inspection, Listener, Tally, Worker};

/// Objects that are fetched at once.
const FETCHES: usize = 32;
/// Bytes that are reserved for an object of unknown size, until its size is known.
const UNKNOWN_SIZE: usize = 1 << 20;
/// What an item of a message holds in memory, about, in bytes.
const ITEM_SIZE: usize = 256;
/// Bytes of alerts and evidence that are committed at once, and such portions of one object that may be under way.
const PORTION: usize = 4 << 20;
const MOST_PORTIONS: usize = 4;
/// Ids of alerts by which repeats within an object are noticed.
const MOST_SEEN: usize = 1 << 20;
/// Receives after which an object that cannot be read is left to the dead-letter queue.
const MOST_RECEIVES: u32 = 5;
/// Of how many records of an object the time of one is looked at.
const TIMED: u64 = 64;

/// What all lines of the program share.
#[derive(Debug)]
pub struct Shared {
    /// What workers need to know.
    pub current: Arc<Current>,
    /// The workers.
    pub crew: Crew,
    /// Where effects are committed.
    pub state: State,
    /// What holds back the watermark.
    pub horizon: Horizon,
    /// The gate, and the bytes in flight.
    pub intake: Intake,
    /// What happened.
    pub metrics: Metrics,
    /// What time it is.
    pub clock: Clock,
}

/// The line from one source of announcements, over one store.
#[derive(Debug)]
pub struct Line<S> {
    shared: Arc<Shared>,
    source: Source,
    store: S,
    kind: OriginKind,
    fetches: Semaphore,
    warnings: Ration,
}

impl<S: ObjectStore> Line<S> {
    /// A line from a source, over a store whose objects are of this kind.
    #[must_use]
    pub fn new(shared: Arc<Shared>, source: Source, store: S, kind: OriginKind) -> Self {
        Self { shared, source, store, kind, fetches: Semaphore::new(FETCHES), warnings: Ration::default() }
    }

    /// Takes every delivery of an announcer and settles it. Ends when the announcer has ended.
    pub async fn serve(self, announcer: impl Announcer, stop: CancellationToken, abandon: CancellationToken) {
        let line = Arc::new(self);
        let (sender, mut deliveries) = mpsc::channel(1);
        let mut messages = JoinSet::new();
        let source = line.source.clone();
        let mut announcing = tokio::spawn(announcer.run(source, sender, stop, abandon.clone()));
        loop {
            tokio::select! {
                Some(delivery) = deliveries.recv() => {
                    let (line, hold) = (Arc::clone(&line), line.shared.horizon.hold(delivery.sent_at));
                    messages.spawn(async move { line.settle(delivery, hold).await });
                }
                Some(ended) = messages.join_next() => {
                    if let Err(panic) = ended {
                        error!(error = %panic, "a message could not be handled");
                    }
                }
                () = abandon.cancelled(), if !messages.is_empty() => messages.shutdown().await,
                ended = &mut announcing => {
                    if let Err(panic) = ended {
                        error!(error = %panic, "a source of announcements has failed");
                    }
                    return messages.shutdown().await;
                }
            }
        }
    }

    /// What the message knows of its time is held until nothing more can come of it.
    async fn settle(&self, delivery: Delivery, _hold: Hold) {
        let disposition = self.message(&delivery).await;
        delivery.receipt.settle(disposition);
    }

    /// What becomes of a message: the gravest of what becomes of its parts.
    async fn message(&self, delivery: &Delivery) -> Disposition {
        let items = match &delivery.announcement {
            Ok(items) => items,
            Err(error) => {
                let receives = delivery.receives;
                warn_some!(self.warnings, "message", %error, receives, "message not understood; left to the dead-letter queue");
                return Disposition::Leave;
            }
        };
        let _held = self.shared.intake.hold(delivery.size + items.len() * ITEM_SIZE);
        let mut disposition = Disposition::Ack;
        let mut commits = JoinSet::new();
        for item in items {
            disposition = gravest(disposition, self.item(item, delivery, &mut commits).await);
        }
        while let Some(committed) = commits.join_next().await {
            disposition = gravest(disposition, committed.unwrap_or(Disposition::Release));
        }
        disposition
    }

    /// What becomes of a part of a message, apart from the commits of its effects.
    async fn item(
        &self,
        item: &Item,
        delivery: &Delivery,
        commits: &mut JoinSet<Disposition>,
    ) -> Disposition {
        match item {
            Item::Nothing(quiet) => {
                let _work = self.shared.metrics.object_begins();
                self.shared.metrics.object("skipped", quiet.reason());
                Disposition::Ack
            }
            Item::Unrecognised(why) => {
                warn_some!(
                    self.warnings,
                    "part",
                    why,
                    "part of a message not understood; left to the dead-letter queue"
                );
                Disposition::Leave
            }
            Item::Event { record, announced_at } => {
                let origin = Origin {
                    kind: OriginKind::SqsInline,
                    bucket: None,
                    key: None,
                    version: None,
                    index: 0,
                    announced_at: announced_at.or(delivery.sent_at),
                    received_at: Some(delivery.received_at),
                };
                self.event(record.clone(), origin, commits).await
            }
            Item::Object { object, announced_at } => {
                let _work = self.shared.metrics.object_begins();
                let announced_at = announced_at.or(delivery.sent_at);
                self.object(object, announced_at, delivery, commits).await
            }
        }
    }

    /// A CloudTrail event that came in the message itself.
    async fn event(
        &self,
        record: Vec<u8>,
        origin: Origin<'static>,
        commits: &mut JoinSet<Disposition>,
    ) -> Disposition {
        let held = self.shared.intake.reserve(record.len()).await;
        let tally = self.work(commits, held, move |worker, shared, portions| {
            let (now, inspection) = (Some(shared.clock.now()), portions.inspection());
            worker.examine_record(&inspection, &record, &origin, now, portions)
        });
        let Some(tally) = tally.await else { return Disposition::Retry(retry_after(1)) };
        self.count(&tally);
        if tally.undecodable() > 0 {
            warn_some!(
                self.warnings,
                "event",
                "an event in a message cannot be read; left to the dead-letter queue"
            );
            return Disposition::Leave;
        }
        Disposition::Ack
    }

    /// fetch → decode → detect → alert, for one object.
    async fn object(
        &self,
        object: &ObjectRef,
        announced_at: Option<jiff::Timestamp>,
        delivery: &Delivery,
        commits: &mut JoinSet<Disposition>,
    ) -> Disposition {
        let metrics = &self.shared.metrics;
        if let Err(refusal) = self.store.admits(object) {
            metrics.object("refused", refusal.reason());
            let (bucket, key) = (&object.bucket, &object.key);
            warn_some!(self.warnings, "refused", bucket, key, error = %refusal, "object refused");
            return Disposition::Leave;
        }
        // What lies in a watched folder was put there; in a bucket, others may write beside the trail.
        let class = Class::of(&object.key);
        let skipped = match self.kind {
            OriginKind::S3 => !class.is_detected(),
            _ => !class.is_detected() && class != Class::Foreign,
        };
        if skipped {
            metrics.object("skipped", class.reason());
            debug!(bucket = object.bucket, key = object.key, class = class.reason(), "object skipped");
            return Disposition::Ack;
        }
        if let Some(version) = &object.version
            && self.is_done(object, version, commits).await
        {
            return Disposition::Ack;
        }
        let announced = object.size.and_then(|size| usize::try_from(size).ok()).unwrap_or(UNKNOWN_SIZE);
        let mut held = self.shared.intake.reserve(announced.min(crate::decode::WHOLE_LIMIT)).await;
        let Fetched { mut body, version, content } = match self.fetch(object, &mut held).await {
            Ok(fetched) => fetched,
            Err(error) => return self.not_fetched(object, &error, delivery.receives, commits),
        };
        held.resize(body.held());
        let identity = version.as_ref().or(content.as_ref());
        if object.version.is_none()
            && let Some(identity) = identity
            && self.is_done(object, identity, commits).await
        {
            return Disposition::Ack;
        }
        let done = identity.map(|identity| done(object, identity));
        let (bucket, key) = (object.bucket.clone(), object.key.clone());
        let (kind, received_at) = (self.kind, delivery.received_at);
        let started = Instant::now();
        let examined = self.work(commits, held, move |worker, shared, portions| {
            let origin = Origin {
                kind,
                bucket: (!bucket.is_empty()).then_some(bucket.as_str()),
                key: Some(&key),
                version: version.as_deref(),
                index: 0,
                announced_at,
                received_at: Some(received_at),
            };
            let (now, inspection) = (Some(shared.clock.now()), portions.inspection());
            let examined = worker.examine(&inspection, &mut body, &origin, now, portions);
            if examined.decoded.unreadable.is_none() {
                portions.end = done.map(End::Done);
            }
            examined
        });
        let Some(examined) = examined.await else {
            metrics.object("failed", "panic");
            return retry_or_leave(delivery.receives);
        };
        metrics.stage("examine", started.elapsed());
        self.examined(object, &examined, delivery.receives, commits)
    }

    /// Whether an object of this version or content needs no more work. If so, it is dead no more, either.
    async fn is_done(&self, object: &ObjectRef, identity: &str, commits: &mut JoinSet<Disposition>) -> bool {
        let done = done(object, identity);
        let is_done = self.shared.state.has(done.id).await;
        if is_done {
            self.shared.metrics.object("skipped", "done");
            debug!(bucket = object.bucket, key = object.key, "object was done before");
            self.end(End::Done(done), commits);
        }
        is_done
    }

    /// Gives an object up: with a state folder it is kept there for somebody to look at.
    fn bury(&self, object: &ObjectRef, reason: &str, commits: &mut JoinSet<Disposition>) {
        let ObjectRef { bucket, key, version, .. } = object.clone();
        let source = self.source.name().to_owned();
        let dead = DeadObject { source, bucket, key, version, reason: reason.to_owned() };
        self.end(End::Dead(dead), commits);
    }

    /// Commits what becomes of an object of which nothing else follows.
    fn end(&self, end: End, commits: &mut JoinSet<Disposition>) {
        let settled = self.shared.state.commit(end);
        commits.spawn(async move { disposition(settled.await) });
    }

    /// Has a worker do something, and commits what comes of it, portion by portion. `held` are the
    /// bytes that the job holds; none is returned if it panicked.
    async fn work<T: Send + 'static>(
        &self,
        commits: &mut JoinSet<Disposition>,
        mut held: Reservation,
        job: impl FnOnce(&mut Worker, &Shared, &mut Portions) -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, mut ready) = mpsc::unbounded_channel();
        let shared = Arc::clone(&self.shared);
        let mut done = pin!(self.shared.crew.work(move |worker| {
            let mut portions = Portions::new(Arc::clone(&shared), sender);
            let result = job(worker, &shared, &mut portions);
            portions.latest.into_iter().for_each(|time| shared.horizon.reaches(time));
            (result, portions.rest())
        }));
        let (result, rest) = loop {
            tokio::select! {
                Some(portion) = ready.recv() => {
                    commits.spawn(self.commit(portion));
                }
                done = &mut done => break done?,
            }
        };
        while let Ok(portion) = ready.try_recv() {
            commits.spawn(self.commit(portion));
        }
        let (effects, bytes) = rest;
        held.resize(bytes);
        commits.spawn(self.commit(Portion { effects, room: (held, None) }));
        Some(result)
    }

    async fn fetch(&self, object: &ObjectRef, held: &mut Reservation) -> Result<Fetched, FetchError> {
        let _turn = self.fetches.acquire().await.expect("the semaphore is never closed");
        let started = Instant::now();
        let fetched = self.store.fetch(object, held).await;
        self.shared.metrics.stage("fetch", started.elapsed());
        match &fetched {
            // A file that may not be read says nothing of the others.
            Err(error) if error.is_systemic() && self.kind == OriginKind::S3 => self.source.fails(),
            Err(_) => {}
            Ok(_) => self.source.works(),
        }
        fetched
    }

    fn not_fetched(
        &self,
        object: &ObjectRef,
        error: &FetchError,
        receives: u32,
        commits: &mut JoinSet<Disposition>,
    ) -> Disposition {
        let disposition = match error {
            FetchError::Missing(_) => retry_or_leave(receives),
            _ => Disposition::Retry(retry_after(receives)),
        };
        let outcome = if disposition == Disposition::Leave { "failed" } else { "retried" };
        self.shared.metrics.object(outcome, error.reason());
        let (bucket, key) = (&object.bucket, &object.key);
        if disposition == Disposition::Leave {
            error!(bucket, key, %error, receives, "object not fetched; left to the dead-letter queue");
            self.bury(object, &error.to_string(), commits);
        } else {
            warn_some!(self.warnings, "fetch", bucket, key, %error, receives, "object not fetched");
        }
        disposition
    }

    /// Counts what became of an object's content and says what that means for its message.
    fn examined(
        &self,
        object: &ObjectRef,
        examined: &Examined,
        receives: u32,
        commits: &mut JoinSet<Disposition>,
    ) -> Disposition {
        let metrics = &self.shared.metrics;
        let Examined { decoded, tally } = examined;
        let (bucket, key) = (&object.bucket, &object.key);
        self.count(tally);
        metrics.bytes("compressed", decoded.compressed);
        metrics.bytes("inflated", decoded.inflated);
        for anomaly in &decoded.anomalies {
            metrics.anomaly(anomaly.reason(), 1);
            warn!(bucket, key, %anomaly, "an object unlike those that CloudTrail writes");
        }
        if tally.undecodable() > 0 {
            warn!(bucket, key, records = ?tally.undecodable, "records that cannot be read");
        }
        match &decoded.unreadable {
            None => {
                metrics.object("detected", Class::of(key).reason());
                debug!(bucket, key, records = tally.records, "object examined");
                Disposition::Ack
            }
            Some(error) => {
                let disposition = retry_or_leave(receives);
                let outcome = if disposition == Disposition::Leave { "unreadable" } else { "retried" };
                metrics.object(outcome, error.reason());
                let records = tally.records;
                if disposition == Disposition::Leave {
                    error!(bucket, key, %error, records, receives, "object not readable to its end; given up");
                    self.bury(object, &error.to_string(), commits);
                } else {
                    warn!(bucket, key, %error, records, receives, "object not readable to its end, to be tried again");
                }
                disposition
            }
        }
    }

    fn count(&self, tally: &Tally) {
        let metrics = &self.shared.metrics;
        metrics.records_begin(tally.records);
        metrics.records("evaluated", tally.evaluated);
        metrics.records("undecodable", tally.undecodable());
        if tally.repaired > 0 {
            metrics.anomaly("repaired-record", tally.repaired);
        }
    }

    /// Commits at once; the bytes of the effects stay in flight until the answer has come.
    fn commit(&self, portion: Portion) -> impl Future<Output = Disposition> + use<S> {
        let metrics = self.shared.metrics.clone();
        let started = Instant::now();
        let Portion { effects, room } = portion;
        let settled = self.shared.state.commit(effects);
        async move {
            let settled = settled.await;
            metrics.stage("commit", started.elapsed());
            drop(room);
            disposition(settled)
        }
    }
}

fn done(object: &ObjectRef, identity: &str) -> DoneObject {
    let ObjectRef { bucket, key, version, .. } = object.clone();
    DoneObject { id: ObjectId::of(&bucket, &key, identity), bucket, key, version }
}

/// What becomes of a message whose effects have become this.
fn disposition(settled: Settled) -> Disposition {
    match settled {
        Settled::Final => Disposition::Ack,
        // Refused for good: the message, with the alert that nobody wants, is for the dead-letter queue.
        Settled::Refused => Disposition::Leave,
        Settled::Abandoned => Disposition::Release,
    }
}

/// Effects that are committed together.
struct Portion {
    effects: Effects,
    /// What they take up until they are final.
    room: (Reservation, Option<OwnedSemaphorePermit>),
}

/// Gathers the effects of an object and hands them over in portions, so that an object which raises more than
/// fits into memory waits for its own deliveries. Repeated ids are noticed before their alert is written.
struct Portions {
    shared: Arc<Shared>,
    ready: mpsc::UnboundedSender<Portion>,
    turns: Arc<Semaphore>,
    /// The one that the object meets, from its first record to its last.
    inspection: Arc<Inspection>,
    alerts: Vec<Alert>,
    evidence: Vec<Evidence>,
    bytes: usize,
    seen: HashSet<AlertId>,
    /// What becomes of the object, told with its last portion.
    end: Option<End>,
    /// The time of the latest event that was hit, or that told how far the stream has come.
    latest: Option<jiff::Timestamp>,
    /// Tells that of records that nothing hits; none where nobody waits for time to pass.
    times: Option<EventTimes>,
}

impl Portions {
    fn new(shared: Arc<Shared>, ready: mpsc::UnboundedSender<Portion>) -> Self {
        let (turns, inspection) = (Arc::new(Semaphore::new(MOST_PORTIONS)), shared.current.inspection());
        let (alerts, evidence, seen) = (Vec::new(), Vec::new(), HashSet::new());
        let times = (!inspection.detections.feeds().is_empty()).then(EventTimes::default);
        let (bytes, end, latest) = (0, None, None);
        Self { shared, ready, turns, inspection, alerts, evidence, bytes, seen, end, latest, times }
    }

    fn inspection(&self) -> Arc<Inspection> {
        Arc::clone(&self.inspection)
    }

    /// What was not handed over yet, and its bytes.
    fn rest(&mut self) -> (Effects, usize) {
        let gathered = Gathered { evidence: std::mem::take(&mut self.evidence), by: self.inspection() };
        let alerts = std::mem::take(&mut self.alerts);
        let effects = Effects { alerts, gathered: Some(gathered), end: self.end.take() };
        (effects, std::mem::take(&mut self.bytes))
    }

    fn hand_over(&mut self) {
        if self.bytes < PORTION {
            return;
        }
        let turn = Handle::current().block_on(Arc::clone(&self.turns).acquire_owned());
        let (effects, bytes) = self.rest();
        let held = self.shared.intake.hold(bytes);
        // Nobody takes it any more once the program gives up.
        let _ = self.ready.send(Portion { effects, room: (held, turn.ok()) });
    }
}

impl Listener for Portions {
    fn record(&mut self, record: &[u8], origin: &Origin<'_>) {
        if let Some(times) = &mut self.times
            && origin.index.is_multiple_of(TIMED)
        {
            self.latest = self.latest.max(times.of(record));
        }
    }

    fn wants(&mut self, hit: &Hit<'_>) -> bool {
        self.latest = self.latest.max(hit.event.time());
        // Beyond that the state alone notices.
        let new = self.seen.len() >= MOST_SEEN || self.seen.insert(Alert::id_of(hit));
        if !new {
            self.shared.metrics.repeat(&hit.rule.id);
        }
        new
    }

    fn alert(&mut self, alert: Alert) {
        self.bytes += alert.document.len();
        self.alerts.push(alert);
        self.hand_over();
    }

    fn evidence(&mut self, evidence: Evidence) {
        self.bytes += evidence.weight();
        self.evidence.push(evidence);
        self.hand_over();
    }

    fn untimed(&mut self) {
        self.shared.metrics.evidence("untimed", 1);
    }
}

/// Tries again, until it was tried often enough.
fn retry_or_leave(receives: u32) -> Disposition {
    if receives < MOST_RECEIVES { Disposition::Retry(retry_after(receives)) } else { Disposition::Leave }
}

/// Of two dispositions the one that keeps the message safer.
fn gravest(one: Disposition, other: Disposition) -> Disposition {
    let rank = |disposition: Disposition| match disposition {
        Disposition::Ack => (0, Duration::ZERO),
        Disposition::Retry(after) => (1, after),
        Disposition::Leave => (2, Duration::ZERO),
        Disposition::Release => (3, Duration::ZERO),
    };
    if rank(other) > rank(one) { other } else { one }
}

/// The workers: one for each core, each with buffers of its own.
#[derive(Debug)]
pub struct Crew {
    idle: Arc<Mutex<Vec<Worker>>>,
    turns: Arc<Semaphore>,
    limits: crate::decode::Limits,
}

impl Crew {
    /// A crew of this many workers.
    #[must_use]
    pub fn new(workers: usize, limits: crate::decode::Limits) -> Self {
        Self { idle: Arc::default(), turns: Arc::new(Semaphore::new(workers.max(1))), limits }
    }

    /// Has the next idle worker do something, off the async threads; none if it panicked.
    async fn work<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Worker) -> T + Send + 'static,
    ) -> Option<T> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.expect("the semaphore is never closed");
        let (idle, limits) = (Arc::clone(&self.idle), self.limits);
        let done = tokio::task::spawn_blocking(move || {
            let worker = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut worker = worker.unwrap_or_else(|| Worker::new(limits));
            let result = job(&mut worker);
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
            drop(turn);
            result
        });
        done.await.inspect_err(|panic| error!(error = %panic, "a worker failed beyond repair")).ok()
    }
}
