//! Direct messages: a process's own address, to which others send, and calls that wait for a reply. The public face.
//!
//! An endpoint's inbox is a queue with an owner (`queue`), in a file that its address names (`place`). Each message has an
//! `envelope` that says who sent it. `inner` is what an endpoint's messages and calls share with it. Who waits for room in an
//! inbox, or for a reply, sleeps on the life of its owner, too (`sync::lives`, `target`).

mod address;
mod call;
mod envelope;
pub(crate) mod inner;
mod message;
mod owed;
mod place;
mod target;

use std::fmt;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use crate::counters::Counters;
use crate::error::{Error, Result};
use crate::name::{Name, Namespace};
use crate::queue::{Queue, QueueOptions, Received, Sink, Take};
use crate::sys::process::me;
use crate::sys::thread::{Uncancelled, forks};
use crate::time::Deadline;
use envelope::{Envelope, Kind};
use inner::{Inner, Inside, recv_from};
use owed::{Owed, waiting};

pub use address::Address;
pub use call::Call;
pub use message::Message;

/// A process's own inbox, with its [`Address`]: others send to it, and every message says who sent it.
///
/// Any process that knows the address sends to it: from a message that it received, by a name ([`Endpoint::find`]) or by a process id
/// ([`Endpoint::address_of`]). A *call* is a message that waits for its reply ([`Endpoint::call`], [`Message::reply`]).
///
/// A process may have several endpoints. The first in a namespace has the serial number 0, and is the one that is found by the process id.
/// When an endpoint is dropped its address and its name are gone, and what is in its inbox; calls that nobody has answered end with
/// [`Error::NoReply`].
///
/// All methods may be called from any thread; several threads may receive. An endpoint belongs to the process that opened it: in a child of
/// fork every call on it is [`Error::NotOwner`]; a child opens its own. When the process calls exec, that is for others as if it had died.
///
/// # When a process dies
///
/// Sending to a process that is gone is [`Error::PeerGone`] at once, also for those who wait for room in its inbox or for its
/// reply, and its address and name go when somebody comes upon them. What was in its inbox is gone with it. A process that gets
/// the same process id is never taken for it. A message whose sender dies inside `send` arrives whole or not at all; a request
/// whose sender has died can still be received, and answered, which nobody reads.
///
/// ```
/// # fn main() -> rsipc::Result<()> {
/// # let namespace = rsipc::Namespace::at(format!("/dev/shm/rsipc-doc-endpoint-{}", std::process::id()));
/// use rsipc::{Endpoint, QueueOptions};
///
/// let server = Endpoint::open_named(namespace.name("squares"), &QueueOptions::new())?;
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         let mut request = server.recv()?;
///         request.reply(&[request[0] * request[0]])
///     });
///     let client = Endpoint::open(&namespace, &QueueOptions::new())?;
///     let squares = client.find("squares")?;
///     assert_eq!(client.call(squares, &[7])?, [49]);
///
///     client.send(client.address(), b"to myself")?;
///     let message = client.recv()?;
///     assert_eq!((message.from(), message.bytes()), (client.address(), &b"to myself"[..]));
///     Ok::<(), rsipc::Error>(())
/// })?;
/// # drop(server);
/// # std::fs::remove_dir_all(namespace.dir()?).ok();
/// # Ok(())
/// # }
/// ```
pub struct Endpoint {
    inner: Arc<Inner>,
    name: Option<String>,
}

impl Endpoint {
    /// Opens an endpoint in a namespace. `options` are those of its inbox: how many messages of what length wait in it before senders
    /// wait.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for options out of range; `NoSpace`, `NoMemory`, `PermissionDenied` and other errors of the system.
    pub fn open(namespace: &Namespace, options: &QueueOptions) -> Result<Self> {
        let inner = Inner::open(&namespace.name(""), options)?;
        Ok(Self { inner: Arc::new(inner), name: None })
    }

