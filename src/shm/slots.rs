//! The slots of a queue: bytes in shared memory behind the queue's layout, reached by number.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::error::{Error, Result};
use crate::shm::Shared;
use crate::shm::layout::{QueueLayout, SLOT_DATA, SlotHead};
use crate::sys::file::Mapping;

/// Memory is reserved in steps of this many bytes, or of a slot.
const STEP: usize = 64 * 1024;

/// The slots of one queue. Numbers and lengths are checked against what was true when the queue was opened, never against what is
/// in shared memory now.
pub(crate) struct Slots {
    first: NonNull<u8>,
    count: usize,
    size: usize,
    /// How many slots this process has reserved memory for: only these may be touched.
    reserved: AtomicUsize,
    mapping: Arc<Mapping>,
}

// SAFETY: slots are atomics, and bytes that are only reached through raw pointers.
unsafe impl Send for Slots {}
// SAFETY: as above.
unsafe impl Sync for Slots {}

impl Slots {
    /// `count` slots of `size` bytes each, right behind a queue's layout.
    pub(crate) fn new(queue: &Shared<QueueLayout>, count: usize, size: usize) -> Result<Self> {
        let (first, len) = queue.rest();
        let whole = size >= SLOT_DATA && size.is_multiple_of(64) && count.checked_mul(size).is_some_and(|need| need <= len);
        if !whole {
            return Err(Error::Corrupted("the queue is longer than the memory it lies in: it was cut short"));
        }
        Ok(Self { first, count, size, reserved: AtomicUsize::new(0), mapping: Arc::clone(queue.mapping()) })
    }

    /// The longest payload that a slot has room for.
    pub(crate) fn room(&self) -> usize {
        self.size - SLOT_DATA
    }

    /// The slot number `index`, once there is memory for it.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Result<Slot<'_>> {
        if index >= self.reserved.load(Relaxed) {
            self.reserve(index)?;
        }
        // SAFETY: `reserve` refuses numbers beyond the last slot, and all slots lie in the mapping.
        Ok(Slot { slots: self, at: unsafe { self.first.add(index * self.size) } })
    }

    #[cold]
    fn reserve(&self, index: usize) -> Result<()> {
        if index >= self.count {
            return Err(Error::Corrupted("the queue's position is outside it"));
        }
        let from = self.reserved.load(Relaxed);
        let first = self.first.addr().get() - self.mapping.base().addr().get();
        let populate = |to: usize| self.mapping.populate(first + from * self.size, first + to * self.size).map(|()| to);
        let ahead = (index + 1).max(from + STEP / self.size).min(self.count);
        // On a full file system there may be no memory for what lies ahead, but for this slot, which was used before.
        let to = populate(ahead).or_else(|e| if matches!(e, Error::NoSpace(_)) { populate(index + 1) } else { Err(e) })?;
        self.reserved.fetch_max(to, Relaxed);
        Ok(())
    }
}

/// One slot.
#[derive(Clone, Copy)]
pub(crate) struct Slot<'a> {
    slots: &'a Slots,
    at: NonNull<u8>,
}

impl<'a> Slot<'a> {
    #[inline]
    pub(crate) fn head(self) -> &'a SlotHead {
        // SAFETY: a slot begins with its head, at a multiple of 64, in the mapping that `slots` keeps; the head is made of atomics.
        unsafe { self.at.cast().as_ref() }
    }

    /// Copies a message in. Only who holds the sending lock writes to an empty slot.
    #[inline]
    pub(crate) fn write(self, message: &[u8]) {
        assert!(message.len() <= self.slots.room(), "the length was checked by the caller");
        // SAFETY: the payload has room for it, and a user's slice does not overlap our mapping.
        unsafe { self.at.add(SLOT_DATA).copy_from_nonoverlapping(NonNull::from(message).cast(), message.len()) };
    }

    /// Copies the first `into.len()` bytes of the message out. A peer may scribble meanwhile: then the bytes are any bytes.
    #[inline]
    pub(crate) fn read(self, into: &mut [std::mem::MaybeUninit<u8>]) {
        assert!(into.len() <= self.slots.room(), "the length was checked by the caller");
        // SAFETY: as in `write`.
        unsafe { self.at.add(SLOT_DATA).copy_to_nonoverlapping(NonNull::from(&mut *into).cast(), into.len()) };
    }
}
