//! Unbounded queues: what holds for every queue, and that senders never wait, and memory grows and comes back.

mod queues;
mod support;

use std::fs::File;
use std::process::Command;

use nix::fcntl::posix_fallocate;
use nix::sys::signal::Signal;
use nix::sys::statvfs::statvfs;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use rsipc::{Error, Namespace, Queue, QueueOptions};
use support::{Board, Child, LONG, Random, Test, fork, message, number, wait_for};

fn options() -> QueueOptions {
    QueueOptions::new().unbounded().max_message(100)
}

queues::cases! { options();
    messages_come_out_in_order_between_processes each_message_goes_to_exactly_one_receiver threads_share_one_handle
    every_length_from_none_to_the_longest receiving_into_a_buffer a_receiver_waits_for_ever_not_at_all_or_for_a_time
    one_message_wakes_one_of_many_and_none_stays_behind shutdown_wakes_all_receivers what_is_accepted_during_a_shutdown_is_received
    a_wait_ends_with_the_last_sender_if_asked_to what_the_last_sender_sent_is_received_before_its_end
    peers_tell_who_has_it_open_and_what_for a_child_of_fork_uses_its_parents_handle
    a_stopped_receiver_holds_up_nobody_while_it_waits
}

queues::cases! { options().unbounded_within(4 << 20);
    in_a_region
}

#[test]
fn a_million_messages_wait_and_their_memory_comes_back() {
    const COUNT: u64 = 1_000_000;
    let test = Test::new("a million");
    let queue = Queue::create(test.name("q"), &options()).unwrap();
    assert_eq!(queue.capacity(), None);
    let memory = || test.list().unwrap()[0].memory;
    let before = memory();
    let mut bytes = [0u8; 64];
    for i in 0..COUNT {
        bytes[..8].copy_from_slice(&i.to_le_bytes());
        queue.send(&bytes).unwrap();
    }
    assert_eq!(queue.len(), Ok(COUNT as usize));
    assert!(memory() - before < (COUNT as usize * 80 + (2 << 20)) as u64);
    for i in 0..COUNT {
        assert_eq!(queue.recv_into(&mut bytes), Ok(64));
        assert_eq!(bytes[..8], i.to_le_bytes());
    }
    assert_eq!(queue.try_recv(), Err(Error::WouldBlock));
    assert!(memory() < before + (4 << 20), "{} bytes stay", memory());
}

#[test]
fn steady_traffic_behind_a_small_backlog_takes_no_more_memory() {
    let test = Test::new("steady");
    let queue = Queue::create(test.name("q"), &options()).unwrap();
    let memory = || test.list().unwrap()[0].memory;
    let (mut sent, mut received) = (0, 0);
    let before = memory();
    while sent < 200_000 {
        queue.send(&message(sent, 90)).unwrap();
        sent += 1;
        if sent - received > 2000 {
            assert_eq!(number(&queue.recv().unwrap()), received);
            received += 1;
        }
        if sent % 20_000 == 0 {
            assert!(memory() < before + (2 << 20), "{} bytes are in use for {} messages", memory() - before, sent - received);
        }
    }
}

#[test]
fn a_backlog_comes_and_goes_many_times() {
    let test = Test::new("comes and goes");
    let queue = Queue::create(test.name("q"), &options().max_message(5000).unbounded_within(8 << 20)).unwrap();
    let mut random = Random(5);
    let (mut sent, mut received) = (0, 0);
    for round in 0..60 {
        // Up to more than a mebibyte, and down to some of it, or to nothing.
        for _ in 0..random.below(900) {
            queue.send(&message(sent, [20, 90, 4900][random.below(3) as usize])).unwrap();
            sent += 1;
        }
        assert_eq!(queue.len().unwrap() as u64, sent - received);
        let left = if round % 5 == 0 { 0 } else { random.below(300).min(sent - received) };
        while sent - received > left {
            assert_eq!(number(&queue.recv().unwrap()), received);
            received += 1;
        }
        let counters = queue.counters().unwrap();
        assert_eq!((counters.sent, counters.received), (sent, received));
    }
}

