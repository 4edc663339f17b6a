//! The event in an alert: compact, with known secrets masked.

use std::borrow::Cow;

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
pub(super) fn masked(record: &str) -> String {
    masked_json(record, MOST_NESTED)
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
    let last = letters().next();
    SECRETS.iter().any(|secret| secret.bytes().next_back() == last && ends_so(secret))
}

/// A value found at a path, as compact JSON with known secrets masked.
#[must_use]
pub fn masked_value(path: &str, value: crate::event::Value<'_>) -> String {
    let json = value.to_json();
    if path.split('.').any(is_secret) && json != HIDDEN && !value.is_null() {
        return MASKED.to_owned();
    }
    masked(&json)
}

fn masked_json(json: &str, nested: usize) -> String {
    let mut text = String::with_capacity(json.len());
    let (mut key, mut secret) = (None, false);
    let mut tokens = Tokens::new(json);
    while let Some(token) = tokens.next() {
        match token {
            Token::Mark('{' | '[') if secret => {
                skip_nested(&mut tokens);
                text.push_str(MASKED);
            }
            Token::Mark(mark) => text.push(mark),
            Token::String(string) if secret && string != HIDDEN => text.push_str(MASKED),
            // Without an escape there is no quote in it, and so no key.
            Token::String(string) if !string.contains('\\') => text.push_str(string),
            Token::String(string) => match unquoted(string).and_then(|inner| embedded(&inner, nested)) {
                Some(masked) => text.push_str(&Value::String(masked).to_string()),
                None => text.push_str(string),
            },
            Token::Literal(number) if secret && !["null", "true", "false"].contains(&number) => {
                text.push_str(MASKED);
            }
            Token::Literal(literal) => text.push_str(literal),
        }
        secret = token == Token::Mark(':')
            && key.is_some_and(|key| unquoted(key).is_some_and(|key| is_secret(&key)));
        key = if let Token::String(string) = token { Some(string) } else { None };
    }
    text
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
}
