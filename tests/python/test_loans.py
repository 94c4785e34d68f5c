"""Messages that are written and read where they lie: loans and views."""

import gc
import os
import threading

import numpy as np
import pytest
import rsipc
from processes import BOUND, Program

SIZE = 8_000_000


def queue(max_message: int, capacity: int | None = 2, leases: int = 1) -> rsipc.Queue:
    return rsipc.Queue.create("queue", capacity, max_message, leases=leases)


def free(jobs: rsipc.Queue) -> int:
    """How many more can be lent now."""
    loans = []
    while True:
        try:
            loans.append(jobs.try_loan(1))
        except rsipc.Full:
            break
    for loan in loans:
        loan.release()
    return len(loans)


def test_a_message_is_written_and_read_where_it_lies() -> None:
    with queue(SIZE) as frames:
        for number in range(5):
            with frames.loan(SIZE) as loan:
                assert len(loan) == SIZE
                array = np.frombuffer(memoryview(loan), dtype=np.float64)
                array[:] = number
                place = array.__array_interface__["data"][0]
                assert place % 4096 == 0
                del array
                loan.send()
            with frames.recv_view(BOUND) as view:
                array = np.frombuffer(memoryview(view), dtype=np.float64)
                assert array.__array_interface__["data"][0] == place
                assert array.sum() == number * SIZE / 8
                with pytest.raises(ValueError, match="read-only"):
                    array[0] = 1
                del array


def test_every_kind_of_message_is_viewed() -> None:
    with queue(10_000, capacity=8) as jobs:
        for data in (b"short", b"", b"long" * 2000):
            jobs.send(data)
        with jobs.loan(100) as loan:
            memoryview(loan)[:4] = b"lent"
            loan.truncate(4)
            assert len(loan) == 4
            loan.try_send()
        for data in (b"short", b"", b"long" * 2000, b"lent"):
            view = jobs.try_recv_view()
            assert (bytes(view), len(view), memoryview(view).readonly) == (data, len(data), True)
            assert view
            view.release()
        with pytest.raises(rsipc.Empty):
            jobs.try_recv_view()
        with pytest.raises(rsipc.RecvTimeout):
            jobs.recv_view(0.01)


def test_a_loan_is_received_in_any_way() -> None:
    with queue(5000, leases=3) as jobs:
        for receive in (lambda: jobs.recv(), lambda: jobs.lease().message, lambda: bytes(jobs.recv_view())):
            loan = jobs.loan(4)
            memoryview(loan)[:] = b"lent"
            loan.send()
            assert receive() == b"lent"


def test_what_is_in_use_is_not_sent() -> None:
    with queue(5000) as jobs:
        loan = jobs.loan(8)
        array = np.frombuffer(loan, dtype=np.uint8)  # type: ignore[call-overload]
        for change in (loan.send, loan.try_send, lambda: loan.truncate(1)):
            with pytest.raises(BufferError, match="still in use"):
                change()
        array[:] = 7
        del array
        loan.send()
        assert jobs.recv(0) == b"\x07" * 8


def test_memory_stays_lent_while_it_is_in_use() -> None:
    with queue(5000) as jobs:
        loan = jobs.loan(8)
        array = np.frombuffer(memoryview(loan), dtype=np.uint8)
        loan.release()
        del loan
        assert free(jobs) == 2
        array[:] = 7
        del array
        assert free(jobs) == 3
        jobs.send(bytes(5000))
        with jobs.recv_view() as view:
            array = np.frombuffer(memoryview(view), dtype=np.uint8)
        assert free(jobs) == 2
        assert array.sum() == 0
        part = array[10:20]
        del array, view
        assert free(jobs) == 2
        del part
        assert free(jobs) == 3


def test_buffers_outlive_the_handle() -> None:
    jobs = queue(5000)
    loan = jobs.loan(5000)
    memoryview(loan)[:4] = b"lent"
    loan.send()
    data = memoryview(jobs.recv_view())
    loan = jobs.loan(10)
    jobs.close()
    gc.collect()
    assert data[:4] == b"lent"
    loan.send()
    with rsipc.Queue.open("queue") as again:
        assert len(again.recv(0)) == 10


