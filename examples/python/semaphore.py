"""At most two processes at a time use something. The permits of one that is killed come back by themselves."""

import os
import signal

import rsipc


def main() -> None:
    name = f"licences-{os.getpid()}"
    licences = rsipc.Semaphore.create_permits(name, 2)
    ready = rsipc.Queue.create(f"{name}-ready")

    if (child := os.fork()) == 0:
        licences.acquire()
        licences.acquire()
        ready.send(b"I have them all")
        signal.pause()
    print(f"process {child} says: {ready.recv(timeout=60).decode()}")
    try:
        licences.acquire(timeout=0)
    except rsipc.WouldBlock:
        print("no licence is free")

    os.kill(child, signal.SIGKILL)
    with licences:  # waits for one
        print("got one back from the dead")
    os.waitpid(child, 0)
    print(f"{licences.value} licences are free")
    rsipc.unlink(name)
    rsipc.unlink(f"{name}-ready")


if __name__ == "__main__":
    main()
