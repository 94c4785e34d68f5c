//! What the engine must find, and what it must not.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::engine::{Bounds, Model, Report, Run, explore};
use crate::shm::Shared;
use crate::sync::lock::LOOK;
use crate::sys::futex::{self, Kind};
use crate::sys::memory::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use crate::sys::memory::{AtomicU32, Ordering, copy, fence, fence_after_rmw};

const BOUNDS: Bounds = Bounds { deviations: 4, deaths: 0, random: 0 };

fn run(bounds: Bounds, model: &dyn Fn(&mut Model)) -> Report {
    explore(bounds, &mut Run::default(), model)
}

fn words() -> Rc<[Shared<AtomicU32>; 3]> {
    Rc::new([Shared::new(4), Shared::new(4), Shared::new(4)])
}

/// Store buffering: may both loads see nothing?
fn store_buffering(model: &mut Model, fenced: bool) {
    let (words, seen) = (words(), Rc::new(Cell::new(0)));
    for (name, mine, other) in [("a", 0, 1), ("b", 1, 0)] {
        let (words, seen) = (Rc::clone(&words), Rc::clone(&seen));
        model.thread(name, move || {
            words[mine].store(1, Relaxed);
            if fenced {
                fence(SeqCst);
            }
            let value = words[other].load(Relaxed);
            seen.set(seen.get() + value);
        });
    }
    model.finally(move |_| assert_ne!(seen.get(), 0));
}

/// As `store_buffering`, with a read-modify-write of another word behind the store, or before it, and the fence that comes after one.
fn store_buffering_beside_update(model: &mut Model, update_behind: bool) {
    let (words, seen) = (words(), Rc::new(Cell::new(0)));
    for (name, mine, other) in [("a", 0, 1), ("b", 1, 0)] {
        let (words, seen) = (Rc::clone(&words), Rc::clone(&seen));
        model.thread(name, move || {
            if !update_behind {
                words[2].fetch_add(1, Relaxed);
            }
            words[mine].store(1, Relaxed);
            if update_behind {
                words[2].fetch_add(1, Relaxed);
            }
            fence_after_rmw();
            let value = words[other].load(Relaxed);
            seen.set(seen.get() + value);
        });
    }
    model.finally(move |_| assert_ne!(seen.get(), 0));
}

/// Message passing: may the flag be seen, and not what was stored before it?
fn message_passing(model: &mut Model, release: Ordering, acquire: Ordering) {
    let words = words();
    let sender = Rc::clone(&words);
    model.thread("a", move || {
        sender[0].store(1, Relaxed);
        sender[1].store(1, release);
    });
    model.thread("b", move || {
        if words[1].load(acquire) == 1 {
            assert_eq!(words[0].load(Relaxed), 1);
        }
    });
}

/// As `message_passing`, but bytes are passed.
fn byte_passing(model: &mut Model, release: Ordering, acquire: Ordering) {
    let words = words();
    let sender = Rc::clone(&words);
    model.thread("a", move || {
        copy_in(&sender[0], 1);
        sender[1].store(1, release);
    });
    model.thread("b", move || {
        if words[1].load(acquire) == 1 {
            assert_eq!(copy_out(&words[0]), 1);
        }
    });
}

fn copy_in(to: &Shared<AtomicU32>, value: u32) {
    let bytes = value.to_le_bytes();
    // SAFETY: both have 4 bytes.
    unsafe { copy((&bytes[0]).into(), to.mapping().base(), 4) };
}

fn copy_out(from: &Shared<AtomicU32>) -> u32 {
    let mut bytes = [0; 4];
    // SAFETY: both have 4 bytes.
    unsafe { copy(from.mapping().base(), (&mut bytes[0]).into(), 4) };
    u32::from_le_bytes(bytes)
}

