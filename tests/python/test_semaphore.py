import pytest
import rsipc
from processes import BOUND, Program, run


def test_signals() -> None:
    semaphore = rsipc.Semaphore.create("s", 2)
    assert (semaphore.kind, semaphore.value, semaphore.name) == ("signals", 2, "s")
    semaphore.acquire()
    semaphore.acquire(timeout=0)
    with pytest.raises(rsipc.WouldBlock):
        semaphore.acquire(timeout=0)
    with pytest.raises(rsipc.Timeout):
        semaphore.acquire(0.01)
    semaphore.release()
    semaphore.release(n=3)
    assert semaphore.value == 4
    with semaphore as entered:
        assert entered is semaphore
        assert semaphore.value == 3
    assert semaphore.value == 4
    assert rsipc.Semaphore.open_or_create("s", 9).value == 4


def test_signals_from_another_process() -> None:
    semaphore = rsipc.Semaphore.create("s", value=0)
    with Program("semaphore = rsipc.Semaphore.open('s'); print('waits', flush=True); semaphore.acquire()") as waiter:
        waiter.waits()
        semaphore.release()
        waiter.succeeds()
    assert semaphore.value == 0


def test_permits() -> None:
    semaphore = rsipc.Semaphore.create_permits("s", permits=2)
    assert semaphore.kind == rsipc.Semaphore.open("s").kind == "permits"
    with semaphore, rsipc.Semaphore.open("s"):
        assert semaphore.value == 0
        with pytest.raises(rsipc.WouldBlock):
            semaphore.acquire(0)
    with pytest.raises(rsipc.NotOwner) as error:
        semaphore.release()
    assert isinstance(error.value, RuntimeError)
    assert rsipc.Semaphore.open_or_create_permits("s", 9).value == 2


def test_permits_of_a_killed_process_come_back() -> None:
    semaphore = rsipc.Semaphore.create_permits("s", 2)
    text = """
        semaphore = rsipc.Semaphore.open('s')
        semaphore.acquire()
        semaphore.acquire()
        print('held', flush=True)
        time.sleep(1000)
    """
    with Program(text) as holder:
        holder.is_at("held")
        assert semaphore.value == 0
        with pytest.raises(rsipc.Timeout):
            semaphore.acquire(0.01)
        with Program("semaphore = rsipc.Semaphore.open('s'); print('waits', flush=True); semaphore.acquire()") as waiter:
            waiter.waits()
            holder.kill()
            waiter.succeeds()
    semaphore.acquire(BOUND)
    semaphore.acquire(BOUND)


def test_limits() -> None:
    semaphore = rsipc.Semaphore.create("s", 2**31 - 1)
    with pytest.raises(rsipc.LimitReached):
        semaphore.release()
    for value in (2**31, 2**32, -1, 2**100):
        with pytest.raises(rsipc.InvalidArgument):
            rsipc.Semaphore.create("other", value)
        with pytest.raises(rsipc.InvalidArgument):
            rsipc.Semaphore.create_permits("other", value)
    with pytest.raises(rsipc.InvalidArgument):
        semaphore.release(-1)


def test_a_closed_handle() -> None:
    semaphore = rsipc.Semaphore.create("s", 1)
    semaphore.close()
    semaphore.close()
    for call in (semaphore.acquire, semaphore.release, lambda: semaphore.value, lambda: semaphore.kind, semaphore.__enter__):
        with pytest.raises(rsipc.InvalidArgument, match="closed"):
            call()


def test_in_a_region() -> None:
    region = rsipc.Region.create("r", 1 << 16)
    signals = rsipc.Semaphore.create_in(region, 0, 5)
    permits = rsipc.Semaphore.create_permits_in(region, 4096, 5)
    assert rsipc.Semaphore.open_in(region, 0).kind == "signals"
    assert rsipc.Semaphore.open_in(region, 4096).kind == "permits"
    text = """
        region = rsipc.Region.open('r')
        rsipc.Semaphore.open_in(region, 0).acquire()
        rsipc.Semaphore.open_in(region, 4096).acquire()
    """
    run(text)
    assert (signals.value, permits.value) == (4, 5)
    assert 0 < rsipc.Semaphore.SIZE < rsipc.Semaphore.PERMITS_SIZE
    with pytest.raises(rsipc.InvalidArgument):
        rsipc.Semaphore.create_in(region, 8, 1)
