//! YAML that remembers its lines: the span-keeping reader in front of the Sigma parser.
//!
//! A rule file is cut at `---` here, so that a syntax error in one document leaves the others readable.
//! Scalars keep the text that stands in the file: an unquoted `No`, `1.10` or `007` is what CloudTrail writes,
//! whatever a YAML reader would make of it. Aliases are expanded within a budget.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde::{Deserialize, Serialize};

/// The largest rule file, in bytes: 1 MiB.
pub const MAX_FILE: u64 = 1 << 20;
/// Nodes of a document, aliases expanded.
const MAX_NODES: usize = 50_000;
const MAX_DEPTH: usize = 40;
/// Bytes of texts that aliases add to a document.
const MAX_ALIASED: usize = 4 << 20;

/// One value of a document, and where it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Node {
    /// 1 is the first line of the file.
    pub(super) line: usize,
    pub(super) data: Data,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Data {
    Null,
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Key {
    pub(super) line: usize,
    pub(super) text: String,
}

/// A text, and where it stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Line<'n> {
    pub(super) number: usize,
    pub(super) text: &'n str,
}

/// What is wrong with a document, and where.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub(super) struct YamlError {
    pub(super) line: usize,
    pub(super) message: String,
}

/// One document of a file: its first line and its text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Document<'f> {
    pub(super) line: usize,
    pub(super) text: &'f str,
}

/// Cuts a file at its document marks; documents without content are left out.
pub(super) fn documents(file: &str) -> Vec<Document<'_>> {
    let file = file.strip_prefix('\u{feff}').unwrap_or(file);
    let mut documents = Vec::new();
    let (mut start, mut start_line, mut at) = (0, 1, 0);
    for (index, line) in file.split_inclusive('\n').enumerate() {
        if let Some(mark) = ["---", "..."].into_iter().find(|mark| is_mark(line, mark)) {
            documents.push(Document { line: start_line, text: &file[start..at] });
            (start, start_line) =
                if mark == "---" { (at + 3, index + 1) } else { (at + line.len(), index + 2) };
        }
        at += line.len();
    }
    documents.push(Document { line: start_line, text: &file[start..] });
    documents.retain(|document| document.text.lines().any(has_content));
    documents
}

/// The documents of a file that the build has read, each with its first line.
pub(super) fn prepared(bytes: &[u8]) -> Vec<(usize, Node)> {
    postcard::from_bytes(bytes).expect("the build has written it")
}

fn is_mark(line: &str, mark: &str) -> bool {
    line.strip_prefix(mark).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// The line breaks in a text; to YAML a carriage return by itself is one, too.
fn breaks(text: &str) -> usize {
    text.matches(['\n', '\r']).count() - text.matches("\r\n").count()
}

fn has_content(line: &str) -> bool {
    let line = line.trim_start();
    !line.is_empty() && !line.starts_with(['#', '%'])
}

impl Document<'_> {
    /// Reads the document.
    pub(super) fn read(&self) -> Result<Node, YamlError> {
        let mut reader = Reader {
            parser: Parser::new_from_str(self.text),
            first_line: self.line,
            last_line: self.line + breaks(self.text.trim_end()),
            anchors: HashMap::new(),
            nodes: 0,
            aliased: 0,
        };
        loop {
            let (event, span) = reader.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
                Event::StreamEnd | Event::DocumentEnd => {
                    return Ok(Node { line: self.line, data: Data::Null });
                }
                event => return reader.node(event, span, 0),
            }
        }
    }
}

struct Reader<'f> {
    parser: Parser<'f, saphyr_parser::StrInput<'f>>,
    first_line: usize,
    last_line: usize,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    aliased: usize,
}

