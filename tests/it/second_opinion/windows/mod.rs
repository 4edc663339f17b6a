//! Correlations over streams of events, in both engines.
//!
//! By design the engines say different things: we tell one finding for a group and a period, at the first firing
//! point in it, when nothing can change it any more; the other engine fires with each hit at which the condition
//! holds. What must be equal in spite of it: the findings are the pairs of a group and a period into which a firing of
//! the other engine falls, and each has the time of the first of them and what was measured there; and the last revision
//! counts what the other engine counts from the beginning of that window to the end of the period. The stream is told by
//! time, as a replay does; times are whole seconds.
//!
//! # Known differences
//!
//! | difference | the other engine | what decides |
//! |---|---|---|
//! | all of them | without a condition, one rule is enough for `temporal` | Sigma, *temporal*: all rules must occur |
//! | an event twice | counts it twice | a window is a set of events: CloudTrail delivers some twice |
//! | text of group and value | objects and lists have no text; a null counts as a value; 1.50 is 1.5; space makes a text no number | our notes: values by their text, objects and lists by their JSON; null is absent |
//! | no group | what has no field of the group is a group of its own | Sigma, *group-by*: by the values of fields; where there is none, it cannot be told to whom an event belongs |
//! | nothing to count | looks at the window at a hit without the field, too; the sum and the mean of nothing are 0 | Sigma, *condition*, `field`: the values of a field are counted; such a hit has none |
//! | tenths | adds floats; refuses a threshold that is no integer | 0.2 + 0.7 + 0.1 is 1, and the order of addition is no difference |
//! | below zero | a negative threshold becomes a great one | numbers can be negative |
//! | nearest rank | interpolates; a percentile fires whatever the threshold says | Sigma leaves the method open; the nearest rank is a number that occurred. A threshold must be met |
//! | the beginning of a window | belongs to it | Sigma leaves it open; two windows in a row share no event |
//! | one moment | looks in between events of the same time | our notes: calls of one second stand in any order, and the set of findings depends on the set of events alone |
//!
//! # What is not compared
//!
//! Other windows than sliding ones, which we refuse. Of correlations of correlations what the other engine ignores: aliases
//! and what is counted; [`chains`] has the rest. First-seen values and groups are ours alone.

mod chains;
mod engines;
mod generate;
mod known;
mod question;

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::test_runner::{TestCaseError, TestError, TestRunner};

use super::{config, println_tally};
use engines::{ours, theirs};
use known::{KNOWN, reworded};
use question::Question;

/// What was compared.
#[derive(Debug, Default)]
struct Tally {
    questions: usize,
    /// Findings of each kind of correlation.
    findings: BTreeMap<&'static str, usize>,
}

fn compare(question: &Question, tally: &mut Tally) -> Result<(), String> {
    let told = ours(question);
    let said = theirs(&reworded(question, None));
    if told != said {
        let events = question.events.iter().map(|event| event.record() + "\n").collect::<String>();
        let documents = question.correlation.documents().join("---\n");
        return Err(format!("{documents}\n{events}\nwe: {told:?}\nthey: {said:?}"));
    }
    tally.questions += 1;
    *tally.findings.entry(question.correlation.kind).or_default() += told.len();
    Ok(())
}

#[test]
fn generated_correlations_find_the_same() {
    let tally = RefCell::new(Tally::default());
    let result = TestRunner::new(config(1000)).run(&generate::question(), |question| {
        compare(&question, &mut tally.borrow_mut()).map_err(TestCaseError::fail)
    });
    if let Err(TestError::Fail(reason, _) | TestError::Abort(reason)) = result {
        panic!("{}", reason.message());
    }
    let tally = tally.into_inner();
    println_tally(&tally);
    assert!(tally.findings.values().all(|findings| *findings > 20) && tally.findings.len() == 8, "{tally:?}");
}

#[test]
fn every_known_difference_over_streams_is_one() {
    let documented = include_str!("mod.rs");
    let mut problems = Vec::new();
    for (number, known) in KNOWN.iter().enumerate() {
        let question = (known.example)();
        let [told, said] = [ours(&question), theirs(&reworded(&question, None))];
        let mut check = |holds: bool, problem: &str| {
            if !holds {
                problems.push(format!("{}: {problem}: {told:?}, {said:?}", known.name));
            }
        };
        check(told == said, "does not explain the example");
        check(theirs(&reworded(&question, Some(number))) != told, "is not needed for the example");
        check(documented.contains(&format!("//! | {} |", known.name)), "is not in the table");
    }
    assert!(problems.is_empty(), "{problems:#?}");
}
