//! Telling a program's event loop that something may be ready: an eventfd (`eventfd(2)`) becomes readable, a task is woken.
//!
//! A thread of this process, the *watcher*, sleeps on the words of all that is asked for (`sync::source`). It starts when the first is, all
//! signals blocked, and ends with the last, or with the last thread of the program. More than [`MOST`] have further threads.
//!
//! # Why no readiness is missed
//!
//! What is watched is ARMED or SIGNALLED. The watcher looks at what is ARMED after it has prepared to sleep on it; what it finds ready it
//! first makes SIGNALLED, then tells, and leaves alone until it is ARMED again. A user who finds nothing first clears the eventfd,
//! then stores ARMED; if it was SIGNALLED before, the watcher looks anew. So a signal that the clearing took away was followed by
//! such a look, since SIGNALLED was stored before the eventfd was written. And while a backlog is drained, nobody is woken.

use std::os::fd::{AsFd, BorrowedFd};
#[cfg(feature = "async")]
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Release, SeqCst};
use std::time::Instant;

use once_cell::race::OnceBox;
use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::sync::lock::LOOK;
use crate::sync::source::{Sleeper, Source};
use crate::sys::event::Event;
use crate::sys::futex::{self, Kind};
use crate::sys::spawn::{LOOK_FOR_OTHERS, are_left_alone, spawn_without_signals};
use crate::sys::thread::{Call, forks};

/// How many things one thread watches: each has a word, and some have more.
const MOST: usize = 120;

/// The states of `Watch::state`. The watcher sees to it.
const ARMED: u32 = 0;
/// Told; the user has not found it empty since.
const SIGNALLED: u32 = 1;

/// One thing that is watched.
struct Watch {
    source: Box<dyn Source>,
    state: AtomicU32,
    event: OnceBox<Event>,
    #[cfg(feature = "async")]
    wakers: Mutex<Vec<(u64, std::task::Waker)>>,
    watcher: Arc<Watcher>,
    /// In a child of fork there is no watcher of its parent's.
    forks: u32,
}

impl Watch {
    fn signal(&self) {
        self.state.store(SIGNALLED, SeqCst);
        if let Some(event) = self.event.get() {
            event.set();
        }
        #[cfg(feature = "async")]
        {
            // What a waker does may come back here: the lock is not held meanwhile.
            let wakers = std::mem::take(&mut *self.wakers.lock());
            for (_, waker) in wakers {
                // It is the program's own, which has said so if it panics: this thread goes on for all others.
                let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
            }
        }
    }

    /// The user found nothing. Neither waits nor takes a lock: it may be called from a signal handler.
    fn arm(&self) {
        if let Some(event) = self.event.get() {
            event.clear();
        }
        if self.state.swap(ARMED, SeqCst) == SIGNALLED {
            self.watcher.look_anew();
        }
    }
}

/// A thread that watches.
struct Watcher {
    /// Counts what it has to see to.
    changes: AtomicU32,
    watches: Mutex<Vec<Arc<Watch>>>,
}

/// The watchers of one process.
struct Watchers {
    /// `forks()` of it.
    forks: u32,
    threads: Mutex<Vec<Arc<Watcher>>>,
    /// Held while a handle is asked for the first time.
    asking: Mutex<()>,
}

/// Of this process, and of its ancestors, whose locks may be held by threads that do not exist here.
static WATCHERS: boxcar::Vec<Watchers> = boxcar::Vec::new();

fn watchers() -> &'static Watchers {
    loop {
        if let Some((_, mine)) = WATCHERS.iter().find(|(_, watchers)| watchers.forks == forks()) {
            return mine;
        }
        WATCHERS.push(Watchers { forks: forks(), threads: Mutex::default(), asking: Mutex::default() });
    }
}

impl Watchers {
    /// Lets one of the threads watch a source, which counts as SIGNALLED first.
    fn watch(&'static self, source: Box<dyn Source>) -> Result<Arc<Watch>> {
        let mut threads = self.threads.lock();
        let free = threads.iter().find(|watcher| watcher.watches.lock().len() < MOST);
        let watcher =
            free.cloned().unwrap_or_else(|| Arc::new(Watcher { changes: AtomicU32::new(0), watches: Mutex::default() }));
        let is_new = free.is_none();
        let watch = Arc::new(Watch {
            source,
            state: AtomicU32::new(SIGNALLED),
            event: OnceBox::new(),
            #[cfg(feature = "async")]
            wakers: Mutex::default(),
            watcher: Arc::clone(&watcher),
            forks: self.forks,
        });
        watcher.watches.lock().push(Arc::clone(&watch));
        if is_new {
            let thread = Arc::clone(&watcher);
            spawn_without_signals(c"rsipc-watcher", move || thread.run(self))?;
            threads.push(watcher);
        }
        Ok(watch)
    }
}

impl Watcher {
    fn look_anew(&self) {
        // Release: with the Acquire in `run`.
        self.changes.fetch_add(1, Release);
        futex::wake(&self.changes, 1, Kind::Any);
    }

    fn forget(&self, watch: &Arc<Watch>) {
        self.watches.lock().retain(|other| !Arc::ptr_eq(other, watch));
        self.look_anew();
    }

