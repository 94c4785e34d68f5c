//! Semaphores.

use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};
use rsipc::SemaphoreKind;

use crate::args;
use crate::counters::counters;
use crate::errors::Doing;
use crate::handle::Handle;
use crate::region::Region;
use crate::short::short;
use crate::tasks::in_task;
use crate::wait::{call, wait};

/// A counting semaphore that processes share.
///
/// There are two kinds, and which one is right depends on what the count stands for:
///
/// Signals (Semaphore.create): any process may release, whether it has acquired or not, as with POSIX semaphores. It counts events ("three
/// jobs are waiting"). A process that dies takes the units that it acquired with it.
///
/// Permits (Semaphore.create_permits): a fixed number of them; a process gives back what it acquired, and what it holds when it
/// dies, or calls exec, comes back by itself: within a millisecond or so, at the latest 100 ms after the death. It limits how
/// many use something at a time. Permits belong to the process, not to a thread: any of its threads may give them back, and a
/// child of fork holds none of its parent's. At most 120 processes can use one such semaphore at a time.
///
/// `with semaphore:` acquires a unit and releases it at the end. All methods may be called from any thread. A handle may be used in a child
/// of fork; one with a name, or in a region with a name, can be pickled, which opens the semaphore again.
#[pyclass(frozen, module = "rsipc")]
pub(crate) struct Semaphore {
    pub(crate) handle: Handle<rsipc::Semaphore>,
}

impl From<Handle<rsipc::Semaphore>> for Semaphore {
    fn from(handle: Handle<rsipc::Semaphore>) -> Self {
        Self { handle }
    }
}

#[pymethods]
impl Semaphore {
    /// How many bytes a signalling semaphore takes in a region, at an offset that is a multiple of 64.
    #[classattr]
    const SIZE: usize = rsipc::Semaphore::SIZE;

    /// How many bytes a semaphore of permits takes in a region, at an offset that is a multiple of 64.
    #[classattr]
    const PERMITS_SIZE: usize = rsipc::Semaphore::PERMITS_SIZE;

    /// Creates a signalling semaphore that begins with `value`. `mode` has the permission bits: 0o600 for this user alone, 0o660 for a
    /// group.
    ///
    /// Raises AlreadyExists; InvalidArgument for an impossible name or mode, or a value above 2147483647; NoSpace, PermissionDenied and
    /// other errors of the system.
    #[staticmethod]
    #[pyo3(signature = (name, value, *, dir=None, mode=0o600))]
    fn create(
        py: Python<'_>,
        #[pyo3(from_py_with = args::name)] name: String,
        #[pyo3(from_py_with = args::count)] value: u32,
        #[pyo3(from_py_with = args::dir)] dir: Option<PathBuf>,
        #[pyo3(from_py_with = args::count)] mode: u32,
    ) -> PyResult<Self> {
        named(py, (name, dir, mode), |name| rsipc::Semaphore::create(name, value))
    }

    /// Creates a semaphore of `permits` permits.
    ///
    /// Raises what create raises.
    #[staticmethod]
    #[pyo3(signature = (name, permits, *, dir=None, mode=0o600))]
    fn create_permits(
        py: Python<'_>,
        #[pyo3(from_py_with = args::name)] name: String,
        #[pyo3(from_py_with = args::count)] permits: u32,
        #[pyo3(from_py_with = args::dir)] dir: Option<PathBuf>,
        #[pyo3(from_py_with = args::count)] mode: u32,
    ) -> PyResult<Self> {
        named(py, (name, dir, mode), |name| rsipc::Semaphore::create_permits(name, permits))
    }

    /// Opens a semaphore of either kind.
    ///
    /// Raises NotFound; WrongKind, WrongVersion, Corrupted; PermissionDenied and other errors of the system.
    #[staticmethod]
    #[pyo3(signature = (name, *, dir=None))]
    fn open(
        py: Python<'_>,
        #[pyo3(from_py_with = args::name)] name: String,
        #[pyo3(from_py_with = args::dir)] dir: Option<PathBuf>,
    ) -> PyResult<Self> {
        named(py, (name, dir, 0o600), |name| rsipc::Semaphore::open(name))
    }

