//! The rendezvous: a queue of capacity zero, in which a sender hands its message to a receiver and returns when that has taken it.
//!
//! A sender writes its message into a block and makes an *offer* of it. The offer is one word of the block: its number, and whether it is
//! open, taken or withdrawn. Receivers, under the receiving lock, take the open offer with the lowest number by one compare-and-swap; the
//! sender withdraws its own by the same. So each offer ends in exactly one of both ways, and each sender knows in which.
//!
//! An offer of a dead sender is none: while it waits it owns the block's robust lock word, which the kernel marks when it dies. A sender
//! that is stopped holds up nobody, and its message can be taken meanwhile.
//!
//! # Who wakes whom
//!
//! Receivers sleep on the sending lock's word, which is an event here, and are woken by each offer. Senders sleep on the
//! receiving lock's word, each as a kind of its own, and are woken by who took their offer, before it lets go of the lock; and
//! again after that, if they were only about to sleep. If the receiver dies between taking an offer and waking its sender, the
//! next owner of the lock finds the block in transit and wakes the sender. If nobody wants the lock, a sender is woken by the
//! kernel, finds that somebody died in transit, and takes the lock for that purpose. A wake-up that a sender cannot use it passes
//! on to all, once for each generation.
//!
//! A receiver that spins for an offer is not to be woken; it says in `Side::looking` that it is there, for senders that may not
//! wait. That is a hint: they wait a moment for who says so, and take it back where nobody came.
//!
//! `tests/models` tries this source: the scenes "rendezvous".

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::queue::blocks::{Claim, State};
use crate::queue::options::INLINE;
use crate::queue::store::{CLOSED, ON_LEASE, Received, Sink, Store, Take};
use crate::queue::watch::{Watch, sleep_beside};
use crate::shm::layout::{BlockHead, ENVELOPED};
use crate::sync::lock::{self, GENERATION, Left, TID, WAITERS};
use crate::sys::futex::{self, Kind, Slept};
use crate::sys::memory::AtomicU32;
use crate::sys::memory::Ordering::{Acquire, Relaxed, Release};
use crate::sys::memory::fence_after_rmw;
use crate::sys::thread::{Call, Owners};
use crate::time::Deadline;

/// An offer's number is in the upper bits of `BlockHead::offer`; this is in the lower two. 0: there has been none.
const OPEN: u64 = 1;
const TAKEN: u64 = 2;
const WITHDRAWN: u64 = 3;
const STATE: u64 = 3;

/// How long an offer that may not wait stays open where somebody seems to wait for one without being asleep.
const MOMENT: Duration = Duration::from_millis(1);

/// A sender that spins looks at its own offer, and once in so many looks at all that may concern it: receivers are at work there.
const GLANCES: u32 = 16;

/// Why a sender stopped waiting.
enum Noticed {
    Taken,
    ShutDown,
    /// A receiver died in transit.
    Died,
}

impl Store {
    /// Sends a message: offers it, and waits until it is taken.
    pub(crate) fn hand_over(&self, envelope: &[u8], message: &[u8], deadline: Deadline, watch: Option<&dyn Watch>) -> Result<()> {
        let shared = &*self.shared;
        let call = self.users.enter(&shared.recv.lock)?;
        if shared.phase.load(Relaxed) != 0 {
            return self.refuse(&call);
        }
        let claim = self.claim_word(&call, deadline, watch)?;
        let flag = if envelope.is_empty() { 0 } else { ENVELOPED };
        let filled = claim.fill(envelope, message);
        claim.head.len.store((envelope.len() + message.len()) as u32 | flag, Relaxed);
        if self.offer_once(&call, &claim, filled, deadline, watch)? {
            // The block is the receiver's.
            claim.pass_on();
            return Ok(());
        }
        drop(claim);
        self.refuse(&call)
    }

