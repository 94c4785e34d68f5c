//! Which process this is, and whether another one still lives.
//!
//! A process id alone is no identity: it is used again. With the time the process was started (field 22 of `/proc/pid/stat`,
//! `proc_pid_stat(5)`) it is one, within one pid namespace (`pid_namespaces(7)`). A process that calls exec keeps both; but it has another
//! program then, which knows of nothing that the first one held. So where its stack begins is a part of the identity (field 28): that is
//! another address after each exec, unless addresses are not randomized (`personality(2)`).
//!
//! Among several namespaces processes are told apart by lives (`sync::strangers`). Whoever is not known to be gone counts as alive.

use std::ffi::c_void;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicPtr, AtomicU8};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::sys::thread::{Uncancelled, forks, watch_forks};

/// Who a process is, in one word: its id in the lower 22 bits (the kernel's limit), its [`Start`] in the next 38. Or, with bit 60
/// set, the number of a life in the next 12, and how often that was begun in the other 48. The upper three bits are 0: they are
/// other people's to use. 0 is nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity(pub(crate) u64);

const PID_BITS: u32 = 22;
const PID_MASK: u64 = (1 << PID_BITS) - 1;
const NATIVE: u64 = (1 << 60) - 1;
const OF_LIFE: u64 = 1 << 60;
const LIFE_SHIFT: u32 = 48;
/// The most lives there can be.
pub(crate) const MOST_LIVES: u32 = (1 << 12) - 1;

/// How a process came to be what it is: when it was started, in clock ticks since boot, in the lower 24 bits (two days, after
/// which a process id that is used again meets the same tick hardly ever), and its program's stack in the upper 14. Each is 0
/// where it cannot be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Start(u64);

const TICKS_BITS: u32 = 24;
const STACK_BITS: u32 = 14;

impl Start {
    fn new(ticks: u64, stack: u64) -> Self {
        // Any 14 bits that differ for most addresses.
        let mark = stack.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - STACK_BITS);
        let mark = if stack == 0 { 0 } else { mark.max(1) };
        Self(mark << TICKS_BITS | ticks & ((1 << TICKS_BITS) - 1))
    }

    /// Whether these are known to be those of two programs.
    fn differs(self, other: Self) -> bool {
        let differ = |a: u64, b: u64| a != 0 && b != 0 && a != b;
        let ticks = |start: Self| start.0 & ((1 << TICKS_BITS) - 1);
        differ(ticks(self), ticks(other)) || differ(self.0 >> TICKS_BITS, other.0 >> TICKS_BITS)
    }
}

/// A thread of a program, in one word: the program's [`Identity`] with the thread's id in the place of the ticks. The upper four
/// bits are 0. 0 is nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ThreadOf(pub(crate) u64);

impl ThreadOf {
    const TIDS: u64 = ((1 << TICKS_BITS) - 1) << PID_BITS;

    pub(crate) fn new(tid: u32, program: Identity) -> Self {
        Self(program.0 & NATIVE & !Self::TIDS | u64::from(tid) << PID_BITS & Self::TIDS)
    }

    pub(crate) fn tid(self) -> u32 {
        ((self.0 & Self::TIDS) >> PID_BITS) as u32
    }

    /// Its program. When that was started is not known.
    pub(crate) fn program(self) -> Identity {
        Identity(self.0 & NATIVE & !Self::TIDS)
    }

    /// Whether the process of this id has no thread of this id.
    pub(crate) fn is_gone(self) -> bool {
        thread_of_is_gone(self.program().pid(), self.tid())
    }
}

/// What this process knows of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Me {
    pub(crate) identity: Identity,
    /// The number of its pid namespace; 0 where it cannot be known.
    pub(crate) namespace: u32,
    /// Whether `/proc` shows the processes of that namespace.
    proc_is_ours: bool,
}

/// This process. What it found out first holds, also where there was no descriptor to look at its start with: what it holds is its own.
#[inline]
pub(crate) fn me() -> Me {
    static ME: PerProcess<Me> = PerProcess::new();
    *ME.get()
}

impl Default for Me {
    #[cold]
    fn default() -> Self {
        let pid = std::process::id();
        let start = stat("self").map_or(0, |stat| stat.start.0);
        Self {
            identity: Identity::new(pid, start),
            namespace: fs::metadata("/proc/thread-self/ns/pid").map_or(0, |meta| meta.ino() as u32),
            proc_is_ours: fs::read_link("/proc/self").is_ok_and(|own| own.as_os_str() == pid.to_string().as_str()),
        }
    }
}

impl Identity {
    /// The process's id; 0 where it is known by a life.
    pub(crate) fn pid(self) -> u32 {
        if self.0 & OF_LIFE == 0 { (self.0 & PID_MASK) as u32 } else { 0 }
    }

