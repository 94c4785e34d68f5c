//! Messages that are written and read where they lie: blocks that a user has for a while.
//!
//! A *loan* is a block that this process claimed and that its user fills; sending it is the same one commit as for a message that
//! was copied into a block. A *view* is a block whose message was taken, and which the user reads. Both are *held*, as is any
//! block between two steps of a call, so what happens to them at a death is what `blocks` says: they are freed.
//!
//! The memory of a block that was used so stays with it, for who claims it next: neither a loan nor a view costs anything for its
//! length then.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::queue::blocks::{Claim, State};
use crate::queue::store::{Received, Store};
use crate::queue::watch::Watch;
use crate::shm::layout::BlockHead;
use crate::sync::lock;
use crate::sys::memory::Ordering::Relaxed;
use crate::sys::thread::Call;
use crate::time::Deadline;

/// Which block it is that this process holds for a user, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holding {
    pub(crate) block: u32,
    /// In `BlockHead::order`: the number of this loan, or that of the taken message.
    pub(crate) order: u64,
}

/// In the number of a loan, and of nothing else.
const LENT: u64 = 1 << 63;

impl Store {
    /// Lends a block for a message of up to `len` bytes, and waits for a free one.
    pub(crate) fn lend(&self, len: usize, deadline: Deadline, watch: Option<&dyn Watch>) -> Result<Holding> {
        self.shared.checked(self.lend_whole(len, deadline, watch))
    }

    /// As `lend`, if the queue's memory is there.
    fn lend_whole(&self, len: usize, deadline: Deadline, watch: Option<&dyn Watch>) -> Result<Holding> {
        if len > self.max_message {
            return Err(Error::MessageTooLong { index: None, len, max: self.max_message });
        }
        if self.log.is_some() {
            return Err(Error::Unsupported("an unbounded queue lends no memory: make one with a capacity, or use send".into()));
        }
        if self.blocks.is_empty() {
            return Err(Error::Unsupported("the queue was made for no leases, and so for no loans".into()));
        }
        if self.is_shut_down() {
            return Err(Error::Closed);
        }
        let call = self.users.enter(&self.shared.recv.lock)?;
        let claim = if self.is_rendezvous() {
            // A sender that was stopped may own the word still, whose message in it is gone. Once it is free, nobody takes it but
            // for a loan's sender.
            let claim = self.claim_word(&call, deadline, watch)?;
            self.leave_word(&call, &claim);
            claim
        } else {
            self.claim(&call, deadline, watch)?
        };
        claim.back(len)?;
        Ok(lent(claim))
    }

    /// As `lend`, if that is simple: the queue has a capacity, and the block at the hint is free. If not, nothing was done.
    pub(crate) fn lend_simply(&self, len: usize) -> Option<Holding> {
        if len > self.max_message || self.log.is_some() || self.is_rendezvous() || self.is_shut_down() {
            return None;
        }
        let _call = self.users.enter_simply(&self.shared.recv.lock)?;
        let claim = self.blocks.claim_at_hint()?;
        // Without memory it is free again; what is wrong is found once more, and told.
        claim.back(len).ok()?;
        Some(lent(claim))
    }

    /// Sends the first `len` bytes of what was lent. On an error the block is this process's still.
    pub(crate) fn send_held(&self, held: &Holding, len: usize, deadline: Deadline, watch: Option<&dyn Watch>) -> Result<()> {
        // A program of C says itself how long its loan is.
        if len > self.max_message {
            return Err(Error::MessageTooLong { index: None, len, max: self.max_message });
        }
        if self.send_held_simply(held, len) {
            return self.shared.checked(Ok(()));
        }
        let claim = self.held(held)?;
        let sent = claim.back(len).and_then(|()| self.send_lent(&claim, len, deadline, watch));
        let sent = self.shared.checked(sent);
        // The queue's, or its user's.
        claim.pass_on();
        sent
    }

    /// What this process holds of a message that was received in place; None where it lay in no block.
    pub(crate) fn holding(&self, received: &Received) -> Result<Option<Holding>> {
        let Some(block) = received.block else { return Ok(None) };
        Ok(Some(Holding { block, order: self.blocks.head(block)?.order.load(Relaxed) }))
    }

