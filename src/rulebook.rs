//! Which detections run: the embedded pack and the user's files and folders.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use crate::event::hex;
use crate::pack::{self, EMBEDDED};
use crate::sigma::{self, Compiled, MAX_FILE, Part, RuleFile, Skipped, Tuning, Values};

/// Compiled detections, and what was wrong on the way.
#[derive(Debug)]
pub struct Rulebook {
    /// Detections that run.
    pub rules: Vec<sigma::Rule>,
    /// Filters that run.
    pub filters: Vec<sigma::Filter>,
    /// What was wrong.
    pub faults: Vec<Fault>,
    /// Rules that do not run although nothing is wrong with them.
    pub skipped: Skipped,
}

/// What part the embedded pack takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pack {
    /// Its rules run.
    Runs,
    /// Its rules do not run, but filters and correlations may name them.
    Named,
    /// None.
    Absent,
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
    /// Compiles the pack and the user's files and folders; `values` is the file of what the placeholders in
    /// rules stand for.
    #[must_use]
    pub fn open(paths: &[PathBuf], pack: Pack, values: Option<&Path>) -> Self {
        Self::tuned(paths, pack, values, &Tuning::default())
    }

    /// As [`Rulebook::open`], with what the user has set for detections beside their rules.
    #[must_use]
    pub fn tuned(paths: &[PathBuf], pack: Pack, values: Option<&Path>, tuning: &Tuning) -> Self {
        let mut faults = Vec::new();
        let values = values.map_or_else(Values::default, |path| read_values(path, &mut faults));
        let mut parts = Vec::new();
        let embedded = || Part::compile_prepared(&pack::prepared(), &values);
        if pack == Pack::Runs {
            parts.push(embedded());
        }
        for path in paths {
            let part = Part::compile(&read(path, &mut faults), &values);
            // A file of other rules is no mistake; a folder or file without any rule at all is.
            if part.is_empty() {
                faults.push(Fault::NoRule(path.clone()));
            }
            parts.push(part);
        }
        if pack == Pack::Named {
            parts.push(embedded().aside());
        }
        let Compiled { rules, filters, problems, skipped } = Part::join_tuned(parts, tuning).without_idle();
        faults.extend(problems.into_iter().map(Fault::Rule));
        Self { rules, filters, faults, skipped }
    }

    /// The rule files themselves, of the pack, if wanted, and of the user's files and folders. What cannot be read is
    /// left out here, for [`Rulebook::open`] tells it.
    #[must_use]
    pub fn files(paths: &[PathBuf], with_pack: bool) -> Vec<RuleFile> {
        let mut files = if with_pack { pack::files() } else { Vec::new() };
        files.extend(paths.iter().flat_map(|path| read(path, &mut Vec::new())));
        files
    }

    /// What the set of detections is known by: the first 16 digits of SHA-256 over their hashes, and which of
    /// them are muted.
    #[must_use]
    pub fn identity(&self) -> String {
        let hash = |rule: &sigma::Rule| format!("{}{}", rule.hash, if rule.muted { "-" } else { "" });
        let mut hashes: Vec<String> = self.rules.iter().map(hash).collect();
        hashes.sort_unstable();
        hex(&Sha256::digest(hashes.concat()))[..16].to_owned()
    }
}

/// Whether a detection is one of the embedded pack.
#[must_use]
pub fn is_embedded(rule: &sigma::Rule) -> bool {
    rule.place.file.starts_with(EMBEDDED)
}

/// SHA-256 over what the rule files of the user hold, and over what cannot be read: it changes with either.
#[must_use]
pub fn fingerprint(paths: &[PathBuf]) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut part = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    for path in paths {
        let mut faults = Vec::new();
        let files = read(path, &mut faults);
        files.iter().for_each(|file| [&*file.name, &file.text].into_iter().for_each(&mut part));
        faults.iter().for_each(|fault| part(&fault.to_string()));
    }
    hash.finalize().into()
}

