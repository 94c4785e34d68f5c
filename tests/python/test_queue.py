import array
import ctypes
import os
import pickle
import queue as standard
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import numpy as np
import pytest
import rsipc
from processes import BOUND, Program, run
from typing_extensions import Buffer


def test_messages_come_out_in_order() -> None:
    queue = rsipc.Queue.create("q", capacity=8, max_message=100)
    messages = [b"", b"x", b"\0" * 100, "ü".encode()]
    for message in messages:
        queue.send(message)
    assert len(queue) == 4
    assert [queue.recv(timeout=BOUND) for _ in messages] == messages
    assert len(queue) == 0
    assert queue


@pytest.mark.parametrize("length", [0, 1, 511, 512, 513, 4096, 1 << 20])
def test_messages_of_every_length(length: int) -> None:
    queue = rsipc.Queue.create("q", capacity=2, max_message=1 << 20)
    message = os.urandom(length)
    queue.send(message)
    assert queue.recv(timeout=0) == message
    queue.send(message)
    buffer = bytearray(length)
    assert queue.recv_into(buffer, timeout=0) == length
    assert buffer == message


@pytest.mark.parametrize(
    "data", [b"abcd", bytearray(b"abcd"), memoryview(b"abcd"), memoryview(b"xabcdx")[1:5], array.array("i", [0x64636261])]
)
def test_whatever_is_like_bytes_can_be_sent(data: bytes) -> None:
    queue = rsipc.Queue.create("q")
    queue.send(data)
    queue.try_send(data=data)
    assert queue.recv() == queue.try_recv() == b"abcd"


def test_sending_from_and_receiving_into_a_region() -> None:
    queue = rsipc.Queue.create("q")
    region = rsipc.Region.anonymous(100)
    memory = memoryview(region)
    memory[10:14] = b"abcd"
    queue.send(memory[10:14])
    assert queue.recv_into(memory[20:30]) == 4
    assert bytes(memory[20:24]) == b"abcd"


def test_a_full_queue() -> None:
    queue = rsipc.Queue.create("q", capacity=2)
    queue.send(b"1")
    queue.send(b"2", timeout=0)
    sends: list[Callable[[], None]] = [lambda: queue.try_send(b"3"), lambda: queue.send(b"3", timeout=0)]
    for send in sends:
        with pytest.raises(rsipc.Full) as full:
            send()
        assert not isinstance(full.value, TimeoutError)
    with pytest.raises(rsipc.SendTimeout) as timeout:
        queue.send(b"3", timeout=0.01)
    for kind in (rsipc.Full, standard.Full, rsipc.Timeout, TimeoutError, OSError, rsipc.Error):
        assert isinstance(timeout.value, kind)
    assert [queue.recv(), queue.recv()] == [b"1", b"2"]


def test_an_empty_queue() -> None:
    queue = rsipc.Queue.create("q")
    buffer = bytearray(10)
    receives: list[Callable[[], object]] = [
        queue.try_recv,
        lambda: queue.recv(timeout=0),
        lambda: queue.recv_into(buffer, timeout=0),
    ]
    for receive in receives:
        with pytest.raises(rsipc.Empty) as empty:
            receive()
        assert not isinstance(empty.value, TimeoutError)
    for late in (lambda: queue.recv(timeout=0.01), lambda: queue.recv_into(buffer, 0.01)):
        with pytest.raises(rsipc.RecvTimeout) as timeout:
            late()
        for kind in (rsipc.Empty, standard.Empty, rsipc.Timeout, TimeoutError, OSError, rsipc.Error):
            assert isinstance(timeout.value, kind)


def test_a_message_too_long_is_not_sent() -> None:
    queue = rsipc.Queue.create("q", max_message=10)
    with pytest.raises(rsipc.MessageTooLong, match="11 bytes") as error:
        queue.send(b"x" * 11)
    assert isinstance(error.value, ValueError)
    assert len(queue) == 0


