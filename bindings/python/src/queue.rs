//! Queues.

use std::cell::Cell;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple, PyType};
use rsipc::{Batch, Error, QueueOptions};

use crate::args::{self, Bytes, BytesMut, UNBOUNDED};
use crate::buffer::bytes;
use crate::counters::counters;
use crate::errors::{Doing, defined_in_python, exception, invalid};
use crate::handle::Handle;
use crate::in_place::{Loan, MessageView};
use crate::lease::Lease;
use crate::region::Region;
use crate::tasks::in_task;
use crate::wait::{call, end_of, left, wait};

/// Messages up to this length are received in one step; for longer ones their memory is got first.
const SHORT: usize = 512;

/// The most bytes of a batch whose memory a thread keeps.
const KEPT: usize = 1 << 20;

/// A queue of messages between processes: a mailbox that any process opens by its name.
///
/// Its capacity says when senders wait: so many messages have room (bounded); 0: always, until a receiver has taken the message
/// (a rendezvous); None: never, there is room for as many as there is memory for (unbounded). Where 256 messages wait in an unbounded
/// one, send looks for two microseconds whether receivers keep pace, before it takes memory for more; with a timeout of 0 it does not.
///
/// Made with Queue.create, Queue.open or Queue.open_or_create, or placed in a region with Queue.create_in and Queue.open_in.
///
/// Any number of threads in any number of processes send and receive. Messages are bytes, of any length from 0 to max_message. They come
/// out in the order in which they went in, each to exactly one receiver. A message whose send returned is in the queue, also if its
/// sender ends right after; it stays there until it is received, for as long as the name exists or anybody has the queue open.
///
/// When a process dies: a message whose sender is killed inside send is either in the queue, whole, or not at all. A receiver killed inside
/// recv has either taken the message with it or left it; work that must not be lost with a worker is received with lease. In a
/// rendezvous, the offer of a sender that dies while it waits is gone. Everybody else carries on at once.
///
/// `for message in queue:` receives until the queue is shut down and empty. len(queue) is the number of messages that wait to be received,
/// without those on lease and those offered in a rendezvous.
/// All methods may be called from any thread. A handle may be used in a child of fork; one with a name, or in a region with a name, can
/// be pickled, which opens the queue again. As a context manager it closes the handle at the end.
#[pyclass(frozen, module = "rsipc")]
pub(crate) struct Queue {
    pub(crate) handle: Handle<rsipc::Queue>,
}

impl From<Handle<rsipc::Queue>> for Queue {
    fn from(handle: Handle<rsipc::Queue>) -> Self {
        Self { handle }
    }
}

#[pymethods]
impl Queue {
    /// Creates a queue with room for `capacity` messages of up to `max_message` bytes, of which `leases` can be out on lease, lent, or
    /// viewed at a time. It costs nothing to allow long ones: each takes the memory that its own length needs.
    ///
    /// With a capacity of 0 every send is a rendezvous: it returns when a receiver has taken the message. With None senders never
    /// wait: memory grows with what waits to be received, up to `limit` bytes if one is given, and goes back to the system as it
    /// is received. Each message counts as up to 32 bytes more than its length, and two and a half mebibytes may be in use behind
    /// the receivers.
    ///
    /// `mode` has the permission bits: 0o600 for this user alone, 0o660 for a group.
    ///
    /// Raises AlreadyExists; InvalidArgument for an impossible name or mode, a capacity that is not 0 to 2**30 or None, a max_message above
    /// 2**30, leases above 2**20, or a limit with a capacity; NoSpace, NoMemory, PermissionDenied and other errors of the system.
    #[staticmethod]
    #[pyo3(signature = (name, capacity=64, max_message=4096, *, limit=None, leases=256, dir=None, mode=0o600))]
    #[expect(clippy::too_many_arguments, reason = "they have names")]
    fn create(
        py: Python<'_>,
        #[pyo3(from_py_with = args::name)] name: String,
        #[pyo3(from_py_with = args::capacity)] capacity: usize,
        #[pyo3(from_py_with = args::size)] max_message: usize,
        #[pyo3(from_py_with = args::size_or_none)] limit: Option<usize>,
        #[pyo3(from_py_with = args::size)] leases: usize,
        #[pyo3(from_py_with = args::dir)] dir: Option<PathBuf>,
        #[pyo3(from_py_with = args::count)] mode: u32,
    ) -> PyResult<Self> {
        let options = options(py, capacity, max_message, limit, leases)?;
        Handle::named(py, "queue", (name, dir, mode), |name| rsipc::Queue::create(name, &options)).map(Self::from)
    }

