//! The command line: what can be asked, and how each answer ends.
//!
//! Exit codes: 0 everything asked for was read and there is nothing to report; 1 a finding; 2 usage,
//! configuration or rules are wrong; 3 incomplete; 130 and 143 after SIGINT and SIGTERM; 141 when the reader
//! of standard output has gone.

mod backtest;
mod dead;
mod deliver;
mod log;
mod replay;
mod rules;
mod run;
mod terminal;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::config::{Flags, LogFormat};
use crate::sigma::Level;

/// Detects what matters in CloudTrail, live or in archives.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0    everything asked for was read, nothing to report
  1    a finding: an alert at or above --fail-on, a difference found by --diff, warnings in `rules check`, a
       failed case in `rules test`
  2    usage, configuration or rules are wrong; nothing was run
  3    incomplete: something could not be read, or there was nothing to read
  130  ended by SIGINT      143  ended by SIGTERM      141  the reader of standard output has gone";

#[derive(Debug, Subcommand)]
enum Command {
    /// Reads announced log objects and delivers alerts, until it is told to stop
    Run(RunArgs),
    /// Evaluates archived logs: files, folders, standard input
    Replay(ReplayArgs),
    /// Verifies the integrity of log files (not available in this version)
    Verify(Unavailable),
    /// Checks, tests, explains and lists detections
    Rules {
        #[command(subcommand)]
        command: RulesCommand,
    },
    /// Lists, retries or drops alerts that a sink refused and objects that could not be read
    Dead {
        #[command(subcommand)]
        command: DeadCommand,
    },
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Configuration file
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Queue that announces log objects; repeats
    #[arg(long, value_name = "URL")]
    queue_url: Vec<String>,
    /// Bucket that the queues of the command line may announce; repeats
    #[arg(long, value_name = "NAME")]
    bucket: Vec<String>,
    /// Folder to watch for log files; repeats
    #[arg(long, value_name = "DIR")]
    watch: Vec<PathBuf>,
    /// Webhook that receives alerts; repeats
    #[arg(long, value_name = "URL")]
    webhook: Vec<String>,
    /// Archived logs, a file or a folder, from which first-seen detections learn before anything is received; repeats
    #[arg(long, value_name = "SOURCE")]
    seed: Vec<OsString>,
    #[command(flatten)]
    detections: DetectionArgs,
    /// Address for /metrics, /ledger, /healthz and /readyz
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Folder for durable state: with it no alert is lost or doubled, however the daemon ends
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Form of log lines, which go to standard error
    #[arg(long, value_name = "FORM")]
    log: Option<LogFormat>,
    /// Prints the effective configuration, without secrets, and ends
    #[arg(long)]
    print_config: bool,
}

#[derive(Debug, Args)]
struct DetectionArgs {
    /// Rule file or folder, beside the embedded pack; repeats
    #[arg(long, value_name = "PATH")]
    detections: Vec<PathBuf>,
    /// Leaves the embedded pack out
    #[arg(long)]
    no_default_detections: bool,
    /// Leaves broken rules out instead of ending
    #[arg(long)]
    keep_going: bool,
    /// File of values: what the placeholders in rules (`expand`) stand for
    #[arg(long, value_name = "FILE")]
    values: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ReplayArgs {
    /// File, folder, or `-` for standard input; repeats
    #[arg(value_name = "SOURCE", required = true)]
    sources: Vec<OsString>,
    /// Configuration file
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    detections: DetectionArgs,
    /// Only events from this time on: a day in UTC, or a time with its zone
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Only events before this time; a day is included
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Only events of this account; repeats
    #[arg(long, value_name = "ID")]
    account: Vec<String>,
    /// Only events of this region; repeats
    #[arg(long, value_name = "REGION")]
    region: Vec<String>,
    /// Writes alerts to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Form of the alerts: by default a table on a terminal, else one JSON document a line
    #[arg(long, value_name = "FORM")]
    format: Option<OutputFormat>,
    /// Writes the summary as JSON to this file
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
    /// Compares two sets of rules instead: which alerts are gained, lost or changed from OLD to NEW
    ///
    /// Each is a rule file or folder, or `pack` for the embedded pack, and is all that runs: configured detections
    /// play no part. Ends with exit code 1 if anything differs. A folder that is called pack is `./pack`.
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], action = ArgAction::Set)]
    #[arg(conflicts_with_all = ["detections", "no_default_detections", "fail_on", "deliver"])]
    diff: Option<Vec<PathBuf>>,
    /// Workers; by default one for each core
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Ends with exit code 1 if an alert is of this level or above
    #[arg(long, value_name = "LEVEL", value_parser = level)]
    fail_on: Option<Level>,
    /// Delivers alerts to the configured sinks, too
    #[arg(long)]
    deliver: bool,
    /// State folder of a daemon, which then goes on from here: what was told is not raised again, windows and first
    /// sights go on. Takes whole archives
    #[arg(long, value_name = "DIR")]
    #[arg(conflicts_with_all = ["diff", "from", "to", "account", "region"])]
    state: Option<PathBuf>,
    /// Shows neither progress nor summary
    #[arg(long)]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    /// One JSON document a line
    Ndjson,
    /// A line for people
    Table,
}

