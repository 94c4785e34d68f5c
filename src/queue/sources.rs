//! A queue as something to wait for beside others.

use std::borrow::Borrow;

use crate::queue::store::Store;
use crate::shm::layout::Counts;
use crate::sync::lock::On;
use crate::sync::source::Source;
use crate::sys::memory::AtomicU32;
use crate::sys::memory::Ordering::Relaxed;
use crate::sys::thread::Call;

/// Receiving.
pub(crate) struct Receiving<S>(pub(crate) S);

impl<S: Borrow<Store> + Send + Sync> Source for Receiving<S> {
    fn event(&self) -> (On<'_>, &AtomicU32) {
        let store = self.0.borrow();
        store.event(&store.shared.send)
    }

    fn counts(&self) -> &Counts {
        &self.0.borrow().shared.counts
    }

    fn ready(&self, closely: bool) -> bool {
        let store = self.0.borrow();
        store.is_readable() || closely && store.shared.recv.leased.load(Relaxed) != 0 && store.gets_back()
    }

    fn waits(&self, call: &Call<'_>) {
        let store = self.0.borrow();
        if store.is_rendezvous() {
            store.tell_that_a_receiver_waits(call);
        }
    }

    fn has_strangers(&self) -> bool {
        self.0.borrow().users.are_strangers()
    }

    fn watch_lives<'a>(&'a self, words: &mut Vec<(&'a AtomicU32, u32)>) -> bool {
        let mut ended = false;
        self.0.borrow().watch_lessees(&mut |word, seen| words.push((word, seen)), |_| ended = true);
        ended
    }
}

/// Sending.
pub(crate) struct Sending<S>(pub(crate) S);

impl<S: Borrow<Store> + Send + Sync> Source for Sending<S> {
    fn event(&self) -> (On<'_>, &AtomicU32) {
        let store = self.0.borrow();
        store.event(&store.shared.recv)
    }

    fn counts(&self) -> &Counts {
        &self.0.borrow().shared.counts
    }

    fn ready(&self, _closely: bool) -> bool {
        self.0.borrow().is_writable()
    }

    fn has_strangers(&self) -> bool {
        self.0.borrow().users.are_strangers()
    }
}
