//! rsipc itself, with its ordinary calls: they spin for a while, and then sleep.

use rsipc::{Batch, Queue, QueueOptions};

use crate::channel::{BATCH, Batches, Channel};
use crate::harness::Space;

/// As many messages fit into every bounded queue and ring that is measured.
pub const CAPACITY: usize = 256;

/// A queue of one's own.
pub struct RsipcQueue(pub Space);

impl RsipcQueue {
    pub fn bounded(space: Space, len: usize) -> rsipc::Result<Self> {
        Self::new(space, &QueueOptions::new().capacity(CAPACITY).max_message(len))
    }

    pub fn unbounded(space: Space, len: usize) -> rsipc::Result<Self> {
        Self::new(space, &QueueOptions::new().unbounded().max_message(len))
    }

    pub fn rendezvous(space: Space, len: usize) -> rsipc::Result<Self> {
        Self::new(space, &QueueOptions::new().capacity(0).max_message(len))
    }

    pub fn new(space: Space, options: &QueueOptions) -> rsipc::Result<Self> {
        Queue::create(space.name("queue"), options)?;
        Ok(Self(space))
    }

    pub fn open(&self) -> Queue {
        Queue::open(self.0.name("queue")).expect("the queue was created")
    }
}

impl<const N: usize> Channel<N> for RsipcQueue {
    fn sender(&self) -> impl FnMut(&[u8; N]) {
        let queue = self.open();
        move |message| queue.send(message).expect("there will be room")
    }

    fn receiver(&self) -> impl FnMut(&mut [u8; N]) {
        let queue = self.open();
        move |buffer| assert_eq!(queue.recv_into(buffer).expect("a message comes"), N)
    }
}

impl<const N: usize> Batches<N> for RsipcQueue {
    fn sender(&self) -> impl FnMut(&[[u8; N]; BATCH]) {
        let queue = self.open();
        move |messages| assert_eq!(queue.send_many(messages), Ok(BATCH))
    }

    fn receiver(&self) -> impl FnMut() -> usize {
        let (queue, mut batch) = (self.open(), Batch::new());
        move || queue.recv_many(&mut batch, BATCH).expect("messages come")
    }
}

/// Long messages in place: each is lent, marked in its first and last byte, and sent.
pub struct Loans {
    queue: RsipcQueue,
    len: usize,
}

impl Loans {
    pub fn new(space: Space, len: usize) -> rsipc::Result<Self> {
        let options = QueueOptions::new().capacity(1).max_message(len).leases(3);
        Ok(Self { queue: RsipcQueue::new(space, &options)?, len })
    }
}

impl Channel<1> for Loans {
    fn sender(&self) -> impl FnMut(&[u8; 1]) {
        let queue = self.queue.open();
        move |mark| {
            let mut loan = queue.loan(self.len).expect("memory is free");
            loan.write(0, mark).expect("it is long enough");
            loan.write(self.len - 1, mark).expect("it is long enough");
            loan.send().expect("there will be room");
        }
    }

    fn receiver(&self) -> impl FnMut(&mut [u8; 1]) {
        let queue = self.queue.open();
        move |mark| {
            let (view, mut last) = (queue.recv_view().expect("a message comes"), [0]);
            view.read(0, mark).expect("it is long enough");
            view.read(self.len - 1, &mut last).expect("it is long enough");
            assert_eq!((view.len(), last), (self.len, *mark));
        }
    }
}

/// A queue that is tried until it has room, or a message.
pub struct TriedQueue(pub RsipcQueue);

impl<const N: usize> Channel<N> for TriedQueue {
    fn sender(&self) -> impl FnMut(&[u8; N]) {
        let queue = self.0.open();
        move |message| until(|| queue.try_send(message))
    }

    fn receiver(&self) -> impl FnMut(&mut [u8; N]) {
        let queue = self.0.open();
        move |buffer| assert_eq!(until(|| queue.try_recv_into(buffer)), N)
    }
}

fn until<T>(mut call: impl FnMut() -> rsipc::Result<T>) -> T {
    loop {
        match call() {
            Ok(result) => return result,
            Err(rsipc::Error::WouldBlock) => std::hint::spin_loop(),
            Err(error) => panic!("{error}"),
        }
    }
}
