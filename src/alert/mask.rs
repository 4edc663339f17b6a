//! The event in an alert: compact, with known secrets masked.

use crate::event::{Token, Tokens};

/// Keys, in lower case, whose texts are secrets. CloudTrail itself hides most, but not all of them.
const SECRETS: [&str; 22] = [
    "sessiontoken",
    "secretaccesskey",
    "password",
    "oldpassword",
    "newpassword",
    "masteruserpassword",
    "userpassword",
    "adminpassword",
    "servicepassword",
    "servicecredentialsecret",
    "serviceapikeyvalue",
    "secretstring",
    "secretbinary",
    "authtoken",
    "privatekey",
    "keymaterial",
    "plaintext",
    "signintoken",
    "webidentitytoken",
    "samlassertion",
    "clientsecret",
    "accesstoken",
];
/// What CloudTrail writes where it hides something; worth seeing.
const HIDDEN: &str = "\"HIDDEN_DUE_TO_SECURITY_REASONS\"";
const MASKED: &str = "\"[masked]\"";

/// A record without insignificant white space, its order, escapes and number texts kept, secrets masked and
/// surrogates without a partner replaced.
pub(super) fn masked(record: &str) -> String {
    let mut text = String::with_capacity(record.len());
    let (mut last, mut secret) = (None, false);
    for token in Tokens::new(record) {
        match token {
            Token::Mark(mark) => {
                text.push(mark);
                secret = mark == ':' && last.is_some_and(is_secret);
            }
            Token::String(string) if secret && string != HIDDEN => text.push_str(MASKED),
            Token::String(other) | Token::Literal(other) => text.push_str(other),
        }
        last = if let Token::String(string) = token { Some(string) } else { None };
    }
    text
}

fn is_secret(key: &str) -> bool {
    let key: String = serde_json::from_str(key).unwrap_or_default();
    SECRETS.contains(&key.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_and_nothing_else_changes() {
        let record = "{ \"responseElements\": {\"credentials\": {\"sessionToken\": \"abc\\\"d\", \"accessKeyId\": \"ASIA\"}},
            \"Password\":\"x\", \"s\\u0065cretString\" : \"y\", \"note\":\"password\", \"password\": 1.50,
            \"newPassword\":\"HIDDEN_DUE_TO_SECURITY_REASONS\", \"passwordResetRequired\":\"true\"}";
        assert_eq!(
            masked(record),
            "{\"responseElements\":{\"credentials\":{\"sessionToken\":\"[masked]\",\"accessKeyId\":\"ASIA\"}},\
             \"Password\":\"[masked]\",\"s\\u0065cretString\":\"[masked]\",\"note\":\"password\",\"password\":1.50,\
             \"newPassword\":\"HIDDEN_DUE_TO_SECURITY_REASONS\",\"passwordResetRequired\":\"true\"}"
        );
    }
}
