//! Input that is meant to do harm: many rules, patterns that grow, texts that command whatever shows them.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{
    Daemon, USER_RULE, command, create_user, eventually, folder, log, run, run_with_input, user_rule,
};

/// Rules of every cost, 25 to a file.
fn many_rules(count: usize) -> tempfile::TempDir {
    let forms = [
        "s: {eventSource: iam.amazonaws.com, eventName: NUMBER}\n  condition: s",
        "s: {eventName|startswith: NUMBER, userAgent|contains: [a-NUMBER, b-NUMBER]}\n  condition: s",
        "s: {requestParameters.name|re: '^x[0-9]{1,40}NUMBER$'}\n  f: {errorCode: null}\n  condition: s and not f",
        "s: [word-NUMBER]\n  condition: s",
        "s: {sourceIPAddress|cidr: 10.0.0.0/8}\n  t: {userIdentity.arn|endswith: 'role/NUMBER'}\n  condition: all of them",
    ];
    let folder = tempfile::tempdir().unwrap();
    let rule = |number: usize| {
        let form = forms[number % forms.len()].replace("NUMBER", &number.to_string());
        format!(
            "title: R{number}\nid: r-{number}\nlevel: low\nlogsource: {{product: aws, service: cloudtrail}}\ndetection:\n  {form}\n"
        )
    };
    for file in 0..count / 25 {
        let text: Vec<String> = (0..25).map(|at| rule(file * 25 + at)).collect();
        fs::write(folder.path().join(format!("{file}.yml")), text.join("---\n")).unwrap();
    }
    folder
}

