//! The scenes of the stepper: which operation is killed, who sleeps meanwhile, and what must hold afterwards.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use rsipc::{Error, Mutex, Namespace, Queue, QueueOptions, Region, Semaphore};

use super::step::{Fault, HANG, Scene, Sleepers};
use crate::support::{Test, message};

/// A scene's name, and how it is made in a test's namespace.
pub type Entry = (&'static str, fn(&Test) -> Box<dyn Scene + '_>);

pub const SCENES: &[Entry] = &[
    ("send, empty queue", |t| queue(t, Act::Send, 0, (Act::Recv, 0))),
    ("send, part full", |t| queue(t, Act::Send, 2, (Act::Recv, 0))),
    ("send, receiver asleep", |t| queue(t, Act::Send, 0, (Act::Recv, 1))),
    ("send, two receivers asleep", |t| queue(t, Act::Send, 0, (Act::Recv, 2))),
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
    ("acquire a first permit", |t| permits(t, Take::First, 2, 0)),
    ("acquire a permit", |t| permits(t, Take::Acquire, 2, 0)),
    ("acquire a permit, woken before a waiter", |t| permits(t, Take::Woken, 1, 1)),
    ("release a permit", |t| permits(t, Take::Release, 1, 0)),
    ("release a permit, waiter asleep", |t| permits(t, Take::Release, 1, 1)),
    ("release a permit, two waiters asleep", |t| permits(t, Take::Release, 1, 2)),
    ("create a queue", |t| creation(t, |space| drop(Queue::create(space.name("new"), &options()).unwrap()))),
    ("open a queue", |t| creation(t, |space| drop(Queue::open(space.name("old")).unwrap()))),
    ("create a mutex", |t| creation(t, |space| drop(Mutex::create(space.name("m"), 7u64).unwrap()))),
    ("create permits", |t| creation(t, |space| drop(Semaphore::create_permits(space.name("p"), 1).unwrap()))),
    ("create in a region", |t| {
        creation(t, |space| drop(Queue::create_in(&Region::open(space.name("region")).unwrap(), 0, &options()).unwrap()))
    }),
    ("grow a region", |t| creation(t, |space| Region::open(space.name("region")).unwrap().grow(1 << 20).unwrap())),
];

const CAPACITY: usize = 3;
const SHORT: Duration = Duration::from_millis(1);

fn options() -> QueueOptions {
    QueueOptions::new().capacity(CAPACITY).max_message(200)
}

/// A name that no scene before had.
fn fresh() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("o{}", COUNT.fetch_add(1, Relaxed))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Send,
    Recv,
    Shutdown,
    /// Opens a handle, and sends for the first time.
    Join,
}

/// What the numbers of messages begin with: those that were there, the victim's, the sleepers', the parent's.
const VICTIM: u64 = 100;
const SLEEPER: u64 = 200;
const PARENT: u64 = 300;

struct QueueScene<'a> {
    test: &'a Test,
    name: String,
    queue: Queue,
    act: Act,
    filled: usize,
    sleepers: (Act, usize),
    /// Whether the victim is woken once it sleeps, with the sleepers behind it.
    woken: bool,
    /// What the parent sent and received so far.
    sent: RefCell<Vec<u64>>,
    received: RefCell<Vec<u64>>,
}

fn queue(test: &Test, act: Act, filled: usize, sleepers: (Act, usize)) -> Box<dyn Scene + '_> {
    Box::new(QueueScene::new(test, act, filled, sleepers, false))
}

fn woken(test: &Test, act: Act, filled: usize, sleepers: (Act, usize)) -> Box<dyn Scene + '_> {
    Box::new(QueueScene::new(test, act, filled, sleepers, true))
}

/// The number of a message; 0 where it is torn.
fn checked(bytes: &[u8]) -> u64 {
    let number = bytes.get(..8).map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
    if bytes == message(number, 150) { number } else { 0 }
}