#[test]
fn order_is_kept_between_ring_and_log() {
    let test = Test::new("ring and log");
    let queue = Queue::create(test.name("q"), &options().max_message(300)).unwrap();
    let sender = fork("sender", || {
        let mut random = Random(7);
        let mut i = 0;
        while i < 200_000 {
            // Now more than the ring has room for at once, now less.
            for _ in 0..random.below(600) {
                queue.send(&message(i, (i % 90) as usize)).unwrap();
                i += 1;
            }
            if random.below(2) == 0 {
                std::thread::yield_now();
            }
        }
        queue.shutdown().unwrap();
    });
    let mut random = Random(8);
    let mut next = 0;
    loop {
        match queue.recv_timeout(LONG) {
            Ok(bytes) => assert_eq!(number(&bytes), next),
            Err(Error::Closed) => break,
            Err(e) => panic!("{e}"),
        }
        next += 1;
        if random.below(700) == 0 {
            std::thread::yield_now();
        }
    }
    sender.join();
    assert!(next >= 200_000);
}

#[test]
fn the_log_goes_around_its_addresses() {
    let test = Test::new("around");
    let queue = Queue::create(test.name("q"), &QueueOptions::new().unbounded_within(1 << 20).max_message(200_000)).unwrap();
    let mut random = Random(78);
    let (mut sent, mut received) = (0u64, 0u64);
    let mut limited = 0;
    for _ in 0..400 {
        for _ in 0..random.below(20) {
            let len = [10, 1000, 30_000, 200_000][random.below(4) as usize];
            match queue.send(&message(sent, random.below(len) as usize)) {
                Ok(()) => sent += 1,
                Err(Error::LimitReached(_)) => {
                    limited += 1;
                    break;
                }
                Err(e) => panic!("{e}"),
            }
        }
        assert_eq!(queue.len().unwrap() as u64, sent - received);
        for _ in 0..random.below(20).min(sent - received) {
            assert_eq!(number(&queue.recv().unwrap()), received);
            received += 1;
        }
    }
    assert!(limited > 0 && sent > 1000, "{limited} {sent}");
}

#[test]
fn at_its_limit_a_queue_says_so_and_keeps_everything() {
    let test = Test::new("limit");
    let queue = Queue::create(test.name("q"), &options().unbounded_within(100_000)).unwrap();
    for _ in 0..3 {
        let mut sent = 0;
        let refused = loop {
            match queue.send(&message(sent, 84)) {
                Ok(()) => sent += 1,
                Err(e) => break e,
            }
        };
        assert!(matches!(refused, Error::LimitReached(_)), "{refused}");
        // Those that are not in the ring take 112 bytes each.
        assert!((256 + 880..=256 + 892).contains(&sent), "{sent}");
        assert!(matches!(queue.send_timeout(b"x", LONG), Ok(()) | Err(Error::LimitReached(_))));
        let more = queue.len().unwrap() as u64 - sent;
        assert!(more <= 1);
        (0..sent).for_each(|i| assert_eq!(number(&queue.recv().unwrap()), i));
        (0..more).for_each(|_| assert_eq!(queue.recv().unwrap(), b"x"));
    }
}

/// A namespace on a file system of its own, of so many kibibytes.
fn on_a_tiny_file_system(test: &Test, kib: usize, act: impl FnOnce(&Namespace)) {
    let dir = test.dir.join("tiny");
    std::fs::create_dir_all(&dir).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "none"]).arg(&dir).status();
    assert!(mounted.is_ok_and(|status| status.success()), "mounting a tmpfs needs root");
    struct Mounted(std::path::PathBuf);
    impl Drop for Mounted {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        }
    }
    let mounted = Mounted(dir);
    act(&Namespace::at(&mounted.0));
}

#[test]
fn a_full_file_system_is_an_error_and_everything_is_kept() {
    let test = Test::new("full");
    on_a_tiny_file_system(&test, 6 * 1024, |space| {
        let queue = Queue::create(space.name("q"), &options()).unwrap();
        for _ in 0..3 {
            // Another process, which a SIGBUS would not take the test with.
            fork("sender", || {
                let mut sent = 0;
                let refused = loop {
                    match queue.send(&message(sent, 90)) {
                        Ok(()) => sent += 1,
                        Err(e) => break e,
                    }
                };
                assert!(matches!(refused, Error::NoSpace(_) | Error::LimitReached(_)), "{refused}");
                assert_eq!(queue.len().unwrap() as u64, sent);
                assert!(sent > 2000);
            })
            .join();
            let received = fork("receiver", || {
                let count = queue.len().unwrap() as u64;
                (0..count).for_each(|i| assert_eq!(number(&queue.try_recv().unwrap()), i));
                assert_eq!(queue.try_recv(), Err(Error::WouldBlock));
            });
            received.join();
        }
    });
}

