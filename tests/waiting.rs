//! What waiting costs, and what ends it: signal handlers, calls from signal handlers, processor time, system calls.

mod support;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};
use std::time::Duration;

use nix::sys::ptrace;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};
use nix::sys::wait::{WaitStatus, waitpid};
use rsipc::{Error, Mutex, Queue, QueueOptions, Result, Semaphore};
use support::{LONG, Test, fork};

/// One of each kind, in the state in which a wait on it lasts: an empty queue, a full one, a held mutex, no unit, no permit.
struct Objects {
    empty: Queue,
    full: Queue,
    mutex: Mutex,
    signals: Semaphore,
    permits: Semaphore,
}

impl Objects {
    fn new(test: &Test) -> Self {
        let options = QueueOptions::new().capacity(1).max_message(8);
        let objects = Self {
            empty: Queue::create(test.name("empty"), &options).unwrap(),
            full: Queue::create(test.name("full"), &options).unwrap(),
            mutex: Mutex::create(test.name("mutex"), ()).unwrap(),
            signals: Semaphore::create(test.name("signals"), 0).unwrap(),
            permits: Semaphore::create_permits(test.name("permits"), 1).unwrap(),
        };
        objects.full.send(b"first").unwrap();
        objects.permits.acquire().unwrap();
        std::mem::forget(objects.mutex.lock().unwrap());
        objects
    }
}

