//! Rules as input: what is wrong with them is told, all of it, each with its file and line.

use std::fs;

use serde_json::Value;

use crate::support::{USER_RULE, create_user, folder, log, run, run_with_input};

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

/// A rule of many values, which each of many documents repeats.
fn repetitions() -> String {
    let values = vec!["x"; 20_000].join(", ");
    let global = format!(
        "action: global\nlogsource: {{product: aws, service: cloudtrail}}\ndetection: {{s: {{a: [{values}]}}, condition: s}}\n"
    );
    let titles = (0..1_000).map(|number| format!("---\ntitle: R{number}\n"));
    global + &titles.collect::<String>()
}

/// A rule whose `detection` has these lines; its first line is 5.
fn detection(lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("  {line}\n")).collect();
    format!(
        "title: A rule\nlogsource: {{product: aws, service: cloudtrail}}\nlevel: low\ndetection:\n{lines}"
    )
}

/// A rule, and behind it a correlation of these lines; its first line is 11.
fn correlation(lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("  {line}\n")).collect();
    let member = detection("s: {eventName: A}\ncondition: s");
    format!("{member}name: member\n---\ntitle: C\ncorrelation:\n{lines}")
}

/// A filter with these lines under `filter`; its first line is 4.
fn filter(lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("  {line}\n")).collect();
    format!("title: F\nlogsource: {{product: aws, service: cloudtrail}}\nfilter:\n{lines}")
}

/// A file with one kind of mistake: its name and text, the line that is told, and words of what is told.
type Broken = (&'static str, String, usize, &'static str);

fn broken_selections() -> Vec<Broken> {
    vec![
        ("unknown-modifier", detection("s:\n  a|contans: x\ncondition: s"), 6, "contans"),
        (
            "modifiers-that-exclude",
            detection("s:\n  a|re|contains: x\ncondition: s"),
            6,
            "cannot be combined",
        ),
        ("bad-condition", detection("s: {a: 1}\ncondition: s and"), 6, "condition is not valid"),
        ("unclosed-condition", detection("s: {a: 1}\ncondition: (s"), 6, "condition is not valid"),
        (
            "deep-condition",
            detection(&format!("s: {{a: 1}}\ncondition: {}s{}", "(".repeat(500), ")".repeat(500))),
            6,
            "condition is not valid",
        ),
        ("missing-selection", detection("s: {a: 1}\ncondition: s and not t"), 6, "no such selection"),
        ("empty-pattern", detection("s: {a: 1}\ncondition: s and not 1 of filter_*"), 6, "no such selection"),
        ("aggregation", detection("s: {a: 1}\ncondition: s | count() by b > 5"), 6, "`group-by: [b]`"),
        ("look-around", detection("s:\n  a|re: 'x(?!y)'\ncondition: s"), 6, "look-around"),
        (
            "huge-repetition",
            detection("s:\n  a|re: '(a{1000}){1000}'\ncondition: s"),
            6,
            "regular expression",
        ),
        ("no-network", detection("s:\n  a|cidr: 10.0.0.0/99\ncondition: s"), 6, "CIDR"),
        ("no-number", detection("s:\n  a|gte: many\ncondition: s"), 6, "needs a number"),
        ("map-as-value", detection("s:\n  a: {b: 1}\ncondition: s"), 6, "not a map"),
        ("empty-selection", detection("s: {}\ncondition: s"), 5, "empty"),
        ("no-condition", detection("s: {a: 1}"), 5, "`condition` is missing"),
        ("unknown-placeholder", detection("s:\n  a|expand: '%x%'\ncondition: s"), 6, "--values FILE"),
    ]
}

