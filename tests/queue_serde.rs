//! Queues whose messages are of one type, of any that serde writes and reads.

#![cfg(feature = "serde")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use rsipc::{Batch, Error, Postcard, Queue, QueueOptions, TypedQueue};
use serde::{Deserialize, Serialize, Serializer};
use support::{LONG, Test, fork};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Job {
    Stop,
    Resize { path: String, width: u32, quality: Option<f32> },
    Label(BTreeMap<String, Vec<u64>>),
}

type Jobs = TypedQueue<Job, Postcard>;

fn jobs() -> Vec<Job> {
    let labels = [("cats".to_owned(), vec![1, u64::MAX]), (String::new(), vec![])];
    vec![
        Job::Resize { path: "Kätzchen.jpg".into(), width: 640, quality: Some(0.5) },
        Job::Label(BTreeMap::from(labels)),
        Job::Resize { path: "x".repeat(3000), width: 0, quality: None },
        Job::Stop,
    ]
}

fn wrong(error: &Error) -> &[u8] {
    match error {
        Error::WrongMessage { message, .. } => message,
        other => panic!("{other}"),
    }
}

#[test]
fn values_arrive_in_their_order_in_another_process() {
    let test = Test::new("values");
    let every_kind = [QueueOptions::new().capacity(2), QueueOptions::new().unbounded(), QueueOptions::new().capacity(0)];
    for (i, options) in every_kind.iter().enumerate() {
        let name = format!("q{i}");
        let queue = Jobs::create(test.name(&name), options).unwrap();
        assert_eq!(queue.queue().max_message(), 4096);
        let sender = fork("sender", || {
            let queue = Jobs::open(test.name(&name)).unwrap();
            for job in jobs() {
                queue.send_timeout(&job, LONG).unwrap();
            }
            assert_eq!(queue.send_many_timeout(&jobs(), LONG), Ok(4));
            queue.queue().shutdown().unwrap();
        });
        let received: Vec<Job> = queue.iter().map(Result::unwrap).collect();
        assert_eq!(received, [jobs(), jobs()].concat());
        assert_eq!(queue.recv(), Err(Error::Closed));
        sender.join();
    }
}

#[test]
fn waits_end_as_those_of_the_queue() {
    let test = Test::new("waits");
    let queue = Jobs::open_or_create(test.name("jobs"), &QueueOptions::new().capacity(1)).unwrap();
    assert_eq!(queue.try_recv(), Err(Error::WouldBlock));
    assert_eq!(queue.recv_timeout(Duration::from_millis(1)), Err(Error::TimedOut));
    queue.try_send(&Job::Stop).unwrap();
    assert_eq!(queue.try_send(&Job::Stop), Err(Error::WouldBlock));
    assert_eq!(queue.try_iter().collect::<Vec<_>>(), [Ok(Job::Stop)]);
}

#[test]
fn a_message_that_is_no_value_is_handed_out_as_it_is_and_keeps_nobody_from_the_next() {
    const LONG_LIST: [u8; 10] = [2, 1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    let test = Test::new("wrong");
    let queue = Jobs::create(test.name("jobs"), &QueueOptions::new()).unwrap();
    let peer = fork("peer", || {
        let bytes = Queue::open(test.name("jobs")).unwrap();
        // No variant of that number; a string and a list longer than the message, whose memory nobody is to reserve; one byte too many.
        for message in [&[7u8][..], &[1, 0xff, 0xff, 0xff, 0xff, 0x0f], &LONG_LIST, &[0, 0], b""] {
            bytes.send(message).unwrap();
        }
        Jobs::open(test.name("jobs")).unwrap().send(&Job::Stop).unwrap();
    });
    peer.join();
    assert_eq!(wrong(&queue.recv().unwrap_err()), [7]);
    assert_eq!(wrong(&queue.recv_timeout(LONG).unwrap_err()), [1, 0xff, 0xff, 0xff, 0xff, 0x0f]);
    assert_eq!(wrong(&queue.recv_timeout(LONG).unwrap_err()), LONG_LIST);
    let error = queue.try_recv().unwrap_err();
    assert_eq!(wrong(&error), [0, 0]);
    assert_eq!(error.to_string(), "a message of 2 bytes is not of this queue's type: 1 byte is left behind the value");
    let mut batch = Batch::new();
    let received: Vec<_> = queue.recv_many(&mut batch, 10).unwrap().collect();
    assert!(wrong(received[0].as_ref().unwrap_err()).is_empty());
    assert_eq!(received[1..], [Ok(Job::Stop)]);
}

#[test]
fn a_value_that_is_no_message_is_refused() {
    struct Secret;

    impl Serialize for Secret {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("it is secret"))
        }
    }

    impl<'de> Deserialize<'de> for Secret {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Err(serde::de::Error::custom("it is secret"))
        }
    }

    let test = Test::new("refused");
    let secrets = TypedQueue::<Secret, Postcard>::create(test.name("secrets"), &QueueOptions::new()).unwrap();
    assert!(matches!(secrets.send(&Secret), Err(Error::InvalidArgument(_))));
    assert!(matches!(secrets.send_many(&[Secret]), Err(Error::InvalidArgument(_))));
    assert!(secrets.queue().is_empty().unwrap());

    let short = Jobs::create(test.name("short"), &QueueOptions::new().max_message(100)).unwrap();
    assert!(matches!(short.send(&jobs()[2]), Err(Error::MessageTooLong { index: None, max: 100, .. })));
    assert!(matches!(short.send_many(&jobs()), Err(Error::MessageTooLong { index: Some(2), max: 100, .. })));
    assert!(short.queue().is_empty().unwrap());
}

#[test]
fn a_value_on_lease_comes_back_from_a_worker_that_dies() {
    let test = Test::new("lease");
    let queue = Jobs::create(test.name("jobs"), &QueueOptions::new()).unwrap();
    queue.send(&jobs()[0]).unwrap();
    let worker = fork("worker", || {
        let queue = Jobs::open(test.name("jobs")).unwrap();
        let lease = queue.queue().lease().unwrap();
        assert_eq!(queue.decode(lease.message()).unwrap(), jobs()[0]);
        support::die();
    });
    worker.end();
    let lease = queue.queue().lease_timeout(LONG).unwrap();
    assert_eq!((queue.decode(lease.message()).unwrap(), lease.deliveries()), (jobs()[0].clone(), 2));
    lease.finish().unwrap();
}
