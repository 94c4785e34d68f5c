"""Works while it has one of two licences."""

import sys

import rsipc

licences = rsipc.Semaphore.open_or_create_permits("licences", 2)
with licences:
    print("working", flush=True)
    sys.stdin.readline()  # until somebody presses Enter; or kills it
