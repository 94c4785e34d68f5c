//! Where a queue keeps its messages, and how they get in and out: the verbs of every capacity.
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

use std::cell::{Cell, RefCell};
use std::mem::MaybeUninit;
use std::path::PathBuf;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::name::Name;
use crate::queue::attached::LEASES;
use crate::queue::blocks::{Blocks, Claim, State};
use crate::queue::log::{Log, Record};
use crate::queue::options::{ENVELOPE, Envelope, Plan};
use crate::queue::ring::{IN_BLOCK, Look, Ring};
use crate::shm::Shared;
use crate::shm::layout::{BlockHead, ENVELOPED, QueueLayout, Side};
use crate::shm::slots::Slot;
use crate::sync::lives::{self, Ending, Lives};
use crate::sync::lock::{self, On};
use crate::sync::spin::Spin;
use crate::sys::futex::{self, Kind, Slept};
use crate::sys::thread::Call;
use crate::time::Deadline;

/// The states of `QueueLayout::phase`, besides 0 (open). Senders are refused.
pub(crate) const CLOSING: u32 = 1;
/// Nothing more is committed.
pub(crate) const CLOSED: u32 = 2;

/// In `Side::transit` of the receiving side: the message lay elsewhere, and was copied into the block.
const COPIED: u32 = 1 << 31;
/// And its place is one in the log.
const IN_LOG: u32 = 1 << 30;
/// The message goes to the receiver on lease; said where the block does not say it yet.
pub(crate) const ON_LEASE: u32 = 1 << 29;
/// The block's number, plus one.
const BLOCK: u32 = (1 << 29) - 1;

/// Where a message goes that is received.
pub(crate) trait Sink {
    /// Room for a message of `len` bytes, at least. Called under the receiving lock: it neither waits nor panics.
    fn space(&mut self, len: usize) -> Result<&mut [MaybeUninit<u8>]>;
}

/// Whose deaths end a wait, besides what it waits for.
pub(crate) trait Watch {
    /// Gives the lives to sleep on beside the queue's word, with what they are; says for how long to sleep at most. Called before each sleep.
    fn lives<'a>(&'a self, add: &mut dyn FnMut(&'a AtomicU32, u32)) -> Duration;

    /// An error where there is nothing to wait for any more. Asked before each sleep, after `lives`: who dies in between ends the sleep.
    fn over(&self) -> Result<()>;
}

/// What becomes of a message that is received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Take {
    /// It is gone from the queue.
    Whole,
    /// It is on lease to this process, with this life (0: none), until it is finished or given back.
    OnLease(u32),
    /// It stays in a block of this process's until it is finished; should this process die it is gone.
    Claimed(u32),
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

/// What there was to take from dead processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dead {
    Nothing,
    /// Blocks, which are free now, or hold messages that were returned.
    Blocks,
    /// No blocks, but there are messages that were returned; somebody may have died before it said so.
    Returned,
}

/// What a receiver finds.
enum Found {
    Message(Received),
    /// A message on lease stays in a block, and there is no free one.
    NoBlock,
    Nothing,
}

pub(crate) struct Store {
    pub(crate) shared: Shared<QueueLayout>,
    pub(crate) ring: Ring,
    pub(crate) log: Option<Log>,
    pub(crate) blocks: Blocks,
    max_message: usize,
    slots: usize,
    pub(crate) send_spin: Spin,
    pub(crate) recv_spin: Spin,
    /// The directory that the queue's name is in.
    dir: Option<PathBuf>,
    /// The lives there, once they were needed; None where there are none.
    lives: OnceLock<Option<Arc<Lives>>>,
}

/// What is sent.
#[derive(Clone, Copy)]
enum Payload<'a> {
    Here(&'a [u8], &'a [u8]),
    InBlock(&'a Claim<'a>),
}

impl Store {
    /// `dir`: where the queue's name is; None for a queue in a region.
    pub(crate) fn new(shared: Shared<QueueLayout>, dir: Option<PathBuf>) -> Result<Self> {
        let plan = Plan::of(&shared)?;
        let (ring, log, blocks) = (Ring::new(&shared, &plan)?, Log::new(&shared, &plan)?, Blocks::new(&shared, &plan)?);
        let (send_spin, recv_spin) = (Spin::new(), Spin::new());
        Ok(Self {
            ring,
            log,
            blocks,
            max_message: plan.max_message,
            slots: plan.slots,
            send_spin,
            recv_spin,
            dir,
            lives: OnceLock::new(),
            shared,
        })
    }

