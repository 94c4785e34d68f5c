//! Runs a model again and again, until every execution has been tried that differs from the plain one in few places.
//!
//! A model is some threads, of which each is a coroutine and counts as a process of its own, and a look at what they left. They
//! run the library's own code on memory of this program ([`Memory`]). Whatever they do to it goes through here, one step at a
//! time, and before and in each step there are choices: which thread goes on, which of the values that it may see a load gives,
//! whether the thread dies, whether a timeout passes. In the *plain* execution a thread goes on until it sleeps, and the first
//! that can follows, loads give the newest value, and nobody dies. [`Bounds`] says how many times an execution may deviate from
//! that, and all of those are tried. (Few deviations find nearly everything, as CHESS and others have shown; and what takes more
//! is looked for at random.)
//!
//! # Memory
//!
//! Each word has a history of stores. A thread has a *view*: for each word, the oldest store that it may still see. A load gives
//! any store from there on; Release stores carry their author's view, and Acquire loads take it over; relaxed stores carry that
//! of the last release fence; read-modify-writes read the newest store, and carry on what it carried; SeqCst fences share one
//! view. A fence that x86 has in the read-modify-write before it lies there: what the thread has stored since is not in that view
//! yet. This is C++20's model, with two things left out: stores of a word take effect in the order in which they are made, and no
//! load sees a store that is made after it. SeqCst loads and stores are refused. Views also have the steps of each thread, so
//! that copies of bytes are known to be ordered; if they are not, that is a data race.
//!
//! # Kernel
//!
//! A futex has its sleepers, first come first woken, with their bitsets. It compares the word with a value that may be as old as
//! the caller may see, but not older than what those saw who have woken somebody on it. Who is woken takes over the view of its
//! waker. Sleeps last for ever, unless their time is shorter than the library's backstop (`sync::lock::LOOK`): so if a wake-up is
//! lost, nobody can go on, which is a failure. A thread that dies stops right there, none of its destructors has any effect, and
//! then the kernel sees to the words on its robust list, step by step.
//!
//! # The compiler
//!
//! A death comes between two of the machine's instructions, and the compiler may have put a store behind others of the same
//! thread that it stands before in the source, up to the next fence or system call; a Release store it may only put behind others
//! together with what stands before it. So one of the dead thread's last stores may not have been made, and with it none of the
//! Release stores behind it, though later ones were, unless somebody has seen it. (Read-modify-writes stay where they are: what
//! follows them depends on what they found. So do copies of bytes.)

use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::atomic::Ordering;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

/// How far executions may be from the plain one.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// So many times another thread goes on, a load gives an old value, a weak exchange fails, or a timeout passes.
    pub deviations: u32,
    /// So many threads die, of those that may.
    pub deaths: u32,
    /// So many more executions at random, without a bound of deviations.
    pub random: u32,
}

/// What came of a model.
#[derive(Debug, Clone)]
pub struct Report {
    pub executions: u64,
    pub failure: Option<String>,
}

/// Where in the library's source something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Site {
    pub file: &'static str,
    pub line: u32,
    pub column: u32,
}

impl Site {
    fn of(at: &'static Location<'static>) -> Self {
        Self { file: at.file(), line: at.line(), column: at.column() }
    }
}

/// What is done there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Act {
    Ordering(OrderingKind),
    Fence,
    Wake { all: bool },
}

/// An `Ordering` that has an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OrderingKind {
    Acquire,
    Release,
    AcqRel,
}

/// What is done otherwise than the source says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mutation {
    pub site: Site,
    pub change: Change,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Ordering(Ordering),
    /// One that is Acquire and Release, but not SeqCst.
    WeakFence,
    NoWake,
    /// One is woken, of those who are to be.
    WakeOne,
}

/// The most threads of a model, with the main one.
const MOST_THREADS: usize = 8;
/// The thread that sets up and looks at what is left, while no other one runs.
const MAIN: usize = 0;
/// Its number; the others' follow.
const FIRST_ID: u32 = 100;
/// An execution of more steps is endless.
const MOST_STEPS: u32 = 20_000;
/// In a random execution every so many choices deviate.
const RARE: u64 = 12;

#[derive(Default, Clone, Copy)]
struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize(*byte as usize);
        }
    }

    fn write_usize(&mut self, n: usize) {
        self.0 = (self.0.rotate_left(5) ^ n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

type Map<V> = HashMap<usize, V, BuildHasherDefault<AddressHasher>>;

/// What a thread may no longer not see.
#[derive(Default, Clone)]
struct View {
    /// For each word, by its number, the oldest store that may be seen.
    words: Vec<u32>,
    /// For each thread, how far it is known to have come.
    steps: [u32; MOST_THREADS],
}

impl View {
    fn join_words(&mut self, other: &Self) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (mine, others) in self.words.iter_mut().zip(&other.words) {
            *mine = (*mine).max(*others);
        }
    }

    fn join(&mut self, other: &Self) {
        self.join_words(other);
        for (mine, others) in self.steps.iter_mut().zip(&other.steps) {
            *mine = (*mine).max(*others);
        }
    }

    fn word(&self, word: usize) -> u32 {
        self.words.get(word).copied().unwrap_or(0)
    }

    fn see(&mut self, word: usize, store: u32) {
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.words[word] = self.words[word].max(store);
    }
}

struct Store {
    value: u64,
    view: Rc<View>,
}

struct Word {
    number: usize,
    stores: Vec<Store>,
    /// The oldest value that the kernel may compare with.
    kernel: u32,
}

/// Who touched some bytes last.
#[derive(Default, Clone, Copy)]
struct Touched {
    writer: usize,
    written: u32,
    read: [u32; MOST_THREADS],
}

/// How a sleep ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    By(usize),
    NotAtAll,
    TimedOut,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    Asleep {
        can_time_out: bool,
    },
    Over,
    /// It begins when the one has ended whose id it gets.
    Unborn,
}

struct Thread {
    name: &'static str,
    id: u32,
    state: State,
    /// What it returned from its sleep with.
    woken: Woken,
    view: View,
    /// The views of what relaxed loads have seen.
    seen: View,
    /// The view at the last release fence.
    fenced: Rc<View>,
    yielder: *const Yielder<(), ()>,
    may_die: bool,
    /// Dies at its next step.
    doomed: bool,
    /// Is being unwound: nothing that it does has an effect.
    dead: bool,
    /// The kernel has seen to what it left.
    gone: bool,
    /// The word that `list_op_pending` names, and those on the list.
    pending: Option<usize>,
    linked: Vec<usize>,
    /// It sleeps on a word that has changed, and changed back, since it looked.
    slept_late: bool,
    /// Its deadlines have passed.
    expired: bool,
    /// If it may die: its stores since the last step that keeps the compiler from moving them down.
    late: Vec<Late>,
    /// Its stores since its last read-modify-write or fence: the word's number, and which of the word's stores it knew of before.
    since_update: Vec<(usize, u32)>,
}

