//! `trailhound rules`

mod check;
mod coverage;
mod explain;
mod export;
mod test;

use std::path::{Path, PathBuf};

use serde_json::json;

use super::terminal::{self, complain, grouped, plain, print, say, table};
use super::{CoverageArgs, Exit, ExplainArgs, ExportArgs, RulesArgs, RulesCommand, TestArgs};
use crate::rulebook::{Pack, Rulebook};
use crate::sigma::{Rule, Tuning};

/// Answers one of the questions about rules.
pub(super) fn answer(command: &RulesCommand) -> Exit {
    match command {
        RulesCommand::Check(args) => check::check(args),
        RulesCommand::List(args) => list(args),
        RulesCommand::Coverage(args) => coverage::coverage(args),
        RulesCommand::Test(args) => test::test(args),
        RulesCommand::Explain(args) => explain::explain(args),
        RulesCommand::Export(args) => export::export(args),
    }
}

/// The pack, or what the user names; that may name rules of the pack. Rules that are off are rules all the same.
fn open(paths: &[PathBuf], values: Option<&Path>) -> Rulebook {
    let pack = if paths.is_empty() { Pack::Runs } else { Pack::Named };
    Rulebook::tuned(paths, pack, values, &Tuning::off_too())
}

/// How many of the rules are off, members of correlations not counted.
fn off(rules: &[Rule]) -> usize {
    rules.iter().filter(|rule| !rule.extension.enabled && !rule.muted).count()
}

/// Lists the rules, and which of them are off.
fn list(args: &RulesArgs) -> Exit {
    let book = open(&args.paths, args.values.as_deref());
    let text = if args.json {
        let rules: Vec<_> = book
            .rules
            .iter()
            .map(|rule| {
                json!({
                    "id": rule.id, "title": rule.title, "level": rule.level.as_str(), "status": rule.status,
                    "enabled": rule.extension.enabled,
                    "tags": rule.tags, "description": rule.description, "references": rule.references,
                    "falsepositives": rule.falsepositives, "response": rule.extension.response,
                    "hash": rule.hash, "file": &*rule.place.file, "line": rule.place.line,
                })
            })
            .collect();
        format!("{:#}\n", serde_json::Value::Array(rules))
    } else {
        let mut rows = vec![["LEVEL", "ON", "TITLE", "ID", "FILE"].map(str::to_owned).to_vec()];
        rows.extend(book.rules.iter().map(|rule| {
            let on = if rule.extension.enabled { "on" } else { "off" };
            let cells = [rule.level.as_str(), on, &rule.title, &rule.id, &rule.place.file];
            cells.map(|cell| plain(cell).into_owned()).to_vec()
        }));
        table(&rows)
    };
    if let Err(exit) = print(&text) {
        return exit;
    }
    if complain_of(&book) { Exit::USAGE } else { Exit::OK }
}

/// Tells what is wrong with the rules; whether something is.
fn complain_of(book: &Rulebook) -> bool {
    book.faults.iter().for_each(|fault| complain(&plain(&fault.to_string())));
    !book.faults.is_empty()
}
