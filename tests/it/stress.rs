//! What happens around the daemon in bad hours: the rows of the table "Under stress" in the README.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::support::microburst::Microburst;
use crate::support::receiver::answer;
use crate::support::scene::Scene;
use crate::support::{self, Daemon, eventually, wait};

const WITHIN: Duration = Duration::from_secs(110);

/// Limits the files of a running daemon to so many bytes, as a full disk would.
fn limit_files(daemon: &Daemon, bytes: &str) {
    let pid = daemon.id().to_string();
    let limited =
        Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:unlimited")]).status();
    assert!(limited.expect("util-linux is installed").success());
}

#[test]
fn a_full_disk_is_waited_for() {
    wait(async {
        let scene = Scene::new(vec![]).await;
        // A write beyond the limit then fails, instead of ending the process.
        let command =
            scene.command(&["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"], &scene.trail.stack.endpoint);
        let mut daemon = Daemon::of(command);
        scene.put(0..1).await;
        scene.settles(1, WITHIN).await;
        let journal = fs::metadata(scene.path("state/state.db-wal")).unwrap().len();
        assert!(journal > 40_000, "the next commit lies beyond the limit: {journal}");
        limit_files(&daemon, "40000");
        scene.put(1..20).await;
        daemon.says("the state cannot be written; nothing is acknowledged meanwhile");
        assert!(scene.metric("trailhound_state_failures_total").await > 0.0);
        assert_eq!(scene.taken().len(), 1, "what is not committed is told nobody");
        let (waiting, in_flight) = scene.trail.counts(&scene.trail.queue).await;
        assert_eq!(waiting + in_flight, 19, "nothing is acknowledged");
        assert_eq!(scene.asks("/healthz").await.0, 200, "no restart helps");
        limit_files(&daemon, "unlimited");
        scene.settles(20, WITHIN).await;
        assert_eq!(daemon.stop().code(), Some(143));
        assert!(daemon.stderr().contains("the ledger balances"), "{}", daemon.stderr());
    });
}

#[test]
fn a_state_that_another_process_uses_is_taken_over_at_its_end() {
    wait(async {
        let scene = Scene::new(vec![]).await;
        let mut first = scene.daemon();
        scene.put(0..3).await;
        scene.settles(3, WITHIN).await;
        let mut second = scene.daemon();
        second.says("another process uses the state; waiting for its end");
        first.signal("KILL");
        first.ended();
        second.says("started");
        scene.put(3..6).await;
        scene.settles(6, WITHIN).await;
        second.stop();
    });
}

#[test]
fn a_state_folder_that_cannot_be_written_is_refused() {
    let logs = tempfile::tempdir().unwrap();
    // Nobody makes folders there, not even root.
    let args = ["run", "--watch", logs.path().to_str().unwrap(), "--state", "/sys/trailhound"];
    let ended = support::run(args);
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("/sys/trailhound cannot be used: it must be writable"), "{}", ended.stderr);
}

#[test]
fn a_queue_that_is_gone_may_come_back() {
    wait(async {
        let scene = Scene::new(vec![]).await;
        let mut daemon = scene.daemon();
        scene.put(0..3).await;
        scene.settles(3, WITHIN).await;
        scene.trail.delete_queue().await;
        daemon.says("messages cannot be received");
        scene.becomes("/readyz", 503).await;
        assert_eq!(scene.asks("/healthz").await.0, 200);
        scene.trail.make_queue().await;
        scene.becomes("/readyz", 200).await;
        scene.put(3..6).await;
        scene.settles(6, WITHIN).await;
        daemon.stop();
    });
}

#[test]
fn credentials_that_expire_are_fetched_anew() {
    wait(async {
        let scene = Scene::new(vec![]).await;
        // Each time it gives out credentials for a quarter of a minute, the last part of which is never used; while the
        // file is there it gives none.
        let script = "echo x >> \"$0.asked\"; [ ! -e \"$0.broken\" ] || exit 1; until=$(date -u -d '+15 seconds' +%Y-%m-%dT%H:%M:%SZ)\n\
                      echo \"{\\\"Version\\\":1,\\\"AccessKeyId\\\":\\\"test\\\",\\\"SecretAccessKey\\\":\\\"test\\\",\\\"Expiration\\\":\\\"$until\\\"}\"\n";
        fs::write(scene.path("credentials"), script).unwrap();
        let profile = format!("[default]\ncredential_process = sh {}\n", scene.path("credentials"));
        fs::write(scene.path("profile"), profile).unwrap();
        let mut command = scene.command(&[], &scene.trail.stack.endpoint);
        command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
        command.env("AWS_CONFIG_FILE", scene.path("profile"));
        let mut daemon = Daemon::of(command);
        scene.put(0..2).await;
        scene.settles(2, WITHIN).await;
        fs::write(scene.path("credentials.broken"), "").unwrap();
        daemon.says("messages cannot be received");
        fs::remove_file(scene.path("credentials.broken")).unwrap();
        scene.put(2..4).await;
        scene.settles(4, WITHIN).await;
        let asked = fs::read_to_string(scene.path("credentials.asked")).unwrap();
        assert!(asked.lines().count() >= 3, "{asked}");
        daemon.stop();
    });
}

