//! Waiting for several
//!
//! ipc_wait waits until one of several queues, endpoints and semaphores is ready: an attempt would not have
//! to wait at that moment. Programs that have an event loop of their own (poll, epoll) use the descriptors that
//! ipc_queue_readiness_fd and its like give.

use std::ffi::c_void;

use super::error::{call, ipc_result};
use super::handle::{self, Object};
use super::null;
use super::timeout::{Wait, wait};
use crate::error::{Error, Result};
use crate::wait::{MAX_WAIT, WaitSet};

/// The most that ipc_wait waits for at a time.
pub const IPC_MAX_WAIT: usize = 128;
/// Of a queue or an endpoint: there is a message, or the queue was shut down.
pub const IPC_WAIT_RECV: u32 = 1;
/// Of a queue: there is room for a message, or the queue was shut down.
pub const IPC_WAIT_SEND: u32 = 2;
/// Of a semaphore: there is a unit or a permit.
pub const IPC_WAIT_ACQUIRE: u32 = 4;

/// What ipc_wait waits for.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ipc_waitable {
    /// An ipc_queue, an ipc_endpoint or an ipc_semaphore.
    pub handle: *const c_void,
    /// What is waited for: IPC_WAIT_RECV or IPC_WAIT_SEND or both of a queue, IPC_WAIT_RECV of an endpoint,
    /// IPC_WAIT_ACQUIRE of a semaphore.
    pub events: u32,
    /// Which of them are ready: set by ipc_wait.
    pub ready: u32,
}

/// Waits until one of the `count` things in `items` is ready, no longer than `timeout_ns`, and sets `ready` in
/// all that are; in the others it is 0. There are at most IPC_MAX_WAIT of them, a queue with two events being
/// two.
///
/// Nothing is received, sent or acquired by it. So attempt that with IPC_DONT_WAIT, and wait again where it gives
/// IPC_ERR_WOULD_BLOCK: another thread or process may have been faster. A queue that was shut down is ready, and
/// so is an object that is corrupted: the attempt says so. In what order ready things are seen to is the
/// caller's choice; who always begins with the first may starve the last.
///
/// Any number of threads and processes may wait for the same object, beside those that wait for it alone; while
/// one does so, each message wakes all of them. One that is killed strands nobody. Where the system
/// lacks futex_waitv(2) (before Linux 5.16, or in some sandboxes) it looks every 5 ms.
///
/// Errors: IPC_ERR_WOULD_BLOCK, IPC_ERR_TIMED_OUT, IPC_ERR_INTERRUPTED by a signal handler;
/// IPC_ERR_INVALID_ARGUMENT for a handle that is none, or events that its kind does not have, or none;
/// IPC_ERR_LIMIT_REACHED where there are too many. `ready` is 0 in all then (unless `count` is too large).
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_wait(items: *mut ipc_waitable, count: usize, timeout_ns: i64) -> ipc_result {
    call(|| {
        if items.is_null() {
            return Err(null("items"));
        }
        if count > MAX_WAIT {
            return Err(Error::LimitReached(format!("ipc_wait waits for at most {MAX_WAIT} things, not {count}")));
        }
        // SAFETY: C promises an array of so many, for this call alone.
        let items = unsafe { std::slice::from_raw_parts_mut(items, count) };
        for item in &mut *items {
            item.ready = 0;
        }
        let (mut set, mut of) = (WaitSet::new(), Vec::new());
        for (index, item) in items.iter().enumerate() {
            // SAFETY: C promises that the handle is as the header says.
            (set, of) = unsafe { add(set, of, index, item) }?;
        }
        let ready = match wait(timeout_ns)? {
            Wait::Forever => set.wait(),
            Wait::No => set.try_wait(),
            Wait::For(timeout) => set.wait_timeout(timeout),
        }?;
        for (index, event) in ready.into_iter().map(|source| of[source]) {
            items[index].ready |= event;
        }
        Ok(())
    })
}

/// What a set waits for: which item, and which event of it.
type Sources = Vec<(usize, u32)>;

/// Adds an item to a set.
///
/// # Safety
///
/// The handle is as the header says, and open during `'a`.
unsafe fn add<'a>(mut set: WaitSet<'a>, mut of: Sources, index: usize, item: &ipc_waitable) -> Result<(WaitSet<'a>, Sources)> {
    // SAFETY: the caller's promise.
    let object: &'a Object = unsafe { handle::any(item.handle) }?;
    let possible = match object {
        Object::Queue(_) => IPC_WAIT_RECV | IPC_WAIT_SEND,
        Object::Endpoint(_) => IPC_WAIT_RECV,
        Object::Semaphore(_) => IPC_WAIT_ACQUIRE,
        _ => return Err(Error::invalid(format!("item {index} is not the handle of a queue, an endpoint or a semaphore"))),
    };
    if item.events == 0 || item.events & !possible != 0 {
        return Err(Error::invalid(format!(
            "the events of item {index} are {}: they must be some of {possible} (IPC_WAIT_RECV is {IPC_WAIT_RECV}, IPC_WAIT_SEND \
             {IPC_WAIT_SEND}, IPC_WAIT_ACQUIRE {IPC_WAIT_ACQUIRE})",
            item.events
        )));
    }
    for event in [IPC_WAIT_RECV, IPC_WAIT_SEND, IPC_WAIT_ACQUIRE] {
        if item.events & event == 0 {
            continue;
        }
        set = match (object, event) {
            (Object::Queue(queue), IPC_WAIT_RECV) => set.recv(queue),
            (Object::Queue(queue), _) => set.send(queue),
            (Object::Endpoint(endpoint), _) => set.endpoint(endpoint),
            (Object::Semaphore(semaphore), _) => set.acquire(semaphore),
            _ => set,
        };
        of.push((index, event));
    }
    Ok((set, of))
}

const _: () = assert!(IPC_MAX_WAIT == MAX_WAIT);
