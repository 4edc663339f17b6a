//! Which calls AWS services have, and what they take and answer: a table made from the service models of botocore by
//! `tests/models/make_calls.py`.
//!
//! It cannot know everything that CloudTrail records: sign-ins, events of services themselves, calls that only
//! consoles and agents make, services that are new. So a name that nothing is known of raises no doubt; only one that
//! is nearly a call of its source, or a call of others, does.

use std::collections::{BTreeSet, HashMap};
use std::io::Read;
use std::sync::LazyLock;

use super::spelling::{distance, nearest};

static TABLE: &[u8] = include_bytes!("calls.gz");
static TEXT: LazyLock<String> = LazyLock::new(|| {
    let mut text = String::new();
    flate2::read::GzDecoder::new(TABLE).read_to_string(&mut text).expect("the table is gzip and text");
    text
});
static CALLS: LazyLock<Calls> = LazyLock::new(|| Calls::read(&TEXT));

const DOMAIN: &str = ".amazonaws.com";

/// Sources of events that are no calls of an interface, so that nothing is known of their names.
const OPEN: [&str; 4] = ["cognito-idp", "signin", "sso", "sso-directory"];

/// Names that CloudTrail gives to events of services, although other services have calls that are called so, and
/// calls that CloudTrail calls by another name than the interface does.
const EXTRA: [(&str, &[&str]); 4] = [
    ("kms", &["deletekey", "rotatekey", "synchronizemultiregionkey"]),
    ("iam", &["getaccountemailaddress", "updateaccountemailaddress"]),
    (
        "s3",
        &[
            "deleteaccountpublicaccessblock",
            "deletebucketpublicaccessblock",
            "getaccountpublicaccessblock",
            "getbucketobjectlockconfiguration",
            "getbucketpublicaccessblock",
            "postobject",
            "putaccountpublicaccessblock",
            "putbucketobjectlockconfiguration",
            "putbucketpublicaccessblock",
        ],
    ),
    ("organizations", &["createaccountresult", "closeaccountresult"]),
];

/// The calls of AWS services, by source.
#[derive(Debug)]
pub struct Calls {
    /// What the table was made from: `botocore 1.2.3`.
    pub edition: &'static str,
    /// By sources without their domain, by names in lower case.
    sources: HashMap<&'static str, HashMap<String, Call>>,
}

/// A call of one source; services that share the source may each have one of this name.
#[derive(Debug)]
struct Call {
    name: &'static str,
    /// For each service the members of the request, and behind `>` those of the response.
    members: Vec<&'static str>,
}

/// What is logged of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// `requestParameters`.
    Request,
    /// `responseElements`.
    Response,
}

/// Why an event is not to be expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// The name is probably misspelt: this one exists.
    Misspelt(String),
    /// Other sources have a call of this name.
    Elsewhere(Vec<String>),
}

impl Calls {
    /// The table.
    #[must_use]
    pub fn known() -> &'static Calls {
        &CALLS
    }

    fn read(text: &'static str) -> Self {
        let mut lines = text.lines();
        let edition = lines.next().unwrap_or_default();
        let mut calls = Self { edition, sources: HashMap::new() };
        let mut sources: Vec<&str> = Vec::new();
        for line in lines {
            let Some(line) = line.strip_prefix(' ') else {
                sources = line.split(' ').collect();
                continue;
            };
            let (name, members) = line.split_once(' ').unwrap_or((line, ""));
            for source in &sources {
                let names = calls.sources.entry(source).or_default();
                let call =
                    names.entry(name.to_ascii_lowercase()).or_insert(Call { name, members: Vec::new() });
                call.members.push(members);
            }
        }
        calls
    }

    /// The members on one side of a call as CloudTrail should write them; nothing of a call that is not known. None at
    /// all means that they are not known, or that there are none.
    pub(super) fn members(&self, source: &str, name: &str, side: Side) -> Option<BTreeSet<&'static str>> {
        let names = self.sources.get(label(source)?.as_str())?;
        let call =
            [without_version(name), name].iter().find_map(|name| names.get(&name.to_ascii_lowercase()))?;
        let of = |members: &&'static str| {
            let (request, response) = members.split_once('>').unwrap_or((members, ""));
            if side == Side::Request { request } else { response }
        };
        Some(call.members.iter().map(of).flat_map(str::split_ascii_whitespace).collect())
    }

    /// Why this source emits no event of this name; nothing if it does, or if nobody knows.
    #[must_use]
    pub fn doubt(&self, source: &str, name: &str) -> Option<Doubt> {
        let source = label(source)?;
        let source = source.as_str();
        let names = self.sources.get(source).filter(|_| !OPEN.contains(&source))?;
        let plain = without_version(name).to_ascii_lowercase();
        let extra = EXTRA.iter().any(|(known, names)| *known == source && names.contains(&&*plain));
        if extra || names.contains_key(&plain) || names.contains_key(&name.to_ascii_lowercase()) {
            return None;
        }
        let elsewhere: BTreeSet<String> = self
            .sources
            .iter()
            .filter(|(_, names)| names.contains_key(&plain))
            .map(|(source, _)| format!("{source}{DOMAIN}"))
            .collect();
        // Consoles and agents ask services what no model has.
        let reads = ["Describe", "Get", "List"].iter().any(|verb| name.starts_with(verb));
        if !elsewhere.is_empty() && !reads {
            return Some(Doubt::Elsewhere(elsewhere.into_iter().collect()));
        }
        let known = names.values().map(|call| call.name);
        nearest(&plain, known).map(|near| Doubt::Misspelt(near.to_owned()))
    }

    /// The source that is probably meant by one that does not exist.
    #[must_use]
    pub fn meant(&self, source: &str) -> Option<String> {
        let source = source.to_ascii_lowercase();
        if let Some(label) = source.strip_suffix(DOMAIN) {
            // Short names lie close together, and some sources have no calls at all.
            let known = self.sources.contains_key(label) || OPEN.contains(&label) || label.len() < 6;
            let near = (!known).then(|| nearest(label, self.sources.keys().copied()))?;
            return Some(format!("{}{DOMAIN}", near?));
        }
        let label = source.split('.').next().unwrap_or_default();
        let whole = format!("{label}{DOMAIN}");
        (self.sources.contains_key(label) && distance(&whole, &source) <= 3).then_some(whole)
    }
}