#[test]
fn ten_thousand_rules_load_within_bounds() {
    let (rules, logs) = (many_rules(10_000), tempfile::tempdir().unwrap());
    fs::write(rules.path().join("user.yml"), USER_RULE).unwrap();
    let records: Vec<String> = (0..1_000).map(|id| create_user(&id.to_string())).collect();
    fs::write(logs.path().join("a.json"), log(&records)).unwrap();
    let path = |folder: &tempfile::TempDir| folder.path().to_str().unwrap().to_owned();
    let args = [
        "replay".to_owned(),
        path(&logs),
        "--no-default-detections".into(),
        "--detections".into(),
        path(&rules),
    ];
    let started = Instant::now();
    let mut child = command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // What the system counts of a child that has ended begins with what its parent had.
    let mut most = 0;
    let status = loop {
        most = peak(child.id()).unwrap_or(most);
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    assert!(status.success() && most > 0);
    // Without optimisation, on a machine that does other things; optimised it takes a second or two.
    assert!(started.elapsed() < Duration::from_mins(1), "{:?}", started.elapsed());
    assert!(most < 1 << 20, "{most} KiB");
}

/// The most memory that a process has had so far, in KiB; none if it has ended.
fn peak(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

#[test]
fn patterns_that_grow_are_refused() {
    let rule = |pattern: &str| USER_RULE.replace("eventName: CreateUser", &format!("a|re: '{pattern}'"));
    let patterns = [
        "(a{1000}){1000}",
        "((((a{90}){90}){90}){90}){90}",
        "\\w{100000}",
        "(\\pL{999}|x){999}",
        "a{4294967295}",
    ];
    let files: Vec<(String, String)> = patterns
        .iter()
        .enumerate()
        .map(|(number, pattern)| (format!("{number}.yml"), rule(pattern)))
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let rules = folder(&files);
    let checked = run(["rules", "check", rules.path().to_str().unwrap()]);
    assert_eq!(checked.code, Some(2), "{}", checked.stderr);
    for (name, _) in files {
        assert!(checked.stderr.contains(&format!("{name}:6: ")), "{name} in {}", checked.stderr);
    }
}

#[test]
fn a_pattern_that_makes_others_backtrack_takes_no_longer() {
    let rule = USER_RULE.replace("eventName: CreateUser", "requestParameters.userName|re: '^(a+)+(b|a*)*$'");
    let rules = folder(&[("slow.yml", &rule)]);
    let record = create_user("1").replace("bob", &format!("{}!", "a".repeat(100_000)));
    let args = ["replay", "-", "--no-default-detections", "--detections", rules.path().to_str().unwrap()];
    let started = Instant::now();
    let replayed = run_with_input(args, &log(&[record]));
    assert_eq!((replayed.code, replayed.alerts().len()), (Some(0), 0), "{}", replayed.stderr);
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

/// Escape sequences of a terminal, in one byte and in two, a turned direction and what nobody sees.
const COMMANDS: &str = "\u{1b}[2J\u{9b}31m\u{202e}gpj.\u{200b}\r";

/// Whether a text commands a terminal; lines and columns are ours.
fn commands(text: &str) -> bool {
    text.chars().any(|c| c.is_control() && !"\n\t".contains(c) || "\u{202e}\u{200b}".contains(c))
}

#[test]
fn nothing_in_an_event_commands_a_terminal() {
    let escaped: String = COMMANDS.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    let record = create_user("1").replace("bob", &format!("{escaped}<!channel>")).replace("ann", &escaped);
    let rules = user_rule();
    let args = ["replay", "-", "--format", "table", "--no-default-detections", "--detections"];
    let shown = run_with_input([&args[..], &[rules.path().to_str().unwrap()]].concat(), &log(&[record]));
    assert!(shown.stdout.contains("User created"), "{}", shown.stdout);
    assert!(!commands(&shown.stdout) && !commands(&shown.stderr), "{:?}", (shown.stdout, shown.stderr));
}

#[test]
fn nothing_in_a_name_commands_a_terminal_or_forges_a_line() {
    let (logs, rules) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let name = format!("{COMMANDS}\n2026-03-01T00:00:00Z ERROR forged");
    fs::write(logs.path().join(format!("{name}.json")), "no json").unwrap();
    fs::write(rules.path().join(format!("{name}.yml")), "title: [").unwrap();
    fs::write(rules.path().join("user.yml"), USER_RULE).unwrap();
    let (logs, rules) = (logs.path().to_str().unwrap(), rules.path().to_str().unwrap());
    let common = ["--keep-going", "--no-default-detections", "--detections", rules];
    let replayed = run([&["replay", logs][..], &common].concat());
    assert_eq!(replayed.code, Some(3));
    let checked = run(["rules", "check", rules]);
    for log in ["text", "json"] {
        let mut daemon = Daemon::start(&[&["--watch", logs, "--log", log][..], &common].concat(), &[]);
        daemon.says("forged");
        daemon.stop();
        let text = daemon.stderr();
        assert!(!commands(&text), "{text:?}");
        assert!(!text.lines().any(|line| line.starts_with("2026-03-01T00:00:00Z ERROR forged")), "{text}");
    }
    for text in [replayed.stderr, checked.stderr, checked.stdout] {
        assert!(!commands(&text), "{text:?}");
    }
}

#[test]
fn links_back_and_forth_end() {
    let (logs, rules) = (tempfile::tempdir().unwrap(), user_rule());
    for one in 0..12 {
        let inner = logs.path().join(one.to_string());
        fs::create_dir(&inner).unwrap();
        for other in 0..12 {
            std::os::unix::fs::symlink(format!("../{other}"), inner.join(format!("to-{other}"))).unwrap();
        }
    }
    fs::write(logs.path().join("0/a.json"), log(&[create_user("1")])).unwrap();
    let args = ["--no-default-detections", "--detections", rules.path().to_str().unwrap()];
    let args = [&["--watch", logs.path().to_str().unwrap()][..], &args].concat();
    let mut daemon = Daemon::start(&args, &[]);
    eventually("the alert", || (daemon.alerts().len() == 1).then_some(()));
    daemon.stop();
}

#[test]
fn metadata_is_refused_in_whatever_way_it_is_written() {
    let urls = [
        "https://0xa9.0xfe.0xa9.0xfe/",
        "https://2852039166/",
        "https://[::ffff:169.254.169.254]/",
        "https://[fd00:ec2::254]/",
        "http://localhost.example/",
    ];
    for url in urls {
        let ended = run(["run", "--watch", ".", "--webhook", url]);
        assert_eq!(ended.code, Some(2), "{url}: {}", ended.stderr);
    }
}