fn broken_heads() -> Vec<Broken> {
    let good = detection("s: {eventName: A}\ncondition: s");
    vec![
        ("no-title", good.replacen("title: A rule\n", "", 1), 1, "`title` is missing"),
        ("list-as-title", good.replacen("A rule", "[a, b]", 1), 1, "`title` takes one text"),
        ("no-detection", "title: A\nlogsource: {product: aws}\n".into(), 1, "`detection` is missing"),
        (
            "list-as-log-source",
            good.replacen("{product: aws, service: cloudtrail}", "[aws]", 1),
            2,
            "a map of product",
        ),
        ("unknown-level", good.replacen("low", "severe", 1), 3, "`severe` is no level"),
        ("no-map", "- a\n- b\n".into(), 1, "a map of keys"),
        ("unknown-extension", format!("{good}trailhound:\n  sumary: x\n"), 8, "unknown key"),
        ("bad-template", format!("{good}trailhound:\n  summary: '{{a'\n"), 8, "brace"),
        ("period-without-unit", format!("{good}trailhound:\n  group: {{by: [a], period: 5}}\n"), 8, "a unit"),
        (
            "group-and-first-seen",
            format!(
                "{good}trailhound:\n  group: {{by: [a], period: 1h}}\n  first_seen: {{of: a, by: [b], learn: 1d, forget: 7d}}\n"
            ),
            8,
            "either",
        ),
    ]
}

fn broken_correlations_and_filters() -> Vec<Broken> {
    let count = "type: event_count\nrules: [member]\n";
    let chain = "title: X1\ncorrelation: {type: temporal, rules: [X2, X1], timespan: 1h}\n---\ntitle: X2\ncorrelation: {type: temporal, rules: [X1], timespan: 1h}\n";
    vec![
        (
            "unknown-type",
            correlation("type: events\nrules: [member]\ntimespan: 1h\ncondition: {gte: 5}"),
            11,
            "no type of correlation",
        ),
        (
            "unknown-member",
            correlation("type: event_count\nrules: [nobody]\ntimespan: 1h\ncondition: {gte: 5}"),
            12,
            "there is no rule",
        ),
        (
            "no-members",
            correlation("type: event_count\nrules: []\ntimespan: 1h\ncondition: {gte: 5}"),
            12,
            "has no members",
        ),
        (
            "bad-timespan",
            correlation(&format!("{count}timespan: 1 hour\ncondition: {{gte: 5}}")),
            13,
            "is no timespan",
        ),
        ("long-timespan", correlation(&format!("{count}timespan: 1y\ncondition: {{gte: 5}}")), 13, "32 days"),
        (
            "unknown-operator",
            correlation(&format!("{count}timespan: 1h\ncondition: {{more: 5}}")),
            14,
            "`more` is no operator",
        ),
        (
            "no-field",
            correlation("type: value_count\nrules: [member]\ntimespan: 1h\ncondition: {gte: 5}"),
            14,
            "needs the `field`",
        ),
        (
            "other-window",
            correlation(&format!("{count}timespan: 1h\ncondition: {{gte: 5}}\nwindow: session")),
            15,
            "sliding",
        ),
        ("cycle", chain.into(), 2, "depends on itself"),
        (
            "filter-without-target",
            filter("rules: [nobody]\ns: {a: 1}\ncondition: not s"),
            4,
            "there is no rule",
        ),
        ("filter-for-nothing", filter("s: {a: 1}\ncondition: not s"), 4, "names no rule"),
    ]
}

