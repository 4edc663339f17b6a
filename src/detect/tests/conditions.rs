//! What conditions over selections mean.

use super::*;

#[test]
fn conditions() {
    let selections = "s_1: {a: 1}\ns_2: {b: 2}\nf_1: {c: 3}\n_hidden: {d: 4}";
    let cases = [
        ("s_1", r#"{"a":1}"#, true),
        ("s_1 and s_2", r#"{"a":1}"#, false),
        ("s_1 or s_2 and f_1", r#"{"a":1}"#, true),
        ("(s_1 or s_2) and f_1", r#"{"a":1}"#, false),
        ("not s_1", r#"{"b":2}"#, true),
        ("s_1 and not f_1", r#"{"a":1,"c":3}"#, false),
        ("1 of s_*", r#"{"b":2}"#, true),
        ("any of s_*", r#"{"b":2}"#, true),
        ("all of s_*", r#"{"b":2}"#, false),
        ("all of s_*", r#"{"a":1,"b":2}"#, true),
        ("2 of s_*", r#"{"a":1,"b":2}"#, true),
        ("2 of them", r#"{"a":1,"d":4}"#, false),
        ("all of them", r#"{"a":1,"b":2,"c":3}"#, true),
        ("1 of them", r#"{"d":4}"#, false),
        ("s_1 and not 1 of f_*", r#"{"a":1}"#, true),
        ("1 of *_*", r#"{"b":2}"#, true),
        ("all of *s_*", r#"{"a":1}"#, false),
        ("all of s*1", r#"{"a":1}"#, true),
        ("[s_1, s_2]", r#"{"b":2}"#, true),
    ];
    for (condition, record, expected) in cases {
        let detections = detections(&[rule(1, &format!("{selections}\ncondition: {condition}"))]);
        let hits = run(&detections, record, false);
        assert_eq!(hits, run(&detections, record, true), "{condition} on {record}");
        assert_eq!(matched(hits), expected, "{condition} on {record}");
    }
}

#[test]
fn lists_of_maps_are_alternatives() {
    let detections = detections(&[rule(1, "s:\n  - a: 1\n    b: 2\n  - c: 3\ncondition: s")]);
    for (record, expected) in [(r#"{"a":1}"#, 0), (r#"{"a":1,"b":2}"#, 1), (r#"{"c":3}"#, 1)] {
        assert_eq!(run(&detections, record, false).unwrap().len(), expected, "{record}");
    }
}

#[test]
fn elements_of_lists_meet_conditions_of_their_own() {
    use Verdict::{No, Unknown, Yes};
    let policy = r#"{"Statement":[{"Effect":"Allow","Action":"s3:Get","n":[{"x":1},{"x":2}]},{"Effect":"Deny","Action":["*"]}]}"#;
    let record = |parameters: &str| format!(r#"{{"eventName":"A","requestParameters":{parameters}}}"#);
    let plain = record(&format!(r#"{{"p":{policy}}}"#));
    let text = record(&format!(r#"{{"p":{}}}"#, serde_json::Value::from(policy)));
    let single = record(r#"{"p":{"Statement":{"Effect":"Allow","Action":"*"}}}"#);
    let empty = record(r#"{"p":{"Statement":[]}}"#);
    let omitted = record(r#"{"omitted":true}"#);
    let all = [&plain, &text, &single, &empty, &omitted];
    let cases = [
        (r"[any]: {Effect: Allow, Action: '\*'}", [No, No, Yes, No, Unknown]),
        (r"[any]: {Effect: Deny, Action: '\*'}", [Yes, Yes, No, No, Unknown]),
        (r"[none]: {Effect: Allow, Action: '\*'}", [Yes, Yes, No, Yes, Unknown]),
        ("[all]: {Action|exists: true}", [Yes, Yes, Yes, No, Unknown]),
        ("[all]: {Effect: Allow}", [No, No, Yes, No, Unknown]),
        ("[all_or_empty]: {Effect: Allow}", [No, No, Yes, Yes, Unknown]),
        ("[any].Effect: Deny", [Yes, Yes, No, No, Unknown]),
        ("[all].Effect|startswith: [a, d]", [Yes, Yes, Yes, No, Unknown]),
        ("[any]: {Effect: Allow, 'n[all].x|gt': 0}", [Yes, Yes, No, No, Unknown]),
        ("[any]: {Effect: Allow, 'n[all].x|gt': 1}", [No, No, No, No, Unknown]),
        ("[any]: {e: {Effect: Allow}, n: {n: null}, condition: e and n}", [No, No, Yes, No, Unknown]),
        (
            "[any]: {e: {Effect: Deny}, n: {n|exists: true}, condition: e and not n}",
            [Yes, Yes, No, No, Unknown],
        ),
        (r"[any].Action[any]: '\*'", [Yes, Yes, Yes, No, Unknown]),
        ("[any].Action[all]|contains: ':'", [Yes, Yes, No, No, Unknown]),
        (
            "[any].Action[any]: {s: {.|re: '^s3'}, e: {.|fieldref: eventName}, condition: s and not e}",
            [Yes, Yes, No, No, Unknown],
        ),
        ("[any]: {Action|fieldref: eventName}", [No, No, No, No, Unknown]),
        ("[any]: {Effect|fieldref|startswith: eventName}", [Yes, Yes, Yes, No, Unknown]),
        ("[any]: {Effect|fieldref: requestParameters.p.Statement.Effect}", [Yes, Yes, Yes, No, Unknown]),
    ];
    for (item, expected) in cases {
        let selection =
            format!("s:\n  'requestParameters.p.Statement{}\ncondition: s", item.replacen(':', "':", 1));
        let detections = detections(&[rule(1, &selection) + "sigma-version: 3\n"]);
        for (record, expected) in all.iter().zip(expected) {
            let hits = run(&detections, record, false);
            assert_eq!(hits, run(&detections, record, true), "{item} on {record}");
            let found = hits.unwrap().first().map_or(No, |(_, status)| match status {
                Status::Match => Yes,
                Status::Undecided => Unknown,
            });
            assert_eq!(found, expected, "{item} on {record}");
        }
    }
}

#[test]
fn attempts_can_be_left_out() {
    let text = rule(1, "s: {eventName: A}\ncondition: s") + "trailhound: {attempts: success}\n";
    let detections = detections(&[text]);
    let cases = [
        (r#"{"eventName":"A"}"#, 1),
        (r#"{"eventName":"A","errorCode":"AccessDenied"}"#, 0),
        (r#"{"eventName":"A","errorMessage":"Failed authentication"}"#, 0),
        (r#"{"eventName":"A","errorCode":null}"#, 1),
    ];
    for (record, expected) in cases {
        assert_eq!(run(&detections, record, false).unwrap().len(), expected, "{record}");
    }
}

#[test]
fn two_demands_on_one_field_are_both_met() {
    let selections =
        "s: {eventName: [A, B], eventSource: [x, y]}\nt: {eventName: [B, C], eventSource: [y, z]}";
    let detections = detections(&[rule(1, &format!("{selections}\ncondition: s and t"))]);
    for (name, source, expected) in [("B", "y", 1), ("A", "y", 0), ("B", "x", 0), ("C", "z", 0)] {
        let record = format!(r#"{{"eventName":"{name}","eventSource":"{source}"}}"#);
        assert_eq!(run(&detections, &record, false).unwrap().len(), expected, "{record}");
    }
}