    /// As `hand_over`, of a message that was written into a block which this process was lent. It keeps the block where that fails.
    #[cold]
    pub(crate) fn hand_over_lent(
        &self,
        call: &Call<'_>,
        claim: &Claim<'_>,
        deadline: Deadline,
        watch: Option<&dyn Watch>,
    ) -> Result<()> {
        let word = &claim.head.word;
        if self.shared.phase.load(Relaxed) != 0 {
            call.turn_to(&self.shared.recv.lock);
            return self.refuse(call);
        }
        call.turn_to(word);
        if !Self::own_word(call, word) {
            return Err(Error::Corrupted("somebody offers what is in a block that was lent"));
        }
        if self.offer_once(call, claim, Ok(()), deadline, watch)? { Ok(()) } else { self.refuse(call) }
    }

    /// Offers what is in a block whose word this thread owns, once it is filled, and lets go of the word; says whether it was
    /// taken. The call works on the receiving lock's word afterwards.
    fn offer_once(
        &self,
        call: &Call<'_>,
        claim: &Claim<'_>,
        filled: Result<()>,
        deadline: Deadline,
        watch: Option<&dyn Watch>,
    ) -> Result<bool> {
        let result = filled.and_then(|()| self.offer(call, claim, deadline, watch));
        self.leave_word(call, claim);
        result
    }

    /// Lets go of a block's word. The call works on the receiving lock's word afterwards.
    pub(crate) fn leave_word(&self, call: &Call<'_>, claim: &Claim<'_>) {
        // Who owns it next asks nothing of what we did: the block has an owner of its own.
        claim.head.word.store(0, Relaxed);
        // die here: nothing of ours is left but the block, if we still have it.
        call.turn_to(&self.shared.recv.lock);
    }

    fn refuse(&self, call: &Call<'_>) -> Result<()> {
        self.wake_for_the_end(call);
        Err(Error::Closed)
    }

