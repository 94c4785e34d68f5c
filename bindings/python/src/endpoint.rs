//! Endpoints: direct messages and calls.

use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyTuple};
use rsipc::Namespace;

use crate::args::{self, Bytes};
use crate::buffer::bytes;
use crate::counters::counters;
use crate::errors::Doing;
use crate::handle::Handle;
use crate::queue::{Queue, options};
use crate::tasks::in_task;
use crate::wait::{call, call_attached, end_of, left, wait};

/// Where messages to one process go: it names an Endpoint, for as long as that is open.
///
/// It is made of the process's id and start time, so that it never comes to mean another process that gets the same id, and of a
/// serial number that tells the process's endpoints apart. Equal addresses name the same endpoint; they can be keys of a dict,
/// and printed.
#[pyclass(frozen, eq, hash, module = "rsipc")]
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct Address(rsipc::Address);

#[pymethods]
impl Address {
    /// The process's id, in its pid namespace; 0 for what was sent by nobody.
    #[getter]
    fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// Which of the process's endpoints it is: 0 for the first in its namespace.
    #[getter]
    fn serial(&self) -> u32 {
        self.0.serial()
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        format!("<rsipc address {}>", self.0)
    }
}

/// A process's own inbox, with its address: others send to it, and every message says who sent it.
///
/// >>> with rsipc.Endpoint.open() as endpoint:
/// ...     endpoint.send(endpoint.address, b"to myself")
/// ...     message = endpoint.recv()
/// ...     print(message.data, message.from_ == endpoint.address)
/// b'to myself' True
///
/// Any process that knows the address sends to it: from a message that it received, by a name (find) or by a process id
/// (address_of). A call is a message that waits for its reply (call, Message.reply).
///
/// When a process dies: sending to a process that is gone raises PeerGone at once, also for those who wait for room in its inbox
/// or for its reply, and its address and name go when somebody comes upon them. What was in its inbox is gone with it. A process
/// that gets the same process id is never taken for it.
///
/// A process may have several endpoints. When one is closed, or forgotten, its address and its name are gone, and what is in its
/// inbox; calls that nobody has answered end with NoReply. All methods may be called from any thread; several may receive. An
/// endpoint belongs to the process that opened it: in a child of fork every call on it raises NotOwner, and it cannot be pickled.
/// As a context manager it is closed at the end.
#[pyclass(frozen, module = "rsipc")]
pub(crate) struct Endpoint {
    pub(crate) handle: Handle<rsipc::Endpoint>,
    address: rsipc::Address,
    name: Option<String>,
}

#[pymethods]
impl Endpoint {
    /// Opens an endpoint, which others find by its name if it is given one. The name of an endpoint whose process is gone is
    /// free. The other options are those of its inbox, as in Queue.create: how many messages of what length wait in it before
    /// senders wait.
    ///
    /// Raises AlreadyExists where a living process's endpoint, or another object, has the name; otherwise what Queue.create raises.
    #[staticmethod]
    #[pyo3(signature = (name=None, capacity=64, max_message=4096, *, limit=None, leases=256, dir=None, mode=0o600))]
    #[expect(clippy::too_many_arguments, reason = "they have names")]
    fn open(
        py: Python<'_>,
        #[pyo3(from_py_with = args::name_or_none)] name: Option<String>,
        #[pyo3(from_py_with = args::capacity)] capacity: usize,
        #[pyo3(from_py_with = args::size)] max_message: usize,
        #[pyo3(from_py_with = args::size_or_none)] limit: Option<usize>,
        #[pyo3(from_py_with = args::size)] leases: usize,
        #[pyo3(from_py_with = args::dir)] dir: Option<PathBuf>,
        #[pyo3(from_py_with = args::count)] mode: u32,
    ) -> PyResult<Self> {
        let options = options(py, capacity, max_message, limit, leases)?;
        let namespace = dir.map_or_else(Namespace::default, Namespace::at).mode(mode);
        let endpoint = call(py, || match &name {
            Some(name) => rsipc::Endpoint::open_named(namespace.name(name), &options),
            None => rsipc::Endpoint::open(&namespace, &options),
        })?;
        let address = endpoint.address();
        Ok(Self { handle: Handle::anonymous("endpoint", endpoint), address, name })
    }

    /// Its address: others send to it for as long as the endpoint is open.
    #[getter]
    fn address(&self) -> Address {
        Address(self.address)
    }

    /// Its name, or None.
    #[getter]
    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The address of the endpoint of that name, in this endpoint's namespace.
    ///
    /// Raises NotFound where there is none, or its process is gone; WrongKind where the name is that of another object;
    /// InvalidArgument for an impossible name; errors of the system.
    #[pyo3(signature = (name))]
    fn find(&self, py: Python<'_>, #[pyo3(from_py_with = args::name)] name: String) -> PyResult<Address> {
        let endpoint = self.handle.get(py)?;
        call(py, || endpoint.find(&name)).map(Address)
    }

