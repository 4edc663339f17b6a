//! From a value of a field to the detections that it may mean.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use foldhash::fast::FixedState;
use ipnet::IpNet;
use regex::RegexSet;

use super::index::Number;
use super::memo::{Memo, Remembered};
use super::need::{Leaf, Reach, longest_parts, plain_parts};
use crate::event::Raw;
use crate::sigma::{LateRegex, Test};

/// The tests that detections make of the values behind one key.
#[derive(Debug)]
pub(super) struct Table {
    reach: Reach,
    /// Whole texts, in lower case.
    words: HashMap<Box<[u8]>, Vec<Number>, FixedState>,
    longest_word: usize,
    /// Parts of texts.
    parts: Option<Texts>,
    /// How the only texts begin that mean anything, in lower case, if that can be said of all tests.
    beginnings: Option<Vec<Box<[u8]>>>,
    patterns: Patterns,
    networks: Vec<(IpNet, Number)>,
    /// Tests that are made one by one.
    leaves: Vec<(Number, Leaf)>,
    /// Detections of leaves that hold where there is no value.
    absent: Vec<Number>,
    /// What must stand in a value that only parsing can tell, and detections for which nothing must.
    unclear_parts: Option<Texts>,
    unclear: Vec<Number>,
}

/// Texts that are searched for in one pass, whatever their case.
#[derive(Debug)]
pub(super) struct Texts {
    search: AhoCorasick,
    /// By pattern of the search.
    numbers: Vec<Vec<Number>>,
}

/// What a table said of values lately.
#[derive(Debug, Default)]
pub(super) struct Lately {
    said: Memo<Vec<Number>>,
    lower: Vec<u8>,
}

impl Table {
    /// A table of these leaves.
    pub(super) fn new(reach: Reach, leaves: Vec<(Number, Leaf)>) -> Self {
        let mut table = Self {
            reach,
            words: HashMap::default(),
            longest_word: 0,
            parts: None,
            beginnings: (reach == Reach::Loose).then(Vec::new),
            patterns: Patterns::default(),
            networks: Vec::new(),
            leaves: Vec::new(),
            absent: Vec::new(),
            unclear_parts: None,
            unclear: Vec::new(),
        };
        let (mut parts, mut unclear_parts) = (HashMap::new(), HashMap::new());
        for (number, leaf) in leaves {
            match &leaf.test {
                Test::Like(globs) if !leaf.negated => match plain_parts(globs) {
                    Some(texts) => note(number, texts, &mut unclear_parts),
                    None => table.unclear.push(number),
                },
                _ => table.unclear.push(number),
            }
            table.add(number, leaf, &mut parts);
        }
        table.parts = Texts::new(parts);
        table.unclear_parts = Texts::new(unclear_parts);
        table
    }

    fn add(&mut self, number: Number, leaf: Leaf, parts: &mut HashMap<String, Vec<Number>>) {
        match (beginnings_of(&leaf), &mut self.beginnings) {
            (Some(more), Some(known)) => known.extend(more),
            (None, known) => *known = None,
            (Some(_), None) => {}
        }
        match &leaf.test {
            Test::Equals(words) if !leaf.negated => {
                for word in words.folded() {
                    self.longest_word = self.longest_word.max(word.len());
                    self.words.entry(word.as_bytes().into()).or_default().push(number);
                }
            }
            Test::Like(globs) if !leaf.negated && longest_parts(globs).is_some() => {
                note(number, longest_parts(globs).into_iter().flatten(), parts);
            }
            Test::Regex(regex) if !leaf.negated => self.patterns.add(regex, number),
            Test::Cidr(network) if !leaf.negated => self.networks.push((*network, number)),
            _ => {
                if self.is_exact() && leaf.may_hold(None) {
                    self.absent.push(number);
                }
                self.leaves.push((number, leaf));
            }
        }
    }

    pub(super) fn is_exact(&self) -> bool {
        self.reach == Reach::Exact
    }

    /// Adds what a value may mean.
    pub(super) fn look_up(&self, value: Raw<'_>, lately: &mut Lately, candidates: &mut Vec<Number>) {
        let text = match value {
            Raw::Text(text) | Raw::Literal(text) => text,
            Raw::Other(rest) => return self.look_up_unclear(rest, candidates),
        };
        if self.has_words_only() {
            return self.look_up_word(text, &mut lately.lower, candidates);
        }
        match lately.said.of(value) {
            Some(Remembered::Known(numbers)) => candidates.extend(&*numbers),
            Some(Remembered::New(numbers)) => {
                numbers.clear();
                self.look_up_all(value, text, &mut lately.lower, numbers);
                candidates.extend(&*numbers);
            }
            None => self.look_up_all(value, text, &mut lately.lower, candidates),
        }
    }

    fn look_up_all(&self, value: Raw<'_>, text: &[u8], lower: &mut Vec<u8>, candidates: &mut Vec<Number>) {
        self.look_up_word(text, lower, candidates);
        if let Some(parts) = &self.parts {
            parts.search(text, candidates);
        }
        if let Ok(text) = str::from_utf8(text) {
            self.patterns.look_up(text, candidates);
            self.look_up_network(text, candidates);
        }
        let holding = self.leaves.iter().filter(|(_, leaf)| leaf.may_hold(Some(value)));
        candidates.extend(holding.map(|(number, _)| number));
    }

