//! Who calls: services, the sessions of roles, people, users, root.

use super::dice::{BASE32, Dice};
use super::estate::{Estate, Thing};

/// What kind of caller someone is; it decides which calls they make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Profile {
    /// An AWS service under its own name.
    Service,
    /// A function or container under its role.
    Workload,
    /// A role's session that a service uses on the caller's behalf.
    Forwarded,
    /// An instance under its role.
    Instance,
    /// Infrastructure as code.
    Pipeline,
    /// A scanner that looks at everything.
    Scanner,
    /// A person in the console.
    Person,
    /// An IAM user with a key.
    User,
    /// The root user.
    Root,
}

impl Profile {
    /// Every profile, with its share in a hundred of ordinary records and the number of its actors in an hour.
    pub(super) const ALL: [(Profile, usize, usize); 9] = [
        (Profile::Service, 20, 12),
        (Profile::Workload, 26, 40),
        (Profile::Forwarded, 10, 20),
        (Profile::Instance, 12, 30),
        (Profile::Pipeline, 12, 6),
        (Profile::Scanner, 9, 3),
        (Profile::Person, 8, 10),
        (Profile::User, 3, 6),
        (Profile::Root, 0, 1),
    ];
}

/// The order of the list is that of the enum: both are used as an index.
const _: () = {
    let mut number = 0;
    while number < Profile::ALL.len() {
        assert!(Profile::ALL[number].0 as usize == number);
        number += 1;
    }
};

/// A caller.
pub(super) struct Actor {
    /// The record's `userIdentity`.
    pub(super) identity: String,
    pub(super) arn: String,
    pub(super) address: String,
    pub(super) agent: &'static str,
    /// What stands at the end of the caller's records.
    pub(super) tail: &'static str,
}

/// Everyone who calls within an account and an hour.
pub(super) struct Cast(Vec<Vec<Actor>>);

impl Cast {
    /// The cast of an hour, which is the text that its times begin with, such as `2026-03-01T10`.
    pub(super) fn new(estate: &Estate, hour: &str, dice: &mut Dice) -> Self {
        let mut actors =
            |(profile, _, count)| (0..count).map(|_| Actor::new(profile, estate, hour, dice)).collect();
        Self(Profile::ALL.iter().copied().map(&mut actors).collect())
    }

    /// Changes the callers of a profile, each by name.
    pub(super) fn change(&mut self, profile: Profile, change: impl Fn(&str, &mut Actor)) {
        for actor in &mut self.0[profile as usize] {
            let name = actor.arn.rsplit('/').next().unwrap_or_default().to_owned();
            change(&name, actor);
        }
    }

    /// One caller of a profile.
    pub(super) fn one(&self, profile: Profile, dice: &mut Dice) -> &Actor {
        let actors = &self.0[profile as usize];
        &actors[dice.skewed(actors.len())]
    }
}

