//! The stepper: lets a victim run one operation up to some instruction, kills it there, and looks how the others fare.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::seen::Seen;
use crate::support::{Board, Child, fork, now, wait_for};
use crate::victim::{Ran, Server, Trace, Victim, in_words};

/// Who is not done after this hangs.
pub const HANG: Duration = Duration::from_secs(5);
/// A sleeper that runs later than this was not woken, but looked by itself.
pub const LATE: u64 = 50_000_000;
/// Who sleeps looks every 100 ms, and one that fell asleep longer ago than this could be back in less than [`LATE`] without
/// having been woken.
const FRESH: Duration = Duration::from_millis(30);
/// In this time one that sleeps has looked by itself.
const LOOK: Duration = Duration::from_millis(150);
/// Where two die at nearly the same moment, a survivor may have to look by itself, which it does every 100 ms.
pub const LATE_AFTER_TWO: u64 = 100_000_000 + LATE;
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
    /// The same for a victim in another language, in words.
    fn command(&self) -> Option<String> {
        None
    }
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
    /// Whether the kernel would wake the first of them, who came first, last.
    fn first_is_woken_last(&self) -> bool {
        false
    }
    /// Whether the sleepers fall asleep only once the victim sleeps, behind it.
    fn sleepers_come_later(&self) -> bool {
        false
    }
    /// The victim sleeps: does what it waits for. False: there is nothing, and the scene ends.
    fn victim_sleeps(&self) -> bool {
        false
    }
    /// Whether the victim is killed only after it slept and was woken.
    fn after_waking(&self) -> bool {
        false
    }
    /// Right before the kill: a third party takes what the victim was woken for, if it is still there.
    fn barge(&self) {}
    /// Right after the kill: gives that back.
    fn let_go(&self) {}
    /// A second victim, which sleeps before the first begins, and is killed once the first one's death, or what it did before,
    /// has woken it.
    fn has_second(&self) -> bool {
        false
    }
    /// In the second victim: gets ready, and gives the operation.
    fn second(&self) -> Box<dyn FnOnce() + '_> {
        Box::new(|| ())
    }
    /// How long others may sleep after the kill, in nanoseconds.
    fn late(&self) -> u64 {
        LATE
    }
    /// Whether one more comes right before the kill, or while the victim stands still, to whom `sleep` gives the last number: it
    /// may have to wait for the victim's lock.
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
    /// Whether those who sleep need the victim no more once it has come to its end, alive as it is.
    fn completion_is_enough(&self) -> bool {
        true
    }
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
    /// Since when they sleep.
    since: Instant,
}

impl Sleepers {
    fn none(room: usize) -> Self {
        Self { children: vec![], board: Board::new(3 * room), since: Instant::now() }
    }