    /// The lives of those who use the queue: those in its directory, or in the default one for a queue in a region. None where there can be
    /// none: then those who wait for a death look for it.
    pub(crate) fn lives(&self) -> Option<&Lives> {
        let find = || {
            let dir = match &self.dir {
                Some(dir) => dir.clone(),
                None => Name::from("lives").make_dir().ok()?,
            };
            Lives::of(&dir).ok()
        };
        self.lives.get_or_init(find).as_deref()
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

    /// Sends a message, with an envelope or with none: takes the lock, waits for room, commits.
    #[inline]
    pub(crate) fn send(&self, envelope: &[u8], message: &[u8], deadline: Deadline, watch: Option<&dyn Watch>) -> Result<()> {
        if message.len() > self.max_message {
            return Err(Error::MessageTooLong { len: message.len(), max: self.max_message });
        }
        if self.is_rendezvous() {
            return self.hand_over(envelope, message, deadline, watch);
        }
        let call = Call::enter(&self.shared.send.lock)?;
        if envelope.len() + message.len() > self.ring.room() && self.log.is_none() {
            return self.send_long(&call, envelope, message, deadline, watch);
        }
        while !self.send_payload(&call, Payload::Here(envelope, message), deadline)? {
            self.wait_for_room(&call, deadline, watch)?;
        }
        Ok(())
    }

    /// Sends a message that is too long for a slot.
    #[cold]
    fn send_long(
        &self,
        call: &Call,
        envelope: &[u8],
        message: &[u8],
        deadline: Deadline,
        watch: Option<&dyn Watch>,
    ) -> Result<()> {
        let flag = if envelope.is_empty() { 0 } else { ENVELOPED };
        loop {
            // While there is no room it takes no memory.
            while self.shared.phase.load(Relaxed) == 0 && !self.ring.look(&self.shared.send, 0)?.ready {
                self.wait_for_room(call, deadline, watch)?;
            }
            let claim = self.claim(call, deadline, watch)?;
            claim.fill(envelope, message)?;
            claim.head.len.store((envelope.len() + message.len()) as u32 | flag, Relaxed);
            call.turn_to(&self.shared.send.lock);
            if self.send_payload(call, Payload::InBlock(&claim), deadline)? {
                claim.pass_on();
                return Ok(());
            }
            // Another sender was faster. Who waits keeps no block from others: receivers may need one to make room.
            call.turn_to(&self.shared.recv.lock);
        }
    }

    /// Takes the lock and commits a message, unless there is no room (false).
    #[inline]
    fn send_payload(&self, call: &Call, payload: Payload<'_>, deadline: Deadline) -> Result<bool> {
        let side = &self.shared.send;
        lock::acquire_brief(call, &side.lock, deadline)?;
        let result = self.send_locked(payload);
        if matches!(result, Err(Error::Closed)) {
            self.finish_shutdown(call);
        } else {
            Self::release(call, side);
        }
        result
    }

    /// Commits a message unless there is no room (false). The caller holds the sending lock.
    #[inline]
    fn send_locked(&self, payload: Payload<'_>) -> Result<bool> {
        let shared = &*self.shared;
        if shared.phase.load(Relaxed) != 0 {
            return Err(Error::Closed);
        }
        if shared.send.transit.load(Relaxed) != 0 {
            self.mend_sending()?;
        }
        if self.log.is_some() && shared.log_from.load(Relaxed) != 0 && self.must_log() {
            return self.send_into_log(payload);
        }
        let Look { slot, position, ready } = self.ring.look(&shared.send, 0)?;
        let slot = slot?;
        match payload {
            Payload::Here(envelope, message) if ready && envelope.len() + message.len() <= self.ring.room() => {
                self.ring.put(slot, position, envelope, message);
            }
            Payload::InBlock(claim) if ready => self.put_block(slot, position, claim),
            _ if self.log.is_none() => return Ok(false),
            _ => {
                // Release: with the Acquire in `log_is_next`, for the slots before this position.
                shared.log_from.store(position.wrapping_add(1), Release);
                // die here: the log is empty, as the next sender sees.
                return self.send_into_log(payload);
            }
        }
        Ok(true)
    }

    /// Fills a slot with a block. The caller holds the sending lock.
    fn put_block(&self, slot: Slot<'_>, position: u64, claim: &Claim<'_>) {
        let side = &self.shared.send;
        side.transit_place.store(position, Relaxed);
        // Release, all three: each store is seen after those before it, by who finds the lock of a dead owner.
        side.transit.store(claim.index + 1, Release);
        // die here: the slot is not filled, so the next owner of the lock frees the block.
        claim.head.owner.store(State::Queued.nobodys(), Release);
        self.ring.put_block(slot, position, claim.index);
        // die here: the message is sent, and the next owner of the lock sees it.
        side.transit.store(0, Release);
    }

    /// Sees to what an owner of the sending lock left, who died while it passed a block on.
    #[cold]
    fn mend_sending(&self) -> Result<()> {
        let side = &self.shared.send;
        let index = (side.transit.load(Acquire) & BLOCK).wrapping_sub(1);
        let (filled, _) = self.ring.history(side.transit_place.load(Relaxed))?;
        self.end_transit(side, (!filled).then_some(index))
    }

    /// Clears a side's transit, and frees the block that was in it, if there is one to be freed. The caller holds the side's lock.
    fn end_transit(&self, side: &Side, free: Option<u32>) -> Result<()> {
        if let Some(index) = free {
            // Release: with the Acquire in `mend_sending` and `mend_receiving`: now it is held by a process that can be seen to live.
            self.blocks.head(index)?.owner.store(State::Held.mine(), Release);
        }
        // die here: done once more, with the same result: nobody else touches the block while it is in transit.
        side.transit.store(0, Release);
        // die here: the block is held by a dead process.
        free.map_or(Ok(()), |index| self.blocks.free(index))
    }

    /// Whether messages still go into the log; if not, they go into the ring from now on. The caller holds the sending lock.
    #[cold]
    fn must_log(&self) -> bool {
        if self.log.as_ref().is_some_and(|log| !log.is_empty()) {
            return true;
        }
        // Release: with the Acquire in `log_is_next`.
        self.shared.log_from.store(0, Release);
        false
    }

    #[cold]
    fn send_into_log(&self, payload: Payload<'_>) -> Result<bool> {
        match (&self.log, payload) {
            (Some(log), Payload::Here(envelope, message)) => log.append(envelope, message).map(|()| true),
            _ => Err(Error::Corrupted("a queue became unbounded")),
        }
    }

    /// Claims a block for a message to be sent, and waits for one. The call works on the receiving lock's word afterwards.
    pub(crate) fn claim(&self, call: &Call, deadline: Deadline, watch: Option<&dyn Watch>) -> Result<Claim<'_>> {
        loop {
            let claim = self.blocks.claim()?;
            call.turn_to(&self.shared.recv.lock);
            if let Some(claim) = claim {
                return Ok(claim);
            }
            if self.take_from_the_dead(call, deadline)? == Dead::Blocks {
                continue;
            }
            if self.is_shut_down() {
                return Err(Error::Closed);
            }
            self.wait_for_block(deadline, watch, || self.is_shut_down())?;
        }
    }