    /// The address of the first endpoint of a process (serial number 0), in this endpoint's namespace.
    ///
    /// Raises NotFound where the process has none, or is gone; errors of the system.
    #[pyo3(signature = (pid))]
    fn address_of(&self, py: Python<'_>, #[pyo3(from_py_with = args::count)] pid: u32) -> PyResult<Address> {
        let endpoint = self.handle.get(py)?;
        call(py, || endpoint.address_of(pid)).map(Address)
    }

    /// Sends a message (any bytes-like object whose bytes lie side by side) to an address, and waits for room in its inbox
    /// `timeout` seconds: None is for ever, 0 not at all.
    ///
    /// Raises PeerGone where the process is gone, or dies while this waits, or has closed the endpoint; Full where there is no room and
    /// `timeout` is 0; SendTimeout; MessageTooLong; NoSpace, NoMemory and LimitReached where there is no memory for it; NotOwner in a child
    /// of fork; Corrupted. Nothing is sent then.
    #[pyo3(signature = (to, data, timeout=None))]
    fn send(
        &self,
        py: Python<'_>,
        to: &Address,
        data: Bytes<'_, '_>,
        #[pyo3(from_py_with = args::timeout)] timeout: Option<Duration>,
    ) -> PyResult<()> {
        let (endpoint, to, data) = (self.handle.get(py)?, to.0, data.as_slice());
        wait(py, timeout, Doing::Send, |time| endpoint.send_timeout(to, data, time))
    }

    /// Sends a message to an address if there is room in its inbox: send(to, data, timeout=0).
    #[pyo3(signature = (to, data))]
    fn try_send(&self, py: Python<'_>, to: &Address, data: Bytes<'_, '_>) -> PyResult<()> {
        self.send(py, to, data, Some(Duration::ZERO))
    }

    /// Receives the next message, and waits for one `timeout` seconds: None is for ever, 0 not at all. Requests are messages, too:
    /// Message.wants_reply tells.
    ///
    /// Raises Empty where there is none and `timeout` is 0; RecvTimeout; NoMemory; NotOwner in a child of fork; Corrupted.
    /// Nothing is taken then.
    #[pyo3(signature = (timeout=None))]
    fn recv(&self, py: Python<'_>, #[pyo3(from_py_with = args::timeout)] timeout: Option<Duration>) -> PyResult<Message> {
        let endpoint = self.handle.get(py)?;
        wait(py, timeout, Doing::Receive, |time| endpoint.recv_timeout(time)).map(Message::from)
    }

    /// Receives the next message if there is one: recv(timeout=0).
    fn try_recv(&self, py: Python<'_>) -> PyResult<Message> {
        self.recv(py, Some(Duration::ZERO))
    }

    /// Sends a request to an address, and waits for its reply `timeout` seconds: None is for ever. Any number of threads may do
    /// so at the same time. A reply that comes later is thrown away.
    ///
    /// Raises PeerGone where the process is gone, or dies while this waits; NoReply where it forgets the request without a reply; Timeout:
    /// the request may have been carried out, or may still be; otherwise what send raises.
    #[pyo3(signature = (to, request, timeout=None))]
    fn call<'py>(
        &self,
        py: Python<'py>,
        to: &Address,
        request: Bytes<'_, '_>,
        #[pyo3(from_py_with = args::timeout)] timeout: Option<Duration>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let (endpoint, to, request) = (self.handle.get(py)?, to.0, request.as_slice());
        reply(py, timeout, |time| endpoint.begin_call(to, request, time))
    }

    /// Sends a request to a mailbox, from which any number of servers receive (recv_mailbox), and waits for the reply of the one
    /// that takes it, `timeout` seconds: None is for ever. The servers' endpoints are in this endpoint's namespace.
    ///
    /// A request stays in the mailbox until a server takes it, also while there is none. A server that dies before its recv_mailbox has
    /// returned leaves it to another one.
    ///
    /// Raises PeerGone where the server that took it dies before it has replied; Closed where the mailbox is shut down; otherwise what call
    /// raises.
    #[pyo3(signature = (mailbox, request, timeout=None))]
    fn call_mailbox<'py>(
        &self,
        py: Python<'py>,
        mailbox: &Bound<'py, Queue>,
        request: Bytes<'_, '_>,
        #[pyo3(from_py_with = args::timeout)] timeout: Option<Duration>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let (endpoint, mailbox, request) = (self.handle.get(py)?, mailbox.get().handle.get(py)?, request.as_slice());
        reply(py, timeout, |time| endpoint.begin_call_mailbox(&mailbox, request, time))
    }

    /// Receives the next message from a mailbox, to reply to it if it is a request, and waits for one `timeout` seconds: None is
    /// for ever, 0 not at all.
    ///
    /// A message that was sent with Queue.send comes from nobody, and wants no reply. A request that is received with Queue.recv cannot be
    /// replied to, and its sender waits in vain.
    ///
    /// Raises what Queue.lease raises; NotOwner in a child of fork.
    #[pyo3(signature = (mailbox, timeout=None))]
    fn recv_mailbox(
        &self,
        py: Python<'_>,
        mailbox: &Bound<'_, Queue>,
        #[pyo3(from_py_with = args::timeout)] timeout: Option<Duration>,
    ) -> PyResult<Message> {
        let (endpoint, mailbox) = (self.handle.get(py)?, mailbox.get().handle.get(py)?);
        wait(py, timeout, Doing::Receive, |time| endpoint.recv_mailbox_timeout(&mailbox, time)).map(Message::from)
    }

    /// Receives the next message in a task of asyncio: `message = await endpoint.recv_async()`. As Queue.recv_async.
    fn recv_async<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let again = Self { handle: self.handle.again(py)?, address: self.address, name: self.name.clone() };
        in_task(py, "recv", (again,))
    }

    /// What has happened to its inbox since it was opened: what others sent to it, and what was received. As Queue.counters.
    fn counters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let endpoint = self.handle.get(py)?;
        counters(py, || endpoint.counters())
    }

    /// A descriptor that is readable while there may be a message. As Queue.fileno.
    fn fileno(&self, py: Python<'_>) -> PyResult<i32> {
        let endpoint = self.handle.get(py)?;
        call(py, || endpoint.readiness_fd().map(|fd| fd.as_raw_fd()))
    }

    /// Closes it: its address and its name are gone, and what is in its inbox. A call that waits in another thread goes on, and
    /// the endpoint is closed after it. Closing again does nothing.
    fn close(&self, py: Python<'_>) {
        self.handle.close(py);
    }

    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        slf.get().handle.get(slf.py())?;
        Ok(slf)
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) {
        self.close(py);
    }

    fn __reduce__(&self) -> PyResult<()> {
        let why = "an endpoint belongs to its process and cannot be pickled: the other process opens one of its own, and finds this one by its \
                   name (find) or by this process's id (address_of)";
        Err(PyTypeError::new_err(why))
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let name = self.name.as_ref().map(|name| format!(" {name:?}")).unwrap_or_default();
        let closed = if self.handle.is_closed(py) { " (closed)" } else { "" };
        format!("<rsipc endpoint{name} at {}{closed}>", self.address)
    }
}

