"""Sends its arguments to the queue that the first of them names."""

import sys

import rsipc

queue = rsipc.Queue.open(sys.argv[1])
for text in sys.argv[2:]:
    queue.send(text.encode())
queue.shutdown()  # nothing more will come