    fn look_up_word(&self, text: &[u8], lower: &mut Vec<u8>, candidates: &mut Vec<Number>) {
        if text.len() > self.longest_word {
            return;
        }
        lower.clear();
        lower.extend_from_slice(text);
        lower.make_ascii_lowercase();
        candidates.extend(self.words.get(&**lower).into_iter().flatten());
    }

    fn look_up_network(&self, text: &str, candidates: &mut Vec<Number>) {
        if !self.networks.is_empty()
            && let Ok(address) = text.parse::<IpAddr>()
        {
            let around = self.networks.iter().filter(|(network, _)| network.contains(&address));
            candidates.extend(around.map(|(_, number)| number));
        }
    }

    /// Adds what a list, an object or a text with escapes may mean, of which only the beginning is known.
    pub(super) fn look_up_unclear(&self, rest: &[u8], candidates: &mut Vec<Number>) {
        candidates.extend(&self.unclear);
        if let Some(parts) = &self.unclear_parts {
            parts.search(rest, candidates);
        }
    }

    /// Adds what the absence of a value may mean.
    pub(super) fn look_up_absent(&self, candidates: &mut Vec<Number>) {
        candidates.extend(&self.absent);
    }

    /// Adds all of the table's detections.
    pub(super) fn every(&self, candidates: &mut Vec<Number>) {
        candidates.extend(&self.unclear);
        candidates.extend(self.unclear_parts.iter().flat_map(|parts| parts.numbers.iter().flatten()));
    }

    /// How the only texts begin that mean anything, in lower case, if that can be said.
    pub(super) fn beginnings(&self) -> Option<impl Iterator<Item = &[u8]>> {
        self.beginnings.as_ref().map(|beginnings| beginnings.iter().map(|beginning| &**beginning))
    }

    fn has_words_only(&self) -> bool {
        self.leaves.is_empty()
            && self.parts.is_none()
            && self.networks.is_empty()
            && self.patterns.numbers.is_empty()
    }
}

/// How the texts begin for which a leaf may hold, in lower case; none if any text may.
fn beginnings_of(leaf: &Leaf) -> Option<Vec<Box<[u8]>>> {
    let boxed = |text: Cow<'_, str>| text.as_bytes().into();
    match &leaf.test {
        Test::Equals(words) if !leaf.negated => Some(words.folded().map(boxed).collect()),
        Test::Like(globs) if !leaf.negated => Some(globs.beginnings()?.into_iter().map(boxed).collect()),
        _ => None,
    }
}

fn note<T: Into<String>>(
    number: Number,
    texts: impl IntoIterator<Item = T>,
    by_text: &mut HashMap<String, Vec<Number>>,
) {
    for text in texts {
        by_text.entry(text.into()).or_default().push(number);
    }
}

/// Regular expressions that are tried in one pass.
#[derive(Debug, Default)]
struct Patterns {
    regexes: Vec<LateRegex>,
    /// By pattern.
    numbers: Vec<Vec<Number>>,
    /// All of them, once a value has come; none if they are too many for a set of bounded size.
    set: OnceLock<Option<RegexSet>>,
}

impl Patterns {
    fn add(&mut self, regex: &LateRegex, number: Number) {
        match self.regexes.iter().position(|known| known.as_str() == regex.as_str()) {
            Some(known) => self.numbers[known].push(number),
            None => {
                self.regexes.push(regex.clone());
                self.numbers.push(vec![number]);
            }
        }
    }

    fn set(&self) -> Option<&RegexSet> {
        let compile = || RegexSet::new(self.regexes.iter().map(LateRegex::as_str)).ok();
        if self.regexes.len() > 1 { self.set.get_or_init(compile).as_ref() } else { None }
    }

    fn look_up(&self, text: &str, candidates: &mut Vec<Number>) {
        match self.set() {
            Some(set) => {
                let matching = set.matches(text);
                candidates.extend(matching.iter().flat_map(|pattern| &self.numbers[pattern]));
            }
            None => {
                let patterns = self.regexes.iter().zip(&self.numbers);
                candidates.extend(
                    patterns.filter(|(regex, _)| regex.is_match(text)).flat_map(|(_, numbers)| numbers),
                );
            }
        }
    }
}

/// Texts whose automaton is small enough to be written out in full.
const MOST_IN_DFA: usize = 2_000;

impl Texts {
    /// Of these texts, in lower case; none if there are none.
    pub(super) fn new(texts: HashMap<String, Vec<Number>>) -> Option<Self> {
        if texts.is_empty() {
            return None;
        }
        let mut texts: Vec<_> = texts.into_iter().collect();
        texts.sort();
        // Values are short: an automaton that reads each byte once is done before a prefilter has begun.
        let search = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .prefilter(false)
            .kind((texts.len() <= MOST_IN_DFA).then_some(AhoCorasickKind::DFA))
            .build(texts.iter().map(|(text, _)| text));
        Some(Self {
            search: search.expect("rules are too small to exhaust the automaton's numbers"),
            numbers: texts.into_iter().map(|(_, numbers)| numbers).collect(),
        })
    }

    /// Adds the detections whose texts stand in these bytes.
    pub(super) fn search(&self, bytes: &[u8], candidates: &mut Vec<Number>) {
        // Beyond ASCII, texts are compared by case rules that the search does not know.
        if !bytes.is_ascii() {
            return candidates.extend(self.numbers.iter().flatten());
        }
        let before = candidates.len();
        for found in self.search.find_overlapping_iter(bytes) {
            for number in &self.numbers[found.pattern().as_usize()] {
                if !candidates[before..].contains(number) {
                    candidates.push(*number);
                }
            }
        }
    }
}
