//! What objects count.

use pyo3::prelude::*;

use crate::errors::defined_in_python;
use crate::wait::call;

/// The counters that `read` gives, as the class that is defined in Python.
pub(crate) fn counters<'py>(
    py: Python<'py>,
    read: impl FnMut() -> rsipc::Result<rsipc::Counters> + Send,
) -> PyResult<Bound<'py, PyAny>> {
    let counted = call(py, read)?;
    defined_in_python(py, "_types", "Counters")?.call1((
        counted.sent,
        counted.received,
        counted.bytes_sent,
        counted.bytes_received,
        counted.waits,
        counted.wakeups,
        counted.recoveries,
        counted.deaths,
    ))
}