    /// Waits until there may be a free block, or `over`. The call works on the receiving lock's word.
    #[cold]
    fn wait_for_block(&self, deadline: Deadline, watch: Option<&dyn Watch>, over: impl Fn() -> bool) -> Result<()> {
        let side = &self.shared.recv;
        let look = Cell::new(false);
        let change = || {
            self.shared.block_wanted.swap(1, Relaxed);
            // With the fence in `Blocks::notify`: either we see the free block, or its owner sees that it is wanted.
            lock::fence_after_rmw();
            Ok((look.take() || self.blocks.any_free()? || over()).then_some(()))
        };
        self.with_lessees(watch, |watch| {
            let sleep = |seen, time: Duration| {
                let (slept, time_to_look) = sleep_beside(side, seen, Kind::Change, time, watch.unwrap_or(&Nobody))?;
                // The kernel wakes us where somebody died inside a call, who may have had a block.
                look.set(time_to_look || slept == Slept::Woken && self.blocks.any_of_the_dead());
                Ok(slept)
            };
            lock::wait_for_change((On::Lock(&side.generation), &side.lock), deadline, &self.send_spin, change, sleep)
        })
    }

    /// Waits, with an eye on those who have messages on lease, if anybody ever had.
    fn with_lessees<T>(&self, watch: Option<&dyn Watch>, wait: impl FnOnce(Option<&dyn Watch>) -> Result<T>) -> Result<T> {
        if self.shared.roles.load(Relaxed) & LEASES == 0 {
            return wait(watch);
        }
        match self.lives() {
            Some(lives) => wait(Some(&Lessees { store: self, lives, ending: RefCell::default(), and: watch })),
            None => wait(Some(watch.unwrap_or(&Nobody))),
        }
    }

    /// Waits until there is room for a message. The call works on the sending lock's word before and after.
    #[cold]
    fn wait_for_room(&self, call: &Call, deadline: Deadline, watch: Option<&dyn Watch>) -> Result<()> {
        let shared = &*self.shared;
        // Nothing is held from here on.
        call.turn_to(&shared.recv.lock);
        let room = || match self.ring.look(&shared.send, 0) {
            Ok(Look { ready: false, .. }) if shared.phase.load(Relaxed) == 0 => Ok(None),
            // What is wrong is found out under the lock.
            _ => Ok(Some(())),
        };
        self.wait_on(&shared.recv, deadline, &self.send_spin, watch, room)?;
        call.turn_to(&shared.send.lock);
        Ok(())
    }

