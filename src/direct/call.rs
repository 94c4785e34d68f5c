//! The caller's side of a call: the inbox that the reply comes to.
//!
//! Each thread that makes calls has one for each directory, and keeps it. Requests are numbered, and a reply has its request's
//! number, so that one that comes after its caller has stopped waiting is known, and thrown away. Before a caller asks it sees to
//! it that there is memory for a short answer: it learns that its request was taken, or dropped, also from a server that has
//! none.

use std::cell::RefCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use crate::direct::address::{Address, REPLIES};
use crate::direct::envelope::{Envelope, Kind};
use crate::direct::inner::{Inner, recv_from, throw_away};
use crate::direct::owed::waiting;
use crate::direct::place::Place;
use crate::direct::target::Peer;
use crate::error::{Error, Result};
use crate::queue::{MAX_MESSAGE, Queue, QueueOptions, Watch};
use crate::sync::lock::LOOK;
use crate::sys::memory::{AtomicU32, Ordering::Relaxed};
use crate::sys::process::me;
use crate::sys::thread::{Uncancelled, forks};
use crate::time::Deadline;

thread_local! {
    /// Those that are not in use at this moment.
    static INBOXES: RefCell<Vec<Inbox>> = const { RefCell::new(Vec::new()) };
}

/// That the request was taken, that it was dropped, and as many that come late.
const ANSWERS: usize = 4;

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
        let _uncancelled = Uncancelled::new();
        let life = place.life();
        loop {
            let address = Address::new(me().identity, NEXT.fetch_add(1, Relaxed) | REPLIES);
            let owner = address.owner(life);
            let name = address.file_name();
            // One of that number may be left from before an exec that nobody noticed.
            match Queue::create_owned(&place.namespace.address(&name), &options(), &owner) {
                Err(Error::AlreadyExists { .. }) => {}
                queue => return Ok(Self { place: Arc::clone(place), queue: queue?, address, forks: forks(), number: 0 }),
            }
        }
    }

    /// Throws away the replies to requests for which nobody waits any more.
    fn throw_away(&self) {
        for _ in 0..self.queue.len().unwrap_or(0) {
            // The number may be anybody's.
            if throw_away(&self.queue).is_err() {
                break;
            }
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
            self.place.remove(self.address);
            // Who has it open learns that it is not used any more.
            let _ = self.queue.close();
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

/// A request that was sent, and whose reply is waited for ([`Endpoint::begin_call`](crate::Endpoint::begin_call)).
///
/// When it is dropped, a reply that comes later is thrown away.
#[must_use = "the reply is thrown away when this is dropped"]
pub struct Call {
    inner: Arc<Inner>,
    inbox: Taken,
    /// The process that has the request, as far as that is known.
    has_it: Option<Arc<Peer>>,
    /// It is gone.
    gone: bool,
}

/// Sends a request to an address.
pub(super) fn begin(inner: &Arc<Inner>, to: Address, request: &[u8], deadline: Deadline) -> Result<Call> {
    with_inbox(inner, |envelope| Ok(Some(Arc::clone(&inner.send(to, *envelope, request, deadline)?.owner))))
}

/// Sends a request to a mailbox.
pub(super) fn begin_mailbox(inner: &Arc<Inner>, mailbox: &Queue, request: &[u8], deadline: Deadline) -> Result<Call> {
    with_inbox(inner, |envelope| mailbox.send_with(&envelope.to_bytes(), request, deadline, None).map(|()| None))
}

/// Begins a call, whose request is sent with the envelope that is given: from this thread's inbox.
fn with_inbox(inner: &Arc<Inner>, send: impl FnOnce(&Envelope) -> Result<Option<Arc<Peer>>>) -> Result<Call> {
    let _inside = inner.enter()?;
    let mut inbox = Taken::take(&inner.place)?;
    inbox.throw_away();
    inbox.queue.make_room(ANSWERS)?;
    inbox.number += 1;
    let envelope = Envelope { kind: Kind::Request, from: inner.address, reply_to: inbox.address.serial(), number: inbox.number };
    let has_it = send(&envelope)?;
    Ok(Call { inner: Arc::clone(inner), inbox, has_it, gone: false })
}

/// Does a whole call: it always has something to wait for.
pub(super) fn finish(call: Result<Call>, deadline: Deadline) -> Result<Vec<u8>> {
    call.and_then(|mut call| call.wait_until(deadline)).map_err(|e| match e {
        Error::WouldBlock => Error::TimedOut,
        e => e,
    })
}

impl Call {
    /// Waits for the reply as long as need be.
    ///
    /// # Errors
    ///
    /// `PeerGone` where the process that has the request is gone, or dies while this waits; `NoReply` where it drops the request
    /// without a reply; `Interrupted` by a signal handler: then the call goes on, and can be waited for once more.
    pub fn wait(&mut self) -> Result<Vec<u8>> {
        self.wait_until(Deadline::Never)
    }

    /// Waits for the reply no longer than `timeout` (monotonic clock). A timeout of zero is not to wait.
    ///
    /// # Errors
    ///
    /// `TimedOut`; `WouldBlock` for a timeout of zero; the call goes on then, and can be waited for once more. Otherwise as [`Call::wait`].
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<Vec<u8>> {
        self.wait_until(Deadline::after(timeout))
    }

    fn wait_until(&mut self, deadline: Deadline) -> Result<Vec<u8>> {
        let _inside = self.inner.enter()?;
        let inbox = &self.inbox;
        loop {
            let watch = self.has_it.as_deref().filter(|_| !self.gone).map(Peer::watch);
            let watch = watch.as_ref().map(|watch| watch as &dyn Watch);
            let deadline = if self.gone { Deadline::Now } else { deadline };
            match waiting(deadline, |deadline| recv_from(&inbox.queue, deadline, watch)) {
                Ok((reply, Some(envelope))) if envelope.number == inbox.number => match envelope.kind {
                    Kind::Reply => return Ok(reply),
                    Kind::NoReply => return Err(Error::NoReply),
                    Kind::Taken => {
                        self.has_it = Some(Arc::new(Peer::new(&inbox.place, envelope.from.identity(), envelope.reply_to)));
                        self.gone = false;
                    }
                    // Whatever it is, it does not keep us from looking at the time.
                    Kind::Message | Kind::Request => drop(deadline.left(LOOK)?),
                },
                Ok(_) => drop(deadline.left(LOOK)?),
                Err(_) if self.gone => return Err(Error::PeerGone),
                // It may have replied before it died, and after we looked.
                Err(Error::PeerGone) => self.gone = true,
                Err(e) => return Err(e),
            }
        }
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").finish_non_exhaustive()
    }
}
