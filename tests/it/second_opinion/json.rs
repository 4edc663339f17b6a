//! JSON whose numbers keep their text, and the plainest reading of field paths.

use trailhound::event::{Kind, Parser, Value};

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads a record.
    pub fn read(record: &str) -> Self {
        Parser::default().parse_slowly(record.as_bytes(), |event| Json::of(event.root())).unwrap()
    }

    /// Reads any value.
    pub fn read_value(text: &str) -> Self {
        Json::read(&format!(r#"{{"a":{text}}}"#)).get("a").cloned().expect("it has one value")
    }

    fn of(value: Value<'_>) -> Self {
        match value.kind() {
            Kind::Null => Json::Null,
            Kind::Bool(value) => Json::Bool(value),
            Kind::Number(number) => Json::Number(number.text().into_owned()),
            Kind::String(text) => Json::Text(text.to_owned()),
            Kind::Array(elements) => Json::List(elements.map(Json::of).collect()),
            Kind::Object(members) => {
                Json::Object(members.map(|(key, value)| (key.to_owned(), Json::of(value))).collect())
            }
        }
    }

    /// An object of one member, or of none.
    pub fn record(key: &str, value: Option<Json>) -> Self {
        Json::Object(value.map(|value| (key.to_owned(), value)).into_iter().collect())
    }

    /// Its compact form.
    pub fn text(&self) -> String {
        let quoted = |text: &str| serde_json::to_string(text).expect("a text has a JSON form");
        match self {
            Json::Null => "null".to_owned(),
            Json::Bool(value) => value.to_string(),
            Json::Number(text) => text.clone(),
            Json::Text(text) => quoted(text),
            Json::List(list) => format!("[{}]", list.iter().map(Json::text).collect::<Vec<_>>().join(",")),
            Json::Object(members) => {
                let members = members.iter().map(|(key, value)| format!("{}:{}", quoted(key), value.text()));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }
        }
    }

    /// The value of a key of an object.
    pub fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.iter().find(|(known, _)| known == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The text of a scalar.
    pub fn scalar(&self) -> Option<String> {
        match self {
            Json::Bool(value) => Some(value.to_string()),
            Json::Number(text) | Json::Text(text) => Some(text.clone()),
            Json::Null | Json::List(_) | Json::Object(_) => None,
        }
    }

    /// The values at a dotted path: at each object the longest key that the path goes on with, through every
    /// element of a list on the way.
    pub fn at(&self, path: &str) -> Vec<&Json> {
        match self {
            Json::List(list) => list.iter().flat_map(|element| element.at(path)).collect(),
            Json::Object(_) => {
                let ends = path.match_indices('.').map(|(dot, _)| dot).chain([path.len()]);
                let Some((end, value)) =
                    ends.rev().find_map(|end| self.get(&path[..end]).map(|value| (end, value)))
                else {
                    return Vec::new();
                };
                if end == path.len() { vec![value] } else { value.at(&path[end + 1..]) }
            }
            _ => Vec::new(),
        }
    }

    /// What stands in lists, at any depth; itself if it is none.
    pub fn elements(&self) -> Vec<&Json> {
        match self {
            Json::List(list) => list.iter().flat_map(Json::elements).collect(),
            value => vec![value],
        }
    }

    /// It with every scalar changed, at any depth.
    pub fn map(&self, change: &dyn Fn(&Json) -> Json) -> Json {
        match self {
            Json::List(list) => Json::List(list.iter().map(|element| element.map(change)).collect()),
            Json::Object(members) => {
                Json::Object(members.iter().map(|(key, value)| (key.clone(), value.map(change))).collect())
            }
            scalar => change(scalar),
        }
    }
}
