//! Queues: messages from any number of senders to any number of receivers. The public face; `ring` is the mechanism.

mod ring;

use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use crate::error::{Error, Result};
use crate::name::Name;
use crate::shm::layout::{QueueLayout, SLOT_DATA};
use crate::shm::region::Region;
use crate::shm::{self, Shared};
use crate::sync::lock;
use crate::sync::source::Source;
use crate::sync::watcher::Readiness;
use crate::sys::thread::{Call, forks};
use crate::time::Deadline;
use ring::{Receiving, Ring, Sending, Sink};

/// The largest capacity of a queue, in messages.
pub const MAX_CAPACITY: usize = 1 << 30;
/// The longest message that a queue can be made for, in bytes.
pub const MAX_MESSAGE: usize = 1 << 31;

/// How a queue is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueOptions {
    capacity: usize,
    max_message: usize,
}

impl Default for QueueOptions {
    /// Room for 64 messages of up to 4096 bytes.
    fn default() -> Self {
        Self { capacity: 64, max_message: 4096 }
    }
}

impl QueueOptions {
    /// The default options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many messages there is room for before senders wait: 1 to [`MAX_CAPACITY`].
    #[must_use]
    pub fn capacity(mut self, messages: usize) -> Self {
        self.capacity = messages;
        self
    }

    /// How long a message can be, in bytes: 0 to [`MAX_MESSAGE`]. Each place in the queue has room for so many; memory is taken when a
    /// place is first used.
    #[must_use]
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// How many bytes such a queue takes in a region, at an offset that is a multiple of 128.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for options out of range.
    pub fn size(&self) -> Result<usize> {
        if self.capacity == 0 || self.capacity > MAX_CAPACITY {
            return Err(Error::invalid(format!("a queue's capacity is 1 to {MAX_CAPACITY} messages, not {}", self.capacity)));
        }
        if self.max_message > MAX_MESSAGE {
            return Err(Error::invalid(format!("a queue's max_message is 0 to {MAX_MESSAGE} bytes, not {}", self.max_message)));
        }
        Ok(size_of::<QueueLayout>() + self.capacity * self.slot_size())
    }

    fn slot_size(&self) -> usize {
        (SLOT_DATA + self.max_message).next_multiple_of(64)
    }

    fn fill(&self, layout: &QueueLayout) {
        layout.capacity.store(self.capacity as u32, Relaxed);
        layout.max_message.store(self.max_message as u32, Relaxed);
        layout.slot_size.store(self.slot_size() as u64, Relaxed);
    }
}

/// A bounded queue of messages between processes: a mailbox that any process opens by its name.
///
/// Any number of threads in any number of processes send and receive. Messages are bytes, of any length from 0 to
/// [`Queue::max_message`]. They come out in the order in which they went in, each to exactly one receiver. A message whose `send`
/// returned is in the queue, also if its sender ends right after; it stays there until it is received, for as long as the name exists
/// or anybody has the queue open.
///
/// All methods may be called from any thread, and the handle may be used in a child of fork. Sending and receiving make no system call
/// unless they have to wait, or to wake somebody (or to get memory for a place that is used for the first time).
///
/// # When a process dies
///
/// A message whose sender is killed inside `send` is either in the queue, whole, or not at all. A receiver killed inside
/// `recv` has either taken the message with it or left it. Everybody else carries on at once.
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
/// # std::fs::remove_dir(namespace.dir()?).ok();
/// # Ok(())
/// # }
/// ```
pub struct Queue {
    ring: Ring,
    /// This handle's entry in the table of peers: `forks()` in the upper half, then the entry's number plus one, and in the lowest two
    /// bits the roles written down there.
    entry: AtomicU64,
    readiness: Readiness,
}

/// What a handle was used for, in `Peer::value` and in the lowest bits of `Queue::entry`.
const SENDS: u32 = 1;
const RECEIVES: u32 = 2;
const ROLES: u32 = SENDS | RECEIVES;

