//! The values of a parsed record: a flat list of nodes and a cursor over it.
//!
//! Nodes stand in document order, each container before its content, so that a value is a slice. Numbers
//! keep the text that the record has. Of duplicate keys only the last one is there.

use std::borrow::Cow;

/// A JSON value; a cheap copy that borrows from the parsed record.
#[derive(Debug, Clone, Copy)]
pub struct Value<'e>(&'e [Node<'e>]);

/// A string, number, boolean or null by itself, outside of any record.
#[derive(Debug, Clone)]
pub struct Scalar<'e>([Node<'e>; 1]);

impl<'e> Scalar<'e> {
    /// A string of this text.
    #[must_use]
    pub fn text(text: &'e str) -> Self {
        Self([Node::String(text.into())])
    }

    /// What JSON writes so without quotes.
    #[must_use]
    pub fn literal(literal: &'e str) -> Self {
        Self([match literal {
            "null" => Node::Null,
            "true" => Node::Bool(true),
            "false" => Node::Bool(false),
            number => Node::Number(number.into()),
        }])
    }

    /// It as a value.
    #[must_use]
    pub fn value(&self) -> Value<'_> {
        Value(&self.0)
    }
}

/// What a [`Value`] is.
#[derive(Debug, Clone)]
pub enum Kind<'e> {
    /// JSON null.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number, by its text.
    Number(Number<'e>),
    /// A string without its escapes.
    String(&'e str),
    /// A list.
    Array(Elements<'e>),
    /// An object.
    Object(Members<'e>),
}

/// A number that can be written as the record wrote it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number<'e> {
    /// A number whose text is that of this integer.
    Int(i128),
    /// Any other number: its text.
    Text(&'e str),
}

/// One step of the flat list.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node<'e> {
    Null,
    Bool(bool),
    Int(i128),
    Number(Cow<'e, str>),
    String(Cow<'e, str>),
    /// Elements follow: `count` nodes in all.
    Array {
        count: usize,
    },
    /// Keys and values follow in turn: `count` nodes in all.
    Object {
        count: usize,
    },
}

impl Node<'_> {
    /// The same, borrowing from nothing.
    pub(super) fn into_owned(self) -> Node<'static> {
        match self {
            Node::Null => Node::Null,
            Node::Bool(value) => Node::Bool(value),
            Node::Int(value) => Node::Int(value),
            Node::Number(text) => Node::Number(text.into_owned().into()),
            Node::String(text) => Node::String(text.into_owned().into()),
            Node::Array { count } => Node::Array { count },
            Node::Object { count } => Node::Object { count },
        }
    }

    /// How many nodes the value has that begins here, this one included.
    pub(super) fn span(&self) -> usize {
        match self {
            Node::Array { count } | Node::Object { count } => count + 1,
            _ => 1,
        }
    }
}

impl<'e> Value<'e> {
    /// The first value of a list of nodes; there must be one.
    pub(super) fn first(nodes: &'e [Node<'e>]) -> Self {
        Self(&nodes[..nodes[0].span()])
    }

    /// The indices of the nodes that are keys of this object; none of anything else.
    pub(super) fn key_indices(self) -> impl Iterator<Item = usize> {
        let end = if matches!(self.0[0], Node::Object { .. }) { self.0.len() } else { 0 };
        let mut at = 1;
        std::iter::from_fn(move || {
            let key = (at < end).then_some(at)?;
            at = key + 1 + self.0[key + 1].span();
            Some(key)
        })
    }

    /// The node of this index.
    pub(super) fn node(self, index: usize) -> Option<&'e Node<'e>> {
        self.0.get(index)
    }

    /// The value that begins at the node of this index.
    pub(super) fn value_at(self, index: usize) -> Option<Value<'e>> {
        self.0.get(index..).map(Value::first)
    }

    /// What it is.
    #[must_use]
    pub fn kind(self) -> Kind<'e> {
        match &self.0[0] {
            Node::Null => Kind::Null,
            Node::Bool(value) => Kind::Bool(*value),
            Node::Int(value) => Kind::Number(Number::Int(*value)),
            Node::Number(text) => Kind::Number(Number::Text(text)),
            Node::String(text) => Kind::String(text),
            Node::Array { .. } => Kind::Array(Elements(&self.0[1..])),
            Node::Object { .. } => Kind::Object(Members(Elements(&self.0[1..]))),
        }
    }

    /// Whether it is JSON null.
    #[must_use]
    pub fn is_null(self) -> bool {
        matches!(self.kind(), Kind::Null)
    }

    /// The value of a key of an object.
    #[must_use]
    pub fn get(self, key: &str) -> Option<Value<'e>> {
        let Kind::Object(mut members) = self.kind() else { return None };
        members.find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// The text of a string, number or boolean.
    #[must_use]
    pub fn scalar_text(self) -> Option<Cow<'e, str>> {
        match self.kind() {
            Kind::Null | Kind::Array(_) | Kind::Object(_) => None,
            Kind::Bool(value) => Some(if value { "true" } else { "false" }.into()),
            Kind::Number(number) => Some(number.text()),
            Kind::String(text) => Some(text.into()),
        }
    }

    /// The value as compact JSON, escaped as CloudTrail escapes: only what JSON requires.
    #[must_use]
    pub fn to_json(self) -> String {
        let mut json = String::new();
        self.write_json(&mut json);
        json
    }

    fn write_json(self, json: &mut String) {
        match self.kind() {
            Kind::Null => json.push_str("null"),
            Kind::Bool(value) => json.push_str(if value { "true" } else { "false" }),
            Kind::Number(number) => json.push_str(&number.text()),
            Kind::String(text) => write_string(text, json),
            Kind::Array(elements) => {
                json.push('[');
                for (i, element) in elements.enumerate() {
                    if i > 0 {
                        json.push(',');
                    }
                    element.write_json(json);
                }
                json.push(']');
            }
            Kind::Object(members) => {
                json.push('{');
                for (i, (key, value)) in members.enumerate() {
                    if i > 0 {
                        json.push(',');
                    }
                    write_string(key, json);
                    json.push(':');
                    value.write_json(json);
                }
                json.push('}');
            }
        }
    }
}

impl<'e> Number<'e> {
    /// The number as the record wrote it.
    #[must_use]
    pub fn text(self) -> Cow<'e, str> {
        match self {
            Number::Int(value) => value.to_string().into(),
            Number::Text(text) => text.into(),
        }
    }
}

/// The elements of a list, in order.
#[derive(Debug, Clone)]
pub struct Elements<'e>(&'e [Node<'e>]);

impl<'e> Iterator for Elements<'e> {
    type Item = Value<'e>;

    fn next(&mut self) -> Option<Value<'e>> {
        if self.0.is_empty() {
            return None;
        }
        let value = Value::first(self.0);
        self.0 = &self.0[value.0.len()..];
        Some(value)
    }
}

/// The keys and values of an object, in order; no key stands twice.
#[derive(Debug, Clone)]
pub struct Members<'e>(Elements<'e>);

impl<'e> Iterator for Members<'e> {
    type Item = (&'e str, Value<'e>);

    fn next(&mut self) -> Option<(&'e str, Value<'e>)> {
        let Kind::String(key) = self.0.next()?.kind() else { return None };
        Some((key, self.0.next()?))
    }
}

fn write_string(text: &str, json: &mut String) {
    use std::fmt::Write;
    json.push('"');
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            c if c < ' ' => {
                let _ = write!(json, "\\u{:04x}", u32::from(c));
            }
            c => json.push(c),
        }
    }
    json.push('"');
}
