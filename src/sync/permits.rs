//! The semaphore of permits: which process holds how many is written down, so that they come back when it dies.
//!
//! The truth is the table of holders: a permit is free if nobody holds it. `free` is a hint that saves adding up; whoever takes the
//! lock after a dead owner adds up anew. Each change is one store to the holder's own entry, under the lock.
//!
//! Beside each entry lies a *life word*: a robust lock word that a thread of the holder owns for good, so that the kernel marks it
//! and wakes who sleeps on it when that thread ends. Those who find no permit sleep on an event, and at the same time on the life
//! words of all the holders, with `futex_waitv(2)` (Linux 5.16; without it they look for dead holders at every [`lock::LOOK`]). The word is
//! a hint: whoever is woken by it asks whether the process is gone. A thread may end before its process does; then the next call of
//! another thread makes that one the owner.
//!
//! The lock is a quiet one (`sync::quiet`). Who gives permits back lets go of it by a read-modify-write in any case: before it
//! asks whether somebody sleeps on the event there must be one.
//!
//! # Why no wake-up is lost
//!
//! A holder that gives permits back notifies the event after it has released the lock. If it is killed in between, its life word wakes a
//! sleeper, since who gives back was a holder; that one sees that the process is gone, adds up anew, and wakes others for what is free.
//! For the rest the argument of `sync::lock` holds. `tests/models` tries this source.

use std::cell::Cell;
use std::sync::atomic::AtomicU32 as Private;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::shm::Shared;
use crate::shm::layout::{Counts, Peer, PermitsLayout};
use crate::sync::lock::{self, Left, On, TID, WAITERS};
use crate::sync::source::Source;
use crate::sync::spin::Spin;
use crate::sys::futex::{self, Kind, Slept};
use crate::sys::memory::Ordering::{Acquire, Relaxed, Release};
use crate::sys::memory::{AtomicU32, AtomicU64};
use crate::sys::process::{Identity, me};
use crate::sys::thread::{Call, forks, unlink_later};
use crate::time::Deadline;
use crate::time::Instant;

pub(crate) struct Permits {
    pub(crate) shared: Shared<PermitsLayout>,
    /// Where this process stands in the table: `forks()` in the upper half, the entry's number plus one in the lower.
    entry: AtomicU64,
    /// The thread whose robust list leads through this mapping, to the life word; 0: none.
    alive_as: AtomicU32,
    /// How often this handle has let go of the holders' lock since it became loud (`sync::quiet`), nobody having waited.
    calm: Private,
    spin: Spin,
}

/// How long a process that was killed may take to end, between the wake-up of those who watch its life word and its being gone.
pub(crate) const ENDING: Duration = Duration::from_millis(50);
/// How long to sleep meanwhile without a look.
pub(crate) const ENDING_LOOK: Duration = Duration::from_millis(1);

/// What whoever lets go of the lock does after that.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Nothing,
    /// Wakes those who wait for permits.
    Tell,
}

impl Permits {
    pub(crate) fn new(shared: Shared<PermitsLayout>) -> Self {
        Self { shared, entry: AtomicU64::new(0), alive_as: AtomicU32::new(0), calm: Private::new(0), spin: Spin::new() }
    }

    #[inline]
    pub(crate) fn acquire(&self, deadline: Deadline) -> Result<()> {
        if self.acquire_simply() && !self.shared.is_cut() { Ok(()) } else { self.acquire_in_any_case(deadline) }
    }

    /// Takes a permit if that is simple: one is free, nobody has the lock or waits for it, and this process has an entry. If not,
    /// nothing was done.
    #[inline]
    fn acquire_simply(&self) -> bool {
        let Some(call) = Call::enter_simply(&self.shared.holders.lock) else { return false };
        self.with_free_lock(&call, Then::Nothing, |entry| self.take(&call, entry))
    }

    #[cold]
    fn acquire_in_any_case(&self, deadline: Deadline) -> Result<()> {
        self.shared.checked(self.acquire_whole(deadline))
    }

    /// Takes a permit if one is free. The caller holds the lock.
    #[inline]
    fn take(&self, call: &Call<'_>, entry: usize) -> bool {
        let shared = &*self.shared;
        let (holder, free) = (&shared.holders.table[entry], shared.free.load(Relaxed));
        if free == 0 {
            return false;
        }
        self.keep_alive(call, entry);
        // die here: the permit is held by a dead process, from which it comes back.
        holder.value.store(holder.value.load(Relaxed) + 1, Relaxed);
        shared.free.store(free - 1, Relaxed);
        true
    }

