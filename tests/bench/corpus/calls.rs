//! The calls of a corpus: how often each is made, by whom, and what its record holds.
//!
//! None of the ordinary ones is worth an alert: reads, and writes that happen all day. Each of the telling ones
//! is hit by a detection of the pack, which may tell several of them as one alert.

use super::cast::Profile::{
    self, Forwarded, Instance, Person, Pipeline, Root, Scanner, Service, User, Workload,
};

/// A call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    /// The service, without `.amazonaws.com`.
    pub(super) service: &'static str,
    pub(super) name: &'static str,
    /// How often it comes, beside the other calls of a caller.
    pub(super) weight: usize,
    pub(super) callers: &'static [Profile],
    pub(super) reads: bool,
    pub(super) version: &'static str,
    pub(super) kind: &'static str,
    pub(super) error: &'static str,
    pub(super) request: &'static str,
    pub(super) response: &'static str,
    /// Members between `responseElements` and `requestID`.
    pub(super) additional: &'static str,
    /// Members between `readOnly` and `eventType`.
    pub(super) resources: &'static str,
    /// Members between `recipientAccountId` and `eventCategory`.
    pub(super) shared: &'static str,
}

const fn read(service: &'static str, name: &'static str, weight: usize, callers: &'static [Profile]) -> Call {
    Call {
        service,
        name,
        weight,
        callers,
        reads: true,
        version: "1.11",
        kind: "AwsApiCall",
        error: "",
        request: "null",
        response: "null",
        additional: "",
        resources: "",
        shared: "",
    }
}

const fn write(
    service: &'static str,
    name: &'static str,
    weight: usize,
    callers: &'static [Profile],
) -> Call {
    Call { reads: false, ..read(service, name, weight, callers) }
}

const fn telling(service: &'static str, name: &'static str, callers: &'static [Profile]) -> Call {
    Call { version: "1.10", ..write(service, name, 1, callers) }
}

impl Call {
    /// A call of no one for nothing.
    pub(super) const PLAIN: Self = read("", "", 1, &[]);

    const fn asks(self, request: &'static str) -> Self {
        Self { request, ..self }
    }

    const fn answers(self, response: &'static str) -> Self {
        Self { response, ..self }
    }

    const fn of(self, resources: &'static str) -> Self {
        Self { resources, ..self }
    }

    const fn adds(self, additional: &'static str) -> Self {
        Self { additional, ..self }
    }

