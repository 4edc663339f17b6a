//! The alert document, in the order in which people read it.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::window::{Listed, WindowFacts};
use super::{AlertId, Origin, Tool, mask};
use crate::event::{Actor, Event, Outcome, Target};
use crate::sigma::Rule;

#[derive(Serialize)]
pub(super) struct Document<'d> {
    pub(super) id: AlertId,
    pub(super) version: u32,
    pub(super) revision: u32,
    pub(super) status: &'static str,
    pub(super) level: &'static str,
    pub(super) summary: String,
    pub(super) time: Option<Timestamp>,
    pub(super) detected_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) late_by: Option<i64>,
    pub(super) rule: RuleFacts<'d>,
    pub(super) tool: &'d Tool,
    #[serde(flatten)]
    pub(super) event_facts: &'d EventFacts<'d>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) undecided: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) amends: Option<AlertId>,
    #[serde(flatten)]
    pub(super) evidence: Evidence<'d>,
}

/// What the alert follows from.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Evidence<'d> {
    /// One event.
    Event { event: &'d RawValue, origin: &'d Origin<'d> },
    /// Several of them; the origin is that of the last one that is listed with its text.
    Window { count: u64, window: WindowFacts<'d>, events: Vec<Listed<'d>>, origin: Option<&'d RawValue> },
}

#[derive(Serialize)]
pub(super) struct RuleFacts<'d> {
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

/// What is said of the event, or of the last one of several.
#[derive(Serialize)]
pub(super) struct EventFacts<'e> {
    account: Option<Cow<'e, str>>,
    region: Option<Cow<'e, str>>,
    actor: Actor<'e>,
    target: Option<Target<'e>>,
    #[serde(rename = "outcome", serialize_with = "outcome")]
    pub(super) call: Outcome<'e>,
    error_code: Option<Cow<'e, str>>,
    source_ip: Option<Cow<'e, str>>,
    user_agent: Option<Cow<'e, str>>,
}

impl Document<'_> {
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts, numbers and checked JSON can be written")
    }
}

impl<'d> RuleFacts<'d> {
    pub(super) fn of(rule: &'d Rule) -> Self {
        Self {
            id: &rule.id,
            title: &rule.title,
            level: rule.level.as_str(),
            tags: &rule.tags,
            description: rule.description.as_deref(),
            references: &rule.references,
            falsepositives: &rule.falsepositives,
            response: rule.extension.response.as_deref(),
            hash: &rule.hash,
        }
    }
}

impl<'e> EventFacts<'e> {
    pub(super) fn of(event: &Event<'e>) -> Self {
        let text = |key| event.text(&[key]).filter(|text| !text.is_empty());
        let call = event.outcome();
        let error_code = match &call {
            Outcome::Failure { code } => code.clone(),
            Outcome::Success => None,
        };
        Self {
            account: text("recipientAccountId"),
            region: text("awsRegion"),
            actor: Actor::of(event),
            target: Target::of(event),
            call,
            error_code,
            source_ip: text("sourceIPAddress"),
            user_agent: text("userAgent"),
        }
    }
}

fn outcome<S: Serializer>(call: &Outcome<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if call.is_success() { "success" } else { "failure" })
}

/// The event, compact, with known secrets masked.
pub(super) fn masked(event: &Event<'_>) -> Box<RawValue> {
    RawValue::from_string(mask::masked(event.raw())).unwrap_or_else(|_| {
        // Not reached by text that a parser accepted; an alert is worth more than its event.
        RawValue::NULL.to_owned()
    })
}
