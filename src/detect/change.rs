//! What tells one set of detections from another.

use std::cmp::Ordering;

use super::Detections;
use crate::sigma::Rule;

/// The detections of two sets, by what became of them on the way from the first to the second; in the order of
/// their ids.
#[derive(Debug, Default)]
pub struct Change<'r> {
    /// In both sets, with the same content: whatever is kept for them stays valid.
    pub kept: Vec<&'r Rule>,
    /// In both sets, with another content: before and after.
    pub changed: Vec<(&'r Rule, &'r Rule)>,
    /// Only in the first set.
    pub removed: Vec<&'r Rule>,
    /// Only in the second set.
    pub added: Vec<&'r Rule>,
}

impl<'r> Change<'r> {
    /// Compares two sets by the ids and hashes of their detections.
    #[must_use]
    pub fn between(old: &'r Detections, new: &'r Detections) -> Self {
        let mut change = Self::default();
        let (mut olds, mut news) = (old.rules().iter().peekable(), new.rules().iter().peekable());
        while let Some(order) = order(olds.peek(), news.peek()) {
            match order {
                Ordering::Less => change.removed.extend(olds.next()),
                Ordering::Greater => change.added.extend(news.next()),
                Ordering::Equal => match (olds.next(), news.next()) {
                    (Some(old), Some(new)) if old.hash == new.hash => change.kept.push(new),
                    (old, new) => change.changed.extend(old.zip(new)),
                },
            }
        }
        change
    }
}

/// Whose turn it is; none once both have ended.
fn order(old: Option<&&Rule>, new: Option<&&Rule>) -> Option<Ordering> {
    match (old, new) {
        (None, None) => None,
        (Some(_), None) => Some(Ordering::Less),
        (None, Some(_)) => Some(Ordering::Greater),
        (Some(old), Some(new)) => Some(old.id.cmp(&new.id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sigma::{RuleFile, compile};

    /// A set of rules, each an id and the name of the event that it matches.
    fn set(rules: &[(&str, &str)]) -> Detections {
        let text = |(id, name): &(&str, &str)| {
            format!(
                "title: {id}\nid: {id}\nlogsource: {{product: aws, service: cloudtrail}}\ndetection: {{s: {{eventName: {name}}}, condition: s}}\n"
            )
        };
        let text = rules.iter().map(text).collect::<Vec<_>>().join("---\n");
        Detections::new(compile(&[RuleFile { name: "x".into(), text, named: false }]).rules)
    }

    #[test]
    fn each_detection_has_one_fate() {
        let all = [("a", "X"), ("b", "X"), ("c", "X")];
        let cases: [(&[_], &[_], [&str; 4]); 5] = [
            (&all, &all, ["abc", "", "", ""]),
            (&all, &[("c", "X"), ("a", "X"), ("b", "Y")], ["ac", "b", "", ""]),
            (&all, &[("b", "X")], ["b", "", "ac", ""]),
            (&[("b", "X")], &all, ["b", "", "", "ac"]),
            (&all, &[("a", "Y"), ("d", "X"), ("0", "X")], ["", "a", "bc", "0d"]),
        ];
        for (old, new, expected) in cases {
            let (olds, news) = (set(old), set(new));
            let change = Change::between(&olds, &news);
            let ids = |rules: &[&Rule]| rules.iter().map(|rule| rule.id.as_str()).collect::<String>();
            let changed: Vec<_> = change.changed.iter().map(|(old, _)| *old).collect();
            let found = [&change.kept, &changed, &change.removed, &change.added].map(|rules| ids(rules));
            assert_eq!(found, expected, "{old:?} {new:?}");
        }
    }
}
