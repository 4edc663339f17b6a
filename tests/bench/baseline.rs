//! The bare minimum that any reader of gzip objects does: read each file, inflate it as a whole, forget it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use libdeflater::{DecompressionError, Decompressor};

use crate::corpora::objects;

/// Inflates every gzip file of a folder with libdeflate, on this many threads.
pub fn gunzip(folder: &Path, threads: usize) -> Result<()> {
    let files = objects(folder).with_context(|| format!("{} cannot be listed", folder.display()))?;
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(|| run(&files, &next))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("an inflater does not panic"))
    })
}

fn run(files: &[PathBuf], next: &AtomicUsize) -> Result<()> {
    let mut inflater = Decompressor::new();
    let (mut packed, mut inflated) = (Vec::new(), Vec::new());
    while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
        packed.clear();
        let read = File::open(path).and_then(|mut file| file.read_to_end(&mut packed));
        read.with_context(|| format!("{} cannot be read", path.display()))?;
        let length = inflate(&mut inflater, &packed, &mut inflated);
        let length = length.with_context(|| format!("{} cannot be inflated", path.display()))?;
        std::hint::black_box(&inflated[..length]);
    }
    Ok(())
}

/// Inflates into a buffer that only ever grows.
fn inflate(
    inflater: &mut Decompressor,
    packed: &[u8],
    inflated: &mut Vec<u8>,
) -> Result<usize, DecompressionError> {
    // The file ends with its inflated size.
    let size = packed.last_chunk().map_or(0, |size| u32::from_le_bytes(*size) as usize);
    if inflated.len() < size {
        inflated.resize(size, 0);
    }
    inflater.gzip_decompress(packed, inflated)
}
