//! Bounded queues: what holds for every queue, and waiting for room, laps, long messages, entries in the table of peers.

mod queues;
mod support;

use std::time::{Duration, Instant};

use rsipc::{Error, MAX_CAPACITY, MAX_LEASES, MAX_MESSAGE, Queue, QueueOptions};
use support::{Child, LONG, Random, Test, fork, message, number};

fn options(capacity: usize, max_message: usize) -> QueueOptions {
    QueueOptions::new().capacity(capacity).max_message(max_message)
}

queues::cases! { options(3, 100);
    messages_come_out_in_order_between_processes each_message_goes_to_exactly_one_receiver threads_share_one_handle
    every_length_from_none_to_the_longest receiving_into_a_buffer a_receiver_waits_for_ever_not_at_all_or_for_a_time
    one_message_wakes_one_of_many_and_none_stays_behind shutdown_wakes_all_receivers what_is_accepted_during_a_shutdown_is_received
    a_wait_ends_with_the_last_sender_if_asked_to what_the_last_sender_sent_is_received_before_its_end
    peers_tell_who_has_it_open_and_what_for a_child_of_fork_uses_its_parents_handle in_a_region
    a_stopped_receiver_holds_up_nobody_while_it_waits
}

/// The smallest, and one with numbers of slots beyond its end.
mod of_one {
    use super::{options, queues};
    queues::cases! { options(1, 100);
        messages_come_out_in_order_between_processes each_message_goes_to_exactly_one_receiver what_is_accepted_during_a_shutdown_is_received
    }
}

mod of_many {
    use super::{options, queues};
    queues::cases! { options(100, 100);
        messages_come_out_in_order_between_processes each_message_goes_to_exactly_one_receiver what_is_accepted_during_a_shutdown_is_received
    }
}

#[test]
fn waiting_for_ever_not_at_all_or_for_a_time() {
    let test = Test::new("waiting");
    let queue = Queue::create(test.name("q"), &options(2, 8)).unwrap();
    let short = Duration::from_millis(30);
    assert_eq!(queue.try_recv(), Err(Error::WouldBlock));
    assert_eq!(queue.recv_timeout(Duration::ZERO), Err(Error::WouldBlock));
    let start = Instant::now();
    assert_eq!(queue.recv_timeout(short), Err(Error::TimedOut));
    assert!(start.elapsed() >= short);
    queue.send(b"1").unwrap();
    queue.try_send(b"2").unwrap();
    assert_eq!(queue.try_send(b"3"), Err(Error::WouldBlock));
    let start = Instant::now();
    assert_eq!(queue.send_timeout(b"3", short), Err(Error::TimedOut));
    assert!(start.elapsed() >= short);
    assert_eq!(queue.len(), Ok(2));
    // A wait that lasts far longer than the periodic look still ends with what it waited for.
    let sender = fork("a sender that waits", || queue.send(b"3").unwrap());
    sender.wait_asleep();
    std::thread::sleep(Duration::from_millis(250));
    assert!(sender.is_alive());
    assert_eq!(queue.recv().unwrap(), b"1");
    sender.join();
    assert_eq!((queue.recv().unwrap(), queue.recv().unwrap()), (b"2".to_vec(), b"3".to_vec()));
    // Longer than any clock: for ever.
    let receiver = fork("a receiver that waits", || assert_eq!(queue.recv_timeout(Duration::MAX).unwrap(), b"4"));
    receiver.wait_asleep();
    queue.send(b"4").unwrap();
    receiver.join();
}

#[test]
fn options_out_of_range_are_refused() {
    let test = Test::new("options");
    let many = Queue::create(test.name("q"), &options(MAX_CAPACITY + 1, 10)).unwrap_err();
    assert!(matches!(&many, Error::InvalidArgument(text) if text.contains("capacity")), "{many}");
    for options in [options(MAX_CAPACITY + 1, 10), options(10, MAX_MESSAGE + 1), options(10, 10).leases(MAX_LEASES + 1)] {
        assert!(matches!(Queue::create(test.name("q"), &options), Err(Error::InvalidArgument(_))));
        assert!(matches!(Queue::open_or_create(test.name("q"), &options), Err(Error::InvalidArgument(_))));
        assert!(options.size().is_err());
    }
    assert!(test.files().is_empty());
}

#[test]
fn shutdown_wakes_all_and_lets_receivers_drain() {
    let test = Test::new("shutdown");
    let full = Queue::create(test.name("full"), &options(2, 8)).unwrap();
    let empty = Queue::create(test.name("empty"), &options(2, 8)).unwrap();
    full.send(b"1").unwrap();
    full.send(b"2").unwrap();
    let waiting: Vec<Child> = (0..3)
        .flat_map(|_| {
            let sender = fork("sender", || assert_eq!(full.send(b"3"), Err(Error::Closed)));
            let receiver = fork("receiver", || assert_eq!(empty.recv(), Err(Error::Closed)));
            [sender, receiver]
        })
        .collect();
    waiting.iter().for_each(Child::wait_asleep);
    assert!(!full.is_shut_down());
    full.shutdown().unwrap();
    empty.shutdown().unwrap();
    waiting.into_iter().for_each(Child::join);
    assert!(full.is_shut_down() && Queue::open(test.name("full")).unwrap().is_shut_down());
    full.shutdown().unwrap();
    assert_eq!(full.try_send(b"3"), Err(Error::Closed));
    assert_eq!(full.send_timeout(b"3", LONG), Err(Error::Closed));
    assert_eq!(full.len(), Ok(2));
    assert_eq!((full.recv().unwrap(), full.try_recv().unwrap()), (b"1".to_vec(), b"2".to_vec()));
    assert_eq!(full.recv(), Err(Error::Closed));
    assert_eq!(full.try_recv(), Err(Error::Closed));
    assert_eq!(full.recv_timeout(LONG), Err(Error::Closed));
}

