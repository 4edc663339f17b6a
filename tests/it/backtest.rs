//! Two sets of rules over the same logs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{self, Run, create_user, folder, log, root, run, run_with_input, trail};

/// A rule that hits events of this name.
fn rule(id: &str, level: &str, selection: &str) -> String {
    format!(
        "title: Rule {id}\nid: {id}\nlevel: {level}\nlogsource: {{product: aws, service: cloudtrail}}\ndetection:\n  selection: {{{selection}}}\n  condition: selection\n"
    )
}

/// A record of this event, made by this user at this time.
fn record(id: &str, name: &str, user: &str, time: &str) -> String {
    create_user(id)
        .replace("CreateUser", name)
        .replace(r#""userName":"ann""#, &format!(r#""userName":"{user}""#))
        .replace("2026-03-01T10:00:00Z", time)
}

fn diff(old: &Path, new: &Path, more: &[&str], input: &[u8]) -> Run {
    let (old, new) = (old.to_str().unwrap(), new.to_str().unwrap());
    run_with_input(["replay", "-", "--diff", old, new].iter().chain(more), input)
}

/// Two sets that have one rule in common, one defined anew and one each alone.
fn sets() -> (tempfile::TempDir, tempfile::TempDir) {
    let kept = rule("b-kept", "low", "eventName: DeleteUser");
    let old = folder(&[
        ("a.yml", &rule("a-redefined", "medium", "eventName: CreateUser")),
        ("b.yml", &kept),
        ("c.yml", &rule("c-removed", "high", "eventName: [ListUsers, DeleteUser]")),
    ]);
    let new = folder(&[
        ("a.yml", &rule("a-redefined", "high", "eventName: CreateUser, userIdentity.userName: ann")),
        ("b.yml", &format!("# another layout\n{kept}")),
        ("d.yml", &rule("d-added", "informational", "eventName: GetUser")),
    ]);
    (old, new)
}

fn records() -> Vec<u8> {
    log(&[
        record("1", "CreateUser", "ann", "2026-03-01T00:00:00Z"),
        record("2", "CreateUser", "bob", "2026-03-01T01:00:00Z"),
        record("3", "DeleteUser", "ann", "2026-03-04T00:00:00Z"),
        record("2", "CreateUser", "bob", "2026-03-01T01:00:00Z"),
        record("4", "GetUser", "ann", "2026-03-03T00:00:00Z"),
        record("5", "ListUsers", "ann", "2026-03-05T00:00:00Z"),
        record("6", "Decrypt", "ann", "2026-03-02T00:00:00Z"),
    ])
}

#[test]
fn every_difference_is_a_document_in_the_order_of_records_and_rules() {
    let (old, new) = sets();
    let compared = diff(old.path(), new.path(), &[], &records());
    assert_eq!(compared.code, Some(1), "{}", compared.stderr);
    let lines = compared.alerts();
    let shown: Vec<_> = lines
        .iter()
        .map(|line| {
            let alert = if line["new"].is_null() { &line["old"] } else { &line["new"] };
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            (text(&line["difference"]), text(&line["rule"]), text(&alert["event"]["eventID"]))
        })
        .collect();
    let expected = [
        ("changed", "a-redefined", "1"),
        ("lost", "a-redefined", "2"),
        ("lost", "c-removed", "3"),
        ("gained", "d-added", "4"),
        ("lost", "c-removed", "5"),
    ];
    assert_eq!(shown, expected.map(|(one, two, three)| (one.to_owned(), two.to_owned(), three.to_owned())));
    assert_eq!(lines[0]["changes"], json!(["level", "rule.hash", "rule.level"]));
    assert_eq!((&lines[0]["old"]["level"], &lines[0]["new"]["level"]), (&json!("medium"), &json!("high")));
    assert_eq!(lines[0]["old"]["id"], lines[0]["new"]["id"]);
    assert_ne!(lines[0]["old"]["tool"]["pack"], lines[0]["new"]["tool"]["pack"]);
    assert!(lines[1]["new"].is_null() && lines[3]["old"].is_null());
    assert_eq!(lines[3]["changes"], json!([]));
}

#[test]
fn the_summary_has_the_totals() {
    let (old, new) = sets();
    let summary = tempfile::NamedTempFile::new().unwrap();
    let more = ["--summary", summary.path().to_str().unwrap(), "--output", "/dev/null"];
    let compared = diff(old.path(), new.path(), &more, &records());
    let summary: Value = serde_json::from_str(&fs::read_to_string(summary.path()).unwrap()).unwrap();
    let counts = |old: u64, new: u64, differing: [u64; 3]| {
        let day = |alerts: u64| f64::from(u32::try_from(alerts).unwrap()) / 4.0;
        let [gained, lost, changed] = differing;
        json!({
            "alerts": {"old": old, "new": new}, "per_day": {"old": day(old), "new": day(new)},
            "gained": gained, "lost": lost, "changed": changed,
        })
    };
    let found = &summary["diff"];
    assert_eq!(found["total"], counts(5, 3, [1, 3, 1]));
    let rules = json!({
        "a-redefined": counts(2, 1, [0, 1, 1]), "b-kept": counts(1, 1, [0, 0, 0]),
        "c-removed": counts(2, 0, [0, 2, 0]), "d-added": counts(0, 1, [1, 0, 0]),
    });
    assert_eq!(found["rules"], rules);
    let facts =
        ["kept", "redefined", "removed", "added", "days", "first", "last"].map(|key| found[key].clone());
    let expected = json!([1, 1, 1, 1, 4.0, "2026-03-01T00:00:00Z", "2026-03-05T00:00:00Z"]);
    assert_eq!(json!(facts), expected);
    assert_eq!(found["sets"]["old"]["detections"], 3);
    // The rest of the summary is that of the new set.
    assert_eq!((&summary["alerts"], &summary["records"]), (&json!(3), &json!(7)));
    for text in [
        "1 gained, 3 lost, 1 changed over 4.0 day(s)",
        "1 as before, 1 changed, 1 removed, 1 added",
        "Rule c-removed",
    ] {
        assert!(compared.stderr.contains(text), "{text} in {}", compared.stderr);
    }
    let quiet = diff(old.path(), new.path(), &["--quiet"], &records());
    assert_eq!((quiet.code, quiet.stderr.as_str()), (Some(1), ""));
}

#[test]
fn people_get_a_table() {
    let (old, new) = sets();
    let compared = diff(old.path(), new.path(), &["--format", "table", "--quiet"], &records());
    let lines: Vec<&str> = compared.stdout.lines().collect();
    let rows = [
        "  TIME                  LEVEL          DETECTION         WHAT HAPPENED",
        "~ 2026-03-01T00:00:00Z  high           Rule a-redefined  [level, rule.hash, rule.level] ",
        "- 2026-03-01T01:00:00Z  medium         Rule a-redefined  ",
        "- 2026-03-04T00:00:00Z  high           Rule c-removed    ",
        "+ 2026-03-03T00:00:00Z  informational  Rule d-added      ",
        "- 2026-03-05T00:00:00Z  high           Rule c-removed    ",
        "",
        "  old/day    new/day     gained       lost    changed  detection",
        "     0.50       0.25          0          1          1  Rule a-redefined",
        "     0.50       0.00          0          2          0  Rule c-removed",
        "     0.00       0.25          1          0          0  Rule d-added",
        "     1.25       0.75          1          3          1  all detections",
    ];
    assert_eq!(lines.len(), rows.len(), "{}", compared.stdout);
    for (line, row) in lines.iter().zip(rows) {
        assert!(line.starts_with(row), "{row:?} is not the beginning of {line:?}");
    }
}

/// Our own pack, with some rules altered, removed and added.
fn altered_pack() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let files = walkdir::WalkDir::new(root().join("detections")).sort_by_file_name();
    let files = files.into_iter().map(|entry| entry.unwrap().into_path());
    let rules = files.filter(|path| path.extension().is_some_and(|extension| extension == "yml"));
    for (number, path) in rules.enumerate() {
        let text = fs::read_to_string(&path).unwrap();
        let text = match number % 4 {
            _ if path.ends_with("signin/root-console-login.yml") => continue,
            0 => continue,
            1 => text,
            2 => text.replace("level: ", "level: informational # "),
            _ => text.replace("eventName: ", "eventName|contains: "),
        };
        fs::write(folder.path().join(format!("{number}.yml")), text).unwrap();
    }
    fs::write(folder.path().join("every.yml"), rule("every-call", "low", "eventSource|contains: a")).unwrap();
    folder
}

