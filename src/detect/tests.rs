//! What detections mean, case by case, and the fast way against the oracle.

use proptest::prelude::*;

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

#[test]
fn equality() {
    check(&[
        ("eventName: CreateUser", r#"{"eventName":"CreateUser"}"#, true),
        ("eventName: createuser", r#"{"eventName":"CREATEUSER"}"#, true),
        ("eventName|cased: createuser", r#"{"eventName":"CreateUser"}"#, false),
        ("eventName|cased: CreateUser", r#"{"eventName":"CreateUser"}"#, true),
        ("eventName: CreateUser", r#"{"eventName":"CreateUsers"}"#, false),
        ("eventName: CreateUser", r#"{"eventName":["x","CreateUser"]}"#, true),
        ("a: x", r#"{"a":[["y",["x"]]]}"#, true),
        ("eventName: [A, CreateUser]", r#"{"eventName":"CreateUser"}"#, true),
        ("eventName: CreateUser", r#"{"requestParameters":{"eventName":"CreateUser"}}"#, false),
        ("eventName: CreateUser", r#"{"eventName":"X","eventName":"CreateUser"}"#, true),
        ("eventName: X", r#"{"eventName":"X","eventName":"CreateUser"}"#, false),
        ("eventName: CreateUser", r#"{"eventNam\u0065":"\u0043reateUser"}"#, true),
        ("a: NO", r#"{"a":"No"}"#, true),
        ("a: No", r#"{"a":"no"}"#, true),
        ("a: 'true'", r#"{"a":true}"#, true),
        ("a: true", r#"{"a":"True"}"#, true),
        ("a: '22'", r#"{"a":22}"#, true),
        ("a: 22", r#"{"a":"22"}"#, true),
        ("a: 1.10", r#"{"a":1.10}"#, true),
        ("a: 1.10", r#"{"a":1.1}"#, false),
        ("a: 012345678901", r#"{"a":"012345678901"}"#, true),
        ("a: 2012-10-17", r#"{"a":"2012-10-17"}"#, true),
        ("a: ''", r#"{"a":""}"#, true),
        ("a: ''", r"{}", false),
        ("a: '${jndi}'", r#"{"a":"${jndi}"}"#, true),
        (r"a: 'C:\Windows'", r#"{"a":"c:\\windows"}"#, true),
        (r"a: '\*'", r#"{"a":"*"}"#, true),
        (r"a: '\*'", r#"{"a":"x"}"#, false),
        ("a: x", r#"{"a":{"b":"x"}}"#, false),
        ("a: '{\"b\":1}'", r#"{"a":{"b":1}}"#, false),
        ("a: é", r#"{"a":"É"}"#, true),
        ("a: k", "{\"a\":\"\u{212a}\"}", true),
    ]);
}

#[test]
fn wildcards_and_positions() {
    check(&[
        ("eventName: Create*", r#"{"eventName":"createuser"}"#, true),
        ("eventName: '*User'", r#"{"eventName":"CreateUser"}"#, true),
        ("eventName: Cr?ateUser", r#"{"eventName":"CreateUser"}"#, true),
        ("a|contains: needle", r#"{"a":"hayneedlehay"}"#, true),
        ("a|startswith: hay", r#"{"a":"Hayneedle"}"#, true),
        ("a|endswith: hay", r#"{"a":"hayx"}"#, false),
        ("a|contains: 'x*y'", r#"{"a":"__x--y__"}"#, true),
        ("a|contains|all: [x, y]", r#"{"a":["x","y"]}"#, true),
        ("a|contains|all: [x, y]", r#"{"a":["x","z"]}"#, false),
        ("a|all: [x, y]", r#"{"a":["x","y"]}"#, true),
        ("a|contains: '*'", r#"{"a":"****"}"#, true),
        ("a|contains: '*'", r#"{"a":""}"#, true),
        ("a|contains: '*'", r#"{"a":{}}"#, true),
        ("a|contains: '*'", r#"{"a":null}"#, false),
        ("a|contains: '*'", r"{}", false),
        (r#"a|contains: '"cidrIp":"0.0.0.0/0"'"#, r#"{"a":{"items":[{"cidrIp" : "0.0.0.0/0"}]}}"#, true),
        (r#"a|contains: '\"Effect\":\"Allow\"'"#, r#"{"a":{"policy":"{\"Effect\":\"Allow\"}"}}"#, true),
        ("a|contains: b", r#"{"a":[["x","abc"]]}"#, true),
        ("a: '[\"x\",*'", r#"{"a":["x","y"]}"#, true),
        ("a.b.c: x", r#"{"a":[{"b":[{"c":["y","x"]}]}]}"#, true),
    ]);
}

#[test]
fn absence() {
    check(&[
        ("a: null", r"{}", true),
        ("a: null", r#"{"a":null}"#, true),
        ("a: ~", r#"{"a":""}"#, false),
        ("a: null", r#"{"a":[]}"#, false),
        ("a: null", r#"{"a":["x",[null]]}"#, true),
        ("a: 'null'", r#"{"a":null}"#, false),
        ("a: [null, '']", r#"{"a":""}"#, true),
        ("a.b: null", r#"{"a":[{"b":1},{"b":null}]}"#, true),
        ("a|exists: true", r#"{"a":null}"#, false),
        ("a|exists: true", r#"{"a":""}"#, true),
        ("a|exists: 'false'", r"{}", true),
        ("a.b|exists: true", r#"{"a":[{"c":1},{"b":0}]}"#, true),
        ("eventName|exists: false", r#"{"x":{"eventName":"A"}}"#, true),
        ("eventName: null", r#"{"x":{"eventName":"A"}}"#, true),
    ]);
}

#[test]
fn other_modifiers() {
    check(&[
        ("a|re: '^Cr.*r$'", r#"{"a":"CreateUser"}"#, true),
        ("a|re: eate", r#"{"a":"CreateUser"}"#, true),
        ("a|re: create", r#"{"a":"CreateUser"}"#, false),
        ("a|re|i: create", r#"{"a":"CreateUser"}"#, true),
        ("a|re|s: 'a.b'", r#"{"a":"a\nb"}"#, true),
        ("a|re|m: '^b$'", r#"{"a":"a\nb\nc"}"#, true),
        (r#"a|re: '"b":\d+'"#, r#"{"a":{"b": 17}}"#, true),
        ("a|cidr: 10.0.0.0/8", r#"{"a":"10.1.2.3"}"#, true),
        ("a|cidr: 10.0.0.0/8", r#"{"a":"11.1.2.3"}"#, false),
        ("a|cidr: 10.0.0.0/8", r#"{"a":"AWS Internal"}"#, false),
        ("a|cidr: 225.0.0.0/8", r#"{"a":"225.178.039.250"}"#, false),
        ("a|cidr: '2001:db8::/32'", r#"{"a":"2001:db8::1"}"#, true),
        ("a|cidr: [10.0.0.0/8, 192.168.0.0/16]", r#"{"a":"192.168.7.7"}"#, true),
        ("a|lt: 14", r#"{"a":8}"#, true),
        ("a|lt: 14", r#"{"a":"8"}"#, true),
        ("a|lt: 14", r#"{"a":"x"}"#, false),
        ("a|lt: 14", r"{}", false),
        ("a|gte: '14'", r#"{"a":14.0}"#, true),
        ("a|gt: 9007199254740992", r#"{"a":9007199254740993}"#, true),
        ("a|neq: x", r#"{"a":"y"}"#, true),
        ("a|neq: [x, y]", r#"{"a":"y"}"#, false),
        ("a|contains|neq: x", r#"{"a":"axb"}"#, false),
        ("a|fieldref: b", r#"{"a":"X","b":"x"}"#, true),
        ("a|fieldref: b", r#"{"a":"x"}"#, false),
        ("a|fieldref|cased: b", r#"{"a":"X","b":"x"}"#, false),
        ("a|fieldref|endswith: b.c", r#"{"a":"arn/x","b":{"c":"x"}}"#, true),
        ("a|fieldref: b", r#"{"a":["p","q"],"b":["q","r"]}"#, true),
        ("a|base64: foo", r#"{"a":"Zm9v"}"#, true),
        ("a|base64offset|contains: foobar", r#"{"a":"eHhmb29iYXJ5"}"#, true),
        ("a|base64offset: foobar", r#"{"a":"eGZvb2Jhcnl5"}"#, true),
        ("a|base64offset: x", r#"{"a":"zzz"}"#, false),
        (r"a|fieldref: '\*'", r#"{"a":"x","*":"x"}"#, true),
        ("a|wide|base64offset|contains: foo", r#"{"a":"xZgBvAG8Ay"}"#, true),
        ("a|utf16le|base64: foo", r#"{"a":"ZgBvAG8A"}"#, true),
        ("a|utf16be|base64: foo", r#"{"a":"AGYAbwBv"}"#, true),
        ("a|utf16|base64: foo", r#"{"a":"//5mAG8AbwA="}"#, true),
        ("a|windash|contains: ' -f '", r#"{"a":"x /f y"}"#, true),
        ("a|windash|contains: ' -f '", "{\"a\":\"x \u{2014}f y\"}", true),
        ("a|windash|contains: 'a-f'", r#"{"a":"a/f"}"#, false),
        ("a|hour: 3", r#"{"a":"2023-07-10T03:42:36Z"}"#, true),
        ("a|hour|gte: 18", r#"{"a":"2023-07-10T03:42:36Z"}"#, false),
        ("a|week: 28", r#"{"a":"2023-07-10T03:42:36Z"}"#, true),
        ("a|day: 10", r#"{"a":"2023-07-09T23:42:36-02:00"}"#, true),
        ("a|minute: 42", r#"{"a":"no time"}"#, false),
        ("a|month: [6, 7]", r#"{"a":"2023-07-10T03:42:36Z"}"#, true),
        ("a|year: 2023", r#"{"a":"2023-07-10T03:42:36Z"}"#, true),
    ]);
}

#[test]
fn keywords() {
    let cases = [
        ("s: [needle]", r#"{"a":{"b":["x","a NEEDLE here"]}}"#, true),
        ("s: [needle]", r#"{"needle":"x"}"#, false),
        ("s: ['1234']", r#"{"a":91234}"#, true),
        ("s: ['true']", r#"{"a":true}"#, false),
        ("s: ['ne*le']", r#"{"a":"x needle y"}"#, true),
        ("s:\n  '|all': [x1y1, x2y2]", r#"{"a":"x1y1","b":"x2y2"}"#, true),
        ("s:\n  '|all': [x1y1, x2y2]", r#"{"a":"x1y1"}"#, false),
        ("s:\n  '|contains': [needle]", r#"{"a":"x needle y"}"#, true),
        ("s:\n  '|startswith': [needle]", r#"{"a":"needle y"}"#, true),
        ("s:\n  '|startswith': [needle]", r#"{"a":"x needle y"}"#, false),
        ("s:\n  '|endswith|cased': [needle]", r#"{"a":"x Needle"}"#, false),
        ("s: needle", r#"{"a":"n\u0065edle"}"#, true),
    ];
    for (selection, record, expected) in cases {
        let detections = detections(&[rule(1, &format!("{selection}\ncondition: s"))]);
        let hits = run(&detections, record, false);
        assert_eq!(hits, run(&detections, record, true), "{selection} on {record}");
        assert_eq!(matched(hits), expected, "{selection} on {record}");
    }
}

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
fn omitted_parameters_are_unknown() {
    use Verdict::{No, Unknown, Yes};
    let omitted = r#"{"eventName":"PutUserPolicy","requestParameters":{"reason":"requestParameters too large","omitted":"true","originalSize":"149893"},"a":"x"}"#;
    let cases = [
        ("{eventName: PutUserPolicy, requestParameters.policyDocument|contains: Allow}", Unknown),
        ("{eventName: CreateUser, requestParameters.policyDocument|contains: Allow}", No),
        ("{a: y, requestParameters.userName: bob}", No),
        ("{a: x, requestParameters.userName: bob}", Unknown),
        ("{requestParameters.userName: null}", Unknown),
        ("{requestParameters.userName|exists: false}", Unknown),
        ("{requestParameters.userName|neq: bob}", Unknown),
        ("{requestParameters.userName|fieldref: a}", Unknown),
        ("{a|fieldref: requestParameters.userName}", Unknown),
        ("{responseElements: null}", Yes),
        ("{eventName: PutUserPolicy}", Yes),
    ];
    for (selection, expected) in cases {
        assert_eq!(verdict(selection, omitted), expected, "{selection}");
    }
    let keyword = detections(&[rule(1, "s: [bob]\ncondition: s"), rule(2, "s: [PutUser]\ncondition: s")]);
    assert_eq!(
        run(&keyword, omitted, false).unwrap(),
        [("r1".to_owned(), Status::Undecided), ("r2".to_owned(), Status::Match)]
    );
    let conditions = [
        ("s or t", Yes),
        ("s and t", Unknown),
        ("not s", Unknown),
        ("u and s", No),
        ("1 of them", Yes),
        ("2 of them", Unknown),
        ("all of them", No),
    ];
    for (condition, expected) in conditions {
        let selections = "s: {requestParameters.x: 1}\nt: {a: x}\nu: {a: y}";
        let detections = detections(&[rule(1, &format!("{selections}\ncondition: {condition}"))]);
        let hits = run(&detections, omitted, false).unwrap();
        let verdict = hits.first().map_or(No, |(_, status)| match status {
            Status::Match => Yes,
            Status::Undecided => Unknown,
        });
        assert_eq!(verdict, expected, "{condition}");
    }
}

#[test]
fn documents_in_strings_are_looked_into() {
    let record = |policy: &str| {
        let policy = serde_json::Value::from(policy);
        format!(r#"{{"eventName":"PutUserPolicy","requestParameters":{{"policyDocument":{policy}}}}}"#)
    };
    let plain =
        record(r#"{"Statement":[{"Effect":"Allow","Action":["s3:*"]},{"Action":"*","Resource":"*"}]}"#);
    let encoded = record("%7B%22Statement%22%3A%7B%22Action%22%3A%22*%22%2C%22Effect%22%3A%22Deny%22%7D%7D");
    let deep = record(&format!(r#"{{"Statement":{}{}}}"#, "[".repeat(99), "]".repeat(99)));
    let cases = [
        (r"Statement.Action: '\*'", &plain, Verdict::Yes),
        (r"Statement.Action: '\*'", &encoded, Verdict::Yes),
        ("Statement.Action: 's3:*'", &plain, Verdict::Yes),
        ("Statement.Action: 's3:*'", &encoded, Verdict::No),
        ("Statement.Effect: Deny", &plain, Verdict::No),
        ("Statement|contains: '\"Action\":\"*\",\"Resource\":\"*\"'", &plain, Verdict::Yes),
        ("Statement.Sid: null", &plain, Verdict::Yes),
        ("Statement.Sid|exists: true", &encoded, Verdict::No),
        ("Statement.Sid|fieldref: eventName", &plain, Verdict::No),
        ("Statement.Sid: null", &deep, Verdict::Unknown),
        ("Statement.Action: x", &deep, Verdict::Unknown),
    ];
    for (item, record, expected) in cases {
        assert_eq!(verdict(&format!("requestParameters.policyDocument.{item}"), record), expected, "{item}");
    }
    let whole = "requestParameters.policyDocument|contains: '%22Deny%22'";
    assert_eq!(verdict(whole, &encoded), Verdict::Yes);
    assert_eq!(verdict("eventName|fieldref: requestParameters.policyDocument.x", &deep), Verdict::Unknown);
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
fn actor_and_target_are_fields() {
    let record = r#"{"eventName":"AttachUserPolicy","userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::1:user/ann","accountId":1,"userName":"ann"},"additionalEventData":{"MFAUsed":"No"},"requestParameters":{"userName":"bob"},"actor":{"name":"eve"},"target":"eve"}"#;
    let omitted = record.replace(r#"{"userName":"bob"}"#, r#"{"omitted":true}"#);
    let answered = record.replace(r#""actor""#, r#""responseElements":{"omitted":true},"x""#);
    let nobody = answered.replace("bob", "");
    let signed_in = record.replace(r#"{"MFAUsed":"No"}"#, r#"{"omitted":true}"#);
    let cases = [
        ("actor.name: Ann", record, Verdict::Yes),
        ("actor.name: eve", record, Verdict::No),
        ("actor.kind: user", record, Verdict::Yes),
        ("actor.type|endswith: user", record, Verdict::Yes),
        ("actor.arn|contains: ':user/'", record, Verdict::Yes),
        ("actor.account: '1'", record, Verdict::Yes),
        ("actor.account|fieldref: userIdentity.accountId", record, Verdict::Yes),
        ("actor.mfa: false", record, Verdict::Yes),
        ("actor.mfa: false", &signed_in, Verdict::Unknown),
        ("actor.kind: user", &signed_in, Verdict::Yes),
        ("actor.access_key_id: null", record, Verdict::Yes),
        ("actor.session_issuer|exists: true", record, Verdict::No),
        ("target: eve", record, Verdict::Yes),
        ("target.name: bob", record, Verdict::Yes),
        ("target.name|fieldref: userIdentity.userName", record, Verdict::No),
        ("target.kind: user", record, Verdict::Yes),
        ("target.name: bob", &omitted, Verdict::Unknown),
        ("userIdentity.userName|fieldref: target.name", &omitted, Verdict::Unknown),
        ("target.name: bob", &answered, Verdict::Yes),
        ("target.name: bob", &nobody, Verdict::Unknown),
        ("target.name: bob", r#"{"eventName":"A"}"#, Verdict::No),
    ];
    for (selection, record, expected) in cases {
        assert_eq!(verdict(selection, record), expected, "{selection} on {record}");
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
fn white_space_hides_nothing() {
    let cases = [
        ("p|contains: '\"mfa\":true'", r#"{"eventName":"A","eventSource":"b","p":{"mfa" : true}}"#),
        ("p|contains: '[1000,2000]'", r#"{"eventName":"A","eventSource":"b","p":{"x":[1000, 2000]}}"#),
        ("p|contains: '\"on\":false,'", r#"{"eventName":"A","eventSource":"b","p":{"on" :false , "x":1}}"#),
        ("p|contains: ':null'", r#"{"eventName":"A","eventSource":"b","p":{"n": null}}"#),
        ("p: '*\"k\":true*'", r#"{"eventName":"A","eventSource":"b","p":{"k": true}}"#),
    ];
    for (item, record) in cases {
        let detections = detections(&[rule(1, &format!("s: {{{item}}}\ncondition: s"))]);
        for plainly in [false, true] {
            assert_eq!(run(&detections, record, plainly).unwrap().len(), 1, "{item} on {record}");
        }
    }
}

#[test]
fn fields_are_compared_with_each_other() {
    let many =
        |range: std::ops::Range<usize>| range.map(|i| format!("\"x{i}\"")).collect::<Vec<_>>().join(",");
    let cases = [
        ("a|fieldref: b", r#"{"a":["x","Y"],"b":["z","y"]}"#.to_owned(), 1),
        ("a|fieldref|cased: b", r#"{"a":["x","Y"],"b":["z","y"]}"#.to_owned(), 0),
        ("a|fieldref|startswith: b", r#"{"a":"abc","b":["bc","AB"]}"#.to_owned(), 1),
        ("a|fieldref|startswith: b", r#"{"a":"abc","b":["bc","c"]}"#.to_owned(), 0),
        ("a|fieldref|endswith: b", r#"{"a":"abc","b":["bc","a"]}"#.to_owned(), 1),
        ("a|fieldref|endswith: b", r#"{"a":"abc","b":["ab","a"]}"#.to_owned(), 0),
        ("a|fieldref|contains: b", r#"{"a":"abc","b":["B"]}"#.to_owned(), 1),
        ("a|fieldref|contains: b", r#"{"a":"abc"}"#.to_owned(), 0),
        (
            "a|fieldref|contains: b",
            format!(r#"{{"a":[{}],"b":[{}]}}"#, many(0..30_000), many(40_000..70_000)),
            0,
        ),
    ];
    for (item, record, expected) in cases {
        let detections = detections(&[rule(1, &format!("s: {{{item}}}\ncondition: s"))]);
        assert_eq!(run(&detections, &record, false).unwrap().len(), expected, "{item} on {record:.60}");
    }
}

#[test]
fn a_replaced_member_is_not_there() {
    let detections = detections(&[rule(1, "s: {eventSource: b}\nk: [Evil]\ncondition: s and not k")]);
    let record = r#"{"eventName":"Good","eventSource":"b","x":"Evil","x":"ok"}"#;
    assert_eq!(run(&detections, record, false).unwrap().len(), 1);
}

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
fn two_demands_on_one_field_are_both_met() {
    let selections =
        "s: {eventName: [A, B], eventSource: [x, y]}\nt: {eventName: [B, C], eventSource: [y, z]}";
    let detections = detections(&[rule(1, &format!("{selections}\ncondition: s and t"))]);
    for (name, source, expected) in [("B", "y", 1), ("A", "y", 0), ("B", "x", 0), ("C", "z", 0)] {
        let record = format!(r#"{{"eventName":"{name}","eventSource":"{source}"}}"#);
        assert_eq!(run(&detections, &record, false).unwrap().len(), expected, "{record}");
    }
}

#[test]
fn hits_come_in_the_order_of_ids() {
    let rules: Vec<String> = [3, 1, 2].map(|id| rule(id, "s: {eventName: A}\ncondition: s")).into();
    let hits = run(&detections(&rules), r#"{"eventName":"A"}"#, false).unwrap();
    assert_eq!(hits.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["r1", "r2", "r3"]);
}

/// Keys and texts that collide with each other in every way that could fool the index.
const KEYS: [&str; 16] = [
    r#""accountId""#,
    r#""actor""#,
    r#""userName""#,
    r#""userIdentity.type""#,
    r#""b""#,
    r#""sourceIPAddress""#,
    r#""reason""#,
    r#""eventName""#,
    r#""eventSource""#,
    r#""eventNam\u0065""#,
    r#""requestParameters""#,
    r#""userIdentity""#,
    r#""type""#,
    r#""omitted""#,
    r#""a.b""#,
    r#""a""#,
];
const SCALARS: [&str; 29] = [
    r#""{\"a\":\"Root\",\"b\":22}""#,
    r#""%7B%22a%22%3A%22CreateUser%22%2C%22b%22%3Anull%7D""#,
    r#""{\"a\":{\"b\":\"keyword\"}""#,
    r#""[{\"\u0061\": \"createuser\"},{\"type\":\"{\\\"b\\\":\\\"Root\\\"}\"}]""#,
    r#""%5B%7B%22type%22:22""#,
    r#""{\"a\":\"\\ud83d keyword\",\"a\":\"x\"}""#,
    r#""{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}""#,
    r#""10.1.2.3""#,
    r#""eventName""#,
    r#""\"a\": 22""#,
    "false",
    r#""CreateUser""#,
    r#""createuser""#,
    r#""\u0043reateUser""#,
    r#""iam.amazonaws.com""#,
    r#""Root""#,
    r#""ROOT ""#,
    r#""a \"quoted\" CreateUser""#,
    r#""requestParameters too large""#,
    "\"\u{212a}eyword\"",
    r#""keyword""#,
    r#""\ud83d keyword""#,
    "null",
    "true",
    "-0",
    "22",
    "1.50",
    "123456789012345678901234567890",
    r#""""#,
];

fn json() -> impl Strategy<Value = String> {
    let scalar = prop::sample::select(&SCALARS[..]).prop_map(str::to_owned);
    scalar.prop_recursive(3, 24, 5, |inner| {
        let space = prop::sample::select(&["", " ", "\n\t"][..]);
        let member = (prop::sample::select(&KEYS[..]), space, inner.clone())
            .prop_map(|(key, space, value)| format!("{key}{space}:{space}{value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|elements| format!("[{}]", elements.join(", "))),
            prop::collection::vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

/// Mostly records with both of the fields that the index looks at, as ordinary records have them.
fn record() -> impl Strategy<Value = String> {
    let member = (prop::sample::select(&KEYS[..]), json()).prop_map(|(key, value)| format!("{key}:{value}"));
    let names = prop::sample::select(&["CreateUser", "createUSER", "ListUsers", "Root", "keyword"][..]);
    let sources = prop::sample::select(&["iam.amazonaws.com", "IAM.amazonaws.com", "s3.amazonaws.com"][..]);
    let ordinary = (names, sources)
        .prop_map(|(name, source)| format!(r#""eventName":"{name}" , "eventSource": "{source}""#));
    let plain = prop::sample::select(
        &[
            r#""a":"Root""#,
            r#""requestParameters":{"a":"{\"b\":\"Root\"}","b":"%7B%22type%22%3A%22Createx%22%7D"}"#,
            r#""requestParameters":{"a":{"b":"{\"a\":[{\"b\":22},{\"b\":\"keyword\"}]}"},"userName":"root"}"#,
            r#""requestParameters":"{\"a\":{\"b\":\"Root\"}}""#,
            r#""responseElements":{"reason":"responseElements too large"}"#,
            r#""additionalEventData":{"omitted":"true"}"#,
            r#""userIdentity":{"type":"Root","accountId":22,"arn":"Createx"}"#,
            r#""actor":{"account":"22","type":"Root"}"#,
            r#""a":"keyword x""#,
            r#""userIdentity":{"type":"ROOT"}"#,
            r#""a":{"b":"Createx"}"#,
            r#""requestParameters":{"omitted":true}"#,
            r#""b":22"#,
            r#""b":null"#,
            r#""sourceIPAddress":"10.1.2.3""#,
            r#""userIdentity.type":"root""#,
            r#""a":{"b":{"eventName":"createuser"}}"#,
            r#""errorCode":"AccessDenied""#,
        ][..],
    );
    let plain =
        prop::collection::btree_set(plain, 0..4).prop_map(|set| set.into_iter().map(str::to_owned).collect());
    let wild = prop::collection::vec(member, 0..7);
    let parts = (prop::option::weighted(0.8, ordinary), prop_oneof![plain, wild]);
    let printed = prop::bool::weighted(0.2);
    (parts, printed).prop_map(|((ordinary, members), printed): ((Option<String>, Vec<String>), bool)| {
        let members: Vec<String> = ordinary.into_iter().chain(members).collect();
        let record = format!("{{{}}}", members.join(","));
        if printed { spread(&record) } else { record }
    })
}

/// The record with white space behind every mark, as a printer might write it.
fn spread(record: &str) -> String {
    let tokens = Tokens::new(record).map(|token| match token {
        Token::Mark(mark) => format!("{mark} \n "),
        Token::String(text) | Token::Literal(text) => text.to_owned(),
    });
    tokens.collect()
}

fn selection() -> impl Strategy<Value = String> {
    let field = prop::sample::select(
        &[
            "eventName",
            "eventSource",
            "userIdentity.type",
            "a",
            "a.b",
            "requestParameters.a",
            "requestParameters",
            "sourceIPAddress",
            "b",
            "type",
            "a.b.eventName",
            "requestParameters.a.b",
            "requestParameters.b.type",
            "requestParameters.a.b.a.b",
            "requestParameters.a.type.b",
            "actor.account",
            "actor.type",
            "actor.kind",
            "actor.mfa",
            "target.name",
        ][..],
    );
    let modifier = prop::sample::select(
        &[
            "",
            "|contains",
            "|startswith",
            "|endswith",
            "|re",
            "|exists",
            "|cased",
            "|lt",
            "|neq",
            "|contains|all",
            "|re|i",
            "|cidr",
            "|gte",
            "|fieldref",
            "|contains|neq",
        ][..],
    );
    let value = prop::sample::select(
        &[
            "CreateUser",
            "createuser",
            "iam.amazonaws.com",
            "Root",
            "keyword",
            "22",
            "-0",
            "Create*",
            "''",
            "~",
            "oot",
            "'22,1.50'",
            "',true,'",
            "'\"type\":\"Root\"'",
            "'\":true'",
        ][..],
    );
    let item = (field, modifier, prop::collection::vec(value, 1..3)).prop_map(|(field, modifier, values)| {
        let values = match modifier {
            "|exists" => ["true", "false"][values.len() % 2].to_owned(),
            "|lt" | "|gte" => "30".to_owned(),
            "|cidr" => ["10.0.0.0/8", "10.1.2.0/24"][values.len() % 2].to_owned(),
            "|fieldref" => ["a", "requestParameters.a", "requestParameters.a.b", "target.name", "actor.mfa"]
                [values.iter().map(|value| value.len()).sum::<usize>() % 5]
                .to_owned(),
            "" | "|neq" | "|cased" => format!("[{}]", values.join(", ")),
            _ => format!("[{}]", values.join(", ").replace('~', "x").replace("''", "x")),
        };
        format!("{field}{modifier}: {values}")
    });
    let items = prop::collection::btree_map("[a-c]", item, 1..3);
    prop_oneof![
        4 => items.prop_map(|items| {
            let mut lines: Vec<String> = items.into_values().collect();
            lines.sort();
            lines.dedup_by_key(|line| line.split(':').next().map(str::to_owned));
            format!("{{{}}}", lines.join(", "))
        }),
        1 => Just("[keyword, CreateUser]".to_owned()),
        1 => prop::sample::select(&[
            "{'a[any]': {b: Root, type|exists: true}}",
            "{'requestParameters.a[none].b|contains': oot}",
            "{'requestParameters.a.b[all]': {s: {a: 22}, t: [keyword], condition: not s or t}}",
            "{'a[all_or_empty].eventName': CreateUser, eventSource: iam.amazonaws.com}",
        ][..]).prop_map(str::to_owned),
    ]
}

fn condition() -> impl Strategy<Value = &'static str> {
    prop::sample::select(
        &[
            "s",
            "not s",
            "s and t",
            "s or t",
            "s and not t",
            "1 of them",
            "all of them",
            "2 of them",
            "not (s and t)",
        ][..],
    )
}

/// Cases of the property below; `PROPTEST_CASES` asks for more.
fn cases() -> u32 {
    ProptestConfig::default().cases.max(3_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_fast_way_equals_the_oracle(
        rules in prop::collection::vec((selection(), selection(), condition()), 1..9),
        records in prop::collection::vec(record(), 1..8),
    ) {
        let rules: Vec<String> = rules
            .iter()
            .enumerate()
            .map(|(i, (s, t, condition))| rule(i, &format!("s: {s}\nt: {t}\ncondition: {condition}")) + "sigma-version: 3\n")
            .collect();
        let detections = detections(&rules);
        // What is remembered of one record must be right for the next.
        let mut scratch = Scratch::default();
        for record in records.iter().chain(&records) {
            let fast = run_with(&mut scratch, &detections, record, false);
            prop_assert_eq!(fast, run(&detections, record, true), "{} {:?}", record, rules);
        }
    }
}
