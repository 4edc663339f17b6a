//! Rules as something to be trusted: what looks wrong with them, their cases, why they match, what they cover.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;
use trailhound::detect::{evaluate, trace};
use trailhound::event::Parser;
use trailhound::review::calls::Side;
use trailhound::review::members::{self, Answer};
use trailhound::review::records;
use trailhound::rulebook::{Pack, Rulebook};
use trailhound::sigma::Tuning;
use walkdir::WalkDir;

use crate::support::{
    Files, USER_RULE, create_user, folder, gzip, log, path_in, root, run, run_with_input, trail,
};

#[test]
fn what_looks_wrong_is_told_with_its_place_and_its_name() {
    let rule = USER_RULE
        .replace("id: user-created", "id: 00000000-0000-4000-8000-000000000001")
        .replace("eventName: CreateUser}", "eventName: CreateUsr, eventname: x}");
    let rules = folder(&[("a/b.yml", &rule)]);
    let checked = run(["rules", "check", &path_in(&rules, "a")]);
    assert_eq!(checked.code, Some(1), "{}", checked.stderr);
    for expected in [
        "a/b.yml:6: warning: `iam.amazonaws.com` has no call `CreateUsr`",
        "[unknown_call]",
        "[unknown_field]",
    ] {
        assert!(checked.stderr.contains(expected), "{expected} in {}", checked.stderr);
    }
    assert!(checked.stdout.starts_with("1 rule(s) compile, 0 error(s), 2 warning(s)"), "{}", checked.stdout);
    let json: Value =
        serde_json::from_str(&run(["rules", "check", "--json", &path_in(&rules, "a")]).stdout).unwrap();
    assert_eq!(
        (&json["warnings"][0]["lint"], &json["warnings"][0]["line"]),
        (&"unknown_call".into(), &6.into())
    );
}

#[test]
fn no_event_of_a_fixture_is_taken_for_impossible() {
    let mut branches = BTreeSet::new();
    each_record(|_, record| {
        let event: Value = serde_json::from_slice(record).unwrap();
        if let (Some(source), Some(name)) = (event["eventSource"].as_str(), event["eventName"].as_str()) {
            branches.insert(format!("    - {{eventSource: {source}, eventName: {name}}}\n"));
        }
    });
    let rule = USER_RULE.replace("id: user-created", "id: 00000000-0000-4000-8000-000000000001").replace(
        "  selection: {eventSource: iam.amazonaws.com, eventName: CreateUser}\n",
        &format!("  selection:\n{}", branches.into_iter().collect::<String>()),
    );
    let rules = folder(&[("all.yml", &rule)]);
    let checked = run(["rules", "check", &path_in(&rules, "")]);
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
}

#[test]
fn no_member_of_a_fixture_is_taken_for_impossible() {
    each_record(|path, record| {
        let event: Value = serde_json::from_slice(record).unwrap();
        let text = |key: &str| event[key].as_str().unwrap_or_default();
        for (key, side) in [("requestParameters", Side::Request), ("responseElements", Side::Response)] {
            for member in event[key].as_object().into_iter().flat_map(|members| members.keys()) {
                let answer = members::look(text("eventSource"), text("eventName"), side, member);
                assert!(!matches!(answer, Answer::Doubtful(_)), "{} {member}: {answer:?}", path.display());
            }
        }
    });
}

