//! Waiting for one of several queues and semaphores.

mod support;

use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::Pid;
use rsipc::{Error, MAX_WAIT, Queue, QueueOptions, Semaphore, WaitSet};
use support::{Board, Child, LONG, Test, fork, message, now, number};

/// Longer than a wake-up takes, shorter than the time after which a sleeper looks by itself, in nanoseconds.
const LATE: u64 = 50_000_000;
/// So often a late wake-up must repeat itself: the machine may be busy.
const REPEATS: usize = 10;

fn small(test: &Test, name: &str) -> Queue {
    Queue::create(test.name(name), &QueueOptions::new().capacity(2).max_message(16)).unwrap()
}

#[test]
fn what_is_ready_is_said_by_its_index() {
    let test = Test::new("wait set");
    let (empty, full) = (small(&test, "empty"), small(&test, "full"));
    let signals = Semaphore::create(test.name("signals"), 0).unwrap();
    let permits = Semaphore::create_permits(test.name("permits"), 1).unwrap();
    full.send(b"1").unwrap();
    full.send(b"2").unwrap();
    permits.acquire().unwrap();
    let set = WaitSet::new().recv(&empty).send(&full).acquire(&signals).acquire(&permits);
    assert_eq!(set.len(), 4);
    assert_eq!(set.try_wait(), Err(Error::WouldBlock));
    assert_eq!(set.wait_timeout(Duration::ZERO), Err(Error::WouldBlock));
    let start = Instant::now();
    assert_eq!(set.wait_timeout(Duration::from_millis(30)), Err(Error::TimedOut));
    assert!(start.elapsed() >= Duration::from_millis(30));

    empty.send(b"x").unwrap();
    assert_eq!(set.wait(), Ok(vec![0]));
    assert_eq!(set.try_wait(), Ok(vec![0]), "nothing is taken by waiting");
    empty.recv().unwrap();
    full.recv().unwrap();
    assert_eq!(set.wait(), Ok(vec![1]));
    full.send(b"3").unwrap();
    signals.release().unwrap();
    assert_eq!(set.wait_timeout(LONG), Ok(vec![2]));
    signals.acquire().unwrap();
    permits.release().unwrap();
    assert_eq!(set.wait(), Ok(vec![3]));
    permits.acquire().unwrap();
    assert_eq!(set.try_wait(), Err(Error::WouldBlock));
}

#[test]
fn all_that_are_ready_take_turns_to_be_the_first() {
    let test = Test::new("turns");
    let queues: Vec<Queue> = ["a", "b", "c"].iter().map(|name| small(&test, name)).collect();
    let set = queues.iter().fold(WaitSet::new(), WaitSet::recv);
    queues.iter().for_each(|queue| queue.send(b"x").unwrap());
    let firsts: Vec<usize> = (0..6)
        .map(|_| {
            let ready = set.wait().unwrap();
            assert_eq!(ready.len(), 3);
            ready[0]
        })
        .collect();
    assert_eq!(firsts, [0, 1, 2, 0, 1, 2]);
    // A busy one does not starve another, also if only the first is acted on.
    queues[1].recv().unwrap();
    let mut seen = [0; 3];
    for _ in 0..10 {
        let first = set.wait().unwrap()[0];
        seen[first] += 1;
        queues[first].recv().unwrap();
        queues[first].send(b"again").unwrap();
    }
    assert_eq!(seen, [5, 0, 5]);
}

#[test]
fn impossible_sets_are_refused() {
    let test = Test::new("impossible sets");
    let set = WaitSet::new();
    assert!(set.is_empty());
    assert!(matches!(set.try_wait(), Err(Error::InvalidArgument(_))));
    assert!(matches!(set.wait(), Err(Error::InvalidArgument(_))));
    let queue = small(&test, "q");
    let most = (0..MAX_WAIT).fold(WaitSet::new(), |set, _| set.recv(&queue));
    assert_eq!(most.wait_timeout(Duration::from_millis(20)), Err(Error::TimedOut));
    let too_many = most.recv(&queue);
    let Err(Error::LimitReached(text)) = too_many.wait() else { panic!() };
    assert!(text.contains("128"), "{text}");
}

/// In another process: waits for whichever of these, and says on the board which one it was and when.
fn waiter<'a>(board: &'a Board, at: usize, make: impl FnOnce() -> WaitSet<'a>) -> Child {
    let child = fork("waiter", move || {
        let ready = make().wait_timeout(LONG).unwrap();
        board.set(at + 1, now());
        board.set(at, 1 + ready[0] as u64);
    });
    child.wait_asleep();
    child
}

