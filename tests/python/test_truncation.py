"""Files that are cut short while they are used: an error, for programs that ask for it."""

import os
import signal
import textwrap
from pathlib import Path

import pytest
import rsipc
from processes import Program, run

CUT = """
import mmap
def cut(name):
    os.truncate(os.environ["RSIPC_DIR"] + "/" + name, 0)
def says_corrupted(call):
    try:
        call()
    except rsipc.Corrupted as e:
        assert "cut short" in str(e), e
    else:
        raise AssertionError("it succeeded")
"""


def test_every_call_on_every_object_fails() -> None:
    text = """
        rsipc.catch_truncation()
        rsipc.catch_truncation()
        region = rsipc.Region.create("region", 10_000)
        memory = memoryview(region)
        mutex = rsipc.Mutex.create("mutex")
        signals = rsipc.Semaphore.create("signals", 1)
        permits = rsipc.Semaphore.create_permits("permits", 1)
        queue = rsipc.Queue.create("queue")
        queue.send(b"first")
        lease = queue.lease()
        other = rsipc.Queue.create("other")
        mutex.acquire()
        for name in ("region", "mutex", "signals", "permits", "queue"):
            cut(name)
        memory[9_999] = 7
        assert memory[9_999] == 7 and memory[0] == 0
        says_corrupted(lambda: memoryview(region))
        says_corrupted(lambda: region.grow(20_000))
        says_corrupted(mutex.release)
        says_corrupted(mutex.acquire)
        for semaphore in (signals, permits):
            says_corrupted(semaphore.acquire)
            says_corrupted(semaphore.release)
        says_corrupted(lambda: queue.send(b"x"))
        says_corrupted(queue.recv)
        says_corrupted(lambda: len(queue))
        says_corrupted(lease.finish)
        other.send(b"x")
        assert other.recv() == b"x"
    """
    run(CUT + textwrap.dedent(text))


@pytest.mark.parametrize("waits", ["recv", "recv_async"])
def test_who_waits_is_told(waits: str, namespace: Path) -> None:
    rsipc.Queue.create("queue")
    text = """
        import asyncio
        rsipc.catch_truncation()
        queue = rsipc.Queue.open("queue")
        print("waits", flush=True)
        if sys.argv[1] == "recv":
            says_corrupted(queue.recv)
        else:
            says_corrupted(lambda: asyncio.run(queue.recv_async()))
    """
    with Program(CUT + textwrap.dedent(text), waits) as program:
        program.waits()
        os.truncate(namespace / "queue", 0)
        program.succeeds()


def test_without_it_the_program_ends() -> None:
    text = """
        queue = rsipc.Queue.create("queue")
        cut("queue")
        queue.send(b"x")
    """
    with Program(CUT + textwrap.dedent(text)) as program:
        assert program.end()[0] == -signal.SIGBUS


def test_the_handler_that_was_there_gets_what_is_its() -> None:
    text = """
        import faulthandler
        faulthandler.enable()
        rsipc.catch_truncation()
        region = rsipc.Region.create("region", 4096)
        memory = memoryview(region)
        cut("region")
        assert memory[4095] == 0
        with open(os.environ["RSIPC_DIR"] + "/foreign", "w+b") as file:
            file.truncate(4096)
            foreign = mmap.mmap(file.fileno(), 4096)
            file.truncate(0)
            print("survived", flush=True)
            foreign[0]
    """
    with Program(CUT + textwrap.dedent(text)) as program:
        program.is_at("survived")
        status, _, error = program.end()
    assert status == -signal.SIGBUS
    assert "Fatal Python error: Bus error" in error
