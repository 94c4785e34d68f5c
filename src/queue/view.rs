//! Messages that are read where they were received.

use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::queue::in_place::Holding;
use crate::queue::options::ENVELOPE;
use crate::queue::store::Take;
use crate::queue::{Queue, attached};
use crate::sys::memory;
use crate::time::Deadline;

/// A message that was received, and is read where it lies, without a copy.
///
/// The message is gone from the queue, as after [`Queue::recv`]; its memory is this process's until the view is dropped. Where the process
/// ends before, or calls exec, the memory is given back, and the message is gone with it. Any number of views can be held at the same time,
/// as far as there is memory: see [`Queue::loan`].
///
/// What lies where: a message that was sent by a [loan](Queue::loan), one that is longer than 4096 bytes in a queue with a capacity, and
/// any message in a rendezvous, is read in the queue's memory. Any other one was short when it was sent, or lay in the backlog of an
/// unbounded queue, and the view has a copy of it of its own.
///
/// It may be read and dropped by any thread. In a child of fork its bytes are whatever its parent, and others, make of them; dropping it
/// does nothing there.
pub struct MessageView<'a> {
    queue: &'a Queue,
    /// None where the message is `copy`.
    held: Option<Holding>,
    start: NonNull<u8>,
    len: usize,
    /// Never changed: `start` points there.
    _copy: Vec<u8>,
}

// SAFETY: nobody in this process changes its bytes.
unsafe impl Send for MessageView<'_> {}
// SAFETY: as above.
unsafe impl Sync for MessageView<'_> {}

/// A message that was received in place, for those who keep it themselves.
pub(crate) struct Viewed {
    pub(crate) held: Option<Holding>,
    pub(crate) start: NonNull<u8>,
    pub(crate) len: usize,
    pub(crate) copy: Vec<u8>,
}

impl Queue {
    /// Receives the next message to be read where it lies, and waits for one as long as need be. [`MessageView`] says when that is without
    /// a copy.
    ///
    /// # Errors
    ///
    /// As [`Queue::recv`].
    pub fn recv_view(&self) -> Result<MessageView<'_>> {
        self.recv_view_until(Deadline::Never)
    }

    /// Receives the next message to be read where it lies, if there is one.
    ///
    /// # Errors
    ///
    /// As [`Queue::try_recv`].
    pub fn try_recv_view(&self) -> Result<MessageView<'_>> {
        self.recv_view_until(Deadline::Now)
    }

    /// Receives the next message to be read where it lies, and waits no longer than `timeout` for one (monotonic clock). A timeout of zero
    /// is not to wait.
    ///
    /// # Errors
    ///
    /// As [`Queue::recv_timeout`].
    pub fn recv_view_timeout(&self, timeout: Duration) -> Result<MessageView<'_>> {
        self.recv_view_until(Deadline::after(timeout))
    }

    fn recv_view_until(&self, deadline: Deadline) -> Result<MessageView<'_>> {
        let Viewed { held, start, len, copy } = self.view(deadline)?;
        Ok(MessageView { queue: self, held, start, len, _copy: copy })
    }

    /// As [`Queue::recv_view`], for those who keep it themselves.
    pub(crate) fn view(&self, deadline: Deadline) -> Result<Viewed> {
        self.act_as(attached::RECEIVES)?;
        self.show_life();
        let mut copy = Vec::new();
        let received = self.with_peers(attached::SENDS, |watch| self.store.recv(&mut copy, Take::InPlace, deadline, watch));
        let received = received.inspect_err(|e| self.readiness.after(e))?;
        let len = received.len;
        let Some(held) = self.store.holding(&received)? else {
            // SAFETY: `Sink::space` reserved `len` bytes, and the message was copied there.
            unsafe { copy.set_len(len) };
            let start = NonNull::from(&mut *copy).cast();
            return Ok(Viewed { held: None, start, len, copy });
        };
        let blocks = &self.store.blocks;
        let from = if received.envelope.is_some() { ENVELOPE } else { 0 };
        let start = blocks.data().at(blocks.offset(held.block, from), len)?;
        Ok(Viewed { held: Some(held), start, len, copy })
    }
}

impl MessageView<'_> {
    /// How long the message is, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where the message's bytes begin.
    ///
    /// The pointer is valid for [`MessageView::len`] bytes, to be read, until the view is dropped. Other processes that have the queue open
    /// can change the bytes, though none does that keeps to this library; so where they are not to be trusted, make no Rust reference to
    /// them, and check what was read, not what is there.
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        self.start.as_ptr()
    }

    /// Copies the bytes from `offset` on into `into`.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` where the message has not so many; nothing is copied then. `Corrupted` where the queue's file was cut short
    /// ([`catch_truncation`](crate::catch_truncation)).
    pub fn read(&self, offset: usize, into: &mut [u8]) -> Result<()> {
        if offset.checked_add(into.len()).is_none_or(|end| end > self.len) {
            let (count, len) = (into.len(), self.len);
            return Err(Error::invalid(format!(
                "{count} bytes at offset {offset} are not all within the {len} bytes of the message"
            )));
        }
        // SAFETY: the range was checked; the bytes are there for as long as the view.
        unsafe { memory::copy(self.start.add(offset), NonNull::from(&mut *into).cast(), into.len()) };
        self.queue.store.shared.checked(Ok(()))
    }

    /// A copy of the message.
    ///
    /// # Errors
    ///
    /// `NoMemory`; `Corrupted` as for [`MessageView::read`].
    pub fn to_vec(&self) -> Result<Vec<u8>> {
        let mut message = Vec::new();
        let into = super::Sink::space(&mut message, self.len)?;
        // SAFETY: there is so much room; the bytes are there for as long as the view.
        unsafe { memory::copy(self.start, NonNull::from(&mut *into).cast::<MaybeUninit<u8>>().cast(), self.len) };
        // SAFETY: they were copied there.
        unsafe { message.set_len(self.len) };
        self.queue.store.shared.checked(Ok(message))
    }
}

impl Drop for MessageView<'_> {
    fn drop(&mut self) {
        if let Some(held) = &self.held {
            // As for a loan.
            let _ = self.queue.release_held(held);
        }
    }
}

impl std::fmt::Debug for MessageView<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MessageView").field("len", &self.len).finish_non_exhaustive()
    }
}
