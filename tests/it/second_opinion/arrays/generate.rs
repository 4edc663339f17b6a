//! Rules about elements, and records with lists that they name.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;

use super::rule::{Body, Elements, Map, Part};
use crate::second_opinion::generate::{object, ordinary};

const TEXTS: [&str; 8] = [r#""x""#, r#""x""#, r#""y""#, r#""xy""#, "1", "true", "null", r#""""#];
const KEYS: [&str; 4] = ["a", "b", "c", "d"];
const PATHS: [&str; 6] = ["a", "a", "b", "c", "a.b", "b.c"];
const CONDITIONS: [&str; 6] =
    ["p and q", "p or q", "p and not q", "not (p or q)", "1 of them", "all of them"];

pub fn map() -> impl Strategy<Value = Map> {
    let item = ordinary().prop_map(Part::Item);
    let leaf = prop_oneof![3 => elements(vec(test(), 1..3).prop_map(unique).boxed()), 1 => item];
    let nested = elements(
        vec(prop_oneof![test(), elements(vec(test(), 1..3).prop_map(unique).boxed())], 1..3)
            .prop_map(unique)
            .boxed(),
    );
    vec(prop_oneof![2 => leaf, 1 => nested], 1..3).prop_map(unique)
}

/// A test within an element.
fn test() -> BoxedStrategy<Part> {
    (ordinary(), prop::bool::weighted(0.4))
        .prop_map(|(mut item, itself)| {
            if itself {
                item.field = Some(".".to_owned());
            }
            Part::Item(item)
        })
        .boxed()
}

fn elements(map: BoxedStrategy<Map>) -> BoxedStrategy<Part> {
    let body = prop_oneof![
        2 => map.clone().prop_map(Body::Map),
        1 => (map.clone(), map, select(&CONDITIONS[..]))
            .prop_map(|(p, q, condition)| Body::Named(vec![("p", p), ("q", q)], condition)),
        2 => test().prop_map(|part| match part {
            Part::Item(item) => Body::Short(item),
            part @ Part::Elements(_) => Body::Map(vec![part]),
        }),
    ];
    let quantifier = select(&["any", "all", "all_or_empty", "none"][..]);
    (select(&PATHS[..]), quantifier, body)
        .prop_map(|(path, quantifier, body)| {
            Part::Elements(Elements { path: path.to_owned(), quantifier, body })
        })
        .boxed()
}

/// A map has a key once.
fn unique(parts: Vec<Part>) -> Map {
    let mut map = Map::new();
    for part in parts {
        if map.iter().all(|known| known.key() != part.key()) {
            map.push(part);
        }
    }
    map
}

pub fn record() -> impl Strategy<Value = String> {
    let scalar = select(&TEXTS[..]).prop_map(str::to_owned);
    let value = scalar.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            3 => vec(inner.clone(), 0..4).prop_map(|elements| format!("[{}]", elements.join(","))),
            2 => btree_map(select(&KEYS[..]), inner, 0..4).prop_map(|members| object(members, None)),
        ]
    });
    btree_map(select(&KEYS[..]), value, 1..5).prop_map(|members| object(members, None))
}
