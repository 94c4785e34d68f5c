"""`make bench` runs, and tells of every scenario that docs/benchmarks.md names. How fast anything is, is not tested."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = ("median", "p99", "spread")


def regions() -> set[str]:
    return {name for name in os.listdir("/dev/shm") if name.startswith("rsipc-bench-")}


@pytest.fixture(scope="module")
def before() -> set[str]:
    return regions()


@pytest.fixture(scope="module")
def out(before: set[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bench")
    command = ["make", "bench", "EFFORT=smoke", f"BENCH_OUT={out}", f"VENV={Path(sys.prefix)}"]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert made.returncode == 0, made.stdout + made.stderr
    return out


def documented() -> list[str]:
    page = (ROOT / "docs/benchmarks.md").read_text()
    table = page[page.index("## The scenarios") :]
    return re.findall(r"^\| `([a-z0-9-]+)` \|", table, re.MULTILINE)


@pytest.mark.timeout(1000)
def test_every_scenario_is_measured(out: Path) -> None:
    rows = json.loads((out / "results.json").read_text())
    assert list(dict.fromkeys(row["scenario"] for row in rows)) == documented()
    for row in rows:
        assert all(row[key] for key in ("subject", "unit", "against")), row
        assert row["better"] in ("lower", "higher"), row
        assert all(isinstance(row[key], float) and math.isfinite(row[key]) for key in NUMBERS), row
        assert row["median"] > 0 <= row["spread"], row
        assert row["ratio"] is None or row["ratio"] > 0, row
        if row["wanted"] is None:
            assert row["reached"] is None, row


@pytest.mark.timeout(1000)
def test_ratios_are_to_what_they_say(out: Path) -> None:
    rows = json.loads((out / "results.json").read_text())
    medians = {(row["scenario"], row["subject"]): row["median"] for row in rows}
    assert len(medians) == len(rows)
    for row in rows:
        against = medians.get((row["scenario"], row["against"]))
        if against is None:
            assert row["ratio"] is None, row
        else:
            assert math.isclose(row["ratio"], row["median"] / against), row


@pytest.mark.timeout(1000)
def test_each_scenario_has_a_picture(out: Path) -> None:
    for scenario in documented():
        assert (out / f"{scenario}.svg").read_text().startswith("<svg")


@pytest.mark.timeout(1000)
def test_nothing_is_left_behind(before: set[str], out: Path) -> None:
    # A run that was killed before this one may have left something; others may be at it.
    pids = [int(re.findall(r"\d+", name)[0]) for name in regions() - before]
    assert [pid for pid in pids if not Path(f"/proc/{pid}").exists()] == []