impl<'f> Reader<'f> {
    fn next(&mut self) -> Result<(Event<'f>, Span), YamlError> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(YamlError {
                line: (self.first_line + error.marker().line().saturating_sub(1)).min(self.last_line),
                message: format!("not YAML: {}", error.info()),
            }),
            None => Err(YamlError { line: self.first_line, message: "the document ends early".to_owned() }),
        }
    }

    fn node(&mut self, event: Event<'f>, span: Span, depth: usize) -> Result<Node, YamlError> {
        let line = (self.first_line + span.start.line().saturating_sub(1)).min(self.last_line);
        let refuse = |message: &str| Err(YamlError { line, message: message.to_owned() });
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return refuse("too many values; are aliases multiplying?");
        }
        if depth > MAX_DEPTH {
            return refuse("nested too deeply");
        }
        let (anchor, data) = match event {
            Event::Alias(anchor) => return self.alias(anchor, line),
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                if plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL") {
                    (anchor, Data::Null)
                } else {
                    (anchor, Data::Scalar(text.into_owned()))
                }
            }
            Event::SequenceStart(anchor, _) => (anchor, self.list(depth)?),
            Event::MappingStart(anchor, _) => (anchor, self.map(depth)?),
            _ => return refuse("not a value"),
        };
        let node = Node { line, data };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Data, YamlError> {
        let mut list = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Data::List(list)),
                (event, span) => list.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Data, YamlError> {
        let mut map: Vec<(Key, Node)> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Data::Map(map));
            }
            let key = self.node(event, span, depth + 1)?;
            let refuse = |message| Err(YamlError { line: key.line, message });
            let text = match key.data {
                Data::Scalar(text) => text,
                Data::Null => "null".to_owned(),
                Data::List(_) | Data::Map(_) => return refuse("a key must be a word".to_owned()),
            };
            if text == "<<" {
                return refuse("merge keys (`<<`) are not supported".to_owned());
            }
            if map.iter().any(|(known, _)| known.text == text) {
                return refuse(format!("the key `{text}` stands here twice"));
            }
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            map.push((Key { line: key.line, text }, value));
        }
    }

    fn alias(&mut self, anchor: usize, line: usize) -> Result<Node, YamlError> {
        let Some(node) = self.anchors.get(&anchor) else {
            return Err(YamlError { line, message: "an alias within its own anchor".to_owned() });
        };
        self.nodes += node.size();
        self.aliased += node.bytes();
        if self.nodes > MAX_NODES || self.aliased > MAX_ALIASED {
            return Err(YamlError { line, message: "too many values; are aliases multiplying?".to_owned() });
        }
        Ok(node.clone())
    }
}

impl Node {
    /// The value of a key of a map.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|(known, _)| known.text == key).map(|(_, value)| value)
    }

    /// The keys and values of a map; none of anything else.
    pub(super) fn entries(&self) -> &[(Key, Node)] {
        match &self.data {
            Data::Map(entries) => entries,
            _ => &[],
        }
    }

    /// Whether it is a scalar or null.
    pub(super) fn is_flat(&self) -> bool {
        matches!(self.data, Data::Null | Data::Scalar(_))
    }

    /// The text of a scalar.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.data {
            Data::Scalar(text) => Some(text),
            _ => None,
        }
    }

    /// The texts of a scalar or of a list of scalars, each with its line; none of anything else.
    pub(super) fn texts(&self) -> Option<Vec<Line<'_>>> {
        match &self.data {
            Data::Scalar(text) => Some(vec![Line { number: self.line, text }]),
            Data::List(list) => {
                list.iter().map(|node| Some(Line { number: node.line, text: node.text()? })).collect()
            }
            Data::Null | Data::Map(_) => None,
        }
    }

    /// Removes a key of a map; returns its value.
    pub(super) fn take(&mut self, key: &str) -> Option<Node> {
        let Data::Map(entries) = &mut self.data else { return None };
        let at = entries.iter().position(|(known, _)| known.text == key)?;
        Some(entries.remove(at).1)
    }

    /// Lays the other map over this one, map by map.
    pub(super) fn merge(&mut self, other: Node) {
        match (&mut self.data, other.data) {
            (Data::Map(entries), Data::Map(others)) => {
                for (key, value) in others {
                    match entries.iter_mut().find(|(known, _)| known.text == key.text) {
                        Some((_, known)) => known.merge(value),
                        None => entries.push((key, value)),
                    }
                }
            }
            (data, other_data) => {
                *data = other_data;
                self.line = other.line;
            }
        }
    }

    /// The document in the flow style of YAML, every scalar quoted, for a reader that keeps no lines.
    pub(super) fn to_flow(&self) -> String {
        let mut flow = String::new();
        self.write_flow(&mut flow);
        flow
    }

    fn write_flow(&self, flow: &mut String) {
        match &self.data {
            Data::Null => flow.push_str("null"),
            Data::Scalar(text) => write_quoted(text, flow),
            Data::List(list) => {
                flow.push('[');
                for node in list {
                    node.write_flow(flow);
                    flow.push(',');
                }
                flow.push(']');
            }
            Data::Map(entries) => {
                flow.push('{');
                for (key, value) in entries {
                    // The explicit form has no limit on the length of a key.
                    flow.push_str("? ");
                    write_quoted(&key.text, flow);
                    flow.push_str(" : ");
                    value.write_flow(flow);
                    flow.push(',');
                }
                flow.push('}');
            }
        }
    }

    /// How many nodes it is, keys included.
    pub(super) fn size(&self) -> usize {
        1 + match &self.data {
            Data::Null | Data::Scalar(_) => 0,
            Data::List(list) => list.iter().map(Node::size).sum(),
            Data::Map(entries) => entries.iter().map(|(_, value)| 1 + value.size()).sum(),
        }
    }

    fn bytes(&self) -> usize {
        match &self.data {
            Data::Null => 0,
            Data::Scalar(text) => text.len(),
            Data::List(list) => list.iter().map(Node::bytes).sum(),
            Data::Map(entries) => entries.iter().map(|(key, value)| key.text.len() + value.bytes()).sum(),
        }
    }
}

