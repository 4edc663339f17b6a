//! `trailhound rules coverage`

use super::{CoverageArgs, Exit, complain_of, open, plain, print, table};
use crate::review::coverage::{controls, layer, tactics, techniques};
use crate::review::practice::practices;
use crate::sigma::{Level, Rule};

/// Shows what the rules cover; those that are off are marked.
pub(super) fn coverage(args: &CoverageArgs) -> Exit {
    let rules = &args.rules;
    let book = open(&rules.paths, rules.values.as_deref());
    let heard: Vec<Rule> = book.rules.iter().filter(|rule| !rule.muted).cloned().collect();
    let text = if rules.json {
        format!("{:#}\n", layer(&heard))
    } else if args.markdown {
        markdown(&heard)
    } else {
        format!("{}\n{}\n{}", attack(&heard), benchmark(&heard), identities(&heard))
    };
    if let Err(exit) = print(&text) {
        return exit;
    }
    if complain_of(&book) { Exit::USAGE } else { Exit::OK }
}

fn attack(rules: &[Rule]) -> String {
    let levels: Vec<Level> = Level::ALL.into_iter().rev().collect();
    let mut head: Vec<String> = ["TECHNIQUE", "RULES", "OFF"].map(str::to_owned).to_vec();
    head.extend(levels.iter().map(|level| level.as_str().to_uppercase()));
    head.push("TACTICS".to_owned());
    let mut rows = vec![head];
    for technique in techniques(rules) {
        let mut row = vec![plain(&technique.id).into_owned(), technique.rules.len().to_string()];
        row.push(count(off(&technique.rules)));
        row.extend(levels.iter().map(|level| count(technique.of_level(*level))));
        let tactics: Vec<&str> = technique.tactics.iter().copied().collect();
        row.push(plain(&tactics.join(", ")).into_owned());
        rows.push(row);
    }
    table(&rows)
}

fn benchmark(rules: &[Rule]) -> String {
    let head = ["CIS 1.2", "1.3..5.0", "6.0", "RULES", "OFF", "CONTROL"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for control in controls(rules) {
        let mut row = control.numbers().to_vec();
        row.extend([count(control.rules.len()), count(off(&control.rules)), control.subject.to_owned()]);
        rows.push(row);
        rows.extend(control.rules.iter().map(|rule| below(rule, 5)));
    }
    table(&rows)
}

fn identities(rules: &[Rule]) -> String {
    let mut rows = vec![["IAM PRACTICE", "RULES", "OFF", "WATCHED"].map(str::to_owned).to_vec()];
    for practice in practices(rules) {
        let cells = [
            practice.area.to_owned(),
            count(practice.rules.len()),
            count(off(&practice.rules)),
            practice.subject.to_owned(),
        ];
        rows.push(cells.to_vec());
        rows.extend(practice.rules.iter().map(|rule| below(rule, 3)));
    }
    table(&rows)
}

/// A rule's title under what it covers, behind so many empty cells.
fn below(rule: &Rule, cells: usize) -> Vec<String> {
    let mark = if rule.extension.enabled { "" } else { " (off)" };
    let mut row = vec![String::new(); cells];
    row.push(format!("  {}{mark}", plain(&rule.title)));
    row
}

/// The tables in short, for a document.
fn markdown(rules: &[Rule]) -> String {
    let mut text = String::from("| tactic | techniques | detections | of them off |\n|---|---:|---:|---:|\n");
    for tactic in tactics(rules) {
        let (name, techniques) = (plain(tactic.name), tactic.techniques.len());
        text.push_str(&format!(
            "| {name} | {techniques} | {} | {} |\n",
            tactic.rules.len(),
            count(off(&tactic.rules))
        ));
    }
    text.push_str("\n| CIS 1.2 | 1.3 to 5.0 | 6.0 | control | detections | of them off |\n|---|---|---|---|---:|---:|\n");
    for control in controls(rules) {
        let [oldest, middle, newest] = control.numbers();
        text.push_str(&format!(
            "| {oldest} | {middle} | {newest} | {} | {} | {} |\n",
            control.subject,
            count(control.rules.len()),
            count(off(&control.rules))
        ));
    }
    text.push_str("\n| IAM | watched | detections | of them off |\n|---|---|---:|---:|\n");
    for practice in practices(rules) {
        text.push_str(&format!(
            "| {} | {} | {} | {} |\n",
            practice.area,
            practice.subject,
            count(practice.rules.len()),
            count(off(&practice.rules))
        ));
    }
    text
}

fn off(rules: &[&Rule]) -> usize {
    rules.iter().filter(|rule| !rule.extension.enabled).count()
}

/// A number; a gap shows as a gap.
fn count(count: usize) -> String {
    if count == 0 { "-".to_owned() } else { count.to_string() }
}
