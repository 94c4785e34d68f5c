//! The limits of the machine: what can be had without any safety.

use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Release};

use anyhow::Result;

use crate::channel::{BATCH, Batches, Channel};
use crate::peers::rsipc::CAPACITY;
use crate::processes::{Cpus, Measured, Role, Shared, Turn, now, processes, shared};

/// Alone on its cache line, and on the one beside it, which processors fetch along.
#[repr(C, align(128))]
struct Line<T>(T);

/// A ring for one sender and one receiver that spin, with a sequence number on the line of each payload, and without any safety.
pub struct BareRing<const N: usize>(Shared<Slots<N>>);

#[repr(C)]
struct Slots<const N: usize> {
    /// How many messages the receiver has taken.
    taken: Line<AtomicU64>,
    slots: [Slot<N>; CAPACITY],
}

#[repr(C, align(64))]
struct Slot<const N: usize> {
    /// How many messages were sent when this one was.
    sequence: AtomicU64,
    payload: UnsafeCell<[u8; N]>,
}

// SAFETY: the payload is reached by the sender until the sequence number says that it is sent, and then by the receiver until `taken` does.
unsafe impl<const N: usize> Sync for Slot<N> {}

impl<const N: usize> BareRing<N> {
    pub fn new() -> Self {
        // SAFETY: zeros are numbers and bytes.
        Self(unsafe { shared() })
    }
}

impl<const N: usize> Channel<N> for BareRing<N> {
    fn sender(&self) -> impl FnMut(&[u8; N]) {
        let ring = &*self.0;
        let (mut sent, mut taken) = (0, 0);
        move |message| {
            while sent - taken == CAPACITY as u64 {
                // Acquire: with the receiver's release, after it copied the payload.
                taken = ring.taken.0.load(Acquire);
                spin_loop();
            }
            let slot = &ring.slots[sent as usize % CAPACITY];
            // SAFETY: the receiver has taken what was in it.
            unsafe { *slot.payload.get() = *message };
            sent += 1;
            // Release: with the receiver's acquire.
            slot.sequence.store(sent, Release);
        }
    }

    fn receiver(&self) -> impl FnMut(&mut [u8; N]) {
        let ring = &*self.0;
        let mut taken = 0;
        move |buffer| {
            let slot = &ring.slots[taken as usize % CAPACITY];
            taken += 1;
            // Acquire: with the sender's release.
            while slot.sequence.load(Acquire) != taken {
                spin_loop();
            }
            // SAFETY: it was sent.
            *std::hint::black_box(&mut *buffer) = unsafe { *slot.payload.get() };
            // Release: with the sender's acquire.
            ring.taken.0.store(taken, Release);
        }
    }
}

/// A ring for one sender and one receiver that spin, of payloads alone, which are published a batch at a time.
pub struct BareBatches<const N: usize>(Shared<Payloads<N>>);

#[repr(C)]
struct Payloads<const N: usize> {
    sent: Line<AtomicU64>,
    taken: Line<AtomicU64>,
    payloads: Line<UnsafeCell<[[u8; N]; CAPACITY]>>,
}

// SAFETY: a payload is reached by the sender until `sent` says that it is there, and then by the receiver until `taken` does.
unsafe impl<const N: usize> Sync for Payloads<N> {}

impl<const N: usize> BareBatches<N> {
    pub fn new() -> Self {
        // SAFETY: zeros are numbers and bytes.
        Self(unsafe { shared() })
    }

    /// Where the message is that is sent after so many.
    fn at(&self, sent: u64) -> *mut [u8; N] {
        let first: *mut [u8; N] = self.0.payloads.0.get().cast();
        // SAFETY: it is in the ring.
        unsafe { first.add(sent as usize % CAPACITY) }
    }
}

impl<const N: usize> Batches<N> for BareBatches<N> {
    fn sender(&self) -> impl FnMut(&[[u8; N]; BATCH]) {
        let (mut sent, mut taken) = (0, 0);
        move |messages| {
            while sent - taken > (CAPACITY - BATCH) as u64 {
                // Acquire: with the receiver's release, after it copied the payloads.
                taken = self.0.taken.0.load(Acquire);
                spin_loop();
            }
            // SAFETY: the receiver has taken what was there, and batches end where the ring does.
            unsafe { self.at(sent).copy_from(messages.as_ptr(), BATCH) };
            sent += BATCH as u64;
            // Release: with the receiver's acquire.
            self.0.sent.0.store(sent, Release);
        }
    }

