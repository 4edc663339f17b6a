//! `trailhound replay`

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::backtest;
use super::deliver::Deliverer;
use super::log;
use super::terminal::{self, bytes, complain, grouped, plain, say, table};
use super::{Exit, OutputFormat, ReplayArgs};
use crate::alert::{Alert, harmless};
use crate::clock::Clock;
use crate::config::Config;
use crate::daemon::{self, Ending, Signals};
use crate::folder;
use crate::reload;
use crate::replay::{self, Audience, Comparison, Difference, Remark, Sets, Source, Summary, Window};
use crate::seed;
use crate::state::Seeding;
use crate::worker::Inspection;

/// Remarks that the summary on a terminal lists; the file has them all.
const MOST_REMARKS: usize = 20;
/// Characters that the table keeps for titles; a longer one pushes its line to the right.
const MOST_TITLE: usize = 60;

pub(super) fn replay(args: &ReplayArgs) -> Exit {
    match try_replay(args) {
        Ok(exit) | Err(exit) => exit,
    }
}

fn try_replay(args: &ReplayArgs) -> Result<Exit, Exit> {
    let sources = sources(&args.sources)?;
    if args.state.is_some() && sources.contains(&Source::Stdin) {
        complain("--state reads its sources twice, and standard input can be read once only");
        return Err(Exit::USAGE);
    }
    let window = window(args)?;
    let config = terminal::configuration(args.config.as_deref(), args.detections.flags())?;
    log::start(&config, "warn");
    if args.deliver && config.sinks.is_empty() {
        complain("--deliver needs a configuration with a sink");
        return Err(Exit::USAGE);
    }
    let sets = match &args.diff {
        Some(paths) => backtest::open(&config, paths)?,
        None => {
            let book = terminal::rulebook(&config)?;
            Sets::One(Arc::new(reload::inspection(&config, book)))
        }
    };
    if !args.quiet && window != Window::default() {
        say(&format!("events: {window}"));
    }
    refuse_overlap(&sources, args)?;
    let seeding = args.state.as_deref().map(|folder| seeding(folder, &config, &sets)).transpose()?;
    let output = Output::open(args, &sets)?;
    let runtime = terminal::runtime()?;
    let stop = Stop::default();
    runtime.spawn(stop.clone().at_signal());
    let deliverer = {
        let _within = runtime.enter();
        args.deliver.then(|| Deliverer::start(&config, &stop.token, args.quiet)).transpose()?
    };

    let jobs =
        args.jobs.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from);
    let mut audience = Teller { output, deliverer, seeding, progress: Progress::new(args.quiet) };
    let (mut summary, told) = replay::replay(&sources, &sets, &window, jobs, &stop.flag, &mut audience);
    let Teller { mut output, deliverer, seeding, mut progress } = audience;
    progress.clear();
    let told = told.and_then(|()| output.finish(summary.diff.as_ref(), &sets));
    summary.interrupted |= told.is_err();
    summary.undelivered = deliverer.map_or(0, |deliverer| runtime.block_on(deliverer.finish()));
    // A write that nobody takes must not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    let gone = matches!(&told, Err(error) if error.kind() == io::ErrorKind::BrokenPipe);
    if !args.quiet && !gone {
        report(&summary, &sets, output.format);
    }
    if !gone {
        complaints(&summary);
    }
    if let Some(path) = &args.summary {
        write_summary(path, &summary)?;
    }
    told.map_err(|error| terminal::not_written(&output.name, &error))?;
    if let (Some(seeding), Sets::One(set)) = (seeding, &sets) {
        teach(seeding, &sources, set, jobs, &summary, &stop.flag)?;
    }
    let exit = exit(&summary, args, stop.signal.load(Ordering::Relaxed));
    // The end of the program gives back at once what would be given back piece by piece.
    std::mem::forget(sets);
    Ok(exit)
}

/// The state of a daemon, to be taught.
fn seeding(folder: &Path, config: &Config, sets: &Sets) -> Result<Seeding, Exit> {
    let Sets::One(set) = sets else { return Err(Exit::USAGE) };
    Seeding::open(folder, Arc::clone(set), daemon::window_limits(config), Clock::system()).map_err(|error| {
        complain(&format!("{:#}", anyhow::Error::from(error)));
        Exit::USAGE
    })
}