    /// Receives a message: takes the lock, waits for one, copies it to where it goes, commits.
    #[inline]
    pub(crate) fn recv(
        &self,
        sink: &mut impl Sink,
        take: Take,
        deadline: Deadline,
        watch: Option<&dyn Watch>,
    ) -> Result<Received> {
        let shared = &*self.shared;
        let call = Call::enter(&shared.recv.lock)?;
        if take != Take::Whole && self.blocks.is_empty() {
            return Err(Error::Unsupported("the queue was made for no leases (and no requests)".into()));
        }
        // Where a message goes that must stay in a block, and lies elsewhere.
        let mut spare = None;
        let mut closing = false;
        loop {
            if take != Take::Whole && !self.is_rendezvous() {
                spare = self.blocks.claim()?;
            }
            lock::acquire_brief(&call, &shared.recv.lock, deadline)?;
            // Read before the look: once the queue is closed, what is not in it now never will be.
            // Acquire: with the Release in `finish_shutdown`.
            let phase = shared.phase.load(Acquire);
            let result = self.recv_locked(sink, take, &mut spare);
            match &result {
                Ok(Found::Message(Received { offer: Some(woken), block: Some(index), .. })) => {
                    self.release_sender(&call, *index, *woken);
                }
                _ => Self::release(&call, &shared.recv),
            }
            match result? {
                Found::Message(received) => return self.take_out(sink, take, received),
                Found::NoBlock => {
                    if self.take_from_the_dead(&call, deadline)? == Dead::Nothing {
                        let over = || shared.recv.returned.load(Relaxed) != 0 || !self.next_needs_block();
                        self.wait_for_block(deadline, watch, over)?;
                    }
                    continue;
                }
                Found::Nothing => {}
            }
            // Who waits keeps nothing from others.
            spare = None;
            if shared.recv.leased.load(Relaxed) != 0 && self.take_from_the_dead(&call, deadline)? != Dead::Nothing {
                continue;
            }
            if phase == CLOSED {
                return Err(Error::Closed);
            }
            if phase != 0 {
                if phase != CLOSING || closing {
                    return Err(Error::Corrupted("the queue's phase is none that it can have"));
                }
                closing = true;
                call.turn_to(&shared.send.lock);
                lock::acquire_brief(&call, &shared.send.lock, deadline)?;
                self.finish_shutdown(&call);
            } else {
                call.turn_to(&shared.send.lock);
                self.wait_for_messages(deadline, watch)?;
            }
            call.turn_to(&shared.recv.lock);
        }
    }

    /// Sleeps until there may be a message. The call works on the sending lock's word.
    #[cold]
    fn wait_for_messages(&self, deadline: Deadline, watch: Option<&dyn Watch>) -> Result<()> {
        let shared = &*self.shared;
        if self.is_rendezvous() {
            // Seen by senders that may not wait, while we do not sleep yet.
            shared.send.lock.fetch_or(lock::WAITERS, Relaxed);
        }
        let knew = shared.roles.load(Relaxed) & LEASES != 0;
        // Who did not know that there are lessees to be watched comes back for that.
        let change = || Ok((self.is_readable() || !knew && shared.roles.load(Relaxed) & LEASES != 0).then_some(()));
        self.with_lessees(watch, |watch| self.wait_on(&shared.send, deadline, &self.recv_spin, watch, change))
    }

    /// Whether the next message, if it is to stay in a block, needs a free one.
    fn next_needs_block(&self) -> bool {
        match self.ring.look(&self.shared.recv, 1) {
            Ok(Look { ready: true, slot: Ok(slot), .. }) => slot.head().len.load(Relaxed) != IN_BLOCK,
            Ok(Look { ready: false, position, .. }) => self.log_is_next(position).is_some_and(|log| !log.is_empty()),
            // What is wrong is found out under the lock.
            _ => false,
        }
    }

    /// Whether a receiver would find something at this moment: a message, the end, or an error.
    #[inline]
    pub(crate) fn is_readable(&self) -> bool {
        let shared = &*self.shared;
        if self.is_rendezvous() {
            return self.has_offer() || shared.recv.returned.load(Relaxed) != 0 || shared.phase.load(Relaxed) != 0;
        }
        match self.ring.look(&shared.recv, 1) {
            Ok(Look { ready: false, position, .. }) => {
                shared.recv.returned.load(Relaxed) != 0
                    || shared.phase.load(Relaxed) != 0
                    || self.log_is_next(position).is_some_and(|log| !log.is_empty())
            }
            // What is wrong is found out under the lock.
            _ => true,
        }
    }

