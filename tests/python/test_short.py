"""The methods that have a short way (bindings/python/src/short.rs) are in every other respect as all the others."""

import inspect
import sys
import threading
import types
from collections.abc import Callable
from typing import Any

import pytest
import rsipc
from processes import BOUND

Object = rsipc.Mutex | rsipc.Semaphore

CLASSES = [rsipc.Mutex, rsipc.Semaphore]
METHODS = ["acquire", "release", "__enter__", "__exit__"]


def make(kind: str) -> Object:
    match kind:
        case "mutex":
            return rsipc.Mutex.create("m")
        case "signals":
            return rsipc.Semaphore.create("s", 1)
        case _:
            return rsipc.Semaphore.create_permits("p", 1)


@pytest.fixture(params=["mutex", "signals", "permits"])
def lock(request: pytest.FixtureRequest) -> Object:
    return make(request.param)


def test_what_they_return(lock: Object) -> None:
    for _ in range(2):
        acquired: object = lock.acquire()  # type: ignore[func-returns-value]
        released: object = lock.release()  # type: ignore[func-returns-value]
        assert acquired is released is None
        assert lock.__enter__() is lock
        left: object = lock.__exit__(None, None, None)  # type: ignore[func-returns-value]
        assert left is None


def test_with_arguments_they_do_the_same(lock: Object) -> None:
    for timeout in (None, 0, 0.0, 1, BOUND):
        lock.acquire(timeout)
        lock.release()
        lock.acquire(timeout=timeout)
        lock.release()
    lock.acquire()
    exit: Callable[..., None] = lock.__exit__
    exit()
    lock.acquire()
    exit(1, 2, 3, 4)
    with lock:
        pass


def test_they_take_one_and_give_one_back(lock: Object) -> None:
    other = type(lock).open(lock.name or "")
    errors: list[BaseException] = []

    def acquire() -> None:
        try:
            other.acquire(0)
            other.release()
        except rsipc.Error as e:
            errors.append(e)

    def is_free() -> bool:
        errors.clear()
        thread = threading.Thread(target=acquire)
        thread.start()
        thread.join(BOUND)
        assert all(isinstance(e, rsipc.WouldBlock) for e in errors)
        return not errors

    assert is_free()
    lock.acquire()
    assert not is_free()
    lock.release()
    assert is_free()
    with lock:
        assert not is_free()
    assert is_free()


def test_they_wait(lock: Object) -> None:
    counter = 0

    def count() -> None:
        nonlocal counter
        for turn in range(2000):
            if turn % 2:
                lock.acquire()
            else:
                lock.__enter__()
            seen = counter
            if turn % 100 == 0:
                threading.Event().wait(0.0001)
            counter = seen + 1
            lock.release()

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
    assert counter == 6000


def test_an_exception_in_the_block_is_not_swallowed(lock: Object) -> None:
    with pytest.raises(ZeroDivisionError), lock:
        raise ZeroDivisionError
    lock.acquire(0)
    lock.release()


def test_nothing_is_kept(lock: Object) -> None:
    before = sys.getrefcount(lock)
    for _ in range(1000):
        with lock:
            pass
        lock.acquire()
        lock.release()
    assert sys.getrefcount(lock) == before


def test_a_closed_handle(lock: Object) -> None:
    lock.close()
    for call in (lock.acquire, lock.release, lock.__enter__, lambda: lock.__exit__(None, None, None)):
        with pytest.raises(rsipc.InvalidArgument, match="closed"):
            call()


def test_a_mutex_that_a_thread_left_locked() -> None:
    mutex = rsipc.Mutex.create("m")
    thread = threading.Thread(target=mutex.acquire)
    thread.start()
    thread.join(BOUND)
    for call in (mutex.acquire, mutex.__enter__, mutex.acquire):
        with pytest.raises(rsipc.OwnerDied):
            call()
    with mutex.recover() as owner_died:
        assert owner_died
    mutex.acquire()
    mutex.release()


