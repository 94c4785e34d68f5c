//! The scenes that are tried.

use std::cell::{Cell, RefCell};
use std::mem::MaybeUninit;
use std::rc::Rc;
use std::time::Duration;

use crate::engine::{Bounds, Model, Outcome, dies, exec};
use crate::error::Error;
use crate::queue::attached::LEASES;
use crate::queue::blocks::{State, owner_of};
use crate::queue::options::{Envelope, QueueOptions};
use crate::queue::sources::{Receiving, Sending};
use crate::queue::store::{LeaseTicket, Messages, Sink, Store, Take};
use crate::shm::Shared;
use crate::shm::layout::{Bias, Holder, PermitsLayout, QueueLayout, Quiet, SemaphoreLayout};
use crate::sync::lives;
use crate::sync::lock::{self, Held, LOOK, Left, On};
use crate::sync::permits::Permits;
use crate::sync::signals::Signals;
use crate::sync::source::{Sleeper, Source};
use crate::sync::spin::Spin;
use crate::sys::futex;
use crate::sys::memory::Ordering::Relaxed;
use crate::sys::memory::{AtomicU32, copy, set_obeys_barriers};
use crate::sys::process::{Identity, ThreadOf};
use crate::sys::thread::Call;
use crate::time::Deadline;

mod corners;

/// A scene, and how far it is tried: in short, and in full.
pub struct Scene {
    pub name: &'static str,
    pub short: Bounds,
    pub full: Bounds,
    pub model: Box<dyn Fn(&mut Model) + Sync>,
}

fn scene(name: &'static str, deviations: u32, deaths: u32, model: impl Fn(&mut Model) + Sync + 'static) -> Scene {
    let short = Bounds { deviations, deaths, random: 200 };
    let full = Bounds { deviations: deviations + 1, deaths, random: 3_000 };
    let model = move |m: &mut Model| {
        set_obeys_barriers(false);
        model(m);
    };
    Scene { name, short, full, model: Box::new(model) }
}