/// A store which the compiler may have moved behind those that follow it.
struct Late {
    address: usize,
    /// Which one of the word's.
    store: usize,
    /// How many bytes the word has.
    len: usize,
    /// Something has followed it.
    overtaken: bool,
    is_release: bool,
}

/// What a SeqCst fence is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fence {
    Whole,
    /// It lies where the thread's last read-modify-write does: what was stored since may be seen later than what is loaded after it.
    AtUpdate,
    /// None: it orders as an AcqRel fence does.
    Weak,
}

struct Sleeper {
    thread: usize,
    words: Vec<(usize, u32)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Price {
    Free,
    Deviation,
    Death,
}

struct Choice {
    taken: u32,
    options: u32,
    price: Price,
}

/// What is left of the bounds, and what was chosen.
struct Path {
    choices: Vec<Choice>,
    next: usize,
    deviations: u32,
    deaths: u32,
    random: Option<u64>,
}

impl Path {
    fn choose(&mut self, options: u32, price: Price) -> u32 {
        let left = match price {
            Price::Free => u32::MAX,
            Price::Deviation => self.deviations,
            Price::Death => self.deaths,
        };
        if options < 2 || left == 0 {
            return 0;
        }
        let taken = if let Some(seed) = &mut self.random {
            *seed ^= *seed << 13;
            *seed ^= *seed >> 7;
            *seed ^= *seed << 17;
            let rare = if price == Price::Death { 8 * RARE } else { RARE };
            if price == Price::Free || (*seed >> 33).is_multiple_of(rare) { (*seed >> 17) as u32 % options } else { 0 }
        } else if let Some(choice) = self.choices.get(self.next) {
            assert!(choice.options == options && choice.price == price, "the model does not always do the same");
            choice.taken
        } else {
            self.choices.push(Choice { taken: 0, options, price });
            0
        };
        self.next += 1;
        if taken != 0 {
            match price {
                Price::Free => {}
                Price::Deviation => self.deviations -= 1,
                Price::Death => self.deaths -= 1,
            }
        }
        taken
    }

    /// Goes back to the last choice that has another option within the bounds.
    fn next(&mut self, bounds: Bounds) -> bool {
        let spent = |choices: &[Choice], price| choices.iter().filter(|c| c.taken != 0 && c.price == price).count() as u32;
        while let Some(mut last) = self.choices.pop() {
            let affordable = last.taken != 0
                || match last.price {
                    Price::Free => true,
                    Price::Deviation => spent(&self.choices, Price::Deviation) < bounds.deviations,
                    Price::Death => spent(&self.choices, Price::Death) < bounds.deaths,
                };
            if last.taken + 1 < last.options && affordable {
                last.taken += 1;
                self.choices.push(last);
                return true;
            }
        }
        false
    }
}

struct World {
    path: Path,
    threads: Vec<Thread>,
    current: usize,
    next: usize,
    arenas: Vec<(usize, usize)>,
    words: Map<Word>,
    bytes: Map<Touched>,
    /// What was cleared, of which nothing was touched before: from where to where, by whom and when.
    cleared: Vec<(usize, usize, Touched)>,
    fences: View,
    sleepers: Vec<Sleeper>,
    steps: u32,
    failure: Option<String>,
    /// What the threads did, when it is wanted.
    trace: Option<Vec<String>>,
    mutation: Option<Mutation>,
    acts: Option<BTreeMap<(Site, Act), u64>>,
    keep: Vec<Box<dyn Any>>,
    known: Known,
    /// Something was learned, so that what was tried so far counts for nothing.
    has_learned: bool,
    /// It goes no further, and that is no failure.
    abandoned: bool,
}

/// Which words matter: what is only read, or only by one thread, is no reason to try which thread comes first there. Learned from
/// one execution to the next; whenever something is learned, all begins anew.
type Known = Map<Use>;

#[derive(Default, Clone, Copy)]
struct Use {
    /// The threads that touch it, a bit each.
    threads: u8,
    is_written: bool,
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

struct Died;

fn world<R>(act: impl FnOnce(&mut World) -> R) -> Option<R> {
    WORLD.with_borrow_mut(|world| world.as_mut().map(act))
}

impl World {
    fn me(&mut self) -> &mut Thread {
        &mut self.threads[self.current]
    }

    /// Whether what the current thread does has an effect on others.
    fn acts(&self) -> bool {
        self.failure.is_none() && !self.threads[self.current].dead
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let line = format!("{}: {}", self.threads[self.current].name, what());
            trace.push(line);
        }
    }

    fn fail(&mut self, why: String) {
        self.note(|| format!("FAILURE {why}"));
        self.failure.get_or_insert(why);
    }

    /// Which thread goes on; None where none can.
    fn pick(&mut self) -> Option<usize> {
        loop {
            for thread in 1..self.threads.len() {
                let sleeper = &self.threads[thread];
                let State::Asleep { can_time_out } = sleeper.state else { continue };
                if sleeper.may_die && !sleeper.gone && self.path.choose(2, Price::Death) != 0 {
                    self.threads[thread].doomed = true;
                    self.wake_up(thread, Woken::NotAtAll);
                } else if can_time_out && self.path.choose(2, Price::Deviation) != 0 {
                    self.wake_up(thread, Woken::TimedOut);
                }
            }
            let current = self.current;
            let goes_on = current != MAIN && self.threads[current].state == State::Ready;
            let ready = (1..self.threads.len()).filter(|&t| self.threads[t].state == State::Ready && t != current);
            let others: Vec<_> = ready.collect();
            let all = usize::from(goes_on) + others.len();
            if all != 0 {
                let taken = self.path.choose(all as u32, Price::Deviation) as usize;
                return Some(if !goes_on {
                    others[taken]
                } else if taken == 0 {
                    current
                } else {
                    others[taken - 1]
                });
            }
            // Nobody can do anything before the next timeout.
            let can = |t: &usize| self.threads[*t].state == State::Asleep { can_time_out: true };
            let timed: Vec<_> = (1..self.threads.len()).filter(can).collect();
            if timed.is_empty() {
                return None;
            }
            let thread = timed[self.path.choose(timed.len() as u32, Price::Free) as usize];
            self.wake_up(thread, Woken::TimedOut);
        }
    }

