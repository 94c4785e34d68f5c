//! What an object counts. Messages and bytes are exact, and so are waits where one process waits alone; the wake-ups of a wait
//! are at least none and at most one, since it may find the message before it sleeps, or between two sleeps.

mod support;

use std::time::Duration;

use rsipc::{Batch, Counters, Endpoint, Error, Inspection, Mutex, Queue, QueueOptions, Semaphore, WaitSet};
use support::{Board, LONG, Test, fork, wait_for};

const SHORT: Duration = Duration::from_millis(1);

/// Messages and bytes.
fn passed(counters: Counters) -> (u64, u64, u64, u64) {
    (counters.sent, counters.received, counters.bytes_sent, counters.bytes_received)
}

/// Makes an attempt that waits until its time has passed. On a slow machine that may be before it sleeps: then it makes another one.
fn wait_once(counters: impl Fn() -> rsipc::Result<Counters>, attempt: impl Fn()) {
    let before = counters().unwrap().waits;
    while counters().unwrap().waits == before {
        attempt();
    }
    assert_eq!(counters().unwrap().waits, before + 1);
}

fn inspected(test: &Test, name: &str) -> Counters {
    match test.inspect(name).unwrap() {
        Inspection::Queue(seen) => seen.counters,
        Inspection::Endpoint { inbox, .. } => inbox.counters,
        Inspection::Mutex { counters, .. } | Inspection::Semaphore { counters, .. } => counters,
        other => panic!("{other:?}"),
    }
}

#[test]
fn messages_and_bytes_of_all_lengths_are_counted_in_any_queue() {
    let test = Test::new("counters of queues");
    for (name, options) in [("bounded", QueueOptions::new().capacity(7)), ("unbounded", QueueOptions::new().unbounded())] {
        let queue = Queue::create(test.name(name), &options.max_message(100_000)).unwrap();
        assert_eq!(queue.counters(), Ok(Counters::default()));
        let (mut messages, mut bytes) = (0, 0);
        for round in 0..100 {
            // Short ones are in slots, long ones in blocks, or all in the log.
            let lengths = [0, 1, 100, round, 50_000, 3, 7];
            for len in lengths {
                queue.send(&vec![7; len]).unwrap();
            }
            messages += lengths.len() as u64;
            let now = bytes + lengths.iter().sum::<usize>() as u64;
            assert_eq!(passed(queue.counters().unwrap()), (messages, messages - 7, now, bytes));
            bytes = now;
            let mut batch = Batch::new();
            match round % 3 {
                0 => lengths.iter().for_each(|&len| assert_eq!(queue.recv().unwrap().len(), len)),
                1 => {
                    let mut taken = 0;
                    while taken < lengths.len() {
                        taken += queue.recv_many(&mut batch, 3).unwrap();
                    }
                }
                _ => lengths.iter().for_each(|&len| assert_eq!(queue.recv_view().unwrap().len(), len)),
            }
            assert_eq!(passed(queue.counters().unwrap()), (messages, messages, bytes, bytes), "{name}, round {round}");
        }
        // In batches; one that does not fit in whole counts as far as it does.
        queue.send_many(&[b"12345"; 7]).unwrap();
        assert_eq!(passed(queue.counters().unwrap()), (messages + 7, messages, bytes + 35, bytes));
        let sent = queue.try_send_many(&[b"1"; 7]).unwrap_or(0) as u64;
        assert_eq!(passed(queue.counters().unwrap()), (messages + 7 + sent, messages, bytes + 35 + sent, bytes));
        // What could not be sent does not count.
        queue.send(&vec![0; 100_001]).unwrap_err();
        assert_eq!(passed(queue.counters().unwrap()), (messages + 7 + sent, messages, bytes + 35 + sent, bytes));
        let counters = queue.counters().unwrap();
        assert_eq!((counters.recoveries, counters.deaths, inspected(&test, name)), (0, 0, counters));
    }
}

