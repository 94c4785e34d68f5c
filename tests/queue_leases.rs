//! Messages on lease, for queues of every capacity: finished, given back, or come back from who died.

mod support;

use std::time::Duration;

use rsipc::{Error, Queue, QueueOptions};
use support::{Board, Child, LONG, Test, fork, message, number, wait_for};

const SHORT: Duration = Duration::from_millis(20);

/// Queues of all kinds, with their names.
fn queues(test: &Test, leases: usize) -> Vec<(&'static str, Queue)> {
    let options = QueueOptions::new().leases(leases);
    [
        ("bounded", options.capacity(4)),
        ("unbounded", options.unbounded()),
        ("rendezvous", options.capacity(0)),
        ("long", options.capacity(4).max_message(100_000)),
    ]
    .map(|(name, options)| (name, Queue::create(test.name(name), &options).unwrap()))
    .into()
}

/// The lengths that messages in tests have: some are longer than a slot.
fn len(queue: &Queue, i: u64) -> usize {
    [10, 5000, 60, 70_000][(i % 4) as usize].min(queue.max_message())
}

/// Lets another process send messages of these numbers.
fn sender(queue: &Queue, numbers: std::ops::Range<u64>) -> Child {
    fork("sender", || numbers.for_each(|i| queue.send_timeout(&message(i, len(queue, i)), LONG).unwrap()))
}

/// A worker that takes a message on lease and keeps it.
fn worker(queue: &Queue) -> Child {
    let board = Board::new(1);
    let worker = fork("worker", || {
        let _lease = queue.lease_timeout(LONG).unwrap();
        board.set(0, 1);
        std::thread::sleep(LONG);
    });
    board.wait(0, 1);
    worker
}

#[test]
fn a_message_on_lease_is_gone_once_it_is_finished() {
    let test = Test::new("finish");
    for (name, queue) in queues(&test, 256) {
        let sender = sender(&queue, 0..8);
        for i in 0..8 {
            let lease = queue.lease_timeout(LONG).unwrap();
            assert_eq!((number(lease.message()), lease.deliveries()), (i, 1), "{name}");
            assert_eq!(lease.message().len(), len(&queue, i));
            lease.finish().unwrap();
        }
        sender.join();
        assert_eq!(queue.try_recv(), Err(Error::WouldBlock), "{name}");
        assert_eq!(queue.try_lease().err(), Some(Error::WouldBlock), "{name}");
        assert_eq!(queue.lease_timeout(SHORT).err(), Some(Error::TimedOut), "{name}");
        assert_eq!(queue.len(), Ok(0), "{name}");
    }
}

#[test]
fn a_message_given_back_comes_first_and_in_order() {
    let test = Test::new("give back");
    for (name, queue) in queues(&test, 256) {
        let sender = sender(&queue, 0..8);
        let mut leases: Vec<_> = (0..4).map(|_| queue.lease_timeout(LONG).unwrap()).collect();
        assert_eq!(leases.iter().map(|lease| number(lease.message())).collect::<Vec<_>>(), [0, 1, 2, 3], "{name}");
        // Given back in another order than they were received in.
        leases.swap_remove(1).give_back().unwrap();
        drop(leases.swap_remove(1));
        leases.swap_remove(0).give_back().unwrap();
        // 2 stays out.
        for i in [0, 1, 3] {
            let lease = queue.lease_timeout(LONG).unwrap();
            assert_eq!((number(lease.message()), lease.deliveries()), (i, 2), "{name}");
            drop(lease);
            assert_eq!(number(&queue.recv_timeout(LONG).unwrap()), i, "{name}");
        }
        drop(leases);
        for i in [2, 4, 5, 6, 7] {
            assert_eq!(number(&queue.recv_timeout(LONG).unwrap()), i, "{name}");
        }
        sender.join();
        assert_eq!(queue.try_recv(), Err(Error::WouldBlock));
    }
}

#[test]
fn the_message_of_a_killed_worker_goes_to_the_next() {
    let test = Test::new("killed worker");
    for (name, queue) in queues(&test, 256) {
        for i in 0..4 {
            let sender = sender(&queue, i..i + 1);
            worker(&queue).kill();
            sender.join();
            let lease = queue.lease_timeout(LONG).unwrap();
            assert_eq!((number(lease.message()), lease.deliveries()), (i, 2), "{name}");
            drop(lease);
            worker(&queue).kill();
            assert_eq!(number(&queue.recv_timeout(LONG).unwrap()), i, "{name}");
            assert_eq!(queue.try_recv(), Err(Error::WouldBlock), "{name}");
        }
    }
}

