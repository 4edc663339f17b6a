//! The pack against its fixtures: every detection has a hit and a near miss, and what fires over all of them is
//! written down, so that a rule which starts to fire on a neighbour shows.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use trailhound::detect::Detections;
use trailhound::review::records;
use trailhound::review::stream::Stream;
use trailhound::rulebook::{Pack, Rulebook};
use walkdir::WalkDir;

use crate::support::{root, run};

const SNAPSHOT: &str = "fixtures/detections/fires.txt";

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries =
        WalkDir::new(folder).sort_by_file_name().into_iter().map(|entry| entry.unwrap().into_path());
    entries.filter(|path| path.to_str().unwrap().ends_with(ending)).collect()
}

/// The service and slug of a rule file or of a case's folder.
fn slug(path: &Path, base: &Path) -> String {
    path.strip_prefix(base).unwrap().with_extension("").to_str().unwrap().to_owned()
}

/// What fires over each case, taken as a stream of its own: slugs of detections, by the path of the case.
fn fires() -> BTreeMap<String, Vec<String>> {
    let detections = Detections::new(Rulebook::open(&[], Pack::Runs, None).rules);
    let base = root().join("fixtures/detections");
    let slugs = |case: &PathBuf| {
        let stream = Stream::of(&detections, &records::of_file(case).unwrap()).unwrap();
        let files = stream.fired.iter().map(|id| &*detections.rule(id).unwrap().place.file);
        let mut slugs: Vec<String> = files.map(|file| slug(Path::new(file), Path::new("pack"))).collect();
        slugs.sort();
        slugs
    };
    files(&base, ".json").iter().map(|case| (slug(case, &base), slugs(case))).collect()
}

#[test]
fn every_summary_says_who_did_what() {
    let base = root().join("fixtures/detections");
    let replayed = run(["replay".as_ref(), base.as_os_str(), "--quiet".as_ref()]);
    assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
    for alert in replayed.alerts() {
        assert!(!alert["summary"].as_str().unwrap().contains("(unknown)"), "{alert}");
    }
}

#[test]
fn every_detection_fires_on_its_hits_and_on_none_of_its_misses() {
    let fixtures = root().join("fixtures/detections");
    let tested = run(["rules".as_ref(), "test".as_ref(), "--fixtures".as_ref(), fixtures.as_os_str()]);
    assert_eq!((tested.code, tested.stderr.as_str()), (Some(0), ""), "{}", tested.stdout);
}

#[test]
fn every_detection_is_documented() {
    let rules: Value = serde_json::from_str(&run(["rules", "list", "--json"]).stdout).unwrap();
    for rule in rules.as_array().unwrap() {
        let title = &rule["title"];
        let technique = |tag: &Value| tag.as_str().unwrap().starts_with("attack.t1");
        assert!(rule["tags"].as_array().unwrap().iter().any(technique), "{title}: an ATT&CK technique");
        assert!(
            rule["falsepositives"].as_array().is_some_and(|list| !list.is_empty()),
            "{title}: false positives"
        );
        assert!(rule["description"].as_str().is_some_and(|text| text.len() > 80), "{title}: a description");
        assert!(rule["response"].is_string(), "{title}: a response");
        let id = rule["id"].as_str().unwrap();
        assert!(id.len() == 36 && id.matches('-').count() == 4, "{title}: a UUID");
    }
}

#[test]
fn what_fires_over_all_fixtures_is_written_down() {
    let mut found = String::from(
        "# Which detections fire on which case. Written by the test that reads it, if UPDATE_FIRES is set.\n",
    );
    for (case, fired) in fires() {
        found.push_str(&format!(
            "{case}: {}\n",
            if fired.is_empty() { "-".to_owned() } else { fired.join(" ") }
        ));
    }
    let path = root().join(SNAPSHOT);
    if std::env::var_os("UPDATE_FIRES").is_some() {
        fs::write(&path, &found).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let changed: Vec<&str> =
        found.lines().filter(|line| !written.lines().any(|known| known == *line)).collect();
    assert!(found == written, "{SNAPSHOT} is out of date; review, then set UPDATE_FIRES=1: {changed:#?}");
}
