//! Correlations: what they mean, whom they name, and what can be wrong with them.

use super::*;

/// Rules `one`, `two` and `three`, each a document.
fn members() -> String {
    ["one", "two", "three"]
        .map(|name| {
            format!(
                "title: Rule {name}\nid: id-{name}\nname: {name}\nlogsource: {{product: aws, service: cloudtrail}}\n\
                 detection: {{s: {{eventName: {name}}}, condition: s}}\n---\n"
            )
        })
        .concat()
}

/// The line of the file on which the lines of a correlation begin.
const FIRST: usize = 21;

/// The members, and behind them a correlation of these lines.
fn correlated(lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("  {line}\n")).collect();
    format!("{}title: C\ncorrelation:\n{lines}", members())
}

fn correlation(compiled: &Compiled, title: &str) -> Correlation {
    let rule = compiled.rules.iter().find(|rule| rule.title == title).expect("it runs");
    match &rule.logic {
        Logic::Correlation(correlation) => correlation.clone(),
        Logic::Event(_) => panic!("no correlation"),
    }
}

fn kind(lines: &str) -> String {
    let compiled = compile(&[file(&correlated(lines))]);
    assert!(compiled.problems.is_empty(), "{lines}: {:?}", compiled.problems);
    format!("{:?}", correlation(&compiled, "C").kind)
}

#[test]
fn kinds() {
    let all = "Temporal(All([Member(0), Member(1)]))";
    let a = r#"FieldPath { text: "a", segments: [0..1] }"#;
    let b = r#"FieldPath { text: "b", segments: [0..1] }"#;
    let gte = "Threshold([(GreaterOrEqual, Int(5))])";
    let cases = [
        ("type: event_count\nrules: one\ncondition: {gte: 5}", format!("EventCount({gte})")),
        (
            "type: event_count\nrules: [one]\ncondition: {gt: 1, lte: 9, neq: 4}",
            "EventCount(Threshold([(Greater, Int(1)), (LessOrEqual, Int(9)), (NotEqual, Int(4))]))".into(),
        ),
        ("type: value_count\nrules: [one]\ncondition: {field: a, gte: 5}", format!("ValueCount([{a}], {gte})")),
        (
            "type: value_count\nrules: [one]\ncondition: {field: [a, b], gte: 5}",
            format!("ValueCount([{a}, {b}], {gte})"),
        ),
        (
            "type: value_sum\nrules: [one]\ncondition: {field: a, gte: 5, lt: 7.5}",
            format!("ValueSum({a}, Threshold([(GreaterOrEqual, Int(5)), (Less, Float(7.5))]))"),
        ),
        (
            "type: value_avg\nrules: [one]\ncondition: {field: a, eq: -1}",
            format!("ValueAverage({a}, Threshold([(Equal, Int(-1))]))"),
        ),
        (
            "type: value_percentile\nrules: [one]\ncondition: {field: a, percentile: 95, gte: 5}",
            format!("ValuePercentile({a}, 95, {gte})"),
        ),
        (
            "type: value_median\nrules: [one]\ncondition: {field: a, gte: 5}",
            format!("ValuePercentile({a}, 50, {gte})"),
        ),
        ("type: temporal\nrules: [one, two]", all.into()),
        ("type: temporal\nrules: [one, two]\ncondition: {gte: 2}", all.into()),
        ("type: temporal\nrules: [one, two]\ncondition: one and two", all.into()),
        ("type: temporal\ncondition: one and two", all.into()),
        ("type: temporal\nrules: [id-one, Rule two]\ncondition: one and id-two", all.into()),
        (
            "type: temporal\nrules: [one, two, three]\ncondition: (one or two) and not three",
            "Temporal(All([Any([Member(0), Member(1)]), Not(Member(2))]))".into(),
        ),
        (
            "type: temporal\nrules: [one, two, three]\ncondition: {gte: 2}",
            "Temporal(Any([All([Member(0), Member(1)]), All([Member(0), Member(2)]), All([Member(1), Member(2)])]))"
                .into(),
        ),
        ("type: temporal_ordered\nrules: [one, two]", "TemporalOrdered".into()),
        ("type: temporal_ordered\nrules: [one, two]\ncondition: {gte: 2}", "TemporalOrdered".into()),
        ("type: temporal_ordered\nrules: [one, two]\ncondition: one and two", "TemporalOrdered".into()),
    ];
    for (lines, expected) in cases {
        assert_eq!(kind(&format!("{lines}\ntimespan: 1h")), expected, "{lines}");
    }
}

