use super::*;
use crate::alert::SinkTarget;
use crate::sigma::Level;

fn read(text: &str, variables: &[(&str, &str)], flags: Flags) -> Result<Config, ConfigError> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::read(Some((Path::new("th.toml"), text)), variables, flags)
}

fn problems(text: &str, variables: &[(&str, &str)], flags: Flags) -> Vec<String> {
    read(text, variables, flags)
        .err()
        .map_or(Vec::new(), |error| error.problems.iter().map(Problem::to_string).collect())
}

const FULL: &str = r#"
detections = ["/etc/trailhound/rules"]
listen = "127.0.0.1:9187"
grace = "10s"
lateness = "20m"
window_idle = "2d"
forget_windows = true
allow_http = ["collector.internal"]

[[queue]]
url = "https://sqs.us-east-1.amazonaws.com/111122223333/trail"
buckets = [{ name = "example-trail-bucket", owner = "111122223333", prefixes = ["AWSLogs/"], role = "arn:aws:iam::111122223333:role/read-trail", external_id = "x-1" }]
role = "arn:aws:iam::444455556666:role/queue"
visibility = "5m"

[[webhook]]
name = "siem"
url = "https://siem.example/hook/T0PSECRET"
format = "splunk-hec"
min_level = "medium"
timeout = "20s"
secrets = [{ env = "SIEM_SECRET" }, { file = "/run/secrets/old" }]
token = { env = "HEC" }

[[webhook]]
name = "second"
url = "http://collector.internal/x"
required = false
updates = true

[[file]]
name = "local"
path = "/var/log/alerts.ndjson"

[undecided]
level = "low"
deliver = false

[limits]
in_flight = "64MiB"
"#;

const SECRETS: [(&str, &str); 2] = [("SIEM_SECRET", "whsec_c2VjcmV0"), ("HEC", "hunter2")];

#[test]
fn a_full_file_is_read() {
    let config = read(FULL, &SECRETS, Flags::default()).unwrap();
    assert_eq!(config.queues[0].visibility, Duration::from_mins(5));
    assert_eq!(config.queues[0].role.as_ref().unwrap().arn, "arn:aws:iam::444455556666:role/queue");
    let bucket = &config.queues[0].buckets[0];
    assert_eq!(bucket.owner.as_deref(), Some("111122223333"));
    assert_eq!(bucket.role.as_ref().unwrap().external_id.as_deref(), Some("x-1"));
    assert_eq!(config.sinks.len(), 3);
    assert_eq!(config.sinks[0].min_level, Level::Medium);
    assert!(!config.sinks[1].required && config.sinks[1].updates && !config.sinks[0].updates);
    assert_eq!(
        config.windows,
        WindowConfig { lateness: Duration::from_mins(20), idle: Duration::from_hours(48), forget: true }
    );
    assert_eq!(config.limits, Limits { in_flight: 64 << 20, ..Limits::default() });
    assert_eq!(config.grace, Duration::from_secs(10));
    assert_eq!(config.undecided, Undecided { level: Some(Level::Low), deliver: false });
    assert_eq!(read("", &[], Flags::default()).unwrap().undecided, Undecided::default());
}

#[test]
fn secrets_are_not_shown() {
    let config = read(FULL, &SECRETS, Flags::default()).unwrap();
    let shown = config.show() + &format!("{config:?}");
    for secret in ["c2VjcmV0", "hunter2", "x-1\""] {
        assert!(!config.show().contains(secret), "{shown}");
    }
    assert!(!shown.contains("T0PSECRET"), "{shown}");
    assert!(!shown.contains("c2VjcmV0") && !shown.contains("hunter2"), "{shown}");
    for line in [
        "url = \"https://siem.example/…\"",
        "env = \"SIEM_SECRET\"",
        "file = \"/run/secrets/old\"",
        "in_flight = \"64MiB\"",
    ] {
        assert!(shown.contains(line), "{line} in {shown}");
    }
}

