//! What is about a value: what was left out, what is negated, where it stands, how many there are.

use super::{Meaning, plain};
use crate::second_opinion::engines::Answer;
use crate::second_opinion::json::Json;
use crate::second_opinion::rule::{Item, Written};

pub fn omitted(item: &Item, record: &Json) -> Option<Meaning> {
    let left_out = |path: &str| {
        let head = path.split('.').next().filter(|head| *head == "requestParameters");
        let container = head.and_then(|head| record.get(head));
        container.and_then(|container| container.get("omitted")) == Some(&Json::Bool(true))
    };
    let unknown = Meaning::Known(Answer::Undecided);
    let refers = |value: &Written| item.has(&["fieldref"]) && left_out(&value.text);
    let ask = |value: &Written| {
        let ask = Meaning::Ask(item.without(&["neq", "all"]).of_value(value.clone()), record.clone());
        match item.field {
            Some(_) if refers(value) => unknown.clone(),
            Some(_) => ask,
            None => Meaning::Any(vec![ask, unknown.clone()]),
        }
    };
    let here = match &item.field {
        Some(field) if left_out(field) => return Some(unknown),
        Some(_) => item.values.iter().any(refers),
        None => left_out("requestParameters"),
    };
    let meaning = joined(item, item.values.iter().map(ask).collect());
    here.then(|| if item.has(&["neq"]) { Meaning::Not(Box::new(meaning)) } else { meaning })
}

/// What several values mean together.
fn joined(item: &Item, meanings: Vec<Meaning>) -> Meaning {
    if item.has(&["all"]) { Meaning::All(meanings) } else { Meaning::Any(meanings) }
}

pub fn neq(item: &Item, record: &Json) -> Option<Meaning> {
    let ask = Meaning::Ask(item.without(&["neq"]), record.clone());
    item.has(&["neq"]).then(|| Meaning::Not(Box::new(ask)))
}

pub fn one_by_one(item: &Item, record: &Json) -> Option<Meaning> {
    let ask = |value: &Written| Meaning::Ask(item.without(&["all"]).of_value(value.clone()), record.clone());
    let apart = item.values.len() > 1 || item.has(&["all"]);
    apart.then(|| joined(item, item.values.iter().map(ask).collect()))
}

pub fn exists(item: &Item, record: &Json) -> Option<Meaning> {
    if !item.has(&["exists"]) {
        return None;
    }
    let there = record.at(item.path()).into_iter().any(|value| *value != Json::Null);
    let wanted = ["true", "yes", "on"].contains(&item.values[0].text.to_lowercase().as_str());
    let value = Written::plain(if wanted { "true" } else { "false" });
    let item = Item { field: Some("f".to_owned()), ..item.of_value(value) };
    Some(Meaning::Ask(item, Json::record("f", there.then(|| Json::Text("x".to_owned())))))
}

pub fn null(item: &Item, record: &Json) -> Option<Meaning> {
    if !item.is_null() {
        return None;
    }
    let values = record.at(item.path());
    let mut elements = values.iter().flat_map(|value| value.elements());
    let null = values.is_empty() || elements.any(|element| *element == Json::Null);
    let item = Item { field: Some("f".to_owned()), ..item.without(&["cased"]) };
    Some(Meaning::Ask(item, Json::record("f", (!null).then(|| Json::Text("x".to_owned())))))
}

pub fn keys_with_dots(item: &Item, record: &Json) -> Option<Meaning> {
    let field = item.field.as_ref().filter(|field| field.contains(['.', '[']))?;
    if item.has(&["fieldref", "exists"]) {
        return None;
    }
    let ask = |value: &Json| {
        let item = Item { field: Some("f".to_owned()), ..item.clone() };
        Meaning::Ask(item, Json::record("f", Some(value.clone())))
    };
    Some(Meaning::Any(record.at(field).into_iter().map(ask).collect()))
}

pub fn fields_compared(item: &Item, record: &Json) -> Option<Meaning> {
    if !item.has(&["fieldref"]) {
        return None;
    }
    let texts = |path: &str| -> Vec<Json> {
        let elements = record.at(path).into_iter().flat_map(Json::elements);
        elements.filter_map(Json::scalar).map(Json::Text).collect()
    };
    let modifiers = std::iter::once("fieldref").chain(item.without(&["fieldref"]).modifiers).collect();
    let item_of_two = Item { field: Some("f".to_owned()), modifiers, values: vec![Written::quoted("g")] };
    let others = texts(&plain(&item.values[0]));
    let asks = texts(item.path()).into_iter().flat_map(|text| {
        let pair = |other: &Json| {
            Json::Object(vec![("f".to_owned(), text.clone()), ("g".to_owned(), other.clone())])
        };
        let asks = others.iter().map(|other| Meaning::Ask(item_of_two.clone(), pair(other)));
        asks.collect::<Vec<_>>()
    });
    Some(Meaning::Any(asks.collect()))
}
