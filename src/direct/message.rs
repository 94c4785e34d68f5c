//! A message that was received, and the reply to it.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::direct::address::Address;
use crate::direct::envelope::{Envelope, Kind};
use crate::direct::inner::{Inner, Inside};
use crate::direct::owed::Owed;
use crate::error::{Error, Result};
use crate::sys::thread::forks;
use crate::time::Deadline;

/// A message that an [`Endpoint`](crate::Endpoint) received: its bytes, who sent it, and whether it waits for a reply.
///
/// It can be handed to another thread, and be kept while others are received: replies may be given in any order, also when the
/// endpoint has been closed. A message that wants a reply and is dropped without one ends its sender's wait with
/// [`Error::NoReply`]; where this process dies the wait ends with [`Error::PeerGone`]. (Where this process lacks the descriptors
/// or the memory to tell it, it is told within 100 ms of the moment when there are some, also if the endpoint is closed by then.)
pub struct Message {
    bytes: Vec<u8>,
    from: Address,
    /// The request that is to be answered.
    request: Option<Envelope>,
    inner: Arc<Inner>,
}

impl Message {
    pub(super) fn new(inner: &Arc<Inner>, bytes: Vec<u8>, envelope: Option<Envelope>) -> Self {
        let request = envelope.filter(|envelope| envelope.wants_reply_at().is_some());
        Self { bytes, from: sender(envelope), request, inner: Arc::clone(inner) }
    }

    pub(super) fn set_bytes(&mut self, bytes: Vec<u8>) {
        self.bytes = bytes;
    }

    /// The address of the endpoint that sent it. (A process that does not keep to the rules may have sent it from nobody: to send to that
    /// address is `PeerGone`.)
    #[must_use]
    pub fn from(&self) -> Address {
        self.from
    }

    /// The message. A `Message` can be used as a slice of bytes as well.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether its sender waits for a reply that has not been given yet.
    #[must_use]
    pub fn wants_reply(&self) -> bool {
        self.request.is_some()
    }

    /// Replies to it; never waits for the caller. Where the caller is gone, or has stopped waiting, nobody reads the reply, which
    /// is no error.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` where its sender waits for no reply, or has got one; `MessageTooLong`; `WouldBlock` where the caller's
    /// inbox is held up by a process that was stopped; `LimitReached` where it is full of replies that nobody has fetched (2
    /// GiB); `NoSpace`, `NoMemory` and other errors of the system; `NotOwner` in a child of fork. It still wants a reply then
    /// (but for the first).
    pub fn reply(&mut self, reply: &[u8]) -> Result<()> {
        let _inside = self.inner.enter()?;
        let Some(request) = &self.request else {
            return Err(Error::invalid("the sender of this message does not wait for a reply, or has got it"));
        };
        answer(&self.inner, request, Kind::Reply, 0, reply)?;
        self.request = None;
        Ok(())
    }
}

/// Who sent it.
pub(super) fn sender(envelope: Option<Envelope>) -> Address {
    envelope.map_or(Address::new(crate::sys::process::Identity(0), 0), |envelope| envelope.from)
}

/// Sends an answer to a request, if somebody is there to get it.
pub(super) fn answer(inner: &Inner, request: &Envelope, kind: Kind, reply_to: u32, reply: &[u8]) -> Result<()> {
    let Some(to) = request.wants_reply_at() else { return Ok(()) };
    let envelope = Envelope { kind, from: inner.address, reply_to, number: request.number };
    match inner.send(to, envelope, reply, Deadline::Now) {
        // What is wrong with the caller's inbox is the caller's affair.
        Err(Error::PeerGone | Error::Corrupted(_) | Error::WrongKind { .. } | Error::WrongVersion { .. }) => Ok(()),
        result => result.map(drop),
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // A child of fork leaves the reply to its parent.
        if let Some(request) = self.request
            && self.inner.forks == forks()
        {
            // None: inside a call already.
            let _inside = Inside::enter();
            Owed::Answer { inner: Arc::clone(&self.inner), request, kind: Kind::NoReply, life: 0 }.give();
        }
    }
}

impl Deref for Message {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("from", &self.from)
            .field("len", &self.bytes.len())
            .field("wants_reply", &self.wants_reply())
            .finish()
    }
}