#[test]
fn every_problem_is_reported_at_once() {
    let text =
        "listen = \"nowhere\"\nfoo = 1\n[[queue]]\nurl = \"x\"\nvisibility = 30\n[limits]\nrecord = \"4\"\n";
    let found = problems(text, &[], Flags::default());
    let expected = [
        "th.toml:1: `listen`: invalid socket address syntax",
        "th.toml:2: unknown key `foo`",
        "th.toml:3: `queue[0].buckets`: is missing",
        "th.toml:4: `queue[0].url`: not a queue URL: relative URL without a base",
        "th.toml:5: `queue[0].visibility`: expected a duration such as \"30s\", \"5m\" or \"1h\" in quotes",
        "th.toml:7: `limits.record`: expected a size such as \"4MiB\" or \"64KiB\", not `4`",
    ];
    assert_eq!(found, expected);
}

#[test]
fn single_problems() {
    let webhook = "[[webhook]]\nname = \"a\"\n";
    let bucket = "[[queue]]\nurl = \"https://sqs.x/1/q\"\nbuckets = [{ name = \"b\" }]\n";
    let cases = [
        ("detections = [", "th.toml:1: unclosed array"),
        ("lateness = \"30s\"", "th.toml:1: `lateness`: must lie between 1m and 24h"),
        ("window_idle = \"30m\"", "th.toml:1: `window_idle`: must lie between `lateness` and 32d"),
        ("window_idle = \"33d\"", "must lie between `lateness` and 32d"),
        ("lateness = \"25h\"", "th.toml:1: `lateness`: must lie between 1m and 24h"),
        ("[[webhook]]\nname = \"x\"", "`webhook[0].url`: is missing"),
        (&format!("{webhook}url = \"http://x/\""), "plain http"),
        (&format!("{webhook}url = \"https://x/\"\nfoo = 1"), "unknown key `webhook[0].foo`"),
        (&format!("{webhook}url = \"https://x/\"\nmin_level = \"severe\""), "`severe` is no level"),
        (
            &format!("{webhook}url = \"https://x/\"\nsecrets = [{{ env = \"NOPE\" }}]"),
            "no environment variable of this name",
        ),
        (
            &format!("{webhook}url = \"https://x/\"\nsecrets = [{{ env = \"A\", file = \"b\" }}]"),
            "either `env` or `file`",
        ),
        (&format!("{webhook}url = \"https://x/\"\nclient_cert = \"c\""), "goes together"),
        (
            &format!("{webhook}url = \"https://x/\"\n{webhook}url = \"https://y/\""),
            "two sinks are called `a`",
        ),
        (&format!("{bucket}visibility = \"1s\""), "between 2s and 12h"),
        (&format!("{bucket}external_id = \"x\""), "goes with `role`"),
        (&format!("{bucket}{bucket}"), "given twice"),
        (&bucket.replace("name = \"b\"", "name = \"b\", owner = \"12\""), "12 digits"),
        (&bucket.replace("{ name = \"b\" }", ""), "there is none"),
        ("queue = \"x\"", "list of tables"),
        ("limits = 7", "expected a table"),
        ("keep_going = \"yes\"", "true or false"),
        ("reload = \"watch\"", "`reload`: expected \"signal\" or \"change\", not `watch`"),
        ("[limits]\nrecord = \"1GiB\"", "larger than"),
        ("[limits]\nin_flight = \"0B\"", "expected a size"),
        (&format!("{webhook}url = \"https://x/\"\ntimeout = \"0s\""), "more than nothing"),
        ("[undecided]\nlevel = \"severe\"", "`severe` is no level"),
        ("[undecided]\ndeliver = \"no\"", "true or false"),
        ("[undecided]\nmin_level = \"low\"", "unknown key"),
        ("watch = [\"a\", \"a\"]", "watched twice"),
        ("allow_http = [\"http://x\"]", "names of hosts"),
        (&bucket.replace("https://", "https://u:p@"), "no credentials"),
    ];
    for (text, expected) in cases {
        let found = problems(text, &[], Flags::default());
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].contains(expected), "{text}: {found:?}");
    }
}

