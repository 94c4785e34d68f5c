"""What multiprocessing's queues, locks and semaphores are, but for one thing: a process that is killed does not hang the others.

`from rsipc import mp` stands where `import multiprocessing as mp` stood:

>>> from rsipc import mp
>>> results = mp.Queue()
>>> results.put({"cat.jpg": (640, 480)})
>>> results.get(timeout=60)
{'cat.jpg': (640, 480)}
>>> with mp.Lock() as held:
...     held
True

Queue, JoinableQueue, SimpleQueue, Lock, RLock, Semaphore and BoundedSemaphore are rsipc's, with the signatures, exceptions
and meanings that multiprocessing's have. get_context(method) gives the same of a start method. Everything else in this
module, such as Process, Pool, Event or Condition, is multiprocessing's own (and no safer than it was): these are made of its
own locks, and concurrent.futures takes its own contexts.

Sharing
    As multiprocessing's, they are handed to a process when it is started: as an argument of Process, or of the initializer of
    a Pool, whatever the start method; a forked process inherits them. To pickle one at another time raises RuntimeError.

    They have no names. Their memory belongs to the processes that use them, and is gone with the last of these, in whatever
    way they end: there are no files to be left behind, and nobody (such as multiprocessing's resource tracker) who cleans up.
    Each lock and semaphore takes one file descriptor in each process, each queue one, and a JoinableQueue two.

When a process is killed
    Nothing hangs, in the others, at whatever instruction it happened; and not only when it is killed: its end in any way does
    the same.

    A Lock, RLock or BoundedSemaphore that it held is free again, typically within a millisecond, at the latest after 100 ms.
    Who acquires the lock next can see in `lock.owner_died` that what it guards may be half changed. A Semaphore gets back
    what the dead process had acquired of the value that it began with; what others have added by release() are events, which
    are gone once they were acquired.

    An item whose put() returned is in the queue; there is no thread that still has to send it. Of a put() that was killed the
    item is there whole or not at all.

    An item that the dead process had got from a Queue or a SimpleQueue is gone with it: at most one for each of its threads
    inside get(), and those it was working on. An item of a JoinableQueue is delivered again, to the next get(), unless
    task_done() was called for it: so join() returns when all work was done, by whomever.

What differs
    - put() pickles the object at once. What cannot be pickled raises in put(), and what is changed afterwards does not change
      the item. Large buffers (those of numpy arrays and other objects that support protocol 5 of pickle) go beside the
      pickle, and are not copied into it.
    - A Lock or BoundedSemaphore is released by the process that acquired it (by any of its threads). In others release()
      raises ValueError, since only so is it known whose it is. For a count that one process raises and another one lowers use
      Semaphore(0).
    - task_done() counts in the process that got the item; an item whose process ends before it is delivered again, also where
      that was not killed.
    - An item has at most 1 GiB when it is pickled (256 MiB in a JoinableQueue), or 1 TiB / maxsize where that is less. Longer
      ones raise ValueError in put(). Items of a queue without a maxsize take at most half of the machine's memory: put()
      raises LimitReached beyond.
    - At most 4096 items of a JoinableQueue can be between get() and task_done() at a time: get() waits for a task_done()
      then, and raises LimitReached where this process has all of them.
    - At most 120 processes can use one lock, semaphore or JoinableQueue at a time, and 500 one of the other queues; then
      LimitReached is raised.
    - All processes are of one pid namespace.
"""

import multiprocessing
from typing import Any

from ._joinable import JoinableQueue
from ._locks import BoundedSemaphore, Lock, RLock, Semaphore
from ._queues import Queue, SimpleQueue

__all__ = [
    "BoundedSemaphore",
    "Context",
    "JoinableQueue",
    "Lock",
    "Queue",
    "RLock",
    "Semaphore",
    "SimpleQueue",
    "get_context",
]


class Context:
    """A context of multiprocessing, with this module's queues and locks. get_context() returns it."""

    BoundedSemaphore = BoundedSemaphore
    JoinableQueue = JoinableQueue
    Lock = Lock
    Queue = Queue
    RLock = RLock
    Semaphore = Semaphore
    SimpleQueue = SimpleQueue

    def __init__(self, method: str | None = None) -> None:
        self._context = multiprocessing.get_context(method)

    def get_context(self, method: str | None = None) -> "Context":
        """The context of another start method, or this one."""
        return self if method is None else Context(method)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._context, name)


def get_context(method: str | None = None) -> Context:
    """What multiprocessing.get_context(method) gives, with this module's queues and locks: method is "fork", "spawn" or
    "forkserver", and None is the default of this Python.

    >>> spawn = mp.get_context("spawn")
    >>> jobs = spawn.JoinableQueue()
    >>> worker = spawn.Process(target=print, args=(jobs,))

    Raises ValueError for a method that there is not.
    """
    return Context(method)


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(multiprocessing, name)


# Their home is this module: that is where pickle and tracebacks name them.
for _class in (BoundedSemaphore, JoinableQueue, Lock, Queue, RLock, Semaphore, SimpleQueue):
    _class.__module__ = __name__
del _class
