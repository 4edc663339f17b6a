//! `trailhound rules export`

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Exit, ExportArgs, complain, plain, print, terminal};
use crate::rulebook::Rulebook;

/// Writes the embedded pack to a folder, or nothing at all if another content stands in the way.
pub(super) fn export(args: &ExportArgs) -> Exit {
    let files: Vec<(PathBuf, String)> = Rulebook::files(&[], true)
        .into_iter()
        .map(|file| (args.folder.join(file.name.trim_start_matches("pack/")), file.text))
        .collect();
    let mut kept = 0;
    let mut in_the_way = false;
    for (path, text) in &files {
        match fs::read(path) {
            Ok(bytes) if bytes == text.as_bytes() => kept += 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Ok(_) => {
                in_the_way = true;
                complain(&plain(&format!("{}: is there with another content", path.display())));
            }
            Err(error) => {
                in_the_way = true;
                complain(&plain(&format!("{}: {error}", path.display())));
            }
        }
    }
    if in_the_way {
        complain("nothing was written; name a folder that is empty or new");
        return Exit::USAGE;
    }
    for (path, text) in &files {
        if let Err(error) = write(path, text) {
            return terminal::not_written(&plain(&path.display().to_string()), &error);
        }
    }
    let folder = args.folder.display().to_string();
    let line = format!("{} rule files in {}, {kept} of them unchanged\n", files.len(), plain(&folder));
    print(&line).err().unwrap_or(Exit::OK)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text)
}
