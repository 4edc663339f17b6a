//! `trailhound replay`

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::terminal::{self, bytes, complain, grouped, plain, say, table};
use super::{Exit, OutputFormat, ReplayArgs};
use crate::alert::Alert;
use crate::clock::Clock;
use crate::config::Config;
use crate::daemon::{self, Ending, Signals};
use crate::detect::Detections;
use crate::metrics::Metrics;
use crate::replay::{self, Remark, Source, Summary, Window};
use crate::state::{Keeper, Settled};

/// Remarks that the summary on a terminal lists; the file has them all.
const MOST_REMARKS: usize = 20;
/// Characters that the table keeps for titles; a longer one pushes its line to the right.
const MOST_TITLE: usize = 60;
/// Alerts that are on their way to sinks at once.
const MOST_DELIVERIES: usize = 256;

pub(super) fn replay(args: &ReplayArgs) -> Exit {
    match try_replay(args) {
        Ok(exit) | Err(exit) => exit,
    }
}

fn try_replay(args: &ReplayArgs) -> Result<Exit, Exit> {
    if args.state.is_some() {
        return Err(super::unavailable("--state"));
    }
    let sources = sources(args)?;
    let window = window(args)?;
    let config = terminal::configuration(args.config.as_deref(), args.detections.flags())?;
    terminal::log(&config, "warn");
    if args.deliver && config.sinks.is_empty() {
        complain("--deliver needs a configuration with a sink");
        return Err(Exit::USAGE);
    }
    let book = terminal::rulebook(&config)?;
    let inspection = daemon::inspection(&config, book);
    if !args.quiet && window != Window::default() {
        say(&format!("events: {window}"));
    }
    let mut output = Output::open(args, &inspection.detections)?;
    let runtime = terminal::runtime()?;
    let stop = Arc::new(AtomicBool::new(false));
    let signal = Arc::new(AtomicU8::new(0));
    runtime.spawn(stop_at_signal(Arc::clone(&stop), Arc::clone(&signal)));
    let deliverer = {
        let _within = runtime.enter();
        args.deliver.then(|| Deliverer::start(&config)).transpose()?
    };

    let jobs =
        args.jobs.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from);
    let mut progress = Progress::new(args.quiet);
    let mut tell = |alert: &Alert| {
        output.write(alert)?;
        deliverer.as_ref().map_or(Ok(()), |deliverer| deliverer.send(alert))
    };
    let replayed =
        replay::replay(&sources, &inspection, &window, jobs, &stop, &mut tell, &mut |summary, total| {
            progress.show(summary, total);
        });
    progress.clear();
    let outcome = replayed.and_then(|summary| output.finish().map(|()| summary));
    let summary = match outcome {
        Ok(summary) => summary,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Err(Exit::READER_GONE),
        Err(error) => {
            complain(&format!("alerts cannot be written: {error}"));
            return Err(Exit::INCOMPLETE);
        }
    };
    let undelivered = deliverer.map_or(0, |deliverer| runtime.block_on(deliverer.finish(&stop)));
    if undelivered > 0 {
        complain(&format!("{} alert(s) were not delivered", grouped(undelivered)));
    }
    if !args.quiet {
        report(&summary, &inspection.detections);
    }
    if let Some(path) = &args.summary {
        write_summary(path, &summary)?;
    }
    Ok(exit(&summary, args, signal.load(Ordering::Relaxed), undelivered))
}

fn sources(args: &ReplayArgs) -> Result<Vec<Source>, Exit> {
    let source = |source: &std::ffi::OsString| {
        if source == "-" {
            return Ok(Source::Stdin);
        }
        let text = source.to_string_lossy();
        if text.starts_with("s3://") || text.starts_with("lookup:") {
            return Err(super::unavailable(&text));
        }
        Ok(Source::Path(PathBuf::from(source)))
    };
    args.sources.iter().map(source).collect()
}

fn window(args: &ReplayArgs) -> Result<Window, Exit> {
    let read = |text: &Option<String>, read: fn(&str) -> Result<jiff::Timestamp, replay::UnknownTime>| {
        text.as_deref().map(read).transpose().map_err(|error| {
            complain(&error.to_string());
            Exit::USAGE
        })
    };
    let (from, to) = (read(&args.from, replay::from)?, read(&args.to, replay::to)?);
    if let (Some(from), Some(to)) = (from, to)
        && from >= to
    {
        complain(&format!("no time lies from {from} to before {to}"));
        return Err(Exit::USAGE);
    }
    Ok(Window { from, to, accounts: args.account.clone(), regions: args.region.clone() })
}

/// The first signal stops the replay, the second one ends the program.
async fn stop_at_signal(stop: Arc<AtomicBool>, signal: Arc<AtomicU8>) {
    let Ok(mut signals) = Signals::new() else { return };
    let exit = |ending| if ending == Ending::Interrupted { Exit::INTERRUPTED } else { Exit::TERMINATED };
    let first = exit(signals.next().await);
    signal.store(first.0, Ordering::Relaxed);
    stop.store(true, Ordering::Relaxed);
    let second = exit(signals.next().await);
    std::process::exit(i32::from(second.0));
}