fn broken_files() -> Vec<Broken> {
    let good = detection("s: {eventName: A}\ncondition: s");
    vec![
        ("latin-1", format!("{good}description: café\n"), 7, "UTF-8"),
        ("utf-16", good.clone(), 1, "UTF-8"),
        ("duplicate-id-1", format!("{good}id: twice\n"), 0, ""),
        (
            "duplicate-id-2",
            format!("{}id: twice\n", good.replacen("eventName: A", "eventName: B", 1)),
            1,
            "the id `twice` also stands in",
        ),
        ("key-twice", format!("{good}level: high\n"), 7, "stands here twice"),
        ("alias-bomb", bomb(), 5, "too many values"),
        ("repetition-bomb", repetitions(), 102, "multiplying"),
        ("deep-nesting", format!("title:\n  {}", "[".repeat(10_000)), 2, "not YAML"),
        ("nested-lists", format!("a: {}x{}", "[".repeat(60), "]".repeat(60)), 1, "nested too deeply"),
        ("tabs", good.replacen("  s:", "\ts:", 1), 5, "not YAML"),
        ("truncated", format!("{good}tags: [attack.t1"), 7, "not YAML"),
        (
            "byte-order-mark",
            format!("\u{feff}{}", detection("s: {a: 1}\ncondition: t")),
            6,
            "no such selection",
        ),
        ("unknown-action", format!("action: sing\n{good}"), 1, "`action` is"),
        ("nothing-to-repeat", "action: repeat\ntitle: A\n".into(), 1, "no rule before it"),
        ("merge-key", format!("{good}x: &x {{a: b}}\ny:\n  <<: *x\n"), 9, "merge keys"),
        ("second-document", format!("{good}id: fine\n---\ntitle: B\n"), 9, "is missing"),
    ]
}

/// The bytes of a text: UTF-8, unless the name says otherwise.
fn in_its_encoding(name: &str, text: &str) -> Vec<u8> {
    match name {
        "latin-1" => text.chars().map(|c| u8::try_from(c).unwrap()).collect(),
        "utf-16" => [0xFEFF].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect(),
        _ => text.as_bytes().to_vec(),
    }
}

#[test]
fn every_kind_of_mistake_is_told_in_one_run() {
    let cases =
        [broken_selections(), broken_heads(), broken_correlations_and_filters(), broken_files()].concat();
    let rules = tempfile::tempdir().unwrap();
    for (name, text, ..) in &cases {
        fs::write(rules.path().join(format!("{name}.yml")), in_its_encoding(name, text)).unwrap();
    }
    let checked = run(["rules", "check", rules.path().to_str().unwrap()]);
    assert!(cases.len() > 40 && checked.code == Some(2), "{}", checked.stderr);
    assert!(!checked.stderr.contains("panicked"), "{}", checked.stderr);
    for (name, _, line, words) in cases.iter().filter(|(.., line, _)| *line > 0) {
        let place = format!("/{name}.yml:{line}: ");
        let told = checked
            .stderr
            .lines()
            .any(|told| told.split_once(&place).is_some_and(|(_, what)| what.contains(words)));
        assert!(told, "{place}{words} in {}", checked.stderr);
    }
}

#[test]
fn filters_and_values_tune_what_runs() {
    let filter = "title: Not by ours
logsource: {product: aws, service: cloudtrail}
filter:
  rules: [user-created]
  ours: {userIdentity.userName|expand: '%ours%'}
  condition: not ours
";
    let rule = format!("# rsigma-disable invalid_id\n{USER_RULE}");
    let rules = folder(&[("rule.yml", &rule), ("filter.yml", filter)]);
    let values = folder(&[("ours.yml", "ours: [ann, 'svc-*']\n"), ("others.yml", "ours: []\n")]);
    let path = rules.path().to_str().unwrap();
    let input = log(&[create_user("1")]);
    for (name, alerts) in [("ours.yml", 0), ("others.yml", 1)] {
        let file = values.path().join(name);
        let file = file.to_str().unwrap();
        let flags = ["replay", "-", "--no-default-detections", "--detections", path, "--values", file];
        let replayed = run_with_input(flags, &input);
        assert_eq!((replayed.code, replayed.alerts().len()), (Some(0), alerts), "{}", replayed.stderr);
        let checked = run(["rules", "check", "--values", file, path]);
        assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    }
    let refused = run(["rules", "check", path]);
    assert_eq!(refused.code, Some(2));
    assert!(
        refused.stderr.contains("filter.yml:5: ") && refused.stderr.contains("--values FILE"),
        "{}",
        refused.stderr
    );
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
