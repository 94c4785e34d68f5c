//! Who has a queue open, and for what.

use std::cell::RefCell;
use std::time::{Duration, SystemTime};

use crate::error::{Error, Result};
use crate::queue::watch::Life;
use crate::queue::{Queue, Watch};
use crate::shm;
use crate::sync::lives::Ending;
use crate::sync::lock;
use crate::sys::memory::AtomicU32;
use crate::sys::memory::Ordering::{Acquire, Relaxed, Release};
use crate::sys::thread::forks;
use crate::time::Deadline;

/// What a handle was used for, in `Peer::value` and in the lowest bits of `Queue::entry`.
pub(super) const SENDS: u32 = 1;
pub(super) const RECEIVES: u32 = 2;
const ROLES: u32 = SENDS | RECEIVES;
/// In the lowest bits of `Queue::entry`: the process stands in the table as one among strangers.
const STRANGER: u32 = 4;
/// Where the entry's number begins in `Queue::entry`.
const INDEX_SHIFT: u32 = 3;
/// In `QueueLayout::roles`: somebody's wait is to end with its peers, so that those who join have their lives written down.
const MATTERS: u32 = 4;
/// In `Peer::value` and `QueueLayout::roles`: it has had a message on lease, so that its death matters to receivers.
pub(super) const LEASES: u32 = 8;

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
    /// ```
    /// # fn main() -> rsipc::Result<()> {
    /// # let namespace = rsipc::Namespace::at(std::env::temp_dir().join(format!("rsipc-doc-peers-{}", std::process::id())));
    /// use rsipc::{Queue, QueueOptions};
    ///
    /// let jobs = Queue::create(namespace.name("jobs"), &QueueOptions::new())?;
    /// jobs.send(b"a job")?;
    /// let peers = jobs.peers()?;
    /// assert_eq!(peers.len(), 1);
    /// assert_eq!((peers[0].pid, peers[0].sends, peers[0].receives), (std::process::id(), true, false));
    /// # std::fs::remove_dir_all(namespace.dir()?).ok();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `Corrupted` where the queue's file was cut short ([`catch_truncation`](crate::catch_truncation)); errors of the system.
    pub fn peers(&self) -> Result<Vec<Peer>> {
        self.note(0)?;
        let living = self.store.shared.peers.table.iter().filter(|entry| !self.is_gone(entry));
        let peer = |entry: &shm::layout::Peer| {
            let roles = entry.value.load(Relaxed);
            entry.identity()?;
            let pid = entry.pid.load(Relaxed);
            Some(Peer { pid, since: entry.since(), sends: roles & SENDS != 0, receives: roles & RECEIVES != 0 })
        };
        let peers = living.filter_map(peer).collect();
        self.store.shared.checked(Ok(peers))
    }

    /// Writes down, the first time, that this handle is used for this.
    #[inline]
    pub(super) fn act_as(&self, role: u32) -> Result<()> {
        if self.acts_as(role) { Ok(()) } else { self.note(role) }
    }

    /// Whether that is written down.
    #[inline]
    pub(super) fn acts_as(&self, role: u32) -> bool {
        let entry = self.entry.load(Relaxed);
        let known = if self.store.users.are_strangers() { role | STRANGER } else { role };
        (entry >> 32) as u32 == forks() && entry as u32 & known == known
    }

    /// Says that this handle is going to send, before it does.
    ///
    /// It matters to those who wait with [`Queue::end_with_peers`]: a handle counts as a sender from its first attempt to send
    /// on, or from this.
    ///
    /// # Errors
    ///
    /// As [`Queue::open`], where the handle is used in a child of fork for the first time.
    pub fn will_send(&self) -> Result<()> {
        self.act_as(SENDS)
    }

    /// Says that this handle is going to receive, before it does. As [`Queue::will_send`].
    ///
    /// # Errors
    ///
    /// As [`Queue::will_send`].
    pub fn will_recv(&self) -> Result<()> {
        self.act_as(RECEIVES)
    }

    /// From now on a receive through this handle that would wait, or waits, fails with `Disconnected` once every other handle
    /// that had sent is closed or its process gone; and a send that would wait, once every other handle that had received is.
    /// While nobody has sent (or received) yet, they wait. `false` ends that.
    ///
    /// The end of a process is noticed at once if it joined the queue after somebody had asked for this, and within 100 ms if before.
    ///
    /// ```
    /// # fn main() -> rsipc::Result<()> {
    /// # let namespace = rsipc::Namespace::at(std::env::temp_dir().join(format!("rsipc-doc-end-with-peers-{}", std::process::id())));
    /// use rsipc::{Error, Queue, QueueOptions};
    ///
    /// let jobs = Queue::create(namespace.name("jobs"), &QueueOptions::new())?;
    /// jobs.end_with_peers(true);
    /// let sender = Queue::open(namespace.name("jobs"))?;
    /// sender.send(b"a job")?;
    /// drop(sender); // or its process dies
    /// assert_eq!(jobs.recv()?, b"a job");
    /// assert_eq!(jobs.recv(), Err(Error::Disconnected("sender")));
    /// # std::fs::remove_dir_all(namespace.dir()?).ok();
    /// # Ok(())
    /// # }
    /// ```
    pub fn end_with_peers(&self, end: bool) {
        self.ends.store(u32::from(end), Relaxed);
        if end {
            self.store.shared.roles.fetch_or(MATTERS, Relaxed);
        }
    }

    /// Who is watched while this handle waits for those of a role.
    #[inline]
    pub(super) fn with_peers<T>(&self, role: u32, act: impl FnOnce(Option<&dyn Watch>) -> Result<T>) -> Result<T> {
        if self.ends.load(Relaxed) == 0 {
            return act(None);
        }
        act(Some(&Peers { queue: self, role, ending: RefCell::default() }))
    }

    /// The life of this process, for a message on lease; 0 where it has none: then others take a while to notice its death.
    pub(super) fn life(&self) -> u32 {
        self.store.lives().and_then(|lives| lives.mine().ok()).unwrap_or(0)
    }

    /// Writes down this process's life for those who wait for messages, before it takes one on lease; before the first, they are told
    /// to watch it.
    pub(super) fn show_life(&self) {
        let (life, shared) = (self.life(), &self.store.shared);
        let index = (self.entry.load(Relaxed) as u32 >> INDEX_SHIFT) as usize;
        let mut is_new = false;
        if let Some(entry) = index.checked_sub(1).and_then(|index| shared.peers.table.get(index))
            && (entry.value.load(Relaxed) & LEASES == 0 || entry.life.load(Relaxed) != life)
        {
            entry.life.store(life, Relaxed);
            // Who sees this and not the life is woken below.
            entry.value.fetch_or(LEASES, Relaxed);
            is_new = true;
        }
        // Also where this handle could not be put on the table: then others look for our death now and then.
        if shared.roles.load(Relaxed) & LEASES == 0 {
            shared.roles.fetch_or(LEASES, Relaxed);
            is_new = true;
        }
        if is_new {
            // die here: we have nothing on lease yet.
            self.store.wake_all_who_wait();
        }
    }

    /// Whether this is the entry of a process that is gone.
    fn is_gone(&self, peer: &shm::layout::Peer) -> bool {
        peer.identity().is_some_and(|identity| self.store.users.is_gone(identity))
    }

    /// The entries in the table of peers that are used by other handles.
    fn others(&self) -> impl Iterator<Item = &shm::layout::Peer> {
        let own = (self.entry.load(Relaxed) as u32 >> INDEX_SHIFT) as usize;
        self.store.shared.peers.table.iter().enumerate().filter(move |(index, _)| index + 1 != own).map(|(_, entry)| entry)
    }

    #[cold]
    pub(super) fn note(&self, role: u32) -> Result<()> {
        self.store.shared.checked(self.note_whole(role))
    }

    /// As `note`, if the queue's memory is there.
    fn note_whole(&self, role: u32) -> Result<()> {
        match self.join(role) {
            // Somebody was stopped while joining or leaving: it can be noted another time.
            Err(Error::WouldBlock) => return Ok(()),
            result => result?,
        }
        let roles = &self.store.shared.roles;
        if role != 0 && roles.load(Relaxed) & MATTERS != 0 {
            let index = (self.entry.load(Relaxed) as u32 >> INDEX_SHIFT) as usize;
            if let Some(entry) = index.checked_sub(1).and_then(|index| self.store.shared.peers.table.get(index)) {
                entry.life.store(self.life(), Relaxed);
            }
        }
        // Release: with the Acquire in `over`, for the entry.
        roles.fetch_or(role, Release);
        Ok(())
    }

    /// Puts this handle on the table of peers, if it is not there, with `role` added to what it was used for.
    fn join(&self, role: u32) -> Result<()> {
        let shared = &self.store.shared;
        let peers = &shared.peers;
        let (forks, entry) = (forks(), self.entry.load(Relaxed));
        let (of, index, roles) = ((entry >> 32) as u32, entry as u32 >> INDEX_SHIFT, entry as u32 & (ROLES | STRANGER));
        let (index, roles) = if of == forks && index != 0 {
            let peer = &peers.table[index as usize - 1];
            // die here: the role is noted.
            peer.value.fetch_or(role, Relaxed);
            let mut roles = roles | role;
            if roles & STRANGER == 0 && self.store.users.are_strangers() {
                // Strangers know only by its life whether it is gone.
                drop(self.store.users.enter(&peers.lock)?);
                peer.identity.store(self.store.users.me().0, Release);
                roles |= STRANGER;
            }
            (index, roles)
        } else {
            let users = &self.store.users;
            let call = users.enter(&peers.lock)?;
            lock::acquire_brief(&call, &peers.lock, lock::Beside::Nothing, Deadline::Now)?;
            // Another thread may have been faster.
            let joined = if self.entry.load(Relaxed) == entry {
                Some(peers.join(users.me(), role, |peer| users.is_gone(peer), |_| shared.counts.recovered(1, 0)))
            } else {
                None
            };
            if let Some(Ok(index)) = joined {
                let stranger = if users.me().life().is_some() { STRANGER } else { 0 };
                self.set_entry(forks, index as u32 + 1, role | stranger);
            }
            lock::release(&call, &peers.lock);
            return joined.map_or_else(|| self.join(role), |joined| joined.map(drop));
        };
        self.set_entry(forks, index, roles);
        Ok(())
    }

    fn set_entry(&self, forks: u32, index: u32, roles: u32) {
        self.entry.store(u64::from(forks) << 32 | u64::from(index << INDEX_SHIFT | roles), Relaxed);
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let entry = self.entry.load(Relaxed);
        let index = (entry as u32 >> INDEX_SHIFT).checked_sub(1);
        // A child of fork leaves its parent's entry alone.
        if let Some(index) = index.filter(|_| (entry >> 32) as u32 == forks()) {
            self.store.shared.peers.table[index as usize].leave();
            // die here: those who wait for our end look for it themselves.
            if self.store.shared.roles.load(Relaxed) & MATTERS != 0 {
                self.store.wake_all_who_wait();
            }
        }
    }
}

/// The other handles that send, or receive, for those who wait for them.
struct Peers<'a> {
    queue: &'a Queue,
    role: u32,
    ending: RefCell<Ending>,
}

impl Watch for Peers<'_> {
    fn lives<'a>(&'a self, add: &mut dyn FnMut(&'a AtomicU32, u32)) -> Duration {
        let mut most = lock::LOOK;
        for peer in self.queue.others().filter(|peer| peer.value.load(Relaxed) & self.role != 0) {
            match self.queue.store.life_of(peer) {
                Life::Shown(word, seen) => add(word, seen),
                Life::Ended => most = most.min(self.ending.borrow_mut().slice()),
                Life::Unknown => {}
            }
        }
        most
    }

    fn over(&self) -> Result<()> {
        let queue = self.queue;
        let is_there = |peer: &shm::layout::Peer| {
            peer.identity().is_some() && peer.value.load(Relaxed) & self.role != 0 && !queue.is_gone(peer)
        };
        // Read first: who sets it is on the table already.
        if queue.store.shared.roles.load(Acquire) & self.role == 0 || queue.others().any(is_there) {
            return Ok(());
        }
        Err(Error::Disconnected(if self.role == SENDS { "sender" } else { "receiver" }))
    }
}
