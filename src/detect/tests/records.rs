//! What records are to detections: what is left out, what stands in strings, who did it to what.

use super::*;

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
fn a_replaced_member_is_not_there() {
    let detections = detections(&[rule(1, "s: {eventSource: b}\nk: [Evil]\ncondition: s and not k")]);
    let record = r#"{"eventName":"Good","eventSource":"b","x":"Evil","x":"ok"}"#;
    assert_eq!(run(&detections, record, false).unwrap().len(), 1);
}
