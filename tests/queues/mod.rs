//! What holds for queues of every capacity. Senders and receivers are different processes here, so that a rendezvous can do it, too.

use std::cell::Cell;
use std::collections::HashSet;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rsipc::{Error, Queue, QueueOptions, Region};

use crate::support::{Board, Child, LONG, Test, fork, message, number, wait_for};

/// Makes a test of each of these cases, for queues with some options.
macro_rules! cases {
    ($options:expr; $($case:ident)*) => { $(
        #[test]
        fn $case() {
            queues::$case($options);
        }
    )* };
}
pub(crate) use cases;

/// Lets another process send.
pub fn sender(queue: &Queue, messages: Vec<Vec<u8>>) -> Child {
    fork("sender", || messages.iter().for_each(|message| queue.send_timeout(message, LONG).unwrap()))
}

pub fn messages_come_out_in_order_between_processes(options: QueueOptions) {
    const COUNT: u64 = 2000;
    let test = Test::new("order");
    let queue = Queue::create(test.name("q"), &options.max_message(300)).unwrap();
    let sender = fork("sender", || {
        let queue = Queue::open(test.name("q")).unwrap();
        (0..COUNT).for_each(|i| queue.send_timeout(&message(i, (i % 300) as usize), LONG).unwrap());
    });
    for i in 0..COUNT {
        let bytes = queue.recv_timeout(LONG).unwrap();
        assert_eq!((number(&bytes), bytes.len()), (i, ((i % 300) as usize).max(8)));
    }
    sender.join();
    assert!(queue.is_empty().unwrap());
}

pub fn each_message_goes_to_exactly_one_receiver(options: QueueOptions) {
    const SENDERS: u64 = 3;
    const RECEIVERS: u64 = 3;
    const EACH: u64 = 3000;
    let test = Test::new("exactly once");
    let queue = Queue::create(test.name("q"), &options.max_message(100)).unwrap();
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
                let queue = Queue::open(test.name("q")).unwrap();
                (s * EACH..(s + 1) * EACH).for_each(|i| queue.send_timeout(&message(i, 60), LONG).unwrap());
            })
        })
        .collect();
    senders.into_iter().for_each(Child::join);
    queue.shutdown().unwrap();
    receivers.into_iter().for_each(Child::join);
    for i in 0..SENDERS * EACH {
        assert_eq!(board.get(i as usize), 1, "message {i}");
    }
}