/// Who looks how much waits has no lock: the memory that it is about to look at may be given back meanwhile, and not to be had again.
#[test]
fn to_look_at_a_queue_needs_no_memory() {
    const ROUNDS: u64 = 60;
    // What the ring has room for, and more than the part of the log that keeps its memory has.
    const MESSAGES: u64 = 256 + 90;
    let test = Test::new("looking without memory");
    on_a_tiny_file_system(&test, 16 * 1024, |space| {
        let queue = Queue::create(space.name("q"), &QueueOptions::new().unbounded().max_message(16 << 10)).unwrap();
        let looks = Board::new(1);
        let looker = fork("looker", || {
            let queue = Queue::open(space.name("q")).unwrap();
            loop {
                let (len, counters) = (queue.len().unwrap(), queue.counters().unwrap());
                assert!(len as u64 <= MESSAGES && counters.sent <= ROUNDS * MESSAGES, "{len} messages, {counters:?}");
                looks.add(0, 1);
            }
        });
        let looks_on = |times: u64| {
            let enough = looks.get(0) + times;
            wait_for("looks", || looks.get(0) >= enough || !looker.is_alive());
            assert!(looker.is_alive(), "the looker has ended");
        };
        let ballast = File::create(space.dir().unwrap().join("ballast")).unwrap();
        for round in 0..ROUNDS {
            let send = |i| queue.send(&message(i, if i < 256 { 8 } else { 16 << 10 })).unwrap();
            (1..MESSAGES).for_each(send);
            looks_on(1 + round % 7);
            looker.signal(Signal::SIGSTOP);
            assert_eq!(waitpid(looker.pid, Some(WaitPidFlag::WUNTRACED)), Ok(WaitStatus::Stopped(looker.pid, Signal::SIGSTOP)));
            send(MESSAGES);
            (1..=MESSAGES).for_each(|i| assert_eq!(number(&queue.recv().unwrap()), i));
            let disk = statvfs(&space.dir().unwrap()).unwrap();
            posix_fallocate(&ballast, 0, (disk.blocks_free() * disk.fragment_size()).cast_signed()).unwrap();
            looker.signal(Signal::SIGCONT);
            looks_on(2);
            ballast.set_len(0).unwrap();
        }
        looker.kill();
    });
}

/// Short blocks do not begin where pages do.
#[test]
fn leases_on_a_full_file_system_are_errors_at_worst() {
    let test = Test::new("leases on a full file system");
    on_a_tiny_file_system(&test, 1024, |space| {
        let queue = Queue::create(space.name("q"), &QueueOptions::new().capacity(4)).unwrap();
        let file = space.dir().unwrap().join("ballast");
        fork("lessee", || {
            let mut leases = vec![];
            for i in 0..40 {
                queue.send(&message(i, 10)).unwrap();
                leases.push(queue.lease().unwrap());
            }
            (0..4).for_each(|i| queue.send(&message(i, 4000)).unwrap());
            (0..4).for_each(|_| drop(queue.recv().unwrap()));
            let _ = std::fs::write(&file, vec![1; 2 << 20]);
            while let Some(lease) = leases.pop() {
                lease.finish().unwrap();
                queue.send(&message(7, 4000)).unwrap();
                match queue.try_lease() {
                    Ok(lease) => {
                        assert_eq!(number(lease.message()), 7);
                        lease.finish().unwrap();
                    }
                    Err(e) => {
                        assert!(matches!(e, Error::NoSpace(_)), "{e}");
                        assert_eq!(number(&queue.recv().unwrap()), 7);
                    }
                }
            }
        })
        .join();
    });
}

#[test]
fn many_send_and_receive_while_it_grows_and_shrinks() {
    const EACH: u64 = 20_000;
    let test = Test::new("grows and shrinks");
    let queue = Queue::create(test.name("q"), &options()).unwrap();
    let senders: Vec<Child> = (0..3)
        .map(|s| {
            let queue = &queue;
            fork("sender", move || (0..EACH).for_each(|i| queue.send(&message(s * EACH + i, 70)).unwrap()))
        })
        .collect();
    let mut next = [0, EACH, 2 * EACH];
    for _ in 0..3 * EACH {
        let i = number(&queue.recv_timeout(LONG).unwrap());
        let next = &mut next[(i / EACH) as usize];
        assert_eq!(i, *next);
        *next += 1;
    }
    senders.into_iter().for_each(Child::join);
    assert!(queue.is_empty().unwrap());
}