/// A read-modify-write in between carries on what a Release store brought; a store does not.
fn release_sequence(model: &mut Model, exchange: bool) {
    let words = words();
    let (first, second) = (Rc::clone(&words), Rc::clone(&words));
    model.thread("a", move || {
        first[0].store(1, Relaxed);
        first[1].store(1, Release);
    });
    model.thread("b", move || {
        if exchange {
            let _ = second[1].compare_exchange(1, 2, Relaxed, Relaxed);
        } else if second[1].load(Relaxed) == 1 {
            second[1].store(2, Relaxed);
        }
    });
    model.thread("c", move || {
        if words[1].load(Acquire) == 2 {
            assert_eq!(words[0].load(Relaxed), 1);
        }
    });
}

/// Two writers, two readers that see them in different orders.
fn independent_reads(model: &mut Model, fenced: bool) {
    let (words, seen) = (words(), Rc::new(Cell::new(0)));
    for (name, word) in [("a", 0), ("b", 1)] {
        let words = Rc::clone(&words);
        model.thread(name, move || words[word].store(1, Relaxed));
    }
    for (name, first, second) in [("c", 0, 1), ("d", 1, 0)] {
        let (words, seen) = (Rc::clone(&words), Rc::clone(&seen));
        model.thread(name, move || {
            let one = words[first].load(Acquire);
            if fenced {
                fence(SeqCst);
            }
            if one == 1 && words[second].load(Acquire) == 0 {
                seen.set(seen.get() + 1);
            }
        });
    }
    model.finally(move |_| assert_ne!(seen.get(), 2));
}

/// One word's stores are seen in one order by all.
fn coherence(model: &mut Model) {
    let words = words();
    let writer = Rc::clone(&words);
    model.thread("a", move || {
        writer[0].store(1, Relaxed);
        writer[0].store(2, Relaxed);
    });
    model.thread("b", move || {
        let first = words[0].load(Relaxed);
        assert!(words[0].load(Relaxed) >= first);
    });
}

/// No increment is lost, unless it is a load and a store.
fn counting(model: &mut Model, atomically: bool) {
    let words = words();
    for name in ["a", "b", "c"] {
        let words = Rc::clone(&words);
        model.thread(name, move || {
            if atomically {
                words[0].fetch_add(1, AcqRel);
            } else {
                words[0].store(words[0].load(Acquire) + 1, Release);
            }
        });
    }
    model.finally(move |_| assert_eq!(words[0].load(Relaxed), 3));
}

/// A ring whose reader looks at its own index before it stores it: a checker that takes this for a reason to leave schedules out misses
/// that the writer overtakes it.
fn own_index(model: &mut Model, release: Ordering) {
    let words = words();
    let writer = Rc::clone(&words);
    model.thread("writer", move || {
        for turn in 0..2 {
            if turn == 1 && writer[1].load(Acquire) == 0 {
                return;
            }
            copy_in(&writer[0], turn);
            writer[2].store(turn + 1, Release);
        }
    });
    model.thread("reader", move || {
        if words[2].load(Acquire) != 0 {
            copy_out(&words[0]);
            let own = words[1].load(Relaxed);
            words[1].store(own + 1, release);
        }
    });
}

/// Sleeping for a flag: the flag is looked at before the sleep, or by the kernel.
fn sleeping(model: &mut Model, careful: bool, deaths: bool) {
    let words = words();
    let sleeper = Rc::clone(&words);
    model.thread("sleeper", move || {
        while sleeper[0].load(Acquire) == 0 {
            let word = if careful { &sleeper[0] } else { &sleeper[1] };
            futex::wait(word, 0, Kind::Any, LOOK).unwrap();
        }
    });
    let wake = move || {
        words[0].store(1, Release);
        futex::wake(if careful { &words[0] } else { &words[1] }, 1, Kind::Any);
    };
    if deaths { model.mortal("waker", wake) } else { model.thread("waker", wake) }
}

