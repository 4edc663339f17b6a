//! Alerts about more than one event: what an engine's finding says, and the texts about events that it lists.
//!
//! When the detection fires, the alert is made of the excerpts that were kept. Of the last one it takes who did what,
//! as an alert about one event does.

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::document::{Document, EventFacts, RuleFacts};
use super::excerpt::Excerpt;
use super::summary::Facts;
use super::targets::AlertTargets;
use super::{Alert, AlertId, DOCUMENT_VERSION, Tool, late_by};
use crate::detect::{Finding, Status};
use crate::event::{Event, Parser};
use crate::sigma::Rule;

/// What the end of the document says; the origin is that of the last event that is listed with its text.
#[derive(Serialize)]
struct Evidence<'f> {
    count: u64,
    window: WindowFacts<'f>,
    targets: &'f AlertTargets,
    events: Vec<Listed<'f>>,
    origin: Option<&'f RawValue>,
}

/// The window of a detection over many events.
#[derive(Serialize)]
struct WindowFacts<'f> {
    /// Open at its beginning, closed at its end: the time of the last event that is listed.
    start: Timestamp,
    end: Timestamp,
    /// The fields by which events are grouped, with their values.
    #[serde(serialize_with = "map")]
    group: Vec<(&'f str, &'f str)>,
    /// The value that was seen for the first time.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'f str>,
    period: Timestamp,
    /// What a threshold was compared with, unless it was the count.
    #[serde(skip_serializing_if = "Option::is_none")]
    measured: Option<f64>,
}

/// One of the events behind an alert.
#[derive(Serialize)]
struct Listed<'f> {
    rule: &'f str,
    time: Timestamp,
    event: Option<&'f RawValue>,
    origin: Option<&'f RawValue>,
}

fn map<S: Serializer>(pairs: &[(&str, &str)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().copied())
}

impl Alert {
    /// The id that the alert of a finding has.
    #[must_use]
    pub fn id_of_finding(finding: &Finding) -> AlertId {
        AlertId::of_parts(&finding.id_parts())
    }

    /// Makes the alert of a finding of this detection. `detected_at` is none where no clock has a say: in a replay.
    #[must_use]
    pub fn of_finding(
        finding: &Finding,
        rule: &Rule,
        detected_at: Option<Timestamp>,
        tool: &Tool,
        parser: &mut Parser,
    ) -> Self {
        let excerpts: Vec<Option<Excerpt<'_>>> = finding
            .listed
            .iter()
            .map(|listed| serde_json::from_str(listed.excerpt.as_deref()?).ok())
            .collect();
        let last = excerpts.iter().rev().flatten().next();
        let record = last.map_or("{}", |excerpt| excerpt.event.get());
        let targets = AlertTargets::of(&excerpts, parser);
        let about = About { finding, rule, detected_at, tool, excerpts: &excerpts, targets: &targets };
        let told = parser.parse(record.as_bytes(), |event| about.document(&event));
        // What a parser accepted before, it accepts again; an alert is worth more than what it says of its event.
        let document = told.unwrap_or_else(|_| {
            parser.parse(b"{}", |event| about.document(&event)).expect("an empty object is valid")
        });
        Self {
            id: Self::id_of_finding(finding),
            revision: finding.revision,
            status: Status::Match,
            level: rule.level,
            is_withheld: false,
            rule: rule.id.as_str().into(),
            time: Some(finding.time),
            late_by: about.late_by(),
            document,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "only compared with what was made in the same way")]
fn count(finding: &Finding) -> f64 {
    finding.count as f64
}

/// Everything that an alert about many events says.
struct About<'a> {
    finding: &'a Finding,
    rule: &'a Rule,
    detected_at: Option<Timestamp>,
    tool: &'a Tool,
    excerpts: &'a [Option<Excerpt<'a>>],
    targets: &'a AlertTargets,
}

