//! Input that is damaged, hostile or odd: each has a clear answer, and nothing that can be read is lost.

use std::fs;

use serde_json::Value;

use crate::support::{create_user, gzip, log, run, run_with_input, user_rule};

/// What a file of these bytes leads to.
struct Found {
    code: Option<i32>,
    alerts: usize,
    unreadable: Vec<String>,
    anomalies: Vec<String>,
    records: u64,
    undecodable: Value,
    stderr: String,
}

fn replay(bytes: &[u8]) -> Found {
    let (folder, rules) = (tempfile::tempdir().unwrap(), user_rule());
    let (file, summary) = (folder.path().join("log.json.gz"), folder.path().join("summary"));
    fs::write(&file, bytes).unwrap();
    let args =
        ["replay", file.to_str().unwrap(), "--summary", summary.to_str().unwrap(), "--no-default-detections"];
    let replayed = run(args.into_iter().chain(["--detections", rules.path().to_str().unwrap()]));
    let alerts = replayed.alerts().len();
    let summary: Value = serde_json::from_str(&fs::read_to_string(summary).unwrap()).unwrap();
    let reasons = |key: &str| {
        let remarks = summary[key].as_array().unwrap();
        remarks.iter().map(|remark| remark["reason"].as_str().unwrap().to_owned()).collect()
    };
    Found {
        code: replayed.code,
        alerts,
        unreadable: reasons("unreadable"),
        anomalies: reasons("anomalies"),
        records: summary["records"].as_u64().unwrap(),
        undecodable: summary["undecodable"].clone(),
        stderr: replayed.stderr,
    }
}

fn users(ids: std::ops::Range<u32>) -> Vec<u8> {
    log(&ids.map(|id| create_user(&id.to_string())).collect::<Vec<_>>())
}

fn check(bytes: &[u8], code: i32, alerts: usize, unreadable: &[&str], anomalies: &[&str]) -> Found {
    let found = replay(bytes);
    assert_eq!(found.code, Some(code), "{}", found.stderr);
    assert_eq!(found.alerts, alerts, "{}", found.stderr);
    assert_eq!(found.unreadable, unreadable, "{}", found.stderr);
    assert_eq!(found.anomalies, anomalies, "{}", found.stderr);
    found
}

#[test]
fn an_empty_file() {
    let found = check(b"", 3, 0, &["empty"], &[]);
    assert!(found.stderr.contains("the object is empty"), "{}", found.stderr);
}

#[test]
fn a_truncated_gzip_gives_its_readable_prefix() {
    let whole = gzip(&users(0..500));
    let found = replay(&whole[..whole.len() * 2 / 3]);
    assert_eq!((found.code, found.unreadable), (Some(3), vec!["truncated".to_owned()]));
    assert!(found.alerts > 100 && found.alerts < 500, "{}", found.alerts);
}

#[test]
fn a_gzip_bomb_stops_at_its_limit() {
    let mut bomb = users(0..3);
    let head = bomb.len();
    bomb.resize(head + (600 << 20), b' ');
    check(&gzip(&bomb), 3, 3, &["over-limit"], &[]);
}

#[test]
fn a_second_member_is_read_and_told() {
    check(&[gzip(&users(0..2)), gzip(&users(2..5))].concat(), 0, 5, &[], &["extra-members"]);
}

#[test]
fn a_hundred_thousand_empty_members_are_read_through() {
    let bytes = [gzip(b"").repeat(100_000), gzip(&users(0..2))].concat();
    check(&bytes, 0, 2, &[], &["extra-members"]);
}

#[test]
fn trailing_bytes_are_told() {
    check(&[gzip(&users(0..2)), b"trailing".to_vec()].concat(), 0, 2, &[], &["trailing-bytes"]);
}

#[test]
fn a_wrong_check_sum_is_told_after_everything_was_read() {
    let mut bytes = gzip(&users(0..2));
    let at = bytes.len() - 5;
    bytes[at] ^= 0x55;
    check(&bytes, 3, 2, &["corrupt"], &[]);
}

