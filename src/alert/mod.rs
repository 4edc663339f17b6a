//! Alerts: what is told about a hit, and where it is told.
//!
//! An [`Alert`] is made once, in the worker that found the hit: its id, and the document as the text that
//! every sink sends. Nothing of the event is needed after that.

mod document;
mod excerpt;
mod id;
mod mask;
mod sink;
mod summary;
mod targets;
mod window;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

pub use excerpt::{excerpt, masked_excerpt, write_bare_excerpt};
pub use id::AlertId;
pub use mask::masked_value;
pub use sink::*;
pub use summary::{escape, harmless, is_deceptive};

use crate::detect::{Hit, Status};
use crate::sigma::Level;
use document::{Document, EventFacts, RuleFacts};
use summary::Facts;

/// The version of the alert document. Additions keep it, any other change raises it.
pub const DOCUMENT_VERSION: u32 = 1;
/// How long CloudTrail usually takes to deliver, after which an event counts as late: 15 minutes.
const USUAL_DELIVERY: SignedDuration = SignedDuration::from_mins(15);

/// An alert, ready to be sent.
#[derive(Debug, Clone)]
pub struct Alert {
    /// Its id.
    pub id: AlertId,
    /// 1, or more for later revisions.
    pub revision: u32,
    /// Whether the hit is certain.
    pub status: Status,
    /// The level of its detection, or the one that undecided alerts have.
    pub level: Level,
    /// Whether it is counted only, and goes to no sink.
    pub is_withheld: bool,
    /// The id of its detection.
    pub rule: Arc<str>,
    /// The time of the event.
    pub time: Option<Timestamp>,
    /// Seconds by which it comes later than CloudTrail's usual delivery explains.
    pub late_by: Option<i64>,
    /// The alert document, one line of JSON.
    pub document: String,
}

/// Where an event was found.
#[derive(Debug, Clone, Serialize)]
pub struct Origin<'o> {
    /// By which way it came.
    pub kind: OriginKind,
    /// The bucket of the object.
    pub bucket: Option<&'o str>,
    /// The key of the object, or the path of the file.
    pub key: Option<&'o str>,
    /// The version of the object that was read.
    pub version: Option<&'o str>,
    /// The position of the record in its object; 0 is the first.
    pub index: u64,
    /// When the object was announced.
    pub announced_at: Option<Timestamp>,
    /// When the announcement was received.
    pub received_at: Option<Timestamp>,
}

/// By which way an event came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OriginKind {
    /// In an object of a bucket.
    S3,
    /// In a message itself.
    SqsInline,
    /// In a file.
    File,
    /// From standard input.
    Stdin,
}

/// What made the alerts: this program and the detections it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tool {
    /// The program's version.
    pub version: &'static str,
    /// What the set of detections is known by: 16 digits of a hash over all of them.
    pub pack: String,
    /// How it tells what it could not decide.
    #[serde(skip)]
    pub undecided: Undecided,
}

/// How alerts are told of hits that are not certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undecided {
    /// Their level; that of the detection if there is none.
    pub level: Option<Level>,
    /// Whether sinks get them. Those that no sink gets are counted.
    pub deliver: bool,
}

impl Default for Undecided {
    fn default() -> Self {
        Self { level: None, deliver: true }
    }
}

impl Alert {
    /// The id of the alert that the detection has for the event which this one corrects, if it does.
    fn amended(hit: &Hit<'_>) -> Option<AlertId> {
        let corrected = hit.event.corrects()?;
        Some(AlertId::of_event(Status::Match.as_str(), &hit.rule.id, &corrected))
    }

    /// The id that the alert of a hit has.
    #[must_use]
    pub fn id_of(hit: &Hit<'_>) -> AlertId {
        AlertId::of_event(hit.status.as_str(), &hit.rule.id, &hit.event.key())
    }

