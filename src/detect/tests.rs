//! What detections mean, case by case, and the fast way against the oracle.

mod conditions;
mod generated;
mod index;
mod records;
mod values;

use super::*;
use crate::event::{Token, Tokens};
use crate::sigma::{RuleFile, compile};

fn detections(rules: &[String]) -> Detections {
    let files: Vec<RuleFile> = rules
        .iter()
        .enumerate()
        .map(|(i, text)| RuleFile { name: format!("{i}.yml").into(), text: text.clone(), named: false })
        .collect();
    let compiled = compile(&files);
    assert!(compiled.problems.is_empty(), "{:?}", compiled.problems);
    Detections::new(compiled.rules)
}

/// A rule from its detection, in flow style or in lines.
fn rule(id: usize, detection: &str) -> String {
    let indented: String = detection.lines().map(|line| format!("  {line}\n")).collect();
    format!(
        "title: R{id}\nid: r{id}\nlogsource: {{product: aws, service: cloudtrail}}\ndetection:\n{indented}"
    )
}

type Hits = Result<Vec<(String, Status)>, &'static str>;

fn run(detections: &Detections, record: &str, plainly: bool) -> Hits {
    run_with(&mut Scratch::default(), detections, record, plainly)
}

fn run_with(scratch: &mut Scratch, detections: &Detections, record: &str, plainly: bool) -> Hits {
    let mut hits = Vec::new();
    let mut on_hit = |hit: Hit<'_>| hits.push((hit.rule.id.clone(), hit.status));
    let seen = if plainly {
        trace_all(detections, record);
        detections.detect_plainly(record.as_bytes(), scratch, &mut on_hit)
    } else {
        detections.detect_alone(record.as_bytes(), scratch, &mut on_hit)
    };
    seen.map(|_| hits).map_err(|error| error.reason())
}

/// The evaluator that shows its work comes to what the plain one does.
fn trace_all(detections: &Detections, record: &str) {
    let look = |event: Event<'_>| {
        for condition in detections.rules().iter().filter_map(Rule::condition) {
            let traced = trace(condition, &event, &mut |_, value| value.to_json());
            assert_eq!(traced.verdict, evaluate(condition, &event), "{condition:?} on {record}");
        }
    };
    // What cannot be read is none of its business.
    let _ = Parser::default().parse(record.as_bytes(), look);
}

/// The verdict of one selection, the same on the fast way and by the oracle.
fn verdict(selection: &str, record: &str) -> Verdict {
    let detections = detections(&[rule(1, &format!("s:\n  {selection}\ncondition: s"))]);
    let (fast, plain) = (run(&detections, record, false), run(&detections, record, true));
    assert_eq!(fast, plain, "{selection} on {record}");
    match fast.unwrap()[..] {
        [] => Verdict::No,
        [(_, Status::Match)] => Verdict::Yes,
        [(_, Status::Undecided)] => Verdict::Unknown,
        _ => unreachable!("one rule"),
    }
}

/// Whether there is a hit; none may be undecided.
fn matched(hits: Hits) -> bool {
    let hits = hits.unwrap();
    assert!(hits.iter().all(|(_, status)| *status == Status::Match), "{hits:?}");
    !hits.is_empty()
}

fn check(cases: &[(&str, &str, bool)]) {
    for (selection, record, expected) in cases {
        assert_eq!(verdict(selection, record), Verdict::from(*expected), "{selection} on {record}");
    }
}
