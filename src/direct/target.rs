//! Another endpoint, as who sends to it sees it; and its process, as who waits for it does.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::direct::address::Address;
use crate::direct::place::Place;
use crate::error::{Error, Result};
use crate::queue::{Queue, Watch};
use crate::sync::lives::{Ending, Lives};
use crate::sync::lock::LOOK;
use crate::sys::memory::{AtomicU32, AtomicU64, Ordering::Relaxed};
use crate::sys::process::{Identity, me};
use crate::sys::thread::Uncancelled;

/// An inbox that is open for sending.
pub(super) struct Target {
    pub(super) inbox: Queue,
    pub(super) owner: Arc<Peer>,
}

impl Target {
    /// Opens the inbox of an address.
    ///
    /// # Errors
    ///
    /// `PeerGone` where there is none, or its owner is gone; its files are taken away then.
    pub(super) fn open(place: &Place, address: Address) -> Result<Self> {
        let _uncancelled = Uncancelled::new();
        let inbox = match place.open(address) {
            Err(Error::NotFound { .. }) => return Err(Error::PeerGone),
            inbox => inbox?,
        };
        let Some(owner) = inbox.owner().filter(|owner| Address::new(owner.identity, owner.serial) == address) else {
            return Err(Error::Corrupted("the file of an address is not its process's inbox"));
        };
        let owner = Arc::new(Peer::new(place, owner.identity, owner.life));
        if owner.is_gone() {
            place.clear(Some(owner.identity));
            return Err(Error::PeerGone);
        }
        Ok(Self { inbox, owner })
    }
}

/// Another process.
pub(super) struct Peer {
    identity: Identity,
    life: u32,
    /// None where its life cannot be looked at.
    lives: Option<Arc<Lives>>,
    known: Instant,
    /// When it was last seen alive, in nanoseconds from `known` on.
    seen: AtomicU64,
}

impl Peer {
    pub(super) fn new(place: &Place, identity: Identity, life: u32) -> Self {
        // From here on the life can be looked at.
        let lives = Some(&place.lives).filter(|lives| lives.word(life).is_some()).cloned();
        Self { identity, life, lives, known: Instant::now(), seen: AtomicU64::new(0) }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.identity.is_gone(me().namespace)
    }

    /// `PeerGone` where it is gone. Asks the system if its life has ended, and every now and then: a life is a hint.
    pub(super) fn check(&self) -> Result<()> {
        let now = self.known.elapsed();
        let fresh = now.saturating_sub(Duration::from_nanos(self.seen.load(Relaxed))) < LOOK;
        if fresh && self.lives.as_ref().is_some_and(|lives| lives.shows(self.life, self.identity)) {
            return Ok(());
        }
        if self.is_gone() {
            return Err(Error::PeerGone);
        }
        self.seen.store(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        Ok(())
    }

    /// To wait for something as long as it lives.
    pub(super) fn watch(&self) -> Watching<'_> {
        Watching { peer: self, ending: RefCell::default() }
    }
}

pub(super) struct Watching<'a> {
    peer: &'a Peer,
    ending: RefCell<Ending>,
}

impl Watch for Watching<'_> {
    fn lives<'a>(&'a self, add: &mut dyn FnMut(&'a AtomicU32, u32)) -> Duration {
        let Peer { identity, life, lives: Some(lives), .. } = self.peer else { return LOOK };
        match lives.watch_of(*life, *identity) {
            Some((word, seen)) => {
                add(word, seen);
                LOOK
            }
            None => self.ending.borrow_mut().slice(),
        }
    }

    fn over(&self) -> Result<()> {
        self.peer.check()
    }
}
