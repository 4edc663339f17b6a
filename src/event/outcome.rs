//! Whether a call worked.

use std::borrow::Cow;

use super::Event;

/// Whether the call that an event records worked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<'e> {
    /// Nothing says that it failed.
    Success,
    /// It failed, with the error code if there is one.
    Failure {
        /// `errorCode`; sign-in failures have only a message.
        code: Option<Cow<'e, str>>,
    },
}

impl<'e> Outcome<'e> {
    /// A call failed if it has an error code or an error message, or if a sign-in event answers `Failure`
    /// (sign-in events carry the answer in `responseElements` under their own name).
    pub(super) fn of(event: &Event<'e>) -> Self {
        let filled = |name| event.text(&[name]).filter(|text| !text.is_empty());
        if let Some(code) = filled("errorCode") {
            return Outcome::Failure { code: Some(code) };
        }
        if filled("errorMessage").is_some() || refused_sign_in(event) {
            return Outcome::Failure { code: None };
        }
        Outcome::Success
    }

    /// Whether nothing says that the call failed.
    #[must_use]
    pub fn is_success(&self) -> bool {
        *self == Outcome::Success
    }
}

fn refused_sign_in(event: &Event<'_>) -> bool {
    event
        .text(&["eventName"])
        .and_then(|name| event.text(&["responseElements", &name]))
        .is_some_and(|answer| answer.eq_ignore_ascii_case("failure"))
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::super::Parser;

    #[test]
    fn outcomes() {
        let cases = [
            ("{}", None),
            (r#"{"errorCode":"AccessDenied"}"#, Some(Some("AccessDenied"))),
            (r#"{"errorCode":"","errorMessage":null}"#, None),
            (r#"{"errorMessage":"Failed authentication"}"#, Some(None)),
            (r#"{"eventName":"ConsoleLogin","responseElements":{"ConsoleLogin":"Failure"}}"#, Some(None)),
            (r#"{"eventName":"ConsoleLogin","responseElements":{"ConsoleLogin":"Success"}}"#, None),
        ];
        for (record, expected) in cases {
            let outcome = Parser::default()
                .parse(record.as_bytes(), |event| match event.outcome() {
                    super::Outcome::Success => None,
                    super::Outcome::Failure { code } => Some(code.map(Cow::into_owned)),
                })
                .unwrap();
            assert_eq!(outcome, expected.map(|code| code.map(str::to_owned)), "{record}");
        }
    }
}
