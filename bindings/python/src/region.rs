//! Regions.

use std::ffi::c_int;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::sync::Mutex;

use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

use crate::args;
use crate::errors::{Doing, exception};
use crate::handle::Handle;
use crate::wait::call;

/// Memory that processes share: bytes that they arrange as they like, and in which mutexes, semaphores and queues can be placed.
///
/// Made with Region.create, Region.open, Region.open_or_create, Region.anonymous or Region.from_fd. It has the buffer protocol:
/// memoryview(region), struct.pack_into("<Q", region, 8, 1) and numpy.frombuffer(region, ...) work on the shared bytes themselves,
/// which begin at a multiple of 4096.
///
/// All its memory is reserved when it is created or grown, so touching it never fails for want of memory. It begins zeroed. It can grow,
/// never shrink. What several processes change at the same time is theirs to order, with a Mutex for example; the death of one of
/// them does nothing to the bytes.
///
/// All methods may be called from any thread. A handle may be used in a child of fork; one with a name can be pickled, which
/// opens the region again by its name. As a context manager it closes the handle at the end.
#[pyclass(frozen, module = "rsipc")]
pub(crate) struct Region {
    pub(crate) handle: Handle<rsipc::Region>,
    /// What was given out by the buffer protocol stays mapped for as long as this object lives, also when it is closed: some, such as
    /// numpy, release the buffer and keep the pointer with a reference to the object.
    exported: Mutex<Vec<rsipc::View>>,
}

impl From<Handle<rsipc::Region>> for Region {
    fn from(handle: Handle<rsipc::Region>) -> Self {
        Self { handle, exported: Mutex::new(Vec::new()) }
    }
}

#[pymethods]
impl Region {
    /// Creates a region of `size` bytes. `mode` has the permission bits: 0o600 for this user alone, 0o660 for a group.
    ///
    /// Raises AlreadyExists; InvalidArgument for an impossible name, size or mode; NoSpace where so much memory cannot be reserved;
    /// PermissionDenied and other errors of the system.
    #[staticmethod]
    #[pyo3(signature = (name, size, *, dir=None, mode=0o600))]
    fn create(
        py: Python<'_>,
        #[pyo3(from_py_with = args::name)] name: String,
        #[pyo3(from_py_with = args::size)] size: usize,
        #[pyo3(from_py_with = args::dir)] dir: Option<PathBuf>,
        #[pyo3(from_py_with = args::count)] mode: u32,
    ) -> PyResult<Self> {
        Handle::named(py, "region", (name, dir, mode), |name| rsipc::Region::create(name, size)).map(Self::from)
    }

    /// Opens a region.
    ///
    /// Raises NotFound; WrongKind, WrongVersion, Corrupted; PermissionDenied and other errors of the system.
    #[staticmethod]
    #[pyo3(signature = (name, *, dir=None))]
    fn open(
        py: Python<'_>,
        #[pyo3(from_py_with = args::name)] name: String,
        #[pyo3(from_py_with = args::dir)] dir: Option<PathBuf>,
    ) -> PyResult<Self> {
        Handle::named(py, "region", (name, dir, 0o600), |name| rsipc::Region::open(name)).map(Self::from)
    }

    /// Opens a region, or creates it with `size` bytes. Processes that do so at the same time get the same one. An existing region keeps
    /// its size.
    ///
    /// Raises what create and open raise, but for AlreadyExists and NotFound.
    #[staticmethod]
    #[pyo3(signature = (name, size, *, dir=None, mode=0o600))]
    fn open_or_create(
        py: Python<'_>,
        #[pyo3(from_py_with = args::name)] name: String,
        #[pyo3(from_py_with = args::size)] size: usize,
        #[pyo3(from_py_with = args::dir)] dir: Option<PathBuf>,
        #[pyo3(from_py_with = args::count)] mode: u32,
    ) -> PyResult<Self> {
        Handle::named(py, "region", (name, dir, mode), |name| rsipc::Region::open_or_create(name, size)).map(Self::from)
    }

