//! What a condition asks for together: names of events, the sources that they are asked for with, the fields that are
//! looked at in such events.

use crate::review::calls::{self, Calls, Side};
use crate::review::fields;
use crate::review::members::{self, Answer};
use crate::sigma::{Expression, Test, Words};

/// Something that no record can have.
pub(super) struct Doubt {
    /// What is wrong, as the rule has it.
    pub(super) word: String,
    pub(super) lint: &'static str,
    pub(super) message: String,
}

/// The events that a part of a condition is about, as far as whole texts say; nothing where any may be meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct About<'c> {
    pub(super) sources: Vec<&'c str>,
    pub(super) names: Vec<&'c str>,
}

/// A walk through what must hold together.
pub(super) struct Scene<'c> {
    /// A reference to another one is to none that is looked at here.
    selections: &'c [(String, Expression)],
    pub(super) doubts: Vec<Doubt>,
}

/// What must hold together, or all be absent.
#[derive(Default)]
struct Together<'c> {
    /// Which texts a field may have.
    texts: Vec<(&'c str, &'c Words)>,
    fields: Vec<&'c str>,
    /// Parts of which only some must hold.
    choices: Vec<&'c Expression>,
    /// Parts that must not.
    denied: Vec<&'c Expression>,
}

impl<'c> Scene<'c> {
    pub(super) fn new(selections: &'c [(String, Expression)]) -> Self {
        Self { selections, doubts: Vec::new() }
    }

    /// Looks at a part that is to hold of certain events.
    pub(super) fn look(&mut self, part: &'c Expression, around: &About<'c>) {
        let together = self.together(part);
        let (own, about) = (together.about(), together.about().within(around));
        own.sources.iter().for_each(|source| self.source(source));
        own.names.iter().for_each(|name| self.call(&about.sources, name));
        self.fields(&together, &about);
        together.choices.iter().for_each(|choice| self.look(choice, &about));
        together.denied.iter().for_each(|denied| self.look_denied(denied, &about));
    }

    /// Looks at a whole condition, and at selections that it does not name.
    pub(super) fn look_at_all(&mut self, root: &'c Expression) {
        self.look(root, &About::default());
        self.selections.iter().for_each(|(_, selection)| self.look_denied(selection, &About::default()));
    }

    /// Looks at a part that is not to hold of certain events. It may speak of others: that is vain, not wrong.
    pub(super) fn look_denied(&mut self, part: &'c Expression, around: &About<'c>) {
        let together = self.together(part);
        let about = together.about().within(around);
        self.fields(&together, &about);
        together.choices.iter().chain(&together.denied).for_each(|part| self.look_denied(part, &about));
    }

