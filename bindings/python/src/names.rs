//! What is in a namespace.

use std::path::PathBuf;

use pyo3::prelude::*;
use rsipc::Namespace;

use crate::args;
use crate::errors::defined_in_python;
use crate::wait::call;

/// The objects in the namespace, sorted by name. Files that are not objects are left out.
///
/// Raises PermissionDenied, and other errors of the system, where the directory cannot be read.
#[pyfunction]
#[pyo3(signature = (dir=None))]
pub(crate) fn list<'py>(
    py: Python<'py>,
    #[pyo3(from_py_with = args::dir)] dir: Option<PathBuf>,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let namespace = dir.map_or_else(Namespace::default, Namespace::at);
    let class = defined_in_python(py, "_types", "Entry")?;
    let entries = call(py, || namespace.list())?;
    entries.into_iter().map(|entry| class.call1((entry.name, entry.kind.as_str(), entry.size, entry.memory))).collect()
}

/// Takes a name away. Processes that have the object open go on using it; its memory goes with the last of them. A new object of
/// that name is another object.
///
/// Raises NotFound where there is none, InvalidArgument for an impossible name, PermissionDenied.
#[pyfunction]
#[pyo3(signature = (name, dir=None))]
pub(crate) fn unlink(
    py: Python<'_>,
    #[pyo3(from_py_with = args::name)] name: String,
    #[pyo3(from_py_with = args::dir)] dir: Option<PathBuf>,
) -> PyResult<()> {
    let namespace = dir.map_or_else(Namespace::default, Namespace::at);
    call(py, || namespace.unlink(&name))
}
