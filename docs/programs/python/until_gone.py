"""Prints what comes out of a queue, until all who have sent are gone."""

import rsipc

numbers = rsipc.Queue.open_or_create("numbers")
numbers.end_with_peers()
try:
    for text in numbers:
        print(text.decode())
except rsipc.Disconnected:
    print("all senders are gone")
