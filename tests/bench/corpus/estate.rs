//! What an account has: buckets, keys, functions and the like, each with a name that comes again and again.

use super::dice::{BASE32, Dice, HEX};

/// The accounts of a corpus.
pub(super) const ACCOUNTS: [&str; 4] = ["111122223333", "444455556666", "777788889999", "123456789012"];
/// The regions of a corpus.
pub(super) const REGIONS: [&str; 5] =
    ["us-east-1", "eu-west-1", "us-west-2", "eu-central-1", "ap-southeast-2"];

const TEAMS: [&str; 12] = [
    "payments", "orders", "search", "billing", "identity", "catalog", "media", "ledger", "fraud", "shipping",
    "mail", "risk",
];
const PARTS: [&str; 14] = [
    "api", "worker", "ingest", "export", "web", "batch", "cache", "events", "archive", "reports", "gateway",
    "sync", "index", "audit",
];
const STAGES: [&str; 3] = ["prod", "staging", "dev"];
const NOTES: [&str; 8] = [
    "Prüfung für das Quartal",
    "équipe données – réseau",
    "東京リージョンの検証",
    "São Paulo migração",
    "Kraków środowisko testowe",
    "данные за март",
    "naïve café ☕ rollout",
    "größe geändert 🚀",
];
const ACTIONS: [&str; 16] = [
    "s3:GetObject",
    "s3:ListBucket",
    "s3:PutObject",
    "kms:Decrypt",
    "kms:GenerateDataKey",
    "sqs:SendMessage",
    "sqs:ReceiveMessage",
    "dynamodb:GetItem",
    "dynamodb:Query",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "ssm:GetParameter",
    "secretsmanager:DescribeSecret",
    "ec2:DescribeInstances",
    "ec2:DescribeNetworkInterfaces",
    "cloudwatch:PutMetricData",
];

/// A kind of thing that records name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thing {
    Bucket,
    Function,
    Role,
    Key,
    Instance,
    Parameter,
    Secret,
    Table,
    Vpc,
    Subnet,
    Group,
    Interface,
    Image,
    User,
    Queue,
    Name,
    Policy,
    Note,
}

impl Thing {
    /// Every kind, with the name that templates know it by, and how many an account has.
    pub(super) const ALL: [(Thing, &str, usize); 18] = [
        (Thing::Bucket, "bucket", 40),
        (Thing::Function, "function", 60),
        (Thing::Role, "role", 40),
        (Thing::Key, "key", 16),
        (Thing::Instance, "instance", 60),
        (Thing::Parameter, "parameter", 80),
        (Thing::Secret, "secret", 40),
        (Thing::Table, "table", 30),
        (Thing::Vpc, "vpc", 4),
        (Thing::Subnet, "subnet", 12),
        (Thing::Group, "group", 30),
        (Thing::Interface, "interface", 80),
        (Thing::Image, "image", 12),
        (Thing::User, "user", 12),
        (Thing::Queue, "queue", 20),
        (Thing::Name, "name", 60),
        (Thing::Policy, "policy", 48),
        (Thing::Note, "note", NOTES.len()),
    ];

    fn name(self, account: &str, number: usize, dice: &mut Dice) -> String {
        let own = format!("{}-{}-{}", dice.one(&TEAMS), dice.one(&PARTS), dice.one(&STAGES));
        match self {
            Thing::Bucket => format!("{own}-{}", &account[..4]),
            Thing::Key => uuid(dice),
            Thing::Instance => format!("i-{}", dice.word(HEX, 17)),
            Thing::Parameter => format!("/{}/setting-{number}", own.replace('-', "/")),
            Thing::Secret => format!("{}-{}", own.replacen('-', "/", 2), dice.word(BASE32, 6)),
            Thing::Vpc => format!("vpc-{}", dice.word(HEX, 17)),
            Thing::Subnet => format!("subnet-{}", dice.word(HEX, 17)),
            Thing::Group => format!("sg-{}", dice.word(HEX, 17)),
            Thing::Interface => format!("eni-{}", dice.word(HEX, 17)),
            Thing::Image => format!("ami-{}", dice.word(HEX, 17)),
            Thing::User => format!("{}.{}", dice.one(&TEAMS), dice.one(&PARTS)),
            Thing::Policy => policy(account, dice),
            Thing::Note => NOTES[number].to_owned(),
            Thing::Function | Thing::Role | Thing::Table | Thing::Queue | Thing::Name => own,
        }
    }
}

/// The order of the list is that of the enum: both are used as an index.
const _: () = {
    let mut number = 0;
    while number < Thing::ALL.len() {
        assert!(Thing::ALL[number].0 as usize == number);
        number += 1;
    }
};

/// The things of an account.
pub(super) struct Estate {
    pub(super) account: String,
    things: Vec<Vec<String>>,
}

impl Estate {
    pub(super) fn new(seed: u64, account: &str, number: u64) -> Self {
        let mut dice = Dice::new(seed, u64::MAX - number);
        let things = Thing::ALL.map(|(thing, _, count)| {
            (0..count).map(|number| thing.name(account, number, &mut dice)).collect()
        });
        Self { account: account.to_owned(), things: things.into() }
    }

    /// One of the account's things; some come far more often than others.
    pub(super) fn one(&self, thing: Thing, dice: &mut Dice) -> &str {
        let things = &self.things[thing as usize];
        &things[dice.skewed(things.len())]
    }
}

fn uuid(dice: &mut Dice) -> String {
    let mut out = Vec::new();
    dice.uuid(&mut out);
    String::from_utf8(out).expect("UUIDs are ASCII")
}

/// A policy document as it stands within a string of JSON: every quote escaped, half of them over many lines.
fn policy(account: &str, dice: &mut Dice) -> String {
    let (line, space) = if dice.chance(500_000) { (r"\n  ", " ") } else { ("", "") };
    let mut text = format!(r#"{{{line}\"Version\":{space}\"2012-10-17\",{line}\"Statement\":{space}["#);
    for number in 0..=dice.skewed(14) {
        if number > 0 {
            text.push(',');
        }
        let actions: Vec<String> =
            (0..=dice.below(6)).map(|_| format!(r#"\"{}\""#, dice.one(&ACTIONS))).collect();
        let bucket = format!("{}-{}", dice.one(&TEAMS), dice.one(&PARTS));
        text.push_str(&format!(
            r#"{line}{{\"Sid\":{space}\"Statement{number}\",{line}\"Effect\":{space}\"Allow\",{line}\"Action\":{space}[{}],{line}\"Resource\":{space}\"arn:aws:s3:::{bucket}-{}/*\"}}"#,
            actions.join(","),
            &account[..4],
        ));
    }
    text + "]}"
}
