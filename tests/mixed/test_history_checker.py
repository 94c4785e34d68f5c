"""The checkers of histories name each fault, and agree with a search through all orders of a few operations."""

import math
import random
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest
from history import DIED, GRACE, REFUSALS, Fault, Operation, Run, by_object, check, parse
from history_calls import REPLY, check_calls
from history_leases import check_queue
from history_locks import check_mutex, check_permits, check_signals
from history_names import check_name
from hypothesis import given, settings
from hypothesis import strategies as st

SHUTDOWN = Operation("shutdown", 900, 910, "ok")


def send(message: int, invoked: float, returned: float, outcome: str = "ok", name: str = "send") -> Operation:
    return Operation(name, invoked, returned, outcome, message)


def recv(message: int | None, invoked: float, returned: float, outcome: str = "ok", name: str = "recv") -> Operation:
    return Operation(name, invoked, returned, outcome, message)


def try_recv(invoked: float, returned: float) -> Operation:
    return recv(None, invoked, returned, "would_block", "try_recv")


def many(*operations: Operation) -> list[Operation]:
    """Messages that were sent, or received, in one call."""
    first = operations[0].message or 0
    return [operation._replace(many=(first, place)) for place, operation in enumerate(operations)]


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
    "many sent, received one by one": (2, [*many(send(1, 0, 30), send(2, 0, 30)), recv(1, 5, 10), recv(2, 15, 20)]),
    "sent one by one, many received": (2, [send(1, 0, 10), send(2, 20, 30), *many(recv(1, 5, 40), recv(2, 5, 40))]),
    "many more than there is room for": (
        1,
        [*many(send(1, 0, 30), send(2, 0, 30), send(3, 0, 30)), *many(recv(1, 5, 40), recv(2, 5, 40), recv(3, 5, 40))],
    ),
    "some of many": (1, [*many(send(1, 0, 10), send(2, 0, 10, "unsent")), try_recv(2, 3), recv(1, 20, 30)]),
    "many, between which one of another was sent": (
        3,
        [*many(send(1, 0, 30), send(2, 0, 30)), send(3, 10, 20), recv(1, 40, 50), recv(3, 60, 70), recv(2, 80, 90)],
    ),
    "died after it sent some of many": (
        3,
        [*many(send(1, 0, 10, DIED), send(2, 0, 10, DIED), send(3, 0, 10, DIED)), recv(1, 20, 30), recv(2, 40, 50)],
    ),
    "died and took many": (
        2,
        [send(1, 0, 10), send(2, 20, 30), *many(recv(None, 40, 50, DIED), recv(None, 40, 50, DIED)), try_recv(60, 70)],
    ),
    "many by rendezvous": (0, [*many(send(1, 0, 30), send(2, 0, 30)), recv(1, 5, 10), recv(2, 15, 20)]),
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
    "many sent, received in another order": (
        "reordered",
        2,
        [*many(send(1, 0, 10), send(2, 0, 10)), recv(2, 20, 30), recv(1, 40, 50)],
    ),
    "many of the dead, received in another order": (
        "reordered",
        2,
        [*many(send(1, 0, 10, DIED), send(2, 0, 10, DIED)), recv(2, 20, 30), recv(1, 40, 50)],
    ),
    "many received in another order than sent": (
        "reordered",
        2,
        [send(1, 0, 10), send(2, 20, 30), *many(recv(2, 40, 50), recv(1, 40, 50))],
    ),
    "many sent and received in another order": (
        "reordered",
        2,
        [*many(send(1, 0, 10), send(2, 0, 10)), *many(recv(2, 20, 30), recv(1, 20, 30))],
    ),
    "not the first of many": ("lost", 2, [*many(send(1, 0, 10, DIED), send(2, 0, 10, DIED)), recv(2, 20, 30), try_recv(40, 50)]),
    "one of many lost": ("lost", 2, [*many(send(1, 0, 10), send(2, 0, 10)), recv(1, 20, 30), try_recv(40, 50)]),
    "one of many that was not sent": (
        "not withdrawn",
        2,
        [*many(send(1, 0, 10), send(2, 0, 10, "unsent")), *many(recv(1, 20, 30), recv(2, 20, 30))],
    ),
    "more taken than one that died had asked for": (
        "lost",
        3,
        [*many(send(1, 0, 10), send(2, 0, 10), send(3, 0, 10)), *many(recv(None, 40, 50, DIED), recv(None, 40, 50, DIED))],
    ),
    "not full for many": ("not full", 1, many(send(1, 0, 10, "would_block", "try_send_many"), send(2, 0, 10, "unsent"))),
    "not empty for many": ("not empty", 1, [send(1, 0, 10), recv(None, 20, 30, "would_block", "try_recv_many"), recv(1, 40, 50)]),
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


def test_logs_of_several_objects() -> None:
    log = "5 lease q\n6 ok 17 2\n7 try_wait q,s\n8 would_block\n9 create n 3\n10 ok 3\n11 lock m\n"
    lease = Operation("lease", 5, 6, "ok", 17, 2, "q")
    wait = Operation("try_wait", 7, 8, "would_block", object="q,s")
    create = Operation("create", 9, 10, "ok", 3, 3, "n")
    lock = Operation("lock", 11, 30, DIED, object="m")
    assert parse(log, 30) == [lease, wait, create, lock]
    apart = by_object([Run(parse(log, 30), 20, 30)])
    assert apart["q"] == [Run([lease, wait], 20, 30)]
    assert apart["s"] == [Run([wait], 20, 30)]


