//! Another endpoint, as who sends to it sees it.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::direct::address::Address;
use crate::direct::place::Place;
use crate::error::{Error, Result};
use crate::queue::{Owner, Queue, Watch};
use crate::sync::lives::{Ending, Lives};
use crate::sync::lock::LOOK;
use crate::sys::process::me;

/// An inbox that is open for sending.
pub(super) struct Target {
    pub(super) inbox: Queue,
    owner: Owner,
    lives: Option<Arc<Lives>>,
    opened: Instant,
    /// When its owner was last seen alive, in nanoseconds from `opened` on.
    seen: AtomicU64,
}

impl Target {
    /// Opens the inbox of an address.
    ///
    /// # Errors
    ///
    /// `PeerGone` where there is none, or its owner is gone; its files are taken away then.
    pub(super) fn open(place: &Place, address: Address) -> Result<Self> {
        let inbox = match place.open(address) {
            Err(Error::NotFound { .. }) => return Err(Error::PeerGone),
            inbox => inbox?,
        };
        let Some(owner) = inbox.owner().filter(|owner| (owner.identity, owner.serial) == (address.identity(), address.serial()))
        else {
            return Err(Error::Corrupted("the file of an address is not its process's inbox"));
        };
        // From here on the life can be looked at.
        let lives = place.lives.clone().filter(|lives| lives.word(owner.life).is_some());
        let target = Self { inbox, owner, lives, opened: Instant::now(), seen: AtomicU64::new(0) };
        if target.is_gone() {
            place.clear(Some(owner.identity));
            return Err(Error::PeerGone);
        }
        Ok(target)
    }

    pub(super) fn is_gone(&self) -> bool {
        self.owner.identity.is_gone(me().namespace)
    }

    /// `PeerGone` where the owner is gone. Asks the system if its life has ended, and every now and then: a life is a hint.
    pub(super) fn check(&self) -> Result<()> {
        let now = self.opened.elapsed();
        let fresh = now.saturating_sub(Duration::from_nanos(self.seen.load(Relaxed))) < LOOK;
        if fresh && self.lives.as_ref().is_some_and(|lives| lives.shows(self.owner.life, self.owner.identity)) {
            return Ok(());
        }
        if self.is_gone() {
            return Err(Error::PeerGone);
        }
        self.seen.store(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        Ok(())
    }

    /// To wait for room in the inbox, or for a reply, as long as its owner lives.
    pub(super) fn watch(&self) -> Watching<'_> {
        Watching { target: self, ending: Cell::default() }
    }
}

pub(super) struct Watching<'a> {
    target: &'a Target,
    ending: Cell<Ending>,
}

impl Watch for Watching<'_> {
    fn words<'a>(&'a self, add: &mut dyn FnMut(&'a AtomicU32, u32)) {
        let Target { owner, lives: Some(lives), .. } = self.target else { return };
        match lives.watch(owner.life) {
            Some((word, seen)) if lives.shows(owner.life, owner.identity) => {
                self.ending.set(Ending::default());
                add(word, seen);
            }
            _ => {
                lives.pass_on(owner.life);
                self.ending.set(self.ending.get().begun());
            }
        }
    }

    fn is_ending(&self) -> bool {
        self.ending.get().is_now()
    }

    fn over(&self) -> Result<()> {
        let result = self.target.check();
        if result.is_err()
            && let Some(lives) = &self.target.lives
        {
            lives.pass_on(self.target.owner.life);
        }
        result
    }
}
