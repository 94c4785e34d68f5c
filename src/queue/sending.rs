//! How messages get into a queue.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::queue::blocks::{Claim, State};
use crate::queue::log::Log;
use crate::queue::ring::Look;
use crate::queue::store::{BLOCK, Store};
use crate::queue::watch::Watch;
use crate::shm::layout::{BlockHead, ENVELOPED, Side};
use crate::shm::slots::Slot;
use crate::sync::lock;
use crate::sys::memory::Ordering::{Relaxed, Release};
use crate::sys::thread::Call;
use crate::time::Deadline;

/// How long a sender looks for room in the ring before it begins a backlog. Receivers that keep pace make room in this time, and
/// what passes through the ring stays in the processors' caches; a sender that does not wait for receivers hardly notices it.
const BEFORE_THE_LOG: Duration = Duration::from_micros(2);

/// What is sent.
#[derive(Clone, Copy)]
pub(crate) enum Payload<'a> {
    Here(&'a [u8], &'a [u8]),
    /// With the message's length.
    InBlock(&'a Claim<'a>, usize),
}

/// Messages of the caller's own type may panic while they are read: others go on.
struct ReleasesOnPanic<'a>(&'a Call<'a>, &'a Side);

impl Drop for ReleasesOnPanic<'_> {
    fn drop(&mut self) {
        Store::release(self.0, self.1);
    }
}

impl Store {
    /// Sends a message, with an envelope or with none: takes the lock, waits for room, commits.
    #[inline]
    pub(crate) fn send(&self, envelope: &[u8], message: &[u8], deadline: Deadline, watch: Option<&dyn Watch>) -> Result<()> {
        let sent =
            envelope.is_empty() && (self.send_simply(message) || self.spins_for_room(deadline) && self.send_simply(message));
        self.shared.checked(if sent { Ok(()) } else { self.send_whole(envelope, message, deadline, watch) })
    }

    /// Where there is no room in the ring: whether there is some after a spin.
    fn spins_for_room(&self, deadline: Deadline) -> bool {
        let most = if self.is_rendezvous() || self.room_in_ring() { None } else { deadline.left(lock::LOOK).ok() };
        let most = most.map(|most| if self.log.is_some() { BEFORE_THE_LOG } else { most });
        most.is_some_and(|most| self.send_spin.until(most, || self.room_in_ring()))
    }

    /// Sends a message if that is simple: it is short, there is room for it, nobody has the lock or waits for it, and nothing is
    /// left to be mended. If not (false), nothing was done.
    ///
    /// What it does is what `send_whole` would do, with fewer questions on the way.
    #[inline]
    pub(crate) fn send_simply(&self, message: &[u8]) -> bool {
        let side = &self.shared.send;
        if message.len() > self.longest_simple || self.is_rendezvous() {
            return false;
        }
        let Some(call) = self.users.enter_simply(&side.lock) else { return false };
        let Some(held) = lock::acquire_free(&call, &side.lock, &side.bias) else { return false };
        let nothing_left = side.transit.load(Relaxed) == 0 && self.shared.phase.load(Relaxed) == 0;
        let into_ring = self.shared.log_from.load(Relaxed) == 0;
        let sent = nothing_left && if into_ring { self.ring.put_at_hint(message) } else { self.log_simply(message) };
        Self::release_free(&call, side, held);
        sent
    }

    /// Puts a message into the log, or into the ring if messages go there again; false where there is no room for it. The caller
    /// holds the sending lock.
    #[inline(never)]
    fn log_simply(&self, message: &[u8]) -> bool {
        let Some(log) = &self.log else { return false };
        log.append_simply(message) || self.log_after_a_look(log, message)
    }

    #[cold]
    fn log_after_a_look(&self, log: &Log, message: &[u8]) -> bool {
        if self.must_log() { log.append(&[], message).is_ok() } else { self.ring.put_at_hint(message) }
    }