    /// As `acquire`, if the semaphore's memory is there.
    fn acquire_whole(&self, deadline: Deadline) -> Result<()> {
        let shared = &*self.shared;
        let call = Call::enter(&shared.holders.lock)?;
        let mut ending = None;
        loop {
            if self.with_lock(&call, deadline, Then::Nothing, |entry| self.take(&call, entry))? {
                return Ok(());
            }
            if self.take_from_the_dead(&call, deadline)? {
                continue;
            }
            deadline.left(lock::LOOK)?;
            call.turn_to(&shared.event);
            self.wait(&call, deadline, &mut ending)?;
            call.turn_to(&shared.holders.lock);
        }
    }

    #[inline]
    pub(crate) fn release(&self, count: u32, deadline: Deadline) -> Result<()> {
        if self.release_simply(count) && !self.shared.is_cut() { Ok(()) } else { self.release_in_any_case(count, deadline) }
    }

    /// Gives permits back if that is simple, as in `acquire_simply`, and they are this process's. If not, nothing was done.
    #[inline]
    fn release_simply(&self, count: u32) -> bool {
        let Some(call) = Call::enter_simply(&self.shared.holders.lock) else { return false };
        let released = self.with_free_lock(&call, Then::Tell, |entry| self.give(entry, count));
        if released {
            self.tell(&call, count);
        }
        released
    }

    #[cold]
    fn release_in_any_case(&self, count: u32, deadline: Deadline) -> Result<()> {
        self.shared.checked(self.release_whole(count, deadline))
    }

    /// Gives back permits that this process has. The caller holds the lock.
    #[inline]
    fn give(&self, entry: usize, count: u32) -> bool {
        let (shared, holder) = (&*self.shared, &self.shared.holders.table[entry]);
        let Some(rest) = holder.value.load(Relaxed).checked_sub(count) else { return false };
        shared.free.store(shared.free.load(Relaxed).saturating_add(count).min(shared.total.load(Relaxed)), Relaxed);
        // die here: we still hold them, and the next who takes the lock adds up what is free.
        // Release: with the Acquire in `watch_lives`: who sees that we hold nothing sees what is free.
        holder.value.store(rest, Release);
        true
    }

    /// Wakes those who wait for permits that were given back. The lock is free.
    #[inline]
    fn tell(&self, call: &Call<'_>, count: u32) {
        // die here: our life word wakes a sleeper, who notices.
        call.turn_to(&self.shared.event);
        lock::notify(&self.shared.event, &self.shared.watched, count);
    }

    /// As `release`, if the semaphore's memory is there.
    fn release_whole(&self, count: u32, deadline: Deadline) -> Result<()> {
        let shared = &*self.shared;
        let call = Call::enter(&shared.holders.lock)?;
        let given = loop {
            match self.with_lock(&call, deadline, Then::Tell, |entry| self.give(entry, count)) {
                // The lock is held for a few instructions only: who gives back is not kept from it by a signal.
                Err(Error::Interrupted) if matches!(deadline, Deadline::Never) => {}
                result => break result?,
            }
        };
        if !given {
            return Err(Error::NotOwner("this process holds fewer permits than it gives back"));
        }
        self.tell(&call, count);
        Ok(())
    }

    /// How many permits are held by no living process.
    pub(crate) fn free(&self) -> Result<u32> {
        let call = Call::enter(&self.shared.holders.lock)?;
        self.shared.checked(self.take_from_the_dead(&call, Deadline::Now).map(|_| self.shared.free.load(Relaxed)))
    }

    /// Does something with this process's entry, whose number it is given, under the lock.
    fn with_lock<T>(&self, call: &Call<'_>, deadline: Deadline, then: Then, act: impl FnOnce(usize) -> T) -> Result<T> {
        self.lock(call, deadline)?;
        let result = self.my_entry().map(act);
        self.unlock(call, then);
        result
    }

    /// As `with_lock`, where nobody has the lock or waits for it, and the number is known; otherwise (false) nothing is done.
    #[inline]
    fn with_free_lock(&self, call: &Call<'_>, then: Then, act: impl FnOnce(usize) -> bool) -> bool {
        if !self.shared.quiet.try_acquire(call, &self.shared.holders.lock) {
            return false;
        }
        let done = self.known_entry().is_some_and(act);
        self.unlock(call, then);
        done
    }

    fn lock(&self, call: &Call<'_>, deadline: Deadline) -> Result<()> {
        if self.shared.quiet.acquire_brief(call, &self.shared.holders.lock, deadline)? == Left::Died {
            self.shared.counts.recovered(1, 1);
            self.add_up();
        }
        Ok(())
    }