    fn wake_up(&mut self, thread: usize, woken: Woken) {
        self.sleepers.retain(|sleeper| sleeper.thread != thread);
        self.threads[thread].state = State::Ready;
        self.threads[thread].woken = woken;
        self.threads[thread].expired |= woken == Woken::TimedOut;
        let name = self.threads[thread].name;
        self.note(|| format!("  ({name} wakes up: {woken:?})"));
    }

    fn fence(&mut self, thread: usize, kind: Fence) {
        let it = &mut self.threads[thread];
        it.view.join(&it.seen);
        if kind != Fence::Weak {
            // What others see by it has been made.
            it.late.clear();
            let mut told = it.view.clone();
            if kind == Fence::AtUpdate {
                it.since_update.iter().rev().for_each(|&(word, before)| told.words[word] = before);
            } else {
                it.since_update.clear();
            }
            it.view.join_words(&self.fences);
            self.fences.join_words(&told);
        }
        it.fenced = Rc::new(it.view.clone());
    }

    fn word(&mut self, address: usize, now: u64) -> &mut Word {
        let number = self.words.len();
        let first = || Word { number, stores: vec![Store { value: now, view: Rc::default() }], kernel: 0 };
        self.words.entry(address).or_insert_with(first)
    }

    /// Chooses one of the stores that the current thread may see, none older than `oldest`.
    fn choose_store(&mut self, address: usize, now: u64, oldest: u32) -> usize {
        let (current, word) = (self.current, self.word(address, now));
        let (number, newest) = (word.number, word.stores.len() - 1);
        if current == MAIN {
            return newest;
        }
        let oldest = self.threads[current].view.word(number).max(oldest) as usize;
        newest - self.path.choose((newest - oldest) as u32 + 1, Price::Deviation) as usize
    }

    fn see(&mut self, address: usize, store: usize, ordering: Ordering) -> u64 {
        self.is_seen(address, store);
        let word = &self.words[&address];
        let (number, value, view) = (word.number, word.stores[store].value, Rc::clone(&word.stores[store].view));
        let me = self.me();
        me.view.see(number, store as u32);
        if matches!(ordering, Ordering::Acquire | Ordering::AcqRel) {
            me.view.join(&view);
        } else if !view.words.is_empty() {
            me.seen.join(&view);
        }
        value
    }

    /// Another thread sees a store: it has been made.
    fn is_seen(&mut self, address: usize, store: usize) {
        let current = self.current;
        for (index, thread) in self.threads.iter_mut().enumerate() {
            if index != current && !thread.late.is_empty() {
                let seen = thread.late.iter().position(|late| late.address == address && late.store == store);
                // And so have those before it.
                if let Some(index) = seen.filter(|&index| thread.late[index].is_release) {
                    thread.late.drain(..index);
                }
                thread.late.retain(|late| late.address != address || late.store > store);
            }
        }
    }

    /// What the current thread has stored before stays before what it does from here on.
    fn keep_order(&mut self) {
        self.me().late.clear();
    }

    /// The current thread has stored something to a word; of `late` bytes, if the compiler may have moved that down.
    fn overtake(&mut self, address: usize, ordering: Ordering, late: Option<usize>) {
        let is_release = matches!(ordering, Ordering::Release | Ordering::AcqRel);
        if is_release && late.is_none() {
            self.keep_order();
        }
        self.me().late.iter_mut().for_each(|late| late.overtaken |= late.address != address);
        if let Some(len) = late.filter(|_| self.threads[self.current].may_die) {
            let store = self.words[&address].stores.len() - 1;
            self.me().late.push(Late { address, store, len, overtaken: false, is_release });
        }
    }

    /// The current thread dies: one of its last stores may not have been made, and with it none of the Release stores behind that.
    fn lose_one(&mut self) {
        let late = std::mem::take(&mut self.me().late);
        let lost_with = |first: usize| std::iter::once(first).chain((first + 1..late.len()).filter(|&i| late[i].is_release));
        // Of each word they have to be the last ones.
        let can_be_lost = |first: usize| {
            lost_with(first).all(|i| {
                let (address, newest) = (late[i].address, self.words[&late[i].address].stores.len());
                (late[i].store..newest)
                    .all(|store| lost_with(first).any(|j| late[j].address == address && late[j].store == store))
            })
        };
        let firsts: Vec<usize> = (0..late.len()).filter(|&first| late[first].overtaken && can_be_lost(first)).collect();
        let taken = self.path.choose(firsts.len() as u32 + 1, Price::Free) as usize;
        let Some(first) = taken.checked_sub(1).map(|taken| firsts[taken]) else { return };
        let lost: Vec<usize> = lost_with(first).collect();
        for Late { address, store, len, .. } in lost.into_iter().rev().map(|i| &late[i]) {
            let word = self.words.get_mut(address).expect("it was stored to");
            word.stores.pop();
            let (number, value) = (word.number, word.stores[store - 1].value);
            self.me().view.words[number] = *store as u32 - 1;
            self.note(|| format!("(the compiler has moved the last store to {address:#x} down: it is {value:#x})"));
            // SAFETY: it lies in an arena, which lives as long as the execution; one coroutine runs at a time.
            unsafe {
                if *len == 8 {
                    std::ptr::with_exposed_provenance_mut::<u64>(*address).write(value);
                } else {
                    std::ptr::with_exposed_provenance_mut::<u32>(*address).write(value as u32);
                }
            }
        }
    }

    fn append(&mut self, address: usize, value: u64, ordering: Ordering, carried: Option<Rc<View>>) {
        let word = &self.words[&address];
        let (number, store) = (word.number, word.stores.len());
        let me = &mut self.threads[self.current];
        me.view.see(number, store as u32);
        let own = if matches!(ordering, Ordering::Release | Ordering::AcqRel) {
            Rc::new(me.view.clone())
        } else {
            Rc::clone(&me.fenced)
        };
        let view = match carried {
            Some(carried) if !carried.words.is_empty() => {
                let mut both = View::clone(&carried);
                both.join(&own);
                Rc::new(both)
            }
            _ => own,
        };
        self.words.get_mut(&address).expect("it was seen").stores.push(Store { value, view });
    }

    fn is_tracked(&self, address: usize) -> bool {
        self.arenas.iter().any(|&(start, len)| address.wrapping_sub(start) < len)
    }

