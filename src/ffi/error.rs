//! Results
//!
//! Every function that can fail returns an ipc_result: 0 for success, a negative number for an error.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Error, Result};
use ipc_result::*;

/// What a call returns. The numbers never change; later releases may add some.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ipc_result {
    /// Success.
    IPC_OK = 0,
    /// Success, of ipc_mutex_lock only: the caller holds the mutex, and a previous owner died holding it.
    IPC_OWNER_DIED = 1,
    /// An argument is out of its range, NULL, or a handle that is closed or of another kind. Nothing was
    /// done.
    IPC_ERR_INVALID_ARGUMENT = -1,
    /// No object of that name exists in the namespace, or none at that offset of the region.
    IPC_ERR_NOT_FOUND = -2,
    /// An object of that name exists already, or one is at that offset of the region.
    IPC_ERR_ALREADY_EXISTS = -3,
    /// The operating system forbids it to this user, or the namespace's directory is not this user's own.
    IPC_ERR_PERMISSION_DENIED = -4,
    /// The object is of another kind than the one that was opened.
    IPC_ERR_WRONG_KIND = -5,
    /// The object was made by a release of rsipc that lays its memory out in another way.
    IPC_ERR_WRONG_VERSION = -6,
    /// What is in the shared memory cannot have been written by rsipc: the file is not an object, was cut
    /// short, or a process wrote over it. Nothing was read from it or written to it outside its bounds.
    IPC_ERR_CORRUPTED = -7,
    /// A call with IPC_DONT_WAIT would have had to wait: the mutex is held, no unit is free, the queue is
    /// full or empty, or nobody is there to meet.
    IPC_ERR_WOULD_BLOCK = -8,
    /// The time that the call was given has passed. Nothing was done.
    IPC_ERR_TIMED_OUT = -9,
    /// The queue was shut down: nothing more can be sent, and what was sent before has been received.
    IPC_ERR_CLOSED = -10,
    /// The message is longer than the queue takes. Nothing was sent.
    IPC_ERR_MESSAGE_TOO_LONG = -11,
    /// The caller's buffer is shorter than the next message. The message is still in the queue.
    IPC_ERR_BUFFER_TOO_SMALL = -12,
    /// The mutex was given up by an owner who could not repair what it guards.
    IPC_ERR_NOT_RECOVERABLE = -13,
    /// The calling thread holds this mutex already, and would wait for itself.
    IPC_ERR_DEADLOCK = -14,
    /// The calling thread does not hold the mutex (through this handle), or the process holds fewer permits
    /// than it gives back, or does not have the message on lease, or was forked from the process that the
    /// endpoint or request belongs to.
    IPC_ERR_NOT_OWNER = -15,
    /// A signal handler ran during the wait. Nothing was done; call again to wait on.
    IPC_ERR_INTERRUPTED = -16,
    /// The file system or a resource limit has no room for it. What was there before is untouched.
    IPC_ERR_NO_SPACE = -17,
    /// The process may not map more memory.
    IPC_ERR_NO_MEMORY = -18,
    /// The process or the system has no file descriptor left.
    IPC_ERR_TOO_MANY_FILES = -19,
    /// One of rsipc's own limits is reached; ipc_error_detail names it.
    IPC_ERR_LIMIT_REACHED = -20,
    /// The call came from a signal handler that interrupted another call of this thread. Nothing was done.
    IPC_ERR_REENTRANT = -21,
    /// The system, or this release of the library, lacks something that the call needs.
    IPC_ERR_UNSUPPORTED = -22,
    /// Any other error of the operating system; ipc_error_detail names it.
    IPC_ERR_OS = -23,
    /// The process that the address belongs to is gone, or has closed the endpoint, or there never was such
    /// an address.
    IPC_ERR_PEER_GONE = -24,
    /// The receiver of the request dropped it without a reply.
    IPC_ERR_NO_REPLY = -25,
    /// A wait that was to end with the queue's peers: no sender, or no receiver, is left.
    IPC_ERR_DISCONNECTED = -26,
    /// A bug in the library was caught before it could do harm to the caller. Please report it, with
    /// ipc_error_detail.
    IPC_ERR_PANIC = -99,
}

