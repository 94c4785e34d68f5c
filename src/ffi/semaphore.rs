//! Semaphores
//!
//! There are two kinds, and which one is right depends on what the count stands for.
//!
//! Signals (ipc_semaphore_create): any process may release, whether it has acquired or not, as with POSIX
//! semaphores. It counts events ("three jobs are waiting"). A process that dies takes the units that it
//! acquired with it.
//!
//! Permits (ipc_semaphore_create_permits): a fixed number of them; a process gives back what it acquired,
//! and what it holds when it dies, or calls exec, comes back by itself. It limits how many use something at a
//! time. As with SEM_UNDO of semop(2), permits belong to the process, not to a thread: any of its threads may
//! give them back, and a child of fork holds none of its parent's. At most 120 processes can use one such
//! semaphore at a time. Permits of the dead are free again within a millisecond or so, at the latest 100 ms
//! after the death.
//!
//! Neither kind makes a system call unless it has to wait, or to wake somebody.

use std::ffi::{c_char, c_int};
use std::os::fd::AsRawFd;

use super::Out;
use super::error::{call, ipc_result};
use super::handle::{self, put, put_in};
use super::name::{ipc_options, named};
use super::region::ipc_region;
use super::timeout::{Wait, wait};
use crate::Semaphore;

/// How many bytes a signalling semaphore takes in a region.
pub const IPC_SEMAPHORE_SIZE: usize = 128;
/// How many bytes a semaphore of permits takes in a region.
pub const IPC_PERMITS_SIZE: usize = 8832;
/// The offset there, of either kind, is a multiple of this.
pub const IPC_SEMAPHORE_ALIGN: usize = 64;
/// The largest value of a semaphore.
pub const IPC_SEMAPHORE_MAX_VALUE: u32 = 2147483647;

/// An open semaphore, of either kind.
pub struct ipc_semaphore {
    _private: [u8; 0],
}

/// Creates a signalling semaphore with the value `initial`, at most IPC_SEMAPHORE_MAX_VALUE, and opens it.
///
/// Errors: IPC_ERR_ALREADY_EXISTS; IPC_ERR_INVALID_ARGUMENT for an impossible name or value;
/// IPC_ERR_NO_SPACE, IPC_ERR_PERMISSION_DENIED and other errors of the system.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_semaphore_create(
    name: *const c_char,
    initial: u32,
    options: *const ipc_options,
    out: *mut *mut ipc_semaphore,
) -> ipc_result {
    // SAFETY: C promises that the pointers are as the header says.
    call(|| unsafe { put(out, || named(name, options, |name| Semaphore::create(name, initial))) })
}

/// Creates a semaphore of `total` permits, at most IPC_SEMAPHORE_MAX_VALUE, and opens it.
///
/// Errors: as ipc_semaphore_create.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_semaphore_create_permits(
    name: *const c_char,
    total: u32,
    options: *const ipc_options,
    out: *mut *mut ipc_semaphore,
) -> ipc_result {
    // SAFETY: C promises that the pointers are as the header says.
    call(|| unsafe { put(out, || named(name, options, |name| Semaphore::create_permits(name, total))) })
}

/// Opens a semaphore of either kind.
///
/// Errors: IPC_ERR_NOT_FOUND; IPC_ERR_WRONG_KIND where the name is that of something else;
/// IPC_ERR_WRONG_VERSION, IPC_ERR_CORRUPTED; IPC_ERR_PERMISSION_DENIED and other errors of the system.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_semaphore_open(
    name: *const c_char,
    options: *const ipc_options,
    out: *mut *mut ipc_semaphore,
) -> ipc_result {
    // SAFETY: C promises that the pointers are as the header says.
    call(|| unsafe { put(out, || named(name, options, |name| Semaphore::open(name))) })
}

/// Opens a signalling semaphore, or creates it with the value `initial`. Processes that do so at the same
/// time get the same one.
///
/// Errors: as ipc_semaphore_create and ipc_semaphore_open, less IPC_ERR_ALREADY_EXISTS and
/// IPC_ERR_NOT_FOUND; IPC_ERR_WRONG_KIND also for a semaphore of permits.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_semaphore_open_or_create(
    name: *const c_char,
    initial: u32,
    options: *const ipc_options,
    out: *mut *mut ipc_semaphore,
) -> ipc_result {
    // SAFETY: C promises that the pointers are as the header says.
    call(|| unsafe { put(out, || named(name, options, |name| Semaphore::open_or_create(name, initial))) })
}

/// Opens a semaphore of permits, or creates it with `total` of them. Processes that do so at the same time
/// get the same one.
///
/// Errors: as ipc_semaphore_create and ipc_semaphore_open, less IPC_ERR_ALREADY_EXISTS and
/// IPC_ERR_NOT_FOUND; IPC_ERR_WRONG_KIND also for a signalling semaphore.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_semaphore_open_or_create_permits(
    name: *const c_char,
    total: u32,
    options: *const ipc_options,
    out: *mut *mut ipc_semaphore,
) -> ipc_result {
    // SAFETY: C promises that the pointers are as the header says.
    call(|| unsafe { put(out, || named(name, options, |name| Semaphore::open_or_create_permits(name, total))) })
}

