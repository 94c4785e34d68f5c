//! Waits that end with a process as well: who is watched, and how to sleep on its life.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use crate::error::Result;
use crate::queue::attached::LEASES;
use crate::queue::store::Store;
use crate::shm::layout::{Peer, Side};
use crate::sync::lives::{self, Ending};
use crate::sync::lock;
use crate::sys::futex::{self, Kind, Slept};
use crate::sys::memory::AtomicU32;
use crate::sys::memory::Ordering::Relaxed;

/// Whose deaths end a wait, besides what it waits for.
pub(crate) trait Watch {
    /// Gives the lives to sleep on beside the queue's word, with what they are; says for how long to sleep at most. Called before
    /// each sleep.
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
        lives::pass_on(words[which]);
    }
    Ok((slept, which != 0 || slept == Slept::TimedOut))
}

/// Those who have, or may have, messages on lease, which come back when they die; and who else is watched. One for each call.
pub(crate) struct Lessees<'a> {
    store: &'a Store,
    ending: RefCell<Ending>,
    /// The sum of the identities of those who were gone at the last look.
    gone: Cell<u64>,
    and: Option<&'a dyn Watch>,
}

impl Watch for Lessees<'_> {
    fn lives<'a>(&'a self, add: &mut dyn FnMut(&'a AtomicU32, u32)) -> Duration {
        let mut most = self.and.map_or(lock::LOOK, |and| and.lives(add));
        let (mut gone, mut ending) = (0_u64, false);
        self.store.watch_lessees(add, |peer| match peer.identity() {
            // Asked after the life: what it has on lease comes back with the next look, which is made once.
            Some(identity) if self.store.users.is_gone(identity) => gone = gone.wrapping_add(identity.0),
            Some(_) => ending = true,
            None => {}
        });
        if self.gone.replace(gone) != gone {
            most = Duration::from_millis(1);
        } else if ending {
            most = most.min(self.ending.borrow_mut().slice());
        }
        most
    }

    fn over(&self) -> Result<()> {
        self.and.map_or(Ok(()), Watch::over)
    }
}

/// What is known of the life of one who uses a queue.
pub(crate) enum Life<'a> {
    /// The word to sleep on, and what it is while that one lives.
    Shown(&'a AtomicU32, u32),
    /// It has ended: its process will be gone in a moment, or shows another one.
    Ended,
    Unknown,
}

impl Store {
    /// The life of one in the table of peers.
    pub(crate) fn life_of(&self, peer: &Peer) -> Life<'_> {
        let (Some(identity), life) = (peer.identity(), peer.life.load(Relaxed)) else { return Life::Unknown };
        let shown = match (identity.life(), life) {
            (Some(_), _) => self.users.watch(identity),
            (None, 0) => return Life::Unknown,
            (None, life) => match self.lives() {
                Some(lives) => lives.watch_of(life, identity),
                None => return Life::Unknown,
            },
        };
        shown.map_or(Life::Ended, |(word, seen)| Life::Shown(word, seen))
    }

    /// The lives of those who have, or may have, messages on lease; without them, who waits looks now and then. `ended` is told of those
    /// whose life has ended.
    pub(crate) fn watch_lessees<'a>(&'a self, add: &mut dyn FnMut(&'a AtomicU32, u32), mut ended: impl FnMut(&Peer)) {
        if self.shared.roles.load(Relaxed) & LEASES == 0 {
            return;
        }
        for peer in &self.shared.peers.table {
            // Who shows its life wakes all who wait after that: who has looked before it was to be seen looks again.
            if peer.value.load(Relaxed) & LEASES == 0 || peer.identity().is_none_or(|identity| self.users.is_me(identity)) {
                continue;
            }
            match self.life_of(peer) {
                Life::Shown(word, seen) => add(word, seen),
                Life::Ended => ended(peer),
                Life::Unknown => {}
            }
        }
    }

    /// Those who are watched in one call, with `and`.
    pub(crate) fn lessees<'a>(&'a self, and: Option<&'a dyn Watch>) -> Lessees<'a> {
        Lessees { store: self, ending: RefCell::default(), gone: Cell::new(0), and }
    }

    /// Waits, with an eye on those who have messages on lease, if anybody ever had.
    pub(crate) fn with_lessees<T>(&self, lessees: &Lessees<'_>, wait: impl FnOnce(Option<&dyn Watch>) -> Result<T>) -> Result<T> {
        if self.shared.roles.load(Relaxed) & LEASES == 0 { wait(lessees.and) } else { wait(Some(lessees)) }
    }
}
