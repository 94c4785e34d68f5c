//! A table of the processes that use an object.
//!
//! Who joins holds the lock; all changes are single stores of which each leaves the table right. The entries of processes that died
//! are used again by those who come, and left out when somebody asks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::shm::layout::{Peer, Peers};
use crate::sys::memory::Ordering::{Acquire, Relaxed, Release};
use crate::sys::process::Identity;

impl Peer {
    /// Who it is, unless the entry is free.
    pub(crate) fn identity(&self) -> Option<Identity> {
        // Acquire: with the Release in `join`.
        match self.identity.load(Acquire) {
            0 => None,
            bits => Some(Identity(bits)),
        }
    }

    /// When the process joined.
    pub(crate) fn since(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.since.load(Relaxed))
    }

    /// Takes a process off the table: the process itself does so, or who holds the lock and knows that it is gone.
    pub(crate) fn leave(&self) {
        // die here: the process has left.
        self.identity.store(0, Relaxed);
    }
}

impl<const N: usize> Peers<N> {
    /// Puts this process, `me`, on the table; says where. The caller holds the lock; `is_gone` says which processes are, and
    /// `forget` sees to what a dead process leaves behind.
    ///
    /// # Errors
    ///
    /// `LimitReached` where the table is full of living processes.
    pub(crate) fn join(
        &self,
        me: Identity,
        value: u32,
        is_gone: impl Fn(Identity) -> bool,
        forget: impl Fn(&Peer),
    ) -> Result<usize> {
        let index = if let Some(free) = self.table.iter().position(|peer| peer.identity().is_none()) {
            free
        } else if let Some(dead) = self.table.iter().position(|peer| peer.identity().is_some_and(&is_gone)) {
            forget(&self.table[dead]);
            self.table[dead].leave();
            dead
        } else {
            return Err(Error::LimitReached(format!(
                "{N} users of this object are attached already, which is the most there can be"
            )));
        };
        let peer = &self.table[index];
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        peer.since.store(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        peer.pid.store(std::process::id(), Relaxed);
        peer.value.store(value, Relaxed);
        peer.life.store(0, Relaxed);
        // die here: the entry is still free.
        // Release: with the Acquire in `identity`, for who looks without the lock.
        peer.identity.store(me.0, Release);
        Ok(index)
    }
}
