//! Messages that are written where they are sent from.

use std::ptr::NonNull;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::queue::in_place::Holding;
use crate::queue::{Queue, attached};
use crate::sys::memory;
use crate::time::Deadline;

/// Memory of the queue, lent to be filled with a message and sent, without a copy.
///
/// It is this process's until it is sent or dropped. Dropping it gives the memory back, and nothing is sent; so does the end of the
/// process, at whatever instruction, and exec. Its bytes are at first whatever an earlier message left there.
///
/// It may be filled, sent and dropped by any thread. A child of fork has none of its parent's loans: sending one fails there, and dropping
/// one does nothing. Once the queue is shut down sending fails with `Closed`.
#[must_use = "a loan that is dropped is not sent"]
pub struct Loan<'a> {
    queue: &'a Queue,
    held: Holding,
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: it is the only one in this process that reaches these bytes, and changes them through `&mut` alone.
unsafe impl Send for Loan<'_> {}
// SAFETY: as above.
unsafe impl Sync for Loan<'_> {}

/// A loan that was not sent, and why. `?` makes the error of it, and gives the memory back.
///
/// ```
/// # fn main() -> rsipc::Result<()> {
/// # let namespace = rsipc::Namespace::at(std::env::temp_dir().join(format!("rsipc-doc-not-sent-{}", std::process::id())));
/// use rsipc::{Error, NotSent, Queue, QueueOptions};
///
/// let frames = Queue::create(namespace.name("frames"), &QueueOptions::new().capacity(1).max_message(1 << 20))?;
/// frames.loan(1 << 20)?.send()?;
/// let NotSent { loan, error } = frames.loan(1 << 20)?.try_send().unwrap_err();
/// assert_eq!(error, Error::WouldBlock);
/// frames.recv_view()?;
/// loan.send()?; // Now there is room.
/// # std::fs::remove_dir_all(namespace.dir()?).ok();
/// # Ok(())
/// # }
/// ```
pub struct NotSent<'a> {
    /// The loan, to be sent again, or dropped.
    pub loan: Loan<'a>,
    /// What the attempt failed with.
    pub error: Error,
}

impl Queue {
    /// Lends memory for a message of `len` bytes, and waits for it as long as need be. Lending and [sending](Loan::send) take the
    /// same time for messages of any length: nothing is copied, and memory that was lent or viewed once stays the queue's, for the messages
    /// after it, as long as there is the queue.
    ///
    /// As many messages can be lent, received as [views](Queue::recv_view) and out on lease at a time as the queue was made for with
    /// [`QueueOptions::leases`](crate::QueueOptions::leases), beside those that wait (in a queue for messages of up to 4096 bytes, those
    /// that wait and were sent so are among them). While there are, `loan` waits: for a message to be received, a view or a loan to be
    /// dropped, or its process to die. It never copies instead. A loan that waits for room in its `send` keeps its memory; so where
    /// receivers take messages on lease, let there be more leases than loans.
    ///
    /// ```
    /// # fn main() -> rsipc::Result<()> {
    /// # let namespace = rsipc::Namespace::at(std::env::temp_dir().join(format!("rsipc-doc-loan-{}", std::process::id())));
    /// let options = rsipc::QueueOptions::new().capacity(2).max_message(64 << 20).leases(2);
    /// let frames = rsipc::Queue::create(namespace.name("frames"), &options)?;
    /// let mut frame = frames.loan(1 << 20)?;
    /// frame.write(0, b"pixels")?;
    /// frame.send()?;
    ///
    /// let frame = frames.recv_view()?;
    /// let mut pixels = [0; 6];
    /// frame.read(0, &mut pixels)?;
    /// assert_eq!((frame.len(), &pixels), (1 << 20, b"pixels"));
    /// # drop(frame);
    /// # namespace.unlink("frames")?;
    /// # std::fs::remove_dir_all(namespace.dir()?).ok();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `MessageTooLong`; `Closed` once the queue is shut down; `NoSpace` where there is no memory for so many bytes;
    /// `Unsupported` for an unbounded queue, and for one that was made for no leases and short messages; `Interrupted` by a
    /// signal handler; `Corrupted`. Nothing is lent then.
    pub fn loan(&self, len: usize) -> Result<Loan<'_>> {
        self.loan_until(len, Deadline::Never)
    }

    /// Lends memory for a message of `len` bytes if some is free.
    ///
    /// # Errors
    ///
    /// `WouldBlock` where none is; otherwise as [`Queue::loan`].
    pub fn try_loan(&self, len: usize) -> Result<Loan<'_>> {
        self.loan_until(len, Deadline::Now)
    }

    /// Lends memory for a message of `len` bytes, and waits no longer than `timeout` for it (monotonic clock). A timeout of zero is not to
    /// wait.
    ///
    /// # Errors
    ///
    /// `TimedOut`; `WouldBlock` for a timeout of zero; otherwise as [`Queue::loan`].
    pub fn loan_timeout(&self, len: usize, timeout: Duration) -> Result<Loan<'_>> {
        self.loan_until(len, Deadline::after(timeout))
    }

    fn loan_until(&self, len: usize, deadline: Deadline) -> Result<Loan<'_>> {
        let (held, start) = self.lend(len, deadline)?;
        Ok(Loan { queue: self, held, start, len })
    }

    /// As [`Queue::loan`], for those who keep it themselves.
    pub(crate) fn lend(&self, len: usize, deadline: Deadline) -> Result<(Holding, NonNull<u8>)> {
        self.act_as(attached::SENDS)?;
        self.show_life();
        let held = match self.store.lend_simply(len) {
            Some(held) => self.store.shared.checked(Ok(held))?,
            None => self.with_peers(attached::RECEIVES, |watch| self.store.lend(len, deadline, watch))?,
        };
        let blocks = &self.store.blocks;
        Ok((held, blocks.data().at(blocks.offset(held.block, 0), len)?))
    }

    /// Sends a loan. It stays lent where that fails.
    pub(crate) fn send_held(&self, held: &Holding, len: usize, deadline: Deadline) -> Result<()> {
        let sent = self.with_peers(attached::RECEIVES, |watch| self.store.send_held(held, len, deadline, watch));
        sent.inspect_err(|e| self.send_readiness.after(e))
    }

    /// Gives back what a loan or a view has.
    pub(crate) fn release_held(&self, held: &Holding) -> Result<()> {
        self.store.release_held(held)
    }
}

