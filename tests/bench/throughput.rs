//! How fast the program is, as a table for people: `cargo bench --bench throughput`.
//!
//! It runs the real program over a corpus that it makes, in turns with what it is compared to. Times differ
//! from machine to machine and from hour to hour; the ratios of one run are what counts.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    unreachable_pub,
    reason = "the report goes to the terminal, and modules share freely"
)]

mod baseline;
mod contest;
mod corpora;
mod corpus;
mod quiet;
mod rules;
mod sections;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};

use corpora::{Recipe, Size, Total};
use sections::{ALERTS, Bench, SEED, Section};
use table::Style;

/// Measures trailhound and prints tables.
#[derive(Debug, Parser)]
#[command(name = "throughput", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    report: Report,
    #[command(subcommand)]
    command: Option<Task>,
    /// What cargo adds.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Debug, Args)]
struct Report {
    /// Inflated size of the ordinary corpus.
    #[arg(long, default_value = "500MiB")]
    size: Bytes,
    /// Rounds; the median counts.
    #[arg(long, default_value = "5", value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Where corpora are kept, and used again.
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_TARGET_TMPDIR"), "/corpora"))]
    corpus: PathBuf,
    /// These sections only.
    #[arg(long, value_name = "SECTION", num_args = 1.., value_delimiter = ',')]
    only: Vec<Section>,
    /// Markdown instead of plain tables.
    #[arg(long)]
    markdown: bool,
    /// Also what takes long: ten times the corpus, and a larger burst.
    #[arg(long)]
    long: bool,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Makes a corpus, and nothing else.
    Corpus {
        folder: PathBuf,
        #[command(flatten)]
        recipe: RecipeArgs,
    },
    /// Makes some hours of a company's ordinary administration, and nothing else.
    Company {
        folder: PathBuf,
        #[arg(long, default_value_t = quiet::HOURS)]
        hours: usize,
        #[arg(long, default_value_t = SEED)]
        seed: u64,
    },
    /// Makes a folder of rules, and nothing else.
    Rules {
        folder: PathBuf,
        #[arg(long, default_value = "3000")]
        count: usize,
        #[arg(long, default_value_t = SEED)]
        seed: u64,
    },
    /// What replays are compared to.
    #[command(hide = true)]
    Gunzip {
        folder: PathBuf,
        #[arg(long)]
        jobs: usize,
    },
}

#[derive(Debug, Args)]
struct RecipeArgs {
    /// Inflated size of all objects.
    #[arg(long, default_value = "500MiB")]
    bytes: Bytes,
    /// Number of objects, instead of their size.
    #[arg(long)]
    objects: Option<usize>,
    /// The median size of an object.
    #[arg(long)]
    around: Option<Bytes>,
    /// The size of every object.
    #[arg(long, conflicts_with = "around")]
    exactly: Option<Bytes>,
    /// Records in a million that raise an alert.
    #[arg(long, default_value_t = ALERTS)]
    alerts: u32,
    #[arg(long, default_value_t = SEED)]
    seed: u64,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        None => report(&cli.report),
        Some(Task::Corpus { folder, recipe }) => make(&folder, &recipe.recipe()),
        Some(Task::Company { folder, hours, seed }) => quiet::make(&folder, hours, seed).map(|_| ()),
        Some(Task::Rules { folder, count, seed }) => sections::write_rules(&folder, count, seed),
        Some(Task::Gunzip { folder, jobs }) => baseline::gunzip(&folder, jobs),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn report(args: &Report) -> Result<()> {
    let bench = Bench {
        style: if args.markdown { Style::Markdown } else { Style::Plain },
        rounds: args.runs.into(),
        size: args.size.0,
        folder: args.corpus.clone(),
        long: args.long,
    };
    println!("{}\n", conditions(args));
    let sections = if args.only.is_empty() { Section::value_variants() } else { &args.only };
    for section in sections {
        let name = section.to_possible_value().expect("no section is hidden");
        eprintln!("{}", name.get_name());
        bench.run(*section).with_context(|| format!("section {}", name.get_name()))?;
    }
    Ok(())
}

/// What a reader must know to make something of the numbers.
fn conditions(args: &Report) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    format!(
        "trailhound {}, {cores} core(s) of {}, {}. Medians of {} rounds, with the least and the most in parentheses.",
        env!("CARGO_PKG_VERSION"),
        model.map_or("an unknown processor", |(_, model)| model),
        if cfg!(debug_assertions) { "NOT OPTIMIZED" } else { "optimized" },
        args.runs,
    )
}

fn make(folder: &Path, recipe: &Recipe) -> Result<()> {
    let started = std::time::Instant::now();
    let corpus = recipe.make(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    eprintln!(
        "  {}: {} objects, {} records of {:.0} bytes, {} MB inflated, {:.1} times their compressed size, {} alerts, in {}",
        folder.display(),
        corpus.objects,
        corpus.records,
        corpus.mean_record(),
        table::megabytes(corpus.bytes),
        corpus.gzip_ratio(),
        corpus.alerts,
        table::seconds(started.elapsed().as_secs_f64()),
    );
    Ok(())
}

impl RecipeArgs {
    fn recipe(&self) -> Recipe {
        Recipe {
            seed: self.seed,
            total: self.objects.map_or(Total::Bytes(self.bytes.0), Total::Objects),
            size: match (self.exactly, self.around) {
                (Some(bytes), _) => Size::Exactly(bytes.0),
                (None, Some(bytes)) => Size::Around(bytes.0),
                (None, None) => Size::Ordinary,
            },
            alerts: self.alerts,
        }
    }
}

impl Recipe {
    /// The arguments that give it.
    fn args(&self) -> Vec<String> {
        let mut args = vec![format!("--seed={}", self.seed), format!("--alerts={}", self.alerts)];
        args.push(match self.total {
            Total::Bytes(bytes) => format!("--bytes={bytes}B"),
            Total::Objects(count) => format!("--objects={count}"),
        });
        match self.size {
            Size::Ordinary => {}
            Size::Around(bytes) => args.push(format!("--around={bytes}B")),
            Size::Exactly(bytes) => args.push(format!("--exactly={bytes}B")),
        }
        args
    }
}

/// A number of bytes, as people write it.
#[derive(Debug, Clone, Copy)]
struct Bytes(u64);

impl FromStr for Bytes {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let factor: u64 = match unit.trim() {
            "B" => 1,
            "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => anyhow::bail!("needs a unit, such as 500MiB"),
        };
        let number: u64 = number.parse().context("needs a number, such as 500MiB")?;
        number.checked_mul(factor).context("is too large").map(Self)
    }
}
