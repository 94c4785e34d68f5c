//! Queues of capacity zero: what holds for every queue, and that a send returns when a receiver has taken the message.

mod queues;
mod support;

use std::time::Duration;

use nix::sys::signal::Signal;
use rsipc::{Error, Queue, QueueOptions};
use support::{Board, Child, LONG, Random, Test, fork, message, number, wait_for};

fn options() -> QueueOptions {
    QueueOptions::new().capacity(0).max_message(100)
}

const SHORT: Duration = Duration::from_millis(20);

queues::cases! { options();
    messages_come_out_in_order_between_processes each_message_goes_to_exactly_one_receiver threads_share_one_handle
    every_length_from_none_to_the_longest receiving_into_a_buffer a_receiver_waits_for_ever_not_at_all_or_for_a_time
    one_message_wakes_one_of_many_and_none_stays_behind shutdown_wakes_all_receivers what_is_accepted_during_a_shutdown_is_received
    a_wait_ends_with_the_last_sender_if_asked_to what_the_last_sender_sent_is_received_before_its_end
    peers_tell_who_has_it_open_and_what_for a_child_of_fork_uses_its_parents_handle in_a_region
    a_stopped_receiver_holds_up_nobody_while_it_waits
}

fn sending(queue: &Queue, i: u64) -> Child {
    let sender = fork("sender", move || queue.send(&message(i, 40)).unwrap());
    sender.wait_asleep();
    sender
}

#[test]
fn nothing_is_sent_unless_a_receiver_waits() {
    let test = Test::new("try_send");
    let queue = Queue::create(test.name("q"), &options()).unwrap();
    assert_eq!((queue.capacity(), queue.len()), (Some(0), Ok(0)));
    assert_eq!(queue.try_send(b"x"), Err(Error::WouldBlock));
    assert_eq!(queue.send_timeout(b"x", Duration::ZERO), Err(Error::WouldBlock));
    assert_eq!(queue.send_timeout(b"x", SHORT), Err(Error::TimedOut));
    assert_eq!(queue.try_recv(), Err(Error::WouldBlock));
    // A receiver that only looked does not wait.
    assert_eq!(queue.recv_timeout(Duration::from_millis(1)), Err(Error::TimedOut));
    assert_eq!(queue.try_send(b"x"), Err(Error::WouldBlock));
    for _ in 0..20 {
        let receiver = fork("receiver", || assert_eq!(queue.recv().unwrap(), b"x"));
        receiver.wait_asleep();
        wait_for("it to be taken", || queue.try_send(b"x").is_ok());
        receiver.join();
        assert_eq!(queue.try_send(b"x"), Err(Error::WouldBlock));
    }
}

#[test]
fn a_sender_waits_until_its_message_is_taken() {
    let test = Test::new("waiting to be taken");
    let queue = Queue::create(test.name("q"), &options()).unwrap();
    let senders = [1, 2, 3].map(|i| sending(&queue, i));
    std::thread::sleep(Duration::from_millis(250));
    assert!(senders.iter().all(Child::is_alive));
    for (i, sender) in (1..).zip(senders) {
        assert_eq!(number(&queue.try_recv().unwrap()), i);
        sender.join();
    }
    assert_eq!(queue.try_recv(), Err(Error::WouldBlock));
}

#[test]
fn a_message_is_withdrawn_or_taken_and_never_both() {
    const ROUNDS: u64 = 4000;
    let test = Test::new("withdrawn");
    let queue = Queue::create(test.name("q"), &options()).unwrap();
    let board = Board::new(ROUNDS as usize);
    let receiver = fork("receiver", || {
        let mut random = Random(3);
        loop {
            match queue.recv_timeout(Duration::from_micros(random.below(150))) {
                Ok(bytes) => drop(board.add(number(&bytes) as usize, 1)),
                Err(Error::TimedOut | Error::WouldBlock) => {}
                Err(Error::Closed) => return,
                Err(e) => panic!("{e}"),
            }
        }
    });
    let mut random = Random(4);
    let (mut taken, mut withdrawn) = (0, 0);
    for i in 0..ROUNDS {
        match queue.send_timeout(&message(i, 20), Duration::from_micros(random.below(150))) {
            Ok(()) => {
                taken += 1;
                board.wait(i as usize, 1);
            }
            Err(Error::TimedOut | Error::WouldBlock) => {
                withdrawn += 1;
                assert_eq!(board.get(i as usize), 0, "message {i} was withdrawn, and taken");
            }
            Err(e) => panic!("{e}"),
        }
    }
    queue.shutdown().unwrap();
    receiver.join();
    assert_eq!((0..ROUNDS).map(|i| board.get(i as usize)).sum::<u64>(), taken);
    assert!(taken > 0 && withdrawn > 0, "{taken} taken, {withdrawn} withdrawn");
}

