use super::*;

fn file(text: &str) -> RuleFile {
    RuleFile { name: "rules/x.yml".into(), text: text.to_owned(), named: false }
}

fn problems(text: &str) -> Vec<String> {
    compile(&[file(text)]).problems.iter().map(Problem::to_string).collect()
}

/// A rule around the lines of its `detection`.
fn rule(detection: &str) -> String {
    format!(
        "title: A rule\nid: 1\nlogsource:\n  product: aws\n  service: cloudtrail\ndetection:\n{}",
        detection.lines().map(|line| format!("  {line}\n")).collect::<String>()
    )
}

#[test]
fn a_rule_is_read_in_full() {
    let text = "title: ' IAM user created '
id: 0f2d6f1e-0000-4000-8000-000000000001
status: stable
description: |
  Someone created a user.
references: [https://example.com/a]
tags: [attack.persistence, attack.t1136.003]
logsource: {product: aws, service: cloudtrail}
detection:
  selection: {eventName: CreateUser}
  condition: selection
falsepositives: [Automation]
level: HIGH
trailhound:
  summary: '{actor.name} created {requestParameters.userName}'
  response: Ask the owner.
  attempts: success
";
    let compiled = compile(&[file(text)]);
    assert!(compiled.problems.is_empty(), "{:?}", compiled.problems);
    let rule = &compiled.rules[0];
    assert_eq!(rule.id, "0f2d6f1e-0000-4000-8000-000000000001");
    assert_eq!(rule.level, Level::High);
    assert_eq!(rule.description.as_deref(), Some("Someone created a user."));
    assert_eq!(rule.tags, ["attack.persistence", "attack.t1136.003"]);
    assert_eq!(rule.falsepositives, ["Automation"]);
    assert_eq!(rule.extension.attempts, Attempts::Success);
    assert_eq!(rule.extension.response.as_deref(), Some("Ask the owner."));
    assert_eq!(rule.extension.summary.as_ref().unwrap().pieces().len(), 3);
    assert_eq!(rule.place.to_string(), "rules/x.yml:1");
    assert_eq!(rule.hash.len(), 64);
}

#[test]
fn defaults() {
    let text = rule("s: {eventName: A}\ncondition: s").replace("id: 1\n", "");
    let compiled = compile(&[file(&text)]);
    assert_eq!(compiled.rules[0].id, "title:A rule");
    assert_eq!(compiled.rules[0].level, Level::Medium);
    assert_eq!(compiled.rules[0].extension, Extension::default());
}

#[test]
fn faults_name_their_line() {
    let cases = [
        ("s:\n  eventName|contans: x\ncondition: s", 8, "contans"),
        ("s:\n  - a: 1\n  - b|re: 'a(?=b)'\ncondition: s", 9, "look-around"),
        ("s:\n  a|re: '('\ncondition: s", 8, "regular expression"),
        ("s:\n  a|re: '(a{1000}){1000}'\ncondition: s", 8, "regular expression"),
        ("s:\n  a: 1\ncondition: s and t", 9, "no such selection"),
        ("s:\n  a: 1\ncondition: s and not 1 of filter_*", 9, "filter_*"),
        ("s:\n  a: 1\ncondition: s and", 9, "condition is not valid"),
        ("s:\n  a: 1\ncondition: s | count() > 5", 9, "correlation"),
        ("s:\n  a: 1\n", 7, "`condition` is missing"),
        ("s: {}\ncondition: s", 7, "empty"),
        ("s:\n  a: []\ncondition: s", 8, "no value"),
        ("s:\n  a: {b: 1}\ncondition: s", 8, "not a map"),
        ("s:\n  a|gt: x\ncondition: s", 8, "needs a number"),
        ("s:\n  a|cidr: 10.0.0.0/99\ncondition: s", 8, "CIDR"),
        ("s:\n  a|exists: maybe\ncondition: s", 8, "`true` or `false`"),
        ("s:\n  a|expand: '%x%'\ncondition: s", 8, "expand"),
        ("s:\n  a|contains|startswith: x\ncondition: s", 8, "cannot be combined"),
        ("s:\n  a|re|contains: x\ncondition: s", 8, "cannot be combined"),
        ("s:\n  a|i: x\ncondition: s", 8, "no meaning"),
        ("s:\n  a|contains: ~\ncondition: s", 8, "null"),
        ("s:\n  a|base64: 'x*'\ncondition: s", 8, "wildcards"),
        ("s:\n  a|utf16: x\ncondition: s", 8, "no text"),
        ("s:\n  a|exists: [true, false]\ncondition: s", 8, "`true` or `false`"),
        ("s:\n  a|fieldref: 'b*'\ncondition: s", 8, "wildcards"),
        ("s:\n  a|wide|utf16be: x\ncondition: s", 8, "cannot be combined"),
        ("s:\n  a|base64offset: ''\ncondition: s", 8, "no value"),
        ("s:\n  '|re': x\ncondition: s", 8, "no meaning"),
        ("s:\n  a: 1\n  a: 2\ncondition: s", 9, "twice"),
        ("s:\n  a: 1\ncondition: s\ntimeframe: 5m\nt: [", 11, "not YAML"),
    ];
    for (detection, line, message) in cases {
        let problems = problems(&rule(detection));
        assert_eq!(problems.len(), 1, "{detection}: {problems:?}");
        assert!(problems[0].starts_with(&format!("rules/x.yml:{line}: ")), "{detection}: {problems:?}");
        assert!(problems[0].contains(message), "{detection}: {problems:?}");
    }
}

#[test]
fn faults_outside_of_the_detection() {
    let good = rule("s: {a: 1}\ncondition: s");
    let cases = [
        (good.replace("title: A rule\n", ""), 1, "`title` is missing"),
        ("- a\n- b\n".to_owned(), 1, "a map"),
        (good.clone() + "level: severe\n", 9, "`severe` is no level"),
        (good.clone() + "trailhound: {sumary: x}\n", 9, "`trailhound.sumary`: unknown key"),
        (good.clone() + "trailhound:\n  summary: '{a'\n", 10, "brace"),
        (good.clone() + "trailhound:\n  attempts: maybe\n", 10, "`success` or `any`"),
        (good.clone() + "trailhound:\n  group: {by: [a], period: 1h}\n", 10, "not available"),
        (good.clone() + "trailhound: yes\n", 9, "a map"),
        (good.clone() + "sigma-version: 3\n", 0, ""),
        ("title: C\ncorrelation:\n  type: event_count\n".to_owned(), 3, "correlation rules"),
    ];
    for (text, line, message) in cases {
        let problems = problems(&text);
        if line == 0 {
            assert!(problems.is_empty(), "{text}: {problems:?}");
            continue;
        }
        assert_eq!(problems.len(), 1, "{text}: {problems:?}");
        assert!(problems[0].starts_with(&format!("rules/x.yml:{line}: ")), "{text}: {problems:?}");
        assert!(problems[0].contains(message), "{text}: {problems:?}");
    }
}

#[test]
fn every_fault_of_a_file_is_reported() {
    let text = format!(
        "{}---\n{}---\n{}",
        rule("s: {a|foo: 1, b|bar: 2}\ncondition: s or"),
        "title: [\n",
        rule("s: {a: 1}\ncondition: s")
    );
    let compiled = compile(&[file(&text)]);
    let lines: Vec<usize> = compiled.problems.iter().map(|problem| problem.place.line).collect();
    assert_eq!(lines, [7, 7, 8, 10], "{:?}", compiled.problems);
    assert_eq!(compiled.rules.len(), 1, "the document behind a syntax error still loads");
}

#[test]
fn actions_apply() {
    let text = "action: global
logsource: {product: aws, service: cloudtrail}
level: low
detection: {condition: s}
---
title: One
detection: {s: {eventName: A}}
---
action: repeat
title: Two
---
action: reset
---
title: Three
logsource: {product: aws, service: cloudtrail}
detection: {s: {eventName: A}, condition: s}
---
action: sing
title: Four
";
    let compiled = compile(&[file(text)]);
    let rules: Vec<_> = compiled.rules.iter().map(|rule| (rule.title.as_str(), rule.level)).collect();
    assert_eq!(rules, [("One", Level::Low), ("Two", Level::Low), ("Three", Level::Medium)]);
    assert_eq!(compiled.problems.len(), 1);
}

#[test]
fn rules_that_do_not_run_are_counted() {
    let good = rule("s: {a: 1}\ncondition: s");
    let other = good.replace("product: aws\n  service: cloudtrail", "category: process_creation");
    let windows = good.replace("product: aws", "product: windows");
    let files: Vec<RuleFile> = [
        other,
        windows,
        good.clone() + "status: deprecated\n",
        good.clone() + "status: unsupported\n",
        good.clone() + "trailhound: {enabled: false}\n",
        good.clone(),
        format!("# the same\n{good}"),
    ]
    .iter()
    .map(|text| file(text))
    .collect();
    let compiled = compile(&files);
    assert_eq!(compiled.rules.len(), 1);
    assert!(compiled.problems.is_empty());
    assert_eq!(compiled.skipped, Skipped { other_source: 2, retired: 2, disabled: 1, repeated: 1 });

    let named = RuleFile { named: true, ..file(&(good + "status: deprecated\n")) };
    assert_eq!(compile(&[named]).rules.len(), 1);
}

#[test]
fn one_id_for_two_detections_is_a_problem() {
    let one = RuleFile { name: "a.yml".into(), ..file(&rule("s: {a: 1}\ncondition: s")) };
    let two = RuleFile { name: "b.yml".into(), ..file(&rule("s: {a: 2}\ncondition: s")) };
    let compiled = compile(&[one, two]);
    let problem = compiled.problems[0].to_string();
    assert!(problem.starts_with("b.yml:1: ") && problem.contains("a.yml:1"), "{problem}");
}
