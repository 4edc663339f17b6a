//! What a million groups and a million first sights cost in memory. Ignored, because it takes its time:
//! `cargo test --release --test it windows -- --ignored --nocapture`.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use trailhound::detect::windows::{
    Engine, EventHash, Evidence, Fact, Feeds, Idle, Journaling, StreamProgress, Values,
};
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

/// What an engine comes to that took so many facts of as many groups or keys with a value.
struct Measured {
    megabytes: u64,
    kept: usize,
    evicted: u64,
}

/// Feeds an engine; the watermark is so many seconds ahead of the evidence.
fn measure(rules: &[Rule], facts: u32, ahead: i64) -> Measured {
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
    let idle = Idle::live(Duration::from_hours(1), Duration::from_hours(24));
    let mut engine = Engine::new(Arc::new(Feeds::new(rules)), idle, Journaling::Off);
    let before = resident_bytes();
    for thousand in 0..facts / 1000 {
        let at = |seconds| Timestamp::from_second(1_772_000_000 + seconds + i64::from(thousand)).unwrap();
        let now = at(ahead);
        let progress = StreamProgress { watermark: at(ahead), now, caught_up: now };
        engine.step((thousand * 1000..(thousand + 1) * 1000).map(evidence), progress);
    }
    let (groups, _, seen) = engine.size();
    let megabytes = (resident_bytes() - before) >> 20;
    Measured { megabytes, kept: groups + seen, evicted: engine.tally().evicted_groups }
}

#[test]
#[ignore = "measures"]
fn a_million_first_sights_and_a_million_groups_fit() {
    let (seen, groups) = (measure(&first_seen(), MILLION, 0), measure(&correlated(), MILLION, 0));
    for measured in [&seen, &groups] {
        assert_eq!((measured.kept, measured.evicted), (MILLION as usize, 0));
    }
    assert!(seen.megabytes < 100, "{} MB for a million first sights", seen.megabytes);
    assert!(groups.megabytes < 512, "{} MB for a million groups", groups.megabytes);
    eprintln!("a million first sights: {} MB, a million groups: {} MB", seen.megabytes, groups.megabytes);
}

#[test]
#[ignore = "measures"]
fn old_groups_stay_within_their_bound() {
    let year = 365 * 24 * 3_600;
    for (millions, most) in [(1, 512), (3, 512 + 64)] {
        let measured = measure(&correlated(), millions * MILLION, year);
        eprintln!(
            "{millions} million old groups: {} MB, {} kept, {} evicted",
            measured.megabytes, measured.kept, measured.evicted
        );
        assert_eq!(measured.kept as u64 + measured.evicted, u64::from(millions * MILLION));
        assert!(measured.megabytes < most, "{} MB", measured.megabytes);
    }
}
