//! fork, exec, and threads that come and go: what belongs to a process or a thread stays with it, and everything else works on both sides.

mod support;

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::unistd::{ForkResult, Pid};
use rsipc::{Endpoint, Error, Mutex, Queue, QueueOptions, Region, Semaphore, WaitSet};
use support::{Board, Child, LONG, Random, Test, exit, fork, message, number, wait_for};

/// A handle of each kind.
struct Handles {
    mutex: Mutex<u64>,
    signals: Semaphore,
    permits: Semaphore,
    region: Region,
    anonymous: Region,
    placed: Mutex<u64>,
    /// Bounded, unbounded and of no capacity.
    queues: [Queue; 3],
    jobs: Queue,
    endpoint: Endpoint,
}

const PERMITS: u32 = 70;

fn unbounded() -> QueueOptions {
    QueueOptions::new().unbounded_within(1 << 20)
}

impl Handles {
    fn new(test: &Test) -> Self {
        let queue =
            |name: &str, options: QueueOptions| Queue::create(test.name(name), &options.max_message(9000).leases(8)).unwrap();
        let anonymous = Region::anonymous(10_000).unwrap();
        Self {
            mutex: Mutex::create(test.name("m"), 0).unwrap(),
            signals: Semaphore::create(test.name("s"), 0).unwrap(),
            permits: Semaphore::create_permits(test.name("p"), PERMITS).unwrap(),
            region: Region::create(test.name("r"), 10_000).unwrap(),
            // SAFETY: the region's first bytes are left to it.
            placed: unsafe { Mutex::create_in(&anonymous, 0, 0) }.unwrap(),
            anonymous,
            queues: [
                queue("bounded", QueueOptions::new().capacity(300)),
                queue("unbounded", unbounded()),
                queue("none", QueueOptions::new().capacity(0)),
            ],
            jobs: queue("jobs", QueueOptions::new().capacity(300)),
            endpoint: Endpoint::open_named(test.name("endpoint"), &QueueOptions::new()).unwrap(),
        }
    }

    /// Each handle is used, but for the endpoint. Others do so at the same time.
    fn use_all(&self, random: &mut Random) {
        *self.mutex.lock_timeout(LONG).unwrap() += 1;
        *self.placed.lock_timeout(LONG).unwrap() += 1;
        self.signals.release().unwrap();
        self.signals.acquire_timeout(LONG).unwrap();
        self.permits.acquire_timeout(LONG).unwrap();
        self.permits.release().unwrap();
        // SAFETY: atomics are not asked for; nobody reads these bytes.
        unsafe { self.region.view().unwrap().write(random.below(5000) as usize, b"x") }.unwrap();
        self.anonymous.grow(10_000).unwrap();
        for queue in &self.queues[..2] {
            queue.send_timeout(&message(random.next(), 10), LONG).unwrap();
            queue.send_timeout(&message(random.next(), 9000), LONG).unwrap();
            (0..2).for_each(|_| assert!(queue.recv_timeout(LONG).is_ok_and(|got| number(&got) != 0)));
        }
        // Somebody may be on the other side, or nobody.
        let meet = &self.queues[2];
        let _ = if random.below(2) == 0 { meet.try_send(&message(1, 10)) } else { meet.try_recv().map(drop) };
        self.jobs.send_timeout(&message(random.next(), 100), LONG).unwrap();
        let lease = self.jobs.lease_timeout(LONG).unwrap();
        number(lease.message());
        lease.finish().unwrap();
        let set = WaitSet::new().recv(&self.queues[0]).send(&self.queues[1]).acquire(&self.permits);
        set.wait_timeout(LONG).unwrap();
    }
}

