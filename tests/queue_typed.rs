//! Queues whose messages are of one type, of plain old data. What all queues promise the other tests see to.

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use bytemuck::{Pod, Zeroable};
use nix::sys::signal::Signal;
use rsipc::{Batch, Error, Queue, QueueOptions, TypedQueue};
use support::{Board, LONG, Test, fork, wait_for};

#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
struct Sample {
    number: u64,
    values: [f64; 3],
    /// Follows from the rest.
    sum: u64,
}

fn sample(number: u64) -> Sample {
    Sample { number, values: [number as f64, 0.5, -1.0], sum: number.wrapping_mul(0x9e37_79b9_7f4a_7c15) }
}

/// Longer ones than lie in the queue itself.
type Picture = [[u8; 100]; 99];

fn every_kind() -> [QueueOptions; 3] {
    [QueueOptions::new().capacity(3), QueueOptions::new().unbounded(), QueueOptions::new().capacity(0)]
}

#[test]
fn values_arrive_in_their_order_in_another_process() {
    let test = Test::new("values");
    for (i, options) in every_kind().iter().enumerate() {
        let name = format!("q{i}");
        let samples = TypedQueue::<Sample>::create(test.name(&name), options).unwrap();
        assert_eq!(samples.queue().max_message(), size_of::<Sample>());
        let sender = fork("sender", || {
            let samples = TypedQueue::<Sample>::open(test.name(&name)).unwrap();
            for number in 0..200 {
                samples.send_timeout(&sample(number), LONG).unwrap();
            }
            samples.queue().shutdown().unwrap();
        });
        let received: Vec<Sample> = samples.iter().map(Result::unwrap).collect();
        assert_eq!(received, (0..200).map(sample).collect::<Vec<_>>());
        assert_eq!(samples.recv(), Err(Error::Closed));
        assert_eq!(samples.send(&sample(0)), Err(Error::Closed));
        sender.join();
    }
}

