//! The tools for rules on detections over more than one event: their cases, who else alerts, what can be explained.

use serde_json::Value;

use crate::support::{Files, create_user, folder, path_in, run, run_with_input};

const MEMBER: &str = "title: User created
id: 00000000-0000-4000-8000-000000000001
level: low
logsource: {product: aws, service: cloudtrail}
detection: {s: {eventSource: iam.amazonaws.com, eventName: CreateUser}, condition: s}
";

const CORRELATION: &str = "title: Many users created
id: 00000000-0000-4000-8000-000000000002
level: high
correlation:
  type: event_count
  rules:
    - 00000000-0000-4000-8000-000000000001
  group-by: [sourceIPAddress]
  timespan: 10m
  condition: {gte: 3}
";

/// Users created at these times.
fn at(times: &[&str]) -> String {
    let event =
        |(index, time): (usize, &&str)| create_user(&index.to_string()).replace("2026-03-01T10:00:00Z", time);
    format!("[{}]", times.iter().enumerate().map(event).collect::<Vec<_>>().join(","))
}

#[test]
fn a_case_is_one_stream_of_events() {
    let both = format!("{MEMBER}---\n{CORRELATION}");
    let chained = format!(
        "{both}---\n{}",
        CORRELATION
            .replace("0000001", "0000002")
            .replace("0002\nlevel", "0003\nlevel")
            .replace("gte: 3", "gte: 1")
    );
    let grouped = format!("{MEMBER}trailhound: {{group: {{by: [actor.arn], period: 1h}}}}\n");
    let first = format!(
        "{MEMBER}trailhound: {{first_seen: {{of: awsRegion, by: [recipientAccountId], learn: 1d, forget: 30d}}}}\n"
    );
    let three = at(&["2026-03-01T10:09:00Z", "2026-03-01T10:00:00Z", "2026-03-01T10:05:00Z"]);
    let spread = at(&["2026-03-01T10:00:00Z", "2026-03-01T10:05:00Z", "2026-03-01T10:20:00Z"]);
    let timeless = three.replace("eventTime", "time");
    let moved = |record: &str| record.replacen("us-east-1", "eu-west-1", 1);
    let late = moved(&at(&["2026-03-03T10:00:00Z", "2026-03-01T10:00:00Z"]));
    let early = moved(&at(&["2026-03-01T11:00:00Z", "2026-03-01T10:00:00Z"]));
    let other = create_user("1").replace("CreateUser", "DeleteUser");
    let cases: [(&str, &str, &str, i32, &str); 10] = [
        (&both, &three, &spread, 0, ""),
        (&both, &spread, &other, 1, "Many users created: 3 hit(s) of User created"),
        (&both, &three, &three, 1, "expected no alert, but one was raised: Many users created\n"),
        (&both, &timeless, &spread, 1, "3 hit(s) without an eventTime"),
        (&chained, &three, &spread, 0, ""),
        (&chained, &other, &spread, 1, "Many users created: 0 hit(s) of User created"),
        (&grouped, &three, &other, 0, ""),
        (&grouped, &other, &three, 1, "expected no alert"),
        (&first, &late, &early, 0, ""),
        (&first, &early, &other, 1, "2 hit(s); nothing is told while learning"),
    ];
    for (rules, hit, miss, code, told) in cases {
        let rules = folder(&[("x.yml", rules)]);
        let fixtures = folder(&[("x/hit-a.json", hit), ("x/miss-b.json", miss)]);
        let tested = run(["rules", "test", &path_in(&rules, ""), "--fixtures", &path_in(&fixtures, "")]);
        assert_eq!(tested.code, Some(code), "{told}: {}{}", tested.stdout, tested.stderr);
        assert!(tested.stderr.contains(told), "{told} in {}", tested.stderr);
    }
}

