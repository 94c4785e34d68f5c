//! How a queue is made, and where its parts lie in memory.

use std::sync::Arc;

use nix::sys::statvfs::statvfs;

use crate::error::{Error, Result};
use crate::name::Name;
use crate::shm::Shared;
use crate::shm::bytes::Bytes;
use crate::shm::layout::{BlockHead, QueueLayout, SLOT_DATA};
use crate::sys::file::{Mapping, PAGE};
use crate::sys::memory::Ordering::Relaxed;

/// The largest capacity of a queue, in messages.
pub const MAX_CAPACITY: usize = 1 << 30;
/// The longest message that a queue can be made for, in bytes.
pub const MAX_MESSAGE: usize = 1 << 30;
/// The most messages of a queue that can be out on lease at a time.
pub const MAX_LEASES: usize = 1 << 20;

/// The bytes that may go with a message, for who passes them on: `direct` says what they mean.
pub(crate) const ENVELOPE: usize = 32;
pub(crate) type Envelope = [u8; ENVELOPE];

/// Messages of up to so many bytes lie in the ring itself, longer ones in blocks.
pub(crate) const INLINE: usize = 4096;
/// The slots of an unbounded queue's ring, through which messages pass while nobody lags behind.
const RING_OF_UNBOUNDED: usize = 256;
/// The log's memory is given back in chunks of so many bytes.
pub(crate) const CHUNK: usize = 1 << 20;
/// The part of the log whose memory is kept has at most so many bytes, a power of two.
pub(crate) const KEPT: usize = 1 << 20;
/// The numbers of blocks leave room for flags.
const MAX_BLOCKS: usize = 1 << 28;
/// No object is longer: an address space has 47 bits at least.
const MAX_LEN: usize = 1 << 45;

/// How many messages fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Capacity {
    /// So many; 0: a rendezvous.
    Messages(usize),
    /// As many as there is memory for, or as fit into so many bytes.
    Unbounded { limit: Option<usize> },
}

/// How a queue is made.
///
/// ```
/// use rsipc::QueueOptions;
///
/// let _bounded = QueueOptions::new().capacity(1000).max_message(200);
/// let _rendezvous = QueueOptions::new().capacity(0);
/// let _unbounded = QueueOptions::new().unbounded().max_message(1 << 20);
/// // At most two frames wait, one is filled, and one is read in place.
/// let _frames = QueueOptions::new().capacity(2).max_message(8 << 20).leases(2);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueOptions {
    capacity: Capacity,
    max_message: usize,
    leases: usize,
}

impl Default for QueueOptions {
    /// Room for 64 messages of up to 4096 bytes, of which 256 can be out on lease.
    fn default() -> Self {
        Self { capacity: Capacity::Messages(64), max_message: 4096, leases: 256 }
    }
}

impl QueueOptions {
    /// The default options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many messages there is room for before senders wait: 0 to [`MAX_CAPACITY`].
    ///
    /// With a capacity of 0 every send is a *rendezvous*: it returns when a receiver has taken the message.
    #[must_use]
    pub fn capacity(mut self, messages: usize) -> Self {
        self.capacity = Capacity::Messages(messages);
        self
    }

    /// Makes room for as many messages as there is memory for: senders never wait. Memory grows with what waits to be received, and goes
    /// back to the system as it is received, but for up to two and a half mebibytes.
    ///
    /// (Where 256 messages wait, `send` looks for two microseconds whether receivers keep pace, before it takes memory for more:
    /// what they take at once passes faster. `try_send` does not.)
    #[must_use]
    pub fn unbounded(mut self) -> Self {
        self.capacity = Capacity::Unbounded { limit: None };
        self
    }

    /// As [`QueueOptions::unbounded`], but no more than about `bytes` of memory are used for messages that wait: then sending
    /// fails with `LimitReached`. Each message takes up to 32 bytes more than its length, and two and a half mebibytes may be in
    /// use behind the receivers.
    #[must_use]
    pub fn unbounded_within(mut self, bytes: usize) -> Self {
        self.capacity = Capacity::Unbounded { limit: Some(bytes) };
        self
    }

