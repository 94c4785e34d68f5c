//! Who can go on is woken, and does not find out at its next look; who cannot sleeps, and keeps nobody waiting.

mod support;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rsipc::{Endpoint, Error, Queue, QueueOptions, WaitSet};
use support::{Board, Child, LONG, Test, fork, now};

/// Those who sleep look again after 100 ms. A busy machine may delay a wake-up for as long, but not each time.
const ROUNDS: usize = 10;
const WOKEN: Duration = Duration::from_millis(50);

/// The shortest time that somebody was asleep for nothing, of several rounds.
fn shortest(round: impl Fn(usize) -> Duration) -> Duration {
    (0..ROUNDS).map(round).min().expect("there are rounds")
}

/// How often a process has been woken so far, or more.
fn switches(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.pid)).unwrap();
    let counts = status.lines().filter(|line| line.contains("ctxt_switches"));
    counts.map(|line| line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap()).sum()
}

/// Makes `owner` the owner of the lock word at this place of a file.
fn lock_for(owner: &Child, file: &Path, at: u64) {
    let file = OpenOptions::new().write(true).open(file).unwrap();
    file.write_all_at(&owner.pid.as_raw().to_le_bytes(), at).unwrap();
}

/// One that sleeps for long, as one does that was stopped.
fn stopped() -> Child {
    fork("one that was stopped", || std::thread::sleep(LONG))
}

#[test]
fn who_waits_after_the_death_of_a_lessee_sleeps() {
    let test = Test::new("after a death");
    let queue = Queue::create(test.name("q"), &QueueOptions::new()).unwrap();
    queue.send(b"x").unwrap();
    let board = Board::new(1);
    let worker = fork("worker", || {
        let queue = Queue::open(test.name("q")).unwrap();
        let _lease = queue.lease().unwrap();
        board.set(0, 1);
        std::thread::sleep(LONG);
    });
    board.wait(0, 1);
    worker.kill();
    assert_eq!(queue.recv_timeout(LONG), Ok(b"x".to_vec()));
    let waiting = fork("receiver", || drop(Queue::open(test.name("q")).unwrap().recv_timeout(LONG)));
    waiting.wait_asleep();
    std::thread::sleep(Duration::from_millis(200));
    let before = switches(&waiting);
    std::thread::sleep(Duration::from_secs(1));
    let times = switches(&waiting) - before;
    assert!(times < 100, "it was awake {times} times in a second");
}

#[test]
fn who_waits_for_a_lease_takes_no_wake_up_from_who_waits_for_room() {
    let test = Test::new("room");
    let took = shortest(|round| {
        let name = format!("q{round}");
        let queue = Queue::create(test.name(&name), &QueueOptions::new().capacity(2).leases(1)).unwrap();
        queue.send(b"0").unwrap();
        let board = Board::new(3);
        let worker = fork("worker", || {
            let queue = Queue::open(test.name(&name)).unwrap();
            let _lease = queue.lease().unwrap();
            board.set(0, 1);
            board.wait(1, 1);
            // There can be no second one.
            let _ = queue.lease_timeout(LONG);
        });
        board.wait(0, 1);
        queue.send(b"1").unwrap();
        queue.send(b"2").unwrap();
        board.set(1, 1);
        worker.wait_asleep();
        std::thread::sleep(Duration::from_millis(5));
        worker.wait_asleep();
        let sender = fork("sender", || {
            Queue::open(test.name(&name)).unwrap().send(b"3").unwrap();
            board.set(2, now());
        });
        sender.wait_asleep();
        let start = now();
        assert_eq!(queue.recv_timeout(LONG), Ok(b"1".to_vec()));
        sender.join();
        Duration::from_nanos(board.get(2).saturating_sub(start))
    });
    assert!(took < WOKEN, "the sender slept for {took:?}");
}

