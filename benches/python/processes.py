"""Lets several processes do their parts of a work at the same time, and times them."""

import ctypes
import json
import mmap
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable

LIMIT = 100
SAMPLES = 4000
PR_SET_PDEATHSIG = 1


class Turn:
    """A role's part in the measurement."""

    def __init__(self, roles: int) -> None:
        # For each role: how often it was ready and done, when it began and ended, how much it did. Then the samples.
        self.roles = roles
        self.role = 0
        self.phases = 0
        self.numbers = memoryview(mmap.mmap(-1, 8 * (8 * roles + SAMPLES + 1))).cast("Q")

    def row(self, role: int) -> int:
        return 8 * role

    def measure(self, work: Callable[[], int]) -> None:
        """Does the work, which is timed, at the same time as the others, and says how much was done."""

        def timed() -> None:
            row = self.row(self.role)
            start = time.monotonic_ns()
            done = work()
            self.numbers[row + 3] = time.monotonic_ns()
            self.numbers[row + 2] = start
            self.numbers[row + 4] = done

        self.beside(timed)

    def beside(self, work: Callable[[], object]) -> None:
        """Waits until all roles are ready, does the work, and waits until all have done theirs."""
        self.phases += 1
        self.numbers[self.row(self.role)] = self.phases
        while any(self.numbers[self.row(role)] < self.phases for role in range(self.roles)):
            os.sched_yield()
        work()
        self.numbers[self.row(self.role) + 1] = self.phases
        while any(self.numbers[self.row(role) + 1] < self.phases for role in range(self.roles)):
            time.sleep(0.0002)

    def sample(self, nanoseconds: int) -> None:
        """Records how long one step took. One role of a work does that."""
        at = 8 * self.roles
        if self.numbers[at] < SAMPLES:
            self.numbers[at] += 1
            self.numbers[at + self.numbers[at]] = nanoseconds

    def result(self) -> str:
        timed = [self.row(role) for role in range(self.roles) if self.numbers[self.row(role) + 3]]
        at = 8 * self.roles
        return json.dumps(
            {
                "elapsed": max(self.numbers[row + 3] for row in timed) - min(self.numbers[row + 2] for row in timed),
                "done": sum(self.numbers[row + 4] for row in timed),
                "samples": self.numbers[at + 1 : at + 1 + self.numbers[at]].tolist(),
            }
        )


def die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.alarm(LIMIT)


def run(roles: dict[str, Callable[[Turn], None]]) -> None:
    """Runs each role in a process of its own, and prints what was measured."""
    die_with_parent()
    turn = Turn(len(roles))
    cpus = sorted(os.sched_getaffinity(0))
    children = {}
    for i, (name, work) in enumerate(roles.items()):
        pid = os.fork()
        if pid:
            children[pid] = name
            continue
        code = 1
        try:
            die_with_parent()
            # Each begins on a processor of its own, and may then run on any.
            os.sched_setaffinity(0, {cpus[i % len(cpus)]})
            os.sched_setaffinity(0, cpus)
            turn.role = i
            work(turn)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    while children:
        pid, status = os.wait()
        name = children.pop(pid, None)
        if name is not None and status:
            for other in children:
                os.kill(other, signal.SIGKILL)
            sys.exit(f"{name} failed: {os.waitstatus_to_exitcode(status)}")
    print(turn.result())
