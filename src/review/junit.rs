//! A report of cases in the XML that build servers read.

use super::cases::{Case, Outcome, Report, Suite};

/// The report: a suite for each rule file, a test for each case.
#[must_use]
pub fn junit(report: &Report) -> String {
    let suites: String = report.suites.iter().map(suite).collect();
    let (tests, failures, errors) = totals(&report.suites);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"trailhound rules test\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\">\n{suites}</testsuites>\n"
    )
}

fn totals<'s>(suites: impl IntoIterator<Item = &'s Suite>) -> (usize, usize, usize) {
    let (mut tests, mut failures, mut errors) = (0, 0, 0);
    for case in suites.into_iter().flat_map(|suite| &suite.cases) {
        tests += 1;
        failures += usize::from(matches!(case.outcome, Outcome::Failed(_)));
        errors += usize::from(matches!(case.outcome, Outcome::Broken(_) | Outcome::Nameless));
    }
    (tests, failures, errors)
}

fn suite(suite: &Suite) -> String {
    let (tests, failures, errors) = totals([suite]);
    let cases: String = suite.cases.iter().map(|case| test(&suite.file, case)).collect();
    let name = escaped(&suite.file);
    format!(
        "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\">\n{cases}  </testsuite>\n"
    )
}

fn test(file: &str, case: &Case) -> String {
    let inside = match &case.outcome {
        Outcome::Passed => String::new(),
        Outcome::Failed(failure) => element("failure", &failure.message, &failure.details.join("\n")),
        Outcome::Broken(error) => element("error", &error.to_string(), ""),
        Outcome::Nameless => element("error", NAMELESS, ""),
    };
    let open = format!("    <testcase classname=\"{}\" name=\"{}\"", escaped(file), escaped(&case.name));
    if inside.is_empty() { format!("{open}/>\n") } else { format!("{open}>\n{inside}    </testcase>\n") }
}

/// What is wrong with a case whose name says nothing.
pub const NAMELESS: &str = "the name of a case begins with `hit-` or `miss-`";

fn element(name: &str, message: &str, text: &str) -> String {
    format!("      <{name} message=\"{}\">{}</{name}>\n", escaped(message), escaped(text))
}

/// Text as XML 1.0 can say it; what it cannot is replaced.
fn escaped(text: &str) -> String {
    let mut xml = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            '\n' => xml.push_str("&#10;"),
            '\t' => xml.push_str("&#9;"),
            c if c < ' ' || matches!(c, '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}') => {
                xml.push('\u{fffd}');
            }
            c => xml.push(c),
        }
    }
    xml
}

#[cfg(test)]
mod tests {
    use super::super::cases::Failure;
    use super::*;

    #[test]
    fn the_report_is_xml_whatever_the_values_are() {
        let failed =
            Failure { message: "a <b> & \"c\"".into(), details: vec!["x\u{1}".into(), "]]>".into()] };
        let cases = vec![
            Case { name: "hit-a".into(), outcome: Outcome::Passed },
            Case { name: "miss-b".into(), outcome: Outcome::Failed(failed) },
            Case { name: "c".into(), outcome: Outcome::Nameless },
        ];
        let report = Report { suites: vec![Suite { file: "a&b.yml".into(), cases }], ..Report::default() };
        let xml = junit(&report);
        for expected in [
            r#"<testsuites name="trailhound rules test" tests="3" failures="1" errors="1">"#,
            r#"<testsuite name="a&amp;b.yml" tests="3" failures="1" errors="1">"#,
            r#"<testcase classname="a&amp;b.yml" name="hit-a"/>"#,
            "<failure message=\"a &lt;b&gt; &amp; &quot;c&quot;\">x\u{fffd}&#10;]]&gt;</failure>",
        ] {
            assert!(xml.contains(expected), "{expected} in {xml}");
        }
    }
}
