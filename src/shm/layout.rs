//! Every structure that lies in shared memory, field by field.
//!
//! Rules: only atomics of fixed width and plain bytes, no pointers (but for the robust list's links, which mean something to
//! their lock's owner alone), no `usize`, no `bool`, no enums. All zeros is the state right before creation, and an object exists
//! from the store of its header on. A changed layout gets a new version number: its kind's `VERSION`.

use crate::error::{Error, Result};
use crate::name::Kind;
use crate::sys::memory::{AtomicU32, AtomicU64, Counter};
use crate::sys::thread::LINKS_LEN;

/// How every object begins.
#[repr(C)]
pub(crate) struct Header {
    /// `b"rsip"`, the kind, a flavour of it, and the version of its layout. Stored last by the creator (Release), loaded first by who
    /// opens it (Acquire). 0: there is no object here.
    pub(crate) tag: AtomicU64,
    /// The creator's pid namespace; 0: unknown. Thread ids in lock words are of this one.
    pub(crate) namespace: AtomicU32,
    /// Not 0 once a process of another pid namespace uses the object: the number of the table by which its users are known from then on
    /// (`sync::strangers`).
    pub(crate) strangers: AtomicU32,
}

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) kind: Kind,
    pub(crate) flavour: u8,
    pub(crate) version: u16,
}

const MAGIC: [u8; 4] = *b"rsip";

impl Tag {
    pub(crate) const fn new(kind: Kind, flavour: u8, version: u16) -> Self {
        Self { kind, flavour, version }
    }

    pub(crate) const fn to_bits(self) -> u64 {
        let kind = match self.kind {
            Kind::Region => 1,
            Kind::Mutex => 2,
            Kind::Semaphore => 3,
            Kind::Queue => 4,
            Kind::Endpoint => 5,
        };
        let [a, b, c, d] = MAGIC;
        let [v, w] = self.version.to_le_bytes();
        u64::from_le_bytes([a, b, c, d, kind, self.flavour, v, w])
    }

    /// What `bits` say, unless they are not a header.
    pub(crate) fn from_bits(bits: u64) -> Option<Self> {
        let [a, b, c, d, kind, flavour, v, w] = bits.to_le_bytes();
        let kind = match kind {
            1 => Kind::Region,
            2 => Kind::Mutex,
            3 => Kind::Semaphore,
            4 => Kind::Queue,
            5 => Kind::Endpoint,
            _ => return None,
        };
        ([a, b, c, d] == MAGIC).then(|| Self::new(kind, flavour, u16::from_le_bytes([v, w])))
    }

    /// Checks that what was found is this.
    pub(crate) fn expect(self, bits: u64) -> Result<()> {
        let Some(found) = Self::from_bits(bits) else {
            return Err(Error::Corrupted("this is no rsipc object: its first bytes are not those of one"));
        };
        if found.kind != self.kind {
            return Err(Error::WrongKind { expected: self.kind.as_str(), found: found.kind.as_str() });
        }
        if found.version != self.version {
            return Err(Error::WrongVersion { kind: self.kind.as_str(), expected: self.version, found: found.version });
        }
        if found.flavour != self.flavour {
            return Err(Error::WrongKind { expected: flavour_name(self), found: flavour_name(found) });
        }
        Ok(())
    }
}

fn flavour_name(tag: Tag) -> &'static str {
    match (tag.kind, tag.flavour) {
        (Kind::Semaphore, SIGNALS) => "signalling semaphore",
        (Kind::Semaphore, PERMITS) => "semaphore of permits",
        (kind, _) => kind.as_str(),
    }
}

/// Flavours of semaphores.
pub(crate) const SIGNALS: u8 = 0;
pub(crate) const PERMITS: u8 = 1;

/// A structure in shared memory.
///
/// # Safety
///
/// The type consists of atomics and bytes that are only reached through raw pointers: a reference to it may exist whatever other
/// processes write there, and any bit pattern is a value of it.
pub(crate) unsafe trait Layout: Sized {}

