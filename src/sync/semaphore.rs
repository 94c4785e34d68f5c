//! Counting semaphores between processes, of two kinds.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::counters::Counters;
use crate::error::{Error, Result};
use crate::name::Name;
use crate::shm::layout::{Object, PERMITS, PermitsLayout, SemaphoreLayout};
use crate::shm::region::Region;
use crate::shm::{self, Shared};
use crate::sync::permits::Permits;
use crate::sync::signals::Signals;
use crate::sync::source::Source;
use crate::sync::watcher::Readiness;
use crate::sys::memory::Ordering::Relaxed;
use crate::sys::memory::obey_barriers;
use crate::time::Deadline;

/// The largest value of a semaphore.
pub const MAX_VALUE: u32 = i32::MAX as u32;

/// A counting semaphore that processes share.
///
/// There are two kinds, and which one is right depends on what the count stands for:
///
/// - **Signals** ([`Semaphore::create`]): any process may release, whether it has acquired or not, as with POSIX semaphores. It counts events
///   ("three jobs are waiting"). A process that dies takes the units that it acquired with it.
/// - **Permits** ([`Semaphore::create_permits`]): a fixed number of them; a process gives back what it acquired, and *what it holds when it
///   dies, or calls exec, comes back by itself*. It limits how many use something at a time. As with SEM_UNDO of `semop(2)`, permits belong to
///   the process, not to a thread: any of its threads may give them back, and a child of fork holds none of its
///   parent's. At most 120 processes can use one such semaphore at a time.
///
/// All methods may be called from any thread. Neither kind makes a system call unless it has to wait, or to wake somebody.
///
/// # When a process dies
///
/// Waiting processes are woken at once by the kernel if that concerns them: permits of the dead are free again within a
/// millisecond or so, at the latest 100 ms after the death.
///
/// ```
/// # fn main() -> rsipc::Result<()> {
/// # let namespace = rsipc::Namespace::at(std::env::temp_dir().join(format!("rsipc-doc-sem-{}", std::process::id())));
/// let slots = rsipc::Semaphore::create_permits(namespace.name("slots"), 2)?;
/// slots.acquire()?;
/// assert_eq!(slots.value()?, 1);
/// slots.release()?;
/// # namespace.unlink("slots")?;
/// # std::fs::remove_dir_all(namespace.dir()?).ok();
/// # Ok(())
/// # }
/// ```
pub struct Semaphore {
    flavour: Flavour,
    readiness: Readiness,
}

enum Flavour {
    Signals(Signals),
    Permits(Permits),
}

/// What a semaphore counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SemaphoreKind {
    /// Events: any process may release.
    Signals,
    /// Permits that come back when their holder dies.
    Permits,
}

impl Semaphore {
    /// How many bytes a signalling semaphore takes in a region, at an offset that is a multiple of 64.
    pub const SIZE: usize = size_of::<SemaphoreLayout>();
    /// How many bytes a semaphore of permits takes in a region, at an offset that is a multiple of 64.
    pub const PERMITS_SIZE: usize = size_of::<PermitsLayout>();