def test_a_message_too_long_for_the_buffer_stays() -> None:
    queue = rsipc.Queue.create("q")
    queue.send(b"0123456789")
    with pytest.raises(rsipc.BufferTooSmall, match="10 bytes"):
        queue.recv_into(bytearray(9))
    with pytest.raises(rsipc.BufferTooSmall):
        queue.recv_into(bytearray())
    assert queue.recv() == b"0123456789"


def test_buffers_of_the_wrong_kind() -> None:
    queue = rsipc.Queue.create("q")
    with pytest.raises(TypeError):
        queue.recv_into(b"immutable")
    with pytest.raises(rsipc.InvalidArgument):
        queue.send(memoryview(b"abcdef")[::2])
    for wrong in ("text", 1, None, [1, 2]):
        with pytest.raises(TypeError):
            queue.send(wrong)  # type: ignore[arg-type]
    assert len(queue) == 0


class Sample(ctypes.Structure):
    _fields_: ClassVar = [("sensor", ctypes.c_uint32), ("celsius", ctypes.c_double)]


@pytest.mark.parametrize(
    "data",
    [
        bytearray(b"abc"),
        memoryview(b"abcdef")[1:3],
        array.array("d", [1, 2]),
        Sample(7, 20.5),
        (ctypes.c_uint32 * 3)(1, 2, 3),
        ctypes.c_double(1),
        np.float64(1),
        np.zeros((2, 3)),
        np.zeros(1, dtype="u4, f8")[0],
        bytearray(),
        np.zeros(0),
    ],
    ids=lambda data: type(data).__name__,
)
def test_whatever_has_the_buffer_protocol(data: Buffer) -> None:
    queue = rsipc.Queue.create("q")
    queue.send(data)
    assert queue.recv(0) == memoryview(data).tobytes()


def test_a_structure_is_received_into() -> None:
    queue, sample = rsipc.Queue.create("q"), Sample()
    queue.send(Sample(7, 20.5))
    assert queue.recv_into(sample, 0) == ctypes.sizeof(Sample)
    assert (sample.sensor, sample.celsius) == (7, 20.5)


def test_a_buffer_cannot_be_resized_while_it_is_received_into() -> None:
    queue = rsipc.Queue.create("q")
    buffer = bytearray(10)
    with Program("rsipc.Queue.open('q').peers(); print('ready', flush=True); sys.stdin.read()"):
        thread = threading.Thread(target=queue.recv_into, args=(buffer, BOUND))
        thread.start()
        while True:
            try:
                buffer.append(0)
                buffer.pop()
            except BufferError:
                break
        queue.send(b"abc")
        thread.join(BOUND)
    assert buffer[:3] == b"abc"


def test_iterating_ends_with_the_shutdown() -> None:
    queue = rsipc.Queue.create("q")
    for number in range(5):
        queue.send(bytes([number]))
    queue.shutdown()
    queue.shutdown()
    assert queue.is_shut_down
    assert list(queue) == [bytes([number]) for number in range(5)]


def test_a_shut_down_queue() -> None:
    queue = rsipc.Queue.create("q")
    queue.send(b"last")
    assert not queue.is_shut_down
    queue.shutdown()
    with pytest.raises(rsipc.Closed):
        queue.send(b"more")
    assert queue.recv() == b"last"
    with pytest.raises(EOFError):
        queue.recv()
    if shut_down := getattr(standard, "ShutDown", None):
        assert issubclass(rsipc.Closed, shut_down)


def test_a_shutdown_wakes_who_waits() -> None:
    queue = rsipc.Queue.create("q")
    with Program("print('waits', flush=True); print(list(rsipc.Queue.open('q')))") as receiver:
        receiver.waits()
        queue.shutdown()
        assert receiver.succeeds() == "[]\n"


def test_options() -> None:
    queue = rsipc.Queue.create("q", 3, 77)
    assert (queue.capacity, queue.max_message, queue.name) == (3, 77, "q")
    assert rsipc.Queue.open_or_create("q", 5, 5).capacity == 3
    default = rsipc.Queue.open_or_create("default")
    assert (default.capacity, default.max_message) == (64, 4096)
    assert "q" in repr(queue)
    assert "queue" in repr(queue)
    for capacity, max_message in ((-1, 10), ((1 << 30) + 1, 10), (10, -1), (10, (1 << 30) + 1), (1 << 99, 10)):
        with pytest.raises(rsipc.InvalidArgument):
            rsipc.Queue.create("other", capacity, max_message)
        with pytest.raises(rsipc.InvalidArgument):
            rsipc.Queue.size(capacity, max_message)


