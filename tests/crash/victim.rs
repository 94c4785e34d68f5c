//! A process under the stepper: it is ready to run one operation, instruction by instruction, and is killed in it.
//!
//! It is a fork of the test's own, or of a *server*: a program in another language which forks a victim for each line that it reads, so
//! that what the other language puts around the operation is stepped through as well.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rsipc::{Mutex, Region};

use crate::step::HANG;
use crate::support::{Board, Child, exit, fork, is_asleep};

/// The places on the board of a victim.
const READY: usize = 0;
const DONE: usize = 1;

/// What a process finds out about itself in its first call is thousands of instructions: it makes one before, unless that is looked at.
fn first_call() {
    let region = Region::anonymous(4096).unwrap();
    drop(unsafe { Mutex::create_in(&region, 0, ()) }.unwrap().lock().unwrap());
}

/// With a single processor there is no spin before a sleep, which would be most of the steps.
fn pin(pid: Pid) {
    let mut one = CpuSet::new();
    one.set(sched_getcpu().unwrap()).unwrap();
    sched_setaffinity(pid, &one).unwrap();
}

pub struct Victim<'a> {
    pub pid: Pid,
    board: Board,
    /// A fork of this process, or else the server's.
    child: Option<Child>,
    server: Option<&'a Server>,
}

/// How a victim came to a stop, or did not.
#[derive(PartialEq, Eq)]
pub enum Ran {
    /// It stopped where it should.
    There,
    /// It came to the end of its operation.
    Done,
    /// It sleeps, and that ends it.
    Asleep,
}

/// Longer than a single sleep lasts without a look.
const AGAIN: Duration = Duration::from_secs(1);

