//! Lengths of time as Sigma writes them: a whole number and one unit.

use jiff::SignedDuration;
use rsigma_parser::Timespan;

/// Reads `30s`, `5m`, `1h`, `7d`, `2w`, `1M` (30.44 days) or `1y` (365.25 days).
pub(super) fn read(text: &str) -> Option<SignedDuration> {
    // A sign is no part of it.
    let timespan = text.starts_with(|c: char| c.is_ascii_digit()).then(|| Timespan::parse(text))?.ok()?;
    i64::try_from(timespan.seconds).ok().map(SignedDuration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time() {
        let cases = [
            ("30s", Some(30)),
            ("90m", Some(5_400)),
            ("12h", Some(43_200)),
            ("7d", Some(604_800)),
            ("2w", Some(1_209_600)),
            ("1M", Some(2_629_746)),
            ("1y", Some(31_556_952)),
            ("0s", Some(0)),
            ("5", None),
            ("m", None),
            ("-5m", None),
            ("+5m", None),
            ("1.5h", None),
            ("1h30m", None),
            ("5 m", None),
            ("5é", None),
            ("99999999999999999d", None),
            ("", None),
        ];
        for (text, seconds) in cases {
            assert_eq!(read(text), seconds.map(SignedDuration::from_secs), "{text}");
        }
    }
}
