"""Histories of endpoints and of a mailbox: verbs call and post of those who send to them, serve, reply and drop of those who
receive, and open_endpoint and close_endpoint.

The object of each is the name of an endpoint, which one process after another has, or the mailbox, from which all servers
receive.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

from history import DIED, Fault, Operation, Run, spans, within

MAILBOX = "mailbox"
REPLY = 500_000_000
"""The reply to a request has its number plus this."""

SENDER = 1_000_000_000
"""Each process has so many numbers."""

NEVER_SENT = {"post": ("would_block", "timed_out", "interrupted", "not_found", "peer_gone"), "call": ("not_found",)}


class Tenure(NamedTuple):
    """For how long a process had an endpoint: when it was opened, and when it was closed, or gone."""

    name: str
    opened: tuple[float, float]
    gone: tuple[float, float]
    closed: bool
    served: list[Operation]


def check_calls(runs: Iterable[Run]) -> list[Fault]:
    """What is wrong with a history: each request is received once at most, and its sender gets the reply to it, or is told that
    none will come, which is so."""
    runs = list(runs)
    faults: list[Fault] = []
    operations = [o for run in runs for o in run.operations]
    sent = {o.message: o for o in operations if o.verb in ("call", "post") and o.message is not None}
    serves = [o for o in operations if o.verb == "serve"]
    replies = {o.message: o for o in operations if o.verb == "reply"}
    drops = {o.message: o for o in operations if o.verb == "drop"}
    tenures = [tenure for run in runs for tenure in _tenures(run)]
    closed = [tenure for tenure in tenures if tenure.closed]
    deaths = [(run.killed, run.died) for run in runs if run.killed < math.inf and any(o.verb == "serve" for o in run.operations)]

    served = _check_serves(sent, serves, faults)
    _check_order(runs, sent, served, faults)
    _check_lost(tenures, sent, served, faults)
    open_at = {t.name: spans([(u.opened[1], u.gone[0]) for u in tenures if u.name == t.name], 1) for t in tenures}
    unsaid = [o for o in serves if o.outcome == DIED and o.object == MAILBOX]
    for call in sent.values():
        if call.outcome == "not_found" and within(call, open_at.get(call.object, [])):
            faults.append(Fault("not found", f"all the while the endpoint was open: {call}"))
        if call.outcome == "peer_gone" and not _gone_meanwhile(call, tenures, deaths):
            faults.append(Fault("not gone", f"nobody died or closed the endpoint: {call}"))
        if call.verb == "post":
            continue
        reply, drop = replies.get(call.message), drops.get(call.message)
        if call.outcome == "torn":
            faults.append(Fault("torn", f"the reply is none that was given: {call}"))
        elif call.outcome == "ok" and call.message is not None and call.answer != call.message + REPLY:
            faults.append(Fault("another's reply", f"it is the reply to something else: {call}"))
        elif call.outcome == "ok" and (reply is None or reply.invoked > call.returned):
            faults.append(Fault("invented", f"nobody has replied: {call}"))
        elif call.outcome in ("peer_gone", "no_reply"):
            # A server that dies while it receives from the mailbox may have told the caller that it has the request, and leaves
            # it to the next.
            told = call.object == MAILBOX and any(o.invoked <= call.returned and o.returned >= call.invoked for o in unsaid)
            if reply is not None and reply.outcome == "ok" and not told:
                faults.append(Fault("reply lost", f"somebody has replied: {call}; {reply}"))
            dropped = drop is not None and drop.invoked <= call.returned
            if call.outcome == "no_reply" and not dropped and not _gone_meanwhile(call, closed, []):
                faults.append(Fault("not dropped", f"nobody dropped it or closed the endpoint: {call}"))
    return faults


def _tenures(run: Run) -> list[Tenure]:
    found: list[Tenure] = []
    for o in run.operations:
        if o.verb == "open_endpoint" and o.outcome in ("ok", DIED):
            found.append(Tenure(o.object, (o.invoked, o.returned), (run.killed, run.died), False, []))
        elif o.verb == "close_endpoint":
            found[-1] = found[-1]._replace(gone=(o.invoked, o.returned), closed=True)
        elif o.verb == "serve" and found and o.object == found[-1].name:
            found[-1].served.append(o)
    return found


def _gone_meanwhile(call: Operation, tenures: Iterable[Tenure], deaths: Iterable[tuple[float, float]]) -> bool:
    """Whether somebody who may have had what was sent died meanwhile, or closed the endpoint that it was sent to."""
    ends = deaths if call.object == MAILBOX else [t.gone for t in tenures if t.name == call.object]
    return any(since <= call.returned and until >= call.invoked for since, until in ends)


def _check_serves(sent: dict[int, Operation], serves: list[Operation], faults: list[Fault]) -> dict[int, Operation]:
    """What was received, by number."""
    served: dict[int, Operation] = {}
    for serve in serves:
        if serve.outcome == "torn":
            faults.append(Fault("torn", f"what was received is nothing that was sent: {serve}"))
        if serve.outcome != "ok" or serve.message is None:
            continue
        send = sent.get(serve.message)
        if send is None:
            faults.append(Fault("invented", f"nobody sent it: {serve}"))
        elif serve.message in served:
            faults.append(Fault("duplicated", f"it was received before: {serve}; {served[serve.message]}"))
        elif serve.object != send.object:
            faults.append(Fault("astray", f"it was sent to somebody else: {serve}; {send}"))
        elif send.outcome in NEVER_SENT[send.verb]:
            faults.append(Fault("not withdrawn", f"it was not sent: {serve}; {send}"))
        elif serve.returned < send.invoked:
            faults.append(Fault("too early", f"it was received before it was sent: {serve}; {send}"))
        served[serve.message] = serve
    return served


def _check_order(runs: list[Run], sent: dict[int, Operation], served: dict[int, Operation], faults: list[Fault]) -> None:
    """An endpoint receives what one process sends to it in order. (What comes back to a mailbox does so at its front.)"""
    for run in runs:
        for tenure in _tenures(run):
            last: dict[int, Operation] = {}
            for serve in tenure.served:
                if serve.outcome != "ok" or serve.message not in sent:
                    continue
                before = last.get(serve.message // SENDER)
                if before is not None and before.message is not None and before.message > serve.message:
                    faults.append(Fault("reordered", f"it was sent before the other: {serve}; {before}"))
                last[serve.message // SENDER] = serve


def _check_lost(tenures: list[Tenure], sent: dict[int, Operation], served: dict[int, Operation], faults: list[Fault]) -> None:
    """What was posted to an endpoint comes before what was sent to it later."""
    for tenure in tenures:
        latest = max((sent[o.message].invoked for o in tenure.served if o.message in sent), default=-math.inf)
        for post in sent.values():
            if post.verb != "post" or post.outcome != "ok" or post.object != tenure.name or post.message in served:
                continue
            if tenure.opened[1] <= post.invoked and post.returned <= min(tenure.gone[0], latest):
                faults.append(Fault("lost", f"it was accepted, and something else was received that was sent later: {post}"))
