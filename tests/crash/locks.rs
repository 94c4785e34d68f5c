//! Scenes with mutexes and semaphores.

use std::cell::Cell;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use rsipc::{Error, Mutex, Semaphore};

use crate::scenes::{SHORT, fresh};
use crate::step::{Fault, HANG, Scene, Sleepers};
use crate::support::{Board, Test, fork};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    Lock,
    Unlock,
    Both,
    GiveUp,
    /// Locks what the parent holds, which lets it go once the victim sleeps.
    Woken,
}

/// How often the victim has locked and unlocked the mutex before: so often that it is quiet (`sync::quiet`), or is with the next time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Before {
    Never = 0,
    AlmostQuiet = 999,
    Quiet = 1100,
}

/// Who comes to a mutex that is unlocked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Comes {
    Nobody,
    /// A waiter, before the kill.
    One,
    /// A waiter, while the victim stands still before it goes on.
    Meanwhile,
    /// A waiter, before the kill, and then a third party that takes the lock if it is free.
    OneAndThird,
}

struct MutexScene<'a> {
    test: &'a Test,
    name: String,
    mutex: Mutex,
    before: Before,
    comes: Comes,
    third_has_it: Cell<bool>,
    /// What it guards: two numbers that are the same.
    guarded: Board,
    hold: Hold,
    sleepers: usize,
}

pub fn mutex(test: &Test, hold: Hold, sleepers: usize) -> Box<dyn Scene + '_> {
    let name = fresh();
    let mutex = Mutex::create(test.name(&name), ()).unwrap();
    if hold == Hold::Woken {
        std::mem::forget(mutex.lock().unwrap());
    }
    Box::new(MutexScene {
        test,
        name,
        mutex,
        before: Before::Never,
        comes: Comes::Nobody,
        third_has_it: false.into(),
        guarded: Board::new(2),
        hold,
        sleepers,
    })
}

/// The victim alone has used the mutex before.
pub fn mutex_used(test: &Test, before: Before, hold: Hold, comes: Comes) -> Box<dyn Scene + '_> {
    let name = fresh();
    let mutex = Mutex::create(test.name(&name), ()).unwrap();
    let (guarded, sleepers) = (Board::new(2), usize::from(comes == Comes::Meanwhile));
    Box::new(MutexScene { test, name, mutex, before, comes, third_has_it: false.into(), guarded, hold, sleepers })
}

impl MutexScene<'_> {
    fn add(&self) {
        self.guarded.set(0, self.guarded.get(0) + 1);
        self.guarded.set(1, self.guarded.get(1) + 1);
    }

    /// A third party takes the lock if it is free.
    fn third_takes(&self) {
        if let Ok(guard) = self.mutex.try_lock() {
            std::mem::forget(guard);
            self.third_has_it.set(true);
        }
    }

    /// Locks it and changes what it guards; says what was wrong with that.
    fn change(&self) -> Result<u64, Fault> {
        let mut guard = match self.mutex.lock_timeout(4 * HANG) {
            Ok(guard) => guard,
            Err(Error::NotRecoverable) if self.hold == Hold::GiveUp => return Ok(0),
            Err(e) => return Err(Fault::Hang(format!("locking: {e}"))),
        };
        let (one, other) = (self.guarded.get(0), self.guarded.get(1));
        if guard.owner_died() {
            self.guarded.set(1, one);
            guard.mark_consistent();
        } else if one != other {
            return Err(Fault::Torn(format!("{one} and {other}, and nobody was told")));
        }
        self.add();
        Ok(0)
    }
}

impl Scene for MutexScene<'_> {
    fn victim(&self) -> Box<dyn FnOnce() + '_> {
        if self.before != Before::Never {
            // Of this process, as it is after the fork.
            let mutex: &Mutex = Box::leak(Box::new(Mutex::open(self.test.name(&self.name)).unwrap()));
            (0..self.before as u32).for_each(|_| drop(mutex.lock().unwrap()));
            return match self.hold {
                Hold::Unlock => {
                    let guard = mutex.lock().unwrap();
                    self.add();
                    Box::new(move || drop(guard))
                }
                _ => Box::new(|| {
                    let _guard = mutex.lock().unwrap();
                    self.add();
                }),
            };
        }
        match self.hold {
            Hold::Woken => {
                assert_eq!(self.mutex.lock_timeout(SHORT).map(drop), Err(Error::TimedOut));
                Box::new(|| std::mem::forget(self.mutex.lock().unwrap()))
            }
            Hold::Lock => Box::new(|| std::mem::forget(self.mutex.lock().unwrap())),
            Hold::Both => Box::new(|| {
                let _guard = self.mutex.lock().unwrap();
                self.add();
            }),
            Hold::Unlock | Hold::GiveUp => {
                let guard = self.mutex.lock().unwrap();
                self.add();
                let give_up = self.hold == Hold::GiveUp;
                Box::new(move || if give_up { guard.give_up() } else { drop(guard) })
            }
        }
    }

    fn command(&self) -> Option<String> {
        if self.before != Before::Never {
            return None;
        }
        let act = match self.hold {
            Hold::Lock => "lock",
            Hold::Unlock => "unlock",
            Hold::Both => "lock_both",
            Hold::GiveUp => "give_up",
            Hold::Woken => "lock_woken",
        };
        Some(format!("{act} {} {} {}", self.test.dir.display(), self.name, self.guarded.path()))
    }

    fn sleepers(&self) -> usize {
        self.sleepers
    }

    fn sleepers_come_later(&self) -> bool {
        self.hold == Hold::Woken || self.comes == Comes::Meanwhile
    }

    fn another_comes(&self) -> bool {
        matches!(self.comes, Comes::One | Comes::OneAndThird)
    }

    fn stands_still(&self) -> bool {
        self.comes == Comes::Meanwhile
    }

    fn take_away(&self) {
        self.third_takes();
    }

    fn wake(&self) {
        self.let_go();
    }

    fn barge(&self) {
        if self.comes == Comes::OneAndThird {
            self.third_takes();
        }
    }

    fn let_go(&self) {
        if self.third_has_it.take() {
            // SAFETY: no guard is in use.
            unsafe { self.mutex.force_unlock() }.unwrap();
        }
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
        self.test.unlink(&self.name).unwrap();
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

struct SignalsScene<'a> {
    test: &'a Test,
    name: String,
    semaphore: Semaphore,
    acquires: bool,
    stands_still: bool,
    units: Cell<i64>,
    sleepers: usize,
}

