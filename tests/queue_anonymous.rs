//! Queues without a name: others get them by a descriptor, and nothing is left of them.

mod support;

use std::fs::File;
use std::os::fd::OwnedFd;

use rsipc::{Error, Queue, QueueOptions, Region};
use support::{LONG, Test, fork};

#[test]
fn others_open_it_by_its_descriptor() {
    let test = Test::new("by-descriptor");
    let long = QueueOptions::new().max_message(1 << 20);
    for options in [QueueOptions::new(), long.capacity(3), long.unbounded(), long.unbounded_within(1 << 24), long.capacity(0)] {
        let (queue, fd) = Queue::anonymous(&options).unwrap();
        let message = vec![7; queue.max_message()];
        let sender = fork("sender", || {
            Queue::from_fd(&fd).unwrap().send_timeout(&message, LONG).unwrap();
        });
        assert_eq!(queue.recv_timeout(LONG).unwrap(), message);
        sender.join();
        // A lease comes back when its process ends, as in a queue with a name.
        if queue.capacity() != Some(0) {
            queue.send(b"job").unwrap();
            fork("worker", || std::mem::forget(Queue::from_fd(&fd).unwrap().lease().unwrap())).join();
            let lease = queue.lease_timeout(LONG).unwrap();
            assert_eq!((lease.message(), lease.deliveries()), (&b"job"[..], 2));
        }
    }
    assert!(test.files().is_empty());
}

#[test]
fn what_is_no_queue_is_refused() {
    let _test = Test::new("no-queue");
    let null: OwnedFd = File::open("/dev/null").unwrap().into();
    assert!(matches!(Queue::from_fd(&null), Err(Error::Corrupted(_))));
    let region = Region::anonymous(1 << 20).unwrap();
    let fd = std::os::fd::AsFd::as_fd(&region).try_clone_to_owned().unwrap();
    assert!(matches!(Queue::from_fd(&fd), Err(Error::WrongKind { .. })));
    assert!(matches!(Queue::anonymous(&QueueOptions::new().max_message(usize::MAX)), Err(Error::InvalidArgument(_))));
}
