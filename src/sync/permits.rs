//! The semaphore of permits: which process holds how many is written down, so that they come back when it dies.
//!
//! The truth is the table of holders: a permit is free if nobody holds it. `free` is a hint that saves adding up; whoever takes the
//! lock after a dead owner adds up anew. Each change is one store to the holder's own entry, under the lock. Those who find no
//! permit sleep on an event, and at the same time on the life words (`sync::life`) of all the holders, with `futex_waitv(2)` (Linux
//! 5.16; without it they look for dead holders at every [`lock::LOOK`]).
//!
//! # Why no wake-up is lost
//!
//! A holder that gives permits back notifies the event after it has released the lock. If it is killed in between, its life word wakes a
//! sleeper, since who gives back was a holder; that one sees that the process is gone, adds up anew, and wakes others for what is free.
//! For the rest the argument of `sync::lock` holds.

use std::ptr::null_mut;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::shm::Shared;
use crate::shm::layout::{Peer, PermitsLayout};
use crate::sync::life::{self, Life};
use crate::sync::lock::{self, Left, On};
use crate::sync::spin::Spin;
use crate::sys::futex::{self, Kind, Slept};
use crate::sys::process::Identity;
use crate::sys::thread::{Call, forks};
use crate::time::Deadline;

pub(crate) struct Permits {
    pub(crate) shared: Shared<PermitsLayout>,
    /// Where this process stands in the table: `forks()` in the upper half, the entry's number plus one in the lower.
    entry: AtomicU64,
    /// This process's life word beside the semaphore, once there is one, and `forks()` when it was made.
    life: AtomicPtr<Life>,
    life_forks: AtomicU32,
    spin: Spin,
}

/// How long a process that was killed may take to end, between the wake-up of those who watch its life word and its being gone.
const ENDING: Duration = Duration::from_millis(50);

impl Permits {
    pub(crate) fn new(shared: Shared<PermitsLayout>) -> Self {
        Self {
            shared,
            entry: AtomicU64::new(0),
            life: AtomicPtr::new(null_mut()),
            life_forks: AtomicU32::new(0),
            spin: Spin::new(),
        }
    }

    pub(crate) fn acquire(&self, deadline: Deadline) -> Result<()> {
        self.keep_life();
        let shared = &*self.shared;
        let call = Call::enter(&shared.holders.lock)?;
        let mut ending = None;
        loop {
            if self.with_lock(&call, deadline, |holder| {
                let free = shared.free.load(Relaxed);
                if free == 0 {
                    return Ok(false);
                }
                // die here: the permit is held by a dead process, from which it comes back.
                holder.value.store(holder.value.load(Relaxed) + 1, Relaxed);
                shared.free.store(free - 1, Relaxed);
                Ok(true)
            })? {
                return Ok(());
            }
            if self.take_from_the_dead(&call)? {
                continue;
            }
            deadline.left(lock::LOOK)?;
            call.turn_to(&shared.event);
            self.wait(deadline, &mut ending)?;
            call.turn_to(&shared.holders.lock);
        }
    }

    pub(crate) fn release(&self, count: u32) -> Result<()> {
        let shared = &*self.shared;
        let call = Call::enter(&shared.holders.lock)?;
        self.with_lock(&call, Deadline::Never, |holder| {
            let held = holder.value.load(Relaxed);
            let Some(rest) = held.checked_sub(count) else {
                return Err(Error::NotOwner("this process holds fewer permits than it gives back"));
            };
            // die here: the next who takes the lock adds up what is free.
            holder.value.store(rest, Relaxed);
            shared.free.store((shared.free.load(Relaxed) + count).min(shared.total.load(Relaxed)), Relaxed);
            Ok(())
        })?;
        // die here: our life word wakes a sleeper, who notices.
        call.turn_to(&shared.event);
        lock::notify(&shared.event, count);
        Ok(())
    }

    /// How many permits are held by no living process.
    pub(crate) fn free(&self) -> Result<u32> {
        let call = Call::enter(&self.shared.holders.lock)?;
        self.take_from_the_dead(&call)?;
        Ok(self.shared.free.load(Relaxed))
    }

    /// Does something to this process's entry, under the lock.
    fn with_lock<T>(&self, call: &Call, deadline: Deadline, act: impl FnOnce(&Peer) -> Result<T>) -> Result<T> {
        let holders = &self.shared.holders;
        self.lock(call, deadline)?;
        let result = self.my_entry().and_then(|entry| act(&holders.table[entry]));
        lock::release(call, &holders.lock);
        result
    }

    fn lock(&self, call: &Call, deadline: Deadline) -> Result<()> {
        if lock::acquire_brief(call, &self.shared.holders.lock, deadline)? == Left::Died {
            self.add_up();
        }
        Ok(())
    }

