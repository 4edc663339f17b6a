//! What announcements take: the daemon on a queue and a bucket that a stand-in for AWS keeps on loopback.

#[path = "../../it/support/mod.rs"]
#[expect(
    dead_code,
    clippy::unwrap_used,
    reason = "the tests' own ground: most of it is for tests, and it ends as tests do"
)]
mod support;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use axum::Router;
use axum::routing::post;
use jiff::Timestamp;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::JoinSet;

use self::support::ministack::{self, Trail};
use self::support::server;
use super::{Bench, SEED};
use crate::corpus;
use crate::table::{Table, grouped, title};

/// Bursts with a state, and as many without.
const BURSTS: usize = 3;
/// Objects that are announced one after the other.
const SINGLE: usize = 200;
/// Requests at once.
const AT_ONCE: usize = 16;
/// Messages in a batch, the most that SQS takes.
const BATCH: usize = 10;
/// The exit code after SIGTERM.
const TERMINATED: i32 = 143;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(5);

/// Starts a daemon that tells each telling record, and with a state if there is a folder for it.
fn start(bench: &Bench, trail: &Trail, hook: &Hook, state: Option<&str>) -> Result<support::Daemon> {
    let rule = bench.telling()?;
    let rule = rule.to_str().context("the folder's name is no UTF-8")?;
    let mut args = vec!["--no-default-detections", "--detections", rule, "--webhook", hook.url.as_str()];
    args.extend(state.into_iter().flat_map(|state| ["--state", state]));
    Ok(trail.daemon(&args))
}

/// From announcement to webhook, and bursts.
pub(super) fn daemon(bench: &Bench) -> Result<()> {
    if let Err(reason) = stand_in() {
        eprintln!("  left out: {reason}");
        return Ok(());
    }
    support::wait(single(bench))?;
    support::wait(burst(bench))
}

/// Installs the stand-in, which is a Python program.
fn stand_in() -> Result<(), &'static str> {
    let mut python = Command::new("python3");
    python.args(["-c", "import venv, ensurepip"]).stdout(Stdio::null()).stderr(Stdio::null());
    if !python.status().is_ok_and(|status| status.success()) {
        return Err("the stand-in for AWS needs Python 3 with its `venv` module");
    }
    let installed = std::thread::spawn(server::install).join();
    installed.map(drop).map_err(|_| "the stand-in for AWS cannot be installed; the first time it needs PyPI")
}

/// One announcement after the other.
async fn single(bench: &Bench) -> Result<()> {
    title(
        bench.style,
        "From announcement to webhook",
        "Objects of 20 records with one alert in each, announced one after the other to a daemon on loopback. Queue and bucket are a stand-in written in Python, whose own answers are timed beside.",
    );
    let stack = ministack::ministack().await;
    let (trail, bare) = (stack.trail_with(300, 10).await, stack.trail_with(300, 10).await);
    let mut hook = Hook::start().await?;
    let mut daemon = start(bench, &trail, &hook, None)?;
    let [mut gets, mut receives, mut alerts, mut inside] = [(); 4].map(|()| Vec::new());
    for number in 0..=SINGLE {
        let object = Object::new(number, 20);
        trail.put(&object.key, object.packed.clone()).await;
        let asked = Instant::now();
        get(&trail, &object.key).await?;
        let got = asked.elapsed();
        let received = receive(&bare).await?;
        let announced = Instant::now();
        trail.send(&announcement(&trail, &object)).await;
        let alert = hook.alert().await?;
        // The first one waits for the daemon to start.
        if number > 0 {
            gets.push(got);
            receives.push(received);
            alerts.push(alert.at - announced);
            inside.push(alert.since_receipt()?);
        }
    }
    drained(&trail).await?;
    ended(&mut daemon)?;
    let mut table = Table::new(&["", "p50", "p99", "most"]);
    for (name, times) in [
        ("GetObject alone", &mut gets),
        ("SendMessage to ReceiveMessage alone", &mut receives),
        ("SendMessage to the alert at the webhook", &mut alerts),
        ("the daemon's ReceiveMessage to the alert at the webhook", &mut inside),
    ] {
        times.sort();
        let at = |percent: usize| {
            format!("{:.1} ms", times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e3)
        };
        table.row([name.to_owned(), at(50), at(99), at(100)]);
    }
    table.print(bench.style);
    Ok(())
}

