//! Queues
//!
//! A queue is a mailbox that any process opens by its name. Any number of threads in any number of
//! processes send and receive. Messages are bytes, of any length from 0 to the queue's max_message. They
//! come out in the order in which they went in, each to exactly one receiver. A message whose
//! ipc_queue_send returned IPC_OK is in the queue, also if its sender ends right after; it stays there
//! until it is received, for as long as the name exists or anybody has the queue open.
//!
//! The capacity says when senders wait. Bounded: when so many messages wait already. Unbounded
//! (IPC_UNBOUNDED): never; memory grows with the messages that wait, and goes back to the system as they
//! are received. Rendezvous (IPC_RENDEZVOUS): always, until a receiver has taken the message.
//! (Unbounded: where 256 messages wait, ipc_queue_send looks for two microseconds whether receivers keep
//! pace, before it takes memory for more; with IPC_DONT_WAIT it does not.)
//!
//! A message whose sender is killed inside ipc_queue_send is either in the queue, whole, or not at all. A
//! receiver killed inside ipc_queue_recv has either taken the message with it or left it; work that must
//! not be lost with a worker is received on lease, with ipc_queue_lease. In a rendezvous, the offer of a sender
//! that dies while it waits is gone. Everybody else carries on at once. A process that is stopped
//! (SIGSTOP) inside the few instructions of a commit holds up its side of the queue until it goes on: calls
//! with a timeout still return in time then, and those with IPC_DONT_WAIT give up after 10 ms with
//! IPC_ERR_WOULD_BLOCK.
//!
//! Sending and receiving make no system call unless they have to wait, or to wake somebody (or to get
//! memory, or give it back).

use std::ffi::{c_char, c_int, c_void};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::time::{Duration, SystemTime};

use super::error::{call, ipc_result};
use super::handle::{self, put, put_in};
use super::name::{ipc_options, named};
use super::region::ipc_region;
use super::timeout::{Wait, wait};
use super::{Options, Out, duplicate, null, options};
use crate::error::{Error, Result};
use crate::{Queue, QueueOptions};

/// The offset of a queue in a region is a multiple of this.
pub const IPC_QUEUE_ALIGN: usize = 128;
/// The largest capacity, in messages.
pub const IPC_QUEUE_MAX_CAPACITY: usize = 1073741824;
/// The longest message that a queue can be made for, in bytes.
pub const IPC_QUEUE_MAX_MESSAGE: usize = 1073741824;
/// The most messages of a queue that can be out on lease at a time.
pub const IPC_QUEUE_MAX_LEASES: usize = 1048576;
/// The handle sends, or has tried to.
pub const IPC_ROLE_SENDS: u32 = 1;
/// The handle receives, or has tried to.
pub const IPC_ROLE_RECEIVES: u32 = 2;

// As macros in cbindgen.toml, since C has no plain number for them.
/// cbindgen:ignore
pub const IPC_UNBOUNDED: usize = usize::MAX;
/// cbindgen:ignore
pub const IPC_RENDEZVOUS: usize = usize::MAX - 1;
/// cbindgen:ignore
pub const IPC_NO_LEASES: usize = usize::MAX;

/// An open queue.
pub struct ipc_queue {
    _private: [u8; 0],
}

/// How a queue is made. Start from IPC_QUEUE_OPTIONS_INIT and set what is to differ. NULL is the defaults.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ipc_queue_options {
    /// sizeof(ipc_queue_options): later releases may add fields at the end.
    pub size: usize,
    /// How many messages there is room for before senders wait: 1 to IPC_QUEUE_MAX_CAPACITY, IPC_RENDEZVOUS
    /// or IPC_UNBOUNDED; 0 means 64.
    pub capacity: usize,
    /// How long a message can be, in bytes: 1 to IPC_QUEUE_MAX_MESSAGE; 0 means 4096. Up to 4096 each
    /// place in the queue has room for so many, and takes memory when it is first used. Beyond that it costs
    /// nothing to allow long ones: each message takes the memory that its own length needs.
    pub max_message: usize,
    /// With IPC_UNBOUNDED: how much memory may be used for messages that wait, in bytes; then sending fails
    /// with IPC_ERR_LIMIT_REACHED. 0 means as much as there is. Each message takes up to 32 bytes more than
    /// its length, and two and a half mebibytes may be in use behind the receivers. With any other capacity: 0.
    pub limit: usize,
    /// How many messages can be out on lease, lent to senders (ipc_queue_loan) and read in place
    /// (ipc_queue_recv_view) at a time, or be requests that were received and not answered yet: 1 to
    /// IPC_QUEUE_MAX_LEASES, or IPC_NO_LEASES; 0 means 256. A rendezvous can have so many senders waiting
    /// beside them.
    pub leases: usize,
}

