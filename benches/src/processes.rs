//! Lets several processes (or threads of one) do their parts of a work at the same time, and times them.

use std::cell::Cell;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::thread::{sleep, yield_now};
use std::time::Duration;

use anyhow::{Result, bail};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid};

/// Who is not done after so many seconds is killed, and with it the run.
const LIMIT: u32 = 120;
const MOST_ROLES: usize = 8;
const MOST_SAMPLES: usize = 1 << 16;

/// Where the processes run.
#[derive(Clone, Copy, PartialEq)]
pub enum Cpus {
    /// Each begins on a processor of its own, as far as there are any, and may then run on any of the run's.
    Any,
    /// Each is bound to one processor of its own.
    Bound,
}

/// What one process does: it makes itself ready, and then calls [`Turn::measure`].
pub struct Role<'a> {
    pub name: &'static str,
    pub work: Box<dyn Fn(&Turn) + Sync + 'a>,
}

impl<'a> Role<'a> {
    pub fn new(name: &'static str, work: impl Fn(&Turn) + Sync + 'a) -> Self {
        Self { name, work: Box::new(work) }
    }
}

/// How long it took, how much was done, and how long single steps took.
#[derive(Default)]
pub struct Measured {
    /// Nanoseconds, from when all were ready until the last one was done.
    pub elapsed: f64,
    /// How often it was done, in the scenario's unit.
    pub done: f64,
    /// Nanoseconds, of single steps.
    pub samples: Vec<f64>,
}

/// A role's part in the measurement.
pub struct Turn {
    board: &'static Board,
    role: usize,
    /// How often it has met the others.
    phases: Cell<u32>,
}

/// Memory that all roles share.
#[repr(C)]
struct Board {
    roles: AtomicU32,
    ready: AtomicU32,
    finished: AtomicU32,
    start: [AtomicU64; MOST_ROLES],
    end: [AtomicU64; MOST_ROLES],
    done: [AtomicU64; MOST_ROLES],
    sampled: AtomicU32,
    samples: [AtomicU32; MOST_SAMPLES],
}

impl Turn {
    fn new(board: &'static Board, role: usize) -> Self {
        Self { board, role, phases: Cell::new(0) }
    }

    /// Does the work, which is timed, at the same time as the other roles do theirs, and says how much was done.
    pub fn measure(&self, work: impl FnOnce() -> u64) {
        self.beside(|| self.timed(work));
    }

    /// Does the work, which is timed, without a look at the others.
    pub fn timed(&self, work: impl FnOnce() -> u64) {
        self.board.start[self.role].store(now(), Relaxed);
        let done = work();
        self.board.end[self.role].store(now(), Relaxed);
        self.board.done[self.role].store(done, Relaxed);
    }

    /// Says how long the work took and how much was done, of a role that times it itself.
    pub fn took(&self, nanoseconds: u64, done: u64) {
        self.board.start[self.role].store(1, Relaxed);
        self.board.end[self.role].store(1 + nanoseconds, Relaxed);
        self.board.done[self.role].store(done, Relaxed);
    }

    /// Waits until all roles are ready, does the work, and waits until all have done theirs.
    pub fn beside(&self, work: impl FnOnce()) {
        self.phases.set(self.phases.get() + 1);
        let all = self.board.roles.load(Relaxed) * self.phases.get();
        // Release: what was made ready is seen by who sees it here.
        self.board.ready.fetch_add(1, Release);
        while self.board.ready.load(Acquire) < all {
            yield_now();
        }
        work();
        self.board.finished.fetch_add(1, Release);
        while self.board.finished.load(Acquire) < all {
            sleep(Duration::from_micros(200));
        }
    }

    /// Records how long one step took, in nanoseconds. One role of a work does that.
    pub fn sample(&self, nanoseconds: u64) {
        let at = self.board.sampled.load(Relaxed);
        if let Some(sample) = self.board.samples.get(at as usize) {
            sample.store(u32::try_from(nanoseconds).unwrap_or(u32::MAX), Relaxed);
            self.board.sampled.store(at + 1, Relaxed);
        }
    }
}

/// The monotonic clock, which all processes share, in nanoseconds.
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has it");
    now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
}

/// Zeroed memory that children share, for as long as this process lives. `T` is one for which zeros are a value.
///
/// # Safety
///
/// They are.
pub unsafe fn shared<T>() -> Shared<T> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping overlaps nothing.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), size_of::<T>(), access, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, 0) };
    assert_ne!(at, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
    Shared(at.cast())
}

/// Memory that children share.
pub struct Shared<T: 'static>(*mut T);

// SAFETY: it is reached as `&T` only.
unsafe impl<T: Sync> Sync for Shared<T> {}

