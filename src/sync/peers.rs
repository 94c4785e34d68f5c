//! A table of the processes that use an object.
//!
//! It is changed under its lock, by single stores of which each leaves it right. The entries of processes that died are used again
//! by those who come, and left out when somebody asks.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::shm::layout::{Peer, Peers};
use crate::sys::process::{Identity, pid_namespace};

impl Peer {
    /// Who it is, unless the entry is free.
    pub(crate) fn identity(&self) -> Option<Identity> {
        // Acquire: with the Release in `join`.
        match self.identity.load(Acquire) {
            0 => None,
            bits => Some(Identity(bits)),
        }
    }

    /// Whether this is the entry of a process that is gone.
    pub(crate) fn is_gone(&self) -> bool {
        self.identity().is_some_and(|identity| identity.is_gone(self.namespace.load(Relaxed)))
    }

    /// When the process joined.
    pub(crate) fn since(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.since.load(Relaxed))
    }

    /// Takes the process off the table. The caller holds the table's lock.
    pub(crate) fn leave(&self) {
        // die here: the process has left.
        self.identity.store(0, Relaxed);
    }
}

impl<const N: usize> Peers<N> {
    /// The entries that are or were in use.
    pub(crate) fn entries(&self) -> &[Peer] {
        // Acquire: with the Release in `join`.
        &self.table[..(self.used.load(Acquire) as usize).min(N)]
    }

    /// Puts this process on the table; says where. The caller holds the lock. `reserve` makes sure of memory for one more entry;
    /// `forget` sees to what a dead process leaves behind.
    ///
    /// # Errors
    ///
    /// `LimitReached` where the table is full of living processes; what `reserve` says.
    pub(crate) fn join(&self, value: u32, reserve: impl Fn(&Peer) -> Result<()>, forget: impl Fn(&Peer)) -> Result<usize> {
        let entries = self.entries();
        let used = entries.len();
        let index = if let Some(free) = entries.iter().position(|peer| peer.identity().is_none()) {
            free
        } else if used < N {
            reserve(&self.table[used])?;
            used
        } else if let Some(dead) = entries.iter().position(Peer::is_gone) {
            forget(&entries[dead]);
            entries[dead].leave();
            dead
        } else {
            return Err(Error::LimitReached(format!(
                "{N} handles of this object are open already, which is the most there can be"
            )));
        };
        let peer = &self.table[index];
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        peer.since.store(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        peer.namespace.store(pid_namespace(), Relaxed);
        peer.value.store(value, Relaxed);
        // die here: the entry is still free.
        // Release: with the Acquire in `identity`, for who looks without the lock.
        peer.identity.store(Identity::mine().0, Release);
        if index == used {
            // die here: the next one who joins writes over the entry.
            // Release: with the Acquire in `entries`.
            self.used.store(used as u32 + 1, Release);
        }
        Ok(index)
    }
}
