//! SQS, S3, SNS and EventBridge on loopback: ministack, one server for each test process.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketVersioningStatus, Event, EventBridgeConfiguration, NotificationConfiguration, QueueConfiguration,
    TopicConfiguration, VersioningConfiguration,
};
use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};

use super::server::Server;
use super::{Daemon, free_port};

/// A running server.
pub struct Ministack {
    pub endpoint: String,
    pub s3: aws_sdk_s3::Client,
    pub sqs: aws_sdk_sqs::Client,
    http: reqwest::Client,
    _server: Server,
}

/// The server of this process; started by whoever asks first.
pub async fn ministack() -> &'static Ministack {
    static SERVER: tokio::sync::OnceCell<Ministack> = tokio::sync::OnceCell::const_new();
    SERVER.get_or_init(Ministack::start).await
}

/// Variables that lead any AWS client to the server.
pub fn variables(endpoint: &str) -> Vec<(&str, &str)> {
    vec![
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ]
}

impl Ministack {
    async fn start() -> Self {
        let port = free_port();
        let start = move || {
            let variables = [("GATEWAY_PORT", &*port.to_string()), ("BIND_HOST", "127.0.0.1")];
            Server::start("ministack", port, &[], &variables)
        };
        let server = tokio::task::spawn_blocking(start).await.unwrap();
        let endpoint = format!("http://127.0.0.1:{port}");
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        server.answers(&http, &endpoint).await;
        let config = aws_config::defaults(BehaviorVersion::latest())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .endpoint_url(&endpoint)
            .region("us-east-1")
            .credentials_provider(aws_credential_types::Credentials::for_tests())
            .load()
            .await;
        let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
        Self {
            endpoint,
            s3: aws_sdk_s3::Client::from_conf(s3),
            sqs: aws_sdk_sqs::Client::new(&config),
            http,
            _server: server,
        }
    }

    /// A call of an API that speaks JSON, such as EventBridge.
    async fn json_call(&self, target: &str, body: serde_json::Value) -> serde_json::Value {
        let service = if target.starts_with("AWSEvents") { "events" } else { "sqs" };
        let response = self
            .http
            .post(&self.endpoint)
            .header("x-amz-target", target)
            .header("content-type", "application/x-amz-json-1.1")
            .header("authorization", authorization(service))
            .body(body.to_string())
            .send()
            .await
            .unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert!(status.is_success(), "{target}: {status}: {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// A call of SNS, which speaks forms and XML.
    async fn sns_call(&self, fields: &[(&str, &str)]) -> String {
        let mut body = "Version=2010-03-31".to_owned();
        for (name, value) in fields {
            let encoded = percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC);
            body.push_str(&format!("&{name}={encoded}"));
        }
        let response = self
            .http
            .post(&self.endpoint)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("authorization", authorization("sns"))
            .body(body)
            .send()
            .await
            .unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert!(status.is_success(), "SNS: {status}: {text}");
        text
    }

    /// A bucket and a queue of their own for a test.
    pub async fn trail(&'static self) -> Trail {
        self.trail_with(2, 10).await
    }

    /// As [`Ministack::trail`], with the queue's default visibility in seconds and the receives before its
    /// dead-letter queue takes a message.
    pub async fn trail_with(&'static self, visibility: u32, max_receives: u32) -> Trail {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("trail-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let dead_letters = self.queue(&format!("{name}-dead"), &[]).await;
        let arn = format!("arn:aws:sqs:us-east-1:000000000000:{name}-dead");
        let redrive = format!(r#"{{"deadLetterTargetArn":"{arn}","maxReceiveCount":"{max_receives}"}}"#);
        let attributes = vec![
            (QueueAttributeName::RedrivePolicy, redrive),
            (QueueAttributeName::VisibilityTimeout, visibility.to_string()),
        ];
        let queue = self.queue(&name, &attributes).await;
        self.s3.create_bucket().bucket(&name).send().await.unwrap();
        Trail { stack: self, name, queue, dead_letters, attributes }
    }

    async fn queue(&self, name: &str, attributes: &[(QueueAttributeName, String)]) -> String {
        let mut request = self.sqs.create_queue().queue_name(name);
        for (name, value) in attributes {
            request = request.attributes(name.clone(), value);
        }
        request.send().await.unwrap().queue_url.unwrap()
    }
}

/// ministack tells services apart by the scope of the signature, and checks no more of it.
fn authorization(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=test/20260301/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )
}

/// A bucket, the queue that announces its objects, and the queue's dead letters.
pub struct Trail {
    pub stack: &'static Ministack,
    pub name: String,
    pub queue: String,
    pub dead_letters: String,
    attributes: Vec<(QueueAttributeName, String)>,
}

impl Trail {
    fn arn(&self, service: &str) -> String {
        format!("arn:aws:{service}:us-east-1:000000000000:{}", self.name)
    }

