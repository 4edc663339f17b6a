//! One sentence that is enough on a phone, and safe wherever it is shown.

use std::borrow::Cow;

use jiff::Timestamp;

use crate::event::{Event, FieldPath, Omitted, Outcome};
use crate::sigma::{Piece, Rule};

use super::mask::{is_secret, masked_text};

/// Characters of one field, and of the whole sentence.
const MAX_FIELD: usize = 120;
const MAX_SENTENCE: usize = 400;

/// What a summary may speak of.
pub(super) struct Facts<'f, 'e> {
    pub(super) rule: &'f Rule,
    pub(super) event: &'f Event<'e>,
    pub(super) outcome: &'f Outcome<'e>,
}

impl Facts<'_, '_> {
    /// The detection's sentence about this event, and whether the call failed. A detection that could not
    /// decide states the call alone: its own sentence would tell as a fact what nobody knows.
    pub(super) fn summary(&self, undecided: bool) -> String {
        safe(&self.sentence(undecided))
    }

    /// The detection's sentence about the last of several events, how many there are since when, and what they acted
    /// upon if that is more than one thing.
    pub(super) fn summary_of_many(&self, count: u64, start: Timestamp, targets: Option<&str>) -> String {
        let end = match targets {
            _ if count <= 1 => String::new(),
            None => format!(" ({count} events since {start:.0})"),
            Some(targets) => format!(" ({count} events since {start:.0} on {targets})"),
        };
        let sentence = shorten(&self.sentence(false), MAX_SENTENCE - end.chars().count() - 1);
        safe(&(sentence + &end))
    }

    fn sentence(&self, undecided: bool) -> String {
        let title = &self.rule.title;
        let mut sentence = match &self.rule.extension.summary {
            _ if undecided => {
                format!("Undecided, as {}: {}; this may be \"{title}\"", self.doubt(), self.call())
            }
            None => format!("{title}: {}", self.call()),
            Some(template) => template
                .pieces()
                .iter()
                .map(|piece| match piece {
                    Piece::Text(text) => Cow::Borrowed(text.as_str()),
                    Piece::Field(field) => self.field(field).into(),
                })
                .collect(),
        };
        match self.outcome {
            Outcome::Success => {}
            Outcome::Failure { code: Some(code) } => sentence.extend([" — failed: ", &shown(code)]),
            Outcome::Failure { code: None } => sentence.push_str(" — failed"),
        }
        sentence
    }

    /// Why a detection could not decide.
    fn doubt(&self) -> String {
        let names = |containers: Omitted| containers.names().collect::<Vec<_>>().join(", ");
        match self.event.omitted() {
            omitted if omitted.is_empty() => {
                format!("{} holds a document beyond the limits", names(self.event.unknown()))
            }
            omitted => format!("CloudTrail left out {}", names(omitted)),
        }
    }

    /// Who called what, and where.
    fn call(&self) -> String {
        let [actor, call, account, region] = ["actor.name", "eventName", "account", "region"];
        let field = |name| self.field(name);
        format!("{} called {} in {} ({})", field(actor), field(call), field(account), field(region))
    }

    fn field(&self, name: &str) -> String {
        match self.value(name) {
            Some(value) if !value.is_empty() => shown(&value),
            _ => "(unknown)".to_owned(),
        }
    }

    fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        let text = |key| self.event.text(&[key]);
        match name {
            "account" => text("recipientAccountId").or_else(|| self.found("actor.account")),
            "region" => text("awsRegion"),
            "source_ip" => text("sourceIPAddress"),
            "user_agent" => text("userAgent"),
            "error_code" => text("errorCode"),
            path if path.split('.').any(is_secret) => Some("[masked]".into()),
            path => self.found(path),
        }
    }

    /// The first value at a path that is not null.
    fn found(&self, path: &str) -> Option<Cow<'_, str>> {
        let mut found = None;
        self.event.any(&FieldPath::new(path), &mut |value| {
            let text = value.scalar_text().unwrap_or_else(|| value.to_json().into());
            found = (!value.is_null()).then(|| masked_text(&text).into_owned());
            found.is_some()
        });
        found.map(Cow::Owned)
    }
}

/// A value within its length.
fn shown(value: &str) -> String {
    shorten(value, MAX_FIELD)
}

fn shorten(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Whether a character commands a terminal, turns the direction of text, or is not seen at all.
#[must_use]
pub fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}

/// The character as JSON escapes it, in code units of UTF-16.
#[must_use]
pub fn escape(c: char) -> String {
    c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
}

/// A document of JSON in which every deceptive character is escaped: the same to a program, and harmless to a terminal.
#[must_use]
pub fn harmless(document: &str) -> Cow<'_, str> {
    if !document.contains(is_deceptive) {
        return document.into();
    }
    let escaped = |c| if is_deceptive(c) { escape(c) } else { String::from(c) };
    document.chars().map(escaped).collect::<String>().into()
}