pub fn signals(test: &Test, acquires: bool, units: u32, sleepers: usize) -> Box<dyn Scene + '_> {
    let name = fresh();
    let semaphore = Semaphore::create(test.name(&name), units).unwrap();
    Box::new(SignalsScene { test, name, semaphore, acquires, stands_still: false, units: i64::from(units).into(), sleepers })
}

/// The victim releases a unit, and stands still while somebody comes to wait.
pub fn signals_meanwhile(test: &Test) -> Box<dyn Scene + '_> {
    let name = fresh();
    let semaphore = Semaphore::create(test.name(&name), 0).unwrap();
    Box::new(SignalsScene { test, name, semaphore, acquires: false, stands_still: true, units: 0.into(), sleepers: 1 })
}

impl SignalsScene<'_> {
    fn give(&self) {
        self.semaphore.release().unwrap();
        self.units.set(self.units.get() + 1);
    }
}

impl Scene for SignalsScene<'_> {
    fn victim(&self) -> Box<dyn FnOnce() + '_> {
        if self.acquires {
            if self.units.get() == 0 {
                assert_eq!(self.semaphore.acquire_timeout(SHORT), Err(Error::TimedOut));
            }
            Box::new(|| self.semaphore.acquire().unwrap())
        } else {
            if self.stands_still {
                // The word says that somebody waits.
                assert_eq!(self.semaphore.acquire_timeout(SHORT), Err(Error::TimedOut));
            }
            Box::new(|| self.semaphore.release().unwrap())
        }
    }

    fn command(&self) -> Option<String> {
        let waits = u8::from(self.stands_still || self.acquires && self.units.get() == 0);
        let act = if self.acquires { "acquire" } else { "release" };
        Some(format!("{act} {} {} - 0 {waits} 0 1 0", self.test.dir.display(), self.name))
    }

    fn stands_still(&self) -> bool {
        self.stands_still
    }

    fn take_away(&self) {
        if self.semaphore.try_acquire().is_ok() {
            self.units.set(self.units.get() - 1);
        }
    }

    fn wake(&self) {
        self.give();
    }

    fn sleepers(&self) -> usize {
        self.sleepers
    }

    fn sleepers_come_later(&self) -> bool {
        self.acquires || self.stands_still
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
        while let Some(done) = sleepers.some_done() {
            self.give();
            if let Err(fault) = sleepers.wait_done(done + 1) {
                return vec![fault];
            }
        }
        self.test.unlink(&self.name).unwrap();
        let known = self.units.get() - sleepers.results().len() as i64;
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
pub enum Take {
    /// Acquires for the first time.
    First,
    Acquire,
    Release,
    /// Gives back all that there are at once.
    ReleaseAll,
    /// Releases, from a place in the table where a process died while it was about to show that it lives.
    ReleaseInherited,
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

pub fn permits(test: &Test, take: Take, total: u32, sleepers: usize) -> Box<dyn Scene + '_> {
    let name = fresh();
    let semaphore = Semaphore::create_permits(test.name(&name), total).unwrap();
    if take == Take::ReleaseInherited {
        let dead = fork("one that dies", || ());
        dead.end();
        let file = std::fs::OpenOptions::new().write(true).open(test.dir.join(&name)).unwrap();
        // The life words of the first places.
        for place in 0..5 {
            file.write_all_at(&dead.pid.as_raw().to_le_bytes(), 3968 + 40 * place).unwrap();
        }
    }
    Box::new(PermitsScene { test, name, semaphore, take, total, sleepers })
}

impl Scene for PermitsScene<'_> {
    fn is_first_call(&self) -> bool {
        self.take == Take::First
    }

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
            Take::Release | Take::ReleaseInherited => {
                (0..self.total).for_each(|_| self.semaphore.acquire().unwrap());
                Box::new(|| {
                    if self.sleepers == 1 {
                        // From then on nobody looks often whether a holder that shows no life is gone.
                        std::thread::sleep(Duration::from_millis(60));
                    }
                    self.semaphore.release().unwrap();
                })
            }
            Take::ReleaseAll => {
                (0..self.total).for_each(|_| self.semaphore.acquire().unwrap());
                Box::new(|| self.semaphore.release_many(self.total).unwrap())
            }
        }
    }

    fn command(&self) -> Option<String> {
        let waits = u8::from(self.total == 1);
        let (act, keeps, count) = match self.take {
            Take::First => return None,
            Take::Acquire => ("acquire", 0, 0),
            Take::Woken => ("long_acquire", 0, 0),
            Take::Release | Take::ReleaseInherited => ("release", self.total, 1),
            Take::ReleaseAll => ("release", self.total, self.total),
        };
        let later = if self.sleepers == 1 { 60 } else { 0 };
        Some(format!("{act} {} {} - 1 {waits} {keeps} {count} {later}", self.test.dir.display(), self.name))
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