/// A structure that begins with a header, and so can be an object.
///
/// # Safety
///
/// As for [`Layout`].
pub(crate) unsafe trait Object: Layout {
    /// What the header says.
    const TAG: Tag;
    fn header(&self) -> &Header;
    /// A robust lock word, 0 when free, that a creator holds while it fills in what the header then vouches for.
    fn lock(&self) -> &AtomicU32;
}

/// An object of which something is counted.
pub(crate) trait Counted: Object {
    fn counts(&self) -> &Counts;
}

/// What is counted of an object where a call sleeps or repairs something: on a cache line that it does not touch otherwise
/// (`sync::counts`).
#[repr(C)]
pub(crate) struct Counts {
    /// How often a call went to sleep.
    pub(crate) waits: Counter,
    /// How often one that slept was woken.
    pub(crate) wakeups: Counter,
    /// How often something was put right that a dead process had left.
    pub(crate) recoveries: Counter,
    /// How often a death was noticed.
    pub(crate) deaths: Counter,
}

/// A region: one page for this, the user's bytes after it.
#[repr(C)]
pub(crate) struct RegionLayout {
    pub(crate) header: Header,
    /// How many bytes the user has; only grows. Memory behind them is reserved before this says so.
    pub(crate) size: AtomicU64,
    pub(crate) lock: AtomicU32,
}

/// Where the user's bytes begin in a region's file.
pub(crate) const REGION_DATA: usize = 4096;

/// A mutex. The data that it guards in a `Mutex<T>` lies right behind it.
#[repr(C, align(8))]
pub(crate) struct MutexLayout {
    pub(crate) header: Header,
    /// A robust futex word: owner, WAITERS, OWNER_DIED (`sync::lock`).
    pub(crate) word: AtomicU32,
    /// Where the owner's C library has the robust list's links. Written and read by the owner only.
    pub(crate) links: [AtomicU32; LINKS_LEN / 4],
    /// CONSISTENT, INCONSISTENT or NOT_RECOVERABLE (`sync::mutex`). Changed by the word's owner only.
    pub(crate) state: AtomicU32,
    /// The length of the data behind the mutex, in bytes. Never changes.
    pub(crate) data_len: AtomicU32,
    pub(crate) counts: Counts,
    /// How owners let go of the word.
    pub(crate) quiet: Quiet,
    pub(crate) holder: Holder,
    pub(crate) _reserved: [AtomicU32; 4],
}

/// A signalling semaphore.
#[repr(C, align(64))]
pub(crate) struct SemaphoreLayout {
    pub(crate) header: Header,
    /// How many units are there to be acquired.
    pub(crate) value: AtomicU32,
    /// WAITERS or 0: where those sleep who find no unit. Never owned.
    pub(crate) event: AtomicU32,
    pub(crate) lock: AtomicU32,
    /// Not 0 while somebody may be asleep on `event` and on other words (`sync::lock`).
    pub(crate) watched: AtomicU32,
    pub(crate) _reserved: [AtomicU32; 8],
    pub(crate) counts: Counts,
    pub(crate) _reserved_too: [AtomicU64; 4],
}

/// A semaphore of permits.
#[repr(C, align(64))]
pub(crate) struct PermitsLayout {
    pub(crate) header: Header,
    /// How many permits there are in all. Never changes.
    pub(crate) total: AtomicU32,
    /// WAITERS or 0: where those sleep who find no permit. Never owned.
    pub(crate) event: AtomicU32,
    /// How many are held by nobody: `total` less what the holders hold. A hint, true while the lock is free and not OWNER_DIED.
    pub(crate) free: AtomicU32,
    /// 1 while `free` was added up anew and nobody has been woken for it. Changed under the lock.
    pub(crate) added_up: AtomicU32,
    /// Not 0 while somebody may be asleep on `event` and on other words than life words (`sync::lock`).
    pub(crate) watched: AtomicU32,
    /// That of the holders' lock.
    pub(crate) quiet: Quiet,
    pub(crate) _reserved: [AtomicU32; 5],
    pub(crate) counts: Counts,
    pub(crate) _reserved_too: [AtomicU64; 4],
    /// Who holds how many (`Peer::value`).
    pub(crate) holders: Peers<MAX_HOLDERS>,
    /// The life words of the holders, by the number of their entries.
    pub(crate) lives: [Life; MAX_HOLDERS],
}

