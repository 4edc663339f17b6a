//! What replays take.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use trailhound::rulebook::{Pack, Rulebook};

use super::{Bench, SEED, unwritten};
use crate::contest::{Contender, Samples};
use crate::corpora::{Corpus, Recipe, Size, Total};
use crate::table::{Table, bar, grouped, megabytes, ratio, seconds, title};

/// Inflated sizes of objects, from one record to the largest that CloudTrail might ever write.
const SIZES: [(&str, u64); 6] = [
    ("1 KB", 1_000),
    ("10 KB", 10_000),
    ("100 KB", 100_000),
    ("1 MB", 1_000_000),
    ("10 MB", 10_000_000),
    ("200 MB", LARGEST),
];
/// Ten correlations with their members.
const CORRELATIONS: &str = include_str!("../correlations.yml");
const LARGEST: u64 = 200_000_000;
const MOST_OBJECTS: u64 = 100_000;

/// Replay against bare inflating.
pub(super) fn gunzip(bench: &Bench) -> Result<()> {
    let corpus = bench.ordinary()?;
    title(
        bench.style,
        "Replay and bare decompression",
        "The ordinary corpus, replayed with the embedded pack, with those of its files alone that look at single events, and with the first sights on, too, that ask something of nearly every record, next to libdeflate that inflates the same files and does nothing else.",
    );
    let single = single_events(bench)?;
    let sights = bench.write("first-sights.toml", &first_sights())?;
    let mut contenders = Vec::new();
    for threads in [1, 2] {
        contenders.push(Contender::gunzip(&corpus.folder, threads)?);
        contenders.push(Contender::replay(&corpus, threads));
        contenders.push(Contender::replay(&corpus, threads).with_rules(&single));
        contenders.push(Contender::replay(&corpus, threads).configured(&sights));
    }
    let samples = bench.race(&contenders)?;
    let names = [
        "libdeflate, 1 thread",
        "trailhound, 1 job",
        "of it single events, 1 job",
        "with all first sights, 1 job",
        "libdeflate, 2 threads",
        "trailhound, 2 jobs",
        "of it single events, 2 jobs",
        "with all first sights, 2 jobs",
    ];
    let mut table =
        Table::new(&["", "time", "CPU", "MB/s inflated", "records/s", "peak MB", "speed to libdeflate"]);
    for (number, (name, sample)) in names.into_iter().zip(&samples).enumerate() {
        // The replays stand behind the libdeflate with as many threads.
        let against = &samples[number / 4 * 4];
        table.row([
            name.to_owned(),
            seconds(sample.seconds().median),
            seconds(sample.cpu().median),
            grouped(sample.rate(corpus.bytes) / 1e6),
            grouped(sample.rate(corpus.records)),
            megabytes(sample.peak()),
            if number.is_multiple_of(4) { "1".to_owned() } else { ratio(sample.speed_to(against)) },
        ]);
    }
    table.print(bench.style);
    println!(
        "Two jobs are {} times as fast as one; two threads of libdeflate {} times.\n",
        ratio(samples[5].speed_to(&samples[1])),
        ratio(samples[4].speed_to(&samples[0])),
    );
    Ok(())
}

/// A folder with the files of the pack that hold neither correlations nor first sights.
fn single_events(bench: &Bench) -> Result<PathBuf> {
    let folder = bench.folder.join("single-events");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| unwritten(&folder))?;
    }
    fs::create_dir_all(&folder).with_context(|| unwritten(&folder))?;
    let files = Rulebook::files(&[], true);
    let is_single = |text: &str| !text.contains("\ncorrelation:") && !text.contains("\n  first_seen:");
    for (number, file) in files.iter().filter(|file| is_single(&file.text)).enumerate() {
        let path = folder.join(format!("{number}.yml"));
        fs::write(&path, &file.text).with_context(|| unwritten(&path))?;
    }
    Ok(folder)
}

/// A configuration that turns on the first sights of the pack that ask something of nearly every record.
fn first_sights() -> String {
    let files = Rulebook::files(&[], true);
    let files = files.iter().filter(|file| file.name.starts_with("pack/first-seen/"));
    let ids = files.filter(|file| file.text.contains("\n  enabled: false")).filter_map(|file| {
        let id = file.text.lines().find_map(|line| line.strip_prefix("id: "))?;
        Some(format!("{id:?}"))
    });
    let ids = ids.collect::<Vec<_>>().join(", ");
    format!("[[tuning]]\ndetections = [{ids}]\nenabled = true\n")
}

