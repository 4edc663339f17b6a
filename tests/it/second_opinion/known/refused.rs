//! What we refuse when rules are loaded, though the other engine takes it.

use super::written::{dashes, encodings};
use super::{COMPARISONS, Meaning, POSITIONS, TIMES, plain};
use crate::second_opinion::engines::Answer;
use crate::second_opinion::json::Json;
use crate::second_opinion::rule::{Item, Written};

fn refused_if(condition: bool) -> Option<Meaning> {
    condition.then_some(Meaning::Known(Answer::Refused))
}

pub fn test_without_field(item: &Item, _: &Json) -> Option<Meaning> {
    let texts = item.transforms().is_empty() && item.compares_text();
    refused_if(item.field.is_none() && !texts)
}

pub fn exists_is_boolean(item: &Item, _: &Json) -> Option<Meaning> {
    let boolean = |value: &Written| {
        ["true", "false", "yes", "no", "on", "off"].contains(&value.text.to_lowercase().as_str())
    };
    refused_if(item.has(&["exists"]) && !(item.values.len() == 1 && boolean(&item.values[0])))
}

pub fn null_is_no_text(item: &Item, _: &Json) -> Option<Meaning> {
    let plain = item.transforms().is_empty() && item.compares_text() && !item.has(&POSITIONS);
    refused_if(item.is_null() && (item.field.is_none() || !plain))
}

pub fn infinity(item: &Item, _: &Json) -> Option<Meaning> {
    let infinite = |value: &Written| value.text.parse().is_ok_and(|number: f64| !number.is_finite());
    refused_if((item.has(&COMPARISONS) || item.has(&TIMES)) && item.values.iter().any(infinite))
}

pub fn case_without_text(item: &Item, _: &Json) -> Option<Meaning> {
    refused_if(item.has(&["cased"]) && !item.compares_text() && !item.has(&["fieldref"]))
}

pub fn encoded_pattern(item: &Item, _: &Json) -> Option<Meaning> {
    let encoded = item.transforms().iter().any(|transform| *transform != "windash");
    refused_if(encoded && item.values.iter().any(Written::has_wildcard))
}

pub fn no_text(item: &Item, _: &Json) -> Option<Meaning> {
    refused_if(item.values.iter().any(|value| encodings(item, &plain(value)).is_none()))
}

pub fn many_dashes(item: &Item, _: &Json) -> Option<Meaning> {
    let many = |value: &Written| dashes(&value.text).len() > 4;
    refused_if(item.has(&["windash"]) && item.values.iter().any(many))
}
