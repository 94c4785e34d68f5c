//! Locks and semaphores, as one thing: what one process takes and gives back.

use std::cell::UnsafeCell;

use anyhow::{Result, ensure};
use rsipc::{Mutex, Semaphore};

use crate::harness::Space;
use crate::processes::{Shared, shared};

/// A lock with data behind it. It is made before the processes are, each of which then opens it.
pub trait Lock: Sync {
    type Opened: Locked;

    fn open(&self) -> Self::Opened;
}

/// A lock that was opened.
pub trait Locked {
    /// Does something with the data while holding the lock.
    fn with(&mut self, work: impl FnOnce(&mut Data));
}

/// What the lock guards.
pub type Data = [u64; 4];

/// rsipc's mutex. It spins for a while, and then sleeps.
pub struct RsipcMutex(Space);

impl RsipcMutex {
    pub fn new(space: Space) -> Result<Self> {
        Mutex::<Data>::create(space.name("mutex"), Data::default())?;
        Ok(Self(space))
    }
}

impl Lock for RsipcMutex {
    type Opened = Mutex<Data>;

    fn open(&self) -> Mutex<Data> {
        Mutex::open(self.0.name("mutex")).expect("the mutex was created")
    }
}

impl Locked for Mutex<Data> {
    fn with(&mut self, work: impl FnOnce(&mut Data)) {
        work(&mut self.lock().expect("nobody died"));
    }
}

/// glibc's mutex, shared between processes. It sleeps.
pub struct PthreadMutex(Shared<Pthread>);

#[repr(C)]
struct Pthread {
    mutex: UnsafeCell<libc::pthread_mutex_t>,
    data: UnsafeCell<Data>,
}

// SAFETY: the C library orders who uses the mutex, and the mutex who uses the data.
unsafe impl Sync for Pthread {}

/// What becomes of a glibc mutex whose owner dies.
#[derive(Clone, Copy, PartialEq)]
pub enum Death {
    /// The next owner is told.
    Robust,
    /// It stays locked.
    Plain,
}

impl PthreadMutex {
    pub fn new(death: Death) -> Result<Self> {
        // SAFETY: zeros are bytes of a mutex, and numbers.
        let shared = unsafe { shared::<Pthread>() };
        // SAFETY: the attributes and the mutex are used by nobody else yet.
        let results = unsafe {
            let mut attributes = std::mem::zeroed();
            let kind = if death == Death::Robust { libc::PTHREAD_MUTEX_ROBUST } else { libc::PTHREAD_MUTEX_STALLED };
            [
                libc::pthread_mutexattr_init(&raw mut attributes),
                libc::pthread_mutexattr_setpshared(&raw mut attributes, libc::PTHREAD_PROCESS_SHARED),
                libc::pthread_mutexattr_setrobust(&raw mut attributes, kind),
                libc::pthread_mutex_init(shared.mutex.get(), &raw const attributes),
            ]
        };
        ensure!(results == [0; 4], "glibc refuses to make a mutex: {results:?}");
        Ok(Self(shared))
    }
}

impl Lock for PthreadMutex {
    type Opened = PthreadOpened;

    fn open(&self) -> PthreadOpened {
        PthreadOpened(&raw const *self.0)
    }
}

/// A glibc mutex, in memory that outlives who has opened it.
pub struct PthreadOpened(*const Pthread);

impl Locked for PthreadOpened {
    fn with(&mut self, work: impl FnOnce(&mut Data)) {
        // SAFETY: the mapping goes when the processes that use it have ended.
        let shared = unsafe { &*std::hint::black_box(self.0) };
        // SAFETY: it was initialized.
        assert_eq!(unsafe { libc::pthread_mutex_lock(shared.mutex.get()) }, 0);
        // SAFETY: we hold the lock.
        work(unsafe { &mut *shared.data.get() });
        // SAFETY: as above.
        assert_eq!(unsafe { libc::pthread_mutex_unlock(shared.mutex.get()) }, 0);
    }
}

/// Takes a unit of a semaphore of rsipc's, and gives it back.
pub fn semaphore(semaphore: Semaphore) -> impl FnMut() {
    move || {
        semaphore.acquire().expect("a unit is free");
        semaphore.release().expect("it was taken");
    }
}

/// The same with a POSIX semaphore, which loses what a dead process held.
pub fn sem_t() -> impl FnMut() {
    // SAFETY: zeros are bytes of a semaphore.
    let place = unsafe { shared::<Sem>() };
    // SAFETY: nobody uses it yet.
    assert_eq!(unsafe { libc::sem_init(place.0.get(), 1, 1) }, 0);
    move || {
        // SAFETY: it was initialized.
        let results = unsafe { [libc::sem_wait(place.0.get()), libc::sem_post(place.0.get())] };
        assert_eq!(results, [0, 0]);
    }
}

struct Sem(UnsafeCell<libc::sem_t>);

// SAFETY: the C library orders who uses it.
unsafe impl Sync for Sem {}

/// The same with a System V semaphore, of which the kernel gives back what a dead process held (SEM_UNDO).
pub fn semop_undo() -> impl FnMut() {
    let set = SemaphoreSet::new();
    move || {
        set.step(-1);
        set.step(1);
    }
}

struct SemaphoreSet(i32);

impl SemaphoreSet {
    fn new() -> Self {
        // SAFETY: no preconditions; it is removed below.
        let id = unsafe { libc::semget(libc::IPC_PRIVATE, 1, 0o600) };
        assert!(id >= 0, "{}", std::io::Error::last_os_error());
        let set = Self(id);
        set.step(1);
        set
    }

    fn step(&self, by: i16) {
        let mut operation = libc::sembuf { sem_num: 0, sem_op: by, sem_flg: libc::SEM_UNDO as i16 };
        // SAFETY: one operation, on this stack.
        assert_eq!(unsafe { libc::semop(self.0, &raw mut operation, 1) }, 0);
    }
}

impl Drop for SemaphoreSet {
    fn drop(&mut self) {
        // SAFETY: it is ours.
        unsafe { libc::semctl(self.0, 0, libc::IPC_RMID) };
    }
}
