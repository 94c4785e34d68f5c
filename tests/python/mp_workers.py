"""What the started processes of the tests of rsipc.mp do."""

import os
import signal
import time
from typing import Any

import rsipc


def work_with_all(queue: Any, simple: Any, joinable: Any, lock: Any, rlock: Any, semaphore: Any, bounded: Any) -> None:
    """Answers the item that it gets with whether all the others work here."""
    item = queue.get(timeout=60)
    with lock, rlock, rlock, bounded:
        assert not lock.acquire(False)
    semaphore.release()
    done = joinable.get(timeout=60)
    joinable.task_done()
    simple.put((item, done, os.getpid()))


def add(lock: Any, region: rsipc.Region, times: int) -> None:
    numbers = memoryview(region).cast("Q")
    for _ in range(times):
        with lock:
            number = numbers[0]
            time.sleep(0)
            numbers[0] = number + 1


def hold(lock: Any, held: Any) -> None:
    """Acquires, and never comes to release."""
    lock.acquire()
    held.put("held")
    time.sleep(3600)


def put_for_ever(queue: Any, begun: Any) -> None:
    begun.put("begun")
    number = 0
    while True:
        queue.put(number)
        number += 1


def get_for_ever(queue: Any, results: Any) -> None:
    while True:
        results.put(queue.get())


def get_and_wait(queue: Any, got: Any, done: int) -> None:
    """Gets an item after the other, and calls task_done() for the first `done` of them."""
    for number in range(10**6):
        got.put(queue.get())
        if number < done:
            queue.task_done()


def work_on(queue: Any, results: Any) -> None:
    while (item := queue.get()) is not None:
        results.put(item)
        queue.task_done()
    queue.task_done()


def die_over(queue: Any, deadly: int) -> None:
    """Works on items until it meets one that kills it."""
    while True:
        if queue.get() == deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        queue.task_done()


fixed: dict[str, Any] = {}


def keep(**objects: Any) -> None:
    fixed.update(objects)


def keep_all(queue: Any, lock: Any) -> None:
    keep(queue=queue, lock=lock)


def put_kept(number: int) -> int:
    with fixed["lock"]:
        fixed["queue"].put(number)
    return os.getpid()


class Unreadable:
    """What can be pickled, but not unpickled: that raises an error."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def __reduce__(self) -> tuple[Any, ...]:
        return raise_error, (self.error,)


def raise_error(error: type[BaseException]) -> None:
    raise error


class Reluctant:
    """What raises when it is unpickled, as if a signal handler had: the first of three times."""

    times = 0

    def __setstate__(self, state: object) -> None:
        Reluctant.times += 1
        if Reluctant.times % 3 == 1:
            raise InterruptedError

    def __getstate__(self) -> int:
        return 1
