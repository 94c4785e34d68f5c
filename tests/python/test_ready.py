"""Waiting for one of several objects, and descriptors for event loops."""

import contextlib
import os
import select
import selectors
import signal
import socket
import threading
from collections.abc import Callable
from typing import assert_type

import pytest
import rsipc
from processes import BOUND, Program


def readable(descriptor: int, seconds: float = BOUND) -> bool:
    return bool(select.select([descriptor], [], [], seconds)[0])


def test_those_that_are_ready() -> None:
    queue, semaphore = rsipc.Queue.create("q"), rsipc.Semaphore.create("s", 0)
    permits, endpoint = rsipc.Semaphore.create_permits("p", 1), rsipc.Endpoint.open()
    permits.acquire()
    objects = [queue, semaphore, permits, endpoint]
    assert rsipc.wait(objects, 0) == []
    assert rsipc.wait(objects, timeout=0.01) == []
    queue.send(b"1")
    assert rsipc.wait(objects) == [queue]
    endpoint.send(endpoint.address, b"1")
    permits.release()
    assert rsipc.wait(iter(objects)) == [queue, permits, endpoint]
    semaphore.release()
    assert rsipc.wait(objects, 0) == objects
    # Nothing was taken.
    assert queue.recv(0) == b"1"
    assert rsipc.wait(objects, 0) == objects[1:]
    queue.shutdown()
    # Type checkers know that of queues it gives queues, and that several kinds are no mistake.
    [ready] = assert_type(rsipc.wait([queue], 0), list[rsipc.Queue])
    assert ready is queue
    assert rsipc.wait([queue, semaphore, endpoint], 0) == [queue, semaphore, endpoint]


def test_a_process_wakes_who_waits_for_several() -> None:
    queues = [rsipc.Queue.create(f"q{number}") for number in range(20)]
    text = """
        for line in sys.stdin:
            rsipc.Queue.open(line.strip()).send(b'hello')
    """
    with Program(text) as sender:
        for number in (7, 0, 19, 7):
            sender.say(f"q{number}")
            [ready] = rsipc.wait(queues, BOUND)
            assert ready is queues[number]
            assert ready.recv(0) == b"hello"


def test_a_death_wakes_who_waits() -> None:
    queue, permits = rsipc.Queue.create("q"), rsipc.Semaphore.create_permits("p", 1)
    queue.send(b"job")
    text = """
        permits = rsipc.Semaphore.open('p')
        lease = rsipc.Queue.open('q').lease()
        permits.acquire()
        print('has', flush=True)
        time.sleep(1000)
    """
    with Program(text) as worker:
        worker.is_at("has")
        both = [queue, permits]
        assert rsipc.wait(both, 0.01) == []
        worker.kill()
    missing = {queue, permits}
    while missing:
        ready = rsipc.wait(missing, BOUND)
        assert ready
        missing -= {*ready}
    assert queue.lease(0).deliveries == 2
    permits.acquire(0)


def test_what_cannot_be_waited_for() -> None:
    queue = rsipc.Queue.create("q")
    for wrong in ([queue, rsipc.Mutex.create("m")], [1], ["q"], [None]):
        with pytest.raises(TypeError, match="waited for"):
            rsipc.wait(wrong, 0)  # type: ignore[type-var]
    with pytest.raises(TypeError):
        rsipc.wait(1)  # type: ignore[arg-type]
    with pytest.raises(rsipc.InvalidArgument, match="empty"):
        rsipc.wait([])
    with pytest.raises(rsipc.InvalidArgument, match="timeout"):
        rsipc.wait([queue], -1)
    with pytest.raises(rsipc.LimitReached, match="128"):
        rsipc.wait([queue] * 129, 0)
    queue.close()
    with pytest.raises(rsipc.InvalidArgument, match="closed"):
        rsipc.wait([queue])


KINDS: dict[str, Callable[[], tuple[int, Callable[[], object], Callable[[], object]]]] = {}
"""For each kind of descriptor, what makes it: it gives the descriptor, what makes it readable, and an attempt."""


def kind(make: Callable[[], tuple[int, Callable[[], object], Callable[[], object]]]) -> None:
    KINDS[make.__name__] = make


@kind
def queue() -> tuple[int, Callable[[], object], Callable[[], object]]:
    receiver, sender = rsipc.Queue.create("q"), rsipc.Queue.open("q")
    return receiver.fileno(), lambda: sender.send(b"1"), receiver.try_recv


@kind
def rendezvous() -> tuple[int, Callable[[], object], Callable[[], object]]:
    receiver, sender = rsipc.Queue.create("q", 0), rsipc.Queue.open("q")
    return receiver.fileno(), lambda: threading.Thread(target=sender.send, args=(b"1", BOUND)).start(), receiver.try_recv


