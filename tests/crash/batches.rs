//! Scenes with many messages in one call: of a killed batch the first so many are there, or gone, whole and in order, and none of
//! the others.

use std::cell::{Cell, RefCell};

use rsipc::{Batch, Error, Queue, QueueOptions};

use crate::capacities::take_offers;
use crate::scenes::{CAPACITY, SHORT, checked, fresh, options};
use crate::step::{Fault, HANG, LATE, Scene, Sleepers};
use crate::support::{Board, Test, message};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Act {
    SendMany,
    RecvMany,
}

/// What those do that sleep.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Asleep {
    Send,
    Recv,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bounded,
    /// The ring of this many messages is full, and there is one in the log.
    Log,
    Rendezvous,
}

/// How many messages the victim sends, or is ready to receive.
const MANY: u64 = 3;
/// The places in the ring of an unbounded queue.
const RING: u64 = 256;

/// What the numbers of messages begin with: those that were there, the victim's, the sleepers', the parent's.
const VICTIM: u64 = 10_000;
const SLEEPER: u64 = 20_000;
const PARENT: u64 = 30_000;

/// On the board: the victim has come to its end; how many messages it got.
const OVER: usize = 0;
const GOT: usize = 1;

struct BatchScene<'a> {
    test: &'a Test,
    name: String,
    queue: Queue,
    kind: Kind,
    act: Act,
    filled: u64,
    sleepers: (Asleep, usize),
    board: Board,
    /// What others than the victim and the sleepers sent, in that order, and what the parent received.
    sent: RefCell<Vec<u64>>,
    received: RefCell<Vec<u64>>,
    slowest: Cell<u64>,
}

/// A batch sent to, or received from, a queue with so many messages.
pub fn batch(test: &Test, kind: Kind, act: Act, filled: u64, sleepers: (Asleep, usize)) -> Box<dyn Scene + '_> {
    let name = fresh();
    let options = match kind {
        Kind::Bounded => options(),
        Kind::Log => QueueOptions::new().unbounded_within(2 << 20).max_message(200).leases(4),
        Kind::Rendezvous => options().capacity(0),
    };
    let queue = Queue::create(test.name(&name), &options).unwrap();
    let board = Board::new(2);
    let (sent, received, slowest) = (vec![].into(), vec![].into(), 0.into());
    Box::new(BatchScene { test, name, queue, kind, act, filled, sleepers, board, sent, received, slowest })
}

impl BatchScene<'_> {
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
                Err(Error::WouldBlock) => return Ok(()),
                Err(e) => return Err(Fault::Hang(format!("draining: {e}"))),
            }
        }
    }

    fn use_it(&self, sleepers: &Sleepers) -> Result<(), Fault> {
        if self.sleepers.0 == Asleep::Send && self.kind == Kind::Rendezvous {
            let (received, all_woken) = take_offers(&self.queue, sleepers, |i| SLEEPER + i as u64)?;
            self.received.borrow_mut().extend(received);
            if !all_woken {
                self.slowest.set(LATE + 1);
            }
        }
        while let Some(done) = sleepers.some_done() {
            match self.sleepers.0 {
                // The victim may have taken the last offer, and its sender not have said so yet.
                Asleep::Send if self.kind == Kind::Rendezvous => match self.queue.recv_timeout(100 * SHORT) {
                    Ok(bytes) => self.received.borrow_mut().push(checked(&bytes)),
                    Err(Error::TimedOut) => {}
                    Err(e) => return Err(Fault::Hang(format!("receiving: {e}"))),
                },
                Asleep::Send => self.recv()?,
                Asleep::Recv if self.kind == Kind::Rendezvous => {
                    // It may have got a message of the victim's, and not have said so yet.
                    if self.queue.send_timeout(&message(PARENT, 150), 100 * SHORT).is_ok() {
                        self.sent.borrow_mut().push(PARENT);
                    }
                }
                Asleep::Recv => self.send()?,
            }
            sleepers.wait_done(done + 1)?;
        }
        self.drain()?;
        if self.kind == Kind::Rendezvous {
            return Ok(());
        }
        let room = if self.kind == Kind::Log { RING + 2 } else { CAPACITY as u64 };
        for _ in 0..2 {
            (0..room).try_for_each(|_| self.send())?;
            match self.queue.len() {
                Ok(len) if len as u64 == room => {}
                other => return Err(Fault::Lost(format!("a queue with {room} messages says {other:?}"))),
            }
            match self.queue.capacity().map(|_| self.queue.try_send(b"x")) {
                None | Some(Err(Error::WouldBlock)) => {}
                other => return Err(Fault::Leaked(format!("a full queue gave {other:?}"))),
            }
            self.drain()?;
        }
        Ok(())
    }

    /// Compares what was sent with what was received.
    fn account(&self, sleepers: &Sleepers, completed: bool) -> Vec<Fault> {
        let (sent, received, results) = (self.sent.borrow(), self.received.borrow(), sleepers.results());
        let mut faults = vec![];
        let slept: Vec<u64> = if self.sleepers.0 == Asleep::Recv { results.clone() } else { vec![] };
        let all: Vec<u64> = received.iter().chain(&slept).copied().collect();
        let times = |number: u64| all.iter().filter(|&&other| other == number).count();
        let tail = &all[all.len().saturating_sub(12)..];
        // Of the victim's own the first so many.
        let of_victim = (0..MANY).take_while(|i| times(VICTIM + i) == 1).count() as u64;
        if (of_victim..MANY).any(|i| times(VICTIM + i) != 0) {
            faults.push(Fault::Twice(format!("not the first so many of the victim's, each once: {all:?}")));
        }
        if self.act == Act::SendMany && completed && self.board.get(OVER) == 1 && of_victim != MANY {
            faults.push(Fault::Lost(format!("{of_victim} of the victim's {MANY}: ..{tail:?}")));
        }
        // Of the others' all, but for the first so many that the victim took.
        let of_sleepers = (0..results.len() as u64).filter(|_| self.sleepers.0 == Asleep::Send).map(|i| SLEEPER + i);
        let mut expected: Vec<u64> = sent.iter().copied().collect();
        let mut gone = vec![];
        expected.extend(of_sleepers);
        for &number in &expected {
            match times(number) {
                1 => {}
                0 => gone.push(number),
                _ => faults.push(Fault::Twice(format!("message {number}: ..{tail:?}"))),
            }
        }
        let offered = if self.kind == Kind::Rendezvous { results.len() as u64 } else { self.filled };
        let most = if self.act == Act::RecvMany { MANY.min(offered) } else { 0 };
        let is_exact = completed && self.board.get(OVER) == 1;
        let first: Vec<u64> = (1..=gone.len() as u64).collect();
        let right = if is_exact { gone.len() as u64 == self.board.get(GOT) } else { gone.len() as u64 <= most };
        if gone != first && self.kind != Kind::Rendezvous || !right {
            faults.push(Fault::Lost(format!("{gone:?}, of which {} may be: ..{tail:?}", self.board.get(GOT).max(most))));
        }
        // Who sends one after the other is received in that order.
        let senders = [0..VICTIM, VICTIM..SLEEPER, PARENT..u64::MAX];
        if !senders.iter().all(|of| received.iter().filter(|number| of.contains(number)).is_sorted()) {
            faults.push(Fault::Lost(format!("the order: ..{tail:?}")));
        }
        let known = |number: &u64| (VICTIM..VICTIM + MANY).contains(number) || expected.contains(number);
        if let Some(stray) = all.iter().find(|number| !known(number)) {
            faults.push(Fault::Torn(format!("{stray}: ..{tail:?}")));
        }
        sleepers.end();
        match self.queue.peers() {
            Ok(peers) if peers.len() == 1 => {}
            other => faults.push(Fault::Leaked(format!("peers {other:?}"))),
        }
        faults
    }
}

