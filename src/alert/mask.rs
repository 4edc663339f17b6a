//! The event in an alert: compact, with known secrets masked.

use std::borrow::Cow;
use std::ops::Range;

use serde::de::IgnoredAny;
use serde_json::Value;

use crate::event::{Token, Tokens};

/// Ends of keys, in lower case and without punctuation, whose values are secrets. CloudTrail itself hides most,
/// but not all of them.
const SECRETS: [&str; 22] = [
    "password",
    "passphrase",
    "sessiontoken",
    "securitytoken",
    "accesstoken",
    "refreshtoken",
    "identitytoken",
    "authorizationtoken",
    "authtoken",
    "signintoken",
    "idtoken",
    "secretaccesskey",
    "secretkey",
    "privatekey",
    "keymaterial",
    "plaintext",
    "secretstring",
    "secretbinary",
    "clientsecret",
    "credentialsecret",
    "apikeyvalue",
    "samlassertion",
];
/// JSON within a string within a string, and so on, that is looked into.
const MOST_NESTED: usize = 4;
/// What CloudTrail writes where it hides something; worth seeing.
const HIDDEN: &str = "\"HIDDEN_DUE_TO_SECURITY_REASONS\"";
const MASKED: &str = "\"[masked]\"";

/// A record without insignificant white space, its order, escapes and number texts kept, secrets masked and
/// surrogates without a partner replaced.
pub(super) fn masked(record: &str) -> Cow<'_, str> {
    if is_bare(record) { record.into() } else { masked_json(record, MOST_NESTED).into() }
}

/// Whether nothing is to be done: this JSON has no white space between its tokens, no escape and no secret.
fn is_bare(mut json: &str) -> bool {
    let has_space = |outside: &str| outside.bytes().any(|byte| byte.is_ascii_whitespace());
    while let Some((outside, string)) = json.split_once('"') {
        let end = memchr::memchr2(b'"', b'\\', string.as_bytes());
        let Some(end) = end.filter(|end| string.as_bytes()[*end] == b'"') else { return false };
        json = &string[end + 1..];
        if has_space(outside) || json.starts_with(':') && is_secret(&string[..end]) {
            return false;
        }
    }
    !has_space(json)
}

/// A text that may itself be JSON, with known secrets masked.
pub(super) fn masked_text(text: &str) -> Cow<'_, str> {
    embedded(text, MOST_NESTED).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// Whether the value of this key is a secret.
pub(super) fn is_secret(key: &str) -> bool {
    let letters =
        || key.bytes().rev().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_lowercase());
    let ends_so = |secret: &str| secret.bytes().rev().eq(letters().take(secret.len()));
    let mut last = letters();
    let (Some(last), Some(before)) = (last.next(), last.next()) else { return false };
    LAST[pair(before, last)] && SECRETS.iter().any(|secret| ends_so(secret))
}

/// The two letters with which secrets end: hardly any other key ends so.
const LAST: [bool; PAIRS] = {
    let (mut last, mut at) = ([false; PAIRS], 0);
    while at < SECRETS.len() {
        let secret = SECRETS[at].as_bytes();
        last[pair(secret[secret.len() - 2], secret[secret.len() - 1])] = true;
        at += 1;
    }
    last
};
const PAIRS: usize = 1 << 10;

/// Two letters as a number, which they may share with others.
const fn pair(one: u8, other: u8) -> usize {
    (one as usize % 32) * 32 + other as usize % 32
}

/// A value found at a path, as compact JSON with known secrets masked.
#[must_use]
pub fn masked_value(path: &str, value: crate::event::Value<'_>) -> String {
    let json = value.to_json();
    if path.split('.').any(is_secret) && json != HIDDEN && !value.is_null() {
        return MASKED.to_owned();
    }
    masked(&json).into_owned()
}

fn masked_json(json: &str, nested: usize) -> String {
    let mut text = Text { json, written: String::with_capacity(json.len()), run: 0..0 };
    let (mut key, mut secret) = (None, false);
    let mut tokens = Tokens::new(json);
    while let Some(token) = tokens.next() {
        let place = tokens.position() - token.size()..tokens.position();
        match token {
            Token::Mark('{' | '[') if secret => {
                skip_nested(&mut tokens);
                text.put(MASKED);
            }
            Token::String(string) if secret && string != HIDDEN => text.put(MASKED),
            // Without an escape there is no quote in it, and so no key.
            Token::String(string) if string.contains('\\') => {
                match unquoted(string).and_then(|inner| embedded(&inner, nested)) {
                    Some(masked) => text.put(&Value::String(masked).to_string()),
                    None => text.keep(place),
                }
            }
            Token::Literal(number) if secret && !["null", "true", "false"].contains(&number) => {
                text.put(MASKED);
            }
            Token::Mark(_) | Token::String(_) | Token::Literal(_) => text.keep(place),
        }
        secret = token == Token::Mark(':')
            && key.is_some_and(|key| unquoted(key).is_some_and(|key| is_secret(&key)));
        key = if let Token::String(string) = token { Some(string) } else { None };
    }
    text.finish()
}

