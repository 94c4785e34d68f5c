//! Memory in the place of mapped files.

use std::ptr::NonNull;
use std::sync::Arc;

use crate::engine;
use crate::error::Result;

pub(crate) const PAGE: usize = 4096;

/// Zeroed memory.
pub(crate) struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

impl Mapping {
    /// Memory that the threads of a model share.
    pub(crate) fn shared(len: usize) -> Arc<Self> {
        let len = len.next_multiple_of(PAGE);
        let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: new memory, which overlaps nothing.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), len, access, flags, -1, 0) };
        assert_ne!(base, libc::MAP_FAILED, "there is memory");
        let base: *mut u8 = base.cast();
        let mapping = Arc::new(Self { base: NonNull::new(base).expect("it is not at 0"), len });
        engine::share(base.expose_provenance(), len, Box::new(Arc::clone(&mapping)));
        mapping
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn populate(&self, _start: usize, _end: usize) -> Result<()> {
        Ok(())
    }

    pub(crate) fn populate_to_read(&self, _start: usize, _end: usize) -> Result<()> {
        Ok(())
    }

    pub(crate) fn keep_out_of_dumps(&self, _start: usize, _end: usize) {}

    pub(crate) fn punch(&self, start: usize, end: usize) -> bool {
        let (first, last) = (start.next_multiple_of(PAGE), end.min(self.len) / PAGE * PAGE);
        if first < last {
            let base = self.base.as_ptr();
            let from = base.expose_provenance();
            if engine::clear(from + first, from + last) {
                // SAFETY: the range lies in this memory, of which it makes zeros.
                let advised = unsafe { libc::madvise(base.add(first).cast(), last - first, libc::MADV_DONTNEED) };
                assert_eq!(advised, 0);
            }
        }
        true
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and nobody uses it any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

// SAFETY: one thread of a model runs at a time.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}
