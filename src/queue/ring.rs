//! The ring: a row of slots that senders fill and receivers empty in turn.
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
//! bytes are in it: the next sender writes over them. One that dies after it leaves a message, and a hint that is
//! behind: the next owner of the lock sees that the slot is filled, and moves the hint on before anything else. A receiver that
//! dies before its commit has not taken the message: the next one does; one that dies after it has. A hint is never ahead of the
//! truth, since it is stored after the commit, under the lock.
//!
//! The messages of a batch are copied first and committed then, one after the other; the hint is moved once. A death in between
//! leaves those that were committed, and a hint that is behind by their number.
//!
//! `tests/models` tries this source: the scenes "ring of 1" and "ring of 2".

use crate::error::{Error, Result};
use crate::queue::options::Plan;
use crate::queue::store::{Messages, Sink};
use crate::shm::Shared;
use crate::shm::layout::{ENVELOPED, QueueLayout, Side};
use crate::shm::slots::{Slot, Slots};
use crate::sys::memory::Ordering::{Acquire, Relaxed, Release};

/// The ring of one queue.
pub(crate) struct Ring {
    shared: Shared<QueueLayout>,
    slots: Slots,
    /// What was true when the queue was opened, and is not asked of the shared memory again.
    capacity: u32,
    /// How many bits of a position are the slot's number.
    index_bits: u32,
    /// How many messages of a batch are committed at once.
    at_once: usize,
}

/// What a look at a side's next slot gave.
pub(crate) struct Look<'a> {
    /// An error where there is no memory for the slot, which nobody has used yet then, or where it was not found under the lock.
    pub(crate) slot: Result<Slot<'a>>,
    pub(crate) position: u64,
    /// Whether the side can work on the slot; if not, the ring is full, or empty.
    pub(crate) ready: bool,
    /// Whether the hint was behind: under the lock, an owner of it has died.
    pub(crate) behind: bool,
}

/// In a slot's `len`: the message is in a block.
pub(crate) const IN_BLOCK: u32 = u32::MAX;

/// So many messages of a batch, or fewer, are copied before the first of them is committed: a line that the other side looks at
/// again and again while it is written goes to and fro. And so many bytes of slots: the other side is to copy meanwhile what was
/// committed before.
const MOST_AT_ONCE: usize = 32;
const MOST_BYTES_AT_ONCE: usize = 8 * 1024;

/// A hint is behind where an owner has died, by as many as are committed at once; a look without the lock, by what has happened
/// since it read the hint. It goes so many steps before it reads the hint again, and reads it so many times: more is the work of
/// somebody who scribbles.
const STEPS: u32 = 2 * MOST_AT_ONCE as u32;
const READS: u32 = 64;

impl Ring {
    pub(crate) fn new(shared: &Shared<QueueLayout>, plan: &Plan) -> Result<Self> {
        let slots = Slots::new(plan.slots_in(shared.mapping())?, plan.slots, plan.slot_size)?;
        let capacity = plan.slots as u32;
        let index_bits = capacity.saturating_sub(1).checked_ilog2().map_or(0, |bits| bits + 1);
        // Half the ring: one side fills, or empties, one half while the other has the other half.
        let at_once = (MOST_BYTES_AT_ONCE / plan.slot_size.max(1)).min(plan.slots.div_ceil(2)).clamp(1, MOST_AT_ONCE);
        Ok(Self { shared: shared.clone(), slots, capacity, index_bits, at_once })
    }

