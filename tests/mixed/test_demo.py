"""The README's first command, and its snippets."""

import os
import re
import subprocess
import sys
from pathlib import Path

from conftest import PATIENCE, RELEASE, ROOT


def test_demo_counts_all_but_the_line_that_died(namespace: Path) -> None:
    demo = [sys.executable, str(ROOT / "examples/demo/demo.py"), "--passes", "2"]
    programs = [str(ROOT / "target/demo/reader"), str(RELEASE / "examples/demo-worker")]
    result = subprocess.run([*demo, *programs], capture_output=True, text=True, timeout=PATIENCE * 3, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "as promised" in result.stdout
    assert "killed, holding the mutex" in result.stdout


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