    /// Opens a signalling semaphore, or creates it with `value`. Processes that do so at the same time get the same one.
    ///
    /// Raises what create and open raise, but for AlreadyExists and NotFound.
    #[staticmethod]
    #[pyo3(signature = (name, value, *, dir=None, mode=0o600))]
    fn open_or_create(
        py: Python<'_>,
        #[pyo3(from_py_with = args::name)] name: String,
        #[pyo3(from_py_with = args::count)] value: u32,
        #[pyo3(from_py_with = args::dir)] dir: Option<PathBuf>,
        #[pyo3(from_py_with = args::count)] mode: u32,
    ) -> PyResult<Self> {
        named(py, (name, dir, mode), |name| rsipc::Semaphore::open_or_create(name, value))
    }

    /// Opens a semaphore of permits, or creates it with `permits` of them. Processes that do so at the same time get the same one.
    ///
    /// Raises what create_permits and open raise, but for AlreadyExists and NotFound.
    #[staticmethod]
    #[pyo3(signature = (name, permits, *, dir=None, mode=0o600))]
    fn open_or_create_permits(
        py: Python<'_>,
        #[pyo3(from_py_with = args::name)] name: String,
        #[pyo3(from_py_with = args::count)] permits: u32,
        #[pyo3(from_py_with = args::dir)] dir: Option<PathBuf>,
        #[pyo3(from_py_with = args::count)] mode: u32,
    ) -> PyResult<Self> {
        named(py, (name, dir, mode), |name| rsipc::Semaphore::open_or_create_permits(name, permits))
    }

    /// Creates a signalling semaphore at `offset` of a region, in Semaphore.SIZE bytes that are zero.
    ///
    /// Raises AlreadyExists where there is an object; InvalidArgument where the memory is in use, too short, or wrongly aligned.
    #[staticmethod]
    #[pyo3(signature = (region, offset, value))]
    fn create_in(
        region: &Bound<'_, Region>,
        #[pyo3(from_py_with = args::size)] offset: usize,
        #[pyo3(from_py_with = args::count)] value: u32,
    ) -> PyResult<Self> {
        placed(region, offset, |region| {
            // SAFETY: the documentation tells Python programs to leave these bytes to the object.
            unsafe { rsipc::Semaphore::create_in(region, offset, value) }
        })
    }

    /// Creates a semaphore of `permits` permits at `offset` of a region, in Semaphore.PERMITS_SIZE bytes that are zero.
    ///
    /// Raises what create_in raises.
    #[staticmethod]
    #[pyo3(signature = (region, offset, permits))]
    fn create_permits_in(
        region: &Bound<'_, Region>,
        #[pyo3(from_py_with = args::size)] offset: usize,
        #[pyo3(from_py_with = args::count)] permits: u32,
    ) -> PyResult<Self> {
        placed(region, offset, |region| {
            // SAFETY: the documentation tells Python programs to leave these bytes to the object.
            unsafe { rsipc::Semaphore::create_permits_in(region, offset, permits) }
        })
    }

    /// Opens a semaphore of either kind at `offset` of a region.
    ///
    /// Raises NotFound where nothing was created there; otherwise what open raises.
    #[staticmethod]
    #[pyo3(signature = (region, offset))]
    fn open_in(region: &Bound<'_, Region>, #[pyo3(from_py_with = args::size)] offset: usize) -> PyResult<Self> {
        placed(region, offset, |region| {
            // SAFETY: the documentation tells Python programs to leave these bytes to the object.
            unsafe { rsipc::Semaphore::open_in(region, offset) }
        })
    }

    /// Takes a unit, and waits for one `timeout` seconds: None is for ever, 0 not at all.
    ///
    /// Raises WouldBlock where there is none and `timeout` is 0; Timeout; for permits LimitReached where 120 other processes use the
    /// semaphore. Nothing is taken then.
    #[pyo3(signature = (timeout=None))]
    fn acquire(&self, py: Python<'_>, #[pyo3(from_py_with = args::timeout)] timeout: Option<Duration>) -> PyResult<()> {
        let semaphore = self.handle.get(py)?;
        wait(py, timeout, Doing::Other, |time| semaphore.acquire_timeout(time))
    }