/// What ipc_strerror says.
const TEXTS: &[(ipc_result, &CStr)] = &[
    (IPC_OK, c"success"),
    (IPC_OWNER_DIED, c"locked, and a previous owner died holding the mutex"),
    (IPC_ERR_INVALID_ARGUMENT, c"an argument is invalid"),
    (IPC_ERR_NOT_FOUND, c"there is no such object"),
    (IPC_ERR_ALREADY_EXISTS, c"the object exists already"),
    (IPC_ERR_PERMISSION_DENIED, c"permission denied"),
    (IPC_ERR_WRONG_KIND, c"the object is of another kind"),
    (IPC_ERR_WRONG_VERSION, c"the object has another layout version"),
    (IPC_ERR_CORRUPTED, c"the object is corrupted"),
    (IPC_ERR_WOULD_BLOCK, c"it would have to wait, and was told not to"),
    (IPC_ERR_TIMED_OUT, c"the time given for it has passed"),
    (IPC_ERR_CLOSED, c"the queue has been shut down"),
    (IPC_ERR_MESSAGE_TOO_LONG, c"the message is longer than the queue takes"),
    (IPC_ERR_BUFFER_TOO_SMALL, c"the buffer is shorter than the next message"),
    (IPC_ERR_NOT_RECOVERABLE, c"the mutex was given up as not recoverable"),
    (IPC_ERR_DEADLOCK, c"this thread holds the mutex already"),
    (IPC_ERR_NOT_OWNER, c"the mutex is not this thread's, or the permits, the lease or the endpoint not this process's"),
    (IPC_ERR_INTERRUPTED, c"a signal handler interrupted the wait"),
    (IPC_ERR_NO_SPACE, c"no room on the file system, or within a resource limit"),
    (IPC_ERR_NO_MEMORY, c"not enough memory"),
    (IPC_ERR_TOO_MANY_FILES, c"no file descriptor is left"),
    (IPC_ERR_LIMIT_REACHED, c"a limit of rsipc is reached"),
    (IPC_ERR_REENTRANT, c"called from a signal handler that interrupted another call of this thread"),
    (IPC_ERR_UNSUPPORTED, c"not supported here"),
    (IPC_ERR_OS, c"error of the operating system"),
    (IPC_ERR_PEER_GONE, c"the process at this address is gone, or has closed its endpoint"),
    (IPC_ERR_NO_REPLY, c"the request was dropped without a reply"),
    (IPC_ERR_DISCONNECTED, c"no sender, or no receiver, is left"),
    (IPC_ERR_PANIC, c"bug in the library"),
];

impl From<&Error> for ipc_result {
    #[cold]
    fn from(error: &Error) -> Self {
        let result = match error {
            Error::InvalidArgument(_) => IPC_ERR_INVALID_ARGUMENT,
            Error::NotFound { .. } => IPC_ERR_NOT_FOUND,
            Error::AlreadyExists { .. } => IPC_ERR_ALREADY_EXISTS,
            Error::PermissionDenied(_) => IPC_ERR_PERMISSION_DENIED,
            Error::WrongKind { .. } | Error::WrongMessage { .. } => IPC_ERR_WRONG_KIND,
            Error::WrongVersion { .. } => IPC_ERR_WRONG_VERSION,
            Error::Corrupted(_) => IPC_ERR_CORRUPTED,
            Error::WouldBlock => IPC_ERR_WOULD_BLOCK,
            Error::TimedOut => IPC_ERR_TIMED_OUT,
            Error::Closed => IPC_ERR_CLOSED,
            Error::MessageTooLong { .. } => IPC_ERR_MESSAGE_TOO_LONG,
            Error::BufferTooSmall { .. } => IPC_ERR_BUFFER_TOO_SMALL,
            Error::NotRecoverable => IPC_ERR_NOT_RECOVERABLE,
            Error::Deadlock => IPC_ERR_DEADLOCK,
            Error::NotOwner(_) => IPC_ERR_NOT_OWNER,
            Error::Interrupted => IPC_ERR_INTERRUPTED,
            Error::NoSpace(_) => IPC_ERR_NO_SPACE,
            Error::NoMemory(_) => IPC_ERR_NO_MEMORY,
            Error::TooManyFiles(_) => IPC_ERR_TOO_MANY_FILES,
            Error::LimitReached(_) => IPC_ERR_LIMIT_REACHED,
            Error::Reentrant => IPC_ERR_REENTRANT,
            Error::Unsupported(_) => IPC_ERR_UNSUPPORTED,
            Error::Os { .. } => IPC_ERR_OS,
            Error::PeerGone => IPC_ERR_PEER_GONE,
            Error::NoReply => IPC_ERR_NO_REPLY,
            Error::Disconnected(_) => IPC_ERR_DISCONNECTED,
        };
        debug_assert_eq!(result as i32, error.code());
        result
    }
}

/// This thread's last failure, and the text about it once somebody has asked.
enum Failure {
    Error(Error),
    Text(CString),
}

thread_local! {
    static LAST: RefCell<Option<Failure>> = const { RefCell::new(None) };
}

fn remember(failure: Failure) {
    // When the thread ends there may be no place left for it; a detail that nobody can ask for is not missed.
    let _ = LAST.try_with(|last| last.try_borrow_mut().map(|mut last| *last = Some(failure)));
}

/// Does what a C function does: nothing that it panics with gets into the caller's frames, and its error is
/// kept.
#[inline]
pub(super) fn call(act: impl FnOnce() -> Result<()>) -> ipc_result {
    call_for(|| act().map(|()| IPC_OK))
}