    /// Makes the alert of a hit. `detected_at` is none where no clock has a say: in a replay.
    #[must_use]
    pub fn of(hit: &Hit<'_>, origin: &Origin<'_>, detected_at: Option<Timestamp>, tool: &Tool) -> Self {
        let Hit { rule, status, event } = *hit;
        let (level, is_withheld) = match status {
            Status::Match => (rule.level, false),
            Status::Undecided => (tool.undecided.level.unwrap_or(rule.level), !tool.undecided.deliver),
        };
        let facts = EventFacts::of(event);
        let (id, time) = (Self::id_of(hit), event.time());
        let late_by = late_by(time, detected_at, SignedDuration::ZERO);
        let document = Document {
            id,
            version: DOCUMENT_VERSION,
            revision: 1,
            status: status.as_str(),
            level: level.as_str(),
            summary: Facts { rule, event, outcome: &facts.call }.summary(status == Status::Undecided),
            time,
            detected_at,
            late_by,
            rule: RuleFacts::of(rule),
            tool,
            event_facts: &facts,
            undecided: match status {
                Status::Match => Vec::new(),
                Status::Undecided => event.unknown().names().collect(),
            },
            amends: Self::amended(hit),
        };
        Self {
            id,
            revision: 1,
            status,
            level,
            is_withheld,
            rule: rule.id.as_str().into(),
            time,
            late_by,
            document: document.ending_with(&excerpt(event, origin)),
        }
    }

    /// How it is counted: by its status, as `withheld`, or as `updated` from the second revision on.
    #[must_use]
    pub fn counted_as(&self) -> &'static str {
        if self.revision > 1 {
            return "updated";
        }
        if self.is_withheld { "withheld" } else { self.status.as_str() }
    }

    /// The idempotency key: the id, with the revision behind it from the second on.
    #[must_use]
    pub fn delivery_id(&self) -> String {
        match self.revision {
            0 | 1 => self.id.to_string(),
            revision => format!("{}-r{revision}", self.id),
        }
    }

    /// The document without its event, for receivers with a limit; it says that it was shortened.
    #[must_use]
    pub fn shortened(&self) -> String {
        // Inside of strings quotes are escaped, so that the marks stand where the document put them; what events
        // themselves may have of the last one comes before it.
        let document = &self.document;
        let marks = [(",\"event\":{", ",\"event\":null"), (",\"events\":[", ",\"events\":[]")];
        let begins = marks.into_iter().filter_map(|(mark, nothing)| Some((document.find(mark)?, nothing)));
        let begin = begins.min();
        let origin = document.rfind(",\"origin\":");
        match (begin, origin) {
            (Some((begin, nothing)), Some(origin)) if begin < origin => {
                let (head, tail) = (&document[..begin], &document[origin..]);
                format!("{head}{nothing},\"shortened\":true{tail}")
            }
            _ => document.clone(),
        }
    }
}

