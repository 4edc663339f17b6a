//! Rules that change under a running daemon.

use std::fs;
use std::io::{Read, Write};
use std::time::Duration;

use serde_json::Value;

use crate::support::receiver::{Receiver, answer};
use crate::support::{self, Daemon, Files, USER_RULE, create_user, eventually, free_port, log, wait};

/// A daemon on a folder of logs and a folder of rules, with metrics.
struct Fixture {
    folder: tempfile::TempDir,
    port: u16,
    daemon: Daemon,
}

impl Fixture {
    fn start(config: &str, variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        fs::create_dir(path("logs")).unwrap();
        fs::create_dir(path("rules")).unwrap();
        fs::write(path("rules/user.yml"), USER_RULE).unwrap();
        fs::write(path("t.toml"), config).unwrap();
        let port = free_port();
        let (logs, rules, config, listen) =
            (path("logs"), path("rules"), path("t.toml"), format!("127.0.0.1:{port}"));
        let args = ["-c", &config, "--watch", &logs, "--no-default-detections", "--detections", &rules];
        let mut daemon = Daemon::start(&[&args[..], &["--listen", &listen]].concat(), variables);
        daemon.says("started");
        Self { folder, port, daemon }
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        // As editors do, so that nobody reads half of it.
        let path = self.folder.path().join(name);
        fs::write(path.with_extension("new"), text).unwrap();
        fs::rename(path.with_extension("new"), path).unwrap();
    }

    /// The value of a metric.
    fn metric(&self, name: &str) -> Option<u64> {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        Some(line.parse().unwrap())
    }

    fn reloads(&self, outcome: &str, count: u64) {
        let name = format!("trailhound_reloads_total{{outcome=\"{outcome}\"}}");
        eventually(&format!("{count} {outcome}"), || (self.metric(&name)? == count).then_some(()));
    }

    fn rules(&self, state: &str) -> u64 {
        self.metric(&format!("trailhound_rules{{state=\"{state}\"}}")).unwrap()
    }

    /// Waits for so many alerts, and answers with the title and the pack of the last one.
    fn last(&self, count: usize) -> (String, String) {
        let alerts = eventually(&format!("{count} alerts"), || {
            Some(self.daemon.alerts()).filter(|alerts| alerts.len() == count)
        });
        title_and_pack(&alerts[count - 1])
    }
}

fn title_and_pack(alert: &Value) -> (String, String) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&alert["rule"]["title"]), text(&alert["tool"]["pack"]))
}

fn other_rule() -> String {
    USER_RULE.replace("title: User created", "title: Somebody new")
}

#[test]
fn a_signal_brings_the_rules_of_now() {
    let mut fixture = Fixture::start("", &[]);
    fixture.write("logs/a.json", log(&[create_user("1")]));
    let (title, pack) = fixture.last(1);
    assert_eq!(title, "User created");

    fixture.daemon.signal("HUP");
    fixture.reloads("unchanged", 1);
    fixture.write("rules/user.yml", format!("# another layout\n{USER_RULE}"));
    fixture.daemon.signal("HUP");
    fixture.reloads("unchanged", 2);

    fixture.write("rules/user.yml", other_rule());
    fixture.write("rules/more.yml", other_rule().replace("user-created", "another"));
    fixture.daemon.signal("HUP");
    fixture.reloads("taken", 1);
    assert_eq!((fixture.rules("running"), fixture.rules("broken")), (2, 0));
    fixture.daemon.says("kept=0 changed=1 removed=0 added=1");
    fixture.write("logs/b.json", log(&[create_user("2")]));
    let (title, new_pack) = fixture.last(3);
    assert_eq!(title, "Somebody new");
    assert_ne!(pack, new_pack);
    assert_eq!(fixture.daemon.stop().code(), Some(143));
}

