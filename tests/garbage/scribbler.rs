//! Who writes over an object: values that something may go wrong with, to places where something depends on them.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use super::dead_id;
use super::input::Input;

/// The fields of a queue, up to the first entries of its table of peers.
const FIELDS: u64 = 384 + 64 + 3 * 32;
/// Its words that calls wait for: both sides' locks, and the table's.
pub const LOCKS: [u64; 3] = [128, 256, 384];
/// Behind the table of peers are the slots.
const SLOTS: u64 = 16512;
const HEAD: u64 = 64;
const PAGE: u64 = 4096;

/// An object's file, mapped, with the places worth writing to.
pub struct Memory {
    at: *mut u8,
    len: u64,
    places: Vec<(u64, u64)>,
}

// SAFETY: it is only written to by atomics.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

/// A value, and where it is to be written: four bytes of it, or eight.
#[derive(Clone, Copy)]
pub struct Write {
    at: u64,
    value: u64,
    width: u8,
}

impl Memory {
    pub fn map(file: &File) -> Self {
        let len = file.metadata().unwrap().len();
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping.
        let at = unsafe { libc::mmap64(std::ptr::null_mut(), len as usize, access, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        assert_ne!(at, libc::MAP_FAILED);
        let mut memory = Self { at: at.cast(), len, places: Vec::new() };
        memory.places = memory.places();
        memory
    }

    pub fn open(path: &Path) -> Self {
        Self::map(&File::options().read(true).write(true).open(path).unwrap())
    }

    fn read(&self, at: u64) -> u64 {
        self.word(at).load(Relaxed)
    }

    fn word(&self, at: u64) -> &AtomicU64 {
        assert!(at.is_multiple_of(8) && at + 8 <= self.len);
        // SAFETY: it is aligned, and in the mapping.
        unsafe { &*self.at.add(at as usize).cast() }
    }

    fn half(&self, at: u64) -> &AtomicU32 {
        assert!(at.is_multiple_of(4) && at + 4 <= self.len);
        // SAFETY: as above.
        unsafe { &*self.at.add(at as usize).cast() }
    }

    /// What is worth writing to in a queue: where it begins, and how many bytes there are.
    fn places(&self) -> Vec<(u64, u64)> {
        if self.len < SLOTS {
            return vec![(0, self.len)];
        }
        if !self.is_queue() {
            // A table of lives: its beginning, and the ends of the pages of the first lives.
            return vec![(0, 32), (PAGE, 16), (2 * PAGE - 16, 16), (2 * PAGE, 16), (3 * PAGE - 16, 16)];
        }
        // As the queue says: its slots, their size, its blocks, their size, the log's size.
        let (slots, slot_size) = (self.read(16) & 0xffff_ffff, self.read(24));
        let (blocks, block_size, log_size) = (self.read(32) & 0xffff_ffff, self.read(40), self.read(48));
        let heads = SLOTS + slots * slot_size;
        let log = (heads + blocks * HEAD).next_multiple_of(PAGE);
        let data = (log + log_size).next_multiple_of(PAGE);
        let mut places = vec![(8, FIELDS - 8), (8, 8), (64, 64), (128, 64), (256, 64)];
        places.extend((0..slots.min(4)).map(|slot| (SLOTS + slot * slot_size, 16)));
        places.extend((0..blocks.min(4)).map(|block| (heads + block * HEAD, 48)));
        places.extend((log_size != 0).then_some((log, 256)));
        places.extend((0..blocks.min(2)).map(|block| (data + block * block_size, 64)));
        places.retain(|(at, len)| at + len <= self.len);
        places
    }

    /// What is to be written, and where.
    pub fn write_of(&self, input: &mut Input) -> Write {
        let (start, len) = input.one_of(&self.places);
        let kind = input.byte();
        let step = if kind & 128 == 0 { 8 } else { 4 };
        let mut at = start + u64::from(input.byte()) * step % len;
        if kind & 127 == 127 {
            at = input.number(4) % self.len;
        }
        at = at / step * step;
        let value = self.value(kind & 31, input);
        Write { at: at.min((self.len - 8) / 8 * 8), value, width: step as u8 }
    }

    /// A value that something may go wrong with.
    fn value(&self, kind: u8, input: &mut Input) -> u64 {
        let small = input.byte();
        let number = u64::from(small);
        let own = std::process::id();
        // This process, which owns the inbox, or is the first in the table of peers, or has the first life.
        let identity = match self.len {
            len if len < SLOTS => 0,
            _ if !self.is_queue() => self.read(PAGE),
            _ => self.read(80).max(self.read(384 + 64)),
        };
        // SAFETY: no preconditions.
        let thread = unsafe { libc::gettid() }.unsigned_abs();
        let word = match small >> 6 {
            0 => 0,
            1 => libc::FUTEX_WAITERS,
            2 => libc::FUTEX_OWNER_DIED,
            _ => libc::FUTEX_WAITERS | libc::FUTEX_OWNER_DIED,
        };
        match kind {
            0 => 0,
            1 | 2 => number,
            3 | 4 => u64::MAX - number,
            5 => 1u64.checked_shl(small.into()).unwrap_or(0),
            6 => (1 << 63) - number,
            7 => (1 << 63) + number,
            8 => (1 << 31) | number,
            9 => (1 << 32) - number,
            10 => u64::from(word | own),
            11 => u64::from(word | thread),
            12 => u64::from(word | dead_id()),
            // Always alive.
            13 => u64::from(word | 1),
            14 => u64::from(word),
            15 => number << 61 | identity,
            16 => number << 61 | u64::from(own),
            17 => number << 61 | u64::from(dead_id()),
            18 => number << 61 | 1,
            19 => number << 61,
            // A number of a block or an offer, with flags.
            20 => number >> 3 | (number & 7) << 29,
            21 => 0xffff_ffff | number << 32,
            22 => self.len.wrapping_add(number).wrapping_sub(128),
            23 => number * 4096,
            24 => number << 2 | 1,
            25 => number << 56,
            26 => input.number(2),
            27 => input.number(4),
            _ => input.number(8),
        }
    }

    pub fn write(&self, write: Write) {
        if write.width == 8 {
            self.word(write.at).store(write.value, Relaxed);
        } else {
            self.half(write.at).store(write.value as u32, Relaxed);
        }
    }

    /// Lets go of the locks of a queue, whoever holds them.
    pub fn free_locks(&self) {
        let locks = if self.is_queue() { &LOCKS[..] } else { &[8, 16][..] };
        locks.iter().for_each(|&at| self.half(at).store(0, Relaxed));
    }

    /// Not a table of lives, or of strangers.
    fn is_queue(&self) -> bool {
        self.read(0) >> 32 & 0xff < 0xfe
    }

    /// Writes without end, while `act` does something.
    pub fn writing<T>(&self, writes: &[Write], act: impl FnOnce() -> T) -> T {
        if writes.is_empty() {
            return act();
        }
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for round in 0u32.. {
                    writes.iter().for_each(|&write| self.write(write));
                    if round % 16 == 15 {
                        // Or what waits for them would wait for good.
                        self.free_locks();
                    }
                    if over.load(Relaxed) {
                        break;
                    }
                }
            });
            let result = act();
            over.store(true, Relaxed);
            writer.join().unwrap();
            result
        })
    }

    /// Makes it again what it was: all zeros, but for these bytes at its beginning.
    pub fn restore(&self, head: &[u8]) {
        // SAFETY: the mapping's own range.
        assert_eq!(unsafe { libc::madvise(self.at.cast(), self.len as usize, libc::MADV_REMOVE) }, 0);
        for (i, chunk) in head.chunks(8).enumerate() {
            let mut bytes = [0; 8];
            bytes[..chunk.len()].copy_from_slice(chunk);
            self.word(8 * i as u64).store(u64::from_le_bytes(bytes), Relaxed);
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: mapped in `map`, and no reference is left.
        unsafe { libc::munmap(self.at.cast(), self.len as usize) };
    }
}
