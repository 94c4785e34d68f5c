//! A stretch of bytes in shared memory, reached by offset: every access is checked against its length.

use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::shm::layout::Layout;
use crate::sys::file::Mapping;
use crate::sys::memory;

/// A stretch of a mapping.
#[derive(Clone)]
pub(crate) struct Bytes {
    mapping: Arc<Mapping>,
    offset: usize,
    len: usize,
}

impl Bytes {
    /// The `len` bytes of the mapping from `offset` on.
    pub(crate) fn new(mapping: &Arc<Mapping>, offset: usize, len: usize) -> Result<Self> {
        if offset.checked_add(len).is_none_or(|end| end > mapping.len()) {
            return Err(Error::Corrupted("the object is longer than the memory it lies in: it was cut short"));
        }
        Ok(Self { mapping: Arc::clone(mapping), offset, len })
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Where the `len` bytes from `offset` on are.
    #[inline]
    pub(crate) fn at(&self, offset: usize, len: usize) -> Result<NonNull<u8>> {
        if offset.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(Error::Corrupted("an offset leads out of the object"));
        }
        // SAFETY: checked just now, and in `new`.
        Ok(unsafe { self.mapping.base().add(self.offset + offset) })
    }

    /// The structure at `offset`. There must be memory for it.
    #[inline]
    pub(crate) fn structure<T: Layout>(&self, offset: usize) -> Result<&T> {
        let at = self.at(offset, size_of::<T>())?.cast::<T>();
        if !at.is_aligned() {
            return Err(Error::Corrupted("an offset leads beside a structure"));
        }
        // SAFETY: it is aligned and in the mapping, which lives as long as this; `Layout` allows for other processes' writes.
        Ok(unsafe { at.as_ref() })
    }

    /// Copies `from` in.
    #[inline]
    pub(crate) fn write(&self, offset: usize, from: &[u8]) -> Result<()> {
        let at = self.at(offset, from.len())?;
        // SAFETY: `at` saw that there is room.
        unsafe { memory::copy(NonNull::from(from).cast(), at, from.len()) };
        Ok(())
    }

    /// Copies `into.len()` bytes out. A peer may scribble meanwhile: then the bytes are any bytes.
    #[inline]
    pub(crate) fn read(&self, offset: usize, into: &mut [MaybeUninit<u8>]) -> Result<()> {
        let at = self.at(offset, into.len())?;
        // SAFETY: as in `write`.
        unsafe { memory::copy(at, NonNull::from(&mut *into).cast(), into.len()) };
        Ok(())
    }

    /// Copies `len` bytes in that are elsewhere in shared memory.
    pub(crate) fn copy(&self, offset: usize, from: &Self, from_offset: usize, len: usize) -> Result<()> {
        let (to, from) = (self.at(offset, len)?, from.at(from_offset, len)?);
        // SAFETY: `at` saw that both are there.
        unsafe { memory::copy(from, to, len) };
        Ok(())
    }

    /// Reserves memory for the bytes from `start` to `end`.
    pub(crate) fn populate(&self, start: usize, end: usize) -> Result<()> {
        self.mapping.populate(self.offset + start.min(self.len), self.offset + end.min(self.len))
    }

    /// As [`Bytes::populate`], for who only reads.
    pub(crate) fn populate_to_read(&self, start: usize, end: usize) -> Result<()> {
        self.mapping.populate_to_read(self.offset + start.min(self.len), self.offset + end.min(self.len))
    }

    /// Keeps them out of core dumps.
    pub(crate) fn keep_out_of_dumps(&self) {
        self.mapping.keep_out_of_dumps(self.offset, self.offset + self.len);
    }

    /// Gives the memory of the pages from `start` to `end` back to the system, so that they read as zeros; says whether it could.
    pub(crate) fn punch(&self, start: usize, end: usize) -> bool {
        self.mapping.punch(self.offset + start.min(self.len), self.offset + end.min(self.len))
    }
}