#[test]
fn what_a_process_holds_its_child_does_not_and_everything_else_works_in_both() {
    let test = Test::new("fork");
    let handles = Handles::new(&test);
    let Handles { mutex, signals, permits, region, anonymous, queues, jobs, endpoint, .. } = &handles;
    jobs.send(&message(1, 100)).unwrap();
    let held = Cell::new(Some((mutex.lock().unwrap(), jobs.lease().unwrap())));
    permits.acquire().unwrap();
    let set = WaitSet::new().recv(jobs).recv(&queues[0]).acquire(signals).endpoint(endpoint);
    let board = Board::new(2);
    let child = fork("child", || {
        // Of what the parent holds nothing is the child's, to use or to give back.
        assert_eq!(mutex.try_lock().map(drop), Err(Error::WouldBlock));
        // SAFETY: there is no guard of this process's.
        assert!(matches!(unsafe { mutex.force_unlock() }, Err(Error::NotOwner(_))));
        assert!(!mutex.is_held());
        assert!(matches!(permits.release(), Err(Error::NotOwner(_))));
        let (guard, lease) = held.take().unwrap();
        drop(guard);
        assert!(matches!(lease.finish(), Err(Error::NotOwner(_))));
        assert!(matches!(endpoint.try_recv(), Err(Error::NotOwner(_))));
        assert_eq!(jobs.try_recv(), Err(Error::WouldBlock));
        // Permits of its own, which come back when it ends.
        (1..PERMITS).for_each(|_| permits.try_acquire().unwrap());
        assert_eq!(permits.try_acquire(), Err(Error::WouldBlock));
        // Messages go in both directions, at every capacity.
        for (i, queue) in queues.iter().enumerate() {
            queue.send_timeout(&message(i as u64, 9000), LONG).unwrap();
            board.wait(1, i as u64 + 1);
            assert_eq!(number(&queue.recv_timeout(LONG).unwrap()), 100 + i as u64);
        }
        // SAFETY: nobody else uses these bytes now, nor those below.
        unsafe { region.view().unwrap().write(9000, b"child") }.unwrap();
        anonymous.grow(20_000).unwrap();
        // SAFETY: as above.
        unsafe { anonymous.view().unwrap().write(19_000, b"child") }.unwrap();
        // A set waits in the child as in the parent.
        board.set(0, 1);
        assert_eq!(set.wait_timeout(LONG), Ok(vec![2]));
        signals.try_acquire().unwrap();
        board.set(0, 2);
    });
    for (i, queue) in queues.iter().enumerate() {
        assert_eq!(number(&queue.recv_timeout(LONG).unwrap()), i as u64);
        board.set(1, i as u64 + 1);
        queue.send_timeout(&message(100 + i as u64, 9000), LONG).unwrap();
    }
    board.wait(0, 1);
    child.wait_asleep();
    signals.release().unwrap();
    board.wait(0, 2);
    child.join();
    let mut bytes = [[0; 5]; 2];
    // SAFETY: as above.
    unsafe { region.view().unwrap().read(9000, &mut bytes[0]) }.unwrap();
    // SAFETY: as above.
    unsafe { anonymous.view().unwrap().read(19_000, &mut bytes[1]) }.unwrap();
    assert_eq!(bytes, [*b"child"; 2]);
    // The parent still has what it had.
    assert_eq!(permits.value(), Ok(PERMITS - 1));
    permits.release().unwrap();
    let (guard, lease) = held.take().unwrap();
    assert!(mutex.is_held());
    drop(guard);
    lease.finish().unwrap();
    assert!(!mutex.lock().unwrap().owner_died());
    endpoint.send(endpoint.address(), b"x").unwrap();
    assert_eq!(endpoint.recv().unwrap().bytes(), b"x");
    assert_eq!(handles.placed.try_lock().map(|value| *value), Ok(0));
}

#[test]
fn a_fork_while_other_threads_are_inside_calls() {
    let test = Test::new("fork among threads");
    let handles = Handles::new(&test);
    let stop = AtomicBool::new(false);
    let ended = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let spawn = |seed| {
            let (handles, stop, test, ended) = (&handles, &stop, &test, &ended);
            scope.spawn(move || {
                let mut random = Random(seed);
                while !stop.load(Relaxed) {
                    handles.use_all(&mut random);
                    // What is the process's own: tables of endpoints, of inboxes, of watchers.
                    let own = Endpoint::open(&test.space, &QueueOptions::new()).unwrap();
                    own.send(handles.endpoint.address(), b"x").unwrap();
                    let _ = own.call_timeout(own.address(), b"nobody replies", Duration::from_millis(1));
                    while handles.endpoint.try_recv().is_ok() {}
                    Queue::open(test.name("bounded")).unwrap().readiness_fd().unwrap();
                    ended.fetch_add(1, Relaxed);
                }
            })
        };
        let threads = [1, 2, 3].map(spawn);
        for round in 0..60 {
            let so_far = ended.load(Relaxed);
            let children: Vec<Child> = (0..2)
                .map(|which| {
                    fork("child of a process with threads", || {
                        let mut random = Random(100 + round * 2 + which);
                        handles.use_all(&mut random);
                        assert!(matches!(handles.endpoint.try_recv(), Err(Error::NotOwner(_))));
                        let own = Endpoint::open(&test.space, &QueueOptions::new()).unwrap();
                        own.send(own.address(), b"x").unwrap();
                        own.recv_timeout(LONG).unwrap();
                        handles.queues[0].readiness_fd().unwrap();
                        Queue::open(test.name("unbounded")).unwrap().readiness_fd().unwrap();
                        drop(own);
                        handles.use_all(&mut random);
                    })
                })
                .collect();
            children.into_iter().for_each(Child::join);
            wait_for("the threads to go on", || ended.load(Relaxed) > so_far);
        }
        stop.store(true, Relaxed);
        // With what belongs to each of them.
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    let names = test.files();
    assert_eq!(names.iter().filter(|name| name.starts_with('@')).count(), 1, "{names:?}");
    assert_eq!(handles.permits.value(), Ok(PERMITS));
    assert!(!handles.mutex.lock().unwrap().owner_died());
}