    /// How long a message can be, in bytes: 0 to [`MAX_MESSAGE`]. It costs nothing to allow long ones: each message takes the memory that
    /// its own length needs.
    #[must_use]
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// How many messages can be out on lease ([`Queue::lease`](crate::Queue::lease)), lent to senders
    /// ([`Queue::loan`](crate::Queue::loan)) and read in place ([`Queue::recv_view`](crate::Queue::recv_view)) at a time, or be
    /// requests that were received and not answered yet: 0 to [`MAX_LEASES`]. A rendezvous can have so many senders waiting
    /// beside them.
    #[must_use]
    pub fn leases(mut self, messages: usize) -> Self {
        self.leases = messages;
        self
    }

    /// How many bytes such a queue takes in a region, at an offset that is a multiple of 128.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for options out of range, and for an unbounded queue without a limit.
    pub fn size(&self) -> Result<usize> {
        if self.capacity == (Capacity::Unbounded { limit: None }) {
            return Err(Error::invalid("an unbounded queue in a region needs a limit in bytes"));
        }
        // Wherever it begins, its bytes can begin at a page.
        Ok(self.plan(0, 0)?.len + PAGE)
    }

    /// What the queue's parts need, if it begins at `offset` of its mapping. `room`: the bytes for the log of an unbounded one
    /// without a limit.
    pub(crate) fn plan(&self, offset: usize, room: usize) -> Result<Plan> {
        let is_long = self.max_message > INLINE;
        if self.max_message > MAX_MESSAGE {
            return Err(Error::invalid(format!("a queue's max_message is 0 to {MAX_MESSAGE} bytes, not {}", self.max_message)));
        }
        if self.leases > MAX_LEASES {
            return Err(Error::invalid(format!("a queue's leases are 0 to {MAX_LEASES} messages, not {}", self.leases)));
        }
        let record = (self.max_message + ENVELOPE + 64).next_multiple_of(CHUNK);
        let (slots, log_limit, long, blocks) = match self.capacity {
            Capacity::Messages(n) if n > MAX_CAPACITY => {
                return Err(Error::invalid(format!("a queue's capacity is 0 to {MAX_CAPACITY} messages, not {n}")));
            }
            Capacity::Messages(0) => (0, 0, 0, self.leases.max(1) + 256),
            Capacity::Messages(n) => (n, 0, 0, self.leases + if is_long { n } else { 0 }),
            Capacity::Unbounded { limit } => {
                let limit = limit.unwrap_or(room);
                if limit > MAX_LEN {
                    return Err(Error::invalid(format!("a queue's limit is at most {MAX_LEN} bytes, not {limit}")));
                }
                (RING_OF_UNBOUNDED, limit, limit.next_multiple_of(CHUNK) + record + 2 * CHUNK, self.leases)
            }
        };
        let slot_size = (SLOT_DATA + self.max_message.clamp(4, INLINE)).next_multiple_of(64);
        let block_size = (self.max_message + ENVELOPE).next_multiple_of(if is_long { PAGE } else { 64 });
        let (log_kept, log_size) = if long == 0 { (0, 0) } else { (KEPT, KEPT + long) };
        let plan = Plan::new(offset, slots, slot_size, blocks, block_size, log_size);
        match plan.filter(|plan| blocks <= MAX_BLOCKS && plan.len <= MAX_LEN) {
            Some(plan) => Ok(Plan { log_kept, log_limit, max_message: self.max_message, ..plan }),
            None => Err(Error::invalid(format!(
                "a queue for {slots} messages of up to {} bytes each is too large: allow fewer or shorter ones",
                self.max_message
            ))),
        }
    }

    /// The plan of a queue without a name, whose memory is on no file system that has a size.
    pub(crate) fn plan_anonymous(&self) -> Result<Plan> {
        self.plan(0, memory_of_the_machine().min(MAX_LEN / 4))
    }

