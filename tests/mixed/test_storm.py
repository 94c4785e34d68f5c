"""Processes in three languages do everything that there is to do at once, while some are killed, stopped and interrupted; what
all of them saw is judged, and what they leave behind.

`RSIPC_STORM_MINUTES` is how long it lasts. It goes in rounds, each with objects of its own, and with a seed that is one more than
that of the round before; `RSIPC_STORM_SEED` is the first. The seed decides who does what, and what is done to whom, but not
what the machine makes of it.
"""

import contextlib
import math
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import rsipc
from conftest import LANGUAGES, ROOT, Peers
from history import REFUSALS, Fault, Operation, Run, by_object, parse
from history_calls import check_calls
from history_leases import check_queue
from history_locks import check_mutex, check_permits, check_signals
from history_names import check_name

MINUTES = float(os.environ.get("RSIPC_STORM_MINUTES", "0.75"))
SEED = int(os.environ.get("RSIPC_STORM_SEED", time.time_ns() // 1_000_000))
EVIDENCE = ROOT / "target" / "storm"

ROUND = 12.0
"""How long a round lasts, in seconds, before it is judged."""

OUTCOMES = (*REFUSALS, "ok", "owner_died", "peer_gone", "no_reply", "torn")
A_WHILE = 1_000_000_000

HANGS = 120
"""Who has not ended by then, in seconds, hangs: twice as long as any call of theirs waits."""

CAPACITIES = {"zero": 0, "one": 1, "two": 2, "many": 64, "unbounded": math.inf}
LONGEST = 4000
PERMITS, SIGNALS = 2, 3
NAMES = {"a-region": "region", "a-mutex": "mutex", "a-count": "semaphore", "a-limit": "semaphore", "a-queue": "queue"}

MEBIBYTE = 1 << 20


class Actor(NamedTuple):
    """A process. Its messages have the numbers from a billion times its own on."""

    process: subprocess.Popen[str]
    language: str
    role: str
    object: str
    log: Path

    def __str__(self) -> str:
        return f"{self.log.name} (process {self.process.pid})"


class Round:
    """The processes of one round: always as many, whoever of them dies."""

    def __init__(self, seed: int, namespace: Path, logs: Path) -> None:
        self.chance, self.namespace, self.logs = random.Random(seed), namespace, logs
        self.peers = Peers("storm")
        self.runs: list[Run] = []
        self.operations: list[Operation] = []
        self.deeds: Counter[str] = Counter()
        # Whoever draws the first pairs sees all capacities after three rounds.
        capacities = list(CAPACITIES)
        self.queues = [capacities[(2 * seed + n) % len(capacities)] for n in (0, 1)]
        roles = [("send", 0), ("send", 0), ("recv", 0), ("lease", 0), ("send", 1), ("recv", 1), ("lease", 1), ("lease", 1)]
        cast = [(role, self.queues[n]) for role, n in roles]
        cast += [("serve", "east"), ("serve", "west"), ("names", "-")]
        cast += 3 * [("lock", "-"), ("call", "-")]
        self.objects = self.create()
        self.actors = [self.enter(role, object) for role, object in cast]

    def create(self) -> list[rsipc.Queue]:
        rsipc.Semaphore.create("signals", SIGNALS).close()
        rsipc.Semaphore.create_permits("permits", PERMITS).close()
        rsipc.Mutex.create("mutex").close()
        rsipc.Queue.create("mailbox", 4).close()
        limits = {name: CAPACITIES[name] for name in self.queues}
        return [rsipc.Queue.create(name, None if limit == math.inf else int(limit), LONGEST) for name, limit in limits.items()]

    def enter(self, role: str, object: str) -> Actor:
        number = self.deeds["entered"] = self.deeds["entered"] + 1
        language = self.chance.choice(LANGUAGES)
        log = self.logs / f"{number}-{language}-{role}-{object}"
        process = self.peers.start(language, role, object, log, number * 1_000_000_000, math.ceil(ROUND + 2 * HANGS))
        self.note(f"starts {log.name}: process {process.pid}")
        return Actor(process, language, role, object, log)

    def note(self, what: str) -> None:
        with (self.logs / "driver").open("a") as record:
            record.write(f"{time.monotonic_ns()} {what}\n")

    def rage(self) -> None:
        """Kills, stops and interrupts, for a round."""
        stopped: list[tuple[float, Actor]] = []
        begin = time.monotonic()
        while (now := time.monotonic()) < begin + ROUND:
            time.sleep(self.chance.uniform(0, 0.05))
            for until, actor in [entry for entry in stopped if entry[0] <= now]:
                self.send(actor, signal.SIGCONT)
                stopped.remove((until, actor))
            for actor in self.actors:
                if actor.process.poll() is not None:
                    self.peers.finish(actor.process)
                    raise AssertionError(f"{actor} ended before it was told to")
            stage = [actor for actor in self.actors if actor.log.exists()]
            if not stage:
                continue
            actor = self.chance.choice(stage)
            if waits_long(actor):
                # It is let be, to show in the end whether it hangs.
                self.deeds["spared"] += 1
                continue
            deed = self.chance.choice(("kill", "kill", "stop", "stop", "interrupt", "list"))
            self.deeds[deed] += 1
            if deed == "kill":
                stopped = [entry for entry in stopped if entry[1] is not actor]
                self.kill(actor)
            elif deed == "stop":
                self.send(actor, signal.SIGSTOP)
                stopped.append((now + self.chance.uniform(0, 0.05), actor))
            elif deed == "interrupt":
                self.send(actor, signal.SIGUSR1)
            else:
                for entry in rsipc.list():
                    assert NAMES.get(entry.name, entry.kind) == entry.kind, f"{entry} is something else"

    def send(self, actor: Actor, what: signal.Signals) -> None:
        self.note(f"sends {what.name} to {actor}")
        actor.process.send_signal(what)

    def kill(self, actor: Actor) -> None:
        """Kills one, and lets another take its place."""
        self.note(f"kills {actor}")
        killed = time.monotonic_ns()
        actor.process.kill()
        actor.process.communicate()
        died = time.monotonic_ns()
        self.runs.append(Run(parse(actor.log.read_text(), died), killed, died))
        self.actors[self.actors.index(actor)] = self.enter(actor.role, actor.object)

    def leave(self, *roles: str, told: bool = True) -> None:
        """Tells those of some roles to end, unless they know, which must be a good end."""
        leaving = [actor for actor in self.actors if actor.role in roles]
        for actor in leaving if told else []:
            self.send(actor, signal.SIGTERM)
        for actor in leaving:
            try:
                self.peers.finish(actor.process, HANGS)
            except subprocess.TimeoutExpired:
                raise AssertionError(f"{actor} hangs after {actor.log.read_text().splitlines()[-1]!r}") from None
            self.runs.append(Run(parse(actor.log.read_text())))

    def attempt(self, name: str, object: str, act: Callable[[], int | None]) -> Operation:
        """Does something as one more process."""
        before = time.monotonic_ns()
        outcome, message = "ok", None
        try:
            message = act()
        except rsipc.WouldBlock:
            outcome = "would_block"
        except rsipc.Closed:
            outcome = "closed"
        self.operations.append(Operation(name, before, time.monotonic_ns(), outcome, message, object=object))
        return self.operations[-1]

    def end(self) -> None:
        """Lets all come to an end, and takes what is left in the queues."""
        for actor in self.actors:
            self.send(actor, signal.SIGCONT)
        begin = time.monotonic()
        while not all(actor.log.exists() for actor in self.actors):
            assert time.monotonic() < begin + HANGS, "a process does not begin"
            time.sleep(0.01)
        # As a context manager it would be acquired.
        with contextlib.closing(rsipc.Semaphore.open("signals")) as signals:
            for _ in range(20):
                self.attempt("release", "signals", signals.release)
        self.leave("call", "lock", "names")
        self.leave("serve")
        with rsipc.Endpoint.open() as endpoint, rsipc.Queue.open("mailbox") as mailbox:
            # Requests of callers who are gone, or have stopped waiting.
            while self.attempt("try_serve", "mailbox", lambda: number_of(endpoint.recv_mailbox(mailbox, 0).data)).outcome == "ok":
                pass
        for queue in self.objects:
            self.attempt("shutdown", str(queue.name), queue.shutdown)
        self.leave("send", "recv", "lease", told=False)
        for queue in self.objects:
            self.drain(queue)
        self.runs.append(Run(self.operations))

    def drain(self, queue: rsipc.Queue) -> None:
        while self.attempt("try_recv", str(queue.name), lambda: number_of(queue.try_recv())).outcome == "ok":
            pass

    def judge(self) -> list[Fault]:
        left = []
        for name in ("permits", "signals"):
            with contextlib.closing(rsipc.Semaphore.open(name)) as semaphore:
                left.append(semaphore.value)

        on = by_object(self.runs)
        faults = []
        for queue in self.queues:
            faults += check_queue(on[queue], CAPACITIES[queue])
        faults += check_mutex(on["mutex"])
        faults += check_permits(on["permits"], PERMITS, left[0])
        faults += check_signals(on["signals"], SIGNALS, left[1])
        faults += check_calls(self.runs)
        for name, kind in NAMES.items():
            faults += check_name([o for run in on[name] for o in run.operations], told_apart=kind != "mutex")
        return faults

    def clean_up(self) -> None:
        """Takes the names away; then nothing is left, in the directory and of the memory."""
        for entry in rsipc.list():
            if entry.kind == "queue" and entry.name in self.queues:
                assert entry.memory < 3 * MEBIBYTE, f"the memory of {entry} has not come back"
        for queue in self.objects:
            queue.close()
        for name in ["signals", "permits", "mutex", "mailbox", *self.queues]:
            rsipc.unlink(name)
        for name in NAMES:
            with contextlib.suppress(rsipc.NotFound):
                rsipc.unlink(name)
        # What dead processes leave of their addresses goes when somebody comes upon it.
        rsipc.Endpoint.open().close()
        left = {entry.name: entry.stat().st_blocks * 512 for entry in os.scandir(self.namespace)}
        assert all(name.startswith(".lives-") for name in left), f"{sorted(left)} are left in the directory"
        used = used_in(self.namespace)
        assert used == sum(left.values()), f"{used} bytes are used, and {left} are there"


def waits_long(actor: Actor) -> bool:
    """Whether a process has been in one and the same call for a while."""
    with actor.log.open("rb") as record:
        record.seek(max(0, record.seek(0, os.SEEK_END) - 200))
        *lines, _ = record.read().decode().split("\n")
    words = lines[-1].split() if lines else []
    return len(words) > 1 and words[1] not in OUTCOMES and time.monotonic_ns() - int(words[0]) > A_WHILE


def number_of(data: bytes) -> int:
    return int.from_bytes(data[:8], "little")


def used_in(directory: Path) -> int:
    """How many bytes of memory the files of this file system take, also those without a name."""
    whole = os.statvfs(directory)
    return (whole.f_blocks - whole.f_bfree) * whole.f_frsize


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A namespace on a file system of its own."""
    directory = Path(tempfile.mkdtemp(prefix="rsipc-storm-", dir="/dev/shm"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=1g,mode=700", "none", str(directory)]
    subprocess.run(mount, check=True)
    monkeypatch.setenv("RSIPC_DIR", str(directory))
    yield directory
    subprocess.run(["umount", "-l", str(directory)], check=True)
    directory.rmdir()


@pytest.mark.timeout(60 * MINUTES + (60 * MINUTES / ROUND + 1) * 2 * HANGS)
def test_what_all_see_in_a_storm_is_as_promised(memory: Path) -> None:
    begin, seed, total = time.monotonic(), SEED, Counter[str]()
    while seed == SEED or time.monotonic() < begin + 60 * MINUTES - ROUND / 2:
        logs = EVIDENCE / str(seed)
        shutil.rmtree(logs, ignore_errors=True)
        logs.mkdir(parents=True)
        storm = Round(seed, memory, logs)
        faults: list[object] = []
        try:
            storm.rage()
            storm.end()
            faults += storm.judge()
            storm.clean_up()
        except Exception as e:
            faults.append(e if isinstance(e, AssertionError) else repr(e))
        finally:
            storm.peers.end()
        storm.deeds.update(f"{o.deed} {o.outcome}" for run in storm.runs for o in run.operations)
        print(f"seed {seed}, {' and '.join(storm.queues)}: {said(storm.deeds)}", flush=True)
        if faults:
            (logs / "faults").write_text("\n".join(map(str, faults)))
            text = [f"{len(faults)} faults, with the logs in {logs}; again with RSIPC_STORM_SEED={seed} make storm"]
            pytest.fail("\n".join([*text, *map(str, faults[:10])]), pytrace=False)
        shutil.rmtree(logs)
        total += storm.deeds
        seed += 1
    print(f"{seed - SEED} rounds: {said(total)}; {dict(sorted(total.items()))}")
    in_place = ("loan", "send_loan", "unlend", "recv_view", "unview")
    of_queues = ("send", "send_many", "recv", "recv_many", *in_place, "lease", "finish")
    for deed in (*of_queues, "lock", "acquire", "call", "serve", "create", "open", "unlink", "wait"):
        assert total[f"{deed} ok"], f"no {deed} came to a good end"
    assert total["kill"]


def said(deeds: Counter[str]) -> str:
    operations = sum(count for deed, count in deeds.items() if " " in deed)
    died = sum(count for deed, count in deeds.items() if deed.endswith(" died"))
    return f"{deeds['entered']} processes, {deeds['kill']} killed, {died} of them inside a call, {operations} operations"