/// All of them.
pub fn all() -> Vec<Scene> {
    let mut scenes = vec![
        scene("lock: two threads", 3, 0, |m| locks(m, &["a", "b"], 2, None)),
        scene("lock: three threads, one dies", 1, 1, |m| locks(m, &["a", "b", "c"], 1, Some(0))),
        scene("lock: four threads, one dies", 0, 1, |m| locks(m, &["a", "b", "c", "d"], 1, Some(1))),
        scene("lock: who waits gives up", 2, 0, giving_up),
        scene("biased lock: another comes", 2, 0, |m| biased_lock(m, 3, &["another"], None)),
        scene("biased lock: another comes, and the user dies", 2, 1, |m| biased_lock(m, 2, &["another"], Some("user"))),
        scene("biased lock: one sleeps until there is a change", 2, 0, biased_change),
        scene("biased lock: two others come", 1, 0, |m| biased_lock(m, 3, &["b", "c"], None)),
        scene("biased lock: two others come, one dies", 1, 1, |m| biased_lock(m, 2, &["b", "c"], Some("b"))),
        scene("quiet lock: two threads", 2, 0, |m| quiet_lock(m, true, &[("a", 3), ("b", 1)], None)),
        scene("quiet lock: it becomes quiet", 2, 0, |m| quiet_lock(m, false, &[("a", 3), ("b", 1)], None)),
        scene("quiet lock: it becomes quiet, and an owner dies", 2, 1, |m| {
            quiet_lock(m, false, &[("a", 3), ("b", 1)], Some("a"))
        }),
        scene("quiet lock: three threads", 1, 0, |m| quiet_lock(m, true, &[("a", 3), ("b", 1), ("c", 1)], None)),
        scene("quiet lock: an owner dies", 2, 1, |m| quiet_lock(m, true, &[("a", 2), ("b", 1)], Some("a"))),
        scene("quiet lock: one that comes dies", 1, 1, |m| quiet_lock(m, true, &[("a", 2), ("b", 1), ("c", 1)], Some("b"))),
        scene("quiet lock: an owner dies among three", 2, 1, |m| quiet_lock(m, true, &[("a", 1), ("b", 1), ("c", 1)], Some("a"))),
        scene("lock of an exec: its id is another's", 2, 0, |m| exec_with_a_lock(m, Namesake::Later, &["another"], None)),
        scene("lock of an exec: its id is a first thread's", 2, 0, |m| exec_with_a_lock(m, Namesake::First, &["another"], None)),
        scene("lock of an exec: two others come", 1, 0, |m| exec_with_a_lock(m, Namesake::First, &["b", "c"], None)),
        scene("lock of an exec: two others come, one dies", 1, 1, |m| {
            exec_with_a_lock(m, Namesake::First, &["b", "c"], Some("b"))
        }),
        scene("lock of an exec: it has let go of it", 2, 0, |m| exec_with_a_lock(m, Namesake::AfterRelease, &["another"], None)),
        scene("lock of an exec: it dies, and one has looked before", 3, 0, dies_after_a_look),
        scene("lock of an exec: it dies instead", 2, 1, |m| exec_with_a_lock(m, Namesake::First, &["another"], Some("user"))),
        scene("signals: two acquire what one releases", 2, 0, |m| signals(m, &[2], 2, None)),
        scene("signals: one that acquires dies", 1, 1, |m| signals(m, &[1, 1], 2, Some("b"))),
        scene("signals: the one that releases dies", 1, 1, |m| signals(m, &[2, 2], 2, Some("releases 0"))),
        scene("permits: two share one", 1, 0, |m| permits(m, 1, &["a", "b"], None)),
        scene("permits: three share one, one dies", 0, 1, |m| permits(m, 1, &["a", "b", "c"], Some("a"))),
        scene("permits: three share two, one dies", 0, 1, |m| permits(m, 2, &["a", "b", "c"], Some("b"))),
    ];
    for (name, kind) in
        [("ring of 1", Kind::Ring(1)), ("ring of 2", Kind::Ring(2)), ("log", Kind::Log), ("rendezvous", Kind::Rendezvous)]
    {
        let base = Play { kind, ..Play::default() };
        let mut add = |what: &str, deviations, play: Play| {
            let name: &'static str = Box::leak(format!("{name}: {what}").into_boxed_str());
            // What the kinds have in common is tried further with one of them.
            let deviations = if matches!(kind, Kind::Ring(1)) { deviations } else { std::cmp::min(deviations, 1) };
            let dies = play.dies.is_some();
            let deviations = if dies && !matches!(kind, Kind::Ring(1)) { 0 } else { deviations };
            scenes.push(scene(name, deviations, u32::from(dies), move |m| _ = play.set_up(m)));
        };
        add("one sends, one receives", 2, Play { senders: &[3], receivers: &[Take::Whole], ..base });
        add("two send, one receives", 1, Play { senders: &[2, 1], receivers: &[Take::Whole], ..base });
        add("one sends, two receive", 1, Play { senders: &[2], receivers: &[Take::Whole, Take::Whole], ..base });
        add("a sender dies", 1, Play { senders: &[2, 1], receivers: &[Take::Whole], dies: Some("sends 0"), ..base });
        add(
            "a receiver dies",
            1,
            Play { senders: &[2], receivers: &[Take::Whole, Take::Whole], dies: Some("receives 0"), ..base },
        );
        add("long messages", 1, Play { senders: &[2, 1], receivers: &[Take::Whole], long: true, ..base });
        add(
            "a sender of long ones dies",
            0,
            Play { senders: &[2, 1], receivers: &[Take::Whole], long: true, dies: Some("sends 0"), ..base },
        );
        add(
            "a receiver of long ones dies",
            0,
            Play { senders: &[2], receivers: &[Take::Whole, Take::Whole], long: true, dies: Some("receives 0"), ..base },
        );
        if matches!(kind, Kind::Log) {
            add("goes round in its kept part", 0, Play { senders: &[9], receivers: &[Take::Whole], ..base });
            add(
                "goes round, and a receiver dies",
                0,
                Play { senders: &[5], receivers: &[Take::Whole, Take::Whole], dies: Some("receives 0"), ..base },
            );
            add(
                "goes round, and a sender dies",
                0,
                Play { senders: &[5, 1], receivers: &[Take::Whole], dies: Some("sends 0"), ..base },
            );
        }
        let in_place = Play { long: true, lent: !matches!(kind, Kind::Log), ..base };
        add("in place", 1, Play { senders: &[2, 1], receivers: &[Take::InPlace], ..in_place });
        add(
            "in place, a sender dies",
            1,
            Play { senders: &[2, 1], receivers: &[Take::InPlace], dies: Some("sends 0"), ..in_place },
        );
        add(
            "in place, a receiver dies",
            0,
            Play { senders: &[2], receivers: &[Take::InPlace, Take::InPlace], dies: Some("receives 0"), ..in_place },
        );
        add("on lease", 1, Play { senders: &[2], receivers: &[Take::OnLease, Take::Whole], ..base });
        add(
            "a lessee dies",
            0,
            Play { senders: &[2], receivers: &[Take::OnLease, Take::Whole], dies: Some("receives 0"), ..base },
        );
        add("batches", 1, Play { senders: &[3, 1], receivers: &[Take::Whole, Take::Whole], many: true, ..base });
        add(
            "a sender of a batch dies",
            1,
            Play { senders: &[3, 1], receivers: &[Take::Whole], many: true, dies: Some("sends 0"), ..base },
        );
        add(
            "a receiver of a batch dies",
            1,
            Play { senders: &[2], receivers: &[Take::Whole, Take::Whole], many: true, dies: Some("receives 0"), ..base },
        );
        if !matches!(kind, Kind::Rendezvous) {
            let biased = Play { biased: true, ..base };
            add("biased, one sends, one receives", 2, Play { senders: &[3], receivers: &[Take::Whole], ..biased });
            add("biased, two send, one receives", 1, Play { senders: &[3, 1], receivers: &[Take::Whole], ..biased });
            add("biased, one sends, two receive", 1, Play { senders: &[3], receivers: &[Take::Whole, Take::Whole], ..biased });
            add(
                "biased, a sender dies",
                1,
                Play { senders: &[3, 1], receivers: &[Take::Whole], dies: Some("sends 0"), ..biased },
            );
            add(
                "biased, a receiver dies",
                1,
                Play { senders: &[3], receivers: &[Take::Whole, Take::Whole], dies: Some("receives 0"), ..biased },
            );
            add("biased, waiting for two queues", 1, Play { senders: &[3, 1], receivers: &[Take::Whole], watches: 1, ..biased });
        }
        add("the time of a sender passes", 1, Play { senders: &[1, 1], receivers: &[Take::Whole], hurried: true, ..base });
        add("waiting for two queues", 1, Play { senders: &[1, 1], receivers: &[Take::Whole], watches: 1, ..base });
        add(
            "waiting for two queues, a sender dies",
            0,
            Play { senders: &[1, 1], receivers: &[Take::Whole], watches: 1, dies: Some("sends 0"), ..base },
        );
        add(
            "waiting for two queues, one that waits dies",
            0,
            Play { senders: &[2], receivers: &[Take::Whole], watches: 1, dies: Some("watches"), ..base },
        );
    }
    // Half a ring is committed at once.
    let of_four = Play { kind: Kind::Ring(4), receivers: &[Take::Whole], many: true, ..Play::default() };
    scenes.push(scene("ring of 4: batches", 1, 0, move |m| _ = Play { senders: &[5], ..of_four }.set_up(m)));
    scenes.push(scene("ring of 4: batches, two receive", 0, 0, move |m| {
        Play { senders: &[5, 1], receivers: &[Take::Whole; 2], ..of_four }.set_up(m);
    }));
    scenes.push(scene("ring of 4: a sender of a batch dies", 0, 1, move |m| {
        Play { senders: &[5, 1], dies: Some("sends 0"), ..of_four }.set_up(m);
    }));
    scenes.push(scene("ring of 4: a receiver of a batch dies", 0, 1, move |m| {
        Play { senders: &[5], receivers: &[Take::Whole; 2], dies: Some("receives 0"), ..of_four }.set_up(m);
    }));
    scenes.push(scene("ring of 1: a sender waits for the only block", 1, 0, the_only_block));
    scenes.push(scene("ring of 1: a sender dies with the only block", 0, 1, dies_with_the_only_block));
    let beside = |m: &mut Model| corners::dies_beside_one_that_waits(m, Kind::Ring(1));
    scenes.push(scene("ring of 1: one waits, another one for two queues, and dies", 1, 1, beside));
    scenes.push(scene("rendezvous: one waits until a receiver waits", 2, 0, until_a_receiver_waits));
    scenes.extend(corners::all());
    scenes
}

