"""The fixture that rsipc gives to the tests of its users, and that all these tests use."""

import os
from pathlib import Path

import pytest
import rsipc
from processes import run

seen: list[Path] = []


@pytest.mark.parametrize("time", [1, 2])
def test_each_test_has_a_namespace_of_its_own(rsipc_namespace: Path, time: int) -> None:
    assert rsipc.list() == []
    rsipc.Queue.create("jobs").send(b"job")
    assert (rsipc_namespace / "jobs").exists()
    assert run("print(rsipc.Queue.open('jobs').recv(60))") == "b'job'\n"
    seen.append(rsipc_namespace)


def test_nothing_is_left_of_it() -> None:
    assert os.environ["RSIPC_DIR"] not in map(str, seen)
    assert len(set(seen)) == 2
    assert not any(directory.exists() for directory in seen)
