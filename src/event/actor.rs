//! Who did it: the identity of an event in one shape, whatever form CloudTrail gave it.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

use super::{Event, Omitted};

/// The principal behind an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Actor<'e> {
    /// What kind of principal it is.
    pub kind: ActorKind,
    /// `userIdentity.type`, which CloudTrail sometimes leaves out.
    #[serde(rename = "type")]
    pub identity_type: Option<Cow<'e, str>>,
    /// `userIdentity.arn`.
    pub arn: Option<Cow<'e, str>>,
    /// The name that people know: a user's name, `role/session`, the e-mail address of an Identity Center
    /// session, a service.
    pub name: Option<Cow<'e, str>>,
    /// `userIdentity.accountId`: the account that the principal belongs to.
    pub account: Option<Cow<'e, str>>,
    /// The ARN of the role or user that issued the session.
    pub session_issuer: Option<Cow<'e, str>>,
    /// Whether the session or the sign-in used MFA, where the event says so.
    pub mfa: Option<bool>,
    /// `userIdentity.accessKeyId`.
    pub access_key_id: Option<Cow<'e, str>>,
}

/// Kinds of principals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActorKind {
    /// The root user of an account.
    Root,
    /// An IAM user.
    User,
    /// A session of an IAM role.
    Role,
    /// A user of IAM Identity Center.
    Sso,
    /// A user of another identity provider: SAML, OIDC, `GetFederationToken`.
    Federated,
    /// An AWS service.
    Service,
    /// Another account, or a principal of it that is not named.
    Account,
    /// None of these.
    Unknown,
}

impl Serialize for ActorKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl ActorKind {
    /// Its name in alerts and rules.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ActorKind::Root => "root",
            ActorKind::User => "user",
            ActorKind::Role => "role",
            ActorKind::Sso => "sso",
            ActorKind::Federated => "federated",
            ActorKind::Service => "service",
            ActorKind::Account => "account",
            ActorKind::Unknown => "unknown",
        }
    }
}

/// The names of roles that Identity Center makes start so.
const SSO_ROLE: &str = "AWSReservedSSO_";

impl<'e> Actor<'e> {
    /// Whether MFA was used is unknown if CloudTrail left out where a sign-in says so.
    pub(super) fn may_lack_mfa(omitted: Omitted) -> bool {
        omitted.contains("additionalEventData")
    }

    /// The principal of an event.
    #[must_use]
    pub fn of(event: &Event<'e>) -> Self {
        let identity = event.at(&["userIdentity"]);
        let field = |keys: &[&str]| {
            let value = keys.iter().try_fold(identity?, |value, key| value.get(key))?;
            value.scalar_text().filter(|text| !text.is_empty())
        };
        let identity_type = field(&["type"]);
        let arn = field(&["arn"]);
        let session = session_of(arn.as_deref(), field(&["principalId"]).as_deref());
        let role = field(&["sessionContext", "sessionIssuer", "userName"])
            .map(Cow::into_owned)
            .or_else(|| arn.as_deref().and_then(role_of).map(str::to_owned));
        let from_sso = role.as_deref().is_some_and(|role| role.starts_with(SSO_ROLE));
        let kind = match identity_type.as_deref() {
            Some("Root") => ActorKind::Root,
            Some("IAMUser") => ActorKind::User,
            Some("AssumedRole" | "Role") if from_sso => ActorKind::Sso,
            Some("AssumedRole" | "Role") => ActorKind::Role,
            Some("IdentityCenterUser") => ActorKind::Sso,
            Some("FederatedUser" | "SAMLUser" | "WebIdentityUser" | "Directory") => ActorKind::Federated,
            Some("AWSService") => ActorKind::Service,
            Some("AWSAccount") => ActorKind::Account,
            None if field(&["invokedBy"]).is_some() => ActorKind::Service,
            _ => ActorKind::Unknown,
        };
        let name = match kind {
            // Root has a user name where the account has an alias: then it is the alias.
            ActorKind::Root => Some(match field(&["userName"]) {
                Some(alias) => format!("root ({alias})").into(),
                None => "root".into(),
            }),
            ActorKind::Sso => session.map(Cow::Owned).or_else(|| field(&["onBehalfOf", "userId"])),
            ActorKind::Role => match (role, session) {
                (Some(role), Some(session)) => Some(format!("{role}/{session}").into()),
                (role, session) => role.or(session).map(Cow::Owned),
            },
            ActorKind::Service => field(&["invokedBy"]),
            ActorKind::Account => field(&["accountId"]).or_else(|| field(&["principalId"])),
            ActorKind::User | ActorKind::Federated | ActorKind::Unknown => field(&["userName"]),
        };
        let name = name.or_else(|| arn.as_deref().map(|arn| last_part(arn).to_owned().into()));
        Self {
            kind,
            name: name.or_else(|| field(&["principalId"])).or_else(|| field(&["invokedBy"])),
            account: field(&["accountId"]),
            session_issuer: field(&["sessionContext", "sessionIssuer", "arn"]),
            mfa: mfa(event),
            access_key_id: field(&["accessKeyId"]),
            identity_type,
            arn,
        }
    }
}

