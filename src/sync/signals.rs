//! The signalling semaphore: a count that anybody may raise, and an event to sleep on while it is 0.
//!
//! Taking a unit is one compare-and-swap of the count, giving one is one addition; nothing is held meanwhile, so a death leaves nothing
//! to repair. That no wake-up is lost, and what happens when a process dies in between, is shown in `sync::lock`, and tried
//! by `tests/models`.

use crate::error::{Error, Result};
use crate::shm::Shared;
use crate::shm::layout::{Counts, SemaphoreLayout};
use crate::sync::lock::{self, On};
use crate::sync::semaphore::MAX_VALUE;
use crate::sync::source::Source;
use crate::sync::spin::Spin;
use crate::sys::futex::{self, Kind};
use crate::sys::memory::AtomicU32;
use crate::sys::memory::Ordering::{Acquire, Relaxed, Release};
use crate::sys::thread::Call;
use crate::time::Deadline;

pub(crate) struct Signals {
    pub(crate) shared: Shared<SemaphoreLayout>,
    spin: Spin,
}

impl Signals {
    pub(crate) fn new(shared: Shared<SemaphoreLayout>) -> Self {
        Self { shared, spin: Spin::new() }
    }

    #[inline]
    fn take(&self) -> bool {
        let value = &self.shared.value;
        let mut seen = value.load(Relaxed);
        while seen != 0 {
            // Acquire: with the Release in `release`, for what was done before it.
            match value.compare_exchange_weak(seen, seen - 1, Acquire, Relaxed) {
                // die here: the unit is taken; of those given out by signalling none come back.
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    #[inline]
    pub(crate) fn acquire(&self, deadline: Deadline) -> Result<()> {
        if self.take() && !self.shared.is_cut() { Ok(()) } else { self.acquire_in_any_case(deadline) }
    }

    #[cold]
    fn acquire_in_any_case(&self, deadline: Deadline) -> Result<()> {
        self.shared.checked(self.acquire_slow(deadline))
    }

    #[cold]
    fn acquire_slow(&self, deadline: Deadline) -> Result<()> {
        let event = &self.shared.event;
        let call = Call::enter(event)?;
        let take = || Ok(self.take().then_some(()));
        let sleep = |seen, time| futex::wait(event, seen, Kind::Change, time);
        lock::wait_for_change(self.event(), deadline, &self.spin, take, self.shared.counts.counting(&call, sleep))
    }

    #[inline]
    pub(crate) fn release(&self, count: u32) -> Result<()> {
        if Call::enter_simply(&self.shared.event).is_some_and(|call| self.give(&call, count)) && !self.shared.is_cut() {
            return Ok(());
        }
        self.release_in_any_case(count)
    }

    #[cold]
    fn release_in_any_case(&self, count: u32) -> Result<()> {
        let given = self.give(&Call::enter(&self.shared.event)?, count);
        let too_many = || Error::LimitReached(format!("the semaphore's value would exceed {MAX_VALUE}"));
        self.shared.checked(if given { Ok(()) } else { Err(too_many()) })
    }

    /// Gives units, unless the value would be too high. The call works on the event.
    #[inline]
    fn give(&self, _call: &Call<'_>, count: u32) -> bool {
        let shared = &*self.shared;
        let mut seen = shared.value.load(Relaxed);
        loop {
            let Some(more) = seen.checked_add(count).filter(|&more| more <= MAX_VALUE) else { return false };
            // Release: with the Acquire in `take`.
            match shared.value.compare_exchange_weak(seen, more, Release, Relaxed) {
                Ok(_) => break,
                Err(now) => seen = now,
            }
        }
        // die here: the units are there, and the event is pending, so the kernel wakes one sleeper, who wakes the next.
        lock::notify(&shared.event, &shared.watched, count);
        true
    }
}

impl Source for Signals {
    fn event(&self) -> (On<'_>, &AtomicU32) {
        (On::Event { watched: &self.shared.watched }, &self.shared.event)
    }

    fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    fn ready(&self, _closely: bool) -> bool {
        self.shared.value.load(Relaxed) != 0 || self.shared.is_cut()
    }
}
