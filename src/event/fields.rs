//! Where the top-level fields of a record stand among its nodes.
//!
//! Every detection asks for some of them by name. A record has some twenty-five, and passing over those before the
//! wanted one costs more than a look into a table.

use super::value::{Node, Value};

/// A table of the keys of an object, with open addresses.
#[derive(Debug)]
pub(super) struct Fields {
    /// The index of a key's node, or [`NONE`].
    slots: [u16; SLOTS],
    /// Whether all keys are in the table.
    is_whole: bool,
}

const SLOTS: usize = 128;
/// Keys beyond which the table is no quicker than going through them.
const MOST_KEYS: usize = 64;
const NONE: u16 = u16::MAX;

impl Fields {
    /// Of an object.
    pub(super) fn of(root: Value<'_>) -> Self {
        let mut fields = Self { slots: [NONE; SLOTS], is_whole: true };
        for (number, at) in root.key_indices().enumerate() {
            let index = u16::try_from(at).ok().filter(|index| *index != NONE && number < MOST_KEYS);
            let (Some(index), Some(Node::String(key))) = (index, root.node(at)) else {
                fields.is_whole = false;
                break;
            };
            let free = probes(key).find(|slot| fields.slots[*slot] == NONE);
            free.into_iter().for_each(|slot| fields.slots[slot] = index);
        }
        fields
    }

    /// The value of a key of the object that the table is of.
    pub(super) fn get<'e>(&self, root: Value<'e>, key: &str) -> Option<Value<'e>> {
        if !self.is_whole {
            return root.get(key);
        }
        for slot in probes(key) {
            match self.slots[slot] {
                NONE => return None,
                at => {
                    let at = usize::from(at);
                    if matches!(root.node(at), Some(Node::String(name)) if **name == *key) {
                        return root.value_at(at + 1);
                    }
                }
            }
        }
        None
    }
}

/// The slots in which a key may stand, in the order in which they are taken. Length and three letters tell most of
/// the keys of CloudTrail's records apart.
fn probes(key: &str) -> impl Iterator<Item = usize> {
    let letter = |at: usize| key.as_bytes().get(at).copied().map_or(0, usize::from);
    let first =
        key.len() * 37 + letter(0) * 11 + letter(key.len() / 2) * 5 + letter(key.len().wrapping_sub(3));
    (0..SLOTS).map(move |step| (first + step) % SLOTS)
}

#[cfg(test)]
mod tests {
    use super::super::Parser;
    use super::*;

    fn each_is_found(keys: &[String], missing: &str) {
        let members: Vec<_> =
            keys.iter().enumerate().map(|(at, key)| format!(r#""{key}":[{at},{{}}]"#)).collect();
        let record = format!("{{{}}}", members.join(","));
        let look = |event: super::super::Event<'_>| {
            let fields = Fields::of(event.root());
            for key in keys {
                let found = fields.get(event.root(), key).map(Value::to_json);
                assert_eq!(found, event.root().get(key).map(Value::to_json), "{key} of {record}");
                assert!(found.is_some());
            }
            assert!(fields.get(event.root(), missing).is_none());
        };
        Parser::default().parse(record.as_bytes(), look).unwrap();
    }

    #[test]
    fn every_field_is_found_and_no_other() {
        for count in [0, 1, 2, 25, MOST_KEYS - 1, MOST_KEYS, MOST_KEYS + 1, 3 * SLOTS] {
            // Unlike keys, and keys that all want the same slot.
            let unlike = (0..count).map(|number| format!("{}k{number}", "x".repeat(number % 9)));
            let alike = (0..count).map(|number| format!("a{number:05}bcdefg"));
            each_is_found(&unlike.collect::<Vec<_>>(), "kx");
            each_is_found(&alike.collect::<Vec<_>>(), "a99999bcdefg");
        }
        each_is_found(&[String::new()], "a");
    }

    #[test]
    fn of_equal_keys_the_last_one_counts() {
        let look = |event: super::super::Event<'_>| {
            Fields::of(event.root()).get(event.root(), "a").map(Value::to_json)
        };
        assert_eq!(Parser::default().parse(br#"{"a":1,"b":2,"a":3}"#, look).unwrap().as_deref(), Some("3"));
    }

    #[test]
    fn fields_beyond_the_reach_of_the_table_are_found() {
        let elements = vec!["0"; 70_000].join(",");
        let record = format!(r#"{{"a":[{elements}],"b":7}}"#);
        let look = |event: super::super::Event<'_>| {
            Fields::of(event.root()).get(event.root(), "b").map(Value::to_json)
        };
        assert_eq!(Parser::default().parse(record.as_bytes(), look).unwrap().as_deref(), Some("7"));
    }
}
