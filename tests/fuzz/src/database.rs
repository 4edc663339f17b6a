//! The database of a state folder, damaged at will: it is opened or refused, and nothing panics, whatever lies in its tables.
#![no_main]

use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use trailhound::clock::Clock;
use trailhound::config::{Config, Flags};
use trailhound::daemon::window_limits;
use trailhound::horizon::Horizon;
use trailhound::metrics::Metrics;
use trailhound::reload;
use trailhound::rulebook::{Pack, Rulebook};
use trailhound::state::{self, Graveyard, OpenError, Opened};
use trailhound::worker::Inspection;

/// A row of every table.
const ROWS: &str = "
    INSERT INTO object VALUES (x'000102030405060708090a0b0c0d0e0f', 1772359200);
    INSERT INTO raised VALUES (x'000102030405060708090a0b0c0d0e0f', 1, 1772359200);
    INSERT INTO alert VALUES (1, x'000102030405060708090a0b0c0d0e0f', 1, 'match', 'high', 'rule', 1772359200000000, '{}');
    INSERT INTO alert VALUES (2, x'100102030405060708090a0b0c0d0e0f', 1, 'undecided', 'low', 'rule', NULL, '{}');
    INSERT INTO pending VALUES ('siem', 1, 2);
    INSERT INTO dead (at, reason, sink, alert) VALUES (1772359200, 'refused', 'siem', 2);
    INSERT INTO dead (at, reason, source, bucket, key, version) VALUES (1772359200, 'corrupt', 'queue', 'b', 'k', 'v');
    INSERT INTO detection VALUES ('d', x'00');
    INSERT INTO window_row VALUES ('', x'00', x'00');
    INSERT INTO window_row VALUES ('d', x'00', x'00');
";

struct Template {
    folder: tempfile::TempDir,
    inspection: Arc<Inspection>,
    database: Vec<u8>,
}

static TEMPLATE: LazyLock<Template> = LazyLock::new(|| {
    let config = Config::read(None, std::iter::empty(), Flags::default()).expect("nothing is set");
    let inspection = Arc::new(reload::inspection(&config, Rulebook::open(&[], Pack::Runs, None)));
    // In memory, where there is such a place: each input writes a whole database.
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("a folder");
    drop(open(folder.path(), &inspection).expect("an empty folder becomes a state"));
    let path = folder.path().join("state.db");
    let connection = rusqlite::Connection::open(&path).expect("it was made");
    connection.execute_batch(ROWS).expect("the tables are as they are");
    connection.pragma_update(None, "journal_mode", "DELETE").expect("nobody else has it");
    drop(connection);
    Template { database: fs::read(path).expect("it is there"), folder, inspection }
});

fn open(folder: &Path, inspection: &Arc<Inspection>) -> Result<Opened, OpenError> {
    let horizon = Horizon::new(Duration::from_secs(3600));
    let limits = window_limits(&Config::default());
    state::open(folder, Duration::ZERO, Arc::clone(inspection), limits, horizon, Metrics::default())
}

/// One change for each four bytes: where, and to what; the last byte that is left over cuts the file off.
fn damaged(database: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut database = database.to_vec();
    let chunks = edits.chunks_exact(4);
    let cut = chunks.remainder().first().map_or(256, |part| usize::from(*part) + 1);
    for edit in chunks {
        let at = usize::from(edit[0]) << 16 | usize::from(edit[1]) << 8 | usize::from(edit[2]);
        let length = database.len();
        database[at % length] = edit[3];
    }
    database.truncate(database.len() * cut / 256);
    database
}

fuzz_target!(|edits: &[u8]| {
    let Template { folder, inspection, database } = &*TEMPLATE;
    let path = folder.path().join("state.db");
    for name in ["state.db-wal", "state.db-shm"] {
        let _ = fs::remove_file(folder.path().join(name));
    }
    fs::write(&path, damaged(database, edits)).expect("there is room");
    if let Ok(opened) = open(folder.path(), inspection) {
        let (_, reports) = tokio::sync::mpsc::unbounded_channel();
        let metrics = Metrics::default();
        let _ = opened.owner(Vec::new(), reports, 1 << 20, metrics, Clock::system());
    }
    if let Ok(graveyard) = Graveyard::open(folder.path()) {
        let _ = graveyard.list();
    }
});
