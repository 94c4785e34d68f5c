"""The examples run, and leave nothing behind; so do those in the documentation."""

import doctest
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import rsipc
import rsipc.mp
from processes import BOUND

EXAMPLES = Path(__file__).parents[2] / "examples" / "python"
SAYS = {
    "workers.py": "9 squared is 81",
    "leases.py": "fragile: done at delivery 2",
    "loans.py": "the sums are 1000000, 2000000, 3000000",
    "endpoint.py": "the square of 7 is 49",
    "tasks.py": "the sum of all jobs is 499500",
    "mutex.py": "39 + 61 = 100",
    "semaphore.py": "2 licences are free",
    "region.py": "the region has 1048576 bytes now, and 43 at its end",
    "killed_worker.py": "the squares are [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]",
    "numpy_array.py": "the sum is 999000",
    "records.py": "1000 samples, 20.4995 degrees on average",
}


def test_all_are_known() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(SAYS)


@pytest.mark.parametrize("name", SAYS)
def test_example(name: str) -> None:
    done = subprocess.run([sys.executable, str(EXAMPLES / name)], capture_output=True, text=True, timeout=BOUND)
    assert (done.returncode, done.stderr) == (0, "")
    assert SAYS[name] in done.stdout.splitlines()
    assert rsipc.list() == []


@pytest.mark.parametrize("module", [rsipc, rsipc.mp])
def test_the_package_documentation(module: ModuleType) -> None:
    failed, tried = doctest.testmod(module, extraglobs={"rsipc": rsipc, "mp": rsipc.mp})
    assert failed == 0
    assert tried > 5
    assert rsipc.list() == []