/// Begins a call, and waits for its reply.
fn reply<'py>(
    py: Python<'py>,
    timeout: Option<Duration>,
    begin: impl FnMut(Duration) -> rsipc::Result<rsipc::Call> + Send,
) -> PyResult<Bound<'py, PyBytes>> {
    let end = end_of(timeout);
    let mut call = wait(py, timeout, Doing::Call, begin)?;
    let reply = wait(py, left(timeout, end), Doing::Call, |time| call.wait_timeout(time))?;
    bytes(py, &reply)
}

/// A message that an Endpoint received: its bytes, who sent it, and whether it waits for a reply.
///
/// It can be handed to another thread, and be kept while others are received: replies may be given in any order, also when the
/// endpoint has been closed. A message that wants a reply and is forgotten without one ends its sender's wait with NoReply; where
/// this process dies the wait ends with PeerGone.
#[pyclass(frozen, module = "rsipc")]
pub(crate) struct Message {
    message: Mutex<rsipc::Message>,
    /// Its bytes, once somebody has asked for them: should there be no memory for them, the message is not lost.
    data: PyOnceLock<Py<PyBytes>>,
}

impl From<rsipc::Message> for Message {
    fn from(message: rsipc::Message) -> Self {
        Self { message: Mutex::new(message), data: PyOnceLock::new() }
    }
}

impl Message {
    fn lock(&self) -> MutexGuard<'_, rsipc::Message> {
        self.message.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Message {
    /// The address of the endpoint that sent it. (A process that does not keep to the rules may have sent it from nobody: to send to that
    /// address raises PeerGone.)
    #[getter]
    fn from_(&self) -> Address {
        Address(self.lock().from())
    }

    /// Its bytes.
    #[getter]
    fn data(&self, py: Python<'_>) -> PyResult<Py<PyBytes>> {
        self.data.get_or_try_init(py, || bytes(py, self.lock().bytes()).map(Bound::unbind)).map(|data| data.clone_ref(py))
    }

    /// Whether its sender waits for a reply that has not been given yet.
    #[getter]
    fn wants_reply(&self) -> bool {
        self.lock().wants_reply()
    }

    /// Replies to it; never waits for the caller. Where the caller is gone, or has stopped waiting, nobody reads the reply, which
    /// is no error.
    ///
    /// Raises InvalidArgument where its sender waits for no reply, or has got one; MessageTooLong; WouldBlock where the caller's
    /// inbox is held up by a process that was stopped; LimitReached where it is full of replies that nobody has fetched; NoSpace,
    /// NoMemory and other errors of the system; NotOwner in a child of fork. It still wants a reply then (but for the first).
    #[pyo3(signature = (data))]
    fn reply(&self, py: Python<'_>, data: Bytes<'_, '_>) -> PyResult<()> {
        let data = data.as_slice();
        // Attached, as all that lock it are: a child of fork is never left with a message that another thread was at.
        call_attached(py, || self.lock().reply(data))
    }

    fn __repr__(&self) -> String {
        let message = self.lock();
        let wants = if message.wants_reply() { ", wants a reply" } else { "" };
        format!("<rsipc message of {} bytes from {}{wants}>", message.len(), message.from())
    }
}
