//! Mutexes: exclusion, the death of owners, who may unlock, giving up.

#![allow(clippy::undocumented_unsafe_blocks, reason = "objects placed in a region are left the bytes that are theirs")]

mod support;

use std::cell::Cell;
use std::time::{Duration, Instant};

use rsipc::{Error, Mutex, Region};
use support::{Board, Child, LONG, Test, fork, wait_for};

const SHORT: Duration = Duration::from_millis(30);

#[test]
fn one_holds_it_at_a_time() {
    let test = Test::new("exclusion");
    let mutex = Mutex::create(test.name("m"), [0u64; 2]).unwrap();
    let children: Vec<Child> = (0..4)
        .map(|_| {
            fork("adder", || {
                let mutex = Mutex::<[u64; 2]>::open(test.name("m")).unwrap();
                for _ in 0..5000 {
                    let mut guard = mutex.lock_timeout(LONG).unwrap();
                    assert_eq!(guard[0], guard[1]);
                    guard[0] += 1;
                    guard[1] += 1;
                }
            })
        })
        .collect();
    children.into_iter().for_each(Child::join);
    assert_eq!(*mutex.lock().unwrap(), [20_000; 2]);
}

#[test]
fn waiting_for_ever_not_at_all_or_for_a_time() {
    let test = Test::new("waiting");
    let mutex = Mutex::create(test.name("m"), ()).unwrap();
    let guard = mutex.lock().unwrap();
    fork("others", || {
        assert_eq!(mutex.try_lock().map(drop), Err(Error::WouldBlock));
        assert_eq!(mutex.lock_timeout(Duration::ZERO).map(drop), Err(Error::WouldBlock));
        let start = Instant::now();
        assert_eq!(mutex.lock_timeout(SHORT).map(drop), Err(Error::TimedOut));
        assert!(start.elapsed() >= SHORT);
    })
    .join();
    let waiters: Vec<Child> = (0..3).map(|_| fork("waiter", || drop(mutex.lock().unwrap()))).collect();
    waiters.iter().for_each(Child::wait_asleep);
    drop(guard);
    waiters.into_iter().for_each(Child::join);
    drop(mutex.try_lock().unwrap());
}

#[test]
fn the_next_owner_is_told_of_a_death() {
    let test = Test::new("owner died");
    let mutex = Mutex::create(test.name("m"), 7u64).unwrap();
    let waiter = Cell::new(None);
    let ready = Board::new(1);
    let owner = fork("owner", || {
        let mut guard = mutex.lock().unwrap();
        *guard = 8;
        ready.set(0, 1);
        std::thread::sleep(LONG);
    });
    ready.wait(0, 1);
    waiter.set(Some(fork("waiter", || {
        let guard = mutex.lock().unwrap();
        assert!(guard.owner_died());
        assert_eq!(*guard, 8);
        // It does not mark it consistent: the next one is told, too.
    })));
    let waiter = waiter.take().unwrap();
    waiter.wait_asleep();
    owner.kill();
    waiter.join();
    let mut guard = mutex.lock_timeout(LONG).unwrap();
    assert!(guard.owner_died() && mutex.is_inconsistent());
    *guard = 9;
    guard.mark_consistent();
    assert!(!guard.owner_died());
    drop(guard);
    assert!(!mutex.lock().unwrap().owner_died());
}

#[test]
fn however_the_owner_ends() {
    let test = Test::new("ends");
    let mutex = Mutex::create(test.name("m"), ()).unwrap();
    let told = |how: &str| {
        let mut guard = mutex.lock_timeout(LONG).unwrap();
        assert!(guard.owner_died(), "{how}");
        guard.mark_consistent();
    };
    fork("exits", || std::mem::forget(mutex.lock().unwrap())).join();
    told("exit");
    fork("execs", || {
        std::mem::forget(mutex.lock().unwrap());
        let _ = nix::unistd::execv(c"/bin/true", &[c"true"]);
    })
    .join();
    told("exec");
    // The thread goes on with its id, and only the kernel can tell that it no longer knows of the lock.
    let other_program = fork("execs, and goes on", || {
        std::mem::forget(mutex.lock().unwrap());
        let _ = nix::unistd::execv(c"/bin/sleep", &[c"sleep", c"60"]);
    });
    let name = format!("/proc/{}/comm", other_program.pid);
    wait_for("the exec", || std::fs::read_to_string(&name).unwrap() == "sleep\n");
    told("exec of a program that goes on");
    assert!(other_program.is_alive());
    fork("execs from its second thread", || {
        let exec = || {
            std::mem::forget(mutex.lock().unwrap());
            let _ = nix::unistd::execv(c"/bin/true", &[c"true"]);
        };
        std::thread::scope(|scope| drop(scope.spawn(exec).join()));
    })
    .join();
    told("exec from a second thread");
    fork("aborts", || {
        std::mem::forget(mutex.lock().unwrap());
        std::process::abort();
    })
    .end();
    told("abort");
    std::thread::scope(|scope| {
        scope.spawn(|| std::mem::forget(mutex.lock().unwrap())).join().unwrap();
    });
    told("the end of a thread");
}

