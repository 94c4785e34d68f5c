//! Mutexes. Those of Python guard nothing of their own (`rsipc::Mutex<()>`): the data lies elsewhere, in a region for example.

use std::mem::forget;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

use crate::args;
use crate::counters::counters;
use crate::errors::{Doing, exception, invalid, owner_died};
use crate::handle::Handle;
use crate::held::fence_if_free_threaded;
use crate::region::Region;
use crate::short::short;
use crate::wait::wait;

/// A mutex that processes share, and that survives the death of its holder.
///
/// Made with Mutex.create, Mutex.open or Mutex.open_or_create, or placed in a region with Mutex.create_in and Mutex.open_in.
/// `with mutex:` locks it. It belongs to the thread that locks it, which alone can unlock it.
///
/// If that thread ends in whatever way while it holds the mutex (its process was killed, say), what it guards may be half changed. From
/// then on acquire() and `with mutex:` raise OwnerDied, and do not hold the mutex, until somebody has repaired the data:
///
///     with mutex.recover() as owner_died:
///         if owner_died:
///             ...  # repair what the dead owner may have left half done
///
/// The end of that block marks the data as consistent again. Where it cannot be repaired, mutex.give_up() in the block makes every
/// later call raise NotRecoverable.
///
/// All methods may be called from any thread. A handle may be used in a child of fork, which holds none of its parent's locks. One with
/// a name, or in a region with a name, can be pickled, which opens the mutex again. Mutexes are for processes that trust each
/// other: one that writes over the mutex's memory can crash those who use it.
#[pyclass(frozen, module = "rsipc")]
pub(crate) struct Mutex {
    pub(crate) handle: Handle<rsipc::Mutex>,
    /// Set for good once the handle is closed, and while it is being found out whether it can be.
    closing: AtomicBool,
}

#[pymethods]
impl Mutex {
    /// How many bytes it takes in a region, at an offset that is a multiple of 8.
    #[classattr]
    const SIZE: usize = rsipc::Mutex::<()>::SIZE;

    /// Creates a mutex. `mode` has the permission bits: 0o600 for this user alone, 0o660 for a group.
    ///
    /// Raises AlreadyExists; InvalidArgument for an impossible name or mode; NoSpace, PermissionDenied and other errors of the system.
    #[staticmethod]
    #[pyo3(signature = (name, *, dir=None, mode=0o600))]
    fn create(
        py: Python<'_>,
        #[pyo3(from_py_with = args::name)] name: String,
        #[pyo3(from_py_with = args::dir)] dir: Option<PathBuf>,
        #[pyo3(from_py_with = args::count)] mode: u32,
    ) -> PyResult<Self> {
        let handle = Handle::named(py, "mutex", (name, dir, mode), |name| rsipc::Mutex::create(name, ()))?;
        Ok(Self { handle, closing: AtomicBool::new(false) })
    }

    /// Opens a mutex.
    ///
    /// Raises NotFound; WrongKind, WrongVersion, Corrupted; PermissionDenied and other errors of the system.
    #[staticmethod]
    #[pyo3(signature = (name, *, dir=None))]
    fn open(
        py: Python<'_>,
        #[pyo3(from_py_with = args::name)] name: String,
        #[pyo3(from_py_with = args::dir)] dir: Option<PathBuf>,
    ) -> PyResult<Self> {
        let handle = Handle::named(py, "mutex", (name, dir, 0o600), |name| rsipc::Mutex::open(name))?;
        Ok(Self { handle, closing: AtomicBool::new(false) })
    }

    /// Opens a mutex, or creates it. Processes that do so at the same time get the same one.
    ///
    /// Raises what create and open raise, but for AlreadyExists and NotFound.
    #[staticmethod]
    #[pyo3(signature = (name, *, dir=None, mode=0o600))]
    fn open_or_create(
        py: Python<'_>,
        #[pyo3(from_py_with = args::name)] name: String,
        #[pyo3(from_py_with = args::dir)] dir: Option<PathBuf>,
        #[pyo3(from_py_with = args::count)] mode: u32,
    ) -> PyResult<Self> {
        let handle = Handle::named(py, "mutex", (name, dir, mode), |name| rsipc::Mutex::open_or_create(name, ()))?;
        Ok(Self { handle, closing: AtomicBool::new(false) })
    }

