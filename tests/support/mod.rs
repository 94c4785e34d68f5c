//! What the tests share: a namespace of their own, child processes that end with their test, and a limit on every wait.
//!
//! Children are made with fork, and only use rsipc. A child that fails writes why to its standard error and exits with 1.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::cell::Cell;
use std::fs;
use std::io::Write;
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid};
use rsipc::Namespace;

/// Longer than any step takes on a busy machine: what lasts longer hangs.
pub const LONG: Duration = Duration::from_secs(20);

/// A test's namespace, removed at its end, and its watchdog: a test that lasts too long says so and takes the program down.
pub struct Test {
    pub space: Namespace,
    pub dir: PathBuf,
    over: Arc<AtomicBool>,
}

impl Test {
    pub fn new(name: &'static str) -> Self {
        Self::lasting(name, Duration::from_secs(120))
    }

    pub fn lasting(name: &'static str, limit: Duration) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Relaxed);
        let dir = PathBuf::from(format!("/dev/shm/rsipc-test-{}-{number}", std::process::id()));
        // One that was killed may have left it, and its process id have come again.
        let _ = fs::remove_dir_all(&dir);
        let over = Arc::new(AtomicBool::new(false));
        let (dir_there, over_there) = (dir.clone(), Arc::clone(&over));
        std::thread::spawn(move || {
            let end = Instant::now() + limit;
            while Instant::now() < end {
                if over_there.load(Relaxed) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = writeln!(std::io::stderr(), "the test {name:?} hangs: it is not over after {limit:?}");
            let _ = fs::remove_dir_all(dir_there);
            std::process::abort();
        });
        Self { space: Namespace::at(&dir), dir, over }
    }

    /// The files in the namespace.
    pub fn files(&self) -> Vec<String> {
        let mut files: Vec<String> = fs::read_dir(&self.dir)
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        files
    }
}

impl Deref for Test {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.space
    }
}

impl Drop for Test {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A child process, killed when this is dropped.
pub struct Child {
    pub pid: Pid,
    what: String,
    over: Cell<bool>,
}

thread_local! {
    static IN_CHILD: Cell<bool> = const { Cell::new(false) };
}

/// Lets `work` run in a child process, which exits after it.
pub fn fork(what: impl Into<String>, work: impl FnOnce()) -> Child {
    static HOOK: std::sync::Once = std::sync::Once::new();
    let what = what.into();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if IN_CHILD.get() {
                // The usual hook may need a lock that another thread of the parent held at the fork.
                say(&format!("in a child: {info}\n"));
            } else {
                usual(info);
            }
        }));
    });
    let parent = nix::unistd::getpid();
    // SAFETY: the child only uses rsipc and memory, both of which may be used after a fork, and leaves by `_exit`.
    match unsafe { nix::unistd::fork() }.expect("fork") {
        ForkResult::Parent { child } => Child { pid: child, what, over: Cell::new(false) },
        ForkResult::Child => {
            IN_CHILD.set(true);
            // SAFETY: no preconditions.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            // 0: the parent is in another pid namespace.
            if ![parent, Pid::from_raw(0)].contains(&nix::unistd::getppid()) {
                exit(1);
            }
            let code = match catch_unwind(AssertUnwindSafe(work)) {
                Ok(()) => 0,
                Err(_) => {
                    say(&format!("the child {what:?} failed\n"));
                    1
                }
            };
            exit(code)
        }
    }
}

fn say(text: &str) {
    // SAFETY: the text is valid for its length.
    unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
}

/// Ends this process at once.
pub fn exit(code: i32) -> ! {
    // SAFETY: no preconditions.
    unsafe { libc::_exit(code) }
}

/// Ends this process as the kernel does.
pub fn die() -> ! {
    kill(nix::unistd::getpid(), Signal::SIGKILL).unwrap();
    unreachable!("SIGKILL cannot be survived")
}

impl Child {
    /// Waits for its end, which must come, and says how it came.
    pub fn end(&self) -> WaitStatus {
        let end = Instant::now() + LONG;
        loop {
            match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)).unwrap() {
                WaitStatus::StillAlive => {}
                status => {
                    self.over.set(true);
                    return status;
                }
            }
            assert!(Instant::now() < end, "the child {:?} hangs", self.what);
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Waits for its end, which must be a success.
    pub fn join(self) {
        assert_eq!(self.end(), WaitStatus::Exited(self.pid, 0), "the child {:?} failed", self.what);
    }