    /// Claims a block whose word this thread owns from then on, and works on.
    pub(crate) fn claim_word(&self, call: &Call<'_>, deadline: Deadline, watch: Option<&dyn Watch>) -> Result<Claim<'_>> {
        let mut others = Vec::new();
        loop {
            let claim = self.claim(call, deadline, watch)?;
            call.turn_to(&claim.head.word);
            if Self::own_word(call, &claim.head.word) {
                return Ok(claim);
            }
            // A sender whose message was taken has been stopped before it could let go of the word.
            others.push(claim);
        }
    }

    /// Makes a block's word this thread's, unless another's that lives. The call works on it.
    fn own_word(call: &Call<'_>, word: &AtomicU32) -> bool {
        let seen = word.load(Relaxed);
        // A sender that died while it woke somebody was not marked.
        let is_free = seen & TID == 0 || call.is_gone(seen & TID);
        is_free && word.compare_exchange(seen, call.owner(), Relaxed, Relaxed).is_ok()
    }

    /// Offers the message in a block; says whether it was taken, or not since the queue was shut down. Withdrawn in all other cases.
    fn offer(&self, call: &Call<'_>, claim: &Claim<'_>, deadline: Deadline, watch: Option<&dyn Watch>) -> Result<bool> {
        let (shared, head) = (&*self.shared, claim.head);
        let number = shared.send.position.fetch_add(1, Relaxed).wrapping_add(1) << 2;
        // Release: with the Acquire in `take_offer`, for the message.
        head.offer.swap(number | OPEN, Release);
        // die here, or anywhere until it is taken: the word is marked, and the offer is none.
        fence_after_rmw();
        let may_sleep = shared.send.lock.load(Relaxed) & WAITERS != 0;
        let woken = if may_sleep { lock::notify_beside(call, &shared.send.lock, &shared.send.watched, &head.word) } else { 0 };
        let end = match deadline {
            Deadline::Now if woken != 0 => Deadline::after(lock::GRACE),
            Deadline::Now if may_sleep || shared.recv.looking.load(Relaxed) != 0 => Deadline::after(MOMENT),
            deadline => deadline,
        };
        let result = self.until_taken(call, claim, number, end, watch);
        if matches!(result, Ok(true)) {
            return result;
        }
        // Acquire where it fails: as in `until_taken`.
        match head.offer.compare_exchange(number | OPEN, number | WITHDRAWN, Relaxed, Acquire) {
            Ok(_) => {
                // Who said that it spins may have died. Who lives says it again.
                shared.recv.looking.store(0, Relaxed);
                match (result, deadline) {
                    (Err(Error::TimedOut), Deadline::Now) => Err(Error::WouldBlock),
                    (result, _) => result,
                }
            }
            Err(_) => Ok(true),
        }
    }

    /// Waits until an offer is taken (true) or the queue is shut down.
    fn until_taken(
        &self,
        call: &Call<'_>,
        claim: &Claim<'_>,
        number: u64,
        deadline: Deadline,
        watch: Option<&dyn Watch>,
    ) -> Result<bool> {
        let (shared, side) = (&*self.shared, &self.shared.recv);
        let passed = Cell::new(None);
        loop {
            let slept = Cell::new(false);
            let change = || {
                // Acquire: with the Release in `take_offer`: who meets a receiver sees what that did before.
                if claim.head.offer.load(Acquire) != number | OPEN {
                    return Ok(Some(Noticed::Taken));
                }
                if shared.phase.load(Relaxed) != 0 {
                    return Ok(Some(Noticed::ShutDown));
                }
                let word = side.lock.load(Relaxed);
                if word & TID == 0 && side.transit.load(Relaxed) != 0 {
                    return Ok(Some(Noticed::Died));
                }
                if slept.take() && passed.replace(Some(word & GENERATION)) != Some(word & GENERATION) {
                    futex::wake(&side.lock, u32::MAX, Kind::Any);
                }
                Ok(None)
            };
            let mut glances = 0_u32;
            let glance = || {
                glances = glances.wrapping_add(1);
                glances.is_multiple_of(GLANCES) || claim.head.offer.load(Relaxed) != number | OPEN
            };
            let sleep = |seen, time| {
                let kind = Kind::One(claim.index);
                let result = match watch {
                    Some(watch) => sleep_beside(side, seen, kind, time, watch)?.0,
                    None => futex::wait(&side.lock, seen, kind, time)?,
                };
                slept.set(result == Slept::Woken);
                Ok(result)
            };
            let sleep = shared.counts.counting(call, sleep);
            let spin = (&self.send_spin, glance);
            match lock::wait_beside(self.event(side), (call, &claim.head.word), deadline, spin, change, sleep)? {
                Noticed::Taken => return Ok(true),
                Noticed::ShutDown => return Ok(false),
                Noticed::Died => {
                    call.turn_to(&side.lock);
                    // die here: nobody knows that the offer's sender is dead, until its block is looked at.
                    let acquired = lock::acquire_brief(call, &side.lock, lock::Beside::Nothing, deadline);
                    if let Ok(left) = acquired {
                        if left == Left::Died {
                            lock::wake_all(&side.lock);
                        }
                        let mended = self.mend();
                        Self::release(call, side);
                        mended?;
                    }
                    call.turn_to(&claim.head.word);
                    if acquired == Err(Error::Interrupted) {
                        return Err(Error::Interrupted);
                    }
                }
            }
        }
    }

    /// The offer in a block, if it is one of a living sender.
    fn open_offer(&self, head: &BlockHead) -> Option<u64> {
        // Acquire: with the Release in `offer`.
        let offer = head.offer.load(Acquire);
        if offer & STATE != OPEN {
            return None;
        }
        let owner = head.word.load(Relaxed) & TID;
        // Those whom the kernel sees to it has marked.
        let lives = owner != 0 && !(self.users.are_strangers() && Owners::is_gone(&*self.users, owner));
        lives.then_some(offer)
    }

    /// Whether a sender waits at this moment.
    pub(crate) fn has_offer(&self) -> bool {
        self.blocks.all().any(|(_, head)| self.open_offer(head).is_some())
    }

    /// Whether there is an offer after a spin, of which senders know that may not wait.
    pub(crate) fn spins_for_offer(&self, most: Duration) -> bool {
        let recv = &self.shared.recv;
        if recv.watched.load(Relaxed) != 0 {
            // Somebody waits on a set until a receiver waits, and is told so by one that is about to sleep.
            return false;
        }
        let found = self.recv_spin.until(most, || {
            // Another one that leaves takes it back for all.
            if recv.looking.load(Relaxed) == 0 {
                recv.looking.store(1, Relaxed);
                // die here: until a sender that may not wait has waited a moment in vain.
            }
            self.message_is_there()
        });
        recv.looking.store(0, Relaxed);
        found
    }

    /// The open offer with the lowest number.
    fn first_offer(&self) -> Option<(u64, u32, &BlockHead)> {
        let offers = self.blocks.all().filter_map(|(index, head)| Some((self.open_offer(head)?, index, head)));
        offers.min_by_key(|(offer, ..)| *offer)
    }

    /// Takes the first offer. The caller holds the receiving lock.
    #[cold]
    pub(crate) fn accept(&self, sink: &mut impl Sink, take: Take) -> Result<Option<Received>> {
        loop {
            let Some((offer, index, head)) = self.first_offer() else { return Ok(None) };
            let (from, len) = self.split(head.len.load(Relaxed), self.blocks.size())?;
            take.makes_space(sink, len)?;
            if let Some(woken) = self.take_offer(offer, (index, head), take, len) {
                let envelope = self.envelope_in(index, from)?;
                return Ok(Some(Received { len, envelope, block: Some(index), offer: Some(woken) }));
            }
        }
    }

    /// Takes an offer of a message of `len` bytes, and makes its block this process's; None where it was withdrawn. Says how many
    /// were woken for its sender. The caller holds the receiving lock.
    #[inline]
    fn take_offer(&self, offer: u64, (index, head): (u32, &BlockHead), take: Take, len: usize) -> Option<u32> {
        let recv = &self.shared.recv;
        recv.transit_place.store(offer, Relaxed);
        let flag = if take == Take::OnLease { ON_LEASE } else { 0 };
        recv.transit.store((index + 1) | flag, Relaxed);
        // die here: the offer is still open, whatever is said of the transit.
        // Release: with the Acquire in `until_taken`; and the two stores come before it. `open_offer` has acquired the offer.
        if head.offer.compare_exchange(offer, offer & !STATE | TAKEN, Release, Relaxed).is_err() {
            // Withdrawn.
            recv.transit.store(0, Relaxed);
            return None;
        }
        // die here: taken; the next owner of the lock wakes the sender, and frees the block or returns its message.
        self.mark(head, take, 1);
        let woken = self.wake_sender(index);
        // After the fence in there.
        recv.transit.store(0, Relaxed);
        // die here: the block is a dead process's.
        recv.handed_over.add_alone(1);
        recv.bytes.add_alone(len as u64);
        Some(woken)
    }

    /// Takes the first offer, and its message out of the block, if that is simple: it is short and without an envelope, nobody
    /// has the receiving lock, and nothing is left to be mended or to be looked after. If not, nothing was done.
    ///
    /// What it does is what `recv_whole` would do, with fewer questions on the way.
    pub(crate) fn accept_simply(&self, sink: &mut impl Sink) -> Option<usize> {
        let recv = &self.shared.recv;
        if !self.has_offer() {
            return None;
        }
        let call = self.users.enter_simply(&recv.lock)?;
        if !lock::try_acquire_awaited(&call, &recv.lock) {
            return None;
        }
        let nothing_left = recv.transit.load(Relaxed) | recv.returned.load(Relaxed) | recv.leased.load(Relaxed) == 0;
        let taken = if nothing_left { self.take_short(sink) } else { None };
        let Some((index, head, into, woken)) = taken else {
            Self::release(&call, recv);
            return None;
        };
        self.release_sender(&call, index, woken);
        // die here, or anywhere until the block is free: it is a dead process's, and the message gone with that.
        let read = self.blocks.data().read(self.blocks.offset(index, 0), into);
        let len = into.len();
        self.blocks.free_with_memory(index, head, self.blocks.mine(State::Held));
        self.blocks.notify();
        read.ok().map(|()| len)
    }

    /// Takes the first offer, if its message is short and without an envelope: gives its block, where the message goes, and how
    /// many were woken for its sender. The caller holds the receiving lock.
    #[inline]
    fn take_short<'a>(&self, sink: &'a mut impl Sink) -> Option<(u32, &BlockHead, &'a mut [MaybeUninit<u8>], u32)> {
        let (offer, index, head) = self.first_offer()?;
        let (0, len) = self.split(head.len.load(Relaxed), self.blocks.size().min(INLINE)).ok()? else { return None };
        let into = &mut sink.space(len).ok()?[..len];
        let woken = self.take_offer(offer, (index, head), Take::Whole, len)?;
        Some((index, head, into, woken))
    }

