"""The same cases for queues of every capacity: none (a rendezvous), some, and any number."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import rsipc
from processes import BOUND, Program, run

CAPACITIES: dict[str, int | None] = {"zero": 0, "one": 1, "some": 8, "unbounded": None}
each = pytest.mark.parametrize("capacity", CAPACITIES.values(), ids=CAPACITIES.keys())


def send_all(queue: rsipc.Queue, messages: list[bytes]) -> None:
    for message in messages:
        queue.send(message, BOUND)


@each
def test_it_says_its_capacity(capacity: int | None) -> None:
    queue = rsipc.Queue.create("q", capacity, 100)
    assert (queue.capacity, queue.max_message) == (capacity, 100)
    assert rsipc.Queue.open("q").capacity == capacity
    assert rsipc.Queue.open_or_create("q", 77).capacity == capacity
    assert rsipc.Queue.open_or_create("other", capacity).capacity == capacity


@each
def test_messages_come_out_in_order(capacity: int | None) -> None:
    queue = rsipc.Queue.create("q", capacity)
    messages = [str(number).encode() * (number % 7) for number in range(1000)]
    with ThreadPoolExecutor() as threads:
        sender = threads.submit(send_all, queue, messages)
        assert [queue.recv(BOUND) for _ in messages] == messages
        sender.result()
    assert len(queue) == 0


@each
@pytest.mark.parametrize("length", [0, 1, 511, 512, 513, 4096, 4097, 1 << 20])
def test_messages_of_every_length(capacity: int | None, length: int) -> None:
    queue = rsipc.Queue.create("q", capacity, 1 << 20)
    message, buffer = os.urandom(length), bytearray(length)
    with ThreadPoolExecutor() as threads:
        sender = threads.submit(send_all, queue, [message] * 3)
        assert queue.recv(BOUND) == message
        assert queue.recv_into(buffer, BOUND) == length
        assert buffer == message
        with queue.lease(BOUND) as lease:
            assert lease.message == message
        sender.result()


@each
def test_a_message_too_long(capacity: int | None) -> None:
    queue = rsipc.Queue.create("q", capacity, 10)
    with pytest.raises(rsipc.MessageTooLong, match="11 bytes"):
        queue.send(b"x" * 11)
    assert len(queue) == 0


@each
def test_a_message_too_long_for_the_buffer_stays(capacity: int | None) -> None:
    queue = rsipc.Queue.create("q", capacity)
    with ThreadPoolExecutor() as threads:
        sender = threads.submit(queue.send, b"0123456789", BOUND)
        with pytest.raises(rsipc.BufferTooSmall, match="10 bytes"):
            queue.recv_into(bytearray(9), BOUND)
        assert queue.recv(BOUND) == b"0123456789"
        sender.result()


@each
def test_receiving_without_a_message(capacity: int | None) -> None:
    queue = rsipc.Queue.create("q", capacity)
    calls: list[Callable[[float], object]] = [queue.recv, lambda time: queue.recv_into(bytearray(9), time), queue.lease]
    for call in calls:
        with pytest.raises(rsipc.Empty) as empty:
            call(0)
        assert not isinstance(empty.value, TimeoutError)
        with pytest.raises(rsipc.RecvTimeout):
            call(0.01)


@each
def test_sending_without_room(capacity: int | None) -> None:
    queue = rsipc.Queue.create("q", capacity)
    for number in range(1000 if capacity is None else capacity):
        queue.try_send(bytes(number))
    assert len(queue) == (1000 if capacity is None else capacity)
    if capacity is not None:
        with pytest.raises(rsipc.Full) as full:
            queue.try_send(b"more")
        assert not isinstance(full.value, TimeoutError)
        with pytest.raises(rsipc.SendTimeout):
            queue.send(b"more", 0.01)
    for number in range(1000 if capacity is None else capacity):
        assert queue.recv(0) == bytes(number)
    with pytest.raises(rsipc.Empty):
        queue.recv(0)


def test_a_rendezvous_is_with_somebody() -> None:
    queue = rsipc.Queue.create("q", 0)
    with Program("print('waits', flush=True); print(rsipc.Queue.open('q').recv(60))") as receiver:
        receiver.waits()
        while True:
            try:
                queue.try_send(b"hello")
                break
            except rsipc.Full:
                continue
        assert receiver.succeeds() == "b'hello'\n"


def test_the_sender_of_a_rendezvous_returns_when_its_message_was_taken() -> None:
    queue = rsipc.Queue.create("q", 0)
    text = "print('waits', flush=True); rsipc.Queue.open('q').send(b'hello'); print('sent', flush=True)"
    with Program(text) as sender:
        sender.waits()
        assert len(queue) == 0
        assert queue.recv(BOUND) == b"hello"
        sender.is_at("sent")


@each
def test_each_message_goes_to_one_receiver(capacity: int | None) -> None:
    rsipc.Queue.create("q", capacity)
    receive = "print(sum(int(message) for message in rsipc.Queue.open('q')))"
    send = """
        queue = rsipc.Queue.open('q')
        for number in range(500):
            queue.send(str(number).encode(), timeout=60)
    """
    with Program(receive) as one, Program(receive) as other:
        with Program(send) as sender, Program(send) as another:
            sender.succeeds()
            another.succeeds()
        rsipc.Queue.open("q").shutdown()
        assert int(one.succeeds()) + int(other.succeeds()) == 2 * sum(range(500))


@each
def test_a_shut_down_queue(capacity: int | None) -> None:
    queue = rsipc.Queue.create("q", capacity)
    if capacity != 0:
        queue.send(b"last")
    queue.shutdown()
    with pytest.raises(rsipc.Closed):
        queue.send(b"more")
    assert list(queue) == ([b"last"] if capacity != 0 else [])
    receives: list[Callable[[], object]] = [queue.recv, queue.try_recv, queue.lease, lambda: queue.recv_into(bytearray(9))]
    for receive in receives:
        with pytest.raises(rsipc.Closed):
            receive()


@each
@pytest.mark.parametrize("call", ["recv", "lease", "send"])
def test_a_shutdown_wakes_who_waits(capacity: int | None, call: str) -> None:
    if call == "send" and capacity is None:
        return  # Nobody waits.
    queue = rsipc.Queue.create("q", capacity)
    text = f"""
        queue = rsipc.Queue.open('q')
        for _ in range(queue.capacity or 0 if {call!r} == 'send' else 0):
            queue.send(b'')
        print('waits', flush=True)
        try:
            queue.send(b'') if {call!r} == 'send' else queue.{call}()
        except rsipc.Closed:
            print('closed')
    """
    with Program(text) as waiter:
        waiter.waits()
        queue.shutdown()
        assert waiter.succeeds() == "closed\n"


@each
def test_a_killed_receiver_leaves_the_messages(capacity: int | None) -> None:
    queue = rsipc.Queue.create("q", capacity)
    for call in ("recv", "lease"):
        with Program(f"queue = rsipc.Queue.open('q'); print('waits', flush=True); queue.{call}()") as receiver:
            receiver.waits()
            receiver.kill()
    sender = threading.Thread(target=queue.send, args=(b"for the living", BOUND))
    sender.start()
    assert queue.recv(BOUND) == b"for the living"
    sender.join(BOUND)


@each
def test_a_killed_sender_leaves_what_it_sent(capacity: int | None) -> None:
    queue = rsipc.Queue.create("q", capacity)
    there = 3 if capacity is None else capacity
    text = f"""
        queue = rsipc.Queue.open('q')
        for number in range({there}):
            queue.send(str(number).encode())
        print('waits', flush=True)
        queue.send(b'not sent') if queue.capacity is not None else time.sleep(1000)
    """
    with Program(text) as sender:
        sender.waits()
        sender.kill()
    assert [queue.recv(BOUND) for _ in range(there)] == [str(number).encode() for number in range(there)]
    with pytest.raises(rsipc.Empty):
        queue.try_recv()
    with ThreadPoolExecutor() as threads:
        threads.submit(queue.send, b"later", BOUND)
        assert queue.recv(BOUND) == b"later"


@each
def test_in_a_region(capacity: int | None) -> None:
    limit = 1 << 16 if capacity is None else None
    size = rsipc.Queue.size(capacity, 100, limit=limit)
    region = rsipc.Region.create("r", 128 + size)
    queue = rsipc.Queue.create_in(region, 128, capacity, 100, limit=limit)
    assert queue.capacity == capacity
    text = "print(rsipc.Queue.open_in(rsipc.Region.open('r'), 128).recv(60))"
    with ThreadPoolExecutor() as threads:
        threads.submit(queue.send, b"placed", BOUND)
        assert run(text) == "b'placed'\n"


def test_a_limit_in_bytes() -> None:
    queue = rsipc.Queue.create("q", None, 1000, limit=1 << 20)
    sent = 0
    try:
        while True:
            queue.send(b"x" * 1000)
            sent += 1
    except rsipc.LimitReached:
        pass
    assert 1 << 9 < sent < 1 << 12
    for _ in range(sent):
        assert queue.recv(0) == b"x" * 1000
    queue.send(b"again")
    assert queue.recv(0) == b"again"


def test_an_unbounded_queue_gives_its_memory_back() -> None:
    queue = rsipc.Queue.create("q", None, 1 << 16)
    for _ in range(500):
        queue.send(bytes(1 << 16))
    [full] = rsipc.list()
    assert full.memory >= 500 << 16
    for _ in range(500):
        queue.recv(0)
    [drained] = rsipc.list()
    assert drained.memory < full.memory / 4


def test_options_that_do_not_go_together() -> None:
    for capacity in (0, 1):
        with pytest.raises(rsipc.InvalidArgument, match="limit"):
            rsipc.Queue.create("q", capacity, limit=1000)
        with pytest.raises(rsipc.InvalidArgument, match="limit"):
            rsipc.Queue.size(capacity, limit=1000)
    with pytest.raises(rsipc.InvalidArgument, match="limit"):
        rsipc.Queue.size(None)
    with pytest.raises(rsipc.InvalidArgument, match="limit"):
        rsipc.Queue.create_in(rsipc.Region.anonymous(1 << 20), 0, None)
    for limit in (-1, 1 << 46, 1 << 99):
        with pytest.raises(rsipc.InvalidArgument):
            rsipc.Queue.create("q", None, limit=limit)
    for leases in (-1, (1 << 20) + 1, 1 << 99):
        with pytest.raises(rsipc.InvalidArgument):
            rsipc.Queue.create("q", leases=leases)
    for wrong in ("1", 1.5, b""):
        with pytest.raises(TypeError):
            rsipc.Queue.create("q", wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            rsipc.Queue.create("q", None, limit=wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            rsipc.Queue.create("q", leases=wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        rsipc.Queue.create("q", leases=None)  # type: ignore[arg-type]
    assert rsipc.list() == []
