"""Messages on lease come back unless they were finished."""

import copy
import gc
import os
import pickle
import threading

import pytest
import rsipc
from processes import BOUND, Program


def test_a_finished_message_is_gone() -> None:
    queue = rsipc.Queue.create("q")
    queue.send(b"1")
    queue.send(b"2")
    lease = queue.lease(BOUND)
    assert (lease.message, lease.deliveries, len(queue)) == (b"1", 1, 1)
    lease.finish()
    assert lease.message == b"1"
    assert queue.try_lease().message == b"2"


def test_what_is_given_back_comes_first() -> None:
    queue = rsipc.Queue.create("q")
    for message in (b"1", b"2", b"3"):
        queue.send(message)
    one, two = queue.lease(), queue.lease()
    two.give_back()
    one.give_back()
    assert len(queue) == 3
    again = queue.lease()
    assert (again.message, again.deliveries) == (b"1", 2)
    assert queue.recv(0) == b"2"
    assert queue.recv(0) == b"3"


def test_a_forgotten_lease_is_given_back() -> None:
    queue = rsipc.Queue.create("q")
    queue.send(b"1")
    for times in range(1, 5):
        lease = queue.lease(0)
        assert (lease.message, lease.deliveries) == (b"1", times)
        del lease
        gc.collect()
    assert queue.recv(0) == b"1"


def test_leaving_the_block_finishes() -> None:
    queue = rsipc.Queue.create("q")
    queue.send(b"1")
    with queue.lease() as lease:
        assert lease.message == b"1"
        assert len(queue) == 0
    assert len(queue) == 0
    with pytest.raises(rsipc.Empty):
        queue.try_lease()


def test_an_exception_gives_back() -> None:
    queue = rsipc.Queue.create("q")
    queue.send(b"1")
    with pytest.raises(ZeroDivisionError), queue.lease() as lease:
        raise ZeroDivisionError
    assert "over" in repr(lease)
    assert queue.recv(0) == b"1"


def test_what_the_block_itself_has_done_holds() -> None:
    queue = rsipc.Queue.create("q")
    queue.send(b"1")
    queue.send(b"2")
    with queue.lease() as lease:
        lease.finish()
    with queue.lease() as lease:
        lease.give_back()
    assert queue.recv(0) == b"2"
    assert len(queue) == 0


def test_a_lease_ends_once() -> None:
    queue = rsipc.Queue.create("q")
    for end in ("finish", "give_back"):
        queue.send(b"1")
        lease = queue.lease()
        assert "over" not in repr(lease)
        getattr(lease, end)()
        for again in (lease.finish, lease.give_back):
            with pytest.raises(rsipc.NotOwner, match="over") as error:
                again()
            assert isinstance(error.value, RuntimeError)
    assert queue.recv(0) == b"1"


def test_a_lease_keeps_the_queue() -> None:
    queue = rsipc.Queue.create("q")
    queue.send(b"1")
    lease = queue.lease()
    queue.close()
    with pytest.raises(rsipc.InvalidArgument, match="closed"):
        queue.lease()
    with pytest.raises(rsipc.InvalidArgument, match="closed"):
        queue.try_lease()
    del queue
    rsipc.unlink("q")
    assert lease.message == b"1"
    lease.give_back()


def test_any_thread_may_finish() -> None:
    queue = rsipc.Queue.create("q")
    queue.send(b"1")
    lease = queue.lease()
    thread = threading.Thread(target=lease.finish)
    thread.start()
    thread.join(BOUND)
    with pytest.raises(rsipc.NotOwner):
        lease.finish()
    assert len(queue) == 0


def test_a_lease_cannot_be_copied() -> None:
    queue = rsipc.Queue.create("q")
    queue.send(b"1")
    lease = queue.lease()
    with pytest.raises(TypeError):
        pickle.dumps(lease)
    with pytest.raises(TypeError):
        copy.copy(lease)
    with pytest.raises(TypeError):
        rsipc.Lease()


def test_a_child_of_fork_has_no_lease() -> None:
    queue = rsipc.Queue.create("q")
    for message in (b"1", b"2", b"3"):
        queue.send(message)
    finished, given_back, forgotten = queue.lease(), queue.lease(), queue.lease()
    if (child := os.fork()) == 0:
        status = 1
        try:
            for call in (finished.finish, given_back.give_back):
                try:
                    call()
                except rsipc.NotOwner:
                    continue
                os._exit(2)
            del forgotten
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert len(queue) == 0
    finished.finish()
    given_back.give_back()
    assert queue.recv(0) == b"2"
    forgotten.give_back()
    assert queue.recv(0) == b"3"


def test_as_many_leases_as_it_was_made_for() -> None:
    queue = rsipc.Queue.create("q", leases=2)
    for number in range(3):
        queue.send(str(number).encode())
    one, _two = queue.lease(0), queue.lease(0)
    with pytest.raises(rsipc.Empty):
        queue.try_lease()
    with pytest.raises(rsipc.RecvTimeout):
        queue.lease(0.01)
    one.finish()
    assert queue.lease(0).message == b"2"


def test_no_leases() -> None:
    queue = rsipc.Queue.create("q", leases=0)
    queue.send(b"1")
    with pytest.raises(rsipc.Unsupported):
        queue.lease()
    assert queue.recv(0) == b"1"


WORKER = """
    queue = rsipc.Queue.open('q')
    with queue.lease(60) as lease:
        print(lease.message.decode(), lease.deliveries, flush=True)
        time.sleep(1000)
"""


@pytest.mark.parametrize("capacity", [0, 8, None], ids=["zero", "some", "unbounded"])
def test_the_message_of_a_killed_worker_goes_to_another(capacity: int | None) -> None:
    queue = rsipc.Queue.create("q", capacity, 1 << 20)
    message = b"x" * 100_000
    with Program(WORKER) as worker:
        queue.send(message, BOUND)
        worker.is_at(f"{message.decode()} 1")
        text = "print('waits', flush=True); lease = rsipc.Queue.open('q').lease(); print(len(lease.message), lease.deliveries)"
        with Program(text) as other:
            other.waits()
            worker.kill()
            assert other.succeeds() == "100000 2\n"
    with queue.lease(BOUND) as last:
        assert (last.message, last.deliveries) == (message, 3)


def test_a_message_is_redelivered_until_somebody_lives() -> None:
    queue = rsipc.Queue.create("q")
    queue.send(b"poison")
    for times in range(1, 6):
        with Program(WORKER) as worker:
            worker.is_at(f"poison {times}")
            worker.kill()
    assert queue.recv(BOUND) == b"poison"
    with pytest.raises(rsipc.Empty):
        queue.try_recv()


def test_workers_killed_at_random_lose_no_job() -> None:
    jobs, done = rsipc.Queue.create("jobs", None), rsipc.Queue.create("done", None)
    text = """
        jobs, done = rsipc.Queue.open('jobs'), rsipc.Queue.open('done')
        while True:
            with jobs.lease() as lease:
                done.send(lease.message)
    """
    for number in range(2000):
        jobs.send(str(number).encode())
    seen: list[int] = []
    # All but the last are killed in the middle of their work.
    for many in (200, 200, 200, 200, None):
        with Program(text) as worker:
            while len(set(seen)) < 2000 if many is None else many > 0:
                seen.append(int(done.recv(BOUND)))
                many = None if many is None else many - 1
            if many is None:
                jobs.shutdown()
                worker.end()
            worker.kill()
    # Each job was done, and twice only those whose worker died before it had finished them.
    assert set(seen) == set(range(2000))
    assert len(seen) <= 2000 + 4
