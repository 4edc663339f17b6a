//! Alerts as lines: in a file, or on standard output.

use std::io::{self, IsTerminal, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use tokio::task::spawn_blocking;

use super::Attempt;
use crate::alert::{Alert, harmless};

/// A file that alerts are appended to.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
}

impl File {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Appends the alert. A line that an earlier failure cut off is ended first.
    pub(super) async fn write_line(&self, alert: &Alert) -> Attempt {
        let (path, line) = (self.path.clone(), line(alert));
        write(move || {
            let mut file = std::fs::OpenOptions::new().create(true).append(true).read(true).open(path)?;
            if ends_inside_a_line(&mut file)? {
                file.write_all(b"\n")?;
            }
            file.write_all(line.as_bytes())
        })
        .await
        .unwrap_or_else(|error| later(&error))
    }
}

/// Writes the alert to standard output.
pub(super) async fn write_line_to_stdout(alert: &Alert) -> Attempt {
    let terminal = io::stdout().is_terminal();
    let line = if terminal { format!("{}\n", harmless(&alert.document)) } else { line(alert) };
    let written = write(move || {
        let mut stdout = io::stdout().lock();
        stdout.write_all(line.as_bytes())?;
        stdout.flush()
    });
    written.await.unwrap_or_else(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Attempt::ReaderGone,
        _ => later(&error),
    })
}

fn line(alert: &Alert) -> String {
    format!("{}\n", alert.document)
}

async fn write(write: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<Attempt> {
    spawn_blocking(write).await?.map(|()| Attempt::Taken)
}

fn later(error: &io::Error) -> Attempt {
    Attempt::Later { reason: error.to_string(), after: None }
}

/// Whether the last byte of a file is something else than the end of a line. Pipes and terminals have none.
fn ends_inside_a_line(file: &mut std::fs::File) -> io::Result<bool> {
    if !file.metadata()?.is_file() || file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}
