//! The scenes of the stepper: which operation is killed, and who sleeps meanwhile.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use rsipc::{Mutex, Queue, QueueOptions, Region, Semaphore};

use crate::creation::creation;
use crate::direct::{self, direct};
use crate::locks::{Hold, Take, mutex, permits, signals, signals_meanwhile};
use crate::queues::{Act, another, another_meanwhile, meanwhile, queue, woken};
use crate::step::Scene;
use crate::support::{Test, message};

/// A scene's name, and how it is made in a test's namespace.
pub type Entry = (&'static str, fn(&Test) -> Box<dyn Scene + '_>);

pub const SCENES: &[Entry] = &[
    ("send, empty queue", |t| queue(t, Act::Send, 0, (Act::Recv, 0))),
    ("send, part full", |t| queue(t, Act::Send, 2, (Act::Recv, 0))),
    ("send, receiver asleep", |t| queue(t, Act::Send, 0, (Act::Recv, 1))),
    ("send, two receivers asleep", |t| queue(t, Act::Send, 0, (Act::Recv, 2))),
    ("send, a receiver comes meanwhile", |t| meanwhile(t)),
    ("send, another sender comes meanwhile", |t| another_meanwhile(t)),
    ("send, another sender comes", |t| another(t)),
    ("send, full, waits", |t| queue(t, Act::Send, CAPACITY, (Act::Recv, 0))),
    ("send, full, waits beside a sender", |t| queue(t, Act::Send, CAPACITY, (Act::Send, 1))),
    ("send, full, woken before a sender", |t| woken(t, Act::Send, CAPACITY, (Act::Send, 1))),
    ("recv, part full", |t| queue(t, Act::Recv, 2, (Act::Send, 0))),
    ("recv, full", |t| queue(t, Act::Recv, CAPACITY, (Act::Send, 0))),
    ("recv, sender asleep", |t| queue(t, Act::Recv, CAPACITY, (Act::Send, 1))),
    ("recv, two senders asleep", |t| queue(t, Act::Recv, CAPACITY, (Act::Send, 2))),
    ("recv, empty, waits", |t| queue(t, Act::Recv, 0, (Act::Send, 0))),
    ("recv, empty, waits beside a receiver", |t| queue(t, Act::Recv, 0, (Act::Recv, 1))),
    ("recv, empty, woken before a receiver", |t| woken(t, Act::Recv, 0, (Act::Recv, 1))),
    ("shutdown, receivers asleep", |t| queue(t, Act::Shutdown, 0, (Act::Recv, 2))),
    ("shutdown, senders asleep", |t| queue(t, Act::Shutdown, CAPACITY, (Act::Send, 2))),
    ("open and send", |t| queue(t, Act::Join, 1, (Act::Recv, 0))),
    ("lock", |t| mutex(t, Hold::Lock, 0)),
    ("lock, change, unlock", |t| mutex(t, Hold::Both, 0)),
    ("unlock", |t| mutex(t, Hold::Unlock, 0)),
    ("unlock, waiter asleep", |t| mutex(t, Hold::Unlock, 1)),
    ("unlock, two waiters asleep", |t| mutex(t, Hold::Unlock, 2)),
    ("give up, two waiters asleep", |t| mutex(t, Hold::GiveUp, 2)),
    ("lock, woken before a waiter", |t| mutex(t, Hold::Woken, 1)),
    ("acquire a unit", |t| signals(t, true, 2, 0)),
    ("acquire a unit, woken before a waiter", |t| signals(t, true, 0, 1)),
    ("release a unit", |t| signals(t, false, 0, 0)),
    ("release a unit, waiter asleep", |t| signals(t, false, 0, 1)),
    ("release a unit, two waiters asleep", |t| signals(t, false, 0, 2)),
    ("release a unit, a waiter comes meanwhile", |t| signals_meanwhile(t)),
    ("acquire a first permit", |t| permits(t, Take::First, 2, 0)),
    ("acquire a permit", |t| permits(t, Take::Acquire, 2, 0)),
    ("acquire a permit, woken before a waiter", |t| permits(t, Take::Woken, 1, 1)),
    ("release a permit", |t| permits(t, Take::Release, 1, 0)),
    ("release a permit, waiter asleep", |t| permits(t, Take::Release, 1, 1)),
    ("release one of two, two waiters asleep", |t| permits(t, Take::Release, 2, 2)),
    ("release a permit, from a dead one's place", |t| permits(t, Take::ReleaseInherited, 1, 1)),
    ("release a permit, two waiters asleep", |t| permits(t, Take::Release, 1, 2)),
    ("release two permits, two waiters asleep", |t| permits(t, Take::ReleaseAll, 2, 2)),
    ("create a queue", |t| creation(t, |space| drop(Queue::create(space.name("new"), &options()).unwrap()))),
    ("open a queue", |t| creation(t, |space| drop(Queue::open(space.name("old")).unwrap()))),
    ("create a mutex", |t| creation(t, |space| drop(Mutex::create(space.name("m"), 7u64).unwrap()))),
    ("create permits", |t| creation(t, |space| drop(Semaphore::create_permits(space.name("p"), 1).unwrap()))),
    ("create in a region", |t| {
        creation(t, |space| {
            drop(unsafe { Queue::create_in(&Region::open(space.name("region")).unwrap(), 0, &options()) }.unwrap())
        })
    }),
    ("open an endpoint", |t| direct(t, direct::Act::Open)),
    ("close an endpoint, caller asleep", |t| direct(t, direct::Act::Close)),
    ("receive a request and reply", |t| direct(t, direct::Act::Serve)),
    ("receive from a mailbox and reply", |t| direct(t, direct::Act::ServeMailbox)),
    ("send to an endpoint", |t| direct(t, direct::Act::Send)),
    ("call an endpoint", |t| direct(t, direct::Act::Call)),
    ("grow a region", |t| creation(t, |space| Region::open(space.name("region")).unwrap().grow(1 << 20).unwrap())),
];

pub const CAPACITY: usize = 3;
pub const SHORT: Duration = Duration::from_millis(1);

pub fn options() -> QueueOptions {
    QueueOptions::new().capacity(CAPACITY).max_message(200)
}

/// A name that no scene before had.
pub fn fresh() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("o{}", COUNT.fetch_add(1, Relaxed))
}

/// The number of a message; 0 where it is torn.
pub fn checked(bytes: &[u8]) -> u64 {
    let number = bytes.get(..8).map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
    if bytes == message(number, 150) { number } else { 0 }
}
