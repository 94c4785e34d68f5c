"""What several processes did on one queue, and whether a queue that keeps its promises can have answered so.

A *history* is a list of operations, each with the moments of its invocation and its return. An operation takes effect at one
moment between the two; that of a process that was killed in it did so before its death, or never. `check` looks for what no such
moments explain. For histories of completed operations on a queue without a limit these are all the faults that there can be
(Henzinger, Sezgin, Vafeiadis: Aspect-oriented linearizability proofs, 2013); where a limit or a death leaves more than one
explanation, `check` may overlook one, and never names one that is none.

The order of one sender's messages, and of what one receiver gets, needs no check of its own: the operations of one process follow
each other. Many messages in one call are as many operations, which took effect one after the other between the same two moments.
"""

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import accumulate, combinations
from typing import NamedTuple

GRACE = 10_000_000
"""For so long, in nanoseconds, a call that may not wait still waits for a process in the middle of a commit. One that gives up
after it proves nothing: that process may have been stopped."""

REFUSALS = ("would_block", "timed_out", "closed", "interrupted", "not_found", "exists", "unsent")
"""How an operation ends that did nothing. Others: ok, owner_died of a lock, peer_gone and no_reply of a call, torn, and died for
the last one of a process that was killed in it. Unsent: of many messages in one call, those that it left."""

DIED = "died"

FORMS = ("_many", "_loan", "_view")
"""How messages are sent and received that are not sent and received one by one, and by copying."""


@cache
def _deed(name: str) -> str:
    return name.removeprefix("try_").removesuffix("_timeout")


@cache
def _verb(name: str) -> str:
    deed = _deed(name)
    return next((deed.removesuffix(form) for form in FORMS if deed.endswith(form)), deed)


class Operation(NamedTuple):
    """What one process did, or began to do, once. Times are in nanoseconds."""

    name: str
    invoked: float
    returned: float
    outcome: str
    message: int | None = None
    """What was sent or received; of an object with a name, which one was to be created, or was opened."""
    answer: int | None = None
    """Of a lease: how often the message was handed out. Of a call: the reply. Of an object to be created: which one was found."""
    object: str = ""
    """What it was done to: one object, or those that were waited for with commas between them."""
    many: tuple[int, int] | None = None
    """Of one of many messages in a call: the number of the first one of them, and how many came before this one."""

    def __str__(self) -> str:
        message = "" if self.message is None else f" of {self.message}"
        answer = "" if self.answer is None else f" {self.answer}"
        return f"{self.name} {self.object}{message} from {self.invoked} to {self.returned}, {self.outcome}{answer}"

    @property
    def deed(self) -> str:
        """The name without the way in which it waits."""
        return _deed(self.name)

    @property
    def verb(self) -> str:
        """The name without that, and without the form that the message had."""
        return _verb(self.name)

    @property
    def sends(self) -> bool:
        return self.verb == "send"

    @property
    def receives(self) -> bool:
        return self.verb == "recv"

    @property
    def proves_a_lack(self) -> bool:
        """Whether it was refused at once, and not for want of a lock."""
        return self.outcome == "would_block" and self.returned - self.invoked < GRACE


class Run(NamedTuple):
    """What one process did, from its begin to its end."""

    operations: list[Operation]
    killed: float = math.inf
    """Until then it lived, at least."""
    died: float = math.inf
    """From then on it was dead and buried, if it was killed."""


def by_object(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """What the same processes did, apart for each object."""
    apart: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        operations: dict[str, list[Operation]] = defaultdict(list)
        for operation in run.operations:
            for name in operation.object.split(","):
                operations[name].append(operation)
        for name, those in operations.items():
            apart[name].append(run._replace(operations=those))
    return apart


class Fault(NamedTuple):
    """What a queue does not do."""

    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.name}: {self.text}"


class Stay(NamedTuple):
    """A message in the queue: the earliest and the latest moment at which it came, and at which it went."""

    message: int
    came: tuple[float, float]
    went: tuple[float, float]

    def __str__(self) -> str:
        return f"{self.message}, which came from {self.came[0]} to {self.came[1]} and went from {self.went[0]} to {self.went[1]}"


