"""Handles in other processes: forked, and spawned with pickled handles; in pools and executors; and after exec."""

import concurrent.futures
import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import rsipc
from processes import BOUND, Program

spawn = multiprocessing.get_context("spawn")


def use_all(
    queue: rsipc.Queue, mutex: rsipc.Mutex, semaphore: rsipc.Semaphore, region: rsipc.Region, placed: rsipc.Queue
) -> None:
    message = queue.recv(BOUND)
    with mutex, semaphore:
        memoryview(region)[: len(message)] = message
    placed.send(message)


def objects(directory: Path | None = None) -> tuple[Any, ...]:
    region = rsipc.Region.create("r", 1 << 16, dir=directory)
    return (
        rsipc.Queue.create("q", dir=directory),
        rsipc.Mutex.create("m", dir=directory),
        rsipc.Semaphore.create_permits("s", 1, dir=directory),
        region,
        rsipc.Queue.create_in(region, 4096, 4, 100, leases=8),
    )


METHODS = ["fork", "spawn", "forkserver"]


@pytest.mark.parametrize("method", METHODS)
def test_handles_travel_to_a_started_process(method: str, namespace: Path) -> None:
    made = objects(namespace / "elsewhere")
    context = multiprocessing.get_context(method)
    child = context.Process(target=use_all, args=made)  # type: ignore[attr-defined]
    child.start()
    made[0].send(b"hello")
    assert made[4].recv(BOUND) == b"hello"
    child.join(BOUND)
    assert child.exitcode == 0
    assert bytes(memoryview(made[3])[:5]) == b"hello"


def test_handles_work_in_a_forked_process() -> None:
    made = objects()
    if (child := os.fork()) == 0:
        status = 1
        try:
            use_all(*made)
            status = 0
        finally:
            os._exit(status)
    made[0].send(b"hello")
    assert made[4].recv(BOUND) == b"hello"
    assert os.waitpid(child, 0)[1] == 0
    assert bytes(memoryview(made[3])[:5]) == b"hello"


def test_a_forked_process_holds_no_lock_of_its_parent() -> None:
    mutex, permits = rsipc.Mutex.create("m"), rsipc.Semaphore.create_permits("s", 2)
    mutex.acquire()
    permits.acquire()
    if (child := os.fork()) == 0:
        status = 1
        try:
            for call in (mutex.release, permits.release):
                try:
                    call()
                except rsipc.NotOwner:
                    continue
                os._exit(2)
            try:
                mutex.acquire(0)
            except rsipc.WouldBlock:
                mutex.close()
                status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    mutex.release()
    permits.release()
    mutex.acquire(0)
    assert permits.value == 2


def test_pickling_opens_the_object_again() -> None:
    queue = rsipc.Queue.create("q")
    for again in (pickle.loads(pickle.dumps(queue)), copy.copy(queue)):
        queue.send(b"1")
        assert again.recv() == b"1"
        assert again.name == "q"
    pickled = pickle.dumps(queue)
    rsipc.unlink("q")
    with pytest.raises(rsipc.NotFound):
        pickle.loads(pickled)
    queue.close()
    with pytest.raises(rsipc.InvalidArgument, match="closed"):
        pickle.dumps(queue)


def test_pickling_remembers_the_directory(monkeypatch: pytest.MonkeyPatch, namespace: Path) -> None:
    monkeypatch.chdir(namespace)
    pickled = pickle.dumps([rsipc.Mutex.create("m"), rsipc.Mutex.create("n", dir="sub")])
    monkeypatch.setenv("RSIPC_DIR", "/dev/shm/elsewhere")
    monkeypatch.chdir("/")
    assert [mutex.name for mutex in pickle.loads(pickled)] == ["m", "n"]


def test_what_has_no_name_cannot_be_pickled() -> None:
    region = rsipc.Region.anonymous(1 << 16)
    for thing in (region, rsipc.Mutex.create_in(region, 0), rsipc.Queue.create_in(region, 4096, 4, 100, leases=8)):
        with pytest.raises(TypeError, match="fileno"):
            pickle.dumps(thing)
    with pytest.raises(TypeError):
        pickle.dumps(rsipc.Mutex.create("m").recover())


def test_nothing_is_unlinked_behind_our_back() -> None:
    text = """
import multiprocessing, sys
sys.path.insert(0, sys.argv[1])
if __name__ == "__main__":
    from test_processes import objects, use_all
    made = objects()
    child = multiprocessing.get_context("spawn").Process(target=use_all, args=made)
    child.start()
    made[0].send(b"hello")
    child.join(60)
    sys.exit(child.exitcode)
"""
    command = [sys.executable, "-c", text, str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BOUND)
    assert (done.returncode, done.stderr) == (0, "")
    assert [entry.name for entry in rsipc.list()] == ["m", "q", "r", "s"]


def count(job: tuple[rsipc.Mutex, rsipc.Region, rsipc.Queue, int]) -> int:
    mutex, region, queue, number = job
    with mutex:
        view = memoryview(region)
        view[:8] = (int.from_bytes(view[:8], "little") + number).to_bytes(8, "little")
    queue.send(bytes([number]))
    return os.getpid()


