"""Reads a frame where the sender has written it."""

import rsipc

frames = rsipc.Queue.open("frames")
with frames.recv_view() as frame:
    print(f"{len(frame)} bytes, the last of them {memoryview(frame)[-1]}")
# another frame may be put there