// SAFETY: plain numbers.
unsafe impl Options for ipc_queue_options {
    const NAME: &str = "ipc_queue_options";
    const FIRST_SIZE: usize = 24;
}

/// A handle that is open on a queue.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ipc_peer {
    /// The process's id, in the pid namespace that it opened the queue in.
    pub pid: u32,
    /// IPC_ROLE_SENDS and IPC_ROLE_RECEIVES, or neither yet.
    pub roles: u32,
    /// When it opened the queue, in nanoseconds since 1970.
    pub since_ns: i64,
    /// Zero.
    pub reserved: [u64; 2],
}

/// Puts into `*bytes` how many bytes a queue with these options takes in a region.
///
/// Errors: IPC_ERR_INVALID_ARGUMENT for options out of range, and for an unbounded queue without a limit;
/// `*bytes` is 0 then.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_queue_size(queue_options: *const ipc_queue_options, bytes: *mut usize) -> ipc_result {
    call(|| {
        // SAFETY: C promises that the pointers are as the header says.
        let (out, options) = unsafe { (Out::new(bytes, "bytes", 0)?, how(queue_options)?) };
        out.set(options.size()?);
        Ok(())
    })
}

/// Creates a queue and opens it.
///
/// Errors: IPC_ERR_ALREADY_EXISTS; IPC_ERR_INVALID_ARGUMENT for an impossible name or options out of range;
/// IPC_ERR_NO_SPACE, IPC_ERR_NO_MEMORY, IPC_ERR_PERMISSION_DENIED and other errors of the system.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_queue_create(
    name: *const c_char,
    queue_options: *const ipc_queue_options,
    options: *const ipc_options,
    out: *mut *mut ipc_queue,
) -> ipc_result {
    // SAFETY: C promises that the pointers are as the header says.
    call(|| unsafe { put(out, || named(name, options, |name| Queue::create(name, &how(queue_options)?))) })
}

/// Opens a queue.
///
/// Errors: IPC_ERR_NOT_FOUND; IPC_ERR_WRONG_KIND, IPC_ERR_WRONG_VERSION, IPC_ERR_CORRUPTED;
/// IPC_ERR_LIMIT_REACHED where 500 handles are open on it; IPC_ERR_NO_SPACE, IPC_ERR_PERMISSION_DENIED and
/// other errors of the system.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_queue_open(
    name: *const c_char,
    options: *const ipc_options,
    out: *mut *mut ipc_queue,
) -> ipc_result {
    // SAFETY: C promises that the pointers are as the header says.
    call(|| unsafe { put(out, || named(name, options, |name| Queue::open(name))) })
}

/// Opens a queue, or creates it. Processes that do so at the same time get the same one. An existing queue
/// keeps its options.
///
/// Errors: as ipc_queue_create and ipc_queue_open, less IPC_ERR_ALREADY_EXISTS and IPC_ERR_NOT_FOUND.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_queue_open_or_create(
    name: *const c_char,
    queue_options: *const ipc_queue_options,
    options: *const ipc_options,
    out: *mut *mut ipc_queue,
) -> ipc_result {
    // SAFETY: C promises that the pointers are as the header says.
    call(|| unsafe { put(out, || named(name, options, |name| Queue::open_or_create(name, &how(queue_options)?))) })
}

