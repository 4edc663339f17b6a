//! Tests in words, for people who ask why a rule matches or not.

use std::fmt::{self, Display, Formatter};

use super::expression::{Operator, Relation, Share, Test, TimePart};
use super::pattern::{Case, Globs, Words};

/// Texts of a list that are named; of more, only their number is told.
const MOST_NAMED: usize = 8;

/// What the test asks, to be put behind the name of a field: `is "CreateUser"`.
impl Display for Test {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Test::Equals(words) => write!(f, "is {words}"),
            Test::Like(globs) => write!(f, "fits {globs}"),
            Test::Regex(regex) => write!(f, "matches {regex}"),
            Test::Cidr(network) => write!(f, "is in the network {network}"),
            Test::Null => f.write_str("is absent or null"),
            Test::Exists(true) => f.write_str("is there"),
            Test::Exists(false) => f.write_str("is not there"),
            Test::Compare(operator, number) => write!(f, "{operator} {number}"),
            Test::Time(part, operator, number) => write!(f, "has a {part} that {operator} {number}"),
            Test::Reference(other, relation, case) => write!(f, "{relation} field {}{case}", other.as_str()),
        }
    }
}

impl Display for Words {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        list(f, &self.written().collect::<Vec<_>>())?;
        self.case().fmt(f)
    }
}

impl Display for Globs {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        list(f, &self.written().collect::<Vec<_>>())?;
        self.case().fmt(f)
    }
}

fn list(f: &mut Formatter<'_>, texts: &[&str]) -> fmt::Result {
    if texts.len() > 1 {
        f.write_str("one of ")?;
    }
    for (at, text) in texts.iter().take(MOST_NAMED).enumerate() {
        write!(f, "{}{text:?}", if at > 0 { ", " } else { "" })?;
    }
    match texts.len().saturating_sub(MOST_NAMED) {
        0 => Ok(()),
        more => write!(f, " and {more} more"),
    }
}

/// Nothing for the usual way.
impl Display for Case {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Case::Ignored => "",
            Case::Counts => " (case counts)",
        })
    }
}

impl Display for Operator {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operator::Equal => "=",
            Operator::NotEqual => "≠",
            Operator::Less => "<",
            Operator::LessOrEqual => "≤",
            Operator::Greater => ">",
            Operator::GreaterOrEqual => "≥",
        })
    }
}

impl Display for Relation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Relation::Equals => "equals",
            Relation::Contains => "contains",
            Relation::StartsWith => "starts with",
            Relation::EndsWith => "ends with",
        })
    }
}

/// What is put before the name of a list: `one element of`.
impl Display for Share {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Share::Any => "one element of",
            Share::All => "every element, of at least one, of",
            Share::AllOrEmpty => "every element of",
            Share::None => "no element of",
        })
    }
}

impl Display for TimePart {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TimePart::Minute => "minute",
            TimePart::Hour => "hour",
            TimePart::Day => "day",
            TimePart::Week => "week",
            TimePart::Month => "month",
            TimePart::Year => "year",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Expression, RuleFile, Test, compile};

    fn wording(item: &str) -> String {
        let text = format!(
            "title: T\nlogsource: {{product: aws, service: cloudtrail}}\ndetection:\n  s: {{{item}}}\n  condition: s\n"
        );
        let compiled = compile(&[RuleFile { name: "x".into(), text, named: false }]);
        let condition = compiled.rules[0].condition().unwrap().clone();
        first(&condition.selections[0].1).to_string()
    }

    fn first(part: &Expression) -> &Test {
        match part {
            Expression::All(parts) | Expression::Any(parts) => first(&parts[0]),
            Expression::Field(_, test) => test,
            part => panic!("{part:?}"),
        }
    }

    #[test]
    fn tests_are_said_in_words() {
        let cases = [
            ("a: CreateUser", r#"is "CreateUser""#),
            ("a: [B, a]", r#"is one of "B", "a""#),
            ("a|cased: B", r#"is "B" (case counts)"#),
            ("a|startswith: AKIA", r#"fits "AKIA*""#),
            ("a|contains: [x, y]", r#"fits one of "*x*", "*y*""#),
            ("a: [1,2,3,4,5,6,7,8,9,10]", r#"is one of "1", "2", "3", "4", "5", "6", "7", "8" and 2 more"#),
            ("a|re: '^x+$'", "matches /^x+$/"),
            ("a|cidr: 10.0.0.0/8", "is in the network 10.0.0.0/8"),
            ("a: null", "is absent or null"),
            ("a|exists: true", "is there"),
            ("a|exists: false", "is not there"),
            ("a|gte: 5", "≥ 5"),
            ("a|fieldref: b", "equals field b"),
        ];
        for (item, expected) in cases {
            assert_eq!(wording(item), expected, "{item}");
        }
    }
}
