"""Every test has a namespace of its own."""

import multiprocessing.forkserver
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def namespace(rsipc_namespace: Path) -> Path:
    return rsipc_namespace


@pytest.fixture(scope="session", autouse=True)
def forkserver() -> Iterator[None]:
    """The server that forks for multiprocessing outlives the tests, and so does its namespace, which its children have."""
    directory = tempfile.mkdtemp(prefix="rsipc-test-", dir="/dev/shm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RSIPC_DIR", directory)
        multiprocessing.forkserver.ensure_running()
    yield
    shutil.rmtree(directory)