fn write_quoted(text: &str, flow: &mut String) {
    use std::fmt::Write;
    let is_special =
        |c: char| matches!(c, '"' | '\\' | '\u{2028}'..='\u{2029}' | '\u{feff}') || c.is_control();
    flow.push('"');
    let mut rest = text;
    // Most texts are plain, which is told without looking for each character's kind.
    if text.bytes().all(|byte| matches!(byte, b' ' | b'!' | b'#'..=b'[' | b']'..=b'~')) {
        flow.push_str(std::mem::take(&mut rest));
    }
    while let Some(at) = rest.find(is_special) {
        let (plain, special) = rest.split_at(at);
        flow.push_str(plain);
        let mut behind = special.chars();
        match behind.next() {
            Some(c @ ('"' | '\\')) => flow.extend(['\\', c]),
            Some(c) => _ = write!(flow, "\\U{:08X}", u32::from(c)),
            None => {}
        }
        rest = behind.as_str();
    }
    flow.push_str(rest);
    flow.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Node, YamlError> {
        documents(text)[0].read()
    }

    #[test]
    fn files_are_cut_at_document_marks() {
        let file = "# comment\n---\na: 1\n--- # next\nb: |\n  ---\n  x\n...\n\n---\n---\nc: 3";
        let found: Vec<_> = documents(file).iter().map(|document| (document.line, document.text)).collect();
        assert_eq!(found, [(2, "\na: 1\n"), (4, " # next\nb: |\n  ---\n  x\n"), (11, "\nc: 3")]);
        assert_eq!(documents(file)[1].read().unwrap().get("b").unwrap().text(), Some("---\nx\n"));
        assert_eq!(documents(file)[2].read().unwrap().get("c").unwrap().line, 12);
    }

    #[test]
    fn scalars_keep_their_text() {
        let node = read("[No, yes, 1.10, 007, 0x1F, 2023-07-10, true, 'null', ~, null, '', 1e3]").unwrap();
        let Data::List(list) = &node.data else { panic!("a list") };
        let texts: Vec<_> = list.iter().map(Node::text).collect();
        let expected = ["No", "yes", "1.10", "007", "0x1F", "2023-07-10", "true", "null"].map(Some);
        assert_eq!(texts[..8], expected);
        assert_eq!(texts[8..], [None, None, Some(""), Some("1e3")]);
    }

    #[test]
    fn bad_documents_name_their_line() {
        let bomb = format!(
            "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [{0}]\nd: &d [{1}]\ne: [{2}]\n",
            ["*b"; 10].join(","),
            ["*c"; 10].join(","),
            ["*d"; 10].join(",")
        );
        let texts = format!("a: &a {}\nb: [{}]", "x".repeat(500_000), vec!["*a"; 10_000].join(","));
        let deep = format!("a:\n  {}", "[".repeat(100_000));
        let cases = [
            ("a: 1\nb: [", 2, "not YAML"),
            ("a: 1\na: 2", 2, "twice"),
            ("a: 1\n? [x]\n: 2", 2, "must be a word"),
            ("a: &x 1\n<<: *x", 2, "merge keys"),
            ("a: *unknown", 1, "not YAML"),
            (&bomb, 5, "too many values"),
            (&texts, 2, "too many values"),
            ("a: &a [*a]", 1, "an alias within its own anchor"),
            (&deep, 2, ""),
        ];
        for (text, line, message) in cases {
            let error = read(text).unwrap_err();
            assert!(error.message.contains(message), "{message}: {}", error.message);
            assert_eq!(error.line, line, "{message}: {}", error.message);
        }
    }

    #[test]
    fn the_flow_style_says_the_same() {
        let node = read("a: \"x\\ty\\\\ \\\"é\\u2028\"\nb: [1, ~, {c: d}]\n? 'long key: #'\n: e").unwrap();
        let again = documents(&node.to_flow())[0].read().unwrap();
        assert_eq!(node.to_flow(), again.to_flow());
        assert_eq!(again.get("a").unwrap().text(), node.get("a").unwrap().text());
    }
}
