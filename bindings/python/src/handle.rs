//! A handle on an object: open until it is closed, and sent to other processes by saying where the object is.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyTuple, PyType};
use rsipc::{Name, Namespace};

use crate::errors::invalid;
use crate::held::{Held, Open};
use crate::region::Region;
use crate::wait::call;

pub(crate) struct Handle<T> {
    /// A call in flight keeps the object until it returns.
    object: Held<T>,
    /// What it is, in a word.
    kind: &'static str,
    home: Arc<Home>,
}

/// Where the object is.
enum Home {
    Named {
        name: String,
        dir: PathBuf,
    },
    Placed {
        region: Py<Region>,
        offset: usize,
    },
    Anonymous,
    /// An object without a name that does not keep the descriptor of its memory itself.
    Memory(OwnedFd),
}

impl<T: Send + Sync> Handle<T> {
    /// A handle on an object with a name.
    pub(crate) fn named(
        py: Python<'_>,
        kind: &'static str,
        (name, dir, mode): (String, Option<PathBuf>, u32),
        make: impl Fn(Name<'_>) -> rsipc::Result<T> + Sync,
    ) -> PyResult<Self> {
        let namespace = dir.map_or_else(Namespace::default, Namespace::at).mode(mode);
        let (object, dir) = call(py, || Ok((make(namespace.name(&name))?, namespace.dir()?)))?;
        // Another process may have another working directory.
        let dir = std::path::absolute(dir)?;
        Ok(Self::new(object, kind, Home::Named { name, dir }))
    }

    /// A handle on an object in a region.
    pub(crate) fn placed(
        kind: &'static str,
        region: &Bound<'_, Region>,
        offset: usize,
        make: impl Fn(&rsipc::Region) -> rsipc::Result<T> + Sync,
    ) -> PyResult<Self> {
        let open = region.get().handle.get(region.py())?;
        let object = call(region.py(), || make(&open))?;
        Ok(Self::new(object, kind, Home::Placed { region: region.clone().unbind(), offset }))
    }

    pub(crate) fn anonymous(kind: &'static str, object: T) -> Self {
        Self::new(object, kind, Home::Anonymous)
    }

    /// A handle on an object without a name, behind this descriptor.
    pub(crate) fn in_memory(kind: &'static str, object: T, fd: OwnedFd) -> Self {
        Self::new(object, kind, Home::Memory(fd))
    }

    /// The descriptor of the object's memory, if that is known.
    pub(crate) fn memory(&self) -> Option<BorrowedFd<'_>> {
        match &*self.home {
            Home::Memory(fd) => Some(fd.as_fd()),
            Home::Named { .. } | Home::Placed { .. } | Home::Anonymous => None,
        }
    }

    fn new(object: T, kind: &'static str, home: Home) -> Self {
        Self { object: Held::new(Arc::new(object)), kind, home: Arc::new(home) }
    }

    /// Another handle on the same object, which stays open when this one is closed.
    pub(crate) fn again(&self, py: Python<'_>) -> PyResult<Self> {
        let object = self.get(py)?.share();
        Ok(Self { object: Held::new(object), kind: self.kind, home: Arc::clone(&self.home) })
    }

    /// The object, unless the handle is closed.
    #[inline]
    pub(crate) fn get(&self, py: Python<'_>) -> PyResult<Open<'_, T>> {
        self.open(py).ok_or_else(|| self.closed(py))
    }

    /// As `get`, for who makes no error of it.
    #[inline]
    pub(crate) fn open(&self, py: Python<'_>) -> Option<Open<'_, T>> {
        self.object.open(py)
    }

    #[cold]
    pub(crate) fn closed(&self, py: Python<'_>) -> PyErr {
        invalid(py, format!("this {} handle is closed", self.kind))
    }

    pub(crate) fn is_closed(&self, py: Python<'_>) -> bool {
        self.object.is_taken(py)
    }

    /// Closes the handle.
    pub(crate) fn close(&self, py: Python<'_>) {
        self.object.take(py);
    }

    pub(crate) fn name(&self) -> Option<&str> {
        match &*self.home {
            Home::Named { name, .. } => Some(name),
            Home::Placed { .. } | Home::Anonymous | Home::Memory(_) => None,
        }
    }

    /// What pickle is told: a call that opens the object again, in whatever process.
    pub(crate) fn reduce<'py>(&self, class: &Bound<'py, PyType>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let py = class.py();
        self.get(py)?;
        match &*self.home {
            Home::Named { name, dir } => {
                let dir = [("dir", Path::as_os_str(dir))].into_py_dict(py)?;
                let open = py.import("functools")?.getattr("partial")?.call((class.getattr("open")?,), Some(&dir))?;
                Ok((open, (name,).into_pyobject(py)?))
            }
            Home::Placed { region, offset } => Ok((class.getattr("open_in")?, (region, *offset).into_pyobject(py)?)),
            Home::Anonymous => Err(PyTypeError::new_err(
                "a region without a name cannot be pickled: hand its descriptor (fileno()) to the other process, which opens it with \
                 Region.from_fd",
            )),
            Home::Memory(_) => Err(PyTypeError::new_err(
                "a queue without a name cannot be pickled: hand its descriptor (memory_fileno()) to the other process, which opens it with \
                 Queue.from_fd",
            )),
        }
    }

    pub(crate) fn repr(&self, py: Python<'_>) -> String {
        let closed = if self.is_closed(py) { " (closed)" } else { "" };
        match &*self.home {
            Home::Named { name, dir } => format!("<rsipc {} {name:?} in {}{closed}>", self.kind, dir.display()),
            Home::Placed { offset, .. } => format!("<rsipc {} at offset {offset} of a region{closed}>", self.kind),
            Home::Anonymous | Home::Memory(_) => format!("<rsipc {} without a name{closed}>", self.kind),
        }
    }
}
