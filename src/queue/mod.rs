//! Queues: messages from any number of senders to any number of receivers. The public face; `store` has the verbs.

mod attached;
mod batch;
mod batching;
mod blocks;
mod claims;
mod handoff;
mod in_place;
mod inspect;
mod iter;
mod lease;
mod loan;
mod log;
mod options;
mod receiving;
mod ring;
mod sending;
mod sources;
mod store;
#[cfg(test)]
mod tests;
mod typed;
mod view;
mod watch;

use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::counters::Counters;
use crate::error::{Error, Result};
use crate::name::Name;
use crate::shm::layout::{InboxLayout, QueueLayout};
use crate::shm::region::Region;
use crate::shm::{self, Shared};
use crate::sync::source::Source;
use crate::sync::watcher::Readiness;
use crate::sys::memory::{AtomicU32, AtomicU64, Ordering::Relaxed};
use crate::sys::process::Identity;
use crate::time::Deadline;
pub use attached::Peer;
pub use batch::Batch;
#[cfg(feature = "capi")]
pub(crate) use in_place::Holding;
pub(crate) use inspect::inspect;
pub use inspect::{QueueInspection, User};
pub use lease::Lease;
pub use loan::{Loan, NotSent};
pub(crate) use options::{ENVELOPE, Envelope};
pub use options::{MAX_CAPACITY, MAX_LEASES, MAX_MESSAGE, QueueOptions};
use sources::{Receiving, Sending};
#[cfg(feature = "capi")]
pub(crate) use store::LeaseTicket;
#[cfg(feature = "capi")]
pub(crate) use store::Messages;
use store::Store;
pub(crate) use store::{Received, Sink, Take};
#[cfg(feature = "serde")]
pub use typed::Postcard;
pub use typed::{Format, Plain, TypedQueue};
pub use view::MessageView;
#[cfg(feature = "capi")]
pub(crate) use view::Viewed;
pub(crate) use watch::Watch;

/// A queue of messages between processes: a mailbox that any process opens by its name.
///
/// Its *capacity* says when senders wait ([`QueueOptions`]): never (unbounded), when so many messages wait already (bounded), or always,
/// until a receiver has taken the message (zero: a rendezvous).
///
/// Any number of threads in any number of processes send and receive. Messages are bytes, of any length from 0 to
/// [`Queue::max_message`]. They come out in the order in which they went in, each to exactly one receiver. A message whose `send`
/// returned is in the queue, also if its sender ends right after; it stays there until it is received, for as long as the name exists
/// or anybody has the queue open.
///
/// All methods may be called from any thread, and the handle may be used in a child of fork. Sending and receiving make no system call
/// unless they have to wait, or to wake somebody (or to get memory, or give it back).
///
/// # When a process dies
///
/// A message whose sender is killed inside `send` is either in the queue, whole, or not at all. A receiver killed inside
/// `recv` has either taken the message with it or left it; work that must not be lost with a worker is received on
/// [lease](Queue::lease). In a rendezvous, the offer of a sender that dies while it waits is gone. Everybody else carries on at once.
///
/// A process that is *stopped* (SIGSTOP) inside the few instructions of a commit holds up its side of the queue until it goes on.
/// Calls with a timeout still return in time then; `try_send` and `try_recv` give up after 10 ms with `WouldBlock`.
///
/// ```
/// # fn main() -> rsipc::Result<()> {
/// # let namespace = rsipc::Namespace::at(std::env::temp_dir().join(format!("rsipc-doc-queue-{}", std::process::id())));
/// let jobs = rsipc::Queue::create(namespace.name("jobs"), &rsipc::QueueOptions::new().capacity(8).max_message(1024))?;
/// jobs.send(b"first")?;
/// assert_eq!(jobs.recv()?, b"first");
/// assert_eq!(jobs.try_recv(), Err(rsipc::Error::WouldBlock));
/// # namespace.unlink("jobs")?;
/// # std::fs::remove_dir_all(namespace.dir()?).ok();
/// # Ok(())
/// # }
/// ```
pub struct Queue {
    store: Store,
    /// This handle's entry in the table of peers: `forks()` in the upper half, then the entry's number plus one, and in the lowest three
    /// bits the roles written down there.
    entry: AtomicU64,
    /// Not 0: waits end with the peers that they wait for.
    ends: AtomicU32,
    readiness: Readiness,
    send_readiness: Readiness,
}

