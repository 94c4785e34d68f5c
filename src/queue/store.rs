//! Where a queue keeps its messages, whatever its capacity is, and how one waits for it. `sending`, `receiving` and `claims` have
//! the verbs.
//!
//! A sender holds the sending lock, a receiver the receiving lock; what they do under it is the affair of `ring`, `log` and `blocks`, and a
//! rendezvous is that of `handoff`. Whatever is done ends with one store that commits it.
//!
//! # Why nobody waits beside a message, or beside room
//!
//! A receiver that finds nothing lets go of its lock and sleeps on the sending lock's word, which every sender releases after its
//! commit; a sender that finds no room does so on the receiving lock's. The rest is `sync::lock`'s. Where a message may come back from a
//! process that dies, receivers sleep on the lives of those processes as well.
//!
//! # Shutting down
//!
//! First CLOSING is stored, and the senders that wait for room are woken; then, under the sending lock, CLOSED, and the receivers are
//! woken. After that no message can be committed. Whoever comes upon CLOSING completes it: its author may have died.

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use once_cell::race::OnceBox;

use crate::error::{Error, Result};
use crate::name::Name;
use crate::queue::blocks::Blocks;
use crate::queue::log::Log;
use crate::queue::options::{Envelope, Plan};
use crate::queue::ring::Ring;
use crate::queue::watch::{Watch, sleep_beside};
use crate::shm::Shared;
use crate::shm::layout::{QueueLayout, Side};
use crate::sync::lives::Lives;
use crate::sync::lock::{self, Held, Left, On};
use crate::sync::spin::Spin;
use crate::sync::users::Users;
use crate::sys::futex::{self, Kind};
use crate::sys::memory::Ordering::{Relaxed, Release};
use crate::sys::memory::{AtomicU32, AtomicU64, obey_barriers};
use crate::sys::thread::Call;
use crate::time::{Deadline, coarse_now};

/// The states of `QueueLayout::phase`, besides 0 (open). Senders are refused.
pub(crate) const CLOSING: u32 = 1;
/// Nothing more is committed.
pub(crate) const CLOSED: u32 = 2;

/// In `Side::transit`: the block's number, plus one.
pub(crate) const BLOCK: u32 = (1 << 29) - 1;
/// In the receiving side's: the message goes to the receiver on lease; said where the block does not say it yet.
pub(crate) const ON_LEASE: u32 = 1 << 29;

/// Where a message goes that is received.
pub(crate) trait Sink {
    /// Room for a message of `len` bytes, at least. Called under the receiving lock: it neither waits nor panics.
    fn space(&mut self, len: usize) -> Result<&mut [MaybeUninit<u8>]>;

    /// A message of `len` bytes is in that space, and out of the queue. Called under the receiving lock, for one that was in no
    /// block: who wants more takes more.
    #[inline]
    fn received(&mut self, _store: &Store, _len: usize) {}
}

/// Where messages go that are received one after the other.
pub(crate) trait Messages: Sink {
    /// The first `len` bytes of the space that it gave last are a message: the next one goes behind it. Neither waits nor panics.
    fn keep(&mut self, len: usize);
}

/// What becomes of a message that is received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Take {
    /// It is gone from the queue.
    Whole,
    /// It is on lease to this process, until it is finished or given back.
    OnLease,
    /// As `Whole`, but one that lies in a block is read there: the block is this process's, until it is released.
    InPlace,
    /// As `Whole`, but nobody reads it: a long one needs no room in the sink, which gets nothing of it.
    Unread,
}

impl Take {
    /// Sees to it that there is room for a message that lies in a block, where it goes elsewhere.
    pub(crate) fn makes_space(self, sink: &mut impl Sink, len: usize) -> Result<()> {
        if matches!(self, Self::InPlace | Self::Unread) { Ok(()) } else { sink.space(len).map(drop) }
    }
}

/// Which message it is that stays in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeaseTicket {
    pub(crate) block: u32,
    pub(crate) order: u64,
    pub(crate) deliveries: u32,
}