    /// Whether an offer was taken, where a receiver died that was about to. The caller holds the receiving lock, and so sees what
    /// that one did.
    pub(crate) fn was_accepted(&self, head: &BlockHead, offer: u64) -> bool {
        head.offer.load(Relaxed) == offer & !STATE | TAKEN
    }

    /// Wakes the sender whose offer was taken, if it sleeps; says how many it woke. The caller holds the receiving lock.
    pub(crate) fn wake_sender(&self, index: u32) -> u32 {
        // With the fence in `wait_for_change`: either we see that somebody waits, or the sender sees that its offer was taken.
        fence_after_rmw();
        let word = &self.shared.recv.lock;
        if word.load(Relaxed) & WAITERS == 0 { 0 } else { futex::wake(word, u32::MAX, Kind::One(index)) }
    }

    /// Lets go of the receiving lock after an offer was taken.
    pub(crate) fn release_sender(&self, call: &Call<'_>, index: u32, woken: u32) {
        let side = &self.shared.recv;
        let waited = side.lock.load(Relaxed) & WAITERS != 0;
        lock::release_woken(call, &side.lock, &side.generation, &side.watched, woken);
        if waited && woken == 0 {
            // die here: the kernel wakes one, who passes it on.
            futex::wake(&side.lock, u32::MAX, Kind::One(index));
        }
    }

