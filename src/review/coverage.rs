//! What detections cover, as their tags say: techniques of ATT&CK, monitoring controls of the CIS AWS Foundations
//! Benchmark.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::sigma::{Level, Rule};

/// A technique of ATT&CK and the detections that are tagged with it.
#[derive(Debug)]
pub struct Technique<'r> {
    /// Its id: `T1098` or `T1098.003`.
    pub id: String,
    /// Tactics that those detections are tagged with, in lower case with dashes.
    pub tactics: BTreeSet<&'r str>,
    /// The detections, in their order.
    pub rules: Vec<&'r Rule>,
}

impl Technique<'_> {
    /// How many of the detections are of this level.
    #[must_use]
    pub fn of_level(&self, level: Level) -> usize {
        self.rules.iter().filter(|rule| rule.level == level).count()
    }
}

/// The techniques that detections are tagged with, by id.
#[must_use]
pub fn techniques(rules: &[Rule]) -> Vec<Technique<'_>> {
    let mut techniques: BTreeMap<String, Technique<'_>> = BTreeMap::new();
    for rule in rules {
        let tags: Vec<&str> = rule.tags.iter().filter_map(|tag| tag.strip_prefix("attack.")).collect();
        let tactics = tags.iter().copied().filter(|tag| !is_id(tag));
        for tag in tags.iter().copied().filter(|tag| is_technique(tag)) {
            let id = tag.to_uppercase();
            let new = || Technique { id: id.clone(), tactics: BTreeSet::new(), rules: Vec::new() };
            let technique = techniques.entry(id.clone()).or_insert_with(new);
            technique.tactics.extend(tactics.clone());
            technique.rules.push(rule);
        }
    }
    techniques.into_values().collect()
}

fn is_technique(tag: &str) -> bool {
    tag.starts_with('t') && is_id(tag)
}

/// Whether a tag is the id of a technique, group, software and the like, rather than the name of a tactic.
fn is_id(tag: &str) -> bool {
    let mut letters = tag.chars();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && letters.next().is_some_and(|second| second.is_ascii_digit())
}

/// A tactic of ATT&CK, what is covered of it, and by which detections.
#[derive(Debug)]
pub struct Tactic<'r> {
    /// Its name in lower case with dashes.
    pub name: &'r str,
    /// The ids of its techniques, as tags have them.
    pub techniques: BTreeSet<&'r str>,
    /// The detections, in their order.
    pub rules: Vec<&'r Rule>,
}

/// The tactics that detections are tagged with, by name.
#[must_use]
pub fn tactics(rules: &[Rule]) -> Vec<Tactic<'_>> {
    let mut tactics: BTreeMap<&str, Tactic<'_>> = BTreeMap::new();
    for rule in rules {
        let tags: Vec<&str> = rule.tags.iter().filter_map(|tag| tag.strip_prefix("attack.")).collect();
        for name in tags.iter().copied().filter(|tag| !is_id(tag)) {
            let new = || Tactic { name, techniques: BTreeSet::new(), rules: Vec::new() };
            let tactic = tactics.entry(name).or_insert_with(new);
            tactic.techniques.extend(tags.iter().copied().filter(|tag| is_technique(tag)));
            tactic.rules.push(rule);
        }
    }
    tactics.into_values().collect()
}

/// A layer for the ATT&CK Navigator, format 4.5; a technique's score is the number of its detections.
#[must_use]
pub fn layer(rules: &[Rule]) -> Value {
    let found = techniques(rules);
    let most = found.iter().map(|technique| technique.rules.len()).max().unwrap_or(1);
    let entries: Vec<Value> = found
        .iter()
        .map(|technique| {
            let titles: Vec<&str> = technique.rules.iter().map(|rule| rule.title.as_str()).collect();
            let levels = Level::ALL.iter().rev().filter(|level| technique.of_level(**level) > 0);
            let levels: Vec<Value> = levels
                .map(|level| json!({ "name": level.as_str(), "value": technique.of_level(*level).to_string() }))
                .collect();
            json!({
                "techniqueID": technique.id, "score": titles.len(), "comment": titles.join("\n"),
                "enabled": true, "metadata": levels, "showSubtechniques": technique.id.contains('.'),
            })
        })
        .collect();
    json!({
        "name": "trailhound", "domain": "enterprise-attack",
        "description": format!("{} detections over AWS CloudTrail, by the techniques that they are tagged with", rules.len()),
        "versions": { "layer": "4.5", "navigator": "5.1.0" },
        "filters": { "platforms": ["IaaS", "Identity Provider"] },
        "sorting": 3, "hideDisabled": false,
        "layout": { "layout": "side", "showID": true, "showName": true },
        "gradient": { "colors": ["#cfe8ff", "#0b5cad"], "minValue": 1, "maxValue": most.max(2) },
        "techniques": entries,
    })
}