#[test]
fn a_lessee_that_is_on_no_table_of_peers_may_die() {
    let test = Test::new("no table");
    let queue = Queue::create(test.name("q"), &QueueOptions::new()).unwrap();
    queue.send(b"x").unwrap();
    let board = Board::new(2);
    // Somebody was stopped while it joined the others.
    let stopped = stopped();
    lock_for(&stopped, &test.dir.join("q"), 384);
    let worker = fork("worker", || {
        let queue = Queue::open(test.name("q")).unwrap();
        let _lease = queue.lease().unwrap();
        board.set(0, 1);
        std::thread::sleep(LONG);
    });
    board.wait(0, 1);
    let receiver = fork("receiver", || {
        let queue = Queue::open(test.name("q")).unwrap();
        assert_eq!(queue.try_recv(), Err(Error::WouldBlock));
        board.set(1, 1);
        assert_eq!(queue.recv_timeout(LONG), Ok(b"x".to_vec()));
    });
    board.wait(1, 1);
    receiver.wait_asleep();
    std::thread::sleep(Duration::from_millis(100));
    worker.kill();
    receiver.join();
}

#[test]
fn a_set_that_waits_to_send_is_woken_by_a_set_that_waits_to_receive() {
    let test = Test::new("sets");
    let took = shortest(|round| {
        let name = format!("q{round}");
        let _queue = Queue::create(test.name(&name), &QueueOptions::new().capacity(0)).unwrap();
        let board = Board::new(1);
        let sender = fork("sender", || {
            let queue = Queue::open(test.name(&name)).unwrap();
            assert_eq!(WaitSet::new().send(&queue).wait_timeout(LONG), Ok(vec![0]));
            board.set(0, now());
        });
        sender.wait_asleep();
        let start = now();
        let _receiver = fork("receiver", || {
            let queue = Queue::open(test.name(&name)).unwrap();
            let _ = WaitSet::new().recv(&queue).wait_timeout(LONG);
        });
        sender.join();
        Duration::from_nanos(board.get(0).saturating_sub(start))
    });
    assert!(took < WOKEN, "the sender slept for {took:?}");
}

#[test]
fn the_death_of_a_lessee_wakes_all_who_wait_whatever_they_wait_with() {
    let test = Test::new("whatever they wait with");
    let took = shortest(|round| {
        let names = ["a", "b"].map(|name| format!("{name}{round}"));
        let queues = names.each_ref().map(|name| Queue::create(test.name(name), &QueueOptions::new()).unwrap());
        queues.iter().for_each(|queue| queue.send(b"x").unwrap());
        let board = Board::new(2);
        let worker = fork("worker", || {
            let queues = names.each_ref().map(|name| Queue::open(test.name(name)).unwrap());
            let _leases = queues.each_ref().map(|queue| queue.lease().unwrap());
            board.set(0, 1);
            std::thread::sleep(LONG);
        });
        board.wait(0, 1);
        // The kernel wakes who came first.
        let set = fork("set", || {
            let queue = Queue::open(test.name(&names[0])).unwrap();
            assert_eq!(WaitSet::new().recv(&queue).wait_timeout(LONG), Ok(vec![0]));
        });
        set.wait_asleep();
        let receiver = fork("receiver", || {
            assert_eq!(Queue::open(test.name(&names[1])).unwrap().recv_timeout(LONG), Ok(b"x".to_vec()));
            board.set(1, now());
        });
        receiver.wait_asleep();
        let start = now();
        worker.kill();
        receiver.join();
        set.join();
        Duration::from_nanos(board.get(1).saturating_sub(start))
    });
    assert!(took < WOKEN, "the receiver slept for {took:?}");
}

#[test]
fn who_was_stopped_while_joining_holds_up_no_call_that_may_not_wait() {
    let test = Test::new("joining");
    drop(Endpoint::open(&test.space, &QueueOptions::new()).unwrap());
    let lives = test.files().into_iter().find(|file| file.starts_with(".lives")).unwrap();
    let stopped = stopped();
    lock_for(&stopped, &test.dir.join(lives), 8);
    fork("another", || {
        let endpoint = Endpoint::open(&test.space, &QueueOptions::new()).unwrap();
        let queue = Queue::create(test.name("q"), &QueueOptions::new()).unwrap();
        let start = Instant::now();
        for _ in 0..4 {
            assert_eq!(endpoint.try_recv().err(), Some(Error::WouldBlock));
            assert_eq!(queue.try_lease().err(), Some(Error::WouldBlock));
        }
        assert!(start.elapsed() < Duration::from_secs(4), "eight calls took {:?}", start.elapsed());
    })
    .join();
}