def test_peers_are_those_who_have_it_open() -> None:
    queue = rsipc.Queue.create("q")
    text = """
        queue = rsipc.Queue.open('q')
        queue.send(b'hello')
        print('ready', flush=True)
        time.sleep(1000)
    """
    with Program(text) as sender:
        sender.is_at("ready")
        mine, its = sorted(queue.peers(), key=lambda peer: peer.pid != os.getpid())
        assert mine[:1] + mine[2:] == (os.getpid(), False, False)
        assert its[:1] + its[2:] == (sender.pid, True, False)
        assert abs(datetime.now(UTC) - its.since) < timedelta(hours=1)
        sender.kill()
    assert [peer.pid for peer in queue.peers()] == [os.getpid()]
    assert queue.recv() == b"hello"
    assert queue.peers()[0].receives


def test_a_killed_receiver_leaves_the_messages() -> None:
    queue = rsipc.Queue.create("q")
    for _ in range(5):
        with Program("queue = rsipc.Queue.open('q'); print('waits', flush=True); queue.recv()") as receiver:
            receiver.waits()
            receiver.kill()
    queue.send(b"for the living")
    assert queue.recv(timeout=BOUND) == b"for the living"


def test_a_killed_sender_leaves_what_it_sent() -> None:
    queue = rsipc.Queue.create("q", capacity=2)
    text = """
        queue = rsipc.Queue.open('q')
        queue.send(b'1')
        queue.send(b'2')
        print('waits', flush=True)
        queue.send(b'3')
    """
    with Program(text) as sender:
        sender.waits()
        sender.kill()
    assert [queue.recv(BOUND), queue.recv(BOUND)] == [b"1", b"2"]
    with pytest.raises(rsipc.Empty):
        queue.try_recv()
    queue.send(b"4", BOUND)
    assert queue.recv(BOUND) == b"4"


def test_processes_killed_at_random_lose_nothing() -> None:
    queue = rsipc.Queue.create("q", capacity=4)
    text = """
        queue = rsipc.Queue.open('q')
        number = int(sys.argv[1])
        while True:
            queue.send(number.to_bytes(8, 'little') * (number % 100 + 1))
            number += 1
            os.write(1, b'.')
    """
    first = 0
    for _ in range(5):
        with Program(text, first) as sender:
            for number in range(first, first + 50):
                message = queue.recv(BOUND)
                assert message == number.to_bytes(8, "little") * (number % 100 + 1)
            sender.kill()
            said = len(sender.end()[1])
        rest = []
        try:
            while True:
                rest.append(queue.try_recv())
        except rsipc.Empty:
            pass
        assert [int.from_bytes(message[:8], "little") for message in rest] == list(range(first + 50, first + 50 + len(rest)))
        # Each that send returned for, and at most the one it was about.
        assert said <= 50 + len(rest) <= said + 1
        first += 1000


def test_many_threads_and_processes() -> None:
    queue = rsipc.Queue.create("q", capacity=3)
    text = """
        queue = rsipc.Queue.open('q')
        for number in range(200):
            queue.send(number.to_bytes(2, 'little'), timeout=60)
    """
    sums: list[int] = []

    def receive() -> None:
        sums.append(sum(int.from_bytes(message, "little") for message in queue))

    receivers = [threading.Thread(target=receive) for _ in range(3)]
    for receiver in receivers:
        receiver.start()
    with Program(text) as one, Program(text) as other:
        one.succeeds()
        other.succeeds()
    queue.shutdown()
    for receiver in receivers:
        receiver.join(BOUND)
    assert sum(sums) == 2 * sum(range(200))


