//! Standard input and pipes that can be given up: a signal ends the replay even while nobody writes.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

/// Bytes of one read, and reads that wait to be taken.
const CHUNK: usize = 256 << 10;
const AHEAD: usize = 4;

/// A pipe that is read by a thread of its own. Once it is told to stop, it ends.
#[derive(Debug)]
pub(super) struct Patient {
    chunks: Receiver<io::Result<Vec<u8>>>,
    chunk: io::Cursor<Vec<u8>>,
    stop: Arc<AtomicBool>,
}

impl Patient {
    pub(super) fn stdin(stop: &Arc<AtomicBool>) -> Self {
        Self::read(stop, || Ok(io::stdin().lock()))
    }

    /// A named pipe; even its opening waits for somebody who writes.
    pub(super) fn pipe(path: &Path, stop: &Arc<AtomicBool>) -> Self {
        let path = path.to_owned();
        Self::read(stop, move || File::open(path))
    }

    fn read<R: Read>(stop: &Arc<AtomicBool>, open: impl FnOnce() -> io::Result<R> + Send + 'static) -> Self {
        let (sender, chunks) = sync_channel(AHEAD);
        // Waits in a read that nothing ends but more input; the end of the program does not wait for it.
        std::thread::spawn(move || {
            let mut reader = match open() {
                Ok(reader) => reader,
                Err(error) => {
                    // Without a receiver nobody asks any more.
                    let _ = sender.send(Err(error));
                    return;
                }
            };
            loop {
                let mut chunk = Vec::new();
                let read = (&mut reader).take(CHUNK as u64).read_to_end(&mut chunk);
                let ended = !matches!(read, Ok(1..));
                if sender.send(read.map(|_| chunk)).is_err() || ended {
                    return;
                }
            }
        });
        Self { chunks, chunk: io::Cursor::default(), stop: Arc::clone(stop) }
    }
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.chunk.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            match self.chunks.recv_timeout(Duration::from_millis(100)) {
                Ok(Ok(chunk)) if chunk.is_empty() => return Ok(0),
                Ok(chunk) => self.chunk = io::Cursor::new(chunk?),
                Err(RecvTimeoutError::Timeout) if !self.stop.load(Ordering::Relaxed) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ok(0),
            }
        }
    }
}
