//! How quiet the embedded pack is over the ordinary administration of a company: a table of its alerts, by level and
//! detection, and the bounds that they must keep.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::corpora::{LABEL, claim};
use crate::corpus::{COMPANY, Company, Press};
use crate::sections::{Bench, SEED};
use crate::table::{Table, title};

/// The hours of the corpus: at forty million events a day, over ten million events.
pub const HOURS: usize = 6;
/// What is raised whenever the same seed gives other bytes than before.
const EDITION: u32 = 1;
/// Groups of levels, and how many alerts each may raise per million events.
const BOUNDS: [(&[&str], f64); 3] = [(&["critical", "high"], 1.0), (&["medium"], 10.0), (&["low"], 30.0)];
/// The part of its group's bound that one detection may take.
const SHARE: f64 = 0.2;

/// What is read of an alert.
#[derive(Deserialize)]
struct Alert {
    level: String,
    rule: Rule,
}

#[derive(Deserialize)]
struct Rule {
    title: String,
}

/// Makes the corpus in a folder, unless the folder holds it already; answers with its records.
pub fn make(folder: &Path, hours: usize, seed: u64) -> Result<u64> {
    let label = folder.join(LABEL);
    let recipe = format!("company, edition {EDITION}, {hours} hours, seed {seed}\n");
    if let Some(records) =
        fs::read_to_string(&label).ok().and_then(|text| text.strip_prefix(&recipe)?.parse().ok())
    {
        return Ok(records);
    }
    claim(folder)?;
    let (company, next) = (Company::new(seed, 100), AtomicUsize::new(0));
    let run = || -> Result<u64> {
        let (mut press, mut inflated, mut packed, mut done) = (Press::default(), Vec::new(), Vec::new(), 0);
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= COMPANY * hours {
                return Ok(done);
            }
            inflated.clear();
            let (key, records) = company.object(number % COMPANY, number / COMPANY, &mut inflated);
            press.pack(&inflated, &mut packed);
            let path = folder.join(key);
            fs::create_dir_all(path.parent().expect("keys have folders"))?;
            fs::write(path, &packed)?;
            done += records as u64;
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let parts: Result<Vec<u64>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a generator does not panic")).collect()
    });
    let records = parts?.iter().sum();
    fs::write(label, format!("{recipe}{records}"))?;
    Ok(records)
}

/// Replays the corpus, prints the table and holds the bounds.
pub fn quiet(bench: &Bench) -> Result<()> {
    let folder = bench.folder.join("company");
    let records =
        make(&folder, HOURS, SEED).with_context(|| format!("{} cannot be made", folder.display()))?;
    let alerts = bench.folder.join("company.ndjson");
    let status = Command::new(env!("CARGO_BIN_EXE_trailhound"))
        .args(["replay", "--quiet", "--output"])
        .args([&alerts, &folder])
        .status()?;
    ensure!(status.success(), "the replay ended with {status}");
    let counts = counts(&alerts)?;
    title(
        bench.style,
        "Alerts over ordinary administration",
        &format!("{records} events of {COMPANY} accounts in {HOURS} hours, with the embedded pack as it is."),
    );
    let mut table = Table::new(&["level", "detection", "alerts", "per million"]);
    let per_million = |count: usize| rate(count, records);
    for ((level, title), count) in &counts {
        let rate = format!("{:.2}", per_million(*count));
        table.row([level.clone(), title.clone(), count.to_string(), rate]);
    }
    table.print(bench.style);
    for (levels, bound) in BOUNDS {
        let group = || counts.iter().filter(|((level, _), _)| levels.contains(&level.as_str()));
        let total = per_million(group().map(|(_, count)| count).sum());
        println!("{}: {total:.2} per million, of less than {bound}", levels.join(" and "));
        ensure!(total < bound, "{}: {total:.2} alerts per million events", levels.join(" and "));
        for ((_, title), count) in group() {
            ensure!(per_million(*count) <= bound * SHARE, "{title}: {count} alerts");
        }
    }
    println!();
    Ok(())
}

/// Alerts in a million events.
#[expect(clippy::cast_precision_loss, reason = "a rate needs no more than a float holds")]
fn rate(alerts: usize, records: u64) -> f64 {
    alerts as f64 * 1e6 / records as f64
}

/// How many alerts there are, by level and title.
fn counts(alerts: &Path) -> Result<BTreeMap<(String, String), usize>> {
    let mut counts = BTreeMap::new();
    for line in BufReader::new(fs::File::open(alerts)?).lines() {
        let Alert { level, rule } = serde_json::from_str(&line?)?;
        *counts.entry((level, rule.title)).or_default() += 1;
    }
    Ok(counts)
}
