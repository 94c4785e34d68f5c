//! Waiting for one of several objects.

use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use rsipc::WaitSet;

use crate::args;
use crate::endpoint::Endpoint;
use crate::errors::{Doing, defined_in_python};
use crate::queue::Queue;
use crate::semaphore::Semaphore;

/// Waits until one of several objects is ready, `timeout` seconds (None is for ever, 0 not at all), and gives the list of all
/// that are: an empty one where the time has passed. `objects` are queues and endpoints, which are ready once there is a message
/// to receive (or the queue was shut down), and semaphores, which are ready once there is a unit to acquire.
///
/// Ready means that an attempt would not have to wait at that moment. Nothing is taken by the wait. So attempt it without waiting
/// (try_recv, acquire(0)), and wait again where that raises Empty or WouldBlock: another thread or process may have been faster.
///
/// Raises TypeError for what cannot be waited for; InvalidArgument where there is nothing to wait for, or a handle is closed;
/// LimitReached for more than 128 objects.
#[pyfunction]
#[pyo3(signature = (objects, timeout=None))]
pub(crate) fn wait<'py>(
    py: Python<'py>,
    objects: &Bound<'py, PyAny>,
    #[pyo3(from_py_with = args::timeout)] timeout: Option<Duration>,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let objects: Vec<_> = objects.try_iter()?.collect::<PyResult<_>>()?;
    let open: Vec<_> = objects.iter().map(Open::of).collect::<PyResult<_>>()?;
    let set = open.iter().fold(WaitSet::new(), |set, object| match object {
        Open::Queue(queue) => set.recv(queue),
        Open::Semaphore(semaphore) => set.acquire(semaphore),
        Open::Endpoint(endpoint) => set.endpoint(endpoint),
    });
    let too_late = defined_in_python(py, "_errors", "Timeout")?;
    match crate::wait::wait(py, timeout, Doing::Call, |time| set.wait_timeout(time)) {
        Ok(mut ready) => {
            ready.sort_unstable();
            Ok(ready.into_iter().map(|index| objects[index].clone()).collect())
        }
        Err(e) if e.is_instance(py, too_late.as_any()) => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

/// An object that is waited for, which stays open meanwhile.
enum Open {
    Queue(Arc<rsipc::Queue>),
    Semaphore(Arc<rsipc::Semaphore>),
    Endpoint(Arc<rsipc::Endpoint>),
}

impl Open {
    fn of(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = object.py();
        if let Ok(queue) = object.cast::<Queue>() {
            Ok(Self::Queue(queue.get().handle.get(py)?.share()))
        } else if let Ok(semaphore) = object.cast::<Semaphore>() {
            Ok(Self::Semaphore(semaphore.get().handle.get(py)?.share()))
        } else if let Ok(endpoint) = object.cast::<Endpoint>() {
            Ok(Self::Endpoint(endpoint.get().handle.get(py)?.share()))
        } else {
            let class = object.get_type().name()?;
            Err(PyTypeError::new_err(format!("only queues, semaphores and endpoints can be waited for, not {class}")))
        }
    }
}