    /// Opens a queue.
    ///
    /// Raises NotFound; WrongKind, WrongVersion, Corrupted; LimitReached where 500 handles are open on it; NoSpace, PermissionDenied and
    /// other errors of the system.
    #[staticmethod]
    #[pyo3(signature = (name, *, dir=None))]
    fn open(
        py: Python<'_>,
        #[pyo3(from_py_with = args::name)] name: String,
        #[pyo3(from_py_with = args::dir)] dir: Option<PathBuf>,
    ) -> PyResult<Self> {
        Handle::named(py, "queue", (name, dir, 0o600), |name| rsipc::Queue::open(name)).map(Self::from)
    }

    /// Opens a queue, or creates it. Processes that do so at the same time get the same one. An existing queue keeps its
    /// options.
    ///
    /// Raises what create and open raise, but for AlreadyExists and NotFound.
    #[staticmethod]
    #[pyo3(signature = (name, capacity=64, max_message=4096, *, limit=None, leases=256, dir=None, mode=0o600))]
    #[expect(clippy::too_many_arguments, reason = "they have names")]
    fn open_or_create(
        py: Python<'_>,
        #[pyo3(from_py_with = args::name)] name: String,
        #[pyo3(from_py_with = args::capacity)] capacity: usize,
        #[pyo3(from_py_with = args::size)] max_message: usize,
        #[pyo3(from_py_with = args::size_or_none)] limit: Option<usize>,
        #[pyo3(from_py_with = args::size)] leases: usize,
        #[pyo3(from_py_with = args::dir)] dir: Option<PathBuf>,
        #[pyo3(from_py_with = args::count)] mode: u32,
    ) -> PyResult<Self> {
        let options = options(py, capacity, max_message, limit, leases)?;
        Handle::named(py, "queue", (name, dir, mode), |name| rsipc::Queue::open_or_create(name, &options)).map(Self::from)
    }

    /// Creates a queue without a name, of the same options. Others get it by the descriptor of its memory (memory_fileno): a
    /// child of fork inherits it, a Unix socket carries it (socket.send_fds), and Queue.from_fd opens it there. The memory goes
    /// with the last process that has it open, in whatever way that ends. An unbounded one without a limit can hold as many
    /// messages as the machine has memory for.
    ///
    /// >>> queue = rsipc.Queue.anonymous(capacity=2)
    /// >>> queue.send(b"hello")
    /// >>> rsipc.Queue.from_fd(queue.memory_fileno()).recv()
    /// b'hello'
    ///
    /// Raises what create raises, but for AlreadyExists.
    #[staticmethod]
    #[pyo3(signature = (capacity=64, max_message=4096, *, limit=None, leases=256))]
    fn anonymous(
        py: Python<'_>,
        #[pyo3(from_py_with = args::capacity)] capacity: usize,
        #[pyo3(from_py_with = args::size)] max_message: usize,
        #[pyo3(from_py_with = args::size_or_none)] limit: Option<usize>,
        #[pyo3(from_py_with = args::size)] leases: usize,
    ) -> PyResult<Self> {
        let options = options(py, capacity, max_message, limit, leases)?;
        let (queue, fd) = call(py, || rsipc::Queue::anonymous(&options))?;
        Ok(Handle::in_memory("queue", queue, fd).into())
    }

