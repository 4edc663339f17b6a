//! Array matching (`sigma-version: 3`) in both engines: what is asked of the elements of a list.
//!
//! Where the engines differ, the other one is asked about the same rule in words that leave nothing of lists to argue about:
//! for each element and each test it says whether the test holds, by itself and with what is known of
//! tests; then the rule is asked about lists of these flags. It must answer as we do.
//!
//! # Known differences
//!
//! Those of tests, and
//!
//! | difference | the other engine | what decides |
//! |---|---|---|
//! | several lists | behind a list of maps it takes each list as one element; within an element the first one alone | our notes: a path goes on through a list of maps, any element counts |
//!
//! # The pack
//!
//! Its rules about elements are compared on its fixtures. There the other engine sees documents within strings as
//! what they hold, and a condition of a policy as its text (*text of objects* among the differences of tests).
//!
//! # What is not compared
//!
//! `fieldref` and keywords within elements, indexes such as `[0]`, which we refuse, and documents within
//! strings as such.

mod generate;
mod rule;

use std::cell::RefCell;

use proptest::collection::vec;
use proptest::test_runner::{TestCaseError, TestError, TestRunner};
use serde_json::Value;

use super::engines::{Answer, ours, theirs};
use super::json::Json;
use super::{config, has_own_fields, pack_documents, println_tally, records};
use crate::support::root;
use rule::{Body, Elements, Map, Part, about_flags, document, flags};

/// What was compared, in pairs of a rule and a record.
#[derive(Debug, Default)]
struct Tally {
    pairs: usize,
    match_alike: usize,
    differ: usize,
}

fn in_flags(map: &Map, negated: bool, record: &str) -> Answer {
    let record = Json::Object(flags(map, &Json::read(record))).text();
    theirs(&[document(&about_flags(map), negated)], &[record])[0][0]
}

fn compare(rules: &[(Map, bool)], records: &[String], tally: &mut Tally) -> Result<(), String> {
    let documents: Vec<String> = rules.iter().map(|(map, negated)| document(map, *negated)).collect();
    let (ours, theirs) = (ours(&documents, records), theirs(&documents, records));
    for (i, (map, negated)) in rules.iter().enumerate() {
        for (r, record) in records.iter().enumerate() {
            let pair = [ours[i][r], theirs[i][r]];
            tally.pairs += 1;
            tally.match_alike += usize::from(pair == [Answer::Yes; 2]);
            if pair[0] == pair[1] && pair[0] != Answer::Refused {
                continue;
            }
            tally.differ += 1;
            let said = in_flags(map, *negated, record);
            if said != pair[0] {
                let document = &documents[i];
                return Err(format!(
                    "{document}{record}\nwe: {:?}, they: {:?}, and {said:?} in flags",
                    pair[0], pair[1]
                ));
            }
        }
    }
    Ok(())
}

#[test]
fn generated_array_matching_means_the_same() {
    let tally = RefCell::new(Tally::default());
    let cases = (vec((generate::map(), proptest::bool::weighted(0.2)), 10), vec(generate::record(), 20));
    let result = TestRunner::new(config(40)).run(&cases, |(rules, records)| {
        compare(&rules, &records, &mut tally.borrow_mut()).map_err(TestCaseError::fail)
    });
    if let Err(TestError::Fail(reason, _) | TestError::Abort(reason)) = result {
        panic!("{}", reason.message());
    }
    let tally = tally.into_inner();
    println_tally(&tally);
    assert!(tally.pairs > 5_000 && tally.differ < tally.pairs / 5, "{tally:?}");
    assert!(tally.match_alike > tally.pairs / 10, "{tally:?}");
}

#[test]
fn several_lists_are_a_known_difference() {
    let item = super::rule::Item::read(".", r#""y""#);
    let elements =
        |path: &str| Elements { path: path.to_owned(), quantifier: "all", body: Body::Short(item.clone()) };
    let outer = Elements {
        path: "a".to_owned(),
        quantifier: "any",
        body: Body::Map(vec![Part::Elements(elements("b.c"))]),
    };
    let cases = [
        (Part::Elements(elements("a.b")), r#"{"a":[{"b":["x","y"]},{"b":["y"]}]}"#),
        (Part::Elements(outer), r#"{"a":[{"b":[{"c":["y"]},{"c":["x"]}]}]}"#),
    ];
    for (part, record) in cases {
        let map = vec![part];
        let [ours, theirs] =
            [ours, theirs].map(|answers| answers(&[document(&map, false)], &[record.to_owned()])[0][0]);
        assert_eq!(
            [ours, theirs, in_flags(&map, false, record)],
            [Answer::No, Answer::Yes, Answer::No],
            "{record}"
        );
    }
}

/// The document without its id, which is given anew, and without what is ours alone.
fn plain(document: &str) -> String {
    let is_key = |line: &str| line.starts_with(|c: char| c.is_ascii_alphabetic());
    let mut ours_alone = false;
    let lines = document.lines().filter(|line| {
        if is_key(line) {
            ours_alone = line.starts_with("trailhound:") || line.starts_with("id:");
        }
        !ours_alone
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The record with documents in the place of the strings that hold them.
pub(super) fn opened(value: Value) -> Value {
    let member = |(key, value): (String, Value)| match opened(value) {
        condition @ Value::Object(_) if key == "Condition" => (key, condition.to_string().into()),
        value => (key, value),
    };
    match value {
        Value::Array(elements) => elements.into_iter().map(opened).collect(),
        Value::Object(members) => members.into_iter().map(member).collect(),
        Value::String(text) => match serde_json::from_str(&text) {
            Ok(document @ (Value::Object(_) | Value::Array(_))) => opened(document),
            _ => Value::String(text),
        },
        value => value,
    }
}

#[test]
fn the_pack_about_elements_means_the_same_on_its_fixtures() {
    let documents: Vec<String> = pack_documents().iter().map(|text| plain(text)).collect();
    let documents: Vec<String> = documents
        .into_iter()
        .filter(|text| text.contains("sigma-version: 3") && !has_own_fields(text))
        .collect();
    let records = records(&root().join("fixtures/detections"));
    let opened: Vec<String> =
        records.iter().map(|record| opened(serde_json::from_str(record).unwrap()).to_string()).collect();
    let (ours, theirs) = (ours(&documents, &records), theirs(&documents, &opened));
    let mut matches = 0;
    for (i, document) in documents.iter().enumerate() {
        for (r, record) in records.iter().enumerate() {
            assert_eq!(ours[i][r], theirs[i][r], "{document}\n{record}");
            matches += usize::from(ours[i][r] == Answer::Yes);
        }
    }
    assert!(documents.len() > 5 && matches > 20, "{} rules, {matches} matches", documents.len());
}
