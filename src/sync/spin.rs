//! Waiting a moment for what is about to happen, before paying for a sleep.
//!
//! A sleep and its wake-up cost some tens of microseconds, a message that is on its way arrives in a tenth of one. So it
//! pays to look again for about as long as a sleep would cost, where waits have been short lately; and to hardly look where they
//! have been long, so that waiting costs no processor time. Never on a single processor: whom we wait for could not run.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::sys::process::has_one_cpu;

/// The longest and the shortest time to look for, in nanoseconds: about the cost of a sleep, and of a message between two processors.
const LONGEST: u32 = 50_000;
const SHORTEST: u32 = 1_000;
/// Every so many waits the longest time is tried: waits may have become short again.
const TRY_AGAIN: u32 = 16;
/// So many looks are between two looks at the clock.
const LOOKS: u32 = 32;

/// What the last waits of one kind taught. Lost updates between threads do no harm.
pub(crate) struct Spin {
    limit: AtomicU32,
    waits: AtomicU32,
    one_cpu: AtomicU32,
}

impl Spin {
    pub(crate) const fn new() -> Self {
        Self { limit: AtomicU32::new(LONGEST), waits: AtomicU32::new(0), one_cpu: AtomicU32::new(0) }
    }

    /// Looks until `done` says true, or not for longer than is worth it, and no longer than `most`. Says whether it did.
    pub(crate) fn until(&self, most: Duration, mut done: impl FnMut() -> bool) -> bool {
        let waits = self.waits.load(Relaxed).wrapping_add(1);
        self.waits.store(waits, Relaxed);
        if waits % 64 == 1 {
            self.one_cpu.store(u32::from(has_one_cpu()), Relaxed);
        }
        if self.one_cpu.load(Relaxed) != 0 {
            return false;
        }
        // A look at the clock takes longer than the shortest waits do.
        let mut start = None;
        loop {
            for _ in 0..LOOKS {
                if done() {
                    let took = start.map_or(0, |start: Instant| u32::try_from(start.elapsed().as_nanos()).unwrap_or(LONGEST));
                    self.limit.store(took.saturating_mul(4).clamp(SHORTEST * 4, LONGEST), Relaxed);
                    return true;
                }
                spin_loop();
            }
            let limit = if waits.is_multiple_of(TRY_AGAIN) { LONGEST } else { self.limit.load(Relaxed) };
            if start.get_or_insert_with(Instant::now).elapsed() >= most.min(Duration::from_nanos(limit.into())) {
                self.limit.store((self.limit.load(Relaxed) / 2).max(SHORTEST), Relaxed);
                return false;
            }
        }
    }
}
