//! Corpora on disk: made once from a recipe, and used again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use walkdir::WalkDir;

use crate::corpus::{Dice, Mill, Press, Sort};

/// What is raised whenever the same recipe gives other bytes than before.
const EDITION: u32 = 1;
/// The name of the file that tells what a folder was made from; a hidden one, which no replay reads.
pub const LABEL: &str = ".corpus";
/// Sizes of objects in percent of their median, at equal steps from the smallest to the largest: most are small,
/// and a few hold most of the records.
const SIZES: [u64; 17] = [2, 6, 11, 18, 27, 40, 55, 75, 100, 135, 180, 245, 340, 500, 780, 1400, 4000];
/// The median size of ordinary objects, inflated.
const MEDIAN: u64 = 120 << 10;

/// What a corpus is made from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recipe {
    pub seed: u64,
    pub total: Total,
    pub size: Size,
    /// Records in a million that raise an alert.
    pub alerts: u32,
}

/// When a corpus is large enough.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Total {
    /// At about this many inflated bytes.
    Bytes(u64),
    /// At this many objects.
    Objects(usize),
}

/// Inflated sizes of objects.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Size {
    /// As an account has them.
    Ordinary,
    /// Spread as ordinary ones are, around this median.
    Around(u64),
    /// All alike, to a record.
    Exactly(u64),
}

/// A corpus that is on disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Corpus {
    pub folder: PathBuf,
    pub objects: u64,
    pub records: u64,
    /// Inflated.
    pub bytes: u64,
    pub compressed: u64,
    /// Records that raise an alert.
    pub alerts: u64,
}

impl Recipe {
    /// Makes the corpus in a folder, unless the folder holds it already.
    ///
    /// # Errors
    /// The folder holds something else, or a file cannot be written or read.
    pub fn make(&self, folder: &Path) -> io::Result<Corpus> {
        let label = folder.join(LABEL);
        let recipe = format!("edition {EDITION}, {self:?}");
        let found = fs::read_to_string(&label).ok();
        if let Some(corpus) = found.and_then(|text| Corpus::of_label(&text, &recipe, folder)) {
            return Ok(corpus);
        }
        claim(folder)?;
        let corpus = self.write(folder)?;
        fs::write(&label, corpus.label(&recipe))?;
        Ok(corpus)
    }

    fn write(&self, folder: &Path) -> io::Result<Corpus> {
        let (sizes, next) = (self.sizes(), AtomicUsize::new(0));
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(sizes.len());
        let run = || self.run(folder, &sizes, &next);
        let parts: io::Result<Vec<Corpus>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
            threads.into_iter().map(|thread| thread.join().expect("a generator does not panic")).collect()
        });
        let start = Corpus { folder: folder.to_owned(), ..Corpus::default() };
        Ok(parts?.iter().fold(start, Corpus::plus))
    }

    /// Takes one object after the other until all are written.
    fn run(&self, folder: &Path, sizes: &[u64], next: &AtomicUsize) -> io::Result<Corpus> {
        let (mut mill, mut press) = (Mill::new(self.seed), Press::default());
        let (mut inflated, mut packed) = (Vec::new(), Vec::new());
        let mut done = Corpus::default();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(&size) = sizes.get(number) else {
                return Ok(done);
            };
            inflated.clear();
            let key = mill.begin(number, &mut inflated);
            loop {
                let telling = mill.dice.chance(self.alerts);
                mill.record(if telling { Sort::Telling } else { Sort::Ordinary }, &mut inflated);
                done.records += 1;
                done.alerts += u64::from(telling);
                if inflated.len() as u64 >= size {
                    break;
                }
            }
            Mill::end(&mut inflated);
            press.pack(&inflated, &mut packed);
            let path = folder.join(key);
            fs::create_dir_all(path.parent().expect("keys have folders"))?;
            fs::write(path, &packed)?;
            done.objects += 1;
            done.bytes += inflated.len() as u64;
            done.compressed += packed.len() as u64;
        }
    }

    /// The inflated sizes of all objects.
    fn sizes(&self) -> Vec<u64> {
        let mut dice = Dice::new(self.seed, u64::MAX / 2);
        let mut left = match self.total {
            Total::Bytes(bytes) => bytes,
            Total::Objects(_) => u64::MAX,
        };
        let count = match self.total {
            Total::Bytes(_) => usize::MAX,
            Total::Objects(count) => count,
        };
        let mut sizes = Vec::new();
        while left > 0 && sizes.len() < count {
            let size = self.size.draw(&mut dice).min(left);
            left -= size;
            sizes.push(size);
        }
        sizes
    }
}

