//! Waiting in tasks of asyncio, which is written in Python (`rsipc._tasks`).

use pyo3::call::PyCallArgs;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// The coroutine of that name, called.
pub(crate) fn in_task<'py>(py: Python<'py>, coroutine: &str, args: impl PyCallArgs<'py>) -> PyResult<Bound<'py, PyAny>> {
    static TASKS: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let tasks = TASKS.get_or_try_init(py, || py.import("rsipc._tasks").map(Bound::unbind))?;
    tasks.bind(py).getattr(coroutine)?.call1(args)
}