/// Has a state go on from what was replayed, if all of it was.
fn teach(
    mut seeding: Seeding,
    sources: &[Source],
    set: &Arc<Inspection>,
    jobs: usize,
    summary: &Summary,
    stop: &Arc<AtomicBool>,
) -> Result<(), Exit> {
    if summary.is_complete() && !summary.interrupted {
        let learnt = seed::teach(sources, set, jobs, &mut seeding, stop);
        learnt.map_err(|error| not_kept(&anyhow::Error::from(error)))?;
    } else {
        complain(
            "the replay is incomplete: the state knows the alerts that were told, but windows do not go on from it",
        );
    }
    seeding.finish().map_err(|error| not_kept(&anyhow::Error::from(error)))
}

fn not_kept(error: &anyhow::Error) -> Exit {
    complain(&format!("{error:#}"));
    Exit::INCOMPLETE
}

/// Refuses to write over what is to be read, or into a folder where it would be read.
fn refuse_overlap(sources: &[Source], args: &ReplayArgs) -> Result<(), Exit> {
    for written in args.output.iter().chain(&args.summary) {
        let (folder, name) = (written.parent().unwrap_or(Path::new("")), written.file_name());
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let place = written.canonicalize().or_else(|_| folder.canonicalize()).unwrap_or_default();
        let read = |source: &Source| match source {
            Source::Stdin => false,
            Source::Path(path) if path.is_dir() => {
                name.is_some_and(folder::is_log_name)
                    && path.canonicalize().is_ok_and(|source| place.starts_with(source))
            }
            Source::Path(path) => path.canonicalize().is_ok_and(|source| source == place),
        };
        if sources.iter().any(read) {
            complain(&format!(
                "{}: would be written over, or read, as one of the sources",
                written.display()
            ));
            return Err(Exit::USAGE);
        }
    }
    Ok(())
}

/// What sources of the command line are.
pub(super) fn sources(given: &[OsString]) -> Result<Vec<Source>, Exit> {
    if given.iter().filter(|source| *source == "-").count() > 1 {
        complain("standard input (-) is given twice");
        return Err(Exit::USAGE);
    }
    let source = |source: &OsString| {
        if source == "-" {
            return Ok(Source::Stdin);
        }
        let text = source.to_string_lossy();
        if text.starts_with("s3://") || text.starts_with("lookup:") {
            return Err(super::unavailable(&text));
        }
        Ok(Source::Path(PathBuf::from(source)))
    };
    given.iter().map(source).collect()
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
    if let Some(odd) =
        args.account.iter().find(|id| id.len() != 12 || !id.bytes().all(|b| b.is_ascii_digit()))
    {
        complain(&format!("`{odd}` is no account id of 12 digits"));
        return Err(Exit::USAGE);
    }
    Ok(Window { from, to, accounts: args.account.clone(), regions: args.region.clone() })
}

/// Whether to stop, for threads and for tasks; a cheap copy of the same.
#[derive(Debug, Clone, Default)]
struct Stop {
    flag: Arc<AtomicBool>,
    token: CancellationToken,
    /// The exit code of the signal; 0 without one.
    signal: Arc<AtomicU8>,
}

impl Stop {
    /// The first signal stops the replay, the second one ends the program.
    async fn at_signal(self) {
        let Ok(mut signals) = Signals::new() else { return };
        let exit = |ending| if ending == Ending::Interrupted { Exit::INTERRUPTED } else { Exit::TERMINATED };
        let first = exit(signals.next().await);
        self.signal.store(first.0, Ordering::Relaxed);
        self.flag.store(true, Ordering::Relaxed);
        self.token.cancel();
        let second = exit(signals.next().await);
        std::process::exit(i32::from(second.0));
    }
}

fn exit(summary: &Summary, args: &ReplayArgs, signal: u8) -> Exit {
    let grave = args.fail_on.is_some_and(|level| summary.gravest.is_some_and(|gravest| gravest >= level));
    let finding = grave || summary.diff.as_ref().is_some_and(Comparison::differs);
    match () {
        () if signal != 0 => Exit(signal),
        () if !summary.is_complete() || summary.undelivered > 0 => Exit::INCOMPLETE,
        () if finding => Exit::FINDING,
        () => Exit::OK,
    }
}