/// A call that waits, and what ends its wait.
type Wait = (&'static str, fn(&Objects) -> Result<()>, fn(&Objects));

const WAITS: [Wait; 5] = [
    ("recv", |o| o.empty.recv().map(drop), |o| o.empty.send(b"x").unwrap()),
    ("send", |o| o.full.send(b"x"), |o| drop(o.full.recv().unwrap())),
    (
        "lock",
        |o| o.mutex.lock().map(drop),
        |o| {
            // SAFETY: no guard is in use.
            unsafe { o.mutex.force_unlock() }.unwrap();
        },
    ),
    ("acquire a unit", |o| o.signals.acquire(), |o| o.signals.release().unwrap()),
    ("acquire a permit", |o| o.permits.acquire(), |o| o.permits.release().unwrap()),
];

extern "C" fn nothing(_: i32) {}

fn handle(handler: extern "C" fn(i32), flags: SaFlags) {
    let action = SigAction::new(SigHandler::Handler(handler), flags, SigSet::empty());
    // SAFETY: the handlers of these tests only call rsipc and store to atomics.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
}

#[test]
fn a_handler_ends_a_wait_with_nothing_sent_or_taken() {
    for (name, wait, satisfy) in WAITS {
        let test = Test::new("interrupted");
        let objects = Objects::new(&test);
        let waiter = fork(name, || {
            handle(nothing, SaFlags::empty());
            assert_eq!(wait(&objects), Err(Error::Interrupted), "{name}");
        });
        waiter.wait_asleep();
        waiter.signal(Signal::SIGUSR1);
        waiter.join();
        // What it waited for is there for the next one, whole.
        satisfy(&objects);
        wait(&objects).unwrap();
        assert_eq!(objects.empty.len(), Ok(0));
        assert_eq!(objects.full.len(), Ok(1));
        assert_eq!(objects.signals.value(), Ok(0));
    }
}

#[test]
fn a_handler_with_restart_does_not_end_a_wait() {
    for (name, wait, satisfy) in WAITS {
        let test = Test::new("restarted");
        let objects = Objects::new(&test);
        let waiter = fork(name, || {
            handle(nothing, SaFlags::SA_RESTART);
            assert_eq!(wait(&objects), Ok(()), "{name}");
        });
        for _ in 0..5 {
            waiter.wait_asleep();
            waiter.signal(Signal::SIGUSR1);
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(waiter.is_alive());
        satisfy(&objects);
        waiter.join();
    }
}

static SEEN: [AtomicI32; 5] = [const { AtomicI32::new(0) }; 5];
static OBJECTS: OnceLock<&'static Objects> = OnceLock::new();

extern "C" fn call_everything(_: i32) {
    let objects = OBJECTS.get().unwrap();
    let results = [
        objects.empty.send(b"x"),
        objects.full.recv().map(drop),
        objects.mutex.try_lock().map(drop),
        objects.signals.release(),
        objects.permits.try_acquire(),
    ];
    for (seen, result) in SEEN.iter().zip(results) {
        seen.store(result.map_err(|e| e.code()).err().unwrap_or(1), SeqCst);
    }
}

#[test]
fn a_handler_that_calls_is_told_so() {
    let test = Test::new("reentrant");
    let objects: &Objects = Box::leak(Box::new(Objects::new(&test)));
    let waiter = fork("waiter", || {
        OBJECTS.set(objects).ok().unwrap();
        handle(call_everything, SaFlags::SA_RESTART);
        // All handles were used before: the handler meets nothing for the first time.
        let _ = (objects.full.try_send(b"x"), objects.empty.try_recv(), objects.permits.try_acquire());
        objects.empty.recv().unwrap();
        for seen in &SEEN {
            assert_eq!(seen.load(SeqCst), Error::Reentrant.code());
        }
    });
    waiter.wait_asleep();
    waiter.signal(Signal::SIGUSR1);
    std::thread::sleep(Duration::from_millis(20));
    waiter.wait_asleep();
    objects.empty.send(b"x").unwrap();
    waiter.join();
    assert_eq!(objects.full.len(), Ok(1));
}

#[test]
fn waiting_costs_no_processor_time() {
    let test = Test::new("processor time");
    let objects = Objects::new(&test);
    let second = Duration::from_secs(1);
    let waits: [fn(&Objects, Duration) -> Result<()>; 5] = [
        |o, time| o.empty.recv_timeout(time).map(drop),
        |o, time| o.full.send_timeout(b"x", time),
        |o, time| o.mutex.lock_timeout(time).map(drop),
        |o, time| o.signals.acquire_timeout(time),
        |o, time| o.permits.acquire_timeout(time),
    ];
    let waiters: Vec<_> = waits
        .iter()
        .map(|wait| {
            fork("waiter", || {
                let used = || {
                    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
                    [usage.user_time(), usage.system_time()].map(|t| t.tv_sec() * 1_000_000 + t.tv_usec()).iter().sum::<i64>()
                };
                let before = used();
                assert_eq!(wait(&objects, second), Err(Error::TimedOut));
                let micros = used() - before;
                assert!(micros < 50_000, "a wait of a second took {micros} us of processor time");
            })
        })
        .collect();
    waiters.into_iter().for_each(support::Child::join);
}

/// The numbers of the system calls that `act` makes when it is done a hundred times, after it was done a few times.
fn calls_of(act: impl Fn()) -> Vec<u64> {
    let child = fork("one that is traced", || {
        (0..10).for_each(|_| act());
        ptrace::traceme().unwrap();
        raise(Signal::SIGSTOP).unwrap();
        nix::unistd::getppid();
        (0..100).for_each(|_| act());
        nix::unistd::getppid();
    });
    let mut calls = vec![];
    waitpid(child.pid, None).unwrap();
    ptrace::setoptions(child.pid, ptrace::Options::PTRACE_O_TRACESYSGOOD).unwrap();
    loop {
        ptrace::syscall(child.pid, None).unwrap();
        match waitpid(child.pid, None).unwrap() {
            WaitStatus::PtraceSyscall(_) => {
                let info = ptrace::syscall_info(child.pid).unwrap();
                if info.op == libc::PTRACE_SYSCALL_INFO_ENTRY {
                    // SAFETY: the kernel says that it is an entry.
                    calls.push(unsafe { info.u.entry.nr });
                }
            }
            WaitStatus::Exited(_, 0) => break,
            WaitStatus::Stopped(..) => {}
            other => panic!("{other:?}"),
        }
    }
    let marker = |&call: &u64| call == libc::SYS_getppid as u64;
    let start = calls.iter().position(marker).expect("the first marker");
    let len = calls[start + 1..].iter().position(marker).expect("the second marker");
    calls[start + 1..][..len].to_vec()
}

#[test]
fn what_need_not_wait_makes_no_system_call() {
    let test = Test::new("no system calls");
    let queue = Queue::create(test.name("q"), &QueueOptions::new().capacity(4).max_message(100)).unwrap();
    let mutex = Mutex::create(test.name("m"), 0u64).unwrap();
    let signals = Semaphore::create(test.name("s"), 1).unwrap();
    let permits = Semaphore::create_permits(test.name("p"), 1).unwrap();
    let queue_calls = calls_of(|| {
        queue.send(b"a message").unwrap();
        queue.try_send(b"another").unwrap();
        queue.recv_into(&mut [0; 100]).unwrap();
        assert_eq!(queue.recv_timeout(LONG).unwrap(), b"another");
        assert_eq!(queue.try_recv(), Err(Error::WouldBlock));
    });
    assert_eq!(queue_calls, [0; 0], "queue");
    let full = Queue::create(test.name("full"), &QueueOptions::new().capacity(1).max_message(8)).unwrap();
    full.send(b"first").unwrap();
    let full_calls = calls_of(|| {
        assert_eq!(full.try_send(b"x"), Err(Error::WouldBlock));
        assert_eq!(full.send_timeout(b"x", Duration::ZERO), Err(Error::WouldBlock));
    });
    assert_eq!(full_calls, [0; 0], "full queue");
    // Nor does memory that was used before, however much it is.
    let frames = Queue::create(test.name("frames"), &QueueOptions::new().capacity(1).max_message(16 << 20).leases(1)).unwrap();
    let pass_one = || {
        frames.loan(16 << 20).unwrap().send().unwrap();
        drop(frames.recv_view().unwrap());
    };
    pass_one();
    assert_eq!(calls_of(pass_one), [0; 0], "in place");
    assert_eq!(calls_of(|| *mutex.lock().unwrap() += 1), [0; 0], "mutex");
    let signals_calls = calls_of(|| {
        signals.acquire().unwrap();
        assert_eq!(signals.try_acquire(), Err(Error::WouldBlock));
        signals.release().unwrap();
    });
    assert_eq!(signals_calls, [0; 0], "signals");
    let permits_calls = calls_of(|| {
        permits.acquire().unwrap();
        permits.release().unwrap();
    });
    assert_eq!(permits_calls, [0; 0], "permits");
}