/// A death between two stores: may the later one have been made, and not the earlier one?
fn overtaking(model: &mut Model, second: Ordering, third: Ordering) {
    let words = words();
    let victim = Rc::clone(&words);
    model.mortal("victim", move || {
        victim[0].store(1, Relaxed);
        victim[1].store(1, second);
        victim[2].store(1, third);
    });
    // All matter to another one.
    let other = Rc::clone(&words);
    model.thread("other", move || other.iter().for_each(|word| _ = word.fetch_add(2, Relaxed)));
    model.finally(move |_| {
        let [first, second, third] = [0, 1, 2].map(|word| words[word].load(Relaxed) % 2);
        assert!(first >= second && second >= third, "{first} {second} {third}");
    });
}

/// A sleep that may time out is none that is lost.
fn sleeping_for_a_while(model: &mut Model) {
    let words = words();
    model.thread("sleeper", move || {
        futex::wait(&words[0], 0, Kind::Any, Duration::from_millis(1)).unwrap();
    });
}

/// All of them: what was found.
pub fn all() -> Vec<(&'static str, Report)> {
    let one_death = Bounds { deaths: 1, ..BOUNDS };
    vec![
        ("store buffering", run(BOUNDS, &|m| store_buffering(m, false))),
        ("store buffering with fences: none", run(BOUNDS, &|m| store_buffering(m, true))),
        ("store buffering behind updates", run(BOUNDS, &|m| store_buffering_beside_update(m, false))),
        ("store buffering before updates: none", run(BOUNDS, &|m| store_buffering_beside_update(m, true))),
        ("message passing without Release", run(BOUNDS, &|m| message_passing(m, Relaxed, Acquire))),
        ("message passing without Acquire", run(BOUNDS, &|m| message_passing(m, Release, Relaxed))),
        ("message passing: none", run(BOUNDS, &|m| message_passing(m, Release, Acquire))),
        ("passing bytes without Release", run(BOUNDS, &|m| byte_passing(m, Relaxed, Acquire))),
        ("passing bytes without Acquire", run(BOUNDS, &|m| byte_passing(m, Release, Relaxed))),
        ("passing bytes: none", run(BOUNDS, &|m| byte_passing(m, Release, Acquire))),
        ("a store ends a release sequence", run(BOUNDS, &|m| release_sequence(m, false))),
        ("an exchange carries it on: none", run(BOUNDS, &|m| release_sequence(m, true))),
        ("independent reads", run(BOUNDS, &|m| independent_reads(m, false))),
        ("independent reads with fences: none", run(BOUNDS, &|m| independent_reads(m, true))),
        ("coherence: none", run(BOUNDS, &coherence)),
        ("counting by loads and stores", run(BOUNDS, &|m| counting(m, false))),
        ("counting: none", run(BOUNDS, &|m| counting(m, true))),
        ("a reader's own index without Release", run(BOUNDS, &|m| own_index(m, Relaxed))),
        ("a reader's own index: none", run(BOUNDS, &|m| own_index(m, Release))),
        ("sleeping beside the flag", run(BOUNDS, &|m| sleeping(m, false, false))),
        ("sleeping on the flag: none", run(BOUNDS, &|m| sleeping(m, true, false))),
        ("sleeping, and the waker dies", run(one_death, &|m| sleeping(m, true, true))),
        ("overtaking without Release", run(one_death, &|m| overtaking(m, Relaxed, Release))),
        ("overtaking without Release at the end", run(one_death, &|m| overtaking(m, Release, Relaxed))),
        ("overtaking: none", run(one_death, &|m| overtaking(m, Release, Release))),
        ("sleeping for a while: none", run(BOUNDS, &sleeping_for_a_while)),
    ]
}

#[test]
fn the_engine_finds_what_is_wrong_and_nothing_else() {
    for (name, report) in all() {
        let expects_none = name.ends_with(": none");
        assert_eq!(report.failure.is_none(), expects_none, "{name}: {report:?}");
        assert!(!expects_none || report.executions > 1, "{name}: {report:?}");
    }
}
