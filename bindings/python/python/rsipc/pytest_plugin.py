"""A fixture for pytest, which finds it by itself once rsipc is installed."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def rsipc_namespace(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A namespace of the test's own, empty at first: the default one of this process, and of those that it starts, until the
    test ends.

    Tests that run at the same time do not meet in it, and what they leave is removed. The value is its directory. For all tests
    below a directory, in its conftest.py:

        @pytest.fixture(autouse=True)
        def namespace(rsipc_namespace: Path) -> Path:
            return rsipc_namespace
    """
    directory = Path(tempfile.mkdtemp(prefix="rsipc-pytest-", dir="/dev/shm"))
    monkeypatch.setenv("RSIPC_DIR", str(directory))
    yield directory
    directory.chmod(0o700)
    shutil.rmtree(directory)
