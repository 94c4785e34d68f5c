//! Threads of the library's own: `pthread_create(3)`, `pthread_sigmask(3)`.
//!
//! The C library ends a process with its last thread, which is not to be one of these: they look whether they are left alone.

use std::ffi::{CStr, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};

use crate::error::{Error, Result};
use crate::sys::process::{PerProcess, is_left_to};

/// How many there are.
static OWN: PerProcess<AtomicU32> = PerProcess::new();

/// How often one that has nothing else to do looks whether there are others.
pub(crate) const LOOK_FOR_OTHERS: Duration = Duration::from_secs(5);

/// Whether this process has no other threads than these any more.
pub(crate) fn are_left_alone() -> bool {
    is_left_to(OWN.get().load(Relaxed))
}

/// Starts a thread that no signal is delivered to, but those that it brings upon itself (`sys::truncation`).
///
/// Not by `std::thread`, whose new threads abort the process where there is no memory for their alternative signal stacks.
pub(crate) fn spawn_without_signals(name: &'static CStr, work: impl FnOnce() + Send + 'static) -> Result<()> {
    type Work = Box<dyn FnOnce() + Send>;

    extern "C" fn start(work: *mut c_void) -> *mut c_void {
        // SAFETY: it came from the box below, and this thread alone has it.
        let work = unsafe { Box::from_raw(work.cast::<Work>()) };
        OWN.get().fetch_add(1, Relaxed);
        // What panics has said so.
        let _ = catch_unwind(AssertUnwindSafe(*work));
        OWN.get().fetch_sub(1, Relaxed);
        null_mut()
    }

    let work: Work = Box::new(move || {
        // SAFETY: the name is a string.
        unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
        work();
    });
    let masking = |e: Errno| Error::os(e as i32, "blocking signals for a new thread");
    // It inherits the mask.
    let mut all = SigSet::all();
    all.remove(Signal::SIGBUS);
    let mask = all.thread_swap_mask(SigmaskHow::SIG_SETMASK).map_err(masking)?;
    let data = Box::into_raw(Box::new(work));
    // SAFETY: the attributes are initialized before they are used, and the thread gets what it takes.
    let failed = unsafe {
        let (mut attributes, mut thread) = (std::mem::zeroed(), std::mem::zeroed());
        libc::pthread_attr_init(&raw mut attributes);
        libc::pthread_attr_setdetachstate(&raw mut attributes, libc::PTHREAD_CREATE_DETACHED);
        libc::pthread_attr_setstacksize(&raw mut attributes, STACK);
        let failed = libc::pthread_create(&raw mut thread, &raw const attributes, start, data.cast()) != 0;
        libc::pthread_attr_destroy(&raw mut attributes);
        failed
    };
    mask.thread_set_mask().map_err(masking)?;
    if failed {
        // SAFETY: there is no thread that has it.
        drop(unsafe { Box::from_raw(data) });
        let why = "no thread can be started: there are as many as there may be (ulimit -u, pids.max), or no room for its stack (ulimit -v)";
        return Err(Error::NoMemory(why.into()));
    }
    Ok(())
}

/// How many bytes of stack such a thread has.
const STACK: usize = 2 << 20;
