//! Quiet locks: letting go of a lock by a plain store while nobody has slept on its word for a while.
//!
//! To let go of a lock one has to find out whether somebody sleeps on its word, in the same step: a read-modify-write, which
//! takes a third of the time that a lock and its unlock take. A *quiet* lock's owner stores 0, and looks afterwards whether
//! somebody has *asked* for a wake-up meanwhile. Both are plain; it is the one who wants to sleep that pays for it, once, by
//! [`barrier_everywhere`]. From then on the lock is *loud*, and all let go of it by a compare-exchange (`lock::release`), until
//! an owner finds that it has been calm for a while.
//!
//! `turn` says how the lock is: each step to the next stage (quiet, asked, loud, and quiet again) adds to it, so that no value
//! comes back. `heard` is what the last who took the lock found there: it alone writes it, and lets go in the way that this says.
//!
//! # Why no wake-up is lost
//!
//! Who is about to sleep has set WAITERS in the word, sees to it that the lock is loud ([`Quiet::ask`]), and sleeps if the kernel
//! finds the word as it was with WAITERS. An owner that heard that the lock is loud finds WAITERS, as in `sync::lock`. One that
//! heard that it is quiet looks at the word, stores 0 if there is no WAITERS, and looks at `turn`. If the store has overwritten
//! WAITERS, it came after the look of the kernel, so after the barrier; then the look at `turn` came after the barrier, too, and
//! finds that somebody has asked. The owner sets WAITERS again, and wakes.
//!
//! A lock becomes quiet again by who holds it: it says so in `turn`, and lets go by a compare-exchange. If WAITERS was set before
//! that, this finds it. Whoever sets it later finds the new `turn`, and asks.
//!
//! # Why a death does no harm
//!
//! The owner may die after its store, before it wakes. If the lock is free then, the kernel wakes a sleeper. If another one has
//! taken it, that one saw that `turn` is not what was heard before it: by the argument above somebody has asked before the store,
//! or nobody sleeps. So it sets WAITERS itself ([`Quiet::heed`]), and wakes when it lets go. (An owner that is stopped there, and
//! a second one that is killed before it has set WAITERS: then the sleeper looks by itself, after `lock::LOOK`.)
//!
//! `tests/models` tries this source, with a [`QUIET_AFTER`] of 1: the scenes "quiet lock".

use std::sync::atomic::AtomicU32 as Private;

use crate::error::Result;
use crate::shm::layout::{Holder, Quiet};
use crate::sync::QUIET_AFTER;
use crate::sync::lock::{self, Beside, Left, WAITERS};
use crate::sys::memory::Ordering::{Acquire, Relaxed, Release};
use crate::sys::memory::{AtomicU32, barrier_everywhere, light_barrier, obeys_barriers};
use crate::sys::thread::Call;
use crate::time::Deadline;

/// The stage is in the lower two bits of `turn`. In this one owners let go by a plain store.
const QUIET: u32 = 0;
/// Somebody is about to sleep, and owners may not know yet.
const ASKED: u32 = 1;
/// All owners know.
const LOUD: u32 = 2;
const STAGE: u32 = 3;
/// From LOUD to QUIET.
const NEXT: u32 = 2;

impl Quiet {
    /// How a new lock is: loud. Who still waits for its creator to let go of it has not asked.
    pub(crate) fn begin(&self) {
        self.turn.store(LOUD, Relaxed);
        self.heard.store(LOUD, Relaxed);
    }

    /// Takes the lock of `word`, as [`lock::acquire`]. `holder`: where it says there whose thread has it.
    ///
    /// # Errors
    ///
    /// As [`lock::acquire`].
    #[inline]
    pub(crate) fn acquire(&self, call: &Call<'_>, word: &AtomicU32, holder: Option<&Holder>, deadline: Deadline) -> Result<Left> {
        let left = lock::acquire_asking(call, word, (self, holder), deadline)?;
        self.heed(word);
        Ok(left)
    }

    /// As [`lock::acquire_brief`].
    ///
    /// # Errors
    ///
    /// As there.
    #[inline]
    pub(crate) fn acquire_brief(&self, call: &Call<'_>, word: &AtomicU32, deadline: Deadline) -> Result<Left> {
        let left = lock::acquire_brief(call, word, Beside::Quiet(self, None), deadline)?;
        self.heed(word);
        Ok(left)
    }

