"""What the documentation does in the shell, line by line."""

import os
import re
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
import rsipc
from conftest import PATIENCE, PROGRAMS, ROOT

# What each script prints, among other things.
SAYS = {
    "messages.sh": ["one more", "doing 1", "doing 5", "./a cat.jpg"],
    "others.sh": ["nobody else deploys now", "deploying", "HELLO"],
    "counters.sh": ["3 messages, 11 bytes", "RECEIVED/S"],
    "containers.sh": ["from another pid namespace"],
    "team.sh": [],
}
# Directories that they name, and that the tests have elsewhere.
PLACES = ["/dev/shm/ours", "/dev/shm/team"]


def sh(script: str, stage: dict[str, str], directory: Path) -> str:
    """What a script prints, which must not fail, nor any of its commands."""
    env = stage | {"RSIPC_DIR": os.environ["RSIPC_DIR"]}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(["bash", "-s"], env=env, cwd=directory, text=True, start_new_session=True, **pipes) as shell:  # type: ignore[call-overload]
        try:
            output, _ = shell.communicate(script, timeout=PATIENCE)
        finally:
            # With all that it has started, if it has not ended.
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
    assert shell.returncode == 0, output
    return str(output)


def test_all_are_known() -> None:
    assert {path.name for path in (PROGRAMS / "shell").iterdir()} == set(SAYS)


@pytest.mark.parametrize("name", SAYS)
def test_script(name: str, stage: dict[str, str], namespace: Path, tmp_path: Path) -> None:
    script = (PROGRAMS / "shell" / name).read_text()
    for place in PLACES:
        script = script.replace(place, str(namespace / Path(place).name))
    output = sh(script, stage, tmp_path)
    assert [words for words in SAYS[name] if words not in output] == []


def test_a_group_shares_what_is_made_for_it(stage: dict[str, str], namespace: Path, tmp_path: Path) -> None:
    test_script("team.sh", stage, namespace, tmp_path)
    directory, queue = (namespace / "team").stat(), (namespace / "team" / "jobs").stat()
    assert (directory.st_mode & 0o7777, queue.st_mode & 0o777) == (0o2770, 0o660)
    assert directory.st_gid == queue.st_gid


def test_what_the_readme_does(stage: dict[str, str], tmp_path: Path) -> None:
    [script] = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    for name in "a cat.jpg", "dog.jpg":
        (tmp_path / name).touch()
    output = sh(f"set -e\n{script}", stage, tmp_path)
    assert "./a cat.jpg" in output
    assert "./dog.jpg" in output
    assert rsipc.list() == []


def test_the_tutorial(stage: dict[str, str], tmp_path: Path) -> None:
    tutorial = PROGRAMS / "tutorial"
    for name in "numbers.c", "squares.py":
        shutil.copy(tutorial / name, tmp_path)
    # A package of this project's workspace, so that it is built with what there is.
    (tmp_path / "total").symlink_to(tutorial / "total")
    output = sh((tutorial / "run.sh").read_text(), stage, tmp_path)
    page = (PROGRAMS.parent / "tutorial.md").read_text()
    for line in "the sum of 1000 squares is 333833500", "the sum of 100000 squares is 333338333350000":
        assert line in output.splitlines()
        assert f"`{line}`" in page
