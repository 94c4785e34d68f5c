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

from conftest import PATIENCE, RELEASE, ROOT

DEMO = ROOT / "examples/demo"
READER = str(ROOT / "target/demo/reader")
WORKERS = [[str(RELEASE / "examples/demo-worker")], [sys.executable, str(DEMO / "worker.py")]]


def test_demo_counts_every_word(namespace: Path) -> None:
    demo = [sys.executable, str(DEMO / "demo.py"), "--passes", "2", READER, WORKERS[0][0]]
    result = subprocess.run(demo, capture_output=True, text=True, timeout=PATIENCE * 3, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "as promised" in result.stdout
    assert "killed, holding the mutex" in result.stdout
    assert "was handed line" in result.stdout


def test_each_line_is_counted_once_whenever_workers_are_killed(namespace: Path) -> None:
    import rsipc

    demo = runpy.run_path(str(DEMO / "demo.py"))
    text, passes = demo["TEXTS"][0], 3
    lines = rsipc.Queue.create("lines", capacity=None, max_message=1024)
    region = rsipc.Region.create("table", demo["REGION_SIZE"])
    rsipc.Mutex.create_in(region, 0)
    memory = memoryview(region)
    run(READER, passes, text)

    def taken(number: int) -> int:
        return int(demo["status"](memory, number)[1])

    workers: dict[int, subprocess.Popen[bytes]] = {}
    try:
        for number in range(1, 41):
            workers[number] = subprocess.Popen([*WORKERS[number % 2], str(number)])
            if number > 3:
                # The oldest is at work in some line, or between two.
                victim = workers[number - 3]
                while victim.poll() is None and taken(number - 3) == 0:
                    time.sleep(0.001)
                time.sleep(random.random() / 50)
                victim.kill()
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
    assert demo["table_count"](memory) == demo["plain_count"](text.read_bytes().splitlines(), passes)
    # Lines were handed out again, whose workers had died over them.
    assert struct.unpack_from("<I", memory, demo["AGAIN_AT"])[0] != 0


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
    import rsipc

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
        f"-L{RELEASE}",
        "-lrsipc",
        f"-Wl,-rpath,{RELEASE}",
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