/// Whose inbox a queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) identity: Identity,
    /// Which of the process's inboxes.
    pub(crate) serial: u32,
    /// The process's life (`sync::lives`), or 0.
    pub(crate) life: u32,
}

impl Queue {
    /// Creates a queue.
    ///
    /// # Errors
    ///
    /// `AlreadyExists`; `InvalidArgument` for an impossible name or options out of range; `NoSpace`, `NoMemory`, `PermissionDenied` and
    /// other errors of the system.
    pub fn create<'a>(name: impl Into<Name<'a>>, options: &QueueOptions) -> Result<Self> {
        let name = name.into();
        let plan = options.plan_for(&name)?;
        Self::attach(shm::create(&name, plan.len, size_of::<QueueLayout>(), |layout| plan.fill(layout))?.0, Some(name.dir()?))
    }

    /// Opens a queue.
    ///
    /// # Errors
    ///
    /// `NotFound`; `WrongKind`, `WrongVersion`, `Corrupted`; `LimitReached` where 500 handles are open on it; `Unsupported` where
    /// processes of another pid namespace use it that this one cannot be told apart from, since the table of all of them is not
    /// in the name's directory; `NoSpace`, `PermissionDenied` and other errors of the system.
    pub fn open<'a>(name: impl Into<Name<'a>>) -> Result<Self> {
        let name = name.into();
        Self::attach(shm::open(&name)?.0, Some(name.dir()?))
    }

    /// Opens a queue, or creates it. Processes that do so at the same time get the same one. An existing queue keeps its options.
    ///
    /// ```
    /// # fn main() -> rsipc::Result<()> {
    /// # let namespace = rsipc::Namespace::at(std::env::temp_dir().join(format!("rsipc-doc-open-or-create-{}", std::process::id())));
    /// use rsipc::{Queue, QueueOptions};
    ///
    /// // Whichever process comes first creates it.
    /// let ours = Queue::open_or_create(namespace.name("jobs"), &QueueOptions::new().capacity(8))?;
    /// let theirs = Queue::open_or_create(namespace.name("jobs"), &QueueOptions::new().capacity(9))?;
    /// ours.send(b"a job")?;
    /// assert_eq!(theirs.recv()?, b"a job");
    /// assert_eq!(theirs.capacity(), Some(8));
    /// # std::fs::remove_dir_all(namespace.dir()?).ok();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Queue::create`] and [`Queue::open`], less `AlreadyExists` and `NotFound`.
    pub fn open_or_create<'a>(name: impl Into<Name<'a>>, options: &QueueOptions) -> Result<Self> {
        let name = name.into();
        options.plan(0, 0)?;
        shm::open_or_create(|| Self::open(name.clone()), || Self::create(name.clone(), options))
    }

    /// Creates a queue at `offset` of a region, in [`QueueOptions::size`] bytes that are zero.
    ///
    /// ```
    /// # fn main() -> rsipc::Result<()> {
    /// use rsipc::{Queue, QueueOptions, Region};
    ///
    /// let options = QueueOptions::new().capacity(4).max_message(100);
    /// let region = Region::anonymous(4096 + options.size()?)?;
    /// // SAFETY: the bytes from 4096 on are left to the queue.
    /// let jobs = unsafe { Queue::create_in(&region, 4096, &options)? };
    /// jobs.send(b"a job")?;
    /// # assert_eq!(unsafe { Queue::open_in(&region, 4096)? }.recv()?, b"a job");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `AlreadyExists` where there is an object; `InvalidArgument` where the memory is in use, too short, the offset not a multiple of
    /// 128, or options are out of range.
    ///
    /// # Safety
    ///
    /// These bytes of the region are left to the queue: nothing else is written or placed there.
    pub unsafe fn create_in(region: &Region, offset: usize, options: &QueueOptions) -> Result<Self> {
        let room = region.len().saturating_sub(offset);
        let need = options.size()?;
        if need > room {
            return Err(Error::invalid(format!(
                "a queue of {need} bytes does not fit into the {room} bytes from offset {offset} on"
            )));
        }
        let shared: Shared<QueueLayout> = region.place(offset)?;
        let plan = options.plan(shared.offset(), 0)?;
        shm::create_in(&shared, |layout| plan.fill(layout))?;
        Self::attach(shared, None)
    }

    /// Opens a queue at `offset` of a region.
    ///
    /// # Errors
    ///
    /// `NotFound` where nothing was created there; otherwise as [`Queue::open`].
    ///
    /// # Safety
    ///
    /// These bytes of the region are left to the queue: nothing else is written or placed there.
    pub unsafe fn open_in(region: &Region, offset: usize) -> Result<Self> {
        let shared = region.place(offset)?;
        shm::open_in::<QueueLayout>(&shared)?;
        Self::attach(shared, None)
    }

    /// Creates a queue without a name (`memfd_create(2)`), and gives the descriptor of its memory too. Others get the queue by
    /// that: a child of fork inherits it, a Unix socket carries it (`SCM_RIGHTS`), and [`Queue::from_fd`] opens it there. The
    /// memory goes with the last process that has it open, in whatever way that ends; closing the descriptor closes no handle. It
    /// is closed on exec.
    ///
    /// An unbounded queue without a limit in bytes can hold as many messages as the machine has memory for.
    ///
    /// ```
    /// # fn main() -> rsipc::Result<()> {
    /// use rsipc::{Queue, QueueOptions};
    ///
    /// let (jobs, fd) = Queue::anonymous(&QueueOptions::new())?;
    /// let same = Queue::from_fd(&fd)?; // as who was handed the descriptor does
    /// jobs.send(b"a job")?;
    /// assert_eq!(same.recv()?, b"a job");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for options out of range; `NoSpace`, `NoMemory`, `TooManyFiles` and other errors of the system.
    pub fn anonymous(options: &QueueOptions) -> Result<(Self, OwnedFd)> {
        let plan = options.plan_anonymous()?;
        let (shared, fd) = shm::create_anonymous(plan.len, size_of::<QueueLayout>(), |layout| plan.fill(layout))?;
        Ok((Self::attach(shared, None)?, fd))
    }

    /// Opens the queue behind a descriptor that came from [`Queue::anonymous`] in this or another process of the same pid
    /// namespace. The descriptor stays the caller's, who may close it after this.
    ///
    /// # Errors
    ///
    /// `Corrupted` where it is not that of a queue; otherwise as [`Queue::open`], but for `NotFound`.
    pub fn from_fd(fd: &OwnedFd) -> Result<Self> {
        Self::attach(shm::open_file(fd)?, None)
    }

    /// Creates a queue that is the inbox of a process.
    pub(crate) fn create_owned(name: &Name<'_>, options: &QueueOptions, owner: &Owner) -> Result<Self> {
        let plan = options.plan_for(name)?;
        let fill = |inbox: &InboxLayout| {
            plan.fill(&inbox.queue);
            inbox.queue.owner.store(owner.identity.0, Relaxed);
            inbox.queue.owner_serial.store(owner.serial, Relaxed);
            inbox.queue.owner_life.store(owner.life, Relaxed);
        };
        Self::aside(&shm::create(name, plan.len, size_of::<InboxLayout>(), fill)?.0, Some(name.dir()?))
    }

    /// Opens the inbox of a process. Any number of processes may have it open: none is written down.
    pub(crate) fn open_owned(name: &Name<'_>) -> Result<Self> {
        let inbox = shm::open::<InboxLayout>(name)?.0;
        // Its owner is known by its process id.
        shm::check_home(&inbox.queue.header)?;
        Self::aside(&inbox, Some(name.dir()?))
    }

    fn aside(inbox: &Shared<InboxLayout>, dir: Option<PathBuf>) -> Result<Self> {
        Self::over(Shared::new(Arc::clone(inbox.mapping()), inbox.offset())?, dir)
    }

    fn over(shared: Shared<QueueLayout>, dir: Option<PathBuf>) -> Result<Self> {
        Ok(Self {
            store: Store::new(shared, dir)?,
            entry: AtomicU64::new(0),
            ends: AtomicU32::new(0),
            readiness: Readiness::new(),
            send_readiness: Readiness::new(),
        })
    }

    /// Whose inbox it is, if it is one.
    pub(crate) fn owner(&self) -> Option<Owner> {
        let shared = &self.store.shared;
        let identity = Identity(shared.owner.load(Relaxed));
        let (serial, life) = (shared.owner_serial.load(Relaxed), shared.owner_life.load(Relaxed));
        (identity.0 != 0).then_some(Owner { identity, serial, life })
    }

    /// Sends a message with an envelope.
    pub(crate) fn send_with(
        &self,
        envelope: &Envelope,
        message: &[u8],
        deadline: Deadline,
        watch: Option<&dyn Watch>,
    ) -> Result<()> {
        self.store.send(envelope, message, deadline, watch)
    }

    /// Receives a message with its envelope, if it has one. `sink` has as many bytes of it then as the result says.
    pub(crate) fn recv_with(
        &self,
        sink: &mut impl Sink,
        take: Take,
        deadline: Deadline,
        watch: Option<&dyn Watch>,
    ) -> Result<Received> {
        self.store.recv(sink, take, deadline, watch).inspect_err(|e| self.readiness.after(e))
    }

    /// Sees to it that there is memory for `count` short messages, in a queue that is empty.
    pub(crate) fn make_room(&self, count: usize) -> Result<()> {
        self.store.make_room(count)
    }

    fn attach(shared: Shared<QueueLayout>, dir: Option<PathBuf>) -> Result<Self> {
        let queue = Self::over(shared, dir)?;
        queue.note(0)?;
        Ok(queue)
    }

    /// Sends a message, and waits for room (in a rendezvous, for a receiver that takes it) as long as need be.
    ///
    /// # Errors
    ///
    /// `MessageTooLong`; `Closed` once the queue is shut down; `NoSpace` where there is no memory for the message, `LimitReached` where an
    /// unbounded queue holds as much as it may; `Interrupted` by a signal handler; `Corrupted`. Nothing is sent then.
    #[inline]
    pub fn send(&self, message: &[u8]) -> Result<()> {
        self.send_until(message, Deadline::Never)
    }

    /// Sends a message if there is room (in a rendezvous, if a receiver waits for one at this moment).
    ///
    /// # Errors
    ///
    /// `WouldBlock` where there is none; otherwise as [`Queue::send`].
    #[inline]
    pub fn try_send(&self, message: &[u8]) -> Result<()> {
        self.send_until(message, Deadline::Now)
    }

    /// Sends a message, and waits no longer than `timeout` for room (monotonic clock). A timeout of zero is not to wait.
    ///
    /// ```
    /// # fn main() -> rsipc::Result<()> {
    /// # let namespace = rsipc::Namespace::at(std::env::temp_dir().join(format!("rsipc-doc-send-timeout-{}", std::process::id())));
    /// use std::time::Duration;
    ///
    /// use rsipc::{Error, Queue, QueueOptions};
    ///
    /// let jobs = Queue::create(namespace.name("jobs"), &QueueOptions::new().capacity(1))?;
    /// jobs.send_timeout(b"first", Duration::from_secs(1))?;
    /// assert_eq!(jobs.send_timeout(b"second", Duration::from_millis(10)), Err(Error::TimedOut));
    /// # std::fs::remove_dir_all(namespace.dir()?).ok();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `TimedOut`; `WouldBlock` for a timeout of zero; otherwise as [`Queue::send`].
    #[inline]
    pub fn send_timeout(&self, message: &[u8], timeout: Duration) -> Result<()> {
        self.send_until(message, Deadline::after(timeout))
    }

    #[inline]
    fn send_until(&self, message: &[u8], deadline: Deadline) -> Result<()> {
        if self.acts_as(attached::SENDS) && self.store.send_simply(message) && !self.store.shared.is_cut() {
            return Ok(());
        }
        self.send_in_any_case(message, deadline)
    }

    #[cold]
    fn send_in_any_case(&self, message: &[u8], deadline: Deadline) -> Result<()> {
        self.act_as(attached::SENDS)?;
        let send = |watch: Option<&dyn Watch>| self.store.send(&[], message, deadline, watch);
        self.with_peers(attached::RECEIVES, send).inspect_err(|e| self.send_readiness.after(e))
    }

    /// Receives the next message, and waits for one as long as need be.
    ///
    /// # Errors
    ///
    /// `Closed` once the queue is shut down and empty; `Interrupted` by a signal handler; `NoMemory`; `Corrupted`. Nothing is taken then.
    pub fn recv(&self) -> Result<Vec<u8>> {
        self.recv_until(Deadline::Never)
    }

    /// Receives the next message if there is one.
    ///
    /// # Errors
    ///
    /// `WouldBlock` where there is none; otherwise as [`Queue::recv`].
    pub fn try_recv(&self) -> Result<Vec<u8>> {
        self.recv_until(Deadline::Now)
    }

    /// Receives the next message, and waits no longer than `timeout` for one (monotonic clock). A timeout of zero is not to wait.
    ///
    /// # Errors
    ///
    /// `TimedOut`; `WouldBlock` for a timeout of zero; otherwise as [`Queue::recv`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Vec<u8>> {
        self.recv_until(Deadline::after(timeout))
    }

    fn recv_until(&self, deadline: Deadline) -> Result<Vec<u8>> {
        self.act_as(attached::RECEIVES)?;
        let mut message = Vec::new();
        let recv = |watch: Option<&dyn Watch>| self.store.recv(&mut message, Take::Whole, deadline, watch);
        let len = self.with_peers(attached::SENDS, recv).inspect_err(|e| self.readiness.after(e))?.len;
        // SAFETY: `Sink::space` reserved `len` bytes, and the message was copied there.
        unsafe { message.set_len(len) };
        Ok(message)
    }

    /// Receives the next message into `buffer`, and waits for one as long as need be. Says how long it is.
    ///
    /// ```
    /// # fn main() -> rsipc::Result<()> {
    /// # let namespace = rsipc::Namespace::at(std::env::temp_dir().join(format!("rsipc-doc-recv-into-{}", std::process::id())));
    /// use rsipc::{Error, Queue, QueueOptions};
    ///
    /// let jobs = Queue::create(namespace.name("jobs"), &QueueOptions::new())?;
    /// jobs.send(b"a job")?;
    /// let mut short = [0; 3];
    /// assert_eq!(jobs.recv_into(&mut short), Err(Error::BufferTooSmall { len: 3, needed: 5 }));
    /// let mut buffer = vec![0; jobs.max_message()]; // for all messages
    /// let len = jobs.recv_into(&mut buffer)?;
    /// assert_eq!(&buffer[..len], b"a job");
    /// # std::fs::remove_dir_all(namespace.dir()?).ok();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `BufferTooSmall` where it is longer than the buffer: it stays in the queue. Otherwise as [`Queue::recv`].
    #[inline]
    pub fn recv_into(&self, buffer: &mut [u8]) -> Result<usize> {
        self.recv_into_until(buffer, Deadline::Never)
    }

    /// Receives the next message into `buffer` if there is one. Says how long it is.
    ///
    /// # Errors
    ///
    /// As [`Queue::recv_into`] and [`Queue::try_recv`].
    #[inline]
    pub fn try_recv_into(&self, buffer: &mut [u8]) -> Result<usize> {
        self.recv_into_until(buffer, Deadline::Now)
    }

    /// Receives the next message into `buffer`, and waits no longer than `timeout` for one. Says how long it is.
    ///
    /// # Errors
    ///
    /// As [`Queue::recv_into`] and [`Queue::recv_timeout`].
    #[inline]
    pub fn recv_into_timeout(&self, buffer: &mut [u8], timeout: Duration) -> Result<usize> {
        self.recv_into_until(buffer, Deadline::after(timeout))
    }

    #[inline]
    fn recv_into_until(&self, mut buffer: &mut [u8], deadline: Deadline) -> Result<usize> {
        if self.acts_as(attached::RECEIVES)
            && let Some(len) = self.store.recv_simply(&mut buffer)
            && !self.store.shared.is_cut()
        {
            return Ok(len);
        }
        self.recv_into_in_any_case(buffer, deadline)
    }

    #[cold]
    fn recv_into_in_any_case(&self, buffer: &mut [u8], deadline: Deadline) -> Result<usize> {
        self.act_as(attached::RECEIVES)?;
        let recv = |watch: Option<&dyn Watch>| self.store.recv(&mut &mut *buffer, Take::Whole, deadline, watch);
        Ok(self.with_peers(attached::SENDS, recv).inspect_err(|e| self.readiness.after(e))?.len)
    }

    /// Shuts the queue down for everybody: sending fails with `Closed` from now on, receiving gives what is left and then
    /// `Closed`. All who wait are woken. It cannot be undone; shutting down again does nothing.
    ///
    /// ```
    /// # fn main() -> rsipc::Result<()> {
    /// # let namespace = rsipc::Namespace::at(std::env::temp_dir().join(format!("rsipc-doc-shutdown-{}", std::process::id())));
    /// use rsipc::{Error, Queue, QueueOptions};
    ///
    /// let jobs = Queue::create(namespace.name("jobs"), &QueueOptions::new())?;
    /// jobs.send(b"the last one")?;
    /// jobs.shutdown()?;
    /// assert_eq!(jobs.send(b"another"), Err(Error::Closed));
    /// assert_eq!(jobs.recv()?, b"the last one");
    /// assert_eq!(jobs.recv(), Err(Error::Closed));
    /// # std::fs::remove_dir_all(namespace.dir()?).ok();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `Interrupted` by a signal handler, while a sender was stopped inside a commit: senders are refused from then on, and the
    /// next call on the queue completes it.
    pub fn shutdown(&self) -> Result<()> {
        self.store.shutdown(Deadline::Never)
    }

    /// Shuts an inbox down whose process closes it, which is not to wait for a sender that was stopped, or for one that does not
    /// exist: the next call on the queue completes it then.
    pub(crate) fn close(&self) -> Result<()> {
        self.store.shutdown(Deadline::after(Duration::from_secs(1)))
    }

    /// Whether the queue was shut down.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        self.store.is_shut_down()
    }

    /// How many messages wait to be received, at this moment. Those on lease and those offered in a rendezvous are not counted.
    ///
    /// # Errors
    ///
    /// `Corrupted`.
    pub fn len(&self) -> Result<usize> {
        self.store.len()
    }

    /// Whether no message waits, at this moment.
    ///
    /// # Errors
    ///
    /// `Corrupted`.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// What has happened to the queue since it was created, in all processes: messages, bytes, waits, what was put right of the dead.
    ///
    /// ```
    /// # fn main() -> rsipc::Result<()> {
    /// # let namespace = rsipc::Namespace::at(std::env::temp_dir().join(format!("rsipc-doc-counters-{}", std::process::id())));
    /// let jobs = rsipc::Queue::create(namespace.name("jobs"), &rsipc::QueueOptions::new())?;
    /// jobs.send(b"first")?;
    /// jobs.send(b"second")?;
    /// jobs.recv()?;
    /// let counters = jobs.counters()?;
    /// assert_eq!((counters.sent, counters.received), (2, 1));
    /// assert_eq!((counters.bytes_sent, counters.bytes_received), (11, 5));
    /// # namespace.unlink("jobs")?;
    /// # std::fs::remove_dir(namespace.dir()?).ok();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `Corrupted`.
    pub fn counters(&self) -> Result<Counters> {
        self.store.counters()
    }

    /// How many messages there is room for: 0 for a rendezvous, None for an unbounded queue.
    #[must_use]
    pub fn capacity(&self) -> Option<usize> {
        self.store.capacity()
    }

    /// How long a message can be, in bytes.
    #[must_use]
    pub fn max_message(&self) -> usize {
        self.store.max_message()
    }

    /// A descriptor for the program's own event loop (`poll(2)`, epoll, asyncio, tokio): readable while there may be something to receive,
    /// that is a message, or that the queue was shut down.
    ///
    /// Once readable it stays so until an attempt to receive *through this handle* without waiting (or whose time passes) finds
    /// nothing. So, when it is readable, call [`Queue::try_recv`] until it gives [`Error::WouldBlock`], or at least once. The
    /// descriptor may be readable although nothing is there, when another receiver was faster.
    ///
    /// It belongs to the handle, and is closed with it: neither read from it nor write to it, nor close it. Each call gives the
    /// same one. The first one for any object starts a thread in this process, which blocks all signals and sleeps until there is
    /// something to tell.
    ///
    /// In a child of fork ask again: the child has a descriptor of its own then, and must not use the one that it inherited. It
    /// is closed on exec.
    ///
    /// ```
    /// # fn main() -> rsipc::Result<()> {
    /// # let namespace = rsipc::Namespace::at(std::env::temp_dir().join(format!("rsipc-doc-readiness-{}", std::process::id())));
    /// use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    /// use rsipc::{Error, Queue, QueueOptions};
    ///
    /// let jobs = Queue::create(namespace.name("jobs"), &QueueOptions::new())?;
    /// let mut fds = [PollFd::new(jobs.readiness_fd()?, PollFlags::POLLIN)]; // with the program's other descriptors
    /// jobs.send(b"a job")?;
    /// assert_eq!(poll(&mut fds, PollTimeout::NONE), Ok(1));
    /// assert_eq!(jobs.try_recv()?, b"a job");
    /// assert_eq!(jobs.try_recv(), Err(Error::WouldBlock));
    /// # std::fs::remove_dir_all(namespace.dir()?).ok();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `TooManyFiles`, `NoMemory` and other errors of the system; `Corrupted`.
    pub fn readiness_fd(&self) -> Result<BorrowedFd<'_>> {
        self.readiness.fd(&|| self.receiving_apart())
    }

    /// As [`Queue::readiness_fd`], for sending: readable while there may be room for a message, or the queue was shut down. It
    /// stays so until an attempt to send through this handle without waiting ([`Queue::try_send`]) finds no room.
    ///
    /// # Errors
    ///
    /// `Unsupported` for a rendezvous, where only who waits for a receiver meets one; otherwise as [`Queue::readiness_fd`].
    pub fn send_readiness_fd(&self) -> Result<BorrowedFd<'_>> {
        if self.store.is_rendezvous() {
            let why = "a rendezvous has no room to be told of: wait in send, in a thread of its own if need be";
            return Err(Error::Unsupported(why.into()));
        }
        self.send_readiness.fd(&|| Ok(Box::new(Sending(self.store.again()?))))
    }

    /// Lets a task that found nothing be woken once there may be something.
    #[cfg(feature = "async")]
    pub(crate) fn wake_when_ready(&self, task: &mut Option<crate::sync::watcher::Task>, waker: &std::task::Waker) -> Result<()> {
        self.readiness.wake(&|| self.receiving_apart(), task, waker)
    }

    /// Receiving, as something to wait for apart from this handle.
    fn receiving_apart(&self) -> Result<Box<dyn Source>> {
        Ok(Box::new(Receiving(self.store.again()?)))
    }

    /// Receiving, as something to wait for.
    pub(crate) fn receiving(&self) -> impl Source {
        Receiving(&self.store)
    }

    /// Sending, as something to wait for.
    pub(crate) fn sending(&self) -> impl Source {
        Sending(&self.store)
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (capacity, max_message) = (self.capacity(), self.max_message());
        f.debug_struct("Queue").field("capacity", &capacity).field("max_message", &max_message).finish_non_exhaustive()
    }
}

impl Sink for Vec<u8> {
    fn space(&mut self, len: usize) -> Result<&mut [MaybeUninit<u8>]> {
        self.try_reserve_exact(len).map_err(|_| Error::NoMemory(format!("receiving a message of {len} bytes")))?;
        Ok(self.spare_capacity_mut())
    }
}

impl Sink for &mut [u8] {
    #[inline]
    fn space(&mut self, len: usize) -> Result<&mut [MaybeUninit<u8>]> {
        if len > self.len() {
            return Err(Error::BufferTooSmall { len: self.len(), needed: len });
        }
        // SAFETY: only initialized bytes are written to it, and `MaybeUninit<u8>` is laid out as `u8`.
        Ok(unsafe { &mut *(std::ptr::from_mut::<[u8]>(*self) as *mut [MaybeUninit<u8>]) })
    }
}
