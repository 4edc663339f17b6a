//! What rules say: values and their modifiers, in other words.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{COMPARISONS, Meaning, POSITIONS, TEXT_TRANSFORMS, TIMES, plain};
use crate::second_opinion::json::Json;
use crate::second_opinion::rule::{Item, Written};

pub fn without_quotes(item: &Item, record: &Json) -> Option<Meaning> {
    let [value] = &item.values[..] else { return None };
    let typed = !value.quoted && !value.is_null() && !item.has(&["exists"]);
    typed.then(|| Meaning::Ask(item.of_value(Written::quoted(&value.text)), record.clone()))
}

pub fn modified_keywords(item: &Item, record: &Json) -> Option<Meaning> {
    let text = item.compares_text() && item.transforms().is_empty();
    let exact = item.field.is_none() && text && !item.modifiers.is_empty() && !item.has(&POSITIONS);
    let modifiers = [vec!["contains"], item.modifiers.clone()].concat();
    exact.then(|| Meaning::Ask(Item { modifiers, ..item.clone() }, record.clone()))
}

pub fn encoded(item: &Item, record: &Json) -> Option<Meaning> {
    let encoded = item.transforms().iter().any(|transform| *transform != "windash");
    if !encoded {
        return None;
    }
    let mut asked = item.without(&TEXT_TRANSFORMS);
    if item.has(&["base64offset"]) && !item.has(&POSITIONS) {
        asked.modifiers.push("contains");
    }
    let texts = encodings(item, &plain(&item.values[0]))?;
    let asks = texts.iter().map(|text| Meaning::Ask(asked.of_value(literal(text)), record.clone()));
    Some(Meaning::Any(asks.collect()))
}

/// The texts that a text becomes, in the order of the modifiers; none if bytes come out that are no text.
pub fn encodings(item: &Item, text: &str) -> Option<Vec<String>> {
    let transforms = item.transforms();
    let mut forms: Vec<Vec<u8>> = vec![text.as_bytes().to_vec()];
    for (i, transform) in transforms.iter().enumerate() {
        let mut next = Vec::new();
        for form in &forms {
            next.extend(encoded_once(form, transform, i == 0)?);
        }
        forms = next;
    }
    let texts: Option<Vec<String>> = forms.into_iter().map(|form| String::from_utf8(form).ok()).collect();
    texts.filter(|texts| !texts.is_empty())
}

fn encoded_once(form: &[u8], transform: &str, first: bool) -> Option<Vec<Vec<u8>>> {
    let text = std::str::from_utf8(form);
    let units =
        |bytes: fn(u16) -> [u8; 2]| Some(text.ok()?.encode_utf16().flat_map(bytes).collect::<Vec<u8>>());
    Some(match transform {
        "windash" if first => with_dashes(text.ok()?).into_iter().map(String::into_bytes).collect(),
        "wide" => vec![units(u16::to_le_bytes)?],
        "utf16be" => vec![units(u16::to_be_bytes)?],
        "utf16" => vec![[vec![0xFF, 0xFE], units(u16::to_le_bytes)?].concat()],
        "base64" => vec![STANDARD.encode(form).into_bytes()],
        "base64offset" => (0..3).filter_map(|shift| fixed_part(form, shift)).collect(),
        _ => return None,
    })
}

/// What stays the same of a base64 text, whatever stands before and behind; none if that is nothing.
fn fixed_part(form: &[u8], shift: usize) -> Option<Vec<u8>> {
    // As many bytes behind as make whole groups of three.
    let behind = 6 - (shift + form.len()) % 3;
    let within =
        |other: u8| STANDARD.encode([vec![other; shift], form.to_vec(), vec![other; behind]].concat());
    let pairs = within(0).into_bytes().into_iter().zip(within(0xFF).into_bytes());
    let fixed: Vec<u8> = pairs.filter(|(one, other)| one == other).map(|(one, _)| one).collect();
    (!fixed.is_empty()).then_some(fixed)
}

/// Where dashes and slashes start a word.
pub fn dashes(text: &str) -> Vec<usize> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let starts = |at: usize| {
        text[at + 1..].chars().next().is_some_and(word) && !text[..at].chars().next_back().is_some_and(word)
    };
    text.match_indices(['-', '/']).map(|(at, _)| at).filter(|at| starts(*at)).collect()
}

fn with_dashes(text: &str) -> Vec<String> {
    let mut forms = vec![text.to_owned()];
    // From the last one, so that those before keep their places.
    for at in dashes(text).into_iter().rev() {
        let replaced = |form: &String| {
            ["-", "/", "\u{2013}", "\u{2014}", "\u{2015}"]
                .map(|dash| format!("{}{dash}{}", &form[..at], &form[at + 1..]))
        };
        forms = forms.iter().flat_map(replaced).collect();
    }
    forms
}

pub fn windash(item: &Item, record: &Json) -> Option<Meaning> {
    if !item.has(&["windash"]) {
        return None;
    }
    let item = item.without(&["windash"]);
    let forms = with_dashes(&item.values[0].text);
    let asks = forms.iter().map(|form| Meaning::Ask(item.of_value(Written::quoted(form)), record.clone()));
    Some(Meaning::Any(asks.collect()))
}

pub fn address(item: &Item, record: &Json) -> Option<Meaning> {
    let [value] = &item.values[..] else { return None };
    let bits = match value.text.parse() {
        Ok(std::net::IpAddr::V4(_)) => 32,
        Ok(std::net::IpAddr::V6(_)) => 128,
        Err(_) => return None,
    };
    let network = Written::quoted(&format!("{}/{bits}", value.text));
    item.has(&["cidr"]).then(|| Meaning::Ask(item.of_value(network), record.clone()))
}

/// A text that a rule takes as it is.
fn literal(text: &str) -> Written {
    let mut escaped = String::new();
    for c in text.chars() {
        if matches!(c, '*' | '?' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    Written::quoted(&escaped)
}

pub fn time_compared(item: &Item, record: &Json) -> Option<Meaning> {
    let [value] = &item.values[..] else { return None };
    let operator = *item.modifiers.iter().find(|modifier| COMPARISONS.contains(modifier))?;
    let range = match *item.modifiers.iter().find(|modifier| TIMES.contains(modifier))? {
        "minute" => 0..=59,
        "hour" => 0..=23,
        "day" => 1..=31,
        "week" => 1..=53,
        "month" => 1..=12,
        _ => 2000..=2040,
    };
    let limit: f64 = value.text.parse().ok()?;
    let holds = |part: &i32| match operator {
        "lt" => f64::from(*part) < limit,
        "lte" => f64::from(*part) <= limit,
        "gt" => f64::from(*part) > limit,
        _ => f64::from(*part) >= limit,
    };
    let item = item.without(&COMPARISONS);
    let ask = |part: i32| Meaning::Ask(item.of_value(Written::quoted(&part.to_string())), record.clone());
    Some(Meaning::Any(range.filter(holds).map(ask).collect()))
}

pub fn wildcards_at_ends(item: &Item, record: &Json) -> Option<Meaning> {
    let [value] = &item.values[..] else { return None };
    let text = match () {
        () if !value.has_wildcard() => return None,
        () if item.has(&["startswith"]) => format!("{}*", value.text),
        () if item.has(&["endswith"]) => format!("*{}", value.text),
        () => return None,
    };
    Some(Meaning::Ask(item.without(&POSITIONS).of_value(Written::quoted(&text)), record.clone()))
}
