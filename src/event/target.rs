//! What was acted upon.

use std::borrow::Cow;

use serde::Serialize;

use super::{Event, Kind, Value};

/// The user, role, policy, key… that a call acted upon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Target<'e> {
    /// What it is: `user`, `role`, `trail`…
    pub kind: Cow<'e, str>,
    /// Its name, without the path of an ARN.
    pub name: Cow<'e, str>,
    /// Its ARN, where the event has one.
    pub arn: Option<Cow<'e, str>>,
}

/// Request parameters that name what a call acts upon, those that are most to the point first: of a user and
/// the policy attached to it, the user is acted upon.
const PARAMETERS: [(&str, &str); 48] = [
    ("user", "userName"),
    ("role", "roleName"),
    ("group", "groupName"),
    ("role", "roleArn"),
    ("instance-profile", "instanceProfileName"),
    ("policy", "policyArn"),
    ("policy", "policyName"),
    ("policy", "policyId"),
    ("access-key", "accessKeyId"),
    ("mfa-device", "serialNumber"),
    ("mfa-device", "virtualMFADeviceName"),
    ("certificate", "certificateId"),
    ("service-credential", "serviceSpecificCredentialId"),
    ("saml-provider", "sAMLProviderArn"),
    ("oidc-provider", "openIDConnectProviderArn"),
    ("oidc-provider", "url"),
    ("server-certificate", "serverCertificateName"),
    ("analyzer", "analyzerName"),
    ("trail", "trailName"),
    ("event-data-store", "eventDataStore"),
    ("bucket", "bucketName"),
    ("function", "functionName"),
    ("layer", "layerName"),
    ("secret", "secretId"),
    ("detector", "detectorId"),
    ("recorder", "configurationRecorderName"),
    ("delivery-channel", "deliveryChannelName"),
    ("log-group", "logGroupName"),
    ("snapshot", "snapshotId"),
    ("image", "imageId"),
    ("instance", "instanceId"),
    ("volume", "volumeId"),
    ("security-group", "groupId"),
    ("network-acl", "networkAclId"),
    ("route-table", "routeTableId"),
    ("vpc", "vpcId"),
    ("database", "dBInstanceIdentifier"),
    ("database", "dBClusterIdentifier"),
    ("database-snapshot", "dBSnapshotIdentifier"),
    ("database-snapshot", "dBClusterSnapshotIdentifier"),
    ("key-pair", "keyName"),
    ("key", "keyId"),
    ("account", "accountId"),
    ("target", "targetId"),
    ("topic", "topicArn"),
    ("queue", "queueUrl"),
    ("queue", "queueName"),
    ("repository", "repositoryName"),
];

/// What the parameter `name` names, by service.
const NAMES: [(&str, &str); 5] = [
    ("cloudtrail.amazonaws.com", "trail"),
    ("iam.amazonaws.com", "saml-provider"),
    ("ssm.amazonaws.com", "parameter"),
    ("events.amazonaws.com", "rule"),
    ("sns.amazonaws.com", "topic"),
];

impl<'e> Target<'e> {
    /// The fields of an event that tell of its target.
    pub(super) const FIELDS: [&'static str; 3] = ["target.kind", "target.name", "target.arn"];

    /// What the event's call acted upon, if the event tells.
    #[must_use]
    pub fn of(event: &Event<'e>) -> Option<Self> {
        Self::of_request(event).or_else(|| Self::of_response(event)).or_else(|| Self::of_resources(event))
    }

    /// The same, of no event.
    #[must_use]
    pub fn into_owned(self) -> Target<'static> {
        let owned = |text: Cow<'e, str>| Cow::Owned(text.into_owned());
        Target { kind: owned(self.kind), name: owned(self.name), arn: self.arn.map(owned) }
    }

    /// Whether CloudTrail left out what would tell of another target than [`Target::of`] does.
    pub(super) fn is_unknown(event: &Event<'e>) -> bool {
        let omitted = |container| event.omitted().contains(container);
        omitted("requestParameters") || omitted("responseElements") && Self::of_request(event).is_none()
    }