/// Creates a signalling semaphore at `offset` of a region, in IPC_SEMAPHORE_SIZE bytes that are zero, and
/// opens it. The region may be closed before the semaphore is.
///
/// Errors: IPC_ERR_ALREADY_EXISTS where there is an object; IPC_ERR_INVALID_ARGUMENT where the memory is in
/// use or too short, the offset is not a multiple of IPC_SEMAPHORE_ALIGN, or the value is impossible.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_semaphore_create_in(
    region: *const ipc_region,
    offset: usize,
    initial: u32,
    out: *mut *mut ipc_semaphore,
) -> ipc_result {
    // SAFETY: C promises that the pointers are as the header says.
    call(|| unsafe { put_in(out, region, |region| Semaphore::create_in(region, offset, initial)) })
}

/// Creates a semaphore of `total` permits at `offset` of a region, in IPC_PERMITS_SIZE bytes that are zero,
/// and opens it. The region may be closed before the semaphore is.
///
/// Errors: as ipc_semaphore_create_in.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_semaphore_create_permits_in(
    region: *const ipc_region,
    offset: usize,
    total: u32,
    out: *mut *mut ipc_semaphore,
) -> ipc_result {
    // SAFETY: C promises that the pointers are as the header says.
    call(|| unsafe { put_in(out, region, |region| Semaphore::create_permits_in(region, offset, total)) })
}

/// Opens a semaphore of either kind at `offset` of a region. The region may be closed before the semaphore
/// is.
///
/// Errors: IPC_ERR_NOT_FOUND where nothing was created there; otherwise as ipc_semaphore_open.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_semaphore_open_in(
    region: *const ipc_region,
    offset: usize,
    out: *mut *mut ipc_semaphore,
) -> ipc_result {
    // SAFETY: C promises that the pointers are as the header says.
    call(|| unsafe { put_in(out, region, |region| Semaphore::open_in(region, offset)) })
}

/// Closes the handle; the semaphore stays, and so do the permits that the process holds. Closing NULL does
/// nothing. No other thread may be inside a call on the handle, or make one later.
///
/// Errors: IPC_ERR_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_semaphore_close(semaphore: *mut ipc_semaphore) -> ipc_result {
    // SAFETY: C promises that the handle is as the header says.
    call(|| if semaphore.is_null() { Ok(()) } else { unsafe { handle::close(semaphore) } })
}

/// Takes a unit, and waits for one no longer than `timeout_ns`.
///
/// Errors: IPC_ERR_WOULD_BLOCK, IPC_ERR_TIMED_OUT, IPC_ERR_INTERRUPTED by a signal handler; for permits
/// IPC_ERR_LIMIT_REACHED where 120 other processes use the semaphore. Nothing was taken then.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_semaphore_acquire(semaphore: *mut ipc_semaphore, timeout_ns: i64) -> ipc_result {
    call(|| {
        // SAFETY: C promises that the handle is as the header says.
        let semaphore = unsafe { handle::get(semaphore) }?;
        match wait(timeout_ns)? {
            Wait::Forever => semaphore.acquire(),
            Wait::No => semaphore.try_acquire(),
            Wait::For(timeout) => semaphore.acquire_timeout(timeout),
        }
    })
}

/// Gives `count` units at once, and wakes who waits for them.
///
/// Errors: IPC_ERR_LIMIT_REACHED where the value would exceed IPC_SEMAPHORE_MAX_VALUE; for permits
/// IPC_ERR_NOT_OWNER where this process holds fewer. Nothing was given then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_semaphore_release(semaphore: *mut ipc_semaphore, count: u32) -> ipc_result {
    // SAFETY: C promises that the handle is as the header says.
    call(|| unsafe { handle::get(semaphore) }?.release_many(count))
}

/// Puts into `*value` how many units there are to be acquired, at this moment. Permits of the dead are
/// taken back first.
///
/// Errors: IPC_ERR_INVALID_ARGUMENT, and for permits errors of the system; `*value` is 0 then.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_semaphore_value(semaphore: *const ipc_semaphore, value: *mut u32) -> ipc_result {
    call(|| {
        // SAFETY: C promises that the pointers are as the header says.
        let (out, semaphore) = unsafe { (Out::new(value, "value", 0)?, handle::get(semaphore)?) };
        out.set(semaphore.value()?);
        Ok(())
    })
}

/// Puts a descriptor for the program's own event loop into `*fd`: readable while there may be a unit to
/// acquire. Once readable it stays so until an attempt to acquire through this handle without waiting finds
/// none. Otherwise as ipc_queue_readiness_fd.
///
/// Errors: as ipc_queue_readiness_fd; `*fd` is -1 then.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_semaphore_readiness_fd(semaphore: *mut ipc_semaphore, fd: *mut c_int) -> ipc_result {
    call(|| {
        // SAFETY: C promises that the pointers are as the header says.
        let (out, semaphore) = unsafe { (Out::new(fd, "fd", -1)?, handle::get(semaphore)?) };
        out.set(semaphore.readiness_fd()?.as_raw_fd());
        Ok(())
    })
}

const _: () = {
    use crate::shm::layout::{PermitsLayout, SemaphoreLayout};
    assert!(IPC_SEMAPHORE_SIZE == Semaphore::SIZE && IPC_PERMITS_SIZE == Semaphore::PERMITS_SIZE);
    assert!(IPC_SEMAPHORE_ALIGN == align_of::<SemaphoreLayout>() && IPC_SEMAPHORE_ALIGN == align_of::<PermitsLayout>());
    assert!(IPC_SEMAPHORE_MAX_VALUE == crate::MAX_VALUE);
};