/// Tells the alerts of a replay, and how far it is.
struct Teller {
    output: Output,
    deliverer: Option<Deliverer>,
    seeding: Option<Seeding>,
    progress: Progress,
}

impl Audience for Teller {
    fn alert(&mut self, alert: &Alert) -> io::Result<()> {
        self.progress.clear();
        self.output.write(alert)?;
        if let Some(deliverer) = &mut self.deliverer {
            deliverer.send(alert);
        }
        if let Some(seeding) = &mut self.seeding {
            seeding.told(alert).map_err(io::Error::other)?;
        }
        Ok(())
    }

    fn difference(&mut self, difference: &Difference) -> io::Result<()> {
        self.progress.clear();
        self.output.write_difference(difference)
    }

    fn progress(&mut self, summary: &Summary, total: usize) {
        self.progress.show(summary, total);
    }
}

/// Where alerts are written.
struct Output {
    writer: BufWriter<Box<dyn Write + Send>>,
    name: String,
    /// Each row is shown at once.
    terminal: bool,
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
    fn open(args: &ReplayArgs, sets: &Sets) -> Result<Self, Exit> {
        let terminal = args.output.is_none() && io::stdout().is_terminal();
        let default = if terminal { OutputFormat::Table } else { OutputFormat::Ndjson };
        let name =
            args.output.as_ref().map_or("standard output".to_owned(), |path| path.display().to_string());
        let writer: Box<dyn Write + Send> = match &args.output {
            None => Box::new(io::stdout()),
            Some(path) => Box::new(File::create(path).map_err(|error| {
                complain(&format!("{}: {error}", path.display()));
                Exit::USAGE
            })?),
        };
        let writer = BufWriter::with_capacity(64 << 10, writer);
        let title = sets.rules().map(|rule| rule.title.chars().count()).max().unwrap_or_default();
        Ok(Self {
            writer,
            name,
            terminal,
            format: args.format.unwrap_or(default),
            headed: false,
            title: title.clamp(9, MOST_TITLE),
        })
    }

    fn write(&mut self, alert: &Alert) -> io::Result<()> {
        match self.format {
            OutputFormat::Ndjson if self.terminal => writeln!(self.writer, "{}", harmless(&alert.document))?,
            OutputFormat::Ndjson => writeln!(self.writer, "{}", alert.document)?,
            OutputFormat::Table => self.write_row(alert, None)?,
        }
        if self.terminal { self.writer.flush() } else { Ok(()) }
    }

    fn write_difference(&mut self, difference: &Difference) -> io::Result<()> {
        match self.format {
            OutputFormat::Ndjson => backtest::write_line(&mut self.writer, difference)?,
            OutputFormat::Table => self.write_row(difference.alert(), Some(difference))?,
        }
        if self.terminal { self.writer.flush() } else { Ok(()) }
    }

    /// Writes an alert, and how it differs where two sets are compared.
    fn write_row(&mut self, alert: &Alert, difference: Option<&Difference>) -> io::Result<()> {
        let (mark, changes) = difference.map(backtest::in_row).unwrap_or_default();
        let width = self.title;
        if !self.headed {
            self.headed = true;
            let space = " ".repeat(mark.len());
            writeln!(
                self.writer,
                "{space}{:<20}  {:<13}  {:<width$}  WHAT HAPPENED",
                "TIME", "LEVEL", "DETECTION"
            )?;
        }
        let row: Row<'_> = serde_json::from_str(&alert.document).map_err(io::Error::other)?;
        let level = if row.status == "match" { row.level.to_owned() } else { format!("{} ?", row.level) };
        let (time, title, summary) = (row.time.unwrap_or("-"), plain(&row.rule.title), plain(&row.summary));
        writeln!(self.writer, "{mark}{time:<20}  {level:<13}  {title:<width$}  {changes}{summary}")
    }