    fn receiver(&self) -> impl FnMut() -> usize {
        let (mut taken, mut buffer) = (0, [[0; N]; BATCH]);
        move || {
            // Acquire: with the sender's release.
            while self.0.sent.0.load(Acquire) == taken {
                spin_loop();
            }
            // SAFETY: a batch was sent, and batches end where the ring does.
            unsafe { self.at(taken).copy_to(buffer.as_mut_ptr(), BATCH) };
            std::hint::black_box(&mut buffer);
            taken += BATCH as u64;
            // Release: with the sender's acquire.
            self.0.taken.0.store(taken, Release);
            BATCH
        }
    }
}

/// One cache line that two processes write in turn.
pub fn bounce(count: u64) -> Result<Measured> {
    // SAFETY: zero is a number.
    let line = unsafe { shared::<Line<AtomicU64>>() };
    in_turn(Cpus::Any, count, |mine, i| {
        while line.0.load(Acquire) != 2 * i + mine {
            spin_loop();
        }
        line.0.store(2 * i + mine + 1, Release);
    })
}

/// One futex word that two processes write in turn, asleep meanwhile.
pub fn futex(count: u64) -> Result<Measured> {
    // SAFETY: zero is a number.
    let word = unsafe { shared::<Line<AtomicU32>>() };
    in_turn(Cpus::Bound, count, |mine, i| {
        let mine = (2 * i + mine) as u32;
        loop {
            let seen = word.0.load(Acquire);
            if seen == mine {
                break;
            }
            // SAFETY: the word is mapped; a call without a timeout uses no more arguments.
            unsafe {
                libc::syscall(libc::SYS_futex, word.0.as_ptr(), libc::FUTEX_WAIT, seen, std::ptr::null::<libc::timespec>())
            };
        }
        word.0.store(mine.wrapping_add(1), Release);
        // SAFETY: the word is mapped.
        unsafe { libc::syscall(libc::SYS_futex, word.0.as_ptr(), libc::FUTEX_WAKE, 1) };
    })
}

/// Two processes that take turns: `step(0, i)` and `step(1, i)` wait for the other's, and let it go on.
fn in_turn(cpus: Cpus, count: u64, step: impl Fn(u64, u64) + Sync) -> Result<Measured> {
    let singles = (count / 8).clamp(1, 4000);
    let step = &step;
    let role = |mine: u64| {
        move |turn: &Turn| {
            turn.measure(|| {
                (0..count).for_each(|i| step(mine, i));
                if mine == 0 { count } else { 0 }
            });
            turn.beside(|| {
                // A round trip goes from one of our steps to the next.
                let mut last = None;
                for i in count..=count + singles {
                    step(mine, i);
                    let this = now();
                    if let (0, Some(last)) = (mine, last.replace(this)) {
                        turn.sample(this - last);
                    }
                }
            });
        }
    };
    processes(cpus, &[Role::new("the one", role(0)), Role::new("the other", role(1))])
}

/// Blocks of shared memory, into and out of which one copies, without a word to anybody.
pub struct Blocks<const N: usize>(Shared<[Block<N>; BLOCKS]>);

/// How many blocks there are.
pub const BLOCKS: usize = 16;

struct Block<const N: usize>(UnsafeCell<[u8; N]>);

// SAFETY: who uses them takes turns.
unsafe impl<const N: usize> Sync for Block<N> {}

impl<const N: usize> Blocks<N> {
    pub fn new() -> Self {
        // SAFETY: zeros are bytes.
        Self(unsafe { shared() })
    }
}

impl<const N: usize> Channel<N> for Blocks<N> {
    fn sender(&self) -> impl FnMut(&[u8; N]) {
        let mut next = (0..BLOCKS).cycle();
        move |message| {
            let block = self.0[next.next().expect("it is endless")].0.get();
            // SAFETY: the receiver waits meanwhile.
            unsafe { block.copy_from(message, 1) };
        }
    }

    fn receiver(&self) -> impl FnMut(&mut [u8; N]) {
        let mut next = (0..BLOCKS).cycle();
        move |buffer| {
            let block = self.0[next.next().expect("it is endless")].0.get();
            // SAFETY: the sender waits meanwhile.
            unsafe { block.copy_to(buffer, 1) };
            std::hint::black_box(buffer);
        }
    }
}
