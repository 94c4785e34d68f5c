//! What a program does with rsipc, in steps that can be tried again: each of them needs something that may have run out.

use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rsipc::{Endpoint, Error, Lease, Mutex, Namespace, Queue, QueueOptions, Region, Result, Semaphore, WaitSet};

use crate::support::LONG;

/// A step. It fails without having done anything, or is done.
pub type Step<'a> = (&'static str, Box<dyn FnMut() -> Result<()> + 'a>);

/// Message number `number`. Long ones are many: each byte is the same.
fn message(number: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![number as u8; len.max(8)];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

/// The number of a message; panics where it is torn.
fn number(bytes: &[u8]) -> u64 {
    let number = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    assert!(bytes == message(number, bytes.len()), "message {number} is torn");
    number
}

/// A handle that one step opens and others use.
struct Slot<T>(RefCell<Option<T>>);

impl<T> Slot<T> {
    fn new() -> Self {
        Self(RefCell::new(None))
    }

    fn set(&self, value: T) -> Result<()> {
        *self.0.borrow_mut() = Some(value);
        Ok(())
    }

    fn with<R>(&self, act: impl FnOnce(&T) -> R) -> R {
        act(self.0.borrow().as_ref().expect("an earlier step opened it"))
    }
}

/// What there is too little of.
pub struct Shortage<'a> {
    /// Leaves so much of it.
    pub begin: &'a (dyn Fn(u64) + Sync),
    /// Ends the shortage.
    pub end: &'a (dyn Fn() + Sync),
    /// Whether an error is that of the shortage, and names it.
    pub is: fn(&Error) -> bool,
}

impl Shortage<'_> {
    /// An error of a step that has run into the shortage.
    pub fn expect(&self, error: &Error) {
        assert!((self.is)(error), "another error than that of the shortage: {error:?}");
    }
}

/// A program of the tests: it is done with everything when it returns. `run` is given its steps.
pub type Program = fn(&Namespace, &Shortage<'_>, &mut dyn FnMut(Vec<Step<'_>>));

pub const PROGRAMS: [(&str, Program); 7] = [
    ("small objects", small_objects),
    ("bounded queue", bounded),
    ("unbounded queue", unbounded),
    ("leases", leases),
    ("rendezvous", rendezvous),
    ("endpoints", endpoints),
    ("readiness", readiness),
];

fn small_objects(space: &Namespace, _: &Shortage<'_>, run: &mut dyn FnMut(Vec<Step<'_>>)) {
    let (mutex, signals, permits) = (Slot::<Mutex<u64>>::new(), Slot::new(), Slot::new());
    let (region, anonymous) = (Slot::<Region>::new(), Slot::<Region>::new());
    let held = RefCell::new(0);
    run(vec![
        ("create a mutex", Box::new(|| mutex.set(Mutex::create(space.name("m"), 7)?))),
        ("lock it", Box::new(|| mutex.with(|mutex| mutex.lock().map(|mut value| *value += 1)))),
        ("open it", Box::new(|| Mutex::<u64>::open(space.name("m")).map(|mutex| assert_eq!(*mutex.lock().unwrap(), 8)))),
        ("create a semaphore", Box::new(|| signals.set(Semaphore::open_or_create(space.name("s"), 0)?))),
        ("release it", Box::new(|| signals.with(Semaphore::release))),
        ("acquire it", Box::new(|| signals.with(Semaphore::try_acquire))),
        ("create permits", Box::new(|| permits.set(Semaphore::create_permits(space.name("p"), 2)?))),
        ("acquire one", Box::new(|| permits.with(|p: &Semaphore| p.try_acquire().map(|()| *held.borrow_mut() += 1)))),
        ("open permits", Box::new(|| Semaphore::open(space.name("p"))?.value().map(|value| assert_eq!(value, 1)))),
        ("release one", Box::new(|| permits.with(Semaphore::release))),
        ("create a region", Box::new(|| region.set(Region::create(space.name("r"), 10_000)?))),
        ("write to it", Box::new(|| region.with(|region| put(region, 9_000, b"there")))),
        ("grow it", Box::new(|| region.with(|region| region.grow(50_000)))),
        ("write behind", Box::new(|| region.with(|region| put(region, 49_000, b"behind")))),
        ("open it, too", Box::new(|| Region::open(space.name("r")).map(|region| assert_eq!(get(&region, 49_000), b"behind")))),
        ("an anonymous region", Box::new(|| anonymous.set(Region::anonymous(100_000)?))),
        ("a mutex in it", Box::new(|| anonymous.with(placed))),
        ("list", Box::new(|| space.list().map(|list| assert_eq!(list.len(), 4)))),
    ]);
    assert_eq!(*held.borrow(), 1);
    region.with(|region| assert_eq!((region.len(), get(region, 9_000)), (50_000, b"there\0".to_vec())));
}