/// Creates a queue at `offset` of a region, in as many zero bytes as ipc_queue_size says, and opens it. The
/// region may be closed before the queue is.
///
/// Errors: IPC_ERR_ALREADY_EXISTS where there is an object; IPC_ERR_INVALID_ARGUMENT where the memory is in
/// use or too short, the offset is not a multiple of IPC_QUEUE_ALIGN, or options are out of range or those of
/// an unbounded queue without a limit.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_queue_create_in(
    region: *const ipc_region,
    offset: usize,
    queue_options: *const ipc_queue_options,
    out: *mut *mut ipc_queue,
) -> ipc_result {
    // SAFETY: C promises that the pointers are as the header says.
    call(|| unsafe { put_in(out, region, |region| Queue::create_in(region, offset, &how(queue_options)?)) })
}

/// Opens a queue at `offset` of a region. The region may be closed before the queue is.
///
/// Errors: IPC_ERR_NOT_FOUND where nothing was created there; otherwise as ipc_queue_open.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_queue_open_in(region: *const ipc_region, offset: usize, out: *mut *mut ipc_queue) -> ipc_result {
    // SAFETY: C promises that the pointers are as the header says.
    call(|| unsafe { put_in(out, region, |region| Queue::open_in(region, offset)) })
}

/// Creates a queue without a name (memfd_create(2)) and opens it. Children of fork use the handle. Others
/// get the queue by the descriptor of its memory, which is put into `*fd`: a Unix socket carries it
/// (SCM_RIGHTS), and ipc_queue_from_fd opens it there. The descriptor is the caller's, who closes it; that
/// closes no handle. It is closed on exec. The memory goes with the last process that has it open, in
/// whatever way that ends.
///
/// Errors: IPC_ERR_INVALID_ARGUMENT for options out of range; IPC_ERR_NO_SPACE, IPC_ERR_NO_MEMORY,
/// IPC_ERR_TOO_MANY_FILES and other errors of the system. `*fd` is -1 then.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_queue_create_anonymous(
    queue_options: *const ipc_queue_options,
    out: *mut *mut ipc_queue,
    fd: *mut c_int,
) -> ipc_result {
    // SAFETY: C promises that the pointers are as the header says.
    call(|| unsafe {
        let fd = Out::new(fd, "fd", -1);
        put(out, || {
            let fd = fd?;
            let (queue, memory) = Queue::anonymous(&how(queue_options)?)?;
            fd.set(memory.into_raw_fd());
            Ok(queue)
        })
    })
}

/// Opens the queue behind a descriptor that came from ipc_queue_create_anonymous, in this or another process
/// of the same pid namespace. The descriptor stays the caller's, who may close it right after.
///
/// Errors: IPC_ERR_INVALID_ARGUMENT where `fd` is not an open descriptor; IPC_ERR_CORRUPTED where it is not
/// that of a queue; otherwise as ipc_queue_open, less IPC_ERR_NOT_FOUND.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_queue_from_fd(fd: c_int, out: *mut *mut ipc_queue) -> ipc_result {
    // SAFETY: C promises that the pointer is as the header says.
    call(|| unsafe { put(out, || Queue::from_fd(&duplicate(fd)?)) })
}

/// Closes the handle; the queue stays, with all its messages, and so do the leases that the process has:
/// they can be ended through any other handle of the queue. To shut it down for everybody is
/// ipc_queue_shutdown. Closing NULL does nothing. No other thread may be inside a call on the handle, or
/// make one later.
///
/// Errors: IPC_ERR_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_queue_close(queue: *mut ipc_queue) -> ipc_result {
    // SAFETY: C promises that the handle is as the header says.
    call(|| if queue.is_null() { Ok(()) } else { unsafe { handle::close(queue) } })
}