impl About<'_> {
    /// The document, as text: what it borrows ends with the event.
    fn document(&self, event: &Event<'_>) -> String {
        let Self { finding, rule, detected_at, tool, targets, .. } = *self;
        let facts = EventFacts::of(event);
        let sentence = Facts { rule, event, outcome: &facts.call };
        let document = Document {
            id: Alert::id_of_finding(finding),
            version: DOCUMENT_VERSION,
            revision: finding.revision,
            status: Status::Match.as_str(),
            level: rule.level.as_str(),
            summary: sentence.summary_of_many(finding.count, finding.start, targets.names().as_deref()),
            time: Some(finding.time),
            detected_at,
            late_by: self.late_by(),
            rule: RuleFacts::of(rule),
            tool,
            event_facts: &facts,
            undecided: Vec::new(),
            amends: None,
        };
        let evidence = serde_json::to_string(&self.evidence());
        document.ending_with(&evidence.expect("texts, numbers and checked JSON can be written"))
    }

    fn evidence(&self) -> Evidence<'_> {
        let Self { finding, excerpts, targets, .. } = self;
        let names = finding.names.iter().map(AsRef::as_ref);
        let listed = finding.listed.iter().zip(*excerpts).map(|(listed, excerpt)| Listed {
            rule: &listed.rule,
            time: listed.time,
            event: excerpt.as_ref().map(|excerpt| excerpt.event),
            origin: excerpt.as_ref().map(|excerpt| excerpt.origin),
        });
        Evidence {
            count: finding.count,
            window: WindowFacts {
                start: finding.start,
                end: finding.listed.last().map_or(finding.time, |last| last.time.max(finding.time)),
                value: finding.values.iter().nth(finding.names.len()),
                group: names.zip(finding.values.iter()).collect(),
                period: finding.period,
                measured: finding.measured.filter(|measured| measured.total_cmp(&count(finding)).is_ne()),
            },
            targets,
            events: listed.collect(),
            origin: excerpts.iter().rev().flatten().next().map(|excerpt| excerpt.origin),
        }
    }

    fn late_by(&self) -> Option<i64> {
        late_by(Some(self.finding.time), self.detected_at, self.finding.delay)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::SignedDuration;

    use super::*;
    use crate::alert::{Origin, OriginKind, Undecided, excerpt};
    use crate::detect::windows::{self, EventHash, FindingKind, Values};
    use crate::sigma::{RuleFile, compile};

    const RECORD: &str = r#"{ "eventName":"CreateUser","recipientAccountId":"111122223333","awsRegion":"us-east-1","userIdentity":{"type":"IAMUser","userName":"ann"},"requestParameters":{"userName":"bob","password":"x"} }"#;

    fn rule() -> Rule {
        let text = "title: T\nid: r\nlogsource: {product: aws, service: cloudtrail}\ndetection: {s: {a: 1}, condition: s}\n";
        compile(&[RuleFile { name: "x".into(), text: text.into(), named: false }]).rules.remove(0)
    }

    fn told(excerpts: &[Option<&str>]) -> Alert {
        let time = |second: i64| Timestamp::from_second(1_772_359_200 + second).unwrap();
        let listed = (0..).zip(excerpts).map(|(second, excerpt)| windows::Listed {
            time: time(second),
            event: EventHash([0; 16]),
            rule: "member".into(),
            excerpt: excerpt.map(Arc::from),
        });
        let finding = Finding {
            detection: "r".into(),
            kind: FindingKind::Window,
            revision: 2,
            names: vec!["by".into(), "and".into()],
            values: Values::of(["v", "w"]),
            period: time(0),
            period_end: time(3_600),
            start: time(-60),
            time: time(1),
            count: 7,
            measured: None,
            listed: listed.collect(),
            delay: SignedDuration::from_secs(100),
        };
        let tool = Tool { version: "1", pack: "p".into(), undecided: Undecided::default() };
        Alert::of_finding(&finding, &rule(), Some(time(2_000)), &tool, &mut Parser::default())
    }

    fn excerpt_of(record: &str) -> Arc<str> {
        let origin = Origin {
            kind: OriginKind::File,
            bucket: None,
            key: Some("k"),
            version: None,
            index: 3,
            announced_at: None,
            received_at: None,
        };
        Parser::default().parse(record.as_bytes(), |event| excerpt(&event, &origin)).unwrap()
    }

    fn document(alert: &Alert) -> serde_json::Value {
        serde_json::from_str(&alert.document).unwrap()
    }

    #[test]
    fn the_last_event_with_its_text_speaks_for_all() {
        let text = excerpt_of(RECORD);
        assert!(!text.contains("\"x\"") && text.contains("[masked]"), "{text}");
        let alert = told(&[Some(&text), None]);
        let document = document(&alert);
        assert_eq!(
            document["summary"],
            "T: ann called CreateUser in 111122223333 (us-east-1) (7 events since 2026-03-01T09:59:00Z)"
        );
        assert_eq!((&document["actor"]["name"], &document["origin"]["index"]), (&"ann".into(), &3.into()));
        assert_eq!((&document["count"], &document["revision"]), (&7.into(), &2.into()));
        assert_eq!(document["window"]["group"], serde_json::json!({"by": "v", "and": "w"}));
        assert_eq!(document["targets"], serde_json::json!([{"kind": "user", "name": "bob", "arn": null}]));
        assert_eq!(document["events"][0]["event"]["requestParameters"]["userName"], "bob");
        assert!(document["events"][1]["event"].is_null());
        // 2,000 seconds after the first, one of which is the event's, 900 are usual, and 100 are the window's.
        assert_eq!((&document["late_by"], alert.late_by), (&999.into(), Some(999)));
        assert_eq!(alert.delivery_id(), format!("{}-r2", alert.id));
    }

    #[test]
    fn each_target_is_named_once() {
        let other = RECORD.replace(r#""userName":"bob""#, r#""userName":"eve""#);
        let texts = [RECORD, &other, RECORD].map(excerpt_of);
        let alert = told(&texts.each_ref().map(|text| Some(&**text)));
        let document = document(&alert);
        let names: Vec<_> =
            document["targets"].as_array().unwrap().iter().map(|target| &target["name"]).collect();
        assert_eq!(names, ["bob", "eve"]);
        let summary = document["summary"].as_str().unwrap();
        assert!(summary.ends_with(" (7 events since 2026-03-01T09:59:00Z on bob and eve)"), "{summary}");
    }

    #[test]
    fn an_alert_without_any_text_is_told_all_the_same() {
        for excerpts in [&[None, None][..], &[Some("odd")], &[Some(r#"{"event":[1],"origin":2}"#)], &[]] {
            let document = document(&told(excerpts));
            assert_eq!(document["actor"]["kind"], "unknown", "{excerpts:?}");
            assert_eq!(document["events"].as_array().map(Vec::len), Some(excerpts.len()));
        }
    }

    #[test]
    fn what_is_too_large_goes_without_its_events() {
        let text = excerpt_of(RECORD);
        let alert = told(&[Some(&text)]);
        let mut full = document(&alert);
        let short: serde_json::Value = serde_json::from_str(&alert.shortened()).unwrap();
        full["events"] = serde_json::json!([]);
        full["shortened"] = true.into();
        assert_eq!(short, full);
        assert!(serde_json::from_str::<serde_json::Value>(&told(&[None]).shortened()).is_ok());
    }
}