    fn touch(&mut self, from: usize, to: usize, len: usize) {
        for (start, writes) in [(from, false), (to, true)] {
            if !self.is_tracked(start) || len == 0 {
                continue;
            }
            let current = self.current;
            let known = self.threads[current].view.steps;
            let mut race = None;
            for at in start / 4..(start + len).div_ceil(4) {
                let cleared = || self.cleared.iter().rev().find(|(from, to, _)| (*from..*to).contains(&(at * 4)));
                let touched = self.bytes.entry(at).or_insert_with(|| cleared().map(|cleared| cleared.2).unwrap_or_default());
                if touched.written > known[touched.writer] {
                    race = Some((touched.writer, "written"));
                }
                if writes {
                    if let Some(reader) = (0..MOST_THREADS).find(|&t| touched.read[t] > known[t]) {
                        race = Some((reader, "read"));
                    }
                    *touched = Touched { writer: current, written: known[current], read: [0; MOST_THREADS] };
                } else {
                    touched.read[current] = known[current];
                }
            }
            if let Some((other, what)) = race {
                let does = if writes { "writes" } else { "reads" };
                let (me, other) = (self.threads[current].name, self.threads[other].name);
                self.fail(format!("data race: {me} {does} bytes that {other} has {what}, and nothing orders the two"));
            }
        }
    }

    /// The same number for the same place in every execution.
    fn key(&self, address: usize) -> usize {
        let arena = self.arenas.iter().position(|&(start, len)| address.wrapping_sub(start) < len);
        arena.map_or(usize::MAX, |arena| (arena << 40) | (address - self.arenas[arena].0))
    }

    fn mutated(&self, at: &'static Location<'static>) -> Option<Change> {
        let mutation = self.mutation.as_ref()?;
        let site = &mutation.site;
        (site.line == at.line() && site.column == at.column() && site.file == at.file()).then_some(mutation.change)
    }

    fn acted(&mut self, at: &'static Location<'static>, act: Act) {
        if let Some(acts) = &mut self.acts {
            *acts.entry((Site::of(at), act)).or_default() += 1;
        }
    }

