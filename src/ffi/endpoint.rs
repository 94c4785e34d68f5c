//! Endpoints
//!
//! An endpoint is a process's own inbox, with its address: others send to it, and every message says who
//! sent it. Any process that knows the address sends to it: from a message that it received, by a name
//! (ipc_endpoint_find) or by a process id (ipc_endpoint_address_of). A call (ipc_endpoint_call) is a message,
//! the request, that waits for its reply.
//!
//! An endpoint belongs to the process that opened it; all its threads may use it, several may receive. In a
//! child of fork every call on it but closing is IPC_ERR_NOT_OWNER: a child opens its own. When the process
//! calls exec, that is for others as if it had died.
//!
//! When a process dies, sending to it is IPC_ERR_PEER_GONE at once, also for those who wait for room in its
//! inbox or for its reply, and its address and name go when somebody comes upon them. What was in its inbox
//! is gone with it. A process that gets the same process id is never taken for it. A message whose sender dies
//! inside a call arrives whole or not at all; a request whose sender has died can still be received, and
//! answered, which nobody reads.

use std::ffi::{c_char, c_int, c_void};
use std::os::fd::AsRawFd;
use std::ptr::null_mut;
use std::time::Duration;

use super::error::{call, ipc_result};
use super::handle::{self, Request, put};
use super::name::{ipc_options, named, namespace};
use super::queue::{bytes_of, how, ipc_queue, ipc_queue_options, room_of};
use super::timeout::{Wait, wait};
use super::{Out, string};
use crate::error::{Error, Result};
use crate::{Address, Endpoint, Message};

/// An open endpoint.
pub struct ipc_endpoint {
    _private: [u8; 0],
}

/// A request that was received, to be replied to.
pub struct ipc_request {
    _private: [u8; 0],
}

/// Where messages to one process go: it names an endpoint, for as long as that is open. A plain value, which
/// may be copied, kept anywhere and sent to other processes; two are equal if `process` and `serial` are. All
/// zero is nobody's address.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ipc_address {
    /// Which process: made of its id and its start time. ipc_address_pid gives the id.
    pub process: u64,
    /// Which of the process's endpoints: 0 for the first in its namespace.
    pub serial: u32,
    /// Zero.
    pub reserved: u32,
}

const NOBODY: ipc_address = ipc_address { process: 0, serial: 0, reserved: 0 };

impl From<Address> for ipc_address {
    fn from(address: Address) -> Self {
        let (process, serial) = address.to_numbers();
        Self { process, serial, reserved: 0 }
    }
}

impl From<ipc_address> for Address {
    fn from(address: ipc_address) -> Self {
        Self::from_numbers(address.process, address.serial)
    }
}

/// The id of the process whose address it is, in its pid namespace; 0 for nobody's. It may have ended.
#[unsafe(no_mangle)]
pub extern "C" fn ipc_address_pid(address: ipc_address) -> u32 {
    Address::from(address).pid()
}

/// Opens an endpoint in the namespace of `options`, which others find by `name`, or by no name where that is
/// NULL. `queue_options` are those of its inbox: how many messages of what length wait in it before senders
/// wait. The name of an endpoint whose process is gone is free.
///
/// Errors: IPC_ERR_ALREADY_EXISTS where a living process's endpoint, or another object, has the name;
/// IPC_ERR_INVALID_ARGUMENT for an impossible name or options out of range; IPC_ERR_NO_SPACE,
/// IPC_ERR_NO_MEMORY, IPC_ERR_PERMISSION_DENIED and other errors of the system.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_endpoint_open(
    name: *const c_char,
    queue_options: *const ipc_queue_options,
    options: *const ipc_options,
    out: *mut *mut ipc_endpoint,
) -> ipc_result {
    // SAFETY: C promises that the pointers are as the header says.
    let open = || unsafe {
        let queue_options = how(queue_options)?;
        if name.is_null() {
            Endpoint::open(&namespace(options)?, &queue_options)
        } else {
            named(name, options, |name| Endpoint::open_named(name, &queue_options))
        }
    };
    // SAFETY: C promises that the pointer is as the header says.
    call(|| unsafe { put(out, open) })
}