/// A text made of another one: what is kept is copied in runs as long as possible.
struct Text<'j> {
    json: &'j str,
    written: String,
    /// What is kept and not yet copied.
    run: Range<usize>,
}

impl Text<'_> {
    fn keep(&mut self, place: Range<usize>) {
        if place.start == self.run.end {
            self.run.end = place.end;
        } else {
            self.copy();
            self.run = place;
        }
    }

    fn put(&mut self, other: &str) {
        self.copy();
        self.written.push_str(other);
    }

    fn copy(&mut self) {
        self.written.push_str(&self.json[self.run.clone()]);
        self.run = 0..0;
    }

    fn finish(mut self) -> String {
        self.copy();
        self.written
    }
}

/// Passes what stands up to the mark that closes an object or list just opened.
fn skip_nested(tokens: &mut Tokens<'_>) {
    let mut depth = 1;
    while depth > 0 {
        match tokens.next() {
            Some(Token::Mark('{' | '[')) => depth += 1,
            Some(Token::Mark('}' | ']')) => depth -= 1,
            Some(_) => {}
            None => return,
        }
    }
}

/// The masked form of a text that is JSON with a secret in it; nothing of any other text.
fn embedded(text: &str, nested: usize) -> Option<String> {
    let inside = text.trim_start();
    if nested == 0 || !inside.starts_with(['{', '[']) || serde_json::from_str::<IgnoredAny>(text).is_err() {
        return None;
    }
    let masked = masked_json(text, nested - 1);
    masked.contains("[masked]").then_some(masked)
}

fn unquoted(string: &str) -> Option<Cow<'_, str>> {
    if string.contains('\\') {
        return serde_json::from_str(string).ok().map(Cow::Owned);
    }
    string.strip_prefix('"')?.strip_suffix('"').map(Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_and_nothing_else_changes() {
        let record = "{ \"responseElements\": {\"credentials\": {\"sessionToken\": \"abc\\\"d\", \"accessKeyId\": \"ASIA\"}},
            \"Password\":\"x\", \"s\\u0065cretString\" : \"y\", \"note\":\"password\", \"cost\": 1.50,
            \"newPassword\":12345678, \"masterUserPassword\":[\"x\",{\"y\":1}], \"X-Amz-Security-Token\":{\"v\":\"x\"}, \"authToken\":null,
            \"text\":\"{ \\\"sessionToken\\\": \\\"abc\\\", \\\"n\\\": 1 }\", \"policy\":\"{ \\\"a\\\": 1 }\",
            \"newPassword\":\"HIDDEN_DUE_TO_SECURITY_REASONS\", \"passwordResetRequired\":\"true\"}";
        assert_eq!(
            masked(record),
            "{\"responseElements\":{\"credentials\":{\"sessionToken\":\"[masked]\",\"accessKeyId\":\"ASIA\"}},\
             \"Password\":\"[masked]\",\"s\\u0065cretString\":\"[masked]\",\"note\":\"password\",\"cost\":1.50,\
             \"newPassword\":\"[masked]\",\"masterUserPassword\":\"[masked]\",\"X-Amz-Security-Token\":\"[masked]\",\"authToken\":null,\
             \"text\":\"{\\\"sessionToken\\\":\\\"[masked]\\\",\\\"n\\\":1}\",\"policy\":\"{ \\\"a\\\": 1 }\",\
             \"newPassword\":\"HIDDEN_DUE_TO_SECURITY_REASONS\",\"passwordResetRequired\":\"true\"}"
        );
    }

    #[test]
    fn what_is_bare_stays_as_it_is() {
        let cases = [
            (r#"{"a":"b c","n":[1.50,null,{"d":"é"}],"password":null}"#, false),
            (r#"{"a":"b c","n":[1.50,null,{"d":"é"}],"note":"password"}"#, true),
            (r#"{"a":"b","c" :1}"#, false),
            (r#"{"a":1 }"#, false),
            (r#"{ "a":1}"#, false),
            ("{\"a\":1,\n\"b\":2}", false),
            (r#"{"a":"b\"c"}"#, false),
            (r#"{"p\u0061ssword":"x"}"#, false),
            (r#"{"masterUserPassword":"x"}"#, false),
            (r#"{"X-Amz-Security-Token_":"x"}"#, false),
            (r#"{"token":"x","ord":1,"d":2,"":3}"#, true),
            ("{}", true),
        ];
        for (json, expected) in cases {
            assert_eq!(is_bare(json), expected, "{json}");
            assert_eq!(masked(json), masked_json(json, MOST_NESTED), "{json}");
        }
    }

    #[test]
    fn every_secret_is_one_by_its_last_letters() {
        for secret in SECRETS {
            for key in [secret.to_owned(), secret.to_uppercase(), format!("my-{secret}_")] {
                assert!(is_secret(&key), "{key}");
            }
        }
        for key in ["", "d", "rd", "passwordResetRequired", "tokens", "word"] {
            assert!(!is_secret(key), "{key}");
        }
    }
}
