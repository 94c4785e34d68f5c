"""Prints what has happened to a queue."""

import rsipc

counters = rsipc.Queue.open("numbers").counters()
print(f"{counters.sent} messages of {counters.bytes_sent} bytes sent, {counters.received} received")
print(f"{counters.deaths} deaths noticed")