    /// The bucket announces to the queue.
    pub async fn notify_queue(&self) {
        let queue = QueueConfiguration::builder().queue_arn(self.arn("sqs")).events(Event::S3ObjectCreated);
        self.notify(NotificationConfiguration::builder().queue_configurations(queue.build().unwrap())).await;
    }

    /// The bucket announces to a topic, which leads to the queue.
    pub async fn notify_topic(&self, raw: bool) {
        self.topic(raw).await;
        let topic = TopicConfiguration::builder().topic_arn(self.arn("sns")).events(Event::S3ObjectCreated);
        self.notify(NotificationConfiguration::builder().topic_configurations(topic.build().unwrap())).await;
    }

    /// The bucket announces to EventBridge, where a rule leads to the queue.
    pub async fn notify_event_bridge(&self) {
        let pattern = serde_json::json!({"source": ["aws.s3"], "detail": {"bucket": {"name": [self.name]}}});
        self.rule(&pattern).await;
        let bridge = EventBridgeConfiguration::builder().build();
        self.notify(NotificationConfiguration::builder().event_bridge_configuration(bridge)).await;
    }

    async fn notify(&self, configuration: aws_sdk_s3::types::builders::NotificationConfigurationBuilder) {
        let request = self.stack.s3.put_bucket_notification_configuration().bucket(&self.name);
        request.notification_configuration(configuration.build()).send().await.unwrap();
    }

    /// A topic that leads to the queue.
    pub async fn topic(&self, raw: bool) {
        let (topic, queue) = (self.arn("sns"), self.arn("sqs"));
        self.stack.sns_call(&[("Action", "CreateTopic"), ("Name", &self.name)]).await;
        let mut fields =
            vec![("Action", "Subscribe"), ("TopicArn", &topic), ("Protocol", "sqs"), ("Endpoint", &queue)];
        if raw {
            fields.extend([
                ("Attributes.entry.1.key", "RawMessageDelivery"),
                ("Attributes.entry.1.value", "true"),
            ]);
        }
        self.stack.sns_call(&fields).await;
    }

    /// Publishes to the topic, as CloudTrail does.
    pub async fn publish(&self, message: &str) {
        self.stack
            .sns_call(&[("Action", "Publish"), ("TopicArn", &self.arn("sns")), ("Message", message)])
            .await;
    }

    /// A rule of EventBridge that leads to the queue.
    pub async fn rule(&self, pattern: &serde_json::Value) {
        let name = &self.name;
        let rule = serde_json::json!({"Name": name, "EventPattern": pattern.to_string(), "State": "ENABLED"});
        self.stack.json_call("AWSEvents.PutRule", rule).await;
        let targets = serde_json::json!({"Rule": name, "Targets": [{"Id": "queue", "Arn": self.arn("sqs")}]});
        self.stack.json_call("AWSEvents.PutTargets", targets).await;
    }

    /// Puts an event on the default bus.
    pub async fn put_event(&self, source: &str, detail_type: &str, detail: &str) {
        let entry = serde_json::json!({"Source": source, "DetailType": detail_type, "Detail": detail});
        let answer =
            self.stack.json_call("AWSEvents.PutEvents", serde_json::json!({"Entries": [entry]})).await;
        assert_eq!(answer["FailedEntryCount"], 0, "{answer}");
    }