#[test]
fn loans_and_leases_are_counted_once() {
    let test = Test::new("counters of leases");
    for (name, options) in [("bounded", QueueOptions::new()), ("rendezvous", QueueOptions::new().capacity(0))] {
        let queue = Queue::create(test.name(name), &options.max_message(10_000)).unwrap();
        let receiver = fork("receives", || {
            let queue = Queue::open(test.name(name)).unwrap();
            queue.lease_timeout(LONG).unwrap().give_back().unwrap();
            let lease = queue.lease_timeout(LONG).unwrap();
            assert_eq!(lease.deliveries(), 2);
            lease.finish().unwrap();
            assert_eq!(queue.recv_timeout(LONG).unwrap().len(), 30);
        });
        queue.send_timeout(b"a job", LONG).unwrap();
        let mut loan = queue.loan(10_000).unwrap();
        loan.write(0, &[1; 30]).unwrap();
        loan.truncate(30);
        loan.send_timeout(LONG).unwrap();
        receiver.join();
        assert_eq!(passed(queue.counters().unwrap()), (2, 2, 35, 35), "{name}");
        // An offer that nobody takes was not sent.
        if queue.capacity() == Some(0) {
            assert_eq!(queue.try_send(b"nobody"), Err(Error::WouldBlock));
            assert_eq!(queue.send_timeout(b"nobody", SHORT), Err(Error::TimedOut));
            assert_eq!(passed(queue.counters().unwrap()), (2, 2, 35, 35));
        }
    }
}

#[test]
fn an_endpoint_counts_what_comes_in() {
    let test = Test::new("counters of an endpoint");
    let server = Endpoint::open_named(test.name("server"), &QueueOptions::new()).unwrap();
    let client = Endpoint::open(&test.space, &QueueOptions::new()).unwrap();
    let address = client.find("server").unwrap();
    client.send(address, b"12345").unwrap();
    client.send(address, &[0; 3000]).unwrap();
    assert_eq!(server.recv().unwrap().bytes(), b"12345");
    // Without what says who sent it.
    assert_eq!(passed(server.counters().unwrap()), (2, 1, 3005, 5));
    assert_eq!(inspected(&test, "server"), server.counters().unwrap());
    assert_eq!(client.counters(), Ok(Counters::default()));
}

/// Each wait counts once however long it lasts, before it is over.
#[test]
fn waits_and_wakeups_are_counted() {
    const ROUNDS: u64 = 20;
    let test = Test::new("counters of waits");
    for (name, options) in [
        ("bounded", QueueOptions::new()),
        ("unbounded", QueueOptions::new().unbounded()),
        ("rendezvous", QueueOptions::new().capacity(0)),
    ] {
        let queue = Queue::create(test.name(name), &options).unwrap();
        let receiver = fork("receives", || {
            let queue = Queue::open(test.name(name)).unwrap();
            for _ in 0..ROUNDS {
                queue.recv_timeout(LONG).unwrap();
            }
        });
        for round in 0..ROUNDS {
            wait_for("a wait", || queue.counters().unwrap().waits > round);
            receiver.wait_asleep();
            if round == 0 {
                // It looks around every 100 ms, which is the same wait.
                std::thread::sleep(Duration::from_millis(250));
                assert_eq!(queue.counters().unwrap(), only_waits(1), "{name}");
            }
            queue.send(b"x").unwrap();
        }
        receiver.join();
        let counters = queue.counters().unwrap();
        // In a rendezvous the sender may have waited, too, until its message was taken.
        let most = if queue.capacity() == Some(0) { 2 * ROUNDS } else { ROUNDS };
        assert!((ROUNDS..=most).contains(&counters.waits) && counters.wakeups >= 1, "{name}: {counters:?}");
        assert_eq!((counters.recoveries, counters.deaths), (0, 0));
    }
}

