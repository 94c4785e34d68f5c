"""The stepper's victims in Python. The lines that this program reads are as in victim.c, which does the same operations."""

import contextlib
import mmap
import os
import signal
import sys
import time
from collections.abc import Callable

import rsipc

SHORT = 0.001
LONG = 5.0
OVER, GOT = 0, 1

line: list[str] = []
board = memoryview(bytearray(16)).cast("Q")
results: memoryview | None = None


def read_line() -> list[str]:
    """Reads byte by byte: the next line is for another process."""
    text = b""
    while (byte := os.read(0, 1)) not in (b"\n", b""):
        text += byte
    return text.decode().split()


def shared(path: str) -> memoryview:
    file = os.open(path, os.O_RDWR)
    return memoryview(mmap.mmap(file, 16)).cast("Q")


def number(index: int) -> int:
    return int(line[5 + index]) if len(line) > 5 + index else 0


def where() -> tuple[str, str]:
    return line[3], line[2]


def message(which: int, length: int) -> bytes:
    tail = (((which * 31 + i) ^ (which >> 8)) & 0xFF for i in range(8, length))
    return which.to_bytes(8, "little") + bytes(tail)


def say(what: int, value: int) -> None:
    if results is not None:
        results[what] = value


def begin() -> None:
    """The operation begins: the stepper has control from here on."""
    board[0] = 1
    os.kill(os.getpid(), signal.SIGSTOP)


def times_out(call: Callable[[], object]) -> None:
    try:
        call()
    except rsipc.Timeout:
        return
    sys.exit("a call did not time out")


def queue() -> rsipc.Queue:
    """It has sent, received and waited before."""
    name, directory = where()
    handle = rsipc.Queue.open(name, dir=directory)
    filler = message(9_000_000, number(2))
    times_out(lambda: handle.recv(SHORT))
    for _ in range(number(0)):
        handle.send(filler)
    if number(1):
        times_out(lambda: handle.send(filler, SHORT))
    for _ in range(number(0)):
        handle.recv()
    if number(0):
        handle.send(filler)
        handle.recv()
    return handle


def of_victim() -> bytes:
    return message(number(3), number(4))


def send() -> None:
    handle, data = queue(), of_victim()
    begin()
    handle.send(data)
    say(OVER, 1)


def try_send() -> None:
    handle, data = queue(), of_victim()
    begin()
    handle.try_send(data)
    say(OVER, 1)


def withdraw() -> None:
    handle, data = queue(), of_victim()
    begin()
    try:
        handle.send(data, 0.0003)
    except rsipc.Timeout:
        return
    sys.exit("a send did not time out")


def recv() -> None:
    handle = queue()
    begin()
    data = handle.recv()
    say(GOT, int.from_bytes(data[:8], "little"))
    say(OVER, 1)


MANY = 3


def send_many() -> None:
    handle = queue()
    messages = [message(number(3) + i, number(4)) for i in range(MANY)]
    begin()
    sent = handle.send_many(messages)
    if sent != MANY:
        sys.exit("less than all were sent")
    say(OVER, 1)


def recv_many() -> None:
    handle = queue()
    begin()
    messages = handle.recv_many(MANY)
    say(GOT, len(messages))
    say(OVER, 1)


def shutdown() -> None:
    handle = queue()
    begin()
    handle.shutdown()


def join() -> None:
    handle, data = queue(), of_victim()
    name, directory = where()
    begin()
    handle = rsipc.Queue.open(name, dir=directory)
    handle.send(data)
    handle.close()


def close_queue() -> None:
    handle = queue()
    begin()
    handle.close()


def lease() -> None:
    handle = queue()
    times_out(lambda: handle.lease(SHORT))
    begin()
    lease = handle.lease()
    say(OVER, 1)
    stay(lease)


def of_first() -> rsipc.Lease:
    """Message 1, which another process sends."""
    handle = queue()
    times_out(lambda: handle.lease(SHORT))
    sender = os.fork()
    if sender == 0:
        handle.send(message(1, number(2)), LONG)
        os._exit(0)
    lease = handle.lease(LONG)
    os.waitpid(sender, 0)
    return lease


def finish() -> None:
    lease = of_first()
    begin()
    lease.finish()
    say(GOT, 1)


def give_back() -> None:
    lease = of_first()
    begin()
    lease.give_back()


def mutex() -> rsipc.Mutex:
    name, directory = where()
    return rsipc.Mutex.open(name, dir=directory)


def change() -> None:
    assert results is not None
    results[0] += 1
    results[1] += 1


def lock() -> None:
    handle = mutex()
    begin()
    handle.acquire()


def lock_woken() -> None:
    handle = mutex()
    times_out(lambda: handle.acquire(SHORT))
    begin()
    handle.acquire()


def lock_both() -> None:
    handle = mutex()
    begin()
    handle.acquire()
    change()
    handle.release()


def unlock() -> None:
    handle = mutex()
    handle.acquire()
    change()
    begin()
    handle.release()


def give_up() -> None:
    handle = mutex()
    handle.acquire()
    change()
    begin()
    handle.give_up()
    handle.release()


def close_mutex() -> None:
    handle = mutex()
    handle.acquire()
    handle.release()
    begin()
    handle.close()


def semaphore() -> rsipc.Semaphore:
    name, directory = where()
    handle = rsipc.Semaphore.open(name, dir=directory)
    for _ in range(number(0)):
        handle.acquire()
    if number(1):
        times_out(lambda: handle.acquire(SHORT))
    if number(0):
        handle.release(number(0))
    for _ in range(number(2)):
        handle.acquire()
    return handle


