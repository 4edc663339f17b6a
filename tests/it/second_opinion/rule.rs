//! Rules as a tree of items, so that each item can be looked at by itself.

use std::fmt::Write;

use rsigma_parser::{Detection, SigmaValue};
use trailhound::sigma::modifier_name;

/// A detection: its selections by name, and its condition in YAML.
#[derive(Debug, Clone)]
pub struct Rule {
    pub selections: Vec<(String, Selection)>,
    pub condition: String,
}

/// What stands under the name of a selection.
#[derive(Debug, Clone)]
pub enum Selection {
    /// Items of which all hold.
    Map(Vec<Item>),
    /// Alternatives.
    List(Vec<Selection>),
    /// A list of keywords.
    Keywords(Item),
}

/// One `field|modifier: values`, or keywords.
#[derive(Debug, Clone, Default)]
pub struct Item {
    /// None for keywords.
    pub field: Option<String>,
    pub modifiers: Vec<&'static str>,
    pub values: Vec<Written>,
}

/// A scalar as a rule has it.
#[derive(Debug, Clone)]
pub struct Written {
    pub text: String,
    pub quoted: bool,
}

impl Rule {
    /// A rule of one item.
    pub fn of(item: &Item) -> Self {
        let bare = item.field.is_none() && item.modifiers.is_empty();
        let selection =
            if bare { Selection::Keywords(item.clone()) } else { Selection::Map(vec![item.clone()]) };
        Self { selections: vec![("s".to_owned(), selection)], condition: "s".to_owned() }
    }

    /// All items, in the order of the selections.
    pub fn items(&self) -> Vec<&Item> {
        let mut items = Vec::new();
        self.selections.iter().for_each(|(_, selection)| selection.collect(&mut items));
        items
    }

    /// Its document.
    pub fn document(&self) -> String {
        let mut text = "title: T\nlogsource: {product: aws, service: cloudtrail}\ndetection:\n".to_owned();
        for (name, selection) in &self.selections {
            let _ = writeln!(text, "  {name}: {}", selection.flow());
        }
        let _ = writeln!(text, "  condition: {}", self.condition);
        text
    }
}

impl Selection {
    fn collect<'s>(&'s self, items: &mut Vec<&'s Item>) {
        match self {
            Selection::Map(map) => items.extend(map),
            Selection::List(list) => list.iter().for_each(|selection| selection.collect(items)),
            Selection::Keywords(item) => items.push(item),
        }
    }

    fn flow(&self) -> String {
        match self {
            Selection::Map(items) => {
                let entries = items.iter().map(|item| format!("{}: {}", quoted(&item.key()), item.flow()));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
            }
            Selection::List(list) => {
                format!("[{}]", list.iter().map(Selection::flow).collect::<Vec<_>>().join(", "))
            }
            Selection::Keywords(item) => format!("[{}]", item.list()),
        }
    }

    /// The selection of a parsed rule; none of what Sigma 2 does not know.
    pub fn of(detection: &Detection) -> Option<Self> {
        let all = |parts: &[Detection]| parts.iter().map(Selection::of).collect::<Option<_>>();
        Some(match detection {
            Detection::AllOf(items) => Selection::Map(items.iter().map(Item::of).collect()),
            Detection::AnyOf(parts) => Selection::List(all(parts)?),
            Detection::Keywords(values) => {
                let values = values.iter().map(Written::of).collect();
                Selection::Keywords(Item { values, ..Item::default() })
            }
            Detection::And(_) | Detection::ArrayMatch { .. } | Detection::Conditional { .. } => return None,
        })
    }
}

impl Item {
    /// The field and its modifiers as a rule writes them.
    pub fn key(&self) -> String {
        let field = self.field.as_deref().unwrap_or_default();
        std::iter::once(field).chain(self.modifiers.iter().copied()).collect::<Vec<_>>().join("|")
    }

    fn list(&self) -> String {
        self.values.iter().map(Written::flow).collect::<Vec<_>>().join(", ")
    }

    /// The value, or the list of values.
    pub fn flow(&self) -> String {
        match &self.values[..] {
            [value] => value.flow(),
            _ => format!("[{}]", self.list()),
        }
    }

    /// Reads `field|modifier` and a value, or a list of values, in JSON.
    pub fn read(key: &str, values: &str) -> Self {
        let mut parts = key.split('|');
        let field = parts.next().filter(|field| !field.is_empty()).map(str::to_owned);
        let modifiers = parts.map(|part| modifier_name(part.parse().expect("a modifier"))).collect();
        let values = match serde_json::from_str(values).expect("values are JSON") {
            serde_json::Value::Array(values) => values,
            value => vec![value],
        };
        let written = |value: &serde_json::Value| match value {
            serde_json::Value::String(text) => Written::quoted(text),
            value => Written::plain(&value.to_string()),
        };
        Self { field, modifiers, values: values.iter().map(written).collect() }
    }

    fn of(item: &rsigma_parser::DetectionItem) -> Self {
        Self {
            field: item.field.name.clone(),
            modifiers: item.field.modifiers.iter().map(|modifier| modifier_name(*modifier)).collect(),
            values: item.values.iter().map(Written::of).collect(),
        }
    }
}

impl Written {
    pub fn quoted(text: &str) -> Self {
        Self { text: text.to_owned(), quoted: true }
    }

    pub fn plain(text: &str) -> Self {
        Self { text: text.to_owned(), quoted: false }
    }

    fn flow(&self) -> String {
        if self.quoted { quoted(&self.text) } else { self.text.clone() }
    }

    fn of(value: &SigmaValue) -> Self {
        match value {
            SigmaValue::String(text) => Self::quoted(&text.original),
            SigmaValue::Null => Self::plain("null"),
            SigmaValue::Integer(_) | SigmaValue::Float(_) | SigmaValue::Bool(_) => {
                Self::plain(&value.to_string())
            }
        }
    }
}

/// The string of JSON is one of YAML, too.
pub fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text has a JSON form")
}
