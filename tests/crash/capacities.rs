//! Scenes with queues of every capacity, long messages, and messages on lease: what was sent and received is accounted for, and nothing
//! is lost for good: no room, no block, no lease.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::{Duration, Instant};

use rsipc::{Error, Queue, QueueOptions};

use crate::scenes::{SHORT, fresh};
use crate::step::{Fault, HANG, LATE, Scene, Sleepers};
use crate::support::{Board, Child, Test, fork, message, now};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bounded,
    Rendezvous,
    Unbounded,
    /// Its messages are in blocks.
    Long,
    /// With a single block.
    LongOne,
}

use Kind::{Bounded, Long, LongOne, Rendezvous, Unbounded};

impl Kind {
    fn options(self) -> QueueOptions {
        let options = QueueOptions::new().leases(2).max_message(200);
        match self {
            Bounded => options.capacity(3),
            Rendezvous => options.capacity(0),
            // Its log has 1 MiB of addresses in the kept part, and 5 in the long part.
            Unbounded => options.unbounded_within(2 << 20).max_message(8000),
            Long => options.capacity(2).max_message(5000),
            LongOne => options.capacity(1).max_message(5000).leases(0),
        }
    }

    /// How many messages can be out on lease at the same time: as many as it has blocks.
    fn blocks(self) -> usize {
        match self {
            Bounded | Unbounded => 2,
            Rendezvous => 2 + 256,
            Long => 2 + 2,
            LongOne => 0,
        }
    }

    /// How long its messages are.
    fn len(self) -> usize {
        if matches!(self, Long | LongOne) { 4200 } else { 150 }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    Send,
    TrySend,
    /// Sends, and gives up.
    Withdraw,
    Recv,
    TryRecv,
    /// Takes a message on lease.
    Lease,
    /// Finishes a lease, or gives it back.
    Finish,
    GiveBack,
    /// Fills a loan and sends it; drops one.
    SendLoan,
    DropLoan,
    /// Receives a message in place, reads it, and drops the view.
    View,
    Shutdown,
}

/// What numbers of messages begin with: those that were there, the victim's, the sleepers', the parent's.
const VICTIM: u64 = 1_000_000;
const SLEEPER: u64 = 2_000_000;
const PARENT: u64 = 3_000_000;
/// Of messages that only fill the memory.
const FILLER: u64 = 9_000_000;

/// What a sleeper says who got no message.
const NONE: u64 = u64::MAX;

/// The number of a message; 0 where it is torn.
fn checked(bytes: &[u8]) -> u64 {
    let number = bytes.get(..8).map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
    if bytes == message(number, bytes.len()) { number } else { 0 }
}

/// On the board: the victim has come to its end; the number that it received.
const OVER: usize = 0;
const GOT: usize = 1;

pub struct CapacityScene<'a> {
    test: &'a Test,
    name: String,
    queue: Queue,
    kind: Kind,
    act: Act,
    /// What is done before: in the parent, when the victim is ready.
    before: fn(&CapacityScene),
    sleepers: (Act, usize),
    woken: bool,
    stands_still: bool,
    board: Board,
    sent: RefCell<Vec<u64>>,
    received: RefCell<Vec<u64>>,
    helpers: RefCell<Vec<Child>>,
    slowest: Cell<u64>,
    /// Messages of dead processes come back only once the queue is empty.
    unordered: Cell<bool>,
}

pub fn scene<'a>(
    test: &'a Test,
    kind: Kind,
    act: Act,
    before: fn(&CapacityScene),
    sleepers: (Act, usize),
) -> Box<CapacityScene<'a>> {
    let name = fresh();
    let queue = Queue::create(test.name(&name), &kind.options()).unwrap();
    Box::new(CapacityScene {
        test,
        name,
        queue,
        kind,
        act,
        before,
        sleepers,
        woken: false,
        stands_still: false,
        board: Board::new(2),
        sent: vec![].into(),
        received: vec![].into(),
        helpers: vec![].into(),
        slowest: 0.into(),
        unordered: false.into(),
    })
}