/// [`call`], for what succeeds in more ways than one.
#[inline]
pub(super) fn call_for(act: impl FnOnce() -> Result<ipc_result>) -> ipc_result {
    match catch_unwind(AssertUnwindSafe(|| act().unwrap_or_else(failed))) {
        Ok(result) => result,
        Err(panic) => panicked(&*panic),
    }
}

#[cold]
fn failed(error: Error) -> ipc_result {
    let result = ipc_result::from(&error);
    // A signal handler may have interrupted anything, the allocator for example: it leaves the detail alone.
    if error != Error::Reentrant {
        remember(Failure::Error(error));
    }
    result
}

#[cold]
fn panicked(panic: &(dyn Any + Send)) -> ipc_result {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    remember(Failure::Text(c_text(format!("bug in rsipc: {}", text.unwrap_or("it panicked")))));
    IPC_ERR_PANIC
}

fn c_text(text: String) -> CString {
    CString::new(text).unwrap_or_else(|_| c"(this text contains a zero byte)".into())
}

/// What `result` means, in a few words. The text is static. Any thread, any time, also in signal handlers.
///
/// For a number that this release does not know the text says so.
#[unsafe(no_mangle)]
pub extern "C" fn ipc_strerror(result: i32) -> *const c_char {
    let known = TEXTS.iter().find(|(known, _)| *known as i32 == result);
    known.map_or(c"unknown result", |(_, text)| text).as_ptr()
}

/// What was wrong in this thread's last call that failed, and what would be right: a sentence for logs,
/// with names and numbers.
///
/// Valid until this thread's next call that fails, or until the thread ends; never NULL; empty if no call
/// has failed yet. Successful calls leave it alone, and so does IPC_ERR_REENTRANT.
#[unsafe(no_mangle)]
pub extern "C" fn ipc_error_detail() -> *const c_char {
    let detail = |last: &RefCell<Option<Failure>>| {
        let mut last = last.try_borrow_mut().ok()?;
        if let Some(Failure::Error(error)) = &*last {
            *last = Some(Failure::Text(c_text(error.to_string())));
        }
        match &*last {
            Some(Failure::Text(text)) => Some(text.as_ptr()),
            _ => None,
        }
    };
    catch_unwind(|| LAST.try_with(detail).ok().flatten()).ok().flatten().unwrap_or(c"".as_ptr())
}

/// Lets this process survive that the file of an object is cut short while it has it open.
///
/// Touching memory of a file that another process has truncated raises SIGBUS, which ends a process. From
/// this call on, where that happens inside an object of this library, also to the program's own access to
/// the bytes of a region, the rest of that object's memory is replaced with zeros that only this process
/// sees, and the access goes on. Calls on the object and on all that is placed in it return
/// IPC_ERR_CORRUPTED from then on, as does the one that met it; those that wait notice within 100 ms. Close
/// such an object, and open or create it anew. The same goes where the file system is full and another
/// process has taken memory away that the object had, or said in an object that there is memory where there
/// is none.
///
/// It installs a handler for SIGBUS in the whole process. Every other SIGBUS goes to the handler that was
/// there before, or does what SIGBUS does by default. So call it once, early, from any thread, but after
/// others that handle SIGBUS have installed theirs: one that is installed later replaces it. Further calls
/// do nothing. Children of fork inherit it, programs started by exec do not.
///
/// What it cannot help: system calls that are given such memory fail with EFAULT; a thread that has blocked
/// SIGBUS is ended by the kernel; and of a thread that dies while it holds a mutex whose memory is gone,
/// neither that mutex nor those that it locked before are given to the next owner.
///
/// Errors of the system.
#[unsafe(no_mangle)]
pub extern "C" fn ipc_catch_truncation() -> ipc_result {
    call(crate::catch_truncation)
}

/// The release of the library that is running, such as "0.1.0". IPC_VERSION is that of the header. The text
/// is static.
#[unsafe(no_mangle)]
pub extern "C" fn ipc_version() -> *const c_char {
    const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => panic!("a version without zero bytes"),
    };
    VERSION.as_ptr()
}

/// The release of the library that is running, as a number: 1000000 * major + 1000 * minor + patch.
/// IPC_VERSION_NUMBER is that of the header.
#[unsafe(no_mangle)]
pub extern "C" fn ipc_version_number() -> u32 {
    const fn number(part: &str) -> u32 {
        match u32::from_str_radix(part, 10) {
            Ok(number) => number,
            Err(_) => panic!("a part of the version is a number"),
        }
    }
    const {
        1_000_000 * number(env!("CARGO_PKG_VERSION_MAJOR"))
            + 1000 * number(env!("CARGO_PKG_VERSION_MINOR"))
            + number(env!("CARGO_PKG_VERSION_PATCH"))
    }
}
