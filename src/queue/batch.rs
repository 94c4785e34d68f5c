//! Many messages in one call.

use std::mem::MaybeUninit;
use std::ops::Index;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::queue::store::{Messages, Sink};
use crate::queue::{Queue, attached};
use crate::time::Deadline;

/// Messages that [`Queue::recv_many`] received, one after the other in one piece of memory. It is used again and again: once it
/// has grown, receiving into it allocates nothing.
///
/// ```
/// # fn main() -> rsipc::Result<()> {
/// # let namespace = rsipc::Namespace::at(std::env::temp_dir().join(format!("rsipc-doc-batch-{}", std::process::id())));
/// let samples = rsipc::Queue::create(namespace.name("samples"), &rsipc::QueueOptions::new())?;
/// assert_eq!(samples.send_many(&[[1, 2], [3, 4], [5, 6]])?, 3);
/// let mut batch = rsipc::Batch::new();
/// assert_eq!(samples.recv_many(&mut batch, 100)?, 3);
/// assert_eq!(batch.iter().collect::<Vec<_>>(), [[1, 2], [3, 4], [5, 6]]);
/// assert_eq!(batch[1], [3, 4]);
/// # namespace.unlink("samples")?;
/// # std::fs::remove_dir_all(namespace.dir()?).ok();
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Where each message ends in `bytes`.
    ends: Vec<usize>,
}

impl Batch {
    /// A batch with no messages, which has no memory yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), ends: Vec::new() }
    }

    /// How many messages there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The message number `index`, from 0 on; None where there are not so many. `batch[index]` panics then.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(&self.bytes[start..end])
    }

    /// The messages, in the order in which they were received.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> + '_ {
        let mut start = 0;
        self.ends.iter().map(move |&end| &self.bytes[std::mem::replace(&mut start, end)..end])
    }

    /// Forgets the messages, and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

impl Index<usize> for Batch {
    type Output = [u8];

    fn index(&self, index: usize) -> &[u8] {
        self.get(index).unwrap_or_else(|| panic!("message {index} of a batch of {}", self.len()))
    }
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Sink for Batch {
    #[inline]
    fn space(&mut self, len: usize) -> Result<&mut [MaybeUninit<u8>]> {
        let got = self.bytes.try_reserve(len).and_then(|()| self.ends.try_reserve(1));
        got.map_err(|_| no_memory(len))?;
        Ok(self.bytes.spare_capacity_mut())
    }
}

#[cold]
fn no_memory(len: usize) -> Error {
    Error::NoMemory(format!("receiving a message of {len} bytes into a batch"))
}

impl Messages for Batch {
    #[inline]
    fn keep(&mut self, len: usize) {
        let end = self.bytes.len() + len;
        // SAFETY: `space` had so much room, and the message was copied there.
        unsafe { self.bytes.set_len(end) };
        self.ends.push(end);
    }
}

impl Queue {
    /// Sends messages in their order, and waits for room (in a rendezvous, for receivers that take them) until all are sent. Says
    /// how many it sent.
    ///
    /// Each message is sent by itself, as with [`Queue::send`]: who receives may have the first before the last is sent, and messages of
    /// others may come in between. What it saves is the price of a call for each: most of all where messages are short.
    ///
    /// Less than all are sent where something kept it from sending the next: that is no error then, and is told by the next call. If this
    /// process dies inside the call, the first so many of the messages are in the queue, each of them whole, and the others are not.
    ///
    /// # Errors
    ///
    /// `MessageTooLong`, which says which one it is, before anything is sent. Otherwise as [`Queue::send`], where the first was not sent.
    ///
    /// # Panics
    ///
    /// If a message's `as_ref` does: then the first so many are sent, as above.
    #[inline]
    pub fn send_many<M: AsRef<[u8]>>(&self, messages: &[M]) -> Result<usize> {
        self.send_many_until(messages, Deadline::Never)
    }