/// Takes the offers of those who sleep in a rendezvous, and what comes back of them; says also whether those whose offers had
/// been taken were awake before, without our help. `number_of`: a sleeper's message.
pub fn take_offers(queue: &Queue, sleepers: &Sleepers, number_of: impl Fn(usize) -> u64) -> Result<(Vec<u64>, bool), Fault> {
    std::thread::sleep(Duration::from_millis(20));
    let asleep = sleepers.asleep()?;
    let (mut received, mut offered) = (vec![], vec![]);
    loop {
        match queue.try_lease() {
            Ok(lease) => {
                let number = checked(lease.message());
                received.push(number);
                // What comes again was on lease to a dead one.
                if lease.deliveries() == 1 {
                    offered.push(number);
                }
                lease.finish().map_err(|e| Fault::Lost(format!("finishing a lease: {e}")))?;
            }
            Err(Error::WouldBlock) => break,
            Err(e) => return Err(Fault::Hang(format!("receiving: {e}"))),
        }
    }
    Ok((received, asleep.into_iter().all(|i| offered.contains(&number_of(i)))))
}

/// What may be done before.
pub mod before {
    use super::*;

    pub fn nothing(_: &CapacityScene) {}

    pub fn one(scene: &CapacityScene) {
        scene.put(1, scene.kind.len());
    }

    pub fn two(scene: &CapacityScene) {
        scene.put(2, scene.kind.len());
    }

    pub fn full(scene: &CapacityScene) {
        scene.put(scene.queue.capacity().unwrap(), scene.kind.len());
    }

    /// The parent has used the queue alone for a while.
    pub fn alone(scene: &CapacityScene) {
        for _ in 0..100 {
            scene.put(1, 30);
            scene.get(1);
        }
    }

    pub fn alone_and_two(scene: &CapacityScene) {
        alone(scene);
        two(scene);
    }

    /// All who wait have been woken once more than without this. Each time the free word of a lock that somebody waits at changes
    /// between looking to its next owner as it should, and as if the last one had died; then that wakes all of them, whose
    /// wake-ups are not needed any more.
    pub fn all_woken(scene: &CapacityScene) {
        // Who leases for the first time wakes all.
        assert_eq!(scene.queue.lease_timeout(SHORT).err(), Some(Error::TimedOut));
    }

    /// The ring of an unbounded queue is full.
    pub fn ring_full(scene: &CapacityScene) {
        scene.put(256, 30);
    }

    /// And there is something in the log.
    pub fn in_log(scene: &CapacityScene) {
        scene.put(258, 30);
    }

    /// The ring is empty, and the log is not.
    pub fn only_in_log(scene: &CapacityScene) {
        scene.put(258, 30);
        scene.get(256);
    }

    /// There is nothing, but the last message was in the log.
    pub fn log_drained(scene: &CapacityScene) {
        scene.put(258, 30);
        scene.get(258);
    }

    /// The kept part of the log is full, but for 400 bytes.
    pub fn kept_full(scene: &CapacityScene) {
        scene.put(256, 30);
        scene.put(261, 4000);
    }

    /// The next message to be received is the first in the long part, and ends where a chunk of that does.
    pub fn end_of_chunk(scene: &CapacityScene) {
        kept_full(scene);
        scene.put(1, 368);
        scene.put(2, 30);
        scene.get(256 + 261);
    }

    /// 400 bytes are left to the end of the kept part, at whose beginning there is room.
    pub fn end_of_kept(scene: &CapacityScene) {
        kept_full(scene);
        scene.get(256 + 200);
    }

    /// And the next message is at the beginning of it.
    pub fn over_the_end_of_kept(scene: &CapacityScene) {
        end_of_kept(scene);
        scene.put(1, 1950);
        scene.put(1, 30);
        scene.get(61);
    }

    /// Little waits, in the long part, and it is time to look how much.
    pub fn little_in_long(scene: &CapacityScene) {
        kept_full(scene);
        scene.put(17, 4000);
        scene.get(256 + 261 + 16);
    }

