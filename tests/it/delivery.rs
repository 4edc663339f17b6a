//! Alerts on their way to receivers that fail in every way.

use std::fs;
use std::io::Read;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;

use crate::support::ministack::ministack;
use crate::support::receiver::{Receiver, Request, answer};
use crate::support::tls::Authority;
use crate::support::{self, Daemon, create_user, eventually, free_port, ids, log, user_rule, wait};

/// A daemon on a folder with these records, over a configuration of sinks.
struct Fixture {
    folder: tempfile::TempDir,
    daemon: Daemon,
}

impl Fixture {
    fn start(records: &[&str], sinks: &str, variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        fs::create_dir(path("logs")).unwrap();
        let records: Vec<String> = records.iter().map(|id| create_user(id)).collect();
        fs::write(path("logs/a.json"), log(&records)).unwrap();
        fs::write(path("rule.yml"), support::USER_RULE).unwrap();
        fs::write(path("t.toml"), sinks.replace("{folder}", folder.path().to_str().unwrap())).unwrap();
        let (logs, rule, config) = (path("logs"), path("rule.yml"), path("t.toml"));
        let args = ["-c", &config, "--watch", &logs, "--no-default-detections", "--detections", &rule];
        let daemon = Daemon::start(&args, variables);
        Self { folder, daemon }
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }
}

fn webhook(receiver: &Receiver, more: &str) -> String {
    format!("[[webhook]]\nname = \"siem\"\nurl = \"{}\"\n{more}\n", receiver.url())
}

fn statuses(requests: &[Request]) -> Vec<u16> {
    requests.iter().map(|request| request.status).collect()
}

#[test]
fn an_alert_is_a_signed_post() {
    wait(async {
        let receiver = Receiver::start(vec![]).await;
        let old = tempfile::NamedTempFile::new().unwrap();
        fs::write(old.path(), "whsec_b2xk\n").unwrap();
        let secrets = format!(
            "secrets = [{{ env = \"S\" }}, {{ file = \"{}\" }}]\ntoken = {{ env = \"T\" }}",
            old.path().display()
        );
        let variables = [("S", "whsec_bmV3"), ("T", "tok")];
        let mut fixture = Fixture::start(&["1"], &webhook(&receiver, &secrets), &variables);
        let request = receiver.received(1).await.remove(0);
        let alert = request.alert();
        assert_eq!(request.header("content-type"), "application/json");
        assert_eq!(request.header("idempotency-key"), alert["id"].as_str().unwrap());
        assert_eq!(request.header("webhook-id"), alert["id"].as_str().unwrap());
        assert_eq!(request.header("authorization"), "Bearer tok");
        let signed = format!(
            "{}.{}.{}",
            request.header("webhook-id"),
            request.header("webhook-timestamp"),
            request.body
        );
        let signature = |key: &[u8]| {
            let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key).unwrap();
            mac.update(signed.as_bytes());
            format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
        };
        assert_eq!(
            request.header("webhook-signature"),
            format!("{} {}", signature(b"new"), signature(b"old"))
        );
        assert_eq!((alert["version"].as_u64(), alert["status"].as_str()), (Some(1), Some("match")));
        fixture.daemon.stop();
        let text = fixture.daemon.stderr();
        assert!(!text.contains("bmV3") && !text.contains("tok\""), "{text}");
    });
}

#[test]
fn own_certificates_on_both_sides() {
    wait(async {
        let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
        authority.write(folder.path());
        let receiver = Receiver::serve(authority.listen().await, vec![]);
        let path = |name: &str| folder.path().join(name).display().to_string();
        let url = format!("[[webhook]]\nurl = \"https://localhost:{}/hook\"\n", receiver.port);
        let ca = format!("ca = \"{}\"\n", path("ca.pem"));
        let client =
            format!("client_cert = \"{}\"\nclient_key = \"{}\"\n", path("client.pem"), path("client.key"));

        for (sinks, reason) in
            [(url.clone() + &client, "certificate"), (url.clone() + &ca, "delivery failed")]
        {
            let mut fixture = Fixture::start(&["1"], &sinks, &[]);
            fixture.daemon.says(reason);
            assert!(receiver.requests().is_empty(), "one side does not trust the other");
            fixture.daemon.signal("KILL");
        }
        let mut fixture = Fixture::start(&["1"], &(url + &ca + &client), &[]);
        receiver.received(1).await;
        fixture.daemon.stop();
    });
}

