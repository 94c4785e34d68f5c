"""What processes in three languages see of one queue, while some are killed, stopped and interrupted, is what a queue can do.

`RSIPC_HISTORY_ROUNDS` multiplies how long each test lasts.
"""

import math
import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
import rsipc
from conftest import LANGUAGES, PATIENCE, Peers
from history import Operation, check, parse

SECONDS = 2 * float(os.environ.get("RSIPC_HISTORY_ROUNDS", "1"))
CAPACITIES = {"zero": 0, "1": 1, "2": 2, "64": 64, "unbounded": math.inf}

ROLES = ("send", "send", "recv", "recv", "both", "both")
MAX_MESSAGE = 4000


class Actor(NamedTuple):
    """A process that uses the queue. Its messages have the numbers from a billion times its own on."""

    process: subprocess.Popen[str]
    language: str
    role: str
    log: Path


class Cast:
    """The processes that use the queue: always as many, whoever of them dies."""

    def __init__(self, peers: Peers, logs: Path) -> None:
        self.peers, self.logs = peers, logs
        self.count = 0
        self.operations: list[Operation] = []
        self.actors = [self.enter(role) for role in ROLES]

    def enter(self, role: str) -> Actor:
        self.count += 1
        language = LANGUAGES[self.count % len(LANGUAGES)]
        log = self.logs / f"{self.count}-{language}-{role}"
        end = SECONDS + PATIENCE
        process = self.peers.start(language, "queue-history", "q", log, self.count * 1_000_000_000, role, math.ceil(end))
        return Actor(process, language, role, log)

    def on_stage(self) -> list[Actor]:
        """Those that have begun."""
        return [actor for actor in self.actors if actor.log.exists()]

    def kill(self, actor: Actor) -> None:
        """Kills one, and lets another take its place."""
        actor.process.kill()
        actor.process.communicate()
        self.operations += parse(actor.log.read_text(), died=time.monotonic_ns())
        self.actors[self.actors.index(actor)] = self.enter(actor.role)

    def leave(self) -> None:
        """Waits for the end of all, which must be a good one."""
        for actor in self.actors:
            self.peers.finish(actor.process)
            self.operations += parse(actor.log.read_text())


@pytest.mark.timeout(SECONDS + 2 * PATIENCE)
@pytest.mark.parametrize("capacity", CAPACITIES)
def test_what_all_see_is_what_a_queue_does(peers: Peers, namespace: Path, tmp_path: Path, capacity: str) -> None:
    peers.run("rust", "queue-create", "q", capacity, MAX_MESSAGE)
    queue = rsipc.Queue.open("q")
    chance = random.Random(time.monotonic_ns())
    cast = Cast(peers, tmp_path)
    while len(cast.on_stage()) < len(ROLES):
        time.sleep(0.01)
    stopped: list[tuple[float, Actor]] = []
    begin = time.monotonic()
    while time.monotonic() < begin + SECONDS:
        time.sleep(chance.uniform(0, 0.02))
        now = time.monotonic()
        for until, actor in [entry for entry in stopped if entry[0] <= now]:
            actor.process.send_signal(signal.SIGCONT)
            stopped.remove((until, actor))
        for actor in cast.actors:
            if actor.process.poll() is not None:
                peers.finish(actor.process)
                raise AssertionError(f"{actor} ended before the queue was shut down")
        stage = cast.on_stage()
        if not stage:
            continue
        actor = chance.choice(stage)
        deed = chance.choice(("kill", "stop", "stop", "interrupt"))
        if deed == "kill":
            stopped = [entry for entry in stopped if entry[1] is not actor]
            cast.kill(actor)
        elif deed == "stop":
            actor.process.send_signal(signal.SIGSTOP)
            stopped.append((now + chance.uniform(0, 0.05), actor))
        else:
            actor.process.send_signal(signal.SIGUSR1)
    for actor in cast.actors:
        actor.process.send_signal(signal.SIGCONT)
    while len(cast.on_stage()) < len(ROLES):
        time.sleep(0.01)
    before = time.monotonic_ns()
    queue.shutdown()
    cast.operations.append(Operation("shutdown", before, time.monotonic_ns(), "ok"))
    cast.leave()
    cast.operations += drain(queue)

    counts = Counter((operation.name, operation.outcome) for operation in cast.operations)
    print(f"{cast.count} processes, {len(cast.operations)} operations:", dict(counts))
    faults = check(cast.operations, CAPACITIES[capacity])
    if faults:
        pytest.fail("\n".join([f"{len(faults)} faults, logs in {tmp_path}", *map(str, faults[:10])]), pytrace=False)
    for name in ("send", "send_many", "recv", "recv_many"):
        assert counts[name, "ok"]


def drain(queue: rsipc.Queue) -> list[Operation]:
    """Takes what is left, which is only there if all receivers have died."""
    operations: list[Operation] = []
    while True:
        before, message = time.monotonic_ns(), None
        try:
            message = int.from_bytes(queue.try_recv()[:8], "little")
        except rsipc.Closed:
            return operations
        operations.append(Operation("try_recv", before, time.monotonic_ns(), "ok", message))
