"""Sends three messages in one call."""

import rsipc

numbers = rsipc.Queue.open_or_create("numbers")
sent = numbers.send_many([b"one", b"two", b"three"])
print(f"{sent} sent")
