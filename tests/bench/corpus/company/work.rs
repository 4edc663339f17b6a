//! Work as `work.txt` has it: who, how often, and which calls.

use super::super::calls::Call;
use super::super::dice::Dice;
use super::super::record;
use super::super::template::Template;
use super::{ACCOUNTS, SPECIAL, staff};

/// Services that log in one region, whoever calls from where.
const GLOBAL: [&str; 8] =
    ["iam", "organizations", "route53", "cloudfront", "account", "signin", "ce", "health"];
/// How the names of calls begin that only read.
const READS: [&str; 15] = [
    "Describe", "Get", "List", "Head", "BatchGet", "Lookup", "Decrypt", "Search", "Query", "Scan", "Select",
    "Check", "Assume", "Simulate", "View",
];
/// Calls on data rather than on what holds it.
const DATA: [&str; 8] = [
    "GetObject",
    "PutObject",
    "HeadObject",
    "DeleteObject",
    "DeleteObjects",
    "ListObjects",
    "CopyObject",
    "Invoke",
];

/// Some calls of one caller.
pub(super) struct Work {
    pub(super) who: &'static str,
    /// How often it is done in an hour, in a million accounts.
    often: u64,
    /// The one account where it is done, if it is not done in all.
    only: Option<usize>,
    /// How long it takes.
    pub(super) seconds: usize,
    pub(super) steps: Vec<Step>,
}

/// A call, and how many times it is made.
pub(super) struct Step {
    least: usize,
    most: usize,
    /// Where it is logged, if that is not where the work is done.
    pub(super) region: Option<&'static str>,
    pub(super) template: Template,
}

/// All work.
pub(super) fn all() -> Vec<Work> {
    let mut all: Vec<Work> = Vec::new();
    let lines = include_str!("work.txt").lines().map(str::trim).filter(|line| !line.starts_with('#'));
    for line in lines.filter(|line| !line.is_empty()) {
        match line.strip_prefix("work ") {
            Some(head) => all.push(Work::read(head)),
            None => {
                let work = all.last_mut().expect("calls belong to work");
                work.steps.push(Step::read(line, staff::is_service(work.who)));
            }
        }
    }
    all
}

impl Work {
    /// Reads a line such as `terraform 120/h 300s` or `backup 20/h 60s only backups`.
    fn read(head: &'static str) -> Self {
        let words: Vec<&'static str> = head.split_whitespace().collect();
        let [who, often, seconds, rest @ ..] = words.as_slice() else {
            panic!("{head}: who, how often, how long")
        };
        let often: f64 = often.strip_suffix("/h").and_then(|text| text.parse().ok()).expect("a rate");
        let seconds = seconds.strip_suffix('s').and_then(|text| text.parse().ok()).expect("a length");
        let only = match rest {
            ["only", name] => Some(SPECIAL.iter().find(|(known, _)| known == name).expect("an account").1),
            _ => None,
        };
        let accounts = if only.is_some() { 1 } else { u32::try_from(ACCOUNTS).expect("accounts are few") };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "rates are small and positive"
        )]
        let often = (often * 1e6 / f64::from(accounts)) as u64;
        Self { who, often, only, seconds, steps: Vec::new() }
    }

    /// How often it is done in this account, this hour.
    pub(super) fn times(&self, account: usize, dice: &mut Dice) -> u64 {
        let part = u32::try_from(self.often % 1_000_000).expect("below a million");
        let more = u64::from(dice.chance(part));
        if self.only.is_some_and(|only| only != account) { 0 } else { self.often / 1_000_000 + more }
    }
}

impl Step {
    /// Reads a line such as `2..6 ec2 DescribeVpcs !Client.UnauthorizedOperation @AwsServiceEvent REQUEST -> RESPONSE + MEMBERS`,
    /// of which only the count and the call must be there.
    fn read(line: &'static str, by_service: bool) -> Self {
        let (count, rest) = line.split_once(' ').expect("a count");
        let (service, rest) = rest.trim_start().split_once(' ').expect("a service");
        let (name, mut rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let (mut error, mut kind) =
            (None, if service == "signin" { "AwsConsoleSignIn" } else { "AwsApiCall" });
        while let Some(word) = rest.split(' ').next().filter(|word| word.starts_with(['!', '@'])) {
            rest = rest[word.len()..].trim_start();
            match word.split_at(1) {
                ("!", code) => error = Some(code),
                (_, event) => kind = event,
            }
        }
        let (rest, additional) = rest.split_once(" + ").unwrap_or((rest, ""));
        let (request, response) = rest.split_once(" -> ").unwrap_or((rest, "null"));
        let (least, most) = count.split_once("..").unwrap_or((count, count));
        let call = Call {
            service,
            name,
            reads: READS.iter().any(|begin| name.starts_with(begin)),
            kind,
            request: if request.is_empty() { "null" } else { request },
            response,
            additional,
            ..Call::PLAIN
        };
        let error = error.map_or(String::new(), |code| record::refusal(code, service, name));
        let mut text = record::text(
            &call,
            &error,
            Some(response),
            &if by_service { String::new() } else { record::tls(service) },
        );
        if DATA.contains(&name) {
            text = text.replace(r#""managementEvent":true"#, r#""managementEvent":false"#);
            text = text.replace(r#""eventCategory":"Management""#, r#""eventCategory":"Data""#);
        }
        Self {
            least: least.parse().expect("a number"),
            most: most.parse().expect("a number"),
            region: GLOBAL.contains(&service).then_some("us-east-1"),
            template: Template::new(&text),
        }
    }

    pub(super) fn times(&self, dice: &mut Dice) -> usize {
        self.least + dice.below(self.most - self.least + 1)
    }
}