def test_logs_of_many() -> None:
    log = "1 send_many q 5 3\n2 ok 2\n3 try_send_many q 8 2\n4 would_block\n5 recv_many q 4\n6 ok 5 6\n7 recv_many_timeout q 2\n"
    sent = [Operation("send_many", 1, 2, "ok", 5 + k, object="q", many=(5, k)) for k in range(2)]
    sent += [Operation("send_many", 1, 2, "unsent", 7, object="q", many=(5, 2))]
    refused = [Operation("try_send_many", 3, 4, "would_block", 8, object="q", many=(8, 0))]
    refused += [Operation("try_send_many", 3, 4, "unsent", 9, object="q", many=(8, 1))]
    received = [Operation("recv_many", 5, 6, "ok", 5 + k, object="q", many=(5, k)) for k in range(2)]
    died = [Operation("recv_many_timeout", 7, 30, DIED, object="q", many=(0, k)) for k in range(2)]
    assert parse(log, 30) == [*sent, *refused, *received, *died]
    assert parse("1 send_many q 5 2\n", 30) == [
        Operation("send_many", 1, 30, DIED, 5 + k, object="q", many=(5, k)) for k in range(2)
    ]
    assert [(o.deed, o.verb) for o in (sent[0], died[0])] == [("send_many", "send"), ("recv_many", "recv")]


def explains(operations: list[Operation], capacity: float) -> bool:
    """Whether some order of moments explains a history, after which the queue is empty: all are tried."""

    def go(rest: list[Operation], queue: tuple[int, ...]) -> bool:
        needed = [operation for operation in rest if operation.outcome != DIED]
        if not needed and not queue:
            return True
        first = min((operation.returned for operation in needed), default=math.inf)
        return any(step(operation, rest, queue) for operation in rest if operation.invoked < first)

    def step(operation: Operation, rest: list[Operation], queue: tuple[int, ...]) -> bool:
        if any(comes_before(other, operation) for other in rest):
            return False
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
                    and not any(comes_before(other, met) for other in rest)
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


def comes_before(one: Operation, other: Operation) -> bool:
    """Whether both are of one call, and the one before the other."""
    if not one.many or not other.many or one.sends != other.sends or one.many[0] != other.many[0]:
        return False
    return one.many[1] < other.many[1]


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
    operations = [
        operation._replace(invoked=min(pair), returned=max(pair))
        for operation, pair in zip(operations, zip(moments[::2], moments[1::2], strict=True), strict=True)
    ]
    sends = [operation for operation in operations if operation.sends and operation.outcome in ("ok", DIED)]
    recvs = [operation for operation in operations if operation.receives and operation.outcome == "ok"]
    rest = [operation for operation in operations if operation not in sends and operation not in recvs]
    return [*in_one_call(draw, sends), *in_one_call(draw, recvs), *rest]


def in_one_call(draw: st.DrawFn, operations: list[Operation]) -> list[Operation]:
    """The first so many of them as if they were so in one call."""
    count = draw(st.integers(0, len(operations)))
    if count < 2:
        return operations
    _, invoked, returned, outcome, *_ = operations[0]
    return (
        many(*(o._replace(invoked=invoked, returned=returned, outcome=outcome) for o in operations[:count])) + operations[count:]
    )


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


def lives(*operations: Operation) -> Run:
    return Run(list(operations))


def dies(killed: float, died: float, *operations: Operation) -> Run:
    return Run(list(operations), killed, died)


def do(name: str, invoked: float, returned: float, outcome: str = "ok") -> Operation:
    return Operation(name, invoked, returned, outcome)


def lease(message: int, deliveries: int, invoked: float, returned: float) -> Operation:
    return Operation("lease", invoked, returned, "ok", message, deliveries)


def finish(message: int, invoked: float, returned: float, outcome: str = "ok") -> Operation:
    return Operation("finish", invoked, returned, outcome, message)


def give_back(message: int, invoked: float, returned: float, outcome: str = "ok") -> Operation:
    return Operation("give_back", invoked, returned, outcome, message)


LEASED = lives(lease(1, 1, 20, 30), finish(1, 40, 50))
SENDER = lives(send(1, 0, 10))

GOOD_LEASES: dict[str, tuple[float, list[Run]]] = {
    "finished": (1, [SENDER, LEASED]),
    "given back and received": (1, [SENDER, lives(lease(1, 1, 20, 30), give_back(1, 40, 50), recv(1, 60, 70))]),
    "given back and leased": (
        1,
        [SENDER, lives(lease(1, 1, 20, 30), give_back(1, 40, 50)), lives(lease(1, 2, 45, 60), finish(1, 65, 70))],
    ),
    "died over it": (1, [SENDER, dies(40, 50, lease(1, 1, 20, 30)), lives(lease(1, 2, 35, 45), finish(1, 60, 70))]),
    "died in the lease": (1, [SENDER, dies(25, 35, do("lease", 20, 35, DIED)), lives(lease(1, 2, 40, 50), finish(1, 60, 70))]),
    "died before the lease": (1, [SENDER, dies(25, 35, do("lease", 20, 35, DIED)), LEASED]),
    "died in the finish": (1, [SENDER, dies(45, 50, lease(1, 1, 20, 30), finish(1, 40, 50, DIED)), lives(try_recv(60, 70))]),
    "died before the finish": (
        1,
        [SENDER, dies(45, 50, lease(1, 1, 20, 30), finish(1, 40, 50, DIED)), lives(lease(1, 2, 60, 70), finish(1, 80, 90))],
    ),
    "came back and was taken by one that died": (
        1,
        [
            SENDER,
            lives(lease(1, 1, 20, 30), give_back(1, 40, 50)),
            dies(60, 70, recv(None, 55, 70, DIED)),
            lives(try_recv(80, 90)),
        ],
    ),
    "leased by one that died, and taken by another one after a later message": (
        2,
        [
            lives(send(1, 0, 10), send(2, 11, 12)),
            dies(25, 80, do("lease", 20, 80, DIED)),
            lives(recv(2, 30, 40)),
            dies(90, 95, recv(None, 85, 95, DIED)),
            lives(try_recv(100, 110)),
        ],
    ),
    "empty while it is out": (1, [SENDER, LEASED, lives(try_recv(32, 38))]),
    "came back to the front": (
        2,
        [
            lives(send(1, 0, 10), send(2, 11, 12)),
            lives(lease(1, 1, 20, 30), give_back(1, 40, 50)),
            lives(recv(2, 32, 38), recv(1, 60, 70)),
        ],
    ),
    "a rendezvous": (0, [lives(send(1, 25, 35)), LEASED]),
    "a rendezvous with one that died": (
        0,
        [lives(send(1, 25, 35)), dies(28, 40, do("lease", 20, 40, DIED)), lives(lease(1, 2, 45, 50), finish(1, 60, 70))],
    ),
    "waited, and there was nothing": (1, [lives(do("try_wait", 0, 5, "would_block")), lives(send(1, 6, 10)), LEASED]),
    "closed when all was done": (1, [SENDER, LEASED, lives(SHUTDOWN), lives(recv(None, 905, 915, "closed"))]),
}

