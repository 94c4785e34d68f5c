//! Bias: a lock that has one user stays with it between its calls.
//!
//! Taking a lock and letting go of it are two atomic read-modify-writes, which on most machines cost more than all else that a
//! short message takes. So a thread that has taken a lock [`BIAS_AFTER`] times in a row, nobody having come between, does not let
//! go of it: the word is *biased* to it, which is its id with [`BIASED`]. In each call it says that it is `busy`, looks whether
//! the word is still so, works, says that it is not busy any more, and looks again: plain loads and stores, all of them.
//!
//! # How others take the lock, or sleep on its word
//!
//! Whoever comes sets WAITERS and calls [`barrier_everywhere`], which is a fence in the middle of whatever the user is doing.
//! From then on one of two things is true. Either the user was not busy, so that its next look will find WAITERS, and it will do
//! nothing before it has asked for the lock as all others do: then who came takes the word, by a compare-exchange. Or it is busy,
//! and that can be seen: then it will find WAITERS when it is done, let go of the lock, and wake who sleeps.
//!
//! A look of who sleeps for a *change* sees the change, or the user finds WAITERS after it has made it, by the same argument.
//!
//! # Why nobody takes it while the user is busy
//!
//! Who comes takes the word only if it is still as it was when it saw that the user was not busy: biased, with WAITERS. Nobody
//! takes WAITERS away from a word while it is biased, but the user, who ends the bias by that. Could it have been biased anew
//! since? Who comes to take it says so first (`is_shared`), and from then on it never is biased again: whoever biases it has held
//! the lock after that and sees it.
//!
//! # Why a death does no harm
//!
//! In a call the kernel knows the word (`list_op_pending`), and sees to it as to any lock's: the owner's id is there. Between
//! calls it does not, and the word stays as it is: others find that the user is not busy. A new thread that gets the dead one's
//! id finds itself to be the user, and nobody is busy. (In a process that does not obey barriers it asks for the lock as others
//! do.)
//!
//! For a death the kernel wakes who sleeps on a word only if that is the dying thread's or nobody's. A word that is biased to
//! another thread, which does nothing at the moment, is neither. So who changes what others wait for without owning the lock on
//! whose word they sleep (shutting down, blocks that change hands) sees to it first that it never is biased ([`Bias::end`],
//! `Store::end_biases`).
//!
//! `tests/models` tries this source, with a [`BIAS_AFTER`] of 0: the scenes "biased".

use crate::shm::layout::Bias;
use crate::sync::BIAS_AFTER;
use crate::sync::lock::{OWNER_DIED, TID, WAITERS};
use crate::sys::memory::Ordering::{Acquire, Relaxed, Release};
use crate::sys::memory::{AtomicU32, barrier_everywhere, light_barrier, obeys_barriers};
use crate::sys::thread::Call;

/// Beside an owner's id: the word is biased to it. (The bit means a death, or a generation, where there is no owner.)
const BIASED: u32 = OWNER_DIED;

/// Whether a word that was read so is biased.
#[inline]
pub(crate) fn is_biased(seen: u32) -> bool {
    seen & BIASED != 0 && seen & TID != 0
}

impl Bias {
    /// Takes the lock of `word` if it is biased to this thread, and nobody else wants anything of it.
    #[inline]
    pub(crate) fn enter(&self, call: &Call<'_>, word: &AtomicU32) -> bool {
        let mine = call.owner() | BIASED;
        if word.load(Relaxed) != mine || !obeys_barriers() {
            return false;
        }
        self.busy.store(1, Relaxed);
        // die here: as for any owner, the kernel sets OWNER_DIED.
        light_barrier();
        if word.load(Relaxed) == mine {
            return true;
        }
        // Release: as in `leave`, for what was done before.
        self.busy.store(0, Release);
        false
    }

    /// Lets go of the lock that [`Bias::enter`] took. False where others came meanwhile: then [`Bias::end_mine`] says whether it
    /// is this thread's still, as any other lock, or another's already.
    #[inline]
    pub(crate) fn leave(&self, call: &Call<'_>, word: &AtomicU32) -> bool {
        // Release: with the Acquire in `take`.
        self.busy.store(0, Release);
        // die here: as before, or another one takes the lock.
        light_barrier();
        word.load(Relaxed) == call.owner() | BIASED
    }

    /// Ends the bias of a word that is biased to this thread, which owns it then as any lock. False where another one has taken it.
    #[cold]
    pub(crate) fn end_mine(&self, call: &Call<'_>, word: &AtomicU32) -> bool {
        let biased = call.owner() | BIASED;
        loop {
            let seen = word.load(Relaxed);
            if seen & !WAITERS != biased {
                return false;
            }
            // Acquire: with the Release in `announce`: `is_shared` is seen from now on.
            if word.compare_exchange(seen, seen & !BIASED, Acquire, Relaxed).is_ok() {
                // Others come often, perhaps: it is worth a bias again when they have not for a while.
                self.times.store(0, Relaxed);
                return true;
            }
        }
    }

    /// Whether the lock, which this thread holds and is about to let go of, is biased to it from here on; then that was all.
    #[inline]
    pub(crate) fn begin(&self, call: &Call<'_>, word: &AtomicU32) -> bool {
        if self.is_shared.load(Relaxed) != 0 || !call.is_seen() || !obeys_barriers() {
            return false;
        }
        let me = call.owner();
        if self.last.load(Relaxed) != me {
            self.last.store(me, Relaxed);
            self.times.store(0, Relaxed);
        }
        let times = self.times.load(Relaxed);
        if times != BIAS_AFTER {
            self.times.store(times.wrapping_add(1), Relaxed);
            return false;
        }
        self.begin_now(call, word)
    }

    #[cold]
    fn begin_now(&self, call: &Call<'_>, word: &AtomicU32) -> bool {
        self.busy.store(0, Relaxed);
        // Release: with the barrier in `take`, and the fences of those who look, for what was done under the lock, and `busy`.
        word.compare_exchange(call.owner(), call.owner() | BIASED, Release, Relaxed).is_ok()
        // die here: it is biased to nobody.
    }

    /// Sees to it that the word is never biased from here on, if it is not now. True where it may be, or where who holds it now
    /// may be about to bias it: then it never is once the caller has held the lock.
    pub(crate) fn end(&self) -> bool {
        self.is_shared.store(1, Relaxed);
        // die here: whoever takes the lock next ends the bias.
        self.last.load(Relaxed) != 0
    }

    /// Says that another thread wants the lock of a word that was `seen` biased; gives what the word is then, unless it is biased
    /// to nobody or another one.
    fn announce(&self, word: &AtomicU32, seen: u32) -> Option<u32> {
        self.is_shared.store(1, Relaxed);
        // Release: with the Acquire in `end_mine`. (What was done under the lock is seen after the barrier.)
        let before = word.fetch_or(WAITERS, Release);
        // die here: WAITERS without a waiter ends the bias.
        (before & !WAITERS == seen & !WAITERS).then_some(before | WAITERS)
    }

    /// Puts `next` in the place of a word that was `seen` biased to another thread, if that is not busy: false where it is, or
    /// the word has changed.
    #[cold]
    pub(crate) fn take(&self, word: &AtomicU32, seen: u32, next: u32) -> bool {
        let Some(seen) = self.announce(word, seen) else { return false };
        barrier_everywhere();
        // Acquire: with the Release in `leave`.
        self.busy.load(Acquire) == 0 && word.compare_exchange(seen, next, Relaxed, Relaxed).is_ok()
    }
}
