//! The exceptions, which are defined in Python (`rsipc._errors`) because some have two bases.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use rsipc::Error;

/// What was being done, for those errors that have a class of their own then.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doing {
    Send,
    Receive,
    /// Waiting for a reply: there always is something to wait for.
    Call,
    Other,
}

/// The exception for an error.
#[cold]
pub(crate) fn exception(py: Python<'_>, error: &Error, doing: Doing) -> PyErr {
    let (class, errno) = match error {
        Error::InvalidArgument(_) => ("InvalidArgument", None),
        Error::NotFound { .. } => ("NotFound", Some(libc::ENOENT)),
        Error::AlreadyExists { .. } => ("AlreadyExists", Some(libc::EEXIST)),
        Error::PermissionDenied(_) => ("PermissionDenied", Some(libc::EACCES)),
        Error::WrongKind { .. } => ("WrongKind", None),
        Error::WrongVersion { .. } => ("WrongVersion", None),
        Error::Corrupted(_) => ("Corrupted", None),
        Error::WouldBlock => match doing {
            Doing::Send => ("Full", Some(libc::EAGAIN)),
            Doing::Receive => ("Empty", Some(libc::EAGAIN)),
            Doing::Call => ("Timeout", Some(libc::ETIMEDOUT)),
            Doing::Other => ("WouldBlock", Some(libc::EAGAIN)),
        },
        Error::TimedOut => match doing {
            Doing::Send => ("SendTimeout", Some(libc::ETIMEDOUT)),
            Doing::Receive => ("RecvTimeout", Some(libc::ETIMEDOUT)),
            Doing::Call | Doing::Other => ("Timeout", Some(libc::ETIMEDOUT)),
        },
        Error::Closed => ("Closed", None),
        Error::MessageTooLong { .. } => ("MessageTooLong", None),
        Error::BufferTooSmall { .. } => ("BufferTooSmall", None),
        Error::NotRecoverable => ("NotRecoverable", None),
        Error::Deadlock => ("Deadlock", None),
        Error::NotOwner(_) => ("NotOwner", None),
        Error::Interrupted => ("Interrupted", Some(libc::EINTR)),
        Error::NoSpace(_) => ("NoSpace", Some(libc::ENOSPC)),
        Error::NoMemory(_) => ("NoMemory", None),
        Error::TooManyFiles(_) => ("TooManyFiles", Some(libc::EMFILE)),
        Error::LimitReached(_) => ("LimitReached", None),
        Error::Reentrant => ("Reentrant", None),
        Error::Unsupported(_) => ("Unsupported", None),
        Error::PeerGone => ("PeerGone", Some(libc::ECONNRESET)),
        Error::NoReply => ("NoReply", None),
        Error::Disconnected(_) => ("Disconnected", Some(libc::EPIPE)),
        Error::Os { errno, .. } => ("OsError", Some(*errno)),
        // The enum may gain variants.
        _ => ("Error", None),
    };
    let text = match (doing, error) {
        (Doing::Send, Error::WouldBlock) => {
            "there is no room for the message (in a rendezvous: nobody receives), and the call was told not to wait".into()
        }
        (Doing::Receive, Error::WouldBlock) => "there is no message, and the call was told not to wait".into(),
        (Doing::Send, Error::TimedOut) => {
            "there still is no room for the message (in a rendezvous: nobody receives), and the time given has passed".into()
        }
        (Doing::Receive, Error::TimedOut) => "there still is no message, and the time given has passed".into(),
        (Doing::Call, Error::WouldBlock) => Error::TimedOut.to_string(),
        _ => error.to_string(),
    };
    raise(py, class, errno, text)
}

/// `InvalidArgument` with this text.
#[cold]
pub(crate) fn invalid(py: Python<'_>, text: impl Into<String>) -> PyErr {
    raise(py, "InvalidArgument", None, text.into())
}

/// `OwnerDied`, which Rust has no error for: there the guard tells it.
#[cold]
pub(crate) fn owner_died(py: Python<'_>) -> PyErr {
    let text = "a process died holding the mutex, and what it guards may be half changed: repair it in `with mutex.recover():`";
    raise(py, "OwnerDied", None, text.into())
}

/// An instance of the class of that name. Those that are an `OSError` have an errno.
fn raise(py: Python<'_>, class: &str, errno: Option<i32>, text: String) -> PyErr {
    let class = match defined_in_python(py, "_errors", class) {
        Ok(class) => class,
        Err(e) => return e,
    };
    match errno {
        Some(errno) => PyErr::from_type(class, (errno, text)),
        None => PyErr::from_type(class, (text,)),
    }
}

/// A class of a module of the package that is written in Python.
pub(crate) fn defined_in_python<'py>(py: Python<'py>, module: &str, class: &str) -> PyResult<Bound<'py, PyType>> {
    static PACKAGE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let package = PACKAGE.get_or_try_init(py, || py.import("rsipc").map(Bound::unbind))?;
    Ok(package.bind(py).getattr(module)?.getattr(class)?.cast_into()?)
}
