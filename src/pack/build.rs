//! Reads the YAML of the pack while the program is built.

#[path = "entry.rs"]
mod entry;
#[path = "../sigma/yaml.rs"]
#[allow(dead_code, unreachable_pub, reason = "here rules are only read")]
mod yaml;

use std::path::{Path, PathBuf};

use entry::Entry;

/// The pack, below the manifest.
const PACK: &str = "detections";

fn main() {
    println!("cargo::rerun-if-changed={PACK}");
    let mut paths = Vec::new();
    collect(Path::new(PACK), &mut paths);
    let mut files: Vec<(String, String, Vec<u8>)> = paths.iter().map(|path| read(path)).collect();
    files.sort();
    let entries: Vec<Entry<'_>> =
        files.iter().map(|(path, text, documents)| Entry { path, text, documents }).collect();
    let folder = std::env::var_os("OUT_DIR").expect("Cargo sets it");
    let pack = postcard::to_stdvec(&entries).expect("texts and bytes can be written");
    std::fs::write(Path::new(&folder).join("pack"), pack).expect("the output folder can be written");
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "yml" || extension == "yaml") {
            paths.push(path);
        }
    }
}

/// The path within the pack, the text, and what it says.
fn read(path: &Path) -> (String, String, Vec<u8>) {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let read = |document: yaml::Document<'_>| match document.read() {
        Ok(node) => (document.line, node),
        Err(error) => panic!("{}:{}: {error}", path.display(), error.line),
    };
    let documents: Vec<_> = yaml::documents(&text).into_iter().map(read).collect();
    let documents = postcard::to_stdvec(&documents).expect("texts and numbers can be written");
    let within = path.strip_prefix(PACK).expect("it lies within");
    let parts: Vec<_> = within.iter().map(|part| part.to_str().expect("names are ASCII")).collect();
    (parts.join("/"), text, documents)
}