    /// Creates a signalling semaphore with the value `initial`.
    ///
    /// ```
    /// # fn main() -> rsipc::Result<()> {
    /// # let namespace = rsipc::Namespace::at(std::env::temp_dir().join(format!("rsipc-doc-signals-{}", std::process::id())));
    /// use rsipc::{Error, Semaphore};
    ///
    /// let events = Semaphore::create(namespace.name("events"), 0)?;
    /// events.release_many(2)?; // by any process, at any time
    /// events.acquire()?;
    /// events.acquire()?;
    /// assert_eq!(events.try_acquire(), Err(Error::WouldBlock));
    /// # std::fs::remove_dir_all(namespace.dir()?).ok();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `AlreadyExists`; `InvalidArgument` for an impossible name or a value above [`MAX_VALUE`]; `NoSpace`, `PermissionDenied` and other
    /// errors of the system.
    pub fn create<'a>(name: impl Into<Name<'a>>, initial: u32) -> Result<Self> {
        check_value(initial)?;
        create(&name.into(), signals(initial)).map(Self::signals)
    }

    /// Creates a semaphore of `total` permits. Errors as [`Semaphore::create`].
    ///
    /// # Errors
    ///
    /// As [`Semaphore::create`].
    pub fn create_permits<'a>(name: impl Into<Name<'a>>, total: u32) -> Result<Self> {
        check_value(total)?;
        create(&name.into(), permits(total)).and_then(Self::permits)
    }

    /// Opens a semaphore of either kind.
    ///
    /// # Errors
    ///
    /// `NotFound`; `WrongKind` where the name is that of something else; `WrongVersion`, `Corrupted`, `PermissionDenied` and other
    /// errors of the system.
    pub fn open<'a>(name: impl Into<Name<'a>>) -> Result<Self> {
        let name = name.into();
        if shm::tag_of(&name)?.flavour == PERMITS {
            shm::open(&name).and_then(|(shared, _)| Self::permits(shared))
        } else {
            shm::open(&name).map(|(shared, _)| Self::signals(shared))
        }
    }

    /// Opens a signalling semaphore, or creates it with the value `initial`. Processes that do so at the same time get the same one.
    ///
    /// # Errors
    ///
    /// As [`Semaphore::create`] and [`Semaphore::open`], less `AlreadyExists` and `NotFound`.
    pub fn open_or_create<'a>(name: impl Into<Name<'a>>, initial: u32) -> Result<Self> {
        check_value(initial)?;
        let name = name.into();
        shm::open_or_create(|| shm::open(&name).map(|(shared, _)| shared), || create(&name, signals(initial))).map(Self::signals)
    }

    /// Opens a semaphore of permits, or creates it with `total` of them. Processes that do so at the same time get the same one.
    ///
    /// # Errors
    ///
    /// As [`Semaphore::create`] and [`Semaphore::open`], less `AlreadyExists` and `NotFound`.
    pub fn open_or_create_permits<'a>(name: impl Into<Name<'a>>, total: u32) -> Result<Self> {
        check_value(total)?;
        let name = name.into();
        shm::open_or_create(|| shm::open(&name).map(|(shared, _)| shared), || create(&name, permits(total)))
            .and_then(Self::permits)
    }

    /// Creates a signalling semaphore at `offset` of a region, in [`Semaphore::SIZE`] bytes that are zero.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` where there is an object; `InvalidArgument` where the memory is in use, too short, or the offset not a multiple
    /// of 64.
    ///
    /// # Safety
    ///
    /// These bytes of the region are left to the semaphore: nothing else is written or placed there.
    pub unsafe fn create_in(region: &Region, offset: usize, initial: u32) -> Result<Self> {
        check_value(initial)?;
        let shared = region.place(offset)?;
        shm::create_in(&shared, signals(initial))?;
        Ok(Self::signals(shared))
    }

    /// Creates a semaphore of `total` permits at `offset` of a region, in [`Semaphore::PERMITS_SIZE`] bytes that are zero.
    ///
    /// # Errors
    ///
    /// As [`Semaphore::create_in`].
    ///
    /// # Safety
    ///
    /// These bytes of the region are left to the semaphore: nothing else is written or placed there.
    pub unsafe fn create_permits_in(region: &Region, offset: usize, total: u32) -> Result<Self> {
        check_value(total)?;
        let shared = region.place(offset)?;
        shm::create_in(&shared, permits(total))?;
        Self::permits(shared)
    }

    /// Opens a semaphore of either kind at `offset` of a region.
    ///
    /// # Errors
    ///
    /// `NotFound` where nothing was created there; otherwise as [`Semaphore::open`].
    ///
    /// # Safety
    ///
    /// These bytes of the region are left to the semaphore: nothing else is written or placed there.
    pub unsafe fn open_in(region: &Region, offset: usize) -> Result<Self> {
        let shared = region.place::<SemaphoreLayout>(offset)?;
        match shm::open_in(&shared) {
            Ok(()) => Ok(Self::signals(shared)),
            Err(Error::WrongKind { .. }) => {
                let shared = region.place::<PermitsLayout>(offset)?;
                shm::open_in(&shared)?;
                Self::permits(shared)
            }
            Err(e) => Err(e),
        }
    }

    fn signals(shared: Shared<SemaphoreLayout>) -> Self {
        Self { flavour: Flavour::Signals(Signals::new(shared)), readiness: Readiness::new() }
    }

    fn permits(shared: Shared<PermitsLayout>) -> Result<Self> {
        // Their holders are known by their process ids.
        shm::check_home(&shared.header)?;
        obey_barriers();
        Ok(Self { flavour: Flavour::Permits(Permits::new(shared)), readiness: Readiness::new() })
    }

    /// Takes a unit, and waits for one if need be.
    ///
    /// # Errors
    ///
    /// `Interrupted` by a signal handler (nothing was taken); for permits `LimitReached` where 120 other processes use the semaphore.
    #[inline]
    pub fn acquire(&self) -> Result<()> {
        self.acquire_until(Deadline::Never)
    }

    /// Takes a unit if there is one.
    ///
    /// # Errors
    ///
    /// `WouldBlock` where there is none; otherwise as [`Semaphore::acquire`].
    #[inline]
    pub fn try_acquire(&self) -> Result<()> {
        self.acquire_until(Deadline::Now)
    }

    /// Takes a unit, and waits no longer than `timeout` for one (monotonic clock). A timeout of zero is not to wait.
    ///
    /// # Errors
    ///
    /// `TimedOut`; `WouldBlock` for a timeout of zero; otherwise as [`Semaphore::acquire`].
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<()> {
        self.acquire_until(Deadline::after(timeout))
    }

    #[inline]
    fn acquire_until(&self, deadline: Deadline) -> Result<()> {
        let result = match &self.flavour {
            Flavour::Signals(signals) => signals.acquire(deadline),
            Flavour::Permits(permits) => permits.acquire(deadline),
        };
        if let Err(e) = &result {
            self.readiness.after(e);
        }
        result
    }

    /// Gives one unit, and wakes who waits for it.
    ///
    /// # Errors
    ///
    /// `LimitReached` where the value would exceed [`MAX_VALUE`]; for permits `NotOwner` where this process holds none.
    #[inline]
    pub fn release(&self) -> Result<()> {
        self.release_many(1)
    }

    /// Gives `count` units at once.
    ///
    /// # Errors
    ///
    /// As [`Semaphore::release`]; nothing is given then.
    #[inline]
    pub fn release_many(&self, count: u32) -> Result<()> {
        self.release_until(count, Deadline::Never)
    }

    /// Gives `count` units at once, and waits no longer than `timeout` for that. Only giving back permits can wait, and only while another
    /// process counts its own, which takes a few instructions unless it is stopped there (SIGSTOP). A timeout of zero is 10 ms.
    ///
    /// # Errors
    ///
    /// `TimedOut`; `WouldBlock` for a timeout of zero; `Interrupted` by a signal handler; otherwise as [`Semaphore::release`]. Nothing is
    /// given then.
    pub fn release_timeout(&self, count: u32, timeout: Duration) -> Result<()> {
        self.release_until(count, Deadline::after(timeout))
    }

    #[inline]
    fn release_until(&self, count: u32, deadline: Deadline) -> Result<()> {
        match &self.flavour {
            Flavour::Signals(signals) => signals.release(count),
            Flavour::Permits(permits) => permits.release(count, deadline),
        }
    }

    /// How many units there are to be acquired, at this moment.
    ///
    /// # Errors
    ///
    /// For permits what the system may say: those of the dead are taken back first.
    pub fn value(&self) -> Result<u32> {
        match &self.flavour {
            Flavour::Signals(signals) => {
                let value = signals.shared.value.load(Relaxed);
                signals.shared.checked(Ok(value))
            }
            Flavour::Permits(permits) => permits.free(),
        }
    }

    /// How often somebody waited for it since it was created, in all processes, and what was put right of the dead.
    ///
    /// # Errors
    ///
    /// `Corrupted` where its file was cut short ([`catch_truncation`](crate::catch_truncation)).
    pub fn counters(&self) -> Result<Counters> {
        match &self.flavour {
            Flavour::Signals(signals) => signals.shared.checked(Ok(Counters::of(&signals.shared.counts))),
            Flavour::Permits(permits) => permits.shared.checked(Ok(Counters::of(&permits.shared.counts))),
        }
    }

    /// A descriptor for the program's own event loop (`poll(2)`, epoll, asyncio, tokio): readable while there may be a unit to acquire.
    ///
    /// Once readable it stays so until an attempt to acquire *through this handle* without waiting (or whose time passes) finds
    /// nothing. So, when it is readable, call [`Semaphore::try_acquire`]. The descriptor may be readable although nothing is there, when
    /// another one was faster.
    ///
    /// It belongs to the handle, and is closed with it: neither read from it nor write to it, nor close it. Each call gives the
    /// same one. The first one for any object starts a thread in this process, which blocks all signals and sleeps until there is
    /// something to tell.
    ///
    /// In a child of fork ask again: the child has a descriptor of its own then, and must not use the one that it inherited. It
    /// is closed on exec.
    ///
    /// # Errors
    ///
    /// `TooManyFiles`, `NoMemory` and other errors of the system; `Corrupted`.
    pub fn readiness_fd(&self) -> Result<BorrowedFd<'_>> {
        self.readiness.fd(&|| {
            Ok(match &self.flavour {
                Flavour::Signals(signals) => Box::new(Signals::new(signals.shared.clone())),
                Flavour::Permits(permits) => Box::new(Permits::new(permits.shared.clone())),
            })
        })
    }

    /// Acquiring, as something to wait for.
    pub(crate) fn acquiring(&self) -> &dyn Source {
        match &self.flavour {
            Flavour::Signals(signals) => signals,
            Flavour::Permits(permits) => permits,
        }
    }

    /// Which kind it is.
    #[must_use]
    pub fn kind(&self) -> SemaphoreKind {
        match &self.flavour {
            Flavour::Signals(_) => SemaphoreKind::Signals,
            Flavour::Permits(_) => SemaphoreKind::Permits,
        }
    }
}

fn create<T: Object>(name: &Name<'_>, fill: impl FnOnce(&T)) -> Result<Shared<T>> {
    shm::create(name, size_of::<T>(), size_of::<T>(), fill).map(|(shared, _)| shared)
}

fn signals(initial: u32) -> impl Fn(&SemaphoreLayout) {
    move |layout| layout.value.store(initial, Relaxed)
}

fn permits(total: u32) -> impl Fn(&PermitsLayout) {
    move |layout| {
        layout.total.store(total, Relaxed);
        layout.free.store(total, Relaxed);
        layout.quiet.begin();
    }
}

fn check_value(value: u32) -> Result<()> {
    if value > MAX_VALUE {
        return Err(Error::invalid(format!("a semaphore's value is at most {MAX_VALUE}, not {value}")));
    }
    Ok(())
}

impl std::fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Semaphore").field("kind", &self.kind()).finish_non_exhaustive()
    }
}