    /// Keeps versions of objects from now on.
    pub async fn keep_versions(&self) {
        let versioning = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        let request = self.stack.s3.put_bucket_versioning().bucket(&self.name);
        request.versioning_configuration(versioning).send().await.unwrap();
    }

    /// Puts an object.
    pub async fn put(&self, key: &str, bytes: Vec<u8>) {
        let request = self.stack.s3.put_object().bucket(&self.name).key(key).body(ByteStream::from(bytes));
        request.send().await.unwrap();
    }

    /// Deletes the queue, with all that is in it.
    pub async fn delete_queue(&self) {
        self.stack.sqs.delete_queue().queue_url(&self.queue).send().await.unwrap();
    }

    /// Makes the queue again as it was at first.
    pub async fn make_queue(&self) {
        assert_eq!(self.stack.queue(&self.name, &self.attributes).await, self.queue);
    }

    /// Receives a message until it has been handed out so often, and leaves it to come back in a second.
    pub async fn receive(&self, times: u32) {
        let started = std::time::Instant::now();
        let mut received = 0;
        while received < times {
            assert!(started.elapsed() < super::DEADLINE, "received {received} times");
            let request = self.stack.sqs.receive_message().queue_url(&self.queue).visibility_timeout(1);
            let request =
                request.message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount);
            for message in request.send().await.unwrap().messages.unwrap_or_default() {
                let attributes = message.attributes.unwrap_or_default();
                received = attributes[&MessageSystemAttributeName::ApproximateReceiveCount].parse().unwrap();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The bucket announces nothing from now on.
    pub async fn forget_notifications(&self) {
        self.notify(NotificationConfiguration::builder()).await;
    }

    /// Sends a message to the queue.
    pub async fn send(&self, body: &str) {
        self.stack.sqs.send_message().queue_url(&self.queue).message_body(body).send().await.unwrap();
    }

    /// Starts a daemon on the queue, with further arguments.
    pub fn daemon(&self, args: &[&str]) -> Daemon {
        let args = [&["--queue-url", self.queue.as_str(), "--bucket", self.name.as_str()], args].concat();
        Daemon::start(&args, &variables(&self.stack.endpoint))
    }

    /// Starts a daemon with a configuration file in which `{queue}` and `{bucket}` stand for ours.
    pub fn daemon_with(&self, config: &str, args: &[&str]) -> (Daemon, tempfile::TempDir) {
        self.daemon_in(config, args, &[])
    }

    /// As [`Trail::daemon_with`], with further variables.
    pub fn daemon_in(
        &self,
        config: &str,
        args: &[&str],
        more: &[(&str, &str)],
    ) -> (Daemon, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trailhound.toml");
        fs::write(&path, config.replace("{queue}", &self.queue).replace("{bucket}", &self.name)).unwrap();
        let args = [&["-c", path.to_str().unwrap()], args].concat();
        let variables = [&variables(&self.stack.endpoint)[..], more].concat();
        (Daemon::start(&args, &variables), folder)
    }

    /// Messages in a queue: those that can be received, and those in flight.
    pub async fn counts(&self, queue: &str) -> (u32, u32) {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        let request =
            self.stack.sqs.get_queue_attributes().queue_url(queue).set_attribute_names(Some(names.to_vec()));
        let attributes = request.send().await.unwrap().attributes.unwrap_or_default();
        let count = |name| attributes.get(name).map_or(0, |count: &String| count.parse().unwrap());
        (count(&names[0]), count(&names[1]))
    }

    /// Waits until the queue holds nothing any more.
    pub async fn drained(&self) {
        let started = std::time::Instant::now();
        while self.counts(&self.queue).await != (0, 0) {
            assert!(started.elapsed() < super::DEADLINE, "the queue is not drained");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the dead-letter queue holds this many messages.
    pub async fn dead(&self, count: u32) {
        let started = std::time::Instant::now();
        while self.counts(&self.dead_letters).await.0 != count {
            assert!(
                started.elapsed() < super::DEADLINE,
                "the dead-letter queue holds {:?}",
                self.counts(&self.dead_letters).await
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