BAD_LEASES: dict[str, tuple[str, float, list[Run]]] = {
    "lost though given back": ("lost", 1, [SENDER, lives(lease(1, 1, 20, 30), give_back(1, 40, 50))]),
    "lost with the dead": ("lost", 1, [SENDER, dies(40, 50, lease(1, 1, 20, 30))]),
    "lost with one that died in the give_back": (
        "lost",
        1,
        [SENDER, dies(45, 50, lease(1, 1, 20, 30), give_back(1, 40, 50, DIED))],
    ),
    "lost by one that died in a lease": ("lost", 1, [SENDER, dies(25, 35, do("lease", 20, 35, DIED))]),
    "lost, and who died did so before": (
        "lost",
        1,
        [SENDER, dies(15, 18, recv(None, 12, 18, DIED)), lives(lease(1, 1, 20, 30), give_back(1, 40, 50))],
    ),
    "received after it was finished": ("duplicated", 1, [SENDER, LEASED, lives(recv(1, 60, 70))]),
    "leased after it was finished": ("duplicated", 1, [SENDER, LEASED, lives(lease(1, 2, 60, 70), finish(1, 75, 80))]),
    "received while it was out": ("leased twice", 1, [SENDER, dies(80, 90, lease(1, 1, 20, 30)), lives(recv(1, 40, 50))]),
    "leased while it was out": (
        "leased twice",
        1,
        [SENDER, lives(lease(1, 1, 20, 30), give_back(1, 80, 90)), lives(lease(1, 2, 40, 50), finish(1, 95, 99))],
    ),
    "the first time counted as the second": ("miscounted", 1, [SENDER, lives(lease(1, 2, 20, 30), finish(1, 40, 50))]),
    "the second time counted as the first": (
        "miscounted",
        1,
        [SENDER, lives(lease(1, 1, 20, 30), give_back(1, 40, 50)), lives(lease(1, 1, 55, 60), finish(1, 65, 70))],
    ),
    "counted twice for one death": (
        "miscounted",
        1,
        [SENDER, dies(25, 35, do("lease", 20, 35, DIED)), lives(lease(1, 3, 40, 50), finish(1, 60, 70))],
    ),
    "leased out of order": (
        "reordered",
        2,
        [
            lives(send(1, 0, 10), send(2, 11, 12)),
            lives(lease(2, 1, 20, 30), finish(2, 31, 32), lease(1, 1, 40, 50), finish(1, 60, 70)),
        ],
    ),
    "not empty for a lease": ("not empty", 1, [SENDER, lives(do("try_lease", 12, 15, "would_block")), LEASED]),
    "not empty for a wait": ("not empty", 1, [SENDER, lives(do("try_wait", 12, 15, "would_block")), LEASED]),
    "not empty when it had been given back": (
        "not empty",
        1,
        [SENDER, lives(lease(1, 1, 20, 30), give_back(1, 40, 50)), lives(try_recv(60, 70), recv(1, 80, 90))],
    ),
    "not empty after a death": (
        "not empty",
        0,
        [lives(send(1, 25, 35)), dies(40, 50, lease(1, 1, 20, 30)), lives(try_recv(60, 70), recv(1, 80, 90))],
    ),
    "torn": ("torn", 1, [SENDER, lives(do("lease", 20, 30, "torn"))]),
    "a rendezvous that returned early": ("no rendezvous", 0, [SENDER, LEASED]),
    "closed while another one had it": (
        "not closed",
        1,
        [SENDER, lives(SHUTDOWN), lives(lease(1, 1, 20, 30), finish(1, 990, 999)), lives(recv(None, 920, 930, "closed"))],
    ),
}


def lock(invoked: float, returned: float, outcome: str = "ok") -> Operation:
    return do("lock", invoked, returned, outcome)


def unlock(invoked: float, returned: float, outcome: str = "ok") -> Operation:
    return do("unlock", invoked, returned, outcome)


OWNER = lives(lock(0, 10), unlock(20, 30))
DEAD_OWNER = dies(15, 25, lock(0, 10))

GOOD_MUTEXES: dict[str, list[Run]] = {
    "one after the other": [OWNER, lives(lock(5, 40), unlock(50, 60)), lives(lock(21, 22), unlock(25, 26))],
    "held": [OWNER, lives(do("try_lock", 12, 15, "would_block"))],
    "held by one that dies": [dies(15, 25, lock(0, 25, DIED)), lives(do("try_lock", 12, 24, "would_block"))],
    "held up": [lives(do("try_lock", 12, 12 + GRACE, "would_block"))],
    "told of a death": [DEAD_OWNER, lives(lock(5, 20, "owner_died"), do("mend", 30, 40), lock(50, 60), unlock(70, 80))],
    "told until it is mended": [
        DEAD_OWNER,
        lives(lock(5, 20, "owner_died"), unlock(30, 40), lock(50, 60, "owner_died"), do("mend", 70, 80), lock(90, 91)),
    ],
    "told of a death that nobody saw": [
        OWNER,
        dies(35, 45, lock(25, 45, DIED)),
        lives(lock(40, 50, "owner_died"), unlock(60, 70)),
    ],
    "not told of a death without it": [OWNER, dies(35, 45, lock(25, 45, DIED)), lives(lock(40, 50), unlock(60, 70))],
    "told of a death in an unlock": [dies(25, 35, lock(0, 10), unlock(20, 35, DIED)), lives(lock(30, 40, "owner_died"))],
    "not told of a death after an unlock": [dies(25, 35, lock(0, 10), unlock(20, 35, DIED)), lives(lock(30, 40))],
}

