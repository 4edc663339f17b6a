//! Texts and wildcard patterns, compared as Sigma compares: without regard to case unless told otherwise.

use std::borrow::Cow;
use std::collections::HashSet;

use foldhash::fast::FixedState;
use rsigma_parser::SelectorPattern;

/// Lower case, one character for one, so that a part folds as it does within the whole; borrowed where nothing
/// changes.
#[must_use]
pub(super) fn fold(text: &str) -> Cow<'_, str> {
    match text {
        _ if !text.is_ascii() => text.chars().map(fold_char).collect::<String>().into(),
        _ if text.bytes().any(|byte| byte.is_ascii_uppercase()) => text.to_ascii_lowercase().into(),
        _ => text.into(),
    }
}

fn fold_char(c: char) -> char {
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        // The two small sigmas are one letter, written by its place in the word.
        (Some('ς'), None) => 'σ',
        (Some(lower), None) => lower,
        _ => c,
    }
}

/// Whether case counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// `Root` equals `root`.
    Ignored,
    /// The modifier `cased`.
    Counts,
}

impl Case {
    /// The text as it is compared.
    #[must_use]
    pub fn apply(self, text: &str) -> Cow<'_, str> {
        match self {
            Case::Ignored => fold(text),
            Case::Counts => text.into(),
        }
    }
}

/// Words that are compared one by one.
const FEW: usize = 4;

/// A set of whole texts.
#[derive(Debug, Clone)]
pub struct Words {
    case: Case,
    compared: HashSet<Box<str>, FixedState>,
    /// As the rule has them, in its order.
    written: Box<[Box<str>]>,
}

impl Words {
    /// The set of these texts.
    pub fn new<'w>(words: impl IntoIterator<Item = &'w str>, case: Case) -> Self {
        let written: Box<[Box<str>]> = words.into_iter().map(Box::from).collect();
        Self { case, compared: written.iter().map(|word| case.apply(word).into()).collect(), written }
    }

    /// The texts as the rule has them, in its order.
    pub fn written(&self) -> impl Iterator<Item = &str> {
        self.written.iter().map(|word| &**word)
    }

    /// Whether the text is one of them.
    #[must_use]
    pub fn contains(&self, text: &str) -> bool {
        // Most sets are small: to compare with each word is quicker than to make a text in lower case.
        if self.compared.len() <= FEW && self.case == Case::Ignored && text.is_ascii() {
            return self.compared.iter().any(|word| word.eq_ignore_ascii_case(text));
        }
        self.compared.contains(&*self.case.apply(text))
    }

    /// Whether case counts.
    pub(super) fn case(&self) -> Case {
        self.case
    }

    /// The texts in lower case.
    pub fn folded(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.compared.iter().map(|word| fold(word))
    }
}

/// Patterns with wildcards, of which one must match a whole text.
#[derive(Debug, Clone)]
pub struct Globs {
    case: Case,
    globs: Vec<Glob>,
}

impl Globs {
    /// The set of these patterns, each as parts in a row.
    pub fn new(patterns: impl IntoIterator<Item = Vec<GlobPart>>, case: Case) -> Self {
        Self { case, globs: patterns.into_iter().map(|parts| Glob::new(parts, case)).collect() }
    }

    /// Whether the whole text fits one of them.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let text = self.case.apply(text);
        self.globs.iter().any(|glob| glob.fits(&text))
    }

    /// The patterns as a rule would have them, backslashes aside.
    pub fn written(&self) -> impl Iterator<Item = &str> {
        self.globs.iter().map(|glob| &*glob.written)
    }

    /// Whether case counts.
    pub(super) fn case(&self) -> Case {
        self.case
    }

    /// For each pattern the texts that every match contains, in lower case.
    pub fn literals(&self) -> impl Iterator<Item = impl Iterator<Item = Cow<'_, str>>> {
        self.globs.iter().map(Glob::literals)
    }

    /// For each pattern the text with which every match begins, in lower case; none if a pattern has no such text.
    pub fn beginnings(&self) -> Option<Vec<Cow<'_, str>>> {
        self.globs.iter().map(Glob::beginning).collect()
    }
}

