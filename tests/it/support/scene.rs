//! A whole set-up for tests of what goes wrong around the daemon: a bucket that announces to a queue, a receiver of
//! alerts, a state folder, and a configuration that ties them together.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::ministack::{Trail, ministack, variables};
use super::receiver::{Answer, Receiver, Request};
use super::{Daemon, create_user, free_port, gzip, log, path_in, user_rule};

pub struct Scene {
    pub trail: Trail,
    pub receiver: Receiver,
    pub folder: tempfile::TempDir,
    listen: String,
    rules: tempfile::TempDir,
}

impl Scene {
    /// A set-up whose receiver answers by this script first.
    pub async fn new(script: Vec<Answer>) -> Self {
        let trail = ministack().await.trail_with(2, 100).await;
        trail.notify_queue().await;
        let receiver = Receiver::start(script).await;
        let scene = Self {
            trail,
            receiver,
            folder: tempfile::tempdir().unwrap(),
            listen: format!("127.0.0.1:{}", free_port()),
            rules: user_rule(),
        };
        let url = scene.receiver.url();
        scene.configure(&format!("[[webhook]]\nname = \"siem\"\nurl = \"{url}\"\ntimeout = \"2s\"\n"));
        scene
    }

    /// These sinks take the place of the receiver in the configuration.
    pub fn configure(&self, sinks: &str) {
        let (queue, bucket) = (&self.trail.queue, &self.trail.name);
        let (state, rules) = (self.path("state"), self.rules.path().display());
        let config = format!(
            "state = '{state}'\nlisten = \"{}\"\ndefault_detections = false\ndetections = ['{rules}']\n\
             allow_http = [\"siem.test\"]\n\
             [[queue]]\nurl = \"{queue}\"\nvisibility = \"2s\"\nbuckets = [{{ name = \"{bucket}\" }}]\n{sinks}",
            self.listen
        );
        fs::write(self.path("trailhound.toml"), config).unwrap();
    }

    /// The path of something in the folder of this set-up.
    pub fn path(&self, name: &str) -> String {
        path_in(&self.folder, name)
    }

    /// Starts the daemon.
    pub fn daemon(&self) -> Daemon {
        self.daemon_through(&self.trail.stack.endpoint)
    }

    /// Starts the daemon with another endpoint for everything of AWS.
    pub fn daemon_through(&self, endpoint: &str) -> Daemon {
        Daemon::of(self.command(&[], endpoint))
    }

    /// The command that starts the daemon, behind words that come before it.
    pub fn command(&self, before: &[&str], endpoint: &str) -> Command {
        let config = self.path("trailhound.toml");
        let words = [before, &[env!("CARGO_BIN_EXE_trailhound"), "run", "-c", &config]].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(variables(endpoint));
        command
    }

    /// Puts objects of these numbers, each with a record that raises one alert.
    pub async fn put(&self, numbers: std::ops::Range<u32>) {
        for number in numbers {
            let key = format!(
                "AWSLogs/111122223333/CloudTrail/us-east-1/2026/03/01/\
                 111122223333_CloudTrail_us-east-1_20260301T1005Z_{number:016}.json.gz"
            );
            self.trail.put(&key, gzip(&log(&[create_user(&number.to_string())]))).await;
        }
    }

    /// Alerts that the receiver took.
    pub fn taken(&self) -> Vec<Value> {
        let requests = self.receiver.requests();
        requests.iter().filter(|request| request.status == 200).map(Request::alert).collect()
    }

    /// Waits until the receiver has this many alerts and the queue is empty; then no alert may have come twice.
    pub async fn settles(&self, alerts: usize, within: Duration) {
        let started = Instant::now();
        loop {
            let (taken, left) = (self.taken().len(), self.trail.counts(&self.trail.queue).await);
            if taken >= alerts && left == (0, 0) {
                break;
            }
            assert!(started.elapsed() < within, "{taken} of {alerts} alerts, {left:?} messages left");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let taken = self.taken();
        assert_eq!((taken.len(), super::ids(&taken).len()), (alerts, alerts));
        assert_eq!(self.trail.counts(&self.trail.dead_letters).await, (0, 0));
    }

    /// What the daemon answers at a path: its status and its text.
    pub async fn asks(&self, path: &str) -> (u16, String) {
        match reqwest::get(format!("http://{}{path}", self.listen)).await {
            Ok(answer) => (answer.status().as_u16(), answer.text().await.unwrap_or_default()),
            Err(error) => (0, error.to_string()),
        }
    }

    /// Waits until a path is answered with this status.
    pub async fn becomes(&self, path: &str, status: u16) {
        let started = Instant::now();
        while self.asks(path).await.0 != status {
            assert!(
                started.elapsed() < super::DEADLINE,
                "{path} does not answer {status}: {:?}",
                self.asks(path).await
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The value of a metric without labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = self.asks("/metrics").await.1;
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("{name} in {text}")).parse().unwrap()
    }
}