    /// The plan of a queue with a name of its own.
    pub(crate) fn plan_for(&self, name: &Name<'_>) -> Result<Plan> {
        let room = match self.capacity {
            Capacity::Unbounded { limit: None } => file_system_room(name)?,
            _ => 0,
        };
        self.plan(0, room)
    }
}

/// How many bytes the file system has that the name lies in; so many can wait at most in an unbounded queue.
fn file_system_room(name: &Name<'_>) -> Result<usize> {
    let dir = name.make_dir()?;
    let doing = || format!("asking for the size of the file system of {}", dir.display());
    let stat = statvfs(&dir).map_err(|e| Error::os(e as i32, doing()))?;
    let bytes = (stat.blocks() as usize).saturating_mul(stat.fragment_size() as usize);
    // A tmpfs without a limit says 0: as much as there is memory, then.
    let bytes = if bytes != 0 { bytes } else { memory_of_the_machine() };
    Ok(bytes.min(MAX_LEN / 4))
}

fn memory_of_the_machine() -> usize {
    nix::sys::sysinfo::sysinfo().map_or(1 << 34, |info| (info.ram_total() + info.swap_total()) as usize)
}

/// Where a queue's parts lie, as offsets in its mapping.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) slots: usize,
    pub(crate) slot_size: usize,
    pub(crate) blocks: usize,
    pub(crate) block_size: usize,
    pub(crate) log_size: usize,
    pub(crate) log_kept: usize,
    pub(crate) log_limit: usize,
    pub(crate) max_message: usize,
    /// How many bytes the whole queue has, with its layout.
    pub(crate) len: usize,
    slots_at: usize,
    heads_at: usize,
    log_at: usize,
    blocks_at: usize,
}

impl Plan {
    fn new(offset: usize, slots: usize, slot_size: usize, blocks: usize, block_size: usize, log_size: usize) -> Option<Self> {
        let slots_at = offset.checked_add(size_of::<QueueLayout>())?;
        let heads_at = slots_at.checked_add(slots.checked_mul(slot_size)?)?;
        let log_at = heads_at.checked_add(blocks.checked_mul(size_of::<BlockHead>())?)?.checked_next_multiple_of(PAGE)?;
        let blocks_at = log_at.checked_add(log_size)?.checked_next_multiple_of(PAGE)?;
        let len = blocks_at.checked_add(blocks.checked_mul(block_size)?)?.checked_sub(offset)?;
        let (log_kept, log_limit, max_message) = (0, 0, 0);
        Some(Self {
            slots,
            slot_size,
            blocks,
            block_size,
            log_size,
            log_kept,
            log_limit,
            max_message,
            len,
            slots_at,
            heads_at,
            log_at,
            blocks_at,
        })
    }

    /// Writes it down in a new queue.
    pub(crate) fn fill(&self, layout: &QueueLayout) {
        layout.capacity.store(self.slots as u32, Relaxed);
        layout.max_message.store(self.max_message as u32, Relaxed);
        layout.slot_size.store(self.slot_size as u64, Relaxed);
        layout.blocks.store(self.blocks as u32, Relaxed);
        layout.block_size.store(self.block_size as u64, Relaxed);
        layout.log_size.store(self.log_size as u64, Relaxed);
        layout.log_kept.store(self.log_kept as u32, Relaxed);
        layout.log_limit.store(self.log_limit as u64, Relaxed);
    }

