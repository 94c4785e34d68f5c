"""The Python side of the storm: one process that works on objects which others in other languages work on, too.

    storm.py ROLE OBJECT LOG FIRST SECONDS

It does now this, now that, until it gets SIGTERM or its queue is shut down, and writes two lines to LOG for each operation: TIME
VERB OBJECT [NUMBER] before it, TIME OUTCOME [NUMBER [NUMBER]] after it; for many messages in one call see `history.parse`. Its
messages have the numbers from FIRST on. After so many seconds it ends in any case. The rules that hold for what it writes are in
tests/mixed/history*.py.
"""

import contextlib
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from typing import TypeVar

import rsipc
from peer import check, recorded_message

T = TypeVar("T")

LONG = 60.0
"""Who waits so long, in seconds, hangs."""

LONGEST = 4000
"""The longest message, in bytes."""

MANY = 5
"""The most messages in one call."""

REPLY = 500_000_000
"""The reply to a request has its number plus this."""

PROCESS = 1_000_000_000
"""So many numbers each process has."""

IDENTITIES = 1000
"""So many objects each process creates. Each is known by a number of its own: its value, its size, or the like."""

REFUSALS: dict[type[rsipc.Error], str] = {
    rsipc.Timeout: "timed_out",
    rsipc.WouldBlock: "would_block",
    rsipc.Closed: "closed",
    rsipc.NotFound: "not_found",
    rsipc.AlreadyExists: "exists",
    rsipc.PeerGone: "peer_gone",
    rsipc.NoReply: "no_reply",
}