BAD_MUTEXES: dict[str, tuple[str, list[Run]]] = {
    "two owners": ("two owners", [OWNER, lives(lock(12, 15), unlock(16, 18))]),
    "two owners until one was killed": (
        "two owners",
        [dies(50, 60, lock(0, 10)), lives(lock(5, 40, "owner_died"), unlock(70, 80))],
    ),
    "not told": ("not told", [DEAD_OWNER, lives(lock(5, 20), unlock(30, 40))]),
    "not told before it was mended": ("not told", [DEAD_OWNER, lives(lock(5, 20, "owner_died"), unlock(30, 40), lock(50, 60))]),
    "not told of a death in an unlock of what is broken": (
        "not told",
        [DEAD_OWNER, dies(35, 45, lock(5, 20, "owner_died"), unlock(30, 45, DIED)), lives(lock(50, 60))],
    ),
    "told for nothing": ("told for nothing", [OWNER, lives(lock(40, 50, "owner_died"), unlock(60, 70))]),
    "the first one told": ("told for nothing", [lives(lock(40, 50, "owner_died"))]),
    "told after it was mended": (
        "told for nothing",
        [DEAD_OWNER, lives(lock(5, 20, "owner_died"), do("mend", 30, 40)), lives(lock(50, 60, "owner_died"))],
    ),
    "told of a death before": (
        "told for nothing",
        [dies(5, 8, lock(0, 8, DIED)), lives(lock(10, 20), unlock(30, 40), lock(50, 60, "owner_died"))],
    ),
    "refused though free": ("refused", [OWNER, lives(do("try_lock", 40, 50, "would_block"))]),
    "refused though its owner is dead": ("refused", [DEAD_OWNER, lives(do("try_lock", 30, 35, "would_block"))]),
}


def acquire(invoked: float, returned: float, outcome: str = "ok") -> Operation:
    return do("acquire", invoked, returned, outcome)


def release(invoked: float, returned: float, outcome: str = "ok") -> Operation:
    return do("release", invoked, returned, outcome)


HOLDER = lives(acquire(0, 10), release(20, 30))
TRIED = lives(do("try_acquire", 12, 15, "would_block"))

GOOD_PERMITS: dict[str, tuple[int, int, list[Run]]] = {
    "one after the other": (1, 1, [HOLDER, lives(acquire(5, 25), release(40, 50))]),
    "two at once": (2, 2, [HOLDER, lives(acquire(5, 15), release(40, 50))]),
    "refused": (1, 1, [HOLDER, TRIED]),
    "of the dead": (1, 1, [dies(15, 25, acquire(0, 10)), lives(acquire(12, 20), release(30, 40))]),
    "refused until the dead was gone": (1, 1, [dies(15, 25, acquire(0, 25, DIED)), TRIED]),
}

BAD_PERMITS: dict[str, tuple[str, int, int, list[Run]]] = {
    "too many": ("too many", 1, 1, [HOLDER, lives(acquire(5, 15), release(40, 50))]),
    "too many until one was killed": ("too many", 1, 1, [dies(40, 50, acquire(0, 10)), lives(acquire(12, 20), release(30, 35))]),
    "not given back": ("leaked", 1, 0, [HOLDER]),
    "not back from the dead": ("leaked", 2, 1, [dies(15, 25, acquire(0, 10))]),
    "given back twice": ("leaked", 2, 3, [HOLDER]),
    "refused though free": ("refused", 2, 2, [HOLDER, TRIED]),
    "refused though the holder is dead": (
        "refused",
        1,
        1,
        [dies(15, 25, acquire(0, 10)), lives(do("try_acquire", 30, 35, "would_block"))],
    ),
    "not seen by a wait": ("refused", 2, 2, [HOLDER, lives(do("try_wait", 12, 15, "would_block"))]),
}

GOOD_SIGNALS: dict[str, tuple[int, int, list[Run]]] = {
    "from the beginning": (1, 0, [lives(acquire(0, 10)), lives(do("try_acquire", 20, 30, "would_block"))]),
    "given and taken": (0, 0, [lives(acquire(0, 10)), lives(release(5, 20))]),
    "taken by the dead": (1, 0, [dies(5, 9, acquire(0, 9, DIED)), lives(do("try_acquire", 20, 30, "would_block"))]),
    "not taken by the dead": (1, 1, [dies(5, 9, acquire(0, 9, DIED))]),
    "given by the dead": (0, 1, [dies(5, 9, release(0, 9, DIED))]),
    "not given by the dead": (0, 0, [dies(5, 9, release(0, 9, DIED)), lives(do("try_acquire", 20, 30, "would_block"))]),
    "refused between two": (
        0,
        0,
        [
            lives(release(0, 10), release(20, 30)),
            lives(acquire(12, 14), acquire(31, 32)),
            lives(do("try_acquire", 13, 18, "would_block")),
        ],
    ),
}

BAD_SIGNALS: dict[str, tuple[str, int, int, list[Run]]] = {
    "taken before it was given": ("from nothing", 0, 0, [lives(acquire(0, 10)), lives(release(20, 30))]),
    "taken twice": ("from nothing", 1, 0, [lives(acquire(0, 10), acquire(20, 30)), lives(release(40, 50))]),
    "lost": ("leaked", 0, 0, [lives(release(0, 10))]),
    "given twice": ("leaked", 0, 2, [lives(release(0, 10))]),
    "refused though there is one": ("refused", 1, 1, [TRIED]),
    "refused though one was given": ("refused", 0, 1, [lives(release(0, 10)), TRIED]),
    "not seen by a wait": ("refused", 0, 1, [lives(release(0, 10)), lives(do("try_wait", 12, 15, "would_block"))]),
}