#[test]
fn expired_tokens_are_tried_again() {
    wait(async {
        let scene = Scene::new(vec![]).await;
        let proxy = Microburst::start(&scene.trail.stack.endpoint).await;
        let rules = json!([
            {"service": "s3", "operation": "GetObject", "error": {"code": "ExpiredToken", "status": 400}, "times": 3},
            {"service": "sqs", "operation": "ReceiveMessage", "error": {"code": "ExpiredToken", "status": 403}, "times": 2},
        ]);
        proxy.rules(rules).await;
        let mut daemon = scene.daemon_through(&proxy.endpoint);
        scene.put(0..3).await;
        daemon.says("messages cannot be received");
        daemon.says("ExpiredToken");
        scene.settles(3, WITHIN).await;
        daemon.stop();
    });
}

#[test]
fn names_that_do_not_resolve_for_a_while() {
    wait(async {
        let scene = Scene::new(vec![]).await;
        let [hosts, order] = ["hosts", "nsswitch.conf"].map(|name| scene.path(name));
        fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
        fs::write(&order, "hosts: files\n").unwrap();
        // The daemon sees files of ours in the place of those of the system.
        let script = "mount --bind \"$1\" /etc/hosts && mount --bind \"$2\" /etc/nsswitch.conf && shift 2 && exec \"$@\"";
        let apart = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh", &hosts, &order];
        let possible = Command::new(apart[0]).args(&apart[1..]).arg("true").output();
        if !possible.is_ok_and(|tried| tried.status.success()) {
            eprintln!("skipped: this system lets nobody mount in a name space of one's own");
            return;
        }
        let port = scene.receiver.port;
        scene.configure(&format!("[[webhook]]\nname = \"siem\"\nurl = \"http://siem.test:{port}/hook\"\n"));
        let endpoint = scene.trail.stack.endpoint.replace("127.0.0.1", "aws.test");
        let mut daemon = Daemon::of(scene.command(&apart, &endpoint));
        scene.put(0..5).await;
        daemon.says("messages cannot be received");
        fs::write(&hosts, "127.0.0.1 localhost aws.test\n").unwrap();
        daemon.says("delivery failed, to be tried again");
        fs::write(&hosts, "127.0.0.1 localhost aws.test siem.test\n").unwrap();
        scene.settles(5, WITHIN).await;
        daemon.stop();
        // A name that leads to an address of metadata is refused whenever it is looked up.
        fs::write(&hosts, "127.0.0.1 localhost aws.test\n169.254.169.254 siem.test\n").unwrap();
        let mut daemon = Daemon::of(scene.command(&apart, &endpoint));
        scene.put(5..6).await;
        daemon.says("no address that alerts may go to");
        daemon.signal("KILL");
    });
}

#[test]
fn a_sink_that_never_answers_holds_up_nobody_else() {
    wait(async {
        let script = vec![answer(500).after(Duration::from_secs(30)); 5];
        let scene = Scene::new(script).await;
        let (url, file) = (scene.receiver.url(), scene.path("alerts"));
        scene.configure(&format!(
            "[[webhook]]\nname = \"siem\"\nurl = \"{url}\"\ntimeout = \"1s\"\n[[file]]\nname = \"local\"\npath = '{file}'\n"
        ));
        let mut daemon = scene.daemon();
        scene.put(0..4).await;
        let lines = || fs::read_to_string(&file).unwrap_or_default().lines().count();
        eventually("the other sink", || (lines() == 4).then_some(()));
        scene.trail.drained().await;
        daemon.says("delivery failed, to be tried again");
        assert!(scene.taken().is_empty());
        scene.settles(4, WITHIN).await;
        assert_eq!(lines(), 4);
        daemon.stop();
    });
}

#[test]
fn a_full_outbox_is_no_sink_that_is_down() {
    wait(async {
        // The receiver takes its time, and everything.
        let slow = || answer(200).after(Duration::from_secs(5));
        let scene = Scene::new((0..40).map(|_| slow()).collect()).await;
        let url = scene.receiver.url();
        scene.configure(&format!(
            "[[webhook]]\nname = \"siem\"\nurl = \"{url}\"\ntimeout = \"1m\"\n[limits]\noutbox = \"1KiB\"\n"
        ));
        let mut command = scene.command(&[], &scene.trail.stack.endpoint);
        // Receives end soon, so that the next one asks whether it may.
        command.env("TRAILHOUND_GRACE", "2s");
        let mut daemon = Daemon::of(command);
        scene.put(0..3).await;
        daemon.says("the outbox is full; only single messages are received");
        let metrics = scene.asks("/metrics").await.1;
        for line in [
            "trailhound_intake{state=\"outbox-full\"} 1\n",
            "trailhound_intake{state=\"open\"} 0\n",
            "trailhound_intake{state=\"sink-down\"} 0\n",
            "trailhound_intake_stopped 1\n",
            "trailhound_sink_up{sink=\"siem\"} 1\n",
        ] {
            assert!(metrics.contains(line), "{line} in {metrics}");
        }
        let ready = scene.asks("/readyz").await;
        let detail = "ready\noutbox-full: the outbox is full; only single messages are received\n";
        assert_eq!(ready, (200, detail.to_owned()));
        daemon.says("receiving as usual again");
        assert_eq!(scene.asks("/readyz").await, (200, "ready\n".to_owned()));
        scene.settles(3, WITHIN).await;
        daemon.stop();
        let text = daemon.stderr();
        assert!(text.contains("as this sink has so much still to take sink=\"siem\""), "{text}");
        assert!(!text.contains("sink is down"), "{text}");
    });
}
