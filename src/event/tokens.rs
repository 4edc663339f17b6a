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

/// JSON text without its insignificant white space; order, escapes and number text stay.
#[must_use]
pub fn compact(json: &str) -> String {
    let mut compact = String::with_capacity(json.len());
    for token in Tokens::new(json) {
        match token {
            Token::Mark(mark) => compact.push(mark),
            Token::String(text) | Token::Literal(text) => compact.push_str(text),
        }
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
        assert_eq!(compact(spaced), r#"{"b":[1.50,-0,1E2,true],"a \" b":"x  y\u0041","a":null}"#);
    }

    #[test]
    fn text_that_is_not_json_ends() {
        for text in ["\"abc", "\"abc\\", "}{", "é:é", "", "  "] {
            let _ = compact(text);
        }
    }
}