    /// Reads it from a queue. What it says is used from then on, whatever the shared memory says later.
    pub(crate) fn of(shared: &Shared<QueueLayout>) -> Result<Self> {
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let (slots, blocks) = (shared.capacity.load(Relaxed) as usize, shared.blocks.load(Relaxed) as usize);
        let (slot_size, block_size) = (size(shared.slot_size.load(Relaxed)), size(shared.block_size.load(Relaxed)));
        let log_size = size(shared.log_size.load(Relaxed));
        let log_kept = shared.log_kept.load(Relaxed) as usize;
        let max_message = shared.max_message.load(Relaxed) as usize;
        let sane = slot_size > SLOT_DATA
            && slot_size.is_multiple_of(64)
            && block_size.is_multiple_of(64)
            && block_size >= max_message + ENVELOPE
            && max_message <= MAX_MESSAGE
            && blocks <= MAX_BLOCKS
            && log_size.is_multiple_of(CHUNK)
            && (log_size == 0 || log_size > KEPT && log_kept <= KEPT && log_kept.is_power_of_two() && log_kept >= 64)
            && (slots != 0 || blocks != 0);
        let plan = Self::new(shared.offset(), slots, slot_size, blocks, block_size, log_size).filter(|_| sane);
        let Some(plan) = plan else {
            return Err(Error::Corrupted("the queue's sizes are none that it can have"));
        };
        Ok(Self { log_kept, log_limit: size(shared.log_limit.load(Relaxed)), max_message, ..plan })
    }

    pub(crate) fn slots_in(&self, mapping: &Arc<Mapping>) -> Result<Bytes> {
        Bytes::new(mapping, self.slots_at, self.slots * self.slot_size)
    }

    pub(crate) fn heads_in(&self, mapping: &Arc<Mapping>) -> Result<Bytes> {
        Bytes::new(mapping, self.heads_at, self.blocks * size_of::<BlockHead>())
    }

    pub(crate) fn log_in(&self, mapping: &Arc<Mapping>) -> Result<Bytes> {
        Bytes::new(mapping, self.log_at, self.log_size)
    }

    pub(crate) fn blocks_in(&self, mapping: &Arc<Mapping>) -> Result<Bytes> {
        Bytes::new(mapping, self.blocks_at, self.blocks * self.block_size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts of a queue lie behind each other, aligned, and none beyond its end.
    #[test]
    fn parts_do_not_overlap() {
        let sizes = [0, 1, 52, 53, INLINE, INLINE + 1, 100_000];
        for (offset, leases, capacity) in [(0, 0, 0), (0, 256, 1), (4096, 3, 7), (128, 256, 64)] {
            for max_message in sizes {
                let options = QueueOptions::new().capacity(capacity).max_message(max_message).leases(leases);
                for (options, room) in [(options, 0), (options.unbounded_within(1 << 20), 0), (options.unbounded(), 1 << 30)] {
                    let plan = options.plan(offset, room).unwrap();
                    let parts = [
                        (offset, size_of::<QueueLayout>(), 1),
                        (plan.slots_at, plan.slots * plan.slot_size, 64),
                        (plan.heads_at, plan.blocks * size_of::<BlockHead>(), 64),
                        (plan.log_at, plan.log_size, PAGE),
                        (plan.blocks_at, plan.blocks * plan.block_size, PAGE),
                        (offset + plan.len, 0, 1),
                    ];
                    for pair in parts.windows(2) {
                        assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{plan:?}");
                    }
                    assert!(parts.iter().all(|(at, _, align)| at.is_multiple_of(*align)), "{plan:?}");
                    assert!(plan.slot_size >= SLOT_DATA + max_message.min(INLINE));
                    assert!(plan.block_size >= max_message + ENVELOPE);
                }
            }
        }
    }

    #[test]
    fn what_is_too_large_is_refused_without_overflow() {
        let options = QueueOptions::new();
        for options in [
            options.capacity(MAX_CAPACITY + 1),
            options.capacity(usize::MAX),
            options.max_message(MAX_MESSAGE + 1),
            options.max_message(usize::MAX),
            options.leases(usize::MAX),
            options.unbounded_within(usize::MAX),
            options.capacity(MAX_CAPACITY).max_message(MAX_MESSAGE),
        ] {
            assert!(matches!(options.plan(0, 0), Err(Error::InvalidArgument(_))));
            assert!(options.plan(usize::MAX - 4095, 0).is_err());
        }
    }
}
