//! A second opinion: our engine against `rsigma-eval`, which no one here wrote.
//!
//! Both are asked about the same rules on the same records. Where they differ, one of them has a defect, or
//! Sigma leaves it open, or we went another way with a reason. The last two are known differences. Each is
//! no excuse but a translation: it says what we mean in words of the other engine, which must then answer as
//! we do. What remains after all translations fails the test.
//!
//! Rules are compared item by item (one field with its modifiers and values), and as a whole where all of
//! their items agree, so that conditions are seen apart from items. Every known difference has an example at
//! which it is needed: without it the translation fails. One that is not needed any more fails, too.
//!
//! # Known differences
//!
//! | difference | the other engine | what decides |
//! |---|---|---|
//! | a test without a field | takes `re`, `cidr`, numbers and encodings for keywords | Sigma, *Keywords search*: keywords are looked for in the whole event; only `all` is described for them. Refusing is louder than guessing |
//! | exists is one boolean | takes anything for true, and the first of several | *Generic modifiers*: `exists` takes a boolean |
//! | null is no text | compares null where a text is asked for | *Special field values*: null is a value of its own, not a text that something can contain |
//! | infinity in a rule | `inf` and `nan` are numbers | *Numeric modifiers* are for numbers; JSON and YAML's plain integers and decimals know no infinity |
//! | case without text | ignores `cased` | *Generic modifiers*: `cased` is about how texts are compared; `re` has `i` for it |
//! | encodings of patterns | encodes the stars | *Encoding* is of a text; a star stands for texts that are not known yet |
//! | bytes that are no text | drops the encoding, or replaces bytes | *Encoding* makes bytes; a field of a record is text and never holds them |
//! | many dashes | takes eight | a bound of ours: each dash multiplies the patterns by five |
//! | omitted | what CloudTrail left out is absent | none of Sigma: the record says that it is incomplete, and unknown is not false |
//! | neq is not | an absent field meets no `neq` | *Generic modifiers*: different from the values; our notes: a negation negates the whole result, as `not` does in a condition |
//! | values one by one | null in a list of values does not match an absent field; `all` wants two values and, for keywords, all in one text | *Lists*: values are alternatives, each by itself; *Keywords search*: `all` is over the event. One value with `all` is discouraged, yet clear |
//! | exists and lists | several nulls exist | our notes: a null does not exist, however many there are |
//! | null in lists | a null within a list is not null | our notes: any element of a list |
//! | keys with dots | a literal key with dots is tried as a whole path, at the top | our notes: a literal key first, then the path; CloudTrail has such keys at any depth |
//! | fields compared | lists only as a whole, objects and nulls as equal, types count with `cased`; modifiers of position stand behind `fieldref` | *Specific modifiers*: fields are compared with each other; our notes: any element, and values by their text. A null is no value to be compared |
//! | values without quotes | are numbers and booleans: `22` is 22.0, `true` is "yes" | our notes: a value that a rule did not quote still matches what CloudTrail writes |
//! | modified keywords | `cased` makes keywords whole texts | *Keywords search*: in the whole event; `cased` changes the case and nothing else |
//! | encoded text | in a fixed order; `base64offset` keeps a character that depends on what follows; UTF-16 alone is dropped | *Value modifiers*: applied in the order given; *Encoding*: the static part in the middle |
//! | dashes of words | every dash, no slash | *String modifiers*: dashes and slashes of flags stand for each other; within a word neither is a flag |
//! | an address is a network | asks for a prefix length | *IP modifiers*: a network; an address is the one with a single host |
//! | space around numbers | is no number | our notes: numeric comparisons accept numeric texts |
//! | exact integers | through floats | *Numeric modifiers*: greater is greater, also beyond 2^53 |
//! | times compared | equality alone | *Time modifiers*: a number is extracted; *Value modifiers* can be chained |
//! | wildcards at the ends | `startswith` and `endswith` with a wildcard match in the middle | *Generic modifiers*: expected at the beginning, or the end, of the content |
//! | times with an offset | a number is a time, and so is a text without an offset | *Time modifiers* are for dates, without conversion of zones; CloudTrail writes RFC 3339 |
//! | infinity in a record | `"inf"` is a number | *Numeric modifiers* are for numbers |
//! | text of objects | objects and lists have no text | our notes: `contains` on an object compares its JSON text |
//! | text of numbers | 1.50 is "1.5"; keywords look at texts alone | our notes: a value equals a number by its text; keywords look at every text and number |
//! | letters and lines | a star stops at the end of a line; `İ`, `ſ` and `ς` by Unicode's full folding here and its simple one there | *Wildcards*: any characters; case is ignored letter by letter |
//! | stars in names | one star at most | *Condition*: stars at arbitrary positions |
//! | names of nothing | are false, and `all of` them true | our notes: a name that matches nothing is an error when rules are loaded |
//!
//! # Beside single tests
//!
//! [`arrays`] compares what is asked of the elements of lists, [`windows`] correlations over streams of events; each has
//! a table of its own.
//!
//! # What is not compared
//!
//! Groups and first-seen values, which are ours alone, and documents within strings as such.

