//! A file of rules, whatever it holds: nothing panics, every problem has a line of the file, and what compiles finds by the
//! fast way what the oracle finds.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use trailhound::detect::{Detections, Scratch};
use trailhound::decode::{Decoder, Item, Limits, Source};
use trailhound::sigma::{RuleFile, compile};

const LOG: &[u8] = br#"{"Records":[
{"eventVersion":"1.11","userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/ann","userName":"ann"},"eventTime":"2026-03-01T10:00:00Z","eventSource":"iam.amazonaws.com","eventName":"CreateUser","awsRegion":"us-east-1","sourceIPAddress":"198.51.100.7","userAgent":"aws-cli/2","requestParameters":{"userName":"bob","n":7,"tags":["x",{"k":true}],"policyDocument":"{\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"*\"}]}"},"responseElements":null,"eventID":"1","recipientAccountId":"111122223333"},
{"userIdentity":{"type":"Root"},"eventTime":"2026-03-01T10:00:01Z","eventSource":"signin.amazonaws.com","eventName":"ConsoleLogin","errorCode":"AccessDenied","requestParameters":{"omitted":true},"eventID":"2"},
{"a":"\u0041b","a":"c","eventName":""}
]}"#;

static RECORDS: LazyLock<usize> = LazyLock::new(|| {
    let mut records = 0;
    let detections = Detections::new(Vec::new());
    Decoder::new(LIMITS).decode(Source::Whole(LOG), detections.keys(), &mut |_| records += 1);
    records
});

const LIMITS: Limits = Limits { inflated: 1 << 20, record: 64 << 10 };

fuzz_target!(|text: &str| {
    let Ok(file) = RuleFile::read("f.yml", text.into(), true) else { return };
    // To YAML a carriage return by itself ends a line, too.
    let lines = text.matches(['\n', '\r']).count() + 1;
    let compiled = compile(&[file]);
    for problem in &compiled.problems {
        let told = problem.to_string();
        let line = told.strip_prefix("f.yml:").and_then(|rest| rest.split(':').next()?.parse().ok());
        assert!(line.is_some_and(|line: usize| (1..=lines).contains(&line)), "{told}");
    }
    let detections = Detections::new(compiled.rules);
    let (mut scratch, mut seen) = (Scratch::default(), 0);
    Decoder::new(LIMITS).decode(Source::Whole(LOG), detections.keys(), &mut |item| {
        let Item::Record(record) = item else { panic!("the records are sound") };
        seen += 1;
        let (mut fast, mut plain) = (Vec::new(), Vec::new());
        let _ = detections.detect(record, &mut scratch, &mut |hit| fast.push((hit.rule.id.clone(), hit.status)));
        let _ = detections
            .detect_plainly(record.bytes, &mut scratch, &mut |hit| plain.push((hit.rule.id.clone(), hit.status)));
        assert_eq!(fast, plain);
    });
    assert_eq!(seen, *RECORDS);
});