    /// What tells it from others with its id.
    pub(crate) fn start(self) -> u64 {
        (self.0 & NATIVE) >> PID_BITS
    }

    pub(crate) fn new(pid: u32, start: u64) -> Self {
        Self((start << PID_BITS | u64::from(pid)) & NATIVE)
    }

    /// Who is known by a life, which was begun so often.
    pub(crate) fn of_life(life: u32, begun: u64) -> Self {
        Self(OF_LIFE | u64::from(life & MOST_LIVES) << LIFE_SHIFT | begun & ((1 << LIFE_SHIFT) - 1))
    }

    /// The life by which it is known, if it is.
    pub(crate) fn life(self) -> Option<u32> {
        (self.0 & OF_LIFE != 0).then_some((self.0 >> LIFE_SHIFT) as u32 & MOST_LIVES)
    }

    /// How often that life was begun.
    pub(crate) fn begun(self) -> u64 {
        self.0 & ((1 << LIFE_SHIFT) - 1)
    }

    /// Whether the process is known to be gone. `namespace` is the pid namespace it lived in. Of who is known by a life, nothing
    /// is known here.
    pub(crate) fn is_gone(self, namespace: u32) -> bool {
        let me = me();
        if namespace != me.namespace || namespace == 0 || self.pid() == 0 {
            return false;
        }
        if thread_is_gone(self.pid()) {
            return true;
        }
        // Its id is in use: by it, by another one, by the program that it has become, or by what is left of it until its parent
        // has asked for its status.
        // Where `/proc` does not show it (hidepid), it counts as alive.
        me.proc_is_ours
            && stat(&self.pid().to_string()).is_some_and(|stat| stat.has_ended() || stat.start.differs(Start(self.start())))
    }
}

/// Whether no thread of this pid namespace has this id.
pub(crate) fn thread_is_gone(tid: u32) -> bool {
    me().namespace != 0 && i32::try_from(tid).is_ok_and(|tid| tid > 0 && kill(Pid::from_raw(tid), None) == Err(Errno::ESRCH))
}

/// Whether this process has no thread of this id.
pub(crate) fn own_thread_is_gone(tid: u32) -> bool {
    thread_of_is_gone(std::process::id(), tid)
}

fn thread_of_is_gone(pid: u32, tid: u32) -> bool {
    // SAFETY: without a signal nothing is sent.
    let result = unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, 0) };
    result != 0 && Errno::last() == Errno::ESRCH
}

/// A value of this process. A child of fork begins with another: of the parent's, some thread may have been about to change it.
pub(crate) struct PerProcess<T> {
    now: AtomicPtr<OneProcess<T>>,
}

struct OneProcess<T> {
    /// `forks()` when it was made.
    forks: u32,
    value: T,
    /// The parent's, which stays where it is; tools that look for leaks find it here.
    _parents: *mut OneProcess<T>,
}

impl<T: Default + Sync> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        Self { now: AtomicPtr::new(std::ptr::null_mut()) }
    }

    #[inline]
    pub(crate) fn get(&'static self) -> &'static T {
        self.known().unwrap_or_else(|| self.make())
    }

    #[inline]
    fn known(&self) -> Option<&'static T> {
        // Acquire: with the Release in `make`.
        // SAFETY: it is null or was a box's, and is never freed.
        let one = unsafe { self.now.load(Acquire).as_ref() }?;
        (one.forks == forks()).then_some(&one.value)
    }

    #[cold]
    fn make(&'static self) -> &'static T {
        watch_forks();
        loop {
            if let Some(known) = self.known() {
                return known;
            }
            let now = self.now.load(Relaxed);
            let new = Box::into_raw(Box::new(OneProcess { forks: forks(), value: T::default(), _parents: now }));
            if self.now.compare_exchange(now, new, Release, Relaxed).is_err() {
                // SAFETY: nobody else has seen it.
                drop(unsafe { Box::from_raw(new) });
            }
        }
    }
}

/// Whether the first thread of this process has ended, and all others but so many. Needs no descriptor.
pub(crate) fn is_left_to(threads: u32) -> bool {
    // Two links, and one for each thread, with the first also when that has ended (`proc_task_getattr` in `fs/proc/base.c`).
    let links = || fs::metadata("/proc/self/task").map(|meta| meta.nlink());
    first_thread_has_ended() && links().is_ok_and(|links| links <= u64::from(threads) + 3)
}

