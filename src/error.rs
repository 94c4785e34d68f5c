//! The one error type, with a number for each kind that C programs can rely on.

use std::path::PathBuf;

/// What went wrong in a call.
///
/// Each variant says when it is returned; the text that [`std::fmt::Display`] gives says what was wrong and what would be right.
/// [`Error::code`] is the number that the C interface returns for it, which never changes.
///
/// ```
/// # fn main() -> rsipc::Result<()> {
/// # let namespace = rsipc::Namespace::at(std::env::temp_dir().join(format!("rsipc-doc-error-{}", std::process::id())));
/// use rsipc::{Error, Queue, QueueOptions};
///
/// let jobs = Queue::create(namespace.name("jobs"), &QueueOptions::new())?;
/// match jobs.try_recv() {
///     Ok(job) => println!("{} bytes", job.len()),
///     Err(Error::WouldBlock) => println!("nothing to do"),
///     Err(error) => return Err(error),
/// }
/// let error = Queue::open(namespace.name("letters")).unwrap_err();
/// assert!(matches!(&error, Error::NotFound { name, .. } if name == "letters"));
/// assert!(error.to_string().starts_with("there is no object \"letters\" in "));
/// # std::fs::remove_dir_all(namespace.dir()?).ok();
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument is out of its range. Nothing was done.
    #[error("{0}")]
    InvalidArgument(String),
    /// No object of that name exists in the namespace.
    #[error("there is no object {name:?} in {}: create it first, or check the name and the namespace", dir.display())]
    NotFound {
        /// The name that was asked for.
        name: String,
        /// The namespace's directory.
        dir: PathBuf,
    },
    /// An object of that name exists already.
    #[error("an object {name:?} exists already in {}: open it, unlink it, or choose another name", dir.display())]
    AlreadyExists {
        /// The name that was asked for.
        name: String,
        /// The namespace's directory.
        dir: PathBuf,
    },
    /// The operating system forbids it to this user, or the namespace's directory is not this user's own.
    #[error("{0}")]
    PermissionDenied(String),
    /// The object is of another kind than the one that was opened.
    #[error("this is a {found}, not a {expected}")]
    WrongKind {
        /// What was asked for.
        expected: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// The object was made by a release of rsipc that lays its memory out in another way.
    #[error(
        "the {kind} has layout version {found}, this library reads version {expected}: let all processes use one release, or unlink it and create it anew"
    )]
    WrongVersion {
        /// The object's kind.
        kind: &'static str,
        /// This library's version of the layout.
        expected: u16,
        /// The object's.
        found: u16,
    },
    /// What is in the shared memory cannot have been written by rsipc: the file is not an object, was cut short, or a process
    /// wrote over it; or its file was cut short meanwhile ([`catch_truncation`](crate::catch_truncation)). Nothing was read from it or
    /// written to it outside its bounds.
    #[error("corrupted: {0}")]
    Corrupted(&'static str),
    /// A call that was told not to wait would have had to: the mutex is held, no permit is free, the queue is full or empty.
    #[error("it would have to wait, and was told not to")]
    WouldBlock,
    /// The time that the call was given has passed. Nothing was done.
    #[error("the time given for it has passed")]
    TimedOut,
    /// The queue was shut down: nothing more can be sent, and what was sent before has been received.
    #[error("the queue has been shut down")]
    Closed,
    /// The message is longer than the queue takes. Nothing was sent.
    #[error("message{} of {len} bytes is longer than this queue's max_message ({max})", number(*index))]
    MessageTooLong {
        /// Which one it is of the messages that the call was given, from 0 on; None for a call that sends a single one.
        index: Option<usize>,
        /// The message's length in bytes.
        len: usize,
        /// The longest that the queue takes, in bytes.
        max: usize,
    },
    /// The caller's buffer is shorter than the next message. The message is still in the queue.
    #[error(
        "the next message has {needed} bytes, the buffer only {len}: nothing was taken; try again with a buffer of max_message bytes"
    )]
    BufferTooSmall {
        /// The buffer's length in bytes.
        len: usize,
        /// The message's length in bytes.
        needed: usize,
    },
    /// The mutex was given up by an owner who could not repair what it guards.
    #[error("the mutex was given up as not recoverable: unlink it and create it anew, with the data it guards")]
    NotRecoverable,
    /// The calling thread holds this mutex already, and would wait for itself.
    #[error("this thread holds the lock already and would wait for itself")]
    Deadlock,
    /// The calling thread does not hold the mutex (through this handle), or the process holds no permit to give
    /// back, or the endpoint belongs to the process that this one was forked from.
    #[error("{0}")]
    NotOwner(&'static str),
    /// A signal handler ran during the wait. Nothing was done; call again if you want to wait on.
    #[error("a signal handler interrupted the wait")]
    Interrupted,
    /// The file system or a resource limit has no room for it. What was there before is untouched.
    #[error("no room: {0}")]
    NoSpace(String),
    /// The process may not map more memory.
    #[error("not enough memory: {0}")]
    NoMemory(String),
    /// The process or the system has no file descriptor left.
    #[error("no file descriptor is left ({0}): close some, or raise the limit (ulimit -n)")]
    TooManyFiles(String),
    /// One of rsipc's own limits is reached; the text names it.
    #[error("limit reached: {0}")]
    LimitReached(String),
    /// The call came from a signal handler that interrupted another call of this thread.
    #[error("called from a signal handler that interrupted another rsipc or libc lock call of this thread")]
    Reentrant,
    /// The system lacks something that rsipc stands on.
    #[error("not supported here: {0}")]
    Unsupported(String),
    /// The process that the address belongs to is gone, or has closed the endpoint, or there never was such an address. Nothing
    /// was sent; or, if a request was sent, it may have been carried out, and no reply will come.
    #[error("the process at this address is gone, or has closed its endpoint")]
    PeerGone,
    /// The receiver of the request dropped it without a reply.
    #[error("the request was dropped without a reply")]
    NoReply,
    /// A wait of a handle that was told to end so ([`Queue::end_with_peers`](crate::Queue::end_with_peers)): all who had sent to
    /// the queue are gone, or all who had received from it. Nothing was sent or taken.
    #[error("no {0} is left: all who had the queue open for it have closed it or are gone")]
    Disconnected(&'static str),
    /// A [`TypedQueue`](crate::TypedQueue) received a message that is not of its type. It is out of the queue, and here: the next
    /// call gives the next one.
    #[error("a message of {} bytes is not of this queue's type: {why}", message.len())]
    WrongMessage {
        /// The message.
        message: Vec<u8>,
        /// What is wrong with it.
        why: String,
    },
    /// Any other error of the operating system.
    #[error("{doing}: {}", std::io::Error::from_raw_os_error(*errno))]
    Os {
        /// What was being done.
        doing: String,
        /// The system's error number.
        errno: i32,
    },
}

/// The result of a call.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The number that the C interface returns for this kind of error (`IPC_ERR_*` in `ipc.h`).
    #[must_use]
    pub const fn code(&self) -> i32 {
        match self {
            Self::InvalidArgument(_) => -1,
            Self::NotFound { .. } => -2,
            Self::AlreadyExists { .. } => -3,
            Self::PermissionDenied(_) => -4,
            // Its type is only known here: in C, messages are bytes.
            Self::WrongKind { .. } | Self::WrongMessage { .. } => -5,
            Self::WrongVersion { .. } => -6,
            Self::Corrupted(_) => -7,
            Self::WouldBlock => -8,
            Self::TimedOut => -9,
            Self::Closed => -10,
            Self::MessageTooLong { .. } => -11,
            Self::BufferTooSmall { .. } => -12,
            Self::NotRecoverable => -13,
            Self::Deadlock => -14,
            Self::NotOwner(_) => -15,
            Self::Interrupted => -16,
            Self::NoSpace(_) => -17,
            Self::NoMemory(_) => -18,
            Self::TooManyFiles(_) => -19,
            Self::LimitReached(_) => -20,
            Self::Reentrant => -21,
            Self::Unsupported(_) => -22,
            Self::Os { .. } => -23,
            Self::PeerGone => -24,
            Self::NoReply => -25,
            Self::Disconnected(_) => -26,
        }
    }

    /// Names the operating system's error `errno` that came up while `doing` something.
    #[cold]
    pub(crate) fn os(errno: i32, doing: impl Into<String>) -> Self {
        let doing = doing.into();
        match errno {
            libc::EACCES | libc::EPERM | libc::EROFS => {
                Self::PermissionDenied(format!("{doing}: {}", std::io::Error::from_raw_os_error(errno)))
            }
            libc::ENOSPC => Self::NoSpace(format!("{doing}: the file system has no memory or no inodes left (df, df -i)")),
            libc::EDQUOT | libc::EFBIG => Self::NoSpace(format!("{doing}: {}", std::io::Error::from_raw_os_error(errno))),
            libc::ENOMEM => Self::NoMemory(format!(
                "{doing}: the machine has none left, or this process may have no more of it (ulimit -v, vm.max_map_count)"
            )),
            libc::EAGAIN => Self::NoMemory(doing),
            libc::EMFILE | libc::ENFILE => Self::TooManyFiles(doing),
            _ => Self::Os { doing, errno },
        }
    }

    #[cold]
    pub(crate) fn invalid(what: impl Into<String>) -> Self {
        Self::InvalidArgument(what.into())
    }
}

/// Which message it is, in words.
fn number(index: Option<usize>) -> String {
    index.map_or_else(String::new, |index| format!(" number {index} (from 0 on),"))
}