/// Many announcements that wait already when the daemon starts.
async fn burst(bench: &Bench) -> Result<()> {
    let count = if bench.long { 10_000 } else { 2_000 };
    title(
        bench.style,
        "A burst of announcements",
        "Objects of three records with one alert in each, all announced before the daemon starts; from its start until every alert is at the webhook, and until the queue is empty.",
    );
    let trail = ministack::ministack().await.trail_with(300, 10).await;
    let objects: Vec<Object> = (0..count).map(|number| Object::new(SINGLE + 1 + number, 3)).collect();
    eprintln!("  putting and announcing {count} objects");
    put_all(&trail, &objects).await?;
    announce_all(&trail, &objects).await?;
    let asked = Instant::now();
    get_all(&trail, &objects).await?;
    let bare = asked.elapsed();

    let (mut without, mut with) = (Vec::new(), Vec::new());
    for round in 0..BURSTS {
        if round > 0 {
            announce_all(&trail, &objects).await?;
        }
        without.push(work_off(bench, &trail, count, None).await?);
        announce_all(&trail, &objects).await?;
        let state = tempfile::tempdir()?;
        with.push(work_off(bench, &trail, count, state.path().to_str()).await?);
    }
    let (without, with) = (median(without), median(with));
    let mut table = Table::new(&["", "time", "messages/s"]);
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let mut row = |name: &str, time: Duration| {
        let (seconds, rate) = (time.as_secs_f64(), count as f64 / time.as_secs_f64());
        table.row([name.to_owned(), format!("{seconds:.2} s"), grouped(rate)]);
    };
    row(&format!("the stand-in's GetObject alone, {AT_ONCE} at once"), bare);
    row("until the last alert", without.alerted);
    row("until the queue is empty", without.empty);
    row("with --state, until the last alert", with.alerted);
    row("with --state, until the queue is empty", with.empty);
    table.print(bench.style);
    let ratio = without.empty.as_secs_f64() / with.empty.as_secs_f64();
    println!(
        "\nThroughput with --state ÷ without, until the queue is empty, medians of {BURSTS} in turns: {ratio:.2}"
    );
    Ok(())
}

/// What a burst took.
#[derive(Clone, Copy)]
struct Taken {
    alerted: Duration,
    empty: Duration,
}

/// Starts a daemon over announcements that wait, with a state if there is a folder for it, until nothing is left.
async fn work_off(bench: &Bench, trail: &Trail, count: usize, state: Option<&str>) -> Result<Taken> {
    let mut hook = Hook::start().await?;
    let started = Instant::now();
    let mut daemon = start(bench, trail, &hook, state)?;
    let mut alerted = Duration::ZERO;
    for _ in 0..count {
        alerted = hook.alert().await?.at - started;
    }
    drained(trail).await?;
    let empty = started.elapsed();
    ended(&mut daemon)?;
    Ok(Taken { alerted, empty })
}

fn median(mut taken: Vec<Taken>) -> Taken {
    taken.sort_by_key(|taken| taken.empty);
    taken[taken.len() / 2]
}

/// An object with one alert in it.
struct Object {
    key: String,
    packed: Vec<u8>,
}

impl Object {
    fn new(number: usize, records: usize) -> Self {
        let (key, packed) = corpus::object(SEED, number, records);
        Self { key, packed }
    }
}

/// A webhook that tells when something came.
struct Hook {
    url: String,
    arrivals: UnboundedReceiver<Arrival>,
    _server: JoinSet<()>,
}

impl Hook {
    async fn start() -> Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.context("no port is free")?;
        let url = format!("http://{}/hook", listener.local_addr()?);
        let (sender, arrivals) = mpsc::unbounded_channel();
        let router = Router::new().route(
            "/hook",
            post(async move |body: axum::body::Bytes| {
                // Whoever stopped listening needs no more of them.
                let _ = sender.send(Arrival { at: Instant::now(), now: Timestamp::now(), body });
            }),
        );
        let mut server = JoinSet::new();
        server.spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { url, arrivals, _server: server })
    }

    /// Waits for an alert.
    async fn alert(&mut self) -> Result<Arrival> {
        let arrival = tokio::time::timeout(PATIENCE, self.arrivals.recv()).await;
        arrival.ok().flatten().context("an alert does not come")
    }
}

/// An alert that came.
struct Arrival {
    at: Instant,
    now: Timestamp,
    body: axum::body::Bytes,
}