/// Closes the handle, and the endpoint: its address and its name are gone, and what is in its inbox. Calls
/// that nobody has received end with IPC_ERR_NO_REPLY; requests that were received can still be replied to.
/// In a child of fork it closes the child's handle only. Closing NULL does nothing. No other thread may be
/// inside a call on the handle, or make one later.
///
/// Errors: IPC_ERR_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_endpoint_close(endpoint: *mut ipc_endpoint) -> ipc_result {
    // SAFETY: C promises that the handle is as the header says.
    call(|| if endpoint.is_null() { Ok(()) } else { unsafe { handle::close(endpoint) } })
}

/// Puts the endpoint's address into `*address`: others send to it for as long as the endpoint is open.
///
/// Errors: IPC_ERR_INVALID_ARGUMENT; `*address` is zero then.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_endpoint_address(endpoint: *const ipc_endpoint, address: *mut ipc_address) -> ipc_result {
    call(|| {
        // SAFETY: C promises that the pointers are as the header says.
        let (out, endpoint) = unsafe { (Out::new(address, "address", NOBODY)?, handle::get(endpoint)?) };
        out.set(endpoint.address().into());
        Ok(())
    })
}

/// Puts the address of the endpoint of that name, in this endpoint's namespace, into `*address`.
///
/// Errors: IPC_ERR_NOT_FOUND where there is none, or its process is gone; IPC_ERR_WRONG_KIND where the name is
/// that of another object; IPC_ERR_INVALID_ARGUMENT for an impossible name; IPC_ERR_NOT_OWNER in a child of
/// fork; errors of the system. `*address` is zero then.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_endpoint_find(
    endpoint: *mut ipc_endpoint,
    name: *const c_char,
    address: *mut ipc_address,
) -> ipc_result {
    call(|| {
        // SAFETY: C promises that the pointers are as the header says.
        let (out, endpoint) = unsafe { (Out::new(address, "address", NOBODY)?, handle::get(endpoint)?) };
        // SAFETY: C promises that the pointer is as the header says.
        out.set(endpoint.find(unsafe { string(name, "name") }?)?.into());
        Ok(())
    })
}

/// Puts the address of the first endpoint of a process (serial number 0), in this endpoint's namespace, into
/// `*address`.
///
/// Errors: IPC_ERR_NOT_FOUND where the process has none, or is gone; IPC_ERR_NOT_OWNER in a child of fork;
/// errors of the system. `*address` is zero then.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_endpoint_address_of(endpoint: *mut ipc_endpoint, pid: u32, address: *mut ipc_address) -> ipc_result {
    call(|| {
        // SAFETY: C promises that the pointers are as the header says.
        let (out, endpoint) = unsafe { (Out::new(address, "address", NOBODY)?, handle::get(endpoint)?) };
        out.set(endpoint.address_of(pid)?.into());
        Ok(())
    })
}

/// Sends a message of `len` bytes to an address, and waits for room in its inbox no longer than `timeout_ns`.
/// The bytes are the caller's, and are copied; `data` may be NULL where `len` is 0.
///
/// Errors: IPC_ERR_PEER_GONE where the process is gone, or dies while this waits, or has closed the endpoint,
/// or there never was one; IPC_ERR_WOULD_BLOCK, IPC_ERR_TIMED_OUT, IPC_ERR_INTERRUPTED by a signal handler;
/// IPC_ERR_MESSAGE_TOO_LONG; IPC_ERR_NO_SPACE, IPC_ERR_NO_MEMORY and IPC_ERR_LIMIT_REACHED where there is no
/// memory for it; IPC_ERR_NOT_OWNER in a child of fork; IPC_ERR_CORRUPTED. Nothing was sent then.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_endpoint_send(
    endpoint: *mut ipc_endpoint,
    to: ipc_address,
    data: *const c_void,
    len: usize,
    timeout_ns: i64,
) -> ipc_result {
    call(|| {
        // SAFETY: C promises that the handle is as the header says, and that so many bytes are there.
        let (endpoint, message) = unsafe { (handle::get(endpoint)?, bytes_of(data, len)?) };
        endpoint.send_until(to.into(), message, wait(timeout_ns)?.deadline())
    })
}