#[test]
fn what_was_sent_stays_when_its_sender_ends() {
    let test = Test::new("stays");
    fork("sender", || {
        let queue = Queue::create(test.name("q"), &options(3, 8)).unwrap();
        queue.send(b"left").unwrap();
        support::die();
    })
    .end();
    let queue = Queue::open(test.name("q")).unwrap();
    assert_eq!(queue.len(), Ok(1));
    assert_eq!(queue.recv().unwrap(), b"left");
}

#[test]
fn entries_of_the_dead_are_used_again() {
    let test = Test::new("entries");
    let queue = Queue::create(test.name("q"), &options(3, 8)).unwrap();
    // More than the table has places for.
    for _ in 0..11 {
        fork("one that ends without closing", || {
            let handles: Vec<Queue> = (0..100).map(|_| Queue::open(test.name("q")).unwrap()).collect();
            std::mem::forget(handles);
        })
        .join();
    }
    assert_eq!(queue.peers().unwrap().len(), 1);
    let mut handles = Vec::new();
    let refused = loop {
        match Queue::open(test.name("q")) {
            Ok(queue) => handles.push(queue),
            Err(e) => break e,
        }
    };
    assert_eq!(handles.len(), 499);
    assert!(matches!(refused, Error::LimitReached(_)), "{refused}");
    drop(handles);
    Queue::open(test.name("q")).unwrap();
}

#[test]
fn a_long_run_passes_many_laps() {
    let test = Test::new("laps");
    for capacity in [1, 3, 4] {
        let name = format!("q{capacity}");
        let queue = Queue::create(test.name(&name), &options(capacity, 8)).unwrap();
        for lap in 0..10_000u64 {
            for i in 0..capacity as u64 {
                queue.try_send(&(lap + i).to_le_bytes()).unwrap();
            }
            assert_eq!(queue.try_send(b""), Err(Error::WouldBlock));
            assert_eq!(queue.len(), Ok(capacity));
            for i in 0..capacity as u64 {
                assert_eq!(queue.try_recv().unwrap(), (lap + i).to_le_bytes());
            }
            assert_eq!(queue.len(), Ok(0));
        }
    }
}

#[test]
fn a_child_of_fork_is_one_peer_however_many_threads_it_has() {
    let test = Test::new("threads of a child");
    let queue = Queue::create(test.name("q"), &options(8, 8)).unwrap();
    fork("child", || {
        let start = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    start.wait();
                    queue.send(b"x").unwrap();
                });
            }
        });
        assert_eq!(queue.peers().unwrap().len(), 2);
    })
    .join();
}

#[test]
fn long_messages_take_the_memory_of_their_own_length() {
    let test = Test::new("long");
    let queue = Queue::create(test.name("q"), &options(3, 300 << 20)).unwrap();
    let memory = || test.list().unwrap()[0].memory;
    let before = memory();
    assert!(before < 1 << 20, "{before} bytes for an empty queue");
    let mut bytes = vec![7u8; 120 << 20];
    bytes[119 << 20] = 8;
    queue.send(&bytes).unwrap();
    assert!((120 << 20..122 << 20).contains(&(memory() - before)), "{} bytes", memory() - before);
    assert!(queue.recv().unwrap() == bytes);
    assert!(memory() - before < 65 << 20, "{} bytes", memory() - before);
    // Most long ones are not that long.
    (0..3).for_each(|i| queue.send(&message(i, 10_000)).unwrap());
    assert_eq!(queue.try_send(&message(3, 10_000)), Err(Error::WouldBlock));
    (0..3).for_each(|i| assert_eq!(number(&queue.recv().unwrap()), i));
}

#[test]
fn long_and_short_messages_between_many() {
    const EACH: u64 = 400;
    let test = Test::new("long and short");
    let queue = Queue::create(test.name("q"), &options(2, 60_000).leases(0)).unwrap();
    let send = |s: u64| {
        let queue = &queue;
        fork("sender", move || {
            let mut random = Random(s + 5);
            for i in 0..EACH {
                let len = if random.below(3) == 0 { random.below(100) } else { random.below(60_000) };
                queue.send_timeout(&message(s * EACH + i, len as usize), LONG).unwrap();
            }
        })
    };
    let senders = [send(0), send(1), send(2)];
    let mut next = [0, EACH, 2 * EACH];
    for _ in 0..3 * EACH {
        let i = number(&queue.recv_timeout(LONG).unwrap());
        let next = &mut next[(i / EACH) as usize];
        assert_eq!(i, *next);
        *next += 1;
    }
    senders.into_iter().for_each(Child::join);
    assert_eq!(queue.try_recv(), Err(Error::WouldBlock));
}
