//! Counters
//!
//! The library never prints. What goes on in a running system is counted instead, in each queue, endpoint,
//! mutex and semaphore, by all processes together. Any thread of any process that has the object open reads
//! its counters; the command `rsipc stat` shows them of an object that it does not open.
//!
//! They only grow, and begin again at 0 after 2^64 - 1: the difference of two looks, divided by the time
//! between them, is a rate. Each number is right by itself; they are read one after the other while others
//! work, so they need not belong to the very same moment.
//!
//! They are statistics, on which nothing depends. A process that is killed may leave the bytes, and a
//! rendezvous's messages, short by the message that it was passing on at that moment, and the last four
//! numbers by what it was about to count. Nobody makes one too high; but a process that may write to the
//! object can write anything to them.

use super::error::{call, ipc_result};
use super::{Options, given_size, handle, ipc_endpoint, ipc_mutex, ipc_queue, ipc_semaphore, null};
use crate::Counters;
use crate::error::Result;

/// What has happened to an object since it was created, in all processes. Start from IPC_COUNTERS_INIT.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ipc_counters {
    /// sizeof(ipc_counters), set by the caller: later releases may add fields at the end. Fields that the
    /// library does not know are set to 0.
    pub size: usize,
    /// How many messages were sent; in a rendezvous, those that a receiver took. 0 for mutexes and
    /// semaphores, as are the next three.
    pub sent: u64,
    /// How many messages were received. One on lease that comes back, and is received again, counts once.
    pub received: u64,
    /// How many bytes the messages had that were sent.
    pub bytes_sent: u64,
    /// How many bytes the messages had that were received.
    pub bytes_received: u64,
    /// How often a call went to sleep, or was about to, since it had to wait: for a message, for room, for a
    /// unit, for the lock. A call counts once, however long it waits; in Python, which looks for signals
    /// meanwhile, once every 100 ms. One that ends in the short spin before it does not count. Who waits for several
    /// objects at once waits for each of them.
    pub waits: u64,
    /// How often one that slept was woken, by a call or by the kernel. More than waits: some were woken for
    /// nothing. Fewer: some waits ended with their time, or with their process, or before the sleep had begun.
    pub wakeups: u64,
    /// How often something was put right that a dead process had left: a mutex that passed from a dead owner
    /// to the next, the permits of a process that came back, a message that came back from a lease, the
    /// memory that it had for one, what it had half done when it was killed in the middle of a call. A death
    /// that leaves nothing behind leaves nothing to be put right.
    pub recoveries: u64,
    /// How often a call came upon the death of a process (of a thread, for a mutex) through something that it
    /// had left. One that has left things in several places may be come upon in each.
    pub deaths: u64,
}

// SAFETY: plain numbers.
unsafe impl Options for ipc_counters {
    const NAME: &str = "ipc_counters";
    const FIRST_SIZE: usize = 72;
}

/// Puts into `*counters` what has happened to the queue so far.
///
/// Errors: IPC_ERR_INVALID_ARGUMENT where `counters->size` is not set; IPC_ERR_CORRUPTED. All numbers are 0
/// then.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_queue_counters(queue: *const ipc_queue, counters: *mut ipc_counters) -> ipc_result {
    // SAFETY: C promises that the pointers are as the header says.
    call(|| unsafe { fill(counters, || handle::get(queue)?.counters()) })
}

/// Puts into `*counters` what has happened to the endpoint's inbox so far: what others sent to it, and what
/// was received.
///
/// Errors: as ipc_queue_counters.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_endpoint_counters(endpoint: *const ipc_endpoint, counters: *mut ipc_counters) -> ipc_result {
    // SAFETY: C promises that the pointers are as the header says.
    call(|| unsafe { fill(counters, || handle::get(endpoint)?.counters()) })
}

/// Puts into `*counters` how often somebody waited for the mutex so far, and how often its owner died.
///
/// Errors: as ipc_queue_counters.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_mutex_counters(mutex: *const ipc_mutex, counters: *mut ipc_counters) -> ipc_result {
    // SAFETY: C promises that the pointers are as the header says.
    call(|| unsafe { fill(counters, || handle::get(mutex)?.counters()) })
}

/// Puts into `*counters` how often somebody waited for the semaphore so far, and what was put right of the
/// dead.
///
/// Errors: as ipc_queue_counters.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_semaphore_counters(semaphore: *const ipc_semaphore, counters: *mut ipc_counters) -> ipc_result {
    // SAFETY: C promises that the pointers are as the header says.
    call(|| unsafe { fill(counters, || handle::get(semaphore)?.counters()) })
}

/// Fills in as much of the caller's structure as it has.
///
/// # Safety
///
/// `place` is null, or points to an `ipc_counters` of this or another release, which may be written to during the call.
unsafe fn fill(place: *mut ipc_counters, counters: impl FnOnce() -> Result<Counters>) -> Result<()> {
    if place.is_null() {
        return Err(null("counters"));
    }
    // SAFETY: the caller's promise.
    let size = unsafe { given_size(place.cast_const()) }?;
    let put = |counters: Counters| {
        let Counters { sent, received, bytes_sent, bytes_received, waits, wakeups, recoveries, deaths } = counters;
        let known = ipc_counters { size, sent, received, bytes_sent, bytes_received, waits, wakeups, recoveries, deaths };
        // SAFETY: the caller's promise: so many bytes are there.
        let bytes = unsafe { std::slice::from_raw_parts_mut(place.cast::<u8>(), size) };
        bytes[size_of::<usize>()..].fill(0);
        let len = size.min(size_of::<ipc_counters>());
        // SAFETY: both have so many bytes.
        unsafe { place.cast::<u8>().copy_from_nonoverlapping((&raw const known).cast(), len) };
    };
    put(Counters::default());
    counters().map(put)
}
