//! The stepper: lets a forked victim run one operation up to some instruction, kills it there, and looks how the others fare.

use std::process::Command;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rsipc::{Mutex, Region};

use crate::support::{Board, Child, exit, fork, now, wait_for};

/// Who is not done after this hangs.
pub const HANG: Duration = Duration::from_secs(5);
/// A sleeper that runs later than this was not woken, but looked by itself.
pub const LATE: u64 = 50_000_000;
/// So often a late wake-up must repeat itself: the machine may be busy.
const REPEATS: u32 = 3;

/// What went wrong after a kill.
#[derive(Debug, Clone)]
pub enum Fault {
    Hang(String),
    Lost(String),
    Torn(String),
    Twice(String),
    Leaked(String),
}

impl Fault {
    /// In words.
    pub fn text(&self) -> String {
        let (what, how) = match self {
            Self::Hang(how) => ("hangs", how),
            Self::Lost(how) => ("lost", how),
            Self::Torn(how) => ("torn", how),
            Self::Twice(how) => ("twice", how),
            Self::Leaked(how) => ("leaked", how),
        };
        format!("{what}: {how}")
    }
}

/// An operation with what it works on. It is made anew for each kill.
pub trait Scene {
    /// In the victim: gets ready, and gives the operation.
    fn victim(&self) -> Box<dyn FnOnce() + '_>;
    /// Whether the operation is the first call that the victim makes.
    fn is_first_call(&self) -> bool {
        false
    }
    /// The victim is ready: in the parent, before anybody sleeps.
    fn victim_is_ready(&self) {}
    /// How many others sleep when the operation starts.
    fn sleepers(&self) -> usize {
        0
    }
    /// In sleeper number `index`: the call that sleeps. What it says is told to `finish`.
    fn sleep(&self, _index: usize) -> u64 {
        0
    }
    /// Whether the sleepers fall asleep only once the victim sleeps, behind it.
    fn sleepers_come_later(&self) -> bool {
        false
    }
    /// The victim sleeps: does what it waits for. False: there is nothing, and the scene ends.
    fn victim_sleeps(&self) -> bool {
        false
    }
    /// Whether one more comes right before the kill, or while the victim stands still, to whom `sleep` gives the last number: it may have to wait for the victim's lock.
    fn another_comes(&self) -> bool {
        false
    }
    /// Whether the victim is not killed but stands still, until others have come to sleep; then it goes on to its end.
    fn stands_still(&self) -> bool {
        false
    }
    /// The victim stands still, and the sleepers are about to come: takes away what they would find.
    fn take_away(&self) {}
    /// The victim stood still and has come to its end: does what the sleepers wait for.
    fn wake(&self) {}
    /// Whether somebody sleeps now who should not; asked after the kill.
    fn stuck(&self, _sleepers: &Sleepers) -> bool {
        false
    }
    /// How long the survivors' slowest call took in `finish`, in nanoseconds.
    fn slowest(&self) -> u64 {
        0
    }
    /// Uses the object as survivors do, and says what is wrong with it.
    fn finish(&self, sleepers: &Sleepers, completed: bool) -> Vec<Fault>;
}

/// The processes that sleep while the victim works.
pub struct Sleepers {
    children: Vec<Child>,
    /// For each: whether it is done, what its call said, and when.
    board: Board,
}

impl Sleepers {
    fn start(scene: &dyn Scene) -> Self {
        let mut sleepers = Self { children: vec![], board: Board::new(3 * (scene.sleepers() + 1)) };
        for i in 0..scene.sleepers() {
            sleepers.add(scene, i);
        }
        sleepers.children.iter().for_each(Child::wait_asleep);
        sleepers
    }

    fn add(&mut self, scene: &dyn Scene, i: usize) {
        let board = &self.board;
        let child = fork(format!("sleeper {i}"), || {
            let result = scene.sleep(i);
            board.set(3 * i + 2, now());
            board.set(3 * i + 1, result);
            board.set(3 * i, 1);
        });
        self.children.push(child);
    }

    /// Starts one more, which sleeps or is done after this.
    fn add_another(&mut self, scene: &dyn Scene) {
        let i = self.children.len();
        self.add(scene, i);
        wait_for("another to sleep or be done", || self.board.get(3 * i) == 1 || self.children[i].is_asleep());
    }

    pub fn done(&self) -> usize {
        (0..self.children.len()).filter(|i| self.board.get(3 * i) == 1).count()
    }

    pub fn all_done(&self) -> bool {
        self.done() == self.children.len()
    }

    /// What the calls said that are done.
    pub fn results(&self) -> Vec<u64> {
        (0..self.children.len()).filter(|i| self.board.get(3 * i) == 1).map(|i| self.board.get(3 * i + 1)).collect()
    }

