"""Shows that the stepper finds what is wrong: breaks a copy of the library in one place after the other, and expects to be told.

    python3 tests/crash/faults.py [WORD]     all of them, or those whose name contains WORD

Each fault is a text in a source file, of which there is exactly one, and what it is replaced by; the scenes that are played
then; and what has to be in the reports: what went wrong, and where the victim was killed.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORK = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "faults"
PARTS = [
    "Cargo.toml",
    "Cargo.lock",
    "build.rs",
    "cbindgen.toml",
    "src",
    "include",
    "tests",
    "examples",
    "benches",
    "bindings",
    "docs",
    "README.md",
]


@dataclass
class Fault:
    name: str
    file: str
    right: str
    wrong: str
    scenes: str
    """Those whose name contains this."""
    reported: str
    """A pattern in one report: what went wrong, and where."""
    also: tuple[str, ...] = ()
    """Patterns in the reports of other scenes."""


FAULTS = [
    Fault(
        "who waits for a message is not woken",
        "src/sync/lock.rs",
        "futex::wake(word, 1, Kind::Change) + futex::wake(word, 1, Kind::Lock)",
        "1",
        "send, receiver asleep",
        r"send, receiver asleep: killed after \d+ of \d+: late: woken after \d+ ms\n",
    ),
    Fault(
        "a message is committed before it is written",
        "src/queue/ring.rs",
        """        slot.write(&[], message);
        self.commit_filled_at_hint(slot, position, message.len() as u32, message.len());
""",
        """        self.commit_filled_at_hint(slot, position, message.len() as u32, message.len());
        slot.write(&[], message);
""",
        "send, part full",
        r"send, part full: killed after \d+ of \d+: torn: .*\n.*",
    ),
    Fault(
        "the next owner does not see to what the dead one had committed",
        "src/queue/ring.rs",
        "for _ in 0..STEPS {",
        "for _ in 0..1 {",
        "send, part full",
        r"send, part full: killed after \d+ of \d+: (hangs|lost): .*\n.*(commit_filled|put|send)",
    ),
    Fault(
        "whose offer was taken is not woken",
        "src/queue/handoff.rs",
        "{ 0 } else { futex::wake(word, u32::MAX, Kind::One(index)) }",
        "{ 0 } else { 1 }",
        "two offers",
        r"rendezvous: recv, two offers(, all woken before)?: killed after \d+ of \d+: late: woken after \d+ ms\n",
        (
            r"rendezvous: lease, two offers(, all woken before)?: killed after \d+ of \d+: late: woken after \d+ ms\n",
            r"rendezvous: view, two offers(, all woken before)?: killed after \d+ of \d+: late: woken after \d+ ms\n",
            r"rendezvous: receive a batch, two offers: killed after \d+ of \d+: late: woken after \d+ ms\n",
        ),
    ),
    Fault(
        "the next owner of a mutex is not told of the death",
        "src/sync/mutex.rs",
        "            note_death(shared);\n",
        "            if false {\n                note_death(shared);\n            }\n",
        "lock, change, unlock",
        r"lock, change, unlock: killed after \d+ of \d+: torn: .*nobody was told\n",
    ),
    Fault(
        "who closes a handle and keeps permits shows no life any more",
        "src/sync/permits.rs",
        "mine.is_some_and(|peer| peer.value.load(Relaxed) != 0)",
        "mine.is_none()",
        "close permits, one held",
        r"close permits, one held, .*: killed after \d+ of \d+: late: woken after \d+ ms\n",
    ),
]


def build_and_run(fault: Fault) -> str:
    """Breaks a copy of the library, and gives what the stepper says of it."""
    tree = WORK / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    for part in PARTS:
        source = ROOT / part
        # With the time of now, since what is mended has to be built anew as well.
        if source.is_dir():
            shutil.copytree(source, tree / part, copy_function=shutil.copy)
        else:
            shutil.copy(source, tree / part)
    path = tree / fault.file
    text = path.read_text()
    if text.count(fault.right) != 1:
        sys.exit(f"{fault.file} has this {text.count(fault.right)} times, and not once:\n{fault.right}")
    path.write_text(text.replace(fault.right, fault.wrong))
    environment = os.environ | {
        "CARGO_TARGET_DIR": str(WORK / "build"),
        "RSIPC_CRASH_ONLY": fault.scenes,
        "RUST_BACKTRACE": "0",
    }
    environment.pop("RSIPC_PYTHON", None)
    command = ["cargo", "test", "--quiet", "--release", "--test", "crash_step"]
    build = subprocess.run([*command, "--no-run"], cwd=tree, env=environment, capture_output=True, text=True)
    if build.returncode != 0:
        sys.exit(f"{fault.name}: it does not build: {build.stderr}")
    run = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=600)
    if run.returncode == 0:
        sys.exit(f"{fault.name}: and nothing was found")
    return run.stdout + run.stderr


def main() -> None:
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    for fault in FAULTS:
        if word not in fault.name:
            continue
        said = build_and_run(fault)
        print(f"{fault.name} ({fault.file}):")
        for pattern in (fault.reported, *fault.also):
            found = re.search(pattern, said)
            if not found:
                sys.exit(f"{fault.name}: this was expected:\n{pattern}\nand this was said:\n{said[-6000:]}")
            first = said[found.start() :].split("\n    (inlined")[0].split("\n     (inlined")[0][:300]
            print("    " + first.replace("\n", "\n    "))


if __name__ == "__main__":
    main()