Spans = list[tuple[float, float]]


def parse(log: str, died: float | None = None) -> list[Operation]:
    """The operations of one process. Its log has two lines for each: TIME NAME [OBJECT] [NUMBER], TIME OUTCOME [NUMBER [NUMBER]].

    Of many messages these are TIME send_many OBJECT FIRST COUNT, TIME OUTCOME [SENT] and TIME recv_many OBJECT MOST, TIME OUTCOME
    [NUMBER ...].

    `died`: when at the latest it was dead, if it was killed. Then the last line may be cut short, and an outcome be missing.
    """
    *lines, rest = log.split("\n")
    assert not rest or died is not None, f"the log of a living process ends with {rest!r}"
    operations = []
    for invocation, response in zip(lines[::2], lines[1::2], strict=False):
        returned, outcome, *received = response.split()
        operations += _operations(invocation, int(returned), outcome, received)
    if len(lines) % 2:
        assert died is not None, f"a living process did not come back from {lines[-1]!r}"
        operations += _operations(lines[-1], died, DIED, [])
    return operations


def _operations(invocation: str, returned: float, outcome: str, received: list[str]) -> list[Operation]:
    invoked, name, *sent = invocation.split()
    object = sent.pop(0) if sent and not sent[0].isdigit() else ""
    numbers = [*map(int, sent)], [*map(int, received)]
    operation = Operation(name, int(invoked), returned, outcome, object=object)
    if _deed(name) == "send_many":
        return _many_sent(operation, *numbers)
    if _deed(name) == "recv_many":
        return _many_received(operation, *numbers)
    message, answer, *_ = [*numbers[0], *numbers[1], None, None]
    return [operation._replace(message=message, answer=answer)]


def _many_sent(operation: Operation, invocation: list[int], response: list[int]) -> list[Operation]:
    first, count = invocation
    sent = response[0] if response else 0
    outcomes = sent * ["ok"] + (count - sent) * ["unsent"]
    if operation.outcome == DIED:
        outcomes = count * [DIED]
    elif operation.outcome != "ok":
        outcomes[0] = operation.outcome
    return [
        operation._replace(outcome=outcome, message=first + place, many=(first, place)) for place, outcome in enumerate(outcomes)
    ]


def _many_received(operation: Operation, invocation: list[int], response: list[int]) -> list[Operation]:
    if operation.outcome == DIED:
        # So many it may have taken with it.
        return [operation._replace(many=(0, place)) for place in range(invocation[0])]
    if operation.outcome != "ok":
        return [operation]
    return [operation._replace(message=message, many=(response[0], place)) for place, message in enumerate(response)]