/// Ten correlations beside the embedded pack.
pub(super) fn correlations(bench: &Bench) -> Result<()> {
    let corpus = bench.ordinary()?;
    title(
        bench.style,
        "Correlations",
        "The ordinary corpus with the embedded pack, on two jobs: alone, with ten correlations of its detections, and with ten whose own members hit five in a hundred records.",
    );
    let of_pack = bench.write("correlations-of-pack.yml", &over_the_pack())?;
    let frequent = bench.write("correlations.yml", CORRELATIONS)?;
    let replay = || Contender::replay(&corpus, 2);
    let samples = bench.race(&[replay(), replay().beside(&of_pack), replay().beside(&frequent)])?;
    let mut table = Table::new(&["", "time", "CPU", "records/s", "peak MB", "speed to the pack alone"]);
    let names = ["the pack", "with ten correlations of it", "with ten of frequent calls"];
    for (name, sample) in names.into_iter().zip(&samples) {
        table.row([
            name.to_owned(),
            seconds(sample.seconds().median),
            seconds(sample.cpu().median),
            grouped(sample.rate(corpus.records)),
            megabytes(sample.peak()),
            ratio(sample.speed_to(&samples[0])),
        ]);
    }
    table.print(bench.style);
    Ok(())
}

/// Ten correlations of four kinds, each over eight detections of the pack that look at single events.
fn over_the_pack() -> String {
    const KINDS: [&str; 4] = [
        "{type: event_count, condition: {gte: 5}",
        "{type: value_count, condition: {field: eventName, gte: 3}",
        "{type: temporal",
        "{type: temporal_ordered",
    ];
    let rules = Rulebook::open(&[], Pack::Runs, None).rules;
    let single = rules.iter().filter(|rule| rule.condition().is_some() && !rule.muted);
    let ids: Vec<&str> = single.map(|rule| rule.id.as_str()).collect();
    let one = |(number, members): (usize, &[&str])| {
        let (kind, members) = (KINDS[number % KINDS.len()], members.join(", "));
        format!(
            "title: Over the pack {number}\ncorrelation: {kind}, rules: [{members}], group-by: [userIdentity.arn], timespan: 1h}}\n"
        )
    };
    ids.chunks_exact(8).take(10).enumerate().map(one).collect::<Vec<_>>().join("---\n")
}

/// Many small objects.
pub(super) fn small(bench: &Bench) -> Result<()> {
    let recipe = Recipe { total: Total::Objects(4_000), size: Size::Around(7_000), ..bench.recipe() };
    let corpus = bench.corpus("small", &recipe)?;
    title(
        bench.style,
        "Small objects",
        "4,000 objects of 7 KB inflated in the median, on two threads, jobs or processes.",
    );
    let mut names = vec!["libdeflate, 2 threads", "trailhound, 2 jobs"];
    let mut contenders = vec![Contender::gunzip(&corpus.folder, 2)?, Contender::replay(&corpus, 2)];
    let list = bench.folder.join("small.list");
    if installed("libdeflate-gunzip") {
        names.push("libdeflate-gunzip -c, 2 processes");
        contenders.push(processes(&corpus, &list)?);
    } else {
        eprintln!("  libdeflate-gunzip is not installed: left out");
    }
    let samples = bench.race(&contenders)?;
    let mut table = Table::new(&["", "time", "objects/s", "records/s", "trailhound's speed to it"]);
    for (name, sample) in names.into_iter().zip(&samples) {
        table.row([
            name.to_owned(),
            seconds(sample.seconds().median),
            grouped(sample.rate(corpus.objects)),
            grouped(sample.rate(corpus.records)),
            ratio(samples[1].speed_to(sample)),
        ]);
    }
    table.print(bench.style);
    Ok(())
}

/// Two processes that share the files of a corpus.
fn processes(corpus: &Corpus, list: &Path) -> Result<Contender> {
    let files = corpus.files()?;
    let names: Vec<_> = files.iter().map(|path| path.to_string_lossy()).collect();
    fs::write(list, names.join("\0")).with_context(|| unwritten(list))?;
    let half = files.len().div_ceil(2).to_string();
    // The list must not be cut at the bytes that a command line may have by default.
    let args = ["-0", "-P", "2", "-s", "2000000", "-n", &half, "libdeflate-gunzip", "-c"];
    Ok(Contender::program("xargs", args).reading(list))
}

fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// More and more detections.
pub(super) fn detections(bench: &Bench) -> Result<()> {
    const COUNTS: [usize; 3] = [30, 300, 3_000];
    let corpus = bench.ordinary()?;
    let tiny = Recipe { seed: SEED, total: Total::Objects(1), size: Size::Exactly(1), alerts: 0 };
    let tiny = bench.corpus("tiny", &tiny)?;
    title(
        bench.style,
        "Detections",
        "Two jobs over the ordinary corpus with generated rules. Loading is the time of a replay of a single record beyond that with 30 rules.",
    );
    let folders: Vec<_> = COUNTS.iter().map(|&count| bench.rules(count)).collect::<Result<_>>()?;
    let all = |corpus: &Corpus| -> Vec<Contender> {
        folders.iter().map(|folder| Contender::replay(corpus, 2).with_rules(folder)).collect()
    };
    let (samples, loads) = (bench.race(&all(&corpus))?, bench.race(&all(&tiny))?);
    let mut table = Table::new(&["rules", "records/s", "speed to 30 rules", "peak MB", "loading", ""]);
    for ((count, sample), load) in COUNTS.iter().zip(&samples).zip(&loads) {
        let speed = sample.speed_to(&samples[0]);
        table.row([
            count.to_string(),
            grouped(sample.rate(corpus.records)),
            ratio(speed),
            megabytes(sample.peak()),
            seconds(load.more_than(&loads[0]).median),
            bar(speed.median),
        ]);
    }
    table.print(bench.style);
    println!("A replay of a single record with 30 rules takes {}.\n", seconds(loads[0].seconds().median));
    Ok(())
}

