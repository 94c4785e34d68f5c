//! Which process this is, and whether another one still lives.
//!
//! A process id alone is no identity: it is used again. With the time the process was started (field 22 of `/proc/pid/stat`,
//! `proc_pid_stat(5)`) it is one, within one pid namespace (`pid_namespaces(7)`). Of a process in another namespace nothing can be
//! known, and it counts as alive.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

use crate::sys::thread::forks;

/// Who a process is, in one word: its id in the lower 22 bits (the kernel's limit), its start time in clock ticks above. 0 is nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity(pub(crate) u64);

const PID_BITS: u32 = 22;

impl Identity {
    /// The process's id.
    pub(crate) fn pid(self) -> u32 {
        (self.0 & ((1 << PID_BITS) - 1)) as u32
    }

    /// This process.
    pub(crate) fn mine() -> Self {
        static MINE: AtomicU64 = AtomicU64::new(0);
        static MINE_FORKS: AtomicU32 = AtomicU32::new(u32::MAX);
        let forks = forks();
        if MINE_FORKS.load(Relaxed) != forks || MINE.load(Relaxed) == 0 {
            let pid = std::process::id();
            MINE.store(Self::new(pid, start_time(pid).unwrap_or(0)).0, Relaxed);
            MINE_FORKS.store(forks, Relaxed);
        }
        Self(MINE.load(Relaxed))
    }

    fn new(pid: u32, start: u64) -> Self {
        Self(start << PID_BITS | u64::from(pid))
    }

    /// Whether the process is known to be gone. `namespace` is the pid namespace it lived in.
    pub(crate) fn is_gone(self, namespace: u32) -> bool {
        if namespace != pid_namespace() || self.pid() == 0 {
            return false;
        }
        match start_time(self.pid()) {
            None => fs::exists("/proc/self/stat").unwrap_or(false),
            Some(start) => self.0 >> PID_BITS != 0 && Self::new(self.pid(), start) != self,
        }
    }
}

/// Flag of a task that runs no more instructions of its program (`include/linux/sched.h`; `proc_pid_stat(5)` shows the flags).
const PF_EXITING: u32 = 4;

/// When the process was started, in clock ticks since boot; None where there is none, or one that has run its last instruction.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses, which may itself contain spaces and parentheses.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let ended = matches!(fields.next()?, "Z" | "X" | "x");
    let flags: u32 = fields.nth(5)?.parse().ok()?;
    let threads: u32 = fields.nth(10)?.parse().ok()?;
    // With other threads it is alive: only its first one has ended.
    if (ended || flags & PF_EXITING != 0) && threads <= 1 {
        return None;
    }
    fields.nth(1)?.parse().ok()
}

/// The number of this process's pid namespace; 0 where it cannot be known.
pub(crate) fn pid_namespace() -> u32 {
    static NAMESPACE: AtomicU32 = AtomicU32::new(0);
    let known = NAMESPACE.load(Relaxed);
    if known != 0 {
        return known;
    }
    let namespace = fs::metadata("/proc/self/ns/pid").map_or(0, |meta| meta.ino() as u32);
    NAMESPACE.store(namespace, Relaxed);
    namespace
}

/// Whether this thread may run on one processor only: whom it waits for cannot then run while it spins.
pub(crate) fn has_one_cpu() -> bool {
    sched_getaffinity(Pid::from_raw(0))
        .map(|set| (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false)).nth(1).is_none())
        .unwrap_or(false)
}