def check(
    operations: Iterable[Operation],
    capacity: float,
    began: Mapping[int, float] | None = None,
    returned: Mapping[int, float] | None = None,
    back: Sequence[tuple[float, float]] = (),
    unseen: Sequence[Operation] = (),
) -> list[Fault]:
    """What is wrong with a history, at the end of which the queue was found empty.

    `capacity`: 0 for a rendezvous, `math.inf` for no limit. The rest comes from leases (`history_leases`). `began`: messages that
    may have gone before the operation that is known to have received them, and since when. `returned`: messages that came back to
    the queue and were not received again, and the earliest moment of that. `back`: when one that had come back was in the queue.
    `unseen`: leases that their processes died in, which may have had a message that came back.
    """
    operations = _first_so_many(list(operations))
    sends = {operation.message: operation for operation in operations if operation.sends and operation.message is not None}
    recvs = [operation for operation in operations if operation.receives]
    shutdowns = [operation for operation in operations if operation.name == "shutdown"]
    faults: list[Fault] = []

    stays = _stays(sends, recvs, capacity, began or {}, faults)
    _check_order(stays, faults)
    _check_order_of_many(stays, sends, recvs, began or {}, faults)
    accepted = [send for send in sends.values() if send.outcome == "ok"]
    received = {recv.message for recv in recvs}
    missing = [send for send in accepted if send.message not in received]
    gone_again = [(sends[message], moment) for message, moment in (returned or {}).items() if message in sends]
    takers = [recv for recv in recvs if recv.outcome in (DIED, "torn")]
    stays += _taken_unseen(missing, gone_again, takers, unseen, stays, capacity, faults)

    certain = [(stay.came[1], stay.went[0]) for stay in stays if stay.came[1] < stay.went[0]]
    filled = spans([*(certain if capacity else []), *back], 1)
    if capacity == 0:
        # When somebody waits there, and can be met, nobody else can tell: any refusal may be right.
        for stay in stays:
            if stay.came[1] < stay.went[0]:
                faults.append(Fault("no rendezvous", f"its send returned before anybody received: {stay}"))
        _check_refusals(operations, filled, [(-math.inf, math.inf)], faults)
    else:
        for since, until in spans(certain, capacity + 1):
            faults.append(Fault("over capacity", f"more than {capacity} messages from {since} to {until}"))
        # One that was being sent when its sender died, and was not received, may have been taken by a receiver that died.
        last = max((recv.returned for recv in takers), default=-math.inf)
        unknown = [send for send in sends.values() if send.outcome == DIED and send.message not in received]
        possible = [(stay.came[0], stay.went[1]) for stay in stays]
        possible += [(send.invoked, last) for send in unknown if send.invoked < last]
        _check_refusals(operations, filled, spans([(since, until + 1) for since, until in possible], capacity), faults)
    _check_shutdown(operations, shutdowns, filled, faults)
    return faults


def _stays(
    sends: dict[int, Operation], recvs: list[Operation], capacity: float, began: Mapping[int, float], faults: list[Fault]
) -> list[Stay]:
    """The messages that were received."""
    stays: dict[int, Stay] = {}
    for recv in recvs:
        if recv.outcome == "torn":
            faults.append(Fault("torn", f"what was received is no message that was sent: {recv}"))
        if recv.outcome != "ok" or recv.message is None:
            continue
        send = sends.get(recv.message)
        if send is None:
            faults.append(Fault("invented", f"nobody sent it: {recv}"))
        elif recv.message in stays:
            faults.append(Fault("duplicated", f"it was received before: {recv}; {stays[recv.message]}"))
        elif send.outcome in REFUSALS:
            faults.append(Fault("not withdrawn", f"its send did nothing: {recv}; {send}"))
        elif recv.returned < send.invoked:
            faults.append(Fault("too early", f"it was received before it was sent: {recv}; {send}"))
        else:
            # With whom somebody met who died in it, nobody can tell.
            came = math.inf if capacity == 0 and send.outcome == DIED else send.returned
            went = min(recv.invoked, max(send.invoked, began.get(recv.message, math.inf)))
            stays[recv.message] = Stay(recv.message, (send.invoked, came), (went, recv.returned))
    return list(stays.values())


def _check_order(stays: list[Stay], faults: list[Fault]) -> None:
    """First in, first out: of two messages of which one was sent before the other, the other is not received before the one."""
    earlier = sorted(stays, key=lambda stay: stay.came[1])
    came = [stay.came[1] for stay in earlier]
    # Of the first so many, that which stayed the longest.
    longest = list(accumulate(earlier, _last_to_go))
    for stay in stays:
        before = bisect_left(came, stay.came[0])
        if before and longest[before - 1].went[0] > stay.went[1]:
            faults.append(
                Fault("reordered", f"the first was sent before the second, and went after it: {longest[before - 1]}; {stay}")
            )


