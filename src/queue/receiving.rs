//! How messages get out of a queue.

use std::mem::MaybeUninit;

use crate::error::{Error, Result};
use crate::queue::attached::LEASES;
use crate::queue::blocks::{Claim, State};
use crate::queue::claims::{Dead, FOR_A_BLOCK};
use crate::queue::log::{Log, Record};
use crate::queue::options::{ENVELOPE, Envelope};
use crate::queue::ring::{IN_BLOCK, Look};
use crate::queue::store::{BLOCK, CLOSED, CLOSING, ON_LEASE, Received, Sink, Store, Take};
use crate::queue::watch::{Lessees, Watch};
use crate::shm::layout::{BlockHead, ENVELOPED};
use crate::shm::slots::Slot;
use crate::sync::lock::{self, Left};
use crate::sys::futex;
use crate::sys::memory::Ordering::{Acquire, Relaxed, Release};
use crate::sys::memory::fence_after_rmw;
use crate::sys::thread::Call;
use crate::time::Deadline;

/// In `Side::transit` of the receiving side: the message lay elsewhere, and was copied into the block.
const COPIED: u32 = 1 << 31;
/// And its place is one in the log.
const IN_LOG: u32 = 1 << 30;

/// What a receiver finds.
pub(crate) enum Found {
    Message(Received),
    /// A message on lease stays in a block, and there is no free one.
    NoBlock,
    Nothing,
}

impl Store {
    /// Receives a message: takes the lock, waits for one, copies it to where it goes, commits.
    #[inline]
    pub(crate) fn recv(
        &self,
        sink: &mut impl Sink,
        take: Take,
        deadline: Deadline,
        watch: Option<&dyn Watch>,
    ) -> Result<Received> {
        let simply = |sink: &mut _| match take {
            Take::OnLease | Take::Unread => None,
            // It stays in its block.
            Take::InPlace if self.is_rendezvous() => None,
            Take::InPlace if self.next_is_block() => self.recv_block_simply(sink),
            Take::InPlace | Take::Whole => {
                self.recv_simply(sink).map(|len| Received { len, envelope: None, block: None, offer: None })
            }
        };
        // Who spins for a message without the lock need not take it, and give it back, to find nothing.
        let spins = take != Take::OnLease || self.is_rendezvous();
        let received = simply(sink).or_else(|| if spins && self.spins_for_message(deadline) { simply(sink) } else { None });
        self.shared.checked(match received {
            Some(received) => Ok(received),
            None => self.recv_whole(sink, take, deadline, watch),
        })
    }

    /// Where there is no message: whether there is one after a spin.
    fn spins_for_message(&self, deadline: Deadline) -> bool {
        let most = if self.message_is_there() { None } else { deadline.left(lock::LOOK).ok() };
        most.is_some_and(|most| {
            if self.is_rendezvous() { self.spins_for_offer(most) } else { self.recv_spin.until(most, || self.message_is_there()) }
        })
    }

    /// Receives a message if that is simple: there is a short one without an envelope, nobody has the lock or waits for it, and nothing is
    /// left to be mended or to be looked after. If not, nothing was done.
    ///
    /// What it does is what `recv_whole` would do, with fewer questions on the way.
    #[inline]
    pub(crate) fn recv_simply(&self, sink: &mut impl Sink) -> Option<usize> {
        if self.is_rendezvous() {
            return self.accept_simply(sink);
        }
        let side = &self.shared.recv;
        let call = self.users.enter_simply(&side.lock)?;
        let held = lock::acquire_free(&call, &side.lock, &side.bias)?;
        let nothing_left = side.transit.load(Relaxed) | side.returned.load(Relaxed) | side.leased.load(Relaxed) == 0;
        let len = if nothing_left {
            self.ring.take_at_hint(self.longest_simple, sink).or_else(|| self.take_from_log(self.log.as_ref()?, sink))
        } else {
            None
        };
        if let Some(len) = len {
            sink.received(self, len);
        }
        self.wake_emptied(Self::release_free(&call, side, held));
        len
    }

