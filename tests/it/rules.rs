//! Rules as input: what is wrong with them is told, all of it, each with its file and line.

use std::fs;

use serde_json::Value;

use crate::support::{USER_RULE, create_user, log, run, run_with_input};

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn bomb() -> String {
    let mut text = "a: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("b{level}: &a{level} [{aliases}]\n"));
    }
    text
}

#[test]
fn broken_rules_are_all_told() {
    let rules = folder(&[
        ("good.yml", USER_RULE),
        ("modifier.yml", &USER_RULE.replace("eventName:", "eventName|contans:")),
        ("condition.yml", &USER_RULE.replace("condition: selection", "condition: selection and not filter")),
        ("bomb.yml", &bomb()),
        ("syntax.yml", "title: [\n"),
    ]);
    let path = rules.path().to_str().unwrap();
    let checked = run(["rules", "check", path]);
    assert_eq!(checked.code, Some(2));
    for message in [
        "modifier.yml:6: ",
        "contans",
        "condition.yml:7: ",
        "`filter`",
        "bomb.yml:",
        "too many values",
        "syntax.yml:1: not YAML",
    ] {
        assert!(checked.stderr.contains(message), "{message} in {}", checked.stderr);
    }
    assert!(checked.stdout.starts_with("1 rule(s) compile, 4 error(s)"), "{}", checked.stdout);

    let input = log(&[create_user("1")]);
    let strict = run_with_input(["replay", "-", "--no-default-detections", "--detections", path], &input);
    assert_eq!((strict.code, strict.stdout.as_str()), (Some(2), ""), "nothing was run");
    let lenient = run_with_input(
        ["replay", "-", "--no-default-detections", "--keep-going", "--detections", path],
        &input,
    );
    assert_eq!((lenient.code, lenient.alerts().len()), (Some(0), 1));
    assert_eq!(lenient.stderr.matches("warning: left out: ").count(), 4, "{}", lenient.stderr);
}

#[test]
fn a_folder_without_a_rule_is_an_error() {
    let windows = USER_RULE.replace("aws", "windows");
    let rules = folder(&[("windows.yml", &windows)]);
    let ended = run_with_input(["replay", "-", "--detections", rules.path().to_str().unwrap()], b"[]");
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("holds no rule over CloudTrail"), "{}", ended.stderr);
}

#[test]
fn warnings_alone_are_a_finding() {
    let slow = USER_RULE
        .replace("eventName: CreateUser", "requestParameters.userName: null")
        .replace("eventSource: iam.amazonaws.com, ", "");
    let rules = folder(&[("slow.yml", &slow)]);
    let path = rules.path().to_str().unwrap();
    let checked = run(["rules", "check", path]);
    assert_eq!(checked.code, Some(1), "{}", checked.stderr);
    assert!(checked.stderr.contains("slow.yml:1: warning: looks at every record"), "{}", checked.stderr);
    let json: Value = serde_json::from_str(&run(["rules", "check", "--json", path]).stdout).unwrap();
    let lints: Vec<&Value> =
        json["warnings"].as_array().unwrap().iter().map(|warning| &warning["lint"]).collect();
    assert_eq!(
        (&json["rules"], &lints[..]),
        (&1.into(), &[&"looks_at_everything".into(), &"invalid_id".into()][..])
    );
}

#[test]
fn the_pack_has_nothing_wrong_with_it() {
    let checked = run(["rules", "check"]);
    assert_eq!(checked.code, Some(0), "{}{}", checked.stdout, checked.stderr);
    let rules: Value = serde_json::from_str(&run(["rules", "list", "--json"]).stdout).unwrap();
    let rules = rules.as_array().unwrap();
    assert!(rules.len() >= 30, "{} rules", rules.len());
    let table = run(["rules", "list"]).stdout;
    for rule in rules {
        assert!(table.contains(rule["title"].as_str().unwrap()));
    }
}

#[test]
fn identical_rules_load_once_and_different_ones_of_one_id_do_not() {
    let rules = folder(&[("a.yml", USER_RULE), ("b.yml", USER_RULE)]);
    let input = log(&[create_user("1")]);
    let path = rules.path().to_str().unwrap();
    let replayed = run_with_input(["replay", "-", "--no-default-detections", "--detections", path], &input);
    assert_eq!((replayed.code, replayed.alerts().len()), (Some(0), 1), "{}", replayed.stderr);

    fs::write(rules.path().join("b.yml"), USER_RULE.replace("CreateUser", "DeleteUser")).unwrap();
    let refused = run_with_input(["replay", "-", "--no-default-detections", "--detections", path], &input);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("b.yml:1") && refused.stderr.contains("a.yml:1"), "{}", refused.stderr);
}