fn first_thread_has_ended() -> bool {
    let (mut list, mut len) = (std::ptr::null_mut::<c_void>(), 0_usize);
    // SAFETY: the kernel stores one word in each. It takes the list of robust words from a thread that ends (`futex_cleanup` in
    // `kernel/futex/core.c`); until then it is the C library's.
    let result = unsafe { libc::syscall(libc::SYS_get_robust_list, std::process::id(), &raw mut list, &raw mut len) };
    result == 0 && list.is_null()
}

struct Stat {
    start: Start,
    /// Whether its first thread has run its last instruction. That one is counted as long as there are others.
    first_has_ended: bool,
    threads: u32,
}

impl Stat {
    /// Whether it has run its last instruction. With other threads it is alive: only its first one has ended.
    fn has_ended(&self) -> bool {
        self.first_has_ended && self.threads <= 1
    }
}

/// Flag of a task that runs no more instructions of its program (`include/linux/sched.h`; `proc_pid_stat(5)` shows the flags).
const PF_EXITING: u32 = 4;

fn stat(process: &str) -> Option<Stat> {
    let _uncancelled = Uncancelled::new();
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field is the program's name in parentheses, which may itself contain spaces and parentheses.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let ended = matches!(fields.next()?, "Z" | "X" | "x");
    let flags: u32 = fields.nth(5)?.parse().ok()?;
    let threads: u32 = fields.nth(10)?.parse().ok()?;
    // The kernel adds what the reader's time namespace does, so those of another cannot be compared (`time_namespaces(7)`).
    let ticks = fields.nth(1)?.parse::<u64>().ok()? * u64::from(has_the_machines_time());
    // The kernel shows it to those who may trace the process: its user, as a rule.
    let stack = fields.nth(5)?.parse().ok()?;
    Some(Stat { start: Start::new(ticks, stack), first_has_ended: ended || flags & PF_EXITING != 0, threads })
}

/// Whether times since boot are those of the machine here.
fn has_the_machines_time() -> bool {
    // A child of fork may be in another time namespace than its parent.
    static KNOWN: PerProcess<AtomicU8> = PerProcess::new();
    let known = KNOWN.get().load(Relaxed);
    if known != 0 {
        return known == 1;
    }
    let offsets = fs::read_to_string("/proc/self/timens_offsets");
    let is_ours = match &offsets {
        // A kernel without time namespaces.
        Err(e) => e.kind() == ErrorKind::NotFound,
        Ok(offsets) => {
            let mut boottime = offsets.lines().filter_map(|line| line.strip_prefix("boottime"));
            boottime.next().is_some_and(|offset| offset.split_ascii_whitespace().all(|number| number == "0"))
        }
    };
    if offsets.is_ok() {
        KNOWN.get().store(if is_ours { 1 } else { 2 }, Relaxed);
    }
    is_ours
}

/// Whether this thread may run on one processor only: whom it waits for cannot then run while it spins.
pub(crate) fn has_one_cpu() -> bool {
    // SAFETY: all zeros is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel fills in the set, and 0 is this thread.
    let result = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) };
    // SAFETY: it counts bits.
    result == 0 && unsafe { libc::CPU_COUNT(&set) } == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_of_both_forms_keep_what_they_are_made_of() {
        for (pid, start) in [(1, 0), (4_194_303, (1 << 38) - 1), (300, 1 << 24)] {
            let native = Identity::new(pid, start);
            assert_eq!((native.pid(), native.start(), native.life()), (pid, start, None));
            assert_eq!(native.0 >> 61, 0);
        }
        for (life, begun) in [(1, 1), (MOST_LIVES, (1 << LIFE_SHIFT) - 1)] {
            let stranger = Identity::of_life(life, begun);
            assert_eq!((stranger.pid(), stranger.life(), stranger.begun()), (0, Some(life), begun));
            assert_eq!(stranger.0 >> 61, 0);
        }
    }

    #[test]
    fn threads_keep_their_program() {
        let program = Identity::new(4_194_303, Start::new(1234, 4096).0);
        let thread = ThreadOf::new(4_194_302, program);
        assert_eq!((thread.tid(), thread.program().pid()), (4_194_302, program.pid()));
        assert_eq!(thread.program().start() >> TICKS_BITS, program.start() >> TICKS_BITS);
        assert!(!Start(thread.program().start()).differs(Start(program.start())));
        assert_eq!(thread.0 >> 60, 0);
    }

    #[test]
    fn what_is_not_known_tells_no_two_programs_apart() {
        let (known, same) = (Start::new(100, 4096), Start::new(100, 4096));
        assert!(!known.differs(same));
        assert!(known.differs(Start::new(101, 4096)) && known.differs(Start::new(100, 1 << 40)));
        assert!(!known.differs(Start::new(0, 0)) && !known.differs(Start::new(100, 0)) && !Start::new(0, 4096).differs(known));
    }
}
