"""The fixture that rsipc gives to the tests of its users."""

import os
import subprocess
import sys
from pathlib import Path

from processes import BOUND

TESTS = """
import os
import subprocess
import sys

import pytest
import rsipc

seen = []


@pytest.mark.parametrize("time", [1, 2])
def test_alone(rsipc_namespace, time):
    assert rsipc.list() == []
    rsipc.Queue.create("jobs").send(b"job")
    receive = "import rsipc; print(rsipc.Queue.open('jobs').recv(60))"
    assert subprocess.run([sys.executable, "-c", receive], capture_output=True, text=True).stdout == "b'job'\\n"
    assert (rsipc_namespace / "jobs").exists()
    seen.append(rsipc_namespace)


def test_afterwards():
    assert os.environ["RSIPC_DIR"] == "/dev/shm/as-it-was"
    assert len(set(seen)) == 2
    assert not any(directory.exists() for directory in seen)
"""


def test_each_test_has_a_namespace_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", str(tmp_path)]
    environment = {**os.environ, "RSIPC_DIR": "/dev/shm/as-it-was"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=BOUND, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout
