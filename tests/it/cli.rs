//! Flags, outputs and exit codes.

use std::fs;
use std::io::Read;
use std::process::Stdio;

use serde_json::Value;

use crate::support::{self, create_user, gzip, ids, log, run, run_with_input, trail, user_rule};

#[test]
fn the_quick_starts_archive_raises_what_it_promises() {
    let replayed = run(["replay".as_ref(), trail().as_os_str()]);
    assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
    let alerts = replayed.alerts();
    assert_eq!(ids(&alerts).len(), alerts.len(), "an id is told once");
    for name in
        ["ConsoleLogin", "DeactivateMFADevice", "UpdateAccountPasswordPolicy", "CreateUser", "PutUserPolicy"]
    {
        let has = |alert: &Value| {
            let listed = alert["events"].as_array().into_iter().flatten().map(|listed| &listed["event"]);
            listed.chain([&alert["event"]]).any(|event| event["eventName"] == name)
        };
        assert!(alerts.iter().any(has), "{name}");
    }
    for alert in &alerts {
        assert!(alert["detected_at"].is_null() && alert["origin"]["received_at"].is_null());
        assert!(!alert["summary"].as_str().unwrap().contains("(unknown)"), "{}", alert["summary"]);
    }
}

#[test]
fn output_does_not_depend_on_the_number_of_workers() {
    let outputs =
        ["1", "2", "7", "2"].map(|jobs| run(["replay", trail().to_str().unwrap(), "--jobs", jobs]).stdout);
    assert!(!outputs[0].is_empty());
    for output in &outputs {
        assert_eq!(*output, outputs[0]);
    }
}

