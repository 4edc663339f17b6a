//! What kind of object a key names.
//!
//! `[prefix/]AWSLogs/[o-…/]ACCOUNT/KIND/REGION/…`, where KIND is `CloudTrail`, a sibling of it such as
//! `CloudTrail-Digest`, or another service. Prefixes may hold any of these words. Files that were moved
//! elsewhere still carry `ACCOUNT_CloudTrail_REGION_…` in their names.

/// The kind of object that a key names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// CloudTrail log files.
    Log,
    /// Network activity events of VPC endpoints.
    NetworkActivity,
    /// Digest files.
    Digest,
    /// Insight events.
    Insight,
    /// Summaries of data events.
    Aggregated,
    /// Logs of another AWS service.
    OtherLog,
    /// A folder marker.
    Folder,
    /// None of these.
    Foreign,
}

impl Class {
    /// The class of a key or of a path with `/` between its segments.
    #[must_use]
    pub fn of(key: &str) -> Self {
        if key.ends_with('/') {
            return Class::Folder;
        }
        let segments: Vec<&str> = key.split('/').collect();
        let marks = segments.iter().enumerate().filter(|(_, segment)| **segment == "AWSLogs");
        let by_path = marks.filter_map(|(i, _)| kind_after(&segments[i + 1..])).next_back();
        by_path.or_else(|| kind_in_name(segments[segments.len() - 1])).unwrap_or(Class::Foreign)
    }

    /// Whether detections run on such objects.
    #[must_use]
    pub fn is_detected(self) -> bool {
        matches!(self, Class::Log | Class::NetworkActivity)
    }

    /// A short name, from a closed set, for metrics.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Class::Log => "log",
            Class::NetworkActivity => "network-activity",
            Class::Digest => "digest",
            Class::Insight => "insight",
            Class::Aggregated => "aggregated",
            Class::OtherLog => "other-log",
            Class::Folder => "folder",
            Class::Foreign => "foreign",
        }
    }
}

/// The class told by what follows `AWSLogs`: a file below an account and a kind.
fn kind_after(segments: &[&str]) -> Option<Class> {
    let segments = match segments {
        [organization, rest @ ..] if organization.starts_with("o-") => rest,
        rest => rest,
    };
    let [account, kind, _, ..] = segments else { return None };
    is_number(account).then(|| kind_of(kind))
}

/// The class told by a file name such as `111122223333_CloudTrail_us-east-1_20260301T1005Z_….json.gz`.
fn kind_in_name(name: &str) -> Option<Class> {
    let (account, rest) = name.split_once('_')?;
    let (kind, _) = rest.split_once('_')?;
    (is_number(account) && kind.starts_with("CloudTrail")).then(|| kind_of(kind))
}

fn kind_of(kind: &str) -> Class {
    match kind {
        "CloudTrail" => Class::Log,
        "CloudTrail-NetworkActivity" => Class::NetworkActivity,
        "CloudTrail-Digest" => Class::Digest,
        "CloudTrail-Insight" => Class::Insight,
        "CloudTrail-Aggregated" => Class::Aggregated,
        _ => Class::OtherLog,
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        let cases = [
            ("AWSLogs/111122223333/CloudTrail/us-east-1/2026/03/01/x.json.gz", Class::Log),
            ("a b/AWSLogs/111122223333/CloudTrail/us-east-1/2026/03/01/x.json.gz", Class::Log),
            ("CloudTrail-Digest/AWSLogs/o-exampleorg/111122223333/CloudTrail/us-east-1/2026/x", Class::Log),
            ("AWSLogs/old/AWSLogs/1/CloudTrail/r/x", Class::Log),
            ("AWSLogs/1/CloudTrail-NetworkActivity/r/x", Class::NetworkActivity),
            ("AWSLogs/1/CloudTrail-Digest/r/x", Class::Digest),
            ("AWSLogs/1/CloudTrail-Insight/r/x", Class::Insight),
            ("AWSLogs/1/CloudTrail-Aggregated/r/x", Class::Aggregated),
            ("AWSLogs/1/CloudTrail-Novelty/r/x", Class::OtherLog),
            ("AWSLogs/1/vpcflowlogs/r/x", Class::OtherLog),
            ("AWSLogs/1/CloudTrail/", Class::Folder),
            ("AWSLogs/CloudTrail/us-east-1/x", Class::Foreign),
            ("AWSLogs/1/file", Class::Foreign),
            ("reports/q3.pdf", Class::Foreign),
            ("moved/218007301253_CloudTrail_us-east-1_20230710T1145Z_7xgocspSowgK0Gto.json", Class::Log),
            (
                "111122223333_CloudTrail-Digest_us-east-1_trail_us-east-1_20260301T100000Z.json.gz",
                Class::Digest,
            ),
            ("x_CloudTrail_us-east-1_y", Class::Foreign),
            ("", Class::Foreign),
        ];
        for (key, expected) in cases {
            assert_eq!(Class::of(key), expected, "{key}");
        }
    }
}
