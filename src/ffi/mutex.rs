//! Mutexes
//!
//! A mutex belongs to the thread that locks it, which alone can unlock it. It is robust: if that thread
//! ends in whatever way (its process was killed, it returned, it called exec), the next who locks the mutex
//! gets it, and ipc_mutex_lock says IPC_OWNER_DIED: what the mutex guards may be half changed. That stays
//! so for every later owner until one of them has repaired it and says so with ipc_mutex_mark_consistent,
//! or gives the mutex up for good with ipc_mutex_give_up.
//!
//! Locking and unlocking make no system call unless somebody waits. A child of fork holds none of its
//! parent's locks. Mutexes are for processes that trust each other: one that writes over the mutex's memory
//! can crash those who use it.

use std::ffi::c_char;

use super::Out;
use super::error::ipc_result::{IPC_OK, IPC_OWNER_DIED};
use super::error::{call, call_for, ipc_result};
use super::handle::{self, put, put_in};
use super::name::{ipc_options, named};
use super::region::ipc_region;
use super::timeout::{Wait, wait};
use crate::Mutex;
use crate::error::Error;

/// How many bytes a mutex takes in a region.
pub const IPC_MUTEX_SIZE: usize = 128;
/// Its offset there is a multiple of this.
pub const IPC_MUTEX_ALIGN: usize = 8;

/// An open mutex.
pub struct ipc_mutex {
    _private: [u8; 0],
}

/// Creates a mutex and opens it.
///
/// Errors: IPC_ERR_ALREADY_EXISTS; IPC_ERR_INVALID_ARGUMENT for an impossible name; IPC_ERR_NO_SPACE,
/// IPC_ERR_PERMISSION_DENIED and other errors of the system.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_mutex_create(
    name: *const c_char,
    options: *const ipc_options,
    out: *mut *mut ipc_mutex,
) -> ipc_result {
    // SAFETY: C promises that the pointers are as the header says.
    call(|| unsafe { put(out, || named(name, options, |name| Mutex::create(name, ()))) })
}

/// Opens a mutex. One that a Rust program made with data inside can be opened as well.
///
/// Errors: IPC_ERR_NOT_FOUND; IPC_ERR_WRONG_KIND, IPC_ERR_WRONG_VERSION, IPC_ERR_CORRUPTED;
/// IPC_ERR_PERMISSION_DENIED and other errors of the system.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_mutex_open(
    name: *const c_char,
    options: *const ipc_options,
    out: *mut *mut ipc_mutex,
) -> ipc_result {
    // SAFETY: C promises that the pointers are as the header says.
    call(|| unsafe { put(out, || named(name, options, |name| Mutex::open(name))) })
}

/// Opens a mutex, or creates it. Processes that do so at the same time get the same one.
///
/// Errors: as ipc_mutex_create and ipc_mutex_open, less IPC_ERR_ALREADY_EXISTS and IPC_ERR_NOT_FOUND.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_mutex_open_or_create(
    name: *const c_char,
    options: *const ipc_options,
    out: *mut *mut ipc_mutex,
) -> ipc_result {
    // SAFETY: C promises that the pointers are as the header says.
    call(|| unsafe { put(out, || named(name, options, |name| Mutex::open_or_create(name, ()))) })
}

/// Creates a mutex at `offset` of a region, in IPC_MUTEX_SIZE bytes that are zero, and opens it. The region
/// may be closed before the mutex is.
///
/// Errors: IPC_ERR_ALREADY_EXISTS where there is an object; IPC_ERR_INVALID_ARGUMENT where the memory is in
/// use or too short, or the offset is not a multiple of IPC_MUTEX_ALIGN.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_mutex_create_in(region: *const ipc_region, offset: usize, out: *mut *mut ipc_mutex) -> ipc_result {
    // SAFETY: C promises that the pointers are as the header says.
    call(|| unsafe { put_in(out, region, |region| Mutex::create_in(region, offset, ())) })
}

/// Opens a mutex at `offset` of a region. The region may be closed before the mutex is.
///
/// Errors: IPC_ERR_NOT_FOUND where nothing was created there; otherwise as ipc_mutex_open.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_mutex_open_in(region: *const ipc_region, offset: usize, out: *mut *mut ipc_mutex) -> ipc_result {
    // SAFETY: C promises that the pointers are as the header says.
    call(|| unsafe { put_in(out, region, |region| Mutex::open_in(region, offset)) })
}

