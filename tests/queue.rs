//! Queues: order, exactly once, lengths, capacities, the three ways to wait, shutdown, peers, placement in regions.

#![allow(clippy::undocumented_unsafe_blocks, reason = "objects placed in a region are left the bytes that are theirs")]

mod support;

use std::cell::Cell;
use std::collections::HashSet;
use std::time::{Duration, Instant};

use rsipc::{Error, MAX_CAPACITY, MAX_MESSAGE, Queue, QueueOptions, Region};
use support::{Board, Child, LONG, Test, fork, message, number, wait_for};

fn options(capacity: usize, max_message: usize) -> QueueOptions {
    QueueOptions::new().capacity(capacity).max_message(max_message)
}

#[test]
fn messages_come_out_in_order_between_processes() {
    let test = Test::new("order");
    for capacity in [1, 2, 3, 5, 64, 100] {
        let name = format!("q{capacity}");
        let queue = Queue::create(test.name(&name), &options(capacity, 300)).unwrap();
        let sender = fork("sender", || {
            let queue = Queue::open(test.name(&name)).unwrap();
            (0..2000).for_each(|i| queue.send_timeout(&message(i, (i % 300) as usize), LONG).unwrap());
        });
        for i in 0..2000 {
            let bytes = queue.recv_timeout(LONG).unwrap();
            assert_eq!((number(&bytes), bytes.len()), (i, ((i % 300) as usize).max(8)), "capacity {capacity}");
        }
        sender.join();
        assert!(queue.is_empty().unwrap());
    }
}

#[test]
fn each_message_goes_to_exactly_one_receiver() {
    const SENDERS: u64 = 3;
    const RECEIVERS: u64 = 3;
    const EACH: u64 = 3000;
    let test = Test::new("exactly once");
    for capacity in [1, 7, 64] {
        let name = format!("q{capacity}");
        let queue = Queue::create(test.name(&name), &options(capacity, 100)).unwrap();
        // How often each message was received.
        let board = Board::new((SENDERS * EACH) as usize);
        let receivers: Vec<Child> = (0..RECEIVERS)
            .map(|_| {
                fork("receiver", || {
                    let mut last = [None; SENDERS as usize];
                    loop {
                        let i = match queue.recv_timeout(LONG) {
                            Ok(bytes) => number(&bytes),
                            Err(Error::Closed) => return,
                            Err(e) => panic!("{e}"),
                        };
                        board.add(i as usize, 1);
                        // Of one sender's messages each receiver sees a later one later.
                        let last = &mut last[(i / EACH) as usize];
                        assert!(*last < Some(i), "{i} after {last:?}");
                        *last = Some(i);
                    }
                })
            })
            .collect();
        let senders: Vec<Child> = (0..SENDERS)
            .map(|s| {
                fork("sender", || {
                    let queue = Queue::open(test.name(&name)).unwrap();
                    (s * EACH..(s + 1) * EACH).for_each(|i| queue.send_timeout(&message(i, 60), LONG).unwrap());
                })
            })
            .collect();
        senders.into_iter().for_each(Child::join);
        queue.shutdown().unwrap();
        receivers.into_iter().for_each(Child::join);
        for i in 0..SENDERS * EACH {
            assert_eq!(board.get(i as usize), 1, "message {i}, capacity {capacity}");
        }
    }
}

#[test]
fn threads_share_one_handle() {
    let test = Test::new("threads");
    let queue = Queue::create(test.name("q"), &options(3, 8)).unwrap();
    let mut seen = HashSet::new();
    std::thread::scope(|scope| {
        for s in 0..2u64 {
            let queue = &queue;
            scope.spawn(move || (s * 1000..(s + 1) * 1000).for_each(|i| queue.send_timeout(&i.to_le_bytes(), LONG).unwrap()));
        }
        let receive = || (0..1000).map(|_| number(&queue.recv_timeout(LONG).unwrap())).collect::<Vec<_>>();
        let receivers = [scope.spawn(receive), scope.spawn(receive)];
        for receiver in receivers {
            receiver.join().unwrap().into_iter().for_each(|i| assert!(seen.insert(i)));
        }
    });
    assert_eq!(seen.len(), 2000);
}