/// A word that the kernel marks when a holder's thread ends, for others to sleep on (`sync::permits`).
#[repr(C, align(8))]
pub(crate) struct Life {
    /// A robust lock word, owned by a thread of the holder.
    pub(crate) word: AtomicU32,
    /// Where the owner's C library has the robust list's links.
    pub(crate) links: [AtomicU32; LINKS_LEN / 4],
}

/// The most processes that can use one semaphore of permits at a time.
pub(crate) const MAX_HOLDERS: usize = 120;

/// A table of processes.
#[repr(C, align(64))]
pub(crate) struct Peers<const N: usize> {
    /// Held to join, and to change what the `value`s add up to.
    pub(crate) lock: AtomicU32,
    pub(crate) _reserved: [AtomicU32; 15],
    pub(crate) table: [Peer; N],
}

/// One process's entry in a table.
#[repr(C)]
pub(crate) struct Peer {
    /// `Identity` of the process; 0: the entry is free. Stored last when the process joins, first when it leaves.
    pub(crate) identity: AtomicU64,
    /// When it joined, in nanoseconds since 1970 (`CLOCK_REALTIME`).
    pub(crate) since: AtomicU64,
    /// Its id, in its own pid namespace.
    pub(crate) pid: AtomicU32,
    /// Permits: how many it holds. Queue: SENDS and RECEIVES.
    pub(crate) value: AtomicU32,
    /// Queue: the process's life, where its death matters to those who wait (`sync::lives`); 0: none.
    pub(crate) life: AtomicU32,
    pub(crate) _reserved: AtomicU32,
}

/// The most handles that can be open on one queue at a time.
pub(crate) const MAX_ATTACHED: usize = 500;

/// A queue of any capacity. Behind it lie, in this order: the slots of its ring, the heads of its blocks, its log, the bytes of its
/// blocks (`queue::memory` has the offsets).
#[repr(C, align(64))]
pub(crate) struct QueueLayout {
    pub(crate) header: Header,
    /// How many slots the ring has; 0 for a rendezvous. Never changes, nor do the next five.
    pub(crate) capacity: AtomicU32,
    /// The longest message, in bytes.
    pub(crate) max_message: AtomicU32,
    /// A slot's size in bytes, a multiple of 64.
    pub(crate) slot_size: AtomicU64,
    /// How many blocks there are.
    pub(crate) blocks: AtomicU32,
    /// OPEN, CLOSING (senders are refused) or CLOSED (receivers, too, once the queue is empty); only grows.
    pub(crate) phase: AtomicU32,
    /// How many bytes of addresses each block has.
    pub(crate) block_size: AtomicU64,
    /// How many bytes of addresses the log has; 0: the queue is bounded.
    pub(crate) log_size: AtomicU64,
    /// The most bytes that may wait in the log.
    pub(crate) log_limit: AtomicU64,
    /// The block from which on a free one is looked for. A hint; not used in a rendezvous.
    pub(crate) free_hint: AtomicU32,
    /// No block of this number or above has ever been claimed.
    pub(crate) claimed: AtomicU32,
    /// 1 while somebody may wait for a block to become free.
    pub(crate) block_wanted: AtomicU32,
    /// The life of the process whose inbox this is (`sync::lives`); 0: none.
    pub(crate) owner_life: AtomicU32,
    /// The identity of the process whose inbox this is; 0: a mailbox.
    pub(crate) owner: AtomicU64,
    /// Which of the owner's endpoints it is.
    pub(crate) owner_serial: AtomicU32,
    /// SENDS and RECEIVES, once any handle has; MATTERS, once it matters to somebody who waits.
    pub(crate) roles: AtomicU32,
    /// The sending position, plus one, from which on messages go into the log, until the log is empty; 0: they go into the ring.
    pub(crate) log_from: AtomicU64,
    /// 1 once receivers have read the log to its end: senders look how far they have come. A hint.
    pub(crate) log_drained: AtomicU32,
    /// How many of the log's bytes, the first ones, keep their memory; a power of two. Never changes.
    pub(crate) log_kept: AtomicU32,
    pub(crate) send: Side,
    pub(crate) recv: Side,
    pub(crate) counts: Counts,
    pub(crate) _reserved: [AtomicU64; 4],
    pub(crate) peers: Peers<MAX_ATTACHED>,
}