/// However the one that waits receives, and whether it waits for the first message ever on lease or not.
#[test]
fn who_waits_already_gets_the_message_of_a_killed_worker() {
    let test = Test::new("waiting for a killed worker");
    for (name, queue) in queues(&test, 256) {
        for on_lease in [false, true] {
            let opened = Queue::open(test.name(name)).unwrap();
            let worker = fork("worker", || {
                let _lease = opened.lease_timeout(LONG).unwrap();
                std::thread::sleep(LONG);
            });
            worker.wait_asleep();
            let waiting = fork("one that waits", || {
                if on_lease {
                    let lease = queue.lease_timeout(LONG).unwrap();
                    assert_eq!(number(lease.message()), 5);
                    lease.finish().unwrap();
                } else {
                    assert_eq!(number(&queue.recv_timeout(LONG).unwrap()), 5);
                }
            });
            waiting.wait_asleep();
            // It goes to one of the two.
            sender(&queue, 5..6).join();
            std::thread::sleep(SHORT);
            worker.kill();
            waiting.join();
            assert!(queue.is_empty().unwrap(), "{name}");
        }
    }
}

#[test]
fn a_sleeping_receiver_hears_of_the_first_lessee_that_dies() {
    let test = Test::new("first lessee");
    for (name, queue) in queues(&test, 256) {
        let receiver = fork("receiver", || assert_eq!(number(&queue.recv_timeout(LONG).unwrap()), 1));
        receiver.wait_asleep();
        // It cannot take the message before the worker does.
        receiver.signal(nix::sys::signal::Signal::SIGSTOP);
        let sender = sender(&queue, 1..2);
        let worker = worker(&queue);
        sender.join();
        receiver.signal(nix::sys::signal::Signal::SIGCONT);
        wait_for("the receiver to sleep again", || receiver.is_asleep());
        std::thread::sleep(SHORT);
        worker.kill();
        receiver.join();
        assert!(queue.is_empty().unwrap(), "{name}");
    }
}

#[test]
fn a_pool_of_one_goes_on() {
    let test = Test::new("a pool of one");
    for (name, queue) in queues(&test, 1) {
        for i in 0..3 {
            let sender = sender(&queue, i..i + 1);
            let lease = queue.lease_timeout(LONG).unwrap();
            sender.join();
            lease.give_back().unwrap();
            let lease = queue.lease_timeout(LONG).unwrap();
            assert_eq!((number(lease.message()), lease.deliveries()), (i, 2), "{name}");
            drop(lease);
            worker(&queue).kill();
            let lease = queue.lease_timeout(LONG).unwrap();
            assert_eq!((number(lease.message()), lease.deliveries()), (i, 4), "{name}");
            lease.finish().unwrap();
        }
    }
}

#[test]
fn no_more_are_out_than_the_queue_was_made_for() {
    let test = Test::new("exhausted");
    for (name, queue) in queues(&test, 3) {
        let most = 3;
        if ["rendezvous", "long"].contains(&name) {
            // More can be, since senders have blocks as well: so many at least.
            let sender = sender(&queue, 0..most as u64);
            let leases = [(); 3].map(|()| queue.lease_timeout(LONG).unwrap());
            leases.into_iter().for_each(|lease| lease.finish().unwrap());
            sender.join();
            continue;
        }
        let sender = sender(&queue, 0..most as u64 + 1);
        let mut leases: Vec<_> = (0..most).map(|_| queue.lease_timeout(LONG).unwrap()).collect();
        assert_eq!(queue.try_lease().err(), Some(Error::WouldBlock), "{name}");
        assert_eq!(queue.lease_timeout(SHORT).err(), Some(Error::TimedOut), "{name}");
        let waiting = fork("one that waits", || {
            let lease = queue.lease_timeout(LONG).unwrap();
            assert_eq!(number(lease.message()), most as u64);
            lease.finish().unwrap();
        });
        waiting.wait_asleep();
        leases.pop().unwrap().finish().unwrap();
        waiting.join();
        sender.join();
    }
}

#[test]
fn senders_that_wait_for_room_leave_a_block_to_lessees() {
    let test = Test::new("senders and lessees");
    for long in [5000, 100] {
        let name = format!("q{long}");
        let options = QueueOptions::new().capacity(1).max_message(5000).leases(1);
        let queue = Queue::create(test.name(&name), &options).unwrap();
        const EACH: u64 = 300;
        let board = Board::new(1);
        let senders = [(); 3].map(|()| {
            fork("sender", || {
                for i in 0..EACH {
                    queue.send_timeout(&message(i, if i % 2 == 0 { 5000 } else { long }), LONG).unwrap();
                }
            })
        });
        let worker = fork("worker", || {
            for _ in 0..3 * EACH {
                let lease = queue.lease_timeout(LONG).unwrap();
                number(lease.message());
                lease.finish().unwrap();
                board.add(0, 1);
            }
        });
        senders.into_iter().for_each(Child::join);
        worker.join();
        assert_eq!(board.get(0), 3 * EACH);
    }
}

