//! The folder of a durable state: private, on a disk of this machine, and used by one daemon at a time.

use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tracing::info;

use super::OpenError;

/// How long another daemon is waited for, which may be about to end.
pub const WAIT: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Where Linux tells what is mounted.
const MOUNTS: &str = "/proc/self/mounts";
/// Kinds of file systems that other machines write to, or whose locks hold for one of them only.
const NETWORK: [&str; 12] =
    ["nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "ceph", "lustre", "gpfs", "9p", "glusterfs"];

/// A folder that is locked until this is dropped, or until the process ends in whatever way.
#[derive(Debug)]
pub(in crate::state) struct Place {
    folder: PathBuf,
    _lock: File,
}

impl Place {
    /// Makes the folder if need be, and locks it; waits at most this long for another daemon.
    ///
    /// # Errors
    /// The folder cannot be made or written to, lies on a network file system, or stays locked.
    pub(in crate::state) fn take(folder: &Path, wait: Duration) -> Result<Self, OpenError> {
        let refuse = |source| OpenError::Folder { folder: folder.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(refuse)?;
        // What it holds is for nobody else: alerts tell who did what.
        let mode = std::fs::metadata(folder).map_err(refuse)?.permissions().mode();
        if mode & 0o077 != 0 {
            std::fs::set_permissions(folder, PermissionsExt::from_mode(0o700)).map_err(refuse)?;
        }
        if let Some(kind) = network(folder) {
            return Err(OpenError::Network { folder: folder.to_owned(), kind });
        }
        let options = File::options().create(true).write(true).truncate(false).open(folder.join("lock"));
        let lock = options.map_err(refuse)?;
        Self::lock(&lock, folder, wait)?;
        Ok(Self { folder: folder.to_owned(), _lock: lock })
    }

    fn lock(lock: &File, folder: &Path, wait: Duration) -> Result<(), OpenError> {
        let began = Instant::now();
        let mut told = false;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::Error(source)) => {
                    return Err(OpenError::Folder { folder: folder.to_owned(), source });
                }
                Err(TryLockError::WouldBlock) if began.elapsed() >= wait => {
                    return Err(OpenError::Locked { folder: folder.to_owned(), waited: wait });
                }
                Err(TryLockError::WouldBlock) => {
                    if !std::mem::replace(&mut told, true) {
                        info!(folder = %folder.display(), "another process uses the state; waiting for its end");
                    }
                    std::thread::sleep(LOOK_EVERY);
                }
            }
        }
    }

    /// The database in it.
    pub(super) fn database(&self) -> PathBuf {
        database(&self.folder)
    }

    /// The file in it with the receipt handles of messages in flight.
    pub(in crate::state) fn in_flight(&self) -> PathBuf {
        self.folder.join("in-flight")
    }
}

/// The database in a state folder.
pub(super) fn database(folder: &Path) -> PathBuf {
    folder.join("state.db")
}

/// The kind of network file system on which a folder lies, if it does. Where the system does not tell, it does not.
fn network(folder: &Path) -> Option<String> {
    let folder = folder.canonicalize().ok()?;
    let mounts = std::fs::read_to_string(MOUNTS).ok()?;
    network_among(&mounts, &folder)
}

fn network_among(mounts: &str, folder: &Path) -> Option<String> {
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let (point, kind) = (fields.nth(1)?, fields.next()?);
        // Spaces and the like are written as three octal digits.
        let point = point.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\");
        Some((PathBuf::from(point), kind))
    });
    let over = mounts.filter(|(point, _)| folder.starts_with(point));
    // Of two mounts on one place the later one is seen.
    let (_, kind) = over.max_by_key(|(point, _)| point.components().count())?;
    let shared = NETWORK.contains(&kind) || kind.starts_with("fuse.") && kind != "fuse.fuse-overlayfs";
    shared.then(|| kind.to_owned())
}

/// Whether an error says that a file or folder may not be written to.
pub(super) fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_WAIT: Duration = Duration::ZERO;

    #[test]
    fn one_takes_it_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let place = Place::take(&path, NO_WAIT).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(matches!(Place::take(&path, NO_WAIT), Err(OpenError::Locked { .. })));
        drop(place);
        Place::take(&path, NO_WAIT).unwrap();
    }

    #[test]
    fn a_folder_that_others_may_read_is_closed_to_them() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        Place::take(folder.path(), NO_WAIT).unwrap();
        assert_eq!(std::fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn what_is_no_folder_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(Place::take(file.path(), NO_WAIT), Err(OpenError::Folder { .. })));
    }

    #[test]
    fn network_file_systems_are_known() {
        let mounts = "/dev/vda / ext4 rw 0 0\nserver:/x /srv nfs4 rw 0 0\n/dev/vdb /srv/local\\040disk ext4 rw 0 0\n\
                      b /mnt/b fuse.s3fs rw 0 0\no /over fuse.fuse-overlayfs rw 0 0\nx /twice ext4 rw 0 0\n\
                      y /twice cifs rw 0 0\n";
        let cases = [
            ("/var/lib/trailhound", None),
            ("/srv/trailhound", Some("nfs4")),
            ("/srv/local disk/state", None),
            ("/srvother", None),
            ("/mnt/b", Some("fuse.s3fs")),
            ("/over/state", None),
            ("/twice", Some("cifs")),
        ];
        for (folder, expected) in cases {
            assert_eq!(network_among(mounts, Path::new(folder)).as_deref(), expected, "{folder}");
        }
    }
}