    fn run(&self, of: &Watchers) {
        let (mut sleeper, mut looked) = (Sleeper::new(), Instant::now());
        loop {
            if looked.elapsed() >= LOOK_FOR_OTHERS {
                if are_left_alone() {
                    return;
                }
                looked = Instant::now();
            }
            // Acquire: with the Release in `look_anew`.
            let changes = self.changes.load(Acquire);
            let Some(watches) = self.watches_or_end(of) else { return };
            let closely = sleeper.closely();
            let armed = watches.iter().filter(|watch| watch.state.load(SeqCst) == ARMED);
            let (ready, quiet): (Vec<_>, Vec<_>) = armed.partition(|watch| watch.source.ready(closely));
            ready.iter().for_each(|watch| watch.signal());
            let sources: Vec<&dyn Source> = quiet.iter().map(|watch| &*watch.source).collect();
            if sleeper.sleep(&sources, Some((&self.changes, changes)), LOOK_FOR_OTHERS).is_err() {
                // The users find out what is wrong.
                quiet.iter().for_each(|watch| watch.signal());
                let _ = futex::wait(&self.changes, changes, Kind::Any, LOOK);
            }
        }
    }

    /// What there is to watch. Where there is nothing, the thread has to end.
    fn watches_or_end(&self, of: &Watchers) -> Option<Vec<Arc<Watch>>> {
        let mut threads = of.threads.lock();
        let watches = self.watches.lock().clone();
        if watches.is_empty() {
            threads.retain(|watcher| !std::ptr::eq(&raw const **watcher, self));
        }
        (!watches.is_empty()).then_some(watches)
    }
}

/// What a handle has of it: nothing, until somebody asks.
pub(crate) struct Readiness {
    /// The last one is of this process, or there is none; those before it are its ancestors'.
    watches: boxcar::Vec<Arc<Watch>>,
}

/// What makes the source that a handle's [`Readiness`] is about: independent of the handle.
pub(crate) type Make<'a> = &'a dyn Fn() -> Result<Box<dyn Source>>;

impl Readiness {
    pub(crate) const fn new() -> Self {
        Self { watches: boxcar::Vec::new() }
    }

    fn current(&self) -> Option<&Arc<Watch>> {
        let last = self.watches.count().checked_sub(1)?;
        self.watches.get(last).filter(|watch| watch.forks == forks())
    }

    fn watch(&self, make: Make<'_>) -> Result<&Arc<Watch>> {
        if let Some(watch) = self.current() {
            return Ok(watch);
        }
        // A signal handler that asks meanwhile would wait for itself.
        let _call = Call::enter_nowhere()?;
        let watchers = watchers();
        let _one_at_a_time = watchers.asking.lock();
        if self.current().is_none() {
            self.watches.push(watchers.watch(make()?)?);
        }
        self.current().ok_or(Error::Reentrant)
    }

    /// A descriptor that is readable while it may be ready.
    pub(crate) fn fd(&self, make: Make<'_>) -> Result<BorrowedFd<'_>> {
        let watch = self.watch(make)?;
        let event = match watch.event.get() {
            Some(event) => event,
            None => {
                let event = Event::new_set()?;
                watch.event.get_or_init(|| Box::new(event))
            }
        };
        if !watch.source.ready(true) {
            watch.arm();
        }
        Ok(event.as_fd())
    }

    /// An attempt failed so: where there was nothing, whoever asked is told when there may be something again.
    #[cold]
    pub(crate) fn after(&self, error: &Error) {
        if let (Error::WouldBlock | Error::TimedOut, Some(watch)) = (error, self.current()) {
            watch.arm();
        }
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        // The watchers of a parent do not exist here, and its descriptors stay open: their numbers may be somebody else's by now.
        if let Some(watch) = self.current() {
            // As in `watch`; it fails where this is inside a call already.
            let _call = Call::enter_nowhere();
            watch.watcher.forget(watch);
        }
    }
}

/// A task's place among those to be woken; given up when this is dropped.
#[cfg(feature = "async")]
pub(crate) struct Task {
    watch: Arc<Watch>,
    id: u64,
}

#[cfg(feature = "async")]
impl Readiness {
    /// Lets a task be woken once it may be ready, and says where it stands. The task found nothing right before.
    pub(crate) fn wake(&self, make: Make<'_>, task: &mut Option<Task>, waker: &std::task::Waker) -> Result<()> {
        static LAST: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let watch = self.watch(make)?;
        let task = match task {
            Some(task) if Arc::ptr_eq(&task.watch, watch) => task,
            task => task.insert(Task { watch: Arc::clone(watch), id: LAST.fetch_add(1, std::sync::atomic::Ordering::Relaxed) }),
        };
        let new = (task.id, waker.clone());
        let mut wakers = watch.wakers.lock();
        let old = match wakers.iter_mut().find(|(id, _)| *id == task.id) {
            Some(old) => Some(std::mem::replace(old, new)),
            None => {
                wakers.push(new);
                None
            }
        };
        drop(wakers);
        // What its end does may come back here, too.
        drop(old);
        watch.arm();
        Ok(())
    }
}

#[cfg(feature = "async")]
impl Drop for Task {
    fn drop(&mut self) {
        // A parent's lock may be held by a thread that does not exist here.
        if self.watch.forks == forks() {
            let mut wakers = self.watch.wakers.lock();
            let own: Vec<_> = wakers.extract_if(.., |(id, _)| *id == self.id).collect();
            drop(wakers);
            drop(own);
        }
    }
}