#[test]
fn a_child_of_fork_does_not_have_its_parents_leases() {
    let test = Test::new("fork");
    for (name, queue) in queues(&test, 256) {
        let sender = sender(&queue, 0..2);
        let leases = std::cell::Cell::new(Some([queue.lease_timeout(LONG).unwrap(), queue.lease_timeout(LONG).unwrap()]));
        fork("child", || {
            let [first, second] = leases.take().unwrap();
            assert!(matches!(first.finish(), Err(Error::NotOwner(_))));
            // Does nothing.
            drop(second);
        })
        .join();
        sender.join();
        assert_eq!(queue.len(), Ok(0), "{name}");
        for lease in leases.take().unwrap() {
            lease.finish().unwrap();
        }
        assert_eq!(queue.try_recv(), Err(Error::WouldBlock), "{name}");
    }
}

#[test]
fn leases_outlive_a_shutdown() {
    let test = Test::new("shutdown");
    for (name, queue) in queues(&test, 256) {
        let sender = sender(&queue, 0..3);
        let [finished, given_back] = [(); 2].map(|()| queue.lease_timeout(LONG).unwrap());
        let worker = worker(&queue);
        sender.join();
        queue.shutdown().unwrap();
        finished.finish().unwrap();
        assert_eq!(queue.try_recv(), Err(Error::WouldBlock), "{name}: another process may yet give one back");
        given_back.give_back().unwrap();
        assert_eq!(number(&queue.recv().unwrap()), 1, "{name}");
        assert_eq!(queue.recv_timeout(SHORT), Err(Error::TimedOut), "{name}");
        worker.kill();
        assert_eq!(number(&queue.recv().unwrap()), 2, "{name}");
        assert_eq!(queue.lease().err(), Some(Error::Closed), "{name}");
    }
}

#[test]
fn a_queue_made_for_no_leases_says_so() {
    let test = Test::new("no leases");
    for (name, options) in [("bounded", QueueOptions::new()), ("unbounded", QueueOptions::new().unbounded())] {
        let queue = Queue::create(test.name(name), &options.leases(0)).unwrap();
        queue.send(b"x").unwrap();
        assert!(matches!(queue.lease().err(), Some(Error::Unsupported(_))));
        assert!(matches!(queue.try_lease().err(), Some(Error::Unsupported(_))));
        assert_eq!(queue.recv().unwrap(), b"x");
    }
}

#[test]
fn many_workers_that_die_do_all_the_work() {
    const JOBS: u64 = 600;
    let test = Test::new("many workers");
    for (name, queue) in queues(&test, 8) {
        let board = Board::new(JOBS as usize);
        let sender = fork("sender", || {
            (0..JOBS).for_each(|i| queue.send_timeout(&message(i, len(&queue, i)), LONG).unwrap());
            queue.shutdown().unwrap();
        });
        let done = |i: u64| board.get(i as usize) > 0;
        let start = || {
            fork("worker", || {
                loop {
                    match queue.lease_timeout(LONG) {
                        Ok(lease) => {
                            let i = number(lease.message());
                            // Every so often somebody dies over a job, or puts it back.
                            match (i % 50, lease.deliveries()) {
                                (3, 1) => support::die(),
                                (7, ..4) => drop(lease),
                                _ => {
                                    board.add(i as usize, 1);
                                    lease.finish().unwrap();
                                }
                            }
                        }
                        Err(Error::Closed) => return,
                        Err(e) => panic!("{e}"),
                    }
                }
            })
        };
        let mut workers: Vec<Child> = (0..3).map(|_| start()).collect();
        wait_for("all jobs to be done", || {
            for worker in &mut workers {
                if !worker.is_alive() {
                    *worker = start();
                }
            }
            (0..JOBS).all(done)
        });
        sender.join();
        workers.iter().for_each(|worker| {
            worker.end();
        });
        for i in 0..JOBS {
            assert_eq!(board.get(i as usize), 1, "{name}, job {i}");
        }
    }
}

#[test]
fn a_dead_workers_message_comes_back_to_a_busy_queue() {
    let test = Test::new("busy");
    for (name, queue) in queues(&test, 256).into_iter().filter(|(name, _)| *name != "rendezvous") {
        let sender = sender(&queue, 0..1);
        worker(&queue).kill();
        sender.join();
        // There is always something to receive.
        let mut next = 100;
        wait_for("the dead worker's message", || {
            (0..3).for_each(|_| queue.send(&message(next, 10)).unwrap());
            next += 1;
            (0..3).any(|_| number(&queue.recv().unwrap()) == 0)
        });
        assert!(!queue.is_empty().unwrap() || queue.try_recv() == Err(Error::WouldBlock), "{name}");
    }
}