mod arrays;
mod condition;
mod engines;
mod generate;
mod json;
mod known;
mod rule;
mod windows;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};
use serde_json::Value;
use walkdir::WalkDir;

use crate::support::root;
use engines::{Answer, ours, theirs};
use json::Json;
use known::{KNOWN, said};
use rule::{Item, Rule, Selection};

/// What was compared, in pairs of a rule or item and a record.
#[derive(Debug, Default)]
struct Tally {
    items: usize,
    items_that_differ: usize,
    rules: usize,
    rules_that_match: usize,
    /// Some item of the rule differs.
    rules_set_aside: usize,
    /// How often each known difference had a word.
    known: BTreeMap<&'static str, usize>,
}

/// Compares items, and rules where their items agree; tells the first difference that is not known.
fn compare(items: &[Item], rules: &[Rule], records: &[String], tally: &RefCell<Tally>) -> Result<(), String> {
    let tally = &mut *tally.borrow_mut();
    let of_rules: Vec<&Item> = rules.iter().flat_map(Rule::items).collect();
    let items: Vec<&Item> = items.iter().chain(of_rules.iter().copied()).collect();
    let documents: Vec<String> =
        items.iter().map(|item| Rule::of(item).document()).chain(rules.iter().map(Rule::document)).collect();
    let (ours, theirs) = (ours(&documents, records), theirs(&documents, records));
    for (i, item) in items.iter().enumerate() {
        for (r, record) in records.iter().enumerate() {
            tally.items += 1;
            let differ = ours[i][r] != theirs[i][r];
            tally.items_that_differ += usize::from(differ);
            // Where something was left out, agreement may be wrong, too: only we can say that we do not know.
            let left_out = ours[i][r] != Answer::Refused && record.contains(r#""omitted":true"#);
            if differ || left_out {
                check_item(item, record, [ours[i][r], theirs[i][r]], tally)?;
            }
        }
    }
    let mut first = items.len() - of_rules.len();
    for (k, rule) in rules.iter().enumerate() {
        let (i, of_rule) = (items.len() + k, first..first + rule.items().len());
        first = of_rule.end;
        for (r, record) in records.iter().enumerate() {
            if of_rule.clone().any(|item| ours[item][r] != theirs[item][r]) {
                tally.rules_set_aside += 1;
                continue;
            }
            tally.rules += 1;
            tally.rules_that_match += usize::from(ours[i][r] == Answer::Yes);
            if ours[i][r] != theirs[i][r] {
                check_rule(rule, record, [ours[i][r], theirs[i][r]], tally)?;
            }
        }
    }
    Ok(())
}

fn check_item(item: &Item, record: &str, answers: [Answer; 2], tally: &mut Tally) -> Result<(), String> {
    let [ours, theirs] = answers;
    let mut noted = BTreeSet::new();
    let said = said(item, &Json::read(record), None, &mut noted);
    let names: Vec<&str> = noted.iter().map(|number| KNOWN[*number].name).collect();
    if said != ours {
        let document = Rule::of(item).document();
        return Err(format!(
            "{document}{record}\nwe: {ours:?}, they: {theirs:?}, and {said:?} with {names:?}"
        ));
    }
    names.into_iter().for_each(|name| *tally.known.entry(name).or_default() += 1);
    Ok(())
}

fn check_rule(rule: &Rule, record: &str, answers: [Answer; 2], tally: &mut Tally) -> Result<(), String> {
    let [ours, theirs] = answers;
    let (name, said) = match condition::meaning(rule) {
        condition::Meaning::Refused => ("names of nothing", Answer::Refused),
        condition::Meaning::Rule(rule) => {
            ("stars in names", engines::theirs(&[rule.document()], &[record.to_owned()])[0][0])
        }
    };
    *tally.known.entry(name).or_default() += 1;
    if said == ours {
        return Ok(());
    }
    Err(format!("{}{record}\nwe: {ours:?}, they: {theirs:?}, and {said:?} with {name}", rule.document()))
}

/// The same cases with every run, or as many others as `PROPTEST_CASES` says.
fn config(cases: u32) -> Config {
    let config = Config { failure_persistence: None, ..Config::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => config,
        None => Config { cases, rng_seed: RngSeed::Fixed(1), ..config },
    }
}

#[test]
fn generated_rules_mean_the_same() {
    let tally = RefCell::new(Tally::default());
    let cases = (
        vec(generate::item(), 16),
        vec(generate::meeting(), 12),
        vec(generate::rule(), 8),
        vec(generate::record(), 12),
    );
    let result = TestRunner::new(config(32)).run(&cases, |(mut items, meetings, rules, mut records)| {
        let (met, meeting): (Vec<Item>, Vec<String>) = meetings.into_iter().unzip();
        items.extend(met);
        records.extend(meeting);
        compare(&items, &rules, &records, &tally).map_err(TestCaseError::fail)
    });
    let tally = tally.into_inner();
    // The rule and the record are told; the case around them is not.
    if let Err(TestError::Fail(reason, _) | TestError::Abort(reason)) = result {
        panic!("{}", reason.message());
    }
    println_tally(&tally);
    assert!(tally.items > 10_000 && tally.items_that_differ < tally.items / 5, "{tally:?}");
    assert!(tally.rules > tally.rules_set_aside, "{tally:?}");
    assert!(tally.rules_that_match > tally.rules / 20, "{tally:?}");
    for known in ["stars in names", "names of nothing"] {
        assert!(tally.known.contains_key(known), "{known}: {tally:?}");
    }
}

#[expect(clippy::print_stdout, reason = "shown on request")]
fn println_tally(tally: &impl std::fmt::Debug) {
    println!("{tally:#?}");
}

#[test]
fn every_known_difference_is_one() {
    let documented = include_str!("mod.rs");
    let mut problems = Vec::new();
    for (number, known) in KNOWN.iter().enumerate() {
        let (key, values, record) = known.example;
        let item = Item::read(key, values);
        let document = Rule::of(&item).document();
        let [ours, theirs] = [ours, theirs]
            .map(|answers| answers(std::slice::from_ref(&document), &[record.to_owned()])[0][0]);
        let said = |without| said(&item, &Json::read(record), without, &mut BTreeSet::new());
        let mut check = |holds: bool, problem: &str| {
            if !holds {
                problems.push(format!("{}: {problem}: {ours:?}, {theirs:?}", known.name));
            }
        };
        check(ours != theirs, "the engines agree on the example");
        check(said(None) == ours, "does not explain the example");
        check(said(Some(number)) != ours, "is not needed for the example");
        check(documented.contains(&format!("//! | {} |", known.name)), "is not in the table");
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

/// The rules of the pack as plain Sigma: what stands under `trailhound:` is left out, and so are rules about elements.
fn pack() -> Vec<Rule> {
    let documents = pack_documents();
    let rules = documents.iter().flat_map(|text| rsigma_parser::parse_sigma_yaml(text).unwrap().rules);
    let is_plain = |rule: &rsigma_parser::SigmaRule| {
        rule.sigma_version.is_none() && !has_own_fields(&format!("{:?}", rule.detection))
    };
    let rules = rules.filter(is_plain).map(|rule| {
        let mut named: Vec<_> = rule.detection.named.iter().collect();
        named.sort_by_key(|(name, _)| name.as_str());
        let selections = named.into_iter().map(|(name, detection)| {
            (name.clone(), Selection::of(detection).expect("without a version, rules are of Sigma 2"))
        });
        let condition = match &rule.detection.condition_strings[..] {
            [condition] => condition.clone(),
            conditions => format!("[{}]", conditions.join(", ")),
        };
        Rule { selections: selections.collect(), condition }
    });
    rules.collect()
}

/// Whether a detection asks for the actor or the target, which are fields of ours alone.
fn has_own_fields(detection: &str) -> bool {
    ["actor.", "target."]
        .iter()
        .any(|own| detection.match_indices(own).any(|(at, _)| detection[..at].ends_with(['"', ' ', '\''])))
}

fn pack_documents() -> Vec<String> {
    let files = files(&root().join("detections"), ".yml");
    files.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

fn files(folder: &Path, ending: &str) -> Vec<std::path::PathBuf> {
    let entries = WalkDir::new(folder).sort_by_file_name().into_iter();
    let paths = entries.map(|entry| entry.unwrap().into_path());
    paths.filter(|path| path.to_str().unwrap().ends_with(ending)).collect()
}

/// The records of all JSON files below a folder, but for those of which CloudTrail left something out: what is not
/// known is not false to us alone.
fn records(folder: &Path) -> Vec<String> {
    let values = files(folder, ".json").into_iter().flat_map(|path| {
        let value: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        match value {
            Value::Array(records) => records,
            Value::Object(mut object) if object.contains_key("Records") => {
                object["Records"].take().as_array().cloned().unwrap_or_default()
            }
            record => vec![record],
        }
    });
    values.map(|record| record.to_string()).filter(|record| !record.contains("\"omitted\":")).collect()
}

/// What differs of the pack on the records; items are only looked at where their rule differs.
fn compare_pack(records: &[String]) -> Tally {
    let tally = RefCell::new(Tally::default());
    let rules = pack();
    let documents: Vec<String> = rules.iter().map(Rule::document).collect();
    let (ours, theirs) = (ours(&documents, records), theirs(&documents, records));
    for (i, rule) in rules.iter().enumerate() {
        assert!(!ours[i].contains(&Answer::Refused), "{}", documents[i]);
        tally.borrow_mut().rules_that_match +=
            ours[i].iter().zip(&theirs[i]).filter(|pair| pair == &(&Answer::Yes, &Answer::Yes)).count();
        for (r, record) in records.iter().enumerate() {
            if ours[i][r] != theirs[i][r] {
                let compare = |record: &String| {
                    compare(&[], std::slice::from_ref(rule), std::slice::from_ref(record), &tally)
                };
                // Only we look into documents within strings: to the other engine they stand open.
                let open = || arrays::opened(serde_json::from_str(record).unwrap()).to_string();
                let result = compare(record).or_else(|_| compare(&open()));
                assert!(result.is_ok(), "{}", result.unwrap_err());
            }
        }
    }
    tally.into_inner()
}

#[test]
fn the_pack_means_the_same_on_its_fixtures() {
    let records = records(&root().join("fixtures/detections"));
    let tally = compare_pack(&records);
    println_tally(&tally);
    assert!(tally.rules_that_match >= 300, "{tally:?}");
}

#[test]
fn the_pack_means_the_same_on_real_logs() {
    let folder = root().join("../shared/logs");
    if folder.is_dir() {
        let tally = compare_pack(&records(&folder));
        println_tally(&tally);
        assert!(tally.rules_that_match > 0, "{tally:?}");
    }
}