impl<'a> Victim<'a> {
    /// A fork that is ready to run what `prepare` gives.
    pub fn forked<'b>(is_first_call: bool, prepare: impl FnOnce() -> Box<dyn FnOnce() + 'b>) -> Self {
        let board = Board::new(2);
        let child = fork("victim", || {
            pin(Pid::from_raw(0));
            if !is_first_call {
                first_call();
            }
            let operation = prepare();
            ptrace::traceme().unwrap();
            board.set(READY, 1);
            // SAFETY: a breakpoint, which the tracer sees.
            unsafe { std::arch::asm!("int3") };
            operation();
            board.set(DONE, 1);
            std::thread::sleep(Duration::from_secs(60));
            exit(1);
        });
        let victim = Self { pid: child.pid, board, child: Some(child), server: None };
        victim.wait_ready();
        victim
    }

    /// A fork of a server, which is ready to do what `command` says.
    pub fn of(server: &'a Server, command: &str) -> Self {
        let board = Board::new(2);
        let pid = server.fork(&format!("{} {command}", board.path()));
        pin(pid);
        ptrace::seize(pid, ptrace::Options::PTRACE_O_EXITKILL).unwrap();
        server.say("go");
        let victim = Self { pid, board, child: None, server: Some(server) };
        victim.wait_ready();
        victim
    }

    fn wait_ready(&self) {
        loop {
            match waitpid(self.pid, None).unwrap() {
                WaitStatus::Stopped(_, Signal::SIGTRAP | Signal::SIGSTOP) => break,
                // Of a helper of its own.
                WaitStatus::Stopped(_, Signal::SIGCHLD) => ptrace::cont(self.pid, None).unwrap(),
                other => panic!("the victim did not get ready: {other:?}"),
            }
        }
        assert_eq!(self.board.get(READY), 1, "the victim stopped before it was ready");
    }

    /// Whether it has come to the end of its operation.
    pub fn is_done(&self) -> bool {
        self.board.get(DONE) == 1
    }

    /// Where its next instruction is.
    pub fn at(&self) -> u64 {
        ptrace::getregs(self.pid).unwrap().rip
    }

    /// Whether the instruction at `at` is a system call.
    pub fn is_system_call(&self, at: u64) -> bool {
        ptrace::read(self.pid, at as ptrace::AddressType).unwrap() & 0xffff == 0x050f
    }

    /// Lets it make one step, `in_kernel` if that is a system call and may last. Calls `asleep` if it sleeps meanwhile; false from
    /// that ends it.
    pub fn step(&self, in_kernel: bool, asleep: impl FnMut() -> bool) -> Ran {
        ptrace::step(self.pid, None).unwrap();
        self.wait_for_stop(in_kernel, asleep)
    }

    /// Lets it run until it is about to execute the instruction at `place` for the time number `times`.
    pub fn run_to(&self, place: u64, times: usize, mut asleep: impl FnMut() -> bool) -> Ran {
        let address = place as ptrace::AddressType;
        let code = ptrace::read(self.pid, address).unwrap();
        let breakpoint = code & !0xff | 0xcc;
        for time in 1..=times {
            ptrace::write(self.pid, address, breakpoint).unwrap();
            ptrace::cont(self.pid, None).unwrap();
            let ran = self.wait_for_stop(true, &mut asleep);
            if ran != Ran::There {
                return ran;
            }
            let mut registers = ptrace::getregs(self.pid).unwrap();
            assert_eq!(registers.rip, place + 1, "the victim stopped at another breakpoint");
            registers.rip = place;
            ptrace::setregs(self.pid, registers).unwrap();
            ptrace::write(self.pid, address, code).unwrap();
            if time < times {
                let ran = self.step(true, &mut asleep);
                if ran != Ran::There {
                    return ran;
                }
            }
        }
        Ran::There
    }

    /// Lets it run until it sleeps; it will stop as soon as it has been woken.
    pub fn run_to_sleep(&self) {
        let mut is_asleep = false;
        while !is_asleep {
            ptrace::syscall(self.pid, None).unwrap();
            let ran = self.wait_for_stop(true, || {
                is_asleep = true;
                false
            });
            assert!(ran != Ran::Done, "a victim does not sleep that should");
        }
    }

    /// Of one that sleeps: whether it is woken within this time, and has stopped for that.
    pub fn is_woken(&self, within: Duration) -> bool {
        let end = Instant::now() + within;
        loop {
            match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)).unwrap() {
                WaitStatus::StillAlive if Instant::now() > end => return false,
                WaitStatus::StillAlive => std::thread::sleep(Duration::from_micros(20)),
                _ => return true,
            }
        }
    }

    fn wait_for_stop(&self, in_kernel: bool, mut asleep: impl FnMut() -> bool) -> Ran {
        let start = Instant::now();
        let mut told: Option<Instant> = None;
        let how = if in_kernel { WaitPidFlag::WNOHANG } else { WaitPidFlag::empty() };
        loop {
            match waitpid(self.pid, Some(how)).unwrap() {
                WaitStatus::StillAlive => std::thread::yield_now(),
                WaitStatus::Stopped(_, Signal::SIGTRAP) => return if self.is_done() { Ran::Done } else { Ran::There },
                other => panic!("the victim ended by itself: {other:?}"),
            }
            if self.is_done() {
                return Ran::Done;
            }
            let waited = start.elapsed();
            assert!(waited < HANG, "the victim does not make a step");
            if waited > Duration::from_millis(2) {
                // One that runs to a breakpoint may sleep again, if others took what it was woken for.
                if told.is_none_or(|told| told.elapsed() > AGAIN) && is_asleep(self.pid) {
                    told = Some(Instant::now());
                    if !asleep() {
                        return Ran::Asleep;
                    }
                }
                std::thread::sleep(Duration::from_micros(20));
            }
        }
    }

    /// Lets it go on to its end.
    pub fn go_on(&self) {
        // One that sleeps for a moment in a system call has not made its last step yet; one that came to its end by itself goes on already.
        let end = Instant::now() + HANG;
        while let Err(e) = ptrace::detach(self.pid, None) {
            if self.is_done() {
                return;
            }
            assert!(e == Errno::ESRCH && Instant::now() < end, "the victim cannot be let go: {e}");
            let _ = waitpid(self.pid, Some(WaitPidFlag::WNOHANG));
            std::thread::sleep(Duration::from_micros(20));
        }
        self.board.wait(DONE, 1);
    }

    /// Kills it, and waits until it is gone.
    pub fn kill(&self) {
        if let Some(child) = &self.child {
            return child.kill();
        }
        let _ = kill(self.pid, Signal::SIGKILL);
        // Whoever went on without us is the server's alone.
        while !matches!(waitpid(self.pid, None), Ok(WaitStatus::Signaled(..) | WaitStatus::Exited(..)) | Err(_)) {}
        if let Some(server) = self.server {
            server.wait_over();
        }
    }

    /// The file that its next instruction is from, and how far in it that is.
    pub fn place(&self) -> Option<(String, u64)> {
        let at = ptrace::getregs(self.pid).ok()?.rip;
        let mut begin = (String::new(), 0);
        for (start, end, file) in self.maps() {
            if file != begin.0 {
                begin = (file, start);
            }
            if (start..end).contains(&at) {
                return Some((begin.0, at - begin.1));
            }
        }
        None
    }

    /// The addresses of files whose name contains `name`, as begin and end.
    pub fn ranges_of(&self, name: &str) -> Vec<(u64, u64)> {
        self.maps().into_iter().filter(|(.., file)| file.contains(name)).map(|(start, end, _)| (start, end)).collect()
    }

    fn maps(&self) -> Vec<(u64, u64, String)> {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", self.pid)).unwrap_or_default();
        let map = |line: &str| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let (start, end) = fields[0].split_once('-').unwrap();
            let number = |text: &str| u64::from_str_radix(text, 16).unwrap();
            (number(start), number(end), fields.get(5).copied().unwrap_or("").to_owned())
        };
        maps.lines().map(map).collect()
    }
}

