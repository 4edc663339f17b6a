//! What `replay --diff OLD NEW` adds: two sets over the same logs, and what they tell differently.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::value::RawValue;

use super::Exit;
use super::replay::title;
use super::terminal::{self, grouped, plain, table};
use crate::alert::Alert;
use crate::config::Config;
use crate::reload;
use crate::replay::{Comparison, Counts, Difference, Pair, Sets, Sides};
use crate::sigma::Tuning;
use crate::worker::Inspection;

/// By what the embedded pack is called.
const PACK: &str = "pack";

/// Opens both sets, or tells everything that is wrong with them.
pub(super) fn open(config: &Config, paths: &[PathBuf]) -> Result<Sets, Exit> {
    let [old, new] = paths else { unreachable!("the command line takes two") };
    // Both are read, so that everything that is wrong is told.
    let (old, new) = (open_one(config, old), open_one(config, new));
    Ok(Sets::Two(Box::new(Pair::new(old?, new?))))
}

fn open_one(config: &Config, path: &Path) -> Result<Inspection, Exit> {
    let is_pack = path.as_os_str() == OsStr::new(PACK);
    let detections = if is_pack { Vec::new() } else { vec![path.to_owned()] };
    let tuning = Tuning::default();
    let config = Config { detections, default_detections: is_pack, tuning, ..config.clone() };
    Ok(reload::inspection(&config, terminal::rulebook(&config)?))
}

/// A difference as a line of JSON.
#[derive(Serialize)]
struct Line<'d> {
    difference: &'static str,
    rule: &'d str,
    /// The keys of the documents that differ.
    changes: &'d [String],
    old: Option<&'d RawValue>,
    new: Option<&'d RawValue>,
}

/// Writes a difference with the documents of both sets, in one line.
pub(super) fn write_line(writer: &mut dyn Write, difference: &Difference) -> io::Result<()> {
    let Sides { old, new } = difference.alerts();
    let line = Line {
        difference: difference.name(),
        rule: &difference.alert().rule,
        changes: difference.keys(),
        old: old.map(document).transpose()?,
        new: new.map(document).transpose()?,
    };
    serde_json::to_writer(&mut *writer, &line)?;
    writeln!(writer)
}

fn document(alert: &Alert) -> serde_json::Result<&RawValue> {
    serde_json::from_str(&alert.document)
}

/// What stands before the row of a difference, and before what happened.
pub(super) fn in_row(difference: &Difference) -> (&'static str, String) {
    match difference {
        Difference::Gained(_) => ("+ ", String::new()),
        Difference::Lost(_) => ("- ", String::new()),
        Difference::Changed { keys, .. } => ("~ ", format!("[{}] ", keys.join(", "))),
    }
}

/// The detections that tell something differently, and all together.
pub(super) fn by_rule(diff: &Comparison, sets: &Sets) -> String {
    let mut differing: Vec<(&String, &Counts)> =
        diff.rules.iter().filter(|(_, counts)| counts.gained + counts.lost + counts.changed > 0).collect();
    differing.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.gained + counts.lost + counts.changed));
    let headings = ["old/day", "new/day", "gained", "lost", "changed"];
    let mut rows = vec![row(headings.map(str::to_owned), "detection".to_owned())];
    rows.extend(
        differing.into_iter().map(|(id, counts)| counted(counts, plain(title(sets, id)).into_owned())),
    );
    rows.push(counted(&diff.total, "all detections".to_owned()));
    table(&rows)
}

fn counted(counts: &Counts, name: String) -> Vec<String> {
    let Counts { per_day, gained, lost, changed, .. } = counts;
    let days = [per_day.old, per_day.new].map(|number| format!("{number:.2}"));
    let [old, new] = days;
    row([old, new, grouped(*gained), grouped(*lost), grouped(*changed)], name)
}

/// Numbers stand below each other.
fn row(numbers: [String; 5], name: String) -> Vec<String> {
    numbers.into_iter().map(|number| format!("{number:>9}")).chain([name]).collect()
}

/// What the summary for people says of both sets.
pub(super) fn found(diff: &Comparison) -> Vec<(&'static str, String)> {
    let Comparison { sets, total, .. } = diff;
    vec![
        (
            "old",
            format!(
                "{} alerts of {} detections, {}",
                grouped(total.alerts.old),
                sets.old.detections,
                sets.old.pack
            ),
        ),
        (
            "new",
            format!(
                "{} alerts of {} detections, {}",
                grouped(total.alerts.new),
                sets.new.detections,
                sets.new.pack
            ),
        ),
        (
            "detections",
            format!(
                "{} as before, {} changed, {} removed, {} added",
                diff.kept, diff.redefined, diff.removed, diff.added
            ),
        ),
        (
            "alerts",
            format!(
                "{} gained, {} lost, {} changed over {:.1} day(s)",
                grouped(total.gained),
                grouped(total.lost),
                grouped(total.changed),
                diff.days
            ),
        ),
    ]
}