#[test]
fn a_child_that_dies_inside_a_call_on_its_parents_handles() {
    let test = Test::new("dying children");
    let handles = Handles::new(&test);
    let mut random = Random(3);
    for round in 0..60 {
        let child = fork("child", || {
            let mut random = Random(round + 1);
            loop {
                handles.use_all(&mut random);
            }
        });
        std::thread::sleep(Duration::from_micros(random.below(15_000)));
        child.kill();
        // The parent finds all as usable as before. What the child had sent is there, or what it had taken is gone.
        handles.mutex.lock_timeout(LONG).unwrap().mark_consistent();
        handles.placed.lock_timeout(LONG).unwrap().mark_consistent();
        for queue in handles.queues.iter().chain([&handles.jobs]) {
            while let Ok(message) = queue.try_recv() {
                number(&message);
            }
        }
        while handles.signals.try_acquire().is_ok() {}
        handles.use_all(&mut random);
        assert_eq!(handles.permits.value(), Ok(PERMITS));
    }
}

/// A child that lives on when this process ends.
fn orphan(work: impl FnOnce()) {
    // SAFETY: as in `support::fork`.
    if let ForkResult::Child = unsafe { nix::unistd::fork() }.unwrap() {
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_ok();
        exit(i32::from(!worked));
    }
}

#[test]
fn the_parent_dies_and_its_child_goes_on() {
    let test = Test::new("orphans");
    let handles = Handles::new(&test);
    let board = Board::new(3);
    for killed in [true, false] {
        (0..3).for_each(|i| board.set(i, 0));
        let Handles { mutex, permits, jobs, queues, .. } = &handles;
        jobs.send(&message(1, 100)).unwrap();
        let parent = fork("parent", || {
            std::mem::forget(mutex.lock().unwrap());
            (0..PERMITS).for_each(|_| permits.acquire().unwrap());
            let lease = jobs.lease_timeout(LONG).unwrap();
            let address = Cell::new(None);
            let own = Endpoint::open_named(test.name("parent"), &QueueOptions::new()).unwrap();
            address.set(Some(own.address()));
            queues[0].send(&message(5, 100)).unwrap();
            orphan(|| {
                board.wait(1, 1);
                // It waited for nothing of this while its parent lived.
                assert!(mutex.lock_timeout(LONG).unwrap().owner_died());
                permits.acquire_timeout(LONG).unwrap();
                assert_eq!(number(jobs.lease_timeout(LONG).unwrap().message()), 1);
                assert_eq!(number(&queues[0].recv_timeout(LONG).unwrap()), 5);
                let mine = Endpoint::open(&test.space, &QueueOptions::new()).unwrap();
                assert_eq!(mine.send(address.get().unwrap(), b"x"), Err(Error::PeerGone));
                let heir = Endpoint::open_named(test.name("parent"), &QueueOptions::new()).unwrap();
                mine.send(heir.address(), b"x").unwrap();
                board.set(2, 1);
            });
            board.set(0, 1);
            if killed {
                std::thread::sleep(LONG);
            }
            std::mem::forget((lease, own));
        });
        board.wait(0, 1);
        if killed {
            parent.kill();
        } else {
            parent.join();
        }
        board.set(1, 1);
        board.wait(2, 1);
        // And when the child has ended, too.
        wait_for("the end of the child", || permits.value() == Ok(PERMITS));
        mutex.lock_timeout(LONG).unwrap().mark_consistent();
        assert_eq!(number(&jobs.recv_timeout(LONG).unwrap()), 1);
    }
}