#[test]
fn json_nested_100_000_deep_is_one_bad_record() {
    let deep =
        format!(r#"{{"eventName":"CreateUser","a":{}1{}}}"#, r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
    let found = check(&log(&[create_user("1"), deep, create_user("2")]), 3, 2, &["records"], &[]);
    assert_eq!(found.undecodable, serde_json::json!({"too-deep": 1}));
    let lists = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let found =
        check(format!(r#"{{"Records":[{lists},{}]}}"#, create_user("1")).as_bytes(), 3, 1, &["records"], &[]);
    assert_eq!(found.undecodable, serde_json::json!({"not-an-object": 1}));
}

#[test]
fn records_that_is_not_a_list() {
    for value in ["7", "null", "{}", "\"x\""] {
        check(format!(r#"{{"Records":{value}}}"#).as_bytes(), 3, 0, &["records-not-a-list"], &[]);
    }
}

#[test]
fn elements_that_are_no_objects() {
    let text = format!(
        r#"{{"Records":[1,{},"x",null,[{}],{}]}}"#,
        create_user("1"),
        create_user("9"),
        create_user("2")
    );
    let found = check(text.as_bytes(), 3, 2, &["records"], &[]);
    assert_eq!((found.records, found.undecodable), (6, serde_json::json!({"not-an-object": 4})));
}

#[test]
fn invalid_utf_8_is_replaced_and_told() {
    let mut text = log(&[create_user("1"), create_user("2")]);
    let at = text.windows(3).position(|bytes| bytes == b"bob").unwrap();
    text[at] = 0xff;
    check(&text, 0, 2, &[], &["repaired-records"]);
}

#[test]
fn lone_surrogates_and_huge_numbers_are_evaluated() {
    let odd = create_user("1").replace("\"bob\"", r#""\ud83d","n":123456789012345678901234567890"#);
    check(&log(&[odd]), 0, 1, &[], &["repaired-records"]);
}

#[test]
fn the_last_of_duplicate_keys_counts() {
    let record = |first: &str, last: &str| {
        create_user("1").replace(
            "\"eventName\":\"CreateUser\"",
            &format!(r#""eventName":"{first}","eventName":"{last}""#),
        )
    };
    check(&log(&[record("ListUsers", "CreateUser")]), 0, 1, &[], &[]);
    check(&log(&[record("CreateUser", "ListUsers")]), 0, 0, &[], &[]);
}

#[test]
fn a_string_of_300_mb_is_one_bad_record() {
    let huge = create_user("9").replace("\"bob\"", &format!("\"{}\"", "x".repeat(300 << 20)));
    let found = check(&gzip(&log(&[create_user("1"), huge, create_user("2")])), 3, 2, &["records"], &[]);
    assert_eq!(found.undecodable, serde_json::json!({"too-large": 1}));
}

#[test]
fn a_record_of_many_keys_is_read_in_little_time() {
    let keys: Vec<String> = (0..200_000).map(|key| format!(r#""key{key}":"v""#)).collect();
    let many =
        create_user("1").replace(r#""userName":"bob""#, &format!(r#"{},"userName":"bob""#, keys.join(",")));
    let started = std::time::Instant::now();
    check(&log(&[many]), 0, 1, &[], &[]);
    assert!(started.elapsed() < std::time::Duration::from_secs(30), "{:?}", started.elapsed());
}

#[test]
fn escapes_do_not_hide_an_event() {
    let hidden = create_user("1")
        .replace("\"eventName\":\"CreateUser\"", r#""eventNam\u0065" : "\u0043reateUser""#)
        .replace("iam.amazonaws.com", r"i\u0061m.amazonaws.com");
    check(&log(&[hidden]), 0, 1, &[], &[]);
}

#[test]
fn every_layout_of_documents() {
    let record = |id: &str| create_user(id);
    let pretty = |id: &str| {
        serde_json::to_string_pretty(&serde_json::from_str::<Value>(&record(id)).unwrap()).unwrap()
    };
    let cases = [
        format!("[{},{}]", record("1"), record("2")),
        format!("{}\n{}\n", record("1"), record("2")),
        format!("{}{}", record("1"), record("2")),
        format!("{}\n{}", pretty("1"), pretty("2")),
        format!("{{\n  \"Records\" : [\n{} ,\n{}\n]\n}}\n", pretty("1"), pretty("2")),
        format!("\u{feff}{{\"Records\":[{}]}}\n{}", record("1"), record("2")),
    ];
    for text in cases {
        check(text.as_bytes(), 0, 2, &[], &[]);
        check(&gzip(text.as_bytes()), 0, 2, &[], &[]);
    }
}

#[test]
fn a_bad_line_does_not_take_the_others_with_it() {
    let text = format!(
        "{}\n{{\"cut\":\"off\n{}\nnot json\n{}\n",
        create_user("1"),
        create_user("2"),
        create_user("3")
    );
    let found = check(text.as_bytes(), 3, 3, &["records"], &[]);
    assert_eq!(found.undecodable, serde_json::json!({"malformed": 1, "not-an-object": 1}));
}

#[test]
fn what_is_no_log_at_all() {
    check(b"<html>503</html>", 3, 0, &["records", "not-json"], &[]);
    check(b"\x1f\x8b", 3, 0, &["truncated"], &[]);
    check(b"{\"Records\":[", 3, 0, &["truncated-json"], &[]);
}

#[test]
fn standard_input_is_read_like_a_file() {
    let rules = user_rule();
    let args = ["replay", "-", "--no-default-detections", "--detections", rules.path().to_str().unwrap()];
    let replayed = run_with_input(args, &gzip(&users(0..3)));
    assert_eq!((replayed.code, replayed.alerts().len()), (Some(0), 3));
    assert_eq!(replayed.alerts()[0]["origin"]["kind"], "stdin");
    let broken = run_with_input(args, b"{\"Records\":7}");
    assert_eq!(broken.code, Some(3));
}