/// A message that was received: as long as this, with an envelope or without, and the block where it is, if it stays in one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received {
    pub(crate) len: usize,
    pub(crate) envelope: Option<Envelope>,
    pub(crate) block: Option<u32>,
    /// It was an offer: how many were woken for its sender already.
    pub(crate) offer: Option<u32>,
}

pub(crate) struct Store {
    pub(crate) shared: Shared<QueueLayout>,
    pub(crate) ring: Ring,
    pub(crate) log: Option<Log>,
    pub(crate) blocks: Blocks,
    /// The longest message that may be sent.
    pub(crate) max_message: usize,
    /// The longest that lies in a slot.
    pub(crate) longest_simple: usize,
    slots: usize,
    pub(crate) send_spin: Spin,
    pub(crate) recv_spin: Spin,
    /// When this handle last looked whether a lessee is gone, in nanoseconds on the monotonic clock.
    looked: AtomicU64,
    /// The directory that the queue's name is in.
    dir: Option<PathBuf>,
    /// The lives there, once they were needed; None where there are none.
    lives: OnceBox<Option<Arc<Lives>>>,
    pub(crate) users: Arc<Users>,
}

thread_local! {
    /// This thread looks for the lives of a queue's users.
    static FINDING: Cell<bool> = const { Cell::new(false) };
}

impl Store {
    /// `dir`: where the queue's name is; None for a queue in a region.
    pub(crate) fn new(shared: Shared<QueueLayout>, dir: Option<PathBuf>) -> Result<Self> {
        let users = Arc::new(Users::new(&shared, dir.clone())?);
        obey_barriers();
        Self::of_users(shared, dir, users)
    }

    /// As `new`, of a queue whose users are known.
    pub(super) fn of_users(shared: Shared<QueueLayout>, dir: Option<PathBuf>, users: Arc<Users>) -> Result<Self> {
        let plan = Plan::of(&shared)?;
        let (ring, log, blocks) = (Ring::new(&shared, &plan)?, Log::new(&shared, &plan)?, Blocks::new(&shared, &plan, &users)?);
        let (send_spin, recv_spin) = (Spin::new(), Spin::new());
        let longest_simple = plan.max_message.min(ring.room());
        Ok(Self {
            longest_simple,
            ring,
            log,
            blocks,
            max_message: plan.max_message,
            slots: plan.slots,
            send_spin,
            recv_spin,
            looked: AtomicU64::new(0),
            dir,
            lives: OnceBox::new(),
            users,
            shared,
        })
    }

    /// The lives of those who use the queue: those in its directory, or in the default one for a queue in a region. None where there can be
    /// none, or its users are another pid namespace's: then those who wait for a death look for it.
    pub(crate) fn lives(&self) -> Option<&Lives> {
        if !self.users.are_at_home() {
            return None;
        }
        let find = || {
            let dir = match &self.dir {
                Some(dir) => dir.clone(),
                None => Name::from("lives").make_dir().ok()?,
            };
            Lives::of(&dir).ok()
        };
        if let Some(lives) = self.lives.get() {
            return lives.as_deref();
        }
        // A signal handler that interrupted the search does without.
        if FINDING.replace(true) {
            return None;
        }
        let found = find();
        FINDING.set(false);
        // Several threads may look for it at once. None waits for another one, which a child of fork does not have.
        self.lives.get_or_init(|| Box::new(found)).as_deref()
    }

    /// Whether who finds messages, and so never waits, should look now for what comes back from the dead: every [`lock::LOOK`].
    pub(crate) fn is_time_to_look(&self) -> bool {
        let Some(now) = coarse_now() else { return false };
        let due = now.saturating_sub(self.looked.load(Relaxed)) >= lock::LOOK.as_nanos() as u64;
        if due {
            self.looked.store(now, Relaxed);
        }
        due
    }

