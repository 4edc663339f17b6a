//! `trailhound rules check`

use serde_json::json;

use super::{Exit, RulesArgs, complain_of, grouped, open, plain, print, say};
use crate::review::lint::{Finding, lint};
use crate::rulebook::Rulebook;

/// Compiles rules and reports everything that is wrong with them, or looks wrong.
pub(super) fn check(args: &RulesArgs) -> Exit {
    let book = open(&args.paths, args.values.as_deref());
    let findings = lint(&book.rules, &Rulebook::files(&args.paths, args.paths.is_empty()));
    let answer = if args.json {
        format!("{:#}\n", as_json(&book, &findings))
    } else {
        complain_of(&book);
        for Finding { place, message, lint, .. } in &findings {
            say(&plain(&format!("{place}: warning: {message} [{lint}]")));
        }
        sum(&book, findings.len())
    };
    if let Err(exit) = print(&answer) {
        return exit;
    }
    match (book.faults.is_empty(), findings.is_empty()) {
        (false, _) => Exit::USAGE,
        (true, false) => Exit::FINDING,
        (true, true) => Exit::OK,
    }
}

fn as_json(book: &Rulebook, findings: &[Finding]) -> serde_json::Value {
    let warning = |finding: &Finding| {
        json!({
            "place": finding.place.to_string(), "file": &*finding.place.file, "line": finding.place.line,
            "id": finding.rule, "lint": finding.lint, "warning": finding.message,
        })
    };
    json!({
        "rules": book.rules.len(),
        "errors": book.faults.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "warnings": findings.iter().map(warning).collect::<Vec<_>>(),
        "skipped": {
            "other_source": book.skipped.other_source, "retired": book.skipped.retired,
            "disabled": book.skipped.disabled, "repeated": book.skipped.repeated,
        },
    })
}

fn sum(book: &Rulebook, warnings: usize) -> String {
    let skipped = book.skipped;
    let others = skipped.other_source + skipped.retired + skipped.disabled + skipped.repeated;
    format!(
        "{} rule(s) compile, {} error(s), {warnings} warning(s), {others} not run ({} for other log sources, {} retired, {} disabled, {} repeated)\n",
        grouped(book.rules.len() as u64),
        book.faults.len(),
        skipped.other_source,
        skipped.retired,
        skipped.disabled,
        skipped.repeated,
    )
}