    /// As `send`, in all cases.
    #[cold]
    fn send_whole(&self, envelope: &[u8], message: &[u8], deadline: Deadline, watch: Option<&dyn Watch>) -> Result<()> {
        if message.len() > self.max_message {
            return Err(Error::MessageTooLong { index: None, len: message.len(), max: self.max_message });
        }
        if self.is_rendezvous() {
            return self.hand_over(envelope, message, deadline, watch);
        }
        let call = self.users.enter(&self.shared.send.lock)?;
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
    pub(crate) fn send_long(
        &self,
        call: &Call<'_>,
        envelope: &[u8],
        message: &[u8],
        deadline: Deadline,
        watch: Option<&dyn Watch>,
    ) -> Result<()> {
        let flag = if envelope.is_empty() { 0 } else { ENVELOPED };
        loop {
            // While there is no room it takes no memory.
            while self.shared.phase.load(Relaxed) == 0 {
                let Look { slot, ready, .. } = self.ring.look(&self.shared.send, 0)?;
                if ready {
                    break;
                }
                // There is room, but no memory for it.
                slot?;
                self.wait_for_room(call, deadline, watch)?;
            }
            let claim = self.claim(call, deadline, watch)?;
            claim.fill(envelope, message)?;
            claim.head.len.store((envelope.len() + message.len()) as u32 | flag, Relaxed);
            call.turn_to(&self.shared.send.lock);
            let is_sent = self.send_payload(call, Payload::InBlock(&claim, message.len()), deadline);
            if is_sent == Ok(true) {
                claim.pass_on();
                return Ok(());
            }
            // Another sender was faster. Who waits keeps no block from others: receivers may need one to make room.
            // The block is given back under the receiving lock, where somebody may sleep for it.
            call.turn_to(&self.shared.recv.lock);
            is_sent?;
        }
    }

    /// Sends the message that was written into a block which this process was lent. It keeps the block where that fails.
    pub(crate) fn send_lent(&self, claim: &Claim<'_>, len: usize, deadline: Deadline, watch: Option<&dyn Watch>) -> Result<()> {
        let call = self.users.enter(&self.shared.send.lock)?;
        claim.head.len.store(len as u32, Relaxed);
        if self.is_rendezvous() {
            return self.hand_over_lent(&call, claim, deadline, watch);
        }
        while !self.send_payload(&call, Payload::InBlock(claim, len), deadline)? {
            self.wait_for_room(&call, deadline, watch)?;
        }
        Ok(())
    }

    /// Takes the lock and commits a message, unless there is no room (false).
    fn send_payload(&self, call: &Call<'_>, payload: Payload<'_>, deadline: Deadline) -> Result<bool> {
        self.with_sending_lock(call, deadline, || self.send_locked(payload))
    }

    /// Takes the lock, and lets go of it after `act`.
    #[inline]
    pub(crate) fn with_sending_lock<T>(&self, call: &Call<'_>, deadline: Deadline, act: impl FnOnce() -> Result<T>) -> Result<T> {
        let side = &self.shared.send;
        Self::acquire(call, side, deadline)?;
        let on_panic = ReleasesOnPanic(call, side);
        let result = act();
        std::mem::forget(on_panic);
        if matches!(result, Err(Error::Closed)) {
            self.finish_shutdown(call);
        } else {
            Self::release(call, side);
        }
        result
    }

    /// Commits a message unless there is no room (false). The caller holds the sending lock.
    pub(crate) fn send_locked(&self, payload: Payload<'_>) -> Result<bool> {
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
        let Look { slot, position, ready, behind } = self.ring.look(&shared.send, 0)?;
        let slot = slot?;
        if behind && ready {
            shared.counts.recovered(1, 1);
        }
        match payload {
            Payload::Here(envelope, message) if ready && envelope.len() + message.len() <= self.ring.room() => {
                self.ring.put(slot, position, envelope, message);
            }
            Payload::InBlock(claim, len) if ready => {
                if !self.blocks.is_mine(claim.head.owner.load(Relaxed), State::Held) {
                    return Err(Error::NotOwner("another thread has ended this loan"));
                }
                self.put_block(slot, position, (claim.index, claim.head), len);
            }
            _ if self.log.is_none() => return Ok(false),
            _ => {
                // Release: the slots before this position are filled before it, also if we die in between.
                shared.log_from.store(position.wrapping_add(1), Release);
                // die here: the log is empty, and the next sender puts the first message into it.
                let sent = self.send_into_log(payload);
                if sent.is_err() {
                    // There is no memory for this one: others, which are shorter, may find room in the ring.
                    shared.log_from.store(0, Relaxed);
                }
                return sent;
            }
        }
        Ok(true)
    }

    /// Fills a slot with a block. The caller holds the sending lock.
    #[inline]
    pub(crate) fn put_block(&self, slot: Slot<'_>, position: u64, (index, head): (u32, &BlockHead), len: usize) {
        let side = &self.shared.send;
        side.transit_place.store(position, Relaxed);
        side.transit.store(index + 1, Relaxed);
        // die here: the slot is not filled, so the next owner of the lock frees the block.
        // Release: the two stores come before it. Until then the block is that of a dead process, as it was.
        head.owner.store(State::Queued.nobodys(), Release);
        self.ring.put_block(slot, position, index, len);
        // die here: the message is sent, and the next owner of the lock sees it.
        // Release: the slot's is made before it, also if we die in between.
        side.transit.store(0, Release);
    }

    /// Sees to what an owner of the sending lock left, who died while it passed a block on.
    #[cold]
    pub(crate) fn mend_sending(&self) -> Result<()> {
        let side = &self.shared.send;
        let index = (side.transit.load(Relaxed) & BLOCK).wrapping_sub(1);
        self.shared.counts.recovered(1, 1);
        let (filled, _) = self.ring.history(side.transit_place.load(Relaxed))?;
        self.end_transit(side, (!filled).then_some(index))
    }

    /// Whether messages still go into the log; if not, they go into the ring from now on. The caller holds the sending lock.
    #[inline]
    fn must_log(&self) -> bool {
        if self.log.as_ref().is_some_and(Log::may_hold_something) {
            return true;
        }
        self.shared.log_from.store(0, Relaxed);
        false
    }

    #[cold]
    fn send_into_log(&self, payload: Payload<'_>) -> Result<bool> {
        match (&self.log, payload) {
            (Some(log), Payload::Here([], message)) if log.append_simply(message) => Ok(true),
            (Some(log), Payload::Here(envelope, message)) => log.append(envelope, message).map(|()| true),
            _ => Err(Error::Corrupted("a queue became unbounded")),
        }
    }

    /// Waits until there is room for a message. The call works on the sending lock's word before and after.
    #[cold]
    pub(crate) fn wait_for_room(&self, call: &Call<'_>, deadline: Deadline, watch: Option<&dyn Watch>) -> Result<()> {
        let shared = &*self.shared;
        // Nothing is held from here on.
        call.turn_to(&shared.recv.lock);
        let room = || match self.ring.look(&shared.send, 0) {
            Ok(Look { ready: false, slot: Ok(_), .. }) if shared.phase.load(Relaxed) == 0 => Ok(None),
            // What is wrong is found out under the lock.
            _ => Ok(Some(())),
        };
        self.wait_on(call, &shared.recv, deadline, &self.send_spin, watch, room)?;
        call.turn_to(&shared.send.lock);
        Ok(())
    }

    /// Whether a sender would find room at this moment, the end, or an error.
    pub(crate) fn is_writable(&self) -> bool {
        self.room_is_there() || self.shared.is_cut()
    }

    fn room_is_there(&self) -> bool {
        let shared = &*self.shared;
        if self.is_rendezvous() {
            let receiver_waits = shared.send.lock.load(Relaxed) & lock::WAITERS != 0 || shared.recv.looking.load(Relaxed) != 0;
            return receiver_waits || shared.phase.load(Relaxed) != 0;
        }
        self.log.is_some() || self.room_in_ring()
    }

    /// The same of the ring, where messages go there: else they need no room.
    fn room_in_ring(&self) -> bool {
        let shared = &*self.shared;
        shared.log_from.load(Relaxed) != 0
            || shared.phase.load(Relaxed) != 0
            || !matches!(self.ring.look(&shared.send, 0), Ok(Look { ready: false, .. }))
    }
}
