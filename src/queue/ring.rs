//! The bounded ring: a row of slots that senders fill and receivers empty in turn.
//!
//! A *position* is a slot's number in its lower bits (as many as the capacity needs) and the *lap* above them; the positions of both
//! [sides](crate::shm::layout::Side) only grow. Each slot has a sequence number of its own: `2 * lap` while it waits to be filled in that
//! lap, `2 * lap + 1` once it is. Zeroed memory is a ring in which every slot waits for lap 0.
//!
//! A sender holds the sending lock, writes the payload, and *commits with one store* of the slot's sequence number. A receiver holds
//! the receiving lock, copies the payload out, and commits likewise. So the two sides meet at the slot only.
//!
//! # Why a message is there whole or not at all, once or not at all
//!
//! The slots are the truth, positions are hints. A sender that dies before its commit leaves a slot that is still empty, whatever
//! bytes are in it: the next sender writes over them. One that dies after it leaves a message, and a hint that is one
//! behind: the next owner of the lock sees that the slot is filled, and moves the hint on before anything else. A receiver that
//! dies before its commit has not taken the message: the next one does; one that dies after it has. A hint is never ahead of the
//! truth, since it is stored after the commit, under the lock.
//!
//! # Why nobody waits beside a message, or beside room
//!
//! A receiver that finds the ring empty lets go of its lock and sleeps on the sending lock's word, which every sender releases after its
//! commit; a sender that finds it full does so on the receiving lock's. The rest is `sync::lock`'s.
//!
//! # Shutting down
//!
//! First CLOSING is stored, and the senders that wait for room are woken; then, under the sending lock, CLOSED, and the receivers are
//! woken. After that no message can be committed. Whoever comes upon CLOSING completes it: its author may have died.

use std::borrow::Borrow;
use std::mem::MaybeUninit;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::error::{Error, Result};
use crate::shm::Shared;
use crate::shm::layout::{QueueLayout, Side};
use crate::shm::slots::{Slot, Slots};
use crate::sync::lock::{self, On};
use crate::sync::source::Source;
use crate::sync::spin::Spin;
use crate::sys::futex::{self, Kind};
use crate::sys::thread::Call;
use crate::time::Deadline;

/// The states of `QueueLayout::phase`, besides 0 (open). Senders are refused.
const CLOSING: u32 = 1;
/// Nothing more is committed.
const CLOSED: u32 = 2;

pub(crate) struct Ring {
    pub(crate) shared: Shared<QueueLayout>,
    slots: Slots,
    /// What was true when the queue was opened, and is not asked of the shared memory again.
    capacity: u32,
    max_message: usize,
    /// How many bits of a position are the slot's number.
    index_bits: u32,
    send_spin: Spin,
    recv_spin: Spin,
}

/// Where a message goes that is received.
pub(crate) trait Sink {
    /// Room for a message of `len` bytes, at least. Called under the receiving lock: it neither waits nor panics.
    fn space(&mut self, len: usize) -> Result<&mut [MaybeUninit<u8>]>;
}

/// What a look at a side's next slot gave.
struct Look<'a> {
    /// An error where there is no memory for the slot, which nobody has used yet then, or where it was not found under the lock.
    slot: Result<Slot<'a>>,
    position: u64,
    /// Whether the side can work on the slot; if not, the ring is full, or empty.
    ready: bool,
}

/// A hint is behind by one where an owner has died; a look without the lock, by what has happened since it read the hint. It goes so
/// many steps before it reads the hint again, and reads it so many times: more is the work of somebody who scribbles.
const STEPS: u32 = 64;
const READS: u32 = 64;

impl Ring {
    /// A ring over a queue's memory, whose fixed fields are checked here.
    pub(crate) fn new(shared: Shared<QueueLayout>) -> Result<Self> {
        let capacity = shared.capacity.load(Relaxed);
        let max_message = shared.max_message.load(Relaxed) as usize;
        let size = usize::try_from(shared.slot_size.load(Relaxed)).unwrap_or(usize::MAX);
        if capacity == 0 {
            return Err(Error::Corrupted("the queue has no capacity"));
        }
        let slots = Slots::new(&shared, capacity as usize, size)?;
        if max_message > slots.room() {
            return Err(Error::Corrupted("the queue's messages are longer than its slots"));
        }
        let index_bits = (capacity - 1).checked_ilog2().map_or(0, |bits| bits + 1);
        let (send_spin, recv_spin) = (Spin::new(), Spin::new());
        Ok(Self { shared, slots, capacity, max_message, index_bits, send_spin, recv_spin })
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity as usize
    }

    pub(crate) fn max_message(&self) -> usize {
        self.max_message
    }

    #[inline]
    fn index_of(&self, position: u64) -> u64 {
        position & ((1 << self.index_bits) - 1)
    }

    #[inline]
    fn lap_of(&self, position: u64) -> u64 {
        // With a capacity of 1 no bit is the number's.
        position >> self.index_bits
    }

    /// The position after this one.
    #[inline]
    fn next(&self, position: u64) -> u64 {
        if self.index_of(position) + 1 < u64::from(self.capacity) {
            position.wrapping_add(1)
        } else {
            self.lap_of(position).wrapping_add(1) << self.index_bits
        }
    }

