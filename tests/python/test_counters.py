"""What is counted of an object, in all processes."""

import signal
import time
from collections.abc import Callable

import pytest
import rsipc
from processes import BOUND, Program

ROUNDS = 10
RECEIVE = f"""
queue = rsipc.Queue.open("q")
for _ in range({ROUNDS}):
    queue.recv(timeout={BOUND})
"""


def until_waits(counters: Callable[[], rsipc.Counters], count: int) -> None:
    end = time.monotonic() + BOUND
    while counters().waits < count:
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.mark.parametrize("capacity", [64, None, 0])
def test_messages_bytes_and_waits(capacity: int | None) -> None:
    queue = rsipc.Queue.create("q", capacity=capacity, max_message=100_000)
    assert queue.counters() == rsipc.Counters(0, 0, 0, 0, 0, 0, 0, 0)
    with Program(RECEIVE) as receiver:
        for round in range(ROUNDS):
            until_waits(queue.counters, round + 1)
            queue.send(bytes(11 if round % 2 else 50_000))
        receiver.succeeds()
    counters = queue.counters()
    assert counters.sent == counters.received == ROUNDS
    assert counters.bytes_sent == counters.bytes_received == ROUNDS // 2 * 50_011
    # In a rendezvous the sender may wait, too, until its message was taken.
    assert ROUNDS <= counters.waits <= (ROUNDS if capacity != 0 else 2 * ROUNDS)
    assert (counters.recoveries, counters.deaths) == (0, 0)


def test_a_wait_counts_once_every_100_ms() -> None:
    queue = rsipc.Queue.create("q", capacity=1)
    with pytest.raises(rsipc.Empty):
        queue.recv(timeout=0)
    assert queue.counters().waits == 0
    with pytest.raises(rsipc.Timeout):
        queue.recv(timeout=0.05)
    # On a slow machine the time may have passed before it sleeps.
    assert (queue.counters().waits <= 1, queue.counters().wakeups) == (True, 0)
    with pytest.raises(rsipc.Timeout):
        queue.recv(timeout=0.3)
    assert queue.counters().waits <= 5


def test_one_that_sleeps_is_woken() -> None:
    semaphore = rsipc.Semaphore.create("s", 0)
    wakeups = 0
    for waits in range(1, 21):
        with Program(f"rsipc.Semaphore.open('s').acquire({BOUND})") as waiter:
            until_waits(semaphore.counters, waits)
            time.sleep(0.01)
            semaphore.release()
            waiter.succeeds()
        wakeups = semaphore.counters().wakeups
        assert wakeups <= waits
        if wakeups:
            break
    # It may have looked around just then, but not each time.
    assert wakeups


def test_dead_owners_of_a_mutex() -> None:
    mutex = rsipc.Mutex.create("m")
    for deaths in range(1, 4):
        with Program("rsipc.Mutex.open('m').acquire(); os.kill(os.getpid(), signal.SIGKILL)") as owner:
            assert owner.end()[0] == -signal.SIGKILL
        assert mutex.counters().deaths == deaths - 1
        with mutex.recover(BOUND) as owner_died:
            assert owner_died
        counters = mutex.counters()
        assert (counters.recoveries, counters.deaths, counters.sent) == (deaths, deaths, 0)


def test_what_comes_back_from_the_dead() -> None:
    queue = rsipc.Queue.create("q")
    permits = rsipc.Semaphore.create_permits("s", 2)
    queue.send(b"job")
    text = """
    rsipc.Semaphore.open("s").acquire()
    lease = rsipc.Queue.open("q").lease()
    os.kill(os.getpid(), signal.SIGKILL)
    """
    with Program(text) as worker:
        assert worker.end()[0] == -signal.SIGKILL
    assert queue.recv(timeout=BOUND) == b"job"
    assert permits.value == 2
    counters = queue.counters()
    assert (counters.recoveries, counters.deaths, counters.sent, counters.received) == (1, 1, 1, 1)
    assert permits.counters()._replace(waits=0) == rsipc.Counters(0, 0, 0, 0, 0, 0, 1, 1)


def test_the_inbox_of_an_endpoint() -> None:
    with rsipc.Endpoint.open() as endpoint:
        endpoint.send(endpoint.address, b"12345")
        endpoint.send(endpoint.address, b"")
        endpoint.recv(BOUND)
        counters = endpoint.counters()
        assert (counters.sent, counters.received, counters.bytes_sent, counters.bytes_received) == (2, 1, 5, 5)


def test_what_is_closed_has_no_counters() -> None:
    queue = rsipc.Queue.create("q")
    queue.close()
    with pytest.raises(rsipc.InvalidArgument):
        queue.counters()
