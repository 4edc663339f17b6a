//! Records: a call, its caller, and how it ended, in the order of keys that CloudTrail writes.

use super::calls::{Call, ORDINARY, TELLING};
use super::cast::{Cast, Profile};
use super::dice::Dice;
use super::template::{Scene, Template};

/// Of a million calls that read, how many fail.
const FAILURES: u32 = 40_000;
/// Of a million calls that fail, how many are refused; the others come too fast.
const REFUSALS: u32 = 700_000;
/// Entries of the tables that choices are looked up in.
const ENTRIES: usize = 4096;

/// Writes records.
pub(super) struct Author {
    ordinary: Vec<Prepared>,
    telling: Vec<Prepared>,
    /// Whose turn it is, as often as their share says.
    callers: Vec<Profile>,
    /// For each profile, which of the ordinary calls, as often as their weight says.
    choices: Vec<Vec<usize>>,
}

/// A call, ready to be written.
struct Prepared {
    call: &'static Call,
    /// As AWS services make it.
    internal: Template,
    /// As everyone else does.
    direct: Template,
    refused: Template,
    throttled: Template,
}

/// Which sort of record is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    Ordinary,
    /// One that raises an alert.
    Telling,
}

impl Author {
    pub(super) fn new() -> Self {
        let shares = Profile::ALL.map(|(profile, share, _)| (profile, share));
        Self {
            ordinary: ORDINARY.iter().map(Prepared::new).collect(),
            telling: TELLING.iter().map(Prepared::new).collect(),
            callers: spread(&shares),
            choices: Profile::ALL.iter().map(|(profile, ..)| spread(&weights(*profile))).collect(),
        }
    }

    /// Writes a record of someone in the cast.
    pub(super) fn write(
        &self,
        sort: Sort,
        cast: &Cast,
        scene: &Scene<'_>,
        dice: &mut Dice,
        out: &mut Vec<u8>,
    ) {
        let (prepared, profile) = match sort {
            Sort::Telling => {
                let prepared = &self.telling[dice.below(self.telling.len())];
                (prepared, dice.one(prepared.call.callers))
            }
            Sort::Ordinary => {
                let profile = dice.one(&self.callers);
                (&self.ordinary[dice.one(&self.choices[profile as usize])], profile)
            }
        };
        let actor = cast.one(profile, dice);
        prepared.template(profile, dice).write(scene, actor, dice, out);
    }
}

impl Prepared {
    fn new(call: &'static Call) -> Self {
        let Call { service, name, .. } = call;
        let code = if *service == "ec2" { "Client.UnauthorizedOperation" } else { "AccessDenied" };
        let refused = refusal(code, service, name);
        let throttled = r#""errorCode":"ThrottlingException","errorMessage":"Rate exceeded","#;
        let (answer, tls) = (Some(call.response), tls(service));
        Self {
            call,
            internal: Template::new(&text(call, call.error, answer, "")),
            direct: Template::new(&text(call, call.error, answer, &tls)),
            refused: Template::new(&text(call, &refused, None, &tls)),
            throttled: Template::new(&text(call, throttled, None, &tls)),
        }
    }

    fn template(&self, profile: Profile, dice: &mut Dice) -> &Template {
        if matches!(profile, Profile::Service | Profile::Forwarded) {
            return &self.internal;
        }
        if !self.call.reads || !dice.chance(FAILURES) {
            return &self.direct;
        }
        if dice.chance(REFUSALS) { &self.refused } else { &self.throttled }
    }
}

/// That a call was refused, or failed otherwise.
pub(super) fn refusal(code: &str, service: &str, name: &str) -> String {
    let message = match code {
        "Client.UnauthorizedOperation" => format!(
            "You are not authorized to perform this operation. User: <caller> is not authorized to perform: {service}:{name} because no identity-based policy allows the {service}:{name} action"
        ),
        "AccessDenied" | "AccessDeniedException" => format!(
            "User: <caller> is not authorized to perform: {service}:{name} because no identity-based policy allows the {service}:{name} action"
        ),
        _ => "The request cannot be fulfilled".to_owned(),
    };
    format!(r#""errorCode":"{code}","errorMessage":"{message}","#)
}

/// A record's text with its gaps.
pub(super) fn text(call: &Call, error: &str, response: Option<&str>, tls: &str) -> String {
    let Call { service, name, reads, version, kind, request, additional, resources, shared, .. } = call;
    let response = response.unwrap_or("null");
    format!(
        r#"{{"eventVersion":"{version}","userIdentity":<identity>,"eventTime":"<time>","eventSource":"{service}.amazonaws.com","eventName":"{name}","awsRegion":"<region>","sourceIPAddress":"<address>","userAgent":"<agent>",{error}"requestParameters":{request},"responseElements":{response},{additional}"requestID":"<uuid>","eventID":"<uuid>","readOnly":{reads},{resources}"eventType":"{kind}","managementEvent":true,"recipientAccountId":"<account>",{shared}"eventCategory":"Management"{tls}<tail>}}"#
    )
}

/// The end of the record of a call that comes over the network.
pub(super) fn tls(service: &str) -> String {
    format!(
        r#","tlsDetails":{{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"{service}.<region>.amazonaws.com"}}"#
    )
}

/// The ordinary calls of a profile, with their weights.
fn weights(profile: Profile) -> Vec<(usize, usize)> {
    let calls = ORDINARY.iter().enumerate().filter(|(_, call)| call.callers.contains(&profile));
    calls.map(|(number, call)| (number, call.weight)).collect()
}

/// A table in which each choice stands as often as its weight says.
fn spread<T: Copy>(choices: &[(T, usize)]) -> Vec<T> {
    let total: usize = choices.iter().map(|(_, weight)| weight).sum();
    let copies = |weight: usize| (weight * ENTRIES).div_ceil(total);
    choices.iter().flat_map(|&(choice, weight)| std::iter::repeat_n(choice, copies(weight))).collect()
}
