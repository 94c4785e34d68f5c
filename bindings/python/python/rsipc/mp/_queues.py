"""Queues. Each is a queue of rsipc's that has no name."""

import os
import queue
from typing import Any, Generic, TypeVar

import rsipc

from ._items import pack, unpack
from ._sharing import Deadline, Descriptor, arrive, pass_on

T = TypeVar("T")

LONGEST = 1 << 30
"""The most bytes of an item."""
SPACE = 1 << 40
"""How many bytes of a process's addresses a queue's items may take. Memory they take only as far as they are there."""
MOST = 1 << 24
"""The largest maxsize; a larger one is none."""
LENT = 16
"""How many long items can be written into a queue at a time."""
IN_PLACE = 1 << 16
"""Items of so many bytes are written into the memory of a queue that has a maxsize, without a copy in between."""


def make(maxsize: int, leases: int, longest: int) -> rsipc.Queue:
    """A queue without a name."""
    if 0 < maxsize <= MOST:
        return rsipc.Queue.anonymous(maxsize, min(longest, SPACE // maxsize), leases=leases)
    half = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return rsipc.Queue.anonymous(None, longest, limit=half, leases=leases)


def send(items: rsipc.Queue, item: object, deadline: Deadline) -> None:
    """Raises what Queue.send raises, and what pickle raises."""
    parts = pack(item)
    size = sum(map(len, parts))
    if items.capacity is None or size < IN_PLACE:
        return items.send(b"".join(parts), deadline.left())
    with items.loan(size, deadline.left()) as loan:
        with memoryview(loan) as memory:
            start = 0
            for part in parts:
                memory[start : start + len(part)] = part
                start += len(part)
        loan.send(deadline.left())


def receive(items: rsipc.Queue, deadline: Deadline) -> Any:
    """Raises what Queue.recv raises, and what pickle raises."""
    if items.capacity is None:
        return unpack(items.recv(deadline.left()))
    with items.recv_view(deadline.left()) as view:
        return unpack(memoryview(view))


class Queue(Generic[T]):
    """A queue of picklable objects, for any number of processes that put and get. With a `maxsize` above 0 put() waits while
    there are so many in it.

    >>> jobs = mp.Queue(maxsize=10)
    >>> jobs.put("first")
    >>> jobs.qsize(), jobs.empty(), jobs.full()
    (1, False, False)
    >>> jobs.get()
    'first'

    Items come out in the order in which they went in, each to one process. One whose put() returned is in the queue, also if
    its process ends right after. One that a process had got when it ended is gone with it; see JoinableQueue for work that is
    not to be lost.

    All methods may be called from any thread.
    """

    def __init__(self, maxsize: int = 0) -> None:
        self._open(maxsize, make(maxsize, LENT if maxsize > 0 else 0, LONGEST))

    def _open(self, maxsize: int, items: rsipc.Queue) -> None:
        self._maxsize = maxsize
        self._items = items
        self._closed_in: int | None = None

    def __getstate__(self) -> tuple[Any, ...]:
        return pass_on(self, self._items.memory_fileno()), self._maxsize

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        descriptor, maxsize = state
        self._open(maxsize, arrive(descriptor, rsipc.Queue.from_fd))

    def put(self, obj: T, block: bool = True, timeout: float | None = None) -> None:
        """Puts an item. While there is no room it waits, `timeout` seconds (None is for ever), or not at all if `block` is false.

        Raises queue.Full where there still is none; ValueError once close() was called, and for an item that is too long;
        what pickle raises; LimitReached, NoSpace where there is no memory for it. Nothing is put then.
        """
        self._check_open()
        try:
            self._put(obj, Deadline(block, timeout))
        except rsipc.Full:
            raise queue.Full from None

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Takes the next item. While there is none it waits, `timeout` seconds (None is for ever), or not at all if `block`
        is false.

        Raises queue.Empty where there still is none; ValueError once close() was called; what pickle raises: the item is gone
        then.
        """
        self._check_open()
        try:
            item: T = self._get(Deadline(block, timeout))
        except rsipc.Empty:
            raise queue.Empty from None
        return item

    def _put(self, item: object, deadline: Deadline) -> None:
        send(self._items, item, deadline)

    def _get(self, deadline: Deadline) -> Any:
        return receive(self._items, deadline)

    def put_nowait(self, obj: T) -> None:
        """put(obj, block=False)"""
        self.put(obj, False)

    def get_nowait(self) -> T:
        """get(block=False)"""
        return self.get(False)

    def qsize(self) -> int:
        """How many items wait to be got, at this moment."""
        return len(self._items)

    def empty(self) -> bool:
        """Whether no item waits to be got, at this moment."""
        return len(self._items) == 0

    def full(self) -> bool:
        """Whether put() would have to wait, at this moment."""
        capacity = self._items.capacity
        return capacity is not None and len(self._items) >= capacity

    def close(self) -> None:
        """Says that this process uses the queue no more: put() and get() raise ValueError from now on, in this process."""
        self._closed_in = os.getpid()

    def join_thread(self) -> None:
        """Returns at once: there is no thread that sends what was put.

        Raises AssertionError unless close() was called.
        """
        if not self._is_closed():
            raise AssertionError(f"Queue {self!r} not closed")

    def cancel_join_thread(self) -> None:
        """Does nothing: there is no thread that the end of the process would wait for."""

    def _is_closed(self) -> bool:
        # In a child of fork the queue is open again.
        return self._closed_in is not None and self._closed_in == os.getpid()

    def _check_open(self) -> None:
        if self._is_closed():
            raise ValueError(f"Queue {self!r} is closed")


class SimpleQueue(Generic[T]):
    """A queue of picklable objects without a bound: put() never waits. When a process ends, the same holds as for Queue.

    >>> results = mp.SimpleQueue()
    >>> results.put(42)
    >>> results.get()
    42
    """

    def __init__(self) -> None:
        self._items = make(0, 0, LONGEST)

    def __getstate__(self) -> Descriptor:
        return pass_on(self, self._descriptor())

    def __setstate__(self, state: Descriptor) -> None:
        self._items = arrive(state, rsipc.Queue.from_fd)

    def put(self, obj: T) -> None:
        """Puts an item.

        Raises OSError once close() was called; ValueError for an item that is too long; what pickle raises; LimitReached,
        NoSpace where there is no memory for it.
        """
        self._descriptor()
        send(self._items, obj, Deadline(True, None))

    def get(self) -> T:
        """Takes the next item, and waits for one.

        Raises OSError once close() was called; what pickle raises: the item is gone then.
        """
        self._descriptor()
        item: T = receive(self._items, Deadline(True, None))
        return item

    def empty(self) -> bool:
        """Whether no item waits to be got, at this moment.

        Raises OSError once close() was called.
        """
        self._descriptor()
        return len(self._items) == 0

    def close(self) -> None:
        """Closes the queue in this process."""
        self._items.close()

    def _descriptor(self) -> int:
        try:
            return self._items.memory_fileno()
        except rsipc.InvalidArgument:
            raise OSError("handle is closed") from None
