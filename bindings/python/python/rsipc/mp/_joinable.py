"""A queue that knows when all its items have been worked on."""

import contextlib
import os
from collections import deque
from typing import Any, TypeVar

import rsipc

from .._rsipc import finish_first, lease_with_permit
from ._items import can_be_unpacked, pack, unpack
from ._queues import LONGEST, Queue, make
from ._sharing import Deadline, arrive, pass_on

T = TypeVar("T")

MOST_OUT = 4096
"""How many items can be between get() and task_done()."""
SPARE = 256
"""How many more blocks the queue has, for long items that are put while it is full."""
PATIENCE = 1.0
"""How many seconds a call waits at least for another one, which takes a few microseconds unless its process was stopped."""
LOOK = 0.1
"""How many seconds join() sleeps at most before it looks for itself: who was to wake it may have died."""

MUTEX = 0
OUT = -(-rsipc.Mutex.SIZE // 64) * 64
ALL_DONE = OUT + -(-rsipc.Semaphore.PERMITS_SIZE // 64) * 64
SIZE = ALL_DONE + rsipc.Semaphore.SIZE


class JoinableQueue(Queue[T]):
    """A Queue whose items are worked on: who gets one calls task_done() afterwards, and join() waits until that was done for all.

    >>> jobs = mp.JoinableQueue()
    >>> jobs.put("resize cat.jpg")
    >>> jobs.get()
    'resize cat.jpg'
    >>> jobs.task_done()
    >>> jobs.join()

    An item is not gone before task_done() was called. If the process that got it ends before, in whatever way, or forgets its
    JoinableQueue, the item is the next one that is got. So an item may be worked on more than once, and none is lost; and
    join() waits for another process to do it.
    """

    # How join() can be sure
    #
    # An item that is not done is in the queue, or on lease to a process, which has acquired one of the permits of `_out`
    # before, and releases it after. When that process dies the item goes back to the queue, and the permit comes back, in any
    # order. Items are leased only by who holds the mutex. So who holds it, finds all permits there, and then cannot lease
    # anything, knows: no process that lives has an item, since it would have a permit; none that died has one, since an
    # attempt to lease from an empty queue takes back first what the dead had; and none was in the queue and left it
    # meanwhile.

    def __init__(self, maxsize: int = 0) -> None:
        region = rsipc.Region.anonymous(SIZE)
        rsipc.Mutex.create_in(region, MUTEX)
        rsipc.Semaphore.create_permits_in(region, OUT, MOST_OUT)
        rsipc.Semaphore.create_in(region, ALL_DONE, 0)
        self._open_all(region, maxsize, make(maxsize, MOST_OUT + SPARE, LONGEST // 4))

    def _open_all(self, region: rsipc.Region, maxsize: int, items: rsipc.Queue) -> None:
        self._open(maxsize, items)
        self._region = region
        self._mutex = rsipc.Mutex.open_in(region, MUTEX)
        self._out = rsipc.Semaphore.open_in(region, OUT)
        self._all_done = rsipc.Semaphore.open_in(region, ALL_DONE)
        self._forget_leases()

    def __getstate__(self) -> tuple[Any, ...]:
        return *super().__getstate__(), pass_on(self, self._region.fileno())

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        items, maxsize, region = state
        self._open_all(arrive(region, rsipc.Region.from_fd), maxsize, arrive(items, rsipc.Queue.from_fd))

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Takes the next item, as Queue.get does.

        Raises what that raises. Where pickle raises, the item counts as got, and task_done() is to be called for it. Where a
        signal handler raises (KeyboardInterrupt), it does not: it is the next one that is got. (To tell one from the other
        the item is unpickled once more.)
        """
        return super().get(block, timeout)

    def _put(self, item: object, deadline: Deadline) -> None:
        # Not in place: the blocks are for those items that are worked on.
        self._items.send(b"".join(pack(item)), deadline.left())

    # Why a signal handler that raises loses no item
    #
    # CPython runs handlers where a function begins, where a loop begins anew, and after a call; so also after the very call that
    # took something, or recorded it. Hence what is taken is taken in one call, and given back by its lease, however that is
    # forgotten; and it is recorded by an operator, between which and the end of get() there is no call.

    def _get(self, deadline: Deadline) -> Any:
        leases = self._leases_here()
        lease = self._next_lease(deadline)
        try:
            item = unpack(lease.message)
        except BaseException:
            # Where it is the item's fault, it counts as got, as with multiprocessing.
            if can_be_unpacked(lease.message):
                lease.give_back()
            else:
                leases += (lease,)
            raise
        leases += (lease,)
        return item

    def _next_lease(self, deadline: Deadline) -> rsipc.Lease:
        while True:
            lease = self._try_lease(deadline)
            if lease is not None:
                return lease
            left = deadline.left()
            awaited: rsipc.Queue | rsipc.Semaphore = self._items if self._out.value else self._out
            if left == 0 or not rsipc.wait([awaited], left):
                raise rsipc.Empty("no item came")

    def _try_lease(self, deadline: Deadline) -> rsipc.Lease | None:
        """The next item on lease, if there is one."""
        left = deadline.left()
        try:
            lease = lease_with_permit(self._items, self._out, self._mutex, None if left is None else max(left, PATIENCE))
        except rsipc.Timeout:
            lease = None
        if lease is None and len(self._leases_here()) >= MOST_OUT:
            raise rsipc.LimitReached(f"{MOST_OUT} items that this process got wait for its task_done()")
        return lease

    def task_done(self) -> None:
        """Says that the work is done on the item that this process got first of those that it has.

        Raises ValueError where it has none: it has called this for each item that it got.
        """
        try:
            finish_first(self._leases_here())
        except IndexError:
            raise ValueError("task_done() called too many times") from None
        # The last one sees that all are done. Should it die here, join() looks for itself.
        if self._out.value == MOST_OUT and self.empty() and self._all_done.value == 0:
            self._all_done.release()

    def join(self) -> None:
        """Waits until task_done() was called for all items that were put."""
        while not self._is_all_done():
            with contextlib.suppress(rsipc.Timeout):
                self._all_done.acquire(LOOK)
        if self._all_done.value == 0:
            # Another one may be waiting; if not, the next join() looks once more than it need.
            self._all_done.release()

    def _is_all_done(self) -> bool:
        with self._mutex.recover():
            if self._out.value != MOST_OUT or not self.empty():
                return False
            try:
                lease = self._items.try_lease()
            except rsipc.Empty:
                return True
            lease.give_back()
            return False

    def _leases_here(self) -> deque[rsipc.Lease]:
        """What this process got and has not done, in that order. A child of fork has none of its parent's."""
        if self._leases_of != os.getpid():
            self._forget_leases()
        return self._leases

    def _forget_leases(self) -> None:
        self._leases: deque[rsipc.Lease] = deque()
        self._leases_of = os.getpid()
