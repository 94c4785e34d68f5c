//! Semaphores of both kinds: counting, waiting, permits that come back.

#![allow(clippy::undocumented_unsafe_blocks, reason = "objects placed in a region are left the bytes that are theirs")]

mod support;

use std::time::{Duration, Instant};

use rsipc::{Error, MAX_VALUE, Mutex, Region, Semaphore, SemaphoreKind};
use support::{Board, Child, LONG, Test, fork, wait_for};

const SHORT: Duration = Duration::from_millis(30);

#[test]
fn units_are_counted() {
    let test = Test::new("counting");
    let semaphore = Semaphore::create(test.name("s"), 2).unwrap();
    assert_eq!(semaphore.kind(), SemaphoreKind::Signals);
    semaphore.acquire().unwrap();
    semaphore.try_acquire().unwrap();
    assert_eq!(semaphore.try_acquire(), Err(Error::WouldBlock));
    assert_eq!(semaphore.acquire_timeout(Duration::ZERO), Err(Error::WouldBlock));
    let start = Instant::now();
    assert_eq!(semaphore.acquire_timeout(SHORT), Err(Error::TimedOut));
    assert!(start.elapsed() >= SHORT);
    semaphore.release_many(3).unwrap();
    assert_eq!(semaphore.value(), Ok(3));
    semaphore.release_many(MAX_VALUE - 3).unwrap();
    assert!(matches!(semaphore.release(), Err(Error::LimitReached(_))));
    assert!(matches!(semaphore.release_many(u32::MAX), Err(Error::LimitReached(_))));
    assert_eq!(semaphore.value(), Ok(MAX_VALUE));
    assert!(matches!(Semaphore::create(test.name("t"), MAX_VALUE + 1), Err(Error::InvalidArgument(_))));
    assert!(matches!(Semaphore::create_permits(test.name("t"), MAX_VALUE + 1), Err(Error::InvalidArgument(_))));
}

#[test]
fn each_unit_is_taken_once() {
    let test = Test::new("once");
    let semaphore = Semaphore::create(test.name("s"), 0).unwrap();
    let takers: Vec<Child> =
        (0..3).map(|_| fork("taker", || (0..2000).for_each(|_| semaphore.acquire_timeout(LONG).unwrap()))).collect();
    let givers: Vec<Child> = (0..2)
        .map(|_| {
            fork("giver", || {
                let semaphore = Semaphore::open(test.name("s")).unwrap();
                (0..1500).for_each(|i| semaphore.release_many(1 + i % 3).unwrap());
            })
        })
        .collect();
    givers.into_iter().for_each(Child::join);
    takers.into_iter().for_each(Child::join);
    assert_eq!(semaphore.value(), Ok(0));
}

#[test]
fn who_takes_at_the_same_time_takes_different_units() {
    let test = Test::new("as many as takers");
    let semaphore = Semaphore::create(test.name("s"), 3).unwrap();
    let board = Board::new(1);
    let users = [(); 3].map(|()| {
        fork("user", || {
            board.add(0, 1);
            board.wait(0, 3);
            for _ in 0..1_000_000 {
                semaphore.try_acquire().expect("there is one for each");
                semaphore.release().unwrap();
            }
        })
    });
    users.into_iter().for_each(Child::join);
    assert_eq!(semaphore.value(), Ok(3));
}

#[test]
fn as_many_wake_as_there_are_units() {
    let test = Test::new("waking");
    for permits in [false, true] {
        let name = if permits { "p" } else { "s" };
        let semaphore = if permits {
            Semaphore::create_permits(test.name(name), 5).unwrap()
        } else {
            Semaphore::create(test.name(name), 5).unwrap()
        };
        (0..5).for_each(|_| semaphore.acquire().unwrap());
        let board = Board::new(2);
        let waiters: Vec<Child> = (0..5)
            .map(|_| {
                fork("waiter", || {
                    semaphore.acquire().unwrap();
                    board.add(0, 1);
                    board.wait(1, 1);
                })
            })
            .collect();
        waiters.iter().for_each(Child::wait_asleep);
        for (count, in_all) in [(1, 1), (3, 4), (1, 5)] {
            semaphore.release_many(count).unwrap();
            wait_for("the waiters to wake", || board.get(0) == in_all);
        }
        assert_eq!(semaphore.try_acquire(), Err(Error::WouldBlock));
        board.set(1, 1);
        waiters.into_iter().for_each(Child::join);
        assert_eq!(semaphore.value(), Ok(if permits { 5 } else { 0 }));
    }
}

