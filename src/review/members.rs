//! Which members a call's request and response have in records.
//!
//! CloudTrail mostly writes the names of a service's model, with a small first letter. Where it does not, nothing is
//! known of a member that is not among them, only that one is nearly another.

use super::calls::{Calls, Side, label};
use super::spelling::nearest;

/// Sources whose requests were seen in logs to have the names of the model and no others, but for [`EXTRA`].
const FOLLOWING: [&str; 16] = [
    "autoscaling",
    "cloudtrail",
    "elasticloadbalancing",
    "guardduty",
    "iam",
    "kms",
    "lambda",
    "logs",
    "organizations",
    "ram",
    "rds",
    "rolesanywhere",
    "route53resolver",
    "secretsmanager",
    "ssm",
    "sts",
];

/// Members that are logged although no model has them.
const EXTRA: [(&str, &str); 4] = [
    ("lambda", "fullyQualifiedArn"),
    ("ssm", "interactive"),
    ("sts", "roleSessionName"),
    ("sts", "sAMLAssertionID"),
];

/// What stands in place of parameters that were left out.
const OMITTED: [&str; 3] = ["omitted", "originalSize", "reason"];

/// Why a call is not to be expected to have a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doubt {
    /// The call has none that is called alike.
    Absent,
    /// It is probably misspelt: the call has this one.
    Misspelt(&'static str),
}

/// Whether a call is known, and if so, why it should not have this member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Nothing is known of the call.
    Unknown,
    /// It has the member, or may have it.
    Possible,
    /// It should not.
    Doubtful(Doubt),
}

/// What is known of a member on one side of a call.
#[must_use]
pub fn look(source: &str, name: &str, side: Side, member: &str) -> Answer {
    let Some(known) = Calls::known().members(source, name, side) else { return Answer::Unknown };
    let source = label(source).unwrap_or_default();
    if known.contains(member) || OMITTED.contains(&member) || EXTRA.contains(&(&source, member)) {
        return Answer::Possible;
    }
    let follows = FOLLOWING.contains(&&*source);
    match nearest(member, known.into_iter()) {
        Some(near) if near.eq_ignore_ascii_case(member) && !is_case_certain(near, member, follows) => {
            Answer::Possible
        }
        Some(near) => Answer::Doubtful(Doubt::Misspelt(near)),
        // Responses are often logged without the member that wraps them.
        None if follows && side == Side::Request => Answer::Doubtful(Doubt::Absent),
        None => Answer::Possible,
    }
}

/// Whether a member is certainly not written so. Some services are logged with a great first letter, and some
/// abbreviations at the beginning of a name in small letters.
fn is_case_certain(known: &str, member: &str, follows: bool) -> bool {
    let begins_with_abbreviation = known.chars().nth(1).is_some_and(|second| second.is_ascii_uppercase());
    let same_tail = known.get(1..) == member.get(1..);
    !begins_with_abbreviation && (follows || !same_tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_calls() {
        use Side::{Request, Response};
        let misspelt = |near| Answer::Doubtful(Doubt::Misspelt(near));
        let absent = Answer::Doubtful(Doubt::Absent);
        let cases = [
            ("iam", "CreateUser", Request, "userName", Answer::Possible),
            ("iam", "createuser", Request, "userName", Answer::Possible),
            ("iam", "CreateUser", Request, "username", misspelt("userName")),
            ("iam", "CreateUser", Request, "UserName", misspelt("userName")),
            ("iam", "CreateUser", Request, "usrName", misspelt("userName")),
            ("iam", "CreateUser", Request, "policyArn", absent),
            ("iam", "CreateUser", Request, "omitted", Answer::Possible),
            ("iam", "CreateUser", Response, "user", Answer::Possible),
            ("iam", "CreateUser", Response, "userName", Answer::Possible),
            ("iam", "CreateAccessKey", Response, "accesskey", misspelt("accessKey")),
            ("iam", "CreateUsr", Request, "userName", Answer::Unknown),
            ("iam", "UploadSSHPublicKey", Response, "sSHPublicKey", Answer::Possible),
            ("iam", "UploadSSHPublicKey", Response, "sshPublicKey", Answer::Possible),
            ("lambda", "UpdateFunctionCode20150331v2", Request, "functionName", Answer::Possible),
            ("lambda", "UpdateFunctionCode20150331v2", Request, "fullyQualifiedArn", Answer::Possible),
            ("lambda", "UpdateFunctionCode20150331v2", Request, "functionname", misspelt("functionName")),
            ("rds", "CreateDBInstance", Request, "dbInstanceIdentifier", Answer::Possible),
            ("rds", "CreateDBInstance", Response, "dBInstanceArn", Answer::Possible),
            ("sts", "AssumeRoleWithSAML", Request, "sAMLAssertionID", Answer::Possible),
            ("eks", "CreateAccessEntry", Request, "name", Answer::Possible),
            ("ec2", "CreateRoute", Response, "_return", Answer::Possible),
            ("ec2", "RunInstances", Request, "instancesSet", Answer::Possible),
            ("ec2", "RunInstances", Request, "instanceTyp", misspelt("instanceType")),
            ("ec2", "CreateFlowLogs", Request, "CreateFlowLogsRequest", Answer::Possible),
            ("ec2", "CreateSecurityGroup", Request, "groupDescription", Answer::Possible),
            ("s3", "PutBucketPolicy", Request, "bucketName", Answer::Possible),
            ("ce", "GetCostAndUsage", Request, "TimePeriod", Answer::Possible),
            ("account", "GetRegionOptStatus", Request, "RegionName", Answer::Possible),
            ("nobody-knows", "CreateUser", Request, "userName", Answer::Unknown),
        ];
        for (source, name, side, member, expected) in cases {
            let answer = look(&format!("{source}.amazonaws.com"), name, side, member);
            assert_eq!(answer, expected, "{source} {name} {side:?} {member}");
        }
    }
}