    /// Whether it has not ended yet.
    pub fn is_alive(&self) -> bool {
        if self.over.get() {
            return false;
        }
        let status = waitpid(self.pid, Some(WaitPidFlag::WNOHANG)).unwrap();
        if status != WaitStatus::StillAlive {
            self.over.set(true);
        }
        status == WaitStatus::StillAlive
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid, signal).unwrap();
    }

    /// Kills it, and waits until it is gone.
    pub fn kill(&self) {
        if !self.over.get() {
            let _ = kill(self.pid, Signal::SIGKILL);
            let _ = waitpid(self.pid, None);
            self.over.set(true);
        }
    }

    /// Waits until it sleeps in a wait of rsipc.
    pub fn wait_asleep(&self) {
        wait_for(&format!("the child {:?} to sleep", self.what), || self.is_asleep());
    }

    /// Whether it sleeps on a futex at this moment.
    pub fn is_asleep(&self) -> bool {
        is_asleep(self.pid)
    }

    /// How often it has gone to sleep, on whatever.
    pub fn pauses(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        count.map_or(0, |count| count.trim().parse().unwrap())
    }

    /// While it sleeps on a futex: lets it fall asleep anew, so that the kernel wakes it after those who sleep there by now.
    pub fn fall_asleep_anew(&self) {
        let pauses = self.pauses();
        self.signal(Signal::SIGSTOP);
        wait_for(&format!("the child {:?} to stop", self.what), || self.pauses() > pauses);
        self.signal(Signal::SIGCONT);
        wait_for(&format!("the child {:?} to sleep again", self.what), || self.pauses() > pauses + 1 && self.is_asleep());
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether a process sleeps on a futex at this moment.
pub fn is_asleep(pid: Pid) -> bool {
    let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    let mut words = call.split_ascii_whitespace();
    let number = words.next().and_then(|number| number.parse::<i64>().ok());
    let operation = words.nth(1).and_then(|word| i32::from_str_radix(word.trim_start_matches("0x"), 16).ok());
    match number {
        // The second is a wait that goes on after a stop.
        Some(libc::SYS_futex | libc::SYS_restart_syscall) => operation == Some(libc::FUTEX_WAIT_BITSET),
        // futex_wait(2) is not yet in the libc crate.
        Some(number) => [libc::SYS_futex_waitv, 455].contains(&number),
        None => false,
    }
}

/// Waits until `done`, which must come.
pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !done() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// Numbers that this process and the children forked after it share, without rsipc.
pub struct Board {
    numbers: &'static [AtomicU64],
    file: fs::File,
}

impl Board {
    pub fn new(count: usize) -> Self {
        let len = count * size_of::<AtomicU64>();
        let file = fs::File::from(nix::sys::memfd::memfd_create("board", nix::sys::memfd::MFdFlags::MFD_CLOEXEC).unwrap());
        file.set_len(len as u64).unwrap();
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, zeroed, which stays until the board is dropped, and its users cannot outlive it.
        let numbers = unsafe {
            let at = libc::mmap(std::ptr::null_mut(), len, access, libc::MAP_SHARED, file.as_raw_fd(), 0);
            assert_ne!(at, libc::MAP_FAILED);
            std::slice::from_raw_parts(at.cast(), count)
        };
        Self { numbers, file }
    }

    /// Where other processes find it, as a file of 64-bit numbers.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    pub fn get(&self, index: usize) -> u64 {
        self.numbers[index].load(SeqCst)
    }

    pub fn set(&self, index: usize, value: u64) {
        self.numbers[index].store(value, SeqCst);
    }

    pub fn add(&self, index: usize, value: u64) -> u64 {
        self.numbers[index].fetch_add(value, SeqCst)
    }

    pub fn wait(&self, index: usize, value: u64) {
        wait_for(&format!("number {index} to be {value}"), || self.get(index) >= value);
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this length.
        unsafe { libc::munmap(self.numbers.as_ptr().cast_mut().cast(), size_of_val(self.numbers)) };
    }
}

/// Nanoseconds on the monotonic clock, the same for all processes.
pub fn now() -> u64 {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap();
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

/// Message number `number`: the number, and bytes that follow from it.
pub fn message(number: u64, len: usize) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.extend((8..len.max(8)).map(|i| pattern(number, i)));
    bytes
}

/// The number of a message; panics where it is torn.
pub fn number(bytes: &[u8]) -> u64 {
    let number = u64::from_le_bytes(bytes[..8].try_into().expect("a message has its number"));
    assert!(
        bytes.iter().enumerate().skip(8).all(|(i, &byte)| byte == pattern(number, i)),
        "message {number} of {} bytes is torn",
        bytes.len()
    );
    number
}

fn pattern(number: u64, i: usize) -> u8 {
    (number.wrapping_mul(31).wrapping_add(i as u64) ^ (number >> 8)) as u8
}

/// A small generator of numbers that look random.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
