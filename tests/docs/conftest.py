"""What these tests share: the programs that the documentation shows, and a namespace for each test."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PROGRAMS = DOCS / "programs"
LIB = ROOT / "target" / "lib"
LANGUAGES = ["c", "python", "rust"]
SUFFIXES = {"c": ".c", "python": ".py", "rust": ".rs"}
SOURCES = {"c": PROGRAMS / "c", "python": PROGRAMS / "python", "rust": PROGRAMS / "rust" / "src" / "bin"}
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
PATIENCE = 60


@pytest.fixture(autouse=True)
def namespace(rsipc_namespace: Path) -> Path:
    return rsipc_namespace


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the programs in C are."""
    directory = tmp_path_factory.mktemp("c")
    for source in SOURCES["c"].glob("*.c"):
        linked = [f"-L{LIB}", "-lrsipc", f"-Wl,-rpath,{LIB}"]
        subprocess.run(
            [os.environ.get("CC", "cc"), *STRICT, f"-I{ROOT / 'include'}", source, "-o", directory / source.stem, *linked],
            check=True,
        )
    return directory


class Programs:
    """Starts the programs that there are in each language, and sees to it that none outlives the test."""

    def __init__(self, compiled: Path) -> None:
        self.compiled = compiled
        self.running: list[subprocess.Popen[str]] = []

    def start(self, language: str, program: str, *arguments: str) -> subprocess.Popen[str]:
        command = {
            "c": [str(self.compiled / program)],
            "python": [sys.executable, str(SOURCES["python"] / f"{program}.py")],
            "rust": [str(ROOT / "target" / "debug" / program)],
        }[language]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen([*command, *arguments], text=True, **pipes)  # type: ignore[call-overload]
        self.running.append(process)
        return process  # type: ignore[no-any-return]

    def finish(self, process: subprocess.Popen[str], status: int = 0) -> list[str]:
        """The lines that it has printed, once it ends as it should."""
        output, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == status, f"{process.args!r}: {errors}"
        return output.splitlines()

    def run(self, language: str, program: str, *arguments: str, status: int = 0) -> list[str]:
        return self.finish(self.start(language, program, *arguments), status)

    def end(self) -> None:
        for process in self.running:
            process.kill()
            process.communicate()


@pytest.fixture
def programs(compiled: Path) -> Iterator[Programs]:
    programs = Programs(compiled)
    yield programs
    programs.end()


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a shell on a machine where everything is installed."""
    stage = tmp_path_factory.mktemp("stage")
    subprocess.run(["make", "install", f"DESTDIR={stage}", "PREFIX=/usr"], cwd=ROOT, check=True, capture_output=True)
    tools = f"{Path(sys.executable).parent}:{stage / 'usr' / 'bin'}"
    yield os.environ | {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PKG_CONFIG_SYSROOT_DIR": str(stage),
        "PKG_CONFIG_PATH": str(stage / "usr/lib/pkgconfig"),
        "LD_LIBRARY_PATH": str(stage / "usr/lib"),
    }
    shutil.rmtree(stage)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def stat(stage: dict[str, str], name: str) -> dict[str, Any]:
    """What the command says of an object."""
    done = subprocess.run(
        ["rsipc", "stat", "--json", name], env=stage | os.environ | {"PATH": stage["PATH"]}, capture_output=True, check=True
    )
    return dict(json.loads(done.stdout))
