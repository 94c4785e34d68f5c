"""What rsipc.mp has in common with multiprocessing: the same tests for both."""

import multiprocessing
import os
import pickle
import queue
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

import mp_workers
import numpy as np
import pytest
import rsipc
from processes import BOUND
from rsipc import mp

METHODS = ["fork", "spawn", "forkserver"]


@pytest.fixture(params=[multiprocessing, mp], ids=["multiprocessing", "rsipc"])
def module(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=METHODS)
def context(module: Any, request: pytest.FixtureRequest) -> Any:
    return module.get_context(request.param)


def seen_by_another(lock: Any) -> str:
    """How a lock looks in another thread that holds nothing."""
    seen: list[str] = []
    thread = threading.Thread(target=lambda: seen.append(repr(lock)))
    thread.start()
    thread.join(BOUND)
    return seen[0]


def test_lock(module: Any) -> None:
    lock = module.Lock()
    assert repr(lock) == "<Lock(owner=None)>"
    assert lock.acquire() is True
    assert repr(lock) == "<Lock(owner=MainProcess)>"
    assert seen_by_another(lock) == "<Lock(owner=SomeOtherThread)>"
    assert lock.acquire(False) is False
    assert lock.acquire(True, 0.01) is False
    assert lock.acquire(timeout=-1) is False
    assert lock.acquire(block=False, timeout=5) is False
    lock.release()
    with pytest.raises(ValueError, match="semaphore or lock released too many times"):
        lock.release()
    with lock as held:
        assert held is True
    lock.acquire()
    other = threading.Thread(target=lock.release)
    other.start()
    other.join(BOUND)
    assert lock.acquire(timeout=0) is True
    with pytest.raises(TypeError):
        lock.acquire(timeout="soon")
    with pytest.raises(TypeError):
        module.Lock(1)


def test_rlock(module: Any) -> None:
    lock = module.RLock()
    assert repr(lock) == "<RLock(None, 0)>"
    with pytest.raises(AssertionError, match="attempt to release recursive lock not owned by thread"):
        lock.release()
    assert lock.acquire() is True
    with lock as held:
        assert held is True
        assert repr(lock) == "<RLock(MainProcess, 2)>"
        assert seen_by_another(lock) == "<RLock(SomeOtherThread, nonzero)>"
    results: list[object] = []

    def other() -> None:
        results.append(lock.acquire(False))
        try:
            lock.release()
        except AssertionError:
            results.append("not owned")

    thread = threading.Thread(target=other)
    thread.start()
    thread.join(BOUND)
    assert results == [False, "not owned"]
    lock.release()
    assert repr(lock) == "<RLock(None, 0)>"


def test_semaphore(module: Any) -> None:
    semaphore = module.Semaphore(2)
    assert repr(semaphore) == "<Semaphore(value=2)>"
    assert module.Semaphore().get_value() == 1
    assert semaphore.acquire()
    with semaphore as held:
        assert held is True
        assert semaphore.get_value() == 0
        assert not semaphore.acquire(False)
        assert not semaphore.acquire(timeout=0.01)
    for _ in range(3):
        semaphore.release()
    assert semaphore.get_value() == 4
    assert [semaphore.acquire(False) for _ in range(5)] == [True] * 4 + [False]
    with pytest.raises(OSError, match="Errno 22"):
        module.Semaphore(-1)


def test_bounded_semaphore(module: Any) -> None:
    semaphore = module.BoundedSemaphore(2)
    assert repr(semaphore) == "<BoundedSemaphore(value=2, maxvalue=2)>"
    with pytest.raises(ValueError, match="semaphore or lock released too many times"):
        semaphore.release()
    with semaphore, semaphore:
        assert semaphore.get_value() == 0
        assert not semaphore.acquire(timeout=0)
    assert semaphore.get_value() == 2
    with pytest.raises(OSError, match="Errno 22"):
        module.BoundedSemaphore(-1)


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore", "BoundedSemaphore"])
def test_who_waits_is_woken(module: Any, kind: str) -> None:
    lock = getattr(module, kind)()
    waits, results = threading.Event(), []
    lock.acquire()

    def wait() -> None:
        waits.set()
        results.append(lock.acquire(timeout=BOUND))
        lock.release()

    thread = threading.Thread(target=wait)
    thread.start()
    waits.wait(BOUND)
    time.sleep(0.05)
    lock.release()
    thread.join(BOUND)
    assert results == [True]


