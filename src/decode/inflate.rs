//! Whole gzip members through libdeflate: the one place with `unsafe`.
//!
//! The safe wrapper crate does not tell how much input a member took, so a second member or trailing bytes
//! would pass unseen. The C function that tells is called here.
#![allow(unsafe_code)]

use std::ptr::NonNull;

use libdeflate_sys as sys;

/// A libdeflate decompressor, usable for one member after the other.
pub(super) struct Inflater(NonNull<sys::libdeflate_decompressor>);

// SAFETY: a decompressor is memory of its own without ties to a thread; every use takes `&mut self`.
unsafe impl Send for Inflater {}

/// How much a member took and gave, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) consumed: usize,
    pub(super) produced: usize,
}

/// Why a member could not be inflated as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The output is too small; nothing can be said of the data.
    NoRoom,
    /// The data is no whole, valid gzip member.
    Invalid,
}

impl Inflater {
    pub(super) fn new() -> Self {
        // SAFETY: takes nothing, returns null or a pointer that we own.
        let decompressor = unsafe { sys::libdeflate_alloc_decompressor() };
        Self(NonNull::new(decompressor).expect("libdeflate found no memory for its 11 KiB of tables"))
    }

    /// Inflates the gzip member at the start of `input` into the start of `output`.
    pub(super) fn member(&mut self, input: &[u8], output: &mut [u8]) -> Result<Member, Refusal> {
        let (mut consumed, mut produced) = (0, 0);
        // SAFETY: both buffers are passed with their lengths, the decompressor is alive and used by one caller.
        let result = unsafe {
            sys::libdeflate_gzip_decompress_ex(
                self.0.as_ptr(),
                input.as_ptr().cast(),
                input.len(),
                output.as_mut_ptr().cast(),
                output.len(),
                &raw mut consumed,
                &raw mut produced,
            )
        };
        match result {
            sys::libdeflate_result_LIBDEFLATE_SUCCESS => Ok(Member { consumed, produced }),
            sys::libdeflate_result_LIBDEFLATE_INSUFFICIENT_SPACE => Err(Refusal::NoRoom),
            _ => Err(Refusal::Invalid),
        }
    }
}

impl Drop for Inflater {
    fn drop(&mut self) {
        // SAFETY: allocated by `new`, freed once.
        unsafe { sys::libdeflate_free_decompressor(self.0.as_ptr()) }
    }
}