pub fn threads_share_one_handle(options: QueueOptions) {
    let test = Test::new("threads");
    let queue = Queue::create(test.name("q"), &options.max_message(8)).unwrap();
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

pub fn every_length_from_none_to_the_longest(options: QueueOptions) {
    let test = Test::new("lengths");
    for max in [0, 1, 51, 52, 53, 116, 4096, 4150, 100_000] {
        let name = format!("q{max}");
        let queue = Queue::create(test.name(&name), &options.max_message(max)).unwrap();
        assert_eq!(queue.max_message(), max);
        let lengths = || (0..=max).step_by(if max > 200 { 97 } else { 1 }).chain([max]);
        let bytes = |len: usize| -> Vec<u8> { (0..len).map(|i| (i * 7 + len) as u8).collect() };
        let sender = fork("sender", || {
            lengths().for_each(|len| queue.send_timeout(&bytes(len), LONG).unwrap());
            let too_long = vec![0; max + 1];
            assert_eq!(queue.send(&too_long), Err(Error::MessageTooLong { index: None, len: max + 1, max }));
        });
        lengths().for_each(|len| assert!(queue.recv_timeout(LONG).unwrap() == bytes(len), "{len} of {max}"));
        sender.join();
        assert!(queue.is_empty().unwrap());
    }
}

pub fn receiving_into_a_buffer(options: QueueOptions) {
    let test = Test::new("buffers");
    for len in [10, 5000] {
        let name = format!("q{len}");
        let queue = Queue::create(test.name(&name), &options.max_message(len)).unwrap();
        let bytes = message(1, len);
        let sender = sender(&queue, vec![bytes.clone()]);
        let mut buffer = vec![b'.'; len + 2];
        assert_eq!(queue.recv_into(&mut buffer[..len - 1]), Err(Error::BufferTooSmall { len: len - 1, needed: len }));
        assert_eq!(queue.recv_into_timeout(&mut buffer, LONG), Ok(len));
        assert_eq!((&buffer[..len], &buffer[len..]), (bytes.as_slice(), &b".."[..]));
        sender.join();
        assert_eq!(queue.try_recv_into(&mut buffer), Err(Error::WouldBlock));
        assert_eq!(queue.recv_into_timeout(&mut buffer, Duration::from_millis(5)), Err(Error::TimedOut));
    }
}

pub fn a_receiver_waits_for_ever_not_at_all_or_for_a_time(options: QueueOptions) {
    let test = Test::new("waiting to receive");
    let queue = Queue::create(test.name("q"), &options).unwrap();
    let short = Duration::from_millis(30);
    assert_eq!(queue.try_recv(), Err(Error::WouldBlock));
    assert_eq!(queue.recv_timeout(Duration::ZERO), Err(Error::WouldBlock));
    let start = Instant::now();
    assert_eq!(queue.recv_timeout(short), Err(Error::TimedOut));
    assert!(start.elapsed() >= short);
    // A wait that lasts far longer than the periodic look still ends with what it waited for.
    for timeout in [None, Some(Duration::MAX)] {
        let receiver = fork("a receiver that waits", || {
            let bytes = timeout.map_or_else(|| queue.recv(), |timeout| queue.recv_timeout(timeout));
            assert_eq!(bytes.unwrap(), b"4");
        });
        receiver.wait_asleep();
        std::thread::sleep(Duration::from_millis(250));
        assert!(receiver.is_alive());
        queue.send_timeout(b"4", LONG).unwrap();
        receiver.join();
    }
}

pub fn one_message_wakes_one_of_many_and_none_stays_behind(options: QueueOptions) {
    let test = Test::new("many sleepers");
    let queue = Queue::create(test.name("q"), &options).unwrap();
    let receivers: Vec<Child> = (0..5).map(|_| fork("receiver", || drop(queue.recv_timeout(LONG).unwrap()))).collect();
    receivers.iter().for_each(Child::wait_asleep);
    for sent in 1..=5 {
        queue.send_timeout(b"x", LONG).unwrap();
        wait_for("a receiver to take it", || receivers.iter().filter(|receiver| !receiver.is_alive()).count() == sent);
    }
    assert!(queue.is_empty().unwrap());
}

pub fn shutdown_wakes_all_receivers(options: QueueOptions) {
    let test = Test::new("shutdown");
    let queue = Queue::create(test.name("q"), &options).unwrap();
    let waiting = [(); 3].map(|()| fork("receiver", || assert_eq!(queue.recv(), Err(Error::Closed))));
    let leasing = [(); 2].map(|()| fork("lessee", || assert_eq!(queue.lease().err(), Some(Error::Closed))));
    waiting.iter().chain(&leasing).for_each(Child::wait_asleep);
    assert!(!queue.is_shut_down());
    queue.shutdown().unwrap();
    waiting.into_iter().chain(leasing).for_each(Child::join);
    assert!(queue.is_shut_down() && Queue::open(test.name("q")).unwrap().is_shut_down());
    queue.shutdown().unwrap();
    assert_eq!(queue.try_send(b"3"), Err(Error::Closed));
    assert_eq!(queue.send_timeout(b"3", LONG), Err(Error::Closed));
    assert_eq!(queue.recv(), Err(Error::Closed));
    assert_eq!(queue.try_recv(), Err(Error::Closed));
    assert_eq!(queue.recv_timeout(LONG), Err(Error::Closed));
}

pub fn what_is_accepted_during_a_shutdown_is_received(options: QueueOptions) {
    let test = Test::new("sending during a shutdown");
    for round in 0..300 {
        let name = format!("q{round}");
        let queue = Queue::create(test.name(&name), &options.max_message(8)).unwrap();
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

pub fn peers_tell_who_has_it_open_and_what_for(options: QueueOptions) {
    let test = Test::new("peers");
    let queue = Queue::create(test.name("q"), &options).unwrap();
    let me = std::process::id();
    let roles = |pid: u32| -> Vec<(bool, bool)> {
        queue.peers().unwrap().iter().filter(|peer| peer.pid == pid).map(|peer| (peer.sends, peer.receives)).collect()
    };
    assert_eq!(roles(me), [(false, false)]);
    let _ = queue.try_send(b"x");
    assert_eq!(roles(me), [(true, false)]);
    let _ = queue.try_recv();
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

pub fn a_child_of_fork_uses_its_parents_handle(options: QueueOptions) {
    let test = Test::new("fork");
    let queue = Cell::new(Some(Queue::create(test.name("q"), &options).unwrap()));
    let child = fork("child", || {
        let queue = queue.take().unwrap();
        assert_eq!(queue.recv_timeout(LONG).unwrap(), b"x");
        assert_eq!(queue.peers().unwrap().len(), 2);
        // Closing it takes only the child's own entry away.
        drop(queue);
    });
    let queue = queue.take().unwrap();
    queue.send_timeout(b"x", LONG).unwrap();
    child.join();
    assert!(queue.peers().unwrap().iter().any(|peer| peer.pid == std::process::id() && peer.sends));
}

#[allow(clippy::undocumented_unsafe_blocks, reason = "objects placed in a region are left the bytes that are theirs")]
pub fn in_a_region(options: QueueOptions) {
    const LEN: usize = 16 << 20;
    let test = Test::new("in a region");
    let options = options.max_message(5000).leases(3);
    let region = Region::create(test.name("r"), LEN).unwrap();
    assert!(matches!(unsafe { Queue::open_in(&region, 128) }, Err(Error::NotFound { .. })));
    let queue = unsafe { Queue::create_in(&region, 128, &options) }.unwrap();
    assert!(matches!(unsafe { Queue::create_in(&region, 128, &options) }, Err(Error::AlreadyExists { .. })));
    for offset in [64, 1, LEN - 128, usize::MAX - 127, LEN + 128] {
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
        (0..600).for_each(|i| queue.send_timeout(&message(i, if i % 3 == 0 { 5000 } else { 40 }), LONG).unwrap());
    });
    for i in 0..600 {
        let lease = queue.lease_timeout(LONG).unwrap();
        assert_eq!(number(lease.message()), i);
        lease.finish().unwrap();
    }
    sender.join();
    let mut bytes = [0; 10];
    unsafe { region.view().unwrap().read(end, &mut bytes) }.unwrap();
    assert_eq!(&bytes, b"the user's");
}

pub fn a_stopped_receiver_holds_up_nobody_while_it_waits(options: QueueOptions) {
    let test = Test::new("stopped");
    let queue = Queue::create(test.name("q"), &options).unwrap();
    let stopped = fork("a receiver that is stopped", || drop(queue.recv()));
    stopped.wait_asleep();
    stopped.signal(Signal::SIGSTOP);
    for _ in 0..3 {
        let other = fork("another receiver", || assert_eq!(queue.recv_timeout(LONG).unwrap(), b"x"));
        other.wait_asleep();
        queue.send_timeout(b"x", LONG).unwrap();
        other.join();
    }
}

pub fn a_wait_ends_with_the_last_sender_if_asked_to(options: QueueOptions) {
    let test = Test::new("disconnected");
    for killed in [true, false] {
        let name = format!("q{killed}");
        let queue = Queue::create(test.name(&name), &options).unwrap();
        queue.end_with_peers(true);
        // Nobody has sent yet.
        assert_eq!(queue.recv_timeout(Duration::from_millis(10)), Err(Error::TimedOut));
        let sender = fork("sender", || {
            let queue = Queue::open(test.name(&name)).unwrap();
            queue.send_timeout(b"1", LONG).unwrap();
            if killed {
                std::thread::sleep(LONG);
            }
        });
        assert_eq!(queue.recv_timeout(LONG).unwrap(), b"1");
        let receiver = fork("receiver", || {
            let queue = Queue::open(test.name(&name)).unwrap();
            queue.end_with_peers(true);
            assert_eq!(queue.recv_timeout(LONG), Err(Error::Disconnected("sender")));
        });
        if killed {
            receiver.wait_asleep();
            sender.kill();
        }
        receiver.join();
        assert_eq!(queue.recv_timeout(LONG), Err(Error::Disconnected("sender")));
        queue.end_with_peers(false);
        assert_eq!(queue.recv_timeout(Duration::from_millis(10)), Err(Error::TimedOut));
    }
}

pub fn what_the_last_sender_sent_is_received_before_its_end(options: QueueOptions) {
    let test = Test::new("disconnected with messages");
    for round in 0..100 {
        let name = format!("q{round}");
        let queue = Queue::create(test.name(&name), &options).unwrap();
        queue.end_with_peers(true);
        let sender = fork("sender", || {
            let queue = Queue::open(test.name(&name)).unwrap();
            queue.send_timeout(b"1", LONG).unwrap();
        });
        assert_eq!(queue.recv_timeout(LONG).unwrap(), b"1", "round {round}");
        assert_eq!(queue.recv_timeout(LONG), Err(Error::Disconnected("sender")));
        sender.join();
        test.unlink(&name).unwrap();
    }
}
