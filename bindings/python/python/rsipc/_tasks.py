"""Waiting in tasks of asyncio.

A task that finds nothing waits until the object's descriptor is readable, and then tries again. What it tries, it does itself, in
the step in which it goes on: a task that is cancelled before has taken nothing, and the descriptor stays readable for the next.
"""

import asyncio
from typing import Protocol, TypeVar
from weakref import WeakKeyDictionary

from ._errors import Closed, Empty, Full, WouldBlock
from ._rsipc import Queue, Semaphore

T_co = TypeVar("T_co", covariant=True)

Waiters = dict[asyncio.Future[None], None]
"""Of one descriptor, in the order in which they came."""

_waiting: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, Waiters]] = WeakKeyDictionary()
"""Who waits for which descriptor. What is in it of an event loop, only that loop's thread uses."""


class Source(Protocol[T_co]):
    def try_recv(self) -> T_co: ...
    def fileno(self) -> int: ...


async def recv(source: Source[T_co]) -> T_co:
    while True:
        try:
            return source.try_recv()
        except Empty:
            await _readable(source.fileno())


async def next_message(queue: Queue) -> bytes:
    try:
        return await recv(queue)
    except Closed:
        raise StopAsyncIteration from None


async def send(queue: Queue, data: bytes) -> None:
    while True:
        try:
            return queue.try_send(data)
        except Full:
            await _readable(queue.send_fileno())


async def acquire(semaphore: Semaphore) -> None:
    while True:
        try:
            return semaphore.acquire(0)
        except WouldBlock:
            await _readable(semaphore.fileno())


async def _readable(descriptor: int) -> None:
    """Waits until the descriptor is readable, and it is this task's turn."""
    loop = asyncio.get_running_loop()
    descriptors = _waiting.setdefault(loop, {})
    if descriptor not in descriptors:
        descriptors[descriptor] = {}
        loop.add_reader(descriptor, _wake_next, descriptors[descriptor])
    waiters = descriptors[descriptor]
    waiter = loop.create_future()
    waiters[waiter] = None
    try:
        await waiter
    finally:
        del waiters[waiter]
        if not waiters:
            loop.remove_reader(descriptor)
            del descriptors[descriptor]


def _wake_next(waiters: Waiters) -> None:
    """Wakes one of them. While the descriptor is still readable after that, the event loop calls this again."""
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
            return