#[test]
fn one_that_waits_for_room_is_counted() {
    let test = Test::new("counters of senders");
    let queue = Queue::create(test.name("full"), &QueueOptions::new().capacity(1)).unwrap();
    queue.send(b"1").unwrap();
    assert_eq!((queue.try_send(b"2"), queue.counters().unwrap().waits), (Err(Error::WouldBlock), 0));
    for waits in 1..=3 {
        let attempt = || assert_eq!(queue.send_timeout(b"2", Duration::from_millis(30)), Err(Error::TimedOut));
        wait_once(|| queue.counters(), attempt);
        let counters = queue.counters().unwrap();
        assert_eq!((counters.waits, counters.wakeups, counters.sent), (waits, 0, 1));
    }
}

#[test]
fn a_set_waits_for_each_of_its_objects() {
    let test = Test::new("counters of sets");
    let queue = Queue::create(test.name("queue"), &QueueOptions::new()).unwrap();
    let signals = Semaphore::create(test.name("signals"), 0).unwrap();
    let permits = Semaphore::create_permits(test.name("permits"), 0).unwrap();
    let set = WaitSet::new().recv(&queue).acquire(&signals).acquire(&permits);
    assert_eq!(set.try_wait(), Err(Error::WouldBlock));
    assert_eq!(queue.counters().unwrap().waits, 0);
    let attempt = || assert_eq!(set.wait_timeout(Duration::from_millis(250)), Err(Error::TimedOut));
    wait_once(|| queue.counters(), attempt);
    for counters in [queue.counters(), signals.counters(), permits.counters()] {
        assert_eq!(counters, Ok(only_waits(1)));
    }
    let waiter = fork("waits", || {
        let (queue, signals) = (Queue::open(test.name("queue")).unwrap(), Semaphore::open(test.name("signals")).unwrap());
        assert_eq!(WaitSet::new().recv(&queue).acquire(&signals).wait_timeout(LONG), Ok(vec![1]));
    });
    wait_for("a wait", || signals.counters().unwrap().waits == 2);
    waiter.wait_asleep();
    signals.release().unwrap();
    waiter.join();
    assert_eq!((queue.counters().unwrap().waits, permits.counters().unwrap().waits), (2, 1));
    assert_eq!(queue.counters().unwrap().wakeups, 0);
    assert!(signals.counters().unwrap().wakeups <= 1);
}

/// Nothing but so many waits.
fn only_waits(waits: u64) -> Counters {
    let mut counters = Counters::default();
    counters.waits = waits;
    counters
}

#[test]
fn semaphores_count_waits_and_permits_that_come_back() {
    let test = Test::new("counters of semaphores");
    let signals = Semaphore::create(test.name("signals"), 1).unwrap();
    signals.acquire().unwrap();
    assert_eq!(signals.counters(), Ok(Counters::default()));
    let attempt = || assert_eq!(signals.acquire_timeout(Duration::from_millis(30)), Err(Error::TimedOut));
    wait_once(|| signals.counters(), attempt);
    assert_eq!(signals.counters(), Ok(only_waits(1)));
    assert_eq!(inspected(&test, "signals"), signals.counters().unwrap());

    let permits = Semaphore::create_permits(test.name("permits"), 2).unwrap();
    let board = Board::new(1);
    let holder = fork("holds permits", || {
        let permits = Semaphore::open(test.name("permits")).unwrap();
        permits.acquire().unwrap();
        permits.acquire().unwrap();
        board.set(0, 1);
        std::thread::sleep(LONG);
    });
    board.wait(0, 1);
    let attempt = || assert_eq!(permits.acquire_timeout(Duration::from_millis(250)), Err(Error::TimedOut));
    wait_once(|| permits.counters(), attempt);
    assert_eq!(permits.counters(), Ok(only_waits(1)));
    holder.kill();
    assert_eq!(permits.value(), Ok(2));
    let counters = permits.counters().unwrap();
    assert_eq!((counters.recoveries, counters.deaths), (1, 1));
    assert_eq!(permits.value(), Ok(2));
    assert_eq!(inspected(&test, "permits"), permits.counters().unwrap());
}