    /// Opens the queue behind a descriptor that came from memory_fileno() in this or another process of the same pid namespace.
    /// The descriptor stays the caller's: it is duplicated.
    ///
    /// Raises Corrupted where it is not that of a queue; OsError for a bad descriptor; otherwise what open raises, but for NotFound.
    #[staticmethod]
    #[pyo3(signature = (fd))]
    fn from_fd(py: Python<'_>, fd: i32) -> PyResult<Self> {
        let fd = args::duplicate(py, fd)?;
        let queue = call(py, || rsipc::Queue::from_fd(&fd))?;
        Ok(Handle::in_memory("queue", queue, fd).into())
    }

    /// The descriptor of the memory of a queue without a name, to be handed to another process. It stays this handle's, and goes with the
    /// Python object.
    ///
    /// Raises InvalidArgument for a queue that has a name, or is placed in a region.
    fn memory_fileno(&self, py: Python<'_>) -> PyResult<i32> {
        self.handle.get(py)?;
        let no_fd = || invalid(py, "the queue has a name, or is placed in a region: others open it by that");
        self.handle.memory().map(|fd| fd.as_raw_fd()).ok_or_else(no_fd)
    }

    /// Creates a queue at `offset` of a region, in Queue.size(...) bytes (of the same options) that are zero. An unbounded one needs a
    /// limit.
    ///
    /// Raises AlreadyExists where there is an object; InvalidArgument where the memory is in use, too short, the offset not a multiple of
    /// 128, or options are out of range.
    #[staticmethod]
    #[pyo3(signature = (region, offset, capacity=64, max_message=4096, *, limit=None, leases=256))]
    fn create_in(
        region: &Bound<'_, Region>,
        #[pyo3(from_py_with = args::size)] offset: usize,
        #[pyo3(from_py_with = args::capacity)] capacity: usize,
        #[pyo3(from_py_with = args::size)] max_message: usize,
        #[pyo3(from_py_with = args::size_or_none)] limit: Option<usize>,
        #[pyo3(from_py_with = args::size)] leases: usize,
    ) -> PyResult<Self> {
        let options = options(region.py(), capacity, max_message, limit, leases)?;
        Handle::placed("queue", region, offset, |region| {
            // SAFETY: the documentation tells Python programs to leave these bytes to the object.
            unsafe { rsipc::Queue::create_in(region, offset, &options) }
        })
        .map(Self::from)
    }

    /// Opens a queue at `offset` of a region.
    ///
    /// Raises NotFound where nothing was created there; otherwise what open raises.
    #[staticmethod]
    #[pyo3(signature = (region, offset))]
    fn open_in(region: &Bound<'_, Region>, #[pyo3(from_py_with = args::size)] offset: usize) -> PyResult<Self> {
        Handle::placed("queue", region, offset, |region| {
            // SAFETY: the documentation tells Python programs to leave these bytes to the object.
            unsafe { rsipc::Queue::open_in(region, offset) }
        })
        .map(Self::from)
    }

    /// How many bytes such a queue takes in a region, at an offset that is a multiple of 128.
    ///
    /// Raises InvalidArgument for options out of range, and for an unbounded queue without a limit.
    #[staticmethod]
    #[pyo3(signature = (capacity=64, max_message=4096, *, limit=None, leases=256))]
    fn size(
        py: Python<'_>,
        #[pyo3(from_py_with = args::capacity)] capacity: usize,
        #[pyo3(from_py_with = args::size)] max_message: usize,
        #[pyo3(from_py_with = args::size_or_none)] limit: Option<usize>,
        #[pyo3(from_py_with = args::size)] leases: usize,
    ) -> PyResult<usize> {
        options(py, capacity, max_message, limit, leases)?.size().map_err(|e| exception(py, &e, Doing::Other))
    }

    /// Sends a message (any bytes-like object whose bytes lie side by side), and waits for room (in a rendezvous, for a receiver that takes
    /// it) `timeout` seconds: None is for ever, 0 not at all.
    ///
    /// Raises Full where there is no room and `timeout` is 0; SendTimeout, which is both a Full and a Timeout; MessageTooLong; Closed once
    /// the queue is shut down; NoSpace where there is no memory for the message; LimitReached where an unbounded queue holds as much as
    /// its limit allows; Corrupted. Nothing is sent then.
    #[pyo3(signature = (data, timeout=None))]
    fn send(
        &self,
        py: Python<'_>,
        data: Bytes<'_, '_>,
        #[pyo3(from_py_with = args::timeout)] timeout: Option<Duration>,
    ) -> PyResult<()> {
        let (queue, data) = (self.handle.get(py)?, data.as_slice());
        wait(py, timeout, Doing::Send, |time| queue.send_timeout(data, time))
    }