    fn start(scene: &dyn Scene) -> Self {
        let mut sleepers = Self::none(scene.sleepers() + 1);
        for i in 0..scene.sleepers() {
            sleepers.add(scene, i);
            sleepers.children[i].wait_asleep();
        }
        if scene.first_is_woken_last() {
            sleepers.children[0].fall_asleep_anew();
        }
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

    /// If they have slept for long: waits until they have looked by themselves, so that one that is not woken now sleeps for long.
    fn let_them_look(&self, scene: &dyn Scene) {
        if self.since.elapsed() < FRESH {
            return;
        }
        let end = Instant::now() + LOOK;
        let before: Vec<_> = self.children.iter().map(Child::pauses).collect();
        let has_looked = |i: usize| self.children[i].pauses() != before[i] && self.children[i].is_asleep();
        while (0..before.len()).any(|i| self.board.get(3 * i) == 0 && !has_looked(i)) && Instant::now() < end {
            std::thread::sleep(Duration::from_micros(100));
        }
        if scene.first_is_woken_last() && self.children[0].is_asleep() {
            self.children[0].fall_asleep_anew();
        }
    }

    pub fn done(&self) -> usize {
        (0..self.children.len()).filter(|i| self.board.get(3 * i) == 1).count()
    }

    pub fn all_done(&self) -> bool {
        self.done() == self.children.len()
    }

    /// How many are done, as long as some are not.
    pub fn some_done(&self) -> Option<usize> {
        Some(self.done()).filter(|&done| done < self.children.len())
    }

    /// Who sleeps; on a busy machine those who were woken may have to be waited for until they have run.
    pub fn asleep(&self) -> Result<Vec<usize>, Fault> {
        let end = Instant::now() + HANG;
        let runs = |i: usize| self.board.get(3 * i) == 0 && !self.children[i].is_asleep();
        while (0..self.children.len()).any(runs) {
            if Instant::now() > end {
                return Err(Fault::Hang("a sleeper that was woken runs on".into()));
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        Ok((0..self.children.len()).filter(|i| self.board.get(3 * i) == 0).collect())
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
    /// Whether each of them was tried.
    pub every: bool,
    /// After how many of them, and before how many system calls, others see something else than before, and it was killed there.
    pub states: u64,
    /// And where it was to be killed, but did not come by again.
    pub missed: u64,
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
    /// How many steps the victim made, and the second one after it was woken.
    steps: u64,
    second_steps: u64,
    /// After which of them it was about to make a system call.
    calls: Vec<u64>,
    /// Where it was before each step, if it was watched.
    places: Vec<u64>,
    /// After which of them others could see something else than before, if it was watched; and of the second one's.
    changes: Vec<u64>,
    second_changes: Vec<u64>,
    /// How many steps it had made when it slept and was woken.
    woken_after: Option<u64>,
    /// The addresses of the code of rsipc for Python, if it has that.
    native: Vec<(u64, u64)>,
    /// Whether it came to the end of its operation before it was killed.
    completed: bool,
    /// Whether it slept, with nothing to wake it.
    slept: bool,
    /// Whether it was killed where the first one was after as many steps.
    is_there: bool,
    faults: Vec<Fault>,
    /// From the kill until nobody slept who should not, in nanoseconds.
    delay: u64,
    /// Where the victim was killed, and the second one.
    at: Vec<Option<(String, u64)>>,
}

/// How a victim gets to where it is killed.
#[derive(Clone, Copy)]
enum Way<'a> {
    /// Step by step, and what others can see is looked at after each.
    Watched,
    /// The way of the first one, step by step.
    Steps(&'a Trace),
    /// The way of the first one, with a breakpoint shortly before its end.
    Along(&'a Trace),
}

/// After which instructions the victims are killed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// After some of those that make a difference for others, and some of the rest.
    Sample,
    /// After all of those that make a difference for others, and some of the rest.
    States,
    /// After all, of operations that have no more than [`MOST_OF_ALL`].
    Every,
}

/// How often, and in which language, a scene's victims are killed.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    pub extent: Extent,
    /// Who forks the victims, if that is not this program.
    pub server: Option<&'a Server>,
}

/// How many instructions before and behind the native code are tried in Python.
const MARGIN: usize = 20;
/// How many are a sample: of the first victim's states, and of the second one's.
const FEW: usize = 8;
const FEW_SECONDS: usize = 3;
/// How many of the rest are tried, and how many more where all were to be tried and are too many.
const MORE: u64 = 4;
const MANY: u64 = 100;
/// Of operations that have more instructions than this not each is tried.
const MOST_OF_ALL: u64 = 3000;
/// The second victim is not followed further than this.
const MOST_OF_SECOND: u64 = if cfg!(debug_assertions) { 3000 } else { MOST_STEPS };
/// An operation that looks at its watch again and again makes more steps the longer each of them lasts: it is not followed
/// further than this.
const MOST_STEPS: u64 = 150_000;
/// Such an operation does some things again and again: those that it does at its own pace are tried each time, the others so many times.
const OFTEN: usize = 3;
/// Where so many failed the scene is left.
const ENOUGH: usize = 50;

/// Kills the victims of new scenes wherever others can tell the difference: after each instruction that changed what they can
/// see, and before and after each system call. And after some of the other instructions, from a point on that differs between
/// runs, or after all of them.
pub fn kill_everywhere<'a>(make: &dyn Fn() -> Box<dyn Scene + 'a>, plan: Plan<'_>) -> Tally {
    let mut tally = Tally::default();
    let first = run(&*make(), plan.server, Way::Watched, MOST_STEPS, MOST_OF_SECOND);
    let (begin, end) = window(&first);
    tally.steps = end - begin;
    let trace = Trace::new(first.places.clone());
    let calls = first.calls.iter().flat_map(|&call| [call, call + 1]);
    let changes = first.changes.iter().copied().filter(|&k| !trace.repeats(k as usize - 1));
    let mut states: BTreeSet<u64> = calls.chain(changes).filter(|k| (begin..end).contains(k)).collect();
    states.insert(begin);
    let mut stride_of_second = 1;
    if plan.extent == Extent::Sample {
        let stride = states.len().div_ceil(FEW);
        stride_of_second = first.second_changes.len().div_ceil(FEW_SECONDS).max(1);
        states = states.into_iter().skip(now() as usize % stride).step_by(stride).collect();
    }
    let mut points = states.clone();
    // One that only stands still goes on with all that it had: then each instruction may make a difference.
    let all = plan.extent == Extent::Every || make().stands_still() && plan.extent == Extent::States;
    tally.every = all && tally.steps <= MOST_OF_ALL && !make().has_second();
    if tally.every {
        points.extend(begin..end);
    } else {
        let stride = (tally.steps / if all { MANY } else { MORE }).max(1);
        points.extend((begin + now() % stride..end).step_by(stride as usize));
    }
    let begins_whole = begin == 0 && end as usize >= trace.places.len();
    tally.add(make, plan, Way::Watched, MOST_STEPS, MOST_OF_SECOND, first);
    for &k in &points {
        if tally.reports.len() > ENOUGH {
            return tally;
        }
        let killed = tally.kill(make, plan, &trace, k, MOST_OF_SECOND);
        if states.contains(&k) {
            *(if killed.is_there { &mut tally.states } else { &mut tally.missed }) += 1;
        }
        for &j in killed.second_changes.iter().skip(k as usize % stride_of_second).step_by(stride_of_second) {
            tally.kill(make, plan, &trace, k, j);
        }
    }
    // Not all runs have the same length: the end is where several came to their end in a row.
    let mut ends = 0;
    for k in end.. {
        if !tally.every || !begins_whole || ends > REPEATS {
            break;
        }
        let result = tally.kill(make, plan, &trace, k, MOST_OF_SECOND);
        ends = if result.completed || result.slept && result.steps < k { ends + 1 } else { 0 };
    }
    tally
}

/// Which of the victim's instructions are tried.
fn window(first: &Run) -> (u64, u64) {
    let begin = first.woken_after.unwrap_or(0);
    let is_native = |place: &u64| first.native.iter().any(|(start, end)| (start..end).contains(&place));
    let places = &first.places;
    match (places.iter().position(is_native), places.iter().rposition(is_native)) {
        (Some(one), Some(last)) => (begin.max(one.saturating_sub(MARGIN) as u64), ((last + MARGIN) as u64).min(first.steps)),
        _ => (begin, first.steps),
    }
}

/// What a kill came to.
struct Killed {
    steps: u64,
    second_changes: Vec<u64>,
    /// Whether that was where it should be.
    is_there: bool,
    completed: bool,
    slept: bool,
}

impl Tally {
    /// Makes a scene and kills its victim after `k` steps, and the second one after `j`.
    fn kill<'a>(&mut self, make: &dyn Fn() -> Box<dyn Scene + 'a>, plan: Plan<'_>, trace: &Trace, k: u64, j: u64) -> Killed {
        let mut way = Way::Along(trace);
        let mut result = run(&*make(), plan.server, way, k, j);
        // What a long operation did for the tenth time only since its steps took so long is left alone.
        let is_long = trace.places.len() as u64 > MOST_OF_ALL;
        if !result.is_there && (!is_long || trace.time(k as usize) <= OFTEN) {
            way = Way::Steps(trace);
            result = run(&*make(), plan.server, way, k, j);
        }
        let killed = Killed {
            steps: result.steps,
            second_changes: std::mem::take(&mut result.second_changes),
            is_there: result.is_there,
            completed: result.completed,
            slept: result.slept,
        };
        self.add(make, plan, way, k, j, result);
        killed
    }

    /// Counts what came of a kill.
    fn add<'a>(&mut self, make: &dyn Fn() -> Box<dyn Scene + 'a>, plan: Plan<'_>, way: Way<'_>, k: u64, j: u64, result: Run) {
        self.points += 1;
        let (mut delay, late) = (result.delay, make().late());
        for _ in 0..REPEATS {
            if delay > late {
                let again = run(&*make(), plan.server, way, k, j);
                // One that was killed elsewhere says nothing of this.
                if again.is_there || !result.is_there {
                    delay = delay.min(again.delay);
                }
            }
        }
        self.worst = self.worst.max(delay);
        let mut wrong = vec![];
        if delay > late {
            self.late += 1;
            wrong.push(format!("late: woken after {} ms", delay / 1_000_000));
        }
        for fault in &result.faults {
            self.count(fault);
            wrong.push(fault.text());
        }
        for wrong in wrong {
            let second = if result.at.len() > 1 { format!(", the second after {}", result.second_steps) } else { String::new() };
            let mut report = format!("killed after {} of {}{second}: {wrong}", result.steps, self.steps);
            // Where thousands fail alike the first are enough.
            if self.reports.len() < 20 {
                result
                    .at
                    .iter()
                    .for_each(|place| report += &format!("\n    at {}", in_words(place.as_ref()).replace('\n', "\n    ")));
            }
            self.reports.push(report);
        }
    }
}