/// Receives the next message into `buffer`, which has room for `room` bytes, and waits for one no longer
/// than `timeout_ns`. `*len` is the message's length, `*from` the address that it was sent from. `buffer` may
/// be NULL where `room` is 0, and so may `from`.
///
/// Where the message is a request, `*request` is a handle to reply with, which the caller gives back with
/// ipc_request_close; otherwise it is NULL. With `request` NULL a request that is received gets no reply: its
/// sender's call ends with IPC_ERR_NO_REPLY.
///
/// Errors: IPC_ERR_BUFFER_TOO_SMALL where the message is longer than the buffer: `*len` says how long, and
/// it stays in the inbox. IPC_ERR_WOULD_BLOCK, IPC_ERR_TIMED_OUT, IPC_ERR_INTERRUPTED by a signal handler;
/// IPC_ERR_NOT_OWNER in a child of fork; IPC_ERR_CORRUPTED. Nothing was taken then; `*len` is 0, `*from` zero
/// and `*request` NULL.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_endpoint_recv(
    endpoint: *mut ipc_endpoint,
    buffer: *mut c_void,
    room: usize,
    len: *mut usize,
    from: *mut ipc_address,
    request: *mut *mut ipc_request,
    timeout_ns: i64,
) -> ipc_result {
    // SAFETY: C promises that the handle is as the header says, and that the bytes are there, for this call alone.
    let receive = || unsafe { handle::get(endpoint)?.recv_beside(room_of(buffer, room)?, wait(timeout_ns)?.deadline()) };
    // SAFETY: C promises that the pointers are as the header says.
    call(|| unsafe { tell(len, from, request, receive) })
}

/// Receives the next message from a mailbox, a queue from which any number of servers receive, to reply to it
/// if it is a request. Otherwise as ipc_endpoint_recv.
///
/// A message that was sent with ipc_queue_send comes from nobody, and is no request. A request that is received
/// with ipc_queue_recv cannot be replied to, and its sender waits in vain. A server that is killed before this
/// has returned leaves the message to another one.
///
/// Errors: as ipc_queue_lease, since the message is on lease while it is taken; IPC_ERR_NOT_OWNER in a child
/// of fork.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_endpoint_recv_mailbox(
    endpoint: *mut ipc_endpoint,
    mailbox: *mut ipc_queue,
    buffer: *mut c_void,
    room: usize,
    len: *mut usize,
    from: *mut ipc_address,
    request: *mut *mut ipc_request,
    timeout_ns: i64,
) -> ipc_result {
    let receive = || {
        // SAFETY: C promises that the handles are as the header says, and that the bytes are there, for this call alone.
        let (endpoint, mailbox, mut buffer) = unsafe { (handle::get(endpoint)?, handle::get(mailbox)?, room_of(buffer, room)?) };
        endpoint.recv_mailbox_beside(mailbox, &mut buffer, wait(timeout_ns)?.deadline())
    };
    // SAFETY: C promises that the pointers are as the header says.
    call(|| unsafe { tell(len, from, request, receive) })
}

