//! Rules about the elements of lists, in a form that can be put into other words.

use crate::second_opinion::json::Json;
use crate::second_opinion::known::said;
use crate::second_opinion::rule::{Item, Written, quoted};

/// What stands in a map: all of it holds.
pub type Map = Vec<Part>;

/// One key of a map.
#[derive(Debug, Clone)]
pub enum Part {
    /// A test; within elements the field `.` is the element itself.
    Item(Item),
    Elements(Elements),
}

/// `path[quantifier]` and what is asked of the elements.
#[derive(Debug, Clone)]
pub struct Elements {
    pub path: String,
    pub quantifier: &'static str,
    pub body: Body,
}

/// What is asked of an element.
#[derive(Debug, Clone)]
pub enum Body {
    /// Of one test, whose key stands behind the quantifier.
    Short(Item),
    Map(Map),
    /// Maps by name, and a condition.
    Named(Vec<(&'static str, Map)>, &'static str),
}

/// The document of a rule whose condition is the map, or its negation.
pub fn document(map: &Map, negated: bool) -> String {
    let condition = if negated { "not s" } else { "s" };
    let head = "title: T\nsigma-version: 3\nlogsource: {product: aws, service: cloudtrail}\ndetection:\n";
    format!("{head}  s: {}\n  condition: {condition}\n", flow(map))
}

fn flow(map: &Map) -> String {
    let entries = map.iter().map(|part| format!("{}: {}", quoted(&part.key()), part.flow()));
    format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
}

impl Part {
    pub fn key(&self) -> String {
        match self {
            Part::Item(item) => item.key(),
            Part::Elements(Elements { path, quantifier, body }) => {
                let rest = match body {
                    Body::Short(item) => item.key(),
                    _ => String::new(),
                };
                let itself = rest.strip_prefix('.').map(str::to_owned);
                let rest = itself.unwrap_or_else(|| if rest.is_empty() { rest } else { format!(".{rest}") });
                format!("{path}[{quantifier}]{rest}")
            }
        }
    }

    fn flow(&self) -> String {
        match self {
            Part::Item(item) | Part::Elements(Elements { body: Body::Short(item), .. }) => item.flow(),
            Part::Elements(Elements { body: Body::Map(map), .. }) => flow(map),
            Part::Elements(Elements { body: Body::Named(maps, condition), .. }) => {
                let maps = maps.iter().map(|(name, map)| format!("{name}: {}", flow(map)));
                format!("{{{}, condition: {condition}}}", maps.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// The same rule about flags: what it says of a list depends on nothing but what each test says of each element.
pub fn about_flags(map: &Map) -> Map {
    let part = |(number, part): (usize, &Part)| match part {
        Part::Item(_) => Part::Item(flag(number)),
        Part::Elements(Elements { quantifier, body, .. }) => {
            let body = match body {
                Body::Short(_) => Body::Short(flag(0)),
                Body::Map(map) => Body::Map(about_flags(map)),
                Body::Named(maps, condition) => {
                    let maps = maps.iter().map(|(name, map)| (*name, with_prefix(name, about_flags(map))));
                    Body::Named(maps.collect(), condition)
                }
            };
            Part::Elements(Elements { path: name(number), quantifier, body })
        }
    };
    map.iter().enumerate().map(part).collect()
}

/// The flags of a record or element: for each test what the other engine says of it alone, with all that is known of
/// tests; for each list its elements' flags.
pub fn flags(map: &Map, value: &Json) -> Vec<(String, Json)> {
    let flags = map.iter().enumerate().map(|(number, part)| {
        let flag = match part {
            Part::Item(item) => holds(item, value),
            Part::Elements(Elements { path, body, .. }) => {
                let lists = value.at(path).into_iter();
                let elements = lists.flat_map(|list| match list {
                    Json::List(elements) => elements.iter().collect(),
                    Json::Null => Vec::new(),
                    single => vec![single],
                });
                Json::List(elements.map(|element| Json::Object(body.flags(element))).collect())
            }
        };
        (name(number), flag)
    });
    flags.collect()
}

impl Body {
    fn flags(&self, element: &Json) -> Vec<(String, Json)> {
        match self {
            Body::Short(item) => vec![(name(0), holds(item, element))],
            Body::Map(map) => flags(map, element),
            Body::Named(maps, _) => {
                let all = maps.iter().flat_map(|(name, map)| {
                    flags(map, element).into_iter().map(move |(flag, value)| (format!("{name}{flag}"), value))
                });
                all.collect()
            }
        }
    }
}

fn name(number: usize) -> String {
    format!("f{number}")
}

fn flag(number: usize) -> Item {
    Item { field: Some(name(number)), modifiers: Vec::new(), values: vec![Written::quoted("yes")] }
}

fn with_prefix(prefix: &str, mut map: Map) -> Map {
    for part in &mut map {
        match part {
            Part::Item(item) => item.field = item.field.take().map(|field| format!("{prefix}{field}")),
            Part::Elements(elements) => elements.path = format!("{prefix}{}", elements.path),
        }
    }
    map
}

/// What is said of a test of an element, or of a record, which is no list.
fn holds(item: &Item, value: &Json) -> Json {
    let field = item.field.as_deref().unwrap_or_default();
    let field = if field == "." { "e".to_owned() } else { format!("e.{field}") };
    let item = Item { field: Some(field), ..item.clone() };
    let record = Json::record("e", Some(value.clone()));
    let answer = said(&item, &record, None, &mut std::collections::BTreeSet::new());
    let answer = if answer == crate::second_opinion::engines::Answer::Yes { "yes" } else { "no" };
    Json::Text(answer.to_owned())
}
