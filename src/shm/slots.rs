//! The slots of a queue: bytes in shared memory behind the queue's layout, reached by number.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::error::{Error, Result};
use crate::shm::Shared;
use crate::shm::layout::{QueueLayout, SLOT_DATA, SlotHead};
use crate::sys::file::Mapping;

/// Memory is reserved in steps of about this many bytes.
const STEP: usize = 64 * 1024;

/// The slots of one queue. Numbers and lengths are checked against what was true when the queue was opened, never against what is
/// in shared memory now.
pub(crate) struct Slots {
    first: NonNull<u8>,
    count: usize,
    size: usize,
    /// A step has 2 to the power of this many slots.
    step_bits: u32,
    /// For each step, whether this process has reserved memory for it: only then its slots may be touched.
    reserved: Box<[AtomicBool]>,
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
        let step_bits = (STEP / size).max(1).ilog2();
        let steps = ((count - 1) >> step_bits) + 1;
        let reserved = std::iter::repeat_with(|| AtomicBool::new(false)).take(steps).collect();
        Ok(Self { first, count, size, step_bits, reserved, mapping: Arc::clone(queue.mapping()) })
    }

    /// The longest payload that a slot has room for.
    pub(crate) fn room(&self) -> usize {
        self.size - SLOT_DATA
    }

    /// The slot number `index`, once there is memory for it.
    ///
    /// # Errors
    ///
    /// `NoSpace` where there is none: then nobody has ever used the slot.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Result<Slot<'_>> {
        if !self.reserved.get(index >> self.step_bits).is_some_and(|step| step.load(Relaxed)) || index >= self.count {
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
        let step = index >> self.step_bits;
        let first = self.first.addr().get() - self.mapping.base().addr().get();
        let populate = |from: usize, to: usize| self.mapping.populate(first + from * self.size, first + to * self.size);
        match populate(step << self.step_bits, ((step + 1) << self.step_bits).min(self.count)) {
            Ok(()) => self.reserved[step].store(true, Relaxed),
            // The slot may be there without the whole step.
            Err(Error::NoSpace(_)) => populate(index, index + 1)?,
            Err(e) => return Err(e),
        }
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
        // SAFETY: the payload has room for it. (A user's slice may lie in the same memory: of a region that the queue is placed in.)
        unsafe { self.at.add(SLOT_DATA).copy_from(NonNull::from(message).cast(), message.len()) };
    }

    /// Copies the first `into.len()` bytes of the message out. A peer may scribble meanwhile: then the bytes are any bytes.
    #[inline]
    pub(crate) fn read(self, into: &mut [std::mem::MaybeUninit<u8>]) {
        assert!(into.len() <= self.slots.room(), "the length was checked by the caller");
        // SAFETY: as in `write`.
        unsafe { self.at.add(SLOT_DATA).copy_to(NonNull::from(&mut *into).cast(), into.len()) };
    }
}
