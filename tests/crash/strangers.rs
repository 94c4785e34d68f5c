//! Scenes whose objects processes of several pid namespaces use: then the kernel sees to nobody's words.

use std::os::unix::fs::{FileExt, MetadataExt};

use nix::sys::wait::WaitStatus;
use rsipc::{Kind, Mutex, Queue};

use crate::scenes::fresh;
use crate::step::{Fault, HANG, LATE_AFTER_TWO, Scene, Sleepers};
use crate::support::{Test, fork, wait_for};

/// The most memory that the table may have: that of forty lives.
const MOST_BLOCKS: u64 = 40 * 8;

/// The number of the table.
const NUMBER: u32 = 77;

/// A scene among strangers.
struct Strangers<'a> {
    test: &'a Test,
    inner: Box<dyn Scene + 'a>,
}

pub fn strangers<'a>(test: &'a Test, inner: Box<dyn Scene + 'a>) -> Box<dyn Scene + 'a> {
    estrange(test);
    Box::new(Strangers { test, inner })
}

/// Lets the users of all the objects that there are be strangers to each other, from here on.
fn estrange(test: &Test) {
    let table = test.dir.join(".strangers");
    if !table.exists() {
        let made = std::fs::File::create(&table).and_then(|file| {
            // As `sync::life_table` makes it: the number and the tag are not 0.
            file.set_len(4096 * 4096)?;
            file.write_all_at(&NUMBER.to_ne_bytes(), 20)?;
            file.write_all_at(b"rsip\xfe\0\x02\0", 0)
        });
        made.unwrap();
    }
    for object in test.list().unwrap() {
        // `Header::strangers` in `shm::layout`: what the first stranger stores when it opens the object.
        let file = std::fs::File::options().write(true).open(test.dir.join(&object.name)).unwrap();
        file.write_all_at(&NUMBER.to_ne_bytes(), 12).unwrap();
    }
}

/// The victim is a thread that begins its life with its first call.
struct Join<'a> {
    test: &'a Test,
    name: String,
}

pub fn join(test: &Test) -> Box<dyn Scene + '_> {
    let name = fresh();
    drop(Mutex::create(test.name(&name), ()).unwrap());
    estrange(test);
    Box::new(Join { test, name })
}

impl Join<'_> {
    fn lock(&self) -> rsipc::Result<()> {
        Mutex::<()>::open(self.test.name(&self.name))?.lock_timeout(HANG).map(|mut guard| guard.mark_consistent())
    }
}

impl Scene for Join<'_> {
    fn victim(&self) -> Box<dyn FnOnce() + '_> {
        let mutex = std::mem::ManuallyDrop::new(Mutex::<()>::open(self.test.name(&self.name)).unwrap());
        // Its process is known already, by the life of a thread that does nothing else.
        std::thread::scope(|scope| scope.spawn(|| drop(mutex.lock().unwrap())).join().unwrap());
        wait_for_others();
        Box::new(move || std::mem::forget(mutex.lock().unwrap()))
    }

    fn finish(&self, _sleepers: &Sleepers, _completed: bool) -> Vec<Fault> {
        let mut faults = vec![];
        let mut check = |who: &str, result: Result<(), String>| {
            result.unwrap_or_else(|e| faults.push(Fault::Hang(format!("{who} locks: {e}"))));
        };
        check("who is there", self.lock().map_err(|e| e.to_string()));
        let newcomer = fork("a newcomer", || self.lock().unwrap());
        let status = newcomer.end();
        check("a newcomer", if let WaitStatus::Exited(_, 0) = status { Ok(()) } else { Err(format!("{status:?}")) });
        // Who comes takes the entries of those who are gone.
        let blocks = std::fs::metadata(self.test.dir.join(".strangers")).unwrap().blocks();
        if blocks > MOST_BLOCKS {
            faults.push(Fault::Leaked(format!("lives: the table has {blocks} blocks of 512 bytes")));
        }
        self.test.unlink(&self.name).unwrap();
        faults
    }
}

/// Waits until all that the process's other threads do for seconds is to be there, as its life. One that came to a breakpoint of
/// the stepper's would end the process: it is not traced.
fn wait_for_others() {
    let me = nix::unistd::gettid().to_string();
    let rests = |task: std::fs::DirEntry| {
        let call = std::fs::read_to_string(task.path().join("syscall")).unwrap_or_default();
        task.file_name() == me.as_str() || call.split(' ').next() == Some(&libc::SYS_clock_nanosleep.to_string())
    };
    wait_for("other threads to rest", || std::fs::read_dir("/proc/self/task").unwrap().flatten().all(rests));
}

impl Strangers<'_> {
    /// Begins this process's life, which takes more instructions than all that follows.
    fn join(&self) {
        for object in self.test.list().unwrap() {
            match object.kind {
                Kind::Queue => drop(Queue::open(self.test.name(&object.name)).unwrap()),
                // One that somebody else may hold.
                Kind::Mutex => drop(Mutex::<()>::open(self.test.name(&object.name)).unwrap().try_lock()),
                _ => {}
            }
        }
        wait_for_others();
    }
}

impl Scene for Strangers<'_> {
    fn victim(&self) -> Box<dyn FnOnce() + '_> {
        self.join();
        self.inner.victim()
    }
    fn victim_is_ready(&self) {
        self.inner.victim_is_ready();
    }
    fn sleepers(&self) -> usize {
        self.inner.sleepers()
    }
    fn first_is_woken_last(&self) -> bool {
        self.inner.first_is_woken_last()
    }
    fn sleep(&self, index: usize) -> u64 {
        self.inner.sleep(index)
    }
    fn sleepers_come_later(&self) -> bool {
        self.inner.sleepers_come_later()
    }
    fn victim_sleeps(&self) -> bool {
        self.inner.victim_sleeps()
    }
    fn another_comes(&self) -> bool {
        self.inner.another_comes()
    }
    fn completion_is_enough(&self) -> bool {
        self.inner.completion_is_enough()
    }
    fn stuck(&self, sleepers: &Sleepers) -> bool {
        self.inner.stuck(sleepers)
    }
    fn slowest(&self) -> u64 {
        self.inner.slowest()
    }
    /// Who waits looks by itself, every 100 ms.
    fn late(&self) -> u64 {
        LATE_AFTER_TWO
    }
    fn finish(&self, sleepers: &Sleepers, completed: bool) -> Vec<Fault> {
        self.inner.finish(sleepers, completed)
    }
}
