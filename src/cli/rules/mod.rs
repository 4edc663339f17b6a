//! `trailhound rules`

mod coverage;
mod explain;
mod export;
mod test;

use serde_json::json;

use super::terminal::{self, complain, grouped, plain, print, say, table};
use super::{Exit, ExplainArgs, ExportArgs, RulesArgs, RulesCommand, TestArgs};
use crate::detect::{self, Narrowing};
use crate::rulebook::Rulebook;
use crate::sigma::Rule;

/// Answers one of the questions about rules.
pub(super) fn answer(command: &RulesCommand) -> Exit {
    match command {
        RulesCommand::Check(args) => check(args),
        RulesCommand::List(args) => list(args),
        RulesCommand::Coverage(args) => coverage::coverage(args),
        RulesCommand::Test(args) => test::test(args),
        RulesCommand::Explain(args) => explain::explain(args),
        RulesCommand::Export(args) => export::export(args),
    }
}

/// The pack, or what the user names.
fn open(args: &RulesArgs) -> Rulebook {
    Rulebook::open(&args.paths, args.paths.is_empty())
}

/// Compiles rules and reports everything that is wrong with them.
fn check(args: &RulesArgs) -> Exit {
    let book = open(args);
    let warnings: Vec<(&Rule, &str)> = book
        .rules
        .iter()
        .flat_map(|rule| warnings(rule).into_iter().map(move |warning| (rule, warning)))
        .collect();
    if args.json {
        let report = json!({
            "rules": book.rules.len(),
            "errors": book.faults.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "warnings": warnings.iter().map(|(rule, warning)| json!({
                "place": rule.place.to_string(), "id": rule.id, "warning": warning,
            })).collect::<Vec<_>>(),
            "skipped": {
                "other_source": book.skipped.other_source, "retired": book.skipped.retired,
                "disabled": book.skipped.disabled, "repeated": book.skipped.repeated,
            },
        });
        if let Err(exit) = print(&format!("{report:#}\n")) {
            return exit;
        }
    } else {
        complain_of(&book);
        for (rule, warning) in &warnings {
            say(&plain(&format!("warning: {}: {warning}", rule.place)));
        }
        let skipped = book.skipped;
        let others = skipped.other_source + skipped.retired + skipped.disabled + skipped.repeated;
        let line = format!(
            "{} rule(s) compile, {} error(s), {} warning(s), {others} not run ({} for other log sources, {} retired, {} disabled, {} repeated)\n",
            grouped(book.rules.len() as u64),
            book.faults.len(),
            warnings.len(),
            skipped.other_source,
            skipped.retired,
            skipped.disabled,
            skipped.repeated,
        );
        if let Err(exit) = print(&line) {
            return exit;
        }
    }
    match (book.faults.is_empty(), warnings.is_empty()) {
        (false, _) => Exit::USAGE,
        (true, false) => Exit::FINDING,
        (true, true) => Exit::OK,
    }
}

fn warnings(rule: &Rule) -> Vec<&'static str> {
    let slow = (detect::narrowing(rule) == Some(Narrowing::None))
        .then_some("looks at every record: nothing in its condition narrows it down");
    let nameless = rule.id.starts_with("title:").then_some("has no id; alerts are known by its title");
    slow.into_iter().chain(nameless).collect()
}

/// Lists the rules that run.
fn list(args: &RulesArgs) -> Exit {
    let book = open(args);
    let text = if args.json {
        let rules: Vec<_> = book
            .rules
            .iter()
            .map(|rule| {
                json!({
                    "id": rule.id, "title": rule.title, "level": rule.level.as_str(), "status": rule.status,
                    "tags": rule.tags, "description": rule.description, "references": rule.references,
                    "falsepositives": rule.falsepositives, "response": rule.extension.response,
                    "hash": rule.hash, "file": &*rule.place.file, "line": rule.place.line,
                })
            })
            .collect();
        format!("{:#}\n", serde_json::Value::Array(rules))
    } else {
        let mut rows = vec![["LEVEL", "TITLE", "ID", "FILE"].map(str::to_owned).to_vec()];
        rows.extend(book.rules.iter().map(|rule| {
            let cells = [rule.level.as_str(), &rule.title, &rule.id, &rule.place.file];
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
