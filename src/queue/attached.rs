//! Who has a queue open, and for what.

use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

use crate::error::{Error, Result};
use crate::queue::Queue;
use crate::shm;
use crate::sync::lock;
use crate::sys::thread::{Call, forks};
use crate::time::Deadline;

/// What a handle was used for, in `Peer::value` and in the lowest bits of `Queue::entry`.
pub(super) const SENDS: u32 = 1;
pub(super) const RECEIVES: u32 = 2;
const ROLES: u32 = SENDS | RECEIVES;

/// A handle that is open on a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// The process's id, in the pid namespace that it attached in.
    pub pid: u32,
    /// When it opened the queue.
    pub since: SystemTime,
    /// Whether it has sent, or tried to.
    pub sends: bool,
    /// Whether it has received, or tried to.
    pub receives: bool,
}

impl Queue {
    /// The handles that are open on the queue, this one included, in processes that live.
    ///
    /// # Errors
    ///
    /// Errors of the system.
    pub fn peers(&self) -> Result<Vec<Peer>> {
        self.note(0)?;
        let living = self.store.shared.peers.table.iter().filter(|entry| !entry.is_gone());
        let peer = |entry: &shm::layout::Peer| {
            let roles = entry.value.load(Relaxed);
            let pid = entry.identity()?.pid();
            Some(Peer { pid, since: entry.since(), sends: roles & SENDS != 0, receives: roles & RECEIVES != 0 })
        };
        Ok(living.filter_map(peer).collect())
    }

    /// Writes down, the first time, that this handle is used for this.
    #[inline]
    pub(super) fn act_as(&self, role: u32) -> Result<()> {
        let entry = self.entry.load(Relaxed);
        if (entry >> 32) as u32 == forks() && entry as u32 & role != 0 { Ok(()) } else { self.note(role) }
    }

    /// The life of this process, for a message on lease; 0 where it has none.
    pub(super) fn lessee(&self) -> Result<u32> {
        Ok(0)
    }

    #[cold]
    pub(super) fn note(&self, role: u32) -> Result<()> {
        match self.join(role) {
            // Somebody was stopped while joining or leaving: it can be noted another time.
            Err(Error::WouldBlock) => Ok(()),
            result => result,
        }
    }

    /// Puts this handle on the table of peers, if it is not there, with `role` added to what it was used for.
    fn join(&self, role: u32) -> Result<()> {
        let peers = &self.store.shared.peers;
        let (forks, entry) = (forks(), self.entry.load(Relaxed));
        let (of, index, roles) = ((entry >> 32) as u32, entry as u32 >> 2, entry as u32 & ROLES);
        let (index, roles) = if of == forks && index != 0 {
            // die here: the role is noted.
            peers.table[index as usize - 1].value.fetch_or(role, Relaxed);
            (index, roles | role)
        } else {
            let call = Call::enter(&peers.lock)?;
            lock::acquire_brief(&call, &peers.lock, Deadline::Now)?;
            // Another thread may have been faster.
            let joined = if self.entry.load(Relaxed) == entry { Some(peers.join(role, |_| ())) } else { None };
            if let Some(Ok(index)) = joined {
                self.set_entry(forks, index as u32 + 1, role);
            }
            lock::release(&call, &peers.lock);
            return joined.map_or_else(|| self.join(role), |joined| joined.map(drop));
        };
        self.set_entry(forks, index, roles);
        Ok(())
    }

    fn set_entry(&self, forks: u32, index: u32, roles: u32) {
        self.entry.store(u64::from(forks) << 32 | u64::from(index << 2 | roles), Relaxed);
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let entry = self.entry.load(Relaxed);
        let index = (entry as u32 >> 2).checked_sub(1);
        // A child of fork leaves its parent's entry alone.
        if let Some(index) = index.filter(|_| (entry >> 32) as u32 == forks()) {
            self.store.shared.peers.table[index as usize].leave();
        }
    }
}