impl<T> std::ops::Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: it is mapped until dropped, and zeros are a value.
        unsafe { &*self.0 }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: it is our mapping.
        unsafe { libc::munmap(self.0.cast(), size_of::<T>()) };
    }
}

/// Runs each role in a process of its own.
pub fn processes(cpus: Cpus, roles: &[Role<'_>]) -> Result<Measured> {
    // SAFETY: all its fields are atomic numbers.
    let board = unsafe { shared::<Board>() };
    let forever = on(&board, roles.len());
    let mut children = Vec::new();
    for (i, role) in roles.iter().enumerate() {
        let turn = Turn::new(forever, i);
        children.push((role.name, spawn(|| begin_on(cpus, i).map(|()| (role.work)(&turn)))?));
    }
    wait_for(children)?;
    Ok(results(&board))
}

/// Runs each role in a thread of one process.
pub fn threads(roles: &[Role<'_>]) -> Result<Measured> {
    // SAFETY: all its fields are atomic numbers.
    let board = unsafe { shared::<Board>() };
    let forever = on(&board, roles.len());
    let child = spawn(|| {
        std::thread::scope(|scope| {
            for (i, role) in roles.iter().enumerate() {
                scope.spawn(move || {
                    begin_on(Cpus::Any, i).expect("the run may use these processors");
                    (role.work)(&Turn::new(forever, i));
                });
            }
        });
        Ok(())
    })?;
    wait_for(vec![("the process with threads", child)])?;
    Ok(results(&board))
}

/// The board, for children: they end before it goes.
fn on(board: &Shared<Board>, roles: usize) -> &'static Board {
    board.roles.store(roles as u32, Relaxed);
    // SAFETY: whoever uses it is waited for before the mapping goes.
    unsafe { &*board.0 }
}

fn results(board: &Board) -> Measured {
    // A role that has timed nothing has no end.
    let timed = || (0..MOST_ROLES).filter(|role| board.end[*role].load(Relaxed) != 0);
    let start = timed().map(|role| board.start[role].load(Relaxed)).min().unwrap_or(0);
    let end = timed().map(|role| board.end[role].load(Relaxed)).max().unwrap_or(0);
    let sampled = board.sampled.load(Relaxed) as usize;
    Measured {
        elapsed: (end - start) as f64,
        done: timed().map(|role| board.done[role].load(Relaxed)).sum::<u64>() as f64,
        samples: board.samples[..sampled].iter().map(|sample| sample.load(Relaxed).into()).collect(),
    }
}

/// A child that does `work`, and dies with this process or when its time is over.
fn spawn(work: impl FnOnce() -> Result<()>) -> Result<Pid> {
    let parent = getpid();
    // SAFETY: the only other thread of this process waits for signals, and holds no lock meanwhile.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            // SAFETY: neither has preconditions.
            unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                libc::alarm(LIMIT);
            }
            if getppid() != parent {
                // SAFETY: no preconditions.
                unsafe { libc::_exit(1) }
            }
            let code = match catch_unwind(AssertUnwindSafe(work)) {
                Ok(Ok(())) => 0,
                Ok(Err(error)) => {
                    eprintln!("{error:#}");
                    1
                }
                Err(_) => 101,
            };
            // SAFETY: no preconditions. What this process inherited is its parent's to clean up.
            unsafe { libc::_exit(code) }
        }
    }
}

/// Waits for all; when one fails the others are killed.
fn wait_for(mut children: Vec<(&'static str, Pid)>) -> Result<()> {
    let mut failed = None;
    while !children.is_empty() {
        let status = waitpid(None, None)?;
        let Some(i) = children.iter().position(|(_, pid)| Some(*pid) == status.pid()) else { continue };
        let (name, _) = children.swap_remove(i);
        let why = match status {
            WaitStatus::Exited(_, 0) => continue,
            WaitStatus::Signaled(_, Signal::SIGALRM, _) => format!("{name} was not done after {LIMIT} s"),
            WaitStatus::Signaled(_, signal, _) => format!("{name} was killed by {signal}"),
            WaitStatus::Exited(_, code) => format!("{name} failed: {}", ExitStatus::from_raw(code << 8)),
            other => format!("{name}: {other:?}"),
        };
        if failed.is_none() {
            failed = Some(why);
            for (_, pid) in &children {
                kill(*pid, Signal::SIGKILL)?;
            }
        }
    }
    match failed {
        Some(why) => bail!(why),
        None => Ok(()),
    }
}

/// The processors that this thread may run on.
pub fn allowed() -> Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).collect())
}

/// Lets this thread run on these processors only.
pub fn restrict(cpus: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu)?;
    }
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

fn begin_on(cpus: Cpus, i: usize) -> Result<()> {
    let all = allowed()?;
    restrict(&[all[i % all.len()]])?;
    if cpus == Cpus::Any {
        restrict(&all)?;
    }
    Ok(())
}