    /// The longest message that a slot has room for.
    #[inline]
    pub(crate) fn room(&self) -> usize {
        self.slots.room()
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
    pub(crate) fn next(&self, position: u64) -> u64 {
        if self.index_of(position) + 1 < u64::from(self.capacity) {
            position.wrapping_add(1)
        } else {
            self.lap_of(position).wrapping_add(1) << self.index_bits
        }
    }

    /// The position so many after this one, in the same lap or the first of the next.
    #[inline]
    fn beyond(&self, position: u64, count: usize) -> u64 {
        if self.index_of(position) + (count as u64) < u64::from(self.capacity) {
            position.wrapping_add(count as u64)
        } else {
            self.lap_of(position).wrapping_add(1) << self.index_bits
        }
    }

    /// The slot that a side works on next. `filled`: whether it must hold a message (1) or wait for one (0).
    ///
    /// Reads only; who does not hold the side's lock gets an answer that may be a moment old.
    #[inline]
    pub(crate) fn look(&self, side: &Side, filled: u64) -> Result<Look<'_>> {
        for _ in 0..READS {
            // Acquire: with the Release of its owners: the slot that they committed before is seen as committed.
            let mut position = side.position.load(Acquire);
            let hint = position;
            for _ in 0..STEPS {
                let slot = match self.slots.get(self.index_of(position) as usize) {
                    Ok(slot) => slot,
                    Err(Error::NoSpace(what)) => {
                        return Ok(Look { slot: Err(Error::NoSpace(what)), position, ready: false, behind: false });
                    }
                    Err(e) => return Err(e),
                };
                let wanted = self.lap_of(position).wrapping_mul(2) + filled;
                // Acquire: with the Release of the other side's commit: its payload, or that its payload has been read.
                let ahead = slot.head().sequence.load(Acquire).wrapping_sub(wanted).cast_signed();
                if ahead == 0 || ahead == -1 {
                    return Ok(Look { slot: Ok(slot), position, ready: ahead == 0, behind: position != hint });
                }
                if ahead < 0 {
                    return Err(Error::Corrupted("a slot's sequence number is behind the queue's position"));
                }
                position = self.next(position);
            }
        }
        let slot = Err(Error::Corrupted("the slots' sequence numbers are ahead of the queue's position"));
        Ok(Look { slot, position: side.position.load(Relaxed), ready: true, behind: false })
    }

    /// Fills the slot at the sending side's hint with a message that has room there, if the slot waits for one. As `put`.
    #[inline]
    pub(crate) fn put_at_hint(&self, message: &[u8]) -> bool {
        let Some((slot, position)) = self.empty_at_hint() else { return false };
        slot.write(&[], message);
        self.commit_filled_at_hint(slot, position, message.len() as u32, message.len());
        true
    }

    /// The slot at the sending side's hint, and its position, if it waits for a message.
    #[inline]
    pub(crate) fn empty_at_hint(&self) -> Option<(Slot<'_>, u64)> {
        self.at_hint(&self.shared.send, 0)
    }

    /// The slot at the receiving side's hint, and its position, if it holds a message.
    #[inline]
    pub(crate) fn filled_at_hint(&self) -> Option<(Slot<'_>, u64)> {
        self.at_hint(&self.shared.recv, 1)
    }

    /// As `look`, at the slot at the hint alone.
    #[inline]
    fn at_hint(&self, side: &Side, filled: u64) -> Option<(Slot<'_>, u64)> {
        let position = side.position.load(Relaxed);
        let slot = self.slots.get_reserved(self.index_of(position) as usize)?;
        // Acquire: as in `look`.
        let ready = slot.head().sequence.load(Acquire) == self.lap_of(position).wrapping_mul(2) + filled;
        ready.then_some((slot, position))
    }

    /// Takes the message in the slot at the receiving side's hint, if there is one, of up to `longest` bytes. The caller holds
    /// the receiving lock.
    #[inline]
    pub(crate) fn take_at_hint(&self, longest: usize, sink: &mut impl Sink) -> Option<usize> {
        let (slot, position) = self.filled_at_hint()?;
        // Read once: it is checked, and then used. An envelope's flag, or a block's, makes it too long.
        let len = slot.head().len.load(Relaxed) as usize;
        if len > longest {
            return None;
        }
        slot.read(0, &mut sink.space(len).ok()?[..len]);
        self.commit_emptied_at_hint(slot, position, len);
        Some(len)
    }

