//! Scenes in which more goes wrong than one death: a third party takes what the victim was woken for, before it is killed; or the victim's
//! death, or what it did before, wakes a second victim, which is killed then. Somebody else sleeps behind it.

use std::cell::Cell;

use rsipc::{Error, Mutex, Queue, Semaphore};

use crate::scenes::{CAPACITY, SHORT, checked, fresh, options};
use crate::step::{Fault, HANG, LATE_AFTER_TWO, Scene, Sleepers};
use crate::support::{Test, message};

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum What {
    Lock,
    Message,
    Room,
    Unit,
    Permit,
}

use What::{Lock, Permit, Room, Unit};

/// When a third party takes it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Barge {
    Never,
    /// As soon as it is there.
    AtOnce,
    /// Right before the one that was woken is killed.
    Late,
}

struct TwiceScene<'a> {
    test: &'a Test,
    name: String,
    queue: Queue,
    mutex: Mutex,
    semaphore: Semaphore,
    what: What,
    barge: Barge,
    /// The first victim gives, and the second takes; or else there is only one, which takes.
    has_second: bool,
    /// How many were given so far, by the parent.
    given: Cell<i64>,
    third_has_it: Cell<bool>,
    torn: Cell<bool>,
}

fn scene(test: &Test, what: What, barge: Barge, has_second: bool) -> Box<dyn Scene + '_> {
    let name = fresh();
    let queue = Queue::create(test.name(&name), &options()).unwrap();
    let of = |suffix: &str| format!("{name}-{suffix}");
    let mutex = Mutex::create(test.name(&of("mutex")), ()).unwrap();
    let semaphore = if what == Permit {
        Semaphore::create_permits(test.name(&of("semaphore")), 1).unwrap()
    } else {
        Semaphore::create(test.name(&of("semaphore")), 0).unwrap()
    };
    // There is nothing to take at the beginning: the parent has it, or the first victim will.
    match what {
        Lock if !has_second => std::mem::forget(mutex.lock().unwrap()),
        Permit if !has_second => semaphore.acquire().unwrap(),
        Room => (0..CAPACITY).for_each(|_| queue.send(&message(1, 150)).unwrap()),
        _ => {}
    }
    Box::new(TwiceScene {
        test,
        name,
        queue,
        mutex,
        semaphore,
        what,
        barge,
        has_second,
        given: 0.into(),
        third_has_it: false.into(),
        torn: false.into(),
    })
}

/// The victim is woken, with somebody behind it, and a third party takes what it was woken for.
pub fn barged(test: &Test, what: What, barge: Barge) -> Box<dyn Scene + '_> {
    scene(test, what, barge, false)
}

/// The first victim gives what the second one sleeps for, with somebody behind it.
pub fn pair(test: &Test, what: What, barge: Barge) -> Box<dyn Scene + '_> {
    scene(test, what, barge, true)
}

impl TwiceScene<'_> {
    /// Waits for it and takes it.
    fn take(&self, queue: &Queue) -> u64 {
        match self.what {
            Lock => {
                let mut guard = self.mutex.lock().unwrap();
                guard.mark_consistent();
                std::mem::forget(guard);
                1
            }
            What::Message => checked(&queue.recv().unwrap()),
            Room => queue.send(&message(2, 150)).map(|()| 1).unwrap(),
            Unit | Permit => self.semaphore.acquire().map(|()| 1).unwrap(),
        }
    }

    /// Takes it if it is there.
    fn try_take(&self) -> bool {
        let result = match self.what {
            Lock => self.mutex.try_lock().map(|mut guard| {
                guard.mark_consistent();
                std::mem::forget(guard);
            }),
            What::Message => self.queue.try_recv().map(|bytes| self.torn.set(self.torn.get() | (checked(&bytes) == 0))),
            Room => self.queue.try_send(&message(2, 150)),
            Unit | Permit => self.semaphore.try_acquire(),
        };
        match result {
            Err(Error::WouldBlock) => false,
            result => result.is_ok(),
        }
    }

    /// Gives one.
    fn give(&self, queue: &Queue) {
        match self.what {
            // SAFETY: no guard is in use.
            Lock => unsafe { self.mutex.force_unlock() }.unwrap(),
            What::Message => queue.send(&message(1, 150)).unwrap(),
            Room => drop(queue.recv().unwrap()),
            Unit | Permit => self.semaphore.release().unwrap(),
        }
    }

    /// The parent gives one.
    fn give_one(&self) {
        self.give(&self.queue);
        self.given.set(self.given.get() + 1);
    }

    fn third_takes(&self) {
        if !self.third_has_it.get() && self.try_take() {
            self.third_has_it.set(true);
            self.given.set(self.given.get() - 1);
        }
    }

    /// How many there are to take.
    fn left(&self) -> i64 {
        match self.what {
            What::Message => self.queue.len().unwrap() as i64,
            Room => (CAPACITY - self.queue.len().unwrap()) as i64,
            Unit => i64::from(self.semaphore.value().unwrap()),
            Lock | Permit => unreachable!("the dead give them back"),
        }
    }

    /// A handle that has waited before; what is done the first time is not looked at.
    fn handle(&self) -> Queue {
        let queue = Queue::open(self.test.name(&self.name)).unwrap();
        match self.what {
            What::Message => assert_eq!(queue.recv_timeout(SHORT), Err(Error::TimedOut)),
            Room => assert_eq!(queue.send_timeout(b"x", SHORT), Err(Error::TimedOut)),
            _ => {}
        }
        queue
    }
}

