//! `trailhound rules check`

use serde_json::json;

use super::{Exit, RulesArgs, complain_of, grouped, off, open, plain, print, say};
use crate::review::lint::{Finding, Subject, Weight, lint};
use crate::rulebook::Rulebook;
use crate::sigma::Rule;

/// Compiles rules and reports everything that is wrong with them, or looks wrong.
pub(super) fn check(args: &RulesArgs) -> Exit {
    let book = open(&args.paths, args.values.as_deref());
    let files = Rulebook::files(&args.paths, args.paths.is_empty());
    let aside = pack_beside(args);
    let findings = lint(Subject { rules: &book.rules, filters: &book.filters, aside: &aside, files: &files });
    let warnings = findings.iter().filter(|finding| finding.weight == Weight::Warning).count();
    let answer = if args.json {
        format!("{:#}\n", as_json(&book, &findings))
    } else {
        complain_of(&book);
        for Finding { weight, place, message, lint, .. } in &findings {
            say(&plain(&format!("{place}: {}: {message} [{lint}]", word(*weight))));
        }
        sum(&book, warnings)
    };
    if let Err(exit) = print(&answer) {
        return exit;
    }
    match (book.faults.is_empty(), warnings == 0) {
        (false, _) => Exit::USAGE,
        (true, false) => Exit::FINDING,
        (true, true) => Exit::OK,
    }
}

/// The pack, where the user's rules are checked and may name those of the pack.
fn pack_beside(args: &RulesArgs) -> Vec<Rule> {
    if args.paths.is_empty() { Vec::new() } else { open(&[], args.values.as_deref()).rules }
}

fn word(weight: Weight) -> &'static str {
    match weight {
        Weight::Warning => "warning",
        Weight::Note => "note",
    }
}

fn as_json(book: &Rulebook, findings: &[Finding]) -> serde_json::Value {
    let of = |weight: Weight| -> Vec<serde_json::Value> {
        let findings = findings.iter().filter(|finding| finding.weight == weight);
        let json = |finding: &Finding| {
            json!({
                "place": finding.place.to_string(), "file": &*finding.place.file, "line": finding.place.line,
                "id": finding.rule, "lint": finding.lint, word(weight): finding.message,
            })
        };
        findings.map(json).collect()
    };
    json!({
        "rules": book.rules.len(),
        "off": off(&book.rules),
        "errors": book.faults.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "warnings": of(Weight::Warning),
        "notes": of(Weight::Note),
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
        "{} rule(s) compile, {} error(s), {warnings} warning(s), {} off, {others} not run ({} for other log sources, {} retired, {} disabled, {} repeated)\n",
        grouped(book.rules.len() as u64),
        book.faults.len(),
        grouped(off(&book.rules) as u64),
        skipped.other_source,
        skipped.retired,
        skipped.disabled,
        skipped.repeated,
    )
}
