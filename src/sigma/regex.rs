//! Regular expressions that are compiled when they first meet a text.
//!
//! Few of a set's expressions ever do, and to compile them costs more than to read all rules. So an expression is
//! read at once, which finds what is wrong with it, and compiled late. Whether it is too large only compiling
//! tells; what may be is compiled at once.

use std::fmt;
use std::sync::{Arc, OnceLock};

use regex::{Regex, RegexBuilder};
use regex_syntax::hir::{Class, Hir, HirKind};
use regex_syntax::utf8::Utf8Sequences;

/// Bytes that one compiled regular expression may take.
const MOST_BYTES: usize = 1 << 20;
/// Bytes that a state of an automaton takes at most, with all that leads out of it by one range of bytes.
const STATE: usize = 64;
/// What every automaton has beside those of its parts.
const FRAME: usize = 64;

/// A regular expression, or several of which one must match.
#[derive(Debug, Clone)]
pub struct LateRegex(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// As they stand in the rule.
    written: Vec<String>,
    /// All of them in one.
    text: String,
    compiled: OnceLock<Regex>,
}

impl LateRegex {
    /// Reads expressions of which one must match; they become one where that can be.
    ///
    /// # Errors
    /// One of them is none, or too large.
    pub(super) fn any_of(written: Vec<String>) -> Result<Vec<Self>, regex::Error> {
        let each: Vec<Self> = written.iter().map(|text| Self::new(text)).collect::<Result<_, _>>()?;
        // A comment may go up to the end of its expression; and two may have groups of one name.
        let may_join = each.len() > 1 && !written.iter().any(|text| text.contains('#'));
        let parts: Vec<String> = written.iter().map(|text| format!("(?:{text})")).collect();
        let joined = may_join.then(|| Self::read(written, parts.join("|")));
        Ok(joined.and_then(Result::ok).map_or(each, |joined| vec![joined]))
    }

    fn new(text: &str) -> Result<Self, regex::Error> {
        Self::read(vec![text.to_owned()], text.to_owned())
    }

    fn read(written: Vec<String>, text: String) -> Result<Self, regex::Error> {
        let read = regex_syntax::parse(&text).map_err(|error| regex::Error::Syntax(error.to_string()))?;
        let compiled = match most_bytes(&read) {
            ..=MOST_BYTES => OnceLock::new(),
            _ => OnceLock::from(compile(&text)?),
        };
        Ok(Self(Arc::new(Inner { written, text, compiled })))
    }

    /// The expressions as they stand in the rule.
    pub(super) fn written(&self) -> &[String] {
        &self.0.written
    }

    /// The text of the expression that is compiled.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// Whether it matches somewhere in a text.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        let compile = || compile(&self.0.text).expect("it was read, and is small enough");
        self.0.compiled.get_or_init(compile).is_match(text)
    }
}

/// As they stand in the rule: `/^a/ or /b$/`.
impl fmt::Display for LateRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, text) in self.0.written.iter().enumerate() {
            write!(f, "{}/{text}/", if at > 0 { " or " } else { "" })?;
        }
        Ok(())
    }
}

fn compile(text: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(text).size_limit(MOST_BYTES).dfa_size_limit(MOST_BYTES).build()
}

/// Bytes that the automaton of an expression takes at most.
fn most_bytes(expression: &Hir) -> usize {
    most_states(expression).saturating_add(FRAME).saturating_mul(STATE)
}

fn most_states(expression: &Hir) -> usize {
    let sum = |parts: &[Hir]| parts.iter().map(most_states).fold(1, usize::saturating_add);
    match expression.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(literal) => literal.0.len() + 1,
        // One for each byte of the sequences in which UTF-8 writes its characters.
        HirKind::Class(Class::Unicode(class)) => {
            let sequences = class.iter().flat_map(|range| Utf8Sequences::new(range.start(), range.end()));
            sequences.map(|sequence| sequence.len()).sum::<usize>() + 1
        }
        HirKind::Class(Class::Bytes(class)) => class.ranges().len() + 1,
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min).max(1) as usize;
            most_states(&repetition.sub).saturating_add(2).saturating_mul(times)
        }
        HirKind::Capture(capture) => most_states(&capture.sub).saturating_add(2),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => sum(parts),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expressions() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            "[a-zé]{1,6}",
            prop::sample::select(vec![
                ".",
                r"\w",
                r"\d",
                r"\s",
                r"\W",
                r"\PL",
                r"\b",
                "^",
                "(?i)straße",
                "[^a]",
                "(?s).",
                r"\p{Greek}",
                "(?-u:[^a])",
                r"[\x{100}-\x{10FFFF}]",
                "(?i-u:k)",
            ])
            .prop_map(str::to_owned),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
                prop::collection::vec(inner.clone(), 1..4)
                    .prop_map(|parts| format!("(?:{})", parts.join("|"))),
                (inner.clone(), 0..4_u32, 0..5_u32)
                    .prop_map(|(part, least, more)| format!("(?:{part}){{{least},{}}}", least + more)),
                (inner.clone(), prop::sample::select(vec!["*", "+", "?", "{3,}"]))
                    .prop_map(|(part, times)| format!("({part}){times}")),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_found_small_is_small(text in expressions()) {
            let Ok(read) = regex_syntax::parse(&text) else { return Ok(()) };
            let built = RegexBuilder::new(&text).size_limit(most_bytes(&read)).build();
            prop_assert!(built.is_ok(), "{text}: {}", most_bytes(&read));
        }
    }

    #[test]
    fn what_is_wrong_is_found_at_once() {
        for text in ["(", "a{2,1}", r"\p{Nonsense}", "(?=a)", r"(?:\w{200}){200}", &"(".repeat(400)] {
            let ours = LateRegex::new(text).unwrap_err().to_string();
            assert_eq!(ours, compile(text).unwrap_err().to_string(), "{text}");
        }
        let large = LateRegex::new(r"\w{20}").unwrap();
        assert!(large.0.compiled.get().is_some() && large.is_match(&"é".repeat(20)));
    }

    #[test]
    fn it_is_compiled_when_it_first_meets_a_text() {
        let late = LateRegex::new("^a+$").unwrap();
        let copy = late.clone();
        assert!(late.0.compiled.get().is_none());
        assert!(late.is_match("aa") && !late.is_match("ab"));
        assert!(copy.0.compiled.get().is_some());
    }
    #[test]
    fn several_become_one_that_means_the_same() {
        let cases: [(&[&str], usize); 5] = [
            (&["(?i)^ab", "b$", "x|y"], 1),
            (&["a"], 1),
            (&["(?<n>a)", "(?<n>b)"], 2),
            (&["(?x)a # b", "c"], 2),
            (&[r"\w{15}", r"\d{40}\w{15}"], 2),
        ];
        for (texts, expected) in cases {
            let regexes = LateRegex::any_of(texts.iter().map(|text| (*text).to_owned()).collect()).unwrap();
            assert_eq!(regexes.len(), expected, "{texts:?}");
            for text in ["AB", "ab", "cb", "bc", "x", "n", "c", "a", "", "aaaaaaaaaaaaaaa"] {
                let plainly = texts.iter().any(|regex| compile(regex).unwrap().is_match(text));
                assert_eq!(regexes.iter().any(|regex| regex.is_match(text)), plainly, "{texts:?} {text}");
            }
        }
        let both = LateRegex::any_of(vec!["^a".to_owned(), "b$".to_owned()]).unwrap();
        assert_eq!(both[0].to_string(), "/^a/ or /b$/");
        assert!(LateRegex::any_of(vec!["a".to_owned(), "(".to_owned()]).is_err());
    }
}