#[test]
fn every_length_from_none_to_the_longest() {
    let test = Test::new("lengths");
    for max in [0, 1, 51, 52, 53, 116, 4096, 100_000] {
        let name = format!("q{max}");
        let queue = Queue::create(test.name(&name), &options(3, max)).unwrap();
        assert_eq!((queue.max_message(), queue.capacity()), (max, Some(3)));
        let lengths = (0..=max).step_by(if max > 200 { 97 } else { 1 }).chain([max]);
        for len in lengths {
            let bytes: Vec<u8> = (0..len).map(|i| (i * 7 + len) as u8).collect();
            queue.send(&bytes).unwrap();
            assert_eq!(queue.recv().unwrap(), bytes);
        }
        let too_long = vec![0; max + 1];
        assert_eq!(queue.send(&too_long), Err(Error::MessageTooLong { len: max + 1, max }));
        assert!(queue.is_empty().unwrap());
    }
}

#[test]
fn receiving_into_a_buffer() {
    let test = Test::new("buffers");
    let queue = Queue::create(test.name("q"), &options(2, 100)).unwrap();
    queue.send(b"0123456789").unwrap();
    assert_eq!(queue.recv_into(&mut [0; 9]), Err(Error::BufferTooSmall { len: 9, needed: 10 }));
    assert_eq!(queue.len(), Ok(1));
    let mut buffer = [b'.'; 12];
    assert_eq!(queue.recv_into_timeout(&mut buffer, LONG), Ok(10));
    assert_eq!(&buffer, b"0123456789..");
    assert_eq!(queue.try_recv_into(&mut buffer), Err(Error::WouldBlock));
    assert_eq!(queue.recv_into_timeout(&mut buffer, Duration::from_millis(5)), Err(Error::TimedOut));
}

