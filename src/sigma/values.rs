//! What the placeholders of `expand` stand for.
//!
//! A file of values is a YAML map from names to lists of texts. `%name%` in a value of a rule becomes each of
//! the texts, which may have wildcards like any other value; an empty list matches nothing.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::rule::Place;
use super::yaml::{self, Data, Key, Node};
use super::{Problem, RuleError};

/// Texts that one value may become: several placeholders in it multiply.
const MAX_TEXTS: usize = 50_000;

/// Lists of texts by the names of their placeholders.
#[derive(Debug, Clone, Default)]
pub struct Values {
    file: Option<Arc<str>>,
    lists: HashMap<String, Vec<String>>,
}

/// What can be wrong with a placeholder.
#[derive(Debug, thiserror::Error)]
pub enum PlaceholderError {
    /// There is no file of values.
    #[error("`%{0}%` needs a file of values: give --values FILE, or `values` in the configuration")]
    NoFile(String),
    /// The file does not have it.
    #[error("`%{name}%` is not in {file}")]
    Unknown {
        /// The placeholder's name.
        name: String,
        /// The file of values.
        file: Arc<str>,
    },
    /// `expand` on a value without a placeholder.
    #[error("`expand` needs a placeholder such as `%name%`, and there is none in `{0}`")]
    Absent(String),
    /// Too many combinations.
    #[error("`{0}` becomes more than {MAX_TEXTS} values")]
    TooMany(String),
}

impl Values {
    /// Reads a file of values; returns everything that is wrong with it, too: it is no YAML, no map, or a name
    /// stands for something else than texts.
    #[must_use]
    pub fn read(file: &str, text: &str) -> (Self, Vec<Problem>) {
        let file: Arc<str> = file.into();
        let mut values = Self { file: Some(file.clone()), lists: HashMap::new() };
        let problem = |line, error| Problem { place: Place { file: file.clone(), line }, error };
        let mut problems = Vec::new();
        for document in yaml::documents(text) {
            match document.read() {
                Ok(node) => {
                    let wrong = values.take(node);
                    problems.extend(wrong.into_iter().map(|line| problem(line, RuleError::Values)));
                }
                Err(error) => problems.push(problem(error.line, RuleError::Yaml(error.message))),
            }
        }
        (values, problems)
    }

    /// Takes what a document says; returns the lines that cannot be used.
    fn take(&mut self, document: Node) -> Vec<usize> {
        let Data::Map(entries) = document.data else { return vec![document.line] };
        let mut wrong = Vec::new();
        for (Key { line, text: name }, node) in entries {
            match node.texts() {
                Some(texts) if is_name(&name) => {
                    let texts = texts.iter().map(|line| line.text.to_owned()).collect();
                    self.lists.insert(name, texts);
                }
                _ => wrong.push(line),
            }
        }
        wrong
    }

    /// Every text that a value with placeholders stands for; the names of the placeholders go to `used`.
    pub(super) fn expand(
        &self,
        text: &str,
        used: &mut BTreeSet<String>,
    ) -> Result<Vec<String>, PlaceholderError> {
        let pieces = pieces(text);
        if !pieces.iter().any(|piece| matches!(piece, Piece::Placeholder(_))) {
            return Err(PlaceholderError::Absent(text.to_owned()));
        }
        let mut texts = vec![String::new()];
        for piece in pieces {
            match piece {
                Piece::Text(plain) => texts.iter_mut().for_each(|text| text.push_str(&plain)),
                Piece::Placeholder(name) => {
                    let list = self.list(name)?;
                    if texts.len().saturating_mul(list.len()) > MAX_TEXTS {
                        return Err(PlaceholderError::TooMany(text.to_owned()));
                    }
                    texts = texts
                        .iter()
                        .flat_map(|text| list.iter().map(move |value| format!("{text}{value}")))
                        .collect();
                    used.insert(name.to_owned());
                }
            }
        }
        Ok(texts)
    }

