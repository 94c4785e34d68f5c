"""Fills a frame where the receiver will read it, and sends it."""

import rsipc

SIZE = 8 << 20

# Of the two leases one is for a frame that is filled, and one for a frame that is read.
frames = rsipc.Queue.open_or_create("frames", capacity=2, max_message=SIZE, leases=2)
with frames.loan(SIZE) as frame:
    memoryview(frame)[:] = b"\7" * SIZE
    frame.send()
