//! Whose thread has a mutex: written beside its word by those threads whose exec the kernel does not see to.
//!
//! When a process calls exec the kernel ends all its threads but the one that calls, which gets the first one's id before the kernel
//! looks at its words. If it was the first, all is well. If not, the words hold an id then that is nobody's, and may be given to any
//! thread. Who waits asks whether anybody has it (`lock::take_from_the_gone`); once somebody has, only this record tells that the mutex
//! is not that one's.
//!
//! The record names the owner's id and its program. A thread that is not its process's first writes it when it has taken the mutex, and
//! clears it before it lets go. All others leave it alone. So none costs nothing, and means that nothing is known: the owner counts as
//! alive.
//!
//! # Why no living owner loses the mutex
//!
//! *A record is a thread's own.* One that names an id was written by a thread of that id, while it owned the word. Who finds that the
//! program has no thread of this id, or is over, has found that the writer is gone. It remains to be seen that the word is the writer's
//! still, and not that of a later thread with its id. A record goes before its writer's release. If the word became OWNER_DIED
//! instead, who takes it clears the record: afterwards, but one whose own id the record has, *before*
//! ([`Holder::forget_namesake`]). So a later owner's word with the id comes with no record, or with its own.
//!
//! *One takes it.* Several may have found the same. So who wants to take the word puts a *claim* in the place of the record, by a
//! compare-exchange, and looks once more: if the word has the id still, and the record is the claim, then nobody has taken it between.
//! While the claimant's program goes on nobody else claims it.
//!
//! What is left is what is left for every such word: who has looked, and is about to exchange the word, while the id is given to one
//! thread after the other, of which the last takes this very mutex at once.

use crate::shm::layout::Holder;
use crate::sync::lock::TID;
use crate::sys::memory::Ordering::{Acquire, Relaxed, Release};
use crate::sys::memory::{AtomicU32, fence};
use crate::sys::process::{ThreadOf, me};
use crate::sys::thread::Call;

/// Beside an owner's id: the program is that of one that is about to take the word from it.
const CLAIM: u64 = 1 << 63;

impl Holder {
    /// What who has taken the lock does at last.
    #[inline]
    pub(crate) fn note(&self, call: &Call<'_>) {
        if let Some(thread) = call.loses_its_id() {
            // Release: as in `clear`.
            self.thread.store(thread.0, Release);
            // die here: OWNER_DIED; or exec: who waits takes it.
        }
    }

    /// What who is about to let go of the lock does first. The release that follows is a Release, with the Acquire in `claim`.
    #[inline]
    pub(crate) fn forget(&self, call: &Call<'_>) {
        if call.loses_its_id().is_some() {
            self.clear();
            // die here: OWNER_DIED.
        }
    }

    /// As [`Holder::forget`], of who has taken it from the dead.
    pub(crate) fn clear(&self) {
        // Release: with the Acquire in `is_this_thread`: the word is ours.
        self.thread.store(0, Release);
    }

    /// What who is about to take a word as `owner` does first, if that is OWNER_DIED: the record of an owner that had its id is not its
    /// own, and nor is a claim to that one's word.
    pub(crate) fn forget_namesake(&self, owner: u32) {
        let mut seen = self.thread.load(Relaxed);
        while ThreadOf(seen & !CLAIM).tid() == owner {
            match self.thread.compare_exchange(seen, 0, Relaxed, Relaxed) {
                // Nobody writes it anew: claims are to what is there.
                Ok(_) => break,
                Err(now) => seen = now,
            }
        }
        // Before the word is taken: with the Acquires in `claim`.
        fence(Release);
    }

    /// Whether this thread, whose id `owner` is, is the owner in `word`, and not one that had the id before.
    pub(crate) fn is_this_thread(&self, word: &AtomicU32, owner: u32) -> bool {
        let is_owner = || word.load(Relaxed) & TID == owner;
        if !is_owner() {
            return false;
        }
        // Acquire: with the Release in `clear`, for the word.
        let seen = self.thread.load(Acquire);
        let is_namesake = ThreadOf(seen & !CLAIM).tid() == owner && seen != ThreadOf::new(owner, me().identity).0;
        // If another one has taken it from a namesake meanwhile, the word was changed before the record was cleared.
        !is_namesake && is_owner()
    }

    /// Whether it says whose thread the owner is that stands in a word as `owner`.
    pub(crate) fn names(&self, owner: u32) -> bool {
        ThreadOf(self.thread.load(Relaxed) & !CLAIM).tid() == owner
    }

    /// Whether the `owner` in `word`, which the record names, is gone, whoever has its id now. Then it is the caller's to take the
    /// word from it, at once.
    pub(crate) fn claim(&self, call: &Call<'_>, word: &AtomicU32, owner: u32) -> bool {
        // Acquire: with the Release of who let go of it last, and the fence in `forget_namesake`: what they cleared is not seen below.
        let is_owner = || word.load(Acquire) & TID == owner;
        if !is_owner() {
            return false;
        }
        let seen = self.thread.load(Relaxed);
        let thread = ThreadOf(seen & !CLAIM);
        if thread.tid() != owner {
            return false;
        }
        let is_gone = if seen & CLAIM == 0 { call.has_left(thread) } else { call.is_over(thread.program()) };
        let claim = ThreadOf::new(owner, me().identity).0 | CLAIM;
        is_gone
            && self.thread.compare_exchange(seen, claim, Relaxed, Relaxed).is_ok()
            // die here: the next who looks finds that the program of the claim is over, and makes its own.
            // The word may have been taken before the claim: by the kernel, or by a claimant that is over.
            && is_owner()
            && self.thread.load(Relaxed) == claim
    }
}
