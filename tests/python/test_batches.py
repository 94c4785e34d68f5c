import threading
from collections.abc import Iterator

import pytest
import rsipc
from processes import BOUND, Program

KINDS = [{"capacity": 3}, {"capacity": 1000}, {"capacity": None}, {"capacity": 0}, {"capacity": 20, "max_message": 20_000}]


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_sent_is_received_in_that_order(kind: dict[str, int | None]) -> None:
    queue = rsipc.Queue.create("q", **kind)  # type: ignore[arg-type]
    text = """
    queue = rsipc.Queue.open("q")
    messages = [b"%d " % i + b"x" * (queue.max_message - 10 if i % 50 == 7 else i % 90) for i in range(3000)]
    for i in range(0, 3000, 60):
        assert queue.send_many(messages[i : i + 60], timeout=float(sys.argv[1])) == 60
    queue.shutdown()
    """
    with Program(text, BOUND) as program:
        received: list[bytes] = []
        while True:
            try:
                messages = queue.recv_many(max=50, timeout=BOUND)
            except rsipc.Closed:
                break
            assert 1 <= len(messages) <= 50
            received += messages
        program.succeeds()
    longest = queue.max_message - 10
    assert received == [b"%d " % i + b"x" * (longest if i % 50 == 7 else i % 90) for i in range(3000)]


def test_the_count_says_how_many_were_sent() -> None:
    queue = rsipc.Queue.create("q", capacity=3)
    messages: list[bytes | bytearray | memoryview] = [b"1", bytearray(b"2"), memoryview(b"3"), b"4", b""]
    assert queue.send_many([]) == 0
    assert queue.try_send_many(messages) == 3
    with pytest.raises(rsipc.Full):
        queue.try_send_many(messages[3:])
    with pytest.raises(rsipc.SendTimeout):
        queue.send_many(messages[3:], timeout=0.02)
    assert queue.try_recv_many(2) == [b"1", b"2"]
    assert queue.send_many([*messages[3:], b"5"], timeout=0.02) == 2
    assert queue.recv_many() == [b"3", b"4", b""]
    with pytest.raises(rsipc.Empty):
        queue.try_recv_many()
    with pytest.raises(rsipc.RecvTimeout):
        queue.recv_many(timeout=0.02)


def test_any_iterable() -> None:
    def numbers() -> Iterator[bytes]:
        for i in range(5):
            yield b"%d" % i

    queue = rsipc.Queue.create("q", capacity=8)
    assert queue.send_many(numbers()) == 5
    assert queue.recv_many() == list(numbers())
    assert queue.send_many((b"a", b"b")) == 2
    assert queue.recv_many() == [b"a", b"b"]


def test_what_is_wrong_is_told_before_anything_is_sent() -> None:
    queue = rsipc.Queue.create("q", capacity=8, max_message=10)
    with pytest.raises(rsipc.MessageTooLong, match=r"number 1.*11 bytes"):
        queue.send_many([b"x", b"x" * 11, b"x"])
    for messages in (["text"], [1], "text", b"bytes", 5, None):
        with pytest.raises(TypeError):
            queue.send_many(messages)  # type: ignore[arg-type]

    def fails() -> Iterator[bytes]:
        yield b"x"
        raise LookupError

    with pytest.raises(LookupError):
        queue.send_many(fails())
    for max in (0, -1):
        with pytest.raises(rsipc.InvalidArgument):
            queue.recv_many(max)
    assert len(queue) == 0


def test_what_ends_a_batch_in_the_middle_is_told_by_the_next_call() -> None:
    queue = rsipc.Queue.create("q", capacity=None, limit=100_000, max_message=8000)
    messages = [bytes([i]) * 5000 for i in range(50)]
    sent = queue.send_many(messages)
    assert 0 < sent < 50
    with pytest.raises(rsipc.LimitReached):
        queue.send_many(messages[sent:])
    received: list[bytes] = []
    while len(queue):
        received += queue.recv_many(7)
    assert received == messages[:sent]


def test_other_threads_run_while_it_waits() -> None:
    queue = rsipc.Queue.create("q", capacity=4)
    messages = [b"%d" % i for i in range(100)]
    sender = threading.Thread(target=lambda: queue.send_many(messages))
    sender.start()
    received: list[bytes] = []
    while len(received) < 100:
        received += queue.recv_many(3, timeout=BOUND)
    sender.join(BOUND)
    assert received == messages
    results: list[bytes] = []
    receiver = threading.Thread(target=lambda: results.extend(queue.recv_many()))
    receiver.start()
    queue.send(b"x")
    receiver.join(BOUND)
    assert results == [b"x"]


def test_ctrl_c_ends_a_wait() -> None:
    rsipc.Queue.create("q", capacity=1)
    text = """
    queue = rsipc.Queue.open("q")
    print("waits", flush=True)
    try:
        {call}
    except KeyboardInterrupt:
        print("interrupted")
    """
    import signal

    for call in ("queue.recv_many()", "queue.send_many([b'1', b'2', b'3'])"):
        with Program(text.replace("{call}", call)) as program:
            program.waits()
            program.signal(signal.SIGINT)
            assert program.succeeds().strip() == "interrupted"


def test_a_batch_from_python_is_received_one_by_one_and_the_other_way_round() -> None:
    queue = rsipc.Queue.create("q", capacity=100)
    messages = [b"%d" % i for i in range(100)]
    assert queue.send_many(messages) == 100
    assert [queue.recv() for _ in messages] == messages
    for message in messages:
        queue.send(message)
    assert queue.recv_many(1000) == messages