@pytest.mark.parametrize("thing", CLASSES)
@pytest.mark.parametrize("name", METHODS)
def test_they_look_like_methods(thing: type[Object], name: str) -> None:
    method = getattr(thing, name)
    assert isinstance(method, types.MethodDescriptorType)
    assert (method.__name__, method.__qualname__, method.__objclass__) == (name, f"{thing.__name__}.{name}", thing)
    signature = {
        "acquire": "(self, /, timeout=None)",
        "release": "(self, /)" if thing is rsipc.Mutex else "(self, /, n=1)",
        "__enter__": "(self, /)",
        "__exit__": "(self, /, *_exception)",
    }
    assert str(inspect.signature(method)) == signature[name]
    assert bool(method.__doc__) == (not name.startswith("_"))


def test_they_are_documented() -> None:
    assert (rsipc.Mutex.acquire.__doc__ or "").startswith("Locks it")
    assert (rsipc.Mutex.release.__doc__ or "").startswith("Unlocks it.")
    assert (rsipc.Semaphore.acquire.__doc__ or "").startswith("Takes a unit")
    assert (rsipc.Semaphore.release.__doc__ or "").startswith("Gives `n` units")


@pytest.mark.parametrize(
    ("thing", "call", "message"),
    [
        (rsipc.Mutex, lambda m: m.acquire(1, 2), "Mutex.acquire() takes from 0 to 1 positional arguments but 2 were given"),
        (rsipc.Mutex, lambda m: m.acquire(time=1), "Mutex.acquire() got an unexpected keyword argument 'time'"),
        (rsipc.Mutex, lambda m: m.acquire(1, timeout=1), "Mutex.acquire() got multiple values for argument 'timeout'"),
        (rsipc.Mutex, lambda m: m.acquire("soon"), "must be real number, not str"),
        (rsipc.Mutex, lambda m: m.release(1), "Mutex.release() takes no arguments (1 given)"),
        (rsipc.Mutex, lambda m: m.release(n=1), "Mutex.release() takes no keyword arguments"),
        (rsipc.Mutex, lambda m: m.__enter__(1), "Mutex.__enter__() takes no arguments (1 given)"),
        (rsipc.Mutex, lambda m: m.__exit__(1, 2, 3, x=4), "Mutex.__exit__() got an unexpected keyword argument 'x'"),
        (rsipc.Semaphore, lambda s: s.acquire(time=1), "Semaphore.acquire() got an unexpected keyword argument 'time'"),
        (rsipc.Semaphore, lambda s: s.release(m=1), "Semaphore.release() got an unexpected keyword argument 'm'"),
        (rsipc.Semaphore, lambda s: s.release(1, n=1), "Semaphore.release() got multiple values for argument 'n'"),
        (rsipc.Semaphore, lambda s: s.release("one"), "'str' object cannot be interpreted as an integer"),
    ],
)
def test_wrong_arguments(thing: type[Object], call: Callable[[Any], None], message: str) -> None:
    it = make("mutex" if thing is rsipc.Mutex else "signals")
    with pytest.raises(TypeError) as error:
        call(it)
    assert str(error.value) == message
    # Nothing was done.
    it.acquire(0)
    it.release()


@pytest.mark.parametrize("thing", CLASSES)
@pytest.mark.parametrize("name", METHODS)
def test_only_on_an_object_of_the_class(thing: type[Object], name: str) -> None:
    method: Any = getattr(thing, name)
    arguments = (None, None, None) if name == "__exit__" else ()
    other = make("signals" if thing is rsipc.Mutex else "mutex")
    says = rf"descriptor '{name}' for 'rsipc.{thing.__name__}' objects doesn't apply to a '.*' object"
    for wrong in (None, object(), thing, other):
        with pytest.raises(TypeError, match=says):
            method(wrong, *arguments)
    with pytest.raises(TypeError, match=rf"{thing.__name__}.{name}\(\) needs an argument"):
        method()
