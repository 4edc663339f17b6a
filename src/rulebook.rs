//! Which detections run: the embedded pack and the user's files and folders.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};
use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use crate::event::hex;
use crate::sigma::{self, Compiled, MAX_FILE, RuleFile, Skipped};

static PACK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/detections");

/// Compiled detections, and what was wrong on the way.
#[derive(Debug)]
pub struct Rulebook {
    /// Detections that run.
    pub rules: Vec<sigma::Rule>,
    /// What was wrong.
    pub faults: Vec<Fault>,
    /// Rules that do not run although nothing is wrong with them.
    pub skipped: Skipped,
}

/// Something wrong with a rule, a file or a folder.
#[derive(Debug)]
pub enum Fault {
    /// A rule.
    Rule(sigma::Problem),
    /// A file or folder that cannot be read.
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file that is larger than any rule.
    TooLarge(PathBuf),
    /// A link that leads out of its folder.
    Outside(PathBuf),
    /// A folder or file without a single rule over CloudTrail.
    NoRule(PathBuf),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Rule(problem) => problem.fmt(f),
            Fault::File { path, error } => write!(f, "{}: {error}", path.display()),
            Fault::TooLarge(path) => write!(f, "{}: larger than {MAX_FILE} bytes", path.display()),
            Fault::Outside(path) => write!(f, "{}: a link that leads out of its folder", path.display()),
            Fault::NoRule(path) => write!(f, "{}: holds no rule over CloudTrail", path.display()),
        }
    }
}

impl Rulebook {
    /// Compiles the pack, if wanted, and the user's files and folders.
    #[must_use]
    pub fn open(paths: &[PathBuf], with_pack: bool) -> Self {
        let mut faults = Vec::new();
        let mut parts = Vec::new();
        if with_pack {
            parts.push(sigma::compile_apart(&pack()));
        }
        for path in paths {
            let part = sigma::compile_apart(&read(path, &mut faults));
            // A file of other rules is no mistake; a folder or file without any rule at all is.
            if part.rules.is_empty() && part.problems.is_empty() && part.skipped.disabled == 0 {
                faults.push(Fault::NoRule(path.clone()));
            }
            parts.push(part);
        }
        let Compiled { rules, problems, skipped } = Compiled::join(parts);
        faults.extend(problems.into_iter().map(Fault::Rule));
        Self { rules, faults, skipped }
    }

    /// The rule files themselves, of the pack, if wanted, and of the user's files and folders. What cannot be read is
    /// left out here, for [`Rulebook::open`] tells it.
    #[must_use]
    pub fn files(paths: &[PathBuf], with_pack: bool) -> Vec<RuleFile> {
        let mut files = if with_pack { pack() } else { Vec::new() };
        files.extend(paths.iter().flat_map(|path| read(path, &mut Vec::new())));
        files
    }

    /// What the set of detections is known by: the first 16 digits of SHA-256 over their hashes.
    #[must_use]
    pub fn identity(&self) -> String {
        let mut hashes: Vec<&str> = self.rules.iter().map(|rule| rule.hash.as_str()).collect();
        hashes.sort_unstable();
        hex(&Sha256::digest(hashes.concat()))[..16].to_owned()
    }
}

/// The rule files of the embedded pack, by the byte order of their paths.
fn pack() -> Vec<RuleFile> {
    fn collect(folder: &Dir<'_>, files: &mut Vec<RuleFile>) {
        for file in folder.files().filter(|file| is_rule_name(file.path().as_os_str())) {
            let text = file.contents_utf8().expect("the pack is text").to_owned();
            files.push(RuleFile {
                name: format!("pack/{}", file.path().display()).into(),
                text,
                named: false,
            });
        }
        folder.dirs().for_each(|folder| collect(folder, files));
    }
    let mut files = Vec::new();
    collect(&PACK, &mut files);
    files.sort_by(|one, other| one.name.cmp(&other.name));
    files
}