    /// The next message to be received is the first in the kept part again.
    pub fn kept_again(scene: &CapacityScene) {
        little_in_long(scene);
        scene.put(1, 1950);
        scene.put(1, 30);
        scene.get(1);
    }

    /// The addresses of the long part end behind the messages that are in it, which are many, and the next is too long for what is left.
    pub fn end_of_log(scene: &CapacityScene) {
        scene.put(256, 30);
        // 130 of them fill the kept part, with a turn behind them.
        scene.put(140, 8000);
        scene.get(256);
        // 5 MiB of addresses, from 130 records of 8016 bytes and a turn on: 524 records more, and 400 bytes are left.
        for _ in 0..514 {
            scene.put(1, 8000);
            scene.get(1);
        }
    }

    /// And the next message is at the beginning of the addresses.
    pub fn over_the_end_of_log(scene: &CapacityScene) {
        end_of_log(scene);
        scene.put(1, 1950);
        scene.put(1, 100);
        scene.get(140);
    }

    /// Somebody died with all that can be out on lease.
    pub fn all_leased_by_the_dead(scene: &CapacityScene) {
        scene.unordered.set(true);
        scene.put(1, scene.kind.len());
        scene.put(1, scene.kind.len());
        let worker = fork("worker", || {
            std::mem::forget([scene.queue.try_lease().unwrap(), scene.queue.try_lease().unwrap()]);
            crate::support::die();
        });
        worker.end();
        scene.put(1, scene.kind.len());
    }
}

