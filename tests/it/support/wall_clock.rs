//! A wall clock that a test sets forward for a daemon, by libfaketime; timers go on as usual.

use std::fs;
use std::path::PathBuf;

use super::server::install;

/// The wall clock of the daemons that are started with its [`variables`](WallClock::variables).
pub struct WallClock {
    folder: tempfile::TempDir,
    library: PathBuf,
}

impl WallClock {
    /// One that is right.
    pub fn new() -> Self {
        let packages = install().parent().unwrap().join("lib");
        let python = fs::read_dir(packages).unwrap().next().unwrap().unwrap().path();
        let library = python.join("site-packages/libfaketime/vendor/libfaketime/src/libfaketime.so.1");
        assert!(library.exists(), "{}", library.display());
        let clock = Self { folder: tempfile::tempdir().unwrap(), library };
        clock.set_forward(0);
        clock
    }

    /// From now on it is ahead by so many hours.
    pub fn set_forward(&self, hours: u32) {
        let (next, path) = (self.folder.path().join("next"), self.path());
        fs::write(&next, format!("+{hours}h\n")).unwrap();
        fs::rename(next, path).unwrap();
    }

    /// What a daemon must be started with.
    pub fn variables(&self) -> [(String, String); 4] {
        [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.path().display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("clock")
    }
}