impl<'a> Loan<'a> {
    /// How many bytes it has, which is how long the message will be.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where its bytes begin: at a multiple of 64, and of 4096 in a queue for messages of more than 4096 bytes (a queue in a region:
    /// counted from the region's beginning).
    ///
    /// The pointer is valid for [`Loan::len`] bytes, to be read and written, until the loan is sent or dropped. Other processes that have
    /// the queue open can change the bytes, though none does that keeps to this library; so where they are not to be trusted, make no Rust
    /// reference to them.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Copies `bytes` to `offset`.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` where they do not all have room; nothing is copied then. `Corrupted` where the queue's file was cut short
    /// ([`catch_truncation`](crate::catch_truncation)).
    pub fn write(&mut self, offset: usize, bytes: &[u8]) -> Result<()> {
        if offset.checked_add(bytes.len()).is_none_or(|end| end > self.len) {
            let (count, len) = (bytes.len(), self.len);
            return Err(Error::invalid(format!("{count} bytes at offset {offset} do not fit into the {len} bytes of the loan")));
        }
        // SAFETY: the range was checked; the bytes are there for as long as the loan.
        unsafe { memory::copy(NonNull::from(bytes).cast(), self.start.add(offset), bytes.len()) };
        self.queue.store.shared.checked(Ok(()))
    }

    /// Makes it shorter: the message will be its first `len` bytes. Does nothing where it is not longer.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Sends the message, and waits for room (in a rendezvous, for a receiver that takes it) as long as need be. Nothing is copied.
    ///
    /// # Errors
    ///
    /// [`NotSent`], with the loan to try again, and one of `Closed` once the queue is shut down; `NotOwner` in a child of fork;
    /// `Interrupted` by a signal handler;
    /// `Disconnected`; `Corrupted`.
    pub fn send(self) -> std::result::Result<(), NotSent<'a>> {
        self.send_until(Deadline::Never)
    }

    /// Sends the message if there is room (in a rendezvous, if a receiver waits for one at this moment).
    ///
    /// # Errors
    ///
    /// [`NotSent`] with `WouldBlock` where there is none; otherwise as [`Loan::send`].
    pub fn try_send(self) -> std::result::Result<(), NotSent<'a>> {
        self.send_until(Deadline::Now)
    }

    /// Sends the message, and waits no longer than `timeout` for room (monotonic clock). A timeout of zero is not to wait.
    ///
    /// # Errors
    ///
    /// [`NotSent`] with `TimedOut`, or `WouldBlock` for a timeout of zero; otherwise as [`Loan::send`].
    pub fn send_timeout(self, timeout: Duration) -> std::result::Result<(), NotSent<'a>> {
        self.send_until(Deadline::after(timeout))
    }

    fn send_until(self, deadline: Deadline) -> std::result::Result<(), NotSent<'a>> {
        match self.queue.send_held(&self.held, self.len, deadline) {
            Ok(()) => {
                // What it had is the queue's.
                std::mem::forget(self);
                Ok(())
            }
            Err(error) => Err(NotSent { loan: self, error }),
        }
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        // It fails in a child of fork, where it must, and where the memory was scribbled over.
        let _ = self.queue.release_held(&self.held);
    }
}

impl std::fmt::Debug for Loan<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loan").field("len", &self.len).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for NotSent<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NotSent").field("loan", &self.loan).field("error", &self.error).finish()
    }
}

impl std::fmt::Display for NotSent<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for NotSent<'_> {}

impl From<NotSent<'_>> for Error {
    fn from(not_sent: NotSent<'_>) -> Self {
        not_sent.error
    }
}
