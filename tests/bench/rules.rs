//! Sigma rules of the usual shapes, in any number, that hardly ever match the ordinary corpus.
//!
//! Most name a service and one to three calls; some look into texts with or without a call beside them; a few
//! have no literal by which a record could be passed over.

use fastrand::Rng;

/// Services, and the nouns of their calls.
#[rustfmt::skip]
const SERVICES: [(&str, &[&str]); 20] = [
    ("ec2", &["VpcPeeringConnection", "FlowLogs", "NetworkAcl", "Snapshot", "KeyPair", "InternetGateway", "TransitGatewayRoute", "LaunchTemplateVersion", "VpnConnection", "PlacementGroup"]),
    ("s3", &["BucketReplication", "BucketCors", "BucketWebsite", "BucketOwnershipControls", "AccessPointPolicy", "BucketInventoryConfiguration", "MultiRegionAccessPoint"]),
    ("rds", &["DBCluster", "DBSnapshotAttribute", "DBParameterGroup", "DBProxy", "GlobalCluster", "EventSubscription", "OptionGroup"]),
    ("lambda", &["EventSourceMapping", "LayerVersionPermission", "FunctionUrlConfig", "CodeSigningConfig", "ProvisionedConcurrency", "Alias"]),
    ("kms", &["CustomKeyStore", "KeyDeletion", "ImportedKeyMaterial", "Grant", "ReplicaKey", "PrimaryRegion"]),
    ("ecs", &["CapacityProvider", "TaskSet", "AccountSetting", "ClusterCapacityProviders", "ContainerInstance"]),
    ("eks", &["Nodegroup", "FargateProfile", "AccessEntry", "AccessPolicy", "ClusterConfig", "Addon", "IdentityProviderConfig"]),
    ("route53", &["HostedZone", "QueryLoggingConfig", "TrafficPolicy", "VPCAssociationAuthorization", "KeySigningKey"]),
    ("guardduty", &["Detector", "IPSet", "ThreatIntelSet", "PublishingDestination", "MalwareProtectionPlan", "Filter"]),
    ("securityhub", &["StandardsControl", "ActionTarget", "FindingAggregator", "AutomationRule", "ConfigurationPolicy"]),
    ("config", &["ConfigurationRecorder", "DeliveryChannel", "RetentionConfiguration", "AggregationAuthorization", "ConformancePack"]),
    ("wafv2", &["WebACL", "RegexPatternSet", "LoggingConfiguration", "RuleGroup", "PermissionPolicy"]),
    ("ssm", &["Document", "MaintenanceWindow", "PatchBaseline", "ResourcePolicy", "Activation", "OpsItem", "ServiceSetting"]),
    ("secretsmanager", &["SecretReplication", "ResourcePolicy", "SecretVersionStage", "SecretRotation"]),
    ("sns", &["TopicPolicy", "PlatformEndpoint", "SMSSandboxPhoneNumber", "Subscription", "DataProtectionPolicy"]),
    ("ses", &["IdentityPolicy", "ReceiptRuleSet", "ConfigurationSet", "EmailIdentity", "AccountSendingAttributes"]),
    ("elasticloadbalancing", &["Listener", "TargetGroupAttributes", "TrustStore", "LoadBalancerAttributes"]),
    ("cloudfront", &["Distribution", "OriginAccessControl", "RealtimeLogConfig", "KeyGroup", "FunctionAssociation"]),
    ("backup", &["BackupVaultLockConfiguration", "RecoveryPoint", "BackupPlan", "BackupVaultAccessPolicy", "RestoreTestingPlan"]),
    ("bedrock", &["Guardrail", "ModelInvocationLoggingConfiguration", "FoundationModelAgreement", "AgentAlias", "ProvisionedModelThroughput"]),
];
const VERBS: [&str; 14] = [
    "Create",
    "Delete",
    "Modify",
    "Update",
    "Put",
    "Disable",
    "Enable",
    "Attach",
    "Detach",
    "Associate",
    "Disassociate",
    "Register",
    "Restore",
    "Cancel",
];
/// Calls that every account makes all the time.
const FREQUENT: [(&str, &str); 8] = [
    ("secretsmanager", "GetSecretValue"),
    ("kms", "Decrypt"),
    ("sts", "AssumeRole"),
    ("sts", "GetCallerIdentity"),
    ("ec2", "DescribeInstances"),
    ("s3", "ListBuckets"),
    ("ssm", "GetParameter"),
    ("iam", "GetRole"),
];
const TOOLS: [&str; 16] = [
    "kali",
    "parrot",
    "pentoo",
    "pacu",
    "scoutsuite",
    "prowler",
    "cloudmapper",
    "trufflehog",
    "enumerate-iam",
    "s3browser",
    "cloudfox",
    "weirdaal",
    "nimbostratus",
    "cloudsploit",
    "steampipe",
    "rclone",
];
const LEVELS: [&str; 4] = ["low", "medium", "high", "critical"];

/// A file of one rule.
pub type RuleFile = (String, String);

/// This many rules; the same seed gives the same ones.
#[must_use]
pub fn rules(count: usize, seed: u64) -> Vec<RuleFile> {
    let mut writer = Writer { rng: Rng::with_seed(seed), number: 0 };
    (0..count).map(|_| writer.rule()).collect()
}

struct Writer {
    rng: Rng,
    number: usize,
}

/// What a rule looks for, as YAML that stands under `detection:`.
struct Body {
    subject: String,
    detection: String,
}