#[test]
fn groups_and_aliases_are_resolved_for_each_member() {
    let compiled = compile(&[file(&correlated(
        "type: temporal\nrules: [one, Rule two]\ntimeframe: 90m\ngroup-by: [who, awsRegion]\naliases:\n  \
         who: {one: userIdentity.arn, id-two: requestParameters.userArn}\ngenerate: true",
    ))]);
    assert!(compiled.problems.is_empty(), "{:?}", compiled.problems);
    let correlation = correlation(&compiled, "C");
    let members: Vec<(&str, Vec<&str>)> = correlation
        .members
        .iter()
        .map(|member| (member.rule.as_str(), member.group_by.iter().map(FieldPath::as_str).collect()))
        .collect();
    assert_eq!(
        members,
        [
            ("id-one", vec!["userIdentity.arn", "awsRegion"]),
            ("id-two", vec!["requestParameters.userArn", "awsRegion"]),
        ]
    );
    assert_eq!(correlation.group_by, ["who", "awsRegion"].map(Box::from));
    assert_eq!(correlation.timespan, jiff::SignedDuration::from_mins(90));
    assert!(correlation.generate && compiled.rules.iter().all(|rule| !rule.muted));
}

#[test]
fn faults_of_correlations_name_their_line() {
    let many = (0..65).map(|number| format!("r{number}")).collect::<Vec<_>>().join(", ");
    let many = format!("type: event_count\nrules: [{many}]\ntimespan: 1h\ncondition: {{gte: 1}}");
    let fields = (0..17).map(|number| format!("f{number}")).collect::<Vec<_>>().join(", ");
    let count = "type: event_count\nrules: [one]\ntimespan: 1h\n";
    let fields = format!("{count}condition: {{gte: 1}}\ngroup-by: [{fields}]");
    let values = "type: value_sum\nrules: [one]\ntimespan: 1h\n";
    let temporal = "type: temporal\nrules: [one, two]\ntimespan: 1h\n";
    let aliases = format!("{temporal}group-by: [x]\naliases:\n");
    let cases = [
        ("rules: [one]\ntimespan: 1h".to_owned(), 1, "`type` is missing"),
        ("type: count\nrules: [one]\ntimespan: 1h".into(), 1, "`count` is no type of correlation"),
        (format!("{count}condition: {{gte: 1}}\ngroup_by: [a]"), 5, "no key `group_by`"),
        ("type: temporal\nrules: [one]".into(), 1, "`timespan` is missing"),
        ("type: temporal\nrules: [one]\ntimespan: 1".into(), 3, "`1` is no timespan"),
        ("type: temporal\nrules: [one]\ntimespan: 0s".into(), 3, "from 1 second to 32 days"),
        ("type: temporal\nrules: [one]\ntimespan: 33d".into(), 3, "from 1 second to 32 days"),
        ("type: temporal\nrules: [one]\ntimespan: 1h\ntimeframe: 1h".into(), 4, "old name"),
        (format!("{temporal}window: tumbling"), 4, "only sliding windows"),
        (format!("{temporal}gap: 5m"), 4, "session windows"),
        (format!("{temporal}generate: maybe"), 4, "`true` or `false`"),
        (count.to_owned(), 1, "`event_count` needs a condition"),
        (format!("{count}condition: one"), 4, "takes no condition over members"),
        (format!("{count}condition: [gte]"), 4, "a map such as"),
        (format!("{count}condition: {{}}"), 4, "needs a condition"),
        (format!("{count}condition:\n  more: 5"), 5, "`more` is no operator"),
        (format!("{count}condition: {{gte: many}}"), 4, "needs a whole number, not `many`"),
        (format!("{count}condition: {{gte: -1}}"), 4, "a whole number"),
        (format!("{count}condition: {{gte: 1.5}}"), 4, "a whole number"),
        (format!("{count}condition: {{gte: 1, field: a}}"), 4, "`field` has no meaning"),
        (format!("{values}condition: {{gte: 1}}"), 4, "`value_sum` needs the `field`"),
        (format!("{values}condition: {{gte: 1, field: []}}"), 4, "needs the `field`"),
        (format!("{values}condition: {{gte: 1, field: [a, b]}}"), 4, "one field"),
        (format!("{values}condition: {{gte: 1e999, field: a}}"), 4, "a number"),
        (format!("{values}condition: {{gte: 1, field: a, percentile: 5}}"), 4, "`percentile` has no meaning"),
        (
            format!(
                "{}condition: {{gte: 1, field: a, percentile: 101}}",
                values.replace("sum", "percentile")
            ),
            4,
            "from 0 to 100",
        ),
        (
            format!("{values}condition: {{gte: 1, field: x}}\naliases: {{x: {{one: a}}}}"),
            4,
            "the alias `x` can only stand in `group-by`",
        ),
        ("type: temporal\nrules: []\ntimespan: 1h".into(), 2, "has no members"),
        ("type: temporal\ntimespan: 1h".into(), 1, "has no members"),
        ("type: temporal\nrules: {a: b}\ntimespan: 1h".into(), 2, "has no members"),
        ("type: temporal\nrules: [one, one]\ntimespan: 1h".into(), 2, "`one` stands here twice"),
        ("type: temporal\nrules: [one, id-one]\ntimespan: 1h".into(), 2, "`id-one` stands here twice"),
        ("type: temporal\nrules:\n  - one\n  - four\ntimespan: 1h".into(), 4, "there is no rule"),
        (many, 2, "at most 64 members"),
        (fields, 5, "at most 16 fields"),
        (format!("{count}condition: {{gte: 1}}\ngroup-by: [a, a]"), 5, "`a` twice"),
        (format!("{count}condition: {{gte: 1}}\ngroup-by: {{a: b}}"), 5, "a field or a list"),
        (format!("{temporal}condition: one or"), 4, "the condition is not valid"),
        (format!("{temporal}condition: one or three"), 4, "`three` is not among the members"),
        (format!("{temporal}condition: one"), 4, "does not name the member `two`"),
        (
            format!("{}condition: one or two", temporal.replace("temporal", "temporal_ordered")),
            4,
            "all of its",
        ),
        (
            format!("{}condition: {{gte: 1}}", temporal.replace("temporal", "temporal_ordered")),
            4,
            "all of its",
        ),
        (format!("{aliases}  x: {{one: a}}"), 6, "no field for the member `two`"),
        (format!("{aliases}  x:\n    one: a\n    two: b\n    six: c"), 9, "`six` is not among the members"),
        (format!("{aliases}  x: [one]"), 6, "a map from members"),
        (format!("{temporal}aliases: [x]"), 4, "a map of aliases"),
    ];
    for (lines, line, message) in cases {
        let problems = problems(&correlated(&lines));
        assert!(!problems.is_empty(), "{lines}");
        assert!(
            problems[0].starts_with(&format!("rules/x.yml:{}: ", FIRST + line - 1)),
            "{lines}: {problems:?}"
        );
        assert!(problems[0].contains(message), "{lines}: {problems:?}");
        assert!(problems.len() == 1 || message.contains("a map"), "{lines}: {problems:?}");
    }
    for (key, message) in [("attempts: any", "only rules over single events"), ("enabled: maybe", "`true`")] {
        let text = format!("{}trailhound: {{{key}}}\n", correlated(&format!("{count}condition: {{gte: 1}}")));
        let problems = problems(&text);
        assert!(problems.len() == 1 && problems[0].contains(message), "{key}: {problems:?}");
    }
}