const SERVICES: [&str; 12] = [
    "lambda.amazonaws.com",
    "ec2.amazonaws.com",
    "ecs-tasks.amazonaws.com",
    "cloudtrail.amazonaws.com",
    "config.amazonaws.com",
    "delivery.logs.amazonaws.com",
    "rds.amazonaws.com",
    "autoscaling.amazonaws.com",
    "elasticloadbalancing.amazonaws.com",
    "ssm.amazonaws.com",
    "guardduty.amazonaws.com",
    "states.amazonaws.com",
];
const FORWARDERS: [&str; 5] = [
    "secretsmanager.amazonaws.com",
    "ssm.amazonaws.com",
    "s3.amazonaws.com",
    "dynamodb.amazonaws.com",
    "AWS Internal",
];
const WORKLOAD_AGENTS: [&str; 6] = [
    "aws-sdk-java/2.31.12 md/http#Apache ua/2.1 os/Linux#5.10.238 lang/java#21.0.7 exec-env/AWS_Lambda_java21",
    "Boto3/1.40.4 md/Botocore#1.40.4 ua/2.1 os/linux#6.1.141 md/arch#x86_64 lang/python#3.13.3 exec-env/AWS_Lambda_python3.13 Botocore/1.40.4",
    "aws-sdk-js/3.864.0 ua/2.1 os/linux#6.1.141 lang/js md/nodejs#22.17.0 exec-env/AWS_ECS_FARGATE api/sqs#3.864.0",
    "aws-sdk-go-v2/1.37.2 ua/2.1 os/linux lang/go#1.24.5 md/GOOS#linux md/GOARCH#amd64 api/sqs#1.40.0 m/E,e",
    "aws-sdk-rust/1.3.8 ua/2.1 api/kms/1.82.0 os/linux lang/rust/1.88.0 m/E,b",
    "aws-sdk-dotnet-coreclr/4.0.0.16 ua/2.1 os/linux#5.10.238.0 lang/.NET_Core#8.0.18 api/S3#4.0.6.2",
];
const PERSON_ROLES: [&str; 3] = [
    "AWSReservedSSO_ReadOnly_0f3a9c1d2e4b5a67",
    "AWSReservedSSO_Developer_9d8c7b6a5f4e3d2c",
    "AWSReservedSSO_Operator_1a2b3c4d5e6f7081",
];
const PIPELINE_AGENTS: [&str; 3] = [
    "APN/1.0 HashiCorp/1.0 Terraform/1.12.2 (+https://www.terraform.io) terraform-provider-aws/6.7.0 (+https://registry.terraform.io/providers/hashicorp/aws) aws-sdk-go-v2/1.37.2 ua/2.1 os/linux lang/go#1.24.5 api/ec2#1.237.0",
    "APN/1.0 HashiCorp/1.0 Terraform/1.9.8 (+https://www.terraform.io) terraform-provider-aws/5.100.0 (+https://registry.terraform.io/providers/hashicorp/aws) aws-sdk-go-v2/1.36.5",
    "aws-cdk/2.1024.0 aws-sdk-js/3.840.0 ua/2.1 os/linux#6.8.0 lang/js md/nodejs#22.17.0 api/cloudformation#3.840.0",
];
const PERSON_AGENTS: [&str; 3] = [
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "AWS Internal",
];
const USER_AGENTS: [&str; 3] = [
    "aws-cli/2.27.58 md/awscrt#0.26.1 ua/2.1 os/linux#6.8.0-63-generic md/arch#x86_64 lang/python#3.13.4 md/pyimpl#CPython m/E,b md/installer#exe md/prompt#off md/command#s3api.list-buckets",
    "Boto3/1.35.99 md/Botocore#1.35.99 ua/2.0 os/linux#5.15.0 md/arch#x86_64 lang/python#3.10.12 md/pyimpl#CPython cfg/retry-mode#legacy Botocore/1.35.99",
    "aws-cli/1.42.1 md/Botocore#1.40.1 ua/2.1 os/linux#5.15.0-1066-aws md/arch#x86_64 lang/python#3.11.2 md/pyimpl#CPython m/N,b cfg/retry-mode#legacy botocore/1.40.1",
];