    /// Creates a mutex at `offset` of a region, in Mutex.SIZE bytes that are zero.
    ///
    /// Raises AlreadyExists where there is an object; InvalidArgument where the memory is in use, too short, or wrongly aligned.
    #[staticmethod]
    #[pyo3(signature = (region, offset))]
    fn create_in(region: &Bound<'_, Region>, #[pyo3(from_py_with = args::size)] offset: usize) -> PyResult<Self> {
        let handle = Handle::placed("mutex", region, offset, |region| {
            // SAFETY: the documentation tells Python programs to leave these bytes to the object.
            unsafe { rsipc::Mutex::create_in(region, offset, ()) }
        })?;
        Ok(Self { handle, closing: AtomicBool::new(false) })
    }

    /// Opens a mutex at `offset` of a region.
    ///
    /// Raises NotFound where nothing was created there; otherwise what open raises.
    #[staticmethod]
    #[pyo3(signature = (region, offset))]
    fn open_in(region: &Bound<'_, Region>, #[pyo3(from_py_with = args::size)] offset: usize) -> PyResult<Self> {
        let handle = Handle::placed("mutex", region, offset, |region| {
            // SAFETY: the documentation tells Python programs to leave these bytes to the object.
            unsafe { rsipc::Mutex::open_in(region, offset) }
        })?;
        Ok(Self { handle, closing: AtomicBool::new(false) })
    }

    /// Locks it, and waits for it `timeout` seconds: None is for ever, 0 not at all.
    ///
    /// Raises OwnerDied where an owner died and nobody has repaired the data since: the mutex is not held then. NotRecoverable where it
    /// was given up; Deadlock where this thread holds it already; WouldBlock where somebody holds it and `timeout` is 0; Timeout.
    #[pyo3(signature = (timeout=None))]
    fn acquire(&self, py: Python<'_>, #[pyo3(from_py_with = args::timeout)] timeout: Option<Duration>) -> PyResult<()> {
        if self.lock(py, timeout, Dead::Refuse)? { Err(owner_died(py)) } else { Ok(()) }
    }

    /// Unlocks it.
    ///
    /// Raises NotOwner where this thread does not hold it through this handle.
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        let mutex = self.handle.get(py)?;
        unlock(&mutex).map_err(|e| exception(py, &e, Doing::Other))
    }

    /// A context manager that locks it also after an owner's death, waiting for it `timeout` seconds, and says whether there was one:
    /// `with mutex.recover() as owner_died:`. At the end of the block the data counts as consistent again, and the mutex is unlocked. If
    /// the block raises, the mutex is unlocked, and others are still told of the death.
    ///
    /// Entering it raises what acquire raises, but for OwnerDied.
    #[pyo3(signature = (timeout=None))]
    fn recover(slf: &Bound<'_, Self>, #[pyo3(from_py_with = args::timeout)] timeout: Option<Duration>) -> Recovery {
        Recovery { mutex: slf.clone().unbind(), timeout }
    }

    /// Gives the mutex up, for who holds it and cannot repair the data: once it is unlocked, all who wait for it and all who come get
    /// NotRecoverable.
    ///
    /// Raises NotOwner where this thread does not hold it through this handle.
    fn give_up(&self, py: Python<'_>) -> PyResult<()> {
        self.handle.get(py)?.give_up().map_err(|e| exception(py, &e, Doing::Other))
    }

    /// Whether an owner died and nobody has repaired the data since, at this moment.
    #[getter]
    fn is_inconsistent(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.handle.get(py)?.is_inconsistent())
    }

    /// How often somebody waited for it since it was created, in all processes, and how often its owner died.
    fn counters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let mutex = self.handle.get(py)?;
        counters(py, || mutex.counters())
    }

    /// Its name, or None if it is placed in a region.
    #[getter]
    fn name(&self) -> Option<&str> {
        self.handle.name()
    }

    /// Closes this handle. A thread that waits for the mutex through it gets InvalidArgument instead. Closing again does nothing.
    ///
    /// Raises InvalidArgument while a thread of this process holds the mutex through it.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        if self.handle.is_closed(py) {
            return Ok(());
        }
        let mutex = self.handle.get(py)?;
        self.closing.store(true, Relaxed);
        // With that in `lock`: either we see that it is held, or who locks it sees that the handle is being closed.
        fence_if_free_threaded();
        if mutex.is_held() {
            self.closing.store(false, Relaxed);
            return Err(invalid(py, "the mutex is held through this handle: release it before closing"));
        }
        self.handle.close(py);
        Ok(())
    }

    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        slf.get().acquire(slf.py(), None)?;
        Ok(slf)
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.release(py)
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        self.handle.reduce(&PyType::new::<Self>(py))
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        self.handle.repr(py)
    }
}

