//! What this process owes to others, and could not give when it was due.
//!
//! Who waits for an answer waits as long as the process lives that has the request. So an answer that cannot be sent (there are no
//! descriptors, there is no memory, a process that was stopped holds up the other's inbox) is kept here, also beyond the end of its
//! endpoint. A thread tries every 100 ms and ends with the last of it; where no thread can be started, the next call on any endpoint
//! tries. So it is with the name of an endpoint.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::sleep;

use parking_lot::Mutex;

use crate::direct::envelope::{Envelope, Kind};
use crate::direct::inner::{Inner, recv_from};
use crate::direct::message::{Message, answer};
use crate::error::{Error, Result};
use crate::sync::lock::LOOK;
use crate::sys::process::PerProcess;
use crate::sys::spawn::spawn_without_signals;
use crate::time::Deadline;

pub(super) enum Owed {
    /// Telling the sender of a request what became of it. `life`: for `Taken`.
    Answer { inner: Arc<Inner>, request: Envelope, kind: Kind, life: u32 },
    /// Telling the senders of the requests in the inbox of an endpoint that was closed that they are dropped.
    Inbox(Arc<Inner>),
    /// The chosen name of an endpoint that was closed. Its file is open as long as this is kept: no other has its inode meanwhile.
    Name { inner: Arc<Inner>, name: String, inode: u64 },
}

#[derive(Default)]
struct Debts {
    owed: Vec<Owed>,
    /// Whether the thread runs.
    is_worked_on: bool,
}

static DEBTS: PerProcess<Mutex<Debts>> = PerProcess::new();

/// Whether something is owed and there is no thread: a hint.
static IS_LEFT_ALONE: AtomicBool = AtomicBool::new(false);

impl Owed {
    /// Gives it, now or later.
    pub(super) fn give(self) {
        if self.try_give().is_ok() {
            return;
        }
        let mut debts = DEBTS.get().lock();
        debts.owed.push(self);
        debts.is_worked_on = debts.is_worked_on || spawn_without_signals(c"rsipc-owed", give_until_none_is_left).is_ok();
        IS_LEFT_ALONE.store(!debts.is_worked_on, Relaxed);
    }

    /// # Errors
    ///
    /// What is lacking, or in the way. In all other cases there is nobody to get it, or there never will be a way.
    pub(super) fn try_give(&self) -> Result<()> {
        use Error::{Interrupted, LimitReached, NoMemory, NoSpace, Reentrant, TooManyFiles, WouldBlock};
        let given = match self {
            Self::Answer { inner, request, kind, life } => answer(inner, request, *kind, *life, b""),
            Self::Inbox(inner) => drop_requests(inner),
            Self::Name { inner, name, inode } => inner.place.remove_name(name, *inode),
        };
        match given {
            Err(NoSpace(_) | NoMemory(_) | TooManyFiles(_) | LimitReached(_) | WouldBlock | Interrupted | Reentrant) => given,
            _ => Ok(()),
        }
    }
}

fn drop_requests(inner: &Arc<Inner>) -> Result<()> {
    loop {
        match recv_from(&inner.inbox, Deadline::Now, None)? {
            (_, envelope @ Some(_)) => drop(Message::new(inner, Vec::new(), envelope)),
            // It is the work of somebody who scribbles: of that there may be any number.
            (_, None) => return Ok(()),
        }
    }
}

/// Gives what could not be given before, if nobody else does. In each call on an endpoint.
#[inline]
pub(super) fn give_what_is_left() {
    if IS_LEFT_ALONE.load(Relaxed) {
        give_all();
    }
}

#[cold]
fn give_all() {
    IS_LEFT_ALONE.store(false, Relaxed);
    let owed = std::mem::take(&mut DEBTS.get().lock().owed);
    owed.into_iter().for_each(Owed::give);
}

fn give_until_none_is_left() {
    loop {
        sleep(LOOK);
        give_all();
        let mut debts = DEBTS.get().lock();
        if debts.owed.is_empty() {
            debts.is_worked_on = false;
            return;
        }
    }
}