impl Scene for TwiceScene<'_> {
    fn victim(&self) -> Box<dyn FnOnce() + '_> {
        let queue = std::mem::ManuallyDrop::new(self.handle());
        if !self.has_second {
            return Box::new(move || {
                self.take(&queue);
            });
        }
        match self.what {
            Lock => {
                let guard = self.mutex.lock().unwrap();
                Box::new(move || drop(guard))
            }
            _ => {
                if self.what == Permit {
                    self.semaphore.acquire().unwrap();
                }
                Box::new(move || self.give(&queue))
            }
        }
    }

    fn has_second(&self) -> bool {
        self.has_second
    }

    fn second(&self) -> Box<dyn FnOnce() + '_> {
        let queue = std::mem::ManuallyDrop::new(self.handle());
        Box::new(move || {
            self.take(&queue);
        })
    }

    fn late(&self) -> u64 {
        LATE_AFTER_TWO
    }

    fn after_waking(&self) -> bool {
        !self.has_second
    }

    fn sleepers(&self) -> usize {
        1
    }

    fn sleepers_come_later(&self) -> bool {
        !self.has_second
    }

    fn sleep(&self, _index: usize) -> u64 {
        self.take(&self.queue)
    }

    fn victim_sleeps(&self) -> bool {
        if self.has_second {
            return false;
        }
        self.give_one();
        if self.barge == Barge::AtOnce {
            self.third_takes();
        }
        true
    }

    fn barge(&self) {
        if self.barge == Barge::Late {
            self.third_takes();
        }
    }

    fn let_go(&self) {
        if self.third_has_it.replace(false) {
            self.give_one();
        }
    }

    fn stuck(&self, sleepers: &Sleepers) -> bool {
        let something = match self.what {
            // Who had them is dead, or has given them back; but for the parent, where the victim was killed before it slept.
            Lock | Permit => self.has_second || self.given.get() > 0,
            _ => self.left() > 0,
        };
        something && !sleepers.all_done()
    }

    fn finish(&self, sleepers: &Sleepers, completed: bool) -> Vec<Fault> {
        let mut faults = vec![];
        while let Some(done) = sleepers.some_done() {
            self.give_one();
            if let Err(fault) = sleepers.wait_done(done + 1) {
                return vec![fault];
            }
        }
        sleepers.end();
        if self.torn.get() || sleepers.results().contains(&0) {
            faults.push(Fault::Torn("a message".into()));
        }
        match self.what {
            Lock => {
                if !self.has_second && self.given.get() == 0 {
                    self.give_one();
                }
                if let Err(e) = self.mutex.lock_timeout(HANG) {
                    faults.push(Fault::Hang(format!("locking: {e}")));
                }
            }
            Permit => {
                if !self.has_second && self.given.get() == 0 {
                    self.give_one();
                }
                if self.semaphore.acquire_timeout(HANG).is_err() || self.semaphore.try_acquire() != Err(Error::WouldBlock) {
                    faults.push(Fault::Leaked("the permit".into()));
                }
                // A handle that is closed with a permit stays on its thread's list, which has an end.
                let _ = self.semaphore.release();
            }
            _ => {
                // The first victim gave one, or none if it was killed before; the one that was woken took one, or none.
                let known = self.given.get() - sleepers.results().len() as i64;
                let more = self.left() - known;
                let right = match (self.has_second, completed) {
                    (true, true) => 0..=1,
                    (true, false) => -1..=1,
                    (false, true) => -1..=-1,
                    (false, false) => -1..=0,
                };
                if !right.contains(&more) {
                    faults.push(Fault::Lost(format!("{} are left, {known} are known of", self.left())));
                }
                while self.try_take() {}
                self.queue.peers().map_or(0, |peers| peers.len()).ne(&1).then(|| faults.push(Fault::Leaked("peers".into())));
            }
        }
        for name in ["", "-mutex", "-semaphore"] {
            self.test.unlink(&format!("{}{name}", self.name)).unwrap();
        }
        faults
    }
}