impl CapacityScene<'_> {
    /// The victim is woken once it sleeps, with the sleepers behind it.
    pub fn woken(self: Box<Self>) -> Box<Self> {
        Box::new(Self { woken: true, ..*self })
    }

    /// The victim stands still while others send more than the ring has room for.
    pub fn standing_still(self: Box<Self>) -> Box<Self> {
        Box::new(Self { stands_still: true, ..*self })
    }

    /// How long the victim's message is.
    fn victims_len(&self) -> usize {
        if self.kind == Unbounded { 1950 } else { self.kind.len() }
    }

    /// Puts messages into the queue, as numbers 2 and up.
    fn put(&self, count: usize, len: usize) {
        for _ in 0..count {
            let number = 2 + self.sent.borrow().len() as u64;
            self.queue.try_send(&message(number, len)).unwrap();
            self.sent.borrow_mut().push(number);
        }
    }

    /// Takes messages out.
    fn get(&self, count: usize) {
        for _ in 0..count {
            self.received.borrow_mut().push(checked(&self.queue.try_recv().unwrap()));
        }
    }

    fn number(&self) -> u64 {
        let number = PARENT + self.sent.borrow().len() as u64;
        self.sent.borrow_mut().push(number);
        number
    }

    fn send(&self) -> Result<(), Fault> {
        let bytes = message(self.number(), self.kind.len());
        self.queue.send_timeout(&bytes, HANG).map_err(|e| Fault::Hang(format!("sending: {e}")))
    }

    fn recv(&self) -> Result<(), Fault> {
        let bytes = self.queue.recv_timeout(HANG).map_err(|e| Fault::Hang(format!("receiving: {e}")))?;
        self.received.borrow_mut().push(checked(&bytes));
        Ok(())
    }

    /// Lets another process send.
    fn send_elsewhere(&self) {
        let bytes = message(self.number(), self.kind.len());
        let helper = fork("helper", || self.queue.send_timeout(&bytes, HANG).unwrap());
        self.helpers.borrow_mut().push(helper);
    }

    fn drain(&self) -> Result<(), Fault> {
        loop {
            // Those who offer are waited for.
            let helpers_are_over = !self.helpers.borrow().iter().any(Child::is_alive);
            match self.queue.try_recv() {
                Ok(bytes) => self.received.borrow_mut().push(checked(&bytes)),
                Err(Error::WouldBlock) if self.act != Act::Shutdown => {
                    if helpers_are_over {
                        return Ok(());
                    }
                    std::thread::sleep(Duration::from_micros(100));
                }
                Err(Error::Closed) if self.act == Act::Shutdown => return Ok(()),
                Err(e) => return Err(Fault::Hang(format!("draining: {e}"))),
            }
        }
    }

    /// Does what the sleepers wait for, and looks how long that takes.
    fn serve(&self, sleepers: &Sleepers) -> Result<(), Fault> {
        let start = now();
        let end = Instant::now() + HANG;
        // What a helper offers goes to a sleeper, if the victim did not take it.
        while self.sleepers.1 != 0 && self.helpers.borrow().iter().any(Child::is_alive) {
            if Instant::now() > end {
                return Err(Fault::Hang("an offer and a receiver do not meet".into()));
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        self.slowest.set(now() - start);
        if !self.helpers.borrow().is_empty() {
            std::thread::sleep(SHORT);
        }
        if self.sleepers.0 == Act::Send && self.kind == Rendezvous && matches!(self.act, Act::Recv | Act::View | Act::Lease) {
            let (received, all_woken) = take_offers(&self.queue, sleepers, |i| SLEEPER + i as u64)?;
            self.received.borrow_mut().extend(received);
            if !all_woken {
                self.slowest.set(LATE + 1);
            }
        }
        let (mut done, mut since) = (sleepers.done(), now());
        while !sleepers.all_done() {
            if self.sleepers.0 == Act::Send {
                match self.queue.recv_timeout(SHORT) {
                    Ok(bytes) => self.received.borrow_mut().push(checked(&bytes)),
                    Err(Error::TimedOut) => {}
                    Err(e) => return Err(Fault::Hang(format!("receiving: {e}"))),
                }
            } else if self.kind == Rendezvous {
                // The sleeper may have got the victim's message, and not have said so yet.
                match self.queue.send_timeout(&message(self.number(), self.kind.len()), 5 * SHORT) {
                    Ok(()) => sleepers.wait_done(done + 1)?,
                    Err(_) => drop(self.sent.borrow_mut().pop()),
                }
            } else {
                self.send()?;
                sleepers.wait_done(done + 1)?;
            }
            let time = now() - since;
            if sleepers.done() > done {
                self.slowest.set(self.slowest.get().max(time));
                (done, since) = (sleepers.done(), now());
            } else if Duration::from_nanos(time) > HANG {
                return Err(Fault::Hang("a sleeper waits for nothing".into()));
            }
        }
        Ok(())
    }

    fn use_it(&self, sleepers: &Sleepers) -> Result<(), Fault> {
        if self.act == Act::Shutdown {
            self.queue.shutdown().map_err(|e| Fault::Hang(format!("shutting down: {e}")))?;
            sleepers.wait_done(self.sleepers.1)?;
            self.drain()?;
            return match self.queue.try_send(b"x") {
                Err(Error::Closed) => Ok(()),
                other => Err(Fault::Lost(format!("sending to a queue that was shut down gave {other:?}"))),
            };
        }
        self.serve(sleepers)?;
        self.drain()?;
        for _ in 0..2 {
            self.fill_and_drain()?;
        }
        self.lease_all()?;
        self.fill_and_drain()
    }

    fn fill_and_drain(&self) -> Result<(), Fault> {
        if self.kind == Rendezvous {
            return std::thread::scope(|scope| {
                let numbers = [(); 3].map(|()| self.number());
                let queue = &self.queue;
                let sender = scope.spawn(move || numbers.iter().try_for_each(|&n| queue.send_timeout(&message(n, 150), HANG)));
                let result = (0..3).try_for_each(|_| self.recv());
                sender.join().unwrap().map_err(|e| Fault::Hang(format!("offering: {e}")))?;
                result
            });
        }
        let room = self.queue.capacity().unwrap_or(300);
        (0..room).try_for_each(|_| self.send())?;
        match self.queue.capacity().map(|_| self.queue.try_send(b"x")) {
            None | Some(Err(Error::WouldBlock)) => {}
            other => return Err(Fault::Leaked(format!("a full queue gave {other:?}"))),
        }
        if self.queue.len() != Ok(room) {
            return Err(Fault::Lost(format!("a queue with {room} messages says {:?}", self.queue.len())));
        }
        self.drain()
    }

    /// Takes as many messages on lease as there can be, and finishes them.
    fn lease_all(&self) -> Result<(), Fault> {
        let most = self.kind.blocks();
        let leaked = |e: Error, i: usize| Fault::Leaked(format!("lease {i} of {most}: {e}"));
        let (queue, filler) = (&self.queue, message(FILLER, self.kind.len()));
        let mut leases = vec![];
        if self.kind == Rendezvous {
            std::thread::scope(|scope| {
                let sender = scope.spawn(|| (0..most).try_for_each(|_| queue.send_timeout(&filler, HANG)));
                for i in 0..most {
                    leases.push(queue.lease_timeout(HANG).map_err(|e| leaked(e, i))?);
                }
                sender.join().unwrap().map_err(|e| leaked(e, most))
            })?;
        } else {
            for i in 0..most {
                queue.send_timeout(&filler, HANG).map_err(|e| leaked(e, i))?;
                leases.push(queue.lease_timeout(HANG).map_err(|e| leaked(e, i))?);
            }
        }
        for lease in leases {
            if checked(lease.message()) != FILLER {
                return Err(Fault::Torn("a message on lease".into()));
            }
            lease.finish().map_err(|e| Fault::Lost(format!("finishing a lease: {e}")))?;
        }
        Ok(())
    }

    /// Compares what was sent with what was received.
    fn account(&self, sleepers: &Sleepers, completed: bool) -> Vec<Fault> {
        let mut received = self.received.borrow().clone();
        let mut faults = vec![];
        let in_order =
            !self.unordered.get() && !matches!(self.act, Act::Lease | Act::Finish) && (completed || self.act != Act::GiveBack);
        if in_order && self.sleepers.1 == 0 && !self.woken && !received.is_sorted() {
            faults.push(Fault::Lost(format!("the order: {received:?}")));
        }
        let mut sent = self.sent.borrow().clone();
        if matches!(self.act, Act::Finish | Act::GiveBack) {
            sent.push(1);
        }
        let results = sleepers.results();
        if self.sleepers.0 == Act::Send {
            sent.extend((0..results.len()).filter(|&i| results[i] != NONE).map(|i| SLEEPER + i as u64));
        } else {
            received.extend(results.into_iter().filter(|&result| result != NONE));
        }
        let mut count: HashMap<u64, usize> = HashMap::new();
        received.iter().for_each(|&number| *count.entry(number).or_default() += 1);
        let tail = &received[received.len().saturating_sub(12)..];
        if count.remove(&0).is_some() {
            faults.push(Fault::Torn(format!("..{tail:?}")));
        }
        let of_victim = count.remove(&VICTIM).unwrap_or(0);
        match self.act {
            Act::Send | Act::TrySend | Act::SendLoan if of_victim > 1 || completed && of_victim == 0 => {
                faults.push(Fault::Lost(format!("the victim's message, received {of_victim} times: ..{tail:?}")));
            }
            Act::Withdraw if of_victim > usize::from(!completed) => {
                faults.push(Fault::Twice(format!("a message that was withdrawn: ..{tail:?}")));
            }
            _ => {}
        }
        let got = self.board.get(GOT);
        let mut may_be_gone = usize::from(matches!(self.act, Act::Recv | Act::TryRecv | Act::Finish | Act::View));
        for number in sent {
            match count.remove(&number).unwrap_or(0) {
                1 => {}
                0 if may_be_gone == 1 && (!completed || got == number) => may_be_gone = 0,
                0 => faults.push(Fault::Lost(format!("message {number}: received ..{tail:?}"))),
                _ => faults.push(Fault::Twice(format!("message {number}: received ..{tail:?}"))),
            }
        }
        if completed && may_be_gone == 1 && got != 0 {
            faults.push(Fault::Twice(format!("what the victim received, {got}: ..{tail:?}")));
        }
        if self.stands_still && ![0, 2].contains(&(got % PARENT)) && got != self.first_sent_later() {
            faults.push(Fault::Lost(format!("the order: the victim received {got} first")));
        }
        if !count.is_empty() {
            faults.push(Fault::Torn(format!("nobody sent {count:?}")));
        }
        sleepers.end();
        match self.queue.peers() {
            Ok(peers) if peers.len() == 1 => {}
            other => faults.push(Fault::Leaked(format!("peers {other:?}"))),
        }
        faults
    }

    /// The first message that was sent while the victim stood still.
    fn first_sent_later(&self) -> u64 {
        self.sent.borrow().iter().copied().find(|&number| number >= PARENT).unwrap_or(0)
    }
}

impl Scene for CapacityScene<'_> {
    fn victim(&self) -> Box<dyn FnOnce() + '_> {
        // Not closed at the end of the operation.
        let handle: &Queue = Box::leak(Box::new(Queue::open(self.test.name(&self.name)).unwrap()));
        let (kind, over) = (self.kind, || self.board.set(OVER, 1));
        // It has sent, received and waited before: what is done the first time is not looked at.
        assert_eq!(handle.recv_timeout(SHORT), Err(Error::TimedOut));
        if kind == Rendezvous {
            assert_eq!(handle.send_timeout(b"x", SHORT), Err(Error::TimedOut));
        } else {
            handle.send(&message(FILLER, kind.len())).unwrap();
            handle.recv().unwrap();
        }
        if matches!(self.act, Act::Lease | Act::Finish | Act::GiveBack) {
            assert_eq!(handle.lease_timeout(SHORT).err(), Some(Error::TimedOut));
        }
        if matches!(self.act, Act::SendLoan | Act::DropLoan | Act::View) {
            drop(handle.loan(kind.len()).ok());
            assert_eq!(handle.recv_view_timeout(SHORT).err(), Some(Error::TimedOut));
        }
        let loan = (self.act == Act::DropLoan).then(|| handle.loan(kind.len()).unwrap());
        let lease = matches!(self.act, Act::Finish | Act::GiveBack).then(|| {
            let bytes = message(1, kind.len());
            std::thread::scope(|scope| {
                let sender = scope.spawn(|| handle.send_timeout(&bytes, HANG).unwrap());
                let lease = handle.lease_timeout(HANG).unwrap();
                // Until it is gone: it would run into the breakpoints.
                sender.join().unwrap();
                lease
            })
        });
        let bytes = std::mem::ManuallyDrop::new(message(VICTIM, self.victims_len()));
        let board = &self.board;
        match self.act {
            Act::Send => Box::new(move || {
                handle.send(bytes.as_slice()).unwrap();
                over();
            }),
            Act::TrySend => Box::new(move || {
                handle.try_send(bytes.as_slice()).unwrap();
                over();
            }),
            Act::Withdraw => Box::new(move || {
                assert_eq!(handle.send_timeout(bytes.as_slice(), Duration::from_micros(300)), Err(Error::TimedOut));
            }),
            Act::Recv => Box::new(move || {
                let message = std::mem::ManuallyDrop::new(handle.recv().unwrap());
                board.set(GOT, checked_quickly(&message));
                over();
            }),
            Act::TryRecv => Box::new(move || {
                if let Ok(message) = handle.try_recv() {
                    board.set(GOT, checked_quickly(&std::mem::ManuallyDrop::new(message)));
                }
            }),
            Act::Lease => Box::new(move || {
                std::mem::forget(handle.lease().unwrap());
                over();
            }),
            Act::Finish => Box::new(move || {
                lease.unwrap().finish().unwrap();
                board.set(GOT, 1);
            }),
            Act::GiveBack => Box::new(move || lease.unwrap().give_back().unwrap()),
            Act::SendLoan => Box::new(move || {
                let mut loan = handle.loan(bytes.len()).unwrap();
                loan.write(0, &bytes).unwrap();
                loan.send().unwrap();
                over();
            }),
            Act::DropLoan => Box::new(move || drop(loan)),
            Act::View => Box::new(move || {
                let view = handle.recv_view().unwrap();
                let mut number = [0; 8];
                view.read(0, &mut number).unwrap();
                board.set(GOT, checked_quickly(&number));
                drop(view);
                over();
            }),
            Act::Shutdown => Box::new(move || handle.shutdown().unwrap()),
        }
    }

    fn command(&self) -> Option<String> {
        let act = match self.act {
            Act::Send => "send",
            Act::TrySend => "try_send",
            Act::Withdraw => "withdraw",
            Act::Recv => "recv",
            Act::TryRecv => return None,
            // It takes many instructions until it sleeps, as many in each language.
            Act::Lease if self.woken => return None,
            Act::Lease => "lease",
            Act::Finish => "finish",
            Act::GiveBack => "give_back",
            Act::SendLoan => "send_loan",
            Act::DropLoan => "drop_loan",
            Act::View => "view",
            Act::Shutdown => "shutdown",
        };
        let long = if self.woken && self.kind == Unbounded { "long_" } else { "" };
        let (first, one_more) = if self.kind == Rendezvous { (0, 1) } else { (1, 0) };
        let (dir, name, board, len) = (self.test.dir.display(), &self.name, self.board.path(), self.kind.len());
        Some(format!("{long}{act} {dir} {name} {board} {first} {one_more} {len} {VICTIM} {}", self.victims_len()))
    }

    fn victim_is_ready(&self) {
        (self.before)(self);
    }

    fn sleepers(&self) -> usize {
        self.sleepers.1
    }

    fn first_is_woken_last(&self) -> bool {
        // Whose offer is taken first is not the one whom a wake-up for anybody would reach.
        self.kind == Rendezvous && self.sleepers == (Act::Send, 2)
    }

    fn sleepers_come_later(&self) -> bool {
        self.woken || self.stands_still
    }

    fn stands_still(&self) -> bool {
        self.stands_still
    }

    fn take_away(&self) {
        for _ in 0..260 {
            self.send().map_err(|fault| fault.text()).unwrap();
        }
    }

    fn sleep(&self, index: usize) -> u64 {
        let result = match self.sleepers.0 {
            Act::Send => self.queue.send(&message(SLEEPER + index as u64, self.kind.len())).map(|()| 1),
            Act::Lease => self.queue.lease().map(|lease| {
                let number = checked(lease.message());
                lease.finish().unwrap();
                number
            }),
            _ => self.queue.recv().map(|bytes| checked(&bytes)),
        };
        match result {
            Err(Error::Closed) => NONE,
            result => result.unwrap(),
        }
    }

    fn victim_sleeps(&self) -> bool {
        if !self.woken {
            return false;
        }
        match self.act {
            Act::Send | Act::SendLoan => self.recv().unwrap_or_else(|fault| panic!("{}", fault.text())),
            _ => self.send_elsewhere(),
        }
        true
    }

    fn stuck(&self, sleepers: &Sleepers) -> bool {
        let is_over = self.board.get(OVER) == 1;
        match (self.act, self.sleepers.0) {
            _ if self.sleepers.1 == 0 || self.woken => false,
            (Act::GiveBack | Act::DropLoan, _) => !sleepers.all_done(),
            (Act::Shutdown, _) => self.queue.is_shut_down() && !sleepers.all_done(),
            // One was served.
            (Act::Send | Act::TrySend | Act::SendLoan, Act::Recv | Act::Lease)
            | (Act::Recv | Act::Lease | Act::View, Act::Send)
                if self.kind == Rendezvous =>
            {
                is_over && sleepers.done() == 0
            }
            (Act::Send | Act::SendLoan, Act::Recv | Act::Lease) => self.queue.len().unwrap() > 0 && !sleepers.all_done(),
            (Act::Recv | Act::Lease | Act::View, Act::Send) => {
                self.queue.len().unwrap() < self.queue.capacity().unwrap_or(0) && !sleepers.all_done()
            }
            _ => false,
        }
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

/// A message's number alone: in the victim each instruction counts.
fn checked_quickly(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().unwrap())
}