/// A file, or all rule files of a folder, by the byte order of their paths.
fn read(path: &Path, faults: &mut Vec<Fault>) -> Vec<RuleFile> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => read_folder(path, faults),
        Ok(_) => read_file(path, true, faults).into_iter().collect(),
        Err(error) => {
            faults.push(Fault::File { path: path.to_owned(), error });
            Vec::new()
        }
    }
}

fn read_folder(folder: &Path, faults: &mut Vec<Fault>) -> Vec<RuleFile> {
    let root = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let leads_out = |entry: &Path| fs::canonicalize(entry).is_ok_and(|real| !real.starts_with(&root));
    let hidden = |name: &OsStr| name.as_encoded_bytes().starts_with(b".");
    let walk = WalkDir::new(folder).follow_links(true).min_depth(1).sort_by_file_name().into_iter();
    let mut entries = walk.filter_entry(|entry| !hidden(entry.file_name()));
    let (mut files, mut linked) = (Vec::new(), HashSet::new());
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let path = error.path().unwrap_or(folder).to_owned();
                faults.push(Fault::File { path, error: error.into() });
                continue;
            }
        };
        let (kind, path) = (entry.file_type(), entry.path());
        if kind.is_dir() && entry.path_is_symlink() {
            // To each folder once, or a few links back and forth would make a walk without end.
            let is_new = fs::canonicalize(path).is_ok_and(|real| linked.insert(real));
            if leads_out(path) {
                faults.push(Fault::Outside(path.to_owned()));
                entries.skip_current_dir();
            } else if !is_new {
                entries.skip_current_dir();
            }
        } else if kind.is_dir() || !is_rule_name(entry.file_name()) {
            // What a folder holds comes by itself, and other files are no rules.
        } else if leads_out(path) {
            faults.push(Fault::Outside(path.to_owned()));
        } else if kind.is_file() {
            files.extend(read_file(path, false, faults));
        } else {
            // To open a pipe may take for ever.
            faults.push(Fault::File { path: path.to_owned(), error: io::Error::other("not a regular file") });
        }
    }
    files
}

fn read_file(path: &Path, named: bool, faults: &mut Vec<Fault>) -> Option<RuleFile> {
    let fault = match read_bounded(path) {
        Ok(Some(bytes)) => match RuleFile::read(&path.display().to_string(), bytes, named) {
            Ok(file) => return Some(file),
            Err(problem) => Fault::Rule(problem),
        },
        Ok(None) => Fault::TooLarge(path.to_owned()),
        Err(error) => Fault::File { path: path.to_owned(), error },
    };
    faults.push(fault);
    None
}

/// The bytes of a file, unless there are too many.
fn read_bounded(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= MAX_FILE).then_some(bytes))
}