def call(number: int, invoked: float, returned: float, outcome: str = "ok", to: str = "e") -> Operation:
    return Operation("call", invoked, returned, outcome, number, number + REPLY if outcome == "ok" else None, to)


def post(number: int, invoked: float, returned: float, outcome: str = "ok", to: str = "e") -> Operation:
    return Operation("post", invoked, returned, outcome, number, object=to)


def serve(number: int | None, invoked: float, returned: float, outcome: str = "ok", at: str = "e") -> Operation:
    return Operation("serve", invoked, returned, outcome, number, object=at)


def answer(name: str, number: int, invoked: float, returned: float, outcome: str = "ok", at: str = "e") -> Operation:
    return Operation(name, invoked, returned, outcome, number, object=at)


def opens(invoked: float, returned: float, name: str = "open_endpoint") -> Operation:
    return Operation(name, invoked, returned, "ok", object="e")


CALLER = lives(call(1, 10, 50))
SERVER = lives(opens(0, 5), serve(1, 20, 30), answer("reply", 1, 35, 40))
BOX = "mailbox"

GOOD_CALLS: dict[str, list[Run]] = {
    "a reply": [CALLER, SERVER],
    "a reply from one that dies": [CALLER, dies(45, 46, *SERVER.operations)],
    "no reply": [lives(call(1, 10, 50, "no_reply")), lives(opens(0, 5), serve(1, 20, 30), answer("drop", 1, 35, 40))],
    "no reply from one that closed it": [lives(call(1, 10, 50, "no_reply")), lives(opens(0, 5), opens(20, 30, "close_endpoint"))],
    "the server is gone": [lives(call(1, 10, 50, "peer_gone")), dies(35, 40, opens(0, 5), serve(1, 20, 30))],
    "the server was gone": [lives(call(1, 10, 50, "peer_gone")), dies(5, 12, opens(0, 5))],
    "nobody is there": [lives(call(1, 10, 50, "not_found"), post(2, 60, 70, "not_found")), dies(40, 45, opens(0, 5))],
    "a reply too late": [lives(call(1, 10, 32, "timed_out")), SERVER],
    "posted": [
        lives(post(1, 10, 15), post(2, 16, 18, "would_block"), post(3, 20, 30)),
        lives(opens(0, 5), serve(1, 20, 25), serve(3, 28, 40)),
    ],
    "posted to one that died": [
        lives(post(1, 10, 15)),
        dies(20, 25, opens(0, 5)),
        lives(opens(30, 35), serve(None, 40, 50, "would_block")),
    ],
    "a mailbox": [lives(call(1, 10, 50, to=BOX)), lives(serve(1, 20, 30, at=BOX), answer("reply", 1, 35, 40, at=BOX))],
    "taken by one that died, and by another": [
        lives(call(1, 10, 50, "peer_gone", to=BOX)),
        dies(25, 28, serve(None, 20, 28, DIED, at=BOX)),
        lives(serve(1, 26, 30, at=BOX), answer("reply", 1, 35, 40, at=BOX)),
    ],
    "out of order in a mailbox": [
        lives(call(1, 10, 20, "timed_out", to=BOX), call(2, 21, 22, "timed_out", to=BOX)),
        dies(25, 28, serve(None, 20, 28, DIED, at=BOX)),
        lives(serve(2, 40, 50, at=BOX), serve(1, 51, 52, at=BOX)),
    ],
}

BAD_CALLS: dict[str, tuple[str, list[Run]]] = {
    "nobody replied": ("invented", [CALLER, lives(opens(0, 5), serve(1, 20, 30))]),
    "replied before anybody did": ("invented", [lives(call(1, 10, 32)), SERVER]),
    "the reply to another": ("another's reply", [lives(call(1, 10, 50)._replace(answer=2 + REPLY)), SERVER]),
    "a torn reply": ("torn", [lives(call(1, 10, 50, "torn")), SERVER]),
    "a torn request": ("torn", [lives(call(1, 10, 50, "timed_out")), lives(opens(0, 5), serve(None, 20, 30, "torn"))]),
    "nobody asked": ("invented", [lives(opens(0, 5), serve(1, 20, 30))]),
    "received before it was sent": ("too early", [lives(post(1, 40, 50)), lives(opens(0, 5), serve(1, 20, 30))]),
    "received twice": (
        "duplicated",
        [lives(call(1, 10, 60, "timed_out")), lives(opens(0, 5), serve(1, 20, 30), serve(1, 40, 50))],
    ),
    "received by two": (
        "duplicated",
        [lives(call(1, 10, 60, "timed_out", to=BOX)), lives(serve(1, 20, 30, at=BOX)), lives(serve(1, 40, 50, at=BOX))],
    ),
    "received by another": ("astray", [lives(call(1, 10, 60, "timed_out", to="w")), lives(opens(0, 5), serve(1, 20, 30))]),
    "not sent and received": ("not withdrawn", [lives(post(1, 10, 15, "would_block")), lives(opens(0, 5), serve(1, 20, 30))]),
    "the reply lost with the server": ("reply lost", [lives(call(1, 10, 60, "peer_gone")), dies(45, 50, *SERVER.operations)]),
    "the reply lost": (
        "reply lost",
        [lives(call(1, 10, 60, "no_reply")), lives(*SERVER.operations, opens(45, 50, "close_endpoint"))],
    ),
    "the reply of a mailbox lost": (
        "reply lost",
        [lives(call(1, 10, 60, "peer_gone", to=BOX)), dies(45, 50, serve(1, 20, 30, at=BOX), answer("reply", 1, 35, 40, at=BOX))],
    ),
    "not dropped": ("not dropped", [lives(call(1, 10, 60, "no_reply")), lives(opens(0, 5), serve(1, 20, 30))]),
    "not dropped yet": (
        "not dropped",
        [lives(call(1, 10, 60, "no_reply")), lives(opens(0, 5), serve(1, 20, 30), answer("drop", 1, 70, 80))],
    ),
    "not dropped but dead": ("not dropped", [lives(call(1, 10, 60, "no_reply")), dies(35, 40, opens(0, 5), serve(1, 20, 30))]),
    "not gone": ("not gone", [lives(call(1, 10, 60, "peer_gone")), lives(opens(0, 5), serve(1, 20, 30))]),
    "gone later": ("not gone", [lives(call(1, 10, 60, "peer_gone")), dies(70, 80, opens(0, 5), serve(1, 20, 30))]),
    "not gone from a mailbox": ("not gone", [lives(call(1, 10, 60, "peer_gone", to=BOX)), lives(serve(1, 20, 30, at=BOX))]),
    "not gone for a post": ("not gone", [lives(post(1, 10, 60, "peer_gone")), lives(opens(0, 5))]),
    "not found though open": ("not found", [lives(call(1, 10, 50, "not_found")), lives(opens(0, 5))]),
    "one sender's, out of order": (
        "reordered",
        [lives(post(1, 10, 15), post(2, 16, 18)), lives(opens(0, 5), serve(2, 20, 25), serve(1, 28, 40))],
    ),
    "left out": ("lost", [lives(post(1, 10, 15), post(2, 16, 18)), lives(opens(0, 5), serve(2, 20, 25))]),
}


