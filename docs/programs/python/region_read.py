"""Reads what region_write wrote."""

import rsipc

with rsipc.Region.open("board") as board:
    text = bytes(board).split(b"\0")[0]
    print(f"{text.decode()}, in {len(board)} bytes")
