//! What the user sets beside the rules.

use super::*;

/// Selectors, and what is set for what they select.
type Set = (&'static str, Option<bool>, Option<Level>);

const NEVER: &str = "trailhound: {enabled: false}\n";

/// A rule with this id that is on, one that is off, and a correlation that is off with a member of its own that is off, too.
fn files() -> Vec<RuleFile> {
    let rule = |id: &str, tags: &str| {
        format!(
            "title: Rule {id}\nid: {id}\ntags: [{tags}]\nlevel: high\nlogsource: {{product: aws, service: cloudtrail}}\ndetection: {{s: {{eventName: A}}, condition: s}}\n"
        )
    };
    let correlation = format!(
        "title: Many\nid: many-0001\ntags: [attack.impact]\nlevel: high\n{NEVER}correlation: {{type: event_count, rules: [member-01], group-by: [a], timespan: 1h, condition: {{gte: 2}}}}\n---\n{}",
        rule("member-01", "attack.impact") + NEVER
    );
    let named = |name: &str, text: String| RuleFile { name: name.into(), text, named: false };
    vec![
        named("on.yml", rule("on-000001", "attack.impact, cis.aws.v5.0.4.10")),
        named("off.yml", rule("off-00001", "attack.t1098, cis.aws.v5.0.4.11") + NEVER),
        named("many.yml", correlation),
    ]
}

fn tuned(adjustments: &[Set]) -> Compiled {
    let adjustment = |(number, (selectors, enabled, level)): (usize, &Set)| Adjustment {
        place: Place { file: "config.toml".into(), line: number + 1 },
        detections: selectors.split_whitespace().map(|text| text.parse().unwrap()).collect(),
        enabled: *enabled,
        level: *level,
    };
    let tuning =
        Tuning { adjustments: adjustments.iter().enumerate().map(adjustment).collect(), off_too: false };
    Part::join_tuned([Part::compile(&files(), &Values::default())], &tuning)
}

/// Ids and levels of what runs by itself.
fn running(compiled: &Compiled) -> Vec<String> {
    assert!(compiled.problems.is_empty(), "{:?}", compiled.problems);
    let heard = compiled.rules.iter().filter(|rule| !rule.muted);
    heard.map(|rule| format!("{} {}", rule.id, rule.level)).collect()
}

#[test]
fn detections_are_switched_and_graded() {
    let (on, off) = (Some(true), Some(false));
    let cases: [(&[Set], &[&str]); 11] = [
        (&[], &["on-000001 high"]),
        (&[("off-00001", on, None)], &["on-000001 high", "off-00001 high"]),
        (&[("OFF-00001", on, Some(Level::Low))], &["on-000001 high", "off-00001 low"]),
        (&[("tag:cis.aws.v5.0.4.11", on, None)], &["on-000001 high", "off-00001 high"]),
        (&[("tag:CIS.*", on, Some(Level::Low))], &["on-000001 low", "off-00001 low"]),
        (&[("*", off, None)], &[]),
        (&[("*", off, None), ("tag:attack.t1098", on, None)], &["off-00001 high"]),
        (&[("tag:cis.*", on, None), ("off-00001", off, None)], &["on-000001 high"]),
        (
            &[("tag:cis.*", None, Some(Level::Low)), ("on-000001", None, Some(Level::Medium))],
            &["on-000001 medium"],
        ),
        (&[("many-0001", on, None)], &["on-000001 high", "many-0001 high"]),
        // Its member goes with the correlation, whatever it is tagged with.
        (
            &[("many-0001", on, None), ("tag:attack.impact", on, Some(Level::Low))],
            &["on-000001 low", "many-0001 low"],
        ),
    ];
    for (adjustments, expected) in cases {
        assert_eq!(running(&tuned(adjustments)), expected, "{adjustments:?}");
    }
}

#[test]
fn what_is_off_still_compiles_where_it_is_to_be_tested() {
    let compiled = Part::join_tuned([Part::compile(&files(), &Values::default())], &Tuning::off_too());
    assert_eq!(running(&compiled), ["on-000001 high", "off-00001 high", "many-0001 high"]);
    let off: Vec<&str> =
        compiled.rules.iter().filter(|rule| !rule.extension.enabled).map(|rule| rule.id.as_str()).collect();
    assert_eq!((off, compiled.skipped.disabled), (vec!["off-00001", "many-0001", "member-01"], 0));
    assert_eq!(tuned(&[]).skipped.disabled, 3);
}

#[test]
fn members_of_nothing_that_runs_are_left_out() {
    let cases: [(&[Set], &[&str]); 2] = [
        (&[], &["on-000001"]),
        (&[("many-0001", Some(true), None)], &["on-000001", "many-0001", "member-01"]),
    ];
    for (adjustments, expected) in cases {
        let rules = tuned(adjustments).without_idle().rules;
        assert_eq!(rules.iter().map(|rule| rule.id.as_str()).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn another_level_is_another_detection() {
    let hash = |level| tuned(&[("on-000001", None, level)]).rules[0].hash.clone();
    assert_eq!(hash(Some(Level::High)), hash(None));
    assert_ne!(hash(Some(Level::Low)), hash(None));
    assert_ne!(hash(Some(Level::Low)), hash(Some(Level::Medium)));
}

#[test]
fn what_selects_nothing_is_told() {
    for (selector, expected) in [
        ("on-00001", "config.toml:1: there is no detection `on-00001`; did you mean `on-000001`?"),
        ("elsewhere", "config.toml:1: there is no detection `elsewhere`"),
        (
            "tag:attack.t1089",
            "config.toml:1: there is no detection `tag:attack.t1089`; did you mean `tag:attack.t1098`?",
        ),
        (
            "tag:cis.asw.*",
            "config.toml:1: there is no detection `tag:cis.asw.*`; did you mean `tag:cis.aws.*`?",
        ),
        ("tag:nist.*", "config.toml:1: there is no detection `tag:nist.*`"),
    ] {
        let compiled = tuned(&[(selector, Some(true), None)]);
        let problems: Vec<String> = compiled.problems.iter().map(Problem::to_string).collect();
        assert_eq!(problems, [expected]);
    }
}
