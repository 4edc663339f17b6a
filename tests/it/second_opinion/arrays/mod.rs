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
//! # What is not compared
//!
//! `fieldref` and keywords within elements, indexes such as `[0]`, which we refuse, and documents within strings.

mod generate;
mod rule;

use std::cell::RefCell;

use proptest::collection::vec;
use proptest::test_runner::{TestCaseError, TestError, TestRunner};

use super::engines::{Answer, ours, theirs};
use super::json::Json;
use super::{config, println_tally};
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