#[derive(Debug, Subcommand)]
enum RulesCommand {
    /// Compiles rules and reports everything that is wrong with them, or looks wrong
    Check(RulesArgs),
    /// Lists the rules, and which of them are off
    List(RulesArgs),
    /// Shows what the rules cover: techniques of ATT&CK, controls of the CIS AWS Foundations Benchmark, what the guides
    /// to IAM ask to be watched
    #[command(after_help = "With --json the answer is a layer for the ATT&CK Navigator.")]
    Coverage(CoverageArgs),
    /// Runs rules against their hits and near misses
    #[command(after_help = CASES)]
    Test(TestArgs),
    /// Explains why a rule matches an event or not
    #[command(after_help = EVENTS)]
    Explain(ExplainArgs),
    /// Writes the embedded pack to a folder
    #[command(after_help = "Files that are already there with another content are never overwritten.")]
    Export(ExportArgs),
}

const CASES: &str = "\
The cases of iam/user.yml are iam/user/hit-NAME.json and iam/user/miss-NAME.json below the fixtures, each one record,
a list of records, or a log file. On a hit one of the file's rules must raise an alert, on a near miss none may.

Exit codes: 0 all passed, 1 a case failed or is missing, 2 rules or cases are broken, 3 there was nothing to test";

const EVENTS: &str = "\
RULE is the id of a rule or a rule file, and EVENT a file with a record, FILE#INDEX for one of several (0 is the first),
or `-` for standard input. RULE may also be the id of an alert, and EVENT the object that raised it.";

#[derive(Debug, Args)]
struct CoverageArgs {
    #[command(flatten)]
    rules: RulesArgs,
    /// Answers in short, as tables in Markdown
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
}

#[derive(Debug, Args)]
struct TestArgs {
    /// Rule file or folder; by default the embedded pack
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Folder with the cases, laid out as the rule folder; by default fixtures/detections
    #[arg(long, value_name = "DIR")]
    fixtures: Option<PathBuf>,
    /// Writes a report for build servers, in the XML of `JUnit`, to this file
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// File of values: what the placeholders in rules (`expand`) stand for
    #[arg(long, value_name = "FILE")]
    values: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ExplainArgs {
    /// Rule id, rule file, or alert id
    #[arg(value_name = "RULE")]
    rule: String,
    /// File, FILE#INDEX, or `-` for standard input
    #[arg(value_name = "EVENT")]
    event: OsString,
    /// Rule file or folder where ids are looked up, beside the embedded pack; repeats
    #[arg(long, value_name = "PATH")]
    detections: Vec<PathBuf>,
    /// File of values: what the placeholders in rules (`expand`) stand for
    #[arg(long, value_name = "FILE")]
    values: Option<PathBuf>,
    /// Answers as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ExportArgs {
    /// Folder, which is made if it does not exist
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "All of them work while the daemon runs, and while it does not.")]
enum DeadCommand {
    /// Lists what is dead, the oldest first
    List(DeadListArgs),
    /// Tries again: alerts go to their sinks once more, objects are read once more
    Retry(DeadArgs),
    /// Drops for good
    Drop(DeadArgs),
}

#[derive(Debug, Args)]
struct DeadListArgs {
    /// The state folder of the daemon
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// Answers as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct DeadArgs {
    /// Numbers, as `dead list` has them
    #[arg(value_name = "NUMBER", required_unless_present = "all")]
    numbers: Vec<i64>,
    /// Everything that is dead
    #[arg(long, conflicts_with = "numbers")]
    all: bool,
    /// The state folder of the daemon
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
}

#[derive(Debug, Args)]
struct RulesArgs {
    /// Rule file or folder; by default the embedded pack
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// File of values: what the placeholders in rules (`expand`) stand for
    #[arg(long, value_name = "FILE")]
    values: Option<PathBuf>,
    /// Answers as JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of a command that is not there yet: whatever they are, the answer is the same.
#[derive(Debug, Args)]
struct Unavailable {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    _rest: Vec<OsString>,
}

fn level(text: &str) -> Result<Level, crate::sigma::UnknownLevel> {
    text.parse()
}

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Exit(u8);

impl Exit {
    const OK: Exit = Exit(0);
    const FINDING: Exit = Exit(1);
    const USAGE: Exit = Exit(2);
    const INCOMPLETE: Exit = Exit(3);
    const INTERRUPTED: Exit = Exit(130);
    const TERMINATED: Exit = Exit(143);
    const READER_GONE: Exit = Exit(141);
}

/// Runs what the command line asks for.
#[must_use]
pub fn main() -> ExitCode {
    let exit = match Cli::parse().command {
        Command::Run(args) => run::run(args),
        Command::Replay(args) => replay::replay(&args),
        Command::Rules { command } => rules::answer(&command),
        Command::Verify(_) => unavailable("verify"),
        Command::Dead { command } => dead::answer(&command),
    };
    ExitCode::from(exit.0)
}

fn unavailable(what: &str) -> Exit {
    terminal::complain(&format!("`{what}` is not available in this version"));
    Exit::USAGE
}

impl DetectionArgs {
    /// What these flags set, for the configuration to lay over the file.
    fn flags(&self) -> Flags {
        Flags {
            detections: self.detections.clone(),
            no_default_detections: self.no_default_detections,
            keep_going: self.keep_going,
            values: self.values.clone(),
            ..Flags::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