#[test]
fn the_offer_of_a_killed_sender_is_gone() {
    let test = Test::new("killed senders");
    let queue = Queue::create(test.name("q"), &options()).unwrap();
    // More than there are blocks for.
    for round in 0..300 {
        let [killed, other] = [1, 2].map(|i| sending(&queue, i));
        killed.kill();
        if round % 2 == 0 {
            assert_eq!(number(&queue.try_recv().unwrap()), 2);
            other.join();
        } else {
            other.kill();
        }
        assert_eq!(queue.try_recv(), Err(Error::WouldBlock));
    }
}

#[test]
fn a_sender_is_paired_with_the_next_receiver_when_one_is_killed() {
    let test = Test::new("killed receivers");
    let queue = Queue::create(test.name("q"), &options()).unwrap();
    for i in 0..50 {
        let [killed, other] = [(); 2].map(|()| {
            let receiver = fork("receiver", || assert_eq!(number(&queue.recv().unwrap()), i));
            receiver.wait_asleep();
            receiver
        });
        killed.kill();
        queue.send_timeout(&message(i, 20), LONG).unwrap();
        other.join();
    }
}

#[test]
fn who_is_stopped_while_it_waits_holds_up_nobody() {
    let test = Test::new("stopped senders");
    let queue = Queue::create(test.name("q"), &options()).unwrap();
    let stopped = sending(&queue, 1);
    stopped.signal(Signal::SIGSTOP);
    let other = sending(&queue, 2);
    // What a stopped process offers can be taken.
    assert_eq!(number(&queue.recv_timeout(LONG).unwrap()), 1);
    assert_eq!(number(&queue.recv_timeout(LONG).unwrap()), 2);
    other.join();
    for i in 0..600 {
        let sender = fork("sender", || queue.send_timeout(&message(i, 20), LONG).unwrap());
        assert_eq!(number(&queue.recv_timeout(LONG).unwrap()), i);
        sender.join();
    }
    stopped.signal(Signal::SIGCONT);
    stopped.join();
}

#[test]
fn shutdown_refuses_senders_that_wait() {
    let test = Test::new("shutdown with offers");
    let queue = Queue::create(test.name("q"), &options()).unwrap();
    let senders = [(); 3].map(|()| fork("sender", || assert_eq!(queue.send(b"x"), Err(Error::Closed))));
    senders.iter().for_each(Child::wait_asleep);
    queue.shutdown().unwrap();
    senders.into_iter().for_each(Child::join);
    assert_eq!(queue.recv(), Err(Error::Closed));
}

#[test]
fn more_senders_wait_than_there_are_blocks() {
    const COUNT: usize = 265;
    let test = Test::new("many senders");
    let queue = Queue::create(test.name("q"), &options().leases(0)).unwrap();
    let board = Board::new(COUNT);
    let senders: Vec<Child> = (0..COUNT as u64)
        .map(|i| {
            let queue = &queue;
            fork("sender", move || queue.send(&message(i, 20)).unwrap())
        })
        .collect();
    senders.iter().for_each(Child::wait_asleep);
    for _ in 0..COUNT as u64 {
        board.add(number(&queue.recv_timeout(LONG).unwrap()) as usize, 1);
    }
    senders.into_iter().for_each(Child::join);
    assert!((0..COUNT as u64).all(|i| board.get(i as usize) == 1));
}