/// Sends a request of `len` bytes to an address, and waits for its reply no longer than `timeout_ns` in all.
/// The reply goes into `buffer`, which has room for `room` bytes; `*reply_len` is its length. `data` may be
/// NULL where `len` is 0, and `buffer` where `room` is 0. Any number of threads may do so at the same time. A
/// reply that comes too late is thrown away.
///
/// Errors: IPC_ERR_PEER_GONE where the process is gone, or dies while this waits; IPC_ERR_NO_REPLY where it
/// closes the request without a reply; IPC_ERR_TIMED_OUT, also with IPC_DONT_WAIT; IPC_ERR_INTERRUPTED by a
/// signal handler; otherwise as ipc_endpoint_send. Where the wait for the reply ends so, the request may have
/// been carried out, or may still be. IPC_ERR_BUFFER_TOO_SMALL where the reply is longer than the buffer: the
/// request has been carried out, `*reply_len` is the reply's length, and the buffer has its beginning.
/// Otherwise `*reply_len` is 0.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_endpoint_call(
    endpoint: *mut ipc_endpoint,
    to: ipc_address,
    data: *const c_void,
    len: usize,
    buffer: *mut c_void,
    room: usize,
    reply_len: *mut usize,
    timeout_ns: i64,
) -> ipc_result {
    let send = |endpoint: &Endpoint, request: &[u8]| match call_timeout(timeout_ns)? {
        None => endpoint.call(to.into(), request),
        Some(timeout) => endpoint.call_timeout(to.into(), request, timeout),
    };
    // SAFETY: C promises that the pointers are as the header says.
    call(|| unsafe { fetch(endpoint, (data, len), (buffer, room), reply_len, send) })
}

/// Sends a request to a mailbox, from which any number of servers receive (ipc_endpoint_recv_mailbox), and waits
/// for the reply of the one that takes it. The servers' endpoints are in this endpoint's namespace. Otherwise
/// as ipc_endpoint_call.
///
/// A request stays in the mailbox until a server takes it, also while there is none.
///
/// Errors: as ipc_endpoint_call; IPC_ERR_CLOSED where the mailbox is shut down. IPC_ERR_PEER_GONE where the
/// server that took it dies before it has replied.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_endpoint_call_mailbox(
    endpoint: *mut ipc_endpoint,
    mailbox: *mut ipc_queue,
    data: *const c_void,
    len: usize,
    buffer: *mut c_void,
    room: usize,
    reply_len: *mut usize,
    timeout_ns: i64,
) -> ipc_result {
    let send = |endpoint: &Endpoint, request: &[u8]| {
        // SAFETY: C promises that the handle is as the header says.
        let mailbox = unsafe { handle::get(mailbox) }?;
        match call_timeout(timeout_ns)? {
            None => endpoint.call_mailbox(mailbox, request),
            Some(timeout) => endpoint.call_mailbox_timeout(mailbox, request, timeout),
        }
    };
    // SAFETY: C promises that the pointers are as the header says.
    call(|| unsafe { fetch(endpoint, (data, len), (buffer, room), reply_len, send) })
}

/// Replies to a request with `len` bytes; never waits for the caller. The bytes are copied; `data` may be
/// NULL where `len` is 0. Where the caller is gone, or has stopped waiting, nobody reads the reply, which is no
/// error. Replies may be given in any order, by any thread, also when the endpoint has been closed.
///
/// Errors: IPC_ERR_INVALID_ARGUMENT where it has been replied to already; IPC_ERR_MESSAGE_TOO_LONG;
/// IPC_ERR_WOULD_BLOCK where the caller's inbox is held up by a process that was stopped;
/// IPC_ERR_LIMIT_REACHED where it is full of replies that nobody has fetched; IPC_ERR_NO_SPACE,
/// IPC_ERR_NO_MEMORY and other errors of the system; IPC_ERR_NOT_OWNER in a child of fork. It still wants a
/// reply then (but for the first).
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_request_reply(request: *mut ipc_request, data: *const c_void, len: usize) -> ipc_result {
    call(|| {
        // SAFETY: C promises that the handle is as the header says, and that so many bytes are there.
        let (request, reply) = unsafe { (handle::get(request)?, bytes_of(data, len)?) };
        // Not waited for: in a child of fork there may be nobody to let go of it.
        let mut request = request.try_lock().ok_or_else(|| Error::invalid("another thread is replying to this request"))?;
        request.reply(reply)
    })
}