    fn ordering(&mut self, at: &'static Location<'static>, ordering: Ordering) -> Ordering {
        let kind = match ordering {
            Ordering::Relaxed => return ordering,
            Ordering::Acquire => OrderingKind::Acquire,
            Ordering::Release => OrderingKind::Release,
            Ordering::AcqRel => OrderingKind::AcqRel,
            _ => panic!("SeqCst loads and stores are not modelled: {at}"),
        };
        self.acted(at, Act::Ordering(kind));
        match self.mutated(at) {
            Some(Change::Ordering(weaker)) => weaker,
            _ => ordering,
        }
    }
}

/// As [`step`], for one that concerns a word: others go on first only if they have to do with it, too.
fn step_on(address: usize, writes: bool) -> bool {
    let matters = world(|w| {
        if w.current == MAIN || !w.acts() {
            return (true, true);
        }
        let key = w.key(address);
        let me = 1_u8 << w.current;
        let known = w.known.entry(key).or_default();
        let learned = (writes && !known.is_written, known.threads & me == 0);
        known.is_written |= writes;
        known.threads |= me;
        let known = *known;
        w.has_learned |= learned.0 && known.threads != 0 || learned.1 && known.is_written;
        (known.is_written, known.threads.count_ones() > 1)
    });
    match matters {
        // A constant.
        Some((false, _)) => true,
        Some((true, false)) => {
            may_die_here();
            step_alone()
        }
        _ => step(),
    }
}

/// A step before which nobody else goes on.
fn step_alone() -> bool {
    if world(|w| w.failure.is_some() || w.current == MAIN).unwrap_or(true) {
        return step();
    }
    world(|w| {
        let (current, acts) = (w.current, w.acts());
        w.steps += 1;
        w.me().view.steps[current] += 1;
        acts && w.steps <= MOST_STEPS
    }) == Some(true)
        || step()
}

/// A step of the current thread begins: others may go on first, or it dies. Says whether the step has an effect.
fn step() -> bool {
    enum Next {
        Nothing,
        Effect,
        Die,
        Switch(*const Yielder<(), ()>),
    }
    let next = world(|w| {
        if w.failure.is_some() && w.current != MAIN && !std::thread::panicking() {
            // It goes no further.
            return Next::Switch(w.me().yielder);
        }
        if !w.acts() {
            return Next::Nothing;
        }
        let current = w.current;
        w.me().view.steps[current] += 1;
        if current == MAIN {
            return Next::Effect;
        }
        w.steps += 1;
        if w.steps > MOST_STEPS {
            w.fail("it does not come to an end".into());
            return Next::Switch(w.me().yielder);
        }
        if w.me().may_die && w.path.choose(2, Price::Death) != 0 {
            w.me().doomed = true;
        }
        if w.me().doomed {
            return Next::Die;
        }
        w.next = w.pick().unwrap_or(current);
        if w.next == current { Next::Effect } else { Next::Switch(w.me().yielder) }
    });
    match next {
        None | Some(Next::Nothing) => false,
        Some(Next::Effect) => true,
        Some(Next::Die) => die(),
        Some(Next::Switch(yielder)) => {
            // SAFETY: it is that of the coroutine which runs this.
            unsafe { (*yielder).suspend(()) };
            if world(|w| w.me().doomed).unwrap_or(false) {
                die();
            }
            world(|w| w.acts()).unwrap_or(false)
        }
    }
}

/// The current thread may die from here on.
pub fn is_mortal_from_here() {
    world(|w| w.me().may_die = true);
}

/// Between two steps the current thread may die.
fn may_die_here() {
    let dies = world(|w| {
        let dies = w.acts() && w.current != MAIN && w.me().may_die && (w.me().doomed || w.path.choose(2, Price::Death) != 0);
        w.me().doomed |= dies;
        dies
    });
    if dies == Some(true) {
        die();
    }
}

fn die() -> ! {
    world(|w| {
        w.note(|| "DIES".into());
        w.lose_one();
        let me = w.me();
        (me.doomed, me.may_die, me.dead) = (false, false, true);
    });
    resume_unwind(Box::new(Died))
}

/// Whether accesses to an address are modelled at this moment.
pub fn is_tracked(address: usize) -> bool {
    world(|w| w.is_tracked(address)).unwrap_or(false)
}

/// A load.
#[track_caller]
pub fn load(address: usize, now: impl Fn() -> u64, ordering: Ordering) -> u64 {
    let at = Location::caller();
    let acts = step_on(address, false);
    let now = now();
    world(|w| {
        let ordering = w.ordering(at, ordering);
        if !acts {
            return now;
        }
        let store = w.choose_store(address, now, 0);
        let value = w.see(address, store, ordering);
        w.note(|| format!("load {value:#x} {ordering:?} of {address:#x} {at}"));
        value
    })
    .unwrap_or(now)
}

/// A store to a word of so many bytes. Says whether it has an effect.
#[track_caller]
pub fn store(address: usize, now: impl Fn() -> u64, (value, len): (u64, usize), ordering: Ordering) -> bool {
    let at = Location::caller();
    let acts = step_on(address, true);
    let now = now();
    world(|w| {
        let ordering = w.ordering(at, ordering);
        if acts {
            let number = w.word(address, now).number;
            let before = w.me().view.word(number);
            w.me().since_update.push((number, before));
            w.append(address, value, ordering, None);
            w.overtake(address, ordering, Some(len));
            w.note(|| format!("store {value:#x} {ordering:?} to {address:#x} {at}"));
        }
    });
    acts
}

/// A read-modify-write that always writes. Says whether it has an effect.
#[track_caller]
pub fn update(address: usize, now: u64, value: u64, ordering: Ordering) -> bool {
    let at = Location::caller();
    // The caller has made the step.
    world(|w| {
        let ordering = w.ordering(at, ordering);
        if w.acts() {
            rmw(w, address, now, value, ordering);
            w.note(|| format!("change {now:#x} to {value:#x} {ordering:?} at {address:#x} {at}"));
        }
        w.acts()
    })
    .unwrap_or(true)
}

fn rmw(w: &mut World, address: usize, now: u64, value: u64, ordering: Ordering) {
    let newest = w.word(address, now).stores.len() - 1;
    w.me().since_update.clear();
    w.see(address, newest, ordering);
    let carried = Rc::clone(&w.words[&address].stores[newest].view);
    w.append(address, value, ordering, Some(carried));
    w.overtake(address, ordering, None);
}

/// The step of a read-modify-write, before it reads.
pub fn before_update(address: usize) {
    step_on(address, true);
}

/// A compare-exchange: what it found, and whether it is to be stored.
#[track_caller]
pub fn exchange(
    address: usize,
    now: u64,
    (expected, value): (u64, u64),
    (success, failure): (Ordering, Ordering),
    weak: bool,
) -> (u64, bool) {
    let at = Location::caller();
    world(|w| {
        let (success, failure) = (w.ordering(at, success), w.ordering(at, failure));
        if !w.acts() {
            return (now, false);
        }
        // Also where it fails.
        w.me().since_update.clear();
        if now == expected && !(weak && w.path.choose(2, Price::Deviation) != 0) {
            rmw(w, address, now, value, success);
            w.note(|| format!("exchange {now:#x} for {value:#x} {success:?} at {address:#x} {at}"));
            return (now, true);
        }
        // It may fail for an old value, too, but not for the one that it expects, which it would have found to be the newest.
        let mut store = w.choose_store(address, now, 0);
        if w.words[&address].stores[store].value == expected && !weak {
            store = w.words[&address].stores.len() - 1;
        }
        let value = w.see(address, store, failure);
        w.note(|| format!("exchange fails with {value:#x}, not {expected:#x}, at {address:#x} {at}"));
        (value, false)
    })
    .unwrap_or((now, now == expected))
}

/// A fence.
#[track_caller]
pub fn fence(ordering: Ordering) {
    fence_of(match ordering {
        Ordering::SeqCst => Fence::Whole,
        // A little more than it is.
        Ordering::Release => Fence::Weak,
        _ => panic!("other fences are not modelled"),
    });
}

/// What keeps the compiler from moving anything, where the machine's read-modify-writes are fences.
#[track_caller]
pub fn fence_after_update() {
    fence_of(Fence::AtUpdate);
}

#[track_caller]
fn fence_of(kind: Fence) {
    let at = Location::caller();
    let acts = step();
    world(|w| {
        w.acted(at, Act::Fence);
        let change = w.mutated(at);
        if !acts {
            return;
        }
        w.note(|| format!("fence {at}"));
        w.keep_order();
        w.fence(w.current, if change == Some(Change::WeakFence) { Fence::Weak } else { kind });
    });
}

/// A fence of this thread, and one of each other thread at some moment of its own, while this one stays here; and one of this thread.
#[track_caller]
pub fn fence_everywhere() {
    let at = Location::caller();
    let threads = world(|w| w.threads.len()).unwrap_or(0);
    let mut change = None;
    for (first, thread) in std::iter::once(None).chain((1..threads).map(Some)).chain([None]).enumerate() {
        let acts = step();
        world(|w| {
            if first == 0 {
                w.acted(at, Act::Fence);
                change = w.mutated(at);
            }
            w.keep_order();
            let kind = if change == Some(Change::WeakFence) { Fence::Weak } else { Fence::Whole };
            if acts && (thread.is_none() || kind == Fence::Whole) {
                w.note(|| format!("fence of {thread:?} {at}"));
                w.fence(thread.unwrap_or(w.current), kind);
            }
        });
    }
}

/// Keeps the compiler from moving anything.
pub fn compiler_fence() {
    world(World::keep_order);
}

/// A copy of bytes, of which some may be in shared memory. Says whether it has an effect.
pub fn copy(from: usize, to: usize, len: usize) -> bool {
    if !is_tracked(from) && !is_tracked(to) {
        return true;
    }
    may_die_here();
    let acts = step_alone();
    world(|w| {
        if acts {
            w.note(|| format!("copy {len} bytes from {from:#x} to {to:#x}"));
            w.touch(from, to, len);
        }
    });
    acts
}

/// The bytes from `start` to `end` become zeros, as do the words there. Says whether it has an effect.
pub fn clear(start: usize, end: usize) -> bool {
    let acts = step();
    world(|w| {
        if !acts {
            return;
        }
        w.note(|| format!("clear {start:#x} to {end:#x}"));
        w.keep_order();
        let mut words: Vec<_> = w.words.keys().copied().filter(|word| (start..end).contains(word)).collect();
        words.sort_unstable();
        for word in words {
            w.append(word, 0, Ordering::Relaxed, None);
        }
        let mut touched: Vec<_> = w.bytes.keys().copied().filter(|at| (start / 4..end / 4).contains(at)).collect();
        touched.sort_unstable();
        for at in touched {
            w.touch(0, at * 4, 4);
        }
        let writer = w.current;
        let written = w.me().view.steps[writer];
        w.cleared.push((start, end, Touched { writer, written, ..Touched::default() }));
    });
    acts
}

/// Sleeps while all the words have their values.
pub fn sleep(words: &[(usize, u64, u32, u32)], can_time_out: bool) -> Woken {
    enum Next {
        Return(Woken),
        Suspend(*const Yielder<(), ()>),
    }
    // Whoever wakes us is concerned with these words, too.
    let mut acts = true;
    for word in words {
        acts &= step_on(word.0, true);
    }
    if !acts {
        return Woken::NotAtAll;
    }
    let next = world(|w| {
        let current = w.current;
        assert_ne!(current, MAIN, "the main thread would have to wait");
        w.keep_order();
        // As when it wakes.
        w.me().since_update.clear();
        let mut late = false;
        for &(address, now, expected, _) in words {
            let oldest = w.word(address, now).kernel;
            let store = w.choose_store(address, now, oldest);
            let value = w.words[&address].stores[store].value;
            let number = w.words[&address].number;
            late |= (w.me().view.word(number) as usize) < store;
            w.is_seen(address, store);
            if value != u64::from(expected) {
                w.note(|| format!("no sleep on {address:#x}, which is {value:#x} and not {expected:#x}"));
                return Next::Return(Woken::NotAtAll);
            }
        }
        w.note(|| format!("sleeps on {words:x?}"));
        let words = words.iter().map(|&(address, _, _, mask)| (address, mask)).collect();
        w.sleepers.push(Sleeper { thread: current, words });
        w.me().state = State::Asleep { can_time_out };
        w.me().slept_late = late;
        let yielder = w.me().yielder;
        match w.pick() {
            Some(next) => w.next = next,
            None => stuck(w),
        }
        if w.next == current && w.failure.is_none() && !w.abandoned { Next::Return(w.me().woken) } else { Next::Suspend(yielder) }
    });
    let woken = match next {
        None => return Woken::NotAtAll,
        Some(Next::Return(woken)) => woken,
        Some(Next::Suspend(yielder)) => {
            // SAFETY: it is that of the coroutine which runs this.
            unsafe { (*yielder).suspend(()) };
            world(|w| w.me().woken).unwrap_or(Woken::NotAtAll)
        }
    };
    may_die_here();
    woken
}

/// Nobody can go on.
fn stuck(w: &mut World) {
    // `sync::lock`, "Backstop": one was not running from its look until the word was the same again; and another one has died meanwhile, or
    // it waits for something that concerns it alone.
    let late = |thread: &Thread| matches!(thread.state, State::Asleep { .. }) && thread.slept_late;
    let alone =
        |sleeper: &Sleeper| late(&w.threads[sleeper.thread]) && sleeper.words.iter().all(|word| word.1 > 2 && word.1 != u32::MAX);
    if w.threads.iter().any(|thread| thread.dead) && w.threads.iter().any(late) || w.sleepers.iter().any(alone) {
        w.note(|| "(the backstop sees to it)".into());
        w.abandoned = true;
        return;
    }
    let asleep: Vec<_> = w.threads.iter().filter(|t| matches!(t.state, State::Asleep { .. })).map(|t| t.name).collect();
    w.fail(format!("a wake-up was lost: {} sleep(s) for ever", asleep.join(" and ")));
}

/// Wakes sleepers; says how many.
#[track_caller]
pub fn wake(address: usize, now: u64, most: u32, mask: u32) -> u32 {
    let at = Location::caller();
    let acts = step_on(address, true);
    world(|w| {
        w.acted(at, Act::Wake { all: most == u32::MAX });
        let most = match w.mutated(at) {
            Some(Change::NoWake) => 0,
            Some(Change::WakeOne) => most.min(1),
            _ => most,
        };
        w.keep_order();
        if !acts || most == 0 {
            return 0;
        }
        // The kernel has a fence there, before it looks for sleepers.
        w.me().since_update.clear();
        wake_some(w, address, now, most, mask)
    })
    .unwrap_or(0)
}

fn wake_some(w: &mut World, address: usize, now: u64, most: u32, mask: u32) -> u32 {
    let number = w.word(address, now).number;
    let view = w.me().view.clone();
    let word = w.word(address, now);
    word.kernel = word.kernel.max(view.word(number));
    let wants = |(at, sleeps): &(usize, u32)| *at == address && sleeps & mask != 0;
    let sleepers = w.sleepers.iter().filter_map(|s| Some((s.thread, s.words.iter().position(wants)?)));
    let chosen: Vec<_> = sleepers.take(most as usize).collect();
    w.note(|| format!("wakes {} on {address:#x} (mask {mask:#x})", chosen.len()));
    for (thread, which) in &chosen {
        w.wake_up(*thread, Woken::By(*which));
        w.threads[*thread].view.join(&view);
    }
    chosen.len() as u32
}

/// The current thread's id.
pub fn me() -> u32 {
    world(|w| w.me().id).unwrap_or(FIRST_ID)
}

/// The current thread's program, by a number: the id of its process.
pub fn program() -> u32 {
    world(|w| w.current as u32 + FIRST_ID).unwrap_or(FIRST_ID)
}

/// Whether no thread has this id any more.
pub fn is_gone(id: u32) -> bool {
    have_ended(|_, thread| thread.id == id && thread.state != State::Unborn)
}

/// Whether a program has ended.
pub fn is_over(program: u32) -> bool {
    have_ended(|index, _| index as u32 + FIRST_ID == program)
}

fn have_ended(is_one: impl Fn(usize, &Thread) -> bool) -> bool {
    step();
    world(|w| {
        w.keep_order();
        let mut all = View::default();
        for (_, thread) in w.threads.iter().enumerate().filter(|(index, thread)| is_one(*index, thread)) {
            if !thread.gone {
                return false;
            }
            all.join(&thread.view);
        }
        // All that they did is done.
        w.me().view.join(&all);
        true
    })
    .unwrap_or(false)
}

/// The current thread dies here.
pub fn dies() -> ! {
    step();
    die()
}

/// The current thread calls exec, and was not its process's first: when the kernel comes to its words, it has another id.
pub fn exec() -> ! {
    step();
    compiler_fence();
    world(|w| {
        let me = w.me();
        (me.pending, me.may_die) = (None, false);
        me.linked.clear();
    });
    die()
}

/// What `list_op_pending` names from here on; says what it was.
pub fn set_pending(word: Option<usize>) -> Option<usize> {
    may_die_here();
    compiler_fence();
    world(|w| if w.acts() { std::mem::replace(&mut w.me().pending, word) } else { None }).flatten()
}

pub fn pending() -> Option<usize> {
    world(|w| w.me().pending).flatten()
}

pub fn link(word: usize) {
    may_die_here();
    compiler_fence();
    world(|w| {
        if w.acts() {
            w.me().linked.push(word)
        }
    });
}

pub fn unlink(word: usize) {
    may_die_here();
    compiler_fence();
    world(|w| {
        if w.acts() {
            w.me().linked.retain(|linked| *linked != word)
        }
    });
}

/// Whether the current thread's time is up.
pub fn is_expired() -> bool {
    world(|w| {
        if w.acts() && w.current != MAIN && w.path.choose(2, Price::Deviation) != 0 {
            w.me().expired = true;
        }
        w.me().expired
    })
    .unwrap_or(true)
}

/// A new deadline of the current thread.
pub fn new_deadline() {
    world(|w| w.me().expired = false);
}

/// What the kernel does when a thread ends (`exit_robust_list` in its `kernel/futex/core.c`).
fn end_in_the_kernel() {
    let (linked, pending) = world(|w| {
        let me = w.me();
        (me.dead, me.may_die, me.doomed) = (false, false, false);
        (std::mem::take(&mut me.linked), me.pending.take())
    })
    .unwrap_or_default();
    let linked = linked.into_iter().rev().filter(|word| Some(*word) != pending);
    for (word, is_pending) in linked.map(|word| (word, false)).chain(pending.map(|word| (word, true))) {
        handle_futex_death(word, is_pending);
    }
    world(|w| {
        w.me().gone = true;
        let (id, view) = (w.me().id, w.me().view.clone());
        for other in w.threads.iter_mut().filter(|other| other.state == State::Unborn && other.id == id) {
            other.state = State::Ready;
            other.view.join(&view);
        }
    });
}

fn handle_futex_death(address: usize, is_pending: bool) {
    const TID: u64 = libc::FUTEX_TID_MASK as u64;
    if !is_tracked(address) {
        return;
    }
    loop {
        let seen = load(address, || raw(address), Ordering::Relaxed);
        let wake_one = || {
            step();
            world(|w| wake_some(w, address, seen, 1, u32::MAX));
        };
        if seen & TID == 0 && is_pending {
            return wake_one();
        }
        if seen & TID != u64::from(me()) {
            return;
        }
        let marked = seen & u64::from(libc::FUTEX_WAITERS) | u64::from(libc::FUTEX_OWNER_DIED);
        before_update(address);
        let orders = (Ordering::AcqRel, Ordering::Relaxed);
        if exchange(address, raw(address), (seen, marked), orders, false).1 {
            set_raw(address, marked);
            if seen & u64::from(libc::FUTEX_WAITERS) != 0 {
                wake_one();
            }
            return;
        }
        if world(|w| !w.acts()).unwrap_or(true) {
            return;
        }
    }
}

fn raw(address: usize) -> u64 {
    // SAFETY: it lies in an arena, which lives as long as the execution.
    u64::from(unsafe { std::ptr::with_exposed_provenance::<u32>(address).read() })
}

fn set_raw(address: usize, value: u64) {
    // SAFETY: as in `raw`; one coroutine runs at a time.
    unsafe { std::ptr::with_exposed_provenance_mut::<u32>(address).write(value as u32) };
}

/// Memory that is shared by a model's threads from here on. `keep` goes when the execution does.
pub fn share(start: usize, len: usize, keep: Box<dyn Any>) {
    world(|w| {
        w.arenas.push((start, len));
        w.keep.push(keep);
    });
}

type Work = Box<dyn FnOnce()>;
type Look = Box<dyn FnOnce(&Outcome)>;

/// Where a model is set up.
#[derive(Default)]
pub struct Model {
    threads: Vec<New>,
    finally: Option<Look>,
}

/// A thread to be.
struct New {
    name: &'static str,
    may_die: bool,
    /// Whose id it gets.
    namesake: Option<&'static str>,
    work: Work,
}

/// Which threads died.
pub struct Outcome {
    /// With their numbers.
    died: Vec<(u32, &'static str)>,
}

impl Outcome {
    pub fn died(&self, name: &str) -> bool {
        self.died.iter().any(|died| died.1 == name)
    }