def test_what_is_over_says_so() -> None:
    with queue(5000) as jobs:
        sent, released = jobs.loan(1), jobs.loan(1)
        sent.send()
        released.release()
        released.release()
        for loan in (sent, released):
            with pytest.raises(rsipc.NotOwner):
                loan.send()
            with pytest.raises(rsipc.NotOwner):
                loan.truncate(0)
            with pytest.raises(BufferError):
                memoryview(loan)
            assert (len(loan), repr(loan)) == (0, "<rsipc loan (over)>")
            assert loan
        view = jobs.recv_view()
        assert repr(view) == "<rsipc view of a message of 1 bytes>"
        view.release()
        view.release()
        with pytest.raises(BufferError):
            memoryview(view)
        assert (len(view), repr(view)) == (0, "<rsipc view of a message (over)>")


def test_leaving_the_block_gives_back() -> None:
    with queue(5000) as jobs:
        with jobs.loan(1):
            assert free(jobs) == 2
        with pytest.raises(ZeroDivisionError), jobs.loan(1):
            raise ZeroDivisionError
        loan = jobs.loan(1)
        del loan
        gc.collect()
        assert free(jobs) == 3
        assert len(jobs) == 0


def test_waiting_for_memory() -> None:
    with queue(5000) as jobs:
        loans = [jobs.loan(1) for _ in range(3)]
        with pytest.raises(rsipc.Full):
            jobs.try_loan(1)
        with pytest.raises(rsipc.SendTimeout):
            jobs.loan(1, 0.01)
        waiter = threading.Thread(target=lambda: jobs.loan(1, BOUND).release())
        waiter.start()
        loans.pop().release()
        waiter.join(BOUND)
        assert not waiter.is_alive()


def test_waiting_for_room_keeps_the_loan() -> None:
    with queue(5000, capacity=1) as jobs:
        jobs.send(b"first")
        loan = jobs.loan(6)
        memoryview(loan)[:] = b"second"
        with pytest.raises(rsipc.Full):
            loan.try_send()
        with pytest.raises(rsipc.SendTimeout):
            loan.send(0.01)
        sender = threading.Thread(target=lambda: loan.send(BOUND))
        sender.start()
        assert jobs.recv(BOUND) == b"first"
        sender.join(BOUND)
        assert jobs.recv(BOUND) == b"second"


def test_errors() -> None:
    with queue(5000) as jobs:
        with pytest.raises(rsipc.MessageTooLong):
            jobs.loan(5001)
        with pytest.raises(rsipc.InvalidArgument):
            jobs.loan(-1)
        with pytest.raises(TypeError):
            jobs.loan("many")  # type: ignore[arg-type]
        loan = jobs.loan(1)
        jobs.shutdown()
        with pytest.raises(rsipc.Closed):
            loan.send()
        with pytest.raises(rsipc.Closed):
            jobs.loan(1)
        with pytest.raises(rsipc.Closed):
            jobs.recv_view()
    for name, capacity, leases in (("unbounded", None, 1), ("no-leases", 1, 0)):
        with rsipc.Queue.create(name, capacity, leases=leases) as other, pytest.raises(rsipc.Unsupported):
            other.loan(1)


def test_a_child_of_fork_has_none() -> None:
    with queue(5000) as jobs:
        jobs.send(bytes(5000))
        loan, view = jobs.loan(1), jobs.recv_view()
        child = os.fork()
        if child == 0:
            try:
                loan.send()
            except rsipc.NotOwner:
                loan.release()
                view.release()
                os._exit(0)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        assert free(jobs) == 1
        assert bytes(view) == bytes(5000)
        loan.send()
        assert len(jobs) == 1


def test_the_memory_of_the_dead_comes_back() -> None:
    with queue(5000, capacity=1) as jobs:
        jobs.send(bytes(5000))
        text = """
            jobs = rsipc.Queue.open("queue")
            kept = jobs.recv_view(), jobs.loan(1)
            print("has it", flush=True)
            time.sleep(60)
        """
        with Program(text) as program:
            program.is_at("has it")
            assert free(jobs) == 0
            waiter = threading.Thread(target=lambda: jobs.loan(1, BOUND).release())
            waiter.start()
            program.kill()
            waiter.join(BOUND)
            assert not waiter.is_alive()
            assert free(jobs) == 2


def test_a_rendezvous() -> None:
    with queue(5000, capacity=0) as jobs:
        loan = jobs.loan(4)
        memoryview(loan)[:] = b"lent"
        with pytest.raises(rsipc.Full):
            loan.try_send()
        received = []
        receiver = threading.Thread(target=lambda: received.append(bytes(jobs.recv_view(BOUND))))
        receiver.start()
        loan.send(BOUND)
        receiver.join(BOUND)
        assert received == [b"lent"]