#[test]
fn what_a_process_held_comes_back_when_it_becomes_another_program() {
    let test = Test::new("exec");
    let handles = Handles::new(&test);
    let Handles { mutex, permits, jobs, queues, endpoint, .. } = &handles;
    let board = Board::new(1);
    for second_thread in [false, true] {
        board.set(0, 0);
        jobs.send(&message(1, 100)).unwrap();
        let other = fork("becomes another program", || {
            let all = || {
                std::mem::forget(mutex.lock().unwrap());
                (0..PERMITS).for_each(|_| permits.acquire().unwrap());
                std::mem::forget(jobs.lease().unwrap());
                let own = Endpoint::open_named(test.name("server"), &QueueOptions::new()).unwrap();
                let peers = queues[0].peers().unwrap().len();
                assert_eq!(peers, 2);
                board.set(0, 1);
                std::mem::forget(own.recv_timeout(LONG).unwrap());
                board.wait(0, 2);
                nix::unistd::execv(c"/bin/sleep", &[c"sleep", c"60"])
            };
            let _ = if second_thread { std::thread::scope(|scope| scope.spawn(all).join().unwrap()) } else { all() };
        });
        board.wait(0, 1);
        // Who waits for it sleeps, and is woken by the exec.
        let waiters = [
            fork("locker", || assert!(mutex.lock_timeout(LONG).unwrap().owner_died())),
            fork("acquirer", || permits.acquire_timeout(LONG).unwrap()),
            fork("worker", || assert_eq!(jobs.lease_timeout(LONG).unwrap().finish(), Ok(()))),
            fork("caller", || {
                let mine = Endpoint::open(&test.space, &QueueOptions::new()).unwrap();
                let server = mine.find("server").unwrap();
                assert_eq!(mine.call_timeout(server, b"x", LONG), Err(Error::PeerGone));
                assert!(matches!(mine.find("server"), Err(Error::NotFound { .. })));
            }),
        ];
        waiters.iter().for_each(Child::wait_asleep);
        board.set(0, 2);
        waiters.into_iter().for_each(Child::join);
        let name = format!("/proc/{}/comm", other.pid);
        assert_eq!(std::fs::read_to_string(&name).unwrap(), "sleep\n", "it lives");
        mutex.lock_timeout(LONG).unwrap().mark_consistent();
        assert_eq!(permits.value(), Ok(PERMITS));
        assert_eq!(queues[0].peers().unwrap().len(), 1);
        drop(Endpoint::open_named(test.name("server"), &QueueOptions::new()).unwrap());
        assert_eq!(jobs.try_recv(), Err(Error::WouldBlock));
        endpoint.send(endpoint.address(), b"x").unwrap();
    }
}

#[test]
fn many_threads_that_come_and_go_share_each_handle() {
    const AT_ONCE: usize = 64;
    const THREADS: u64 = 600;
    let test = Test::new("many threads");
    let handles = Handles::new(&test);
    let started = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                // Each lets threads run one after the other: their ids are used again, and their stacks.
                loop {
                    let number = started.fetch_add(1, Relaxed);
                    if number >= THREADS {
                        break;
                    }
                    let work = || {
                        handles.use_all(&mut Random(number + 1));
                        let own = &handles.endpoint;
                        own.send(own.address(), b"x").unwrap();
                        own.recv_timeout(LONG).unwrap();
                        // Some end with the lock.
                        if number.is_multiple_of(7) {
                            std::mem::forget(handles.placed.lock_timeout(LONG).unwrap());
                        }
                        number
                    };
                    assert_eq!(std::thread::scope(|scope| scope.spawn(work).join().unwrap()), number);
                }
            });
        }
    });
    assert_eq!(*handles.mutex.try_lock().unwrap(), THREADS);
    let mut placed = handles.placed.lock_timeout(LONG).unwrap();
    assert_eq!((*placed, placed.owner_died()), (THREADS, true));
    placed.mark_consistent();
    drop(placed);
    assert_eq!(handles.permits.value(), Ok(PERMITS));
    assert_eq!(handles.signals.value(), Ok(0));
    assert!(handles.queues.iter().chain([&handles.jobs]).all(|queue| queue.is_empty().unwrap()));
    // Others notice the end of the process as ever, whichever thread was the last to use it.
    fork("one whose threads have ended", || {
        let work = || {
            (0..PERMITS).for_each(|_| handles.permits.acquire().unwrap());
            handles.jobs.send(&message(1, 10)).unwrap();
            std::mem::forget(handles.jobs.lease().unwrap());
        };
        std::thread::scope(|scope| scope.spawn(work).join().unwrap());
        support::die();
    })
    .end();
    handles.permits.acquire_timeout(LONG).unwrap();
    assert_eq!(number(&handles.jobs.recv_timeout(LONG).unwrap()), 1);
}