#[test]
fn variables_set_scalars() {
    let variables = [
        ("TRAILHOUND_LIMITS__IN_FLIGHT", "1MiB"),
        ("TRAILHOUND_LISTEN", "127.0.0.1:1"),
        ("TRAILHOUND_KEEP_GOING", "true"),
        ("TRAILHOUND_RELOAD", "change"),
    ];
    let config = read("[limits]\nin_flight = \"2MiB\"", &variables, Flags::default()).unwrap();
    assert_eq!(config.limits.in_flight, 1 << 20);
    assert!(config.keep_going && config.reload == ReloadOn::Change);
    assert_eq!(config.listen.unwrap().port(), 1);
    let found =
        problems("", &[("TRAILHOUND_LIMIT__RECORD", "1MiB"), ("TRAILHOUND_LISTEN", "x")], Flags::default());
    assert_eq!(
        found,
        [
            "environment variable TRAILHOUND_LISTEN: `listen`: invalid socket address syntax",
            "environment variable TRAILHOUND_LIMIT__RECORD: unknown key `limit`; variables that begin with TRAILHOUND_ are settings",
        ]
    );
    let found = problems("", &[("TRAILHOUND_QUEUE", "x")], Flags::default());
    assert!(found[0].contains("list of tables"), "{found:?}");
}

#[test]
fn flags_win_and_lists_add_up() {
    let flags = Flags {
        queue_urls: vec!["http://127.0.0.1:4566/000000000000/trail".into()],
        buckets: vec!["b".into()],
        watch: vec!["w".into()],
        webhooks: vec!["http://127.0.0.1:1/".into()],
        detections: vec!["d".into()],
        no_default_detections: true,
        values: Some("w.yml".into()),
        listen: Some("127.0.0.1:2".parse().unwrap()),
        log: Some(LogFormat::Json),
        ..Flags::default()
    };
    let file = "detections = [\"c\"]\nlisten = \"127.0.0.1:1\"\nvalues = \"v.yml\"";
    let config = read(file, &[], flags).unwrap();
    assert_eq!(config.values, Some(PathBuf::from("w.yml")));
    let variable = read(file, &[("TRAILHOUND_VALUES", "x.yml")], Flags::default()).unwrap();
    assert_eq!(variable.values, Some(PathBuf::from("x.yml")));
    assert_eq!(config.detections, [PathBuf::from("c"), PathBuf::from("d")]);
    assert_eq!(config.listen.unwrap().port(), 2);
    assert_eq!((config.queues.len(), config.sinks.len(), config.watch.len()), (1, 1, 1));
    assert!(!config.default_detections);
    assert_eq!(config.log.format, LogFormat::Json);

    let lonely = Flags { buckets: vec!["b".into()], ..Flags::default() };
    assert_eq!(problems("", &[], lonely).len(), 1);
    let open = Flags { queue_urls: vec!["https://sqs.x/1/q".into()], ..Flags::default() };
    assert_eq!(problems("", &[], open).len(), 1);
    let odd = Flags { webhooks: vec!["http://siem.example/".into()], ..Flags::default() };
    assert_eq!(
        problems("", &[], odd),
        ["--webhook: plain http leads only to loopback or to a host named in `allow_http`"]
    );
}

#[test]
fn without_a_sink_alerts_go_to_standard_output() {
    let config = read("", &[], Flags::default()).unwrap();
    assert!(matches!(config.sinks_or_stdout()[0].target, SinkTarget::Stdout));
}