    /// Fills a slot with a message. The caller holds the sending lock, and `look` said that the slot is ready.
    #[inline]
    pub(crate) fn put(&self, slot: Slot<'_>, position: u64, envelope: &[u8], message: &[u8]) {
        slot.write(envelope, message);
        let flag = if envelope.is_empty() { 0 } else { ENVELOPED };
        self.commit_filled(slot, position, (envelope.len() + message.len()) as u32 | flag, message.len());
    }

    /// Fills a slot with the number of the block where the message is, of so many bytes. As `put`.
    pub(crate) fn put_block(&self, slot: Slot<'_>, position: u64, block: u32, bytes: usize) {
        slot.block().store(block, Relaxed);
        self.commit_filled(slot, position, IN_BLOCK, bytes);
    }

    #[inline]
    fn commit_filled(&self, slot: Slot<'_>, position: u64, len: u32, bytes: usize) {
        self.shared.send.position.store(position, Release);
        self.commit_filled_at_hint(slot, position, len, bytes);
    }

    #[inline]
    fn commit_filled_at_hint(&self, slot: Slot<'_>, position: u64, len: u32, bytes: usize) {
        let (head, side) = (slot.head(), &self.shared.send);
        head.len.store(len, Relaxed);
        // die here: the slot is empty, whatever bytes are in it.
        // Release: with the Acquire in a receiver's `look`, for the payload and its length.
        head.sequence.store(self.lap_of(position).wrapping_mul(2) + 1, Release);
        // die here: the message is sent; the next owner of the lock finds the slot filled and moves the hint on.
        // Release: with the Acquire in `look`, for who looks without the lock: the slot before the hint.
        side.position.store(self.next(position), Release);
        // die here: all is done but the release, which the kernel sees to.
        side.bytes.add_alone(bytes as u64);
    }

    /// Empties a slot, whose message of `len` bytes the caller has. It holds the receiving lock, and `look` said that the slot is ready.
    #[inline]
    pub(crate) fn commit_emptied(&self, slot: Slot<'_>, position: u64, len: usize) {
        self.shared.recv.position.store(position, Release);
        self.commit_emptied_at_hint(slot, position, len);
    }

    #[inline]
    fn commit_emptied_at_hint(&self, slot: Slot<'_>, position: u64, len: usize) {
        let side = &self.shared.recv;
        // die here: the message is still there, for the next receiver.
        // Release: with the Acquire in a sender's `look`: the payload has been read, and may be written over.
        slot.head().sequence.store(self.lap_of(position).wrapping_add(1).wrapping_mul(2), Release);
        // die here: the message is gone with us; the next owner of the lock moves the hint on.
        // Release: with the Acquire in `look`, as in `commit_filled`.
        side.position.store(self.next(position), Release);
        side.bytes.add_alone(len as u64);
    }

    /// Fills slots with messages, one after the other, until a slot is not ready or a message is too long for one; says how many it filled.
    /// The caller holds the sending lock.
    #[inline]
    pub(crate) fn put_many<M: AsRef<[u8]>>(&self, messages: &[M]) -> usize {
        let side = &self.shared.send;
        let mut position = side.position.load(Relaxed);
        let mut filled = 0;
        while filled < messages.len() {
            let left = &messages[filled..];
            let Ok(run) = self.slots.run(self.index_of(position) as usize, left.len().min(self.at_once)) else { break };
            let sequence = self.lap_of(position).wrapping_mul(2) + 1;
            let (mut count, mut bytes) = (0, 0);
            for (slot, message) in run.clone().zip(left) {
                let (head, message) = (slot.head(), message.as_ref());
                // Acquire: as in `look`.
                if head.sequence.load(Acquire) != sequence - 1 || message.len() > self.room() {
                    break;
                }
                slot.write(&[], message);
                head.len.store(message.len() as u32, Relaxed);
                (count, bytes) = (count + 1, bytes + message.len() as u64);
            }
            if count == 0 {
                break;
            }
            for slot in run.take(count) {
                // die here, and below: as in `commit_filled`, for those that are committed.
                // Release: as there.
                slot.head().sequence.store(sequence, Release);
            }
            position = self.beyond(position, count);
            side.position.store(position, Release);
            side.bytes.add_alone(bytes);
            filled += count;
        }
        filled
    }

