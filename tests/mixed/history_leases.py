"""Histories of a queue whose messages are taken for good or on lease: verbs lease, finish and give_back beside those of
`history`.

What happens to a message until it is first handed out is the queue's business, and checked as such (`history.check`). From then
on it is out with one process at a time, and comes back when that one gives it back or dies, until it is received for good or
finished.
"""

from collections.abc import Iterable, Sequence
from itertools import chain, pairwise
from typing import NamedTuple

from history import DIED, Fault, Operation, Run, check


class Delivery(NamedTuple):
    """A message that was handed out, on lease or for good, to somebody who lived long enough to say so."""

    taken: Operation
    end: Operation | None
    """How the lease ended, if it was not by a death, or came to one."""
    killed: float
    died: float

    @property
    def number(self) -> int | None:
        """How often it was handed out on lease; None for one that was received."""
        return self.taken.answer if self.taken.verb == "lease" else None

    @property
    def is_the_last(self) -> bool:
        return self.number is None or (self.end is not None and self.end.verb == "finish" and self.end.outcome == "ok")

    @property
    def may_be_the_last(self) -> bool:
        return self.is_the_last or (self.end is not None and self.end.verb == "finish")

    @property
    def over(self) -> tuple[float, float]:
        """The earliest and the latest moment at which it was over."""
        if self.number is None:
            return self.taken.invoked, self.taken.returned
        if self.end is None:
            return self.killed, self.died
        return self.end.invoked, self.end.returned

    def __str__(self) -> str:
        return f"{self.taken}, ended by {self.end or f'a death from {self.killed} to {self.died}'}"


def check_queue(runs: Iterable[Run], capacity: float) -> list[Fault]:
    """What is wrong with the history of a queue, which was found empty at its end."""
    runs = list(runs)
    faults: list[Fault] = []
    dead = [o for run in runs for o in run.operations if o.verb == "lease" and o.outcome == DIED]
    sent = {o.message: o for run in runs for o in run.operations if o.sends and o.message is not None}
    deliveries: dict[int, list[Delivery]] = {}
    for run in runs:
        for delivery in _deliveries(run):
            if delivery.taken.message is not None:
                deliveries.setdefault(delivery.taken.message, []).append(delivery)

    began: dict[int, float] = {}
    returned: dict[int, float] = {}
    back: list[tuple[float, float]] = []
    for message, those in deliveries.items():
        those.sort(key=lambda delivery: delivery.taken.returned)
        send = sent.get(message)
        first, last = those[0], those[-1]
        since = send.invoked if send else first.taken.invoked
        unseen = _unseen(dead, since, first)
        if first.number != 1 and unseen:
            began[message] = min(o.invoked for o in unseen)
        _check_count(0, first, unseen, faults)
        for one, other in pairwise(those):
            _check_pair(one, other, dead, faults)
            if not one.may_be_the_last:
                # One that dies meanwhile may have had it in between.
                unseen = _unseen(dead, one.over[0], other)
                until = min([other.taken.invoked, *(o.invoked for o in unseen)])
                back.append((one.over[1], until))
        if not last.may_be_the_last:
            returned[message] = last.over[0]

    _check_closed(runs, faults)
    firsts = {id(those[0].taken) for those in deliveries.values()}
    kept = []
    for operation in chain.from_iterable(run.operations for run in runs):
        if operation.verb in ("send", "shutdown") or id(operation) in firsts:
            kept.append(operation if operation.sends else _as_received(operation))
        elif operation.message is not None:
            continue
        # A lease that its process died in takes nothing with it.
        elif operation.receives or (operation.verb in ("lease", "wait") and operation.outcome != DIED):
            kept.append(_as_received(operation))
    return faults + check(kept, capacity, began, returned, [span for span in back if span[0] < span[1]], dead)


def _deliveries(run: Run) -> list[Delivery]:
    found: list[Delivery] = []
    for operation in run.operations:
        if operation.verb in ("recv", "lease") and operation.outcome == "ok":
            found.append(Delivery(operation, None, run.killed, run.died))
        elif operation.verb in ("finish", "give_back"):
            assert found, f"what is not on lease is ended: {operation}"
            found[-1] = found[-1]._replace(end=operation)
    return found


def _as_received(operation: Operation) -> Operation:
    """What an operation says about the queue as it would if it were for good."""
    return operation._replace(name="recv") if operation.verb in ("lease", "wait") else operation


def _unseen(dead: Sequence[Operation], since: float, delivery: Delivery) -> list[Operation]:
    """The leases of processes that died before they could tell, and that may have come since then, and before a delivery."""
    return [o for o in dead if o.returned >= since and o.invoked <= delivery.taken.returned]


def _check_count(before: int, delivery: Delivery, unseen: Sequence[Operation], faults: list[Fault]) -> None:
    if delivery.number is not None and not 1 <= delivery.number - before <= 1 + len(unseen):
        faults.append(Fault("miscounted", f"handed out {before} times before, and to {len(unseen)} who died perhaps: {delivery}"))


def _check_pair(one: Delivery, other: Delivery, dead: Sequence[Operation], faults: list[Fault]) -> None:
    """Two deliveries of one message, of which one was known to be there before the other."""
    if one.is_the_last:
        faults.append(Fault("duplicated", f"it had been received for good: {other}; {one}"))
    elif other.taken.returned < one.over[0]:
        faults.append(Fault("leased twice", f"it was out at the same time: {one}; {other}"))
    else:
        _check_count(one.number or 0, other, _unseen(dead, one.over[0], other), faults)


def _check_closed(runs: Sequence[Run], faults: list[Fault]) -> None:
    """Nobody is told of the end while another process has a message that may come back."""
    held = [(run, delivery) for run in runs for delivery in _deliveries(run) if delivery.number is not None]
    held.sort(key=lambda entry: entry[1].over[0])
    for run in runs:
        for operation in run.operations:
            if operation.outcome != "closed" or operation.verb not in ("recv", "lease"):
                continue
            for other, delivery in reversed(held):
                if delivery.over[0] <= operation.returned:
                    break
                if other is not run and delivery.taken.returned < operation.invoked:
                    faults.append(Fault("not closed", f"another process had a message on lease: {operation}; {delivery}"))