/// Sends a message of `len` bytes, and waits for room (in a rendezvous, for a receiver that takes it) no
/// longer than `timeout_ns`. With IPC_DONT_WAIT it sends in a rendezvous if a receiver waits at this moment.
/// The bytes are the caller's, and are copied; `data` may be NULL where `len` is 0.
///
/// Errors: IPC_ERR_WOULD_BLOCK, IPC_ERR_TIMED_OUT, IPC_ERR_INTERRUPTED by a signal handler; IPC_ERR_CLOSED
/// once the queue is shut down; IPC_ERR_MESSAGE_TOO_LONG; IPC_ERR_NO_SPACE where there is no memory for the
/// message; IPC_ERR_LIMIT_REACHED where an unbounded queue holds as much as it may; IPC_ERR_CORRUPTED.
/// Nothing was sent then.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_queue_send(queue: *mut ipc_queue, data: *const c_void, len: usize, timeout_ns: i64) -> ipc_result {
    call(|| {
        // SAFETY: C promises that the handle is as the header says, and that so many bytes are there.
        let (queue, message) = unsafe { (handle::get(queue)?, bytes_of(data, len)?) };
        match wait(timeout_ns)? {
            Wait::Forever => queue.send(message),
            Wait::No => queue.try_send(message),
            Wait::For(timeout) => queue.send_timeout(message, timeout),
        }
    })
}

/// Receives the next message into `buffer`, which has room for `room` bytes, and waits for one no longer
/// than `timeout_ns`. `*len` is the message's length. `buffer` may be NULL where `room` is 0. A buffer of
/// ipc_queue_max_message bytes is always large enough.
///
/// Errors: IPC_ERR_BUFFER_TOO_SMALL where the message is longer than the buffer: `*len` says how long, and
/// it stays in the queue. IPC_ERR_WOULD_BLOCK, IPC_ERR_TIMED_OUT, IPC_ERR_INTERRUPTED by a signal handler;
/// IPC_ERR_CLOSED once the queue is shut down and empty; IPC_ERR_CORRUPTED. Nothing was taken then, and
/// `*len` is 0.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_queue_recv(
    queue: *mut ipc_queue,
    buffer: *mut c_void,
    room: usize,
    len: *mut usize,
    timeout_ns: i64,
) -> ipc_result {
    call(|| {
        // SAFETY: C promises that the pointers are as the header says.
        let (out, queue) = unsafe { (Out::new(len, "len", 0)?, handle::get(queue)?) };
        // SAFETY: C promises that so many bytes are there, for this call alone.
        let buffer = unsafe { room_of(buffer, room) }?;
        let received = match wait(timeout_ns)? {
            Wait::Forever => queue.recv_into(buffer),
            Wait::No => queue.try_recv_into(buffer),
            Wait::For(timeout) => queue.recv_into_timeout(buffer, timeout),
        };
        if let Ok(len) | Err(Error::BufferTooSmall { needed: len, .. }) = received {
            out.set(len);
        }
        received.map(drop)
    })
}

/// Puts a descriptor for the program's own event loop (poll, epoll) into `*fd`: readable while there may be
/// something to receive, that is a message, or that the queue was shut down.
///
/// Once readable it stays so until an attempt to receive through this handle without waiting (or whose time
/// passes) finds nothing. So, when it is readable, receive with IPC_DONT_WAIT until that gives
/// IPC_ERR_WOULD_BLOCK, or at least once. It may be readable although nothing is there, when another receiver was
/// faster.
///
/// It belongs to the handle, and is closed with it: neither read from it nor write to it, nor close it. Each
/// call gives the same one. The first one for any object starts a thread in this process, which blocks all
/// signals and sleeps until there is something to tell. In a child of fork ask again: the child has a
/// descriptor of its own then, and must not use the one that it inherited. It is closed on exec.
///
/// Errors: IPC_ERR_TOO_MANY_FILES, IPC_ERR_NO_MEMORY and other errors of the system; IPC_ERR_CORRUPTED; `*fd` is
/// -1 then.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_queue_readiness_fd(queue: *mut ipc_queue, fd: *mut c_int) -> ipc_result {
    call(|| {
        // SAFETY: C promises that the pointers are as the header says.
        let (out, queue) = unsafe { (Out::new(fd, "fd", -1)?, handle::get(queue)?) };
        out.set(queue.readiness_fd()?.as_raw_fd());
        Ok(())
    })
}

/// Puts into `*messages` how many messages wait to be received, at this moment. Those on lease and those
/// offered in a rendezvous are not counted.
///
/// Errors: IPC_ERR_CORRUPTED; `*messages` is 0 then.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_queue_len(queue: *const ipc_queue, messages: *mut usize) -> ipc_result {
    call(|| {
        // SAFETY: C promises that the pointers are as the header says.
        let (out, queue) = unsafe { (Out::new(messages, "messages", 0)?, handle::get(queue)?) };
        out.set(queue.len()?);
        Ok(())
    })
}

