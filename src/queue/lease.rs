//! Messages on lease: received, but not gone before the work is done.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::queue::store::{LeaseTicket, Received, Take};
use crate::queue::{Queue, attached};
use crate::time::Deadline;

/// A message on lease: it is this process's until it is [finished](Lease::finish). If the process dies, or drops the lease, the
/// message goes back to the front of the queue, for the next receiver.
///
/// It may be finished or dropped by any thread of the process. When the process calls exec, its messages on lease come back as if
/// it had died.
#[must_use = "a lease that is dropped gives its message back to the queue"]
pub struct Lease<'a> {
    queue: &'a Queue,
    message: Vec<u8>,
    ticket: LeaseTicket,
    /// Finished, or given back.
    over: bool,
}

impl Queue {
    /// Receives the next message on lease, and waits for one as long as need be: it is not gone before it is finished, and comes
    /// back to the front of the queue, to be received by another, if this process dies before.
    ///
    /// ```
    /// # fn main() -> rsipc::Result<()> {
    /// # let namespace = rsipc::Namespace::at(std::env::temp_dir().join(format!("rsipc-doc-lease-{}", std::process::id())));
    /// let jobs = rsipc::Queue::create(namespace.name("jobs"), &rsipc::QueueOptions::new())?;
    /// jobs.send(b"a job")?;
    /// drop(jobs.lease()?); // given back, as if the worker had died
    /// let job = jobs.lease()?;
    /// assert_eq!((job.message(), job.deliveries()), (&b"a job"[..], 2));
    /// job.finish()?;
    /// assert!(jobs.is_empty()?);
    /// # namespace.unlink("jobs")?;
    /// # std::fs::remove_dir_all(namespace.dir()?).ok();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Queue::recv`]. It also waits while as many messages are out on lease as the queue was made for
    /// ([`QueueOptions::leases`](crate::QueueOptions::leases)); `Unsupported` where it was made for none.
    pub fn lease(&self) -> Result<Lease<'_>> {
        self.lease_until(Deadline::Never)
    }

    /// Receives the next message on lease if there is one.
    ///
    /// # Errors
    ///
    /// `WouldBlock` where there is none, or no more may be out on lease; otherwise as [`Queue::lease`].
    pub fn try_lease(&self) -> Result<Lease<'_>> {
        self.lease_until(Deadline::Now)
    }

    /// Receives the next message on lease, and waits no longer than `timeout` for one (monotonic clock). A timeout of zero is not to wait.
    ///
    /// # Errors
    ///
    /// `TimedOut`; `WouldBlock` for a timeout of zero; otherwise as [`Queue::lease`].
    pub fn lease_timeout(&self, timeout: Duration) -> Result<Lease<'_>> {
        self.lease_until(Deadline::after(timeout))
    }

    fn lease_until(&self, deadline: Deadline) -> Result<Lease<'_>> {
        let mut message = Vec::new();
        let (len, ticket) = self.lease_into(&mut message, deadline)?;
        // SAFETY: `Sink::space` reserved `len` bytes, and the message was copied there.
        unsafe { message.set_len(len) };
        Ok(Lease { queue: self, message, ticket, over: false })
    }

    /// As [`Queue::lease`], for those who keep the ticket themselves.
    pub(crate) fn lease_into(&self, sink: &mut impl super::Sink, deadline: Deadline) -> Result<(usize, LeaseTicket)> {
        let (received, ticket) = self.lease_with(sink, deadline)?;
        Ok((received.len, ticket))
    }

    /// As [`Queue::lease_into`], with the message's envelope.
    pub(crate) fn lease_with(&self, sink: &mut impl super::Sink, deadline: Deadline) -> Result<(Received, LeaseTicket)> {
        self.act_as(attached::RECEIVES)?;
        self.show_life();
        let received = self.with_peers(attached::SENDS, |watch| self.store.recv(sink, Take::OnLease, deadline, watch));
        let received = received.inspect_err(|e| self.readiness.after(e))?;
        let block = received.block.ok_or(Error::Corrupted("a message on lease is in no block"))?;
        let head = self.store.blocks.head(block)?;
        let (order, deliveries) = (head.order.load(super::Relaxed), head.deliveries.load(super::Relaxed));
        Ok((received, LeaseTicket { block, order, deliveries }))
    }

    /// Ends a lease.
    pub(crate) fn end_lease(&self, ticket: &LeaseTicket, done: bool) -> Result<()> {
        self.store.finish(ticket, done)
    }
}

impl Lease<'_> {
    /// The message.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// How many times the message has been handed out on lease, this time included: more than 1 says that somebody died over it,
    /// or gave it back.
    #[must_use]
    pub fn deliveries(&self) -> u32 {
        self.ticket.deliveries
    }

    /// Says that the work is done: the message is gone from the queue.
    ///
    /// # Errors
    ///
    /// `NotOwner` in a child of fork, which does not have its parent's leases; `Corrupted`.
    pub fn finish(mut self) -> Result<()> {
        self.over = true;
        self.queue.end_lease(&self.ticket, true)
    }

    /// Gives the message back, to the front of the queue, for the next receiver. Dropping the lease does the same.
    ///
    /// # Errors
    ///
    /// As [`Lease::finish`].
    pub fn give_back(mut self) -> Result<()> {
        self.over = true;
        self.queue.end_lease(&self.ticket, false)
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if !self.over {
            // It fails in a child of fork, where it must, and where the memory was scribbled over.
            let _ = self.queue.end_lease(&self.ticket, false);
        }
    }
}

impl std::fmt::Debug for Lease<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease")
            .field("len", &self.message.len())
            .field("deliveries", &self.ticket.deliveries)
            .finish_non_exhaustive()
    }
}