/// Closes the handle; the mutex stays. Closing NULL does nothing. No other thread may be inside a call on
/// the handle, or make one later.
///
/// Errors: IPC_ERR_INVALID_ARGUMENT, also where a thread of this process holds the mutex through this
/// handle: unlock it first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_mutex_close(mutex: *mut ipc_mutex) -> ipc_result {
    call(|| {
        if mutex.is_null() {
            return Ok(());
        }
        // SAFETY: C promises that the handle is as the header says.
        if unsafe { handle::get(mutex) }?.is_held() {
            return Err(Error::invalid("a thread of this process holds the mutex through this handle: unlock it first"));
        }
        // SAFETY: as above.
        unsafe { handle::close(mutex) }
    })
}

/// Locks the mutex, and waits for it no longer than `timeout_ns`. The calling thread holds it after IPC_OK
/// and after IPC_OWNER_DIED.
///
/// IPC_OWNER_DIED: an owner died holding it, and nobody has called ipc_mutex_mark_consistent since. Repair
/// what the mutex guards and call that, or call ipc_mutex_give_up; then unlock, as always.
///
/// Errors: IPC_ERR_WOULD_BLOCK, IPC_ERR_TIMED_OUT, IPC_ERR_INTERRUPTED by a signal handler;
/// IPC_ERR_DEADLOCK where this thread holds it already; IPC_ERR_NOT_RECOVERABLE where it was given up. The
/// thread does not hold it then.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_mutex_lock(mutex: *mut ipc_mutex, timeout_ns: i64) -> ipc_result {
    call_for(|| {
        // SAFETY: C promises that the handle is as the header says.
        let mutex = unsafe { handle::get(mutex) }?;
        let guard = match wait(timeout_ns)? {
            Wait::Forever => mutex.lock(),
            Wait::No => mutex.try_lock(),
            Wait::For(timeout) => mutex.lock_timeout(timeout),
        }?;
        let owner_died = guard.owner_died();
        std::mem::forget(guard);
        Ok(if owner_died { IPC_OWNER_DIED } else { IPC_OK })
    })
}

/// Unlocks the mutex, and wakes who waits for it. Only by the thread that locked it, with the same handle.
///
/// Errors: IPC_ERR_NOT_OWNER where this thread does not hold it through this handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_mutex_unlock(mutex: *mut ipc_mutex) -> ipc_result {
    // SAFETY: C promises that the handle is as the header says; the guards were forgotten.
    call(|| unsafe { handle::get(mutex)?.force_unlock() })
}

/// Says that what the mutex guards is consistent (again): later owners are not told of the death any more.
/// For who holds the mutex.
///
/// Errors: IPC_ERR_NOT_OWNER where this thread does not hold it through this handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_mutex_mark_consistent(mutex: *mut ipc_mutex) -> ipc_result {
    // SAFETY: C promises that the handle is as the header says.
    call(|| unsafe { handle::get(mutex) }?.mark_consistent())
}

/// Gives the mutex up as not recoverable, for who holds it. Then unlock it: all who wait for it, and all
/// who come, get IPC_ERR_NOT_RECOVERABLE. It cannot be undone, but for unlinking the mutex and creating it
/// anew with what it guards.
///
/// Errors: IPC_ERR_NOT_OWNER where this thread does not hold it through this handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_mutex_give_up(mutex: *mut ipc_mutex) -> ipc_result {
    // SAFETY: C promises that the handle is as the header says.
    call(|| unsafe { handle::get(mutex) }?.give_up())
}

/// Puts into `*inconsistent` whether an owner died and nobody has called ipc_mutex_mark_consistent since.
/// Exact for who holds the mutex.
///
/// Errors: IPC_ERR_INVALID_ARGUMENT; `*inconsistent` is false then.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_mutex_is_inconsistent(mutex: *const ipc_mutex, inconsistent: *mut bool) -> ipc_result {
    call(|| {
        // SAFETY: C promises that the pointers are as the header says.
        let (out, mutex) = unsafe { (Out::new(inconsistent, "inconsistent", false)?, handle::get(mutex)?) };
        out.set(mutex.is_inconsistent());
        Ok(())
    })
}

const _: () = {
    assert!(IPC_MUTEX_SIZE == Mutex::<()>::SIZE);
    assert!(IPC_MUTEX_ALIGN == align_of::<crate::shm::layout::MutexLayout>());
};