    /// Makes a region of `size` bytes without a name. Others get it by its descriptor (fileno): a child of fork inherits it, a Unix socket
    /// carries it (socket.send_fds), and Region.from_fd opens it there. The descriptor is closed on exec.
    ///
    /// Raises InvalidArgument for an impossible size; NoSpace or NoMemory where so much memory cannot be reserved.
    #[staticmethod]
    #[pyo3(signature = (size))]
    fn anonymous(py: Python<'_>, #[pyo3(from_py_with = args::size)] size: usize) -> PyResult<Self> {
        let region = call(py, || rsipc::Region::anonymous(size))?;
        Ok(Handle::anonymous("region", region).into())
    }

    /// Opens the region behind a descriptor that came from fileno() in this or another process. The descriptor stays the caller's: it is
    /// duplicated.
    ///
    /// Raises Corrupted where it is not that of a region; WrongKind, WrongVersion; OsError for a bad descriptor.
    #[staticmethod]
    #[pyo3(signature = (fd))]
    fn from_fd(py: Python<'_>, fd: i32) -> PyResult<Self> {
        let fd = args::duplicate(py, fd)?;
        let region = rsipc::Region::from_fd(fd).map_err(|e| exception(py, &e, Doing::Other))?;
        Ok(Handle::anonymous("region", region).into())
    }

    /// Makes it at least `size` bytes long, for all processes. Buffers taken before stay valid, and as long as they were: take a new one.
    ///
    /// Raises NoSpace where so much memory cannot be reserved (the region is as it was then); InvalidArgument for less than its size:
    /// regions only grow.
    #[pyo3(signature = (size))]
    fn grow(&self, py: Python<'_>, #[pyo3(from_py_with = args::size)] size: usize) -> PyResult<()> {
        let region = self.handle.get(py)?;
        call(py, || region.grow(size))
    }

    /// The region's descriptor, to be handed to another process. It stays this handle's, and is closed with it.
    fn fileno(&self, py: Python<'_>) -> PyResult<i32> {
        Ok(self.handle.get(py)?.as_fd().as_raw_fd())
    }

    /// Its name, or None.
    #[getter]
    fn name(&self) -> Option<&str> {
        self.handle.name()
    }

    /// Closes this handle. Buffers taken before stay valid, as do the objects placed in the region. The memory goes when the name is
    /// unlinked and nobody uses it any more. Closing again does nothing.
    fn close(&self, py: Python<'_>) {
        self.handle.close(py);
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.handle.get(py)?.len())
    }

    /// # Safety
    ///
    /// Called by the interpreter, with a `Py_buffer` to be filled.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let py = slf.py();
        if view.is_null() {
            return Err(PyBufferError::new_err("there is no buffer to be filled"));
        }
        // SAFETY: the caller's promise; without an owner the buffer counts as not filled.
        unsafe { (*view).obj = std::ptr::null_mut() };
        let this = slf.get();
        let bytes = this.handle.get(py)?.view().map_err(|e| exception(py, &e, Doing::Other))?;
        let mut exported = this.exported.lock().expect("nobody panics with it");
        if exported.last().is_none_or(|last| last.as_ptr() != bytes.as_ptr()) {
            exported.push(bytes.clone());
        }
        drop(exported);
        let len = ffi::Py_ssize_t::try_from(bytes.len()).expect("mapped memory is not longer than isize");
        // SAFETY: the bytes stay mapped for as long as the object, which the buffer refers to.
        match unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), bytes.as_ptr().cast(), len, 0, flags) } {
            0 => Ok(()),
            _ => Err(PyErr::fetch(py)),
        }
    }

    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        slf.get().handle.get(slf.py())?;
        Ok(slf)
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) {
        self.close(py);
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        self.handle.reduce(&PyType::new::<Self>(py))
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        self.handle.repr(py)
    }
}
