//! What the program does with shared memory: atomic reads and writes of words, and copies of bytes.
//!
//! All that the protocols of `sync` and `queue` do to it, and so to each other, goes through here and through `futex` and `thread`. The models
//! (`tests/models`) put their own in the place of these three, and try what may happen between any two steps.

use std::ptr::NonNull;
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// A SeqCst fence right after a read-modify-write, which on x86 is one already.
#[inline]
pub(crate) fn fence_after_rmw() {
    use Ordering::SeqCst;
    if cfg!(target_arch = "x86_64") { std::sync::atomic::compiler_fence(SeqCst) } else { fence(SeqCst) }
}

/// Copies `len` bytes, of which some are in shared memory. A peer may scribble meanwhile: then the bytes are any bytes.
///
/// # Safety
///
/// Both places have so many bytes, and those at `to` may be written to.
#[inline]
pub(crate) unsafe fn copy(from: NonNull<u8>, to: NonNull<u8>, len: usize) {
    // SAFETY: the caller's promise. (A user's slice may lie in the same memory: of a region that the object is placed in.)
    unsafe { to.copy_from(from, len) }
}
