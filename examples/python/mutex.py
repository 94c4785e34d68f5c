"""A balance of two accounts in shared memory, kept right by a mutex, also when a process is killed between the two writes."""

import os
import signal
import struct

import rsipc

ACCOUNTS = struct.Struct("<qq")
OFFSET = 4096  # the mutex lies before them, at 0


def transfer(region: rsipc.Region, mutex: rsipc.Mutex, amount: int, killed: bool = False) -> None:
    with mutex:
        one, other = ACCOUNTS.unpack_from(region, OFFSET)
        ACCOUNTS.pack_into(region, OFFSET, one - amount, other)
        if killed:
            os.kill(os.getpid(), signal.SIGKILL)
        ACCOUNTS.pack_into(region, OFFSET, one - amount, other + amount)


def main() -> None:
    name = f"accounts-{os.getpid()}"
    region = rsipc.Region.create(name, 8192)
    mutex = rsipc.Mutex.create_in(region, 0)
    ACCOUNTS.pack_into(region, OFFSET, 100, 0)
    transfer(region, mutex, 10)

    if (child := os.fork()) == 0:
        transfer(region, mutex, 50, killed=True)
    os.waitpid(child, 0)

    try:
        transfer(region, mutex, 1)
    except rsipc.OwnerDied:
        print("the owner died: repairing the balance")
        with mutex.recover() as owner_died:
            if owner_died:
                one, _ = ACCOUNTS.unpack_from(region, OFFSET)
                ACCOUNTS.pack_into(region, OFFSET, one, 100 - one)
    transfer(region, mutex, 1)
    one, other = ACCOUNTS.unpack_from(region, OFFSET)
    print(f"{one} + {other} = {one + other}")
    rsipc.unlink(name)


if __name__ == "__main__":
    main()
