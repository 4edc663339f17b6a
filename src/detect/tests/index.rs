//! What the index narrows, and what it may not.

use super::*;

#[test]
fn the_index_narrows_what_it_can() {
    let cases = [
        ("s: {eventSource: iam.amazonaws.com, eventName: [A, B]}\ncondition: s", Narrowing::EventName),
        ("s: {eventName: A}\nt: {eventName: B}\ncondition: s or t", Narrowing::EventName),
        ("s: {eventName: A}\nt: {a: 1}\ncondition: s or t", Narrowing::Field),
        ("s: {eventSource: kms.amazonaws.com}\nf: {a: 1}\ncondition: s and not f", Narrowing::EventSource),
        ("s: {userIdentity.type: Root}\ncondition: s", Narrowing::Field),
        ("s: [keyword]\ncondition: s", Narrowing::Text),
        ("s: {eventName: A}\ncondition: not s", Narrowing::Field),
        ("s: {a|re: x}\ncondition: s", Narrowing::Field),
        ("s: {a|exists: true}\ncondition: s", Narrowing::Field),
        ("s: {a.b: x}\ncondition: not s", Narrowing::None),
        ("s: ['*']\ncondition: s", Narrowing::None),
        ("s: {a/b: x}\ncondition: s", Narrowing::None),
        ("s: {requestParameters.a: x}\ncondition: s", Narrowing::Field),
        ("s: {requestParameters.a.b: x}\ncondition: s", Narrowing::None),
        ("s: {a.b.c: x}\ncondition: s", Narrowing::Field),
        ("s: {actor.arn: x}\ncondition: s", Narrowing::Field),
        ("s: {actor.name: x}\ncondition: s", Narrowing::None),
    ];
    for (detection, expected) in cases {
        let detections = detections(&[rule(1, detection)]);
        assert_eq!(narrowing(&detections.rules()[0]), Some(expected), "{detection}");
    }
}

#[test]
fn what_is_remembered_of_a_value_holds_for_that_value_alone() {
    let detections = detections(&[rule(1, "s: {a|exists: true}\ncondition: s")]);
    let mut scratch = Scratch::default();
    for (value, expected) in [("null", 0), (r#""null""#, 1), ("null", 0), (r#""NULL""#, 1), (r#""null""#, 1)]
    {
        let record = format!(r#"{{"eventName":"A","a":{value}}}"#);
        let hits = run_with(&mut scratch, &detections, &record, false).unwrap();
        assert_eq!(hits.len(), expected, "{record}");
    }
}

#[test]
fn what_is_remembered_makes_no_difference() {
    let tests =
        ["user|contains: '7'", "user|endswith: '3'", "user: '12'", "number|gt: 12", "user|re: '^1+$'"];
    // Two fields each, so that one of them is looked at beside the sharper one, and every record names one event.
    let one = |(id, test): (usize, &str)| rule(id, &format!("s: {{eventName: A, {test}}}\ncondition: s"));
    let detections = detections(&(0..).zip(tests).map(one).collect::<Vec<_>>());
    let mut scratch = Scratch::default();
    for number in (0..1_500).chain(0..1_500) {
        let record = format!(r#"{{"eventName":"A","user":"{number}","number":{number}}}"#);
        let (fast, plain) =
            (run_with(&mut scratch, &detections, &record, false), run(&detections, &record, true));
        assert_eq!(fast, plain, "{record}");
    }
}

#[test]
fn hits_come_in_the_order_of_ids() {
    let rules: Vec<String> = [3, 1, 2].map(|id| rule(id, "s: {eventName: A}\ncondition: s")).into();
    let hits = run(&detections(&rules), r#"{"eventName":"A"}"#, false).unwrap();
    assert_eq!(hits.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["r1", "r2", "r3"]);
}