#[test]
fn it_is_the_difference_of_two_replays() {
    let altered = altered_pack();
    let trail = trail();
    let by_id = |args: &[&str]| -> BTreeMap<String, Value> {
        let alerts = run([&["replay", trail.to_str().unwrap()], args].concat()).alerts();
        let without_pack = |mut alert: Value| {
            alert["tool"]["pack"] = Value::Null;
            (alert["id"].as_str().unwrap().to_owned(), alert)
        };
        alerts.into_iter().map(without_pack).collect()
    };
    let folder = altered.path().to_str().unwrap();
    let (old, new) = (by_id(&[]), by_id(&["--no-default-detections", "--detections", folder]));
    assert!(!old.is_empty() && new.len() > 300, "{} and {}", old.len(), new.len());
    let fate = |id: &String| match (old.get(id), new.get(id)) {
        (None, Some(_)) => Some("gained"),
        (Some(_), None) => Some("lost"),
        (one, other) if one != other => Some("changed"),
        _ => None,
    };
    let ids = old.keys().chain(new.keys()).map(|id| (id.clone(), fate(id)));
    let expected: BTreeMap<String, &str> = ids.filter_map(|(id, fate)| Some((id, fate?))).collect();
    let fates: std::collections::BTreeSet<_> = expected.values().copied().collect();
    assert_eq!(fates.len(), 3, "{fates:?}");

    let outputs = ["1", "2", "7"].map(|jobs| {
        let compared = run(["replay", trail.to_str().unwrap(), "--diff", "pack", folder, "--jobs", jobs]);
        assert_eq!(compared.code, Some(1), "{}", compared.stderr);
        compared.stdout
    });
    assert!(
        outputs.iter().all(|output| *output == outputs[0]),
        "the output depends on the number of workers"
    );
    let lines = support::alerts(&outputs[0]);
    let found: BTreeMap<String, &str> = lines
        .iter()
        .map(|line| {
            let alert = if line["new"].is_null() { &line["old"] } else { &line["new"] };
            (alert["id"].as_str().unwrap().to_owned(), line["difference"].as_str().unwrap())
        })
        .collect();
    assert_eq!(lines.len(), found.len(), "a difference is told once");
    assert_eq!(found, expected);
}

