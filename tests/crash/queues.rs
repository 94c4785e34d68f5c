//! Scenes with a queue: what was sent and received is accounted for.

use std::cell::RefCell;
use std::collections::HashMap;

use rsipc::{Error, Queue};

use crate::scenes::{CAPACITY, SHORT, checked, fresh, options};
use crate::step::{Fault, HANG, Scene, Sleepers};
use crate::support::{Test, message};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Send,
    Recv,
    Shutdown,
    /// Opens a handle, and sends for the first time.
    Join,
}

/// Who has used the queue alone for a while.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum User {
    Nobody,
    Victim,
    Parent,
}

/// So many messages make one the only user.
const MANY: usize = 200;

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
    /// Whether it stands still while the sleepers come.
    stands_still: bool,
    /// Whether another sender comes before the kill.
    another: bool,
    /// To whom the queue's locks are biased when the operation begins.
    user: User,
    /// What the parent sent and received so far.
    sent: RefCell<Vec<u64>>,
    received: RefCell<Vec<u64>>,
}

pub fn queue(test: &Test, act: Act, filled: usize, sleepers: (Act, usize)) -> Box<dyn Scene + '_> {
    Box::new(QueueScene::new(test, act, filled, sleepers, false))
}

pub fn woken(test: &Test, act: Act, filled: usize, sleepers: (Act, usize)) -> Box<dyn Scene + '_> {
    Box::new(QueueScene::new(test, act, filled, sleepers, true))
}

/// The victim sends, and stands still while a receiver comes.
pub fn meanwhile(test: &Test) -> Box<dyn Scene + '_> {
    Box::new(QueueScene { stands_still: true, ..QueueScene::new(test, Act::Send, 0, (Act::Recv, 1), false) })
}

/// The victim sends, and stands still while another sender comes.
pub fn another_meanwhile(test: &Test) -> Box<dyn Scene + '_> {
    Box::new(QueueScene { another: true, stands_still: true, ..QueueScene::new(test, Act::Send, 0, (Act::Recv, 0), false) })
}

/// The victim sends to a receiver that sleeps, and another sender comes before the kill.
pub fn another(test: &Test) -> Box<dyn Scene + '_> {
    Box::new(QueueScene { another: true, ..QueueScene::new(test, Act::Send, 0, (Act::Recv, 1), false) })
}

/// The same, where locks are biased.
pub fn biased(test: &Test, user: User, act: Act, filled: usize, sleepers: (Act, usize)) -> Box<dyn Scene + '_> {
    Box::new(QueueScene { user, ..QueueScene::new(test, act, filled, sleepers, false) })
}

pub fn biased_woken(test: &Test, act: Act, filled: usize, sleepers: (Act, usize)) -> Box<dyn Scene + '_> {
    Box::new(QueueScene { user: User::Victim, ..QueueScene::new(test, act, filled, sleepers, true) })
}

pub fn biased_meanwhile(test: &Test, another: bool) -> Box<dyn Scene + '_> {
    let scene = QueueScene::new(test, Act::Send, 0, (Act::Recv, usize::from(!another)), false);
    Box::new(QueueScene { user: User::Victim, another, stands_still: true, ..scene })
}

pub fn biased_another(test: &Test) -> Box<dyn Scene + '_> {
    Box::new(QueueScene { user: User::Victim, another: true, ..QueueScene::new(test, Act::Send, 0, (Act::Recv, 1), false) })
}

/// Sends and receives, until the locks are biased.
fn use_alone(queue: &Queue) {
    for _ in 0..MANY {
        queue.send(b"x").unwrap();
        queue.recv().unwrap();
    }
}

impl<'a> QueueScene<'a> {
    fn new(test: &'a Test, act: Act, filled: usize, sleepers: (Act, usize), woken: bool) -> Self {
        let name = fresh();
        let queue = Queue::create(test.name(&name), &options()).unwrap();
        Self {
            test,
            name,
            queue,
            act,
            filled,
            sleepers,
            woken,
            stands_still: false,
            another: false,
            user: User::Nobody,
            sent: vec![].into(),
            received: vec![].into(),
        }
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
        while let Some(done) = sleepers.some_done() {
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
        if self.another {
            sent.push(SLEEPER);
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

/// What a sleeper says whose queue was shut down, or who received nothing.
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
        if self.user == User::Victim {
            use_alone(&handle);
        }
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

    fn command(&self) -> Option<String> {
        if self.user != User::Nobody {
            return None;
        }
        let act = match self.act {
            Act::Send => "send",
            Act::Recv => "recv",
            Act::Shutdown => "shutdown",
            Act::Join => "join",
        };
        Some(format!("{act} {} {} - {CAPACITY} 1 150 {VICTIM} 150", self.test.dir.display(), self.name))
    }

    fn another_comes(&self) -> bool {
        self.another
    }

    fn stands_still(&self) -> bool {
        self.stands_still
    }

    fn take_away(&self) {
        let _ = self.drain();
    }

    fn wake(&self) {
        if self.sleepers.1 != 0 {
            self.send().unwrap();
        }
    }

    fn victim_is_ready(&self) {
        if self.stands_still {
            // The word says that somebody waits.
            assert_eq!(self.queue.recv_timeout(SHORT), Err(Error::TimedOut));
        }
        if self.user == User::Parent {
            use_alone(&self.queue);
        }
        for number in 1..=self.filled as u64 {
            self.queue.try_send(&message(number, 150)).unwrap();
            self.sent.borrow_mut().push(number);
        }
    }

    fn sleepers(&self) -> usize {
        self.sleepers.1
    }

    fn sleepers_come_later(&self) -> bool {
        self.woken || self.stands_still
    }

    fn sleep(&self, index: usize) -> u64 {
        let result = if self.another && index == self.sleepers.1 {
            self.queue.send(&message(SLEEPER, 150)).map(|()| CLOSED)
        } else if self.sleepers.0 == Act::Send {
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
            _ if self.another => true,
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
