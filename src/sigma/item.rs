//! One `field|modifier: values` of a rule, compiled.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rsigma_parser::{FieldSpec, Modifier, SigmaValue, SpecialChar, StringPart};

use super::expression::{Expression, Number, Operator, Relation, Test, TimePart};
use super::pattern::{Case, GlobPart, Globs, Words};
use super::regex::LateRegex;
use super::values::PlaceholderError;
use crate::event::FieldPath;

/// Dashes of one value that `windash` varies: five forms each.
const MAX_DASHES: usize = 4;

/// What is wrong with an item.
#[derive(Debug, thiserror::Error)]
pub enum ItemError {
    /// Two modifiers that exclude each other.
    #[error("the modifiers `{0}` and `{1}` cannot be combined")]
    Conflict(&'static str, &'static str),
    /// A modifier that means nothing here.
    #[error("the modifier `{0}` has no meaning here")]
    Meaningless(&'static str),
    /// A list of values without values.
    #[error("there is no value")]
    NoValue,
    /// `expand` with a placeholder that stands for nothing.
    #[error("{0}")]
    Placeholder(#[from] PlaceholderError),
    /// `exists` without one boolean.
    #[error("`exists` needs `true` or `false`")]
    Exists,
    /// A modifier with a null value.
    #[error("the modifier `{0}` cannot be used with null")]
    Null(&'static str),
    /// A modifier that needs plain text.
    #[error("the modifier `{0}` cannot be used with wildcards")]
    Wildcard(&'static str),
    /// A value that is no number.
    #[error("`{0}` needs a number, not `{1}`")]
    NotANumber(&'static str, String),
    /// A value that is no network.
    #[error("`{value}` is not a network in CIDR notation")]
    Cidr {
        /// The value.
        value: String,
        /// Why.
        source: ipnet::AddrParseError,
    },
    /// A value that is no regular expression.
    #[error("not a usable regular expression: {}", last_line(.0))]
    Regex(#[source] Box<regex::Error>),
    /// `utf16` without an encoding behind it.
    #[error("the modifier `{0}` makes bytes that are no text; follow it with `base64` or `base64offset`")]
    NotText(&'static str),
    /// `windash` on too many dashes.
    #[error("`windash` varies at most {MAX_DASHES} dashes")]
    TooManyDashes,
}

/// The modifiers of an item, sorted by what they do.
#[derive(Default)]
struct Modifiers {
    transforms: Vec<Modifier>,
    operator: Option<Modifier>,
    time: Option<TimePart>,
    position: Option<Modifier>,
    flags: Vec<Modifier>,
    all: bool,
    cased: bool,
    negated: bool,
}

/// Compiles a field, or keywords with modifiers, and its values: each with all that its placeholders stand for.
pub(super) fn compile(field: &FieldSpec, values: &[Vec<SigmaValue>]) -> Result<Expression, ItemError> {
    let modifiers = Modifiers::sort(&field.modifiers)?;
    if values.is_empty() {
        return Err(ItemError::NoValue);
    }
    if modifiers.operator == Some(Modifier::Exists) && values.len() > 1 {
        return Err(ItemError::Exists);
    }
    let path =
        field.name.as_ref().map(|name| FieldPath::new(&rsigma_parser::fieldpath::unescape_brackets(name)));
    let alternatives = |values: &[SigmaValue]| match &path {
        None => modified_keywords(values, &modifiers),
        Some(path) => {
            let tests = tests(values, &modifiers)?.into_iter();
            Ok(tests.map(|test| Expression::Field(path.clone(), test)).collect())
        }
    };
    let joined = if modifiers.all {
        let each = values.iter().map(|value| alternatives(value).map(any));
        Expression::All(each.collect::<Result<_, _>>()?)
    } else {
        Expression::Any(alternatives(&values.concat())?)
    };
    Ok(if modifiers.negated { Expression::Not(Box::new(joined)) } else { joined })
}

fn any(mut parts: Vec<Expression>) -> Expression {
    if parts.len() == 1 { parts.remove(0) } else { Expression::Any(parts) }
}

/// A list of keywords: each is searched in every string and number of the event.
pub(super) fn keywords(values: &[SigmaValue], case: Case) -> Result<Expression, ItemError> {
    keywords_at(Modifier::Contains, values, case)
}

fn keywords_at(position: Modifier, values: &[SigmaValue], case: Case) -> Result<Expression, ItemError> {
    let patterns = values.iter().map(|value| {
        let parts = parts(value).ok_or(ItemError::Null("keyword"))?;
        Ok(positioned(parts, Some(position)))
    });
    let patterns: Result<Vec<_>, ItemError> = patterns.collect();
    Ok(Expression::Keyword(Globs::new(patterns?, case)))
}

impl Modifiers {
    fn sort(modifiers: &[Modifier]) -> Result<Self, ItemError> {
        let mut sorted = Self::default();
        for &modifier in modifiers {
            match modifier {
                // The values have been expanded.
                Modifier::Expand => {}
                Modifier::All => sorted.all = true,
                Modifier::Cased => sorted.cased = true,
                Modifier::Neq => sorted.negated = true,
                Modifier::IgnoreCase | Modifier::Multiline | Modifier::DotAll => sorted.flags.push(modifier),
                Modifier::Contains | Modifier::StartsWith | Modifier::EndsWith => {
                    put(&mut sorted.position, modifier)?;
                }
                Modifier::Base64
                | Modifier::Base64Offset
                | Modifier::Wide
                | Modifier::Utf16be
                | Modifier::Utf16
                | Modifier::WindAsh => sorted.transforms.push(modifier),
                Modifier::Re
                | Modifier::Cidr
                | Modifier::Exists
                | Modifier::FieldRef
                | Modifier::Gt
                | Modifier::Gte
                | Modifier::Lt
                | Modifier::Lte => put(&mut sorted.operator, modifier)?,
                Modifier::Minute
                | Modifier::Hour
                | Modifier::Day
                | Modifier::Week
                | Modifier::Month
                | Modifier::Year => {
                    if sorted.time.replace(time_part(modifier)).is_some() {
                        return Err(ItemError::Meaningless(modifier_name(modifier)));
                    }
                }
            }
        }
        sorted.check()?;
        Ok(sorted)
    }

    fn check(&self) -> Result<(), ItemError> {
        let comparing =
            matches!(self.operator, Some(Modifier::Gt | Modifier::Gte | Modifier::Lt | Modifier::Lte));
        if let (Some(_), Some(operator), false) = (self.time, self.operator, comparing) {
            return Err(ItemError::Meaningless(modifier_name(operator)));
        }
        let on_text = self.time.is_none() && self.operator.is_none();
        let reference = self.operator == Some(Modifier::FieldRef);
        if let (Some(position), false) = (self.position, on_text || reference) {
            return Err(match self.operator {
                Some(operator) => ItemError::Conflict(modifier_name(operator), modifier_name(position)),
                None => ItemError::Meaningless(modifier_name(position)),
            });
        }
        if let (Some(transform), false) = (self.transforms.first(), on_text) {
            return Err(ItemError::Meaningless(modifier_name(*transform)));
        }
        if let (Some(flag), true) = (self.flags.first(), self.operator != Some(Modifier::Re)) {
            return Err(ItemError::Meaningless(modifier_name(*flag)));
        }
        let encodings = |modifier: &&Modifier| matches!(modifier, Modifier::Base64 | Modifier::Base64Offset);
        if self.transforms.iter().filter(encodings).count() > 1 {
            return Err(ItemError::Conflict("base64", "base64offset"));
        }
        let utf16 =
            |modifier: &&Modifier| matches!(modifier, Modifier::Wide | Modifier::Utf16be | Modifier::Utf16);
        if let [one, other, ..] = self.transforms.iter().filter(utf16).collect::<Vec<_>>()[..] {
            return Err(ItemError::Conflict(modifier_name(*one), modifier_name(*other)));
        }
        if self.cased && !on_text && !reference {
            return Err(ItemError::Meaningless("cased"));
        }
        Ok(())
    }

    fn case(&self) -> Case {
        if self.cased { Case::Counts } else { Case::Ignored }
    }
}

fn put(slot: &mut Option<Modifier>, modifier: Modifier) -> Result<(), ItemError> {
    match slot.replace(modifier) {
        Some(other) => Err(ItemError::Conflict(modifier_name(other), modifier_name(modifier))),
        None => Ok(()),
    }
}

fn modified_keywords(values: &[SigmaValue], modifiers: &Modifiers) -> Result<Vec<Expression>, ItemError> {
    let out_of_place = modifiers.operator.or(modifiers.transforms.first().copied());
    if let Some(modifier) = out_of_place {
        return Err(ItemError::Meaningless(modifier_name(modifier)));
    }
    if modifiers.time.is_some() {
        return Err(ItemError::Meaningless("time part"));
    }
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let position = modifiers.position.unwrap_or(Modifier::Contains);
    Ok(vec![keywords_at(position, values, modifiers.case())?])
}

/// Tests of which one must hold: one per value, but texts and patterns are gathered into one test of each kind.
fn tests(values: &[SigmaValue], modifiers: &Modifiers) -> Result<Vec<Test>, ItemError> {
    let mut tests = Vec::new();
    let (mut words, mut patterns, mut regexes) = (Vec::new(), Vec::new(), Vec::new());
    for value in values {
        for test in test(value, modifiers)? {
            match test {
                OneTest::Word(word) => words.push(word),
                OneTest::Pattern(parts) => patterns.push(parts),
                OneTest::Regex(text) => regexes.push(text),
                OneTest::Other(test) => tests.push(*test),
            }
        }
    }
    if !words.is_empty() {
        tests.push(Test::Equals(Words::new(words.iter().map(String::as_str), modifiers.case())));
    }
    if !patterns.is_empty() {
        tests.push(Test::Like(Globs::new(patterns, modifiers.case())));
    }
    let regexes = LateRegex::any_of(regexes).map_err(|error| ItemError::Regex(Box::new(error)))?;
    tests.extend(regexes.into_iter().map(Test::Regex));
    Ok(tests)
}

enum OneTest {
    Word(String),
    Pattern(Vec<GlobPart>),
    Regex(String),
    Other(Box<Test>),
}

fn test(value: &SigmaValue, modifiers: &Modifiers) -> Result<Vec<OneTest>, ItemError> {
    let other = |test| Ok(vec![OneTest::Other(Box::new(test))]);
    let Some(text) = text(value) else {
        let used = modifiers.operator.or(modifiers.position).or(modifiers.transforms.first().copied());
        return match used {
            Some(modifier) => Err(ItemError::Null(modifier_name(modifier))),
            None => other(Test::Null),
        };
    };
    if let Some(part) = modifiers.time {
        let operator = modifiers.operator.map_or(Operator::Equal, comparison);
        return other(Test::Time(part, operator, number("a part of a time", &text)?));
    }
    match modifiers.operator {
        Some(Modifier::Exists) => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => other(Test::Exists(true)),
            "false" | "no" | "off" => other(Test::Exists(false)),
            _ => Err(ItemError::Exists),
        },
        Some(Modifier::Re) => Ok(vec![OneTest::Regex(flagged(&text, &modifiers.flags))]),
        Some(Modifier::Cidr) => match text.parse().or_else(|error| single_address(&text).ok_or(error)) {
            Ok(network) => other(Test::Cidr(network)),
            Err(source) => Err(ItemError::Cidr { value: text, source }),
        },
        Some(Modifier::FieldRef) => {
            let relation = match modifiers.position {
                Some(Modifier::Contains) => Relation::Contains,
                Some(Modifier::StartsWith) => Relation::StartsWith,
                Some(Modifier::EndsWith) => Relation::EndsWith,
                _ => Relation::Equals,
            };
            let field = plain(&parts(value).unwrap_or_default(), Modifier::FieldRef)?;
            other(Test::Reference(FieldPath::new(&field), relation, modifiers.case()))
        }
        Some(operator) => other(Test::Compare(comparison(operator), number(modifier_name(operator), &text)?)),
        None => strings(value, modifiers),
    }
}

fn single_address(text: &str) -> Option<ipnet::IpNet> {
    text.parse::<std::net::IpAddr>().ok().map(ipnet::IpNet::from)
}

/// The tests of a text after its transformations: more than one where a transformation has variants.
fn strings(value: &SigmaValue, modifiers: &Modifiers) -> Result<Vec<OneTest>, ItemError> {
    let parts = parts(value).unwrap_or_default();
    let mut position = modifiers.position;
    let variants = if modifiers.transforms.is_empty() {
        vec![parts]
    } else {
        if modifiers.transforms.contains(&Modifier::Base64Offset) {
            // The variants have lost their edges, so they can only stand inside of a longer text.
            position.get_or_insert(Modifier::Contains);
        }
        transformed(parts, &modifiers.transforms)?
    };
    let tests = variants.into_iter().map(|parts| match (&parts[..], position) {
        ([], None) => OneTest::Word(String::new()),
        ([GlobPart::Text(text)], None) => OneTest::Word(text.clone()),
        _ => OneTest::Pattern(positioned(parts, position)),
    });
    Ok(tests.collect())
}

fn positioned(parts: Vec<GlobPart>, position: Option<Modifier>) -> Vec<GlobPart> {
    let open =
        |wanted| (position == Some(Modifier::Contains) || position == Some(wanted)).then_some(GlobPart::Many);
    open(Modifier::EndsWith).into_iter().chain(parts).chain(open(Modifier::StartsWith)).collect()
}

/// Applies transformations in the order in which they are written.
fn transformed(parts: Vec<GlobPart>, transforms: &[Modifier]) -> Result<Vec<Vec<GlobPart>>, ItemError> {
    let (variants, rest) = match transforms {
        [Modifier::WindAsh, rest @ ..] => (windash(&parts)?, rest),
        rest => (vec![parts], rest),
    };
    let Some(&last) = rest.last() else { return Ok(variants) };
    let mut encoded = Vec::new();
    for parts in variants {
        let mut forms = vec![plain(&parts, last)?.into_bytes()];
        for transform in rest {
            forms =
                forms.iter().map(|bytes| encode(bytes, *transform)).collect::<Result<Vec<_>, _>>()?.concat();
        }
        if forms.is_empty() {
            return Err(ItemError::NoValue);
        }
        for form in forms {
            let text = String::from_utf8(form).map_err(|_| ItemError::NotText(modifier_name(last)))?;
            encoded.push(vec![GlobPart::Text(text)]);
        }
    }
    Ok(encoded)
}

fn plain(parts: &[GlobPart], modifier: Modifier) -> Result<String, ItemError> {
    match parts {
        [] => Ok(String::new()),
        [GlobPart::Text(text)] => Ok(text.clone()),
        _ => Err(ItemError::Wildcard(modifier_name(modifier))),
    }
}

fn encode(bytes: &[u8], transform: Modifier) -> Result<Vec<Vec<u8>>, ItemError> {
    let units = || match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.encode_utf16()),
        Err(_) => Err(ItemError::Meaningless(modifier_name(transform))),
    };
    Ok(match transform {
        Modifier::Wide => vec![units()?.flat_map(u16::to_le_bytes).collect()],
        Modifier::Utf16be => vec![units()?.flat_map(u16::to_be_bytes).collect()],
        Modifier::Utf16 => {
            vec![[0xFF, 0xFE].into_iter().chain(units()?.flat_map(u16::to_le_bytes)).collect()]
        }
        Modifier::Base64 => vec![STANDARD.encode(bytes).into_bytes()],
        Modifier::Base64Offset => {
            // A part of a short text that leaves no character would be found everywhere.
            (0..3).map(|offset| base64_at(bytes, offset)).filter(|part| !part.is_empty()).collect()
        }
        _ => return Err(ItemError::Meaningless(modifier_name(transform))),
    })
}

/// The characters of a base64 text that depend on these bytes alone, if `offset` other bytes come before.
fn base64_at(bytes: &[u8], offset: usize) -> Vec<u8> {
    let padded: Vec<u8> = std::iter::repeat_n(b' ', offset).chain(bytes.iter().copied()).collect();
    let text = STANDARD.encode(&padded);
    // Each character holds six bits: those that reach into bytes before or behind are cut.
    let start = (offset * 8).div_ceil(6);
    let end = padded.len() * 8 / 6;
    text.as_bytes()[start.min(end)..end].to_vec()
}

/// Each dash or slash that starts a word, in its five forms.
fn windash(parts: &[GlobPart]) -> Result<Vec<Vec<GlobPart>>, ItemError> {
    const FORMS: [char; 5] = ['-', '/', '\u{2013}', '\u{2014}', '\u{2015}'];
    let mut variants = vec![Vec::new()];
    let mut dashes = 0;
    for part in parts {
        let GlobPart::Text(text) = part else {
            variants.iter_mut().for_each(|variant| variant.push(part.clone()));
            continue;
        };
        let chars: Vec<char> = text.chars().collect();
        for (i, &c) in chars.iter().enumerate() {
            let word = |c: &char| c.is_alphanumeric() || *c == '_';
            let starts_word =
                chars.get(i + 1).is_some_and(word) && !i.checked_sub(1).is_some_and(|i| word(&chars[i]));
            let forms: &[char] = if matches!(c, '-' | '/') && starts_word { &FORMS } else { &[c] };
            dashes += usize::from(forms.len() > 1);
            if dashes > MAX_DASHES {
                return Err(ItemError::TooManyDashes);
            }
            variants = variants
                .iter()
                .flat_map(|variant| forms.iter().map(|form| extended(variant, *form)))
                .collect();
        }
    }
    Ok(variants)
}

fn extended(variant: &[GlobPart], c: char) -> Vec<GlobPart> {
    let mut variant = variant.to_vec();
    match variant.last_mut() {
        Some(GlobPart::Text(text)) => text.push(c),
        _ => variant.push(GlobPart::Text(c.to_string())),
    }
    variant
}

/// The pattern carries its flags, so that it means the same wherever it is compiled.
fn flagged(pattern: &str, flags: &[Modifier]) -> String {
    let letters = [(Modifier::IgnoreCase, 'i'), (Modifier::Multiline, 'm'), (Modifier::DotAll, 's')];
    let letters: String =
        letters.iter().filter(|(flag, _)| flags.contains(flag)).map(|(_, letter)| letter).collect();
    if letters.is_empty() { pattern.to_owned() } else { format!("(?{letters}){pattern}") }
}

/// The end of an error that draws a picture first.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").trim_end_matches('.').to_owned()
}

fn number(modifier: &'static str, text: &str) -> Result<Number, ItemError> {
    Number::read(text).ok_or_else(|| ItemError::NotANumber(modifier, text.to_owned()))
}

fn comparison(modifier: Modifier) -> Operator {
    match modifier {
        Modifier::Gt => Operator::Greater,
        Modifier::Gte => Operator::GreaterOrEqual,
        Modifier::Lt => Operator::Less,
        Modifier::Lte => Operator::LessOrEqual,
        _ => Operator::Equal,
    }
}

fn time_part(modifier: Modifier) -> TimePart {
    match modifier {
        Modifier::Minute => TimePart::Minute,
        Modifier::Hour => TimePart::Hour,
        Modifier::Day => TimePart::Day,
        Modifier::Week => TimePart::Week,
        Modifier::Month => TimePart::Month,
        _ => TimePart::Year,
    }
}

/// The value as the rule has it, wildcards and escapes included; `None` for null.
fn text(value: &SigmaValue) -> Option<String> {
    (!matches!(value, SigmaValue::Null)).then(|| value.to_string())
}

/// The value as text and wildcards; `None` for null.
fn parts(value: &SigmaValue) -> Option<Vec<GlobPart>> {
    let SigmaValue::String(string) = value else {
        return text(value).map(|text| vec![GlobPart::Text(text)]);
    };
    let parts = string.parts.iter().map(|part| match part {
        StringPart::Plain(text) => GlobPart::Text(text.clone()),
        StringPart::Special(SpecialChar::WildcardMulti) => GlobPart::Many,
        StringPart::Special(SpecialChar::WildcardSingle) => GlobPart::One,
    });
    Some(parts.collect())
}

/// The name of a modifier in rules.
#[must_use]
pub fn modifier_name(modifier: Modifier) -> &'static str {
    match modifier {
        Modifier::Contains => "contains",
        Modifier::StartsWith => "startswith",
        Modifier::EndsWith => "endswith",
        Modifier::All => "all",
        Modifier::Base64 => "base64",
        Modifier::Base64Offset => "base64offset",
        Modifier::Wide => "wide",
        Modifier::Utf16be => "utf16be",
        Modifier::Utf16 => "utf16",
        Modifier::WindAsh => "windash",
        Modifier::Re => "re",
        Modifier::Cidr => "cidr",
        Modifier::Cased => "cased",
        Modifier::Exists => "exists",
        Modifier::Expand => "expand",
        Modifier::FieldRef => "fieldref",
        Modifier::Gt => "gt",
        Modifier::Gte => "gte",
        Modifier::Lt => "lt",
        Modifier::Lte => "lte",
        Modifier::Neq => "neq",
        Modifier::IgnoreCase => "i",
        Modifier::Multiline => "m",
        Modifier::DotAll => "s",
        Modifier::Minute => "minute",
        Modifier::Hour => "hour",
        Modifier::Day => "day",
        Modifier::Week => "week",
        Modifier::Month => "month",
        Modifier::Year => "year",
    }
}
