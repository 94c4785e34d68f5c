//! Messages on lease.

use std::mem::transmute;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use rsipc::{Error, Queue, Semaphore};

use crate::args;
use crate::buffer::bytes;
use crate::errors::{Doing, exception};
use crate::mutex::Mutex as PyMutex;
use crate::queue::Queue as PyQueue;
use crate::semaphore::Semaphore as PySemaphore;
use crate::wait::wait;

/// A message on lease, which Queue.lease returns: it is this process's until it is finished. If the process dies before, or the
/// lease is given back or forgotten, the message goes back to the front of the queue, for the next receiver.
///
/// `with queue.lease() as lease:` finishes it at the end of the block, and gives it back if the block raises; where the block has done one
/// of both itself, that holds. Any thread of the process may finish it. A child of fork has none of its parent's leases. A
/// lease keeps the queue open, also after its handle was closed.
#[pyclass(frozen, module = "rsipc")]
pub(crate) struct Lease {
    /// None once it is finished or given back. The permit is given back after it.
    lease: Mutex<Option<(rsipc::Lease<'static>, Option<Permit>)>>,
    message: Py<PyBytes>,
    deliveries: u32,
    /// What the lease borrows. The last field, because fields are dropped in their order.
    _queue: Arc<Queue>,
}

impl Lease {
    /// With a permit, if it is to have one. They stay together, so that they are dropped in this order.
    pub(crate) fn of(py: Python<'_>, queue: &Arc<Queue>, leased: (rsipc::Lease<'_>, Option<Permit>)) -> PyResult<Self> {
        let message = bytes(py, leased.0.message())?;
        let (message, deliveries, queue) = (message.unbind(), leased.0.deliveries(), Arc::clone(queue));
        let (lease, permit) = leased;
        // SAFETY: the `Arc` beside it keeps the queue, whose address does not change, until the lease has been dropped.
        let lease = unsafe { transmute::<rsipc::Lease<'_>, rsipc::Lease<'static>>(lease) };
        Ok(Self { lease: Mutex::new(Some((lease, permit))), message, deliveries, _queue: queue })
    }

    /// Ends it, unless it is over: None then.
    fn try_end(&self, end: fn(rsipc::Lease<'static>) -> rsipc::Result<()>) -> Option<rsipc::Result<()>> {
        let (lease, permit) = self.lease.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let ended = end(lease);
        drop(permit);
        Some(ended)
    }

    fn end(&self, py: Python<'_>, end: fn(rsipc::Lease<'static>) -> rsipc::Result<()>) -> PyResult<()> {
        let over = Err(Error::NotOwner("the lease is over: it was finished or given back before"));
        self.try_end(end).unwrap_or(over).map_err(|e| exception(py, &e, Doing::Other))
    }
}

#[pymethods]
impl Lease {
    /// The message.
    #[getter]
    fn message(&self, py: Python<'_>) -> Py<PyBytes> {
        self.message.clone_ref(py)
    }

    /// How many times the message has been handed out on lease, this time included: more than 1 says that somebody died over it, or gave it
    /// back.
    #[getter]
    fn deliveries(&self) -> u32 {
        self.deliveries
    }

    /// Says that the work is done: the message is gone from the queue.
    ///
    /// Raises NotOwner where the lease is over, and in a child of fork; Corrupted.
    fn finish(&self, py: Python<'_>) -> PyResult<()> {
        self.end(py, rsipc::Lease::finish)
    }

    /// Gives the message back, to the front of the queue, for the next receiver.
    ///
    /// Raises what finish raises.
    fn give_back(&self, py: Python<'_>) -> PyResult<()> {
        self.end(py, rsipc::Lease::give_back)
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (exception_type, _exception, _traceback))]
    fn __exit__(
        &self,
        py: Python<'_>,
        exception_type: &Bound<'_, PyAny>,
        _exception: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let end = if exception_type.is_none() { rsipc::Lease::finish } else { rsipc::Lease::give_back };
        self.try_end(end).unwrap_or(Ok(())).map_err(|e| exception(py, &e, Doing::Other))
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let over = self.lease.lock().unwrap_or_else(PoisonError::into_inner).is_none();
        let len = self.message.as_bytes(py).len();
        format!("<rsipc lease of {len} bytes, delivery {}{}>", self.deliveries, if over { " (over)" } else { "" })
    }
}

/// A permit of a semaphore that this process has, until it is dropped.
pub(crate) struct Permit {
    semaphore: Arc<Semaphore>,
    /// A child of fork has none of its parent's permits, but may have some of its own.
    process: u32,
}

impl Permit {
    fn try_of(semaphore: &Arc<Semaphore>) -> rsipc::Result<Self> {
        semaphore.try_acquire()?;
        Ok(Self { semaphore: Arc::clone(semaphore), process: std::process::id() })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            return;
        }
        // That waits only while another process is stopped inside the few instructions in which it counts its own.
        if self.semaphore.release_timeout(1, Duration::ZERO).is_err() {
            // If the memory was cut short there is nothing to be given back.
            let _ = Python::attach(|py| py.detach(|| self.semaphore.release()));
        }
    }
}

/// What a JoinableQueue does to get an item: under the mutex it takes a permit and the next message on lease, if there are both. The lease
/// has the permit until it is over.
///
/// It is one call, since in Python a signal handler could raise after each of the steps.
#[pyfunction]
#[pyo3(signature = (queue, permits, mutex, timeout))]
pub(crate) fn lease_with_permit(
    py: Python<'_>,
    queue: &Bound<'_, PyQueue>,
    permits: &Bound<'_, PySemaphore>,
    mutex: &Bound<'_, PyMutex>,
    #[pyo3(from_py_with = args::timeout)] timeout: Option<Duration>,
) -> PyResult<Option<Lease>> {
    let (queue, permits) = (queue.get().handle.get(py)?.share(), permits.get().handle.get(py)?.share());
    let mutex = mutex.get().handle.get(py)?;
    let leased = wait(py, timeout, Doing::Other, |time| {
        let mut guard = mutex.lock_timeout(time)?;
        if guard.owner_died() {
            guard.mark_consistent();
        }
        match Permit::try_of(&permits).and_then(|permit| Ok((queue.try_lease()?, Some(permit)))) {
            Err(Error::WouldBlock) => Ok(None),
            leased => leased.map(Some),
        }
    })?;
    leased.map(|leased| Lease::of(py, &queue, leased)).transpose()
}

/// Takes the first lease out of a deque, and finishes it. It is one call for the same reason.
///
/// Raises IndexError where there is none; otherwise what Lease.finish raises.
#[pyfunction]
#[pyo3(signature = (leases))]
pub(crate) fn finish_first(leases: &Bound<'_, PyAny>) -> PyResult<()> {
    leases.call_method0("popleft")?.cast::<Lease>()?.get().finish(leases.py())
}