#[test]
fn members_that_also_alert_are_noted() {
    let generating = CORRELATION.replace("  timespan", "  generate: true\n  timespan");
    let (both, generates) = (format!("{MEMBER}---\n{CORRELATION}"), format!("{MEMBER}---\n{generating}"));
    let second = generating.replace("0002", "0003");
    let contradicting = format!("{MEMBER}---\n{CORRELATION}---\n{second}");
    let suppressed = format!("# rsigma-disable member_alerts\n{CORRELATION}");
    let of_pack =
        CORRELATION.replace("00000000-0000-4000-8000-000000000001", "b615dbf7-3349-4764-9e1c-9346ce5b9993");
    let cases: [(Files<'_>, &str); 7] = [
        (&[("a.yml", &both)], ""),
        (&[("a.yml", MEMBER), ("b.yml", CORRELATION)], "b.yml:7: note: its member `User created` ("),
        (&[("a.yml", &both), ("b.yml", CORRELATION)], ""),
        (&[("a.yml", &generates)], ""),
        (&[("a.yml", MEMBER), ("b.yml", &suppressed)], ""),
        (&[("a.yml", &contradicting)], "a.yml:13: note: its member `User created` ("),
        (
            &[("b.yml", &of_pack)],
            "b.yml:7: note: its member `IAM role created that everyone may assume` (pack/iam/role-created-open.yml:1)",
        ),
    ];
    for (files, told) in cases {
        let rules = folder(files);
        let checked = run(["rules", "check", &path_in(&rules, "")]);
        assert_eq!(checked.code, Some(0), "{}", checked.stderr);
        assert_eq!(checked.stderr.is_empty(), told.is_empty(), "{}", checked.stderr);
        assert!(checked.stderr.contains(told), "{told} in {}", checked.stderr);
        let json: Value =
            serde_json::from_str(&run(["rules", "check", "--json", &path_in(&rules, "")]).stdout).unwrap();
        let count = |key: &str| json[key].as_array().unwrap().len();
        assert_eq!((count("warnings"), count("notes")), (0, usize::from(!told.is_empty())), "{json}");
    }
}

#[test]
fn what_is_about_many_events_is_explained_with_its_members() {
    let chained = CORRELATION
        .replace("0000001", "0000002")
        .replace("0002\nlevel", "0003\nlevel")
        .replace("gte: 3", "gte: 1");
    let rules = folder(&[
        ("a/member.yml", MEMBER),
        ("a/many.yml", CORRELATION),
        ("a/chained.yml", &chained.replace("Many users created", "Again and again")),
        ("both.yml", &format!("{MEMBER}---\n{CORRELATION}")),
    ]);
    let three = at(&["2026-03-01T10:00:00Z", "2026-03-01T10:05:00Z", "2026-03-01T10:09:00Z"]);
    let other = create_user("9").replace("CreateUser", "DeleteUser");
    let logs = folder(&[("four.json", &three.replace(']', &format!(",{other}]")))]);
    let (detections, event) = (path_in(&rules, "a"), path_in(&logs, "four.json"));
    let explain = |rule: &str, event: &str, more: &[&str]| {
        let args = ["rules", "explain", rule, event, "--detections", &detections];
        let explained = run(args.iter().chain(more));
        assert_eq!((explained.code, explained.stderr.as_str()), (Some(0), ""), "{rule} {event}");
        explained.stdout
    };
    let id = |number: u8| format!("00000000-0000-4000-8000-00000000000{number}");

    let flags = ["replay", &event, "--no-default-detections", "--detections", &detections];
    let alerts = run(flags).alerts();
    let window = alerts.iter().find(|alert| alert["rule"]["id"] == id(2)).unwrap();
    let alert = window["id"].as_str().unwrap();
    let found = format!(
        "4 event(s), 1 alert(s)\n  {alert} at 2026-03-01T10:09:00Z: 3 hit(s), sourceIPAddress 198.51.100.7\n  3 hit(s) of User created\n"
    );

    let both = path_in(&rules, "both.yml");
    for (rule, event, verdicts, told) in [
        (&*id(2), &*event, [3, 1], &*found),
        (&*both, &*event, [3, 1], &*found),
        (&*id(3), &*event, [3, 1], "4 event(s), 1 alert(s)\n"),
        (&*id(2), &*format!("{event}#1"), [1, 0], "1 event(s), 0 alert(s)\n  1 hit(s) of User created\n"),
        (&*id(2), &*format!("{event}#3"), [0, 1], "1 event(s), 0 alert(s)\n  0 hit(s) of User created\n"),
        // Of an alert, only what it lists.
        (alert, &*event, [3, 0], &*found),
    ] {
        let text = explain(rule, event, &[]);
        assert!(text.contains(told), "{rule} {event}: {text}");
        let count = |verdict: &str| text.lines().filter(|line| *line == verdict).count();
        assert_eq!([count("match"), count("no match")], verdicts, "{rule} {event}: {text}");
        let json: Value = serde_json::from_str(&explain(rule, event, &["--json"])).unwrap();
        let parts = json["explained"].as_array().unwrap();
        let count = |verdict: &str| parts.iter().filter(|part| part["verdict"] == verdict).count();
        assert_eq!([count("match"), count("no match")], verdicts, "{rule} {event}: {json}");
    }
    assert!(explain(&id(2), &event, &[]).contains("✗ eventName is \"CreateUser\": \"DeleteUser\""));
}

#[test]
fn of_many_events_those_that_match_are_explained_first() {
    let rules = folder(&[("both.yml", &format!("{MEMBER}---\n{CORRELATION}"))]);
    let other = create_user("9").replace("CreateUser", "DeleteUser");
    let events = format!("[{}{}]", format!("{other},").repeat(30), create_user("1"));
    let explained =
        run_with_input(["rules", "explain", &path_in(&rules, "both.yml"), "-"], events.as_bytes());
    assert_eq!(explained.code, Some(0), "{}", explained.stderr);
    let count = |verdict: &str| explained.stdout.lines().filter(|line| *line == verdict).count();
    assert_eq!((count("match"), count("no match")), (1, 19), "{}", explained.stdout);
    assert!(explained.stdout.ends_with("and 11 more; choose a record with -#INDEX, from 0\n"));
}

#[test]
fn the_element_that_meets_a_condition_is_shown() {
    let rule = MEMBER.replace(
        "{eventSource: iam.amazonaws.com, eventName: CreateUser}",
        "{'requestParameters.tags[any]': {key: admin, value: yes}}",
    ) + "sigma-version: 3\n";
    let rules = folder(&[("x.yml", &rule)]);
    let explain = |parameters: &str| {
        let record = create_user("1").replace(r#"{"userName":"bob"}"#, parameters);
        run_with_input(["rules", "explain", &path_in(&rules, "x.yml"), "-"], record.as_bytes()).stdout
    };
    let found = explain(r#"{"tags":[{"key":"x","value":"yes"},{"key":"admin","value":"yes"}]}"#);
    for expected in [
        "✓ one element of requestParameters.tags fits: 1 of 2 do\n",
        "✗ element 0\n",
        "✗ key is \"admin\": \"x\"\n",
        "✓ element 1\n",
        "✓ key is \"admin\": \"admin\"\n",
    ] {
        assert!(found.contains(expected), "{expected} in {found}");
    }
    assert!(explain(r#"{"tags":[]}"#).contains("✗ one element of requestParameters.tags fits: 0 of 0 do\n"));
    assert!(
        explain(r#"{"omitted":true}"#)
            .contains("? one element of requestParameters.tags fits: omitted by CloudTrail\n")
    );
}