    /// Sends as many of the messages as there is room for (in a rendezvous, as receivers wait for at this moment). Says how many
    /// it sent. As [`Queue::send_many`] otherwise.
    ///
    /// # Errors
    ///
    /// `WouldBlock` where there is room for none; otherwise as [`Queue::send_many`].
    #[inline]
    pub fn try_send_many<M: AsRef<[u8]>>(&self, messages: &[M]) -> Result<usize> {
        self.send_many_until(messages, Deadline::Now)
    }

    /// Sends messages in their order, and waits no longer than `timeout` in all for room (monotonic clock). Says how many it
    /// sent. A timeout of zero is not to wait. As [`Queue::send_many`] otherwise.
    ///
    /// # Errors
    ///
    /// `TimedOut` where none was sent; `WouldBlock` for a timeout of zero; otherwise as [`Queue::send_many`].
    #[inline]
    pub fn send_many_timeout<M: AsRef<[u8]>>(&self, messages: &[M], timeout: Duration) -> Result<usize> {
        self.send_many_until(messages, Deadline::after(timeout))
    }

    #[inline]
    fn send_many_until<M: AsRef<[u8]>>(&self, messages: &[M], deadline: Deadline) -> Result<usize> {
        self.act_as(attached::SENDS)?;
        let send = |watch: Option<&dyn super::Watch>| self.store.send_many(messages, deadline, watch);
        self.with_peers(attached::RECEIVES, send).inspect_err(|e| self.send_readiness.after(e))
    }

    /// Receives the next message, and waits for it as long as need be; and with it those behind it that are there, up to `max` in
    /// all. They replace what was in `batch`. Says how many they are.
    ///
    /// Each message is received by itself, as with [`Queue::recv`]: other receivers may get some in between. If this process dies inside
    /// the call, it has taken the first so many of the messages with it, and the others are in the queue.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a `max` of 0; otherwise as [`Queue::recv`]. Nothing is taken then, and the batch is empty. What keeps it from
    /// taking more than the first is no error, and is told by the next call.
    #[inline]
    pub fn recv_many(&self, batch: &mut Batch, max: usize) -> Result<usize> {
        self.recv_many_until(batch, max, Deadline::Never)
    }

    /// Receives the messages that are there, up to `max`. As [`Queue::recv_many`] otherwise.
    ///
    /// # Errors
    ///
    /// `WouldBlock` where there is none; otherwise as [`Queue::recv_many`].
    #[inline]
    pub fn try_recv_many(&self, batch: &mut Batch, max: usize) -> Result<usize> {
        self.recv_many_until(batch, max, Deadline::Now)
    }

    /// Receives up to `max` messages, and waits no longer than `timeout` for the first (monotonic clock). A timeout of zero is
    /// not to wait. As [`Queue::recv_many`] otherwise.
    ///
    /// # Errors
    ///
    /// `TimedOut`; `WouldBlock` for a timeout of zero; otherwise as [`Queue::recv_many`].
    #[inline]
    pub fn recv_many_timeout(&self, batch: &mut Batch, max: usize, timeout: Duration) -> Result<usize> {
        self.recv_many_until(batch, max, Deadline::after(timeout))
    }

    fn recv_many_until(&self, batch: &mut Batch, max: usize, deadline: Deadline) -> Result<usize> {
        batch.clear();
        self.recv_many_into(batch, max, deadline)
    }

    /// As [`Queue::recv_many`], to wherever the messages go.
    pub(crate) fn recv_many_into(&self, into: &mut impl Messages, max: usize, deadline: Deadline) -> Result<usize> {
        if max == 0 {
            return Err(Error::invalid("a batch of 0 messages cannot be received: the most must be at least 1"));
        }
        self.act_as(attached::RECEIVES)?;
        let recv = |watch: Option<&dyn super::Watch>| self.store.recv_many(into, max, deadline, watch);
        self.with_peers(attached::SENDS, recv).inspect_err(|e| self.readiness.after(e))
    }
}
