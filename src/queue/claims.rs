//! How a queue's blocks change hands: claimed, waited for, taken from the dead, finished.

use std::cell::Cell;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::queue::blocks::{Claim, State, owner_of};
use crate::queue::store::{LeaseTicket, Store};
use crate::queue::watch::{Lessees, Watch, sleep_beside};
use crate::shm::layout::Side;
use crate::sync::lock::{self, TID};
use crate::sys::futex::{self, Kind, Slept};
use crate::sys::memory::Ordering::{Relaxed, Release};
use crate::sys::memory::fence_after_rmw;
use crate::sys::thread::Call;
use crate::time::Deadline;

/// What there was to take from dead processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dead {
    Nothing,
    /// Blocks, which are free now, or hold messages that were returned.
    Blocks,
    /// No blocks, but there are messages that were returned; somebody may have died before it said so.
    Returned,
}

/// Those who wait for a block, where others wait for room. Who frees a block wakes all.
pub(crate) const FOR_A_BLOCK: Kind = Kind::One(0);

impl Store {
    /// Claims a block for a message to be sent, and waits for one. The call works on the receiving lock's word afterwards.
    pub(crate) fn claim(&self, call: &Call<'_>, deadline: Deadline, watch: Option<&dyn Watch>) -> Result<Claim<'_>> {
        let lessees = self.lessees(watch);
        loop {
            call.turn_to(&self.shared.recv.lock);
            let claim = self.claim_now(call)?;
            if let Some(claim) = claim {
                return Ok(claim);
            }
            if self.take_from_the_dead(call, deadline)? == Dead::Blocks {
                continue;
            }
            if self.is_shut_down() {
                return Err(Error::Closed);
            }
            self.wait_for_block(call, deadline, &lessees, || self.is_shut_down())?;
        }
    }

    /// Claims a block if one is free. The call works on the receiving lock's word.
    pub(crate) fn claim_now(&self, call: &Call<'_>) -> Result<Option<Claim<'_>>> {
        if self.blocks.used() == 0 && !self.is_rendezvous() {
            // Blocks change hands without the locks.
            self.end_biases(call);
        }
        self.blocks.claim()
    }

    /// Waits until there may be a free block, or `over`. The call works on the receiving lock's word.
    #[cold]
    pub(crate) fn wait_for_block(
        &self,
        call: &Call<'_>,
        deadline: Deadline,
        lessees: &Lessees<'_>,
        over: impl Fn() -> bool,
    ) -> Result<()> {
        let side = &self.shared.recv;
        // Who waits for room sleeps on that word, too, and is to be woken in its turn. In a rendezvous nobody does.
        let kind = if self.is_rendezvous() { Kind::Change } else { FOR_A_BLOCK };
        let look = Cell::new(false);
        let change = || {
            self.shared.block_wanted.swap(1, Relaxed);
            // With the fence in `Blocks::notify`: either we see the free block, or its owner sees that it is wanted.
            fence_after_rmw();
            Ok((look.take() || self.blocks.any_free()? || over()).then_some(()))
        };
        self.with_lessees(lessees, |watch| {
            let sleep = |seen, time: Duration| {
                let (slept, time_to_look) = match watch {
                    Some(watch) => sleep_beside(side, seen, kind, time, watch)?,
                    None => {
                        let slept = futex::wait(&side.lock, seen, kind, time)?;
                        (slept, slept == Slept::TimedOut)
                    }
                };
                if slept == Slept::Woken && kind == FOR_A_BLOCK {
                    // It may have been the kernel, for somebody that waits for room.
                    futex::wake(&side.lock, 1, Kind::Change);
                }
                // The kernel wakes us where somebody died inside a call, who may have had a block.
                look.set(time_to_look || slept == Slept::Woken && self.blocks.any_of_the_dead());
                Ok(slept)
            };
            lock::wait_for_change(self.event(side), deadline, &self.send_spin, change, self.shared.counts.counting(call, sleep))
        })
    }

    /// Clears a side's transit, and frees the block that was in it, if there is one to be freed. The caller holds the side's lock.
    pub(crate) fn end_transit(&self, side: &Side, free: Option<u32>) -> Result<()> {
        if let Some(index) = free {
            self.blocks.head(index)?.owner.store(self.blocks.mine(State::Held), Relaxed);
        }
        // die here: done once more, with the same result: nobody else touches the block while it is in transit.
        // Release: with the Acquire in `take_from_the_dead`: now it is held by a process that can be seen to live.
        side.transit.store(0, Release);
        // die here: the block is held by a dead process.
        free.map_or(Ok(()), |index| self.blocks.free(index))
    }

    /// Frees or returns what dead processes had. The call works on the receiving lock's word, and its lock is free.
    #[cold]
    pub(crate) fn take_from_the_dead(&self, call: &Call<'_>, deadline: Deadline) -> Result<Dead> {
        let shared = &*self.shared;
        let passing = self.take_what_was_passed_on(call)?;
        Self::acquire(call, &shared.recv, deadline)?;
        let result = self.take_from_the_dead_locked();
        Self::release(call, &shared.recv);
        if passing { result.map(|_| Dead::Blocks) } else { result }
    }

    /// Sees to the block that a sender was passing on when it died, which may be the only one: who sends next sees to it as well,
    /// but may need a block first. Says whether there was one. The call works on the receiving lock's word before and after.
    fn take_what_was_passed_on(&self, call: &Call<'_>) -> Result<bool> {
        let side = &self.shared.send;
        let owner = side.lock.load(Relaxed) & TID;
        // The kernel does not mark the word of a stranger (`sync::strangers`).
        if side.transit.load(Relaxed) == 0 || owner != 0 && !call.is_gone(owner) {
            return Ok(false);
        }
        call.turn_to(&side.lock);
        let mended = match Self::acquire(call, side, Deadline::Now) {
            Ok(_) => {
                let passing = side.transit.load(Relaxed) != 0;
                let mended = if passing { self.mend_sending() } else { Ok(()) };
                Self::release(call, side);
                mended.map(|()| passing)
            }
            // Who has the lock sees to it.
            Err(Error::WouldBlock) => Ok(false),
            Err(e) => Err(e),
        };
        call.turn_to(&self.shared.recv.lock);
        mended
    }

    pub(crate) fn take_from_the_dead_locked(&self) -> Result<Dead> {
        let shared = &*self.shared;
        if shared.recv.transit.load(Relaxed) != 0 {
            self.mend_receiving()?;
        }
        let found = self.blocks.take_from_the_dead()?;
        let (mut leased, mut returned) = (false, false);
        for (_, head) in self.blocks.all() {
            let state = State::in_word(head.owner.load(Relaxed));
            leased |= matches!(state, State::Leased | State::Returned);
            returned |= state == State::Returned;
        }
        if returned {
            // Who returned it may have died before it said so.
            shared.recv.returned.swap(1, Relaxed);
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

    /// Takes from the dead what they had; says whether there was something. No call is being made.
    pub(crate) fn gets_back(&self) -> bool {
        let found = self.users.enter(&self.shared.recv.lock).and_then(|call| self.take_from_the_dead(&call, Deadline::Now));
        found.is_ok_and(|found| found != Dead::Nothing)
    }

    /// Ends a lease: the message is gone (`done`), or is received again.
    pub(crate) fn finish(&self, ticket: &LeaseTicket, done: bool) -> Result<()> {
        self.shared.checked(self.finish_whole(ticket, done))
    }

    /// As `finish`, if the queue's memory is there.
    fn finish_whole(&self, ticket: &LeaseTicket, done: bool) -> Result<()> {
        let shared = &*self.shared;
        let lost = Error::NotOwner("this process does not have this message on lease (any more)");
        // It may be no lease at all that a program hands in.
        if ticket.block >= self.blocks.used() {
            return Err(lost);
        }
        // Should we die before we have woken somebody, the kernel does. Nothing is locked here: who cannot begin a life any more,
        // as strangers must, can still end a lease.
        let call = match self.users.enter(&shared.recv.lock) {
            Err(Error::Reentrant) => return Err(Error::Reentrant),
            Err(_) => Call::enter_nowhere()?,
            Ok(call) => call,
        };
        let head = self.blocks.head(ticket.block)?;
        let word = head.owner.load(Relaxed);
        let which = (head.order.load(Relaxed), head.deliveries.load(Relaxed));
        if which != (ticket.order, ticket.deliveries) || !self.blocks.is_mine(word, State::Leased) {
            return Err(lost);
        }
        let next = if done { State::Held.of_owner(owner_of(word)) } else { State::Returned.nobodys() };
        // Another thread may end the same lease at the same moment.
        // Release: with the Acquire in `look_for_returned`, for the message's bytes.
        if head.owner.compare_exchange(word, next, Release, Relaxed).is_err() {
            return Err(lost);
        }
        // die here: the message is gone, and its block held by a dead process; or receivers find it, as in `give_back`.
        if done {
            self.blocks.free(ticket.block)?;
        } else {
            self.blocks.say_returned();
        }
        self.blocks.notify();
        if !done || shared.phase.load(Relaxed) != 0 {
            call.turn_to(&shared.send.lock);
            self.notify_receivers();
        }
        Ok(())
    }
}
