//! Filters: which rules they narrow, and how.

use super::*;

/// Two rules of these titles, which are also their ids.
fn rules() -> String {
    let rule = |title: &str| {
        rule("s: {a: 1}\ncondition: s").replace("A rule", title).replace("id: 1", &format!("id: {title}"))
    };
    format!("{}---\n{}", rule("one"), rule("two"))
}

fn filter(rules: &str, body: &str) -> String {
    format!(
        "title: F\nlogsource: {{product: aws, service: cloudtrail}}\nfilter:\n  rules: {rules}\n  {body}\n"
    )
}

fn compile_all(texts: &[&str]) -> Compiled {
    let files: Vec<_> = texts
        .iter()
        .enumerate()
        .map(|(number, text)| RuleFile { name: format!("{number}.yml").into(), ..file(text) })
        .collect();
    compile(&files)
}

fn narrowed(compiled: &Compiled) -> Vec<&str> {
    let narrowed = compiled.rules.iter().filter(|rule| rule.condition().unwrap().selections.len() > 1);
    narrowed.map(|rule| rule.title.as_str()).collect()
}

#[test]
fn filters_narrow_the_rules_that_they_name() {
    let not_ci = "s: {b: ci}\n  condition: not s";
    let plain = compile_all(&[&rules()]);
    for (targets, expected) in [
        ("[one]", &["one"][..]),
        ("two", &["two"]),
        ("any", &["one", "two"]),
        ("[one, two, one]", &["one", "two"]),
    ] {
        let text = filter(targets, not_ci);
        let compiled = compile_all(&[&text, &rules()]);
        assert!(compiled.problems.is_empty(), "{targets}: {:?}", compiled.problems);
        assert_eq!(narrowed(&compiled), expected, "{targets}");
        for (rule, plain) in compiled.rules.iter().zip(&plain.rules) {
            assert_eq!(rule.hash != plain.hash, expected.contains(&rule.title.as_str()), "{targets}");
        }
    }
    // A copy of a filter changes nothing, and neither does the order of two.
    let (one, two) =
        (filter("any", not_ci), filter("any", "s: {b: x}\n  condition: not s").replace('F', "G"));
    let hashes = |texts: &[&str]| -> Vec<String> {
        let compiled = compile_all(texts);
        assert!(compiled.problems.is_empty(), "{:?}", compiled.problems);
        compiled.rules.iter().map(|rule| rule.hash.clone()).collect()
    };
    assert_eq!(hashes(&[&one, &rules(), &two]), hashes(&[&two, &rules(), &one, &one]));
    assert_ne!(hashes(&[&one, &rules()]), hashes(&[&two, &rules()]));
}

#[test]
fn both_conditions_hold_and_names_never_clash() {
    let text = filter("one", "s: {b: ci}\n  t: {c: x}\n  condition: not 1 of them or t");
    let compiled = compile_all(&[&text, &rules()]);
    assert!(compiled.problems.is_empty(), "{:?}", compiled.problems);
    let condition = compiled.rules[0].condition().unwrap();
    let names: Vec<&str> = condition.selections.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["s", "F / s", "F / t"]);
    assert_eq!(
        format!("{:?}", condition.root),
        "All([Selection(0), Any([Not(Any([Selection(1), Selection(2)])), Selection(2)])])"
    );
}

#[test]
fn log_sources_must_fit() {
    let text = filter("any", "s: {b: ci}\n  condition: not s");
    let broad = text.replace(", service: cloudtrail", "");
    let category = text.replace("service: cloudtrail", "category: x");
    let windows = text.replace("aws", "windows");
    for (text, expected) in [(&broad, 2), (&category, 0), (&windows, 0)] {
        let compiled = compile_all(&[text, &rules()]);
        assert!(compiled.problems.is_empty(), "{text}: {:?}", compiled.problems);
        assert_eq!(narrowed(&compiled).len(), expected, "{text}");
    }
    let problems = compile_all(&[&category.replace("any", "one"), &rules()]).problems;
    assert_eq!(problems[0].to_string(), "0.yml:4: the log source of the filter does not fit the rule `one`");
}

#[test]
fn filters_that_do_not_run_change_nothing() {
    let text = filter("any", "s: {b: ci}\n  condition: not s");
    for state in ["status: deprecated\n", "trailhound: {enabled: false}\n"] {
        let compiled = compile_all(&[&format!("{text}{state}"), &rules()]);
        assert!(compiled.problems.is_empty() && narrowed(&compiled).is_empty(), "{state}");
        assert_eq!(compiled.skipped.retired + compiled.skipped.disabled, 1);
    }
    // So do targets that do not run.
    let retired = rules().replacen("id: one", "id: one\nstatus: deprecated", 1);
    let compiled = compile_all(&[&text.replace("any", "[one, two]"), &retired]);
    assert!(compiled.problems.is_empty(), "{:?}", compiled.problems);
    assert_eq!(narrowed(&compiled), ["two"]);
}

#[test]
fn faults_of_filters_name_their_line() {
    let condition = "condition: not s";
    let cases = [
        (filter("one", "s: {b: 1}"), 4, "`condition` is missing"),
        (filter("one", "s: {b: 1}\n  condition: [not s]"), 6, "one condition"),
        (filter("one", "s: {b: 1}\n  condition: not t"), 6, "no such selection"),
        (filter("one", &format!("s: {{b|foo: 1}}\n  {condition}")), 5, "foo"),
        (filter("one", "condition: not s"), 5, "no such selection"),
        (filter("[]", &format!("s: {{b: 1}}\n  {condition}")), 4, "names no rule"),
        (filter("{a: b}", &format!("s: {{b: 1}}\n  {condition}")), 4, "names no rule"),
        (
            filter("one", &format!("s: {{b: 1}}\n  {condition}")).replace("  rules: one\n", ""),
            4,
            "names no rule",
        ),
        (filter("[two, ten]", &format!("s: {{b: 1}}\n  {condition}")), 4, "there is no rule"),
        (filter("C", &format!("s: {{b: 1}}\n  {condition}")), 4, "`C` is a correlation"),
        (
            filter("one", &format!("s: {{b: 1}}\n  {condition}")).replace("title: F\n", ""),
            1,
            "`title` is missing",
        ),
        (
            filter("one", &format!("s: {{b: 1}}\n  {condition}")).replace("logsource", "log_source"),
            1,
            "`logsource` is missing",
        ),
        (
            filter("one", &format!("s: {{b: 1}}\n  {condition}")) + "trailhound: {summary: x}\n",
            7,
            "only rules over single events",
        ),
        ("title: F\nlogsource: {product: aws}\nfilter: x\n".to_owned(), 3, "names no rule"),
    ];
    let correlation =
        "title: C\ncorrelation: {type: event_count, rules: [one], timespan: 1h, condition: {gte: 5}}\n";
    for (text, line, message) in cases {
        let compiled = compile_all(&[&text, &rules(), correlation]);
        let problems: Vec<_> = compiled.problems.iter().map(Problem::to_string).collect();
        assert!(!problems.is_empty(), "{text}");
        assert!(problems[0].starts_with(&format!("0.yml:{line}: ")), "{text}: {problems:?}");
        assert!(problems[0].contains(message), "{text}: {problems:?}");
        let narrowed = compiled.rules.iter().filter_map(Rule::condition).any(|c| c.selections.len() > 1);
        assert!(!narrowed, "{text}: a filter with a fault narrows nothing");
    }
}