def test_queue(module: Any) -> None:
    items = module.Queue()
    assert items.empty()
    assert items.qsize() == 0
    assert not items.full()
    for item in (1, "two", {"three": [3.0, None]}):
        items.put(item)
    assert [items.get(timeout=BOUND) for _ in range(3)] == [1, "two", {"three": [3.0, None]}]
    for call in (
        lambda: items.get(False),
        items.get_nowait,
        lambda: items.get(True, 0),
        lambda: items.get(timeout=0.01),
        lambda: items.get(timeout=-1),
        lambda: items.get(block=False, timeout=5),
    ):
        with pytest.raises(queue.Empty) as raised:
            call()
        assert raised.type is queue.Empty
    items.close()
    items.join_thread()


def test_a_full_queue(module: Any) -> None:
    items = module.Queue(maxsize=2)
    items.put(1)
    items.put_nowait(2)
    assert items.full()
    assert items.qsize() == 2
    for call in (
        lambda: items.put(3, False),
        lambda: items.put_nowait(3),
        lambda: items.put(3, True, 0),
        lambda: items.put(3, timeout=0.01),
        lambda: items.put(obj=3, block=True, timeout=-1),
    ):
        with pytest.raises(queue.Full) as raised:
            call()
        assert raised.type is queue.Full
    assert items.get(timeout=BOUND) == 1
    items.put(3, timeout=BOUND)
    assert [items.get(timeout=BOUND), items.get(timeout=BOUND)] == [2, 3]
    assert not items.full()
    items.close()
    items.join_thread()


@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue"])
def test_a_closed_queue(module: Any, kind: str) -> None:
    items = getattr(module, kind)()
    with pytest.raises(AssertionError, match="not closed"):
        items.join_thread()
    items.cancel_join_thread()
    items.close()
    items.close()
    for call in (items.get, items.get_nowait, lambda: items.put(1), lambda: items.put_nowait(1)):
        with pytest.raises(ValueError, match=r"^Queue <.*Queue object at .*> is closed$"):
            call()
    items.join_thread()


def test_simple_queue(module: Any) -> None:
    items = module.SimpleQueue()
    assert items.empty()
    items.put([1])
    assert not items.empty()
    assert items.get() == [1]
    items.close()
    items.close()
    for call in (items.get, items.empty, lambda: items.put(1)):
        with pytest.raises(OSError, match="handle is closed"):
            call()


