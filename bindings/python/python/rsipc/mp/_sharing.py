"""How objects without names get into other processes: by the descriptor of their memory, while a process is being started;
and how long calls wait."""

import os
import time
from collections.abc import Callable
from multiprocessing import context, reduction
from typing import Protocol, TypeVar

T = TypeVar("T")


class Descriptor(Protocol):
    """A file descriptor on its way into a process that is being started."""

    def detach(self) -> int: ...


def pass_on(owner: object, fd: int) -> Descriptor:
    """The descriptor, to be pickled as a part of `owner`.

    Raises RuntimeError unless a process is being started.
    """
    context.assert_spawning(owner)
    return reduction.DupFd(fd)


def arrive(descriptor: Descriptor, from_fd: Callable[[int], T]) -> T:
    """Opens the object behind a descriptor that has arrived here, with what duplicates it."""
    fd = descriptor.detach()
    try:
        return from_fd(fd)
    finally:
        os.close(fd)


class Deadline:
    """When a call that was given `block` and `timeout` is to end."""

    def __init__(self, block: bool, timeout: float | None) -> None:
        self._end = 0.0 if not block else None if timeout is None else time.monotonic() + timeout

    def left(self) -> float | None:
        """How many seconds are left, as rsipc's calls want to know it: None is for ever, 0 not at all."""
        return None if self._end is None else max(self._end - time.monotonic(), 0.0)
