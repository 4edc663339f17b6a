//! The known differences about conditions.

use std::sync::LazyLock;

use regex::Regex;

use super::rule::Rule;

/// What we mean by a rule whose conditions the other engine reads in its own way.
pub enum Meaning {
    /// We refuse it.
    Refused,
    /// The same rule in other words.
    Rule(Box<Rule>),
}

static SELECTOR: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(\w+) of ([\w*]+)").unwrap());

/// What we mean by the rule: names that nothing has are a mistake, and a pattern has any number of stars.
pub fn meaning(rule: &Rule) -> Meaning {
    let chosen = |pattern: &str| -> Vec<&str> {
        let names = rule.selections.iter().map(|(name, _)| name.as_str());
        names.filter(|name| chooses(pattern, name)).collect()
    };
    let selectors = || SELECTOR.captures_iter(&rule.condition).map(|found| found.extract().1);
    let identifiers = SELECTOR.replace_all(&rule.condition, "");
    let named = |name: &str| rule.selections.iter().any(|(known, _)| known == name);
    let words = identifiers.split(|c: char| !c.is_alphanumeric() && c != '_');
    let unknown = words.filter(|word| !["", "and", "or", "not"].contains(word)).any(|word| !named(word));
    if unknown || selectors().any(|[_, pattern]| chosen(pattern).is_empty()) {
        return Meaning::Refused;
    }
    let in_words = SELECTOR.replace_all(&rule.condition, |found: &regex::Captures<'_>| {
        let join = match &found[1] {
            "1" | "any" => " or ",
            "all" => " and ",
            _ => return found[0].to_owned(),
        };
        format!("({})", chosen(&found[2]).join(join))
    });
    Meaning::Rule(Box::new(Rule { condition: in_words.into_owned(), ..rule.clone() }))
}

/// Whether a pattern stands for a name: stars try every length.
fn chooses(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        _ if pattern == "them" => !name.starts_with('_'),
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|name| {
            (0..=name.len()).any(|taken| name.get(taken..).is_some_and(|name| chooses(rest, name)))
        }),
    }
}