/// A file of this name with this text.
fn named(name: &str, text: &str) -> RuleFile {
    RuleFile { name: name.into(), ..file(text) }
}

fn titles(compiled: &Compiled, muted: bool) -> Vec<&str> {
    let rules = compiled.rules.iter().filter(|rule| rule.muted == muted);
    rules.map(|rule| rule.title.as_str()).collect()
}

fn counting(title: &str, members: &str) -> String {
    format!(
        "title: {title}\ncorrelation: {{type: event_count, rules: [{members}], timespan: 1h, condition: {{gte: 5}}}}\n"
    )
}

#[test]
fn members_of_the_same_file_are_muted() {
    let text = format!("{}{}", members(), counting("C", "one"));
    let loud = counting("D", "one, two").replace("timespan", "generate: true, timespan");
    let other = counting("E", "three");
    let compiled = compile(&[named("a.yml", &format!("{text}---\n{loud}")), named("b.yml", &other)]);
    assert!(compiled.problems.is_empty(), "{:?}", compiled.problems);
    assert_eq!(titles(&compiled, true), [""; 0], "`generate: true` wins, and another file mutes nothing");

    let compiled = compile(&[named("a.yml", &text), named("b.yml", &other)]);
    assert_eq!(titles(&compiled, true), ["Rule one"]);
    for state in ["status: deprecated\n", "trailhound: {enabled: false}\n"] {
        let compiled = compile(&[named("a.yml", &format!("{text}{state}"))]);
        assert_eq!(titles(&compiled, true), ["Rule one"], "private to a correlation that does not run");
        assert_eq!(titles(&compiled, false), ["Rule two", "Rule three"]);
    }
}