#[test]
fn each_kind_wakes_a_set_in_another_process() {
    type Event = (&'static str, u64, fn(&Queue, &Queue, &Semaphore, &Semaphore));
    let events: [Event; 6] = [
        ("a message", 1, |empty, _, _, _| empty.send(b"x").unwrap()),
        ("room", 2, |_, full, _, _| drop(full.recv().unwrap())),
        ("a unit", 3, |_, _, signals, _| signals.release().unwrap()),
        ("a permit", 4, |_, _, _, permits| permits.release().unwrap()),
        ("a shutdown for receivers", 1, |empty, _, _, _| empty.shutdown().unwrap()),
        ("a shutdown for senders", 2, |_, full, _, _| full.shutdown().unwrap()),
    ];
    for (what, index, event) in events {
        let mut best = u64::MAX;
        for _ in 0..REPEATS {
            let test = Test::new("waking a set");
            let (empty, full) = (small(&test, "empty"), small(&test, "full"));
            let signals = Semaphore::create(test.name("signals"), 0).unwrap();
            let permits = Semaphore::create_permits(test.name("permits"), 1).unwrap();
            full.send(b"1").unwrap();
            full.send(b"2").unwrap();
            permits.acquire().unwrap();
            let board = Board::new(2);
            let child = waiter(&board, 0, || WaitSet::new().recv(&empty).send(&full).acquire(&signals).acquire(&permits));
            let start = now();
            event(&empty, &full, &signals, &permits);
            child.join();
            assert_eq!(board.get(0), index, "{what}");
            best = best.min(board.get(1) - start);
            if best < LATE {
                break;
            }
        }
        assert!(best < LATE, "{what} did not wake it at once: it took {best} ns");
    }
}

#[test]
fn a_permit_whose_holder_is_killed_wakes_a_set() {
    let mut best = u64::MAX;
    for _ in 0..REPEATS {
        let test = Test::new("killed holder");
        let queue = small(&test, "q");
        let permits = Semaphore::create_permits(test.name("permits"), 1).unwrap();
        let board = Board::new(3);
        let holder = fork("holder", || {
            permits.acquire().unwrap();
            board.set(2, 1);
            std::thread::sleep(LONG);
        });
        board.wait(2, 1);
        let child = waiter(&board, 0, || WaitSet::new().recv(&queue).acquire(&permits));
        let start = now();
        holder.kill();
        child.join();
        assert_eq!(board.get(0), 2);
        assert_eq!(permits.try_acquire(), Ok(()));
        best = best.min(board.get(1) - start);
        if best < LATE {
            return;
        }
    }
    panic!("it took {best} ns");
}

#[test]
fn two_sets_on_one_queue_get_everything() {
    const MESSAGES: u64 = 20_000;
    let test = Test::new("two sets");
    let queues = [small(&test, "a"), small(&test, "b")];
    let board = Board::new(2 * MESSAGES as usize);
    let start = |what| {
        fork(what, || {
            let set = WaitSet::new().recv(&queues[0]).recv(&queues[1]);
            let mut closed = [false; 2];
            while closed != [true; 2] {
                for i in set.wait_timeout(LONG).unwrap() {
                    match queues[i].try_recv() {
                        Ok(bytes) => assert_eq!(board.add(i * MESSAGES as usize + number(&bytes) as usize, 1), 0),
                        Err(Error::WouldBlock) => {}
                        Err(Error::Closed) => closed[i] = true,
                        Err(e) => panic!("{e}"),
                    }
                }
            }
        })
    };
    let receivers = [start("first"), start("second")];
    let senders: Vec<Child> = (0..2)
        .map(|i| {
            let queue = &queues[i];
            fork("sender", move || {
                let set = WaitSet::new().send(queue);
                for n in 0..MESSAGES {
                    while queue.try_send(&message(n, 16)) == Err(Error::WouldBlock) {
                        set.wait_timeout(LONG).unwrap();
                    }
                }
                queue.shutdown().unwrap();
            })
        })
        .collect();
    senders.into_iter().for_each(Child::join);
    receivers.into_iter().for_each(Child::join);
    assert!((0..2 * MESSAGES as usize).all(|n| board.get(n) == 1));
}

/// Runs this process on one processor only; a `meek` one only while nobody else wants to run there.
fn run_on(processor: usize, meek: bool) {
    let mut one = CpuSet::new();
    one.set(processor).unwrap();
    sched_setaffinity(Pid::from_raw(0), &one).unwrap();
    if meek {
        let parameters = libc::sched_param { sched_priority: 0 };
        // SAFETY: the parameters are valid.
        assert_eq!(unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters) }, 0);
    }
}