class Storm:
    def __init__(self, role: str, name: str, log: str, first: int) -> None:
        self.role, self.name, self.first, self.number, self.made = role, name, first, first, 0
        self.chance = random.Random(first)
        self.outcome, self.stopped = "", False
        signal.signal(signal.SIGTERM, self.stop)
        # From here on it can be told to stop.
        self.record = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def stop(self, *_: object) -> None:
        self.stopped = True

    def run(self) -> None:
        self.signals, self.permits, self.mutex = (
            rsipc.Semaphore.open("signals"),
            rsipc.Semaphore.open("permits"),
            rsipc.Mutex.open("mutex"),
        )
        self.mailbox = rsipc.Queue.open("mailbox")
        if self.role in ("send", "recv", "lease"):
            self.queue = rsipc.Queue.open(self.name)
        if self.role == "serve":
            self.open_endpoint()
        elif self.role == "call":
            self.endpoint = rsipc.Endpoint.open()
        act: Callable[[], None] = getattr(self, self.role)
        while not self.stopped and self.outcome != "closed":
            act()
            if self.below(8) == 0:
                self.attempt("release signals", self.signals.release)
            if self.below(16) == 0:
                self.names()
            if self.below(4) == 0:
                time.sleep(self.chance.uniform(0, 0.008))
        if self.role == "serve":
            self.attempt(f"close_endpoint {self.name}", self.endpoint.close)

    def below(self, end: int) -> int:
        return self.chance.randrange(end)

    def note(self, what: str) -> None:
        os.write(self.record, f"{time.monotonic_ns()} {what}\n".encode())

    def attempt(self, what: str, act: Callable[[], T], tell: Callable[[T], object] = lambda _: "ok") -> T | None:
        """Does something, and says what came of it, unless it was refused."""
        self.note(what)
        try:
            result = act()
        except rsipc.Error as e:
            refusal = next((refusal for error, refusal in REFUSALS.items() if isinstance(e, error)), None)
            if refusal is None:
                raise
            self.outcome = refusal
            self.note(refusal)
            return None
        self.outcome = str(tell(result))
        self.note(self.outcome)
        return result

    def wait(self, verb: str, rest: str, act: Callable[[float], T], tell: Callable[[T], object] = lambda _: "ok") -> T | None:
        """Attempts something that may have to wait, in one of three ways."""
        way = self.below(3)
        verb = (verb, f"try_{verb}", f"{verb}_timeout")[way]
        timeout = (LONG, 0.0, self.chance.uniform(0, 0.003))[way]
        result = self.attempt(f"{verb} {rest}", lambda: act(timeout), tell)
        check(timeout != LONG or self.outcome != "timed_out", f"a {verb} {rest} hangs")
        return result

    def send(self) -> None:
        form = self.below(4)
        if form == 0:
            self.send_many()
            return
        self.number += 1
        message = recorded_message(self.number, LONGEST)
        if form == 1 and self.queue.capacity is not None:
            self.send_loan(message)
            return
        self.wait("send", f"{self.name} {self.number}", lambda timeout: self.queue.send(message, timeout))

    def send_many(self) -> None:
        first, count = self.number + 1, 1 + self.below(MANY)
        self.number += count
        messages = [recorded_message(number, LONGEST) for number in range(first, first + count)]
        rest = f"{self.name} {first} {count}"
        self.wait("send_many", rest, lambda timeout: self.queue.send_many(messages, timeout), found)

    def send_loan(self, message: bytes) -> None:
        """Fills memory of the queue and sends it, or gives it back."""
        loan = self.wait("loan", self.name, lambda timeout: self.queue.loan(LONGEST, timeout))
        if loan is None:
            return
        with loan:
            with memoryview(loan) as view:
                view[: len(message)] = message
            loan.truncate(len(message))
            self.hold()
            if self.below(8) != 0:
                self.wait("send_loan", f"{self.name} {self.number}", loan.send)
            self.attempt(f"unlend {self.name}", loan.release)

    def recv(self) -> None:
        if self.below(8) == 0:
            both = [self.queue, self.signals]
            self.wait("wait", f"{self.name},signals", lambda timeout: rsipc.wait(both, timeout))
        form = self.below(4)
        if form == 0:
            most = 1 + self.below(MANY)
            self.wait("recv_many", f"{self.name} {most}", lambda timeout: self.queue.recv_many(most, timeout), all_received)
        elif form == 1:
            self.recv_view()
        else:
            self.wait("recv", self.name, self.queue.recv, received)

    def recv_view(self) -> None:
        """Receives a message and reads it in place, until it gives the memory back."""
        view = self.wait("recv_view", self.name, self.queue.recv_view, lambda view: received(bytes(view)))
        if view is not None:
            self.hold()
            check(received(bytes(view)) == self.outcome, "a message changes while it is read in place")
            self.attempt(f"unview {self.name}", view.release)

    def lease(self) -> None:
        lease = self.wait("lease", self.name, self.queue.lease, lambda it: f"{received(it.message)} {it.deliveries}")
        if lease is None:
            return
        number = int.from_bytes(lease.message[:8], "little")
        self.hold()
        if self.below(4) == 0:
            self.attempt(f"give_back {self.name} {number}", lease.give_back)
        else:
            self.attempt(f"finish {self.name} {number}", lease.finish)

    def hold(self, most: float = 0.002) -> None:
        """Holds what it has for a while, or not at all."""
        if self.below(2) == 0:
            time.sleep(self.chance.uniform(0, most))

    def lock(self) -> None:
        way = self.below(3)
        if way == 0:
            self.wait("acquire", "permits", self.permits.acquire)
            if self.outcome == "ok":
                self.hold()
                self.attempt("release permits", self.permits.release)
        elif way == 1:
            self.wait("acquire", "signals", self.signals.acquire)
        else:
            self.lock_mutex()

    def lock_mutex(self) -> None:
        recoveries = []

        def enter(timeout: float) -> bool:
            recoveries.append(self.mutex.recover(timeout))
            return recoveries[0].__enter__()

        told = self.wait("lock", "mutex", enter, lambda told: "owner_died" if told else "ok")
        if told is None:
            return
        self.hold()
        if told and self.below(4) != 0:
            self.attempt("mend mutex", lambda: recoveries[0].__exit__(None, None, None))
        else:
            self.attempt("unlock mutex", self.mutex.release)

    def open_endpoint(self) -> None:
        endpoint = self.attempt(f"open_endpoint {self.name}", lambda: rsipc.Endpoint.open(self.name, capacity=4))
        check(endpoint is not None, f"the name {self.name} is not free")
        assert endpoint is not None
        self.endpoint = endpoint

    def serve(self) -> None:
        if self.below(64) == 0:
            self.attempt(f"close_endpoint {self.name}", self.endpoint.close)
            self.open_endpoint()
        timeout = (0, 0.003, 0.1)[self.below(3)]
        verb = "serve_timeout" if timeout else "try_serve"
        if self.below(4) == 0:
            both = [self.endpoint, self.mailbox]
            self.attempt(f"wait_timeout {self.name},mailbox", lambda: rsipc.wait(both, timeout))
        where = self.name if self.below(2) == 0 else "mailbox"

        def receive() -> rsipc.Message:
            return self.endpoint.recv(timeout) if where == self.name else self.endpoint.recv_mailbox(self.mailbox, timeout)

        request = self.attempt(f"{verb} {where}", receive, lambda it: received(it.data))
        if request is None or not request.wants_reply:
            return
        number = int.from_bytes(request.data[:8], "little")
        self.hold(0.05)
        if self.below(8) == 0:
            requests = [request]
            del request
            self.attempt(f"drop {where} {number}", requests.clear)
        else:
            reply = recorded_message(number + REPLY, LONGEST)
            self.outcome = "would_block"
            while self.outcome == "would_block":
                # A process that was stopped holds up the caller's inbox.
                self.attempt(f"reply {where} {number}", lambda: request.reply(reply))

    def call(self) -> None:
        self.number += 1
        message, where = recorded_message(self.number, LONGEST), ("east", "west", "mailbox")[self.below(3)]
        if where == "mailbox":

            def ask(timeout: float) -> bytes:
                return self.endpoint.call_mailbox(self.mailbox, message, timeout)
        else:

            def ask(timeout: float) -> bytes:
                return self.endpoint.call(self.endpoint.find(where), message, timeout)

        if where != "mailbox" and self.below(4) == 0:
            self.wait(
                "post", f"{where} {self.number}", lambda timeout: self.endpoint.send(self.endpoint.find(where), message, timeout)
            )
        else:
            self.wait("call", f"{where} {self.number}", ask, received)

    def names(self) -> None:
        """Creates, opens, or takes away an object of some kind."""
        kind = ("a-region", "a-mutex", "a-count", "a-limit", "a-queue")[self.below(5)]
        verb = ("create", "open", "open_or_create", "unlink")[self.below(4)]
        identity = self.first // PROCESS * IDENTITIES + self.made % IDENTITIES
        if "create" in verb and self.made < IDENTITIES - 1:
            self.made += 1
            self.attempt(f"{verb} {kind} {identity + 1}", lambda: make(verb, kind, identity + 1), found)
        elif verb == "unlink":
            self.attempt(f"unlink {kind}", lambda: rsipc.unlink(kind))
        else:
            self.attempt(f"open {kind}", lambda: make("open", kind, 0), found)