#[test]
fn correlations_of_correlations() {
    let inner = counting("Inner", "one").replace("timespan", "group-by: [a, b], timespan");
    let outer = "title: Outer\ncorrelation: {type: temporal_ordered, rules: [Inner, two], timespan: 1h, group-by: [x], aliases: {x: {Inner: a, two: c}}}\n";
    // The outer one may stand before the inner one.
    let text = format!("{outer}---\n{}{inner}", members());
    let compiled = compile(&[file(&text)]);
    assert!(compiled.problems.is_empty(), "{:?}", compiled.problems);
    assert_eq!(titles(&compiled, false), ["Outer", "Rule three"]);
    let members = correlation(&compiled, "Outer").members;
    assert_eq!((members[0].rule.as_str(), members[0].group_by[0].as_str()), ("title:Inner", "a"));

    let problem = &problems(&text.replace("{Inner: a", "{Inner: c"))[0];
    assert!(problem.contains("`Inner` is a correlation that does not group by `c`"), "{problem}");
    let values = "title: V\ncorrelation: {type: value_count, rules: [Inner], timespan: 1h, condition: {gte: 5, field: d}}\n";
    let problem = &problems(&format!("{text}---\n{values}"))[0];
    assert!(problem.contains("does not group by `d`"), "{problem}");
}

#[test]
fn cycles_are_told_where_they_stand() {
    let text = ["A: B", "B: C", "C: B", "D: D", "E: one", "F: A, E"].map(|line| {
        let (title, members) = line.split_once(": ").unwrap();
        counting(title, members)
    });
    let compiled = compile(&[file(&format!("{}{}", members(), text.join("---\n")))]);
    let mut problems: Vec<String> = compiled.problems.iter().map(Problem::to_string).collect();
    problems.sort();
    let expected = [
        "rules/x.yml:20: the rule `B` at rules/x.yml:22 is broken",
        "rules/x.yml:23: the correlation depends on itself: B → C → B",
        "rules/x.yml:26: the correlation depends on itself: C → B → C",
        "rules/x.yml:29: the correlation depends on itself: D → D",
        "rules/x.yml:35: the rule `A` at rules/x.yml:19 is broken",
    ];
    assert_eq!(problems, expected);
    assert!(compiled.rules.iter().any(|rule| rule.title == "E"));
}

#[test]
fn members_are_found_in_any_file_by_any_of_their_names() {
    let compile = |files: &[(&str, String)]| {
        let files: Vec<_> = files.iter().map(|(name, text)| named(name, text)).collect();
        Part::join(files.chunks(1).map(|files| Part::compile(files, &Values::default())))
    };
    for name in ["id-two", "two", "Rule two"] {
        let compiled = compile(&[("c.yml", counting("C", name)), ("m.yml", members())]);
        assert!(compiled.problems.is_empty(), "{name}: {:?}", compiled.problems);
        assert_eq!(correlation(&compiled, "C").members[0].rule, "id-two");
    }
    // The same names with other ids in another file.
    let others = members().replace("id-", "other-");
    let compiled =
        compile(&[("a.yml", members()), ("b.yml", others.clone()), ("c.yml", counting("C", "two"))]);
    assert_eq!(
        compiled.problems[0].to_string(),
        "c.yml:2: `two` may be the rule at a.yml:7 or the one at b.yml:7; name it by its id"
    );
    let private = format!("{others}{}", counting("C", "two"));
    let compiled = compile(&[("a.yml", members()), ("b.yml", private)]);
    assert!(compiled.problems.is_empty(), "{:?}", compiled.problems);
    assert_eq!(correlation(&compiled, "C").members[0].rule, "other-two", "its own file comes first");
}

#[test]
fn members_must_run() {
    let cases = [
        ("service: cloudtrail", "service: guardduty", "is for another log source"),
        ("id: id-one", "id: id-one\nstatus: deprecated", "is deprecated or unsupported"),
        ("id: id-one", "id: id-one\ntrailhound: {enabled: false}", "is disabled"),
        ("condition: s", "condition: t", "is broken"),
    ];
    for (from, to, message) in cases {
        let text = format!("{}{}", members().replacen(from, to, 1), counting("C", "one, two"));
        let problems = problems(&text);
        assert!(problems.iter().any(|problem| problem.contains(message)), "{to}: {problems:?}");
    }
    // A correlation over nothing but rules for another log source is for that log source, too.
    let text = format!("{}{}", members().replace("cloudtrail", "guardduty"), counting("C", "one, two"));
    let text = format!("{text}---\n{}", counting("D", "C"));
    let compiled = compile(&[file(&text)]);
    assert!(compiled.problems.is_empty(), "{:?}", compiled.problems);
    assert_eq!(compiled.skipped.other_source, 5);
}
