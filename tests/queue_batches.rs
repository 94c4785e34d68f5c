//! Many messages in one call: as if each were sent and received by itself.

mod support;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use rsipc::{Batch, Error, Queue, QueueOptions};
use support::{Board, Child, LONG, Random, Test, fork, message, now, number};

fn bounded(capacity: usize) -> QueueOptions {
    QueueOptions::new().capacity(capacity).max_message(100)
}

/// Of every capacity.
fn every_kind() -> [QueueOptions; 6] {
    let long = QueueOptions::new().capacity(20).max_message(20_000);
    [bounded(1), bounded(3), bounded(1000), QueueOptions::new().unbounded().max_message(3000), bounded(0), long]
}

fn numbers(batch: &Batch) -> Vec<u64> {
    batch.iter().map(number).collect()
}

#[test]
fn what_was_sent_is_received_in_that_order_however_it_is_cut_into_batches() {
    const COUNT: u64 = 3000;
    let test = Test::new("order");
    for (i, options) in every_kind().iter().enumerate() {
        let name = format!("q{i}");
        let queue = Queue::create(test.name(&name), options).unwrap();
        // Some of those that are longer than a place in the queue, where there are such.
        let longest = queue.max_message() as u64;
        let len = |n: u64| if n % 50 == 7 { longest } else { n % longest.min(90) } as usize;
        let sender = fork("sender", || {
            let queue = Queue::open(test.name(&name)).unwrap();
            let mut random = Random(77);
            let mut next = 0;
            while next < COUNT {
                let end = COUNT.min(next + 1 + random.below(150));
                let messages: Vec<Vec<u8>> = (next..end).map(|n| message(n, len(n))).collect();
                assert_eq!(queue.send_many_timeout(&messages, LONG), Ok(messages.len()));
                next = end;
                queue.send_timeout(&message(next, len(next)), LONG).unwrap();
                next += 1;
            }
            queue.shutdown().unwrap();
        });
        let (mut batch, mut next, mut random) = (Batch::new(), 0, Random(5));
        loop {
            let max = 1 + random.below(200) as usize;
            match queue.recv_many_timeout(&mut batch, max, LONG) {
                Ok(count) => assert!(count == batch.len() && (1..=max).contains(&count)),
                Err(Error::Closed) => break,
                Err(e) => panic!("{e}"),
            }
            for bytes in batch.iter() {
                assert_eq!((number(bytes), bytes.len()), (next, len(next).max(8)));
                next += 1;
            }
        }
        assert!(next >= COUNT, "{next}");
        assert!(batch.is_empty(), "nothing was received in the end");
        sender.join();
    }
}

#[test]
fn each_message_goes_to_exactly_one_receiver() {
    const SENDERS: u64 = 2;
    const RECEIVERS: u64 = 3;
    const EACH: u64 = 2000;
    for options in every_kind() {
        let test = Test::new("exactly once");
        let queue = Queue::create(test.name("q"), &options).unwrap();
        let board = Board::new((SENDERS * EACH) as usize);
        let receivers: Vec<Child> = (0..RECEIVERS)
            .map(|receiver| {
                fork("receiver", || {
                    let (mut batch, mut last) = (Batch::new(), [None; SENDERS as usize]);
                    loop {
                        // One of them receives them one by one.
                        let result = if receiver == 0 {
                            queue.recv_timeout(LONG).map(|bytes| vec![number(&bytes)])
                        } else {
                            queue.recv_many_timeout(&mut batch, 10 * receiver as usize, LONG).map(|_| numbers(&batch))
                        };
                        match result {
                            Err(Error::Closed) => return,
                            result => {
                                for number in result.unwrap() {
                                    let last = &mut last[(number / EACH) as usize];
                                    assert!(last.is_none_or(|last| last < number), "{number} came after {last:?}");
                                    *last = Some(number);
                                    board.add(number as usize, 1);
                                }
                            }
                        }
                    }
                })
            })
            .collect();
        let senders: Vec<Child> = (0..SENDERS)
            .map(|sender| {
                fork("sender", || {
                    let messages: Vec<Vec<u8>> = (sender * EACH..(sender + 1) * EACH).map(|n| message(n, 30)).collect();
                    for messages in messages.chunks(37) {
                        assert_eq!(queue.send_many_timeout(messages, LONG), Ok(messages.len()));
                    }
                })
            })
            .collect();
        senders.into_iter().for_each(Child::join);
        queue.shutdown().unwrap();
        receivers.into_iter().for_each(Child::join);
        assert!((0..SENDERS * EACH).all(|n| board.get(n as usize) == 1));
    }
}

