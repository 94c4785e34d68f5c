"""What a signal handler that raises leaves behind, at whatever moment it does so."""

import queue
from typing import Any

import mp_workers
import pytest
from processes import BOUND, run
from rsipc import mp

PROGRAM = """
import queue, random, signal
from rsipc import mp

class Late(Exception):
    pass

is_armed = False

def raise_late(*_):
    global is_armed
    if is_armed:
        is_armed = False
        raise Late

signal.signal(signal.SIGALRM, raise_late)

def until_late(call):
    '''Calls it again and again, until the handler raises within a few dozen calls, or there is no more to do.'''
    global is_armed
    try:
        is_armed = True
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 1e-4))
        call()
    except Late:
        return 1
    finally:
        is_armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
    return 0

jobs = mp.JoinableQueue()
late = put = 0
"""
JOINED = """
with_limit = threading.Thread(target=jobs.join, daemon=True)
with_limit.start()
with_limit.join(20)
assert not with_limit.is_alive(), 'join() hangs'
assert late > 500, late
try:
    jobs.task_done()
except ValueError:
    pass
else:
    sys.exit('there was an item that nobody got')
"""


def test_a_get_that_is_interrupted_leaves_the_item_to_the_next() -> None:
    rounds = """
for _ in range(3000):
    for _ in range(30):
        jobs.put(put)
        put += 1
    got = []

    def get_all():
        global got
        while True:
            # As in get() itself: no handler runs between the end of a function and this.
            got += (jobs.get(False),)

    def rest():
        try:
            get_all()
        except queue.Empty:
            pass

    late += until_late(rest)
    rest()
    assert got == list(range(put - 30, put)), (got, put)
    for _ in got:
        jobs.task_done()
"""
    run(PROGRAM + rounds + JOINED)


def test_a_task_done_that_is_interrupted_was_called_or_was_not() -> None:
    rounds = """
for _ in range(3000):
    for _ in range(30):
        jobs.put(put)
        put += 1
    assert [jobs.get(False) for _ in range(30)] == list(range(put - 30, put))

    def all_done():
        try:
            while True:
                jobs.task_done()
        except ValueError:
            pass

    late += until_late(all_done)
    all_done()
    assert jobs.empty()
"""
    run(PROGRAM + rounds + JOINED)


def test_an_item_is_given_back_at_once_also_where_the_exception_is_kept() -> None:
    jobs: Any = mp.JoinableQueue()
    for _ in range(2):
        jobs.put(mp_workers.Reluctant())
        with pytest.raises(InterruptedError) as kept:
            jobs.get()
        assert isinstance(jobs.get(timeout=BOUND), mp_workers.Reluctant)
        jobs.task_done()
        jobs.join()
        del kept


@pytest.mark.parametrize("error", [LookupError, SystemExit])
def test_an_item_that_cannot_be_unpickled_counts_as_got(error: type[BaseException]) -> None:
    jobs: Any = mp.JoinableQueue()
    jobs.put(mp_workers.Unreadable(error))
    jobs.put("next")
    with pytest.raises(error):
        jobs.get()
    assert jobs.get(timeout=BOUND) == "next"
    jobs.task_done()
    jobs.task_done()
    jobs.join()
    with pytest.raises(queue.Empty):
        jobs.get(False)
