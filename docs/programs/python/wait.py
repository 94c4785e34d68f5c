"""Prints what comes out of a queue, until it is told to stop."""

import rsipc

numbers = rsipc.Queue.open_or_create("numbers")
stop = rsipc.Semaphore.open_or_create("stop", 0)
while True:
    ready = rsipc.wait([numbers, stop])
    try:
        if numbers in ready:
            print(numbers.try_recv().decode())
        elif stop in ready:
            stop.acquire(timeout=0)
            break
    except rsipc.WouldBlock:
        pass  # another process was faster
print("stopped")