    /// The block that this process holds, if it does.
    fn held(&self, held: &Holding) -> Result<Claim<'_>> {
        // It may be nothing at all that a program hands in.
        if held.block < self.blocks.used() {
            let claim = self.blocks.held(held.block)?;
            let word = claim.head.owner.load(Relaxed);
            if claim.head.order.load(Relaxed) == held.order && self.blocks.is_mine(word, State::Held) {
                return Ok(claim);
            }
            claim.pass_on();
        }
        Err(Error::NotOwner(
            "this process does not have this loan, or view of a message (any more): a child of fork has none of its parent's",
        ))
    }

    /// As `send_held`, if that is simple, as in `send_simply`. If not (false), nothing was done.
    #[inline]
    fn send_held_simply(&self, held: &Holding, len: usize) -> bool {
        let side = &self.shared.send;
        let mine = || self.held_simply(held).filter(|head| self.blocks.is_backed(held.block, head, len));
        if self.is_rendezvous() || mine().is_none() {
            return false;
        }
        let Some(call) = self.users.enter_simply(&side.lock) else { return false };
        let Some(lock) = lock::acquire_free(&call, &side.lock, &side.bias) else { return false };
        let nothing_left = side.transit.load(Relaxed) == 0 && self.shared.phase.load(Relaxed) == 0;
        let place = if nothing_left { self.ring.empty_at_hint() } else { None };
        // Asked once more: another thread may have ended the same loan.
        let sent = place.zip(mine()).map(|((slot, position), head)| {
            head.len.store(len as u32, Relaxed);
            self.put_block(slot, position, (held.block, head), len);
        });
        Self::release_free(&call, side, lock);
        sent.is_some()
    }

    /// The head of that block, where nothing has to be asked for it.
    #[inline]
    fn held_simply(&self, held: &Holding) -> Option<&BlockHead> {
        let head = self.blocks.known_head(held.block)?;
        let is_mine = head.order.load(Relaxed) == held.order && head.owner.load(Relaxed) == self.blocks.mine(State::Held);
        is_mine.then_some(head)
    }

    /// Gives back a block that this process holds for a user.
    pub(crate) fn release_held(&self, held: &Holding) -> Result<()> {
        if self.release_held_simply(held) { self.shared.checked(Ok(())) } else { self.release_held_in_any_case(held) }
    }

    /// As `release_held`, if that is simple. If not (false), nothing was done.
    fn release_held_simply(&self, held: &Holding) -> bool {
        let Some(head) = self.held_simply(held) else { return false };
        // Should we die before we have woken somebody, the kernel does.
        let Some(_call) = self.users.enter_simply(&self.shared.recv.lock) else { return false };
        let freed = self.blocks.free_with_memory(held.block, head, self.blocks.mine(State::Held));
        if freed {
            self.blocks.notify();
        }
        freed
    }

    #[cold]
    fn release_held_in_any_case(&self, held: &Holding) -> Result<()> {
        let claim = self.held(held)?;
        let (head, word) = (claim.head, claim.head.owner.load(Relaxed));
        claim.pass_on();
        // As above; and, as in `finish`, who cannot begin a life any more can still do this.
        let _call = match self.users.enter(&self.shared.recv.lock) {
            Err(Error::Reentrant) => return Err(Error::Reentrant),
            Err(_) => Call::enter_nowhere()?,
            Ok(call) => call,
        };
        if !self.blocks.free_with_memory(held.block, head, word) {
            return Err(Error::NotOwner("another thread has ended this loan, or view of a message"));
        }
        self.blocks.notify();
        self.shared.checked(Ok(()))
    }
}

/// Numbers a block that was claimed for a loan, and leaves it to its user.
#[inline]
fn lent(claim: Claim<'_>) -> Holding {
    static NUMBERS: AtomicU64 = AtomicU64::new(0);
    let order = LENT | NUMBERS.fetch_add(1, Ordering::Relaxed);
    claim.head.order.store(order, Relaxed);
    let block = claim.index;
    claim.pass_on();
    Holding { block, order }
}