fn placed(region: &Region) -> Result<()> {
    // SAFETY: nothing else is there.
    unsafe { Mutex::create_in(region, 64, ()) }.map(drop)
}

fn put(region: &Region, offset: usize, bytes: &[u8]) -> Result<()> {
    // SAFETY: no object is there, and nobody else uses these bytes.
    unsafe { region.view()?.write(offset, bytes) }
}

fn get(region: &Region, offset: usize) -> Vec<u8> {
    let mut bytes = vec![0xff; 6];
    // SAFETY: as in `put`.
    unsafe { region.view().unwrap().read(offset, &mut bytes) }.unwrap();
    bytes
}

/// The messages of a queue: what was accepted comes out, in this order.
#[derive(Default)]
struct Traffic {
    sent: RefCell<u64>,
    received: RefCell<u64>,
}

impl Traffic {
    fn send(&self, queue: &Queue, len: usize) -> Result<()> {
        queue.send_timeout(&message(*self.sent.borrow(), len), LONG)?;
        *self.sent.borrow_mut() += 1;
        Ok(())
    }

    fn recv(&self, queue: &Queue) -> Result<()> {
        self.take(&queue.recv_timeout(LONG)?);
        Ok(())
    }

    fn take(&self, bytes: &[u8]) {
        assert_eq!(number(bytes), *self.received.borrow());
        *self.received.borrow_mut() += 1;
    }

    /// Does something for as many messages as it takes until `count` have been sent, or received.
    fn until(&self, which: &RefCell<u64>, count: u64, mut act: impl FnMut() -> Result<()>) -> Result<()> {
        while *which.borrow() < count {
            act()?;
        }
        Ok(())
    }

    fn send_until(&self, queue: &Slot<Queue>, count: u64, len: usize) -> Result<()> {
        queue.with(|queue| self.until(&self.sent, count, || self.send(queue, len)))
    }

    fn recv_until(&self, queue: &Slot<Queue>, count: u64) -> Result<()> {
        queue.with(|queue| self.until(&self.received, count, || self.recv(queue)))
    }
}

fn bounded(space: &Namespace, _: &Shortage<'_>, run: &mut dyn FnMut(Vec<Step<'_>>)) {
    let (queue, other, traffic) = (Slot::<Queue>::new(), Slot::<Queue>::new(), Traffic::default());
    let options = QueueOptions::new().capacity(8).max_message(20_000).leases(2);
    run(vec![
        ("create", Box::new(|| queue.set(Queue::create(space.name("q"), &options)?))),
        ("a short message", Box::new(|| traffic.send_until(&queue, 1, 100))),
        ("open", Box::new(|| other.set(Queue::open(space.name("q"))?))),
        ("more of them", Box::new(|| traffic.send_until(&other, 8, 4000))),
        ("receive", Box::new(|| traffic.recv_until(&queue, 4))),
        ("long ones", Box::new(|| traffic.send_until(&queue, 12, 20_000))),
        ("receive all", Box::new(|| traffic.recv_until(&other, 12))),
        ("once more around", Box::new(|| traffic.send_until(&queue, 20, 20_000))),
        ("who is there", Box::new(|| queue.with(Queue::peers).map(|peers| assert_eq!(peers.len(), 2)))),
        ("shut down", Box::new(|| queue.with(Queue::shutdown))),
        ("receive the rest", Box::new(|| traffic.recv_until(&other, 20))),
    ]);
    other.with(|queue| assert_eq!(queue.try_recv(), Err(Error::Closed)));
}

fn unbounded(space: &Namespace, _: &Shortage<'_>, run: &mut dyn FnMut(Vec<Step<'_>>)) {
    let (queue, other, traffic) = (Slot::<Queue>::new(), Slot::<Queue>::new(), Traffic::default());
    let options = QueueOptions::new().unbounded_within(1 << 20).max_message(50_000).leases(1);
    let lease = || {
        queue.with(|queue| {
            let lease = queue.lease_timeout(LONG)?;
            traffic.take(lease.message());
            lease.finish()
        })
    };
    run(vec![
        ("create", Box::new(|| queue.set(Queue::create(space.name("q"), &options)?))),
        ("what the ring has room for", Box::new(|| traffic.send_until(&queue, 200, 300))),
        ("the first in the log", Box::new(|| traffic.send_until(&queue, 300, 300))),
        ("long ones", Box::new(|| traffic.send_until(&queue, 308, 50_000))),
        ("open", Box::new(|| other.set(Queue::open(space.name("q"))?))),
        ("the end of the log", Box::new(|| other.with(Queue::len).map(|len| assert_eq!(len, 308)))),
        ("receive", Box::new(|| traffic.recv_until(&other, 301))),
        ("lease", Box::new(|| traffic.until(&traffic.received, 303, lease))),
        ("receive the rest", Box::new(|| traffic.recv_until(&other, 308))),
        ("start anew", Box::new(|| traffic.send_until(&other, 700, 300))),
        ("receive all", Box::new(|| traffic.recv_until(&queue, 700))),
    ]);
    queue.with(|queue| assert_eq!(queue.try_recv(), Err(Error::WouldBlock)));
}

