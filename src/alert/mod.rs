//! Alerts: what is told about a hit, and where it is told.
//!
//! An [`Alert`] is made once, in the worker that found the hit: its id, and the document as the text that
//! every sink sends. Nothing of the event is needed after that.

mod actor;
mod id;
mod mask;
mod sink;
mod summary;
mod target;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::value::RawValue;

pub use actor::{Actor, ActorKind};
pub use id::AlertId;
pub use mask::masked_value;
pub use sink::*;
pub use summary::is_deceptive;
pub use target::Target;

use crate::detect::{Hit, Status};
use crate::event::Outcome;
use crate::sigma::Level;
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
    /// The level of its detection.
    pub level: Level,
    /// The id of its detection.
    pub rule: Arc<str>,
    /// The time of the event.
    pub time: Option<Timestamp>,
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
    /// When the object was stored, as the store says.
    #[serde(skip)]
    pub stored_at: Option<Timestamp>,
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
}

/// The alert document, in the order in which people read it.
#[derive(Serialize)]
struct Document<'d> {
    id: AlertId,
    version: u32,
    revision: u32,
    status: &'static str,
    level: &'static str,
    summary: String,
    time: Option<Timestamp>,
    detected_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    late_by: Option<i64>,
    rule: RuleFacts<'d>,
    tool: &'d Tool,
    account: Option<&'d str>,
    region: Option<&'d str>,
    actor: &'d Actor<'d>,
    target: Option<&'d Target<'d>>,
    outcome: &'static str,
    error_code: Option<&'d str>,
    source_ip: Option<&'d str>,
    user_agent: Option<&'d str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    undecided: Vec<&'static str>,
    event: &'d RawValue,
    origin: &'d Origin<'d>,
}

#[derive(Serialize)]
struct RuleFacts<'d> {
    id: &'d str,
    title: &'d str,
    level: &'static str,
    tags: &'d [String],
    description: Option<&'d str>,
    references: &'d [String],
    falsepositives: &'d [String],
    response: Option<&'d str>,
    hash: &'d str,
}

impl Alert {
    /// The id that the alert of a hit has.
    #[must_use]
    pub fn id_of(hit: &Hit<'_>) -> AlertId {
        AlertId::of_event(hit.status.as_str(), &hit.rule.id, &hit.event.key())
    }

    /// Makes the alert of a hit. `detected_at` is none where no clock has a say: in a replay.
    #[must_use]
    pub fn of(hit: &Hit<'_>, origin: &Origin<'_>, detected_at: Option<Timestamp>, tool: &Tool) -> Self {
        let Hit { rule, status, event } = *hit;
        let (actor, target, outcome) = (Actor::of(event), Target::of(event), event.outcome());
        let facts = Facts { rule, event, actor: &actor, target: target.as_ref(), outcome: &outcome };
        let id = Self::id_of(hit);
        let text = |key| event.text(&[key]).filter(|text| !text.is_empty());
        let (account, region) = (text("recipientAccountId"), text("awsRegion"));
        let (source_ip, user_agent) = (text("sourceIPAddress"), text("userAgent"));
        let time = event.time();
        let masked = RawValue::from_string(mask::masked(event.raw())).unwrap_or_else(|_| {
            // Not reached by text that a parser accepted; an alert is worth more than its event.
            RawValue::NULL.to_owned()
        });
        let document = Document {
            id,
            version: DOCUMENT_VERSION,
            revision: 1,
            status: status.as_str(),
            level: rule.level.as_str(),
            summary: facts.summary(status == Status::Undecided),
            time,
            detected_at,
            late_by: late_by(time, origin.stored_at),
            rule: RuleFacts {
                id: &rule.id,
                title: &rule.title,
                level: rule.level.as_str(),
                tags: &rule.tags,
                description: rule.description.as_deref(),
                references: &rule.references,
                falsepositives: &rule.falsepositives,
                response: rule.extension.response.as_deref(),
                hash: &rule.hash,
            },
            tool,
            account: account.as_deref(),
            region: region.as_deref(),
            actor: &actor,
            target: target.as_ref(),
            outcome: if outcome.is_success() { "success" } else { "failure" },
            error_code: match &outcome {
                Outcome::Failure { code: Some(code) } => Some(code),
                _ => None,
            },
            source_ip: source_ip.as_deref(),
            user_agent: user_agent.as_deref(),
            undecided: match status {
                Status::Match => Vec::new(),
                Status::Undecided => event.omitted().names().collect(),
            },
            event: &masked,
            origin,
        };
        Self {
            id,
            revision: 1,
            status,
            level: rule.level,
            rule: rule.id.as_str().into(),
            time,
            document: serde_json::to_string(&document)
                .expect("texts, numbers and checked JSON can be written"),
        }
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
        // Inside of strings quotes are escaped, so that both marks stand where the document put them; what an
        // event itself may have of the second one comes before it.
        let event = self.document.find(",\"event\":{");
        let origin = self.document.rfind(",\"origin\":{");
        match (event, origin) {
            (Some(event), Some(origin)) if event < origin => {
                let (head, tail) = (&self.document[..event], &self.document[origin..]);
                format!("{head},\"event\":null,\"shortened\":true{tail}")
            }
            _ => self.document.clone(),
        }
    }
}

/// Seconds beyond the usual delivery between the event and its object.
fn late_by(event: Option<Timestamp>, stored: Option<Timestamp>) -> Option<i64> {
    let late = stored?.duration_since(event?) - USUAL_DELIVERY;
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

    fn alerts(record: &str, stored_at: Option<&str>) -> Vec<Alert> {
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
            stored_at: stored_at.map(|time| time.parse().unwrap()),
        };
        let tool = Tool { version: "1", pack: "p".into() };
        let mut alerts = Vec::new();
        detections
            .detect_alone(record.as_bytes(), &mut Scratch::default(), &mut |hit| {
                alerts.push(Alert::of(&hit, &origin, None, &tool));
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
            r#""summary":"ann created bob","time":"2026-03-01T10:00:00Z","detected_at":null,"late_by":300,"#,
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
    fn an_alert_of_an_event_that_json_cannot_say_is_valid_json() {
        let odd = RECORD.replace(r#""cli""#, r#""\ud83d""#);
        let alert = alerts(&odd, None).remove(0);
        let document: serde_json::Value = serde_json::from_str(&alert.document).unwrap();
        assert_eq!(document["user_agent"], "\u{fffd}");
    }
}