/// A process's inbox: a queue, but for its header.
#[repr(transparent)]
pub(crate) struct InboxLayout {
    pub(crate) queue: QueueLayout,
}

/// What all senders, or all receivers, share.
#[repr(C, align(128))]
pub(crate) struct Side {
    /// The robust lock word: who holds it sends, or receives. The *other* side sleeps on it for a change. In a rendezvous nobody takes
    /// the sending lock: its word is an event there.
    pub(crate) lock: AtomicU32,
    /// GENERATION or 0 (`sync::lock`): changed by the lock's owner at each release that wakes.
    pub(crate) generation: AtomicU32,
    /// Where the next message goes, or comes from (`queue::ring`). A hint: the slots are the truth. In a rendezvous, the sending side's
    /// counts the offers.
    pub(crate) position: AtomicU64,
    /// How many bytes of messages this side has passed on; in a rendezvous the receiving side's counts for both. Changed by the
    /// lock's owner.
    pub(crate) bytes: Counter,
    /// Not 0 while somebody may be asleep on `lock` and on other words (`sync::lock`).
    pub(crate) watched: AtomicU32,
    /// The block that the lock's owner is passing on, plus one; see `queue::blocks`. 0 when the lock is free, unless an owner died.
    pub(crate) transit: AtomicU32,
    /// The place of that block's message: a position, or an offer.
    pub(crate) transit_place: AtomicU64,
    pub(crate) bias: Bias,
    /// Receiving, in a rendezvous: not 0 while a receiver spins for an offer, or where one died that did (`queue::handoff`).
    pub(crate) looking: AtomicU32,
    /// The rest of the line is nobody's: what follows, the other side looks at while this one works on what is above.
    pub(crate) _reserved: AtomicU32,
    /// Where the log ends (sending) and begins (receiving): places (`queue::log`). The store of either is the commit.
    pub(crate) log: AtomicU64,
    /// Receiving: up to here the memory of the log's long part was given back; senders may use it again. Sending: what the
    /// senders know of that.
    pub(crate) log_given_back: AtomicU64,
    /// What this side knows of the other's `log`: never ahead of it.
    pub(crate) log_seen: AtomicU64,
    /// Sending: where the log will end when the senders look at the other side again.
    pub(crate) log_look: AtomicU64,
    /// Receiving: how many messages were ever taken from the log. A hint, one behind where a receiver died right after it took one.
    pub(crate) log_taken: AtomicU64,
    /// Receiving: how many messages were ever handed out on lease.
    pub(crate) leases: AtomicU64,
    /// Receiving: 1 while a block may be leased or returned. 0 only if none is.
    pub(crate) leased: AtomicU32,
    /// Receiving: 1 if a block may be returned. A hint.
    pub(crate) returned: AtomicU32,
    /// Receiving, in a rendezvous: how many messages were handed over. Changed by the lock's owner.
    pub(crate) handed_over: Counter,
}

/// What there is beside a lock word that may be biased (`sync::bias`).
#[repr(C)]
pub(crate) struct Bias {
    /// 1 while the thread that it is biased to holds the lock. Means nothing while the word is not biased.
    pub(crate) busy: AtomicU32,
    /// 1 once another thread came while it was biased, or somebody had to be sure that it is not (`Bias::end`): it never is again.
    pub(crate) is_shared: AtomicU32,
    /// Who held it last, and how many times in a row, nobody having come between. Changed by who holds it.
    pub(crate) last: AtomicU32,
    pub(crate) times: AtomicU32,
}

/// What there is beside a lock word that may be quiet (`sync::quiet`).
#[repr(C)]
pub(crate) struct Quiet {
    /// How the lock is; only grows.
    pub(crate) turn: AtomicU32,
    /// The turn that its last owner heard. Changed by who holds it.
    pub(crate) heard: AtomicU32,
}

