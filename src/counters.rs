//! What objects count, for who looks at a running system.

use crate::shm::layout::Counts;

/// What has happened to an object since it was created, in all processes: [`Queue::counters`](crate::Queue::counters),
/// [`Endpoint::counters`](crate::Endpoint::counters) (its inbox), [`Mutex::counters`](crate::Mutex::counters),
/// [`Semaphore::counters`](crate::Semaphore::counters), and [`Namespace::inspect`](crate::Namespace::inspect) without opening it.
///
/// They only grow (and begin again at 0 after 2^64 - 1): the difference of two looks, divided by the time between them, is a
/// rate. Each number is right by itself; they are read one after the other, while others work, so they need not belong to the
/// very same moment.
///
/// They are statistics, on which nothing depends. A process that is killed may leave the bytes, and a rendezvous's messages,
/// short by the message that it was passing on at that moment, and the last four by what it was about to count. Nobody ever makes
/// one too high, but who can write to the object can write anything to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct Counters {
    /// How many messages were sent; in a rendezvous, those that a receiver took. 0 for mutexes and semaphores, as are the next three.
    pub sent: u64,
    /// How many messages were received. One on lease that comes back, and is received again, counts once.
    pub received: u64,
    /// How many bytes the messages had that were sent, without what the queue or the endpoint adds to them.
    pub bytes_sent: u64,
    /// How many bytes the messages had that were received, in the same way.
    pub bytes_received: u64,
    /// How often a call went to sleep, or was about to, since it had to wait: for a message, for room, for a unit, for the lock.
    /// A call counts once, however long it waits; in Python, which looks for signals meanwhile, once every 100 ms. One that ends
    /// in the short spin before it does not count. Who waits for several objects at once waits for each of them.
    pub waits: u64,
    /// How often one that slept was woken, by a call or by the kernel. More than waits: some were woken for nothing. Fewer: some
    /// waits ended with their time, or with their process, or before the sleep had begun.
    pub wakeups: u64,
    /// How often something was put right that a dead process had left: a mutex that passed from a dead owner to the next, the
    /// permits of a process that came back, a message that came back from a lease, the memory that it had for one, what it had
    /// half done when it was killed in the middle of a call. A death that leaves nothing behind leaves nothing to be put right.
    pub recoveries: u64,
    /// How often a call came upon the death of a process (of a thread, for a mutex) through something that it had left. One that
    /// has left things in several places may be come upon in each.
    pub deaths: u64,
}

impl Counters {
    pub(crate) fn of(counts: &Counts) -> Self {
        Self {
            waits: counts.waits.get(),
            wakeups: counts.wakeups.get(),
            recoveries: counts.recoveries.get(),
            deaths: counts.deaths.get(),
            ..Self::default()
        }
    }
}
