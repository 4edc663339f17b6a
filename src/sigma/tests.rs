mod correlations;
mod filters;
mod tuning;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::event::FieldPath;

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

/// The regular expression of the only selection of a rule.
fn only_regex(rule: &Rule) -> &LateRegex {
    fn find(part: &Expression) -> Option<&LateRegex> {
        match part {
            Expression::Field(_, Test::Regex(regex)) => Some(regex),
            Expression::All(parts) | Expression::Any(parts) => parts.iter().find_map(find),
            _ => None,
        }
    }
    rule.condition().and_then(|condition| find(&condition.selections[0].1)).unwrap()
}

#[test]
fn expressions_that_are_written_alike_are_compiled_once() {
    let selections = ["a|re: ['^x', 'y$']", "a|re: '(?:^x)|(?:y$)'", "b|re: ['^x', 'y$']"];
    let rules = (1..).zip(selections).map(|(number, selection)| {
        rule(&format!("s: {{{selection}}}\ncondition: s")).replace("id: 1", &format!("id: {number}"))
    });
    let compiled = compile(&[file(&rules.collect::<Vec<_>>().join("---\n"))]);
    let regexes: Vec<&LateRegex> = compiled.rules.iter().map(only_regex).collect();
    assert!(regexes[0].is_match("xa"));
    let is_compiled = |regex: &&LateRegex| !format!("{regex:?}").contains("<uninit>");
    assert_eq!(regexes.iter().map(is_compiled).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(regexes[1].to_string(), "/(?:^x)|(?:y$)/");
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
        ("s:\n  a: 1\ncondition: s | count() > 5", 9, "`type: event_count`"),
        ("s:\n  a: 1\ncondition: []", 9, "`condition` is missing"),
        ("s:\n  a: 1\ncondition: {}", 9, "a condition"),
        ("s:\n  a|not: 1\ncondition: s", 8, "not a value modifier"),
        ("s: [~, a]\ncondition: s", 7, "null"),
        ("s:\n  a: 1\n", 7, "`condition` is missing"),
        ("s: {}\ncondition: s", 7, "empty"),
        ("s:\n  a: []\ncondition: s", 8, "no value"),
        ("s:\n  a: {b: 1}\ncondition: s", 8, "not a map"),
        ("s:\n  a|gt: x\ncondition: s", 8, "needs a number"),
        ("s:\n  a|cidr: 10.0.0.0/99\ncondition: s", 8, "CIDR"),
        ("s:\n  a|exists: maybe\ncondition: s", 8, "`true` or `false`"),
        ("s:\n  a|expand: '%x%'\ncondition: s", 8, "--values FILE"),
        ("s:\n  a|expand: x\ncondition: s", 8, "needs a placeholder"),
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
        (good.clone() + "trailhound: yes\n", 9, "a map"),
        (good.clone() + "sigma-version: 3\n", 0, ""),
        (good.replace("{a: 1}", "{'a[any].b': 1}"), 0, ""),
        (good.replace("{a: 1}", "{'a[any].b': 1}") + "sigma-version: 3\n", 0, ""),
        (good.replace("{a: 1}", "{'a[any]': {b: 1, 'c[all].d|contains': x}}") + "sigma-version: 3\n", 0, ""),
        (good.replace("{a: 1}", "{'a[0].b': 1}") + "sigma-version: 3\n", 7, "array matching"),
        (good.replace("{a: 1}", "{'a[any]': 1, 'b[none]|contains': [x, y]}") + "sigma-version: 3\n", 0, ""),
        (good.replace("{a: 1}", "{'a[any]b': 1}") + "sigma-version: 3\n", 7, "array matching"),
        (good.replace("{a: 1}", "{'a[any]|contains': {b: 1}}") + "sigma-version: 3\n", 7, "array matching"),
        (good.replace("{a: 1}", "{'a[any]': {}}") + "sigma-version: 3\n", 7, "empty"),
        (
            good.replace("{a: 1}", "{'a[any]': {s: {b: 1}, condition: t}}") + "sigma-version: 3\n",
            7,
            "names `t`",
        ),
        (good.replace("title: A rule", "title: [A, rule]"), 1, "`title` takes one text"),
        (good.replace("id: 1", "id: {a: b}"), 2, "`id` takes one text"),
        (good.replace("  product: aws\n  service: cloudtrail\n", "  - aws\n"), 4, "a map of product"),
        ("title: A\nlogsource: {product: aws}\ndetection: x\n".to_owned(), 3, "a map of selections"),
        (good.clone() + "correlation: {}\nfilter: {}\n", 1, "either a correlation or a filter"),
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
fn globals_add_up_and_reach_every_kind_of_document() {
    let text = "action: global
logsource: {product: aws}
---
action: global
logsource: {service: cloudtrail}
level: low
---
title: One
name: one
detection: {s: {eventName: A}, condition: s}
---
title: Many
correlation: {type: event_count, rules: [one], timespan: 1h, condition: {gte: 5}}
---
action: repeat
title: More
correlation: {condition: {gte: 50}}
---
title: Not by us
filter: {rules: [one], f: {a: us}, condition: not f}
---
action: repeat
title: Not by you
filter: {f: {a: you}}
";
    let compiled = compile(&[file(text)]);
    assert!(compiled.problems.is_empty(), "{:?}", compiled.problems);
    let rules: Vec<_> = compiled.rules.iter().map(|rule| (rule.title.as_str(), rule.level)).collect();
    assert_eq!(rules, [("One", Level::Low), ("Many", Level::Low), ("More", Level::Low)]);
    let thresholds = compiled.rules.iter().filter_map(|rule| match &rule.logic {
        Logic::Correlation(correlation) => Some(format!("{:?}", correlation.kind)),
        Logic::Event(_) => None,
    });
    let gte = |count| format!("EventCount(Threshold([(GreaterOrEqual, Int({count}))]))");
    assert_eq!(thresholds.collect::<Vec<_>>(), [gte(5), gte(50)]);
    assert_eq!(compiled.rules[0].condition().unwrap().selections.len(), 3, "both filters");
}

#[test]
fn old_names_are_understood() {
    let good = rule("s: {a|ignorecase|re: x, b|utf16le|base64: y}\ncondition: s\ntimeframe: 5m");
    let good = good.replace("a|ignorecase|re", "a|re|ignorecase|multiline|dotall");
    let compiled = compile(&[file(&(good + "level: info\nstatus: testing\nreference: https://x\n"))]);
    assert!(compiled.problems.is_empty(), "{:?}", compiled.problems);
    let rule = &compiled.rules[0];
    assert_eq!((rule.level, rule.status.as_deref()), (Level::Informational, Some("test")));
    assert_eq!(rule.references, ["https://x"]);
}

#[test]
fn placeholders_become_values() {
    let compile = |detection: &str, values: &str| {
        let (values, problems) = Values::read("v.yml", values);
        assert!(problems.is_empty());
        Part::join([Part::compile(&[file(&rule(detection))], &values)])
    };
    let shape = |compiled: &Compiled| format!("{:?}", compiled.rules[0].condition().unwrap().selections);
    let cases = [
        ("s: {a|expand: '%x%'}\ncondition: s", "s: {a: [one, 't*']}\ncondition: s"),
        ("s: {a|contains|expand: '-%x%-'}\ncondition: s", "s: {a|contains: [-one-, '-t*-']}\ncondition: s"),
        ("s: {a|cidr|expand: '%net%'}\ncondition: s", "s: {a|cidr: [10.0.0.0/8]}\ncondition: s"),
        ("s: {a|re|expand: '^%one%$'}\ncondition: s", "s: {a|re: '^a.b$'}\ncondition: s"),
    ];
    let values = "x: [one, 't*']\nnet: 10.0.0.0/8\none: a.b\nnone: []\n";
    for (expanded, plain) in cases {
        let (one, other) = (compile(expanded, values), compile(plain, values));
        assert!(one.problems.is_empty(), "{expanded}: {:?}", one.problems);
        // The order in a set of words is that of its hashes.
        let sorted = |text: String| {
            let mut chars: Vec<char> = text.chars().collect();
            chars.sort_unstable();
            chars
        };
        assert_eq!(sorted(shape(&one)), sorted(shape(&other)), "{expanded}");
    }
    // With `all` each written value must be met, by one of those that it stands for.
    let all = compile("s: {a|contains|all|expand: ['%x%', '%one%']}\ncondition: s", values);
    let Expression::All(items) = &all.rules[0].condition().unwrap().selections[0].1 else { panic!() };
    assert!(matches!(&items[0], Expression::All(values) if values.len() == 2), "{items:?}");
    let nothing = compile("s: {a|expand: '%none%'}\nk: {'|expand': '%none%'}\ncondition: 1 of them", values);
    assert!(nothing.problems.is_empty(), "{:?}", nothing.problems);

    let problem = compile("s:\n  a|expand: '%y%'\ncondition: s", values).problems[0].to_string();
    assert_eq!(problem, "rules/x.yml:8: `a`: `%y%` is not in v.yml");
    let hash = |values: &str| compile(cases[0].0, values).rules[0].hash.clone();
    assert_eq!(hash("x: [a]\nother: b"), hash("x: a"));
    assert_ne!(hash("x: [a]"), hash("x: [b]"));
}

#[test]
fn groups_and_first_times_are_read() {
    let good = rule("s: {a: 1}\ncondition: s");
    let extension = |text: &str| {
        let compiled = compile(&[file(&format!("{good}trailhound:\n  {text}\n"))]);
        match &compiled.problems[..] {
            [] => Ok(compiled.rules[0].extension.clone()),
            problems => Err(problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")),
        }
    };
    let path = FieldPath::new;
    let hours = jiff::SignedDuration::from_hours;
    let grouped = extension("group: {by: [actor.arn, awsRegion], period: 90m}").unwrap().group.unwrap();
    assert_eq!(grouped.by, [path("actor.arn"), path("awsRegion")]);
    assert_eq!(grouped.period, hours(1) + jiff::SignedDuration::from_mins(30));
    let seen = |text| extension(text).unwrap().first_seen.unwrap();
    let region = seen("first_seen: {of: awsRegion, by: actor.arn, learn: 7d, forget: 90d}");
    let expected = FirstSeen {
        of: Seen::Value(path("awsRegion")),
        by: vec![path("actor.arn")],
        learn: hours(7 * 24),
        forget: hours(90 * 24),
    };
    assert_eq!(region, expected);
    let network = seen("first_seen: {of: network(sourceIPAddress), by: [a], learn: 0s, forget: 400d}");
    assert_eq!(network.of, Seen::Network(path("sourceIPAddress")));

    let cases = [
        ("group: yes", "`trailhound.group`: expected a map"),
        ("group: {by: [a]}", "`trailhound.group.period`: missing"),
        ("group: {by: [], period: 1h}", "a field or a list"),
        ("group: {by: [a, ''], period: 1h}", "a field or a list"),
        ("group: {by: [a], period: 1}", "a number and a unit"),
        ("group: {by: [a], period: 59m}", "from 1h to 400d, not `59m`"),
        ("group: {by: [a], period: 1h, of: a}", "`trailhound.group.of`: unknown key"),
        ("group: {by: [a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q], period: 1h}", "at most 16"),
        ("first_seen: {of: a, by: [a], forget: 7d}", "`trailhound.first_seen.learn`: missing"),
        ("first_seen: {of: a, by: [a], learn: 8d, forget: 7d}", "not longer than `forget`"),
        ("first_seen: {of: a, by: [a], learn: 1d, forget: 401d}", "from 1h to 400d"),
        ("first_seen: {of: subnet(a), by: [a], learn: 1d, forget: 7d}", "`network(FIELD)`"),
        ("first_seen: {of: network(), by: [a], learn: 1d, forget: 7d}", "`network(FIELD)`"),
        ("first_seen: {of: [a], by: [a], learn: 1d, forget: 7d}", "`network(FIELD)`"),
        (
            "group: {by: [a], period: 1h}\n  first_seen: {of: a, by: [a], learn: 1d, forget: 7d}",
            "either `group` or `first_seen`",
        ),
    ];
    for (text, expected) in cases {
        let problem = extension(text).unwrap_err();
        assert!(problem.starts_with("rules/x.yml:") && problem.contains(expected), "{text}: {problem}");
        assert!(!problem.contains('\n'), "{text}: {problem}");
    }
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever is cut out of a folder of documents or put into it, it compiles or is told.
    #[test]
    fn nothing_panics(cuts in prop::collection::vec((any::<Index>(), 0_usize..40, 0_usize..FRAGMENTS.len()), 1..6)) {
        let mut text = EVERYTHING.to_owned();
        for (at, length, fragment) in cuts {
            let chars: Vec<char> = text.chars().collect();
            let from = at.index(chars.len() + 1);
            let to = (from + length).min(chars.len());
            text = chars[..from].iter().collect::<String>() + FRAGMENTS[fragment];
            text.extend(&chars[to..]);
        }
        let files = [file(&text), RuleFile { name: "y.yml".into(), named: true, ..file(EVERYTHING) }];
        let (values, _) = Values::read("v.yml", &text);
        let compiled = Part::join([Part::compile(&files, &values)]);
        for problem in &compiled.problems {
            prop_assert!(!problem.to_string().contains('\n'), "{problem}");
        }
    }
}

const FRAGMENTS: [&str; 14] =
    ["", "\n", ": ", "- ", "{", "]", "---\n", "%x%", "|expand", "*", "'", "\u{2028}é", "1 of them", "\t"];

/// A document of each kind.
const EVERYTHING: &str = "title: One
id: one
name: one
logsource: {product: aws, service: cloudtrail}
detection:
  s: {eventName|contains|all: [a, 'b*'], c|cidr: 10.0.0.0/8, d|re: '^x$'}
  t: [keyword, 5]
  condition: s and not 1 of t*
trailhound:
  group: {by: [a], period: 2h}
---
title: Two
correlation:
  type: value_percentile
  rules: [one]
  group-by: [x]
  aliases: {x: {one: a.b}}
  timespan: 15m
  condition: {field: a, percentile: 95, gte: 5}
---
title: Three
correlation:
  type: temporal
  rules: [one, Two]
  timespan: 1h
  group-by: [x]
  condition: one and not Two
---
title: Four
logsource: {product: aws}
filter:
  rules: any
  u: {c: d}
  condition: not u
---
action: repeat
title: Five
";
