//! Waiting until one of several queues, endpoints and semaphores is ready. `sync::source` is the mechanism.

#[cfg(feature = "async")]
pub(crate) mod tasks;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use crate::direct::Endpoint;
use crate::error::{Error, Result};
use crate::queue::Queue;
use crate::sync::lock::LOOK;
use crate::sync::semaphore::Semaphore;
use crate::sync::source::{Sleeper, Source};
use crate::sync::spin::Spin;
use crate::sys::futex::{MOST_WORDS, Slept};
use crate::sys::thread::Call;
use crate::time::Deadline;

/// The most things that one [`WaitSet`] can wait for.
pub const MAX_WAIT: usize = MOST_WORDS;

/// Several things to wait for at once: messages, room for them, units or permits of semaphores.
///
/// Each is known by its index, in the order in which they were added: 0 is the first. A wait says which are *ready*: an attempt would not
/// have to wait at that moment. Nothing is received, sent or acquired by it. So attempt it without waiting (`try_recv`), and
/// wait again where that gives [`Error::WouldBlock`]: another thread or process may have been faster. A queue that was shut down is ready,
/// for receiving and for sending, and so is an object that is corrupted: the attempt says so.
///
/// The set borrows the handles. All methods may be called from any thread, and by several at the same time; any number of sets, threads and
/// processes may wait for the same object, beside those that wait for it alone. While one does so, each message wakes
/// all who wait for that queue, and not only one of them.
///
/// # When a process dies
///
/// One that waits takes nothing with it when it is killed, and strands nobody. Permits of the dead are ready as soon as for
/// [`Semaphore::acquire`]; where more than 128 words would have to be watched for that (each holder of permits has one), within 100 ms.
///
/// Waiting stands on `futex_waitv(2)` (Linux 5.16). Where there is none, or a sandbox forbids it, a wait looks every 5 ms.
///
/// ```
/// # fn main() -> rsipc::Result<()> {
/// # let namespace = rsipc::Namespace::at(std::env::temp_dir().join(format!("rsipc-doc-wait-{}", std::process::id())));
/// let jobs = rsipc::Queue::create(namespace.name("jobs"), &rsipc::QueueOptions::new())?;
/// let stop = rsipc::Semaphore::create(namespace.name("stop"), 0)?;
/// let set = rsipc::WaitSet::new().recv(&jobs).acquire(&stop);
/// assert_eq!(set.try_wait(), Err(rsipc::Error::WouldBlock));
/// jobs.send(b"first")?;
/// assert_eq!(set.wait()?, [0]);
/// assert_eq!(jobs.try_recv()?, b"first");
/// # namespace.unlink("jobs")?;
/// # namespace.unlink("stop")?;
/// # std::fs::remove_dir_all(namespace.dir()?).ok();
/// # Ok(())
/// # }
/// ```
pub struct WaitSet<'a> {
    sources: Vec<Box<dyn Source + 'a>>,
    /// Which one the next look begins with.
    next: AtomicUsize,
    spin: Spin,
}

impl<'a> WaitSet<'a> {
    /// An empty set.
    #[must_use]
    pub fn new() -> Self {
        Self { sources: Vec::new(), next: AtomicUsize::new(0), spin: Spin::new() }
    }

    /// Adds receiving from a queue: ready once there is a message, or the queue was shut down.
    #[must_use]
    pub fn recv(self, queue: &'a Queue) -> Self {
        self.with(queue.receiving())
    }

    /// Adds receiving from an endpoint: ready once there is a message.
    #[must_use]
    pub fn endpoint(self, endpoint: &'a Endpoint) -> Self {
        self.with(endpoint.inbox().receiving())
    }

    /// Adds sending to a queue: ready once there is room for a message, or the queue was shut down. A rendezvous is ready while a receiver
    /// waits; a set that waits to receive from the same rendezvous is one itself, so do not add both.
    #[must_use]
    pub fn send(self, queue: &'a Queue) -> Self {
        self.with(queue.sending())
    }

    /// Adds acquiring a unit or permit of a semaphore: ready once there is one.
    #[must_use]
    pub fn acquire(self, semaphore: &'a Semaphore) -> Self {
        self.with(semaphore.acquiring())
    }

    fn with(mut self, source: impl Source + 'a) -> Self {
        self.sources.push(Box::new(source));
        self
    }

    /// How many things it waits for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sources.len()
    }

    /// Whether it waits for nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Waits until something is ready, as long as need be. Gives the indices of all that are, at least one; which of them comes
    /// first takes turns, so who acts on the first only starves nobody.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for an empty set; `LimitReached` for one of more than [`MAX_WAIT`]; `Interrupted` by a signal handler.
    pub fn wait(&self) -> Result<Vec<usize>> {
        self.wait_until(Deadline::Never)
    }

    /// Says what is ready, without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` where nothing is; otherwise as [`WaitSet::wait`].
    pub fn try_wait(&self) -> Result<Vec<usize>> {
        self.wait_until(Deadline::Now)
    }

    /// Waits until something is ready, and no longer than `timeout` (monotonic clock). A timeout of zero is not to wait.
    ///
    /// # Errors
    ///
    /// `TimedOut`; `WouldBlock` for a timeout of zero; otherwise as [`WaitSet::wait`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Vec<usize>> {
        self.wait_until(Deadline::after(timeout))
    }

    fn wait_until(&self, deadline: Deadline) -> Result<Vec<usize>> {
        let count = self.sources.len();
        if count == 0 {
            return Err(Error::invalid("the set is empty: add what it should wait for first"));
        }
        if count > MAX_WAIT {
            return Err(Error::LimitReached(format!("a set waits for at most {MAX_WAIT} things, not {count}")));
        }
        // What keeps this thread from using the objects keeps it from waiting for them.
        drop(Call::enter_nowhere()?);
        let sources: Vec<&dyn Source> = self.sources.iter().map(|source| &**source).collect();
        let mut sleeper = Sleeper::new();
        let mut spun = false;
        loop {
            let ready = self.look(sleeper.closely());
            if let Some(first) = ready.first() {
                self.next.store(first + 1, Relaxed);
                return Ok(ready);
            }
            let left = deadline.left(LOOK)?;
            if !spun {
                spun = true;
                self.spin.until(left, || sources.iter().any(|source| source.ready(false)));
            } else if sleeper.sleep(&sources, None, left)? == Slept::Interrupted {
                return Err(Error::Interrupted);
            }
        }
    }

    /// The indices of those that are ready.
    fn look(&self, closely: bool) -> Vec<usize> {
        let (count, start) = (self.sources.len(), self.next.load(Relaxed));
        (0..count).map(|i| (start + i) % count).filter(|&i| self.sources[i].ready(closely)).collect()
    }
}

impl Default for WaitSet<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for WaitSet<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WaitSet").field("len", &self.len()).finish_non_exhaustive()
    }
}