/// A pattern with wildcards that must match a whole text.
#[derive(Debug, Clone)]
struct Glob {
    shape: Shape,
    parts: Vec<GlobPart>,
    /// As a rule would have it, its backslashes aside.
    written: Box<str>,
}

/// One part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GlobPart {
    /// This text.
    Text(String),
    /// `?`: any one character.
    One,
    /// `*`: any number of any characters.
    Many,
}

impl GlobPart {
    fn written(&self) -> &str {
        match self {
            GlobPart::Text(text) => text,
            GlobPart::One => "?",
            GlobPart::Many => "*",
        }
    }
}

/// The common shapes, matched without walking the parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Anything,
    Whole,
    Prefix,
    Suffix,
    Infix,
    General,
}

impl Glob {
    /// Joins the parts to a pattern.
    fn new(parts: Vec<GlobPart>, case: Case) -> Self {
        let written = parts.iter().map(GlobPart::written).collect::<String>().into();
        let mut joined: Vec<GlobPart> = Vec::new();
        for part in parts {
            match (joined.last_mut(), part) {
                (_, GlobPart::Text(text)) if text.is_empty() => {}
                (Some(GlobPart::Many), GlobPart::Many) => {}
                (Some(GlobPart::Text(known)), GlobPart::Text(text)) => known.push_str(&case.apply(&text)),
                (_, GlobPart::Text(text)) => joined.push(GlobPart::Text(case.apply(&text).into_owned())),
                (_, part) => joined.push(part),
            }
        }
        let shape = match &joined[..] {
            [GlobPart::Many] => Shape::Anything,
            [GlobPart::Text(_)] => Shape::Whole,
            [GlobPart::Text(_), GlobPart::Many] => Shape::Prefix,
            [GlobPart::Many, GlobPart::Text(_)] => Shape::Suffix,
            [GlobPart::Many, GlobPart::Text(_), GlobPart::Many] => Shape::Infix,
            _ => Shape::General,
        };
        Self { shape, parts: joined, written }
    }

    /// Whether a whole text fits that has the case of the pattern.
    fn fits(&self, text: &str) -> bool {
        match self.shape {
            Shape::Anything => true,
            Shape::Whole => text == self.only_text(),
            Shape::Prefix => text.starts_with(self.only_text()),
            Shape::Suffix => text.ends_with(self.only_text()),
            Shape::Infix => text.contains(self.only_text()),
            Shape::General => walk(&self.parts, text),
        }
    }

    fn literals(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.parts.iter().filter_map(|part| match part {
            GlobPart::Text(text) => Some(fold(text)),
            GlobPart::One | GlobPart::Many => None,
        })
    }

    fn beginning(&self) -> Option<Cow<'_, str>> {
        match self.parts.first() {
            Some(GlobPart::Text(text)) => Some(fold(text)),
            _ => None,
        }
    }

    fn only_text(&self) -> &str {
        let text = self.parts.iter().find_map(|part| match part {
            GlobPart::Text(text) => Some(text.as_str()),
            GlobPart::One | GlobPart::Many => None,
        });
        text.unwrap_or_default()
    }
}

/// Matches part by part; at a mismatch the last `*` takes one character more. An earlier `*` never needs to
/// be tried again, so the cost is at most the product of both lengths.
fn walk(parts: &[GlobPart], text: &str) -> bool {
    let (mut part, mut at) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let rest = &text[at..];
        let taken = match parts.get(part) {
            None if rest.is_empty() => return true,
            None => None,
            Some(GlobPart::Many) => {
                retry = Some((part + 1, at));
                Some(0)
            }
            Some(GlobPart::One) => rest.chars().next().map(char::len_utf8),
            Some(GlobPart::Text(wanted)) => rest.starts_with(wanted.as_str()).then_some(wanted.len()),
        };
        if let Some(taken) = taken {
            part += 1;
            at += taken;
            continue;
        }
        let Some((after_star, from)) = retry else { return false };
        let Some(next) = text[from..].chars().next() else { return false };
        (part, at) = (after_star, from + next.len_utf8());
        retry = Some((after_star, at));
    }
}