    /// Takes a unit in a task of asyncio: `await semaphore.acquire_async()`. A task that is cancelled while it waits has taken nothing. Of
    /// one handle, use either this or fileno() in an event loop of your own.
    ///
    /// Raises what acquire raises, and errors of the system.
    fn acquire_async<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        in_task(py, "acquire", (Self::from(self.handle.again(py)?),))
    }

    /// A descriptor that is readable while there may be a unit, for select, selectors, or an event loop.
    ///
    /// Once readable it stays so until an attempt to acquire through this handle without waiting finds nothing: when it is
    /// readable, call acquire(0), which raises WouldBlock where another one was faster. It belongs to the handle, and is closed
    /// with it: neither read from it nor close it. The first one for any object starts a thread in this process, which sleeps
    /// until there is something to tell. In a child of fork ask again.
    ///
    /// Raises TooManyFiles, NoMemory and other errors of the system.
    fn fileno(&self, py: Python<'_>) -> PyResult<i32> {
        let semaphore = self.handle.get(py)?;
        call(py, || semaphore.readiness_fd().map(|fd| fd.as_raw_fd()))
    }

    /// Gives `n` units at once, and wakes who waits for them.
    ///
    /// Raises LimitReached where the value would exceed 2147483647; for permits NotOwner where this process holds fewer. Nothing is
    /// given then.
    #[pyo3(signature = (n=1))]
    fn release(&self, py: Python<'_>, #[pyo3(from_py_with = args::count)] n: u32) -> PyResult<()> {
        let semaphore = self.handle.get(py)?;
        wait(py, None, Doing::Other, |time| semaphore.release_timeout(n, time))
    }

    /// How many units there are to be acquired, at this moment.
    #[getter]
    fn value(&self, py: Python<'_>) -> PyResult<u32> {
        let semaphore = self.handle.get(py)?;
        call(py, || semaphore.value())
    }

    /// How often somebody waited for it since it was created, in all processes, and what was put right of the dead.
    fn counters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let semaphore = self.handle.get(py)?;
        counters(py, || semaphore.counters())
    }

    /// Which kind it is: "signals" or "permits".
    #[getter]
    fn kind(&self, py: Python<'_>) -> PyResult<&'static str> {
        Ok(match self.handle.get(py)?.kind() {
            SemaphoreKind::Signals => "signals",
            SemaphoreKind::Permits => "permits",
        })
    }

    /// Its name, or None if it is placed in a region.
    #[getter]
    fn name(&self) -> Option<&str> {
        self.handle.name()
    }

    /// Closes this handle. Permits that this process holds stay its own. Closing again does nothing.
    fn close(&self, py: Python<'_>) {
        self.handle.close(py);
    }

    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        slf.get().acquire(slf.py(), None)?;
        Ok(slf)
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.release(py, 1)
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        self.handle.reduce(&PyType::new::<Self>(py))
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        self.handle.repr(py)
    }
}

impl Semaphore {
    /// Takes a unit if there is one.
    #[inline]
    fn acquire_at_once(&self, py: Python<'_>) -> bool {
        self.handle.open(py).is_some_and(|semaphore| semaphore.try_acquire().is_ok())
    }

    /// Gives a unit.
    #[inline]
    fn release_at_once(&self, py: Python<'_>) -> bool {
        self.handle.open(py).is_some_and(|semaphore| semaphore.release_timeout(1, Duration::ZERO).is_ok())
    }
}

/// Most often there is a unit to be acquired.
pub(crate) fn shorten(py: Python<'_>) -> PyResult<()> {
    short!(py, Semaphore.acquire as Keywords => Semaphore::acquire_at_once)?;
    short!(py, Semaphore.release as Keywords => Semaphore::release_at_once)?;
    short!(py, Semaphore.__enter__ as NoArguments => Semaphore::acquire_at_once { const RETURNS_ITSELF: bool = true; })?;
    short!(py, Semaphore.__exit__ as Keywords => Semaphore::release_at_once { const ARGUMENTS: isize = 3; })
}

fn named(
    py: Python<'_>,
    place: (String, Option<PathBuf>, u32),
    make: impl Fn(rsipc::Name<'_>) -> rsipc::Result<rsipc::Semaphore> + Sync,
) -> PyResult<Semaphore> {
    Handle::named(py, "semaphore", place, make).map(Semaphore::from)
}

fn placed(
    region: &Bound<'_, Region>,
    offset: usize,
    make: impl Fn(&rsipc::Region) -> rsipc::Result<rsipc::Semaphore> + Sync,
) -> PyResult<Semaphore> {
    Handle::placed("semaphore", region, offset, make).map(Semaphore::from)
}