    /// Sees to it that there is memory for the next messages that are short, `count` of them at least, if those before were received.
    pub(crate) fn make_room(&self, count: usize) -> Result<()> {
        let mut position = self.shared.send.position.load(Relaxed);
        for _ in 0..count {
            position = self.ring.back(position)?;
        }
        Ok(())
    }

    /// How many messages fit; None: any number.
    pub(crate) fn capacity(&self) -> Option<usize> {
        if self.log.is_some() { None } else { Some(self.slots) }
    }

    pub(crate) fn max_message(&self) -> usize {
        self.max_message
    }

    #[inline]
    pub(crate) fn is_rendezvous(&self) -> bool {
        self.slots == 0
    }

    /// Takes a side's lock: as [`lock::acquire_brief`].
    #[inline]
    pub(crate) fn acquire(call: &Call<'_>, side: &Side, deadline: Deadline) -> Result<Left> {
        lock::acquire_brief(call, &side.lock, lock::Beside::Bias(&side.bias), deadline)
    }

    /// As [`Store::release`], for what [`lock::acquire_free`] took.
    #[inline]
    pub(crate) fn release_free(call: &Call<'_>, side: &Side, held: Held) -> bool {
        lock::release_free(call, (&side.lock, &side.bias), held, &side.generation, &side.watched)
    }

    /// Wakes all who sleep on a side's word: as [`lock::notify_all`].
    pub(crate) fn notify_all(side: &Side) {
        lock::notify_all(&side.lock, &side.generation, Some((&side.bias, &side.watched)));
    }

    /// Lets go of a side's lock; says whether anybody waited for that.
    #[inline]
    pub(crate) fn release(call: &Call<'_>, side: &Side) -> bool {
        lock::release_changed(call, &side.lock, &side.generation, &side.watched)
    }