def test_a_closed_handle() -> None:
    with rsipc.Queue.create("q") as queue:
        queue.send(b"1")
    queue.close()
    for call in (
        lambda: queue.send(b""),
        lambda: queue.try_send(b""),
        queue.recv,
        queue.try_recv,
        lambda: queue.recv_into(bytearray(1)),
        lambda: len(queue),
        queue.peers,
        queue.shutdown,
        lambda: queue.is_shut_down,
        lambda: queue.capacity,
        lambda: queue.max_message,
        lambda: next(queue),
        queue.__enter__,
        queue.__reduce__,
    ):
        with pytest.raises(rsipc.InvalidArgument, match="closed"):
            call()
    assert "closed" in repr(queue)
    assert rsipc.Queue.open("q").recv() == b"1"


def test_a_wait_goes_on_when_another_thread_closes_the_handle() -> None:
    queue, other = rsipc.Queue.create("q"), rsipc.Queue.open("q")
    received: list[bytes] = []
    thread = threading.Thread(target=lambda: received.append(queue.recv(BOUND)))
    thread.start()
    while not any(peer.receives for peer in other.peers()):
        pass
    queue.close()
    other.send(b"still")
    thread.join(BOUND)
    assert received == [b"still"]


def test_in_a_region() -> None:
    region = rsipc.Region.create("r", 1 << 16)
    queue = rsipc.Queue.create_in(region, 128, capacity=4, max_message=100, leases=8)
    assert queue.name is None
    queue.send(b"placed")
    assert run("print(rsipc.Queue.open_in(rsipc.Region.open('r'), 128).recv(60))") == "b'placed'\n"
    with pytest.raises(rsipc.AlreadyExists):
        rsipc.Queue.create_in(region, 128, 4, 100, leases=8)
    with pytest.raises(rsipc.NotFound):
        rsipc.Queue.open_in(region, 1 << 15)
    for offset in (1, 64, 1 << 16, 1 << 63, (1 << 64) - 128):
        with pytest.raises(rsipc.InvalidArgument):
            rsipc.Queue.create_in(region, offset, 1, 1, leases=8)
    region.close()
    queue.send(b"on its own")
    assert queue.recv() == b"on its own"
    with pytest.raises(rsipc.InvalidArgument, match="closed"):
        rsipc.Queue.open_in(region, 128)


@pytest.mark.parametrize(("capacity", "length"), [(4, 10), (4, 100_000), (None, 100_000), (0, 10)])
def test_a_queue_without_a_name_travels_by_its_descriptor(capacity: int | None, length: int) -> None:
    queue = rsipc.Queue.anonymous(capacity, 1 << 20)
    assert (queue.name, queue.capacity, queue.max_message) == (None, capacity, 1 << 20)
    assert rsipc.list() == []
    again = rsipc.Queue.from_fd(queue.memory_fileno())
    assert again.memory_fileno() != queue.memory_fileno()
    if (child := os.fork()) == 0:
        status = 1
        try:
            rsipc.Queue.from_fd(queue.memory_fileno()).send(b"x" * length, 60)
            status = 0
        finally:
            os._exit(status)
    assert again.recv(60) == b"x" * length
    assert os.waitpid(child, 0)[1] == 0
    queue.close()
    with pytest.raises(rsipc.InvalidArgument, match="closed"):
        queue.memory_fileno()
    again.close()


def test_what_is_no_descriptor_of_a_queue() -> None:
    with pytest.raises(rsipc.InvalidArgument, match="from 0 on"):
        rsipc.Queue.from_fd(-1)
    with pytest.raises(rsipc.OsError):
        rsipc.Queue.from_fd(1_000_000)
    region = rsipc.Region.anonymous(100_000)
    with pytest.raises(rsipc.WrongKind, match="region"):
        rsipc.Queue.from_fd(region.fileno())
    with open("/dev/null") as null, pytest.raises(rsipc.Error):
        rsipc.Queue.from_fd(null.fileno())
    with pytest.raises(rsipc.InvalidArgument, match="has a name"):
        rsipc.Queue.create("q").memory_fileno()
    with pytest.raises(TypeError, match="memory_fileno"):
        pickle.dumps(rsipc.Queue.anonymous())