#[test]
fn alerts_come_in_the_order_of_sources_then_paths_then_records() {
    let (folder, rules) = (tempfile::tempdir().unwrap(), user_rule());
    let record = |id: &str| create_user(id);
    fs::write(folder.path().join("b.json"), log(&[record("3"), record("4")])).unwrap();
    fs::write(folder.path().join("a.json.gz"), gzip(&log(&[record("1"), record("2")]))).unwrap();
    fs::write(folder.path().join("c.ndjson"), [record("5"), record("1"), record("6")].join("\n")).unwrap();
    let one = folder.path().join("c.ndjson");
    let rules = rules.path().to_str().unwrap();
    let args = [
        "replay",
        one.to_str().unwrap(),
        folder.path().to_str().unwrap(),
        "--no-default-detections",
        "--detections",
        rules,
    ];
    let replayed = run(args);
    let events: Vec<String> = replayed
        .alerts()
        .iter()
        .map(|alert| alert["event"]["eventID"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(events, ["5", "1", "6", "2", "3", "4"]);
}

#[test]
fn levels_decide_the_exit_code() {
    let rules = user_rule();
    let replay = |extra: &[&str]| {
        let base = [
            "replay",
            "-",
            "--quiet",
            "--no-default-detections",
            "--detections",
            rules.path().to_str().unwrap(),
        ];
        run_with_input(base.iter().chain(extra), &log(&[create_user("1")])).code
    };
    assert_eq!(replay(&[]), Some(0));
    assert_eq!(replay(&["--fail-on", "critical"]), Some(0));
    assert_eq!(replay(&["--fail-on", "high"]), Some(1));
    assert_eq!(replay(&["--fail-on", "low"]), Some(1));
    assert_eq!(replay(&["--fail-on", "severe"]), Some(2));
}

#[test]
fn a_span_of_time_is_half_open_and_days_are_whole() {
    let rules = user_rule();
    let at = |id: &str, time: &str| create_user(id).replace("2026-03-01T10:00:00Z", time);
    let records = log(&[
        at("before", "2026-02-28T23:59:59Z"),
        at("first", "2026-03-01T00:00:00Z"),
        at("last", "2026-03-01T23:59:59Z"),
        at("after", "2026-03-02T00:00:00Z"),
    ]);
    let replay = |extra: &[&str]| {
        let base = ["replay", "-", "--no-default-detections", "--detections", rules.path().to_str().unwrap()];
        let replayed = run_with_input(base.iter().chain(extra), &records);
        let found: Vec<String> = replayed
            .alerts()
            .iter()
            .map(|alert| alert["event"]["eventID"].as_str().unwrap().to_owned())
            .collect();
        (found.join(" "), replayed)
    };
    let (found, replayed) = replay(&["--from", "2026-03-01", "--to", "2026-03-01"]);
    assert_eq!(found, "first last");
    assert!(
        replayed.stderr.contains("from 2026-03-01T00:00:00Z to before 2026-03-02T00:00:00Z"),
        "{}",
        replayed.stderr
    );
    assert_eq!(replay(&["--from", "2026-03-01T23:59:59Z"]).0, "last after");
    assert_eq!(replay(&["--to", "2026-03-01T00:00:00Z"]).0, "before");
    assert_eq!(replay(&["--account", "999999999999"]).0, "");
    assert_eq!(replay(&["--region", "us-east-1", "--account", "111122223333"]).0, "before first last after");

    for nothing in [["--from", "2030-01-01"], ["--region", "us-eats-1"], ["--account", "999999999999"]] {
        for quiet in [&[][..], &["--quiet"]] {
            let (_, outside) = replay(&[&nothing[..], quiet].concat());
            assert_eq!(outside.code, Some(3), "nothing is not a clean answer");
            assert!(outside.stderr.contains("not a single record is of those"), "{}", outside.stderr);
        }
    }
    for (extra, message) in
        [(["--from", "2026-03-01T10:00:00"], "neither a day"), (["--to", "tomorrow"], "neither a day")]
    {
        let (_, replayed) = replay(&extra);
        assert_eq!(replayed.code, Some(2));
        assert!(replayed.stderr.contains(message), "{}", replayed.stderr);
    }
    assert_eq!(replay(&["--from", "2026-03-02", "--to", "2026-03-01"]).1.code, Some(2));
}

#[test]
fn the_summary_tells_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("summary.json");
    let replayed = run([
        "replay",
        trail().to_str().unwrap(),
        "--summary",
        path.to_str().unwrap(),
        "--output",
        folder.path().join("alerts").to_str().unwrap(),
    ]);
    assert_eq!((replayed.code, replayed.stdout.as_str()), (Some(0), ""));
    let summary: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let alerts = support::alerts(&fs::read_to_string(folder.path().join("alerts")).unwrap());
    assert_eq!(summary["alerts"], alerts.len());
    assert_eq!(summary["objects"], 17);
    assert_eq!(summary["records"], 621);
    assert_eq!(summary["skipped"], serde_json::json!({"digest": 4, "insight": 1}));
    assert!(summary["bytes"].as_u64() > summary["bytes_compressed"].as_u64());
    assert_eq!(
        (&summary["unreadable"], &summary["anomalies"]),
        (&serde_json::json!([]), &serde_json::json!([]))
    );
    assert!(summary["elapsed_s"].is_f64() && summary["undecided"].is_u64());
    let by_rule: u64 =
        summary["rules"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(by_rule, alerts.len() as u64);
}

#[test]
fn what_is_undecided_may_be_lowered_or_withheld() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let omitted = create_user("1").replace(r#"{"userName":"bob"}"#, r#"{"omitted":true}"#);
    let rule = support::USER_RULE.replace("CreateUser}", "CreateUser, requestParameters.x: y}");
    let (log, rules, config, summary) = (path("a.json"), path("rule.yml"), path("th.toml"), path("summary"));
    fs::write(&log, support::log(&[omitted])).unwrap();
    fs::write(&rules, rule).unwrap();
    for (settings, alerts, withheld, code) in
        [("", 1, 0, 1), ("level = \"low\"", 1, 0, 0), ("deliver = false", 0, 1, 0)]
    {
        fs::write(&config, format!("[undecided]\n{settings}\n")).unwrap();
        let rules = ["--detections", &rules, "--no-default-detections", "--fail-on", "medium"];
        let replay = ["replay", &log, "-c", &config, "--summary", &summary];
        let replayed = run(replay.iter().chain(&rules));
        assert_eq!((replayed.code, replayed.alerts().len()), (Some(code), alerts), "{}", replayed.stderr);
        let summary: Value = serde_json::from_str(&fs::read_to_string(&summary).unwrap()).unwrap();
        assert_eq!((&summary["undecided"], &summary["withheld"]), (&alerts.into(), &withheld.into()));
    }
}

#[test]
fn what_is_not_there_is_told() {
    let empty = tempfile::tempdir().unwrap();
    fs::write(empty.path().join("nothing.json"), r#"{"Records":[]}"#).unwrap();
    let digests = tempfile::tempdir().unwrap();
    fs::write(digests.path().join("1_CloudTrail-Digest_r_t.json"), "{}").unwrap();
    let cases = [
        (vec!["replay".to_owned(), empty.path().join("none").display().to_string()], 3, "No such file"),
        (vec!["replay".to_owned(), empty.path().display().to_string()], 3, "no record"),
        (vec!["replay".to_owned(), digests.path().display().to_string()], 3, "no log object"),
        (vec!["replay".to_owned()], 2, "SOURCE"),
        (vec!["replay".to_owned(), "s3://bucket/prefix".to_owned()], 2, "not available in this version"),
        (vec!["replay".to_owned(), "lookup:".to_owned()], 2, "not available in this version"),
        (vec!["replay".to_owned(), ".".to_owned(), "--deliver".to_owned()], 2, "a sink"),
        (vec!["run".to_owned()], 2, "nothing to receive from"),
        (vec!["run".to_owned(), "--watch".to_owned(), "/nowhere".to_owned()], 2, "/nowhere"),
        (vec!["run".to_owned(), "--frobnicate".to_owned()], 2, "--frobnicate"),
        (vec!["verify".to_owned(), "x".to_owned(), "--json".to_owned()], 2, "not available in this version"),
        (
            vec!["dead".to_owned(), "list".to_owned(), "--state".to_owned(), "/nowhere".to_owned()],
            2,
            "there is no state",
        ),
        (
            vec!["rules".to_owned(), "explain".to_owned(), "a".to_owned(), "b".to_owned()],
            2,
            "no rule has the id",
        ),
    ];
    for (args, code, message) in cases {
        let ended = run(&args);
        assert_eq!(ended.code, Some(code), "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(message), "{args:?}: {}", ended.stderr);
    }
}

#[test]
fn a_source_that_cannot_be_read_does_not_hide_the_others() {
    let replayed = run(["replay", "/nowhere/x.json", trail().to_str().unwrap()]);
    assert_eq!(replayed.code, Some(3));
    assert_eq!(ids(&replayed.alerts()), support::trail_ids());
}

#[test]
fn a_reader_that_goes_ends_the_program_silently() {
    let mut child = support::command(["replay", trail().to_str().unwrap(), "--quiet"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(141));
    assert_eq!(stderr, "");
}

#[test]
fn a_signal_ends_a_replay_that_waits_for_input() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let mut child = support::command(["replay", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        // Signals are caught once the first alert could be told; there is no other sign of it.
        std::thread::sleep(std::time::Duration::from_millis(500));
        let kill = std::process::Command::new("kill")
            .args([&format!("-{signal}"), &child.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
        let status = support::eventually("the end of the replay", || child.try_wait().unwrap());
        assert_eq!(status.code(), Some(code));
        drop(stdin);
    }
}

#[test]
fn tables_are_for_people_and_safe() {
    let rules = user_rule();
    let hostile = create_user("1").replace("\"userName\":\"ann\"", "\"userName\":\"\\u001b[31mred\\u202e\"");
    let base = [
        "replay",
        "-",
        "--format",
        "table",
        "--no-default-detections",
        "--detections",
        rules.path().to_str().unwrap(),
    ];
    let replayed = run_with_input(base, &log(&[hostile]));
    let lines: Vec<&str> = replayed.stdout.lines().collect();
    assert!(
        lines[0].starts_with("TIME") && lines[1].starts_with("2026-03-01T10:00:00Z"),
        "{}",
        replayed.stdout
    );
    assert!(lines[1].contains("high") && lines[1].contains("User created"));
    assert!(!replayed.stdout.contains(['\u{1b}', '\u{202e}']));
}

#[test]
fn the_effective_configuration_is_shown_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.toml");
    fs::write(&path, "[[webhook]]\nname = \"siem\"\nurl = \"https://siem.example/T0PSECRET\"\nsecrets = [{ env = \"S\" }]\n").unwrap();
    let args = ["run", "-c", path.to_str().unwrap(), "--print-config", "--listen", "127.0.0.1:1"];
    let shown =
        support::command(args).env("S", "hunter2").env("TRAILHOUND_LIMITS__RECORD", "1MiB").output().unwrap();
    let text = String::from_utf8(shown.stdout).unwrap();
    assert_eq!(shown.status.code(), Some(0));
    for line in ["listen = \"127.0.0.1:1\"", "record = \"1MiB\"", "name = \"siem\"", "https://siem.example/…"]
    {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(!text.contains("hunter2") && !text.contains("T0PSECRET"));
}

#[test]
fn three_mistakes_in_a_configuration_are_three_messages() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.toml");
    fs::write(&path, "listen = 7\ncolour = \"red\"\n[limits]\nin_flight = \"lots\"\n").unwrap();
    let ended = run(["run", "-c", path.to_str().unwrap(), "--watch", "."]);
    assert_eq!(ended.code, Some(2));
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), 3, "{}", ended.stderr);
    for (line, message) in lines.iter().zip([
        "t.toml:1: `listen`",
        "t.toml:2: unknown key `colour`",
        "t.toml:4: `limits.in_flight`",
    ]) {
        assert!(line.contains(message), "{line}");
    }
}

#[test]
fn help_names_every_exit_code() {
    let help = run(["--help"]);
    assert_eq!(help.code, Some(0));
    for code in ["  0 ", "  1 ", "  2 ", "  3 ", "130", "143", "141"] {
        assert!(help.stdout.contains(code), "{code}");
    }
}

#[test]
fn a_replay_never_writes_over_what_it_reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (file, inside, beside) = (path("a.json"), path("alerts.ndjson"), path("alerts.txt"));
    let records = log(&[create_user("1")]);
    fs::write(&file, &records).unwrap();
    let whole = folder.path().to_str().unwrap();
    for (source, flag, target, code) in [
        (file.as_str(), "--output", &file, 2),
        (&file, "--summary", &file, 2),
        (whole, "--output", &inside, 2),
        (whole, "--output", &beside, 0),
        (&file, "--output", &inside, 0),
    ] {
        let replayed = run(["replay", source, flag, target]);
        assert_eq!(replayed.code, Some(code), "{source} {flag} {target}: {}", replayed.stderr);
        assert_eq!(fs::read(&file).unwrap(), records);
    }
}

#[test]
fn a_named_pipe_is_read_and_one_in_a_folder_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe.json");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let walked = run(["replay".as_ref(), folder.path().as_os_str()]);
    assert_eq!(walked.code, Some(3));
    assert!(walked.stderr.contains("pipe.json: not a regular file"), "{}", walked.stderr);
    let writer = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::write(pipe, log(&[create_user("1")])).unwrap()
    });
    let named = run(["replay".as_ref(), pipe.as_os_str()]);
    writer.join().unwrap();
    assert_eq!((named.code, named.alerts().len()), (Some(0), 1), "{}", named.stderr);
}