    /// Lets go of the lock, and wakes those who wait for permits if they were added up anew.
    #[inline]
    fn unlock(&self, call: &Call<'_>, then: Then) {
        let shared = &*self.shared;
        let (owner, word) = (call.owner(), &shared.holders.lock);
        let added_up = shared.added_up.load(Relaxed) != 0;
        if !added_up && then == Then::Nothing {
            return shared.quiet.release((owner, word.load(Relaxed)), word, &self.calm);
        }
        let free = shared.free.load(Relaxed);
        if added_up {
            shared.added_up.store(0, Relaxed);
        }
        shared.quiet.release_fenced(owner, word, &self.calm);
        if added_up && free != 0 {
            // die here: a sleeper that was woken by the same death does as we did.
            call.turn_to(&shared.event);
            lock::notify(&shared.event, &shared.watched, free);
            call.turn_to(&shared.holders.lock);
        }
    }

    /// Sets `free` to what is held by nobody. The caller holds the lock.
    fn add_up(&self) {
        self.shared.added_up.store(1, Relaxed);
        let total = self.shared.total.load(Relaxed);
        let held = self.shared.holders.table.iter().filter(|peer| peer.identity().is_some());
        let held = held.fold(0u32, |sum, peer| sum.saturating_add(peer.value.load(Relaxed)));
        self.shared.free.store(total.saturating_sub(held), Relaxed);
    }

    /// The number of this process's entry in the table. The caller holds the lock.
    fn my_entry(&self) -> Result<usize> {
        if let Some(entry) = self.known_entry() {
            return Ok(entry);
        }
        let entry = match self.shared.holders.table.iter().position(is_mine) {
            Some(entry) => entry,
            None => self.join()?,
        };
        self.entry.store(u64::from(forks()) << 32 | (entry as u64 + 1), Relaxed);
        Ok(entry)
    }

    /// That number, if this handle knows it.
    #[inline]
    fn known_entry(&self) -> Option<usize> {
        let cached = self.entry.load(Relaxed);
        let entry = if (cached >> 32) as u32 == forks() { (cached as u32 as usize).checked_sub(1)? } else { return None };
        self.shared.holders.table.get(entry).is_some_and(is_mine).then_some(entry)
    }

    #[cold]
    fn join(&self) -> Result<usize> {
        let entry = self.shared.holders.join(me().identity, 0, is_gone, |dead| {
            // die here: the next who takes the lock adds up what is free.
            self.shared.counts.recovered(1, u64::from(dead.value.load(Relaxed) != 0));
            dead.value.store(0, Relaxed);
            self.add_up();
        })?;
        // A dead process may have left its life word before it was on the list.
        self.shared.lives[entry].word.fetch_and(WAITERS, Relaxed);
        Ok(entry)
    }

    /// Makes sure that a thread of this process owns the entry's life word. The caller holds the lock.
    #[inline]
    fn keep_alive(&self, call: &Call<'_>, entry: usize) {
        if self.shared.lives[entry].word.load(Relaxed) & TID == 0 {
            self.come_alive(call, entry);
        }
    }

    #[cold]
    fn come_alive(&self, call: &Call<'_>, entry: usize) {
        let word = &self.shared.lives[entry].word;
        call.unlink_strays();
        // One handle leads one thread's list through its mapping. Without a life word those who wait look for themselves.
        if self.alive_as.load(Relaxed) != 0 && !self.leave_life(call) || call.can_link().is_err() {
            return;
        }
        let seen = word.load(Relaxed);
        if seen & TID == 0 && word.compare_exchange(seen, call.tid() | seen & WAITERS, Relaxed, Relaxed).is_ok() {
            // die here: the word is not on the list, and those who wait look for themselves.
            self.alive_as.store(call.tid(), Relaxed);
            // SAFETY: the links are behind the word, which is not on a list; the mapping stays while it is (see `Drop`).
            unsafe { call.link(word) };
        }
    }

    /// Takes the life word off the list of the thread that has it there, if that is this thread or one that has ended.
    fn leave_life(&self, call: &Call<'_>) -> bool {
        let alive_as = self.alive_as.load(Relaxed);
        let cached = self.entry.load(Relaxed);
        if (cached >> 32) as u32 != forks() {
            // It was a thread of the parent's: in this process, nothing leads here.
            self.alive_as.store(0, Relaxed);
            return true;
        }
        let Some(life) = (cached as u32 as usize).checked_sub(1).and_then(|entry| self.shared.lives.get(entry)) else {
            return alive_as == 0;
        };
        let owner = life.word.load(Relaxed) & TID;
        if self.shared.is_cut() && alive_as != 0 && alive_as != call.tid() {
            // Nobody can tell whether that thread's list still leads here.
            std::mem::forget(self.shared.clone());
        } else if alive_as == call.tid() && (owner == alive_as || self.shared.is_cut()) {
            // SAFETY: `come_alive` linked it at this address, on this thread.
            if !unsafe { call.unlink(&life.word) } {
                std::mem::forget(self.shared.clone());
            }
            life.word.fetch_and(WAITERS, Relaxed);
        } else if owner != 0 {
            return false;
        }
        self.alive_as.store(0, Relaxed);
        true
    }

