//! The tokens of valid JSON text, for work on the text itself: compacting, masking.

/// One token of JSON text, as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token<'t> {
    /// One of `{ } [ ] , :`.
    Mark(char),
    /// A string with its quotes and escapes.
    String(&'t str),
    /// A number, `true`, `false` or `null`.
    Literal(&'t str),
}

impl Token<'_> {
    /// Its bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Token::Mark(mark) => mark.len_utf8(),
            Token::String(text) | Token::Literal(text) => text.len(),
        }
    }
}

/// Iterates over the tokens of valid JSON; white space between them is left out.
///
/// On text that is not JSON it still ends and yields slices of the text, in no useful order of meaning.
#[derive(Debug, Clone)]
pub struct Tokens<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Tokens<'t> {
    /// Starts at the beginning of the text.
    #[must_use]
    pub fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    /// The index behind the token that was given last.
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }

    fn take_until(&mut self, end: usize) -> &'t str {
        let token = &self.text[self.at..end];
        self.at = end;
        token
    }
}

impl<'t> Iterator for Tokens<'t> {
    type Item = Token<'t>;

    fn next(&mut self) -> Option<Token<'t>> {
        let bytes = self.text.as_bytes();
        let skipped = bytes[self.at..].iter().position(|byte| !is_space(*byte))?;
        self.at += skipped;
        match bytes[self.at] {
            mark @ (b'{' | b'}' | b'[' | b']' | b',' | b':') => {
                self.at += 1;
                Some(Token::Mark(char::from(mark)))
            }
            b'"' => {
                let end = string_end(bytes, self.at);
                Some(Token::String(self.take_until(end)))
            }
            _ => {
                let rest = &bytes[self.at + 1..];
                let length = rest.iter().position(|byte| is_space(*byte) || b"{}[],:\"".contains(byte));
                let end = length.map_or(bytes.len(), |length| self.at + 1 + length);
                Some(Token::Literal(self.take_until(end)))
            }
        }
    }
}

/// JSON without its insignificant white space; order, escapes, number text and bytes that are no UTF-8 stay.
pub(super) fn compact(json: &[u8]) -> Vec<u8> {
    let mut compact = Vec::with_capacity(json.len());
    let mut at = 0;
    while at < json.len() {
        let end = if json[at] == b'"' { string_end(json, at) } else { at + 1 };
        if !is_space(json[at]) {
            compact.extend_from_slice(&json[at..end]);
        }
        at = end;
    }
    compact
}

pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// The index after the closing quote of the string that opens at `start`, or the end of the text.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(found) = memchr::memchr2(b'"', b'\\', &bytes[at.min(bytes.len())..]) {
        at += found;
        if bytes[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_keeps_order_escapes_and_numbers() {
        let spaced = "{ \"b\" : [ 1.50 , -0, 1E2 ,true ],\n\t\"a \\\" b\" : \"x  y\\u0041\" , \"a\":null}";
        let dense = r#"{"b":[1.50,-0,1E2,true],"a \" b":"x  y\u0041","a":null}"#;
        assert_eq!(compact(spaced.as_bytes()), dense.as_bytes());
        let tokens = Tokens::new(spaced).map(|token| match token {
            Token::Mark(mark) => mark.to_string(),
            Token::String(text) | Token::Literal(text) => text.to_owned(),
        });
        assert_eq!(tokens.collect::<String>(), dense);
        assert_eq!(compact(b"{ \"a\" : \"\xff \" }"), b"{\"a\":\"\xff \"}");
    }

    #[test]
    fn text_that_is_not_json_ends() {
        for text in ["\"abc", "\"abc\\", "}{", "é:é", "", "  "] {
            let _ = (compact(text.as_bytes()), Tokens::new(text).count());
        }
    }
}
