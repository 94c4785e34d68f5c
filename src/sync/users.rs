//! The users of one object: threads of its own pid namespace, until the first process of another one comes, and strangers from then on.

use std::path::PathBuf;
use std::sync::Arc;

use once_cell::race::OnceBox;

use crate::error::{Error, Result};
use crate::shm::Shared;
use crate::shm::layout::{Counted, Counts, Header};
use crate::sync::strangers::{STRANGER, Strangers};
use crate::sys::memory::AtomicU32;
use crate::sys::memory::Ordering::Relaxed;
use crate::sys::process::{Identity, ThreadOf, me, thread_is_gone};
use crate::sys::thread::{Call, Owners};

/// The users of one object: how this process stands in its words, and which of the others are gone.
pub(crate) struct Users {
    header: Shared<Header>,
    counts: Shared<Counts>,
    /// Where the object's name is; None for one in a region.
    dir: Option<PathBuf>,
    /// Whether it was opened in its own pid namespace. (A child that is forked into another one makes no calls there.)
    from_home: bool,
    strangers: OnceBox<Arc<Strangers>>,
}

impl Users {
    /// Those of an object whose name is in `dir`, or which lies in a region.
    ///
    /// # Errors
    ///
    /// `Unsupported` where the object is another pid namespace's and cannot be used from this one.
    pub(crate) fn new<T: Counted>(object: &Shared<T>, dir: Option<PathBuf>) -> Result<Self> {
        let header = Shared::new(Arc::clone(object.mapping()), object.offset())?;
        let counts = object.part(T::counts);
        // The program may go to another directory before it has to know this.
        let dir = dir.map(|dir| std::path::absolute(&dir).unwrap_or(dir));
        let mut users = Self { header, counts, dir, from_home: true, strangers: OnceBox::new() };
        users.from_home = users.are_at_home();
        if !users.from_home {
            users.become_strangers()?;
        }
        Ok(users)
    }

    /// Those of an object that this process only looks at: it does not become one of them.
    pub(crate) fn seen<T: Counted>(object: &Shared<T>, dir: PathBuf) -> Result<Self> {
        let header = Shared::new(Arc::clone(object.mapping()), object.offset())?;
        let counts = object.part(T::counts);
        Ok(Self { header, counts, dir: Some(dir), from_home: true, strangers: OnceBox::new() })
    }

    /// Whether the object is of this process's pid namespace.
    pub(crate) fn are_at_home(&self) -> bool {
        let home = self.header.namespace.load(Relaxed);
        home != 0 && home == me().namespace
    }

    /// Whether they are known by their lives.
    #[inline]
    pub(crate) fn are_strangers(&self) -> bool {
        !self.from_home || self.header.strangers.load(Relaxed) != 0
    }

    fn become_strangers(&self) -> Result<()> {
        if self.dir.is_none() {
            return Err(Error::Unsupported(
                "the object lies in a region, and belongs to processes of another pid namespace: give it a name of its own"
                    .into(),
            ));
        }
        let strangers = self.table()?;
        // Who cannot be one of them leaves the object as it is.
        drop(strangers.enter(self)?);
        // Those who are in the middle of something end it as they began it.
        let _ = self.header.strangers.compare_exchange(0, strangers.number(), Relaxed, Relaxed);
        self.strangers().map(drop)
    }

    fn table(&self) -> Result<&Arc<Strangers>> {
        if let Some(strangers) = self.strangers.get() {
            return Ok(strangers);
        }
        let dir = self.dir.as_ref().ok_or(Error::Corrupted("an object in a region has strangers among its users"))?;
        let strangers = Strangers::of(dir)?;
        Ok(self.strangers.get_or_init(|| Box::new(strangers)))
    }

    /// The table by which they are known.
    fn strangers(&self) -> Result<&Arc<Strangers>> {
        let strangers = self.table()?;
        if self.header.strangers.load(Relaxed) == strangers.number() {
            return Ok(strangers);
        }
        Err(Error::Unsupported(
            "the object's users are known by a table (.strangers) that is not in the object's directory any more".into(),
        ))
    }

