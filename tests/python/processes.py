"""Processes for the tests: Python programs that say how far they are, and can be killed there."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from types import TracebackType
from typing import Self

BOUND = 60.0
"""No wait of a test lasts longer, in seconds: what takes so long hangs."""


class Program:
    """A Python program, given as its text. It is killed at the end of the block if it has not ended."""

    def __init__(self, text: str, *arguments: object) -> None:
        text = "import os, signal, sys, threading, time, rsipc\n" + textwrap.dedent(text)
        command = [sys.executable, "-c", text, *map(str, arguments)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        self.pid = self._process.pid

    def line(self) -> str:
        """The next line it prints."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError(f"the program ended: {self.end()}")
        return line.strip()

    def say(self, line: str) -> None:
        """Gives it a line to read."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def is_at(self, line: str) -> None:
        """It prints this line next."""
        assert self.line() == line

    def waits(self) -> None:
        """Returns once it has printed "waits", and sleeps."""
        self.is_at("waits")
        end = time.monotonic() + BOUND
        seen = 0
        while seen < 5:
            assert time.monotonic() < end, "the program does not come to sleep"
            with open(f"/proc/{self.pid}/stat") as stat:
                seen = seen + 1 if stat.read().rpartition(")")[2].split()[0] == "S" else 0
            time.sleep(0.01)

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(BOUND)

    def end(self) -> tuple[int, str, str]:
        """Waits for its end: its exit status, the rest of what it printed, and its errors."""
        out, err = self._process.communicate(timeout=BOUND)
        return self._process.returncode, out, err

    def succeeds(self) -> str:
        status, out, err = self.end()
        assert status == 0, err
        return out

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()


def run(text: str, *arguments: object) -> str:
    """Runs a program to its end, in which it succeeds, and says what it printed."""
    with Program(text, *arguments) as program:
        return program.succeeds()
