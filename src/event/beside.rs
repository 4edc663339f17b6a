//! What is worked out of an event beside its record: where its fields stand, and the rest when somebody asks for it,
//! and once.
//!
//! The actor and the target are fields like those of the record: `actor.name`, `target.kind`. Rules, groups
//! and summaries all find them by [`Event::any`]. These names are ours: a record that has such a field of its
//! own is not looked at for it.

use std::borrow::Cow;
use std::cell::OnceCell;

use super::document::Documents;
use super::fields::Fields;
use super::value::{Node, Value};
use super::{Actor, CONTAINERS, Event, FieldPath, Target};

/// What was worked out of one event so far.
#[derive(Debug)]
pub(super) struct Beside {
    pub(super) fields: Fields,
    pub(super) documents: Documents,
    actor: OnceCell<Box<[Node<'static>]>>,
    target: OnceCell<Box<[Node<'static>]>>,
}

/// The derived fields, each with the path below which the record has the same text, if there is one.
const DERIVED: [(&str, Option<&str>); 11] = [
    ("actor.kind", None),
    ("actor.type", Some("userIdentity.type")),
    ("actor.arn", Some("userIdentity.arn")),
    ("actor.name", None),
    ("actor.account", Some("userIdentity.accountId")),
    ("actor.session_issuer", Some("userIdentity.sessionContext.sessionIssuer.arn")),
    ("actor.mfa", None),
    ("actor.access_key_id", Some("userIdentity.accessKeyId")),
    ("target.kind", None),
    ("target.name", None),
    ("target.arn", None),
];

impl Beside {
    /// Of the event with these fields.
    pub(super) fn new(fields: Fields) -> Self {
        Self { fields, documents: Documents::default(), actor: OnceCell::new(), target: OnceCell::new() }
    }

    /// An object with those derived fields of the event that begin as this path does.
    pub(super) fn derived<'e>(&'e self, event: &Event<'e>, path: &FieldPath) -> Value<'e> {
        Value::first(match path.head() {
            "actor" => self.actor.get_or_init(|| actor(event)),
            _ => self.target.get_or_init(|| target(event)),
        })
    }
}

fn actor(event: &Event<'_>) -> Box<[Node<'static>]> {
    let actor = Actor::of(event);
    let fields = [
        ("kind", Some(Node::String(actor.kind.as_str().into()))),
        ("type", actor.identity_type.map(text)),
        ("arn", actor.arn.map(text)),
        ("name", actor.name.map(text)),
        ("account", actor.account.map(text)),
        ("session_issuer", actor.session_issuer.map(text)),
        ("mfa", actor.mfa.map(Node::Bool)),
        ("access_key_id", actor.access_key_id.map(text)),
    ];
    object_with("actor", Some(fields))
}

fn target(event: &Event<'_>) -> Box<[Node<'static>]> {
    let fields = Target::of(event).map(|target| {
        [("kind", Some(text(target.kind))), ("name", Some(text(target.name))), ("arn", target.arn.map(text))]
    });
    object_with("target", fields)
}

fn text(text: Cow<'_, str>) -> Node<'static> {
    Node::String(text.into_owned().into())
}

/// An object with at most one key, for the object of those fields that there are.
fn object_with<const N: usize>(
    key: &'static str,
    fields: Option<[(&'static str, Option<Node<'static>>); N]>,
) -> Box<[Node<'static>]> {
    let mut nodes = vec![Node::Object { count: 0 }];
    if let Some(fields) = fields {
        let fields = fields.into_iter().filter_map(|(name, value)| Some([Node::String(name.into()), value?]));
        nodes.extend([Node::String(key.into()), Node::Object { count: 0 }]);
        nodes.extend(fields.flatten());
        nodes[2] = Node::Object { count: nodes.len() - 3 };
    }
    nodes[0] = Node::Object { count: nodes.len() - 1 };
    nodes.into()
}

impl FieldPath {
    /// The names of the derived fields.
    pub fn derived() -> impl Iterator<Item = &'static str> {
        DERIVED.iter().map(|(name, _)| *name)
    }

    /// Whether the path names a derived field.
    #[must_use]
    pub fn is_derived(&self) -> bool {
        matches!(self.head(), "actor" | "target") && Self::derived().any(|name| name == self.as_str())
    }

    /// The path below which the record itself has every text of this one; none where a value may also stand
    /// in a document, or nowhere at all.
    #[must_use]
    pub fn in_record(&self) -> Option<Cow<'_, FieldPath>> {
        if self.may_leave_the_record() {
            return None;
        }
        match DERIVED.iter().find(|(name, _)| *name == self.as_str()) {
            Some((_, source)) => source.map(|source| Cow::Owned(FieldPath::new(source))),
            None => Some(Cow::Borrowed(self)),
        }
    }

    /// Whether there are events in which it is unknown what stands at the path.
    #[must_use]
    pub fn may_be_unknown(&self) -> bool {
        match self.head() {
            "actor" | "target" => self.as_str() == "actor.mfa" || Target::FIELDS.contains(&self.as_str()),
            head => CONTAINERS.contains(&head),
        }
    }
}
