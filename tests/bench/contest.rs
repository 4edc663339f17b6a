//! Programs run against each other: in turns, round after round, so that what else the machine does meets all of
//! them alike. Only ratios within such a contest say something.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use wait4::Wait4;

use crate::corpora::Corpus;

/// A program with its arguments.
#[derive(Debug, Clone)]
pub struct Contender {
    program: OsString,
    args: Vec<OsString>,
    /// What it reads from standard input.
    input: Option<PathBuf>,
    /// What a replay has to read.
    records: Option<u64>,
}

/// What the rounds of a contender took.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    seconds: Vec<f64>,
    cpu: Vec<f64>,
    peak: u64,
}

/// Numbers of all rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

/// What a replay tells of itself.
#[derive(Debug, Clone, Deserialize)]
pub struct Told {
    pub records: u64,
    pub alerts: u64,
}

impl Contender {
    /// Any program.
    pub fn program<S: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = S>) -> Self {
        let args = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        Self { program: program.into(), args, input: None, records: None }
    }

    /// The bare inflating of every file, by this very program.
    pub fn gunzip(folder: &Path, threads: usize) -> Result<Self> {
        let program = std::env::current_exe().context("this program has no path")?;
        let args =
            ["gunzip".into(), folder.as_os_str().to_owned(), "--jobs".into(), threads.to_string().into()];
        Ok(Self { program: program.into(), args: args.into(), input: None, records: None })
    }

    /// A replay of a corpus by the real program.
    pub fn replay(corpus: &Corpus, jobs: usize) -> Self {
        Self { records: Some(corpus.records), ..Self::replay_of(&corpus.folder, jobs) }
    }

    /// A replay of whatever a folder holds.
    pub fn replay_of(folder: &Path, jobs: usize) -> Self {
        let jobs = jobs.to_string();
        let args = ["replay", "--quiet", "--output", "/dev/null", "--jobs", &jobs].map(OsStr::new);
        Self::program(env!("CARGO_BIN_EXE_trailhound"), args.into_iter().chain([folder.as_os_str()]))
    }

    /// The same with the rules of a folder, and no others.
    pub fn with_rules(mut self, folder: &Path) -> Self {
        self.args.extend(["--no-default-detections".into(), "--detections".into(), folder.into()]);
        self
    }

    /// The same with further rules beside the embedded ones.
    pub fn beside(mut self, rules: &Path) -> Self {
        self.args.extend(["--detections".into(), rules.into()]);
        self
    }

    /// The same with a configuration.
    pub fn configured(mut self, file: &Path) -> Self {
        self.args.extend(["--config".into(), file.into()]);
        self
    }

    /// The same with a file as standard input.
    pub fn reading(mut self, file: &Path) -> Self {
        self.input = Some(file.to_owned());
        self
    }

    /// Runs a replay once, and sees that it read everything.
    pub fn told(&self) -> Result<Told> {
        let summary = tempfile::NamedTempFile::new().context("there is no room for a summary")?;
        let mut child = self.command()?;
        child.arg("--summary").arg(summary.path());
        let status = child.status().with_context(|| format!("{} does not start", self.line()))?;
        ensure!(status.success(), "{} ended with {status}", self.line());
        let text = std::fs::read_to_string(summary.path()).context("there is no summary")?;
        let told: Told = serde_json::from_str(&text).context("the summary cannot be read")?;
        if let Some(records) = self.records {
            ensure!(told.records == records, "{} read {} of {records} records", self.line(), told.records);
        }
        Ok(told)
    }

    /// Runs to the end.
    fn run(&self, samples: &mut Samples) -> Result<()> {
        let started = Instant::now();
        let child = self.command()?.spawn().with_context(|| format!("{} does not start", self.line()))?;
        let used = child.wait4().with_context(|| format!("{} is not waited for", self.line()))?;
        let seconds = started.elapsed().as_secs_f64();
        ensure!(used.status.success(), "{} ended with {}", self.line(), used.status);
        samples.seconds.push(seconds);
        samples.cpu.push((used.rusage.utime + used.rusage.stime).as_secs_f64());
        samples.peak = samples.peak.max(used.rusage.maxrss);
        Ok(())
    }

    /// The command, with nothing of our environment that it might read.
    fn command(&self) -> Result<Command> {
        let mut command = Command::new(&self.program);
        command.args(&self.args).stdout(Stdio::null());
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        match &self.input {
            None => command.stdin(Stdio::null()),
            Some(path) => {
                command.stdin(File::open(path).with_context(|| format!("{} is not there", path.display()))?)
            }
        };
        Ok(command)
    }

    fn line(&self) -> String {
        let words: Vec<_> = self.args.iter().map(|arg| arg.to_string_lossy()).collect();
        format!("`{} {}`", Path::new(&self.program).display(), words.join(" "))
    }
}

/// Runs everyone once to warm up, then in turns.
pub fn contest(contenders: &[Contender], rounds: usize) -> Result<Vec<Samples>> {
    for contender in contenders {
        if contender.records.is_some() {
            contender.told()?;
        } else {
            contender.run(&mut Samples::default())?;
        }
    }
    let mut samples = vec![Samples::default(); contenders.len()];
    for round in 0..rounds {
        progress(&format!("round {} of {rounds}", round + 1));
        let mut turns: Vec<_> = contenders.iter().zip(&mut samples).collect();
        // Nobody always comes after the same other.
        if round % 2 == 1 {
            turns.reverse();
        }
        turns.into_iter().try_for_each(|(contender, samples)| contender.run(samples))?;
    }
    progress("");
    Ok(samples)
}

/// Shows on a terminal what is going on, over what was shown before.
fn progress(text: &str) {
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[K{text}");
    }
}

impl Samples {
    /// Wall time.
    pub fn seconds(&self) -> Spread {
        Spread::of(self.seconds.iter().copied())
    }

    /// Time on all cores.
    pub fn cpu(&self) -> Spread {
        Spread::of(self.cpu.iter().copied())
    }

    /// So much of something a second.
    #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than a float holds")]
    pub fn rate(&self, of: u64) -> f64 {
        of as f64 / self.seconds().median
    }

    /// How many times as fast as another contender of the same contest.
    pub fn speed_to(&self, other: &Samples) -> Spread {
        Spread::of(self.seconds.iter().zip(&other.seconds).map(|(own, other)| other / own))
    }

    /// Seconds more than another contender of the same contest.
    pub fn more_than(&self, other: &Samples) -> Spread {
        Spread::of(self.seconds.iter().zip(&other.seconds).map(|(own, other)| own - other))
    }

    /// The most memory of any round, in bytes.
    pub fn peak(&self) -> u64 {
        self.peak
    }
}

impl Spread {
    /// The spread of at least one number.
    pub fn of(numbers: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = numbers.collect();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (sorted[0], sorted[sorted.len() - 1]);
        let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Self { median: f64::midpoint(low, high), least, most }
    }
}
