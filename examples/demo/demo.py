"""Counts words in three languages at once, and kills a worker in the middle. See README.md beside this file.

Usage: demo.py [--passes N] READER WORKER  (the C reader's and the Rust worker's programs)
"""

import argparse
import collections
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import rsipc
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

HERE = Path(__file__).resolve().parent
TEXTS = sorted((HERE.parent / "data").glob("*.txt"))
WORKERS = {1: "Rust", 2: "Rust", 3: "Python", 4: "Python"}
VICTIM = 2
VICTIM_AT, HOLDING_AT, REPAIR_AT, AGAIN_AT, UNDO_AT, WORKERS_AT, TABLE_AT = 128, 132, 136, 152, 192, 8192, 16384
REGION_SIZE = TABLE_AT + 32768 * 32
WORDS = re.compile(rb"[A-Za-z]+")


def words_of(line: bytes) -> list[bytes]:
    return [word[:28].lower() for word in WORDS.findall(line)]


def plain_count(lines: list[bytes], passes: int) -> collections.Counter[bytes]:
    """What one process counts all by itself."""
    once = collections.Counter(word for line in lines for word in words_of(line))
    return collections.Counter({word: count * passes for word, count in once.items()})


def table_count(memory: memoryview) -> collections.Counter[bytes]:
    """What is in the shared table."""
    slots = struct.iter_unpack("<I28s", memory[TABLE_AT:])
    return collections.Counter({word.rstrip(b"\0"): count for count, word in slots if count})


def status(memory: memoryview, worker: int) -> tuple[int, int, int]:
    """A worker's process id, its lines, and its words."""
    return struct.unpack_from("<I4xQQ", memory, WORKERS_AT + worker * 64)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("reader")
    arguments.add_argument("worker")
    arguments.add_argument("--passes", type=int, default=40, help="how often the text is read (default: 40)")
    options = arguments.parse_args()
    console = Console()
    lines = [line for text in TEXTS for line in text.read_bytes().splitlines()]
    total = len(lines) * options.passes

    namespace = tempfile.mkdtemp(prefix="rsipc-demo-", dir="/dev/shm")
    os.environ["RSIPC_DIR"] = namespace
    processes: list[subprocess.Popen[bytes]] = []
    try:
        console.print(
            f"[bold]A C program sends {total:,} lines of {len(TEXTS)} books ({options.passes} times over) into a queue.[/] "
            f"Two workers in Rust and two in Python count the words into one table in shared memory, "
            f"under a mutex. Worker {VICTIM} will be killed with SIGKILL while it holds the mutex.\n"
        )
        rsipc.Queue.create("lines", capacity=256, max_message=1024)
        region = rsipc.Region.create("table", REGION_SIZE)
        rsipc.Mutex.create_in(region, 0)
        memory = memoryview(region)

        started = time.monotonic()
        workers: dict[int, subprocess.Popen[bytes]] = {}
        for number, language in WORKERS.items():
            program = [options.worker] if language == "Rust" else [sys.executable, str(HERE / "worker.py")]
            workers[number] = subprocess.Popen([*program, str(number)])
        processes += workers.values()
        processes.append(subprocess.Popen([options.reader, str(options.passes), *map(str, TEXTS)]))

        killed_at = 0
        killed_word = 0
        columns = (TextColumn("{task.description}"), BarColumn(None), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("lines counted", total=total)
            while any(process.poll() is None for process in processes):
                done = sum(status(memory, number)[1] for number in WORKERS)
                progress.update(task, completed=done)
                if not killed_at and done >= total / 2:
                    struct.pack_into("<I", memory, VICTIM_AT, VICTIM)
                if not killed_at and memory[HOLDING_AT]:
                    (killed_word,) = struct.unpack_from("<I", memory, UNDO_AT)
                    killed_at = time.monotonic_ns()
                    workers[VICTIM].send_signal(signal.SIGKILL)
                    progress.console.print(
                        f"[red]✗[/] worker {VICTIM} (Rust, process {workers[VICTIM].pid}) was killed with SIGKILL. "
                        f"It held the mutex, with {killed_word} words of a line added"
                    )
                time.sleep(0.01)
            progress.update(task, completed=sum(status(memory, number)[1] for number in WORKERS))
        seconds = time.monotonic() - started
        return report(console, memory, lines, options.passes, killed_at, seconds, workers)
    finally:
        for process in processes:
            process.kill()
            process.wait()
        shutil.rmtree(namespace)


def report(
    console: Console,
    memory: memoryview,
    lines: list[bytes],
    passes: int,
    killed_at: int,
    seconds: float,
    workers: dict[int, subprocess.Popen[bytes]],
) -> int:
    repaired_by, repaired, repaired_at = struct.unpack_from("<IIQ", memory, REPAIR_AT)
    if repaired_by:
        console.print(
            f"[green]✓[/] worker {repaired_by} ({WORKERS[repaired_by]}) was told that the owner died, "
            f"{(repaired_at - killed_at) / 1e6:.2f} ms after the kill. "
            f"It took {repaired} words back, marked the table consistent, and all went on"
        )
    again_by, again = struct.unpack_from("<II", memory, AGAIN_AT)
    if again_by:
        text = lines[(again - 1) % len(lines)].decode("ascii", "replace").strip()
        console.print(
            f"[green]✓[/] worker {again_by} ({WORKERS[again_by]}) was handed line {again:,}, which worker {VICTIM} had on lease, "
            f"and counted it: [italic]{escape(text)}[/]"
        )
    table = Table(title="Who did how much")
    for heading in ("worker", "language", "process", "lines", "words", "end"):
        table.add_column(heading, justify="left" if heading in ("language", "end") else "right")
    for number, language in WORKERS.items():
        pid, taken, words = status(memory, number)
        code = workers[number].returncode
        end = {0: "finished", -signal.SIGKILL: "[red]killed, holding the mutex[/]"}.get(code, f"[red]failed ({code})[/]")
        table.add_row(str(number), language, str(pid), f"{taken:,}", f"{words:,}", end)
    console.print(table)

    plain, counted = plain_count(lines, passes), table_count(memory)
    rate = counted.total() / seconds
    console.print(f"plain count in one process  {plain.total():>12,} words")
    console.print(f"count in the shared table   {counted.total():>12,} words, {seconds:.1f} s, {rate:,.0f} words a second")
    died = workers[VICTIM].returncode == -signal.SIGKILL and all(
        worker.returncode == 0 for number, worker in workers.items() if number != VICTIM
    )
    if counted == plain and died and repaired_by and again_by:
        console.print(f"difference                  {0:>12,} words")
        console.print(
            Panel(
                f"Worker {VICTIM} was killed in the middle of a line, holding the mutex, "
                "and not a word is missing or counted twice. "
                "What it had half done to the table was taken back by the next owner of the mutex, who was told of the death. "
                "The line, which it had only on lease, went back to the queue and to another worker. "
                "Nobody had to wait for the dead.",
                title="[green]as promised[/]",
                expand=False,
            )
        )
        return 0
    console.print("[bold red]This is not what is promised: it is a bug.[/]")
    console.print(f"too few: {dict((plain - counted).most_common(10))}; too many: {dict((counted - plain).most_common(10))}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
