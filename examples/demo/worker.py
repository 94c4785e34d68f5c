"""A worker of the demo: takes lines from the queue, counts their words into the table. See README.md beside this file.

Usage: worker.py NUMBER
"""

import os
import re
import struct
import sys
import time
import zlib

import rsipc

VICTIM, HOLDING, REPAIR, UNDO, WORKERS, TABLE = 64, 68, 72, 128, 8192, 16384
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

    def add(self, slot: int) -> None:
        """Adds one to a slot's count. What it was is written down first, so that it can be taken back whenever we die."""
        u32 = self.u32
        at, done = (TABLE + slot * 32) // 4, u32[UNDO // 4]
        entry = (UNDO + 8 + done * 8) // 4
        u32[entry], u32[entry + 1] = slot, u32[at]
        u32[UNDO // 4] = done + 1
        u32[at] += 1

    def undo(self) -> int:
        """Takes back the words of a line that was not finished; says how many."""
        u32 = self.u32
        done = u32[UNDO // 4]
        for entry in reversed(range(done)):
            at = (UNDO + 8 + entry * 8) // 4
            u32[(TABLE + u32[at] * 32) // 4] = u32[at + 1]
        u32[UNDO // 4] = 0
        return done


def main() -> None:
    number = int(sys.argv[1])
    region = rsipc.Region.open("table")
    mutex = rsipc.Mutex.open_in(region, 0)
    table = Table(region)
    me = WORKERS + number * 64

    def count(words: list[bytes]) -> None:
        for done, word in enumerate(words):
            if done > 0 and done == len(words) // 2 and table.u32[VICTIM // 4] == number:
                table.u32[HOLDING // 4] = 1
                time.sleep(60)  # SIGKILL comes here.
            table.add(table.slot(word))
        table.u32[UNDO // 4] = 0  # The line is counted.

    taken = counted = 0
    struct.pack_into("<I", table.bytes, me, os.getpid())
    with rsipc.Queue.open("lines") as lines:
        for message in lines:
            table.bytes[me + 24 : me + 32] = message[:8]
            words = [word[:WORD].lower() for word in WORDS.findall(message, 8)]
            try:
                with mutex:
                    count(words)
            except rsipc.OwnerDied:
                with mutex.recover() as owner_died:
                    if owner_died:
                        repaired = table.undo()
                        struct.pack_into("<IIQ", table.bytes, REPAIR, number, repaired, time.monotonic_ns())
                    count(words)
            taken += 1
            counted += len(words)
            struct.pack_into("<QQ", table.bytes, me + 8, taken, counted)


if __name__ == "__main__":
    main()