#[test]
fn tuning_is_read_in_its_order() {
    let text = "[[tuning]]\ndetections = ['*']\nenabled = false\n[[tuning]]\ndetections = ['tag:cis.*', 'x']\nlevel = 'low'";
    let tuning = read(text, &[], Flags::default()).unwrap().tuning;
    let told: Vec<String> = tuning
        .adjustments
        .iter()
        .map(|adjustment| {
            let selectors: Vec<String> = adjustment.detections.iter().map(ToString::to_string).collect();
            format!(
                "{} {} {:?} {:?}",
                adjustment.place,
                selectors.join(" "),
                adjustment.enabled,
                adjustment.level
            )
        })
        .collect();
    assert_eq!(told, ["th.toml:1 * Some(false) None", "th.toml:4 tag:cis.* x None Some(Low)"]);
    for (text, expected) in [
        ("[[tuning]]\nenabled = true", "th.toml:1: `tuning[0].detections`: is missing"),
        (
            "[[tuning]]\ndetections = []\nenabled = true",
            "th.toml:1: `tuning[0].detections`: names no detection",
        ),
        ("[[tuning]]\ndetections = ['a']", "th.toml:1: `tuning[0].detections`: nothing is set"),
        (
            "[[tuning]]\ndetections = ['a']\nlevel = 'grave'",
            "th.toml:3: `tuning[0].level`: `grave` is no level",
        ),
        ("[[tuning]]\ndetections = ['a']\nenabled = true\nlevle = 'low'", "th.toml:4: "),
        ("[tuning]\nenable = ['a']", "th.toml:1: `tuning`: expected a list of tables"),
    ] {
        let found = problems(text, &[], Flags::default());
        assert!(found[0].starts_with(expected), "{found:?}");
    }
}

#[test]
fn hostile_files_cost_little() {
    let many = "[[webhook]]\nurl = \"https://x/\"\n".repeat(20_000);
    let cases = [
        ("lists", format!("a = {}", "[".repeat(100_000))),
        ("tables", format!("a = {}", "{a=".repeat(100_000))),
        ("dotted key", format!("{}b = 1", "a.".repeat(100_000))),
        ("dotted header", format!("[{}b]\nc = 1", "a.".repeat(100_000))),
        ("long text", format!("listen = \"{}\"", "x".repeat(1 << 20))),
        ("long key", format!("{} = 1", "x".repeat(1 << 20))),
        ("no text", "a = \"\0\"".to_owned()),
        ("many sinks", many),
        ("endless time", "lateness = \"18446744073709551615d\"".to_owned()),
        ("endless size", "[limits]\nrecord = \"18446744073709551616B\"".to_owned()),
    ];
    for (name, text) in cases {
        assert!(!problems(&text, &[], Flags::default()).is_empty(), "{name}");
    }
    let deep = format!("TRAILHOUND_{}B", "A__".repeat(30_000));
    assert_eq!(problems("", &[(&deep, "x")], Flags::default()).len(), 1);
}

#[test]
fn the_largest_numbers_are_no_danger() {
    let text = "grace = \"18446744073709551615s\"\n[limits]\nin_flight = \"18446744073709551615B\"\n\
                inflated = \"18446744073709551615B\"\nrecord = \"18446744073709551615B\"\noutbox = \"18446744073709551615B\"\n\
                [[webhook]]\nurl = \"https://x/\"\ntimeout = \"18446744073709551615s\"\nmax_bytes = \"18446744073709551615B\"\n";
    let config = read(text, &[], Flags::default()).unwrap();
    assert_eq!(config.limits.decode().inflated, u64::MAX);
}

#[test]
fn an_endless_file_is_refused() {
    let refused = |path: &str| Config::load(Some(Path::new(path)), Flags::default()).unwrap_err().to_string();
    assert!(refused("/dev/zero").contains("larger than 1 MiB"));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), vec![b'#'; (1 << 20) + 1]).unwrap();
    assert!(refused(file.path().to_str().unwrap()).contains("larger than 1 MiB"));
}