    /// Receives a message that lies in a block, and is read there, if that is simple, as in `recv_simply`. If not, nothing was done.
    fn recv_block_simply(&self, sink: &mut impl Sink) -> Option<Received> {
        let side = &self.shared.recv;
        let call = self.users.enter_simply(&side.lock)?;
        let held = lock::acquire_free(&call, &side.lock, &side.bias)?;
        let nothing_left = side.transit.load(Relaxed) | side.returned.load(Relaxed) | side.leased.load(Relaxed) == 0;
        let received = match self.ring.filled_at_hint() {
            Some((slot, position)) if nothing_left && slot.head().len.load(Relaxed) == IN_BLOCK => {
                // What is wrong is found once more, and told.
                self.recv_block(slot, position, sink, Take::InPlace).ok()
            }
            _ => None,
        };
        self.wake_emptied(Self::release_free(&call, side, held));
        received
    }

    /// Whether the next message lies in a block, as far as can be seen without the lock.
    #[inline]
    fn next_is_block(&self) -> bool {
        self.ring.filled_at_hint().is_some_and(|(slot, _)| slot.head().len.load(Relaxed) == IN_BLOCK)
    }

    /// Takes a message without an envelope out of the log, if the next one is there. The caller holds the receiving lock.
    #[inline(never)]
    fn take_from_log(&self, log: &Log, sink: &mut impl Sink) -> Option<usize> {
        // Where the log is next at the hint, the ring is empty, and the hint right.
        if self.log_is_next(self.shared.recv.position.load(Relaxed)).is_some()
            && let Some(len) = log.take_simply(self.max_message, sink)
        {
            return Some(len);
        }
        self.take_from_log_after_a_look(log, sink)
    }

    #[cold]
    fn take_from_log_after_a_look(&self, log: &Log, sink: &mut impl Sink) -> Option<usize> {
        let Ok(Look { ready: false, position, .. }) = self.ring.look(&self.shared.recv, 1) else { return None };
        self.log_is_next(position)?;
        let record = log.next().ok()??;
        // As in `recv_from_log`.
        self.log_is_next(position)?;
        let (0, len) = self.split(record.len, usize::MAX).ok()? else { return None };
        log.read(&record, 0, &mut sink.space(len).ok()?[..len]).ok()?;
        // What goes wrong after the message was taken the next one is told of.
        let _ = log.take(&record);
        Some(len)
    }

    /// As `recv`, in all cases.
    #[cold]
    fn recv_whole(&self, sink: &mut impl Sink, take: Take, deadline: Deadline, watch: Option<&dyn Watch>) -> Result<Received> {
        let shared = &*self.shared;
        let call = self.users.enter(&shared.recv.lock)?;
        if take == Take::OnLease && self.blocks.is_empty() {
            return Err(Error::Unsupported("the queue was made for no leases (and no requests)".into()));
        }
        // Where a message goes that must stay in a block, and lies elsewhere.
        let mut spare = None;
        let mut closing = false;
        let lessees = self.lessees(watch);
        if shared.recv.leased.load(Relaxed) != 0 && self.is_time_to_look() {
            self.take_from_the_dead(&call, deadline)?;
        }
        loop {
            if take == Take::OnLease && !self.is_rendezvous() {
                spare = self.claim_now(&call)?;
            }
            if Self::acquire(&call, &shared.recv, deadline)? == Left::Died && self.is_rendezvous() {
                // It may have died before it woke the sender whose offer it took.
                lock::wake_all(&shared.recv.lock);
            }
            // Read before the look: once the queue is closed, what is not in it now never will be.
            // Acquire: with the Release in `finish_shutdown`.
            let phase = shared.phase.load(Acquire);
            let result = self.recv_locked(sink, take, &mut spare);
            if let Ok(Found::Message(Received { len, block: None, .. })) = &result {
                sink.received(self, *len);
            }
            match &result {
                Ok(Found::Message(Received { offer: Some(woken), block: Some(index), .. })) => {
                    self.release_sender(&call, *index, *woken);
                }
                Ok(Found::Message(_)) => self.wake_emptied(Self::release(&call, &shared.recv)),
                _ => {
                    Self::release(&call, &shared.recv);
                }
            }
            // Who waits keeps nothing from others.
            spare = None;
            match result? {
                Found::Message(received) => return self.take_out(sink, take, received),
                Found::NoBlock => {
                    if self.take_from_the_dead(&call, deadline)? == Dead::Nothing {
                        let over = || shared.recv.returned.load(Relaxed) != 0 || !self.next_needs_block();
                        self.wait_for_block(&call, deadline, &lessees, over)?;
                    }
                    continue;
                }
                Found::Nothing => {}
            }
            if phase == CLOSED {
                if !self.others_lease() {
                    return Err(Error::Closed);
                }
                // What they have may come back.
                if self.take_from_the_dead(&call, deadline)? == Dead::Nothing {
                    call.turn_to(&shared.send.lock);
                    self.wait_for_lessees(&call, deadline, &lessees)?;
                }
            } else if phase != 0 {
                if phase != CLOSING || closing {
                    return Err(Error::Corrupted("the queue's phase is none that it can have"));
                }
                closing = true;
                call.turn_to(&shared.send.lock);
                Self::acquire(&call, &shared.send, deadline)?;
                self.finish_shutdown(&call);
            } else {
                if shared.recv.leased.load(Relaxed) != 0 && self.take_from_the_dead(&call, deadline)? != Dead::Nothing {
                    continue;
                }
                call.turn_to(&shared.send.lock);
                self.wait_for_messages(&call, deadline, &lessees)?;
            }
            call.turn_to(&shared.recv.lock);
        }
    }