impl Arrival {
    /// The time since the daemon received the message that led to the alert.
    fn since_receipt(&self) -> Result<Duration> {
        let alert: serde_json::Value = serde_json::from_slice(&self.body).context("an alert is no JSON")?;
        let received = alert["origin"]["received_at"].as_str().context("an alert without `received_at`")?;
        let received: Timestamp = received.parse().context("`received_at` is no time")?;
        // Clocks may be set back.
        Ok(self.now.duration_since(received).try_into().unwrap_or_default())
    }
}

/// What S3 would tell the queue.
fn announcement(trail: &Trail, object: &Object) -> String {
    serde_json::json!({"Records": [{
        "eventVersion": "2.5",
        "eventSource": "aws:s3",
        "awsRegion": "us-east-1",
        "eventTime": "2026-03-01T10:05:07.123Z",
        "eventName": "ObjectCreated:Put",
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": {"name": trail.name, "arn": format!("arn:aws:s3:::{}", trail.name)},
            "object": {"key": object.key, "size": object.packed.len(), "sequencer": "0055AED6DCD90281E5"},
        },
    }]})
    .to_string()
}

/// How long a message takes to somebody who waits at a queue for it.
async fn receive(trail: &Trail) -> Result<Duration> {
    let request = trail.stack.sqs.receive_message().queue_url(&trail.queue).wait_time_seconds(20);
    let waiting = tokio::spawn(async move {
        let answer = request.send().await;
        (Instant::now(), answer)
    });
    // By the time of this answer the request above has arrived, too.
    trail.counts(&trail.queue).await;
    let sent = Instant::now();
    trail.send("{}").await;
    let (received, answer) = waiting.await?;
    let messages = answer?.messages.unwrap_or_default();
    let receipt = messages.first().and_then(|message| message.receipt_handle.as_ref());
    let receipt = receipt.context("a message does not come")?;
    trail.stack.sqs.delete_message().queue_url(&trail.queue).receipt_handle(receipt).send().await?;
    Ok(received - sent)
}

async fn get(trail: &Trail, key: &str) -> Result<()> {
    let object = trail.stack.s3.get_object().bucket(&trail.name).key(key).send().await?;
    object.body.collect().await?;
    Ok(())
}

async fn get_all(trail: &Trail, objects: &[Object]) -> Result<()> {
    at_once(objects, |object| {
        let request = trail.stack.s3.get_object().bucket(&trail.name).key(&object.key);
        async move {
            request.send().await?.body.collect().await?;
            Ok(())
        }
    })
    .await
}

async fn put_all(trail: &Trail, objects: &[Object]) -> Result<()> {
    at_once(objects, |object| {
        let request = trail.stack.s3.put_object().bucket(&trail.name).key(&object.key);
        let request = request.body(object.packed.clone().into());
        async move {
            request.send().await?;
            Ok(())
        }
    })
    .await
}

async fn announce_all(trail: &Trail, objects: &[Object]) -> Result<()> {
    let batches: Vec<&[Object]> = objects.chunks(BATCH).collect();
    at_once(&batches, |batch| {
        let mut request = trail.stack.sqs.send_message_batch().queue_url(&trail.queue);
        for (number, object) in batch.iter().enumerate() {
            let entry = SendMessageBatchRequestEntry::builder().id(number.to_string());
            let entry = entry.message_body(announcement(trail, object)).build();
            request = request.entries(entry.expect("an entry has an id and a body"));
        }
        async move {
            let answer = request.send().await?;
            ensure!(answer.failed.is_empty(), "an announcement was refused");
            Ok(())
        }
    })
    .await
}

/// Does something for all, some of them at a time.
async fn at_once<T, F>(all: &[T], mut task: impl FnMut(&T) -> F) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let mut running = JoinSet::new();
    for one in all {
        if running.len() == AT_ONCE {
            running.join_next().await.expect("some are running")??;
        }
        running.spawn(task(one));
    }
    while let Some(done) = running.join_next().await {
        done??;
    }
    Ok(())
}

/// Ends the daemon.
fn ended(daemon: &mut support::Daemon) -> Result<()> {
    let status = daemon.stop();
    ensure!(status.code() == Some(TERMINATED), "the daemon ended with {status}: {}", daemon.stderr());
    Ok(())
}

/// Waits until the queue holds nothing any more.
async fn drained(trail: &Trail) -> Result<()> {
    let started = Instant::now();
    while trail.counts(&trail.queue).await != (0, 0) {
        ensure!(started.elapsed() < PATIENCE, "the queue is not drained");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}
