//! Imports go one way: the table in the crate's documentation, held by a test.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use walkdir::WalkDir;

use crate::support::root;

/// Which of our modules each module may import.
const MAY_IMPORT: [(&str, &[&str]); 29] = [
    ("event", &[]),
    ("sigma", &["event"]),
    ("detect", &["event", "sigma"]),
    ("decode", &["event"]),
    ("announce", &[]),
    ("clock", &[]),
    ("metrics", &[]),
    ("ledger", &["metrics"]),
    ("ration", &[]),
    ("fetch", &["announce"]),
    ("folder", &["announce", "fetch"]),
    ("alert", &["event", "sigma", "detect", "clock", "metrics"]),
    ("horizon", &["detect"]),
    ("state", &["alert", "announce", "clock", "detect", "event", "horizon", "metrics", "worker"]),
    ("config", &["alert", "decode", "sigma"]),
    ("intake", &["alert", "announce", "fetch", "metrics"]),
    ("worker", &["alert", "decode", "detect", "event", "fetch"]),
    ("pack", &["sigma"]),
    ("rulebook", &["event", "pack", "sigma"]),
    ("reload", &["alert", "config", "detect", "metrics", "rulebook", "sigma", "state", "worker"]),
    ("review", &["alert", "decode", "detect", "event", "fetch", "folder", "sigma"]),
    ("watch", &["announce", "clock", "folder", "intake", "metrics", "ration"]),
    ("retry", &["announce", "clock", "intake", "state"]),
    ("aws", &["alert", "announce", "clock", "config", "fetch", "intake", "metrics", "state"]),
    ("admin", &["intake", "ledger", "metrics"]),
    (
        "pipeline",
        &[
            "alert", "announce", "clock", "decode", "detect", "event", "fetch", "horizon", "intake",
            "metrics", "ration", "state", "worker",
        ],
    ),
    ("replay", &["alert", "announce", "decode", "detect", "event", "fetch", "folder", "sigma", "worker"]),
    ("seed", &["detect", "replay", "state", "worker"]),
    (
        "daemon",
        &[
            "admin", "alert", "aws", "clock", "config", "detect", "fetch", "folder", "horizon", "intake",
            "ledger", "metrics", "pipeline", "reload", "replay", "retry", "rulebook", "seed", "sigma",
            "state", "watch", "worker",
        ],
    ),
];

/// Cargo runs it to build the program: it is another one.
const BUILD: &str = "pack/build.rs";

/// Every source file but those of tests and the build: its module, its path below `src`, its text without tests and comments.
fn sources() -> Vec<(String, String, String)> {
    let base = root().join("src");
    let paths = WalkDir::new(&base).into_iter().map(|entry| entry.unwrap().into_path());
    let is_test = |path: &std::path::Path| path.iter().any(|part| part == "tests");
    let files = paths.filter(|path| {
        path.extension().is_some_and(|extension| extension == "rs")
            && !is_test(path)
            && !path.ends_with(BUILD)
    });
    files
        .map(|path| {
            let name = path.strip_prefix(&base).unwrap().to_str().unwrap().to_owned();
            let module = name.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            (module, name, code.join("\n"))
        })
        .collect()
}

fn imports(text: &str) -> BTreeSet<String> {
    let uses = text.split("crate::").skip(1);
    uses.map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap().to_owned())
        .collect()
}

#[test]
fn imports_go_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_IMPORT.into_iter().collect();
    let mut problems = Vec::new();
    for (module, name, text) in sources() {
        // The test files of a module may use what they like; the roots see everything.
        if ["main", "lib", "cli"].contains(&module.as_str()) || name.ends_with("/tests.rs") {
            continue;
        }
        let Some(allowed) = allowed.get(module.as_str()) else {
            problems.push(format!("{module} is not in the table"));
            continue;
        };
        for import in imports(&text) {
            if import != module && !allowed.contains(&import.as_str()) {
                problems.push(format!("{name} imports {import}"));
            }
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn the_map_shows_the_table() {
    let map = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    for (module, allowed) in MAY_IMPORT {
        let row = map.lines().find(|line| line.starts_with(&format!("//! | {module} |")));
        let row = row.unwrap_or_else(|| panic!("{module} is missing in the map of src/lib.rs"));
        let shown = row.split('|').nth(2).unwrap().trim();
        let expected = if allowed.is_empty() { "nothing".to_owned() } else { allowed.join(", ") };
        assert_eq!(shown, expected, "{module}");
    }
}

#[test]
fn names_stay_where_they_belong() {
    let mut problems = Vec::new();
    for (module, name, text) in sources() {
        let core = ["event", "sigma", "detect", "decode"].contains(&module.as_str());
        let rules = [
            ("aws_", module != "aws"),
            ("std::env::", module != "config"),
            ("println!", true),
            ("tokio::", core),
            ("std::fs", core),
            ("std::net::Tcp", core),
            ("Instant::now", core),
            ("Timestamp::now", module != "clock"),
            ("unsafe ", name != "decode/inflate.rs"),
        ];
        for (word, forbidden) in rules {
            // Set at compile time, these are no environment.
            let text = text.replace("env!(\"CARGO_PKG_VERSION\")", "");
            if forbidden && text.contains(word) {
                problems.push(format!("{name}: {word}"));
            }
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}
