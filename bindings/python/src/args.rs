//! Arguments: what Python gives, checked. A value of the right type that is out of range is `InvalidArgument`, one of a wrong type
//! is `TypeError`.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use rsipc::Error;

use crate::buffer::Export;
use crate::errors::{Doing, exception, invalid};

/// A length, an offset, or a number of messages.
pub(crate) fn size(value: &Bound<'_, PyAny>) -> PyResult<usize> {
    number(value, u64::MAX).map(|number| number as usize)
}

/// A queue's capacity. None is UNBOUNDED.
pub(crate) fn capacity(value: &Bound<'_, PyAny>) -> PyResult<usize> {
    if value.is_none() { Ok(UNBOUNDED) } else { number(value, UNBOUNDED as u64 - 1).map(|number| number as usize) }
}

/// What no capacity can be.
pub(crate) const UNBOUNDED: usize = usize::MAX;

/// A length that may be left open.
pub(crate) fn size_or_none(value: &Bound<'_, PyAny>) -> PyResult<Option<usize>> {
    if value.is_none() { Ok(None) } else { size(value).map(Some) }
}

/// A number of units, or the permission bits of an object.
pub(crate) fn count(value: &Bound<'_, PyAny>) -> PyResult<u32> {
    number(value, u64::from(u32::MAX)).map(|number| number as u32)
}

fn number(value: &Bound<'_, PyAny>, max: u64) -> PyResult<u64> {
    let out_of_range = || invalid(value.py(), format!("a number from 0 to {max} is needed"));
    match value.extract::<u64>() {
        Ok(number) if number <= max => Ok(number),
        Ok(_) => Err(out_of_range()),
        Err(e) if e.is_instance_of::<PyOverflowError>(value.py()) => Err(out_of_range()),
        Err(e) => Err(e),
    }
}

/// The name of an object. What is wrong with it otherwise, the library says.
pub(crate) fn name(value: &Bound<'_, PyAny>) -> PyResult<String> {
    let name = value.cast::<PyString>()?;
    name.to_str()
        .map(str::to_owned)
        .map_err(|_| invalid(value.py(), "this cannot be a name: it holds surrogates, which are no characters"))
}

/// The name of an object that may have none.
pub(crate) fn name_or_none(value: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    if value.is_none() { Ok(None) } else { name(value).map(Some) }
}

/// The directory of a namespace.
pub(crate) fn dir(value: &Bound<'_, PyAny>) -> PyResult<Option<PathBuf>> {
    if value.is_none() {
        return Ok(None);
    }
    let dir: PathBuf = value.extract()?;
    if dir.as_os_str().is_empty() || dir.as_os_str().as_encoded_bytes().contains(&0) {
        return Err(invalid(value.py(), "dir cannot be the path of a directory: it is empty, or contains a null character"));
    }
    Ok(Some(dir))
}

/// A timeout in seconds. None, and what is too long for the clock, is for ever.
pub(crate) fn timeout(value: &Bound<'_, PyAny>) -> PyResult<Option<Duration>> {
    if value.is_none() {
        return Ok(None);
    }
    let seconds = match value.extract::<f64>() {
        Err(e) if e.is_instance_of::<PyOverflowError>(value.py()) => {
            if value.lt(0)? {
                -1.0
            } else {
                f64::INFINITY
            }
        }
        seconds => seconds?,
    };
    if seconds.is_nan() || seconds < 0.0 {
        return Err(invalid(value.py(), "a timeout is a number of seconds from 0 on, or None to wait for ever"));
    }
    Ok(Duration::try_from_secs_f64(seconds).ok())
}

/// A descriptor of our own for what the caller's is.
pub(crate) fn duplicate(py: Python<'_>, fd: i32) -> PyResult<OwnedFd> {
    if fd < 0 {
        return Err(invalid(py, "a file descriptor is a number from 0 on"));
    }
    // SAFETY: the number is not -1; duplicating what is no descriptor is an error.
    unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned().map_err(|e| {
        let errno = e.raw_os_error().unwrap_or(0);
        let doing = "duplicating the file descriptor".to_owned();
        let error = if errno == libc::EMFILE { Error::TooManyFiles(doing) } else { Error::Os { doing, errno } };
        exception(py, &error, Doing::Other)
    })
}

/// The bytes of an object that has the buffer protocol, borrowed.
pub(crate) enum Bytes<'a, 'py> {
    Immutable(Borrowed<'a, 'py, PyBytes>),
    Exported(Export),
}

impl<'a, 'py> FromPyObject<'a, 'py> for Bytes<'a, 'py> {
    type Error = PyErr;

    fn extract(value: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = value.cast::<PyBytes>() {
            return Ok(Self::Immutable(bytes));
        }
        Export::of(&value).map(Self::Exported)
    }
}

impl Bytes<'_, '_> {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Immutable(bytes) => bytes.as_bytes(),
            Self::Exported(export) if export.len() == 0 => &[],
            // SAFETY: the export keeps these contiguous bytes in place; who changes them during the call sends some of each.
            Self::Exported(export) => unsafe { std::slice::from_raw_parts(export.start(), export.len()) },
        }
    }
}

/// The bytes of an object that has the buffer protocol, borrowed to be written to.
pub(crate) struct BytesMut(Export);

impl<'py> FromPyObject<'_, 'py> for BytesMut {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let export = Export::of(&value)?;
        if export.is_readonly() {
            return Err(PyTypeError::new_err("a buffer that can be written to is needed, such as a bytearray"));
        }
        Ok(Self(export))
    }
}

impl BytesMut {
    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        if self.0.len() == 0 {
            return &mut [];
        }
        // SAFETY: the export keeps these contiguous, writable bytes in place; who uses them during the call sees some of each.
        unsafe { std::slice::from_raw_parts_mut(self.0.start(), self.0.len()) }
    }
}