#[test]
fn many_held_at_once_are_let_go_in_any_order() {
    let test = Test::new("many");
    let mutexes: Vec<Mutex> = (0..5).map(|i| Mutex::create(test.name(&format!("m{i}")), ()).unwrap()).collect();
    for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 4, 1, 3]] {
        let mut guards: Vec<_> = mutexes.iter().map(|mutex| Some(mutex.lock().unwrap())).collect();
        for i in order {
            guards[i] = None;
        }
    }
    fork("one that dies with some of them", || {
        let guards: Vec<_> = mutexes.iter().map(|mutex| mutex.lock().unwrap()).collect();
        let mut guards = guards.into_iter();
        drop(guards.next());
        std::mem::forget(guards);
    })
    .join();
    let died: Vec<bool> = mutexes.iter().map(|mutex| mutex.lock_timeout(LONG).unwrap().owner_died()).collect();
    assert_eq!(died, [false, true, true, true, true]);
}

#[test]
fn among_other_robust_mutexes_of_the_thread() {
    let test = Test::new("beside libc's");
    let mutex = Mutex::create(test.name("m"), ()).unwrap();
    let second = Mutex::create(test.name("m2"), ()).unwrap();
    // SAFETY: the pthread calls get valid pointers to memory that outlives them, here and in the child.
    unsafe {
        let shared = libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        let theirs: *mut libc::pthread_mutex_t = shared.cast();
        let mut attr = std::mem::zeroed();
        libc::pthread_mutexattr_init(&raw mut attr);
        libc::pthread_mutexattr_setpshared(&raw mut attr, libc::PTHREAD_PROCESS_SHARED);
        libc::pthread_mutexattr_setrobust(&raw mut attr, libc::PTHREAD_MUTEX_ROBUST);
        libc::pthread_mutex_init(theirs, &raw const attr);
        fork("owner of both kinds", || {
            let first = mutex.lock().unwrap();
            assert_eq!(libc::pthread_mutex_lock(theirs), 0);
            let second = second.lock().unwrap();
            drop(first);
            std::mem::forget(second);
        })
        .join();
        assert!(!mutex.lock_timeout(LONG).unwrap().owner_died());
        assert!(second.lock_timeout(LONG).unwrap().owner_died());
        assert_eq!(libc::pthread_mutex_trylock(theirs), libc::EOWNERDEAD);
        libc::pthread_mutex_consistent(theirs);
        libc::pthread_mutex_unlock(theirs);
        libc::munmap(shared, 4096);
    }
}

#[test]
fn locking_twice_is_a_deadlock() {
    let test = Test::new("deadlock");
    let mutex = Mutex::create(test.name("m"), ()).unwrap();
    let same = Mutex::<()>::open(test.name("m")).unwrap();
    let guard = mutex.lock().unwrap();
    for mutex in [&mutex, &same] {
        assert_eq!(mutex.lock().map(drop), Err(Error::Deadlock));
        assert_eq!(mutex.try_lock().map(drop), Err(Error::Deadlock));
        assert_eq!(mutex.lock_timeout(SHORT).map(drop), Err(Error::Deadlock));
    }
    drop(guard);
    drop(same.try_lock().unwrap());
}

#[test]
fn only_the_owner_unlocks() {
    let test = Test::new("not owner");
    let mutex = Mutex::create(test.name("m"), ()).unwrap();
    let same = Mutex::<()>::open(test.name("m")).unwrap();
    // SAFETY: no guard is used, here and below.
    let unlock = |mutex: &Mutex| unsafe { mutex.force_unlock() };
    assert!(matches!(unlock(&mutex), Err(Error::NotOwner(_))));
    std::mem::forget(mutex.lock().unwrap());
    assert!(matches!(unlock(&same), Err(Error::NotOwner(_))), "another handle");
    std::thread::scope(|scope| {
        let other = scope.spawn(|| (unlock(&mutex), mutex.mark_consistent(), mutex.give_up())).join().unwrap();
        assert!(matches!(other, (Err(Error::NotOwner(_)), Err(Error::NotOwner(_)), Err(Error::NotOwner(_)))));
    });
    fork("child", || assert!(matches!(unlock(&mutex), Err(Error::NotOwner(_))))).join();
    unlock(&mutex).unwrap();
    assert!(matches!(unlock(&mutex), Err(Error::NotOwner(_))));
    drop(same.try_lock().unwrap());
}

