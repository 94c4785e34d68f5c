"""Locks that nobody else wants."""

import multiprocessing
from collections.abc import Callable

from processes import Turn, run

Lock = tuple[Callable[[], object], Callable[[], object]]


def rsipc_mutex(directory: str, prefix: str) -> Lock:
    import rsipc

    mutex = rsipc.Mutex.create("mutex", dir=directory)
    return mutex.acquire, mutex.release


def multiprocessing_lock(directory: str, prefix: str) -> Lock:
    lock = multiprocessing.Lock()
    return lock.acquire, lock.release


def posix_semaphore(directory: str, prefix: str) -> Lock:
    import posix_ipc

    semaphore = posix_ipc.Semaphore(f"/{prefix}semaphore", posix_ipc.O_CREX, initial_value=1)
    semaphore.unlink()
    return semaphore.acquire, semaphore.release


LOCKS = {
    "rsipc.Mutex": rsipc_mutex,
    "multiprocessing.Lock, not robust": multiprocessing_lock,
    "posix_ipc.Semaphore, not robust": posix_semaphore,
}


def pairs(subject: str, count: int, directory: str, prefix: str) -> None:
    # Before the process begins, where what is not installed is told.
    acquire, release = LOCKS[subject](directory, prefix)

    def alone(turn: Turn) -> None:
        def work() -> int:
            for _ in range(count):
                acquire()
                release()
            return count

        turn.measure(work)

    run({"the process": alone})
