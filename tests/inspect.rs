//! What an onlooker sees, and that nobody sees the onlooker.

mod support;

use rsipc::{Endpoint, Error, Inspection, Mutex, QueueOptions, Region, Semaphore, SemaphoreKind};
use rsipc::{Queue, QueueInspection};
use support::{Board, LONG, Test, fork};

fn queue(test: &Test, name: &str) -> QueueInspection {
    match test.inspect(name).unwrap() {
        Inspection::Queue(seen) => seen,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_queue_is_seen_with_those_who_use_it() {
    let test = Test::new("inspect a queue");
    let options = QueueOptions::new().capacity(8).max_message(100_000);
    let jobs = Queue::create(test.name("jobs"), &options).unwrap();
    for message in [&b"one"[..], b"two", &[7; 50_000]] {
        jobs.send(message).unwrap();
    }
    jobs.recv().unwrap();
    let lease = jobs.lease().unwrap();
    let seen = queue(&test, "jobs");
    assert_eq!((seen.capacity, seen.max_message, seen.len, seen.leased, seen.counters.sent), (Some(8), 100_000, 1, 1, 3));
    let [user] = &seen.users[..] else { panic!("{seen:?}") };
    assert_eq!((user.pid, user.is_gone, user.sends, user.receives, user.holds), (std::process::id(), false, true, true, 1));
    assert!(user.since.is_some() && !seen.is_shut_down);
    drop(lease);
    jobs.shutdown().unwrap();
    let seen = queue(&test, "jobs");
    assert_eq!((seen.len, seen.leased, seen.counters.sent, seen.is_shut_down), (2, 0, 3, true));
    assert_eq!(jobs.peers().unwrap().len(), 1);
    drop(jobs);
    assert_eq!(queue(&test, "jobs").users, []);
}

#[test]
fn what_the_dead_hold_is_seen_and_stays() {
    let test = Test::new("inspect the dead");
    let jobs = Queue::create(test.name("jobs"), &QueueOptions::new().capacity(8)).unwrap();
    let slots = Semaphore::create_permits(test.name("slots"), 3).unwrap();
    Mutex::create(test.name("table"), 0u64).unwrap();
    jobs.send(b"a job").unwrap();
    let board = Board::new(1);
    let child = fork("holds much", || {
        let queue = Queue::open(test.name("jobs")).unwrap();
        let lease = queue.lease_timeout(LONG).unwrap();
        let slots = Semaphore::open(test.name("slots")).unwrap();
        slots.acquire().unwrap();
        slots.acquire().unwrap();
        let mutex = Mutex::<u64>::open(test.name("table")).unwrap();
        let guard = mutex.lock().unwrap();
        board.set(0, 1);
        std::thread::sleep(LONG);
        drop((guard, lease));
    });
    board.wait(0, 1);
    let pid = child.pid.as_raw().cast_unsigned();
    let table = test.inspect("table").unwrap();
    assert!(
        matches!(table, Inspection::Mutex { held: true, holder: Some(tid), owner_died: false, .. } if tid == pid),
        "{table:?}"
    );
    assert!(matches!(test.inspect("slots").unwrap(), Inspection::Semaphore { value: 1, .. }));
    child.kill();
    for _ in 0..2 {
        let seen = queue(&test, "jobs");
        let dead = seen.users.iter().find(|user| user.pid == pid).unwrap();
        assert_eq!((seen.leased, seen.len, dead.is_gone, dead.holds), (1, 0, true, 1));
        match test.inspect("slots").unwrap() {
            Inspection::Semaphore { kind, value, total, users, .. } => {
                assert_eq!((kind, value, total), (SemaphoreKind::Permits, 3, Some(3)));
                assert!(users.iter().any(|user| user.pid == pid && user.is_gone && user.holds == 2));
            }
            other => panic!("{other:?}"),
        }
        let table = test.inspect("table").unwrap();
        assert!(
            matches!(table, Inspection::Mutex { held: false, holder: None, owner_died: true, given_up: false, .. }),
            "{table:?}"
        );
    }
    assert_eq!(slots.value(), Ok(3));
    assert!(jobs.lease().is_ok());
}

#[test]
fn backlogs_and_laps_are_counted() {
    let test = Test::new("inspect counts");
    let bounded = Queue::create(test.name("bounded"), &QueueOptions::new().capacity(3)).unwrap();
    let unbounded = Queue::create(test.name("unbounded"), &QueueOptions::new().unbounded().max_message(64)).unwrap();
    for number in 1..=20u64 {
        bounded.send(b"x").unwrap();
        if number > 2 {
            bounded.recv().unwrap();
        }
        let seen = queue(&test, "bounded");
        assert_eq!((seen.counters.sent, seen.len as u64), (number, number.min(2)));
    }
    for round in 1..=3 {
        for _ in 0..1000 {
            unbounded.send(b"x").unwrap();
        }
        let seen = queue(&test, "unbounded");
        assert_eq!((seen.counters.sent, seen.len, seen.capacity), (round * 1000, 1000, None));
        for _ in 0..1000 {
            unbounded.recv().unwrap();
        }
        assert_eq!(queue(&test, "unbounded").counters.sent, round * 1000);
    }
    let rendezvous = Queue::create(test.name("rendezvous"), &QueueOptions::new().capacity(0)).unwrap();
    assert_eq!((queue(&test, "rendezvous").counters.sent, rendezvous.capacity()), (0, Some(0)));
}

#[test]
fn the_other_kinds_are_seen() {
    let test = Test::new("inspect the others");
    Region::create(test.name("region"), 12_345).unwrap();
    Semaphore::create(test.name("signals"), 4).unwrap();
    assert!(matches!(test.inspect("region").unwrap(), Inspection::Region { len: 12_345, .. }));
    assert!(matches!(test.inspect("signals").unwrap(), Inspection::Semaphore { value: 4, total: None, .. }));
    let server = Endpoint::open_named(test.name("server"), &QueueOptions::new()).unwrap();
    server.send(server.address(), b"to myself").unwrap();
    let inbox = test.files().into_iter().find(|file| file.starts_with('@')).unwrap();
    for name in ["server", &inbox] {
        match test.inspect(name).unwrap() {
            Inspection::Endpoint { pid, is_gone, inbox, .. } => {
                assert_eq!((pid, is_gone, inbox.len), (std::process::id(), false, 1));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(test.inspect("missing"), Err(Error::NotFound { .. })));
    assert!(matches!(test.inspect("a/b"), Err(Error::InvalidArgument(_))));
}