impl<'a> QueueScene<'a> {
    fn new(test: &'a Test, act: Act, filled: usize, sleepers: (Act, usize), woken: bool) -> Self {
        let name = fresh();
        let queue = Queue::create(test.name(&name), &options()).unwrap();
        Self { test, name, queue, act, filled, sleepers, woken, sent: vec![].into(), received: vec![].into() }
    }

    fn send(&self) -> Result<(), Fault> {
        let number = PARENT + self.sent.borrow().len() as u64;
        self.queue.send_timeout(&message(number, 150), HANG).map_err(|e| Fault::Hang(format!("sending: {e}")))?;
        self.sent.borrow_mut().push(number);
        Ok(())
    }

    fn recv(&self) -> Result<(), Fault> {
        let bytes = self.queue.recv_timeout(HANG).map_err(|e| Fault::Hang(format!("receiving: {e}")))?;
        self.received.borrow_mut().push(checked(&bytes));
        Ok(())
    }

    fn drain(&self) -> Result<(), Fault> {
        loop {
            match self.queue.try_recv() {
                Ok(bytes) => self.received.borrow_mut().push(checked(&bytes)),
                Err(Error::WouldBlock) if self.act != Act::Shutdown => return Ok(()),
                Err(Error::Closed) if self.act == Act::Shutdown => return Ok(()),
                Err(e) => return Err(Fault::Hang(format!("draining: {e}"))),
            }
        }
    }

    fn use_it(&self, sleepers: &Sleepers) -> Result<(), Fault> {
        if self.act == Act::Shutdown {
            self.queue.shutdown().map_err(|e| Fault::Hang(format!("shutting down: {e}")))?;
            sleepers.wait_done(sleepers.results().len().max(self.sleepers.1))?;
            self.drain()?;
            return match self.queue.try_send(b"x") {
                Err(Error::Closed) => Ok(()),
                other => Err(Fault::Lost(format!("sending to a queue that was shut down gave {other:?}"))),
            };
        }
        while !sleepers.all_done() {
            let done = sleepers.done();
            if self.sleepers.0 == Act::Send {
                self.recv()?
            } else {
                self.send()?
            }
            sleepers.wait_done(done + 1)?;
        }
        self.drain()?;
        for _ in 0..2 {
            for _ in 0..CAPACITY {
                self.send()?;
            }
            match self.queue.try_send(b"x") {
                Err(Error::WouldBlock) => {}
                other => return Err(Fault::Leaked(format!("a full queue gave {other:?}"))),
            }
            self.drain()?;
        }
        Ok(())
    }

    /// Compares what was sent with what was received.
    fn account(&self, sleepers: &Sleepers, completed: bool) -> Vec<Fault> {
        let mut count: HashMap<u64, usize> = HashMap::new();
        let mut received = self.received.borrow().clone();
        let mut sent = self.sent.borrow().clone();
        if self.sleepers.0 == Act::Recv {
            received.extend(sleepers.results().into_iter().filter(|&result| result != CLOSED));
        } else {
            let results = sleepers.results();
            sent.extend((0..results.len()).filter(|&i| results[i] != CLOSED).map(|i| SLEEPER + i as u64));
        }
        received.iter().for_each(|&number| *count.entry(number).or_default() += 1);
        let mut faults = vec![];
        if count.remove(&0).is_some() {
            faults.push(Fault::Torn(format!("{received:?}")));
        }
        if matches!(self.act, Act::Send | Act::Join) && count.remove(&VICTIM).map_or(completed, |count| count > 1) {
            faults.push(Fault::Lost(format!("the victim's message, or twice: {received:?}")));
        }
        let mut may_be_gone = usize::from(self.act == Act::Recv);
        for number in sent {
            match count.remove(&number).unwrap_or(0) {
                1 => {}
                0 if may_be_gone == 1 => may_be_gone = 0,
                0 => faults.push(Fault::Lost(format!("message {number}: received {received:?}"))),
                _ => faults.push(Fault::Twice(format!("message {number}: received {received:?}"))),
            }
        }
        if completed && may_be_gone == 1 {
            faults.push(Fault::Twice(format!("what the victim received, received {received:?}")));
        }
        if !count.is_empty() {
            faults.push(Fault::Torn(format!("nobody sent {count:?}")));
        }
        if self.sleepers.1 == 0 && !self.received.borrow().is_sorted() && !self.sent.borrow().is_sorted() {
            faults.push(Fault::Lost(format!("the order: {:?}", self.received.borrow())));
        }
        sleepers.end();
        match self.queue.peers() {
            Ok(peers) if peers.len() == 1 => {}
            other => faults.push(Fault::Leaked(format!("peers {other:?}"))),
        }
        faults
    }
}