    /// Opens an endpoint that others find by a name, in the name's namespace. The name of an endpoint whose process is gone is free.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` where a living process's endpoint, or another object, has the name; `InvalidArgument` for an impossible
    /// name; otherwise as [`Endpoint::open`].
    pub fn open_named<'a>(name: impl Into<Name<'a>>, options: &QueueOptions) -> Result<Self> {
        let name = name.into();
        let path = name.path()?;
        let inner = Inner::open(&name, options)?;
        let mut endpoint = Self { inner: Arc::new(inner), name: None };
        let (place, address) = (&endpoint.inner.place, endpoint.inner.address);
        // die here: the inbox is there without its name, and goes as that of a dead process does.
        if !place.link(address, &path)? {
            place.clear_name(name.as_str());
            if !place.link(address, &path)? {
                return Err(name.already_exists());
            }
        }
        endpoint.name = Some(name.as_str().into());
        Ok(endpoint)
    }

    /// Its address: others send to it for as long as the endpoint is open.
    #[must_use]
    pub fn address(&self) -> Address {
        self.inner.address
    }

    /// The address of the endpoint of that name, in this endpoint's namespace.
    ///
    /// # Errors
    ///
    /// `NotFound` where there is none, or its process is gone; `WrongKind` where the name is that of another object;
    /// `InvalidArgument` for an impossible name; errors of the system.
    pub fn find(&self, name: &str) -> Result<Address> {
        let _uncancelled = Uncancelled::new();
        let _inside = self.inner.enter()?;
        let place = &self.inner.place;
        let full = place.namespace.name(name);
        full.path()?;
        let inbox = Queue::open_owned(&full)?;
        let Some(owner) = inbox.owner() else {
            return Err(Error::WrongKind { expected: "endpoint", found: "queue" });
        };
        if owner.identity.is_gone(me().namespace) {
            place.clear_name(name);
            return Err(full.not_found());
        }
        Ok(Address::new(owner.identity, owner.serial))
    }

    /// The address of the first endpoint of a process (serial number 0), in this endpoint's namespace.
    ///
    /// # Errors
    ///
    /// `NotFound` where the process has none, or is gone; errors of the system.
    pub fn address_of(&self, pid: u32) -> Result<Address> {
        let _uncancelled = Uncancelled::new();
        let _inside = self.inner.enter()?;
        let place = &self.inner.place;
        let mut dead = None;
        for address in place.addresses()? {
            if address.pid() == pid && address.serial() == 0 {
                if !address.identity().is_gone(me().namespace) {
                    return Ok(address);
                }
                dead = Some(address.identity());
            }
        }
        if dead.is_some() {
            place.clear(dead);
        }
        Err(place.namespace.name(&format!("@{pid}")).not_found())
    }

    /// Sends a message to an address, and waits for room in its inbox as long as need be.
    ///
    /// # Errors
    ///
    /// `PeerGone` where the process is gone, or dies while this waits, or has closed the endpoint; `MessageTooLong`; `NoSpace`,
    /// `NoMemory` and `LimitReached` where there is no memory for it; `Interrupted` by a signal handler; `NotOwner` in a child of
    /// fork; `Corrupted`. Nothing is sent then.
    pub fn send(&self, to: Address, message: &[u8]) -> Result<()> {
        self.send_until(to, message, Deadline::Never)
    }

    /// Sends a message to an address if there is room in its inbox.
    ///
    /// # Errors
    ///
    /// `WouldBlock` where there is none; otherwise as [`Endpoint::send`].
    pub fn try_send(&self, to: Address, message: &[u8]) -> Result<()> {
        self.send_until(to, message, Deadline::Now)
    }

    /// Sends a message to an address, and waits no longer than `timeout` for room (monotonic clock). A timeout of zero is not to wait.
    ///
    /// # Errors
    ///
    /// `TimedOut`; `WouldBlock` for a timeout of zero; otherwise as [`Endpoint::send`].
    pub fn send_timeout(&self, to: Address, message: &[u8], timeout: Duration) -> Result<()> {
        self.send_until(to, message, Deadline::after(timeout))
    }

    pub(crate) fn send_until(&self, to: Address, message: &[u8], deadline: Deadline) -> Result<()> {
        let _inside = self.inner.enter()?;
        let envelope = Envelope { kind: Kind::Message, from: self.inner.address, reply_to: 0, number: 0 };
        self.inner.send(to, envelope, message, deadline).map(drop)
    }

    /// Receives the next message, and waits for one as long as need be. Requests are messages, too: [`Message::wants_reply`] tells.
    ///
    /// # Errors
    ///
    /// `Interrupted` by a signal handler; `NoMemory`; `NotOwner` in a child of fork; `Corrupted`. Nothing is taken then.
    pub fn recv(&self) -> Result<Message> {
        self.recv_until(Deadline::Never)
    }

    /// Receives the next message if there is one.
    ///
    /// # Errors
    ///
    /// `WouldBlock` where there is none; otherwise as [`Endpoint::recv`].
    pub fn try_recv(&self) -> Result<Message> {
        self.recv_until(Deadline::Now)
    }

    /// Receives the next message, and waits no longer than `timeout` for one (monotonic clock). A timeout of zero is not to wait.
    ///
    /// # Errors
    ///
    /// `TimedOut`; `WouldBlock` for a timeout of zero; otherwise as [`Endpoint::recv`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Message> {
        self.recv_until(Deadline::after(timeout))
    }

    fn recv_until(&self, deadline: Deadline) -> Result<Message> {
        let _inside = self.inner.enter()?;
        let (bytes, envelope) = waiting(deadline, |deadline| recv_from(&self.inner.inbox, deadline, None))?;
        Ok(Message::new(&self.inner, bytes, envelope))
    }

    /// Receives the next message into `buffer`, and waits for one as long as need be. Says how long it is, and who sent it.
    ///
    /// A request that is received so gets no reply: its sender's wait ends with `NoReply`.
    ///
    /// # Errors
    ///
    /// `BufferTooSmall` where it is longer than the buffer: it stays in the inbox. Otherwise as [`Endpoint::recv`].
    pub fn recv_into(&self, buffer: &mut [u8]) -> Result<(usize, Address)> {
        self.recv_into_until(buffer, Deadline::Never)
    }

    /// Receives the next message into `buffer` if there is one, as [`Endpoint::recv_into`].
    ///
    /// # Errors
    ///
    /// As [`Endpoint::recv_into`] and [`Endpoint::try_recv`].
    pub fn try_recv_into(&self, buffer: &mut [u8]) -> Result<(usize, Address)> {
        self.recv_into_until(buffer, Deadline::Now)
    }

    /// Receives the next message into `buffer`, as [`Endpoint::recv_into`], and waits no longer than `timeout` for one.
    ///
    /// # Errors
    ///
    /// As [`Endpoint::recv_into`] and [`Endpoint::recv_timeout`].
    pub fn recv_into_timeout(&self, buffer: &mut [u8], timeout: Duration) -> Result<(usize, Address)> {
        self.recv_into_until(buffer, Deadline::after(timeout))
    }

    fn recv_into_until(&self, buffer: &mut [u8], deadline: Deadline) -> Result<(usize, Address)> {
        let (len, message) = self.recv_beside(buffer, deadline)?;
        Ok((len, message.from()))
    }

    /// Receives the next message into `buffer`, and gives it without its bytes, to be replied to.
    pub(crate) fn recv_beside(&self, mut buffer: &mut [u8], deadline: Deadline) -> Result<(usize, Message)> {
        let _inside = self.inner.enter()?;
        let mut recv = |deadline| self.inner.inbox.recv_with(&mut buffer, Take::Whole, deadline, None);
        let Received { len, envelope, .. } = waiting(deadline, &mut recv)?;
        Ok((len, Message::new(&self.inner, Vec::new(), envelope.as_ref().and_then(Envelope::from_bytes))))
    }

    /// How many messages wait to be received, at this moment.
    ///
    /// # Errors
    ///
    /// `Corrupted`.
    pub fn len(&self) -> Result<usize> {
        self.inner.inbox.len()
    }

    /// Whether no message waits, at this moment.
    ///
    /// # Errors
    ///
    /// `Corrupted`.
    pub fn is_empty(&self) -> Result<bool> {
        self.inner.inbox.is_empty()
    }

    /// What has happened to its inbox since it was opened: what others sent to it, and what was received. As [`Queue::counters`].
    ///
    /// # Errors
    ///
    /// `Corrupted`.
    pub fn counters(&self) -> Result<Counters> {
        self.inner.inbox.counters()
    }

    /// A descriptor for the program's own event loop: readable while there may be a message. As [`Queue::readiness_fd`].
    ///
    /// # Errors
    ///
    /// As [`Queue::readiness_fd`].
    pub fn readiness_fd(&self) -> Result<BorrowedFd<'_>> {
        self.inner.inbox.readiness_fd()
    }

    /// Where its messages come in.
    pub(crate) fn inbox(&self) -> &Queue {
        &self.inner.inbox
    }

    /// Sends a request to an address, and waits for its reply as long as need be. Any number of threads may do so at the same time.
    ///
    /// # Errors
    ///
    /// `PeerGone` where the process is gone, or dies while this waits; `NoReply` where it drops the request without a reply; `Interrupted`
    /// by a signal handler, also while this waits for the reply; otherwise as [`Endpoint::send`]. Where the wait for the reply ends so, the
    /// request may have been carried out, or may still be.
    pub fn call(&self, to: Address, request: &[u8]) -> Result<Vec<u8>> {
        self.call_until(to, request, Deadline::Never)
    }

    /// Sends a request to an address, and waits no longer than `timeout` for its reply (monotonic clock). A reply that comes later is
    /// thrown away.
    ///
    /// # Errors
    ///
    /// `TimedOut`: the request may have been carried out, or may still be. Otherwise as [`Endpoint::call`].
    pub fn call_timeout(&self, to: Address, request: &[u8], timeout: Duration) -> Result<Vec<u8>> {
        self.call_until(to, request, Deadline::after(timeout))
    }

    fn call_until(&self, to: Address, request: &[u8], deadline: Deadline) -> Result<Vec<u8>> {
        call::finish(call::begin(&self.inner, to, request, deadline), deadline)
    }

    /// Sends a request to an address, and waits no longer than `timeout` for room in its inbox (monotonic clock). The reply is
    /// waited for with what this gives: later, or in several steps.
    ///
    /// ```
    /// # fn main() -> rsipc::Result<()> {
    /// # let namespace = rsipc::Namespace::at(std::env::temp_dir().join(format!("rsipc-doc-begin-call-{}", std::process::id())));
    /// use std::time::Duration;
    ///
    /// use rsipc::{Endpoint, Error, QueueOptions};
    ///
    /// let endpoint = Endpoint::open(&namespace, &QueueOptions::new())?;
    /// let mut call = endpoint.begin_call(endpoint.address(), b"how many?", Duration::from_secs(1))?;
    /// // Meanwhile something else; here it is who replies.
    /// assert_eq!(call.wait_timeout(Duration::ZERO), Err(Error::WouldBlock));
    /// endpoint.recv()?.reply(b"seven")?;
    /// assert_eq!(call.wait()?, b"seven");
    /// # std::fs::remove_dir_all(namespace.dir()?).ok();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Endpoint::send_timeout`].
    pub fn begin_call(&self, to: Address, request: &[u8], timeout: Duration) -> Result<Call> {
        call::begin(&self.inner, to, request, Deadline::after(timeout))
    }

    /// Sends a request to a mailbox, from which any number of servers receive ([`Endpoint::recv_mailbox`]), and waits for the
    /// reply of the one that takes it, as long as need be. The servers' endpoints are in this endpoint's namespace.
    ///
    /// A request stays in the mailbox until a server takes it, also while there is none. A server that dies before its
    /// `recv_mailbox` has returned leaves it to another one.
    ///
    /// ```
    /// # fn main() -> rsipc::Result<()> {
    /// # let namespace = rsipc::Namespace::at(std::env::temp_dir().join(format!("rsipc-doc-mailbox-{}", std::process::id())));
    /// use rsipc::{Endpoint, Queue, QueueOptions};
    ///
    /// let questions = Queue::create(namespace.name("questions"), &QueueOptions::new())?;
    /// let server = Endpoint::open(&namespace, &QueueOptions::new())?;
    /// let client = Endpoint::open(&namespace, &QueueOptions::new())?;
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| server.recv_mailbox(&questions)?.reply(b"seven"));
    ///     assert_eq!(client.call_mailbox(&questions, b"how many?")?, b"seven");
    ///     Ok::<(), rsipc::Error>(())
    /// })?;
    /// # drop((server, client));
    /// # std::fs::remove_dir_all(namespace.dir()?).ok();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `PeerGone` where the server that took it dies before it has replied; `Closed` where the mailbox is shut down; otherwise as
    /// [`Endpoint::call`].
    pub fn call_mailbox(&self, mailbox: &Queue, request: &[u8]) -> Result<Vec<u8>> {
        self.call_mailbox_until(mailbox, request, Deadline::Never)
    }

    /// Sends a request to a mailbox, as [`Endpoint::call_mailbox`], and waits no longer than `timeout` for the reply (monotonic clock).
    ///
    /// # Errors
    ///
    /// As [`Endpoint::call_mailbox`] and [`Endpoint::call_timeout`].
    pub fn call_mailbox_timeout(&self, mailbox: &Queue, request: &[u8], timeout: Duration) -> Result<Vec<u8>> {
        self.call_mailbox_until(mailbox, request, Deadline::after(timeout))
    }

    fn call_mailbox_until(&self, mailbox: &Queue, request: &[u8], deadline: Deadline) -> Result<Vec<u8>> {
        call::finish(call::begin_mailbox(&self.inner, mailbox, request, deadline), deadline)
    }

    /// Sends a request to a mailbox, as [`Endpoint::begin_call`].
    ///
    /// # Errors
    ///
    /// As [`Queue::send_timeout`]; `NotOwner` in a child of fork.
    pub fn begin_call_mailbox(&self, mailbox: &Queue, request: &[u8], timeout: Duration) -> Result<Call> {
        call::begin_mailbox(&self.inner, mailbox, request, Deadline::after(timeout))
    }

    /// Receives the next message from a mailbox, to reply to it if it is a request, and waits for one as long as need be.
    ///
    /// A message that was sent with [`Queue::send`] comes from nobody, and wants no reply. A request that is received with
    /// [`Queue::recv`] cannot be replied to, and its sender waits in vain.
    ///
    /// # Errors
    ///
    /// As [`Queue::lease`]: while it is taken it is on lease. `TooManyFiles`, `NoMemory` and `NoSpace` also where its sender
    /// could not be told who has it: it stays in the mailbox then. `NotOwner` in a child of fork.
    pub fn recv_mailbox(&self, mailbox: &Queue) -> Result<Message> {
        self.recv_mailbox_until(mailbox, Deadline::Never)
    }

    /// Receives the next message from a mailbox if there is one, as [`Endpoint::recv_mailbox`].
    ///
    /// # Errors
    ///
    /// `WouldBlock` where there is none; otherwise as [`Endpoint::recv_mailbox`].
    pub fn try_recv_mailbox(&self, mailbox: &Queue) -> Result<Message> {
        self.recv_mailbox_until(mailbox, Deadline::Now)
    }

    /// Receives the next message from a mailbox, as [`Endpoint::recv_mailbox`], and waits no longer than `timeout` for one.
    ///
    /// # Errors
    ///
    /// `TimedOut`; `WouldBlock` for a timeout of zero; otherwise as [`Endpoint::recv_mailbox`].
    pub fn recv_mailbox_timeout(&self, mailbox: &Queue, timeout: Duration) -> Result<Message> {
        self.recv_mailbox_until(mailbox, Deadline::after(timeout))
    }

    fn recv_mailbox_until(&self, mailbox: &Queue, deadline: Deadline) -> Result<Message> {
        let mut bytes = Vec::new();
        let (len, mut message) = self.recv_mailbox_beside(mailbox, &mut bytes, deadline)?;
        // SAFETY: as in `recv_from`.
        unsafe { bytes.set_len(len) };
        message.set_bytes(bytes);
        Ok(message)
    }

    /// Receives the next message from a mailbox into `sink`, and gives it without its bytes, to be replied to.
    ///
    /// The message is on lease until its sender has been told who has it. So a death before that leaves it in the mailbox, and one after
    /// it ends the sender's wait.
    pub(crate) fn recv_mailbox_beside(
        &self,
        mailbox: &Queue,
        sink: &mut impl Sink,
        deadline: Deadline,
    ) -> Result<(usize, Message)> {
        let _inside = self.inner.enter()?;
        let (Received { len, envelope, .. }, ticket) = waiting(deadline, |deadline| mailbox.lease_with(sink, deadline))?;
        let envelope = envelope.as_ref().and_then(Envelope::from_bytes);
        if let Some(request) = envelope {
            // die here: another one receives it.
            let life = self.inner.place.life();
            let taken = Owed::Answer { inner: Arc::clone(&self.inner), request, kind: Kind::Taken, life };
            match taken.try_give() {
                // Its sender's own inbox is in the way, which must not keep all others waiting.
                Err(Error::LimitReached(_) | Error::WouldBlock) => taken.give(),
                // die here, once the lease has ended: the sender does not know who had it.
                Err(e) => {
                    mailbox.end_lease(&ticket, false)?;
                    return Err(e);
                }
                Ok(()) => {}
            }
            // die here: another one receives it as well, for nobody: what the sender was told says that nobody replies.
        }
        let message = Message::new(&self.inner, Vec::new(), envelope);
        mailbox.end_lease(&ticket, true)?;
        Ok((len, message))
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        let inner = &self.inner;
        if inner.forks != forks() {
            return;
        }
        // None: inside a call already.
        let _inside = Inside::enter();
        // First the name, so that who finds the inbox shut down and asks for the address once more finds another one, or none.
        Owed::Place { inner: Arc::clone(inner), name: self.name.take() }.give();
        let _ = inner.inbox.close();
        // die here: those who wait for a reply learn that this process is gone.
        Owed::Inbox(Arc::clone(inner)).give();
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("address", &self.address()).field("name", &self.name).finish_non_exhaustive()
    }
}