    fn list(&self, name: &str) -> Result<&[String], PlaceholderError> {
        match (self.lists.get(name), &self.file) {
            (Some(list), _) => Ok(list),
            (None, Some(file)) => {
                Err(PlaceholderError::Unknown { name: name.to_owned(), file: file.clone() })
            }
            (None, None) => Err(PlaceholderError::NoFile(name.to_owned())),
        }
    }

    /// What these placeholders stand for, as a document.
    pub(super) fn excerpt(&self, names: &BTreeSet<String>) -> Node {
        let scalar = |text: &String| Node { line: 0, data: Data::Scalar(text.clone()) };
        let entry = |name: &String| {
            let list = self.lists.get(name).map_or(&[][..], Vec::as_slice).iter().map(scalar);
            (Key { line: 0, text: name.clone() }, Node { line: 0, data: Data::List(list.collect()) })
        };
        Node { line: 0, data: Data::Map(names.iter().map(entry).collect()) }
    }
}

#[derive(Debug, PartialEq)]
enum Piece<'t> {
    Text(String),
    Placeholder(&'t str),
}

/// Cuts a value at its placeholders. `\%` is a plain percent sign; every other escape is left for the value.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        if c == '%'
            && let Some((name, after)) = after.split_once('%')
            && is_name(name)
        {
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
            pieces.push(Piece::Placeholder(name));
            rest = after;
            continue;
        }
        rest = after;
        if c != '\\' {
            plain.push(c);
            continue;
        }
        let escaped = rest.chars().next();
        if escaped != Some('%') {
            plain.push(c);
        }
        if let Some(escaped) = escaped {
            plain.push(escaped);
            rest = &rest[escaped.len_utf8()..];
        }
    }
    pieces.push(Piece::Text(plain));
    pieces.retain(|piece| *piece != Piece::Text(String::new()));
    pieces
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_expanded() {
        let values = Values::read("v.yml", "admins: [alice, 'b*']\none: x\nnone: []\n").0;
        let cases: [(&str, &[&str]); 8] = [
            ("%admins%", &["alice", "b*"]),
            ("arn:%one%/%admins%", &["arn:x/alice", "arn:x/b*"]),
            ("%admins%%admins%", &["alicealice", "aliceb*", "b*alice", "b*b*"]),
            ("%none%", &[]),
            ("%one%%none%", &[]),
            (r"\%plain%one%", &["%plainx"]),
            (r"\\%one%\*", &[r"\\x\*"]),
            ("100 % of %one%", &["100 % of x"]),
        ];
        for (text, expected) in cases {
            assert_eq!(values.expand(text, &mut BTreeSet::new()).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_expanded_is_told() {
        let many: String = (0..300).map(|number| format!("  - {number}\n")).collect();
        let values = Values::read("v.yml", &format!("many:\n{many}")).0;
        let cases = [
            (&values, "%absent%", "`%absent%` is not in v.yml"),
            (&values, "%many", "needs a placeholder"),
            (&values, "%many%%many%", "more than 50000 values"),
            (&Values::default(), "%many%", "--values FILE"),
        ];
        for (values, text, expected) in cases {
            let error = values.expand(text, &mut BTreeSet::new()).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_file_of_values_is_checked() {
        let cases = [
            ("a: [x]\nb: {c: d}\n'': [x]", &["v.yml:2: ", "v.yml:3: "][..]),
            ("a: [x", &["v.yml:1: not YAML"]),
            ("[a]", &["v.yml:1: "]),
            ("a:\n  - [x]", &["v.yml:1: "]),
        ];
        for (text, expected) in cases {
            let (_, problems) = Values::read("v.yml", text);
            assert_eq!(problems.len(), expected.len(), "{text}: {problems:?}");
            for (problem, expected) in problems.iter().zip(expected) {
                assert!(problem.to_string().starts_with(expected), "{text}: {problem}");
            }
        }
    }
}