#[test]
fn permits_belong_to_processes() {
    let test = Test::new("permits");
    let permits = Semaphore::create_permits(test.name("p"), 3).unwrap();
    assert_eq!(permits.kind(), SemaphoreKind::Permits);
    assert!(matches!(permits.release(), Err(Error::NotOwner(_))));
    permits.acquire().unwrap();
    permits.acquire().unwrap();
    assert_eq!(permits.value(), Ok(1));
    fork("child", || {
        assert!(matches!(permits.release(), Err(Error::NotOwner(_))), "a child holds none of its parent's");
        let again = Semaphore::open(test.name("p")).unwrap();
        permits.acquire().unwrap();
        assert_eq!(again.try_acquire(), Err(Error::WouldBlock));
        assert!(matches!(again.release_many(2), Err(Error::NotOwner(_))));
        again.release().unwrap();
    })
    .join();
    assert!(matches!(permits.release_many(3), Err(Error::NotOwner(_))));
    // Any thread gives them back, through any handle.
    std::thread::scope(|scope| {
        scope.spawn(|| Semaphore::open(test.name("p")).unwrap().release_many(2).unwrap());
    });
    assert_eq!(permits.value(), Ok(3));
}

#[test]
fn permits_of_the_dead_come_back() {
    let test = Test::new("permits of the dead");
    let permits = Semaphore::create_permits(test.name("p"), 4).unwrap();
    let board = Board::new(1);
    let holders: Vec<Child> = (0..2)
        .map(|_| {
            fork("holder", || {
                permits.acquire().unwrap();
                permits.acquire().unwrap();
                board.add(0, 1);
                std::thread::sleep(LONG);
            })
        })
        .collect();
    board.wait(0, 2);
    assert_eq!(permits.value(), Ok(0));
    assert_eq!(permits.try_acquire(), Err(Error::WouldBlock));
    let waiters: Vec<Child> = (0..2).map(|_| fork("waiter", || permits.acquire().unwrap())).collect();
    waiters.iter().for_each(Child::wait_asleep);
    holders[0].kill();
    waiters.into_iter().for_each(Child::join);
    assert_eq!(permits.value(), Ok(2));
    holders[1].kill();
    assert_eq!(permits.value(), Ok(4));
    (0..4).for_each(|_| permits.try_acquire().unwrap());
}

#[test]
fn permits_survive_the_end_of_the_thread_and_not_exec() {
    let test = Test::new("exec");
    let permits = Semaphore::create_permits(test.name("p"), 2).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| permits.acquire().unwrap());
    });
    assert_eq!(permits.value(), Ok(1));
    for second_thread in [false, true] {
        let holder = fork("one that execs", || {
            permits.acquire().unwrap();
            let exec = || nix::unistd::execv(c"/bin/sleep", &[c"sleep", c"60"]);
            if second_thread {
                std::thread::scope(|scope| drop(scope.spawn(exec).join()));
            }
            exec().unwrap();
        });
        let name = format!("/proc/{}/comm", holder.pid);
        wait_for("the exec", || std::fs::read_to_string(&name).unwrap() == "sleep\n");
        permits.acquire_timeout(LONG).unwrap();
        assert_eq!(permits.value(), Ok(0));
        assert!(holder.is_alive());
        permits.release().unwrap();
    }
}

#[test]
fn as_many_processes_as_it_has_places_for() {
    let test = Test::new("places");
    let permits = Semaphore::create_permits(test.name("p"), 1000).unwrap();
    let board = Board::new(1);
    let holders: Vec<Child> = (0..120)
        .map(|_| {
            fork("holder", || {
                permits.acquire().unwrap();
                board.add(0, 1);
                std::thread::sleep(LONG);
            })
        })
        .collect();
    board.wait(0, 120);
    let refused = permits.acquire().unwrap_err();
    assert!(matches!(refused, Error::LimitReached(_)), "{refused}");
    assert_eq!(permits.value(), Ok(880));
    drop(holders);
    permits.acquire().unwrap();
    assert_eq!(permits.value(), Ok(999));
}