#[test]
fn waiting_for_ever_not_at_all_or_for_a_time() {
    let test = Test::new("waiting");
    let queue = Queue::create(test.name("q"), &bounded(3)).unwrap();
    let short = Duration::from_millis(30);
    let messages: Vec<Vec<u8>> = (0..5).map(|n| message(n, 20)).collect();
    let mut batch = Batch::new();
    assert_eq!(queue.try_recv_many(&mut batch, 10), Err(Error::WouldBlock));
    assert_eq!(queue.recv_many_timeout(&mut batch, 10, Duration::ZERO), Err(Error::WouldBlock));
    let start = Instant::now();
    assert_eq!(queue.recv_many_timeout(&mut batch, 10, short), Err(Error::TimedOut));
    assert!(start.elapsed() >= short);

    // As many as there is room for; what kept the others from being sent is told by the next call.
    assert_eq!(queue.try_send_many(&messages), Ok(3));
    assert_eq!(queue.try_send_many(&messages[3..]), Err(Error::WouldBlock));
    assert_eq!(queue.send_many_timeout(&messages[3..], Duration::ZERO), Err(Error::WouldBlock));
    let start = Instant::now();
    assert_eq!(queue.send_many_timeout(&messages[3..], short), Err(Error::TimedOut));
    assert!(start.elapsed() >= short);
    assert_eq!(queue.try_recv_many(&mut batch, 2), Ok(2));
    assert_eq!(numbers(&batch), [0, 1]);
    let start = Instant::now();
    assert_eq!(queue.send_many_timeout(&[&messages[3], &messages[4], &messages[0]], short), Ok(2));
    assert!(start.elapsed() >= short);
    assert_eq!(queue.recv_many(&mut batch, 100), Ok(3));
    assert_eq!(numbers(&batch), [2, 3, 4]);

    // Who waits gets what comes, and does not wait for more.
    let receiver = fork("receiver", || {
        let mut batch = Batch::new();
        assert_eq!(queue.recv_many(&mut batch, 2), Ok(1));
        assert_eq!(numbers(&batch), [7]);
    });
    receiver.wait_asleep();
    queue.send(&message(7, 20)).unwrap();
    receiver.join();
    let sender = fork("sender", || assert_eq!(queue.send_many(&messages), Ok(5)));
    sender.wait_asleep();
    let mut got = vec![];
    while got.len() < 5 {
        queue.recv_many_timeout(&mut batch, 10, LONG).unwrap();
        got.extend(numbers(&batch));
    }
    assert_eq!(got, [0, 1, 2, 3, 4]);
    sender.join();
}

#[test]
fn a_batch_is_its_messages_and_is_used_again() {
    let test = Test::new("batch");
    let queue = Queue::create(test.name("q"), &bounded(10)).unwrap();
    let mut batch = Batch::new();
    assert!(batch.is_empty() && batch.get(0).is_none() && batch.iter().next().is_none());
    assert_eq!(queue.send_many(&["a", "", "bcd"]), Ok(3));
    assert_eq!(queue.recv_many(&mut batch, 10), Ok(3));
    assert_eq!((batch.len(), batch.iter().len()), (3, 3));
    assert_eq!(batch.iter().collect::<Vec<_>>(), [&b"a"[..], b"", b"bcd"]);
    assert_eq!((&batch[0], &batch[1], &batch[2], batch.get(3)), (&b"a"[..], &b""[..], &b"bcd"[..], None));
    assert_eq!(format!("{batch:?}"), "[[97], [], [98, 99, 100]]");
    // What was in it is gone, also where nothing comes; and its memory stays.
    let memory = batch[0].as_ptr();
    assert_eq!(queue.try_recv_many(&mut batch, 10), Err(Error::WouldBlock));
    assert!(batch.is_empty());
    for _ in 0..100 {
        assert_eq!(queue.send_many(&["efg", "h"]), Ok(2));
        assert_eq!(queue.recv_many(&mut batch, 10), Ok(2));
        assert_eq!((&batch[0], &batch[1], batch[0].as_ptr()), (&b"efg"[..], &b"h"[..], memory));
    }
    let copy = batch.clone();
    batch.clear();
    assert!(batch.is_empty() && copy.len() == 2 && copy != batch);
}