fn exit(summary: &Summary, args: &ReplayArgs, signal: u8, undelivered: u64) -> Exit {
    let finding = args.fail_on.is_some_and(|level| summary.gravest.is_some_and(|gravest| gravest >= level));
    match () {
        () if signal != 0 => Exit(signal),
        () if !summary.is_complete() || undelivered > 0 => Exit::INCOMPLETE,
        () if finding => Exit::FINDING,
        () => Exit::OK,
    }
}

/// Where alerts are written.
struct Output {
    writer: BufWriter<Box<dyn Write>>,
    format: OutputFormat,
    headed: bool,
    /// Characters of the longest title.
    title: usize,
}

/// What the table shows of an alert.
#[derive(Deserialize)]
struct Row<'d> {
    time: Option<&'d str>,
    level: &'d str,
    status: &'d str,
    #[serde(borrow)]
    rule: RowRule<'d>,
    summary: std::borrow::Cow<'d, str>,
}

#[derive(Deserialize)]
struct RowRule<'d> {
    #[serde(borrow)]
    title: std::borrow::Cow<'d, str>,
}

impl Output {
    fn open(args: &ReplayArgs, detections: &Detections) -> Result<Self, Exit> {
        let for_people = args.output.is_none() && io::stdout().is_terminal();
        let default = if for_people { OutputFormat::Table } else { OutputFormat::Ndjson };
        let writer: Box<dyn Write> = match &args.output {
            None => Box::new(io::stdout()),
            Some(path) => Box::new(File::create(path).map_err(|error| {
                complain(&format!("{}: {error}", path.display()));
                Exit::USAGE
            })?),
        };
        let writer = BufWriter::with_capacity(64 << 10, writer);
        let title =
            detections.rules().iter().map(|rule| rule.title.chars().count()).max().unwrap_or_default();
        Ok(Self {
            writer,
            format: args.format.unwrap_or(default),
            headed: false,
            title: title.clamp(9, MOST_TITLE),
        })
    }

    fn write(&mut self, alert: &Alert) -> io::Result<()> {
        if self.format == OutputFormat::Ndjson {
            self.writer.write_all(alert.document.as_bytes())?;
            return self.writer.write_all(b"\n");
        }
        if !self.headed {
            self.headed = true;
            let width = self.title;
            writeln!(self.writer, "{:<20}  {:<13}  {:<width$}  WHAT HAPPENED", "TIME", "LEVEL", "DETECTION")?;
        }
        let row: Row<'_> = serde_json::from_str(&alert.document).map_err(io::Error::other)?;
        let level = if row.status == "match" { row.level.to_owned() } else { format!("{} ?", row.level) };
        let (time, title, summary) = (row.time.unwrap_or("-"), plain(&row.rule.title), plain(&row.summary));
        let width = self.title;
        writeln!(self.writer, "{time:<20}  {level:<13}  {title:<width$}  {summary}")
    }

