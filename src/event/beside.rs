//! What is worked out of an event beside its record, when somebody asks for it, and once.
//!
//! The actor and the target are fields like those of the record: `actor.name`, `target.kind`. Rules, groups
//! and summaries all find them by [`Event::any`]. These names are ours: a record that has such a field of its
//! own is not looked at for it.

use std::borrow::Cow;
use std::cell::OnceCell;

use super::document::Documents;
use super::value::{Node, Value};
use super::{Actor, CONTAINERS, Event, FieldPath, Target};

/// What was worked out of one event so far.
#[derive(Debug, Default)]
pub(super) struct Beside {
    pub(super) documents: Documents,
    derived: OnceCell<Box<[Node<'static>]>>,
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
    /// An object with the derived fields of the event.
    pub(super) fn derived<'e>(&'e self, event: &Event<'e>) -> Value<'e> {
        Value::first(self.derived.get_or_init(|| derive(event)))
    }
}

fn derive(event: &Event<'_>) -> Box<[Node<'static>]> {
    let (actor, target) = (Actor::of(event), Target::of(event));
    let text = |text: Cow<'_, str>| Node::String(text.into_owned().into());
    let actor = [
        ("kind", Some(Node::String(actor.kind.as_str().into()))),
        ("type", actor.identity_type.map(text)),
        ("arn", actor.arn.map(text)),
        ("name", actor.name.map(text)),
        ("account", actor.account.map(text)),
        ("session_issuer", actor.session_issuer.map(text)),
        ("mfa", actor.mfa.map(Node::Bool)),
        ("access_key_id", actor.access_key_id.map(text)),
    ];
    let target = target.map(|target| {
        [("kind", Some(text(target.kind))), ("name", Some(text(target.name))), ("arn", target.arn.map(text))]
    });
    let mut nodes = vec![Node::Object { count: 0 }];
    push_member(&mut nodes, "actor", actor);
    if let Some(target) = target {
        push_member(&mut nodes, "target", target);
    }
    nodes[0] = Node::Object { count: nodes.len() - 1 };
    nodes.into()
}

/// Pushes a key and the object of those fields that there are.
fn push_member<const N: usize>(
    nodes: &mut Vec<Node<'static>>,
    key: &'static str,
    fields: [(&'static str, Option<Node<'static>>); N],
) {
    let fields = fields.into_iter().filter_map(|(name, value)| Some([Node::String(name.into()), value?]));
    let fields: Vec<_> = fields.flatten().collect();
    nodes.extend([Node::String(key.into()), Node::Object { count: fields.len() }]);
    nodes.extend(fields);
}

impl FieldPath {
    /// The names of the derived fields.
    pub fn derived() -> impl Iterator<Item = &'static str> {
        DERIVED.iter().map(|(name, _)| *name)
    }

    /// Whether the path names a derived field.
    #[must_use]
    pub fn is_derived(&self) -> bool {
        Self::derived().any(|name| name == self.as_str())
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
        let derived = |name| name == "actor.mfa" || Target::FIELDS.contains(&name);
        CONTAINERS.contains(&self.head()) || derived(self.as_str())
    }
}