def acquire() -> None:
    handle = semaphore()
    begin()
    handle.acquire()


def release() -> None:
    handle = semaphore()
    begin()
    time.sleep(number(4) / 1000)
    handle.release(number(3))


def close_semaphore() -> None:
    handle = semaphore()
    begin()
    handle.close()


def endpoint() -> rsipc.Endpoint:
    return rsipc.Endpoint.open("victim", 3, 200, leases=4, dir=line[2])


def endpoint_open() -> None:
    begin()
    stay(endpoint())


def endpoint_close() -> None:
    mine = endpoint()
    begin()
    mine.close()


def endpoint_serve() -> None:
    mine = endpoint()
    begin()
    mine.recv().reply(b"reply")
    stay(mine)


def endpoint_serve_mailbox() -> None:
    mine, mailbox = endpoint(), rsipc.Queue.open("mailbox", dir=line[2])
    begin()
    mine.recv_mailbox(mailbox).reply(b"reply")
    stay(mine)


def endpoint_send() -> None:
    mine = endpoint()
    begin()
    mine.send(mine.find("sleeper"), b"message")
    stay(mine)


def endpoint_call() -> None:
    mine = endpoint()
    begin()
    if mine.call(mine.find("sleeper"), b"message") != b"reply":
        sys.exit("another reply")
    stay(mine)


def create_queue() -> None:
    begin()
    rsipc.Queue.create("new", 3, 200, leases=4, dir=line[2]).close()


def open_queue() -> None:
    begin()
    rsipc.Queue.open("old", dir=line[2]).close()


def create_mutex() -> None:
    begin()
    rsipc.Mutex.create("bare", dir=line[2]).close()


def open_mutex() -> None:
    begin()
    mutex().close()


def queue_in_place() -> rsipc.Queue:
    """It has lent and received in place before."""
    handle = queue()
    with contextlib.suppress(rsipc.Unsupported):
        handle.loan(number(2)).release()
    times_out(lambda: handle.recv_view(SHORT))
    return handle


def send_loan() -> None:
    handle, data = queue_in_place(), of_victim()
    begin()
    with handle.loan(len(data)) as loan:
        with memoryview(loan) as space:
            space[:] = data
        loan.send()
    say(OVER, 1)


def drop_loan() -> None:
    loan = queue_in_place().loan(number(2))
    begin()
    loan.release()


def view() -> None:
    handle = queue_in_place()
    begin()
    with handle.recv_view() as view, memoryview(view) as data:
        say(GOT, int.from_bytes(data[:8], "little"))
    say(OVER, 1)


def create_units() -> None:
    begin()
    rsipc.Semaphore.create("u", 2, dir=line[2]).close()


def create_in_region() -> None:
    begin()
    with rsipc.Region.open("region", dir=line[2]) as region:
        rsipc.Queue.create_in(region, 0, 3, 200, leases=0).close()


def close_region() -> None:
    name, directory = where()
    region = rsipc.Region.open(name, dir=directory)
    begin()
    region.close()


def create_permits() -> None:
    begin()
    rsipc.Semaphore.create_permits("p", 1, dir=line[2]).close()


def open_semaphore() -> None:
    name, directory = where()
    begin()
    rsipc.Semaphore.open(name, dir=directory).close()


def create_region() -> None:
    begin()
    rsipc.Region.create("new-region", 1 << 16, dir=line[2]).close()


def open_region() -> None:
    begin()
    rsipc.Region.open("region", dir=line[2]).close()


def grow_region() -> None:
    begin()
    region = rsipc.Region.open("region", dir=line[2])
    region.grow(1 << 20)
    region.close()


def unlink() -> None:
    name, directory = where()
    begin()
    rsipc.unlink(name, dir=directory)


def wait() -> None:
    jobs = rsipc.Queue.open("jobs", dir=line[2])
    units = rsipc.Semaphore.open("units", dir=line[2])
    permits = rsipc.Semaphore.open("permits", dir=line[2])
    times_out(lambda: jobs.recv(SHORT))
    things: list[rsipc.Queue | rsipc.Semaphore | rsipc.Endpoint] = [jobs, units, permits, endpoint()]
    if rsipc.wait(things, SHORT):
        sys.exit("something is ready")
    begin()
    while True:
        rsipc.wait(things)
        if not number(0):
            return
        try:
            jobs.try_recv()
        except rsipc.WouldBlock:
            continue
        return


def stay(_kept: object) -> None:
    """The operation is over; what is kept is not closed."""
    board[1] = 1
    while True:
        time.sleep(60)


def victim(words: list[str]) -> None:
    global line, board, results
    if not read_line():
        sys.exit(1)
    line = words
    board = shared(words[0])
    results = None if words[4] == "-" else shared(words[4])
    # What a process finds out about itself in its first call is thousands of instructions.
    with rsipc.Mutex.create_in(rsipc.Region.anonymous(4096), 0):
        pass
    operation: Callable[[], None] = globals()[words[1]]
    operation()
    stay(None)


def main() -> None:
    while words := read_line():
        child = os.fork()
        if child == 0:
            victim(words)
        os.write(1, f"{child}\n".encode())
        os.waitpid(child, 0)
        os.write(1, b"over\n")


if __name__ == "__main__":
    main()