#[test]
fn a_handle_closed_by_another_thread_leaves_its_holder_robust() {
    let test = Test::new("closed elsewhere");
    let permits = Semaphore::create_permits(test.name("p"), 1).unwrap();
    let mutex = Mutex::create(test.name("m"), ()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            permits.acquire().unwrap();
            permits.release().unwrap();
            // The kernel's list of this thread's locks led through the handle that is closed here, and goes on.
            std::thread::scope(|other| drop(other.spawn(move || drop(permits))));
            std::mem::forget(mutex.lock().unwrap());
        });
    });
    assert!(mutex.lock_timeout(LONG).unwrap().owner_died());
}

#[test]
fn semaphores_closed_by_other_threads_do_not_fill_a_threads_robust_list() {
    let test = Test::new("strays");
    let mutex = Mutex::create(test.name("m"), ()).unwrap();
    let (to_worker, from_main) = std::sync::mpsc::channel::<Semaphore>();
    let (to_main, from_worker) = std::sync::mpsc::channel::<Semaphore>();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for permits in from_main {
                permits.acquire().unwrap();
                permits.release().unwrap();
                // The kernel looks at 2048 words of a thread at most.
                drop(mutex.lock().unwrap());
                to_main.send(permits).unwrap();
            }
            drop(to_main);
        });
        for _ in 0..2100 {
            to_worker.send(Semaphore::create_permits(test.name("p"), 1).unwrap()).unwrap();
            test.unlink("p").unwrap();
            drop(from_worker.recv_timeout(LONG).unwrap());
        }
        drop(to_worker);
    });
    let mapped = std::fs::read_to_string("/proc/self/maps").unwrap();
    let left = mapped.lines().filter(|line| line.contains(test.dir.to_str().unwrap())).count();
    assert!(left < 10, "{left} files are still mapped");
}

#[test]
fn a_permit_comes_back_from_a_process_whose_acquiring_thread_had_ended() {
    let test = Test::new("ended thread");
    let permits = Semaphore::create_permits(test.name("p"), 1).unwrap();
    let child = fork("holder", || {
        std::thread::scope(|scope| drop(scope.spawn(|| permits.acquire().unwrap())));
        std::process::abort();
    });
    child.end();
    permits.acquire_timeout(LONG).unwrap();
}

#[test]
fn in_regions() {
    let test = Test::new("in regions");
    for (region, named) in [(Region::create(test.name("r"), 16384).unwrap(), true), (Region::anonymous(16384).unwrap(), false)] {
        let signals = unsafe { Semaphore::create_in(&region, 64, 1) }.unwrap();
        let permits = unsafe { Semaphore::create_permits_in(&region, 128, 2) }.unwrap();
        assert!(matches!(unsafe { Semaphore::create_in(&region, 64, 1) }, Err(Error::AlreadyExists { .. })));
        assert!(matches!(unsafe { Semaphore::create_permits_in(&region, 128, 1) }, Err(Error::AlreadyExists { .. })));
        assert!(unsafe { Semaphore::create_in(&region, 32, 1) }.is_err());
        assert!(unsafe { Semaphore::create_permits_in(&region, 16384 - 64, 1) }.is_err());
        assert!(matches!(unsafe { Semaphore::open_in(&region, 8192) }, Err(Error::NotFound { .. })));
        assert_eq!(unsafe { Semaphore::open_in(&region, 64) }.unwrap().kind(), SemaphoreKind::Signals);
        let holder = fork("holder", || {
            unsafe { Semaphore::open_in(&region, 64) }.unwrap().acquire().unwrap();
            let permits = unsafe { Semaphore::open_in(&region, 128) }.unwrap();
            permits.acquire().unwrap();
            permits.acquire().unwrap();
            signals.release().unwrap();
            std::thread::sleep(LONG);
        });
        wait_for("the holder", || permits.value() == Ok(0) && signals.value() == Ok(1));
        let waiter = fork("waiter", || permits.acquire().unwrap());
        waiter.wait_asleep();
        holder.kill();
        waiter.join();
        permits.acquire_timeout(LONG).unwrap();
        assert_eq!(signals.value(), Ok(1), "named: {named}");
    }
}

#[test]
fn giving_back_can_be_limited_in_time() {
    let test = Test::new("limited");
    let permits = Semaphore::create_permits(test.name("p"), 3).unwrap();
    (0..3).for_each(|_| permits.acquire().unwrap());
    permits.release_timeout(2, LONG).unwrap();
    permits.release_timeout(1, Duration::ZERO).unwrap();
    assert_eq!(permits.value(), Ok(3));
    assert!(matches!(permits.release_timeout(1, LONG), Err(Error::NotOwner(_))));
}
