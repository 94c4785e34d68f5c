//! Scenes in which names are taken away and handles closed, while others have the object open and wait.

use rsipc::{Endpoint, Error, Mutex, Queue, Region, Semaphore};

use crate::scenes::{CAPACITY, SHORT, checked, fresh, options};
use crate::step::{Fault, HANG, Scene, Sleepers};
use crate::support::{Test, message};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Queue,
    Mutex,
    Units,
    Permits,
    Region,
    Endpoint,
}

/// A handle.
#[allow(clippy::large_enum_variant, reason = "there are few of them")]
enum Object {
    Queue(Queue),
    Mutex(Mutex),
    Semaphore(Semaphore),
    Region(Region),
    Endpoint(Endpoint),
}

impl Object {
    fn create(test: &Test, kind: Kind, name: &str) -> rsipc::Result<Self> {
        let name = test.name(name);
        Ok(match kind {
            Kind::Queue => Self::Queue(Queue::create(name, &options())?),
            Kind::Mutex => Self::Mutex(Mutex::create(name, ())?),
            Kind::Units => Self::Semaphore(Semaphore::create(name, 0)?),
            Kind::Permits => Self::Semaphore(Semaphore::create_permits(name, 1)?),
            Kind::Region => Self::Region(Region::create(name, 1 << 16)?),
            Kind::Endpoint => Self::Endpoint(Endpoint::open_named(name, &options())?),
        })
    }

    fn open(test: &Test, kind: Kind, name: &str) -> rsipc::Result<Self> {
        let name = test.name(name);
        Ok(match kind {
            Kind::Queue => Self::Queue(Queue::open(name)?),
            Kind::Mutex => Self::Mutex(Mutex::open(name)?),
            Kind::Units | Kind::Permits => Self::Semaphore(Semaphore::open(name)?),
            Kind::Region => Self::Region(Region::open(name)?),
            Kind::Endpoint => return Object::create(test, kind, &fresh()),
        })
    }

    /// Uses it in a way that leaves it as it was.
    fn use_it(&self) -> rsipc::Result<()> {
        match self {
            Self::Queue(queue) => {
                assert_eq!(queue.recv_timeout(SHORT), Err(Error::TimedOut));
                queue.send(&message(1, 150))?;
                queue.recv().map(drop)
            }
            Self::Mutex(mutex) => mutex.lock_timeout(HANG).map(drop),
            Self::Semaphore(semaphore) => {
                if semaphore.kind() == rsipc::SemaphoreKind::Signals {
                    semaphore.release()?;
                    return semaphore.acquire_timeout(HANG);
                }
                semaphore.acquire_timeout(HANG)?;
                semaphore.release()
            }
            Self::Region(region) => {
                let view = region.view()?;
                // SAFETY: the bytes are nobody's.
                unsafe { view.write(100, b"x") }
            }
            Self::Endpoint(endpoint) => {
                endpoint.send(endpoint.address(), b"to myself")?;
                endpoint.recv().map(drop)
            }
        }
    }
}

struct UnlinkScene<'a> {
    test: &'a Test,
    name: String,
    kind: Kind,
    object: Object,
}

/// The victim takes the name away of an object that the parent has open.
pub fn unlink(test: &Test, kind: Kind) -> Box<dyn Scene + '_> {
    let name = fresh();
    let object = Object::create(test, kind, &name).unwrap();
    Box::new(UnlinkScene { test, name, kind, object })
}

impl Scene for UnlinkScene<'_> {
    fn victim(&self) -> Box<dyn FnOnce() + '_> {
        Box::new(|| self.test.unlink(&self.name).unwrap())
    }

    fn command(&self) -> Option<String> {
        Some(format!("unlink {} {} -", self.test.dir.display(), self.name))
    }

    fn finish(&self, _sleepers: &Sleepers, completed: bool) -> Vec<Fault> {
        let mut faults = vec![];
        if let Err(e) = self.object.use_it() {
            faults.push(Fault::Lost(format!("using what was unlinked: {e}")));
        }
        // It is there whole, or gone and free.
        let is_there = self.test.files().contains(&self.name);
        if is_there && completed {
            faults.push(Fault::Leaked("a name that was unlinked".into()));
        }
        if is_there {
            if self.kind != Kind::Endpoint && Object::open(self.test, self.kind, &self.name).is_err() {
                faults.push(Fault::Torn("a name without its object".into()));
            }
            self.test.unlink(&self.name).unwrap();
        }
        match Object::create(self.test, self.kind, &self.name).and_then(|object| object.use_it()) {
            Ok(()) => {}
            Err(e) => faults.push(Fault::Leaked(format!("the name is not free: {e}"))),
        }
        if self.kind != Kind::Endpoint {
            self.test.unlink(&self.name).unwrap();
        }
        faults
    }
}

struct CloseScene<'a> {
    test: &'a Test,
    name: String,
    kind: Kind,
    object: Object,
    /// The victim holds the mutex or the permit meanwhile: its death lets go of it.
    holds: bool,
    /// The sleepers' waits are to end with the last sender, who is the victim.
    ends: bool,
    sleepers: usize,
}