/// Whose thread has a mutex (`sync::holder`).
#[repr(C)]
pub(crate) struct Holder {
    /// The owner as `ThreadOf`, or a claim on what it left; 0: nothing is known. Written by the word's owner, and by claims.
    pub(crate) thread: AtomicU64,
}

/// The head of a block: memory for one message, which somebody owns.
#[repr(C, align(64))]
pub(crate) struct BlockHead {
    /// The state in the upper 3 bits, and the owner's identity (`queue::blocks`). 0: free.
    pub(crate) owner: AtomicU64,
    /// Orders the returned: which message was handed out first.
    pub(crate) order: AtomicU64,
    /// In a rendezvous: the offer's number, and what became of it (`queue::handoff`).
    pub(crate) offer: AtomicU64,
    /// In a rendezvous: a robust lock word, owned by the thread that makes the offer.
    pub(crate) word: AtomicU32,
    /// The message's length in bytes, and ENVELOPED.
    pub(crate) len: AtomicU32,
    /// How many times the message was handed out on lease.
    pub(crate) deliveries: AtomicU32,
    /// How many bytes from the block's beginning have memory, in pages.
    pub(crate) pages: AtomicU32,
    pub(crate) _reserved: [AtomicU32; 6],
}

/// The head of a record in the log; the payload follows it. Where the log ends there is one already, of which only `number` is valid.
#[repr(C)]
pub(crate) struct RecordHead {
    /// The message's length in bytes, and ENVELOPED; or where the next record is that does not follow it (`queue::log`).
    pub(crate) len: AtomicU32,
    pub(crate) _reserved: AtomicU32,
    /// How many messages were put into the log before this one.
    pub(crate) number: AtomicU64,
}

/// The head of a slot; the payload follows it on the same cache line.
#[repr(C)]
pub(crate) struct SlotHead {
    /// Twice the lap: empty, to be filled in that lap. One more: filled in it. The store of either is the commit.
    pub(crate) sequence: AtomicU64,
    /// The message's length in bytes, and ENVELOPED; or IN_BLOCK: the payload is the number of a block.
    pub(crate) len: AtomicU32,
}

/// In a message's length: its first bytes are an envelope.
pub(crate) const ENVELOPED: u32 = 1 << 31;

/// Where a slot's payload begins.
pub(crate) const SLOT_DATA: usize = 12;

/// The first page of a directory's table of lives (`sync::lives`, `sync::strangers`). Each entry is a page of its own.
#[repr(C)]
pub(crate) struct LivesLayout {
    /// `LIVES_TAG`.
    pub(crate) tag: AtomicU64,
    /// Held to join (not among strangers, who have no ids yet).
    pub(crate) lock: AtomicU32,
    /// How many entries have been used: those have memory. Changed by who joins; only grows.
    pub(crate) used: AtomicU32,
    /// Held to take away the files of a dead process (`direct`).
    pub(crate) files: AtomicU32,
    /// Tells the table from others: random, never 0. Never changes.
    pub(crate) number: AtomicU32,
}

/// How such a table begins: `b"rsip"`, a number that no object's kind has, and the version of the layout.
pub(crate) const LIVES_TAG: u64 = u64::from_le_bytes([b'r', b's', b'i', b'p', 0xff, 0, 1, 0]);

/// How a table of strangers begins.
pub(crate) const STRANGERS_TAG: u64 = u64::from_le_bytes([b'r', b's', b'i', b'p', 0xfe, 0, 2, 0]);

/// The most processes of one pid namespace that can have a life in one directory at a time.
pub(crate) const MAX_LIVES: u32 = 4096;

/// How many bytes before the end of an entry's page its word lies: the list's links begin on the next page.
pub(crate) const LIFE_BACK: usize = 8;

/// Where the second word of a stranger's life lies, in the same way: glibc's links of both have room on the next page.
pub(crate) const SECOND_LIFE_BACK: usize = 24;

/// A page of a table of lives begins with this.
#[repr(C)]
pub(crate) struct LifeLayout {
    /// `Identity` of the process; 0: free. Among strangers that of the thread, and kept when it ends. Changed by who joins.
    pub(crate) identity: AtomicU64,
    /// Among strangers: the `Identity` of the process whose thread it is.
    pub(crate) process: AtomicU64,
    /// Among strangers: that process's id, in its own pid namespace.
    pub(crate) process_id: AtomicU32,
    pub(crate) _reserved: AtomicU32,
}

