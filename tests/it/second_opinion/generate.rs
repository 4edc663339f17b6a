//! Rules and records that meet each other often: from few names and texts, which collide in every way.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::known::forms;
use super::rule::{Item, Rule, Selection, Written};

/// Keys of records.
const KEYS: [&str; 8] = ["a", "b", "c", "d", "a.b", "b.c", "a[0]", "requestParameters"];
/// Fields of rules.
const FIELDS: [&str; 12] = [
    "a",
    "a",
    "b",
    "c",
    "d",
    "a.b",
    "a.b.c",
    "a.b.c.d",
    "b.c",
    "a[0]",
    "requestParameters",
    "requestParameters.a",
];
/// Texts of records, and values of rules.
const TEXTS: [&str; 61] = [
    "",
    "x",
    "X",
    "y",
    "z",
    "xy",
    "axb",
    "a-b",
    "needle",
    "a NEEDLE here",
    "a\nb",
    "É",
    "é",
    "ΟΔΟΣ",
    "οδος",
    "İx",
    "ſ",
    "s",
    "\u{212a}",
    "k",
    "*",
    "?",
    "a*b",
    "a\\b",
    "a\\\\b",
    "c:\\Windows\\",
    "22",
    "1.5",
    "1.50",
    "8",
    " 8 ",
    "007",
    "7",
    "1e2",
    "100",
    "inf",
    "NaN",
    "true",
    "false",
    "yes",
    "no",
    "null",
    "10.1.2.3",
    "10.1.2.003",
    "2001:db8::1",
    "::ffff:10.1.2.3",
    "2023-07-10T03:42:36Z",
    "2023-07-10T23:42:36-02:00",
    "2023-07-10 03:42:36",
    "Zm9v",
    "eGZvb2Jhcnl5",
    "Zm9vYmFy",
    "ZgBvAG8A",
    "AGYAbwBv",
    "f\u{0}o\u{0}o\u{0}",
    "foo",
    "-f",
    "x /f y",
    "x \u{2014}f y",
    "a/f",
    "a-f",
];
/// Values of rules that would be odd in records.
const PATTERNS: [&str; 20] = [
    "*", "**", "?", "x*", "*y", "?x*", "*e*e*", "a*b", "a?b", "\\*", "\\?", "\\\\", "a\\*b", "a\\\\b", "*é",
    "*ſ", "*K", "x-f", " -f", "[\"x\",*",
];
/// Literals of JSON, which rules may write without quotes, too.
const LITERALS: [&str; 17] = [
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1",
    "22",
    "22.0",
    "1.5",
    "1.50",
    "1e2",
    "100",
    "8",
    "1688960556",
    "9007199254740992",
    "9007199254740993",
    "123456789012345678901234567890",
];
const REGEXES: [&str; 14] = [
    "x",
    "^X$",
    "a.b",
    "^b$",
    "[A-Z]+",
    "\\d+",
    "^$",
    "(?i)needle",
    "(foo|y)",
    "x{2}",
    "(?=x)",
    "é",
    "\"b\":",
    "\\bf\\b",
];
const NETWORKS: [&str; 7] =
    ["10.0.0.0/8", "10.1.2.3", "10.1.2.3/8", "2001:db8::/32", "0.0.0.0/0", "10.0.0.0/33", "10.1.2.*"];
const NUMBERS: [&str; 11] =
    ["8", "22", "1.5", "100", "1e2", "-1", "9007199254740992", "1688960556", "x", " 8 ", "inf"];
const TRANSFORMS: [&str; 6] = ["windash", "wide", "utf16be", "utf16", "base64", "base64offset"];

/// A record: one JSON object in compact form.
pub fn record() -> impl Strategy<Value = String> {
    let omitted = r#""requestParameters":{"omitted":true,"reason":"requestParameters too large"}"#;
    let members = prop_oneof![
        12 => btree_map(select(&KEYS[..]), json(), 1..6).prop_map(|members| object(members, None)),
        1 => btree_map(select(&KEYS[..7]), json(), 0..4)
            .prop_map(move |members| object(members, Some(omitted))),
    ];
    members.boxed()
}