impl Size {
    fn draw(self, dice: &mut Dice) -> u64 {
        let median = match self {
            Size::Exactly(bytes) => return bytes,
            Size::Ordinary => MEDIAN,
            Size::Around(bytes) => bytes,
        };
        // Between two steps the size grows evenly.
        let (step, part) = (dice.below(SIZES.len() - 1), dice.below(1024) as u64);
        let percent = SIZES[step] * 1024 + (SIZES[step + 1] - SIZES[step]) * part;
        (median * percent / (100 * 1024)).max(1)
    }
}

impl Corpus {
    /// Records for each of which there are this many inflated bytes.
    #[must_use]
    pub fn mean_record(&self) -> f64 {
        ratio(self.bytes, self.records)
    }

    /// Inflated bytes for each stored one.
    #[must_use]
    pub fn gzip_ratio(&self) -> f64 {
        ratio(self.bytes, self.compressed)
    }

    /// The files of its objects.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn files(&self) -> io::Result<Vec<PathBuf>> {
        objects(&self.folder)
    }

    /// The corpus several times over, in a folder of links, so that it takes no room.
    ///
    /// # Errors
    /// The folder holds something else, or a link cannot be made.
    pub fn linked(&self, folder: &Path, times: usize) -> io::Result<Self> {
        claim(folder)?;
        let objects = self.files()?;
        for time in 0..times {
            for object in &objects {
                let own = object.strip_prefix(&self.folder).expect("objects are in the folder");
                let link = folder.join(time.to_string()).join(own);
                fs::create_dir_all(link.parent().expect("keys have folders"))?;
                fs::hard_link(object, link)?;
            }
        }
        let start = Self { folder: folder.to_owned(), ..Self::default() };
        Ok((0..times).fold(start, |all, _| all.plus(self)))
    }

    fn plus(self, other: &Self) -> Self {
        Self {
            folder: self.folder,
            objects: self.objects + other.objects,
            records: self.records + other.records,
            bytes: self.bytes + other.bytes,
            compressed: self.compressed + other.compressed,
            alerts: self.alerts + other.alerts,
        }
    }

    fn label(&self, recipe: &str) -> String {
        let Self { objects, records, bytes, compressed, alerts, .. } = self;
        format!("{recipe}\n{objects} {records} {bytes} {compressed} {alerts}\n")
    }

    /// Reads a label again, if it is that of a whole corpus of this recipe.
    fn of_label(text: &str, recipe: &str, folder: &Path) -> Option<Self> {
        let counts = text.strip_prefix(recipe)?.strip_prefix('\n')?.split_whitespace();
        let counts: Vec<u64> = counts.map(str::parse).collect::<Result<_, _>>().ok()?;
        let &[objects, records, bytes, compressed, alerts] = counts.as_slice() else {
            return None;
        };
        Some(Self { folder: folder.to_owned(), objects, records, bytes, compressed, alerts })
    }
}

/// The gzip files of a folder.
///
/// # Errors
/// The folder cannot be listed.
pub fn objects(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in WalkDir::new(folder) {
        let path = entry?.into_path();
        if path.extension().is_some_and(|extension| extension == "gz") {
            files.push(path);
        }
    }
    Ok(files)
}

/// Empties a folder that was ours, or makes a new one.
///
/// # Errors
/// The folder holds something else, or cannot be made.
pub fn claim(folder: &Path) -> io::Result<()> {
    let label = folder.join(LABEL);
    if label.exists() {
        // The label says that everything beside it is ours.
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    if fs::read_dir(folder)?.next().is_some() {
        let text = format!("{} holds something else than a corpus", folder.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    // What is interrupted from now on is known to be ours, and to have no end.
    fs::write(label, "")
}

#[expect(clippy::cast_precision_loss, reason = "a ratio needs no more than a float holds")]
fn ratio(one: u64, other: u64) -> f64 {
    one as f64 / other as f64
}
