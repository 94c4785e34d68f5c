//! Waits that end with a process as well: who is watched, and how to sleep on its life.

use std::cell::RefCell;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::Duration;

use crate::error::Result;
use crate::queue::attached::LEASES;
use crate::queue::store::Store;
use crate::shm::layout::Side;
use crate::sync::lives::{self, Ending};
use crate::sync::lock;
use crate::sys::futex::{self, Kind, Slept};

/// Whose deaths end a wait, besides what it waits for.
pub(crate) trait Watch {
    /// Gives the lives to sleep on beside the queue's word, with what they are; says for how long to sleep at most. Called before each sleep.
    fn lives<'a>(&'a self, add: &mut dyn FnMut(&'a AtomicU32, u32)) -> Duration;

    /// An error where there is nothing to wait for any more. Asked before each sleep, after `lives`: who dies in between ends the sleep.
    fn over(&self) -> Result<()>;
}

/// Sleeps on a side's word and on those of a watch. Says whether it is time to look who is gone.
pub(crate) fn sleep_beside(side: &Side, seen: u32, kind: Kind, time: Duration, watch: &dyn Watch) -> Result<(Slept, bool)> {
    let mut words = vec![(&side.lock, seen)];
    let most = watch.lives(&mut |life, seen| words.push((life, seen)));
    watch.over()?;
    let (slept, which) = if words.len() == 1 {
        (futex::wait(&side.lock, seen, kind, time.min(most))?, 0)
    } else {
        side.watched.store(1, Relaxed);
        futex::wait_any(&words, time.min(most))?
    };
    if which != 0 {
        lives::pass_on(words[which].0);
    }
    Ok((slept, which != 0 || slept == Slept::TimedOut))
}

/// Those who have, or may have, messages on lease, which come back when they die; and who else is watched.
struct Lessees<'a> {
    store: &'a Store,
    ending: RefCell<Ending>,
    and: Option<&'a dyn Watch>,
}

impl Watch for Lessees<'_> {
    fn lives<'a>(&'a self, add: &mut dyn FnMut(&'a AtomicU32, u32)) -> Duration {
        let mut most = self.and.map_or(lock::LOOK, |and| and.lives(add));
        if self.store.watch_lessees(add) {
            most = most.min(self.ending.borrow_mut().slice());
        }
        most
    }

    fn over(&self) -> Result<()> {
        self.and.map_or(Ok(()), Watch::over)
    }
}

impl Store {
    /// The lives of those who have, or may have, messages on lease; without them, who waits looks now and then. Says whether one has
    /// ended whose process may not be gone yet.
    pub(crate) fn watch_lessees<'a>(&'a self, add: &mut dyn FnMut(&'a AtomicU32, u32)) -> bool {
        let mut ended = false;
        if self.shared.roles.load(Relaxed) & LEASES == 0 {
            return false;
        }
        let Some(lives) = self.lives() else { return false };
        for peer in &self.shared.peers.table {
            // Acquire: with the Release in `life_of_lessee`.
            if peer.value.load(Acquire) & LEASES == 0 || peer.is_mine() {
                continue;
            }
            let (Some(identity), life) = (peer.identity(), peer.life.load(Relaxed)) else { continue };
            match lives.watch_of(life, identity) {
                Some((word, seen)) => add(word, seen),
                None => ended |= life != 0,
            }
        }
        ended
    }

    /// Waits, with an eye on those who have messages on lease, if anybody ever had.
    pub(crate) fn with_lessees<T>(
        &self,
        watch: Option<&dyn Watch>,
        wait: impl FnOnce(Option<&dyn Watch>) -> Result<T>,
    ) -> Result<T> {
        if self.shared.roles.load(Relaxed) & LEASES == 0 {
            return wait(watch);
        }
        wait(Some(&Lessees { store: self, ending: RefCell::default(), and: watch }))
    }
}
