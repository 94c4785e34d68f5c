//! An endpoint, as all who use it share it: its inbox, and the inboxes that it has sent to.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::direct::address::Address;
use crate::direct::envelope::Envelope;
use crate::direct::owed::give_what_is_left;
use crate::direct::place::{DirId, Place};
use crate::direct::target::Target;
use crate::error::{Error, Result};
use crate::name::Name;
use crate::queue::{Queue, QueueOptions, Received, Take, Watch};
use crate::shm;
use crate::sys::process::{PerProcess, me};
use crate::sys::thread::forks;
use crate::time::Deadline;

/// An endpoint, as the messages that it received keep it.
pub(super) struct Inner {
    pub(super) place: Arc<Place>,
    pub(super) inbox: Queue,
    pub(super) address: Address,
    /// `forks()` when it was opened.
    pub(super) forks: u32,
    /// The inboxes that it has sent to.
    targets: Mutex<HashMap<Address, Arc<Target>>>,
}

/// So many inboxes of others are kept open.
const MAX_TARGETS: usize = 128;

/// The endpoints of this process, by their directory and serial number.
pub(super) static OPEN: PerProcess<Mutex<HashSet<(DirId, u32)>>> = PerProcess::new();

impl Drop for Inner {
    fn drop(&mut self) {
        if self.forks != forks() && self.targets.is_locked() {
            // A thread of the parent's was changing them when it forked.
            std::mem::forget(std::mem::take(self.targets.get_mut()));
        }
    }
}

impl Inner {
    /// Opens an endpoint with the lowest serial number that is free.
    pub(super) fn open(name: &Name<'_>, options: &QueueOptions) -> Result<Self> {
        let _inside = Inside::enter()?;
        let place = Place::of(name)?;
        place.clear(None);
        let life = place.life_for_good();
        let (identity, mut serial) = (me().identity, 0);
        let mut open = OPEN.get().lock();
        loop {
            let address = Address::new(identity, serial);
            let (name, key) = (address.file_name(), (place.id, serial));
            if open.contains(&key) {
                serial += 1;
                continue;
            }
            match Queue::create_owned(&place.namespace.address(&name), options, &address.owner(life)) {
                // It is left from before an exec that nobody noticed.
                Err(Error::AlreadyExists { .. }) if shm::namespace_of_file(&place.path(address)) == Some(me().namespace) => {
                    place.remove(address);
                }
                // A process of another pid namespace has it.
                Err(Error::AlreadyExists { .. }) => serial += 1,
                inbox => {
                    let inbox = inbox?;
                    open.insert(key);
                    return Ok(Self { place: Arc::new(place), inbox, address, forks: forks(), targets: Mutex::default() });
                }
            }
        }
    }

    /// Takes away the chosen name, then the address, which the next endpoint may have.
    ///
    /// # Errors
    ///
    /// As [`Place::remove_name`]; it keeps its address then.
    pub(super) fn remove(&self, name: Option<&str>) -> Result<()> {
        if let Some(name) = name
            && let Some(inode) = self.place.inode(&self.address.file_name())?
        {
            self.place.remove_name(name, inode)?;
        }
        // die here: as of a process that dies with an endpoint.
        self.place.remove(self.address);
        OPEN.get().lock().remove(&(self.place.id, self.address.serial()));
        Ok(())
    }

    /// Begins a call. `NotOwner` in a child of fork. From here on a living thread owns this process's life.
    #[inline]
    pub(super) fn enter(&self) -> Result<Inside> {
        if self.forks != forks() {
            let why = "the endpoint belongs to the process that this one was forked from: open one of your own";
            return Err(Error::NotOwner(why));
        }
        let inside = Inside::enter()?;
        self.place.life();
        give_what_is_left();
        Ok(inside)
    }

    /// Sends to an address; gives what the wait for a reply watches.
    pub(super) fn send(&self, to: Address, envelope: Envelope, message: &[u8], deadline: Deadline) -> Result<Arc<Target>> {
        loop {
            let (target, kept) = self.target(to)?;
            match target.inbox.send_with(&envelope.to_bytes(), message, deadline, Some(&target.owner.watch())) {
                Ok(()) => return Ok(target),
                // Its owner has closed it, and may have opened another one at the same address.
                Err(Error::Closed) if kept => self.forget(to, &target),
                Err(Error::Closed) => return Err(self.gone(to, &target)),
                Err(Error::PeerGone) => return Err(self.gone(to, &target)),
                Err(e) => return Err(e),
            }
        }
    }

    /// The inbox of an address, whose owner lives; and whether it has been open for a while.
    fn target(&self, to: Address) -> Result<(Arc<Target>, bool)> {
        let kept = self.targets.lock().get(&to).cloned();
        if let Some(target) = kept {
            return match target.owner.check() {
                Ok(()) => Ok((target, true)),
                Err(_) => Err(self.gone(to, &target)),
            };
        }
        let target = Arc::new(Target::open(&self.place, to)?);
        let mut targets = self.targets.lock();
        if targets.len() >= MAX_TARGETS {
            targets.retain(|_, target| !target.inbox.is_shut_down() && !target.owner.is_gone());
        }
        if targets.len() >= MAX_TARGETS {
            targets.clear();
        }
        targets.insert(to, Arc::clone(&target));
        Ok((target, false))
    }

    fn forget(&self, to: Address, target: &Arc<Target>) {
        let mut targets = self.targets.lock();
        if targets.get(&to).is_some_and(|other| Arc::ptr_eq(other, target)) {
            targets.remove(&to);
        }
    }

    #[cold]
    fn gone(&self, to: Address, target: &Arc<Target>) -> Error {
        self.forget(to, target);
        self.place.clear(Some(to.identity()));
        Error::PeerGone
    }
}

/// While it lives, this thread is inside a call of this module: there are locks in it for which a signal handler would wait for ever.
pub(crate) struct Inside;

impl Inside {
    pub(crate) fn enter() -> Result<Self> {
        if INSIDE.replace(true) { Err(Error::Reentrant) } else { Ok(Self) }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.set(false);
    }
}

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Receives a message with its envelope.
pub(super) fn recv_from(inbox: &Queue, deadline: Deadline, watch: Option<&dyn Watch>) -> Result<(Vec<u8>, Option<Envelope>)> {
    let mut message = Vec::new();
    let Received { len, envelope, .. } = inbox.recv_with(&mut message, Take::Whole, deadline, watch)?;
    // SAFETY: `len` bytes were copied there, for which there is room.
    unsafe { message.set_len(len) };
    Ok((message, envelope.as_ref().and_then(Envelope::from_bytes)))
}

/// Receives a message as [`recv_from`], without its bytes: that takes no room for them.
pub(super) fn throw_away(inbox: &Queue) -> Result<Option<Envelope>> {
    let mut unread = Vec::new();
    let received = inbox.recv_with(&mut unread, Take::Unread, Deadline::Now, None)?;
    Ok(received.envelope.as_ref().and_then(Envelope::from_bytes))
}