fn leases(space: &Namespace, _: &Shortage<'_>, run: &mut dyn FnMut(Vec<Step<'_>>)) {
    let (queue, traffic) = (Slot::<Queue>::new(), Traffic::default());
    let options = QueueOptions::new().capacity(4).max_message(10_000).leases(4);
    // A lease borrows its queue.
    let lease = |act: &dyn Fn(Lease<'_>) -> Result<()>| queue.with(|queue| act(queue.lease_timeout(LONG)?));
    let give_back = |lease: Lease<'_>| {
        assert_eq!(number(lease.message()), *traffic.received.borrow());
        lease.give_back()
    };
    let finish = |lease: Lease<'_>| {
        traffic.take(lease.message());
        lease.finish()
    };
    run(vec![
        ("create", Box::new(|| queue.set(Queue::create(space.name("q"), &options)?))),
        ("send", Box::new(|| traffic.send_until(&queue, 4, 100))),
        ("lease", Box::new(|| lease(&give_back))),
        ("lease again", Box::new(|| lease(&give_back))),
        ("finish", Box::new(|| traffic.until(&traffic.received, 4, || lease(&finish)))),
        ("long ones", Box::new(|| traffic.send_until(&queue, 8, 10_000))),
        ("lease a long one", Box::new(|| lease(&give_back))),
        ("finish a long one", Box::new(|| traffic.until(&traffic.received, 6, || lease(&finish)))),
        ("receive", Box::new(|| traffic.recv_until(&queue, 8))),
    ]);
    queue.with(|queue| assert_eq!(queue.try_recv(), Err(Error::WouldBlock)));
}

fn rendezvous(space: &Namespace, shortage: &Shortage<'_>, run: &mut dyn FnMut(Vec<Step<'_>>)) {
    let (queue, traffic) = (Slot::<Queue>::new(), Traffic::default());
    let options = QueueOptions::new().capacity(0).max_message(30_000).leases(1);
    let meet = |len: usize| {
        queue.with(|queue| {
            let (bytes, failed) = (message(*traffic.sent.borrow(), len), AtomicBool::new(false));
            std::thread::scope(|scope| {
                let receive = || {
                    while !failed.load(Relaxed) {
                        match queue.recv_timeout(Duration::from_millis(10)) {
                            Err(Error::TimedOut) => {}
                            result => return result.map(Some),
                        }
                    }
                    Ok(None)
                };
                let receiver = std::thread::Builder::new().spawn_scoped(scope, receive);
                let Ok(receiver) = receiver else {
                    // It was the test that ran out of it.
                    (shortage.end)();
                    return Ok(());
                };
                let sent = queue.send_timeout(&bytes, LONG);
                failed.store(sent.is_err(), Relaxed);
                let received = receiver.join().unwrap();
                sent?;
                *traffic.sent.borrow_mut() += 1;
                traffic.take(&received?.expect("it was sent"));
                Ok(())
            })
        })
    };
    run(vec![
        ("create", Box::new(|| queue.set(Queue::create(space.name("q"), &options)?))),
        (
            "nobody waits",
            Box::new(|| match queue.with(|queue| queue.try_send(b"x")) {
                Err(Error::WouldBlock) => Ok(()),
                result => result,
            }),
        ),
        ("hand over", Box::new(|| meet(8))),
        ("hand over a long one", Box::new(|| meet(30_000))),
    ]);
    assert_eq!(traffic.sent.take(), traffic.received.take());
}

