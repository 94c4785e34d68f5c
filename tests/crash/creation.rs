//! Scenes in which objects are made, opened and grown.

use rsipc::{Error, Mutex, Namespace, Queue, Region, Semaphore};

use crate::scenes::{CAPACITY, checked, fresh, options};
use crate::step::{Fault, HANG, Scene, Sleepers};
use crate::support::{Test, message};

/// Something that makes or opens an object, in a directory of its own.
struct CreationScene {
    dir: std::path::PathBuf,
    space: Namespace,
    command: &'static str,
    create: fn(&Namespace),
}

/// `command` is what it is called for victims in other languages; "-" where they do not do it.
pub fn creation<'a>(test: &'a Test, command: &'static str, create: fn(&Namespace)) -> Box<dyn Scene + 'a> {
    std::fs::create_dir_all(&test.dir).unwrap();
    let dir = test.dir.join(fresh());
    let space = Namespace::at(&dir);
    Queue::create(space.name("old"), &options()).unwrap().send(&message(1, 150)).unwrap();
    Region::create(space.name("region"), 1 << 16).unwrap();
    Mutex::create(space.name("old-mutex"), ()).unwrap();
    Semaphore::create(space.name("old-units"), 1).unwrap();
    Semaphore::create_permits(space.name("old-permits"), 1).unwrap();
    Box::new(CreationScene { dir, space, command, create })
}

impl Scene for CreationScene {
    fn victim(&self) -> Box<dyn FnOnce() + '_> {
        Box::new(|| (self.create)(&self.space))
    }

    fn command(&self) -> Option<String> {
        let (act, name) = self.command.split_once(' ').unwrap_or((self.command, "-"));
        (act != "-").then(|| format!("{act} {} {name} -", self.dir.display()))
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
        let placed = unsafe { Queue::create_in(&region, 0, &options().leases(0)) }
            .or_else(|_| unsafe { Queue::open_in(&region, 0) })
            .unwrap();
        if completed && region.len() != 1 << 16 && region.len() != 1 << 20 {
            faults.push(Fault::Lost(format!("the region has {} bytes", region.len())));
        }
        let view = region.view().unwrap();
        unsafe { view.write(view.len() - 1, b"x") }.unwrap();
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
        if let Err(e) = Mutex::open_or_create(self.space.name("bare"), ()).unwrap().lock_timeout(HANG).map(drop) {
            faults.push(Fault::Torn(format!("a new mutex that guards nothing: {e}")));
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
        if Mutex::<()>::open(self.space.name("old-mutex")).unwrap().lock_timeout(HANG).is_err() {
            faults.push(Fault::Hang("an old mutex".into()));
        }
        for name in ["old-units", "old-permits"] {
            let semaphore = Semaphore::open(self.space.name(name)).unwrap();
            if semaphore.acquire_timeout(HANG).is_err() || semaphore.try_acquire() != Err(Error::WouldBlock) {
                faults.push(Fault::Lost(name.into()));
            }
            // A handle that is closed with a permit stays on its thread's list, which has an end.
            let _ = semaphore.release();
        }
        let units = Semaphore::open_or_create(self.space.name("u"), 2).unwrap();
        let region = Region::open_or_create(self.space.name("new-region"), 1 << 16).unwrap();
        if units.value() != Ok(2) || region.len() != 1 << 16 {
            faults.push(Fault::Torn("new units, or a new region".into()));
        }
        std::fs::remove_dir_all(&self.dir).unwrap();
        faults
    }
}
