//! Scenes in which the victim waits for several things at once: it is killed while it waits, or right after it was woken.

use std::cell::Cell;

use rsipc::{Endpoint, Error, Namespace, Queue, Semaphore, WaitSet};

use crate::scenes::{CAPACITY, SHORT, fresh, options};
use crate::step::{Fault, HANG, Scene, Sleepers};
use crate::support::{Test, fork, message};

/// What becomes ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ready {
    Message,
    Room,
    Unit,
    Permit,
    Endpoint,
}

use Ready::{Message, Permit, Room, Unit};

struct WaitScene {
    dir: std::path::PathBuf,
    space: Namespace,
    jobs: Queue,
    full: Queue,
    units: Semaphore,
    permits: Semaphore,
    ready: Ready,
    /// It is ready from the beginning; or else once the victim sleeps.
    at_once: bool,
    /// The victim takes it, too.
    takes: bool,
    /// How the others wait, and how many: for the one thing alone, or for several.
    sleepers: (Beside, usize),
    /// How many there were to take.
    given: Cell<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// For the one thing alone.
    Alone,
    /// For several.
    Several,
}

fn scene(test: &Test, ready: Ready, at_once: bool, takes: bool, sleepers: (Beside, usize)) -> Box<dyn Scene + '_> {
    std::fs::create_dir_all(&test.dir).unwrap();
    let dir = test.dir.join(fresh());
    let space = Namespace::at(&dir);
    let jobs = Queue::create(space.name("jobs"), &options()).unwrap();
    let full = Queue::create(space.name("full"), &options()).unwrap();
    let units = Semaphore::create(space.name("units"), 0).unwrap();
    let permits = Semaphore::create_permits(space.name("permits"), 1).unwrap();
    permits.acquire().unwrap();
    (0..CAPACITY).for_each(|_| full.send(&message(1, 150)).unwrap());
    Box::new(WaitScene { dir, space, jobs, full, units, permits, ready, at_once, takes, sleepers, given: 0.into() })
}

/// One is ready when the victim begins to wait.
pub fn ready(test: &Test, ready: Ready) -> Box<dyn Scene + '_> {
    scene(test, ready, true, false, (Beside::Alone, 0))
}

/// One becomes ready once the victim and the others sleep.
pub fn woken(test: &Test, ready: Ready, sleepers: (Beside, usize)) -> Box<dyn Scene + '_> {
    scene(test, ready, false, false, sleepers)
}

/// The same, and the victim takes it.
pub fn taken(test: &Test, ready: Ready, sleepers: (Beside, usize)) -> Box<dyn Scene + '_> {
    scene(test, ready, false, true, sleepers)
}

impl WaitScene {
    /// Takes what is ready, if it is there still.
    fn take(&self, handles: &Handles) -> rsipc::Result<()> {
        match self.ready {
            Message | Ready::Endpoint => handles.jobs.try_recv().map(drop),
            Room => handles.full.try_send(&message(2, 150)),
            Unit => handles.units.try_acquire(),
            Permit => handles.permits.try_acquire(),
        }
    }

    /// Waits for all, and takes.
    fn wait_and_take(&self, handles: &Handles, endpoint: &Endpoint) {
        loop {
            match self.take(handles) {
                Err(Error::WouldBlock) => {}
                result => return result.unwrap(),
            }
            handles.set(endpoint).wait().unwrap();
        }
    }

    /// Makes it ready.
    fn give(&self) {
        self.given.set(self.given.get() + 1);
        match self.ready {
            Message => self.jobs.send(&message(1, 150)).unwrap(),
            Room => drop(self.full.recv().unwrap()),
            Unit => self.units.release().unwrap(),
            Permit => self.permits.release().unwrap(),
            Ready::Endpoint => {
                let sender = fork("sender", || {
                    let mine = Endpoint::open(&self.space, &options()).unwrap();
                    mine.find("victim").and_then(|to| mine.send(to, b"message")).unwrap();
                });
                sender.join();
            }
        }
    }

    /// How many are there to be taken.
    fn left(&self) -> u32 {
        match self.ready {
            Message => self.jobs.len().unwrap() as u32,
            Room => (CAPACITY - self.full.len().unwrap()) as u32,
            Unit => self.units.value().unwrap(),
            Permit => self.permits.value().unwrap(),
            Ready::Endpoint => 0,
        }
    }
}

/// A process's own handles.
struct Handles {
    jobs: Queue,
    full: Queue,
    units: Semaphore,
    permits: Semaphore,
}

