//! Nothing lies beside a shared mapping: who reaches outside an object is stopped by the processor.
//!
//! These functions take the place of the C library's in the whole program.

use std::ffi::{c_int, c_void};
use std::ptr::without_provenance_mut;
use std::sync::Mutex;

/// So many bytes before and behind each shared mapping can be neither read nor written.
const GUARD: usize = 1 << 30;

/// The guarded mappings: where they begin, and how long they are.
static GUARDED: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());

fn raw_mmap(at: usize, len: usize, access: c_int, flags: c_int, fd: c_int, offset: i64) -> usize {
    // SAFETY: the callers' arguments, which they answer for.
    unsafe { libc::syscall(libc::SYS_mmap, at, len, access, flags, fd, offset) as usize }
}

fn raw_munmap(at: usize, len: usize) -> c_int {
    // SAFETY: as above.
    unsafe { libc::syscall(libc::SYS_munmap, at, len) as c_int }
}

/// `mmap(2)`.
#[unsafe(no_mangle)]
extern "C" fn mmap64(at: *mut c_void, len: usize, access: c_int, flags: c_int, fd: c_int, offset: i64) -> *mut c_void {
    let failed = libc::MAP_FAILED.addr();
    let shared = at.is_null() && flags & libc::MAP_SHARED != 0 && flags & libc::MAP_FIXED == 0 && fd >= 0;
    if !shared {
        return without_provenance_mut(raw_mmap(at.addr(), len, access, flags, fd, offset));
    }
    let len = len.next_multiple_of(4096);
    let hidden = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let around = raw_mmap(0, len + 2 * GUARD, libc::PROT_NONE, hidden, -1, 0);
    if around == failed {
        return libc::MAP_FAILED;
    }
    let mapped = raw_mmap(around + GUARD, len, access, flags | libc::MAP_FIXED, fd, offset);
    if mapped == failed {
        let error = std::io::Error::last_os_error();
        raw_munmap(around, len + 2 * GUARD);
        // SAFETY: it is this thread's.
        unsafe { *libc::__errno_location() = error.raw_os_error().unwrap_or(libc::ENOMEM) };
    } else {
        GUARDED.lock().unwrap().push((mapped, len));
    }
    without_provenance_mut(mapped)
}

/// `munmap(2)`.
#[unsafe(no_mangle)]
extern "C" fn munmap(at: *mut c_void, len: usize) -> c_int {
    let mut guarded = GUARDED.lock().unwrap();
    let known = guarded.iter().position(|&(start, whole)| start == at.addr() && whole == len.next_multiple_of(4096));
    match known.map(|index| guarded.swap_remove(index)) {
        Some((start, whole)) => raw_munmap(start - GUARD, whole + 2 * GUARD),
        None => raw_munmap(at.addr(), len),
    }
}
