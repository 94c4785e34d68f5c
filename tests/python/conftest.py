"""Every test has a namespace of its own."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def namespace(rsipc_namespace: Path) -> Path:
    return rsipc_namespace