/// Puts into `*messages` how many messages there is room for, as in ipc_queue_options: a number, or
/// IPC_RENDEZVOUS or IPC_UNBOUNDED. It never changes.
///
/// Errors: IPC_ERR_INVALID_ARGUMENT; `*messages` is 0 then.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_queue_capacity(queue: *const ipc_queue, messages: *mut usize) -> ipc_result {
    call(|| {
        // SAFETY: C promises that the pointers are as the header says.
        let (out, queue) = unsafe { (Out::new(messages, "messages", 0)?, handle::get(queue)?) };
        out.set(match queue.capacity() {
            None => IPC_UNBOUNDED,
            Some(0) => IPC_RENDEZVOUS,
            Some(messages) => messages,
        });
        Ok(())
    })
}

/// Puts into `*bytes` how long a message can be. It never changes.
///
/// Errors: IPC_ERR_INVALID_ARGUMENT; `*bytes` is 0 then.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_queue_max_message(queue: *const ipc_queue, bytes: *mut usize) -> ipc_result {
    call(|| {
        // SAFETY: C promises that the pointers are as the header says.
        let (out, queue) = unsafe { (Out::new(bytes, "bytes", 0)?, handle::get(queue)?) };
        out.set(queue.max_message());
        Ok(())
    })
}

/// Shuts the queue down for everybody: sending fails with IPC_ERR_CLOSED from now on, receiving gives what
/// is left and then IPC_ERR_CLOSED. All who wait are woken. It cannot be undone; shutting down again does
/// nothing.
///
/// Errors: IPC_ERR_INTERRUPTED by a signal handler, while a sender was stopped inside a commit: senders are
/// refused from then on, and the next call on the queue completes it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_queue_shutdown(queue: *mut ipc_queue) -> ipc_result {
    // SAFETY: C promises that the handle is as the header says.
    call(|| unsafe { handle::get(queue) }?.shutdown())
}

/// Puts into `*shut_down` whether the queue was shut down.
///
/// Errors: IPC_ERR_INVALID_ARGUMENT; `*shut_down` is false then.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_queue_is_shut_down(queue: *const ipc_queue, shut_down: *mut bool) -> ipc_result {
    call(|| {
        // SAFETY: C promises that the pointers are as the header says.
        let (out, queue) = unsafe { (Out::new(shut_down, "shut_down", false)?, handle::get(queue)?) };
        out.set(queue.is_shut_down());
        Ok(())
    })
}

/// Says that this handle is going to send, before it does. It matters to those who wait with
/// ipc_queue_end_with_peers: a handle counts as a sender from its first attempt to send on, or from this.
///
/// Errors: as ipc_queue_open, where the handle is used in a child of fork for the first time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_queue_will_send(queue: *mut ipc_queue) -> ipc_result {
    // SAFETY: C promises that the handle is as the header says.
    call(|| unsafe { handle::get(queue) }?.will_send())
}

/// Says that this handle is going to receive, before it does. As ipc_queue_will_send.
///
/// Errors: as ipc_queue_will_send.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_queue_will_recv(queue: *mut ipc_queue) -> ipc_result {
    // SAFETY: C promises that the handle is as the header says.
    call(|| unsafe { handle::get(queue) }?.will_recv())
}

/// From now on a receive through this handle that would wait, or waits, fails with IPC_ERR_DISCONNECTED once
/// every other handle that had sent is closed or its process gone; and a send that would wait, once every
/// other handle that had received is. While nobody has sent (or received) yet, they wait. `end` false ends
/// that.
///
/// The end of a process is noticed at once if it joined the queue after somebody had asked for this, and
/// within 100 ms if before.
///
/// Errors: IPC_ERR_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_queue_end_with_peers(queue: *mut ipc_queue, end: bool) -> ipc_result {
    call(|| {
        // SAFETY: C promises that the handle is as the header says.
        unsafe { handle::get(queue) }?.end_with_peers(end);
        Ok(())
    })
}