/// The victim closes its handle, while others have theirs and wait.
pub fn close(test: &Test, kind: Kind, sleepers: usize) -> Box<dyn Scene + '_> {
    let name = fresh();
    let object = Object::create(test, kind, &name).unwrap();
    Box::new(CloseScene { test, name, kind, object, holds: false, ends: false, sleepers })
}

/// The same, with what the object guards in its hands.
pub fn close_held(test: &Test, kind: Kind, sleepers: usize) -> Box<dyn Scene + '_> {
    let name = fresh();
    let object = Object::create(test, kind, &name).unwrap();
    Box::new(CloseScene { test, name, kind, object, holds: true, ends: false, sleepers })
}

/// The victim is a queue's last sender, and receivers wait whose waits end with it.
pub fn close_last_sender(test: &Test, sleepers: usize) -> Box<dyn Scene + '_> {
    let name = fresh();
    let object = Object::create(test, Kind::Queue, &name).unwrap();
    if let Object::Queue(queue) = &object {
        queue.end_with_peers(true);
    }
    Box::new(CloseScene { test, name, kind: Kind::Queue, object, holds: false, ends: true, sleepers })
}

/// What a sleeper says whose wait ended with the last sender.
const DISCONNECTED: u64 = u64::MAX;

impl CloseScene<'_> {
    /// Does what sleepers wait for.
    fn serve(&self) -> rsipc::Result<()> {
        match &self.object {
            Object::Queue(queue) => queue.send_timeout(&message(1, 150), HANG),
            Object::Semaphore(semaphore) if self.kind == Kind::Units => semaphore.release(),
            _ => Ok(()),
        }
    }
}

impl Scene for CloseScene<'_> {
    fn victim(&self) -> Box<dyn FnOnce() + '_> {
        let object = Object::open(self.test, self.kind, &self.name).unwrap();
        if self.kind != Kind::Region {
            object.use_it().unwrap();
        }
        if self.holds {
            match &object {
                Object::Mutex(mutex) => std::mem::forget(mutex.lock().unwrap()),
                Object::Semaphore(semaphore) => semaphore.acquire().unwrap(),
                _ => unreachable!("only these are held"),
            }
        }
        Box::new(move || drop(object))
    }

    fn command(&self) -> Option<String> {
        let (act, numbers) = match self.kind {
            Kind::Queue => ("close_queue", format!("{CAPACITY} 1 150 0 8")),
            Kind::Mutex if !self.holds => ("close_mutex", String::new()),
            Kind::Units => ("close_semaphore", "0 1 0".into()),
            Kind::Permits => ("close_semaphore", format!("1 0 {}", u8::from(self.holds))),
            Kind::Region => ("close_region", String::new()),
            _ => return None,
        };
        Some(format!("{act} {} {} - {numbers}", self.test.dir.display(), self.name))
    }

    fn sleepers(&self) -> usize {
        self.sleepers
    }

    fn sleep(&self, _index: usize) -> u64 {
        match &self.object {
            Object::Queue(_) => {
                let queue = Queue::open(self.test.name(&self.name)).unwrap();
                queue.end_with_peers(self.ends);
                match queue.recv() {
                    Err(Error::Disconnected(_)) if self.ends => DISCONNECTED,
                    bytes => checked(&bytes.unwrap()),
                }
            }
            Object::Mutex(mutex) => mutex.lock().map(|mut guard| guard.mark_consistent()).map(|()| 1).unwrap(),
            Object::Semaphore(semaphore) => semaphore.acquire().map(|()| 1).unwrap(),
            _ => unreachable!("nobody waits for these"),
        }
    }

    fn completion_is_enough(&self) -> bool {
        !self.holds
    }

    fn stuck(&self, sleepers: &Sleepers) -> bool {
        (self.ends || self.holds) && !sleepers.all_done()
    }

    fn finish(&self, sleepers: &Sleepers, _completed: bool) -> Vec<Fault> {
        let mut faults = vec![];
        while let Some(done) = sleepers.some_done() {
            if let Err(e) = self.serve() {
                faults.push(Fault::Hang(format!("serving sleepers: {e}")));
            }
            if let Err(fault) = sleepers.wait_done(done + 1) {
                return vec![fault];
            }
        }
        if self.ends && sleepers.results().iter().any(|&result| result != DISCONNECTED) {
            faults.push(Fault::Lost("the end of the last sender".into()));
        }
        sleepers.end();
        if let Object::Mutex(mutex) = &self.object {
            // The dead may have left it so.
            let guard = mutex.lock_timeout(HANG);
            guard.map_or_else(|e| faults.push(Fault::Hang(format!("locking: {e}"))), |mut guard| guard.mark_consistent());
        }
        if let Object::Queue(queue) = &self.object {
            queue.end_with_peers(false);
            match queue.peers() {
                Ok(peers) if peers.len() == 1 => {}
                other => faults.push(Fault::Leaked(format!("peers {other:?}"))),
            }
        }
        for object in [Object::open(self.test, self.kind, &self.name), Object::open(self.test, self.kind, &self.name)] {
            if let Err(e) = object.and_then(|object| self.object.use_it().and_then(|()| object.use_it())) {
                faults.push(Fault::Lost(format!("using what others have closed: {e}")));
            }
        }
        self.test.unlink(&self.name).unwrap();
        faults
    }
}
