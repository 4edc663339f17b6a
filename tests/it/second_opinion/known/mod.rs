//! The known differences: each says in words of the other engine what we mean, and so must be answered as we do.

mod recorded;
mod refused;
mod shape;
mod written;

use std::collections::BTreeSet;

use super::engines::{Answer, theirs};
use super::json::Json;
use super::rule::{Item, Rule, Written};

/// A known difference.
pub struct Known {
    /// As the table in the docs of the folder calls it.
    pub name: &'static str,
    /// What we mean, if the item and the record are of this class.
    meaning: fn(&Item, &Json) -> Option<Meaning>,
    /// A key of a rule, its values as JSON, and a record, where nothing else explains the difference.
    pub example: (&'static str, &'static str, &'static str),
}

/// What we mean by an item on a record.
#[derive(Debug, Clone)]
pub enum Meaning {
    /// What the other engine says of this item on this record.
    Ask(Item, Json),
    Not(Box<Meaning>),
    All(Vec<Meaning>),
    Any(Vec<Meaning>),
    Known(Answer),
}

macro_rules! known {
    ($($name:literal, $meaning:path, $example:expr;)*) => {
        &[$(Known { name: $name, meaning: $meaning, example: $example },)*]
    };
}

/// All of them. A meaning is looked at again by those behind it.
pub const KNOWN: &[Known] = known![
    // What we do not take.
    "a test without a field", refused::test_without_field, ("|re", r#""x""#, r#"{"a":"x"}"#);
    "exists is one boolean", refused::exists_is_boolean, ("a|exists", r#""maybe""#, r#"{"a":"x"}"#);
    "null is no text", refused::null_is_no_text, ("a|contains", "null", r#"{"a":"x"}"#);
    "infinity in a rule", refused::infinity, ("a|lt", r#""inf""#, r#"{"a":1}"#);
    "case without text", refused::case_without_text, ("a|re|cased", r#""x""#, r#"{"a":"x"}"#);
    "encodings of patterns", refused::encoded_pattern, ("a|base64", r#""f*""#, r#"{"a":"x"}"#);
    "bytes that are no text", refused::no_text, ("a|utf16", r#""x""#, r#"{"a":"y"}"#);
    "many dashes", refused::many_dashes, ("a|windash", r#""-a -a -a -a -a""#, r#"{"a":"x"}"#);
    // What is about a value.
    "omitted", shape::omitted, ("requestParameters.a", r#""x""#, r#"{"requestParameters":{"omitted":true}}"#);
    "neq is not", shape::neq, ("a|neq", r#""x""#, "{}");
    "values one by one", shape::one_by_one, ("a", r#"[null, ""]"#, "{}");
    "exists and lists", shape::exists, ("a.b|exists", "true", r#"{"a":[{"b":null},{"b":null}]}"#);
    "null in lists", shape::null, ("a", "null", r#"{"a":["x",null]}"#);
    "keys with dots", shape::keys_with_dots, ("a.b.c", r#""x""#, r#"{"a":{"b.c":"x"}}"#);
    "fields compared", shape::fields_compared, ("a|fieldref", r#""b""#, r#"{"a":["x","y"],"b":["y","z"]}"#);
    // What rules say.
    "values without quotes", written::without_quotes, ("a", "22", r#"{"a":22.0}"#);
    "modified keywords", written::modified_keywords, ("|cased", r#""needle""#, r#"{"a":"a needle"}"#);
    "encoded text", written::encoded, ("a|base64offset", r#""fo""#, r#"{"a":"Zm9vYmFy"}"#);
    "dashes of words", written::windash, ("a|windash", r#""a-b""#, r#"{"a":"a/b"}"#);
    "an address is a network", written::address, ("a|cidr", r#""10.1.2.3""#, r#"{"a":"10.1.2.3"}"#);
    "space around numbers", recorded::space, ("a|lt", r#""9""#, r#"{"a":" 8 "}"#);
    "exact integers", recorded::exact, ("a|gt", r#""9007199254740992""#, r#"{"a":9007199254740993}"#);
    "times compared", written::time_compared, ("a|hour|gte", r#""3""#, r#"{"a":"2023-07-10T03:42:36Z"}"#);
    "wildcards at the ends", written::wildcards_at_ends, ("a|startswith", r#""x*y""#, r#"{"a":"x-y-z"}"#);
    // What records say.
    "times with an offset", recorded::time, ("a|hour", r#""3""#, r#"{"a":"2023-07-10 03:42:36"}"#);
    "infinity in a record", recorded::infinite, ("a|gt", r#""8""#, r#"{"a":"inf"}"#);
    "text of objects", recorded::text_of_objects, ("a|contains", r#""b""#, r#"{"a":{"b":1}}"#);
    "text of numbers", recorded::text_of_numbers, ("a", r#""1.50""#, r#"{"a":1.50}"#);
    "letters and lines", recorded::letters, ("a", r#""a*b""#, r#"{"a":"a\nb"}"#);
];

/// What we must say of an item on a record, as the other engine answers when asked in the words of the known
/// differences, but for the one of this number. Those that had a word are noted.
pub fn said(item: &Item, record: &Json, without: Option<usize>, noted: &mut BTreeSet<usize>) -> Answer {
    let ask = Meaning::Ask(item.clone(), record.clone());
    answer(&ask, 0, without, noted)
}

/// Looks at a meaning by the known differences from the one of this number on.
fn answer(meaning: &Meaning, from: usize, without: Option<usize>, noted: &mut BTreeSet<usize>) -> Answer {
    let mut all = |parts: &[Meaning]| -> Vec<Answer> {
        parts.iter().map(|part| answer(part, from, without, noted)).collect()
    };
    match meaning {
        Meaning::Known(answer) => *answer,
        Meaning::Not(inner) => answer(inner, from, without, noted).not(),
        Meaning::All(parts) => Answer::all(&all(parts)),
        Meaning::Any(parts) => Answer::any(&all(parts)),
        Meaning::Ask(item, record) => {
            let known = KNOWN.iter().enumerate().skip(from).filter(|(number, _)| Some(*number) != without);
            let mut meanings = known.map(|(number, known)| (number, (known.meaning)(item, record)));
            match meanings.find_map(|(number, meaning)| Some((number, meaning?))) {
                Some((number, meaning)) => {
                    noted.insert(number);
                    answer(&meaning, number + 1, without, noted)
                }
                None => theirs(&[Rule::of(item).document()], &[record.text()])[0][0],
            }
        }
    }
}

const TEXT_TRANSFORMS: [&str; 6] = ["windash", "wide", "utf16be", "utf16", "base64", "base64offset"];
const COMPARISONS: [&str; 4] = ["lt", "lte", "gt", "gte"];
const TIMES: [&str; 6] = ["minute", "hour", "day", "week", "month", "year"];
const POSITIONS: [&str; 3] = ["contains", "startswith", "endswith"];

impl Item {
    fn has(&self, names: &[&str]) -> bool {
        self.modifiers.iter().any(|modifier| names.contains(modifier))
    }

    fn without(&self, names: &[&str]) -> Item {
        let mut item = self.clone();
        item.modifiers.retain(|modifier| !names.contains(modifier));
        item
    }

    fn of_value(&self, value: Written) -> Item {
        Item { values: vec![value], ..self.clone() }
    }

    fn path(&self) -> &str {
        self.field.as_deref().unwrap_or_default()
    }

    fn transforms(&self) -> Vec<&'static str> {
        self.modifiers.iter().copied().filter(|modifier| TEXT_TRANSFORMS.contains(modifier)).collect()
    }

    /// Whether texts are compared, as a whole or by a pattern.
    fn compares_text(&self) -> bool {
        !self.has(&["re", "cidr", "exists", "fieldref"]) && !self.has(&COMPARISONS) && !self.has(&TIMES)
    }

    fn is_null(&self) -> bool {
        self.values.iter().any(Written::is_null)
    }
}

impl Written {
    fn is_null(&self) -> bool {
        !self.quoted && self.text == "null"
    }

    fn parsed(&self) -> rsigma_parser::SigmaString {
        rsigma_parser::SigmaString::new(&self.text)
    }

    fn has_wildcard(&self) -> bool {
        self.quoted && self.parsed().contains_wildcards()
    }
}

/// The value without its escapes.
fn plain(value: &Written) -> String {
    value.parsed().as_plain().unwrap_or_else(|| value.text.clone())
}

/// The texts that a value stands for, its wildcards left out.
pub fn forms(item: &Item, value: &Written) -> Vec<String> {
    written::encodings(item, &plain(value).replace(['*', '?'], "")).unwrap_or_default()
}
