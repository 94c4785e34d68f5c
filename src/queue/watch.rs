//! Waits that end with a process as well: who is watched, and how to sleep on its life.

use std::cell::RefCell;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::Duration;

use crate::error::Result;
use crate::queue::attached::LEASES;
use crate::queue::store::Store;
use crate::shm::layout::Side;
use crate::sync::lives::{self, Ending, Lives};
use crate::sync::lock;
use crate::sync::spin::Spin;
use crate::sys::futex::{self, Kind, Slept};
use crate::time::Deadline;

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

/// A watch of nobody in particular: now and then it is time to look.
struct Nobody;

impl Watch for Nobody {
    fn lives<'a>(&'a self, _: &mut dyn FnMut(&'a AtomicU32, u32)) -> Duration {
        lock::LOOK
    }

    fn over(&self) -> Result<()> {
        Ok(())
    }
}

/// Those who have, or may have, messages on lease, which come back when they die; and who else is watched.
struct Lessees<'a> {
    store: &'a Store,
    lives: &'a Lives,
    ending: RefCell<Ending>,
    and: Option<&'a dyn Watch>,
}

impl Watch for Lessees<'_> {
    fn lives<'a>(&'a self, add: &mut dyn FnMut(&'a AtomicU32, u32)) -> Duration {
        let mut most = self.and.map_or(lock::LOOK, |and| and.lives(add));
        for peer in &self.store.shared.peers.table {
            // Acquire: with the Release in `life_of_lessee`.
            if peer.value.load(Acquire) & LEASES == 0 || peer.is_mine() {
                continue;
            }
            let (Some(identity), life) = (peer.identity(), peer.life.load(Relaxed)) else { continue };
            match self.lives.watch_of(life, identity) {
                Some((word, seen)) => add(word, seen),
                None => most = most.min(self.ending.borrow_mut().slice()),
            }
        }
        most
    }

    fn over(&self) -> Result<()> {
        self.and.map_or(Ok(()), Watch::over)
    }
}

impl Store {
    /// As `wait_on`, and until a process dies that may have a message on lease.
    pub(crate) fn wait_beside_lessees(
        &self,
        side: &Side,
        deadline: Deadline,
        spin: &Spin,
        watch: Option<&dyn Watch>,
        change: impl FnMut() -> Result<Option<()>>,
    ) -> Result<()> {
        if self.shared.roles.load(Relaxed) & LEASES == 0 {
            return self.wait_on(side, deadline, spin, watch, change);
        }
        let Some(lives) = self.lives() else {
            return self.wait_on(side, deadline, spin, Some(watch.unwrap_or(&Nobody)), change);
        };
        let lessees = Lessees { store: self, lives, ending: RefCell::default(), and: watch };
        self.wait_on(side, deadline, spin, Some(&lessees), change)
    }
}