#[test]
fn filters_are_checked_too() {
    let filter = |rules: &str, selection: &str| {
        format!(
            "title: F\nid: 00000000-0000-4000-8000-000000000001\nlogsource: {{product: aws, service: cloudtrail}}\n\
             filter:\n  rules: {rules}\n  f: {{{selection}}}\n  condition: not f\n"
        )
    };
    for (rules, selection, code, told) in [
        // One of the pack, which the user's folder may name.
        ("[IAM user created]", "userIdentity.arn: x", 0, ""),
        ("[IAM user created]", "eventName: DeleteUser", 1, "f.yml:6: warning: `f` selects nothing"),
        (
            "[IAM user created]",
            "userIdentity.ARN: x",
            1,
            "f.yml:6: warning: `userIdentity` has no field `ARN`",
        ),
        (
            "[IAM user created]",
            "requestParameters.usrName: x",
            1,
            "f.yml:6: warning: `CreateUser` has no parameter `usrName`; is `userName` meant? (botocore ",
        ),
        ("[No such rule]", "userIdentity.arn: x", 2, "f.yml:5: "),
    ] {
        let folder = folder(&[("f.yml", &filter(rules, selection))]);
        let checked = run(["rules", "check", &path_in(&folder, "")]);
        assert_eq!(checked.code, Some(code), "{rules} {selection}: {}", checked.stderr);
        assert!(checked.stderr.contains(told), "{told} in {}", checked.stderr);
    }
}

/// Every record of the pack's cases.
fn each_record(mut look: impl FnMut(&Path, &[u8])) {
    let files = WalkDir::new(root().join("fixtures/detections")).sort_by_file_name().into_iter();
    for file in files.map(|entry| entry.unwrap().into_path()) {
        if file.extension().is_some_and(|extension| extension == "json") {
            records::of_file(&file).unwrap().iter().for_each(|record| look(&file, record));
        }
    }
}

/// `iam/user-created` of `pack/iam/user-created.yml`.
fn slug(file: &str) -> &str {
    file.trim_start_matches("pack/").trim_end_matches(".yml")
}

#[test]
fn the_traced_evaluator_equals_the_plain_one() {
    let book = Rulebook::tuned(&[], Pack::Runs, None, &Tuning::off_too());
    let mut parser = Parser::default();
    let (mut compared, mut turn) = (0, 0);
    each_record(|file, record| {
        turn += 1;
        // The second form has its parameters left out.
        let mut omitted: Value = serde_json::from_slice(record).unwrap();
        omitted["requestParameters"] = serde_json::json!({ "omitted": true });
        for record in [record, omitted.to_string().as_bytes()] {
            parser
                .parse(record, |event| {
                    for (number, rule) in book.rules.iter().enumerate() {
                        // Those that the record is meant for, and a part of the others, in turn.
                        let meant =
                            file.parent().is_some_and(|folder| folder.ends_with(slug(&rule.place.file)));
                        let Some(condition) = rule.condition().filter(|_| meant || number % 32 == turn % 32)
                        else {
                            continue;
                        };
                        let traced = trace(condition, &event, &mut |_, _| String::new());
                        assert_eq!(
                            traced.verdict,
                            evaluate(condition, &event),
                            "{} {}",
                            rule.title,
                            file.display()
                        );
                        compared += 1;
                    }
                })
                .unwrap();
        }
    });
    assert!(compared > 10_000, "{compared}");
}

#[test]
fn the_pack_passes_its_cases_from_anywhere() {
    let fixtures = root().join("fixtures/detections");
    let exported = tempfile::tempdir().unwrap();
    assert_eq!(run(["rules", "export", &path_in(&exported, "pack")]).code, Some(0));
    // Without a path: it::detections.
    for path in [path_in(&exported, "pack"), path_in(&exported, "pack/iam/user-created.yml")] {
        let mut args = vec!["rules".to_owned(), "test".into(), "--fixtures".into()];
        args.push(fixtures.to_str().unwrap().to_owned());
        args.push(path);
        let tested = run(&args);
        assert_eq!(tested.code, Some(0), "{args:?}: {}", tested.stderr);
        assert!(tested.stdout.contains(" 0 failed, 0 broken"), "{}", tested.stdout);
        assert_eq!(tested.stderr, "");
    }
}

