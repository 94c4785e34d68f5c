//! Messages on lease.

use std::mem::transmute;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use rsipc::{Error, Queue};

use crate::errors::{Doing, exception};

/// A message on lease, which Queue.lease returns: it is this process's until it is finished. If the process dies before, or the lease is given
/// back or forgotten, the message goes back to the front of the queue, for the next receiver.
///
/// `with queue.lease() as lease:` finishes it at the end of the block, and gives it back if the block raises; where the block has done one
/// of both itself, that holds. Any thread of the process may finish it. A child of fork has none of its parent's leases. A
/// lease keeps the queue open, also after its handle was closed.
#[pyclass(frozen, module = "rsipc")]
pub(crate) struct Lease {
    /// None once it is finished or given back.
    lease: Mutex<Option<rsipc::Lease<'static>>>,
    message: Py<PyBytes>,
    deliveries: u32,
    /// What the lease borrows. The last field, because fields are dropped in their order.
    _queue: Arc<Queue>,
}

impl Lease {
    pub(crate) fn of(py: Python<'_>, queue: &Arc<Queue>, lease: rsipc::Lease<'_>) -> PyResult<Self> {
        let bytes = lease.message();
        let message = PyBytes::new_with(py, bytes.len(), |space| {
            space.copy_from_slice(bytes);
            Ok(())
        })?;
        let (message, deliveries, queue) = (message.unbind(), lease.deliveries(), Arc::clone(queue));
        // SAFETY: the `Arc` beside it keeps the queue, whose address does not change, until the lease has been dropped.
        let lease = unsafe { transmute::<rsipc::Lease<'_>, rsipc::Lease<'static>>(lease) };
        Ok(Self { lease: Mutex::new(Some(lease)), message, deliveries, _queue: queue })
    }

    fn take(&self) -> Option<rsipc::Lease<'static>> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn end(&self, py: Python<'_>, end: fn(rsipc::Lease<'static>) -> rsipc::Result<()>) -> PyResult<()> {
        let over = Err(Error::NotOwner("the lease is over: it was finished or given back before"));
        self.take().map_or(over, end).map_err(|e| exception(py, &e, Doing::Other))
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
        self.take().map_or(Ok(()), end).map_err(|e| exception(py, &e, Doing::Other))
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let over = self.lease.lock().unwrap_or_else(PoisonError::into_inner).is_none();
        let len = self.message.as_bytes(py).len();
        format!("<rsipc lease of {len} bytes, delivery {}{}>", self.deliveries, if over { " (over)" } else { "" })
    }
}
