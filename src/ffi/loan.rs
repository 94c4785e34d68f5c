//! Messages in place
//!
//! A message can be written where it is sent from and read where it is received, without a copy:
//! ipc_queue_loan lends memory of the queue, which the program fills and sends, and ipc_queue_recv_view gives
//! a view of a message, which the program reads and releases. That takes the same time for messages of any
//! length: memory that was lent or viewed once stays the queue's, for the messages after it, as long as there
//! is the queue.
//!
//! As many messages can be lent, viewed and out on lease at a time as the queue was made for (`leases`),
//! beside those that wait (in a queue for messages of up to 4096 bytes, those that wait and were lent before
//! are among them). While there are, ipc_queue_loan waits: for a message to be received, a loan or view to be
//! released, or its process to die. It never copies instead. A loan that waits for room in
//! ipc_queue_send_loan keeps its memory; so where receivers take messages on lease, let there be more leases
//! than loans.
//!
//! Loans and views belong to the process: any of its threads may use and end them (one thread at a time),
//! through any handle of the queue. Their bytes are reached only through the handle that gave them: end them
//! before it is closed. A child of fork has none of its parent's. When the process ends, at whatever
//! instruction, or calls exec, the memory is given back: what was lent is not sent, and a viewed message is
//! gone.

use std::ffi::c_void;
use std::ptr::{NonNull, null, null_mut, slice_from_raw_parts_mut};

use super::error::{call, ipc_result};
use super::queue::ipc_queue;
use super::timeout::wait;
use super::{Out, handle};
use crate::error::{Error, Result};
use crate::queue::{Holding, Viewed};
use crate::sys::thread::Uncancelled;

/// Memory that was lent, to be filled with a message and sent. A plain value: it may be copied, and kept
/// anywhere; but it is ended once.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ipc_loan {
    /// Where the bytes are: at a multiple of 64, and of 4096 in a queue for messages of more than 4096 bytes
    /// (a queue in a region: counted from the region's beginning). They are at first whatever an earlier
    /// message left there.
    pub data: *mut c_void,
    /// How many there are.
    pub len: usize,
    /// Which one it is, among those of its queue.
    pub id: [u64; 2],
}

/// A message that was received, to be read where it lies. A plain value: it may be copied, and kept anywhere;
/// but it is ended once.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ipc_message_view {
    /// Where the message's bytes are. Never NULL.
    pub data: *const c_void,
    /// How many there are.
    pub len: usize,
    /// Which one it is, among those of its queue.
    pub id: [u64; 2],
}

const NO_LOAN: ipc_loan = ipc_loan { data: null_mut(), len: 0, id: [0; 2] };
const NO_VIEW: ipc_message_view = ipc_message_view { data: null(), len: 0, id: [0; 2] };

/// Lends memory for a message of `len` bytes, and waits for it no longer than `timeout_ns`. `*loan` says
/// where it is; it is the process's until it is sent or released.
///
/// Errors: IPC_ERR_WOULD_BLOCK, IPC_ERR_TIMED_OUT, IPC_ERR_INTERRUPTED by a signal handler;
/// IPC_ERR_MESSAGE_TOO_LONG; IPC_ERR_CLOSED once the queue is shut down; IPC_ERR_NO_SPACE where there is no
/// memory for so many bytes; IPC_ERR_UNSUPPORTED for an unbounded queue, and for one that was made for no
/// leases and short messages; IPC_ERR_CORRUPTED. Nothing was lent then, and `*loan` is zero.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_queue_loan(queue: *mut ipc_queue, len: usize, loan: *mut ipc_loan, timeout_ns: i64) -> ipc_result {
    call(|| {
        // SAFETY: C promises that the pointers are as the header says.
        let (loan, queue) = unsafe { (Out::new(loan, "loan", NO_LOAN)?, handle::get(queue)?) };
        let (Holding { block, order }, start) = queue.lend(len, wait(timeout_ns)?.deadline())?;
        loan.set(ipc_loan { data: start.as_ptr().cast(), len, id: [order, u64::from(block)] });
        Ok(())
    })
}

/// Sends the first `len` bytes of a loan as a message, and waits for room (in a rendezvous, for a receiver
/// that takes it) no longer than `timeout_ns`. Nothing is copied. The bytes are not the program's any more
/// then, and `*loan` is zero.
///
/// Errors: IPC_ERR_WOULD_BLOCK, IPC_ERR_TIMED_OUT, IPC_ERR_INTERRUPTED by a signal handler; IPC_ERR_CLOSED
/// once the queue is shut down; IPC_ERR_INVALID_ARGUMENT where the loan has fewer bytes;
/// IPC_ERR_MESSAGE_TOO_LONG where `loan->len` was changed, and `len` is more than any message may have;
/// IPC_ERR_NOT_OWNER where it is no loan of this process: it was sent or released before, or is its
/// parent's; IPC_ERR_CORRUPTED. Nothing was sent then, and what was lent still is.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_queue_send_loan(
    queue: *mut ipc_queue,
    loan: *mut ipc_loan,
    len: usize,
    timeout_ns: i64,
) -> ipc_result {
    call(|| {
        // SAFETY: C promises that the pointers are as the header says.
        let (queue, loan) = unsafe { (handle::get(queue)?, loan.as_mut()) };
        let loan = loan.ok_or_else(|| super::null("loan"))?;
        if len > loan.len {
            return Err(Error::invalid(format!("the loan has {} bytes, and {len} are to be sent", loan.len)));
        }
        queue.send_held(&holding(loan.id)?, len, wait(timeout_ns)?.deadline())?;
        *loan = NO_LOAN;
        Ok(())
    })
}

