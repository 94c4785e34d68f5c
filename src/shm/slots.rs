//! The slots of a queue: bytes in shared memory behind the queue's layout, reached by number.

use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering::Release, compiler_fence};

use crate::error::{Error, Result};
use crate::shm::bytes::Bytes;
use crate::shm::layout::{SLOT_DATA, SlotHead};
use crate::sys::memory::{self, AtomicU32, Ordering::Relaxed};

/// Memory is reserved in steps of about this many bytes.
const STEP: usize = 64 * 1024;

/// So many bytes of a payload lie on the cache line where the slot's head is, on which the other side looks again and again. The
/// rest is copied *first*, both ways: a sender has that line for as short a time as can be before the commit (if it were taken
/// away in between, it would have to be fetched once more), and a receiver waits for the second line while it copies the first.
/// No copy goes over the line's end, which costs more than two.
const BESIDE_HEAD: usize = LINE - SLOT_DATA;
const LINE: usize = 64;

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
    bytes: Bytes,
}

// SAFETY: slots are atomics, and bytes that are only reached through raw pointers.
unsafe impl Send for Slots {}
// SAFETY: as above.
unsafe impl Sync for Slots {}

impl Slots {
    /// `count` slots of `size` bytes each, which are `bytes`.
    pub(crate) fn new(bytes: Bytes, count: usize, size: usize) -> Result<Self> {
        let whole =
            size > SLOT_DATA && size.is_multiple_of(64) && count.checked_mul(size).is_some_and(|need| need <= bytes.len());
        if !whole {
            return Err(Error::Corrupted("the queue's slots are longer than the memory they lie in"));
        }
        let step_bits = (STEP / size).max(1).ilog2();
        let steps = count.div_ceil(1 << step_bits);
        let reserved = std::iter::repeat_with(|| AtomicBool::new(false)).take(steps).collect();
        Ok(Self { first: bytes.at(0, 0)?, count, size, step_bits, reserved, bytes })
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
        if let Some(slot) = self.get_reserved(index) {
            return Ok(slot);
        }
        self.reserve(index)?;
        // SAFETY: `reserve` refuses numbers beyond the last slot, and all slots lie in the mapping.
        Ok(Slot { slots: self, at: unsafe { self.first.add(index * self.size) } })
    }

    /// The slot number `index`, if this process knows that there is memory for it.
    #[inline]
    pub(crate) fn get_reserved(&self, index: usize) -> Option<Slot<'_>> {
        let known = self.reserved.get(index >> self.step_bits)?.load(Relaxed) && index < self.count;
        // SAFETY: it is not beyond the last slot, and all slots lie in the mapping.
        known.then(|| Slot { slots: self, at: unsafe { self.first.add(index * self.size) } })
    }

    /// The slot number `index` and those behind it, `most` of them or fewer: as far as they were reserved together.
    ///
    /// # Errors
    ///
    /// As [`Slots::get`], for the first.
    #[inline]
    pub(crate) fn run(&self, index: usize, most: usize) -> Result<impl Iterator<Item = Slot<'_>> + Clone> {
        let first = self.get(index)?.at;
        let step = index >> self.step_bits;
        let end = if self.reserved[step].load(Relaxed) { ((step + 1) << self.step_bits).min(self.count) } else { index + 1 };
        // SAFETY: none of them is beyond the last slot, and all slots lie in the mapping.
        Ok((0..most.min(end - index)).map(move |i| Slot { slots: self, at: unsafe { first.add(i * self.size) } }))
    }

    #[cold]
    fn reserve(&self, index: usize) -> Result<()> {
        if index >= self.count {
            return Err(Error::Corrupted("the queue's position is outside it"));
        }
        let step = index >> self.step_bits;
        let populate = |from: usize, to: usize| self.bytes.populate(from * self.size, to * self.size);
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

    /// The number of the block where the payload is, if it is in one: the payload's first four bytes.
    #[inline]
    pub(crate) fn block(self) -> &'a AtomicU32 {
        // SAFETY: a slot has room for more than its head, whose length is a multiple of 4.
        unsafe { self.at.add(SLOT_DATA).cast().as_ref() }
    }

    /// Copies a message in: an envelope, or nothing, and what was sent. Only who holds the sending lock writes to an empty slot.
    #[inline]
    pub(crate) fn write(self, envelope: &[u8], message: &[u8]) {
        assert!(envelope.len() + message.len() <= self.slots.room(), "the length was checked by the caller");
        let from: NonNull<u8> = NonNull::from(message).cast();
        // SAFETY: the payload has room for both.
        unsafe {
            let at = self.at.add(SLOT_DATA);
            if envelope.is_empty() && message.len() > BESIDE_HEAD {
                memory::copy(from.add(BESIDE_HEAD), at.add(BESIDE_HEAD), message.len() - BESIDE_HEAD);
                // Keeps the compiler from putting the copies the other way round.
                compiler_fence(Release);
                memory::copy(from, at, BESIDE_HEAD);
            } else {
                memory::copy(NonNull::from(envelope).cast(), at, envelope.len());
                memory::copy(from, at.add(envelope.len()), message.len());
            }
        }
    }

    /// Copies `into.len()` bytes of the payload out, from `from` on. A peer may scribble meanwhile: then the bytes are any bytes.
    #[inline]
    pub(crate) fn read(self, from: usize, into: &mut [MaybeUninit<u8>]) {
        assert!(from + into.len() <= self.slots.room(), "the length was checked by the caller");
        let to: NonNull<u8> = NonNull::from(&mut *into).cast();
        // SAFETY: as in `write`.
        unsafe {
            if from == 0 && into.len() > BESIDE_HEAD {
                memory::copy(self.at.add(LINE), to.add(BESIDE_HEAD), into.len() - BESIDE_HEAD);
                memory::copy(self.at.add(SLOT_DATA), to, BESIDE_HEAD);
            } else {
                memory::copy(self.at.add(SLOT_DATA + from), to, into.len());
            }
        }
    }

    /// Copies the first `len` bytes of the payload to elsewhere in shared memory.
    pub(crate) fn copy_to(self, len: usize, to: &Bytes, offset: usize) -> Result<()> {
        assert!(len <= self.slots.room(), "the length was checked by the caller");
        let to = to.at(offset, len)?;
        // SAFETY: `at` saw that there is room, and the payload is as long.
        unsafe { memory::copy(self.at.add(SLOT_DATA), to, len) };
        Ok(())
    }
}