fn endpoints(space: &Namespace, shortage: &Shortage<'_>, run: &mut dyn FnMut(Vec<Step<'_>>)) {
    let options = QueueOptions::new().capacity(4).max_message(20_000);
    let (server, client, mailbox) = (Slot::<Endpoint>::new(), Slot::<Endpoint>::new(), Slot::<Queue>::new());
    let address = || server.with(Endpoint::address);
    let (asked, answered) = (RefCell::new(0), RefCell::new(0));
    // Several steps in one: what was asked is there until it is answered.
    let ask = |len: usize| {
        client.with(|client| {
            let mut call = client.begin_call(address(), &message(*asked.borrow(), len), LONG)?;
            *asked.borrow_mut() += 1;
            server.with(|server| {
                let mut request = server.recv_timeout(LONG)?;
                let reply = message(number(&request) + 1, len);
                while let Err(e) = request.reply(&reply) {
                    shortage.expect(&e);
                    (shortage.end)();
                }
                Ok::<(), rsipc::Error>(())
            })?;
            *answered.borrow_mut() += 1;
            assert_eq!(number(&call.wait_timeout(LONG)?), *asked.borrow());
            Ok(())
        })
    };
    run(vec![
        ("open", Box::new(|| server.set(Endpoint::open_named(space.name("server"), &options)?))),
        ("open another", Box::new(|| client.set(Endpoint::open(space, &options)?))),
        ("find", Box::new(|| client.with(|client| client.find("server")).map(|found| assert_eq!(found, address())))),
        ("find by id", Box::new(|| client.with(|client| client.address_of(std::process::id())).map(drop))),
        ("send", Box::new(|| client.with(|client| client.send(address(), b"x")))),
        ("receive", Box::new(|| server.with(|server| server.recv_timeout(LONG)).map(|got| assert_eq!(got.bytes(), b"x")))),
        ("send a long one", Box::new(|| client.with(|client| client.send(address(), &[7; 20_000])))),
        ("receive it", Box::new(|| server.with(|server| server.recv_timeout(LONG)).map(|got| assert_eq!(got.len(), 20_000)))),
        ("call", Box::new(|| ask(8))),
        ("a long call", Box::new(|| ask(20_000))),
        ("create a mailbox", Box::new(|| mailbox.set(Queue::create(space.name("mailbox"), &options)?))),
        ("send to it", Box::new(|| mailbox.with(|mailbox| mailbox.send(b"y")))),
        (
            "receive from it",
            Box::new(|| {
                server
                    .with(|server| mailbox.with(|mailbox| server.recv_mailbox_timeout(mailbox, LONG)))
                    .map(|got| assert_eq!(got.bytes(), b"y"))
            }),
        ),
    ]);
    assert_eq!((asked.take(), answered.take()), (2, 2));
}

fn readiness(space: &Namespace, _: &Shortage<'_>, run: &mut dyn FnMut(Vec<Step<'_>>)) {
    let options = QueueOptions::new().capacity(4).max_message(100).leases(0);
    let (queue, permits) = (Slot::<Queue>::new(), Slot::<Semaphore>::new());
    let is_readable = |fd: Result<BorrowedFd<'_>>| fd.map(|fd| fd.as_fd().try_clone_to_owned().is_ok()).map(drop);
    run(vec![
        ("create", Box::new(|| queue.set(Queue::create(space.name("q"), &options)?))),
        ("create permits", Box::new(|| permits.set(Semaphore::create_permits(space.name("p"), 1)?))),
        (
            "a set",
            Box::new(|| {
                queue.with(|queue| {
                    permits.with(|permits| {
                        let set = WaitSet::new().recv(queue).acquire(permits);
                        assert_eq!(set.wait_timeout(LONG)?, [1]);
                        permits.try_acquire()?;
                        assert_eq!(set.wait_timeout(Duration::from_millis(2)), Err(Error::TimedOut));
                        permits.release()
                    })
                })
            }),
        ),
        ("a descriptor", Box::new(|| queue.with(|queue| is_readable(queue.readiness_fd())))),
        ("another", Box::new(|| permits.with(|permits| is_readable(permits.readiness_fd())))),
        ("one for sending", Box::new(|| queue.with(|queue| is_readable(queue.send_readiness_fd())))),
        (
            "it is quiet",
            Box::new(|| match queue.with(Queue::try_recv) {
                Err(Error::WouldBlock) => Ok(()),
                result => result.map(drop),
            }),
        ),
        ("send", Box::new(|| queue.with(|queue| queue.send(b"x")))),
        (
            "it is told",
            Box::new(|| {
                queue.with(|queue| {
                    let fd = queue.readiness_fd()?;
                    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
                    assert_eq!(poll(&mut fds, PollTimeout::try_from(LONG).unwrap()), Ok(1), "it is not told");
                    assert_eq!(queue.try_recv()?, b"x");
                    Ok(())
                })
            }),
        ),
    ]);
}
