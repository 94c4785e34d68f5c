"""The checker of histories names each fault, and agrees with a search through all orders of a few operations."""

import math

import pytest
from history import DIED, GRACE, REFUSALS, Operation, check, parse
from hypothesis import given, settings
from hypothesis import strategies as st

SHUTDOWN = Operation("shutdown", 900, 910, "ok")


def send(message: int, invoked: float, returned: float, outcome: str = "ok", name: str = "send") -> Operation:
    return Operation(name, invoked, returned, outcome, message)


def recv(message: int | None, invoked: float, returned: float, outcome: str = "ok", name: str = "recv") -> Operation:
    return Operation(name, invoked, returned, outcome, message)


def try_recv(invoked: float, returned: float) -> Operation:
    return recv(None, invoked, returned, "would_block", "try_recv")


def names(operations: list[Operation], capacity: float) -> set[str]:
    return {fault.name for fault in check(operations, capacity)}


GOOD: dict[str, tuple[float, list[Operation]]] = {
    "nothing": (1, []),
    "one after the other": (1, [send(1, 0, 10), recv(1, 20, 30), send(2, 40, 50), recv(2, 60, 70)]),
    "a receiver that waited": (1, [recv(1, 0, 30), send(1, 10, 20)]),
    "a rendezvous": (0, [recv(1, 0, 30), send(1, 10, 20), send(2, 40, 60), recv(2, 50, 70)]),
    "sends at once, received in either order": (2, [send(1, 0, 20), send(2, 10, 30), recv(2, 40, 50), recv(1, 60, 70)]),
    "receives at once": (2, [send(1, 0, 10), send(2, 20, 30), recv(2, 40, 60), recv(1, 50, 70)]),
    "full": (1, [send(1, 0, 10), send(2, 20, 30, "would_block", "try_send"), recv(1, 40, 50)]),
    "perhaps full": (1, [send(1, 0, 50), send(2, 20, 30, "would_block", "try_send"), recv(1, 60, 70)]),
    "empty between two": (2, [send(1, 0, 10), recv(1, 20, 40), try_recv(30, 50), send(2, 35, 60), recv(2, 70, 80)]),
    "empty while one is perhaps sent": (1, [send(1, 0, 50), try_recv(20, 30), recv(1, 60, 70)]),
    "stopped inside a commit": (1, [send(1, 0, 10), try_recv(20, 20 + GRACE), recv(1, 3 * GRACE, 4 * GRACE)]),
    "timed out for want of a lock": (1, [send(1, 0, 10), recv(None, 20, 30, "timed_out"), recv(1, 40, 50)]),
    "withdrawn": (1, [send(1, 0, 10, "timed_out"), send(2, 0, 10, "interrupted"), try_recv(3, 4), try_recv(20, 30)]),
    "died before it sent": (1, [send(1, 0, 10, DIED), try_recv(20, 30)]),
    "died after it sent": (1, [send(1, 0, 10, DIED), send(2, 20, 30, "would_block", "try_send"), recv(1, 40, 50)]),
    "died and took it": (1, [send(1, 0, 10), recv(None, 20, 30, DIED), try_recv(40, 50)]),
    "died before it took it": (1, [send(1, 0, 10), recv(None, 20, 30, DIED), recv(1, 40, 50)]),
    "both died": (1, [send(1, 0, 10, DIED), send(2, 5, 8, "would_block", "try_send"), recv(None, 2, 12, DIED), try_recv(20, 30)]),
    "two died, each took one": (
        2,
        [send(1, 0, 10), send(2, 20, 30), recv(None, 5, 25, DIED), recv(None, 35, 45, DIED), try_recv(50, 60)],
    ),
    "shut down": (1, [send(1, 0, 10), SHUTDOWN, send(2, 905, 930, "closed"), recv(1, 940, 950), recv(None, 960, 970, "closed")]),
}