/// Lets the victim of `scene` run for `limit` instructions, or to its end, and kills it; and the second one, if it is woken, for
/// `second_limit`.
fn run(scene: &dyn Scene, server: Option<&Server>, way: Way<'_>, limit: u64, second_limit: u64) -> Run {
    let victim = match server {
        Some(server) => Victim::of(server, &scene.command().expect("a scene for other languages")),
        None => Victim::forked(scene.is_first_call(), || scene.victim()),
    };
    scene.victim_is_ready();
    let second = scene.has_second().then(|| {
        let victim = Victim::forked(false, || scene.second());
        victim.run_to_sleep();
        victim
    });
    let mut sleepers = (!scene.sleepers_come_later()).then(|| Sleepers::start(scene));
    let (mut steps, mut calls, mut places, mut slept, mut woken_after) = (0, vec![], vec![], false, None);
    let mut changes = vec![];
    let mut seen = matches!(way, Way::Watched).then(|| Seen::of(victim.pid));
    let mut asleep = |slept: &mut bool| {
        if *slept {
            // Others took what it was woken for.
            return false;
        }
        *slept = true;
        if sleepers.is_none() {
            sleepers = Some(Sleepers::start(scene));
        }
        scene.victim_sleeps()
    };
    let mut ran = Ran::There;
    let anchor = if let Way::Along(trace) = way { trace.anchor(limit as usize) } else { None };
    if let Some((anchor, place, times)) = anchor {
        ran = victim.run_to(place, times, || asleep(&mut slept));
        steps = anchor as u64;
    }
    let limit = limit.min(steps + MOST_STEPS);
    while ran == Ran::There && steps < limit {
        let at = victim.at();
        let in_kernel = victim.is_system_call(at);
        if in_kernel {
            calls.push(steps);
        }
        if seen.is_some() {
            places.push(at);
        }
        let slept_before = slept;
        ran = victim.step(in_kernel, || asleep(&mut slept));
        steps += 1;
        if ran == Ran::There && seen.as_mut().is_some_and(|seen| seen.has_changed(at, in_kernel)) {
            changes.push(steps);
        }
        if slept && !slept_before && ran == Ran::There {
            woken_after = Some(steps);
        }
    }
    let is_there = match way {
        Way::Watched => true,
        Way::Steps(trace) | Way::Along(trace) => {
            ran == Ran::There && trace.places.get(limit as usize).is_none_or(|&place| place == victim.at())
        }
    };
    let mut at = vec![victim.place()];
    let native = if seen.is_some() && server.is_some() { victim.ranges_of("_rsipc.") } else { vec![] };
    let ended = victim.is_done();
    let completed = ended || scene.stands_still();
    if scene.stands_still() {
        scene.take_away();
        sleepers = Some(Sleepers::start(scene));
    }
    let mut sleepers = sleepers.unwrap_or_else(|| Sleepers::none(1));
    if scene.another_comes() {
        sleepers.add_another(scene);
    }
    sleepers.let_them_look(scene);
    if scene.stands_still() {
        victim.go_on();
    }
    scene.barge();
    let mut killed = now();
    if scene.stands_still() {
        scene.wake();
    }
    let mut end = Instant::now() + HANG;
    // An operation that came to its end has woken whom it had to: its death must not be needed for that.
    let must_be_enough =
        completed && scene.completion_is_enough() && second.is_none() && (!scene.sleepers_come_later() || scene.stands_still());
    while must_be_enough && scene.stuck(&sleepers) && Instant::now() < end {
        std::thread::sleep(Duration::from_micros(50));
    }
    victim.kill();
    let (mut second_steps, mut second_changes) = (0, vec![]);
    if let Some(second) = second {
        if second.is_woken(Duration::from_millis(5)) {
            let mut ran = Ran::There;
            let mut seen = Seen::of(second.pid);
            second_changes.push(0);
            while ran == Ran::There && second_steps < second_limit && !second.is_done() {
                let at = second.at();
                let in_kernel = second.is_system_call(at);
                ran = second.step(in_kernel, || false);
                second_steps += 1;
                if ran == Ran::There && (seen.has_changed(at, in_kernel) || in_kernel) {
                    second_changes.push(second_steps);
                }
            }
            at.push(second.place());
        }
        scene.barge();
        killed = now();
        end = Instant::now() + HANG;
        second.kill();
    }
    scene.let_go();
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
    Run {
        steps,
        second_steps,
        calls,
        places,
        changes,
        second_changes,
        woken_after: woken_after.filter(|_| scene.after_waking()),
        native,
        completed: ended,
        slept: slept && !completed,
        is_there,
        faults,
        delay,
        at,
    }
}
