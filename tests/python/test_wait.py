"""Waiting: Ctrl-C ends it, handlers that return do not, and other threads run meanwhile."""

import signal
import sys
import threading
import time

import pytest
import rsipc
from processes import BOUND, Program

WAITS = {
    "recv": "rsipc.Queue.open('empty').recv(TIMEOUT)",
    "recv_into": "rsipc.Queue.open('empty').recv_into(bytearray(10), TIMEOUT)",
    "lease": "rsipc.Queue.open('empty').lease(TIMEOUT)",
    "iteration": "next(rsipc.Queue.open('empty'))",
    "send": "rsipc.Queue.open('full').send(b'2', TIMEOUT)",
    "meet sender": "rsipc.Queue.open('no receiver').send(b'1', TIMEOUT)",
    "meet receiver": "rsipc.Queue.open('no sender').recv(TIMEOUT)",
    "meet lease": "rsipc.Queue.open('no sender').lease(TIMEOUT)",
    "acquire": "rsipc.Mutex.open('held').acquire(TIMEOUT)",
    "recover": "rsipc.Mutex.open('held').recover(TIMEOUT).__enter__()",
    "with": "rsipc.Mutex.open('held').__enter__()",
    "signals": "rsipc.Semaphore.open('signals').acquire(TIMEOUT)",
    "permits": "rsipc.Semaphore.open('permits').acquire(TIMEOUT)",
}


class Objects:
    """Each in a state in which it lets wait, and then in another one."""

    def __init__(self) -> None:
        self.empty = rsipc.Queue.create("empty")
        self.full = rsipc.Queue.create("full", capacity=1)
        self.no_receiver = rsipc.Queue.create("no receiver", capacity=0)
        self.no_sender = rsipc.Queue.create("no sender", capacity=0)
        self.held = rsipc.Mutex.create("held")
        self.signals = rsipc.Semaphore.create("signals", 0)
        self.permits = rsipc.Semaphore.create_permits("permits", 1)
        self.full.send(b"1")
        self.held.acquire()
        self.permits.acquire()

    def let_go(self, wait: str = "") -> None:
        """Lets all go; and who waits for somebody to meet, meet us."""
        if "no receiver" in wait:
            assert self.no_receiver.recv(BOUND) == b"1"
        if "no sender" in wait:
            self.no_sender.send(b"message", BOUND)
        self.empty.send(b"message")
        self.full.recv()
        self.held.release()
        self.signals.release()
        self.permits.release()


@pytest.mark.parametrize("timeout", ["None", "1000"])
@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS.keys())
def test_ctrl_c_ends_every_wait(wait: str, timeout: str) -> None:
    objects = Objects()
    with Program("print('waits', flush=True)\n" + wait.replace("TIMEOUT", timeout)) as waiter:
        waiter.waits()
        waiter.signal(signal.SIGINT)
        status, _, error = waiter.end()
    assert status in (-signal.SIGINT, 1, 130)
    assert "KeyboardInterrupt" in error
    objects.let_go()
    # Nothing was taken or sent.
    assert objects.empty.recv(0) == b"message"
    assert len(objects.full) == 0
    assert (objects.signals.value, objects.permits.value) == (1, 1)
    objects.held.acquire(0)
    with pytest.raises(rsipc.Empty):
        objects.no_receiver.try_recv()
    with pytest.raises(rsipc.Full):
        objects.no_sender.try_send(b"")


@pytest.mark.parametrize("restart", [True, False])
@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS.keys())
def test_a_handler_that_returns_does_not_end_a_wait(wait: str, restart: bool) -> None:
    objects = Objects()
    text = f"""
        signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b'handled\\n'))
        signal.siginterrupt(signal.SIGUSR1, {not restart})
        print('waits', flush=True)
        {wait.replace("TIMEOUT", "1000")}
    """
    with Program(text) as waiter:
        waiter.waits()
        for _ in range(3):
            waiter.signal(signal.SIGUSR1)
            waiter.is_at("handled")
        objects.let_go(wait)
        waiter.succeeds()