    /// After a message was taken and the receiving lock was let go of, for which somebody may have `waited`: those who wait for a
    /// block may not need one any more.
    #[inline]
    fn wake_emptied(&self, waited: bool) {
        if waited && self.shared.block_wanted.load(Relaxed) != 0 {
            // die here: the kernel wakes one who waits.
            futex::wake(&self.shared.recv.lock, u32::MAX, FOR_A_BLOCK);
        }
    }

    /// Sleeps until there may be a message. The call works on the sending lock's word.
    #[cold]
    fn wait_for_messages(&self, call: &Call<'_>, deadline: Deadline, lessees: &Lessees<'_>) -> Result<()> {
        let shared = &*self.shared;
        let mut set = None;
        if self.is_rendezvous() {
            // Seen by senders that may not wait, while we do not sleep yet.
            let before = shared.send.lock.fetch_or(lock::WAITERS, Relaxed);
            set = Some((before | lock::WAITERS, before & lock::WAITERS == 0));
            self.tell_that_a_receiver_waits(call);
        }
        let knew = shared.roles.load(Relaxed) & LEASES != 0;
        // Who did not know that there are lessees to be watched comes back for that.
        let change = || Ok((self.message_is_there() || !knew && shared.roles.load(Relaxed) & LEASES != 0).then_some(()));
        let waited =
            self.with_lessees(lessees, |watch| self.wait_on(call, &shared.send, deadline, &self.recv_spin, watch, change));
        // As `lock::wait_for_change` does with what it has set itself.
        set.inspect(|set| lock::unwatch(self.event(&shared.send), *set));
        waited
    }

    /// Tells those who wait on a set until a receiver waits, in a rendezvous. The call works on the sending lock's word, before and after.
    pub(crate) fn tell_that_a_receiver_waits(&self, call: &Call<'_>) {
        let shared = &*self.shared;
        // With the fence in `lock::watch`: either we see that they watch, or they see that we wait.
        fence_after_rmw();
        if shared.recv.watched.load(Relaxed) != 0 {
            // Should we die, none of those may be left without WAITERS who sleep on that word for another reason.
            call.turn_to(&shared.recv.lock);
            Self::notify_all(&shared.recv);
            call.turn_to(&shared.send.lock);
        }
    }