/// Puts into `*count` how many handles are open on the queue, this one included, in processes that live,
/// and tells of as many as there is room for in `peers`, an array of `room` entries; it may be NULL where
/// `room` is 0.
///
/// Errors: errors of the system; `*count` is 0 then.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_queue_peers(
    queue: *const ipc_queue,
    peers: *mut ipc_peer,
    room: usize,
    count: *mut usize,
) -> ipc_result {
    call(|| {
        // SAFETY: C promises that the pointers are as the header says.
        let (out, queue) = unsafe { (Out::new(count, "count", 0)?, handle::get(queue)?) };
        if peers.is_null() && room != 0 {
            return Err(null("peers"));
        }
        let found = queue.peers()?;
        for (i, peer) in found.iter().take(room).enumerate() {
            let since = peer.since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
            let roles = if peer.sends { IPC_ROLE_SENDS } else { 0 } | if peer.receives { IPC_ROLE_RECEIVES } else { 0 };
            let since_ns = i64::try_from(since.as_nanos()).unwrap_or(i64::MAX);
            // SAFETY: C promises an array with so much room.
            unsafe { peers.add(i).write(ipc_peer { pid: peer.pid, roles, since_ns, reserved: [0; 2] }) };
        }
        out.set(found.len());
        Ok(())
    })
}

/// What the options say.
///
/// # Safety
///
/// The pointer is as the header says.
pub(super) unsafe fn how(given: *const ipc_queue_options) -> Result<QueueOptions> {
    let mut how = QueueOptions::new();
    // SAFETY: the caller's promise.
    if let Some(ipc_queue_options { capacity, max_message, limit, leases, .. }) = unsafe { options(given) }? {
        if limit != 0 && capacity != IPC_UNBOUNDED {
            return Err(Error::invalid("only a queue of capacity IPC_UNBOUNDED can have a limit: leave it 0"));
        }
        how = match capacity {
            0 => how,
            IPC_RENDEZVOUS => how.capacity(0),
            IPC_UNBOUNDED if limit == 0 => how.unbounded(),
            IPC_UNBOUNDED => how.unbounded_within(limit),
            messages => how.capacity(messages),
        };
        if max_message != 0 {
            how = how.max_message(max_message);
        }
        how = match leases {
            0 => how,
            IPC_NO_LEASES => how.leases(0),
            messages => how.leases(messages),
        };
    }
    Ok(how)
}

/// The bytes of a message.
///
/// # Safety
///
/// `data` is as the header says, and so many bytes are there during the call.
#[inline]
pub(super) unsafe fn bytes_of<'a>(data: *const c_void, len: usize) -> Result<&'a [u8]> {
    check_bytes(data, len, "data")?;
    // SAFETY: the caller's promise; the length was checked.
    Ok(if len == 0 { &[] } else { unsafe { std::slice::from_raw_parts(data.cast::<u8>(), len) } })
}

/// The bytes that a message is received into.
///
/// # Safety
///
/// `buffer` is as the header says, and so many bytes are there for this call alone.
#[inline]
pub(super) unsafe fn room_of<'a>(buffer: *mut c_void, room: usize) -> Result<&'a mut [u8]> {
    check_bytes(buffer, room, "buffer")?;
    // SAFETY: the caller's promise; the length was checked.
    Ok(if room == 0 { &mut [] } else { unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), room) } })
}

#[inline]
fn check_bytes(start: *const c_void, len: usize, what: &str) -> Result<()> {
    if start.is_null() && len != 0 {
        return Err(null(what));
    }
    if isize::try_from(len).is_err() {
        return Err(Error::invalid(format!("{what} cannot have {len} bytes: no memory is as long")));
    }
    Ok(())
}

const _: () = {
    assert!(IPC_QUEUE_ALIGN == align_of::<crate::shm::layout::QueueLayout>());
    assert!(IPC_QUEUE_MAX_CAPACITY == crate::MAX_CAPACITY && IPC_QUEUE_MAX_MESSAGE == crate::MAX_MESSAGE);
    assert!(IPC_QUEUE_MAX_LEASES == crate::MAX_LEASES);
};
