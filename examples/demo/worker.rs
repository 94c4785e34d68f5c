//! A worker of the demo: takes lines from the queue, counts their words into the table. README.md beside this file says how, and why each
//! line is counted exactly once, whenever a worker is killed.
//!
//! Usage: demo-worker NUMBER

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::Duration;

use rsipc::{Error, Lease, Mutex, Queue, Region, Result, View};

const VICTIM: usize = 128;
const HOLDING: usize = 132;
const REPAIR: usize = 136;
const AGAIN: usize = 152;
const UNDO: usize = 192;
const UNDO_WORKER: usize = UNDO + 4;
const UNDO_LINE: usize = UNDO + 8;
const ENTRIES: usize = UNDO + 16;
const WORKERS: usize = 8192;
const TABLE: usize = 16384;
const SLOTS: u32 = 32768;
const WORD: usize = 28;

/// Where a worker's entry begins, and where in it the number of the line is that it counted last.
fn worker(number: u32) -> usize {
    WORKERS + number as usize * 64
}
const LAST: usize = 4;

/// The region's numbers, read and written by who holds the mutex, or by one worker alone.
struct Table(View);

impl Table {
    fn number(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= self.0.len());
        // SAFETY: these bytes are in the view, aligned, and used as a number by all.
        unsafe { AtomicU32::from_ptr(self.0.as_ptr().add(offset).cast()) }
    }

    fn get(&self, offset: usize) -> u32 {
        self.number(offset).load(Acquire)
    }

    /// Release: who dies has stored all that comes before it in the program, and nothing that comes after.
    fn set(&self, offset: usize, value: u32) {
        self.number(offset).store(value, Release);
    }

    fn set_long(&self, offset: usize, value: u64) {
        self.set(offset, value as u32);
        self.set(offset + 4, (value >> 32) as u32);
    }

    /// The slot of a word, found or made.
    fn slot(&self, word: &[u8; WORD], len: usize) -> Result<u32> {
        let mut slot = crc32fast::hash(&word[..len]) % SLOTS;
        loop {
            let at = TABLE + slot as usize * 32;
            let mut there = [0; WORD];
            // SAFETY: as the table above says who writes what.
            unsafe { self.0.read(at + 4, &mut there) }?;
            if there == [0; WORD] {
                // SAFETY: as the table above says who writes what.
                unsafe { self.0.write(at + 4, word) }?;
                return Ok(slot);
            }
            if there == *word {
                return Ok(slot);
            }
            slot = (slot + 1) % SLOTS;
        }
    }

    /// From here on it is written down what this worker adds for this line.
    fn begin(&self, me: u32, line: u32) {
        self.set(UNDO, 0); // First: what the log says of the line before is not to be taken back.
        self.set(UNDO_WORKER, me);
        self.set(UNDO_LINE, line);
    }

    /// Adds one to a slot's count. What it was is written down first, so that it can be taken back whenever we die.
    fn add(&self, slot: u32) {
        let at = TABLE + slot as usize * 32;
        let (done, count) = (self.get(UNDO), self.get(at));
        self.set(ENTRIES + done as usize * 8, slot);
        self.set(ENTRIES + done as usize * 8 + 4, count);
        self.set(UNDO, done + 1);
        self.set(at, count + 1);
    }

    /// Makes what was added count, and marks the line as counted, in one store.
    fn commit(&self, me: u32, line: u32) {
        self.set(worker(me) + LAST, line);
    }

    /// Takes back the words of a line that was not counted to its end; says how many.
    fn undo(&self) -> u32 {
        let done = self.get(UNDO);
        if self.get(worker(self.get(UNDO_WORKER)) + LAST) == self.get(UNDO_LINE) {
            return 0;
        }
        for entry in (0..done as usize).rev() {
            let (slot, count) = (self.get(ENTRIES + entry * 8), self.get(ENTRIES + entry * 8 + 4));
            self.set(TABLE + slot as usize * 32, count);
        }
        self.set(UNDO, 0);
        done
    }

    /// Whether some worker counted this line, and none after it: the only one that it can have counted and not finished.
    fn is_counted(&self, line: u32) -> bool {
        (0..128).any(|number| self.get(worker(number) + LAST) == line)
    }
}

fn words(line: &[u8]) -> impl Iterator<Item = ([u8; WORD], usize)> {
    line.split(|byte| !byte.is_ascii_alphabetic()).filter(|word| !word.is_empty()).map(|word| {
        let mut lower = [0; WORD];
        let len = word.len().min(WORD);
        lower[..len].copy_from_slice(&word[..len].to_ascii_lowercase());
        (lower, len)
    })
}

fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel fills it in.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// Counts a line's words. The caller holds the mutex.
fn count(table: &Table, me: u32, lease: &Lease<'_>, line: u32) -> Result<u64> {
    let words: Vec<_> = words(&lease.message()[4..]).collect();
    if lease.deliveries() > 1 {
        table.set(AGAIN, me);
        table.set(AGAIN + 4, line);
        if table.is_counted(line) {
            // Its worker died after it had counted it, and before it had finished the lease.
            return Ok(words.len() as u64);
        }
    }
    table.begin(me, line);
    for (done, (word, len)) in words.iter().enumerate() {
        if done > 0 && done == words.len() / 2 && table.get(VICTIM) == me {
            table.set(HOLDING, 1);
            std::thread::sleep(Duration::from_secs(60)); // SIGKILL comes here.
        }
        table.add(table.slot(word, *len)?);
    }
    table.commit(me, line);
    Ok(words.len() as u64)
}

fn main() -> Result<()> {
    let me: u32 = std::env::args().nth(1).and_then(|n| n.parse().ok()).expect("usage: demo-worker NUMBER");
    let lines = Queue::open("lines")?;
    let region = Region::open("table")?;
    // SAFETY: the first 128 bytes are left to the mutex.
    let mutex = unsafe { Mutex::<()>::open_in(&region, 0) }?;
    let table = Table(region.view()?);
    table.set(worker(me), std::process::id());
    let (mut taken, mut counted) = (0u64, 0u64);
    loop {
        let lease = match lines.lease() {
            Ok(lease) => lease,
            Err(Error::Closed) => return Ok(()),
            Err(error) => return Err(error),
        };
        let line = u32::from_le_bytes(lease.message()[..4].try_into().expect("a line has a number"));

        let mut guard = mutex.lock()?;
        if guard.owner_died() {
            let repaired = table.undo();
            table.set(REPAIR, me);
            table.set(REPAIR + 4, repaired);
            table.set_long(REPAIR + 8, monotonic_ns());
            guard.mark_consistent();
        }
        let words = count(&table, me, &lease, line)?;
        drop(guard);
        lease.finish()?;

        taken += 1;
        counted += words;
        table.set_long(worker(me) + 8, taken);
        table.set_long(worker(me) + 16, counted);
    }
}
