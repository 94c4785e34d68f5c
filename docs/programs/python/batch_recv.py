"""Receives as many messages as are there, up to 64, in one call."""

import rsipc

numbers = rsipc.Queue.open_or_create("numbers")
for text in numbers.recv_many(64):
    print(text.decode())