static CALLED: AtomicU64 = AtomicU64::new(0);
static REFUSED: AtomicU64 = AtomicU64::new(0);
static WRONG: AtomicU64 = AtomicU64::new(0);
static IN_HANDLER: std::sync::OnceLock<Handles> = std::sync::OnceLock::new();

extern "C" fn handler(_: libc::c_int) {
    let handles = IN_HANDLER.get().expect("set before the handler");
    let results = [
        handles.mutex.try_lock().map(drop),
        handles.signals.release().and_then(|()| handles.signals.try_acquire()),
        handles.permits.try_acquire().and_then(|()| handles.permits.release()),
        handles.queues[0].try_send(b"12345678").and_then(|()| handles.queues[0].try_recv_into(&mut [0; 200]).map(drop)),
    ];
    for result in results {
        let count = match result {
            Ok(()) => &CALLED,
            // It interrupted a call; or who is in one holds what this wants.
            Err(Error::Reentrant | Error::WouldBlock | Error::Deadlock) => &REFUSED,
            Err(_) => &WRONG,
        };
        count.fetch_add(1, Relaxed);
    }
}

#[test]
fn a_signal_handler_that_calls_in_is_refused_or_served() {
    let test = Test::new("handlers");
    let Ok(()) = IN_HANDLER.set(Handles::new(&test)) else { panic!("it is set once") };
    fork("one that is interrupted", || {
        // The first calls of a process use the heap, for which one in a handler would wait if it interrupted malloc.
        handler(0);
        let action = SigAction::new(SigHandler::Handler(handler), SaFlags::SA_RESTART, SigSet::empty());
        // SAFETY: the handler only does what may be done in one: calls of rsipc that do not wait, and atomics.
        unsafe { sigaction(Signal::SIGALRM, &action) }.unwrap();
        let every = libc::timeval { tv_sec: 0, tv_usec: 50 };
        let timer = libc::itimerval { it_interval: every, it_value: every };
        // SAFETY: the timer is valid.
        assert_eq!(unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) }, 0);
        let handles = IN_HANDLER.get().unwrap();
        let mut rounds = 0u64;
        while rounds < 500 || CALLED.load(Relaxed) < 100 || REFUSED.load(Relaxed) < 20 {
            *handles.mutex.lock().unwrap() += 1;
            handles.permits.acquire().unwrap();
            handles.permits.release().unwrap();
            handles.queues[0].send(&message(rounds, 100)).unwrap();
            // The handler's own message may be the one that is taken.
            let got = handles.queues[0].recv().unwrap();
            assert!(got == b"12345678" || number(&got) == rounds);
            rounds += 1;
        }
        assert_eq!(WRONG.load(Relaxed), 0);
        assert_eq!(*handles.mutex.lock().unwrap(), rounds);
    })
    .join();
    let handles = IN_HANDLER.get().unwrap();
    assert_eq!(handles.permits.value(), Ok(PERMITS));
}

unsafe extern "C" {
    /// As fork, but no handlers are called (`_Fork(3)`).
    fn _Fork() -> i32;
}

/// A thread that was met before its process knew that it is the child in a fork has its mutexes for itself: others find its id in
/// the new process, and not in the parent.
#[test]
fn a_child_whose_fork_was_not_seen_keeps_its_mutex() {
    let test = Test::new("unseen fork");
    let mutex = Mutex::create(test.name("m"), ()).unwrap();
    let board = Board::new(1);
    let parent = fork("parent", || {
        drop(mutex.lock().unwrap());
        std::thread::scope(|scope| {
            // One that has made no call yet.
            scope.spawn(|| {
                // SAFETY: the child takes a mutex, and is killed.
                let child = unsafe { _Fork() };
                if child == 0 {
                    let _held = mutex.lock().unwrap();
                    board.set(0, 1);
                    std::thread::sleep(LONG);
                }
                board.wait(0, 2);
                kill(Pid::from_raw(child), Signal::SIGKILL).unwrap();
            });
        });
    });
    board.wait(0, 1);
    assert_eq!(mutex.lock_timeout(Duration::from_millis(500)).map(drop), Err(Error::TimedOut));
    board.set(0, 2);
    parent.join();
    drop(mutex.lock_timeout(LONG).unwrap());
}