#[test]
fn what_cannot_be_written_is_told() {
    let trail = trail().to_str().unwrap().to_owned();
    let summary = tempfile::NamedTempFile::new().unwrap();
    let full = ["replay", &trail, "--output", "/dev/full", "--summary", summary.path().to_str().unwrap()];
    let replayed = run(full);
    assert_eq!(replayed.code, Some(3));
    assert!(replayed.stderr.contains("/dev/full: No space left"), "{}", replayed.stderr);
    let summary: Value = serde_json::from_slice(&fs::read(summary.path()).unwrap()).unwrap();
    assert_eq!(summary["interrupted"], true);
    assert_eq!(run(["replay", "-", "-"]).code, Some(2));
}

#[test]
fn a_sink_that_is_not_required_holds_up_no_replay() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("t.toml");
    let port = support::free_port();
    let sink =
        format!("[[webhook]]\nname = \"down\"\nrequired = false\nurl = \"http://127.0.0.1:{port}/h\"\n");
    fs::write(&config, sink).unwrap();
    let trail = trail();
    let replayed =
        run(["replay".as_ref(), trail.as_os_str(), "--deliver".as_ref(), "-c".as_ref(), config.as_os_str()]);
    assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
    let missed = format!("`down`, which is not required, missed {} alert(s)", support::trail_ids().len());
    assert!(replayed.stderr.contains(&missed), "{}", replayed.stderr);
}
