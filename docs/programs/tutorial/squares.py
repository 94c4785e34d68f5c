"""Squares the numbers that are its jobs, until there are no more."""

import rsipc

jobs = rsipc.Queue.open_or_create("jobs")
squares = rsipc.Queue.open_or_create("squares")
while True:
    try:
        lease = jobs.lease()
    except rsipc.Closed:
        break
    with lease:  # finished at the end of this block; given back if it raises, or if we are killed
        number = int(lease.message)
        squares.send(f"{number} {number * number}".encode())