#[test]
fn one_that_is_killed_right_after_it_was_woken_strands_nobody() {
    /// What the victim waits for beside another queue; what a survivor waits for, who sleeps behind it; what wakes one of them.
    type Case = (&'static str, for<'a> fn(WaitSet<'a>, &'a Objects) -> WaitSet<'a>, fn(&Objects), fn(&Objects));
    struct Objects {
        empty: Queue,
        full: Queue,
        signals: Semaphore,
    }
    let cases: [Case; 3] = [
        ("a receiver", |set, o| set.recv(&o.empty), |o| drop(o.empty.recv().unwrap()), |o| o.empty.send(b"x").unwrap()),
        ("a sender", |set, o| set.send(&o.full), |o| o.full.send(b"x").unwrap(), |o| drop(o.full.recv().unwrap())),
        (
            "who wants a unit",
            |set, o| set.acquire(&o.signals),
            |o| o.signals.acquire().unwrap(),
            |o| o.signals.release().unwrap(),
        ),
    ];
    let processor = sched_getcpu().unwrap();
    for (name, add, sleep, wake) in cases {
        let mut delays = vec![];
        for _ in 0..REPEATS {
            let test = Test::new("killed after its wake-up");
            let other = small(&test, "other");
            let objects = Objects {
                empty: small(&test, "empty"),
                full: small(&test, "full"),
                signals: Semaphore::create(test.name("signals"), 0).unwrap(),
            };
            objects.full.send(b"1").unwrap();
            objects.full.send(b"2").unwrap();
            // When it was woken; whether the victim ran after that, so that it proves nothing; when the survivor ran.
            let board = Board::new(3);
            let victim = fork("victim", || {
                run_on(processor, true);
                // The kernel sees to the first one's word when the victim dies: let that be another one.
                add(WaitSet::new().recv(&other), &objects).wait().unwrap();
                board.set(1, 1);
                std::thread::sleep(LONG);
            });
            victim.wait_asleep();
            let survivor = fork("survivor", || {
                sleep(&objects);
                board.set(2, now());
            });
            survivor.wait_asleep();
            let waker = fork("waker", || {
                run_on(processor, false);
                board.set(0, now());
                wake(&objects);
                victim.signal(Signal::SIGKILL);
            });
            survivor.join();
            waker.join();
            if board.get(1) == 0 {
                delays.push(board.get(2) - board.get(0));
            }
        }
        let late = delays.iter().filter(|&&delay| delay > LATE).count();
        assert!(late <= REPEATS / 2 && late < delays.len(), "{name} was left asleep for so many ns: {delays:?}");
    }
}

#[test]
fn a_handler_ends_a_wait() {
    extern "C" fn nothing(_: i32) {}
    let handle = |flags| {
        let action = SigAction::new(SigHandler::Handler(nothing), flags, SigSet::empty());
        // SAFETY: the handler does nothing.
        unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
    };
    let test = Test::new("interrupted set");
    let (a, b) = (small(&test, "a"), small(&test, "b"));
    let waiter = fork("interrupted", || {
        handle(SaFlags::empty());
        assert_eq!(WaitSet::new().recv(&a).recv(&b).wait(), Err(Error::Interrupted));
    });
    waiter.wait_asleep();
    waiter.signal(Signal::SIGUSR1);
    waiter.join();
    let waiter = fork("restarted", || {
        handle(SaFlags::SA_RESTART);
        assert_eq!(WaitSet::new().recv(&a).recv(&b).wait(), Ok(vec![1]));
    });
    for _ in 0..3 {
        waiter.wait_asleep();
        waiter.signal(Signal::SIGUSR1);
    }
    b.send(b"x").unwrap();
    waiter.join();
}

#[test]
fn waiting_costs_no_processor_time() {
    let test = Test::new("idle set");
    let queues: Vec<Queue> = (0..100).map(|i| small(&test, &format!("q{i}"))).collect();
    let waiter = fork("waiter", || {
        let set = queues.iter().fold(WaitSet::new(), WaitSet::recv);
        assert_eq!(set.wait_timeout(Duration::from_secs(1)), Err(Error::TimedOut));
        let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
        let used = usage.user_time() + usage.system_time();
        assert!(used.tv_sec() == 0 && used.tv_usec() < 200_000, "{used}");
    });
    waiter.join();
}

#[test]
fn without_the_system_call_a_wait_looks_by_itself() {
    let test = Test::new("no futex_waitv");
    let (a, b) = (small(&test, "a"), small(&test, "b"));
    let board = Board::new(1);
    let waiter = fork("waiter", || {
        forbid(libc::SYS_futex_waitv);
        let set = WaitSet::new().recv(&a).recv(&b);
        assert_eq!(set.wait_timeout(Duration::from_millis(20)), Err(Error::TimedOut));
        assert_eq!(set.try_wait(), Err(Error::WouldBlock));
        board.set(0, 1);
        assert_eq!(set.wait_timeout(LONG), Ok(vec![1]));
    });
    board.wait(0, 1);
    waiter.wait_asleep();
    b.send(b"x").unwrap();
    waiter.join();
}

/// Lets a system call fail with ENOSYS in this process, as in some sandboxes and older kernels.
fn forbid(call: libc::c_long) {
    use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
    let code = |code: u32, k: u32, jt| libc::sock_filter { code: code as u16, jt, jf: 0, k };
    let mut filter = [
        code(BPF_LD | BPF_W | BPF_ABS, 0, 0),
        libc::sock_filter { jf: 1, ..code(BPF_JMP | BPF_JEQ | BPF_K, call as u32, 0) },
        code(BPF_RET | BPF_K, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32, 0),
        code(BPF_RET | BPF_K, libc::SECCOMP_RET_ALLOW, 0),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program is valid; it concerns this process alone.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program), 0);
    }
}