impl Writer {
    fn rule(&mut self) -> RuleFile {
        // Every twenty rules hold seventeen over calls, two over texts, one without a literal.
        let body = match self.number % 20 {
            7 | 13 => self.text(),
            19 => self.loose(),
            _ => self.calls(),
        };
        let (number, level) = (self.number, self.one(&LEVELS));
        self.number += 1;
        let id = self.uuid();
        let Body { subject, detection } = body;
        let text = format!(
            "title: {subject}, pattern {number}\nid: {id}\nstatus: test\ndescription: Looks for {subject}.\nauthor: generated\n\
             tags:\n  - attack.persistence\nlogsource:\n  product: aws\n  service: cloudtrail\ndetection:\n{detection}\
             falsepositives:\n  - Administration\nlevel: {level}\n"
        );
        (format!("{number:05}.yml"), text)
    }

    /// A service and one to three of its calls, at times with a further condition.
    fn calls(&mut self) -> Body {
        if self.rng.u32(..100) < 4 {
            return self.frequent();
        }
        let (service, nouns) = self.one(&SERVICES);
        let names: Vec<String> = (0..self.rng.u32(1..=3)).map(|_| self.call(nouns)).collect();
        let subject = format!("{} on {service}", names.join(" or "));
        let names = match names.as_slice() {
            [name] => format!(" {name}"),
            names => names.iter().map(|name| format!("\n      - {name}")).collect(),
        };
        let more = match self.rng.u32(..10) {
            0 => "    errorCode: AccessDenied\n".to_owned(),
            1 => format!("    requestParameters.name|startswith: {}-\n", self.one(&TOOLS)),
            2 => "    userIdentity.type: Root\n".to_owned(),
            _ => String::new(),
        };
        let detection = format!(
            "  selection:\n    eventSource: {service}.amazonaws.com\n    eventName:{names}\n{more}  condition: selection\n"
        );
        Body { subject, detection }
    }

    /// A call that comes all the time, with something that hardly ever does.
    fn frequent(&mut self) -> Body {
        let (service, name) = self.one(&FREQUENT);
        let tool = self.one(&TOOLS);
        Body {
            subject: format!("{name} by {tool}"),
            detection: format!(
                "  selection:\n    eventSource: {service}.amazonaws.com\n    eventName: {name}\n    userAgent|contains: {tool}/{}\n  condition: selection\n",
                self.number
            ),
        }
    }

    /// Part of a text, with or without a call beside it.
    fn text(&mut self) -> Body {
        let (tool, number) = (self.one(&TOOLS), self.number);
        let item = match self.rng.u32(..6) {
            0 => format!("userAgent|contains:\n      - {tool}/{number}\n      - {tool}-{number}"),
            1 => format!("userAgent|startswith: {tool}/{number}"),
            2 => format!("requestParameters.policyDocument|contains: '{tool}{number}:*'"),
            3 => format!("userIdentity.arn|endswith: ':user/{tool}-{number}'"),
            4 => format!("userIdentity.arn|contains: ':assumed-role/{tool}-{number}/'"),
            _ => format!("requestParameters.bucketName|startswith: {tool}-{number}"),
        };
        let (_, nouns) = self.one(&SERVICES);
        let beside =
            if self.rng.bool() { format!("    eventName: {}\n", self.call(nouns)) } else { String::new() };
        Body {
            subject: format!("traces of {tool}"),
            detection: format!("  selection:\n{beside}    {item}\n  condition: selection\n"),
        }
    }

    /// Nothing that every matching record holds as it stands.
    fn loose(&mut self) -> Body {
        let (tool, number) = (self.one(&TOOLS), self.number);
        let (third, fourth) = (number / 20 % 256, self.rng.u32(..16) * 16);
        let (subject, detection) = match number / 20 % 6 {
            0 => ("calls from a listed network", format!("  selection:\n    sourceIPAddress|cidr: 192.0.{third}.{fourth}/28\n  condition: selection\n")),
            1 => ("parameters that are seldom set", format!("  selection:\n    requestParameters.{tool}Option{number}|exists: true\n  condition: selection\n")),
            2 => ("odd session names", format!("  selection:\n    userIdentity.principalId|re: '^[A-Z]{{4}}[0-9]{{9}}:[a-f]{{{}}}$'\n  condition: selection\n", 20 + number % 12)),
            3 => ("long sessions", format!("  selection:\n    requestParameters.durationSeconds|gte: {}\n  condition: selection\n", 43_201 + number)),
            4 => ("unusual use of GuardDuty", "  selection:\n    eventSource: guardduty.amazonaws.com\n  filter:\n    eventName|startswith:\n      - Get\n      - List\n      - Describe\n  condition: selection and not filter\n".to_owned()),
            _ => ("a name on either side", format!("  caller:\n    userIdentity.userName: {tool}-{number}\n  target:\n    requestParameters.userName: {tool}-{number}\n  condition: 1 of *\n")),
        };
        Body { subject: subject.to_owned(), detection }
    }

    /// A call upon one of these.
    fn call(&mut self, nouns: &[&str]) -> String {
        format!("{}{}", self.one(&VERBS), self.one(nouns))
    }

    fn uuid(&mut self) -> String {
        let (high, low) = (self.rng.u64(..), self.rng.u64(..));
        format!(
            "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 48 & 0xfff,
            low & 0xffff_ffff_ffff
        )
    }

    fn one<T: Copy>(&mut self, choices: &[T]) -> T {
        let number = self.rng.u32(..u32::try_from(choices.len()).expect("choices are few"));
        choices[number as usize]
    }
}
