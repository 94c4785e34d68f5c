//! The caller's side of a call: the inbox that the reply comes to.
//!
//! Each thread that makes calls has one for each directory, and keeps it. Requests are numbered, and a reply has its request's number, so
//! that one that comes after its caller has stopped waiting is known, and thrown away.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::direct::address::{Address, REPLIES};
use crate::direct::envelope::{Envelope, Kind};
use crate::direct::place::Place;
use crate::direct::target::Peer;
use crate::direct::{Inner, recv_from};
use crate::error::{Error, Result};
use crate::queue::{MAX_MESSAGE, Queue, QueueOptions, Watch};
use crate::sync::lock::LOOK;
use crate::sys::process::me;
use crate::sys::thread::forks;
use crate::time::Deadline;

thread_local! {
    /// Those that are not in use at this moment.
    static INBOXES: RefCell<Vec<Inbox>> = const { RefCell::new(Vec::new()) };
}

/// An inbox for replies, of one thread.
struct Inbox {
    place: Arc<Place>,
    queue: Queue,
    address: Address,
    /// `forks()` when it was made.
    forks: u32,
    /// The number of the last request.
    number: u64,
}

impl Inbox {
    fn new(place: &Arc<Place>) -> Result<Self> {
        /// The serial number of the next.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let life = place.life();
        loop {
            let address = Address::new(me().identity, NEXT.fetch_add(1, Relaxed) | REPLIES);
            let owner = address.owner(life);
            let name = address.file_name();
            // One of that number may be left from before an exec.
            match Queue::create_owned(&place.namespace.address(&name), &options(), &owner) {
                Err(Error::AlreadyExists { .. }) => {}
                queue => return Ok(Self { place: Arc::clone(place), queue: queue?, address, forks: forks(), number: 0 }),
            }
        }
    }

    /// Throws away the replies to requests for which nobody waits any more.
    fn throw_away(&self) {
        for _ in 0..self.queue.len().unwrap_or(0) {
            let _ = recv_from(&self.queue, Deadline::Now, None);
        }
    }
}

/// A reply is as long as it is; and one to a request that was given up must not keep others from coming.
fn options() -> QueueOptions {
    QueueOptions::new().unbounded_within(2 * MAX_MESSAGE).max_message(MAX_MESSAGE).leases(0)
}

impl Drop for Inbox {
    fn drop(&mut self) {
        if self.forks == forks() {
            self.place.remove(self.address, None);
            // Who has it open learns that it is not used any more.
            let _ = self.queue.shutdown();
        }
    }
}

/// This thread's inbox for replies, while a call uses it.
struct Taken(Option<Inbox>);

impl Taken {
    fn take(place: &Arc<Place>) -> Result<Self> {
        let kept = INBOXES.try_with(|inboxes| {
            let mut inboxes = inboxes.try_borrow_mut().ok()?;
            let at = inboxes.iter().position(|inbox| inbox.forks == forks() && inbox.place.id == place.id)?;
            Some(inboxes.swap_remove(at))
        });
        match kept.ok().flatten() {
            Some(inbox) => Ok(Self(Some(inbox))),
            None => Inbox::new(place).map(|inbox| Self(Some(inbox))),
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // Where the thread is about to end it has no place for it.
        let _ = INBOXES.try_with(|inboxes| inboxes.try_borrow_mut().map(|mut inboxes| inboxes.extend(self.0.take())));
    }
}

impl Deref for Taken {
    type Target = Inbox;

    fn deref(&self) -> &Inbox {
        self.0.as_ref().expect("it is there until the drop")
    }
}

impl DerefMut for Taken {
    fn deref_mut(&mut self) -> &mut Inbox {
        self.0.as_mut().expect("it is there until the drop")
    }
}

/// Sends a request to an address, and waits for its reply.
pub(super) fn call(inner: &Inner, to: Address, request: &[u8], deadline: Deadline) -> Result<Vec<u8>> {
    with_inbox(inner, |inbox, envelope| {
        let target = inner.send(to, envelope, request, deadline)?;
        wait(inbox, Some(Arc::clone(&target.owner)), deadline)
    })
}

/// Sends a request to a mailbox, and waits for the reply of who takes it.
pub(super) fn call_mailbox(inner: &Inner, mailbox: &Queue, request: &[u8], deadline: Deadline) -> Result<Vec<u8>> {
    with_inbox(inner, |inbox, envelope| {
        mailbox.send_with(&envelope.to_bytes(), request, deadline, None)?;
        wait(inbox, None, deadline)
    })
}

/// Does a call, for which it gives this thread's inbox and the envelope of the request.
fn with_inbox(inner: &Inner, call: impl FnOnce(&Inbox, Envelope) -> Result<Vec<u8>>) -> Result<Vec<u8>> {
    let _inside = inner.enter()?;
    let mut inbox = Taken::take(&inner.place)?;
    inbox.throw_away();
    inbox.number += 1;
    let envelope = Envelope { kind: Kind::Request, from: inner.address, reply_to: inbox.address.serial(), number: inbox.number };
    call(&inbox, envelope).map_err(|e| match e {
        // A call always has something to wait for.
        Error::WouldBlock => Error::TimedOut,
        e => e,
    })
}

/// Waits for the reply to the inbox's last request, while the process lives that has it, as far as that is known.
fn wait(inbox: &Inbox, mut has_it: Option<Arc<Peer>>, deadline: Deadline) -> Result<Vec<u8>> {
    let mut gone = false;
    loop {
        let watch = has_it.as_deref().filter(|_| !gone).map(Peer::watch);
        let watch = watch.as_ref().map(|watch| watch as &dyn Watch);
        match recv_from(&inbox.queue, if gone { Deadline::Now } else { deadline }, watch) {
            Ok((reply, Some(envelope))) if envelope.number == inbox.number => match envelope.kind {
                Kind::Reply => return Ok(reply),
                Kind::NoReply => return Err(Error::NoReply),
                Kind::Taken => {
                    has_it = Some(Arc::new(Peer::new(&inbox.place, envelope.from.identity(), envelope.reply_to)));
                    gone = false;
                }
                // Whatever it is, it does not keep us from looking at the time.
                Kind::Message | Kind::Request => drop(deadline.left(LOOK)?),
            },
            Ok(_) => drop(deadline.left(LOOK)?),
            Err(_) if gone => return Err(Error::PeerGone),
            // It may have replied before it died, and after we looked.
            Err(Error::PeerGone) => gone = true,
            Err(e) => return Err(e),
        }
    }
}