/// What to do with a mutex whose owner died.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dead {
    /// Unlock it again.
    Refuse,
    /// Keep it locked.
    Accept,
}

impl Mutex {
    /// Locks it. Says whether an owner died and nobody has repaired the data since.
    fn lock(&self, py: Python<'_>, timeout: Option<Duration>, dead: Dead) -> PyResult<bool> {
        let mutex = self.handle.get(py)?;
        let died = wait(py, timeout, Doing::Other, |time| {
            let guard = mutex.lock_timeout(time)?;
            let died = guard.owner_died();
            if !died || dead == Dead::Accept {
                // `release` and `Recovery` unlock it.
                forget(guard);
            }
            Ok(died)
        })?;
        // With that in `close`.
        fence_if_free_threaded();
        if self.closing.load(Relaxed) {
            let _ = unlock(&mutex);
            return Err(self.handle.closed(py));
        }
        Ok(died)
    }

    /// Locks it if it is free, and there is nothing to be told.
    #[inline]
    fn lock_at_once(&self, py: Python<'_>) -> bool {
        let Some(mutex) = self.handle.open(py) else { return false };
        let Ok(guard) = mutex.try_lock() else { return false };
        // With that in `close`.
        fence_if_free_threaded();
        if guard.owner_died() || self.closing.load(Relaxed) {
            return false;
        }
        // `release` unlocks it.
        forget(guard);
        true
    }

    /// Unlocks it if this thread holds it. Otherwise another attempt fails in the same way.
    #[inline]
    fn unlock_at_once(&self, py: Python<'_>) -> bool {
        self.handle.open(py).is_some_and(|mutex| unlock(&mutex).is_ok())
    }
}

/// Most often nobody else wants the mutex.
pub(crate) fn shorten(py: Python<'_>) -> PyResult<()> {
    short!(py, Mutex.acquire as Keywords => Mutex::lock_at_once)?;
    short!(py, Mutex.release as NoArguments => Mutex::unlock_at_once)?;
    short!(py, Mutex.__enter__ as NoArguments => Mutex::lock_at_once { const RETURNS_ITSELF: bool = true; })?;
    short!(py, Mutex.__exit__ as Keywords => Mutex::unlock_at_once { const ARGUMENTS: isize = 3; })
}

#[inline]
fn unlock(mutex: &rsipc::Mutex) -> rsipc::Result<()> {
    // SAFETY: `Mutex::lock` has forgotten the guard.
    unsafe { mutex.force_unlock() }
}

/// What Mutex.recover returns: a context manager.
#[pyclass(frozen, module = "rsipc")]
pub(crate) struct Recovery {
    mutex: Py<Mutex>,
    timeout: Option<Duration>,
}

#[pymethods]
impl Recovery {
    fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
        self.mutex.get().lock(py, self.timeout, Dead::Accept)
    }

    #[pyo3(signature = (exception_type, _exception, _traceback))]
    fn __exit__(
        &self,
        py: Python<'_>,
        exception_type: &Bound<'_, PyAny>,
        _exception: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let mutex = self.mutex.get().handle.get(py)?;
        // One that was given up stays so.
        if exception_type.is_none() && mutex.is_inconsistent() {
            mutex.mark_consistent().map_err(|e| exception(py, &e, Doing::Other))?;
        }
        unlock(&mutex).map_err(|e| exception(py, &e, Doing::Other))
    }
}
