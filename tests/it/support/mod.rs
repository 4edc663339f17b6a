//! What tests need around the binary: it itself, AWS on loopback, a receiver of alerts.

pub mod microburst;
pub mod ministack;
pub mod receiver;
pub mod scene;
pub mod server;
pub mod tls;
pub mod wall_clock;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take before a test gives up.
pub const DEADLINE: Duration = Duration::from_mins(1);

/// Runs a future on the one runtime that all tests share, for clients that they share live on it.
pub fn wait<F: Future>(future: F) -> F::Output {
    static RUNTIME: LazyLock<tokio::runtime::Runtime> =
        LazyLock::new(|| tokio::runtime::Runtime::new().unwrap());
    RUNTIME.block_on(future)
}

/// The root of the checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The quick start's archive.
pub fn trail() -> PathBuf {
    root().join("fixtures/trail")
}

/// The binary, with nothing of our environment that it might read.
pub fn command<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trailhound"));
    command.args(args).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// Runs the binary to its end.
pub fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Run {
    Run::of(command(args).output().expect("the binary runs"))
}

/// Runs the binary to its end, with this on standard input.
pub fn run_with_input<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>, input: &[u8]) -> Run {
    let mut child = command(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    // A reader that ended early closes the pipe.
    let _ = writer.join().unwrap();
    Run::of(output)
}

/// What a run left behind.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("standard output is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("standard error is UTF-8"),
        }
    }

    /// The alerts on standard output.
    pub fn alerts(&self) -> Vec<Value> {
        alerts(&self.stdout)
    }
}

/// The alerts in lines of text.
pub fn alerts(lines: &str) -> Vec<Value> {
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// The ids of alerts.
pub fn ids(alerts: &[Value]) -> BTreeSet<String> {
    alerts.iter().map(|alert| alert["id"].as_str().expect("an id").to_owned()).collect()
}

/// The ids that a replay of the quick start's archive gives.
pub fn trail_ids() -> BTreeSet<String> {
    let replayed = run(["replay".as_ref(), trail().as_os_str()]);
    let ids = ids(&replayed.alerts());
    assert!(!ids.is_empty(), "{}", replayed.stderr);
    ids
}

/// Polls until something holds.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < DEADLINE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A daemon that is running; killed when it is dropped.
pub struct Daemon {
    child: Child,
    folder: tempfile::TempDir,
}

impl Daemon {
    /// Starts `trailhound run` with these arguments and variables.
    pub fn start(args: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = command(["run"]);
        command.args(args).envs(variables.iter().copied());
        Self::of(command)
    }

    /// Starts the daemon by a command that becomes it.
    pub fn of(mut command: Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| fs::File::create(folder.path().join(name)).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .expect("the binary runs");
        Self { child, folder }
    }

    pub fn stdout(&self) -> String {
        // The last line may still be on its way.
        let text = fs::read_to_string(self.folder.path().join("stdout")).unwrap();
        let end = text.rfind('\n').map_or(0, |end| end + 1);
        text[..end].to_owned()
    }

    pub fn stderr(&self) -> String {
        fs::read_to_string(self.folder.path().join("stderr")).unwrap()
    }

    /// The alerts on standard output so far.
    pub fn alerts(&self) -> Vec<Value> {
        alerts(&self.stdout())
    }

    /// Waits until standard error holds a text.
    pub fn says(&mut self, text: &str) {
        eventually(&format!("`{text}` in the log"), || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the daemon ended with {status}: {}", self.stderr());
            }
            self.stderr().contains(text).then_some(())
        });
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let status =
            Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// The id of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        eventually("the daemon's end", || self.child.try_wait().unwrap())
    }

    /// Stops it in an orderly way.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- daemon's log\n{}", self.stderr());
        }
    }
}

/// The body of an answer over plain HTTP.
pub fn get(address: &str, path: &str) -> String {
    let Ok(mut stream) = std::net::TcpStream::connect(address) else { return String::new() };
    stream.write_all(format!("GET {path} HTTP/1.0\r\nhost: x\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
}

/// A free port on loopback.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Compresses as one gzip member.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Paths below a folder, and contents.
pub type Files<'f> = &'f [(&'f str, &'f str)];

/// A folder with these files.
pub fn folder(files: Files<'_>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

/// The path of something in a folder.
pub fn path_in(folder: &tempfile::TempDir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_owned()
}

/// A record that the pack's detection of created users hits.
pub fn create_user(event_id: &str) -> String {
    format!(
        r#"{{"eventVersion":"1.11","userIdentity":{{"type":"IAMUser","principalId":"AIDAEXAMPLE","arn":"arn:aws:iam::111122223333:user/ann","accountId":"111122223333","userName":"ann"}},"eventTime":"2026-03-01T10:00:00Z","eventSource":"iam.amazonaws.com","eventName":"CreateUser","awsRegion":"us-east-1","sourceIPAddress":"198.51.100.7","userAgent":"aws-cli/2","requestParameters":{{"userName":"bob"}},"responseElements":null,"eventID":"{event_id}","recipientAccountId":"111122223333"}}"#
    )
}

/// A log file of records.
pub fn log(records: &[String]) -> Vec<u8> {
    format!(r#"{{"Records":[{}]}}"#, records.join(",")).into_bytes()
}

/// A rule that hits the records above, and nothing else runs with it.
pub const USER_RULE: &str = "title: User created
id: user-created
level: high
logsource: {product: aws, service: cloudtrail}
detection:
  selection: {eventSource: iam.amazonaws.com, eventName: CreateUser}
  condition: selection
";

/// A folder with [`USER_RULE`] in it.
pub fn user_rule() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("user.yml"), USER_RULE).unwrap();
    folder
}