@kind
def room() -> tuple[int, Callable[[], object], Callable[[], object]]:
    sender, receiver = rsipc.Queue.create("q", 1), rsipc.Queue.open("q")
    sender.send(b"0")
    descriptor = sender.send_fileno()
    return descriptor, receiver.recv, lambda: sender.try_send(b"1")


@kind
def signals() -> tuple[int, Callable[[], object], Callable[[], object]]:
    semaphore, other = rsipc.Semaphore.create("s", 0), rsipc.Semaphore.open("s")
    return semaphore.fileno(), other.release, lambda: semaphore.acquire(0)


@kind
def permits() -> tuple[int, Callable[[], object], Callable[[], object]]:
    semaphore, other = rsipc.Semaphore.create_permits("s", 1), rsipc.Semaphore.open("s")
    other.acquire()
    return semaphore.fileno(), other.release, lambda: semaphore.acquire(0)


@kind
def endpoint() -> tuple[int, Callable[[], object], Callable[[], object]]:
    receiver, sender = rsipc.Endpoint.open(), rsipc.Endpoint.open()
    return receiver.fileno(), lambda: sender.send(receiver.address, b"1"), receiver.try_recv


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS.keys())
def test_a_descriptor_is_readable_until_an_attempt_finds_nothing(
    make: Callable[[], tuple[int, Callable[[], object], Callable[[], object]]],
) -> None:
    descriptor, make_ready, attempt = make()
    with pytest.raises(rsipc.WouldBlock):
        attempt()
    for _ in range(3):
        assert not readable(descriptor, 0)
        make_ready()
        while True:
            assert readable(descriptor)
            # A sender that comes to a rendezvous may have left again.
            with contextlib.suppress(rsipc.WouldBlock):
                attempt()
                break
        assert readable(descriptor, 0)
        with pytest.raises(rsipc.WouldBlock):
            attempt()


def test_each_handle_has_a_descriptor_of_its_own() -> None:
    one, other = rsipc.Queue.create("q"), rsipc.Queue.open("q")
    assert one.fileno() == one.fileno() != other.fileno()
    descriptor = one.fileno()
    one.close()
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(descriptor)
    for call in (one.fileno, one.send_fileno):
        with pytest.raises(rsipc.InvalidArgument, match="closed"):
            call()
    with pytest.raises(rsipc.Unsupported):
        rsipc.Queue.create("r", 0).send_fileno()


def test_selectors_with_a_socket_beside() -> None:
    queue = rsipc.Queue.create("q")
    one, other = socket.socketpair()
    with one, other, selectors.DefaultSelector() as selector:
        selector.register(queue, selectors.EVENT_READ)
        selector.register(one, selectors.EVENT_READ)
        assert selector.select(0) == []
        with Program("rsipc.Queue.open('q').send(b'hello')") as sender:
            [(key, _)] = selector.select(BOUND)
            assert key.fileobj is queue
            assert queue.try_recv() == b"hello"
            sender.succeeds()
        with pytest.raises(rsipc.Empty):
            queue.try_recv()
        other.send(b"x")
        [(key, _)] = selector.select(BOUND)
        assert key.fileobj is one
        selector.unregister(queue)


def test_a_million_messages_in_an_event_loop() -> None:
    queue = rsipc.Queue.create("q", None, 8)
    text = """
        queue = rsipc.Queue.open('q')
        for number in range(1_000_000):
            queue.send(number.to_bytes(4, 'little'))
    """
    expected = 0
    with Program(text) as sender:
        while expected < 1_000_000:
            assert readable(queue.fileno())
            try:
                while True:
                    assert queue.try_recv() == expected.to_bytes(4, "little")
                    expected += 1
            except rsipc.Empty:
                pass
        sender.succeeds()


def test_ctrl_c_comes_through_while_the_watcher_runs() -> None:
    text = """
        queue = rsipc.Queue.create('q')
        queue.fileno()
        print('waits', flush=True)
        rsipc.wait([queue])
    """
    with Program(text) as program:
        program.waits()
        program.signal(signal.SIGINT)
        assert "KeyboardInterrupt" in program.end()[2]


def test_a_child_of_fork_has_its_own_descriptor() -> None:
    queue, other = rsipc.Queue.create("q"), rsipc.Queue.open("q")
    mine = queue.fileno()
    if (child := os.fork()) == 0:
        status = 1
        try:
            assert not readable(queue.fileno(), 0)
            other.send(b"1")
            assert readable(queue.fileno())
            assert queue.try_recv() == b"1"
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert queue.fileno() == mine
    other.send(b"2")
    assert readable(mine)
    assert queue.try_recv() == b"2"