#[test]
fn the_bytes_are_those_of_the_structure() {
    let test = Test::new("bytes");
    let samples = TypedQueue::<Sample>::open_or_create(test.name("samples"), &QueueOptions::new()).unwrap();
    samples.send(&sample(7)).unwrap();
    let mut bytes = 7u64.to_le_bytes().to_vec();
    for value in [7.0f64, 0.5, -1.0] {
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend(sample(7).sum.to_le_bytes());
    assert_eq!(samples.queue().recv().unwrap(), bytes);
    samples.queue().send(&bytes).unwrap();
    assert_eq!(samples.recv().unwrap(), sample(7));
}

#[test]
fn any_length_that_a_message_can_have() {
    let test = Test::new("lengths");
    let options = QueueOptions::new().capacity(4);
    let signals = TypedQueue::<()>::create(test.name("signals"), &options).unwrap();
    signals.send(&()).unwrap();
    assert_eq!(signals.try_recv(), Ok(()));
    assert_eq!(signals.try_recv(), Err(Error::WouldBlock));

    let mut picture: Picture = [[0; 100]; 99];
    picture[98][99] = 9;
    let pictures = TypedQueue::<Picture>::create(test.name("pictures"), &options).unwrap();
    pictures.send(&picture).unwrap();
    assert_eq!(pictures.recv().unwrap(), picture);
}

#[test]
fn waits_end_as_those_of_the_queue() {
    let test = Test::new("waits");
    let numbers = TypedQueue::<u32>::create(test.name("numbers"), &QueueOptions::new().capacity(1)).unwrap();
    let short = Duration::from_millis(1);
    assert_eq!(numbers.recv_timeout(short), Err(Error::TimedOut));
    assert_eq!(numbers.recv_timeout(Duration::ZERO), Err(Error::WouldBlock));
    numbers.try_send(&1).unwrap();
    assert_eq!(numbers.try_send(&2), Err(Error::WouldBlock));
    assert_eq!(numbers.send_timeout(&2, short), Err(Error::TimedOut));
    assert_eq!(numbers.try_iter().collect::<Vec<_>>(), [Ok(1)]);
}

#[test]
fn a_message_that_is_no_value_is_handed_out_as_it_is_and_keeps_nobody_from_the_next() {
    let test = Test::new("wrong");
    for (i, options) in every_kind().iter().enumerate() {
        let name = format!("q{i}");
        let numbers = TypedQueue::<u64>::create(test.name(&name), options).unwrap();
        let peer = fork("peer", || {
            let bytes = Queue::open(test.name(&name)).unwrap();
            for message in [&b"short"[..], b"", &1u64.to_le_bytes()] {
                bytes.send_timeout(message, LONG).unwrap();
            }
            let too_long = bytes.send(&[0; 9]);
            assert_eq!(too_long, Err(Error::MessageTooLong { index: None, len: 9, max: 8 }));
            bytes.shutdown().unwrap();
        });
        let wrong = |message: &[u8]| {
            Err(Error::WrongMessage { message: message.to_vec(), why: "a value of this type has 8 bytes".into() })
        };
        assert_eq!(numbers.iter().collect::<Vec<_>>(), [wrong(b"short"), wrong(b""), Ok(1)]);
        peer.join();
    }
    let error = TypedQueue::<u64>::create(test.name("text"), &QueueOptions::new()).unwrap().decode(b"seven").unwrap_err();
    assert_eq!(error.to_string(), "a message of 5 bytes is not of this queue's type: a value of this type has 8 bytes");
    assert_eq!(error.code(), -5);
}

#[test]
fn a_loop_over_a_queue_ends_after_an_error() {
    let test = Test::new("loop");
    let numbers = TypedQueue::<u8>::create(test.name("numbers"), &QueueOptions::new()).unwrap();
    numbers.queue().end_with_peers(true);
    let sender = fork("sender", || TypedQueue::<u8>::open(test.name("numbers")).unwrap().send(&1).unwrap());
    assert_eq!(numbers.iter().collect::<Vec<_>>(), [Ok(1), Err(Error::Disconnected("sender"))]);
    sender.join();
    assert_eq!(numbers.queue().iter().collect::<Vec<_>>(), [Err(Error::Disconnected("sender"))]);
    assert_eq!(numbers.queue().try_iter().count(), 0);
}

#[test]
fn a_queue_for_messages_of_another_length_is_refused() {
    let test = Test::new("another");
    let options = QueueOptions::new();
    drop(Queue::create(test.name("bytes"), &options.max_message(9)).unwrap());
    let is_refused = |queue: rsipc::Result<TypedQueue<u64>>| {
        let error = queue.unwrap_err();
        assert!(matches!(error, Error::WrongKind { .. }), "{error}");
        let text = "this is a queue for messages of another length, not a queue for messages as long as a value of this type";
        assert_eq!(error.to_string(), text);
    };
    is_refused(TypedQueue::open(test.name("bytes")));
    is_refused(TypedQueue::open_or_create(test.name("bytes"), &options));
    is_refused(TypedQueue::from_queue(Queue::open(test.name("bytes")).unwrap()));
    assert!(matches!(TypedQueue::<u64>::open(test.name("nothing")), Err(Error::NotFound { .. })));
    assert!(matches!(TypedQueue::<u64>::create(test.name("bytes"), &options), Err(Error::AlreadyExists { .. })));
}

#[test]
fn values_come_and_go_in_batches() {
    let test = Test::new("batches");
    let samples = TypedQueue::<Sample>::create(test.name("samples"), &QueueOptions::new().capacity(10)).unwrap();
    let all: Vec<Sample> = (0..25).map(sample).collect();
    assert_eq!(samples.try_send_many(&all), Ok(10));
    let receiver = fork("receiver", || {
        let samples = TypedQueue::<Sample>::open(test.name("samples")).unwrap();
        let (mut batch, mut next) = (Batch::new(), 0);
        while next < 25 {
            let received = samples.recv_many_timeout(&mut batch, 7, LONG).unwrap();
            assert!((1..=7).contains(&received.len()));
            for value in received {
                assert_eq!(value, Ok(sample(next)));
                next += 1;
            }
        }
        assert_eq!(samples.try_recv_many(&mut batch, 7).map(drop), Err(Error::WouldBlock));
    });
    assert_eq!(samples.send_many_timeout(&all[10..], LONG), Ok(15));
    receiver.join();

    // One that is no value is one of the batch.
    samples.send(&sample(1)).unwrap();
    samples.queue().send(b"no sample").unwrap();
    samples.send(&sample(2)).unwrap();
    let mut batch = Batch::new();
    let received: Vec<_> = samples.recv_many(&mut batch, 10).unwrap().collect();
    assert_eq!((&received[0], &received[2]), (&Ok(sample(1)), &Ok(sample(2))));
    assert!(matches!(&received[1], Err(Error::WrongMessage { message, .. }) if message == b"no sample"));
    assert_eq!(samples.send_many(&[]), Ok(0));
}

#[test]
fn who_is_killed_while_it_sends_tears_no_value_and_loses_none_that_was_accepted() {
    let test = Test::new("killed");
    let board = Board::new(1);
    for _ in 0..5 {
        let name = "samples";
        let samples = TypedQueue::<Sample>::create(test.name(name), &QueueOptions::new().capacity(1000)).unwrap();
        board.set(0, 0);
        let sender = fork("sender", || {
            let samples = TypedQueue::<Sample>::open(test.name(name)).unwrap();
            for number in 1.. {
                samples.send(&sample(number)).unwrap();
                board.set(0, number);
            }
        });
        wait_for("some messages", || board.get(0) > 100);
        sender.signal(Signal::SIGKILL);
        sender.end();
        let received: Vec<Sample> = samples.try_iter().map(Result::unwrap).collect();
        assert_eq!(received, (1..=received.len() as u64).map(sample).collect::<Vec<_>>());
        assert!(received.len() as u64 >= board.get(0));
        test.unlink(name).unwrap();
    }
}

#[test]
fn a_value_on_lease_comes_back_from_a_worker_that_dies() {
    let test = Test::new("lease");
    let jobs = TypedQueue::<[u32; 2]>::create(test.name("jobs"), &QueueOptions::new()).unwrap();
    let all: Vec<[u32; 2]> = (0..10).map(|number| [number, number * 2]).collect();
    jobs.send_many(&all).unwrap();
    let worker = fork("worker", || {
        let jobs = TypedQueue::<[u32; 2]>::open(test.name("jobs")).unwrap();
        let lease = jobs.queue().lease().unwrap();
        assert_eq!(jobs.decode(lease.message()), Ok([0, 0]));
        support::die();
    });
    worker.end();
    let mut done = BTreeSet::new();
    while let Ok(lease) = jobs.queue().lease_timeout(if done.len() < 10 { LONG } else { Duration::ZERO }) {
        assert!(done.insert(jobs.decode(lease.message()).unwrap()));
        lease.finish().unwrap();
    }
    assert_eq!(done, all.into_iter().collect());
}
