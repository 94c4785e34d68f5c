//! rsipc itself, with its ordinary calls: they spin for a while, and then sleep.

use rsipc::{Queue, QueueOptions};

use crate::channel::Channel;
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
