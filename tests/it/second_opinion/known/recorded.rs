//! What records say: numbers, texts, objects and times, in other words.

use super::{COMPARISONS, Meaning, POSITIONS, TIMES};
use crate::second_opinion::json::Json;
use crate::second_opinion::rule::{Item, Written};

pub fn space(item: &Item, record: &Json) -> Option<Meaning> {
    let [value] = &item.values[..] else { return None };
    let trimmed = |value: &Json| match value {
        Json::Text(text) if text.trim().parse::<f64>().is_ok() => Json::Text(text.trim().to_owned()),
        value => value.clone(),
    };
    let value = Written { text: value.text.trim().to_owned(), ..value.clone() };
    item.has(&COMPARISONS).then(|| Meaning::Ask(item.of_value(value), record.map(&trimmed)))
}

pub fn exact(item: &Item, record: &Json) -> Option<Meaning> {
    let [value] = &item.values[..] else { return None };
    let limit: i128 = value.text.parse().ok().filter(|_| item.has(&COMPARISONS))?;
    let asks = record.get(item.path())?.elements().into_iter().map(|element| {
        let number = element.scalar().and_then(|text| text.parse::<i128>().ok());
        let number = number.filter(|_| matches!(element, Json::Text(_) | Json::Number(_)));
        let (element, limit) = match number {
            Some(number) => (Json::Text((number - limit).to_string()), "0".to_owned()),
            None => (element.clone(), value.text.clone()),
        };
        Meaning::Ask(item.of_value(Written::quoted(&limit)), Json::record(item.path(), Some(element)))
    });
    Some(Meaning::Any(asks.collect()))
}

pub fn time(item: &Item, record: &Json) -> Option<Meaning> {
    let with_offset = |text: &str| {
        let offset = text.len().checked_sub(6).and_then(|at| text.get(at..));
        text.ends_with('Z')
            || offset.is_some_and(|offset| offset.starts_with(['+', '-']) && offset.contains(':'))
    };
    let time = |value: &Json| match value {
        Json::Text(text) if with_offset(text) => value.clone(),
        _ => Json::Text("x".to_owned()),
    };
    item.has(&TIMES).then(|| Meaning::Ask(item.clone(), record.map(&time)))
}

pub fn infinite(item: &Item, record: &Json) -> Option<Meaning> {
    let finite = |value: &Json| match value {
        Json::Text(text) if text.parse().is_ok_and(|number: f64| !number.is_finite()) => {
            Json::Text("x".to_owned())
        }
        value => value.clone(),
    };
    item.has(&COMPARISONS).then(|| Meaning::Ask(item.clone(), record.map(&finite)))
}

pub fn text_of_objects(item: &Item, record: &Json) -> Option<Meaning> {
    let [value] = &item.values[..] else { return None };
    let pattern = item.has(&["re"]) || item.compares_text() && (item.has(&POSITIONS) || value.has_wildcard());
    let value = record.get(item.path()).filter(|_| pattern)?;
    let text = |element: &Json| match element {
        Json::Object(_) => Json::Text(element.text()),
        element => element.clone(),
    };
    let mut texts: Vec<Json> = value.elements().into_iter().map(text).collect();
    if matches!(value, Json::List(_)) {
        texts.push(Json::Text(value.text()));
    }
    Some(Meaning::Ask(item.clone(), Json::record(item.path(), Some(Json::List(texts)))))
}

pub fn text_of_numbers(item: &Item, record: &Json) -> Option<Meaning> {
    let text = |value: &Json| match value {
        Json::Number(text) => Json::Text(text.clone()),
        value => value.clone(),
    };
    let texts = item.compares_text() || item.has(&["re"]);
    texts.then(|| Meaning::Ask(item.clone(), record.map(&text)))
}

pub fn letters(item: &Item, record: &Json) -> Option<Meaning> {
    let [value] = &item.values[..] else { return None };
    if !item.compares_text() && !item.has(&["fieldref"]) {
        return None;
    }
    let folded = |text: &str| {
        let fold = |c| match c {
            _ if item.has(&["cased"]) => c,
            'İ' => '\u{E000}',
            'ſ' => '\u{E001}',
            'Σ' | 'ς' => 'σ',
            c => c,
        };
        text.chars().map(fold).collect::<String>()
    };
    let line = |text: String| if value.has_wildcard() { text.replace('\n', " ") } else { text };
    let letters = |scalar: &Json| match scalar {
        Json::Text(text) => Json::Text(line(folded(text))),
        scalar => scalar.clone(),
    };
    let value = Written { text: folded(&value.text), ..value.clone() };
    Some(Meaning::Ask(item.of_value(value), record.map(&letters)))
}
