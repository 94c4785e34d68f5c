//! Regions
//!
//! A region is memory that processes share: bytes that they arrange as they like, and in which mutexes,
//! semaphores and queues can be placed. All its memory is reserved when it is created or grown, so touching
//! it never fails for want of memory (no SIGBUS). It begins zeroed. It can grow, never shrink. What several
//! processes change at the same time is theirs to order, with a mutex placed in it for example; a death of
//! one of them does nothing to the bytes.

use std::ffi::{c_char, c_int, c_void};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::null_mut;

use super::error::{call, ipc_result};
use super::handle::{self, put};
use super::name::{ipc_options, named};
use super::{Out, duplicate};
use crate::Region;

/// An open region.
pub struct ipc_region {
    _private: [u8; 0],
}

/// Creates a region of `len` bytes (at least 1) and opens it.
///
/// Errors: IPC_ERR_ALREADY_EXISTS; IPC_ERR_INVALID_ARGUMENT for an impossible name or a length of 0;
/// IPC_ERR_NO_SPACE where so much memory cannot be reserved; IPC_ERR_PERMISSION_DENIED and other errors of
/// the system.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_region_create(
    name: *const c_char,
    len: usize,
    options: *const ipc_options,
    out: *mut *mut ipc_region,
) -> ipc_result {
    // SAFETY: C promises that the pointers are as the header says.
    call(|| unsafe { put(out, || named(name, options, |name| Region::create(name, len))) })
}

/// Opens a region.
///
/// Errors: IPC_ERR_NOT_FOUND; IPC_ERR_WRONG_KIND, IPC_ERR_WRONG_VERSION, IPC_ERR_CORRUPTED;
/// IPC_ERR_PERMISSION_DENIED and other errors of the system.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_region_open(
    name: *const c_char,
    options: *const ipc_options,
    out: *mut *mut ipc_region,
) -> ipc_result {
    // SAFETY: C promises that the pointers are as the header says.
    call(|| unsafe { put(out, || named(name, options, |name| Region::open(name))) })
}

/// Opens a region, or creates it with `len` bytes. Processes that do so at the same time get the same one.
/// An existing region keeps its length.
///
/// Errors: as ipc_region_create and ipc_region_open, less IPC_ERR_ALREADY_EXISTS and IPC_ERR_NOT_FOUND.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_region_open_or_create(
    name: *const c_char,
    len: usize,
    options: *const ipc_options,
    out: *mut *mut ipc_region,
) -> ipc_result {
    // SAFETY: C promises that the pointers are as the header says.
    call(|| unsafe { put(out, || named(name, options, |name| Region::open_or_create(name, len))) })
}

/// Makes a region of `len` bytes without a name (memfd_create(2)). Others get it by its descriptor: a child
/// inherits it, a Unix socket carries it (SCM_RIGHTS), and ipc_region_from_fd opens it there. The
/// descriptor is closed on exec.
///
/// Errors: IPC_ERR_INVALID_ARGUMENT for a length of 0; IPC_ERR_NO_SPACE or IPC_ERR_NO_MEMORY where so much
/// memory cannot be reserved; other errors of the system.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_region_create_anonymous(len: usize, out: *mut *mut ipc_region) -> ipc_result {
    // SAFETY: C promises that the pointer is as the header says.
    call(|| unsafe { put(out, || Region::anonymous(len)) })
}

/// Opens the region behind a descriptor that came from ipc_region_fd, in this or another process. The
/// descriptor stays the caller's, who may close it right after: the handle has a duplicate of its own.
///
/// Errors: IPC_ERR_INVALID_ARGUMENT where `fd` is not an open descriptor; IPC_ERR_CORRUPTED where it is not
/// that of a region; IPC_ERR_WRONG_KIND, IPC_ERR_WRONG_VERSION, IPC_ERR_TOO_MANY_FILES and other errors of
/// the system.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_region_from_fd(fd: c_int, out: *mut *mut ipc_region) -> ipc_result {
    // SAFETY: C promises that the pointer is as the header says.
    call(|| unsafe { put(out, || Region::from_fd(duplicate(fd)?)) })
}

/// Closes the handle: pointers that ipc_region_map gave are invalid from here on. Objects placed in the
/// region stay open, and keep the memory that they need. The memory goes when the name is unlinked and
/// nobody has anything of it open. Closing NULL does nothing.
///
/// No other thread may be inside a call on the handle, or make one later.
///
/// Errors: IPC_ERR_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_region_close(region: *mut ipc_region) -> ipc_result {
    // SAFETY: C promises that the handle is as the header says.
    call(|| if region.is_null() { Ok(()) } else { unsafe { handle::close(region) } })
}

/// Puts the region's file descriptor into `*fd`, to be handed to another process. It stays the handle's: do
/// not close it.
///
/// Errors: IPC_ERR_INVALID_ARGUMENT; `*fd` is -1 then.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_region_fd(region: *const ipc_region, fd: *mut c_int) -> ipc_result {
    call(|| {
        // SAFETY: C promises that the pointers are as the header says.
        let (out, region) = unsafe { (Out::new(fd, "fd", -1)?, handle::get(region)?) };
        out.set(region.as_fd().as_raw_fd());
        Ok(())
    })
}

/// Puts into `*len` how many bytes the region has now; another process may have grown it.
///
/// Errors: IPC_ERR_INVALID_ARGUMENT; `*len` is 0 then.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_region_len(region: *const ipc_region, len: *mut usize) -> ipc_result {
    call(|| {
        // SAFETY: C promises that the pointers are as the header says.
        let (out, region) = unsafe { (Out::new(len, "len", 0)?, handle::get(region)?) };
        out.set(region.len());
        Ok(())
    })
}

/// Makes the region at least `len` bytes long, for all processes. The new bytes are zero. Pointers that
/// ipc_region_map gave stay valid, for as many bytes as before: map it again to reach the new ones.
///
/// Errors: IPC_ERR_NO_SPACE where so much memory cannot be reserved (the region is as it was);
/// IPC_ERR_INVALID_ARGUMENT for a `len` below its length, since regions only grow; errors of the system.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_region_grow(region: *mut ipc_region, len: usize) -> ipc_result {
    // SAFETY: C promises that the handle is as the header says.
    call(|| unsafe { handle::get(region) }?.grow(len))
}

/// Puts into `*ptr` where the region's bytes are in this process, and into `*len` how many there are: all
/// of them, also those that another process has added. The address is a multiple of 4096, and another one
/// in every process: keep offsets in the region, not pointers.
///
/// The pointer is valid for `*len` bytes until this handle is closed, also when the region grows meanwhile.
/// In a child of fork it is valid, too. Unmapping it is the library's business.
///
/// Errors: IPC_ERR_CORRUPTED where the file was cut short; IPC_ERR_NO_MEMORY where the address space has no
/// room. `*ptr` is NULL and `*len` 0 then.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_region_map(region: *mut ipc_region, ptr: *mut *mut c_void, len: *mut usize) -> ipc_result {
    call(|| {
        // SAFETY: C promises that the pointers are as the header says.
        let (ptr, len) = unsafe { (Out::new(ptr, "ptr", null_mut()), Out::new(len, "len", 0)) };
        let (ptr, len) = (ptr?, len?);
        // The region keeps every mapping that it has made.
        // SAFETY: C promises that the handle is as the header says.
        let view = unsafe { handle::get(region) }?.view()?;
        ptr.set(view.as_ptr().cast());
        len.set(view.len());
        Ok(())
    })
}