def name(
    verb: str, number: int | None, invoked: float, returned: float, outcome: str = "ok", found: int | None = None
) -> Operation:
    if verb in ("create", "open_or_create") and outcome == "ok" and found is None:
        found = number
    return Operation(verb, invoked, returned, outcome, number, found)


CREATED, TAKEN_AWAY = name("create", 1, 0, 10), name("unlink", None, 40, 50)

GOOD_NAMES: dict[str, list[Operation]] = {
    "created, opened, taken away": [CREATED, name("open", 1, 20, 30), TAKEN_AWAY, name("open", None, 60, 70, "not_found")],
    "two after each other": [CREATED, TAKEN_AWAY, name("create", 2, 45, 60), name("open", 1, 30, 42), name("open", 2, 55, 70)],
    "opened or created": [
        name("open_or_create", 1, 0, 10),
        name("open_or_create", 2, 5, 20, found=1),
        name("create", 3, 12, 15, "exists"),
    ],
    "died, and it is there": [name("create", 1, 0, 10, DIED), name("open", 1, 5, 20), name("unlink", None, 30, 40)],
    "died, and it is not": [name("create", 1, 0, 10, DIED), name("open", None, 20, 30, "not_found")],
    "died and took it away": [CREATED, name("unlink", None, 20, 30, DIED), name("create", 2, 32, 40), name("open", 2, 45, 50)],
    "died and did not take it away": [
        CREATED,
        name("unlink", None, 20, 30, DIED),
        name("create", 2, 32, 40, "exists"),
        name("open", 1, 45, 50),
    ],
}

BAD_NAMES: dict[str, tuple[str, list[Operation]]] = {
    "nobody created it": ("invented", [CREATED, name("open", 2, 20, 30)]),
    "opened what was refused": ("invented", [CREATED, name("create", 2, 15, 18, "exists"), name("open", 2, 20, 30)]),
    "opened before it was created": ("too early", [name("open", 1, 0, 5), name("create", 1, 10, 20)]),
    "created something else": ("another", [name("create", 1, 0, 10, found=2), name("unlink", None, 40, 50)]),
    "there, and not found": ("not found", [CREATED, name("open", None, 15, 18, "not_found"), name("open", 1, 20, 30)]),
    "there, and not taken away": ("not found", [CREATED, name("unlink", None, 15, 18, "not_found"), name("open", 1, 20, 30)]),
    "created over another": ("two at once", [CREATED, name("create", 2, 12, 15), name("open", 1, 20, 30)]),
    "overwritten": ("two at once", [CREATED, name("create", 2, 20, 30), name("open", 2, 35, 40)]),
    "two by turns": (
        "two at once",
        [CREATED, name("create", 2, 5, 20), name("open", 2, 21, 22), name("open", 1, 25, 30), name("open", 2, 35, 40)],
    ),
    "taken away, and opened": ("not gone", [CREATED, name("unlink", None, 15, 18), name("open", 1, 20, 30)]),
    "refused, and nothing is there": ("nothing there", [CREATED, TAKEN_AWAY, name("create", 2, 60, 70, "exists")]),
    "taken away twice": ("nothing there", [CREATED, TAKEN_AWAY, name("create", 2, 80, 90), name("unlink", None, 60, 70)]),
}

GOOD_ALIKE: dict[str, list[Operation]] = {
    "created and taken away": [name("create", 1, 0, 10, found=0), TAKEN_AWAY, name("create", 2, 60, 70, found=0)],
    "perhaps created": [name("open_or_create", 1, 0, 10, found=0), TAKEN_AWAY, name("open_or_create", 2, 60, 70, found=0)],
}

BAD_ALIKE: dict[str, tuple[str, list[Operation]]] = {
    "created twice": ("two at once", [name("create", 1, 0, 10, found=0), name("create", 2, 60, 70, found=0)]),
    "taken away twice": ("unlinked twice", [name("create", 1, 0, 10, found=0), TAKEN_AWAY, name("unlink", None, 60, 70)]),
}

Check = Callable[[], list[Fault]]