impl Drop for Victim<'_> {
    fn drop(&mut self) {
        if self.child.is_none() && kill(self.pid, None).is_ok() {
            self.kill();
        }
    }
}

/// The function and line at a place in a program.
pub fn in_words(place: Option<&(String, u64)>) -> String {
    let Some((file, offset)) = place else { return "asleep, or outside of any file".into() };
    let place = format!("{file} {offset:#x}");
    let output = Command::new("addr2line").args(["-f", "-C", "-i", "-p", "-e", file, &format!("{offset:#x}")]).output();
    let output = output.ok().filter(|output| output.status.success());
    output.map_or(place, |output| String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// A program that forks a victim for each line that it reads: it says the victim's process id, and the victim reads a line itself
/// before it begins. When the victim is gone the program says so.
pub struct Server {
    child: std::process::Child,
    ends: RefCell<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Server {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program of the victims");
        let ends = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, ends: ends.into() }
    }

    fn say(&self, line: &str) {
        writeln!(self.ends.borrow_mut().0, "{line}").expect("the program of the victims lives");
    }

    fn hear(&self) -> String {
        let mut line = String::new();
        self.ends.borrow_mut().1.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn fork(&self, command: &str) -> Pid {
        self.say(command);
        Pid::from_raw(self.hear().parse().expect("the id of a victim"))
    }

    fn wait_over(&self) {
        assert_eq!(self.hear(), "over");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The instructions of an operation's first run, in their order.
pub struct Trace {
    pub places: Vec<u64>,
    /// Which time it is that this place is executed.
    times: Vec<usize>,
    /// Whether a breakpoint tells when that is: not where an instruction repeats itself.
    stops: Vec<bool>,
}

impl Trace {
    pub fn new(places: Vec<u64>) -> Self {
        let mut count: HashMap<u64, usize> = HashMap::new();
        let times = places
            .iter()
            .map(|&place| {
                let times = count.entry(place).or_default();
                *times += 1;
                *times
            })
            .collect();
        let repeated: std::collections::HashSet<u64> =
            places.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        let stops = places.iter().map(|place| !repeated.contains(place)).collect();
        Self { places, times, stops }
    }

    /// Where to run to on the way to instruction number `k`, so that few steps are left: its number, place and which time.
    pub fn anchor(&self, k: usize) -> Option<(usize, u64, usize)> {
        // A stop at a breakpoint costs as much as a few steps.
        let cost = |i: usize| 6 * self.times[i] + (k - i);
        let i = (k.saturating_sub(2000)..=k.min(self.places.len().checked_sub(1)?))
            .filter(|&i| self.stops[i])
            .min_by_key(|&i| cost(i))?;
        (cost(i) < k).then_some((i, self.places[i], self.times[i]))
    }

    /// Which time it is that the instruction before number `k` is executed.
    pub fn time(&self, k: usize) -> usize {
        k.checked_sub(1).and_then(|before| self.times.get(before)).copied().unwrap_or(1)
    }

    /// Whether instruction number `k` is one that repeats itself, and neither its first nor its last time.
    pub fn repeats(&self, k: usize) -> bool {
        let place = |k: usize| self.places.get(k);
        k > 1 && [k - 2, k - 1, k + 1].iter().all(|&i| place(i) == place(k))
    }
}