/// The session name: the last part of an assumed role's ARN, or what follows `AROA…:` in the principal's id.
fn session_of(arn: Option<&str>, principal: Option<&str>) -> Option<String> {
    let from_arn = arn.filter(|arn| arn.contains(":assumed-role/")).map(last_part);
    let from_principal = || principal?.split_once(':').map(|(_, session)| session);
    from_arn.or_else(from_principal).filter(|session| !session.is_empty()).map(str::to_owned)
}

/// The role in `arn:aws:sts::111122223333:assumed-role/ROLE/SESSION`.
fn role_of(arn: &str) -> Option<&str> {
    arn.split_once(":assumed-role/")?.1.split('/').next()
}

fn last_part(arn: &str) -> &str {
    arn.rsplit(['/', ':']).next().unwrap_or(arn)
}

/// Sign-in events say whether MFA was used beside the answer; other events in the session.
fn mfa(event: &Event<'_>) -> Option<bool> {
    let paths: [&[&str]; 2] = [
        &["additionalEventData", "MFAUsed"],
        &["userIdentity", "sessionContext", "attributes", "mfaAuthenticated"],
    ];
    let text = paths.iter().find_map(|path| event.text(path))?;
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" => Some(true),
        "no" | "false" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Parser;
    use super::*;

    fn of(identity: &str) -> (ActorKind, Option<String>, Option<String>, Option<bool>) {
        let record = format!(r#"{{"userIdentity":{identity}}}"#);
        Parser::default()
            .parse(record.as_bytes(), |event| {
                let actor = Actor::of(&event);
                (
                    actor.kind,
                    actor.name.map(Cow::into_owned),
                    actor.session_issuer.map(Cow::into_owned),
                    actor.mfa,
                )
            })
            .unwrap()
    }

    #[test]
    fn every_form_of_identity() {
        let issuer = |role: &str| {
            format!(
                r#"{{"type":"AssumedRole","principalId":"AROAX:s","arn":"arn:aws:sts::1:assumed-role/{role}/s","accountId":"1","sessionContext":{{"sessionIssuer":{{"type":"Role","arn":"arn:aws:iam::1:role/{role}","userName":"{role}"}},"attributes":{{"mfaAuthenticated":"false"}}}}}}"#
            )
        };
        let sso = r#"{"type":"AssumedRole","principalId":"AROAX:ann@example.com","arn":"arn:aws:sts::1:assumed-role/AWSReservedSSO_Admin_0123456789abcdef/ann@example.com","sessionContext":{"sessionIssuer":{}}}"#;
        let cases = [
            (
                r#"{"type":"Root","principalId":"1","arn":"arn:aws:iam::1:root"}"#,
                ActorKind::Root,
                "root",
                None,
                None,
            ),
            (r#"{"type":"Root","userName":"alias"}"#, ActorKind::Root, "root (alias)", None, None),
            (
                r#"{"type":"IAMUser","arn":"arn:aws:iam::1:user/a/bob","userName":"bob","sessionContext":{"attributes":{"mfaAuthenticated":"true"},"sessionIssuer":{}}}"#,
                ActorKind::User,
                "bob",
                None,
                Some(true),
            ),
            (r#"{"type":"IAMUser","arn":"arn:aws:iam::1:user/a/bob"}"#, ActorKind::User, "bob", None, None),
            (&issuer("deploy"), ActorKind::Role, "deploy/s", Some("arn:aws:iam::1:role/deploy"), Some(false)),
            (sso, ActorKind::Sso, "ann@example.com", None, None),
            (r#"{"type":"AssumedRole","principalId":"AROAX:i-0abc"}"#, ActorKind::Role, "i-0abc", None, None),
            (
                r#"{"type":"IdentityCenterUser","onBehalfOf":{"userId":"u-1"}}"#,
                ActorKind::Sso,
                "u-1",
                None,
                None,
            ),
            (
                r#"{"type":"SAMLUser","userName":"ann","principalId":"x:ann"}"#,
                ActorKind::Federated,
                "ann",
                None,
                None,
            ),
            (
                r#"{"type":"FederatedUser","arn":"arn:aws:sts::1:federated-user/eve"}"#,
                ActorKind::Federated,
                "eve",
                None,
                None,
            ),
            (
                r#"{"type":"AWSService","invokedBy":"ec2.amazonaws.com"}"#,
                ActorKind::Service,
                "ec2.amazonaws.com",
                None,
                None,
            ),
            (
                r#"{"accountId":"1","invokedBy":"AWS Internal"}"#,
                ActorKind::Service,
                "AWS Internal",
                None,
                None,
            ),
            (
                r#"{"type":"AWSAccount","principalId":"AIDAX","accountId":"2"}"#,
                ActorKind::Account,
                "2",
                None,
                None,
            ),
            (r#"{"type":"Unknown","principalId":"p"}"#, ActorKind::Unknown, "p", None, None),
        ];
        for (identity, kind, name, issuer, mfa) in cases {
            let expected = (kind, Some(name.to_owned()), issuer.map(str::to_owned), mfa);
            assert_eq!(of(identity), expected, "{identity}");
        }
        assert_eq!(of("null"), (ActorKind::Unknown, None, None, None));
        assert_eq!(of(r#"{"type":"","sessionContext":"odd"}"#), (ActorKind::Unknown, None, None, None));
    }
}
