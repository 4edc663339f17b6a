//! `trailhound rules coverage`

use super::{Exit, RulesArgs, complain_of, open, plain, print, table};
use crate::review::coverage::{controls, layer, techniques};
use crate::sigma::{Level, Rule};

/// Shows what the rules cover.
pub(super) fn coverage(args: &RulesArgs) -> Exit {
    let book = open(&args.paths, args.values.as_deref());
    let text = if args.json {
        format!("{:#}\n", layer(&book.rules))
    } else {
        format!("{}\n{}", attack(&book.rules), benchmark(&book.rules))
    };
    if let Err(exit) = print(&text) {
        return exit;
    }
    if complain_of(&book) { Exit::USAGE } else { Exit::OK }
}

fn attack(rules: &[Rule]) -> String {
    let levels: Vec<Level> = Level::ALL.into_iter().rev().collect();
    let mut head: Vec<String> = ["TECHNIQUE", "RULES"].map(str::to_owned).to_vec();
    head.extend(levels.iter().map(|level| level.as_str().to_uppercase()));
    head.push("TACTICS".to_owned());
    let mut rows = vec![head];
    for technique in techniques(rules) {
        let mut row = vec![plain(&technique.id).into_owned(), technique.rules.len().to_string()];
        row.extend(levels.iter().map(|level| match technique.of_level(*level) {
            0 => "-".to_owned(),
            count => count.to_string(),
        }));
        let tactics: Vec<&str> = technique.tactics.iter().copied().collect();
        row.push(plain(&tactics.join(", ")).into_owned());
        rows.push(row);
    }
    table(&rows)
}

fn benchmark(rules: &[Rule]) -> String {
    let mut rows = vec![["CIS 1.2", "5.0", "6.0", "RULES", "CONTROL"].map(str::to_owned).to_vec()];
    for control in controls(rules) {
        let mut row = control.numbers().to_vec();
        row.push(match control.rules.len() {
            0 => "-".to_owned(),
            count => count.to_string(),
        });
        row.push(control.subject.to_owned());
        rows.push(row);
        rows.extend(control.rules.iter().map(|rule| {
            let indented = format!("  {}", plain(&rule.title));
            ["", "", "", "", &indented].map(str::to_owned).to_vec()
        }));
    }
    table(&rows)
}
