"""A worker of the demo: takes lines from the queue, counts their words into the table. README.md beside this file says how,
and why each line is counted exactly once, whenever a worker is killed.

Usage: worker.py NUMBER
"""

import os
import re
import struct
import sys
import time
import zlib

import rsipc

VICTIM, HOLDING, REPAIR, AGAIN, UNDO, WORKERS, TABLE = 128, 132, 136, 152, 192, 8192, 16384
ENTRIES = UNDO + 16
SLOTS, WORD = 32768, 28
WORDS = re.compile(rb"[A-Za-z]+")
NOTHING = bytes(WORD)


class Table:
    """The region's numbers, read and written by who holds the mutex, or by one worker alone."""

    def __init__(self, region: rsipc.Region) -> None:
        self.bytes = memoryview(region)
        self.u32 = self.bytes.cast("I")

    def slot(self, word: bytes) -> int:
        """The slot of a word, found or made."""
        slot = zlib.crc32(word) % SLOTS
        padded = word.ljust(WORD, b"\0")
        while True:
            at = TABLE + slot * 32 + 4
            there = self.bytes[at : at + WORD]
            if there == padded:
                return slot
            if there == NOTHING:
                there[:] = padded
                return slot
            slot = (slot + 1) % SLOTS

    def begin(self, worker: int, line: int) -> None:
        """From here on it is written down what this worker adds for this line."""
        u32 = self.u32
        u32[UNDO // 4] = 0  # First: what the log says of the line before is not to be taken back.
        u32[UNDO // 4 + 1], u32[UNDO // 4 + 2] = worker, line

    def add(self, slot: int) -> None:
        """Adds one to a slot's count. What it was is written down first, so that it can be taken back whenever we die."""
        u32 = self.u32
        at, done = (TABLE + slot * 32) // 4, u32[UNDO // 4]
        entry = (ENTRIES + done * 8) // 4
        u32[entry], u32[entry + 1] = slot, u32[at]
        u32[UNDO // 4] = done + 1
        u32[at] += 1

    def commit(self, worker: int, line: int) -> None:
        """Makes what was added count, and marks the line as counted, in one store."""
        self.u32[(WORKERS + worker * 64) // 4 + 1] = line

    def undo(self) -> int:
        """Takes back the words of a line that was not counted to its end; says how many."""
        u32 = self.u32
        done, worker, line = u32[UNDO // 4 : UNDO // 4 + 3]
        if u32[(WORKERS + worker * 64) // 4 + 1] == line:
            return 0
        for entry in reversed(range(done)):
            at = (ENTRIES + entry * 8) // 4
            u32[(TABLE + u32[at] * 32) // 4] = u32[at + 1]
        u32[UNDO // 4] = 0
        return done

    def is_counted(self, line: int) -> bool:
        """Whether some worker counted this line, and none after it: the only one that it can have counted and not finished."""
        return line in self.u32[WORKERS // 4 + 1 : TABLE // 4 : 16].tolist()


def main() -> None:
    number = int(sys.argv[1])
    region = rsipc.Region.open("table")
    mutex = rsipc.Mutex.open_in(region, 0)
    table = Table(region)
    me = WORKERS + number * 64

    def count(lease: rsipc.Lease, line: int, words: list[bytes]) -> None:
        if lease.deliveries > 1:
            struct.pack_into("<II", table.bytes, AGAIN, number, line)
            if table.is_counted(line):
                return  # Its worker died after it had counted it, and before it had finished the lease.
        table.begin(number, line)
        for done, word in enumerate(words):
            if done > 0 and done == len(words) // 2 and table.u32[VICTIM // 4] == number:
                table.u32[HOLDING // 4] = 1
                time.sleep(60)  # SIGKILL comes here.
            table.add(table.slot(word))
        table.commit(number, line)

    taken = counted = 0
    table.u32[me // 4] = os.getpid()
    with rsipc.Queue.open("lines") as lines:
        while True:
            try:
                lease = lines.lease()
            except rsipc.Closed:
                return
            with lease:  # It is finished at the end of this block, after the line was counted.
                line = int.from_bytes(lease.message[:4], "little")
                words = [word[:WORD].lower() for word in WORDS.findall(lease.message, 4)]
                try:
                    with mutex:
                        count(lease, line, words)
                except rsipc.OwnerDied:
                    with mutex.recover() as owner_died:
                        if owner_died:
                            repaired = table.undo()
                            struct.pack_into("<IIQ", table.bytes, REPAIR, number, repaired, time.monotonic_ns())
                        count(lease, line, words)
            taken += 1
            counted += len(words)
            struct.pack_into("<QQ", table.bytes, me + 8, taken, counted)


if __name__ == "__main__":
    main()