    /// The slot that a side works on next. `filled`: whether it must hold a message (1) or wait for one (0).
    ///
    /// Reads only; who does not hold the side's lock gets an answer that may be a moment old.
    #[inline]
    fn look(&self, side: &Side, filled: u64) -> Result<Look<'_>> {
        for _ in 0..READS {
            // Acquire: with the Release of its owners: the slot that they committed before is seen as committed.
            let mut position = side.position.load(Acquire);
            for _ in 0..STEPS {
                let slot = match self.slots.get(self.index_of(position) as usize) {
                    Ok(slot) => slot,
                    Err(Error::NoSpace(what)) => return Ok(Look { slot: Err(Error::NoSpace(what)), position, ready: false }),
                    Err(e) => return Err(e),
                };
                let wanted = self.lap_of(position).wrapping_mul(2) + filled;
                // Acquire: with the Release of the other side's commit: its payload, or that its payload has been read.
                let ahead = slot.head().sequence.load(Acquire).wrapping_sub(wanted).cast_signed();
                if ahead == 0 || ahead == -1 {
                    return Ok(Look { slot: Ok(slot), position, ready: ahead == 0 });
                }
                if ahead < 0 {
                    return Err(Error::Corrupted("a slot's sequence number is behind the queue's position"));
                }
                position = self.next(position);
            }
        }
        let slot = Err(Error::Corrupted("the slots' sequence numbers are ahead of the queue's position"));
        Ok(Look { slot, position: side.position.load(Acquire), ready: true })
    }

    /// Sends a message: takes the lock, waits for room, commits.
    #[inline]
    pub(crate) fn send(&self, message: &[u8], deadline: Deadline) -> Result<()> {
        if message.len() > self.max_message {
            return Err(Error::MessageTooLong { len: message.len(), max: self.max_message });
        }
        let shared = &*self.shared;
        let call = Call::enter(&shared.send.lock)?;
        loop {
            lock::acquire_brief(&call, &shared.send.lock, deadline)?;
            let result = self.send_locked(message);
            if matches!(result, Err(Error::Closed)) {
                self.finish_shutdown(&call);
                return Err(Error::Closed);
            }
            Self::release(&call, &shared.send);
            if result? {
                return Ok(());
            }
            // Nothing is held from here on.
            call.turn_to(&shared.recv.lock);
            self.wait_on(self.room_event(), deadline, &self.send_spin, || Ok(self.writable().then_some(())))?;
            call.turn_to(&shared.send.lock);
        }
    }

    /// Commits a message unless the ring is full (false). The caller holds the sending lock.
    #[inline]
    fn send_locked(&self, message: &[u8]) -> Result<bool> {
        let shared = &*self.shared;
        if shared.phase.load(Relaxed) != 0 {
            return Err(Error::Closed);
        }
        let Look { slot, position, ready } = self.look(&shared.send, 0)?;
        let slot = slot?;
        if !ready {
            return Ok(false);
        }
        shared.send.position.store(position, Release);
        let head = slot.head();
        slot.write(message);
        head.len.store(message.len() as u32, Relaxed);
        // die here: the slot is empty, whatever bytes are in it.
        // Release: with the Acquire in a receiver's `look`, for the payload and its length.
        head.sequence.store(self.lap_of(position).wrapping_mul(2) + 1, Release);
        // die here: the message is sent; the next owner of the lock finds the slot filled and moves the hint on.
        // Release: with the Acquire in `look`, for who looks without the lock: the slot before the hint.
        shared.send.position.store(self.next(position), Release);
        // die here: all is done but the release, which the kernel sees to.
        Ok(true)
    }

    /// Receives a message: takes the lock, waits for one, copies it to where it goes, commits. Says how long it is.
    #[inline]
    pub(crate) fn recv(&self, sink: &mut impl Sink, deadline: Deadline) -> Result<usize> {
        let shared = &*self.shared;
        let call = Call::enter(&shared.recv.lock)?;
        let mut closing = false;
        loop {
            lock::acquire_brief(&call, &shared.recv.lock, deadline)?;
            // Read before the look: once the queue is closed, what is not in it now never will be.
            // Acquire: with the Release in `finish_shutdown`.
            let phase = shared.phase.load(Acquire);
            let result = self.recv_locked(sink);
            Self::release(&call, &shared.recv);
            if let Some(len) = result? {
                return Ok(len);
            }
            if phase == CLOSED {
                return Err(Error::Closed);
            }
            call.turn_to(&shared.send.lock);
            if phase != 0 {
                if phase != CLOSING || closing {
                    return Err(Error::Corrupted("the queue's phase is none that it can have"));
                }
                closing = true;
                lock::acquire_brief(&call, &shared.send.lock, deadline)?;
                self.finish_shutdown(&call);
            } else {
                self.wait_on(self.message_event(), deadline, &self.recv_spin, || Ok(self.readable().then_some(())))?;
            }
            call.turn_to(&shared.recv.lock);
        }
    }

    /// Takes a message, unless the ring is empty. The caller holds the receiving lock.
    #[inline]
    fn recv_locked(&self, sink: &mut impl Sink) -> Result<Option<usize>> {
        let shared = &*self.shared;
        let Look { slot, position, ready: true } = self.look(&shared.recv, 1)? else {
            return Ok(None);
        };
        let slot = slot?;
        shared.recv.position.store(position, Release);
        let head = slot.head();
        // Read once: the check below holds for what is used after it.
        let len = head.len.load(Relaxed) as usize;
        if len > self.max_message {
            return Err(Error::Corrupted("a message is longer than the queue's messages can be"));
        }
        slot.read(&mut sink.space(len)?[..len]);
        // die here: the message is still there, for the next receiver.
        // Release: with the Acquire in a sender's `look`: the payload has been read, and may be written over.
        head.sequence.store(self.lap_of(position).wrapping_add(1).wrapping_mul(2), Release);
        // die here: the message is gone with us; the next owner of the lock moves the hint on.
        // Release: with the Acquire in `look`, as in `send_locked`.
        shared.recv.position.store(self.next(position), Release);
        Ok(Some(len))
    }

    #[inline]
    fn release(call: &Call, side: &Side) {
        lock::release_changed(call, &side.lock, &side.generation, &side.watched);
    }

    /// Whether a receiver would not have to wait. What is wrong is found out under the lock.
    pub(crate) fn readable(&self) -> bool {
        let shared = &*self.shared;
        !matches!(self.look(&shared.recv, 1), Ok(Look { ready: false, .. })) || shared.phase.load(Relaxed) != 0
    }

    /// Whether a sender would not have to wait. What is wrong, or that there is no memory, is found out under the lock.
    pub(crate) fn writable(&self) -> bool {
        let shared = &*self.shared;
        !matches!(self.look(&shared.send, 0), Ok(Look { ready: false, slot: Ok(_), .. })) || shared.phase.load(Relaxed) != 0
    }

    /// What receivers sleep on until there is a message.
    pub(crate) fn message_event(&self) -> (On<'_>, &AtomicU32) {
        Self::event(&self.shared.send)
    }

    /// What senders sleep on until there is room.
    pub(crate) fn room_event(&self) -> (On<'_>, &AtomicU32) {
        Self::event(&self.shared.recv)
    }

    /// The changes that the owners of a side's lock make.
    fn event(side: &Side) -> (On<'_>, &AtomicU32) {
        (On::Lock { generation: &side.generation, watched: &side.watched }, &side.lock)
    }

    /// Sleeps on the other side's lock word until `change` says so.
    #[cold]
    fn wait_on(
        &self,
        (on, word): (On<'_>, &AtomicU32),
        deadline: Deadline,
        spin: &Spin,
        change: impl FnMut() -> Result<Option<()>>,
    ) -> Result<()> {
        lock::wait_for_change((on, word), deadline, spin, change, |seen, time| futex::wait(word, seen, Kind::Change, time))
    }

    /// Refuses senders from now on, and receivers once the ring is empty; wakes all who wait.
    pub(crate) fn shutdown(&self) -> Result<()> {
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

    pub(crate) fn is_shut_down(&self) -> bool {
        self.shared.phase.load(Relaxed) != 0
    }

    /// How many messages wait, at this moment.
    pub(crate) fn len(&self) -> Result<usize> {
        let shared = &*self.shared;
        let mut head = self.look(&shared.recv, 1)?.position;
        // In heavy traffic a count that is a moment old is as good as any.
        for _ in 0..100 {
            let tail = self.look(&shared.send, 0)?.position;
            let again = self.look(&shared.recv, 1)?.position;
            // If no message was received meanwhile, then both belong to one moment.
            if head == again {
                return Ok(self.distance(head, tail));
            }
            head = again;
        }
        Ok(self.distance(head, self.look(&shared.send, 0)?.position))
    }

    /// How many messages there are between two positions.
    fn distance(&self, head: u64, tail: u64) -> usize {
        let laps = self.lap_of(tail).wrapping_sub(self.lap_of(head));
        let messages =
            laps.wrapping_mul(u64::from(self.capacity)).wrapping_add(self.index_of(tail)).wrapping_sub(self.index_of(head));
        usize::try_from(messages).unwrap_or(0).min(self.capacity())
    }
}

/// Receiving, as something to wait for.
pub(crate) struct Receiving<R>(pub(crate) R);

impl<R: Borrow<Ring> + Send + Sync> Source for Receiving<R> {
    fn event(&self) -> (On<'_>, &AtomicU32) {
        self.0.borrow().message_event()
    }

    fn ready(&self, _closely: bool) -> bool {
        self.0.borrow().readable()
    }
}

/// Sending, as something to wait for.
pub(crate) struct Sending<R>(pub(crate) R);

impl<R: Borrow<Ring> + Send + Sync> Source for Sending<R> {
    fn event(&self) -> (On<'_>, &AtomicU32) {
        self.0.borrow().room_event()
    }

    fn ready(&self, _closely: bool) -> bool {
        self.0.borrow().writable()
    }
}