    /// Whether a sender would find room at this moment, the end, or an error.
    pub(crate) fn is_writable(&self) -> bool {
        let shared = &*self.shared;
        if self.is_rendezvous() {
            return shared.send.lock.load(Relaxed) & lock::WAITERS != 0 || shared.phase.load(Relaxed) != 0;
        }
        self.log.is_some()
            || shared.phase.load(Relaxed) != 0
            || !matches!(self.ring.look(&shared.send, 0), Ok(Look { ready: false, .. }))
    }

    /// The log, if that is where the messages are that come after those in the ring, whose slots before `position` are empty.
    #[inline]
    fn log_is_next(&self, position: u64) -> Option<&Log> {
        // Acquire: with the Release in `send_locked`.
        self.log.as_ref().filter(|_| self.shared.log_from.load(Acquire) == position.wrapping_add(1))
    }

    /// Takes a message, if there is one. The caller holds the receiving lock.
    #[inline]
    fn recv_locked(&self, sink: &mut impl Sink, take: Take, spare: &mut Option<Claim<'_>>) -> Result<Found> {
        let shared = &*self.shared;
        if shared.recv.transit.load(Relaxed) != 0 {
            self.mend_receiving()?;
        }
        if shared.recv.returned.load(Relaxed) != 0
            && let Some(received) = self.recv_returned(sink, take)?
        {
            return Ok(Found::Message(received));
        }
        if self.is_rendezvous() {
            return self.accept(sink, take).map(|received| received.map_or(Found::Nothing, Found::Message));
        }
        let Look { slot, position, ready } = self.ring.look(&shared.recv, 1)?;
        if !ready {
            return match self.log_is_next(position) {
                Some(log) => self.recv_from_log(log, position, sink, take, spare),
                None => Ok(Found::Nothing),
            };
        }
        let slot = slot?;
        // Read once: the checks below hold for what is used after them.
        let len = slot.head().len.load(Relaxed);
        if len == IN_BLOCK {
            return self.recv_block(slot, position, sink, take).map(Found::Message);
        }
        let (from, len) = self.split(len, self.ring.room())?;
        if take == Take::Whole && from == 0 {
            slot.read(0, &mut sink.space(len)?[..len]);
            self.ring.commit_emptied(slot, position);
            return Ok(Found::Message(Received { len, envelope: None, block: None, offer: None }));
        }
        self.recv_kept(slot, position, (from, len), sink, take, spare)
    }

    /// An envelope's length, or 0, and that of the message behind it. `room`: the most that both can have.
    #[inline]
    pub(crate) fn split(&self, len: u32, room: usize) -> Result<(usize, usize)> {
        let from = if len & ENVELOPED == 0 { 0 } else { ENVELOPE };
        let all = (len & !ENVELOPED) as usize;
        match all.checked_sub(from) {
            Some(len) if len <= self.max_message && all <= room => Ok((from, len)),
            _ => Err(Error::Corrupted("a message is longer than the queue's messages can be")),
        }
    }

    /// Takes a message out of a slot that has an envelope or stays in a block.
    #[cold]
    fn recv_kept(
        &self,
        slot: Slot<'_>,
        position: u64,
        (from, len): (usize, usize),
        sink: &mut impl Sink,
        take: Take,
        spare: &mut Option<Claim<'_>>,
    ) -> Result<Found> {
        let into = &mut sink.space(len)?[..len];
        let envelope = read_envelope(from, |bytes| {
            slot.read(0, bytes);
            Ok(())
        })?;
        if take == Take::Whole {
            slot.read(from, into);
            self.ring.commit_emptied(slot, position);
            return Ok(Found::Message(Received { len, envelope, block: None, offer: None }));
        }
        let Some(claim) = spare.take() else { return Ok(Found::NoBlock) };
        claim.back(from + len)?;
        slot.copy_to(from + len, self.blocks.data(), self.blocks.offset(claim.index, 0))?;
        self.pass_to_me(claim.index, claim.head, (from, len), take, (COPIED, position), || {
            self.ring.commit_emptied(slot, position);
            Ok(())
        })?;
        let block = Some(claim.index);
        claim.pass_on();
        Ok(Found::Message(Received { len, envelope, block, offer: None }))
    }