def received(data: bytes) -> str:
    number = int.from_bytes(data[:8], "little")
    return f"ok {number}" if data == recorded_message(number, LONGEST) else "torn"


def all_received(messages: list[bytes]) -> str:
    outcomes = [received(data) for data in messages]
    return "torn" if "torn" in outcomes else " ".join(["ok", *(outcome.removeprefix("ok ") for outcome in outcomes)])


def make(verb: str, kind: str, identity: int) -> int:
    """Says which object it is; 0 for a mutex, which cannot be told from another."""
    new = "create" in verb
    if kind == "a-region":
        region = getattr(rsipc.Region, verb)(kind, identity) if new else rsipc.Region.open(kind)
        with region, memoryview(region) as view:
            check(view[len(view) - 1] == 0, "a new region is not zero")
            return len(view)
    if kind == "a-mutex":
        getattr(rsipc.Mutex, verb)(kind).close()
        return 0
    if kind == "a-queue":
        queue = getattr(rsipc.Queue, verb)(kind, 1, identity) if new else rsipc.Queue.open(kind)
        with queue:
            longest: int = queue.max_message
            return longest
    verb = f"{verb}_permits" if new and kind == "a-limit" else verb
    semaphore = getattr(rsipc.Semaphore, verb)(kind, identity) if new else rsipc.Semaphore.open(kind)
    # As a context manager it would be acquired.
    with contextlib.closing(semaphore):
        check(semaphore.kind == ("permits" if kind == "a-limit" else "signals"), "the semaphore is of the other kind")
        value: int = semaphore.value
        return value


def found(identity: int) -> str:
    return f"ok {identity}"


if __name__ == "__main__":
    role, name, log, first, seconds = sys.argv[1:]
    signal.alarm(int(seconds))
    signal.signal(signal.SIGUSR1, lambda *_: None)
    Storm(role, name, log, int(first)).run()