    /// The changes that are told on a side's word.
    pub(crate) fn event<'a>(&self, side: &'a Side) -> (On<'a>, &'a AtomicU32) {
        let watched = &side.watched;
        let is_event = self.is_rendezvous() && std::ptr::eq(side, &raw const self.shared.send);
        (if is_event { On::Event { watched } } else { On::Lock { generation: &side.generation, watched } }, &side.lock)
    }

    /// The same queue, apart from this handle.
    pub(crate) fn again(&self) -> Result<Self> {
        Self::of_users(self.shared.clone(), self.dir.clone(), Arc::clone(&self.users))
    }

    /// Sleeps on the other side's lock word until `change` says so, or somebody died who is watched.
    #[cold]
    pub(crate) fn wait_on(
        &self,
        call: &Call<'_>,
        side: &Side,
        deadline: Deadline,
        spin: &Spin,
        watch: Option<&dyn Watch>,
        mut change: impl FnMut() -> Result<Option<()>>,
    ) -> Result<()> {
        let (on, _) = self.event(side);
        let Some(watch) = watch else {
            let sleep = |seen, time| futex::wait(&side.lock, seen, Kind::Change, time);
            return lock::wait_for_change((on, &side.lock), deadline, spin, change, self.shared.counts.counting(call, sleep));
        };
        let look = Cell::new(false);
        let sleep = |seen, time: Duration| {
            let (slept, time_to_look) = sleep_beside(side, seen, Kind::Change, time, watch)?;
            look.set(time_to_look);
            Ok(slept)
        };
        let look_or_change = || if look.take() { Ok(Some(())) } else { change() };
        match lock::wait_for_change((on, &side.lock), deadline, spin, look_or_change, self.shared.counts.counting(call, sleep)) {
            // They may have done something for us before they ended.
            Err(Error::Disconnected(_)) if change()?.is_some() => Ok(()),
            result => result,
        }
    }

    /// Refuses senders from now on, and receivers once the queue is empty; wakes all who wait.
    ///
    /// # Errors
    ///
    /// As [`lock::acquire`], where a sender has the lock for good: senders are refused from now on, and the next call completes it.
    pub(crate) fn shutdown(&self, deadline: Deadline) -> Result<()> {
        self.shared.checked(self.shutdown_whole(deadline))
    }

    /// As `shutdown`, if the queue's memory is there.
    fn shutdown_whole(&self, deadline: Deadline) -> Result<()> {
        if self.is_rendezvous() {
            return self.end_handoffs();
        }
        let shared = &*self.shared;
        let call = self.users.enter(&shared.recv.lock)?;
        self.end_biases(&call);
        // Should we die, the kernel wakes who sleeps on one word: that of the side where somebody does.
        if shared.send.lock.load(Relaxed) & lock::WAITERS != 0 {
            call.turn_to(&shared.send.lock);
        }
        // Fails where it is CLOSING or CLOSED already.
        let _ = shared.phase.compare_exchange(0, CLOSING, Relaxed, Relaxed);
        // die here: one of those who wait is woken, and completes it; if nobody waits, the next call does.
        Self::notify_all(&shared.recv);
        call.turn_to(&shared.send.lock);
        Self::acquire(&call, &shared.send, deadline)?;
        self.finish_shutdown(&call);
        Ok(())
    }

    /// Sees to it that no lock is biased from here on. For whoever is about to change what others wait for without owning the
    /// lock on whose word they sleep: if it dies, the kernel wakes one of them only if that word has no owner. The call works on
    /// the receiving lock's word before and after.
    pub(crate) fn end_biases(&self, call: &Call<'_>) {
        for side in [&self.shared.send, &self.shared.recv] {
            call.turn_to(&side.lock);
            // If its owner was stopped, and we are killed before they are woken, those who wait look within `lock::LOOK`.
            if side.bias.end() && Self::acquire(call, side, Deadline::Now).is_ok() {
                Self::release(call, side);
            }
        }
    }

    /// Completes a shutdown. The caller holds the sending lock, and has let go of it after this.
    #[cold]
    pub(crate) fn finish_shutdown(&self, call: &Call<'_>) {
        if self.shared.phase.load(Relaxed) == CLOSED {
            Self::release(call, &self.shared.send);
            return;
        }
        // Its author may have died before it woke the senders.
        Self::notify_all(&self.shared.recv);
        // Release: with the Acquire in `recv`, for all messages committed under this lock before.
        self.shared.phase.store(CLOSED, Release);
        self.shared.send.generation.fetch_xor(lock::GENERATION, Relaxed);
        // die here: as in `release_and_wake_all`.
        lock::release_and_wake_all(&self.shared.send.lock);
    }

    /// Wakes all who wait, to see for themselves what has changed.
    pub(crate) fn wake_all_who_wait(&self) {
        let shared = &*self.shared;
        // Should we die, or be unable to make a call, they look within `lock::LOOK`.
        let Ok(call) = self.users.enter(&shared.recv.lock) else { return };
        Self::notify_all(&shared.recv);
        call.turn_to(&shared.send.lock);
        self.notify_receivers();
    }

    pub(crate) fn is_shut_down(&self) -> bool {
        self.shared.phase.load(Relaxed) != 0
    }

    /// How many messages wait, at this moment; those on lease are not counted.
    pub(crate) fn len(&self) -> Result<usize> {
        self.shared.checked(self.len_whole())
    }

    /// As `len`, if the queue's memory is there.
    fn len_whole(&self) -> Result<usize> {
        let in_ring = if self.is_rendezvous() { 0 } else { self.ring.len()? };
        let in_log = match &self.log {
            Some(log) => log.len()?,
            None => 0,
        };
        Ok(in_ring + in_log + self.blocks.returned())
    }

    /// Wakes all who sleep on the word that receivers sleep on.
    pub(crate) fn notify_receivers(&self) {
        let side = &self.shared.send;
        if self.is_rendezvous() {
            // An event keeps its generation itself.
            lock::notify_all(&side.lock, &side.lock, None);
        } else {
            Self::notify_all(side);
        }
    }
}