    /// Takes a message out of the log, which is where messages are that come after those before `position`.
    #[cold]
    fn recv_from_log(
        &self,
        log: &Log,
        position: u64,
        sink: &mut impl Sink,
        take: Take,
        spare: &mut Option<Claim<'_>>,
    ) -> Result<Found> {
        let Some(record) = log.next()? else { return Ok(Found::Nothing) };
        if self.log_is_next(position).is_none() {
            // The queue was empty when we looked at the ring. Since then senders have filled that, and come to the log again.
            return Ok(Found::Nothing);
        }
        let (from, len) = self.split(record.len, usize::MAX)?;
        let into = &mut sink.space(len)?[..len];
        let envelope = read_envelope(from, |bytes| log.read(&record, 0, bytes))?;
        let block = if take == Take::Whole {
            log.read(&record, from, into)?;
            log.take(&record)?;
            None
        } else {
            let Some(claim) = spare.take() else { return Ok(Found::NoBlock) };
            self.copy_record(log, &record, from + len, &claim)?;
            self.pass_to_me(claim.index, claim.head, (from, len), take, (COPIED | IN_LOG, record.place), || log.take(&record))?;
            let index = claim.index;
            claim.pass_on();
            Some(index)
        };
        Ok(Found::Message(Received { len, envelope, block, offer: None }))
    }

    fn copy_record(&self, log: &Log, record: &Record, len: usize, claim: &Claim<'_>) -> Result<()> {
        claim.back(len)?;
        self.blocks.data().copy(self.blocks.offset(claim.index, 0), log.bytes(), record.offset, len)
    }

    /// Takes a block that a slot refers to.
    #[cold]
    fn recv_block(&self, slot: Slot<'_>, position: u64, sink: &mut impl Sink, take: Take) -> Result<Received> {
        let index = slot.block().load(Relaxed);
        let head = self.blocks.head(index)?;
        if State::of(head.owner.load(Acquire)) != State::Queued {
            return Err(Error::Corrupted("a slot refers to a block that is not queued"));
        }
        let (from, len) = self.split(head.len.load(Relaxed), self.blocks.size())?;
        sink.space(len)?;
        self.pass_to_me(index, head, (from, len), take, (0, position), || {
            self.ring.commit_emptied(slot, position);
            Ok(())
        })?;
        Ok(Received { len, envelope: self.envelope_in(index, from)?, block: Some(index), offer: None })
    }

    /// Takes a message that was returned.
    #[cold]
    fn recv_returned(&self, sink: &mut impl Sink, take: Take) -> Result<Option<Received>> {
        let Some((index, head)) = self.blocks.first_returned() else { return Ok(None) };
        let (from, len) = self.split(head.len.load(Relaxed), self.blocks.size())?;
        sink.space(len)?;
        self.mark(head, take, head.deliveries.load(Relaxed).saturating_add(1));
        // die here: the block is ours, in this state, and the message returned or gone with us.
        Ok(Some(Received { len, envelope: self.envelope_in(index, from)?, block: Some(index), offer: None }))
    }

    pub(crate) fn envelope_in(&self, index: u32, from: usize) -> Result<Option<Envelope>> {
        read_envelope(from, |bytes| self.blocks.data().read(self.blocks.offset(index, 0), bytes))
    }

    /// Makes a block this process's, as `take` says. The caller holds the receiving lock.
    pub(crate) fn mark(&self, head: &BlockHead, take: Take, deliveries: u32) {
        let recv = &self.shared.recv;
        let (state, life) = match take {
            Take::Whole => (State::Held, 0),
            Take::OnLease(life) => {
                recv.leased.store(1, Relaxed);
                if deliveries == 1 {
                    let order = recv.leases.load(Relaxed).wrapping_add(1);
                    recv.leases.store(order, Relaxed);
                    head.order.store(order, Relaxed);
                }
                (State::Leased, life)
            }
            Take::Claimed(life) => (State::Held, life),
        };
        head.deliveries.store(deliveries, Relaxed);
        head.life.store(life, Relaxed);
        // Release: with the Acquire in `take_from_the_dead`, for what was stored before.
        head.owner.store(state.mine(), Release);
    }

    /// Makes a block this process's and, in the same step for everybody else, does what takes its message from `place` (`commit`).
    fn pass_to_me(
        &self,
        index: u32,
        head: &BlockHead,
        (from, len): (usize, usize),
        take: Take,
        (flags, place): (u32, u64),
        commit: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let recv = &self.shared.recv;
        if flags & COPIED != 0 {
            head.len.store((from + len) as u32 | if from == 0 { 0 } else { ENVELOPED }, Relaxed);
        }
        recv.transit_place.store(place, Relaxed);
        // Release: with the Acquire in `mend_receiving`.
        recv.transit.store((index + 1) | flags, Release);
        // die here: the message is where it was, as the next owner of the lock sees, who gives the block back to who had it.
        self.mark(head, take, 1);
        commit()?;
        // die here: the message is ours; the next owner of the lock sees that, and that we are dead.
        recv.transit.store(0, Release);
        Ok(())
    }

