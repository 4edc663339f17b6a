//! Servers in Python, in a virtual environment under `target/`.
//!
//! Each runs on a free port of loopback and is watched by a small program that reads from us: when we end, however we
//! end, it ends the server by its id.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// What is installed, together.
const PACKAGES: [&str; 4] =
    ["ministack==1.5.33", "awscli==1.46.3", "microburst==0.10.0", "libfaketime==3.0.1"];
const WATCHER: &str = "
import subprocess, sys
server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
sys.stdin.read()
server.kill()
server.wait()
";

/// A running server; it ends with this.
pub struct Server {
    log: PathBuf,
    _watcher: Child,
    _alive: ChildStdin,
}

impl Server {
    /// Starts one of the installed programs with these arguments and variables; `port` tells its log from others.
    pub fn start(program: &str, port: u16, args: &[&str], variables: &[(&str, &str)]) -> Self {
        let programs = install();
        let log = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("{program}-{}-{port}.log", std::process::id()));
        let mut watcher = Command::new("python3")
            .args(["-c", WATCHER])
            .arg(programs.join(program))
            .args(args)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(fs::File::create(&log).unwrap())
            .stderr(fs::File::options().append(true).open(&log).unwrap())
            .spawn()
            .expect("python3 runs");
        let alive = watcher.stdin.take().unwrap();
        Self { log, _watcher: watcher, _alive: alive }
    }

    /// Waits until it answers at this address.
    pub async fn answers(&self, http: &reqwest::Client, url: &str) {
        let started = Instant::now();
        while http.get(url).send().await.is_err() {
            let log = || fs::read_to_string(&self.log).unwrap();
            assert!(started.elapsed() < super::DEADLINE, "the server does not start: {}", log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Installs the programs once; other processes wait for the one that does. Answers with their folder.
pub fn install() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(PACKAGES.join("-"));
    let done = folder.join("installed");
    let lock = fs::File::create(folder.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    if !done.exists() {
        let _ = fs::remove_dir_all(&folder);
        python(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        let mut pip = Command::new(folder.join("bin/pip"));
        python(pip.args(["install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES));
        fs::write(done, "").unwrap();
    }
    folder.join("bin")
}

fn python(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| {
        panic!("these tests need Python 3.9 or newer with its `venv` module (on Debian: python3-venv): {command:?}: {error}")
    });
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{PACKAGES:?} cannot be installed: {command:?}: {text}");
}
