"""Shared memory, robust locks and message queues between processes in Rust, C and Python.

- Region: named or anonymous memory that many processes map, with the buffer protocol.
- Mutex: a robust lock; when its holder dies, the next ones are told.
- Semaphore: a count to wait for, or permits that come back when their holder dies.
- Queue: messages from any number of senders to any number of receivers, with room for none, some, or any number of them.
- Endpoint: a process's own address, to which others send, and calls that wait for a reply.
- Lease: a message that comes back to the queue if its receiver dies before the work is done.
- Loan, MessageView: a message that is written and read where it lies in the queue, without a copy.

>>> import rsipc
>>> queue = rsipc.Queue.create("jobs", capacity=8, max_message=1024)
>>> queue.send(b"first")
>>> rsipc.Queue.open("jobs").recv()
b'first'
>>> rsipc.unlink("jobs")

Names
    Objects have names in a namespace: a directory on a tmpfs that belongs to the user alone. It is the one that the environment
    variable RSIPC_DIR names, or else /dev/shm/rsipc-UID; a call with `dir=` uses another. An object stays until its name is taken
    away with unlink() and the last handle is closed. list() shows what there is.

When a process dies
    A process may be killed at any machine instruction, and everyone else carries on: nothing hangs, no message whose send
    returned is lost, none is torn, none comes twice. What a dead process held comes back: its locks (the next owners are told),
    its permits, its places in a queue, the messages that it had on lease.

Waiting
    Every call that can wait takes a timeout in seconds: None waits for ever, 0 not at all. While a call waits other threads of
    Python run. Ctrl-C works in every wait; a signal handler that returns does not end it. Calls that do not wait do not let go of
    the GIL.

    wait() waits for one of several objects. Queues, semaphores and endpoints have a fileno() for event loops, and tasks of
    asyncio wait in `await queue.recv_async()`, `async for message in queue`, and the like.

Counters
    The library never prints. queue.counters(), and the same of mutexes, semaphores and endpoints, say how many messages and
    bytes went through an object, how often somebody had to sleep for it and was woken, and what was put right of the dead.

Errors
    Every error is an Error, and where there is one of the same meaning, a built-in exception too: Timeout is a TimeoutError, Full
    is a queue.Full. A wrong type is a TypeError. A call on a closed handle raises InvalidArgument.

Processes
    Handles may be used in a child of os.fork, and can be pickled, as for a process that multiprocessing spawns: there they open
    the object again by its name. Endpoints alone belong to the process that opened them.

    `from rsipc import mp` has the queues, locks and semaphores of multiprocessing, made of these objects: see help(rsipc.mp).
"""

from . import _errors, _types
from ._errors import (
    AlreadyExists,
    BufferTooSmall,
    Closed,
    Corrupted,
    Deadlock,
    Disconnected,
    Empty,
    Error,
    Full,
    Interrupted,
    InvalidArgument,
    LimitReached,
    MessageTooLong,
    NoMemory,
    NoReply,
    NoSpace,
    NotFound,
    NotOwner,
    NotRecoverable,
    OsError,
    OwnerDied,
    PeerGone,
    PermissionDenied,
    RecvTimeout,
    Reentrant,
    SendTimeout,
    Timeout,
    TooManyFiles,
    Unsupported,
    WouldBlock,
    WrongKind,
    WrongVersion,
)
from ._rsipc import (
    Address,
    Endpoint,
    Lease,
    Loan,
    Message,
    MessageView,
    Mutex,
    Queue,
    Recovery,
    Region,
    Semaphore,
    __version__,
    catch_truncation,
    list,
    unlink,
    wait,
)
from ._types import Counters, Entry, Peer

__all__ = [
    "Address",
    "AlreadyExists",
    "BufferTooSmall",
    "Closed",
    "Corrupted",
    "Counters",
    "Deadlock",
    "Disconnected",
    "Empty",
    "Endpoint",
    "Entry",
    "Error",
    "Full",
    "Interrupted",
    "InvalidArgument",
    "Lease",
    "LimitReached",
    "Loan",
    "Message",
    "MessageTooLong",
    "MessageView",
    "Mutex",
    "NoMemory",
    "NoReply",
    "NoSpace",
    "NotFound",
    "NotOwner",
    "NotRecoverable",
    "OsError",
    "OwnerDied",
    "Peer",
    "PeerGone",
    "PermissionDenied",
    "Queue",
    "Recovery",
    "RecvTimeout",
    "Reentrant",
    "Region",
    "Semaphore",
    "SendTimeout",
    "Timeout",
    "TooManyFiles",
    "Unsupported",
    "WouldBlock",
    "WrongKind",
    "WrongVersion",
    "__version__",
    "catch_truncation",
    "list",
    "unlink",
    "wait",
]

# Their home is the package: that is where pickle and tracebacks name them.
for _class in [*vars(_errors).values(), *vars(_types).values()]:
    if isinstance(_class, type) and _class.__module__ in (_errors.__name__, _types.__name__):
        _class.__module__ = __name__
del _class