/// Words of a model: a lock's, and data that it guards.
struct Guarded {
    word: Shared<AtomicU32>,
    data: Shared<AtomicU32>,
}

impl Guarded {
    fn new() -> Rc<Self> {
        Rc::new(Self { word: Shared::new(4), data: Shared::new(4) })
    }

    /// Changes the data, which the caller has to itself.
    fn increment(&self) -> u32 {
        let mut value = [0; 4];
        let at = self.data.mapping().base();
        // SAFETY: all have 4 bytes.
        unsafe { copy(at, (&mut value[0]).into(), 4) };
        let value = u32::from_le_bytes(value) + 1;
        // SAFETY: as above.
        unsafe { copy((&value.to_le_bytes()[0]).into(), at, 4) };
        value
    }
}

fn locks(model: &mut Model, names: &[&'static str], times: u32, dies: Option<usize>) {
    let (guarded, done) = (Guarded::new(), Rc::new(Cell::new(0)));
    for (index, name) in names.iter().enumerate() {
        let (guarded, done) = (Rc::clone(&guarded), Rc::clone(&done));
        let work = move || {
            for _ in 0..times {
                let call = Call::enter(&guarded.word).unwrap();
                lock::acquire(&call, &guarded.word, Deadline::Never).unwrap();
                done.set(done.get() + 1);
                guarded.increment();
                lock::release(&call, &guarded.word);
            }
        };
        if dies == Some(index) { model.mortal(name, work) } else { model.thread(name, work) }
    }
    model.finally(move |outcome| {
        let call = Call::enter(&guarded.word).unwrap();
        let left = lock::acquire(&call, &guarded.word, Deadline::Now).unwrap();
        assert!(outcome.anybody_died() || left == Left::Released, "nobody died, and the lock says that somebody did");
        let (count, times) = (guarded.increment() - 1, done.get());
        assert!(count == times || outcome.anybody_died() && count + 1 == times, "{count} of {times} increments");
        lock::release(&call, &guarded.word);
    });
}

/// Threads take a lock so often, which is quiet at the beginning, or loud.
fn quiet_lock(model: &mut Model, is_quiet: bool, threads: &[(&'static str, u32)], dies: Option<&'static str>) {
    set_obeys_barriers(true);
    let (guarded, quiet, done) = (Guarded::new(), Shared::<Quiet>::new(0), Rc::new(Cell::new(0)));
    if !is_quiet {
        quiet.begin();
    }
    for &(name, times) in threads {
        let (guarded, quiet, done) = (Rc::clone(&guarded), quiet.clone(), Rc::clone(&done));
        let calm = std::sync::atomic::AtomicU32::new(0);
        let work = move || {
            for _ in 0..times {
                let call = Call::enter(&guarded.word).unwrap();
                if !quiet.try_acquire(&call, &guarded.word) {
                    quiet.acquire(&call, &guarded.word, None, Deadline::Never).unwrap();
                }
                done.set(done.get() + 1);
                guarded.increment();
                quiet.release((call.owner(), guarded.word.load(Relaxed)), &guarded.word, &calm);
            }
        };
        if dies == Some(name) { model.mortal(name, work) } else { model.thread(name, work) }
    }
    model.finally(move |outcome| {
        let call = Call::enter(&guarded.word).unwrap();
        let left = quiet.acquire(&call, &guarded.word, None, Deadline::Now).unwrap();
        assert!(outcome.anybody_died() || left == Left::Released, "nobody died, and the lock says that somebody did");
        let (count, times) = (guarded.increment() - 1, done.get());
        assert!(count == times || outcome.anybody_died() && count + 1 == times, "{count} of {times} increments");
        lock::release(&call, &guarded.word);
    });
}

/// The thread that gets the id of one that calls exec.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Namesake {
    /// The first of its process.
    First,
    Later,
    /// The first of its process, where the other one has let go of the lock before.
    AfterRelease,
}

/// A lock with a record of whose thread has it.
#[derive(Clone)]
struct Recorded {
    guarded: Rc<Guarded>,
    quiet: Shared<Quiet>,
    holder: Shared<Holder>,
    done: Rc<Cell<u32>>,
}

impl Recorded {
    fn new() -> Self {
        set_obeys_barriers(true);
        Self { guarded: Guarded::new(), quiet: Shared::new(0), holder: Shared::new(0), done: Rc::default() }
    }

    /// One takes the lock and lets go of it, or calls exec with it.
    fn comes(&self, is_first: bool, execs: bool) -> impl FnOnce() + 'static {
        let Self { guarded, quiet, holder, done } = self.clone();
        let calm = std::sync::atomic::AtomicU32::new(0);
        move || {
            let call = Call::enter(&guarded.word).unwrap();
            // As who looks at once, and then every now and then.
            let mut deadline = Deadline::Now;
            let left = loop {
                match quiet.acquire(&call, &guarded.word, Some(&holder), deadline) {
                    Ok(left) => break left,
                    Err(e) => assert!(matches!(e, Error::WouldBlock | Error::TimedOut), "{e}"),
                }
                deadline = Deadline::after(LOOK);
            };
            if left == Left::Died {
                holder.clear();
            }
            if !is_first {
                holder.note(&call);
            }
            done.set(done.get() + 1);
            guarded.increment();
            if execs {
                exec();
            }
            if !is_first {
                holder.forget(&call);
            }
            quiet.release((call.owner(), guarded.word.load(Relaxed)), &guarded.word, &calm);
        }
    }

    fn look(&self, may_lack: u32) {
        let Self { guarded, quiet, holder, done } = self;
        let call = Call::enter(&guarded.word).unwrap();
        quiet.acquire(&call, &guarded.word, Some(holder), Deadline::Now).unwrap();
        let (count, times) = (guarded.increment() - 1, done.get());
        assert!(count <= times && count + may_lack >= times, "{count} of {times} increments");
    }
}

/// A thread takes a lock and calls exec, its id is another thread's from then on, and that one comes for the lock, too.
fn exec_with_a_lock(model: &mut Model, namesake: Namesake, others: &[&'static str], dies: Option<&'static str>) {
    let lock = Recorded::new();
    let execs = namesake != Namesake::AfterRelease;
    if dies == Some("user") {
        model.mortal("user", lock.comes(false, execs))
    } else {
        model.thread("user", lock.comes(false, execs))
    }
    for &name in others {
        let work = lock.comes(false, false);
        if dies == Some(name) { model.mortal(name, work) } else { model.thread(name, work) }
    }
    model.namesake("namesake", "user", lock.comes(namesake != Namesake::Later, false));
    model.finally(move |_| lock.look(u32::from(dies.is_some())));
}

/// One looks at the word of a lock before its owner dies, and goes on when the id is another thread's, who has taken the lock.
fn dies_after_a_look(model: &mut Model) {
    let lock = Recorded::new();
    model.thread("another", lock.comes(false, false));
    let user = 102;
    lock.guarded.word.store(user, Relaxed);
    lock.holder.thread.store(ThreadOf::new(user, Identity(user.into())).0, Relaxed);
    let guarded = Rc::clone(&lock.guarded);
    model.thread("user", move || {
        let call = Call::enter(&guarded.word).unwrap();
        assert_eq!(call.owner(), user);
        dies();
    });
    model.namesake("namesake", "user", lock.comes(true, false));
    model.finally(move |_| lock.look(0));
}

/// Others come to a lock that is biased to its user.
fn biased_lock(model: &mut Model, times: u32, others: &[&'static str], dies: Option<&'static str>) {
    set_obeys_barriers(true);
    let (guarded, bias, done) = (Guarded::new(), Shared::<Bias>::new(0), Rc::new(Cell::new(0)));
    let (generation, watched) = (Shared::<AtomicU32>::new(4), Shared::<AtomicU32>::new(4));
    let mut add = |name: &'static str, times: u32| {
        let (guarded, done, bias) = (Rc::clone(&guarded), Rc::clone(&done), bias.clone());
        let (generation, watched) = (generation.clone(), watched.clone());
        let work = move || {
            for _ in 0..times {
                let call = Call::enter(&guarded.word).unwrap();
                let held = lock::acquire_free(&call, &guarded.word, &bias).unwrap_or_else(|| {
                    lock::acquire_brief(&call, &guarded.word, lock::Beside::Bias(&bias), Deadline::Never).unwrap();
                    Held::Owned
                });
                done.set(done.get() + 1);
                guarded.increment();
                lock::release_free(&call, (&guarded.word, &bias), held, &generation, &watched);
            }
        };
        if dies == Some(name) { model.mortal(name, work) } else { model.thread(name, work) }
    };
    add("user", times);
    others.iter().for_each(|name| add(name, 1));
    model.finally(move |outcome| {
        let call = Call::enter(&guarded.word).unwrap();
        lock::acquire_brief(&call, &guarded.word, lock::Beside::Bias(&bias), Deadline::Now).unwrap();
        let (count, times) = (guarded.increment() - 1, done.get());
        assert!(count == times || outcome.anybody_died() && count + 1 == times, "{count} of {times} increments");
        lock::release(&call, &guarded.word);
    });
}

/// One sleeps until the user of a lock, which is biased to it, has made the last of its changes.
fn biased_change(model: &mut Model) {
    const CHANGES: u32 = 3;
    set_obeys_barriers(true);
    let (guarded, bias) = (Guarded::new(), Shared::<Bias>::new(0));
    let (generation, watched) = (Shared::<AtomicU32>::new(4), Shared::<AtomicU32>::new(4));
    let (changed, over) = (Shared::<AtomicU32>::new(4), Rc::new(Cell::new(false)));
    let sleeper = {
        let (guarded, changed, over) = (Rc::clone(&guarded), changed.clone(), Rc::clone(&over));
        let (generation, watched) = (generation.clone(), watched.clone());
        move || {
            let call = Call::enter(&guarded.word).unwrap();
            let on = On::Lock { generation: &generation, watched: &watched };
            let change = || Ok((changed.load(Relaxed) == CHANGES).then_some(()));
            let sleep = |seen, time| futex::wait(&guarded.word, seen, futex::Kind::Change, time);
            lock::wait_for_change((on, &guarded.word), Deadline::Never, &Spin::new(), change, sleep).unwrap();
            over.set(true);
            drop(call);
        }
    };
    let user = move || {
        for change in 1..=CHANGES {
            let call = Call::enter(&guarded.word).unwrap();
            let held = lock::acquire_free(&call, &guarded.word, &bias).unwrap_or_else(|| {
                lock::acquire_brief(&call, &guarded.word, lock::Beside::Bias(&bias), Deadline::Never).unwrap();
                Held::Owned
            });
            changed.store(change, Relaxed);
            lock::release_free(&call, (&guarded.word, &bias), held, &generation, &watched);
        }
    };
    model.thread("user", user);
    model.thread("sleeps", sleeper);
    model.finally(move |_| assert!(over.get()));
}

fn giving_up(model: &mut Model) {
    let guarded = Guarded::new();
    for (name, deadline) in [("a", false), ("b", true), ("c", false)] {
        let guarded = Rc::clone(&guarded);
        model.thread(name, move || {
            let deadline = if deadline { Deadline::after(Duration::from_secs(1)) } else { Deadline::Never };
            let call = Call::enter(&guarded.word).unwrap();
            match lock::acquire(&call, &guarded.word, deadline) {
                Ok(_) => {
                    guarded.increment();
                    lock::release(&call, &guarded.word);
                }
                Err(e) => assert_eq!(e, Error::TimedOut),
            }
        });
    }
}

fn signals(model: &mut Model, releases: &[u32], acquires: u32, dies: Option<&'static str>) {
    let shared = Shared::<SemaphoreLayout>::new(0);
    let data = Guarded::new();
    let (given, taken) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let mut add = |name: &'static str, work: Box<dyn FnOnce()>| {
        if dies == Some(name) { model.mortal(name, work) } else { model.thread(name, work) }
    };
    for name in ["a", "b", "c"].into_iter().take(acquires as usize) {
        let (signals, taken, data) = (Signals::new(shared.clone()), Rc::clone(&taken), Rc::clone(&data));
        add(
            name,
            Box::new(move || {
                signals.acquire(Deadline::Never).unwrap();
                taken.set(taken.get() + 1);
                let mut value = [0; 4];
                // SAFETY: both have 4 bytes.
                unsafe { copy(data.data.mapping().base(), (&mut value[0]).into(), 4) };
            }),
        );
    }
    for (index, &count) in releases.iter().enumerate() {
        let (signals, given, data) = (Signals::new(shared.clone()), Rc::clone(&given), Rc::clone(&data));
        add(
            ["releases 0", "releases 1"][index],
            Box::new(move || {
                if index == 0 && releases_alone(&data) {
                    data.increment();
                }
                given.set(given.get() + count);
                signals.release(count).unwrap();
            }),
        );
    }
    data.word.store(u32::from(releases.len() == 1), Relaxed);
    model.finally(move |outcome| {
        let left = shared.value.load(Relaxed);
        assert!(left + taken.get() == given.get() || outcome.anybody_died(), "{left} left");
    });
}

/// With one that releases, what it did before is seen by those who acquire.
fn releases_alone(data: &Guarded) -> bool {
    data.word.load(Relaxed) == 1
}

fn permits(model: &mut Model, total: u32, names: &[&'static str], dies: Option<&'static str>) {
    let shared = Shared::<PermitsLayout>::new(0);
    shared.total.store(total, Relaxed);
    shared.free.store(total, Relaxed);
    let inside = Rc::new(Cell::new(0));
    for name in names {
        let (permits, inside, is_mortal) = (Permits::new(shared.clone()), Rc::clone(&inside), dies == Some(*name));
        let work = move || {
            permits.acquire(Deadline::Never).unwrap();
            if !is_mortal {
                inside.set(inside.get() + 1);
                assert!(inside.get() <= total, "more permits are held than there are");
                inside.set(inside.get() - 1);
            }
            permits.release(1, Deadline::Never).unwrap();
        };
        if is_mortal { model.mortal(name, work) } else { model.thread(name, work) }
    }
    model.finally(move |_| assert_eq!(Permits::new(shared).free(), Ok(total)));
}

#[derive(Clone, Copy)]
enum Kind {
    Ring(usize),
    Log,
    Rendezvous,
}

/// Processes at a queue. The last sender to end shuts it down, and receivers go on until they are told of that.
#[derive(Clone, Copy)]
struct Play {
    kind: Kind,
    /// How many messages each of them sends.
    senders: &'static [u8],
    receivers: &'static [Take],
    /// One that waits for this queue and for another one at once, for so many messages.
    watches: u8,
    long: bool,
    /// What is sent is written in place.
    lent: bool,
    /// They send and receive batches.
    many: bool,
    /// So few blocks there are.
    blocks: u32,
    /// The time of the first sender may pass.
    hurried: bool,
    /// The locks are biased to who uses them alone.
    biased: bool,
    dies: Option<&'static str>,
}

impl Default for Play {
    fn default() -> Self {
        Self {
            kind: Kind::Log,
            senders: &[],
            receivers: &[],
            watches: 0,
            long: false,
            lent: false,
            many: false,
            blocks: 3,
            hurried: false,
            biased: false,
            dies: None,
        }
    }
}

/// What the processes saw.
#[derive(Default)]
struct Book {
    /// Whose send returned.
    sent: RefCell<Vec<u8>>,
    tried: RefCell<Vec<u8>>,
    /// By each receiver.
    received: RefCell<Vec<(usize, u8)>>,
    senders_left: Cell<usize>,
}

#[derive(Default)]
struct Buffer(Vec<MaybeUninit<u8>>);

impl Sink for Buffer {
    fn space(&mut self, len: usize) -> crate::error::Result<&mut [MaybeUninit<u8>]> {
        self.0.resize(len.max(self.0.len()), MaybeUninit::new(0));
        Ok(&mut self.0[..len])
    }
}

/// Messages that were received together.
#[derive(Default)]
struct Bundle {
    bytes: Vec<MaybeUninit<u8>>,
    ends: Vec<usize>,
}

impl Sink for Bundle {
    fn space(&mut self, len: usize) -> crate::error::Result<&mut [MaybeUninit<u8>]> {
        let start = self.ends.last().copied().unwrap_or(0);
        self.bytes.resize(start + len, MaybeUninit::new(0));
        Ok(&mut self.bytes[start..])
    }
}

impl Messages for Bundle {
    fn keep(&mut self, len: usize) {
        self.ends.push(self.ends.last().copied().unwrap_or(0) + len);
    }
}

/// The longest message that fits into a slot here.
const ROOM: usize = 52;

fn text(message: u8, long: bool) -> Vec<u8> {
    vec![message; if long { ROOM + 8 } else { 8 }]
}

fn receive(store: &Store, take: Take, deadline: Deadline) -> crate::error::Result<(u8, Option<u32>)> {
    let mut buffer = Buffer::default();
    let received = store.recv(&mut buffer, take, deadline, None)?;
    let held = if take == Take::InPlace { store.holding(&received)? } else { None };
    if let Some(held) = held {
        store.blocks.data().read(store.blocks.offset(held.block, 0), &mut buffer.space(received.len)?[..received.len])?;
        store.release_held(&held)?;
    }
    // SAFETY: `space` sets all bytes.
    let bytes: Vec<u8> = buffer.0.iter().take(received.len).map(|byte| unsafe { byte.assume_init() }).collect();
    let first = bytes[0];
    assert!(bytes == text(first, bytes.len() > ROOM), "a message is torn: {bytes:?}");
    Ok((first, received.block))
}

/// Writes a message where it is sent from.
fn send_lent(store: &Store, message: &[u8], deadline: Deadline) -> crate::error::Result<()> {
    let held = match store.lend_simply(message.len()) {
        Some(held) => held,
        None => store.lend(message.len(), deadline, None)?,
    };
    store.blocks.data().write(store.blocks.offset(held.block, 0), message)?;
    let sent = store.send_held(&held, message.len(), deadline, None);
    if sent.is_err() {
        store.release_held(&held)?;
    }
    sent
}

impl Play {
    fn queue(&self) -> Shared<QueueLayout> {
        let options = QueueOptions::new().max_message(if self.long { 100 } else { 16 }).leases(2);
        let options = match self.kind {
            Kind::Ring(capacity) => options.capacity(capacity),
            Kind::Log => options.unbounded_within(4096),
            Kind::Rendezvous => options.capacity(0),
        };
        let plan = options.plan(0, 0).unwrap();
        let shared = Shared::<QueueLayout>::new(plan.len);
        plan.fill(&shared);
        // Blocks for the long ones, and few of them: all are looked at.
        shared.blocks.store(self.blocks, Relaxed);
        if !matches!(self.kind, Kind::Rendezvous) {
            shared.slot_size.store(64, Relaxed);
        }
        if matches!(self.kind, Kind::Log) {
            shared.capacity.store(1, Relaxed);
            // Four short messages have room in the kept part, and one long one.
            shared.log_kept.store(128, Relaxed);
        }
        shared.header.namespace.store(1, Relaxed);
        shared
    }

    /// Gives the queue.
    fn set_up(self, model: &mut Model) -> Shared<QueueLayout> {
        set_obeys_barriers(self.biased);
        let (shared, book) = (self.queue(), Rc::new(Book::default()));
        let queue = shared.clone();
        lives::are(if self.receivers.contains(&Take::OnLease) { self.receivers.len() } else { 0 });
        let other = (self.watches != 0).then(|| self.queue());
        book.senders_left.set(self.senders.len());
        let mut add = |name: &'static str, work: Box<dyn FnOnce()>| {
            if self.dies == Some(name) { model.mortal(name, work) } else { model.thread(name, work) }
        };
        let names = ["receives 0", "receives 1"];
        for (index, &take) in self.receivers.iter().enumerate() {
            let (store, book) = (Store::new(shared.clone(), Some("/".into())).unwrap(), Rc::clone(&book));
            let queue = shared.clone();
            shared.peers.table[index].identity.store(101 + index as u64, Relaxed);
            add(
                names[index],
                Box::new(move || {
                    if take == Take::OnLease {
                        lives::begin(1 + index as u32);
                        show_life(&store, &queue, index);
                    }
                    if self.many { receive_batches(index, &store, &book) } else { receive_all(index, &store, take, &book) }
                }),
            );
        }
        if let Some(other) = &other {
            let stores = [Store::new(shared.clone(), None).unwrap(), Store::new(other.clone(), None).unwrap()];
            let (index, book) = (self.receivers.len(), Rc::clone(&book));
            add("watches", Box::new(move || watch_both(index, &stores, &book)));
        }
        let names = ["sends 0", "sends 1"];
        for (index, &count) in self.senders.iter().enumerate() {
            let to = if index == 1 { other.as_ref().unwrap_or(&shared) } else { &shared };
            let (store, book) = (Store::new(to.clone(), None).unwrap(), Rc::clone(&book));
            let stores = [Some(&shared), other.as_ref()].into_iter().flatten();
            let all: Vec<_> = stores.map(|shared| Store::new(shared.clone(), None).unwrap()).collect();
            let hurried = self.hurried && index == 0;
            add(names[index], Box::new(move || self.send_all(index, count, hurried, &store, &all, &book)));
        }
        model.finally(move |outcome| {
            let shared = [Some(shared), other];
            for (at, shared) in shared.into_iter().flatten().enumerate() {
                let store = Store::new(shared, None).unwrap();
                while let Ok((message, _)) = receive(&store, Take::Whole, Deadline::Now) {
                    book.received.borrow_mut().push((10 + at, message));
                }
                check_blocks(&store, outcome);
                if store.is_rendezvous() && !outcome.anybody_died() {
                    let (handed_out, sent) = (store.shared.recv.leases.load(Relaxed), book.sent.borrow().len() as u64);
                    assert!(self.watches != 0 || handed_out == sent, "{handed_out} have a number of the {sent} that were sent");
                }
            }
            self.check(outcome, &book);
        });
        queue
    }

    fn send_all(self, index: usize, count: u8, hurried: bool, store: &Store, all: &[Store], book: &Book) {
        let before = |message| book.tried.borrow_mut().push(message);
        if self.many {
            let messages: Vec<u8> = (0..count).map(|turn| 10 * (index as u8 + 1) + turn).collect();
            messages.iter().copied().for_each(before);
            let texts: Vec<_> = messages.iter().map(|message| text(*message, self.long)).collect();
            match store.send_many(&texts, Deadline::Never, None) {
                Ok(sent) => book.sent.borrow_mut().extend(&messages[..sent]),
                Err(Error::Closed) => {}
                Err(e) => panic!("sending: {e:?}"),
            }
        }
        for turn in 0..if self.many { 0 } else { count } {
            let message = 10 * (index as u8 + 1) + turn;
            before(message);
            let deadline = if hurried { Deadline::after(Duration::from_secs(1)) } else { Deadline::Never };
            let bytes = text(message, self.long);
            let sent = if self.lent { send_lent(store, &bytes, deadline) } else { store.send(&[], &bytes, deadline, None) };
            match sent {
                Ok(()) => book.sent.borrow_mut().push(message),
                Err(Error::TimedOut) if hurried => book.tried.borrow_mut().retain(|tried| *tried != message),
                Err(Error::Closed) => return,
                Err(e) => panic!("sending: {e:?}"),
            }
        }
        // The mortal one may be dead or not: the other one does it in any case.
        let mortal = self.dies.is_some_and(|name| name.starts_with("sends"));
        book.senders_left.set(book.senders_left.get() - 1);
        if book.senders_left.get() == 0 || mortal && index == 1 {
            all.iter().for_each(|store| store.shutdown(Deadline::Never).unwrap());
        }
    }

    fn check(self, outcome: &Outcome, book: &Book) {
        let (sent, received) = (book.sent.borrow(), book.received.borrow());
        for message in book.tried.borrow().iter() {
            let times = received.iter().filter(|(_, received)| received == message).count();
            assert!(times <= 1, "{message} came {times} times");
        }
        let unsent = received.iter().filter(|(_, message)| !book.tried.borrow().contains(message)).count();
        assert_eq!(unsent, 0, "messages came that nobody sent: {received:?}");
        let lost = sent.iter().filter(|message| !received.iter().any(|(_, received)| received == *message)).count();
        let taken = if self.many { IN_A_BATCH } else { 1 } * usize::from(outcome.anybody_died() && !outcome.died("sends 0"));
        assert!(lost <= taken, "sent {sent:?}, received {received:?}");
        let left = received.iter().filter(|(by, _)| *by >= 10).count();
        assert!(
            left == 0 || outcome.anybody_died(),
            "receivers were told of the end before they had {left} messages: {received:?}"
        );
        for receiver in 0..12 {
            for sender in 1..3 {
                let mine = |(by, message): &&(usize, u8)| *by == receiver && message / 10 == sender;
                let mine: Vec<_> = received.iter().filter(mine).map(|(_, message)| *message).collect();
                let returned = self.receivers.contains(&Take::OnLease);
                assert!(returned || mine.is_sorted(), "out of order: {received:?}");
            }
        }
    }
}

/// All that are not free were the dead's, and are to be had again.
fn check_blocks(store: &Store, outcome: &Outcome) {
    let states = || store.blocks.all().map(|(index, head)| (index, head.owner.load(Relaxed)));
    for (index, word) in states() {
        let is_had = matches!(State::in_word(word), State::Held | State::Leased);
        assert!(!is_had || outcome.is_dead(owner_of(word).pid()), "block {index} is {word:#x}, and its owner lives");
    }
    store.gets_back();
    while receive(store, Take::Whole, Deadline::Now).is_ok() {}
    states().for_each(|(index, word)| assert_eq!(word, 0, "block {index} is lost"));
}

/// As an attached handle does before it takes a message on lease (`queue::attached`).
fn show_life(store: &Store, queue: &QueueLayout, index: usize) {
    let peer = &queue.peers.table[index];
    peer.life.store(1 + index as u32, Relaxed);
    peer.value.fetch_or(LEASES, Relaxed);
    queue.roles.fetch_or(LEASES, Relaxed);
    store.wake_all_who_wait();
}

fn receive_all(index: usize, store: &Store, take: Take, book: &Book) {
    let mut returned = false;
    loop {
        match receive(store, take, Deadline::Never) {
            Ok((message, block)) => {
                if take == Take::OnLease {
                    let block = block.unwrap();
                    let head = store.blocks.head(block).unwrap();
                    let (order, deliveries) = (head.order.load(Relaxed), head.deliveries.load(Relaxed));
                    // The first one goes back, for another.
                    let done = std::mem::replace(&mut returned, true);
                    store.finish(&LeaseTicket { block, order, deliveries }, done).unwrap();
                    if done {
                        book.received.borrow_mut().push((index, message));
                    }
                } else {
                    book.received.borrow_mut().push((index, message));
                }
            }
            Err(Error::Closed) => return,
            Err(e) => panic!("receiving: {e:?}"),
        }
    }
}

/// The most that are received in one batch.
const IN_A_BATCH: usize = 3;

/// As `receive_all`, in batches.
fn receive_batches(index: usize, store: &Store, book: &Book) {
    loop {
        let mut bundle = Bundle::default();
        match store.recv_many(&mut bundle, IN_A_BATCH, Deadline::Never, None) {
            Ok(count) => assert!(count == bundle.ends.len() && (1..=IN_A_BATCH).contains(&count)),
            Err(Error::Closed) => return,
            Err(e) => panic!("receiving: {e:?}"),
        }
        let mut start = 0;
        for end in bundle.ends {
            // SAFETY: `space` sets all bytes.
            let bytes: Vec<u8> = bundle.bytes[start..end].iter().map(|byte| unsafe { byte.assume_init() }).collect();
            assert!(bytes == text(bytes[0], false), "a message is torn: {bytes:?}");
            book.received.borrow_mut().push((index, bytes[0]));
            start = end;
        }
    }
}

/// Waits for two queues at once, until both have been shut down.
fn watch_both(index: usize, stores: &[Store; 2], book: &Book) {
    let sources = [Receiving(&stores[0]), Receiving(&stores[1])];
    let sources: Vec<&dyn Source> = sources.iter().map(|source| source as &dyn Source).collect();
    let mut sleeper = Sleeper::new();
    loop {
        let mut ended = 0;
        for store in stores {
            match receive(store, Take::Whole, Deadline::Now) {
                Ok((message, _)) => book.received.borrow_mut().push((index, message)),
                Err(Error::WouldBlock) => {}
                Err(Error::Closed) => ended += 1,
                Err(e) => panic!("receiving: {e:?}"),
            }
        }
        if ended == 2 {
            return;
        }
        let open: Vec<_> = sources.iter().zip(stores).filter(|(_, store)| !store.is_shut_down()).map(|(s, _)| *s).collect();
        if !open.is_empty() && !open.iter().any(|source| source.ready(true)) {
            sleeper.sleep(&open, None, LOOK).unwrap();
        }
    }
}

/// Nobody calls again who would wake the sender by the way.
fn the_only_block(model: &mut Model) {
    let shared = Play { kind: Kind::Ring(1), long: true, blocks: 1, ..Play::default() }.queue();
    let [sends, receives] = [0; 2].map(|_| Store::new(shared.clone(), None).unwrap());
    model.thread("receives 0", move || {
        assert_eq!(receive(&receives, Take::Whole, Deadline::Never).unwrap().0, 10);
    });
    model.thread("sends 0", move || {
        for message in [10, 11] {
            sends.send(&[], &text(message, true), Deadline::Never, None).unwrap();
        }
    });
}

/// What one has that dies is to be had again: by the next one that sends, and nobody else has called before.
fn dies_with_the_only_block(model: &mut Model) {
    let shared = Play { kind: Kind::Ring(1), long: true, blocks: 1, ..Play::default() }.queue();
    let sends = Store::new(shared.clone(), None).unwrap();
    model.mortal("sends 0", move || sends.send(&[], &text(10, true), Deadline::Never, None).unwrap());
    // Somebody must be there to whom it matters.
    let looks = Store::new(shared.clone(), None).unwrap();
    model.thread("looks", move || _ = looks.len());
    model.finally(move |outcome| {
        let store = Store::new(shared, None).unwrap();
        let sent = receive(&store, Take::Whole, Deadline::Now);
        assert!(sent.is_ok() || outcome.anybody_died(), "{sent:?}");
        store.send(&[], &text(11, true), Deadline::Now, None).unwrap();
        assert_eq!(receive(&store, Take::Whole, Deadline::Now).unwrap().0, 11);
    });
}

/// In a rendezvous, sends once a receiver waits.
fn until_a_receiver_waits(model: &mut Model) {
    let play = Play { kind: Kind::Rendezvous, ..Play::default() };
    let (shared, book) = (play.queue(), Rc::new(Book::default()));
    let stores = [0; 2].map(|_| Store::new(shared.clone(), None).unwrap());
    let [sends, receives] = stores;
    model.thread("sends 0", move || {
        let source = Sending(&sends);
        let mut sleeper = Sleeper::new();
        while !source.ready(true) {
            sleeper.sleep(&[&source], None, LOOK).unwrap();
        }
        sends.send(&[], &text(10, false), Deadline::Never, None).unwrap();
        sends.shutdown(Deadline::Never).unwrap();
    });
    model.thread("receives 0", move || receive_all(0, &receives, Take::Whole, &book));
}

const _: Option<Envelope> = None;