#[test]
fn options_out_of_range_are_refused() {
    let test = Test::new("options");
    let many = Queue::create(test.name("q"), &options(MAX_CAPACITY + 1, 10)).unwrap_err();
    assert!(matches!(&many, Error::InvalidArgument(text) if text.contains("capacity")), "{many}");
    for options in [options(MAX_CAPACITY + 1, 10), options(10, MAX_MESSAGE + 1)] {
        assert!(matches!(Queue::create(test.name("q"), &options), Err(Error::InvalidArgument(_))));
        assert!(matches!(Queue::open_or_create(test.name("q"), &options), Err(Error::InvalidArgument(_))));
        assert!(options.size().is_err());
    }
    assert!(test.files().is_empty());
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
fn one_message_wakes_one_of_many_and_none_stays_behind() {
    let test = Test::new("many sleepers");
    let queue = Queue::create(test.name("q"), &options(4, 8)).unwrap();
    let receivers: Vec<Child> = (0..5).map(|_| fork("receiver", || drop(queue.recv_timeout(LONG).unwrap()))).collect();
    receivers.iter().for_each(Child::wait_asleep);
    for sent in 1..=5 {
        queue.send(b"x").unwrap();
        wait_for("a receiver to take it", || receivers.iter().filter(|receiver| !receiver.is_alive()).count() == sent);
    }
    assert!(queue.is_empty().unwrap());
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
fn what_is_accepted_during_a_shutdown_is_received() {
    let test = Test::new("sending during a shutdown");
    for round in 0..1000 {
        let name = format!("q{round}");
        let queue = Queue::create(test.name(&name), &options(1 + round % 4, 8)).unwrap();
        // How many were accepted, and how many received.
        let board = Board::new(2);
        let senders = [(); 2].map(|()| {
            fork("sender", || {
                while queue.send_timeout(b"x", LONG).map_err(|e| assert_eq!(e, Error::Closed)).is_ok() {
                    board.add(0, 1);
                }
            })
        });
        let receiver = fork("receiver", || {
            while queue.recv_timeout(LONG).map_err(|e| assert_eq!(e, Error::Closed)).is_ok() {
                board.add(1, 1);
            }
        });
        board.wait(1, 1 + round as u64 % 7);
        queue.shutdown().unwrap();
        senders.into_iter().for_each(Child::join);
        receiver.join();
        assert_eq!(board.get(1), board.get(0), "round {round}");
        test.unlink(&name).unwrap();
    }
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
fn peers_tell_who_has_it_open_and_what_for() {
    let test = Test::new("peers");
    let queue = Queue::create(test.name("q"), &options(3, 8)).unwrap();
    let me = std::process::id();
    let roles = |pid: u32| -> Vec<(bool, bool)> {
        queue.peers().unwrap().iter().filter(|peer| peer.pid == pid).map(|peer| (peer.sends, peer.receives)).collect()
    };
    assert_eq!(roles(me), [(false, false)]);
    queue.send(b"x").unwrap();
    assert_eq!(roles(me), [(true, false)]);
    queue.try_recv().unwrap();
    assert_eq!(roles(me), [(true, true)]);
    let second = Queue::open(test.name("q")).unwrap();
    assert_eq!(queue.peers().unwrap().len(), 2);
    drop(second);
    assert_eq!(queue.peers().unwrap().len(), 1);
    let receiver = fork("receiver", || drop(Queue::open(test.name("q")).unwrap().recv()));
    receiver.wait_asleep();
    assert_eq!(roles(receiver.pid.as_raw() as u32), [(false, true)]);
    let since = queue.peers().unwrap()[0].since;
    assert!(since.elapsed().unwrap() < LONG);
    receiver.kill();
    assert_eq!(queue.peers().unwrap().len(), 1, "the dead are left out");
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
fn a_child_of_fork_uses_its_parents_handle() {
    let test = Test::new("fork");
    let queue = Cell::new(Some(Queue::create(test.name("q"), &options(3, 8)).unwrap()));
    let child = fork("child", || {
        let queue = queue.take().unwrap();
        assert_eq!(queue.recv_timeout(LONG).unwrap(), b"x");
        assert_eq!(queue.peers().unwrap().len(), 2);
        // Closing it takes only the child's own entry away.
        drop(queue);
    });
    let queue = queue.take().unwrap();
    queue.send(b"x").unwrap();
    child.join();
    assert!(queue.peers().unwrap().iter().any(|peer| peer.pid == std::process::id() && peer.sends));
}

#[test]
fn in_a_region() {
    let test = Test::new("in a region");
    let options = options(5, 40);
    let region = Region::create(test.name("r"), 1 << 20).unwrap();
    assert!(matches!(unsafe { Queue::open_in(&region, 128) }, Err(Error::NotFound { .. })));
    let queue = unsafe { Queue::create_in(&region, 128, &options) }.unwrap();
    assert!(matches!(unsafe { Queue::create_in(&region, 128, &options) }, Err(Error::AlreadyExists { .. })));
    for offset in [64, 1, (1 << 20) - 128, usize::MAX - 127, (1 << 20) + 128] {
        let refused = unsafe { Queue::create_in(&region, offset, &options) }.unwrap_err();
        assert!(matches!(refused, Error::InvalidArgument(_)), "offset {offset}: {refused}");
        assert!(unsafe { Queue::open_in(&region, offset) }.is_err(), "offset {offset}");
    }
    let end = 128 + options.size().unwrap();
    unsafe { region.view().unwrap().write(end, b"the user's") }.unwrap();
    let sender = fork("sender", || {
        let region = Region::open(test.name("r")).unwrap();
        let queue = unsafe { Queue::open_in(&region, 128) }.unwrap();
        // The queue keeps its memory mapped by itself.
        drop(region);
        (0..100).for_each(|i| queue.send_timeout(&message(i, 40), LONG).unwrap());
    });
    (0..100).for_each(|i| assert_eq!(number(&queue.recv_timeout(LONG).unwrap()), i));
    sender.join();
    let mut bytes = [0; 10];
    unsafe { region.view().unwrap().read(end, &mut bytes) }.unwrap();
    assert_eq!(&bytes, b"the user's");
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
fn a_stopped_process_holds_up_nobody_while_it_waits() {
    let test = Test::new("stopped");
    let queue = Queue::create(test.name("q"), &options(2, 8)).unwrap();
    let stopped = fork("a receiver that is stopped", || drop(queue.recv()));
    stopped.wait_asleep();
    stopped.signal(nix::sys::signal::Signal::SIGSTOP);
    let other = fork("another receiver", || assert_eq!(queue.recv_timeout(LONG).unwrap(), b"x"));
    other.wait_asleep();
    queue.send(b"x").unwrap();
    other.join();
    queue.send_timeout(b"y", LONG).unwrap();
    assert_eq!(queue.recv_timeout(LONG).unwrap(), b"y");
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
