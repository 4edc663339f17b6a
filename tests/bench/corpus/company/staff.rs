//! Who does the work: roles of pipelines, controllers and services, and people who come through Identity Center.

use super::super::cast::{Actor, Session, outside};
use super::super::dice::{BASE32, Dice};
use super::super::estate::{Estate, Thing};

/// A role and those who use it.
struct Post {
    /// What `work.txt` calls them.
    name: &'static str,
    role: &'static str,
    /// The session's name; an asterisk stands for what the work is about.
    session: &'static str,
    agent: &'static str,
    from: From,
}

/// Where a role is used from.
#[derive(Clone, Copy)]
enum From {
    /// The addresses of the build system.
    Builds,
    /// The way out of the office and of the VPN.
    Office,
    /// As the office, in the console.
    Console,
    /// A network of the company's own.
    Inside,
    /// One address of a supplier.
    Supplier(&'static str),
    /// A service on the caller's behalf.
    Service(&'static str),
}

const TERRAFORM: &str = "APN/1.0 HashiCorp/1.0 Terraform/1.12.2 (+https://www.terraform.io) terraform-provider-aws/6.7.0 (+https://registry.terraform.io/providers/hashicorp/aws) aws-sdk-go-v2/1.37.2 ua/2.1 os/linux lang/go#1.24.5";
const COMMAND_LINE: &str = "aws-cli/2.27.58 md/awscrt#0.26.1 ua/2.1 os/linux#6.8.0-63-generic md/arch#x86_64 lang/python#3.13.4 md/pyimpl#CPython m/E,b md/installer#exe md/prompt#off";
const BOTO: &str = "Boto3/1.40.4 md/Botocore#1.40.4 ua/2.1 os/linux#6.1.141 md/arch#x86_64 lang/python#3.13.3 Botocore/1.40.4";
const JAVA: &str = "aws-sdk-java/2.31.12 md/http#Apache ua/2.1 os/Linux#5.10.238 lang/java#21.0.7";
const GO: &str = "aws-sdk-go-v2/1.37.2 ua/2.1 os/linux lang/go#1.24.5 md/GOOS#linux md/GOARCH#arm64";
const RUST: &str = "aws-sdk-rust/1.3.8 ua/2.1 api/s3/1.98.0 os/linux lang/rust/1.95.0 m/E,b";
const CDK: &str = "aws-cdk/2.1024.0 aws-sdk-js/3.840.0 ua/2.1 os/linux#6.8.0 lang/js md/nodejs#22.17.0";
const BROWSER: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36";

#[rustfmt::skip]
const POSTS: &[Post] = &[
    Post { name: "terraform", role: "terraform-apply", session: "github-*", agent: TERRAFORM, from: From::Builds },
    Post { name: "landing-zone", role: "platform-terraform", session: "github-*", agent: TERRAFORM, from: From::Builds },
    Post { name: "deployer", role: "deploy", session: "GitHubActions", agent: COMMAND_LINE, from: From::Builds },
    Post { name: "cdk", role: "cdk-hnb659fds-deploy-role", session: "aws-cdk-*", agent: CDK, from: From::Builds },
    Post { name: "cloudformation", role: "cdk-hnb659fds-cfn-exec-role", session: "AWSCloudFormation", agent: "cloudformation.amazonaws.com", from: From::Service("cloudformation.amazonaws.com") },
    Post { name: "stack-sets", role: "stacksets-exec-5f2c8d1e7b9a4036c1d2e3f4a5b60718", session: "*", agent: "member.org.stacksets.cloudformation.amazonaws.com", from: From::Service("member.org.stacksets.cloudformation.amazonaws.com") },
    Post { name: "stack-sets-service", role: "AWSServiceRoleForCloudFormationStackSetsOrgMember", session: "StackSetsOrgMember", agent: "member.org.stacksets.cloudformation.amazonaws.com", from: From::Service("member.org.stacksets.cloudformation.amazonaws.com") },
    Post { name: "control-tower", role: "AWSControlTowerExecution", session: "AWSControlTower-*", agent: "controltower.amazonaws.com", from: From::Service("controltower.amazonaws.com") },
    Post { name: "control-tower-admin", role: "AWSControlTowerAdmin", session: "AWSControlTower", agent: "controltower.amazonaws.com", from: From::Service("controltower.amazonaws.com") },
    Post { name: "provisioner", role: "AWSServiceRoleForSSO", session: "SSO-Provisioner", agent: "sso.amazonaws.com", from: From::Service("sso.amazonaws.com") },
    Post { name: "karpenter", role: "KarpenterController-prod", session: "1719309*", agent: GO, from: From::Inside },
    Post { name: "cluster-controller", role: "eks-load-balancer-controller", session: "1719310*", agent: GO, from: From::Inside },
    Post { name: "external-names", role: "eks-external-dns", session: "1719311*", agent: GO, from: From::Inside },
    Post { name: "cluster", role: "AWSServiceRoleForAmazonEKS", session: "EKS", agent: "eks.amazonaws.com", from: From::Service("eks.amazonaws.com") },
    Post { name: "autoscaling", role: "AWSServiceRoleForAutoScaling", session: "AutoScaling", agent: "autoscaling.amazonaws.com", from: From::Service("autoscaling.amazonaws.com") },
    Post { name: "containers", role: "AWSServiceRoleForECS", session: "ecs-service-scheduler", agent: "ecs.amazonaws.com", from: From::Service("ecs.amazonaws.com") },
    Post { name: "backup", role: "AWSBackupDefaultServiceRole", session: "AWSBackup-AWSBackupDefaultServiceRole", agent: "backup.amazonaws.com", from: From::Service("backup.amazonaws.com") },
    Post { name: "snapshot-lifecycle", role: "AWSDataLifecycleManagerDefaultRole", session: "DLM-*", agent: "dlm.amazonaws.com", from: From::Service("dlm.amazonaws.com") },
    Post { name: "database-copies", role: "snapshot-copier", session: "snapshot-copier", agent: BOTO, from: From::Inside },
    Post { name: "patching", role: "AWSServiceRoleForAmazonSSM", session: "maintenance", agent: "ssm.amazonaws.com", from: From::Service("ssm.amazonaws.com") },
    Post { name: "recorder", role: "AWSServiceRoleForConfig", session: "AWSConfig-Describe", agent: "config.amazonaws.com", from: From::Service("config.amazonaws.com") },
    Post { name: "hub", role: "AWSServiceRoleForSecurityHub", session: "securityhub", agent: "securityhub.amazonaws.com", from: From::Service("securityhub.amazonaws.com") },
    Post { name: "application", role: "orders-api-prod", session: "orders-api-prod", agent: JAVA, from: From::Inside },
    Post { name: "data-job", role: "glue-nightly-export", session: "GlueJobRunnerSession", agent: JAVA, from: From::Inside },
    Post { name: "rotation", role: "secret-rotation", session: "secret-rotation", agent: BOTO, from: From::Inside },
    Post { name: "key-rotation", role: "access-key-rotation", session: "access-key-rotation", agent: BOTO, from: From::Inside },
    Post { name: "cluster-secrets", role: "eks-external-secrets", session: "1719312*", agent: GO, from: From::Inside },
    Post { name: "scientist", role: "AWSReservedSSO_DataScientist_7c6b5a4f3e2d1c0b", session: "@", agent: BOTO, from: From::Office },
    Post { name: "cleanup", role: "sandbox-cleanup", session: "sandbox-cleanup", agent: BOTO, from: From::Inside },
    Post { name: "misconfigured", role: "legacy-batch", session: "legacy-batch", agent: BOTO, from: From::Inside },
    Post { name: "image-builder", role: "image-pipeline", session: "packer-*", agent: GO, from: From::Builds },
    Post { name: "posture", role: "posture-scanner", session: "scan-*", agent: BOTO, from: From::Supplier("203.0.113.40") },
    Post { name: "inventory", role: "asset-inventory", session: "inventory", agent: BOTO, from: From::Inside },
    Post { name: "metrics", role: "metrics-integration", session: "crawler", agent: GO, from: From::Supplier("203.0.113.50") },
    Post { name: "costs", role: "cost-reports", session: "cost-reports", agent: BOTO, from: From::Supplier("203.0.113.60") },
    Post { name: "trailhound", role: "trailhound", session: "trailhound", agent: RUST, from: From::Inside },
    Post { name: "developer", role: "AWSReservedSSO_Developer_9d8c7b6a5f4e3d2c", session: "@", agent: COMMAND_LINE, from: From::Office },
    Post { name: "reader", role: "AWSReservedSSO_ReadOnly_0f3a9c1d2e4b5a67", session: "@", agent: BROWSER, from: From::Console },
    Post { name: "console", role: "AWSReservedSSO_Developer_9d8c7b6a5f4e3d2c", session: "@", agent: BROWSER, from: From::Console },
    Post { name: "operator", role: "AWSReservedSSO_Operator_1a2b3c4d5e6f7081", session: "@", agent: BROWSER, from: From::Console },
    Post { name: "administrator", role: "AWSReservedSSO_AdministratorAccess_df24df604b6cb36b", session: "@", agent: BROWSER, from: From::Console },
    Post { name: "platform-engineer", role: "AWSReservedSSO_PlatformEngineer_4b5a67f3a9c1d2e0", session: "@", agent: COMMAND_LINE, from: From::Office },
];

/// Whether AWS itself calls, so that nothing comes over the network.
pub(super) fn is_service(who: &str) -> bool {
    let calls = |post: &Post| post.name == who && matches!(post.from, From::Service(_));
    who.starts_with("service:") || POSTS.iter().any(calls)
}

/// The caller of a piece of work: a role of the table, `service:NAME`, or one of those that are no roles.
pub(super) fn actor(who: &'static str, estate: &Estate, own: &str, hour: &str, dice: &mut Dice) -> Actor {
    if let Some(service) = who.strip_prefix("service:") {
        let identity = format!(r#"{{"type":"AWSService","invokedBy":"{service}"}}"#);
        return Actor {
            identity,
            arn: service.to_owned(),
            address: service.to_owned(),
            agent: service,
            tail: "",
        };
    }
    let person = format!("{}@example.com", estate.one(Thing::User, dice));
    match who {
        "builds" => return federated(&estate.account, dice),
        "portal" => return from_portal(&estate.account, &person, dice),
        "signing-in" => return signing_in(&estate.account, &person, dice),
        "directory" => return directory(&estate.account, dice),
        "mailer" => return user(&estate.account, "smtp-relay"),
        _ => {}
    }
    let role = POSTS.iter().find(|role| role.name == who).unwrap_or_else(|| panic!("nobody is called {who}"));
    session(role, &estate.account, own, &person, hour, dice)
}

fn session(role: &Post, account: &str, own: &str, person: &str, hour: &str, dice: &mut Dice) -> Actor {
    let name = if role.session == "@" { person.to_owned() } else { role.session.replace('*', own) };
    let (address, by, tail) = match role.from {
        From::Builds => (format!("203.0.113.{}", 10 + dice.below(4)), String::new(), ""),
        From::Office => (office(person), String::new(), ""),
        From::Console => (office(person), String::new(), r#","sessionCredentialFromConsole":"true""#),
        From::Inside => (format!("10.4.{}.{}", dice.below(4), dice.below(256)), String::new(), ""),
        From::Supplier(address) => (address.to_owned(), String::new(), ""),
        From::Service(service) => (service.to_owned(), format!(r#","invokedBy":"{service}""#), ""),
    };
    let path = match role.role {
        name if name.starts_with("AWSServiceRoleFor") => "aws-service-role/",
        name if name.starts_with("AWSReservedSSO_") => "aws-reserved/sso.amazonaws.com/",
        _ => "",
    };
    let session = Session { path, name, agent: role.agent, by, tail, ..Session::of(role.role, address) };
    session.actor(account, hour, dice)
}

/// The way out to the internet of the office where somebody sits.
pub(super) fn office(person: &str) -> String {
    let seat: usize = person.bytes().map(usize::from).sum();
    format!("198.51.100.{}", 4 + seat % 4)
}

/// A build, when it comes for a role.
fn federated(account: &str, dice: &mut Dice) -> Actor {
    let provider = format!("arn:aws:iam::{account}:oidc-provider/token.actions.githubusercontent.com");
    let repository = "repo:example/orders:ref:refs/heads/main";
    let identity = format!(
        r#"{{"type":"WebIdentityUser","principalId":"{provider}:sts.amazonaws.com:{repository}","userName":"{repository}","identityProvider":"{provider}"}}"#
    );
    let address = format!("203.0.113.{}", 10 + dice.below(4));
    Actor { identity, arn: provider, address, agent: COMMAND_LINE, tail: "" }
}

/// A person whom Identity Center sends to an account.
fn from_portal(account: &str, person: &str, dice: &mut Dice) -> Actor {
    let provider = format!("{}=", dice.word(BASE32, 26));
    let identity = format!(
        r#"{{"type":"SAMLUser","principalId":"{provider}:{person}","userName":"{person}","identityProvider":"{provider}"}}"#
    );
    let address = office(person);
    let arn = format!("arn:aws:iam::{account}:saml-provider/AWSSSO_3f9a_DO_NOT_DELETE");
    Actor { identity, arn, address, agent: BROWSER, tail: "" }
}

/// A person who signs in to Identity Center.
fn signing_in(account: &str, person: &str, dice: &mut Dice) -> Actor {
    let identity = format!(
        r#"{{"type":"IdentityCenterUser","accountId":"{account}","onBehalfOf":{{"userId":"{}","identityStoreArn":"arn:aws:identitystore::{account}:identitystore/d-9967a1b2c3"}},"credentialId":"{}"}}"#,
        dice.word(BASE32, 20),
        dice.word(BASE32, 26),
    );
    Actor { identity, arn: person.to_owned(), address: outside(dice), agent: BROWSER, tail: "" }
}

/// The directory of the company, with its token for Identity Center.
fn directory(account: &str, dice: &mut Dice) -> Actor {
    let identity = format!(
        r#"{{"type":"WebIdentityUser","principalId":"{}","accountId":"{account}","userName":"scim"}}"#,
        dice.word(BASE32, 20)
    );
    let address = "203.0.113.70".to_owned();
    Actor { identity, arn: "scim".to_owned(), address, agent: "directory-provisioning/4.2", tail: "" }
}

/// A user with one key for ever, who works from one place.
pub(super) fn user(account: &str, name: &str) -> Actor {
    let number =
        account.bytes().chain(name.bytes()).fold(0_u64, |sum, byte| sum.wrapping_mul(31) + u64::from(byte));
    let dice = &mut Dice::new(0, number);
    let arn = format!("arn:aws:iam::{account}:user/{name}");
    let identity = format!(
        r#"{{"type":"IAMUser","principalId":"AIDA{}","arn":"{arn}","accountId":"{account}","accessKeyId":"AKIA{}","userName":"{name}"}}"#,
        dice.word(BASE32, 17),
        dice.word(BASE32, 16),
    );
    Actor { identity, arn, address: outside(dice), agent: BOTO, tail: "" }
}