    /// Sees to what a dead owner of the receiving lock may have left, whose owner the caller is.
    pub(crate) fn mend(&self) -> Result<()> {
        if self.shared.recv.transit.load(Relaxed) != 0 { self.mend_receiving() } else { Ok(()) }
    }

    /// Sees to what an owner of the receiving lock left, who died while it took a block.
    #[cold]
    fn mend_receiving(&self) -> Result<()> {
        let recv = &self.shared.recv;
        // Acquire: with the Release in `pass_to_me`.
        let transit = recv.transit.load(Acquire);
        let (index, place) = ((transit & BLOCK).wrapping_sub(1), recv.transit_place.load(Relaxed));
        let head = self.blocks.head(index)?;
        let taken = if self.is_rendezvous() {
            self.was_accepted(head, place)
        } else if transit & IN_LOG != 0 {
            self.log.as_ref().is_some_and(|log| log.is_taken(place))
        } else {
            self.ring.history(place)?.1
        };
        if taken && self.is_rendezvous() {
            self.wake_sender(index);
            if transit & ON_LEASE != 0 && State::of(head.owner.load(Relaxed)) == State::Held {
                // It was the sender's still. From here on it is on lease to us, until it is returned below.
                self.mark(head, Take::OnLease(0), 1);
            }
        }
        let free = match State::of(head.owner.load(Acquire)) {
            State::Returned => None,
            State::Leased if taken => {
                self.blocks.give_back(head);
                None
            }
            _ if taken || transit & COPIED != 0 => Some(index),
            _ => {
                // An offer is still its sender's.
                if !self.is_rendezvous() {
                    head.owner.store(State::Queued.nobodys(), Release);
                }
                None
            }
        };
        self.end_transit(recv, free)
    }

    /// Copies a message out of its block, and frees the block unless it is kept. Nothing is held.
    fn take_out(&self, sink: &mut impl Sink, take: Take, mut received: Received) -> Result<Received> {
        let Some(index) = received.block else { return Ok(received) };
        let from = if received.envelope.is_some() { ENVELOPE } else { 0 };
        let into = sink.space(received.len).map(|space| &mut space[..received.len]);
        let result = into.and_then(|into| self.blocks.data().read(self.blocks.offset(index, from), into));
        if take == Take::Whole {
            self.blocks.free(index)?;
            self.blocks.notify();
            received.block = None;
        }
        result.map(|()| received)
    }

    /// Frees or returns what dead processes had. The call works on the receiving lock's word, and its lock is free.
    #[cold]
    fn take_from_the_dead(&self, call: &Call, deadline: Deadline) -> Result<Dead> {
        let shared = &*self.shared;
        lock::acquire_brief(call, &shared.recv.lock, deadline)?;
        let result = self.take_from_the_dead_locked();
        Self::release(call, &shared.recv);
        result
    }

    fn take_from_the_dead_locked(&self) -> Result<Dead> {
        let shared = &*self.shared;
        if shared.recv.transit.load(Relaxed) != 0 {
            self.mend_receiving()?;
        }
        let found = self.blocks.take_from_the_dead()?;
        let (mut leased, mut returned) = (false, false);
        for (_, head) in self.blocks.all() {
            let state = State::of(head.owner.load(Relaxed));
            leased |= matches!(state, State::Leased | State::Returned);
            returned |= state == State::Returned;
        }
        if returned {
            // Who returned it may have died before it said so.
            shared.recv.returned.store(1, Relaxed);
        }
        if !leased {
            // Under the lock nobody leases, and who returns had leased.
            shared.recv.leased.store(0, Relaxed);
        }
        Ok(match (found, returned) {
            (true, _) => Dead::Blocks,
            (false, true) => Dead::Returned,
            (false, false) => Dead::Nothing,
        })
    }

    #[inline]
    pub(crate) fn release(call: &Call, side: &Side) {
        lock::release_changed(call, &side.lock, &side.generation);
    }

    /// Sleeps on the other side's lock word until `change` says so, or somebody died who is watched.
    #[cold]
    pub(crate) fn wait_on(
        &self,
        side: &Side,
        deadline: Deadline,
        spin: &Spin,
        watch: Option<&dyn Watch>,
        mut change: impl FnMut() -> Result<Option<()>>,
    ) -> Result<()> {
        let on = if self.is_rendezvous() && std::ptr::eq(side, &raw const self.shared.send) {
            On::Event
        } else {
            On::Lock(&side.generation)
        };
        let Some(watch) = watch else {
            let sleep = |seen, time| futex::wait(&side.lock, seen, Kind::Change, time);
            return lock::wait_for_change((on, &side.lock), deadline, spin, change, sleep);
        };
        let look = Cell::new(false);
        let sleep = |seen, time: Duration| {
            let (slept, time_to_look) = sleep_beside(side, seen, Kind::Change, time, watch)?;
            look.set(time_to_look);
            Ok(slept)
        };
        let look_or_change = || if look.take() { Ok(Some(())) } else { change() };
        match lock::wait_for_change((on, &side.lock), deadline, spin, look_or_change, sleep) {
            // They may have done something for us before they ended.
            Err(Error::Disconnected(_)) if change()?.is_some() => Ok(()),
            result => result,
        }
    }

