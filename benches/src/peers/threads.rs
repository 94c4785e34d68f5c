//! Between threads of one process, where nothing is shared that another process could break.

use std::hint::spin_loop;
use std::sync::Mutex;

use crossbeam_channel::{Receiver, Sender, bounded};
use rtrb::{Consumer, Producer, RingBuffer};

use crate::channel::Channel;

/// A crossbeam channel. Its blocking calls spin for a while, and then sleep.
pub struct Crossbeam<const N: usize>(Sender<[u8; N]>, Receiver<[u8; N]>);

impl<const N: usize> Crossbeam<N> {
    pub fn new(capacity: usize) -> Self {
        let (sender, receiver) = bounded(capacity);
        Self(sender, receiver)
    }
}

impl<const N: usize> Channel<N> for Crossbeam<N> {
    fn sender(&self) -> impl FnMut(&[u8; N]) {
        |message| self.0.send(*message).expect("the receiver is there")
    }

    fn receiver(&self) -> impl FnMut(&mut [u8; N]) {
        |buffer| *std::hint::black_box(buffer) = self.1.recv().expect("the sender is there")
    }
}

/// An rtrb ring for one sender and one receiver, which spin.
pub struct Rtrb<const N: usize>(Mutex<Option<Producer<[u8; N]>>>, Mutex<Option<Consumer<[u8; N]>>>);

impl<const N: usize> Rtrb<N> {
    pub fn new(capacity: usize) -> Self {
        let (producer, consumer) = RingBuffer::new(capacity);
        Self(Mutex::new(Some(producer)), Mutex::new(Some(consumer)))
    }
}

impl<const N: usize> Channel<N> for Rtrb<N> {
    fn sender(&self) -> impl FnMut(&[u8; N]) {
        let mut producer = self.0.lock().expect("nobody panicked").take().expect("there is one sender");
        move |message| {
            while producer.push(*message).is_err() {
                spin_loop();
            }
        }
    }

    fn receiver(&self) -> impl FnMut(&mut [u8; N]) {
        let mut consumer = self.1.lock().expect("nobody panicked").take().expect("there is one receiver");
        move |buffer| loop {
            match consumer.pop() {
                Ok(message) => break *std::hint::black_box(buffer) = message,
                Err(_) => spin_loop(),
            }
        }
    }
}
