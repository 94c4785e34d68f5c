//! The C interface. `include/ipc.h` is generated from here and is its manual: the comments in these files are written for it.
//!
//! Each function checks its arguments, calls the Rust method of the same name, and maps the error. One file a noun, as in the header.
#![allow(non_camel_case_types, reason = "the names are C's")]
#![allow(clippy::missing_safety_doc, reason = "the header says once what pointers must be")]

mod batch;
mod counters;
mod endpoint;
mod error;
mod handle;
mod lease;
mod loan;
mod mutex;
mod name;
mod queue;
mod region;
mod semaphore;
mod timeout;
mod wait;

use std::ffi::{CStr, c_char, c_int};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

pub use batch::*;
pub use counters::*;
pub use endpoint::*;
pub use error::*;
pub use lease::*;
pub use loan::*;
pub use mutex::*;
pub use name::*;
pub use queue::*;
pub use region::*;
pub use semaphore::*;
pub use timeout::*;
pub use wait::*;

use crate::error::{Error, Result};

/// Where a result goes.
struct Out<T>(*mut T);

impl<T> Out<T> {
    /// Checks that there is a place for the result, and puts `nothing` there for the case that the call fails.
    ///
    /// # Safety
    ///
    /// `place` is null, or may be written to during the call.
    #[inline]
    unsafe fn new(place: *mut T, what: &str, nothing: T) -> Result<Self> {
        if place.is_null() {
            return Err(null(what));
        }
        let out = Self(place);
        out.set(nothing);
        Ok(out)
    }

    #[inline]
    fn set(&self, value: T) {
        // SAFETY: `new` had the caller's promise for a place that is not null.
        unsafe { self.0.write(value) };
    }
}

#[cold]
fn null(what: &str) -> Error {
    Error::invalid(format!("{what} is NULL"))
}

/// A descriptor of our own for what the caller's is.
fn duplicate(fd: c_int) -> Result<OwnedFd> {
    if fd < 0 {
        return Err(Error::invalid(format!("{fd} is not a file descriptor")));
    }
    // SAFETY: it is not -1, and only duplicated: a descriptor that is not open gives an error.
    unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned().map_err(|e| match e.raw_os_error() {
        Some(libc::EBADF) => Error::invalid(format!("{fd} is not an open file descriptor")),
        errno => Error::os(errno.unwrap_or(0), "duplicating a file descriptor"),
    })
}

/// A string of the caller's.
///
/// # Safety
///
/// `text` is null, or a string that ends in a zero byte and stays as it is during the call.
unsafe fn string<'a>(text: *const c_char, what: &str) -> Result<&'a str> {
    if text.is_null() {
        return Err(null(what));
    }
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map_err(|_| Error::invalid(format!("{what} is not UTF-8")))
}

/// A structure that the caller fills in, whose first field is its size, so that later releases can add fields at its end.
///
/// # Safety
///
/// All bytes zero is a value of it, and so are those of any structure that the caller can fill in.
unsafe trait Options: Sized {
    /// What it is called in C.
    const NAME: &str;
    /// How long it was in the first release that had it.
    const FIRST_SIZE: usize;
}

/// The largest structure of options that any release can have.
const MAX_OPTIONS: usize = 4096;

/// How long the caller's structure is.
///
/// # Safety
///
/// `given` points to a `T` of this or another release.
unsafe fn given_size<T: Options>(given: *const T) -> Result<usize> {
    // SAFETY: the caller's promise: a `size_t` comes first in every release.
    let size = unsafe { given.cast::<usize>().read() };
    if size < T::FIRST_SIZE || size > MAX_OPTIONS || !size.is_multiple_of(size_of::<usize>()) {
        return Err(Error::invalid(format!(
            "the size in {0} is {size}: it must be sizeof({0}), as {0} initializers set it",
            T::NAME
        )));
    }
    Ok(size)
}

/// The options that the caller gave, if any. Fields that an earlier release does not have are zero here; fields of a later release must be.
///
/// # Safety
///
/// `options` is null, or points to a `T` of this or another release.
unsafe fn options<T: Options>(options: *const T) -> Result<Option<T>> {
    if options.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    let size = unsafe { given_size(options) }?;
    // SAFETY: the caller's promise: so many bytes are there.
    let given = unsafe { std::slice::from_raw_parts(options.cast::<u8>(), size) };
    let (known, newer) = given.split_at(size.min(size_of::<T>()));
    if newer.iter().any(|&byte| byte != 0) {
        return Err(Error::Unsupported(format!("{} has fields set that this release of the library does not have", T::NAME)));
    }
    let mut result = MaybeUninit::<T>::zeroed();
    // SAFETY: it is at least as long as what is known.
    unsafe { result.as_mut_ptr().cast::<u8>().copy_from_nonoverlapping(known.as_ptr(), known.len()) };
    // SAFETY: `Options`.
    Ok(Some(unsafe { result.assume_init() }))
}