/// What a sleeper says whose queue was shut down.
const CLOSED: u64 = u64::MAX;

impl Scene for QueueScene<'_> {
    fn victim(&self) -> Box<dyn FnOnce() + '_> {
        // Not closed at the end of the operation.
        let handle = std::mem::ManuallyDrop::new(Queue::open(self.test.name(&self.name)).unwrap());
        // It has sent, received and waited before: what is done the first time is the scene "open and send".
        assert_eq!(handle.recv_timeout(SHORT), Err(Error::TimedOut));
        (0..CAPACITY).for_each(|_| handle.send(b"x").unwrap());
        assert_eq!(handle.send_timeout(b"x", SHORT), Err(Error::TimedOut));
        (0..CAPACITY).for_each(|_| drop(handle.recv().unwrap()));
        // Nobody waits: this makes the words say so.
        handle.send(b"x").unwrap();
        handle.recv().unwrap();
        let bytes = message(VICTIM, 150);
        match self.act {
            Act::Send => Box::new(move || handle.send(std::mem::ManuallyDrop::new(bytes).as_slice()).unwrap()),
            Act::Recv => Box::new(move || std::mem::forget(handle.recv().unwrap())),
            Act::Shutdown => Box::new(move || handle.shutdown().unwrap()),
            Act::Join => Box::new(move || {
                let handle = Queue::open(self.test.name(&self.name)).unwrap();
                handle.send(&bytes).unwrap();
            }),
        }
    }

    fn victim_is_ready(&self) {
        for number in 1..=self.filled as u64 {
            self.queue.try_send(&message(number, 150)).unwrap();
            self.sent.borrow_mut().push(number);
        }
    }

    fn sleepers(&self) -> usize {
        self.sleepers.1
    }

    fn sleepers_come_later(&self) -> bool {
        self.woken
    }

    fn sleep(&self, index: usize) -> u64 {
        let result = if self.sleepers.0 == Act::Send {
            self.queue.send(&message(SLEEPER + index as u64, 150)).map(|()| 1)
        } else {
            self.queue.recv().map(|bytes| checked(&bytes))
        };
        match result {
            Err(Error::Closed) => CLOSED,
            result => result.unwrap(),
        }
    }

    fn victim_sleeps(&self) -> bool {
        if !self.woken {
            return false;
        }
        if self.act == Act::Send {
            self.recv().unwrap()
        } else {
            self.send().unwrap()
        }
        true
    }

    fn stuck(&self, sleepers: &Sleepers) -> bool {
        let something = match self.sleepers.0 {
            _ if self.act == Act::Shutdown => self.queue.is_shut_down(),
            Act::Send => self.queue.len().unwrap() < CAPACITY,
            _ => self.queue.len().unwrap() > 0,
        };
        something && !sleepers.all_done()
    }

    fn finish(&self, sleepers: &Sleepers, completed: bool) -> Vec<Fault> {
        let faults = match self.use_it(sleepers) {
            Ok(()) => self.account(sleepers, completed),
            Err(fault) => vec![fault],
        };
        self.test.unlink(&self.name).unwrap();
        faults
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Hold {
    Lock,
    Unlock,
    Both,
    GiveUp,
    /// Locks what the parent holds, which lets it go once the victim sleeps.
    Woken,
}

struct MutexScene {
    mutex: Mutex<[u64; 2]>,
    hold: Hold,
    sleepers: usize,
}

fn mutex(test: &Test, hold: Hold, sleepers: usize) -> Box<dyn Scene + '_> {
    let name = fresh();
    let mutex = Mutex::create(test.name(&name), [0; 2]).unwrap();
    test.unlink(&name).unwrap();
    if hold == Hold::Woken {
        std::mem::forget(mutex.lock().unwrap());
    }
    Box::new(MutexScene { mutex, hold, sleepers })
}

