"""Prints what comes out of a queue, until it is shut down."""

import sys

import rsipc

for text in rsipc.Queue.open(sys.argv[1]):
    print(text.decode())
