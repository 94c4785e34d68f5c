"""What rsipc.mp promises beyond multiprocessing: a killed process does not hang the others, and leaves nothing behind."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mp_workers
import pytest
import rsipc
from processes import BOUND, Program
from rsipc import mp

fork = mp.get_context("fork")
METHODS = ["fork", "spawn", "forkserver"]


class Started:
    """Processes, which are killed at the end of the test."""

    def __init__(self) -> None:
        self._all: list[Any] = []

    def __call__(self, target: Any, *args: Any, context: Any = fork) -> Any:
        child = context.Process(target=target, args=args)
        child.start()
        self._all.append(child)
        return child

    def kill_all(self) -> None:
        for child in self._all:
            kill(child)


@pytest.fixture
def start() -> Iterator[Started]:
    started = Started()
    yield started
    started.kill_all()


def kill(child: Any) -> None:
    child.kill()
    child.join(BOUND)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_a_lock_is_free_again_and_its_next_owner_is_told(start: Started, kind: str, method: str) -> None:
    context: Any = mp.get_context(method)
    lock, held = getattr(context, kind)(), context.SimpleQueue()
    with lock:
        assert not lock.owner_died
    for _ in range(2):
        child = start(mp_workers.hold, lock, held, context=context)
        held.get()
        assert lock.locked()
        assert not lock.acquire(False)
        kill(child)
        # The second one acquires it after the first one's death, and is killed as well.
    assert lock.acquire(timeout=BOUND)
    assert lock.owner_died
    lock.release()
    with lock:
        assert not lock.owner_died


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore", "BoundedSemaphore"])
def test_who_waits_for_what_a_killed_process_held_is_woken(start: Started, kind: str) -> None:
    lock = getattr(mp, kind)()
    held: Any = mp.SimpleQueue()
    child = start(mp_workers.hold, lock, held)
    held.get()
    killer = threading.Timer(0.2, child.kill)
    killer.start()
    assert lock.acquire(timeout=BOUND)
    killer.join(BOUND)
    lock.release()
    assert not lock.locked()


def test_a_semaphores_events_are_not_given_back(start: Started) -> None:
    semaphore = mp.Semaphore(0)
    held: Any = mp.SimpleQueue()
    semaphore.release()
    child = start(mp_workers.hold, semaphore, held)
    held.get()
    kill(child)
    assert not semaphore.acquire(timeout=0.3)
    assert semaphore.get_value() == 0


def test_only_its_process_releases_a_lock(start: Started) -> None:
    for lock in (mp.Lock(), mp.BoundedSemaphore()):
        held: Any = mp.SimpleQueue()
        start(mp_workers.hold, lock, held)
        held.get()
        with pytest.raises(ValueError, match="only the process that has can release it"):
            lock.release()
        assert lock.locked()


@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue", "SimpleQueue"])
def test_killed_inside_put(start: Started, kind: str) -> None:
    items: Any = getattr(mp, kind)()
    begun: Any = mp.SimpleQueue()

    def get() -> object:
        item = items.get()
        # However many come: no more than 4096 of them are out at a time.
        if kind == "JoinableQueue":
            items.task_done()
        return item

    for round_ in range(8):
        child = start(mp_workers.put_for_ever, items, begun)
        begun.get()
        time.sleep(0.002 * round_)
        kill(child)
        items.put("end")
        got = []
        while (item := get()) != "end":
            got.append(item)
        assert got == list(range(len(got)))
    assert items.empty()


@pytest.mark.parametrize("size", [0, 4])
@pytest.mark.parametrize("length", [1, 100_000])
def test_killed_inside_get(start: Started, size: int, length: int) -> None:
    items: Any = mp.Queue(size)
    results: Any = mp.Queue()
    count = 100

    def put() -> None:
        for number in range(count):
            items.put((number, b"x" * length), timeout=BOUND)

    putting = threading.Thread(target=put)
    putting.start()
    killed = 0
    got: list[int] = []
    worker = start(mp_workers.get_for_ever, items, results)
    while killed < 8:
        number, payload = results.get(timeout=BOUND)
        assert payload == b"x" * length
        got.append(number)
        if len(got) % 10 == 0:
            kill(worker)
            killed += 1
            worker = start(mp_workers.get_for_ever, items, results)
    putting.join(BOUND)
    items.put(("end", b""), timeout=BOUND)
    while (number := results.get(timeout=BOUND)[0]) != "end":
        got.append(number)
    putting.join(BOUND)
    assert not putting.is_alive()
    assert items.empty()
    assert got == sorted(set(got))
    assert len(got) >= count - killed


def test_a_reader_that_is_killed_while_it_waits_takes_nothing(start: Started) -> None:
    items: Any = mp.Queue()
    results: Any = mp.Queue()
    children = [start(mp_workers.get_for_ever, items, results) for _ in range(3)]
    time.sleep(0.1)
    kill(children[0])
    kill(children[1])
    items.put(1)
    assert results.get(timeout=BOUND) == 1


@pytest.mark.parametrize("method", METHODS)
def test_items_of_a_joinable_queue_are_delivered_again(start: Started, method: str) -> None:
    context: Any = mp.get_context(method)
    jobs, got = context.JoinableQueue(), context.SimpleQueue()
    for number in range(5):
        jobs.put(number)
    child = start(mp_workers.get_and_wait, jobs, got, 2, context=context)
    assert [got.get() for _ in range(5)] == list(range(5))
    with pytest.raises(queue.Empty):
        jobs.get(timeout=0.01)
    kill(child)
    assert [jobs.get(timeout=BOUND) for _ in range(3)] == [2, 3, 4]
    for _ in range(3):
        jobs.task_done()
    jobs.join()
    with pytest.raises(ValueError, match="too many times"):
        jobs.task_done()


def test_join_waits_until_somebody_has_done_what_a_killed_process_had(start: Started) -> None:
    jobs: Any = mp.JoinableQueue()
    results: Any = mp.SimpleQueue()
    jobs.put("job")
    child = start(mp_workers.get_and_wait, jobs, results, 0)
    assert results.get() == "job"
    joined = threading.Event()

    def join() -> None:
        jobs.join()
        joined.set()

    joining = threading.Thread(target=join)
    joining.start()
    kill(child)
    assert not joined.wait(0.5)
    start(mp_workers.work_on, jobs, results)
    assert results.get() == "job"
    joining.join(BOUND)
    assert joined.is_set()


def test_a_get_that_waits_finds_what_comes_back(start: Started) -> None:
    jobs: Any = mp.JoinableQueue()
    results: Any = mp.SimpleQueue()
    jobs.put("job")
    child = start(mp_workers.get_and_wait, jobs, results, 0)
    assert results.get() == "job"
    killer = threading.Timer(0.2, child.kill)
    killer.start()
    assert jobs.get(timeout=BOUND) == "job"
    jobs.task_done()
    jobs.join()
    killer.join(BOUND)


def test_join_returns_although_workers_die(start: Started) -> None:
    jobs: Any = mp.JoinableQueue(10)
    results: Any = mp.SimpleQueue()
    done = threading.Event()

    def start_workers() -> None:
        while not done.is_set():
            worker = start(mp_workers.work_on, jobs, results)
            time.sleep(0.03)
            kill(worker)
        start(mp_workers.work_on, jobs, results)

    starting = threading.Thread(target=start_workers)
    starting.start()
    for number in range(300):
        jobs.put(number, timeout=BOUND)
        if number == 200:
            done.set()
    jobs.join()
    starting.join(BOUND)
    got = []
    while not results.empty():
        got.append(results.get())
    assert set(got) == set(range(300))


def test_an_item_that_kills_goes_to_the_next(start: Started) -> None:
    jobs: Any = mp.JoinableQueue()
    jobs.put(13)
    for _ in range(3):
        worker = start(mp_workers.die_over, jobs, 13)
        worker.join(BOUND)
        assert worker.exitcode == -signal.SIGKILL
    assert jobs.get(timeout=BOUND) == 13


def test_a_forked_process_has_none_of_its_parents_items(start: Started) -> None:
    jobs: Any = mp.JoinableQueue()
    answer: Any = mp.SimpleQueue()
    jobs.put("job")
    jobs.get()

    def child() -> None:
        try:
            jobs.task_done()
        except ValueError as error:
            answer.put(str(error))

    start(child).join(BOUND)
    assert answer.get() == "task_done() called too many times"
    jobs.task_done()
    jobs.join()


def test_more_items_than_can_be_worked_on_at_a_time() -> None:
    jobs: Any = mp.JoinableQueue()
    for number in range(4097):
        jobs.put(number)
    assert [jobs.get(timeout=BOUND) for _ in range(4096)] == list(range(4096))
    with pytest.raises(rsipc.LimitReached, match=r"4096 items .* task_done"):
        jobs.get()
    jobs.task_done()
    assert jobs.get(timeout=BOUND) == 4096
    for _ in range(4096):
        jobs.task_done()
    jobs.join()


def test_too_long_an_item() -> None:
    items: Any = mp.Queue(1 << 24)
    with pytest.raises(ValueError, match="max_message"):
        items.put(b"x" * (1 << 17))
    items.put("short")
    assert items.get(timeout=BOUND) == "short"


def test_what_cannot_be_pickled_raises_in_put() -> None:
    items: Any = mp.Queue()
    with pytest.raises(Exception, match="pickle"):
        items.put(lambda: None)
    assert items.empty()


def test_an_item_is_what_it_was_when_it_was_put() -> None:
    items: mp.Queue[list[int]] = mp.Queue()
    item = [1]
    items.put(item)
    item.append(2)
    assert items.get() == [1]


def test_the_module_is_a_context_of_multiprocessing() -> None:
    import multiprocessing

    assert mp.Process is multiprocessing.Process
    assert mp.cpu_count() == multiprocessing.cpu_count()
    context = mp.get_context("spawn")
    assert context.get_start_method() == "spawn"
    assert context.get_context() is context
    assert context.Event().is_set() is False
    with pytest.raises(ValueError, match="cannot find context"):
        mp.get_context("beam")
    for thing in (mp, context):
        with pytest.raises(AttributeError):
            thing._nothing  # noqa: B018
        with pytest.raises(AttributeError):
            thing.nothing  # noqa: B018


def test_nothing_is_left_when_all_are_killed(namespace: Path) -> None:
    """Not even the creator of the objects, and those who clean up after it, have a chance."""
    with Program(
        """
        sys.path.insert(0, sys.argv[1])
        import mp_workers
        from rsipc import mp
        if __name__ == '__main__':
            context = mp.get_context('spawn')
            queue, jobs, lock, held = context.Queue(4), context.JoinableQueue(), context.Lock(), context.SimpleQueue()
            queue.put(b'x' * 1_000_000)
            jobs.put('job')
            children = [
                context.Process(target=mp_workers.hold, args=(lock, held)),
                context.Process(target=mp_workers.get_and_wait, args=(jobs, held, 0)),
            ]
            for child in children:
                child.start()
                held.get()
            print(' '.join(str(child.pid) for child in children), flush=True)
            time.sleep(60)
        """,
        Path(__file__).parent,
    ) as program:
        children = [int(pid) for pid in program.line().split()]
        assert rsipc.list() == []
        for pid in [program.pid, *children]:
            os.kill(pid, signal.SIGKILL)
    assert [name for name in os.listdir(namespace) if not name.startswith(".lives")] == []


def test_a_program_that_ends_says_nothing() -> None:
    """No warnings, no leaks that a resource tracker reports, no waiting for threads."""
    text = """
import sys
sys.path.insert(0, sys.argv[1])
import mp_workers
from rsipc import mp
if __name__ == "__main__":
    context = mp.get_context("spawn")
    queue, results, lock = context.Queue(), context.Queue(2), context.Lock()
    queue.put(b"y" * 1_000_000)
    child = context.Process(target=mp_workers.get_for_ever, args=(queue, results), daemon=True)
    child.start()
    assert len(results.get(timeout=60)) == 1_000_000
    queue.put("never got")
    lock.acquire()
"""
    command = [sys.executable, "-W", "error", "-c", text, str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BOUND)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
