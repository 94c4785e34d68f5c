"""What these tests share: the project, and commands that have to succeed."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEADER = ROOT / "include" / "ipc.h"
MAP = ROOT / "bindings" / "c" / "rsipc.map"
PATIENCE = 250

# The reader of the header, which the manual pages are made with.
sys.path.insert(0, str(ROOT / "bindings" / "c"))


def run(*command: object, cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    """What the command prints, which must not fail."""
    line = [str(part) for part in command]
    done = subprocess.run(line, cwd=cwd, env=env, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, f"{' '.join(line)}:\n{done.stdout}{done.stderr}"
    return done.stdout
