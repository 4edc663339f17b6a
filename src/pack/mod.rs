//! The embedded pack of detections. To read its YAML would take longer than all else that a start of the program
//! does; it is read when the program is built.

mod entry;

use crate::sigma::{PreparedFile, RuleFile};
use entry::Entry;

static PACK: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pack"));

/// How the names of its files begin.
pub const EMBEDDED: &str = "pack/";

/// The rule files of the pack, by the byte order of their paths.
#[must_use]
pub fn files() -> Vec<RuleFile> {
    let file =
        |entry: Entry<'_>| RuleFile { name: name(&entry).into(), text: entry.text.to_owned(), named: false };
    entries().into_iter().map(file).collect()
}

/// The same files, as they were read when the program was built.
#[must_use]
pub fn prepared() -> Vec<PreparedFile> {
    let file = |entry: Entry<'static>| PreparedFile { name: name(&entry).into(), documents: entry.documents };
    entries().into_iter().map(file).collect()
}

fn name(entry: &Entry<'_>) -> String {
    format!("{EMBEDDED}{}", entry.path)
}

fn entries() -> Vec<Entry<'static>> {
    postcard::from_bytes(PACK).expect("it was written when the program was built")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sigma::{Compiled, Part, Values};

    #[test]
    fn what_was_read_before_is_what_the_files_say() {
        let values = Values::default();
        let parts = [Part::compile(&files(), &values), Part::compile_prepared(&prepared(), &values)];
        // The hash is that of all that the document says.
        let told = parts.map(|part| {
            let Compiled { rules, problems, skipped, .. } = Part::join([part]);
            assert!(problems.is_empty());
            let rules: Vec<_> = rules.into_iter().map(|rule| (rule.id, rule.hash, rule.place)).collect();
            (rules, skipped)
        });
        assert!(told[0].0.len() > 500);
        assert_eq!(told[0], told[1]);
    }
}
