"""What the mixed-language tests share: a namespace of their own, and the three peer programs."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RELEASE = ROOT / "target" / "release"
LIB = ROOT / "target" / "lib"
LANGUAGES = ["rust", "c", "python"]
PATIENCE = 60


@pytest.fixture
def namespace(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="rsipc-test-", dir="/dev/shm"))
    monkeypatch.setenv("RSIPC_DIR", str(directory))
    yield directory
    shutil.rmtree(directory)


class Peers:
    """Starts programs that there are in each language, and sees to it that none outlives the test."""

    def __init__(self, program: str = "peer") -> None:
        self.running: list[subprocess.Popen[str]] = []
        self.programs = {
            "rust": [str(RELEASE / "examples" / program)],
            "c": [str(ROOT / "target" / "c-tests" / program)],
            "python": [sys.executable, str(ROOT / "tests" / "python" / f"{program}.py")],
        }

    def start(self, language: str, *arguments: object) -> subprocess.Popen[str]:
        return self._start([], language, *arguments)

    def start_contained(self, language: str, *arguments: object) -> subprocess.Popen[str]:
        """Starts a peer in a pid namespace of its own, where it is number 1."""
        return self._start(["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"], language, *arguments)

    def _start(self, prefix: list[str], language: str, *arguments: object) -> subprocess.Popen[str]:
        command = [*prefix, *self.programs[language], *map(str, arguments)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
        self.running.append(process)
        return process

    def finish(self, process: subprocess.Popen[str], patience: float = PATIENCE) -> str:
        output, errors = process.communicate(timeout=patience)
        assert process.returncode == 0, f"{process.args!r}: {errors}"
        return output

    def run(self, language: str, *arguments: object) -> str:
        return self.finish(self.start(language, *arguments))

    def says(self, process: subprocess.Popen[str], line: str) -> None:
        assert process.stdout is not None
        assert process.stdout.readline() == line + "\n"

    def until_killed(self, language: str, *arguments: object) -> None:
        """Runs a peer that kills itself with SIGKILL."""
        process = self.start(language, *arguments)
        _, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == -signal.SIGKILL, f"{process.args!r}: {errors}"

    def end(self) -> None:
        for process in self.running:
            process.kill()
            process.wait()


@pytest.fixture
def peers() -> Iterator[Peers]:
    peers = Peers()
    yield peers
    peers.end()