impl Scene for BatchScene<'_> {
    fn victim(&self) -> Box<dyn FnOnce() + '_> {
        // Not closed at the end of the operation.
        let handle: &Queue = Box::leak(Box::new(Queue::open(self.test.name(&self.name)).unwrap()));
        let batch: &mut Batch = Box::leak(Box::default());
        // It has sent, received and waited before: what is done the first time is not looked at.
        assert_eq!(handle.recv_timeout(SHORT), Err(Error::TimedOut));
        if self.kind == Kind::Rendezvous {
            assert_eq!(handle.send_timeout(b"x", SHORT), Err(Error::TimedOut));
        } else {
            let fillers = [message(9, 150), message(9, 150), message(9, 150)];
            handle.send_many(&fillers).unwrap();
            assert_eq!(handle.recv_many(batch, CAPACITY), Ok(3));
            // Nobody waits: this makes the words say so.
            handle.send(&fillers[0]).unwrap();
            handle.recv().unwrap();
        }
        let board = &self.board;
        match self.act {
            Act::SendMany => {
                let messages: &[Vec<u8>] = Vec::leak((0..MANY).map(|i| message(VICTIM + i, 150)).collect());
                Box::new(move || {
                    assert_eq!(handle.send_many(messages), Ok(MANY as usize));
                    board.set(OVER, 1);
                })
            }
            Act::RecvMany => Box::new(move || {
                let got = handle.recv_many(batch, MANY as usize).unwrap();
                board.set(GOT, got as u64);
                board.set(OVER, 1);
            }),
        }
    }

    fn command(&self) -> Option<String> {
        let act = match self.act {
            Act::SendMany => "send_many",
            Act::RecvMany => "recv_many",
        };
        let (first, one_more) = if self.kind == Kind::Rendezvous { (0, 1) } else { (3, 0) };
        let (dir, name, board) = (self.test.dir.display(), &self.name, self.board.path());
        Some(format!("{act} {dir} {name} {board} {first} {one_more} 150 {VICTIM} 150"))
    }

    fn victim_is_ready(&self) {
        for number in 1..=self.filled {
            self.queue.try_send(&message(number, 150)).unwrap();
            self.sent.borrow_mut().push(number);
        }
    }

    fn sleepers(&self) -> usize {
        self.sleepers.1
    }

    fn first_is_woken_last(&self) -> bool {
        // As in the scenes of single messages.
        self.kind == Kind::Rendezvous && self.sleepers == (Asleep::Send, 2)
    }

    fn sleep(&self, index: usize) -> u64 {
        if self.sleepers.0 == Asleep::Send {
            self.queue.send(&message(SLEEPER + index as u64, 150)).map(|()| 1).unwrap()
        } else {
            self.queue.recv().map(|bytes| checked(&bytes)).unwrap()
        }
    }

    fn stuck(&self, sleepers: &Sleepers) -> bool {
        if self.kind == Kind::Rendezvous {
            return false;
        }
        let len = self.queue.len().unwrap();
        let something = match self.sleepers.0 {
            Asleep::Send => self.queue.capacity().is_some_and(|capacity| len < capacity),
            Asleep::Recv => len > 0,
        };
        something && !sleepers.all_done()
    }

    fn slowest(&self) -> u64 {
        self.slowest.get()
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