    fn finish(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Sends alerts to the configured sinks, by the same way as the daemon.
struct Deliverer {
    alerts: mpsc::Sender<Alert>,
    task: tokio::task::JoinHandle<u64>,
    cancel: CancellationToken,
    runtime: Handle,
}

impl Deliverer {
    /// Must be called within the runtime.
    fn start(config: &Config) -> Result<Self, Exit> {
        let (metrics, clock, cancel) = (Metrics::default(), Clock::system(), CancellationToken::new());
        let (reports, reported) = mpsc::unbounded_channel();
        let sinks =
            daemon::open_sinks(&config.sinks, &reports, &cancel, &metrics, &clock).map_err(|error| {
                complain(&format!("{error:#}"));
                Exit::USAGE
            })?;
        let mut tasks = JoinSet::new();
        let mut handles = Vec::new();
        for (handle, sender) in sinks {
            tasks.spawn(sender.run(cancel.clone()));
            handles.push(handle);
        }
        let (state, keeper) = Keeper::new(handles, reported, metrics, clock);
        tasks.spawn(keeper.run(cancel.clone()));
        let (alerts, mut receiver) = mpsc::channel::<Alert>(MOST_DELIVERIES);
        let task = tokio::spawn(async move {
            let mut commits = JoinSet::new();
            let mut undelivered = 0;
            let mut count = |settled| undelivered += u64::from(!matches!(settled, Ok(Settled::Delivered)));
            while let Some(alert) = receiver.recv().await {
                if commits.len() >= MOST_DELIVERIES
                    && let Some(settled) = commits.join_next().await
                {
                    count(settled);
                }
                commits.spawn(state.commit(vec![alert]));
            }
            while let Some(settled) = commits.join_next().await {
                count(settled);
            }
            drop(state);
            while tasks.join_next().await.is_some() {}
            undelivered
        });
        Ok(Self { alerts, task, cancel, runtime: Handle::current() })
    }

    fn send(&self, alert: &Alert) -> io::Result<()> {
        self.runtime.block_on(self.alerts.send(alert.clone())).map_err(io::Error::other)
    }

    /// Waits until everything is delivered, or until a signal; answers with what is not.
    async fn finish(self, stop: &AtomicBool) -> u64 {
        drop(self.alerts);
        let mut task = self.task;
        loop {
            tokio::select! {
                undelivered = &mut task => return undelivered.unwrap_or(u64::MAX),
                () = tokio::time::sleep(Duration::from_millis(200)) => {
                    if stop.load(Ordering::Relaxed) {
                        self.cancel.cancel();
                    }
                }
            }
        }
    }
}

/// Progress on standard error: a line that is written over on a terminal, else a line now and then.
struct Progress {
    quiet: bool,
    terminal: bool,
    started: Instant,
    shown: Instant,
    open: bool,
}

impl Progress {
    fn new(quiet: bool) -> Self {
        let now = Instant::now();
        Self { quiet, terminal: io::stderr().is_terminal(), started: now, shown: now, open: false }
    }

    fn show(&mut self, summary: &Summary, total: usize) {
        let pause = if self.terminal { Duration::from_millis(200) } else { Duration::from_secs(10) };
        if self.quiet || self.shown.elapsed() < pause {
            return;
        }
        self.shown = Instant::now();
        let line = format!(
            "{} of {} objects, {} records, {} inflated, {} alerts, {} s",
            grouped(summary.objects),
            grouped(total as u64),
            grouped(summary.records),
            bytes(summary.bytes),
            grouped(summary.alerts),
            self.started.elapsed().as_secs(),
        );
        if self.terminal {
            let _ = write!(io::stderr(), "\r\x1b[K{line}");
            self.open = true;
        } else {
            say(&line);
        }
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.open) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// The summary for people.
fn report(summary: &Summary, detections: &Detections) {
    let skipped: u64 = summary.skipped.values().sum();
    let undecodable: u64 = summary.undecodable.values().sum();
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |name: &str, text: String| rows.push(vec![name.to_owned(), text]);
    row("objects", format!("{} read, {} passed over", grouped(summary.objects), grouped(skipped)));
    let millis = Duration::from_secs_f64(summary.elapsed_s).as_millis().max(1);
    let rate = u64::try_from(u128::from(summary.records) * 1000 / millis).unwrap_or(u64::MAX);
    row("records", format!("{}, {} not readable", grouped(summary.records), grouped(undecodable)));
    row("bytes", format!("{} stored, {} inflated", bytes(summary.bytes_compressed), bytes(summary.bytes)));
    let levels: Vec<String> = crate::sigma::Level::ALL
        .iter()
        .rev()
        .filter_map(|level| {
            summary.levels.get(level.as_str()).map(|count| format!("{} {level}", grouped(*count)))
        })
        .collect();
    let levels = if levels.is_empty() { String::new() } else { format!(": {}", levels.join(", ")) };
    row("alerts", format!("{}{levels}", grouped(summary.alerts)));
    if summary.undecided > 0 {
        row(
            "undecided",
            format!("{} of them: CloudTrail left out what they ask for", grouped(summary.undecided)),
        );
    }
    row("time", format!("{:.2} s, {} records/s", summary.elapsed_s, grouped(rate)));
    say(table(&rows).trim_end());

    let mut counts: Vec<(&String, u64)> = summary.rules.iter().map(|(id, count)| (id, *count)).collect();
    counts.sort_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(other.0)));
    let title = |id: &str| {
        detections.rules().iter().find(|rule| rule.id == id).map_or(id.to_owned(), |rule| rule.title.clone())
    };
    let rows: Vec<Vec<String>> = counts
        .into_iter()
        .map(|(id, count)| vec![format!("{:>8}", grouped(count)), plain(&title(id)).into_owned()])
        .collect();
    if !rows.is_empty() {
        say(table(&rows).trim_end());
    }
    remarks("not readable", &summary.unreadable);
    remarks("unusual", &summary.anomalies);
    if summary.objects == 0 {
        complain("the sources hold no log object");
    } else if summary.records == 0 {
        complain("the sources hold no record");
    } else if summary.in_span == 0 {
        complain("not a single record lies in the span of time that was asked for");
    }
    if summary.interrupted {
        complain("interrupted; the rest was not read");
    }
}

fn remarks(title: &str, remarks: &[Remark]) {
    for remark in remarks.iter().take(MOST_REMARKS) {
        say(&format!("{title}: {}: {}", plain(&remark.object), plain(&remark.detail)));
    }
    if remarks.len() > MOST_REMARKS {
        say(&format!("{title}: and {} more", grouped((remarks.len() - MOST_REMARKS) as u64)));
    }
}

fn write_summary(path: &std::path::Path, summary: &Summary) -> Result<(), Exit> {
    let text = serde_json::to_string_pretty(summary).map_err(io::Error::other);
    text.and_then(|text| std::fs::write(path, text + "\n")).map_err(|error| {
        complain(&format!("{}: {error}", path.display()));
        Exit::INCOMPLETE
    })
}