/// A file, or all rule files of a folder, by the byte order of their paths.
fn read(path: &Path, faults: &mut Vec<Fault>) -> Vec<RuleFile> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => {
            faults.push(Fault::File { path: path.to_owned(), error });
            return Vec::new();
        }
    };
    if !metadata.is_dir() {
        return read_file(path, true, faults).into_iter().collect();
    }
    let root = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut files = Vec::new();
    let hidden = |name: &OsStr| name.as_encoded_bytes().starts_with(b".");
    let entries = WalkDir::new(path).follow_links(true).min_depth(1).sort_by_file_name().into_iter();
    for entry in entries.filter_entry(|entry| !hidden(entry.file_name())) {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let path = error.path().unwrap_or(path).to_owned();
                faults.push(Fault::File { path, error: error.into() });
                continue;
            }
        };
        if entry.file_type().is_dir() || !is_rule_name(entry.file_name()) {
            continue;
        }
        if fs::canonicalize(entry.path()).is_ok_and(|real| !real.starts_with(&root)) {
            faults.push(Fault::Outside(entry.into_path()));
            continue;
        }
        files.extend(read_file(entry.path(), false, faults));
    }
    files
}

fn read_file(path: &Path, named: bool, faults: &mut Vec<Fault>) -> Option<RuleFile> {
    let read = fs::metadata(path).and_then(|metadata| {
        if metadata.len() > MAX_FILE { Ok(None) } else { fs::read_to_string(path).map(Some) }
    });
    match read {
        Ok(Some(text)) => Some(RuleFile { name: path.display().to_string().into(), text, named }),
        Ok(None) => {
            faults.push(Fault::TooLarge(path.to_owned()));
            None
        }
        Err(error) => {
            faults.push(Fault::File { path: path.to_owned(), error });
            None
        }
    }
}

fn is_rule_name(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.ends_with(b".yml") || name.ends_with(b".yaml")
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str = "title: T\nlogsource: {product: aws, service: cloudtrail}\ndetection: {s: {eventName: A}, condition: s}\n";

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn faults(book: &Rulebook) -> Vec<String> {
        book.faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn folders_are_walked() {
        let two = RULE.replace("title: T", "title: U");
        let folder = folder(&[
            ("b/x.yaml", RULE),
            ("a.yml", &two),
            (".x.yml", "["),
            ("notes.txt", "["),
            (".git/y.yml", "["),
        ]);
        let book = Rulebook::open(&[folder.path().to_owned()], false);
        assert_eq!(faults(&book), [""; 0]);
        let titles: Vec<_> = book.rules.iter().map(|rule| rule.title.as_str()).collect();
        assert_eq!(titles, ["U", "T"]);
        assert_eq!(book.identity().len(), 16);
    }

    #[test]
    fn what_cannot_be_read_is_a_fault() {
        let large = "#".repeat(usize::try_from(MAX_FILE).unwrap() + 1);
        let windows = RULE.replace("aws", "windows");
        let folder = folder(&[("large.yml", &large), ("windows/x.yml", &windows), ("empty/notes.txt", "")]);
        let outside = tempfile::NamedTempFile::with_suffix(".yml").unwrap();
        fs::write(outside.path(), RULE).unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.path().join("link.yml")).unwrap();
        fs::write(folder.path().join("binary.yml"), b"\xff\xfe").unwrap();
        let paths = ["", "windows", "empty", "nowhere"].map(|name| folder.path().join(name));
        let found = faults(&Rulebook::open(&paths, false));
        for (at, expected) in [
            "binary.yml: stream did not contain valid UTF-8",
            "large.yml: larger than",
            "link.yml: a link that leads out",
            ": holds no rule",
            "windows: holds no rule",
            "empty: holds no rule",
            "nowhere: No such file",
            "nowhere: holds no rule",
        ]
        .iter()
        .enumerate()
        {
            assert!(found[at].contains(expected), "{expected} in {found:?}");
        }
    }

    #[test]
    fn links_inside_of_a_folder_are_followed() {
        let folder = folder(&[("..data/x.yml", RULE)]);
        std::os::unix::fs::symlink("..data/x.yml", folder.path().join("x.yml")).unwrap();
        assert_eq!(Rulebook::open(&[folder.path().to_owned()], false).rules.len(), 1);
    }
}