BAD: dict[str, tuple[str, float, list[Operation]]] = {
    "never received": ("lost", 1, [send(1, 0, 10), try_recv(20, 30)]),
    "died before it was sent": ("lost", 1, [recv(None, 0, 10, DIED), send(1, 20, 30)]),
    "one death for two messages": ("lost", 2, [send(1, 0, 10), send(2, 20, 30), recv(None, 40, 50, DIED)]),
    "two deaths, of which only one can be the cause": (
        "lost",
        2,
        [recv(None, 0, 5, DIED), send(1, 10, 20), send(2, 30, 40), recv(None, 50, 60, DIED)],
    ),
    "taken out of its turn": (
        "lost",
        2,
        [send(1, 0, 10), send(2, 20, 30), recv(None, 40, 50, DIED), recv(1, 60, 70), try_recv(80, 90)],
    ),
    "taken after its turn": (
        "lost",
        2,
        [send(1, 0, 10), send(2, 20, 30), recv(2, 40, 50), recv(None, 60, 70, DIED), try_recv(80, 90)],
    ),
    "received twice": ("duplicated", 1, [send(1, 0, 10), recv(1, 20, 30), recv(1, 40, 50)]),
    "nobody sent it": ("invented", 1, [recv(1, 20, 30)]),
    "received before it was sent": ("too early", 1, [recv(1, 0, 10), send(1, 20, 30)]),
    "one sender's, out of order": ("reordered", 2, [send(1, 0, 10), send(2, 20, 30), recv(2, 40, 50), recv(1, 60, 70)]),
    "out of order over three others": (
        "reordered",
        9,
        [send(n, 10 * n, 10 * n + 15) for n in range(5)]
        + [recv(n, 100 + at, 100.5 + at) for at, n in enumerate((4, 1, 2, 3, 0))],
    ),
    "a dead sender's, out of order": (
        "reordered",
        2,
        [send(1, 0, 10, DIED), send(2, 20, 30), recv(2, 40, 50), recv(1, 60, 70)],
    ),
    "torn": ("torn", 1, [send(1, 0, 10), recv(None, 20, 30, "torn")]),
    "delivered though timed out": ("not withdrawn", 1, [send(1, 0, 10, "timed_out"), recv(1, 20, 30)]),
    "delivered though interrupted": ("not withdrawn", 1, [send(1, 0, 10, "interrupted"), recv(1, 5, 30)]),
    "delivered though it would block": (
        "not withdrawn",
        1,
        [send(1, 0, 10), send(2, 20, 30, "would_block", "try_send"), recv(1, 40, 50), recv(2, 60, 70)],
    ),
    "returned early": ("no rendezvous", 0, [send(1, 0, 10), recv(1, 20, 30)]),
    "returned early, received by one that died": ("lost", 0, [send(1, 0, 10), recv(None, 20, 30, DIED)]),
    "two in a queue for one": ("over capacity", 1, [send(1, 0, 10), send(2, 20, 30), recv(1, 40, 50), recv(2, 60, 70)]),
    "three in a queue for two": (
        "over capacity",
        2,
        [send(n, 10 * n, 10 * n + 5) for n in range(3)] + [recv(n, 100 + 10 * n, 105 + 10 * n) for n in range(3)],
    ),
    "not empty": ("not empty", 1, [send(1, 0, 10), try_recv(20, 30), recv(1, 40, 50)]),
    "not empty, by turns": (
        "not empty",
        2,
        [send(1, 0, 10), try_recv(20, 70), send(2, 30, 40), recv(1, 50, 60), recv(2, 80, 90)],
    ),
    "not empty until one died": ("not empty", 1, [send(1, 0, 10), try_recv(20, 30), recv(None, 40, 50, DIED)]),
    "not full": ("not full", 1, [send(1, 0, 10, "would_block", "try_send")]),
    "not full any more": ("not full", 1, [send(1, 0, 10), recv(1, 20, 30), send(2, 40, 50, "would_block", "try_send")]),
    "never full": ("not full", math.inf, [send(1, 0, 10), send(2, 20, 30, "would_block", "try_send"), recv(1, 40, 50)]),
    "closed for senders": ("not closed", 1, [send(1, 0, 10, "closed"), SHUTDOWN]),
    "closed before it was drained": (
        "not closed",
        1,
        [send(1, 0, 10), SHUTDOWN, recv(None, 920, 930, "closed"), recv(1, 940, 950)],
    ),
    "sent after the shutdown": ("closed", 1, [SHUTDOWN, send(1, 920, 930), recv(1, 940, 950)]),
}


@pytest.mark.parametrize("case", GOOD)
def test_finds_nothing_wrong(case: str) -> None:
    capacity, operations = GOOD[case]
    assert check(operations, capacity) == []


@pytest.mark.parametrize("case", BAD)
def test_names_the_fault(case: str) -> None:
    fault, capacity, operations = BAD[case]
    assert names(operations, capacity) == {fault}