/// Gives back what was lent; nothing is sent. `*loan` is zero then.
///
/// Errors: IPC_ERR_NOT_OWNER, as for ipc_queue_send_loan; IPC_ERR_CORRUPTED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_queue_release_loan(queue: *mut ipc_queue, loan: *mut ipc_loan) -> ipc_result {
    call(|| {
        // SAFETY: C promises that the pointers are as the header says.
        let (queue, loan) = unsafe { (handle::get(queue)?, loan.as_mut()) };
        let loan = loan.ok_or_else(|| super::null("loan"))?;
        queue.release_held(&holding(loan.id)?)?;
        *loan = NO_LOAN;
        Ok(())
    })
}

/// Receives the next message to be read where it lies, and waits for one no longer than `timeout_ns`. `*view`
/// says where it is. The message is gone from the queue, as after ipc_queue_recv; its memory is the process's
/// until ipc_queue_release_view.
///
/// A message that was lent before it was sent, one that is longer than 4096 bytes in a queue with a capacity,
/// and any message in a rendezvous, is read in the queue's memory. Any other one was short when it was sent,
/// or lay in the backlog of an unbounded queue, and the view has a copy of it of its own. Other processes
/// that have the queue open can change the bytes in the queue's memory, though none does that keeps to this
/// library: where they are not to be trusted, check what was read, not what is there.
///
/// Errors: IPC_ERR_WOULD_BLOCK, IPC_ERR_TIMED_OUT, IPC_ERR_INTERRUPTED by a signal handler; IPC_ERR_CLOSED
/// once the queue is shut down and empty; IPC_ERR_NO_MEMORY; IPC_ERR_CORRUPTED. Nothing was taken then, and
/// `*view` is zero.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_queue_recv_view(queue: *mut ipc_queue, view: *mut ipc_message_view, timeout_ns: i64) -> ipc_result {
    call(|| {
        // SAFETY: C promises that the pointers are as the header says.
        let (view, queue) = unsafe { (Out::new(view, "view", NO_VIEW)?, handle::get(queue)?) };
        let deadline = wait(timeout_ns)?.deadline();
        let _uncancelled = Uncancelled::new();
        let Viewed { held, start, len, copy } = queue.view(deadline)?;
        view.set(match held {
            Some(Holding { block, order }) => {
                ipc_message_view { data: start.as_ptr().cast(), len, id: [order, u64::from(block)] }
            }
            None => {
                let copy: *mut [u8] = Box::into_raw(copy.into_boxed_slice());
                ipc_message_view { data: copy.cast(), len, id: [COPY, len as u64] }
            }
        });
        Ok(())
    })
}

/// Ends a view: its memory is given back. `*view` is zero then.
///
/// Errors: IPC_ERR_NOT_OWNER where it is no view of this process: it was released before, or is its parent's;
/// IPC_ERR_CORRUPTED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_queue_release_view(queue: *mut ipc_queue, view: *mut ipc_message_view) -> ipc_result {
    call(|| {
        // SAFETY: C promises that the pointers are as the header says.
        let (queue, view) = unsafe { (handle::get(queue)?, view.as_mut()) };
        let view = view.ok_or_else(|| super::null("view"))?;
        match (view.id, NonNull::new(view.data.cast_mut().cast::<u8>())) {
            ([COPY, len], Some(data)) => {
                let _uncancelled = Uncancelled::new();
                // SAFETY: C promises a view that `ipc_queue_recv_view` made, and that it is ended once.
                drop(unsafe { Box::from_raw(slice_from_raw_parts_mut(data.as_ptr(), len as usize)) });
            }
            (id, _) => queue.release_held(&holding(id)?)?,
        }
        *view = NO_VIEW;
        Ok(())
    })
}

/// In place of a message's number: it lies in memory of its own. No loan and no taken message has it.
const COPY: u64 = 0;

fn holding([order, block]: [u64; 2]) -> Result<Holding> {
    let block = u32::try_from(block).unwrap_or(u32::MAX);
    if order == COPY {
        return Err(Error::NotOwner("this is no loan, or view of a message (any more)"));
    }
    Ok(Holding { block, order })
}
