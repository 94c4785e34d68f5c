//! Blocks: memory for one message each, which always belongs to somebody.
//!
//! Long messages are written into a block before the lock is taken and read from it after it is released, so that the lock is held for
//! the commit only. A message on lease is in a block, and so is an offer of a rendezvous.
//!
//! A block's state and its owner are one word, so each change of hands is one store:
//!
//! - *free*; *held* by a process that fills it, or that took its message; *queued*: a slot of the ring refers to it;
//! - *leased* to a process that is working on its message; *returned*: its message is to be received again, before all others.
//!
//! # What happens to the blocks of the dead
//!
//! Who needs blocks, or finds the queue empty while some are leased, looks for owners that are gone: what they held is freed,
//! what they had on lease is returned. Only the few instructions in which a block and a place in the queue change together need
//! more: then the side's `transit` names the block, and the next owner of the lock, who finds it there, asks the place what was
//! committed.
//!
//! `tests/models` tries this source: the scenes with long messages and with leases.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::queue::handoff;
use crate::queue::options::Plan;
use crate::queue::store::Store;
use crate::shm::Shared;
use crate::shm::bytes::Bytes;
use crate::shm::layout::{BlockHead, QueueLayout};
use crate::sync::users::Users;
use crate::sys::file::PAGE;
use crate::sys::memory::AtomicU32;
use crate::sys::memory::Ordering::{Acquire, Relaxed, Release};
use crate::sys::memory::fence_after_rmw;
use crate::sys::process::Identity;

/// What a block's owner does with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum State {
    Free = 0,
    Held = 1,
    Queued = 2,
    Leased = 3,
    Returned = 4,
}

const STATE_SHIFT: u32 = 61;

impl State {
    /// The word of a block in this state that a process owns.
    #[inline]
    pub(crate) fn of_owner(self, owner: Identity) -> u64 {
        (self as u64) << STATE_SHIFT | owner.0
    }

    /// The word of a block in this state that nobody owns.
    #[inline]
    pub(crate) const fn nobodys(self) -> u64 {
        (self as u64) << STATE_SHIFT
    }

    /// The state in a block's word.
    #[inline]
    pub(crate) fn in_word(word: u64) -> Self {
        match word >> STATE_SHIFT {
            1 => Self::Held,
            2 => Self::Queued,
            3 => Self::Leased,
            4 => Self::Returned,
            _ => Self::Free,
        }
    }
}

/// The owner in a block's word.
#[inline]
pub(crate) fn owner_of(word: u64) -> Identity {
    Identity(word & !(7 << STATE_SHIFT))
}

/// Blocks keep so much memory among them when they are freed, those with the lowest numbers, which are used first.
const KEEP: usize = 64 << 20;

/// Heads get memory in steps of so many.
const HEADS: u32 = (64 * 1024 / size_of::<BlockHead>()) as u32;

/// The blocks of one queue.
pub(crate) struct Blocks {
    shared: Shared<QueueLayout>,
    users: Arc<Users>,
    heads: Bytes,
    data: Bytes,
    count: u32,
    size: usize,
    /// A rendezvous uses the first that is free: its receivers look at all that were ever used.
    from_first: bool,
    /// So many heads have memory, as far as this process has seen to it.
    backed: AtomicU32,
}

impl Blocks {
    pub(crate) fn new(shared: &Shared<QueueLayout>, plan: &Plan, users: &Arc<Users>) -> Result<Self> {
        let mapping = shared.mapping();
        let (heads, data) = (plan.heads_in(mapping)?, plan.blocks_in(mapping)?);
        data.keep_out_of_dumps();
        Ok(Self {
            shared: shared.clone(),
            users: Arc::clone(users),
            heads,
            data,
            count: plan.blocks as u32,
            size: plan.block_size,
            from_first: plan.slots == 0,
            backed: AtomicU32::new(0),
        })
    }

    /// The word of a block in this state that this process owns, which has entered a call.
    #[inline]
    pub(crate) fn mine(&self, state: State) -> u64 {
        state.of_owner(self.users.me())
    }

