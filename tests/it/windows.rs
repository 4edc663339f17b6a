//! What a million groups and a million first sights cost in memory. Ignored, because it takes its time:
//! `cargo test --release --test it windows -- --ignored --nocapture`.

use std::fs;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use trailhound::detect::windows::{Engine, EventHash, Evidence, Fact, Feeds, Journaling, Values};
use trailhound::event::FieldPath;
use trailhound::sigma::{
    Correlation, CorrelationKind, FirstSeen, Logic, Member, Number, Operator, Rule, RuleFile, Seen,
    Threshold, compile,
};

const MILLION: u32 = 1_000_000;

fn rule(id: &str) -> Rule {
    let text = format!(
        "title: {id}\nid: {id}\nlogsource: {{product: aws, service: cloudtrail}}\n\
         detection: {{s: {{eventName: X}}, condition: s}}\n"
    );
    compile(&[RuleFile { name: "x".into(), text, named: false }]).rules.remove(0)
}

fn correlated() -> Vec<Rule> {
    let threshold = Threshold(vec![(Operator::Greater, Number::Int(5))]);
    let correlation = Correlation {
        kind: CorrelationKind::EventCount(threshold),
        members: vec![Member { rule: "a".into(), group_by: vec![FieldPath::new("userIdentity.arn")] }],
        group_by: vec!["userIdentity.arn".into()],
        timespan: SignedDuration::from_mins(10),
        generate: false,
    };
    vec![rule("a"), Rule { logic: Logic::Correlation(correlation), ..rule("b") }]
}

fn first_seen() -> Vec<Rule> {
    let mut rule = rule("a");
    rule.extension.first_seen = Some(FirstSeen {
        of: Seen::Value(FieldPath::new("awsRegion")),
        by: vec![FieldPath::new("userIdentity.arn")],
        learn: SignedDuration::from_hours(7 * 24),
        forget: SignedDuration::from_hours(90 * 24),
    });
    vec![rule]
}

fn resident_bytes() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Megabytes taken by an engine that took a million facts of as many groups or keys with a value.
fn megabytes(rules: &[Rule]) -> u64 {
    let evidence = |number: u32| {
        let arn = format!("arn:aws:sts::111122223333:assumed-role/some-role/session-{number}");
        let mut event = [0; 16];
        event[..4].copy_from_slice(&number.to_be_bytes());
        Evidence {
            time: Timestamp::from_second(1_772_000_000 + i64::from(number / 1000)).unwrap(),
            event: EventHash(event),
            rule: 0,
            facts: [Fact::Part { group: Values::of([&*arn, "us-east-1"]), value: 0 }].into(),
            excerpt: None,
        }
    };
    let mut engine = Engine::new(Arc::new(Feeds::new(rules)), Journaling::Off);
    let before = resident_bytes();
    for thousand in 0..MILLION / 1000 {
        let watermark = Timestamp::from_second(1_772_000_000 + i64::from(thousand)).unwrap();
        engine.step((thousand * 1000..(thousand + 1) * 1000).map(evidence), watermark);
    }
    let (groups, _, seen) = engine.size();
    assert_eq!(groups + seen, MILLION as usize);
    (resident_bytes() - before) >> 20
}

#[test]
#[ignore = "measures"]
fn a_million_first_sights_and_a_million_groups_fit() {
    let (seen, groups) = (megabytes(&first_seen()), megabytes(&correlated()));
    assert!(seen < 100, "{seen} MB for a million first sights");
    assert!(groups < 512, "{groups} MB for a million groups");
    eprintln!("a million first sights: {seen} MB, a million groups: {groups} MB");
}