    /// Sleeps until a message may have come back, or none can any more. As `wait_for_messages`.
    #[cold]
    fn wait_for_lessees(&self, call: &Call<'_>, deadline: Deadline, lessees: &Lessees<'_>) -> Result<()> {
        let shared = &*self.shared;
        let change = || Ok((shared.recv.returned.load(Relaxed) != 0 || !self.others_lease()).then_some(()));
        self.with_lessees(lessees, |watch| self.wait_on(call, &shared.send, deadline, &self.recv_spin, watch, change))
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

    /// Whether a message may come back that another process has on lease, or has.
    pub(crate) fn others_lease(&self) -> bool {
        let may_come = |word| match State::in_word(word) {
            State::Leased => !self.blocks.is_mine(word, State::Leased),
            State::Returned => true,
            _ => false,
        };
        self.shared.recv.leased.load(Relaxed) != 0 && self.blocks.all().any(|(_, head)| may_come(head.owner.load(Relaxed)))
    }

    /// Whether a receiver would find something at this moment: a message, the end, or an error.
    #[inline]
    pub(crate) fn is_readable(&self) -> bool {
        self.message_is_there() || self.shared.is_cut()
    }

    #[inline]
    pub(crate) fn message_is_there(&self) -> bool {
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

    /// The log, if that is where the messages are that come after those in the ring, whose slots before `position` are empty.
    #[inline]
    pub(crate) fn log_is_next(&self, position: u64) -> Option<&Log> {
        // An old value may lead to the log, or not there, once; where a record is found there, this has been asked after it, or
        // there was one all the time.
        self.log.as_ref().filter(|_| self.shared.log_from.load(Relaxed) == position.wrapping_add(1))
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
        let Look { slot, position, ready, behind } = self.ring.look(&shared.recv, 1)?;
        if !ready {
            return match self.log_is_next(position) {
                Some(log) => self.recv_from_log(log, position, sink, take, spare),
                None => Ok(Found::Nothing),
            };
        }
        let slot = slot?;
        if behind {
            shared.counts.recovered(1, 1);
        }
        // Read once: the checks below hold for what is used after them.
        let len = slot.head().len.load(Relaxed);
        if len == IN_BLOCK {
            return self.recv_block(slot, position, sink, take).map(Found::Message);
        }
        let (from, len) = self.split(len, self.ring.room())?;
        if take != Take::OnLease && from == 0 {
            slot.read(0, &mut sink.space(len)?[..len]);
            self.ring.commit_emptied(slot, position, len);
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
        if take != Take::OnLease {
            slot.read(from, into);
            self.ring.commit_emptied(slot, position, len);
            return Ok(Found::Message(Received { len, envelope, block: None, offer: None }));
        }
        let Some(claim) = spare.take() else { return Ok(Found::NoBlock) };
        claim.back(from + len)?;
        slot.copy_to(from + len, self.blocks.data(), self.blocks.offset(claim.index, 0))?;
        self.pass_to_me(claim.index, claim.head, (from, len), take, (COPIED, position), || {
            self.ring.commit_emptied(slot, position, len);
            Ok(())
        })?;
        let block = Some(claim.index);
        claim.pass_on();
        Ok(Found::Message(Received { len, envelope, block, offer: None }))
    }

    /// Takes a message out of the log, which is where messages are that come after those before `position`.
    #[cold]
    pub(crate) fn recv_from_log(
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
        let into = if take == Take::Unread { &mut [] } else { &mut sink.space(len)?[..len] };
        let envelope = read_envelope(from, |bytes| log.read(&record, 0, bytes))?;
        let block = if take != Take::OnLease {
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

    pub(crate) fn copy_record(&self, log: &Log, record: &Record, len: usize, claim: &Claim<'_>) -> Result<()> {
        claim.back(len)?;
        self.blocks.data().copy(self.blocks.offset(claim.index, 0), log.bytes(), record.offset, len)
    }

    /// Takes a block that a slot refers to.
    fn recv_block(&self, slot: Slot<'_>, position: u64, sink: &mut impl Sink, take: Take) -> Result<Received> {
        let index = slot.block().load(Relaxed);
        let head = self.blocks.head(index)?;
        // The slot was acquired, which was filled after this was stored.
        if State::in_word(head.owner.load(Relaxed)) != State::Queued {
            return Err(Error::Corrupted("a slot refers to a block that is not queued"));
        }
        let (from, len) = self.split(head.len.load(Relaxed), self.blocks.size())?;
        take.makes_space(sink, len)?;
        self.pass_to_me(index, head, (from, len), take, (0, position), || {
            self.ring.commit_emptied(slot, position, len);
            Ok(())
        })?;
        Ok(Received { len, envelope: self.envelope_in(index, from)?, block: Some(index), offer: None })
    }

    /// Takes a message that was returned.
    #[cold]
    fn recv_returned(&self, sink: &mut impl Sink, take: Take) -> Result<Option<Received>> {
        let Some((index, head)) = self.blocks.first_returned() else { return Ok(None) };
        let (from, len) = self.split(head.len.load(Relaxed), self.blocks.size())?;
        take.makes_space(sink, len)?;
        self.mark(head, take, head.deliveries.load(Relaxed).saturating_add(1));
        // die here: the block is ours, in this state, and the message returned or gone with us.
        Ok(Some(Received { len, envelope: self.envelope_in(index, from)?, block: Some(index), offer: None }))
    }

    pub(crate) fn envelope_in(&self, index: u32, from: usize) -> Result<Option<Envelope>> {
        read_envelope(from, |bytes| self.blocks.data().read(self.blocks.offset(index, 0), bytes))
    }

    /// Makes a block this process's, as `take` says. The caller holds the receiving lock.
    #[inline]
    pub(crate) fn mark(&self, head: &BlockHead, take: Take, deliveries: u32) {
        let recv = &self.shared.recv;
        let state = if take == Take::OnLease { State::Leased } else { State::Held };
        if state == State::Leased {
            recv.leased.store(1, Relaxed);
        }
        if deliveries == 1 {
            let order = recv.leases.load(Relaxed).wrapping_add(1);
            recv.leases.store(order, Relaxed);
            head.order.store(order, Relaxed);
        }
        head.deliveries.store(deliveries, Relaxed);
        // Release: what is above is stored before it, also for who takes it from us if we die in between.
        head.owner.store(self.blocks.mine(state), Release);
    }

    /// Makes a block this process's and, in the same step for everybody else, does what takes its message from `place` (`commit`).
    #[inline]
    pub(crate) fn pass_to_me(
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
        // Release: what is above is stored before it, for who mends what we leave if we die in between.
        recv.transit.store((index + 1) | flags, Release);
        // die here: the message is where it was, as the next owner of the lock sees, who gives the block back to who had it.
        self.mark(head, take, 1);
        commit()?;
        // die here: the message is ours; the next owner of the lock sees that, and that we are dead.
        // Release: the commit is made before it, also if we die in between.
        recv.transit.store(0, Release);
        Ok(())
    }

    /// Sees to what a dead owner of the receiving lock may have left, whose owner the caller is.
    pub(crate) fn mend(&self) -> Result<()> {
        if self.shared.recv.transit.load(Relaxed) != 0 { self.mend_receiving() } else { Ok(()) }
    }

    /// Sees to what an owner of the receiving lock left, who died while it took a block.
    #[cold]
    pub(crate) fn mend_receiving(&self) -> Result<()> {
        let recv = &self.shared.recv;
        // What the dead owner did is seen by who has the lock.
        let transit = recv.transit.load(Relaxed);
        self.shared.counts.recovered(1, 1);
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
            if transit & ON_LEASE != 0 && State::in_word(head.owner.load(Relaxed)) == State::Held {
                // It was the sender's still. From here on it is on lease to us, until it is returned below.
                self.mark(head, Take::OnLease, 1);
            }
        }
        let free = match State::in_word(head.owner.load(Relaxed)) {
            State::Returned => None,
            State::Leased if taken => {
                self.blocks.give_back(head);
                None
            }
            _ if taken || transit & COPIED != 0 => Some(index),
            _ => {
                // An offer is still its sender's.
                if !self.is_rendezvous() {
                    head.owner.store(State::Queued.nobodys(), Relaxed);
                }
                None
            }
        };
        self.end_transit(recv, free)
    }

    /// Copies a message out of its block, unless it is read there, and frees the block unless it is kept. Nothing is held.
    fn take_out(&self, sink: &mut impl Sink, take: Take, mut received: Received) -> Result<Received> {
        let Some(index) = received.block.filter(|_| take != Take::InPlace) else { return Ok(received) };
        let from = if received.envelope.is_some() { ENVELOPE } else { 0 };
        let len = if take == Take::Unread { 0 } else { received.len };
        let into = sink.space(len).map(|space| &mut space[..len]);
        let result = into.and_then(|into| self.blocks.data().read(self.blocks.offset(index, from), into));
        if take != Take::OnLease {
            self.blocks.free(index)?;
            self.blocks.notify();
            received.block = None;
        }
        result.map(|()| received)
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
