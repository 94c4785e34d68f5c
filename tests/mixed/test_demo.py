"""The README's first command, and its snippets."""

import os
import random
import re
import runpy
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
import rsipc
from conftest import LIB, PATIENCE, RELEASE, ROOT

DEMO = ROOT / "examples/demo"
PARENT = runpy.run_path(str(DEMO / "demo.py"))
READER = str(ROOT / "target/demo/reader")
WORKERS = [[str(RELEASE / "examples/demo-worker")], [sys.executable, str(DEMO / "worker.py")]]


def test_demo_counts_every_word(namespace: Path) -> None:
    demo = [sys.executable, str(DEMO / "demo.py"), "--passes", "2", READER, WORKERS[0][0]]
    result = subprocess.run(demo, capture_output=True, text=True, timeout=PATIENCE * 3, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "as promised" in result.stdout
    assert "killed, holding the mutex" in result.stdout
    assert "was handed line" in result.stdout


def make_objects() -> tuple[rsipc.Queue, memoryview]:
    region = rsipc.Region.create("table", PARENT["REGION_SIZE"])
    rsipc.Mutex.create_in(region, 0)
    return rsipc.Queue.create("lines", capacity=None, max_message=1024), memoryview(region)


DIES = """
import os, runpy, signal, sys, rsipc
worker = runpy.run_path(sys.argv[1])
region = rsipc.Region.open("table")
table, mutex = worker["Table"](region), rsipc.Mutex.open_in(region, 0)
lease = rsipc.Queue.open("lines").lease(60)
line = int.from_bytes(lease.message[:4], "little")
mutex.acquire(60)
table.begin(9, line)
for word in worker["WORDS"].findall(lease.message, 4):
    table.add(table.slot(word.lower()))
if sys.argv[2] == "counted":
    table.commit(9, line)
    mutex.release()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("at", ["half", "counted"])
@pytest.mark.parametrize("worker", WORKERS, ids=["rust", "python"])
def test_a_line_whose_worker_died_is_counted_once(namespace: Path, worker: list[str], at: str) -> None:
    lines, memory = make_objects()
    for number, line in enumerate([b"one two two", b"two three"], 1):
        lines.send(number.to_bytes(4, "little") + line)
    command = [sys.executable, "-c", DIES, str(DEMO / "worker.py"), at]
    died = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert PARENT["table_count"](memory) == {b"one": 1, b"two": 2}
    lines.shutdown()
    run(*worker, 1)
    assert PARENT["table_count"](memory) == {b"one": 1, b"two": 3, b"three": 1}
    # The worker was told of the line, and of the words that it took back.
    assert struct.unpack_from("<II", memory, PARENT["AGAIN_AT"]) == (1, 1)
    assert struct.unpack_from("<II", memory, PARENT["REPAIR_AT"]) == ((1, 3) if at == "half" else (0, 0))


def test_each_line_is_counted_once_whenever_workers_are_killed(namespace: Path) -> None:
    lines, memory = make_objects()
    # More than they can count before the last of them is killed.
    text, passes = PARENT["TEXTS"][-1], 50
    run(READER, passes, text)

    def taken(number: int) -> int:
        return int(PARENT["status"](memory, number)[1])

    workers: dict[int, subprocess.Popen[bytes]] = {}
    try:
        for number in range(1, 31):
            workers[number] = subprocess.Popen([*WORKERS[number % 2], str(number)])
            if number > 1:
                # The older one is at work in some line, or between two.
                victim = workers[number - 1]
                while victim.poll() is None and taken(number - 1) == 0:
                    time.sleep(0.001)
                time.sleep(random.random() / 100)
                victim.kill()
        workers[31] = subprocess.Popen([*WORKERS[0], "31"])
        for worker in workers.values():
            worker.wait(PATIENCE)
        ends = [worker.returncode for worker in workers.values()]
    finally:
        for worker in workers.values():
            worker.kill()
            worker.wait()
    assert set(ends) <= {0, -signal.SIGKILL}
    assert ends[-1] == 0
    assert len(lines) == 0
    assert PARENT["table_count"](memory) == PARENT["plain_count"](text.read_bytes().splitlines(), passes)
    # Lines were handed out again, whose workers had died over them.
    assert struct.unpack_from("<I", memory, PARENT["AGAIN_AT"])[0] != 0


def snippet(language: str) -> str:
    readme = (ROOT / "README.md").read_text()
    found = re.search(rf"```{language}\n(.*?)```", readme, re.DOTALL)
    assert found, f"README.md has no snippet in {language}"
    return found[1]


def run(*command: object) -> str:
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=PATIENCE * 5, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_readme_s_three_programs_work_together(namespace: Path, tmp_path: Path) -> None:
    source, sender = tmp_path / "sender.c", tmp_path / "sender"
    source.write_text(snippet("c"))
    flags = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    run(
        os.environ.get("CC", "cc"),
        *flags,
        "-I",
        ROOT / "include",
        "-o",
        sender,
        source,
        f"-L{LIB}",
        "-lrsipc",
        f"-Wl,-rpath,{LIB}",
    )
    run(sender)
    with rsipc.Queue.open("jobs") as jobs:
        assert (len(jobs), jobs.capacity, jobs.max_message) == (1, 64, 1024)
        jobs.shutdown()
    (tmp_path / "worker.py").write_text(snippet("python"))
    assert run(sys.executable, tmp_path / "worker.py") == "doing resize cat.jpg\n"

    project = tmp_path / "total"
    (project / "src").mkdir(parents=True)
    (project / "src/main.rs").write_text(snippet("rust"))
    dependency = f'rsipc = {{ path = "{ROOT}", default-features = false }}'
    manifest = f'[package]\nname = "total"\nversion = "0.1.0"\nedition = "2024"\n[dependencies]\n{dependency}\n[workspace]\n'
    (project / "Cargo.toml").write_text(manifest)
    (project / "Cargo.lock").write_bytes((ROOT / "Cargo.lock").read_bytes())
    cargo = ["cargo", "run", "--quiet", "--manifest-path", project / "Cargo.toml", "--target-dir", ROOT / "target/readme"]
    assert run(*cargo) == "1 jobs done\n"
    assert run(*cargo) == "2 jobs done\n"
