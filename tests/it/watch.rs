//! A watched folder as a source: no AWS, no queue.

use std::fs;
use std::time::Duration;

use crate::support::{self, Daemon, create_user, eventually, gzip, ids, log, trail, trail_ids, user_rule};

struct Fixture {
    logs: tempfile::TempDir,
    _rules: tempfile::TempDir,
    daemon: Daemon,
}

impl Fixture {
    fn start() -> Self {
        let (logs, rules) = (tempfile::tempdir().unwrap(), user_rule());
        let (folder, rule) = (logs.path().to_str().unwrap(), rules.path().to_str().unwrap());
        let args = ["--watch", folder, "--no-default-detections", "--detections", rule];
        let mut daemon = Daemon::start(&args, &[]);
        daemon.says("watching a folder");
        Self { logs, _rules: rules, daemon }
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.logs.path().join(name), bytes).unwrap();
    }

    fn raises(&self, count: usize) {
        eventually(&format!("{count} alerts"), || (self.daemon.alerts().len() == count).then_some(()));
    }
}

#[test]
fn the_quick_start_raises_its_alerts_and_ends_on_a_signal() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let mut daemon = Daemon::start(&["--watch", trail().to_str().unwrap()], &[]);
        let expected = trail_ids();
        eventually("the alerts", || (ids(&daemon.alerts()) == expected).then_some(()));
        daemon.signal(signal);
        assert_eq!(daemon.ended().code(), Some(code));
        assert_eq!(daemon.alerts().len(), expected.len(), "an alert came twice");
    }
}

#[test]
fn files_are_taken_as_they_come() {
    let mut fixture = Fixture::start();
    fixture.write("a.json", &log(&[create_user("1")]));
    fixture.write("ignored.json.tmp", &log(&[create_user("9")]));
    fixture.write(".hidden.json", &log(&[create_user("9")]));
    fixture.write("notes.txt", &log(&[create_user("9")]));
    fixture.raises(1);
    fixture.write("renamed.tmp", &gzip(&log(&[create_user("2")])));
    fs::rename(fixture.logs.path().join("renamed.tmp"), fixture.logs.path().join("b.json.gz")).unwrap();
    fixture.raises(2);
    fixture.daemon.stop();
    assert_eq!(fixture.daemon.alerts().len(), 2);
}

#[test]
fn a_file_that_changes_is_read_again_and_repeats_nothing() {
    let mut fixture = Fixture::start();
    fixture.write("a.ndjson", create_user("1").as_bytes());
    fixture.raises(1);
    fixture.write("a.ndjson", format!("{}\n{}\n", create_user("1"), create_user("2")).as_bytes());
    fixture.raises(2);
    fixture.daemon.stop();
    assert_eq!(ids(&fixture.daemon.alerts()).len(), 2);
}

#[test]
fn a_gzip_that_is_still_being_written_is_finished_later() {
    let mut fixture = Fixture::start();
    let whole = gzip(&log(&(0..300).map(|i| create_user(&i.to_string())).collect::<Vec<_>>()));
    fixture.write("a.json.gz", &whole[..whole.len() / 2]);
    fixture.daemon.says("object not readable to its end");
    let early = eventually("alerts of the prefix", || {
        Some(fixture.daemon.alerts().len()).filter(|count| *count > 10)
    });
    assert!(early < 300);
    fixture.write("a.json.gz", &whole);
    fixture.raises(300);
    fixture.daemon.stop();
    assert_eq!(ids(&fixture.daemon.alerts()).len(), 300);
}

#[test]
fn a_reader_that_goes_ends_the_daemon() {
    let mut child = support::command(["run", "--watch", trail().to_str().unwrap()])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let status = eventually("the end of the daemon", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(141));
}

#[test]
fn logs_can_be_json() {
    let mut daemon = Daemon::start(&["--watch", trail().to_str().unwrap(), "--log", "json"], &[]);
    daemon.says("\"message\":\"started\"");
    daemon.stop();
    for line in daemon.stderr().lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let (logs, rules) = (tempfile::tempdir().unwrap(), user_rule());
    fs::write(logs.path().join("a.json"), log(&[create_user("1")])).unwrap();
    let port = support::free_port();
    let url = format!("http://127.0.0.1:{port}/hook");
    let args = ["--watch", logs.path().to_str().unwrap(), "--no-default-detections", "--detections"];
    let mut daemon =
        Daemon::start(&[&args[..], &[rules.path().to_str().unwrap(), "--webhook", &url]].concat(), &[]);
    daemon.says("delivery failed");
    let started = std::time::Instant::now();
    daemon.signal("TERM");
    daemon.says("stopping");
    daemon.signal("INT");
    assert_eq!(daemon.ended().code(), Some(130));
    assert!(started.elapsed() < Duration::from_secs(20), "it did not wait for its grace to end");
}

#[test]
fn what_cannot_be_read_is_told_and_stops_nobody() {
    let mut fixture = Fixture::start();
    let pipe = fixture.logs.path().join("pipe.json");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::os::unix::fs::symlink(fixture.logs.path(), fixture.logs.path().join("loop")).unwrap();
    fixture.write("a.json", &log(&[create_user("1")]));
    fixture.raises(1);
    fixture.daemon.says("not a regular file");
    fixture.daemon.says("File system loop");
    fixture.daemon.stop();
}
