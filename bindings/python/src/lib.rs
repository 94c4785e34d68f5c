//! `rsipc._rsipc`, the compiled half of the Python package `rsipc`. Thin: check the arguments, call, map the error.

mod args;
mod buffer;
mod counters;
mod endpoint;
mod errors;
mod handle;
mod held;
mod in_place;
mod lease;
mod mutex;
mod names;
mod queue;
mod ready;
mod region;
mod semaphore;
mod short;
mod tasks;
mod truncation;
mod wait;

/// The compiled half of the package rsipc, which exports all of it but for what `rsipc.mp` alone uses.
#[pyo3::pymodule(gil_used = false)]
mod _rsipc {
    #[pymodule_export]
    use crate::endpoint::{Address, Endpoint, Message};
    #[pymodule_export]
    use crate::in_place::{Loan, MessageView};
    #[pymodule_export]
    use crate::lease::{Lease, finish_first, lease_with_permit};
    #[pymodule_export]
    use crate::mutex::{Mutex, Recovery};
    #[pymodule_export]
    use crate::names::{list, unlink};
    #[pymodule_export]
    use crate::queue::Queue;
    #[pymodule_export]
    use crate::ready::wait;
    #[pymodule_export]
    use crate::region::Region;
    #[pymodule_export]
    use crate::semaphore::Semaphore;
    #[pymodule_export]
    use crate::truncation::catch_truncation;

    /// The version of the library.
    #[pymodule_export]
    #[allow(non_upper_case_globals, reason = "the name that Python's packages use")]
    const __version__: &str = rsipc::VERSION;

    #[pymodule_init]
    fn shorten(module: &pyo3::Bound<'_, pyo3::types::PyModule>) -> pyo3::PyResult<()> {
        crate::mutex::shorten(module.py())?;
        crate::semaphore::shorten(module.py())
    }
}
