//! Leases
//!
//! A message that is received on lease is not gone before the work is done: it is this process's until
//! ipc_queue_finish, and comes back to the front of the queue, for the next receiver, if the process dies
//! before, or gives it back. So the work of a killed worker is done by another. (A worker that dies between
//! the end of its work and ipc_queue_finish has its work done twice: `deliveries` tells that it may have
//! been done before.)
//!
//! A lease belongs to the process, as permits do, not to a thread or a handle: any of its threads may end
//! it, through any handle of the queue; a child of fork has none of its parent's. When the process calls exec,
//! its leases come back as if it had died.
//!
//! While as many messages are out on lease as the queue was made for, ipc_queue_lease waits. Once the queue
//! is shut down, receivers get IPC_ERR_CLOSED when no message is left in it and no other process has one on
//! lease, which might come back.

use std::ffi::c_void;

use super::error::{call, ipc_result};
use super::queue::{ipc_queue, room_of};
use super::timeout::wait;
use super::{Out, handle, null};
use crate::error::{Error, Result};
use crate::queue::LeaseTicket;

/// A message on lease. A plain value: it may be copied, and kept anywhere.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ipc_lease {
    /// Which one it is, among those of its queue.
    pub id: [u64; 2],
    /// How many times the message has been handed out on lease, this time included: more than 1 says that
    /// somebody died over it, or gave it back.
    pub deliveries: u32,
    /// Zero.
    pub reserved: u32,
}

impl From<LeaseTicket> for ipc_lease {
    fn from(LeaseTicket { block, order, deliveries }: LeaseTicket) -> Self {
        Self { id: [order, u64::from(block)], deliveries, reserved: 0 }
    }
}

/// Receives the next message on lease into `buffer`, which has room for `room` bytes, and waits for one no
/// longer than `timeout_ns`. `*len` is the message's length, `*lease` what to end the lease with. `buffer`
/// may be NULL where `room` is 0.
///
/// Errors: as ipc_queue_recv, and in the same way: where the buffer is too small, `*len` says how long the
/// message is, and it stays in the queue. IPC_ERR_UNSUPPORTED where the queue was made for no leases;
/// IPC_ERR_NO_SPACE where there is no memory to keep the message in. `*lease` is zero then, which is no
/// lease.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_queue_lease(
    queue: *mut ipc_queue,
    buffer: *mut c_void,
    room: usize,
    len: *mut usize,
    lease: *mut ipc_lease,
    timeout_ns: i64,
) -> ipc_result {
    call(|| {
        let nothing = ipc_lease { id: [0; 2], deliveries: 0, reserved: 0 };
        // SAFETY: C promises that the pointers are as the header says.
        let (len, lease) = unsafe { (Out::new(len, "len", 0)?, Out::new(lease, "lease", nothing)?) };
        // SAFETY: C promises that the handle is as the header says, and that the bytes are there, for this call alone.
        let (queue, mut buffer) = unsafe { (handle::get(queue)?, room_of(buffer, room)?) };
        match queue.lease_into(&mut buffer, wait(timeout_ns)?.deadline()) {
            Ok((received, ticket)) => {
                len.set(received);
                lease.set(ticket.into());
                Ok(())
            }
            Err(error) => {
                if let Error::BufferTooSmall { needed, .. } = error {
                    len.set(needed);
                }
                Err(error)
            }
        }
    })
}

/// Says that the work is done: the message is gone from the queue.
///
/// Errors: IPC_ERR_NOT_OWNER where it is no lease of this process: it was ended before, or is its parent's;
/// IPC_ERR_CORRUPTED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_queue_finish(queue: *mut ipc_queue, lease: *const ipc_lease) -> ipc_result {
    // SAFETY: C promises that the pointers are as the header says.
    call(|| unsafe { end(queue, lease, true) })
}

/// Gives the message back, to the front of the queue, for the next receiver.
///
/// Errors: as ipc_queue_finish.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_queue_give_back(queue: *mut ipc_queue, lease: *const ipc_lease) -> ipc_result {
    // SAFETY: C promises that the pointers are as the header says.
    call(|| unsafe { end(queue, lease, false) })
}

/// # Safety
///
/// The pointers are as the header says.
unsafe fn end(queue: *mut ipc_queue, lease: *const ipc_lease, done: bool) -> Result<()> {
    // SAFETY: the caller's promise.
    let queue = unsafe { handle::get(queue) }?;
    // SAFETY: the caller's promise.
    let ipc_lease { id: [order, block], deliveries, .. } = *unsafe { lease.as_ref() }.ok_or_else(|| null("lease"))?;
    let block = u32::try_from(block).unwrap_or(u32::MAX);
    queue.end_lease(&LeaseTicket { block, order, deliveries }, done)
}
