"""Writes a text where region_read finds it."""

import rsipc

TEXT = b"written in Python\0"

with rsipc.Region.open_or_create("board", 4096) as board:
    memoryview(board)[: len(TEXT)] = TEXT