#[test]
fn a_proxy_is_used_only_if_it_is_configured() {
    wait(async {
        let proxy = Receiver::start(vec![]).await;
        let address = format!("http://127.0.0.1:{}", proxy.port);
        let sinks =
            "allow_http = [\"collector.invalid\"]\n[[webhook]]\nurl = \"http://collector.invalid/hook\"\n";
        let environment =
            [("HTTP_PROXY", address.as_str()), ("http_proxy", &address), ("ALL_PROXY", &address)];
        let mut fixture = Fixture::start(&["1"], sinks, &environment);
        fixture.daemon.says("delivery failed");
        assert!(proxy.requests().is_empty(), "the environment has no say");
        fixture.daemon.signal("KILL");

        let mut fixture = Fixture::start(&["1"], &format!("{sinks}proxy = \"{address}\"\n"), &[]);
        let request = proxy.received(1).await.remove(0);
        assert_eq!(request.header("host"), "collector.invalid");
        fixture.daemon.stop();
    });
}

#[test]
fn splunk_gets_its_envelope() {
    wait(async {
        let receiver = Receiver::start(vec![]).await;
        let more = "format = \"splunk-hec\"\ntoken = { env = \"T\" }";
        let mut fixture = Fixture::start(&["1"], &webhook(&receiver, more), &[("T", "hec")]);
        let request = receiver.received(1).await.remove(0);
        assert_eq!(request.header("authorization"), "Splunk hec");
        let envelope: Value = serde_json::from_str(&request.body).unwrap();
        assert_eq!(envelope["time"].as_f64(), Some(1_772_359_200.0));
        assert_eq!(envelope["event"]["rule"]["id"], "user-created");
        fixture.daemon.stop();
    });
}

#[test]
fn a_receiver_that_fails_is_tried_until_it_does_not() {
    wait(async {
        let script =
            vec![answer(500), answer(503), answer(429).with("retry-after", "2"), answer(408), answer(425)];
        let receiver = Receiver::start(script).await;
        let mut fixture = Fixture::start(&["1"], &webhook(&receiver, ""), &[]);
        let requests = receiver.received(6).await;
        assert_eq!(statuses(&requests), [500, 503, 429, 408, 425, 200]);
        let waited = requests[3].at.duration_since(requests[2].at);
        assert!(waited >= Duration::from_secs(2), "Retry-After is honoured: {waited:?}");
        let keys: std::collections::BTreeSet<&str> =
            requests.iter().map(|request| request.header("webhook-id")).collect();
        assert_eq!(keys.len(), 1);
        fixture.daemon.stop();
        assert_eq!(receiver.requests().len(), 6);
    });
}

#[test]
fn a_slow_receiver_times_out_and_is_tried_again() {
    wait(async {
        let receiver = Receiver::start(vec![answer(200).after(Duration::from_secs(5))]).await;
        let mut fixture = Fixture::start(&["1"], &webhook(&receiver, "timeout = \"500ms\""), &[]);
        receiver.received(2).await;
        fixture.daemon.stop();
        assert!(fixture.daemon.stderr().contains("delivery failed, to be tried again"));
    });
}

#[test]
fn a_receiver_that_is_down_gets_everything_once_it_is_up() {
    wait(async {
        let port = free_port();
        let sinks = format!(
            "[[webhook]]\nname = \"siem\"\nurl = \"http://127.0.0.1:{port}/hook\"\n[[file]]\nname = \"local\"\npath = \"{{folder}}/alerts\"\n"
        );
        let mut fixture = Fixture::start(&["1", "2", "3"], &sinks, &[]);
        fixture.daemon.says("the sink is down");
        // The other sink is not held up.
        assert_eq!(fixture.read("alerts").lines().count(), 3);
        let receiver = Receiver::start_on(port, vec![]).await;
        let requests = receiver.received(3).await;
        fixture.daemon.stop();
        let sent: Vec<Value> = requests.iter().map(Request::alert).collect();
        assert_eq!(ids(&sent), ids(&support::alerts(&fixture.read("alerts"))));
        assert!(fixture.daemon.stderr().contains("the sink is up again"));
    });
}