/// What the placeholders stand for, as far as the file can be read.
fn read_values(path: &Path, faults: &mut Vec<Fault>) -> Values {
    let text = read_file(path, true, faults).map(|file| file.text).unwrap_or_default();
    let (values, problems) = Values::read(&path.display().to_string(), &text);
    faults.extend(problems.into_iter().map(Fault::Rule));
    values
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
        let book = Rulebook::open(&[folder.path().to_owned()], Pack::Absent, None);
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
        let found = faults(&Rulebook::open(&paths, Pack::Absent, None));
        for (at, expected) in [
            "binary.yml:1: not a text in UTF-8",
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
    fn values_come_from_a_file() {
        let rule = RULE.replace("eventName: A", "eventName|expand: '%names%'");
        let folder = folder(&[("x.yml", &rule), ("values/v.yml", "names: [A, B]\nx: {}\n")]);
        let open = |values: Option<&str>| {
            let values = values.map(|name| folder.path().join(name));
            faults(&Rulebook::open(&[folder.path().join("x.yml")], Pack::Absent, values.as_deref()))
        };
        assert!(open(None)[0].contains("x.yml:3: `eventName`: `%names%` needs a file of values"));
        let found = open(Some("values/v.yml"));
        assert!(found.len() == 1 && found[0].contains("v.yml:2: expected a map"), "{found:?}");
        let found = open(Some("none.yml"));
        assert!(found[0].contains("none.yml: No such file") && found[1].contains("is not in"), "{found:?}");
    }

    #[test]
    fn a_folder_of_filters_tunes_the_pack() {
        let filter = "title: F\nlogsource: {product: aws, service: cloudtrail}\nfilter: {rules: [RULE], s: {eventName: A}, condition: not s}\n";
        let pack = Rulebook::open(&[], Pack::Runs, None);
        let folder = folder(&[("f.yml", &filter.replace("RULE", &pack.rules[0].id))]);
        let open = |pack| Rulebook::open(&[folder.path().to_owned()], pack, None);
        let tuned = open(Pack::Runs);
        assert_eq!(faults(&tuned), [""; 0]);
        let hashes = |book: &Rulebook| book.rules.iter().map(|rule| rule.hash.clone()).collect::<Vec<_>>();
        assert_eq!(hashes(&tuned)[1..], hashes(&pack)[1..]);
        assert_ne!(
            (hashes(&tuned)[0].clone(), tuned.identity()),
            (hashes(&pack)[0].clone(), pack.identity())
        );
        let named = open(Pack::Named);
        assert!(named.faults.is_empty() && named.rules.is_empty(), "{:?}", named.faults);
        assert!(faults(&open(Pack::Absent))[0].contains("f.yml:3: there is no rule"));
    }

    #[test]
    fn links_between_folders_are_followed_once_each() {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        let files = names
            .map(|name| (format!("{name}/{name}.yml"), RULE.replace("title: T", &format!("title: {name}"))));
        let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let folder = folder(&files);
        let link = |to: &Path, from: &Path| std::os::unix::fs::symlink(to, from).unwrap();
        for (name, other) in names.iter().flat_map(|name| names.map(|other| (*name, other))) {
            link(&Path::new("..").join(other), &folder.path().join(name).join(format!("to-{other}")));
        }
        link(Path::new("/"), &folder.path().join("root"));
        assert!(
            std::process::Command::new("mkfifo")
                .arg(folder.path().join("pipe.yml"))
                .status()
                .unwrap()
                .success()
        );
        let book = Rulebook::open(&[folder.path().to_owned()], Pack::Absent, None);
        assert_eq!(book.rules.len(), names.len());
        let found = faults(&book);
        for expected in
            ["root: a link that leads out", "pipe.yml: not a regular file", "a/to-a: File system loop"]
        {
            assert!(found.iter().any(|fault| fault.contains(expected)), "{expected}: {found:#?}");
        }
        // Each link is looked at twice at most: where it stands, and behind another one.
        assert!(found.len() <= 2 * names.len() * names.len(), "{}", found.len());
    }

    #[test]
    fn a_copy_of_a_rule_of_the_pack_comes_before_it() {
        let id = Rulebook::open(&[], Pack::Runs, None).rules[0].id.clone();
        let folder = folder(&[("x.yml", &format!("{RULE}id: {id}\n"))]);
        let open = |pack| Rulebook::open(&[folder.path().to_owned()], pack, None);
        let named = open(Pack::Named);
        assert_eq!((faults(&named).len(), named.rules.len()), (0, 1));
        assert!(faults(&open(Pack::Runs))[0].contains("also stands in pack/"));
    }

    #[test]
    fn links_inside_of_a_folder_are_followed() {
        let folder = folder(&[("..data/x.yml", RULE)]);
        std::os::unix::fs::symlink("..data/x.yml", folder.path().join("x.yml")).unwrap();
        assert_eq!(Rulebook::open(&[folder.path().to_owned()], Pack::Absent, None).rules.len(), 1);
    }
}
