//! The bodies of messages, told apart by shape.

use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{Item, ObjectRef, Quiet};

/// What CloudTrail publishes when a topic is set for a trail.
const VALIDATION: &str = "CloudTrail validation message.";
/// SNS around SNS around what is meant.
const MAX_WRAPS: usize = 3;

/// A message body that announces nothing that we know.
#[derive(Debug, thiserror::Error)]
pub enum Unrecognised {
    /// The body is neither JSON nor a text that AWS sends.
    #[error("the message is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// The body is JSON of no known shape.
    #[error("the message has none of the known shapes")]
    Shape,
    /// More wrappers than make sense.
    #[error("the message is wrapped more than {MAX_WRAPS} times")]
    Wrapped,
    /// A notification without records.
    #[error("the notification holds no record")]
    Empty,
}

/// Reads the body of a message.
///
/// # Errors
/// The body has no known shape. A part of a notification that cannot be read beside others that can is an
/// [`Item::Unrecognised`].
pub fn read(body: &str) -> Result<Vec<Item>, Unrecognised> {
    read_wrapped(body, None, 0)
}

/// The keys by which shapes are told apart. Values are read once the shape is known.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Body<'b> {
    #[serde(borrow, rename = "Records")]
    records: Option<&'b RawValue>,
    #[serde(rename = "Event")]
    event: Lenient,
    #[serde(rename = "Type")]
    kind: Lenient,
    #[serde(rename = "Message")]
    message: Lenient,
    #[serde(rename = "Timestamp")]
    timestamp: Lenient,
    #[serde(rename = "s3Bucket")]
    s3_bucket: Lenient,
    #[serde(rename = "s3ObjectKey")]
    s3_object_key: Option<&'b RawValue>,
    #[serde(rename = "detail-type")]
    detail_type: Lenient,
    time: Lenient,
    #[serde(borrow)]
    detail: Option<&'b RawValue>,
    bucket: Lenient,
    key: Lenient,
}

/// A text; a value of any other type counts as absent, for another shape may have it there.
#[derive(Default)]
struct Lenient(Option<String>);

impl<'de> Deserialize<'de> for Lenient {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = <&RawValue>::deserialize(deserializer)?;
        Ok(Self(serde_json::from_str(value.get()).ok()))
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Keys {
    One(String),
    Many(Vec<String>),
}

fn read_wrapped(
    body: &str,
    announced_at: Option<Timestamp>,
    wraps: usize,
) -> Result<Vec<Item>, Unrecognised> {
    let body = body.trim();
    if body == VALIDATION {
        return Ok(vec![Item::Nothing(Quiet::Validation)]);
    }
    if wraps > MAX_WRAPS {
        return Err(Unrecognised::Wrapped);
    }
    if body.starts_with('[') {
        let parts: Vec<&RawValue> = serde_json::from_str(body).map_err(Unrecognised::NotJson)?;
        return list(&parts, |part| read_wrapped(part.get(), announced_at, wraps + 1));
    }
    let shape: Body<'_> = serde_json::from_str(body).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Unrecognised::Shape,
        _ => Unrecognised::NotJson(error),
    })?;
    let Body { records, event, kind, message, timestamp, .. } = shape;
    if let Some(records) = records {
        let parts: Vec<&RawValue> = serde_json::from_str(records.get()).map_err(|_| Unrecognised::Shape)?;
        return list(&parts, |part| Ok(vec![s3_record(part)]));
    }
    if event.0.as_deref() == Some("s3:TestEvent") {
        return Ok(vec![Item::Nothing(Quiet::TestEvent)]);
    }
    if let (Some("Notification"), Some(message)) = (kind.0.as_deref(), message.0) {
        return read_wrapped(&message, time(timestamp.0).or(announced_at), wraps + 1);
    }
    if let (Some(bucket), Some(keys)) = (shape.s3_bucket.0, shape.s3_object_key) {
        let keys = match serde_json::from_str(keys.get()).map_err(|_| Unrecognised::Shape)? {
            Keys::One(key) => vec![key],
            Keys::Many(keys) => keys,
        };
        return not_empty(keys.into_iter().map(|key| object(&bucket, key, announced_at)).collect());
    }
    if let (Some(kind), Some(detail)) = (shape.detail_type.0, shape.detail) {
        return Ok(vec![event_bridge(&kind, detail, time(shape.time.0).or(announced_at))]);
    }
    if let (Some(bucket), Some(key)) = (shape.bucket.0, shape.key.0) {
        return Ok(vec![object(&bucket, key, announced_at)]);
    }
    Err(Unrecognised::Shape)
}

