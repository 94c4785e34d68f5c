//! What this process owes to others, and could not give when it was due.
//!
//! Who waits for an answer waits as long as the process lives that has the request. So an answer that cannot be sent (there are no
//! descriptors, there is no memory, a process that was stopped holds up the other's inbox) is kept here, also beyond the end of its
//! endpoint. A thread tries every 100 ms and ends with the last of it; where no thread can be started, each call on any endpoint
//! tries, also every 100 ms while it waits for a message. So it is with the name of an endpoint.
//!
//! Each caller waits for one answer at a time, so that of those that are owed to it the last one counts: what others let a process owe
//! is never more than there are callers.

use std::collections::VecDeque;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::sleep;
use std::time::Instant;

use parking_lot::Mutex;

use crate::direct::address::Address;
use crate::direct::envelope::{Envelope, Kind};
use crate::direct::inner::{Inner, throw_away};
use crate::direct::message::{Message, answer};
use crate::error::{Error, Result};
use crate::sync::lock::LOOK;
use crate::sys::process::PerProcess;
use crate::sys::spawn::{are_left_alone, spawn_without_signals};
use crate::time::Deadline;

pub(super) enum Owed {
    /// Telling the sender of a request what became of it. `life`: for `Taken`.
    Answer { inner: Arc<Inner>, request: Envelope, kind: Kind, life: u32 },
    /// Telling the senders of the requests in the inbox of an endpoint that was closed that they are dropped.
    Inbox(Arc<Inner>),
    /// The name of an endpoint that was closed, and then its address: as long as there is the name, no other endpoint gets the
    /// address. The file is open as long as this is kept, so that no other has its inode.
    Place { inner: Arc<Inner>, name: Option<String> },
}

#[derive(Default)]
struct Debts {
    owed: VecDeque<Owed>,
    /// Whether the thread runs.
    is_worked_on: bool,
}

impl Debts {
    fn add(&mut self, new: Owed) {
        let of_the_same = |old: &&mut Owed| old.caller().is_some() && old.caller() == new.caller();
        match self.owed.iter_mut().find(of_the_same) {
            Some(old) if old.which() < new.which() => *old = new,
            Some(_) => {}
            None => self.owed.push_back(new),
        }
    }
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
        debts.add(self);
        debts.is_worked_on = debts.is_worked_on || spawn_without_signals(c"rsipc-owed", give_until_none_is_left).is_ok();
        IS_LEFT_ALONE.store(!debts.is_worked_on, Relaxed);
    }

    /// Who waits for it.
    fn caller(&self) -> Option<Address> {
        self.answer().and_then(|(request, _)| request.wants_reply_at())
    }

    /// Which of the answers to its caller it is: that to a later request is greater, and so is the one that comes last.
    fn which(&self) -> Option<(u64, bool)> {
        self.answer().map(|(request, kind)| (request.number, kind == Kind::NoReply))
    }

    fn answer(&self) -> Option<(&Envelope, Kind)> {
        match self {
            Self::Answer { request, kind, .. } => Some((request, *kind)),
            _ => None,
        }
    }

    /// # Errors
    ///
    /// What is lacking, or in the way. In all other cases there is nobody to get it, or there never will be a way.
    pub(super) fn try_give(&self) -> Result<()> {
        use Error::{Interrupted, LimitReached, NoMemory, NoSpace, Reentrant, TooManyFiles, WouldBlock};
        let given = match self {
            Self::Answer { inner, request, kind, life } => answer(inner, request, *kind, *life, b""),
            Self::Inbox(inner) => drop_requests(inner),
            Self::Place { inner, name } => inner.remove(name.as_deref()),
        };
        match given {
            Err(NoSpace(_) | NoMemory(_) | TooManyFiles(_) | LimitReached(_) | WouldBlock | Interrupted | Reentrant) => given,
            _ => Ok(()),
        }
    }
}

fn drop_requests(inner: &Arc<Inner>) -> Result<()> {
    // Closed: that was all. A sender that was stopped may be about to commit one more; and somebody who scribbles may say that there
    // is always another.
    for _ in 0..=inner.inbox.len()? {
        let envelope = throw_away(&inner.inbox)?;
        drop(Message::new(inner, Vec::new(), envelope));
    }
    Err(Error::WouldBlock)
}

/// Does a call that waits. Where nobody else gives what is left, the waiting thread does.
#[inline]
pub(super) fn waiting<T>(deadline: Deadline, mut wait: impl FnMut(Deadline) -> Result<T>) -> Result<T> {
    while IS_LEFT_ALONE.load(Relaxed)
        && let Ok(slice) = deadline.left(LOOK)
    {
        match wait(Deadline::At(Instant::now() + slice)) {
            Err(Error::TimedOut) => give_what_is_left(),
            done => return done,
        }
    }
    wait(deadline)
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
    let debts = DEBTS.get();
    // Each once: what cannot be given comes last again.
    let count = debts.lock().owed.len();
    for _ in 0..count {
        let Some(first) = debts.lock().owed.pop_front() else { return };
        first.give();
    }
}

fn give_until_none_is_left() {
    loop {
        sleep(LOOK);
        // What panics has said so; this thread goes on with what comes later.
        let _ = catch_unwind(give_all);
        let mut debts = DEBTS.get().lock();
        let is_over = are_left_alone();
        if debts.owed.is_empty() || is_over {
            debts.is_worked_on = false;
            // A program that has other threads may make another call.
            IS_LEFT_ALONE.store(is_over, Relaxed);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Endpoint, Namespace, Queue, QueueOptions};

    #[test]
    fn a_request_of_a_sender_that_was_stopped_while_the_endpoint_was_closed_is_answered() {
        let dir = std::env::temp_dir().join(format!("rsipc-unit-owed-{}", std::process::id()));
        let space = Namespace::at(&dir);
        let options = QueueOptions::new();
        let [server, client] = [(); 2].map(|()| Endpoint::open(&space, &options).unwrap());
        let mailbox = Queue::create(space.name("mailbox"), &options).unwrap();
        let mut call = client.begin_call_mailbox(&mailbox, b"request", Duration::from_secs(1)).unwrap();
        let (_, request) = crate::direct::inner::recv_from(&mailbox, Deadline::Now, None).unwrap();
        let inner = Arc::clone(&server.inner);
        let (is_stopped, goes_on) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                inner.inbox.send_late(&request.unwrap().to_bytes(), b"request", || {
                    is_stopped.wait();
                    goes_on.wait();
                });
            });
            is_stopped.wait();
            drop(server);
            goes_on.wait();
        });
        assert_eq!(call.wait_timeout(Duration::from_secs(20)), Err(Error::NoReply));
        std::fs::remove_dir_all(dir).unwrap();
    }
}
