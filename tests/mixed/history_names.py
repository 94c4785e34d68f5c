"""Histories of a name: verbs create, open, open_or_create and unlink. Each object that is created has a number of its own, by
which it is known again, or is one of those that cannot be told apart."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import accumulate, pairwise
from typing import NamedTuple

from history import DIED, Fault, Operation, Spans, spans, touches, within


class Object(NamedTuple):
    """One that had the name for some time."""

    number: int
    created: Operation
    seen: list[Operation]
    """The creation, unless that ended in a death, and each time that somebody found it."""

    @property
    def certain(self) -> tuple[float, float]:
        """From when to when it had the name for certain."""
        since = min((o.returned for o in self.seen), default=math.inf)
        return since, max((o.invoked for o in self.seen), default=-math.inf)


def check_name(operations: Iterable[Operation], told_apart: bool = True) -> list[Fault]:
    """What is wrong with a history of a name that belonged to nothing at its begin."""
    operations = list(operations)
    faults: list[Fault] = []
    unlinks = [o for o in operations if o.verb == "unlink" and o.outcome == "ok"]
    ending = [o for o in operations if o.verb == "unlink" and o.outcome == DIED]
    creations = [o for o in operations if o.verb in ("create", "open_or_create")]
    created = [o for o in creations if o.outcome == "ok" and (o.verb == "create" or o.answer == o.message)]
    may_be = [o for o in creations if o.outcome == DIED]
    if not told_apart:
        unknown = len(may_be) + sum(o.verb == "open_or_create" and o.outcome == "ok" for o in creations)
        made = sum(o.verb == "create" and o.outcome == "ok" for o in creations)
        if len(unlinks) > made + unknown:
            faults.append(Fault("unlinked twice", f"{made + unknown} were created at most, and {len(unlinks)} were taken away"))
        if made > len(unlinks) + len(ending) + 1:
            faults.append(Fault("two at once", f"{made} were created, and {len(unlinks) + len(ending)} taken away at most"))
        return faults

    objects = _objects(operations, [*created, *may_be], faults)
    for operation in created:
        if operation.verb == "create" and operation.answer != operation.message:
            faults.append(Fault("another", f"what was created is something else: {operation}"))
    present = sorted(o.certain for o in objects if o.certain[0] < o.certain[1])
    for since, until in spans(present, 2):
        faults.append(Fault("two at once", f"two objects had the name from {since} to {until}"))
    certain = spans(present, 1)
    possible = spans(_possible(objects, unlinks), 1)
    creating, unlinking = set(created), set(unlinks)
    for operation in operations:
        if operation.outcome == "not_found" and within(operation, certain):
            faults.append(Fault("not found", f"all the while it was there: {operation}"))
        if operation in creating and within(operation, certain):
            faults.append(Fault("two at once", f"all the while another one had the name: {operation}"))
        # As long as no two have the name at once, their times do not overlap.
        if operation in unlinking and within(operation, present):
            faults.append(Fault("not gone", f"it was there before and after it was taken away: {operation}"))
        if (operation.outcome == "exists" or operation in unlinking) and not touches(operation, possible):
            faults.append(Fault("nothing there", f"all the while nothing had the name: {operation}"))
    _check_successors(created, [*unlinks, *ending], faults)
    if len(unlinks) > len(created) + len(may_be):
        faults.append(Fault("unlinked twice", f"{len(objects)} were created at most, and {len(unlinks)} were taken away"))
    return faults


def _objects(operations: list[Operation], creations: list[Operation], faults: list[Fault]) -> list[Object]:
    objects: dict[int | None, Object] = {}
    for operation in creations:
        if operation.message is not None:
            seen = [operation] if operation.outcome == "ok" else []
            objects[operation.message] = Object(operation.message, operation, seen)
    for operation in operations:
        if operation.outcome != "ok" or operation.verb not in ("open", "open_or_create"):
            continue
        number = operation.message if operation.verb == "open" else operation.answer
        if operation.verb == "open_or_create" and number == operation.message:
            continue
        if number not in objects:
            faults.append(Fault("invented", f"nobody created it: {operation}"))
        elif operation.returned < objects[number].created.invoked:
            faults.append(Fault("too early", f"it was found before it was created: {operation}; {objects[number].created}"))
        else:
            objects[number].seen.append(operation)
    return list(objects.values())


def _check_successors(created: list[Operation], unlinks: list[Operation], faults: list[Fault]) -> None:
    """Between two that had the name one after the other, somebody took it away."""
    ordered = sorted(unlinks, key=lambda o: o.invoked)
    # Of those up to there, the last to return.
    last = list(accumulate((o.returned for o in ordered), max, initial=-math.inf))
    for one, other in pairwise(sorted(created, key=lambda o: o.returned)):
        before = bisect_right(ordered, other.returned, key=lambda o: o.invoked)
        if one.returned < other.invoked and last[before] < one.invoked:
            faults.append(Fault("two at once", f"nobody took the name away in between: {one}; {other}"))


def _possible(objects: list[Object], unlinks: list[Operation]) -> Spans:
    """From when to when each can have had the name: whoever took the name away after it was created took it away, or it was gone
    before."""
    ordered = sorted(unlinks, key=lambda o: o.invoked)
    # Of those from there on, the first to return.
    first = list(accumulate((o.returned for o in reversed(ordered)), min, initial=math.inf))[::-1]
    found = []
    for object in objects:
        since = min(object.created.returned, object.certain[0])
        found.append((object.created.invoked, first[bisect_left(ordered, since, key=lambda o: o.invoked)]))
    return found
