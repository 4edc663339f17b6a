//! A file of the pack as the binary carries it.

use serde::{Deserialize, Serialize};

/// A rule file, and what was read in it when the program was built.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Entry<'p> {
    /// The path within the pack, with `/` between its parts.
    pub(super) path: &'p str,
    pub(super) text: &'p str,
    /// Its documents, as the YAML reader has written them.
    #[serde(borrow)]
    pub(super) documents: &'p [u8],
}