impl MutexScene {
    /// Locks it and changes what it guards; says what was wrong with that.
    fn change(&self) -> Result<u64, Fault> {
        let mut guard = match self.mutex.lock_timeout(4 * HANG) {
            Ok(guard) => guard,
            Err(Error::NotRecoverable) if self.hold == Hold::GiveUp => return Ok(0),
            Err(e) => return Err(Fault::Hang(format!("locking: {e}"))),
        };
        if guard.owner_died() {
            guard[1] = guard[0];
            guard.mark_consistent();
        } else if guard[0] != guard[1] {
            return Err(Fault::Torn(format!("{:?}, and nobody was told", *guard)));
        }
        guard[0] += 1;
        guard[1] += 1;
        Ok(0)
    }
}

impl Scene for MutexScene {
    fn victim(&self) -> Box<dyn FnOnce() + '_> {
        match self.hold {
            Hold::Woken => {
                assert_eq!(self.mutex.lock_timeout(SHORT).map(drop), Err(Error::TimedOut));
                Box::new(|| std::mem::forget(self.mutex.lock().unwrap()))
            }
            Hold::Lock => Box::new(|| std::mem::forget(self.mutex.lock().unwrap())),
            Hold::Both => Box::new(|| {
                let mut guard = self.mutex.lock().unwrap();
                guard[0] += 1;
                guard[1] += 1;
            }),
            Hold::Unlock | Hold::GiveUp => {
                let mut guard = self.mutex.lock().unwrap();
                guard[0] += 1;
                guard[1] += 1;
                let give_up = self.hold == Hold::GiveUp;
                Box::new(move || if give_up { guard.give_up() } else { drop(guard) })
            }
        }
    }

    fn sleepers(&self) -> usize {
        self.sleepers
    }

    fn sleepers_come_later(&self) -> bool {
        self.hold == Hold::Woken
    }

    fn sleep(&self, _index: usize) -> u64 {
        self.change().map_err(|fault| fault.text()).unwrap()
    }

    fn victim_sleeps(&self) -> bool {
        if self.hold != Hold::Woken {
            return false;
        }
        // SAFETY: no guard is in use.
        unsafe { self.mutex.force_unlock() }.unwrap();
        true
    }

    fn stuck(&self, sleepers: &Sleepers) -> bool {
        !sleepers.all_done()
    }

    fn finish(&self, _sleepers: &Sleepers, completed: bool) -> Vec<Fault> {
        if self.hold == Hold::Woken {
            // SAFETY: no guard is in use. The victim may have been killed before it slept.
            let _ = unsafe { self.mutex.force_unlock() };
        }
        for round in 0..3 {
            if round == 0 && completed && matches!(self.hold, Hold::Unlock | Hold::Both) && self.mutex.is_inconsistent() {
                return vec![Fault::Torn("a death was told of, and nobody died with the lock".into())];
            }
            if let Err(fault) = self.change() {
                return vec![fault];
            }
        }
        vec![]
    }
}

struct SignalsScene {
    semaphore: Semaphore,
    acquires: bool,
    units: Cell<u32>,
    sleepers: usize,
}