    /// Whether a block's word says that it is in this state, and this process's.
    pub(crate) fn is_mine(&self, word: u64, state: State) -> bool {
        State::in_word(word) == state && self.users.is_me(owner_of(word))
    }

    /// The head of block `index`.
    pub(crate) fn head(&self, index: u32) -> Result<&BlockHead> {
        if index >= self.backed.load(Relaxed) {
            self.back(index)?;
        }
        self.heads.structure(index as usize * size_of::<BlockHead>())
    }

    /// As [`Blocks::head`], of a block of which this process knows that there is memory for that.
    #[inline]
    pub(crate) fn known_head(&self, index: u32) -> Option<&BlockHead> {
        if index >= self.backed.load(Relaxed) {
            return None;
        }
        self.heads.structure(index as usize * size_of::<BlockHead>()).ok()
    }

    #[cold]
    fn back(&self, index: u32) -> Result<()> {
        if index >= self.count {
            return Err(Error::Corrupted("a block's number is too high"));
        }
        let end = (index + 1).next_multiple_of(HEADS).min(self.count);
        self.heads.populate(0, end as usize * size_of::<BlockHead>())?;
        self.backed.fetch_max(end, Relaxed);
        Ok(())
    }

    /// So many blocks have ever been used, those with the lowest numbers.
    pub(crate) fn used(&self) -> u32 {
        self.shared.claimed.load(Relaxed).min(self.count)
    }

    /// The blocks that have ever been used, with their numbers.
    pub(crate) fn all(&self) -> impl Iterator<Item = (u32, &BlockHead)> {
        (0..self.used()).map_while(|index| Some((index, self.head(index).ok()?)))
    }