impl Actor {
    fn new(profile: Profile, estate: &Estate, hour: &str, dice: &mut Dice) -> Self {
        let session = match profile {
            Profile::Service => return Self::service(dice),
            Profile::User => return Self::user(estate, dice),
            Profile::Root => return Self::root(&estate.account, dice),
            Profile::Workload => Session {
                name: estate.one(Thing::Function, dice).to_owned(),
                agent: dice.one(&WORKLOAD_AGENTS),
                ..Session::of(estate.one(Thing::Role, dice), inside(dice))
            },
            Profile::Forwarded => {
                let service = dice.one(&FORWARDERS);
                Session {
                    name: estate.one(Thing::Function, dice).to_owned(),
                    agent: service,
                    by: format!(r#","invokedBy":"{service}""#),
                    ..Session::of(estate.one(Thing::Role, dice), service.to_owned())
                }
            }
            Profile::Instance => Session {
                name: estate.one(Thing::Instance, dice).to_owned(),
                agent: dice.one(&WORKLOAD_AGENTS),
                delivery: r#","ec2RoleDelivery":"2.0""#,
                ..Session::of(estate.one(Thing::Role, dice), inside(dice))
            },
            Profile::Pipeline => Session {
                name: format!("GitHubActions-{}", dice.word(BASE32, 8)),
                agent: dice.one(&PIPELINE_AGENTS),
                ..Session::of("deploy-pipeline", outside(dice))
            },
            Profile::Scanner => Session {
                name: "scan".to_owned(),
                agent: USER_AGENTS[1],
                ..Session::of("posture-scanner", outside(dice))
            },
            Profile::Person => Session {
                name: format!("{}@example.com", estate.one(Thing::User, dice)),
                agent: dice.one(&PERSON_AGENTS),
                tail: r#","sessionCredentialFromConsole":"true""#,
                ..Session::of(dice.one(&PERSON_ROLES), outside(dice))
            },
        };
        session.actor(&estate.account, hour, dice)
    }

    fn service(dice: &mut Dice) -> Self {
        let name = dice.one(&SERVICES);
        let identity = format!(r#"{{"type":"AWSService","invokedBy":"{name}"}}"#);
        Self { identity, arn: name.to_owned(), address: name.to_owned(), agent: name, tail: "" }
    }

    fn user(estate: &Estate, dice: &mut Dice) -> Self {
        let (account, name) = (&estate.account, estate.one(Thing::User, dice));
        let arn = format!("arn:aws:iam::{account}:user/{name}");
        let identity = format!(
            r#"{{"type":"IAMUser","principalId":"AIDA{}","arn":"{arn}","accountId":"{account}","accessKeyId":"AKIA{}","userName":"{name}"}}"#,
            dice.word(BASE32, 17),
            dice.word(BASE32, 16),
        );
        Self { identity, arn, address: outside(dice), agent: dice.one(&USER_AGENTS), tail: "" }
    }

    fn root(account: &str, dice: &mut Dice) -> Self {
        let arn = format!("arn:aws:iam::{account}:root");
        let identity = format!(
            r#"{{"type":"Root","principalId":"{account}","arn":"{arn}","accountId":"{account}","accessKeyId":""}}"#
        );
        Self { identity, arn, address: outside(dice), agent: PERSON_AGENTS[0], tail: "" }
    }
}

/// What is particular about a role's session.
pub(super) struct Session<'s> {
    /// Where the role stands, from the first letter on to a slash.
    pub(super) path: &'static str,
    pub(super) role: &'s str,
    pub(super) name: String,
    pub(super) address: String,
    pub(super) agent: &'static str,
    /// How an instance came by it.
    pub(super) delivery: &'static str,
    /// The service that uses it on the caller's behalf.
    pub(super) by: String,
    pub(super) tail: &'static str,
}

impl<'s> Session<'s> {
    pub(super) fn of(role: &'s str, address: String) -> Self {
        Self {
            path: "",
            role,
            name: String::new(),
            address,
            agent: "",
            delivery: "",
            by: String::new(),
            tail: "",
        }
    }

    pub(super) fn actor(self, account: &str, hour: &str, dice: &mut Dice) -> Actor {
        let Self { path, role, name, address, agent, delivery, by, tail } = self;
        let id = dice.word(BASE32, 17);
        let key = dice.word(BASE32, 16);
        let arn = format!("arn:aws:sts::{account}:assumed-role/{role}/{name}");
        let created = format!("{hour}:{:02}:{:02}Z", dice.below(60), dice.below(60));
        let identity = format!(
            r#"{{"type":"AssumedRole","principalId":"AROA{id}:{name}","arn":"{arn}","accountId":"{account}","accessKeyId":"ASIA{key}","sessionContext":{{"sessionIssuer":{{"type":"Role","principalId":"AROA{id}","arn":"arn:aws:iam::{account}:role/{path}{role}","accountId":"{account}","userName":"{role}"}},"webIdFederationData":{{}},"attributes":{{"creationDate":"{created}","mfaAuthenticated":"false"}}{delivery}}}{by}}}"#
        );
        Actor { identity, arn, address, agent, tail }
    }
}

fn inside(dice: &mut Dice) -> String {
    format!("10.{}.{}.{}", dice.below(8), dice.below(256), dice.below(256))
}

/// An address from the ranges that are kept for documentation.
pub(super) fn outside(dice: &mut Dice) -> String {
    let net = dice.one(&["198.51.100", "203.0.113"]);
    format!("{net}.{}", dice.below(256))
}