pub fn object(members: impl IntoIterator<Item = (&'static str, String)>, last: Option<&str>) -> String {
    let members = members.into_iter().map(|(key, value)| format!("\"{key}\":{value}"));
    format!("{{{}}}", members.chain(last.map(str::to_owned)).collect::<Vec<_>>().join(","))
}

fn json() -> impl Strategy<Value = String> {
    let text =
        select(&TEXTS[..]).prop_map(|text| serde_json::to_string(text).expect("a text has a JSON form"));
    let scalar = prop_oneof![
        8 => text,
        3 => select(&LITERALS[..]).prop_map(str::to_owned),
        1 => Just("null".to_owned()),
    ];
    scalar.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            1 => vec(inner.clone(), 0..4).prop_map(|elements| format!("[{}]", elements.join(","))),
            2 => btree_map(select(&KEYS[..6]), inner, 0..4).prop_map(|members| object(members, None)),
        ]
    })
}

/// A rule of up to four selections, mostly of items about which there is little to argue.
pub fn rule() -> impl Strategy<Value = Rule> {
    let selections = btree_map(select(&["s_1", "s_2", "f_1", "f_2", "_h"][..]), selection(), 1..5);
    (selections, condition()).prop_map(|(selections, condition)| Rule {
        selections: selections.into_iter().map(|(name, selection)| (name.to_owned(), selection)).collect(),
        condition,
    })
}

fn selection() -> impl Strategy<Value = Selection> {
    let map = vec(prop_oneof![12 => ordinary(), 1 => item()], 1..4).prop_map(map);
    let keywords = vec(select(&TEXTS[..24]), 1..3).prop_map(|texts| {
        let values = texts.into_iter().map(Written::quoted).collect();
        Selection::Keywords(Item { values, ..Item::default() })
    });
    let leaf = prop_oneof![8 => map, 1 => keywords];
    leaf.prop_recursive(2, 6, 3, |inner| vec(inner, 1..4).prop_map(Selection::List))
}

/// Items of one map; the first of those with one key.
fn map(items: Vec<Item>) -> Selection {
    let mut map: Vec<Item> = Vec::new();
    for item in items {
        if map.iter().all(|known| known.key() != item.key()) {
            map.push(item);
        }
    }
    Selection::Map(map)
}

/// Conditions of every form; what they name may not be there.
fn condition() -> impl Strategy<Value = String> {
    let term = select(
        &[
            "s_1",
            "s_1",
            "s_2",
            "f_1",
            "f_2",
            "1 of s_*",
            "all of s_*",
            "1 of f_*",
            "any of them",
            "1 of them",
            "all of them",
            "2 of them",
            "3 of them",
            "2 of s_*",
            "1 of *_1",
            "all of *_*",
            "_h",
            "all of _*",
            "0 of them",
        ][..],
    )
    .prop_map(str::to_owned);
    let expression = term.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("{left} and {right}")),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("{left} or {right}")),
            inner.clone().prop_map(|inner| format!("not {inner}")),
            inner.prop_map(|inner| format!("({inner})")),
        ]
    });
    let list = vec(expression.clone(), 2..3).prop_map(|list| format!("[{}]", list.join(", ")));
    prop_oneof![6 => expression, 1 => list]
}

/// Equality, wildcards and positions on texts.
pub fn ordinary() -> impl Strategy<Value = Item> {
    let values = vec(prop_oneof![4 => select(&TEXTS[..13]), 1 => select(&PATTERNS[..8])], 1..3);
    let modifier = select(&["", "", "contains", "startswith", "endswith", "cased", "exists"][..]);
    (select(&FIELDS[..6]), modifier, values).prop_map(|(field, modifier, values)| {
        let values = if modifier == "exists" {
            vec![Written::plain(["true", "false"][values.len() % 2])]
        } else {
            values.into_iter().map(Written::quoted).collect()
        };
        let modifiers = Some(modifier).filter(|modifier| !modifier.is_empty()).into_iter().collect();
        Item { field: Some(field.to_owned()), modifiers, values }
    })
}

