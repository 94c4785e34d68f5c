//! A queue as somebody sees it who does not take part in it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use crate::counters::Counters;
use crate::error::Result;
use crate::queue::attached::{RECEIVES, SENDS};
use crate::queue::blocks::{State, owner_of};
use crate::queue::log::Log;
use crate::queue::store::Store;
use crate::shm::Shared;
use crate::shm::layout::QueueLayout;
use crate::sync::users::Users;
use crate::sys::memory::Ordering::Relaxed;
use crate::sys::process::Identity;

/// What [`Namespace::inspect`](crate::Namespace::inspect) sees of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueInspection {
    /// How many messages there is room for: 0 for a rendezvous, None for an unbounded queue.
    pub capacity: Option<usize>,
    /// How long a message can be, in bytes.
    pub max_message: usize,
    /// How many messages wait to be received; those on lease are not counted.
    pub len: usize,
    /// How many messages are out on lease, also to processes that are gone: those come back by themselves.
    pub leased: usize,
    /// What has happened to it so far.
    pub counters: Counters,
    /// Whether it was shut down.
    pub is_shut_down: bool,
    /// The processes that have it open, or messages on lease.
    pub users: Vec<User>,
}

/// A process that uses an object, or that has died doing so and whose entry nobody has needed since.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct User {
    /// The process's id, in its own pid namespace; 0 where it cannot be known.
    pub pid: u32,
    /// Since when; None where it has closed the queue with messages on lease.
    pub since: Option<SystemTime>,
    /// Whether it is known to be gone.
    pub is_gone: bool,
    /// Whether it has sent to the queue, or tried to.
    pub sends: bool,
    /// Whether it has received from the queue, or tried to.
    pub receives: bool,
    /// How many permits it holds, or messages it has on lease.
    pub holds: u32,
}

/// Looks at a queue whose name is in `dir`. Gives also whose inbox it is, if it is one, and whether that process is gone.
pub(crate) fn inspect(shared: Shared<QueueLayout>, dir: PathBuf) -> Result<(QueueInspection, Option<(u32, bool)>)> {
    let users = Arc::new(Users::seen(&shared, dir.clone())?);
    let store = Store::of_users(shared, Some(dir), users)?;
    let owner = Identity(store.shared.owner.load(Relaxed));
    let owner = (owner.0 != 0).then(|| (owner.pid(), store.users.is_gone(owner)));
    let seen = store.inspect().map(|seen| (seen, owner));
    store.shared.checked(seen)
}

impl User {
    fn of(store: &Store, identity: Identity) -> Self {
        let is_gone = store.users.is_gone(identity);
        Self { pid: identity.pid(), since: None, is_gone, sends: false, receives: false, holds: 0 }
    }
}

impl Store {
    fn inspect(&self) -> Result<QueueInspection> {
        let mut users = BTreeMap::new();
        for peer in &self.shared.peers.table {
            let Some(identity) = peer.identity() else { continue };
            let user = users.entry(identity.0).or_insert_with(|| User::of(self, identity));
            let (roles, since) = (peer.value.load(Relaxed), peer.since());
            user.pid = peer.pid.load(Relaxed);
            user.since = Some(user.since.map_or(since, |earlier| earlier.min(since)));
            user.sends |= roles & SENDS != 0;
            user.receives |= roles & RECEIVES != 0;
        }
        let mut leased = 0;
        for (_, head) in self.blocks.all() {
            let word = head.owner.load(Relaxed);
            if State::in_word(word) == State::Leased {
                leased += 1;
                let owner = owner_of(word);
                users.entry(owner.0).or_insert_with(|| User::of(self, owner)).holds += 1;
            }
        }
        Ok(QueueInspection {
            capacity: self.capacity(),
            max_message: self.max_message(),
            len: self.len()?,
            leased,
            counters: self.counters_whole()?,
            is_shut_down: self.is_shut_down(),
            users: users.into_values().collect(),
        })
    }

    /// What has happened to the queue so far.
    pub(crate) fn counters(&self) -> Result<Counters> {
        self.shared.checked(self.counters_whole())
    }

    /// As `counters`, if the queue's memory is there.
    fn counters_whole(&self) -> Result<Counters> {
        let (send, recv) = (&self.shared.send, &self.shared.recv);
        let counters = Counters::of(&self.shared.counts);
        if self.is_rendezvous() {
            let (messages, bytes) = (recv.handed_over.get(), recv.bytes.get());
            return Ok(Counters { sent: messages, received: messages, bytes_sent: bytes, bytes_received: bytes, ..counters });
        }
        // In this order no message is seen to be received before it was sent.
        let received = self.ring.taken()?.wrapping_add(self.log.as_ref().map_or(0, Log::taken));
        let bytes_received = recv.bytes.get();
        let sent = self.ring.put_in()?.wrapping_add(self.log.as_ref().map_or(Ok(0), Log::put_in)?);
        Ok(Counters { sent, received, bytes_sent: send.bytes.get(), bytes_received, ..counters })
    }
}