    const fn shared(self) -> Self {
        Self { shared: r#""sharedEventID":"<uuid>","#, ..self }
    }

    const fn version(self, version: &'static str) -> Self {
        Self { version, ..self }
    }

    const fn sign_in(self) -> Self {
        Self { kind: "AwsConsoleSignIn", version: "1.11", ..self }
    }

    const fn fails(self, error: &'static str) -> Self {
        Self { error, ..self }
    }
}

const KEY: &str = r#""resources":[{"accountId":"<account>","type":"AWS::KMS::Key","ARN":"arn:aws:kms:<region>:<account>:key/<key>"}],"#;
const BUCKET: &str =
    r#""resources":[{"accountId":"<account>","type":"AWS::S3::Bucket","ARN":"arn:aws:s3:::<bucket>"}],"#;
const ROLE: &str = r#""resources":[{"accountId":"<account>","type":"AWS::IAM::Role","ARN":"arn:aws:iam::<account>:role/<role>"}],"#;
const SECRET: &str = r#""resources":[{"accountId":"<account>","type":"AWS::SecretsManager::Secret","ARN":"arn:aws:secretsmanager:<region>:<account>:secret:<secret>"}],"#;
const TRANSFER: &str = r#""additionalEventData":{"SignatureVersion":"SigV4","CipherSuite":"TLS_AES_128_GCM_SHA256","bytesTransferredIn":0,"AuthenticationMethod":"AuthHeader","x-amz-id-2":"<base64 56>","bytesTransferredOut":<number 4000>},"#;
const CREDENTIALS: &str = r#"{"credentials":{"accessKeyId":"ASIA<base32 16>","sessionToken":"<base64 320>","expiration":"Mar 1, 2026, 11:31:14 PM"},"assumedRoleUser":{"assumedRoleId":"AROA<base32 17>:<function>","arn":"arn:aws:sts::<account>:assumed-role/<role>/<function>"}}"#;
const ECS_TASK: &str = r#"{"family":"<name>","taskRoleArn":"arn:aws:iam::<account>:role/<role>","executionRoleArn":"arn:aws:iam::<account>:role/<role>","networkMode":"awsvpc","containerDefinitions":[{"name":"<name>","image":"<account>.dkr.ecr.<region>.amazonaws.com/<name>:<hex 12>","cpu":256,"memory":512,"essential":true,"portMappings":[{"containerPort":8080,"protocol":"tcp"}],"environment":[{"name":"STAGE","value":"HIDDEN_DUE_TO_SECURITY_REASONS"},{"name":"TABLE","value":"HIDDEN_DUE_TO_SECURITY_REASONS"}],"logConfiguration":{"logDriver":"awslogs","options":{"awslogs-group":"/ecs/<name>","awslogs-region":"<region>","awslogs-stream-prefix":"ecs"}}}],"requiresCompatibilities":["FARGATE"],"cpu":"256","memory":"512"}"#;

const PROGRAMS: &[Profile] = &[Workload, Instance];
const LOOKERS: &[Profile] = &[Scanner, Pipeline, Person, User];
const BUILDERS: &[Profile] = &[Pipeline, Scanner];

/// What happens all day.
#[rustfmt::skip]
pub(super) const ORDINARY: &[Call] = &[
    // Keys and secrets.
    read("kms", "Decrypt", 400, &[Workload, Forwarded]).asks(r#"{"encryptionContext":{"aws:lambda:FunctionArn":"arn:aws:lambda:<region>:<account>:function:<function>"},"encryptionAlgorithm":"SYMMETRIC_DEFAULT"}"#).of(KEY),
    read("kms", "Decrypt", 250, &[Forwarded, Instance]).asks(r#"{"encryptionAlgorithm":"SYMMETRIC_DEFAULT","encryptionContext":{"PARAMETER_ARN":"arn:aws:ssm:<region>:<account>:parameter<parameter>"}}"#).of(KEY),
    read("kms", "Decrypt", 250, &[Forwarded]).asks(r#"{"encryptionContext":{"SecretARN":"arn:aws:secretsmanager:<region>:<account>:secret:<secret>","SecretVersionId":"<uuid>"},"encryptionAlgorithm":"SYMMETRIC_DEFAULT"}"#).of(KEY),
    read("kms", "GenerateDataKey", 240, &[Forwarded, Service, Workload]).asks(r#"{"keyId":"arn:aws:kms:<region>:<account>:key/<key>","encryptionContext":{"aws:s3:arn":"arn:aws:s3:::<bucket>"},"keySpec":"AES_256"}"#).of(KEY).shared(),
    read("kms", "Encrypt", 40, &[Workload]).asks(r#"{"keyId":"alias/<name>","encryptionAlgorithm":"SYMMETRIC_DEFAULT"}"#).of(KEY),
    read("kms", "DescribeKey", 30, LOOKERS).asks(r#"{"keyId":"<key>"}"#).of(KEY),
    read("kms", "ListAliases", 20, LOOKERS).version("1.09"),
    read("kms", "GetKeyRotationStatus", 24, BUILDERS).asks(r#"{"keyId":"<key>"}"#).of(KEY),
    read("secretsmanager", "GetSecretValue", 160, PROGRAMS).asks(r#"{"secretId":"<secret>"}"#),
    read("secretsmanager", "DescribeSecret", 30, BUILDERS).asks(r#"{"secretId":"arn:aws:secretsmanager:<region>:<account>:secret:<secret>"}"#).of(SECRET),
    // Sessions.
    read("sts", "AssumeRole", 300, &[Service]).asks(r#"{"roleArn":"arn:aws:iam::<account>:role/<role>","roleSessionName":"<function>"}"#).answers(CREDENTIALS).of(ROLE).shared().version("1.08"),
    read("sts", "AssumeRole", 14, &[Service]).asks(r#"{"roleArn":"arn:aws:iam::<account>:role/aws-service-role/rds.amazonaws.com/AWSServiceRoleForRDS","roleSessionName":"SLRManagement","policy":"<policy>","durationSeconds":900}"#).answers(CREDENTIALS).of(ROLE).shared().version("1.08"),
    read("sts", "AssumeRole", 50, &[Workload, Pipeline]).asks(r#"{"roleArn":"arn:aws:iam::<account>:role/<role>","roleSessionName":"<function>","durationSeconds":3600}"#).answers(CREDENTIALS).of(ROLE).version("1.08"),
    read("sts", "GetCallerIdentity", 60, &[Workload, Pipeline, User, Instance]).version("1.08"),
    // Storage.
    read("s3", "GetBucketAcl", 120, &[Service]).asks(r#"{"bucketName":"<bucket>","Host":"<bucket>.s3.<region>.amazonaws.com","acl":""}"#).adds(TRANSFER).of(BUCKET).shared(),
    read("s3", "GetBucketLocation", 40, LOOKERS).asks(r#"{"bucketName":"<bucket>","Host":"s3.amazonaws.com","location":""}"#).adds(TRANSFER).of(BUCKET),
    read("s3", "ListBuckets", 20, LOOKERS).asks(r#"{"Host":"s3.amazonaws.com"}"#).adds(TRANSFER),
    read("s3", "GetBucketPolicy", 40, BUILDERS).asks(r#"{"bucketName":"<bucket>","Host":"<bucket>.s3.<region>.amazonaws.com","policy":""}"#).adds(TRANSFER).of(BUCKET),
    read("s3", "GetBucketEncryption", 40, BUILDERS).asks(r#"{"bucketName":"<bucket>","Host":"<bucket>.s3.<region>.amazonaws.com","encryption":""}"#).adds(TRANSFER).of(BUCKET),
    read("s3", "GetBucketPublicAccessBlock", 40, BUILDERS).asks(r#"{"publicAccessBlock":"","bucketName":"<bucket>","Host":"<bucket>.s3.<region>.amazonaws.com"}"#).adds(TRANSFER).of(BUCKET),
    // Computing.
    read("ec2", "DescribeInstances", 120, &[Workload, Scanner, Person, Pipeline, Instance]).asks(r#"{"maxResults":1000,"instancesSet":{},"filterSet":{"items":[{"name":"instance-state-name","valueSet":{"items":[{"value":"running"}]}}]}}"#),
    read("ec2", "DescribeInstances", 60, &[Workload, Instance]).asks(r#"{"instancesSet":{"items":[{"instanceId":"<instance>"}]},"filterSet":{}}"#),
    read("ec2", "DescribeNetworkInterfaces", 80, &[Workload, Scanner, Pipeline]).asks(r#"{"networkInterfaceIdSet":{"items":[{"networkInterfaceId":"<interface>"}]},"filterSet":{}}"#),
    read("ec2", "DescribeSecurityGroups", 70, LOOKERS).asks(r#"{"securityGroupSet":{},"securityGroupIdSet":{"items":[{"groupId":"<group>"}]},"filterSet":{}}"#),
    read("ec2", "DescribeSubnets", 50, LOOKERS).asks(r#"{"subnetSet":{"items":[{"subnetId":"<subnet>"},{"subnetId":"<subnet>"},{"subnetId":"<subnet>"}]},"filterSet":{}}"#),
    read("ec2", "DescribeVpcs", 40, LOOKERS).asks(r#"{"vpcSet":{"items":[{"vpcId":"<vpc>"}]},"filterSet":{}}"#),
    read("ec2", "DescribeRouteTables", 50, BUILDERS).asks(r#"{"routeTableIdSet":{},"filterSet":{"items":[{"name":"vpc-id","valueSet":{"items":[{"value":"<vpc>"}]}},{"name":"association.main","valueSet":{"items":[{"value":"true"}]}}]}}"#),
    read("ec2", "DescribeVolumes", 40, &[Scanner, Instance]).asks(r#"{"volumeSet":{},"filterSet":{"items":[{"name":"attachment.instance-id","valueSet":{"items":[{"value":"<instance>"}]}}]}}"#),
    read("ec2", "DescribeTags", 60, &[Instance]).asks(r#"{"maxResults":1000,"filterSet":{"items":[{"name":"resource-id","valueSet":{"items":[{"value":"<instance>"}]}}]}}"#),
    read("ec2", "DescribeImages", 24, &[Pipeline, Person]).asks(r#"{"executableBySet":{},"imagesSet":{"items":[{"imageId":"<image>"}]},"ownersSet":{"items":[{"owner":"amazon"}]},"filterSet":{}}"#),
    read("ec2", "DescribeRegions", 12, &[Person, User, Scanner]).asks(r#"{"regionSet":{},"allRegions":true}"#),
    write("ec2", "CreateNetworkInterface", 50, &[Service, Workload]).asks(r#"{"subnetId":"<subnet>","description":"AWS Lambda VPC ENI-<function>-<uuid>","groupSet":{"items":[{"groupId":"<group>"}]},"privateIpAddressesSet":{}}"#).answers(r#"{"requestId":"<uuid>","networkInterface":{"networkInterfaceId":"<interface>","subnetId":"<subnet>","vpcId":"<vpc>","availabilityZone":"<region>a","description":"AWS Lambda VPC ENI-<function>","ownerId":"<account>","requesterManaged":false,"status":"pending","macAddress":"0a:<hex 2>:<hex 2>:<hex 2>:<hex 2>:<hex 2>","privateIpAddress":"10.0.<number 256>.<number 256>","sourceDestCheck":true,"groupSet":{"items":[{"groupId":"<group>","groupName":"<name>"}]},"tagSet":{}}}"#),
    write("ec2", "DeleteNetworkInterface", 30, &[Service]).asks(r#"{"networkInterfaceId":"<interface>"}"#).answers(r#"{"requestId":"<uuid>","_return":true}"#),
    write("ec2", "CreateTags", 30, &[Pipeline, Workload]).asks(r#"{"resourcesSet":{"items":[{"resourceId":"<instance>"}]},"tagSet":{"items":[{"key":"Name","value":"<name>"},{"key":"owner","value":"<user>"},{"key":"note","value":"<note>"}]}}"#).answers(r#"{"requestId":"<uuid>","_return":true}"#),
    write("ec2", "CreateTags", 40, &[Pipeline, Workload]).asks(r#"{"resourcesSet":{"items":[{"resourceId":"<instance>"}]},"tagSet":{"items":[{"key":"Name","value":"<name>"}]}}"#).answers(r#"{"requestId":"<uuid>","_return":true}"#),
    read("autoscaling", "DescribeAutoScalingGroups", 60, &[Workload, Scanner, Instance]).asks(r#"{"autoScalingGroupNames":["<name>"]}"#).version("1.08"),
    read("elasticloadbalancing", "DescribeTargetHealth", 70, &[Workload, Scanner]).asks(r#"{"targetGroupArn":"arn:aws:elasticloadbalancing:<region>:<account>:targetgroup/<name>/<hex 16>"}"#).version("1.10"),
    read("elasticloadbalancing", "DescribeLoadBalancers", 40, LOOKERS).asks(r#"{"names":["<name>"]}"#).version("1.10"),
    read("lambda", "GetFunction20150331v2", 50, LOOKERS).asks(r#"{"functionName":"arn:aws:lambda:<region>:<account>:function:<function>"}"#),
    read("lambda", "ListFunctions20150331", 16, &[Scanner, Person]).asks(r#"{"maxItems":50}"#),
    read("lambda", "ListTags20170331", 30, &[Scanner, Pipeline]).asks(r#"{"resource":"arn:aws:lambda:<region>:<account>:function:<function>"}"#),
    read("ecs", "DescribeTasks", 60, &[Workload, Person]).asks(r#"{"cluster":"<name>","tasks":["arn:aws:ecs:<region>:<account>:task/<name>/<hex 32>","arn:aws:ecs:<region>:<account>:task/<name>/<hex 32>"]}"#),
    read("ecs", "DescribeServices", 50, &[Workload, Pipeline]).asks(r#"{"cluster":"<name>","services":["<name>"]}"#),
    write("ecs", "RegisterTaskDefinition", 16, &[Pipeline]).asks(ECS_TASK).answers(r#"{"taskDefinition":{"taskDefinitionArn":"arn:aws:ecs:<region>:<account>:task-definition/<name>:<number 900>","family":"<name>","revision":<number 900>,"status":"ACTIVE","requiresAttributes":[{"name":"com.amazonaws.ecs.capability.logging-driver.awslogs"},{"name":"ecs.capability.execution-role-awslogs"},{"name":"com.amazonaws.ecs.capability.task-iam-role"}],"compatibilities":["EC2","FARGATE"],"registeredBy":"<caller>"}}"#),
    read("ecr", "BatchGetImage", 60, &[Workload, Service]).asks(r#"{"repositoryName":"<name>","imageIds":[{"imageTag":"<hex 12>"}],"acceptedMediaTypes":["application/vnd.docker.distribution.manifest.v2+json","application/vnd.oci.image.manifest.v1+json"]}"#),
    read("ecr", "GetAuthorizationToken", 40, &[Workload, Pipeline, Instance]),
    // Management of instances.
    write("ssm", "UpdateInstanceInformation", 160, &[Instance]).asks(r#"{"instanceId":"<instance>","agentVersion":"3.3.2746.0","agentStatus":"Active","platformType":"Linux","platformName":"Amazon Linux","platformVersion":"2023","iPAddress":"10.0.<number 256>.<number 256>","computerName":"ip-10-0-<number 256>-<number 256>.<region>.compute.internal","agentName":"amazon-ssm-agent","availabilityZone":"<region>a","availabilityZoneId":"use1-az<number 6>","sSMConnectionChannel":"ssmmessages"}"#).version("1.08"),
    read("ssm", "ListInstanceAssociations", 60, &[Instance]).asks(r#"{"instanceId":"<instance>","maxResults":20}"#).version("1.08"),
    read("ssm", "GetParameter", 120, PROGRAMS).asks(r#"{"name":"<parameter>","withDecryption":true}"#).of(r#""resources":[{"accountId":"<account>","ARN":"arn:aws:ssm:<region>:<account>:parameter<parameter>"}],"#).version("1.08"),
    read("ssm", "GetParametersByPath", 80, PROGRAMS).asks(r#"{"path":"/<name>/","recursive":true,"withDecryption":true,"maxResults":10}"#).version("1.08"),
    read("ssm", "DescribeInstanceInformation", 20, &[Scanner, Person]).asks(r#"{"maxResults":50,"filters":[{"key":"PingStatus","valueSet":["Online"]}]}"#).version("1.08"),
    write("ssm", "PutInventory", 24, &[Instance]).asks(r#"{"instanceId":"<instance>","items":[{"typeName":"AWS:InstanceInformation","schemaVersion":"1.0","captureTime":"<time>","contentHash":"<base64 22>==","content":[]}]}"#).version("1.08"),
    // Logs and metrics.
    write("logs", "CreateLogStream", 200, &[Workload]).asks(r#"{"logGroupName":"/aws/lambda/<function>","logStreamName":"2026/03/01/[$LATEST]<hex 32>"}"#),
    read("logs", "DescribeLogGroups", 40, LOOKERS).asks(r#"{"logGroupNamePrefix":"/aws/lambda/<function>"}"#),
    read("logs", "DescribeLogStreams", 50, &[Workload, Person, Instance]).asks(r#"{"logGroupName":"/aws/lambda/<function>","orderBy":"LastEventTime","descending":true,"limit":50}"#),
    read("monitoring", "DescribeAlarms", 50, &[Workload, Person, Pipeline]).asks(r#"{"alarmNames":["<name>-errors"],"maxRecords":100}"#).version("1.09"),
    read("monitoring", "GetMetricData", 90, &[Workload, Scanner, Person]).asks(r#"{"startTime":"<time>","endTime":"<time>","metricDataQueries":[{"id":"m1","metricStat":{"metric":{"namespace":"AWS/Lambda","metricName":"Errors","dimensions":[{"name":"FunctionName","value":"<function>"}]},"period":60,"stat":"Sum"},"returnData":true},{"id":"m2","metricStat":{"metric":{"namespace":"AWS/Lambda","metricName":"Duration","dimensions":[{"name":"FunctionName","value":"<function>"}]},"period":60,"stat":"p99"},"returnData":true}]}"#),
    // Identities, as scanners and pipelines read them.
    read("iam", "GetRole", 70, BUILDERS).asks(r#"{"roleName":"<role>"}"#).version("1.09"),
    read("iam", "ListAttachedRolePolicies", 60, BUILDERS).asks(r#"{"roleName":"<role>"}"#).version("1.09"),
    read("iam", "ListRolePolicies", 50, BUILDERS).asks(r#"{"roleName":"<role>"}"#).version("1.09"),
    read("iam", "GetRolePolicy", 40, BUILDERS).asks(r#"{"roleName":"<role>","policyName":"<name>"}"#).version("1.09"),
    read("iam", "GetPolicyVersion", 40, BUILDERS).asks(r#"{"policyArn":"arn:aws:iam::<account>:policy/<name>","versionId":"v<number 9>"}"#).version("1.09"),
    read("iam", "ListUsers", 14, &[Scanner, Person]).asks(r#"{"maxItems":1000}"#).version("1.09"),
    read("iam", "GetAccountPasswordPolicy", 8, &[Scanner]).version("1.09"),
    read("iam", "ListAccessKeys", 20, &[Scanner, Person]).asks(r#"{"userName":"<user>"}"#).version("1.09"),
    read("iam", "SimulateCustomPolicy", 24, &[Scanner, Pipeline]).asks(r#"{"policyInputList":["<policy>","<policy>"],"actionNames":["s3:GetObject"],"resourceArns":["arn:aws:s3:::<bucket>/*"]}"#).version("1.09"),
    write("iam", "CreateRole", 3, &[Pipeline]).asks(r#"{"path":"/","roleName":"<role>-<hex 6>","assumeRolePolicyDocument":"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":{\"Service\":\"lambda.amazonaws.com\"},\"Action\":\"sts:AssumeRole\"}]}","maxSessionDuration":3600}"#).answers(r#"{"role":{"path":"/","roleName":"<role>","roleId":"AROA<base32 17>","arn":"arn:aws:iam::<account>:role/<role>","createDate":"Mar 1, 2026 10:12:00 AM","assumeRolePolicyDocument":"%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C%22Principal%22%3A%7B%22Service%22%3A%22lambda.amazonaws.com%22%7D%2C%22Action%22%3A%22sts%3AAssumeRole%22%7D%5D%7D"}}"#).version("1.09"),
    read("access-analyzer", "ValidatePolicy", 14, &[Pipeline]).asks(r#"{"policyType":"IDENTITY_POLICY","policyDocument":"<policy>","locale":"EN"}"#),
    read("cloudtrail", "DescribeTrails", 12, &[Scanner, Person]).asks(r#"{"includeShadowTrails":true,"trailNameList":[]}"#),
    read("cloudtrail", "GetTrailStatus", 12, &[Scanner]).asks(r#"{"name":"arn:aws:cloudtrail:<region>:<account>:trail/organization"}"#),
    read("cloudtrail", "LookupEvents", 16, &[Person]).asks(r#"{"maxResults":50,"lookupAttributes":[{"attributeKey":"ReadOnly","attributeValue":"false"}]}"#),
    read("organizations", "DescribeOrganization", 10, &[Scanner, Pipeline]).version("1.08"),
    // Data.
    read("dynamodb", "DescribeTable", 100, &[Workload, Scanner, Pipeline]).asks(r#"{"tableName":"<table>"}"#).of(r#""resources":[{"accountId":"<account>","type":"AWS::DynamoDB::Table","ARN":"arn:aws:dynamodb:<region>:<account>:table/<table>"}],"#).adds(r#""apiVersion":"2012-08-10","#),
    read("rds", "DescribeDBInstances", 40, LOOKERS).asks(r#"{"dBInstanceIdentifier":"<name>"}"#).version("1.08"),
    read("sqs", "GetQueueAttributes", 60, &[Workload, Scanner]).asks(r#"{"attributeNames":["ApproximateNumberOfMessages","ApproximateNumberOfMessagesNotVisible"],"queueUrl":"https://sqs.<region>.amazonaws.com/<account>/<queue>"}"#),
    read("glue", "GetTable", 60, &[Workload]).asks(r#"{"catalogId":"<account>","databaseName":"<name>","name":"<table>"}"#).version("1.08"),
    write("athena", "StartQueryExecution", 40, &[Workload, Person]).asks(r#"{"queryString":"***OMITTED***","clientRequestToken":"<uuid>","queryExecutionContext":{"database":"<name>"},"resultConfiguration":{"outputLocation":"s3://<bucket>/athena/"},"workGroup":"primary"}"#).answers(r#"{"queryExecutionId":"<uuid>"}"#).version("1.08"),
    read("cloudformation", "DescribeStacks", 50, &[Pipeline, Person, Workload]).asks(r#"{"stackName":"arn:aws:cloudformation:<region>:<account>:stack/<name>/<uuid>"}"#),
    read("config", "DescribeConfigurationRecorders", 12, &[Scanner, Service]).version("1.09"),
    write("config", "PutEvaluations", 30, &[Workload]).asks(r#"{"evaluations":[{"complianceResourceType":"AWS::S3::Bucket","complianceResourceId":"<bucket>","complianceType":"COMPLIANT","orderingTimestamp":"<time>"}],"resultToken":"HIDDEN_DUE_TO_SECURITY_REASONS"}"#).answers(r#"{"failedEvaluations":[]}"#).version("1.09"),
    read("health", "DescribeEventAggregates", 40, &[Person]).asks(r#"{"aggregateField":"eventTypeCategory","filter":{"eventStatusCodes":["open","upcoming"]}}"#).version("1.08"),
    read("tagging", "GetResources", 30, &[Scanner, Workload]).asks(r#"{"resourceTypeFilters":["ec2:instance"],"resourcesPerPage":100}"#).version("1.09"),
    write("signin", "ConsoleLogin", 6, &[Person]).answers(r#"{"ConsoleLogin":"Success"}"#).adds(r#""additionalEventData":{"LoginTo":"https://<region>.console.aws.amazon.com/console/home","MobileVersion":"No","MFAUsed":"No"},"#).sign_in(),
];

/// What raises one alert each.
#[rustfmt::skip]
pub(super) const TELLING: &[Call] = &[
    telling("iam", "CreateUser", &[User, Pipeline]).asks(r#"{"userName":"<user>-<hex 4>"}"#).answers(r#"{"user":{"path":"/","arn":"arn:aws:iam::<account>:user/<user>","userId":"AIDA<base32 17>","createDate":"Mar 1, 2026 10:12:00 AM","userName":"<user>"}}"#),
    telling("iam", "DeactivateMFADevice", &[Person]).asks(r#"{"userName":"<user>","serialNumber":"arn:aws:iam::<account>:mfa/<user>"}"#),
    telling("iam", "UpdateAccountPasswordPolicy", &[Person, User]).asks(r#"{"minimumPasswordLength":6,"requireSymbols":false,"requireNumbers":true,"requireUppercaseCharacters":false,"requireLowercaseCharacters":true,"allowUsersToChangePassword":true}"#),
    telling("iam", "PutUserPolicy", &[Person]).asks(r#"{"userName":"<user>","policyName":"<name>","policyDocument":"<policy>"}"#),
    telling("iam", "CreateLoginProfile", &[Person]).asks(r#"{"userName":"<user>","passwordResetRequired":false}"#).answers(r#"{"loginProfile":{"userName":"<user>","createDate":"Mar 1, 2026 10:12:00 AM","passwordResetRequired":false}}"#),
    telling("iam", "CreateAccessKey", &[Person]).asks(r#"{"userName":"<user>"}"#).answers(r#"{"accessKey":{"accessKeyId":"AKIA<base32 16>","status":"Active","userName":"<user>","createDate":"Mar 1, 2026 10:12:00 AM"}}"#),
    telling("cloudtrail", "StopLogging", &[Person, User]).asks(r#"{"name":"arn:aws:cloudtrail:<region>:<account>:trail/organization"}"#),
    telling("signin", "ConsoleLogin", &[Root]).answers(r#"{"ConsoleLogin":"Success"}"#).adds(r#""additionalEventData":{"LoginTo":"https://console.aws.amazon.com/console/home","MobileVersion":"No","MFAUsed":"Yes"},"#).sign_in(),
    telling("signin", "ConsoleLogin", &[User]).fails(r#""errorMessage":"Failed authentication","#).answers(r#"{"ConsoleLogin":"Failure"}"#).adds(r#""additionalEventData":{"LoginTo":"https://console.aws.amazon.com/console/home","MobileVersion":"No","MFAUsed":"No"},"#).sign_in(),
];