    /// Frees the permits of processes that are gone; says whether there are some now. `call` is working on the lock, which is free.
    fn take_from_the_dead(&self, call: &Call<'_>, deadline: Deadline) -> Result<bool> {
        let shared = &*self.shared;
        let mut found = false;
        for peer in &shared.holders.table {
            let identity = peer.identity();
            if !identity.is_some_and(is_gone) || is_mine(peer) {
                continue;
            }
            // Asking took a while, and was done without the lock: is it still the same entry?
            self.lock(call, deadline)?;
            if peer.identity() == identity {
                let holds = peer.value.load(Relaxed) != 0;
                found |= holds;
                shared.counts.recovered(1, u64::from(holds));
                // die here: the entry is still that of a dead process, who holds nothing.
                peer.value.store(0, Relaxed);
                peer.leave();
                self.add_up();
            }
            self.unlock(call, Then::Nothing);
        }
        Ok(found)
    }

    /// Sleeps until a permit may be free.
    fn wait(&self, call: &Call<'_>, deadline: Deadline, ending: &mut Option<Instant>) -> Result<()> {
        let shared = &*self.shared;
        let look = Cell::new(false);
        let change = || Ok((look.take() || shared.free.load(Relaxed) != 0).then_some(()));
        let sleep = |seen, time: Duration| {
            let mut words = vec![(&shared.event, seen)];
            if self.watch_lives(&mut words) && ending.get_or_insert_with(Instant::now).elapsed() < ENDING {
                look.set(true);
                return futex::wait(&shared.event, seen, Kind::Change, time.min(ENDING_LOOK));
            }
            let (slept, which) = futex::wait_any(&words, time)?;
            if which != 0 {
                *ending = None;
            }
            // A life word, or the time for a look: the caller asks who is gone.
            look.set(which != 0 || slept == Slept::TimedOut);
            Ok(slept)
        };
        lock::wait_for_change(self.event(), deadline, &self.spin, change, shared.counts.counting(call, sleep))
    }
}

/// Whether this is this process's entry.
fn is_mine(peer: &Peer) -> bool {
    peer.identity() == Some(me().identity)
}

/// Whether a holder is gone: all are of this process's pid namespace.
fn is_gone(holder: Identity) -> bool {
    holder.is_gone(me().namespace)
}

impl Source for Permits {
    fn event(&self) -> (On<'_>, &AtomicU32) {
        (On::Event { watched: &self.shared.watched }, &self.shared.event)
    }

    fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    fn ready(&self, closely: bool) -> bool {
        self.shared.free.load(Relaxed) != 0 || closely && self.free() != Ok(0) || self.shared.is_cut()
    }

    fn watch_lives<'a>(&'a self, words: &mut Vec<(&'a AtomicU32, u32)>) -> bool {
        let mut ended = false;
        for (peer, life) in self.shared.holders.table.iter().zip(&self.shared.lives) {
            // Acquire: with the Release in `give`.
            if peer.value.load(Acquire) == 0 || peer.identity().is_none() || is_mine(peer) {
                continue;
            }
            // die here: WAITERS without a waiter.
            let seen = life.word.fetch_or(WAITERS, Relaxed) | WAITERS;
            if seen & TID != 0 {
                words.push((&life.word, seen));
            } else {
                // Its process will be gone in a moment, unless it has other threads.
                ended = true;
            }
        }
        // Who was left out, and gave its permits back after the last look, may have died before it told anybody.
        ended || self.shared.free.load(Relaxed) != 0
    }
}

impl Drop for Permits {
    fn drop(&mut self) {
        if self.alive_as.load(Relaxed) == 0 {
            return;
        }
        let (cached, table) = (self.entry.load(Relaxed), &self.shared.holders.table);
        let mine = (cached as u32 as usize).checked_sub(1).and_then(|entry| table.get(entry));
        if (cached >> 32) as u32 == forks() && mine.is_some_and(|peer| peer.value.load(Relaxed) != 0) {
            // The process has permits still: others are to notice its death at once. The life word stays on the list, and mapped.
            std::mem::forget(self.shared.clone());
            return;
        }
        if Call::enter(&self.shared.holders.lock).is_ok_and(|call| self.leave_life(&call)) {
            return;
        }
        // Another thread's robust list leads through this mapping, which must stay until that thread takes the life word off.
        let keeps = self.shared.clone();
        let entry = (self.entry.load(Relaxed) as u32 as usize).checked_sub(1);
        match entry.and_then(|entry| self.shared.lives.get(entry)) {
            // SAFETY: `come_alive` linked it on that thread, at this address.
            Some(life) => unsafe { unlink_later(self.alive_as.load(Relaxed), &life.word, Box::new(keeps)) },
            None => std::mem::forget(keeps),
        }
    }
}