def test_a_timeout_is_not_begun_anew_by_signals() -> None:
    rsipc.Queue.create("empty")
    text = """
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        try:
            rsipc.Queue.open('empty').recv(timeout=0.3)
        except rsipc.Timeout:
            print('timeout')
        # A signal that comes while the interpreter ends would kill it.
        signal.setitimer(signal.ITIMER_REAL, 0)
    """
    with Program(text) as program:
        assert program.succeeds() == "timeout\n"


def test_a_handler_that_raises_ends_a_wait() -> None:
    rsipc.Queue.create("empty")
    text = """
        def handler(*_):
            raise ZeroDivisionError
        signal.signal(signal.SIGUSR1, handler)
        print('waits', flush=True)
        try:
            rsipc.Queue.open('empty').recv(timeout=1000)
        except ZeroDivisionError:
            print('raised')
    """
    with Program(text) as program:
        program.waits()
        program.signal(signal.SIGUSR1)
        assert program.succeeds() == "raised\n"


def test_a_handler_may_use_the_object_that_is_waited_for() -> None:
    rsipc.Queue.create("empty")
    text = """
        queue = rsipc.Queue.open('empty')
        signal.signal(signal.SIGUSR1, lambda *_: queue.send(b'from the handler'))
        print('waits', flush=True)
        print(queue.recv(timeout=1000))
    """
    with Program(text) as program:
        program.waits()
        program.signal(signal.SIGUSR1)
        assert program.succeeds() == "b'from the handler'\n"


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS.keys())
def test_other_threads_run_during_a_wait(wait: str) -> None:
    objects = Objects()
    text = f"""
        def count():
            for number in range(3):
                time.sleep(0.01)
                print(number, flush=True)
        threading.Thread(target=count).start()
        {wait.replace("TIMEOUT", "1000")}
    """
    with Program(text) as waiter:
        for number in range(3):
            waiter.is_at(str(number))
        objects.let_go(wait)
        waiter.succeeds()


def test_a_call_that_does_not_wait_keeps_the_gil() -> None:
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return
    queue, mutex = rsipc.Queue.create("q"), rsipc.Mutex.create("m")
    semaphore, permits = rsipc.Semaphore.create("s", 0), rsipc.Semaphore.create_permits("p", 1)
    counted, end = 0, False

    def count() -> None:
        nonlocal counted
        while not end:
            counted += 1
            time.sleep(0)

    interval = sys.getswitchinterval()
    # From here on a thread runs until it lets go by itself.
    sys.setswitchinterval(1000)
    thread = threading.Thread(target=count)
    try:
        thread.start()
        while counted == 0:
            time.sleep(0)
        before = counted
        for _ in range(1000):
            queue.send(b"1")
            queue.recv()
            semaphore.release()
            semaphore.acquire()
            with mutex, permits:
                len(queue)
        after = counted
    finally:
        end = True
        sys.setswitchinterval(interval)
        thread.join(BOUND)
    assert before == after


def test_timeouts_that_are_none() -> None:
    queue = rsipc.Queue.create("q")
    queue.send(b"1")
    for wrong in (-1, -0.001, float("nan"), float("-inf"), -(10**400)):
        with pytest.raises(rsipc.InvalidArgument, match="timeout"):
            queue.recv(timeout=wrong)
    for wrong_type in ("1", b"1", [1]):
        with pytest.raises(TypeError):
            queue.recv(timeout=wrong_type)  # type: ignore[arg-type]
    for right in (0, 0.0, 1, 1e300, float("inf"), 10**400, True, None):
        assert queue.recv(timeout=right) == b"1"
        queue.send(b"1", timeout=right)


def test_a_timeout_takes_its_time() -> None:
    queue = rsipc.Queue.create("q")
    begin = time.monotonic()
    with pytest.raises(rsipc.Timeout):
        queue.recv(timeout=0.25)
    assert time.monotonic() - begin >= 0.25