#[test]
fn a_sink_that_is_set_up_wrongly_loses_nothing() {
    wait(async {
        for status in [401, 403, 404, 410, 302] {
            let wrong = answer(status).with("location", "http://127.0.0.1:1/");
            let receiver = Receiver::start(vec![wrong; 16]).await;
            let sinks = webhook(&receiver, "") + "[[file]]\nname = \"local\"\npath = \"{folder}/alerts\"\n";
            let mut fixture = Fixture::start(&["1", "2"], &sinks, &[]);
            fixture.daemon.says("the sink is set up wrongly");
            eventually("the other sink", || (fixture.read("alerts").lines().count() == 2).then_some(()));
            assert!(receiver.requests().len() <= 2, "it is left alone for a while");
            fixture.daemon.signal("KILL");
        }
    });
}

#[test]
fn an_alert_that_the_receiver_dislikes_stops_no_other() {
    wait(async {
        let receiver = Receiver::start(vec![]).await;
        receiver.dislike("\"eventID\":\"poison\"", answer(403));
        let mut fixture = Fixture::start(&["poison"], &webhook(&receiver, ""), &[]);
        fixture.daemon.says("the sink is set up wrongly");
        for id in ["1", "2", "3"] {
            let path = fixture.folder.path().join(format!("logs/{id}.json"));
            fs::write(path, log(&[create_user(id)])).unwrap();
        }
        eventually("the other alerts", || {
            (statuses(&receiver.requests()).iter().filter(|status| **status == 200).count() == 3)
                .then_some(())
        });
        fixture.daemon.says("the sink is up again");
        fixture.daemon.signal("KILL");
    });
}

#[test]
fn an_object_that_raises_more_than_fits_is_delivered_in_portions() {
    wait(async {
        let ids: Vec<String> = (0..20_000).map(|i| (i % 15_000).to_string()).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let sinks = "[limits]\nin_flight = \"1MiB\"\n[[file]]\npath = \"{folder}/alerts\"\n";
        let mut fixture = Fixture::start(&ids, sinks, &[("TRAILHOUND_GRACE", "1s")]);
        eventually("all alerts", || (fixture.read("alerts").lines().count() == 15_000).then_some(()));
        assert_eq!(fixture.daemon.stop().code(), Some(143));
        assert_eq!(support::ids(&support::alerts(&fixture.read("alerts"))).len(), 15_000);
    });
}

#[test]
fn standard_output_that_nobody_reads_does_not_hold_up_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let records: Vec<String> = (0..500).map(|i| create_user(&i.to_string())).collect();
    fs::write(folder.path().join("a.json"), log(&records)).unwrap();
    let mut daemon = support::command(["run", "--watch", folder.path().to_str().unwrap()])
        .env("TRAILHOUND_GRACE", "1s")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // Once the first alert comes the others follow, more than the 64 KiB that the pipe holds.
    daemon.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let pid = daemon.id().to_string();
    let status = std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(status.success());
    let ended = eventually("the end", || daemon.try_wait().unwrap());
    assert_eq!(ended.code(), Some(143));
}

#[test]
fn a_refused_alert_does_not_stop_the_next_and_is_not_acknowledged() {
    wait(async {
        let (trail, rules) = (ministack().await.trail_with(2, 3).await, user_rule());
        // One alert is refused whenever it comes; the order of the first two is not fixed.
        let receiver = Receiver::start(vec![]).await;
        let refusing = Receiver::start(vec![answer(413); 64]).await;
        let key = "AWSLogs/1/CloudTrail/us-east-1/x.json";
        trail.notify_queue().await;
        let config = format!(
            "[[queue]]\nurl = \"{{queue}}\"\nbuckets = [{{ name = \"{{bucket}}\" }}]\nvisibility = \"2s\"\n{}[[webhook]]\nname = \"refusing\"\nurl = \"{}\"\n",
            webhook(&receiver, ""),
            refusing.url()
        );
        let args = ["--no-default-detections", "--detections", rules.path().to_str().unwrap()];
        let (mut daemon, _config) = trail.daemon_with(&config, &args);
        trail.put(key, log(&[create_user("1"), create_user("2")])).await;
        trail.dead(1).await;
        daemon.stop();
        let taken: Vec<Value> = receiver.requests().iter().map(Request::alert).collect();
        assert_eq!(taken.len(), 2, "the sink that took the alerts is not asked again");
        assert_eq!(ids(&taken).len(), 2);
        assert!(refusing.requests().len() >= 4, "every receive tries again");
        assert!(daemon.stderr().contains("alert refused by the receiver"), "{}", daemon.stderr());
    });
}

