"""Locks and semaphores. Each lies in a region without a name, and is made of permits, which come back when the process that
has them ends."""

import errno
import os
import threading
from multiprocessing import process
from types import TracebackType

import rsipc

from ._sharing import Deadline, Descriptor, arrive, pass_on

MAX_VALUE = 2**31 - 1
PERMITS = 64
"""Where the permits are in the region."""
SIGNALS = PERMITS + -(-rsipc.Semaphore.PERMITS_SIZE // 64) * 64
SIZE = SIGNALS + rsipc.Semaphore.SIZE

Thread = tuple[int, int]
"""A thread of any process: the process's id, and its own."""


def this_thread() -> Thread:
    return os.getpid(), threading.get_ident()


class SemLock:
    """What locks and semaphores have in common."""

    def __init__(self, value: int) -> None:
        if not 0 <= value <= MAX_VALUE:
            raise OSError(errno.EINVAL, f"a semaphore begins with a value from 0 to {MAX_VALUE}, not {value}")
        region = rsipc.Region.anonymous(SIZE)
        rsipc.Semaphore.create_permits_in(region, PERMITS, value)
        rsipc.Semaphore.create_in(region, SIGNALS, 0)
        self._open(region, value)

    def _open(self, region: rsipc.Region, initial: int) -> None:
        self._region = region
        self._initial = initial
        self._permits = rsipc.Semaphore.open_in(region, PERMITS)

    def __getstate__(self) -> tuple[Descriptor, int]:
        return pass_on(self, self._region.fileno()), self._initial

    def __setstate__(self, state: tuple[Descriptor, int]) -> None:
        descriptor, initial = state
        self._open(arrive(descriptor, rsipc.Region.from_fd), initial)

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Acquires it, and says whether it did. `block` says whether to wait, and `timeout` how many seconds; None is for
        ever."""
        try:
            self._permits.acquire(Deadline(block, timeout).left())
        except (rsipc.WouldBlock, rsipc.Timeout):
            return False
        return True

    def release(self) -> None:
        """Releases it."""
        try:
            self._permits.release()
        except rsipc.NotOwner:
            if self._permits.value < self._initial:
                text = f"this process has not acquired the {type(self).__name__}: only the process that has can release it"
                raise ValueError(text) from None
            raise ValueError("semaphore or lock released too many times") from None

    def locked(self) -> bool:
        """Whether acquire() would have to wait, at this moment."""
        return self._permits.value == 0

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /) -> None:
        self.release()


class Owned(SemLock):
    """What one thread holds at a time.

    The region's first byte says whether somebody does: set after the permit was acquired, cleared before it is released. Who
    acquires the permit and finds it set follows one who was killed in between.
    """

    def __init__(self) -> None:
        super().__init__(1)

    def _open(self, region: rsipc.Region, initial: int) -> None:
        super()._open(region, initial)
        self._held = memoryview(region)[:1]
        self._holder: Thread | None = None
        self._count = 0
        self._owner_died = False

    @property
    def owner_died(self) -> bool:
        """Whether the process that held the lock before this one ended without releasing it, so that what the lock guards may
        be half changed. For who holds the lock, and only until it releases it: the next one is not told again."""
        return self._owner_died

    def _acquire(self, block: bool, timeout: float | None) -> bool:
        if not super().acquire(block, timeout):
            return False
        self._holder, self._count = this_thread(), 1
        self._owner_died = self._held[0] != 0
        self._held[0] = 1
        return True

    def _release(self) -> None:
        self._holder, self._count = None, 0
        self._held[0] = 0
        super().release()

    def _is_held_here(self) -> bool:
        return self._holder is not None and self._holder[0] == os.getpid()

    def _describe_holder(self) -> tuple[str, int | str]:
        """Who holds it, and how many times."""
        if self._holder == this_thread():
            name = process.current_process().name
            if threading.current_thread().name != "MainThread":
                name += "|" + threading.current_thread().name
            return name, self._count
        if self._is_held_here():
            return "SomeOtherThread", "nonzero"
        return ("SomeOtherProcess", "nonzero") if self.locked() else ("None", 0)


class Lock(Owned):
    """A lock that only one thread of all processes holds at a time. One that holds it and acquires it again waits for itself.

    >>> lock = mp.Lock()
    >>> lock.acquire(), lock.acquire(timeout=0.01), lock.locked()
    (True, False, True)
    >>> lock.release()
    >>> with lock:
    ...     print(lock.owner_died)
    False

    Any thread of the process that acquired it may release it. When that process ends, in whatever way, the lock is free, and
    the next one that acquires it finds `owner_died` true.
    """

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Acquires it, and says whether it did. `block` says whether to wait, and `timeout` how many seconds; None is for ever.

        Raises LimitReached where 120 other processes use the lock.
        """
        return self._acquire(block, timeout)

    def release(self) -> None:
        """Releases it.

        Raises ValueError where nobody holds it, or another process does.
        """
        if self._is_held_here():
            self._release()
        else:
            super().release()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(owner={self._describe_holder()[0]})>"


class RLock(Owned):
    """A lock that only one thread of all processes holds at a time, which may acquire it more than once, and releases it as
    often.

    >>> lock = mp.RLock()
    >>> with lock, lock:
    ...     print(lock)
    <RLock(MainProcess, 2)>
    >>> lock
    <RLock(None, 0)>

    When the process that holds it ends, in whatever way, the lock is free, and the next one that acquires it finds
    `owner_died` true.
    """

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Acquires it (once more), and says whether it did. `block` says whether to wait, and `timeout` how many seconds;
        None is for ever.

        Raises LimitReached where 120 other processes use the lock.
        """
        if self._holder == this_thread():
            self._count += 1
            return True
        return self._acquire(block, timeout)

    def release(self) -> None:
        """Releases it once.

        Raises AssertionError where this thread does not hold it.
        """
        if self._holder != this_thread():
            raise AssertionError("attempt to release recursive lock not owned by thread")
        if self._count > 1:
            self._count -= 1
        else:
            self._release()

    def __repr__(self) -> str:
        name, count = self._describe_holder()
        return f"<{type(self).__name__}({name}, {count})>"


class Semaphore(SemLock):
    """A count that acquire() lowers, and waits while it is 0, and that release() raises, in whatever process.

    >>> slots = mp.Semaphore(2)
    >>> with slots:
    ...     print(slots)
    <Semaphore(value=1)>
    >>> ready = mp.Semaphore(0)
    >>> ready.release()  # another process may wait for it
    >>> ready.acquire(timeout=60)
    True

    The units that it begins with are permits: those that a process has acquired, and not released, come back when it ends, in
    whatever way. A release() by a process that holds none of them adds a unit, an event, which is gone once it was acquired.
    So where one process acquires and another one releases, let it begin with 0: otherwise the end of the first one gives back
    what the other has given already.
    """

    def __init__(self, value: int = 1) -> None:
        super().__init__(value)

    def _open(self, region: rsipc.Region, initial: int) -> None:
        super()._open(region, initial)
        self._signals = rsipc.Semaphore.open_in(region, SIGNALS)

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Acquires a unit, and says whether it did. `block` says whether to wait, and `timeout` how many seconds; None is for
        ever.

        Raises LimitReached where 120 other processes use the semaphore.
        """
        kinds = [self._permits, self._signals] if self._initial else [self._signals]
        deadline = Deadline(block, timeout)
        while True:
            for kind in kinds:
                try:
                    kind.acquire(0)
                except rsipc.WouldBlock:
                    continue
                return True
            left = deadline.left()
            if left == 0 or not rsipc.wait(kinds, left):
                return False

    def release(self) -> None:
        """Gives a unit.

        Raises ValueError where there are 2147483647.
        """
        try:
            self._permits.release()
        except rsipc.NotOwner:
            try:
                self._signals.release()
            except rsipc.LimitReached:
                raise ValueError("semaphore or lock released too many times") from None

    def get_value(self) -> int:
        """How many units there are to be acquired, at this moment."""
        return self._permits.value + self._signals.value

    def locked(self) -> bool:
        """Whether acquire() would have to wait, at this moment."""
        return self.get_value() == 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(value={self.get_value()})>"


class BoundedSemaphore(SemLock):
    """A number of units that processes acquire and give back: never more than it began with.

    >>> licences = mp.BoundedSemaphore(3)
    >>> with licences:
    ...     print(licences)
    <BoundedSemaphore(value=2, maxvalue=3)>

    A unit is released by the process that acquired it, by any of its threads; those of a process that ends, in whatever way,
    come back.
    """

    def __init__(self, value: int = 1) -> None:
        super().__init__(value)

    def get_value(self) -> int:
        """How many units there are to be acquired, at this moment."""
        return self._permits.value

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(value={self.get_value()}, maxvalue={self._initial})>"