fn signals(test: &Test, acquires: bool, units: u32, sleepers: usize) -> Box<dyn Scene + '_> {
    let name = fresh();
    let semaphore = Semaphore::create(test.name(&name), units).unwrap();
    test.unlink(&name).unwrap();
    Box::new(SignalsScene { semaphore, acquires, units: units.into(), sleepers })
}

impl SignalsScene {
    fn give(&self) {
        self.semaphore.release().unwrap();
        self.units.set(self.units.get() + 1);
    }
}

impl Scene for SignalsScene {
    fn victim(&self) -> Box<dyn FnOnce() + '_> {
        if self.acquires {
            if self.units.get() == 0 {
                assert_eq!(self.semaphore.acquire_timeout(SHORT), Err(Error::TimedOut));
            }
            Box::new(|| self.semaphore.acquire().unwrap())
        } else {
            Box::new(|| self.semaphore.release().unwrap())
        }
    }

    fn sleepers(&self) -> usize {
        self.sleepers
    }

    fn sleepers_come_later(&self) -> bool {
        self.acquires
    }

    fn sleep(&self, _index: usize) -> u64 {
        self.semaphore.acquire().unwrap();
        1
    }

    fn victim_sleeps(&self) -> bool {
        if !self.acquires {
            return false;
        }
        self.give();
        true
    }

    fn stuck(&self, sleepers: &Sleepers) -> bool {
        self.semaphore.value().unwrap() > 0 && !sleepers.all_done()
    }

    fn finish(&self, sleepers: &Sleepers, completed: bool) -> Vec<Fault> {
        while !sleepers.all_done() {
            let done = sleepers.done();
            self.give();
            if let Err(fault) = sleepers.wait_done(done + 1) {
                return vec![fault];
            }
        }
        let known = i64::from(self.units.get()) - sleepers.results().len() as i64;
        let left = i64::from(self.semaphore.value().unwrap());
        let right = match (self.acquires, completed) {
            (true, true) => left + 1 == known,
            (true, false) => left == known || left + 1 == known,
            (false, true) => left == known + 1,
            (false, false) => left == known || left == known + 1,
        };
        if right { vec![] } else { vec![Fault::Lost(format!("{left} units are left of {known}"))] }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Take {
    /// Acquires for the first time.
    First,
    Acquire,
    Release,
    /// Acquires what the parent holds, which gives it back once the victim sleeps.
    Woken,
}

struct PermitsScene<'a> {
    test: &'a Test,
    name: String,
    semaphore: Semaphore,
    take: Take,
    total: u32,
    sleepers: usize,
}

fn permits(test: &Test, take: Take, total: u32, sleepers: usize) -> Box<dyn Scene + '_> {
    let name = fresh();
    let semaphore = Semaphore::create_permits(test.name(&name), total).unwrap();
    Box::new(PermitsScene { test, name, semaphore, take, total, sleepers })
}

impl Scene for PermitsScene<'_> {
    fn victim(&self) -> Box<dyn FnOnce() + '_> {
        if self.take != Take::First {
            self.semaphore.acquire().unwrap();
            if self.total == 1 {
                assert_eq!(self.semaphore.acquire_timeout(SHORT), Err(Error::TimedOut));
            }
            self.semaphore.release().unwrap();
        }
        match self.take {
            Take::First | Take::Acquire | Take::Woken => Box::new(|| self.semaphore.acquire().unwrap()),
            Take::Release => {
                self.semaphore.acquire().unwrap();
                Box::new(|| self.semaphore.release().unwrap())
            }
        }
    }

    fn victim_is_ready(&self) {
        if self.take == Take::Woken {
            self.semaphore.acquire().unwrap();
        }
    }

    fn sleepers(&self) -> usize {
        self.sleepers
    }

    fn sleepers_come_later(&self) -> bool {
        self.take == Take::Woken
    }

    /// It ends right after, so that its permit comes back.
    fn sleep(&self, _index: usize) -> u64 {
        self.semaphore.acquire().unwrap();
        1
    }

    fn victim_sleeps(&self) -> bool {
        if self.take != Take::Woken {
            return false;
        }
        self.semaphore.release().unwrap();
        true
    }

    fn stuck(&self, sleepers: &Sleepers) -> bool {
        !sleepers.all_done()
    }

    fn finish(&self, _sleepers: &Sleepers, _completed: bool) -> Vec<Fault> {
        // Where the victim was killed before it slept the parent still has it.
        let _ = self.semaphore.release();
        let mut faults = vec![];
        if let Some(e) = (0..self.total).find_map(|_| self.semaphore.acquire_timeout(HANG).err()) {
            faults.push(Fault::Leaked(format!("a permit does not come back: {e}")));
        } else if self.semaphore.try_acquire() != Err(Error::WouldBlock) {
            faults.push(Fault::Twice("there are more permits than there were".into()));
        }
        let _ = self.semaphore.release_many(self.total);
        self.test.unlink(&self.name).unwrap();
        faults
    }
}