inherited: dict[str, rsipc.Queue] = {}


def inherit(queue: rsipc.Queue) -> None:
    inherited["queue"] = queue


def send_inherited(number: int) -> None:
    inherited["queue"].send(bytes([number]))


@pytest.mark.parametrize("method", METHODS)
def test_pools_and_executors(method: str) -> None:
    mutex, region, queue = rsipc.Mutex.create("m"), rsipc.Region.create("r", 8), rsipc.Queue.create("q", 200)
    context = multiprocessing.get_context(method)
    jobs = [(mutex, region, queue, number) for number in range(40)]
    with context.Pool(2, inherit, (queue,)) as pool:
        workers = set(pool.map_async(count, jobs).get(BOUND))
        pool.map_async(send_inherited, range(40, 50)).get(BOUND)
    with concurrent.futures.ProcessPoolExecutor(2, context, inherit, (queue,)) as executor:
        workers.update(executor.map(count, jobs, timeout=BOUND))
        list(executor.map(send_inherited, range(50, 60), timeout=BOUND))
    assert os.getpid() not in workers
    assert int.from_bytes(memoryview(region)[:8], "little") == 2 * sum(range(40))
    received = sorted(queue.recv(0)[0] for _ in range(len(queue)))
    assert received == sorted([*range(40), *range(40), *range(40, 60)])


def test_a_worker_of_a_pool_that_is_killed_gives_back_what_it_held() -> None:
    permits, mutex = rsipc.Semaphore.create_permits("p", 1), rsipc.Mutex.create("m")
    with Program("""
        import multiprocessing
        if __name__ == '__main__':
            permits, mutex = rsipc.Semaphore.open('p'), rsipc.Mutex.open('m')
            def work(_):
                permits.acquire()
                mutex.acquire()
                print('holds', os.getpid(), flush=True)
                time.sleep(60)
            with multiprocessing.get_context('fork').Pool(1) as pool:
                pool.apply_async(work, (0,))
                time.sleep(60)
        """) as program:
        worker = int(program.line().removeprefix("holds "))
        assert permits.value == 0
        os.kill(worker, 9)
        permits.acquire(BOUND)
        with mutex.recover(timeout=BOUND) as owner_died:
            assert owner_died


def test_what_belongs_to_its_process_says_so_when_it_is_pickled() -> None:
    endpoint = rsipc.Endpoint.open("server")
    with pytest.raises(TypeError, match="find"):
        pickle.dumps(endpoint)
    with pytest.raises(TypeError, match="find"):
        multiprocessing.get_context("spawn").Process(target=print, args=(endpoint,)).start()


def test_fork_in_a_thread_while_others_wait() -> None:
    made = objects()
    waiting, stop = made[0], threading.Event()
    locked, mutex = rsipc.Semaphore.create("locked", 0), made[1]

    def wait() -> None:
        while not stop.is_set():
            locked.acquire(BOUND)
            with mutex:
                time.sleep(0.001)

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    statuses: list[int] = []

    def fork() -> None:
        for _ in range(10):
            locked.release(3)
            if (child := os.fork()) == 0:
                status = 1
                try:
                    use_all(*made)
                    own = rsipc.Endpoint.open()
                    own.send(own.address, b"x")
                    own.recv(BOUND)
                    status = 0
                finally:
                    os._exit(status)
            waiting.send(b"hello")
            statuses.append(os.waitpid(child, 0)[1])
            made[4].recv(BOUND)

    forking = threading.Thread(target=fork)
    forking.start()
    forking.join(BOUND)
    stop.set()
    locked.release(10)
    for thread in threads:
        thread.join(BOUND)
    assert statuses == [0] * 10


def test_exec_gives_back_what_was_held_also_to_the_next_program() -> None:
    queue = rsipc.Queue.create("jobs")
    queue.send(b"job")
    permits = rsipc.Semaphore.create_permits("p", 1)
    rsipc.Mutex.create("m")
    after = """
import rsipc
with rsipc.Mutex.open("m").recover(timeout=60) as owner_died:
    assert owner_died
rsipc.Semaphore.open("p").acquire(60)
with rsipc.Queue.open("jobs").lease(60) as lease:
    assert lease.message == b"job" and lease.deliveries == 2, lease
server = rsipc.Endpoint.open("server")
server.send(server.address, b"x")
assert server.recv(60).data == b"x"
"""
    text = """
        mutex, permits = rsipc.Mutex.open('m'), rsipc.Semaphore.open('p')
        mutex.acquire()
        permits.acquire()
        lease = rsipc.Queue.open('jobs').lease()
        server = rsipc.Endpoint.open('server')
        os.execv(sys.executable, [sys.executable, '-c', sys.argv[1]])
    """
    with Program(text, after) as program:
        program.succeeds()
    assert permits.value == 1
    assert len(queue) == 0
