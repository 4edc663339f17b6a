//! Summary templates: one sentence with fields in braces.

/// A parsed template such as `{actor.name} created IAM user {requestParameters.userName}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

/// A piece of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text as it stands; `{{` and `}}` have become single braces.
    Text(String),
    /// A field of the alert document or a path into the event.
    Field(String),
}

/// What is wrong with a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A brace without its partner.
    #[error("a brace without its partner (write `{{{{` or `}}}}` for the character itself)")]
    Unbalanced,
    /// `{}` or something that is no field name.
    #[error("braces hold something that is no field name")]
    NotAField,
    /// Nothing at all.
    #[error("the template is empty")]
    Empty,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// Braces are not balanced, hold no field name, or the template is blank.
    pub fn read(text: &str) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(TemplateError::Empty);
        }
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..];
            if let Some(doubled) = ["{{", "}}"].into_iter().find(|doubled| brace.starts_with(doubled)) {
                plain.push_str(&doubled[1..]);
                rest = &brace[2..];
                continue;
            }
            let end =
                brace.strip_prefix('{').and_then(|inner| inner.find('}')).ok_or(TemplateError::Unbalanced)?;
            let field = &brace[1..=end];
            let named = |c: char| !c.is_whitespace() && !c.is_control() && c != '{';
            if field.is_empty() || !field.chars().all(named) {
                return Err(TemplateError::NotAField);
            }
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
            pieces.push(Piece::Field(field.to_owned()));
            rest = &brace[end + 2..];
        }
        plain.push_str(rest);
        pieces.push(Piece::Text(plain));
        pieces.retain(|piece| *piece != Piece::Text(String::new()));
        Ok(Self(pieces))
    }

    /// Its pieces, in order.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates() {
        let text = |text: &str| Piece::Text(text.to_owned());
        let field = |field: &str| Piece::Field(field.to_owned());
        let cases: [(&str, Result<Vec<Piece>, TemplateError>); 9] = [
            ("plain", Ok(vec![text("plain")])),
            ("{a.b} did {c}", Ok(vec![field("a.b"), text(" did "), field("c")])),
            ("a {{b}} c", Ok(vec![text("a {b} c")])),
            ("{a}{b}", Ok(vec![field("a"), field("b")])),
            ("{a", Err(TemplateError::Unbalanced)),
            ("a}", Err(TemplateError::Unbalanced)),
            ("{}", Err(TemplateError::NotAField)),
            ("{a b}", Err(TemplateError::NotAField)),
            ("  ", Err(TemplateError::Empty)),
        ];
        for (input, expected) in cases {
            assert_eq!(Template::read(input).map(|template| template.0), expected, "{input}");
        }
    }
}