/// Gives back the handle of a request. One that was not replied to ends its sender's call with
/// IPC_ERR_NO_REPLY (not in a child of fork, which leaves that to its parent). Closing NULL does nothing. No
/// other thread may be inside a call on the handle, or make one later.
///
/// Errors: IPC_ERR_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_request_close(request: *mut ipc_request) -> ipc_result {
    // SAFETY: C promises that the handle is as the header says.
    call(|| if request.is_null() { Ok(()) } else { unsafe { handle::close(request) } })
}

/// Puts a descriptor for the program's own event loop into `*fd`: readable while there may be a message. As
/// ipc_queue_readiness_fd.
///
/// Errors: as ipc_queue_readiness_fd; `*fd` is -1 then.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_endpoint_readiness_fd(endpoint: *mut ipc_endpoint, fd: *mut c_int) -> ipc_result {
    call(|| {
        // SAFETY: C promises that the pointers are as the header says.
        let (out, endpoint) = unsafe { (Out::new(fd, "fd", -1)?, handle::get(endpoint)?) };
        out.set(endpoint.readiness_fd()?.as_raw_fd());
        Ok(())
    })
}

/// How long a call may last; None: for ever.
fn call_timeout(timeout_ns: i64) -> Result<Option<Duration>> {
    Ok(match wait(timeout_ns)? {
        Wait::Forever => None,
        Wait::No => Some(Duration::ZERO),
        Wait::For(timeout) => Some(timeout),
    })
}

/// Receives, and tells C what.
///
/// # Safety
///
/// The pointers are as the header says.
unsafe fn tell(
    len: *mut usize,
    from: *mut ipc_address,
    request: *mut *mut ipc_request,
    receive: impl FnOnce() -> Result<(usize, Message)>,
) -> Result<()> {
    // SAFETY: the caller's promise.
    let len = unsafe { Out::new(len, "len", 0) }?;
    // SAFETY: the caller's promise; both may be NULL.
    let (from, request) = unsafe { (Out::new(from, "from", NOBODY).ok(), Out::new(request, "request", null_mut()).ok()) };
    let received = receive();
    if let Ok((needed, _)) | Err(Error::BufferTooSmall { needed, .. }) = received {
        len.set(needed);
    }
    let (_, message) = received?;
    if let Some(from) = from {
        from.set(message.from().into());
    }
    if let Some(request) = request.filter(|_| message.wants_reply()) {
        request.set(handle::new(Request::new(message)));
    }
    Ok(())
}

/// Calls, and gives C the reply.
///
/// # Safety
///
/// The pointers are as the header says.
unsafe fn fetch(
    endpoint: *mut ipc_endpoint,
    (data, len): (*const c_void, usize),
    (buffer, room): (*mut c_void, usize),
    reply_len: *mut usize,
    send: impl FnOnce(&Endpoint, &[u8]) -> Result<Vec<u8>>,
) -> Result<()> {
    // SAFETY: the caller's promise.
    let (out, endpoint) = unsafe { (Out::new(reply_len, "reply_len", 0)?, handle::get(endpoint)?) };
    // SAFETY: the caller's promise.
    let (request, buffer) = unsafe { (bytes_of(data, len)?, room_of(buffer, room)?) };
    let reply = send(endpoint, request)?;
    out.set(reply.len());
    let fits = reply.len().min(buffer.len());
    buffer[..fits].copy_from_slice(&reply[..fits]);
    if fits < reply.len() { Err(Error::BufferTooSmall { len: room, needed: reply.len() }) } else { Ok(()) }
}
