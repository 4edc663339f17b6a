//! The README keeps its word: every command in it runs, every key and figure in it is true.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::ministack::{self, ministack};
use crate::support::server;
use crate::support::{self, Daemon, create_user, eventually, ids, root, trail, trail_ids, wait};

/// The fenced blocks of a language.
fn blocks(language: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    let opening = format!("```{language}\n");
    let blocks = text.split(&opening).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
    blocks.collect()
}

/// The commands that begin so, line by line.
fn commands(beginning: &str) -> Vec<String> {
    let lines: Vec<String> = blocks("sh").iter().flat_map(|block| block.lines()).map(str::to_owned).collect();
    lines.into_iter().filter(|line| line.starts_with(beginning)).collect()
}

/// Runs a command as a reader would, from the root of the checkout; answers with its standard output.
fn shell(command: &str, programs: &Path, variables: &[(&str, &str)]) -> String {
    let binary = Path::new(env!("CARGO_BIN_EXE_trailhound")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", command])
        .current_dir(root())
        .env("PATH", format!("{}:{}:{path}", programs.display(), binary.display()))
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command}: {}\n{stdout}{stderr}", output.status);
    stdout.into_owned()
}

const FOR_EVER: &str = "trailhound run --queue-url";

#[test]
fn commands_of_the_binary_run() {
    let (nowhere, state) = (Path::new(""), tempfile::tempdir().unwrap());
    let state = state.path().to_str().unwrap();
    support::run(["replay", trail().to_str().unwrap(), "--state", state]);
    let all = commands("");
    let known = ["cargo ", "aws ", FOR_EVER];
    let rest: Vec<_> = all.iter().filter(|line| !known.iter().any(|known| line.starts_with(known))).collect();
    assert!(rest.len() >= 6, "{all:?}");
    for line in rest {
        let shown = shell(&line.replace("/var/lib/trailhound", state), nowhere, &[]);
        assert!(!shown.is_empty() || line.contains('>'), "{line} shows nothing");
    }
}

#[test]
fn the_two_commands_are_run_by_ci() {
    let script = fs::read_to_string(root().join(".ci/run")).unwrap();
    // Measuring takes longer than a change may wait.
    let both: Vec<_> =
        commands("cargo ").into_iter().filter(|line| !line.starts_with("cargo bench")).collect();
    assert_eq!(both.len(), 2);
    for command in both {
        assert!(script.contains(&command), "{command}");
    }
}

#[test]
fn the_queue_is_set_up_as_described() {
    let programs = tempfile::tempdir().unwrap();
    let endpoint = &wait(ministack()).endpoint;
    // The CLI has endpoints of its own for SQS, which win over the environment.
    let aws = server::install().join("aws");
    let script = format!("#!/bin/sh\nexec '{}' --endpoint-url {endpoint} \"$@\"\n", aws.display());
    let wrapper = programs.path().join("aws");
    fs::write(&wrapper, script).unwrap();
    fs::set_permissions(&wrapper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    // The access key names the account.
    let account = [("AWS_ACCESS_KEY_ID", "111122223333"), ("AWS_DEFAULT_REGION", "us-east-1")];
    let variables = [&ministack::variables(endpoint)[..], &account].concat();
    let run = |command: &str| shell(command, programs.path(), &variables);

    run("aws s3 mb s3://example-trail-bucket");
    for command in commands("aws ") {
        // The stand-in delivers nothing for a rule in any other state.
        run(&command.replace("ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS", "ENABLED"));
    }
    let command = commands(FOR_EVER).pop().unwrap();
    let args: Vec<&str> = command.split(' ').skip(2).collect();
    let mut daemon = Daemon::start(&args, &variables);
    daemon.says("receiving");
    run(&format!("aws s3 cp --recursive --quiet {} s3://example-trail-bucket", trail().display()));
    let expected = trail_ids();
    eventually("the alerts", || (ids(&daemon.alerts()) == expected).then_some(()));

    // Sources of AWS itself are closed to others, here too.
    let event = serde_json::json!([{
        "Source": "example", "DetailType": "AWS API Call via CloudTrail", "Detail": create_user("inline"),
    }]);
    let answer = run(&format!("aws events put-events --entries '{event}'"));
    assert!(answer.contains("\"FailedEntryCount\": 0"), "{answer}");
    eventually("the inline event's alert", || (daemon.alerts().len() > expected.len()).then_some(()));
    assert_eq!(daemon.stop().code(), Some(143), "{}", daemon.stderr());
    // That windows are in memory is known.
    let warnings =
        daemon.stderr().lines().filter(|line| line.contains("WARN") && !line.contains("--state")).count();
    assert_eq!(warnings, 0, "{}", daemon.stderr());
}

/// The keys of a configuration, `webhook.name`, with what they are set to.
fn keys(configuration: &str) -> BTreeMap<String, String> {
    fn collect(name: &str, value: &toml::Value, keys: &mut BTreeMap<String, String>) {
        let tables = value.as_array().filter(|list| list.iter().any(toml::Value::is_table));
        match (value, tables) {
            (toml::Value::Table(table), _) => {
                for (key, value) in table {
                    let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                    collect(&name, value, keys);
                }
            }
            (_, Some(list)) => list.iter().for_each(|value| collect(name, value, keys)),
            _ => _ = keys.insert(name.to_owned(), value.to_string()),
        }
    }
    let mut found = BTreeMap::new();
    collect("", &configuration.parse::<toml::Table>().unwrap().into(), &mut found);
    found
}

/// The effective configuration of a file.
fn effective(text: &str) -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    fs::write(&path, text).unwrap();
    let mut command = support::command(["run", "--print-config", "-c", path.to_str().unwrap()]);
    let output = command.envs([("SIEM_SECRET", "a"), ("SIEM_TOKEN", "b")]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    keys(std::str::from_utf8(&output.stdout).unwrap())
}

#[test]
fn every_key_and_default_is_as_described() {
    let described = &blocks("toml")[0];
    let (named, all) = (keys(described), effective(described));
    let names = |keys: &BTreeMap<String, String>| keys.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&named), names(&all));
    let least = "[[queue]]\nurl = \"https://sqs.x/1/q\"\nbuckets = [{ name = \"b\" }]
        [[webhook]]\nurl = \"https://x/\"\n[[file]]\npath = \"/x\"";
    let chosen = ["name", "url", "path"];
    for (key, default) in effective(least) {
        if !chosen.contains(&key.rsplit('.').next().unwrap()) {
            assert_eq!(all.get(&key), Some(&default), "the default of {key}");
        }
    }
}