macro_rules! layouts {
    ($($layout:ty),*) => { $(
        // SAFETY: atomics only, as the trait wants.
        unsafe impl Layout for $layout {}
    )* };
}
layouts!(
    Header,
    InboxLayout,
    RegionLayout,
    MutexLayout,
    SemaphoreLayout,
    PermitsLayout,
    QueueLayout,
    Counts,
    BlockHead,
    RecordHead,
    LivesLayout,
    LifeLayout,
    Bias,
    Quiet,
    Holder,
    AtomicU32
);

macro_rules! objects {
    ($($layout:ty: $kind:ident, $flavour:expr, $version:literal, $($lock:ident).+ $(, $counts:ident)?;)*) => { $(
        // SAFETY: atomics only, as the trait wants.
        unsafe impl Object for $layout {
            const TAG: Tag = Tag::new(Kind::$kind, $flavour, $version);
            fn header(&self) -> &Header {
                &self.header
            }
            fn lock(&self) -> &AtomicU32 {
                &self.$($lock).+
            }
        }
        $(impl Counted for $layout {
            fn counts(&self) -> &Counts {
                &self.$counts
            }
        })?
    )* };
}
objects! {
    RegionLayout: Region, 0, 1, lock;
    MutexLayout: Mutex, 0, 5, word, counts;
    SemaphoreLayout: Semaphore, SIGNALS, 3, lock, counts;
    PermitsLayout: Semaphore, PERMITS, 3, holders.lock, counts;
    QueueLayout: Queue, 0, 7, peers.lock, counts;
}

// SAFETY: atomics only, as the trait wants.
unsafe impl Object for InboxLayout {
    const TAG: Tag = Tag::new(Kind::Endpoint, 0, QueueLayout::TAG.version);
    fn header(&self) -> &Header {
        self.queue.header()
    }
    fn lock(&self) -> &AtomicU32 {
        self.queue.lock()
    }
}

const _: () = {
    use std::mem::offset_of;
    assert!(cfg!(target_endian = "little") && cfg!(target_pointer_width = "64"), "rsipc needs a little-endian 64-bit machine");
    assert!(size_of::<Header>() == 16);
    assert!(size_of::<RegionLayout>() == 32 && size_of::<RegionLayout>() <= REGION_DATA);
    assert!(size_of::<Counts>() == 32 && align_of::<Counts>() == 8);
    assert!(size_of::<MutexLayout>() == 128 && offset_of!(MutexLayout, counts) == 64 && offset_of!(MutexLayout, quiet) == 96);
    assert!(offset_of!(MutexLayout, holder) == 104);
    assert!(offset_of!(MutexLayout, word) == 16 && offset_of!(MutexLayout, links) == 20);
    assert!(size_of::<Life>() == 40 && offset_of!(Life, links) == 4);
    assert!(LIFE_BACK >= 4 && LIFE_BACK.is_multiple_of(8) && LIFE_BACK <= 8, "see `Call::can_link`");
    assert!(size_of::<LivesLayout>() == 24 && size_of::<LifeLayout>() == 24);
    assert!(size_of::<SemaphoreLayout>() == 128 && offset_of!(SemaphoreLayout, counts) == 64);
    assert!(size_of::<Peer>() == 32);
    assert!(offset_of!(PermitsLayout, counts) == 64 && offset_of!(PermitsLayout, holders) == 128);
    assert!(size_of::<PermitsLayout>() == (128 + 64 + (32 + 40) * MAX_HOLDERS).next_multiple_of(64));
    assert!(size_of::<Side>() == 128 && offset_of!(QueueLayout, send) == 128 && offset_of!(QueueLayout, recv) == 256);
    assert!(offset_of!(QueueLayout, counts) == 384 && offset_of!(QueueLayout, peers) == 448);
    assert!(size_of::<BlockHead>() == 64 && size_of::<RecordHead>() == 16);
    assert!(offset_of!(SlotHead, len) + 4 == SLOT_DATA);
};
