//! Detections that are switched and graded in the configuration.

use serde_json::Value;
use trailhound::rulebook::{Pack, Rulebook};
use trailhound::sigma::{Adjustment, Place, Selector, Tuning};

use crate::support::{USER_RULE, create_user, folder, log, path_in, run};

/// A rule that is on and one that is off, both of which see a user created.
fn rules() -> tempfile::TempDir {
    let off = USER_RULE.replace("id: user-created", "id: user-created-2\ntags: [cis.aws.v5.0.4.4]");
    let off = off.replace("title: User created", "title: Also") + "trailhound: {enabled: false}\n";
    let events = String::from_utf8(log(&[create_user("e1")])).unwrap();
    folder(&[("rules/on.yml", USER_RULE), ("rules/off.yml", &off), ("logs/a.json", &events)])
}

/// Replays the event with this configuration; exit code, alerts, standard error.
fn replay(tuning: &str) -> (Option<i32>, Vec<Value>, String) {
    let files = rules();
    let config = format!("detections = [{:?}]\n{tuning}", path_in(&files, "rules"));
    let path = path_in(&files, "config.toml");
    std::fs::write(&path, config).unwrap();
    let replayed =
        run(["replay", &path_in(&files, "logs"), "-c", &path, "--no-default-detections", "--quiet"]);
    (replayed.code, replayed.alerts(), replayed.stderr)
}

#[test]
fn a_replay_heeds_the_configuration() {
    let cases: [(&str, &[&str]); 4] = [
        ("", &["user-created high"]),
        (
            "[[tuning]]\ndetections = ['tag:cis.*']\nenabled = true\nlevel = 'low'",
            &["user-created high", "user-created-2 low"],
        ),
        ("[[tuning]]\ndetections = ['user-created']\nlevel = 'critical'", &["user-created critical"]),
        (
            "[[tuning]]\ndetections = ['*']\nenabled = false\n[[tuning]]\ndetections = ['user-created-2']\nenabled = true",
            &["user-created-2 high"],
        ),
    ];
    for (tuning, expected) in cases {
        let (code, alerts, stderr) = replay(tuning);
        assert_eq!(code, Some(0), "{stderr}");
        let mut told: Vec<String> = alerts
            .iter()
            .map(|alert| {
                format!("{} {}", alert["rule"]["id"].as_str().unwrap(), alert["level"].as_str().unwrap())
            })
            .collect();
        told.sort();
        assert_eq!(told, expected, "{tuning}");
    }
}

#[test]
fn another_level_shows_in_the_hashes_but_not_in_the_id() {
    let (_, as_written, _) = replay("");
    let (_, graded, _) = replay("[[tuning]]\ndetections = ['user-created']\nlevel = 'low'");
    let (one, other) = (&as_written[0], &graded[0]);
    assert_eq!(one["id"], other["id"]);
    assert_ne!(one["rule"]["hash"], other["rule"]["hash"]);
    assert_ne!(one["tool"]["pack"], other["tool"]["pack"]);
}

#[test]
fn what_selects_nothing_ends_the_program() {
    let (code, _, stderr) =
        replay("\n[[tuning]]\ndetections = ['user-craeted', 'tag:nist']\nenabled = false");
    assert_eq!(code, Some(2), "{stderr}");
    assert!(
        stderr.contains("config.toml:3: there is no detection `user-craeted`; did you mean `user-created`?"),
        "{stderr}"
    );
    assert!(stderr.contains("config.toml:3: there is no detection `tag:nist`"), "{stderr}");
}

#[test]
fn rules_that_are_off_are_listed_and_tested() {
    let files = rules();
    let folder = path_in(&files, "rules");
    let listed: Value = serde_json::from_str(&run(["rules", "list", &folder, "--json"]).stdout).unwrap();
    let enabled: Vec<_> =
        listed.as_array().unwrap().iter().map(|rule| rule["enabled"].as_bool().unwrap()).collect();
    assert_eq!(enabled, [false, true]);
    let checked = run(["rules", "check", &folder]);
    assert!(
        checked.stdout.starts_with("2 rule(s) compile, 0 error(s), ") && checked.stdout.contains(", 1 off, ")
    );
    let cases = path_in(&files, "cases");
    for name in ["on/hit-a.json", "on/miss-a.json", "off/hit-a.json", "off/miss-a.json"] {
        let event = create_user("e1");
        let event = if name.contains("hit") { event } else { event.replace("CreateUser", "GetUser") };
        let path = std::path::Path::new(&cases).join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, event).unwrap();
    }
    let tested = run(["rules", "test", &folder, "--fixtures", &cases]);
    assert_eq!((tested.code, tested.stderr.as_str()), (Some(0), ""), "{}", tested.stdout);
    assert!(tested.stdout.starts_with("2 rule file(s): 4 case(s) passed"), "{}", tested.stdout);
}

#[test]
fn the_whole_pack_can_be_switched_on() {
    let tuning = Tuning {
        adjustments: vec![Adjustment {
            place: Place { file: "config.toml".into(), line: 1 },
            detections: vec![Selector::Every],
            enabled: Some(true),
            level: None,
        }],
        off_too: false,
    };
    let book = Rulebook::tuned(&[], Pack::Runs, None, &tuning);
    let faults: Vec<String> = book.faults.iter().map(ToString::to_string).collect();
    assert_eq!(faults, [""; 0]);
    let all = Rulebook::tuned(&[], Pack::Runs, None, &Tuning::off_too());
    assert_eq!(book.rules.len(), all.rules.len());
}