/// An item of any kind.
pub fn item() -> impl Strategy<Value = Item> {
    let kind = prop_oneof![
        4 => (Just(vec![]), text_values()),
        4 => (flags(&["contains", "cased", "all"]), text_values()),
        2 => (flags(&["startswith", "cased", "neq"]), text_values()),
        2 => (flags(&["endswith", "all", "neq"]), text_values()),
        2 => (with("re", &["i", "m", "s", "neq", "all"]), values(&REGEXES)),
        2 => (with("cidr", &["neq", "all"]), values(&NETWORKS)),
        2 => (with("exists", &["neq"]), values(&["true", "false", "yes", "no", "on", "maybe"])),
        3 => (with("fieldref", &["cased", "neq", "contains"]), values(&FIELDS)),
        1 => (with("fieldref", &["startswith", "endswith"]), values(&["a", "b", "*", "a\\*b"])),
        2 => (comparison(), values(&NUMBERS)),
        1 => (comparison(), values(&["9007199254740992", "9007199254740993", "8"])),
        2 => (part_of_time(), values(&["3", "42", "10", "28", "7", "2023", "01"])),
        3 => (transforms(), values(&["foo", "foobar", "-f", " -f", "a-f", "/f", "f*", "x", "--f -f -f -f -f"])),
        1 => (vec(select(&ALL_MODIFIERS[..]), 0..4), text_values()),
    ];
    (prop::option::weighted(0.94, select(&FIELDS[..])), kind).prop_map(|(field, (modifiers, values))| {
        let mut item = Item { field: field.map(str::to_owned), modifiers: Vec::new(), values };
        for modifier in modifiers {
            if !item.modifiers.contains(&modifier) {
                item.modifiers.push(modifier);
            }
        }
        // Without both it would be a list of keywords, which stands in no map.
        if item.field.is_none() && item.modifiers.is_empty() {
            item.field = Some("a".to_owned());
        }
        item
    })
}

/// An item on the field `a`, and a record that has one of its values there, as the item asks for it, among others.
pub fn meeting() -> impl Strategy<Value = (Item, String)> {
    let item = prop_oneof![
        2 => item(),
        1 => (transforms(), values(&["foo", "foobar", "fo", "-f", " -f", "a/f -f"]))
            .prop_map(|(modifiers, values)| Item { field: None, modifiers, values }),
    ];
    let around = select(&["", "", "", "x", "-", "fo"][..]);
    (item, any::<prop::sample::Index>(), around.clone(), around, any::<bool>()).prop_map(
        |(item, form, before, behind, list)| {
            let item = Item { field: Some("a".to_owned()), ..item };
            let forms: Vec<String> = item.values.iter().flat_map(|value| forms(&item, value)).collect();
            let text = if forms.is_empty() { "" } else { form.get(&forms) };
            let text =
                serde_json::to_string(&format!("{before}{text}{behind}")).expect("a text has a JSON form");
            let value = if list { format!("[{text},1]") } else { text };
            (item, object([("a", value)], None))
        },
    )
}

const ALL_MODIFIERS: [&str; 20] = [
    "contains",
    "startswith",
    "endswith",
    "all",
    "cased",
    "neq",
    "re",
    "i",
    "cidr",
    "exists",
    "fieldref",
    "lt",
    "gte",
    "hour",
    "windash",
    "wide",
    "utf16",
    "base64",
    "base64offset",
    "year",
];

type Modifiers = Vec<&'static str>;

fn flags(flags: &'static [&'static str]) -> BoxedStrategy<Modifiers> {
    subsequence(flags, 0..=flags.len()).boxed()
}

fn with(first: &'static str, rest: &'static [&'static str]) -> BoxedStrategy<Modifiers> {
    let rest = prop_oneof![3 => Just(Vec::new()), 2 => subsequence(rest, 0..=rest.len())];
    rest.prop_map(move |rest| std::iter::once(first).chain(rest).collect()).boxed()
}

fn comparison() -> BoxedStrategy<Modifiers> {
    let operator = select(&["lt", "lte", "gt", "gte"][..]);
    (operator, flags(&["neq", "all"])).prop_map(|(operator, rest)| [vec![operator], rest].concat()).boxed()
}

fn part_of_time() -> BoxedStrategy<Modifiers> {
    let part = select(&["minute", "hour", "day", "week", "month", "year"][..]);
    let operator =
        prop_oneof![3 => Just(vec![]), 1 => select(&["lt", "gte"][..]).prop_map(|operator| vec![operator])];
    (part, operator).prop_map(|(part, operator)| [vec![part], operator].concat()).boxed()
}

fn transforms() -> BoxedStrategy<Modifiers> {
    let rest = prop_oneof![Just(vec![]), flags(&["contains", "cased"]), Just(vec!["startswith"])];
    let some = subsequence(&TRANSFORMS[..], 1..3).prop_shuffle();
    (some, rest).prop_map(|(some, rest)| [some, rest].concat()).boxed()
}

fn text_values() -> BoxedStrategy<Vec<Written>> {
    let value = prop_oneof![
        6 => select(&TEXTS[..]).prop_map(Written::quoted),
        2 => select(&PATTERNS[..]).prop_map(Written::quoted),
        2 => select(&LITERALS[..]).prop_map(Written::plain),
    ];
    vec(value, 1..4).boxed()
}

fn values(texts: &'static [&'static str]) -> BoxedStrategy<Vec<Written>> {
    vec(select(texts).prop_map(Written::quoted), 1..3).boxed()
}
