//! Shared memory, robust locks and message queues between processes in Rust, C and Python.
//!
//! - [`Region`]: named or anonymous memory that many processes map.
//! - [`Mutex`]: a robust lock; when its holder dies, the next owner gets it and is told.
//! - [`Semaphore`]: a count to wait for, or permits that come back when their holder dies.
//! - [`Queue`]: messages from any number of senders to any number of receivers; bounded, unbounded, or a rendezvous; on [`Lease`] if wanted,
//!   or without a copy, as a [`Loan`] that is received as a [`MessageView`]. A [`TypedQueue`] has messages of one Rust type.
//! - [`Endpoint`]: a process's own address, to which others send, and calls that wait for a reply.
//! - [`WaitSet`]: waits until one of several of these is ready.
//!
//! Objects have names in a [`Namespace`], which is private to the user by default, or are placed inside a region. The C interface
//! (`include/ipc.h`) and the Python module (`import rsipc`) use the very same objects.
//!
//! ```
//! # fn main() -> rsipc::Result<()> {
//! # let namespace = rsipc::Namespace::at(std::env::temp_dir().join(format!("rsipc-doc-lib-{}", std::process::id())));
//! # unsafe { std::env::set_var(rsipc::DIR_VARIABLE, namespace.dir()?) };
//! use rsipc::{Mutex, Queue, QueueOptions};
//!
//! // In any number of processes, whichever comes first:
//! let jobs = Queue::open_or_create("jobs", &QueueOptions::new())?;
//! let done = Mutex::open_or_create("done", 0u64)?;
//!
//! // In one of them:
//! jobs.send(b"resize cat.jpg")?;
//!
//! // In another one:
//! let job = jobs.recv()?;
//! assert_eq!(job, b"resize cat.jpg");
//! *done.lock()? += 1;
//! # std::fs::remove_dir_all(namespace.dir()?).ok();
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised when a process dies
//!
//! A process may be killed at any machine instruction, and everyone else carries on: nothing hangs, no message whose `send` returned
//! is lost, none is torn, none comes twice. Names are there whole or not at all. What a dead process held comes back: its locks (the next
//! owner is told), its permits, its places in a queue, its address.
//!
//! # Waiting
//!
//! Every call that can wait comes in three kinds: for ever (`send`), not at all (`try_send`), and until a time has passed
//! (`send_timeout`, on the monotonic clock). A short spin comes first, then a sleep that costs no processor time. A signal whose
//! handler was installed without SA_RESTART ends a wait with [`Error::Interrupted`], with nothing sent or taken. (Before Linux
//! 6.7 every handler does.)
//!
//! [`WaitSet`] waits for several things at once. [`Queue::readiness_fd`] and [`Semaphore::readiness_fd`] give descriptors for
//! event loops, and with the cargo feature `async` tasks wait in `Queue::recv_async` and `Queue::stream`.
//!
//! A call from a signal handler that interrupted another one on the same thread never waits for that one: it returns [`Error::Reentrant`],
//! with nothing done, or it is served, where the other one had not begun its work, or had done it. Nothing more is promised of calls from
//! handlers: they may use the heap, which waits for itself where the handler interrupted it. To drop a handle cannot be refused, and is not
//! for handlers, nor is [`catch_truncation`].
//!
//! # Counters
//!
//! The library never prints. What goes on in a running system is counted instead: [`Queue::counters`] and its like say how many
//! messages and bytes went through an object, how often somebody had to sleep for it and was woken, and what was noticed and put
//! right of the dead. [`Namespace::inspect`] and the command `rsipc` show the same of an object without opening it.
//!
//! # Containers
//!
//! Processes of different pid namespaces that share a directory can share its named queues, mutexes, signalling semaphores and
//! regions. Once a process of another namespace has opened such an object, its users' deaths are noticed within 100 ms instead of
//! at once, and each of its processes keeps a thread that does nothing but live. A mutex that is held by a thread comes free when
//! the thread ends, as usual. What a process held on lease before the first stranger came is given back by processes of its own
//! namespace only. Permits, endpoints and objects in a region cannot be shared so.
//!
//! # Where it runs
//!
//! Linux 5.14 and later, on 64-bit little-endian machines, with glibc. (musl registers no robust list for its threads:
//! calls return [`Error::Unsupported`] there.)
//!
//! # How it is built
//!
//! `sys` is all that the kernel gives: robust futexes, files, processes. `shm` lays structures out in shared memory; `sync::lock` is the
//! robust lock word, with the argument why no wake-up is lost; `sync` and `queue` stand on it, `direct` and `wait` on these; `ffi` is the C
//! interface.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod counters;
mod direct;
mod error;
#[cfg(feature = "capi")]
pub mod ffi;
mod inspect;
mod name;
mod queue;
mod shm;
mod sync;
mod sys;
mod time;
mod wait;

pub use bytemuck;
pub use counters::Counters;
pub use direct::{Address, Call, Endpoint, Message};
pub use error::{Error, Result};
pub use inspect::Inspection;
pub use name::{DIR_VARIABLE, Entry, Kind, MAX_NAME, Name, Namespace};
#[cfg(feature = "serde")]
pub use queue::Postcard;
pub use queue::{
    Batch, Format, Lease, Loan, MAX_CAPACITY, MAX_LEASES, MAX_MESSAGE, MessageView, NotSent, Peer, Plain, Queue, QueueInspection,
    QueueOptions, TypedQueue, User,
};
pub use shm::region::{Region, View};
pub use sync::mutex::{Mutex, MutexGuard};
pub use sync::semaphore::{MAX_VALUE, Semaphore, SemaphoreKind};
pub use sys::truncation::catch_truncation;
#[cfg(feature = "async")]
pub use wait::tasks::Messages;
pub use wait::{MAX_WAIT, WaitSet};

/// The version of this library, such as "0.1.0".
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