GOOD_CASES: dict[str, Check] = {
    **{f"leases: {case}": partial(check_queue, runs, n) for case, (n, runs) in GOOD_LEASES.items()},
    **{f"mutex: {case}": partial(check_mutex, runs) for case, runs in GOOD_MUTEXES.items()},
    **{f"permits: {case}": partial(check_permits, runs, n, left) for case, (n, left, runs) in GOOD_PERMITS.items()},
    **{f"signals: {case}": partial(check_signals, runs, n, left) for case, (n, left, runs) in GOOD_SIGNALS.items()},
    **{f"calls: {case}": partial(check_calls, runs) for case, runs in GOOD_CALLS.items()},
    **{f"names: {case}": partial(check_name, those) for case, those in GOOD_NAMES.items()},
    **{f"names alike: {case}": partial(check_name, those, False) for case, those in GOOD_ALIKE.items()},
}

BAD_CASES: dict[str, tuple[str, Check]] = {
    **{f"leases: {case}": (fault, partial(check_queue, runs, n)) for case, (fault, n, runs) in BAD_LEASES.items()},
    **{f"mutex: {case}": (fault, partial(check_mutex, runs)) for case, (fault, runs) in BAD_MUTEXES.items()},
    **{
        f"permits: {case}": (fault, partial(check_permits, runs, n, left)) for case, (fault, n, left, runs) in BAD_PERMITS.items()
    },
    **{
        f"signals: {case}": (fault, partial(check_signals, runs, n, left)) for case, (fault, n, left, runs) in BAD_SIGNALS.items()
    },
    **{f"calls: {case}": (fault, partial(check_calls, runs)) for case, (fault, runs) in BAD_CALLS.items()},
    **{f"names: {case}": (fault, partial(check_name, those)) for case, (fault, those) in BAD_NAMES.items()},
    **{f"names alike: {case}": (fault, partial(check_name, those, False)) for case, (fault, those) in BAD_ALIKE.items()},
}


@pytest.mark.parametrize("case", GOOD_CASES)
def test_finds_nothing_wrong_with_other_objects(case: str) -> None:
    assert GOOD_CASES[case]() == []


@pytest.mark.parametrize("case", BAD_CASES)
def test_names_the_fault_of_other_objects(case: str) -> None:
    fault, check_it = BAD_CASES[case]
    assert {found.name for found in check_it()} == {fault}