    pub fn is_dead(&self, id: u32) -> bool {
        self.died.iter().any(|died| died.0 == id)
    }

    pub fn anybody_died(&self) -> bool {
        !self.died.is_empty()
    }
}

impl Model {
    /// A thread.
    pub fn thread(&mut self, name: &'static str, work: impl FnOnce() + 'static) {
        self.threads.push(New { name, may_die: false, namesake: None, work: Box::new(work) });
    }

    /// A thread that may die.
    pub fn mortal(&mut self, name: &'static str, work: impl FnOnce() + 'static) {
        self.threads.push(New { name, may_die: true, namesake: None, work: Box::new(work) });
    }

    /// A thread that begins when the one called `other` has ended, and gets its id.
    pub fn namesake(&mut self, name: &'static str, other: &'static str, work: impl FnOnce() + 'static) {
        self.threads.push(New { name, may_die: false, namesake: Some(other), work: Box::new(work) });
    }

    /// A look at what is left.
    pub fn finally(&mut self, look: impl FnOnce(&Outcome) + 'static) {
        self.finally = Some(Box::new(look));
    }
}

/// Another way to run models than as they are.
#[derive(Default, Clone)]
pub struct Run {
    pub mutation: Option<Mutation>,
    /// Collects what is done where.
    pub acts: Option<BTreeMap<(Site, Act), u64>>,
    /// Stop after so many executions.
    pub most: Option<u64>,
}

/// What goes from one execution to the next.
#[derive(Default)]
struct Pool {
    stacks: Vec<DefaultStack>,
    known: Known,
    has_learned: bool,
}

/// Tries a model.
pub fn explore(bounds: Bounds, run: &mut Run, model: &dyn Fn(&mut Model)) -> Report {
    quiet();
    let mut pool = Pool::default();
    let mut path = Path { choices: Vec::new(), next: 0, deviations: 0, deaths: 0, random: None };
    let mut executions = 0;
    loop {
        executions += 1;
        (path.next, path.deviations, path.deaths) = (0, bounds.deviations, bounds.deaths);
        let (failure, _) = execute(&mut path, run, model, &mut pool, false);
        if std::mem::take(&mut pool.has_learned) {
            path.choices.clear();
            executions = 0;
            continue;
        }
        if failure.is_some() {
            (path.next, path.deviations, path.deaths) = (0, bounds.deviations, bounds.deaths);
            return failed(&mut path, run, model, &mut pool, executions);
        }
        if run.most.is_some_and(|most| executions >= most) || !path.next(bounds) {
            break;
        }
    }
    for seed in 0..bounds.random {
        executions += 1;
        let seed = (u64::from(seed) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let fresh = || Path { choices: Vec::new(), next: 0, deviations: u32::MAX, deaths: bounds.deaths, random: Some(seed) };
        let mut failure = execute(&mut fresh(), run, model, &mut pool, false).0;
        while std::mem::take(&mut pool.has_learned) {
            failure = execute(&mut fresh(), run, model, &mut pool, false).0;
        }
        if failure.is_some() {
            return failed(&mut fresh(), run, model, &mut pool, executions);
        }
    }
    Report { executions, failure: None }
}

fn failed(path: &mut Path, run: &mut Run, model: &dyn Fn(&mut Model), pool: &mut Pool, executions: u64) -> Report {
    let (failure, trace) = if run.mutation.is_none() || std::env::var_os("RSIPC_MODEL_TRACE").is_some() {
        execute(path, run, model, pool, true)
    } else {
        execute(path, run, model, pool, false)
    };
    let why = failure.unwrap_or_else(|| "it failed once, and not again: the model does not always do the same".into());
    let trace = if trace.is_empty() { String::new() } else { format!("\n  {}", trace.join("\n  ")) };
    Report { executions, failure: Some(format!("{why}{trace}")) }
}

fn execute(
    path: &mut Path,
    run: &mut Run,
    model: &dyn Fn(&mut Model),
    pool: &mut Pool,
    trace: bool,
) -> (Option<String>, Vec<String>) {
    let empty = Path { choices: Vec::new(), next: 0, deviations: 0, deaths: 0, random: None };
    let new = World {
        path: std::mem::replace(path, empty),
        threads: vec![thread("main", FIRST_ID, false)],
        current: MAIN,
        next: MAIN,
        arenas: Vec::new(),
        words: Map::default(),
        bytes: Map::default(),
        cleared: Vec::new(),
        fences: View::default(),
        sleepers: Vec::new(),
        steps: 0,
        failure: None,
        trace: trace.then(Vec::new),
        mutation: run.mutation,
        acts: run.acts.take(),
        keep: Vec::new(),
        known: std::mem::take(&mut pool.known),
        has_learned: false,
        abandoned: false,
    };
    WORLD.set(Some(new));
    run_threads(model, &mut pool.stacks);
    let mut w = WORLD.take().expect("it was put there above");
    run.acts = w.acts.take();
    (pool.known, pool.has_learned) = (w.known, w.has_learned);
    *path = w.path;
    let result = (w.failure, w.trace.unwrap_or_default());
    drop(w.keep);
    result
}

fn thread(name: &'static str, id: u32, may_die: bool) -> Thread {
    Thread {
        name,
        id,
        state: State::Ready,
        woken: Woken::NotAtAll,
        view: View::default(),
        seen: View::default(),
        fenced: Rc::default(),
        yielder: std::ptr::null(),
        may_die,
        doomed: false,
        dead: false,
        gone: false,
        pending: None,
        linked: Vec::new(),
        slept_late: false,
        expired: false,
        late: Vec::new(),
        since_update: Vec::new(),
    }
}

fn run_threads(model: &dyn Fn(&mut Model), stacks: &mut Vec<DefaultStack>) {
    let mut built = Model::default();
    if !in_main(|| model(&mut built)) {
        return;
    }
    let mut coroutines = vec![None];
    for (index, New { name, may_die, namesake, work }) in built.threads.into_iter().enumerate() {
        let index = index + 1;
        world(|w| {
            let view = w.threads[MAIN].view.clone();
            let other = namesake.map(|other| w.threads.iter().find(|t| t.name == other).expect("there is one of this name").id);
            let state = if other.is_some() { State::Unborn } else { State::Ready };
            let id = other.unwrap_or(FIRST_ID + index as u32);
            w.threads.push(Thread { view, state, ..thread(name, id, may_die) });
        });
        let stack = stacks.pop().unwrap_or_else(|| DefaultStack::new(256 * 1024).expect("there is memory for a stack"));
        coroutines.push(Some(Coroutine::<(), (), (), _>::with_stack(stack, move |yielder, ()| body(index, yielder, work))));
    }
    // The first one to run is a choice as well.
    let Some(Some(first)) = world(|w| w.pick()) else { return };
    world(|w| w.next = first);
    loop {
        let Some(next) = world(|w| {
            w.current = w.next;
            w.next
        }) else {
            return;
        };
        let coroutine = coroutines[next].as_mut().expect("it has not ended");
        if let CoroutineResult::Return(()) = coroutine.resume(()) {
            stacks.extend(coroutines[next].take().map(Coroutine::into_stack));
            world(|w| {
                w.threads[next].state = State::Over;
                match w.pick() {
                    Some(next) => w.next = next,
                    None if w.threads.iter().any(|t| matches!(t.state, State::Asleep { .. })) => stuck(w),
                    None => {}
                }
            });
        }
        if world(|w| w.failure.is_some() || w.abandoned) == Some(true) {
            world(|w| w.threads.iter_mut().for_each(|thread| thread.dead = true));
            // Those that are left are unwound, without an effect.
            coroutines.clear();
            return;
        }
        if coroutines.iter().all(Option::is_none) {
            break;
        }
    }
    let died = world(|w| {
        w.current = MAIN;
        let views: Vec<_> = w.threads.iter().map(|t| t.view.clone()).collect();
        for view in views {
            w.me().view.join(&view);
        }
        w.threads.iter_mut().skip(1).for_each(|t| t.gone = true);
        let dead = (FIRST_ID..).zip(&w.threads).filter(|(_, thread)| thread.dead);
        dead.map(|(id, thread)| (id, thread.name)).collect()
    });
    if let Some(finally) = built.finally {
        let outcome = Outcome { died: died.unwrap_or_default() };
        in_main(|| finally(&outcome));
    }
}

/// What a coroutine runs.
fn body(index: usize, yielder: &Yielder<(), ()>, work: Work) {
    world(|w| w.threads[index].yielder = yielder);
    // It may die before it has begun, and after its last step.
    let result = catch_unwind(AssertUnwindSafe(|| {
        may_die_here();
        work();
        may_die_here();
    }));
    match result {
        Ok(()) => {
            // Its handles are closed; the thread ends.
            let result = catch_unwind(AssertUnwindSafe(end_in_the_kernel));
            drop(result);
        }
        Err(died) if died.is::<Died>() => {
            end_in_the_kernel();
            world(|w| w.me().dead = true);
        }
        Err(panic) => {
            let failed = world(|w| w.failure.is_some() || w.abandoned).unwrap_or(true);
            if failed {
                resume_unwind(panic);
            }
            world(|w| w.fail(text_of(&*panic)));
        }
    }
}

fn in_main(act: impl FnOnce()) -> bool {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(()) => true,
        Err(panic) => {
            world(|w| w.fail(text_of(&*panic)));
            false
        }
    }
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into())).unwrap_or_else(|| "a panic".into())
}

/// Failures are told in reports.
fn quiet() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if WORLD.try_with(|w| w.try_borrow().is_ok_and(|w| w.is_none())).unwrap_or(true) {
                loud(info);
            }
        }));
    });
}
