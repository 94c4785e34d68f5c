"""Handles in other processes: forked, and spawned with pickled handles."""

import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import rsipc
from processes import BOUND

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


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
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