/// Text that neither a terminal, a chat, a web page nor a spreadsheet takes for anything else: no control
/// and no bidirectional characters, no markup, no link behind other words, no call of everyone, no formula.
fn safe(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        safe.push(match c {
            '<' => '‹',
            '>' => '›',
            '`' => '\'',
            c if is_deceptive(c) => ' ',
            c => c,
        });
        let rest = &text[at + c.len_utf8()..];
        if c == ']' && rest.starts_with(['(', '[']) || c == '@' && calls_everyone(rest) {
            safe.push(' ');
        }
    }
    let text = shorten(safe.trim(), MAX_SENTENCE);
    if text.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']) { format!("'{text}") } else { text }
}

/// Whether a chat would call all of its people by this word behind an `@`.
fn calls_everyone(word: &str) -> bool {
    let calls = ["all", "channel", "everyone", "here"];
    calls.iter().any(|call| word.get(..call.len()).is_some_and(|start| start.eq_ignore_ascii_case(call)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Parser;
    use crate::sigma::{RuleFile, compile};

    fn summary(template: &str, record: &str, undecided: bool) -> String {
        let mut text = "title: T\nlogsource: {product: aws, service: cloudtrail}\n\
                        detection: {s: {a: 1}, condition: s}\n"
            .to_owned();
        if !template.is_empty() {
            text.push_str(&format!("trailhound: {{summary: '{template}'}}\n"));
        }
        let file = RuleFile { name: "x".into(), text, named: false };
        let rule = compile(&[file]).rules.remove(0);
        Parser::default()
            .parse(record.as_bytes(), |event| {
                let facts = Facts { rule: &rule, event: &event, outcome: &event.outcome() };
                facts.summary(undecided)
            })
            .unwrap()
    }

    #[test]
    fn sentences() {
        let record = r#"{"eventName":"CreateUser","awsRegion":"us-east-1","recipientAccountId":"1","userIdentity":{"type":"IAMUser","userName":"ann"},"requestParameters":{"userName":"bob","tags":["x"],"policy":"{\"Statement\":{\"Action\":\"iam:*\"}}"}}"#;
        let cases = [
            ("{actor.name} created {target.kind} {target.name} in {account}", "ann created user bob in 1"),
            ("", "T: ann called CreateUser in 1 (us-east-1)"),
            ("{requestParameters.userName} {requestParameters.nothing}", "bob (unknown)"),
            ("tags {requestParameters.tags}", r#"tags ["x"]"#),
            ("{requestParameters.policy.Statement.Action} by a {actor.kind}", "iam:* by a user"),
        ];
        for (template, expected) in cases {
            assert_eq!(summary(template, record, false), expected);
        }
        let failed = record.replace("{\"eventName\"", r#"{"errorCode":"AccessDenied","eventName""#);
        assert_eq!(summary("{actor.name} tried", &failed, false), "ann tried — failed: AccessDenied");
        let parameters = record.find(r#"{"userName":"bob""#).unwrap();
        let omitted = format!(r#"{}{{"omitted":true}}}}"#, &record[..parameters]);
        assert_eq!(
            summary("{actor.name} surely did it", &omitted, true),
            "Undecided, as CloudTrail left out requestParameters: ann called CreateUser in 1 (us-east-1); this may be \"T\""
        );
    }

    #[test]
    fn a_document_that_is_harmless_says_the_same() {
        let value = serde_json::json!({"a\u{9b}": "\u{7f}\u{202e}x\u{e0041}é\n\u{200b}"});
        let document = value.to_string();
        let harmless = harmless(&document);
        assert!(!harmless.contains(is_deceptive), "{harmless}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&harmless).unwrap(), value);
        assert!(matches!(super::harmless("{\"a\":\"é\"}"), Cow::Borrowed(_)));
    }

    #[test]
    fn hostile_values_are_harmless() {
        let name = "=cmd|' /C calc'!A0 <!channel> \\u001b[31m\\u202Egnp.exe `x`\\n";
        let record = format!(r#"{{"userIdentity":{{"userName":"{name}"}}}}"#);
        let sentence = summary("{userIdentity.userName} did it", &record, false);
        assert!(sentence.starts_with("'=cmd"), "{sentence}");
        assert!(!sentence.chars().any(|c| c.is_control() || "<>`\u{202e}".contains(c)), "{sentence}");
        let cases = [
            ("@channel and @Everyone", "'@ channel and @ Everyone"),
            ("x@here.example", "x@ here.example"),
            ("ann@example.com", "ann@example.com"),
            ("[reset your password](https://evil.example)", "[reset your password] (https://evil.example)"),
            ("![x][y]", "![x] [y]"),
            ("&lt;!here&gt;", "&lt;!here&gt;"),
            ("\\t\\r=1+1", "'=1+1"),
            ("＝1", "'＝1"),
            ("\\u009b31m\\u2066a\\u200db\\u00ad", "31m a\u{200d}b"),
            ("\u{202e}\u{2028}", ""),
        ];
        for (value, expected) in cases {
            let record = format!(r#"{{"a":"{value}"}}"#);
            assert_eq!(summary("{a}", &record, false), expected, "{value}");
        }
        let long = format!(r#"{{"a":"{}"}}"#, "é".repeat(10_000));
        assert!(summary("{a} {a} {a} {a} {a}", &long, false).chars().count() <= MAX_SENTENCE + 2);
    }
}