/// Something that makes or opens an object, in a directory of its own.
struct CreationScene {
    dir: std::path::PathBuf,
    space: Namespace,
    create: fn(&Namespace),
}

fn creation(test: &Test, create: fn(&Namespace)) -> Box<dyn Scene + '_> {
    std::fs::create_dir_all(&test.dir).unwrap();
    let dir = test.dir.join(fresh());
    let space = Namespace::at(&dir);
    Queue::create(space.name("old"), &options()).unwrap().send(&message(1, 150)).unwrap();
    Region::create(space.name("region"), 1 << 16).unwrap();
    Box::new(CreationScene { dir, space, create })
}

impl Scene for CreationScene {
    fn victim(&self) -> Box<dyn FnOnce() + '_> {
        Box::new(|| (self.create)(&self.space))
    }

    fn finish(&self, _sleepers: &Sleepers, completed: bool) -> Vec<Fault> {
        let mut faults = vec![];
        let listed = self.space.list().unwrap();
        let files = std::fs::read_dir(&self.dir).unwrap().count();
        if listed.len() != files {
            faults.push(Fault::Leaked(format!("{files} files, of which whole objects: {listed:?}")));
        }
        // There whole, or not at all and free to be made.
        let old = Queue::open(self.space.name("old")).unwrap();
        let new = Queue::open_or_create(self.space.name("new"), &options()).unwrap();
        let region = Region::open(self.space.name("region")).unwrap();
        let placed = Queue::create_in(&region, 0, &options()).or_else(|_| Queue::open_in(&region, 0)).unwrap();
        if completed && region.len() != 1 << 16 && region.len() != 1 << 20 {
            faults.push(Fault::Lost(format!("the region has {} bytes", region.len())));
        }
        let view = region.view().unwrap();
        view.write(view.len() - 1, b"x").unwrap();
        if old.recv_timeout(HANG).map(|bytes| checked(&bytes)) != Ok(1) {
            faults.push(Fault::Lost("what was in the queue".into()));
        }
        for queue in [&old, &new, &placed] {
            (0..CAPACITY).for_each(|_| queue.try_send(&message(2, 150)).unwrap());
            (0..CAPACITY).for_each(|_| assert_eq!(checked(&queue.try_recv().unwrap()), 2));
            if queue.peers().unwrap().len() != 1 {
                faults.push(Fault::Leaked(format!("peers {:?}", queue.peers())));
            }
        }
        let mutex = Mutex::open_or_create(self.space.name("m"), 7u64).unwrap();
        match mutex.lock_timeout(HANG) {
            Ok(guard) if *guard == 7 && !guard.owner_died() => {}
            other => faults.push(Fault::Torn(format!("a new mutex: {other:?}"))),
        }
        let permits = Semaphore::open_or_create_permits(self.space.name("p"), 1).unwrap();
        if permits.value() != Ok(1) {
            faults.push(Fault::Torn("new permits".into()));
        }
        std::fs::remove_dir_all(&self.dir).unwrap();
        faults
    }
}