#[test]
fn outcomes_of_cases_decide_the_exit_code() {
    let (hit, miss) = (create_user("1"), create_user("1").replace("CreateUser", "DeleteUser"));
    let list = format!("[{miss},{hit}]");
    let cases: [(Files<'_>, i32, &str); 7] = [
        (&[("x/hit-a.json", &hit), ("x/miss-b.json", &miss)], 0, ""),
        (&[("x/hit-a.json", &list), ("x/miss-b.json", &miss)], 0, ""),
        (
            &[("x/hit-a.json", &miss), ("x/miss-b.json", &miss)],
            1,
            "✗ eventName is \"CreateUser\": \"DeleteUser\"",
        ),
        (
            &[("x/hit-a.json", &hit), ("x/miss-b.json", &list)],
            1,
            "expected no alert, but one was raised: User created",
        ),
        (&[("x/hit-a.json", &hit)], 1, "there is no near miss"),
        (&[("x/hit-a.json", "{\"a\":"), ("x/miss-b.json", &miss)], 2, "broken: "),
        (
            &[("x/hit-a.json", &hit), ("x/miss-b.json", &miss), ("x/other.json", &miss)],
            2,
            "the name of a case",
        ),
    ];
    let rules = folder(&[("x.yml", USER_RULE)]);
    for (files, code, told) in cases {
        let fixtures = folder(files);
        let report = path_in(&fixtures, "report.xml");
        let tested = run([
            "rules",
            "test",
            &path_in(&rules, ""),
            "--fixtures",
            &path_in(&fixtures, ""),
            "--junit",
            &report,
        ]);
        assert_eq!(tested.code, Some(code), "{files:?}: {}{}", tested.stdout, tested.stderr);
        assert!(tested.stderr.contains(told), "{told} in {}", tested.stderr);
        let xml = fs::read_to_string(report).unwrap();
        assert!(xml.contains("<testsuite ") && xml.contains(r#"name="hit-a""#), "{xml}");
    }
    let orphan = folder(&[("x/hit-a.json", &hit), ("x/miss-b.json", &miss), ("y/hit-a.json", &hit)]);
    let tested = run(["rules", "test", &path_in(&rules, ""), "--fixtures", &path_in(&orphan, "")]);
    assert!(tested.stderr.contains("y: belongs to no rule"), "{}", tested.stderr);
    let nowhere = run(["rules", "test", "--fixtures", &path_in(&orphan, "nowhere")]);
    assert_eq!(nowhere.code, Some(2), "{}", nowhere.stderr);
}

#[test]
fn a_match_and_its_absence_are_explained() {
    let rules =
        folder(&[("x.yml", &USER_RULE.replace("CreateUser}", "CreateUser, requestParameters.password: x}"))]);
    let record = create_user("1").replace("\"bob\"", "\"bob\",\"password\":\"hunter2\\u001b\"");
    let other = record.replace("CreateUser", "DeleteUser\\u001b[31m");
    let events = folder(&[("one.json", &record), ("two.json", &format!("[{record},{other}]"))]);
    let rule = path_in(&rules, "x.yml");
    let explain = |event: &str| run(["rules", "explain", &rule, &path_in(&events, event)]);

    let one = explain("one.json");
    assert_eq!(one.code, Some(0), "{}", one.stderr);
    assert!(one.stdout.contains("✓ eventName is \"CreateUser\": \"CreateUser\""), "{}", one.stdout);
    assert!(one.stdout.contains("✗ requestParameters.password is \"x\": \"[masked]\""), "{}", one.stdout);
    let second = explain("two.json#1");
    assert!(
        second.stdout.contains("no match\n") && second.stdout.contains("✗ eventName"),
        "{}",
        second.stdout
    );
    assert!(!second.stdout.contains('\u{1b}'));
    for (event, told) in [
        ("two.json", "holds 2 records"),
        ("two.json#2", "there is no record 2"),
        ("none.json", "No such file"),
    ] {
        let refused = explain(event);
        assert_eq!(refused.code, Some(2));
        assert!(refused.stderr.contains(told), "{told} in {}", refused.stderr);
    }

    let piped = run_with_input(["rules", "explain", &rule, "-", "--json"], record.as_bytes());
    let json: Value = serde_json::from_str(&piped.stdout).unwrap();
    assert_eq!((&json["verdict"], &json["condition"]["is"]), (&"no match".into(), &"selection".into()));
    let omitted = record.replace("\"requestParameters\":{", "\"requestParameters\":{\"omitted\":true,");
    let unknown = run_with_input(["rules", "explain", &rule, "-"], omitted.as_bytes());
    assert!(
        unknown.stdout.contains("? requestParameters.password is \"x\": omitted by CloudTrail"),
        "{}",
        unknown.stdout
    );
    assert_eq!(run(["rules", "explain", "no-such-rule", &path_in(&events, "one.json")]).code, Some(2));
}

#[test]
fn an_alert_is_explained_by_its_object() {
    let replayed = run(["replay".as_ref(), trail().as_os_str()]);
    let alert = &replayed.alerts()[0];
    let (id, key) = (alert["id"].as_str().unwrap(), alert["origin"]["key"].as_str().unwrap());
    let explained = run(["rules", "explain", id, key, "--json"]);
    let json: Value = serde_json::from_str(&explained.stdout).unwrap();
    assert_eq!((&json["rule"]["id"], &json["verdict"]), (&alert["rule"]["id"], &"match".into()));
    assert_eq!(json["event"]["id"], alert["event"]["eventID"]);

    let elsewhere = tempfile::NamedTempFile::with_suffix(".json.gz").unwrap();
    fs::write(elsewhere.path(), gzip(&log(&[create_user("1")]))).unwrap();
    let refused = run(["rules", "explain", id, elsewhere.path().to_str().unwrap()]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("no record of the object raises the alert"), "{}", refused.stderr);
}

#[test]
fn the_exported_pack_is_the_embedded_one() {
    let exported = tempfile::tempdir().unwrap();
    let folder = path_in(&exported, "pack");
    assert_eq!(run(["rules", "export", &folder]).code, Some(0));
    let (embedded, own) =
        (Rulebook::open(&[], Pack::Runs, None), Rulebook::open(&[folder.clone().into()], Pack::Absent, None));
    assert_eq!(embedded.identity(), own.identity());
    let unchanged = format!("{} of them unchanged", Rulebook::files(&[], true).len());
    assert!(run(["rules", "export", &folder]).stdout.contains(&unchanged));

    let edited = path_in(&exported, "pack/iam/user-created.yml");
    fs::write(&edited, "edited").unwrap();
    fs::remove_file(path_in(&exported, "pack/iam/user-deleted.yml")).unwrap();
    let refused = run(["rules", "export", &folder]);
    assert_eq!(refused.code, Some(2));
    assert!(
        refused.stderr.contains("iam/user-created.yml: is there with another content"),
        "{}",
        refused.stderr
    );
    assert_eq!(fs::read_to_string(edited).unwrap(), "edited");
    assert!(!Path::new(&path_in(&exported, "pack/iam/user-deleted.yml")).exists(), "nothing was written");
}

#[test]
fn coverage_is_a_table_and_a_layer() {
    let table = run(["rules", "coverage"]).stdout;
    for expected in ["T1098.003", "changes of IAM policies", "changes of VPCs"] {
        assert!(table.contains(expected), "{expected} in {table}");
    }
    let layer: Value = serde_json::from_str(&run(["rules", "coverage", "--json"]).stdout).unwrap();
    assert_eq!((&layer["domain"], &layer["versions"]["layer"]), (&"enterprise-attack".into(), &"4.5".into()));
    for technique in layer["techniques"].as_array().unwrap() {
        assert!(technique["techniqueID"].as_str().unwrap().starts_with('T') && technique["score"].is_u64());
    }
}

#[test]
fn the_readme_shows_the_coverage() {
    let shown = run(["rules", "coverage", "--markdown"]).stdout;
    let path = root().join("README.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once("<!-- coverage -->\n").unwrap();
    let (written, after) = rest.split_once("<!-- /coverage -->").unwrap();
    if std::env::var_os("UPDATE_COVERAGE").is_some() {
        let text = format!("{before}<!-- coverage -->\n{shown}<!-- /coverage -->{after}");
        fs::write(&path, text).unwrap();
        return;
    }
    assert_eq!(
        written, shown,
        "the tables of the README are out of date: review, then set UPDATE_COVERAGE=1"
    );
}