#[test]
fn detections_over_many_events_are_those_of_now() {
    let mut fixture = Fixture::start("", &[]);
    let grouped = format!("{}trailhound: {{group: {{by: [actor.arn], period: 1h}}}}\n", other_rule());
    fixture.write("rules/user.yml", grouped);
    fixture.daemon.signal("HUP");
    fixture.reloads("taken", 1);
    fixture.write("logs/a.json", log(&[create_user("1"), create_user("2")]));
    assert_eq!(fixture.last(1).0, "Somebody new");
    assert_eq!(fixture.daemon.stop().code(), Some(143));
}

#[test]
fn a_bad_set_leaves_the_old_one_running_and_says_everything() {
    let cases: [(Files<'_>, &[&str]); 3] = [
        (
            &[
                ("rules/user.yml", "title: ["),
                ("rules/more.yml", "title: No logic\nlogsource: {product: aws, service: cloudtrail}\n"),
            ],
            &["user.yml:1", "more.yml:1"],
        ),
        (
            &[("rules/user.yml", "title: other\nlogsource: {product: windows}\n")],
            &["holds no rule over CloudTrail"],
        ),
        (&[("rules/more.yml", &other_rule())], &["the id `user-created` also stands in"]),
    ];
    for (files, messages) in cases {
        let mut fixture = Fixture::start("", &[]);
        files.iter().for_each(|(name, text)| fixture.write(name, text));
        fixture.daemon.signal("HUP");
        fixture.reloads("refused", 1);
        assert_eq!(fixture.rules("running"), 1);
        assert_eq!(fixture.rules("broken"), messages.len() as u64);
        messages.iter().for_each(|message| fixture.daemon.says(message));
        fixture.daemon.says("those from before go on running");
        fixture.write("logs/a.json", log(&[create_user("1")]));
        assert_eq!(fixture.last(1).0, "User created");

        files.iter().for_each(|(name, _)| fs::remove_file(fixture.folder.path().join(name)).unwrap());
        fixture.write("rules/user.yml", USER_RULE);
        fixture.daemon.signal("HUP");
        fixture.reloads("unchanged", 1);
        assert_eq!(fixture.rules("broken"), 0, "what was repaired is not broken any more");
        fixture.daemon.stop();
    }
}

#[test]
fn the_good_rest_is_taken_if_asked() {
    let mut fixture = Fixture::start("keep_going = true", &[]);
    fixture.write("rules/more.yml", "title: [");
    fixture.write("rules/user.yml", other_rule());
    fixture.daemon.signal("HUP");
    fixture.reloads("taken", 1);
    assert_eq!((fixture.rules("running"), fixture.rules("broken")), (1, 1));
    fixture.daemon.says("a broken rule is left out");
    fixture.write("rules/user.yml", "title: [");
    fixture.daemon.signal("HUP");
    fixture.reloads("refused", 1);
    fixture.write("logs/a.json", log(&[create_user("1")]));
    assert_eq!(fixture.last(1).0, "Somebody new");
}

#[test]
fn a_changed_file_is_noticed_if_asked() {
    let mut fixture = Fixture::start("", &[("TRAILHOUND_RELOAD", "change")]);
    fixture.write("rules/user.yml", other_rule());
    fixture.reloads("taken", 1);
    fixture.write("rules/user.yml", "title: [");
    fixture.reloads("refused", 1);
    fixture.write("rules/user.yml", USER_RULE);
    fixture.reloads("taken", 2);
    fixture.write("logs/a.json", log(&[create_user("1")]));
    assert_eq!(fixture.last(1).0, "User created");
    // A folder that lies elsewhere now, as the files of a ConfigMap do, is the same to the daemon.
    let (rules, elsewhere) = (fixture.folder.path().join("rules"), fixture.folder.path().join("elsewhere"));
    fs::rename(&rules, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &rules).unwrap();
    fixture.daemon.signal("HUP");
    fixture.reloads("unchanged", 1);
    assert_eq!(fixture.metric("trailhound_reloads_total{outcome=\"refused\"}"), Some(1));
    fixture.daemon.stop();
}

#[test]
fn an_object_is_examined_by_one_set_to_its_end() {
    wait(async {
        // More alerts than may wait, with nobody to take them: the object is under way until somebody does.
        let port = free_port();
        let webhook = format!("[[webhook]]\nname = \"late\"\nurl = \"http://127.0.0.1:{port}/hook\"\n");
        let mut fixture = Fixture::start(&webhook, &[]);
        let large = "x".repeat(500_000);
        let records: Vec<_> =
            (0..30).map(|number| create_user(&number.to_string()).replace("aws-cli/2", &large)).collect();
        fixture.write("logs/a.json", log(&records));
        fixture.daemon.says("delivery failed");
        fixture.write("rules/user.yml", other_rule());
        fixture.daemon.signal("HUP");
        fixture.reloads("taken", 1);
        assert_eq!(fixture.metric("trailhound_records_total{outcome=\"evaluated\"}"), None, "it is not done");

        let receiver = Receiver::start_on(port, vec![]).await;
        let packs = |requests: &[support::receiver::Request]| {
            requests
                .iter()
                .map(|request| title_and_pack(&request.alert()))
                .collect::<std::collections::BTreeSet<_>>()
        };
        let before = packs(&receiver.received(30).await);
        assert_eq!(before.len(), 1, "{before:?}");
        assert_eq!(before.first().unwrap().0, "User created");
        fixture.write("logs/b.json", log(&[create_user("later")]));
        let after = packs(&receiver.received(31).await[30..]);
        assert_eq!(after.first().unwrap().0, "Somebody new");
        fixture.daemon.stop();
    });
}

#[test]
fn many_signals_are_few_reloads_and_none_does_harm() {
    wait(async {
        let receiver = Receiver::start(vec![answer(503), answer(200).after(Duration::from_secs(2))]).await;
        let webhook = format!("[[webhook]]\nurl = \"{}\"\n", receiver.url());
        let mut fixture = Fixture::start(&webhook, &[]);
        (0..20).for_each(|_| fixture.daemon.signal("HUP"));
        let unchanged = "trailhound_reloads_total{outcome=\"unchanged\"}";
        eventually("a reload", || fixture.metric(unchanged).filter(|count| (1..=20).contains(count)));

        fixture.write("logs/a.json", log(&[create_user("1")]));
        fixture.daemon.says("delivery failed");
        fixture.daemon.signal("TERM");
        fixture.daemon.says("stopping");
        fixture.write("rules/user.yml", "title: [");
        (0..3).for_each(|_| fixture.daemon.signal("HUP"));
        assert_eq!(fixture.daemon.ended().code(), Some(143), "{}", fixture.daemon.stderr());
        assert_eq!(receiver.requests().last().unwrap().status, 200, "the drain went on");
    });
}

#[test]
fn a_signal_during_the_start_brings_another_look() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("logs")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(path("rule.yml")).status().unwrap().success());
    let (logs, rule) = (path("logs"), path("rule.yml"));
    let args = ["--watch", logs.to_str().unwrap(), "--no-default-detections", "--detections"];
    let mut daemon = Daemon::start(&[&args[..], &[rule.to_str().unwrap()]].concat(), &[]);
    // Opens once the daemon reads the rules.
    let mut first = fs::File::options().write(true).open(&rule).unwrap();
    daemon.signal("HUP");
    first.write_all(USER_RULE.as_bytes()).unwrap();
    drop(first);
    daemon.says("started");
    fs::write(&rule, other_rule()).unwrap();
    daemon.says("detections reloaded");
    fs::write(path("logs").join("a.json"), log(&[create_user("1")])).unwrap();
    let alerts = eventually("an alert", || Some(daemon.alerts()).filter(|alerts| !alerts.is_empty()));
    assert_eq!(title_and_pack(&alerts[0]).0, "Somebody new");
    daemon.stop();
}