    /// Takes messages out of slots, one after the other, `most` of them or fewer: until there is no other one, or one that is not
    /// just up to `longest` bytes. Says how many it took. The caller holds the receiving lock, and has emptied a slot under it.
    #[inline]
    pub(crate) fn take_many(&self, into: &mut impl Messages, most: usize, longest: usize) -> usize {
        let side = &self.shared.recv;
        let longest = longest.min(self.room());
        let mut position = side.position.load(Relaxed);
        let mut taken = 0;
        while taken < most {
            let Ok(run) = self.slots.run(self.index_of(position) as usize, (most - taken).min(self.at_once)) else { break };
            let sequence = self.lap_of(position).wrapping_mul(2) + 1;
            let (mut count, mut bytes) = (0, 0);
            for slot in run.clone() {
                let head = slot.head();
                // Acquire: as in `look`.
                if head.sequence.load(Acquire) != sequence {
                    break;
                }
                // Read once: the check holds for what is used after it.
                let len = head.len.load(Relaxed) as usize;
                if len > longest {
                    break;
                }
                let Ok(space) = into.space(len) else { break };
                slot.read(0, &mut space[..len]);
                into.keep(len);
                (count, bytes) = (count + 1, bytes + len as u64);
            }
            if count == 0 {
                break;
            }
            for slot in run.take(count) {
                // die here, and below: as in `commit_emptied`, for those that are committed.
                // Release: as there.
                slot.head().sequence.store(sequence.wrapping_add(1), Release);
            }
            position = self.beyond(position, count);
            side.position.store(position, Release);
            side.bytes.add_alone(bytes);
            taken += count;
        }
        taken
    }

    /// Makes sure that the slot of a position has memory; gives the next position.
    pub(crate) fn back(&self, position: u64) -> Result<u64> {
        self.slots.get(self.index_of(position) as usize)?;
        Ok(self.next(position))
    }

    /// Whether the slot of a position was filled in that position's lap, and whether it was emptied again. The caller holds the
    /// lock of the side that asks what it did itself.
    pub(crate) fn history(&self, position: u64) -> Result<(bool, bool)> {
        let slot = self.slots.get(self.index_of(position) as usize)?;
        // What a dead owner of the lock did is seen by who has it.
        let ahead = slot.head().sequence.load(Relaxed).wrapping_sub(self.lap_of(position).wrapping_mul(2)).cast_signed();
        Ok((ahead >= 1, ahead >= 2))
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

    /// How many messages were ever taken out of it.
    pub(crate) fn taken(&self) -> Result<u64> {
        Ok(self.number_of(self.look(&self.shared.recv, 1)?.position))
    }

    /// How many messages were ever put into it.
    pub(crate) fn put_in(&self) -> Result<u64> {
        Ok(self.number_of(self.look(&self.shared.send, 0)?.position))
    }

    /// How many slots' turns come before a position.
    fn number_of(&self, position: u64) -> u64 {
        self.lap_of(position).wrapping_mul(u64::from(self.capacity)).wrapping_add(self.index_of(position))
    }

    /// How many messages there are between two positions.
    fn distance(&self, head: u64, tail: u64) -> usize {
        let laps = self.lap_of(tail).wrapping_sub(self.lap_of(head));
        let messages =
            laps.wrapping_mul(u64::from(self.capacity)).wrapping_add(self.index_of(tail)).wrapping_sub(self.index_of(head));
        usize::try_from(messages).unwrap_or(0).min(self.capacity as usize)
    }
}