    /// Refuses senders from now on, and receivers once the queue is empty; wakes all who wait.
    pub(crate) fn shutdown(&self) -> Result<()> {
        if self.is_rendezvous() {
            return self.end_handoffs();
        }
        let shared = &*self.shared;
        // Should we die, the kernel wakes who sleeps on one word: that of the side where somebody does.
        let receivers_sleep = shared.send.lock.load(Relaxed) & lock::WAITERS != 0;
        let call = Call::enter(if receivers_sleep { &shared.send.lock } else { &shared.recv.lock })?;
        // Fails where it is CLOSING or CLOSED already.
        let _ = shared.phase.compare_exchange(0, CLOSING, Relaxed, Relaxed);
        // die here: one of those who wait is woken, and completes it; if nobody waits, the next call does.
        lock::notify_all(&shared.recv.lock, &shared.recv.generation);
        call.turn_to(&shared.send.lock);
        lock::acquire(&call, &shared.send.lock, Deadline::Never)?;
        self.finish_shutdown(&call);
        Ok(())
    }

    /// Completes a shutdown. The caller holds the sending lock, and has let go of it after this.
    #[cold]
    fn finish_shutdown(&self, call: &Call) {
        if self.shared.phase.load(Relaxed) == CLOSED {
            return Self::release(call, &self.shared.send);
        }
        // Its author may have died before it woke the senders.
        lock::notify_all(&self.shared.recv.lock, &self.shared.recv.generation);
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
        let Ok(call) = Call::enter(&shared.recv.lock) else { return };
        lock::notify_all(&shared.recv.lock, &shared.recv.generation);
        call.turn_to(&shared.send.lock);
        if self.is_rendezvous() {
            lock::notify_all(&shared.send.lock, &shared.send.lock);
        } else {
            lock::notify_all(&shared.send.lock, &shared.send.generation);
        }
    }

    pub(crate) fn is_shut_down(&self) -> bool {
        self.shared.phase.load(Relaxed) != 0
    }

    /// How many messages wait, at this moment; those on lease are not counted.
    pub(crate) fn len(&self) -> Result<usize> {
        let in_ring = if self.is_rendezvous() { 0 } else { self.ring.len()? };
        let in_log = match &self.log {
            Some(log) => log.len()?,
            None => 0,
        };
        Ok(in_ring + in_log + self.blocks.returned())
    }

    /// Ends a lease or a claim: the message is gone (`done`), or is received again. `order`: which one it was.
    pub(crate) fn finish(&self, index: u32, order: u64, done: bool) -> Result<()> {
        let shared = &*self.shared;
        let head = self.blocks.head(index)?;
        let word = head.owner.load(Relaxed);
        if head.order.load(Relaxed) != order || word != State::Leased.mine() && word != State::Held.mine() {
            return Err(Error::NotOwner("this process does not have this message on lease (any more)"));
        }
        if done {
            let _call = Call::enter(&shared.recv.lock)?;
            self.blocks.free(index)?;
            self.blocks.notify();
        } else {
            // Should we die before we have woken somebody, the kernel does.
            let call = Call::enter(&shared.send.lock)?;
            self.blocks.give_back(head);
            if self.is_rendezvous() {
                lock::fence_after_rmw();
                lock::notify(&shared.send.lock, 1);
            } else {
                lock::notify_all(&shared.send.lock, &shared.send.generation);
            }
            // A receiver that waits for a free block can take this message without.
            call.turn_to(&shared.recv.lock);
            self.blocks.notify();
        }
        Ok(())
    }
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

#[inline]
fn read_envelope(from: usize, read: impl FnOnce(&mut [MaybeUninit<u8>]) -> Result<()>) -> Result<Option<Envelope>> {
    if from == 0 {
        return Ok(None);
    }
    let mut envelope = [MaybeUninit::new(0); ENVELOPE];
    read(&mut envelope)?;
    // SAFETY: all bytes were initialized.
    Ok(Some(unsafe { std::mem::transmute::<[MaybeUninit<u8>; ENVELOPE], Envelope>(envelope) }))
}