fn list(
    parts: &[&RawValue],
    read: impl Fn(&RawValue) -> Result<Vec<Item>, Unrecognised>,
) -> Result<Vec<Item>, Unrecognised> {
    let items = parts
        .iter()
        .flat_map(|part| read(part).unwrap_or_else(|error| vec![Item::Unrecognised(error.to_string())]));
    let items: Vec<Item> = items.collect();
    // Where not a single part is understood, the whole is not.
    if !items.is_empty() && items.iter().all(|item| matches!(item, Item::Unrecognised(_))) {
        return Err(Unrecognised::Shape);
    }
    not_empty(items)
}

fn not_empty(items: Vec<Item>) -> Result<Vec<Item>, Unrecognised> {
    if items.is_empty() { Err(Unrecognised::Empty) } else { Ok(items) }
}

fn object(bucket: &str, key: String, announced_at: Option<Timestamp>) -> Item {
    let object = ObjectRef { bucket: bucket.to_owned(), key, version: None, size: None };
    Item::Object { object, announced_at }
}

/// One record of an S3 notification. Its key is form-encoded: `+` is a space.
fn s3_record(record: &RawValue) -> Item {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Record {
        event_version: Option<String>,
        event_source: Option<String>,
        event_name: String,
        event_time: Option<String>,
        s3: S3,
    }
    #[derive(Deserialize)]
    struct S3 {
        bucket: Bucket,
        object: Object,
    }
    #[derive(Deserialize)]
    struct Object {
        key: String,
        size: Option<u64>,
        #[serde(rename = "versionId")]
        version: Option<String>,
    }
    let record: Record = match serde_json::from_str(record.get()) {
        Ok(record) => record,
        Err(error) => return Item::Unrecognised(format!("a record of the notification: {error}")),
    };
    let major = record.event_version.as_deref().and_then(|version| version.split('.').next());
    if major.is_some_and(|major| major != "2") || record.event_source.is_some_and(|source| source != "aws:s3")
    {
        return Item::Unrecognised("a record of another service or version".to_owned());
    }
    // Without the prefix `s3:`, which some forwarders put back.
    let name = record.event_name.trim_start_matches("s3:");
    if !name.starts_with("ObjectCreated:") {
        return Item::Nothing(Quiet::OtherObjectEvent);
    }
    let spaced = record.s3.object.key.replace('+', " ");
    let Ok(key) = percent_decode_str(&spaced).decode_utf8() else {
        return Item::Unrecognised("a key that is not UTF-8".to_owned());
    };
    Item::Object {
        object: ObjectRef {
            bucket: record.s3.bucket.name,
            key: key.into_owned(),
            version: version(record.s3.object.version),
            size: record.s3.object.size,
        },
        announced_at: time(record.event_time),
    }
}

#[derive(Deserialize)]
struct Bucket {
    name: String,
}

/// An EventBridge event: about an object (its key is not encoded), or a CloudTrail event itself.
fn event_bridge(kind: &str, detail: &RawValue, sent: Option<Timestamp>) -> Item {
    #[derive(Deserialize)]
    struct Detail {
        bucket: Bucket,
        object: Object,
    }
    #[derive(Deserialize)]
    struct Object {
        key: String,
        size: Option<u64>,
        #[serde(rename = "version-id")]
        version: Option<String>,
    }
    if kind.ends_with(" via CloudTrail") {
        return Item::Event { record: detail.get().as_bytes().to_vec(), announced_at: sent };
    }
    if kind != "Object Created" {
        let of_object = kind.starts_with("Object ");
        return Item::Nothing(if of_object { Quiet::OtherObjectEvent } else { Quiet::OtherEvent });
    }
    match serde_json::from_str::<Detail>(detail.get()) {
        Ok(Detail { bucket, object }) => Item::Object {
            object: ObjectRef {
                bucket: bucket.name,
                key: object.key,
                version: version(object.version),
                size: object.size,
            },
            announced_at: sent,
        },
        Err(error) => Item::Unrecognised(format!("the detail of the event: {error}")),
    }
}

