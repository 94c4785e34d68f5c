"""Histories of a mutex (verbs lock; unlock, and mend, which marks what it guards as consistent first) and of semaphores (acquire,
release)."""

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from history import DIED, Fault, Operation, Run, Spans, spans, touches, within

TAKEN = ("ok", "owner_died")


class Hold(NamedTuple):
    """What somebody has, who lived long enough to say so: a mutex, or a permit."""

    taken: Operation
    end: Operation | None
    """How it was given back, if that was not by a death, or came to one."""
    killed: float
    died: float

    @property
    def over(self) -> tuple[float, float]:
        """The earliest and the latest moment at which it was over."""
        return (self.killed, self.died) if self.end is None else (self.end.invoked, self.end.returned)

    @property
    def certain(self) -> tuple[float, float]:
        return self.taken.returned, self.over[0]

    @property
    def possible(self) -> tuple[float, float]:
        return self.taken.invoked, self.over[1]

    def __str__(self) -> str:
        return f"{self.taken}, ended by {self.end or f'a death from {self.killed} to {self.died}'}"


def _holds(run: Run) -> list[Hold]:
    found: list[Hold] = []
    for operation in run.operations:
        if operation.verb in ("lock", "acquire") and operation.outcome in TAKEN:
            found.append(Hold(operation, None, run.killed, run.died))
        elif operation.verb in ("unlock", "mend", "release"):
            assert found, f"what is not held is given back: {operation}"
            assert found[-1].end is None, f"it is given back twice: {operation}"
            found[-1] = found[-1]._replace(end=operation)
    return found


def check_mutex(runs: Iterable[Run]) -> list[Fault]:
    """What is wrong with the history of a mutex: it has one owner at a time, and the next one after a death in it is told, until
    somebody mends it; nobody else is."""
    runs = list(runs)
    faults: list[Fault] = []
    holds = sorted((hold for run in runs for hold in _holds(run)), key=lambda hold: hold.taken.returned)
    # Who died in a call that locks may have been an owner, unseen.
    unseen = [o for run in runs for o in run.operations if o.verb == "lock" and o.outcome == DIED]
    for one, other in pairwise(holds):
        if other.taken.returned < one.certain[1]:
            faults.append(Fault("two owners", f"it was locked at the same time: {one}; {other}"))
    before: Hold | None = None
    for hold in holds:
        told = hold.taken.outcome == "owner_died"
        expected = _leaves_a_death(before)
        since = before.over[0] if before else -math.inf
        if expected is True and not told:
            faults.append(Fault("not told", f"the owner before died in it, or did not mend it: {hold}; {before}"))
        elif expected is False and told and not any(o.invoked <= hold.taken.returned and o.returned >= since for o in unseen):
            faults.append(Fault("told for nothing", f"no owner died in it: {hold}; {before}"))
        before = hold
    possible = [hold.possible for hold in holds] + [(o.invoked, o.returned) for o in unseen]
    _check_refusals(runs, "lock", None, spans(possible, 1), faults)
    return faults


def _leaves_a_death(hold: Hold | None) -> bool | None:
    """Whether the next owner is told of a death; None where that cannot be known."""
    if hold is None:
        return False
    if hold.end is None:
        return True
    was_told = hold.taken.outcome == "owner_died"
    if hold.end.outcome == DIED:
        return True if was_told and hold.end.verb == "unlock" else None
    return was_told and hold.end.verb == "unlock"


def check_permits(runs: Iterable[Run], total: int, left: int | None = None) -> list[Fault]:
    """What is wrong with the history of a semaphore of so many permits: no more are out at a time, and those of the dead come
    back.

    `left`: how many there were when all the processes had ended.
    """
    runs = list(runs)
    faults: list[Fault] = []
    holds = [hold for run in runs for hold in _holds(run)]
    unseen = [o for run in runs for o in run.operations if o.verb == "acquire" and o.outcome == DIED]
    for since, until in spans([hold.certain for hold in holds if hold.certain[0] < hold.certain[1]], total + 1):
        faults.append(Fault("too many", f"more than {total} permits were out from {since} to {until}"))
    possible = [hold.possible for hold in holds] + [(o.invoked, o.returned) for o in unseen]
    _check_refusals(runs, "acquire", None, spans(possible, total), faults)
    if left is not None and left != total:
        faults.append(Fault("leaked", f"{left} of {total} permits are left at the end"))
    return faults


def check_signals(runs: Iterable[Run], initial: int, left: int | None = None) -> list[Fault]:
    """What is wrong with the history of a signalling semaphore: no unit is taken that was not given, and none is lost.

    `left`: how many there were at the end.
    """
    runs = list(runs)
    faults: list[Fault] = []
    operations = [o for run in runs for o in run.operations]
    given = [o for o in operations if o.verb == "release"]
    taken = sorted((o for o in operations if o.verb == "acquire" and o.outcome == "ok"), key=lambda o: o.returned)
    unseen = [o for o in operations if o.verb == "acquire" and o.outcome == DIED]
    begun = sorted(o.invoked for o in given)
    at = 0
    for count, operation in enumerate(taken, 1):
        while at < len(begun) and begun[at] <= operation.returned:
            at += 1
        if count > initial + at:
            faults.append(Fault("from nothing", f"{count} units were taken, and {initial + at} given at most: {operation}"))
            break
    surely = [(o.returned, 1) for o in given if o.outcome == "ok"] + [(o.invoked, -1) for o in [*taken, *unseen]]
    _check_refusals(runs, "acquire", _while_positive(surely, initial), None, faults)
    if left is not None:
        least = initial + sum(o.outcome == "ok" for o in given) - len(taken) - len(unseen)
        most = initial + len(given) - len(taken)
        if not least <= left <= most:
            faults.append(Fault("leaked", f"{left} units are left at the end, where {least} to {most} should be"))
    return faults


def _while_positive(steps: Iterable[tuple[float, int]], initial: int) -> Spans:
    """When a count that begins so, and changes so, is above 0."""
    # At the same moment, down first: what is above 0 is so for certain.
    ordered = sorted(steps)
    counts = list(accumulate((step for _, step in ordered), initial=initial))
    moments = [-math.inf, *(moment for moment, _ in ordered), math.inf]
    found: Spans = []
    for count, since, until in zip(counts, moments, moments[1:], strict=False):
        if count > 0 and found and found[-1][1] == since:
            found[-1] = (found[-1][0], until)
        elif count > 0:
            found.append((since, until))
    return found


def _check_refusals(runs: Sequence[Run], verb: str, free: Spans | None, taken: Spans | None, faults: list[Fault]) -> None:
    """`free`: when there was something to take for certain; `taken`: when there possibly was nothing. One of them is known."""
    for run in runs:
        for operation in run.operations:
            if operation.verb not in (verb, "wait") or not operation.proves_a_lack:
                continue
            if (free is not None and within(operation, free)) or (taken is not None and not touches(operation, taken)):
                faults.append(Fault("refused", f"all the while it was free: {operation}"))