/// From many objects to one.
pub(super) fn objects(bench: &Bench) -> Result<()> {
    title(
        bench.style,
        "Sizes of objects",
        "Two jobs with the embedded pack next to two threads of libdeflate; about as many bytes each time.",
    );
    let mut table = Table::new(&[
        "inflated size",
        "objects",
        "objects/s",
        "records/s",
        "MB/s inflated",
        "peak MB",
        "libdeflate's peak MB",
        "speed to libdeflate",
        "",
    ]);
    let mut rows: Vec<(&str, Corpus, Vec<Samples>)> = Vec::new();
    for (name, size) in SIZES {
        let objects = (bench.size.min(LARGEST) / size).clamp(1, MOST_OBJECTS);
        let total = Total::Objects(usize::try_from(objects)?);
        let recipe = Recipe { total, size: Size::Exactly(size), ..bench.recipe() };
        let corpus = bench.corpus(&format!("objects-{}", name.replace(' ', "")), &recipe)?;
        let samples = bench.race(&[Contender::gunzip(&corpus.folder, 2)?, Contender::replay(&corpus, 2)])?;
        rows.push((name, corpus, samples));
    }
    let best = rows.iter().map(|(_, corpus, samples)| samples[1].rate(corpus.records)).fold(0.0, f64::max);
    for (name, corpus, samples) in &rows {
        let rate = samples[1].rate(corpus.records);
        table.row([
            (*name).to_owned(),
            corpus.objects.to_string(),
            grouped(samples[1].rate(corpus.objects)),
            grouped(rate),
            grouped(samples[1].rate(corpus.bytes) / 1e6),
            megabytes(samples[1].peak()),
            megabytes(samples[0].peak()),
            ratio(samples[1].speed_to(&samples[0])),
            bar(rate / best),
        ]);
    }
    table.print(bench.style);
    Ok(())
}

/// More and more alerts.
pub(super) fn alerts(bench: &Bench) -> Result<()> {
    title(
        bench.style,
        "Rates of alerts",
        "Two jobs with a rule that tells each telling record by itself; so many of the records raise an alert each.",
    );
    let with = |alerts| Recipe { alerts, ..bench.recipe() };
    let corpora = [
        ("none", bench.corpus("silent", &with(0))?),
        ("0.1 %", bench.ordinary()?),
        ("5 %", bench.corpus("noisy", &with(50_000))?),
    ];
    let telling = bench.telling()?;
    let contenders = corpora.each_ref().map(|(_, corpus)| Contender::replay(corpus, 2).with_rules(&telling));
    let samples = bench.race(&contenders)?;
    let mut table = Table::new(&["alerts", "meant", "raised", "records/s", "speed to none", "peak MB", ""]);
    for (((name, corpus), contender), sample) in corpora.iter().zip(&contenders).zip(&samples) {
        let speed = sample.speed_to(&samples[0]);
        table.row([
            (*name).to_owned(),
            corpus.alerts.to_string(),
            contender.told()?.alerts.to_string(),
            grouped(sample.rate(corpus.records)),
            ratio(speed),
            megabytes(sample.peak()),
            bar(speed.median),
        ]);
    }
    table.print(bench.style);
    Ok(())
}

/// How much memory it takes.
pub(super) fn memory(bench: &Bench) -> Result<()> {
    title(bench.style, "Memory", "Peak resident memory of a replay with the embedded pack.");
    let corpus = bench.ordinary()?;
    let recipe = Recipe { total: Total::Objects(1), size: Size::Exactly(LARGEST), ..bench.recipe() };
    let single = bench.corpus("objects-200MB", &recipe)?;
    let mut cases =
        vec![("ordinary corpus, 1 job", corpus.clone(), 1), ("ordinary corpus, 2 jobs", corpus.clone(), 2)];
    if bench.long {
        let folder = bench.folder.join("tenfold");
        let tenfold = corpus.linked(&folder, 10).with_context(|| unwritten(&folder))?;
        cases.push(("ten times as much, 2 jobs", tenfold, 2));
    }
    cases.push(("one object of 200 MB, 2 jobs", single, 2));
    let mut table = Table::new(&["", "objects", "MB inflated", "peak MB"]);
    for (name, corpus, jobs) in cases {
        let samples = bench.race(&[Contender::replay(&corpus, jobs)])?;
        let (objects, bytes) = (corpus.objects.to_string(), megabytes(corpus.bytes));
        table.row([name.to_owned(), objects, bytes, megabytes(samples[0].peak())]);
    }
    table.print(bench.style);
    Ok(())
}