    /// The events that a part is about by itself.
    pub(super) fn about(&self, part: &'c Expression) -> About<'c> {
        self.together(part).about()
    }

    fn together(&self, part: &'c Expression) -> Together<'c> {
        let mut together = Together::default();
        self.gather(part, &mut together);
        together
    }

    fn gather(&self, part: &'c Expression, together: &mut Together<'c>) {
        match part {
            Expression::All(parts) => parts.iter().for_each(|part| self.gather(part, together)),
            Expression::Selection(index) => {
                if let Some((_, selection)) = self.selections.get(*index) {
                    self.gather(selection, together);
                }
            }
            Expression::Any(parts) | Expression::AtLeast(_, parts) => match &parts[..] {
                [only] => self.gather(only, together),
                parts => together.choices.extend(parts),
            },
            Expression::Not(part) => together.denied.push(part),
            Expression::Field(path, test) => {
                together.fields.push(path.as_str());
                match test {
                    Test::Equals(words) => together.texts.push((path.as_str(), words)),
                    Test::Reference(other, ..) => together.fields.push(other.as_str()),
                    _ => {}
                }
            }
            // What is asked of an element is a path within it.
            Expression::Elements(path, ..) => together.fields.push(path.as_str()),
            Expression::Keyword(_) | Expression::Succeeded => {}
        }
    }

    fn source(&mut self, source: &str) {
        if let Some(meant) = Calls::known().meant(source) {
            let message = format!("no service is known as `{source}`; is `{meant}` meant?");
            self.doubt(source, "unknown_source", message);
        }
    }

    /// A doubt counts if all sources have one: with several, each name is one of some.
    fn call(&mut self, sources: &[&str], name: &str) {
        let calls = Calls::known();
        let doubts: Option<Vec<calls::Doubt>> =
            sources.iter().map(|source| calls.doubt(source, name)).collect();
        let Some(doubt) = doubts.and_then(|doubts| doubts.into_iter().next()) else { return };
        let source = sources.join("`, `");
        let edition = calls.edition;
        let message = match doubt {
            calls::Doubt::Misspelt(near) => {
                format!("`{source}` has no call `{name}`; is `{near}` meant? ({edition})")
            }
            calls::Doubt::Elsewhere(others) => {
                let others = others[..others.len().min(3)].join("`, `");
                format!("`{source}` has no call `{name}`, but `{others}` has ({edition})")
            }
        };
        self.doubt(name, "unknown_call", message);
    }

    fn fields(&mut self, together: &Together<'c>, about: &About<'c>) {
        for path in &together.fields {
            if let Some(message) = fields::doubt(path) {
                self.doubt(path, "unknown_field", message);
            }
            let (top, below) = path.split_once('.').unwrap_or((path, ""));
            let member = below.split('.').next().unwrap_or_default();
            match top {
                "requestParameters" => self.member(path, about, Side::Request, member),
                "responseElements" => self.member(path, about, Side::Response, member),
                _ => {}
            }
        }
    }

    /// A doubt counts if all calls have one, and each name is one of a source that is known.
    fn member(&mut self, path: &str, about: &About<'_>, side: Side, member: &str) {
        let mut doubt = None;
        for name in &about.names {
            let answers = about.sources.iter().map(|source| members::look(source, name, side, member));
            let answers: Vec<Answer> = answers.filter(|answer| *answer != Answer::Unknown).collect();
            if member.is_empty() || answers.is_empty() {
                return;
            }
            for answer in answers {
                let Answer::Doubtful(new) = answer else { return };
                doubt = doubt.max(Some(new));
            }
        }
        let Some(doubt) = doubt else { return };
        let what = if side == Side::Request { "parameter" } else { "element of its response" };
        let (calls, edition) = (about.names.join("`, `"), Calls::known().edition);
        let message = match doubt {
            members::Doubt::Misspelt(near) => {
                format!("`{calls}` has no {what} `{member}`; is `{near}` meant? ({edition})")
            }
            members::Doubt::Absent => format!("`{calls}` has no {what} `{member}` ({edition})"),
        };
        self.doubt(path, "unknown_member", message);
    }

    fn doubt(&mut self, word: &str, lint: &'static str, message: String) {
        self.doubts.push(Doubt { word: word.to_owned(), lint, message });
    }
}

impl<'c> Together<'c> {
    fn about(&self) -> About<'c> {
        let words = |field: &str| -> Vec<&'c str> {
            let words = self.texts.iter().filter(|(path, _)| *path == field);
            words.flat_map(|(_, words)| words.written()).collect()
        };
        About { sources: words("eventSource"), names: words("eventName") }
    }
}

impl<'c> About<'c> {
    /// The same, completed by what stands around.
    fn within(self, around: &About<'c>) -> Self {
        let or = |own: Vec<&'c str>, around: &[&'c str]| if own.is_empty() { around.to_vec() } else { own };
        Self { sources: or(self.sources, &around.sources), names: or(self.names, &around.names) }
    }

    /// What one of several parts is about.
    pub(super) fn either<'p>(parts: &'p [About<'c>]) -> Self {
        let all = |words: fn(&'p About<'c>) -> &'p [&'c str]| -> Vec<&'c str> {
            let limited = parts.iter().all(|part| !words(part).is_empty());
            if limited { parts.iter().flat_map(words).copied().collect() } else { Vec::new() }
        };
        Self { sources: all(|part| &part.sources), names: all(|part| &part.names) }
    }

    /// Whether an event can be what both are about.
    pub(super) fn may_meet(&self, other: &About<'_>) -> bool {
        let shared = |own: &[&str], others: &[&str]| {
            let same = |one: &&str| others.iter().any(|other| other.eq_ignore_ascii_case(one));
            own.is_empty() || others.is_empty() || own.iter().any(same)
        };
        shared(&self.sources, &other.sources) && shared(&self.names, &other.names)
    }
}