#[test]
fn a_child_of_fork_cannot_release_its_parents_lock() {
    let test = Test::new("fork");
    let mutex = Mutex::create(test.name("m"), ()).unwrap();
    let guard = Cell::new(Some(mutex.lock().unwrap()));
    fork("child", || {
        drop(guard.take());
        assert_eq!(mutex.try_lock().map(drop), Err(Error::WouldBlock));
    })
    .join();
    let other = fork("other", || assert_eq!(mutex.try_lock().map(drop), Err(Error::WouldBlock)));
    other.join();
    drop(guard.take());
    drop(mutex.try_lock().unwrap());
}

#[test]
fn a_handle_that_is_dropped_while_held() {
    let test = Test::new("dropped");
    let mutex = Mutex::create(test.name("m"), ()).unwrap();
    let other = Mutex::create(test.name("other"), ()).unwrap();
    fork("one that forgets its guard", || {
        let held = other.lock().unwrap();
        let handle = Mutex::<()>::open(test.name("m")).unwrap();
        std::mem::forget(handle.lock().unwrap());
        drop(handle);
        // The list goes on working: what is on it, and what comes and goes.
        let third = Mutex::create(test.name("third"), ()).unwrap();
        drop(third.lock().unwrap());
        std::mem::forget(held);
    })
    .join();
    assert!(mutex.lock_timeout(LONG).unwrap().owner_died());
    assert!(other.lock_timeout(LONG).unwrap().owner_died());
}

#[test]
fn giving_up_tells_all_who_wait_and_all_who_come() {
    let test = Test::new("give up");
    let mutex = Mutex::create(test.name("m"), ()).unwrap();
    let guard = mutex.lock().unwrap();
    let waiters: Vec<Child> =
        (0..4).map(|_| fork("waiter", || assert_eq!(mutex.lock().map(drop), Err(Error::NotRecoverable)))).collect();
    waiters.iter().for_each(Child::wait_asleep);
    guard.give_up();
    waiters.into_iter().for_each(Child::join);
    for _ in 0..2 {
        assert_eq!(mutex.lock().map(drop), Err(Error::NotRecoverable));
        assert_eq!(mutex.try_lock().map(drop), Err(Error::NotRecoverable));
        assert_eq!(Mutex::<()>::open(test.name("m")).unwrap().lock_timeout(LONG).map(drop), Err(Error::NotRecoverable));
    }
}

#[test]
fn data_of_another_length_is_another_kind() {
    let test = Test::new("data");
    Mutex::create(test.name("m"), 5u64).unwrap();
    assert!(matches!(Mutex::<u32>::open(test.name("m")), Err(Error::WrongKind { .. })));
    assert!(matches!(Mutex::<[u64; 512]>::open(test.name("m")), Err(Error::WrongKind { .. })));
    assert_eq!(*Mutex::<i64>::open(test.name("m")).unwrap().lock().unwrap(), 5);
    drop(Mutex::<()>::open(test.name("m")).unwrap().lock().unwrap());
}

#[test]
fn in_a_region() {
    let test = Test::new("in a region");
    let region = Region::create(test.name("r"), 4096).unwrap();
    let mutex = unsafe { Mutex::create_in(&region, 8, 41u64) }.unwrap();
    assert!(matches!(unsafe { Mutex::create_in(&region, 8, 0u64) }, Err(Error::AlreadyExists { .. })));
    for offset in [4, 4096 - 64, 5000, usize::MAX - 7] {
        let refused = unsafe { Mutex::create_in(&region, offset, 0u64) };
        assert!(refused.is_err(), "offset {offset}");
        assert!(unsafe { Mutex::<u64>::open_in(&region, offset) }.is_err(), "offset {offset}");
    }
    fork("one that dies", || {
        let mutex = unsafe { Mutex::<u64>::open_in(&Region::open(test.name("r")).unwrap(), 8) }.unwrap();
        let mut guard = mutex.lock().unwrap();
        *guard += 1;
        std::mem::forget(guard);
    })
    .join();
    let guard = mutex.lock_timeout(LONG).unwrap();
    assert!(guard.owner_died());
    assert_eq!(*guard, 42);
}

#[test]
fn a_handle_whose_holder_has_ended_is_not_held() {
    let test = Test::new("not held");
    let (mutex, other) = (Mutex::create(test.name("m"), ()).unwrap(), Mutex::<()>::open(test.name("m")).unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| std::mem::forget(mutex.lock().unwrap()));
    });
    other.lock().unwrap().mark_consistent();
    assert!(!mutex.is_held());
}

#[test]
fn a_child_in_another_pid_namespace_cannot_use_its_parents_handle() {
    let test = Test::new("namespaces");
    let mutex = Mutex::create(test.name("m"), ()).unwrap();
    let guard = mutex.lock().unwrap();
    fork("moves its children into another namespace", || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWPID).unwrap();
        fork("child", || {
            assert!(matches!(mutex.try_lock(), Err(Error::Unsupported(_))));
            assert!(matches!(Mutex::<()>::open(test.name("m")), Err(Error::Unsupported(_))));
        })
        .join();
    })
    .join();
    drop(guard);
    assert!(!mutex.lock().unwrap().owner_died());
}
