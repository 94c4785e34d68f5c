import threading

import pytest
import rsipc
from processes import BOUND, Program, run

HOLD = """
    mutex = rsipc.Mutex.open('m')
    mutex.acquire()
    print('held', flush=True)
    time.sleep(1000)
"""


def die_holding_it() -> None:
    with Program(HOLD) as holder:
        holder.is_at("held")
        holder.kill()


def test_locking() -> None:
    mutex = rsipc.Mutex.create("m")
    with mutex as entered:
        assert entered is mutex
        with Program("rsipc.Mutex.open('m').acquire(timeout=0)") as other:
            assert "WouldBlock" in other.end()[2]
    run("with rsipc.Mutex.open('m'): pass")
    assert rsipc.Mutex.open_or_create("m").name == "m"


def test_waiting_for_it() -> None:
    mutex = rsipc.Mutex.create("m")
    with Program(HOLD) as holder:
        holder.is_at("held")
        with pytest.raises(rsipc.WouldBlock) as error:
            mutex.acquire(timeout=0)
        assert isinstance(error.value, BlockingIOError)
        with pytest.raises(rsipc.Timeout) as timeout:
            mutex.acquire(timeout=0.01)
        assert isinstance(timeout.value, TimeoutError)
        with pytest.raises(rsipc.Timeout), mutex.recover(0.01):
            pass


def test_it_belongs_to_the_thread() -> None:
    mutex, other = rsipc.Mutex.create("m"), rsipc.Mutex.open("m")
    with mutex:
        for handle in (mutex, other):
            with pytest.raises(rsipc.Deadlock) as error:
                handle.acquire()
            assert isinstance(error.value, RuntimeError)
        with pytest.raises(rsipc.NotOwner):
            other.release()
        errors: list[rsipc.Error] = []

        def release() -> None:
            try:
                mutex.release()
            except rsipc.Error as e:
                errors.append(e)

        thread = threading.Thread(target=release)
        thread.start()
        thread.join(BOUND)
        assert isinstance(errors[0], rsipc.NotOwner)
    with pytest.raises(rsipc.NotOwner):
        mutex.release()
    with pytest.raises(rsipc.NotOwner):
        mutex.give_up()


def test_a_death_cannot_be_overlooked() -> None:
    mutex = rsipc.Mutex.create("m")
    die_holding_it()
    for _ in range(2):
        with pytest.raises(rsipc.OwnerDied, match="recover"):
            mutex.acquire(timeout=BOUND)
        with pytest.raises(rsipc.OwnerDied), mutex:
            pass
        with pytest.raises(rsipc.NotOwner):
            mutex.release()
    assert mutex.is_inconsistent
    with mutex.recover() as owner_died:
        assert owner_died
    assert not mutex.is_inconsistent
    with mutex.recover(timeout=BOUND) as owner_died:
        assert not owner_died
    with mutex:
        pass


def test_a_death_wakes_who_waits() -> None:
    rsipc.Mutex.create("m")
    text = """
        mutex = rsipc.Mutex.open('m')
        print('waits', flush=True)
        with mutex.recover() as owner_died:
            print(owner_died)
    """
    with Program(HOLD) as holder:
        holder.is_at("held")
        with Program(text) as waiter:
            waiter.waits()
            holder.kill()
            assert waiter.succeeds() == "True\n"


def test_a_thread_that_ends_holding_it() -> None:
    mutex = rsipc.Mutex.create("m")
    thread = threading.Thread(target=mutex.acquire)
    thread.start()
    thread.join(BOUND)
    with pytest.raises(rsipc.OwnerDied):
        mutex.acquire(BOUND)


def test_a_failed_repair_leaves_the_death_to_be_told() -> None:
    mutex = rsipc.Mutex.create("m")
    die_holding_it()
    with pytest.raises(ZeroDivisionError), mutex.recover():
        raise ZeroDivisionError
    with mutex.recover(0) as owner_died:
        assert owner_died
    with pytest.raises(ZeroDivisionError), mutex:
        raise ZeroDivisionError
    mutex.acquire(0)
    mutex.release()


def test_giving_it_up() -> None:
    mutex = rsipc.Mutex.create("m")
    text = """
        mutex = rsipc.Mutex.open('m')
        print('waits', flush=True)
        mutex.acquire()
    """
    die_holding_it()
    with Program(text) as waiter:
        with mutex.recover() as owner_died:
            assert owner_died
            waiter.waits()
            mutex.give_up()
        assert "NotRecoverable" in waiter.end()[2]
    with pytest.raises(rsipc.NotRecoverable):
        mutex.acquire()
    with pytest.raises(rsipc.NotRecoverable), mutex.recover():
        pass
    rsipc.unlink("m")
    with rsipc.Mutex.create("m"):
        pass


def test_closing() -> None:
    mutex = rsipc.Mutex.create("m")
    with mutex:
        with pytest.raises(rsipc.InvalidArgument, match="release"):
            mutex.close()
        thread_error: list[rsipc.Error] = []

        def close() -> None:
            try:
                mutex.close()
            except rsipc.Error as e:
                thread_error.append(e)

        thread = threading.Thread(target=close)
        thread.start()
        thread.join(BOUND)
        assert thread_error
    mutex.close()
    mutex.close()
    for call in (mutex.acquire, mutex.release, mutex.give_up, lambda: mutex.is_inconsistent, mutex.__enter__):
        with pytest.raises(rsipc.InvalidArgument, match="closed"):
            call()
    with pytest.raises(rsipc.InvalidArgument), mutex.recover():
        pass


def test_many_processes_count() -> None:
    rsipc.Mutex.create("m")
    region = rsipc.Region.create("r", 8)
    text = """
        mutex, memory = rsipc.Mutex.open('m'), memoryview(rsipc.Region.open('r')).cast('Q')
        for _ in range(2000):
            with mutex:
                memory[0] += 1
    """
    with Program(text) as one, Program(text) as other:
        one.succeeds()
        other.succeeds()
    assert memoryview(region).cast("Q")[0] == 4000


def test_in_a_region() -> None:
    region = rsipc.Region.create("r", 4096)
    mutex = rsipc.Mutex.create_in(region, 8)
    assert rsipc.Mutex.SIZE <= 128
    with mutex, pytest.raises(rsipc.Deadlock):
        rsipc.Mutex.open_in(region, offset=8).acquire()
    with pytest.raises(rsipc.NotFound):
        rsipc.Mutex.open_in(region, 1024)
    for offset in (-1, 4, 4096 - rsipc.Mutex.SIZE + 8, 1 << 64):
        with pytest.raises(rsipc.InvalidArgument):
            rsipc.Mutex.create_in(region, offset)
    region.close()
    with mutex:
        pass