    /// Waits until `count` are done.
    pub fn wait_done(&self, count: usize) -> Result<(), Fault> {
        let end = Instant::now() + HANG;
        while self.done() < count {
            if Instant::now() > end {
                return Err(Fault::Hang(format!("{} of {} sleepers do not wake", count - self.done(), self.children.len())));
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        Ok(())
    }

    /// Waits until their processes have ended.
    pub fn end(&self) {
        self.children.iter().filter(|child| child.is_alive()).for_each(|child| {
            child.end();
        });
    }

    fn last_time(&self) -> u64 {
        (0..self.children.len()).map(|i| self.board.get(3 * i + 2)).max().unwrap_or(0)
    }
}

/// What came of all kills of one scene.
#[derive(Default)]
pub struct Tally {
    pub steps: u64,
    pub points: u64,
    pub hangs: u64,
    pub lost: u64,
    pub torn: u64,
    pub twice: u64,
    pub leaked: u64,
    pub late: u64,
    /// In nanoseconds.
    pub worst: u64,
    pub reports: Vec<String>,
}

impl Tally {
    pub fn faults(&self) -> u64 {
        self.hangs + self.lost + self.torn + self.twice + self.leaked + self.late
    }

    fn count(&mut self, fault: &Fault) {
        *match fault {
            Fault::Hang(_) => &mut self.hangs,
            Fault::Lost(_) => &mut self.lost,
            Fault::Torn(_) => &mut self.torn,
            Fault::Twice(_) => &mut self.twice,
            Fault::Leaked(_) => &mut self.leaked,
        } += 1;
    }
}

/// How one run ended.
struct Run {
    /// How many steps the victim made.
    steps: u64,
    /// After which of them it was about to make a system call.
    calls: Vec<u64>,
    /// Whether it came to the end of its operation before it was killed.
    completed: bool,
    /// Whether it slept, with nothing to wake it.
    slept: bool,
    faults: Vec<Fault>,
    /// From the kill until nobody slept who should not, in nanoseconds.
    delay: u64,
    at: String,
}

/// Kills the victim of new scenes after every `1/density`th of its instructions (each, without a density), from a point on that differs
/// between runs, and right before its system calls: what was changed for others is changed then, and they sleep still.
pub fn kill_everywhere<'a>(make: &dyn Fn() -> Box<dyn Scene + 'a>, density: Option<u64>) -> Tally {
    let mut tally = Tally::default();
    let mut first = run(&*make(), u64::MAX);
    tally.steps = first.steps;
    // Fewer kills where each takes long.
    let kills = density.map(|density| density.min(100_000 / first.steps).max(2));
    let stride = kills.map_or(1, |kills| (first.steps / kills).max(1));
    let mut calls = std::mem::take(&mut first.calls);
    calls.truncate(kills.unwrap_or(0) as usize);
    let after = now() % stride;
    let mut result = first;
    let mut k = u64::MAX;
    let mut begun = false;
    // Not all runs have the same length: the end is where several came to their end in a row.
    let mut ends = 0;
    loop {
        tally.points += 1;
        let mut delay = result.delay;
        for _ in 0..REPEATS {
            if delay > LATE {
                delay = delay.min(run(&*make(), k).delay);
            }
        }
        tally.worst = tally.worst.max(delay);
        if delay > LATE {
            tally.late += 1;
            let ms = delay / 1_000_000;
            tally.reports.push(format!("killed after {} of {}: woken after {ms} ms\n{}", result.steps, tally.steps, result.at));
        }
        for fault in &result.faults {
            tally.count(fault);
            tally.reports.push(format!("killed after {} of {}: {}\n{}", result.steps, tally.steps, fault.text(), result.at));
        }
        if let Some(call) = calls.pop() {
            k = call;
        } else if !begun {
            (k, begun) = (after, true);
        } else if result.completed || result.slept && result.steps < k {
            ends += 1;
            if stride > 1 || ends > REPEATS {
                return tally;
            }
        } else {
            (k, ends) = (k + stride, 0);
        }
        result = run(&*make(), k);
    }
}

/// The places on the board of a run.
const READY: usize = 0;
const DONE: usize = 1;

/// Lets the victim of `scene` run for `limit` instructions, or to its end, and kills it.
fn run(scene: &dyn Scene, limit: u64) -> Run {
    let board = Board::new(2);
    let victim = fork("victim", || {
        // With a single processor there is no spin before a sleep, which would be most of the steps.
        let mut one = CpuSet::new();
        one.set(sched_getcpu().unwrap()).unwrap();
        sched_setaffinity(Pid::from_raw(0), &one).unwrap();
        if !scene.is_first_call() {
            // What a process finds out about itself in its first call is thousands of instructions.
            let region = Region::anonymous(4096).unwrap();
            drop(unsafe { Mutex::create_in(&region, 0, ()) }.unwrap().lock().unwrap());
        }
        let operation = scene.victim();
        ptrace::traceme().unwrap();
        board.set(READY, 1);
        // SAFETY: a breakpoint, which the tracer sees.
        unsafe { std::arch::asm!("int3") };
        operation();
        board.set(DONE, 1);
        std::thread::sleep(Duration::from_secs(60));
        exit(1);
    });
    let stopped = waitpid(victim.pid, None).unwrap();
    assert_eq!(stopped, WaitStatus::Stopped(victim.pid, Signal::SIGTRAP), "the victim did not get ready");
    assert_eq!(board.get(READY), 1);
    scene.victim_is_ready();
    let mut sleepers = (!scene.sleepers_come_later()).then(|| Sleepers::start(scene));
    let (mut steps, mut calls, mut slept) = (0, vec![], false);
    while steps < limit && board.get(DONE) == 0 {
        let in_kernel = is_at_system_call(&victim);
        if in_kernel {
            calls.push(steps);
        }
        ptrace::step(victim.pid, None).unwrap();
        steps += 1;
        if !wait_for_stop(&victim, in_kernel, || {
            if slept {
                // Others took what it was woken for.
                return false;
            }
            slept = true;
            if sleepers.is_none() {
                sleepers = Some(Sleepers::start(scene));
            }
            scene.victim_sleeps()
        }) {
            break;
        }
    }
    let at = where_it_is(&victim);
    let ended = board.get(DONE) == 1;
    let completed = ended || scene.stands_still();
    if scene.stands_still() {
        scene.take_away();
        sleepers = Some(Sleepers::start(scene));
    }
    let mut sleepers = sleepers.unwrap_or_else(|| Sleepers { children: vec![], board: Board::new(3) });
    if scene.another_comes() {
        sleepers.add_another(scene);
    }
    if scene.stands_still() {
        ptrace::detach(victim.pid, None).unwrap();
        board.wait(DONE, 1);
    }
    let killed = now();
    if scene.stands_still() {
        scene.wake();
    }
    let end = Instant::now() + HANG;
    // An operation that came to its end has woken whom it had to: its death must not be needed for that.
    while completed && (!scene.sleepers_come_later() || scene.stands_still()) && scene.stuck(&sleepers) && Instant::now() < end {
        std::thread::sleep(Duration::from_micros(50));
    }
    victim.kill();
    let mut faults = vec![];
    while scene.stuck(&sleepers) && Instant::now() < end {
        std::thread::sleep(Duration::from_micros(50));
    }
    let woken = if scene.stuck(&sleepers) { now() } else { sleepers.last_time() };
    let delay = woken.saturating_sub(killed);
    if scene.stuck(&sleepers) {
        faults.push(Fault::Hang("a sleeper was never woken".into()));
    } else {
        faults.extend(scene.finish(&sleepers, completed));
    }
    let delay = delay.max(scene.slowest());
    Run { steps, calls, completed: ended, slept: slept && !completed, faults, delay, at }
}

/// Whether the victim's next instruction is a system call.
fn is_at_system_call(victim: &Child) -> bool {
    let at = ptrace::getregs(victim.pid).unwrap().rip;
    ptrace::read(victim.pid, at as ptrace::AddressType).unwrap() & 0xffff == 0x050f
}

/// Waits until the victim has made its step, which may last if it is `in_kernel`. Calls `asleep` if it sleeps meanwhile; false from that ends it.
fn wait_for_stop(victim: &Child, in_kernel: bool, mut asleep: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    let mut told = false;
    let how = if in_kernel { WaitPidFlag::WNOHANG } else { WaitPidFlag::empty() };
    loop {
        match waitpid(victim.pid, Some(how)).unwrap() {
            WaitStatus::StillAlive => std::thread::yield_now(),
            WaitStatus::Stopped(_, Signal::SIGTRAP) => return true,
            other => panic!("the victim ended by itself: {other:?}"),
        }
        let waited = start.elapsed();
        assert!(waited < HANG, "the victim does not make a step");
        if waited > Duration::from_millis(2) {
            if !told && victim.is_asleep() {
                told = true;
                if !asleep() {
                    return false;
                }
            }
            std::thread::sleep(Duration::from_micros(20));
        }
    }
}

/// The victim's place in the program, in words where a tool for that is installed.
fn where_it_is(victim: &Child) -> String {
    let Ok(registers) = ptrace::getregs(victim.pid) else { return "    asleep".into() };
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", victim.pid)).unwrap_or_default();
    let mut base = ("", 0);
    for line in maps.lines() {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (Some((start, end)), file) = (fields[0].split_once('-'), fields.get(5).copied().unwrap_or("")) else { continue };
        let number = |text: &str| u64::from_str_radix(text, 16).unwrap();
        if file != base.0 {
            base = (file, number(start));
        }
        if (number(start)..number(end)).contains(&registers.rip) {
            return format!("{file} {:#x}", registers.rip - base.1);
        }
    }
    format!("{:#x}", registers.rip)
}

/// The functions and lines at a place that `where_it_is` gave.
pub fn in_words(place: &str) -> String {
    let Some((file, offset)) = place.rsplit_once(' ') else { return place.into() };
    let output = Command::new("addr2line").args(["-f", "-C", "-i", "-p", "-e", file, offset]).output();
    output.map_or_else(|_| place.into(), |output| String::from_utf8_lossy(&output.stdout).into_owned())
}
