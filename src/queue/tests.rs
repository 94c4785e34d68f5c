//! What takes a row of deaths at one place, which no test from outside can arrange in time.

use crate::queue::ring::Look;
use crate::time::Deadline;
use crate::{Batch, Error, Namespace, Queue, QueueOptions};

/// A queue whose log's beginning is taken on by receivers that die right after the commit.
fn after_deaths(len: usize, deaths: u8, test: impl FnOnce(&Queue)) {
    let dir = format!("/dev/shm/rsipc-log-{}-{len}", std::process::id());
    let namespace = Namespace::at(&dir);
    let options = QueueOptions::new().max_message(1 << 20).leases(4).unbounded_within(1 << 20);
    let queue = Queue::create(namespace.name("queue"), &options).unwrap();
    let log = queue.store.log.as_ref().unwrap();
    for _ in 0..deaths {
        queue.try_send(&vec![0; len]).unwrap();
        let record = log.next().unwrap().unwrap();
        log.commit(record.next);
    }
    test(&queue);
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn nothing_is_lost_after_a_row_of_dead_receivers() {
    after_deaths(480 << 10, 20, |queue| {
        (1..=4).for_each(|number| queue.try_send(&[number; 100 << 10]).unwrap());
        let mut batch = Batch::new();
        let lease = queue.try_lease().unwrap();
        assert_eq!(lease.message()[0], 1);
        lease.finish().unwrap();
        assert_eq!(queue.try_recv_many(&mut batch, 2), Ok(2));
        assert_eq!(batch.iter().map(|message| message[0]).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(queue.try_recv().map(|message| message[0]), Ok(4));
        assert_eq!(queue.try_recv(), Err(Error::WouldBlock));
    });
}

#[test]
fn there_is_room_again_after_a_row_of_dead_receivers() {
    after_deaths(900 << 10, 3, |queue| {
        for _ in 0..20 {
            assert_eq!(queue.try_recv(), Err(Error::WouldBlock));
            queue.try_send(&[7; 900 << 10]).unwrap();
            let log = queue.store.log.as_ref().unwrap();
            let record = log.next().unwrap().unwrap();
            log.commit(record.next);
        }
    });
}

impl Queue {
    /// Sends a message, of a sender that is stopped for so long right before the commit.
    pub(crate) fn send_late(&self, envelope: &[u8], message: &[u8], stopped: impl FnOnce()) {
        let store = &self.store;
        let call = store.users.enter(&store.shared.send.lock).unwrap();
        let commit = || {
            let Look { slot, position, .. } = store.ring.look(&store.shared.send, 0)?;
            stopped();
            store.ring.put(slot?, position, envelope, message);
            Ok(())
        };
        store.with_sending_lock(&call, Deadline::Never, commit).unwrap();
    }
}
