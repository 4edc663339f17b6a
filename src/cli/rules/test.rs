//! `trailhound rules test`

use std::path::{Path, PathBuf};

use super::{Exit, TestArgs, complain, complain_of, open, plain, print, say, terminal};
use crate::review::cases::{self, Outcome, Report};
use crate::review::junit::{NAMELESS, junit};

/// Where the cases of the pack are in a checkout.
const FIXTURES: &str = "fixtures/detections";

/// Runs rules against their cases.
pub(super) fn test(args: &TestArgs) -> Exit {
    let fixtures = args.fixtures.clone().unwrap_or_else(|| PathBuf::from(FIXTURES));
    if !fixtures.is_dir() {
        complain(&plain(&format!("{}: no such folder; --fixtures names one with cases", fixtures.display())));
        return Exit::USAGE;
    }
    let book = open(&args.paths, args.values.as_deref());
    let broken = complain_of(&book);
    let report = cases::run(&book.rules, &args.paths, &fixtures);
    if let Some(file) = &args.junit
        && let Err(exit) = write(file, &junit(&report))
    {
        return exit;
    }
    tell(&report, &fixtures);
    if let Err(exit) = print(&sum(&report)) {
        return exit;
    }
    exit(&report, broken)
}

fn write(file: &Path, text: &str) -> Result<(), Exit> {
    std::fs::write(file, text)
        .map_err(|error| terminal::not_written(&plain(&file.display().to_string()), &error))
}

/// Everything that is not as it should be, on standard error.
fn tell(report: &Report, fixtures: &Path) {
    for (path, error) in &report.faults {
        complain(&plain(&format!("{}: {error}", path.display())));
    }
    for folder in &report.orphans {
        let folder = fixtures.join(folder);
        say(&plain(&format!("warning: {}: belongs to no rule that was tested", folder.display())));
    }
    for suite in &report.suites {
        for case in &suite.cases {
            let place = format!("{}, {}", suite.file, case.name);
            let line = match &case.outcome {
                Outcome::Passed => continue,
                Outcome::Failed(failure) => format!("failed: {place}: {}", failure.message),
                Outcome::Broken(error) => format!("broken: {place}: {error}"),
                Outcome::Nameless => format!("broken: {place}: {NAMELESS}"),
            };
            say(&plain(&line));
            if let Outcome::Failed(failure) = &case.outcome {
                failure.details.iter().for_each(|detail| say(&plain(&format!("  {detail}"))));
            }
        }
    }
}

fn sum(report: &Report) -> String {
    format!(
        "{} rule file(s): {} case(s) passed, {} failed, {} broken\n",
        report.suites.len(),
        report.count(is_passed),
        report.count(is_failed),
        report.count(is_broken),
    )
}

fn is_passed(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Passed)
}

fn is_failed(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed(_))
}

fn is_broken(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Broken(_) | Outcome::Nameless)
}

fn exit(report: &Report, broken: bool) -> Exit {
    if broken || !report.faults.is_empty() || report.count(is_broken) > 0 {
        Exit::USAGE
    } else if report.suites.is_empty() {
        Exit::INCOMPLETE
    } else if report.count(is_failed) > 0 {
        Exit::FINDING
    } else {
        Exit::OK
    }
}