@pytest.mark.parametrize("case", BAD)
def test_names_the_fault_in_a_long_history(case: str) -> None:
    fault, capacity, operations = BAD[case]
    before = [send(1000 + n, n - 2000, n - 1999.8) for n in range(1000)]
    before += [recv(1000 + n, n - (1999.7 if capacity else 1999.9), n - 1999.6) for n in range(1000)]
    assert check(before, capacity) == []
    assert names(before + operations, capacity) == {fault}


def test_logs() -> None:
    log = "5 send 17\n6 ok\n7 recv\n9 ok 18\n10 try_recv\n11 would_block\n"
    operations = [send(17, 5, 6), recv(18, 7, 9), try_recv(10, 11)]
    assert parse(log) == operations
    assert parse(log, 30) == operations
    assert parse(log + "20 send 1", 30) == operations
    assert parse(log + "20 send 19\n", 30) == [*operations, send(19, 20, 30, DIED)]
    assert parse(log + "20 recv\n2", 30) == [*operations, recv(None, 20, 30, DIED)]
    for cut in ("20 send 1", "20 send 19\n"):
        with pytest.raises(AssertionError, match="a living process"):
            parse(log + cut)


def explains(operations: list[Operation], capacity: float) -> bool:
    """Whether some order of moments explains a history, after which the queue is empty: all are tried."""

    def go(rest: list[Operation], queue: tuple[int, ...]) -> bool:
        needed = [operation for operation in rest if operation.outcome != DIED]
        if not needed and not queue:
            return True
        first = min((operation.returned for operation in needed), default=math.inf)
        return any(step(operation, rest, queue) for operation in rest if operation.invoked < first)

    def step(operation: Operation, rest: list[Operation], queue: tuple[int, ...]) -> bool:
        # Whoever was dead by then has done nothing before, and does nothing later.
        rest = [
            other for other in rest if other is not operation and (other.outcome != DIED or other.returned > operation.invoked)
        ]
        if operation.outcome in REFUSALS:
            held_up = operation.outcome != "would_block" or capacity == 0
            return (held_up or (len(queue) >= capacity if operation.sends else not queue)) and go(rest, queue)
        if operation.sends:
            message = operation.message
            assert message is not None
            if capacity == 0:
                return any(
                    go([other for other in rest if other is not met], ())
                    for met in rest
                    if met.receives
                    and met.outcome not in REFUSALS
                    and met.message in (message, None)
                    and meet(operation, met, rest)
                )
            return len(queue) < capacity and go(rest, (*queue, message))
        return bool(queue) and operation.message in (queue[0], None) and go(rest, queue[1:])

    def meet(one: Operation, other: Operation, rest: list[Operation]) -> bool:
        invoked = max(one.invoked, other.invoked)
        return invoked < min(one.returned, other.returned) and all(
            third.returned > invoked for third in rest if third is not other and third.outcome != DIED
        )

    return go(operations, ())


@st.composite
def histories(draw: st.DrawFn, ends: list[str], refusals: bool) -> list[Operation]:
    """Up to four messages sent, as many received in any order, and some refusals, at any times."""
    count = draw(st.integers(1, 4))
    operations = [send(message, 0, 0, draw(st.sampled_from(ends))) for message in range(count)]
    twice = draw(st.integers(0, 9)) == 0
    operations += [recv(message, 0, 0) for message in draw(st.lists(st.integers(0, count - 1), max_size=4, unique=not twice))]
    operations += [try_recv(0, 0)] * draw(st.integers(0, 2))
    if DIED in ends:
        operations += [recv(None, 0, 0, DIED)] * draw(st.integers(0, 2))
    if refusals:
        operations += [send(99, 0, 0, "would_block", "try_send")] * draw(st.integers(0, 1))
    moments = draw(st.permutations(range(2 * len(operations))))
    return [
        operation._replace(invoked=min(pair), returned=max(pair))
        for operation, pair in zip(operations, zip(moments[::2], moments[1::2], strict=True), strict=True)
    ]


thoroughly = settings(max_examples=300, deadline=None, database=None, derandomize=True)


@thoroughly
@given(histories(["ok"], refusals=False))
def test_agrees_with_the_search(operations: list[Operation]) -> None:
    assert (check(operations, math.inf) == []) == explains(operations, math.inf)


@thoroughly
@given(histories(["ok", "ok", "ok", "timed_out", DIED], refusals=True), st.sampled_from([0, 1, 2, 3, math.inf]))
def test_accuses_nobody_wrongly(operations: list[Operation], capacity: float) -> None:
    if explains(operations, capacity):
        assert check(operations, capacity) == []