#[test]
fn documents_of_sigma_compile() {
    for mut document in blocks("yaml") {
        // Keys of a rule, told without the rest.
        if !document.contains("title:") {
            document.insert_str(0, "title: T\nid: 00000000-0000-4000-8000-000000000001\nlevel: low\nlogsource: {product: aws, service: cloudtrail}\ndetection: {s: {eventName: A}, condition: s}\n");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("document.yml");
        fs::write(&path, document).unwrap();
        let checked = support::run(["rules", "check", path.to_str().unwrap()]);
        assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    }
}

#[test]
fn figures_are_true() {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    let rules: serde_json::Value =
        serde_json::from_str(&support::run(["rules", "check", "--json"]).stdout).unwrap();
    let (all, off) = (&rules["rules"], &rules["off"]);
    assert!(text.contains(&format!("{all} detections are part of the binary, {off} of them off")));
    assert_eq!(trail_ids().len(), 14);
    assert!(text.contains("It writes fourteen alerts"));
}

#[test]
fn the_alert_document_has_the_keys_that_are_described() {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    let section = text.split("## The alert document").nth(1).unwrap().split("\n## ").next().unwrap();
    let described: BTreeSet<&str> = section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .flat_map(|line| line[1..].split('|').next().unwrap().split(','))
        .map(|key| key.trim().trim_matches('`'))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let omitted = create_user("1").replace(r#"{"userName":"bob"}"#, r#"{"omitted":true}"#);
    let addendum = r#"{"addendum":{"reason":"UPDATED_DATA","originalEventID":"0"},"#;
    let omitted = omitted.replacen('{', addendum, 1);
    let rule = support::USER_RULE.replace("CreateUser}", "CreateUser, requestParameters.x: y}");
    fs::write(folder.path().join("a.json"), support::log(&[omitted])).unwrap();
    fs::write(folder.path().join("rule.yml"), rule).unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (logs, rule) = (path(""), path("rule.yml"));
    let mut daemon = Daemon::start(&["--watch", &logs, "--detections", &rule], &[]);
    let live = eventually("an undecided alert", || {
        daemon.alerts().into_iter().find(|alert| alert["status"] == "undecided")
    });
    daemon.stop();
    let grouped = support::USER_RULE.to_owned() + "trailhound: {group: {by: [actor.arn], period: 1h}}\n";
    fs::write(folder.path().join("rule.yml"), grouped).unwrap();
    let rules = ["--no-default-detections", "--detections", &path("rule.yml")];
    let replay = [&["replay", "-"], &rules[..]].concat();
    let grouped = support::run_with_input(replay, create_user("1").as_bytes()).alerts();
    let alerts = support::run(["replay".as_ref(), trail().as_os_str()]).alerts();
    let found: BTreeSet<&str> = alerts
        .iter()
        .chain([&live])
        .chain(&grouped)
        .flat_map(|alert| alert.as_object().unwrap().keys())
        .map(String::as_str)
        // Only of objects whose time of storage S3 tells.
        .chain(["late_by"])
        .collect();
    assert_eq!(found, described);
}