    /// Enters a call of who holds the lock of `word` as `owner`, and may have taken it before there were strangers.
    ///
    /// # Errors
    ///
    /// As [`Users::enter`].
    #[inline]
    pub(crate) fn enter_again(&self, word: &AtomicU32, owner: u32) -> Result<Call<'_>> {
        if owner & STRANGER == 0 { Call::enter_among(word, self) } else { self.enter_as_stranger() }
    }

    /// Enters a call that works on `word`.
    ///
    /// # Errors
    ///
    /// `Reentrant`, as [`Call::enter`]. Among strangers, in this process's and this thread's first call, also `LimitReached`
    /// where 4095 threads of several pid namespaces use the directory, `WouldBlock` where somebody was stopped while joining, and
    /// errors of the system.
    #[inline]
    pub(crate) fn enter(&self, word: &AtomicU32) -> Result<Call<'_>> {
        if self.are_strangers() { self.enter_as_stranger() } else { Call::enter_among(word, self) }
    }

    /// As [`Users::enter`], where that is simple: none are strangers, and the thread has made a call before.
    #[inline]
    pub(crate) fn enter_simply(&self, word: &AtomicU32) -> Option<Call<'_>> {
        if self.are_strangers() { None } else { Call::enter_simply_among(word, self) }
    }

    #[cold]
    fn enter_as_stranger(&self) -> Result<Call<'_>> {
        self.strangers()?.enter(self)
    }

    /// Who this process is, once it has entered a call.
    #[inline]
    pub(crate) fn me(&self) -> Identity {
        if self.are_strangers() { self.stranger_or_native() } else { me().identity }
    }

    #[cold]
    fn stranger_or_native(&self) -> Identity {
        // At home, the first stranger may have come since the call was entered. Then it ends as it began: of a thread without a
        // life nobody would know when it has stopped. Elsewhere a call is not entered before the process has a life.
        let began = self.strangers.get().is_some_and(|strangers| strangers.known_standing().is_some());
        self.stranger().filter(|_| began).unwrap_or(if self.are_at_home() { me().identity } else { Identity::of_life(0, 0) })
    }

    fn stranger(&self) -> Option<Identity> {
        self.strangers.get()?.process()
    }

    /// Whether it is this process.
    pub(crate) fn is_me(&self, identity: Identity) -> bool {
        if identity.life().is_none() {
            identity == me().identity && self.are_at_home()
        } else {
            self.stranger() == Some(identity)
        }
    }

    /// Whether a process is known to be gone.
    pub(crate) fn is_gone(&self, identity: Identity) -> bool {
        match identity.life() {
            None => self.are_at_home() && identity.is_gone(me().namespace),
            Some(_) => self.strangers().is_ok_and(|strangers| strangers.is_gone(identity)),
        }
    }

    /// The life to sleep on, to see a stranger's end, and what it is until then; None where that has ended.
    pub(crate) fn watch(&self, identity: Identity) -> Option<(&AtomicU32, u32)> {
        self.strangers().ok()?.watch(identity)
    }
}

impl Owners for Users {
    fn is_gone(&self, owner: u32) -> bool {
        if owner & STRANGER == 0 {
            self.are_at_home() && thread_is_gone(owner)
        } else {
            self.strangers().is_ok_and(|strangers| strangers.has_ended(owner))
        }
    }

    fn has_left(&self, thread: ThreadOf) -> bool {
        self.are_at_home() && (thread.is_gone() || self.is_over(thread.program()))
    }

    fn is_over(&self, program: Identity) -> bool {
        Self::is_gone(self, program)
    }

    fn waits(&self) {
        self.counts.waits.add(1);
    }

    fn is_woken(&self) {
        self.counts.wakeups.add(1);
    }
}
