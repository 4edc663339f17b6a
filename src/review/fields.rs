//! Which fields a record of CloudTrail can have, after its record reference.

use super::spelling::nearest;

/// Top-level fields of events, of insights and of aggregated events, and what is derived from them.
const TOP: [&str; 39] = [
    "accountId",
    "actor",
    "addendum",
    "additionalEventData",
    "annotation",
    "apiVersion",
    "awsRegion",
    "edgeDeviceDetails",
    "errorCode",
    "errorMessage",
    "eventCategory",
    "eventContext",
    "eventID",
    "eventId",
    "eventName",
    "eventSource",
    "eventTime",
    "eventType",
    "eventVersion",
    "insightDetails",
    "managementEvent",
    "readOnly",
    "recipientAccountId",
    "requestID",
    "requestParameters",
    "resources",
    "responseElements",
    "serviceEventDetails",
    "sessionCredentialFromConsole",
    "sharedEventID",
    "sourceIPAddress",
    "summary",
    "target",
    "timeWindow",
    "tlsDetails",
    "userAgent",
    "userIdentity",
    "vpcEndpointAccountId",
    "vpcEndpointId",
];

/// Fields of `userIdentity`; there may be new ones, so that only what is nearly one of them is doubted.
const IDENTITY: [&str; 14] = [
    "accessKeyId",
    "accountId",
    "arn",
    "credentialId",
    "identityProvider",
    "inScopeOf",
    "invokedBy",
    "invokedByDelegate",
    "onBehalfOf",
    "principalId",
    "sessionContext",
    "sessionIssuer",
    "type",
    "userName",
];

/// Why no record has a value at this path; nothing if one may have.
#[must_use]
pub fn doubt(path: &str) -> Option<String> {
    let mut parts = path.split('.');
    let top = parts.next()?;
    if !TOP.contains(&top) {
        return Some(match nearest(top, TOP.into_iter()) {
            Some(near) => format!("CloudTrail has no field `{top}`; is `{near}` meant?"),
            None => format!("CloudTrail has no field `{top}`"),
        });
    }
    let second = parts.next().filter(|_| top == "userIdentity")?;
    let near = nearest(second, IDENTITY.into_iter()).filter(|_| !IDENTITY.contains(&second))?;
    Some(format!("`userIdentity` has no field `{second}`; is `{near}` meant?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        for known in [
            "eventName",
            "requestParameters.any.thing",
            "userIdentity.arn",
            "userIdentity.brandNew",
            "resources.ARN",
        ] {
            assert_eq!(doubt(known), None, "{known}");
        }
        let cases = [
            ("eventname", "`eventName`"),
            ("requestParameter.x", "`requestParameters`"),
            ("userIdentity.username", "`userName`"),
            ("userIdentity.ARN", "`arn`"),
            ("CommandLine", "no field `CommandLine`"),
        ];
        for (path, expected) in cases {
            assert!(
                doubt(path).is_some_and(|message| message.contains(expected)),
                "{path}: {:?}",
                doubt(path)
            );
        }
    }
}
