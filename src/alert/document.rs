//! The alert document, in the order in which people read it: what is said about the alert, and at the end what it
//! follows from.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::{AlertId, Tool};
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
    /// The document as one line of JSON, with the keys of this JSON object behind its own.
    pub(super) fn ending_with(&self, evidence: &str) -> String {
        let mut json = serde_json::to_string(self).expect("texts and numbers can be written");
        json.pop();
        json.reserve_exact(evidence.len());
        json.push(',');
        json.push_str(evidence.strip_prefix('{').unwrap_or(evidence));
        json
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