#[test]
#[should_panic(expected = "message 0 of a batch of 0")]
fn an_index_beyond_a_batch_panics() {
    let _ = &Batch::new()[0];
}

#[test]
fn what_is_wrong_is_told_before_anything_is_sent_or_taken() {
    let test = Test::new("wrong");
    let queue = Queue::create(test.name("q"), &bounded(10)).unwrap();
    let long = vec![0; 101];
    let error = queue.send_many(&[&b"short"[..], b"short", &long, &long]).unwrap_err();
    assert_eq!(error, Error::MessageTooLong { index: Some(2), len: 101, max: 100 });
    assert!(error.to_string().contains("number 2") && error.to_string().contains("101 bytes"), "{error}");
    assert_eq!(queue.len(), Ok(0));
    assert_eq!(queue.send_many::<&[u8]>(&[]), Ok(0));
    queue.send(b"x").unwrap();
    let error = queue.recv_many(&mut Batch::new(), 0).unwrap_err();
    assert!(matches!(&error, Error::InvalidArgument(text) if text.contains("at least 1")), "{error}");
    assert_eq!(queue.len(), Ok(1));
}

#[test]
fn what_ends_a_batch_in_the_middle_is_told_by_the_next_call() {
    let test = Test::new("the middle");
    // A backlog that has reached its limit.
    let queue = Queue::create(test.name("limit"), &QueueOptions::new().unbounded_within(100_000).max_message(8000)).unwrap();
    let messages: Vec<Vec<u8>> = (0..50).map(|n| message(n, 5000)).collect();
    let sent = queue.send_many(&messages).unwrap();
    assert!((1..50).contains(&sent), "{sent}");
    assert!(matches!(queue.send_many(&messages[sent..]), Err(Error::LimitReached(_))));
    let mut batch = Batch::new();
    let mut got = vec![];
    while queue.try_recv_many(&mut batch, 7).is_ok() {
        got.extend(numbers(&batch));
    }
    assert_eq!(got, (0..sent as u64).collect::<Vec<_>>());

    // A queue that is shut down while one waits.
    let queue = Queue::create(test.name("shut down"), &bounded(2)).unwrap();
    let sender = fork("sender", || {
        assert_eq!(queue.send_many(&["a", "b", "c"]), Ok(2));
        assert_eq!(queue.send_many(&["c"]), Err(Error::Closed));
    });
    sender.wait_asleep();
    queue.shutdown().unwrap();
    sender.join();
    assert_eq!(queue.recv_many(&mut batch, 10), Ok(2));
    assert_eq!(queue.recv_many(&mut batch, 10), Err(Error::Closed));
}

#[test]
fn messages_that_were_given_back_come_first() {
    let test = Test::new("given back");
    let queue = Queue::create(test.name("q"), &bounded(10)).unwrap();
    let messages: Vec<Vec<u8>> = (0..6).map(|n| message(n, 20)).collect();
    queue.send_many(&messages).unwrap();
    drop([queue.lease().unwrap(), queue.lease().unwrap()]);
    let mut batch = Batch::new();
    let mut got = vec![];
    while queue.try_recv_many(&mut batch, 10).is_ok() {
        got.extend(numbers(&batch));
    }
    assert_eq!(got, [0, 1, 2, 3, 4, 5]);
}

/// Those who sleep look again after 100 ms. A busy machine may delay a wake-up for as long, but not each time.
const ROUNDS: usize = 10;
const WOKEN: Duration = Duration::from_millis(50);