class Actor:
    """A process, which is idle, has begun to do something, or has done it and not returned yet."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.doing: Operation | None = None
        self.effective = False
        self.killed: int | None = None
        self.holds: list[int] = []


class Thing:
    """An object: what somebody may begin to do; what that does at one moment, unless it has to wait; what a death does."""

    def choose(self, actor: Actor, chance: random.Random) -> Operation:
        raise NotImplementedError

    def act(self, actor: Actor, operation: Operation) -> Operation | None:
        raise NotImplementedError

    def bury(self, actor: Actor) -> None:
        pass


class Simulation:
    """Processes that use a thing by turns, and are killed at any moment. Each step takes a nanosecond."""

    def __init__(self, chance: random.Random, thing: Thing) -> None:
        self.chance, self.thing, self.now = chance, thing, 0
        self.runs: list[Run] = []
        self.actors = [Actor() for _ in range(4)]
        for _ in range(chance.randrange(20, 200)):
            self.step(chance.randrange(len(self.actors)))
        for n in range(len(self.actors)):
            while self.actors[n].doing or self.actors[n].killed is not None:
                self.step(n, ends=True)

    def step(self, n: int, ends: bool = False) -> None:
        actor, chance = self.actors[n], self.chance
        self.now += 1
        if actor.killed is not None:
            # The kernel comes to it now or later; another process takes its place then.
            if chance.randrange(2):
                self.thing.bury(actor)
                self.now += 1
                if actor.doing:
                    actor.operations.append(actor.doing._replace(returned=self.now, outcome=DIED))
                self.runs.append(Run(actor.operations, actor.killed, self.now))
                self.actors[n] = Actor()
        elif chance.randrange(30) == 0 and not ends:
            if actor.doing and not actor.effective and chance.randrange(2):
                # What came of it, nobody has heard.
                self.thing.act(actor, actor.doing)
            actor.killed = self.now
        elif actor.doing is None:
            actor.doing = self.thing.choose(actor, chance)._replace(invoked=self.now)
        elif not actor.effective:
            done = self.thing.act(actor, actor.doing)
            if done is None and (ends or chance.randrange(4) == 0):
                done = actor.doing._replace(name=f"try_{actor.doing.name}", outcome="would_block")
            actor.doing, actor.effective = done or actor.doing, done is not None
        else:
            actor.operations.append(actor.doing._replace(returned=self.now))
            actor.doing, actor.effective = None, False

    def end(self) -> list[Run]:
        """Lets those who are left die, and says what all have done."""
        for actor in self.actors:
            self.thing.bury(actor)
            self.runs.append(Run(actor.operations, self.now, self.now + 1))
        self.actors, self.now = [], self.now + 2
        return self.runs


class Mutex(Thing):
    def __init__(self) -> None:
        self.owner: Actor | None = None
        self.broken = False

    def choose(self, actor: Actor, chance: random.Random) -> Operation:
        return do(chance.choice(("unlock", "mend")) if self.owner is actor else "lock", 0, 0)

    def act(self, actor: Actor, operation: Operation) -> Operation | None:
        if operation.verb == "lock":
            if self.owner is not None:
                return None
            self.owner = actor
            return operation._replace(outcome="owner_died" if self.broken else "ok")
        self.broken &= operation.verb == "unlock"
        self.owner = None
        return operation

    def bury(self, actor: Actor) -> None:
        if self.owner is actor:
            self.owner, self.broken = None, True

    def judge(self, simulation: Simulation) -> list[Fault]:
        return check_mutex(simulation.end())


class ForgetfulMutex(Mutex):
    def bury(self, actor: Actor) -> None:
        if self.owner is actor:
            self.owner = None


class Permits(Thing):
    TOTAL = 2

    def __init__(self) -> None:
        self.owners: list[Actor] = []

    def choose(self, actor: Actor, _: random.Random) -> Operation:
        return do("release" if actor in self.owners else "acquire", 0, 0)

    def act(self, actor: Actor, operation: Operation) -> Operation | None:
        if operation.verb == "release":
            self.owners.remove(actor)
        elif len(self.owners) >= self.TOTAL:
            return None
        else:
            self.owners.append(actor)
        return operation

    def bury(self, actor: Actor) -> None:
        self.owners = [owner for owner in self.owners if owner is not actor]

    def judge(self, simulation: Simulation) -> list[Fault]:
        return check_permits(simulation.end(), Permits.TOTAL, Permits.TOTAL - len(self.owners))


class LeakyPermits(Permits):
    def bury(self, actor: Actor) -> None:
        pass


class GenerousPermits(Permits):
    TOTAL = 3


class Leases(Thing):
    def __init__(self, capacity: float) -> None:
        self.capacity, self.sent = capacity, 0
        self.fresh: list[int] = []
        self.back: list[int] = []
        self.deliveries: Counter[int] = Counter()

    def choose(self, actor: Actor, chance: random.Random) -> Operation:
        if actor.holds:
            return Operation(chance.choice(("finish", "give_back")), 0, 0, "ok", actor.holds[0])
        verb = chance.choice(("send", "recv", "lease"))
        self.sent += verb == "send"
        return Operation(verb, 0, 0, "ok", self.sent if verb == "send" else None)

    def act(self, actor: Actor, operation: Operation) -> Operation | None:
        if operation.verb in ("finish", "give_back"):
            message = actor.holds.pop()
            if operation.verb == "give_back":
                self.back.append(message)
        elif operation.sends:
            assert operation.message is not None
            if len(self.fresh) >= self.capacity:
                return None
            self.fresh.append(operation.message)
        else:
            if not self.back and not self.fresh:
                return None
            message = self.back.pop() if self.back else self.fresh.pop(0)
            if operation.receives:
                return operation._replace(message=message)
            actor.holds.append(message)
            self.deliveries[message] += 1
            return operation._replace(message=message, answer=self.deliveries[message])
        return operation

    def bury(self, actor: Actor) -> None:
        self.back += actor.holds
        if actor.doing and actor.doing.verb in ("recv", "lease"):
            actor.doing = actor.doing._replace(message=None, answer=None)

    def judge(self, simulation: Simulation) -> list[Fault]:
        runs = simulation.end()
        left = [*self.back, *self.fresh]
        drain = [recv(message, simulation.now + 2 * n, simulation.now + 2 * n + 1) for n, message in enumerate(left)]
        return check_queue([*runs, lives(*drain)], self.capacity)


class LosingLeases(Leases):
    def bury(self, actor: Actor) -> None:
        actor.holds.clear()
        super().bury(actor)


class DoublingLeases(Leases):
    def act(self, actor: Actor, operation: Operation) -> Operation | None:
        done = super().act(actor, operation)
        if done and done.verb == "lease" and done.message is not None and done.answer == 2:
            self.back.append(done.message)
        return done


class UncountedLeases(Leases):
    def act(self, actor: Actor, operation: Operation) -> Operation | None:
        done = super().act(actor, operation)
        return done._replace(answer=1) if done and done.verb == "lease" else done


class Names(Thing):
    def __init__(self) -> None:
        self.there: int | None = None
        self.made = 0

    def choose(self, _: Actor, chance: random.Random) -> Operation:
        verb = chance.choice(("create", "open", "open_or_create", "unlink"))
        self.made += "create" in verb
        return Operation(verb, 0, 0, "ok", self.made if "create" in verb else None)

    def act(self, _: Actor, operation: Operation) -> Operation | None:
        if "create" in operation.verb:
            if self.there is None:
                self.there = operation.message
            elif operation.verb == "create":
                return operation._replace(outcome="exists")
            return operation._replace(answer=self.there)
        if self.there is None:
            return operation._replace(outcome="not_found")
        found, self.there = self.there, None if operation.verb == "unlink" else self.there
        return operation._replace(message=found if operation.verb == "open" else None)

    def bury(self, actor: Actor) -> None:
        if actor.doing:
            created = actor.doing.message if "create" in actor.doing.verb else None
            actor.doing = actor.doing._replace(message=created, answer=None)

    def judge(self, simulation: Simulation) -> list[Fault]:
        return check_name(o for run in simulation.end() for o in run.operations)


class StickyNames(Names):
    def act(self, actor: Actor, operation: Operation) -> Operation | None:
        there, done = self.there, super().act(actor, operation)
        self.there = there if operation.verb == "unlink" else self.there
        return done


class OverwritingNames(Names):
    def act(self, actor: Actor, operation: Operation) -> Operation | None:
        if operation.verb == "create":
            self.there = None
        return super().act(actor, operation)


def simulate(thing: Mutex | Permits | Leases | Names, seed: int) -> list[Fault]:
    return thing.judge(Simulation(random.Random(seed), thing))


@thoroughly
@given(st.integers(0, 1 << 40), st.sampled_from([1, 2, math.inf]))
def test_accuses_no_simulation(seed: int, capacity: float) -> None:
    for thing in (Mutex(), Permits(), Leases(capacity), Names()):
        assert simulate(thing, seed) == []


BROKEN = [
    ForgetfulMutex,
    LeakyPermits,
    GenerousPermits,
    LosingLeases,
    DoublingLeases,
    UncountedLeases,
    StickyNames,
    OverwritingNames,
]


@pytest.mark.parametrize("broken", BROKEN)
def test_accuses_what_is_broken(broken: type[Mutex | Permits | Leases | Names]) -> None:
    things = [broken(2) if issubclass(broken, Leases) else broken() for _ in range(100)]
    found = sum(simulate(thing, seed) != [] for seed, thing in enumerate(things))
    # Not each of so short histories comes upon it.
    print(f"{found} of {len(things)}")
    assert found >= 5