impl Handles {
    fn open(space: &Namespace) -> Self {
        Self {
            jobs: Queue::open(space.name("jobs")).unwrap(),
            full: Queue::open(space.name("full")).unwrap(),
            units: Semaphore::open(space.name("units")).unwrap(),
            permits: Semaphore::open(space.name("permits")).unwrap(),
        }
    }

    fn set<'a>(&'a self, endpoint: &'a Endpoint) -> WaitSet<'a> {
        WaitSet::new().recv(&self.jobs).send(&self.full).acquire(&self.units).acquire(&self.permits).endpoint(endpoint)
    }
}

impl Scene for WaitScene {
    fn victim(&self) -> Box<dyn FnOnce() + '_> {
        let handles = Handles::open(&self.space);
        let endpoint = Endpoint::open_named(self.space.name("victim"), &options()).unwrap();
        assert_eq!(handles.jobs.recv_timeout(SHORT), Err(Error::TimedOut));
        assert_eq!(handles.set(&endpoint).wait_timeout(SHORT), Err(Error::TimedOut));
        Box::new(move || {
            if self.takes {
                self.wait_and_take(&handles, &endpoint);
            } else {
                handles.set(&endpoint).wait().unwrap();
            }
            std::mem::forget((handles, endpoint));
        })
    }

    fn command(&self) -> Option<String> {
        let takes = match (self.takes, self.ready) {
            (true, Message) => 1,
            (true, _) => return None,
            (false, _) => 0,
        };
        let act = if self.ready == Room || !self.at_once { "long_wait" } else { "wait" };
        Some(format!("{act} {} - - {takes}", self.dir.display()))
    }

    fn victim_is_ready(&self) {
        if self.at_once {
            self.give();
        }
    }

    fn sleepers(&self) -> usize {
        self.sleepers.1
    }

    fn sleepers_come_later(&self) -> bool {
        true
    }

    fn victim_sleeps(&self) -> bool {
        if !self.at_once {
            self.give();
        }
        !self.at_once
    }

    fn sleep(&self, _index: usize) -> u64 {
        if self.sleepers.0 == Beside::Several {
            let handles = Handles::open(&self.space);
            let endpoint = Endpoint::open(&self.space, &options()).unwrap();
            self.wait_and_take(&handles, &endpoint);
            return 1;
        }
        match self.ready {
            Message => drop(self.jobs.recv().unwrap()),
            Room => self.full.send(&message(2, 150)).unwrap(),
            Unit => self.units.acquire().unwrap(),
            Permit => self.permits.acquire().unwrap(),
            Ready::Endpoint => unreachable!("an endpoint is its process's own"),
        }
        1
    }

    fn stuck(&self, sleepers: &Sleepers) -> bool {
        self.left() > 0 && !sleepers.all_done()
    }

    fn finish(&self, sleepers: &Sleepers, completed: bool) -> Vec<Fault> {
        let mut faults = vec![];
        // Who has a permit gives it back with its death.
        while let Some(done) = sleepers.some_done() {
            if self.ready != Permit || self.given.get() == 0 {
                self.give();
            }
            if let Err(fault) = sleepers.wait_done(done + 1) {
                return vec![fault];
            }
        }
        sleepers.end();
        if self.ready == Permit {
            if self.given.get() == 0 {
                self.give();
            }
            if self.permits.acquire_timeout(HANG).is_err() || self.permits.try_acquire() != Err(Error::WouldBlock) {
                faults.push(Fault::Leaked("the permit".into()));
            }
        } else if self.ready != Ready::Endpoint {
            let known = self.given.get() - sleepers.results().len() as u32;
            let left = self.left();
            let of_victim = known.checked_sub(left);
            let right = match (self.takes, completed) {
                (false, _) => of_victim == Some(0),
                (true, true) => of_victim == Some(1),
                (true, false) => matches!(of_victim, Some(0 | 1)),
            };
            if !right {
                faults.push(Fault::Lost(format!("{left} are left of {known}")));
            }
        }
        for queue in [&self.jobs, &self.full] {
            while queue.try_recv().is_ok() {}
            let works = (0..CAPACITY).all(|_| queue.try_send(b"x").is_ok()) && (0..CAPACITY).all(|_| queue.try_recv().is_ok());
            if !works || queue.peers().map_or(0, |peers| peers.len()) != 1 {
                faults.push(Fault::Leaked(format!("room, or peers: {:?}", queue.peers())));
            }
        }
        // A handle that is closed with a permit stays on its thread's list, which has an end.
        let _ = self.permits.release();
        std::fs::remove_dir_all(&self.dir).unwrap();
        faults
    }
}
