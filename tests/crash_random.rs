//! Kills processes at random moments of steady traffic, and accounts for everything afterwards.
//!
//! `RSIPC_CRASH_ROUNDS` multiplies the number of rounds.

#![allow(clippy::undocumented_unsafe_blocks, reason = "objects placed in a region are left the bytes that are theirs")]

mod support;

use std::time::{Duration, Instant};

use rsipc::{Error, Mutex, Queue, QueueOptions, Region, Semaphore};
use support::{Board, Child, LONG, Random, Test, fork, message, now, number};

fn rounds(usual: u64) -> u64 {
    usual * std::env::var("RSIPC_CRASH_ROUNDS").ok().and_then(|factor| factor.parse().ok()).unwrap_or(1)
}

fn limit() -> Duration {
    Duration::from_secs(120 * rounds(1))
}

/// A different one in each run; printed when the test fails.
fn random() -> Random {
    let seed = now() | 1;
    println!("seed {seed}");
    Random(seed)
}

fn pause(random: &mut Random, most_micros: u64) {
    let micros = random.below(most_micros);
    let end = Instant::now() + Duration::from_micros(micros);
    if micros > 200 {
        std::thread::sleep(Duration::from_micros(micros - 100));
    }
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

/// A message's number says whose it is: the sender's in these bits, and above them how many it sent before.
const SENDERS: u64 = 4096;

/// The queues that take turns.
const KINDS: u64 = 7;

fn kind(round: u64) -> QueueOptions {
    let options = QueueOptions::new();
    match round % KINDS {
        0 => options.capacity(0),
        1 => options.unbounded(),
        n => options.capacity([1, 2, 3, 8, 64][n as usize - 2]),
    }
}

#[test]
fn senders_and_receivers_of_a_queue() {
    const VICTIMS: u64 = 6;
    let test = Test::lasting("killing senders and receivers", limit());
    let mut random = random();
    for round in 0..rounds(250) {
        let len = [0, 40, 100, 3000, 6000][(round / KINDS % 5) as usize];
        let queue = Queue::create(test.name("q"), &kind(round).max_message(len.max(8))).unwrap();
        // For each sender: how many it was about to send, and how many it sent. Behind them, for each receiver what it took, as a count of
        // calls it was in and out of, and how often each message was received.
        const MOST: usize = 4000;
        let sent = Board::new(2 * VICTIMS as usize * 2);
        let taken = Board::new(MOST * VICTIMS as usize * 2);
        let mut count = 0;
        let slot = |number: u64| (number % SENDERS) as usize * MOST + (number / SENDERS) as usize;
        let note = |number: u64, last: &mut [Option<u64>]| {
            let (sender, index) = ((number % SENDERS) as usize, number / SENDERS);
            assert!(last[sender] < Some(index), "{index} of sender {sender} after {:?}", last[sender]);
            last[sender] = Some(index);
            assert_eq!(taken.add(slot(number), 1), 0, "message {number} came twice");
        };
        let mut children: Vec<(bool, Child)> = vec![];
        let mut killed_receivers = 0;
        let survivor = fork("the surviving receiver", || {
            let mut last = [None; 2 * VICTIMS as usize];
            loop {
                match queue.recv_timeout(LONG) {
                    Ok(bytes) => note(number(&bytes), &mut last),
                    Err(Error::Closed) => return,
                    Err(e) => panic!("{e}"),
                }
            }
        });
        let start = |is_sender: bool, sender: u64| {
            if is_sender {
                fork("sender", || {
                    for i in 0..MOST as u64 {
                        sent.set(2 * sender as usize, i + 1);
                        queue.send_timeout(&message(i * SENDERS + sender, len), LONG).unwrap();
                        sent.set(2 * sender as usize + 1, i + 1);
                    }
                })
            } else {
                fork("receiver", || {
                    let mut last = [None; 2 * VICTIMS as usize];
                    loop {
                        match queue.recv_timeout(LONG) {
                            Ok(bytes) => note(number(&bytes), &mut last),
                            Err(Error::Closed) => return,
                            Err(e) => panic!("{e}"),
                        }
                    }
                })
            }
        };
        for is_sender in [true, true, false] {
            children.push((is_sender, start(is_sender, count)));
            count += u64::from(is_sender);
        }
        for _ in 0..VICTIMS {
            pause(&mut random, 800);
            let (is_sender, victim) = children.swap_remove(random.below(children.len() as u64) as usize);
            victim.kill();
            killed_receivers += u64::from(!is_sender);
            children.push((is_sender, start(is_sender, count)));
            count += u64::from(is_sender);
        }
        for (_, sender) in children.iter().filter(|(is_sender, _)| *is_sender) {
            sender.kill();
        }
        queue.shutdown().unwrap();
        survivor.join();
        children.into_iter().filter(|(is_sender, _)| !is_sender).for_each(|(_, receiver)| receiver.join());
        assert_eq!(queue.try_recv(), Err(Error::Closed));
        assert_eq!(queue.peers().unwrap().len(), 1);
        // Each message whose send returned was received, but for one for each receiver that was killed.
        let mut lost = 0;
        for sender in 0..count {
            let (intended, accepted) = (sent.get(2 * sender as usize), sent.get(2 * sender as usize + 1));
            for i in 0..MOST as u64 {
                let received = taken.get(slot(i * SENDERS + sender));
                assert!(received <= 1);
                assert!(received == 0 || i < intended, "message {i} of sender {sender} was received and not sent");
                lost += u64::from(received == 0 && i < accepted);
            }
        }
        assert!(lost <= killed_receivers, "{lost} messages are lost, and {killed_receivers} receivers were killed");
        test.unlink("q").unwrap();
    }
}

#[test]
fn senders_to_workers_that_take_on_lease() {
    const VICTIMS: u64 = 8;
    const LEASES: usize = 6;
    const MOST: usize = 3000;
    let test = Test::lasting("killing senders and workers", limit());
    let mut random = random();
    for round in 0..rounds(120) {
        let len = [40, 6000][(round / KINDS % 2) as usize];
        let queue = Queue::create(test.name("q"), &kind(round).max_message(len).leases(LEASES)).unwrap();
        // For each sender: how many it was about to send, and how many it sent. How often each message was worked on, and how
        // often it was handed out again.
        let sent = Board::new(2 * (2 * VICTIMS as usize + 2));
        let done = Board::new(MOST * (VICTIMS as usize + 2));
        let slot = |number: u64| (number % SENDERS) as usize * MOST + (number / SENDERS) as usize;
        let start = |is_sender: bool, sender: u64| {
            if is_sender {
                fork("sender", || {
                    for i in 0..MOST as u64 {
                        sent.set(2 * sender as usize, i + 1);
                        queue.send_timeout(&message(i * SENDERS + sender, len), LONG).unwrap();
                        sent.set(2 * sender as usize + 1, i + 1);
                    }
                })
            } else {
                fork("worker", || {
                    loop {
                        let lease = queue.lease_timeout(LONG).unwrap();
                        let number = number(lease.message());
                        if number % 16 == 3 && lease.deliveries() == 1 {
                            lease.give_back().unwrap();
                        } else {
                            done.add(slot(number), 1);
                            lease.finish().unwrap();
                        }
                    }
                })
            }
        };
        let (mut children, mut count) = (vec![], 0);
        for is_sender in [true, true, false, false] {
            children.push((is_sender, start(is_sender, count)));
            count += u64::from(is_sender);
        }
        for _ in 0..VICTIMS {
            pause(&mut random, 800);
            let (is_sender, victim) = children.swap_remove(random.below(children.len() as u64) as usize);
            assert!(is_sender || victim.is_alive(), "round {round}: a worker found something wrong");
            victim.kill();
            children.push((is_sender, start(is_sender, count)));
            count += u64::from(is_sender);
        }
        children.iter().for_each(|(_, child)| child.kill());
        // What is left, and what the dead had on lease. A rendezvous has only the latter.
        loop {
            match queue.lease_timeout(Duration::from_millis(2)) {
                Ok(lease) => {
                    done.add(slot(number(lease.message())), 1);
                    lease.finish().unwrap();
                }
                Err(Error::TimedOut) => break,
                Err(e) => panic!("round {round}: {e}"),
            }
        }
        assert_eq!(queue.len(), Ok(0), "round {round}");
        for sender in 0..count {
            let (intended, accepted) = (sent.get(2 * sender as usize), sent.get(2 * sender as usize + 1));
            for i in 0..MOST as u64 {
                let times = done.get(slot(i * SENDERS + sender));
                assert!(times > 0 || i >= accepted, "round {round}: message {i} of sender {sender} is lost");
                assert!(times == 0 || i < intended, "message {i} of sender {sender} was received and not sent");
                assert!(times <= 1 + VICTIMS + 2, "message {i} of sender {sender} was worked on {times} times");
            }
        }
        // As many can be out on lease as before.
        std::thread::scope(|scope| {
            scope.spawn(|| (0..LEASES).for_each(|_| queue.send_timeout(&message(1, len), LONG).unwrap()));
            let leases: Vec<_> = (0..LEASES).map(|_| queue.lease_timeout(LONG).unwrap()).collect();
            leases.into_iter().for_each(|lease| lease.finish().unwrap());
        });
        assert_eq!(queue.peers().unwrap().len(), 1);
        test.unlink("q").unwrap();
    }
}

#[test]
fn owners_of_a_mutex() {
    let test = Test::lasting("killing owners", limit());
    let mut random = random();
    let mutex = Mutex::create(test.name("m"), [0u64; 4]).unwrap();
    // The number of changes that survivors saw completed; how often somebody was told.
    let board = Board::new(2);
    let work = |mutex: &Mutex<[u64; 4]>| {
        let mut guard = mutex.lock_timeout(LONG).unwrap();
        if guard.owner_died() {
            let whole = guard[0];
            *guard = [whole; 4];
            board.add(1, 1);
            guard.mark_consistent();
        }
        let seen = *guard;
        assert_eq!(seen, [seen[0]; 4], "half a change, and nobody was told");
        for i in 0..4 {
            // SAFETY: the number is the guard's; volatile, so that a death finds it half done.
            unsafe { (&raw mut guard[i]).write_volatile(seen[i] + 1) };
            std::hint::spin_loop();
        }
        drop(guard);
        board.add(0, 1);
    };
    let start = || {
        fork("owner", || {
            let mutex = Mutex::open(test.name("m")).unwrap();
            loop {
                work(&mutex);
            }
        })
    };
    let mut children = [start(), start(), start()];
    for _ in 0..rounds(1500) {
        pause(&mut random, 400);
        let victim = random.below(3) as usize;
        children[victim].kill();
        let before = board.get(0);
        work(&mutex);
        assert!(board.get(0) > before);
        children[victim] = start();
    }
    assert!(children.iter().all(Child::is_alive), "an owner found something wrong");
    drop(children);
    let guard = mutex.lock_timeout(LONG).unwrap();
    // Each change that was counted was made; each death leaves at most one that was made and not counted.
    assert!(guard[0] >= board.get(0) && guard[0] <= board.get(0) + rounds(1500) + 3, "{:?} {}", *guard, board.get(0));
    assert!(board.get(1) > 0, "no death was hit in {} rounds", rounds(1500));
}

#[test]
fn holders_of_permits() {
    const PERMITS: u32 = 3;
    let test = Test::lasting("killing holders", limit());
    let mut random = random();
    let permits = Semaphore::create_permits(test.name("p"), PERMITS).unwrap();
    let board = Board::new(1);
    let start = || {
        fork("holder", || {
            let permits = Semaphore::open(test.name("p")).unwrap();
            loop {
                permits.acquire_timeout(LONG).unwrap();
                board.add(0, 1);
                permits.release().unwrap();
            }
        })
    };
    let mut children: Vec<Child> = (0..4).map(|_| start()).collect();
    for _ in 0..rounds(700) {
        pause(&mut random, 600);
        let victim = random.below(4) as usize;
        children[victim].kill();
        permits.acquire_timeout(LONG).unwrap();
        permits.release().unwrap();
        children[victim] = start();
    }
    assert!(children.iter().all(Child::is_alive), "a holder found something wrong");
    drop(children);
    assert_eq!(permits.value(), Ok(PERMITS), "all come back");
    (0..PERMITS).for_each(|_| permits.try_acquire().unwrap());
    assert_eq!(permits.try_acquire(), Err(Error::WouldBlock));
    assert!(board.get(0) > 0);
}

#[test]
fn givers_and_takers_of_units() {
    let test = Test::lasting("killing givers and takers", limit());
    let mut random = random();
    let semaphore = Semaphore::create(test.name("s"), 0).unwrap();
    // Released: intended, done. Acquired: intended, done.
    let board = Board::new(4);
    let start = |gives: bool| {
        fork(if gives { "giver" } else { "taker" }, || {
            loop {
                let at = if gives { 0 } else { 2 };
                board.add(at, 1);
                if gives {
                    semaphore.release().unwrap();
                } else {
                    semaphore.acquire_timeout(LONG).unwrap();
                }
                board.add(at + 1, 1);
            }
        })
    };
    let mut children: Vec<(bool, Child)> = [true, false, false].map(|gives| (gives, start(gives))).into();
    for _ in 0..rounds(1000) {
        pause(&mut random, 300);
        let victim = random.below(3) as usize;
        let gives = children[victim].0;
        children[victim].1.kill();
        children[victim].1 = start(gives);
        // Whoever waits still gets what is given.
        semaphore.release().unwrap();
        semaphore.acquire_timeout(LONG).unwrap();
    }
    assert!(children.iter().all(|(_, child)| child.is_alive()), "one found something wrong");
    drop(children);
    let value = u64::from(semaphore.value().unwrap());
    let least = board.get(1).saturating_sub(board.get(2));
    let most = board.get(0) - board.get(3);
    assert!((least..=most).contains(&value), "{value} units are left, and not {least} to {most}");
}

#[test]
fn creators() {
    let test = Test::lasting("killing creators", limit());
    let mut random = random();
    for round in 0..rounds(700) {
        let board = Board::new(1);
        let creators: Vec<Child> = (0..2)
            .map(|_| {
                fork("creator", || {
                    board.add(0, 1);
                    loop {
                        let queue =
                            Queue::open_or_create(test.name("q"), &QueueOptions::new().capacity(2).max_message(8)).unwrap();
                        let _ = queue.try_send(b"x");
                        Region::open_or_create(test.name("r"), 10_000).unwrap().grow(20_000).unwrap();
                        Mutex::open_or_create(test.name("m"), 5u64).unwrap();
                        let permits = Semaphore::open_or_create_permits(test.name("p"), 1).unwrap();
                        let _ = permits.try_acquire();
                        for name in ["q", "r", "m", "p"] {
                            let _ = test.unlink(name);
                        }
                    }
                })
            })
            .collect();
        board.wait(0, 1);
        pause(&mut random, 1500);
        assert!(creators.iter().all(Child::is_alive), "round {round}: a creator found something wrong");
        drop(creators);
        // Each name is there whole, or free.
        let listed: Vec<String> = test.list().unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(listed, test.files(), "files that are no objects");
        let queue = Queue::open_or_create(test.name("q"), &QueueOptions::new().capacity(2).max_message(8)).unwrap();
        while queue.try_recv().is_ok() {}
        queue.try_send(b"1").unwrap();
        queue.try_send(b"2").unwrap();
        assert_eq!(queue.try_recv().unwrap(), b"1");
        let region = Region::open_or_create(test.name("r"), 10_000).unwrap();
        unsafe { region.view().unwrap().write(9_999, b"x") }.unwrap();
        assert_eq!(*Mutex::open_or_create(test.name("m"), 5u64).unwrap().lock_timeout(LONG).unwrap(), 5);
        let permits = Semaphore::open_or_create_permits(test.name("p"), 1).unwrap();
        permits.acquire_timeout(LONG).unwrap();
        permits.release().unwrap();
        for name in ["q", "r", "m", "p"] {
            test.unlink(name).unwrap();
        }
        assert_eq!(test.files(), Vec::<String>::new(), "round {round}");
    }
}