/// Objects of a bucket without versioning may be announced with the version `null`.
fn version(version: Option<String>) -> Option<String> {
    version.filter(|version| !version.is_empty() && version != "null")
}

fn time(text: Option<String>) -> Option<Timestamp> {
    text?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;

    const KEY: &str = "AWSLogs/111122223333/CloudTrail/us-east-1/2026/03/01/a.json.gz";

    fn s3(name: &str, key: &str) -> String {
        format!(
            r#"{{"eventVersion":"2.5","eventSource":"aws:s3","eventTime":"2026-03-01T10:05:07.123Z","eventName":"{name}","s3":{{"bucket":{{"name":"trail"}},"object":{{"key":"{key}","size":12,"versionId":"v1"}}}}}}"#
        )
    }

    fn records(records: &[String]) -> String {
        format!(r#"{{"Records":[{}]}}"#, records.join(","))
    }

    fn sns(message: &str) -> String {
        serde_json::json!({"Type": "Notification", "TopicArn": "arn:aws:sns:us-east-1:1:t", "Message": message,
            "Timestamp": "2026-03-01T10:05:08.010Z"})
        .to_string()
    }

    fn bridge(kind: &str, source: &str, detail: &str) -> String {
        format!(
            r#"{{"version":"0","detail-type":"{kind}","source":"{source}","time":"2026-03-01T10:05:07Z","resources":["arn:aws:s3:::trail"],"detail":{detail}}}"#
        )
    }

    /// What was announced, in short.
    fn short(body: &str) -> Vec<String> {
        match read(body) {
            Err(error) => vec![format!("error: {error}")],
            Ok(items) => items
                .into_iter()
                .map(|item| match item {
                    Item::Object { object, announced_at } => format!(
                        "{}/{} {} {}",
                        object.bucket,
                        object.key,
                        object.version.unwrap_or_default(),
                        announced_at.map(|time| time.to_string()).unwrap_or_default()
                    ),
                    Item::Event { record, .. } => String::from_utf8(record).unwrap(),
                    Item::Nothing(quiet) => quiet.reason().to_owned(),
                    Item::Unrecognised(why) => format!("unrecognised: {why}"),
                })
                .collect(),
        }
    }

    #[test]
    fn every_shape() {
        let put = s3("ObjectCreated:Put", KEY);
        let found = format!("trail/{KEY} v1 2026-03-01T10:05:07.123Z");
        let detail = r#"{"bucket":{"name":"trail"},"object":{"key":"a+b%20c","size":3,"version-id":"v2"}}"#;
        let own = format!(r#"{{"s3Bucket":"trail","s3ObjectKey":["{KEY}","b+c"]}}"#);
        let event = r#"{"eventVersion":"1.08", "eventName":"CreateUser"}"#;
        let cases: Vec<(String, Vec<String>)> = vec![
            (records(from_ref(&put)), vec![found.clone()]),
            (
                records(&[put.clone(), s3("ObjectCreated:Copy", "x"), s3("ObjectRemoved:Delete", "y")]),
                vec![
                    found.clone(),
                    "trail/x v1 2026-03-01T10:05:07.123Z".into(),
                    "other-object-event".into(),
                ],
            ),
            (
                records(&[s3("ObjectCreated:Put", "my+prefix/a%2Bb%3Dc%C3%A9")]),
                vec!["trail/my prefix/a+b=cé v1 2026-03-01T10:05:07.123Z".into()],
            ),
            (sns(&records(from_ref(&put))), vec![found.clone()]),
            (sns(&sns(&records(from_ref(&put)))), vec![found.clone()]),
            (own.clone(), vec![format!("trail/{KEY}  "), "trail/b+c  ".into()]),
            (
                sns(&own),
                vec![
                    format!("trail/{KEY}  2026-03-01T10:05:08.01Z"),
                    "trail/b+c  2026-03-01T10:05:08.01Z".into(),
                ],
            ),
            (r#"{"s3Bucket":"trail","s3ObjectKey":"k"}"#.into(), vec!["trail/k  ".into()]),
            (
                bridge("Object Created", "aws.s3", detail),
                vec!["trail/a+b%20c v2 2026-03-01T10:05:07Z".into()],
            ),
            (bridge("Object Deleted", "aws.s3", detail), vec!["other-object-event".into()]),
            (bridge("GuardDuty Finding", "aws.guardduty", "{}"), vec!["other-event".into()]),
            (sns(&bridge("AWS API Call via CloudTrail", "aws.iam", event)), vec![event.into()]),
            (
                format!("[{}]", bridge("Object Created", "aws.s3", detail)),
                vec!["trail/a+b%20c v2 2026-03-01T10:05:07Z".into()],
            ),
            (
                r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"trail"}"#.into(),
                vec!["test-event".into()],
            ),
            (sns(r#"{"Service":"Amazon S3","Event":"s3:TestEvent"}"#), vec!["test-event".into()]),
            ("CloudTrail validation message.".into(), vec!["validation".into()]),
            (sns("CloudTrail validation message."), vec!["validation".into()]),
            (r#"{"bucket":"trail","key":"a b"}"#.into(), vec!["trail/a b  ".into()]),
            (
                bridge("Object Created", "my.forwarder", detail),
                vec!["trail/a+b%20c v2 2026-03-01T10:05:07Z".into()],
            ),
            (
                records(from_ref(&put))
                    .replace('}', r#","time":5,"key":[],"source":{},"Event":null}"#)
                    .replacen(r#","time":5,"key":[],"source":{},"Event":null}"#, "}", 3),
                vec![found.clone()],
            ),
        ];
        for (body, expected) in cases {
            assert_eq!(short(&body), expected, "{body}");
        }
    }

    #[test]
    fn every_detail_type_of_cloudtrail_is_an_event() {
        for kind in [
            "AWS API Call via CloudTrail",
            "AWS Console Sign In via CloudTrail",
            "AWS Console Signin via CloudTrail",
            "AWS Console Action via CloudTrail",
            "AWS Service Event via CloudTrail",
            "AWS Insight via CloudTrail",
            "AWS Network Activity Event via CloudTrail",
        ] {
            assert_eq!(short(&bridge(kind, "aws.x", "{}")), ["{}"], "{kind}");
        }
    }

    #[test]
    fn what_is_no_announcement() {
        let deep = (0..6).fold("x".to_owned(), |inner, _| sns(&inner));
        let odd_version = s3("ObjectCreated:Put", KEY).replace("2.5", "3.0");
        let cases = [
            ("hello", "not JSON"),
            ("", "not JSON"),
            ("{}", "known shapes"),
            ("[]", "no record"),
            ("7", "known shapes"),
            (r#"{"Records":[]}"#, "no record"),
            (r#"{"Records":7}"#, "known shapes"),
            (r#"{"Records":[{"eventName":"x"}]}"#, "known shapes"),
            (&records(&[odd_version]), "known shapes"),
            (r#"{"Type":"Notification","Message":"hello"}"#, "not JSON"),
            (&deep, "more than 3 times"),
        ];
        for (body, expected) in cases {
            let found = short(body);
            assert!(found[0].starts_with("error: ") && found[0].contains(expected), "{body}: {found:?}");
        }
    }

    #[test]
    fn one_odd_record_does_not_hide_the_others() {
        let found = short(&records(&[r#"{"eventName":"x"}"#.into(), s3("ObjectCreated:Put", "k")]));
        assert!(found[0].starts_with("unrecognised: "));
        assert!(found[1].starts_with("trail/k"));
    }
}