/// A source in lower case without the domain of services; nothing of any other.
pub(super) fn label(source: &str) -> Option<String> {
    source.to_ascii_lowercase().strip_suffix(DOMAIN).map(str::to_owned)
}

/// A name without the version of its interface, as in `CreateFunction20150331` and `GetDistribution2020_05_31`.
fn without_version(name: &str) -> &str {
    let before_v =
        name.rsplit_once('v').filter(|(_, digits)| is_number(digits)).map_or(name, |(head, _)| head);
    let version = |name: &str, length: usize| {
        let at = name.len().checked_sub(length).filter(|at| *at > 0 && name.is_char_boundary(*at))?;
        let digits = name[at..].bytes().filter(u8::is_ascii_digit).count();
        (name[at..].starts_with("20") && digits == 8).then_some(at)
    };
    for name in [before_v, name] {
        if let Some(at) = version(name, 8).or_else(|| version(name, 10)) {
            return &name[..at];
        }
    }
    name
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_that_exist_raise_no_doubt() {
        let cases = [
            ("iam", "CreateUser"),
            ("IAM", "createuser"),
            ("signin", "ConsoleLogin"),
            ("signin", "CheckMfa"),
            ("sso", "Federate"),
            ("lambda", "CreateFunction20150331"),
            ("lambda", "UpdateFunctionCode20150331v2"),
            ("cloudfront", "GetDistribution2020_05_31"),
            ("monitoring", "DeleteAlarms"),
            ("kms", "DeleteKey"),
            ("kms", "RotateKey"),
            ("s3", "GetObject"),
            ("s3", "PutBucketPublicAccessBlock"),
            ("secretsmanager", "RotationSucceeded"),
            ("organizations", "CreateAccountResult"),
            ("ec2", "BidEvictedEvent"),
            ("rds", "DescribeRecommendations"),
            ("ssm", "UpdateInstanceInformation"),
            ("email", "SendEmail"),
            ("ses", "SendEmail"),
            ("nobody-knows", "CreateUser"),
        ];
        for (source, name) in cases {
            assert_eq!(Calls::known().doubt(&format!("{source}{DOMAIN}"), name), None, "{source} {name}");
        }
    }

    #[test]
    fn events_that_do_not_exist_do() {
        let doubt = |source: &str, name| Calls::known().doubt(&format!("{source}{DOMAIN}"), name);
        assert_eq!(doubt("iam", "CreateUsr"), Some(Doubt::Misspelt("CreateUser".into())));
        assert_eq!(
            doubt("iam", "StopLogging"),
            Some(Doubt::Elsewhere(vec!["cloudtrail.amazonaws.com".into()]))
        );
        let meant = |source| Calls::known().meant(source);
        for misspelt in ["cloudtrial.amazonaws.com", "cloudtrai.amazonaws.com"] {
            assert_eq!(meant(misspelt).as_deref(), Some("cloudtrail.amazonaws.com"), "{misspelt}");
        }
        assert_eq!(meant("iam.amazon.com").as_deref(), Some("iam.amazonaws.com"));
        for known in ["iam.amazonaws.com", "signin.amazonaws.com", "example.com", "tax.amazonaws.com"] {
            assert_eq!(meant(known), None, "{known}");
        }
    }
}
