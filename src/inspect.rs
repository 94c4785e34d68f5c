//! What somebody sees of an object who does not take part in it: for tools that show a running system.

use std::sync::Arc;

use crate::counters::Counters;
use crate::direct::Address;
use crate::error::Result;
use crate::name::{Kind, Name, Namespace};
use crate::queue::{self, QueueInspection, User};
use crate::shm::layout::{InboxLayout, MutexLayout, Object, PERMITS, PermitsLayout, QueueLayout, RegionLayout, SemaphoreLayout};
use crate::shm::{self, Shared};
use crate::sync::lock::{OWNER_DIED, TID};
use crate::sync::mutex::{INCONSISTENT, NOT_RECOVERABLE};
use crate::sync::semaphore::SemaphoreKind;
use crate::sync::users::Users;
use crate::sys::memory::Ordering::Relaxed;
use crate::sys::thread::Owners;

/// What [`Namespace::inspect`] sees of an object, at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Inspection {
    /// A [`Region`](crate::Region).
    #[non_exhaustive]
    Region {
        /// How many bytes it has for its users.
        len: u64,
    },
    /// A [`Mutex`](crate::Mutex).
    #[non_exhaustive]
    Mutex {
        /// Whether a living thread holds it.
        held: bool,
        /// The id of the thread that holds it, in this pid namespace; None also where it belongs to another one.
        holder: Option<u32>,
        /// Whether an owner died, and nobody has marked the data consistent since.
        owner_died: bool,
        /// Whether it was given up as not recoverable.
        given_up: bool,
        /// What has happened to it so far.
        counters: Counters,
    },
    /// A [`Semaphore`](crate::Semaphore).
    #[non_exhaustive]
    Semaphore {
        /// Its kind.
        kind: SemaphoreKind,
        /// How many units there are to be acquired, those counted that dead processes hold: they come back by themselves.
        value: u32,
        /// How many permits there are in all; None for signals.
        total: Option<u32>,
        /// The processes that have acquired permits, or tried to; none for signals.
        users: Vec<User>,
        /// What has happened to it so far.
        counters: Counters,
    },
    /// A [`Queue`](crate::Queue).
    Queue(QueueInspection),
    /// The inbox of an [`Endpoint`](crate::Endpoint).
    #[non_exhaustive]
    Endpoint {
        /// The id of the process that opened it, in that one's pid namespace.
        pid: u32,
        /// Whether that process is gone. Its address and its name go when somebody comes upon them.
        is_gone: bool,
        /// The inbox. It lists no users.
        inbox: QueueInspection,
    },
}

impl Namespace {
    /// Looks at the object of that name without taking part in it: nobody sees the onlooker, nothing is changed, what the dead
    /// hold stays where it is.
    ///
    /// The name can also be that of an address's file, which begins with an at sign and which [`Namespace::list`] leaves out.
    ///
    /// ```
    /// # fn main() -> rsipc::Result<()> {
    /// # let namespace = rsipc::Namespace::at(std::env::temp_dir().join(format!("rsipc-doc-inspect-{}", std::process::id())));
    /// let jobs = rsipc::Queue::create(namespace.name("jobs"), &rsipc::QueueOptions::new())?;
    /// jobs.send(b"a job")?;
    /// let rsipc::Inspection::Queue(seen) = namespace.inspect("jobs")? else { unreachable!() };
    /// assert_eq!((seen.len, seen.counters.sent, seen.users.len()), (1, 1, 1));
    /// # namespace.unlink("jobs")?;
    /// # std::fs::remove_dir_all(namespace.dir()?).ok();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `NotFound`; `InvalidArgument` for an impossible name; `WrongVersion`, `Corrupted`, `PermissionDenied` and other errors of
    /// the system.
    pub fn inspect(&self, name: &str) -> Result<Inspection> {
        let name = if Address::of_file(name).is_some() { self.address(name) } else { self.name(name) };
        let tag = shm::tag_of(&name)?;
        match tag.kind {
            Kind::Region => {
                let region = shm::open::<RegionLayout>(&name)?.0;
                region.checked(Ok(Inspection::Region { len: region.size.load(Relaxed) }))
            }
            Kind::Mutex => mutex(&name),
            Kind::Semaphore if tag.flavour == PERMITS => permits(&name),
            Kind::Semaphore => {
                let signals = shm::open::<SemaphoreLayout>(&name)?.0;
                let value = signals.value.load(Relaxed);
                let (users, counters) = (Vec::new(), Counters::of(&signals.counts));
                signals.checked(Ok(Inspection::Semaphore { kind: SemaphoreKind::Signals, value, total: None, users, counters }))
            }
            Kind::Queue => {
                let (seen, _) = queue::inspect(shm::open::<QueueLayout>(&name)?.0, name.dir()?)?;
                Ok(Inspection::Queue(seen))
            }
            Kind::Endpoint => {
                let inbox = shm::open::<InboxLayout>(&name)?.0;
                let (inbox, owner) = queue::inspect(Shared::new(Arc::clone(inbox.mapping()), inbox.offset())?, name.dir()?)?;
                let (pid, is_gone) = owner.unwrap_or((0, false));
                Ok(Inspection::Endpoint { pid, is_gone, inbox })
            }
        }
    }
}

fn mutex(name: &Name<'_>) -> Result<Inspection> {
    let mutex = shm::open::<MutexLayout>(name)?.0;
    let users = Users::seen(&mutex, name.dir()?)?;
    let (word, state) = (mutex.word.load(Relaxed), mutex.state.load(Relaxed));
    let owner = word & TID;
    // Of a stranger, or of who takes it at this moment, the kernel marks nothing.
    let is_gone = owner != 0 && Owners::is_gone(&users, owner);
    let held = owner != 0 && !is_gone;
    mutex.checked(Ok(Inspection::Mutex {
        held,
        holder: (held && users.are_at_home() && !users.are_strangers()).then_some(owner),
        owner_died: state == INCONSISTENT || is_gone || word & OWNER_DIED != 0,
        given_up: state == NOT_RECOVERABLE,
        counters: Counters::of(&mutex.counts),
    }))
}

fn permits(name: &Name<'_>) -> Result<Inspection> {
    let permits = shm::open::<PermitsLayout>(name)?.0;
    let here = permits.header().namespace.load(Relaxed);
    let total = permits.total.load(Relaxed);
    let users: Vec<User> = (permits.holders.table.iter())
        .filter_map(|peer| {
            let (identity, since, holds) = (peer.identity()?, peer.since(), peer.value.load(Relaxed));
            let (pid, is_gone) = (peer.pid.load(Relaxed), identity.is_gone(here));
            Some(User { pid, since: Some(since), is_gone, sends: false, receives: false, holds })
        })
        .collect();
    let held = users.iter().filter(|user| !user.is_gone).fold(0u32, |sum, user| sum.saturating_add(user.holds));
    let value = total.saturating_sub(held);
    let counters = Counters::of(&permits.counts);
    permits.checked(Ok(Inspection::Semaphore { kind: SemaphoreKind::Permits, value, total: Some(total), users, counters }))
}