#[test]
fn sets_that_tell_the_same_end_well() {
    let pack = root().join("detections");
    for [old, new] in [["pack", "pack"], ["pack", pack.to_str().unwrap()]] {
        let compared = run(["replay", trail().to_str().unwrap(), "--diff", old, new]);
        assert_eq!((compared.code, compared.stdout.as_str()), (Some(0), ""), "{}", compared.stderr);
        assert!(compared.stderr.contains("0 gained, 0 lost, 0 changed"), "{}", compared.stderr);
    }
    // Rules that differ without an alert in these logs tell the same.
    let (one, other) = (rule("x", "low", "eventName: Never"), rule("x", "high", "eventName: NeverEver"));
    let (old, new) = (folder(&[("x.yml", &one)]), folder(&[("x.yml", &other)]));
    assert_eq!(diff(old.path(), new.path(), &[], &records()).code, Some(0));
}

#[test]
fn what_is_asked_for_alone_counts() {
    let (old, new) = sets();
    let compared = diff(old.path(), new.path(), &["--from", "2026-03-04"], &records());
    let ids: Vec<_> = compared.alerts().iter().map(|line| line["old"]["event"]["eventID"].clone()).collect();
    assert_eq!(ids, ["3", "5"]);
    assert!(compared.stderr.contains("0 gained, 2 lost, 0 changed over 1.0 day(s)"), "{}", compared.stderr);
    assert_eq!(diff(old.path(), new.path(), &["--region", "us-eats-1"], &records()).code, Some(3));
}

