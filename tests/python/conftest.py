"""Every test has a namespace of its own."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def namespace(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    directory = tempfile.mkdtemp(prefix="rsipc-test-", dir="/dev/shm")
    monkeypatch.setenv("RSIPC_DIR", directory)
    yield Path(directory)
    os.chmod(directory, 0o700)
    shutil.rmtree(directory)
