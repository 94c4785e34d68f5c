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
//! *A record is a thread's own.* One that names an id is written by the thread of that id alone, while it owns the word. Who reads first
//! the word, then a record with the word's id, and finds that the program has no thread of this id, or is over, has found that the writer
//! is gone. It remains to be seen that the word is the writer's still, and not that of a later thread with its id. A record goes before
//! its writer's release. If the writer died instead, the word is OWNER_DIED: who takes that clears it afterwards, and one whose own id
//! the record has clears it *before* ([`Holder::forget_namesake`]): nobody else can write it again. So a later owner's word with the id
//! comes with no record, or with its own.
//!
//! *One takes it.* Two may have found the same, and the first have taken the word from the gone; then the thread that has its id now may
//! lock the mutex, and the word is the same again when the second comes to it. So who wants to do so puts a *claim* in the place of the
//! record, by a compare-exchange. While its process lives nobody else touches the word, but the kernel, if the thread dies that has the
//! id.
//!
//! What is left is what is left for every such word: an id that goes from one thread to the next between the question who has it and the
//! compare-exchange of the word that follows, where the next one locks this very mutex at once.

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
    /// own.
    pub(crate) fn forget_namesake(&self, owner: u32) {
        let seen = self.thread.load(Relaxed);
        if ThreadOf(seen & !CLAIM).tid() == owner {
            let _ = self.thread.compare_exchange(seen, 0, Relaxed, Relaxed);
            // Before the word is taken: with the Acquire in `claim`.
            fence(Release);
        }
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

    /// Whether the `owner` in `word` is gone, whoever has its id now. Then it is the caller's to take the word from it, at once.
    pub(crate) fn claim(&self, call: &Call<'_>, word: &AtomicU32, owner: u32) -> bool {
        // Acquire: with the Release of who let go of it last, and the fence in `forget_namesake`: what they cleared is not seen below.
        if word.load(Acquire) & TID != owner {
            return false;
        }
        let seen = self.thread.load(Relaxed);
        let thread = ThreadOf(seen & !CLAIM);
        if thread.tid() != owner {
            return false;
        }
        let is_gone = if seen & CLAIM == 0 { call.has_left(thread) } else { call.is_over(thread.program()) };
        let claim = ThreadOf::new(owner, me().identity).0 | CLAIM;
        is_gone && self.thread.compare_exchange(seen, claim, Relaxed, Relaxed).is_ok()
        // die here: the next who looks finds that the program of the claim is over, and makes its own.
    }
}
