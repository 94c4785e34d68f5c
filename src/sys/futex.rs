//! Sleeping on a word of shared memory, and waking who sleeps there.
//!
//! `futex(2)`; `futex_wait` (Linux 6.7), which takes a bitset and lets the kernel take a wait up again after a signal handler that
//! was installed with SA_RESTART. `FUTEX_WAIT_BITSET` with a timeout, used before 6.7, is ended by every handler (`signal(7)`).

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::error::{Error, Result};
use crate::sys::truncation;

/// How a sleep ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slept {
    /// Somebody woke this thread (it alone used up that wake-up).
    Woken,
    /// The word had another value than expected: there was no sleep.
    NotAtAll,
    /// The time passed.
    TimedOut,
    /// A signal handler ran.
    Interrupted,
}

/// Which sleepers a wake-up is for. A word can have sleepers of several kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Those who want the lock.
    Lock,
    /// Those who wait for a change that the lock's owners make.
    Change,
    /// Those who wait for a change that concerns them alone; many numbers share a bit.
    One(u32),
    /// All of them.
    Any,
}

impl Kind {
    /// As a futex's bitset.
    fn mask(self) -> u32 {
        match self {
            Self::Lock => 1,
            Self::Change => 2,
            Self::One(number) => 4 << (number % 30),
            Self::Any => u32::MAX,
        }
    }
}

/// `futex_wait(2)`: the same number on every architecture. Not yet in the libc crate.
const SYS_FUTEX_WAIT: libc::c_long = 455;
/// Flag of `futex_wait(2)`: the word has 32 bits. Without FUTEX2_PRIVATE it may lie in memory shared with other processes.
const FUTEX2_SIZE_U32: u32 = 2;

/// Set once the kernel has refused `futex_wait`.
static NO_FUTEX_WAIT: AtomicBool = AtomicBool::new(false);

/// Sleeps while `word` is `expected`, for at most `time`, as one of `kind`.
///
/// # Errors
///
/// `Corrupted` where the word's file was cut short: what changes the word is elsewhere then. Otherwise what the kernel may say.
pub(crate) fn wait(word: &AtomicU32, expected: u32, kind: Kind, time: Duration) -> Result<Slept> {
    truncation::check(word)?;
    let end = end_of(time)?;
    loop {
        let old = NO_FUTEX_WAIT.load(Relaxed);
        let result = if old {
            // SAFETY: the word is valid for as long as the reference, and the timespec is on this stack.
            unsafe {
                let op = libc::FUTEX_WAIT_BITSET;
                libc::syscall(libc::SYS_futex, word.as_ptr(), op, expected, &raw const end, 0, kind.mask())
            }
        } else {
            let (mask, expected) = (u64::from(kind.mask()), u64::from(expected));
            // SAFETY: as above.
            unsafe {
                let end = &raw const end;
                libc::syscall(SYS_FUTEX_WAIT, word.as_ptr(), expected, mask, FUTEX2_SIZE_U32, end, libc::CLOCK_MONOTONIC)
            }
        };
        if result == 0 {
            return Ok(Slept::Woken);
        }
        match std::io::Error::last_os_error().raw_os_error().unwrap_or(0) {
            libc::EAGAIN => return Ok(Slept::NotAtAll),
            libc::ETIMEDOUT => return Ok(Slept::TimedOut),
            libc::EINTR => return Ok(Slept::Interrupted),
            libc::ENOSYS | libc::EPERM if !old => NO_FUTEX_WAIT.store(true, Relaxed),
            libc::EFAULT => return Err(truncation::CUT_SHORT),
            errno => return Err(Error::os(errno, "waiting on a futex")),
        }
    }
}

/// `struct futex_waitv` of `linux/futex.h`.
#[repr(C)]
struct WaitV {
    val: u64,
    uaddr: u64,
    flags: u32,
    reserved: u32,
}

/// The most words that a thread can sleep on at a time (FUTEX_WAITV_MAX).
pub(crate) const MOST_WORDS: usize = 128;

/// Sleeps while all the words have their values, for at most `time`; says which one woke it. Of more than [`MOST_WORDS`], the first.
///
/// `futex_waitv(2)` (Linux 5.16). Where the kernel has none, the thread sleeps on the first word alone.
///
/// # Errors
///
/// As [`wait`], for the first word.
pub(crate) fn wait_any(words: &[(&AtomicU32, u32)], time: Duration) -> Result<(Slept, usize)> {
    truncation::check(words[0].0)?;
    let end = end_of(time)?;
    let waiters: Vec<WaitV> = words
        .iter()
        .take(MOST_WORDS)
        .map(|(word, expected)| WaitV {
            val: u64::from(*expected),
            uaddr: word.as_ptr().addr() as u64,
            flags: FUTEX2_SIZE_U32,
            reserved: 0,
        })
        .collect();
    // SAFETY: the words are valid for as long as the references, and the rest is on this stack.
    let result = unsafe {
        libc::syscall(libc::SYS_futex_waitv, waiters.as_ptr(), waiters.len(), 0, &raw const end, libc::CLOCK_MONOTONIC)
    };
    if let Ok(which) = usize::try_from(result) {
        return Ok((Slept::Woken, which));
    }
    match std::io::Error::last_os_error().raw_os_error().unwrap_or(0) {
        libc::EAGAIN => Ok((Slept::NotAtAll, 0)),
        libc::ETIMEDOUT => Ok((Slept::TimedOut, 0)),
        libc::EINTR => Ok((Slept::Interrupted, 0)),
        libc::ENOSYS | libc::EPERM => wait(words[0].0, words[0].1, Kind::Any, time).map(|slept| (slept, 0)),
        libc::EFAULT => Err(truncation::CUT_SHORT),
        errno => Err(Error::os(errno, "waiting on futexes")),
    }
}

/// Whether the kernel has `futex_waitv(2)` (Linux 5.16; a sandbox may forbid it).
pub(crate) fn can_wait_any() -> bool {
    /// 1 where it can, 2 where it cannot; 0: not asked yet.
    static CAN: AtomicU32 = AtomicU32::new(0);
    if CAN.load(Relaxed) == 0 {
        // SAFETY: it is given nothing, and refuses that (EINVAL) where there is such a call.
        unsafe { libc::syscall(libc::SYS_futex_waitv, std::ptr::null::<WaitV>(), 0, 0, std::ptr::null::<libc::timespec>(), 0) };
        let missing = matches!(std::io::Error::last_os_error().raw_os_error(), Some(libc::ENOSYS | libc::EPERM));
        CAN.store(if missing { 2 } else { 1 }, Relaxed);
    }
    CAN.load(Relaxed) == 1
}

/// The moment `time` from now on the monotonic clock.
fn end_of(time: Duration) -> Result<libc::timespec> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_err(|e| Error::os(e as i32, "reading the monotonic clock"))?;
    let end = Duration::new(now.tv_sec().unsigned_abs(), now.tv_nsec() as u32).saturating_add(time);
    Ok(libc::timespec { tv_sec: i64::try_from(end.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(end.subsec_nanos()) })
}

/// Wakes up to `most` of the sleepers of `kind` on `word`, those first who came first; says how many.
pub(crate) fn wake(word: &AtomicU32, most: u32, kind: Kind) -> u32 {
    let most = i32::try_from(most).unwrap_or(i32::MAX);
    let null = std::ptr::null::<libc::timespec>();
    // SAFETY: the kernel only uses the word's address to find its sleepers.
    let woken = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE_BITSET, most, null, 0, kind.mask()) };
    // An error means that nobody can be asleep there (the page is gone).
    u32::try_from(woken).unwrap_or(0)
}