#[test]
fn a_mutex_counts_its_dead_owners() {
    let test = Test::new("counters of a mutex");
    let mutex = Mutex::create(test.name("table"), 0u64).unwrap();
    drop(mutex.lock().unwrap());
    let board = Board::new(1);
    for deaths in 1..=3 {
        let owner = fork("holds the mutex", || {
            let mutex = Mutex::<u64>::open(test.name("table")).unwrap();
            let guard = mutex.lock().unwrap();
            board.set(0, deaths);
            std::thread::sleep(LONG);
            drop(guard);
        });
        board.wait(0, deaths);
        let attempt = || assert_eq!(mutex.lock_timeout(Duration::from_millis(30)).map(drop), Err(Error::TimedOut));
        wait_once(|| mutex.counters(), attempt);
        owner.kill();
        // The kernel has freed it, and nobody has come upon that yet.
        assert_eq!(mutex.counters().unwrap().deaths, deaths - 1);
        let mut guard = mutex.lock().unwrap();
        guard.mark_consistent();
        drop(guard);
        drop(mutex.lock().unwrap());
        let counters = mutex.counters().unwrap();
        assert_eq!((counters.waits, counters.recoveries, counters.deaths, counters.sent), (deaths, deaths, deaths, 0));
    }
    // One that sleeps while the owner dies is woken by the kernel.
    let owner = fork("holds the mutex", || {
        let mutex = Mutex::<u64>::open(test.name("table")).unwrap();
        let guard = mutex.lock().unwrap();
        board.set(0, 4);
        std::thread::sleep(LONG);
        drop(guard);
    });
    board.wait(0, 4);
    let next = fork("waits for the mutex", || {
        assert!(Mutex::<u64>::open(test.name("table")).unwrap().lock_timeout(LONG).unwrap().owner_died());
    });
    wait_for("a wait", || mutex.counters().unwrap().waits == 4);
    next.wait_asleep();
    owner.kill();
    next.join();
    let counters = mutex.counters().unwrap();
    assert_eq!((counters.waits, counters.recoveries, counters.deaths), (4, 4, 4));
    assert!(counters.wakeups <= 1);
    assert_eq!(inspected(&test, "table"), counters);
}

#[test]
fn messages_that_come_back_from_the_dead_are_recoveries() {
    let test = Test::new("counters of recoveries");
    for (name, options) in [("bounded", QueueOptions::new()), ("unbounded", QueueOptions::new().unbounded())] {
        let queue = Queue::create(test.name(name), &options.max_message(10_000)).unwrap();
        for _ in 0..3 {
            queue.send(b"a job").unwrap();
        }
        let board = Board::new(1);
        let worker = fork("works", || {
            let queue = Queue::open(test.name(name)).unwrap();
            let leases = [queue.lease().unwrap(), queue.lease().unwrap()];
            // An unbounded queue lends no memory.
            let loan = queue.loan(10_000).ok();
            board.set(0, 1);
            std::thread::sleep(LONG);
            drop((leases, loan));
        });
        board.wait(0, 1);
        worker.kill();
        assert_eq!(queue.counters().unwrap().deaths, 0);
        for _ in 0..3 {
            queue.recv_timeout(LONG).unwrap();
        }
        assert_eq!(queue.try_recv(), Err(Error::WouldBlock));
        // Two messages, and the memory for one where it was lent, all of one process.
        let counters = queue.counters().unwrap();
        let recoveries = if queue.capacity().is_some() { 3 } else { 2 };
        assert_eq!((counters.recoveries, counters.deaths), (recoveries, 1), "{name}");
        assert_eq!(passed(counters), (3, 3, 15, 15));
    }
}