    /// Sends a message if there is room (in a rendezvous, if a receiver waits for one at this moment): send(data, timeout=0).
    #[pyo3(signature = (data))]
    fn try_send(&self, py: Python<'_>, data: Bytes<'_, '_>) -> PyResult<()> {
        self.send(py, data, Some(Duration::ZERO))
    }

    /// Receives the next message, and waits for one `timeout` seconds: None is for ever, 0 not at all.
    ///
    /// Raises Empty where there is none and `timeout` is 0; RecvTimeout, which is both an Empty and a Timeout; Closed once the
    /// queue is shut down and empty; MemoryError; Corrupted. Nothing is taken then.
    #[pyo3(signature = (timeout=None))]
    fn recv<'py>(
        &self,
        py: Python<'py>,
        #[pyo3(from_py_with = args::timeout)] timeout: Option<Duration>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let queue = self.handle.get(py)?;
        let end = end_of(timeout);
        let mut short = [0; SHORT];
        loop {
            let received =
                wait(py, left(timeout, end), Doing::Receive, |time| match queue.recv_into_timeout(&mut short, time) {
                    Ok(len) => Ok(Received::Short(len)),
                    Err(Error::BufferTooSmall { needed, .. }) => Ok(Received::Needs(needed)),
                    Err(e) => Err(e),
                })?;
            let needed = match received {
                Received::Short(len) => return bytes(py, &short[..len]),
                Received::Needs(needed) => needed,
            };
            // The memory comes first, so that no message is lost for want of it. Another receiver may take the message meanwhile.
            let mut taken = Ok(0);
            let message = PyBytes::new_with(py, needed, |space| {
                taken = queue.try_recv_into(space);
                Ok(())
            })?;
            match taken {
                Ok(len) if len == needed => return Ok(message),
                Ok(len) => return bytes(py, &message.as_bytes()[..len]),
                Err(Error::WouldBlock | Error::BufferTooSmall { .. } | Error::Interrupted) => py.check_signals()?,
                Err(e) => return Err(exception(py, &e, Doing::Receive)),
            }
        }
    }

    /// Receives the next message if there is one: recv(timeout=0).
    fn try_recv<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        self.recv(py, Some(Duration::ZERO))
    }

    /// Sends messages (bytes-like objects, of any iterable) in their order, and waits for room (in a rendezvous, for receivers
    /// that take them) until all are sent, or `timeout` seconds have passed: None is for ever, 0 not at all. Says how many it
    /// sent.
    ///
    /// Each message is sent by itself, as with send: who receives may have the first before the last is sent, and messages of
    /// others may come in between. What it saves is the price of a call for each. If this process dies inside the call, the first
    /// so many of them are in the queue, each of them whole, and the others are not.
    ///
    /// >>> with rsipc.Queue.create("samples") as queue:
    /// ...     print(queue.send_many([b"1", b"2", b"3"]))
    /// ...     print(queue.recv_many())
    /// 3
    /// [b'1', b'2', b'3']
    /// >>> rsipc.unlink("samples")
    ///
    /// Less than all are sent where something kept it from sending the next, such as the end of the time: that raises nothing
    /// then, but the next call does. Raises MessageTooLong, which says which one it is, before anything is sent; otherwise what
    /// send raises, where the first was not sent. Where a signal handler raises (KeyboardInterrupt), some may have been sent.
    #[pyo3(signature = (messages, timeout=None))]
    fn send_many(
        &self,
        py: Python<'_>,
        messages: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = args::timeout)] timeout: Option<Duration>,
    ) -> PyResult<usize> {
        let queue = self.handle.get(py)?;
        // They are kept here: who has the list may change it meanwhile.
        let objects = messages.try_iter()?.collect::<PyResult<Vec<_>>>()?;
        let messages = objects.iter().map(|object| object.extract()).collect::<PyResult<Vec<Bytes<'_, '_>>>>()?;
        let messages: Vec<&[u8]> = messages.iter().map(Bytes::as_slice).collect();
        let (mut sent, mut is_over) = (0, false);
        let result = wait(py, timeout, Doing::Send, |time| {
            match queue.send_many_timeout(&messages[sent..], time) {
                Ok(count) => sent += count,
                Err(Error::WouldBlock | Error::TimedOut) => {}
                Err(Error::Interrupted) => return Err(Error::Interrupted),
                Err(e) => {
                    is_over = true;
                    return Err(e);
                }
            }
            if sent == messages.len() {
                return Ok(());
            }
            Err(if time.is_zero() { Error::WouldBlock } else { Error::TimedOut })
        });
        match result {
            Ok(()) => Ok(sent),
            Err(_) if sent != 0 && is_over => Ok(sent),
            Err(e) if sent != 0 && is_out_of_time(py, &e)? => Ok(sent),
            Err(e) => Err(e),
        }
    }

    /// Sends as many of the messages as there is room for (in a rendezvous, as receivers wait for at this moment):
    /// send_many(messages, timeout=0).
    #[pyo3(signature = (messages))]
    fn try_send_many(&self, py: Python<'_>, messages: &Bound<'_, PyAny>) -> PyResult<usize> {
        self.send_many(py, messages, Some(Duration::ZERO))
    }

    /// Receives the next message, and waits for it `timeout` seconds: None is for ever, 0 not at all; and with it those behind it
    /// that are there, up to `max` in all.
    ///
    /// Each message is received by itself, as with recv: other receivers may get some in between. If this process dies inside the call, it
    /// has taken the first so many with it, and the others are in the queue.
    ///
    /// Raises InvalidArgument for a max of 0; otherwise what recv raises. Nothing is taken then, unless it is a MemoryError: the
    /// batch may have been received already when there is no memory for its bytes objects, and is gone then.
    #[pyo3(signature = (max=64, timeout=None))]
    fn recv_many<'py>(
        &self,
        py: Python<'py>,
        #[pyo3(from_py_with = args::size)] max: usize,
        #[pyo3(from_py_with = args::timeout)] timeout: Option<Duration>,
    ) -> PyResult<Bound<'py, PyList>> {
        thread_local! {
            static BATCH: Cell<Batch> = const { Cell::new(Batch::new()) };
        }
        let queue = self.handle.get(py)?;
        let mut batch = BATCH.take();
        wait(py, timeout, Doing::Receive, |time| queue.recv_many_timeout(&mut batch, max, time))?;
        let list =
            batch.iter().map(|message| bytes(py, message)).collect::<PyResult<Vec<_>>>().and_then(|list| PyList::new(py, list));
        // For the next call of this thread, unless it is so large that it is better given back.
        if batch.iter().map(<[u8]>::len).sum::<usize>() <= KEPT {
            BATCH.set(batch);
        }
        list
    }

    /// Receives the messages that are there, up to `max`: recv_many(max, timeout=0).
    #[pyo3(signature = (max=64))]
    fn try_recv_many<'py>(&self, py: Python<'py>, #[pyo3(from_py_with = args::size)] max: usize) -> PyResult<Bound<'py, PyList>> {
        self.recv_many(py, max, Some(Duration::ZERO))
    }

    /// Receives the next message into `buffer`, such as a bytearray, and says how long it is. Waits for one `timeout` seconds: None is for
    /// ever, 0 not at all.
    ///
    /// Raises BufferTooSmall where the message is longer than the buffer: it stays in the queue. Otherwise what recv raises.
    #[pyo3(signature = (buffer, timeout=None))]
    fn recv_into(
        &self,
        py: Python<'_>,
        mut buffer: BytesMut,
        #[pyo3(from_py_with = args::timeout)] timeout: Option<Duration>,
    ) -> PyResult<usize> {
        let (queue, buffer) = (self.handle.get(py)?, buffer.as_mut_slice());
        wait(py, timeout, Doing::Receive, |time| queue.recv_into_timeout(buffer, time))
    }

    /// Receives the next message on lease, and waits for one `timeout` seconds: None is for ever, 0 not at all. It is not gone before the
    /// lease is finished: if this process dies before, it comes back to the front of the queue, to be received by another.
    ///
    /// >>> with rsipc.Queue.create("jobs") as queue:
    /// ...     queue.send(b"a job")
    /// ...     queue.lease().give_back()  # as if the worker had died
    /// ...     with queue.lease() as lease:  # finished at the end, given back if the block raises
    /// ...         print(lease.message, lease.deliveries)
    /// ...     print(len(queue))
    /// b'a job' 2
    /// 0
    /// >>> rsipc.unlink("jobs")
    ///
    /// It also waits while as many messages are out on lease as the queue was made for. Raises what recv raises, and Unsupported where the
    /// queue was made for no leases.
    #[pyo3(signature = (timeout=None))]
    fn lease(&self, py: Python<'_>, #[pyo3(from_py_with = args::timeout)] timeout: Option<Duration>) -> PyResult<Lease> {
        let queue = self.handle.get(py)?.share();
        let lease = wait(py, timeout, Doing::Receive, |time| queue.lease_timeout(time))?;
        Lease::of(py, &queue, (lease, None))
    }

    /// Receives the next message on lease if there is one: lease(timeout=0).
    fn try_lease(&self, py: Python<'_>) -> PyResult<Lease> {
        self.lease(py, Some(Duration::ZERO))
    }

    /// Lends memory of the queue for a message of `size` bytes, to be filled and sent without a copy, and waits for it `timeout`
    /// seconds: None is for ever, 0 not at all. That takes the same time for messages of any length: memory that was lent or
    /// viewed once stays the queue's, for the messages after it, as long as there is the queue.
    ///
    /// >>> with rsipc.Queue.create("frames", capacity=2, max_message=8_000_000, leases=2) as queue:
    /// ...     with queue.loan(8_000_000) as loan:  # given back at the end, if it was not sent
    /// ...         with memoryview(loan) as pixels:
    /// ...             pixels[:3] = b"rgb"
    /// ...         loan.send()
    /// ...     with queue.recv_view() as view:
    /// ...         print(len(view), bytes(memoryview(view)[:3]))
    /// 8000000 b'rgb'
    /// >>> rsipc.unlink("frames")
    ///
    /// As many messages can be lent, viewed and out on lease at a time as the queue was made for (`leases`), beside those that
    /// wait (in a queue for messages of up to 4096 bytes, those that wait and were lent before are among them). While there are,
    /// it waits: for a message to be received, a loan or view to be released, or its process to die. It never copies instead. A
    /// loan that waits for room in its send keeps its memory; so where receivers take messages on lease, let there be more leases
    /// than loans.
    ///
    /// Raises Full where no memory is free and `timeout` is 0; SendTimeout; MessageTooLong; Closed once the queue is shut down;
    /// NoSpace where there is no memory for so many bytes; Unsupported for an unbounded queue, and for one that was made for no
    /// leases and short messages; Corrupted. Nothing is lent then.
    #[pyo3(signature = (size, timeout=None))]
    fn loan(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = args::size)] size: usize,
        #[pyo3(from_py_with = args::timeout)] timeout: Option<Duration>,
    ) -> PyResult<Loan> {
        let queue = self.handle.get(py)?.share();
        Ok(Loan::of(&queue, wait(py, timeout, Doing::Send, |time| queue.loan_timeout(size, time))?))
    }

    /// Lends memory for a message of `size` bytes if some is free: loan(size, timeout=0).
    #[pyo3(signature = (size))]
    fn try_loan(&self, py: Python<'_>, #[pyo3(from_py_with = args::size)] size: usize) -> PyResult<Loan> {
        self.loan(py, size, Some(Duration::ZERO))
    }

    /// Receives the next message to be read where it lies, and waits for one `timeout` seconds: None is for ever, 0 not at all. MessageView
    /// says when that is without a copy.
    ///
    /// Raises what recv raises.
    #[pyo3(signature = (timeout=None))]
    fn recv_view(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = args::timeout)] timeout: Option<Duration>,
    ) -> PyResult<MessageView> {
        let queue = self.handle.get(py)?.share();
        Ok(MessageView::of(&queue, wait(py, timeout, Doing::Receive, |time| queue.recv_view_timeout(time))?))
    }

    /// Receives the next message to be read where it lies, if there is one: recv_view(timeout=0).
    fn try_recv_view(&self, py: Python<'_>) -> PyResult<MessageView> {
        self.recv_view(py, Some(Duration::ZERO))
    }

    /// Receives the next message in a task of asyncio: `message = await queue.recv_async()`. `async for message in queue:` receives until
    /// the queue is shut down and empty.
    ///
    /// A task that is cancelled loses no message: one is taken when the task goes on, in the same step, and not before. Any number of tasks
    /// may receive from the queue. Of one handle, use either this or fileno() in an event loop of your own.
    ///
    /// Raises what recv raises, and errors of the system.
    fn recv_async<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        in_task(py, "recv", (self.again(py)?,))
    }

    /// Sends a message in a task of asyncio, which waits for room: `await queue.send_async(data)`. A task that is cancelled while
    /// it waits has sent nothing.
    ///
    /// Raises what send raises, and errors of the system; Unsupported for a rendezvous, where only who waits in send meets a receiver:
    /// `await asyncio.to_thread(queue.send, data)`.
    #[pyo3(signature = (data))]
    fn send_async<'py>(&self, py: Python<'py>, data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        if self.handle.get(py)?.capacity() == Some(0) {
            let why = Error::Unsupported("a rendezvous: wait in asyncio.to_thread(queue.send, data)".into());
            return Err(exception(py, &why, Doing::Send));
        }
        in_task(py, "send", (self.again(py)?, data))
    }

    /// A descriptor that is readable while there may be something to receive (a message, or that the queue was shut down), for select,
    /// selectors, or an event loop.
    ///
    /// Once readable it stays so until an attempt to receive through this handle without waiting finds nothing. So when it is
    /// readable, call try_recv until it raises Empty, or at least once; another receiver may have been faster. It belongs to the
    /// handle, and is closed with it: neither read from it nor close it. The first one for any object starts a thread in this
    /// process, which sleeps until there is something to tell. In a child of fork ask again.
    ///
    /// Raises TooManyFiles, NoMemory and other errors of the system.
    fn fileno(&self, py: Python<'_>) -> PyResult<i32> {
        let queue = self.handle.get(py)?;
        call(py, || queue.readiness_fd().map(|fd| fd.as_raw_fd()))
    }

    /// As fileno(), for sending: readable while there may be room for a message, until try_send finds none.
    ///
    /// Raises what fileno raises, and Unsupported for a rendezvous.
    fn send_fileno(&self, py: Python<'_>) -> PyResult<i32> {
        let queue = self.handle.get(py)?;
        call(py, || queue.send_readiness_fd().map(|fd| fd.as_raw_fd()))
    }

    /// Shuts the queue down for everybody: sending raises Closed from now on, receiving gives what is left and then raises Closed. All who
    /// wait are woken. It cannot be undone; shutting down again does nothing.
    fn shutdown(&self, py: Python<'_>) -> PyResult<()> {
        let queue = self.handle.get(py)?;
        call(py, || queue.shutdown())
    }

    /// Whether the queue was shut down.
    #[getter]
    fn is_shut_down(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.handle.get(py)?.is_shut_down())
    }

    /// How many messages there is room for: 0 for a rendezvous, None for an unbounded queue.
    #[getter]
    fn capacity(&self, py: Python<'_>) -> PyResult<Option<usize>> {
        Ok(self.handle.get(py)?.capacity())
    }

    /// How long a message can be, in bytes.
    #[getter]
    fn max_message(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.handle.get(py)?.max_message())
    }

    /// The handles that are open on the queue, this one included, in processes that live.
    fn peers<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let queue = self.handle.get(py)?;
        let class = defined_in_python(py, "_types", "Peer")?;
        let peers = call(py, || queue.peers())?;
        peers.into_iter().map(|peer| class.call1((peer.pid, peer.since, peer.sends, peer.receives))).collect()
    }

    /// What has happened to the queue since it was created, in all processes: messages, bytes, waits, what was put right of the dead.
    fn counters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let queue = self.handle.get(py)?;
        counters(py, || queue.counters())
    }

    /// Says that this handle is going to send, before it does: it matters to those who have called end_with_peers.
    fn will_send(&self, py: Python<'_>) -> PyResult<()> {
        let queue = self.handle.get(py)?;
        call(py, || queue.will_send())
    }

    /// Says that this handle is going to receive, before it does. As will_send.
    fn will_recv(&self, py: Python<'_>) -> PyResult<()> {
        let queue = self.handle.get(py)?;
        call(py, || queue.will_recv())
    }

    /// From now on a receive through this handle that would wait, or waits, raises Disconnected once every other handle that had
    /// sent is closed or its process gone; and a send that would wait, once every other handle that had received is. While nobody
    /// has sent (or received) yet, they wait. `end_with_peers(False)` ends that.
    ///
    /// The end of a process is noticed at once if it joined the queue after somebody had asked for this, and within 100 ms if before.
    #[pyo3(signature = (end=true))]
    fn end_with_peers(&self, py: Python<'_>, end: bool) -> PyResult<()> {
        self.handle.get(py)?.end_with_peers(end);
        Ok(())
    }

    /// Its name, or None if it is placed in a region.
    #[getter]
    fn name(&self) -> Option<&str> {
        self.handle.name()
    }

    /// Closes this handle; others go on using the queue. A call that waits in another thread goes on. Closing again does nothing.
    fn close(&self, py: Python<'_>) {
        self.handle.close(py);
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self.handle.get(py)?.len().map_err(|e| exception(py, &e, Doing::Other))
    }

    /// An open queue is true also while it is empty.
    fn __bool__(&self) -> bool {
        true
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        match self.recv(py, None) {
            Ok(message) => Ok(Some(message)),
            Err(e) => {
                let closed = defined_in_python(py, "_errors", "Closed")?;
                if e.is_instance(py, &closed) { Ok(None) } else { Err(e) }
            }
        }
    }

    fn __aiter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __anext__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        in_task(py, "next_message", (self.again(py)?,))
    }

    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        slf.get().handle.get(slf.py())?;
        Ok(slf)
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) {
        self.close(py);
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        self.handle.reduce(&PyType::new::<Self>(py))
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        self.handle.repr(py)
    }
}