    /// Refuses senders and, once no offer is open, receivers; wakes all who wait.
    pub(crate) fn end_handoffs(&self) -> Result<()> {
        let shared = &*self.shared;
        // Should we die, the kernel wakes who sleeps on one word: that where somebody does. It wakes the others.
        let receivers_sleep = shared.send.lock.load(Relaxed) & WAITERS != 0;
        let call = self.users.enter(if receivers_sleep { &shared.send.lock } else { &shared.recv.lock })?;
        // Nothing is left in a queue that keeps no messages.
        shared.phase.swap(CLOSED, Relaxed);
        self.wake_for_the_end(&call);
        Ok(())
    }

    /// Wakes all who wait on a queue that was shut down.
    fn wake_for_the_end(&self, call: &Call<'_>) {
        let shared = &*self.shared;
        lock::notify_all(&shared.recv.lock, &shared.recv.generation, None);
        call.turn_to(&shared.send.lock);
        // An event keeps its generation itself.
        lock::notify_all(&shared.send.lock, &shared.send.lock, None);
    }
}

/// Withdraws the offer in a block whose owner is gone, if it was the sender. The caller holds the receiving lock.
pub(crate) fn withdraw_for(head: &BlockHead) {
    let offer = head.offer.load(Relaxed);
    if offer & STATE == OPEN {
        head.offer.store(offer & !STATE | WITHDRAWN, Relaxed);
    }
}
