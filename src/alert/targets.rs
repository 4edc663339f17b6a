//! The targets of the events behind an alert: each once, in the order of the events.

use serde::Serialize;

use super::excerpt::Excerpt;
use crate::event::{Parser, Target};

/// Targets that a summary names, and characters of each.
const MOST_NAMED: usize = 3;
const MAX_NAME: usize = 48;

/// The targets of the events that an alert lists; at most one of each event.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub(super) struct AlertTargets(Vec<Target<'static>>);

impl AlertTargets {
    /// Those of the events whose text was kept.
    pub(super) fn of(excerpts: &[Option<Excerpt<'_>>], parser: &mut Parser) -> Self {
        let mut targets = Vec::new();
        for excerpt in excerpts.iter().flatten() {
            let record = excerpt.event.get().as_bytes();
            let target = parser.parse(record, |event| Target::of(&event).map(Target::into_owned));
            if let Ok(Some(target)) = target
                && !targets.contains(&target)
            {
                targets.push(target);
            }
        }
        Self(targets)
    }

    /// Their names, for a sentence, if there are several: `a, b and c`, or `a, b, c and others`.
    pub(super) fn names(&self) -> Option<String> {
        let mut names: Vec<String> =
            self.0.iter().take(MOST_NAMED).map(|target| shortened(&target.name)).collect();
        let last = if self.0.len() > MOST_NAMED { "others".to_owned() } else { names.pop()? };
        (!names.is_empty()).then(|| format!("{} and {last}", names.join(", ")))
    }
}

fn shortened(name: &str) -> String {
    match name.char_indices().nth(MAX_NAME) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(names: &[&str]) -> AlertTargets {
        let target = |name: &&str| Target { kind: "role".into(), name: (*name).to_owned().into(), arn: None };
        AlertTargets(names.iter().map(target).collect())
    }

    #[test]
    fn a_sentence_names_a_few() {
        let long = "x".repeat(50);
        let cases = [
            (&[][..], None),
            (&["a"], None),
            (&["a", "b"], Some("a and b")),
            (&["a", "b", "c"], Some("a, b and c")),
            (&["a", "b", "c", "d"], Some("a, b, c and others")),
            (&["a", &long], Some(&*format!("a and {}…", "x".repeat(48)))),
        ];
        for (names, expected) in cases {
            assert_eq!(targets(names).names().as_deref(), expected, "{names:?}");
        }
    }
}