/// Seconds beyond the usual delivery between an event and the alert, which needs `delay` of its own.
fn late_by(event: Option<Timestamp>, detected_at: Option<Timestamp>, delay: SignedDuration) -> Option<i64> {
    let late = detected_at?.duration_since(event?).checked_sub(USUAL_DELIVERY)?.checked_sub(delay)?;
    late.is_positive().then(|| late.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::{Detections, Scratch};
    use crate::sigma::{RuleFile, compile};

    const RULE: &str = "title: User created
id: 00000000-0000-4000-8000-000000000001
description: Somebody.
references: [https://example.com]
tags: [attack.t1136.003]
falsepositives: [Automation]
level: high
logsource: {product: aws, service: cloudtrail}
detection: {s: {eventName: CreateUser, requestParameters.userName|exists: true}, condition: s}
trailhound: {summary: '{actor.name} created {target.name}', response: Ask.}
";

    fn alerts(record: &str, detected_at: Option<&str>) -> Vec<Alert> {
        alerts_of(Undecided::default(), record, detected_at)
    }

    fn alerts_of(undecided: Undecided, record: &str, detected_at: Option<&str>) -> Vec<Alert> {
        let file = RuleFile { name: "x".into(), text: RULE.into(), named: false };
        let detections = Detections::new(compile(&[file]).rules);
        let origin = Origin {
            kind: OriginKind::S3,
            bucket: Some("trail"),
            key: Some("k"),
            version: None,
            index: 3,
            announced_at: None,
            received_at: None,
        };
        let tool = Tool { version: "1", pack: "p".into(), undecided };
        let detected_at = detected_at.map(|time| time.parse().unwrap());
        let mut alerts = Vec::new();
        detections
            .detect_alone(record.as_bytes(), &mut Scratch::default(), &mut |hit| {
                alerts.push(Alert::of(&hit, &origin, detected_at, &tool));
            })
            .unwrap();
        alerts
    }

    const RECORD: &str = r#"{ "eventName":"CreateUser","eventTime":"2026-03-01T10:00:00Z","awsRegion":"us-east-1","eventID":"e-1","recipientAccountId":"111122223333","sourceIPAddress":"198.51.100.7","userAgent":"cli","userIdentity":{"type":"IAMUser","userName":"ann","accountId":"111122223333"},"requestParameters":{"userName":"bob","n":1.50} }"#;

    #[test]
    fn the_document_is_complete() {
        let alert = alerts(RECORD, Some("2026-03-01T10:20:00Z")).remove(0);
        let expected = concat!(
            r#"{"id":"@ID","version":1,"revision":1,"status":"match","level":"high","#,
            r#""summary":"ann created bob","time":"2026-03-01T10:00:00Z","detected_at":"2026-03-01T10:20:00Z","late_by":300,"#,
            r#""rule":{"id":"00000000-0000-4000-8000-000000000001","title":"User created","level":"high","#,
            r#""tags":["attack.t1136.003"],"description":"Somebody.","references":["https://example.com"],"#,
            r#""falsepositives":["Automation"],"response":"Ask.","hash":"@HASH"},"#,
            r#""tool":{"version":"1","pack":"p"},"account":"111122223333","region":"us-east-1","#,
            r#""actor":{"kind":"user","type":"IAMUser","arn":null,"name":"ann","account":"111122223333","#,
            r#""session_issuer":null,"mfa":null,"access_key_id":null},"#,
            r#""target":{"kind":"user","name":"bob","arn":null},"outcome":"success","error_code":null,"#,
            r#""source_ip":"198.51.100.7","user_agent":"cli","#,
            r#""event":{"eventName":"CreateUser","eventTime":"2026-03-01T10:00:00Z","awsRegion":"us-east-1","#,
            r#""eventID":"e-1","recipientAccountId":"111122223333","sourceIPAddress":"198.51.100.7","#,
            r#""userAgent":"cli","userIdentity":{"type":"IAMUser","userName":"ann","accountId":"111122223333"},"#,
            r#""requestParameters":{"userName":"bob","n":1.50}},"#,
            r#""origin":{"kind":"s3","bucket":"trail","key":"k","version":null,"index":3,"#,
            r#""announced_at":null,"received_at":null}}"#,
        );
        let document: serde_json::Value = serde_json::from_str(&alert.document).unwrap();
        let hash = document["rule"]["hash"].as_str().unwrap();
        let expected = expected.replace("@ID", &alert.id.to_string()).replace("@HASH", hash);
        assert_eq!(alert.document, expected);
    }

    #[test]
    fn what_comes_later_than_usual_says_by_how_much() {
        let cases = [
            (None, None),
            (Some("2026-03-01T10:15:00Z"), None),
            (Some("2026-03-05T10:15:07Z"), Some(4 * 86_400 + 7)),
        ];
        for (detected_at, expected) in cases {
            let alert = alerts(RECORD, detected_at).remove(0);
            let document: serde_json::Value = serde_json::from_str(&alert.document).unwrap();
            assert_eq!(
                (alert.late_by, document["late_by"].as_i64()),
                (expected, expected),
                "{detected_at:?}"
            );
        }
        let untimed = RECORD.replace("\"eventTime\":\"2026-03-01T10:00:00Z\",", "");
        assert_eq!(alerts(&untimed, Some("2026-03-05T10:15:07Z"))[0].late_by, None);
    }

    #[test]
    fn a_shortened_document_keeps_all_but_the_event() {
        let odd =
            RECORD.replace("\"n\":1.50", r#""origin":{"kind":"x"},"event":{"a":1},"t":",\"origin\":{""#);
        let alert = alerts(&odd, None).remove(0);
        let mut full: serde_json::Value = serde_json::from_str(&alert.document).unwrap();
        let short: serde_json::Value = serde_json::from_str(&alert.shortened()).unwrap();
        full["event"] = serde_json::Value::Null;
        full["shortened"] = true.into();
        assert_eq!(short, full);
    }

    #[test]
    fn failures_and_doubts_are_told() {
        let failed = RECORD.replace("{ ", r#"{"errorCode":"AccessDenied","#);
        let alert = alerts(&failed, None).remove(0);
        let document: serde_json::Value = serde_json::from_str(&alert.document).unwrap();
        assert_eq!(document["outcome"], "failure");
        assert_eq!(document["error_code"], "AccessDenied");
        assert!(document.get("late_by").is_none() && document.get("undecided").is_none());

        let omitted = RECORD.replace(r#"{"userName":"bob","n":1.50}"#, r#"{"omitted":true}"#);
        let doubt = alerts(&omitted, None).remove(0);
        let document: serde_json::Value = serde_json::from_str(&doubt.document).unwrap();
        assert_eq!(document["status"], "undecided");
        assert_eq!(document["undecided"], serde_json::json!(["requestParameters"]));
        assert_ne!(doubt.id, alert.id);
    }

    #[test]
    fn what_is_undecided_is_told_as_asked() {
        let omitted = RECORD.replace(r#"{"userName":"bob","n":1.50}"#, r#"{"omitted":true}"#);
        let usual = alerts(&omitted, None).remove(0);
        assert_eq!((usual.level, usual.is_withheld, usual.counted_as()), (Level::High, false, "undecided"));
        let settings = Undecided { level: Some(Level::Low), deliver: false };
        let lower = alerts_of(settings, &omitted, None).remove(0);
        assert_eq!((lower.level, lower.is_withheld, lower.counted_as()), (Level::Low, true, "withheld"));
        assert_eq!(lower.id, usual.id);
        let document: serde_json::Value = serde_json::from_str(&lower.document).unwrap();
        assert_eq!((&document["level"], &document["rule"]["level"]), (&"low".into(), &"high".into()));
        let certain = alerts_of(settings, RECORD, None).remove(0);
        assert_eq!((certain.level, certain.is_withheld, certain.counted_as()), (Level::High, false, "match"));
    }

    #[test]
    fn a_correction_names_the_alert_that_it_amends() {
        let original = alerts(RECORD, None).remove(0);
        let addendum = |reason: &str, id: &str| {
            let addendum = format!(
                r#"{{"addendum":{{"reason":"{reason}","updatedFields":"requestParameters","originalEventID":{id}}},"#
            );
            let record = RECORD.replace(r#""e-1""#, r#""e-2""#).replacen("{ ", &addendum, 1);
            alerts(&record, None).remove(0)
        };
        let cases = [
            ("UPDATED_DATA", r#""e-1""#, Some(original.id.to_string())),
            ("SERVICE_OUTAGE", r#""e-1""#, None),
            ("DELIVERY_DELAY", r#""e-1""#, None),
            ("UPDATED_DATA", r#""""#, None),
            ("UPDATED_DATA", "null", None),
        ];
        for (reason, id, expected) in cases {
            let alert = addendum(reason, id);
            let document: serde_json::Value = serde_json::from_str(&alert.document).unwrap();
            let amends = document.get("amends").map(|id| id.as_str().unwrap().to_owned());
            assert_eq!(amends, expected, "{reason} {id}");
            assert_ne!(alert.id, original.id);
        }
    }

    #[test]
    fn an_alert_of_an_event_that_json_cannot_say_is_valid_json() {
        let odd = RECORD.replace(r#""cli""#, r#""\ud83d""#);
        let alert = alerts(&odd, None).remove(0);
        let document: serde_json::Value = serde_json::from_str(&alert.document).unwrap();
        assert_eq!(document["user_agent"], "\u{fffd}");
    }
}