def test_joinable_queue(module: Any) -> None:
    items = module.JoinableQueue(3)
    items.join()
    with pytest.raises(ValueError, match=r"task_done\(\) called too many times"):
        items.task_done()
    items.put("a")
    items.put("b")
    joined = threading.Event()

    def join() -> None:
        items.join()
        joined.set()

    threads = [threading.Thread(target=join) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert items.get(timeout=BOUND) == "a"
    items.task_done()
    assert items.get(timeout=BOUND) == "b"
    assert not joined.wait(0.05)
    items.task_done()
    for thread in threads:
        thread.join(BOUND)
    assert joined.is_set()
    with pytest.raises(ValueError, match=r"task_done\(\) called too many times"):
        items.task_done()
    with pytest.raises(queue.Empty):
        items.get_nowait()
    items.close()
    items.join_thread()


@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue", "SimpleQueue", "Lock", "RLock", "Semaphore", "BoundedSemaphore"])
def test_only_a_process_that_is_being_started_gets_it(module: Any, kind: str) -> None:
    with pytest.raises(RuntimeError, match=f"{kind} objects should only be shared between processes through inheritance"):
        pickle.dumps(getattr(module, kind)())


ARRAYS: list[np.ndarray[Any, Any]] = [
    np.arange(100_000, dtype=np.float64),
    np.arange(100_000, dtype=np.int16).reshape(100, 1000),
    np.asfortranarray(np.arange(100_000).reshape(100, 1000)),
    np.arange(100_000).reshape(100, 1000)[:, ::2],
    np.arange(3),
    np.empty((0, 7)),
]


@pytest.mark.parametrize("maxsize", [0, 2])
@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue"])
def test_large_buffers(module: Any, kind: str, maxsize: int) -> None:
    items = getattr(module, kind)(maxsize)
    for array in ARRAYS:
        items.put(("array", array, b"x" * 100_000, bytearray(b"y" * 100_000)))
        name, received, some, others = items.get(timeout=BOUND)
        assert (name, some, others) == ("array", b"x" * 100_000, bytearray(b"y" * 100_000))
        assert received.dtype == array.dtype
        assert received.flags.writeable
        assert np.array_equal(received, array)
        received.fill(0)
    assert [array.sum() for array in ARRAYS[:1]] == [sum(range(100_000))]
    array = np.zeros(100_000)
    items.put([array, array])
    one, other = items.get(timeout=BOUND)
    assert one is other
    items.close()
    items.join_thread()


def test_a_process_uses_all(context: Any) -> None:
    made = (
        context.Queue(4),
        context.SimpleQueue(),
        context.JoinableQueue(),
        context.Lock(),
        context.RLock(),
        context.Semaphore(0),
        context.BoundedSemaphore(2),
    )
    child = context.Process(target=mp_workers.work_with_all, args=made)
    child.start()
    made[0].put("item")
    made[2].put("work")
    made[2].join()
    assert made[5].acquire(timeout=BOUND)
    assert made[1].get() == ("item", "work", child.pid)
    child.join(BOUND)
    assert child.exitcode == 0
    assert made[3].acquire(False)
    assert made[6].get_value() == 2


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore", "BoundedSemaphore"])
def test_only_one_at_a_time(module: Any, kind: str) -> None:
    context = module.get_context("fork")
    lock, region = getattr(context, kind)(), rsipc.Region.anonymous(8)
    children = [context.Process(target=mp_workers.add, args=(lock, region, 500)) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join(BOUND)
        assert child.exitcode == 0
    assert memoryview(region).cast("Q")[0] == 1500


def test_another_process_holds_it(context: Any) -> None:
    lock, rlock, held = context.Lock(), context.RLock(), context.SimpleQueue()
    children = [context.Process(target=mp_workers.hold, args=(one, held)) for one in (lock, rlock)]
    for child in children:
        child.start()
    assert [held.get(), held.get()] == ["held", "held"]
    assert repr(lock) == "<Lock(owner=SomeOtherProcess)>"
    assert repr(rlock) == "<RLock(SomeOtherProcess, nonzero)>"
    assert not lock.acquire(timeout=0.01)
    assert not rlock.acquire(timeout=0.01)
    with pytest.raises(AssertionError, match="not owned"):
        rlock.release()
    for child in children:
        child.kill()
        child.join(BOUND)


def test_a_forked_process_holds_no_lock_of_its_parent(module: Any) -> None:
    context = module.get_context("fork")
    rlock, answer = context.RLock(), context.SimpleQueue()
    with rlock:
        child = context.Process(target=lambda: answer.put((rlock.acquire(False), repr(rlock))))
        child.start()
        assert answer.get() == (False, "<RLock(SomeOtherProcess, nonzero)>")
        child.join(BOUND)


def test_workers_share_the_work(context: Any) -> None:
    jobs, results = context.JoinableQueue(10), context.Queue()
    workers = [context.Process(target=mp_workers.work_on, args=(jobs, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for number in range(200):
        jobs.put(number)
    for _ in workers:
        jobs.put(None)
    jobs.join()
    assert sorted(results.get(timeout=BOUND) for _ in range(200)) == list(range(200))
    for worker in workers:
        worker.join(BOUND)
        assert worker.exitcode == 0


def test_a_pool(context: Any) -> None:
    items, lock = context.Queue(), context.Lock()
    with context.Pool(2, mp_workers.keep_all, (items, lock)) as pool:
        workers = set(pool.map_async(mp_workers.put_kept, range(20)).get(BOUND))
        assert os.getpid() not in workers
        assert sorted(items.get(timeout=BOUND) for _ in range(20)) == list(range(20))


def test_what_else_multiprocessing_can_send(module: Any) -> None:
    items = module.Queue()
    near, far = module.Pipe()
    items.put(far)
    received = items.get(timeout=BOUND)
    assert isinstance(received, Connection)
    near.send("through the queue")
    assert received.recv() == "through the queue"
    items.close()
    items.join_thread()