/// A handle that is open on a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// The process's id, in the pid namespace that it attached in.
    pub pid: u32,
    /// When it opened the queue.
    pub since: SystemTime,
    /// Whether it has sent, or tried to.
    pub sends: bool,
    /// Whether it has received, or tried to.
    pub receives: bool,
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
        let len = options.size()?;
        Self::attach(shm::create(&name, len, size_of::<QueueLayout>(), |layout| options.fill(layout))?.0)
    }

    /// Opens a queue.
    ///
    /// # Errors
    ///
    /// `NotFound`; `WrongKind`, `WrongVersion`, `Corrupted`; `LimitReached` where 500 handles are open on it; `Unsupported` where it
    /// belongs to processes of another pid namespace; `NoSpace`, `PermissionDenied` and other errors of the system.
    pub fn open<'a>(name: impl Into<Name<'a>>) -> Result<Self> {
        Self::attach(shm::open(&name.into())?.0)
    }

    /// Opens a queue, or creates it. Processes that do so at the same time get the same one. An existing queue keeps its options.
    ///
    /// # Errors
    ///
    /// As [`Queue::create`] and [`Queue::open`], less `AlreadyExists` and `NotFound`.
    pub fn open_or_create<'a>(name: impl Into<Name<'a>>, options: &QueueOptions) -> Result<Self> {
        let name = name.into();
        options.size()?;
        shm::open_or_create(|| Self::open(name.clone()), || Self::create(name.clone(), options))
    }

    /// Creates a queue at `offset` of a region, in [`QueueOptions::size`] bytes that are zero.
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
        let (len, room) = (options.size()?, region.len().saturating_sub(offset));
        if len > room {
            return Err(Error::invalid(format!(
                "a queue of {len} bytes does not fit into the {room} bytes from offset {offset} on"
            )));
        }
        let shared = region.place(offset)?;
        shm::create_in(&shared, |layout| options.fill(layout))?;
        Self::attach(shared)
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
        Self::attach(shared)
    }

    fn attach(shared: Shared<QueueLayout>) -> Result<Self> {
        let queue = Self { ring: Ring::new(shared)?, entry: AtomicU64::new(0), readiness: Readiness::new() };
        queue.note(0)?;
        Ok(queue)
    }

    /// Sends a message, and waits for room as long as need be.
    ///
    /// # Errors
    ///
    /// `MessageTooLong`; `Closed` once the queue is shut down; `NoSpace` where there is no memory for a place that is used for
    /// the first time; `Interrupted` by a signal handler; `Corrupted`. Nothing is sent then.
    #[inline]
    pub fn send(&self, message: &[u8]) -> Result<()> {
        self.send_until(message, Deadline::Never)
    }

    /// Sends a message if there is room.
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
    /// # Errors
    ///
    /// `TimedOut`; `WouldBlock` for a timeout of zero; otherwise as [`Queue::send`].
    #[inline]
    pub fn send_timeout(&self, message: &[u8], timeout: Duration) -> Result<()> {
        self.send_until(message, Deadline::after(timeout))
    }

    #[inline]
    fn send_until(&self, message: &[u8], deadline: Deadline) -> Result<()> {
        self.act_as(SENDS)?;
        self.ring.send(message, deadline)
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
        self.act_as(RECEIVES)?;
        let mut message = Vec::new();
        let len = self.ring.recv(&mut message, deadline).inspect_err(|e| self.readiness.after(e))?;
        // SAFETY: `Sink::space` reserved `len` bytes, and the message was copied there.
        unsafe { message.set_len(len) };
        Ok(message)
    }

    /// Receives the next message into `buffer`, and waits for one as long as need be. Says how long it is.
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
    fn recv_into_until(&self, buffer: &mut [u8], deadline: Deadline) -> Result<usize> {
        self.act_as(RECEIVES)?;
        self.ring.recv(&mut &mut *buffer, deadline).inspect_err(|e| self.readiness.after(e))
    }

    /// Shuts the queue down for everybody: sending fails with `Closed` from now on, receiving gives what is left and then
    /// `Closed`. All who wait are woken. It cannot be undone; shutting down again does nothing.
    ///
    /// # Errors
    ///
    /// `Interrupted` by a signal handler, while a sender was stopped inside a commit: senders are refused from then on, and the
    /// next call on the queue completes it.
    pub fn shutdown(&self) -> Result<()> {
        self.ring.shutdown()
    }

    /// Whether the queue was shut down.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        self.ring.is_shut_down()
    }

    /// How many messages wait to be received, at this moment.
    ///
    /// # Errors
    ///
    /// `Corrupted`.
    pub fn len(&self) -> Result<usize> {
        self.ring.len()
    }

    /// Whether no message waits, at this moment.
    ///
    /// # Errors
    ///
    /// `Corrupted`.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// How many messages there is room for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.ring.capacity()
    }

    /// How long a message can be, in bytes.
    #[must_use]
    pub fn max_message(&self) -> usize {
        self.ring.max_message()
    }

    /// A descriptor for the program's own event loop (`poll(2)`, epoll, asyncio, tokio): readable while there may be something to receive,
    /// that is a message, or that the queue was shut down.
    ///
    /// Once readable it stays so until an attempt to receive *through this handle* without waiting (or whose time passes) finds
    /// nothing. So, when it is readable, call [`Queue::try_recv`] until it gives [`Error::WouldBlock`], or at least once. The descriptor may
    /// be readable although nothing is there, when another receiver was faster.
    ///
    /// It belongs to the handle, and is closed with it: neither read from it nor write to it, nor close it. Each call gives the same one. The first
    /// one for any object starts a thread in this process, which blocks all signals and sleeps until there is something to tell.
    ///
    /// In a child of fork ask again: the child has a descriptor of its own then, and must not use the one that it inherited. It is closed on
    /// exec.
    ///
    /// # Errors
    ///
    /// `TooManyFiles`, `NoMemory` and other errors of the system; `Corrupted`.
    pub fn readiness_fd(&self) -> Result<BorrowedFd<'_>> {
        self.readiness.fd(&|| self.receiving_apart())
    }

    /// Lets a task that found nothing be woken once there may be something.
    #[cfg(feature = "async")]
    pub(crate) fn wake_when_ready(&self, task: &mut Option<crate::sync::watcher::Task>, waker: &std::task::Waker) -> Result<()> {
        self.readiness.wake(&|| self.receiving_apart(), task, waker)
    }

    /// Receiving, as something to wait for apart from this handle.
    fn receiving_apart(&self) -> Result<Box<dyn Source>> {
        Ok(Box::new(Receiving(Ring::new(self.ring.shared.clone())?)))
    }

    /// Receiving, as something to wait for.
    pub(crate) fn receiving(&self) -> impl Source {
        Receiving(&self.ring)
    }

    /// Sending, as something to wait for.
    pub(crate) fn sending(&self) -> impl Source {
        Sending(&self.ring)
    }

    /// The handles that are open on the queue, this one included, in processes that live.
    ///
    /// # Errors
    ///
    /// Errors of the system.
    pub fn peers(&self) -> Result<Vec<Peer>> {
        self.note(0)?;
        let living = self.ring.shared.peers.table.iter().filter(|entry| !entry.is_gone());
        let peer = |entry: &shm::layout::Peer| {
            let roles = entry.value.load(Relaxed);
            let pid = entry.identity()?.pid();
            Some(Peer { pid, since: entry.since(), sends: roles & SENDS != 0, receives: roles & RECEIVES != 0 })
        };
        Ok(living.filter_map(peer).collect())
    }

    /// Writes down, the first time, that this handle is used for this.
    #[inline]
    fn act_as(&self, role: u32) -> Result<()> {
        let entry = self.entry.load(Relaxed);
        if (entry >> 32) as u32 == forks() && entry as u32 & role != 0 { Ok(()) } else { self.note(role) }
    }

    #[cold]
    fn note(&self, role: u32) -> Result<()> {
        match self.join(role) {
            // Somebody was stopped while joining or leaving: it can be noted another time.
            Err(Error::WouldBlock) => Ok(()),
            result => result,
        }
    }

    /// Puts this handle on the table of peers, if it is not there, with `role` added to what it was used for.
    fn join(&self, role: u32) -> Result<()> {
        let peers = &self.ring.shared.peers;
        let (forks, entry) = (forks(), self.entry.load(Relaxed));
        let (of, index, roles) = ((entry >> 32) as u32, entry as u32 >> 2, entry as u32 & ROLES);
        let (index, roles) = if of == forks && index != 0 {
            // die here: the role is noted.
            peers.table[index as usize - 1].value.fetch_or(role, Relaxed);
            (index, roles | role)
        } else {
            let call = Call::enter(&peers.lock)?;
            lock::acquire_brief(&call, &peers.lock, Deadline::Now)?;
            // Another thread may have been faster.
            let joined = if self.entry.load(Relaxed) == entry { Some(peers.join(role, |_| ())) } else { None };
            if let Some(Ok(index)) = joined {
                self.set_entry(forks, index as u32 + 1, role);
            }
            lock::release(&call, &peers.lock);
            return joined.map_or_else(|| self.join(role), |joined| joined.map(drop));
        };
        self.set_entry(forks, index, roles);
        Ok(())
    }

    fn set_entry(&self, forks: u32, index: u32, roles: u32) {
        self.entry.store(u64::from(forks) << 32 | u64::from(index << 2 | roles), Relaxed);
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let entry = self.entry.load(Relaxed);
        let index = (entry as u32 >> 2).checked_sub(1);
        // A child of fork leaves its parent's entry alone.
        if let Some(index) = index.filter(|_| (entry >> 32) as u32 == forks()) {
            self.ring.shared.peers.table[index as usize].leave();
        }
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
