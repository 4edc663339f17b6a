//! The sections of the report, each a contest or two and a table.

mod announced;
mod replayed;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use crate::contest::{Contender, Samples, contest};
use crate::corpora::{Corpus, Recipe, Size, Total};
use crate::table::Style;
use crate::{quiet, rules};

/// The seed of everything that is made up.
pub const SEED: u64 = 1;
/// Records in a million that raise an alert, where nothing else is said.
pub const ALERTS: u32 = 1_000;

/// A part of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Section {
    /// Replay against bare inflating, and two jobs against one.
    Gunzip,
    /// Many small objects.
    Small,
    /// 30, 300 and 3,000 detections.
    Detections,
    /// Ten correlations beside the embedded pack.
    Correlations,
    /// Sizes of objects from 1 KB to 200 MB.
    Objects,
    /// Rates of alerts.
    Alerts,
    /// Peak memory.
    Memory,
    /// Alerts over ordinary administration of a company, and their bounds.
    Quiet,
    /// From announcement to webhook through queue and bucket, and bursts.
    Daemon,
}

/// How the report is made.
#[derive(Debug)]
pub struct Bench {
    pub style: Style,
    pub rounds: usize,
    /// Inflated bytes of the ordinary corpus.
    pub size: u64,
    /// Where corpora are kept.
    pub folder: PathBuf,
    pub long: bool,
}

impl Bench {
    /// Measures and prints a section.
    pub fn run(&self, section: Section) -> Result<()> {
        match section {
            Section::Gunzip => replayed::gunzip(self),
            Section::Small => replayed::small(self),
            Section::Detections => replayed::detections(self),
            Section::Correlations => replayed::correlations(self),
            Section::Objects => replayed::objects(self),
            Section::Alerts => replayed::alerts(self),
            Section::Memory => replayed::memory(self),
            Section::Quiet => quiet::quiet(self),
            Section::Daemon => announced::daemon(self),
        }
    }

    fn race(&self, contenders: &[Contender]) -> Result<Vec<Samples>> {
        contest(contenders, self.rounds)
    }

    /// The corpus that most sections read.
    fn ordinary(&self) -> Result<Corpus> {
        self.corpus("ordinary", &self.recipe())
    }

    fn recipe(&self) -> Recipe {
        Recipe { seed: SEED, total: Total::Bytes(self.size), size: Size::Ordinary, alerts: ALERTS }
    }

    /// A corpus under this name.
    fn corpus(&self, name: &str, recipe: &Recipe) -> Result<Corpus> {
        let folder = self.folder.join(name);
        // A child makes it, for the peak memory of a child is never below that of its parent.
        let status =
            Command::new(std::env::current_exe()?).arg("corpus").arg(&folder).args(recipe.args()).status();
        ensure!(status.is_ok_and(|status| status.success()), "there is no corpus {name}");
        recipe.make(&folder).with_context(|| format!("{} cannot be read", folder.display()))
    }

    /// A rule that tells each telling record alone.
    fn telling(&self) -> Result<PathBuf> {
        self.write("telling.yml", TELLING)
    }

    /// A file beside the corpora.
    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        fs::write(&path, text).with_context(|| unwritten(&path)).map(|()| path)
    }

    /// A folder of this many rules.
    fn rules(&self, count: usize) -> Result<PathBuf> {
        let folder = self.folder.join(format!("rules-{count}"));
        write_rules(&folder, count, SEED)?;
        Ok(folder)
    }
}

/// One alert for each telling record, whoever else did the same in the same hour.
const TELLING: &str = "title: Telling
logsource: {product: aws, service: cloudtrail}
detection:
  calls:
    eventName: [CreateUser, DeactivateMFADevice, UpdateAccountPasswordPolicy, PutUserPolicy, CreateLoginProfile, CreateAccessKey, StopLogging]
  sign_in: {eventName: ConsoleLogin}
  told:
    - userIdentity.type: Root
    - responseElements.ConsoleLogin: Failure
  condition: calls or sign_in and told
";

/// Writes this many rules into a folder.
pub fn write_rules(folder: &Path, count: usize, seed: u64) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| unwritten(folder))?;
    for (name, text) in rules::rules(count, seed) {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| unwritten(&path))?;
    }
    Ok(())
}

fn unwritten(path: &Path) -> String {
    format!("{} cannot be written", path.display())
}