#[test]
fn an_optional_sink_holds_nothing_back() {
    wait(async {
        let (trail, rules) = (ministack().await.trail().await, user_rule());
        let port = free_port();
        let config = format!(
            "[[queue]]\nurl = \"{{queue}}\"\nbuckets = [{{ name = \"{{bucket}}\" }}]\n[[webhook]]\nname = \"nice\"\nrequired = false\nurl = \"http://127.0.0.1:{port}/hook\"\n"
        );
        let args = ["--no-default-detections", "--detections", rules.path().to_str().unwrap()];
        trail.notify_queue().await;
        trail.put("AWSLogs/1/CloudTrail/us-east-1/x.json", log(&[create_user("1")])).await;
        let (mut daemon, _config) = trail.daemon_with(&format!("grace = \"1s\"\n{config}"), &args);
        trail.drained().await;
        daemon.stop();
    });
}

#[test]
fn a_required_sink_that_is_down_stops_the_intake() {
    wait(async {
        let (trail, rules) = (ministack().await.trail().await, user_rule());
        let port = free_port();
        let config = format!(
            "grace = \"1s\"\n[[queue]]\nurl = \"{{queue}}\"\nbuckets = [{{ name = \"{{bucket}}\" }}]\n[[webhook]]\nname = \"siem\"\nurl = \"http://127.0.0.1:{port}/hook\"\n"
        );
        let args = ["--no-default-detections", "--detections", rules.path().to_str().unwrap()];
        trail.notify_queue().await;
        let key = |i: u32| format!("AWSLogs/1/CloudTrail/us-east-1/{i}.json");
        trail.put(&key(0), log(&[create_user("0")])).await;
        let (mut daemon, _config) = trail.daemon_with(&config, &args);
        daemon.says("a required sink is down; only single messages are received");
        for i in 1..40 {
            trail.put(&key(i), log(&[create_user(&i.to_string())])).await;
        }
        // What was asked for before may still come in; after that messages stay where they are.
        let waiting = trail.counts(&trail.queue).await.0;
        assert!(waiting >= 20, "{waiting} messages wait");
        let receiver = Receiver::start_on(port, vec![]).await;
        let requests = receiver.received(40).await;
        trail.drained().await;
        daemon.stop();
        let alerts: Vec<Value> = requests.iter().map(Request::alert).collect();
        assert_eq!((alerts.len(), ids(&alerts).len()), (40, 40));
    });
}

#[test]
fn an_alert_that_is_too_large_is_shortened_visibly() {
    wait(async {
        let receiver = Receiver::start(vec![]).await;
        let mut fixture = Fixture::start(&["1"], &webhook(&receiver, "max_bytes = \"1500B\""), &[]);
        let alert = receiver.received(1).await[0].alert();
        assert_eq!((&alert["event"], &alert["shortened"]), (&Value::Null, &Value::Bool(true)));
        assert!(alert["origin"]["key"].is_string() && alert["id"].is_string());
        fixture.daemon.stop();
    });
}

#[test]
fn levels_choose_who_is_told() {
    wait(async {
        let receiver = Receiver::start(vec![]).await;
        let sinks = webhook(&receiver, "min_level = \"critical\"")
            + "[[file]]\nname = \"local\"\npath = \"{folder}/alerts\"\n";
        let mut fixture = Fixture::start(&["1"], &sinks, &[]);
        eventually("the file", || (fixture.read("alerts").lines().count() == 1).then_some(()));
        fixture.daemon.stop();
        assert!(receiver.requests().is_empty());
    });
}

#[test]
fn a_replay_delivers_the_same_alerts() {
    wait(async {
        let receiver = Receiver::start(vec![answer(500)]).await;
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("t.toml");
        fs::write(&config, webhook(&receiver, "")).unwrap();
        let args =
            ["replay", support::trail().to_str().unwrap(), "-c", config.to_str().unwrap(), "--deliver"]
                .map(str::to_owned);
        let replayed = tokio::task::spawn_blocking(move || support::run(args)).await.unwrap();
        assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
        let sent: Vec<Value> =
            receiver.requests().iter().filter(|request| request.status == 200).map(Request::alert).collect();
        assert_eq!(ids(&sent), ids(&replayed.alerts()));
        assert_eq!(sent.len(), replayed.alerts().len());
    });
}

#[test]
fn link_local_addresses_are_refused() {
    for url in ["https://169.254.169.254/", "http://169.254.170.2/", "http://example.com/hook"] {
        let ended = support::run(["run", "--watch", ".", "--webhook", url]);
        assert_eq!(ended.code, Some(2), "{url}: {}", ended.stderr);
        assert!(ended.stderr.contains("--webhook: "), "{url}: {}", ended.stderr);
    }
}
