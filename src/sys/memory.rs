//! What the program does with shared memory: atomic reads and writes of words, and copies of bytes.
//!
//! All that the protocols of `sync` and `queue` do to it, and so to each other, goes through here and through `futex` and
//! `thread`. The models (`tests/models`) put their own in the place of these three, and try what may happen between any two
//! steps.

use std::ptr::NonNull;
use std::sync::atomic::AtomicBool;
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::time::Duration;

use nix::errno::Errno;

use crate::sys::thread::{Uncancelled, watch_forks};

/// A SeqCst fence right after a read-modify-write, which on x86 is one already.
#[inline]
pub(crate) fn fence_after_rmw() {
    use Ordering::SeqCst;
    if cfg!(target_arch = "x86_64") { std::sync::atomic::compiler_fence(SeqCst) } else { fence(SeqCst) }
}

/// A SeqCst fence against those who call [`barrier_everywhere`], for threads of processes that [`obeys_barriers`]. It costs nothing.
#[inline]
pub(crate) fn light_barrier() {
    std::sync::atomic::compiler_fence(Ordering::SeqCst);
}

/// A SeqCst fence of this thread, and of each thread whose process obeys it, somewhere between the beginning and the end of this call
/// (`membarrier(2)`: a few microseconds).
#[cold]
pub(crate) fn barrier_everywhere() {
    fence(Ordering::SeqCst);
    if !membarrier(libc::MEMBARRIER_CMD_GLOBAL_EXPEDITED) {
        let _uncancelled = Uncancelled::new();
        // This process may not, and another one might. No processor keeps a store to itself for so long.
        std::thread::sleep(Duration::from_millis(1));
    }
    fence(Ordering::SeqCst);
}

/// Whether this process obeys barriers.
static OBEYS: AtomicBool = AtomicBool::new(false);

/// Sees to it that [`light_barrier`] is one in this process, if the kernel can: the first time in a process that has threads takes some 20
/// milliseconds.
pub(crate) fn obey_barriers() {
    watch_forks();
    if !obeys_barriers() && membarrier(libc::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) {
        OBEYS.store(true, Ordering::Relaxed);
    }
}

/// Whether [`light_barrier`] is one in this process.
#[inline]
pub(crate) fn obeys_barriers() -> bool {
    OBEYS.load(Ordering::Relaxed)
}

/// This process is the child in a fork, and obeys them if its parent did: it has one thread so far, so that this takes a microsecond.
pub(crate) fn obey_barriers_as_parent() {
    if obeys_barriers() && !membarrier(libc::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) {
        OBEYS.store(false, Ordering::Relaxed);
    }
}

fn membarrier(command: libc::c_int) -> bool {
    // SAFETY: the kernel touches no memory.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}

/// How often something has happened, or how much of it, for who looks at a running system: nothing that the program does depends on it.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds to it, where others may do so at the same time.
    #[cold]
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Adds to it, where nobody else does: the caller holds the lock of those who do.
    #[inline]
    pub(crate) fn add_alone(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Reads a word as an Acquire load does, where its memory may be given back to the system meanwhile: None where it is gone, and
/// there is none to be had. A load would be a SIGBUS then.
#[cold]
pub(crate) fn read_if_there(word: &AtomicU64) -> Option<u64> {
    let mut value = 0_u64;
    let local = libc::iovec { iov_base: (&raw mut value).cast(), iov_len: size_of_val(&value) };
    let remote = libc::iovec { iov_base: word.as_ptr().cast(), ..local };
    // SAFETY: the kernel writes to `value` alone.
    let read = unsafe { libc::process_vm_readv(libc::getpid(), &raw const local, 1, &raw const remote, 1, 0) };
    fence(Ordering::Acquire);
    match read {
        8 => Some(value),
        -1 if Errno::last() != Errno::EFAULT => Some(word.load(Ordering::Acquire)), // this process may not (a seccomp filter)
        _ => None,
    }
}

/// Copies `len` bytes, of which some are in shared memory. A peer may scribble meanwhile: then the bytes are any bytes.
///
/// # Safety
///
/// Both places have so many bytes, and those at `to` may be written to.
#[inline]
pub(crate) unsafe fn copy(from: NonNull<u8>, to: NonNull<u8>, len: usize) {
    // SAFETY: the caller's promise. (A user's slice may lie in the same memory: of a region that the object is placed in.)
    unsafe {
        match len {
            0 => {}
            1..4 => {
                let (first, middle, last) = (from.read(), from.add(len / 2).read(), from.add(len - 1).read());
                to.write(first);
                to.add(len / 2).write(middle);
                to.add(len - 1).write(last);
            }
            4..8 => copy_ends::<4>(from, to, len),
            8..16 => copy_ends::<8>(from, to, len),
            16..32 => copy_ends::<16>(from, to, len),
            32..=64 => copy_ends::<32>(from, to, len),
            _ => to.copy_from(from, len),
        }
    }
}

/// Copies the first `N` bytes and the last `N`, of `len` that are at least `N` and at most twice as many: a call of `memmove`
/// costs more than that.
///
/// # Safety
///
/// As for [`copy`].
#[inline]
unsafe fn copy_ends<const N: usize>(from: NonNull<u8>, to: NonNull<u8>, len: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let (first, last) = (from.cast::<[u8; N]>().read(), from.add(len - N).cast::<[u8; N]>().read());
        to.cast::<[u8; N]>().write(first);
        to.add(len - N).cast::<[u8; N]>().write(last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};

    #[test]
    fn a_child_of_fork_obeys_barriers_as_its_parent_does() {
        obey_barriers();
        // SAFETY: the child makes one look, and leaves by `_exit`.
        match unsafe { fork() }.unwrap() {
            // SAFETY: no preconditions.
            ForkResult::Child => unsafe { libc::_exit(i32::from(obeys_barriers())) },
            ForkResult::Parent { child } => {
                assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, i32::from(obeys_barriers()))));
            }
        }
    }
}