/// The shortest time, of several rounds, from an act until the last of three processes that slept says so.
fn shortest(queue: &Queue, sleep: impl Fn(), act: impl Fn()) -> Duration {
    let round = |_| {
        let board = Board::new(3);
        let sleepers: Vec<Child> = (0..3)
            .map(|i| {
                let board = &board;
                let sleep = &sleep;
                fork("sleeper", move || {
                    sleep();
                    board.set(i, now());
                })
            })
            .collect();
        sleepers.iter().for_each(Child::wait_asleep);
        let start = now();
        act();
        sleepers.into_iter().for_each(Child::join);
        while queue.try_recv().is_ok() {}
        Duration::from_nanos((0..3).map(|i| board.get(i)).max().unwrap().saturating_sub(start))
    };
    (0..ROUNDS).map(round).min().unwrap()
}

#[test]
fn a_batch_wakes_all_for_whom_there_is_something() {
    let test = Test::new("wake-ups");
    for (name, options) in [("bounded", bounded(3)), ("unbounded", QueueOptions::new().unbounded().max_message(100))] {
        let queue = Queue::create(test.name(name), &options).unwrap();
        let send = || assert_eq!(queue.send_many(&[[1], [2], [3]]), Ok(3));
        let time = shortest(&queue, || drop(queue.recv_timeout(LONG).unwrap()), send);
        assert!(time < WOKEN, "receivers were woken after {time:?}");
    }
    let queue = Queue::create(test.name("full"), &bounded(3)).unwrap();
    let fill_and_wait = || {
        let _ = queue.try_send_many(&[[0]; 3]);
        queue.send_timeout(b"x", LONG).unwrap();
    };
    let time = shortest(&queue, fill_and_wait, || assert_eq!(queue.recv_many(&mut Batch::new(), 3), Ok(3)));
    assert!(time < WOKEN, "senders were woken after {time:?}");
}

#[test]
fn the_end_of_a_sender_in_the_middle_leaves_the_first_so_many() {
    let test = Test::new("killed");
    let queue = Queue::create(test.name("q"), &bounded(200)).unwrap();
    let mut batch = Batch::new();
    for round in 0..20 {
        let sender = fork("sender", || {
            let messages: Vec<Vec<u8>> = (0..100_000).map(|n| message(n, 40)).collect();
            queue.send_many(&messages).unwrap();
        });
        let mut next = 0;
        while next < 300 + 500 * round {
            queue.recv_many_timeout(&mut batch, 64, LONG).unwrap();
            batch.iter().for_each(|bytes| {
                assert_eq!(number(bytes), next);
                next += 1;
            });
        }
        sender.kill();
        while queue.try_recv_many(&mut batch, 64).is_ok() {
            batch.iter().for_each(|bytes| {
                assert_eq!(number(bytes), next);
                next += 1;
            });
        }
        assert_eq!(queue.len(), Ok(0));
    }
}

#[test]
fn a_message_that_panics_leaves_the_queue_to_others() {
    struct Panics<'a>(&'a [u8], Cell<u32>);
    impl AsRef<[u8]> for Panics<'_> {
        fn as_ref(&self) -> &[u8] {
            let left = self.1.get();
            assert!(left > 0, "a message is read too often");
            self.1.set(left - 1);
            self.0
        }
    }
    let test = Test::new("panics");
    for (i, options) in every_kind().iter().enumerate() {
        for reads in 0..4 {
            let name = format!("q{i}-{reads}");
            let queue = Queue::create(test.name(&name), options).unwrap();
            if queue.capacity() == Some(0) {
                continue;
            }
            let messages = [Panics(b"first", Cell::new(u32::MAX)), Panics(b"second", Cell::new(reads))];
            let sent = catch_unwind(AssertUnwindSafe(|| queue.send_many_timeout(&messages, Duration::ZERO)));
            let other = Queue::open(test.name(&name)).unwrap();
            while other.try_recv().is_ok() {}
            other.send_timeout(b"third", LONG).unwrap_or_else(|e| panic!("after {reads} reads, {sent:?}: {e}"));
        }
    }
}