/// The monitoring controls of the benchmark, in their order: the number behind the section's.
const CONTROLS: [&str; 15] = [
    "unauthorized API calls",
    "console sign-in without MFA",
    "use of the root user",
    "changes of IAM policies",
    "changes of CloudTrail",
    "failed console sign-ins",
    "disabling or deletion of customer keys",
    "changes of bucket policies",
    "changes of AWS Config",
    "changes of security groups",
    "changes of network access lists",
    "changes of network gateways",
    "changes of route tables",
    "changes of VPCs",
    "changes of AWS Organizations",
];

/// A monitoring control of the benchmark.
#[derive(Debug)]
pub struct Control<'r> {
    /// Its number within the section; 1 is the first.
    pub number: usize,
    /// What is to be monitored.
    pub subject: &'static str,
    /// The detections that are tagged with it in some version of the benchmark.
    pub rules: Vec<&'r Rule>,
}

impl Control<'_> {
    /// Its number in the versions 1.2, 5.0 and 6.0; 1.2 has none for the last.
    #[must_use]
    pub fn numbers(&self) -> [String; 3] {
        let number = self.number;
        let oldest = if number < CONTROLS.len() { format!("3.{number}") } else { "-".to_owned() };
        [oldest, format!("4.{number}"), format!("5.{number}")]
    }
}

/// All monitoring controls, those that no detection covers included.
#[must_use]
pub fn controls(rules: &[Rule]) -> Vec<Control<'_>> {
    let covers = |rule: &Rule, number| rule.tags.iter().any(|tag| control(tag) == Some(number));
    (1..)
        .zip(CONTROLS)
        .map(|(number, subject)| Control {
            number,
            subject,
            rules: rules.iter().filter(|rule| covers(rule, number)).collect(),
        })
        .collect()
}

/// The number of the control that a tag such as `cis.aws.v5.0.4.3` names. Its section is called 3 in version 1.2, 4 up
/// to version 5 and 5 from version 6 on.
fn control(tag: &str) -> Option<usize> {
    let parts: Vec<usize> =
        tag.strip_prefix("cis.aws.v")?.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let &[major, minor, section, number] = &parts[..] else { return None };
    let expected = match (major, minor) {
        (1, ..=2) => 3,
        (..=5, _) => 4,
        _ => 5,
    };
    (section == expected && number <= CONTROLS.len()).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sigma::{RuleFile, compile};

    fn rules() -> Vec<Rule> {
        let rule = |title: &str, level: &str, tags: &str| {
            format!(
                "---\ntitle: {title}\nlevel: {level}\ntags: [{tags}]\nlogsource: {{product: aws, service: cloudtrail}}\ndetection: {{s: {{a: b}}, condition: s}}\n"
            )
        };
        let text = [
            rule("A", "high", "attack.persistence, attack.t1098.003, attack.t1136, cis.aws.v1.2.3.4"),
            rule("B", "low", "attack.defense-evasion, attack.t1098.003, attack.g0016, cis.aws.v6.0.5.15"),
        ];
        compile(&[RuleFile { name: "x".into(), text: text.concat(), named: false }]).rules
    }

    #[test]
    fn techniques_have_their_detections() {
        let rules = rules();
        let found = techniques(&rules);
        let ids: Vec<_> =
            found.iter().map(|technique| (technique.id.as_str(), technique.rules.len())).collect();
        assert_eq!(ids, [("T1098.003", 2), ("T1136", 1)]);
        assert_eq!(found[0].tactics, BTreeSet::from(["defense-evasion", "persistence"]));
        assert_eq!((found[0].of_level(Level::High), found[0].of_level(Level::Medium)), (1, 0));
        let tactics = tactics(&rules);
        let names: Vec<_> = tactics.iter().map(|tactic| (tactic.name, tactic.techniques.len())).collect();
        assert_eq!(names, [("defense-evasion", 1), ("persistence", 2)]);
        let layer = layer(&rules);
        assert_eq!(layer["versions"]["layer"], "4.5");
        assert_eq!(layer["techniques"][0]["score"], 2);
        assert_eq!(layer["techniques"][0]["comment"], "A\nB");
    }

    #[test]
    fn controls_are_known_by_every_version() {
        for (tag, expected) in [
            ("cis.aws.v1.2.3.4", Some(4)),
            ("cis.aws.v1.4.4.4", Some(4)),
            ("cis.aws.v5.0.4.15", Some(15)),
            ("cis.aws.v6.0.5.15", Some(15)),
            ("cis.aws.v6.0.4.1", None),
            ("cis.aws.v5.0.4.16", None),
            ("cis.aws.5.0.4.1", None),
        ] {
            assert_eq!(control(tag), expected, "{tag}");
        }
        let rules = rules();
        let controls = controls(&rules);
        let covered: Vec<_> = controls
            .iter()
            .filter(|control| !control.rules.is_empty())
            .map(|control| control.number)
            .collect();
        assert_eq!(covered, [4, 15]);
        assert_eq!(controls[14].numbers(), ["-", "4.15", "5.15"]);
    }
}