/// Whether a pattern of a condition stands for the selection of this name; it may have any number of stars.
pub(super) fn selects(pattern: &SelectorPattern, name: &str) -> bool {
    let SelectorPattern::Pattern(pattern) = pattern else { return !name.starts_with('_') };
    let texts = pattern.split('*').map(|text| GlobPart::Text(text.to_owned()));
    let parts = texts.flat_map(|text| [GlobPart::Many, text]).skip(1).collect();
    Glob::new(parts, Case::Counts).fits(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `*` and `?` as wildcards.
    fn glob(pattern: &str, case: Case) -> Globs {
        let parts = pattern.chars().map(|c| match c {
            '*' => GlobPart::Many,
            '?' => GlobPart::One,
            c => GlobPart::Text(c.to_string()),
        });
        Globs::new([parts.collect()], case)
    }

    #[test]
    fn globs() {
        let cases = [
            ("abc", "ABC", true),
            ("abc", "abcd", false),
            ("a*", "a", true),
            ("a*", "ba", false),
            ("*c", "abc", true),
            ("*b*", "aBc", true),
            ("*", "", true),
            ("**", "x", true),
            ("?", "", false),
            ("?", "é", true),
            ("a?c", "aéc", true),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbXbX", false),
            ("*a?", "aaa", true),
            ("*ab*ab", "abab", true),
            ("*ab*ab", "ab", false),
            ("Straße", "STRASSE", false),
            ("ärger", "ÄRGER", true),
            ("*ΟΔΟΣ*", "ΟΔΟΣΑ", true),
            ("οδος", "ΟΔΟΣ", true),
            ("?x", "İx", true),
            ("", "", true),
            ("", "x", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(glob(pattern, Case::Ignored).matches(text), expected, "{pattern} on {text}");
        }
        assert!(!glob("a*", Case::Counts).matches("Ab"));
        assert!(glob("*A*", Case::Counts).matches("xAy"));
        let one_of =
            Globs::new([vec![GlobPart::Text("a".into())], vec![GlobPart::One, GlobPart::One]], Case::Ignored);
        assert!(one_of.matches("A") && one_of.matches("xy") && !one_of.matches("b"));
    }

    #[test]
    fn many_stars_end_quickly() {
        let text = "a".repeat(20_000);
        assert!(!glob("*a*a*a*a*a*a*a*a*a*ab", Case::Ignored).matches(&text));
    }

    #[test]
    fn few_words_are_compared_as_many_are() {
        let texts =
            ["", "a", "A", "K", "k", "\u{212a}", "É", "é", "e\u{301}", "[", "{", "ß", "SS", "root", "ROOT "];
        let others = ["one", "two", "three", "four", "five"];
        for case in [Case::Ignored, Case::Counts] {
            for word in texts {
                let (few, many) =
                    (Words::new([word], case), Words::new(others.into_iter().chain([word]), case));
                for text in texts {
                    assert_eq!(few.contains(text), many.contains(text), "{word} and {text}");
                    assert_eq!(few.contains(text), case.apply(word) == case.apply(text), "{word} and {text}");
                }
            }
        }
    }

    #[test]
    fn words() {
        let words = Words::new(["Root", "IAMUser"], Case::Ignored);
        assert!(words.contains("ROOT") && words.contains("iamuser") && !words.contains("oot"));
        assert!(!Words::new(["Root"], Case::Counts).contains("root"));
    }
}
