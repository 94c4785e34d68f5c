//! The bytes of objects that have the buffer protocol (<https://docs.python.org/3/c-api/buffer.html>).
//!
//! PyO3's `PyBuffer` refuses what tells no shape or no strides, though its bytes lie side by side: the structures and arrays of
//! ctypes, NumPy's scalars.

use std::ffi::c_char;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::invalid;

/// Bytes that lie side by side, and stay where they are until this is dropped.
pub(crate) struct Export(*mut ffi::Py_buffer);

impl Export {
    pub(crate) fn of(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        // Objects may point from a view into itself: it is not moved.
        let view = Box::into_raw(Box::new(ffi::Py_buffer::new()));
        // SAFETY: the object lives, and the view is ours.
        if unsafe { ffi::PyObject_GetBuffer(value.as_ptr(), view, ffi::PyBUF_FULL_RO) } < 0 {
            // SAFETY: nothing points to it.
            drop(unsafe { Box::from_raw(view) });
            return Err(PyErr::fetch(value.py()));
        }
        let export = Self(view);
        // SAFETY: the view was filled in.
        if unsafe { ffi::PyBuffer_IsContiguous(view, b'C' as c_char) } == 0 {
            return Err(invalid(
                value.py(),
                "the buffer's bytes do not lie side by side: copy it first, with bytes() for example",
            ));
        }
        Ok(export)
    }

    fn view(&self) -> &ffi::Py_buffer {
        // SAFETY: it was filled in, and nobody changes it.
        unsafe { &*self.0 }
    }

    /// The first of the bytes; null, perhaps, where there is none.
    pub(crate) fn start(&self) -> *mut u8 {
        self.view().buf.cast()
    }

    pub(crate) fn len(&self) -> usize {
        self.view().len.cast_unsigned()
    }

    pub(crate) fn is_readonly(&self) -> bool {
        self.view().readonly != 0
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        // SAFETY: it was filled in, and is given back once.
        Python::attach(|_| unsafe { ffi::PyBuffer_Release(self.0) });
        // SAFETY: nothing points to it any more.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

/// A bytes object of these bytes. Where there is no memory for it this is a MemoryError, where `PyBytes::new` panics.
pub(crate) fn bytes<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let len = ffi::Py_ssize_t::try_from(bytes.len()).expect("no slice is longer than isize");
    // SAFETY: the bytes are copied from where they are; what it makes is a bytes object, or an exception.
    unsafe {
        let object = ffi::PyBytes_FromStringAndSize(bytes.as_ptr().cast(), len);
        Ok(Bound::from_owned_ptr_or_err(py, object)?.cast_into_unchecked())
    }
}