def _first_so_many(operations: list[Operation]) -> list[Operation]:
    """As `operations`, and of many messages in one call: when one of them was received all before it were accepted,
    also if their sender died."""
    received: dict[int, float] = {}
    for operation in operations:
        if operation.receives and operation.outcome == "ok" and operation.message is not None:
            received.setdefault(operation.message, operation.returned)
    until: dict[int, float] = {}
    known: list[Operation] = []
    for operation in sorted(operations, key=lambda operation: operation.many[1] if operation.many else 0, reverse=True):
        if operation.sends and operation.many and operation.message is not None:
            batch, message = operation.many[0], operation.message
            if batch in until and operation.outcome in ("ok", DIED):
                operation = operation._replace(outcome="ok", returned=min(operation.returned, until[batch]))
            if message in received:
                until[batch] = min(received[message], until.get(batch, math.inf))
        known.append(operation)
    return known


def _check_order_of_many(
    stays: list[Stay], sends: dict[int, Operation], recvs: list[Operation], began: Mapping[int, float], faults: list[Fault]
) -> None:
    """Of many messages that were sent in one call each went after the one before it; of many that were received each came so."""
    stay_of = {stay.message: stay for stay in stays}
    sent, received = _batches(sends.values(), stay_of), _batches(recvs, stay_of)
    for batch in sent:
        for one, other in _pairs(batch, lambda stay: stay.went[0]):
            if other.went[1] < one.went[0]:
                faults.append(Fault("reordered", f"the first was sent before the second, and went after it: {one}; {other}"))
    place = {stay.message: (index, place) for index, batch in enumerate(sent) for place, stay in enumerate(batch)}
    for batch in received:
        # One that had been handed out before, and come back, is ahead of others.
        batch = [stay for stay in batch if stay.message not in began]
        for one, other in _pairs(batch, lambda stay: stay.came[0]):
            if other.came[1] < one.came[0]:
                faults.append(Fault("reordered", f"the first went before the second, and came after it: {one}; {other}"))
        for one, other in combinations(batch, 2):
            (of, first), (of_other, second) = place.get(one.message, (-1, 0)), place.get(other.message, (-2, 0))
            if of == of_other and first > second:
                faults.append(Fault("reordered", f"both were sent, and received, in one call: {one}; {other}"))


def _batches(operations: Iterable[Operation], stay_of: Mapping[int, Stay]) -> list[list[Stay]]:
    """The messages that were received of each call with many, in their order."""
    batches: dict[int, list[tuple[int, Stay]]] = defaultdict(list)
    for operation in operations:
        if operation.many and operation.message is not None and operation.message in stay_of:
            batches[operation.many[0]].append((operation.many[1], stay_of[operation.message]))
    return [[stay for _, stay in sorted(batch)] for batch in batches.values()]


def _pairs(batch: list[Stay], key: Callable[[Stay], float]) -> Iterable[tuple[Stay, Stay]]:
    """Each message with that before it for which `key` is the greatest."""

    def greater(one: Stay, other: Stay) -> Stay:
        return one if key(one) > key(other) else other

    return zip(accumulate(batch, greater), batch[1:], strict=False)


def _last_to_go(one: Stay, other: Stay) -> Stay:
    return one if one.went[0] > other.went[0] else other