    /// Sets `free` to what is held by nobody. The caller holds the lock.
    fn add_up(&self) {
        let total = self.shared.total.load(Relaxed);
        let held = self.shared.holders.entries().iter().filter(|peer| peer.identity().is_some());
        let held = held.fold(0u32, |sum, peer| sum.saturating_add(peer.value.load(Relaxed)));
        self.shared.free.store(total.saturating_sub(held), Relaxed);
    }

    /// The number of this process's entry in the table. The caller holds the lock.
    fn my_entry(&self) -> Result<usize> {
        let (forks, table, me) = (forks(), self.shared.holders.entries(), Identity::mine());
        let cached = self.entry.load(Relaxed);
        if (cached >> 32) as u32 == forks
            && let Some(entry) = (cached as u32 as usize).checked_sub(1)
            && table.get(entry).is_some_and(|peer| peer.identity() == Some(me))
        {
            return Ok(entry);
        }
        let known = table.iter().position(|peer| peer.identity() == Some(me));
        let entry = match known {
            Some(entry) => entry,
            // The whole table has its memory from the start.
            None => self.shared.holders.join(
                0,
                |_| Ok(()),
                |dead| {
                    // die here: the next who takes the lock adds up what is free.
                    dead.value.store(0, Relaxed);
                    self.add_up();
                },
            )?,
        };
        self.entry.store(u64::from(forks) << 32 | (entry as u64 + 1), Relaxed);
        Ok(entry)
    }

    /// Frees the permits of processes that are gone; says whether there are some now. `call` is working on the lock, which is free.
    fn take_from_the_dead(&self, call: &Call) -> Result<bool> {
        let shared = &*self.shared;
        let mut found = false;
        for peer in shared.holders.entries() {
            let identity = peer.identity();
            if identity.is_none() || identity == Some(Identity::mine()) || !peer.is_gone() {
                continue;
            }
            // Asking took a while, and was done without the lock: is it still the same entry?
            self.lock(call, Deadline::Never)?;
            if peer.identity() == identity {
                found |= peer.value.load(Relaxed) != 0;
                // die here: the entry is still that of a dead process, who holds nothing.
                peer.value.store(0, Relaxed);
                peer.leave();
                self.add_up();
            }
            lock::release(call, &shared.holders.lock);
            if let (Some(home), Some(identity)) = (self.shared.home(), identity) {
                life::remove(&home.dir, identity);
            }
        }
        if found {
            call.turn_to(&shared.event);
            lock::notify(&shared.event, shared.free.load(Relaxed));
            call.turn_to(&shared.holders.lock);
        }
        Ok(found)
    }

    /// Sleeps until a permit may be free.
    fn wait(&self, deadline: Deadline, ending: &mut Option<Instant>) -> Result<()> {
        let shared = &*self.shared;
        let lives = self.lives();
        let look = std::cell::Cell::new(false);
        let change = || Ok((look.take() || shared.free.load(Relaxed) != 0).then_some(()));
        let sleep = |seen, time: Duration| {
            let mut words = vec![(&shared.event, seen)];
            for life in &lives {
                if let Some(word) = life.watch() {
                    words.push(word);
                    continue;
                }
                // Its thread has ended. The process will be gone in a moment, unless it has other threads.
                if ending.get_or_insert_with(Instant::now).elapsed() < ENDING {
                    look.set(true);
                    return futex::wait(&shared.event, seen, Kind::Change, time.min(Duration::from_millis(1)));
                }
            }
            let (slept, which) = futex::wait_any(&words, time)?;
            // A life word, or the time for a look: the caller asks who is gone.
            look.set(which != 0 || slept == Slept::TimedOut);
            if which != 0 {
                *ending = None;
            }
            Ok(slept)
        };
        lock::wait_for_change((On::Event, &shared.event), deadline, &self.spin, change, sleep)
    }

    /// The life words of those who hold permits now.
    fn lives(&self) -> Vec<Life> {
        let Some(home) = self.shared.home() else { return Vec::new() };
        let holders = self.shared.holders.entries().iter().filter(|peer| peer.value.load(Relaxed) != 0);
        let others = holders.filter_map(Peer::identity).filter(|&holder| holder != Identity::mine());
        others.filter_map(|holder| Life::of(&home.dir, holder)).collect()
    }

    /// Makes sure that others will notice at once when this process dies.
    #[inline]
    fn keep_life(&self) {
        // SAFETY: life words are made for good.
        let life = unsafe { self.life.load(Acquire).as_ref() };
        if self.life_forks.load(Relaxed) != forks() || life.is_none_or(|life| !life.is_armed()) {
            self.make_life();
        }
    }

    #[cold]
    fn make_life(&self) {
        // Without a life word those who wait look for themselves.
        let Some(Ok(life)) = self.shared.home().map(|home| Life::mine(home)) else { return };
        self.life_forks.store(forks(), Relaxed);
        // Release: with the Acquire in `keep_life`.
        self.life.store(std::ptr::from_ref(life).cast_mut(), Release);
    }
}