    /// Writes what is left, and for people how two sets compare, by detection.
    fn finish(&mut self, diff: Option<&Comparison>, sets: &Sets) -> io::Result<()> {
        if let Some(diff) = diff.filter(|_| self.format == OutputFormat::Table) {
            let space = if self.headed { "\n" } else { "" };
            write!(self.writer, "{space}{}", backtest::by_rule(diff, sets))?;
        }
        self.writer.flush()
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
            // Without wrapping, so that one line is all there is to clear.
            let _ = write!(io::stderr(), "\r\x1b[K\x1b[?7l{line}\x1b[?7h");
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
fn report(summary: &Summary, sets: &Sets, format: OutputFormat) {
    let skipped: u64 = summary.skipped.values().sum();
    let undecodable: u64 = summary.undecodable.values().sum();
    let mut rows = vec![
        ("objects", format!("{} read, {} passed over", grouped(summary.objects), grouped(skipped))),
        ("records", format!("{}, {} not readable", grouped(summary.records), grouped(undecodable))),
        ("bytes", format!("{} stored, {} inflated", bytes(summary.bytes_compressed), bytes(summary.bytes))),
    ];
    rows.extend(summary.diff.as_ref().map_or_else(|| found(summary), backtest::found));
    let millis = Duration::from_secs_f64(summary.elapsed_s).as_millis().max(1);
    let rate = u64::try_from(u128::from(summary.records) * 1000 / millis).unwrap_or(u64::MAX);
    rows.push(("time", format!("{:.2} s, {} records/s", summary.elapsed_s, grouped(rate))));
    let rows: Vec<_> = rows.into_iter().map(|(name, text)| vec![name.to_owned(), text]).collect();
    say(table(&rows).trim_end());
    match &summary.diff {
        None => by_rule(summary, sets),
        // Otherwise it is part of the output.
        Some(diff) if format == OutputFormat::Ndjson => say(backtest::by_rule(diff, sets).trim_end()),
        Some(_) => {}
    }
    remarks("unusual", &summary.anomalies);
}

/// How many alerts were found, by level.
fn found(summary: &Summary) -> Vec<(&'static str, String)> {
    let levels: Vec<String> = crate::sigma::Level::ALL
        .iter()
        .rev()
        .filter_map(|level| {
            summary.levels.get(level.as_str()).map(|count| format!("{} {level}", grouped(*count)))
        })
        .collect();
    let levels = if levels.is_empty() { String::new() } else { format!(": {}", levels.join(", ")) };
    let mut rows = vec![("alerts", format!("{}{levels}", grouped(summary.alerts)))];
    if summary.undecided > 0 {
        let text = format!("{} of them: CloudTrail left out what they ask for", grouped(summary.undecided));
        rows.push(("undecided", text));
    }
    if summary.withheld > 0 {
        rows.push(("withheld", format!("{} undecided alerts beside them", grouped(summary.withheld))));
    }
    rows
}

/// The detections that found something.
fn by_rule(summary: &Summary, sets: &Sets) {
    let mut counts: Vec<(&String, u64)> = summary.rules.iter().map(|(id, count)| (id, *count)).collect();
    counts.sort_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(other.0)));
    let rows: Vec<Vec<String>> = counts
        .into_iter()
        .map(|(id, count)| vec![format!("{:>8}", grouped(count)), plain(title(sets, id)).into_owned()])
        .collect();
    if !rows.is_empty() {
        say(table(&rows).trim_end());
    }
}

/// The title of a detection.
pub(super) fn title<'s>(sets: &'s Sets, id: &'s str) -> &'s str {
    sets.rules().find(|rule| rule.id == id).map_or(id, |rule| &rule.title)
}

/// What must be told even if nothing else is: what was not read, and what did not arrive.
fn complaints(summary: &Summary) {
    remarks("not readable", &summary.unreadable);
    if summary.objects == 0 {
        complain("the sources hold no log object");
    } else if summary.records == 0 {
        complain("the sources hold no record");
    } else if summary.within == 0 {
        complain(&format!("not a single record is of those that were asked for: {}", summary.window));
    }
    if summary.undelivered > 0 {
        complain(&format!("{} alert(s) were not delivered", grouped(summary.undelivered)));
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

fn write_summary(path: &Path, summary: &Summary) -> Result<(), Exit> {
    let text = serde_json::to_string_pretty(summary).map_err(io::Error::other);
    text.and_then(|text| std::fs::write(path, text + "\n")).map_err(|error| {
        complain(&format!("{}: {error}", path.display()));
        Exit::INCOMPLETE
    })
}