    /// As [`lock::try_acquire`].
    #[inline]
    pub(crate) fn try_acquire(&self, call: &Call<'_>, word: &AtomicU32) -> bool {
        let taken = lock::try_acquire(call, word);
        if taken {
            self.heed(word);
        }
        taken
    }

    /// What is the first thing to do for who has taken the lock: hears how it is.
    #[inline]
    fn heed(&self, word: &AtomicU32) {
        if self.turn.load(Relaxed) != self.heard.load(Relaxed) {
            self.heed_slow(word);
        }
    }

    #[cold]
    fn heed_slow(&self, word: &AtomicU32) {
        let turn = self.turn.load(Relaxed);
        // Who has asked may sleep, and the owner before us may have overwritten its WAITERS and be dead.
        word.fetch_or(WAITERS, Relaxed);
        // die here: OWNER_DIED, one sleeper woken.
        self.heard.store(turn, Relaxed);
    }

    /// Lets go of the lock of `word`, which this thread holds as `owner`, which was `seen` since then, and on which nobody sleeps
    /// for a change. The call works on it. `calm`: how often this process has let go of it since it became loud, nobody having
    /// waited.
    #[inline]
    pub(crate) fn release(&self, (owner, seen): (u32, u32), word: &AtomicU32, calm: &Private) {
        let heard = self.heard.load(Relaxed);
        if heard & STAGE != QUIET || seen != owner || !obeys_barriers() {
            return self.release_loud(owner, word, heard, calm);
        }
        // Release: with the Acquire of `lock::acquire`.
        word.store(0, Release);
        // die here: the kernel wakes a sleeper, or who has taken the lock meanwhile does when it lets go.
        light_barrier();
        if self.turn.load(Relaxed) != heard {
            Self::wake(word);
        }
    }

    /// As [`Quiet::release`], by a read-modify-write however the lock is: for who goes on to wake those who sleep on another word
    /// (`lock::notify`).
    #[inline]
    pub(crate) fn release_fenced(&self, owner: u32, word: &AtomicU32, calm: &Private) {
        let heard = self.heard.load(Relaxed);
        if heard & STAGE == QUIET { lock::release_as(owner, word) } else { self.release_loud(owner, word, heard, calm) }
    }

    /// Somebody has asked while the lock was let go of: its WAITERS may have been overwritten.
    #[cold]
    fn wake(word: &AtomicU32) {
        word.fetch_or(WAITERS, Relaxed);
        // die here: as in `lock::release_slow`, or who has taken the lock finds WAITERS.
        lock::wake_one(word);
    }

    #[inline(never)]
    fn release_loud(&self, owner: u32, word: &AtomicU32, heard: u32, calm: &Private) {
        if word.load(Relaxed) != owner {
            calm.store(0, Relaxed);
        } else if heard & STAGE == LOUD && obeys_barriers() {
            let times = calm.load(Relaxed).wrapping_add(1);
            if times < QUIET_AFTER {
                calm.store(times, Relaxed);
            } else {
                calm.store(0, Relaxed);
                self.turn.store(heard.wrapping_add(NEXT), Relaxed);
                // die here: the next owner heeds it.
                self.heard.store(heard.wrapping_add(NEXT), Relaxed);
            }
        }
        // Its Release: with the Acquire in `ask`, for `turn`.
        lock::release_as(owner, word);
    }

    /// What who is about to sleep on the word does after it has set WAITERS there, or has found it: from here on owners find it,
    /// or that somebody has asked.
    pub(crate) fn ask(&self, word: &AtomicU32) {
        // Acquire: with the Release in `lock::release`, for `turn`.
        word.load(Acquire);
        // The barrier of who made it loud came before that, and the kernel looks at the word after this.
        let turn = self.turn.load(Relaxed);
        if turn & STAGE != LOUD {
            self.ask_now(turn);
        }
    }

    #[cold]
    fn ask_now(&self, mut turn: u32) {
        while turn & STAGE == QUIET {
            match self.turn.compare_exchange(turn, turn + ASKED, Relaxed, Relaxed) {
                // die here: all let go by compare-exchange, and the next who asks goes on.
                Ok(_) => turn += ASKED,
                Err(now) => turn = now,
            }
        }
        // With the `light_barrier` in `release`.
        barrier_everywhere();
        if turn & STAGE == ASKED {
            let _ = self.turn.compare_exchange(turn, turn + (LOUD - ASKED), Relaxed, Relaxed);
        }
    }
}
