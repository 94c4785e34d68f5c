//! A worker of the demo: takes lines from the queue, counts their words into the table. See README.md beside this file.
//!
//! Usage: demo-worker NUMBER

use std::time::Duration;

use rsipc::{Error, Mutex, Queue, Region, Result, View};

const VICTIM: usize = 64;
const HOLDING: usize = 68;
const REPAIR: usize = 72;
const UNDO: usize = 128;
const WORKERS: usize = 8192;
const TABLE: usize = 16384;
const SLOTS: u32 = 32768;
const WORD: usize = 28;

/// The region's numbers, read and written by who holds the mutex, or by one worker alone.
struct Table(View);

impl Table {
    fn get(&self, offset: usize) -> Result<u32> {
        let mut bytes = [0; 4];
        // SAFETY: as the table above says who writes what.
        unsafe { self.0.read(offset, &mut bytes) }?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn set(&self, offset: usize, value: u32) -> Result<()> {
        // SAFETY: as the table above says who writes what.
        unsafe { self.0.write(offset, &value.to_le_bytes()) }
    }

    fn set_long(&self, offset: usize, value: u64) -> Result<()> {
        // SAFETY: as the table above says who writes what.
        unsafe { self.0.write(offset, &value.to_le_bytes()) }
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

    /// Adds one to a slot's count. What it was is written down first, so that it can be taken back whenever we die.
    fn add(&self, slot: u32) -> Result<()> {
        let at = TABLE + slot as usize * 32;
        let (done, count) = (self.get(UNDO)?, self.get(at)?);
        self.set(UNDO + 8 + done as usize * 8, slot)?;
        self.set(UNDO + 12 + done as usize * 8, count)?;
        self.set(UNDO, done + 1)?;
        self.set(at, count + 1)
    }

    /// Takes back the words of a line that was not finished; says how many.
    fn undo(&self) -> Result<u32> {
        let done = self.get(UNDO)?;
        for entry in (0..done as usize).rev() {
            let (slot, count) = (self.get(UNDO + 8 + entry * 8)?, self.get(UNDO + 12 + entry * 8)?);
            self.set(TABLE + slot as usize * 32, count)?;
        }
        self.set(UNDO, 0)?;
        Ok(done)
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

fn main() -> Result<()> {
    let number: u32 = std::env::args().nth(1).and_then(|n| n.parse().ok()).expect("usage: demo-worker NUMBER");
    let lines = Queue::open("lines")?;
    let region = Region::open("table")?;
    // SAFETY: the first 64 bytes are left to the mutex.
    let mutex = unsafe { Mutex::<()>::open_in(&region, 0) }?;
    let table = Table(region.view()?);
    let me = WORKERS + number as usize * 64;
    table.set(me, std::process::id())?;
    let (mut taken, mut counted) = (0u64, 0u64);
    loop {
        let message = match lines.recv() {
            Ok(message) => message,
            Err(Error::Closed) => return Ok(()),
            Err(error) => return Err(error),
        };
        let (line, text) = message.split_at(8);
        // SAFETY: as the table above says who writes what.
        unsafe { table.0.write(me + 24, line) }?;
        let words: Vec<_> = words(text).collect();

        let mut guard = mutex.lock()?;
        if guard.owner_died() {
            let repaired = table.undo()?;
            table.set(REPAIR, number)?;
            table.set(REPAIR + 4, repaired)?;
            table.set_long(REPAIR + 8, monotonic_ns())?;
            guard.mark_consistent();
        }
        for (done, (word, len)) in words.iter().enumerate() {
            if done > 0 && done == words.len() / 2 && table.get(VICTIM)? == number {
                table.set(HOLDING, 1)?;
                std::thread::sleep(Duration::from_secs(60)); // SIGKILL comes here.
            }
            table.add(table.slot(word, *len)?)?;
        }
        table.set(UNDO, 0)?; // The line is counted.
        drop(guard);

        taken += 1;
        counted += words.len() as u64;
        table.set_long(me + 8, taken)?;
        table.set_long(me + 16, counted)?;
    }
}