def _taken_unseen(
    missing: list[Operation],
    gone_again: list[tuple[Operation, float]],
    takers: list[Operation],
    unseen: Sequence[Operation],
    stays: list[Stay],
    capacity: float,
    faults: list[Fault],
) -> list[Stay]:
    """The missing messages that receivers who died can have taken with them: one each at most, and in their order, but for those
    that had come back."""
    by_end, by_begin = sorted(stays, key=lambda stay: stay.came[1]), sorted(stays, key=lambda stay: stay.came[0], reverse=True)
    ends, begins = [stay.came[1] for stay in by_end], [-stay.came[0] for stay in by_begin]
    first = list(accumulate((stay.went[0] for stay in by_end), max, initial=-math.inf))
    last = list(accumulate((stay.went[1] for stay in by_begin), min, initial=math.inf))
    windows, first_takers = [], []
    for send in missing:
        # After those that were sent before it, and before those that were sent after it.
        low = max(send.invoked, first[bisect_left(ends, send.invoked)])
        high = min(last[bisect_left(begins, -send.returned)], send.returned if capacity == 0 else math.inf)
        # One that was leased in its turn, and came back, goes for good at any time.
        lessees = [lease for lease in unseen if max(low, lease.invoked) <= min(high, lease.returned)]
        windows.append((low, math.inf if lessees else high))
        first_takers.append(lessees)
    windows += [(low, math.inf) for _, low in gone_again]

    able = [[taker for taker in takers if max(low, taker.invoked) <= min(high, taker.returned)] for low, high in windows]
    explained = _match(able)
    taken = []
    for i, send in enumerate([*missing, *(send for send, _ in gone_again)]):
        if i not in explained or send.message is None:
            what = "it was accepted and never received" if i < len(missing) else "it came back and was never received again"
            who = "fewer receivers died than messages are missing" if able[i] else "no receiver died that can have taken it"
            faults.append(Fault("lost", f"{what}, and {who}: {send}"))
            continue
        if i >= len(missing):
            continue
        low, high = windows[i]
        went = max(low, min(o.invoked for o in able[i] + first_takers[i])), min(high, max(recv.returned for recv in able[i]))
        taken.append(Stay(send.message, (send.invoked, send.returned), went))
    return taken


def _match(able: list[list[Operation]]) -> set[int]:
    """Gives as many as possible one of the operations that are able, each another; says who got one."""
    owner: dict[Operation, int] = {}

    def find(i: int, tried: set[Operation]) -> bool:
        for taker in able[i]:
            if taker not in tried:
                tried.add(taker)
                if taker not in owner or find(owner[taker], tried):
                    owner[taker] = i
                    return True
        return False

    for i in range(len(able)):
        find(i, set())
    return set(owner.values())


def spans(intervals: Iterable[tuple[float, float]], least: float) -> Spans:
    """When at least so many of the intervals overlap."""
    edges = sorted(edge for since, until in intervals for edge in ((since, 1), (until, -1)))
    spans, count, start = [], 0, 0.0
    for at, step in edges:
        count += step
        if step == 1 and count == least:
            start = at
        elif step == -1 and count == least - 1:
            spans.append((start, at))
    return spans


def within(operation: Operation, spans: Spans) -> bool:
    """Whether the whole of an operation lies in one of the spans."""
    i = bisect_right(spans, (operation.invoked, math.inf)) - 1
    return i >= 0 and operation.returned < spans[i][1]


def touches(operation: Operation, spans: Spans) -> bool:
    """Whether some moment of an operation lies in one of the spans."""
    i = bisect_right(spans, (operation.returned, math.inf)) - 1
    return i >= 0 and operation.invoked <= spans[i][1]


def _check_refusals(operations: Sequence[Operation], filled: Spans, full: Spans, faults: list[Fault]) -> None:
    """`filled`: when a message was in the queue for certain; `full`: when there was possibly no room."""
    for operation in operations:
        if not operation.proves_a_lack:
            continue
        if operation.receives and within(operation, filled):
            faults.append(Fault("not empty", f"all the while a message was in the queue: {operation}"))
        if operation.sends and not touches(operation, full):
            faults.append(Fault("not full", f"all the while there was room in the queue: {operation}"))


def _check_shutdown(operations: Sequence[Operation], shutdowns: Sequence[Operation], filled: Spans, faults: list[Fault]) -> None:
    begun = min((shutdown.invoked for shutdown in shutdowns), default=math.inf)
    done = min((shutdown.returned for shutdown in shutdowns), default=math.inf)
    for operation in operations:
        if operation.outcome == "closed" and operation.returned < begun:
            faults.append(Fault("not closed", f"nobody had shut the queue down: {operation}"))
        if operation.outcome == "closed" and operation.receives and within(operation, filled):
            faults.append(Fault("not closed", f"all the while a message was in the queue: {operation}"))
        if operation.outcome == "ok" and operation.sends and operation.invoked > done:
            faults.append(Fault("closed", f"the queue had been shut down: {operation}"))