impl Queue {
    /// Another handle, for a task: as any call that waits, it goes on when this one is closed.
    fn again(&self, py: Python<'_>) -> PyResult<Self> {
        self.handle.again(py).map(Self::from)
    }
}

/// Whether it is the error of a call for which there was no room in time.
#[cold]
fn is_out_of_time(py: Python<'_>, error: &PyErr) -> PyResult<bool> {
    let full = defined_in_python(py, "_errors", "Full")?;
    Ok(error.is_instance(py, &full))
}

/// How an attempt to receive a short message ended.
enum Received {
    /// It is this long.
    Short(usize),
    /// It is longer than that: as long as this, and still in the queue.
    Needs(usize),
}

pub(crate) fn options(
    py: Python<'_>,
    capacity: usize,
    max_message: usize,
    limit: Option<usize>,
    leases: usize,
) -> PyResult<QueueOptions> {
    let options = QueueOptions::new().max_message(max_message).leases(leases);
    match (capacity, limit) {
        (UNBOUNDED, None) => Ok(options.unbounded()),
        (UNBOUNDED, Some(limit)) => Ok(options.unbounded_within(limit)),
        (capacity, None) => Ok(options.capacity(capacity)),
        (_, Some(_)) => Err(invalid(py, "a limit in bytes is for an unbounded queue: give it with capacity=None")),
    }
}