    fn of_request(event: &Event<'e>) -> Option<Self> {
        let parameters = event.at(&["requestParameters"])?;
        let text = |key| parameters.get(key)?.scalar_text().filter(|text| !text.is_empty());
        for (kind, parameter) in PARAMETERS {
            if let Some(value) = text(parameter) {
                return Some(Self::named(kind.into(), value));
            }
        }
        let name = text("name")?;
        let source = event.text(&["eventSource"]).unwrap_or_default();
        let kind = NAMES.iter().find(|(service, _)| *service == source).map_or("resource", |(_, kind)| kind);
        Some(Self::named(kind.into(), name))
    }

    /// A user who makes a credential for itself names nobody in the request.
    fn of_response(event: &Event<'e>) -> Option<Self> {
        let Kind::Object(mut members) = event.at(&["responseElements"])?.kind() else { return None };
        let user = members.find_map(|(_, made)| made.get("userName")?.scalar_text())?;
        Some(Self::named("user".into(), user))
    }

    fn of_resources(event: &Event<'e>) -> Option<Self> {
        let Kind::Array(mut resources) = event.at(&["resources"])?.kind() else { return None };
        resources.find_map(|resource| {
            let text = |key| resource.get(key).and_then(Value::scalar_text);
            Some(Self::named(text("type").unwrap_or_else(|| "resource".into()), text("ARN")?))
        })
    }

    fn named(kind: Cow<'e, str>, value: Cow<'e, str>) -> Self {
        if !value.starts_with("arn:") {
            return Self { kind, name: value, arn: None };
        }
        // The name of an identity provider is its URL, slashes and all.
        let name = value.split_once(":oidc-provider/").map(|(_, url)| url);
        let name = name.unwrap_or_else(|| value.rsplit(['/', ':']).next().unwrap_or_default()).to_owned();
        Self { kind, name: name.into(), arn: Some(value) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Parser;
    use super::*;

    #[test]
    fn targets() {
        let cases = [
            (
                r#"{"requestParameters":{"policyArn":"arn:aws:iam::aws:policy/X","userName":"bob"}}"#,
                "user bob -",
            ),
            (
                r#"{"requestParameters":{"policyArn":"arn:aws:iam::1:policy/a/X"}}"#,
                "policy X arn:aws:iam::1:policy/a/X",
            ),
            (r#"{"eventSource":"cloudtrail.amazonaws.com","requestParameters":{"name":"t"}}"#, "trail t -"),
            (r#"{"eventSource":"new.amazonaws.com","requestParameters":{"name":"t"}}"#, "resource t -"),
            (
                r#"{"requestParameters":null,"responseElements":{"accessKey":{"userName":"bob"}}}"#,
                "user bob -",
            ),
            (
                r#"{"resources":[{"accountId":"1"},{"ARN":"arn:aws:s3:::b","type":"AWS::S3::Bucket"}]}"#,
                "AWS::S3::Bucket b arn:aws:s3:::b",
            ),
            (
                r#"{"requestParameters":{"openIDConnectProviderArn":"arn:aws:iam::1:oidc-provider/oidc.example/id/7"}}"#,
                "oidc-provider oidc.example/id/7 arn:aws:iam::1:oidc-provider/oidc.example/id/7",
            ),
            (r#"{"requestParameters":{"userName":""}}"#, "-"),
            (r#"{"requestParameters":"odd","resources":"odd"}"#, "-"),
        ];
        for (record, expected) in cases {
            let found = Parser::default().parse(record.as_bytes(), |event| match Target::of(&event) {
                Some(Target { kind, name, arn }) => {
                    format!("{kind} {name} {}", arn.as_deref().unwrap_or("-"))
                }
                None => "-".to_owned(),
            });
            assert_eq!(found.unwrap(), expected, "{record}");
        }
    }
}