    /// Claims a free block for this process; None if there is none.
    pub(crate) fn claim(&self) -> Result<Option<Claim<'_>>> {
        let start = if self.from_first { 0 } else { self.shared.free_hint.load(Relaxed).min(self.count) };
        for index in (start..self.count).chain(0..start) {
            if let Some(claim) = self.take(index, self.head(index)?) {
                return Ok(Some(claim));
            }
        }
        Ok(None)
    }

    /// Claims the block at the hint, if that is free, and was used before.
    #[inline]
    pub(crate) fn claim_at_hint(&self) -> Option<Claim<'_>> {
        let index = self.shared.free_hint.load(Relaxed);
        if index >= self.shared.claimed.load(Relaxed) {
            return None;
        }
        self.take(index, self.known_head(index)?)
    }

    /// Claims a block if it is free.
    #[inline]
    fn take<'a>(&'a self, index: u32, head: &'a BlockHead) -> Option<Claim<'a>> {
        if head.owner.load(Relaxed) != 0 {
            return None;
        }
        if self.shared.claimed.load(Relaxed) <= index {
            self.shared.claimed.fetch_max(index + 1, Relaxed);
        }
        // Acquire: with the Release in `free` and `free_with_memory`, for what its last owner did with it.
        head.owner.compare_exchange(0, self.mine(State::Held), Acquire, Relaxed).ok()?;
        // die here: a block held by a dead process; the same until the claim is given up or passed on.
        if !self.from_first {
            self.shared.free_hint.store(index + 1, Relaxed);
        }
        Some(Claim { blocks: self, index, head })
    }

    /// Gives a block back that this process owns, or that it found to belong to nobody while it holds the receiving lock.
    pub(crate) fn free(&self, index: u32) -> Result<()> {
        let head = self.head(index)?;
        let bytes = head.pages.load(Relaxed) as usize * PAGE;
        if bytes.saturating_mul(index as usize + 1) > KEEP {
            head.pages.store(0, Relaxed);
            // die here: the memory is there, and the next owner of the block uses it, or gives it back.
            let at = index as usize * self.size;
            self.data.punch(at, at + self.size);
        }
        // Release: with the Acquire in `take`.
        head.owner.swap(0, Release);
        // die here: the block is free; who waits for one looks again within `lock::LOOK`.
        self.hint_at(index);
        Ok(())
    }

    /// Gives a block back that this process owns, with this word, and whose memory stays for who claims it next. False where it
    /// does not (any more).
    #[inline]
    pub(crate) fn free_with_memory(&self, index: u32, head: &BlockHead, word: u64) -> bool {
        // Release: with the Acquire in `take`.
        let freed = head.owner.compare_exchange(word, 0, Release, Relaxed).is_ok();
        if freed {
            // die here: as in `free`.
            self.hint_at(index);
        }
        freed
    }

    /// Says where there is a free block. Who claims one looks at all, from there on.
    #[inline]
    fn hint_at(&self, index: u32) {
        if !self.from_first && self.shared.free_hint.load(Relaxed) > index {
            self.shared.free_hint.store(index, Relaxed);
        }
    }

    /// A block that this process holds already, as a claim.
    pub(crate) fn held(&self, index: u32) -> Result<Claim<'_>> {
        Ok(Claim { blocks: self, index, head: self.head(index)? })
    }

    /// Wakes those who wait for a block, if any. The call works on the receiving lock's word, which this thread does not own.
    pub(crate) fn notify(&self) {
        // With that in `Store::claim`.
        fence_after_rmw();
        if self.shared.block_wanted.load(Relaxed) != 0 {
            self.shared.block_wanted.store(0, Relaxed);
            // die here: the kernel wakes one who waits, who wakes the next when it leaves.
            Store::notify_all(&self.shared.recv);
        }
    }

    /// Whether a block is free at this moment.
    pub(crate) fn any_free(&self) -> Result<bool> {
        for index in 0..self.count {
            if self.head(index)?.owner.load(Relaxed) == 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the first `len` bytes of a block have memory, which it keeps while it belongs to the caller.
    #[inline]
    pub(crate) fn is_backed(&self, index: u32, head: &BlockHead, len: usize) -> bool {
        len <= self.size && head.pages.load(Relaxed) as usize >= self.pages(index, len)
    }

    /// How many pages the first `len` bytes of a block are on. (Short blocks do not begin at pages.)
    #[inline]
    fn pages(&self, index: u32, len: usize) -> usize {
        (index as usize * self.size % PAGE + len).div_ceil(PAGE)
    }

    /// Makes sure that the first `len` bytes of a block have memory. The caller owns it.
    fn back_data(&self, index: u32, head: &BlockHead, len: usize) -> Result<()> {
        if !self.is_backed(index, head, len) {
            let at = index as usize * self.size;
            self.data.populate(at, at + len)?;
            head.pages.store(self.pages(index, len) as u32, Relaxed);
        }
        Ok(())
    }

    /// Whether the queue has no blocks at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Where byte `offset` of a block is among `data()`.
    #[inline]
    pub(crate) fn offset(&self, index: u32, offset: usize) -> usize {
        index as usize * self.size + offset
    }

    /// The bytes of all blocks.
    #[inline]
    pub(crate) fn data(&self) -> &Bytes {
        &self.data
    }

    /// How many bytes a block has.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Frees what the dead held, and returns what they had on lease; says whether there was anything. The caller holds the receiving
    /// lock, and leaves the block alone that a sender is passing on.
    pub(crate) fn take_from_the_dead(&self) -> Result<bool> {
        let (mut found, mut known, mut owners) = (0, HashMap::new(), HashSet::new());
        for (index, head) in self.all() {
            let word = head.owner.load(Relaxed);
            if !self.is_of_the_dead(word, &mut known) {
                continue;
            }
            // Acquire: with the Release in `end_transit`: what was in transit has another owner by then. Asked only now: the dead
            // change nothing.
            let passing = self.shared.send.transit.load(Acquire);
            if index + 1 == passing || head.owner.load(Relaxed) != word {
                continue;
            }
            found += 1;
            owners.insert(owner_of(word).0);
            if State::in_word(word) == State::Leased {
                self.give_back(head);
            } else {
                handoff::withdraw_for(head);
                self.free(index)?;
            }
        }
        if found != 0 {
            self.shared.counts.recovered(owners.len() as u64, found);
        }
        Ok(found != 0)
    }

    /// Whether there is anything to be taken from the dead.
    pub(crate) fn any_of_the_dead(&self) -> bool {
        let mut known = HashMap::new();
        self.all().any(|(_, head)| self.is_of_the_dead(head.owner.load(Relaxed), &mut known))
    }

    /// Whether a block's word says that it is held by, or leased to, a process that is gone. The system is asked once for each
    /// process: it takes long to answer, and one process may have many on lease.
    fn is_of_the_dead(&self, word: u64, known: &mut HashMap<u64, bool>) -> bool {
        let owner = owner_of(word);
        matches!(State::in_word(word), State::Held | State::Leased)
            && !self.users.is_me(owner)
            && *known.entry(owner.0).or_insert_with(|| self.users.is_gone(owner))
    }

    /// Lets a message that was on lease to a dead process be received again. The caller holds the receiving lock.
    pub(crate) fn give_back(&self, head: &BlockHead) {
        // The receiving lock passes on what the lessee did, who had the message under it.
        head.owner.store(State::Returned.nobodys(), Relaxed);
        // die here: receivers find it when they find the queue empty, since `leased` is set.
        self.say_returned();
    }

    /// Lets receivers look for messages that were returned, since there is one.
    pub(crate) fn say_returned(&self) {
        // Release: with the Acquire in `first_returned`, where the hint is cleared. All changes of it are swaps, so that none of
        // them is still under way when its author looks at the blocks, and who clears it sees the blocks of all that it clears.
        self.shared.recv.returned.swap(1, Release);
    }

    /// Of the returned messages, that which was handed out first. The caller holds the receiving lock.
    pub(crate) fn first_returned(&self) -> Option<(u32, &BlockHead)> {
        let returned = self.look_for_returned();
        if returned.is_some() {
            // There may be more: the hint stays, for those who look meanwhile.
            return returned;
        }
        // Acquire: with the Release in `say_returned`.
        self.shared.recv.returned.swap(0, Acquire);
        let returned = self.look_for_returned();
        if returned.is_some() {
            self.shared.recv.returned.swap(1, Relaxed);
        }
        returned
    }

    fn look_for_returned(&self) -> Option<(u32, &BlockHead)> {
        // Acquire: with the Release in `Store::finish`, for the message's bytes.
        let returned = self.all().filter(|(_, head)| State::in_word(head.owner.load(Acquire)) == State::Returned);
        returned.min_by_key(|(_, head)| head.order.load(Relaxed))
    }

    /// How many messages were returned.
    pub(crate) fn returned(&self) -> usize {
        if self.shared.recv.leased.load(Relaxed) == 0 {
            return 0;
        }
        self.all().filter(|(_, head)| State::in_word(head.owner.load(Relaxed)) == State::Returned).count()
    }
}

/// A block that this process holds, and gives back unless it is passed on.
pub(crate) struct Claim<'a> {
    blocks: &'a Blocks,
    pub(crate) index: u32,
    pub(crate) head: &'a BlockHead,
}

impl Claim<'_> {
    /// Writes a message into it.
    pub(crate) fn fill(&self, envelope: &[u8], message: &[u8]) -> Result<()> {
        let len = envelope.len() + message.len();
        self.back(len)?;
        self.blocks.data.write(self.blocks.offset(self.index, 0), envelope)?;
        self.blocks.data.write(self.blocks.offset(self.index, envelope.len()), message)
    }

    /// Makes sure that there is memory for `len` bytes.
    pub(crate) fn back(&self, len: usize) -> Result<()> {
        if len > self.blocks.size {
            return Err(Error::Corrupted("a message is longer than a block"));
        }
        self.blocks.back_data(self.index, self.head, len)
    }

    /// The block belongs to the queue, or to who took its message, from here on.
    pub(crate) fn pass_on(self) {
        std::mem::forget(self);
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if self.blocks.free(self.index).is_ok() {
            self.blocks.notify();
        }
    }
}