#[test]
fn more_alerts_than_are_held_in_memory_are_compared() {
    let (old, new) = sets();
    let records: Vec<_> = (0..1200)
        .map(|number| {
            let user = if number % 3 == 0 { "ann" } else { "bob" };
            record(&number.to_string(), "CreateUser", user, "2026-03-01T00:00:00Z")
        })
        .collect();
    let compared = diff(old.path(), new.path(), &[], &log(&records));
    assert!(compared.stdout.len() > 1 << 20);
    let count = |fate: &str| compared.alerts().iter().filter(|line| line["difference"] == fate).count();
    assert_eq!(["gained", "lost", "changed"].map(count), [0, 800, 400]);
}

#[test]
fn what_one_set_cannot_read_is_told_once() {
    let (old, new) = sets();
    for (name, unreadable) in [("CreateUser", 1), ("ListUsers", 1), ("GetUser", 1), ("Decrypt", 0)] {
        let record = record("1", name, "ann", "2026-03-01T00:00:00Z").replace("\"bob\"", "bob");
        let summary = tempfile::NamedTempFile::new().unwrap();
        let path = summary.path().to_str().unwrap();
        let compared = diff(old.path(), new.path(), &["--summary", path], &log(&[record]));
        assert_eq!(compared.code, Some(if unreadable == 0 { 0 } else { 3 }), "{name}: {}", compared.stderr);
        let summary: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let undecodable: u64 =
            summary["undecodable"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
        assert_eq!(undecodable, unreadable, "{name}: {}", summary["undecodable"]);
    }
    let cut = &records()[..records().len() - 40];
    let compared = diff(old.path(), new.path(), &[], cut);
    assert_eq!(compared.code, Some(3), "what could not be read is graver than what differs");
    assert!(!compared.stdout.is_empty());
}

#[test]
fn wrong_questions_are_refused() {
    let (old, new) = sets();
    let broken = folder(&[("broken.yml", "title: [")]);
    let [old, new, broken] =
        [old.path(), new.path(), broken.path()].map(|path| path.to_str().unwrap().to_owned());
    let cases: [(&[&str], &str); 10] = [
        (&["--diff", &old], "2 values required"),
        (&["--diff", &old, &new, "--deliver"], "--deliver"),
        (&["--diff", &old, &new, "--detections", &old], "--detections"),
        (&["--diff", &old, &new, "--no-default-detections"], "--no-default-detections"),
        (&["--diff", &old, &new, "--fail-on", "high"], "--fail-on"),
        (&["--diff", &old, &new, "--diff", &old, &new], "--diff"),
        (&["--diff", &old, "./pack"], "./pack: No such file"),
        (&["--diff", "/nowhere/old", "/nowhere/new"], "/nowhere/old: No such file"),
        (&["--diff", "/nowhere/old", "/nowhere/new"], "/nowhere/new: No such file"),
        (&["--diff", &old, &broken], "broken.yml:1"),
    ];
    for (args, message) in cases {
        let ended = run_with_input([&["replay", "-"], args].concat(), &records());
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(message), "{args:?}: {}", ended.stderr);
    }
    fs::write(Path::new(&new).join("broken.yml"), "title: [").unwrap();
    let kept_going = run_with_input(["replay", "-", "--keep-going", "--diff", &old, &new], &records());
    assert_eq!((kept_going.code, kept_going.alerts().len()), (Some(1), 5), "{}", kept_going.stderr);
}
